//! A server in this process on a port of its own, a project with a repository, and what runners say to it.

#![allow(dead_code, clippy::unwrap_used)]

use harrier_base::{Secret, SystemClock};
use harrier_coordinator::{App, DataDir, Made, Settings, Start, StartError};
use harrier_database::{NewProject, NewRunner, PipelineView, ProjectSettings, ProjectView, TokenKind};
use harrier_pipeline::Status;
use harrier_testkit::{Repo, RepoFile};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Far more than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

pub struct Server {
    pub app: Arc<App>,
    pub url: String,
    pub client: Client,
    _tasks: JoinSet<()>,
}

impl Server {
    /// In a data directory, which may have been used before.
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, |_| ()).await
    }

    pub async fn start_with(dir: &Path, change: impl FnOnce(&mut Settings)) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut settings = Settings::new(&url);
        settings.long_poll = Duration::from_secs(20);
        change(&mut settings);
        // One that was dropped lets the directory go when its last connection has ended.
        let open = async {
            loop {
                let data = DataDir::open(dir).unwrap();
                match App::open(data, None, Arc::new(SystemClock), settings.clone()).await {
                    Err(StartError::Taken { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                    other => return other.unwrap(),
                }
            }
        };
        let app = tokio::time::timeout(PATIENCE, open).await.expect("the directory becomes free");
        let mut tasks = app.background().await.unwrap();
        let router = app.router();
        // Now, not while a test makes its first project.
        app.make_up_for_pushes().await.unwrap();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().unwrap();
        Self { app, url, client, _tasks: tasks }
    }

    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/api/v4{path}", self.url))
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.call(Method::POST, path).json(&body).send().await.unwrap()
    }

    /// A project whose repository holds these files on `main`; gives the commit too.
    pub async fn project(&self, path: &str, files: &[(&str, &str)]) -> (ProjectView, String) {
        let repo = Repo::new();
        let files: Vec<RepoFile> = files.iter().map(|(name, text)| RepoFile::new(name, text)).collect();
        let sha = repo.commit("main", &files, "A commit\n\nWith a body\n");
        let ready = tempfile::tempdir().unwrap();
        let ready = ready.path().join("ready.git");
        let done = std::process::Command::new("git")
            .args(["clone", "--quiet", "--bare"])
            .arg(repo.git_dir())
            .arg(&ready)
            .status()
            .unwrap();
        assert!(done.success());
        let new = NewProject {
            path: path.into(),
            settings: ProjectSettings { build_timeout: 600, ..ProjectSettings::default() },
            ..NewProject::default()
        };
        let project = self.app.store.create_project(new, self.app.now()).await.unwrap();
        // Known before it is there: the server looks once for refs that moved while none ran, maybe just now.
        let known = vec![("refs/heads/main".to_owned(), Some(sha.clone()))];
        self.app.store.set_known_refs(project.id, known).await.unwrap();
        std::fs::rename(&ready, self.app.data.repository(project.id)).unwrap();
        (project, sha)
    }

    pub async fn pipeline(&self, project: &ProjectView, sha: &str) -> PipelineView {
        let start =
            Start { source: "push".into(), git_ref: "main".into(), sha: sha.into(), ..Start::default() };
        match self.app.make_pipeline(project, start).await.unwrap() {
            Made::Pipeline(pipeline) => *pipeline,
            Made::None(why) => panic!("no pipeline: {}", why.message()),
        }
    }

    /// A runner of the instance; gives its token.
    pub async fn runner(&self, tags: &[&str]) -> Secret {
        let new = NewRunner {
            projects: None,
            description: "test".into(),
            maintenance_note: String::new(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            run_untagged: true,
            locked: false,
            protected_only: false,
            maximum_timeout: None,
            paused: false,
            created_by: None,
            token_expires_at: None,
        };
        self.app.store.create_runner(new, TokenKind::Runner, self.app.now()).await.unwrap().1
    }

    /// Asks for a job once, without waiting.
    pub async fn ask(&self, runner: &Secret) -> Response {
        self.post("/jobs/request", request(runner, "")).await
    }

    /// Takes a job and accepts it.
    pub async fn take(&self, runner: &Secret) -> Taken {
        let answer = self.ask(runner).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let payload: Value = answer.json().await.unwrap();
        let taken = Taken {
            id: payload["id"].as_i64().unwrap(),
            token: payload["token"].as_str().unwrap().to_owned(),
            payload,
        };
        let accepted = self.put(&taken, json!({"state": "running", "output": {}})).await;
        assert_eq!((accepted.status(), job_status(&accepted)), (StatusCode::OK, "running".into()));
        taken
    }

    pub async fn put(&self, job: &Taken, mut body: Value) -> Response {
        body["token"] = json!(job.token);
        body["info"] = info();
        let call = self.call(Method::PUT, &format!("/jobs/{}", job.id));
        call.header("JOB-TOKEN", &job.token).json(&body).send().await.unwrap()
    }

    pub async fn patch(&self, job: &Taken, start: usize, bytes: &[u8]) -> Response {
        let end = start + bytes.len() - 1;
        self.call(Method::PATCH, &format!("/jobs/{}/trace?debug_trace=false", job.id))
            .header("JOB-TOKEN", &job.token)
            .header("Content-Type", "text/plain")
            .header("Content-Range", format!("{start}-{end}"))
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap()
    }

    pub async fn upload(&self, job: &Taken, query: &str, name: &str, bytes: &[u8]) -> Response {
        let part = reqwest::multipart::Part::bytes(bytes.to_vec()).file_name(name.to_owned());
        let form = reqwest::multipart::Form::new().part("file", part);
        self.call(Method::POST, &format!("/jobs/{}/artifacts?{query}", job.id))
            .header("JOB-TOKEN", &job.token)
            .multipart(form)
            .send()
            .await
            .unwrap()
    }

    /// Waits for a pipeline to be in a status.
    pub async fn wait(&self, pipeline: i64, status: Status) {
        let mut news = self.app.notifier.follow();
        let reached = async {
            while self.app.store.pipeline(pipeline).await.unwrap().status != status {
                let _ = news.recv().await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("the pipeline is not {status:?}: {}", self.states(pipeline).await);
        }
    }

    /// `name=status` of the latest jobs, in order.
    pub async fn states(&self, pipeline: i64) -> String {
        let jobs = self.app.store.jobs(pipeline, false).await.unwrap();
        jobs.iter().map(|j| format!("{}={}", j.name, j.status.word())).collect::<Vec<_>>().join(" ")
    }
}

/// A job as a runner has it.
pub struct Taken {
    pub id: i64,
    pub token: String,
    pub payload: Value,
}

impl Taken {
    /// The value that wins for a variable.
    pub fn variable(&self, key: &str) -> Option<String> {
        let all = self.payload["variables"].as_array().unwrap();
        all.iter().rev().find(|v| v["key"] == key).map(|v| v["value"].as_str().unwrap().to_owned())
    }
}

pub fn info() -> Value {
    json!({"name": "gitlab-runner", "version": "19.4.0", "executor": "shell", "features": {
        "two_phase_job_commit": true, "cancel_gracefully": true, "fallback_cache_keys": true,
        "upload_multiple_artifacts": true, "artifacts_exclude": true, "multi_build_steps": true,
        "return_exit_code": true, "refspecs": true}, "config": {"gpus": ""}, "something_new": [1]})
}

pub fn request(runner: &Secret, last_update: &str) -> Value {
    let mut body = json!({"token": runner.expose(), "system_id": "s_0123456789ab", "info": info()});
    if !last_update.is_empty() {
        body["last_update"] = json!(last_update);
    }
    body
}

pub fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
}

pub fn job_status(answer: &Response) -> String {
    header(answer, "job-status")
}
