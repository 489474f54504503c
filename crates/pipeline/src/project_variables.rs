//! Which of the variables that are kept for a project a job gets (`ci-yaml.md` §9.2): those whose environment scope covers
//! its environment, and protected ones only on protected refs. Called by the compiler and, for the payload, by the hosts.

use harrier_base::Variable;

/// A variable of the instance, a group or a project.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProjectVariable {
    /// The variable.
    pub variable: Variable,
    /// Environments that it is for; `*` stands for any text.
    pub scope: String,
    /// Only for protected refs.
    pub protected: bool,
    /// A higher level wins: 0 the instance, then the groups from the outermost, then the project.
    pub level: u32,
}

impl From<Variable> for ProjectVariable {
    /// For every job.
    fn from(variable: Variable) -> Self {
        Self { variable, scope: "*".into(), protected: false, level: 0 }
    }
}

/// The variables for a job with this environment (`None`: without one), lowest first. A name may come several times, the
/// last one wins: of the higher level, and within a level of the scope that fits best.
pub fn select(all: &[ProjectVariable], environment: Option<&str>, protected_ref: bool) -> Vec<Variable> {
    let mut fitting: Vec<&ProjectVariable> =
        all.iter().filter(|v| (protected_ref || !v.protected) && covers(&v.scope, environment)).collect();
    // Any text, then a pattern, then the name itself; the longer of two patterns fits better.
    fitting.sort_by_key(|v| {
        let fit = match v.scope.as_str() {
            "*" => 0,
            scope if scope.contains('*') => 1,
            _ => 2,
        };
        (v.level, fit, v.scope.len())
    });
    fitting.into_iter().map(|v| v.variable.clone()).collect()
}

/// Whether a scope covers an environment. A job without one gets what is for all.
fn covers(scope: &str, environment: Option<&str>) -> bool {
    let Some(name) = environment else { return scope == "*" };
    let mut parts = scope.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(value: &str, scope: &str, protected: bool, level: u32) -> ProjectVariable {
        ProjectVariable { variable: Variable::public("V", value), scope: scope.into(), protected, level }
    }

    #[test]
    fn scopes() {
        for (scope, environment, want) in [
            ("*", None, true),
            ("*", Some("x"), true),
            ("production", None, false),
            ("production", Some("production"), true),
            ("production", Some("production2"), false),
            ("review/*", Some("review/a/b"), true),
            ("review/*", Some("review"), false),
            ("*/eu", Some("prod/eu"), true),
            ("a*b*c", Some("a-b-b-c"), true),
            ("a*b*c", Some("a-c"), false),
            ("a*a", Some("a"), false),
        ] {
            assert_eq!(covers(scope, environment), want, "{scope} {environment:?}");
        }
    }

    /// §9.2
    #[test]
    fn the_best_fit_of_the_highest_level_wins() {
        let all = [
            variable("project, named", "review/a", false, 9),
            variable("project, pattern", "review/*", false, 9),
            variable("project, long pattern", "review/a*", false, 9),
            variable("group, named", "review/a", false, 1),
            variable("project, all", "*", false, 9),
            variable("instance", "*", false, 0),
            variable("secret", "production", true, 9),
            variable("group for production", "production", false, 1),
        ];
        let winner = |environment: Option<&str>, protected| {
            select(&all, environment, protected).pop().map(|v| v.value).unwrap_or_default()
        };
        assert_eq!(winner(None, false), "project, all");
        assert_eq!(winner(Some("review/a"), false), "project, named");
        assert_eq!(winner(Some("review/ab"), false), "project, long pattern");
        assert_eq!(winner(Some("review/b"), false), "project, pattern");
        assert_eq!(winner(Some("production"), true), "secret");
        assert_eq!(winner(Some("production"), false), "project, all");
    }
}
