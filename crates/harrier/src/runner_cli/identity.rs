//! Who this program says it is, towards people and servers (`runner-api.md` §1.2, §3.2).
//!
//! Called by every command that talks to a server, and by `--version`.

use harrier_api::{Features, Info};

/// The name GitLab Runner has on the wire and in job logs.
pub const PROGRAM: &str = "gitlab-runner";

/// The version of GitLab Runner whose behaviour this build has; servers judge a runner by it.
pub const GITLAB_RUNNER_VERSION: &str = "19.4.0";

/// Harrier's own version.
pub const HARRIER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit the build was made from, when the build told.
pub fn revision() -> &'static str {
    option_env!("HARRIER_REVISION").unwrap_or("harrier")
}

/// Go's name of this processor.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// `User-Agent` of every request.
pub fn user_agent() -> String {
    format!(
        "{PROGRAM} {GITLAB_RUNNER_VERSION} (harrier; {HARRIER_VERSION}; {}/{})",
        std::env::consts::OS,
        architecture()
    )
}

/// What `--version` prints.
pub fn version_block() -> String {
    format!(
        "Version:      {GITLAB_RUNNER_VERSION} (Harrier {HARRIER_VERSION})\n\
         Git revision: {}\n\
         OS/Arch:      {}/{}\n",
        revision(),
        std::env::consts::OS,
        architecture()
    )
}

/// `info` of register and verify: what every runner of this build can do, whatever its executor.
pub fn info() -> Info {
    Info {
        name: PROGRAM.to_owned(),
        version: GITLAB_RUNNER_VERSION.to_owned(),
        revision: revision().to_owned(),
        platform: std::env::consts::OS.to_owned(),
        architecture: architecture().to_owned(),
        features: Features {
            trace_reset: true,
            trace_checksum: true,
            trace_size: true,
            cancelable: true,
            cancel_gracefully: true,
            two_phase_job_commit: true,
            ..Features::default()
        },
        ..Info::default()
    }
}
