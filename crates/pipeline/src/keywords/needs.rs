//! `needs` and `dependencies`: their shapes (`ci-yaml.md` §16.1). Which jobs they mean is found in `graph`.

use super::parallel::{Matrix, only_matrix};
use crate::check::{Check, Path};
use crate::diagnostic::Place;
use crate::yaml::{NodeId, Value};

/// One entry of `needs` as written.
#[derive(Clone, Debug)]
pub(crate) struct NeedSpec {
    pub name: String,
    pub artifacts: bool,
    pub optional: bool,
    /// `parallel:matrix`: which instances.
    pub selector: Option<Matrix>,
    pub place: Place,
}

/// Reads `needs` of a job, or of one of its rules.
pub(crate) fn needs(
    c: &mut Check<'_>,
    path: &Path<'_>,
    node: NodeId,
    in_rule: bool,
) -> Option<Vec<NeedSpec>> {
    let tree = c.tree;
    let items = match tree.value(node) {
        Value::Map(entries) if entries.is_empty() => {
            c.config(path, node, "can't be blank");
            return None;
        }
        Value::Map(_) => vec![node],
        Value::Seq(_) => match c.flatten(node, usize::MAX) {
            Ok(items) => items,
            Err(bad) => {
                c.config(path, bad, "is too long");
                return None;
            }
        },
        _ => {
            let one = tree.text(node).map(|text| format!("write it as a list: [{text:?}]"));
            c.config(path, node, "can only be a Hash or an Array").suggestion = one;
            return None;
        }
    };
    let path = path.then("need");
    let before = c.found.len();
    let needs = items.into_iter().filter_map(|item| need(c, &path, item, in_rule)).collect();
    (c.found.len() == before).then_some(needs)
}

fn need(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, in_rule: bool) -> Option<NeedSpec> {
    let tree = c.tree;
    let place = tree.place(node);
    match tree.value(node) {
        Value::Text(text) if !text.is_empty() => {
            return Some(NeedSpec {
                name: text.to_string(),
                artifacts: true,
                optional: false,
                selector: None,
                place,
            });
        }
        Value::Map(_) => {}
        _ => {
            c.fail(path, node, "has an unsupported type");
            return None;
        }
    }
    for key in ["pipeline", "project"] {
        if let Some(given) = tree.given(node, key) {
            if in_rule {
                c.config(
                    path,
                    given,
                    "uses invalid types: only jobs of the same pipeline can be needed in rules",
                );
            } else {
                c.unsupported(&path.then(key), given);
            }
            return None;
        }
    }
    let Some(job) = tree.given(node, "job") else {
        c.fail(path, node, "has an unsupported type").suggestion =
            Some("a need is a job's name, or a mapping with `job:`".into());
        return None;
    };
    if !c.known_keys(path, node, &["job", "artifacts", "optional", "parallel"]) {
        return None;
    }
    let name = match tree.text(job) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => {
            c.fail(path, job, "job should be a string");
            return None;
        }
    };
    let flag = |c: &mut Check<'_>, key: &str, default: bool| match tree.given(node, key) {
        None => Some(default),
        Some(value) => match tree.value(value) {
            Value::Bool(flag) => Some(*flag),
            _ => {
                c.fail(path, value, format_args!("{key} should be a boolean value"));
                None
            }
        },
    };
    let artifacts = flag(c, "artifacts", true)?;
    let optional = flag(c, "optional", false)?;
    let selector = match tree.given(node, "parallel") {
        None => None,
        Some(parallel) if tree.map(parallel).is_some() => {
            Some(only_matrix(c, &path.then("parallel"), parallel)?)
        }
        Some(parallel) => {
            c.fail(&path.then("parallel"), parallel, "cannot use \"parallel: <number>\"").suggestion =
                Some("name the instance itself, for example `rspec 1/3`".into());
            return None;
        }
    };
    Some(NeedSpec { name, artifacts, optional, selector, place })
}

/// Reads `dependencies`.
pub(crate) fn dependencies(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<(String, Place)>> {
    let names = c.texts_as(path, node, "dependencies should be an array of strings")?;
    let places = c.tree.seq(node).unwrap_or_default().iter().map(|item| c.tree.place(*item));
    Some(names.into_iter().zip(places).collect())
}
