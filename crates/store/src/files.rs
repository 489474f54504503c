//! Private files and directories.

use crate::StoreError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a directory and its parents, for this user only.
pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::io("make the directory", path))
}

/// Options for a file of this user only.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let tmp = Path::new(&name);
    let write = || -> std::io::Result<()> {
        let mut file: File = private().write(true).create(true).truncate(true).open(tmp)?;
        file.write_all(bytes)?;
        fs::rename(tmp, path)
    };
    write().map_err(|error| {
        // The error in hand says more than a failure to tidy up.
        let _ = fs::remove_file(tmp);
        StoreError::io("write", path)(error)
    })
}

/// Reads a file; `None` if there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}
