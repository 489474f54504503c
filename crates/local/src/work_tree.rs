//! The work tree as the compiler of the configuration sees it: included files and the answers to `rules:changes` and
//! `rules:exists`. What git has to be asked for is asked only when something wants it. It must never write.

use crate::git::GitError;
use crate::repository::{GitFacts, Repository};
use harrier_pipeline::{FetchError, IncludeSource};
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::path::{Component, Path};

/// The source of a compilation.
pub struct WorkTree<'a> {
    repository: &'a Repository,
    facts: &'a GitFacts,
    files: OnceCell<Vec<String>>,
    mentions_changes: Cell<bool>,
    fault: RefCell<Option<GitError>>,
}

impl<'a> WorkTree<'a> {
    /// Nothing is asked yet.
    pub fn new(repository: &'a Repository, facts: &'a GitFacts) -> Self {
        Self {
            repository,
            facts,
            files: OnceCell::new(),
            mentions_changes: Cell::new(false),
            fault: RefCell::new(None),
        }
    }

    /// Whether any text read so far has the word `changes`: only then somebody must find out what changed.
    pub fn mentions_changes(&self) -> bool {
        self.mentions_changes.get()
    }

    /// What changed, for `rules:changes`; `None` if there is nothing to compare with.
    pub fn changes(&self) -> Result<Option<Vec<String>>, GitError> {
        match self.repository.change_base(self.facts)? {
            Some(base) => self.repository.changed_files(&base).map(Some),
            None => Ok(None),
        }
    }

    /// The first question that git could not answer.
    pub fn fault(&self) -> Option<GitError> {
        self.fault.borrow_mut().take()
    }

    fn read(&self, path: &str) -> Result<String, FetchError> {
        let relative = Path::new(path);
        let inside =
            relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(FetchError::Failed("it lies outside of the repository".into()));
        }
        match std::fs::read(self.repository.root.join(relative)) {
            Ok(bytes) => {
                String::from_utf8(bytes).map_err(|_| FetchError::Failed("it is not UTF-8 text".into()))
            }
            Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(FetchError::NotFound)
            }
            Err(why) => Err(FetchError::Failed(why.to_string())),
        }
    }
}

impl IncludeSource for WorkTree<'_> {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        let text = self.read(path)?;
        if text.contains("changes") {
            self.mentions_changes.set(true);
        }
        Ok(text)
    }

    fn files(&self) -> &[String] {
        self.files.get_or_init(|| {
            self.repository.files().unwrap_or_else(|error| {
                self.fault.borrow_mut().get_or_insert(error);
                Vec::new()
            })
        })
    }

    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String> {
        let base = self.repository.merge_base_with(git_ref, self.facts).map_err(|e| e.to_string())?;
        match base {
            Some(base) => self.repository.changed_files(&base).map_err(|e| e.to_string()),
            None => Err(format!(
                "there is no branch, tag or commit {git_ref:?} with a commit in common with HEAD"
            )),
        }
    }
}
