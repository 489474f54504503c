//! The one place of this crate that reads and writes `config.toml`.
//!
//! Called by the runner host and by `register` and its kin. It must never leave a half-written file, and never a
//! file others can read.

use crate::check::parse;
use crate::error::{ConfigError, Warning};
use crate::spec::HostSpec;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Loads and checks a `config.toml`; a missing file is an empty one (`runner-config.md` §3).
///
/// # Errors
/// [`ConfigError`] when it cannot be read or used.
pub fn load(path: &Path) -> Result<HostSpec, ConfigError> {
    load_warned(path).map(|(spec, _)| spec)
}

/// As [`load`], with what is odd about the file.
///
/// # Errors
/// As [`load`].
pub fn load_warned(path: &Path) -> Result<(HostSpec, Vec<Warning>), ConfigError> {
    let text = read(path)?.unwrap_or_default();
    let (mut spec, warnings) = parse(&text, &path.display().to_string(), &|name| std::env::var(name).ok())?;
    let certs = path.parent().unwrap_or(Path::new("")).join("certs");
    for runner in &mut spec.runners {
        let host = host_of(&runner.url).to_owned();
        let beside = |ending: &str| Some(certs.join(format!("{host}{ending}"))).filter(|file| file.is_file());
        if runner.tls_ca_file.is_none() {
            runner.tls_ca_file = beside(".crt");
        }
        if runner.tls_cert_file.is_none() && runner.tls_key_file.is_none() {
            let pair = beside(".auth.crt").zip(beside(".auth.key"));
            (runner.tls_cert_file, runner.tls_key_file) = pair.unzip();
        }
    }
    Ok((spec, warnings))
}

/// The text of the file; `None`: there is none.
///
/// # Errors
/// [`ConfigError::Unreadable`], [`ConfigError::NotText`].
pub fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = sound.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(ConfigError::NotText { path: path.to_owned(), line })
        }
    }
}

/// Puts `text` in the file's place: a temporary file beside it, synced, renamed over it, mode 0600; a missing
/// directory is made with mode 0700. A link is followed, so it stays one. A file that cannot be replaced because it
/// is a mount of its own is written in place.
///
/// # Errors
/// [`ConfigError::Unwritable`].
pub fn save(path: &Path, text: &str) -> Result<(), ConfigError> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    replace(&path, text).map_err(|source| ConfigError::Unwritable { path, source })
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}", std::process::id()));
    let done = write_new(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    match done {
        Ok(()) => fs::File::open(&dir)?.sync_all(),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            if error.kind() == ErrorKind::ResourceBusy { write_in_place(path, text) } else { Err(error) }
        }
    }
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn write_in_place(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The host name in a URL, without user and port.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}
