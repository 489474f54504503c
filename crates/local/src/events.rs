//! What a local run tells while it goes: plain values from the host to a view. Made by the host, shown by the
//! `harrier` binary (terminal, plain lines or JSON). It must never hold a secret: log bytes are the masked ones.

use std::path::PathBuf;
use std::time::Duration;

/// One thing that happened, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first: what will run.
    Started(Started),
    /// A bridge has made a child pipeline; its jobs are added behind those known so far.
    Child {
        /// Index of the bridge.
        bridge: usize,
        /// Number of the child pipeline.
        pipeline: i64,
        /// Its jobs, in pipeline order.
        jobs: Vec<JobName>,
    },
    /// A job changed its state.
    Job {
        /// Index in [`Started::jobs`], continued by those of [`Event::Child`].
        job: usize,
        /// What it is now.
        state: JobState,
    },
    /// Whole lines of a job's log; the last part of a log may lack its line feed.
    Log {
        /// Index in [`Started::jobs`].
        job: usize,
        /// Masked bytes.
        bytes: Vec<u8>,
    },
    /// Something worth knowing, for people.
    Notice(String),
    /// The last: how it all ended.
    Ended(Ended),
}

/// A run begins.
#[derive(Clone, Debug)]
pub struct Started {
    /// Number of the pipeline in this repository.
    pub pipeline: i64,
    /// Branch or tag.
    pub git_ref: String,
    /// HEAD's commit, or the snapshot's in a repository without commits.
    pub sha: String,
    /// The work tree differs from the commit; the jobs see the work tree.
    pub dirty: bool,
    /// The jobs, in pipeline order.
    pub jobs: Vec<JobName>,
}

/// Who a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobName {
    /// Name.
    pub name: String,
    /// Stage.
    pub stage: String,
    /// Of a job of a child pipeline: index of the bridge that made it.
    pub bridge: Option<usize>,
}

/// What a job is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for other jobs.
    Created,
    /// Another job holds its resource group.
    WaitingForResource,
    /// It starts after this time.
    Scheduled(Duration),
    /// A person would have to start it: `harrier run <name>`.
    Manual,
    /// It waits for a free slot.
    Pending,
    /// It runs; the attempt counts from 1.
    Running {
        /// Attempt.
        attempt: u32,
    },
    /// It failed and is tried again.
    Retrying(Failure),
    /// It is being stopped.
    Canceling,
    /// It ended well.
    Passed {
        /// From start to end.
        time: Duration,
    },
    /// It ended badly.
    Failed {
        /// From start to end of the last attempt.
        time: Duration,
        /// Why.
        failure: Failure,
        /// `allow_failure` covers it.
        allowed: bool,
    },
    /// It was stopped.
    Canceled {
        /// From start to end; nothing if it never started.
        time: Option<Duration>,
    },
    /// What came before it did not let it run.
    Skipped,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Reason in GitLab's words, e.g. `script_failure`.
    pub reason: String,
    /// Exit code of the script.
    pub exit_code: Option<i32>,
}

/// A run is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Result.
    pub status: PipelineStatus,
    /// From start to end.
    pub time: Duration,
    /// The last state of each job, as in [`Started::jobs`] and [`Event::Child`].
    pub jobs: Vec<JobState>,
    /// Where each job's log is kept, if it ran.
    pub logs: Vec<Option<PathBuf>>,
}

/// How a pipeline ended (`ci-yaml.md` §28.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineStatus {
    /// All went well.
    Passed,
    /// Some jobs failed that may.
    PassedWithWarnings,
    /// A job failed.
    Failed,
    /// It was stopped.
    Canceled,
    /// A manual job holds up the rest.
    Blocked,
    /// Nothing ran.
    Skipped,
}

impl PipelineStatus {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::PassedWithWarnings => "passed with warnings",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Blocked => "blocked by a manual job",
            Self::Skipped => "skipped",
        }
    }
}
