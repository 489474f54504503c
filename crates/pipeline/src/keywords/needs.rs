//! `needs` and `dependencies`: their shapes (`ci-yaml.md` §16.1). Which jobs they mean is found in `graph`.

use super::parallel::{Matrix, only_matrix};
use crate::check::{Check, Path};
use crate::diagnostic::Place;
use crate::pipeline::{Elsewhere, NeedElsewhere};
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

/// Needs of jobs outside of the pipeline (§31).
const MAX_ELSEWHERE: usize = 5;

/// Whose needs they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeedsOf {
    Job,
    Bridge,
    Rule,
}

/// `needs` by kind.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Jobs of this pipeline.
    pub jobs: Vec<NeedSpec>,
    /// Jobs of other pipelines and projects.
    pub elsewhere: Vec<NeedElsewhere>,
    /// Of a bridge: the project whose pipeline it mirrors.
    pub mirrors: Option<(String, Place)>,
}

/// Reads `needs` of a job, or of one of its rules.
pub(crate) fn needs(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, of: NeedsOf) -> Option<Needs> {
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
    let need_path = path.then("need");
    let before = c.found.len();
    let mut needs = Needs::default();
    for item in items {
        let outside = ["pipeline", "project"].into_iter().find_map(|key| tree.given(item, key));
        match outside {
            None => needs.jobs.extend(need(c, &need_path, item)),
            Some(given) if of == NeedsOf::Rule => {
                let complaint = "uses invalid types: only jobs of the same pipeline can be needed in rules";
                c.config(&need_path, given, complaint);
            }
            Some(given) if of == NeedsOf::Bridge => {
                let project = mirrored(c, &need_path, item);
                if needs.mirrors.is_some() {
                    c.config(path, given, "should contain at most one bridge need");
                }
                needs.mirrors = project.or(needs.mirrors);
            }
            Some(_) => needs.elsewhere.extend(elsewhere(c, &need_path, item)),
        }
    }
    if needs.elsewhere.len() > MAX_ELSEWHERE {
        let text = format!("can hold at most {MAX_ELSEWHERE} jobs of other pipelines and projects");
        c.config(path, node, text);
    }
    (c.found.len() == before).then_some(needs)
}

/// `{pipeline: group/name}` of a bridge.
fn mirrored(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<(String, Place)> {
    let tree = c.tree;
    let Some(pipeline) = tree.given(node, "pipeline").filter(|_| tree.given(node, "job").is_none()) else {
        c.config(path, node, "uses invalid types: a trigger job can need jobs of its own pipeline only")
            .suggestion = Some("a job with `script:` can fetch artifacts of other pipelines".into());
        return None;
    };
    if !c.known_keys(path, node, &["pipeline"]) {
        return None;
    }
    match tree.text(pipeline) {
        Some(project) if !project.trim().is_empty() => Some((project.to_owned(), tree.place(node))),
        _ => {
            c.fail(path, pipeline, "pipeline should be a string");
            None
        }
    }
}

/// `{pipeline, job, artifacts}` or `{project, job, ref, artifacts}`.
fn elsewhere(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<NeedElsewhere> {
    let tree = c.tree;
    let of_project = tree.given(node, "project").is_some();
    let keys: &[&str] =
        if of_project { &["project", "job", "ref", "artifacts"] } else { &["pipeline", "job", "artifacts"] };
    if !c.known_keys(path, node, keys) {
        return None;
    }
    let text = |c: &mut Check<'_>, key: &str| match tree.given(node, key) {
        Some(value) => match tree.scalar_text(value).filter(|text| !text.trim().is_empty()) {
            // The number of a pipeline need not be quoted.
            Some(text) if tree.text(value).is_some() || key == "pipeline" => Some(text),
            _ => {
                c.fail(path, value, format_args!("{key} should be a string"));
                None
            }
        },
        None => {
            c.config(path, node, format_args!("missing required keys: {key}")).suggestion =
                (key == "job").then(|| "name the job whose artifacts are wanted".to_owned());
            None
        }
    };
    let from = if of_project {
        let (project, git_ref) = (text(c, "project"), text(c, "ref"));
        Elsewhere::Project { project: project?, git_ref: git_ref? }
    } else {
        Elsewhere::Pipeline(text(c, "pipeline")?)
    };
    let job = text(c, "job")?;
    let artifacts = match tree.given(node, "artifacts") {
        None => true,
        Some(value) => match tree.value(value) {
            Value::Bool(flag) => *flag,
            _ => {
                c.fail(path, value, "artifacts should be a boolean value");
                return None;
            }
        },
    };
    Some(NeedElsewhere { job, artifacts, from, place: tree.place(node) })
}

fn need(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<NeedSpec> {
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
