//! Walks a parsed document into mirror tables and collects everything that is wrong on the way, so that one run
//! names all mistakes.
//!
//! Called by `parse`. Keys match without regard to case, as Go's decoder does; an exact match wins over another.

use crate::Warning;
use crate::source::{Problem, Source, alike};
use crate::table::Table;
use std::ops::Range;
use toml_edit::{Item, TableLike};

/// What a walk has found so far.
pub(crate) struct Reader<'a> {
    pub source: Source<'a>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
    path: Vec<String>,
    /// Where the key of the value being read stands.
    key_at: Range<usize>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: Source<'a>) -> Self {
        Self { source, problems: Vec::new(), warnings: Vec::new(), path: Vec::new(), key_at: 0..0 }
    }

    /// Reads one table.
    pub(crate) fn table<T: Table>(&mut self, table: &dyn TableLike) -> T {
        let mut value = T::default();
        for exact in [false, true] {
            for (key, item) in table.iter() {
                if T::KEYS.contains(&key) != exact {
                    continue;
                }
                let outer = self.key_at.clone();
                self.key_at = key_span(table, key).unwrap_or(outer.clone());
                self.path.push(key.to_owned());
                if !value.set(key, item, self) {
                    self.unknown(key, T::KEYS);
                }
                self.path.pop();
                self.key_at = outer;
            }
        }
        value
    }

    fn unknown(&mut self, key: &str, known: &[&str]) {
        let remedy = match alike(key, known.iter().copied()) {
            Some(name) => format!("did you mean {name}? The key has no effect as it is"),
            None => "it has no effect; remove it, or check in which table it belongs".to_owned(),
        };
        let message = format!("unknown key {}", self.shown_path());
        let problem = self.source.problem(self.key_at.clone(), message, remedy);
        self.warnings.push(Warning::UnknownKey(problem));
    }

    /// The value at hand is of the wrong type.
    pub(crate) fn wrong_type(&mut self, item: &Item, expected: &str, example: &str) {
        let at = self.span(item);
        let message = format!("{}: expected {expected}, found {}", self.shown_path(), type_name(item));
        self.problems.push(self.source.problem(at, message, example.to_owned()));
    }

    /// The value at hand is of the right type but cannot be used.
    pub(crate) fn bad_value(&mut self, item: &Item, message: &str, remedy: &str) {
        let at = self.span(item);
        let message = format!("{}: {message}", self.shown_path());
        self.problems.push(self.source.problem(at, message, remedy.to_owned()));
    }

    /// The key that holds the value at hand, for examples.
    pub(crate) fn key(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    fn shown_path(&self) -> String {
        self.path.join(".")
    }

    fn span(&self, item: &Item) -> Range<usize> {
        match item {
            Item::Value(value) => value.span(),
            Item::None | Item::Table(_) | Item::ArrayOfTables(_) => None,
        }
        .unwrap_or(self.key_at.clone())
    }
}

/// Where a key stands in the text.
pub(crate) fn key_span(table: &dyn TableLike, key: &str) -> Option<Range<usize>> {
    table.key(key).and_then(|key| key.span())
}

/// What a value is called in a message.
fn type_name(item: &Item) -> &'static str {
    match item {
        Item::None => "nothing",
        Item::Value(value) => match value {
            toml_edit::Value::String(_) => "a string",
            toml_edit::Value::Integer(_) => "an integer",
            toml_edit::Value::Float(_) => "a float",
            toml_edit::Value::Boolean(_) => "a boolean",
            toml_edit::Value::Datetime(_) => "a date",
            toml_edit::Value::Array(_) => "an array",
            toml_edit::Value::InlineTable(_) => "a table",
        },
        Item::Table(_) => "a table",
        Item::ArrayOfTables(_) => "an array of tables",
    }
}
