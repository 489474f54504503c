//! Logs of jobs that run: files of this machine that only grow, whose length is the truth. Called by the runner API, which appends,
//! and by whoever follows a log.

use crate::app::App;
use axum::body::Bytes;
use harrier_database::{Change, DatabaseError, JobView};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as Turn;

/// How an append went, with the bytes that are there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is there.
    Stored(u64),
    /// It does not begin where the log ends.
    OutOfPlace(u64),
    /// The job has ended, and its log with it.
    Ended,
}

/// A sign of life is written down this often, in milliseconds; every part of a log would be a write.
const TOUCH: i64 = 20_000;

/// Seconds between the parts of a log that nobody looks at, when few are written; what runners begin with.
const SOONEST: u64 = 3;

/// Parts a second of all logs that nobody looks at: the more there are, the less often each of them comes.
const PARTS: u64 = 10;

/// Logs that are being written, and who looks at them.
#[derive(Default)]
pub struct Traces {
    writers: Mutex<HashMap<i64, Arc<Turn<()>>>>,
    watchers: Mutex<HashMap<i64, Arc<AtomicUsize>>>,
}

/// Somebody looks at a log; dropped, no more.
pub(crate) struct Watching(Arc<AtomicUsize>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl App {
    /// Appends to the log of a job if it ends at `start`.
    pub async fn append_trace(&self, job: i64, start: u64, bytes: Bytes) -> io::Result<Appended> {
        let path = self.data.trace(job);
        // Two requests of one job: a runner that gave up waiting sends again.
        let alone = self.log_writer(job).lock_owned().await;
        if !tokio::fs::try_exists(&path).await? {
            // It begins, or was moved away at its end.
            let found = self.store.job(job).await.map_err(io::Error::other)?;
            if found.status.is_complete() {
                return Ok(Appended::Ended);
            }
        }
        let appended = tokio::task::spawn_blocking(move || {
            // Held until the bytes are there, also when nobody waits for it any more.
            let _alone = alone;
            append(&path, start, &bytes)
        });
        let appended = appended.await.map_err(io::Error::other)??;
        if let Appended::Stored(size) = appended {
            self.notifier.trace(job, size);
        }
        Ok(appended)
    }

    /// Bytes of the log of a job that runs.
    pub async fn trace_size(&self, job: i64) -> u64 {
        tokio::fs::metadata(self.data.trace(job)).await.map_or(0, |meta| meta.len())
    }

    /// Somebody looks at a log: its parts come sooner (`runner-api.md` §6.2).
    pub(crate) fn watch_trace(&self, job: i64) -> Watching {
        let mut watchers = self.traces.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|_, count| count.load(Ordering::Relaxed) > 0);
        let count = Arc::clone(watchers.entry(job).or_default());
        count.fetch_add(1, Ordering::Relaxed);
        Watching(count)
    }

    /// In how many seconds the next part of a log is wanted (`runner-api.md` §6.2). In the answer to it the runner also hears that
    /// its job is cancelled, so that it is soon even when nobody looks.
    pub(crate) fn trace_interval(&self, job: i64) -> u64 {
        let (longest, watched) = self.settings.trace_interval;
        if self.watches(job) {
            return watched;
        }
        let logs = self.traces.writers.lock().unwrap_or_else(PoisonError::into_inner).len();
        unwatched(logs, longest)
    }

    /// Whether somebody looks at a log.
    fn watches(&self, job: i64) -> bool {
        let watchers = self.traces.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.get(&job).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Whoever holds it is alone with the log of a job.
    pub(crate) fn log_writer(&self, job: i64) -> Arc<Turn<()>> {
        let mut writers = self.traces.writers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(writers.entry(job).or_default())
    }

    /// The log of a job that has ended, however it did, is complete.
    pub(crate) fn close_trace(&self, change: &Change) {
        if let Change::Job { job, status, .. } = change
            && status.is_complete()
        {
            self.forget_trace(*job);
        }
    }

    /// A log is complete.
    pub(crate) fn forget_trace(&self, job: i64) {
        let mut writers = self.traces.writers.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody may be alone with it beside somebody who waits to be.
        if writers.get(&job).is_some_and(|writer| Arc::strong_count(writer) == 1) {
            writers.remove(&job);
        }
    }

    /// A job has given a sign of life.
    pub(crate) async fn touched(&self, job: &JobView, now: i64) -> Result<(), DatabaseError> {
        match job.touched_at {
            Some(at) if now.saturating_sub(at) < TOUCH => Ok(()),
            Some(_) | None => self.store.touch(job.id, now).await,
        }
    }
}

fn unwatched(logs: usize, longest: u64) -> u64 {
    let fair = u64::try_from(logs).unwrap_or(u64::MAX) / PARTS;
    fair.clamp(SOONEST.min(longest), longest)
}

fn append(path: &PathBuf, start: u64, bytes: &[u8]) -> io::Result<Appended> {
    let mut file: File = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    if size != start {
        return Ok(Appended::OutOfPlace(size));
    }
    // What a full disk or a kill leaves is a longer prefix of the same log; the runner goes on behind it.
    file.write_all(bytes)?;
    Ok(Appended::Stored(size + bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::unwatched;

    #[test]
    fn many_logs_come_less_often() {
        let seconds = [0, 1, 39, 40, 120, 5000].map(|logs| unwatched(logs, 30));
        assert_eq!(seconds, [3, 3, 3, 4, 12, 30]);
        assert_eq!(unwatched(5000, 1), 1);
    }
}
