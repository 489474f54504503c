//! Why a call did not do what it should. The classes are those of `runner-api.md` §1.6.

use std::path::PathBuf;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be used (class -100).
    #[error(
        "the url {url:?} of the GitLab server cannot be used: {why}; write e.g. https://gitlab.example.com"
    )]
    BadUrl {
        /// As configured.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A TLS file cannot be used (class -100).
    #[error("{setting} {}: {why}", path.display())]
    BadTlsFile {
        /// The setting's name.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The HTTP client could not be made (class -100).
    #[error("cannot set up the connection to {host}: {why}")]
    Setup {
        /// The server.
        host: String,
        /// What the library said.
        why: String,
    },
    /// No answer came (class -1).
    #[error("{0}")]
    Transport(String),
    /// The body could not be produced; nothing is known about what the server saw.
    #[error("cannot produce what is to be sent: {0}")]
    Source(String),
    /// An answer came but makes no sense (class -1).
    #[error("{call}: the answer of {host} cannot be understood: {why}")]
    Answer {
        /// Method and path.
        call: String,
        /// The server.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// Another status than the call wants.
    #[error("{call}: {status} {reason}{}", if message.is_empty() { String::new() } else { format!(" ({message})") })]
    Status {
        /// Method and path.
        call: String,
        /// HTTP status.
        status: u16,
        /// Its usual name.
        reason: String,
        /// What the body said (§1.5).
        message: String,
    },
}

impl ClientError {
    /// The HTTP status, if an answer was read.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::BadUrl { .. }
            | Self::BadTlsFile { .. }
            | Self::Setup { .. }
            | Self::Transport(_)
            | Self::Source(_)
            | Self::Answer { .. } => None,
        }
    }

    /// Class -100: the client itself cannot be built, asking again will not help.
    pub fn is_unusable(&self) -> bool {
        match self {
            Self::BadUrl { .. } | Self::BadTlsFile { .. } | Self::Setup { .. } => true,
            Self::Transport(_) | Self::Source(_) | Self::Answer { .. } | Self::Status { .. } => false,
        }
    }
}
