//! `variables` in its places (`ci-yaml.md` §9.1).

use crate::check::{Check, Path};
use crate::pipeline::YamlVariable;
use crate::yaml::{NodeId, Value};

/// Top level `variables`: scalars, or `{value, description, options, expand}`.
pub(crate) fn global(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<YamlVariable>> {
    read(c, path, node, &["value", "description", "options", "expand"])
}

/// A job's `variables`: scalars, or `{value, expand}`.
pub(crate) fn job(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<YamlVariable>> {
    read(c, path, node, &["value", "expand"])
}

/// `variables` of rules and services: scalars.
pub(crate) fn scalars_only(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<YamlVariable>> {
    read(c, path, node, &[])
}

fn read(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, keys: &[&str]) -> Option<Vec<YamlVariable>> {
    let tree = c.tree;
    let Some(entries) = tree.map(node) else {
        c.config(path, node, "should be a hash").suggestion =
            Some("write each variable as `NAME: value`".into());
        return None;
    };
    let before = c.found.len();
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = match tree.value(entry.key) {
            Value::Text(text) => text.to_string(),
            Value::Int(int) => int.to_string(),
            _ => {
                c.config(path, entry.key, "should be a hash of key value pairs").suggestion =
                    Some("put the name in quotes".into());
                continue;
            }
        };
        let path = path.then(&key);
        let mut variable = YamlVariable { key: key.clone(), value: String::new(), raw: false };
        if let Some(text) = tree.scalar_text(entry.value) {
            variable.value = text;
        } else if keys.is_empty() {
            c.config(&path, entry.value, "must be a string");
        } else if tree.is_null(entry.value) {
            // Taken as a mapping without a value.
        } else if tree.map(entry.value).is_some() {
            detailed(c, &path, entry.value, keys, &mut variable);
        } else {
            c.config(&path, entry.value, "must be either a string or a hash").suggestion =
                Some("a variable holds one text; join the list yourself".into());
        }
        out.push(variable);
    }
    (c.found.len() == before).then_some(out)
}

fn detailed(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, keys: &[&str], variable: &mut YamlVariable) {
    let tree = c.tree;
    let unknown: Vec<NodeId> = tree
        .map(node)
        .unwrap_or_default()
        .iter()
        .map(|entry| entry.key)
        .filter(|key| !tree.text(*key).is_some_and(|key| keys.contains(&key)))
        .collect();
    if let Some(first) = unknown.first() {
        let names: Vec<String> = unknown.iter().map(|key| tree.show(*key)).collect();
        c.config(path, *first, format_args!("uses invalid data keys: {}", names.join(", "))).suggestion =
            Some(format!("allowed here: {}", keys.join(", ")));
        return;
    }
    if let Some(value) = tree.given(node, "value") {
        match tree.scalar_text(value) {
            Some(text) => variable.value = text,
            None => {
                c.config(path, value, "value must be an alphanumeric string");
            }
        }
    }
    if let Some(expand) = tree.given(node, "expand") {
        match tree.value(expand) {
            Value::Bool(expand) => variable.raw = !expand,
            _ => {
                c.config(path, expand, "expand should be a boolean value");
            }
        }
    }
    if let Some(description) = tree.given(node, "description")
        && !matches!(tree.value(description), Value::Text(_) | Value::Int(_) | Value::Float(_))
    {
        c.config(path, description, "description should be a string");
    }
    if let Some(options) = tree.given(node, "options") {
        let Some(options) = c.texts_as(path, options, "config options should be an array of strings") else {
            return;
        };
        if !options.contains(&variable.value) {
            c.config(path, node, "value must be present in options");
        }
    }
}
