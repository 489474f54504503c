//! `artifacts` with its reports (`ci-yaml.md` §19).

use crate::check::{Check, Path};
use crate::durations::parse_duration;
use crate::pipeline::{Artifacts, Report, SaveWhen};
use crate::yaml::{NodeId, Value};

const KEYS: [&str; 10] = [
    "name",
    "untracked",
    "paths",
    "reports",
    "when",
    "expire_in",
    "expose_as",
    "exclude",
    "public",
    "access",
];

const REPORTS: [&str; 26] = [
    "junit",
    "codequality",
    "sast",
    "secret_detection",
    "dependency_scanning",
    "container_scanning",
    "dast",
    "performance",
    "browser_performance",
    "load_performance",
    "license_scanning",
    "metrics",
    "lsif",
    "dotenv",
    "terraform",
    "accessibility",
    "coverage_fuzzing",
    "api_fuzzing",
    "cluster_image_scanning",
    "requirements",
    "requirements_v2",
    "coverage_report",
    "cyclonedx",
    "annotations",
    "repository_xray",
    "sarif",
];

/// `when` of artifacts and caches.
pub(crate) fn save_when(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<SaveWhen> {
    match c.word(path, node, "when", &["on_success", "on_failure", "always"])? {
        "on_failure" => Some(SaveWhen::OnFailure),
        "always" => Some(SaveWhen::Always),
        _ => Some(SaveWhen::OnSuccess),
    }
}

/// Reads `artifacts`.
pub(crate) fn artifacts(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Artifacts> {
    if !c.mapping(path, node, &KEYS) {
        return None;
    }
    let tree = c.tree;
    let before = c.found.len();
    let mut out = Artifacts::default();
    let text = |c: &mut Check<'_>, key: &str, subject: &str| {
        let value = tree.given(node, key)?;
        let text = tree.text(value).map(str::to_owned);
        if text.is_none() {
            c.fail(path, value, format_args!("{subject} should be a string"));
        }
        text
    };
    let flag = |c: &mut Check<'_>, key: &str| {
        let value = tree.given(node, key)?;
        match tree.value(value) {
            Value::Bool(flag) => Some(*flag),
            _ => {
                c.fail(path, value, format_args!("{key} should be a boolean value"));
                None
            }
        }
    };
    out.name = text(c, "name", "name");
    out.untracked = flag(c, "untracked").unwrap_or(false);
    if let Some(paths) = tree.given(node, "paths") {
        out.paths = c.texts_as(path, paths, "paths should be an array of strings").unwrap_or_default();
    }
    if let Some(exclude) = tree.given(node, "exclude") {
        out.exclude = c.texts_as(path, exclude, "exclude should be an array of strings").unwrap_or_default();
    }
    if let Some(when) = tree.given(node, "when") {
        out.when = save_when(c, path, when).unwrap_or_default();
    }
    if let Some(expire_in) = tree.given(node, "expire_in") {
        match tree.text(expire_in) {
            Some(text) if text == "never" || parse_duration(text).is_some() => {
                out.expire_in = Some(text.to_owned())
            }
            _ => {
                c.fail(path, expire_in, "expire in should be a duration").suggestion =
                    Some("write it like \"1 week\" or `never`".into());
            }
        }
    }
    out.public = flag(c, "public");
    if let Some(access) = tree.given(node, "access") {
        if out.public.is_some() {
            c.config(path, access, "must use only one of these keys: public, access");
        }
        let words = ["none", "developer", "maintainer", "all"];
        out.access = c.word(path, access, "access", &words).map(str::to_owned);
    }
    if let Some(value) = tree.given(node, "expose_as") {
        out.expose_as = expose_as(c, path, value, &out);
    }
    if let Some(reports) = tree.given(node, "reports") {
        out.reports = read_reports(c, &path.then("reports"), reports).unwrap_or_default();
    }
    (c.found.len() == before).then_some(out)
}

fn expose_as(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, artifacts: &Artifacts) -> Option<String> {
    let Some(text) = c.tree.text(node) else {
        c.fail(path, node, "expose as should be a string");
        return None;
    };
    let word = |ch: char| ch.is_ascii_alphanumeric() || ch == '_';
    if text.chars().count() > 100 {
        c.fail(path, node, "expose as is too long (maximum is 100 characters)");
        return None;
    }
    if !text.starts_with(word) || !text.chars().all(|ch| word(ch) || ch == '-' || ch == ' ') {
        c.fail(path, node, "expose as can contain only letters, digits, '-', '_' and spaces");
        return None;
    }
    if artifacts.paths.is_empty() {
        c.fail(path, node, "expose as requires the keyword artifacts:paths");
        return None;
    }
    if artifacts.paths.iter().any(|p| p.contains('*')) {
        c.fail(path, node, "paths can't contain '*' when used with 'expose_as'");
        return None;
    }
    Some(text.to_owned())
}

fn read_reports(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<Report>> {
    if !c.mapping(path, node, &REPORTS) {
        return None;
    }
    let tree = c.tree;
    let mut reports = Vec::new();
    for entry in tree.map(node).unwrap_or_default() {
        let Some(kind) = tree.text(entry.key) else { continue };
        if tree.is_null(entry.value) {
            continue;
        }
        if kind == "coverage_report" {
            let path = path.then("coverage_report");
            if !c.mapping(&path, entry.value, &["coverage_format", "path"]) {
                continue;
            }
            let format = tree.given(entry.value, "coverage_format");
            let file = tree.given(entry.value, "path");
            let (Some(format), Some(file)) = (format, file) else {
                let missing: Vec<&str> = [("coverage_format", format), ("path", file)]
                    .iter()
                    .filter_map(|(key, given)| given.is_none().then_some(*key))
                    .collect();
                c.config(&path, entry.value, format_args!("missing required keys: {}", missing.join(", ")));
                continue;
            };
            let format = c.word(&path, format, "coverage format", &["cobertura", "jacoco"]);
            let file = c.text(&path.then("path"), file);
            if let (Some(format), Some(file)) = (format, file) {
                reports.push(Report { kind: format.to_owned(), paths: vec![file] });
            }
            continue;
        }
        let complaint = format!("{} should be an array of strings or a string", kind.replace('_', " "));
        if let Some(paths) = c.one_or_more(path, entry.value, &complaint) {
            reports.push(Report { kind: kind.to_owned(), paths });
        }
    }
    Some(reports)
}
