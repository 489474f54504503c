//! Finds every occurrence of many literal strings in a text, overlapping ones included, and tells how much of the
//! text's end may still become one. Used by the masker (secrets) and by the token prefixes.
//!
//! How: strings of at least `m` bytes hold, within their first `m` bytes, exactly one of the text's `q`-byte pieces
//! taken at every `m - q + 1`-th place. So only those pieces are looked at, each by one bit of a small table; what passes is
//! compared byte by byte. Clean text costs a fraction of a look-up for each byte, however many strings there are. Where they
//! are few, a vector search goes before that: most writes hold none of them.

use aho_corasick::packed;
use std::collections::HashMap;

/// An occurrence: from its first byte to behind its last.
pub(crate) type Span = (usize, usize);

/// The strings looked for.
#[derive(Default)]
pub(crate) struct Patterns {
    /// Sorted, without duplicates, none empty.
    all: Vec<Vec<u8>>,
    groups: Vec<Group>,
    /// First two bytes of the strings that have more than two.
    starts: Option<Box<BitTable>>,
    longest: usize,
    /// Tells by vector instructions that a text holds none of them; only where they are few.
    quick: Option<packed::Searcher>,
}

/// Most strings for the vector search, and the length they must have: beyond, it finds too much that is none.
const QUICK_MOST: usize = 64;
const QUICK_SHORTEST: usize = 4;

/// 65536 bits.
struct BitTable([u64; 1024]);

impl BitTable {
    fn new() -> Box<Self> {
        Box::new(Self([0; 1024]))
    }

    fn set(&mut self, at: u16) {
        self.0[usize::from(at >> 6)] |= 1 << (at & 63);
    }

    fn bit(&self, at: u16) -> u64 {
        self.0[usize::from(at >> 6)] >> (at & 63) & 1
    }
}

/// Strings of similar length, so that a short one does not slow down the search for long ones.
struct Group {
    /// Mask of a piece of `q` bytes.
    mask: u32,
    /// Bytes of a piece, 1 to 4.
    q: usize,
    /// Distance of the pieces looked at.
    stride: usize,
    table: Box<BitTable>,
    /// The same by another hash: what passes the first table by chance ends here, before the slow look-up.
    second: Box<BitTable>,
    /// Piece → strings that hold it, with its place in them.
    owners: HashMap<u32, Vec<(usize, usize)>>,
}

fn hash(piece: u32) -> u16 {
    (piece.wrapping_mul(0x9E37_79B1) >> 16) as u16
}

fn second_hash(piece: u32) -> u16 {
    (piece.wrapping_mul(0x85EB_CA6B) >> 16) as u16
}

fn piece_at(text: &[u8], at: usize, q: usize) -> u32 {
    let mut bytes = [0u8; 4];
    bytes[..q].copy_from_slice(&text[at..at + q]);
    u32::from_le_bytes(bytes)
}

impl Patterns {
    /// Takes strings in any order; empty ones and duplicates are dropped.
    pub fn new<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut all: Vec<Vec<u8>> =
            strings.into_iter().filter(|text| !text.is_empty()).map(<[u8]>::to_vec).collect();
        all.sort();
        all.dedup();
        let longest = all.iter().map(Vec::len).max().unwrap_or_default();
        let groups = [(1, 3), (4, 7), (8, usize::MAX)]
            .into_iter()
            .filter_map(|(shortest, longest)| Group::new(&all, shortest, longest))
            .collect();
        let mut starts = None;
        for text in all.iter().filter(|text| text.len() > 2) {
            starts.get_or_insert_with(BitTable::new).set(u16::from_le_bytes([text[0], text[1]]));
        }
        let few = all.len() <= QUICK_MOST && all.iter().all(|text| text.len() >= QUICK_SHORTEST);
        let quick = few.then(|| packed::Config::new().builder().extend(&all).build()).flatten();
        Self { all, groups, starts, longest, quick }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Appends every occurrence that lies whole in `text`, then sorts `found` by first byte.
    pub fn find_all(&self, text: &[u8], found: &mut Vec<Span>) {
        if self.quick.as_ref().is_some_and(|quick| quick.find(text).is_none()) {
            return;
        }
        for group in &self.groups {
            group.find_all(&self.all, text, found);
        }
        found.sort_unstable();
    }

    /// Where the first unfinished occurrence at the end of `text` begins, not before `from`; the length of `text` if there
    /// is none.
    pub fn live_from(&self, text: &[u8], from: usize) -> usize {
        let end = text.len();
        let earliest = from.max((end + 1).saturating_sub(self.longest));
        for at in earliest..end {
            let tail = &text[at..];
            let possible = match (tail, &self.starts) {
                ([_], _) => true,
                ([a, b, ..], Some(starts)) => starts.bit(u16::from_le_bytes([*a, *b])) != 0,
                ([..], _) => false,
            };
            if possible && self.is_proper_start(tail) {
                return at;
            }
        }
        end
    }

    /// Whether a longer string begins with `tail`.
    fn is_proper_start(&self, tail: &[u8]) -> bool {
        let at = self.all.partition_point(|text| text.as_slice() <= tail);
        self.all.get(at).is_some_and(|text| text.starts_with(tail))
    }
}

impl Group {
    fn new(all: &[Vec<u8>], shortest: usize, longest: usize) -> Option<Self> {
        let members =
            || all.iter().enumerate().filter(|(_, text)| (shortest..=longest).contains(&text.len()));
        let m = members().map(|(_, text)| text.len()).min()?;
        let q = match m {
            1..=3 => m,
            4..=6 => 3,
            _ => 4,
        };
        let mut table = BitTable::new();
        let mut second = BitTable::new();
        let mut owners: HashMap<u32, Vec<(usize, usize)>> = HashMap::new();
        for (which, text) in members() {
            for offset in 0..=m - q {
                let piece = piece_at(text, offset, q);
                table.set(hash(piece));
                second.set(second_hash(piece));
                owners.entry(piece).or_default().push((which, offset));
            }
        }
        let mask = u32::MAX >> (32 - 8 * q);
        Some(Self { mask, q, stride: m - q + 1, table, second, owners })
    }

    fn find_all(&self, all: &[Vec<u8>], text: &[u8], found: &mut Vec<Span>) {
        let bit = |word: [u8; 4]| self.table.bit(hash(u32::from_le_bytes(word) & self.mask));
        let stride = self.stride;
        let mut at = 0;
        // Four pieces at a time, one branch for all: nearly always none of them is known.
        while let Some(block) = text.get(at..at + 3 * stride + 4) {
            let word = |i: usize| -> [u8; 4] {
                let i = i * stride;
                [block[i], block[i + 1], block[i + 2], block[i + 3]]
            };
            if bit(word(0)) | bit(word(1)) | bit(word(2)) | bit(word(3)) != 0 {
                for i in 0..4 {
                    self.compare(all, text, at + i * stride, found);
                }
            }
            at += 4 * stride;
        }
        while at + self.q <= text.len() {
            self.compare(all, text, at, found);
            at += stride;
        }
    }

    fn compare(&self, all: &[Vec<u8>], text: &[u8], at: usize, found: &mut Vec<Span>) {
        let piece = piece_at(text, at, self.q);
        if self.table.bit(hash(piece)) & self.second.bit(second_hash(piece)) == 0 {
            return;
        }
        let Some(owners) = self.owners.get(&piece) else { return };
        for &(which, offset) in owners {
            let Some(start) = at.checked_sub(offset) else { continue };
            let pattern = &all[which];
            if text[start..].starts_with(pattern) {
                found.push((start, start + pattern.len()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')], 0..80)
    }

    /// Short ones among them, or only such as the vector search takes.
    fn strings() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop_oneof![Just(0usize), Just(QUICK_SHORTEST)].prop_flat_map(|shortest| {
            let letter = prop_oneof![4 => Just(b'a'), 1 => Just(b'b')];
            proptest::collection::vec(proptest::collection::vec(letter, shortest..14), 0..8)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(800))]
        #[test]
        fn finds_what_looking_everywhere_finds(text in text(), strings in strings()) {
            let patterns = Patterns::new(strings.iter().map(Vec::as_slice));
            let mut found = Vec::new();
            patterns.find_all(&text, &mut found);
            let mut want = Vec::new();
            for at in 0..text.len() {
                for string in &patterns.all {
                    if text[at..].starts_with(string) {
                        want.push((at, at + string.len()));
                    }
                }
            }
            want.sort_unstable();
            prop_assert_eq!(found, want);

            let live = (0..text.len())
                .find(|&at| patterns.all.iter().any(|s| s.len() > text.len() - at && s.starts_with(&text[at..])))
                .unwrap_or(text.len());
            prop_assert_eq!(patterns.live_from(&text, 0), live);
        }
    }
}
