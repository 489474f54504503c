//! The REST API over HTTP: every route with every role, its description, forged requests, and a project's way from its making to
//! its removal as a script goes it.

#![allow(clippy::unwrap_used)]

#[path = "support/answers.rs"]
mod answers;
mod support;

use answers::{ask, gives};
use harrier_base::Secret;
use harrier_coordinator::rest::openapi;
use harrier_coordinator::rest::table::{Need, Reach, routes};
use harrier_database::{AccessLevel, NewToken, NewUser, TokenKind, UserView};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use support::{Server, header};

const CONFIG: &str = "stages: [build, deploy]\nbuild:\n  stage: build\n  script: make\nship:\n  stage: deploy\n  script: ship\n  \
    when: manual\n";

async fn user(server: &Server, name: &str, admin: bool) -> UserView {
    let new = NewUser { username: name.into(), admin, ..NewUser::default() };
    server.app.store.create_user(new, 1).await.unwrap()
}

async fn token(server: &Server, user: &UserView, scopes: &[&str]) -> Secret {
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(user.id),
        project: None,
        name: "test".into(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        access_level: None,
        expires_at: None,
    };
    server.app.store.create_token(new, 1).await.unwrap().1
}

#[test]
fn the_description_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let made = format!("{:#}\n", openapi::document());
    if std::env::var_os("HARRIER_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let paths = kept["paths"].as_object().unwrap();
    let described = |method: &str, path: &str| kept["paths"][path].get(method).is_some();
    let mut count = 0;
    for route in routes() {
        let (method, path) = (route.method.as_str().to_lowercase(), route.path.replace("*}", "}"));
        assert!(described(&method, &format!("/{path}")), "docs/openapi.json misses {method} {path}");
        count += 1;
    }
    let all: usize = paths.values().map(|methods| methods.as_object().unwrap().len()).sum();
    assert_eq!(all, count, "docs/openapi.json describes what is no route");
    assert!(
        kept == openapi::document(),
        "docs/openapi.json is old; write it with HARRIER_WRITE_OPENAPI=1 cargo test -p harrier-coordinator --test rest"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_its_role_and_scope() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let (project, _) = server.project("root/app", &[(".gitlab-ci.yml", CONFIG)]).await;
    let mut roles: Vec<(String, Option<AccessLevel>, Option<Secret>, bool)> =
        vec![("nobody".into(), None, None, false)];
    let stranger = user(&server, "stranger", false).await;
    roles.push(("stranger".into(), None, Some(token(&server, &stranger, &["api"]).await), false));
    for level in [
        AccessLevel::Guest,
        AccessLevel::Reporter,
        AccessLevel::Developer,
        AccessLevel::Maintainer,
        AccessLevel::Owner,
    ] {
        let member = user(&server, &format!("{level:?}").to_lowercase(), false).await;
        server.app.store.set_member(project.id, member.id, Some(level), 1).await.unwrap();
        let secret = token(&server, &member, &["api"]).await;
        roles.push((member.username.clone(), Some(level), Some(secret), false));
    }
    roles.push(("admin".into(), Some(AccessLevel::Owner), Some(token(&server, &root, &["api"]).await), true));
    let narrow = token(&server, &root, &["read_repository"]).await;

    let mut asked = 0;
    for route in routes() {
        let parts = route.path.split('/').map(|part| match part {
            "{id}" => "root%2Fapp",
            part if part.starts_with('{') => "999",
            part => part,
        });
        let path = format!("/{}", parts.collect::<Vec<_>>().join("/"));
        // What ends the token or the project would end the others' turn.
        let ends =
            route.path.contains("/self") || route.path == "projects/{id}" && route.method == Method::DELETE;
        for (name, level, secret, admin) in &roles {
            let may = match route.need {
                Need::Anyone => true,
                Need::Known | Need::User => secret.is_some(),
                // The project is private.
                Need::Code => *level >= Some(AccessLevel::Reporter),
                Need::Admin => *admin,
                Need::Job => false,
                Need::Level(least) => level.is_some_and(|level| level >= least),
            };
            if ends && may {
                continue;
            }
            let answer = ask(&server, route.method.clone(), &path, secret.as_ref(), json!({})).await;
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            let what = format!("{} {path} as {name}: {status} {text}", route.method);
            asked += 1;
            match (may, secret) {
                (false, None) => assert_eq!(status, 401, "{what}"),
                (false, Some(_)) if level.is_none() && matches!(route.need, Need::Level(_) | Need::Code) => {
                    assert_eq!(
                        status, 404,
                        "{what}: who may not see a project must not learn that it is there"
                    );
                    assert!(text.contains("Project Not Found"), "{what}");
                }
                (false, Some(_)) => assert!(matches!(status, 401 | 403), "{what}"),
                (true, _) => assert!(status != 401 && status < 500 && status != 405, "{what}"),
            }
            if may && matches!(route.need, Need::Level(_) | Need::Code | Need::Admin) {
                assert!(status != 403, "{what}");
                assert!(!text.contains("Project Not Found"), "{what}");
            }
        }
        // A token of another scope, whoever's it is.
        let answer = ask(&server, route.method.clone(), &path, Some(&narrow), json!({})).await;
        let reaches = matches!(route.reach, Reach::Scope(scope) | Reach::ScopeOrJob(scope) if scope.word() == "read_repository");
        assert!(!reaches);
        assert_eq!(answer.status(), 403, "{} {path}", route.method);
        let wrong =
            ask(&server, route.method.clone(), &path, Some(&Secret::new("glpat-wrong")), json!({})).await;
        assert_eq!(wrong.status(), 401, "{} {path}", route.method);
    }
    assert!(asked > 600, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_changes_nothing_without_its_own_token() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let now = server.app.now();
    let (session, secret) = server.app.store.create_session(root.id, now + 3_600_000, now).await.unwrap();
    let cookie = format!("harrier_session={}", secret.expose());
    let make = |name: &str, csrf: Option<&str>| {
        let mut call = server.call(Method::POST, "/projects").header("cookie", &cookie);
        if let Some(csrf) = csrf {
            call = call.header("X-CSRF-Token", csrf);
        }
        call.json(&json!({ "name": name })).send()
    };
    assert_eq!(make("a", None).await.unwrap().status(), 401);
    assert_eq!(make("b", Some("guess")).await.unwrap().status(), 401);
    assert_eq!(make("c", Some(session.csrf.expose())).await.unwrap().status(), 201);
    let read = server.call(Method::GET, "/projects").header("cookie", &cookie).send().await.unwrap();
    let read: Value = read.json().await.unwrap();
    assert_eq!(read[0]["path_with_namespace"], "root/c");
    assert_eq!(read[1], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_goes_its_way() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let secret = token(&server, &root, &["api"]).await;
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let ok = async |method: &Method, path: &str, body: Value, status: u16| {
        gives(&server, method.clone(), path, &secret, body, status).await
    };

    // Projects: made, found by path, changed, listed in pages.
    let made = ok(&post, "/projects", json!({"name": "My App", "visibility": "internal"}), 201).await;
    assert_eq!((&made["path_with_namespace"], &made["empty_repo"]), (&json!("root/my-app"), &json!(true)));
    let again = ok(&post, "/projects", json!({"path": "my-app"}), 400).await;
    assert_eq!(again["message"]["path"][0], "has already been taken");
    let neither = ok(&post, "/projects", json!({}), 400).await;
    assert!(neither["error"].as_str().unwrap().contains("name, path are missing"));
    let changed =
        ok(&put, "/projects/root%2Fmy-app", json!({"description": "d", "build_timeout": 1200}), 200).await;
    assert_eq!((&changed["description"], &changed["build_timeout"]), (&json!("d"), &json!(1200)));
    let (app, sha) = server.project("root/app", &[(".gitlab-ci.yml", CONFIG)]).await;
    let page =
        ask(&server, Method::GET, "/projects?per_page=1&page=1&search=app", Some(&secret), json!({})).await;
    let names = ["x-total", "x-total-pages", "x-page", "x-per-page", "x-next-page", "x-prev-page"];
    assert_eq!(names.map(|name| header(&page, name)), ["2", "2", "1", "1", "2", ""]);
    assert!(header(&page, "link").contains("page=2&per_page=1>; rel=\"next\""), "{}", header(&page, "link"));
    assert_eq!(
        ok(&get, "/projects?page=0", json!({}), 400).await["error"],
        "page does not have a valid value"
    );

    // Variables: masked, scoped, more than one of a key.
    let at = format!("/projects/{}", app.id);
    let variables = format!("{at}/variables");
    ok(&post, &variables, json!({"key": "K", "value": "v1", "environment_scope": "prod"}), 201).await;
    ok(&post, &variables, json!({"key": "K", "value": "v2", "protected": true}), 201).await;
    assert_eq!(
        ok(&post, &variables, json!({"key": "K", "value": "v"}), 400).await["message"]["key"][0],
        "(K) has already been taken"
    );
    assert_eq!(
        ok(&post, &variables, json!({"key": "M", "value": "short", "masked": true}), 400).await["message"]["value"]
            [0],
        "is invalid"
    );
    assert_eq!(
        ok(&post, &variables, json!({"key": "a-b", "value": "v"}), 400).await["message"]["key"][0],
        "can contain only letters, digits and '_'."
    );
    ok(&get, &format!("{variables}/K"), json!({}), 409).await;
    let one = ok(&get, &format!("{variables}/K?filter[environment_scope]=prod"), json!({}), 200).await;
    assert_eq!((&one["value"], &one["environment_scope"]), (&json!("v1"), &json!("prod")));
    let moved = json!({"environment_scope": "review/*", "filter": {"environment_scope": "prod"}});
    assert_eq!(ok(&put, &format!("{variables}/K"), moved, 200).await["environment_scope"], "review/*");
    ok(&delete, &format!("{variables}/K?filter[environment_scope]=review/*"), json!({}), 204).await;
    assert_eq!(ok(&get, &format!("{variables}/K"), json!({}), 200).await["value"], "v2");
    let hidden = json!({"key": "H", "value": "12345678", "masked_and_hidden": true});
    assert_eq!(ok(&post, "/admin/ci/variables", hidden, 201).await["value"], Value::Null);

    // A pipeline: made, its jobs, lists narrowed, played, cancelled, retried.
    assert_eq!(ok(&post, &format!("{at}/pipeline"), json!({}), 400).await["error"], "ref is missing");
    assert_eq!(
        ok(&post, &format!("{at}/pipeline"), json!({"ref": "nope"}), 400).await["message"]["base"][0],
        "Reference not found"
    );
    let body = json!({"ref": "main", "variables": [{"key": "A", "value": "1"}]});
    let pipeline = ok(&post, &format!("{at}/pipeline"), body, 201).await;
    assert_eq!((&pipeline["source"], &pipeline["sha"]), (&json!("api"), &json!(sha)));
    let number = pipeline["id"].as_i64().unwrap();
    let its = format!("{at}/pipelines/{number}");
    assert_eq!(ok(&get, &format!("{its}/variables"), json!({}), 200).await[0]["key"], "A");
    assert_eq!(ok(&get, &format!("{at}/pipelines/latest"), json!({}), 200).await["id"], number);
    for (query, found) in [
        ("status=pending", 1),
        ("status=failed", 0),
        ("scope=pending", 1),
        ("scope=finished", 0),
        ("scope=branches", 1),
        ("scope=tags", 0),
        ("source=api&ref=main&username=root", 1),
        ("username=none", 0),
        ("updated_after=2001-01-01", 1),
        ("updated_before=2001-01-01T00:00:00Z", 0),
        ("order_by=updated_at&sort=asc", 1),
    ] {
        let list = ok(&get, &format!("{at}/pipelines?{query}"), json!({}), 200).await;
        assert_eq!(list.as_array().unwrap().len(), found, "{query}");
    }
    ok(&get, &format!("{at}/pipelines?status=odd"), json!({}), 400).await;
    let jobs = ok(&get, &format!("{its}/jobs"), json!({}), 200).await;
    let names: Vec<_> = jobs.as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ship", "build"]);
    let (ship, build) = (jobs[0]["id"].as_i64().unwrap(), jobs[1]["id"].as_i64().unwrap());
    assert_eq!(
        ok(&get, &format!("{at}/jobs?scope[]=pending&scope[]=running"), json!({}), 200).await[0]["id"],
        build
    );
    assert_eq!(ok(&get, &format!("{its}/bridges"), json!({}), 200).await, json!([]));
    assert!(
        ok(&post, &format!("{at}/jobs/{build}/play"), json!({}), 400).await["message"]
            .as_str()
            .unwrap()
            .contains("Unplayable")
    );

    // A runner takes a job; the job asks who it is and sees its own project only.
    let body = json!({"runner_type": "instance_type", "tag_list": ["a"], "run_untagged": "true", "description": "r"});
    let runner = ok(&post, "/user/runners", body, 201).await;
    let runner_token = Secret::new(runner["token"].as_str().unwrap());
    let taken = server.take(&runner_token).await;
    assert_eq!(taken.id, build);
    let me = server.call(Method::GET, "/job").header("JOB-TOKEN", &taken.token).send().await.unwrap();
    assert_eq!(me.json::<Value>().await.unwrap()["id"], build);
    let no = server.call(Method::GET, &its).header("JOB-TOKEN", &taken.token).send().await.unwrap();
    assert_eq!(no.status(), 403);
    server.patch(&taken, 0, b"hello\n").await;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("out/a b.txt", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut zip, b"content").unwrap();
    let archive = zip.finish().unwrap().into_inner();
    let up =
        server.upload(&taken, "artifact_type=archive&artifact_format=zip", "artifacts.zip", &archive).await;
    assert_eq!(up.status(), 201);
    server.put(&taken, json!({"state": "success", "output": {}, "exit_code": 0})).await;
    server.wait(number, harrier_pipeline::Status::Success).await;
    assert_eq!(ok(&get, &format!("{at}/jobs/{build}/trace"), json!({}), 200).await, json!("hello\n"));
    let done = ok(&get, &format!("{at}/jobs/{build}"), json!({}), 200).await;
    assert_eq!(
        (&done["status"], &done["artifacts_file"]["filename"]),
        (&json!("success"), &json!("artifacts.zip"))
    );
    assert_eq!(done["runner"]["id"], runner["id"]);
    for path in [
        format!("jobs/{build}/artifacts/out/a%20b.txt"),
        "jobs/artifacts/main/raw/out/a%20b.txt?job=build".into(),
    ] {
        assert_eq!(ok(&get, &format!("{at}/{path}"), json!({}), 200).await, json!("content"), "{path}");
    }
    ok(&get, &format!("{at}/jobs/{build}/artifacts/out/none"), json!({}), 404).await;
    for path in [format!("jobs/{build}/artifacts"), "jobs/artifacts/main/download?job=build".into()] {
        let whole = ask(&server, Method::GET, &format!("{at}/{path}"), Some(&secret), json!({})).await;
        assert_eq!(whole.bytes().await.unwrap(), archive, "{path}");
    }
    let again = ok(&post, &format!("{at}/jobs/{build}/retry"), json!({}), 201).await;
    assert_ne!(again["id"], build);
    assert_eq!(ok(&post, &format!("{its}/cancel"), json!({}), 200).await["status"], "canceled");
    assert_eq!(ok(&post, &format!("{its}/retry"), json!({}), 201).await["status"], "pending");
    ok(&post, &format!("{its}/cancel"), json!({}), 200).await;
    assert_eq!(ok(&get, &format!("{its}/test_report"), json!({}), 200).await["total_count"], 0);
    assert_eq!(ok(&get, &format!("{its}/test_report_summary"), json!({}), 200).await["total"]["count"], 0);
    let detail = ok(&get, &format!("/runners/{}", runner["id"]), json!({}), 200).await;
    assert_eq!((&detail["tag_list"], &detail["online"]), (&json!(["a"]), &json!(true)));
    assert_eq!(ok(&get, &format!("/runners/{}/jobs", runner["id"]), json!({}), 200).await[0]["id"], build);
    assert_eq!(
        ok(&put, &format!("/runners/{}", runner["id"]), json!({"paused": true}), 200).await["paused"],
        true
    );
    assert_eq!(ok(&get, "/runners/all?paused=true", json!({}), 200).await[0]["id"], runner["id"]);
    assert!(
        ok(&post, "/runners/reset_registration_token", json!({}), 201).await["token"]
            .as_str()
            .unwrap()
            .starts_with("GR1348941")
    );
    assert_eq!(ok(&post, &format!("{at}/jobs/{build}/erase"), json!({}), 201).await["artifacts"], json!([]));
    let _ = ship;

    // A trigger, by a form as curl sends it and by JSON; a schedule with its variables.
    let trigger = ok(&post, &format!("{at}/triggers"), json!({"description": "t"}), 201).await;
    let trigger = trigger["token"].as_str().unwrap().to_owned();
    assert!(trigger.starts_with("glptt-"));
    let form = reqwest::multipart::Form::new()
        .text("token", trigger.clone())
        .text("ref", "main")
        .text("variables[X]", "y");
    let sent =
        server.call(Method::POST, &format!("{at}/trigger/pipeline")).multipart(form).send().await.unwrap();
    assert_eq!(sent.status(), 201);
    let sent: Value = sent.json().await.unwrap();
    assert_eq!(sent["source"], "trigger");
    let variables = ok(&get, &format!("{at}/pipelines/{}/variables", sent["id"]), json!({}), 200).await;
    assert_eq!((&variables[0]["key"], &variables[0]["value"]), (&json!("X"), &json!("y")));
    assert!(!variables.to_string().contains(&trigger), "the token is in no variable");
    let by_url = server
        .call(Method::POST, &format!("{at}/ref/main/trigger/pipeline?token={trigger}"))
        .send()
        .await
        .unwrap();
    assert_eq!(by_url.status(), 201);
    let wrong =
        server.post(&format!("{at}/trigger/pipeline"), json!({"token": "glptt-x", "ref": "main"})).await;
    assert_eq!(wrong.status(), 404);
    let schedules = format!("{at}/pipeline_schedules");
    let body = json!({"description": "nightly", "ref": "main", "cron": "0 1 * * *", "cron_timezone": "UTC"});
    let schedule = ok(&post, &schedules, body, 201).await;
    assert!(schedule["next_run_at"].is_string());
    let mine = format!("{schedules}/{}", schedule["id"]);
    ok(&post, &schedules, json!({"description": "d", "ref": "main", "cron": "x"}), 400).await;
    ok(&post, &format!("{mine}/variables"), json!({"key": "S", "value": "1"}), 201).await;
    ok(&put, &format!("{mine}/variables/S"), json!({"value": "2"}), 200).await;
    assert_eq!(ok(&get, &mine, json!({}), 200).await["variables"][0]["value"], "2");
    ok(&post, &format!("{mine}/play"), json!({}), 201).await;
    assert_eq!(
        ok(&get, &format!("{at}/pipelines?source=schedule"), json!({}), 200).await.as_array().unwrap().len(),
        1
    );
    assert_eq!(ok(&put, &mine, json!({"active": false}), 200).await["next_run_at"], Value::Null);
    ok(&post, &format!("{mine}/take_ownership"), json!({}), 201).await;
    ok(&delete, &mine, json!({}), 204).await;

    // Lint, repository, users, tokens.
    let lint =
        ok(&post, &format!("{at}/ci/lint"), json!({"content": "a: {script: x}", "include_jobs": true}), 200)
            .await;
    assert_eq!((&lint["valid"], &lint["jobs"][0]["name"]), (&json!(true), &json!("a")));
    let lint =
        ok(&post, &format!("{at}/ci/lint"), json!({"content": "a: {stage: none, script: x}"}), 200).await;
    assert_eq!(lint["valid"], false);
    assert!(lint["errors"][0].as_str().unwrap().contains("stage"), "{lint}");
    let lint = ok(&get, &format!("{at}/ci/lint"), json!({}), 200).await;
    assert!(lint["valid"] == true && lint["merged_yaml"].as_str().unwrap().contains("ship"), "{lint}");
    let branches = ok(&get, &format!("{at}/repository/branches"), json!({}), 200).await;
    assert_eq!((&branches[0]["name"], &branches[0]["default"]), (&json!("main"), &json!(true)));
    let commits = ok(&get, &format!("{at}/repository/commits"), json!({}), 200).await;
    assert_eq!((&commits[0]["id"], &commits[0]["title"]), (&json!(sha), &json!("A commit")));
    assert_eq!(ok(&get, &format!("{at}/repository/commits/main"), json!({}), 200).await["id"], json!(sha));
    ok(&get, &format!("{at}/repository/branches/none"), json!({}), 404).await;
    let ann = ok(&post, "/users", json!({"username": "ann", "password": "correct horse"}), 201).await;
    let body = json!({"name": "ci", "scopes": ["read_api"], "expires_at": "2999-01-01"});
    let made = ok(&post, &format!("/users/{}/personal_access_tokens", ann["id"]), body, 201).await;
    assert_eq!(made["expires_at"], "2999-01-01");
    let hers = Secret::new(made["token"].as_str().unwrap());
    assert_eq!(gives(&server, Method::GET, "/user", &hers, json!({}), 200).await["username"], "ann");
    gives(&server, Method::POST, "/projects", &hers, json!({"name": "x"}), 403).await;
    gives(&server, Method::GET, &at, &hers, json!({}), 404).await;
    ok(&post, &format!("{at}/members"), json!({"user_id": ann["id"], "access_level": 30}), 201).await;
    ok(&post, &format!("{at}/members"), json!({"user_id": ann["id"], "access_level": 30}), 409).await;
    assert_eq!(
        gives(&server, Method::GET, &at, &hers, json!({}), 200).await["permissions"]["project_access"]["access_level"],
        30
    );
    ok(&delete, &format!("{at}/members/{}", ann["id"]), json!({}), 204).await;
    ok(&delete, &format!("/personal_access_tokens/{}", made["id"]), json!({}), 204).await;
    gives(&server, Method::GET, "/user", &hers, json!({}), 401).await;
    assert!(ok(&get, "/version", json!({}), 200).await["version"].is_string());

    // All is gone with the project.
    ok(&delete, &its, json!({}), 204).await;
    ok(&get, &its, json!({}), 404).await;
    assert!(server.app.data.repository(app.id).is_dir());
    ok(&delete, &at, json!({}), 202).await;
    ok(&get, &at, json!({}), 404).await;
    assert!(!server.app.data.repository(app.id).exists());
}

/// The text of an answer, and one of its headers.
#[tokio::test]
async fn what_can_be_read_looks_as_described() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let secret = token(&server, &root, &["api"]).await;
    let made = async |path: &str, body: Value| gives(&server, Method::POST, path, &secret, body, 201).await;
    let config = "build:\n  script: x\n  artifacts: {paths: [out], reports: {junit: j.xml}}\n  environment: prod\n\
                  child:\n  trigger: {include: child.yml}\n";
    let files = [(".gitlab-ci.yml", config), ("child.yml", "a: {script: x}\n"), ("README.md", "x")];
    let (app, sha) = server.project("tools/app", &files).await;
    let at = format!("/projects/{}", app.id);
    let body = json!({"ref": "main", "variables": [{"key": "A", "value": "1"}]});
    let pipeline = made(&format!("{at}/pipeline"), body).await["id"].as_i64().unwrap();
    let runner = server.runner(&[]).await;
    let job = server.take(&runner).await;
    let junit = b"<testsuite name='s'><testcase name='a'/><testcase name='b'><failure>no</failure></testcase></testsuite>";
    assert_eq!(server.upload(&job, "artifact_type=archive", "a.zip", b"zip").await.status(), 201);
    assert_eq!(server.upload(&job, "artifact_type=junit", "j.xml", junit).await.status(), 201);
    assert_eq!(server.put(&job, json!({"state": "failed", "exit_code": 1})).await.status(), 200);
    let ann = user(&server, "ann", false).await;
    made(&format!("{at}/members"), json!({"user_id": ann.id, "access_level": 30})).await;
    made("/admin/ci/variables", json!({"key": "K", "value": "v"})).await;
    made("/groups/tools/variables", json!({"key": "K", "value": "v"})).await;
    made(&format!("{at}/variables"), json!({"key": "K", "value": "v"})).await;
    let own =
        made(&format!("/users/{}/personal_access_tokens", root.id), json!({"name": "t", "scopes": ["api"]}))
            .await;
    let trigger = made(&format!("{at}/triggers"), json!({"description": "d"})).await;
    let schedule = json!({"description": "d", "ref": "main", "cron": "0 1 * * *"});
    let schedule = made(&format!("{at}/pipeline_schedules"), schedule).await;
    let of_schedule = format!("{at}/pipeline_schedules/{}", schedule["id"]);
    made(&format!("{of_schedule}/variables"), json!({"key": "K", "value": "v"})).await;
    made(&format!("{at}/repository/tags"), json!({"tag_name": "v1", "ref": "main"})).await;
    made(&format!("{at}/protected_tags"), json!({"name": "v*", "create_access_level": 40})).await;
    made(&format!("{at}/protected_branches"), json!({"name": "stable", "push_access_level": 40})).await;
    let of_project = json!({"name": "t", "scopes": ["api"], "access_level": 30});
    let of_project = made(&format!("{at}/access_tokens"), of_project).await;
    made(&format!("{at}/statuses/{sha}"), json!({"state": "success", "name": "n"})).await;
    made(&format!("{at}/runners/reset_registration_token"), json!({})).await;
    let mut seen = 0;
    for route in routes() {
        let path = format!("/{}", route.path);
        if route.method != Method::GET
            || ["mirror", "merge_requests", "/job", "artifact", "archive"].iter().any(|part| match *part {
                "/job" => path == "/job",
                part => path.contains(part),
            })
        {
            continue;
        }
        let environment = server.app.store.jobs(pipeline, false).await.unwrap();
        assert!(!environment.is_empty());
        let token_id = if path.starts_with("/projects") { &of_project["id"] } else { &own["id"] };
        let mut path = path
            .replace("projects/{id}", &format!("projects/{}", app.id))
            .replace("{token_id}", &token_id.to_string())
            .replace("members/all/{user_id}", &format!("members/all/{}", ann.id))
            .replace("members/{user_id}", &format!("members/{}", ann.id))
            .replace("{trigger_id}", &trigger["id"].to_string())
            .replace("{schedule_id}", &schedule["id"].to_string());
        for (name, value) in [
            ("{user_id}", root.id.to_string()),
            ("{namespace_id}", "tools".into()),
            ("{group_id}", "tools".into()),
            ("{key}", "K".into()),
            ("{runner_id}", "1".into()),
            ("{pipeline_id}", pipeline.to_string()),
            ("{job_id}", job.id.to_string()),
            ("{environment_id}", "1".into()),
            ("{deployment_id}", "1".into()),
            ("{branch}", "main".into()),
            ("{tag_name}", "v1".into()),
            ("{sha}", sha.clone()),
            ("{file_path}", "README.md".into()),
        ] {
            path = path.replace(name, &value);
        }
        path = path.replace("protected_branches/{name}", "protected_branches/stable");
        path = path.replace("protected_tags/{name}", "protected_tags/v*");
        path += match path.rsplit('/').next() {
            Some("compare") => "?from=main&to=v1",
            Some("merge_base") => "?refs[]=main&refs[]=v1",
            Some("README.md" | "raw") => "?ref=main",
            Some(_) | None => "",
        };
        if path.contains("blobs") {
            continue;
        }
        gives(&server, Method::GET, &path, &secret, json!({}), 200).await;
        seen += 1;
    }
    assert!(seen > 70, "{seen} routes were looked at");
}

#[tokio::test]
async fn groups_have_variables_and_texts_are_checked_alone() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let secret = token(&server, &root, &["api"]).await;
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let ok = async |method: &Method, path: &str, body: Value, status: u16| {
        gives(&server, method.clone(), path, &secret, body, status).await
    };
    let config = "job:\n  script: x\n  environment: prod\n  artifacts: {paths: [out]}\n  rules: [{if: $SWITCH == \"on\"}]\n";
    let (app, sha) = server.project("tools/ci/app", &[(".gitlab-ci.yml", config)]).await;
    ok(&post, "/groups", json!({"path": "tools"}), 201).await;
    let of = "/groups/tools/variables";
    ok(&post, of, json!({"key": "SWITCH", "value": "on"}), 201).await;
    let made = ok(
        &post,
        of,
        json!({"key": "LOGIN", "value": "12345678", "masked": true, "protected": true, "variable_type": "file",
            "environment_scope": "prod"}),
        201,
    )
    .await;
    assert_eq!((&made["environment_scope"], &made["variable_type"]), (&json!("prod"), &json!("file")));
    ok(&post, "/groups/tools%2Fci/variables", json!({"key": "LEVEL", "value": "inner"}), 201).await;
    ok(&post, of, json!({"key": "LEVEL", "value": "outer"}), 201).await;
    assert_eq!(ok(&get, of, json!({}), 200).await.as_array().unwrap().len(), 3);
    assert_eq!(
        ok(&post, of, json!({"key": "LEVEL", "value": "v"}), 400).await["message"]["key"][0],
        "(LEVEL) has already been taken"
    );
    assert_eq!(ok(&put, &format!("{of}/LEVEL"), json!({"value": "changed"}), 200).await["value"], "changed");
    ok(&get, "/groups/nope/variables", json!({}), 404).await;
    let ann = token(&server, &user(&server, "ann", false).await, &["api"]).await;
    gives(&server, Method::GET, of, &ann, json!({}), 403).await;

    // Rules see them, and jobs get them.
    server.pipeline(&app, &sha).await;
    let runner = server.runner(&[]).await;
    let job = server.take(&runner).await;
    assert_eq!(job.variable("LEVEL").as_deref(), Some("inner"));
    assert_eq!(job.variable("LOGIN").as_deref(), Some("12345678"));
    let login = job.payload["variables"].as_array().unwrap().iter().find(|v| v["key"] == "LOGIN").unwrap();
    assert_eq!((&login["file"], &login["masked"]), (&json!(true), &json!(true)));
    ok(&delete, &format!("{of}/LEVEL"), json!({}), 204).await;
    ok(&get, &format!("{of}/LEVEL"), json!({}), 404).await;

    // All artifacts of a project lose their time; those of the newest successful pipeline of a ref alone stay.
    assert_eq!(
        server.upload(&job, "artifact_type=archive&expire_in=never", "a.zip", b"zip").await.status(),
        201
    );
    assert_eq!(server.put(&job, json!({"state": "failed"})).await.status(), 200);
    assert_eq!(server.app.store.artifacts(job.id).await.unwrap()[0].expires_at, None);
    let said = ok(&delete, &format!("/projects/{}/artifacts", app.id), json!({}), 202).await;
    assert_eq!(said["message"], "202 Accepted");
    let gone = async {
        while !server.app.store.artifacts(job.id).await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(support::PATIENCE, gone).await.is_ok(), "the artifact stays");
    let file = server.app.data.artifact(job.id, "archive");
    let gone = async {
        while file.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(support::PATIENCE, gone).await.is_ok(), "its file stays");

    // A text of no project.
    let said = ok(&post, "/ci/lint", json!({"content": "a: {script: x}", "include_jobs": true}), 200).await;
    assert_eq!(
        (&said["status"], &said["valid"], &said["jobs"][0]["name"]),
        (&json!("valid"), &json!(true), &json!("a"))
    );
    assert!(said["merged_yaml"].as_str().unwrap().contains("script"));
    let said = ok(&post, "/ci/lint", json!({"content": "a: {stage: nope, script: x}"}), 200).await;
    assert_eq!((&said["status"], said["errors"].as_array().unwrap().len()), (&json!("invalid"), 1));
    let said = ok(&post, "/ci/lint", json!({"content": "include: {local: /x.yml}"}), 200).await;
    assert_eq!(said["valid"], json!(false), "{said}");
    ok(&post, "/ci/lint", json!({}), 400).await;
}

async fn text(server: &Server, path: &str, token: &Secret, name: &str) -> (u16, Vec<u8>, String) {
    let answer = ask(server, Method::GET, path, Some(token), json!({})).await;
    let (status, value) = (answer.status().as_u16(), header(&answer, name));
    (status, answer.bytes().await.unwrap().to_vec(), value)
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_are_read_and_refs_made() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let secret = token(&server, &root, &["api"]).await;
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let ok = async |method: &Method, path: &str, body: Value, status: u16| {
        gives(&server, method.clone(), path, &secret, body, status).await
    };
    let files = [(".gitlab-ci.yml", CONFIG), ("dir/a b.txt", "text\n"), ("dir/deep/c.txt", "c")];
    let (app, sha) = server.project("root/app", &files).await;
    let at = format!("/projects/{}/repository", app.id);

    // Directories and files.
    let tree = ok(&get, &format!("{at}/tree"), json!({}), 200).await;
    let names: Vec<&str> = tree.as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(names, [".gitlab-ci.yml", "dir"]);
    let tree = ok(&get, &format!("{at}/tree?path=dir&recursive=true&ref=main"), json!({}), 200).await;
    let names: Vec<&str> = tree.as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["dir/a b.txt", "dir/deep", "dir/deep/c.txt"]);
    assert_eq!((&tree[1]["type"], &tree[2]["name"]), (&json!("tree"), &json!("c.txt")));
    for path in ["none", "dir/a%20b.txt", "..", "-x", ":(glob)*"] {
        ok(&get, &format!("{at}/tree?path={path}"), json!({}), 404).await;
    }
    let file = ok(&get, &format!("{at}/files/dir%2Fa%20b.txt?ref=main"), json!({}), 200).await;
    assert_eq!(
        (&file["content"], &file["size"], &file["encoding"]),
        (&json!("dGV4dAo="), &json!(5), &json!("base64"))
    );
    assert_eq!((&file["commit_id"], &file["last_commit_id"]), (&json!(sha), &json!(sha)));
    let (status, bytes, blob) =
        text(&server, &format!("{at}/files/dir%2Fa%20b.txt/raw"), &secret, "x-gitlab-blob-id").await;
    assert_eq!((status, bytes.as_slice()), (200, &b"text\n"[..]));
    assert_eq!(json!(blob), file["blob_id"]);
    let (status, bytes, kind) =
        text(&server, &format!("{at}/blobs/{blob}/raw"), &secret, "content-disposition").await;
    assert!(status == 200 && bytes == b"text\n" && kind.starts_with("attachment"), "{kind}");
    for path in
        ["files/none?ref=main", "files/dir?ref=main", "files/dir%2Fa%20b.txt?ref=none", "blobs/main/raw"]
    {
        ok(&get, &format!("{at}/{path}"), json!({}), 404).await;
    }

    // Archives.
    let (status, bytes, name) =
        text(&server, &format!("{at}/archive.zip"), &secret, "content-disposition").await;
    assert!(status == 200 && bytes.starts_with(b"PK"), "{status}");
    assert_eq!(name, format!("attachment; filename=\"app-main-{sha}.zip\""));
    let (status, bytes, _) = text(&server, &format!("{at}/archive?sha=main&path=dir"), &secret, "x").await;
    assert!(status == 200 && bytes.starts_with(b"\x1f\x8b"), "{status}");
    for path in ["archive.rar", "archive.zip?sha=none", "archive.tar?path=none"] {
        ok(&get, &format!("{at}/{path}"), json!({}), 404).await;
    }

    // Branches and tags: made, with a pipeline as if they had been pushed, and removed.
    let made = ok(&post, &format!("{at}/branches"), json!({"branch": "feature/x", "ref": "main"}), 201).await;
    assert_eq!(
        (&made["name"], &made["protected"], &made["merged"]),
        (&json!("feature/x"), &json!(false), &json!(true))
    );
    let of = ok(&get, &format!("/projects/{}/pipelines?ref=feature/x", app.id), json!({}), 200).await;
    assert_eq!((&of[0]["source"], &of[0]["sha"]), (&json!("push"), &json!(sha)));
    for (body, message) in [
        (json!({"branch": "feature/x", "ref": "main"}), "Branch already exists"),
        (json!({"branch": "bad..name", "ref": "main"}), "Branch name is invalid"),
        (json!({"branch": "y", "ref": "none"}), "Invalid reference name"),
    ] {
        assert_eq!(ok(&post, &format!("{at}/branches"), body, 400).await["message"], message);
    }
    let found = ok(&get, &format!("{at}/branches?search=^feat"), json!({}), 200).await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    ok(&delete, &format!("{at}/branches/main"), json!({}), 400).await;
    ok(&delete, &format!("{at}/branches/feature%2Fx"), json!({}), 204).await;
    ok(&delete, &format!("{at}/branches/feature%2Fx"), json!({}), 404).await;
    let tag =
        ok(&post, &format!("{at}/tags"), json!({"tag_name": "v1", "ref": "main", "message": "One"}), 201)
            .await;
    assert_eq!((&tag["message"], &tag["commit"]["id"]), (&json!("One"), &json!(sha)));
    assert_ne!(tag["target"], json!(sha), "it is a tag of its own");
    assert_eq!(ok(&get, &format!("{at}/tags/v1"), json!({}), 200).await["message"], "One");
    ok(&post, &format!("{at}/tags"), json!({"tag_name": "v2", "ref": "main"}), 201).await;
    ok(&post, &format!("{at}/tags"), json!({"tag_name": "v1", "ref": "main"}), 400).await;
    ok(&post, &format!("{at}/tags"), json!({"tag_name": "-d", "ref": "main", "message": "x"}), 400).await;
    ok(&delete, &format!("{at}/tags/v2"), json!({}), 204).await;

    // Commits.
    let one = ok(&get, &format!("{at}/commits/main"), json!({}), 200).await;
    assert!(one["last_pipeline"]["id"].is_number() && one["status"].is_string(), "{one}");
    let refs = ok(&get, &format!("{at}/commits/{sha}/refs"), json!({}), 200).await;
    assert_eq!(refs, json!([{"type": "branch", "name": "main"}, {"type": "tag", "name": "v1"}]));
    let diff = ok(&get, &format!("{at}/commits/main/diff"), json!({}), 200).await;
    assert_eq!(diff.as_array().unwrap().len(), 3);
    assert_eq!((&diff[1]["new_path"], &diff[1]["new_file"]), (&json!("dir/a b.txt"), &json!(true)));
    assert_eq!(diff[1]["diff"], "@@ -0,0 +1 @@\n+text\n");
    let same = ok(&get, &format!("{at}/compare?from=v1&to=main"), json!({}), 200).await;
    assert_eq!((&same["compare_same_ref"], &same["commits"]), (&json!(true), &json!([])));
    ok(&get, &format!("{at}/compare?from=v1&to=none"), json!({}), 404).await;
    assert_eq!(
        ok(&get, &format!("{at}/merge_base?refs[]=v1&refs[]=main"), json!({}), 200).await["id"],
        json!(sha)
    );
    assert_eq!(ok(&get, &format!("{at}/commits?since=2999-01-01"), json!({}), 200).await, json!([]));
    for body in [json!({"branch": "a\0b", "ref": "main"}), json!({"x": [{"y\0": 1}]})] {
        let refused = ok(&post, &format!("{at}/branches"), body, 400).await;
        assert!(refused["message"].as_str().unwrap().contains("zero byte"), "{refused}");
    }
    ok(&get, &format!("{at}/branches/a%00b"), json!({}), 400).await;

    // What other systems say.
    let said =
        json!({"state": "failed", "name": "scan", "target_url": "https://example.com/1", "coverage": "12.5"});
    let status = ok(&post, &format!("/projects/{}/statuses/{sha}", app.id), said, 201).await;
    assert_eq!((&status["status"], &status["coverage"]), (&json!("failed"), &json!(12.5)));
    ok(
        &post,
        &format!("/projects/{}/statuses/{sha}", app.id),
        json!({"state": "success", "name": "scan"}),
        201,
    )
    .await;
    let all = ok(&get, &format!("{at}/commits/{sha}/statuses?name=scan"), json!({}), 200).await;
    assert_eq!((all.as_array().unwrap().len(), &all[0]["status"]), (1, &json!("success")));
    assert!(
        ok(&get, &format!("{at}/commits/{sha}/statuses?name=build"), json!({}), 200).await[0]["id"]
            .is_number()
    );
    for body in [
        json!({}),
        json!({"state": "odd"}),
        json!({"state": "failed", "target_url": "javascript:x"}),
        json!({"state": "failed", "coverage": "x"}),
    ] {
        ok(&post, &format!("/projects/{}/statuses/{sha}", app.id), body, 400).await;
    }
    ok(&post, &format!("/projects/{}/statuses/none", app.id), json!({"state": "failed"}), 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_refs_hold_wherever_they_are_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let dev = user(&server, "dev", false).await;
    let secret = token(&server, &root, &["api"]).await;
    let hers = token(&server, &dev, &["api"]).await;
    let (app, _) = server.project("root/app", &[(".gitlab-ci.yml", CONFIG)]).await;
    server.app.store.set_member(app.id, dev.id, Some(AccessLevel::Developer), 1).await.unwrap();
    let at = format!("/projects/{}", app.id);
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let ok = async |method: &Method, path: &str, body: Value, status: u16| {
        gives(&server, method.clone(), &format!("{at}/{path}"), &secret, body, status).await
    };
    let runs = async |status: u16| {
        gives(&server, Method::POST, &format!("{at}/pipeline"), &hers, json!({"ref": "main"}), status).await
    };
    let work = home.path().join("work");
    let git = |arguments: &[&str]| {
        let done = std::process::Command::new("git")
            .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let remote = server.url.replace("://", &format!("://dev:{}@", hers.expose())) + "/root/app.git";
    let folder = work.to_str().unwrap();
    assert!(git(&["clone", "-q", &remote, folder]).0);
    let push = |arguments: &[&str]| {
        // Two commits of one second would be the same.
        let message = format!("next {}", arguments.join(" "));
        assert!(git(&["-C", folder, "commit", "-q", "--allow-empty", "-m", &message]).0);
        git(&[&["-C", folder, "push", "-q"], arguments].concat())
    };

    // The default branch has a rule that nobody made.
    let all = ok(&get, "protected_branches", json!({}), 200).await;
    assert_eq!(
        (&all[0]["name"], &all[0]["push_access_levels"][0]["access_level"]),
        (&json!("main"), &json!(40))
    );
    let (pushed, said) = push(&["origin", "main"]);
    assert!(!pushed && said.contains("not allowed to push to the protected branch main"), "{said}");
    runs(400).await;

    // Developers may push, but nothing that was there goes.
    let body = json!({"allowed_to_push": [{"access_level": 30}]});
    ok(&patch, "protected_branches/main", body, 200).await;
    runs(201).await;
    let (pushed, said) = push(&["origin", "main"]);
    assert!(pushed, "{said}");
    assert!(git(&["-C", folder, "reset", "-q", "--hard", "HEAD~1"]).0);
    let (pushed, said) = push(&["--force", "origin", "main"]);
    assert!(!pushed && said.contains("non-fast-forward"), "{said}");
    ok(&patch, "protected_branches/main", json!({"allow_force_push": true}), 200).await;
    let (pushed, said) = push(&["--force", "origin", "main"]);
    assert!(pushed, "{said}");
    assert!(!git(&["-C", folder, "push", "-q", "origin", ":main"]).0, "nobody deletes it");

    // Nobody pushes to releases; maintainers run their pipelines.
    let rule = json!({"name": "release/*", "push_access_level": 0, "merge_access_level": 40});
    ok(&post, "protected_branches", rule.clone(), 201).await;
    ok(&post, "protected_branches", rule, 409).await;
    ok(&post, "protected_branches", json!({"name": "x", "push_access_level": 60}), 400).await;
    ok(&post, "repository/branches", json!({"branch": "release/1", "ref": "main"}), 403).await;
    assert!(!push(&["origin", "HEAD:release/1"]).0);
    let branch = ok(&get, "protected_branches/release%2F*", json!({}), 200).await;
    assert_eq!(branch["push_access_levels"][0]["access_level_description"], "No one");

    // Without its rule the default branch is a branch like others, and its next pipeline is not protected.
    ok(&delete, "protected_branches/main", json!({}), 204).await;
    ok(&delete, "protected_branches/main", json!({}), 404).await;
    let made = runs(201).await;
    assert!(!server.app.store.pipeline(made["id"].as_i64().unwrap()).await.unwrap().protected);
    let shown = ok(&get, "repository/branches/main", json!({}), 200).await;
    assert_eq!((&shown["protected"], &shown["developers_can_push"]), (&json!(false), &json!(true)));

    // Tags.
    ok(&post, "protected_tags", json!({"name": "v*"}), 201).await;
    ok(&post, "protected_tags", json!({"name": "v*"}), 422).await;
    assert!(!push(&["origin", "HEAD:refs/tags/v1"]).0);
    assert!(push(&["origin", "HEAD:refs/tags/w1"]).0);
    gives(
        &server,
        Method::POST,
        &format!("{at}/repository/tags"),
        &hers,
        json!({"tag_name": "v1", "ref": "main"}),
        403,
    )
    .await;
    let tag = ok(&post, "repository/tags", json!({"tag_name": "v1", "ref": "main"}), 201).await;
    assert_eq!(tag["protected"], true);
    ok(&delete, "protected_tags/v*", json!({}), 204).await;
    assert_eq!(ok(&get, "protected_tags", json!({}), 200).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_take_each_others_place() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let secret = token(&server, &root, &["api"]).await;
    let (app, _) = server.project("root/app", &[(".gitlab-ci.yml", CONFIG)]).await;
    let at = format!("/projects/{}", app.id);
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let with = async |token: &Secret, method: &Method, path: &str, body: Value, status: u16| {
        gives(&server, method.clone(), path, token, body, status).await
    };
    let new = |value: &Value| Secret::new(value["token"].as_str().unwrap());

    // A project's token: its project and its level, and no further.
    let body = json!({"name": "bot", "scopes": ["api"], "access_level": 30, "expires_at": "2999-01-01"});
    let made = with(&secret, &post, &format!("{at}/access_tokens"), body, 201).await;
    let bot = new(&made);
    assert_eq!((&made["access_level"], &made["expires_at"]), (&json!(30), &json!("2999-01-01")));
    let me = with(&bot, &get, "/user", json!({}), 200).await;
    assert!(me["bot"] == true && me["username"].as_str().unwrap().starts_with("project_"), "{me}");
    assert_eq!(with(&bot, &get, "/projects?membership=true", json!({}), 200).await[0]["id"], app.id);
    with(&bot, &get, &format!("{at}/repository/tree"), json!({}), 200).await;
    with(&bot, &get, &format!("{at}/variables"), json!({}), 403).await;
    with(&bot, &post, "/projects", json!({"name": "x"}), 403).await;
    let listed = with(&secret, &get, &format!("{at}/access_tokens"), json!({}), 200).await;
    assert!(listed[0]["id"] == made["id"] && listed[0].get("token").is_none(), "{listed}");
    let path = format!("{at}/access_tokens/{}/rotate", made["id"]);
    let next = new(&with(&secret, &post, &path, json!({}), 200).await);
    with(&bot, &get, "/user", json!({}), 401).await;
    let own = with(&next, &get, "/personal_access_tokens/self", json!({}), 200).await;
    assert_eq!((&own["name"], &own["access_level"]), (&json!("bot"), &json!(30)));
    with(&secret, &Method::DELETE, &format!("{at}/access_tokens/{}", own["id"]), json!({}), 204).await;
    with(&next, &get, &at, json!({}), 401).await;

    // A maintainer makes none that may more than they do.
    let ann = user(&server, "ann", false).await;
    server.app.store.set_member(app.id, ann.id, Some(AccessLevel::Maintainer), 1).await.unwrap();
    let hers = token(&server, &ann, &["api"]).await;
    let body = json!({"name": "b", "scopes": ["api"], "access_level": 50});
    with(&hers, &post, &format!("{at}/access_tokens"), body, 403).await;
    for body in [
        json!({"scopes": ["api"]}),
        json!({"name": "b", "scopes": []}),
        json!({"name": "b", "scopes": ["api"], "access_level": 35}),
        json!({"name": "b", "scopes": ["api"], "expires_at": "2001-01-01"}),
    ] {
        with(&hers, &post, &format!("{at}/access_tokens"), body, 400).await;
    }

    // A person's token takes its own place.
    let next =
        with(&hers, &post, "/personal_access_tokens/self/rotate", json!({"expires_at": "2999-02-03"}), 200)
            .await;
    assert_eq!(next["expires_at"], "2999-02-03");
    with(&hers, &get, "/user", json!({}), 401).await;
    let hers = new(&next);
    assert_eq!(with(&hers, &get, "/user", json!({}), 200).await["username"], "ann");
    let other = token(&server, &root, &["api"]).await;
    let roots = with(&other, &get, "/personal_access_tokens/self", json!({}), 200).await;
    with(&hers, &post, &format!("/personal_access_tokens/{}/rotate", roots["id"]), json!({}), 404).await;
    with(&secret, &post, &format!("/personal_access_tokens/{}/rotate", roots["id"]), json!({}), 200).await;
    with(&other, &get, "/user", json!({}), 401).await;

    // A trigger gets another description; a job's token starts a pipeline of its own project, and of no other.
    let trigger = with(&secret, &post, &format!("{at}/triggers"), json!({"description": "a"}), 201).await;
    let path = format!("{at}/triggers/{}", trigger["id"]);
    assert_eq!(with(&secret, &put, &path, json!({"description": "b"}), 200).await["description"], "b");
    let made = with(&secret, &post, &format!("{at}/pipeline"), json!({"ref": "main"}), 201).await;
    let job = server.take(&server.runner(&[]).await).await;
    let (other, _) = server.project("root/other", &[(".gitlab-ci.yml", CONFIG)]).await;
    let start = async |project: i64| {
        let body = json!({"token": job.token, "ref": "main", "variables": {"X": "1"}});
        server.post(&format!("/projects/{project}/trigger/pipeline"), body).await
    };
    let started = start(app.id).await;
    assert_eq!(started.status(), 201);
    let started: Value = started.json().await.unwrap();
    assert_eq!((&started["user"]["username"], &started["source"]), (&json!("root"), &json!("trigger")));
    assert_eq!(start(other.id).await.status(), 404);
    assert_eq!(server.put(&job, json!({"state": "success", "output": {}})).await.status(), 200);
    assert_eq!(start(app.id).await.status(), 401, "the job has ended");

    // A pipeline gets another name.
    let path = format!("{at}/pipelines/{}/metadata", made["id"]);
    assert_eq!(with(&secret, &put, &path, json!({"name": "Nightly"}), 200).await["name"], "Nightly");
    let found = with(&secret, &get, &format!("{at}/pipelines?name=Nightly"), json!({}), 200).await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    with(&secret, &put, &path, json!({}), 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_behind_a_cursor_and_groups_hold_projects() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path()).await;
    let root = user(&server, "root", true).await;
    let secret = token(&server, &root, &["api"]).await;
    let (get, post) = (Method::GET, Method::POST);
    let ok = async |method: &Method, path: &str, body: Value, status: u16| {
        gives(&server, method.clone(), path, &secret, body, status).await
    };
    let (app, _) = server.project("tools/ci/app", &[(".gitlab-ci.yml", CONFIG)]).await;
    for path in ["tools/b", "root/c"] {
        server.project(path, &[("x", "")]).await;
    }
    for _ in 0..3 {
        ok(&post, &format!("/projects/{}/pipeline", app.id), json!({"ref": "main"}), 201).await;
    }

    // To the end by the links alone, each entry once.
    for (path, id, count) in [
        (format!("/projects/{}/jobs?pagination=keyset&per_page=2", app.id), "id", 6),
        (format!("/projects/{}/jobs?pagination=keyset&per_page=2&order_by=id&sort=asc", app.id), "id", 6),
        ("/projects?pagination=keyset&order_by=id&per_page=1".into(), "id", 3),
    ] {
        let mut next = Some(format!("{}/api/v4{path}", server.url));
        let mut ids = Vec::new();
        while let Some(url) = next {
            let answer =
                server.client.get(&url).header("PRIVATE-TOKEN", secret.expose()).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(header(&answer, "x-total"), "");
            let link = header(&answer, "link");
            next = link
                .split_once("<")
                .and_then(|(_, rest)| rest.split_once(">; rel=\"next\""))
                .map(|(url, _)| url.to_owned());
            let page: Value = answer.json().await.unwrap();
            ids.extend(page.as_array().unwrap().iter().map(|one| one[id].as_i64().unwrap()));
        }
        assert_eq!(ids.len(), count, "{path}");
        let ascending = path.contains("sort=asc");
        assert!(ids.windows(2).all(|two| (two[0] < two[1]) == ascending && two[0] != two[1]), "{ids:?}");
    }
    ok(&get, "/projects?pagination=keyset&order_by=name", json!({}), 405).await;
    let names = ok(&get, "/projects?order_by=path&sort=asc&simple=true", json!({}), 200).await;
    assert_eq!(names[0]["path_with_namespace"], "root/c");
    assert!(names[0].get("build_timeout").is_none());

    // Groups are what stands before projects.
    let groups = ok(&get, "/groups", json!({}), 200).await;
    let paths: Vec<&str> =
        groups.as_array().unwrap().iter().map(|one| one["full_path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["tools", "tools/ci"]);
    assert_eq!(groups[1]["parent_id"], groups[0]["id"]);
    let all = ok(&get, "/groups/tools/projects?include_subgroups=true", json!({}), 200).await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(ok(&get, "/groups/tools/projects", json!({}), 200).await[0]["path"], "b");
    assert_eq!(ok(&get, "/groups/tools%2Fci", json!({}), 200).await["full_name"], "tools / ci");
    assert_eq!(ok(&get, "/namespaces/root", json!({}), 200).await["kind"], "user");
    let made = ok(&post, "/groups", json!({"name": "New", "path": "new"}), 201).await;
    ok(&post, "/groups", json!({"name": "New", "path": "new"}), 400).await;
    let body = json!({"name": "In it", "namespace_id": made["id"]});
    assert_eq!(ok(&post, "/projects", body, 201).await["path_with_namespace"], "new/in-it");
    let stranger = token(&server, &user(&server, "ann", false).await, &["api"]).await;
    assert_eq!(gives(&server, Method::GET, "/groups", &stranger, json!({}), 200).await, json!([]));
    gives(&server, Method::GET, "/groups/tools", &stranger, json!({}), 404).await;

    // A schedule knows its pipelines.
    let at = format!("/projects/{}/pipeline_schedules", app.id);
    let body = json!({"description": "d", "ref": "main", "cron": "0 1 * * *"});
    let schedule = ok(&post, &at, body, 201).await;
    let path = format!("{at}/{}/pipelines", schedule["id"]);
    assert_eq!(ok(&get, &path, json!({}), 200).await, json!([]));
    ok(&post, &format!("{at}/{}/play", schedule["id"]), json!({}), 201).await;
    let list = ok(&get, &path, json!({}), 200).await;
    assert_eq!((list.as_array().unwrap().len(), &list[0]["source"]), (1, &json!("schedule")));

    // Wrong passwords are forgiven.
    ok(&post, &format!("/users/{}/unlock", root.id), json!({}), 201).await;
    assert!(server.app.store.user(root.id).await.unwrap().unlocked_at.is_some());
}
