//! The text of a `config.toml` with its places: turns byte ranges into line, column and a snippet for people.
//!
//! Called by everything in this crate that complains. It must never show a secret: a line whose key is a secret
//! is shown without its value.

use crate::mirror::Host;
use crate::table::Table as _;
use std::fmt;
use std::ops::Range;

/// One text and the name people know it by.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The file's path, or what stands for it.
    pub origin: &'a str,
    /// The whole text.
    pub text: &'a str,
}

/// A complaint with its place, its line and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File name.
    pub origin: String,
    /// Counted from 1.
    pub line: usize,
    /// Characters, counted from 1.
    pub column: usize,
    /// The line itself, secrets left out.
    pub shown: String,
    /// How many characters of it are meant.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let pad = " ".repeat(number.len());
        writeln!(f, "{}:{}:{}: {}", self.origin, self.line, self.column, self.message)?;
        writeln!(f, " {number} | {}", self.shown)?;
        let before: String =
            self.shown.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, " {pad} | {before}{}", "^".repeat(self.width.max(1)))?;
        if !self.remedy.is_empty() {
            write!(f, "\n {pad} = {}", self.remedy)?;
        }
        Ok(())
    }
}

impl Source<'_> {
    /// A problem at a byte range.
    pub(crate) fn problem(&self, at: Range<usize>, message: String, remedy: String) -> Problem {
        let start = floor(self.text, at.start);
        let end = floor(self.text, at.end.max(at.start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |n| n + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |n| start + n);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let column = self.text[line_start..start].chars().count() + 1;
        let (shown, hidden_from) = without_secret(line);
        let width = match hidden_from {
            Some(from) if line_start + from < end => 1,
            _ => self.text[start..end.min(line_end)].trim_end().chars().count(),
        };
        Problem {
            origin: self.origin.to_owned(),
            line: self.text[..start].matches('\n').count() + 1,
            column,
            shown,
            width,
            message,
            remedy,
        }
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The line without what could be a secret, and from which byte on it was hidden. Of a line `key = value` the
/// value is shown when the key is known and no secret, or when it is a number or a boolean; of any other line (the
/// middle of a list, a broken one) nothing after the first quote or `=`.
fn without_secret(line: &str) -> (String, Option<usize>) {
    let equals = line.find('=');
    let key = equals.map(|at| line[..at].trim());
    let value = equals.map_or("", |at| line[at + 1..].split('#').next().unwrap_or_default().trim());
    let harmless = value.bytes().all(|b| b.is_ascii_digit()) || matches!(value, "true" | "false");
    let cut = match (key, equals) {
        (Some(key), _) if harmless || is_known_and_open(key) => None,
        (_, equals) => line.find(['"', '\'']).into_iter().chain(equals.map(|at| at + 1)).min(),
    };
    match cut {
        Some(at) if !line[at..].trim().is_empty() => {
            (format!("{} (hidden)", line[..at].trim_end()), Some(at))
        }
        Some(_) | None => (line.to_owned(), None),
    }
}

/// A key of the mirror whose value is no secret.
fn is_known_and_open(key: &str) -> bool {
    let mut known = Vec::new();
    Host::all_keys(&mut known);
    known.iter().any(|name| name.eq_ignore_ascii_case(key)) && !is_secret_key(key)
}

/// Keys whose values are secrets, or may hold some.
fn is_secret_key(key: &str) -> bool {
    matches!(
        key.to_ascii_lowercase().as_str(),
        "token"
            | "bearer_token"
            | "password"
            | "accesskey"
            | "secretkey"
            | "sessiontoken"
            | "privatekey"
            | "accountkey"
            | "environment"
            | "sentry_dsn"
            | "machineoptions"
            | "machineoptionswithname"
    )
}

/// The most alike of `known`, if one is alike enough to be what was meant.
pub(crate) fn alike<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    known
        .map(|name| (distance(&word, &name.to_ascii_lowercase()), name))
        .filter(|(far, name)| *far <= 1 + name.len() / 5)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = if x == *y { diagonal } else { diagonal + 1 };
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
