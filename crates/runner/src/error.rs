//! Why the host cannot start.

use harrier_config::ConfigError;
use harrier_store::StoreError;

/// The host could not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StoreError),
    /// A server of the runner's own cannot listen.
    #[error("{setting} in config.toml: {why}; choose another address, or remove the setting")]
    Listen {
        /// Which setting.
        setting: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Signals cannot be received.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

/// How the host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Asked to (SIGQUIT, or `run-single` is done); every job had ended.
    Gracefully,
    /// Stopped (SIGTERM, SIGINT); every job was ended and reported.
    Stopped,
    /// Asked to leave (SIGUSR1) while this many jobs go on; the next start takes them up.
    HandedOver(usize),
    /// Stopped, but this many jobs were not through in time (`shutdown_timeout`) or a second signal came. The next start
    /// takes them up.
    Left(usize),
}
