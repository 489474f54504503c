//! Making or reusing the repository and fetching into it (`executors.md` §4.2). The repository and its configuration are
//! written directly, as `git init`, `git remote add` and `git config` would: each of those is a process.

use super::{Place, borrow, config_files};
use crate::failure::Failure;
use crate::log::Log;
use crate::tree;
use harrier_plan::GitStrategy;
use std::path::Path;

/// What the checkout can build on.
pub(super) struct Repository {
    /// The work tree was empty and the repository is new: there is nothing to clean.
    pub(super) pristine: bool,
}

/// Makes or reuses the repository and fetches into it.
pub(super) fn repository(place: &Place<'_>, log: &mut Log<'_>) -> Result<Repository, Failure> {
    let sources = place.sources;
    let pristine = tree::is_empty(place.project);
    match sources.depth {
        0 => log.notice("Fetching changes..."),
        depth => log.notice(format_args!("Fetching changes with git depth set to {depth}...")),
    }
    if sources.native_clone && sources.strategy == GitStrategy::Clone && has_native_clone(place)? {
        native_clone(place, log)?;
        return Ok(Repository { pristine: true });
    }
    let fresh = initialise(place, log)?;
    if !borrow::from_neighbour(place)? {
        fetch(place, fresh, log)?;
    }
    Ok(Repository { pristine: pristine && fresh })
}

/// Makes the repository or brings its configuration up to date; whether its origin is new.
fn initialise(place: &Place<'_>, log: &mut Log<'_>) -> Result<bool, Failure> {
    let git = place.project.join(".git");
    tree::dir(place.project)?;
    if is_repository(&git) && (!has_head(&git) || wrong_format(place, &git) || borrow::is_stale(place, &git))
    {
        log.line("The work tree's repository is of no use any more and is made anew");
        tree::remove(&git)?;
    }
    let shown = place.project.join(".git");
    if is_repository(&git) {
        log.line(format_args!("Reinitialized existing Git repository in {}/", shown.display()));
    } else {
        // A `.git` that is a file or link would lead git elsewhere.
        if std::fs::symlink_metadata(&git).is_ok_and(|meta| !meta.is_dir()) {
            tree::remove(&git)?;
        }
        for dir in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            tree::dir(&git.join(dir))?;
        }
        let head = git.join("HEAD");
        std::fs::write(&head, "ref: refs/heads/none\n").map_err(Failure::io("write", &head))?;
        log.line(format_args!("Initialized empty Git repository in {}/", shown.display()));
    }
    let fresh = configure(place, &git)?;
    if fresh {
        log.notice("Created fresh repository.");
    }
    Ok(fresh)
}

fn is_repository(git: &Path) -> bool {
    git.is_dir()
        && git.join("HEAD").is_file()
        && git.join("objects").is_dir()
        && git.join("refs").is_dir()
        && std::fs::symlink_metadata(git).is_ok_and(|meta| meta.is_dir())
}

/// Whether `HEAD` is what git can read: a reference or a commit.
fn has_head(git: &Path) -> bool {
    std::fs::read_to_string(git.join("HEAD")).is_ok_and(|text| {
        let text = text.trim_end();
        text.starts_with("ref: ")
            || (matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

/// git cannot turn a repository of one hash into one of another.
fn wrong_format(place: &Place<'_>, git: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(git.join("config")) else { return false };
    let is_sha256 = text.to_lowercase().lines().any(|line| {
        line.trim()
            .strip_prefix("objectformat")
            .is_some_and(|rest| rest.trim_start().trim_start_matches('=').trim() == "sha256")
    });
    is_sha256 != (place.sources.object_format == "sha256")
}

/// Whether there was no configuration with an origin before.
fn configure(place: &Place<'_>, git: &Path) -> Result<bool, Failure> {
    let path = git.join("config");
    let ours = config_files::repository_text(place)?;
    let write = || std::fs::write(&path, &ours).map_err(Failure::io("write", &path));
    let Ok(found) = std::fs::read_to_string(&path) else {
        write()?;
        return Ok(true);
    };
    if found == ours {
        return Ok(false);
    }
    // A job has changed it (a user name, submodules): only origin and the include are set, the rest stays.
    let url = place.sources.remote_url.as_str();
    let external = config_files::external_config(&place.request.dirs);
    let external = external.to_string_lossy();
    let include = "\\.gitlab-runner\\.ext\\.conf$";
    let set = (has_origin(&found, url)
        || place.git.quietly(&["remote", "set-url", "origin", url], b"")
        || place.git.quietly(&["remote", "add", "origin", url], b""))
        && (found.contains(&format!("path = {external}"))
            || place.git.quietly(&["config", "--replace-all", "include.path", &external, include], b""));
    if !set {
        write()?;
    }
    Ok(false)
}

/// Whether the configuration has exactly this URL for origin, written as git and we write it.
fn has_origin(config: &str, url: &str) -> bool {
    let mut lines = config.lines().skip_while(|line| line.trim() != "[remote \"origin\"]").skip(1);
    let urls: Vec<&str> = lines
        .by_ref()
        .take_while(|line| !line.trim_start().starts_with('['))
        .filter_map(|line| line.trim().strip_prefix("url = "))
        .collect();
    urls == [url] && !lines.any(|line| line.trim() == "[remote \"origin\"]")
}

/// `git fetch`. In a new repository the housekeeping after it is left out: there is nothing to tidy.
fn fetch(place: &Place<'_>, fresh: bool, log: &mut Log<'_>) -> Result<(), Failure> {
    let sources = place.sources;
    let mut command = place.git.command();
    command.arg("-c").arg(format!("http.userAgent={}", place.request.user_agent));
    if let Some(host) = config_files::origin_of(&sources.remote_url).filter(|_| sources.proactive_auth) {
        command.arg("-c").arg(format!("http.{host}.proactiveAuth=basic"));
    }
    if fresh {
        command.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
    }
    command.args(["fetch", "origin", "--no-recurse-submodules"]).args(&sources.refspecs);
    if sources.depth > 0 {
        command.arg("--depth").arg(sources.depth.to_string());
    } else if place.project.join(".git/shallow").exists() {
        command.arg("--unshallow");
    }
    command.args(&sources.fetch_flags);
    place.git.run_command(log, &mut command)
}

/// `git clone --revision` exists from 2.49 on.
fn has_native_clone(place: &Place<'_>) -> Result<bool, Failure> {
    let Some(version) = place.git.output(&["version"])? else { return Ok(false) };
    let text = String::from_utf8_lossy(&version);
    let mut numbers = text
        .split_whitespace()
        .nth(2)
        .unwrap_or_default()
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 49))
}

fn native_clone(place: &Place<'_>, log: &mut Log<'_>) -> Result<(), Failure> {
    let (sources, dirs) = (place.sources, &place.request.dirs);
    let template = dirs.tmp.join("git-template");
    tree::private_dir(&template, place.request.dir_mode())?;
    let config = template.join("config");
    tree::write_private(&config, config_files::template_text(place)?.as_bytes(), 0o644)?;
    let mut command = place.git.command();
    command.arg("-c").arg(format!("http.userAgent={}", place.request.user_agent));
    if let Some(host) = config_files::origin_of(&sources.remote_url).filter(|_| sources.proactive_auth) {
        command.arg("-c").arg(format!("http.{host}.proactiveAuth=basic"));
    }
    // The credentials are needed before there is a repository that includes them.
    command.arg("-c").arg(format!("include.path={}", config_files::external_config(dirs).display()));
    command.args(["clone", "--no-checkout", "--template"]).arg(&template);
    if sources.depth > 0 {
        command.arg("--depth").arg(sources.depth.to_string());
    }
    if sources.git_ref.starts_with("refs/") {
        command.arg(format!("--revision={}", sources.git_ref));
    } else {
        command.arg(format!("--branch={}", sources.git_ref));
    }
    command.args(&sources.clone_flags).arg("--").arg(&sources.remote_url).arg(place.project);
    place.git.run_command(log, &mut command)
}

#[cfg(test)]
mod tests {
    use super::has_origin;

    #[test]
    fn finds_origin_only_when_it_is_exactly_that() {
        let config =
            "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = http://h/p.git\n\tfetch = x\n[user]\n";
        assert!(has_origin(config, "http://h/p.git"));
        assert!(!has_origin(config, "http://h/q.git"));
        assert!(!has_origin(&config.replace("fetch =", "url ="), "http://h/p.git"));
        assert!(!has_origin("[remote \"up\"]\n\turl = http://h/p.git\n", "http://h/p.git"));
        let twice = format!("{config}[remote \"origin\"]\n\turl = http://h/q.git\n");
        assert!(!has_origin(&twice, "http://h/p.git"));
    }
}
