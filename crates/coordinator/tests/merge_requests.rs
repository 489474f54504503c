//! Merge requests, from `git push -o merge_request.create` to the push that merges them: their pipelines, what is compared with the
//! target branch, what runners get; and the other options of pushes.

#![allow(clippy::unwrap_used)]

#[path = "support/answers.rs"]
mod answers;
mod support;

use harrier_base::Secret;
use harrier_database::{NewToken, NewUser, PageAt, PipelineFilter, PipelineView, TokenKind, UserView};
use harrier_pipeline::Status;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::Server;

const CONFIG: &str = "spec:
  inputs: { level: { default: low } }
---
workflow:
  rules:
    - if: $CI_PIPELINE_SOURCE == 'merge_request_event'
    - if: $CI_COMMIT_BRANCH && $CI_OPEN_MERGE_REQUESTS
      when: never
    - if: $CI_COMMIT_BRANCH
all:
  script: echo $[[ inputs.level ]]
docs:
  script: x
  rules: [{ if: $CI_MERGE_REQUEST_IID, changes: ['docs/*'] }]
code:
  script: x
  rules: [{ if: $CI_MERGE_REQUEST_IID, changes: ['src/*'] }]
legacy:
  script: x
  only: [merge_requests]
";

/// A clone to work in, whose remote is the server.
struct Work {
    dir: PathBuf,
    remote: String,
}

impl Work {
    fn new(place: &Path, remote: String) -> Self {
        let dir = place.join("work");
        std::fs::create_dir(&dir).unwrap();
        let this = Self { dir, remote };
        this.git(&["init", "-q", "-b", "main"]);
        this
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(&self.dir)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0");
        let output = command.output().expect("git is installed");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "git {arguments:?}: {said}");
        said + &String::from_utf8_lossy(&output.stdout)
    }

    fn commit(&self, file: &str) {
        let path = self.dir.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", &format!("Adds {file}")]);
    }

    async fn push(&self, arguments: &[&str]) -> String {
        tokio::task::block_in_place(|| {
            let (options, refs): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|a| a.starts_with("-o"));
            let remote = self.remote.as_str();
            self.git(&[&["push"][..], &options, &[remote], &refs].concat())
        })
    }
}

async fn root(server: &Server) -> (UserView, Secret) {
    let new = NewUser { username: "root".into(), admin: true, ..NewUser::default() };
    let user = server.app.store.create_user(new, 1).await.unwrap();
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(user.id),
        project: None,
        name: "test".into(),
        scopes: vec!["api".into(), "write_repository".into()],
        access_level: None,
        expires_at: None,
    };
    let secret = server.app.store.create_token(new, 1).await.unwrap().1;
    (user, secret)
}

/// The answer of a request about the project that must be answered so.
async fn gives(
    server: &Server,
    method: Method,
    path: &str,
    token: &Secret,
    body: Value,
    status: u16,
) -> Value {
    answers::gives(server, method, &format!("/projects/root%2Fapp{path}"), token, body, status).await
}

/// Pipelines of a ref, the newest first.
async fn pipelines(server: &Server, git_ref: &str) -> Vec<PipelineView> {
    let project = server.app.store.project_at("root/app").await.unwrap().unwrap();
    let filter = PipelineFilter { git_ref: Some(git_ref.into()), ..PipelineFilter::default() };
    server.app.store.pipelines(project.id, filter, PageAt { number: 1, size: 50 }).await.unwrap().entries
}

async fn names(server: &Server, pipeline: i64) -> Vec<String> {
    server.app.store.jobs(pipeline, false).await.unwrap().into_iter().map(|job| job.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_compared_with_its_target_until_it_is_merged() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("data")).await;
    let (user, secret) = root(&server).await;
    let remote =
        server.url.replace("http://", &format!("http://root:{}@", secret.expose())) + "/root/app.git";
    let work = Work::new(home.path(), remote);
    std::fs::write(work.dir.join(".gitlab-ci.yml"), CONFIG).unwrap();
    work.commit("src/begin");
    work.push(&["main"]).await;
    assert_eq!(names(&server, pipelines(&server, "main").await[0].id).await, ["all"]);

    // Opened by the push that brings the branch.
    work.git(&["checkout", "-q", "-b", "topic"]);
    work.commit("docs/a");
    let options = [
        "-omerge_request.create",
        "-omerge_request.title=The docs",
        "-omerge_request.label=x",
        "-oodd.one=1",
    ];
    let said = work.push(&[&options[..], &["topic"]].concat()).await;
    for text in [
        "The push option odd.one is not known here",
        "Merge request !1 into main:",
        "/root/app/-/merge_requests/1",
        "for merge request !1:",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(!said.contains("filtered out"), "{said}");
    let at = "refs/merge-requests/1/head";
    let first = pipelines(&server, at).await.remove(0);
    assert_eq!((first.source.as_str(), first.user), ("merge_request_event", Some(user.id)));
    assert_eq!(names(&server, first.id).await, ["all", "docs", "legacy"]);
    assert!(
        pipelines(&server, "topic").await.is_empty(),
        "the workflow leaves the branch to its merge request"
    );

    // One more commit: all of the branch is compared, and the older pipeline goes.
    work.commit("docs/b");
    work.git(&["checkout", "-q", "main"]);
    work.commit("src/main-only");
    work.push(&["main"]).await;
    work.push(&["topic"]).await;
    let [newest, older] = &pipelines(&server, at).await[..] else { panic!("two") };
    assert_eq!(older.id, first.id);
    assert_eq!(server.app.store.pipeline(first.id).await.unwrap().status, Status::Canceled);
    assert_eq!(
        names(&server, newest.id).await,
        ["all", "docs", "legacy"],
        "what is new on main is not the branch's"
    );

    // What a runner gets of it.
    for pipeline in pipelines(&server, "main").await {
        server.app.store.cancel_pipeline(pipeline.id, true, server.app.now()).await.unwrap();
    }
    let taken = server.take(&server.runner(&[]).await).await;
    let head = work.git(&["rev-parse", "topic"]).trim().to_owned();
    let base = work.git(&["merge-base", "topic", "main"]).trim().to_owned();
    for (key, wanted) in [
        ("CI_PIPELINE_SOURCE", Some("merge_request_event")),
        ("CI_COMMIT_BRANCH", None),
        ("CI_COMMIT_REF_NAME", Some("topic")),
        ("CI_COMMIT_SHA", Some(head.as_str())),
        ("CI_MERGE_REQUEST_IID", Some("1")),
        ("CI_MERGE_REQUEST_TITLE", Some("The docs")),
        ("CI_MERGE_REQUEST_LABELS", Some("x")),
        ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", Some("topic")),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", Some("main")),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_PROTECTED", Some("true")),
        ("CI_MERGE_REQUEST_DIFF_BASE_SHA", Some(base.as_str())),
        ("CI_MERGE_REQUEST_DIFF_ID", Some("2")),
        ("CI_MERGE_REQUEST_REF_PATH", Some(at)),
        ("CI_OPEN_MERGE_REQUESTS", Some("root/app!1")),
    ] {
        assert_eq!(taken.variable(key).as_deref(), wanted, "{key}");
    }
    let own = format!("refs/pipelines/{}", newest.id);
    assert_eq!(taken.payload["git_info"]["refspecs"], json!([format!("+{own}:{own}")]));
    assert_eq!(taken.payload["git_info"]["ref"], at);
    assert!(!newest.protected, "the branch is not protected");
    let listed = tokio::task::block_in_place(|| work.git(&["ls-remote", &work.remote, at]));
    assert!(listed.starts_with(&head), "{listed}");

    // By the API.
    let requests = "/merge_requests";
    let all = gives(&server, Method::GET, &format!("{requests}?state=opened"), &secret, json!({}), 200).await;
    assert_eq!((&all[0]["iid"], &all[0]["sha"], &all[0]["draft"]), (&json!(1), &json!(head), &json!(false)));
    let its = format!("{requests}/1");
    let one = gives(&server, Method::GET, &its, &secret, json!({}), 200).await;
    assert_eq!((&one["head_pipeline"]["id"], &one["head_pipeline"]["ref"]), (&json!(newest.id), &json!(at)));
    let again = gives(&server, Method::POST, &format!("{its}/pipelines"), &secret, json!({}), 201).await;
    assert_eq!(again["source"], "merge_request_event");
    let found = gives(&server, Method::GET, &format!("{its}/pipelines"), &secret, json!({}), 200).await;
    assert_eq!(found.as_array().unwrap().len(), 3);
    let body = json!({"title": "Draft: more", "add_labels": "y", "remove_labels": "x"});
    let changed = gives(&server, Method::PUT, &its, &secret, body, 200).await;
    assert_eq!((&changed["draft"], &changed["labels"]), (&json!(true), &json!(["y"])));
    let twice = json!({"source_branch": "topic", "target_branch": "main", "title": "x"});
    gives(&server, Method::POST, requests, &secret, twice, 409).await;
    for (source, target) in [("topic", "topic"), ("none", "main"), ("topic", "none")] {
        let body = json!({"source_branch": source, "target_branch": target, "title": "x"});
        gives(&server, Method::POST, requests, &secret, body, 400).await;
    }
    let closed = gives(&server, Method::PUT, &its, &secret, json!({"state_event": "close"}), 200).await;
    assert_eq!(closed["state"], "closed");
    gives(&server, Method::PUT, &its, &secret, json!({"state_event": "reopen"}), 200).await;

    // On its page.
    let now = server.app.now();
    let (session, key) = server.app.store.create_session(user.id, now + 3_600_000, now).await.unwrap();
    let cookie = format!("harrier_session={}", key.expose());
    let page = async |path: &str| {
        let call = server.client.get(format!("{}/root/app/-/{path}", server.url)).header("cookie", &cookie);
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    };
    let list = page("merge_requests").await;
    for text in ["!1", "Draft: more", "topic", "/-/merge_requests/1", "Open a merge request"] {
        assert!(list.contains(text), "{text}: {list}");
    }
    assert!(!page("merge_requests?state=merged").await.contains("Draft: more"));
    let shown = page("merge_requests/1").await;
    for text in
        [&format!("/-/pipelines/{}", newest.id), "/-/merge_requests/1/close", "/-/merge_requests/1/pipelines"]
    {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(page("pipelines").await.contains("!1 topic"));
    let form = |path: &str, pairs: &[(&str, &str)]| {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(pairs).append_pair("csrf", session.csrf.expose());
        let call = server.client.post(format!("{}/root/app/-/{path}", server.url)).header("cookie", &cookie);
        call.header("content-type", "application/x-www-form-urlencoded").body(text.finish()).send()
    };
    // Led on to the page that then says what it is in.
    let after = form("merge_requests/1/close", &[]).await.unwrap().text().await.unwrap();
    assert!(after.contains("/-/merge_requests/1/reopen"), "{after}");
    let after = form("merge_requests/1/reopen", &[]).await.unwrap().text().await.unwrap();
    assert!(after.contains("/-/merge_requests/1/close"), "{after}");
    let after = form("merge_requests/1/pipelines", &[]).await.unwrap();
    assert_eq!(after.status(), 200);
    let pair = [("source_branch", "topic"), ("target_branch", "main")];
    assert_eq!(form("merge_requests", &pair).await.unwrap().status(), 422, "there is one");

    // Merged by the push that takes it in.
    work.git(&["merge", "-q", "--no-ff", "-m", "Merges topic", "topic"]);
    let said = work.push(&["main"]).await;
    assert!(said.contains("Merge request !1 is merged into main."), "{said}");
    let merged = gives(&server, Method::GET, &its, &secret, json!({}), 200).await;
    assert!(merged["state"] == "merged" && merged["merged_at"].is_string(), "{merged}");
    gives(&server, Method::PUT, &its, &secret, json!({"state_event": "reopen"}), 409).await;

    // Closed with its branch.
    work.git(&["checkout", "-q", "-b", "other"]);
    work.commit("src/other");
    let said = work.push(&["-omerge_request.title=None", "other"]).await;
    assert!(said.contains("other has no open merge request"), "{said}");
    let body = json!({"source_branch": "other", "target_branch": "main", "title": "Other"});
    let opened = gives(&server, Method::POST, requests, &secret, body, 201).await;
    assert_eq!(
        (&opened["iid"], &opened["head_pipeline"]["source"]),
        (&json!(2), &json!("merge_request_event"))
    );
    let jobs = names(&server, opened["head_pipeline"]["id"].as_i64().unwrap()).await;
    assert_eq!(jobs, ["all", "code", "legacy"]);
    let said = work.push(&[":other"]).await;
    assert!(said.contains("Merge request !2 is closed: its branch other is gone."), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_a_push_reach_its_pipelines() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("data")).await;
    let (_, secret) = root(&server).await;
    let remote =
        server.url.replace("http://", &format!("http://root:{}@", secret.expose())) + "/root/app.git";
    let work = Work::new(home.path(), remote);
    std::fs::write(work.dir.join(".gitlab-ci.yml"), CONFIG).unwrap();
    work.commit("a");
    let said = work.push(&["-oci.variable=COLOUR=light blue", "-oci.input=level=high", "main"]).await;
    assert!(said.contains("Pipeline #1 for main:"), "{said}");
    let taken = server.take(&server.runner(&[]).await).await;
    assert_eq!(taken.variable("COLOUR").as_deref(), Some("light blue"));
    assert_eq!(taken.payload["steps"][0]["script"], json!(["echo high"]));

    // Without a pipeline of the branch; the merge request's is made all the same.
    work.git(&["checkout", "-q", "-b", "topic"]);
    work.commit("b");
    let said = work.push(&["-oci.skip", "-oci.skip_all", "topic"]).await;
    assert!(said.contains("ci.skip_all is not known here") && !said.contains("Pipeline"), "{said}");
    work.commit("c");
    let said = work.push(&["-oci.skip", "-omerge_request.create", "-omerge_request.draft", "topic"]).await;
    assert!(said.contains("for merge request !1:") && !said.contains("for topic:"), "{said}");
    let one = gives(&server, Method::GET, "/merge_requests/1", &secret, json!({}), 200).await;
    assert_eq!(one["title"], "Draft: Adds c");

    // What cannot be is said, and the push stands.
    let said = work.push(&["-omerge_request.create", "-omerge_request.target=nowhere", "topic:third"]).await;
    assert!(said.contains("No merge request for third: there is no branch nowhere."), "{said}");
}

const FAMILY: &str = "up:
  rules: [{ if: $CI_MERGE_REQUEST_IID }]
  trigger: { include: child.yml }
review:
  script: x
  environment: { name: review/$CI_COMMIT_REF_SLUG, on_stop: down }
  rules: [{ if: $CI_MERGE_REQUEST_IID }]
down:
  script: x
  environment: { name: review/$CI_COMMIT_REF_SLUG, action: stop }
  rules: [{ if: $CI_MERGE_REQUEST_IID, when: manual, allow_failure: true }]
";

const CHILD: &str = "asked: { script: x, only: [merge_requests] }
of branches: { script: x }
docs: { script: x, rules: [{ changes: ['docs/*'] }] }
code: { script: x, rules: [{ changes: ['src/*'] }] }
";

#[tokio::test(flavor = "multi_thread")]
async fn children_and_review_apps_belong_to_the_merge_request() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("data")).await;
    let (_, secret) = root(&server).await;
    let remote =
        server.url.replace("http://", &format!("http://root:{}@", secret.expose())) + "/root/app.git";
    let work = Work::new(home.path(), remote);
    std::fs::write(work.dir.join(".gitlab-ci.yml"), FAMILY).unwrap();
    std::fs::write(work.dir.join("child.yml"), CHILD).unwrap();
    work.commit("src/a");
    work.push(&["main"]).await;
    work.git(&["checkout", "-q", "-b", "topic"]);
    work.commit("docs/a");
    work.push(&["-omerge_request.create", "topic"]).await;
    // Its child, which is newer, may be there already.
    let parent = pipelines(&server, "refs/merge-requests/1/head").await.pop().unwrap();
    let child = async {
        loop {
            if let [child] = server.app.store.children(parent.id).await.unwrap()[..] {
                return child;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let Ok(child) = tokio::time::timeout(support::PATIENCE, child).await else {
        panic!("the bridge makes nothing: {}", server.states(parent.id).await);
    };
    assert_eq!(names(&server, child).await, ["asked", "docs"]);
    let facts = server.app.store.pipeline(child).await.unwrap();
    assert_eq!(
        (facts.source.as_str(), facts.git_ref.as_str()),
        ("parent_pipeline", "refs/merge-requests/1/head")
    );
    let own = gives(&server, Method::GET, "/merge_requests/1/pipelines", &secret, json!({}), 200).await;
    assert_eq!(own.as_array().unwrap().len(), 1, "a child is not of the list");

    let runner = server.runner(&[]).await;
    loop {
        let taken = server.take(&runner).await;
        assert_eq!(taken.variable("CI_MERGE_REQUEST_IID").as_deref(), Some("1"));
        assert_eq!(taken.variable("CI_COMMIT_BRANCH"), None);
        let done = server.put(&taken, json!({"state": "success", "exit_code": 0, "output": {}})).await;
        assert_eq!(done.status(), 200);
        if taken.variable("CI_JOB_NAME").as_deref() == Some("review") {
            break;
        }
    }
    work.git(&["checkout", "-q", "main"]);
    work.git(&["merge", "-q", "--no-ff", "-m", "Merges topic", "topic"]);
    let said = work.push(&["main"]).await;
    assert!(said.contains("Merge request !1 is merged into main."), "{said}");
    assert!(said.contains("The environment review/topic is being stopped."), "{said}");
    assert!(server.states(parent.id).await.contains("down=pending"), "{}", server.states(parent.id).await);
}
