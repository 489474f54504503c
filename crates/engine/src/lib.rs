//! One road for a job: plan, session, stages, report.
//!
//! Called by the runner host and the local host. It must never name a concrete executor.

mod executor;
mod stop;

pub use executor::*;
pub use stop::{Stop, StopReason};
