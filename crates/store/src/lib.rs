//! What survives a crash: a job's directory with its plan, journal and raw log, the lock on the state directory, the
//! ledger of owned resources.
//!
//! Called by the engine, the hosts, the supervisor (raw log only) and the executors (ledger). It must never decide
//! anything: it keeps what it is given and gives it back. Nothing here is flushed to the disk itself: all of it
//! has to survive the death of a process, and after a restart of the machine every job is lost anyway.
//!
//! Files are made with mode 0600, directories with 0700: they hold tokens.

mod error;
mod files;
mod job_dir;
mod journal;
mod ledger;
mod raw_log;
mod state_dir;
mod tail;

pub use error::StoreError;
pub use job_dir::JobDir;
pub use journal::{Entry, Journal};
pub use ledger::{Ledger, Owned};
pub use raw_log::RawLog;
pub use state_dir::StateDir;
pub use tail::Tail;
