//! One road for a job: plan, session, stages, report.
//!
//! Called by the runner host and the local host. It must never name a concrete executor.

mod executor;
mod job_log;
mod progress;
mod reporter;
mod reporter_machine;
mod run_job;
mod stop;
mod terminal;
mod words;

pub use executor::*;
pub use job_log::{FinishedLog, JobLog, LogError, LogView};
pub use reporter::{FinalState, ReportCx, acceptance, report};
pub use reporter_machine::{Now, Reported, ReporterMachine, Signal, Step};
pub use run_job::{JobOutcome, JobRun, Teardown, run_job};
pub use stop::{Stop, StopReason};
pub use terminal::{Desk, Door, NotIn, Seat, VisitError, Visitor};
pub use words::failed as failed_line;
