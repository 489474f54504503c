//! zip with deflate or zstd inside. Each entry has its mode, its time (`0x5455`) and owner (`0x7875`). Files of usual
//! size are compressed on all cores and appended in order; large ones are compressed as they are read.

use super::{Contents, Entry, Kind, about, deflate_level, zstd_level};
use crate::calendar::moment;
use harrier_plan::CompressionLevel;
use std::cell::Cell;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use zip::write::{ExtendedFileOptions, FileOptions, PreparedZipFile, StreamWriter, ZipFileBuilder};
use zip::{CompressionMethod, DateTime, ZipWriter};

type Options<'n> = FileOptions<'static, 'n, ExtendedFileOptions>;
type Zip<'a> = ZipWriter<StreamWriter<Tap<'a>>>;

/// Files above this size do not go through memory.
const LARGE: u64 = 32 << 20;
/// Sizes near 4 GiB need the 64-bit form; the margin is for files that grow.
const NEEDS_64_BITS: u64 = 0xF000_0000;
/// Below this sum of sizes, threads cost more than they bring.
const WORTH_THREADS: u64 = 1 << 20;
/// Compressed files that wait for their turn, per thread.
const AHEAD: usize = 4;

/// What is inside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Deflate, or nothing at level `fastest`.
    Deflate,
    /// zstd, or nothing at level `fastest`.
    Zstd,
}

/// Writes all entries.
pub(super) fn write(
    contents: &Contents,
    method: Method,
    level: CompressionLevel,
    out: &mut dyn Write,
) -> io::Result<()> {
    let dead = Cell::new(false);
    let mut zip = ZipWriter::new_stream(Tap { out, dead: &dead });
    let filled = fill(contents, &Compression { method, level }, &mut zip);
    if filled.is_err() {
        dead.set(true);
    }
    filled?;
    zip.finish()?.into_inner().flush()
}

/// The library's writer ends an archive when it is dropped, and complains on standard error when it cannot. After an
/// error neither is wanted: whatever is written from then on goes nowhere.
struct Tap<'a> {
    out: &'a mut dyn Write,
    dead: &'a Cell<bool>,
}

impl Write for Tap<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.dead.get() {
            return Ok(bytes.len());
        }
        self.out.write(bytes).inspect_err(|why| self.dead.set(why.kind() != io::ErrorKind::Interrupted))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.dead.get() { Ok(()) } else { self.out.flush() }
    }
}

fn fill(contents: &Contents, compression: &Compression, zip: &mut Zip<'_>) -> io::Result<()> {
    let small: Vec<&Entry> = contents.entries.iter().filter(|entry| fits_memory(entry)).collect();
    let sum: u64 = small.iter().map(|entry| entry.size).sum();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8).min(small.len());
    if threads > 1 && sum >= WORTH_THREADS {
        in_parallel(contents, compression, &small, threads, zip)?;
    } else {
        for entry in &contents.entries {
            streamed(contents, compression, entry, zip)?;
        }
    }
    if let Some((name, text)) = &contents.statement {
        let options = compression.method_of(Options::default().unix_permissions(0o644));
        zip.start_file(name, options)?;
        zip.write_all(text)?;
    }
    Ok(())
}

fn fits_memory(entry: &Entry) -> bool {
    entry.kind == Kind::File && entry.size <= LARGE
}

struct Compression {
    method: Method,
    level: CompressionLevel,
}

impl Compression {
    fn method_of<'n>(&self, options: Options<'n>) -> Options<'n> {
        match (self.method, self.level) {
            (_, CompressionLevel::Fastest) => options.compression_method(CompressionMethod::Stored),
            (Method::Deflate, level) => options
                .compression_method(CompressionMethod::Deflated)
                .compression_level(Some(deflate_level(level).into())),
            (Method::Zstd, level) => options
                .compression_method(CompressionMethod::Zstd)
                .compression_level(Some(zstd_level(level).into())),
        }
    }

    fn options<'n>(&self, entry: &Entry) -> io::Result<Options<'n>> {
        let directory = if entry.kind == Kind::Directory { 0x10 } else { 0 };
        let mut options = Options::default()
            .external_attributes(entry.mode << 16 | directory)
            .last_modified_time(dos_time(entry.modified))
            .large_file(entry.size >= NEEDS_64_BITS);
        let mut owner = vec![1, 4];
        owner.extend(entry.uid.to_le_bytes());
        owner.push(4);
        owner.extend(entry.gid.to_le_bytes());
        options.add_extra_field(0x7875, owner, false)?;
        let mut time = vec![1];
        time.extend(entry.modified_u32().to_le_bytes());
        options.add_extra_field(0x5455, time, false)?;
        Ok(match entry.kind {
            Kind::File => self.method_of(options),
            Kind::Directory | Kind::Link => options.compression_method(CompressionMethod::Stored),
        })
    }
}

fn streamed(
    contents: &Contents,
    compression: &Compression,
    entry: &Entry,
    zip: &mut Zip<'_>,
) -> io::Result<()> {
    let options = compression.options(entry)?;
    if entry.kind == Kind::Directory {
        // Only names that are text: this one call of the library takes no other.
        return Ok(zip.add_directory(entry.path.to_string_lossy(), options)?);
    }
    zip.start_file_with_options(options.name(entry.path.as_os_str().as_bytes()))?;
    match entry.kind {
        Kind::File | Kind::Directory => contents.copy(entry, zip).map(drop),
        Kind::Link => zip.write_all(contents.link_target(entry)?.as_os_str().as_bytes()),
    }
}

/// A file's place among the small ones, and what became of it.
type Done = (usize, io::Result<Option<PreparedZipFile>>);

/// The files of `small` are compressed by `threads`; this thread appends everything in order.
fn in_parallel(
    contents: &Contents,
    compression: &Compression,
    small: &[&Entry],
    threads: usize,
    zip: &mut Zip<'_>,
) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..threads {
            let (done, results) = mpsc::sync_channel::<Done>(AHEAD);
            workers.push((results, None));
            let next = &next;
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(entry) = small.get(at) else { break };
                    // The reader is gone only after an error of its own.
                    if done.send((at, compressed(contents, compression, entry))).is_err() {
                        break;
                    }
                }
            });
        }
        let mut at = 0;
        for entry in &contents.entries {
            if !fits_memory(entry) {
                streamed(contents, compression, entry, zip)?;
                continue;
            }
            // Numbers are given out in order and each worker reports in order: the one wanted is some worker's next.
            let found = workers.iter_mut().find_map(|(results, held)| {
                if held.is_none() {
                    *held = results.recv().ok();
                }
                held.take_if(|(number, _)| *number == at)
            });
            at += 1;
            match found {
                Some((_, result)) => match result? {
                    Some(prepared) => zip.add_prepared_file(prepared)?,
                    None => streamed(contents, compression, entry, zip)?,
                },
                None => return Err(io::Error::other("a compressing thread ended early")),
            }
        }
        Ok(())
    })
}

/// `None`: the name is not UTF-8 and the entry must be streamed.
fn compressed(
    contents: &Contents,
    compression: &Compression,
    entry: &Entry,
) -> io::Result<Option<PreparedZipFile>> {
    let Some(name) = entry.path.to_str() else { return Ok(None) };
    let mut builder = ZipFileBuilder::new(name, compression.options(entry)?)?;
    contents.copy(entry, &mut builder)?;
    Ok(Some(builder.finish().map_err(io::Error::from).map_err(about(&entry.path))?))
}

/// The old field, to two seconds, in UTC; a time outside its range becomes its first.
fn dos_time(seconds: i64) -> DateTime {
    let m = moment(seconds);
    u16::try_from(m.year)
        .ok()
        .and_then(|year| DateTime::from_date_and_time(year, m.month, m.day, m.hour, m.minute, m.second).ok())
        .unwrap_or_default()
}
