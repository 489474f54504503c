//! The runner host: asks servers for jobs, carries them out, reports them, and takes up what an earlier process left.
//!
//! Called by the command line (`harrier runner run`, `run-single`). It must never know HTTP details or what an
//! executor does.

mod error;
mod feed;
mod http_server;
mod job;
mod left_over;
mod metrics;
mod metrics_server;
mod options;
mod own_process;
mod reload;
mod rotation;
mod service;
mod session_server;
mod signals;
mod slots;

pub use error::{Ended, HostError};
pub use options::{HostOptions, LogCounts, OnConfig, Program, Source, runner_info, state_dir};
pub use service::{HostSignal, run, serve};
