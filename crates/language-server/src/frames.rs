//! Messages on a stream of bytes: a header with the length, an empty line, the JSON text. Called by the host, which owns the
//! stream.

use serde_json::Value;

/// Longest message that is taken.
const MAX_LENGTH: usize = 64 << 20;
/// Longest header.
const MAX_HEADER: usize = 8 << 10;

/// The stream cannot be followed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError(pub &'static str);

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for FrameError {}

/// Bytes in, messages out.
#[derive(Debug, Default)]
pub struct Frames {
    waiting: Vec<u8>,
}

impl Frames {
    /// More bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next message, if it is complete; a message that is no JSON is `Null`.
    pub fn next_message(&mut self) -> Result<Option<Value>, FrameError> {
        let Some(end) = self.waiting.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if self.waiting.len() > MAX_HEADER {
                Err(FrameError("the header of a message is too long"))
            } else {
                Ok(None)
            };
        };
        let header = String::from_utf8_lossy(&self.waiting[..end]).into_owned();
        let length = header
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse::<usize>().ok())
            .ok_or(FrameError("a message has no Content-Length"))?;
        if length > MAX_LENGTH {
            return Err(FrameError("a message is longer than 64 MiB"));
        }
        let begin = end + 4;
        if self.waiting.len() - begin < length {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.waiting[begin..begin + length]).unwrap_or(Value::Null);
        self.waiting.drain(..begin + length);
        Ok(Some(message))
    }
}

/// A message as bytes for the stream.
pub fn frame(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    format!("Content-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let messages = [json!({"a": "ä"}), json!([]), json!({"b": 1})];
        let bytes: Vec<u8> = messages.iter().flat_map(frame).collect();
        for step in 1..40 {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(step) {
                frames.push(piece);
                while let Some(message) = frames.next_message().expect("sound") {
                    found.push(message);
                }
            }
            assert_eq!(found, messages);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["X: 1\r\n\r\n", "Content-Length: x\r\n\r\n", "Content-Length: 99999999999\r\n\r\n"] {
            let mut frames = Frames::default();
            frames.push(text.as_bytes());
            assert!(frames.next_message().is_err(), "{text}");
        }
        let mut frames = Frames::default();
        frames.push(&[b'x'; 9000]);
        assert!(frames.next_message().is_err());
    }
}
