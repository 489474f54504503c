//! Who this program says it is, towards people and servers (`runner-api.md` §1.2, §3.2).
//!
//! Called by every command that talks to a server, and by `--version`.

use crate::version;
use harrier_runner::Program;

/// The name GitLab Runner has on the wire and in job logs.
pub const PROGRAM: &str = "gitlab-runner";

/// The version of GitLab Runner whose behaviour this build has; servers judge a runner by it.
pub const GITLAB_RUNNER_VERSION: &str = "19.4.0";

/// The commit the build was made from, when the build told.
pub fn revision() -> &'static str {
    version::revision().unwrap_or("harrier")
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
        "{PROGRAM} {GITLAB_RUNNER_VERSION} (harrier; {}; {}/{})",
        version::VERSION,
        std::env::consts::OS,
        architecture()
    )
}

/// What `--version` prints.
pub fn version_block() -> String {
    let built = version::commit_date().map_or_else(String::new, |day| format!("Commit date:  {day}\n"));
    format!(
        "Version:      {GITLAB_RUNNER_VERSION} (Harrier {})\n\
         Git revision: {}\n\
         {built}\
         OS/Arch:      {}/{}\n",
        version::VERSION,
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
