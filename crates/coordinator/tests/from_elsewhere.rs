//! What jobs and bridges have from outside of their pipeline: artifacts of other projects and pipelines, inputs, another project's
//! status, templates, the registry's log-in, id tokens.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_coordinator::{Registry, RegistryLogin, Start, Templates};
use harrier_database::{NewUser, PipelineView, ProjectView, UserView};
use harrier_pipeline::Status;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use support::{Server, Taken};

async fn user(server: &Server, name: &str) -> UserView {
    let new = NewUser {
        username: name.into(),
        name: name.into(),
        email: format!("{name}@example.com"),
        password: None,
        admin: false,
    };
    server.app.store.create_user(new, server.app.now()).await.unwrap()
}

/// A pipeline of `main` that a user started.
async fn run_as(server: &Server, project: &ProjectView, sha: &str, user: &UserView) -> PipelineView {
    let start = Start {
        source: "push".into(),
        git_ref: "main".into(),
        sha: sha.into(),
        user: Some(user.clone()),
        ..Start::default()
    };
    match server.app.make_pipeline(project, start).await.unwrap() {
        harrier_coordinator::Made::Pipeline(made) => *made,
        harrier_coordinator::Made::None(why) => panic!("{}", why.message()),
    }
}

async fn member(server: &Server, project: &ProjectView, user: &UserView) {
    let level = Some(harrier_database::AccessLevel::Developer);
    server.app.store.set_member(project.id, user.id, level, 0).await.unwrap();
}

async fn pass(server: &Server, job: &Taken) {
    let ended = server.put(job, json!({"state": "success", "output": {}})).await;
    assert_eq!(ended.status(), StatusCode::OK);
}

async fn get(server: &Server, job: i64, token: &str) -> StatusCode {
    let call = server.call(Method::GET, &format!("/jobs/{job}/artifacts"));
    call.header("JOB-TOKEN", token).send().await.unwrap().status()
}

#[tokio::test]
async fn artifacts_of_another_project_come_with_the_rights_of_who_starts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let runner = server.runner(&[]).await;
    let makes = "make:\n  script: [x]\n  artifacts: {paths: [a], reports: {dotenv: e}}\nother:\n  script: [x]\n  artifacts: {paths: [a]}\n";
    let (lib, lib_sha) = server.project("libs/wing", &[(".gitlab-ci.yml", makes)]).await;
    let uses = "use:\n  script: [x]\n  variables: {FROM: libs/wing}\n  needs: [{project: $FROM, job: make, ref: main, artifacts: true}]\n";
    let (app, app_sha) = server.project("apps/bird", &[(".gitlab-ci.yml", uses)]).await;
    let ann = user(&server, "ann").await;
    let bob = user(&server, "bob").await;
    for (project, user) in [(&lib, &ann), (&app, &ann), (&app, &bob)] {
        member(&server, project, user).await;
    }

    // There is no pipeline yet: the job does not start, and its log says why.
    let early = run_as(&server, &app, &app_sha, &ann).await;
    assert_eq!(server.ask(&runner).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.states(early.id).await, "use=failed");
    let failed = server.app.store.jobs(early.id, false).await.unwrap().remove(0);
    assert_eq!(failed.failure_reason.as_deref(), Some("missing_dependency_failure"));
    let log = std::fs::read_to_string(server.app.data.trace(failed.id)).unwrap();
    assert!(log.contains("no successful pipeline there has such a job"), "{log}");

    run_as(&server, &lib, &lib_sha, &ann).await;
    let make = server.take(&runner).await;
    let other = server.take(&runner).await;
    for job in [&make, &other] {
        let up = server.upload(job, "artifact_type=archive&artifact_format=zip", "a.zip", b"zip").await;
        assert_eq!(up.status(), StatusCode::CREATED);
    }
    let up = server.upload(&make, "artifact_type=dotenv&artifact_format=raw", "e", b"WING=left\n").await;
    assert_eq!(up.status(), StatusCode::CREATED);
    pass(&server, &make).await;
    pass(&server, &other).await;

    run_as(&server, &app, &app_sha, &ann).await;
    let uses = server.take(&runner).await;
    let dependency = &uses.payload["dependencies"][0];
    assert_eq!(dependency["id"], json!(make.id));
    assert_eq!(dependency["artifacts_file"], json!({"filename": "a.zip", "size": 3}));
    assert_eq!(uses.variable("WING").as_deref(), Some("left"));
    // Its token reaches what it needs, and nothing else there.
    assert_eq!(get(&server, make.id, &uses.token).await, StatusCode::OK);
    assert_eq!(get(&server, other.id, &uses.token).await, StatusCode::NOT_FOUND);
    pass(&server, &uses).await;
    assert_eq!(get(&server, make.id, &uses.token).await, StatusCode::UNAUTHORIZED, "it has ended");

    // Bob may not read that project, which he does not learn from the message.
    let refused = run_as(&server, &app, &app_sha, &bob).await;
    assert_eq!(server.ask(&runner).await.status(), StatusCode::NO_CONTENT);
    let failed = server.app.store.jobs(refused.id, false).await.unwrap().remove(0);
    let log = std::fs::read_to_string(server.app.data.trace(failed.id)).unwrap();
    assert!(log.contains("no project that the user of the pipeline may read"), "{log}");
}

#[tokio::test]
async fn a_child_gets_artifacts_of_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let runner = server.runner(&[]).await;
    let parent = "stages: [a, b]\nmake:\n  stage: a\n  script: [x]\n  artifacts: {paths: [a]}\ngo:\n  stage: b\n  variables: {PARENT: $CI_PIPELINE_ID}\n  \
                  trigger: {include: child.yml, strategy: depend}\n";
    let child = "use:\n  script: [x]\n  needs: [{pipeline: $PARENT, job: make}]\n";
    let files = [(".gitlab-ci.yml", parent), ("child.yml", child)];
    let (project, sha) = server.project("birds/kestrel", &files).await;
    let made = server.pipeline(&project, &sha).await;
    let make = server.take(&runner).await;
    let up = server.upload(&make, "artifact_type=archive&artifact_format=zip", "a.zip", b"zip").await;
    assert_eq!(up.status(), StatusCode::CREATED);
    pass(&server, &make).await;
    server.wait(made.id, Status::Running).await;
    let uses = loop {
        if server.app.store.children(made.id).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        break server.take(&runner).await;
    };
    assert_eq!(uses.payload["dependencies"][0]["id"], json!(make.id));
    assert_eq!(get(&server, make.id, &uses.token).await, StatusCode::OK);
    pass(&server, &uses).await;
    server.wait(made.id, Status::Success).await;
}

#[tokio::test]
async fn inputs_reach_the_pipeline_of_another_project() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let runner = server.runner(&[]).await;
    let below = "spec:\n  inputs:\n    where: {}\n    times: {type: number, default: 1}\n---\nto $[[ inputs.where ]]:\n  script: [x]\n  parallel: $[[ inputs.times ]]\n";
    let (lower, _) = server.project("ops/deploy", &[(".gitlab-ci.yml", below)]).await;
    let above = "go:\n  variables: {WHERE: north}\n  trigger:\n    project: ops/deploy\n    strategy: depend\n    inputs: {where: $WHERE, times: 2}\n";
    let (upper, sha) = server.project("apps/bird", &[(".gitlab-ci.yml", above)]).await;
    let ann = user(&server, "ann").await;
    for project in [&lower, &upper] {
        let level = Some(harrier_database::AccessLevel::Maintainer);
        server.app.store.set_member(project.id, ann.id, level, 0).await.unwrap();
    }
    let made = run_as(&server, &upper, &sha, &ann).await;
    server.wait(made.id, Status::Running).await;
    let child = server.app.store.children(made.id).await.unwrap()[0];
    assert_eq!(server.states(child).await, "to north 1/2=pending to north 2/2=pending");
    for _ in 0..2 {
        let job = server.take(&runner).await;
        pass(&server, &job).await;
    }
    server.wait(made.id, Status::Success).await;
}

#[tokio::test]
async fn a_bridge_has_the_status_of_another_projects_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let runner = server.runner(&[]).await;
    let (lib, lib_sha) = server.project("libs/wing", &[(".gitlab-ci.yml", "make:\n  script: [x]\n")]).await;
    let above = "stages: [a, b]\nwait:\n  stage: a\n  needs: [{pipeline: libs/wing}]\nafter:\n  stage: b\n  script: [x]\n";
    let (app, sha) = server.project("apps/bird", &[(".gitlab-ci.yml", above)]).await;
    let ann = user(&server, "ann").await;
    let bob = user(&server, "bob").await;
    for (project, user) in [(&lib, &ann), (&app, &ann), (&app, &bob)] {
        member(&server, project, user).await;
    }
    let reason = async |pipeline: &PipelineView| {
        server.wait(pipeline.id, Status::Failed).await;
        server.app.store.jobs(pipeline.id, false).await.unwrap()[0].failure_reason.clone().unwrap()
    };
    let none = run_as(&server, &app, &sha, &ann).await;
    assert_eq!(reason(&none).await, "upstream_bridge_project_not_found");

    let first = run_as(&server, &lib, &lib_sha, &ann).await;
    let refused = run_as(&server, &app, &sha, &bob).await;
    assert_eq!(reason(&refused).await, "insufficient_upstream_permissions");

    let follows = run_as(&server, &app, &sha, &ann).await;
    let make = server.take(&runner).await;
    server.wait(follows.id, Status::Running).await;
    assert_eq!(server.states(follows.id).await, "wait=running after=created");
    let ended =
        server.put(&make, json!({"state": "failed", "failure_reason": "script_failure", "output": {}}));
    assert_eq!(ended.await.status(), StatusCode::OK);
    server.wait(follows.id, Status::Failed).await;
    assert_eq!(server.states(follows.id).await, "wait=failed after=skipped");

    // The other one runs again, and so does the bridge.
    server.app.store.retry_pipeline(first.id, None, server.app.now()).await.unwrap();
    let make = server.take(&runner).await;
    pass(&server, &make).await;
    let after = loop {
        if server.states(follows.id).await == "wait=success after=pending" {
            break server.take(&runner).await;
        }
        tokio::task::yield_now().await;
    };
    pass(&server, &after).await;
    server.wait(follows.id, Status::Success).await;

    // A new one follows the newest; taken away, the bridge looks for another.
    let second = run_as(&server, &lib, &lib_sha, &ann).await;
    let again = run_as(&server, &app, &sha, &ann).await;
    let make = server.take(&runner).await;
    server.wait(again.id, Status::Running).await;
    assert!(server.put(&make, json!({"state": "success", "output": {}})).await.status().is_success());
    let _ = second;
    let after = loop {
        if server.states(again.id).await == "wait=success after=pending" {
            break server.take(&runner).await;
        }
        tokio::task::yield_now().await;
    };
    pass(&server, &after).await;
    server.wait(again.id, Status::Success).await;
}

#[tokio::test]
async fn pipelines_that_follow_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let ann = user(&server, "ann").await;
    let (one, one_sha) =
        server.project("a/one", &[(".gitlab-ci.yml", "wait:\n  needs: [{pipeline: a/one}]\n")]).await;
    member(&server, &one, &ann).await;
    let made = run_as(&server, &one, &one_sha, &ann).await;
    server.wait(made.id, Status::Failed).await;
    let job = server.app.store.jobs(made.id, false).await.unwrap().remove(0);
    assert_eq!(job.failure_reason.as_deref(), Some("pipeline_loop_detected"));
}

#[tokio::test]
async fn templates_come_out_of_the_servers_directory() {
    let dir = tempfile::tempdir().unwrap();
    let templates = tempfile::tempdir().unwrap();
    std::fs::write(templates.path().join("Go.gitlab-ci.yml"), "from template:\n  script: [x]\n").unwrap();
    let given = Templates::Directory(templates.path().to_owned());
    let server = Server::start_with(dir.path(), |settings| settings.templates = Some(given)).await;
    let file = "include: [{template: Go.gitlab-ci.yml}]\n";
    let (project, sha) = server.project("birds/kestrel", &[(".gitlab-ci.yml", file)]).await;
    let made = server.pipeline(&project, &sha).await;
    assert_eq!(server.states(made.id).await, "from template=pending", "{:?}", made.messages);

    let other = tempfile::tempdir().unwrap();
    let server = Server::start(other.path()).await;
    let (project, sha) = server.project("birds/kestrel", &[(".gitlab-ci.yml", file)]).await;
    let made = server.pipeline(&project, &sha).await;
    assert!(made.messages.iter().any(|said| said.text.contains("--template-dir")), "{:?}", made.messages);
}

#[tokio::test]
async fn jobs_are_told_of_the_registry() {
    let dir = tempfile::tempdir().unwrap();
    let login = RegistryLogin { user: "ci".into(), password: harrier_base::Secret::new("pass-word") };
    let registry = Registry { host: "images.example:5000".into(), login: Some(login) };
    let server = Server::start_with(dir.path(), |settings| settings.registry = Some(registry)).await;
    let runner = server.runner(&[]).await;
    let (project, sha) = server.project("Birds/Kestrel", &[(".gitlab-ci.yml", "a:\n  script: [x]\n")]).await;
    server.pipeline(&project, &sha).await;
    let job = server.take(&runner).await;
    let entry =
        json!({"type": "registry", "url": "images.example:5000", "username": "ci", "password": "pass-word"});
    assert_eq!(job.payload["credentials"], json!([entry]));
    for (key, value) in [
        ("CI_REGISTRY", "images.example:5000"),
        ("CI_REGISTRY_IMAGE", "images.example:5000/birds/kestrel"),
        ("CI_REGISTRY_USER", "ci"),
        ("CI_REGISTRY_PASSWORD", "pass-word"),
    ] {
        assert_eq!(job.variable(key).as_deref(), Some(value), "{key}");
    }
    let all = job.payload["variables"].as_array().unwrap();
    let password = all.iter().find(|v| v["key"] == "CI_REGISTRY_PASSWORD").unwrap();
    assert_eq!((&password["masked"], &password["public"]), (&json!(true), &json!(false)));
}

/// Reads tokens as a service would, with PyJWT: it fetches the configuration, then the keys, and checks everything.
const VERIFY: &str = r#"
import json, sys, urllib.request, jwt
url, audience, token = sys.argv[1], json.loads(sys.argv[2]), sys.stdin.read()
about = json.load(urllib.request.urlopen(url + "/.well-known/openid-configuration"))
assert about["issuer"] == url, about
key = jwt.PyJWKClient(about["jwks_uri"]).get_signing_key_from_jwt(token)
need = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"]
algorithms = about["id_token_signing_alg_values_supported"]
claims = jwt.decode(token, key, algorithms=algorithms, audience=audience, issuer=url, options={"require": need})
try:
    jwt.decode(token, key, algorithms=algorithms, audience="someone else", issuer=url)
    sys.exit("another audience is taken")
except jwt.InvalidAudienceError:
    pass
head, body, signature = token.split(".")
changed = ".".join([head, body[:-2] + ("AA" if body[-2:] != "AA" else "BB"), signature])
try:
    jwt.decode(changed, key, algorithms=algorithms, audience=audience, issuer=url)
    sys.exit("a changed token is taken")
except jwt.InvalidTokenError:
    pass
print(json.dumps(claims))
"#;

fn verify(url: &str, audience: Value, token: &str) -> Value {
    let python = std::env::var("HARRIER_TEST_PYJWT")
        .unwrap_or_else(|_| "/var/lib/harrier-test/pyjwt/bin/python".into());
    let mut child = Command::new(&python)
        .args(["-c", VERIFY, url, &audience.to_string()])
        .env("no_proxy", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python}: {error}; run scripts/pyjwt.sh"));
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "PyJWT refuses the token; see above");
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn id_tokens_are_verified_by_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let runner = server.runner(&[]).await;
    let file = "a:\n  script: [x]\n  timeout: 20 minutes\n  environment: {name: production/$CI_COMMIT_REF_NAME}\n  id_tokens:\n    ONE: {aud: 'https://$CI_PROJECT_NAME.example'}\n    \
                MANY: {aud: [x, y]}\n";
    let (project, sha) = server.project("birds/of/kestrel", &[(".gitlab-ci.yml", file)]).await;
    let ann = user(&server, "ann").await;
    member(&server, &project, &ann).await;
    let made = run_as(&server, &project, &sha, &ann).await;
    let job = server.take(&runner).await;
    let token = job.variable("ONE").unwrap();
    let all = job.payload["variables"].as_array().unwrap();
    let variable = all.iter().find(|v| v["key"] == "ONE").unwrap();
    assert_eq!((&variable["masked"], &variable["public"]), (&json!(true), &json!(false)));
    let url = server.url.clone();
    let (said, lists) = tokio::task::spawn_blocking({
        let (url, many) = (url.clone(), job.variable("MANY").unwrap());
        move || (verify(&url, json!("https://kestrel.example"), &token), verify(&url, json!("y"), &many))
    })
    .await
    .unwrap();
    assert_eq!(lists["aud"], json!(["x", "y"]));
    assert_ne!(lists["jti"], said["jti"]);
    let host = url.trim_start_matches("http://");
    for (claim, value) in [
        ("iss", json!(url)),
        ("sub", json!("project_path:birds/of/kestrel:ref_type:branch:ref:main")),
        ("aud", json!("https://kestrel.example")),
        ("namespace_path", json!("birds/of")),
        ("project_id", json!(project.id.to_string())),
        ("project_path", json!("birds/of/kestrel")),
        ("project_visibility", json!("private")),
        ("user_login", json!("ann")),
        ("user_email", json!("ann@example.com")),
        ("user_id", json!(ann.id.to_string())),
        ("user_access_level", json!("developer")),
        ("pipeline_id", json!(made.id.to_string())),
        ("pipeline_source", json!("push")),
        ("job_id", json!(job.id.to_string())),
        ("ref", json!("main")),
        ("ref_type", json!("branch")),
        ("ref_path", json!("refs/heads/main")),
        ("ref_protected", json!("true")),
        ("environment", json!("production/main")),
        ("environment_protected", json!("false")),
        ("deployment_tier", json!("production")),
        ("environment_action", json!("start")),
        ("runner_environment", json!("gitlab-hosted")),
        ("sha", json!(sha)),
        ("ci_config_ref_uri", json!(format!("{host}/birds/of/kestrel//.gitlab-ci.yml@refs/heads/main"))),
        ("ci_config_sha", json!(sha)),
    ] {
        assert_eq!(said[claim], value, "{claim}");
    }
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 1200);

    // The key outlives the server, and is nowhere in the clear.
    let keys = |url: String| async move {
        reqwest::get(format!("{url}/oauth/discovery/keys")).await.unwrap().json::<Value>().await.unwrap()
    };
    let before = keys(url).await;
    assert_eq!(before["keys"][0].as_object().unwrap().len(), 6, "only the public half is shown: {before}");
    drop(server);
    let server = Server::start(dir.path()).await;
    assert_eq!(keys(server.url.clone()).await, before);
}
