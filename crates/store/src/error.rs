//! What can go wrong with files, in words for the person who has to mend it.

use std::io;
use std::path::{Path, PathBuf};

/// A file of the runner's state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space or no quota left.
    #[error("cannot {doing} {}: the disk is full or the quota used up; free some space there", path.display())]
    DiskFull {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// Not ours to use.
    #[error("cannot {doing} {}: permission denied; give the user of this process the right to write there", path.display())]
    Denied {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// Anything else the system said.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process works with this state directory.
    #[error("{} is in use by another runner{}; stop it, or give this one a state directory of its own", path.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The state directory.
        path: PathBuf,
        /// Who, if known.
        pid: Option<u32>,
    },
    /// A job directory of this name is there already.
    #[error("{} exists already: the job was taken before and is not settled yet", path.display())]
    Exists {
        /// The job directory.
        path: PathBuf,
    },
    /// The content is not what this program wrote.
    #[error("{} is damaged at {place}; move the directory it stands in away to go on without that job", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// `line 3`, `byte 1402`.
        place: String,
    },
    /// A value cannot be written as JSON.
    #[error("cannot write to {}: {message}", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A job directory's name may hold letters, digits, `.`, `_` and `-`, and must not begin with a dot.
    #[error("`{name}` cannot be the name of a job directory")]
    BadName {
        /// The name.
        name: String,
    },
}

impl StoreError {
    /// For `map_err`: an IO error with what was tried on which path.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { doing, path },
            io::ErrorKind::PermissionDenied => Self::Denied { doing, path },
            _ => Self::Io { doing, path, source },
        }
    }

    /// Whether there was no space left.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}
