//! The types a key can have: how each is read, written, merged and set from the command line.
//!
//! Called by the tables of the mirror. A cell holds what the file says, nothing resolved.

use crate::reader::Reader;
use crate::sheet::{Sheet, float, quoted};
use crate::table::{Chain, Flag, Row, Setting, Table, Takes, Walk, Write};
use harrier_base::{Secret, format_go_duration, parse_go_duration};
use std::collections::BTreeMap;
use std::time::Duration;
use toml_edit::{Item, Value};

/// One field of a mirror table.
pub(crate) trait Cell: Sized {
    /// Written as a table of its own, after the plain keys.
    const BELOW: bool = false;
    /// What its flag takes.
    const TAKES: Takes = Takes::One;
    /// What it holds, in words.
    const HOLDS: &'static str;
    /// Reads it; `None`: it could not be read and the reader knows why.
    fn read(item: &Item, reader: &mut Reader<'_>) -> Option<Self>;
    /// Writes it, or nothing.
    fn write(&self, key: &str, write: Write, sheet: &mut Sheet);
    /// Takes the other's value when this is unset or zero.
    fn fill_from(&mut self, other: &Self);
    /// Sets it, or a key below it, from the command line.
    fn put(&mut self, path: &[&str], values: &[String]) -> Result<(), String>;
    /// The keys of the table it is, if it is one.
    fn keys_below(_out: &mut Vec<&'static str>) {}
    /// Its flag, or the flags below it.
    fn flags(
        key: &'static str,
        flag: &str,
        env: &str,
        help: &'static str,
        chain: &Chain,
        out: &mut Vec<Flag>,
    ) {
        let mut path = chain.path.clone();
        path.push(key);
        let env = match env.strip_prefix('@') {
            Some(tail) => format!("{}{tail}", chain.env),
            None => env.to_owned(),
        };
        out.push(Flag { name: format!("{}{flag}", chain.flag), env, help, takes: Self::TAKES, path });
    }
    /// The setting it is, and those below it.
    fn settings(row: Row, walk: &Walk, out: &mut Vec<Setting>) {
        out.push(walk.setting(row, Self::HOLDS, false));
    }
}

fn last(values: &[String]) -> &str {
    values.last().map_or("", String::as_str)
}

fn scalar(item: &Item) -> Option<&Value> {
    item.as_value()
}

/// A scalar that may be absent.
macro_rules! scalar {
    ($ty:ty, $holds:literal, $takes:expr, $zero:expr, $read:expr, $write:expr, $parse:expr) => {
        impl Cell for Option<$ty> {
            const TAKES: Takes = $takes;
            const HOLDS: &'static str = $holds;

            fn read(item: &Item, reader: &mut Reader<'_>) -> Option<Self> {
                $read(item, reader).map(Some)
            }

            fn write(&self, key: &str, write: Write, sheet: &mut Sheet) {
                let zero = $zero;
                match self {
                    Some(value) if *value != zero || write == Write::Always => {
                        sheet.line(key, &$write(value));
                    }
                    None if write == Write::Always => sheet.line(key, &$write(&zero)),
                    Some(_) | None => {}
                }
            }

            fn fill_from(&mut self, other: &Self) {
                if self.as_ref().is_none_or(|value| *value == $zero) && other.is_some() {
                    self.clone_from(other);
                }
            }

            fn put(&mut self, _path: &[&str], values: &[String]) -> Result<(), String> {
                *self = Some($parse(last(values))?);
                Ok(())
            }
        }
    };
}

scalar!(
    String,
    "a string",
    Takes::One,
    String::new(),
    |item: &Item, reader: &mut Reader<'_>| match scalar(item) {
        Some(Value::String(text)) => Some(text.value().clone()),
        Some(_) | None => {
            let example = format!("put it in quotes: {} = \"...\"", reader.key());
            reader.wrong_type(item, "a string", &example);
            None
        }
    },
    |value: &String| quoted(value),
    |text: &str| Ok::<_, String>(text.to_owned())
);

scalar!(
    Secret,
    "a string",
    Takes::One,
    Secret::default(),
    |item: &Item, reader: &mut Reader<'_>| match scalar(item) {
        Some(Value::String(text)) => Some(Secret::new(text.value().clone())),
        Some(_) | None => {
            let example = format!("put it in quotes: {} = \"...\"", reader.key());
            reader.wrong_type(item, "a string", &example);
            None
        }
    },
    |value: &Secret| quoted(value.expose()),
    |text: &str| Ok::<_, String>(Secret::new(text))
);

scalar!(
    i64,
    "an integer",
    Takes::One,
    0,
    |item: &Item, reader: &mut Reader<'_>| match scalar(item) {
        Some(Value::Integer(number)) => Some(*number.value()),
        Some(_) | None => {
            let example = format!("write a whole number without quotes: {} = 4", reader.key());
            reader.wrong_type(item, "an integer", &example);
            None
        }
    },
    |value: &i64| value.to_string(),
    |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text:?} is not a whole number"))
);

scalar!(
    bool,
    "a boolean",
    Takes::Switch,
    false,
    |item: &Item, reader: &mut Reader<'_>| match scalar(item) {
        Some(Value::Boolean(flag)) => Some(*flag.value()),
        Some(_) | None => {
            let example = format!("write {key} = true or {key} = false, without quotes", key = reader.key());
            reader.wrong_type(item, "a boolean", &example);
            None
        }
    },
    |value: &bool| value.to_string(),
    parse_bool
);

scalar!(
    f64,
    "a number",
    Takes::One,
    0.0,
    |item: &Item, reader: &mut Reader<'_>| match scalar(item) {
        Some(Value::Float(number)) => Some(*number.value()),
        #[allow(clippy::cast_precision_loss)]
        Some(Value::Integer(number)) => Some(*number.value() as f64),
        Some(_) | None => {
            let example = format!("write a number without quotes: {} = 0.5", reader.key());
            reader.wrong_type(item, "a number", &example);
            None
        }
    },
    |value: &f64| float(*value),
    |text: &str| text.trim().parse::<f64>().map_err(|_| format!("{text:?} is not a number"))
);

scalar!(
    Duration,
    "a duration in a string",
    Takes::One,
    Duration::ZERO,
    |item: &Item, reader: &mut Reader<'_>| match scalar(item) {
        Some(Value::String(text)) => match parse_go_duration(text.value()) {
            Ok(duration) => Some(duration),
            // A limit below zero means what zero means, everywhere in this file.
            Err(harrier_base::DurationError::Negative { .. }) => Some(Duration::ZERO),
            Err(error) => {
                reader.bad_value(
                    item,
                    &error.to_string(),
                    "write a number with its unit, such as 30s or 1h30m",
                );
                None
            }
        },
        // Go takes a bare number for nanoseconds; a 0 is what people write.
        Some(Value::Integer(number)) => {
            Some(Duration::from_nanos(u64::try_from(*number.value()).unwrap_or_default()))
        }
        Some(_) | None => {
            let example = format!("write a number with its unit, in quotes: {} = \"30s\"", reader.key());
            reader.wrong_type(item, "a duration in a string", &example);
            None
        }
    },
    |value: &Duration| quoted(&format_go_duration(*value)),
    |text: &str| parse_go_duration(text).map_err(|error| error.to_string())
);

/// What `register`'s command line takes for a boolean.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("{other:?} is not true or false")),
    }
}

/// A point in time, Unix seconds; the year 1 stands for "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub i64);

/// 0001-01-01T00:00:00Z, Go's zero time.
const GO_ZERO_TIME: i64 = -62_135_596_800;

impl Stamp {
    /// Go's zero time.
    pub const NEVER: Self = Self(GO_ZERO_TIME);

    /// Unix seconds, unless it is "never".
    pub fn seconds(self) -> Option<i64> {
        (self.0 > GO_ZERO_TIME).then_some(self.0)
    }

    /// From an RFC 3339 text, such as a server sends.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_second()))
    }

    /// As TOML writes it, UTC.
    pub fn toml(self) -> String {
        jiff::Timestamp::from_second(self.0)
            .map_or_else(|_| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string())
    }
}

scalar!(
    Stamp,
    "a date and time",
    Takes::One,
    Stamp::NEVER,
    |item: &Item, reader: &mut Reader<'_>| match scalar(item) {
        Some(Value::Datetime(at)) => {
            let mut text = at.value().to_string();
            if at.value().time.is_some() && at.value().offset.is_none() {
                text.push('Z');
            }
            let stamp = Stamp::parse(&text);
            if stamp.is_none() {
                reader.bad_value(item, "not a point in time", "write it as 2026-01-31T12:00:00Z");
            }
            stamp
        }
        Some(_) | None => {
            reader.wrong_type(item, "a date and time", "write it without quotes: 2026-01-31T12:00:00Z");
            None
        }
    },
    |value: &Stamp| value.toml(),
    |text: &str| Stamp::parse(text).ok_or_else(|| format!("{text:?} is not a point in time"))
);

/// What a list or a map may hold.
trait Element: Sized + Clone {
    const NAME: &'static str;
    const LIST_NAME: &'static str;
    const MAP_NAME: &'static str;
    fn read(value: &Value) -> Option<Self>;
    fn write(&self) -> String;
    fn parse(text: &str) -> Result<Self, String>;
}

impl Element for String {
    const NAME: &'static str = "a string";
    const LIST_NAME: &'static str = "an array of strings";
    const MAP_NAME: &'static str = "a table of strings";
    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn write(&self) -> String {
        quoted(self)
    }
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Element for i64 {
    const NAME: &'static str = "an integer";
    const LIST_NAME: &'static str = "an array of integers";
    const MAP_NAME: &'static str = "a table of integers";
    fn read(value: &Value) -> Option<Self> {
        value.as_integer()
    }
    fn write(&self) -> String {
        self.to_string()
    }
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("{text:?} is not a whole number"))
    }
}

impl Element for f64 {
    const NAME: &'static str = "a number";
    const LIST_NAME: &'static str = "an array of numbers";
    const MAP_NAME: &'static str = "a table of numbers";
    #[allow(clippy::cast_precision_loss)]
    fn read(value: &Value) -> Option<Self> {
        value.as_float().or_else(|| value.as_integer().map(|number| number as f64))
    }
    fn write(&self) -> String {
        float(*self)
    }
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("{text:?} is not a number"))
    }
}

impl Element for bool {
    const NAME: &'static str = "a boolean";
    const LIST_NAME: &'static str = "an array of booleans";
    const MAP_NAME: &'static str = "a table of booleans";
    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
    fn write(&self) -> String {
        self.to_string()
    }
    fn parse(text: &str) -> Result<Self, String> {
        parse_bool(text)
    }
}

impl Element for Vec<String> {
    const NAME: &'static str = "an array of strings";
    const LIST_NAME: &'static str = "an array of arrays of strings";
    const MAP_NAME: &'static str = "a table of arrays of strings";
    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(<String as Element>::read).collect()
    }
    fn write(&self) -> String {
        list(self)
    }
    fn parse(text: &str) -> Result<Self, String> {
        Ok(vec![text.to_owned()])
    }
}

fn list<E: Element>(values: &[E]) -> String {
    let values: Vec<String> = values.iter().map(Element::write).collect();
    format!("[{}]", values.join(", "))
}

fn read_list<E: Element>(item: &Item, reader: &mut Reader<'_>) -> Option<Vec<E>> {
    let Some(array) = item.as_array() else {
        let example = format!("put it in brackets: {} = [...]", reader.key());
        reader.wrong_type(item, E::LIST_NAME, &example);
        return None;
    };
    let mut out = Vec::new();
    for value in array {
        match E::read(value) {
            Some(element) => out.push(element),
            None => {
                let example = format!("every entry of {} must be {}", reader.key(), E::NAME);
                reader.wrong_type(&Item::Value(value.clone()), E::NAME, &example);
                return None;
            }
        }
    }
    Some(out)
}

macro_rules! lists {
    ($($ty:ty),*) => {
        $(impl Cell for Vec<$ty> {
            const TAKES: Takes = Takes::Many;
            const HOLDS: &'static str = <$ty as Element>::LIST_NAME;

            fn read(item: &Item, reader: &mut Reader<'_>) -> Option<Self> {
                read_list(item, reader)
            }

            fn write(&self, key: &str, _write: Write, sheet: &mut Sheet) {
                if !self.is_empty() {
                    sheet.line(key, &list(self));
                }
            }

            fn fill_from(&mut self, other: &Self) {
                if self.is_empty() {
                    self.clone_from(other);
                }
            }

            fn put(&mut self, _path: &[&str], values: &[String]) -> Result<(), String> {
                *self = values.iter().map(|text| <$ty as Element>::parse(text)).collect::<Result<_, _>>()?;
                Ok(())
            }
        })*
    };
}
lists!(String, i64, f64);

/// A string, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringOrList(pub Vec<String>);

impl Cell for StringOrList {
    const TAKES: Takes = Takes::CommaList;
    const HOLDS: &'static str = "a string or an array of strings";

    fn read(item: &Item, reader: &mut Reader<'_>) -> Option<Self> {
        match scalar(item) {
            Some(Value::String(text)) => Some(Self(vec![text.value().clone()])),
            Some(Value::Array(_)) => read_list(item, reader).map(Self),
            Some(_) | None => {
                let example =
                    format!("write {key} = \"...\" or {key} = [\"...\", \"...\"]", key = reader.key());
                reader.wrong_type(item, "a string or an array of strings", &example);
                None
            }
        }
    }

    fn write(&self, key: &str, write: Write, sheet: &mut Sheet) {
        Cell::write(&self.0, key, write, sheet);
    }

    fn fill_from(&mut self, other: &Self) {
        self.0.fill_from(&other.0);
    }

    fn put(&mut self, _path: &[&str], values: &[String]) -> Result<(), String> {
        let parts = values.iter().flat_map(|text| text.split(',')).map(str::trim);
        self.0 = parts.filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Ok(())
    }
}

impl<E: Element> Cell for BTreeMap<String, E> {
    const BELOW: bool = true;
    const TAKES: Takes = Takes::Map;
    const HOLDS: &'static str = E::MAP_NAME;

    fn read(item: &Item, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(table) = item.as_table_like() else {
            reader.wrong_type(item, E::MAP_NAME, &format!("write it as {} = {{ key = ... }}", reader.key()));
            return None;
        };
        let mut out = Self::new();
        for (key, inner) in table.iter() {
            match inner.as_value().and_then(E::read) {
                Some(value) => {
                    out.insert(key.to_owned(), value);
                }
                None => {
                    let example = format!("the value of {key} must be {}", E::NAME);
                    reader.wrong_type(inner, E::NAME, &example);
                    return None;
                }
            }
        }
        Some(out)
    }

    fn write(&self, key: &str, _write: Write, sheet: &mut Sheet) {
        if !self.is_empty() {
            sheet.table(key, |sheet| {
                for (name, value) in self {
                    sheet.line(name, &value.write());
                }
            });
        }
    }

    fn fill_from(&mut self, other: &Self) {
        for (key, value) in other {
            self.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }

    fn put(&mut self, _path: &[&str], values: &[String]) -> Result<(), String> {
        for text in values {
            let (key, value) =
                text.split_once(':').ok_or_else(|| format!("{text:?} is not of the form key:value"))?;
            self.insert(key.trim().to_owned(), E::parse(value.trim())?);
        }
        Ok(())
    }
}

pub(crate) fn chain_below(chain: &Chain, key: &'static str, flag: &str) -> Chain {
    let mut path = chain.path.clone();
    path.push(key);
    Chain {
        flag: format!("{}{flag}-", chain.flag),
        env: format!("{}{}_", chain.env, flag.replace('-', "_").to_ascii_uppercase()),
        path,
    }
}

impl<T: Table> Cell for Option<T> {
    const BELOW: bool = true;
    const HOLDS: &'static str = "a table";

    fn settings(row: Row, walk: &Walk, out: &mut Vec<Setting>) {
        out.push(walk.setting(row, Self::HOLDS, true));
        T::settings(&walk.below(row), out);
    }

    fn keys_below(out: &mut Vec<&'static str>) {
        T::all_keys(out);
    }

    fn read(item: &Item, reader: &mut Reader<'_>) -> Option<Self> {
        match item.as_table_like() {
            Some(table) => Some(Some(reader.table(table))),
            None => {
                let example = format!("write it as a table below its own [...{}] header", reader.key());
                reader.wrong_type(item, "a table", &example);
                None
            }
        }
    }

    fn write(&self, key: &str, _write: Write, sheet: &mut Sheet) {
        if let Some(table) = self {
            sheet.table(key, |sheet| table.write(sheet));
        }
    }

    fn fill_from(&mut self, other: &Self) {
        match (self, other) {
            (Some(mine), Some(theirs)) => mine.fill_from(theirs),
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
            (_, None) => {}
        }
    }

    fn put(&mut self, path: &[&str], values: &[String]) -> Result<(), String> {
        self.get_or_insert_with(T::default).put(path, values)
    }

    fn flags(
        key: &'static str,
        flag: &str,
        _env: &str,
        _help: &'static str,
        chain: &Chain,
        out: &mut Vec<Flag>,
    ) {
        T::flags(&chain_below(chain, key, flag), out);
    }
}

impl<T: Table> Cell for Vec<T> {
    const BELOW: bool = true;
    const HOLDS: &'static str = "an array of tables";

    fn settings(row: Row, walk: &Walk, out: &mut Vec<Setting>) {
        out.push(walk.setting(row, Self::HOLDS, true));
        T::settings(&walk.below(row), out);
    }

    fn keys_below(out: &mut Vec<&'static str>) {
        T::all_keys(out);
    }

    fn read(item: &Item, reader: &mut Reader<'_>) -> Option<Self> {
        match item {
            Item::ArrayOfTables(tables) => Some(tables.iter().map(|table| reader.table(table)).collect()),
            Item::Value(Value::Array(array)) if array.iter().all(Value::is_inline_table) => Some(
                array.iter().filter_map(Value::as_inline_table).map(|table| reader.table(table)).collect(),
            ),
            Item::Value(_) | Item::Table(_) | Item::None => {
                let example = format!("write it with two brackets: [[...{}]]", reader.key());
                reader.wrong_type(item, "an array of tables", &example);
                None
            }
        }
    }

    fn write(&self, key: &str, _write: Write, sheet: &mut Sheet) {
        for table in self {
            sheet.element(key, |sheet| table.write(sheet));
        }
    }

    fn fill_from(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
        }
    }

    fn put(&mut self, _path: &[&str], _values: &[String]) -> Result<(), String> {
        Err("an array of tables cannot be set on the command line; write it in a template".to_owned())
    }
}

/// A table whose keys only somebody else knows.
#[derive(Clone, Default)]
pub struct FreeTable(pub toml_edit::Table);

impl Cell for Option<FreeTable> {
    const BELOW: bool = true;
    const HOLDS: &'static str = "a table of any keys";

    fn read(item: &Item, reader: &mut Reader<'_>) -> Option<Self> {
        match item {
            Item::Table(table) => Some(Some(FreeTable(table.clone()))),
            Item::Value(Value::InlineTable(table)) => Some(Some(FreeTable(table.clone().into_table()))),
            Item::Value(_) | Item::ArrayOfTables(_) | Item::None => {
                let example = format!("write it as a table below its own [...{}] header", reader.key());
                reader.wrong_type(item, "a table", &example);
                None
            }
        }
    }

    fn write(&self, key: &str, _write: Write, sheet: &mut Sheet) {
        if let Some(table) = self {
            sheet.table(key, |sheet| write_free(&table.0, sheet));
        }
    }

    fn fill_from(&mut self, other: &Self) {
        if self.is_none() {
            self.clone_from(other);
        }
    }

    fn put(&mut self, _path: &[&str], _values: &[String]) -> Result<(), String> {
        Err("a free table cannot be set on the command line; write it in a template".to_owned())
    }
}

fn write_free(table: &dyn toml_edit::TableLike, sheet: &mut Sheet) {
    for (key, item) in table.iter() {
        if let Some(value) = item.as_value()
            && !value.is_inline_table()
        {
            sheet.line(key, value.clone().decorated("", "").to_string().trim());
        }
    }
    for (key, item) in table.iter() {
        if let Some(inner) = item.as_table_like() {
            sheet.table(key, |sheet| write_free(inner, sheet));
        } else if let Some(elements) = item.as_array_of_tables() {
            for element in elements {
                sheet.element(key, |sheet| write_free(element, sheet));
            }
        }
    }
}
