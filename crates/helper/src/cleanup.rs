//! The stage `cleanup_file_variables` (`executors.md` §4.6): what the job must not leave behind. It goes on after a
//! failure, so that one stubborn file does not keep the others.

use crate::env::{self, Environment};
use crate::failure::Failure;
use crate::git::Git;
use crate::log::Log;
use crate::{sources, tree};
use harrier_plan::{Cleanup, HelperRequest, ProjectCleanup};

/// Removes temporary files and file variables and cleans the project directory as planned.
pub(crate) fn cleanup(
    cleanup: &Cleanup,
    request: &HelperRequest,
    environment: &Environment,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    let dirs = &request.dirs;
    let project = dirs.project.as_path();
    let mut first = Ok(());
    let mut keep = |result: Result<(), Failure>| {
        if first.is_ok() {
            first = result;
        }
    };
    if project.is_dir() {
        sources::reject_credential(&Git::new(environment, project), environment, &request.server.url);
    }
    let mut files = env::file_variable_paths(&dirs.tmp, &cleanup.file_variables);
    files.insert(dirs.env_file());
    files.insert(sources::external_config(dirs));
    for name in ["masking.db", "gitlab_runner_cache_env", ".glr.gconf"] {
        files.insert(dirs.tmp.join(name));
    }
    for file in &files {
        keep(tree::remove_file(file));
    }
    keep(tree::remove(&dirs.tmp.join("git-template")));
    // Goes only if it is empty: a job may have put something of its own there.
    let _ = std::fs::remove_dir(&dirs.tmp);
    match &cleanup.project {
        ProjectCleanup::Keep => {}
        ProjectCleanup::Delete => keep(tree::remove(project)),
        ProjectCleanup::Reset { clean_flags, submodules } => {
            if project.join(".git").is_dir() {
                keep(reset(&Git::new(environment, project), clean_flags, *submodules, log));
            }
        }
    }
    keep(sources::clean_locks(project, cleanup.clean_git_config, true));
    first
}

fn reset(git: &Git<'_>, clean_flags: &[String], submodules: bool, log: &mut Log<'_>) -> Result<(), Failure> {
    let mut clean = vec!["clean"];
    clean.extend(clean_flags.iter().map(String::as_str));
    git.run(log, &clean)?;
    git.run(log, &["reset", "--hard"])?;
    if submodules {
        let mut each = vec!["submodule", "foreach", "--recursive", "git"];
        each.extend(&clean);
        git.run(log, &each)?;
        git.run(log, &["submodule", "foreach", "--recursive", "git", "reset", "--hard"])?;
    }
    Ok(())
}
