//! What every request and every background task share, how it starts, and where its surfaces are put together. Called by
//! `harrier serve`, `harrier up` and tests.

use crate::data_dir::{DataDir, DataLock};
use crate::id_tokens::SigningKey;
use crate::metrics::Metrics;
use crate::notifier::Notifier;
use crate::password::Attempts;
use crate::pushes::Pushes;
use crate::settings::Settings;
use crate::storage::{Bucket, BucketError, Tried, random_name, try_out};
use crate::traces::Traces;
use crate::{operations, request_record, rest, runner_api, web};
use axum::{Router, middleware};
use harrier_base::{Clock, Secret};
use harrier_database::{Change, DatabaseError, Patience, Place, Sealer, Store};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A server.
pub struct App {
    /// The tables.
    pub store: Store,
    /// The files.
    pub data: DataDir,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who waits.
    pub notifier: Notifier,
    /// Who tried wrong passwords.
    pub attempts: Attempts,
    /// Logs that are being written.
    pub traces: Traces,
    /// Where logs and artifacts are kept, if not on this machine.
    pub(crate) bucket: Option<Bucket>,
    /// Which server this is: a UUID that was made with its tables.
    pub(crate) instance: String,
    /// What is counted for `/metrics`.
    pub(crate) metrics: Metrics,
    /// Whether the server has been told to end: what waits or follows ends then.
    pub(crate) stopping: watch::Sender<bool>,
    /// Pushes that are under way.
    pub pushes: Pushes,
    /// What the person who started it chose.
    pub settings: Settings,
    /// What signs id tokens, once it is wanted.
    pub(crate) signing_key: OnceCell<Arc<SigningKey>>,
    _lock: DataLock,
}

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory or file.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Of the operating system.
        source: io::Error,
    },
    /// Another server works there.
    #[error("another server works in {}; stop it, or give another --data directory", path.display())]
    Taken {
        /// The data directory.
        path: PathBuf,
    },
    /// The tables.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The store of objects.
    #[error("--storage: {place}: {source}")]
    Storage {
        /// Which.
        place: String,
        /// What is wrong, and what to do.
        source: BucketError,
    },
    /// Another server keeps its files there.
    #[error(
        "--storage: another server keeps its files in {place}; choose another prefix: s3://BUCKET/PREFIX"
    )]
    StorageTaken {
        /// Which.
        place: String,
    },
    /// Logs or artifacts are in a store of objects that was not named.
    #[error(
        "logs and artifacts of this server are in a store of objects; start it with the same --storage as before"
    )]
    StorageMissing,
}

/// A UUID of version 4.
fn new_instance() -> io::Result<String> {
    let random = format!("{}{}", random_name()?, random_name()?);
    let (a, b, c, d) = (&random[..8], &random[8..12], &random[13..16], &random[17..20]);
    Ok(format!("{a}-{b}-4{c}-8{d}-{}", &random[20..]))
}

/// The store of objects, tried out. One that does not answer at present is no reason not to start.
async fn open_storage(
    store: &Store,
    clock: &Arc<dyn Clock>,
    settings: &Settings,
    instance: &str,
) -> Result<Option<Bucket>, StartError> {
    let Some(storage) = &settings.storage else {
        return if store.has_objects().await? { Err(StartError::StorageMissing) } else { Ok(None) };
    };
    let failed = |source| StartError::Storage { place: storage.place(), source };
    let bucket = Bucket::new(storage, Arc::clone(clock)).map_err(failed)?;
    match try_out(&bucket, instance).await {
        Ok(Tried::Good) => {}
        Ok(Tried::Taken) => return Err(StartError::StorageTaken { place: storage.place() }),
        Err(error) if error.is_passing() => {
            tracing::error!(storage = bucket.place(), error = %error, "the store of objects cannot be used at present; uploads wait for it");
        }
        Err(source) => return Err(failed(source)),
    }
    Ok(Some(bucket))
}

impl App {
    /// Opens the data directory and the tables. `database`: the address of a PostgreSQL; `None`: SQLite in the directory.
    pub async fn open(
        data: DataDir,
        database: Option<Secret>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Result<Arc<Self>, StartError> {
        let path = data.root().to_owned();
        let lock = match data.lock() {
            Ok(Some(lock)) => lock,
            Ok(None) => return Err(StartError::Taken { path }),
            Err(source) => return Err(StartError::Io { path, source }),
        };
        let sealer = Sealer::from_file(&data.key())?;
        let place = database.map_or_else(|| Place::Sqlite(data.database()), Place::Postgres);
        let store = Store::open(place, sealer).await?;
        let new = new_instance()
            .map_err(|source| StartError::Io { path: PathBuf::from("/dev/urandom"), source })?;
        let instance = store.seal_setting_once("instance_uuid", new.into_bytes()).await?;
        let instance = String::from_utf8_lossy(&instance).into_owned();
        data.clear_incoming().map_err(|source| StartError::Io { path: data.incoming(), source })?;
        let bucket = open_storage(&store, &clock, &settings, &instance).await?;
        Ok(Arc::new(Self {
            store,
            data,
            clock,
            notifier: Notifier::default(),
            traces: Traces::default(),
            attempts: Attempts::default(),
            bucket,
            instance,
            metrics: Metrics::default(),
            stopping: watch::Sender::new(false),
            pushes: Pushes::default(),
            settings,
            signing_key: OnceCell::new(),
            _lock: lock,
        }))
    }

    /// Milliseconds since 1970 UTC.
    pub fn now(&self) -> i64 {
        i64::try_from(self.clock.now().0 / 1000).unwrap_or(i64::MAX)
    }

    /// All surfaces.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .merge(runner_api::routes())
            .merge(rest::routes())
            .merge(operations::routes())
            .merge(web::routes())
            .layer(middleware::from_fn_with_state(Arc::clone(self), request_record::around))
            .with_state(Arc::clone(self))
    }

    /// What goes on without requests: waking those who wait, and what time brings. Ends when it is dropped.
    pub async fn background(self: &Arc<Self>) -> Result<JoinSet<()>, StartError> {
        let now = self.now();
        // A runner that has the job says so in a moment; one that never got the answer must not keep the job for long.
        let reservation = self.settings.reservation.min(Duration::from_secs(10));
        let reservation = i64::try_from(reservation.as_millis()).unwrap_or(i64::MAX);
        self.store.resume(now, now.saturating_add(reservation)).await?;
        self.store.resume_mirrors(now).await?;
        self.store.give_up_objects(now.saturating_add(crate::storage::SETTLED)).await?;
        let mut tasks = JoinSet::new();
        let app = Arc::clone(self);
        tasks.spawn(async move { app.keep_mirrors().await });
        let app = Arc::clone(self);
        let mut changes = app.store.changes();
        tasks.spawn(async move {
            loop {
                match changes.recv().await {
                    Ok(change) => {
                        app.metrics.changed(&change);
                        app.narrate(&change);
                        app.close_trace(&change);
                        app.notifier.tell(change);
                    }
                    // What was missed may have been for anybody.
                    Err(RecvError::Lagged(_)) => app.notifier.wake_everyone(),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        let app = Arc::clone(self);
        tasks.spawn(async move { app.keep_time().await });
        let app = Arc::clone(self);
        tasks.spawn(async move { app.make_downstream().await });
        let app = Arc::clone(self);
        tasks.spawn(async move { app.keep_storage().await });
        let app = Arc::clone(self);
        tasks.spawn(async move { app.keep_timetable().await });
        let app = Arc::clone(self);
        tasks.spawn(async move {
            if let Err(error) = app.make_up_for_pushes().await {
                tracing::error!(error = %error, "refs that moved while no server ran have no pipelines");
            }
        });
        Ok(tasks)
    }

    /// Ends what waits and follows: no request is held from now on. What is under way is answered.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
        self.notifier.wake_everyone();
    }

    /// Whether [`Self::stop`] was called.
    pub(crate) fn stops(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Changes of jobs and pipelines, as lines of the log.
    fn narrate(&self, change: &Change) {
        if !self.settings.narrate {
            return;
        }
        match change {
            Change::Job { project, pipeline, job, status } => {
                tracing::info!(project, pipeline, job, status = status.word(), "job");
            }
            Change::Pipeline { project, pipeline, status } => {
                tracing::info!(project, pipeline, status = status.word(), "pipeline");
            }
            Change::Queued { .. } | Change::Bridge { .. } | Change::Runner { .. } | Change::Due => {}
        }
    }

    /// Does what is due, waits until the next thing is.
    async fn keep_time(&self) {
        let mut changes = self.store.changes();
        let patience = Patience { since: self.now(), ..self.settings.patience };
        loop {
            let now = self.now();
            let next = match self.store.due(now, patience).await {
                Ok(next) => next.unwrap_or(i64::MAX),
                Err(DatabaseError::Closed) => return,
                Err(error) => {
                    tracing::error!(error = %error, "what is due could not be done; it is tried again");
                    now.saturating_add(1000)
                }
            };
            if let Err(error) = self.expire_artifacts(now).await {
                tracing::error!(error = %error, "expired artifacts could not be removed; it is tried again");
            }
            if self.until(next, &mut changes).await.is_break() {
                return;
            }
        }
    }

    /// Waits until `next`, in milliseconds since 1970, or until something becomes due earlier; not for long, for what other
    /// processes wrote. Breaks when the store has closed.
    pub(crate) async fn until(&self, next: i64, changes: &mut Receiver<Change>) -> ControlFlow<()> {
        const AT_MOST: i64 = 30_000;
        let wait = next.saturating_sub(self.now()).clamp(10, AT_MOST);
        let pause = tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(10)));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return ControlFlow::Continue(()),
                change = changes.recv() => match change {
                    Ok(Change::Due) | Err(RecvError::Lagged(_)) => return ControlFlow::Continue(()),
                    Ok(_) => {}
                    Err(RecvError::Closed) => return ControlFlow::Break(()),
                },
            }
        }
    }

    /// Removes artifacts whose time is over: the row first, so that nobody is promised what is not there.
    async fn expire_artifacts(&self, now: i64) -> Result<(), DatabaseError> {
        /// At a time; the rest is for the next look.
        const SOME: usize = 200;
        for gone in self.store.expired_artifacts(now, SOME).await? {
            self.store.delete_artifact(gone.job, &gone.kind).await?;
            self.remove_artifact_file(gone.job, &gone.kind).await;
        }
        Ok(())
    }
}
