//! Submodules (`executors.md` §4.4): init, sync, clean, update, with one more try after a failure.

use super::fetch::Repository;
use super::{Place, config_files, lfs};
use crate::failure::Failure;
use crate::log::Log;
use harrier_plan::Submodules;

/// Brings the submodules to the commits of the work tree.
pub(super) fn update(
    place: &Place<'_>,
    submodules: &Submodules,
    repository: &Repository,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    let how = if submodules.recursive { " recursively" } else { "" };
    match submodules.depth {
        0 => log.notice(format_args!("Updating/initializing submodules{how}...")),
        depth => {
            log.notice(format_args!("Updating/initializing submodules{how} with git depth set to {depth}..."))
        }
    }
    let work = Work { place, submodules };
    work.git(log, &["init"], true)?;
    work.sync(log)?;
    if !repository.pristine {
        work.clean(log)?;
        work.reset(log)?;
    }
    match work.update(log) {
        Ok(()) => work.sync(log)?,
        Err(Failure::Child { .. }) => {
            log.caution("Updating submodules failed. Retrying...");
            if submodules.update_flags.iter().any(|flag| flag == "--remote") {
                let heads = "+refs/heads/*:refs/remotes/origin/*";
                work.foreach(log, &["git", "fetch", "origin", heads], true)?;
            }
            work.sync(log)?;
            work.update(log)?;
            work.reset(log)?;
        }
        Err(other) => return Err(other),
    }
    if !repository.pristine {
        work.clean(log)?;
    }
    config_files::include_in_submodules(place)?;
    if !place.sources.lfs_skip_smudge {
        lfs::pull_in_submodules(place, submodules.recursive, log)?;
    }
    Ok(())
}

struct Work<'a> {
    place: &'a Place<'a>,
    submodules: &'a Submodules,
}

impl Work<'_> {
    /// `git submodule <args>`, behind it the paths if wanted.
    fn git(&self, log: &mut Log<'_>, args: &[&str], paths: bool) -> Result<(), Failure> {
        let external = config_files::external_config(&self.place.request.dirs);
        let mut command = self.place.git.command();
        command
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .arg("-c")
            .arg(format!("include.path={}", external.display()))
            .arg("-c")
            .arg(format!("http.userAgent={}", self.place.request.user_agent))
            .arg("submodule")
            .args(args);
        if paths && !self.submodules.paths.is_empty() {
            command.arg("--").args(&self.submodules.paths);
        }
        self.place.git.run_command(log, &mut command)
    }

    fn foreach(&self, log: &mut Log<'_>, what: &[&str], recursive: bool) -> Result<(), Failure> {
        let mut args = vec!["foreach"];
        args.extend(recursive.then_some("--recursive"));
        args.extend(what);
        self.git(log, &args, false)
    }

    fn sync(&self, log: &mut Log<'_>) -> Result<(), Failure> {
        let mut args = vec!["sync"];
        args.extend(self.submodules.recursive.then_some("--recursive"));
        self.git(log, &args, true)
    }

    fn clean(&self, log: &mut Log<'_>) -> Result<(), Failure> {
        let Some(flags) = &self.place.sources.clean_flags else { return Ok(()) };
        let mut what = vec!["git", "clean"];
        what.extend(flags.iter().map(String::as_str));
        self.foreach(log, &what, self.submodules.recursive)
    }

    fn reset(&self, log: &mut Log<'_>) -> Result<(), Failure> {
        self.foreach(log, &["git", "reset", "--hard"], self.submodules.recursive)
    }

    fn update(&self, log: &mut Log<'_>) -> Result<(), Failure> {
        let depth = self.submodules.depth.to_string();
        let mut args = vec!["update", "--init"];
        args.extend(self.submodules.recursive.then_some("--recursive"));
        if self.submodules.depth > 0 {
            args.extend(["--depth", &depth]);
        }
        args.extend(self.submodules.update_flags.iter().map(String::as_str));
        self.git(log, &args, true)
    }
}
