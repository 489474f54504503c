//! `cache` (`ci-yaml.md` §20). The key's digest and suffixes are made in `payload`.

use super::artifacts::save_when;
use crate::check::{Check, Path};
use crate::pipeline::{Cache, CacheKey};
use crate::yaml::{NodeId, Value};

const KEYS: [&str; 7] = ["key", "untracked", "paths", "when", "policy", "unprotect", "fallback_keys"];
const MAX_CACHES: usize = 4;

/// Reads `cache`: one mapping or a list of them.
pub(crate) fn caches(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<Cache>> {
    let items = match c.tree.value(node) {
        Value::Map(_) => vec![node],
        Value::Seq(_) => match c.flatten(node, usize::MAX) {
            Ok(items) => items,
            Err(bad) => {
                c.config(path, bad, "is too long");
                return None;
            }
        },
        _ => {
            c.config(path, node, "should be a hash or an array of hashes");
            return None;
        }
    };
    if items.len() > MAX_CACHES {
        c.config(path, node, format_args!("is too long (maximum is {MAX_CACHES})")).suggestion =
            Some("no more than 4 caches can be created".into());
        return None;
    }
    items.into_iter().map(|item| cache(c, path, item)).collect()
}

fn cache(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Cache> {
    if !c.mapping(path, node, &KEYS) {
        return None;
    }
    let tree = c.tree;
    let before = c.found.len();
    let mut out = Cache {
        key: CacheKey::Text("default".into()),
        paths: Vec::new(),
        untracked: false,
        unprotect: false,
        when: crate::SaveWhen::OnSuccess,
        policy: "pull-push".into(),
        fallback_keys: Vec::new(),
    };
    if let Some(key) = tree.given(node, "key")
        && let Some(key) = read_key(c, &path.then("key"), key)
    {
        out.key = key;
    }
    if let Some(paths) = tree.given(node, "paths") {
        out.paths = c.texts(&path.then("paths"), paths).unwrap_or_default();
    }
    if let Some(untracked) = tree.given(node, "untracked") {
        out.untracked = c.boolean(&path.then("untracked"), untracked).unwrap_or(false);
    }
    if let Some(unprotect) = tree.given(node, "unprotect") {
        out.unprotect = c.boolean(&path.then("unprotect"), unprotect).unwrap_or(false);
    }
    if let Some(when) = tree.given(node, "when") {
        out.when = save_when(c, path, when).unwrap_or_default();
    }
    if let Some(policy) = tree.given(node, "policy") {
        match tree.text(policy) {
            Some(text) if ["pull-push", "pull", "push"].contains(&text) || text.contains('$') => {
                out.policy = text.to_owned();
            }
            _ => {
                c.fail(path, policy, "policy should be a variable or one of: pull-push, push, pull");
            }
        }
    }
    if let Some(keys) = tree.given(node, "fallback_keys") {
        let path = path.then("fallback_keys");
        out.fallback_keys = c.texts(&path, keys).unwrap_or_default();
        if out.fallback_keys.len() > 5 {
            c.config(&path, keys, "has too many entries (maximum 5)");
        }
    }
    (c.found.len() == before).then_some(out)
}

fn read_key(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<CacheKey> {
    let tree = c.tree;
    if let Some(text) = tree.text(node) {
        let decoded = text.to_lowercase().replace("%2f", "/").replace("%2e", ".");
        if decoded.contains('/') {
            c.fail(path, node, "config cannot contain the \"/\" character");
            return None;
        }
        if decoded == "." || decoded == ".." {
            c.fail(path, node, "config cannot be \".\" or \"..\"");
            return None;
        }
        return Some(CacheKey::Text(text.to_owned()));
    }
    if tree.map(node).is_none() {
        let quoted = tree.scalar_text(node);
        c.config(path, node, "should be a hash, a string or a symbol").suggestion =
            quoted.map(|text| format!("put it in quotes: \"{text}\""));
        return None;
    }
    if !c.known_keys(path, node, &["files", "files_commits", "prefix"]) {
        return None;
    }
    let (files, commits) = match (tree.given(node, "files"), tree.given(node, "files_commits")) {
        (Some(files), None) => (files, false),
        (None, Some(files)) => (files, true),
        (Some(_), Some(both)) => {
            c.config(path, both, "must use only one of these keys: files, files_commits");
            return None;
        }
        (None, None) => {
            c.config(path, node, "missing required keys: files");
            return None;
        }
    };
    let subject = if commits { "files_commits" } else { "files" };
    let files_path = path.then(subject);
    let files_node = files;
    let files = c.texts(&files_path, files_node)?;
    if files.is_empty() {
        c.config(&files_path, files_node, "requires at least 1 item");
        return None;
    }
    if files.len() > 2 {
        c.config(&files_path, files_node, "has too many items (maximum is 2)");
        return None;
    }
    let prefix = match tree.given(node, "prefix") {
        Some(prefix) => Some(c.text(&path.then("prefix"), prefix)?),
        None => None,
    };
    Some(CacheKey::Files { files, commits, prefix })
}
