//! The data directory: where each thing of a server is. One server at a time works in it; `harrier admin` may beside it.
//! Called by [`crate::App`] and whoever reads or writes files of jobs and repositories.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A directory of mode 0700 and its parts.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// The directory belongs to this process until it is dropped.
pub struct DataLock(#[expect(dead_code, reason = "holding it is its use")] Flock<File>);

impl DataDir {
    /// Makes what is not there.
    pub fn open(root: &Path) -> io::Result<Self> {
        let this = Self { root: root.to_owned() };
        for part in
            [root.to_owned(), this.root.join("git"), this.traces(), this.all_artifacts(), this.incoming()]
        {
            DirBuilder::new().recursive(true).mode(0o700).create(part)?;
        }
        Ok(this)
    }

    /// Takes the directory for a server. `None`: another one has it.
    pub fn lock(&self) -> io::Result<Option<DataLock>> {
        let path = self.root.join("lock");
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(DataLock(lock))),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The tables, on SQLite.
    pub fn database(&self) -> PathBuf {
        self.root.join("harrier.db")
    }

    /// The key that seals secrets.
    pub fn key(&self) -> PathBuf {
        self.root.join("secret.key")
    }

    /// Notes of pushes that git carries out at present.
    pub fn push_notes(&self, project: i64) -> PathBuf {
        self.repository(project).join("pushes")
    }

    /// The bare repository of a project.
    pub fn repository(&self, project: i64) -> PathBuf {
        self.root.join("git").join(format!("{project}.git"))
    }

    /// Copies of included files from elsewhere.
    pub fn includes(&self) -> PathBuf {
        self.root.join("includes")
    }

    /// The log of a job.
    pub fn trace(&self, job: i64) -> PathBuf {
        self.traces().join(format!("{job}.log"))
    }

    /// Where logs are.
    pub fn traces(&self) -> PathBuf {
        self.root.join("traces")
    }

    /// Where artifacts are.
    pub fn all_artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Where uploads are until they are in a store of objects.
    pub fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Removes uploads that a server before this one left half.
    pub fn clear_incoming(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.incoming())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Where the files of a job are.
    pub fn artifacts(&self, job: i64) -> PathBuf {
        self.all_artifacts().join(job.to_string())
    }

    /// A file of a job, by its kind: a name that an upload brought is never a path here.
    pub fn artifact(&self, job: i64, kind: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
        self.artifacts(job).join(kind.chars().map(plain).collect::<String>())
    }

    /// Removes the log and the files of a job; what is gone already is no error.
    pub fn remove_job(&self, job: i64) -> io::Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        gone(fs::remove_file(self.trace(job)))?;
        gone(fs::remove_dir_all(self.artifacts(job)))
    }
}
