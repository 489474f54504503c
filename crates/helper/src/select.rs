//! Which files go into a cache or an artifact (`executors.md` §5.3, `runner-api.md` §9.2): paths expanded by the job's
//! environment, patterns, untracked files, excludes. Called before archives are made. It never follows a symbolic link
//! while it walks, and nothing outside the project directory is ever chosen.

use crate::env::Environment;
use crate::failure::Failure;
use crate::git::Git;
use crate::log::Log;
use harrier_plan::globs::{Glob, clean};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use walkdir::WalkDir;

/// What is asked for.
pub(crate) struct Wanted<'a> {
    /// Patterns as the job has them.
    pub(crate) paths: &'a [String],
    /// Patterns as the job has them.
    pub(crate) exclude: &'a [String],
    /// Add git's untracked files.
    pub(crate) untracked: bool,
}

/// The files chosen, by path relative to the project directory; directories and links are entries of their own.
pub(crate) struct Selection {
    /// The project directory.
    pub(crate) root: PathBuf,
    /// Path to what `lstat` says.
    pub(crate) files: BTreeMap<PathBuf, Metadata>,
}

impl Selection {
    /// Whether any file was changed after `time`.
    pub(crate) fn is_newer_than(&self, time: SystemTime) -> bool {
        self.files.values().filter_map(|meta| meta.modified().ok()).any(|changed| changed > time)
    }
}

/// Chooses; what is found and what is not is said in the log. Only git not starting is a failure.
pub(crate) fn select(
    wanted: &Wanted<'_>,
    project: &Path,
    env: &Environment,
    log: &mut Log<'_>,
) -> Result<Selection, Failure> {
    let mut picker = Picker {
        root: project,
        real: project.canonicalize().map_err(Failure::io("find the project directory", project))?,
        files: BTreeMap::new(),
        excludes: Vec::new(),
    };
    for rule in wanted.exclude {
        let rule = expanded(rule, env, log);
        match picker.relative(&rule).and_then(|pattern| Glob::parse(&pattern).map_err(|why| why.to_string()))
        {
            Ok(glob) => picker.excludes.push(Exclude { rule, glob, hits: 0 }),
            Err(why) => log.warning(format_args!("exclude {rule}: {why}")),
        }
    }
    for path in wanted.paths {
        let path = expanded(path, env, log);
        if let Err(why) = picker.add_pattern(&path, log) {
            log.warning(why);
        }
    }
    if wanted.untracked {
        picker.add_untracked(env, log)?;
    }
    for exclude in picker.excludes.iter().filter(|exclude| exclude.hits > 0) {
        log.info(format_args!("{}: excluded {} files", exclude.rule, exclude.hits));
    }
    Ok(Selection { root: project.to_owned(), files: picker.files })
}

/// Path with the environment's values in it, or as it is with a warning.
fn expanded(path: &str, env: &Environment, log: &mut Log<'_>) -> String {
    env.expand(path).unwrap_or_else(|why| {
        log.warning(format_args!("invalid path {path:?}: {why}"));
        path.to_owned()
    })
}

struct Exclude {
    rule: String,
    glob: Glob,
    hits: u64,
}

struct Picker<'a> {
    root: &'a Path,
    real: PathBuf,
    files: BTreeMap<PathBuf, Metadata>,
    excludes: Vec<Exclude>,
}

impl Picker<'_> {
    /// The pattern relative to the project directory.
    fn relative(&self, pattern: &str) -> Result<String, String> {
        let outside = || format!("artifact path is not a subpath of project directory: {pattern}");
        let text = clean(pattern);
        if text.starts_with('/') {
            return [self.root, self.real.as_path()]
                .iter()
                .filter_map(|root| root.to_str())
                .find_map(|root| {
                    let rest = text.strip_prefix(clean(root).as_str())?;
                    (rest.is_empty() || rest.starts_with('/'))
                        .then(|| rest.trim_start_matches('/').to_owned())
                })
                .ok_or_else(outside);
        }
        if text == ".." || text.starts_with("../") { Err(outside()) } else { Ok(text) }
    }

    fn add_pattern(&mut self, pattern: &str, log: &mut Log<'_>) -> Result<(), String> {
        let pattern = self.relative(pattern)?;
        let shown = if pattern.is_empty() { "." } else { &pattern };
        let glob = Glob::parse(&pattern).map_err(|why| format!("{shown}: {why}"))?;
        let found = self.walk(&glob, log);
        if found > 0 {
            log.info(format_args!("{shown}: found {found} matching artifact files and directories"));
            return Ok(());
        }
        Err(format!(
            "{shown}: no matching files. Ensure that the artifact path is relative to the working directory ({})",
            self.root.display()
        ))
    }

    /// Adds all matches with everything below them. A file counts once for each match that it lies in or is, as
    /// GitLab Runner counts.
    fn walk(&mut self, glob: &Glob, log: &mut Log<'_>) -> u64 {
        let (base, whole) = glob.base();
        let start = self.root.join(&base);
        // Links on the way are followed, but not out of the project.
        let place = if whole { start.parent().unwrap_or(&start) } else { &start };
        match place.canonicalize() {
            Ok(real) if real.starts_with(&self.real) || start == self.root => {}
            Ok(_) => {
                log.warning(format_args!("{base}: not supported: outside build directory"));
                return 0;
            }
            Err(_) => return 0,
        }
        let mut found = 0;
        // How many matches each directory on the way to the present entry lies in or is.
        let mut matches: Vec<u64> = Vec::new();
        let mut entries = WalkDir::new(&start).follow_root_links(!whole || base.is_empty()).into_iter();
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(why) => {
                    let absent = why.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound);
                    if !absent {
                        log.warning(format_args!("{why}"));
                    }
                    continue;
                }
            };
            let Ok(relative) = entry.path().strip_prefix(self.root) else { continue };
            let text = relative.to_string_lossy();
            matches.truncate(entry.depth());
            let here = matches.last().copied().unwrap_or(0) + u64::from(glob.matches(&text));
            matches.push(here);
            if here > 0 && self.add(relative) {
                found += here;
            }
            if here == 0 && entry.file_type().is_dir() && !glob.may_match_below(&text) {
                entries.skip_current_dir();
            }
        }
        found
    }

    /// Takes one path unless it is excluded or gone.
    fn add(&mut self, relative: &Path) -> bool {
        if relative.as_os_str().is_empty() {
            // The project directory itself is no entry, but it counts.
            return true;
        }
        let text = relative.to_string_lossy();
        if let Some(exclude) = self.excludes.iter_mut().find(|exclude| exclude.glob.matches(&text)) {
            exclude.hits += 1;
            return false;
        }
        match fs::symlink_metadata(self.root.join(relative)) {
            Ok(meta) => {
                self.files.insert(relative.to_owned(), meta);
                true
            }
            Err(_) => false,
        }
    }

    fn add_untracked(&mut self, env: &Environment, log: &mut Log<'_>) -> Result<(), Failure> {
        let Some(listed) = Git::new(env, self.root).output(&["ls-files", "-o", "-z"])? else {
            log.warning("untracked: git ls-files failed; is there a repository in the project directory?");
            return Ok(());
        };
        let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let found = names.filter(|name| self.add(Path::new(OsStr::from_bytes(name)))).count();
        match found {
            0 => log.warning("untracked: no files"),
            found => log.info(format_args!("untracked: found {found} files")),
        }
        Ok(())
    }
}
