//! What every table of the mirror can do, and the macro that declares one: a row per key gives the field, its
//! place in a written file, its `register` flag and its environment variable.
//!
//! Called by the files below `mirror/`. A row is the only place a setting is named.

use crate::cell::chain_below;
use crate::reader::Reader;
use crate::sheet::Sheet;
use toml_edit::Item;

/// Whether GitLab Runner writes a key that holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Left out when unset or zero.
    Omit,
    /// Written even when zero.
    Always,
}

/// A command-line flag of `register` and `run-single` that sets one key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Name without the leading `--`.
    pub name: String,
    /// Environment variable; empty: none.
    pub env: String,
    /// What it is for.
    pub help: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Keys from the runner's table down.
    pub path: Vec<&'static str>,
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// One value.
    One,
    /// A boolean, `true` when given without a value.
    Switch,
    /// Several values, by repeating the flag.
    Many,
    /// Several values, by repeating the flag or with commas.
    CommaList,
    /// `key:value`, repeated.
    Map,
}

/// One key of the mirror: what a row of its table says.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Keys from the top of the file down; a table in an array has the array's key.
    pub path: Vec<&'static str>,
    /// What it holds, in words: "a string".
    pub holds: &'static str,
    /// Whether settings stand below it.
    pub is_table: bool,
    /// Its flag of `register` without the leading `--`; empty: none.
    pub flag: String,
    /// Its environment variable; empty: none.
    pub env: String,
    /// What it is for.
    pub help: &'static str,
}

impl Setting {
    /// The keys with dots between them.
    pub fn key(&self) -> String {
        self.path.join(".")
    }
}

/// A row of a table, as its declaration gives it.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub key: &'static str,
    pub flag: &'static str,
    pub env: &'static str,
    pub help: &'static str,
}

/// Where a walk over the mirror is; without a chain nothing here or below has a flag.
#[derive(Clone, Default)]
pub(crate) struct Walk {
    pub path: Vec<&'static str>,
    pub chain: Option<Chain>,
}

impl Walk {
    pub(crate) fn setting(&self, row: Row, holds: &'static str, is_table: bool) -> Setting {
        let chain = self.chain.as_ref().filter(|_| !row.flag.is_empty() && !is_table);
        let env = match (chain, row.env.strip_prefix('@')) {
            (Some(chain), Some(tail)) => format!("{}{tail}", chain.env),
            (Some(_), None) => row.env.to_owned(),
            (None, _) => String::new(),
        };
        Setting {
            path: self.path.iter().copied().chain([row.key]).collect(),
            holds,
            is_table,
            flag: chain.map_or_else(String::new, |chain| format!("{}{}", chain.flag, row.flag)),
            env,
            help: row.help,
        }
    }

    pub(crate) fn below(&self, row: Row) -> Self {
        let chain = self.chain.as_ref().filter(|_| !row.flag.is_empty());
        Self {
            path: self.path.iter().copied().chain([row.key]).collect(),
            chain: chain.map(|chain| chain_below(chain, row.key, row.flag)),
        }
    }
}

/// Prefixes gathered on the way down to a flag.
#[derive(Clone, Default)]
pub(crate) struct Chain {
    pub flag: String,
    pub env: String,
    pub path: Vec<&'static str>,
}

/// One TOML table of the mirror.
pub(crate) trait Table: Default + Clone {
    /// The keys it knows.
    const KEYS: &'static [&'static str];
    /// Sets the field of a key, whatever its case; `false`: no such key.
    fn set(&mut self, key: &str, item: &Item, reader: &mut Reader<'_>) -> bool;
    /// Writes the keys, then the tables below.
    fn write(&self, sheet: &mut Sheet);
    /// Takes from `other` what is unset or zero here.
    fn fill_from(&mut self, other: &Self);
    /// The keys of this table and of those below.
    fn all_keys(out: &mut Vec<&'static str>);
    /// The flags of this table and of those below.
    fn flags(chain: &Chain, out: &mut Vec<Flag>);
    /// The settings of this table and of those below.
    fn settings(walk: &Walk, out: &mut Vec<Setting>);
    /// Sets the key at `path` from command-line values.
    fn put(&mut self, path: &[&str], values: &[String]) -> Result<(), String>;
}

/// Declares a table: `field: type, "key", Omit|Always, "flag", "ENV", "meaning";`. An empty flag: none. For a
/// field that is a table, the flag is the prefix of the flags below. An environment name that starts with `@`
/// gets the upper-cased prefixes in front.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $ty:ty, $key:literal, $write:ident, $flag:literal, $env:literal, $help:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Default)]
        pub struct $name {
            $(#[doc = $help] pub $field: $ty,)*
        }

        impl $crate::table::Table for $name {
            const KEYS: &'static [&'static str] = &[$($key),*];

            fn set(&mut self, key: &str, item: &toml_edit::Item, reader: &mut $crate::reader::Reader<'_>) -> bool {
                $(if key.eq_ignore_ascii_case($key) {
                    if let Some(value) = <$ty as $crate::cell::Cell>::read(item, reader) {
                        self.$field = value;
                    }
                    return true;
                })*
                false
            }

            fn write(&self, sheet: &mut $crate::sheet::Sheet) {
                $(if !<$ty as $crate::cell::Cell>::BELOW {
                    $crate::cell::Cell::write(&self.$field, $key, $crate::table::Write::$write, sheet);
                })*
                $(if <$ty as $crate::cell::Cell>::BELOW {
                    $crate::cell::Cell::write(&self.$field, $key, $crate::table::Write::$write, sheet);
                })*
            }

            fn fill_from(&mut self, other: &Self) {
                $($crate::cell::Cell::fill_from(&mut self.$field, &other.$field);)*
            }

            fn all_keys(out: &mut Vec<&'static str>) {
                $(
                    out.push($key);
                    <$ty as $crate::cell::Cell>::keys_below(out);
                )*
            }

            fn flags(chain: &$crate::table::Chain, out: &mut Vec<$crate::table::Flag>) {
                $(if !$flag.is_empty() {
                    <$ty as $crate::cell::Cell>::flags($key, $flag, $env, $help, chain, out);
                })*
            }

            fn settings(walk: &$crate::table::Walk, out: &mut Vec<$crate::table::Setting>) {
                $(
                    let row = $crate::table::Row { key: $key, flag: $flag, env: $env, help: $help };
                    <$ty as $crate::cell::Cell>::settings(row, walk, out);
                )*
            }

            fn put(&mut self, path: &[&str], values: &[String]) -> Result<(), String> {
                match path.first().copied() {
                    $(Some($key) => $crate::cell::Cell::put(&mut self.$field, &path[1..], values),)*
                    Some(_) | None => Err("no such setting".to_owned()),
                }
            }
        }
    };
}
pub(crate) use table;
