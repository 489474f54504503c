//! `trigger` of a bridge (`ci-yaml.md` §23.1): the shape. What is triggered, `downstream` says.

use crate::check::{Check, Path};
use crate::pipeline::{Bridge, Forward, Strategy};
use crate::yaml::{NodeId, Value};

/// Entries of `trigger:include` (§31).
const MAX_INCLUDES: usize = 3;

/// What selects the kind of an entry of `include`.
const KINDS: [&str; 6] = ["local", "project", "template", "remote", "component", "artifact"];

/// Reads `trigger`.
pub(crate) fn trigger(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Bridge> {
    let tree = c.tree;
    if let Some(project) = tree.text(node) {
        if project.trim().is_empty() {
            c.config(path, node, "can't be blank");
            return None;
        }
        return Some(Bridge::Project {
            project: project.to_owned(),
            branch: None,
            inputs: serde_json::Map::new(),
            strategy: Strategy::Independent,
            forward: Forward::default(),
        });
    }
    if tree.map(node).is_none() {
        c.fail(path, node, "has to be either a string or a hash").suggestion =
            Some("name a project, or write `include:` with the files of a child pipeline".into());
        return None;
    }
    let before = c.found.len();
    let bridge = match (tree.given(node, "include"), tree.given(node, "project")) {
        (Some(include), _) => {
            c.known_keys(path, node, &["include", "strategy", "forward"]);
            let artifacts = includes(c, &path.then("include"), include);
            let (strategy, forward) = (strategy(c, path, node), forward(c, path, node));
            Bridge::Child { include: tree.json(include), artifacts, strategy, forward }
        }
        (None, Some(project)) => {
            c.known_keys(path, node, &["project", "branch", "strategy", "forward", "inputs"]);
            let name = match tree.text(project) {
                Some(text) if !text.trim().is_empty() => text.to_owned(),
                Some(_) => {
                    c.fail(path, project, "project can't be blank");
                    String::new()
                }
                None => {
                    c.fail(path, project, "project should be a string");
                    String::new()
                }
            };
            let branch = tree.given(node, "branch").and_then(|branch| {
                let text = tree.text(branch).map(str::to_owned);
                if text.is_none() {
                    c.fail(path, branch, "branch should be a string");
                }
                text
            });
            let inputs = inputs(c, path, node);
            let (strategy, forward) = (strategy(c, path, node), forward(c, path, node));
            Bridge::Project { project: name, branch, inputs, strategy, forward }
        }
        (None, None) => {
            c.config(path, node, "must specify either project or include").suggestion =
                Some("`project: group/name` for another project, `include:` for a child pipeline".into());
            return None;
        }
    };
    (c.found.len() == before).then_some(bridge)
}

fn strategy(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Strategy {
    let Some(given) = c.tree.given(node, "strategy") else { return Strategy::Independent };
    match c.word(path, given, "strategy", &["depend", "mirror"]) {
        Some("depend") => Strategy::Depend,
        Some(_) => Strategy::Mirror,
        None => Strategy::Independent,
    }
}

fn forward(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Forward {
    let mut out = Forward::default();
    let Some(given) = c.tree.given(node, "forward") else { return out };
    let path = path.then("forward");
    if c.mapping(&path, given, &["yaml_variables", "pipeline_variables"]) {
        let flag = |c: &mut Check<'_>, key: &str| {
            let value = c.tree.given(given, key)?;
            c.boolean(&path.then(key), value)
        };
        out.yaml_variables = flag(c, "yaml_variables").unwrap_or(out.yaml_variables);
        out.pipeline_variables = flag(c, "pipeline_variables").unwrap_or(out.pipeline_variables);
    }
    out
}

fn inputs(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> serde_json::Map<String, serde_json::Value> {
    let tree = c.tree;
    let Some(given) = tree.given(node, "inputs") else { return serde_json::Map::new() };
    if tree.map(given).is_none() {
        c.fail(path, given, "inputs should be a hash");
    }
    match tree.json(given) {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}

/// Checks `include` of a trigger; gives the artifacts that it names.
fn includes(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Vec<(String, String)> {
    let tree = c.tree;
    let mut artifacts = Vec::new();
    let items = match tree.value(node) {
        Value::Text(_) | Value::Map(_) => vec![node],
        Value::Seq(items) => items.to_vec(),
        _ => {
            c.config(path, node, "should be a string, a hash or an array");
            return artifacts;
        }
    };
    if items.is_empty() {
        c.config(path, node, "can't be blank");
    }
    if items.len() > MAX_INCLUDES {
        c.config(path, node, format_args!("is too long (maximum is {MAX_INCLUDES})")).suggestion =
            Some("let one of the files include the others".into());
    }
    for item in items {
        match tree.value(item) {
            Value::Text(text) if !text.trim().is_empty() => {}
            Value::Map(_) => artifacts.extend(entry(c, path, item)),
            _ => {
                c.config(path, item, "should be a string or a hash");
            }
        }
    }
    artifacts
}

fn entry(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<(String, String)> {
    let tree = c.tree;
    let keys = [
        "local",
        "file",
        "remote",
        "integrity",
        "cache",
        "project",
        "ref",
        "template",
        "component",
        "artifact",
        "job",
        "inputs",
    ];
    if !c.known_keys(path, node, &keys) {
        return None;
    }
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| tree.given(node, kind).is_some()).collect();
    match given.as_slice() {
        [_] => {}
        [] => {
            c.config(path, node, "does not have a valid subkey").suggestion =
                Some(format!("one of {} says what is included", KINDS.join(", ")));
            return None;
        }
        _ => {
            c.config(path, node, format_args!("must use only one of: {}", given.join(", ")));
            return None;
        }
    }
    for key in ["local", "remote", "project", "ref", "template", "component", "artifact", "job"] {
        if let Some(value) = tree.given(node, key)
            && tree.text(value).is_none_or(|text| text.trim().is_empty())
        {
            c.fail(path, value, format_args!("{key} should be a string"));
            return None;
        }
    }
    if tree.given(node, "project").is_some() && tree.given(node, "file").is_none() {
        c.config(path, node, "must specify the file where to fetch the config from").suggestion =
            Some("add `file:` with the path in that project".into());
        return None;
    }
    match (tree.given(node, "artifact"), tree.given(node, "job")) {
        (Some(_), None) => {
            c.config(path, node, "must specify the job where to fetch the artifact from").suggestion =
                Some("add `job:` with the name of the job that makes the file".into());
            None
        }
        (None, Some(job)) => {
            c.fail(path, job, "job goes with `artifact` only");
            None
        }
        (Some(artifact), Some(job)) => Some((tree.text(job)?.to_owned(), tree.text(artifact)?.to_owned())),
        (None, None) => None,
    }
}
