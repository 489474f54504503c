//! Fifty times `kill -9` of the coordinator under load, with the real binary, real runners and git: nothing that was acknowledged
//! is lost, no job runs twice, and runners are served again within 15 seconds. A proxy writes down what was acknowledged
//! (`ledger.rs`); whoever pushes or calls does it through the same proxy.
//!
//! A round is made of its seed alone: which request the kill waits for, and whether it comes a little after it was sent or when
//! the server has answered it and nobody was told. `HARRIER_FAULT_SEEDS=17` runs one, `HARRIER_FAULT_SEEDS=50..100` fifty others.
//! What the kills met is printed and asserted.

#![allow(clippy::unwrap_used)]

mod ledger;

use harrier_testkit::{Message, PlainClient, RunnerProcess, TempHome, ThrowAwayDatabase};
use ledger::{Deed, Held, Proxy, entries};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the issue promises.
const RECOVERY: Duration = Duration::from_secs(15);
const ROUNDS: u64 = 50;
const PROJECT: &str = "root/kestrel";

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Sqlite,
    Postgres,
    /// Coordinator and a runner of it in one process.
    Up,
}

const HOSTS: [Host; 3] = [Host::Sqlite, Host::Postgres, Host::Up];

/// What a kill waits for.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// A request was sent, so many milliseconds ago at most: what the server did of it is luck.
    Sent(Deed, u64),
    /// The server did it and has answered, and nobody heard.
    Untold(Deed),
    /// So many milliseconds at most.
    Any(u64),
}

/// The moments of a lane, in turn: its share of the fifty rounds has each once.
const MOMENTS: [Moment; 17] = [
    Moment::Untold(Deed::Claim),
    Moment::Sent(Deed::Push, 60),
    Moment::Sent(Deed::Trace, 4),
    Moment::Untold(Deed::End),
    Moment::Sent(Deed::Claim, 6),
    Moment::Sent(Deed::End, 5),
    Moment::Untold(Deed::Push),
    Moment::Sent(Deed::Artifact, 6),
    Moment::Untold(Deed::Trace),
    Moment::Sent(Deed::Push, 120),
    Moment::Sent(Deed::Accept, 4),
    Moment::Untold(Deed::Artifact),
    Moment::Sent(Deed::Call, 5),
    Moment::Untold(Deed::Call),
    Moment::Sent(Deed::Fetch, 15),
    Moment::Untold(Deed::Accept),
    Moment::Any(700),
];

/// A well spread number from a seed.
fn number(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn seeds() -> Vec<u64> {
    let Ok(text) = std::env::var("HARRIER_FAULT_SEEDS") else { return (0..ROUNDS).collect() };
    let number =
        |text: &str| text.parse::<u64>().expect("HARRIER_FAULT_SEEDS is a number or two: 17 or 50..100");
    match text.split_once("..") {
        Some((first, end)) => (number(first)..number(end)).collect(),
        None => vec![number(&text)],
    }
}

/// How often the kills met what.
type Met = BTreeMap<String, usize>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_that_was_acknowledged() {
    let seeds = seeds();
    let lanes: Vec<_> = HOSTS
        .into_iter()
        .zip(0..)
        .map(|(host, lane)| {
            let seeds: Vec<u64> = seeds.iter().copied().filter(|seed| seed % 3 == lane).collect();
            tokio::spawn(
                async move { if seeds.is_empty() { Met::new() } else { Lane::run(host, &seeds).await } },
            )
        })
        .collect();
    let mut met = Met::new();
    for lane in lanes {
        for (what, times) in lane.await.expect("a lane's own panic tells") {
            *met.entry(what).or_default() += times;
        }
    }
    println!("what {} kills met: {met:?}", seeds.len());
    if seeds.len() as u64 >= ROUNDS {
        for moment in MOMENTS {
            if let Moment::Untold(_) = moment {
                assert!(met.contains_key(&format!("{moment:?}")), "no kill met {moment:?}: {met:?}");
            }
        }
        assert!(
            met.keys().any(|what| what.starts_with("at work on")),
            "no kill met a server at work: {met:?}"
        );
    }
}

/// What people and scripts were told is there.
#[derive(Default)]
struct Told {
    /// Branch and commit.
    pushes: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    tokens: Vec<String>,
    pipelines: Vec<i64>,
    played: Vec<i64>,
    retried: Vec<i64>,
    canceled: Vec<i64>,
}

struct Lane {
    host: Host,
    home: TempHome,
    database: Option<ThrowAwayDatabase>,
    at: SocketAddr,
    proxy: Proxy,
    token: String,
    told: Mutex<Told>,
    over: AtomicBool,
    next: AtomicU64,
}

impl Lane {
    async fn run(host: Host, seeds: &[u64]) -> Met {
        let lane = Self::start(host).await;
        let lane = Arc::new(lane);
        let mut server = lane.serve();
        lane.ready().await;
        let runners = if host == Host::Up { 1 } else { 2 };
        let homes: Vec<TempHome> = (0..runners).map(|number| lane.runner_home(number)).collect();
        let _runners: Vec<RunnerProcess> =
            homes.iter().map(|home| RunnerProcess::start(harrier(), home)).collect();
        let load = [
            tokio::spawn(push_all_the_time(Arc::clone(&lane))),
            tokio::spawn(call_all_the_time(Arc::clone(&lane))),
        ];

        let mut met = Met::new();
        let mut slowest = Duration::ZERO;
        for seed in seeds {
            let moment = MOMENTS[usize::try_from(seed / 3).unwrap() % MOMENTS.len()];
            let held = lane.moment(moment, *seed, &server).await;
            let open = lane.proxy.book(|book| book.open());
            server.kill_9();
            if held.is_some() {
                *met.entry(format!("{moment:?}")).or_default() += 1;
            }
            drop(held);
            // Claims wait for a job most of the time.
            for deed in open.iter().filter(|deed| **deed != Deed::Claim) {
                *met.entry(format!("at work on {deed:?}")).or_default() += 1;
            }
            let killed = Instant::now();
            server = lane.serve();
            lane.ready().await;
            let begun = Instant::now();
            while lane.proxy.book(|book| book.served).is_none_or(|at| at < killed) {
                assert!(
                    begun.elapsed() < RECOVERY,
                    "seed {seed} ({host:?}): no runner was served within {RECOVERY:?}\n{}",
                    server.log()
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            slowest = slowest.max(begun.elapsed());
        }
        lane.over.store(true, Ordering::Relaxed);
        for task in load {
            task.await.expect("its own panic tells");
        }
        let jobs = lane.end_of_all(&server).await;
        lane.check(&jobs, &server).await;
        let counts = lane.proxy.book(|book| book.count.clone());
        println!(
            "{host:?}: {} kills, slowest recovery {} ms, {} jobs, answers {counts:?}",
            seeds.len(),
            slowest.as_millis(),
            jobs.len()
        );
        met
    }

    /// Until a kill is due; the answer that is held back for it.
    async fn moment(&self, moment: Moment, seed: u64, server: &RunnerProcess) -> Option<Held> {
        let late = |most: u64| tokio::time::sleep(Duration::from_millis(number(seed) % most));
        let came = async {
            match moment {
                Moment::Any(most) => late(most).await,
                Moment::Sent(deed, most) => {
                    let mut sent = self.proxy.sent();
                    while sent.recv().await != Ok(deed) {}
                    late(most).await;
                }
                Moment::Untold(deed) => return self.proxy.hold(deed).await.ok(),
            }
            None
        };
        let came = tokio::time::timeout(PATIENCE, came).await;
        came.unwrap_or_else(|_| panic!("seed {seed}: {moment:?} never came\n{}", server.log()))
    }

    async fn start(host: Host) -> Self {
        let home = TempHome::new();
        let database = (host == Host::Postgres).then(ThrowAwayDatabase::new);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = free.local_addr().unwrap();
        drop(free);
        let proxy = Proxy::start(at).await;
        let mut lane = Self {
            host,
            home,
            database,
            at,
            proxy,
            token: String::new(),
            told: Mutex::default(),
            over: AtomicBool::new(false),
            next: AtomicU64::new(1),
        };
        // The first start makes root, whose token goes in without a server too.
        let first = lane.serve();
        first.wait_log("once:", PATIENCE).await;
        lane.token = lane.admin(&["token", "--scope", "api,read_repository,write_repository"]);
        lane.admin(&["project", PROJECT]);
        lane
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let address = self.database.iter().map(|database| ("HARRIER_DATABASE", database.address()));
        address.chain([("HARRIER_DATA", self.data().to_str().unwrap().to_owned())]).collect()
    }

    fn serve(&self) -> RunnerProcess {
        let verb = if self.host == Host::Up { "up" } else { "serve" };
        let (at, url) = (self.at.to_string(), format!("http://{}", self.proxy.at));
        let environment = self.environment();
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let arguments = [verb, "--listen", &at, "--external-url", &url];
        RunnerProcess::start_with(harrier(), &self.home, &arguments, &environment)
    }

    fn admin(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(harrier());
        command.arg("admin").args(arguments).envs(self.environment());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn runner_home(&self, number: usize) -> TempHome {
        let token = self.admin(&["runner", "--description", &format!("runner {number}")]);
        let home = TempHome::new();
        home.write_config(&format!(
            "concurrent = 2\ncheck_interval = 1\n\n[[runners]]\n  name = \"runner {number}\"\n  url = \"http://{}\"\n  token \
             = \"{token}\"\n  executor = \"shell\"\n  shell = \"bash\"\n  builds_dir = \"{}\"\n  cache_dir = \"{}\"\n",
            self.proxy.at,
            home.builds().display(),
            home.path().join("cache").display(),
        ));
        home
    }

    /// Until the server answers.
    async fn ready(&self) {
        let begun = Instant::now();
        while PlainClient::new(self.at)
            .send("GET", "/api/v4/version", &self.key(), b"")
            .await
            .map(|a| a.status())
            .ok()
            != Some(200)
        {
            assert!(begun.elapsed() < PATIENCE, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn key(&self) -> [(&str, &str); 1] {
        [("private-token", &self.token)]
    }

    /// Through the proxy; `None`: nobody knows what became of it.
    async fn call(&self, method: &str, path: &str, body: &Value) -> Option<Message> {
        let path = format!("/api/v4{path}");
        let mut client = PlainClient::new(self.proxy.at);
        match body {
            Value::Null => client.send(method, &path, &self.key(), b"").await.ok(),
            body => client.send_json(method, &path, &self.key(), body).await.ok(),
        }
    }

    /// Straight, at the end, when the server is there.
    async fn ask(&self, path: &str) -> Message {
        let answer = PlainClient::new(self.at).send("GET", &format!("/api/v4{path}"), &self.key(), b"").await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn all(&self, path: &str) -> Vec<Value> {
        let mut out = Vec::new();
        for page in 1.. {
            let mark = if path.contains('?') { '&' } else { '?' };
            let found = self.ask(&format!("{path}{mark}per_page=100&page={page}")).await.json();
            out.extend(entries(&found).cloned());
            if entries(&found).count() < 100 {
                break;
            }
        }
        out
    }

    fn told<T>(&self, write: impl FnOnce(&mut Told) -> T) -> T {
        write(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn marks(&self) -> PathBuf {
        self.home.path().join("marks")
    }

    /// Every job, once none is at work or waits for its turn.
    async fn end_of_all(&self, server: &RunnerProcess) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let jobs = self.all("/projects/1/jobs?include_retried=true").await;
            let open = ["created", "pending", "running", "canceling", "preparing", "waiting_for_resource"];
            let left: Vec<&Value> =
                jobs.iter().filter(|job| open.iter().any(|s| job["status"] == *s)).collect();
            if left.is_empty() {
                return jobs;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{:?}: these never end: {left:#?}\n{}",
                self.host,
                server.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn check(&self, jobs: &[Value], server: &RunnerProcess) {
        let host = self.host;
        let mut wrong: Vec<String> = self.proxy.book(|book| std::mem::take(&mut book.wrong));
        let told = self.told(std::mem::take);
        let status = |id: i64| {
            let job = jobs.iter().find(|job| job["id"] == id);
            job.map(|job| job["status"].as_str().unwrap_or_default().to_owned())
        };

        let pipelines = self.all("/projects/1/pipelines").await;
        for (branch, sha) in &told.pushes {
            let of_it = |p: &&Value| p["ref"] == *branch && p["sha"] == *sha && p["source"] == "push";
            let count = pipelines.iter().filter(of_it).count();
            if count != 1 {
                wrong.push(format!("the push of {branch} at {sha} has {count} pipelines"));
            }
        }
        for pipeline in pipelines.iter().filter(|p| p["source"] == "push") {
            let full = self.ask(&format!("/projects/1/pipelines/{}", pipeline["id"])).await.json();
            if full["user"]["username"] != "root" {
                wrong.push(format!("pipeline {} is of {}", pipeline["id"], full["user"]));
            }
        }
        for id in &told.pipelines {
            if !pipelines.iter().any(|p| p["id"] == *id) {
                wrong.push(format!("pipeline {id} is lost"));
            }
        }
        for (key, value) in &told.variables {
            let found = self.ask(&format!("/projects/1/variables/{key}")).await;
            if found.json()["value"] != **value {
                wrong.push(format!("variable {key}: {}", String::from_utf8_lossy(&found.body)));
            }
        }
        for token in &told.tokens {
            let own =
                PlainClient::new(self.at).send("GET", "/api/v4/user", &[("private-token", token)], b"").await;
            if own.unwrap().status() != 200 {
                wrong.push("a token that was made is not known".to_owned());
            }
        }
        for id in told.played.iter().filter(|id| status(**id).is_none_or(|status| status == "manual")) {
            wrong.push(format!("job {id} was played and is {:?}", status(*id)));
        }
        for id in told.retried.iter().filter(|id| status(**id).is_none()) {
            wrong.push(format!("job {id} of a retry is lost"));
        }
        for id in &told.canceled {
            // One that ended before it heard of it ends as it is.
            if !status(*id).is_some_and(|status| ["canceled", "success"].contains(&status.as_str())) {
                wrong.push(format!("job {id} was cancelled and is {:?}", status(*id)));
            }
        }

        let (logs, uploads, ends) =
            self.proxy.book(|book| (book.logs.clone(), book.uploads.clone(), book.ends.clone()));
        for (id, log) in &logs {
            let kept = self.ask(&format!("/projects/1/jobs/{id}/trace")).await.body;
            if kept.get(..log.acknowledged) != log.sent.get(..log.acknowledged) {
                wrong.push(format!("job {id}: of {} bytes of its log some are other", log.acknowledged));
            }
        }
        for (id, body) in &uploads {
            let kept = self.ask(&format!("/projects/1/jobs/{id}/artifacts")).await;
            let start = body.windows(4).position(|bytes| bytes == b"PK\x03\x04").unwrap_or_default();
            if kept.status() != 200 || !body[start..].starts_with(&kept.body) || kept.body.len() < 100_000 {
                wrong.push(format!("job {id}: its archive is not what was acknowledged: {}", kept.first));
            }
        }
        for (id, state) in &ends {
            let is = status(*id).unwrap_or_default();
            if is != *state && is != "canceled" {
                wrong.push(format!("job {id} was reported {state} and is {is:?}"));
            }
        }

        let marks = std::fs::read_to_string(self.marks()).unwrap_or_default();
        let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
        for line in marks.lines() {
            *runs.entry(line).or_default() += 1;
        }
        for (line, times) in runs.iter().filter(|(_, times)| **times > 1) {
            wrong.push(format!("`{line}` of a script {times} times"));
        }
        for job in jobs {
            let id = &job["id"];
            let ran = |what: &str| runs.contains_key(format!("{id} {what}").as_str());
            match job["status"].as_str().unwrap_or_default() {
                "success" if !ran("begins") || !ran("ends") => {
                    wrong.push(format!("job {id} succeeded without having run"));
                }
                // As with GitLab, sources and files of other jobs that cannot be fetched after all tries fail the job; its script
                // has not begun then.
                "failed" if !ran("begins") => {}
                "failed" => {
                    let log = self.ask(&format!("/projects/1/jobs/{id}/trace")).await.body;
                    let log = String::from_utf8_lossy(&log[log.len().saturating_sub(1500)..]).into_owned();
                    // Kills that met all three tries of an upload: it is told as what it is.
                    if ran("ends") && log.contains("artifacts could not be uploaded") {
                        continue;
                    }
                    wrong.push(format!("job {id} failed: {}\n{log}", job["failure_reason"]));
                }
                _ => {}
            }
        }
        if server.log().contains("panicked") {
            wrong.push("something panicked".to_owned());
        }
        let wrong: BTreeSet<String> = wrong.into_iter().collect();
        let said: String = wrong.iter().map(|said| format!("- {said}\n")).collect();
        assert!(wrong.is_empty(), "{host:?}:\n{said}\n{}", server.log());
        assert!(
            !told.pushes.is_empty() && !logs.is_empty() && !uploads.is_empty(),
            "{host:?}: there was no load"
        );
    }

    /// Jobs that wait or run; what they are more than is not pushed.
    async fn busy(&self) -> Option<usize> {
        let found =
            self.call("GET", "/projects/1/jobs?scope[]=pending&scope[]=running", &Value::Null).await?;
        (found.status() == 200).then(|| entries(&found.json()).count())
    }
}

fn harrier() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_harrier"))
}

fn configuration(marks: &Path) -> String {
    let marks = marks.display();
    let begins = format!("echo \"$CI_JOB_ID begins\" >> {marks}");
    let ends = format!("echo \"$CI_JOB_ID ends\" >> {marks}");
    format!(
        r#"
stages: [build, test]
variables: {{GIT_STRATEGY: none, GET_SOURCES_ATTEMPTS: 5, ARTIFACT_DOWNLOAD_ATTEMPTS: 5}}
log:
  stage: build
  script:
    - {begins}
    - for n in $(seq 30); do echo "line $n of $CI_JOB_ID"; sleep 0.01; done
    - seq -f "a long log of $CI_JOB_ID, line %g" 4000
    - {ends}
file:
  stage: build
  variables: {{GIT_STRATEGY: fetch}}
  script:
    - {begins}
    - grep -q Kestrel README.md
    - head -c 200000 /dev/urandom > file
    - {ends}
  artifacts: {{paths: [file]}}
reader:
  stage: test
  needs: [file]
  script:
    - {begins}
    - test "$(stat -c %s file)" = 200000
    - {ends}
hand:
  stage: test
  needs: []
  when: manual
  script:
    - {begins}
    - {ends}
"#
    )
}

/// Commits and pushes, one branch after the other; a push that fails is tried again until it is acknowledged.
async fn push_all_the_time(lane: Arc<Lane>) {
    let work = lane.home.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let git = |arguments: Vec<String>| {
        let mut command = tokio::process::Command::new("git");
        command.current_dir(&work).env("HOME", lane.home.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.args(["-c", "user.name=Kestrel", "-c", "user.email=kestrel@harrier.invalid"]).args(arguments);
        async move { command.output().await.unwrap() }
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
    std::fs::write(work.join(".gitlab-ci.yml"), configuration(&lane.marks())).unwrap();
    std::fs::write(work.join("README.md"), "# Kestrel\n").unwrap();
    git(words("init --quiet --initial-branch=main")).await;
    git(words("add -A")).await;
    let url = format!("http://root:{}@{}/{PROJECT}.git", lane.token, lane.proxy.at);
    for round in 0.. {
        if lane.over.load(Ordering::Relaxed) {
            return;
        }
        if lane.busy().await.is_none_or(|busy| busy > 5) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        git(words(&format!("commit --quiet --allow-empty -m Change-{round}"))).await;
        let sha = String::from_utf8(git(words("rev-parse HEAD")).await.stdout).unwrap().trim().to_owned();
        let branch = if round == 0 { "main".to_owned() } else { format!("branch-{round}") };
        let begun = Instant::now();
        loop {
            let done = git(vec!["push".into(), url.clone(), format!("HEAD:refs/heads/{branch}")]).await;
            if done.status.success() {
                lane.told(|told| told.pushes.push((branch, sha)));
                break;
            }
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(begun.elapsed() < PATIENCE, "{:?}: a push never goes through: {said}", lane.host);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What scripts do: variables, tokens, pipelines, jobs played, run again and cancelled.
async fn call_all_the_time(lane: Arc<Lane>) {
    while !lane.over.load(Ordering::Relaxed) {
        let n = lane.number();
        // A server that is away says so at once; nobody asks it a thousand times a second.
        tokio::time::sleep(Duration::from_millis(25)).await;
        let first = async |scope: &str, name: &str| {
            let path = format!("/projects/1/jobs?scope[]={scope}");
            let found = lane.call("GET", &path, &Value::Null).await?.json();
            entries(&found).find(|job| name.is_empty() || job["name"] == name)?["id"].as_i64()
        };
        match n % 12 {
            0 | 4 | 8 => {
                let (key, value) = (format!("KEY_{n}"), format!("value of {n}"));
                let answer =
                    lane.call("POST", "/projects/1/variables", &json!({"key": key, "value": value})).await;
                if answer.is_some_and(|answer| answer.status() == 201) {
                    lane.told(|told| told.variables.push((key, value)));
                }
            }
            2 | 6 => {
                let body = json!({"name": format!("token {n}"), "scopes": ["read_api"]});
                let answer = lane.call("POST", "/users/1/personal_access_tokens", &body).await;
                if let Some(token) = answer.filter(|a| a.status() == 201).map(|a| a.json()["token"].clone()) {
                    lane.told(|told| told.tokens.push(token.as_str().unwrap_or_default().to_owned()));
                }
            }
            10 if lane.busy().await.is_some_and(|busy| busy < 4) => {
                let answer = lane.call("POST", "/projects/1/pipeline", &json!({"ref": "main"})).await;
                if let Some(made) = answer.filter(|a| a.status() == 201) {
                    lane.told(|told| told.pipelines.extend(made.json()["id"].as_i64()));
                }
            }
            1 | 7 => {
                let Some(job) = first("manual", "").await else { continue };
                let answer = lane.call("POST", &format!("/projects/1/jobs/{job}/play"), &json!({})).await;
                if answer.is_some_and(|answer| answer.status() == 200) {
                    lane.told(|told| told.played.push(job));
                }
            }
            5 => {
                // A job whose files others wait for would leave them without: the newest row counts, as on GitLab.
                let Some(job) = first("success", "log").await else { continue };
                let answer = lane.call("POST", &format!("/projects/1/jobs/{job}/retry"), &json!({})).await;
                if let Some(made) = answer.filter(|a| a.status() == 201) {
                    lane.told(|told| told.retried.extend(made.json()["id"].as_i64()));
                }
            }
            11 if n.is_multiple_of(5) => {
                let Some(job) = first("running", "").await else { continue };
                let answer = lane.call("POST", &format!("/projects/1/jobs/{job}/cancel"), &json!({})).await;
                if answer.is_some_and(|answer| answer.status() == 201) {
                    lane.told(|told| told.canceled.push(job));
                }
            }
            _ => {}
        }
    }
}
