//! Where the files that a configuration includes come from: other projects over git, addresses over HTTP(S), templates
//! out of a directory or a git repository (`ci-yaml.md` §7). Called by the local host, and by the coordinator for its
//! address policy. It reads, and keeps copies in a cache directory; it must never ask a person anything, and never
//! reach an address that its policy forbids.

mod address;
mod clone;
mod git;
mod http;
mod projects;
mod templates;
mod waiting;

pub use address::{AddressPolicy, Network, NetworkError};
pub use http::{HttpError, Remotes, permitted};
pub use projects::Base;
pub use reqwest::Url;
pub use templates::Templates;

use git::GitError;
use harrier_pipeline::{FetchError, IncludeSource, ProjectAt};
use projects::Projects;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How included files are to be found.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where other projects are.
    pub base: Option<Base>,
    /// Where templates are.
    pub templates: Option<Templates>,
    /// Copies are kept below this directory; without it they live as long as the source.
    pub cache: Option<PathBuf>,
    /// Which addresses remote files may come from.
    pub policy: AddressPolicy,
    /// Time for all that one configuration includes.
    pub time: Duration,
}

/// A source of included files: the own tree, and what lies elsewhere.
pub struct Includes<'a> {
    tree: &'a dyn IncludeSource,
    heed: &'a dyn Fn(&str),
    projects: Projects,
    remotes: Remotes,
    templates: Option<Templates>,
    cache: CacheDir,
    until: Instant,
}

impl<'a> Includes<'a> {
    /// With `tree` for the files of the project itself. `heed` sees every text that comes from elsewhere. The time
    /// begins now.
    pub fn new(tree: &'a dyn IncludeSource, settings: Settings, heed: &'a dyn Fn(&str)) -> Self {
        let Settings { base, templates, cache, policy, time } = settings;
        Self {
            tree,
            heed,
            projects: Projects::new(base),
            remotes: Remotes::new(policy, cache.clone()),
            templates,
            cache: CacheDir::new(cache),
            until: Instant::now() + time,
        }
    }

    fn heeded(&self, text: Result<String, FetchError>) -> Result<String, FetchError> {
        if let Ok(text) = &text {
            (self.heed)(text);
        }
        text
    }
}

impl IncludeSource for Includes<'_> {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        self.tree.local(path)
    }

    fn files(&self) -> &[String] {
        self.tree.files()
    }

    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String> {
        self.tree.changed_since(git_ref)
    }

    fn commit(&self, project: &str, name: Option<&str>) -> Result<Option<String>, FetchError> {
        self.projects.commit(project, name, &self.cache, self.until)
    }

    fn tags(&self, project: &str) -> Result<Vec<String>, FetchError> {
        self.projects.tags(project, &self.cache, self.until)
    }

    fn file_at(&self, at: &ProjectAt, path: &str) -> Result<String, FetchError> {
        self.heeded(self.projects.file(at, path, &self.cache, self.until))
    }

    fn files_at(&self, at: &ProjectAt) -> Result<Vec<String>, FetchError> {
        self.projects.files(at, &self.cache, self.until)
    }

    fn remote(&self, url: &str, keep: Option<Duration>) -> Result<Vec<u8>, FetchError> {
        let bytes = self.remotes.get(url, keep, self.until)?;
        (self.heed)(&String::from_utf8_lossy(&bytes));
        Ok(bytes)
    }

    fn template(&self, name: &str) -> Result<String, FetchError> {
        match &self.templates {
            Some(templates) => self.heeded(templates.text(name, &self.cache, self.until)),
            None => Err(FetchError::Unsupported(
                "GitLab's templates are not part of Harrier; say where they are with --template-dir DIR or a git \
                 address, for example a clone of gitlab.com/gitlab-org/gitlab"
                    .into(),
            )),
        }
    }

    fn artifact(&self, job: &str, path: &str) -> Result<String, FetchError> {
        self.tree.artifact(job, path)
    }
}

/// Where copies are kept, made when it is first wanted.
pub(crate) struct CacheDir {
    given: Option<PathBuf>,
    passing: std::cell::OnceCell<tempfile::TempDir>,
}

impl CacheDir {
    fn new(given: Option<PathBuf>) -> Self {
        Self { given, passing: std::cell::OnceCell::new() }
    }

    /// The directory; its owner alone can look into it.
    pub(crate) fn path(&self) -> Result<PathBuf, FetchError> {
        let failed = |path: &std::path::Path, why: std::io::Error| {
            FetchError::Failed(format!("{}: {why}", path.display()))
        };
        match &self.given {
            Some(path) => {
                private_dir(path).map_err(|why| failed(path, why))?;
                Ok(path.clone())
            }
            None => {
                if self.passing.get().is_none() {
                    let dir = tempfile::TempDir::with_prefix("harrier-includes")
                        .map_err(|why| failed(&std::env::temp_dir(), why))?;
                    // Nobody else can have set it in between.
                    let _ = self.passing.set(dir);
                }
                Ok(self.passing.get().map(|dir| dir.path().to_owned()).unwrap_or_default())
            }
        }
    }
}

/// A file's bytes, if it was written so recently.
pub(crate) fn read_if_younger(file: &std::path::Path, age: Duration) -> Option<Vec<u8>> {
    let written = file.metadata().ok()?.modified().ok()?;
    let since = std::time::SystemTime::now().duration_since(written).unwrap_or_default();
    if since < age { std::fs::read(file).ok() } else { None }
}

/// Writes a file of mode 0600 in one step.
pub(crate) fn write_whole(
    dir: &std::path::Path,
    file: &std::path::Path,
    bytes: &[u8],
) -> std::io::Result<()> {
    private_dir(dir)?;
    let new = tempfile::NamedTempFile::new_in(dir)?;
    std::fs::write(new.path(), bytes)?;
    new.persist(file)?;
    Ok(())
}

/// Makes a directory of mode 0700 with all above it.
pub(crate) fn private_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What is left of the time.
pub(crate) fn left(until: Instant) -> Result<Duration, FetchError> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(FetchError::Failed(OUT_OF_TIME.into()));
    }
    Ok(left)
}

pub(crate) const OUT_OF_TIME: &str =
    "fetching the included files takes too long; the time for all of them is over";

impl From<GitError> for FetchError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::NotFound => Self::NotFound,
            other @ (GitError::Start(_) | GitError::Failed(_) | GitError::TooLong | GitError::TooBig(_)) => {
                Self::Failed(other.to_string())
            }
        }
    }
}
