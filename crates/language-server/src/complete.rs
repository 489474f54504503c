//! What could stand at the cursor. Called by the server.

use crate::cursor::{Cursor, Spot};
use crate::keywords::{keywords, words};
use harrier_pipeline::Written;

/// The kinds of the protocol.
const KEYWORD: u8 = 14;
const VALUE: u8 = 12;
const JOB: u8 = 18;
const STAGE: u8 = 20;
const FILE: u8 = 17;

/// One proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub label: String,
    /// Number of the protocol.
    pub kind: u8,
    pub about: String,
    /// What is put in place of the word.
    pub text: String,
}

impl Proposal {
    fn new(label: &str, kind: u8, about: &str) -> Self {
        Self { label: label.to_owned(), kind, about: about.to_owned(), text: quoted(label) }
    }
}

/// A text as it must be written where a plain one could stand.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.contains([':', '#', '[', ']', '{', '}', ',', '"', '\''])
        && !text.starts_with(['-', '?', '&', '*', '!', '|', '>', '%', '@', '`', ' '])
        && !text.ends_with(' ');
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// Names the editor's text has itself, for when it cannot be compiled.
pub(crate) struct Names {
    pub jobs: Vec<String>,
    pub stages: Vec<String>,
    pub files: Vec<String>,
}

/// Everything that could stand at the cursor.
pub(crate) fn proposals(cursor: &Cursor, names: &Names, written: Option<&Written>) -> Vec<Proposal> {
    let jobs = |all: bool| -> Vec<Proposal> {
        let own = cursor.path.first();
        let jobs = names.jobs.iter().filter(|name| Some(*name) != own && (all || !name.starts_with('.')));
        jobs.map(|name| Proposal::new(name, JOB, if name.starts_with('.') { "hidden job" } else { "job" }))
            .collect()
    };
    if let Some((elements, at)) = &cursor.reference {
        return reference(elements, *at, names, written);
    }
    let mut found = Vec::new();
    if cursor.spot != Spot::Value {
        for (name, about) in keywords(&cursor.path) {
            if name == cursor.word || !cursor.siblings.iter().any(|known| known == name) {
                let mut proposal = Proposal::new(name, KEYWORD, about);
                proposal.text = format!("{name}: ");
                found.push(proposal);
            }
        }
    }
    if cursor.spot == Spot::Key {
        return found;
    }
    let path: Vec<&str> = cursor.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [_, "stage"] => found.extend(names.stages.iter().map(|name| Proposal::new(name, STAGE, "stage"))),
        [_, "extends"] => found.extend(jobs(true)),
        [_, "needs"]
        | [_, "needs", "job"]
        | [_, "dependencies"]
        | [_, "rules", "needs"]
        | [_, "rules", "needs", "job"]
        | [_, "environment", "on_stop"]
        | [_, "trigger", "include", "job"] => {
            found.extend(jobs(false));
        }
        ["include"]
        | ["include", "local"]
        | [_, "trigger", "include"]
        | [_, "trigger", "include", "local"] => {
            found.extend(names.files.iter().map(|name| Proposal::new(name, FILE, "file")));
        }
        [_, "inherit", "default"] => {
            found.extend(
                keywords(&["default".to_owned()])
                    .iter()
                    .map(|(name, about)| Proposal::new(name, VALUE, about)),
            );
        }
        _ => {}
    }
    found.extend(words(&cursor.path).iter().map(|word| Proposal::new(word, VALUE, "")));
    found
}

/// The next element of a `!reference`.
fn reference(elements: &[String], at: usize, names: &Names, written: Option<&Written>) -> Vec<Proposal> {
    if at == 0 {
        return names.jobs.iter().map(|name| Proposal::new(name, JOB, "")).collect();
    }
    let path: Vec<&str> = elements.iter().take(at).map(String::as_str).collect();
    let keys = written.map(|written| written.keys(&path)).unwrap_or_default();
    keys.iter().map(|key| Proposal::new(key, VALUE, "")).collect()
}
