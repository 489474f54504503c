//! A commit of the work tree as it is, dirty or not, in a repository of its own: what the jobs of a local run check
//! out. Tracked and untracked-not-ignored files are in it, deletions are respected. Called by the local host
//! once a run. It must never touch the user's index, work tree, objects or refs: objects go to the snapshot repository, which
//! borrows the user's, and the index is a copy.
//!
//! Not done: content of submodules and of LFS files is not taken along, only their pointers.

use crate::git::{Git, GitError};
use crate::repository::{GitFacts, Person, Repository};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file of the snapshot repository.
    #[error("{}: {source}; the snapshot of the work tree needs to write there", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Of the operating system.
        source: io::Error,
    },
    /// git could not read the work tree.
    #[error("no snapshot of the work tree could be taken: {0}")]
    Git(#[from] GitError),
}

/// What the jobs check out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Bare repository that has it.
    pub repository: PathBuf,
    /// The commit: HEAD itself if the tree is clean.
    pub sha: String,
    /// The tree differs from HEAD's.
    pub dirty: bool,
}

/// A work tree being read, side by side with other questions to git.
pub struct Staged {
    repository: PathBuf,
    tree: String,
}

/// Reads the work tree into the repository `at`, which is made if it is not there.
pub fn stage(repo: &Repository, at: &Path) -> Result<Staged, SnapshotError> {
    make_repository(repo, at)?;
    let index = at.join("index");
    copy_index(&repo.git_dir.join("index"), &index)?;
    // A stale lock can only be of a run that was killed: runs in one repository exclude each other.
    remove_if_there(&at.join("index.lock"))?;
    let git = |what| {
        Git::new(&repo.root, what)
            .env("GIT_INDEX_FILE", &index)
            .env("GIT_OBJECT_DIRECTORY", at.join("objects"))
    };
    git("add")
        .set("core.splitIndex=false")
        .set("core.safecrlf=false")
        .set("advice.addEmbeddedRepo=false")
        .set("core.fsync=none")
        .ask(["-A"])?;
    let tree = git("write-tree").set("core.fsync=none").text::<&str>([])?;
    Ok(Staged { repository: at.to_owned(), tree })
}

impl Staged {
    /// Makes the commit. It bears HEAD's author, dates and message, so that equal trees give equal commits and
    /// scripts that read the log see what `CI_COMMIT_MESSAGE` says.
    pub fn commit(self, repo: &Repository, facts: &GitFacts) -> Result<Snapshot, SnapshotError> {
        let Self { repository, tree } = self;
        if let Some(head) = &facts.commit
            && head.tree == tree
        {
            let snapshot = Snapshot { repository, sha: head.sha.clone(), dirty: false };
            snapshot.own_commit(repo)?;
            snapshot.publish(facts)?;
            return Ok(snapshot);
        }
        let nobody = Person {
            name: facts.user_name.clone().unwrap_or_default(),
            email: facts.user_email.clone().unwrap_or_default(),
            date: "0 +0000".to_owned(),
        };
        let (author, committer, message) = match &facts.commit {
            Some(commit) => (&commit.author, &commit.committer, commit.message.as_str()),
            None => (&nobody, &nobody, "Work tree without a commit"),
        };
        let mut git = Git::new(&repo.root, "commit-tree")
            .set("core.fsync=none")
            .set("commit.gpgSign=false")
            .env("GIT_OBJECT_DIRECTORY", repository.join("objects"))
            .input(message.as_bytes());
        for (role, person) in [("AUTHOR", author), ("COMMITTER", committer)] {
            let or_unknown =
                |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
            git = git
                .env(&format!("GIT_{role}_NAME"), or_unknown(&person.name))
                .env(&format!("GIT_{role}_EMAIL"), or_unknown(&person.email))
                .env(&format!("GIT_{role}_DATE"), format!("@{}", person.date));
        }
        let mut args = vec![tree, "-F".to_owned(), "-".to_owned()];
        if let Some(commit) = &facts.commit {
            args.extend(["-p".to_owned(), commit.sha.clone()]);
        }
        let snapshot = Snapshot { sha: git.text(args)?, repository, dirty: true };
        snapshot.publish(facts)?;
        Ok(snapshot)
    }
}

impl Snapshot {
    /// Puts HEAD's commit object beside the snapshots: who gets sources from a neighbour without `git fetch` looks for
    /// the commit itself there. Trees and files stay borrowed.
    fn own_commit(&self, repo: &Repository) -> Result<(), SnapshotError> {
        let (Some(fan), Some(rest)) = (self.sha.get(..2), self.sha.get(2..)) else { return Ok(()) };
        let place = Path::new("objects").join(fan).join(rest);
        let own = self.repository.join(&place);
        if own.is_file() {
            return Ok(());
        }
        make_dir(&self.repository.join("objects").join(fan))?;
        let fresh = own.with_extension("new");
        if fs::copy(repo.common_dir.join(&place), &fresh).is_err() {
            // It is in a pack.
            let content = Git::new(&repo.root, "cat-file").ask(["commit", &self.sha])?.unwrap_or_default();
            let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            let written = write!(packed, "commit {}\0", content.len())
                .and_then(|()| packed.write_all(&content))
                .and_then(|()| packed.finish())
                .and_then(|bytes| fs::write(&fresh, bytes));
            written.map_err(|source| SnapshotError::Write { path: fresh.clone(), source })?;
        }
        fs::rename(&fresh, &own).map_err(|source| SnapshotError::Write { path: own, source })
    }

    /// Names the commit in the snapshot repository as the branch or tag it stands for, so that it can be fetched.
    fn publish(&self, facts: &GitFacts) -> Result<(), SnapshotError> {
        let refs = self.repository.join("refs");
        for kind in ["heads", "tags"] {
            let dir = refs.join(kind);
            match fs::remove_dir_all(&dir) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(SnapshotError::Write { path: dir, source });
                }
                _ => make_dir(&dir)?,
            }
        }
        let name = refs.join(self.ref_path(facts).trim_start_matches("refs/"));
        if let Some(parent) = name.parent() {
            make_dir(parent)?;
        }
        write(&name, format!("{}\n", self.sha).as_bytes())
    }

    /// The full ref of the commit in the snapshot repository.
    pub fn ref_path(&self, facts: &GitFacts) -> String {
        let kind = if facts.head.tag().is_some() { "tags" } else { "heads" };
        format!("refs/{kind}/{}", facts.head.ref_name())
    }
}

fn make_repository(repo: &Repository, at: &Path) -> Result<(), SnapshotError> {
    for dir in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        make_dir(&at.join(dir))?;
    }
    let objects = repo.common_dir.join("objects");
    let objects = objects.canonicalize().unwrap_or(objects);
    write(&at.join("objects/info/alternates"), format!("{}\n", objects.display()).as_bytes())?;
    let config = at.join("config");
    if !config.exists() {
        let sha256 = fs::read_to_string(repo.common_dir.join("config"))
            .is_ok_and(|text| text.to_ascii_lowercase().replace(' ', "").contains("objectformat=sha256"));
        let text = if sha256 {
            "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
        } else {
            "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
        };
        write(&config, text.as_bytes())?;
        write(&at.join("HEAD"), b"ref: refs/heads/main\n")?;
    }
    // A shallow clone's history ends where the user's does.
    let shallow = repo.common_dir.join("shallow");
    match fs::read(&shallow) {
        Ok(bytes) => write(&at.join("shallow"), &bytes),
        Err(_) => remove_if_there(&at.join("shallow")),
    }
}

/// Copies the index with its time: git takes entries as new as the index for possibly changed, and a newer copy would
/// hide a change made in the same tick of the clock.
fn copy_index(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::Write { path: to.to_owned(), source };
    match fs::copy(from, to) {
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::NotFound => return remove_if_there(to),
        Err(source) => return Err(failed(source)),
    }
    let modified = fs::metadata(from).and_then(|m| m.modified()).map_err(failed)?;
    fs::File::options().write(true).open(to).and_then(|f| f.set_modified(modified)).map_err(failed)
}

fn make_dir(path: &Path) -> Result<(), SnapshotError> {
    fs::create_dir_all(path).map_err(|source| SnapshotError::Write { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SnapshotError> {
    fs::write(path, bytes).map_err(|source| SnapshotError::Write { path: path.to_owned(), source })
}

fn remove_if_there(path: &Path) -> Result<(), SnapshotError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(SnapshotError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
