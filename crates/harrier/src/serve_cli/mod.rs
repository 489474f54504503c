//! `harrier serve`, `harrier up`, `harrier admin`, `harrier project`, `harrier backup`: the coordinator from the command line. It wires and prints;
//! what a server does is in `harrier-coordinator`.

mod admin;
mod admin_lists;
mod backup;
mod first_start;
mod project;
mod serving;
mod up;

pub use admin::{AdminArgs, admin};
pub use backup::{BackupArgs, backup};
pub use project::{ProjectArgs, project};
pub use serving::{ServeArgs, serve};
pub use up::{UpArgs, up};

use harrier_base::{Secret, SystemClock};
use harrier_coordinator::{App, DataDir, Settings, StartError};
use harrier_database::DatabaseError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Where a server keeps its things, the same for every command.
#[derive(clap::Args, Clone)]
pub struct Place {
    /// Directory of the repositories, logs, artifacts and tables
    #[arg(long, env = "HARRIER_DATA", value_name = "DIR", default_value = "harrier-data")]
    pub data: PathBuf,
    /// postgres://… instead of the SQLite file in the directory; better given by HARRIER_DATABASE, which others do not see
    #[arg(long, env = "HARRIER_DATABASE", hide_env_values = true, value_name = "URL")]
    pub database: Option<String>,
}

/// What goes wrong at the command line of a server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server itself.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The tables.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// As given.
        address: SocketAddr,
        /// Of the operating system.
        source: std::io::Error,
    },
    /// A file or directory.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Of the operating system.
        source: std::io::Error,
    },
    /// The command line makes no sense, or names what is not there: in words.
    #[error("{0}")]
    Words(String),
    /// The runner of `up`.
    #[error("the runner: {0}")]
    Runner(String),
}

impl Place {
    fn data_dir(&self) -> Result<DataDir, ServeError> {
        // git and jobs work in directories of their own.
        let opened = std::path::absolute(&self.data).and_then(|root| DataDir::open(&root));
        opened.map_err(|source| ServeError::Io { path: self.data.clone(), source })
    }

    /// A server on this place; one at a time.
    async fn open(&self, settings: Settings) -> Result<Arc<App>, ServeError> {
        let database = self.database.clone().map(Secret::new);
        Ok(App::open(self.data_dir()?, database, Arc::new(SystemClock), settings).await?)
    }
}

/// Runs a command of the server to its exit code: 0, or 1 with the reason on standard error.
fn finish(outcome: Result<(), ServeError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    // Two providers of cryptography in one program would make the choice a fault at run time.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| ServeError::Words(format!("no threads can be started: {error}")))
}
