//! The decided job: plain data that can be written to disk, so that another process can go on with it.

use crate::{Op, StageName, StagePlan};
use harrier_base::{Secret, Variables, exposed};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// All that is needed to carry out one job and to report it. It holds secrets and has no `Debug`; its JSON
/// form goes only into the job's own directory (mode 0600) and into the helper's standard input.
#[derive(Clone, Serialize, Deserialize)]
pub struct JobPlan {
    /// Who the job is.
    pub job: JobIdentity,
    /// Which runner has it.
    pub runner: RunnerLabel,
    /// How the server is reached for updates, traces and artifacts.
    pub server: ServerAccess,
    /// `bash` or `sh`.
    pub shell: Shell,
    /// Where the job lives.
    pub dirs: Dirs,
    /// The job's environment: each key once, expanded; file variables hold their content.
    pub variables: Variables,
    /// Lines for the top of the log, in order, after "Running with" and "on": feature flags, policy, warnings.
    pub header: Vec<HeaderLine>,
    /// Set when the job must be refused before anything runs (`runner-api.md` §3.8).
    pub refusal: Option<Refusal>,
    /// `prepare_script`.
    pub prepare: StagePlan,
    /// `get_sources`.
    pub get_sources: StagePlan,
    /// `clear_worktree`, before the second attempt of `get_sources`.
    pub clear_worktree: StagePlan,
    /// `restore_cache`, if there is one.
    pub restore_cache: Option<StagePlan>,
    /// `download_artifacts`, if there are some.
    pub download_artifacts: Option<StagePlan>,
    /// `step_script`, `step_release`, …
    pub steps: Vec<StagePlan>,
    /// `after_script`, if there is one.
    pub after_script: Option<StagePlan>,
    /// `archive_cache` or `archive_cache_on_failure`.
    pub archive_cache: ByResult,
    /// `upload_artifacts_on_success` or `upload_artifacts_on_failure`.
    pub upload_artifacts: ByResult,
    /// `cleanup_file_variables`.
    pub cleanup: StagePlan,
    /// Time limits.
    pub limits: Limits,
    /// `AFTER_SCRIPT_IGNORE_ERRORS` (default true).
    pub after_script_ignore_errors: bool,
    /// `CI_DEBUG_TRACE` or `CI_DEBUG_SERVICES` is on: the server restricts who may read the log.
    pub debug_trace: bool,
    /// How the log is made.
    pub log: LogPlan,
    /// Failure reasons the server understands.
    pub failure_reasons: Vec<String>,
    /// For executors that run jobs in containers.
    #[serde(default)]
    pub containers: Option<crate::Containers>,
}

/// Who the job is.
#[derive(Clone, Serialize, Deserialize)]
pub struct JobIdentity {
    /// Job id.
    pub id: i64,
    /// Job token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// Name.
    pub name: String,
    /// Stage.
    pub stage: String,
    /// Project id.
    pub project_id: i64,
    /// `group/project`.
    pub project_path: String,
    /// Pipeline id, 0 if the server does not say.
    pub pipeline_id: i64,
    /// Id of the job request, sent to git as `X-Gitaly-Correlation-ID`.
    pub correlation_id: String,
}

/// Which runner has the job, for the first lines of the log and for names.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct RunnerLabel {
    /// Program name and version as the log shows them, e.g. `gitlab-runner 19.4.0 (abc)`.
    pub program: String,
    /// `User-Agent` of the helper's requests and of git's, e.g. `gitlab-runner 19.4.0 linux/amd64`.
    pub user_agent: String,
    /// `name` of the entry.
    pub name: String,
    /// Short token.
    pub short_token: String,
    /// System id.
    pub system_id: String,
    /// Executor name.
    pub executor: String,
    /// `CI_CONCURRENT_ID`.
    pub concurrent_id: u32,
    /// `CI_CONCURRENT_PROJECT_ID`.
    pub concurrent_project_id: u32,
}

/// How a server is reached.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAccess {
    /// `url` of the entry, without `/ci` and trailing `/`.
    pub url: String,
    /// PEM file with the CA.
    pub tls_ca_file: Option<PathBuf>,
    /// PEM file with the client certificate.
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with the client key.
    pub tls_key_file: Option<PathBuf>,
}

/// Script flavour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shell {
    /// bash
    Bash,
    /// Any POSIX shell.
    Sh,
}

impl Shell {
    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Sh => "sh",
        }
    }
}

/// Directories in the job's file system, absolute (`executors.md` §2.2, §2.3).
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Dirs {
    /// `builds_dir`.
    pub builds: PathBuf,
    /// `CI_PROJECT_DIR`.
    pub project: PathBuf,
    /// `<project>.tmp`.
    pub tmp: PathBuf,
    /// Cache archives of this project.
    pub cache: PathBuf,
}

impl Dirs {
    /// Where the value of file variable `key` stands.
    pub fn file_variable(&self, key: &str) -> PathBuf {
        self.tmp.join(key)
    }

    /// `GITLAB_ENV`.
    pub fn env_file(&self) -> PathBuf {
        self.tmp.join("gitlab_runner_env")
    }
}

/// A line for the top of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeaderLine {
    /// Said as it is.
    Info(String),
    /// Said in yellow with `WARNING: ` before it.
    Warning(String),
}

/// Why a job is not even started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For the log.
    pub message: String,
    /// For the server.
    pub reason: harrier_base::FailureReason,
    /// For the server; 3 for a payload the runner does not understand.
    pub exit_code: Option<i32>,
}

/// A stage that depends on how the job went.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct ByResult {
    /// After success.
    pub success: Option<StagePlan>,
    /// After failure.
    pub failure: Option<StagePlan>,
}

/// Time limits (`executors.md` §7.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// The whole job.
    pub job: Duration,
    /// `RUNNER_SCRIPT_TIMEOUT`.
    pub script: Option<Duration>,
    /// `RUNNER_AFTER_SCRIPT_TIMEOUT`, 5 min by default.
    pub after_script: Duration,
    /// `prepare_timeout`.
    pub prepare: Option<Duration>,
    /// `get_sources_timeout`, retries included.
    pub get_sources: Option<Duration>,
    /// From SIGTERM to SIGKILL; 10 min by default.
    pub graceful_kill: Duration,
    /// From SIGKILL to giving up; 10 s by default.
    pub force_kill: Duration,
}

/// How the log is made (`runner-api.md` §15).
#[derive(Clone, Serialize, Deserialize)]
pub struct LogPlan {
    /// Values to hide.
    #[serde(with = "exposed_list")]
    pub masks: Vec<Secret>,
    /// Token prefixes after which the token is hidden; already de-duplicated, sorted and cut to 15.
    pub token_prefixes: Vec<String>,
    /// `FF_TIMESTAMPS`.
    pub timestamps: bool,
    /// Bytes; `output_limit` × 1024.
    pub limit: u64,
    /// `features.trace_sections`.
    pub sections: bool,
}

/// What a helper, in whatever place it runs, needs to carry out the operations of one stage. It is read from
/// standard input as JSON: it holds secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct HelperRequest {
    /// Which stage.
    pub stage: StageName,
    /// In order; the first that fails ends the stage.
    pub ops: Vec<Op>,
    /// The job's environment, as in [`JobPlan::variables`].
    pub variables: Variables,
    /// Directories.
    pub dirs: Dirs,
    /// For artifacts.
    pub server: ServerAccess,
    /// Job id, for artifacts.
    pub job_id: i64,
    /// Job token, for artifacts.
    #[serde(with = "exposed")]
    pub job_token: Secret,
    /// For hooks.
    pub shell: Shell,
    /// `User-Agent` of its requests and of git's.
    pub user_agent: String,
    /// The job's user may be another one than the helper's (`executors.md` §10.10): what is private between jobs is
    /// so by the container's walls, not by file modes.
    #[serde(default)]
    pub open_to_all: bool,
}

impl HelperRequest {
    /// Mode of the job's temporary directories.
    pub fn dir_mode(&self) -> u32 {
        if self.open_to_all { 0o777 } else { 0o700 }
    }

    /// Mode of file variables and of git's temporary configuration.
    pub fn file_mode(&self) -> u32 {
        if self.open_to_all { 0o666 } else { harrier_base::FILE_MODE }
    }
}

impl JobPlan {
    /// The request for one helper stage.
    pub fn helper_request(&self, stage: &StagePlan) -> HelperRequest {
        HelperRequest {
            stage: stage.name.clone(),
            ops: stage.ops.clone(),
            variables: self.variables.clone(),
            dirs: self.dirs.clone(),
            server: self.server.clone(),
            job_id: self.job.id,
            job_token: self.job.token.clone(),
            shell: self.shell,
            user_agent: self.runner.user_agent.clone(),
            open_to_all: self.containers.as_ref().is_some_and(|containers| !containers.keep_umask),
        }
    }
}

mod exposed_list {
    use harrier_base::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(list: &[Secret], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(Secret::expose))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
        Ok(Vec::<String>::deserialize(from)?.into_iter().map(Secret::new).collect())
    }
}
