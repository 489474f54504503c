//! What the main process of a helper container is told: one call after the other on its standard input, each a
//! line of JSON. The end of a call is told on both of its output streams, so that nothing of the output is taken
//! for the next call's. Written by executors that keep a helper container, read by the helper.

use crate::HelperRequest;
use serde::{Deserialize, Serialize};

/// One piece of work.
#[derive(Clone, Serialize, Deserialize)]
pub struct HelperCall {
    /// Ends the call's output: standard output gets the mark, `:`, the exit code and a line feed; standard error the
    /// mark and a line feed. Nobody else knows it.
    pub mark: String,
    /// What to do.
    pub work: HelperWork,
}

/// Kinds of work.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelperWork {
    /// A helper stage of the job.
    Stage(Box<HelperRequest>),
    /// Wait until one of the addresses (`ip:port`) of each service takes a connection. The output is one line for
    /// each service that did not: its place in the list and why. The exit code is their number.
    WaitForServices {
        /// For each service, where it may answer.
        services: Vec<Vec<String>>,
        /// All in all.
        seconds: u64,
    },
    /// Make the directories, where volumes are mounted, writable for every user.
    OpenUp(Vec<String>),
    /// Give the directories with all that is in them to a user (`executors.md` §10.10). What is not there is fine.
    GiveTo {
        /// Which.
        paths: Vec<String>,
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// The job is over: end whatever it has started in this container and remove what it has left outside the
    /// volumes, so that the next job finds a helper that has seen none. Until the next call the helper ends with its
    /// input.
    Rest,
}
