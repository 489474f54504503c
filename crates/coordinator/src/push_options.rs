//! What `git push -o …` asks for besides the push: pipelines left out, with variables or inputs, and a merge request of the pushed
//! branch. Pure; called by `pushes.rs`. An option that has no effect here is told to who pushed, so that nobody waits for it.

use crate::ci_variable::is_key;
use harrier_base::Variable;
use harrier_pipeline::GivenInput;

/// All options of a push.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct PushOptions {
    /// No pipelines of branches and tags; those of merge requests are made, as on GitLab.
    pub skip: bool,
    /// Variables of the pipelines of branches and tags.
    pub variables: Vec<Variable>,
    /// Values for the inputs of their configuration.
    pub inputs: Vec<GivenInput>,
    /// What is wanted of the branch's merge request.
    pub merge_request: MergeRequestOptions,
    /// What is to be told to who pushed.
    pub warnings: Vec<String>,
}

/// `merge_request.…`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MergeRequestOptions {
    /// One is opened, unless there is one.
    pub create: bool,
    /// Its target branch; the default branch if nothing is said.
    pub target: Option<String>,
    /// Its title; that of the commit if nothing is said.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// It is not ready.
    pub draft: bool,
    /// Labels it gets.
    pub labels: Vec<String>,
    /// Labels it loses.
    pub unlabels: Vec<String>,
}

impl MergeRequestOptions {
    /// Whether anything is asked for.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// Options of GitLab's that have no effect here, and why.
const WITHOUT_EFFECT: [(&str, &str); 12] = [
    (
        "merge_request.merge_when_pipeline_succeeds",
        "merge requests are merged by a push to their target branch",
    ),
    ("merge_request.auto_merge", "merge requests are merged by a push to their target branch"),
    ("merge_request.remove_source_branch", "merge requests are merged by a push to their target branch"),
    ("merge_request.squash", "merge requests are merged by a push to their target branch"),
    ("merge_request.target_project", "both branches of a merge request are of one project"),
    ("merge_request.milestone", "there are no milestones"),
    ("merge_request.assign", "nobody is assigned to merge requests"),
    ("merge_request.unassign", "nobody is assigned to merge requests"),
    ("merge_request.reviewer", "merge requests are not reviewed here"),
    ("secret_detection.skip_all", "pushes are not searched for secrets"),
    ("secret_push_protection.skip_all", "pushes are not searched for secrets"),
    ("security_policy.bypass_reason", "there are no security policies"),
];

impl PushOptions {
    /// Reads them, in their order.
    pub fn read(options: &[String]) -> Self {
        let mut out = Self::default();
        for option in options {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(unquoted(value))),
                None => (option.as_str(), None),
            };
            let request = &mut out.merge_request;
            match (name, value) {
                ("ci.skip", _) => out.skip = true,
                ("ci.variable", Some(value)) => match variable(value) {
                    Some(variable) => out.variables.push(variable),
                    None => out.warnings.push(
                        "A push option is ignored: ci.variable wants KEY=value, the key of letters, digits and `_`.".into(),
                    ),
                },
                ("ci.input", Some(value)) => match value.split_once('=') {
                    Some((name, value)) if !name.is_empty() => {
                        out.inputs.push(GivenInput { name: name.to_owned(), value: value.into() });
                    }
                    _ => out.warnings.push("A push option is ignored: ci.input wants NAME=value.".into()),
                },
                // Nothing outside is told of pushes.
                ("integrations.skip_ci", _) => {}
                ("merge_request.create", _) => request.create = true,
                ("merge_request.draft", _) => request.draft = true,
                ("merge_request.target", Some(value)) => request.target = Some(value.to_owned()),
                ("merge_request.title", Some(value)) => request.title = Some(value.to_owned()),
                // One line is all that an option can be; GitLab takes `\n` for a line's end as well.
                ("merge_request.description", Some(value)) => {
                    request.description = Some(value.replace("\\n", "\n"));
                }
                ("merge_request.label", Some(value)) => request.labels.push(value.to_owned()),
                ("merge_request.unlabel", Some(value)) => request.unlabels.push(value.to_owned()),
                ("ci.variable" | "ci.input", None) => {
                    out.warnings.push(format!("A push option is ignored: {name} wants NAME=value behind it."));
                }
                (name, _) => out.warnings.push(match WITHOUT_EFFECT.iter().find(|(known, _)| *known == name) {
                    Some((_, why)) => format!("The push option {name} has no effect here: {why}."),
                    // The value may be a secret, and the name anything.
                    None => format!("The push option {} is not known here and has no effect.", shown(name)),
                }),
            }
        }
        out
    }
}

/// A value as shells and scripts quote it once more.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// `KEY=value`
fn variable(text: &str) -> Option<Variable> {
    let (key, value) = text.split_once('=')?;
    let value = unquoted(value);
    is_key(key).then(|| Variable { key: key.to_owned(), value: value.to_owned(), ..Variable::default() })
}

/// A name for a terminal.
fn shown(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    name.chars().take(60).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> PushOptions {
        PushOptions::read(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let found = read(&[
            "ci.skip",
            "ci.variable=A=b=c",
            "ci.variable=\"D=e f\"",
            "ci.variable=G=\"h\"",
            "ci.input=level=3",
            "integrations.skip_ci",
            "merge_request.create",
            "merge_request.target=release/1",
            "merge_request.title=A \"good\" one",
            "merge_request.description=one\\ntwo",
            "merge_request.label=a",
            "merge_request.label=b",
            "merge_request.draft",
        ]);
        assert_eq!(found.warnings, Vec::<String>::new());
        assert!(found.skip);
        let variables: Vec<(&str, &str)> =
            found.variables.iter().map(|one| (one.key.as_str(), one.value.as_str())).collect();
        assert_eq!(variables, [("A", "b=c"), ("D", "e f"), ("G", "h")]);
        assert_eq!(found.inputs, [GivenInput { name: "level".into(), value: "3".into() }]);
        let request = &found.merge_request;
        assert!(request.create && request.draft && request.any());
        assert_eq!(request.target.as_deref(), Some("release/1"));
        assert_eq!(request.title.as_deref(), Some("A \"good\" one"));
        assert_eq!(request.description.as_deref(), Some("one\ntwo"));
        assert_eq!(request.labels, ["a", "b"]);
    }

    #[test]
    fn what_has_no_effect_is_told_without_values() {
        for (option, said) in [
            ("ci.skipp", "ci.skipp is not known"),
            ("token=very-secret", "token is not known"),
            ("merge_request.merge_when_pipeline_succeeds", "has no effect here: merge requests are merged"),
            ("ci.variable=very-secret", "ci.variable wants KEY=value"),
            ("ci.variable=A-B=very-secret", "ci.variable wants KEY=value"),
            ("ci.input=x", "ci.input wants"),
            ("ci.variable", "ci.variable wants NAME=value"),
            ("\u{1b}[31m", "?[31m is not known"),
        ] {
            let found = read(&[option]);
            let [warning] = &found.warnings[..] else { panic!("{option}: {:?}", found.warnings) };
            assert!(warning.contains(said) && !warning.contains("very-secret"), "{option}: {warning}");
            assert!(found.variables.is_empty() && !found.skip && !found.merge_request.any(), "{option}");
        }
    }
}
