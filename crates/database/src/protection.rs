//! Which refs of a project are protected, and what its members may do to them: the one place that says so, for pushes, runs,
//! variables, runners and payloads. Pure.

use crate::projects::{AccessLevel, ProjectView, wildcard};

/// A rule for the branches or tags that its name matches.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Written")]
pub struct Protection {
    /// A name, in which `*` stands for anything.
    pub name: String,
    /// Least level of members who push to it, or create the tag; `None`: nobody.
    pub push: Option<AccessLevel>,
    /// Least level of members who merge into it, which lets them start its pipelines; `None`: nobody.
    pub merge: Option<AccessLevel>,
    /// Those who push may move it to where it was not before.
    pub force: bool,
}

/// As it is written; the first servers wrote only the name.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    Rule {
        name: String,
        push: Option<AccessLevel>,
        merge: Option<AccessLevel>,
        #[serde(default)]
        force: bool,
    },
}

impl From<Written> for Protection {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(name) => Self::new(name),
            Written::Rule { name, push, merge, force } => Self { name, push, merge, force },
        }
    }
}

impl Protection {
    /// For maintainers.
    pub fn new(name: impl Into<String>) -> Self {
        let maintainers = Some(AccessLevel::Maintainer);
        Self { name: name.into(), push: maintainers, merge: maintainers, force: false }
    }
}

impl ProjectView {
    /// The rules for branches or tags, with the default branch's where nobody has made or removed one.
    pub fn protections(&self, tags: bool) -> Vec<Protection> {
        let settings = &self.settings;
        if tags {
            return settings.protected_tags.clone();
        }
        let mut all = settings.protected_branches.clone();
        if !settings.default_branch_open && !all.iter().any(|one| one.name == self.default_branch) {
            all.insert(0, Protection::new(&self.default_branch));
        }
        all
    }

    fn rules(&self, git_ref: &str, tag: bool) -> Vec<Protection> {
        let mut fitting = self.protections(tag);
        fitting.retain(|rule| wildcard(&rule.name, git_ref));
        fitting
    }

    /// Whether a ref is protected.
    pub fn protects(&self, git_ref: &str, tag: bool) -> bool {
        !self.rules(git_ref, tag).is_empty()
    }

    /// Whether a member of a level may push to a ref, or create the tag. The most generous rule counts.
    pub fn may_push(&self, git_ref: &str, tag: bool, level: AccessLevel) -> bool {
        let rules = self.rules(git_ref, tag);
        match rules.is_empty() {
            true => level >= AccessLevel::Developer,
            false => rules.iter().any(|rule| rule.push.is_some_and(|least| level >= least)),
        }
    }

    /// Whether a member of a level may start, stop and repeat pipelines of a ref: who may change it.
    pub fn may_run(&self, git_ref: &str, tag: bool, level: AccessLevel) -> bool {
        let rules = self.rules(git_ref, tag);
        let may = |least: Option<AccessLevel>| least.is_some_and(|least| level >= least);
        match rules.is_empty() {
            true => level >= AccessLevel::Developer,
            false => rules.iter().any(|rule| may(rule.push) || !tag && may(rule.merge)),
        }
    }

    /// Whether a branch may only go forward.
    pub fn only_forward(&self, branch: &str) -> bool {
        let rules = self.rules(branch, false);
        !rules.is_empty() && !rules.iter().any(|rule| rule.force)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::ProjectSettings;
    use AccessLevel::{Developer, Maintainer, Owner, Reporter};

    fn project(branches: Vec<Protection>, tags: Vec<Protection>) -> ProjectView {
        ProjectView {
            id: 1,
            namespace: 1,
            path: "g/p".into(),
            name: "p".into(),
            description: String::new(),
            visibility: "private".into(),
            default_branch: "main".into(),
            settings: ProjectSettings {
                protected_branches: branches,
                protected_tags: tags,
                ..ProjectSettings::default()
            },
            cache_generation: 0,
            created_by: None,
            created_at: 0,
            active_at: 0,
        }
    }

    #[test]
    fn the_default_branch_is_for_maintainers_until_somebody_says_otherwise() {
        let mut one = project(Vec::new(), Vec::new());
        assert!(one.protects("main", false) && !one.protects("main", true) && !one.protects("x", false));
        assert!(!one.may_push("main", false, Developer) && one.may_push("main", false, Maintainer));
        assert!(one.only_forward("main") && !one.only_forward("x"));
        one.settings.default_branch_open = true;
        assert!(!one.protects("main", false) && one.may_push("main", false, Developer));
        let open = Protection { push: Some(Developer), merge: None, force: true, ..Protection::new("main") };
        let one = project(vec![open], Vec::new());
        assert!(one.protects("main", false) && one.may_push("main", false, Developer));
        assert!(!one.only_forward("main"));
    }

    #[test]
    fn the_most_generous_rule_counts() {
        let nobody = Protection { push: None, ..Protection::new("release/*") };
        let one = project(vec![nobody.clone()], vec![Protection::new("v*")]);
        assert!(!one.may_push("release/1", false, Owner), "nobody is nobody");
        assert!(one.may_run("release/1", false, Maintainer) && !one.may_run("release/1", false, Developer));
        let some = Protection { push: Some(Developer), ..Protection::new("release/1") };
        let one = project(vec![nobody, some], vec![Protection::new("v*")]);
        assert!(one.may_push("release/1", false, Developer) && one.may_run("release/1", false, Developer));
        assert!(!one.may_push("release/2", false, Maintainer));
        assert!(one.may_push("x", false, Developer) && !one.may_push("x", false, Reporter));
        assert!(
            one.protects("v1", true)
                && !one.may_push("v1", true, Developer)
                && one.may_push("w", true, Developer)
        );
    }

    #[test]
    fn names_of_earlier_servers_are_rules() {
        let settings: ProjectSettings = serde_json::from_str(
            r#"{"protected_branches": ["a", {"name": "b", "push": null, "merge": 30}]}"#,
        )
        .expect("settings");
        assert_eq!(settings.protected_branches[0], Protection::new("a"));
        assert_eq!(
            (settings.protected_branches[1].push, settings.protected_branches[1].merge),
            (None, Some(Developer))
        );
        let again: ProjectSettings =
            serde_json::from_str(&serde_json::to_string(&settings).expect("JSON")).expect("settings");
        assert_eq!(again, settings);
    }
}
