//! Why an operation failed, in words for the job log, and which exit code that gives.

use std::io;
use std::path::{Path, PathBuf};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A child ended badly; its own output says why.
    #[error("{program} ended with exit code {code}")]
    Child {
        /// What ran.
        program: String,
        /// Its exit code.
        code: i32,
    },
    /// The plan says that the stage cannot be carried out.
    #[error("{message}")]
    Planned {
        /// Why, as the plan has it.
        message: String,
    },
    /// A child could not be started.
    #[error("cannot start {program}: {source}{}", start_hint(program, source))]
    Start {
        /// What should have run.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}{}", path.display(), io_hint(source))]
    Io {
        /// Verb and object, e.g. "create the directory".
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The request asks for something that must not be done.
    #[error("{what}: {value:?}. {remedy}")]
    Refused {
        /// What is wrong.
        what: &'static str,
        /// The value that is wrong.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// An archive cannot be made or read.
    #[error("archive {}: {why}", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Artifacts could not be moved to or from the server.
    #[error("{why}")]
    Transfer {
        /// What the server or the network said, and what to do.
        why: String,
    },
}

impl Failure {
    /// For `.map_err(Failure::io("create the directory", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// The text for the log, if the log does not have it already.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Self::Child { .. } => None,
            Self::Planned { .. }
            | Self::Start { .. }
            | Self::Io { .. }
            | Self::Refused { .. }
            | Self::Archive { .. }
            | Self::Transfer { .. } => Some(self.to_string()),
        }
    }

    /// Exit code of the stage.
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Child { code, .. } => *code,
            Self::Start { .. } => 127,
            Self::Planned { .. }
            | Self::Io { .. }
            | Self::Refused { .. }
            | Self::Archive { .. }
            | Self::Transfer { .. } => 1,
        }
    }
}

fn start_hint(program: &str, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => format!(". Install {program}, or put it into the runner's PATH"),
        io::ErrorKind::ArgumentListTooLong => {
            ". The job's variables are too large for an environment: turn large ones into file variables"
                .into()
        }
        _ => String::new(),
    }
}

/// What to do about the usual errors of files.
pub(crate) fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => {
            ". The disk is full: free space there (old builds and caches are a good start), then run the job again"
        }
        io::ErrorKind::QuotaExceeded => ". The disk quota is used up: free space or raise the quota",
        io::ErrorKind::PermissionDenied => {
            ". The runner's user must own it: it may be left from a job that ran as another user; remove it or \
             change its owner"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            ". The file system is mounted read-only: set builds_dir and cache_dir to a writable place"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named() {
        let full = Failure::io("write", Path::new("/b/x"))(io::Error::from(io::ErrorKind::StorageFull));
        let words = full.words().expect("it has words");
        assert!(words.starts_with("cannot write /b/x: "), "{words}");
        assert!(words.contains("disk is full"), "{words}");
        assert_eq!(full.exit_code(), 1);
    }
}
