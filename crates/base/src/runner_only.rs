//! Which variables of the runner's own environment a job must not see.

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

/// Whether a variable is the runner's alone: its credentials, and its own settings (`HARRIER_…`). The mark of a job's
/// processes is not: inner processes need it. Everything else of the runner's environment reaches the jobs
/// of the shell executor (`executors.md` §9).
pub fn is_runner_only(name: &str) -> bool {
    CREDENTIALS.contains(&name) || (name.starts_with("HARRIER_") && name != "HARRIER_JOB_MARK")
}

#[cfg(test)]
mod tests {
    use super::is_runner_only;

    #[test]
    fn credentials_stay_here() {
        for name in ["CI_SERVER_TOKEN", "REGISTRATION_TOKEN", "HARRIER_LOG"] {
            assert!(is_runner_only(name), "{name}");
        }
        for name in ["PATH", "CI_SERVER_URL", "HARRIER_JOB_MARK", "HARRIER", "token"] {
            assert!(!is_runner_only(name), "{name}");
        }
    }
}
