//! Exactly one file, byte for byte.

use super::{Contents, Kind};
use std::io::{self, Write};

/// Writes the one file; several, or none, are an error.
pub(super) fn write(contents: &Contents, out: &mut dyn Write) -> io::Result<()> {
    match contents.entries.as_slice() {
        [entry] if entry.kind == Kind::File => contents.copy(entry, out).map(drop),
        [entry] => {
            Err(io::Error::other(format!("{}: a raw artifact must be a regular file", entry.path.display())))
        }
        entries => Err(io::Error::other(format!(
            "a raw artifact must be exactly one file, but {} match; name one file, or use the format zip",
            entries.len()
        ))),
    }
}
