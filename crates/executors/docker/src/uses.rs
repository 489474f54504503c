//! When caches and helper images were used last, and by which job: one small file each in the state directory, whose time is
//! the use's.
//!
//! Called when a job's place is made and when room is made. The lock lets nobody remove a volume between a job's note and
//! the moment it has made the volume its own.

use crate::error::DockerError;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `<state>/uses`
#[derive(Clone)]
pub(crate) struct Uses {
    dir: PathBuf,
}

impl Uses {
    pub fn of(state: &Path) -> Self {
        Self { dir: state.join("uses") }
    }

    /// Notes a use by `job` and does `deed`, during which nothing is removed.
    pub async fn note<T>(
        &self,
        name: &str,
        job: &str,
        deed: impl Future<Output = T>,
    ) -> Result<T, DockerError> {
        let (uses, path, job) = (self.clone(), self.file(name), job.to_owned());
        let lock = blocking(move || {
            let lock = uses.lock_file()?;
            lock.lock_shared()?;
            std::fs::write(path, job)?;
            Ok(lock)
        });
        let lock = lock.await.map_err(|error| self.failed(&error))?;
        let done = deed.await;
        drop(lock);
        Ok(done)
    }

    /// Does `deed` while no job notes a use, if `may` says so then; else `None`.
    pub async fn alone<T>(
        &self,
        may: impl FnOnce(&Self) -> bool,
        deed: impl Future<Output = T>,
    ) -> Result<Option<T>, DockerError> {
        let uses = self.clone();
        let lock = blocking(move || {
            let lock = uses.lock_file()?;
            lock.lock()?;
            Ok(lock)
        });
        let lock = lock.await.map_err(|error| self.failed(&error))?;
        let done = if may(self) { Some(deed.await) } else { None };
        drop(lock);
        Ok(done)
    }

    /// The last use: when, and by which job.
    pub fn last(&self, name: &str) -> Option<(SystemTime, String)> {
        let path = self.file(name);
        let at = std::fs::metadata(&path).and_then(|found| found.modified()).ok()?;
        Some((at, std::fs::read_to_string(path).ok()?))
    }

    /// What is gone was never used.
    pub fn forget(&self, name: &str) {
        // A note too much does no harm.
        let _ = std::fs::remove_file(self.file(name));
    }

    /// When room was made last in this engine.
    pub fn collected(&self, engine: &str) -> Option<SystemTime> {
        std::fs::metadata(self.collected_file(engine)).and_then(|found| found.modified()).ok()
    }

    /// Room has just been made in this engine.
    pub fn note_collected(&self, engine: &str) {
        // Without the note room is made again too early, which does no harm.
        let _ = std::fs::create_dir_all(&self.dir)
            .and_then(|()| std::fs::write(self.collected_file(engine), b""));
    }

    fn collected_file(&self, engine: &str) -> PathBuf {
        self.dir.join(format!(".collected-{}", engine.replace([':', '/'], "-")))
    }

    fn lock_file(&self) -> std::io::Result<File> {
        std::fs::create_dir_all(&self.dir)?;
        File::options().write(true).create(true).truncate(false).open(self.dir.join(".lock"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name.replace([':', '/'], "-"))
    }

    fn failed(&self, error: &std::io::Error) -> DockerError {
        DockerError::Lost(format!(
            "{} cannot be used: {error}; check the state directory",
            self.dir.display()
        ))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
