//! Ten thousand stored pipelines: copies, made by SQL while no server runs, of one that the server made and runners ran, spread over
//! ninety days and forty refs. It names the few columns that differ between copies; all others are copied whatever they are.

use super::Server;
use crate::Failed;
use std::collections::HashMap;

pub(super) const COUNT: i64 = 10_000;
/// Between two pipelines, in milliseconds.
const APART: i64 = 90 * 86_400_000 / COUNT;

/// The tables, whichever they are in.
enum Tables {
    Sqlite(rusqlite::Connection),
    Postgres(Box<postgres::Client>),
}

impl Tables {
    fn of(server: &Server) -> Result<Self, Failed> {
        Ok(match &server.database {
            None => Self::Sqlite(rusqlite::Connection::open(server.home.path().join("data/harrier.db"))?),
            Some(database) => {
                Self::Postgres(Box::new(postgres::Client::connect(&database.address(), postgres::NoTls)?))
            }
        })
    }

    fn run(&mut self, sql: &str) -> Result<(), Failed> {
        match self {
            Self::Sqlite(tables) => tables.execute_batch(sql)?,
            Self::Postgres(tables) => tables.batch_execute(sql)?,
        }
        Ok(())
    }

    fn pairs(&mut self, sql: &str) -> Result<Vec<(i64, i64)>, Failed> {
        match self {
            Self::Sqlite(tables) => {
                let mut statement = tables.prepare(sql)?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            }
            Self::Postgres(tables) => {
                let rows = tables.query(sql, &[])?;
                Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
            }
        }
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>, Failed> {
        match self {
            Self::Sqlite(tables) => {
                let mut statement = tables.prepare("SELECT name FROM pragma_table_info(?1)")?;
                let rows = statement.query_map([table], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            }
            Self::Postgres(tables) => {
                let sql = "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position";
                Ok(tables.query(sql, &[&table])?.iter().map(|row| row.get(0)).collect())
            }
        }
    }
}

/// What runs with the PostgreSQL client must not be on a thread that drives tasks.
fn apart<T: Send>(deed: impl FnOnce() -> Result<T, Failed> + Send) -> Result<T, Failed> {
    std::thread::scope(|scope| scope.spawn(deed).join().map_err(|_| "seeding panicked")?)
}

/// When each job became pending.
pub(super) fn queued_at(server: &Server) -> Result<HashMap<i64, i64>, Failed> {
    let read = move || {
        let mut tables = Tables::of(server)?;
        Ok(tables.pairs("SELECT id, queued_at FROM jobs WHERE queued_at IS NOT NULL")?.into_iter().collect())
    };
    apart(read)
}

pub(super) fn pipelines(server: &Server) -> Result<(), Failed> {
    apart(move || copy(&mut Tables::of(server)?))
}

fn copy(tables: &mut Tables) -> Result<(), Failed> {
    let (model, last) = tables
        .pairs("SELECT MIN(id), MAX(id) FROM pipelines WHERE status = 'success'")?
        .pop()
        .ok_or("there is no pipeline")?;
    let series = format!(
        "WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {COUNT})"
    );
    let earlier = |column: &str| format!("{column} - ({COUNT} - n.i) * {APART}");
    let times = ["created_at", "updated_at", "started_at", "finished_at", "queued_at", "touched_at"];
    let write = |columns: &[String], differs: &dyn Fn(&str) -> Option<String>, table: &str, of: &str| {
        let taken: Vec<&String> = columns.iter().filter(|c| differs(c).as_deref() != Some("")).collect();
        let values: Vec<String> = taken.iter().map(|c| differs(c).unwrap_or_else(|| (*c).clone())).collect();
        let taken: Vec<&str> = taken.iter().map(|c| c.as_str()).collect();
        format!(
            "INSERT INTO {table} ({}) {series} SELECT {} FROM {table}, n WHERE {of}",
            taken.join(", "),
            values.join(", ")
        )
    };
    let of_pipeline = |column: &str| match column {
        "id" => Some(format!("{last} + n.i")),
        "iid" => Some(format!("{last} + n.i")),
        "git_ref" => Some("CASE WHEN n.i % 40 = 0 THEN 'main' ELSE 'branch-' || (n.i % 40) END".to_owned()),
        "status" => Some("CASE WHEN n.i % 7 = 0 THEN 'failed' ELSE 'success' END".to_owned()),
        time if times.contains(&time) => Some(earlier(time)),
        _ => None,
    };
    let of_job = |column: &str| match column {
        "id" | "token_hash" => Some(String::new()),
        "pipeline_id" => Some(format!("{last} + n.i")),
        time if times.contains(&time) => Some(earlier(time)),
        _ => None,
    };
    let columns = tables.columns("pipelines")?;
    let sql = write(&columns, &of_pipeline, "pipelines", &format!("id = {model}"));
    tables.run(&sql)?;
    let columns = tables.columns("jobs")?;
    let sql = write(&columns, &of_job, "jobs", &format!("pipeline_id = {model} AND retried = 0"));
    tables.run(&sql)?;
    tables.run("UPDATE projects SET last_iid = (SELECT MAX(iid) FROM pipelines WHERE pipelines.project_id = projects.id) WHERE id IN (SELECT project_id FROM pipelines)")?;
    if matches!(tables, Tables::Postgres(_)) {
        // Ids that were written are not given again; and what autovacuum does within a minute.
        tables.run(
            "SELECT setval(pg_get_serial_sequence('pipelines', 'id'), (SELECT MAX(id) FROM pipelines))",
        )?;
        tables.run("ANALYZE")?;
    }
    Ok(())
}
