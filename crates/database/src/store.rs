//! The one value through which everything is kept and read. Its operations are in the files named for what they are about;
//! each is one transaction. Called by the coordinator and `harrier admin`; it has no clock, the time is given.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::migrate::{Dialect, migrate};
use crate::overview::DatabaseTimes;
use crate::postgresql::Postgres;
use crate::seal::Sealer;
use crate::sqlite::Sqlite;
use crate::tx::Tx;
use crate::views::json;
use crate::worker::{Connection, Workers};
use harrier_base::Secret;
use harrier_pipeline::Pipeline;
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Where the tables are.
#[derive(Clone)]
pub enum Place {
    /// In this file.
    Sqlite(PathBuf),
    /// At `postgres://…`.
    Postgres(Secret),
}

/// Readers beside the one writer.
const READERS: usize = 3;
/// Compiled pipelines kept in memory.
const CACHED: usize = 200;
/// Changes that a slow listener may lag behind.
const NEWS: usize = 4096;

/// The tables. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Workers,
    readers: Workers,
    news: broadcast::Sender<Change>,
    sealer: Sealer,
    configs: Configs,
}

impl Store {
    /// Opens the tables and brings them up to date.
    pub async fn open(place: Place, sealer: Sealer) -> Result<Self> {
        // The PostgreSQL client must not be opened on a thread that drives tasks.
        let opened = tokio::task::spawn_blocking(move || {
            let mut writer = open(&place)?;
            let dialect = match &place {
                Place::Sqlite(_) => Dialect::Sqlite,
                Place::Postgres(_) => Dialect::Postgres,
            };
            writer.transaction(true, &mut |tx| migrate(tx, dialect))?;
            let readers = (0..READERS).map(|_| open(&place)).collect::<Result<Vec<_>>>()?;
            Ok((Workers::start(vec![writer])?, Workers::start(readers)?))
        });
        let (writer, readers) = opened.await.map_err(|_| DatabaseError::Closed)??;
        let (news, _) = broadcast::channel(NEWS);
        Ok(Self { inner: Arc::new(Inner { writer, readers, news, sealer, configs: Configs::default() }) })
    }

    /// What is committed from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.news.subscribe()
    }

    /// How long operations have waited and taken since the start.
    pub fn times(&self) -> [DatabaseTimes; 2] {
        let view = |kind, workers: &Workers| {
            let times = workers.times();
            DatabaseTimes { kind, waited: times.waited.view(), took: times.took.view() }
        };
        [view("read", &self.inner.readers), view("write", &self.inner.writer)]
    }

    pub(crate) fn sealer(&self) -> Sealer {
        self.inner.sealer.clone()
    }

    pub(crate) fn configs(&self) -> Configs {
        self.inner.configs.clone()
    }

    /// One transaction that writes.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut dyn Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.writer.run(true, self.inner.news.clone(), body).await
    }

    /// One transaction that only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut dyn Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.readers.run(false, self.inner.news.clone(), body).await
    }
}

fn open(place: &Place) -> Result<Box<dyn Connection>> {
    Ok(match place {
        Place::Sqlite(path) => Box::new(Sqlite::open(path)?),
        Place::Postgres(address) => Box::new(Postgres::open(address.expose())?),
    })
}

/// Compiled pipelines by id, so that a transition need not parse them each time. They never change once written.
#[derive(Clone, Default)]
pub(crate) struct Configs(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    by_id: HashMap<i64, Arc<Pipeline>>,
    order: VecDeque<i64>,
}

impl Configs {
    /// The compiled pipeline; an empty one where the file had errors.
    pub fn get(&self, tx: &mut dyn Tx, pipeline: i64) -> Result<Arc<Pipeline>> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(&pipeline) {
            return Ok(Arc::clone(known));
        }
        let text: Option<Option<String>> = crate::tx::scalar(
            tx,
            "SELECT config FROM pipelines WHERE id = $1",
            crate::tx::params![pipeline],
        )?;
        let text = text.ok_or(DatabaseError::NotFound("pipeline"))?;
        let read: Pipeline =
            text.map_or_else(|| Ok(Pipeline::default()), |t| json(&t, "a compiled pipeline"))?;
        Ok(self.put(pipeline, read))
    }

    /// Keeps one. Whoever wrote it in a transaction that failed has used an id that nobody will ask for.
    pub fn put(&self, pipeline: i64, config: Pipeline) -> Arc<Pipeline> {
        let config = Arc::new(config);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_id.insert(pipeline, Arc::clone(&config)).is_none() {
            kept.order.push_back(pipeline);
        }
        while kept.order.len() > CACHED {
            if let Some(oldest) = kept.order.pop_front() {
                kept.by_id.remove(&oldest);
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tx::{params, scalar};

    #[tokio::test]
    async fn an_operation_that_breaks_off_leaves_nothing_and_stops_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = Place::Sqlite(dir.path().join("harrier.db"));
        let store = Store::open(place, Sealer::new(&[1; 32]).expect("a key")).await.expect("a store");
        let broken: Result<()> = store
            .write(|tx| {
                tx.execute("INSERT INTO settings (name, value) VALUES ($1, $2)", params!["a", "b"])?;
                panic!("on purpose")
            })
            .await;
        assert!(matches!(broken, Err(DatabaseError::Failed { .. })));
        let count = store.write(|tx| scalar::<i64>(tx, "SELECT COUNT(*) FROM settings", &[])).await;
        assert_eq!(count.expect("it goes on"), Some(0));
    }

    #[tokio::test]
    async fn tables_of_a_newer_program_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("harrier.db");
        let open = || Store::open(Place::Sqlite(path.clone()), Sealer::new(&[1; 32]).expect("a key"));
        let store = open().await.expect("a store");
        let newer = "INSERT INTO schema_version (version) VALUES (999)";
        store.write(move |tx| tx.execute(newer, &[])).await.expect("written");
        drop(store);
        assert!(matches!(open().await.err(), Some(DatabaseError::Newer { found: 999, .. })));
    }
}
