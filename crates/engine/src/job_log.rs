//! The log of one job: frames in `raw.log` become the server's bytes in `trace.log`.
//!
//! Called by `run_job` (which speaks), by the reporter and the terminal (which read). `trace.log` is a pure function of
//! `raw.log`, so after a crash it is made again, byte for byte; nobody reads beyond the committed length. It must
//! never let a time or a wait change the bytes.

use harrier_base::Clock;
use harrier_logpipe::{FrameKind, FrameReader, LogPipe, Settings};
use harrier_store::{JobDir, RawLog, StoreError, Tail};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Why the log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The raw log cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot write the job's log {path}: {source}; check the free space there")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The task that makes the log has panicked.
    #[error("the task that makes the job's log has ended unexpectedly")]
    Ended,
}

/// What a reader of the log needs: the file and how much of it counts.
#[derive(Clone, Debug)]
pub struct LogView {
    /// `trace.log`
    pub path: PathBuf,
    /// Bytes that may be read.
    pub committed: watch::Receiver<u64>,
}

/// The whole log, after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedLog {
    /// Bytes.
    pub len: u64,
    /// CRC-32/IEEE of all of them.
    pub crc32: u32,
}

/// The log of a job that runs.
pub struct JobLog {
    raw: Mutex<RawLog>,
    clock: Arc<dyn Clock>,
    /// Frames of ours that an earlier process has already written.
    skip: AtomicU64,
    first_error: Mutex<Option<String>>,
    view: LogView,
    finish: Mutex<Option<oneshot::Sender<()>>>,
    pump: Mutex<Option<JoinHandle<Result<FinishedLog, LogError>>>>,
}

impl JobLog {
    /// Opens the log of the job in `dir`, new or left by an earlier process, and starts the task that makes it.
    pub async fn open(dir: &JobDir, settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let raw_path = dir.raw_log();
        let raw = RawLog::open(&raw_path)?;
        let skip = own_frames(&raw_path)?;
        let trace_path = dir.trace_log();
        let trace = File::create(&trace_path)
            .map_err(|source| LogError::Write { path: trace_path.clone(), source })?;
        let (committed_tx, committed) = watch::channel(0);
        let (finish, finish_rx) = oneshot::channel();
        let pump = Pump {
            tail: Tail::frames(&raw_path).await?,
            reader: FrameReader::default(),
            pipe: LogPipe::new(settings),
            trace,
            trace_path: trace_path.clone(),
            dir: dir.clone(),
            committed: committed_tx,
        };
        Ok(Self {
            raw: Mutex::new(raw),
            clock,
            skip: AtomicU64::new(skip),
            first_error: Mutex::new(None),
            view: LogView { path: trace_path, committed },
            finish: Mutex::new(Some(finish)),
            pump: Mutex::new(Some(tokio::spawn(pump.run(finish_rx)))),
        })
    }

    /// What readers need.
    pub fn view(&self) -> LogView {
        self.view.clone()
    }

    /// Writes a message of the runner itself. A message that an earlier process has written is not written again.
    pub fn say(&self, text: &str) {
        self.append(FrameKind::Runner, text.as_bytes());
    }

    /// The last words of a job that `run_job` cannot say itself: its task is dead, or the machine was started anew.
    /// Written whatever an earlier process has written.
    pub fn fail(&self, message: &str) {
        self.skip.store(0, Ordering::Relaxed);
        self.append(FrameKind::Boundary, b"");
        self.append(FrameKind::Runner, crate::words::failed(message, true).as_bytes());
    }

    /// Marks the end of a stage: the filters let go of what they hold.
    pub fn boundary(&self) {
        self.append(FrameKind::Boundary, b"");
    }

    /// The first thing that went wrong while speaking, e.g. a full disk.
    pub fn error(&self) -> Option<String> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the log once all that is in the raw log has passed. Called once; later calls fail.
    pub async fn finish(&self) -> Result<FinishedLog, LogError> {
        let sender = self.finish.lock().unwrap_or_else(PoisonError::into_inner).take();
        let pump = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // The task is gone only if it failed; its result says so.
            let _ = sender.send(());
        }
        match pump {
            Some(pump) => pump.await.map_err(|_| LogError::Ended)?,
            None => Err(LogError::Ended),
        }
    }

    fn append(&self, kind: FrameKind, bytes: &[u8]) {
        let skipped =
            self.skip.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if skipped {
            return;
        }
        if let Err(error) =
            self.raw.lock().unwrap_or_else(PoisonError::into_inner).append(kind, 0, self.clock.now(), bytes)
        {
            let mut first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.to_string());
        }
    }
}

impl Drop for JobLog {
    fn drop(&mut self) {
        if let Some(pump) = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take() {
            pump.abort();
        }
    }
}

/// Counts the frames `append` has written in an earlier life.
fn own_frames(raw: &Path) -> Result<u64, LogError> {
    let mut file = File::open(raw).map_err(|source| LogError::Write { path: raw.to_owned(), source })?;
    let mut reader = FrameReader::default();
    let mut chunk = vec![0; 256 * 1024];
    let mut own = 0;
    loop {
        let n = file.read(&mut chunk).map_err(|source| LogError::Write { path: raw.to_owned(), source })?;
        if n == 0 {
            return Ok(own);
        }
        reader.feed(&chunk[..n]);
        while let Ok(Some(frame)) = reader.next_frame() {
            own += u64::from(matches!(frame.kind, FrameKind::Runner | FrameKind::Boundary));
        }
    }
}

/// The task that makes `trace.log`.
struct Pump {
    tail: Tail,
    reader: FrameReader,
    pipe: LogPipe,
    trace: File,
    trace_path: PathBuf,
    dir: JobDir,
    committed: watch::Sender<u64>,
}

impl Pump {
    async fn run(mut self, mut finish: oneshot::Receiver<()>) -> Result<FinishedLog, LogError> {
        let mut buf = Vec::new();
        loop {
            buf.clear();
            tokio::select! {
                biased;
                more = self.tail.more(&mut buf) => { more?; }
                _ = &mut finish => break,
            }
            self.pass(&buf)?;
        }
        loop {
            buf.clear();
            if self.tail.read_now(&mut buf)? == 0 {
                break;
            }
            self.pass(&buf)?;
        }
        let mut out = Vec::new();
        self.pipe.finish(&mut out);
        self.write(&out)?;
        Ok(FinishedLog { len: self.pipe.len(), crc32: self.pipe.crc32() })
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let was_full = self.pipe.limit_reached();
        self.reader.feed(bytes);
        let mut out = Vec::new();
        // A damaged frame can only stand where a write was cut short by a full disk; what follows it cannot be
        // told from it, so the log ends there.
        while let Ok(Some(frame)) = self.reader.next_frame() {
            self.pipe.frame(&frame, &mut out);
        }
        if !was_full && self.pipe.limit_reached() {
            // The supervisor stops keeping output nobody will see. If the mark cannot be made the output is kept.
            let _ = self.dir.mark_full();
        }
        self.write(&out)
    }

    fn write(&mut self, out: &[u8]) -> Result<(), LogError> {
        if out.is_empty() {
            return Ok(());
        }
        self.trace
            .write_all(out)
            .map_err(|source| LogError::Write { path: self.trace_path.clone(), source })?;
        self.committed.send_replace(self.pipe.len());
        Ok(())
    }
}
