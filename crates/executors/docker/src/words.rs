//! What the executor itself says in a job's log: while images are pulled, services started.
//!
//! The lines are written as frames of the executor's stream (number 0). They are not the engine's own messages, which are
//! counted, so a job that is taken up again does not lose its place.

use harrier_base::{Clock, SystemClock};
use harrier_logpipe::FrameKind;
use harrier_store::{RawLog, StoreError};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Stream of the executor (`runner-api.md` §15.3).
const OWN_STREAM: u8 = 0;

/// The raw log, written to by several tasks.
#[derive(Clone)]
pub(crate) struct Words {
    raw: Arc<Mutex<RawLog>>,
}

impl Words {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { raw: Arc::new(Mutex::new(RawLog::open(path)?)) })
    }

    /// A plain line.
    pub fn info(&self, text: &str) {
        self.own(&format!("\x1b[0K{text}\x1b[0;m\n"));
    }

    /// A warning.
    pub fn warning(&self, text: &str) {
        self.own(&format!("\x1b[0;33mWARNING: {text}\x1b[0;m\n"));
    }

    /// An error that is not the job's end.
    pub fn error(&self, text: &str) {
        self.own(&format!("\x1b[31;1mERROR: {text}\x1b[0;m\n"));
    }

    /// Several lines as they are, in yellow.
    pub fn block(&self, text: &str) {
        self.own(&format!("\x1b[0;33m{text}\x1b[0;m\n"));
    }

    fn own(&self, text: &str) {
        // A line that cannot be written does not stop a job; output that cannot does, where it is written.
        if let Err(error) = self.frame(FrameKind::Stdout, OWN_STREAM, text.as_bytes()) {
            tracing::warn!(%error, "a line of the job's log is lost");
        }
    }

    /// Output of a container.
    pub fn frame(&self, kind: FrameKind, stream: u8, bytes: &[u8]) -> Result<(), StoreError> {
        self.raw.lock().unwrap_or_else(PoisonError::into_inner).append(kind, stream, SystemClock.now(), bytes)
    }
}
