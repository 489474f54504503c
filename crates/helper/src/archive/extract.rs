//! Unpacks an archive over the project directory (`executors.md` §5.3, `runner-api.md` §9.3). The format is told by the first
//! bytes, not by the name. An archive is a stranger's: no entry may lead out of the directory, by its name or through a
//! link, whether the link was there or comes with the archive.

use crate::failure::{Failure, io_hint};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Limits that no honest archive of a job comes near.
const MOST_ENTRIES: usize = 10_000_000;
const MOST_BYTES: u64 = 1 << 40;
const LONGEST_LINK: u64 = 4096;

/// Unpacks `archive`, whose name for messages is `shown`, over `into`.
pub(crate) fn extract(archive: File, shown: &Path, into: &Path) -> Result<(), Failure> {
    unpack(archive, into).map_err(|why| Failure::Archive {
        path: shown.to_owned(),
        why: format!("cannot be unpacked: {why}{}", io_hint(&why)),
    })
}

fn unpack(mut archive: File, into: &Path) -> io::Result<()> {
    let mut magic = [0u8; 4];
    archive.rewind()?;
    let read = read_start(&mut archive, &mut magic)?;
    archive.rewind()?;
    fs::create_dir_all(into)?;
    let mut target = Target {
        root: into.canonicalize()?,
        safe: HashSet::new(),
        directories: Vec::new(),
        links: Vec::new(),
        as_root: nix::unistd::geteuid().is_root(),
        bytes_left: MOST_BYTES,
    };
    match &magic[..read] {
        [0x28, 0xB5, 0x2F, 0xFD] => untar(archive, &mut target)?,
        [0x1F, 0x8B, ..] => {
            return Err(io::Error::other("it is a gzip file, which holds reports and cannot be unpacked"));
        }
        _ => unzip(archive, &mut target)?,
    }
    target.finish()
}

fn read_start(from: &mut File, to: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < to.len() {
        match from.read(&mut to[read..])? {
            0 => break,
            n => read += n,
        }
    }
    Ok(read)
}

/// What an archive says about an entry besides its content.
#[derive(Clone, Copy, Default)]
struct Attributes {
    mode: Option<u32>,
    modified: Option<SystemTime>,
    owner: Option<(u32, u32)>,
}

struct Target {
    /// Canonical.
    root: PathBuf,
    /// Directories below the root that were made or looked at: no link leads out of them. Holds as long as no link
    /// is made, which is why links come last.
    safe: HashSet<PathBuf>,
    directories: Vec<(PathBuf, Attributes)>,
    links: Vec<(PathBuf, PathBuf, Attributes)>,
    as_root: bool,
    bytes_left: u64,
}

impl Target {
    fn directory(&mut self, name: &Path, attributes: Attributes) -> io::Result<()> {
        let path = self.safe_directory(name)?;
        self.directories.push((path, attributes));
        Ok(())
    }

    fn file(&mut self, name: &Path, attributes: Attributes, content: &mut dyn Read) -> io::Result<()> {
        let path = self.place(name)?;
        clear_way(&path)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .map_err(super::about(name))?;
        let written =
            io::copy(&mut content.take(self.bytes_left + 1), &mut file).map_err(super::about(name))?;
        self.bytes_left = self
            .bytes_left
            .checked_sub(written)
            .ok_or_else(|| io::Error::other("it holds more than 1 TiB, which no cache or artifact should"))?;
        if let Some(owner) = attributes.owner.filter(|_| self.as_root) {
            own(&path, owner)?;
        }
        file.set_permissions(Permissions::from_mode(attributes.mode.unwrap_or(0o644) & 0o777))?;
        if let Some(time) = attributes.modified {
            file.set_modified(time)?;
        }
        Ok(())
    }

    fn link(&mut self, name: &Path, to: PathBuf, attributes: Attributes) -> io::Result<()> {
        let path = self.place(name)?;
        self.links.push((path, to, attributes));
        Ok(())
    }

    /// Links, then what directories look like, the deepest first.
    fn finish(mut self) -> io::Result<()> {
        for (path, to, attributes) in std::mem::take(&mut self.links) {
            // Two links of one archive: the first may have become the directory of the second.
            let inside = path
                .parent()
                .and_then(|parent| parent.canonicalize().ok())
                .is_some_and(|parent| parent.starts_with(&self.root));
            if !inside {
                return Err(leads_out(&path));
            }
            clear_way(&path)?;
            symlink(&to, &path).map_err(super::about(&path))?;
            if let Some(owner) = attributes.owner.filter(|_| self.as_root) {
                own(&path, owner)?;
            }
        }
        self.directories.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (path, attributes) in &self.directories {
            // A later entry may have taken the directory's place.
            if !fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
                continue;
            }
            if let Some(owner) = attributes.owner.filter(|_| self.as_root) {
                own(path, owner)?;
            }
            if let Some(mode) = attributes.mode {
                fs::set_permissions(path, Permissions::from_mode(mode & 0o777))?;
            }
            if let Some(time) = attributes.modified {
                // A directory that cannot be read cannot be opened; its time is not worth failing for.
                let _ = File::open(path).and_then(|dir| dir.set_modified(time));
            }
        }
        Ok(())
    }

    /// Where the entry goes; its directory is there and safe.
    fn place(&mut self, name: &Path) -> io::Result<PathBuf> {
        let last = name.file_name().ok_or_else(|| leads_out(name))?.to_owned();
        let parent = self.safe_directory(name.parent().unwrap_or(Path::new("")))?;
        Ok(parent.join(last))
    }

    /// Makes the directory `name` below the root. Links on the way that were there before are followed inside the root.
    fn safe_directory(&mut self, name: &Path) -> io::Result<PathBuf> {
        let mut path = self.root.clone();
        for component in name.components() {
            let Component::Normal(part) = component else { return Err(leads_out(name)) };
            path.push(part);
            if self.safe.contains(&path) {
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => {}
                Ok(meta) if meta.is_symlink() => {
                    let real = path.canonicalize().map_err(super::about(&path))?;
                    if !real.starts_with(&self.root) || !real.is_dir() {
                        return Err(leads_out(name));
                    }
                }
                Ok(_) => {
                    return Err(io::Error::other(format!(
                        "{}: a file is where the archive has a directory; remove the file",
                        path.display()
                    )));
                }
                Err(why) if why.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&path).map_err(super::about(&path))?;
                }
                Err(why) => return Err(super::about(&path)(why)),
            }
            self.safe.insert(path.clone());
        }
        Ok(path)
    }
}

fn leads_out(name: &Path) -> io::Error {
    io::Error::other(format!("the entry {:?} would be written outside the project directory", name.display()))
}

/// Removes a file or link of the entry's name; never what a link points to.
fn clear_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir(path).map_err(super::about(path)),
        Ok(_) => fs::remove_file(path).map_err(super::about(path)),
        Err(_) => Ok(()),
    }
}

fn own(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(super::about(path))
}

/// An entry's name as a path below the root: no `..`, not absolute, `.` left out.
fn name_of(bytes: &[u8]) -> io::Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(bytes));
    let mut name = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) if !part.as_bytes().contains(&0) => name.push(part),
            Component::CurDir => {}
            _ => return Err(leads_out(path)),
        }
    }
    Ok(name)
}

fn time_of(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn untar(archive: File, target: &mut Target) -> io::Result<()> {
    let mut tar = tar::Archive::new(zstd::Decoder::new(archive)?);
    for (count, entry) in tar.entries()?.enumerate() {
        let mut entry = entry?;
        too_many(count)?;
        let name = name_of(&entry.path_bytes())?;
        let header = entry.header();
        let attributes = Attributes {
            mode: header.mode().ok(),
            modified: header.mtime().ok().and_then(time_of),
            owner: match (header.uid(), header.gid()) {
                (Ok(uid), Ok(gid)) => u32::try_from(uid).ok().zip(u32::try_from(gid).ok()),
                _ => None,
            },
        };
        match header.entry_type() {
            kind if kind.is_dir() => target.directory(&name, attributes)?,
            kind if kind.is_symlink() => {
                let to =
                    entry.link_name_bytes().ok_or_else(|| io::Error::other("a link without a target"))?;
                let to = PathBuf::from(OsStr::from_bytes(&to));
                target.link(&name, to, attributes)?;
            }
            kind if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() => {
                target.file(&name, attributes, &mut entry)?;
            }
            kind if kind.is_pax_global_extensions() => {}
            _ => {
                return Err(io::Error::other(format!(
                    "the entry {:?} is neither a file, a directory nor a symbolic link",
                    name.display()
                )));
            }
        }
    }
    Ok(())
}

fn unzip(archive: File, target: &mut Target) -> io::Result<()> {
    let mut zip = zip::ZipArchive::new(BufReader::new(archive))?;
    too_many(zip.len())?;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index)?;
        let name = name_of(entry.name_raw())?;
        let attributes = attributes_of(&entry);
        if entry.is_dir() {
            target.directory(&name, attributes)?;
        } else if entry.is_symlink() {
            let mut to = Vec::new();
            (&mut entry).take(LONGEST_LINK).read_to_end(&mut to)?;
            if to.is_empty() || to.contains(&0) {
                return Err(io::Error::other(format!("the link {:?} has no target", name.display())));
            }
            target.link(&name, PathBuf::from(OsStr::from_bytes(&to)), attributes)?;
        } else {
            target.file(&name, attributes, &mut entry)?;
        }
    }
    Ok(())
}

fn attributes_of<R: Read + ?Sized>(entry: &zip::read::ZipFile<'_, R>) -> Attributes {
    let mut attributes = Attributes { mode: entry.unix_mode(), ..Attributes::default() };
    let extra = entry.extra_data().unwrap_or_default();
    let mut rest = extra.as_slice();
    while let [id0, id1, size0, size1, more @ ..] = rest {
        let size = usize::from(u16::from_le_bytes([*size0, *size1]));
        let Some((data, next)) = more.split_at_checked(size) else { break };
        match (u16::from_le_bytes([*id0, *id1]), data) {
            (0x7875, [1, 4, u0, u1, u2, u3, 4, g0, g1, g2, g3]) => {
                let uid = u32::from_le_bytes([*u0, *u1, *u2, *u3]);
                attributes.owner = Some((uid, u32::from_le_bytes([*g0, *g1, *g2, *g3])));
            }
            (0x5455, [flags, t0, t1, t2, t3, ..]) if flags & 1 == 1 => {
                attributes.modified = time_of(u32::from_le_bytes([*t0, *t1, *t2, *t3]).into());
            }
            _ => {}
        }
        rest = next;
    }
    attributes
}

fn too_many(count: usize) -> io::Result<()> {
    if count <= MOST_ENTRIES { Ok(()) } else { Err(io::Error::other("it has more than 10 million entries")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// An entry of a hostile archive: a path, and what is there.
    #[derive(Clone, Debug)]
    enum Hostile {
        File(String),
        Directory(String),
        Link(String, String),
    }

    fn entries() -> impl Strategy<Value = Vec<Hostile>> {
        let name = prop_oneof![
            "[ab](/[ab]){0,2}",
            "(\\.\\./){1,3}[ab]",
            "/tmp/harrier-escape",
            "[ab]/\\.\\./\\.\\./[ab]",
            "\\./[ab]",
        ];
        let target = prop_oneof![
            Just("..".to_owned()),
            Just("../outside".to_owned()),
            Just("../../outside".to_owned()),
            Just(".".to_owned()),
            "[ab](/[ab])?",
            Just("/".to_owned()),
        ];
        let entry = (name, target, 0..3u8).prop_map(|(name, target, kind)| match kind {
            0 => Hostile::File(name),
            1 => Hostile::Directory(name),
            _ => Hostile::Link(name, target),
        });
        prop::collection::vec(entry, 1..8)
    }

    fn zip_of(entries: &[Hostile]) -> File {
        let mut zip = zip::ZipWriter::new(tempfile::tempfile().expect("a temporary file"));
        let options = zip::write::SimpleFileOptions::default();
        for entry in entries {
            // A name twice is refused by the writer; the rest of the archive still tests something.
            let _ = match entry {
                Hostile::File(name) => {
                    zip.start_file(name, options).map(|()| zip.write_all(b"hostile").expect("written"))
                }
                Hostile::Directory(name) => zip.add_directory(name.as_str(), options),
                Hostile::Link(name, to) => zip.add_symlink(name, to, options),
            };
        }
        let mut file = zip.finish().expect("finished");
        file.rewind().expect("rewound");
        file
    }

    fn tar_of(entries: &[Hostile]) -> File {
        let mut tar = tar::Builder::new(
            zstd::Encoder::new(tempfile::tempfile().expect("a temporary file"), 1).expect("an encoder"),
        );
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            let (name, kind, size, to) = match entry {
                Hostile::File(name) => (name, tar::EntryType::Regular, 7, None),
                Hostile::Directory(name) => (name, tar::EntryType::Directory, 0, None),
                Hostile::Link(name, to) => (name, tar::EntryType::Symlink, 0, Some(to)),
            };
            // The library would not write such names; the bytes are put in place by hand.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if let Some(to) = to {
                header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
            }
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_cksum();
            tar.append(&header, &b"hostile"[..size as usize]).expect("appended");
        }
        let mut file = tar.into_inner().expect("whole").finish().expect("finished");
        file.rewind().expect("rewound");
        file
    }

    /// All paths below a directory with their content, links not followed.
    fn listing(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        walkdir::WalkDir::new(dir)
            .sort_by_file_name()
            .into_iter()
            .map(|entry| entry.expect("readable"))
            .map(|entry| (entry.path().to_owned(), fs::read(entry.path()).unwrap_or_default()))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Two archives one after the other, over a tree with links of its own: nothing outside changes.
        #[test]
        fn nothing_is_written_outside(first in entries(), second in entries(), tar in any::<bool>()) {
            let place = tempfile::tempdir().expect("a temporary directory");
            let outside = place.path().join("outside");
            let project = place.path().join("project");
            fs::create_dir_all(&outside).expect("made");
            fs::create_dir_all(project.join("real")).expect("made");
            fs::write(outside.join("a"), "kept").expect("written");
            symlink("../outside", project.join("b")).expect("linked");
            let before = listing(&outside);
            for entries in [&first, &second] {
                let archive = if tar { tar_of(entries) } else { zip_of(entries) };
                let _ = unpack(archive, &project);
            }
            prop_assert_eq!(listing(&outside), before);
            let names: Vec<_> = fs::read_dir(place.path()).expect("listed").flatten().map(|e| e.file_name()).collect();
            prop_assert_eq!(names.len(), 2, "{:?}", names);
            prop_assert!(!Path::new("/tmp/harrier-escape").exists());
        }

        #[test]
        fn rubbish_is_refused_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), zstd in any::<bool>()) {
            if zstd {
                bytes.splice(0..0, [0x28, 0xB5, 0x2F, 0xFD]);
            }
            let place = tempfile::tempdir().expect("a temporary directory");
            let mut file = tempfile::tempfile().expect("a temporary file");
            file.write_all(&bytes).expect("written");
            file.rewind().expect("rewound");
            let _ = unpack(file, place.path());
        }
    }

    #[test]
    fn links_inside_are_followed_links_outside_are_not() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let project = place.path().join("project");
        fs::create_dir_all(project.join("real")).expect("made");
        fs::create_dir_all(place.path().join("outside")).expect("made");
        symlink("real", project.join("in")).expect("linked");
        symlink("../outside", project.join("out")).expect("linked");
        unpack(zip_of(&[Hostile::File("in/x".into())]), &project).expect("inside is fine");
        assert!(project.join("real/x").is_file());
        let why = unpack(zip_of(&[Hostile::File("out/x".into())]), &project).expect_err("outside is not");
        assert!(why.to_string().contains("outside the project directory"), "{why}");
        // A link may point anywhere (a Python environment's do); it is only never written through.
        let links = [Hostile::Link("venv/python".into(), "/usr/bin/python3".into())];
        unpack(zip_of(&links), &project).expect("a link is fine");
        assert_eq!(
            fs::read_link(project.join("venv/python")).expect("a link"),
            Path::new("/usr/bin/python3")
        );
    }

    #[test]
    fn the_format_is_told_by_the_first_bytes() {
        let place = tempfile::tempdir().expect("a temporary directory");
        for archive in [zip_of(&[Hostile::File("z".into())]), tar_of(&[Hostile::File("t".into())])] {
            unpack(archive, place.path()).expect("unpacked");
        }
        assert!(place.path().join("z").is_file() && place.path().join("t").is_file());
        let mut gzip = tempfile::tempfile().expect("a temporary file");
        gzip.write_all(&[0x1F, 0x8B, 8, 0]).expect("written");
        let why = unpack(gzip, place.path()).expect_err("not an archive");
        assert!(why.to_string().contains("gzip"), "{why}");
    }
}
