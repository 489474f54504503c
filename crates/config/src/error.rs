//! What can be wrong with a `config.toml`. Every text names the file, the line and what to do.

use crate::source::Problem;
use std::fmt;
use std::path::PathBuf;

/// Why a `config.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there but cannot be read.
    #[error("cannot read {path}: {source}; check the path and its permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}; the old file is unchanged; check permissions and free space")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not UTF-8.
    #[error("{path}:{line}: not valid UTF-8; save the file in UTF-8")]
    NotText {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Not TOML, or values that cannot be; at least one.
    #[error("{}", joined(.0))]
    Invalid(Vec<Problem>),
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is odd about a `config.toml` that can be used nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A key that no version knows in this place; it is kept and has no effect.
    UnknownKey(Problem),
    /// A value outside the ones known.
    OddValue(Problem),
    /// A setting that this build reads but does not act on.
    NoEffect(Problem),
}

impl Warning {
    /// The place and the words.
    pub fn problem(&self) -> &Problem {
        match self {
            Self::UnknownKey(problem) | Self::OddValue(problem) | Self::NoEffect(problem) => problem,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}
