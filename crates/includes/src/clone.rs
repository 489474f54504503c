//! A bare repository that keeps what has been fetched of a remote one: refs are asked for once, a commit comes without its
//! history, and big files only when they are read. Several runs may share one; fetching takes turns.

use crate::git::{Call, GitError, REMOTE};
use crate::{CacheDir, left, private_dir};
use harrier_pipeline::FetchError;
use sha2::{Digest, Sha256};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

/// Bytes of one file, and of a list of refs or files.
const MAX_FILE: u64 = 8 << 20;
const MAX_LIST: u64 = 64 << 20;

/// A repository elsewhere, known by its address.
pub(crate) struct Clone {
    url: String,
    refs: OnceCell<HashMap<String, String>>,
}

impl Clone {
    pub fn new(url: String) -> Self {
        Self { url, refs: OnceCell::new() }
    }

    /// Names of the tags.
    pub fn tags(&self, cache: &CacheDir, until: Instant) -> Result<Vec<String>, FetchError> {
        let refs = self.refs(cache, until)?;
        let mut tags: Vec<String> =
            refs.keys().filter_map(|name| name.strip_prefix("refs/tags/")).map(str::to_owned).collect();
        tags.sort_unstable();
        Ok(tags)
    }

    /// The commit that a name stands for; it is here afterwards.
    pub fn commit(
        &self,
        name: Option<&str>,
        cache: &CacheDir,
        until: Instant,
    ) -> Result<Option<String>, FetchError> {
        let whole_id = name.filter(|name| {
            matches!(name.len(), 40 | 64) && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if let Some(sha) = whole_id
            && self.has(sha, cache, until)?
        {
            return Ok(Some(sha.to_owned()));
        }
        let refs = self.refs(cache, until)?;
        let names = match name {
            None => vec!["HEAD".to_owned()],
            Some(name) => vec![format!("refs/tags/{name}"), format!("refs/heads/{name}")],
        };
        let found = names.into_iter().find_map(|name| Some((refs.get(&name)?.clone(), name)));
        let (sha, git_ref) = match (found, whole_id) {
            (Some(found), _) => found,
            (None, Some(sha)) => (sha.to_owned(), sha.to_owned()),
            (None, None) => return Ok(None),
        };
        if self.has(&sha, cache, until)? {
            return Ok(Some(sha));
        }
        match self.fetch(&sha, cache, until) {
            Ok(()) => {}
            // Not every server gives a commit by its id.
            Err(GitError::Failed(_) | GitError::NotFound) if git_ref != sha => {
                self.fetch(&git_ref, cache, until)?;
            }
            Err(GitError::Failed(_) | GitError::NotFound) if whole_id.is_some() => return Ok(None),
            Err(other) => return Err(other.into()),
        }
        if self.has(&sha, cache, until)? { Ok(Some(sha)) } else { Ok(None) }
    }

    /// A file of a commit.
    pub fn file(
        &self,
        sha: &str,
        path: &str,
        cache: &CacheDir,
        until: Instant,
    ) -> Result<String, FetchError> {
        let object = format!("{sha}:{path}");
        text_of(self.read(sha, &["cat-file", "blob", &object], MAX_FILE, cache, until)?)
    }

    /// The files of a commit, sorted.
    pub fn files(&self, sha: &str, cache: &CacheDir, until: Instant) -> Result<Vec<String>, FetchError> {
        let args = &["ls-tree", "-r", "-z", "--name-only", sha];
        Ok(names(&self.read(sha, args, MAX_LIST, cache, until)?))
    }

    /// An answer out of a commit, which is fetched if it is not here.
    fn read(
        &self,
        sha: &str,
        args: &[&str],
        most: u64,
        cache: &CacheDir,
        until: Instant,
    ) -> Result<Vec<u8>, FetchError> {
        let dir = self.dir(cache)?;
        let call = || -> Result<Vec<u8>, FetchError> {
            Ok(Call { dir: &dir, url: Some(&self.url), args, time: left(until)?, most }.run()?)
        };
        match call() {
            Err(FetchError::NotFound | FetchError::Failed(_)) if !self.has(sha, cache, until)? => {
                self.fetch(sha, cache, until)?;
                call()
            }
            answer => answer,
        }
    }

    /// Commits by the names of their refs.
    fn refs(&self, cache: &CacheDir, until: Instant) -> Result<&HashMap<String, String>, FetchError> {
        if let Some(refs) = self.refs.get() {
            return Ok(refs);
        }
        let dir = self.dir(cache)?;
        let args = &["ls-remote", "--quiet", REMOTE];
        let call = Call { dir: &dir, url: Some(&self.url), args, time: left(until)?, most: MAX_LIST };
        let said = call.run()?;
        let said = String::from_utf8_lossy(&said);
        let mut refs = HashMap::new();
        for line in said.lines() {
            let Some((sha, name)) = line.split_once('\t') else { continue };
            // The line behind an annotated tag has the commit it points to.
            let name = name.strip_suffix("^{}").unwrap_or(name);
            refs.insert(name.to_owned(), sha.to_owned());
        }
        Ok(self.refs.get_or_init(|| refs))
    }

    /// The bare repository, made when it is first wanted.
    fn dir(&self, cache: &CacheDir) -> Result<PathBuf, FetchError> {
        let failed = |why: std::io::Error| FetchError::Failed(format!("the cache of included files: {why}"));
        let dir = cache.path()?.join("git").join(format!("{}.git", hex(self.url.as_bytes())));
        if dir.join("HEAD").is_file() {
            return Ok(dir);
        }
        private_dir(&dir).map_err(failed)?;
        let time = std::time::Duration::from_secs(30);
        let args = &["init", "--quiet", "--bare", "--template=", "."];
        Call { dir: &dir, url: None, args, time, most: 1 << 16 }.run()?;
        Ok(dir)
    }

    fn has(&self, sha: &str, cache: &CacheDir, until: Instant) -> Result<bool, FetchError> {
        let dir = self.dir(cache)?;
        let object = format!("{sha}^{{commit}}");
        // Without the remote: a commit that is missing must not be fetched by this.
        let args = &["cat-file", "-e", &object];
        let asked = Call { dir: &dir, url: None, args, time: left(until)?, most: 1 << 16 }.run();
        match asked {
            Ok(_) => Ok(true),
            Err(GitError::Failed(_) | GitError::NotFound) => Ok(false),
            Err(other @ (GitError::Start(_) | GitError::TooLong | GitError::TooBig(_))) => Err(other.into()),
        }
    }

    fn fetch(&self, what: &str, cache: &CacheDir, until: Instant) -> Result<(), GitError> {
        let dir = self.dir(cache).map_err(|error| GitError::Failed(error.to_string()))?;
        let lock = File::create(dir.with_extension("lock")).map_err(GitError::Start)?;
        // Let go when the file is closed.
        lock.lock().map_err(GitError::Start)?;
        let time = left(until).map_err(|_| GitError::TooLong)?;
        let args = &[
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--filter=blob:limit=64k",
            REMOTE,
            what,
        ];
        Call { dir: &dir, url: Some(&self.url), args, time, most: 1 << 20 }.run().map(|_| ())
    }
}

/// The parts of a NUL-separated list, sorted.
pub(crate) fn names(bytes: &[u8]) -> Vec<String> {
    let parts = bytes.split(|b| *b == 0).filter(|part| !part.is_empty());
    let mut names: Vec<String> = parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    names.sort_unstable();
    names
}

pub(crate) fn text_of(bytes: Vec<u8>) -> Result<String, FetchError> {
    String::from_utf8(bytes).map_err(|_| FetchError::Failed("it is not UTF-8 text".into()))
}

/// A name for a file out of an address, which may hold a log-in.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(20).fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
