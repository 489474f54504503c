//! Which variables of the runner's own environment a job must not see.
//!
//! Called by whoever starts a job's processes, or git. Pure.

/// Read by the command line of this program (`runner-config.md`): they hold its credentials.
const CREDENTIALS: [&str; 11] = [
    "REGISTRATION_TOKEN",
    "CI_SERVER_TOKEN",
    "SENTRY_DSN",
    "KUBERNETES_BEARER_TOKEN",
    "SSH_PASSWORD",
    "CACHE_S3_ACCESS_KEY",
    "CACHE_S3_SECRET_KEY",
    "CACHE_S3_SESSION_TOKEN",
    "CACHE_GCS_ACCESS_ID",
    "CACHE_GCS_PRIVATE_KEY",
    "CACHE_AZURE_ACCOUNT_KEY",
];

/// What git sets for its hooks, from where a runner or a local run may be started: with them git would work in that
/// repository and not in the one of its working directory.
pub const GIT_REPOSITORY_VARIABLES: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
];

/// Whether a variable is the runner's alone: its credentials, and its own settings (`HARRIER_…`). The mark of a job's
/// processes is not: inner processes need it. Everything else of the runner's environment reaches the jobs
/// of the shell executor (`executors.md` §9).
pub fn is_runner_only(name: &str) -> bool {
    CREDENTIALS.contains(&name)
        || GIT_REPOSITORY_VARIABLES.contains(&name)
        || (name.starts_with("HARRIER_") && name != "HARRIER_JOB_MARK")
}

#[cfg(test)]
mod tests {
    use super::is_runner_only;

    #[test]
    fn credentials_stay_here() {
        for name in ["CI_SERVER_TOKEN", "REGISTRATION_TOKEN", "HARRIER_LOG", "GIT_DIR"] {
            assert!(is_runner_only(name), "{name}");
        }
        for name in ["PATH", "CI_SERVER_URL", "HARRIER_JOB_MARK", "HARRIER", "token"] {
            assert!(!is_runner_only(name), "{name}");
        }
    }
}
