//! The texts a compilation reads: names, contents by line for messages, and the trait through which included
//! files are fetched. Hosts implement [`IncludeSource`]; nothing here reads a file.

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

/// Where included files and facts about the repository's tree come from. Paths are relative to the repository
/// root, with `/`, without a leading slash.
pub trait IncludeSource {
    /// The text of a file of the project at the pipeline's commit (a local run: its snapshot).
    fn local(&self, path: &str) -> Result<String, FetchError>;

    /// Every file of the tree, sorted; for wildcards in `include:local` and for `rules:exists`.
    fn files(&self) -> &[String];

    /// The paths changed between the merge base of `git_ref` and the head (`rules:changes:compare_to`).
    /// The error says why it cannot be told.
    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String>;
}
