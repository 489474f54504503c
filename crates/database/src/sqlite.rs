//! Transactions on SQLite: a file in WAL mode, so that readers do not wait for the writer. Called by the workers.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::tx::{Param, Row, Tx};
use crate::worker::Connection;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use std::path::Path;
use std::time::Duration;

/// How long another process (`harrier admin`) may hold the file.
const BUSY: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Sqlite {
    connection: rusqlite::Connection,
}

impl Sqlite {
    /// Opens or makes the file, readable by its owner only.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |message: String| DatabaseError::Open { place: path.display().to_string(), message };
        private(path).map_err(|error| fail(error.to_string()))?;
        let connection = rusqlite::Connection::open(path).map_err(|error| fail(error.to_string()))?;
        connection.busy_timeout(BUSY).map_err(|error| fail(error.to_string()))?;
        connection.set_prepared_statement_cache_capacity(200);
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; \
                 PRAGMA cache_size = -8000; PRAGMA temp_store = MEMORY;",
            )
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self { connection })
    }
}

/// A copy of the tables as they are at this moment, while others may write. `to` must not be there yet.
pub fn copy_sqlite(from: &Path, to: &Path) -> Result<()> {
    let fail = |message: String| DatabaseError::Open { place: to.display().to_string(), message };
    if !from.is_file() {
        return Err(DatabaseError::Open {
            place: from.display().to_string(),
            message: "it is not there".into(),
        });
    }
    let source = Sqlite::open(from)?;
    if to.exists() {
        return Err(fail("it is there already".into()));
    }
    private(to).map_err(|error| fail(error.to_string()))?;
    let name = to.to_str().ok_or_else(|| fail("its name is no text".into()))?;
    source.connection.execute("VACUUM INTO $1", [name]).map_err(failed)?;
    Ok(())
}

/// Makes the file with its mode before SQLite makes it with another. One that is there is never opened: closing it would drop
/// the locks that this process's connections hold on it, and the next process to leave would take the log of writes with it.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

impl Connection for Sqlite {
    fn transaction(
        &mut self,
        write: bool,
        body: &mut dyn FnMut(&mut dyn Tx) -> Result<()>,
    ) -> Result<Vec<Change>> {
        if !self.connection.is_autocommit() {
            // The operation before this one broke off.
            self.connection.execute_batch("ROLLBACK").map_err(failed)?;
        }
        let begin = if write { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.connection.execute_batch(begin).map_err(failed)?;
        let mut tx = SqliteTx { connection: &self.connection, changes: Vec::new() };
        let done = body(&mut tx);
        let changes = tx.changes;
        let ended = match &done {
            Ok(()) => self.connection.execute_batch("COMMIT"),
            Err(_) => self.connection.execute_batch("ROLLBACK"),
        };
        if let Err(error) = ended {
            // A commit that fails may leave the transaction open; the next one must find none.
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("ROLLBACK");
            }
            done?;
            return Err(failed(error));
        }
        done.map(|()| changes)
    }
}

struct SqliteTx<'a> {
    connection: &'a rusqlite::Connection,
    changes: Vec<Change>,
}

fn failed(error: rusqlite::Error) -> DatabaseError {
    DatabaseError::Failed { message: error.to_string() }
}

impl rusqlite::ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Self::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Self::Bytes(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
        })
    }
}

impl Tx for SqliteTx<'_> {
    fn query(&mut self, sql: &str, params: &[Param]) -> Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failed)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let mut values = Vec::with_capacity(columns);
            for column in 0..columns {
                values.push(match row.get_ref(column).map_err(failed)? {
                    ValueRef::Null => Param::Null,
                    ValueRef::Integer(value) => Param::Int(value),
                    ValueRef::Text(value) => Param::Text(String::from_utf8_lossy(value).into_owned()),
                    ValueRef::Blob(value) => Param::Bytes(value.to_vec()),
                    ValueRef::Real(_) => {
                        let found = "a fraction".to_owned();
                        return Err(DatabaseError::Damaged { wanted: "a number", found });
                    }
                });
            }
            out.push(Row::new(values));
        }
        Ok(out)
    }

    fn execute(&mut self, sql: &str, params: &[Param]) -> Result<u64> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let changed = statement.execute(rusqlite::params_from_iter(params)).map_err(failed)?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    fn batch(&mut self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(failed)
    }

    fn changed(&mut self, change: Change) {
        self.changes.push(change);
    }
}
