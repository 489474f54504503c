//! Moves what this machine has into the store of objects: logs when their jobs have ended, and all that was kept here before the store
//! was there; and removes objects that nobody wants any more. Runs beside the server as long as it does; called by
//! [`App::background`]. What fails is tried again until it is done.

use super::bucket::Bucket;
use super::{SETTLED, StorageError, gone, key_of, of};
use crate::app::App;
use futures_util::StreamExt as _;
use futures_util::stream;
use harrier_database::{Change, DatabaseError, LOG};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// At a time.
const AT_A_TIME: usize = 4;
/// Objects that are removed before anything else is looked at.
const SOME: usize = 200;
/// The first wait after a failure, in milliseconds; each further one is twice as long, up to the longest.
const FIRST_WAIT: i64 = 2_000;
const LONGEST_WAIT: i64 = 60_000;

/// A file of this machine that belongs into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Move {
    Log(i64),
    Artifact(i64, String),
}

impl App {
    /// Keeps the store of objects.
    pub(crate) async fn keep_storage(&self) {
        let Some(bucket) = &self.bucket else { return };
        let mut changes = self.store.changes();
        let mut next = self.left_on_disk().await;
        let mut failed: Vec<Move> = Vec::new();
        let (mut wait, mut retry_at) = (FIRST_WAIT, i64::MAX);
        loop {
            if self.now() >= retry_at {
                next.append(&mut failed);
            }
            failed.append(&mut self.move_all(bucket, next).await);
            let due = self.remove_unwanted(bucket).await;
            let troubled = !failed.is_empty() || due.is_err();
            let now = self.now();
            if !troubled {
                (wait, retry_at) = (FIRST_WAIT, i64::MAX);
            } else if retry_at <= now || retry_at == i64::MAX {
                retry_at = now.saturating_add(wait);
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            let until = due.ok().flatten().unwrap_or(i64::MAX).min(retry_at);
            next = match self.ended(until, &mut changes).await {
                Some(Heard::Ended(jobs)) => jobs.into_iter().map(Move::Log).collect(),
                Some(Heard::TooMuch) => self.left_on_disk().await,
                None => return,
            };
        }
    }

    /// Waits until `until`, or until jobs end or objects are unwanted; which jobs ended. `None`: the store has closed.
    async fn ended(&self, until: i64, changes: &mut Receiver<Change>) -> Option<Heard> {
        let long = Duration::from_millis(
            u64::try_from(until.saturating_sub(self.now()).clamp(10, 60_000)).unwrap_or(10),
        );
        let pause = tokio::time::sleep(long);
        tokio::pin!(pause);
        let mut jobs = Vec::new();
        let mut hear = |change: Change| match change {
            Change::Job { job, status, .. } if status.is_complete() => {
                jobs.push(job);
                true
            }
            Change::Due => true,
            Change::Job { .. }
            | Change::Queued { .. }
            | Change::Bridge { .. }
            | Change::Pipeline { .. }
            | Change::Runner { .. } => false,
        };
        loop {
            tokio::select! {
                () = &mut pause => break,
                change = changes.recv() => match change {
                    Ok(change) => if hear(change) { break },
                    Err(RecvError::Lagged(_)) => return Some(Heard::TooMuch),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
        loop {
            match changes.try_recv() {
                Ok(change) => {
                    hear(change);
                }
                Err(TryRecvError::Lagged(_)) => return Some(Heard::TooMuch),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(Heard::Ended(jobs)),
            }
        }
    }

    /// What is on this machine and belongs into the store.
    async fn left_on_disk(&self) -> Vec<Move> {
        let data = self.data.clone();
        let looked = tokio::task::spawn_blocking(move || -> io::Result<Vec<Move>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(data.traces())? {
                let name = entry?.file_name();
                let job = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
                found.extend(job.map(Move::Log));
            }
            for entry in fs::read_dir(data.all_artifacts())? {
                let entry = entry?;
                let Some(job) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                for file in fs::read_dir(entry.path())? {
                    let file = file?;
                    match file.file_name().to_str() {
                        // An upload that was under way when a server before this one was killed.
                        Some(name) if name.starts_with('.') => gone(fs::remove_file(file.path()))?,
                        Some(kind) => found.push(Move::Artifact(job, kind.to_owned())),
                        None => {}
                    }
                }
            }
            Ok(found)
        });
        match looked.await.map_err(io::Error::other).and_then(|looked| looked) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(error = %error, "files that belong into the store of objects cannot be listed");
                Vec::new()
            }
        }
    }

    /// Moves these; gives those that could not be moved.
    async fn move_all(&self, bucket: &Bucket, all: Vec<Move>) -> Vec<Move> {
        let moved = stream::iter(all).map(|one| async move {
            let moved = match &one {
                Move::Log(job) => self.move_log(bucket, *job).await,
                Move::Artifact(job, kind) => self.move_artifact(bucket, *job, kind).await,
            };
            match moved {
                Ok(()) | Err(StorageError::Database(DatabaseError::Closed)) => None,
                Err(error) => {
                    tracing::error!(file = ?one, error = %error, "a file stays on this machine for now; it is tried again");
                    Some(one)
                }
            }
        });
        moved.buffer_unordered(AT_A_TIME).filter_map(|failed| async move { failed }).collect().await
    }

    /// Moves the log of a job that has ended.
    async fn move_log(&self, bucket: &Bucket, job: i64) -> Result<(), StorageError> {
        let writer = self.log_writer(job);
        // A part that comes late waits, and is refused afterwards.
        let alone = writer.lock().await;
        let path = self.data.trace(job);
        match self.store.job(job).await {
            Ok(found) if !found.status.is_complete() => return Ok(()),
            Ok(found) if found.erased_at.is_none() && self.store.object(job, LOG).await?.is_none() => {
                if let Some((size, sha256)) = measured(path.clone()).await? {
                    let key = key_of(&format!("traces/{job}"))?;
                    let kept = async {
                        self.send(bucket, &key, job, LOG, (&path, size, &sha256)).await?;
                        Ok(self.store.keep_log_at(job, key.clone()).await?)
                    };
                    self.or_give_up(&key, kept.await).await?;
                }
            }
            Ok(_) | Err(DatabaseError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        gone(tokio::fs::remove_file(&path).await)?;
        drop(alone);
        drop(writer);
        self.forget_trace(job);
        Ok(())
    }

    /// Moves an artifact that was kept on this machine before the store was there.
    async fn move_artifact(&self, bucket: &Bucket, job: i64, kind: &str) -> Result<(), StorageError> {
        let path = self.data.artifact(job, kind);
        let row = self.store.artifact(job, kind).await?;
        if let Some(row) = row
            && self.store.object(job, kind).await?.is_none()
            && let Some((size, sha256)) = measured(path.clone()).await?
        {
            if sha256 != row.sha256 {
                tracing::error!(path = %path.display(), "it is not what was uploaded; it stays on this machine");
                return Ok(());
            }
            let key = key_of(&format!("artifacts/{job}/{kind}"))?;
            let kept = async {
                self.send(bucket, &key, job, kind, (&path, size, &sha256)).await?;
                Ok(self.store.keep_artifact_at(job, kind.to_owned(), sha256.clone(), key.clone()).await?)
            };
            self.or_give_up(&key, kept.await).await?;
        }
        gone(tokio::fs::remove_file(&path).await)?;
        // The last file of a job takes its directory with it.
        let _ = tokio::fs::remove_dir(self.data.artifacts(job)).await;
        Ok(())
    }

    async fn send(
        &self,
        bucket: &Bucket,
        key: &str,
        job: i64,
        kind: &str,
        (path, size, sha256): (&Path, u64, &str),
    ) -> Result<(), StorageError> {
        let bytes = i64::try_from(size).unwrap_or(i64::MAX);
        self.store.announce_object(key.to_owned(), job, kind.to_owned(), bytes).await?;
        bucket.put_file(key, path, size, sha256).await.map_err(|source| of(bucket, source))
    }

    /// An object that was not sent, or is not wanted any more, is removed later.
    async fn or_give_up(&self, key: &str, kept: Result<bool, StorageError>) -> Result<(), StorageError> {
        if kept.is_err() {
            self.store.give_up_object(key.to_owned(), self.now().saturating_add(SETTLED)).await?;
        }
        kept.map(|_| ())
    }

    /// Removes objects that nobody wants; when the next ones are due.
    async fn remove_unwanted(&self, bucket: &Bucket) -> Result<Option<i64>, StorageError> {
        loop {
            let (due, next) = self.store.unwanted_objects(self.now(), SOME).await?;
            if due.is_empty() {
                return Ok(next);
            }
            let removed = stream::iter(due).map(|key| async move {
                match bucket.delete(&key).await {
                    Ok(()) => Ok(self.store.forget_object(key).await?),
                    Err(source) => Err(of(bucket, source)),
                }
            });
            let removed: Vec<Result<(), StorageError>> = removed.buffer_unordered(AT_A_TIME).collect().await;
            if let Some(error) = removed.into_iter().find_map(Result::err) {
                tracing::error!(error = %error, "objects of removed files stay for now; it is tried again");
                return Err(error);
            }
        }
    }
}

/// What a wait was for.
enum Heard {
    Ended(Vec<i64>),
    /// More than could be listened to.
    TooMuch,
}

/// Bytes and hash of a file; `None`: it is not there, or has nothing in it.
async fn measured(path: PathBuf) -> io::Result<Option<(u64, String)>> {
    let measured = tokio::task::spawn_blocking(move || {
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        let mut piece = vec![0; 256 << 10];
        let mut size = 0;
        loop {
            match io::Read::read(&mut file, &mut piece)? {
                0 => break,
                long => {
                    digest.update(&piece[..long]);
                    size += long as u64;
                }
            }
        }
        let hex = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((size > 0).then_some((size, hex)))
    });
    measured.await.map_err(io::Error::other)?
}
