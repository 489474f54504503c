//! tar inside zstd, with mode, time, owner and links.

use super::{Contents, Kind, about, zstd_level};
use harrier_plan::CompressionLevel;
use std::io::{self, Read, Write};
use tar::{EntryType, Header};

/// Writes all entries.
pub(super) fn write(contents: &Contents, level: CompressionLevel, out: &mut dyn Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(out, zstd_level(level))?);
    for entry in &contents.entries {
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode & 0o7777);
        header.set_mtime(u64::try_from(entry.modified).unwrap_or(0));
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_size(0);
        match entry.kind {
            Kind::Directory => {
                header.set_entry_type(EntryType::Directory);
                tar.append_data(&mut header, entry.path.join(""), io::empty())?;
            }
            Kind::Link => {
                header.set_entry_type(EntryType::Symlink);
                tar.append_link(&mut header, &entry.path, contents.link_target(entry)?)?;
            }
            Kind::File => {
                header.set_entry_type(EntryType::Regular);
                let file = contents.open(entry)?;
                // A file that grows or shrinks meanwhile must not break the archive: the size is fixed here.
                let size = file.metadata().map_err(about(&entry.path))?.len();
                header.set_size(size);
                let exactly = file.chain(io::repeat(0)).take(size);
                tar.append_data(&mut header, &entry.path, exactly).map_err(about(&entry.path))?;
            }
        }
    }
    if let Some((name, text)) = &contents.statement {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_slice())?;
    }
    tar.into_inner()?.finish()?.flush()
}
