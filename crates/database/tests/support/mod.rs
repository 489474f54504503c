//! Stores to test with: SQLite in a directory of its own, PostgreSQL in a database of its own on the server that
//! `scripts/postgres.sh` starts.

#![allow(dead_code, clippy::unwrap_used)]

use harrier_base::{Secret, Variable};
use harrier_database::{
    Ask, Asks, NewPipeline, NewProject, NewRunner, PipelineView, Place, ProjectView, Sealer, Store, TokenKind,
};
use harrier_pipeline::predefined::{CommitFacts, PipelineFacts};
use harrier_pipeline::{Context, FetchError, IncludeSource, Pipeline, RunKind, SourceFile, compile, render};

/// What a store is in; it goes with it.
pub enum Home {
    Sqlite(tempfile::TempDir),
    Postgres { server: String, name: String },
}

impl Home {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub fn postgres() -> Self {
        let server = std::env::var("HARRIER_TEST_POSTGRES")
            .unwrap_or_else(|_| "postgres://harrier@127.0.0.1:5466/postgres".to_owned());
        let name = format!(
            "harrier_{}",
            TokenKind::Session.make().unwrap().expose().replace('-', "_").to_lowercase()
        );
        sql(&server, &format!("CREATE DATABASE \"{name}\""));
        Self::Postgres { server, name }
    }

    pub fn place(&self) -> Place {
        match self {
            Self::Sqlite(dir) => Place::Sqlite(dir.path().join("harrier.db")),
            Self::Postgres { server, name } => {
                let (start, _) = server.rsplit_once('/').unwrap();
                Place::Postgres(Secret::new(format!("{start}/{name}")))
            }
        }
    }

    pub async fn open(&self) -> Store {
        Store::open(self.place(), Sealer::new(&[7; 32]).unwrap()).await.unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Self::Postgres { server, name } = self {
            sql(server, &format!("DROP DATABASE \"{name}\" WITH (FORCE)"));
        }
    }
}

/// One statement on the server, from a thread that drives no tasks.
fn sql(server: &str, text: &str) {
    let (server, text) = (server.to_owned(), text.to_owned());
    let done = std::thread::spawn(move || {
        let mut client = postgres::Client::connect(&server, postgres::NoTls)
            .unwrap_or_else(|error| panic!("no PostgreSQL at {server} ({error}); run scripts/postgres.sh"));
        client.batch_execute(&text).unwrap();
    });
    done.join().expect("the message is above");
}

struct Nothing;

impl IncludeSource for Nothing {
    fn local(&self, _: &str) -> Result<String, FetchError> {
        Err(FetchError::NotFound)
    }

    fn files(&self) -> &[String] {
        &[]
    }

    fn changed_since(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

pub fn compiled(text: &str) -> Pipeline {
    let root = SourceFile { name: ".gitlab-ci.yml".into(), text: text.into() };
    let cx = Context {
        run: RunKind::default(),
        predefined: vec![
            Variable::public("CI_COMMIT_BRANCH", "main"),
            Variable::public("CI_PIPELINE_SOURCE", "push"),
        ],
        ..Context::default()
    };
    let compiled = compile(root, &Nothing, &cx);
    let said: String = compiled.diagnostics.iter().map(|d| render(d, &compiled.sources)).collect();
    compiled.pipeline.unwrap_or_else(|| panic!("{said}"))
}

pub async fn project(store: &Store, path: &str) -> ProjectView {
    store.create_project(NewProject { path: path.into(), ..NewProject::default() }, 1000).await.unwrap()
}

/// A pipeline of the file, for a branch and commit.
pub async fn pipeline_of(
    store: &Store,
    project: i64,
    text: &str,
    git_ref: &str,
    sha: &str,
    now: i64,
) -> PipelineView {
    let config = compiled(text);
    let asks = config
        .jobs
        .iter()
        .map(|job| Asks {
            tags: job.tags.clone(),
            resource_group: job.resource_group.clone(),
            environment: job.environment.as_ref().map(|e| e.name.clone()),
        })
        .collect();
    let new = NewPipeline {
        project,
        iid: store.next_iid(project).await.unwrap(),
        user: None,
        parent: None,
        bridge: None,
        facts: PipelineFacts {
            source: "push".into(),
            commit: CommitFacts { sha: sha.into(), git_ref: git_ref.into(), ..CommitFacts::default() },
            ..PipelineFacts::default()
        },
        title: "A commit".into(),
        variables: Vec::new(),
        config: Some(config),
        asks,
        messages: Vec::new(),
        cancels_older: true,
        pushed: None,
    };
    store.create_pipeline(new, now).await.unwrap()
}

pub async fn pipeline(store: &Store, project: i64, text: &str, now: i64) -> PipelineView {
    pipeline_of(store, project, text, "main", "1111111111111111111111111111111111111111", now).await
}

pub fn runner_with(tags: &[&str]) -> NewRunner {
    NewRunner {
        projects: None,
        description: "test".into(),
        maintenance_note: String::new(),
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        run_untagged: true,
        locked: false,
        protected_only: false,
        maximum_timeout: None,
        paused: false,
        created_by: None,
        token_expires_at: None,
    }
}

/// A runner with all abilities.
pub async fn runner(store: &Store, new: NewRunner) -> Ask {
    let (runner, _) = store.create_runner(new, TokenKind::Runner, 1000).await.unwrap();
    let manager = store.contact(runner.id, "s_1".into(), None, "127.0.0.1".into(), 1000).await.unwrap();
    Ask { runner: runner.id, manager, features: features(), reserve_until: 1_000_000 }
}

pub fn features() -> harrier_api::Features {
    harrier_api::Features {
        two_phase_job_commit: true,
        cancel_gracefully: true,
        fallback_cache_keys: true,
        upload_multiple_artifacts: true,
        artifacts_exclude: true,
        multi_build_steps: true,
        return_exit_code: true,
        ..harrier_api::Features::default()
    }
}

/// `name=status` of the latest jobs, in order.
pub async fn states(store: &Store, pipeline: i64) -> String {
    let jobs = store.jobs(pipeline, false).await.unwrap();
    jobs.iter().map(|j| format!("{}={}", j.name, j.status.word())).collect::<Vec<_>>().join(" ")
}

/// The child pipeline of a bridge.
pub async fn child_of(store: &Store, bridge: &harrier_database::BridgeView, text: &str, now: i64) -> i64 {
    let project = bridge.job.project;
    let config = compiled(text);
    let new = NewPipeline {
        project,
        iid: store.next_iid(project).await.unwrap(),
        user: None,
        parent: Some(bridge.pipeline.id),
        bridge: Some(bridge.job.id),
        facts: bridge.pipeline.facts.clone(),
        title: String::new(),
        variables: Vec::new(),
        asks: vec![Asks::default(); config.jobs.len()],
        config: Some(config),
        messages: Vec::new(),
        cancels_older: false,
        pushed: None,
    };
    store.create_pipeline(new, now).await.unwrap().id
}
