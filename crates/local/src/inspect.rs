//! A configuration compiled for looking at it: checked, listed, drawn, explained, or edited in an editor. Nothing is run
//! and nothing is written. Called by the commands around `harrier lint` and by the language server. Unlike a local run it
//! needs no repository.

use crate::git::GitError;
use crate::local::{PrepareError, Request, compile, configuration};
use crate::remembered::Memory;
use crate::repository::{GitFacts, Head, Repository, RepositoryError};
use crate::work_tree::{Ground, WorkTree};
use harrier_base::Variable;
use harrier_pipeline::{Compiled, SourceFile};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is to be looked at.
#[derive(Clone, Default)]
pub struct Inspect {
    /// As for a run; the place one stands in decides which repository it is.
    pub request: Request,
    /// The root file, instead of the configuration of the tree.
    pub root_file: Option<RootFile>,
    /// As if this branch, tag or commit were checked out.
    pub git_ref: Option<String>,
    /// Texts that stand for files of the disk, by their whole paths: what an editor holds.
    pub unsaved: HashMap<PathBuf, String>,
    /// What was fetched from elsewhere for earlier ones, and is not to be fetched again.
    pub memory: Option<Arc<Memory>>,
}

/// A root file that is not the tree's configuration.
#[derive(Clone, Debug)]
pub enum RootFile {
    /// A file, from the place one stands in.
    Path(PathBuf),
    /// A text with a name for messages.
    Text(SourceFile),
}

/// A compiled configuration and where it belongs.
pub struct Inspected {
    /// Root of the repository, or the directory that was taken for it. Paths of local includes start here.
    pub root: PathBuf,
    /// The configuration; it may have errors.
    pub compiled: Compiled,
    /// What it was compiled for: `branch main`.
    pub subject: String,
    /// The predefined variables and those of the run, in rising rank, for showing where a value comes from.
    pub given: Vec<(&'static str, Vec<Variable>)>,
}

/// Why a configuration cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// As for a run.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// There is no such root file; bad usage.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// As given.
        path: PathBuf,
        /// Of the operating system.
        source: std::io::Error,
    },
    /// No such branch, tag or commit; bad usage.
    #[error("there is no branch, tag or commit {name:?} in {}; `git fetch` gets what is new", root.display())]
    NoRef {
        /// As given.
        name: String,
        /// Of the repository.
        root: PathBuf,
    },
    /// A ref, and no repository; bad usage.
    #[error("{} is not in a git repository, so there is no branch or tag {name:?}", from.display())]
    NoRepository {
        /// As given.
        name: String,
        /// Where one stands.
        from: PathBuf,
    },
}

impl From<GitError> for InspectError {
    fn from(error: GitError) -> Self {
        Self::Prepare(error.into())
    }
}

impl From<RepositoryError> for InspectError {
    fn from(error: RepositoryError) -> Self {
        Self::Prepare(error.into())
    }
}

/// Compiles what is to be looked at.
pub fn inspect(asked: &Inspect) -> Result<Inspected, InspectError> {
    let from = &asked.request.from;
    let repository = match Repository::discover(from) {
        Ok(repository) => Some(repository),
        Err(RepositoryError::None { .. } | RepositoryError::Bare { .. }) => None,
        Err(other @ (RepositoryError::Read { .. } | RepositoryError::Git(_))) => return Err(other.into()),
    };
    let Some(repository) = repository else {
        if let Some(name) = &asked.git_ref {
            return Err(InspectError::NoRepository { name: name.clone(), from: from.clone() });
        }
        let facts = no_facts();
        let root = match &asked.root_file {
            // A file elsewhere brings its own surroundings.
            Some(RootFile::Path(path)) => {
                let whole = from.join(path);
                match whole.parent() {
                    Some(parent) if !whole.starts_with(from) || path.has_root() => parent.to_owned(),
                    _ => from.clone(),
                }
            }
            Some(RootFile::Text(_)) | None => from.clone(),
        };
        return on(asked, &root, Ground::Directory(&root), &facts);
    };
    match &asked.git_ref {
        None => {
            let facts = repository.facts()?;
            on(asked, &repository.root, Ground::Tree(&repository), &facts)
        }
        Some(name) => {
            let no_ref = || InspectError::NoRef { name: name.clone(), root: repository.root.clone() };
            let facts = repository.facts_at(name)?.ok_or_else(no_ref)?;
            let commit = facts.commit.as_ref().map(|commit| commit.sha.clone()).ok_or_else(no_ref)?;
            on(asked, &repository.root, Ground::Commit(&repository, &commit), &facts)
        }
    }
}

/// The YAML files that an `include` could name, relative to `root`, which is the root of a repository or any directory.
pub fn includable(root: &Path) -> Vec<String> {
    let repository = Repository::discover(root).ok().filter(|repository| repository.root == root);
    let facts = no_facts();
    let ground = match &repository {
        Some(repository) => Ground::Tree(repository),
        None => Ground::Directory(root),
    };
    let tree = WorkTree::on(ground, &facts);
    let yaml = |file: &&String| file.ends_with(".yml") || file.ends_with(".yaml");
    harrier_pipeline::IncludeSource::files(&tree).iter().filter(yaml).cloned().collect()
}

fn on(asked: &Inspect, root: &Path, ground: Ground<'_>, facts: &GitFacts) -> Result<Inspected, InspectError> {
    let tree = WorkTree::on(ground, facts).with_unsaved(&asked.unsaved).with_memory(asked.memory.as_deref());
    let source = match &asked.root_file {
        None => configuration(&tree, root, &asked.request)?,
        Some(RootFile::Text(source)) => source.clone(),
        Some(RootFile::Path(path)) => file(&asked.request.from, root, path, &asked.unsaved)?,
    };
    tree.heed(&source.text);
    let compiled = compile(&tree, root, facts, source, &asked.request, 1)?;
    let pipeline = crate::predefined::pipeline_facts(root, facts, &asked.request, 1, String::new(), None);
    let subject = match &facts.head {
        Head::Branch(name) => format!("branch {name}"),
        Head::Tag(name) => format!("tag {name}"),
        Head::Detached => {
            let sha = facts.commit.as_ref().map(|commit| commit.sha.chars().take(8).collect::<String>());
            format!("commit {}", sha.unwrap_or_default())
        }
    };
    let predefined = [
        harrier_pipeline::predefined::pipeline_variables(&pipeline),
        harrier_pipeline::predefined::user_variables(&pipeline.user),
    ];
    let given = vec![("predefined", predefined.concat()), ("command line", asked.request.variables.clone())];
    Ok(Inspected { root: root.to_owned(), compiled, subject, given })
}

/// A file of the machine; below the root it is named as an include would name it.
fn file(
    from: &Path,
    root: &Path,
    path: &Path,
    unsaved: &HashMap<PathBuf, String>,
) -> Result<SourceFile, InspectError> {
    let failed = |source| InspectError::Read { path: path.to_owned(), source };
    let whole = from.join(path);
    let known = whole.canonicalize().ok().zip(root.canonicalize().ok());
    let inside = known.and_then(|(whole, root)| Some(whole.strip_prefix(root).ok()?.display().to_string()));
    let name = inside.unwrap_or_else(|| path.display().to_string());
    if let Some(text) = unsaved.get(&whole) {
        return Ok(SourceFile { name, text: text.clone() });
    }
    let text = std::fs::read(&whole).map_err(failed)?;
    let text = String::from_utf8(text)
        .map_err(|_| failed(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8 text")))?;
    Ok(SourceFile { name, text })
}

/// What is taken for granted where there is no repository.
fn no_facts() -> GitFacts {
    GitFacts {
        head: Head::Branch("main".into()),
        commit: None,
        default_branch: "main".into(),
        remote_name: None,
        remote_url: None,
        upstream: None,
        user_name: None,
        user_email: None,
        object_format: "sha1".into(),
    }
}
