//! Going on with the output of a build container whose stream was lost with the runner: the engine has kept all of it,
//! the raw log has some of it.
//!
//! Called when a stage is resumed. The engine keeps text: a byte that is no UTF-8 comes back as U+FFFD, and
//! long lines are kept in pieces. What the raw log has is counted the same way, so nothing is lost or said twice.

use harrier_logpipe::{FrameKind, FrameReader};
use std::io::Read;
use std::path::Path;

/// Longest piece of a line that the engine keeps as one.
const PIECE: usize = 16 * 1024;

/// Bytes the engine keeps for what the raw log has, by stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub stdout: u64,
    pub stderr: u64,
}

impl Kept {
    /// Of one stream.
    pub fn of(&mut self, kind: FrameKind) -> &mut u64 {
        match kind {
            FrameKind::Stderr => &mut self.stderr,
            FrameKind::Stdout | FrameKind::Runner | FrameKind::Boundary => &mut self.stdout,
        }
    }
}

/// Counts what stands in the raw log from byte `from` on, in the frames of `stream`.
pub(crate) fn kept(raw_log: &Path, from: u64, stream: u8) -> std::io::Result<Kept> {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(raw_log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = FrameReader::default();
    let (mut out, mut err) = (Counter::default(), Counter::default());
    let mut chunk = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            break;
        }
        reader.feed(&chunk[..n]);
        // A torn end is cut off by the next writer.
        while let Ok(Some(frame)) = reader.next_frame() {
            match frame.kind {
                FrameKind::Stdout if frame.stream == stream => out.feed(&frame.bytes),
                FrameKind::Stderr if frame.stream == stream => err.feed(&frame.bytes),
                FrameKind::Stdout | FrameKind::Stderr | FrameKind::Runner | FrameKind::Boundary => {}
            }
        }
    }
    Ok(Kept { stdout: out.total(), stderr: err.total() })
}

/// Counts one stream.
#[derive(Default)]
struct Counter {
    piece: Vec<u8>,
    done: u64,
}

impl Counter {
    fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = part;
            while !rest.is_empty() {
                let room = (PIECE - self.piece.len()).min(rest.len());
                self.piece.extend_from_slice(&rest[..room]);
                rest = &rest[room..];
                if self.piece.len() == PIECE || self.piece.ends_with(b"\n") {
                    self.done += as_kept(&self.piece);
                    self.piece.clear();
                }
            }
        }
    }

    fn total(&self) -> u64 {
        self.done + as_kept(&self.piece)
    }
}

/// Length of a piece after the engine has made text of it: each byte that is no part of a character becomes three.
fn as_kept(piece: &[u8]) -> u64 {
    let mut length = 0;
    for chunk in piece.utf8_chunks() {
        length += chunk.valid().len() + 3 * chunk.invalid().len();
    }
    length as u64
}

/// Leaves out the first bytes of both streams.
pub(crate) struct Skip(pub Kept);

impl Skip {
    /// The part of `bytes` that is new.
    pub fn rest<'a>(&mut self, kind: FrameKind, bytes: &'a [u8]) -> &'a [u8] {
        let left = self.0.of(kind);
        let cut = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        *left -= cut as u64;
        &bytes[cut..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_base::Timestamp;
    use harrier_logpipe::encode;

    #[test]
    fn counts_as_the_engine_keeps() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("raw.log");
        let mut bytes = Vec::new();
        encode(FrameKind::Stdout, 1, Timestamp(1), b"before", &mut bytes);
        let from = bytes.len() as u64;
        encode(FrameKind::Stdout, 1, Timestamp(1), "ü\n".as_bytes(), &mut bytes);
        encode(FrameKind::Stderr, 1, Timestamp(1), b"\xff\xfe!", &mut bytes);
        encode(FrameKind::Stdout, 0, Timestamp(1), b"not the job's", &mut bytes);
        encode(FrameKind::Runner, 0, Timestamp(1), b"said", &mut bytes);
        // A character over the border of a piece is two broken ones.
        let mut long = vec![b'x'; PIECE - 1];
        long.extend("ü".as_bytes());
        encode(FrameKind::Stdout, 1, Timestamp(1), &long, &mut bytes);
        std::fs::write(&path, &bytes).expect("written");
        let found = kept(&path, from, 1).expect("counted");
        assert_eq!(found, Kept { stdout: 3 + (PIECE as u64 - 1) + 3 + 3, stderr: 7 });
    }

    #[test]
    fn skips_by_stream() {
        let mut skip = Skip(Kept { stdout: 4, stderr: 1 });
        assert_eq!(skip.rest(FrameKind::Stdout, b"abc"), b"");
        assert_eq!(skip.rest(FrameKind::Stderr, b"xyz"), b"yz");
        assert_eq!(skip.rest(FrameKind::Stdout, b"def"), b"ef");
        assert_eq!(skip.rest(FrameKind::Stdout, b"ghi"), b"ghi");
    }
}
