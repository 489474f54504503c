//! What the command line gives the runner host.

use harrier_api::{Features, Info, InfoConfig};
use harrier_config::{HostSpec, RunnerSpec};
use harrier_engine::{Abilities, Executor};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Who we are towards servers and in job logs.
#[derive(Clone, Debug)]
pub struct Program {
    /// `gitlab-runner`
    pub name: String,
    /// Version of GitLab Runner whose behaviour this is.
    pub version: String,
    /// Commit.
    pub revision: String,
    /// `User-Agent` of API requests (`runner-api.md` §1.2).
    pub user_agent: String,
}

/// Where the runners come from.
#[derive(Clone)]
pub enum Source {
    /// A `config.toml`, watched for changes.
    File(PathBuf),
    /// `run-single`: one runner, one job at a time.
    Single {
        /// The runner.
        runner: Box<RunnerSpec>,
        /// End after so many jobs; 0 is no limit.
        max_builds: u32,
        /// End when no job came for so long since the start or the last job.
        wait_timeout: Option<Duration>,
        /// The machine's id towards servers.
        system_id: String,
        /// Limit of a forceful shutdown.
        shutdown_timeout: Duration,
    },
}

/// Is shown every configuration that comes into force.
pub type OnConfig = Arc<dyn Fn(&HostSpec) + Send + Sync>;

/// How many lines this process has written to its log, for the metrics; whoever writes the log counts.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Warnings.
    pub warnings: AtomicU64,
    /// Errors.
    pub errors: AtomicU64,
}

/// All the host needs to know.
#[derive(Clone)]
pub struct HostOptions {
    /// The runners.
    pub source: Source,
    /// Who we are.
    pub program: Program,
    /// What can run jobs; an entry's `executor` is looked up by [`Abilities::name`].
    pub executors: Vec<Arc<dyn Executor>>,
    /// The binary that is started again as supervisor and helper.
    pub own_binary: PathBuf,
    /// Names this start of the machine.
    pub boot_id: String,
    /// Where jobs are kept so that a later process can take them up; see [`state_dir`].
    pub state_dir: PathBuf,
    /// `builds` and `cache` below it are the directories of entries that name none.
    pub working_directory: PathBuf,
    /// `--listen-address`
    pub listen_address: Option<String>,
    /// Called with the configuration at the start and after each reload, e.g. to set the log's level.
    pub on_config: Option<OnConfig>,
    /// Lines of the log by level.
    pub log_counts: Arc<LogCounts>,
}

/// The state directory for a `config.toml`: `chosen` (`HARRIER_STATE_DIR`), else `.harrier` beside the file.
pub fn state_dir(config: &Path, chosen: Option<PathBuf>) -> PathBuf {
    chosen.unwrap_or_else(|| config.parent().unwrap_or(Path::new(".")).join(".harrier"))
}

/// `info` for an entry (`runner-api.md` §3.2); `None` for requests that do not know the executor yet. Only what is
/// there is advertised.
pub fn runner_info(program: &Program, spec: Option<(&RunnerSpec, &Abilities)>) -> Info {
    let Some((spec, abilities)) = spec else { return info(program, Features::default()) };
    let own = spec.shell.as_deref().filter(|shell| !shell.is_empty());
    Info {
        labels: spec.labels.clone(),
        ..executor_info(program, abilities, own.unwrap_or(abilities.shell.program()))
    }
}

/// As [`runner_info`] when only the executor and the shell are known.
pub(crate) fn executor_info(program: &Program, abilities: &Abilities, shell: &str) -> Info {
    Info { executor: abilities.name.to_owned(), shell: shell.to_owned(), ..info(program, abilities.features) }
}

fn info(program: &Program, executor: Features) -> Info {
    Info {
        name: program.name.clone(),
        version: program.version.clone(),
        revision: program.revision.clone(),
        platform: platform().to_owned(),
        architecture: architecture().to_owned(),
        features: Features {
            trace_reset: true,
            trace_checksum: true,
            trace_size: true,
            cancelable: true,
            cancel_gracefully: true,
            two_phase_job_commit: true,
            ..executor
        },
        config: InfoConfig::default(),
        ..Info::default()
    }
}

/// Go's name of this system.
pub(crate) fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

/// Go's name of this machine's processor.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
