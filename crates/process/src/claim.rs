//! The files that decide who runs what: claims and results. See the crate's documentation for the rules.

use crate::exit::Exit;
use crate::process_table::ProcessId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Room kept for a result.
const ROOM: usize = 4096;

/// A file of the protocol could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The content is not what this program wrote.
    #[error("{} is damaged; what it stood for counts as lost", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl ClaimError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// Whether there was no space left.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Damaged { .. } => false,
        }
    }
}

/// Who has an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Claim {
    /// This supervisor started the program or was about to.
    Taken(ProcessId),
    /// Nobody ever starts it.
    Void,
}

/// One attempt at one key.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    dir: PathBuf,
    key: String,
    number: u32,
}

impl Attempt {
    pub fn new(dir: &Path, key: &str, number: u32) -> Self {
        Self { dir: dir.to_owned(), key: key.to_owned(), number }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn next(&self) -> Self {
        Self { number: self.number + 1, ..self.clone() }
    }

    fn file(&self, end: &str) -> PathBuf {
        self.dir.join(format!("{}.{}.{end}", self.key, self.number))
    }

    /// Who has it.
    pub fn claim(&self) -> Result<Option<Claim>, ClaimError> {
        read_json(&self.file("claim"))
    }

    /// Tries to be the one who has it; false if somebody was first.
    pub fn take(&self, claim: Claim) -> Result<bool, ClaimError> {
        let path = self.file("claim");
        let tmp = self.file(&format!("claim.{}", std::process::id()));
        let json = serde_json::to_vec(&claim).map_err(|e| ClaimError::io("write", &path)(e.into()))?;
        let write = || -> io::Result<bool> {
            // A leftover of a dead process with our id is overwritten.
            let mut file = private().truncate(true).open(&tmp)?;
            file.write_all(&json)?;
            match fs::hard_link(&tmp, &path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        };
        let taken = write().map_err(ClaimError::io("make the claim", &path));
        // Only the second name of the file; if it stays it goes with the job's directory.
        let _ = fs::remove_file(&tmp);
        taken
    }

    /// The result, if it is there.
    pub fn exit(&self) -> Result<Option<Exit>, ClaimError> {
        read_json(&self.file("exit"))
    }

    /// Makes room for the result.
    pub fn reserve(&self) -> Result<Reserved, ClaimError> {
        let path = self.file("exit.tmp");
        let make = || -> io::Result<File> {
            let mut file = private().truncate(true).open(&path)?;
            file.write_all(&[b' '; ROOM])?;
            Ok(file)
        };
        let file = make().map_err(|error| {
            let _ = fs::remove_file(&path);
            ClaimError::io("keep room for the result in", &path)(error)
        })?;
        Ok(Reserved { file, path, exit: self.file("exit") })
    }
}

/// Room for a result.
pub(crate) struct Reserved {
    file: File,
    path: PathBuf,
    exit: PathBuf,
}

impl Reserved {
    /// Writes the result into it and makes it visible.
    pub fn record(self, mut exit: Exit) -> Result<(), ClaimError> {
        let mut json;
        loop {
            json = serde_json::to_vec(&exit).map_err(|e| ClaimError::io("write", &self.path)(e.into()))?;
            if json.len() <= ROOM {
                break;
            }
            // Only the two long parts can be too long.
            exit.left.truncate(exit.left.len() / 2);
            for text in [&mut exit.not_started, &mut exit.output_error].into_iter().flatten() {
                *text = text.chars().take(150).collect();
            }
        }
        json.resize(ROOM, b' ');
        self.file.write_all_at(&json, 0).map_err(ClaimError::io("write the result to", &self.path))?;
        fs::rename(&self.path, &self.exit).map_err(ClaimError::io("write the result to", &self.exit))
    }

    /// Gives the room back.
    pub fn drop_room(self) {
        // It goes with the job's directory otherwise.
        let _ = fs::remove_file(&self.path);
    }
}

/// All claims in `dir` that were taken, with their results.
pub(crate) fn taken_in(dir: &Path) -> io::Result<Vec<(ProcessId, Option<Exit>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".claim")) else { continue };
        let Ok(Some(Claim::Taken(who))) = read_json(&dir.join(&name)) else { continue };
        let exit = read_json(&dir.join(format!("{stem}.exit"))).ok().flatten();
        found.push((who, exit));
    }
    Ok(found)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, ClaimError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ClaimError::io("read", path)(error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| ClaimError::Damaged { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_claim_wins_and_the_result_fits() {
        let dir = tempfile::tempdir().expect("temp dir");
        let attempt = Attempt::new(dir.path(), "1-x", 0);
        assert_eq!(attempt.claim().expect("read"), None);
        let me = ProcessId { pid: 5, start: 6 };
        let room = attempt.reserve().expect("room");
        assert!(attempt.take(Claim::Taken(me)).expect("taken"));
        assert!(!attempt.take(Claim::Void).expect("late"));
        assert_eq!(attempt.claim().expect("read"), Some(Claim::Taken(me)));
        assert_eq!(attempt.exit().expect("read"), None);
        assert_eq!(taken_in(dir.path()).expect("listed"), vec![(me, None)]);
        let exit = Exit {
            not_started: Some("é".repeat(9000)),
            left: vec![ProcessId { pid: i32::MAX, start: u64::MAX }; 1000],
            leftovers: true,
            ..Exit::default()
        };
        room.record(exit).expect("recorded");
        let exit = attempt.exit().expect("read").expect("there");
        assert!(exit.leftovers && !exit.left.is_empty());
        assert!(exit.not_started.expect("kept").starts_with("éé"));
        // Nothing but the claim and the result is left.
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 2);
    }
}
