//! Making, writing and removing files and directories of a job. Called by the operations. It must never follow a
//! symbolic link when it removes.

use crate::failure::Failure;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;

/// Makes a directory and its parents.
pub(crate) fn dir(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(Failure::io("create the directory", path))
}

/// Makes a directory with this mode (usually for the job's user alone); its parents are ordinary.
pub(crate) fn private_dir(path: &Path, mode: u32) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        dir(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(Failure::io("create the directory", path)),
    }
}

/// Replaces a file's content; `mode` is set before the first byte is in it. An old file or link of that name is removed.
pub(crate) fn write_private(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    remove_file(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(Failure::io("create the file", path))?;
    file.write_all(content).map_err(Failure::io("write", path))
}

/// What root has put into a directory of another user becomes that user's, as `path`, all below it and all between
/// the two: a local run's artifacts and caches are written by a container's root, and the user must be able to remove
/// them. It never follows a link.
pub(crate) fn hand_over(dir: &Path, path: &Path) -> Result<(), Failure> {
    let Ok(owner) = fs::metadata(dir) else { return Ok(()) };
    if owner.uid() == 0 || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let give = |path: &Path| {
        lchown(path, Some(owner.uid()), Some(owner.gid())).map_err(Failure::io("change the owner of", path))
    };
    for between in path.ancestors().skip(1).take_while(|above| *above != dir && above.starts_with(dir)) {
        give(between)?;
    }
    for entry in walkdir::WalkDir::new(path).into_iter().flatten() {
        give(entry.path())?;
    }
    Ok(())
}

/// The first thing on the way from `root` down to `path` that is no directory: a link that an earlier job has left there would
/// lead whoever works in `path` to another place. `root` itself may be a link: it is the machine's owner who chose it.
pub(crate) fn astray<'a>(root: &Path, path: &'a Path) -> Option<&'a Path> {
    let mut way: Vec<&Path> =
        path.ancestors().take_while(|above| *above != root && above.starts_with(root)).collect();
    way.reverse();
    way.into_iter().find(|step| fs::symlink_metadata(step).is_ok_and(|meta| !meta.is_dir()))
}

/// The nearest directory above `path` that is there.
pub(crate) fn standing_above(path: &Path) -> &Path {
    path.ancestors().skip(1).find(|above| above.is_dir()).unwrap_or(Path::new("/"))
}

/// Removes a file or link; nothing there is fine.
pub(crate) fn remove_file(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(why) if !is_absent(&why) => Err(Failure::io("remove the file", path)(why)),
        _ => Ok(()),
    }
}

/// Removes whatever is at `path`, trees whose directories are not writable included; nothing there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    let removed = match fs::symlink_metadata(path) {
        Err(why) if is_absent(&why) => return Ok(()),
        Err(why) => Err(why),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).or_else(|why| match why.kind() {
            io::ErrorKind::PermissionDenied => {
                open_up(path);
                fs::remove_dir_all(path)
            }
            _ => Err(why),
        }),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(why) if !is_absent(&why) => Err(Failure::io("remove", path)(why)),
        _ => Ok(()),
    }
}

/// Removes what is in a directory, not the directory itself; makes it when it is not there.
pub(crate) fn empty_dir(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {
            for entry in fs::read_dir(path).map_err(Failure::io("list", path))? {
                remove(&entry.map_err(Failure::io("list", path))?.path())?;
            }
            Ok(())
        }
        Ok(_) => remove(path).and_then(|()| dir(path)),
        Err(_) => dir(path),
    }
}

/// Whether nothing is in the directory, or there is no directory.
pub(crate) fn is_empty(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(why) => is_absent(&why),
    }
}

/// Some tools (Go's module cache) leave directories without write permission, in which nothing can be removed.
fn open_up(path: &Path) {
    for entry in walkdir::WalkDir::new(path).into_iter().flatten() {
        if entry.file_type().is_dir() {
            let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
        }
    }
}

fn is_absent(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_links_not_their_targets() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (keep, tree) = (place.path().join("keep"), place.path().join("tree"));
        fs::create_dir_all(&keep).expect("made");
        fs::write(keep.join("f"), "x").expect("written");
        fs::create_dir_all(tree.join("sub")).expect("made");
        std::os::unix::fs::symlink(&keep, tree.join("sub/link")).expect("linked");
        fs::set_permissions(tree.join("sub"), Permissions::from_mode(0o500)).expect("set");
        empty_dir(&tree).expect("emptied");
        assert!(is_empty(&tree) && tree.is_dir());
        assert!(keep.join("f").exists());
        remove(&tree.join("nothing")).expect("nothing there is fine");
    }

    #[test]
    fn a_private_file_replaces_a_link() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (target, path) = (place.path().join("target"), place.path().join("file"));
        fs::write(&target, "old").expect("written");
        std::os::unix::fs::symlink(&target, &path).expect("linked");
        write_private(&path, b"new", 0o600).expect("written");
        assert_eq!(fs::read(&target).expect("read"), b"old");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
    }
}
