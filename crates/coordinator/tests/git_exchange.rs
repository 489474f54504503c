//! Real git against a real server: clone, fetch, push, refusals and messages.

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use harrier_coordinator::git_http::{Allowed, Push, Service, advertise, receive_pack, upload_pack};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
struct Host {
    repository: PathBuf,
    pushes: Arc<Mutex<Vec<Push>>>,
}

fn protocol(headers: &HeaderMap) -> Option<&str> {
    headers.get("git-protocol").and_then(|value| value.to_str().ok())
}

async fn info_refs(
    State(host): State<Host>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let service = query.get("service").and_then(|name| Service::from_name(name)).expect("a smart client");
    let lines = advertise(&host.repository, service, protocol(&headers)).await.expect("git runs");
    ([(CONTENT_TYPE, service.advertisement_type())], lines)
}

async fn fetch(State(host): State<Host>, headers: HeaderMap, body: Body) -> impl IntoResponse {
    let gzip = headers.get("content-encoding").is_some_and(|value| value == "gzip");
    let pack = upload_pack(&host.repository, protocol(&headers), body, gzip).await.expect("git runs");
    ([(CONTENT_TYPE, Service::UploadPack.result_type())], pack)
}

async fn push(State(host): State<Host>, body: Body) -> impl IntoResponse {
    let allow = |push: &Push| match push.changes.iter().any(|change| change.name == "refs/heads/locked") {
        true => Err("you may not push to locked".to_owned()),
        false => Ok((Allowed::OnlyForward, ())),
    };
    let pushes = Arc::clone(&host.pushes);
    let after = move |push: Push, ()| async move {
        // Nothing is told of a push of which nothing was carried out.
        let said = push.changes.iter().map(|change| format!("made {}", change.name)).collect();
        if !push.changes.is_empty() {
            pushes.lock().expect("not poisoned").push(push);
        }
        said
    };
    let report = receive_pack(host.repository.clone(), body, allow, after).await.expect("git runs");
    ([(CONTENT_TYPE, Service::ReceivePack.result_type())], report)
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(directory);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.output().expect("git is installed")
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &said
}

/// Bytes that do not compress.
fn noise(long: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(long).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_fetches_and_pushes() {
    let place = tempfile::tempdir().expect("a directory");
    let repository = place.path().join("1.git");
    git(place.path(), &["init", "-q", "--bare", "-b", "main", "1.git"]);
    for key in ["uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter", "receive.advertisePushOptions"] {
        git(&repository, &["config", key, "true"]);
    }
    git(&repository, &["config", "receive.denyNonFastForwards", "true"]);
    // A hook of the repository must not run.
    let hook = repository.join("hooks/pre-receive");
    std::fs::create_dir_all(repository.join("hooks")).expect("a directory");
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("a file");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");

    let host = Host { repository, pushes: Arc::default() };
    let router = Router::new()
        .route("/p.git/info/refs", get(info_refs))
        .route("/p.git/git-upload-pack", post(fetch))
        .route("/p.git/git-receive-pack", post(push))
        .with_state(host.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/p.git", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::task::spawn_blocking(move || client(place.path(), &url, &host.pushes))
        .await
        .expect("the client's part");
}

fn client(place: &Path, url: &str, pushes: &Mutex<Vec<Push>>) {
    let told = || pushes.lock().expect("not poisoned").pop();
    let work = place.join("work");
    git(place, &["init", "-q", "-b", "main", "work"]);
    // More than a packet holds.
    std::fs::write(work.join("big"), noise(300_000)).expect("a file");
    for number in 0..30 {
        std::fs::write(work.join("f"), format!("{number}")).expect("a file");
        git(&work, &["add", "."]);
        git(&work, &["commit", "-q", "-m", &format!("c{number}")]);
    }
    let said = git(&work, &["push", "-o", "ci.skip", url, "main", "main:other"]);
    assert!(
        said.contains("remote: made refs/heads/main") && said.contains("remote: made refs/heads/other"),
        "{said}"
    );
    let seen = told().expect("a push");
    assert_eq!((seen.changes.len(), seen.options), (2, vec!["ci.skip".to_owned()]));

    // Refused before git sees it; nothing is there afterwards, and the reason is shown.
    let output = run(&work, &["push", url, "main:locked"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("you may not push to locked"), "{said}");
    assert_eq!(told(), None);

    git(place, &["clone", "-q", url, "clone"]);
    git(place, &["clone", "-q", "--depth", "3", url, "shallow"]);
    let shallow = place.join("shallow");
    assert_eq!(git(&shallow, &["rev-list", "--count", "HEAD"]).trim(), "3");
    git(&shallow, &["fetch", "-q", "--unshallow"]);
    assert_eq!(git(&shallow, &["rev-list", "--count", "HEAD"]).trim(), "30");
    // As runners do: a commit by its id, with the old protocol too.
    let id = git(&work, &["rev-parse", "HEAD~5"]);
    git(&shallow, &["-c", "protocol.version=0", "fetch", "-q", "--depth", "1", url, id.trim()]);
    git(place, &["clone", "-q", "--filter=blob:none", "--no-checkout", url, "partial"]);

    let many: Vec<String> = (0..400).map(|number| format!("HEAD:refs/tags/t{number}")).collect();
    let mut arguments = vec!["push", "-q", url];
    arguments.extend(many.iter().map(String::as_str));
    git(&work, &arguments);
    assert_eq!(told().expect("a push").changes.len(), 400);
    // A fetch whose request is long enough for git to pack it.
    git(&place.join("clone"), &["fetch", "-q", "--tags"]);
    git(&work, &["push", "-q", url, ":other"]);
    assert!(told().expect("a push").changes[0].deletes());
    // A push that git itself refuses is not told as done.
    git(&work, &["commit", "-q", "--amend", "-m", "other"]);
    assert!(!run(&work, &["push", "--force", url, "main"]).status.success());
    assert_eq!(told(), None);
}
