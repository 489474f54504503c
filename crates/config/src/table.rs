//! What every table of the mirror can do, and the macro that declares one: a row per key gives the field, its
//! place in a written file, its `register` flag and its environment variable.
//!
//! Called by the files below `mirror/`. A row is the only place a setting is named.

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
