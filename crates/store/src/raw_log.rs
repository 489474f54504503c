//! Writing the raw log. Several processes append to it: the runner says its own lines, the supervisor of the stage
//! that runs writes the script's output.
//!
//! A frame may be torn: a full disk takes half of it, a process killed inside `write` leaves a part. So every append holds
//! the file's lock and first looks whether what others have added since is made of whole frames; a torn end, which
//! nobody can be writing any more, is cut off. Readers ([`crate::Tail::frames`]) take whole frames only
//! and read again from the last border, so they never see the difference.

use crate::{StoreError, files};
use harrier_base::Timestamp;
use harrier_logpipe::{FrameKind, MAX_FRAME, encode, whole_frames};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at a time when frames of others are walked; more than the longest frame.
const STEP: usize = 4 * MAX_FRAME;

/// A writer of the raw log.
#[derive(Debug)]
pub struct RawLog {
    path: PathBuf,
    file: File,
    /// End of the frames known to be whole.
    border: u64,
    frame: Vec<u8>,
}

impl RawLog {
    /// Opens or makes it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = files::private()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(StoreError::io("open", path))?;
        Ok(Self { path: path.to_owned(), file, border: 0, frame: Vec::new() })
    }

    /// Appends `bytes` as frames of at most [`MAX_FRAME`] bytes. After an error nothing of the frame that failed is
    /// in the file.
    pub fn append(
        &mut self,
        kind: FrameKind,
        stream: u8,
        time: Timestamp,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.file.lock().map_err(StoreError::io("lock", &self.path))?;
        let done = self.append_locked(kind, stream, time, bytes);
        let unlocked = self.file.unlock().map_err(StoreError::io("unlock", &self.path));
        done.and(unlocked)
    }

    fn append_locked(
        &mut self,
        kind: FrameKind,
        stream: u8,
        time: Timestamp,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.walk()?;
        let mut one = |part: &[u8]| {
            self.frame.clear();
            encode(kind, stream, time, part, &mut self.frame);
            if let Err(error) = self.file.write_all(&self.frame) {
                // If this fails as well, the next writer cuts it.
                let _ = self.file.set_len(self.border);
                return Err(StoreError::io("write", &self.path)(error));
            }
            self.border += self.frame.len() as u64;
            Ok(())
        };
        if bytes.is_empty() {
            return one(bytes);
        }
        bytes.chunks(MAX_FRAME).try_for_each(one)
    }

    /// Moves the border over the frames others have written and cuts off a torn end.
    fn walk(&mut self) -> Result<(), StoreError> {
        let len = self.file.metadata().map_err(StoreError::io("look at", &self.path))?.len();
        if len == self.border {
            return Ok(());
        }
        let mut bytes = Vec::new();
        while self.border < len {
            let want = usize::try_from(len - self.border).unwrap_or(STEP).min(STEP);
            bytes.resize(want, 0);
            self.file.read_exact_at(&mut bytes, self.border).map_err(StoreError::io("read", &self.path))?;
            let whole = whole_frames(&bytes).map_err(|damage| StoreError::Damaged {
                path: self.path.clone(),
                place: format!("byte {}", self.border + damage.offset),
            })?;
            if whole == 0 {
                return self.file.set_len(self.border).map_err(StoreError::io("mend", &self.path));
            }
            self.border += whole as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_logpipe::FrameReader;

    fn frames(path: &Path) -> Vec<(FrameKind, Vec<u8>)> {
        let mut reader = FrameReader::default();
        reader.feed(&std::fs::read(path).expect("read"));
        let mut out = Vec::new();
        while let Some(frame) = reader.next_frame().expect("whole") {
            out.push((frame.kind, frame.bytes));
        }
        out
    }

    #[test]
    fn two_writers_and_every_torn_end() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("raw.log");
        let mut torn = Vec::new();
        encode(FrameKind::Stdout, 1, Timestamp(2), b"torn", &mut torn);
        let mut ours = RawLog::open(&path).expect("opened");
        let mut theirs = RawLog::open(&path).expect("opened");
        let mut want = Vec::new();
        for cut in 0..torn.len() {
            ours.append(FrameKind::Runner, 0, Timestamp(1), b"hello").expect("appended");
            // A writer that dies in the middle of a frame.
            files::private().append(true).open(&path).expect("opened").write_all(&torn[..cut]).expect("torn");
            theirs.append(FrameKind::Stdout, 1, Timestamp(3), b"world").expect("appended");
            want.push((FrameKind::Runner, b"hello".to_vec()));
            want.push((FrameKind::Stdout, b"world".to_vec()));
            assert_eq!(frames(&path), want, "cut at {cut}");
        }
    }

    #[test]
    fn long_output_is_split_and_a_boundary_is_empty() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("raw.log");
        let mut log = RawLog::open(&path).expect("opened");
        log.append(FrameKind::Stdout, 1, Timestamp(1), &vec![b'x'; 5 * MAX_FRAME + 1]).expect("appended");
        log.append(FrameKind::Boundary, 1, Timestamp(1), b"").expect("appended");
        // A fresh writer walks it all.
        RawLog::open(&path)
            .expect("opened")
            .append(FrameKind::Stderr, 1, Timestamp(1), b"e")
            .expect("appended");
        let lengths: Vec<usize> = frames(&path).iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [MAX_FRAME, MAX_FRAME, MAX_FRAME, MAX_FRAME, MAX_FRAME, 1, 0, 1]);
    }

    #[test]
    fn a_full_disk_is_said_and_named() {
        let mut log = RawLog::open(Path::new("/dev/full")).expect("opened");
        let error = log.append(FrameKind::Stdout, 1, Timestamp(1), b"x").expect_err("full");
        assert!(error.is_disk_full(), "{error}");
        assert!(error.to_string().contains("/dev/full"), "{error}");
    }
}
