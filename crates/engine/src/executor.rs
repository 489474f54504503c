//! What an executor must do. The order of calls on a session is `open (start wait)* close`; between `start` and `wait` the
//! ticket and the stage are in the journal, so that another process can `reopen` and wait in its place.

use async_trait::async_trait;
use harrier_api::Features;
use harrier_base::FailureReason;
use harrier_config::RunnerSpec;
use harrier_plan::{ExecutorTraits, JobPlan, Shell, StagePlan};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::{Door, Stop};

/// What an executor can do; asked once, advertised to servers.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// Name in `config.toml`.
    pub name: &'static str,
    /// The shell of jobs when the configuration names none.
    pub shell: Shell,
    /// `features` of the job request.
    pub features: Features,
    /// `CI_SHARED_ENVIRONMENT`, and build directories with the runner's token in them.
    pub shared: bool,
    /// Builds and caches when the configuration names no directories; `None`: below the working directory of the
    /// host.
    pub own_dirs: Option<(&'static str, &'static str)>,
    /// Each job has a file system of its own: any clone path is allowed, git trusts the work tree, and its configuration
    /// is cleaned (`runner-config.md` §5.2).
    pub isolated: bool,
}

impl Abilities {
    /// The features of every executor that runs jobs by shell text with our helper beside it (`executors.md` §1.6); an
    /// executor adds its own.
    pub fn shell_features() -> Features {
        Features {
            variables: true,
            artifacts: true,
            cache: true,
            fallback_cache_keys: true,
            upload_multiple_artifacts: true,
            upload_raw_artifacts: true,
            artifacts_exclude: true,
            refspecs: true,
            multi_build_steps: true,
            return_exit_code: true,
            masking: true,
            raw_variables: true,
            ..Features::default()
        }
    }

    /// For planning.
    pub fn traits(&self) -> ExecutorTraits {
        ExecutorTraits {
            name: self.name.to_owned(),
            shell: self.shell,
            shared: self.shared,
            custom_build_dir_default: self.isolated,
            safe_directory_default: self.isolated,
            clean_git_config_default: self.isolated,
        }
    }
}

/// Where and for whom a session works.
pub struct OpenCx<'a> {
    /// The job's directory in the runner's state (journal, raw log, claims).
    pub job_dir: &'a Path,
    /// The raw log; whoever runs a stage appends frames to it.
    pub raw_log: &'a Path,
    /// The binary that can be started again as supervisor and helper.
    pub own_binary: &'a Path,
    /// The job must not outlive this process (local runs).
    pub die_with_parent: bool,
}

/// One way to run jobs.
#[async_trait]
pub trait Executor: Send + Sync {
    /// What it can do.
    fn abilities(&self) -> &Abilities;

    /// Makes the place for a job. Not called twice for the same job directory. The returned note lines are
    /// shown in the log, e.g. "Using Shell (bash) executor...".
    async fn open(&self, job: &JobPlan, cx: &OpenCx<'_>) -> Result<Box<dyn Session>, OpenError>;

    /// Takes over a session that another process of this runner had opened.
    async fn reopen(
        &self,
        job: &JobPlan,
        ticket: &SessionTicket,
        cx: &OpenCx<'_>,
    ) -> Result<Box<dyn Session>, OpenError>;

    /// Whether the place where this entry's jobs would run answers; the error says what to do. An executor whose jobs run
    /// beside the host always says yes.
    async fn answers(&self, _entry: &RunnerSpec) -> Result<(), OpenError> {
        Ok(())
    }

    /// Removes all that the jobs of the state directory `state` have left, running or not, caches too. Returns how
    /// many things there were.
    async fn wipe(&self, _state: &Path, _entry: &RunnerSpec) -> Result<usize, SweepError> {
        Ok(0)
    }

    /// Removes the caches of this entry's jobs that were used longest ago, when all are larger than they may be; unless
    /// that was looked at less than `every` ago. Returns how many things went.
    async fn tidy(&self, _state: &Path, _entry: &RunnerSpec, _every: Duration) -> Result<usize, SweepError> {
        Ok(0)
    }

    /// Removes what jobs that are gone have left where this entry's jobs run. A job is alive while its directory in the
    /// state directory `state` is there. Called at the start and every few minutes; an executor whose jobs
    /// leave nothing has nothing to do.
    async fn sweep(&self, _state: &Path, _entry: &RunnerSpec) -> Result<usize, SweepError> {
        Ok(0)
    }

    /// The host ends: gives back what the executor keeps for jobs to come. Those that go on are left alone.
    async fn retire(&self) {}
}

/// Something of jobs that are gone is still there, or it cannot be seen whether it is.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SweepError {
    /// What happened and what to do.
    pub message: String,
}

/// What another process needs to go on with a session; kept in the journal. Holds no secrets.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SessionTicket(pub serde_json::Value);

/// A stage to start.
pub struct StageStart<'a> {
    /// Unique within the job and the same after a restart, e.g. `7-step_script`; safe as a file name.
    pub key: &'a str,
    /// What to do.
    pub stage: &'a StagePlan,
    /// `CI_JOB_STATUS` for it: `running`, or the result for `after_script`.
    pub job_status: &'a str,
}

/// The place of one job.
#[async_trait]
pub trait Session: Send + Sync {
    /// Lines for the log that say what was made ready.
    fn notes(&self) -> Vec<String>;

    /// What a later process needs to go on.
    fn ticket(&self) -> SessionTicket;

    /// Starts a stage; its output goes to the raw log.
    async fn start(&mut self, start: StageStart<'_>) -> Result<Box<dyn Running>, StartError>;

    /// Finds a stage that an earlier process of this runner had journalled as starting.
    async fn resume(&mut self, start: StageStart<'_>) -> Result<Resumed, StartError>;

    /// The way into the job's place for a person with a terminal; `None`: there is none.
    fn door(&self) -> Option<Arc<dyn Door>> {
        None
    }

    /// No stage comes any more, but a visitor is still there: the place stays fit for one for `time`.
    async fn linger(&mut self, _time: Duration) -> Result<(), CloseError> {
        Ok(())
    }

    /// Ends the session: nothing of the job runs or lies about afterwards but what the executor keeps on
    /// purpose. Runs on the runner's time, with `grace` as its budget.
    async fn close(self: Box<Self>, grace: Duration) -> Result<(), CloseError>;

    /// As [`Session::close`], but a person can go on in the place for `time`: what holds the job's files and its
    /// services stays. A later `reopen` and `close` gives it back.
    async fn keep(self: Box<Self>, time: Duration, grace: Duration) -> Result<(), CloseError>;
}

/// What became of a stage that an earlier process had started.
pub enum Resumed {
    /// It never began and never will: start it anew.
    NeverStarted,
    /// It still runs.
    Running(Box<dyn Running>),
    /// It ended.
    Ended(Exit),
}

/// A stage that runs.
#[async_trait]
pub trait Running: Send {
    /// Waits for its end. When `stop` is pulled for a reason the stage must obey (the caller decides by handing in the
    /// right stop), it is told to stop, then killed, by `ladder`; the exit is still returned. The future may be
    /// dropped and `wait` called again.
    async fn wait(&mut self, stop: &Stop, ladder: Ladder) -> Result<Exit, WaitError>;
}

/// How long a stage may take to stop.
#[derive(Clone, Copy, Debug)]
pub struct Ladder {
    /// From SIGTERM to SIGKILL.
    pub graceful: Duration,
    /// From SIGKILL to giving up.
    pub force: Duration,
}

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exit {
    /// 0 is success; -1 for a death by signal outside containers.
    pub code: i32,
    /// What the log says of it: `exit status 1`, `signal: killed`, `exit code 1`.
    pub text: String,
}

impl Exit {
    /// Whether it went well.
    pub fn ok(&self) -> bool {
        self.code == 0
    }
}

/// A session could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct OpenError {
    /// What happened and what to do.
    pub message: String,
    /// `None`: nobody knows, try again (three times in all); `Some`: final, with this reason.
    pub reason: Option<FailureReason>,
}

/// A stage could not be started; the machine's fault.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// What happened and what to do.
    pub message: String,
    /// Why, for the server.
    pub reason: FailureReason,
}

/// A running stage was lost.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct WaitError {
    /// What happened and what to do.
    pub message: String,
    /// Why, for the server.
    pub reason: FailureReason,
}

/// Something of the job is still there.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", list(left))]
pub struct CloseError {
    /// What happened.
    pub message: String,
    /// What is left.
    pub left: Vec<PathBuf>,
}

fn list(left: &[PathBuf]) -> String {
    let names: Vec<String> = left.iter().map(|path| path.display().to_string()).collect();
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}
