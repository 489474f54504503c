//! Where the job lives (`executors.md` §2.2): project directory, its temporary directory, the project's caches.

use crate::git_url::project_slug;
use crate::{Dirs, Facts, GitStrategy};
use harrier_api::JobPayload;
use harrier_base::short_token;
use harrier_config::RunnerSpec;
use std::path::{Component, Path, PathBuf};

/// Why the directories cannot be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirsError {
    /// Neither the configuration nor the executor names one.
    #[error(
        "the {setting} is not configured: set {setting} in this runner's [[runners]] section of config.toml"
    )]
    Missing {
        /// `builds_dir` or `cache_dir`.
        setting: &'static str,
    },
    /// `GIT_CLONE_PATH` without `custom_build_dir`.
    #[error(
        "setting GIT_CLONE_PATH is not allowed on this runner: enable [runners.custom_build_dir] in its config.toml, \
         or remove the variable from the job"
    )]
    CustomNotAllowed,
    /// `GIT_CLONE_PATH` outside `builds_dir`.
    #[error("the GIT_CLONE_PATH {path:?} has to be within {root:?}: begin it with $CI_BUILDS_DIR")]
    CustomOutside {
        /// The variable's value.
        path: String,
        /// `builds_dir`
        root: String,
    },
}

/// `builds_dir` of this job.
pub(crate) fn builds_dir(spec: &RunnerSpec, facts: &Facts) -> Result<PathBuf, DirsError> {
    spec.builds_dir
        .clone()
        .or_else(|| facts.default_builds_dir.clone())
        .ok_or(DirsError::Missing { setting: "builds_dir" })
}

/// All directories. `clone_path` is `GIT_CLONE_PATH`, expanded.
pub(crate) fn dirs(
    payload: &JobPayload,
    spec: &RunnerSpec,
    facts: &Facts,
    strategy: GitStrategy,
    clone_path: Option<&str>,
) -> Result<Dirs, DirsError> {
    let builds = builds_dir(spec, facts)?;
    let cache_root = spec
        .cache_dir
        .clone()
        .or_else(|| facts.default_cache_dir.clone())
        .ok_or(DirsError::Missing { setting: "cache_dir" })?;
    let slug = slug(payload);
    let mut project = match clone_path {
        Some(path) => {
            if !spec.custom_build_dir.unwrap_or(facts.abilities.custom_build_dir_default) {
                return Err(DirsError::CustomNotAllowed);
            }
            within(&builds, path).ok_or_else(|| DirsError::CustomOutside {
                path: path.to_owned(),
                root: builds.display().to_string(),
            })?
        }
        None if facts.abilities.shared => builds
            .join(short_token(spec.token.expose()))
            .join(facts.concurrent_project_id.to_string())
            .join(&slug),
        None => builds.join(&slug),
    };
    if strategy == GitStrategy::Empty {
        project = with_suffix(&project, "-empty");
    }
    let tmp = with_suffix(&project, ".tmp");
    Ok(Dirs { builds, tmp, project, cache: cache_root.join(slug) })
}

/// The project's path from its remote; a remote on this machine (local runs) says nothing, there the payload's own
/// project path is taken.
fn slug(payload: &JobPayload) -> String {
    let remote = payload.git_info.repo_url.expose();
    project_slug(remote)
        .or_else(|| {
            let local = remote.starts_with('/') || remote.starts_with("file://");
            let path = &payload.job_info.project_full_path;
            if local { project_slug(&format!("file-path://x/{path}")) } else { None }
        })
        .unwrap_or_else(|| format!("project-{}", payload.job_info.project_id))
}

/// `path` cleaned of `.` and `..` if it lies in `root`.
fn within(root: &Path, path: &str) -> Option<PathBuf> {
    let cleaned = clean(Path::new(path))?;
    cleaned.starts_with(clean(root)?).then_some(cleaned)
}

fn clean(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::Normal(_) | Component::Prefix(_) => out.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
        }
    }
    out.is_absolute().then_some(out)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn project(clone_path: Option<&str>, custom: bool, strategy: GitStrategy) -> Result<String, DirsError> {
        let mut spec = samples::spec();
        spec.custom_build_dir = Some(custom);
        dirs(&samples::payload(), &spec, &samples::facts(), strategy, clone_path)
            .map(|d| d.project.display().to_string())
    }

    #[test]
    fn executors_2_2_shared_and_private_build_dirs() {
        let mut facts = samples::facts();
        let payload = samples::payload();
        let shared = dirs(&payload, &samples::spec(), &facts, GitStrategy::Fetch, None).expect("dirs");
        assert_eq!(shared.project, Path::new("/b/aBcDeFgHi/3/birds/kestrel"));
        assert_eq!(shared.tmp, Path::new("/b/aBcDeFgHi/3/birds/kestrel.tmp"));
        assert_eq!(shared.cache, Path::new("/c/birds/kestrel"));
        facts.abilities.shared = false;
        let private = dirs(&payload, &samples::spec(), &facts, GitStrategy::Empty, None).expect("dirs");
        assert_eq!(private.project, Path::new("/b/birds/kestrel-empty"));
        assert_eq!(private.tmp, Path::new("/b/birds/kestrel-empty.tmp"));
    }

    #[test]
    fn executors_2_2_unusable_url_gives_the_project_id() {
        let mut payload = samples::payload();
        for (url, path) in [
            ("https://h.test/../x.git", "project-12"),
            ("/home/me/snapshot", "birds/kestrel"),
            ("file:///home/me/snapshot", "birds/kestrel"),
        ] {
            payload.git_info.repo_url = harrier_base::Secret::new(url);
            let got =
                dirs(&payload, &samples::spec(), &samples::facts(), GitStrategy::Fetch, None).expect(url);
            assert_eq!(got.project, Path::new("/b/aBcDeFgHi/3").join(path));
        }
    }

    #[test]
    fn executors_2_2_git_clone_path() {
        let fetch = GitStrategy::Fetch;
        assert_eq!(project(Some("/b/x/y"), true, fetch), Ok("/b/x/y".into()));
        assert_eq!(project(Some("/b/x/../y/."), true, fetch), Ok("/b/y".into()));
        assert_eq!(project(Some("/b/x"), true, GitStrategy::Empty), Ok("/b/x-empty".into()));
        assert_eq!(project(Some("/b/x"), false, fetch), Err(DirsError::CustomNotAllowed));
        for outside in ["/b/../etc", "/elsewhere", "relative", "/bb"] {
            assert!(
                matches!(project(Some(outside), true, fetch), Err(DirsError::CustomOutside { .. })),
                "{outside}"
            );
        }
    }

    #[test]
    fn executors_2_2_missing_dirs_are_configuration_errors() {
        let mut facts = samples::facts();
        let mut spec = samples::spec();
        spec.cache_dir = None;
        facts.default_cache_dir = None;
        let got = dirs(&samples::payload(), &spec, &facts, GitStrategy::Fetch, None);
        assert_eq!(got.err(), Some(DirsError::Missing { setting: "cache_dir" }));
        spec.builds_dir = None;
        facts.default_builds_dir = None;
        let got = dirs(&samples::payload(), &spec, &facts, GitStrategy::Fetch, None);
        assert_eq!(got.err(), Some(DirsError::Missing { setting: "builds_dir" }));
    }
}
