//! `run` (`ci-yaml.md` §26): the list of steps is checked here and passed on as it is.

use crate::check::{Check, Path};
use crate::yaml::{NodeId, Value};

/// Reads `run`; gives it as JSON.
pub(crate) fn run(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<serde_json::Value> {
    let tree = c.tree;
    let Some(items) = tree.seq(node) else {
        c.config(path, node, "should be an array of hashes").suggestion =
            Some("`run` is a list of steps: `- name: build` with `script:` or `step:`".into());
        return None;
    };
    if items.is_empty() {
        c.config(path, node, "can't be blank");
        return None;
    }
    let before = c.found.len();
    for item in items {
        step(c, &path.then("step"), *item);
    }
    (c.found.len() == before).then(|| tree.json(node))
}

fn step(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) {
    let tree = c.tree;
    if !c.mapping(path, node, &["name", "script", "step", "func", "env", "inputs"]) {
        return;
    }
    match tree.given(node, "name").map(|name| (name, tree.text(name))) {
        None => {
            c.config(path, node, "missing required keys: name");
        }
        Some((_, Some(name))) if is_name(name) => {}
        Some((name, _)) => {
            c.fail(path, name, "name should be letters, digits and '_', and not begin with a digit");
        }
    }
    let given: Vec<&str> =
        ["script", "step", "func"].into_iter().filter(|key| tree.given(node, key).is_some()).collect();
    match given.as_slice() {
        ["script"] => {
            let script = tree.given(node, "script").and_then(|script| tree.text(script));
            if script.is_none_or(|script| script.trim().is_empty()) {
                c.fail(path, node, "script should be a non-empty string").suggestion =
                    Some("a step's script is one text; write several lines with `|`".into());
            }
            if let Some(inputs) = tree.given(node, "inputs") {
                c.fail(path, inputs, "inputs go with `step` or `func` only");
            }
        }
        [key @ ("step" | "func")] => {
            if let Some(reference) = tree.given(node, key) {
                check_reference(c, &path.then(key), reference);
            }
            if let Some(inputs) = tree.given(node, "inputs")
                && tree.map(inputs).is_none()
            {
                c.config(&path.then("inputs"), inputs, "should be a hash");
            }
        }
        [] => {
            c.config(path, node, "must have one of these keys: script, step, func");
        }
        many => {
            c.config(path, node, format_args!("these keys cannot be used together: {}", many.join(", ")));
        }
    }
    if let Some(env) = tree.given(node, "env") {
        let path = path.then("env");
        match tree.map(env) {
            Some(entries) => {
                if let Some(bad) = entries.iter().find(|entry| tree.text(entry.value).is_none()) {
                    c.config(&path, bad.value, "should be a hash of strings").suggestion =
                        tree.scalar_text(bad.value).map(|text| format!("put it in quotes: \"{text}\""));
                }
            }
            None => {
                c.config(&path, env, "should be a hash of strings");
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn check_reference(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) {
    let tree = c.tree;
    match tree.value(node) {
        Value::Text(text) if !text.trim().is_empty() => return,
        Value::Map(_) => {}
        _ => {
            c.config(path, node, "should be a non-empty string or a hash");
            return;
        }
    }
    if !c.known_keys(path, node, &["git", "oci"]) {
        return;
    }
    let (key, at, allowed, required): (_, _, &[&str], &[&str]) =
        match (tree.given(node, "git"), tree.given(node, "oci")) {
            (Some(git), None) => ("git", git, &["url", "rev", "dir", "file"], &["url", "rev"]),
            (None, Some(oci)) => (
                "oci",
                oci,
                &["registry", "repository", "tag", "dir", "file"],
                &["registry", "repository", "tag"],
            ),
            _ => {
                c.config(path, node, "must have exactly one of these keys: git, oci");
                return;
            }
        };
    let path = path.then(key);
    if !c.mapping(&path, at, allowed) {
        return;
    }
    let missing: Vec<&str> = required.iter().copied().filter(|key| tree.given(at, key).is_none()).collect();
    if !missing.is_empty() {
        c.config(&path, at, format_args!("missing required keys: {}", missing.join(", ")));
    }
    for key in allowed {
        if let Some(value) = tree.given(at, key) {
            c.text(&path.then(key), value);
        }
    }
}
