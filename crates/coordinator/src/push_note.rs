//! What is written down of a push before git carries it out, so that a server that is killed in between leaves to the next one who
//! pushed and with which options. Called by `pushes.rs` only. A note is a file of its own that others than the server's user
//! cannot read, since options may be secret.

use crate::git_http::{Push, RefChange};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No git is at a push for that long after its server was killed.
const OLD: Duration = Duration::from_secs(3600);

/// A note.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PushNote {
    /// Who pushes.
    pub user: Option<i64>,
    options: Vec<String>,
    /// Ref and the object it is to be at.
    refs: Vec<(String, String)>,
}

/// Where a note is.
pub(crate) struct Written(PathBuf);

impl Written {
    /// The push is dealt with.
    pub fn forget(self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), error = %error, "the note of a push stays");
        }
    }

    /// Nobody will deal with it any more.
    pub fn forget_if_old(self) {
        let written = fs::metadata(&self.0).and_then(|meta| meta.modified()).ok();
        if written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > OLD) {
            self.forget();
        }
    }
}

impl PushNote {
    /// Of a push.
    pub fn of(user: Option<i64>, push: &Push) -> Self {
        let refs = push.changes.iter().map(|change| (change.name.clone(), change.new.clone())).collect();
        Self { user, options: push.options.clone(), refs }
    }

    /// Writes it into a directory, which is made.
    pub fn write(&self, dir: &Path) -> io::Result<Written> {
        fs::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix("push-").suffix(".json").tempfile_in(dir)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        let (_, path) = file.keep().map_err(|error| error.error)?;
        Ok(Written(path))
    }

    /// All notes of a directory. One that cannot be read was being written when its server was killed, before git began.
    pub fn read_all(dir: &Path) -> Vec<(Self, Written)> {
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .map(|path| {
                let note = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                (note.unwrap_or_default(), Written(path))
            })
            .collect()
    }

    /// The change is what it wanted.
    pub fn names(&self, change: &RefChange) -> bool {
        self.refs.iter().any(|(name, object)| *name == change.name && *object == change.new)
    }

    /// The push as far as it was carried out.
    pub fn push(&self, changes: Vec<RefChange>) -> Push {
        Push { changes, options: self.options.clone(), ..Push::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_tells_who_pushed_what() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("notes");
        let change =
            |new: &str| RefChange { name: "refs/heads/a".into(), old: "0".repeat(40), new: new.repeat(40) };
        let push = Push { changes: vec![change("1")], options: vec!["ci.skip".into()], ..Push::default() };
        let written = PushNote::of(Some(7), &push).write(&place).expect("written");
        fs::write(place.join("push-half.json"), "{\"user").expect("written");
        let mut read = PushNote::read_all(&place);
        read.sort_by_key(|(note, _)| note.user);
        assert_eq!(read.len(), 2);
        let (note, _) = &read[1];
        assert_eq!((note.user, note.names(&change("1")), note.names(&change("2"))), (Some(7), true, false));
        assert_eq!(note.push(vec![change("1")]).options, ["ci.skip"]);
        written.forget();
        assert_eq!(PushNote::read_all(&place).len(), 1);
    }
}
