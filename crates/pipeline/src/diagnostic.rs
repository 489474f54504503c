//! What the language has to say to a person: an error or a warning with its place, the chain that led there and
//! the remedy. Made by every pass, printed by the hosts through [`render`]. It never prints by itself.

use crate::source::{FileId, Sources};
use std::fmt::Write as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is usable; something in it looks unintended.
    Warning,
    /// No pipeline comes out of this configuration.
    Error,
}

/// A stretch of a source file. Lines and columns count from 1, columns in characters; `end_*` is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// Which file; see [`Sources`].
    pub file: FileId,
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// Column behind the last character.
    pub end_column: u32,
}

/// One step of the chain behind a diagnostic: included from, extended here, needed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is to be seen there.
    pub text: String,
    /// Where, if it has a place.
    pub place: Option<Place>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in GitLab's words where `ci-yaml.md` gives them (`jobs:rspec:retry …`, `rspec job: …`).
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// The job it is about.
    pub job: Option<String>,
    /// The keyword it is about, with `:` between levels (`retry:max`).
    pub keyword: Option<String>,
    /// The include or extends chain, and other places worth seeing.
    pub notes: Vec<Note>,
    /// What to do.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            place: None,
            job: None,
            keyword: None,
            notes: Vec::new(),
            suggestion: None,
        }
    }

    /// A warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// As this one, with a place.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// As this one, about `job`.
    pub fn job(mut self, job: impl Into<String>) -> Self {
        self.job = Some(job.into());
        self
    }

    /// As this one, about `keyword`.
    pub fn keyword(mut self, keyword: impl Into<String>) -> Self {
        self.keyword = Some(keyword.into());
        self
    }

    /// As this one, with the remedy.
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// As this one, with one more step of the chain.
    pub fn note(mut self, text: impl Into<String>, place: Option<Place>) -> Self {
        self.notes.push(Note { text: text.into(), place });
        self
    }
}

/// The diagnostic as text of several lines, with the source line and a caret below it:
///
/// ```text
/// error: jobs:rspec config contains unknown keys: scirpt
///   --> .gitlab-ci.yml:4:3
///    |
///  4 |   scirpt: make
///    |   ^^^^^^
///    = help: did you mean `script`?
/// ```
pub fn render(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let mut out = String::new();
    let word = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let _ = writeln!(out, "{word}: {}", diagnostic.message);
    let places = diagnostic.place.iter().chain(diagnostic.notes.iter().filter_map(|n| n.place.as_ref()));
    let width = places.map(|p| p.line.to_string().len()).max().unwrap_or(1);
    if let Some(place) = diagnostic.place {
        snippet(&mut out, place, sources, width, '^', "");
    }
    for note in &diagnostic.notes {
        match note.place {
            Some(place) => snippet(&mut out, place, sources, width, '-', &note.text),
            None => {
                let _ = writeln!(out, "{:width$} = note: {}", "", note.text);
            }
        }
    }
    if let Some(help) = &diagnostic.suggestion {
        let _ = writeln!(out, "{:width$} = help: {help}", "");
    }
    out
}

/// Longest stretch of a source line that is shown.
const SHOWN: usize = 160;

fn snippet(out: &mut String, place: Place, sources: &Sources, width: usize, mark: char, text: &str) {
    let arrow = if mark == '^' { "-->" } else { ":::" };
    let name = sources.name(place.file);
    let _ = writeln!(out, "{:width$}{arrow} {name}:{}:{}", "", place.line, place.column);
    let Some(line) = sources.line(place.file, place.line) else {
        if !text.is_empty() {
            let _ = writeln!(out, "{:width$} = note: {text}", "");
        }
        return;
    };
    // A tab or a control character would move the caret away from what it points at.
    let clean: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let start = (place.column as usize).saturating_sub(1).min(clean.len());
    let from = if start >= SHOWN { start - SHOWN / 2 } else { 0 };
    let to = clean.len().min(from + SHOWN);
    let end = if place.end_line == place.line {
        (place.end_column as usize).saturating_sub(1)
    } else {
        clean.len()
    };
    let end = end.clamp(start, to.max(start));
    let shown: String = clean[from..to].iter().collect();
    let _ = writeln!(out, "{:width$} |", "");
    let _ = writeln!(out, "{:>width$} | {}", place.line, shown.trim_end());
    let marks: String = std::iter::repeat_n(mark, (end - start).max(1)).collect();
    let line = format!("{:width$} | {:pad$}{marks} {text}", "", "", pad = start - from);
    let _ = writeln!(out, "{}", line.trim_end());
}
