//! Fifty rounds of faults around jobs in containers, with the real binary and real engines: whoever dies, every job ends with
//! the right state and reason, its script has run once, its log is whole, and nothing but caches is left.
//!
//! A round is made of its seed alone. `HARRIER_FAULT_SEEDS=17` runs one, `HARRIER_FAULT_SEEDS=50..100` fifty others.

mod rig;

use harrier_testkit::{JobRecord, JobSpec, JobState, Options, RunnerProcess};
use rig::docker::{BUSYBOX, DockerRig, Engine, verdict};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// `kill -9` of the runner, and a new one.
    RunnerKilled,
    /// While it fetches sources.
    HelperKilled,
    /// While the script runs.
    HelperKilledAtRest,
    BuildKilled,
    BuildRemoved,
    Canceled,
    TimedOut,
    EngineRestarted,
    EngineKilled,
    RegistryGone,
    /// It is there again before the last try.
    RegistryAwhileAway,
    /// Before the job.
    DiskFull,
    /// While the script runs.
    DiskFilled,
    /// By the job itself.
    DiskFilledByJob,
}

use Fault::*;

/// Rounds that run one after another with one runner and one engine; the lanes run side by side.
const LANES: [&[Fault]; 4] = [
    &[
        RunnerKilled,
        HelperKilled,
        Canceled,
        BuildKilled,
        RunnerKilled,
        TimedOut,
        HelperKilledAtRest,
        Canceled,
        RunnerKilled,
        BuildRemoved,
        RunnerKilled,
        Canceled,
        HelperKilled,
        RunnerKilled,
        TimedOut,
    ],
    &[
        Canceled,
        RunnerKilled,
        BuildKilled,
        RunnerKilled,
        HelperKilledAtRest,
        RunnerKilled,
        Canceled,
        HelperKilled,
        TimedOut,
        RunnerKilled,
        BuildRemoved,
        Canceled,
        RunnerKilled,
        BuildKilled,
        RunnerKilled,
    ],
    &[
        EngineRestarted,
        RegistryGone,
        EngineKilled,
        RegistryAwhileAway,
        EngineRestarted,
        RegistryGone,
        EngineKilled,
        RegistryGone,
        EngineRestarted,
        RegistryAwhileAway,
        EngineKilled,
    ],
    &[
        DiskFilled,
        DiskFilledByJob,
        DiskFull,
        DiskFilled,
        DiskFilledByJob,
        DiskFilled,
        DiskFull,
        DiskFilledByJob,
        DiskFilled,
    ],
];
const ROUNDS: u64 = 50;

/// Lane and fault of a seed.
fn round(seed: u64) -> (usize, Fault) {
    let mut at = usize::try_from(seed % ROUNDS).expect("small");
    for (lane, faults) in LANES.iter().enumerate() {
        match faults.get(at) {
            Some(fault) => return (lane, *fault),
            None => at -= faults.len(),
        }
    }
    unreachable!("the lanes hold {ROUNDS} rounds")
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_jobs_end_right_and_nothing_is_left() {
    let seeds = seeds();
    let lanes: Vec<_> = (0..LANES.len())
        .map(|lane| {
            let seeds: Vec<u64> = seeds.iter().copied().filter(|seed| round(*seed).0 == lane).collect();
            tokio::spawn(async move {
                if seeds.is_empty() { BTreeMap::new() } else { lane_of(lane, &seeds).await }
            })
        })
        .collect();
    let mut fired: BTreeMap<Fault, usize> = BTreeMap::new();
    for lane in lanes {
        for (fault, times) in lane.await.expect("a lane's own panic tells") {
            *fired.entry(fault).or_default() += times;
        }
    }
    println!("faults that met a running job: {fired:?}");
    if seeds.len() as u64 >= ROUNDS {
        for fault in LANES.concat() {
            assert!(fired.contains_key(&fault), "{fault:?} never met a running job: {fired:?}");
        }
    }
}

/// Where nobody is ever refused, as behind systemd's `docker.socket`, the end of a script tells little of who has ended it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_is_restarted_behind_a_socket_that_stays_open() {
    let engine = Engine::apart(None).await.behind_an_open_socket();
    let rig = DockerRig::new(engine, Options::default(), 1, "network_mode = 'host'\n").await;
    let _runner = rig.start();
    let started = async |lines: &[&str]| {
        let id = rig.server.add_job(rig.job(lines));
        rig.server.wait_log(id, "started\n", rig::PATIENCE).await.expect("it starts");
        id
    };
    let system = Some("runner_system_failure");
    // A script that ends at once, and one that wants to be killed.
    for script in ["echo started; sleep 1000", "trap '' TERM; echo started; while :; do sleep 1; done"] {
        let id = started(&[script]).await;
        rig.engine.switch("restart").await;
        let job = rig.end_of(id).await;
        let log = job.log_text();
        assert_eq!(
            (verdict(&job).0, verdict(&job).1),
            (JobState::Failed, system),
            "{script}: {job:?}\n{log}"
        );
        assert!(log.contains("the engine at"), "{script}\n{log}");
    }
    // A script's own end, and one whose helper was killed before.
    let id = rig.server.add_job(rig.job(&["kill -9 $$; sleep 1000"]));
    let job = rig.end_of(id).await;
    assert_eq!(verdict(&job), (JobState::Failed, Some("script_failure"), Some(137)), "{}", job.log_text());
    let id = started(&["echo started; sleep 8; exit 3"]).await;
    let owner = format!("label=dev.harrier.owner={}", rig.owner());
    let filters = ["--filter", &owner, "--filter", "label=com.gitlab.gitlab-runner.type=predefined"];
    let helper = rig.engine.docker(&[&["ps", "--quiet"], &filters[..]].concat()).await;
    rig.engine.docker(&["kill", &helper]).await;
    let job = rig.end_of(id).await;
    assert_eq!(verdict(&job), (JobState::Failed, Some("script_failure"), Some(3)), "{}", job.log_text());
    rig.nothing_is_left("at the end").await;
    rig.server.assert_no_slips();
}

/// How a job goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Steady,
    /// After its third line it waits until it is let through.
    Gate,
    Endless,
}

struct Lane {
    rig: DockerRig,
    runner: Option<RunnerProcess>,
    registry: Option<Registry>,
    fired: BTreeMap<Fault, usize>,
}

async fn lane_of(number: usize, seeds: &[u64]) -> BTreeMap<Fault, usize> {
    let mut options =
        Options { runner_restarts: true, reservation: Duration::from_secs(3), ..Options::default() };
    let marks = tempfile::tempdir().expect("temp dir");
    let mut section = format!("volumes = ['/cache', '{}:/marks']\n", marks.path().display());
    let engine = match number {
        2 => Engine::apart(None).await,
        3 => Engine::apart(Some("640m")).await,
        _ => Engine::of_machine(&["busybox"]).await,
    };
    if number < 2 {
        // Containers in networks of their own reach the server over the engine's bridge.
        let args = ["run", "--rm", "harrier-test/busybox", "ip", "route", "show", "default"];
        let route = engine.docker(&args).await;
        let bridge = route.split(' ').skip_while(|word| *word != "via").nth(1).unwrap_or_default();
        options.host = Some(bridge.parse::<Ipv4Addr>().unwrap_or_else(|_| panic!("no gateway in {route:?}")));
    } else {
        section.push_str("network_mode = 'host'\n");
    }
    let registry = match number {
        2 => Some(Registry::new(&engine).await),
        _ => None,
    };
    let rig = DockerRig::new(engine, options, 1, &section).await;
    let runner = Some(rig.start());
    let mut lane = Lane { rig, runner, registry, fired: BTreeMap::new() };
    for seed in seeds {
        let fault = round(*seed).1;
        let context = format!("seed {seed}, lane {number}, {fault:?}");
        let before = std::time::Instant::now();
        lane.round(*seed, fault, marks.path(), &context).await;
        println!("{context}: {:?}", before.elapsed());
    }
    lane.swept("at the end").await;
    lane.rig.remove_caches().await;
    lane.rig.server.assert_no_slips();
    lane.fired
}

impl Lane {
    fn fired(&mut self, fault: Fault) {
        *self.fired.entry(fault).or_default() += 1;
    }

    fn restart_runner(&mut self) {
        if let Some(runner) = self.runner.take() {
            runner.kill_9();
        }
        self.runner = Some(self.rig.start());
    }

    /// A job that says known lines for some time.
    fn job(&self, seed: u64, pace: Pace) -> JobSpec {
        let lines = if pace == Pace::Endless { 100_000 } else { 30 };
        let gate = match pace {
            Pace::Gate => "[ $n != 3 ] || while [ ! -e /marks/go-$CI_JOB_ID ]; do sleep 0.05; done;",
            Pace::Steady | Pace::Endless => "",
        };
        let mut spec = self.rig.job(&[
            "echo \"$CI_JOB_ID\" >> /marks/ran",
            &format!("for n in $(seq {lines}); do echo \"line $n of $CI_JOB_ID\"; {gate} sleep 0.05; done"),
        ]);
        // Some have a network of their own, some a service, some volumes that go with them.
        let bits = number(seed ^ 0xb175);
        let flag =
            |spec: &mut JobSpec, name: &str| spec.variables.push(harrier_testkit::Var::new(name, "true"));
        if self.rig.engine.is_of_machine() && bits & 1 == 1 {
            flag(&mut spec, "FF_NETWORK_PER_BUILD");
        }
        if bits & 6 == 6 {
            spec.extra.insert(
                "services".into(),
                json!([{ "name": BUSYBOX, "alias": "beside", "command": ["sleep", "1000"] }]),
            );
            spec.variables.push(harrier_testkit::Var::new("FF_X", "1"));
        }
        if bits & 8 == 8 {
            spec.variables.push(harrier_testkit::Var::new("GIT_STRATEGY", "clone"));
        }
        spec
    }

    async fn reaches(&self, id: i64, text: &str) {
        if let Err(error) = self.rig.server.wait_log(id, text, rig::PATIENCE).await {
            panic!("{error}\nthe runner's log:\n{}", self.rig.runner_log());
        }
    }

    /// The one running container of this kind of the job.
    async fn container(&self, id: i64, kind: &str) -> String {
        let owner = format!("label=dev.harrier.owner={}", self.rig.owner());
        let job = format!("label=com.gitlab.gitlab-runner.job.id={id}");
        let kind = format!("label=com.gitlab.gitlab-runner.type={kind}");
        let found = self
            .rig
            .engine
            .docker(&["ps", "--quiet", "--filter", &owner, "--filter", &job, "--filter", &kind])
            .await;
        assert!(!found.is_empty() && !found.contains('\n'), "{kind} of job {id}: {found:?}");
        found
    }

    async fn round(&mut self, seed: u64, fault: Fault, marks: &Path, context: &str) {
        let random = number(seed);
        let moment = Duration::from_millis(random % 2000);
        let (mut stopped_by_us, mut gated) = (false, false);
        let id = match fault {
            RunnerKilled => {
                // What a moment meets is up to the machine; some rounds are sure to meet the script.
                gated = seed.is_multiple_of(4);
                let pace = if gated { Pace::Gate } else { Pace::Steady };
                let id = self.rig.server.add_job(self.job(seed, pace));
                if gated {
                    self.reaches(id, "line 3 of").await;
                    self.fired(fault);
                } else {
                    tokio::time::sleep(moment).await;
                }
                self.restart_runner();
                let_through(marks, id);
                id
            }
            HelperKilled => {
                let mut spec = self.job(seed, Pace::Steady);
                let hook =
                    json!([{ "name": "pre_get_sources_script", "script": ["echo hooked; sleep 1000"] }]);
                spec.extra.insert("hooks".into(), hook);
                let id = self.rig.server.add_job(spec);
                self.reaches(id, "hooked\n").await;
                let helper = self.container(id, "predefined").await;
                self.rig.engine.docker(&["kill", &helper]).await;
                self.fired(fault);
                id
            }
            HelperKilledAtRest | BuildKilled | BuildRemoved => {
                let id = self.rig.server.add_job(self.job(seed, Pace::Gate));
                self.reaches(id, "line 3 of").await;
                let kind = if fault == HelperKilledAtRest { "predefined" } else { "build" };
                // One that may serve several jobs carries no job's labels; one job runs at a time.
                let mut containers = match fault {
                    HelperKilledAtRest => self.rig.helpers().await,
                    _ => Vec::new(),
                };
                if containers.is_empty() {
                    containers.push(self.container(id, kind).await);
                }
                let verb: &[&str] = if fault == BuildRemoved { &["rm", "--force"] } else { &["kill"] };
                let names: Vec<&str> = containers.iter().map(String::as_str).collect();
                self.rig.engine.docker(&[verb, &names].concat()).await;
                let_through(marks, id);
                self.fired(fault);
                id
            }
            Canceled => {
                let id = self.rig.server.add_job(self.job(seed, Pace::Endless));
                let running = self.rig.server.wait_state(id, JobState::Running, rig::PATIENCE).await;
                running.unwrap_or_else(|error| panic!("{context}: {error}\n{}", self.rig.runner_log()));
                tokio::time::sleep(moment).await;
                self.rig.server.cancel(id);
                self.fired(fault);
                id
            }
            TimedOut => {
                let spec = JobSpec { timeout: 2 + random % 2, ..self.job(seed, Pace::Endless) };
                self.fired(fault);
                self.rig.server.add_job(spec)
            }
            EngineRestarted | EngineKilled => {
                let id = self.rig.server.add_job(self.job(seed, Pace::Endless));
                if random & 1 == 0 {
                    self.reaches(id, "line 3 of").await;
                } else {
                    tokio::time::sleep(moment).await;
                }
                if self.rig.server.job(id).is_some_and(|job| job.state == JobState::Running) {
                    self.fired(fault);
                }
                match fault {
                    EngineRestarted => self.rig.engine.switch("restart").await,
                    _ => self.rig.engine.kill_9().await,
                }
                // A job that was not under way yet is one of the engine that is there now.
                if random & 1 == 1 {
                    let met = |job: &JobRecord| job.state.is_final() || job.log_text().contains("line 40 of");
                    let job = self.rig.server.wait_until(id, rig::PATIENCE, met).await;
                    let job =
                        job.unwrap_or_else(|error| panic!("{context}: {error}\n{}", self.rig.runner_log()));
                    if !job.state.is_final() {
                        stopped_by_us = true;
                        self.rig.server.cancel(id);
                    }
                }
                id
            }
            RegistryGone | RegistryAwhileAway => {
                let registry = self.registry.as_mut().expect("this lane has one");
                registry.forget(&self.rig.engine).await;
                let spec = {
                    let mut spec = JobSpec {
                        ..JobSpec::in_project(
                            self.rig.project,
                            &[
                                "echo \"$CI_JOB_ID\" >> /marks/ran",
                                "for n in $(seq 30); do echo \"line $n of $CI_JOB_ID\"; done",
                            ],
                        )
                    };
                    spec.extra.insert(
                        "image".into(),
                        json!({ "name": registry.image, "pull_policy": ["if-not-present"] }),
                    );
                    spec
                };
                if fault == RegistryGone {
                    registry.start().await;
                    registry.cut_after(200_000 + random % 5_000_000);
                    let id = self.rig.server.add_job(spec);
                    registry.is_cut().await;
                    registry.stop();
                    self.fired(fault);
                    id
                } else {
                    registry.run().await;
                    let id = self.rig.server.add_job(spec);
                    self.reaches(id, "trying again in").await;
                    self.registry.as_mut().expect("this lane has one").open().await;
                    self.fired(fault);
                    id
                }
            }
            DiskFull => {
                self.rig.engine.fill();
                self.fired(fault);
                self.rig.server.add_job(self.job(seed, Pace::Steady))
            }
            DiskFilled => {
                let id = self.rig.server.add_job(self.job(seed, Pace::Gate));
                self.reaches(id, "line 3 of").await;
                self.rig.engine.fill();
                let_through(marks, id);
                self.fired(fault);
                id
            }
            DiskFilledByJob => {
                self.fired(fault);
                self.rig.server.add_job(
                    self.rig.job(&["echo \"$CI_JOB_ID\" >> /marks/ran", "dd if=/dev/zero of=/filler bs=1M"]),
                )
            }
        };
        let job = self.rig.end_of(id).await;
        self.judge(&job, fault, stopped_by_us, context);
        assert!(!gated || job.state == JobState::Success, "{context}: {}", job.log_text());
        let ran = std::fs::read_to_string(marks.join("ran")).unwrap_or_default();
        let times = ran.lines().filter(|line| *line == id.to_string()).count();
        assert!(times <= 1, "{context}: the script ran {times} times\n{}", job.log_text());
        if fault == DiskFilled {
            // Clearing away needs no free byte.
            self.rig.nothing_is_left(context).await;
        }
        if matches!(fault, DiskFilled | DiskFull) {
            self.rig.engine.empty();
        }
        if let Some(registry) = &mut self.registry {
            registry.stop();
        }
        self.swept(context).await;
        // The next job is unharmed.
        if matches!(fault, EngineRestarted | EngineKilled | DiskFull | DiskFilled | DiskFilledByJob) {
            let next =
                self.rig.end_of(self.rig.server.add_job(self.rig.job(&["grep Kestrel README.md"]))).await;
            assert_eq!(
                next.state,
                JobState::Success,
                "{context}, the job after: {}\n{}",
                next.log_text(),
                self.rig.runner_log()
            );
            // What goes only now would be room on a disk that the next round fills.
            self.swept(context).await;
        }
    }

    /// The right state and reason.
    fn judge(&self, job: &JobRecord, fault: Fault, stopped_by_us: bool, context: &str) {
        let log = job.log_text();
        let found = verdict(job);
        let wrong = || panic!("{context}: {found:?}\n{log}\nthe runner's log:\n{}", self.rig.runner_log());
        let whole = || {
            let wanted: String = (1..=30).map(|n| format!("line {n} of {}\n", job.id)).collect();
            let output = job.job_output();
            assert!(output.contains(&wanted), "{context}: the log is not whole:\n{log}");
            assert_eq!(output.matches("line 7 of").count(), 1, "{context}: said twice:\n{log}");
        };
        let reports = job.puts.iter().filter(|put| put.state != "running").count();
        let says = |text: &str| assert!(log.contains(text), "{context}: no {text:?} in\n{log}");
        match (fault, found) {
            (
                RunnerKilled | HelperKilledAtRest | RegistryAwhileAway | DiskFilled,
                (JobState::Success, None, _),
            ) => whole(),
            // The runner died while the script was on its way: it may have run, so it is not run again.
            (RunnerKilled, (JobState::Failed, Some("runner_system_failure"), _)) => {
                says("it is not known whether the script had reached its container");
            }
            (HelperKilled, (JobState::Failed, Some("runner_system_failure"), _)) => {
                says("ended in the middle of its work (exit code 137)");
            }
            (BuildKilled, (JobState::Failed, Some("script_failure"), Some(137))) => {}
            (BuildRemoved, (JobState::Failed, Some("script_failure"), Some(137))) => {}
            (BuildRemoved, (JobState::Failed, Some("runner_system_failure"), _)) => {
                says("somebody else removed it")
            }
            (Canceled, (JobState::Canceled, _, _)) => {}
            (TimedOut, (JobState::Failed, Some("job_execution_timeout"), _)) => {}
            (EngineRestarted | EngineKilled, (JobState::Failed, Some("runner_system_failure"), _)) => {
                says("the engine at")
            }
            (EngineRestarted | EngineKilled, (JobState::Canceled, _, _)) if stopped_by_us => {}
            (
                RegistryGone,
                (JobState::Failed, Some("image_pull_failure" | "runner_external_dependency_failure"), _),
            ) => {
                says("failed to pull image");
                says("what to do:");
            }
            (DiskFull, (JobState::Failed, Some("runner_system_failure"), _)) => {
                says("no space left on device")
            }
            (DiskFilledByJob, (JobState::Failed, Some("script_failure"), Some(1))) => {
                says("No space left on device")
            }
            _ => wrong(),
        }
        assert!(reports <= 1, "{context}: reported {reports} times: {:?}", job.puts);
    }

    /// Nothing is left, if need be after the sweep of a new runner.
    async fn swept(&mut self, context: &str) {
        let patience = tokio::time::Instant::now() + Duration::from_secs(5);
        while tokio::time::Instant::now() < patience {
            if self.rig.left().await.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{context}: left to the sweep: {:?}", self.rig.left().await);
        self.restart_runner();
        self.rig.nothing_is_left(context).await;
    }
}

/// Lets a job go on that waits at its gate.
fn let_through(marks: &Path, id: i64) {
    std::fs::write(marks.join(format!("go-{id}")), "").expect("written");
}

/// A registry of the test's own with one image, behind a door that can be shut in the middle of a pull.
struct Registry {
    dir: tempfile::TempDir,
    /// Whose port the engine knows.
    door: u16,
    image: String,
    process: Option<Child>,
    /// Where the process listens, behind the door.
    inner: u16,
    open: Option<tokio::task::JoinHandle<()>>,
    /// Bytes that may still pass.
    left: Arc<AtomicU64>,
}

impl Registry {
    /// Makes the image and pushes it.
    async fn new(engine: &Engine) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let door = free.local_addr().expect("an address").port();
        drop(free);
        let mut registry = Self {
            dir: tempfile::tempdir().expect("temp dir"),
            door,
            image: format!("127.0.0.1:{door}/test/slow"),
            process: None,
            inner: 0,
            open: None,
            left: Arc::new(AtomicU64::new(u64::MAX)),
        };
        let fill = "mkdir \"$1/bin\"; cp /bin/busybox \"$1/bin/sh\"; for name in seq sleep cat mkdir; do ln -s sh \"$1/bin/$name\"; done; head -c 6000000 /dev/urandom > \"$1/ballast\"";
        engine.make_image(&registry.image, fill, &["ENV PATH=/bin"]).await;
        registry.start().await;
        engine.docker(&["push", &registry.image]).await;
        registry.stop();
        registry
    }

    async fn forget(&self, engine: &Engine) {
        // Not there is fine.
        rig::docker::output_of(engine.command(&["image", "rm", "--force", &self.image])).await;
    }

    fn cut_after(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    async fn is_cut(&self) {
        rig::until("the pull reaches the cut", || self.left.load(Ordering::SeqCst) == 0).await;
    }

    async fn start(&mut self) {
        self.run().await;
        self.open().await;
    }

    /// Behind the shut door.
    async fn run(&mut self) {
        self.inner =
            TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
        let config = self.dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:{}\n  host: http://127.0.0.1:{}\n",
            self.dir.path().join("images").display(),
            self.inner,
            self.door
        );
        std::fs::write(&config, text).expect("written");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed by scripts/registry.sh");
        let deadline = tokio::time::Instant::now() + rig::PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.inner)).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "the registry does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.process = Some(child);
    }

    async fn open(&mut self) {
        self.left.store(u64::MAX, Ordering::SeqCst);
        let door = TcpListener::bind(("127.0.0.1", self.door)).await.expect("the port is still ours");
        self.open = Some(tokio::spawn(keep_door(door, self.inner, Arc::clone(&self.left))));
    }

    /// The registry and every connection to it end at once.
    fn stop(&mut self) {
        if let Some(door) = self.open.take() {
            door.abort();
        }
        if let Some(mut child) = self.process.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Passes on what the registry says as long as bytes are left; then nobody is let in any more.
async fn keep_door(door: TcpListener, inner: u16, left: Arc<AtomicU64>) {
    let mut guests = tokio::task::JoinSet::new();
    loop {
        let Ok((guest, _)) = door.accept().await else { return };
        let left = Arc::clone(&left);
        guests.spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", inner)).await else { return };
            let (mut guest_in, mut guest_out) = guest.into_split();
            let (mut server_in, mut server_out) = server.into_split();
            let back = async {
                let mut chunk = vec![0; 64 * 1024];
                loop {
                    let Ok(n @ 1..) = server_in.read(&mut chunk).await else { return };
                    let may = left.load(Ordering::SeqCst);
                    if may < n as u64 {
                        left.store(0, Ordering::SeqCst);
                        return;
                    }
                    if may != u64::MAX {
                        left.fetch_sub(n as u64, Ordering::SeqCst);
                    }
                    if guest_out.write_all(&chunk[..n]).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = back => {}
                _ = tokio::io::copy(&mut guest_in, &mut server_out) => {}
            }
        });
    }
}
