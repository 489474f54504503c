//! What stops a command. Each text says what happened and what to do; the exit code is 1 for all.

use harrier_client::ClientError;
use harrier_config::{ConfigError, EditError};

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file cannot be edited.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The server said no, or nothing.
    #[error("{doing}: {source}")]
    Server {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        source: ClientError,
    },
    /// A needed value is missing and nobody can be asked.
    #[error("the {flag} needs to be entered; give it as --{flag}")]
    Missing {
        /// Flag without dashes.
        flag: String,
    },
    /// A value does not fit its setting.
    #[error("--{flag}: {why}")]
    BadFlag {
        /// Flag without dashes.
        flag: String,
        /// What is wrong.
        why: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The terminal or a pipe failed.
    #[error("cannot read the answer: {0}")]
    Answer(std::io::Error),
    /// The runtime could not be made.
    #[error("cannot start: {0}")]
    Start(std::io::Error),
    /// The host could not start.
    #[error(transparent)]
    Host(#[from] harrier_runner::HostError),
    /// The working directory cannot be used.
    #[error("cannot change to the working directory {dir}: {source}")]
    Directory {
        /// As given.
        dir: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A service's unit, or a file it needs.
    #[error("{}: {source}", path.display())]
    Unit {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The host had to leave jobs behind.
    #[error("{0} job(s) did not end in time; the next start takes them up")]
    Left(usize),
    /// Anything else, in words for people.
    #[error("{0}")]
    Refused(String),
}
