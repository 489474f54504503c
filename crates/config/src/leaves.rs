//! The settings that a `config.toml` holds, one by one, with their places: the walk of the reader without its types.
//!
//! Called by `check` (settings without effect) and `migrate`. Pure; it judges nothing.

use crate::check::find;
use crate::mirror::settings;
use crate::reader::key_span;
use crate::support::{Exception, Given, exception, executors_of};
use std::collections::HashMap;
use std::ops::Range;
use toml_edit::{Item, TableLike, Value};

/// One setting of the file.
pub(crate) struct Leaf<'a> {
    /// Keys with dots, as the mirror spells them; as the file does where it knows none.
    pub key: String,
    /// Whether the mirror knows it.
    pub is_known: bool,
    /// Where its key stands.
    pub at: Range<usize>,
    /// The `[[runners]]` entry it is of, counted from 0.
    pub runner: Option<usize>,
    pub item: &'a Item,
    entry: &'a dyn TableLike,
}

impl<'a> Leaf<'a> {
    /// The value with what stands around it.
    pub(crate) fn given(&self) -> Given<'a> {
        Given { item: self.item, entry: self.entry }
    }

    /// What is not as in GitLab Runner.
    pub(crate) fn exception(&self) -> Option<&'static Exception> {
        exception(&self.key, self.given())
    }

    /// The section of its entry that it stands in, when it is one of an executor.
    pub(crate) fn executors(&self) -> Option<&'static [&'static str]> {
        let mut keys = self.key.split('.');
        if keys.next() != Some("runners") { None } else { executors_of(keys.next()?) }
    }

    /// The executor its entry names.
    pub(crate) fn executor(&self) -> &'a str {
        find(self.entry, "executor").and_then(|(_, item)| item.as_str()).unwrap_or_default()
    }

    /// Whether its entry's executor looks at it.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.executors().is_none_or(|executors| executors.contains(&self.executor()))
    }

    /// Where its value stands.
    pub(crate) fn value_at(&self) -> Range<usize> {
        self.item.as_value().and_then(Value::span).unwrap_or(self.at.clone())
    }
}

/// Every setting below `root`, in the order of the file.
pub(crate) fn leaves<'a>(root: &'a dyn TableLike) -> Vec<Leaf<'a>> {
    let known = settings().into_iter().map(|setting| {
        let key = setting.key();
        (key.to_ascii_lowercase(), (key, setting.is_table))
    });
    let mut walk = Walk { known: known.collect(), out: Vec::new() };
    walk.table("", root, None, root);
    walk.out.sort_by_key(|leaf| leaf.at.start);
    walk.out
}

struct Walk<'a> {
    known: HashMap<String, (String, bool)>,
    out: Vec<Leaf<'a>>,
}

impl<'a> Walk<'a> {
    fn table(
        &mut self,
        path: &str,
        table: &'a dyn TableLike,
        runner: Option<usize>,
        entry: &'a dyn TableLike,
    ) {
        for (key, item) in table.iter() {
            let written = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let known = self.known.get(&written.to_ascii_lowercase()).cloned();
            let is_known = known.is_some();
            let (key_path, is_table) = known.unwrap_or((written, false));
            let inner: Vec<&'a dyn TableLike> = if is_table { tables(item) } else { Vec::new() };
            if inner.is_empty() && !(is_table && item.is_table_like()) {
                let at = key_span(table, key).unwrap_or(0..0);
                self.out.push(Leaf { key: key_path, is_known, at, runner, item, entry });
                continue;
            }
            for (index, table) in inner.into_iter().enumerate() {
                if key_path == "runners" {
                    self.table(&key_path, table, Some(index), table);
                } else {
                    self.table(&key_path, table, runner, entry);
                }
            }
        }
    }
}

/// The tables that an item is or holds.
fn tables(item: &Item) -> Vec<&dyn TableLike> {
    match item {
        Item::ArrayOfTables(tables) => tables.iter().map(|table| table as &dyn TableLike).collect(),
        Item::Value(Value::Array(array)) => {
            array.iter().filter_map(Value::as_inline_table).map(|table| table as &dyn TableLike).collect()
        }
        item => item.as_table_like().into_iter().collect(),
    }
}
