//! Files from elsewhere, fetched once: an editor compiles at every pause of typing, and no server wants to be asked that often.
//! Used by [`crate::inspect`] when it is given a [`Memory`]. Files of the repository itself are never remembered.

use crate::work_tree::WorkTree;
use harrier_pipeline::{FetchError, IncludeSource, ProjectAt};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

type Kept<K, V> = Mutex<HashMap<K, Result<V, FetchError>>>;

/// What was fetched, faults too, until it is dropped.
#[derive(Default)]
pub struct Memory {
    commits: Kept<(String, Option<String>), Option<String>>,
    tags: Kept<String, Vec<String>>,
    files: Kept<(ProjectAt, String), String>,
    lists: Kept<ProjectAt, Vec<String>>,
    remotes: Kept<String, Vec<u8>>,
    templates: Kept<String, String>,
}

fn ask<K: Eq + Hash, V: Clone>(
    kept: &Kept<K, V>,
    key: K,
    fetch: impl FnOnce() -> Result<V, FetchError>,
) -> Result<V, FetchError> {
    // A map of answers is whole after a panic too.
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.entry(key).or_insert_with(fetch).clone()
}

/// A source behind a memory.
pub(crate) struct Remembered<'a> {
    pub source: &'a dyn IncludeSource,
    pub tree: &'a WorkTree<'a>,
    pub memory: &'a Memory,
}

impl Remembered<'_> {
    fn heeded(&self, text: Result<String, FetchError>) -> Result<String, FetchError> {
        if let Ok(text) = &text {
            self.tree.heed(text);
        }
        text
    }
}

impl IncludeSource for Remembered<'_> {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        self.source.local(path)
    }

    fn files(&self) -> &[String] {
        self.source.files()
    }

    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String> {
        self.source.changed_since(git_ref)
    }

    fn commit(&self, project: &str, name: Option<&str>) -> Result<Option<String>, FetchError> {
        let key = (project.to_owned(), name.map(str::to_owned));
        ask(&self.memory.commits, key, || self.source.commit(project, name))
    }

    fn tags(&self, project: &str) -> Result<Vec<String>, FetchError> {
        ask(&self.memory.tags, project.to_owned(), || self.source.tags(project))
    }

    fn file_at(&self, at: &ProjectAt, path: &str) -> Result<String, FetchError> {
        let key = (at.clone(), path.to_owned());
        self.heeded(ask(&self.memory.files, key, || self.source.file_at(at, path)))
    }

    fn files_at(&self, at: &ProjectAt) -> Result<Vec<String>, FetchError> {
        ask(&self.memory.lists, at.clone(), || self.source.files_at(at))
    }

    fn remote(&self, url: &str, keep: Option<Duration>) -> Result<Vec<u8>, FetchError> {
        let bytes = ask(&self.memory.remotes, url.to_owned(), || self.source.remote(url, keep));
        if let Ok(bytes) = &bytes {
            self.tree.heed(&String::from_utf8_lossy(bytes));
        }
        bytes
    }

    fn template(&self, name: &str) -> Result<String, FetchError> {
        self.heeded(ask(&self.memory.templates, name.to_owned(), || self.source.template(name)))
    }

    fn artifact(&self, job: &str, path: &str) -> Result<String, FetchError> {
        self.source.artifact(job, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn one_question_one_fetch() {
        let kept: Kept<u8, u8> = Kept::default();
        let asked = Cell::new(0);
        let fetch = |answer: Result<u8, FetchError>| {
            asked.set(asked.get() + 1);
            answer
        };
        for _ in 0..3 {
            assert_eq!(ask(&kept, 1, || fetch(Ok(7))), Ok(7));
            assert_eq!(ask(&kept, 2, || fetch(Err(FetchError::NotFound))), Err(FetchError::NotFound));
        }
        assert_eq!(asked.get(), 2);
    }
}
