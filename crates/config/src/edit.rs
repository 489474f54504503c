//! Edits of `config.toml` that leave every other byte as it is: a new `[[runners]]` table at the end, entries taken
//! out, token fields set.
//!
//! Called by `register`, `unregister`, `verify --delete`, `reset-token` and the token rotation. Pure: text in, text
//! out. Every result is parsed again before it is given out, so an edit can never break a file.

use crate::check::{document, find};
use crate::error::ConfigError;
use crate::mirror::{Runner, Stamp};
use crate::sheet::{Sheet, quoted};
use crate::source::Source;
use crate::table::Table as _;
use harrier_base::Secret;
use std::ops::Range;
use toml_edit::{ArrayOfTables, Item, Table};

/// Why a text cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is not a `config.toml` to begin with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `runners` is there, but not as tables.
    #[error(
        "{origin}: runners is not written as [[runners]] tables; write each entry below its own [[runners]] line"
    )]
    NotTables {
        /// The file.
        origin: String,
    },
    /// There is no such entry (any more).
    #[error("{origin}: the [[runners]] entry is no longer there; the file was changed meanwhile, try again")]
    NoEntry {
        /// The file.
        origin: String,
        /// Counted from 1; 0: it was looked for by its token.
        number: usize,
    },
    /// The result would not say what it should; the layout is too unusual.
    #[error("{origin}: cannot be edited without losing its layout; make the change by hand")]
    Layout {
        /// The file.
        origin: String,
    },
}

/// The fields a server gives with a token.
pub struct TokenFields {
    /// `id`; `None`: left as it is.
    pub id: Option<i64>,
    /// `token`
    pub token: Secret,
    /// `token_obtained_at`
    pub obtained_at: Stamp,
    /// `token_expires_at`
    pub expires_at: Stamp,
}

/// What GitLab Runner writes above the first entry of a new file.
const NEW_FILE: &str = "concurrent = 1\ncheck_interval = 0\nshutdown_timeout = 0\n\n[session_server]\n  session_timeout = 1800\n";

/// Adds an entry at the end, in the layout of GitLab Runner.
///
/// # Errors
/// [`EditError`]; `origin` names the text in it.
pub fn add_runner(text: &str, origin: &str, runner: &Runner) -> Result<String, EditError> {
    let before = entries(text, origin)?;
    let mut sheet = Sheet::new();
    sheet.element(&before.name, |sheet| runner.write(sheet));
    let mut out = if text.trim_start_matches('\u{feff}').trim().is_empty() {
        NEW_FILE.to_owned()
    } else {
        text.to_owned()
    };
    let newline = newline(&out);
    if !out.ends_with('\n') {
        out.push_str(newline);
    }
    if !out.ends_with("\n\n") && !out.ends_with("\n\r\n") {
        out.push_str(newline);
    }
    out.push_str(&sheet.finish().replace('\n', newline));
    let after = entries(&out, origin)?;
    if after.count == before.count + 1 {
        Ok(out)
    } else {
        Err(EditError::Layout { origin: origin.to_owned() })
    }
}

/// Takes out the entries with these indices, each with the comment right above it.
///
/// # Errors
/// [`EditError`].
pub fn remove_runners(text: &str, origin: &str, indices: &[usize]) -> Result<String, EditError> {
    let before = entries(text, origin)?;
    if let Some(missing) = indices.iter().find(|index| **index >= before.count) {
        return Err(EditError::NoEntry { origin: origin.to_owned(), number: missing + 1 });
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (number, section) in before.sections.iter().enumerate() {
        let end = before.sections.get(number + 1).map_or(text.len(), |next| next.start);
        if section.entry.is_some_and(|entry| indices.contains(&entry)) {
            out.push_str(&text[from..section.start]);
            from = end;
        }
    }
    out.push_str(&text[from..]);
    let mut unique = indices.to_vec();
    unique.sort_unstable();
    unique.dedup();
    let after = entries(&out, origin)?;
    if after.count + unique.len() == before.count {
        Ok(out)
    } else {
        Err(EditError::Layout { origin: origin.to_owned() })
    }
}

/// Sets the token fields of an entry, each in its place if it is there, else on a line of its own after the field
/// GitLab Runner writes before it.
///
/// # Errors
/// [`EditError`].
pub fn set_token(text: &str, origin: &str, index: usize, fields: &TokenFields) -> Result<String, EditError> {
    let mut out = text.to_owned();
    let values = [
        ("id", fields.id.map(|id| id.to_string())),
        ("token", Some(quoted(fields.token.expose()))),
        ("token_obtained_at", Some(fields.obtained_at.toml())),
        ("token_expires_at", Some(fields.expires_at.toml())),
    ];
    for (key, value) in values {
        if let Some(value) = value {
            out = set(&out, origin, index, key, &value)?;
        }
    }
    Ok(out)
}

/// The order of the fields in front, for new lines.
const ORDER: [&str; 6] = ["name", "url", "id", "token", "token_obtained_at", "token_expires_at"];

fn set(text: &str, origin: &str, index: usize, key: &str, value: &str) -> Result<String, EditError> {
    let layout = || EditError::Layout { origin: origin.to_owned() };
    let document = document(Source { origin, text })?;
    let tables = tables(document.as_table(), origin)?;
    let entry = tables
        .and_then(|(_, tables)| tables.get(index))
        .ok_or_else(|| EditError::NoEntry { origin: origin.to_owned(), number: index + 1 })?;
    let span_of = |name: &str| find(entry, name).and_then(|(_, item)| item.as_value()?.span());
    let mut out = text.to_owned();
    if let Some(span) = span_of(key) {
        out.replace_range(span, value);
    } else {
        let position = ORDER.iter().position(|name| *name == key).unwrap_or(0);
        let after = ORDER[..position].iter().rev().find_map(|name| span_of(name).map(|span| span.end));
        let anchor = match after {
            Some(end) => end,
            None => header_end(entry).ok_or_else(layout)?,
        };
        let line_start = text[..anchor].rfind('\n').map_or(0, |at| at + 1);
        let indent: String = match after {
            Some(_) => text[line_start..].chars().take_while(|c| matches!(c, ' ' | '\t')).collect(),
            None => "  ".to_owned(),
        };
        let newline = newline(text);
        match text[anchor..].find('\n') {
            Some(at) => out.insert_str(anchor + at + 1, &format!("{indent}{key} = {value}{newline}")),
            None => out.push_str(&format!("{newline}{indent}{key} = {value}{newline}")),
        }
    }
    let check = crate::check::document(Source { origin, text: &out })?;
    let there = self::tables(check.as_table(), origin)?
        .and_then(|(_, tables)| tables.get(index))
        .and_then(|entry| find(entry, key))
        .is_some_and(|(_, item)| {
            item.as_value().is_some_and(|item| item.clone().decorated("", "").to_string() == value)
        });
    if there { Ok(out) } else { Err(layout()) }
}

/// Where the `[[runners]]` line ends, without its comment.
fn header_end(entry: &Table) -> Option<usize> {
    entry.span().map(|span| span.end)
}

/// A header and all that follows up to the next one.
struct Section {
    /// Where it starts: the comment right above its header.
    start: usize,
    /// The `[[runners]]` entry it is part of.
    entry: Option<usize>,
}

/// Which part of a text belongs to which entry.
struct Entries {
    /// As the file spells `runners`.
    name: String,
    count: usize,
    sections: Vec<Section>,
}

fn entries(text: &str, origin: &str) -> Result<Entries, EditError> {
    let document = document(Source { origin, text })?;
    let root = document.as_table();
    let found = tables(root, origin)?;
    let mut headers: Vec<(usize, Option<usize>)> = Vec::new();
    for (key, item) in root.iter() {
        if let Some((name, tables)) = found
            && key == name
        {
            for (index, table) in tables.iter().enumerate() {
                headers_of(table, Some(index), &mut headers);
            }
        } else {
            headers_below(item, None, &mut headers);
        }
    }
    headers.sort_unstable();
    let sections =
        headers.into_iter().map(|(at, entry)| Section { start: with_comment(text, at), entry }).collect();
    let (name, count) =
        found.map_or(("runners".to_owned(), 0), |(name, tables)| (name.to_owned(), tables.len()));
    Ok(Entries { name, count, sections })
}

/// The `[[runners]]` tables; `None`: there are none.
fn tables<'t>(root: &'t Table, origin: &str) -> Result<Option<(&'t str, &'t ArrayOfTables)>, EditError> {
    match find(root, "runners") {
        Some((name, Item::ArrayOfTables(tables))) => Ok(Some((name, tables))),
        Some(_) => Err(EditError::NotTables { origin: origin.to_owned() }),
        None => Ok(None),
    }
}

fn headers_of(table: &Table, entry: Option<usize>, out: &mut Vec<(usize, Option<usize>)>) {
    if let Some(Range { start, .. }) = table.span()
        && !table.is_implicit()
        && !table.is_dotted()
    {
        out.push((start, entry));
    }
    for (_, item) in table {
        headers_below(item, entry, out);
    }
}

fn headers_below(item: &Item, entry: Option<usize>, out: &mut Vec<(usize, Option<usize>)>) {
    match item {
        Item::Table(table) => headers_of(table, entry, out),
        Item::ArrayOfTables(tables) => tables.iter().for_each(|table| headers_of(table, entry, out)),
        Item::None | Item::Value(_) => {}
    }
}

/// The start of the line of `at`, moved up over the comment lines right above it.
fn with_comment(text: &str, at: usize) -> usize {
    let mut start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    while start > 0 {
        let above = text[..start - 1].rfind('\n').map_or(0, |newline| newline + 1);
        if !text[above..start].trim_start().starts_with('#') {
            break;
        }
        start = above;
    }
    start
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}
