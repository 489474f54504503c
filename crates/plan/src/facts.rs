//! What [`crate::plan_job`] is told of the world around it: the program, its place among the runners, the executor's
//! defaults. The hosts fill it in; planning itself looks at nothing.

use crate::Shell;
use harrier_base::Secret;
use std::path::PathBuf;

/// Facts of the host, the same for every job but for the two concurrency ids and the correlation id.
#[derive(Clone)]
pub struct Facts {
    /// Program name as the log and user agents show it, e.g. `gitlab-runner`.
    pub program: String,
    /// `CI_RUNNER_VERSION`
    pub version: String,
    /// `CI_RUNNER_REVISION`
    pub revision: String,
    /// System id of the runner (`runner-api.md` §2.8).
    pub system_id: String,
    /// `CI_CONCURRENT_ID`
    pub concurrent_id: u32,
    /// `CI_CONCURRENT_PROJECT_ID`
    pub concurrent_project_id: u32,
    /// `builds_dir` when the configuration names none, absolute; `None`: the executor has no default.
    pub default_builds_dir: Option<PathBuf>,
    /// `cache_dir` when the configuration names none, absolute; `None`: the executor has no default.
    pub default_cache_dir: Option<PathBuf>,
    /// `<os>/<arch>` in Go's names, e.g. `linux/amd64`.
    pub os_arch: String,
    /// The executor's part.
    pub abilities: ExecutorTraits,
    /// Id of the job request (`X-Request-Id` of the answer); empty if there is none.
    pub correlation_id: String,
    /// PEM text of the server's CA, for `CI_SERVER_TLS_CA_FILE`.
    pub tls_ca: Option<String>,
    /// PEM text of the client certificate, for `CI_SERVER_TLS_CERT_FILE`.
    pub tls_cert: Option<String>,
    /// PEM text of the client key, for `CI_SERVER_TLS_KEY_FILE`.
    pub tls_key: Option<Secret>,
}

/// Executor defaults that planning needs (`executors.md` §1.6, §2.2; `runner-config.md` §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorTraits {
    /// Name in `config.toml`.
    pub name: String,
    /// The shell of jobs when the configuration names none.
    pub shell: Shell,
    /// Jobs share their environment: `CI_SHARED_ENVIRONMENT`, and build directories with the runner's token.
    pub shared: bool,
    /// `GIT_CLONE_PATH` is allowed unless the configuration says otherwise.
    pub custom_build_dir_default: bool,
    /// `safe_directory_checkout` unless the configuration says otherwise.
    pub safe_directory_default: bool,
    /// `clean_git_config` unless the configuration says otherwise.
    pub clean_git_config_default: bool,
}

impl ExecutorTraits {
    /// The shell executor's (`executors.md` §9).
    pub fn shell_executor() -> Self {
        Self {
            name: "shell".into(),
            shell: Shell::Bash,
            shared: true,
            custom_build_dir_default: false,
            safe_directory_default: false,
            clean_git_config_default: false,
        }
    }

    /// The docker executor's (`executors.md` §2.2, §10).
    pub fn docker_executor() -> Self {
        Self {
            name: "docker".into(),
            shell: Shell::Bash,
            shared: false,
            custom_build_dir_default: true,
            safe_directory_default: true,
            clean_git_config_default: true,
        }
    }
}
