//! The configuration of a child pipeline: read from the snapshot that the jobs see, and out of artifacts that jobs of the
//! parent have left (`ci-yaml.md` §23.2). Called by `handing_out` when a bridge starts. It must never run anything.

use crate::git::GitError;
use crate::handing_out::SnapshotTree;
use crate::work_tree::WorkTree;
use harrier_includes::Includes;
use harrier_pipeline::payload::Tree;
use harrier_pipeline::{Compiled, Context, FetchError, IncludeSource, ProjectAt, SourceFile};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A configuration out of an artifact is at most so large (§23.2).
const MAX_ARTIFACT: u64 = 5_000_000;

/// Where the archives of the parent's jobs are: by the job's name.
pub type Archives<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Compiles the configuration of a child pipeline.
pub fn compile(
    root: SourceFile,
    context: &mut Context,
    tree: &WorkTree<'_>,
    includes: harrier_includes::Settings,
    snapshot: &SnapshotTree,
    archives: Archives<'_>,
) -> Result<Compiled, GitError> {
    let heed = |text: &str| tree.heed(text);
    let elsewhere = Includes::new(tree, includes, &heed);
    let source = ChildSource { tree, elsewhere: &elsewhere, snapshot, archives };
    let mut compiled = harrier_pipeline::compile(root.clone(), &source, context);
    if tree.mentions_changes() && context.changes.is_none() {
        context.changes = tree.changes()?;
        compiled = harrier_pipeline::compile(root, &source, context);
    }
    match tree.fault() {
        Some(fault) => Err(fault),
        None => Ok(compiled),
    }
}

/// The snapshot for what is local, the same sources as the parent's for everything from elsewhere.
struct ChildSource<'a> {
    tree: &'a WorkTree<'a>,
    elsewhere: &'a dyn IncludeSource,
    snapshot: &'a SnapshotTree,
    archives: Archives<'a>,
}

impl IncludeSource for ChildSource<'_> {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        let text = self.snapshot.text(path).ok_or(FetchError::NotFound)?;
        let text = String::from_utf8(text).map_err(|_| FetchError::Failed("it is not UTF-8 text".into()))?;
        self.tree.heed(&text);
        Ok(text)
    }

    fn files(&self) -> &[String] {
        Tree::files(self.snapshot)
    }

    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String> {
        self.tree.changed_since(git_ref)
    }

    fn commit(&self, project: &str, name: Option<&str>) -> Result<Option<String>, FetchError> {
        self.elsewhere.commit(project, name)
    }

    fn tags(&self, project: &str) -> Result<Vec<String>, FetchError> {
        self.elsewhere.tags(project)
    }

    fn file_at(&self, at: &ProjectAt, path: &str) -> Result<String, FetchError> {
        self.elsewhere.file_at(at, path)
    }

    fn files_at(&self, at: &ProjectAt) -> Result<Vec<String>, FetchError> {
        self.elsewhere.files_at(at)
    }

    fn remote(&self, url: &str, keep: Option<Duration>) -> Result<Vec<u8>, FetchError> {
        self.elsewhere.remote(url, keep)
    }

    fn template(&self, name: &str) -> Result<String, FetchError> {
        self.elsewhere.template(name)
    }

    fn artifact(&self, job: &str, path: &str) -> Result<String, FetchError> {
        let archive = (self.archives)(job).ok_or_else(|| {
            FetchError::Failed(format!(
                "the job `{job}` has left no artifacts in this run; it must have ended before"
            ))
        })?;
        let text = file_in(&archive, path)?;
        self.tree.heed(&text);
        Ok(text)
    }
}

/// One file of an archive of artifacts.
fn file_in(archive: &Path, path: &str) -> Result<String, FetchError> {
    let failed = |why: String| FetchError::Failed(format!("{}: {why}", archive.display()));
    let file = File::open(archive).map_err(|why| failed(why.to_string()))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|why| failed(why.to_string()))?;
    let entry = match zip.by_name(path.trim_start_matches('/')) {
        Ok(entry) => entry,
        Err(zip::result::ZipError::FileNotFound) => return Err(FetchError::NotFound),
        Err(why) => return Err(failed(why.to_string())),
    };
    let mut text = String::new();
    // One byte more shows that it is too much, whatever the archive says of the size.
    let read = entry.take(MAX_ARTIFACT + 1).read_to_string(&mut text);
    match read {
        Ok(size) if size as u64 > MAX_ARTIFACT => {
            Err(FetchError::Failed(format!("it is larger than {} MB", MAX_ARTIFACT / 1_000_000)))
        }
        Ok(_) => Ok(text),
        Err(why) => Err(failed(why.to_string())),
    }
}
