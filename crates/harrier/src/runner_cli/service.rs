//! The commands of GitLab Runner this build does not have: each is known, so that the answer can say what to do.
//!
//! Called by the dispatch.

use super::error::CliError;

/// Takes whatever is given.
#[derive(clap::Args)]
pub struct Anything {
    /// Flags of the command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    given: Vec<String>,
}

/// The answer to a service command.
pub fn refuse_service(command: &str, _args: &Anything) -> CliError {
    CliError::Refused(format!(
        "this build of Harrier does not manage services, so `{command}` does nothing; start `gitlab-runner run \
         --working-directory DIR --config FILE` from a unit of your service manager (systemd: ExecStart=, \
         Restart=always, KillSignal=SIGQUIT) and use its own {command}"
    ))
}

/// The answer to another command.
pub fn refuse_other(command: &str, _args: &Anything) -> CliError {
    CliError::Refused(format!("this build of Harrier has no `{command}` command"))
}

/// The answer to the local runs of old.
pub fn refuse_exec(_args: &Anything) -> CliError {
    CliError::Refused("`exec` is gone from GitLab Runner; `harrier run` runs the pipeline locally".to_owned())
}
