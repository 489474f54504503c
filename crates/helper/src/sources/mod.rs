//! The stage `get_sources` (`executors.md` §4, `runner-api.md` §10): hooks, strategy, checkout, submodules. One
//! chapter a file: configuration files, stale locks, fetching, borrowing from a repository on this machine,
//! checkout, submodules, LFS.

mod borrow;
mod checkout;
mod config_files;
mod fetch;
mod lfs;
mod locks;
mod submodules;

pub(crate) use config_files::{external_config, reject_credential};
pub(crate) use locks::clean as clean_locks;

use crate::env::Environment;
use crate::failure::Failure;
use crate::git::Git;
use crate::hook;
use crate::log::Log;
use crate::tree;
use harrier_plan::{GitStrategy, HelperRequest, Sources};
use std::path::Path;

/// What every chapter needs.
struct Place<'a> {
    sources: &'a Sources,
    request: &'a HelperRequest,
    env: &'a Environment,
    project: &'a Path,
    git: Git<'a>,
}

/// Gets the sources as planned.
pub(crate) fn get(
    sources: &Sources,
    request: &HelperRequest,
    env: &Environment,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    check(sources)?;
    let project = request.dirs.project.as_path();
    let place = Place { sources, request, env, project, git: Git::new(env, project) };
    let with_git = matches!(sources.strategy, GitStrategy::Clone | GitStrategy::Fetch);
    env.write_file_variables()?;
    if with_git {
        if let Some(id) =
            sources.extra_headers.iter().find_map(|h| h.strip_prefix("X-Gitaly-Correlation-ID:"))
        {
            log.notice(format_args!("Gitaly correlation ID: {}", id.trim()));
        }
        for script in &sources.pre {
            hook::run(script, request, env, &request.dirs.builds, log)?;
        }
    }
    if with_git || sources.credential_helper {
        config_files::write(&place)?;
    }
    match sources.strategy {
        GitStrategy::Clone | GitStrategy::Fetch => with_repository(&place, log)?,
        GitStrategy::None => {
            log.notice("Skipping Git repository setup");
            tree::dir(project)?;
            skip_the_rest(log);
        }
        GitStrategy::Empty => {
            log.notice("Skipping Git repository setup and creating an empty build directory");
            tree::empty_dir(project)?;
            skip_the_rest(log);
        }
    }
    for script in &sources.post {
        hook::run(script, request, env, project, log)?;
    }
    if with_git {
        config_files::reject_credential(&place.git, env, &sources.remote_url);
    }
    Ok(())
}

fn skip_the_rest(log: &mut Log<'_>) {
    log.notice("Skipping Git checkout");
    log.notice("Skipping Git submodules setup");
}

fn with_repository(place: &Place<'_>, log: &mut Log<'_>) -> Result<(), Failure> {
    let sources = place.sources;
    if sources.strategy == GitStrategy::Clone {
        tree::empty_dir(place.project)?;
    } else {
        locks::clean(place.project, sources.clean_git_config, sources.submodules.is_some())?;
    }
    let state = fetch::repository(place, log)?;
    if sources.checkout {
        checkout::checkout(place, &state, log)?;
    } else {
        log.notice("Skipping Git checkout");
    }
    match &sources.submodules {
        Some(submodules) => submodules::update(place, submodules, &state, log),
        None => {
            log.notice("Skipping Git submodules setup");
            Ok(())
        }
    }
}

/// Values that git would take for options never reach a command line.
fn check(sources: &Sources) -> Result<(), Failure> {
    let refused = |what, value: &str| Failure::Refused {
        what,
        value: value.to_owned(),
        remedy: "The server sent it: check the project and the server's version",
    };
    if sources.sha.starts_with('-') || sources.sha.is_empty() {
        return Err(refused("not a commit id", &sources.sha));
    }
    for refspec in &sources.refspecs {
        if refspec.starts_with('-') || refspec.is_empty() {
            return Err(refused("not a refspec", refspec));
        }
    }
    if sources.remote_url.contains(['\n', '\0']) {
        return Err(refused("not a repository URL", &sources.remote_url));
    }
    Ok(())
}

/// Stage `clear_worktree` (`executors.md` §4.6): every tracked and untracked file goes. If git cannot do it, the
/// repository is of no use either and goes too.
pub(crate) fn clear_worktree(
    request: &HelperRequest,
    env: &Environment,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    let project = request.dirs.project.as_path();
    if !project.join(".git").exists() {
        return tree::empty_dir(project);
    }
    locks::clean(project, false, false)?;
    let git = Git::new(env, project);
    let cleared = git
        .run(log, &["rm", "-rf", "--ignore-unmatch", "--quiet", "."])
        .and_then(|()| git.run(log, &["clean", "-ffdx", "-q"]));
    match cleared {
        Err(Failure::Child { .. }) => {
            log.warning("git cannot clear the work tree; it is removed and will be made anew");
            tree::empty_dir(project)
        }
        other => other,
    }
}
