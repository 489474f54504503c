//! Reading a file that grows, waiting for more without asking again and again.

use crate::StoreError;
use harrier_logpipe::{MAX_FRAME, whole_frames};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;

/// Bytes read at a time; more than the longest frame.
const STEP: usize = 2 * MAX_FRAME;

/// How often a file is looked at when the system has no more watches to give (128 for each user by default).
const WITHOUT_WATCH: Duration = Duration::from_millis(20);

/// A reader of a growing file. It begins at byte 0.
pub struct Tail {
    path: PathBuf,
    file: File,
    at: u64,
    frames: bool,
    watch: Watch,
    step: Vec<u8>,
}

enum Watch {
    /// An inotify instance. For tokio it is like the reading end of a pipe: a descriptor that becomes readable.
    Inotify(Receiver),
    Clock,
}

impl Tail {
    /// Reads the file's bytes as they come.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::new(path, false)
    }

    /// Reads a raw log: gives whole frames only, and copes with a torn frame that is cut off later
    /// (see [`crate::RawLog`]).
    pub async fn frames(path: &Path) -> Result<Self, StoreError> {
        Self::new(path, true)
    }

    fn new(path: &Path, frames: bool) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        // The watch stands before the first look at the file, so nothing falls between the two.
        let watch = match watch(path) {
            Ok(inotify) => Watch::Inotify(
                Receiver::from_owned_fd_unchecked(inotify.into())
                    .map_err(StoreError::io("wait for changes of", path))?,
            ),
            Err(_) => Watch::Clock,
        };
        Ok(Self { path: path.to_owned(), file, at: 0, frames, watch, step: Vec::new() })
    }

    /// Where the next byte is read.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// Appends to `buf` what is there now, at most 128 KiB a call, and says how much: 0 is the end for now.
    pub fn read_now(&mut self, buf: &mut Vec<u8>) -> Result<usize, StoreError> {
        self.step.resize(STEP, 0);
        let mut got = 0;
        while got < STEP {
            match self.file.read_at(&mut self.step[got..], self.at + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::io("read", &self.path)(error)),
            }
        }
        if self.frames {
            got = whole_frames(&self.step[..got]).map_err(|damage| StoreError::Damaged {
                path: self.path.clone(),
                place: format!("byte {}", self.at + damage.offset),
            })?;
        }
        buf.extend_from_slice(&self.step[..got]);
        self.at += got as u64;
        Ok(got)
    }

    /// As [`read_now`](Self::read_now), but waits until there is something: never returns 0. May be dropped while
    /// it waits.
    pub async fn more(&mut self, buf: &mut Vec<u8>) -> Result<usize, StoreError> {
        loop {
            let got = self.read_now(buf)?;
            if got > 0 {
                return Ok(got);
            }
            match &self.watch {
                Watch::Clock => tokio::time::sleep(WITHOUT_WATCH).await,
                Watch::Inotify(inotify) => {
                    inotify.readable().await.map_err(StoreError::io("wait for changes of", &self.path))?;
                    // The events say nothing but "look again"; all are taken before the look.
                    let mut events = [0; 1024];
                    while inotify.try_read(&mut events).is_ok_and(|got| got > 0) {}
                }
            }
        }
    }
}

fn watch(path: &Path) -> nix::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
    Ok(inotify)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawLog;
    use harrier_base::Timestamp;
    use harrier_logpipe::FrameKind;
    use std::io::Write;

    async fn both_ways(clock: bool) {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("log");
        std::fs::write(&path, "before").expect("written");
        let mut tail = Tail::open(&path).await.expect("opened");
        if clock {
            tail.watch = Watch::Clock;
        }
        let mut file = crate::files::private().append(true).open(&path).expect("opened");
        file.write_all(b" and after").expect("written");
        let mut buf = Vec::new();
        while buf.len() < 16 {
            tail.more(&mut buf).await.expect("more");
        }
        assert_eq!(buf, b"before and after");
        assert_eq!(tail.read_now(&mut buf).expect("read"), 0);
        let writer = tokio::task::spawn_blocking(move || {
            for _ in 0..1000 {
                file.write_all(b"0123456789").expect("written");
            }
        });
        buf.clear();
        while buf.len() < 10_000 {
            tail.more(&mut buf).await.expect("more");
        }
        writer.await.expect("writer");
        assert_eq!(buf, b"0123456789".repeat(1000));
        assert_eq!(tail.offset(), 10_016);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn wakes_for_everything_appended() {
        both_ways(false).await;
        both_ways(true).await;
    }

    #[tokio::test]
    async fn a_torn_frame_is_never_given_out() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("raw.log");
        let mut log = RawLog::open(&path).expect("opened");
        log.append(FrameKind::Stdout, 1, Timestamp(1), b"one").expect("appended");
        let whole = std::fs::read(&path).expect("read");
        let mut tail = Tail::frames(&path).await.expect("opened");
        let mut buf = Vec::new();
        crate::files::private()
            .append(true)
            .open(&path)
            .expect("opened")
            .write_all(&whole[..9])
            .expect("torn");
        tail.more(&mut buf).await.expect("more");
        assert_eq!(buf, whole);
        assert_eq!(tail.read_now(&mut buf).expect("read"), 0);
        log.append(FrameKind::Stdout, 1, Timestamp(1), b"one").expect("appended");
        tail.more(&mut buf).await.expect("more");
        assert_eq!(buf, whole.repeat(2));
    }
}
