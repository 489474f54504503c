//! A local run from the question to the answer: repository, snapshot and configuration are made ready here, then the
//! jobs are conducted. Called by the `harrier` binary.

use crate::conduct::{Conduct, Interrupt, Payloads};
use crate::events::{Ended, Event, JobName, Started};
use crate::git::GitError;
use crate::handing_out::HandingOut;
use crate::one_job::{JobError, Road};
use crate::predefined;
use crate::repository::{GitFacts, Repository, RepositoryError};
use crate::selection::Chosen;
use crate::snapshot::{self, Snapshot, SnapshotError};
use crate::state::{State, StateError};
use crate::work_tree::WorkTree;
use harrier_base::{Clock, SystemClock, Variable};
use harrier_engine::Executor;
use harrier_pipeline::{Compiled, Context, IncludeSource, RunKind, SourceFile};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// What is wanted.
#[derive(Clone)]
pub struct Request {
    /// Where one stands.
    pub from: PathBuf,
    /// The configuration, relative to the root of the repository.
    pub file: String,
    /// Variables of the run, the highest rank.
    pub variables: Vec<Variable>,
}

/// Nothing can be run.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// There is no repository; bad usage.
    #[error(transparent)]
    Repository(RepositoryError),
    /// Another run is at work; bad usage.
    #[error("{0}")]
    Taken(String),
    /// There is no configuration.
    #[error(
        "there is no {file} in {}; write one (docs.gitlab.com/ci has the language), or name another with --file",
        root.display()
    )]
    NoConfiguration {
        /// As asked for.
        file: String,
        /// Of the repository.
        root: PathBuf,
    },
    /// The configuration cannot be read.
    #[error("{file}: {message}")]
    Configuration {
        /// As asked for.
        file: String,
        /// Why.
        message: String,
    },
    /// The work tree cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// `.harrier/` cannot be used.
    #[error(transparent)]
    State(StateError),
    /// git had no answer.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl From<RepositoryError> for PrepareError {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Git(error) => Self::Git(error),
            other @ (RepositoryError::None { .. }
            | RepositoryError::Bare { .. }
            | RepositoryError::Read { .. }) => Self::Repository(other),
        }
    }
}

impl From<StateError> for PrepareError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Taken { .. } => Self::Taken(error.to_string()),
            other @ (StateError::Io { .. } | StateError::Store(_)) => Self::State(other),
        }
    }
}

/// A run failed by a fault of Harrier or the machine.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `.harrier/` cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A job could not be carried out.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// The repository and its compiled configuration.
pub struct Local {
    /// Where.
    pub repository: Repository,
    /// What git knows.
    pub facts: GitFacts,
    /// The configuration; it may have errors.
    pub compiled: Compiled,
    request: Request,
}

impl Local {
    /// Asks git and compiles the configuration; writes nothing.
    pub fn prepare(request: &Request) -> Result<Self, PrepareError> {
        Self::compile(Repository::discover(&request.from)?, request)
    }

    /// As [`Local::prepare`], and takes the snapshot meanwhile.
    pub fn prepare_to_run(request: &Request) -> Result<Ready, PrepareError> {
        let repository = Repository::discover(&request.from)?;
        let state = State::open(&repository.root)?;
        let (staged, local) = std::thread::scope(|scope| {
            let staged = scope.spawn(|| snapshot::stage(&repository, &state.snapshot()));
            let local = Self::compile(repository.clone(), request);
            (staged.join(), local)
        });
        let local = local?;
        let staged = staged.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let snapshot = staged.commit(&local.repository, &local.facts)?;
        Ok(Ready { local, state, snapshot })
    }

    fn compile(repository: Repository, request: &Request) -> Result<Self, PrepareError> {
        let facts = repository.facts()?;
        let (compiled, fault) = {
            let tree = WorkTree::new(&repository, &facts);
            let file = request.file.trim_start_matches("./");
            let text = tree.local(file).map_err(|error| match error {
                harrier_pipeline::FetchError::NotFound => PrepareError::NoConfiguration {
                    file: request.file.clone(),
                    root: repository.root.clone(),
                },
                other @ (harrier_pipeline::FetchError::Unsupported(_)
                | harrier_pipeline::FetchError::Failed(_)) => {
                    PrepareError::Configuration { file: request.file.clone(), message: other.to_string() }
                }
            })?;
            let project = predefined::project(&repository, &facts);
            let mut context = Context {
                run: RunKind {
                    source: "push".into(),
                    git_ref: facts.head.ref_name().to_owned(),
                    tag: facts.head.tag().is_some(),
                    project_path: project.path.clone(),
                },
                predefined: predefined::variables(&project, &facts, &request.file),
                project: Vec::new(),
                pipeline: request.variables.clone(),
                changes: None,
            };
            let source = SourceFile { name: file.to_owned(), text };
            let knew = tree.mentions_changes();
            if knew {
                context.changes = tree.changes()?;
            }
            let mut compiled = harrier_pipeline::compile(source.clone(), &context, &tree);
            // The word may stand in an included file only, which is known once it was included.
            if !knew && tree.mentions_changes() {
                context.changes = tree.changes()?;
                compiled = harrier_pipeline::compile(source, &context, &tree);
            }
            (compiled, tree.fault())
        };
        match fault {
            Some(fault) => Err(fault.into()),
            None => Ok(Self { repository, facts, compiled, request: request.clone() }),
        }
    }
}

/// All that a run needs but the choice of jobs.
pub struct Ready {
    /// The configuration.
    pub local: Local,
    state: State,
    snapshot: Snapshot,
}

impl Ready {
    /// Runs the chosen jobs, at most `concurrency` at a time, and tells `events` what happens. Jobs that fail are no
    /// error. Nothing of a job runs when this returns.
    pub async fn run(
        self,
        chosen: Chosen,
        executor: Arc<dyn Executor>,
        own_binary: PathBuf,
        concurrency: u32,
        events: mpsc::Sender<Event>,
        interrupts: watch::Receiver<Interrupt>,
    ) -> Result<Ended, RunError> {
        let Self { local, state, snapshot } = self;
        state.forget_left_jobs()?;
        state.forget_logs()?;
        let pipeline_number = state.take_numbers(1)?;
        let sha = local.facts.commit.as_ref().map_or(snapshot.sha.as_str(), |commit| commit.sha.as_str());
        let jobs = chosen.pipeline.jobs.iter();
        let started = Started {
            pipeline: pipeline_number,
            git_ref: local.facts.head.ref_name().to_owned(),
            sha: sha.to_owned(),
            dirty: snapshot.dirty,
            jobs: jobs.map(|job| JobName { name: job.name.clone(), stage: job.stage.clone() }).collect(),
        };
        let state = Arc::new(state);
        let created = SystemClock.now();
        let handing_out =
            Arc::new(HandingOut::new(&local, &chosen, Arc::clone(&state), &snapshot, pipeline_number, created));
        // A view that is gone has its own way of ending the run.
        let _ = events.send(Event::Started(started)).await;
        let road = Road {
            facts: predefined::host_facts(executor.abilities()),
            spec: predefined::runner(&state, executor.abilities()),
            executor,
            own_binary,
            state: Arc::clone(&state),
            events: events.clone(),
        };
        let payloads: Arc<dyn Payloads> = handing_out.clone();
        let ended = Conduct::new(road, payloads, chosen, concurrency).run(interrupts).await;
        handing_out.remember()?;
        let ended = ended?;
        // As above.
        let _ = events.send(Event::Ended(ended.clone())).await;
        Ok(ended)
    }
}
