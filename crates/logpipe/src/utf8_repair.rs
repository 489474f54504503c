//! Makes valid UTF-8 of any bytes: each byte that belongs to no character becomes U+FFFD (`runner-api.md` §15.2). Done
//! for each stream by itself, so that a character written in two parts is whole again even when another stream's output
//! comes between. Called by `pipe.rs` alone.

const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// State of one stream.
#[derive(Default)]
pub(crate) struct Utf8Repair {
    /// The beginning of a character.
    held: Vec<u8>,
}

impl Utf8Repair {
    /// As [`crate::masker::Masker::feed`]; the result is valid UTF-8.
    pub fn feed<'a>(&mut self, input: &'a [u8], last: bool, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        if self.held.is_empty() && std::str::from_utf8(input).is_ok() {
            return input;
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(input);
        scratch.clear();
        let mut rest: &[u8] = &text;
        while let Err(error) = std::str::from_utf8(rest) {
            let (good, bad) = rest.split_at(error.valid_up_to());
            scratch.extend_from_slice(good);
            let length = match error.error_len() {
                Some(length) => length,
                None if last => bad.len(),
                None => {
                    self.held.extend_from_slice(bad);
                    return scratch;
                }
            };
            for _ in 0..length {
                scratch.extend_from_slice(REPLACEMENT);
            }
            rest = &bad[length..];
        }
        scratch.extend_from_slice(rest);
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run<'a>(writes: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut repair = Utf8Repair::default();
        let mut out = Vec::new();
        let mut scratch = Vec::new();
        for write in writes {
            out.extend_from_slice(repair.feed(write, false, &mut scratch));
        }
        out.extend_from_slice(repair.feed(b"", true, &mut scratch));
        out
    }

    #[test]
    fn runner_api_15_2_invalid_bytes_are_replaced() {
        for (bytes, want) in [
            (&b"plain"[..], "plain"),
            ("ünïcödé €".as_bytes(), "ünïcödé €"),
            (b"a\xffb", "a\u{FFFD}b"),
            (b"\xe2\x82x", "\u{FFFD}\u{FFFD}x"),
            (b"\xe2\x82", "\u{FFFD}\u{FFFD}"),
            (b"\xc3\xc3\xa9", "\u{FFFD}é"),
        ] {
            assert_eq!(run([bytes]), want.as_bytes());
            assert_eq!(run(bytes.chunks(1)), want.as_bytes(), "byte by byte");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_valid_text_whatever_the_split(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0xc0u8..0xf8, 0x80u8..0xc0], 0..60),
            size in 1usize..7,
        ) {
            let whole = run([bytes.as_slice()]);
            prop_assert!(std::str::from_utf8(&whole).is_ok());
            prop_assert_eq!(run(bytes.chunks(size)), whole);
        }
    }
}
