//! The repository one stands in: where it is and what git knows of it. Called by the local host before anything
//! else. It must never write.

use crate::git::{Git, GitError, split_nul};
use std::path::{Path, PathBuf};

/// Why there is no repository to work with.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Not below a work tree.
    #[error(
        "{} is not in a git repository; go into one, or make one with `git init`",
        from.display()
    )]
    None {
        /// Where the search began.
        from: PathBuf,
    },
    /// No work tree.
    #[error("{} is a bare repository; `harrier run` needs a work tree, clone it first", path.display())]
    Bare {
        /// Where.
        path: PathBuf,
    },
    /// A file of git's could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Of the operating system.
        source: std::io::Error,
    },
    /// git has no answer.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Where a repository's parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Root of the work tree.
    pub root: PathBuf,
    /// `.git`, or the linked work tree's own directory.
    pub git_dir: PathBuf,
    /// Where objects and refs are; differs from `git_dir` in a linked work tree.
    pub common_dir: PathBuf,
}

impl Repository {
    /// Searches from `from` upward.
    pub fn discover(from: &Path) -> Result<Self, RepositoryError> {
        for dir in from.ancestors() {
            let dot_git = dir.join(".git");
            let git_dir = if dot_git.is_dir() {
                dot_git
            } else if dot_git.is_file() {
                let text = read(&dot_git)?;
                match text.trim().strip_prefix("gitdir:") {
                    Some(target) => dir.join(target.trim()),
                    None => continue,
                }
            } else if dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
            {
                return Err(RepositoryError::Bare { path: dir.to_owned() });
            } else {
                continue;
            };
            let common = git_dir.join("commondir");
            let common_dir =
                if common.is_file() { git_dir.join(read(&common)?.trim()) } else { git_dir.clone() };
            return Ok(Self { root: dir.to_owned(), git_dir, common_dir });
        }
        Err(RepositoryError::None { from: from.to_owned() })
    }

    /// What git knows: the commit and the configuration are asked side by side.
    pub fn facts(&self) -> Result<GitFacts, RepositoryError> {
        self.facts_of("HEAD", None)
    }

    /// What git would know if `name` were checked out: a branch, a tag, a branch of the remote, or a commit, in this
    /// order. `None`: there is nothing of that name.
    pub fn facts_at(&self, name: &str) -> Result<Option<GitFacts>, RepositoryError> {
        if name == "HEAD" {
            return Ok(Some(self.facts()?).filter(|facts| facts.commit.is_some()));
        }
        let short = name.strip_prefix("refs/heads/").or(name.strip_prefix("refs/tags/")).unwrap_or(name);
        let remote = self.config()?.remote().map_or_else(|| "origin".to_owned(), |r| r.name.clone());
        let on_remote = name.strip_prefix(&format!("{remote}/")).unwrap_or(short);
        let candidates = [
            (format!("refs/heads/{short}"), Head::Branch(short.to_owned())),
            (format!("refs/tags/{short}"), Head::Tag(short.to_owned())),
            (format!("refs/remotes/{remote}/{on_remote}"), Head::Branch(on_remote.to_owned())),
            (name.to_owned(), Head::Detached),
        ];
        for (full, head) in candidates {
            let commit = format!("{full}^{{commit}}");
            let known =
                Git::new(&self.root, "rev-parse").ask(["--verify", "-q", "--end-of-options", &commit]);
            let found = match known {
                Ok(found) => found,
                // Not even the form of a name.
                Err(GitError::Failed { .. }) => None,
                Err(other @ GitError::Start { .. }) => return Err(other.into()),
            };
            let Some(sha) = found else { continue };
            let sha = String::from_utf8_lossy(&sha).trim().to_owned();
            return self.facts_of(&sha, Some(head)).map(Some);
        }
        Ok(None)
    }

    /// `head` is what is taken as checked out, `None` for what is.
    fn facts_of(&self, commit: &str, head: Option<Head>) -> Result<GitFacts, RepositoryError> {
        let (config, commit) = std::thread::scope(|scope| {
            let config = scope.spawn(|| self.config());
            let commit = self.commit(commit);
            (config.join(), commit)
        });
        let config = config.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let commit = commit?;
        let remote = config.remote();
        let default_branch = self.default_branch(remote.map_or("origin", |r| r.name.as_str()))?;
        let head = match head {
            Some(head) => head,
            None => self.head(commit.is_some())?,
        };
        let upstream = match &head {
            Head::Branch(branch) => config.upstream(branch),
            Head::Tag(_) | Head::Detached => None,
        };
        let default_branch = match (default_branch, &head) {
            (Some(name), _) => name,
            (None, Head::Branch(name)) => name.clone(),
            (None, Head::Tag(_) | Head::Detached) => "main".to_owned(),
        };
        Ok(GitFacts {
            head,
            commit,
            default_branch,
            remote_name: remote.map(|r| r.name.clone()),
            remote_url: remote.map(|r| r.url.clone()),
            upstream,
            user_name: config.user_name,
            user_email: config.user_email,
            object_format: config.object_format.unwrap_or_else(|| "sha1".to_owned()),
        })
    }

    /// Tracked and untracked-not-ignored files of the work tree as it is now, relative to its root, sorted.
    pub fn files(&self) -> Result<Vec<String>, GitError> {
        let bytes = Git::new(&self.root, "ls-files")
            .ask(["-z", "-c", "-o", "--exclude-standard"])?
            .unwrap_or_default();
        let mut files: Vec<String> =
            split_nul(&bytes).filter(|name| self.root.join(name).symlink_metadata().is_ok()).collect();
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// Every file of a commit, sorted.
    pub fn files_at(&self, commit: &str) -> Result<Vec<String>, GitError> {
        let bytes = Git::new(&self.root, "ls-tree")
            .ask(["-r", "-z", "--full-tree", "--name-only", commit])?
            .unwrap_or_default();
        let mut files: Vec<String> = split_nul(&bytes).collect();
        files.sort_unstable();
        Ok(files)
    }

    /// The content of a file of a commit.
    pub fn file_at(&self, commit: &str, path: &str) -> Result<Vec<u8>, GitError> {
        let name = format!("{commit}:{path}");
        Ok(Git::new(&self.root, "cat-file").ask(["blob", &name])?.unwrap_or_default())
    }

    /// Files that differ between two commits.
    pub fn changed_between(&self, base: &str, commit: &str) -> Result<Vec<String>, GitError> {
        let bytes = Git::new(&self.root, "diff")
            .ask(["--name-only", "-z", "--no-renames", "--no-ext-diff", base, commit, "--"])?
            .unwrap_or_default();
        let mut files: Vec<String> = split_nul(&bytes).collect();
        files.sort_unstable();
        Ok(files)
    }

    /// Files that differ between `base` and the work tree, untracked-not-ignored ones included. `base` is what
    /// [`Repository::change_base`] gave.
    pub fn changed_files(&self, base: &str) -> Result<Vec<String>, GitError> {
        let (changed, new) = std::thread::scope(|scope| {
            let new =
                scope.spawn(|| Git::new(&self.root, "ls-files").ask(["-z", "-o", "--exclude-standard"]));
            let changed = Git::new(&self.root, "diff").ask([
                "--name-only",
                "-z",
                "--no-renames",
                "--no-ext-diff",
                "--ignore-submodules=dirty",
                base,
                "--",
            ]);
            (changed, new.join())
        });
        let new = new.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?.unwrap_or_default();
        let mut files: Vec<String> = split_nul(&changed?.unwrap_or_default()).collect();
        files.extend(split_nul(&new));
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// The commit with which `rules:changes` compares the work tree (`ci-yaml.md` §12.3): what the next push
    /// would bring. On another branch than the default one that is all since it left the default branch; on the
    /// default branch all that its upstream has not, and when it has everything, the last commit. `None` when
    /// there is nothing to compare with, as for tags and first commits: the clause is then true.
    pub fn change_base(&self, facts: &GitFacts) -> Result<Option<String>, GitError> {
        let (Some(commit), Head::Branch(branch)) = (&facts.commit, &facts.head) else { return Ok(None) };
        let mut against = Vec::new();
        if *branch == facts.default_branch {
            against.extend(facts.upstream.clone());
        } else {
            if let Some(remote) = &facts.remote_name {
                against.push(format!("refs/remotes/{remote}/{}", facts.default_branch));
            }
            against.push(format!("refs/heads/{}", facts.default_branch));
        }
        for name in against {
            match self.merge_base(&name, &commit.sha)? {
                Some(base) if base != commit.sha => return Ok(Some(base)),
                Some(_) => break,
                None => {}
            }
        }
        Ok(commit.parents.first().cloned())
    }

    /// The last common commit of `name` (a branch, tag, commit, or a branch of the remote) and HEAD, for
    /// `changes:compare_to`.
    pub fn merge_base_with(&self, name: &str, facts: &GitFacts) -> Result<Option<String>, GitError> {
        let remote = facts.remote_name.as_deref().unwrap_or("origin");
        let head = facts.commit.as_ref().map_or("HEAD", |commit| commit.sha.as_str());
        for candidate in [format!("refs/remotes/{remote}/{name}"), name.to_owned()] {
            if let Some(base) = self.merge_base(&candidate, head)? {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }

    fn merge_base(&self, name: &str, head: &str) -> Result<Option<String>, GitError> {
        match Git::new(&self.root, "merge-base").ask([name, head]) {
            Ok(found) => Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())),
            // "Not a valid object name": there is no such ref.
            Err(GitError::Failed { .. }) => Ok(None),
            Err(other @ GitError::Start { .. }) => Err(other),
        }
    }

    fn commit(&self, name: &str) -> Result<Option<Commit>, GitError> {
        const FORMAT: &str = "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%ad%x00%cn%x00%ce%x00%cd%x00%cI%x00%B";
        let asked = Git::new(&self.root, "log").text(["-1", "--date=raw", FORMAT, name, "--"]);
        let text = match asked {
            Ok(text) => text,
            Err(failed) => {
                let has_commit = Git::new(&self.root, "rev-parse").ask(["--verify", "-q", "HEAD^{commit}"]);
                return match has_commit {
                    Ok(None) => Ok(None),
                    Ok(Some(_)) => Err(failed),
                    Err(why) => Err(why),
                };
            }
        };
        let mut parts = text.splitn(11, '\0').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Ok(Some(Commit {
            sha: next(),
            tree: next(),
            parents: next().split_whitespace().map(str::to_owned).collect(),
            author: Person { name: next(), email: next(), date: next() },
            committer: Person { name: next(), email: next(), date: next() },
            timestamp: next(),
            message: next(),
        }))
    }

    fn config(&self) -> Result<Config, GitError> {
        const WANTED: &str =
            r"^(remote\..*\.url|branch\..*\.(remote|merge)|user\.(name|email)|extensions\.objectformat)$";
        let bytes = Git::new(&self.root, "config").ask(["-z", "--get-regexp", WANTED])?.unwrap_or_default();
        let mut config = Config::default();
        for entry in split_nul(&bytes) {
            let (key, value) = entry.split_once('\n').unwrap_or((entry.as_str(), ""));
            let (section, rest) = key.split_once('.').unwrap_or((key, ""));
            match (section, rest.rsplit_once('.')) {
                ("remote", Some((name, "url"))) if config.remotes.iter().all(|r| r.name != name) => {
                    config.remotes.push(Remote { name: name.to_owned(), url: value.to_owned() });
                }
                ("branch", Some((name, what))) => {
                    config.branches.push((name.to_owned(), what.to_owned(), value.to_owned()));
                }
                ("user", None) if rest == "name" => config.user_name = Some(value.to_owned()),
                ("user", None) if rest == "email" => config.user_email = Some(value.to_owned()),
                ("extensions", None) => config.object_format = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(config)
    }

    fn head(&self, has_commit: bool) -> Result<Head, RepositoryError> {
        let text = read(&self.git_dir.join("HEAD"))?;
        let target = match text.trim().strip_prefix("ref:") {
            // With the reftable format the file names no real branch.
            Some(name) if name.trim() == "refs/heads/.invalid" => {
                let bytes = Git::new(&self.root, "symbolic-ref").ask(["-q", "HEAD"])?;
                bytes.map(|b| String::from_utf8_lossy(&b).trim().to_owned())
            }
            Some(name) => Some(name.trim().to_owned()),
            None => None,
        };
        if let Some(name) = target {
            return Ok(Head::Branch(name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned()));
        }
        if !has_commit {
            return Ok(Head::Detached);
        }
        let tags = Git::new(&self.root, "tag").text(["--points-at", "HEAD"])?;
        Ok(tags.lines().next().map_or(Head::Detached, |tag| Head::Tag(tag.to_owned())))
    }

    /// The remote's default branch if a clone or `git remote set-head` has noted it, else `main` or `master` if
    /// there is such a branch.
    fn default_branch(&self, remote: &str) -> Result<Option<String>, RepositoryError> {
        let prefix = format!("refs/remotes/{remote}/");
        let noted = self.common_dir.join(&prefix).join("HEAD");
        if noted.is_file()
            && let Some(target) = read(&noted)?.trim().strip_prefix("ref:")
            && let Some(name) = target.trim().strip_prefix(&prefix)
        {
            return Ok(Some(name.to_owned()));
        }
        let packed = std::fs::read_to_string(self.common_dir.join("packed-refs")).unwrap_or_default();
        for name in ["main", "master"] {
            let full = format!("refs/heads/{name}");
            if self.common_dir.join(&full).is_file()
                || packed.lines().any(|line| line.split_once(' ').is_some_and(|(_, rest)| rest == full))
            {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }
}

/// What HEAD is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A branch: a branch pipeline.
    Branch(String),
    /// Detached at a tag: a tag pipeline.
    Tag(String),
    /// Detached at no tag: a branch pipeline of a branch called `HEAD`.
    Detached,
}

impl Head {
    /// `CI_COMMIT_REF_NAME`
    pub fn ref_name(&self) -> &str {
        match self {
            Self::Branch(name) | Self::Tag(name) => name,
            Self::Detached => "HEAD",
        }
    }

    /// The tag, in a tag pipeline.
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Tag(name) => Some(name),
            Self::Branch(_) | Self::Detached => None,
        }
    }
}

/// What git knows of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFacts {
    /// What is checked out.
    pub head: Head,
    /// HEAD's commit; `None` in a repository without commits.
    pub commit: Option<Commit>,
    /// The default branch, guessed if nothing tells.
    pub default_branch: String,
    /// `origin` if there is one, else the first remote.
    pub remote_name: Option<String>,
    /// Its URL as configured; it may hold credentials.
    pub remote_url: Option<String>,
    /// Ref that the branch follows, e.g. `refs/remotes/origin/main`.
    pub upstream: Option<String>,
    /// `user.name`
    pub user_name: Option<String>,
    /// `user.email`
    pub user_email: Option<String>,
    /// `sha1` or `sha256`
    pub object_format: String,
}

/// HEAD's commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Full id.
    pub sha: String,
    /// Id of its tree.
    pub tree: String,
    /// Ids of its parents.
    pub parents: Vec<String>,
    /// Who wrote it.
    pub author: Person,
    /// Who committed it.
    pub committer: Person,
    /// Commit date, ISO 8601.
    pub timestamp: String,
    /// Whole message.
    pub message: String,
}

/// A person in a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
    /// Unix seconds and zone, as git writes dates raw.
    pub date: String,
}

#[derive(Default)]
struct Config {
    remotes: Vec<Remote>,
    branches: Vec<(String, String, String)>,
    user_name: Option<String>,
    user_email: Option<String>,
    object_format: Option<String>,
}

struct Remote {
    name: String,
    url: String,
}

impl Config {
    fn remote(&self) -> Option<&Remote> {
        self.remotes.iter().find(|r| r.name == "origin").or_else(|| self.remotes.first())
    }

    fn upstream(&self, branch: &str) -> Option<String> {
        let find = |what: &str| {
            self.branches.iter().rev().find(|(b, w, _)| b == branch && w == what).map(|(_, _, v)| v.as_str())
        };
        let (remote, merge) = (find("remote")?, find("merge")?);
        if remote == "." {
            return Some(merge.to_owned());
        }
        Some(format!("refs/remotes/{remote}/{}", merge.strip_prefix("refs/heads/")?))
    }
}

fn read(path: &Path) -> Result<String, RepositoryError> {
    std::fs::read_to_string(path).map_err(|source| RepositoryError::Read { path: path.to_owned(), source })
}
