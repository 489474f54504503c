//! The directory of one job: all a later process needs to go on with it.

use crate::{StoreError, files};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// `<state>/jobs/<name>`, mode 0700. It holds secrets. Dropping the value leaves the directory alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDir {
    path: PathBuf,
}

/// Before the name of a directory that is being removed, so that one left half removed is never taken for a job.
const GOING: &str = ".removed-";

impl JobDir {
    /// Makes the directory of a job that is new, with an empty raw log. The name is
    /// `<job id>-<8 hex digits of sha256(server url)>`.
    pub fn create(state: &Path, name: &str) -> Result<Self, StoreError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fine) {
            return Err(StoreError::BadName { name: name.to_owned() });
        }
        let jobs = jobs(state);
        files::make_dir(&jobs)?;
        let path = jobs.join(name);
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => StoreError::Exists { path: path.clone() },
            _ => StoreError::io("make the directory", &path)(error),
        })?;
        let dir = Self { path };
        let raw = dir.raw_log();
        if let Err(error) = files::private().append(true).create(true).open(&raw) {
            // An empty directory would be taken for a job at the next start.
            let _ = fs::remove_dir(&dir.path);
            return Err(StoreError::io("make", &raw)(error));
        }
        Ok(dir)
    }

    /// A directory that is there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => Ok(Self { path }),
            Ok(_) => {
                Err(StoreError::io("open the directory", &path)(std::io::ErrorKind::NotADirectory.into()))
            }
            Err(error) => Err(StoreError::io("open the directory", &path)(error)),
        }
    }

    /// Every job directory below `state`, by name; the remains of ones that were being removed go.
    pub(crate) fn all(state: &Path) -> Result<Vec<Self>, StoreError> {
        let jobs = jobs(state);
        let entries = match fs::read_dir(&jobs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read the directory", &jobs)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read the directory", &jobs))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(GOING) {
                fs::remove_dir_all(&path).map_err(StoreError::io("remove", &path))?;
            } else if path.is_dir() {
                found.push(Self { path });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name: `<job id>-<server>`.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The frames of the log.
    pub fn raw_log(&self) -> PathBuf {
        self.path.join("raw.log")
    }

    /// The bytes of the log as the server gets them.
    pub fn trace_log(&self) -> PathBuf {
        self.path.join("trace.log")
    }

    /// If this file is there, supervisors drop output instead of keeping it: the log's limit is reached.
    pub fn full_marker(&self) -> PathBuf {
        self.path.join("full")
    }

    /// Makes the [full marker](Self::full_marker).
    pub fn mark_full(&self) -> Result<(), StoreError> {
        let path = self.full_marker();
        files::private().write(true).create(true).open(&path).map_err(StoreError::io("make", &path))?;
        Ok(())
    }

    /// Keeps the plan; whole or not at all.
    pub fn write_plan(&self, bytes: &[u8]) -> Result<(), StoreError> {
        files::write_whole(&self.plan(), bytes)
    }

    /// The plan; `None` if the process died before it was kept, so nothing of the job was done.
    pub fn read_plan(&self) -> Result<Option<Vec<u8>>, StoreError> {
        files::read_if_there(&self.plan())
    }

    fn plan(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// Keeps a small file of an executor, `<name>.kept`; whole or not at all.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        files::write_whole(&self.path.join(format!("{name}.kept")), bytes)
    }

    /// What was [kept](Self::keep) under `name`.
    pub fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        files::read_if_there(&self.path.join(format!("{name}.kept")))
    }

    /// Removes the directory. It is renamed first: whatever happens, it is a job or it is not.
    pub fn remove(self) -> Result<(), StoreError> {
        let going = self.path.with_file_name(format!("{GOING}{}", self.name()));
        match fs::rename(&self.path, &going) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            // Remains of an earlier one with this name are in the way.
            Err(_) => {
                fs::remove_dir_all(&going).map_err(StoreError::io("remove", &going))?;
                fs::rename(&self.path, &going).map_err(StoreError::io("remove", &self.path))?;
            }
        }
        fs::remove_dir_all(&going).map_err(StoreError::io("remove", &going))
    }
}

fn jobs(state: &Path) -> PathBuf {
    state.join("jobs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_job_is_there_once_and_private() {
        let state = tempfile::tempdir().expect("temp dir");
        let dir = JobDir::create(state.path(), "7-abcd").expect("made");
        assert!(matches!(JobDir::create(state.path(), "7-abcd"), Err(StoreError::Exists { .. })));
        assert_eq!(dir.read_plan().expect("read"), None);
        dir.write_plan(b"{}").expect("written");
        assert_eq!(dir.read_plan().expect("read"), Some(b"{}".to_vec()));
        let mode = |p: &Path| fs::metadata(p).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.raw_log()), 0o600);
        assert_eq!(mode(&dir.plan()), 0o600);
        let path = dir.path().to_owned();
        assert_eq!(JobDir::all(state.path()).expect("listed"), vec![dir.clone()]);
        dir.remove().expect("removed");
        assert!(!path.exists());
        assert!(matches!(JobDir::open(path), Err(StoreError::Io { .. })));
        assert_eq!(JobDir::all(state.path()).expect("listed"), vec![]);
    }

    #[test]
    fn a_half_removed_job_is_not_a_job() {
        let state = tempfile::tempdir().expect("temp dir");
        let half = state.path().join("jobs/.removed-7-abcd/left");
        fs::create_dir_all(&half).expect("made");
        let dir = JobDir::create(state.path(), "7-abcd").expect("made");
        dir.remove().expect("removed in spite of remains");
        fs::create_dir_all(&half).expect("made");
        assert_eq!(JobDir::all(state.path()).expect("listed"), vec![]);
        assert!(!half.exists());
    }

    #[test]
    fn names_stay_inside() {
        let state = tempfile::tempdir().expect("temp dir");
        for name in ["", ".", "..", "a/b", ".x", "a b", "ä"] {
            assert!(matches!(JobDir::create(state.path(), name), Err(StoreError::BadName { .. })), "{name}");
        }
    }
}
