//! What the API shows of a repository (trees, files, comparisons, archives), and branches and tags that it makes and removes. Called
//! by the handlers in `rest`, on threads that may wait. No path or name that came with a request is ever an option of git's.

use crate::git_http::git as serving_git;
use crate::repository::{Commit, GitError, Repository, git, output};
use axum::body::Body;
use std::io::Read as _;
use std::process::Stdio;
use tokio_util::io::ReaderStream;

/// Most bytes of patches in one answer.
const PATCHES: u64 = 8 << 20;
/// Most files of a comparison.
const MOST_FILES: usize = 1000;
/// Most commits of a comparison.
const MOST_COMMITS: usize = 1000;

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub mode: String,
    /// `blob`, `tree`, `commit`.
    pub kind: String,
    pub id: String,
    /// From the root.
    pub path: String,
}

/// A file, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub blob: String,
    pub size: u64,
    pub executable: bool,
    /// The newest commit that changed it.
    pub last_commit: String,
}

/// Id, kind and bytes of an object.
type ObjectFacts = (String, String, u64);

/// What became of one file between two commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileChange {
    pub old_path: String,
    pub new_path: String,
    pub old_mode: String,
    pub new_mode: String,
    /// git's letter.
    pub letter: char,
    /// From the first `@@` on; empty for what is no text.
    pub patch: String,
    /// There is a patch, but it was too long.
    pub too_long: bool,
}

/// Which commits a list holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogFilter {
    pub path: Option<String>,
    /// ISO 8601.
    pub since: Option<String>,
    pub until: Option<String>,
    pub first_parent: bool,
    /// Of every branch and tag.
    pub all: bool,
}

/// What the last part of an archive's address is, git's name of its format, and its content type.
pub(crate) const ARCHIVES: [(&str, &str, &str); 5] = [
    ("archive", "tar.gz", "application/gzip"),
    ("archive.tar.gz", "tar.gz", "application/gzip"),
    ("archive.tgz", "tar.gz", "application/gzip"),
    ("archive.tar", "tar", "application/x-tar"),
    ("archive.zip", "zip", "application/zip"),
];

/// Whether text can be the name of a commit; git's words for searches are none.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 512
        && !name.starts_with('-')
        && !name.chars().any(|c| c.is_control() || matches!(c, ':' | '{' | ' ' | '?' | '*' | '[' | '\\'))
}

impl Repository {
    /// The commit of a branch, a tag or a hash, in this order; `None`: there is none.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Commit>, GitError> {
        if !is_name(name) {
            return Ok(None);
        }
        let names = [format!("refs/heads/{name}"), format!("refs/tags/{name}"), name.to_owned()];
        match self.first_commit(&names)? {
            Some(sha) => Ok(self.commit_with_files(&sha, &[])?.map(|(commit, _)| commit)),
            None => Ok(None),
        }
    }

    /// What a directory of a commit holds; `None`: there is no such directory.
    pub(crate) fn list_tree(
        &self,
        sha: &str,
        path: &str,
        recursive: bool,
    ) -> Result<Option<Vec<TreeEntry>>, GitError> {
        let path = path.trim_matches('/');
        let name = format!("{sha}:{path}");
        if self
            .sizes(std::slice::from_ref(&name))?
            .first()
            .and_then(Option::as_ref)
            .is_none_or(|o| o.1 != "tree")
        {
            return Ok(None);
        }
        let mut args = vec!["-z"];
        if recursive {
            args.extend(["-r", "-t"]);
        }
        args.push(&name);
        let bytes = self.ask("ls-tree", &args, b"")?;
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let entry = |line: &[u8]| {
            let line = String::from_utf8_lossy(line);
            let (head, name) = line.split_once('\t')?;
            let mut words = head.split(' ');
            let (mode, kind, id) = (words.next()?, words.next()?, words.next()?);
            Some(TreeEntry {
                mode: mode.to_owned(),
                kind: kind.to_owned(),
                id: id.to_owned(),
                path: format!("{below}{name}"),
            })
        };
        Ok(Some(bytes.split(|b| *b == 0).filter_map(entry).collect()))
    }

    /// Id, kind and bytes of objects by name, without reading them; `None` for what is not there.
    fn sizes(&self, names: &[String]) -> Result<Vec<Option<ObjectFacts>>, GitError> {
        let input: String = names.iter().map(|name| format!("{}\n", name.replace('\n', " "))).collect();
        let bytes = self.ask("cat-file", &["--batch-check"], input.as_bytes())?;
        let text = String::from_utf8_lossy(&bytes);
        let object = |line: &str| {
            let mut words = line.rsplitn(3, ' ');
            let (size, kind, id) = (words.next()?, words.next()?, words.next()?);
            Some((id.to_owned(), kind.to_owned(), size.parse().ok()?))
        };
        Ok(text.lines().map(object).collect())
    }

    /// A file of a commit; `None`: there is none.
    pub(crate) fn file(&self, sha: &str, path: &str) -> Result<Option<FileFacts>, GitError> {
        let found = self.sizes(&[format!("{sha}:{path}")])?.into_iter().next().flatten();
        let Some((blob, _, size)) = found.filter(|(_, kind, _)| kind == "blob") else { return Ok(None) };
        let listed = self.ask("ls-tree", &["-z", "--full-tree", sha, "--", path], b"")?;
        let last = self.ask("rev-list", &["-1", sha, "--", path], b"")?;
        Ok(Some(FileFacts {
            blob,
            size,
            executable: listed.starts_with(b"100755"),
            last_commit: String::from_utf8_lossy(&last).trim().to_owned(),
        }))
    }

    /// Whether an id is one of a blob.
    pub(crate) fn is_blob(&self, id: &str) -> Result<bool, GitError> {
        let found = self.sizes(&[id.to_owned()])?.into_iter().next().flatten();
        Ok(found.is_some_and(|(_, kind, _)| kind == "blob"))
    }

    /// The content of a blob.
    pub(crate) fn blob(&self, id: &str) -> Result<Vec<u8>, GitError> {
        self.ask("cat-file", &["blob", id], b"")
    }

    /// The content of a blob as it comes.
    pub(crate) fn stream_blob(&self, id: &str) -> Result<Body, GitError> {
        self.stream(&["cat-file", "blob", id])
    }

    /// An archive of a commit, or of one directory of it, as it comes. `format`: `tar`, `tar.gz` or `zip`.
    pub(crate) fn stream_archive(
        &self,
        sha: &str,
        path: Option<&str>,
        format: &str,
        prefix: &str,
    ) -> Result<Body, GitError> {
        let (format, prefix) = (format!("--format={format}"), format!("--prefix={prefix}/"));
        let mut args = vec!["archive", &format, &prefix, sha];
        if let Some(path) = path {
            args.extend(["--", path]);
        }
        self.stream(&args)
    }

    fn stream(&self, args: &[&str]) -> Result<Body, GitError> {
        let mut command = serving_git(self.dir());
        command.args(args).env("GIT_LITERAL_PATHSPECS", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| GitError::Start { source })?;
        let Some(out) = child.stdout.take() else {
            return Err(GitError::Start { source: std::io::Error::other("it has no pipe") });
        };
        // git ends with the answer: whoever goes away early does not leave it behind.
        let pieces = futures_util::StreamExt::map(ReaderStream::with_capacity(out, 64 << 10), move |piece| {
            let _ = &child;
            piece
        });
        Ok(Body::from_stream(pieces))
    }

    /// What git prints, up to a number of bytes, and whether that was all.
    fn ask_some(&self, args: &[&str], most: u64) -> Result<(Vec<u8>, bool), GitError> {
        let mut command = git();
        command.arg("--git-dir").arg(self.dir()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| GitError::Start { source })?;
        let mut bytes = Vec::new();
        if let Some(out) = child.stdout.take() {
            // A pipe that breaks has given what there was.
            let _ = out.take(most + 1).read_to_end(&mut bytes);
        }
        let whole = bytes.len() as u64 <= most;
        if !whole {
            // It may have ended by itself.
            let _ = child.kill();
            bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
        child.wait().map_err(|source| GitError::Start { source })?;
        Ok((bytes, whole))
    }

    /// What changed between two commits; with one, what it changed.
    pub(crate) fn changes(&self, from: Option<&str>, to: &str) -> Result<Vec<FileChange>, GitError> {
        let mut args =
            vec!["diff-tree", "-r", "-M", "--root", "--no-commit-id", "--no-color", "--no-ext-diff"];
        let ends: Vec<&str> = from.into_iter().chain([to]).collect();
        args.extend(["--raw", "-z", "--no-abbrev"]);
        let (raw, _) = self.ask_some(&[args.as_slice(), &ends].concat(), PATCHES)?;
        let mut changes = read_raw(&raw);
        changes.truncate(MOST_FILES);
        args.truncate(args.len() - 3);
        args.extend(["-p", "--full-index"]);
        let (text, whole) = self.ask_some(&[args.as_slice(), &ends].concat(), PATCHES)?;
        put_patches(&mut changes, &String::from_utf8_lossy(&text), whole);
        Ok(changes)
    }

    /// The newest commit that both come from.
    pub(crate) fn merge_base(&self, one: &str, other: &str) -> Result<Option<String>, GitError> {
        match self.ask("merge-base", &[one, other], b"") {
            Ok(bytes) => {
                Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|sha| !sha.is_empty()))
            }
            Err(GitError::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Commits of one that another lacks, oldest first.
    pub(crate) fn commits_between(&self, from: &str, to: &str) -> Result<Vec<Commit>, GitError> {
        let count = format!("--max-count={MOST_COMMITS}");
        let not = format!("^{from}");
        let bytes = self.ask("rev-list", &[&count, "--reverse", to, &not, "--"], b"")?;
        let names: Vec<String> = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
        self.commits(&names)
    }

    /// Commits of a list, and how many it has: `count` of them after `skip`.
    pub(crate) fn history(
        &self,
        tip: &str,
        filter: &LogFilter,
        skip: usize,
        count: usize,
    ) -> Result<(Vec<Commit>, usize), GitError> {
        let mut args: Vec<String> = Vec::new();
        args.extend(filter.since.iter().map(|at| format!("--since={at}")));
        args.extend(filter.until.iter().map(|at| format!("--until={at}")));
        if filter.first_parent {
            args.push("--first-parent".to_owned());
        }
        match filter.all {
            true => args.extend(["--branches".to_owned(), "--tags".to_owned()]),
            false => args.push(tip.to_owned()),
        }
        args.push("--".to_owned());
        args.extend(filter.path.iter().cloned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let bytes = self.ask("rev-list", &args, b"")?;
        let all = String::from_utf8_lossy(&bytes);
        let total = all.lines().count();
        let names: Vec<String> = all.lines().skip(skip).take(count).map(str::to_owned).collect();
        Ok((self.commits(&names)?, total))
    }

    /// Branches whose commits another commit has already.
    pub(crate) fn merged_into(&self, sha: &str) -> Result<Vec<String>, GitError> {
        let merged = format!("--merged={sha}");
        let bytes = self.ask("for-each-ref", &[&merged, "--format=%(refname)", "refs/heads"], b"")?;
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    /// Branches and tags that have a commit.
    pub(crate) fn refs_with(&self, sha: &str) -> Result<Vec<String>, GitError> {
        let contains = format!("--contains={sha}");
        let args = [contains.as_str(), "--format=%(refname)", "refs/heads", "refs/tags"];
        let bytes = self.ask("for-each-ref", &args, b"")?;
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    /// Makes a branch or a tag where there was none. `name`: `refs/…`. False: git does not take the name, or it is there.
    pub(crate) fn make_ref(&self, name: &str, sha: &str) -> Result<bool, GitError> {
        if self.ask("check-ref-format", &[name], b"").is_err() {
            return Ok(false);
        }
        let none = "0".repeat(sha.len());
        answered(self.ask("update-ref", &[name, sha, &none], b""))
    }

    /// Makes a tag with a message, by a person. False: as with [`Self::make_ref`].
    pub(crate) fn make_tag(
        &self,
        name: &str,
        sha: &str,
        message: &str,
        by: (&str, &str),
    ) -> Result<bool, GitError> {
        if name.starts_with('-')
            || self.ask("check-ref-format", &[&format!("refs/tags/{name}")], b"").is_err()
        {
            return Ok(false);
        }
        let plain = |text: &str| text.replace(['<', '>', '\n'], " ");
        let mut command = git();
        command.arg("--git-dir").arg(self.dir()).args(["tag", "-a", "-F", "-", name, sha]);
        command.env("GIT_COMMITTER_NAME", plain(by.0)).env("GIT_COMMITTER_EMAIL", plain(by.1));
        let message = if message.trim().is_empty() { name } else { message };
        answered(output(command, "tag", message.as_bytes()))
    }

    /// Removes a ref. False: it is not there.
    pub(crate) fn remove_ref(&self, name: &str) -> Result<bool, GitError> {
        if !self.has_ref(name) {
            return Ok(false);
        }
        answered(self.ask("update-ref", &["-d", name], b""))
    }
}

/// Whether git did it; that it would not is an answer too.
fn answered(outcome: Result<Vec<u8>, GitError>) -> Result<bool, GitError> {
    match outcome {
        Ok(_) => Ok(true),
        Err(GitError::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `:100644 100644 <id> <id> M\0path\0`, with two paths where one was moved.
fn read_raw(bytes: &[u8]) -> Vec<FileChange> {
    let mut parts = bytes.split(|b| *b == 0).map(|part| String::from_utf8_lossy(part).into_owned());
    let mut changes = Vec::new();
    while let Some(head) = parts.next() {
        let mut words = head.trim_start_matches(':').split(' ');
        let (Some(old_mode), Some(new_mode)) = (words.next(), words.next()) else { break };
        let Some(letter) = words.nth(2).and_then(|word| word.chars().next()) else { break };
        let Some(old_path) = parts.next() else { break };
        let new_path = match letter {
            'R' | 'C' => parts.next().unwrap_or_default(),
            _ => old_path.clone(),
        };
        let (old_mode, new_mode) = (old_mode.to_owned(), new_mode.to_owned());
        changes.push(FileChange { old_path, new_path, old_mode, new_mode, letter, ..FileChange::default() });
    }
    changes
}

/// Gives each change its patch: they come in the same order.
fn put_patches(changes: &mut [FileChange], text: &str, whole: bool) {
    let mut pieces: Vec<&str> = Vec::new();
    let mut begin = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        // A line of a file's content has a sign before it.
        if line.starts_with("diff --git ") {
            if let Some(begin) = begin {
                pieces.push(&text[begin..at]);
            }
            begin = Some(at);
        }
        at += line.len();
    }
    pieces.extend(begin.map(|begin| &text[begin..]));
    let complete = if whole { pieces.len() } else { pieces.len().saturating_sub(1) };
    for (number, change) in changes.iter_mut().enumerate() {
        match pieces.get(number).filter(|_| number < complete) {
            Some(piece) => {
                let hunk = piece.find("\n@@ ").map_or("", |begin| &piece[begin + 1..]);
                hunk.clone_into(&mut change.patch);
            }
            None => change.too_long = !whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_search_is_no_name() {
        for name in ["main", "a/b", "v1.0", "HEAD~2", "0123abcd", "ü"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-x", ":/text", "main:file", "main^{/x}", "a b", "a\nb", "@{-1}"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn changes_get_their_patches() {
        let raw =
            ":100644 100644 1 2 M\0a\0:000000 100644 0 3 A\0dir/b c\0:100644 100644 4 4 R100\0old\0new\0";
        let mut changes = read_raw(raw.as_bytes());
        let text = "diff --git a/a b/a\nindex 1..2\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-diff --git x\n+y\ndiff --git a/dir/b c b/dir/b c\n\
                    new file mode 100644\nBinary files differ\ndiff --git a/old b/new\nsimilarity index 100%\n";
        put_patches(&mut changes, text, true);
        assert_eq!(changes[0].patch, "@@ -1 +1 @@\n-diff --git x\n+y\n");
        assert_eq!(
            (changes[1].letter, changes[1].new_path.as_str(), changes[1].patch.as_str()),
            ('A', "dir/b c", "")
        );
        assert_eq!((changes[2].old_path.as_str(), changes[2].new_path.as_str()), ("old", "new"));
        let mut changes = read_raw(raw.as_bytes());
        put_patches(&mut changes, &text[..70], false);
        assert!(changes.iter().all(|change| change.too_long));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(0_u8..128, 0..200), text in "(diff --git |@@|\n|x){0,40}") {
            put_patches(&mut read_raw(&bytes), &text, false);
        }
    }
}
