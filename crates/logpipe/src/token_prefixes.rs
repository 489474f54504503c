//! Hides tokens by their known prefixes (`runner-api.md` §15.5): the prefix stays, the run of token characters behind
//! it becomes `[MASKED]`; a prefix with nothing behind it is left alone. Called by `pipe.rs` alone, behind the URL
//! sanitiser.

use crate::masker::MASK;
use crate::patterns::{Patterns, Span};

/// State of one stream.
#[derive(Default)]
pub(crate) struct TokenPrefixes {
    /// An unfinished prefix.
    held: Vec<u8>,
    at: At,
    found: Vec<Span>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// In plain text.
    #[default]
    Text,
    /// Behind a prefix.
    Prefix,
    /// In a token, whose mask is out.
    Token,
}

fn in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'=' | b'-')
}

impl TokenPrefixes {
    /// As [`crate::masker::Masker::feed`].
    pub fn feed<'a>(
        &mut self,
        prefixes: &Patterns,
        input: &'a [u8],
        last: bool,
        scratch: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        if prefixes.is_empty() {
            return input;
        }
        let joined;
        let fresh = self.held.is_empty();
        let text: &[u8] = if fresh {
            input
        } else {
            self.held.extend_from_slice(input);
            joined = std::mem::take(&mut self.held);
            &joined
        };
        self.found.clear();
        prefixes.find_all(text, &mut self.found);
        let idle = fresh && self.at == At::Text;
        if idle && self.found.is_empty() {
            let end = if last { text.len() } else { prefixes.live_from(text, 0) };
            self.held.extend_from_slice(&input[end..]);
            return &input[..end];
        }

        // The prefix that is complete first counts, whatever longer one goes on.
        self.found.sort_unstable_by_key(|span| span.1);
        scratch.clear();
        let mut found = self.found.iter();
        let mut at = 0;
        loop {
            if self.at == At::Prefix && at < text.len() {
                if in_token(text[at]) {
                    scratch.extend_from_slice(MASK);
                    self.at = At::Token;
                } else {
                    self.at = At::Text;
                }
            }
            if self.at == At::Token {
                match text[at..].iter().position(|byte| !in_token(*byte)) {
                    Some(end) => {
                        at += end;
                        self.at = At::Text;
                    }
                    None => at = text.len(),
                }
            }
            if at == text.len() {
                break;
            }
            match found.find(|span| span.0 >= at) {
                Some(&(_, stop)) => {
                    scratch.extend_from_slice(&text[at..stop]);
                    at = stop;
                    self.at = At::Prefix;
                }
                None => {
                    let end = if last { text.len() } else { prefixes.live_from(text, at) };
                    scratch.extend_from_slice(&text[at..end]);
                    self.held.extend_from_slice(&text[end..]);
                    break;
                }
            }
        }
        if last {
            self.at = At::Text;
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(prefixes: &[&str], writes: &[&[u8]]) -> String {
        let patterns = Patterns::new(prefixes.iter().map(|p| p.as_bytes()));
        let mut filter = TokenPrefixes::default();
        let mut out = Vec::new();
        let mut scratch = Vec::new();
        for write in writes {
            out.extend_from_slice(filter.feed(&patterns, write, false, &mut scratch));
        }
        out.extend_from_slice(filter.feed(&patterns, b"", true, &mut scratch));
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn runner_api_15_5_token_prefixes() {
        let prefixes = ["glpat-", "glrt-", "_gitlab_session=", "gl"];
        for (count, text, want) in [
            (3, "token glpat-abc_DEF.1=-2 end", "token glpat-[MASKED] end"),
            (3, "glpat- bare", "glpat- bare"),
            (3, "glpat-", "glpat-"),
            (3, "glpat-a", "glpat-[MASKED]"),
            (3, "glrt-glpat-x", "glrt-[MASKED]"),
            (3, "Cookie: _gitlab_session=ab%20", "Cookie: _gitlab_session=[MASKED]%20"),
            (3, "glpat-é", "glpat-é"),
            (3, "xglpat-x/glpat-y", "xglpat-[MASKED]/glpat-[MASKED]"),
            (3, "glpat-[MASKED]", "glpat-[MASKED]"),
            (3, "global glp", "global glp"),
            (4, "glpat-abc", "gl[MASKED]"),
        ] {
            assert_eq!(run(&prefixes[..count], &[text.as_bytes()]), want);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(run(&prefixes[..count], &bytes), want, "byte by byte");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(800))]
        #[test]
        fn any_split_gives_the_same(
            parts in proptest::collection::vec(
                prop_oneof![Just("g"), Just("gl"), Just("glpat-"), Just("lp"), Just("-"), Just("x"), Just(" "), Just("bcd")],
                0..20,
            ),
            size in 1usize..9,
        ) {
            let prefixes = ["glpat-", "pat", "abc", "bc-", "lpl"];
            let text = parts.concat();
            let writes: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(run(&prefixes, &writes), run(&prefixes, &[text.as_bytes()]));
        }
    }
}
