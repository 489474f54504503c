//! `file://` URIs and paths.

use std::path::{Path, PathBuf};

/// The path of a `file://` URI; `None` for other kinds.
pub(crate) fn path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    // A host between the slashes is this machine.
    let rest = &rest[rest.find('/')?..];
    let mut bytes = Vec::with_capacity(rest.len());
    let mut left = rest.bytes();
    while let Some(byte) = left.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(left.next())?, digit(left.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(PathBuf::from(String::from_utf8(bytes).ok()?))
}

/// The URI of a path.
pub(crate) fn of(path: &Path) -> String {
    let mut out = String::from("file://");
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (uri, want) in [
            ("file:///a/b%20c/%C3%A4.yml", Some("/a/b c/ä.yml")),
            ("file://host/a", Some("/a")),
            ("untitled:x", None),
            ("file:///a%2", None),
            ("file:///a%zz", None),
            ("file://", None),
        ] {
            assert_eq!(path(uri), want.map(PathBuf::from), "{uri}");
        }
        assert_eq!(of(Path::new("/a/b c/ä.yml")), "file:///a/b%20c/%C3%A4.yml");
    }
}
