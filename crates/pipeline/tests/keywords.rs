//! Every keyword of the language is supported, checked only, or refused, and a case of `tests/rules` shows which: nothing
//! is silently ignored. `docs/language.md` is made of the list (`keywords.txt`) and the cases;
//! `UPDATE=1 cargo test -p harrier-pipeline --test keywords` writes it anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod rules_format;
mod support;

use harrier_pipeline::{Severity, yaml_mapping};
use rules_format::{Case, cases};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use support::{compiled, root};

#[derive(Clone, Copy, PartialEq)]
enum Support {
    Full,
    Checked,
    Refused,
}

struct Keyword {
    group: String,
    path: String,
    support: Support,
    note: String,
}

fn keywords() -> Vec<Keyword> {
    let text = include_str!("keywords.txt");
    let mut group = String::new();
    let mut all = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            group = name.trim_end_matches(']').to_owned();
            continue;
        }
        let (line, note) = line.split_once(" note: ").unwrap_or((line, ""));
        let (path, support) = match line.split_once(" = ") {
            None => (line, Support::Full),
            Some((path, "checked")) => (path, Support::Checked),
            Some((path, "refused")) => (path, Support::Refused),
            Some(_) => panic!("{line}"),
        };
        all.push(Keyword { group: group.clone(), path: path.into(), support, note: note.into() });
    }
    all
}

const SETTINGS: [&str; 10] = [
    "default",
    "workflow",
    "include",
    "stages",
    "variables",
    "image",
    "services",
    "before_script",
    "after_script",
    "cache",
];
/// Below these stand names that the author chose.
const NAMED: [&str; 6] = ["variables", "id_tokens", "secrets", "inputs", "spec:inputs", "default:id_tokens"];
/// What is below these is data.
const DATA: [&str; 9] = [
    "parallel:matrix",
    "needs:parallel:matrix",
    "rules:variables",
    "workflow:rules:variables",
    "services:variables",
    "include:inputs",
    "trigger:inputs",
    "trigger:include:inputs",
    "run:inputs",
];

fn paths_below(path: &str, value: &Value, out: &mut BTreeSet<String>) {
    out.insert(path.to_owned());
    if DATA.contains(&path) {
        return;
    }
    match value {
        Value::Object(map) if NAMED.contains(&path) => {
            for value in map.values().filter(|value| value.is_object()) {
                paths_below(path, &Value::Array(vec![value.clone()]), out);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                paths_below(&format!("{path}:{key}"), value, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(map) => {
                        for (key, value) in map {
                            paths_below(&format!("{path}:{key}"), value, out);
                        }
                    }
                    Value::Array(_) => paths_below(path, item, out),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// Every keyword that a case uses, by where it stands.
fn used(case: &Case) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (_, text) in &case.files {
        for piece in text.split("\n---\n") {
            // A header by itself is no configuration; under another name it is a mapping.
            let text = if piece.starts_with("spec:") { format!("x{piece}\n") } else { format!("{piece}\n") };
            let map: Map<String, Value> = yaml_mapping(root(&text)).unwrap_or_default();
            for (key, value) in &map {
                let key = if key == "xspec" { "spec" } else { key };
                if key == "spec" || SETTINGS.contains(&key) {
                    paths_below(key, value, &mut out);
                } else if let Value::Object(job) = value {
                    let group = if job.contains_key("trigger") { "bridge " } else { "job " };
                    for (keyword, value) in job {
                        let mut paths = BTreeSet::new();
                        paths_below(keyword, value, &mut paths);
                        out.extend(paths.iter().map(|path| format!("{group}{path}")));
                    }
                }
            }
        }
    }
    out
}

/// How a keyword of a group is called in [`used`].
fn key_of(keyword: &Keyword) -> String {
    let prefix = match keyword.group.as_str() {
        "In a job" => "job ",
        "In a trigger job" => "bridge ",
        _ => "",
    };
    format!("{prefix}{}", keyword.path)
}

#[test]
fn no_keyword_is_silently_ignored() {
    let files = cases();
    let mut shown: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for case in files.iter().flat_map(|file| &file.cases).filter(|case| !case.files.is_empty()) {
        let compiled = case.compiled();
        let errors = compiled.has_errors();
        for path in used(case) {
            let bare = path.trim_start_matches("job ").trim_start_matches("bridge ");
            let about = |severity: Severity| {
                let mut found = compiled.diagnostics.iter().filter(|d| d.severity == severity);
                let last = bare.rsplit(':').next().unwrap_or_default();
                found.any(|d| {
                    let keyword = d.keyword.as_deref().unwrap_or_default();
                    keyword == bare
                        || keyword == last
                        || bare.strip_suffix(last) == Some(&format!("{keyword}:"))
                })
            };
            let counts = shown.entry(path.clone()).or_default();
            counts[0] += usize::from(!errors);
            counts[1] += usize::from(!errors && about(Severity::Warning));
            counts[2] += usize::from(about(Severity::Error));
        }
    }
    let mut wrong = Vec::new();
    for keyword in keywords() {
        let [accepted, warned, refused] = shown.get(&key_of(&keyword)).copied().unwrap_or_default();
        let right = match keyword.support {
            Support::Full => accepted > 0,
            Support::Checked => warned > 0,
            Support::Refused => refused > 0 && accepted == 0,
        };
        if !right {
            wrong.push(format!(
                "{}: {accepted} accepted, {warned} warned, {refused} refused",
                key_of(&keyword)
            ));
        }
    }
    assert!(wrong.is_empty(), "without a case that shows it:\n{}", wrong.join("\n"));
}

/// The compiler names the keys it knows when it meets one that it does not; all of them are in the list.
#[test]
fn the_list_is_complete() {
    let keywords: BTreeSet<String> = keywords().iter().map(key_of).collect();
    let mut missing = Vec::new();
    for (parent, text) in [
        ("job ", "j: {script: x, zzzz: 1}\n"),
        ("bridge ", "j: {trigger: g/p, zzzz: 1}\n"),
        ("default:", "default: {zzzz: 1}\nj: {script: x}\n"),
        ("workflow:", "workflow: {zzzz: 1}\nj: {script: x}\n"),
        ("workflow:auto_cancel:", "workflow: {auto_cancel: {zzzz: 1}}\nj: {script: x}\n"),
        ("include:", "include: {zzzz: 1}\nj: {script: x}\n"),
        ("spec:", "spec: {zzzz: 1}\n---\nj: {script: x}\n"),
        ("spec:inputs:", "spec: {inputs: {a: {zzzz: 1}}}\n---\nj: {script: x}\n"),
        ("job artifacts:", "j: {script: x, artifacts: {zzzz: 1}}\n"),
        ("job artifacts:reports:", "j: {script: x, artifacts: {reports: {zzzz: 1}}}\n"),
        ("job cache:", "j: {script: x, cache: {zzzz: 1}}\n"),
        ("job cache:key:", "j: {script: x, cache: {key: {zzzz: 1}}}\n"),
        ("job image:", "j: {script: x, image: {zzzz: 1}}\n"),
        ("job services:", "j: {script: x, services: [{zzzz: 1}]}\n"),
        ("job environment:", "j: {script: x, environment: {zzzz: 1}}\n"),
        ("job retry:", "j: {script: x, retry: {zzzz: 1}}\n"),
        ("job inherit:", "j: {script: x, inherit: {zzzz: 1}}\n"),
        ("job hooks:", "j: {script: x, hooks: {zzzz: 1}}\n"),
        ("job release:", "j: {script: x, release: {zzzz: 1}}\n"),
        ("job pages:", "j: {script: x, pages: {zzzz: 1}}\n"),
        ("job rules:", "j: {script: x, rules: [{zzzz: 1}]}\n"),
        ("job rules:changes:", "j: {script: x, rules: [{changes: {zzzz: 1}}]}\n"),
        ("job only:", "j: {script: x, only: {zzzz: 1}}\n"),
        ("job parallel:", "j: {script: x, parallel: {zzzz: 1}}\n"),
        ("job allow_failure:", "j: {script: x, allow_failure: {zzzz: 1}}\n"),
        ("bridge trigger:", "j: {trigger: {project: g/p, zzzz: 1}}\n"),
        ("bridge trigger:forward:", "j: {trigger: {project: g/p, forward: {zzzz: 1}}}\n"),
    ] {
        let compiled = compiled(text);
        let mut helps = compiled.diagnostics.iter().filter_map(|d| d.suggestion.as_deref());
        let known = helps.find_map(|help| help.strip_prefix("known here: "));
        let known = known.unwrap_or_else(|| panic!("{text}{:?}", compiled.diagnostics));
        for key in known.split(", ") {
            let path = format!("{parent}{key}");
            // A bridge shares these with jobs.
            let shared = path.strip_prefix("bridge ").map(|path| format!("job {path}"));
            if !keywords.contains(&path) && !shared.is_some_and(|path| keywords.contains(&path)) {
                missing.push(path);
            }
        }
    }
    assert!(missing.is_empty(), "known to the compiler, not in keywords.txt: {missing:#?}");
}

fn page() -> String {
    let files = cases();
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for case in files.iter().flat_map(|file| &file.cases) {
        for path in used(case) {
            sections.entry(path).or_default().insert(format!("§{}", case.section()));
        }
    }
    let mut page = String::from(
        "# The language, keyword by keyword\n\n\
         What `.gitlab-ci.yml` means to Harrier. This page is made of the cases in `crates/pipeline/tests/rules/` and the list in\n\
         `crates/pipeline/tests/keywords.txt`, and a test holds it equal to them\n\
         (`UPDATE=1 cargo test -p harrier-pipeline --test keywords`).\n\n\
         Supported: does what it does on GitLab. Checked: a mistake in it is an error, and a warning says that it has no effect.\n\
         Refused: an error says that this version cannot do it. Anything else in a file is an unknown key, which is an error.\n\
         Deliberate differences stand in [differences.md](differences.md).\n",
    );
    let mut group = String::new();
    for keyword in keywords() {
        if keyword.group != group {
            group.clone_from(&keyword.group);
            let _ = write!(page, "\n## {group}\n\n| keyword | | cases |\n|---|---|---|\n");
        }
        let word = match keyword.support {
            Support::Full => "supported",
            Support::Checked => "checked",
            Support::Refused => "refused",
        };
        let note = if keyword.note.is_empty() { String::new() } else { format!("; {}", keyword.note) };
        let seen = sections.get(&key_of(&keyword)).cloned().unwrap_or_default();
        let seen: Vec<&str> = seen.iter().map(String::as_str).take(6).collect();
        let _ = writeln!(page, "| `{}` | {word}{note} | {} |", keyword.path, seen.join(" "));
    }
    page.push_str("\n## The cases\n\nA section of the language contract and what is shown of it.\n");
    for file in &files {
        let title = file.lines.iter().find_map(|line| line.strip_prefix("# ")).unwrap_or_default();
        let _ = write!(page, "\n### {}\n\n{title}\n\n", file.name.trim_end_matches(".txt"));
        for case in &file.cases {
            let refused = case.expected.iter().any(|(_, line)| line.starts_with("error"));
            let warned = case.expected.iter().any(|(_, line)| line.starts_with("warning"));
            let end = if refused {
                " (refused)"
            } else if warned {
                " (warned of)"
            } else {
                ""
            };
            let (section, text) = case.title.split_once(' ').unwrap_or((&case.title, ""));
            let _ = writeln!(page, "- §{section} {text}{end}");
        }
    }
    page
}

#[test]
fn the_page_is_up_to_date() {
    let path = format!("{}/../../docs/language.md", env!("CARGO_MANIFEST_DIR"));
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(kept.lines()).position(|(a, b)| a != b);
    assert!(
        page == kept,
        "docs/language.md is not what the cases say (line {:?}); run UPDATE=1 cargo test -p harrier-pipeline --test keywords",
        differs.map(|line| line + 1)
    );
}
