//! The checked specs: what the rest of Harrier sees of `config.toml`. Every value is resolved: defaults filled
//! in, durations parsed, directories absolute.

use crate::DockerSpec;
use harrier_base::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The global section (`runner-config.md` §4).
#[derive(Clone)]
pub struct HostSpec {
    /// Most jobs at a time over all runners, at least 1.
    pub concurrent: u32,
    /// How often an empty queue is asked.
    pub check_interval: Duration,
    /// `log_level`
    pub log_level: Option<String>,
    /// `log_format`
    pub log_format: Option<String>,
    /// Most age of a kept connection; `None` is no limit.
    pub connection_max_age: Option<Duration>,
    /// Limit of a forceful shutdown.
    pub shutdown_timeout: Duration,
    /// Metrics server.
    pub listen_address: Option<String>,
    /// Web terminals; `None`: off.
    pub session_server: Option<SessionServerSpec>,
    /// The runners, in file order.
    pub runners: Vec<RunnerSpec>,
}

/// `[session_server]` (`runner-config.md` §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionServerSpec {
    /// `host:port`
    pub listen_address: String,
    /// `host:port` that servers are told.
    pub advertise_address: String,
    /// How long an open terminal may hold a job that is over.
    pub session_timeout: Duration,
}

/// One `[[runners]]` entry (`runner-config.md` §5).
#[derive(Clone)]
pub struct RunnerSpec {
    /// `name`
    pub name: String,
    /// Base address without trailing `/` and `/ci`.
    pub url: String,
    /// `id`, if known.
    pub id: Option<i64>,
    /// Authentication token; an entry with an empty one is skipped while polling.
    pub token: Secret,
    /// When the token was obtained, Unix seconds.
    pub token_obtained_at: Option<i64>,
    /// When it ends, Unix seconds; `None` is never.
    pub token_expires_at: Option<i64>,
    /// PEM
    pub tls_ca_file: Option<PathBuf>,
    /// PEM
    pub tls_cert_file: Option<PathBuf>,
    /// PEM
    pub tls_key_file: Option<PathBuf>,
    /// Most jobs at a time of this entry; 0 is no limit.
    pub limit: u32,
    /// Bytes of log kept.
    pub output_limit: u64,
    /// Most job requests at a time, at least 1.
    pub request_concurrency: u32,
    /// Never ask again at once after a job.
    pub strict_check_interval: bool,
    /// Failed requests in a row until the entry is put to sleep.
    pub unhealthy_requests_limit: u32,
    /// How long it sleeps.
    pub unhealthy_interval: Duration,
    /// Most tries to report the final state.
    pub final_update_retry_limit: u32,
    /// Labels, the global ones merged in.
    pub labels: BTreeMap<String, String>,
    /// Executor and its section.
    pub executor: ExecutorSpec,
    /// `builds_dir`; `None`: the executor's default.
    pub builds_dir: Option<PathBuf>,
    /// `cache_dir`; `None`: the executor's default.
    pub cache_dir: Option<PathBuf>,
    /// `clone_url`
    pub clone_url: Option<String>,
    /// `environment`, split.
    pub environment: Vec<(String, String)>,
    /// `shell`; `None`: the executor's default.
    pub shell: Option<String>,
    /// `pre_get_sources_script`
    pub pre_get_sources_script: Option<String>,
    /// `post_get_sources_script`
    pub post_get_sources_script: Option<String>,
    /// `pre_build_script`
    pub pre_build_script: Option<String>,
    /// `post_build_script`
    pub post_build_script: Option<String>,
    /// `prepare_timeout`
    pub prepare_timeout: Option<Duration>,
    /// `get_sources_timeout`
    pub get_sources_timeout: Option<Duration>,
    /// `debug_trace_disabled`
    pub debug_trace_disabled: bool,
    /// `safe_directory_checkout`; `None`: the executor's default.
    pub safe_directory_checkout: Option<bool>,
    /// `clean_git_config`; `None`: the executor's default.
    pub clean_git_config: Option<bool>,
    /// `[runners.custom_build_dir] enabled`; `None`: the executor's default.
    pub custom_build_dir: Option<bool>,
    /// `[runners.artifact] upload_timeout`
    pub artifact_upload_timeout: Duration,
    /// `[runners.artifact] response_header_timeout`
    pub artifact_response_header_timeout: Duration,
    /// `[runners.feature_flags]`
    pub feature_flags: BTreeMap<String, bool>,
    /// `graceful_kill_timeout`; 10 min by default.
    pub graceful_kill_timeout: Duration,
    /// `force_kill_timeout`; 10 s by default.
    pub force_kill_timeout: Duration,
}

/// Which executor, with its own checked section.
#[derive(Clone)]
pub enum ExecutorSpec {
    /// Jobs run as children of the runner.
    Shell,
    /// Jobs run in containers of a Docker Engine.
    Docker(Box<DockerSpec>),
    /// An executor this build of Harrier does not have; the entry is refused with this name.
    Unsupported(String),
}

impl ExecutorSpec {
    /// Every executor of GitLab Runner (`runner-config.md` §5.2).
    pub const NAMES: [&str; 11] = [
        "shell",
        "docker",
        "docker-windows",
        "docker+machine",
        "docker-autoscaler",
        "instance",
        "kubernetes",
        "ssh",
        "custom",
        "parallels",
        "virtualbox",
    ];

    /// The name in `config.toml`.
    pub fn name(&self) -> &str {
        match self {
            Self::Shell => "shell",
            Self::Docker(_) => "docker",
            Self::Unsupported(name) => name,
        }
    }
}
