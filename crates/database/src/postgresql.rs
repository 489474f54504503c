//! Transactions on PostgreSQL. Writers take one advisory lock, so that they follow one another as on SQLite and an operation
//! never has to be repeated. Called by the workers.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::postgresql_tls::{self, Address, Connector};
use crate::tx::{Param, Row, Tx};
use crate::worker::Connection;
use postgres::types::{IsNull, ToSql, Type, private::BytesMut};
use postgres::{Client, Statement};
use std::collections::HashMap;

/// Number of the advisory lock of writers; any that nobody else takes.
const WRITERS: &str = "SELECT pg_advisory_xact_lock(7229341)";

/// One connection, opened again when it was lost.
pub(crate) struct Postgres {
    address: Address,
    connector: Connector,
    /// Without its password.
    shown: String,
    client: Option<Client>,
    statements: HashMap<String, Statement>,
}

impl Postgres {
    /// Connects to `postgres://user:password@host/database?options`.
    pub fn open(address: &str) -> Result<Self> {
        let shown = shown(address);
        let (address, connector) = postgresql_tls::parse(address, &shown)?;
        let mut this = Self { address, connector, shown, client: None, statements: HashMap::new() };
        this.connect()?;
        Ok(this)
    }

    fn connect(&mut self) -> Result<()> {
        self.statements.clear();
        let client = Client::connect(&self.address.plain, self.connector.clone()).map_err(|error| {
            let said = said(&error);
            let advice = postgresql_tls::advice(self.address.mode, &error, &said);
            DatabaseError::Open { place: self.shown.clone(), message: format!("{said}{advice}") }
        })?;
        self.client = Some(client);
        Ok(())
    }
}

/// An address without its password.
fn shown(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let user = address[scheme + 3..at].split(':').next().unwrap_or_default();
            format!("{}://{user}@{}", &address[..scheme], &address[at + 1..])
        }
        _ => "at the given address".to_owned(),
    }
}

/// The library's error with the server's own words.
fn said(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => server.message().to_owned(),
        None => {
            let source = std::error::Error::source(error);
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        }
    }
}

fn failed(error: postgres::Error) -> DatabaseError {
    DatabaseError::Failed { message: said(&error) }
}

impl Connection for Postgres {
    fn transaction(
        &mut self,
        write: bool,
        body: &mut dyn FnMut(&mut dyn Tx) -> Result<()>,
    ) -> Result<Vec<Change>> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.connect()?;
        }
        let Self { client: Some(client), statements, .. } = self else { return Err(DatabaseError::Closed) };
        let mut transaction = if write {
            client.transaction().map_err(failed)?
        } else {
            client
                .build_transaction()
                .read_only(true)
                .isolation_level(postgres::IsolationLevel::RepeatableRead)
                .start()
                .map_err(failed)?
        };
        if write {
            transaction.batch_execute(WRITERS).map_err(failed)?;
        }
        let mut tx = PostgresTx { transaction, statements, changes: Vec::new() };
        // On an error the transaction is dropped, which rolls it back.
        body(&mut tx)?;
        let PostgresTx { transaction, changes, .. } = tx;
        transaction.commit().map_err(failed)?;
        Ok(changes)
    }
}

struct PostgresTx<'a> {
    transaction: postgres::Transaction<'a>,
    statements: &'a mut HashMap<String, Statement>,
    changes: Vec<Change>,
}

impl PostgresTx<'_> {
    fn statement(&mut self, sql: &str) -> Result<Statement> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.transaction.prepare(sql).map_err(failed)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl ToSql for Param {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) if *kind == Type::INT4 => i32::try_from(*value)?.to_sql(kind, out),
            Self::Int(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
            Self::Bytes(value) => value.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    postgres::types::to_sql_checked!();
}

fn values(row: &postgres::Row) -> Result<Row> {
    let mut out = Vec::with_capacity(row.len());
    for (at, column) in row.columns().iter().enumerate() {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at).map(|v| v.map_or(Param::Null, Param::Int)),
            Type::INT4 => {
                row.try_get::<_, Option<i32>>(at).map(|v| v.map_or(Param::Null, |v| Param::Int(i64::from(v))))
            }
            Type::BOOL => row
                .try_get::<_, Option<bool>>(at)
                .map(|v| v.map_or(Param::Null, |v| Param::Int(i64::from(v)))),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at).map(|v| v.map_or(Param::Null, Param::Bytes)),
            _ => row.try_get::<_, Option<String>>(at).map(|v| v.map_or(Param::Null, Param::Text)),
        };
        out.push(value.map_err(failed)?);
    }
    Ok(Row::new(out))
}

impl Tx for PostgresTx<'_> {
    fn query(&mut self, sql: &str, params: &[Param]) -> Result<Vec<Row>> {
        let statement = self.statement(sql)?;
        let given: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        let rows = self.transaction.query(&statement, &given).map_err(failed)?;
        rows.iter().map(values).collect()
    }

    fn execute(&mut self, sql: &str, params: &[Param]) -> Result<u64> {
        let statement = self.statement(sql)?;
        let given: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        self.transaction.execute(&statement, &given).map_err(failed)
    }

    fn batch(&mut self, sql: &str) -> Result<()> {
        self.transaction.batch_execute(sql).map_err(failed)
    }

    fn changed(&mut self, change: Change) {
        self.changes.push(change);
    }
}
