//! The coordinator in this process and the real runner: a commit's pipeline from its making to its end, with stages, needs,
//! artifacts, retries, cancelling, and with the server gone for a while.

#![allow(clippy::unwrap_used)]

use harrier_base::SystemClock;
use harrier_coordinator::{App, DataDir, Made, Settings, Start, StartError};
use harrier_database::{NewProject, NewRunner, PipelineView, ProjectView, TokenKind};
use harrier_pipeline::Status;
use harrier_testkit::{Repo, RepoFile, RunnerProcess, TempHome};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

struct Rig {
    app: Arc<App>,
    port: u16,
    serving: Serving,
    dir: tempfile::TempDir,
    home: TempHome,
    runner: RunnerProcess,
}

/// What a server does.
struct Serving {
    background: JoinSet<()>,
    requests: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Serving {
    /// Answers what was asked, closes its connections, and is gone.
    async fn end(mut self) {
        drop(self.stop);
        self.requests.await.unwrap();
        self.background.shutdown().await;
    }
}

async fn serve(dir: &Path, listener: TcpListener) -> (Arc<App>, Serving) {
    let mut settings = Settings::new(format!("http://{}", listener.local_addr().unwrap()));
    settings.long_poll = Duration::from_secs(5);
    settings.trace_interval = (1, 1);
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
    let background = app.background().await.unwrap();
    let router = app.router();
    let (stop, stopped) = oneshot::channel::<()>();
    let end = async move {
        // The word is that there is nobody any more to say it.
        let _ = stopped.await;
    };
    let requests = tokio::spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(end).await.unwrap();
    });
    (app, Serving { background, requests, stop })
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (app, serving) = serve(dir.path(), listener).await;
        let new = NewRunner {
            projects: None,
            description: "real".into(),
            maintenance_note: String::new(),
            tags: vec!["here".into()],
            run_untagged: true,
            locked: false,
            protected_only: false,
            maximum_timeout: None,
            paused: false,
            created_by: None,
            token_expires_at: None,
        };
        let (view, token) = app.store.create_runner(new, TokenKind::Runner, app.now()).await.unwrap();
        let home = TempHome::new();
        home.write_config(&format!(
            "concurrent = 4\ncheck_interval = 1\n\n[[runners]]\n  name = \"real\"\n  url = \"http://127.0.0.1:{port}\"\n  \
             id = {}\n  token = \"{}\"\n  executor = \"shell\"\n  shell = \"bash\"\n  request_concurrency = 2\n  builds_dir \
             = \"{}\"\n  cache_dir = \"{}\"\n",
            view.id,
            token.expose(),
            home.builds().display(),
            home.path().join("cache").display(),
        ));
        let runner = RunnerProcess::start(Path::new(env!("CARGO_BIN_EXE_harrier")), &home);
        Self { app, port, serving, dir, home, runner }
    }

    /// A project with a commit of this file; gives its pipeline.
    async fn pipeline(&self, path: &str, text: &str) -> PipelineView {
        let repo = Repo::new();
        let sha = repo.commit(
            "main",
            &[RepoFile::new(".gitlab-ci.yml", text), RepoFile::new("README.md", "# Kestrel\n")],
            "A commit",
        );
        let new = NewProject { path: path.into(), ..NewProject::default() };
        let project = self.app.store.create_project(new, self.app.now()).await.unwrap();
        let done = std::process::Command::new("git")
            .args(["clone", "--quiet", "--bare"])
            .arg(repo.git_dir())
            .arg(self.app.data.repository(project.id))
            .status();
        assert!(done.unwrap().success());
        self.start(&project, &sha).await
    }

    async fn start(&self, project: &ProjectView, sha: &str) -> PipelineView {
        let start =
            Start { source: "push".into(), git_ref: "main".into(), sha: sha.into(), ..Start::default() };
        match self.app.make_pipeline(project, start).await.unwrap() {
            Made::Pipeline(pipeline) => *pipeline,
            Made::None(why) => panic!("no pipeline: {}", why.message()),
        }
    }

    async fn until(&self, what: &str, mut reached: impl AsyncFnMut(&App) -> bool) {
        let mut news = self.app.notifier.follow();
        let wait = async {
            while !reached(&self.app).await {
                let _ = news.recv().await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let log = self.runner.log();
            panic!("never: {what}\n{}\nthe runner's log:\n{log}", self.all().await);
        }
    }

    async fn ends(&self, pipeline: i64, status: Status) {
        self.until(&format!("pipeline {pipeline} is {status:?}"), async |app: &App| {
            app.store.pipeline(pipeline).await.unwrap().status == status
        })
        .await;
    }

    /// Every job with its status and log.
    async fn all(&self) -> String {
        let at = harrier_database::PageAt { number: 1, size: 100 };
        let jobs = self.app.store.find_jobs(Default::default(), at).await.unwrap();
        let shown = jobs.entries.iter().map(|job| {
            let log = self.log(job.id);
            format!("{} {}: {:?}\n{log}", job.name, job.status.word(), job.failure_reason)
        });
        shown.collect::<Vec<_>>().join("\n")
    }

    fn log(&self, job: i64) -> String {
        std::fs::read_to_string(self.app.data.trace(job)).unwrap_or_default()
    }

    /// The latest job of a name.
    async fn job(&self, pipeline: i64, name: &str) -> harrier_database::JobView {
        let jobs = self.app.store.jobs(pipeline, false).await.unwrap();
        jobs.into_iter().find(|job| job.name == name).unwrap()
    }
}

const WHOLE: &str = r#"
stages: [make, test, last]
make:
  stage: make
  script:
    - grep -q Kestrel README.md
    - mkdir -p out && echo "made by $CI_JOB_NAME" > out/thing
    - echo "COLOUR=red" > vars
  artifacts: {paths: [out], reports: {dotenv: vars}, expire_in: 1 day}
slow:
  stage: make
  script: [echo slow]
early:
  stage: last
  needs: [make]
  tags: [here]
  script:
    - cat out/thing
    - test "$COLOUR" = red
twice:
  stage: test
  retry: 1
  script:
    - echo "try in $CI_PROJECT_PATH"
    - if [ -e "$MARKS" ]; then exit 0; fi
    - touch "$MARKS"
    - exit 3
  coverage: '/covered (\d+)/'
  after_script: [echo covered 42 percent]
odd:
  stage: test
  script: [exit 1]
  allow_failure: true
hand:
  stage: last
  when: manual
  script: [echo played by hand]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_becomes_a_pipeline_that_ends() {
    let rig = Rig::new().await;
    let marks = rig.home.path().join("marks");
    let text = WHOLE.replace("$MARKS", marks.to_str().unwrap());
    let made = rig.pipeline("birds/kestrel", &text).await;
    rig.ends(made.id, Status::Success).await;
    assert!(rig.app.store.pipeline(made.id).await.unwrap().warnings);
    let early = rig.job(made.id, "early").await;
    assert!(rig.log(early.id).contains("made by make"), "{}", rig.log(early.id));
    let twice = rig.job(made.id, "twice").await;
    assert_eq!((twice.attempt, twice.coverage.as_deref()), (2, Some("42.00")));
    let jobs = rig.app.store.jobs(made.id, true).await.unwrap();
    let old = jobs.iter().find(|job| job.retried).unwrap();
    assert_eq!((old.exit_code, old.failure_reason.as_deref()), (Some(3), Some("script_failure")));
    assert_eq!(rig.job(made.id, "odd").await.status, Status::Failed);
    let size = i64::try_from(rig.log(twice.id).len()).unwrap();
    assert_eq!(twice.trace_size, Some(size));

    let hand = rig.job(made.id, "hand").await;
    assert_eq!(hand.status, Status::Manual);
    rig.app.store.play(hand.id, None, Vec::new(), rig.app.now()).await.unwrap();
    rig.until("the manual job has run", async |app: &App| {
        app.store.job(hand.id).await.unwrap().status == Status::Success
    })
    .await;
    assert!(rig.log(hand.id).contains("played by hand"));
    let again = rig.app.store.retry(early.id, None, rig.app.now()).await.unwrap();
    rig.until("the job has run again", async |app: &App| {
        app.store.job(again.id).await.unwrap().status == Status::Success
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_pipeline_runs_its_after_scripts() {
    let rig = Rig::new().await;
    let go = rig.home.path().join("go");
    let text = format!(
        "variables: {{GIT_STRATEGY: none}}\na:\n  script: [echo begun, sleep 600]\n  after_script: ['until [ -e {} ]; do sleep \
         0.05; done', echo cleaned as $CI_JOB_STATUS]\nb: {{stage: deploy, script: [echo never]}}\n",
        go.display()
    );
    let made = rig.pipeline("g/p", &text).await;
    let job = rig.job(made.id, "a").await.id;
    rig.until("the script runs", async |app: &App| {
        std::fs::read_to_string(app.data.trace(job)).is_ok_and(|log| log.contains("01O begun"))
    })
    .await;
    rig.app.store.cancel_pipeline(made.id, false, rig.app.now()).await.unwrap();
    assert_eq!(rig.job(made.id, "a").await.status, Status::Canceling);
    std::fs::write(&go, "").unwrap();
    rig.ends(made.id, Status::Canceled).await;
    assert!(rig.log(job).contains("cleaned as canceled"), "{}", rig.log(job));
    assert_eq!(rig.job(made.id, "b").await.status, Status::Canceled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_gone_loses_nothing() {
    let rig = Rig::new().await;
    let go = rig.home.path().join("go");
    let text = format!(
        "variables: {{GIT_STRATEGY: none}}\na:\n  script: [echo begun, 'until [ -e {} ]; do sleep 0.05; done', echo \
         ended]\n",
        go.display()
    );
    let made = rig.pipeline("g/p", &text).await;
    let job = rig.job(made.id, "a").await.id;
    rig.until("the script runs", async |app: &App| {
        std::fs::read_to_string(app.data.trace(job)).is_ok_and(|log| log.contains("01O begun"))
    })
    .await;
    // The server goes while the job runs, and the job ends while there is none.
    let Rig { app, port, serving, dir, home, runner } = rig;
    serving.end().await;
    drop(app);
    std::fs::write(&go, "").unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (app, serving) = serve(dir.path(), listener).await;
    let rig = Rig { app, port, serving, dir, home, runner };
    rig.ends(made.id, Status::Success).await;
    let log = rig.log(job);
    assert_eq!(log.matches("01O begun").count(), 1, "{log}");
    assert!(log.contains("01O ended"), "{log}");
}
