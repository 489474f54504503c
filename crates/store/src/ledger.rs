//! The ledger: what the runner owns outside its own files (containers, networks, directories). The entry is on the
//! disk before the thing is made and goes after it, so that a sweep finds everything.

use crate::{StoreError, files};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// One owned thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owned {
    /// What, e.g. `container`.
    pub kind: String,
    /// Which, in the words of whoever made it.
    pub id: String,
    /// Name of the job directory it belongs to.
    pub job: String,
}

/// `<state>/ledger`, one small file for each thing.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// Opens or makes it.
    pub fn open(state: &Path) -> Result<Self, StoreError> {
        let path = state.join("ledger");
        files::make_dir(&path)?;
        Ok(Self { path })
    }

    /// To be called before the thing is made. Adding it again changes nothing.
    pub fn add(&self, kind: &str, id: &str, job: &str) -> Result<(), StoreError> {
        let path = self.file(kind, id);
        let owned = Owned { kind: kind.to_owned(), id: id.to_owned(), job: job.to_owned() };
        let bytes = serde_json::to_vec(&owned)
            .map_err(|e| StoreError::NotJson { path: path.clone(), message: e.to_string() })?;
        files::write_whole(&path, &bytes)
    }

    /// To be called when the thing is gone.
    pub fn remove(&self, kind: &str, id: &str) -> Result<(), StoreError> {
        let path = self.file(kind, id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Everything owned, in order.
    pub fn list(&self) -> Result<Vec<Owned>, StoreError> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(StoreError::io("read the directory", &self.path))? {
            let path = entry.map_err(StoreError::io("read the directory", &self.path))?.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let Some(bytes) = files::read_if_there(&path)? else { continue };
            let owned = serde_json::from_slice(&bytes).map_err(|e| StoreError::Damaged {
                path: path.clone(),
                place: format!("line {}", e.line()),
            })?;
            all.push(owned);
        }
        all.sort();
        Ok(all)
    }

    /// The name holds the kind and the id with everything unsafe as `%XX`; long ids are no matter, they are short
    /// hashes and names in all systems that are swept.
    fn file(&self, kind: &str, id: &str) -> PathBuf {
        let mut name = String::new();
        for byte in kind.bytes().chain([b'@']).chain(id.bytes()) {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'@') {
                name.push(char::from(byte));
            } else {
                name.push_str(&format!("%{byte:02X}"));
            }
        }
        self.path.join(name + ".json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_and_forgets() {
        let dir = tempfile::tempdir().expect("temp dir");
        let ledger = Ledger::open(dir.path()).expect("opened");
        for id in ["abc", "../../etc/passwd", "a b/ü", ""] {
            ledger.add("container", id, "7-x").expect("added");
            ledger.add("container", id, "7-x").expect("added again");
        }
        ledger.add("network", "abc", "7-x").expect("added");
        let listed = Ledger::open(dir.path()).expect("opened").list().expect("listed");
        assert_eq!(listed.len(), 5);
        assert!(listed.iter().any(|o| o.kind == "container" && o.id == "../../etc/passwd" && o.job == "7-x"));
        for owned in &listed {
            ledger.remove(&owned.kind, &owned.id).expect("removed");
            ledger.remove(&owned.kind, &owned.id).expect("gone is fine");
        }
        assert_eq!(ledger.list().expect("listed"), vec![]);
    }
}
