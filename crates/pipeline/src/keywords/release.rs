//! `release` and `pages` (`ci-yaml.md` §24), as data.

use crate::check::{Check, Path};
use crate::durations::parse_duration;
use crate::pipeline::{Artifacts, Pages, Release};
use crate::yaml::{NodeId, Value};

const KEYS: [&str; 8] =
    ["tag_name", "description", "tag_message", "name", "ref", "milestones", "released_at", "assets"];

/// Reads `release`.
pub(crate) fn release(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Release> {
    if !c.mapping(path, node, &KEYS) {
        return None;
    }
    let tree = c.tree;
    let before = c.found.len();
    let mut required = |key: &str, subject: &str| match tree.given(node, key) {
        Some(value) => match tree.text(value) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => {
                c.fail(path, value, format_args!("{subject} should be a string"));
                String::new()
            }
        },
        None => {
            c.fail(path, node, format_args!("{subject} can't be blank"));
            String::new()
        }
    };
    let tag_name = required("tag_name", "tag name");
    let description = required("description", "description");
    for key in ["tag_message", "name", "ref", "released_at"] {
        if let Some(value) = tree.given(node, key)
            && tree.text(value).is_none()
        {
            c.fail(path, value, format_args!("{} should be a string", key.replace('_', " ")));
        }
    }
    if let Some(milestones) = tree.given(node, "milestones") {
        c.one_or_more(path, milestones, "milestones should be an array of strings or a string");
    }
    if let Some(assets) = tree.given(node, "assets") {
        read_assets(c, &path.then("assets"), assets);
    }
    (c.found.len() == before).then(|| Release { tag_name, description, all: tree.json(node) })
}

fn read_assets(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) {
    let tree = c.tree;
    if !c.mapping(path, node, &["links"]) {
        return;
    }
    let links =
        tree.given(node, "links").filter(|links| tree.seq(*links).is_some_and(|links| !links.is_empty()));
    let Some(links) = links else {
        c.fail(path, node, "links should be an array of hashes");
        return;
    };
    for link in tree.seq(links).unwrap_or_default() {
        let links = path.then("links");
        let path = links.then("link");
        if !c.mapping(&path, *link, &["name", "url", "filepath", "link_type"]) {
            continue;
        }
        for key in ["name", "url"] {
            if tree.given(*link, key).and_then(|value| tree.text(value)).is_none() {
                c.fail(&path, *link, format_args!("{key} should be a string"));
            }
        }
    }
}

/// `pages`, `publish` and the job name `pages`: what is published, whose directory is added to the artifacts.
pub(crate) fn pages(
    c: &mut Check<'_>,
    path: &Path<'_>,
    name: &str,
    node: NodeId,
    artifacts: &mut Option<Artifacts>,
) -> Option<Pages> {
    let tree = c.tree;
    let keyword = tree.given(node, "pages");
    let path = path.then("pages");
    let (mut publish, mut path_prefix, mut expires) = (None, None, None);
    let is_pages = match keyword.map(|pages| (pages, tree.value(pages))) {
        None => name == "pages",
        Some((_, Value::Bool(on))) => *on,
        Some((pages, Value::Map(_))) => {
            if !c.mapping(&path, pages, &["path_prefix", "expire_in", "publish"]) {
                return None;
            }
            for key in ["path_prefix", "publish"] {
                if let Some(value) = tree.given(pages, key) {
                    let text = c.text(&path.then(key), value);
                    match key {
                        "publish" => publish = text,
                        _ => path_prefix = text,
                    }
                }
            }
            if let Some(expire_in) = tree.given(pages, "expire_in") {
                match tree.text(expire_in) {
                    Some(text) if text == "never" || text.contains('$') || parse_duration(text).is_some() => {
                        expires = Some(text.to_owned());
                    }
                    _ => {
                        c.config(&path, expire_in, "expire in should be a duration");
                    }
                }
            }
            true
        }
        Some((pages, _)) => {
            c.config(&path, pages, "should be a boolean value or a hash");
            return None;
        }
    };
    if let Some(old) = tree.given(node, "publish") {
        if !is_pages {
            c.fail(&path, old, "publish can only be used within a `pages` job");
            return None;
        }
        if publish.is_some() {
            c.fail(&path, old, "publish is given twice, as `publish` and as `pages:publish`");
            return None;
        }
        publish = c.text(&path.then("publish"), old);
    }
    if !is_pages {
        return None;
    }
    let publish = publish.unwrap_or_else(|| "public".to_owned());
    let artifacts = artifacts.get_or_insert_default();
    if !artifacts.paths.contains(&publish) {
        artifacts.paths.push(publish.clone());
    }
    Some(Pages { publish, path_prefix, expire_in: expires })
}
