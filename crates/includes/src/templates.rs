//! The templates that come with a GitLab server (`ci-yaml.md` §7.1). Harrier has none: they are found in a directory, or
//! in a git repository such as GitLab's own.

use crate::CacheDir;
use crate::clone::Clone as GitClone;
use crate::projects::plain_file;
use harrier_pipeline::FetchError;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where templates are; at the root, or where GitLab's repository has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Templates {
    /// In a directory.
    Directory(PathBuf),
    /// At the head of a git repository.
    Git(String),
}

/// Below the root of GitLab's repository.
const IN_GITLAB: &str = "lib/gitlab/ci/templates/";

impl Templates {
    /// As given by a person: a directory, or the address of a git repository.
    pub fn parse(text: &str, from: &Path) -> Result<Self, String> {
        let directory = from.join(text);
        if directory.is_dir() {
            return Ok(Self::Directory(directory));
        }
        let scp = text.split_once(':').is_some_and(|(host, path)| !host.contains('/') && !path.is_empty());
        if text.contains("://") || scp {
            return Ok(Self::Git(text.to_owned()));
        }
        Err(format!("{text} is no directory and no address of a git repository"))
    }

    /// The text of a template. Copies of a git repository are kept below `cache`.
    pub fn read(&self, name: &str, cache: Option<PathBuf>, until: Instant) -> Result<String, FetchError> {
        self.text(name, &CacheDir::new(cache), until)
    }

    pub(crate) fn text(&self, name: &str, cache: &CacheDir, until: Instant) -> Result<String, FetchError> {
        let places = [name.to_owned(), format!("{IN_GITLAB}{name}")];
        match self {
            Self::Directory(dir) => first(&places, |path| plain_file(dir, path)),
            Self::Git(url) => {
                let clone = GitClone::new(url.clone());
                let failed = |error| match error {
                    FetchError::NotFound => {
                        FetchError::Failed("the git repository of the templates cannot be found".into())
                    }
                    other @ (FetchError::Unsupported(_) | FetchError::Failed(_)) => other,
                };
                let sha = clone.commit(None, cache, until).map_err(failed)?;
                let sha = sha.ok_or_else(|| {
                    FetchError::Failed("the git repository of the templates has no commit".into())
                })?;
                first(&places, |path| clone.file(&sha, path, cache, until))
            }
        }
    }
}

fn first(places: &[String], read: impl Fn(&str) -> Result<String, FetchError>) -> Result<String, FetchError> {
    let mut last = Err(FetchError::NotFound);
    for place in places {
        last = read(place);
        if last != Err(FetchError::NotFound) {
            break;
        }
    }
    last
}
