//! What the journal says an earlier process of this runner has already done for a job.
//!
//! Called by `run_job` alone. Pure: entries in, answers out.

use crate::{Exit, JobOutcome, SessionTicket, StopReason};
use harrier_base::Timestamp;
use harrier_store::Entry;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// How a stage came to its end, as the journal keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StageEnd {
    /// By itself.
    Exited(Exit),
    /// Stopped by this; the process is gone.
    Stopped(StopReason),
    /// Its own limit was reached; the process is gone.
    OverTime(Duration),
}

/// How far a job has come.
#[derive(Default)]
pub(crate) struct Progress {
    /// When its clock started.
    pub(crate) started_at: Option<Timestamp>,
    /// The session, if it was opened.
    pub(crate) ticket: Option<SessionTicket>,
    /// For each stage, by its place in the job, the keys under which it was started, in order.
    starts: HashMap<String, Vec<String>>,
    ends: HashMap<String, StageEnd>,
    /// The result, if it was decided.
    pub(crate) outcome: Option<JobOutcome>,
}

/// What is known of one stage.
pub(crate) enum StageProgress {
    /// Nothing: start it under this key.
    New(String),
    /// It was about to be started, or was started, under this key.
    Started(String),
    /// It ended.
    Ended(StageEnd),
}

impl Progress {
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut progress = Self::default();
        for entry in entries {
            match entry {
                Entry::Admitted { started_at, .. } => progress.started_at = Some(*started_at),
                Entry::Opened { ticket } => progress.ticket = Some(SessionTicket(ticket.clone())),
                Entry::StageStarting { key } => {
                    let place = key.split('~').next().unwrap_or(key).to_owned();
                    progress.starts.entry(place).or_default().push(key.clone());
                }
                Entry::StageEnded { key, end } => {
                    if let Ok(end) = serde_json::from_value(end.clone()) {
                        progress.ends.insert(key.clone(), end);
                    }
                }
                Entry::Verdict { outcome } => {
                    progress.outcome = serde_json::from_value(outcome.clone()).ok();
                }
                Entry::Reported | Entry::Acked { .. } => {}
            }
        }
        progress
    }

    /// What is known of the stage at `place`, e.g. `4-step_script`.
    pub(crate) fn stage(&self, place: &str) -> StageProgress {
        match self.starts.get(place).and_then(|keys| keys.last()) {
            None => StageProgress::New(place.to_owned()),
            Some(key) => match self.ends.get(key) {
                Some(end) => StageProgress::Ended(end.clone()),
                None => StageProgress::Started(key.clone()),
            },
        }
    }

    /// A fresh key for a stage whose earlier start came to nothing.
    pub(crate) fn again(&self, place: &str) -> String {
        let tries = self.starts.get(place).map_or(0, Vec::len);
        format!("{place}~{tries}")
    }
}
