//! What lies below `.harrier/`: where each thing is, the pipeline counter, who may work there, and what earlier runs
//! have left. Called by the local host. It must never touch anything outside of `.harrier/`.

use harrier_pipeline::dotenv;
use harrier_store::{JobDir, StateDir, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or directory.
    #[error("{}: {source}{}", path.display(), remedy(source))]
    Io {
        /// Which.
        path: PathBuf,
        /// Of the operating system.
        source: io::Error,
    },
    /// Somebody works there.
    #[error("another `harrier run`{} is at work in this repository; wait for its end or stop it",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Taken {
        /// Its process, if known.
        pid: Option<u32>,
    },
    /// Everything was removed (`--clean`) while somebody waited to work there.
    #[error("{} was removed", path.display())]
    Removed {
        /// What was there.
        path: PathBuf,
    },
    /// The place of the jobs.
    #[error(transparent)]
    Store(StoreError),
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room on the disk, `harrier run --clean` removes all that earlier runs left"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; `harrier run` keeps its work in .harrier/ and must be able to write there"
        }
        _ => "",
    }
}

/// Locked before the state is by who gives back what was kept, so that nobody takes it for a run.
const GIVING_BACK: &str = "giving-back.lock";

fn giving_back(repository_root: &Path) -> PathBuf {
    repository_root.join(".harrier").join(GIVING_BACK)
}

/// `.harrier/` of one repository. Whoever has this value has the lock.
pub struct State {
    root: PathBuf,
    dir: StateDir,
    /// Held while numbers are taken: jobs and child pipelines begin on several threads.
    counter: Mutex<()>,
    /// Of who gives back what was kept. Goes last: others wait for it, and find the state free.
    _others_wait: Option<File>,
}

impl State {
    /// Makes what is not there and takes the lock. A process that gives back what was kept is waited for: the person
    /// at the command line knows nothing of it.
    pub fn open(repository_root: &Path) -> Result<Self, StateError> {
        match Self::open_now(repository_root) {
            Err(StateError::Taken { .. }) => {
                // Held until the state is ours: another one that gives back may be next in line.
                let note = File::open(giving_back(repository_root));
                let _waited = note.and_then(|note| note.lock_shared().map(|()| note));
                Self::open_now(repository_root)
            }
            other => other,
        }
    }

    /// As [`State::open`], for the process that gives back what was kept: others wait for it. Makes nothing: what `--clean` removed stays away.
    pub(crate) fn open_to_give_back(repository_root: &Path) -> Result<Self, StateError> {
        let path = giving_back(repository_root);
        let note = File::open(&path).and_then(|note| note.lock().map(|()| note));
        let there = |note: &File| Ok(note.metadata()?.ino() == fs::metadata(&path)?.ino());
        match note.and_then(|note| there(&note).map(|there| (note, there))) {
            Ok((note, true)) => Ok(Self { _others_wait: Some(note), ..Self::open_now(repository_root)? }),
            Ok((_, false)) => Err(StateError::Removed { path }),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => Err(StateError::Removed { path }),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    fn open_now(repository_root: &Path) -> Result<Self, StateError> {
        let root = repository_root.join(".harrier");
        private_dir(&root)?;
        let ignore = root.join(".gitignore");
        if !ignore.exists() {
            write(&ignore, b"*\n")?;
        }
        let note = giving_back(repository_root);
        if !note.exists() {
            write(&note, b"")?;
        }
        let dir = StateDir::open(root.join("state")).map_err(|error| match error {
            StoreError::InUse { pid, .. } => StateError::Taken { pid },
            other => StateError::Store(other),
        })?;
        let state = Self { root, dir, counter: Mutex::new(()), _others_wait: None };
        // Containers are shown these; one that the engine made would be root's.
        private_dir(&state.artifacts())?;
        private_dir(&state.caches())?;
        Ok(state)
    }

    /// Removes everything, for `--clean`.
    pub fn clean(self) -> Result<PathBuf, StateError> {
        // Who waits to give back finds that all is gone, not half of it. Damage to the file is no reason to leave the rest.
        let note = File::open(self.root.join(GIVING_BACK));
        let _others_wait = note.and_then(|note| note.lock().map(|()| note));
        remove_tree(&self.root)?;
        Ok(self.root)
    }

    /// A name of the repository that no other one of this machine has; safe in names of containers.
    pub fn name(&self) -> String {
        digest(&self.root.to_string_lossy(), 8)
    }

    /// Repository the jobs get their sources from.
    pub fn snapshot(&self) -> PathBuf {
        self.root.join("snapshot.git")
    }

    /// `builds_dir` of the jobs.
    pub fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// `cache_dir` of the jobs.
    pub fn caches(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Where artifacts are kept, one directory a job id.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// What the directories of the jobs lie in.
    pub fn jobs(&self) -> &Path {
        self.dir.path()
    }

    /// Job directories that a killed run has left.
    pub fn left_jobs(&self) -> Result<Vec<JobDir>, StateError> {
        self.dir.jobs().map_err(StateError::Store)
    }

    /// Where the log of a job is kept after its end.
    pub fn log(&self, job: &str) -> PathBuf {
        self.root.join("logs").join(format!("{}.log", file_name(job)))
    }

    /// Keeps what a job's `release` asks for; gives where.
    pub fn keep_release(&self, job: &str, request: &serde_json::Value) -> Result<PathBuf, StateError> {
        let dir = self.root.join("releases");
        private_dir(&dir)?;
        let path = dir.join(format!("{}.json", file_name(job)));
        write(&path, format!("{request:#}\n").as_bytes())?;
        Ok(path)
    }

    /// Forgets the logs of the last run.
    pub fn forget_logs(&self) -> Result<(), StateError> {
        remove_tree(&self.root.join("logs"))?;
        private_dir(&self.root.join("logs"))
    }

    /// Takes `count` numbers that no earlier run had; gives the first.
    pub fn take_numbers(&self, count: i64) -> Result<i64, StateError> {
        let _one_at_a_time = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join("state/counter");
        let last = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<i64>().unwrap_or(0).max(0),
            Err(why) if why.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(StateError::Io { path, source }),
        };
        let next = last.checked_add(count).unwrap_or(count);
        write(&path, format!("{next}\n").as_bytes())?;
        Ok(next - count + 1)
    }

    /// What earlier runs left for later ones. A damaged file counts as none: it only spares work.
    pub fn remembered(&self) -> Remembered {
        fs::read(self.remembered_path())
            .ok()
            .and_then(|b| serde_json::from_slice(&b).ok())
            .unwrap_or_default()
    }

    /// Keeps it.
    pub fn remember(&self, remembered: &Remembered) -> Result<(), StateError> {
        let bytes = serde_json::to_vec_pretty(remembered).unwrap_or_default();
        let path = self.remembered_path();
        let fresh = path.with_extension("new");
        write(&fresh, &bytes)?;
        fs::rename(&fresh, &path).map_err(|source| StateError::Io { path, source })
    }

    /// Removes artifacts that no job's latest run has.
    pub fn drop_old_artifacts(&self, remembered: &Remembered) -> Result<(), StateError> {
        let dir = self.artifacts();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(StateError::Io { path: dir, source }),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|n| n.parse::<i64>().ok());
            if !remembered.jobs.values().any(|job| Some(job.id) == id) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    fn remembered_path(&self) -> PathBuf {
        self.root.join("state/latest.json")
    }
}

/// The latest run of each job that passed: where its artifacts are for a later run of only some jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// By job name, with the bridges above it.
    pub jobs: BTreeMap<String, RememberedJob>,
    /// By name.
    pub environments: BTreeMap<String, RememberedEnvironment>,
}

/// An environment that a job has started and none has stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedEnvironment {
    /// Its address, or empty.
    pub url: String,
    /// The job.
    pub job: String,
    /// Commit of the job's pipeline.
    pub sha: String,
}

/// A job that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedJob {
    /// Job id, the name of its artifacts directory.
    pub id: i64,
    /// Commit of its pipeline.
    pub sha: String,
}

/// A file's name for a job.
fn file_name(job: &str) -> String {
    let mut name: String = job
        .chars()
        .map(|c| if c.is_alphanumeric() || "-_. ".contains(c) { c } else { '_' })
        .take(100)
        .collect();
    if name.starts_with('.') {
        name.insert(0, '_');
    }
    if name != job {
        name.push('-');
        name.push_str(&digest(job, 4));
    }
    name
}

/// What a job has left in the artifacts directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Name and size of the archive, if there is one.
    pub archive: Option<(String, u64)>,
    /// Variables of its dotenv report.
    pub variables: Vec<(String, String)>,
}

impl State {
    /// Looks up what a job has left.
    pub fn kept(&self, job_id: i64) -> Result<Kept, KeptError> {
        let dir = self.artifacts().join(job_id.to_string());
        let archive = single_file(&dir.join("archive"))?.map(|(path, size)| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            (name, size)
        });
        let variables = match single_file(&dir.join("dotenv"))? {
            None => Vec::new(),
            Some((path, _)) => {
                let bytes = fs::read(&path).map_err(|source| StateError::Io { path, source })?;
                dotenv::parse_report(&unpacked(&bytes)?)?
            }
        };
        Ok(Kept { archive, variables })
    }
}

/// What a job left cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// A file.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its dotenv report is not what the helper packs.
    #[error("the dotenv report cannot be unpacked: {0}")]
    Packed(String),
    /// Its dotenv report breaks a rule.
    #[error(transparent)]
    Dotenv(#[from] dotenv::DotenvError),
}

/// A report as the helper stores it: gzip, or plain. One byte more than a report may have shows that it is too long.
fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, KeptError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes.to_vec());
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .take(dotenv::REPORT_BYTES as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|why| KeptError::Packed(why.to_string()))?;
    Ok(plain)
}

/// The file in a directory besides its `meta.json`.
fn single_file(dir: &Path) -> Result<Option<(PathBuf, u64)>, StateError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Io { path: dir.to_owned(), source }),
    };
    for entry in entries.flatten() {
        if entry.file_name() != "meta.json"
            && let Ok(meta) = entry.metadata()
            && meta.is_file()
        {
            return Ok(Some((entry.path(), meta.len())));
        }
    }
    Ok(None)
}

fn digest(text: &str, bytes: usize) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text.as_bytes()).iter().take(bytes).map(|b| format!("{b:02x}")).collect()
}

/// Jobs' files may be read-only directories, which stop a plain removal.
fn remove_tree(path: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path).map_err(|source| StateError::Io { path: path.to_owned(), source })
        }
        Err(source) => Err(StateError::Io { path: path.to_owned(), source }),
    }
}

/// Gives the owner all rights on a directory and those below; what can't be changed shows when it is removed.
fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            open_up(&entry.path());
        }
    }
}

fn private_dir(path: &Path) -> Result<(), StateError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StateError::Io { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|source| StateError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_waits_for_who_gives_back_and_for_no_other_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = State::open(dir.path()).expect("free");
        assert!(matches!(State::open(dir.path()), Err(StateError::Taken { .. })));
        assert!(matches!(State::open_to_give_back(dir.path()), Err(StateError::Taken { .. })));
        drop(run);
        let state = State::open_to_give_back(dir.path()).expect("free");
        std::thread::scope(|scope| {
            let run = scope.spawn(|| State::open(dir.path()).map(drop));
            // A run that would not wait has failed by now or fails soon; one that waits cannot end.
            for _ in 0..100 {
                assert!(!run.is_finished());
                std::thread::yield_now();
            }
            drop(state);
            assert!(run.join().expect("no panic").is_ok());
        });
    }

    #[test]
    fn of_two_that_give_back_none_comes_between_a_run_and_its_turn() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(State::open(dir.path()).expect("free"));
        for _ in 0..200 {
            let state = State::open_to_give_back(dir.path()).expect("free");
            std::thread::scope(|scope| {
                let run = scope.spawn(|| State::open(dir.path()));
                let second = scope.spawn(|| State::open_to_give_back(dir.path()).map(drop));
                drop(state);
                let run = run.join().expect("no panic");
                assert!(run.is_ok(), "{:?}", run.err());
                drop(run);
                assert!(matches!(second.join().expect("no panic"), Ok(()) | Err(StateError::Taken { .. })));
            });
        }
    }

    #[test]
    fn what_was_cleaned_is_not_made_again_by_who_waited() {
        let dir = tempfile::tempdir().expect("a directory");
        for _ in 0..200 {
            let state = State::open(dir.path()).expect("free");
            std::thread::scope(|scope| {
                let late = scope.spawn(|| State::open_to_give_back(dir.path()).map(drop));
                state.clean().expect("removed");
                let late = late.join().expect("no panic");
                assert!(
                    matches!(late, Err(StateError::Taken { .. } | StateError::Removed { .. })),
                    "{late:?}"
                );
            });
            assert!(!dir.path().join(".harrier").exists());
        }
    }

    #[test]
    fn gzip_members_are_joined() {
        let mut packed = Vec::new();
        for part in ["A=1\n", "B=2\n"] {
            let mut one = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            one.write_all(part.as_bytes()).expect("memory");
            packed.extend(one.finish().expect("memory"));
        }
        assert_eq!(unpacked(&packed).expect("packed by the helper"), b"A=1\nB=2\n");
        assert!(matches!(unpacked(&packed[..12]), Err(KeptError::Packed(_))));
        assert_eq!(unpacked(b"A=1").expect("plain"), b"A=1");
    }
}
