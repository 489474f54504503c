//! `only` and `except` (`ci-yaml.md` §13): their shape, and whether they let a job in.

use crate::check::{Check, Path};
use crate::context::{Context, RunKind};
use crate::diagnostic::Place;
use crate::expand::{Scope, value_of};
use crate::expression::Expression;
use crate::re2::Re2;
use crate::rules::any_changed;
use crate::yaml::{NodeId, Value};

/// `only` or `except` as written.
#[derive(Clone, Debug)]
pub(crate) struct Refs {
    pub place: Place,
    pub refs: Option<Vec<String>>,
    pub variables: Option<Vec<Expression>>,
    pub changes: Option<Vec<String>>,
    pub kubernetes: bool,
}

/// Reads `only` or `except`.
pub(crate) fn refs(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Refs> {
    let tree = c.tree;
    let mut out =
        Refs { place: tree.place(node), refs: None, variables: None, changes: None, kubernetes: false };
    match tree.value(node) {
        Value::Seq(_) => out.refs = Some(read_refs(c, path, node)?),
        Value::Map(entries) if !entries.is_empty() => {
            if !c.known_keys(path, node, &["refs", "kubernetes", "variables", "changes"]) {
                return None;
            }
            let before = c.found.len();
            if let Some(list) = tree.given(node, "refs") {
                out.refs = read_refs(c, path, list);
            }
            if let Some(kubernetes) = tree.given(node, "kubernetes") {
                out.kubernetes = true;
                if tree.text(kubernetes) != Some("active") {
                    c.fail(path, kubernetes, "kubernetes should be one of: active");
                }
            }
            if let Some(list) = tree.given(node, "variables") {
                let texts = c.texts_as(path, list, "variables should be an array of strings")?;
                let mut parsed = Vec::with_capacity(texts.len());
                let items = tree.seq(list).unwrap_or_default();
                for (text, item) in texts.iter().zip(items) {
                    match Expression::parse(text) {
                        Ok(expression) => parsed.push(expression),
                        Err(error) => {
                            c.fail(path, *item, "variables invalid expression syntax").suggestion =
                                Some(format!("{text}: character {}: {}", error.at + 1, error.why));
                        }
                    }
                }
                out.variables = Some(parsed);
            }
            if let Some(list) = tree.given(node, "changes") {
                out.changes = c.texts_as(path, list, "changes should be an array of strings");
            }
            if c.found.len() > before {
                return None;
            }
        }
        _ => {
            c.config(path, node, "has to be either an array of conditions or a hash");
            return None;
        }
    }
    Some(out)
}

fn read_refs(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<String>> {
    let texts = c.texts_as(path, node, "config should be an array of strings or regular expressions")?;
    let items = c.tree.seq(node).unwrap_or_default();
    for (text, item) in texts.iter().zip(items) {
        let pattern = text.rsplit_once('@').map_or(text.as_str(), |(pattern, _)| pattern);
        let literal = Re2::literal(pattern).or_else(|| Re2::literal(text));
        let valid = literal.is_some_and(|(regex, flags)| Re2::new(regex, flags).is_ok());
        if text.starts_with('/') && !valid {
            c.config(path, *item, "should be an array of strings or regular expressions").suggestion =
                Some(format!("`{text}` is not a valid regular expression"));
            return None;
        }
    }
    Some(texts)
}

impl Refs {
    /// The refs that count when none are written.
    pub fn default_refs() -> Vec<String> {
        vec!["branches".into(), "tags".into()]
    }

    /// `only`: every given key is satisfied.
    pub fn all_hold(&self, scope: &dyn Scope, cx: &Context) -> bool {
        self.keys(scope, cx).into_iter().flatten().all(|holds| holds)
    }

    /// `except`: some given key is satisfied.
    pub fn any_holds(&self, scope: &dyn Scope, cx: &Context) -> bool {
        self.keys(scope, cx).into_iter().flatten().any(|holds| holds)
    }

    fn keys(&self, scope: &dyn Scope, cx: &Context) -> [Option<bool>; 4] {
        let refs = self.refs.as_ref().map(|refs| refs.iter().any(|text| ref_matches(text, &cx.run)));
        let variables = self
            .variables
            .as_ref()
            .map(|list| list.iter().any(|expression| expression.holds(&|name| value_of(scope, name))));
        let changes = self
            .changes
            .as_ref()
            .map(|patterns| cx.changes.as_ref().is_none_or(|changed| any_changed(patterns, changed, scope)));
        // No cluster is connected here.
        let kubernetes = self.kubernetes.then_some(false);
        [refs, variables, changes, kubernetes]
    }
}

fn ref_matches(text: &str, run: &RunKind) -> bool {
    let (pattern, path) = match text.rsplit_once('@') {
        Some((pattern, path)) => (pattern, Some(path)),
        None => (text, None),
    };
    if path.is_some_and(|path| path != run.project_path) {
        return false;
    }
    let source = run.source.strip_suffix("_event").unwrap_or(&run.source);
    let merge_request = run.merge_request || source == "merge_request" || source == "external_pull_request";
    match pattern {
        "merge_requests" if run.merge_request => return true,
        "tags" => return run.tag,
        "branches" => return !run.tag && !merge_request,
        _ if pattern == source || pattern.strip_suffix('s') == Some(source) => return true,
        "pushes" => return source == "push",
        _ => {}
    }
    if merge_request {
        return false;
    }
    match Re2::literal(pattern) {
        Some((regex, flags)) => Re2::new(regex, flags).is_ok_and(|regex| regex.is_match(&run.git_ref)),
        None => pattern == run.git_ref,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §13
    #[test]
    fn refs_table() {
        let run = |source: &str, git_ref: &str, tag: bool| RunKind {
            source: source.into(),
            git_ref: git_ref.into(),
            tag,
            merge_request: source == "merge_request_event",
            project_path: "g/p".into(),
        };
        let child = RunKind { source: "parent_pipeline".into(), ..run("merge_request_event", "x", false) };
        for (text, run, want) in [
            ("tags", run("push", "v1", true), true),
            ("branches", run("push", "v1", true), false),
            ("branches", run("push", "main", false), true),
            ("pushes", run("push", "main", false), true),
            ("push", run("push", "main", false), true),
            ("schedules", run("schedule", "main", false), true),
            ("merge_requests", run("merge_request_event", "x", false), true),
            ("branches", run("merge_request_event", "x", false), false),
            ("merge_requests", child.clone(), true),
            ("branches", child, false),
            ("main", run("push", "main", false), true),
            ("mai*", run("push", "main", false), false),
            ("/^ma/", run("push", "main", false), true),
            ("/^MA/i", run("push", "main", false), true),
            ("/^ma/@g/p", run("push", "main", false), true),
            ("main@g/p", run("push", "main", false), true),
            ("main@g/other", run("push", "main", false), false),
        ] {
            assert_eq!(ref_matches(text, &run), want, "{text} {run:?}");
        }
    }
}
