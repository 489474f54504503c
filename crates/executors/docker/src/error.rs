//! Why the executor cannot go on, and which reason a server is told (`executors.md` §1.3).

use crate::connection::{ConnectError, status, words};
use crate::helper_image::HelperImageError;
use crate::pull::ImageError;
use harrier_base::FailureReason;
use harrier_engine::{OpenError, StartError, WaitError};
use harrier_store::StoreError;

/// All that can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerError {
    /// No engine.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// No helper image.
    #[error(transparent)]
    HelperImage(#[from] HelperImageError),
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A setting.
    #[error("{0}")]
    Settings(String),
    /// The engine refuses something.
    #[error("the engine at {address} cannot {doing}: {cause}")]
    Engine {
        /// Which.
        address: String,
        /// What was asked.
        doing: String,
        /// Its answer.
        cause: String,
        /// HTTP status, if it answered.
        status: Option<u16>,
    },
    /// The helper container ended in the middle of a call.
    #[error(
        "the helper container {name} ended in the middle of its work (exit code {code}): somebody else stopped it, or it ran out of memory; see the engine's log and retry the job"
    )]
    HelperEnded {
        /// Which.
        name: String,
        /// Of its main process.
        code: i64,
    },
    /// A container of the job is gone.
    #[error("the container {name} is gone: somebody else removed it; retry the job")]
    Gone {
        /// Which.
        name: String,
    },
    /// Something ended that should not.
    #[error("{0}")]
    Lost(String),
}

impl DockerError {
    /// The engine's answer to a request.
    pub fn engine(address: &str, doing: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let (address, doing) = (address.to_owned(), doing.into());
        move |error| Self::Engine { address, doing, cause: words(&error), status: status(&error) }
    }

    /// `None`: worth another try.
    pub fn reason(&self) -> Option<FailureReason> {
        match self {
            Self::Image(error) => Some(error.reason),
            Self::Settings(_) => Some(FailureReason::RunnerConfigurationError),
            // The engine does not understand what the settings ask for (`executors.md` §10.5).
            Self::Engine { status: Some(400), .. } => Some(FailureReason::RunnerConfigurationError),
            Self::HelperImage(HelperImageError::NoGit) => Some(FailureReason::RunnerConfigurationError),
            Self::HelperImage(HelperImageError::Read { .. } | HelperImageError::Engine { .. })
            | Self::Connect(_)
            | Self::Store(_)
            | Self::Engine { .. }
            | Self::HelperEnded { .. }
            | Self::Gone { .. }
            | Self::Lost(_) => None,
        }
    }

    fn final_reason(&self) -> FailureReason {
        self.reason().unwrap_or(FailureReason::RunnerSystemFailure)
    }
}

impl From<DockerError> for OpenError {
    fn from(error: DockerError) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}

impl From<DockerError> for StartError {
    fn from(error: DockerError) -> Self {
        Self { reason: error.final_reason(), message: error.to_string() }
    }
}

impl From<DockerError> for WaitError {
    fn from(error: DockerError) -> Self {
        Self { reason: error.final_reason(), message: error.to_string() }
    }
}
