//! The stage `prepare_script` (`executors.md` §3.2): says where the job runs and makes its directories.

use crate::failure::Failure;
use crate::log::Log;
use crate::tree;
use harrier_plan::HelperRequest;

/// Refuses to take files from a project directory that the job has replaced by a link to another place.
pub(crate) fn project_is_in_place(request: &HelperRequest) -> Result<(), Failure> {
    match tree::astray(&request.dirs.builds, &request.dirs.project) {
        None => Ok(()),
        Some(stray) => Err(Failure::Refused {
            what: "the job has put something else in the place of a directory of its project",
            value: stray.display().to_string(),
            remedy: "No files are taken from there; see what the script does with that path",
        }),
    }
}

/// Makes the directories and forgets what an earlier job left for its stages.
pub(crate) fn prepare(request: &HelperRequest, log: &mut Log<'_>) -> Result<(), Failure> {
    let host = nix::unistd::gethostname().unwrap_or_default();
    log.line(format_args!("Running on {}...", host.to_string_lossy()));
    tree::dir(&request.dirs.builds)?;
    for path in [&request.dirs.project, &request.dirs.tmp] {
        while let Some(stray) = tree::astray(&request.dirs.builds, path) {
            log.caution(format_args!(
                "WARNING: {} is no directory, an earlier job has left something else there; it is removed",
                stray.display()
            ));
            tree::remove_file(stray)?;
        }
    }
    if let Some(parent) = request.dirs.project.parent() {
        tree::dir(parent)?;
    }
    tree::private_dir(&request.dirs.tmp, request.dir_mode())?;
    tree::remove_file(&request.dirs.env_file())?;
    tree::remove_file(&request.dirs.tmp.join("masking.db"))
}
