//! Lines of a document and the editor's positions. Editors count UTF-16 units from 0, the compiler counts characters from 1.

/// The lines of a text, without their ends.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect()
}

/// Characters before a position in UTF-16 units; a position in the middle of a character or behind the end is moved to its
/// begin or to the end.
pub(crate) fn chars_before(line: &str, utf16: usize) -> usize {
    let mut units = 0;
    let mut chars = 0;
    for c in line.chars() {
        units += c.len_utf16();
        if units > utf16 {
            break;
        }
        chars += 1;
    }
    chars
}

/// UTF-16 units before a character.
pub(crate) fn utf16_before(line: &str, chars: usize) -> usize {
    line.chars().take(chars).map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let line = "aä😀b";
        for (utf16, chars) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (99, 4)] {
            assert_eq!(chars_before(line, utf16), chars, "{utf16}");
        }
        for (chars, utf16) in [(0, 0), (2, 2), (3, 4), (4, 5), (9, 5)] {
            assert_eq!(utf16_before(line, chars), utf16, "{chars}");
        }
    }
}
