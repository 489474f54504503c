//! Archives of a job's files (`executors.md` §5.3, §6.1): one file a format for writing, one for unpacking. Called by caches
//! and artifacts. Writing needs no seeking, so that an archive can be sent while it is made.

mod extract;
mod gzip;
mod raw;
mod tarzstd;
mod zip;

pub(crate) use extract::extract;

use crate::select::Selection;
use harrier_plan::{ArchiveFormat, CompressionLevel};
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What goes into an archive, sorted by path.
pub(crate) struct Contents {
    root: PathBuf,
    entries: Vec<Entry>,
    /// A file that is not in the project directory: its name and text.
    statement: Option<(String, Vec<u8>)>,
}

/// One file, directory or link, as it was when it was chosen.
struct Entry {
    path: PathBuf,
    kind: Kind,
    mode: u32,
    /// Seconds since the epoch.
    modified: i64,
    size: u64,
    uid: u32,
    gid: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Link,
}

impl Contents {
    /// Sockets, devices and pipes are left out.
    pub(crate) fn of(selection: Selection) -> Self {
        let entries = selection.files.into_iter().filter_map(|(path, meta)| Entry::of(path, &meta)).collect();
        Self { root: selection.root, entries, statement: None }
    }

    /// Adds a file with this text.
    pub(crate) fn with_statement(mut self, name: String, text: Vec<u8>) -> Self {
        self.statement = Some((name, text));
        self
    }

    /// Whether there is nothing to archive.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The regular files: path relative to the project directory, and the whole path.
    pub(crate) fn regular_files(&self) -> impl Iterator<Item = (&Path, PathBuf)> {
        self.entries
            .iter()
            .filter(|entry| entry.kind == Kind::File)
            .map(|entry| (entry.path.as_path(), self.root.join(&entry.path)))
    }

    /// Writes the archive to `out`. An error names the file it is about.
    pub(crate) fn write(
        &self,
        format: ArchiveFormat,
        level: CompressionLevel,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match format {
            ArchiveFormat::Zip => zip::write(self, zip::Method::Deflate, level, out),
            ArchiveFormat::Zipzstd => zip::write(self, zip::Method::Zstd, level, out),
            ArchiveFormat::Tarzstd => tarzstd::write(self, level, out),
            ArchiveFormat::Gzip => gzip::write(self, level, out),
            ArchiveFormat::Raw => raw::write(self, out),
        }
    }

    fn open(&self, entry: &Entry) -> io::Result<File> {
        let path = self.root.join(&entry.path);
        File::open(&path).map_err(about(&path))
    }

    fn link_target(&self, entry: &Entry) -> io::Result<PathBuf> {
        let path = self.root.join(&entry.path);
        std::fs::read_link(&path).map_err(about(&path))
    }

    fn copy(&self, entry: &Entry, mut out: impl Write) -> io::Result<u64> {
        io::copy(&mut self.open(entry)?, &mut out).map_err(about(&entry.path))
    }
}

impl Entry {
    fn of(path: PathBuf, meta: &Metadata) -> Option<Self> {
        let kind = match meta.file_type() {
            t if t.is_file() => Kind::File,
            t if t.is_dir() => Kind::Directory,
            t if t.is_symlink() => Kind::Link,
            _ => return None,
        };
        Some(Self {
            path,
            kind,
            mode: meta.mode(),
            modified: meta.mtime(),
            size: meta.len(),
            uid: meta.uid(),
            gid: meta.gid(),
        })
    }

    /// Whole seconds since the epoch as archives hold them; before it is 0.
    fn modified_u32(&self) -> u32 {
        u32::try_from(self.modified.max(0)).unwrap_or(u32::MAX)
    }
}

/// Puts the path before an error's text.
fn about(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |why| io::Error::new(why.kind(), format!("{path}: {why}"))
}

/// Levels of zstd by name (`executors.md` §5.3).
fn zstd_level(level: CompressionLevel) -> i32 {
    match level {
        CompressionLevel::Fastest | CompressionLevel::Fast => 1,
        CompressionLevel::Default => 3,
        CompressionLevel::Slow => 7,
        CompressionLevel::Slowest => 11,
    }
}

/// Levels of deflate by name (`executors.md` §5.3); 0 is stored.
fn deflate_level(level: CompressionLevel) -> u32 {
    match level {
        CompressionLevel::Fastest => 0,
        CompressionLevel::Fast => 1,
        CompressionLevel::Default => 5,
        CompressionLevel::Slow => 7,
        CompressionLevel::Slowest => 9,
    }
}
