//! What a committed transaction changed, for those who wait: long polls, pages that follow, the clock of due things.
//! Sent by [`crate::Store`] after the commit, never before.

use harrier_pipeline::Status;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A job may be taken by a runner that matches.
    Queued {
        /// What it asks of a runner.
        wants: crate::Wants,
    },
    /// A bridge is to make its pipeline.
    Bridge {
        /// Which job.
        job: i64,
    },
    /// A job has a new status.
    Job {
        /// Project.
        project: i64,
        /// Pipeline.
        pipeline: i64,
        /// Job.
        job: i64,
        /// The new one.
        status: Status,
    },
    /// A pipeline is new or has a new status.
    Pipeline {
        /// Project.
        project: i64,
        /// Pipeline.
        pipeline: i64,
        /// The new one.
        status: Status,
    },
    /// A runner was made, changed, removed or seen.
    Runner {
        /// Which.
        runner: i64,
        /// It may take other jobs than before.
        offer: bool,
    },
    /// Something is due earlier than was known.
    Due,
}
