//! Other projects: below the address of a server, or in a directory that holds them as plain directories or as
//! repositories (`ci-yaml.md` §7.1).

use crate::clone::{Clone, names, text_of};
use crate::git::{Call, GitError};
use crate::{CacheDir, left};
use harrier_pipeline::{FetchError, ProjectAt};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

/// Where projects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The beginning of every project's address, up to its path.
    Server(String),
    /// `DIR/group/name`: a plain directory, a repository, or a bare repository with or without `.git`.
    Directory(PathBuf),
}

impl Base {
    /// The server that a remote's URL leads to; `None` for a remote on this machine.
    pub fn of_remote(url: &str) -> Option<Self> {
        let url = url.trim();
        match url.split_once("://") {
            Some(("file", _)) => None,
            Some((scheme, rest)) => {
                let (authority, _) = rest.split_once('/')?;
                (!authority.is_empty()).then(|| Self::Server(format!("{scheme}://{authority}/")))
            }
            None => {
                let (host, path) = url.split_once(':')?;
                let scp = !host.contains('/') && !host.is_empty() && !path.is_empty();
                scp.then(|| Self::Server(format!("{host}:")))
            }
        }
    }

    /// As given by a person: a directory, or an address (`https://git.example.org`, `git@git.example.org:`).
    pub fn parse(text: &str, from: &Path) -> Result<Self, String> {
        let directory = from.join(text);
        if directory.is_dir() {
            return Ok(Self::Directory(directory));
        }
        match text.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => {
                Ok(Self::Server(format!("{}/", text.trim_end_matches('/'))))
            }
            _ => match text.split_once(':') {
                Some((host, "")) if !host.contains('/') && !host.is_empty() => {
                    Ok(Self::Server(text.to_owned()))
                }
                Some((host, _)) if !host.contains('/') && host.contains('@') => {
                    Ok(Self::Server(format!("{}/", text.trim_end_matches('/'))))
                }
                _ => Err(format!(
                    "{text} is no directory and no address; give a directory of projects, or the address of a server \
                     such as https://git.example.org or git@git.example.org:"
                )),
            },
        }
    }
}

/// One project.
enum Project {
    Remote(Clone),
    /// A repository of this machine, read where it is.
    Repository(PathBuf),
    Plain(PathBuf),
}

/// What stands for the commit of a plain directory, whatever ref is asked for.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// Bytes of one file, and of a list.
const MAX_FILE: u64 = 8 << 20;
const MAX_LIST: u64 = 64 << 20;

pub(crate) struct Projects {
    base: Option<Base>,
    known: RefCell<HashMap<String, Rc<Project>>>,
}

impl Projects {
    pub fn new(base: Option<Base>) -> Self {
        Self { base, known: RefCell::new(HashMap::new()) }
    }

    fn project(&self, path: &str) -> Result<Rc<Project>, FetchError> {
        if let Some(project) = self.known.borrow().get(path) {
            return Ok(Rc::clone(project));
        }
        let project = match &self.base {
            None => {
                return Err(FetchError::Unsupported(
                    "this repository has no remote on a server, so nobody knows where other projects are; say it with \
                     --include-base URL or --include-base DIR"
                        .into(),
                ));
            }
            Some(Base::Server(prefix)) => Project::Remote(Clone::new(format!("{prefix}{path}.git"))),
            Some(Base::Directory(dir)) => {
                let safe = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
                let place = dir.join(path);
                let bare = dir.join(format!("{path}.git"));
                let is_bare = |path: &Path| path.join("HEAD").is_file() && path.join("objects").is_dir();
                if !safe {
                    return Err(FetchError::NotFound);
                } else if place.join(".git").exists() || is_bare(&place) {
                    Project::Repository(place)
                } else if place.is_dir() {
                    Project::Plain(place)
                } else if is_bare(&bare) {
                    Project::Repository(bare)
                } else {
                    return Err(FetchError::NotFound);
                }
            }
        };
        let project = Rc::new(project);
        self.known.borrow_mut().insert(path.to_owned(), Rc::clone(&project));
        Ok(project)
    }

    pub fn commit(
        &self,
        project: &str,
        name: Option<&str>,
        cache: &CacheDir,
        until: Instant,
    ) -> Result<Option<String>, FetchError> {
        match &*self.project(project)? {
            Project::Remote(clone) => clone.commit(name, cache, until),
            Project::Plain(_) => Ok(Some(NO_COMMIT.to_owned())),
            Project::Repository(dir) => {
                let candidates = match name {
                    None => vec!["HEAD".to_owned()],
                    Some(name) => {
                        let id = matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit());
                        let id = id.then(|| name.to_owned());
                        let refs = [format!("refs/tags/{name}"), format!("refs/heads/{name}")];
                        id.into_iter().chain(refs).collect()
                    }
                };
                for candidate in candidates {
                    let object = format!("{candidate}^{{commit}}");
                    let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &object];
                    match git(dir, &args, MAX_LIST, until) {
                        Ok(bytes) => return Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
                        // git says nothing when there is no such ref.
                        Err(GitError::Failed(_) | GitError::NotFound) => {}
                        Err(other) => return Err(other.into()),
                    }
                }
                Ok(None)
            }
        }
    }

    pub fn tags(&self, project: &str, cache: &CacheDir, until: Instant) -> Result<Vec<String>, FetchError> {
        match &*self.project(project)? {
            Project::Remote(clone) => clone.tags(cache, until),
            Project::Plain(_) => Ok(Vec::new()),
            Project::Repository(dir) => {
                let bytes = git(dir, &["tag", "--list"], MAX_LIST, until)?;
                Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
            }
        }
    }

    pub fn file(
        &self,
        at: &ProjectAt,
        path: &str,
        cache: &CacheDir,
        until: Instant,
    ) -> Result<String, FetchError> {
        match &*self.project(&at.project)? {
            Project::Remote(clone) => clone.file(&at.sha, path, cache, until),
            Project::Plain(dir) => plain_file(dir, path),
            Project::Repository(dir) => {
                let object = format!("{}:{path}", at.sha);
                text_of(git(dir, &["cat-file", "blob", &object], MAX_FILE, until)?)
            }
        }
    }

    pub fn files(&self, at: &ProjectAt, cache: &CacheDir, until: Instant) -> Result<Vec<String>, FetchError> {
        match &*self.project(&at.project)? {
            Project::Remote(clone) => clone.files(&at.sha, cache, until),
            Project::Plain(dir) => Ok(plain_files(dir)),
            Project::Repository(dir) => {
                Ok(names(&git(dir, &["ls-tree", "-r", "-z", "--name-only", &at.sha], MAX_LIST, until)?))
            }
        }
    }
}

fn git(dir: &Path, args: &[&str], most: u64, until: Instant) -> Result<Vec<u8>, GitError> {
    let time = left(until).map_err(|_| GitError::TooLong)?;
    Call { dir, url: None, args, time, most }.run()
}

/// A file below a directory.
pub(crate) fn plain_file(dir: &Path, path: &str) -> Result<String, FetchError> {
    let relative = Path::new(path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(FetchError::NotFound);
    }
    match std::fs::read(dir.join(relative)) {
        Ok(bytes) => text_of(bytes),
        Err(why)
            if matches!(
                why.kind(),
                std::io::ErrorKind::NotFound
                    | std::io::ErrorKind::NotADirectory
                    | std::io::ErrorKind::IsADirectory
            ) =>
        {
            Err(FetchError::NotFound)
        }
        Err(why) => Err(FetchError::Failed(why.to_string())),
    }
}

/// The files below a directory, sorted; links are not followed, what cannot be read is left out.
fn plain_files(dir: &Path) -> Vec<String> {
    const MOST: usize = 100_000;
    let mut files = Vec::new();
    let mut open = vec![(dir.to_owned(), String::new())];
    while let Some((dir, prefix)) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if kind.is_dir() && name != ".git" {
                open.push((entry.path(), format!("{name}/")));
            } else if !kind.is_dir() && files.len() < MOST {
                files.push(name);
            }
        }
    }
    files.sort_unstable();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_a_remote() {
        for (url, want) in [
            ("https://git.example/g/p.git", Some("https://git.example/")),
            ("https://me:word@git.example:8443/g/s/p.git", Some("https://me:word@git.example:8443/")),
            ("ssh://git@git.example:2222/g/p.git", Some("ssh://git@git.example:2222/")),
            ("git@git.example:g/p.git", Some("git@git.example:")),
            ("/srv/git/p.git", None),
            ("../p.git", None),
            ("file:///srv/git/p.git", None),
        ] {
            let want = want.map(|prefix| Base::Server(prefix.to_owned()));
            assert_eq!(Base::of_remote(url), want, "{url}");
        }
    }

    #[test]
    fn a_base_as_given() {
        let server = |text: &str| Ok(Base::Server(text.to_owned()));
        let here = std::env::temp_dir();
        assert_eq!(Base::parse("https://git.example/gitlab/", &here), server("https://git.example/gitlab/"));
        assert_eq!(Base::parse("https://git.example", &here), server("https://git.example/"));
        assert_eq!(Base::parse("git@git.example:", &here), server("git@git.example:"));
        assert_eq!(Base::parse("git@git.example:sub", &here), server("git@git.example:sub/"));
        assert_eq!(Base::parse(".", &here), Ok(Base::Directory(here.join("."))));
        assert!(Base::parse("no/such/directory", &here).is_err());
    }
}
