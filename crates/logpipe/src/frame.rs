//! Frames: how raw job output is kept on disk until the log is made of it.
//!
//! A job's raw log is a file of frames, appended to by the runner (its own messages), by the supervisor of the
//! stage that runs (the script's output) or by a session (a container's output). Each append is one `write` of one whole
//! frame to a file opened with `O_APPEND`. The log the server sees is a pure function of the frames, so a runner that
//! was killed makes the very same bytes again.
//!
//! Layout, little endian: `kind u8`, `stream u8`, `length u32`, `time u64` (microseconds), then `length` bytes.

use harrier_base::Timestamp;

/// Bytes before the payload.
const HEAD: usize = 14;

/// Longest payload of one frame; writers split longer output.
pub const MAX_FRAME: usize = 64 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// A line or marker of the runner itself, stream 0.
    Runner = 1,
    /// The job's standard output.
    Stdout = 2,
    /// The job's standard error.
    Stderr = 3,
    /// A stage ended: whatever the filters still hold is let go. Empty.
    Boundary = 4,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Runner),
            2 => Some(Self::Stdout),
            3 => Some(Self::Stderr),
            4 => Some(Self::Boundary),
            _ => None,
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// Stream number of the time stamps: 0 runner, 1 job, 15 and up services (`runner-api.md` §15.3).
    pub stream: u8,
    /// When its first byte came.
    pub time: Timestamp,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Writes one frame behind `out`. `bytes` longer than [`MAX_FRAME`] is the caller's to split; here it is cut
/// into several frames.
pub fn encode(kind: FrameKind, stream: u8, time: Timestamp, bytes: &[u8], out: &mut Vec<u8>) {
    let mut one = |part: &[u8]| {
        out.reserve(HEAD + part.len());
        out.push(kind as u8);
        out.push(stream);
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&time.0.to_le_bytes());
        out.extend_from_slice(part);
    };
    if bytes.is_empty() {
        one(bytes);
    }
    for part in bytes.chunks(MAX_FRAME) {
        one(part);
    }
}

/// The file is not made of frames at this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the raw log is damaged at byte {offset}")]
pub struct DamagedFrame {
    /// Offset in the bytes fed so far.
    pub offset: u64,
}

/// How many of `bytes`, which start at a frame, are whole frames; the rest is the begin of one. Only headers are
/// looked at, so walking a log is cheap.
pub fn whole_frames(bytes: &[u8]) -> Result<usize, DamagedFrame> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(head) = rest.get(..HEAD) else { return Ok(at) };
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        if FrameKind::from_byte(head[0]).is_none() || length > MAX_FRAME {
            return Err(DamagedFrame { offset: at as u64 });
        }
        if rest.len() < HEAD + length {
            return Ok(at);
        }
        at += HEAD + length;
    }
}

/// Takes bytes in any split and gives whole frames.
#[derive(Default)]
pub struct FrameReader {
    held: Vec<u8>,
    at: usize,
    consumed: u64,
}

impl FrameReader {
    /// Adds bytes read from the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 && self.at == self.held.len() {
            self.held.clear();
            self.at = 0;
        } else if self.at > MAX_FRAME * 4 {
            self.held.drain(..self.at);
            self.at = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DamagedFrame> {
        let rest = &self.held[self.at..];
        let Some(head) = rest.get(..HEAD) else { return Ok(None) };
        let damaged = DamagedFrame { offset: self.consumed };
        let kind = FrameKind::from_byte(head[0]).ok_or(damaged)?;
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        if length > MAX_FRAME {
            return Err(damaged);
        }
        let Some(bytes) = rest.get(HEAD..HEAD + length) else { return Ok(None) };
        let mut time = [0u8; 8];
        time.copy_from_slice(&head[6..14]);
        let frame =
            Frame { kind, stream: head[1], time: Timestamp(u64::from_le_bytes(time)), bytes: bytes.to_vec() };
        self.at += HEAD + length;
        self.consumed += (HEAD + length) as u64;
        Ok(Some(frame))
    }

    /// Offset behind the last whole frame given out.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_frames() {
        let mut file = Vec::new();
        encode(FrameKind::Stdout, 1, Timestamp(5), b"hello", &mut file);
        encode(FrameKind::Boundary, 0, Timestamp(6), b"", &mut file);
        encode(FrameKind::Stderr, 1, Timestamp(7), &vec![b'x'; MAX_FRAME + 3], &mut file);
        for step in [1, 2, 7, 13, 14, 15, 1000, file.len()] {
            let mut reader = FrameReader::default();
            let mut frames = Vec::new();
            for part in file.chunks(step) {
                reader.feed(part);
                while let Some(frame) = reader.next_frame().expect("whole") {
                    frames.push(frame);
                }
            }
            assert_eq!(frames.len(), 4, "step {step}");
            assert_eq!(frames[0].bytes, b"hello");
            assert_eq!(frames[3].bytes, b"xxx");
            assert_eq!(reader.consumed(), file.len() as u64);
        }
    }

    #[test]
    fn whole_frames_stop_at_a_torn_one() {
        let mut file = Vec::new();
        encode(FrameKind::Stdout, 1, Timestamp(5), b"hello", &mut file);
        let border = file.len();
        encode(FrameKind::Stderr, 1, Timestamp(6), b"world", &mut file);
        for cut in border..file.len() {
            assert_eq!(whole_frames(&file[..cut]), Ok(border));
        }
        assert_eq!(whole_frames(&file), Ok(file.len()));
        file[border] = 77;
        assert_eq!(whole_frames(&file), Err(DamagedFrame { offset: border as u64 }));
    }

    #[test]
    fn damage_is_found() {
        let mut reader = FrameReader::default();
        reader.feed(&[9; 20]);
        assert_eq!(reader.next_frame(), Err(DamagedFrame { offset: 0 }));
    }
}
