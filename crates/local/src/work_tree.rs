//! The work tree, or the tree of a commit, or a plain directory, as the compiler of the configuration sees it: included
//! files and the answers to `rules:changes` and `rules:exists`. What git has to be asked for is asked only when something
//! wants it. It must never write.

use crate::git::GitError;
use crate::remembered::Memory;
use crate::repository::{GitFacts, Repository};
use harrier_pipeline::{FetchError, IncludeSource};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where files are read.
#[derive(Clone, Copy)]
pub enum Ground<'a> {
    /// The work tree.
    Tree(&'a Repository),
    /// A commit, by its id.
    Commit(&'a Repository, &'a str),
    /// A directory outside of any repository.
    Directory(&'a Path),
}

/// Files of a plain directory that are looked at, and how deep they may lie.
const MAX_FILES: usize = 100_000;
const MAX_DEPTH: usize = 40;

/// The source of a compilation.
pub struct WorkTree<'a> {
    ground: Ground<'a>,
    /// Texts that stand for files, by whole path.
    unsaved: Option<&'a HashMap<PathBuf, String>>,
    memory: Option<&'a Memory>,
    facts: &'a GitFacts,
    files: OnceCell<Vec<String>>,
    mentions_changes: Cell<bool>,
    fault: RefCell<Option<GitError>>,
}

impl<'a> WorkTree<'a> {
    /// Nothing is asked yet.
    pub fn new(repository: &'a Repository, facts: &'a GitFacts) -> Self {
        Self::on(Ground::Tree(repository), facts)
    }

    /// As [`WorkTree::new`], for any ground.
    pub fn on(ground: Ground<'a>, facts: &'a GitFacts) -> Self {
        Self {
            ground,
            unsaved: None,
            memory: None,
            facts,
            files: OnceCell::new(),
            mentions_changes: Cell::new(false),
            fault: RefCell::new(None),
        }
    }

    /// With texts in place of files of the disk, by their whole paths.
    pub fn with_unsaved(mut self, unsaved: &'a HashMap<PathBuf, String>) -> Self {
        self.unsaved = Some(unsaved);
        self
    }

    /// With a memory of what was fetched from elsewhere.
    pub fn with_memory(mut self, memory: Option<&'a Memory>) -> Self {
        self.memory = memory;
        self
    }

    /// The memory, if there is one.
    pub fn memory(&self) -> Option<&'a Memory> {
        self.memory
    }

    /// Looks whether a text has the word `changes`; done for every file that is read.
    pub fn heed(&self, text: &str) {
        if text.contains("changes") {
            self.mentions_changes.set(true);
        }
    }

    /// Whether any text read so far has the word `changes`: only then somebody must find out what changed.
    pub fn mentions_changes(&self) -> bool {
        self.mentions_changes.get()
    }

    /// What changed, for `rules:changes`; `None` if there is nothing to compare with.
    pub fn changes(&self) -> Result<Option<Vec<String>>, GitError> {
        let (Ground::Tree(repository) | Ground::Commit(repository, _)) = self.ground else { return Ok(None) };
        match repository.change_base(self.facts)? {
            Some(base) => self.changed(&base).map(Some),
            None => Ok(None),
        }
    }

    fn changed(&self, base: &str) -> Result<Vec<String>, GitError> {
        match self.ground {
            Ground::Tree(repository) => repository.changed_files(base),
            Ground::Commit(repository, commit) => repository.changed_between(base, commit),
            Ground::Directory(_) => Ok(Vec::new()),
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
        let root = match self.ground {
            Ground::Tree(repository) => &repository.root,
            Ground::Directory(root) => root,
            Ground::Commit(repository, commit) => {
                let there = self.files().binary_search_by(|file| file.as_str().cmp(path)).is_ok();
                if !there {
                    return Err(FetchError::NotFound);
                }
                let bytes = repository.file_at(commit, path);
                return text_of(bytes.map_err(|error| FetchError::Failed(error.to_string()))?);
            }
        };
        let whole = root.join(relative);
        if let Some(text) = self.unsaved.and_then(|unsaved| unsaved.get(&whole)) {
            return Ok(text.clone());
        }
        match std::fs::read(whole) {
            Ok(bytes) => text_of(bytes),
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
        self.heed(&text);
        Ok(text)
    }

    fn files(&self) -> &[String] {
        self.files.get_or_init(|| {
            let files = match self.ground {
                Ground::Tree(repository) => repository.files(),
                Ground::Commit(repository, commit) => repository.files_at(commit),
                Ground::Directory(root) => Ok(files_below(root)),
            };
            files.unwrap_or_else(|error| {
                self.fault.borrow_mut().get_or_insert(error);
                Vec::new()
            })
        })
    }

    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String> {
        let (Ground::Tree(repository) | Ground::Commit(repository, _)) = self.ground else {
            return Err("there is no git repository to compare with".into());
        };
        let base = repository.merge_base_with(git_ref, self.facts).map_err(|e| e.to_string())?;
        match base {
            Some(base) => self.changed(&base).map_err(|e| e.to_string()),
            None => Err(format!(
                "there is no branch, tag or commit {git_ref:?} with a commit in common with HEAD"
            )),
        }
    }
}

fn text_of(bytes: Vec<u8>) -> Result<String, FetchError> {
    String::from_utf8(bytes).map_err(|_| FetchError::Failed("it is not UTF-8 text".into()))
}

/// The files below a directory, sorted; links are not followed, what cannot be read is left out.
fn files_below(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut open: Vec<(PathBuf, String, usize)> = vec![(root.to_owned(), String::new(), 0)];
    while let Some((dir, prefix, depth)) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if kind.is_dir() && depth < MAX_DEPTH {
                open.push((entry.path(), format!("{name}/"), depth + 1));
            } else if !kind.is_dir() && files.len() < MAX_FILES {
                files.push(name);
            }
        }
    }
    files.sort_unstable();
    files
}
