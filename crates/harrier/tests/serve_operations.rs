//! A server as an operator has it: its log in JSON, without a secret in it; metrics and probes; and its end on TERM, with requests
//! under way.

#![allow(clippy::unwrap_used)]

use harrier_testkit::{RunnerProcess, TempHome};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// What must never be in the log.
const CANARY: &str = "canary-4711-do-not-tell";

const CONFIG: &str = "build:\n  script: make\n  artifacts: {paths: [out]}\n";

struct Server {
    process: RunnerProcess,
    home: TempHome,
    address: String,
}

/// A connection on which one request is asked.
struct Ask(TcpStream);

impl Ask {
    fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Everything until the server closes.
    fn answer(mut self) -> String {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Server {
    async fn start(more: &[&str]) -> Self {
        Self::start_at(TempHome::new(), more).await
    }

    async fn start_at(home: TempHome, more: &[&str]) -> Self {
        let data = home.path().join("data");
        let mut arguments = vec!["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        arguments.extend(["--log-format", "json"]);
        arguments.extend(more);
        let process =
            RunnerProcess::start_with(Path::new(env!("CARGO_BIN_EXE_harrier")), &home, &arguments, &[]);
        process.wait_log("\"listening\"", PATIENCE).await;
        let log = process.log();
        let line = log.lines().find(|line| line.contains("\"listening\"")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let address = line["address"].as_str().unwrap().to_owned();
        Self { process, home, address }
    }

    /// What a command of the administrator prints.
    fn admin(&self, arguments: &[&str]) -> String {
        let done = Command::new(env!("CARGO_BIN_EXE_harrier"))
            .args(["admin", "--data"])
            .arg(self.home.path().join("data"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    fn head(&self, method: &str, path: &str, headers: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.address)
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let kind = if body.starts_with('{') { "Content-Type: application/json\r\n" } else { "" };
        let long = format!("{headers}{kind}Content-Length: {}\r\n", body.len());
        let mut ask = Ask::new(&self.address);
        ask.send(self.head(method, path, &long).as_bytes());
        ask.send(body.as_bytes());
        ask.answer()
    }

    fn json(&self, method: &str, path: &str, headers: &str, body: &str) -> Value {
        let answer = self.ask(method, path, headers, body);
        let text = answer.split_once("\r\n\r\n").unwrap().1;
        // Chunked bodies have their length before them.
        let begin = text.find(['{', '[']).unwrap_or_else(|| panic!("no JSON: {answer}"));
        let mut values = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Value>();
        values.next().unwrap().unwrap()
    }

    /// Pushes a configuration, which makes project and pipeline.
    fn push(&self, token: &str) {
        let work = self.home.path().join("work");
        std::fs::create_dir(&work).unwrap();
        std::fs::write(work.join(".gitlab-ci.yml"), CONFIG).unwrap();
        let remote = format!("http://root:{token}@{}/root/app.git", self.address);
        for arguments in [
            &["init", "-q", "-b", "main"][..],
            &["add", "."],
            &["-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "-q", "-m", "First"],
            &["push", "-q", &remote, "main"],
        ] {
            let done = Command::new("git")
                .current_dir(&work)
                .args(arguments)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .output()
                .unwrap();
            assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }

    fn metrics(&self) -> String {
        self.ask("GET", "/metrics", "", "")
    }

    /// Waits until the metrics have a line.
    async fn wait_metric(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.metrics().lines().any(|found| found == line) {
            assert!(Instant::now() < deadline, "never {line}:\n{}", self.metrics());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn request(runner: &str, more: &str) -> String {
    format!(
        r#"{{"token": "{runner}", "system_id": "s_1", "info": {{"features": {{"two_phase_job_commit": true,
        "upload_multiple_artifacts": true}}}}{more}}}"#
    )
}

#[tokio::test]
async fn an_operator_sees_what_happens_and_no_secret() {
    let mut server = Server::start(&[]).await;
    let token = server.admin(&["token", "--user", "root", "--scope", "api"]);
    let runner = server.admin(&["runner", "--description", "r"]);
    let auth = format!("PRIVATE-TOKEN: {token}\r\n");

    // Probes.
    assert!(server.ask("GET", "/-/health", "", "").contains("Harrier OK"));
    assert_eq!(server.json("GET", "/-/liveness", "", "")["status"], "ok");
    let ready = server.json("GET", "/-/readiness", "", "");
    assert_eq!((&ready["status"], &ready["git_check"][0]["status"]), (&"ok".into(), &"ok".into()));

    // Metrics: near, or an administrator's.
    assert_eq!(status(&server.metrics()), "200");
    let far = "X-Forwarded-For: 192.0.2.1\r\n";
    assert_eq!(status(&server.ask("GET", "/metrics", far, "")), "401");
    assert_eq!(status(&server.ask("GET", "/metrics", &format!("{far}{auth}"), "")), "200");
    let bearer = format!("{far}Authorization: Bearer {token}\r\n");
    assert_eq!(status(&server.ask("GET", "/metrics", &bearer, "")), "200");

    // Secrets in every place where a request can have one.
    server.push(&token);
    let made = format!(r#"{{"key": "K", "value": "{CANARY}", "masked": true}}"#);
    assert_eq!(status(&server.ask("POST", "/api/v4/projects/root%2Fapp/variables", &auth, &made)), "201");
    for (method, path, headers, body) in [
        ("GET", format!("/api/v4/user?private_token={CANARY}"), String::new(), String::new()),
        ("GET", "/api/v4/user".into(), format!("PRIVATE-TOKEN: {CANARY}\r\n"), String::new()),
        ("GET", "/api/v4/user".into(), format!("Authorization: Bearer {CANARY}\r\n"), String::new()),
        (
            "GET",
            "/root/app.git/info/refs?service=git-upload-pack".into(),
            // root:canary-4711-do-not-tell
            "Authorization: Basic cm9vdDpjYW5hcnktNDcxMS1kby1ub3QtdGVsbA==\r\n".into(),
            String::new(),
        ),
        ("GET", format!("/-/setup/{CANARY}"), String::new(), String::new()),
        ("GET", format!("/{CANARY}/x"), String::new(), String::new()),
        ("GET", format!("/api/v4/{CANARY}"), String::new(), String::new()),
        (
            "POST",
            "/-/login".into(),
            "Content-Type: application/x-www-form-urlencoded\r\n".into(),
            format!("username=root&password={CANARY}"),
        ),
        (
            "POST",
            format!("/api/v4/projects/root%2Fapp/trigger/pipeline?token={CANARY}&ref=main"),
            String::new(),
            String::new(),
        ),
        ("POST", "/api/v4/runners".into(), String::new(), format!(r#"{{"token": "{CANARY}"}}"#)),
        (
            "POST",
            "/api/v4/users".into(),
            auth.clone(),
            format!(r#"{{"username": "x", "password": "{CANARY}"}}"#),
        ),
        (
            "POST",
            "/api/v4/projects/root%2Fapp/pipeline".into(),
            auth.clone(),
            format!(r#"{{"ref": "main", "variables": [{{"key": "V", "value": "{CANARY}"}}]}}"#),
        ),
    ] {
        let answer = server.ask(method, &path, &headers, &body);
        assert!(!status(&answer).starts_with('5'), "{path}: {answer}");
    }
    let answer = server.ask("GET", "/api/v4/projects/root%2Fapp", &auth, "");
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().to_owned();

    // A job taken, and a runner that waits.
    let job = server.json("POST", "/api/v4/jobs/request", "", &request(&runner, ""));
    let (number, job_token) = (job["id"].as_i64().unwrap(), job["token"].as_str().unwrap().to_owned());
    let accept = format!(r#"{{"token": "{job_token}", "state": "running"}}"#);
    let job_auth = format!("JOB-TOKEN: {job_token}\r\n");
    assert_eq!(status(&server.ask("PUT", &format!("/api/v4/jobs/{number}"), &job_auth, &accept)), "200");
    let log = format!("{job_auth}Content-Range: 0-{}\r\nContent-Type: text/plain\r\n", CANARY.len() - 1);
    assert_eq!(status(&server.ask("PATCH", &format!("/api/v4/jobs/{number}/trace"), &log, CANARY)), "202");
    server.wait_metric("harrier_jobs{status=\"running\"} 1").await;
    let metrics = server.metrics();
    for line in [
        "harrier_job_queue_duration_seconds_count 1",
        "harrier_runners{status=\"online\"} 1",
        "harrier_pushes_total 1",
        "harrier_projects 1",
        "# TYPE http_request_duration_seconds histogram",
        "# TYPE harrier_database_transaction_duration_seconds histogram",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line}:\n{metrics}");
    }
    let other = server.admin(&["runner", "--description", "waits", "--tag", "none"]);
    let body = request(&other, r#", "last_update": "harrier""#);
    let mut poll = Ask::new(&server.address);
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    poll.send(format!("{}{body}", server.head("POST", "/api/v4/jobs/request", &headers)).as_bytes());
    server.wait_metric("harrier_runners{status=\"online\"} 2").await;

    // An upload that has begun.
    let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\r\n";
    let end = "\r\n--b--\r\n";
    let zip = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let long = part.len() + zip.len() + end.len();
    let headers = format!(
        "{job_auth}Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {long}\r\n"
    );
    let mut upload = Ask::new(&server.address);
    let path = format!("/api/v4/jobs/{number}/artifacts?artifact_format=zip&artifact_type=archive");
    upload.send(server.head("POST", &path, &headers).as_bytes());
    let mut go_on = [0; 25];
    upload.0.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    upload.send(part.as_bytes());

    // The end: who waits is answered, what is under way comes to its end.
    server.process.signal(Signal::SIGTERM);
    let answer = poll.answer();
    assert_eq!(status(&answer), "204", "{answer}");
    upload.send(zip);
    upload.send(end.as_bytes());
    let answer = upload.answer();
    assert_eq!(status(&answer), "201", "{answer}");
    let ended = server.process.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", server.process.log());

    // The log: objects, with what happened, and nothing that is secret.
    let log = server.process.log();
    for secret in [CANARY, &token, &runner, &job_token] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    let mut lines = Vec::new();
    for line in log.lines().filter(|line| !line.starts_with("Harrier ") && !line.starts_with("  set the")) {
        lines.push(serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
    }
    let has = |wanted: &[(&str, &str)]| {
        let fits = |line: &&Value| wanted.iter().all(|(key, value)| line[*key] == *value);
        assert!(lines.iter().any(|line| fits(&line)), "no {wanted:?}:\n{log}");
    };
    has(&[
        ("msg", "request"),
        ("request_id", &id),
        ("route", "projects/{id}"),
        ("user", "root"),
        ("class", "api"),
    ]);
    has(&[("msg", "request"), ("class", "git"), ("route", "git-receive-pack"), ("user", "root")]);
    has(&[("msg", "request"), ("class", "page"), ("route", "/-/setup/{}")]);
    has(&[
        ("msg", "request"),
        ("class", "runner"),
        ("route", "/api/v4/jobs/request"),
        ("remote", "127.0.0.1"),
    ]);
    has(&[("msg", "push"), ("project", "root/app"), ("user", "root")]);
    has(&[("msg", "job"), ("status", "running")]);
    has(&[("msg", "pipeline"), ("status", "running")]);
    has(&[("msg", "a log-in failed"), ("level", "warning")]);
}

/// Whether a process has a lock of POSIX on a file.
fn locked(path: &Path, process: u32) -> bool {
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    let (process, inode) = (process.to_string(), format!(":{inode}"));
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"POSIX")
            && words.get(4) == Some(&process.as_str())
            && words.get(5).is_some_and(|place| place.ends_with(&inode))
    })
}

/// SQLite's locks are of the process: a file that is opened and closed beside its connections drops them, and the next program that
/// leaves, such as an operator's sqlite3, takes the log of writes with it, under the server.
#[tokio::test]
async fn commands_beside_the_server_leave_its_files_to_it() {
    let server = Server::start(&[]).await;
    let data = server.home.path().join("data");
    let mode = |name: &str| {
        let found = std::fs::metadata(data.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777
    };
    let token = server.admin(&["token", "--user", "root", "--scope", "api"]);
    let auth = format!("PRIVATE-TOKEN: {token}\r\n");
    for round in 0..4 {
        let body = format!(
            r#"{{"username": "user{round}", "name": "U", "email": "u{round}@example.com", "password": "correct horse {round}"}}"#
        );
        assert_eq!(status(&server.ask("POST", "/api/v4/users", &auth, &body)), "201");
        let users = server.admin(&["list", "users"]);
        assert!(users.contains(&format!("user{round}")), "what the server wrote is seen:\n{users}");
        assert!(locked(&data.join("harrier.db"), server.process.id()), "the server has lost its lock");
        for name in ["harrier.db", "harrier.db-wal", "harrier.db-shm"] {
            assert_eq!(mode(name), 0o600, "{name}");
        }
    }
    let backup = server.home.path().join("copy");
    let done = Command::new(env!("CARGO_BIN_EXE_harrier"))
        .args(["backup", "--data"])
        .args([&data, &backup])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(data.join("harrier.db-wal").exists());

    let Server { mut process, home, .. } = server;
    process.signal(Signal::SIGKILL);
    process.wait(PATIENCE).await.expect("it ends");
    drop(process);
    std::fs::remove_file(home.path().join("runner.log")).unwrap();
    let again = Server::start_at(home, &[]).await;
    let users = again.ask("GET", "/api/v4/users", &auth, "");
    for round in 0..4 {
        assert!(users.contains(&format!("user{round}")), "{users}");
    }
}

#[tokio::test]
async fn behind_a_proxy_nobody_is_near() {
    let server = Server::start(&["--external-url", "http://ci.example.com"]).await;
    assert_eq!(status(&server.metrics()), "401");
}

#[tokio::test]
async fn wrong_tokens_and_passwords_have_to_wait() {
    let server = Server::start(&[]).await;
    let wrong = "PRIVATE-TOKEN: glpat-wrong\r\n";
    let mut tries = 0;
    let refused = loop {
        let answer = server.ask("GET", "/api/v4/user", wrong, "");
        match status(&answer) {
            "401" if tries < 400 => tries += 1,
            _ => break answer,
        }
    };
    assert_eq!((status(&refused), tries), ("429", 300), "{refused}");
    assert!(refused.contains("retry-after: "), "{refused}");
    let git = "/root/app.git/info/refs?service=git-upload-pack";
    let token = "Authorization: Basic cm9vdDpnbHBhdC14\r\n"; // root:glpat-x
    assert_eq!(
        status(&server.ask("GET", git, token, "")),
        "429",
        "tokens of git are counted with the others"
    );
    // Who brings none is no guesser.
    assert_eq!(status(&server.ask("GET", "/-/health", "", "")), "200");
}

#[tokio::test]
async fn wrong_passwords_of_git_have_to_wait() {
    let server = Server::start(&[]).await;
    let git = "/root/app.git/info/refs?service=git-upload-pack";
    let password = "Authorization: Basic cm9vdDp3cm9uZw==\r\n"; // root:wrong
    for _ in 0..10 {
        assert_eq!(status(&server.ask("GET", git, password, "")), "401");
    }
    assert_eq!(status(&server.ask("GET", git, password, "")), "429");
    assert_eq!(status(&server.ask("GET", "/api/v4/user", password, "")), "429");
}

#[tokio::test]
async fn an_administrator_sets_everything_up_beside_the_server() {
    let server = Server::start(&[]).await;
    let list =
        |what: &str| -> Value { serde_json::from_str(&server.admin(&["list", what, "--json"])).unwrap() };
    let fails = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_harrier"))
            .args(["admin", "--data"])
            .arg(server.home.path().join("data"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(!done.status.success(), "{arguments:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let user_of = |token: &str| {
        let answer = server.ask("GET", "/api/v4/user", &format!("PRIVATE-TOKEN: {token}\r\n"), "");
        status(&answer).to_owned()
    };

    // Users and their tokens.
    server.admin(&["user", "add", "ann", "--email", "ann@example.com"]);
    let token = server.admin(&["token", "--user", "ann", "--scope", "api", "--name", "ci"]);
    assert_eq!(user_of(&token), "200");
    server.admin(&["user", "block", "ann"]);
    assert_eq!(user_of(&token), "403");
    assert_eq!(list("users")[0]["state"], "blocked");
    server.admin(&["user", "unblock", "ann"]);
    server.admin(&["user", "edit", "ann", "--display-name", "Ann", "--admin", "true"]);
    let users = list("users");
    assert_eq!((&users[0]["name"], &users[0]["admin"]), (&"Ann".into(), &true.into()));
    let tokens = list("tokens");
    assert_eq!((&tokens[0]["user"], &tokens[0]["name"]), (&"ann".into(), &"ci".into()));
    assert!(!server.admin(&["list", "tokens"]).contains(&token));
    server.admin(&["revoke-token", &tokens[0]["id"].to_string()]);
    assert_eq!(user_of(&token), "401");
    assert_eq!(list("tokens"), Value::Array(Vec::new()));
    server.admin(&["user", "edit", "ann", "--admin", "false"]);
    assert!(fails(&["user", "block", "root"]).contains("only administrator"));
    assert!(fails(&["user", "remove", "root"]).contains("only administrator"));

    // A password forgotten too often.
    let git = "/root/app.git/info/refs?service=git-upload-pack";
    let password = "Authorization: Basic YW5uOndyb25n\r\n"; // ann:wrong
    for _ in 0..10 {
        assert_eq!(status(&server.ask("GET", git, password, "")), "401");
    }
    assert_eq!(status(&server.ask("GET", git, password, "")), "429");
    server.admin(&["user", "unlock", "ann"]);
    assert!(server.ask("GET", git, password, "").contains("429"), "the address still waits");
    server.admin(&["user", "remove", "ann"]);
    assert!(fails(&["user", "unlock", "ann"]).contains("there is no user `ann`"));

    // Projects and runners.
    server.admin(&["project", "tools/app", "--visibility", "internal"]);
    assert_eq!(list("projects")[0]["path"], "tools/app");
    let runner = server.admin(&["runner", "--description", "one", "--tag", "a,b"]);
    let id = list("runners")[0]["id"].to_string();
    server.admin(&["edit-runner", &id, "--paused", "true", "--tag", "c", "--description", "two"]);
    let shown = &list("runners")[0];
    assert_eq!(
        (&shown["paused"], &shown["tags"][0], &shown["description"]),
        (&true.into(), &"c".into(), &"two".into())
    );
    assert!(fails(&["edit-runner", &id, "--tag", ""]).contains("would take nothing"));
    let next = server.admin(&["reset-runner-token", &id]);
    let verify = |token: &str| {
        let answer = server.ask("POST", "/api/v4/runners/verify", "", &format!(r#"{{"token": "{token}"}}"#));
        status(&answer).to_owned()
    };
    assert_eq!((verify(&runner).as_str(), verify(&next).as_str()), ("403", "200"));
    server.admin(&["remove-runner", &id]);
    assert_eq!(verify(&next), "403");
    assert!(server.admin(&["list", "runners"]).starts_with("id\ttype\t"));
}
