//! One transaction as every operation sees it, the same on SQLite and PostgreSQL: statements with `$1, $2, …` in order,
//! whole numbers, texts and bytes. Called by the operations of this crate; it must know no table.

use crate::change::Change;
use crate::error::{DatabaseError, Result};

/// A value given to a statement.
#[derive(Clone, PartialEq, Eq)]
pub enum Param {
    /// NULL.
    Null,
    /// A number, a time in milliseconds, or a truth as 0 and 1.
    Int(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl std::fmt::Debug for Param {
    /// Its kind only: a value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Int(_) => "number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        })
    }
}

impl From<i64> for Param {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<usize> for Param {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Param {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<bool> for Param {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for Param {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Param {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&String> for Param {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<Vec<u8>> for Param {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<T: Into<Param>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// `params![a, b]`: the values of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::tx::Param::from($value)),*] };
}
pub(crate) use params;

/// One row of an answer, read from its first column on.
#[derive(Clone)]
pub struct Row {
    values: std::vec::IntoIter<Param>,
}

impl Row {
    pub(crate) fn new(values: Vec<Param>) -> Self {
        Self { values: values.into_iter() }
    }

    /// The next column.
    pub fn take<T: Column>(&mut self) -> Result<T> {
        T::read(self.values.next().unwrap_or(Param::Null))
    }
}

/// What a column can be read as.
pub trait Column: Sized {
    /// From a value.
    fn read(value: Param) -> Result<Self>;
}

fn damaged<T>(wanted: &'static str, value: &Param) -> Result<T> {
    let found = match value {
        Param::Null => "nothing",
        Param::Int(_) => "a number",
        Param::Text(_) => "a text",
        Param::Bytes(_) => "bytes",
    };
    Err(DatabaseError::Damaged { wanted, found: found.to_owned() })
}

impl Column for i64 {
    fn read(value: Param) -> Result<Self> {
        match value {
            Param::Int(value) => Ok(value),
            other => damaged("a number", &other),
        }
    }
}

impl Column for usize {
    fn read(value: Param) -> Result<Self> {
        let value = i64::read(value)?;
        usize::try_from(value)
            .map_err(|_| DatabaseError::Damaged { wanted: "a count", found: value.to_string() })
    }
}

impl Column for u32 {
    fn read(value: Param) -> Result<Self> {
        let value = i64::read(value)?;
        u32::try_from(value)
            .map_err(|_| DatabaseError::Damaged { wanted: "a small number", found: value.to_string() })
    }
}

impl Column for bool {
    fn read(value: Param) -> Result<Self> {
        i64::read(value).map(|value| value != 0)
    }
}

impl Column for String {
    fn read(value: Param) -> Result<Self> {
        match value {
            Param::Text(value) => Ok(value),
            other => damaged("a text", &other),
        }
    }
}

impl Column for Vec<u8> {
    fn read(value: Param) -> Result<Self> {
        match value {
            Param::Bytes(value) => Ok(value),
            other => damaged("bytes", &other),
        }
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: Param) -> Result<Self> {
        match value {
            Param::Null => Ok(None),
            other => T::read(other).map(Some),
        }
    }
}

/// A transaction in progress. What it writes is there for others when all of it is.
pub trait Tx {
    /// The rows of a statement.
    fn query(&mut self, sql: &str, params: &[Param]) -> Result<Vec<Row>>;

    /// Carries a statement out; how many rows it changed.
    fn execute(&mut self, sql: &str, params: &[Param]) -> Result<u64>;

    /// Several statements without values, for migrations.
    fn batch(&mut self, sql: &str) -> Result<()>;

    /// Tells those who wait, once the transaction is there.
    fn changed(&mut self, change: Change);
}

/// The only row of a statement, if there is one.
pub(crate) fn one(tx: &mut dyn Tx, sql: &str, params: &[Param]) -> Result<Option<Row>> {
    Ok(tx.query(sql, params)?.into_iter().next())
}

/// The first column of the only row.
pub(crate) fn scalar<T: Column>(tx: &mut dyn Tx, sql: &str, params: &[Param]) -> Result<Option<T>> {
    one(tx, sql, params)?.map(|mut row| row.take()).transpose()
}
