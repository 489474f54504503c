//! Hides the values of sensitive URL parameters (`runner-api.md` §15.5). Called by `pipe.rs` alone, behind the masker.

use crate::masker::MASK;
use memchr::memchr2;

/// Parameter names, in lower case.
const NAMES: [&[u8]; 6] = [
    b"private_token",
    b"authenticity_token",
    b"rss_token",
    b"x-amz-signature",
    b"x-amz-credential",
    b"x-amz-security-token",
];

/// State of one stream.
#[derive(Default)]
pub(crate) struct UrlSanitiser {
    /// `?` or `&` and an unfinished name.
    held: Vec<u8>,
    /// In a value, whose mask is out.
    in_value: bool,
}

/// How a text behind `?` or `&` begins.
enum Name {
    /// With a name and `=`, of so many bytes.
    Whole(usize),
    /// It ends within one.
    Unfinished,
    /// With none.
    Not,
}

fn name_at(text: &[u8]) -> Name {
    for name in NAMES {
        let common = text.len().min(name.len());
        if !text[..common].eq_ignore_ascii_case(&name[..common]) {
            continue;
        }
        match text.get(name.len()) {
            Some(b'=') => return Name::Whole(name.len() + 1),
            Some(_) => {}
            None => return Name::Unfinished,
        }
    }
    Name::Not
}

fn ends_value(byte: u8) -> bool {
    matches!(byte, b'?' | b'&' | b' ') || byte.is_ascii_control()
}

impl UrlSanitiser {
    /// As [`crate::masker::Masker::feed`].
    pub fn feed<'a>(&mut self, input: &'a [u8], last: bool, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let idle = self.held.is_empty() && !self.in_value;
        if idle && memchr2(b'?', b'&', input).is_none() {
            return input;
        }
        let joined;
        let text: &[u8] = if self.held.is_empty() {
            input
        } else {
            self.held.extend_from_slice(input);
            joined = std::mem::take(&mut self.held);
            &joined
        };
        scratch.clear();
        let mut rest = text;
        loop {
            if self.in_value {
                match rest.iter().position(|byte| ends_value(*byte)) {
                    Some(end) => rest = &rest[end..],
                    None => break,
                }
                self.in_value = false;
            }
            let Some(at) = memchr2(b'?', b'&', rest) else {
                scratch.extend_from_slice(rest);
                break;
            };
            let mut end = at + 1;
            match name_at(&rest[end..]) {
                Name::Whole(length) => {
                    end += length;
                    scratch.extend_from_slice(&rest[..end]);
                    scratch.extend_from_slice(MASK);
                    self.in_value = true;
                }
                Name::Unfinished if !last => {
                    scratch.extend_from_slice(&rest[..at]);
                    self.held.extend_from_slice(&rest[at..]);
                    break;
                }
                Name::Unfinished | Name::Not => scratch.extend_from_slice(&rest[..end]),
            }
            rest = &rest[end..];
        }
        if last {
            self.in_value = false;
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(writes: &[&[u8]]) -> String {
        let mut sanitiser = UrlSanitiser::default();
        let mut out = Vec::new();
        let mut scratch = Vec::new();
        for write in writes {
            out.extend_from_slice(sanitiser.feed(write, false, &mut scratch));
        }
        out.extend_from_slice(sanitiser.feed(b"", true, &mut scratch));
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn runner_api_15_5_url_parameters() {
        for (text, want) in [
            ("GET /x?private_token=abc&y=1 HTTP", "GET /x?private_token=[MASKED]&y=1 HTTP"),
            ("?a=1&Private_Token=abc", "?a=1&Private_Token=[MASKED]"),
            ("?rss_token=a?rss_token=b\nnext", "?rss_token=[MASKED]?rss_token=[MASKED]\nnext"),
            ("?X-Amz-Signature=a&X-Amz-Credential=b", "?X-Amz-Signature=[MASKED]&X-Amz-Credential=[MASKED]"),
            ("?x-amz-security-token=a\x1b[0m", "?x-amz-security-token=[MASKED]\x1b[0m"),
            ("?authenticity_token=[MASKED]", "?authenticity_token=[MASKED]"),
            ("private_token=abc", "private_token=abc"),
            ("?private_tokens=abc", "?private_tokens=abc"),
            ("?private_token", "?private_token"),
            ("what? & why", "what? & why"),
        ] {
            assert_eq!(run(&[text.as_bytes()]), want);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(run(&bytes), want, "byte by byte");
        }
    }

    #[test]
    fn only_an_unfinished_name_is_held() {
        let mut sanitiser = UrlSanitiser::default();
        let mut scratch = Vec::new();
        assert_eq!(sanitiser.feed(b"a?b", false, &mut scratch), b"a?b");
        assert_eq!(sanitiser.feed(b"a?rss", false, &mut scratch), b"a");
        assert_eq!(sanitiser.feed(b"!", false, &mut scratch), b"?rss!");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            parts in proptest::collection::vec(
                prop_oneof![Just("?"), Just("&"), Just("rss_token"), Just("="), Just("v"), Just(" "), Just("private_token=")],
                0..20,
            ),
            size in 1usize..9,
        ) {
            let text = parts.concat();
            let writes: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(run(&writes), run(&[text.as_bytes()]));
        }
    }
}
