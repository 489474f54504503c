//! Sources that are on this machine already, as in local runs: instead of copying objects, the new repository borrows them
//! (`objects/info/alternates`), and the refs the refspecs name are written directly. Anything out of the ordinary is
//! left to `git fetch`.

use super::Place;
use crate::failure::Failure;
use crate::tree;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// More refs than this are `git fetch`'s work.
const MOST_REFS: usize = 10_000;

/// Makes the job's repository use the objects and refs of the source; `false`: fetch them.
pub(super) fn from_neighbour(place: &Place<'_>) -> Result<bool, Failure> {
    let sources = place.sources;
    let Some(source) = source_of(&sources.remote_url) else { return Ok(false) };
    let objects = source.join("objects");
    if !sources.object_format.is_empty() && sources.object_format != "sha1"
        || !is_ours(&objects)
        || !is_plain(&source)
        || !has_loose_object(&objects, &sources.sha)
    {
        return Ok(false);
    }
    let theirs = refs_of(&source);
    let Some(wanted) = wanted(&sources.refspecs, &theirs, &objects) else { return Ok(false) };
    let git = place.project.join(".git");
    let alternates = git.join("objects/info/alternates");
    write(&alternates, &format!("{}\n", objects.display()))?;
    let shallow = git.join("shallow");
    match fs::read_to_string(source.join("shallow")) {
        Ok(text) => write(&shallow, &text)?,
        Err(_) => tree::remove_file(&shallow)?,
    }
    write_refs(&git, wanted)?;
    Ok(true)
}

/// Whether the repository borrows from a place that is not the source, or is gone: its old commits cannot be
/// read any more.
pub(super) fn is_stale(place: &Place<'_>, git: &Path) -> bool {
    let Ok(text) = fs::read_to_string(git.join("objects/info/alternates")) else { return false };
    let now = source_of(&place.sources.remote_url).map(|source| source.join("objects"));
    text.lines().any(|line| now.as_deref() != Some(Path::new(line)) && !Path::new(line).is_dir())
        || now.is_some_and(|now| text.lines().any(|line| Path::new(line) != now))
}

/// The repository directory behind a path or `file://` URL, resolved.
fn source_of(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://").unwrap_or(url);
    let path = Path::new(path).is_absolute().then(|| Path::new(path).canonicalize().ok())??;
    [path.join(".git"), path]
        .into_iter()
        .find(|dir| dir.join("objects").is_dir() && dir.join("HEAD").is_file() && dir.join("refs").is_dir())
}

/// git serves another user's repository only after asking; so objects of ours only.
fn is_ours(objects: &Path) -> bool {
    fs::metadata(objects).is_ok_and(|meta| meta.uid() == nix::unistd::geteuid().as_raw())
}

/// No extension that changes what objects or refs look like.
fn is_plain(source: &Path) -> bool {
    fs::read_to_string(source.join("config"))
        .is_ok_and(|text| !text.to_lowercase().lines().any(|line| line.trim().starts_with("[extensions")))
}

fn has_loose_object(objects: &Path, id: &str) -> bool {
    is_id(id) && objects.join(&id[..2]).join(&id[2..]).is_file()
}

fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Direct refs of a repository, loose ones over packed ones.
fn refs_of(git: &Path) -> BTreeMap<String, String> {
    let mut refs = packed_refs(git);
    for entry in walkdir::WalkDir::new(git.join("refs")).into_iter().flatten() {
        if !entry.file_type().is_file() {
            continue;
        }
        let name = entry.path().strip_prefix(git).ok().and_then(Path::to_str);
        let id = fs::read_to_string(entry.path()).unwrap_or_default();
        if let (Some(name), true) = (name, is_id(id.trim())) {
            refs.insert(name.to_owned(), id.trim().to_owned());
        }
    }
    refs
}

fn packed_refs(git: &Path) -> BTreeMap<String, String> {
    fs::read_to_string(git.join("packed-refs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(id, _)| is_id(id))
        .map(|(id, name)| (name.to_owned(), id.to_owned()))
        .collect()
}

/// What a fetch with these refspecs would write, tags included; `None` if git must say it.
fn wanted(
    refspecs: &[String],
    theirs: &BTreeMap<String, String>,
    objects: &Path,
) -> Option<BTreeMap<String, String>> {
    let mut wanted: BTreeMap<String, String> = theirs
        .iter()
        .filter(|(name, _)| name.starts_with("refs/tags/"))
        .map(|(name, id)| (name.clone(), id.clone()))
        .collect();
    for refspec in refspecs {
        let (from, to) = refspec.strip_prefix('+').unwrap_or(refspec).split_once(':')?;
        if !to.starts_with("refs/")
            || to.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock"))
        {
            return None;
        }
        match (from.split_once('*'), to.split_once('*')) {
            (None, None) => {
                let id = match theirs.get(from) {
                    Some(id) => id.clone(),
                    None if has_loose_object(objects, from) => from.to_owned(),
                    None => return None,
                };
                wanted.insert(to.to_owned(), id);
            }
            (Some((before, after)), Some((to_before, to_after))) => {
                for (name, id) in theirs {
                    let middle = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                    if let Some(middle) = middle {
                        wanted.insert(format!("{to_before}{middle}{to_after}"), id.clone());
                    }
                }
            }
            _ => return None,
        }
    }
    (wanted.len() <= MOST_REFS).then_some(wanted)
}

/// All refs become packed ones, in one file; loose ones of the same name would win and go.
fn write_refs(git: &Path, wanted: BTreeMap<String, String>) -> Result<(), Failure> {
    let mut refs = packed_refs(git);
    for name in wanted.keys() {
        tree::remove_file(&git.join(name))?;
    }
    refs.extend(wanted);
    let text: String = refs.iter().map(|(name, id)| format!("{id} {name}\n")).collect();
    write(&git.join("packed-refs"), &text)
}

/// By way of a second file: git never sees half of it.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let new = path.with_extension("harrier-new");
    fs::write(&new, text).map_err(Failure::io("write", &new))?;
    fs::rename(&new, path).map_err(Failure::io("replace", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refspecs_choose_as_git_does() {
        let id = "a".repeat(40);
        let theirs: BTreeMap<String, String> =
            ["refs/heads/main", "refs/heads/f/x", "refs/tags/v1", "refs/pipelines/7"]
                .into_iter()
                .map(|name| (name.to_owned(), id.clone()))
                .collect();
        let chosen = |refspecs: &[&str]| {
            let refspecs: Vec<String> = refspecs.iter().map(|s| (*s).to_owned()).collect();
            wanted(&refspecs, &theirs, Path::new("/nonexistent")).map(|m| m.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(
            chosen(&["+refs/pipelines/7:refs/pipelines/7", "+refs/heads/main:refs/remotes/origin/main"]),
            Some(vec!["refs/pipelines/7".into(), "refs/remotes/origin/main".into(), "refs/tags/v1".into()])
        );
        assert_eq!(
            chosen(&["+refs/heads/*:refs/remotes/origin/*"]),
            Some(vec![
                "refs/remotes/origin/f/x".into(),
                "refs/remotes/origin/main".into(),
                "refs/tags/v1".into()
            ])
        );
        for left_to_git in [
            "refs/heads/gone:refs/x/y",
            "refs/heads/main",
            "refs/heads/*:refs/x",
            "refs/heads/main:HEAD",
            "refs/heads/main:refs/../x",
        ] {
            assert_eq!(chosen(&[left_to_git]), None, "{left_to_git}");
        }
    }
}
