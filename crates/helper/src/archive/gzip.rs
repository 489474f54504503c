//! One gzip member a file, one after the other in the order of their paths (`runner-api.md` §9.2): the form of reports.

use super::{Contents, Kind, about, deflate_level};
use flate2::{Compression, GzBuilder};
use harrier_plan::CompressionLevel;
use std::io::{self, Write};

/// Writes the regular files; directories are passed over, links are an error.
pub(super) fn write(contents: &Contents, level: CompressionLevel, out: &mut dyn Write) -> io::Result<()> {
    // A member cannot be left uncompressed: "fastest" means the fastest compression here.
    let level = Compression::new(deflate_level(level).max(1));
    for entry in &contents.entries {
        match entry.kind {
            Kind::Directory => continue,
            Kind::Link => {
                return Err(io::Error::other(format!(
                    "{}: the format gzip takes regular files only",
                    entry.path.display()
                )));
            }
            Kind::File => {}
        }
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
        let mut member = GzBuilder::new()
            .filename(ascii(&name))
            .comment(ascii(&entry.path.to_string_lossy()))
            .mtime(entry.modified_u32())
            .write(&mut *out, level);
        contents.copy(entry, &mut member)?;
        member.finish().map_err(about(&entry.path))?;
    }
    Ok(())
}

/// A header field can hold ASCII as it is; anything else is percent-encoded behind `e:`.
fn ascii(text: &str) -> String {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    let mut out = String::from("e:");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn names_stay_ascii() {
        assert_eq!(ascii("a b/c.xml"), "a b/c.xml");
        assert_eq!(ascii("ä/x"), "e:%C3%A4%2Fx");
    }
}
