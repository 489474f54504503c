//! Writes TOML in the layout GitLab Runner gives its file: two blanks per depth, plain keys before tables, a blank
//! line before every array-of-tables element.
//!
//! Called by `edit` for a new `[[runners]]` entry. It must never be used on text that somebody wrote.

use std::fmt::Write as _;

/// A text being written, and where in the tree it stands.
pub(crate) struct Sheet {
    out: String,
    path: Vec<String>,
}

impl Sheet {
    pub(crate) fn new() -> Self {
        Self { out: String::new(), path: Vec::new() }
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// One `key = value` line; `value` is TOML already.
    pub(crate) fn line(&mut self, key: &str, value: &str) {
        let indent = "  ".repeat(self.path.len());
        let _ = writeln!(self.out, "{indent}{} = {value}", quoted_key(key));
    }

    /// A `[table]` with what `inner` writes into it.
    pub(crate) fn table(&mut self, key: &str, inner: impl FnOnce(&mut Self)) {
        self.header(key, "[", "]");
        inner(self);
        self.path.pop();
    }

    /// One `[[table]]` element.
    pub(crate) fn element(&mut self, key: &str, inner: impl FnOnce(&mut Self)) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.header(key, "[[", "]]");
        inner(self);
        self.path.pop();
    }

    fn header(&mut self, key: &str, open: &str, close: &str) {
        let indent = "  ".repeat(self.path.len());
        self.path.push(quoted_key(key));
        let _ = writeln!(self.out, "{indent}{open}{}{close}", self.path.join("."));
    }
}

fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { key.to_owned() } else { quoted(key) }
}

/// A basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A float as Go writes it: always with a point or an exponent.
pub(crate) fn float(value: f64) -> String {
    format!("{value:?}")
}
