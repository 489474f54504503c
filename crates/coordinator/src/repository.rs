//! Reads a project's bare repository through git: commits, files, changes. Called when a pipeline is made and when a payload needs
//! the tree. Each call is a process or two, so callers ask for much at once; they run on threads that may wait. It never writes
//! but for the refs of pipelines; what the API reads and writes besides is in `browse.rs`.

use crate::storage::Held;
use harrier_base::GIT_REPOSITORY_VARIABLES;
use harrier_pipeline::payload::Tree;
use harrier_pipeline::{FetchError, IncludeSource};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What git was asked could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is not there or could not be started.
    #[error("git could not be started: {source}; install git and have it in PATH")]
    Start {
        /// Of the operating system.
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("git {what} failed: {message}")]
    Failed {
        /// Subcommand.
        what: &'static str,
        /// What git said.
        message: String,
    },
    /// A file of the repository could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Of the operating system.
        source: io::Error,
    },
}

/// A bare repository.
#[derive(Clone, Debug)]
pub struct Repository {
    dir: PathBuf,
}

/// A commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Full hash.
    pub sha: String,
    /// Whole message.
    pub message: String,
    /// `Name <email>`
    pub author: String,
    /// When it was committed, ISO 8601.
    pub timestamp: String,
    /// First parent.
    pub parent: Option<String>,
}

impl Commit {
    /// First line of its message.
    pub fn title(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

/// A commit and the files that were asked for; `None` for one that it does not have.
pub type CommitWithFiles = (Commit, Vec<Option<Vec<u8>>>);

/// An object as `cat-file` gives it.
struct Object {
    id: String,
    kind: String,
    bytes: Vec<u8>,
}

impl Repository {
    /// The one in a directory.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Makes an empty one. `branch` is where its HEAD points.
    pub fn create(dir: &Path, branch: &str) -> Result<Self, GitError> {
        let this = Self::at(dir.to_owned());
        let mut command = git();
        command.args(["init", "--quiet", "--bare"]).arg(format!("--initial-branch={branch}")).arg(dir);
        output(command, "init", b"")?;
        Ok(this)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn ask(&self, what: &'static str, args: &[&str], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let mut command = git();
        command.arg("--git-dir").arg(&self.dir).arg(what).args(args);
        output(command, what, input)
    }

    /// Objects by name, in one process; `None` for what is not there.
    fn objects(&self, names: &[String]) -> Result<Vec<Option<Object>>, GitError> {
        let mut input = String::new();
        for name in names {
            // A line feed would be another question.
            input.push_str(&name.replace('\n', " "));
            input.push('\n');
        }
        let bytes = self.ask("cat-file", &["--batch"], input.as_bytes())?;
        let mut rest = bytes.as_slice();
        let mut out = Vec::with_capacity(names.len());
        for _ in names {
            let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest = rest.get(end + 1..).unwrap_or_default();
            let mut words = head.rsplitn(3, ' ');
            let size = words.next().and_then(|size| size.parse::<usize>().ok());
            let (Some(size), Some(kind), Some(id)) = (size, words.next(), words.next()) else {
                out.push(None);
                continue;
            };
            let bytes = rest.get(..size).unwrap_or_default().to_vec();
            rest = rest.get(size + 1..).unwrap_or_default();
            out.push(Some(Object { id: id.to_owned(), kind: kind.to_owned(), bytes }));
        }
        Ok(out)
    }

    /// A commit and some of its files, in one process. `None`: there is no such commit.
    pub fn commit_with_files(&self, name: &str, paths: &[&str]) -> Result<Option<CommitWithFiles>, GitError> {
        let mut names = vec![format!("{name}^{{commit}}")];
        names.extend(paths.iter().map(|path| format!("{name}:{path}")));
        let mut objects = self.objects(&names)?.into_iter();
        let Some(commit) = objects.next().flatten().filter(|o| o.kind == "commit") else { return Ok(None) };
        let files = objects.map(|o| o.filter(|o| o.kind == "blob").map(|o| o.bytes)).collect();
        Ok(Some((parse_commit(commit.id, &commit.bytes), files)))
    }

    /// The commit of the first of these names that there is.
    pub fn first_commit(&self, names: &[String]) -> Result<Option<String>, GitError> {
        let names: Vec<String> = names.iter().map(|name| format!("{name}^{{commit}}")).collect();
        let found = self.objects(&names)?.into_iter().flatten().find(|object| object.kind == "commit");
        Ok(found.map(|commit| commit.id))
    }

    /// The message of an annotated tag; empty for one that only points at a commit.
    pub fn tag_message(&self, tag: &str) -> Result<String, GitError> {
        let found = self.tag_objects(&[tag])?.into_iter().next().flatten();
        Ok(found.and_then(|tag| tag.message).unwrap_or_default())
    }

    /// The objects that tags name, with the messages of those that have one.
    pub fn tag_objects(&self, tags: &[&str]) -> Result<Vec<Option<TagObject>>, GitError> {
        let names: Vec<String> = tags.iter().map(|tag| format!("refs/tags/{tag}")).collect();
        let read = |object: Object| {
            let message = (object.kind == "tag").then(|| {
                let text = String::from_utf8_lossy(&object.bytes).into_owned();
                let message = text.split_once("\n\n").map(|(_, message)| message).unwrap_or_default();
                let signature = message.find("-----BEGIN PGP").unwrap_or(message.len());
                message[..signature].trim_end().to_owned()
            });
            TagObject { id: object.id, message }
        };
        Ok(self.objects(&names)?.into_iter().map(|object| object.map(read)).collect())
    }

    /// Every ref with its commit: `refs/heads/main`, …; those of pipelines are left out.
    pub fn refs(&self) -> Result<Vec<(String, String)>, GitError> {
        let args = ["--format=%(refname) %(objectname) %(*objectname)", "refs/heads", "refs/tags"];
        let bytes = self.ask("for-each-ref", &args, b"")?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                let (name, sha, peeled) = (words.next()?, words.next()?, words.next().unwrap_or_default());
                Some((name.to_owned(), if peeled.is_empty() { sha } else { peeled }.to_owned()))
            })
            .collect())
    }

    /// Every branch and tag with the object it names, which for an annotated tag is the tag itself; as pushes tell them. Read from
    /// git's files, without a process.
    pub fn raw_refs(&self) -> io::Result<Vec<(String, String)>> {
        self.refs_below(&["refs/heads", "refs/tags"])
    }

    /// The same, and merge requests: all that a mirror brings.
    pub fn mirrored_refs(&self) -> io::Result<Vec<(String, String)>> {
        self.refs_below(&["refs/heads", "refs/tags", "refs/merge-requests"])
    }

    fn refs_below(&self, places: &[&str]) -> io::Result<Vec<(String, String)>> {
        // Loose before packed, as git reads them: packing writes the packed file first.
        let mut found = BTreeMap::new();
        let below = |name: &str| {
            places.iter().any(|place| name.strip_prefix(place).is_some_and(|rest| rest.starts_with('/')))
        };
        for part in places {
            self.loose_refs(part, &mut found)?;
        }
        for line in self.packed_refs()?.lines() {
            match line.split_once(' ') {
                Some((id, name)) if below(name) => {
                    found.entry(name.to_owned()).or_insert_with(|| id.to_owned());
                }
                _ => {}
            }
        }
        Ok(found.into_iter().collect())
    }

    fn loose_refs(&self, part: &str, found: &mut BTreeMap<String, String>) -> io::Result<()> {
        let entries = match fs::read_dir(self.dir.join(part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // What is no text is no ref that anybody could push here.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = format!("{part}/{name}");
            if entry.file_type()?.is_dir() {
                self.loose_refs(&name, found)?;
            } else if !name.ends_with(".lock")
                && let Some(id) = self.loose_ref(&name)?
            {
                found.insert(name, id);
            }
        }
        Ok(())
    }

    /// The object that a ref names; `None`: there is no such ref. Without a process.
    pub fn raw_ref(&self, name: &str) -> io::Result<Option<String>> {
        if name.split('/').any(|part| matches!(part, ".." | "." | "")) {
            return Ok(None);
        }
        if let Some(id) = self.loose_ref(name)? {
            return Ok(Some(id));
        }
        let packed = self.packed_refs()?;
        let line = packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, known)| *known == name);
        Ok(line.map(|(id, _)| id.to_owned()))
    }

    /// Whether a ref is there.
    pub fn has_ref(&self, name: &str) -> bool {
        self.raw_ref(name).is_ok_and(|found| found.is_some())
    }

    fn loose_ref(&self, name: &str) -> io::Result<Option<String>> {
        use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
        match fs::read_to_string(self.dir.join(name)) {
            Ok(text) => Ok(Some(text.trim_end().to_owned()).filter(|id| !id.starts_with("ref:"))),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory | IsADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn packed_refs(&self) -> io::Result<String> {
        match fs::read_to_string(self.dir.join("packed-refs")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    /// HEAD points to a branch from now on: what a clone checks out.
    pub fn set_head(&self, branch: &str) -> Result<(), GitError> {
        self.ask("symbolic-ref", &["HEAD", &format!("refs/heads/{branch}")], b"").map(|_| ())
    }

    /// Commits of these hashes, in their order.
    pub(crate) fn commits(&self, names: &[String]) -> Result<Vec<Commit>, GitError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = names.iter().map(|sha| format!("{sha}^{{commit}}")).collect();
        let found = self.objects(&names)?.into_iter().flatten();
        Ok(found.map(|object| parse_commit(object.id, &object.bytes)).collect())
    }

    /// Paths that differ between two commits.
    pub fn changed(&self, before: &str, sha: &str) -> Result<Vec<String>, GitError> {
        let args = ["-r", "--name-only", "-z", "--no-renames", before, sha];
        Ok(split_nul(&self.ask("diff-tree", &args, b"")?).collect())
    }

    /// Keeps the commit of a pipeline reachable under `refs/pipelines/<id>`, which its jobs fetch (`runner-api.md` §4.3).
    pub fn keep_for_pipeline(&self, pipeline: i64, sha: &str) -> Result<(), GitError> {
        self.put_ref(&format!("refs/pipelines/{pipeline}"), sha)
    }

    /// A ref that nobody pushes is at a commit from now on. Without a process.
    pub(crate) fn put_ref(&self, name: &str, sha: &str) -> Result<(), GitError> {
        let path = self.dir.join(name);
        let line = format!("{sha}\n");
        if fs::read_to_string(&path).is_ok_and(|known| known == line) {
            return Ok(());
        }
        // Renamed into place: a git that reads at this moment must not meet half a ref. Under a name of its own: who makes a
        // pipeline and who hands out its first job come here at the same moment.
        let put = || {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            let mut fresh = tempfile::Builder::new().prefix(".ref-").tempfile_in(&self.dir)?;
            fresh.write_all(line.as_bytes())?;
            fresh.persist(&path).map_err(|error| error.error)
        };
        put().map(|_| ()).map_err(|source| GitError::Io { path, source })
    }

    /// Forgets the ref of a pipeline.
    pub fn drop_for_pipeline(&self, pipeline: i64) -> Result<(), GitError> {
        let path = self.dir.join("refs").join("pipelines").join(pipeline.to_string());
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(GitError::Io { path, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The tree of a commit.
    pub fn tree(&self, sha: &str) -> CommitTree {
        CommitTree {
            repository: self.clone(),
            sha: sha.to_owned(),
            files: OnceLock::new(),
            artifacts: Vec::new(),
        }
    }
}

/// What git calls itself; `None`: it cannot be started.
pub(crate) fn git_version() -> Option<String> {
    let mut command = git();
    command.arg("version");
    let bytes = output(command, "version", b"").ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// git with nothing of this process's own repository, user or system.
pub(crate) fn git() -> Command {
    let mut command = Command::new("git");
    for name in GIT_REPOSITORY_VARIABLES {
        command.env_remove(name);
    }
    command
        .env("GIT_OPTIONAL_LOCKS", "0")
        // A path that came with a request is a path and no pattern.
        .env("GIT_LITERAL_PATHSPECS", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("LC_ALL", "C")
        .args(["-c", "core.quotePath=false", "-c", "safe.directory=*"]);
    command
}

pub(crate) fn output(mut command: Command, what: &'static str, input: &[u8]) -> Result<Vec<u8>, GitError> {
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| GitError::Start { source })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A git that ends early has said why on its standard error. Questions are few lines: no pipe fills up.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(|source| GitError::Start { source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(GitError::Failed { what, message })
}

fn split_nul(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    bytes
        .split(|b| *b == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
}

fn parse_commit(sha: String, bytes: &[u8]) -> Commit {
    let text = String::from_utf8_lossy(bytes);
    let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut commit = Commit { sha, message: message.to_owned(), ..Commit::default() };
    for line in head.lines() {
        match line.split_once(' ') {
            Some(("parent", parent)) if commit.parent.is_none() => commit.parent = Some(parent.to_owned()),
            Some(("author", who)) => {
                commit.author = who.rfind('>').map_or(who, |end| &who[..=end]).to_owned();
            }
            Some(("committer", who)) => commit.timestamp = timestamp(who).unwrap_or_default(),
            _ => {}
        }
    }
    commit
}

/// `… 1700000000 +0130` as `2023-11-14T23:43:20+01:30`.
fn timestamp(who: &str) -> Option<String> {
    let mut words = who.rsplitn(3, ' ');
    let (zone, seconds) = (words.next()?, words.next()?.parse::<i64>().ok()?);
    let number = zone.parse::<i32>().ok()?;
    let offset = jiff::tz::Offset::from_seconds((number / 100 * 60 + number % 100) * 60).ok()?;
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    Some(at.to_zoned(offset.to_time_zone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
}

/// What a tag names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagObject {
    /// Of the tag's own object, or of the commit where it has none.
    pub id: String,
    /// What an annotated tag says, without a signature.
    pub message: Option<String>,
}

/// The tree of one commit, for the compiler and for cache keys; asked for when it is needed.
pub struct CommitTree {
    repository: Repository,
    sha: String,
    files: OnceLock<Vec<String>>,
    artifacts: Vec<(String, Held)>,
}

/// Most bytes of a configuration out of an archive.
const CONFIG: u64 = 5 << 20;

impl CommitTree {
    /// With archives of jobs, for `include: artifact` of a child pipeline.
    pub(crate) fn with_artifacts(mut self, artifacts: Vec<(String, Held)>) -> Self {
        self.artifacts = artifacts;
        self
    }

    /// Every path, sorted.
    pub fn files_of_tree(&self) -> &[String] {
        self.files.get_or_init(|| {
            let bytes =
                self.repository.ask("ls-tree", &["-r", "-z", "--name-only", "--full-tree", &self.sha], b"");
            let mut files: Vec<String> = split_nul(&bytes.unwrap_or_default()).collect();
            files.sort_unstable();
            files
        })
    }

    fn object(&self, path: &str) -> Option<Object> {
        let name = format!("{}:{path}", self.sha);
        self.repository.objects(&[name]).ok()?.into_iter().next().flatten()
    }
}

impl Tree for CommitTree {
    fn files(&self) -> &[String] {
        self.files_of_tree()
    }

    fn blob_id(&self, path: &str) -> Option<String> {
        self.object(path).map(|object| object.id)
    }

    fn last_commit(&self, path: &str) -> Option<String> {
        let bytes = self.repository.ask("log", &["-1", "--format=%H", &self.sha, "--", path], b"").ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|id| !id.is_empty())
    }
}

impl IncludeSource for CommitTree {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        let object = self.object(path).filter(|o| o.kind == "blob").ok_or(FetchError::NotFound)?;
        String::from_utf8(object.bytes).map_err(|_| FetchError::Failed("it is not UTF-8".into()))
    }

    fn files(&self) -> &[String] {
        self.files_of_tree()
    }

    fn artifact(&self, job: &str, path: &str) -> Result<String, FetchError> {
        let failed = |error: &dyn std::fmt::Display| FetchError::Failed(error.to_string());
        let (_, archive) = self.artifacts.iter().find(|(name, _)| name == job).ok_or(FetchError::NotFound)?;
        let archive = archive.open().map_err(|error| failed(&error))?;
        let mut archive =
            zip::ZipArchive::new(io::BufReader::new(archive)).map_err(|error| failed(&error))?;
        let file = match archive.by_name(path) {
            Ok(file) => file,
            Err(zip::result::ZipError::FileNotFound) => return Err(FetchError::NotFound),
            Err(error) => return Err(failed(&error)),
        };
        let mut text = String::new();
        let read = io::Read::read_to_string(&mut io::Read::take(file, CONFIG + 1), &mut text);
        read.map_err(|error| failed(&error))?;
        match text.len() as u64 > CONFIG {
            true => Err(FetchError::Failed(format!("it has more than {CONFIG} bytes"))),
            false => Ok(text),
        }
    }

    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String> {
        let range = format!("{git_ref}...{}", self.sha);
        // A name that begins with a dash is an option of git's.
        if git_ref.starts_with('-') {
            return Err(format!("`{git_ref}` is no ref"));
        }
        let args = ["--name-only", "-z", "--no-renames", &range, "--"];
        self.repository.ask("diff", &args, b"").map(|b| split_nul(&b).collect()).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_kept_by_several_at_once() {
        let place = tempfile::tempdir().expect("a directory");
        let repository = Repository::create(&place.path().join("x.git"), "main").expect("git works");
        let sha = "1".repeat(40);
        std::thread::scope(|scope| {
            let keeps = || (0..200).all(|id| repository.keep_for_pipeline(id, &sha).is_ok());
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(keeps)).collect();
            for thread in threads {
                assert!(thread.join().expect("no panic"), "who comes second finds it kept");
            }
        });
        let kept = repository.dir().join("refs/pipelines/199");
        assert_eq!(fs::read_to_string(kept).expect("it is there"), format!("{sha}\n"));
        let left = fs::read_dir(repository.dir()).expect("a directory").flatten();
        assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().starts_with(".ref-")).count(), 0);
    }

    #[test]
    fn commits_are_read() {
        let text = "tree 1\nparent 2\nparent 3\nauthor A B <a@b> 1700000000 +0000\ncommitter C <c@d> 1700000000 +0130\n\n\
                    Title\n\nBody\n";
        let commit = parse_commit("9".into(), text.as_bytes());
        assert_eq!(commit.author, "A B <a@b>");
        assert_eq!(commit.timestamp, "2023-11-14T23:43:20+01:30");
        assert_eq!((commit.parent.as_deref(), commit.title()), (Some("2"), "Title"));
        assert_eq!(timestamp("x 0 -0730").as_deref(), Some("1969-12-31T16:30:00-07:30"));
    }
}
