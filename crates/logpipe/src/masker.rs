//! Hides secrets (`runner-api.md` §15.5), whatever the split of the text into writes. One [`Masker`] for each stream; the
//! secrets are shared. Called by `pipe.rs` alone.
//!
//! What is hidden: every byte of every occurrence of every secret. Occurrences that overlap become one `[MASKED]`,
//! those that only touch one each. So no piece of a secret is ever left standing beside a mask, as happens when secrets
//! are replaced one after the other (`aa` and `ab` in `aab`; `foobar` and `barbaz` in `foobarbaz`).
//!
//! Only what may still become an occurrence is held back, and only until the next write or the end of the stage.

use crate::patterns::{Patterns, Span};

/// What stands for a secret.
pub(crate) const MASK: &[u8] = b"[MASKED]";

/// State of one stream.
#[derive(Default)]
pub(crate) struct Masker {
    /// Text from where the first unfinished occurrence begins.
    held: Vec<u8>,
    /// So many bytes of `held` belong to an occurrence whose mask is out already.
    covered: usize,
    found: Vec<Span>,
}

impl Masker {
    /// Masks `input`; `last`: no more belongs to this text. The result is a part of `input` when nothing had to be done,
    /// else it is in `scratch`.
    pub fn feed<'a>(
        &mut self,
        secrets: &Patterns,
        input: &'a [u8],
        last: bool,
        scratch: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        if secrets.is_empty() {
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
        secrets.find_all(text, &mut self.found);
        let end = if last { text.len() } else { secrets.live_from(text, 0) };
        self.held.extend_from_slice(&text[end..]);
        if fresh && self.found.is_empty() {
            return &input[..end];
        }

        scratch.clear();
        let mut hidden_to = self.covered;
        for &(start, stop) in &self.found {
            if start < hidden_to {
                hidden_to = hidden_to.max(stop);
            } else if start >= end {
                // It is held and will be found again.
                break;
            } else {
                scratch.extend_from_slice(&text[hidden_to..start]);
                scratch.extend_from_slice(MASK);
                hidden_to = stop;
            }
        }
        if hidden_to < end {
            scratch.extend_from_slice(&text[hidden_to..end]);
        }
        self.covered = hidden_to.saturating_sub(end);
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(secrets: &[&str], writes: &[&str]) -> String {
        let patterns = Patterns::new(secrets.iter().map(|s| s.as_bytes()));
        let parts: Vec<&[u8]> = writes.iter().map(|w| w.as_bytes()).collect();
        String::from_utf8(run(&patterns, &parts)).expect("whole texts")
    }

    fn run(patterns: &Patterns, writes: &[&[u8]]) -> Vec<u8> {
        let mut masker = Masker::default();
        let mut out = Vec::new();
        let mut scratch = Vec::new();
        for write in writes {
            out.extend_from_slice(masker.feed(patterns, write, false, &mut scratch));
        }
        out.extend_from_slice(masker.feed(patterns, b"", true, &mut scratch));
        out
    }

    #[test]
    fn runner_api_15_5_phrases() {
        for (secrets, writes, want) in [
            (&["secret"][..], &["a secret b"][..], "a [MASKED] b"),
            (&["secret"], &["a sec", "ret b"], "a [MASKED] b"),
            (&["secret"], &["a sec"], "a sec"),
            (&["secret"], &["secretsecret"], "[MASKED][MASKED]"),
            (&["secret"], &["Secret"], "Secret"),
            (&["aa", "ab"], &["aab"], "[MASKED]"),
            (&["aa", "ab"], &["a", "a", "b"], "[MASKED]"),
            (&["aa", "ab"], &["aa", "b!"], "[MASKED]!"),
            (&["foobar", "barbaz"], &["xfoobarbazx"], "x[MASKED]x"),
            (&["foobar", "barbaz"], &["xfoobar", "baz", "x"], "x[MASKED]x"),
            (&["foobar", "barbaz"], &["xfoobar", "ba", "x"], "x[MASKED]bax"),
            (&["inner", "an inner one"], &["an inner one, inner"], "[MASKED], [MASKED]"),
            (&["inner", "an inner one"], &["an inner two"], "an [MASKED] two"),
            (&["line1\nline2"], &["line1\n", "line2\n"], "[MASKED]\n"),
            (&["line1\nline2"], &["line1\n", "line3\n"], "line1\nline3\n"),
            (&["x"], &["xaxx"], "[MASKED]a[MASKED][MASKED]"),
            (&["ünï"], &["\u{fc}n", "ï!"], "[MASKED]!"),
            (&[], &["secret"], "secret"),
            (&[""], &["secret"], "secret"),
        ] {
            assert_eq!(mask(secrets, writes), want, "{secrets:?} {writes:?}");
        }
    }

    #[test]
    fn only_a_live_partial_match_is_held() {
        let patterns = Patterns::new([&b"password=12345678"[..]]);
        let mut masker = Masker::default();
        let mut scratch = Vec::new();
        assert_eq!(masker.feed(&patterns, b"one line\n", false, &mut scratch), b"one line\n");
        assert_eq!(masker.feed(&patterns, b"my pass", false, &mut scratch), b"my ");
        assert_eq!(masker.feed(&patterns, b"age\n", false, &mut scratch), b"passage\n");
    }

    /// The definition, spelt out: all occurrences, merged where they overlap.
    fn by_definition(secrets: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let mut spans: Vec<Span> = (0..text.len())
            .flat_map(|at| {
                secrets
                    .iter()
                    .filter(move |s| !s.is_empty() && text[at..].starts_with(s))
                    .map(move |s| (at, at + s.len()))
            })
            .collect();
        spans.sort_unstable();
        let mut merged: Vec<Span> = Vec::new();
        for (start, stop) in spans {
            match merged.last_mut() {
                Some(last) if start < last.1 => last.1 = last.1.max(stop),
                Some(_) | None => merged.push((start, stop)),
            }
        }
        let mut out = Vec::new();
        let mut at = 0;
        for (start, stop) in merged {
            out.extend_from_slice(&text[at..start]);
            out.extend_from_slice(MASK);
            at = stop;
        }
        out.extend_from_slice(&text[at..]);
        out
    }

    fn letters(longest: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![3 => Just(b'a'), 2 => Just(b'b'), 1 => Just(b'\n')], 0..longest)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn any_split_masks_as_the_whole(
            secrets in proptest::collection::vec(letters(12), 0..6),
            text in letters(120),
            cuts in proptest::collection::vec(0usize..120, 0..12),
        ) {
            let patterns = Patterns::new(secrets.iter().map(Vec::as_slice));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut writes = Vec::new();
            let mut at = 0;
            for cut in cuts {
                writes.push(&text[at..cut]);
                at = cut;
            }
            writes.push(&text[at..]);
            let want = by_definition(&secrets, &text);
            prop_assert_eq!(run(&patterns, &writes), want.clone());
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(run(&patterns, &bytes), want);
        }
    }
}
