//! What a push asks for: the head of a receive-pack request. Pure; called by `exchange.rs`.

use super::pkt_line::{Next, Packet, next};

/// Most bytes of commands and options; some ten thousand refs.
const LONGEST: usize = 4 << 20;

/// A ref that is to be made, moved or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefChange {
    /// `refs/heads/main`.
    pub name: String,
    /// What it was; zeros: it was not there.
    pub old: String,
    /// What it becomes; zeros: it goes.
    pub new: String,
}

impl RefChange {
    /// It goes.
    pub fn deletes(&self) -> bool {
        zeros(&self.new)
    }

    /// It was not there.
    pub fn creates(&self) -> bool {
        zeros(&self.old)
    }
}

fn zeros(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'0')
}

/// A whole push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Push {
    /// In the order of the request.
    pub changes: Vec<RefChange>,
    /// `git push -o …`: `ci.skip`, `ci.variable=KEY=value`.
    pub options: Vec<String>,
    /// The client understands messages beside the report.
    pub(crate) side_band: bool,
}

/// Why a head makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Not what git sends.
    #[error("this is no git push")]
    Broken,
    /// Too many refs at once.
    #[error("the list of refs is too long; push fewer refs at a time")]
    TooLong,
}

/// Reads the head once it is whole; `None`: more bytes are needed.
pub(crate) fn read_head(bytes: &[u8]) -> Result<Option<Push>, PushError> {
    let mut push = Push::default();
    let (mut at, mut takes_options, mut in_options) = (0, false, false);
    loop {
        match next(&bytes[at..]) {
            Next::Broken => return Err(PushError::Broken),
            Next::More if bytes.len() > LONGEST => return Err(PushError::TooLong),
            Next::More => return Ok(None),
            Next::Packet(Packet::Delimiter, _) => return Err(PushError::Broken),
            Next::Packet(Packet::Flush, _) if takes_options && !in_options => {
                in_options = true;
                at += 4;
            }
            Next::Packet(Packet::Flush, _) => return Ok(Some(push)),
            Next::Packet(Packet::Data(data), long) => {
                at += long;
                let data = data.strip_suffix(b"\n").unwrap_or(data);
                if in_options {
                    push.options.push(String::from_utf8_lossy(data).into_owned());
                    continue;
                }
                let (command, abilities) = match data.iter().position(|byte| *byte == 0) {
                    Some(end) => (&data[..end], String::from_utf8_lossy(&data[end + 1..]).into_owned()),
                    None => (data, String::new()),
                };
                push.side_band |= abilities.split(' ').any(|word| word == "side-band-64k");
                takes_options |= abilities.split(' ').any(|word| word == "push-options");
                // A shallow clone says where its history ends; signed pushes bring a certificate, which nobody asked for.
                if command.starts_with(b"shallow ") {
                    continue;
                }
                push.changes.push(change(command).ok_or(PushError::Broken)?);
            }
        }
    }
}

fn change(command: &[u8]) -> Option<RefChange> {
    let command = std::str::from_utf8(command).ok()?;
    let (old, rest) = command.split_once(' ')?;
    let (new, name) = rest.split_once(' ')?;
    let id = |id: &str| matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = id(old) && id(new) && name.starts_with("refs/") && !name.contains(char::is_control);
    fits.then(|| RefChange { name: name.to_owned(), old: old.to_owned(), new: new.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::pkt_line::data;
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let mut bytes = data(
            format!("{ZERO} {OLD} refs/heads/main\0 report-status side-band-64k push-options agent=git/2")
                .as_bytes(),
        );
        bytes.extend(data(format!("{OLD} {ZERO} refs/tags/v1").as_bytes()));
        bytes.extend(b"0000");
        bytes.extend(data(b"ci.skip"));
        bytes.extend(b"0000PACK");
        for cut in 0..bytes.len() - 4 {
            assert_eq!(read_head(&bytes[..cut]), Ok(None), "{cut}");
        }
        let push = read_head(&bytes).expect("a push").expect("whole");
        assert_eq!(push.options, ["ci.skip"]);
        assert!(push.side_band && push.changes[0].creates() && push.changes[1].deletes());
        assert_eq!(push.changes[1].name, "refs/tags/v1");
        assert_eq!(read_head(b"0000"), Ok(Some(Push::default())));
    }

    #[test]
    fn what_is_no_push_is_refused() {
        for text in [
            "x",
            &format!("{OLD} {OLD} HEAD"),
            &format!("{OLD} {OLD}"),
            "1 2 refs/heads/x",
            &format!("{OLD} {OLD} refs/a\rb"),
        ] {
            assert_eq!(read_head(&data(text.as_bytes())), Err(PushError::Broken), "{text}");
        }
        assert_eq!(read_head(b"GET / HTTP"), Err(PushError::Broken));
    }
}
