//! Files that a killed git leaves behind and that would stop the next one (`executors.md` §4.2).

use crate::failure::Failure;
use crate::tree;
use std::io::Read;
use std::path::Path;

const LOCKS: [&str; 5] = ["index.lock", "shallow.lock", "HEAD.lock", "config.lock", "hooks/post-checkout"];

/// Removes stale locks of the repository below `project`, with `modules` those of its submodules; with `config`
/// the repository's configuration and hooks too.
pub(crate) fn clean(project: &Path, config: bool, modules: bool) -> Result<(), Failure> {
    let git = project.join(".git");
    if !git.is_dir() {
        return Ok(());
    }
    clean_repository(&git, config)?;
    let below = git.join("modules");
    if modules && below.is_dir() {
        for entry in walkdir::WalkDir::new(&below).into_iter().flatten() {
            // A directory with objects is a repository of a submodule, however deep.
            if entry.file_type().is_dir() && entry.path().join("objects").is_dir() {
                clean_repository(entry.path(), config)?;
            }
        }
    }
    Ok(())
}

/// What is neither a file nor a directory where git keeps small files: git would wait for ever at a pipe, and follow a
/// link to another place. A job has put it there; git makes none.
fn remove_strange(git: &Path) -> Result<(), Failure> {
    for (dir, depth) in
        [("", 1), ("info", 1), ("objects/info", 1), ("logs", usize::MAX), ("refs", usize::MAX)]
    {
        for entry in walkdir::WalkDir::new(git.join(dir)).min_depth(1).max_depth(depth).into_iter().flatten()
        {
            if !entry.file_type().is_file() && !entry.file_type().is_dir() {
                tree::remove_file(entry.path())?;
            }
        }
    }
    // An index that is none stops git at once; without one git makes it anew.
    let index = git.join("index");
    let mut signature = [0; 4];
    let read = std::fs::File::open(&index).and_then(|mut file| file.read_exact(&mut signature));
    match read {
        Ok(()) if signature == *b"DIRC" => Ok(()),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => tree::remove(&index),
    }
}

fn clean_repository(git: &Path, config: bool) -> Result<(), Failure> {
    remove_strange(git)?;
    for name in LOCKS {
        tree::remove_file(&git.join(name))?;
    }
    for entry in walkdir::WalkDir::new(git.join("refs")).into_iter().flatten() {
        if entry.file_type().is_file() && entry.path().extension().is_some_and(|end| end == "lock") {
            tree::remove_file(entry.path())?;
        }
    }
    if config {
        tree::remove_file(&git.join("config"))?;
        tree::remove(&git.join("hooks"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_locks_go() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let git = place.path().join(".git");
        let module = git.join("modules/a/b");
        for dir in
            [git.join("refs/heads"), git.join("hooks"), module.join("refs/tags"), module.join("objects")]
        {
            std::fs::create_dir_all(dir).expect("made");
        }
        let stale = [
            git.join("index.lock"),
            git.join("refs/heads/main.lock"),
            git.join("hooks/post-checkout"),
            module.join("shallow.lock"),
            module.join("refs/tags/v1.lock"),
        ];
        let kept =
            [git.join("index"), git.join("refs/heads/main"), git.join("config"), module.join("config")];
        for file in stale.iter().chain(&kept) {
            std::fs::write(file, "DIRC").expect("written");
        }
        clean(place.path(), false, true).expect("cleaned");
        assert!(stale.iter().all(|file| !file.exists()));
        assert!(kept.iter().all(|file| file.exists()));
        clean(place.path(), true, true).expect("cleaned");
        assert!(
            !git.join("config").exists() && !git.join("hooks").exists() && !module.join("config").exists()
        );
        assert!(kept[1].exists());
    }
}
