//! A local run from the question to the answer: repository, snapshot and configuration are made ready here, then the
//! jobs are conducted. Called by the `harrier` binary.

use crate::conduct::{Conduct, Interrupt, Payloads};
use crate::events::{Ended, Event, JobName, Started};
use crate::git::GitError;
use crate::handing_out::HandingOut;
use crate::includes::IncludeOptions;
use crate::kept::kept_jobs;
use crate::one_job::{self, JobError, Road};
use crate::predefined::{self, Program};
use crate::remembered::Remembered;
use crate::repository::{GitFacts, Repository, RepositoryError};
use crate::selection::Chosen;
use crate::snapshot::{self, Snapshot, SnapshotError};
use crate::state::{State, StateError};
use crate::ways::{Executors, PlaceError, Ways};
use crate::work_tree::WorkTree;
use harrier_base::Variable;
use harrier_engine::SweepError;
use harrier_includes::Includes;
use harrier_pipeline::{Compiled, Context, GivenInput, IncludeSource, RunKind, SourceFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What is wanted.
#[derive(Clone, Default)]
pub struct Request {
    /// Where one stands.
    pub from: PathBuf,
    /// The configuration, relative to the root of the repository.
    pub file: String,
    /// Variables of the run, the highest rank.
    pub variables: Vec<Variable>,
    /// Values for the inputs of the configuration.
    pub inputs: Vec<GivenInput>,
    /// Where included files are.
    pub includes: IncludeOptions,
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
            other @ (StateError::Io { .. } | StateError::Removed { .. } | StateError::Store(_)) => {
                Self::State(other)
            }
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
    /// Jobs cannot run where they shall.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// The repository and its compiled configuration.
pub struct Local {
    /// Where.
    pub repository: Repository,
    /// What git knows.
    pub facts: GitFacts,
    /// The configuration; it may have errors.
    pub compiled: Compiled,
    pub(crate) request: Request,
}

impl Local {
    /// Asks git and compiles the configuration; writes nothing.
    pub fn prepare(request: &Request) -> Result<Self, PrepareError> {
        Self::compile(Repository::discover(&request.from)?, request, 1)
    }

    /// As [`Local::prepare`], and takes the snapshot meanwhile.
    pub fn prepare_to_run(request: &Request) -> Result<Ready, PrepareError> {
        let repository = Repository::discover(&request.from)?;
        let state = State::open(&repository.root)?;
        let number = state.take_numbers(1)?;
        let (staged, local) = std::thread::scope(|scope| {
            let staged = scope.spawn(|| snapshot::stage(&repository, &state.snapshot()));
            let local = Self::compile(repository.clone(), request, number);
            (staged.join(), local)
        });
        let local = local?;
        let staged = staged.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let snapshot = staged.commit(&local.repository, &local.facts)?;
        Ok(Ready { local, state, snapshot, number })
    }

    fn compile(repository: Repository, request: &Request, number: i64) -> Result<Self, PrepareError> {
        let facts = repository.facts()?;
        let compiled = {
            let tree = WorkTree::new(&repository, &facts);
            let source = configuration(&tree, &repository.root, request)?;
            compile(&tree, &repository.root, &facts, source, request, number)?
        };
        Ok(Self { repository, facts, compiled, request: request.clone() })
    }
}

/// The root file of a configuration.
pub(crate) fn configuration(
    tree: &WorkTree<'_>,
    root: &Path,
    request: &Request,
) -> Result<SourceFile, PrepareError> {
    let file = request.file.trim_start_matches("./");
    let text = tree.local(file).map_err(|error| match error {
        harrier_pipeline::FetchError::NotFound => {
            PrepareError::NoConfiguration { file: request.file.clone(), root: root.to_owned() }
        }
        other @ (harrier_pipeline::FetchError::Unsupported(_) | harrier_pipeline::FetchError::Failed(_)) => {
            PrepareError::Configuration { file: request.file.clone(), message: other.to_string() }
        }
    })?;
    Ok(SourceFile { name: file.to_owned(), text })
}

/// Compiles a configuration for what git knows; what changed is asked only when a file wants to know.
pub(crate) fn compile(
    tree: &WorkTree<'_>,
    root: &Path,
    facts: &GitFacts,
    source: SourceFile,
    request: &Request,
    number: i64,
) -> Result<Compiled, GitError> {
    let pipeline = predefined::pipeline_facts(root, facts, request, number, String::new(), None);
    let mut context = Context {
        run: RunKind {
            source: "push".into(),
            git_ref: facts.head.ref_name().to_owned(),
            tag: facts.head.tag().is_some(),
            merge_request: false,
            project_path: pipeline.project.path.clone(),
        },
        predefined: [
            harrier_pipeline::predefined::pipeline_variables(&pipeline),
            harrier_pipeline::predefined::user_variables(&pipeline.user),
        ]
        .concat(),
        project: Vec::new(),
        pipeline: request.variables.clone(),
        changes: None,
        protected_ref: pipeline.commit.protected,
        inputs: request.inputs.clone(),
    };
    let heed = |text: &str| tree.heed(text);
    let fetched = Includes::new(tree, request.includes.settings(facts), &heed);
    let fetched: &dyn IncludeSource = &fetched;
    let remembered = tree.memory().map(|memory| Remembered { source: fetched, tree, memory });
    let includes = remembered.as_ref().map_or(fetched, |remembered| remembered);
    let knew = tree.mentions_changes();
    if knew {
        context.changes = tree.changes()?;
    }
    let mut compiled = harrier_pipeline::compile(source.clone(), includes, &context);
    // The word may stand in an included file only, which is known once it was included.
    if !knew && tree.mentions_changes() {
        context.changes = tree.changes()?;
        compiled = harrier_pipeline::compile(source, includes, &context);
    }
    match tree.fault() {
        Some(fault) => Err(fault),
        None => Ok(compiled),
    }
}

/// Between two looks at the size of what is in the engine, which cost it some work.
const TIDY_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What the rim gives to a run.
pub struct RunWith {
    /// Where jobs run.
    pub executors: Executors,
    /// The binary that is started again as supervisor and helper.
    pub own_binary: PathBuf,
    /// For the first line of the logs.
    pub program: Program,
    /// Most jobs at a time.
    pub concurrency: u32,
    /// Hears what happens.
    pub events: mpsc::Sender<Event>,
    /// How long the places of failed jobs are kept, if they are.
    pub keep: Option<Duration>,
}

/// All that a run needs but the choice of jobs.
pub struct Ready {
    /// The configuration.
    pub local: Local,
    state: State,
    snapshot: Snapshot,
    number: i64,
}

impl Ready {
    /// Runs the chosen jobs. Jobs that fail are no error. Nothing of a job runs when this returns.
    pub async fn run(
        self,
        chosen: Chosen,
        with: RunWith,
        interrupts: watch::Receiver<Interrupt>,
    ) -> Result<Ended, RunError> {
        let Self { local, state, snapshot, number } = self;
        let RunWith { executors, own_binary, program, concurrency, events, keep } = with;
        let ways = Ways::new(&local.repository, &state, executors, &program);
        let notice = ways.look(&chosen.pipeline).await?;
        one_job::clear_left(&ways, &state, &own_binary).await?;
        state.forget_logs()?;
        let sha = local.facts.commit.as_ref().map_or(snapshot.sha.as_str(), |commit| commit.sha.as_str());
        let jobs = chosen.pipeline.jobs.iter();
        let started = Started {
            pipeline: number,
            git_ref: local.facts.head.ref_name().to_owned(),
            sha: sha.to_owned(),
            dirty: snapshot.dirty,
            jobs: jobs
                .map(|job| JobName { name: job.name.clone(), stage: job.stage.clone(), bridge: None })
                .collect(),
        };
        let state = Arc::new(state);
        let handing_out = HandingOut::new(&local, &chosen, Arc::clone(&state), snapshot, number);
        // A view that is gone has its own way of ending the run.
        let _ = events.send(Event::Started(started)).await;
        if let Some(notice) = notice {
            let _ = events.send(Event::Notice(notice)).await;
        }
        let docker = ways.docker();
        let (tidier, tidied) = (Arc::clone(&docker.executor), docker.spec.clone());
        let road = Road { ways, own_binary, state: Arc::clone(&state), events: events.clone(), keep };
        let taken = kept_jobs(&local.repository.root).iter().map(|kept| kept.slot).collect();
        let payloads: Arc<dyn Payloads> = handing_out.clone();
        let ended = Conduct::new(road, payloads, chosen, concurrency, &taken).run(interrupts).await;
        handing_out.remember()?;
        let ended = ended?;
        if let Err(error) = tidier.tidy(state.jobs(), &tidied, TIDY_EVERY).await {
            tracing::warn!(%error, "no room can be made among the caches");
        }
        // As above.
        let _ = events.send(Event::Ended(ended.clone())).await;
        Ok(ended)
    }
}

/// Removes all that earlier runs have left: what is in an engine first, whose things could not be found any more after. Returns
/// the directory that is gone.
pub async fn clean(
    repository: &Repository,
    state: State,
    executors: Executors,
    program: &Program,
) -> Result<PathBuf, CleanError> {
    let ways = Ways::new(repository, &state, executors, program);
    let docker = ways.docker();
    docker.executor.wipe(state.jobs(), &docker.spec).await?;
    Ok(state.clean()?)
}

/// Something is still there.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// In the engine.
    #[error(
        "what the jobs of this repository have in the container engine cannot be removed, so .harrier/ stays: {0}"
    )]
    Engine(#[from] SweepError),
    /// In the file system.
    #[error(transparent)]
    State(#[from] StateError),
}
