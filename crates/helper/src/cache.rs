//! The cache in a directory (`executors.md` §5, `runner-api.md` §11.2, §11.5): `<cache dir>/<key>/cache.zip`, whatever its
//! format, and `metadata.json`. A cache never fails a job: what goes wrong is a warning. Jobs that save the same key at
//! once never see half of a file: each writes its own and puts it in place when it is whole.

use crate::archive::{self, Contents};
use crate::env::Environment;
use crate::failure::{Failure, io_hint};
use crate::log::Log;
use crate::select::{self, Wanted};
use crate::tree;
use harrier_plan::{CacheOp, HelperRequest};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// No job writes one archive for as long as this.
const LONGEST_WRITE: Duration = Duration::from_secs(24 * 3600);

/// Restores the first key that has an archive which can be unpacked.
pub(crate) fn restore(
    cache: &CacheOp,
    request: &HelperRequest,
    env: &Environment,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    for (at, key) in cache.keys.iter().enumerate() {
        let shown = if at == 0 { &cache.human_key } else { key };
        log.notice(format_args!("Checking cache for {shown}..."));
        log.info(
            "No URL provided, cache will not be downloaded from shared cache server. Instead a local version of \
             cache will be extracted.",
        );
        match restore_key(request, key) {
            Ok(true) => {
                log.notice("Successfully extracted cache");
                return Ok(());
            }
            Ok(false) => log.warning("Cache file does not exist"),
            Err(failure) => {
                log.error(&failure);
                if cache.clean_failed_extract {
                    remove_paths(cache, request, env, log);
                }
            }
        }
        log.caution("Failed to extract cache");
    }
    Ok(())
}

fn restore_key(request: &HelperRequest, key: &str) -> Result<bool, Failure> {
    let path = archive_path(request, key)?;
    match File::open(&path) {
        Ok(file) => archive::extract(file, &path, &request.dirs.project).map(|()| true),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(Failure::io("open the cache", &path)(why)),
    }
}

/// After an extraction that broke off, what is there of the cache is of no use.
fn remove_paths(cache: &CacheOp, request: &HelperRequest, env: &Environment, log: &mut Log<'_>) {
    let wanted = Wanted { paths: &cache.paths, exclude: &[], untracked: false };
    let removed = select::select(&wanted, &request.dirs.project, env, log)
        .and_then(|found| found.files.keys().try_for_each(|path| tree::remove(&found.root.join(path))));
    if let Err(failure) = removed {
        log.warning(&failure);
    }
}

/// Saves the cache under its first key.
pub(crate) fn save(
    cache: &CacheOp,
    request: &HelperRequest,
    env: &Environment,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    let Some(key) = cache.keys.first() else { return Ok(()) };
    log.notice(format_args!("Creating cache {}...", cache.human_key));
    match save_key(cache, key, request, env, log) {
        Ok(()) => log.notice("Created cache"),
        Err(failure) => {
            log.error(&failure);
            log.caution("Failed to create cache");
        }
    }
    Ok(())
}

fn save_key(
    cache: &CacheOp,
    key: &str,
    request: &HelperRequest,
    env: &Environment,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    let path = archive_path(request, key)?;
    let wanted = Wanted { paths: &cache.paths, exclude: &[], untracked: cache.untracked };
    let selection = select::select(&wanted, &request.dirs.project, env, log)?;
    let made = std::fs::metadata(&path).and_then(|meta| meta.modified());
    if made.is_ok_and(|time| !selection.is_newer_than(time)) {
        log.info("Archive is up to date!");
        return Ok(());
    }
    let contents = Contents::of(selection);
    let stood = tree::standing_above(&path).to_owned();
    put_in_place(&path, |out| contents.write(cache.format, cache.level, out))?;
    let about = serde_json::json!({ "cachekey": cache.human_key }).to_string();
    put_in_place(&path.with_file_name("metadata.json"), |out| out.write_all(about.as_bytes()))?;
    tree::hand_over(&stood, path.parent().unwrap_or(&path))?;
    log.info(
        "No URL provided, cache will not be uploaded to shared cache server. Cache will be stored only locally.",
    );
    Ok(())
}

/// The archive of a key; the plan has cleaned the key, and here it is only checked.
fn archive_path(request: &HelperRequest, key: &str) -> Result<PathBuf, Failure> {
    let inside =
        !key.is_empty() && Path::new(key).components().all(|part| matches!(part, Component::Normal(_)));
    if inside {
        return Ok(request.dirs.cache.join(key).join("cache.zip"));
    }
    Err(Failure::Refused {
        what: "a cache key that leads out of the cache directory",
        value: key.to_owned(),
        remedy: "Give the cache another key",
    })
}

/// Writes a file under another name beside `path` and renames it when it is whole.
pub(crate) fn put_in_place(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    tree::dir(parent)?;
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    forget_unfinished(parent, &prefix);
    // Unique among all helpers that write this file at once.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let unfinished = parent.join(format!("{prefix}{}-{count}", std::process::id()));
    let written = File::create(&unfinished).and_then(|file| {
        let mut out = BufWriter::with_capacity(256 * 1024, file);
        write(&mut out)?;
        out.flush()
    });
    let result = match written {
        Ok(()) => std::fs::rename(&unfinished, path).map_err(Failure::io("replace", path)),
        Err(why) => Err(Failure::Archive {
            path: path.to_owned(),
            why: format!("cannot be written: {why}{}", io_hint(&why)),
        }),
    };
    if result.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    result
}

/// Removes what helpers that were killed have left; a day old, so that none of them still writes.
fn forget_unfinished(dir: &Path, prefix: &str) {
    let old = |entry: &std::fs::DirEntry| {
        entry.file_name().to_string_lossy().starts_with(prefix)
            && entry
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LONGEST_WRITE))
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(old) {
        let _ = std::fs::remove_file(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_and_leaves_nothing() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("key/cache.zip");
        put_in_place(&path, |out| out.write_all(b"old")).expect("written");
        // /dev/full answers every write as a full disk does.
        let failure =
            put_in_place(&path, |_| File::options().write(true).open("/dev/full")?.write_all(b"new"))
                .expect_err("the disk is full");
        let words = failure.to_string();
        assert!(words.contains("cache.zip") && words.contains("The disk is full: free space"), "{words}");
        assert_eq!(std::fs::read(&path).expect("there"), b"old");
        assert_eq!(std::fs::read_dir(place.path().join("key")).expect("listed").count(), 1);
    }

    #[test]
    fn what_killed_helpers_left_goes_after_a_day() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("cache.zip");
        let (old, young) = (place.path().join(".cache.zip.1-0"), place.path().join(".cache.zip.2-0"));
        for (file, age) in [(&old, 2 * LONGEST_WRITE), (&young, LONGEST_WRITE / 2)] {
            let file = File::create(file).expect("made");
            file.set_modified(std::time::SystemTime::now() - age).expect("set");
        }
        put_in_place(&path, |out| out.write_all(b"new")).expect("written");
        assert!(path.exists() && young.exists() && !old.exists());
    }
}
