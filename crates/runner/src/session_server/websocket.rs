//! WebSocket from the server's side (RFC 6455): the handshake's answer and frames. Bytes in, bytes out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Most bytes of a message: nobody types that much at once.
const LARGEST: usize = 1 << 20;
/// Most bytes of the payload of a frame that is not data.
const LARGEST_CONTROL: usize = 125;

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub(crate) fn accept(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key.trim().as_bytes())
        .chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    STANDARD.encode(digest)
}

/// What the other side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A whole message, of text or of bytes.
    Data(Vec<u8>),
    /// To be answered with the same.
    Ping(Vec<u8>),
    /// The answer to ours.
    Pong,
    /// It leaves.
    Close,
}

/// What we say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// The other side does not keep to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// A frame of ours: whole, unmasked.
pub(crate) fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    out.push(0x80 | kind as u8);
    match payload.len() {
        short @ ..126 => out.push(short as u8),
        middle @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// Takes the other side's bytes as they come and gives its messages.
#[derive(Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    /// The frames of a message that has not ended.
    parts: Option<Vec<u8>>,
}

impl Reader {
    /// Takes bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if it is whole.
    pub fn next(&mut self) -> Result<Option<Message>, Broken> {
        loop {
            let [first, second, rest @ ..] = self.bytes.as_slice() else { return Ok(None) };
            let (last, reserved, code) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
            // A client's frames are masked.
            if reserved != 0 || second & 0x80 == 0 {
                return Err(Broken);
            }
            let control = code >= 8;
            let (length, head) = match (second & 0x7f, rest) {
                (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 2),
                (127, [a, b, c, d, e, f, g, h, ..]) => {
                    let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                    (usize::try_from(length).map_err(|_| Broken)?, 8)
                }
                (126 | 127, _) => return Ok(None),
                (short, _) => (usize::from(short), 0),
            };
            let known = self.parts.as_ref().map_or(0, Vec::len);
            if length > LARGEST - known.min(LARGEST) || control && (length > LARGEST_CONTROL || !last) {
                return Err(Broken);
            }
            let start = 2 + head + 4;
            if self.bytes.len() < start + length {
                return Ok(None);
            }
            let mask = [0, 1, 2, 3].map(|at| self.bytes[start - 4 + at]);
            let payload: Vec<u8> = self.bytes[start..start + length]
                .iter()
                .zip(mask.iter().cycle())
                .map(|(b, m)| b ^ m)
                .collect();
            self.bytes.drain(..start + length);
            match (code, self.parts.take()) {
                (0, Some(mut parts)) => {
                    parts.extend_from_slice(&payload);
                    if last {
                        return Ok(Some(Message::Data(parts)));
                    }
                    self.parts = Some(parts);
                }
                (1 | 2, None) if last => return Ok(Some(Message::Data(payload))),
                (1 | 2, None) => self.parts = Some(payload),
                (8, _) => return Ok(Some(Message::Close)),
                (9, parts) => {
                    self.parts = parts;
                    return Ok(Some(Message::Ping(payload)));
                }
                (10, parts) => {
                    self.parts = parts;
                    return Ok(Some(Message::Pong));
                }
                _ => return Err(Broken),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a client sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = frame(Kind::Binary, payload);
        out[0] = first;
        out[1] |= 0x80;
        let head = out.len() - payload.len();
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut hidden: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
        out.truncate(head);
        out.extend_from_slice(&mask);
        out.append(&mut hidden);
        out
    }

    #[test]
    fn rfc_6455_1_3_the_answer_to_the_handshake() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn messages_come_whole_however_their_bytes_are_cut() {
        let long = vec![b'x'; 70_000];
        let middle = vec![b'y'; 300];
        let mut bytes = Vec::new();
        let mut wanted = Vec::new();
        let mut say = |bytes: &mut Vec<u8>, first, payload: &[u8], message| {
            bytes.extend(masked(first, payload));
            wanted.extend(message);
        };
        say(&mut bytes, 0x82, b"ls\n", Some(Message::Data(b"ls\n".to_vec())));
        say(&mut bytes, 0x81, b"", Some(Message::Data(Vec::new())));
        say(&mut bytes, 0x02, b"in ", None);
        say(&mut bytes, 0x89, b"are you there", Some(Message::Ping(b"are you there".to_vec())));
        say(&mut bytes, 0x00, b"three ", None);
        say(&mut bytes, 0x8a, b"", Some(Message::Pong));
        say(&mut bytes, 0x80, b"parts", Some(Message::Data(b"in three parts".to_vec())));
        say(&mut bytes, 0x82, &middle, Some(Message::Data(middle.clone())));
        say(&mut bytes, 0x82, &long, Some(Message::Data(long.clone())));
        say(&mut bytes, 0x88, &[3, 0xe8], Some(Message::Close));
        for size in [1, 2, 3, 7, 64, 4096, bytes.len()] {
            let mut reader = Reader::default();
            let mut heard = Vec::new();
            for part in bytes.chunks(size) {
                reader.feed(part);
                while let Some(message) = reader.next().expect("kept to") {
                    heard.push(message);
                }
            }
            assert!(heard == wanted, "{size}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_refused() {
        let unmasked = frame(Kind::Binary, b"x");
        let huge = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes()].concat();
        let in_parts = [masked(0x02, &vec![0; LARGEST]), masked(0x80, b"x")].concat();
        for (bytes, what) in [
            (unmasked, "not masked"),
            (masked(0xc2, b"x"), "an extension nobody asked for"),
            (masked(0x83, b"x"), "an unknown kind"),
            (masked(0x80, b"x"), "the middle without a beginning"),
            ([masked(0x02, b"x"), masked(0x82, b"x")].concat(), "a beginning in the middle"),
            (masked(0x09, b"x"), "a ping in parts"),
            (masked(0x89, &[0; 126]), "a long ping"),
            (huge, "a terabyte"),
            (in_parts, "more than a message may have"),
        ] {
            let mut reader = Reader::default();
            reader.feed(&bytes);
            let end = loop {
                match reader.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(broken) => break Some(broken),
                }
            };
            assert_eq!(end, Some(Broken), "{what}");
        }
    }
}
