//! Stages that need no process of their own: the first and, usually, the last of a job. Making and removing a few files
//! does not pay for two processes.
//!
//! Such a stage may run again after a crash; its words must not come twice. So they are collected, and kept together
//! with the result and the place in the raw log where they belong, before they are written there. A later process that
//! finds the kept result sees by the raw log's length whether they still must be written.

use crate::session::Place;
use harrier_base::{Clock, SystemClock, Timestamp};
use harrier_engine::Exit;
use harrier_logpipe::FrameKind;
use harrier_plan::{HelperRequest, Op, ProjectCleanup, StagePlan, Target};
use harrier_store::{JobDir, RawLog, StoreError};
use serde::{Deserialize, Serialize};
use std::io::Write;

/// The stream number of what a job says.
pub(crate) const JOB_STREAM: u8 = 1;

/// Whether a stage is carried out without a process. Not what may take long: it could not be stopped.
pub(crate) fn fits(stage: &StagePlan) -> bool {
    stage.target == Target::Helper
        && stage.ops.iter().all(|op| match op {
            Op::Prepare | Op::Say(_) | Op::Fail(_) => true,
            Op::Cleanup(cleanup) => cleanup.project == ProjectCleanup::Keep && !cleanup.clean_git_config,
            Op::Sources(_)
            | Op::ClearWorktree
            | Op::RestoreCache(_)
            | Op::SaveCache(_)
            | Op::DownloadArtifacts(_)
            | Op::UploadArtifacts(_)
            | Op::Script(_) => false,
        })
}

/// A stage that was carried out.
#[derive(Serialize, Deserialize)]
struct Done {
    code: i32,
    words: Vec<u8>,
    time: Timestamp,
    /// Length of the raw log before the words.
    at: u64,
}

/// Carries the stage out. Blocks.
pub(crate) fn run(place: &Place, key: &str, request: &HelperRequest) -> Result<Exit, StoreError> {
    let mut words = Words { bytes: Vec::new(), first: None };
    let code = harrier_helper::run(request, &mut words);
    let done = Done {
        code,
        words: words.bytes,
        time: words.first.unwrap_or_else(|| SystemClock.now()),
        at: log_length(place)?,
    };
    let dir = JobDir::open(&place.job_dir)?;
    let json = serde_json::to_vec(&done)
        .map_err(|error| StoreError::NotJson { path: place.job_dir.clone(), message: error.to_string() })?;
    dir.keep(key, &json)?;
    say(place, done)
}

/// What an earlier process left of the stage; `None` if it must be carried out anew.
pub(crate) fn resume(place: &Place, key: &str) -> Result<Option<Exit>, StoreError> {
    let Some(json) = JobDir::open(&place.job_dir)?.kept(key)? else { return Ok(None) };
    let done: Done = serde_json::from_slice(&json).map_err(|error| StoreError::Damaged {
        path: place.job_dir.join(key),
        place: format!("line {}", error.line()),
    })?;
    if log_length(place)? > done.at {
        return Ok(Some(exit(done.code)));
    }
    say(place, done).map(Some)
}

fn say(place: &Place, done: Done) -> Result<Exit, StoreError> {
    if !done.words.is_empty() {
        RawLog::open(&place.raw_log)?.append(FrameKind::Stdout, JOB_STREAM, done.time, &done.words)?;
    }
    Ok(exit(done.code))
}

fn exit(code: i32) -> Exit {
    Exit { code, text: format!("exit status {code}") }
}

fn log_length(place: &Place) -> Result<u64, StoreError> {
    let path = &place.raw_log;
    std::fs::metadata(path).map(|found| found.len()).map_err(|source| StoreError::Io {
        doing: "look at",
        path: path.clone(),
        source,
    })
}

/// Collects output and when it began.
struct Words {
    bytes: Vec<u8>,
    first: Option<Timestamp>,
}

impl Write for Words {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.first.get_or_insert_with(|| SystemClock.now());
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
