//! The texts a compilation reads: names, contents by line for messages, and the trait through which included
//! files are fetched. Hosts implement [`IncludeSource`]; nothing here reads a file.

use std::rc::Rc;
use std::time::Duration;

/// Which file of [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct FileId(pub(crate) u32);

/// A configuration text with the name shown in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// As shown to people, usually the path below the repository root (`.gitlab-ci.yml`).
    pub name: String,
    /// The text.
    pub text: String,
}

/// Every file that took part in a compilation.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    pub(crate) fn add(&mut self, file: SourceFile) -> FileId {
        self.files.push(file);
        FileId(u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX))
    }

    /// The name of a file.
    pub fn name(&self, file: FileId) -> &str {
        self.files.get(file.0 as usize).map_or("<unknown>", |f| f.name.as_str())
    }

    /// The whole text of a file.
    pub fn text(&self, file: FileId) -> &str {
        self.files.get(file.0 as usize).map_or("", |f| f.text.as_str())
    }

    /// A line, counted from 1, without its line break.
    pub fn line(&self, file: FileId, line: u32) -> Option<&str> {
        let at = usize::try_from(line).ok()?.checked_sub(1)?;
        self.text(file).split('\n').nth(at).map(|l| l.strip_suffix('\r').unwrap_or(l))
    }

    /// Names of all files, the root first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|f| f.name.as_str())
    }
}

/// Why a file could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// There is none.
    #[error("it does not exist")]
    NotFound,
    /// This host cannot fetch files of that kind.
    #[error("{0}")]
    Unsupported(String),
    /// It exists and could not be read; the text says why.
    #[error("{0}")]
    Failed(String),
}

/// A project of the server at a commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectAt {
    /// `group/name`
    pub project: String,
    /// Id of the commit, as [`IncludeSource::commit`] gave it.
    pub sha: String,
}

/// Where a file's own `include: local` and `exists` look (`ci-yaml.md` §7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The project of the pipeline at its commit.
    Own,
    /// Another project, with the name shown for it.
    Project(Rc<ProjectAt>, Rc<str>),
    /// Files fetched by `remote` and `template` belong to no project.
    Nowhere,
}

/// Where included files and facts about the repository's tree come from. Paths are relative to the root of a
/// repository, with `/`, without a leading slash. A host that cannot fetch some kind leaves its methods as they are.
///
/// A source answers the same question the same way during one compilation, and keeps an eye on the time: 30 s
/// for all of a configuration on a server (`ci-yaml.md` §31).
pub trait IncludeSource {
    /// The text of a file of the project at the pipeline's commit (a local run: its snapshot).
    fn local(&self, path: &str) -> Result<String, FetchError>;

    /// Every file of the tree, sorted; for wildcards in `include:local` and for `rules:exists`.
    fn files(&self) -> &[String];

    /// The paths changed between the merge base of `git_ref` and the head (`rules:changes:compare_to`).
    /// The error says why it cannot be told.
    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String>;

    /// The commit of another project that `name` stands for: a whole commit id, a tag or a branch, in this order; the
    /// head of the default branch without a name. `None`: the project has no such ref. [`FetchError::NotFound`]:
    /// there is no such project, or it may not be read.
    fn commit(&self, project: &str, name: Option<&str>) -> Result<Option<String>, FetchError> {
        let _ = (project, name);
        Err(unsupported("project"))
    }

    /// The names of a project's tags, from which versions of components are picked.
    fn tags(&self, project: &str) -> Result<Vec<String>, FetchError> {
        let _ = project;
        Err(unsupported("component"))
    }

    /// A file of another project.
    fn file_at(&self, at: &ProjectAt, path: &str) -> Result<String, FetchError> {
        let _ = (at, path);
        Err(unsupported("project"))
    }

    /// Every file of another project, sorted.
    fn files_at(&self, at: &ProjectAt) -> Result<Vec<String>, FetchError> {
        let _ = at;
        Err(unsupported("project"))
    }

    /// What an `http(s)` address answers. `keep`: an answer kept earlier may serve for so long (`include:cache`).
    fn remote(&self, url: &str, keep: Option<Duration>) -> Result<Vec<u8>, FetchError> {
        let _ = (url, keep);
        Err(unsupported("remote"))
    }

    /// A template that comes with the server, by its name (`Jobs/Build.gitlab-ci.yml`).
    fn template(&self, name: &str) -> Result<String, FetchError> {
        let _ = name;
        Err(unsupported("template"))
    }

    /// A file out of the artifacts of a job, at most 5 MB. Only the source of a child pipeline has it.
    fn artifact(&self, job: &str, path: &str) -> Result<String, FetchError> {
        let _ = (job, path);
        Err(FetchError::Unsupported(
            "Including configs from artifacts is only allowed when triggering child pipelines".into(),
        ))
    }
}

fn unsupported(kind: &str) -> FetchError {
    FetchError::Unsupported(format!("include:{kind} has no source here"))
}

/// `group/name` in the letters that paths of projects have.
pub(crate) fn is_project(text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let part = |part: &str| !part.starts_with(['-', '.']) && !part.is_empty() && part.chars().all(word);
    text.contains('/') && text.split('/').all(part)
}
