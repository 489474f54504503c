//! A file on its way in: written beside its place, counted, hashed and limited, then put there whole. Called by uploads.

use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// A file could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// It is longer than it may be.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file that is being written. Dropped, nothing of it is left.
pub struct Incoming {
    file: File,
    path: TempPath,
    digest: Sha256,
    size: u64,
    limit: u64,
}

/// A whole file beside its place. Dropped, nothing of it is left.
pub struct Stored {
    path: TempPath,
    /// Bytes.
    pub size: u64,
    /// In hex.
    pub sha256: String,
}

impl Incoming {
    /// Begins one in a directory, which is made.
    pub async fn begin(dir: &Path, limit: u64) -> Result<Self, IncomingError> {
        let dir = dir.to_owned();
        let made = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&dir)?;
            tempfile::Builder::new().prefix(".incoming-").tempfile_in(&dir)
        });
        let (file, path) = made.await.map_err(io::Error::other)??.into_parts();
        Ok(Self { file: File::from_std(file), path, digest: Sha256::new(), size: 0, limit })
    }

    /// A part of it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), IncomingError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(IncomingError::TooLarge { limit: self.limit });
        }
        self.digest.update(bytes);
        self.file.write_all(bytes).await?;
        Ok(())
    }

    /// It is whole, and on the disk.
    pub async fn end(mut self) -> Result<Stored, IncomingError> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let sha256 = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Stored { path: self.path, size: self.size, sha256 })
    }
}

impl Stored {
    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place.
    pub async fn keep(self, place: PathBuf) -> io::Result<()> {
        let path = self.path;
        let moved = tokio::task::spawn_blocking(move || path.persist(place).map_err(|error| error.error));
        moved.await.map_err(io::Error::other)?
    }
}
