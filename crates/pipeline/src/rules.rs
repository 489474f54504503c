//! `rules`: their shape, and which of them decides (`ci-yaml.md` §12). Called for jobs, for `workflow` and for
//! includes. `only`/`except` are in `refs`.

use crate::check::{Check, Path};
use crate::context::Context;
use crate::diagnostic::Place;
use crate::durations::parse_duration;
use crate::expand::{Scope, expand_existing, value_of};
use crate::expression::Expression;
use crate::glob::Glob;
use crate::keywords::needs::{NeedSpec, NeedsOf, needs};
use crate::keywords::variables;
use crate::pipeline::{MatchedRule, When, YamlVariable};
use crate::source::{Home, IncludeSource, ProjectAt, is_project};
use crate::yaml::NodeId;
use std::time::Duration;

/// Whose rules they are; it decides which keys are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RulesOf {
    Job,
    Workflow,
    Include,
}

/// One rule as written.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub place: Place,
    pub text: String,
    pub condition: Option<Expression>,
    pub changes: Option<Changes>,
    pub exists: Option<Exists>,
    pub when: Option<RuleWhen>,
    pub start_in: Option<Duration>,
    pub allow_failure: Option<bool>,
    pub interruptible: Option<bool>,
    pub variables: Vec<YamlVariable>,
    pub needs: Option<Vec<NeedSpec>>,
    /// `workflow:rules:auto_cancel`
    pub auto_cancel: Option<NodeId>,
}

/// `when` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleWhen {
    Never,
    Runs(When),
}

/// `changes` of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub paths: Vec<String>,
    pub compare_to: Option<String>,
}

/// `exists` of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Exists {
    pub paths: Vec<String>,
    /// Another project than the one the rule is written in.
    pub project: Option<String>,
    pub git_ref: Option<String>,
}

/// Comparisons of a pattern with a path beyond which a clause is true (§31).
const MAX_COMPARISONS: usize = 50_000;
/// Paths of one clause (§31).
const MAX_PATHS: usize = 50;
const WEEK: Duration = Duration::from_secs(604_800);

/// `on_success` and the like.
pub(crate) fn when_word(word: &str) -> Option<When> {
    Some(match word {
        "on_success" => When::OnSuccess,
        "on_failure" => When::OnFailure,
        "always" => When::Always,
        "manual" => When::Manual,
        "delayed" => When::Delayed,
        _ => return None,
    })
}

/// Reads `rules`.
pub(crate) fn rules(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, of: RulesOf) -> Option<Vec<Rule>> {
    if c.tree.seq(node).is_none() {
        let complaint =
            if of == RulesOf::Include { "should be an array of hashes" } else { "should be an array" };
        c.config(path, node, complaint);
        return None;
    }
    let items = match c.flatten(node, if of == RulesOf::Include { 0 } else { 10 }) {
        Ok(items) => items,
        Err(bad) => {
            c.config(path, bad, "should be a nested array of hashes up to 10 levels deep");
            return None;
        }
    };
    if items.is_empty() && of == RulesOf::Job {
        c.config(path, node, "can't be blank").suggestion =
            Some("take `rules` out, or add a rule such as `- when: on_success`".into());
        return None;
    }
    let path = path.then("rule");
    items.into_iter().map(|item| rule(c, &path, item, of)).collect()
}

fn rule(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, of: RulesOf) -> Option<Rule> {
    let allowed: &[&str] = match of {
        RulesOf::Job => &[
            "if",
            "changes",
            "exists",
            "when",
            "start_in",
            "allow_failure",
            "variables",
            "needs",
            "interruptible",
        ],
        RulesOf::Workflow => &[
            "if",
            "changes",
            "exists",
            "when",
            "start_in",
            "allow_failure",
            "variables",
            "needs",
            "auto_cancel",
        ],
        RulesOf::Include => &["if", "exists", "changes", "when"],
    };
    let before = c.found.len();
    if !c.mapping(path, node, allowed) {
        return None;
    }
    let tree = c.tree;
    if tree.map(node).is_some_and(<[_]>::is_empty) {
        c.config(path, node, "can't be blank");
        return None;
    }
    let mut rule = Rule {
        place: tree.place(node),
        text: String::new(),
        condition: None,
        changes: None,
        exists: None,
        when: None,
        start_in: None,
        allow_failure: None,
        interruptible: None,
        variables: Vec::new(),
        needs: None,
        auto_cancel: tree.given(node, "auto_cancel"),
    };
    let mut clauses = Vec::new();
    if let Some(condition) = tree.given(node, "if") {
        match tree.text(condition) {
            Some(text) => {
                clauses.push(format!("if: {text}"));
                match Expression::parse(text) {
                    Ok(expression) => rule.condition = Some(expression),
                    Err(error) => {
                        let why = format!("character {}: {}", error.at + 1, error.why);
                        c.fail(path, condition, "if invalid expression syntax").suggestion = Some(why);
                    }
                }
            }
            None => {
                c.fail(path, condition, "if should be a string").suggestion =
                    Some("compare a variable, for example `$CI_COMMIT_BRANCH == \"main\"`".into());
            }
        }
    }
    if let Some(changes) = tree.given(node, "changes") {
        clauses.push("changes".into());
        rule.changes = read_changes(c, &path.then("changes"), changes);
    }
    if let Some(exists) = tree.given(node, "exists") {
        clauses.push("exists".into());
        rule.exists = read_exists(c, &path.then("exists"), exists, of);
    }
    if let Some(when) = tree.given(node, "when") {
        let words: &[&str] = match of {
            RulesOf::Job => &["on_success", "on_failure", "always", "never", "manual", "delayed"],
            RulesOf::Workflow | RulesOf::Include => &["always", "never"],
        };
        if let Some(word) = c.word(path, when, "when", words) {
            rule.when = Some(when_word(word).map_or(RuleWhen::Never, RuleWhen::Runs));
        }
    }
    let delayed = rule.when == Some(RuleWhen::Runs(When::Delayed));
    match tree.given(node, "start_in") {
        Some(start_in) if delayed => match tree.text(start_in).and_then(parse_duration) {
            Some(duration) if duration <= WEEK => rule.start_in = Some(duration),
            Some(_) => {
                c.fail(path, start_in, "start in should not exceed the limit").suggestion =
                    Some("at most 1 week".into());
            }
            None => {
                c.fail(path, start_in, "start in should be a duration");
            }
        },
        Some(start_in) => {
            c.fail(path, start_in, "start in must be blank").suggestion =
                Some("`start_in` goes with `when: delayed`".into());
        }
        None if delayed => {
            c.fail(path, node, "start in should be a duration").suggestion =
                Some("`when: delayed` needs `start_in`, for example `start_in: 5 minutes`".into());
        }
        None => {}
    }
    let flag = |c: &mut Check<'_>, key: &str, subject: &str| {
        let value = tree.given(node, key)?;
        match tree.value(value) {
            crate::yaml::Value::Bool(flag) => Some(*flag),
            _ => {
                c.fail(path, value, format_args!("{subject} should be a boolean value"));
                None
            }
        }
    };
    rule.allow_failure = flag(c, "allow_failure", "allow failure");
    rule.interruptible = flag(c, "interruptible", "interruptible");
    if let Some(given) = tree.given(node, "variables") {
        rule.variables = variables::scalars_only(c, &path.then("variables"), given).unwrap_or_default();
    }
    if let Some(given) = tree.given(node, "needs")
        && of == RulesOf::Job
    {
        rule.needs = needs(c, &path.then("needs"), given, NeedsOf::Rule).map(|needs| needs.jobs);
    }
    rule.text = if clauses.is_empty() { "without conditions".to_owned() } else { clauses.join(", ") };
    (c.found.len() == before).then_some(rule)
}

fn read_changes(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Changes> {
    let tree = c.tree;
    let (list, compare_to) = if tree.map(node).is_some() {
        if !c.mapping(path, node, &["paths", "compare_to"]) {
            return None;
        }
        let Some(paths) = tree.given(node, "paths") else {
            c.config(path, node, "missing required keys: paths");
            return None;
        };
        let compare_to = match tree.given(node, "compare_to") {
            Some(text) => Some(c.text(&path.then("compare_to"), text)?),
            None => None,
        };
        (paths, compare_to)
    } else if tree.seq(node).is_some() {
        (node, None)
    } else {
        c.config(path, node, "should be an array or a hash");
        return None;
    };
    let paths = c.texts_as(path, list, "config should be an array of strings")?;
    if paths.len() > MAX_PATHS {
        c.config(path, list, "has too many entries (maximum 50)");
        return None;
    }
    Some(Changes { paths, compare_to })
}

fn read_exists(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, of: RulesOf) -> Option<Exists> {
    let tree = c.tree;
    let mut list = node;
    let (mut project, mut git_ref) = (None, None);
    if tree.map(node).is_some() {
        if !c.mapping(path, node, &["paths", "project", "ref"]) {
            return None;
        }
        let Some(paths) = tree.given(node, "paths") else {
            c.config(path, node, "missing required keys: paths");
            return None;
        };
        if let Some(given) = tree.given(node, "project") {
            project = Some(c.text(&path.then("project"), given)?);
        }
        if let Some(given) = tree.given(node, "ref") {
            if project.is_none() {
                c.config(path, given, "missing required keys: project");
                return None;
            }
            git_ref = Some(c.text(&path.then("ref"), given)?);
        }
        list = paths;
    }
    let paths = c.one_or_more(path, list, "config should be an array of strings or a string")?;
    if paths.len() > MAX_PATHS && of != RulesOf::Include {
        c.config(path, list, "has too many entries (maximum 50)");
        return None;
    }
    Some(Exists { paths, project, git_ref })
}

/// What the rules say.
pub(crate) enum Verdict<'r> {
    /// This one holds; counted from 1.
    Matched(usize, &'r Rule),
    /// None holds.
    NoMatch,
    /// A clause could not be decided.
    Unknown(Place, String),
}

impl Rule {
    /// The rule for messages.
    pub fn matched(&self, number: usize) -> MatchedRule {
        let variables = self.variables.iter().map(|variable| variable.key.clone()).collect();
        MatchedRule { number, text: self.text.clone(), place: self.place, variables }
    }
}

/// The first rule of which every clause holds (§12.2). `home` is where `exists` looks.
pub(crate) fn evaluate<'r>(
    rules: &'r [Rule],
    scope: &dyn Scope,
    cx: &Context,
    source: &dyn IncludeSource,
    home: &Home,
) -> Verdict<'r> {
    for (at, rule) in rules.iter().enumerate() {
        let holds = rule.condition.as_ref().is_none_or(|e| e.holds(&|name| value_of(scope, name)));
        if !holds {
            continue;
        }
        if let Some(changes) = &rule.changes {
            match changes_hold(changes, scope, cx, source) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(why) => return Verdict::Unknown(rule.place, why),
            }
        }
        if let Some(exists) = &rule.exists {
            match exists_holds(exists, scope, source, home) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(why) => return Verdict::Unknown(rule.place, why),
            }
        }
        return Verdict::Matched(at + 1, rule);
    }
    Verdict::NoMatch
}

fn changes_hold(
    changes: &Changes,
    scope: &dyn Scope,
    cx: &Context,
    source: &dyn IncludeSource,
) -> Result<bool, String> {
    let compared;
    let changed: &[String] = match &changes.compare_to {
        Some(git_ref) => {
            compared = source.changed_since(&expand_existing(scope, git_ref))?;
            &compared
        }
        None => match &cx.changes {
            Some(changed) => changed,
            None => return Ok(true),
        },
    };
    Ok(any_changed(&changes.paths, changed, scope))
}

/// Whether a pattern matches a changed path (§12.3).
pub(crate) fn any_changed(patterns: &[String], changed: &[String], scope: &dyn Scope) -> bool {
    if patterns.len().saturating_mul(changed.len()) > MAX_COMPARISONS {
        return true;
    }
    patterns.iter().any(|pattern| {
        let glob = Glob::new(&expand_existing(scope, pattern));
        changed.iter().any(|path| glob.matches(path))
    })
}

fn exists_holds(
    exists: &Exists,
    scope: &dyn Scope,
    source: &dyn IncludeSource,
    home: &Home,
) -> Result<bool, String> {
    let patterns: Vec<String> = exists.paths.iter().map(|pattern| expand_existing(scope, pattern)).collect();
    let at = match (&exists.project, home) {
        (Some(project), _) => {
            let project = expand_existing(scope, project);
            if !is_project(&project) {
                return Err(format!("`{project}` in rules:exists is not the path of a project"));
            }
            let name = exists.git_ref.as_ref().map(|name| expand_existing(scope, name));
            let sha = source
                .commit(&project, name.as_deref())
                .map_err(|why| format!("project {project} of rules:exists cannot be looked into: {why}"))?;
            let sha = sha.ok_or_else(|| {
                format!("project {project} of rules:exists has no ref {}", name.unwrap_or_default())
            })?;
            ProjectAt { project, sha }
        }
        (None, Home::Project(at, _)) => ProjectAt::clone(at),
        (None, Home::Own) => return Ok(any_exists(&patterns, source.files())),
        (None, Home::Nowhere) => return Ok(false),
    };
    let files = source.files_at(&at).map_err(|why| why.to_string())?;
    Ok(any_exists(&patterns, &files))
}

/// Whether a pattern matches a file (§12.4); the files are sorted.
fn any_exists(patterns: &[String], files: &[String]) -> bool {
    let top_only = !patterns.iter().any(|p| p.contains('/') || p.contains("**"));
    let mut globs = Vec::new();
    for pattern in patterns {
        let wild = |text: &str| text.contains(['*', '?', '[', '{']);
        if !wild(pattern) {
            // The list is sorted, so a path or the first path below a directory is found quickly.
            let at = files.partition_point(|file| file.as_str() < pattern.as_str());
            let found = files.get(at).is_some_and(|file| {
                if pattern.ends_with('/') { file.starts_with(pattern.as_str()) } else { file == pattern }
            });
            if found {
                return true;
            }
            continue;
        }
        let extension = pattern
            .strip_prefix("**/*")
            .filter(|rest| rest.starts_with('.') && !rest.contains('/') && !wild(rest));
        match extension {
            Some(extension) if files.iter().any(|file| file.ends_with(extension)) => return true,
            Some(_) => {}
            None => globs.push(Glob::new(pattern)),
        }
    }
    if globs.is_empty() {
        return false;
    }
    let candidates = || files.iter().filter(|file| !top_only || !file.contains('/'));
    if candidates().count().saturating_mul(globs.len()) > MAX_COMPARISONS {
        return true;
    }
    globs.iter().any(|glob| candidates().any(|file| glob.matches(file)))
}
