//! The runner's state directory and the lock that makes it the property of one process.

use crate::{JobDir, Ledger, StoreError, files};
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The state directory, held by this process until the value is dropped or the process ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory if need be and takes the lock.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        files::make_dir(&path)?;
        let lock = path.join("lock");
        // Not inherited by children (close on exec): a supervisor that outlives the runner must not keep it.
        let mut file = files::private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .map_err(StoreError::io("open", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                if pid.is_none_or(lives) {
                    return Err(StoreError::InUse { path, pid });
                }
                // The owner was killed while it started a child, which has the lock until it becomes another program.
                file.lock().map_err(StoreError::io("lock", &lock))?;
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &lock)(error)),
        }
        // The number is for the message above only: a full disk does not matter here.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { path, _lock: file })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The jobs that are not settled.
    pub fn jobs(&self) -> Result<Vec<JobDir>, StoreError> {
        JobDir::all(&self.path)
    }

    /// The ledger kept here.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        Ledger::open(&self.path)
    }
}

/// Whether this process is there and no mere remains.
fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')').next().is_none_or(|rest| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("state");
        let held = StateDir::open(&path).expect("taken");
        match StateDir::open(&path) {
            Err(StoreError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        StateDir::open(&path).expect("free again");
    }

    #[test]
    fn a_dead_owner_is_waited_out() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("state");
        let held = StateDir::open(&path).expect("taken");
        // Above the largest number a process can have.
        std::fs::write(path.join("lock"), "4194999\n").expect("written");
        let (waits, waited) = std::sync::mpsc::channel();
        let other = std::thread::spawn({
            let path = path.clone();
            move || {
                waits.send(()).expect("heard");
                StateDir::open(&path).map(drop)
            }
        });
        waited.recv().expect("the other thread is there");
        drop(held);
        other.join().expect("no panic").expect("taken when the child of the dead owner let it go");
    }
}
