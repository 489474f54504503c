//! Mirrors over real git and HTTP: a second server is the remote. Webhooks in each form with signatures that are computed here, by
//! other code than the server's; addresses that a policy forbids; what a log-in may not reach.

#![allow(clippy::unwrap_used)]

#[path = "support/answers.rs"]
mod answers;
mod support;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use harrier_base::Secret;
use harrier_coordinator::Settings;
use harrier_database::{
    AccessLevel, MirrorView, NewToken, NewUser, PageAt, PipelineFilter, PipelineView, TokenKind, UserEdit,
    UserView,
};
use harrier_includes::AddressPolicy;
use harrier_testkit::{Repo, RepoFile};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{PATIENCE, Server};

const CONFIG: &str = "build:\n  script: make\n  rules:\n    - changes: [src/*]\n    - if: $CI_COMMIT_TAG\n";

fn loopback(settings: &mut Settings) {
    let networks = ["127.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
    settings.include_policy = networks.into_iter().fold(AddressPolicy::strict(), AddressPolicy::allowing);
}

async fn user(server: &Server, name: &str, admin: bool) -> (UserView, Secret) {
    let new = NewUser { username: name.into(), admin, ..NewUser::default() };
    let user = server.app.store.create_user(new, 1).await.unwrap();
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(user.id),
        project: None,
        name: "test".into(),
        scopes: ["api", "read_repository", "write_repository"].map(str::to_owned).to_vec(),
        access_level: None,
        expires_at: None,
    };
    let token = server.app.store.create_token(new, 1).await.unwrap().1;
    (user, token)
}

async fn ask(server: &Server, method: Method, path: &str, token: &Secret, body: Value) -> (u16, Value) {
    let call = server.call(method.clone(), path).header("PRIVATE-TOKEN", token.expose()).json(&body);
    let (status, value) = read(call.send().await.unwrap()).await;
    answers::described(&method, path, status, &value);
    (status, value)
}

async fn read(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Waits until the mirror is as wanted.
async fn until(server: &Server, project: i64, good: impl Fn(&MirrorView) -> bool) -> MirrorView {
    let reached = async {
        loop {
            let mirror = server.app.store.mirror(project).await.unwrap().unwrap();
            if mirror.started_at.is_none() && good(&mirror) {
                return mirror;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, reached).await {
        Ok(mirror) => mirror,
        Err(_) => panic!("the mirror stays {:?}", server.app.store.mirror(project).await.unwrap()),
    }
}

async fn pipelines(server: &Server, project: i64) -> Vec<PipelineView> {
    let at = PageAt { number: 1, size: 100 };
    server.app.store.pipelines(project, PipelineFilter::default(), at).await.unwrap().entries
}

fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=T", "-c", "user.email=t@example.com"]).args(args).current_dir(dir);
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    command.output().unwrap()
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A remote with a project and somebody who may read it.
struct Remote {
    server: Server,
    bare: std::path::PathBuf,
    token: Secret,
    url: String,
    _home: tempfile::TempDir,
}

impl Remote {
    async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(home.path()).await;
        let (reader, token) = user(&server, "reader", false).await;
        let (project, _) = server.project("up/app", &[(".gitlab-ci.yml", CONFIG), ("src/a", "1")]).await;
        server.app.store.set_member(project.id, reader.id, Some(AccessLevel::Reporter), 1).await.unwrap();
        let bare = server.app.data.repository(project.id);
        let url =
            server.url.replace("http://", &format!("http://reader:{}@", token.expose())) + "/up/app.git";
        Self { server, bare, token, url, _home: home }
    }

    fn commit(&self, branch: &str, file: &str, text: &str) -> String {
        let work = tempfile::tempdir().unwrap();
        git(work.path(), &["clone", "-q", self.bare.to_str().unwrap(), "w"]);
        let work = work.path().join("w");
        git(&work, &["checkout", "-q", "-B", branch]);
        std::fs::create_dir_all(work.join(file).parent().unwrap()).unwrap();
        std::fs::write(work.join(file), text).unwrap();
        git(&work, &["add", "."]);
        git(&work, &["commit", "-q", "-m", text]);
        git(&work, &["push", "-q", "origin", branch]);
        git(&work, &["rev-parse", "HEAD"])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_follows_its_remote() {
    let remote = Remote::start().await;
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(home.path(), loopback).await;
    let (root, token) = user(&server, "root", true).await;

    // Made as GitLab's API makes one; nobody gets to see the log-in again.
    let body = json!({"name": "app", "import_url": remote.url, "mirror": true});
    let (status, made) = ask(&server, Method::POST, "/projects", &token, body).await;
    assert_eq!((status, &made["mirror"]), (201, &json!(true)), "{made}");
    let id = made["id"].as_i64().unwrap();
    let first = until(&server, id, |mirror| mirror.fetched_at.is_some()).await;
    assert_eq!((first.error.as_deref(), first.has_login), (None, true));
    let path = format!("/projects/{id}/mirror/pull");
    let (status, shown) = ask(&server, Method::GET, &path, &token, json!({})).await;
    assert_eq!((status, &shown["update_status"]), (200, &json!("finished")));
    assert!(!format!("{made}{shown}").contains(remote.token.expose()), "{made} {shown}");

    // The default branch has its pipeline, with the rights of who made the mirror.
    let all = pipelines(&server, id).await;
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].user, all[0].source.as_str(), all[0].git_ref.as_str()),
        (Some(root.id), "push", "main")
    );

    // What moves gets pipelines as if it had been pushed: `changes` see what the commit before had not.
    let before = all[0].sha.clone();
    let docs = remote.commit("main", "docs/a", "docs only");
    let (status, _) = ask(&server, Method::POST, &path, &token, json!({})).await;
    assert_eq!(status, 200);
    let second = until(&server, id, |mirror| mirror.fetched_at > first.fetched_at).await;
    assert_eq!(pipelines(&server, id).await.len(), 1, "no file below src changed");
    let code = remote.commit("main", "src/b", "code");
    let side = remote.commit("side", "src/c", "side");
    git(&remote.bare, &["tag", "v1", &before]);
    ask(&server, Method::POST, &path, &token, json!({})).await;
    let third = until(&server, id, |mirror| mirror.fetched_at > second.fetched_at).await;
    let all = pipelines(&server, id).await;
    let mut found: Vec<(String, bool, String, String)> = all
        .iter()
        .map(|p| (p.git_ref.clone(), p.tag, p.sha.clone(), p.facts.commit.before_sha.clone()))
        .collect();
    found.sort();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.contains(&("main".into(), false, code.clone(), docs)), "{found:?}");
    assert!(found.contains(&("side".into(), false, side, String::new())), "{found:?}");
    assert!(found.contains(&("v1".into(), true, before, String::new())), "{found:?}");

    // What is gone there goes here.
    git(&remote.bare, &["branch", "-D", "side"]);
    ask(&server, Method::POST, &path, &token, json!({})).await;
    let fourth = until(&server, id, |mirror| mirror.fetched_at > third.fetched_at).await;
    let repository = server.app.repository(id);
    assert!(!repository.has_ref("refs/heads/side") && repository.has_ref("refs/heads/main"));
    assert!(repository.has_ref(&format!("refs/pipelines/{}", all[0].id)), "what pipelines need stays");

    // Nobody pushes into it.
    let work = Repo::new();
    work.commit("main", &[RepoFile::new("x", "x")], "x");
    let to = server.url.replace("http://", &format!("http://root:{}@", token.expose())) + "/root/app.git";
    let pushed = run(work.git_dir(), &["push", &to, "main:other"]);
    let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
    assert!(!pushed.status.success() && said.contains("root/app is a mirror of http://127.0.0.1"), "{said}");

    // What goes wrong is shown where the mirror is, without the log-in; the next try comes later.
    std::fs::rename(&remote.bare, remote.bare.with_extension("gone")).unwrap();
    std::fs::create_dir(&remote.bare).unwrap();
    ask(&server, Method::POST, &path, &token, json!({})).await;
    let failed = until(&server, id, |mirror| mirror.failures == 1).await;
    let (_, shown) = ask(&server, Method::GET, &path, &token, json!({})).await;
    assert_eq!(shown["update_status"], "failed", "{shown}");
    assert_eq!(failed.fetched_at, fourth.fetched_at);
    assert!(failed.next_at.unwrap() - failed.tried_at.unwrap() >= 2 * 300_000, "{failed:?}");
    assert!(repository.has_ref("refs/heads/main"), "what was fetched stays");
    std::fs::remove_dir_all(&remote.bare).unwrap();
    std::fs::rename(remote.bare.with_extension("gone"), &remote.bare).unwrap();

    // Whose rights it has no more rights: nothing runs for them.
    remote.commit("main", "src/d", "after");
    server
        .app
        .store
        .edit_user(root.id, UserEdit { blocked: Some(true), ..UserEdit::default() })
        .await
        .unwrap();
    server.app.store.mirror_now(id, server.app.now()).await.unwrap();
    let refused = until(&server, id, |mirror| mirror.failures == 2).await;
    assert!(
        refused.error.unwrap().contains("root may no longer keep mirrors"),
        "it says whose rights are gone"
    );
    assert_eq!(pipelines(&server, id).await.len(), 4);

    // The log-in is sealed: no file of the data directory holds it.
    for entry in std::fs::read_dir(home.path()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        let secret = remote.token.expose().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{:?}", entry.path());
    }
    drop(remote.server);
}

/// HMAC-SHA256 by its definition (RFC 2104).
fn hmac(key: &str, body: &str) -> String {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key.as_bytes());
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36).as_slice(), body.as_bytes()].concat());
    let outer = Sha256::digest([pad(0x5c).as_slice(), inner.as_slice()].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_of_each_kind_start_a_fetch_and_others_nothing() {
    let remote = Remote::start().await;
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(home.path(), loopback).await;
    let (_, token) = user(&server, "root", true).await;
    let (_, made) = ask(&server, Method::POST, "/projects", &token, json!({"name": "app"})).await;
    let id = made["id"].as_i64().unwrap();
    let path = format!("/projects/{id}/mirror/pull");
    let body = json!({"url": remote.url, "interval": 86_400});
    let (status, set) = ask(&server, Method::PUT, &path, &token, body).await;
    assert_eq!(status, 200, "{set}");
    let secret = set["webhook_secret"].as_str().unwrap().to_owned();
    assert_eq!(set["webhook_url"], format!("{}/api/v4{path}", server.url));
    let (_, again) = ask(&server, Method::GET, &path, &token, json!({})).await;
    assert!(
        again.get("webhook_secret").is_none() && !again.to_string().contains(&secret),
        "it is shown once"
    );
    let mut seen = until(&server, id, |mirror| mirror.fetched_at.is_some()).await;

    // The bodies say untrue things, which nobody here reads.
    let push = r#"{"ref":"refs/heads/evil","after":"0000000000000000000000000000000000000001","repository":{"clone_url":"https://elsewhere.example/x.git"}}"#;
    let send = |headers: Vec<(&'static str, String)>, body: &'static str| {
        let mut call = server.call(Method::POST, &path).header("Content-Type", "application/json").body(body);
        for (name, value) in headers {
            call = call.header(name, value);
        }
        async move { read(call.send().await.unwrap()).await }
    };
    let signed = hmac(&secret, push);
    let github = |event: &str, signature: &str| {
        vec![("X-GitHub-Event", event.to_owned()), ("X-Hub-Signature-256", format!("sha256={signature}"))]
    };
    let gitea = |signature: &str| {
        vec![
            ("X-Gitea-Event", "push".to_owned()),
            ("X-GitHub-Event", "push".to_owned()),
            ("X-Gitea-Signature", signature.to_owned()),
        ]
    };
    let gitlab =
        |token: &str| vec![("X-Gitlab-Event", "Push Hook".to_owned()), ("X-Gitlab-Token", token.to_owned())];

    for headers in [github("push", &signed), github("pull_request", &signed), gitea(&signed), gitlab(&secret)]
    {
        let (status, answer) = send(headers.clone(), push).await;
        assert_eq!(status, 200, "{headers:?}: {answer}");
        seen = until(&server, id, |mirror| mirror.fetched_at > seen.fetched_at).await;
    }
    let (status, answer) = send(github("ping", &signed), push).await;
    assert_eq!((status, &answer["message"]), (200, &json!("pong")));
    assert_eq!(send(github("star", &signed), push).await.0, 200);

    // Wrong, and nothing happens.
    let other = hmac("another", push);
    for headers in [
        github("push", &other),
        github("push", ""),
        vec![("X-GitHub-Event", "push".to_owned())],
        vec![("X-GitHub-Event", "push".to_owned()), ("X-Hub-Signature", format!("sha1={}", &signed[..40]))],
        gitea(&other),
        gitlab("wrong"),
        gitlab(""),
    ] {
        let (status, answer) = send(headers.clone(), push).await;
        assert_eq!(status, 401, "{headers:?}: {answer}");
    }
    assert_eq!(send(github("push", &signed), "{}").await.0, 401, "a signature of another body");
    assert_eq!(send(Vec::new(), push).await.0, 401, "nobody");
    let elsewhere = server.call(Method::POST, "/projects/999/mirror/pull").header("X-Gitlab-Token", &secret);
    assert_eq!(elsewhere.send().await.unwrap().status(), 401, "a project that is not there answers the same");
    assert_eq!(server.app.store.mirror(id).await.unwrap().unwrap(), seen, "nothing has happened");
    assert!(!server.app.repository(id).has_ref("refs/heads/evil"));

    // A new secret ends the old one.
    let (_, set) = ask(&server, Method::PUT, &path, &token, json!({"reset_webhook_secret": true})).await;
    let fresh = set["webhook_secret"].as_str().unwrap().to_owned();
    assert_eq!(send(gitlab(&secret), push).await.0, 401);
    assert_eq!(send(gitlab(&fresh), push).await.0, 200);
    // Another address loses the log-in, which was for the one before.
    let (_, moved) =
        ask(&server, Method::PUT, &path, &token, json!({"url": "https://git.example/x.git"})).await;
    assert_eq!(moved["has_login"], false, "{moved}");
    assert_eq!(ask(&server, Method::DELETE, &path, &token, json!({})).await.0, 204);
    assert_eq!(send(gitlab(&fresh), push).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_holds_for_mirrors_and_nothing_leads_around_it() {
    // A server that leads elsewhere, and one that must not be reached by that.
    let reached = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reached);
    let inner = Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { StatusCode::NOT_FOUND }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inside = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, inner).await });
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, to) = (Arc::clone(&asked), inside.clone());
    let outer = Router::new().fallback(move |request: axum::extract::Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        let to = format!("{to}{}", request.uri());
        async move { (StatusCode::FOUND, [(header::LOCATION, to)]).into_response() }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, outer).await });

    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let (_, token) = user(&server, "root", true).await;
    let mirror = |name: &'static str, url: String| {
        let (server, token) = (&server, &token);
        async move {
            let body = json!({"name": name, "import_url": url, "mirror": true});
            let (status, made) = ask(server, Method::POST, "/projects", token, body).await;
            assert_eq!(status, 201, "{url}: {made}");
            let view = until(server, made["id"].as_i64().unwrap(), |mirror| mirror.failures > 0).await;
            view.error.unwrap()
        }
    };
    for (name, url) in [
        ("a", format!("http://127.0.0.1:{port}/x.git")),
        ("b", format!("http://localhost:{port}/x.git")),
        ("c", format!("http://2130706433:{port}/x.git")),
        ("d", "http://169.254.169.254/latest/meta-data".to_owned()),
        ("e", format!("ssh://git@localhost:{port}/x.git")),
        ("f", "https://[::ffff:10.0.0.1]/x.git".to_owned()),
    ] {
        let error = mirror(name, url.clone()).await;
        assert!(error.contains("may not be reached from here"), "{url}: {error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody was connected to");
    for url in ["file:///etc", "ext::sh -c date", "/srv/x.git", "git://h/x"] {
        let body = json!({"name": "g", "import_url": url, "mirror": true});
        assert_eq!(ask(&server, Method::POST, "/projects", &token, body).await.0, 400, "{url}");
    }

    // Allowed as an address, it still leads nobody elsewhere, and the log-in stays where it belongs.
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(home.path(), loopback).await;
    let (_, token) = user(&server, "root", true).await;
    let url = format!("http://me:word@localhost:{port}/x.git");
    let body = json!({"name": "a", "import_url": url, "mirror": true});
    let (_, made) = ask(&server, Method::POST, "/projects", &token, body).await;
    let view = until(&server, made["id"].as_i64().unwrap(), |mirror| mirror.failures > 0).await;
    let error = view.error.unwrap();
    assert!(asked.load(Ordering::SeqCst) > 0, "the first server was asked: {error}");
    assert_eq!(reached.load(Ordering::SeqCst), 0, "the second was not: {error}");
    assert!(!error.contains("word"), "{error}");
}
