//! The stage `prepare_script` (`executors.md` §3.2): says where the job runs and makes its directories.

use crate::failure::Failure;
use crate::log::Log;
use crate::tree;
use harrier_plan::HelperRequest;

/// Makes the directories and forgets what an earlier job left for its stages.
pub(crate) fn prepare(request: &HelperRequest, log: &mut Log<'_>) -> Result<(), Failure> {
    let host = nix::unistd::gethostname().unwrap_or_default();
    log.line(format_args!("Running on {}...", host.to_string_lossy()));
    tree::dir(&request.dirs.builds)?;
    if let Some(parent) = request.dirs.project.parent() {
        tree::dir(parent)?;
    }
    tree::private_dir(&request.dirs.tmp, request.dir_mode())?;
    tree::remove_file(&request.dirs.env_file())?;
    tree::remove_file(&request.dirs.tmp.join("masking.db"))
}
