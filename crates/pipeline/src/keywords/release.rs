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
    if let Some(value) = tree.given(node, "released_at")
        && tree.text(value).is_some_and(|text| !is_date_and_time(text))
    {
        c.fail(path, value, "released at must be a valid datetime").suggestion =
            Some("write it like 2026-03-15T08:00:00Z".into());
    }
    if let Some(milestones) = tree.given(node, "milestones") {
        c.one_or_more(path, milestones, "milestones should be an array of strings or a string");
    }
    if let Some(assets) = tree.given(node, "assets") {
        read_assets(c, &path.then("assets"), assets);
    }
    (c.found.len() == before).then(|| Release { tag_name, description, all: tree.json(node) })
}

/// Whether a text is a day or a moment of ISO 8601.
fn is_date_and_time(text: &str) -> bool {
    let number = |text: &str, digits: usize, least: u32, most: u32| {
        text.len() == digits
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse().is_ok_and(|n: u32| (least..=most).contains(&n))
    };
    let clock = |text: &str| {
        let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let parts: Vec<&str> = text.split(':').collect();
        let in_range = parts.iter().zip([24, 59, 60]).all(|(part, most)| number(part, 2, 0, most));
        in_range && (1..=3).contains(&parts.len()) && fraction.bytes().all(|b| b.is_ascii_digit())
    };
    let (day, time) = text.split_once(['T', 't']).map_or((text, None), |(day, time)| (day, Some(time)));
    let day: Vec<&str> = day.split('-').collect();
    let [year, month, day] = day.as_slice() else { return false };
    let day = number(year, 4, 0, 9999) && number(month, 2, 1, 12) && number(day, 2, 1, 31);
    let Some(time) = time else { return day };
    let time = match (time.strip_suffix(['Z', 'z']), time.rfind(['+', '-'])) {
        (Some(time), _) => clock(time),
        (None, Some(zone)) => clock(&time[..zone]) && clock(&time[zone + 1..]),
        (None, None) => clock(time),
    };
    day && time
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
