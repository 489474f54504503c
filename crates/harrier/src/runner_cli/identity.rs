//! Who this program says it is, towards people and servers (`runner-api.md` §1.2, §3.2).
//!
//! Called by every command that talks to a server, and by `--version`.

use harrier_runner::Program;

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

/// Who the runner host says it is.
pub fn program() -> Program {
    Program {
        name: PROGRAM.to_owned(),
        version: GITLAB_RUNNER_VERSION.to_owned(),
        revision: revision().to_owned(),
        user_agent: user_agent(),
    }
}
