//! What is to be run: the caller's words, and the same as orders for the supervisor.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The environment variable that marks every process of a job, so that [`crate::sweep`] finds it. Comma-separated
/// when Harrier runs inside a job of Harrier: the outer job's sweep finds the inner one's processes too.
pub const MARK_VARIABLE: &str = "HARRIER_JOB_MARK";

/// A program to run under supervision. It may hold secrets (environment, standard input) and has no `Debug`.
#[derive(Clone)]
pub struct Spec {
    /// The job's directory; claim and result are kept there.
    pub dir: PathBuf,
    /// Unique for this program in the directory, e.g. `3-step_script`: at most 200 letters, digits, `.`, `_`, `-`,
    /// `~`.
    pub key: String,
    /// The program; without a `/` it is searched for in the `PATH` of its environment.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Put on top of this process's own environment.
    pub env: Vec<(String, String)>,
    /// Taken out of this process's own environment, for the supervisor too.
    pub unset: Vec<String>,
    /// Give it nothing of this process's own environment.
    pub clear_env: bool,
    /// Value for [`MARK_VARIABLE`]; no commas. Empty: none.
    pub mark: String,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Its standard input, as a file, so that a shell reads it in blocks.
    pub stdin: Vec<u8>,
    /// Where its output goes, unless the directory has the mark of a full log
    /// ([`harrier_store::JobDir::full_marker`]); then it is dropped.
    pub raw_log: PathBuf,
    /// Stream number of its frames; 1 for the job.
    pub stream: u8,
    /// Kill it when the returned [`crate::Supervised`] is dropped, so also when this process dies.
    pub die_with_parent: bool,
    /// The binary to start as supervisor; it must call [`crate::supervise_main`] when its first argument is
    /// [`crate::SUPERVISE`].
    pub supervisor: PathBuf,
}

/// What the supervisor is told, as JSON in its standard input.
#[derive(Serialize, Deserialize)]
pub(crate) struct Orders {
    pub dir: PathBuf,
    pub key: String,
    pub attempt: u32,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub clear_env: bool,
    pub mark: String,
    pub cwd: PathBuf,
    pub raw_log: PathBuf,
    pub stream: u8,
    /// Standard error is a pipe whose other end the caller holds.
    pub lifeline: bool,
}
