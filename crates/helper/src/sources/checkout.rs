//! The checkout of the job's commit and the cleaning of the work tree (`executors.md` §4.3).

use super::fetch::Repository;
use super::{Place, lfs};
use crate::failure::Failure;
use crate::log::Log;

/// Checks out, cleans, and brings in the large files.
pub(super) fn checkout(place: &Place<'_>, repository: &Repository, log: &mut Log<'_>) -> Result<(), Failure> {
    let sources = place.sources;
    let short: String = sources.sha.chars().take(8).collect();
    log.notice(format_args!("Checking out {short} as detached HEAD (ref is {})...", sources.git_ref));
    let mut command = place.git.command();
    command.env("GIT_LFS_SKIP_SMUDGE", "1").args([
        "-c",
        "submodule.recurse=false",
        "checkout",
        "-f",
        "-q",
        &sources.sha,
    ]);
    place.git.run_command(log, &mut command)?;
    if let Some(flags) = sources.clean_flags.as_ref().filter(|_| !repository.pristine) {
        let mut args = vec!["clean".to_owned()];
        args.extend(flags.iter().cloned());
        place.git.run(log, &args)?;
    }
    if !sources.lfs_skip_smudge {
        lfs::pull(place, log)?;
    }
    Ok(())
}
