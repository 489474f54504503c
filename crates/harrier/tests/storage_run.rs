//! `harrier serve --storage` with the real binary: killed while an artifact and while a log are on their way into the bucket, nothing
//! that was acknowledged is lost and nothing is left there; what a start that cannot work says; what a backup leaves out.

#![allow(clippy::unwrap_used)]

use harrier_testkit::{
    Message, PlainClient, Repo, RepoFile, RunnerProcess, S3Server, S3Wire, TempHome, WireFault,
};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
const CONFIG: &str = "make:\n  script: make\n  artifacts: {paths: [out]}\n";

/// Until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "not reached: {what}");
}

struct Place {
    home: TempHome,
    at: SocketAddr,
    storage: String,
    key: String,
    secret: String,
}

impl Place {
    fn new(s3: &S3Server, endpoint: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let (bucket, region) = (S3Server::BUCKET, S3Server::REGION);
        Self {
            home: TempHome::new(),
            at: free.local_addr().unwrap(),
            storage: format!("s3://{bucket}/ci?endpoint={endpoint}&region={region}"),
            key: s3.key.clone(),
            secret: s3.secret.clone(),
        }
    }

    fn data(&self) -> String {
        self.home.path().join("data").to_str().unwrap().to_owned()
    }

    async fn start(&self) -> RunnerProcess {
        let at = self.at.to_string();
        let arguments = ["serve", "--data", &self.data(), "--listen", &at, "--storage", &self.storage];
        let keys = [("AWS_ACCESS_KEY_ID", self.key.as_str()), ("AWS_SECRET_ACCESS_KEY", &self.secret)];
        let binary = Path::new(env!("CARGO_BIN_EXE_harrier"));
        let process = RunnerProcess::start_with(binary, &self.home, &arguments, &keys);
        until("the server answers", async || {
            let asked = PlainClient::new(self.at).send("GET", "/-/readiness", &[], b"").await;
            asked.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        process
    }

    /// What a command of the program prints.
    fn harrier(&self, arguments: &[&str]) -> Output {
        let data = self.data();
        let arguments = arguments.iter().map(|argument| argument.replace("DATA", &data));
        let mut command = Command::new(env!("CARGO_BIN_EXE_harrier"));
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HARRIER_STORAGE"] {
            command.env_remove(name);
        }
        command.args(arguments).output().unwrap()
    }

    fn admin(&self, arguments: &[&str]) -> String {
        let done = self.harrier(&[&["admin", "--data", "DATA"], arguments].concat());
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Message> {
        PlainClient::new(self.at).send(method, &format!("/api/v4{path}"), headers, body).await
    }
}

/// A job as its runner has it.
struct Job {
    id: i64,
    token: String,
}

impl Place {
    async fn take(&self, runner: &str) -> Job {
        let features = json!({"two_phase_job_commit": true, "return_exit_code": true, "refspecs": true});
        let body = json!({"token": runner, "system_id": "s_0123456789ab", "info": {"features": features}});
        let taken = self.ask("POST", "/jobs/request", &[], body.to_string().as_bytes()).await.unwrap();
        assert_eq!(taken.status(), 201, "{}", taken.first);
        let payload: Value = taken.json();
        let job =
            Job { id: payload["id"].as_i64().unwrap(), token: payload["token"].as_str().unwrap().to_owned() };
        assert_eq!(self.put(&job, "running").await, 200);
        job
    }

    async fn put(&self, job: &Job, state: &str) -> u16 {
        let body = json!({"token": job.token, "state": state}).to_string();
        self.ask("PUT", &format!("/jobs/{}", job.id), &[], body.as_bytes()).await.unwrap().status()
    }

    async fn log(&self, job: &Job, start: usize, bytes: &[u8]) -> u16 {
        let range = format!("{start}-{}", start + bytes.len() - 1);
        let headers = [("JOB-TOKEN", job.token.as_str()), ("Content-Range", &range)];
        self.ask("PATCH", &format!("/jobs/{}/trace", job.id), &headers, bytes).await.unwrap().status()
    }

    async fn upload(&self, job: &Job, bytes: &[u8]) -> std::io::Result<u16> {
        let head = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\r\n";
        let body = [head.as_bytes(), bytes, b"\r\n--x--\r\n"].concat();
        let headers =
            [("JOB-TOKEN", job.token.as_str()), ("Content-Type", "multipart/form-data; boundary=x")];
        let path = format!("/jobs/{}/artifacts?artifact_type=archive", job.id);
        Ok(self.ask("POST", &path, &headers, &body).await?.status())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_files_are_on_their_way() {
    let mut s3 = S3Server::start(true);
    let wire = S3Wire::start(&s3).await;
    let place = Place::new(&s3, &wire.url);
    let server = place.start().await;
    let token = place.admin(&["token", "--user", "root", "--scope", "api"]);
    let runner = place.admin(&["runner", "--description", "test"]);
    let repo = Repo::new();
    repo.commit("main", &[RepoFile::new(".gitlab-ci.yml", CONFIG)], "A commit\n");
    let pushed = Command::new("git")
        .arg("--git-dir")
        .arg(repo.git_dir())
        .args(["push", "--quiet", &format!("http://root:{token}@{}/root/app.git", place.at), "main"])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("no_proxy", "127.0.0.1")
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let job = place.take(&runner).await;
    assert_eq!(place.log(&job, 0, b"begun\n").await, 202);
    let bytes = vec![7_u8; 300_000];

    // The bucket has the artifact, the server does not know it yet.
    wire.set(WireFault::Hold);
    let held = async { until("the bucket has it", async || wire.fired() > 0).await };
    tokio::select! {
        answer = place.upload(&job, &bytes) => panic!("it was answered: {answer:?}"),
        () = held => {}
    }
    server.kill_9();
    wire.set(WireFault::None);
    let archived = format!("ci/artifacts/{}/archive", job.id);
    assert_eq!(s3.files(), [archived.as_str()]);
    let server = place.start().await;
    assert_eq!(place.upload(&job, &bytes).await.unwrap(), 201);
    until("what nobody relies on is gone", async || s3.files() == [archived.as_str()]).await;
    assert_eq!(place.log(&job, 6, b"ended\n").await, 202, "the log is where it was");

    // The bucket has the log, the server does not know it yet: it has acknowledged it long ago.
    wire.set(WireFault::Hold);
    assert_eq!(place.put(&job, "success").await, 200);
    until("the bucket has the log", async || wire.fired() > 0).await;
    server.kill_9();
    wire.set(WireFault::None);
    let server = place.start().await;
    let logged = format!("ci/traces/{}", job.id);
    until("one log is there", async || s3.files() == [archived.clone(), logged.clone()]).await;
    let on_disk = Path::new(&place.data()).join(format!("traces/{}.log", job.id));
    until("none on this machine", async || !on_disk.exists()).await;
    let (path, read) = (format!("/projects/1/jobs/{}", job.id), [("PRIVATE-TOKEN", token.as_str())]);
    let log = place.ask("GET", &format!("{path}/trace"), &read, b"").await.unwrap();
    assert_eq!(String::from_utf8_lossy(&log.body), "begun\nended\n");
    let artifact = place.ask("GET", &format!("{path}/artifacts"), &read, b"").await.unwrap();
    assert!(artifact.body == bytes, "{} bytes came", artifact.body.len());
    assert!(!server.log().contains(&place.secret), "a secret is in the log");

    let copy = place.home.path().join("copy");
    let backup = place.harrier(&["backup", "--data", "DATA", copy.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&backup.stderr).into_owned();
    assert!(backup.status.success() && said.contains("back the bucket up too"), "{said}");
}

#[test]
fn a_start_that_cannot_work_says_what_to_do() {
    let s3 = S3Server::start(true);
    let place = Place::new(&s3, &s3.url);
    let keys = place.home.path().join("keys");
    let start = |storage: &str, more: &[&str]| {
        let arguments = ["serve", "--data", "DATA", "--listen", "127.0.0.1:0", "--storage", storage];
        let done = place.harrier(&[&arguments, more].concat());
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8(done.stderr).unwrap()
    };
    let with = ["--storage-credentials", keys.to_str().unwrap()];
    let write = |secret: &str| {
        let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {secret}\n", s3.key);
        std::fs::write(&keys, text).unwrap();
    };
    write("no-such-secret");
    let elsewhere = place.storage.replace(S3Server::BUCKET, "no-such-bucket");
    for (said, words) in [
        (start(&place.storage, &[]), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (start("s3://key:no-such-secret@b", &with), "keys do not belong into it"),
        (start(&place.storage, &with), "check AWS_SECRET_ACCESS_KEY"),
        (
            {
                write(&s3.secret);
                start(&elsewhere, &with)
            },
            "make the bucket",
        ),
    ] {
        assert!(said.starts_with("error: --storage: ") && said.contains(words), "{said}");
        assert!(!said.contains("no-such-secret") && !said.contains(&s3.secret), "{said}");
    }
}
