//! Throw-away bare repositories, made by git's plumbing in a few milliseconds.
//!
//! Called by tests and the bench. It must never have a working tree or read the user's git configuration.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A bare repository that is gone when this is dropped.
#[derive(Debug)]
pub struct Repo {
    dir: TempDir,
}

/// One file of a commit.
#[derive(Clone, Debug)]
pub struct RepoFile {
    /// Path in the tree.
    pub path: String,
    /// Git's mode: `100644`, `100755`, `120000` (content is the link's target) or `160000` (content is a commit).
    pub mode: &'static str,
    /// Bytes.
    pub content: Vec<u8>,
}

impl RepoFile {
    /// A plain file.
    pub fn new(path: &str, content: &str) -> RepoFile {
        RepoFile { path: path.into(), mode: "100644", content: content.into() }
    }

    /// A file that may be run.
    pub fn executable(path: &str, content: &str) -> RepoFile {
        RepoFile { mode: "100755", ..RepoFile::new(path, content) }
    }
}

/// Author of all commits, at one fixed time.
const WHO: &str = "Harrier Test <test@harrier.invalid> 1700000000 +0000";

impl Repo {
    /// An empty repository whose default branch is `main`.
    ///
    /// # Panics
    /// When git is missing or fails: no test can go on without it.
    #[track_caller]
    pub fn new() -> Repo {
        let dir = TempDir::with_prefix("repo").expect("a temporary directory can be made");
        let repo = Repo { dir };
        repo.git(&["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."], b"");
        repo
    }

    /// A repository with one commit on `main`.
    #[track_caller]
    pub fn with_files(files: &[(&str, &str)]) -> Repo {
        let repo = Repo::new();
        let files: Vec<RepoFile> = files.iter().map(|(path, content)| RepoFile::new(path, content)).collect();
        repo.commit("main", &files, "First");
        repo
    }

    /// Commits these files on top of a branch, others stay as they are; the new commit.
    #[track_caller]
    pub fn commit(&self, branch: &str, files: &[RepoFile], message: &str) -> String {
        let parent = self.tip(branch);
        let mut stream = format!(
            "commit refs/heads/{branch}\nauthor {WHO}\ncommitter {WHO}\ndata {}\n{message}\n",
            message.len()
        )
        .into_bytes();
        if let Some(parent) = &parent {
            stream.extend_from_slice(format!("from {parent}\n").as_bytes());
        }
        for file in files {
            if file.mode == "160000" {
                let commit = String::from_utf8_lossy(&file.content);
                stream.extend_from_slice(format!("M 160000 {commit} {}\n", file.path).as_bytes());
                continue;
            }
            let head = format!("M {} inline {}\ndata {}\n", file.mode, file.path, file.content.len());
            stream.extend_from_slice(head.as_bytes());
            stream.extend_from_slice(&file.content);
            stream.push(b'\n');
        }
        self.git(&["fast-import", "--quiet"], &stream);
        self.tip(branch).unwrap_or_else(|| panic!("git fast-import left no branch {branch}"))
    }

    /// The commit at the tip of a branch.
    pub fn tip(&self, branch: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.git_dir().join("refs/heads").join(branch)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The bare repository's directory.
    pub fn git_dir(&self) -> &Path {
        self.dir.path()
    }

    #[track_caller]
    fn git(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(self.git_dir())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env_remove("GIT_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git is installed; it is needed to build and to test");
        let mut stdin = child.stdin.take().expect("stdin was asked for");
        // A git that ends early says why on stderr.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().expect("a started git can be waited for");
        assert!(
            output.status.success(),
            "git {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }
}

impl Default for Repo {
    #[track_caller]
    fn default() -> Repo {
        Repo::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_build_on_each_other() {
        let repo = Repo::with_files(&[("a", "1\n"), ("dir/b", "2\n")]);
        let first = repo.tip("main").expect("one commit");
        let second = repo.commit("main", &[RepoFile::executable("run.sh", "echo\n")], "Second");
        assert_ne!(first, second);
        let listed = repo.git(&["ls-tree", "-r", "main"], b"");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let modes: Vec<&str> = text.lines().map(|line| &line[..6]).collect();
        assert_eq!(modes, ["100644", "100644", "100755"], "{text}");
        let parent = repo.git(&["rev-parse", "main^"], b"");
        assert_eq!(String::from_utf8_lossy(&parent.stdout).trim(), first);
    }
}
