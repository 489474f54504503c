//! Finds the mark that ends a helper's call in its output (`harrier_plan::HelperCall`). Pure.

/// One of the two streams.
pub(crate) struct MarkFinder {
    mark: Vec<u8>,
    held: Vec<u8>,
    found: bool,
}

impl MarkFinder {
    pub fn new(mark: &str) -> Self {
        Self { mark: mark.as_bytes().to_vec(), held: Vec::new(), found: false }
    }

    /// Takes output; gives what stands before the mark. Only what may be the mark's beginning is held back.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        if self.found {
            return Vec::new();
        }
        if let Some(at) = self.held.windows(self.mark.len()).position(|part| part == self.mark) {
            self.found = true;
            let before = self.held[..at].to_vec();
            self.held.drain(..at + self.mark.len());
            return before;
        }
        let longest = self.held.len().min(self.mark.len() - 1);
        let keep = (1..=longest)
            .rev()
            .find(|n| self.mark.starts_with(&self.held[self.held.len() - n..]))
            .unwrap_or(0);
        self.held.drain(..self.held.len() - keep).collect()
    }

    /// What follows the mark on its line, once the line is whole.
    pub fn end(&self) -> Option<&[u8]> {
        if !self.found {
            return None;
        }
        self.held.iter().position(|byte| *byte == b'\n').map(|at| &self.held[..at])
    }

    /// What is held back, when no mark will come.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mark_in_any_split_and_loses_nothing() {
        let text = b"abc MAR MARKMAR\nMARK1:0\n";
        for cut in 1..text.len() {
            let mut finder = MarkFinder::new("MARK1");
            let mut before = finder.feed(&text[..cut]);
            before.extend(finder.feed(&text[cut..]));
            assert_eq!(before, b"abc MAR MARKMAR\n", "cut at {cut}");
            assert_eq!(finder.end(), Some(&b":0"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn output_is_not_held_back_without_reason() {
        let mut finder = MarkFinder::new("MARK1");
        assert_eq!(finder.feed(b"hello"), b"hello");
        assert_eq!(finder.feed(b"xMA"), b"x");
        assert_eq!(finder.end(), None);
        assert_eq!(finder.rest(), b"MA");
    }
}
