//! The runner API over HTTP, call by call as `runner-api.md` has them.

#![allow(clippy::unwrap_used)]

mod support;

use flate2::write::GzEncoder;
use harrier_database::{ProjectEdit, Registers, TokenKind};
use harrier_pipeline::Status;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use support::{PATIENCE, Server, header, info, job_status, request};

const ONE: &str = "build:\n  script: [make]\n  variables: {WHO: $CI_PROJECT_NAME}\n  coverage: '/TOTAL (\\d+)%/'\n  cache: \
                   {key: {files: [lock]}, paths: [c]}\n";

fn packed(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

#[tokio::test]
async fn runners_register_verify_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let token = server.app.store.reset_registration_token(Registers::Instance, 0).await.unwrap();

    let body =
        json!({"token": "wrong", "info": info(), "run_untagged": true, "locked": true, "paused": false});
    assert_eq!(server.post("/runners", body).await.status(), StatusCode::FORBIDDEN);
    let missing = server.post("/runners", json!({})).await;
    assert_eq!(missing.status(), StatusCode::BAD_REQUEST);
    assert_eq!(missing.json::<Value>().await.unwrap(), json!({"error": "token is missing"}));
    let body = json!({"token": token.expose(), "run_untagged": false, "locked": true, "paused": false});
    let refused = server.post("/runners", body).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.json::<Value>().await.unwrap()["message"]["tags_list"][0].is_string());

    let body = json!({"token": token.expose(), "description": "one", "tag_list": "a, b,a", "run_untagged": false,
        "locked": true, "access_level": "ref_protected", "maximum_timeout": 90, "paused": false, "info": info()});
    let made = server.post("/runners", body).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    assert!(header(&made, "content-type").starts_with("application/json"));
    let made: Value = made.json().await.unwrap();
    assert_eq!(made["token_expires_at"], Value::Null);
    let runner = server.app.store.runner(made["id"].as_i64().unwrap()).await.unwrap();
    assert_eq!(runner.offer.tags, ["a", "b"]);
    assert!(runner.offer.protected_only && !runner.offer.run_untagged && runner.legacy);
    assert_eq!(runner.maximum_timeout, Some(90));
    let own = made["token"].as_str().unwrap();
    assert!(!own.starts_with("glrt-"));

    let verified =
        server.post("/runners/verify", json!({"token": own, "system_id": "s_1", "info": info()})).await;
    assert_eq!(verified.status(), StatusCode::OK);
    assert_eq!(verified.json::<Value>().await.unwrap()["id"], made["id"]);
    let managers = server.app.store.managers(Some(runner.id)).await.unwrap();
    assert_eq!((managers[0].system_id.as_str(), managers[0].info.version.as_str()), ("s_1", "19.4.0"));
    assert!(managers[0].info.features.cancel_gracefully);
    assert_eq!(server.post("/runners/verify", json!({"token": "x"})).await.status(), StatusCode::FORBIDDEN);

    let managers = |system: Value| {
        let body = json!({"token": own, "system_id": system});
        server.call(Method::DELETE, "/runners/managers").json(&body).send()
    };
    assert_eq!(managers(Value::Null).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(managers(json!("s_2")).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(managers(json!("s_1")).await.unwrap().status(), StatusCode::NO_CONTENT);

    let reset = server.post("/runners/reset_authentication_token", json!({"token": own})).await;
    assert_eq!(reset.status(), StatusCode::CREATED);
    let reset: Value = reset.json().await.unwrap();
    let new = reset["token"].as_str().unwrap();
    assert_eq!(server.post("/runners/verify", json!({"token": own})).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(server.post("/runners/verify", json!({"token": new})).await.status(), StatusCode::OK);
    let go = || server.call(Method::DELETE, "/runners").json(&json!({"token": new})).send();
    assert_eq!(go().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(go().await.unwrap().status(), StatusCode::FORBIDDEN);
    let discovery = server.call(Method::GET, "/runners/router/discovery").send().await.unwrap();
    assert_eq!(discovery.status(), StatusCode::NOT_IMPLEMENTED);
}

/// A log comes sooner while its page is open, and only while it is; a page of another project does not count.
#[tokio::test]
async fn an_open_page_hurries_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let runner = server.runner(&[]).await;
    let (project, sha) = server.project("birds/kestrel", &[(".gitlab-ci.yml", ONE)]).await;
    server.project("birds/merlin", &[]).await;
    let public = ProjectEdit { visibility: Some("public".into()), ..ProjectEdit::default() };
    for path in ["birds/kestrel", "birds/merlin"] {
        let project = server.app.store.project_at(path).await.unwrap().unwrap();
        server.app.store.edit_project(project.id, public.clone()).await.unwrap();
    }
    server.pipeline(&project, &sha).await;
    let job = server.take(&runner).await;
    let look = async |path: &str| {
        let page = server.client.get(format!("{}/{path}/-/events?job={}", server.url, job.id));
        let page = page.send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        page
    };
    let mut size = 0;
    let mut interval = async || {
        let answer = server.patch(&job, size, b".").await;
        size += 1;
        header(&answer, "x-gitlab-trace-update-interval")
    };
    let elsewhere = look("birds/merlin").await;
    assert_eq!(interval().await, "3");
    let page = look("birds/kestrel").await;
    assert_eq!(interval().await, "1");
    drop((elsewhere, page));
    let closed = async { while interval().await != "3" {} };
    tokio::time::timeout(PATIENCE, closed).await.expect("the page is closed");
}

/// GitLab Runner writes the runner's UUID to every log, and that there is none when the server says none.
#[tokio::test]
async fn a_runner_keeps_its_uuid() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (runner, other) = (server.runner(&[]).await, server.runner(&[]).await);
    let (project, sha) = server.project("birds/kestrel", &[(".gitlab-ci.yml", ONE)]).await;
    let mut uuids = Vec::new();
    for who in [&runner, &runner, &other] {
        server.pipeline(&project, &sha).await;
        let uuid = server.take(who).await.payload["runner_info"]["uuid"].as_str().unwrap().to_owned();
        assert!(uuid.len() == 36 && uuid.split('-').count() == 5, "{uuid}");
        uuids.push(uuid);
    }
    assert_eq!(uuids[0], uuids[1]);
    assert_ne!(uuids[0], uuids[2]);
}

#[tokio::test]
async fn a_job_from_request_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let runner = server.runner(&[]).await;
    assert_eq!(server.ask(&TokenKind::Runner.make().unwrap()).await.status(), StatusCode::FORBIDDEN);
    let nothing = server.ask(&runner).await;
    assert_eq!(nothing.status(), StatusCode::NO_CONTENT);
    assert!(!header(&nothing, "x-gitlab-last-update").is_empty());

    let (project, sha) = server.project("birds/kestrel", &[(".gitlab-ci.yml", ONE), ("lock", "1")]).await;
    let made = server.pipeline(&project, &sha).await;
    let answer = server.ask(&runner).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert!(header(&answer, "content-type").starts_with("application/json"));
    let payload: Value = answer.json().await.unwrap();
    let job = support::Taken {
        id: payload["id"].as_i64().unwrap(),
        token: payload["token"].as_str().unwrap().to_owned(),
        payload,
    };
    assert_eq!(server.ask(&runner).await.status(), StatusCode::NO_CONTENT, "it is kept for who has it");
    let git = &job.payload["git_info"];
    assert_eq!(git["sha"], json!(sha));
    assert_eq!(
        git["refspecs"],
        json!([
            format!("+refs/pipelines/{0}:refs/pipelines/{0}", made.id),
            "+refs/heads/main:refs/remotes/origin/main"
        ])
    );
    let repo_url = format!("{}/birds/kestrel.git", server.url)
        .replace("http://", &format!("http://gitlab-ci-token:{}@", job.token));
    assert_eq!(git["repo_url"], json!(repo_url));
    assert_eq!(git["protected"], json!(true));
    assert_eq!(job.payload["runner_info"]["timeout"], json!(600));
    assert_eq!(job.payload["job_info"]["project_jobs_running_on_instance_runners_count"], json!("0"));
    assert_eq!(job.variable("CI_PROJECT_PATH").as_deref(), Some("birds/kestrel"));
    assert_eq!(job.variable("WHO").as_deref(), Some("kestrel"));
    assert_eq!(job.variable("CI_COMMIT_TITLE").as_deref(), Some("A commit"));
    assert_eq!(job.variable("CI_PIPELINE_ID"), Some(made.id.to_string()));
    assert_eq!(job.variable("CI_PIPELINE_IID").as_deref(), Some("1"));
    let masked = job.payload["variables"].as_array().unwrap().iter().find(|v| v["key"] == "CI_JOB_TOKEN");
    assert_eq!(masked.unwrap()["masked"], json!(true));
    let key = job.payload["cache"][0]["key"].as_str().unwrap();
    assert!(key.starts_with("0_lock-") && key.ends_with("-protected"), "{key}");

    // Before it is accepted there is nothing to end; afterwards it runs.
    assert_eq!(server.put(&job, json!({"state": "success"})).await.status(), StatusCode::BAD_REQUEST);
    let kept = server.put(&job, json!({"state": "pending"})).await;
    assert_eq!((kept.status(), job_status(&kept)), (StatusCode::OK, "pending".into()));
    let accepted = server.put(&job, json!({"state": "running", "output": {}})).await;
    assert_eq!((accepted.status(), job_status(&accepted)), (StatusCode::OK, "running".into()));

    let first = server.patch(&job, 0, b"hello ").await;
    assert_eq!((first.status(), header(&first, "range")), (StatusCode::ACCEPTED, "0-6".into()));
    assert_eq!(job_status(&first), "running");
    assert_eq!(header(&first, "x-gitlab-trace-update-interval"), "3");
    let again = server.patch(&job, 0, b"hello world").await;
    assert_eq!((again.status(), header(&again, "range")), (StatusCode::RANGE_NOT_SATISFIABLE, "0-6".into()));
    let rest = server.patch(&job, 6, b"world\nTOTAL 87%\n").await;
    assert_eq!((rest.status(), header(&rest, "range")), (StatusCode::ACCEPTED, "0-22".into()));
    let bare = server.call(Method::PATCH, &format!("/jobs/{}/trace", job.id));
    let bare = bare.header("JOB-TOKEN", &job.token).body("x").send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::BAD_REQUEST);

    let touched = server.put(&job, json!({"state": "running", "output": {"bytesize": 22}})).await;
    assert_eq!((touched.status(), job_status(&touched)), (StatusCode::OK, "running".into()));
    let output = json!({"checksum": "crc32:00000000", "bytesize": 22});
    let ended = server
        .put(&job, json!({"state": "failed", "failure_reason": "odd", "exit_code": 137, "output": output}))
        .await;
    assert_eq!((ended.status(), job_status(&ended)), (StatusCode::OK, "failed".into()));
    let view = server.app.store.job(job.id).await.unwrap();
    assert_eq!(view.failure_reason.as_deref(), Some("unknown_failure"));
    assert_eq!(
        (view.exit_code, view.trace_size, view.coverage.as_deref()),
        (Some(137), Some(22), Some("87.00"))
    );
    assert_eq!(std::fs::read(server.app.data.trace(job.id)).unwrap(), b"hello world\nTOTAL 87%\n");
    server.wait(made.id, Status::Failed).await;

    // Its token is good no longer, and says why.
    for answer in [
        server.patch(&job, 22, b"more").await,
        server.put(&job, json!({"state": "running"})).await,
        server.upload(&job, "", "a.zip", b"x").await,
    ] {
        assert_eq!((answer.status(), job_status(&answer)), (StatusCode::FORBIDDEN, "failed".into()));
    }
    let stranger = support::Taken { id: job.id, token: "glcbt-x".into(), payload: Value::Null };
    let refused = server.put(&stranger, json!({"state": "running"})).await;
    assert_eq!((refused.status(), job_status(&refused)), (StatusCode::FORBIDDEN, String::new()));
    let no_such = support::Taken { id: job.id + 1, token: job.token.clone(), payload: Value::Null };
    assert_eq!(server.put(&no_such, json!({"state": "running"})).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn requests_are_held_until_a_job_comes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", "a: {script: x, tags: [t]}")]).await;
    let (other, fits) = (server.runner(&["u"]).await, server.runner(&["t"]).await);
    let version = header(&server.ask(&fits).await, "x-gitlab-last-update");
    server.ask(&other).await;
    let wait = |runner| server.post("/jobs/request", request(runner, &version));
    let push = async {
        // Both wait by now, or come to find the job; either way only one gets it.
        server.pipeline(&project, &sha).await;
    };
    let (answer, ()) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(wait(&fits), push) }).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let short =
        Server::start_with(&dir.path().join("other"), |s| s.long_poll = Duration::from_millis(50)).await;
    let runner = short.runner(&[]).await;
    assert_eq!(
        short.post("/jobs/request", request(&runner, &version)).await.status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_cancelled_job_stops_gracefully() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", ONE)]).await;
    let made = server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let job = server.take(&runner).await;
    server.app.store.cancel_pipeline(made.id, false, server.app.now()).await.unwrap();
    let part = server.patch(&job, 0, b"stopping").await;
    assert_eq!((part.status(), job_status(&part)), (StatusCode::ACCEPTED, "canceling".into()));
    assert_eq!(
        server.upload(&job, "artifact_type=archive", "a.zip", b"zip").await.status(),
        StatusCode::CREATED
    );
    let ended = server.put(&job, json!({"state": "failed", "failure_reason": "unknown_failure"})).await;
    assert_eq!((ended.status(), job_status(&ended)), (StatusCode::OK, "canceled".into()));
    server.wait(made.id, Status::Canceled).await;
}

const CHAIN: &str = "stages: [one, two]\nmaker:\n  stage: one\n  script: x\n  artifacts: {paths: [out], reports: {dotenv: \
                     vars, junit: j.xml}}\nuser: {stage: two, script: x}\n";

#[tokio::test]
async fn artifacts_come_in_and_go_to_who_depends() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), |settings| settings.max_artifact = 1000).await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", CHAIN)]).await;
    let made = server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let maker = server.take(&runner).await;
    let query = "artifact_format=zip&artifact_type=archive&expire_in=1+week";
    let up = |query: &'static str, name: &'static str, bytes: Vec<u8>| {
        let (server, maker) = (&server, &maker);
        async move { server.upload(maker, query, name, &bytes).await }
    };
    assert_eq!(up(query, "big.zip", vec![1; 1001]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let stored = up(query, "../out.zip", b"archive".to_vec()).await;
    assert_eq!((stored.status(), stored.text().await.unwrap()), (StatusCode::CREATED, "201".into()));
    assert_eq!(up(query, "out.zip", b"archive".to_vec()).await.status(), StatusCode::CREATED);
    assert_eq!(up(query, "out.zip", b"another".to_vec()).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(up("artifact_type=../x", "x", vec![1]).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(up("artifact_type=dotenv", "v.gz", packed("no line")).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        up("artifact_type=dotenv", "v.gz", packed("COLOUR=red\n")).await.status(),
        StatusCode::CREATED
    );
    let junit =
        "<testsuite name='s'><testcase name='a'/><testcase name='b'><failure/></testcase></testsuite>";
    let stored = up("artifact_type=junit&artifact_format=gzip", "j.xml.gz", packed(junit)).await;
    assert_eq!(stored.status(), StatusCode::CREATED);
    let kept = server.app.store.artifact(maker.id, "archive").await.unwrap().unwrap();
    assert_eq!((kept.filename.as_str(), kept.size), ("out.zip", 7));
    let week = 7 * 24 * 3600 * 1000;
    assert_eq!(kept.expires_at.unwrap() - kept.created_at, week);
    let reports = server.app.store.test_reports(made.id).await.unwrap();
    assert_eq!((reports[0].1.total, reports[0].1.failed), (2, 1));
    assert_eq!(server.put(&maker, json!({"state": "success"})).await.status(), StatusCode::OK);

    let user = server.take(&runner).await;
    assert_eq!(user.variable("COLOUR").as_deref(), Some("red"));
    let dependency = &user.payload["dependencies"][0];
    assert_eq!(dependency["artifacts_file"], json!({"filename": "out.zip", "size": 7}));
    assert_eq!(dependency["token"], json!(user.token));
    let down = |id: i64, token: &str| {
        let call = server.call(Method::GET, &format!("/jobs/{id}/artifacts?direct_download=true"));
        call.header("JOB-TOKEN", token.to_owned()).send()
    };
    let got = down(maker.id, &user.token).await.unwrap();
    assert_eq!(got.status(), StatusCode::OK);
    assert_eq!(header(&got, "content-type"), "application/octet-stream");
    assert_eq!(got.bytes().await.unwrap().as_ref(), b"archive");
    assert_eq!(down(user.id, &user.token).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(down(maker.id, &maker.token).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let (other, sha) = server.project("g/other", &[(".gitlab-ci.yml", ONE)]).await;
    server.pipeline(&other, &sha).await;
    let stranger = server.take(&runner).await;
    assert_eq!(down(maker.id, &stranger.token).await.unwrap().status(), StatusCode::NOT_FOUND);
    let names: Vec<String> = std::fs::read_dir(server.app.data.artifacts(maker.id))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 3, "nothing is left of what was refused: {names:?}");
}

#[tokio::test]
async fn a_server_that_comes_back_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let text = "a: {script: x}\nb: {script: x}\n";
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", text)]).await;
    let made = server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let running = server.take(&runner).await;
    server.patch(&running, 0, b"before ").await;
    let payload: Value = server.ask(&runner).await.json().await.unwrap();
    let reserved = support::Taken {
        id: payload["id"].as_i64().unwrap(),
        token: payload["token"].as_str().unwrap().to_owned(),
        payload,
    };
    drop(server);
    let server = Server::start(dir.path()).await;
    // At once: it is kept for this runner for ten seconds only.
    assert_eq!(server.put(&reserved, json!({"state": "running"})).await.status(), StatusCode::OK);
    let part = server.patch(&running, 0, b"before after").await;
    assert_eq!((part.status(), header(&part, "range")), (StatusCode::RANGE_NOT_SATISFIABLE, "0-7".into()));
    assert_eq!(server.patch(&running, 7, b"after").await.status(), StatusCode::ACCEPTED);
    for job in [&running, &reserved] {
        assert_eq!(server.put(job, json!({"state": "running"})).await.status(), StatusCode::OK);
        assert_eq!(server.put(job, json!({"state": "success"})).await.status(), StatusCode::OK);
    }
    server.wait(made.id, Status::Success).await;
}

#[tokio::test]
async fn what_makes_no_pipeline_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", "a: {script: 1, needs: [b]}\n")]).await;
    let made = server.pipeline(&project, &sha).await;
    assert_eq!(made.status, Status::Failed);
    assert!(
        made.messages.iter().any(|m| m.error && m.shown.contains(".gitlab-ci.yml")),
        "{:?}",
        made.messages
    );
    assert_eq!(server.states(made.id).await, "");
    for (path, file, text) in [
        ("g/none", "README", "x"),
        ("g/never", ".gitlab-ci.yml", "workflow: {rules: [{when: never}]}\na: {script: x}\n"),
        ("g/rules", ".gitlab-ci.yml", "a: {script: x, rules: [{if: $NO}]}\n"),
    ] {
        let (project, sha) = server.project(path, &[(file, text)]).await;
        let start = harrier_coordinator::Start {
            source: "push".into(),
            git_ref: "main".into(),
            sha,
            ..Default::default()
        };
        let made = server.app.make_pipeline(&project, start).await.unwrap();
        assert!(matches!(made, harrier_coordinator::Made::None(_)), "{path}");
    }
}

#[tokio::test]
async fn a_bridge_makes_its_child_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let text = "stages: [one, two]\nb:\n  stage: one\n  variables: {COLOUR: red}\n  trigger: {include: child.yml, strategy: \
                depend}\nlast: {stage: two, script: x}\n";
    let files = [(".gitlab-ci.yml", text), ("child.yml", "inner: {script: x}\n")];
    let (project, sha) = server.project("g/p", &files).await;
    let made = server.pipeline(&project, &sha).await;
    let mut news = server.app.notifier.follow();
    let made_child = async {
        loop {
            if let Some(child) = server.app.store.children(made.id).await.unwrap().first() {
                return *child;
            }
            let _ = news.recv().await;
        }
    };
    let child = tokio::time::timeout(PATIENCE, made_child).await.expect("the bridge makes a pipeline");
    assert_eq!(server.app.store.pipeline(child).await.unwrap().source, "parent_pipeline");
    let runner = server.runner(&[]).await;
    let inner = server.take(&runner).await;
    assert_eq!(inner.variable("COLOUR").as_deref(), Some("red"));
    assert_eq!(inner.variable("CI_UPSTREAM_PIPELINE_ID"), Some(made.id.to_string()));
    assert_eq!(server.states(made.id).await, "b=running last=created");
    server.put(&inner, json!({"state": "success"})).await;
    assert_eq!(server.states(made.id).await, "b=success last=pending");
}

#[tokio::test]
async fn includes_of_other_projects_need_rights() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.project("g/shared", &[("jobs.yml", "inner: {script: x}\n")]).await;
    let text = "include: {project: g/shared, file: jobs.yml}\n";
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", text)]).await;
    // Nobody started it, and the other project is private.
    assert_eq!(server.pipeline(&project, &sha).await.status, Status::Failed);
    let shared = server.app.store.project_at("g/shared").await.unwrap().unwrap();
    let open = harrier_database::ProjectEdit { visibility: Some("public".into()), ..Default::default() };
    server.app.store.edit_project(shared.id, open).await.unwrap();
    let made = server.pipeline(&project, &sha).await;
    assert_eq!(server.states(made.id).await, "inner=pending", "{:?}", made.messages);
    let text = "include: {remote: 'http://127.0.0.1:9/x.yml'}\n";
    let (project, sha) = server.project("g/far", &[(".gitlab-ci.yml", text)]).await;
    let made = server.pipeline(&project, &sha).await;
    assert_eq!(made.status, Status::Failed, "loopback is no address for an include");
}

const ALL: &str = "stages: [one, two]\nmake:\n  stage: one\n  script: x\n  artifacts: {paths: [out]}\nbare: {stage: one, script: x}\n\
    use:\n  stage: two\n  before_script: [before]\n  script: [make]\n  after_script: [after]\n  image: {name: rust, pull_policy: always}\n  \
    services: [{name: postgres, alias: db, command: [serve], variables: {A: b}}]\n  \
    artifacts: {name: n, paths: [out], exclude: [out/x], expire_in: 1 week, reports: {junit: j.xml}}\n  \
    cache: {key: k, paths: [c], fallback_keys: [f]}\n  hooks: {pre_get_sources_script: [hook]}\n";

/// What is not as the contract has it: fields that are missing, or of another type. `shape`: the word of a type, a list with the
/// shape of its members, an object with the shapes of its fields; `?` before a word: or `null`.
fn differences(at: &str, shape: &Value, found: &Value, out: &mut Vec<String>) {
    match shape {
        Value::Object(fields) => {
            for (name, shape) in fields {
                match found.get(name) {
                    Some(found) => differences(&format!("{at}.{name}"), shape, found, out),
                    None => out.push(format!("{at}.{name} is missing")),
                }
            }
        }
        Value::Array(one) => match found.as_array() {
            Some(found) if !found.is_empty() => {
                for (index, found) in found.iter().enumerate() {
                    differences(&format!("{at}[{index}]"), &one[0], found, out);
                }
            }
            _ => out.push(format!("{at} is no list with something in it: {found}")),
        },
        Value::String(word) => {
            let fits = match word.trim_start_matches('?') {
                _ if word.starts_with('?') && found.is_null() => true,
                "int" => found.is_i64(),
                "number" => found.is_number(),
                "bool" => found.is_boolean(),
                "text" => found.is_string(),
                "texts" => found.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
                "object" => found.is_object(),
                "list" => found.is_array(),
                other => panic!("{other} is no type"),
            };
            if !fits {
                out.push(format!("{at} is no {word}: {found}"));
            }
        }
        other => panic!("{other} is no shape"),
    }
}

#[tokio::test]
async fn the_payload_has_what_the_contract_lists() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), |settings| {
        let login = Some(harrier_coordinator::RegistryLogin {
            user: "u".into(),
            password: harrier_base::Secret::new("p"),
        });
        settings.registry = Some(harrier_coordinator::Registry { host: "registry.example".into(), login });
    })
    .await;
    let (project, sha) = server.project("birds/kestrel", &[(".gitlab-ci.yml", ALL)]).await;
    server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let make = server.take(&runner).await;
    let bare = server.take(&runner).await;
    for absent in ["run", "secrets", "policy_options", "inputs"] {
        assert!(bare.payload.get(absent).is_none(), "{absent} is for jobs that have it");
    }
    assert_eq!((&bare.payload["image"], &bare.payload["services"]), (&Value::Null, &json!([])));
    assert_eq!(server.upload(&make, "artifact_type=archive", "a.zip", b"zip").await.status(), 201);
    for job in [&make, &bare] {
        assert_eq!(server.put(job, json!({"state": "success"})).await.status(), 200);
    }
    let payload = server.take(&runner).await.payload;
    let variables = json!([{"key": "text", "value": "text", "public": "bool", "masked": "bool"}]);
    let image = json!({"name": "text", "entrypoint": "?texts", "ports": "list", "executor_opts": "object", "pull_policy": "?texts"});
    let mut service = image.clone();
    service["alias"] = json!("text");
    service["command"] = json!("?texts");
    service["variables"] = json!([{"key": "text", "value": "text"}]);
    let shape = json!({
        "id": "int", "token": "text", "allow_git_fetch": "bool", "variables": variables, "image": image, "services": [service],
        "job_info": {
            "id": "int", "name": "text", "stage": "text", "pipeline_id": "int", "project_id": "int", "project_name": "text",
            "project_full_path": "text", "namespace_id": "int", "root_namespace_id": "int", "organization_id": "int",
            "instance_id": "text", "instance_uuid": "text", "user_id": "int", "scoped_user_id": "?int",
            "time_in_queue_seconds": "number", "project_jobs_running_on_instance_runners_count": "text", "queue_size": "int",
            "queue_depth": "int"},
        "git_info": {
            "repo_url": "text", "ref": "text", "sha": "text", "before_sha": "text", "ref_type": "text", "refspecs": "texts",
            "depth": "int", "repo_object_format": "text", "protected": "bool"},
        "runner_info": {"timeout": "int", "runner_session_url": "?text", "uuid": "text"},
        "steps": [{"name": "text", "script": "texts", "timeout": "int", "when": "text", "allow_failure": "bool"}],
        "hooks": [{"name": "text", "script": "texts"}],
        "artifacts": [{
            "name": "?text", "paths": "texts", "when": "text", "expire_in": "?text", "artifact_type": "text",
            "artifact_format": "text"}],
        "cache": [{
            "key": "text", "untracked": "bool", "policy": "text", "paths": "texts", "when": "text", "fallback_keys": "texts"}],
        "credentials": [{"type": "text", "url": "text", "username": "text", "password": "text"}],
        "dependencies": [{"id": "int", "token": "text", "name": "text"}],
        "features": {"trace_sections": "bool", "failure_reasons": "texts"},
    });
    let mut wrong = Vec::new();
    differences("payload", &shape, &payload, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(payload["job_info"]["id"], payload["id"]);
    let own = payload["job_info"]["instance_uuid"].as_str().unwrap();
    assert_eq!((own.len(), own.matches('-').count(), own.as_bytes()[14]), (36, 4, b'4'));
    assert_eq!(bare.payload["job_info"]["instance_id"], json!(own), "it is always the same");
    let names: Vec<&str> =
        payload["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["script", "after_script"]);
    let files: Vec<bool> = payload["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.get("artifacts_file").is_some_and(|file| !file.is_null()))
        .collect();
    assert_eq!(files.iter().filter(|has| **has).count(), 1, "only what has an archive names one");
}

#[tokio::test]
async fn jobs_on_instance_runners_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let text: String = ('a'..='h').map(|name| format!("{name}: {{script: x}}\n")).collect();
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", &text)]).await;
    let (other, other_sha) = server.project("g/other", &[(".gitlab-ci.yml", "a: {script: x}\n")]).await;
    server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let count = |job: &support::Taken| {
        job.payload["job_info"]["project_jobs_running_on_instance_runners_count"].as_str().unwrap().to_owned()
    };
    let mut counts = Vec::new();
    for _ in 0..7 {
        counts.push(count(&server.take(&runner).await));
    }
    assert_eq!(counts, ["0", "1", "2", "3", "4", "5+", "5+"]);
    server.pipeline(&other, &other_sha).await;
    assert_eq!(count(&server.take(&runner).await), "0", "of its own project");
    let token = server.app.store.reset_registration_token(Registers::Project(project.id), 0).await.unwrap();
    let own = server.post("/runners", json!({"token": token.expose()})).await.json::<Value>().await.unwrap();
    let own = harrier_base::Secret::new(own["token"].as_str().unwrap());
    assert_eq!(count(&server.take(&own).await), "+Inf");
}

#[tokio::test]
async fn what_runners_leave_out_or_say_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let token = server.app.store.reset_registration_token(Registers::Instance, 0).await.unwrap();
    let token = token.expose();
    let error = |why: &str| json!({"error": why});
    for (path, body, said) in [
        ("/jobs/request", json!({"info": info()}), error("token is missing")),
        ("/runners/verify", Value::Null, error("token is missing")),
        ("/runners/reset_authentication_token", json!({}), error("token is missing")),
        (
            "/runners",
            json!({"token": token, "access_level": "odd"}),
            error("access_level does not have a valid value"),
        ),
        (
            "/runners",
            json!({"token": token, "paused": false, "active": true}),
            error("active, paused are mutually exclusive"),
        ),
        (
            "/runners",
            json!({"token": token, "maintenance_note": "a", "maintainer_note": "b"}),
            error("maintainer_note, maintenance_note are mutually exclusive"),
        ),
        (
            "/runners",
            json!({"token": token, "maintenance_note": "x".repeat(1025)}),
            json!({"message": {"maintenance_note": ["is too long (maximum is 1024 characters)"]}}),
        ),
    ] {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}: {said}");
        assert_eq!(answer.json::<Value>().await.unwrap(), said);
    }
    let body = json!({"token": token, "tag_list": ["a", "b"], "active": false, "maintainer_note": "by hand"});
    let made: Value = server.post("/runners", body).await.json().await.unwrap();
    let paused = harrier_base::Secret::new(made["token"].as_str().unwrap());
    let view = server.app.store.runner(made["id"].as_i64().unwrap()).await.unwrap();
    assert_eq!(
        (view.offer.tags.len(), view.offer.paused, view.maintenance_note.as_str()),
        (2, true, "by hand")
    );

    // A runner that is paused is told that there is nothing; one whose project is gone, that it is of no use.
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", "a: {script: x, tags: [a]}\n")]).await;
    server.pipeline(&project, &sha).await;
    let nothing = server.ask(&paused).await;
    assert_eq!(nothing.status(), StatusCode::NO_CONTENT);
    assert!(!header(&nothing, "x-gitlab-last-update").is_empty());
    assert_eq!(header(&nothing, "gitlab-ci-builds-polling"), "yes");
    let token = server.app.store.reset_registration_token(Registers::Project(project.id), 0).await.unwrap();
    let own: Value = server.post("/runners", json!({"token": token.expose()})).await.json().await.unwrap();
    let own = harrier_base::Secret::new(own["token"].as_str().unwrap());
    server.app.store.delete_project(project.id).await.unwrap();
    assert_eq!(server.ask(&own).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let verified = server.post("/runners/verify", json!({"token": own.expose()})).await;
    assert_eq!(verified.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let gone =
        server.call(Method::DELETE, "/runners").json(&json!({"token": own.expose()})).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn updates_and_uploads_take_what_the_contract_lists() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (project, sha) = server.project("g/p", &[(".gitlab-ci.yml", "a: {script: x}\n")]).await;
    server.pipeline(&project, &sha).await;
    let runner = server.runner(&[]).await;
    let job = server.take(&runner).await;
    let none = server.put(&job, json!({})).await;
    assert_eq!(none.status(), StatusCode::BAD_REQUEST);
    assert_eq!(none.json::<Value>().await.unwrap(), json!({"error": "state is missing"}));
    assert_eq!(server.put(&job, json!({"state": "odd"})).await.status(), StatusCode::BAD_REQUEST);
    for (query, public) in [
        ("artifact_type=archive&accessibility=private", false),
        ("artifact_type=junit&accessibility=public", true),
    ] {
        assert_eq!(server.upload(&job, query, "x", b"<testsuite/>").await.status(), StatusCode::CREATED);
        let kind = if public { "junit" } else { "archive" };
        let kept = server.app.store.artifact(job.id, kind).await.unwrap().unwrap();
        assert_eq!(kept.public, public, "{query}");
    }
    // The token as a parameter counts like the one of the header.
    let call = server
        .call(Method::POST, &format!("/jobs/{}/artifacts?artifact_type=metrics&token={}", job.id, job.token));
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(&b"m"[..]).file_name("m"));
    assert_eq!(call.multipart(form).send().await.unwrap().status(), StatusCode::CREATED);
    let body = json!({"state": "failed", "failure_reason": "script_failure", "exit_code": -5, "checksum": "crc32:00000000",
        "runtime_environment_key": "k"});
    let ended = server.put(&job, body).await;
    assert_eq!((ended.status(), job_status(&ended)), (StatusCode::OK, "failed".into()));
    assert_eq!(ended.text().await.unwrap(), "200");
    assert_eq!(server.app.store.job(job.id).await.unwrap().exit_code, Some(0));
}
