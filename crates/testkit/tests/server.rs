//! The fake GitLab under a hand-written client: a well-behaved exchange has no slips, each misbehaviour has one,
//! each fault does what its name says.

use harrier_testkit::{
    AUTHORITY, Certificate, FakeGitLab, Fault, FaultPlan, JobSpec, JobState, On, Options, Repo, Var,
};
use reqwest::{Method, Response, StatusCode};
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);

/// A client that does everything right unless a test changes a request.
struct Hand {
    http: reqwest::Client,
    url: String,
    token: String,
    last_update: std::sync::Mutex<String>,
}

fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:012x}4{:019x}", 7, NEXT.fetch_add(1, Ordering::Relaxed))
}

fn info() -> Value {
    let names = "variables image services artifacts cache fallback_cache_keys shared upload_multiple_artifacts \
        upload_raw_artifacts session terminal refspecs masking proxy raw_variables artifacts_exclude \
        multi_build_steps trace_reset trace_checksum trace_size vault_secrets cancelable return_exit_code \
        service_variables service_multiple_aliases image_executor_opts service_executor_opts cancel_gracefully \
        native_steps_integration two_phase_job_commit job_inputs";
    let features: serde_json::Map<String, Value> =
        names.split_whitespace().map(|name| (name.to_owned(), json!(true))).collect();
    json!({ "name": "gitlab-runner", "version": "1.0.0", "revision": "abc", "platform": "linux",
        "architecture": "amd64", "executor": "shell", "shell": "bash", "features": features,
        "config": { "gpus": "" } })
}

impl Hand {
    fn new(server: &FakeGitLab) -> Hand {
        // A second test in this process finds it installed; that is the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .user_agent("gitlab-runner 1.0.0 (main; rust1; linux/amd64)")
            .build()
            .expect("plain settings");
        let token = server.runner_token().to_owned();
        Hand { http, url: server.url(), token, last_update: Default::default() }
    }

    fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/api/v4/{path}", self.url)).header("X-Request-Id", request_id())
    }

    async fn request_job(&self) -> reqwest::Result<Response> {
        let mut body = json!({ "token": self.token, "system_id": "s_0123456789ab", "info": info() });
        let last = self.last_update.lock().expect("no panic").clone();
        if !last.is_empty() {
            body["last_update"] = last.into();
        }
        let call = self.call(Method::POST, "jobs/request").header("RUNNER-TOKEN", &self.token);
        let answer = call.header("Accept", "application/json").json(&body).send().await?;
        if let Some(value) = answer.headers().get("x-gitlab-last-update") {
            *self.last_update.lock().expect("no panic") = value.to_str().expect("plain").to_owned();
        }
        Ok(answer)
    }

    async fn job(&self) -> Value {
        let answer = self.request_job().await.expect("an answer");
        assert_eq!(answer.status(), 201);
        answer.json().await.expect("a job")
    }

    async fn put(&self, job: &Value, mut body: Value) -> reqwest::Result<Response> {
        let token = job["token"].as_str().expect("a token");
        body["token"] = token.into();
        body["info"] = info();
        if let Some(sum) = body["output"].get("checksum").cloned() {
            body["checksum"] = sum;
        }
        let call = self.call(Method::PUT, &format!("jobs/{}", job["id"])).header("JOB-TOKEN", token);
        call.json(&body).send().await
    }

    async fn accept(&self, job: &Value) -> Response {
        self.put(job, json!({ "state": "running", "output": {} })).await.expect("an answer")
    }

    async fn patch(&self, job: &Value, start: usize, bytes: &str) -> reqwest::Result<Response> {
        let path = format!("jobs/{}/trace?debug_trace=false", job["id"]);
        let range = format!("{start}-{}", start + bytes.len() - 1);
        let call =
            self.call(Method::PATCH, &path).header("JOB-TOKEN", job["token"].as_str().expect("a token"));
        let call = call.header("Content-Type", "text/plain").header("Content-Range", range);
        call.body(bytes.to_owned()).send().await
    }

    async fn finish(&self, job: &Value, log: &str) -> Response {
        let crc = format!("crc32:{:08x}", crc32fast::hash(log.as_bytes()));
        let output = json!({ "checksum": crc, "bytesize": log.len() });
        self.put(job, json!({ "state": "success", "output": output })).await.expect("an answer")
    }
}

fn status(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().expect("plain").to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_well_behaved_exchange_has_no_slips() {
    let server = FakeGitLab::start().await.expect("a server");
    let hand = Hand::new(&server);
    assert_eq!(hand.request_job().await.expect("an answer").status(), 204);
    let id = server.add_job(JobSpec::script(&["echo hi"]));
    let job = hand.job().await;
    assert_eq!(job["id"], id);
    assert_eq!(status(&hand.accept(&job).await, "job-status"), "running");
    let answer = hand.patch(&job, 0, "one\n").await.expect("an answer");
    assert_eq!((answer.status(), status(&answer, "range")), (StatusCode::ACCEPTED, "0-4".into()));
    hand.patch(&job, 4, "two\n").await.expect("an answer");
    assert_eq!(hand.finish(&job, "one\ntwo\n").await.status(), 200);
    let record = server.wait_final(id, PATIENCE).await.expect("an end");
    assert_eq!((record.state, record.log_text().as_str()), (JobState::Success, "one\ntwo\n"));
    assert_eq!(hand.request_job().await.expect("an answer").status(), 204);
    server.assert_no_slips();
}

#[tokio::test]
async fn misbehaviour_is_noticed() {
    let server = FakeGitLab::start().await.expect("a server");
    let hand = Hand::new(&server);
    let expect = |text: &str| {
        let slips = server.slips();
        assert!(slips.iter().any(|slip| slip.contains(text)), "no {text:?} in {slips:#?}");
    };
    server.add_job(JobSpec::script(&[]));
    let job = hand.job().await;
    hand.patch(&job, 0, "early\n").await.expect("an answer");
    expect("log bytes before the acceptance");
    hand.accept(&job).await;
    let answer = hand.patch(&job, 9, "x").await.expect("an answer");
    assert_eq!((answer.status().as_u16(), status(&answer, "range")), (416, "0-6".into()));
    expect("skips from 6 to 9");
    hand.patch(&job, 0, "other\n").await.expect("an answer");
    expect("sends again from 0");
    expect("other bytes than before at 0");
    hand.put(&job, json!({ "state": "running", "output": { "checksum": "crc32:XY", "bytesize": 0 } }))
        .await
        .expect("an answer");
    expect("not crc32: and eight");
    expect("bytesize is 0");
    hand.put(&job, json!({ "state": "failed", "failure_reason": "bad_mood", "exit_code": 0, "output": {} }))
        .await
        .expect("an answer");
    expect("exit_code 0");
    expect("none that the server listed");
    expect("the final bytesize is 0, stored are 6");
    assert_eq!(hand.accept(&job).await.status(), 403);
    expect("an update after the final one");
    let bare = hand.call(Method::POST, "jobs/request").json(&json!({ "token": hand.token, "x": 1 }));
    bare.send().await.expect("an answer");
    for text in ["unknown member \"x\"", "no \"info\"", "RUNNER-TOKEN", "Accept"] {
        expect(text);
    }
    hand.http.get(format!("{}/api/v4/nonsense", server.url())).send().await.expect("an answer");
    expect("no such endpoint");
    expect("X-Request-Id");
}

#[tokio::test]
async fn an_unacknowledged_job_is_handed_out_again_with_another_token() {
    let options = Options { reservation: Duration::from_millis(50), ..Options::default() };
    let server = FakeGitLab::start_with(options).await.expect("a server");
    let hand = Hand::new(&server);
    let id = server.add_job(JobSpec::script(&[]));
    let first = hand.job().await;
    let second = loop {
        let answer = hand.request_job().await.expect("an answer");
        if answer.status() == 201 {
            break answer.json::<Value>().await.expect("a job");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((&second["id"], first["token"] == second["token"]), (&json!(id), false));
    assert_eq!(hand.accept(&first).await.status(), 403);
    assert_eq!(hand.accept(&second).await.status(), 200);
    assert_eq!(server.job(id).expect("a job").times_handed_out, 2);
}

#[tokio::test]
async fn a_cancelled_job_goes_through_canceling() {
    let server = FakeGitLab::start().await.expect("a server");
    let hand = Hand::new(&server);
    let id = server.add_job(JobSpec::script(&[]));
    let job = hand.job().await;
    hand.accept(&job).await;
    server.cancel(id);
    let answer = hand.patch(&job, 0, "x").await.expect("an answer");
    assert_eq!((answer.status().as_u16(), status(&answer, "job-status")), (202, "canceling".into()));
    hand.finish(&job, "x").await;
    assert_eq!(server.job(id).expect("a job").state, JobState::Canceled);

    let id = server.add_job(JobSpec::script(&[]));
    let job = hand.job().await;
    hand.accept(&job).await;
    server.force_cancel(id);
    let answer = hand.patch(&job, 0, "x").await.expect("an answer");
    assert_eq!((answer.status().as_u16(), status(&answer, "job-status")), (403, "canceled".into()));
    server.assert_no_slips();
}

#[tokio::test]
async fn every_fault_does_what_it_says() {
    let server = FakeGitLab::start().await.expect("a server");
    let hand = Hand::new(&server);
    let id = server.add_job(JobSpec::script(&[]));
    server.fail_next(On::Request, &[Fault::Conflict, Fault::TooMany, Fault::TooMany, Fault::Status(507)]);
    assert_eq!(hand.request_job().await.expect("an answer").status(), 409);
    for _ in 0..2 {
        let answer = hand.request_job().await.expect("an answer");
        assert_eq!(answer.status(), 429);
        let waits = [status(&answer, "retry-after"), status(&answer, "ratelimit-resettime")];
        assert!(waits.iter().any(|value| !value.is_empty()));
    }
    assert_eq!(hand.request_job().await.expect("an answer").status(), 507);
    let job = hand.job().await;
    server.fail_next(On::Touch, &[Fault::DropBefore, Fault::DropAfter, Fault::Slow]);
    let accept = || hand.put(&job, json!({ "state": "running", "output": {} }));
    assert!(accept().await.is_err());
    assert_eq!(server.job(id).expect("a job").state, JobState::Pending);
    assert!(accept().await.is_err());
    assert_eq!(server.job(id).expect("a job").state, JobState::Running);
    assert_eq!(accept().await.expect("late, but an answer").status(), 200);

    server.fail_next(On::Trace, &[Fault::Torn, Fault::RangeLie]);
    assert!(hand.patch(&job, 0, "abc").await.is_err());
    let answer = hand.patch(&job, 0, "abc").await.expect("an answer");
    assert_eq!(answer.status(), 416);
    hand.patch(&job, 3, "def").await.expect("an answer");

    server.fail_next(On::Final, &[Fault::Pending, Fault::TraceInvalid]);
    assert_eq!(hand.finish(&job, "abcdef").await.status(), 202);
    assert_eq!(hand.finish(&job, "abcdef").await.status(), 412);
    hand.patch(&job, 0, "abcdef").await.expect("an answer");
    assert_eq!(hand.finish(&job, "abcdef").await.status(), 200);
    assert_eq!(server.faults_fired().len(), 10, "{:?}", server.faults_fired());
    server.assert_no_slips();
}

#[tokio::test]
async fn a_server_that_goes_down_keeps_its_state() {
    let server = FakeGitLab::start().await.expect("a server");
    let hand = Hand::new(&server);
    let id = server.add_job(JobSpec::script(&[]));
    let job = hand.job().await;
    server.go_down().await;
    assert!(hand.put(&job, json!({ "state": "running", "output": {} })).await.is_err());
    server.come_back().await.expect("the port is still ours");
    assert_eq!(hand.accept(&job).await.status(), 200);
    assert_eq!(server.job(id).expect("a job").state, JobState::Running);
}

#[tokio::test]
async fn a_held_job_request_ends_when_a_job_comes() {
    let options = Options { long_poll: Some(Duration::from_secs(30)), ..Options::default() };
    let server = FakeGitLab::start_with(options).await.expect("a server");
    let hand = Hand::new(&server);
    assert_eq!(hand.request_job().await.expect("an answer").status(), 204);
    let held = async { hand.request_job().await.expect("an answer") };
    let add = async {
        tokio::task::yield_now().await;
        server.add_job(JobSpec::script(&[]))
    };
    let (answer, _) = tokio::join!(held, add);
    assert_eq!(answer.status(), 201);
}

#[tokio::test]
async fn artifacts_travel_and_storage_is_another_host() {
    let server = FakeGitLab::start().await.expect("a server");
    let hand = Hand::new(&server);
    let archive = JobSpec::archive("out", &["out/"], "on_success");
    let first = server.add_job(JobSpec { artifacts: vec![archive], ..JobSpec::script(&[]) });
    let second = server.add_job(JobSpec { dependencies: vec![first], ..JobSpec::script(&[]) });
    let job = hand.job().await;
    hand.accept(&job).await;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("out/a", zip::write::SimpleFileOptions::default()).expect("an entry");
    let bytes = zip.finish().expect("an archive").into_inner();
    let path =
        format!("jobs/{}/artifacts?artifact_format=zip&artifact_type=archive&expire_in=1+week", job["id"]);
    let upload = || {
        let part = reqwest::multipart::Part::bytes(bytes.clone()).file_name("out.zip");
        let part = part.mime_str("application/octet-stream").expect("a type");
        let call =
            hand.call(Method::POST, &path).header("JOB-TOKEN", job["token"].as_str().expect("a token"));
        call.multipart(reqwest::multipart::Form::new().part("file", part)).send()
    };
    assert_eq!(upload().await.expect("an answer").status(), 201);
    assert_eq!(upload().await.expect("the same again").status(), 201);
    hand.put(&job, json!({ "state": "success", "output": {} })).await.expect("an answer");

    let job = hand.job().await;
    assert_eq!(job["id"], second);
    hand.accept(&job).await;
    let needed = &job["dependencies"][0];
    assert_eq!(needed["artifacts_file"]["filename"], "out.zip");
    let token = needed["token"].as_str().expect("a token");
    let plain = hand.call(Method::GET, &format!("jobs/{first}/artifacts")).header("JOB-TOKEN", token);
    assert_eq!(plain.send().await.expect("an answer").bytes().await.expect("bytes"), bytes);
    server.assert_no_slips();
    let direct = hand
        .call(Method::GET, &format!("jobs/{first}/artifacts?direct_download=true"))
        .header("JOB-TOKEN", token);
    let answer = direct.send().await.expect("reqwest follows");
    assert_eq!(answer.url().host_str(), Some("127.0.0.2"));
    // reqwest keeps the header across hosts; the fake must see it.
    assert!(server.slips().iter().any(|slip| slip.contains("another host")));
}

#[tokio::test]
async fn git_fetches_with_the_job_token_only() {
    let server = FakeGitLab::start().await.expect("a server");
    let repo = Repo::with_files(&[("README.md", "hello\n")]);
    let project = server.add_project("birds/kestrel", &repo);
    server.add_job(JobSpec::in_project(project, &["cat README.md"]));
    let hand = Hand::new(&server);
    let answer = hand.request_job().await.expect("an answer");
    let correlation = status(&answer, "x-request-id");
    let job: Value = answer.json().await.expect("a job");
    hand.accept(&job).await;
    let url = job["git_info"]["repo_url"].as_str().expect("a url").to_owned();
    let fetch = |url: String| {
        let dir = tempfile::tempdir().expect("a directory");
        let header = format!("http.extraHeader=X-Gitaly-Correlation-ID: {correlation}");
        let git = move || {
            let output = Command::new("git")
                .args(["-c", "http.userAgent=gitlab-runner 1.0.0 linux/amd64", "-c", &header])
                .args(["clone", "--quiet", "--depth", "1", &url, "."])
                .current_dir(dir.path())
                .env("GIT_TERMINAL_PROMPT", "0")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .output()
                .expect("git is installed");
            (output.status.success(), std::fs::read_to_string(dir.path().join("README.md")).ok())
        };
        tokio::task::spawn_blocking(git)
    };
    assert_eq!(fetch(url.clone()).await.expect("no panic"), (true, Some("hello\n".into())));
    let wrong = url.replace("glcbt-", "glcbt-x");
    assert_eq!(fetch(wrong).await.expect("no panic"), (false, None));
    server.assert_no_slips();
}

#[tokio::test]
async fn identities_live_and_die() {
    let server = FakeGitLab::start().await.expect("a server");
    let hand = Hand::new(&server);
    let send = |method: Method, path: &'static str, body: Value, token: String| {
        let call = hand.call(method, path).header("RUNNER-TOKEN", token);
        let accept = if path == "runners/managers" { "*/*" } else { "application/json" };
        call.header("Accept", accept).json(&body).send()
    };
    let token = server.runner_token().to_owned();
    let verify = |token: String| {
        let body = json!({ "token": token, "system_id": "s_0123456789ab", "info": info() });
        send(Method::POST, "runners/verify", body, token)
    };
    assert_eq!(verify(token.clone()).await.expect("an answer").status(), 200);
    assert_eq!(server.managers(&token), ["s_0123456789ab"]);
    assert_eq!(verify("glrt-wrong".into()).await.expect("an answer").status(), 403);
    let body = json!({ "token": token, "system_id": "s_0123456789ab" });
    let gone = send(Method::DELETE, "runners/managers", body, token.clone()).await.expect("an answer");
    assert_eq!(gone.status(), 204);
    let mut plain_info = info();
    plain_info.as_object_mut().expect("an object").retain(|key, _| key != "executor" && key != "shell");
    let legacy = server.registration_token().to_owned();
    let body = json!({ "token": legacy, "description": "d", "run_untagged": true, "locked": true, "paused": false,
        "info": plain_info });
    let answer = send(Method::POST, "runners", body, legacy).await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let identity: Value = answer.json().await.expect("JSON");
    assert!(server.has_runner(identity["token"].as_str().expect("a token")));
    server.assert_no_slips();
}

#[tokio::test]
async fn masked_and_file_variables_come_as_rails_sends_them() {
    let server = FakeGitLab::start().await.expect("a server");
    let variables = vec![Var::masked("SECRET", "hunter2hunter2"), Var::file("CFG", "a: 1\n")];
    server.add_job(JobSpec { variables, ..JobSpec::script(&["true"]) });
    server.set_faults(FaultPlan::none());
    let job = Hand::new(&server).job().await;
    let find = |key: &str| {
        let list = job["variables"].as_array().expect("a list");
        list.iter().find(|entry| entry["key"] == key).cloned().unwrap_or_default()
    };
    assert_eq!(find("SECRET")["masked"], true);
    assert_eq!((find("CFG")["file"].clone(), find("CI").get("file")), (json!(true), None));
}

#[tokio::test]
async fn tls_is_for_those_who_trust_the_authority() {
    for (certificate, good) in [(Certificate::Ours, true), (Certificate::OtherName, false)] {
        let server = FakeGitLab::start_with(Options { tls: Some(certificate), ..Options::default() });
        let server = server.await.expect("a server");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        let authority = rustls_pki_types::CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).expect("PEM");
        roots.add(authority).expect("a root");
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls);
        let http = http.build().expect("plain settings");
        let answer = http.get(format!("{}/api/v4/runners/router/discovery", server.url())).send().await;
        assert_eq!(
            answer.map(|answer| answer.status().as_u16()).ok(),
            good.then_some(501),
            "{certificate:?}"
        );
    }
}
