//! One road for a job: plan, session, stages, report.
//!
//! Called by the runner host and the local host. It must never name a concrete executor.

mod executor;
mod reporter;
mod reporter_machine;
mod stop;

pub use executor::*;
pub use reporter::{FinalState, FinishedLog, LogView, ReportCx, acceptance, report};
pub use reporter_machine::{Now, Reported, ReporterMachine, Signal, Step};
pub use stop::{Stop, StopReason};
