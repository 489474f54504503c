//! Notices that `config.toml` has changed (`runner-config.md` §3.3).
//!
//! Called by the service, every 3 s and on SIGHUP. A file that cannot be used is told once, then not read again
//! until it changes; the configuration in force stays.

use harrier_config::{ConfigError, HostSpec, Warning};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What was seen of the file last.
pub(crate) struct ConfigFile {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    hash: Option<[u8; 32]>,
}

/// A usable configuration, with what is odd about it.
pub(crate) type Loaded = (HostSpec, Vec<Warning>);

impl ConfigFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, stamp: None, hash: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Loads the file whatever was seen before.
    pub(crate) fn load(&mut self) -> Result<Loaded, ConfigError> {
        self.stamp = self.stamp_now();
        self.hash = self.hash_now();
        harrier_config::load_warned(&self.path)
    }

    /// Loads the file if its time or size and its content have changed.
    pub(crate) fn check(&mut self) -> Option<Result<Loaded, ConfigError>> {
        let stamp = self.stamp_now();
        if stamp == self.stamp {
            return None;
        }
        let hash = self.hash_now();
        if hash == self.hash {
            self.stamp = stamp;
            return None;
        }
        Some(self.load())
    }

    fn stamp_now(&self) -> Option<(SystemTime, u64)> {
        let found = std::fs::metadata(&self.path).ok()?;
        Some((found.modified().ok()?, found.len()))
    }

    fn hash_now(&self) -> Option<[u8; 32]> {
        Some(Sha256::digest(std::fs::read(&self.path).ok()?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const GOOD: &str = "concurrent = 2\n";

    fn write(path: &Path, text: &str, age: u64) {
        std::fs::write(path, text).expect("written");
        let file = std::fs::File::options().write(true).open(path).expect("opened");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + age)).expect("stamped");
    }

    #[test]
    fn only_a_change_is_read_and_a_broken_file_is_told_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.toml");
        write(&path, GOOD, 0);
        let mut file = ConfigFile::new(path.clone());
        assert_eq!(file.load().expect("good").0.concurrent, 2);
        assert!(file.check().is_none());
        write(&path, GOOD, 1);
        assert!(file.check().is_none(), "touched only");
        write(&path, "concurrent = \n", 2);
        let error = file.check().expect("changed").map(|_| ()).expect_err("broken").to_string();
        assert!(error.contains("config.toml") && error.contains('1'), "{error}");
        assert!(file.check().is_none(), "told once");
        write(&path, "concurrent = 7\n", 3);
        assert_eq!(file.check().expect("changed").expect("good").0.concurrent, 7);
        write(&path, "concurrent = 8\n", 3);
        assert!(file.check().is_none(), "same time, same size: not looked into");
        assert_eq!(file.load().expect("good").0.concurrent, 8, "SIGHUP reads all the same");
    }
}
