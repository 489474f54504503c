//! Files of jobs, logs and artifacts, behind one interface: on this machine, or in a store of objects that speaks S3. Called by
//! whoever takes them in, shows them or removes them; nobody else knows where they are.
//!
//! With a store of objects, a log grows in a file of this machine and is moved there when its job has ended; an artifact is
//! acknowledged when the store has taken it and its row is written. Until an object is relied on, the tables know of it as one that
//! comes, and afterwards as one to remove (`harrier_database`'s `objects.rs`): a kill at any moment loses nothing and leaves
//! nothing behind for good.

mod address;
mod bucket;
mod moves;
mod reading;

pub use address::{ObjectStorage, credentials_in};
pub(crate) use bucket::Bucket;
pub use bucket::BucketError;

use crate::answer::Refusal;
use crate::app::App;
use crate::incoming::Stored;
use axum::body::Body;
use axum::http::StatusCode;
use harrier_base::Secret;
use harrier_database::{ArtifactView, DatabaseError, LOG, Put};
use reading::ObjectReader;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::io::ReaderStream;

/// Who keeps files at a place in the store of objects: the id of a server's tables.
const OWNER: &str = "harrier-owner";
/// What is written and removed again at the start.
const TRIAL: &str = "harrier-trial";
/// How long an address is good that a runner is sent to, in seconds; a download that has begun goes on.
const DIRECT: u32 = 10 * 60;
/// When an object that was not sent whole is removed, in milliseconds: the store may still be busy with it.
pub(crate) const SETTLED: i64 = 5_000;

/// A file of a job cannot be kept, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// This machine's disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The store of objects.
    #[error("{place}: {source}")]
    Bucket {
        /// Which.
        place: String,
        /// What is wrong.
        source: BucketError,
    },
    /// The tables.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        let later = |why: &str| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("503 Service Unavailable{why}"))
                .with("retry-after", "5")
        };
        match error {
            StorageError::Database(error) => error.into(),
            StorageError::Bucket { source: BucketError::Missing, .. } => {
                tracing::error!(error = %error, "a file of a job is gone");
                Self::not_found("file")
            }
            StorageError::Bucket { .. } => {
                tracing::error!(error = %error, "the store of objects cannot be used");
                later(" - the store of files does not answer; try again in a while")
            }
            StorageError::Disk(error) => {
                tracing::error!(error = %error, "a file of a job cannot be kept or read");
                later("")
            }
        }
    }
}

/// What can be read from any place in it.
pub(crate) trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// A file of a job, wherever it is.
#[derive(Clone)]
pub(crate) struct Held {
    place: Place,
    /// Bytes.
    pub size: u64,
}

#[derive(Clone)]
enum Place {
    Disk(PathBuf),
    Object { bucket: Bucket, key: String, runtime: Handle },
}

impl Held {
    /// All of it, as it comes.
    pub async fn body(&self) -> Result<Body, StorageError> {
        match &self.place {
            Place::Disk(path) => {
                let file = tokio::fs::File::open(path).await?;
                Ok(Body::from_stream(ReaderStream::with_capacity(file, 64 << 10)))
            }
            Place::Object { bucket, key, .. } => {
                let stream = bucket.stream(key).await.map_err(|source| of(bucket, source))?;
                Ok(Body::from_stream(stream))
            }
        }
    }

    /// To read from any place in it, on a thread that may wait.
    pub fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(match &self.place {
            Place::Disk(path) => Box::new(std::fs::File::open(path)?),
            Place::Object { bucket, key, runtime } => {
                Box::new(ObjectReader::new(bucket.clone(), key.clone(), self.size, runtime.clone()))
            }
        })
    }

    /// An address at which a runner may read it by itself.
    pub fn direct_address(&self) -> Option<Secret> {
        match &self.place {
            Place::Object { bucket, key, .. } if bucket.gives_directly() => {
                Some(bucket.presigned(key, DIRECT))
            }
            Place::Object { .. } | Place::Disk(_) => None,
        }
    }
}

fn of(bucket: &Bucket, source: BucketError) -> StorageError {
    StorageError::Bucket { place: bucket.place().to_owned(), source }
}

impl App {
    /// The log of a job; `None`: there is none.
    pub(crate) async fn log(&self, job: i64) -> Result<Option<Held>, StorageError> {
        if let Some(held) = self.object_of(job, LOG).await? {
            return Ok(Some(held));
        }
        if let Some(held) = on_disk(self.data.trace(job)).await? {
            return Ok(Some(held));
        }
        // It may have been moved between the two looks.
        self.object_of(job, LOG).await
    }

    /// The file of an artifact; `None`: it is not there.
    pub(crate) async fn artifact_file(&self, job: i64, kind: &str) -> Result<Option<Held>, StorageError> {
        if let Some(held) = self.object_of(job, kind).await? {
            return Ok(Some(held));
        }
        if let Some(held) = on_disk(self.data.artifact(job, kind)).await? {
            return Ok(Some(held));
        }
        self.object_of(job, kind).await
    }

    async fn object_of(&self, job: i64, kind: &str) -> Result<Option<Held>, StorageError> {
        let Some(bucket) = &self.bucket else { return Ok(None) };
        let found = self.store.object(job, kind).await?;
        Ok(found.map(|object| Held {
            place: Place::Object { bucket: bucket.clone(), key: object.key, runtime: Handle::current() },
            size: u64::try_from(object.size).unwrap_or(0),
        }))
    }

    /// Where uploads are written until they are whole.
    pub(crate) fn upload_dir(&self, job: i64) -> PathBuf {
        if self.bucket.is_some() { self.data.incoming() } else { self.data.artifacts(job) }
    }

    /// Keeps a whole upload; it is where it stays before its row says so. Goes on when whoever waits for it leaves.
    pub(crate) async fn keep_artifact(
        self: &Arc<Self>,
        file: Stored,
        view: ArtifactView,
    ) -> Result<Put, StorageError> {
        let Some(bucket) = self.bucket.clone() else {
            file.keep(self.data.artifact(view.job, &view.kind)).await?;
            return Ok(self.store.put_artifact(view).await?);
        };
        let app = Arc::clone(self);
        let kept = tokio::spawn(async move {
            let key = key_of(&format!("artifacts/{}/{}", view.job, view.kind))?;
            let (job, kind, size) = (view.job, view.kind.clone(), view.size);
            let sent = async {
                app.store.announce_object(key.clone(), job, kind, size).await?;
                let sent = bucket.put_file(&key, file.path(), file.size, &file.sha256).await;
                sent.map_err(|source| of(&bucket, source))?;
                Ok(app.store.put_artifact_at(view, key.clone()).await?)
            };
            let sent: Result<Put, StorageError> = sent.await;
            if sent.is_err() {
                app.store.give_up_object(key.clone(), app.now().saturating_add(SETTLED)).await?;
            }
            sent
        });
        kept.await.map_err(io::Error::other)?
    }

    /// Removes what this machine has of an artifact whose row is gone.
    pub(crate) async fn remove_artifact_file(&self, job: i64, kind: &str) {
        let path = self.data.artifact(job, kind);
        if let Err(error) = gone(tokio::fs::remove_file(&path).await) {
            tracing::warn!(path = %path.display(), error = %error, "the file of a removed artifact stays on the disk");
        }
    }

    /// Removes what this machine has of a job that is gone or erased.
    pub(crate) fn remove_job_files(&self, job: i64) {
        if let Err(error) = self.data.remove_job(job) {
            tracing::warn!(job, error = %error, "files of a removed job stay on the disk");
        }
    }

    /// Whether the store of objects answers; without one, always.
    pub(crate) async fn storage_answers(&self) -> bool {
        let Some(bucket) = &self.bucket else { return true };
        match bucket.part(OWNER, 0, 64).await {
            Ok(_) | Err(BucketError::Missing) => true,
            Err(error) => {
                tracing::error!(storage = bucket.place(), error = %error, "not ready: the store of objects does not answer");
                false
            }
        }
    }
}

/// Tries a bucket before a server starts on it: it can be written, read and emptied, and is no other server's. `id`: this one's.
pub(crate) async fn try_out(bucket: &Bucket, id: &str) -> Result<Tried, BucketError> {
    match bucket.part(OWNER, 0, 64).await {
        Ok(owner) if owner == id.as_bytes() => {}
        Ok(_) => return Ok(Tried::Taken),
        Err(BucketError::Missing) => bucket.put(OWNER, id.as_bytes()).await?,
        Err(error) => return Err(error),
    }
    bucket.put(TRIAL, id.as_bytes()).await?;
    bucket.delete(TRIAL).await?;
    Ok(Tried::Good)
}

/// How trying a bucket went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// It can be used.
    Good,
    /// Another server keeps its files at the same place.
    Taken,
}

/// A key that nobody has used: an attempt never writes over another's.
fn key_of(place: &str) -> io::Result<String> {
    Ok(format!("{place}/{}", random_name()?))
}

/// Sixteen characters that come once.
pub(crate) fn random_name() -> io::Result<String> {
    let mut bytes = [0_u8; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn on_disk(path: PathBuf) -> io::Result<Option<Held>> {
    match tokio::fs::metadata(&path).await {
        Ok(meta) => Ok(Some(Held { place: Place::Disk(path), size: meta.len() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is gone already is no error.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
