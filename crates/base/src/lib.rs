//! The words every other crate shares: secrets, failure reasons, durations, variables and their expansion,
//! short tokens, histograms, the clock.
//!
//! Called by every crate. It must never do IO and must never know GitLab's JSON.

mod clock;
mod duration;
mod failure;
mod histogram;
mod runner_only;
mod secret;
mod token;
mod variables;

pub use clock::{Clock, SystemClock, Timestamp};
pub use duration::{DurationError, format_go_duration, parse_go_duration};
pub use failure::FailureReason;
pub use histogram::{Histogram, HistogramView};
pub use runner_only::{GIT_REPOSITORY_VARIABLES, is_runner_only};
pub use secret::{Secret, exposed, exposed_opt};
pub use token::short_token;
pub use variables::{FILE_MODE, Variable, Variables, expand};
