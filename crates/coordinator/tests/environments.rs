//! Environments over HTTP: what a runner's jobs, a person and the end of a branch make of them, and how they are shown.

#![allow(clippy::unwrap_used)]

#[path = "support/answers.rs"]
mod answers;
mod support;

use answers::gives;
use flate2::write::GzEncoder;
use harrier_base::{Secret, Variable};
use harrier_coordinator::{Made, Start};
use harrier_database::{AccessLevel, CiVariable, NewToken, NewUser, TokenKind, UserView};
use harrier_pipeline::Status;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write as _;
use support::{Server, Taken};

const CONFIG: &str = "up:
  script: x
  environment: { name: review/$CI_COMMIT_REF_SLUG, url: $ADDRESS/$CI_ENVIRONMENT_SLUG, on_stop: down, auto_stop_in: 2 days }
  artifacts: { reports: { dotenv: left.env } }
check:
  script: x
  needs: []
  environment: { name: review/$CI_COMMIT_REF_SLUG, action: verify }
  rules: [{ if: '$CHECK' }]
down:
  script: x
  needs: [up]
  environment: { name: review/$CI_COMMIT_REF_SLUG, action: stop }
  when: manual
odd:
  script: x
  needs: []
  variables: { NAME: 'a:b' }
  environment: bad/$NAME
  rules: [{ if: '$ODD' }]
";

async fn user(server: &Server, name: &str, admin: bool) -> UserView {
    let new = NewUser { username: name.into(), admin, ..NewUser::default() };
    server.app.store.create_user(new, 1).await.unwrap()
}

async fn token(server: &Server, user: &UserView) -> Secret {
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(user.id),
        project: None,
        name: "test".into(),
        scopes: vec!["api".into()],
        access_level: None,
        expires_at: None,
    };
    server.app.store.create_token(new, 1).await.unwrap().1
}

async fn passes(server: &Server, job: &Taken) {
    let answer = server.put(job, json!({"state": "success", "exit_code": 0, "output": {}})).await;
    assert_eq!(answer.status(), 200);
}

/// A job of `up` that leaves its address.
async fn leaves(server: &Server, job: &Taken, address: &str) {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(format!("ADDRESS={address}\n").as_bytes()).unwrap();
    let bytes = packed.finish().unwrap();
    let stored = server.upload(job, "artifact_type=dotenv&artifact_format=gzip", ".env.gz", &bytes).await;
    assert_eq!(stored.status(), 201);
}

/// A browser's way to a page.
async fn page(server: &Server, user: &UserView, path: &str) -> String {
    let now = server.app.now();
    let (_, secret) = server.app.store.create_session(user.id, now + 3_600_000, now).await.unwrap();
    let call = server.client.get(format!("{}{path}", server.url));
    let answer = call.header("cookie", format!("harrier_session={}", secret.expose())).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_app_comes_and_goes() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let secret = token(&server, &root).await;
    let (project, sha) = server.project("root/app", &[(".gitlab-ci.yml", CONFIG)]).await;
    let (at, get, post) = ("/projects/root%2Fapp", Method::GET, Method::POST);
    let variable = CiVariable {
        variable: Variable { key: "SCOPED".into(), value: "yes".into(), ..Variable::default() },
        protected: false,
        hidden: false,
        environment_scope: "review/*".into(),
        description: String::new(),
    };
    server.app.store.set_variable(Some(project.id), variable, false).await.unwrap();
    let runner = server.runner(&[]).await;
    let made = server.pipeline(&project, &sha).await;
    let up = server.take(&runner).await;
    let environments = format!("{at}/environments");
    let shown = gives(&server, get.clone(), &environments, &secret, json!({}), 200).await;
    let id = shown[0]["id"].as_i64().unwrap();
    assert_eq!((&shown[0]["name"], &shown[0]["state"]), (&json!("review/main"), &json!("available")));
    assert_eq!(
        up.variable("SCOPED").as_deref(),
        Some("yes"),
        "variables of the environment's scope are there"
    );
    assert_eq!(up.variable("CI_ENVIRONMENT_ID"), Some(id.to_string()));
    assert_eq!(up.variable("CI_ENVIRONMENT_NAME").as_deref(), Some("review/main"));
    let running = gives(&server, get.clone(), &format!("{at}/deployments"), &secret, json!({}), 200).await;
    assert_eq!(running[0]["status"], "running");
    leaves(&server, &up, "https://x.example").await;
    passes(&server, &up).await;

    let its = format!("{environments}/{id}");
    let shown = gives(&server, get.clone(), &its, &secret, json!({}), 200).await;
    let slug = shown["slug"].as_str().unwrap();
    assert_eq!(shown["external_url"], json!(format!("https://x.example/{slug}")));
    assert!(shown["auto_stop_at"].is_string());
    assert_eq!(shown["last_deployment"]["deployable"]["id"], up.id);
    assert_eq!(
        (&shown["last_deployment"]["sha"], &shown["last_deployment"]["iid"]),
        (&json!(sha), &json!(1))
    );
    let list = |query: &str| format!("{at}/deployments?{query}");
    for (query, count) in [
        ("environment=review/main&status=success", 1),
        ("environment=other", 0),
        ("status=failed", 0),
        ("order_by=finished_at&sort=desc", 1),
    ] {
        let found = gives(&server, get.clone(), &list(query), &secret, json!({}), 200).await;
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }
    gives(&server, get.clone(), &list("status=good"), &secret, json!({}), 400).await;
    let one = &shown["last_deployment"]["id"];
    let one = gives(&server, get.clone(), &format!("{at}/deployments/{one}"), &secret, json!({}), 200).await;
    assert_eq!(one["environment"]["name"], "review/main");

    // Pages: the address as a link, the deployment, the button for who may.
    let shows = page(&server, &root, "/root/app/-/environments").await;
    for text in ["review/main", "href=\"https://x.example/", &format!("/environments/{id}/stop"), "available"]
    {
        assert!(shows.contains(text), "{text}: {shows}");
    }
    let ann = user(&server, "ann", false).await;
    server.app.store.set_member(project.id, ann.id, Some(AccessLevel::Reporter), 1).await.unwrap();
    let history = page(&server, &ann, &format!("/root/app/-/environments/{id}")).await;
    assert!(history.contains("latest") && history.contains(&sha[..8]), "{history}");
    assert!(!history.contains("/stop\""), "a reporter stops nothing");

    // Stopped by its job.
    gives(&server, Method::DELETE, &its, &secret, json!({}), 403).await;
    let stopping = gives(&server, post.clone(), &format!("{its}/stop"), &secret, json!({}), 200).await;
    assert_eq!(stopping["state"], "stopping");
    let down = server.take(&runner).await;
    assert_eq!(down.variable("CI_ENVIRONMENT_ACTION").as_deref(), Some("stop"));
    passes(&server, &down).await;
    server.wait(made.id, Status::Success).await;
    let shown = gives(&server, get.clone(), &its, &secret, json!({}), 200).await;
    assert_eq!((&shown["state"], &shown["auto_stop_at"]), (&json!("stopped"), &Value::Null));
    let available = format!("{environments}?states=available");
    assert_eq!(gives(&server, get.clone(), &available, &secret, json!({}), 200).await, json!([]));
    gives(&server, Method::DELETE, &its, &secret, json!({}), 204).await;
    gives(&server, get.clone(), &its, &secret, json!({}), 404).await;

    // Made and stopped by hand.
    let body = json!({"name": "prod", "external_url": "https://prod.example", "tier": "production"});
    let prod = gives(&server, post.clone(), &environments, &secret, body.clone(), 201).await;
    assert_eq!((&prod["slug"], &prod["tier"]), (&json!("prod"), &json!("production")));
    gives(&server, post.clone(), &environments, &secret, body, 400).await;
    for body in
        [json!({"name": "a:b"}), json!({}), json!({"name": "c", "external_url": "javascript:alert(1)"})]
    {
        gives(&server, post.clone(), &environments, &secret, body, 400).await;
    }
    let its = format!("{environments}/{}", prod["id"]);
    let body = json!({"external_url": "https://new.example", "description": "d", "auto_stop_setting": "with_action"});
    let changed = gives(&server, Method::PUT, &its, &secret, body, 200).await;
    assert_eq!(changed["external_url"], "https://new.example");
    assert_eq!(changed["auto_stop_setting"], "with_action");
    let stopped = gives(&server, post.clone(), &format!("{its}/stop"), &secret, json!({}), 200).await;
    assert_eq!(stopped["state"], "stopped");
    let stale = format!("{environments}/stop_stale");
    gives(&server, post.clone(), &stale, &secret, json!({}), 400).await;
    gives(&server, post.clone(), &stale, &secret, json!({"before": "2999-01-01"}), 400).await;
    let far = json!({"before": "2020-01-01T00:00:00Z"});
    gives(&server, post.clone(), &stale, &secret, far, 200).await;
    let old = format!("{environments}/review_apps");
    let said = gives(&server, Method::DELETE, &old, &secret, json!({}), 200).await;
    assert_eq!(said["scheduled_entries"], json!([]));

    // A name that no environment can have.
    let start = Start {
        source: "push".into(),
        git_ref: "main".into(),
        sha,
        variables: vec![Variable { key: "ODD".into(), value: "1".into(), ..Variable::default() }],
        ..Start::default()
    };
    let Made::Pipeline(odd) = server.app.make_pipeline(&project, start).await.unwrap() else {
        panic!("none")
    };
    while server.ask(&runner).await.status() == 201 {}
    let jobs = server.app.store.jobs(odd.id, false).await.unwrap();
    let odd = jobs.iter().find(|job| job.name == "odd").unwrap();
    assert_eq!(odd.failure_reason.as_deref(), Some("environment_creation_failure"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_branch_has_deployed_is_stopped_with_it() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let secret = token(&server, &root).await;
    server.project("root/app", &[(".gitlab-ci.yml", CONFIG)]).await;
    let at = "/projects/root%2Fapp";
    let branches = format!("{at}/repository/branches");
    let runner = server.runner(&[]).await;
    gives(&server, Method::POST, &branches, &secret, json!({"branch": "topic", "ref": "main"}), 201).await;
    let up = server.take(&runner).await;
    leaves(&server, &up, "http://topic.example").await;
    passes(&server, &up).await;
    gives(&server, Method::DELETE, &format!("{branches}/topic"), &secret, json!({}), 204).await;
    let down = server.take(&runner).await;
    assert_eq!(down.variable("CI_JOB_NAME").as_deref(), Some("down"));
    assert_eq!(down.variable("GITLAB_USER_LOGIN").as_deref(), Some("root"));
    passes(&server, &down).await;
    let shown = gives(&server, Method::GET, &format!("{at}/environments"), &secret, json!({}), 200).await;
    assert_eq!((&shown[0]["name"], &shown[0]["state"]), (&json!("review/topic"), &json!("stopped")));
}
