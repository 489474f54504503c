//! `workflow` and `stages` (`ci-yaml.md` §14, §15).

use crate::check::{Check, Path};
use crate::diagnostic::Place;
use crate::pipeline::{AutoCancel, OnNewCommit};
use crate::rules::{Rule, RulesOf, rules};
use crate::yaml::NodeId;

/// `workflow` as written.
#[derive(Debug, Default)]
pub(crate) struct Workflow {
    pub name: Option<String>,
    pub rules: Option<Vec<Rule>>,
    pub rules_place: Option<Place>,
    pub auto_cancel: AutoCancel,
}

/// Reads `workflow`.
pub(crate) fn workflow(c: &mut Check<'_>, node: NodeId) -> Workflow {
    let path = Path::root("workflow");
    let mut out = Workflow::default();
    if !c.mapping(&path, node, &["rules", "name", "auto_cancel"]) {
        return out;
    }
    let tree = c.tree;
    if let Some(name) = tree.given(node, "name")
        && let Some(text) = c.text(&path.then("name"), name)
    {
        if text.trim().chars().count() > 255 {
            c.fail(&path, name, "name is too long (maximum is 255 characters)");
        }
        out.name = Some(text);
    }
    if let Some(given) = tree.given(node, "auto_cancel") {
        out.auto_cancel = auto_cancel(c, &path.then("auto_cancel"), given);
    }
    if let Some(given) = tree.given(node, "rules") {
        out.rules_place = Some(tree.place(given));
        let path = path.then("rules");
        out.rules = rules(c, &path, given, RulesOf::Workflow);
        // What a rule's auto_cancel says is checked now and used when the rule matches.
        for rule in out.rules.iter().flatten() {
            if let Some(given) = rule.auto_cancel {
                auto_cancel(c, &path.then("rule").then("auto_cancel"), given);
            }
        }
    }
    out
}

/// Reads `auto_cancel`.
pub(crate) fn auto_cancel(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> AutoCancel {
    let mut out = AutoCancel::default();
    if !c.mapping(path, node, &["on_new_commit", "on_job_failure"]) {
        return out;
    }
    if let Some(given) = c.tree.given(node, "on_new_commit") {
        let words = ["conservative", "interruptible", "none"];
        out.on_new_commit = match c.word(path, given, "on new commit", &words) {
            Some("interruptible") => OnNewCommit::Interruptible,
            Some("none") => OnNewCommit::None,
            _ => OnNewCommit::Conservative,
        };
    }
    if let Some(given) = c.tree.given(node, "on_job_failure") {
        out.on_job_failure = c.word(path, given, "on job failure", &["none", "all"]) == Some("all");
    }
    out
}

/// The stages in order, `.pre` first and `.post` last.
pub(crate) fn stages(c: &mut Check<'_>, node: Option<NodeId>) -> Vec<String> {
    let path = Path::root("stages");
    let listed = match node {
        None => ["build", "test", "deploy"].map(str::to_owned).to_vec(),
        Some(node) if c.tree.seq(node).is_some() => match c.script(&path, node) {
            Some(stages) => stages,
            None => {
                if let Some(last) = c.found.last_mut() {
                    last.message =
                        "stages config should be a nested array of strings up to 10 levels deep".into();
                }
                return Vec::new();
            }
        },
        Some(node) => {
            c.config(&path, node, "should be an array of strings");
            return Vec::new();
        }
    };
    if listed.is_empty() {
        return Vec::new();
    }
    if let (Some(node), Some(long)) = (node, listed.iter().find(|stage| stage.chars().count() > 255)) {
        let short: String = long.chars().take(40).collect();
        c.config(&path, node, format_args!("{short}… is too long (maximum is 255 characters)"));
    }
    let mut stages = vec![".pre".to_owned()];
    for stage in listed {
        if stage != ".pre" && stage != ".post" && !stages.contains(&stage) {
            stages.push(stage);
        }
    }
    stages.push(".post".to_owned());
    stages
}
