//! The format of `tests/rules/*.txt`: reading cases, compiling them, comparing what comes out. See `tests/rules.rs`.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use crate::support::{Repository, root};
use harrier_base::Variable;
use harrier_pipeline::{
    AllowFailure, Compiled, Context, Diagnostic, Filtered, GivenInput, Job, JobId, Pipeline, RunKind,
    Severity, compile, parse_duration, render, yaml_mapping,
};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

pub struct RuleFile {
    /// `12.1.txt`
    pub name: String,
    pub path: PathBuf,
    pub lines: Vec<String>,
    pub cases: Vec<Case>,
}

#[derive(Default)]
pub struct Case {
    /// Section and what it shows.
    pub title: String,
    /// Line of the title, from 1.
    pub line: usize,
    /// `(name, rest)`
    pub facts: Vec<(String, String)>,
    /// The root first.
    pub files: Vec<(String, String)>,
    /// Line from 1, and the expectation.
    pub expected: Vec<(usize, String)>,
}

impl Case {
    pub fn section(&self) -> &str {
        self.title.split(' ').next().unwrap_or_default()
    }

    pub fn root(&self) -> &str {
        self.files.first().map_or("", |(_, text)| text)
    }

    pub fn compiled(&self) -> Compiled {
        let (repository, cx) = surroundings(self);
        compile(root(self.root()), &repository, &cx)
    }
}

/// All files, sorted by section.
pub fn cases() -> Vec<RuleFile> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut files: Vec<RuleFile> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let cases = read(&name, &lines);
            RuleFile { name, path, lines, cases }
        })
        .collect();
    files.sort_by_key(|file| {
        let digits = |word: &str| word.parse::<u32>().unwrap_or(u32::MAX);
        let stem = file.name.split('-').next().unwrap_or_default().to_owned();
        (stem.split('.').map(digits).collect::<Vec<_>>(), file.name.clone())
    });
    files
}

fn read(name: &str, lines: &[String]) -> Vec<Case> {
    enum At {
        Facts,
        Text,
        Expected,
    }
    let mut cases: Vec<Case> = Vec::new();
    let mut at = At::Expected;
    for (index, line) in lines.iter().enumerate() {
        if let Some(title) = line.strip_prefix("## ") {
            cases.push(Case { title: title.to_owned(), line: index + 1, ..Case::default() });
            at = At::Facts;
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        match at {
            At::Facts | At::Text if line == "=>" => at = At::Expected,
            At::Facts if line.starts_with('@') => {
                let (fact, rest) = line[1..].split_once(' ').unwrap_or((&line[1..], ""));
                case.facts.push((fact.to_owned(), rest.to_owned()));
            }
            At::Facts | At::Text => {
                at = At::Text;
                if let Some(path) = line.strip_prefix("== ") {
                    if case.files.is_empty() {
                        case.files.push((".gitlab-ci.yml".into(), String::new()));
                    }
                    case.files.push((path.to_owned(), String::new()));
                    continue;
                }
                if case.files.is_empty() {
                    case.files.push((".gitlab-ci.yml".into(), String::new()));
                }
                let text = &mut case.files.last_mut().unwrap().1;
                text.push_str(line);
                text.push('\n');
            }
            At::Expected if line.trim().is_empty() || line.starts_with("# ") => {}
            At::Expected => case.expected.push((index + 1, line.clone())),
        }
    }
    for case in &cases {
        assert!(!case.expected.is_empty(), "{name}:{}: no expectation", case.line);
    }
    cases
}

fn variable(text: &str) -> Variable {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Variable::public(key, value)
}

/// The repository and the facts of a case.
pub fn surroundings(case: &Case) -> (Repository, Context) {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for (path, text) in case.files.iter().skip(1) {
        let elsewhere = ["project:", "remote:", "template:"].iter().any(|kind| path.starts_with(kind));
        if elsewhere { others.push((path, text)) } else { files.push((path.as_str(), text.as_str())) }
    }
    let mut repository = Repository::new(&files);
    for (path, text) in others {
        let (kind, name) = path.split_once(':').unwrap();
        repository = match kind {
            "project" => {
                let (project, rest) = name.split_once('@').unwrap();
                let (git_ref, path) = rest.split_once(':').unwrap();
                repository.project(project, git_ref, &[(path, text)])
            }
            "remote" => repository.remote(name, text),
            _ => repository.template(name, text),
        };
    }
    let mut cx = Context { run: RunKind::default(), ..Context::default() };
    let words = |rest: &str| rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for (fact, rest) in &case.facts {
        match fact.as_str() {
            "branch" => cx.run.git_ref = rest.clone(),
            "tag" => (cx.run.git_ref, cx.run.tag) = (rest.clone(), true),
            "source" => cx.run.source = rest.clone(),
            "path" => cx.run.project_path = rest.clone(),
            "predefined" => cx.predefined.push(variable(rest)),
            "project" => cx.project.push(variable(rest).into()),
            "run" => cx.pipeline.push(variable(rest)),
            "changes" => cx.changes = Some(words(rest)),
            "input" => {
                let (name, value) = rest.split_once('=').unwrap_or((rest, ""));
                cx.inputs.push(GivenInput { name: name.to_owned(), value: value.into() });
            }
            "since" => {
                let (git_ref, paths) = rest.split_once(' ').unwrap_or((rest, ""));
                repository.since.insert(git_ref.to_owned(), words(paths));
            }
            _ => panic!("{}: unknown fact @{fact}", case.title),
        }
    }
    let mut predefined = vec![
        Variable::public("CI_PIPELINE_SOURCE", cx.run.source.clone()),
        Variable::public("CI_COMMIT_REF_NAME", cx.run.git_ref.clone()),
    ];
    if cx.run.source != "merge_request_event" {
        let name = if cx.run.tag { "CI_COMMIT_TAG" } else { "CI_COMMIT_BRANCH" };
        predefined.push(Variable::public(name, cx.run.git_ref.clone()));
    }
    predefined.append(&mut cx.predefined);
    cx.predefined = predefined;
    (repository, cx)
}

/// Everything that does not come out as expected, empty if all is well.
pub fn check(case: &Case) -> String {
    let compiled = case.compiled();
    let mut wrong = String::new();
    let mut place = Vec::new();
    for (_, line) in &case.expected {
        let told = if line.starts_with("error ") || line.starts_with("warning ") {
            place.push(line.as_str());
            continue;
        } else if let Some(said) = direct(line) {
            said
        } else {
            outcome(&compiled, line)
        };
        if let Err(got) = told {
            let _ = writeln!(wrong, "  want: {line}\n   got: {got}");
        }
    }
    if case.files.is_empty() {
        return wrong;
    }
    for (severity, word) in [(Severity::Error, "error "), (Severity::Warning, "warning ")] {
        let want: Vec<&str> = place.iter().copied().filter(|line| line.starts_with(word)).collect();
        let got: Vec<String> = compiled
            .diagnostics
            .iter()
            .filter(|d| d.severity == severity)
            .map(|d| shown(d, &compiled))
            .collect();
        if severity == Severity::Warning && want.is_empty() {
            continue;
        }
        let same = want.len() == got.len()
            && want.iter().zip(&got).all(|(want, got)| got.starts_with(&one_blank(want)));
        if !same {
            for line in &want {
                let _ = writeln!(wrong, "  want: {line}");
            }
            for line in &got {
                let _ = writeln!(wrong, "   got: {line}");
            }
            if got.is_empty() {
                let _ = writeln!(wrong, "   got: no {word}");
            }
        }
    }
    if !wrong.is_empty() {
        for diagnostic in &compiled.diagnostics {
            wrong.push_str(&render(diagnostic, &compiled.sources));
        }
    }
    wrong
}

fn one_blank(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The diagnostic as an expectation line.
fn shown(diagnostic: &Diagnostic, compiled: &Compiled) -> String {
    let word = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
    let message = one_blank(&diagnostic.message);
    format!("{word} {} {message}", place_of(diagnostic, compiled))
}

fn place_of(diagnostic: &Diagnostic, compiled: &Compiled) -> String {
    let Some(place) = diagnostic.place else { return "-".into() };
    let file = match compiled.sources.name(place.file) {
        ".gitlab-ci.yml" => String::new(),
        name => format!("{name}:"),
    };
    format!("{file}{}:{}", place.line, place.column)
}

/// Completes `error ?` and `warning ?` in the file's lines.
pub fn filled(case: &Case, lines: &mut [String]) {
    if !case.expected.iter().any(|(_, line)| line.contains(" ?")) {
        return;
    }
    let compiled = case.compiled();
    for (severity, word) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
        let mut found = compiled.diagnostics.iter().filter(|d| d.severity == severity);
        for (number, line) in case.expected.iter().filter(|(_, line)| line.starts_with(word)) {
            let Some(diagnostic) = found.next() else { continue };
            let place = place_of(diagnostic, &compiled);
            if line.trim() == format!("{word} ?") {
                lines[number - 1] = shown(diagnostic, &compiled);
            } else if let Some(message) = line.strip_prefix(&format!("{word} ? ")) {
                lines[number - 1] = format!("{word} {place} {message}");
            }
        }
    }
}

/// Expectations that bring their own configuration.
fn direct(line: &str) -> Option<Result<(), String>> {
    let (kind, rest) = line.split_once(' ')?;
    let same = |got: String, want: &str| if got == want { Ok(()) } else { Err(got) };
    match kind {
        "scalar" => {
            let (text, want) =
                rest.rsplit_once(" = ").or_else(|| rest.strip_suffix(" =").map(|t| (t, "")))?;
            let got = match yaml_mapping(root(&format!("v: {text}\n"))) {
                Ok(map) => map["v"].to_string(),
                Err(_) => "error".to_owned(),
            };
            Some(same(got, want))
        }
        "duration" => {
            let (text, want) = rest.rsplit_once(" = ")?;
            let got = parse_duration(text).map_or_else(|| "invalid".into(), |d| d.as_secs_f64().to_string());
            Some(same(got, want))
        }
        "if" => {
            let (expression, want) = rest.rsplit_once(" = ")?;
            let quoted = Value::from(expression).to_string();
            let text = format!(
                "variables: {{E: '', X: x, T: 'true', R: '/^fe/', B: feature}}\nj: {{script: x, rules: [{{if: {quoted}}}]}}\nk: {{script: x}}\n"
            );
            let compiled = compile(root(&text), &Repository::default(), &Context::default());
            let got = match compiled.pipeline {
                None if compiled.diagnostics.iter().any(|d| d.message.contains("invalid expression")) => {
                    "invalid".into()
                }
                None => compiled.diagnostics.iter().map(|d| d.message.clone()).collect(),
                Some(pipeline) => pipeline.find("j").is_some().to_string(),
            };
            Some(same(got, want))
        }
        "changes" | "exists" => {
            let (pattern, paths) = rest.split_once(" ~ ").or_else(|| rest.split_once(" !~ "))?;
            let want = !rest.contains(" !~ ");
            let paths: Vec<&str> = paths.split_whitespace().collect();
            let files: Vec<(&str, &str)> = paths.iter().map(|path| (*path, "")).collect();
            let text =
                format!("j: {{script: x, rules: [{{{kind}: [{}]}}]}}\nk: {{script: x}}\n", json!(pattern));
            let cx = Context {
                changes: Some(paths.iter().map(|path| (*path).to_owned()).collect()),
                ..Context::default()
            };
            let compiled = compile(root(&text), &Repository::new(&files), &cx);
            let got = compiled.pipeline.is_some_and(|pipeline| pipeline.find("j").is_some());
            Some(if got == want { Ok(()) } else { Err(if got { "it matches" } else { "no match" }.into()) })
        }
        _ => None,
    }
}

fn outcome(compiled: &Compiled, line: &str) -> Result<(), String> {
    let same = |got: String, want: &str| if got == want { Ok(()) } else { Err(got) };
    match line {
        "ok" => {
            return if compiled.pipeline.is_some() {
                Ok(())
            } else {
                Err(format!("{:?}", compiled.filtered))
            };
        }
        "no warnings" => {
            let warnings: Vec<&str> = compiled
                .diagnostics
                .iter()
                .filter(|d| d.severity == Severity::Warning)
                .map(|d| d.message.as_str())
                .collect();
            return if warnings.is_empty() { Ok(()) } else { Err(warnings.join("; ")) };
        }
        _ => {}
    }
    if let Some(want) = line.strip_prefix("help ") {
        let helps: Vec<&str> = compiled.diagnostics.iter().filter_map(|d| d.suggestion.as_deref()).collect();
        return if helps.iter().any(|help| help.contains(want)) { Ok(()) } else { Err(helps.join("; ")) };
    }
    if let Some(want) = line.strip_prefix("filtered ") {
        let got = match &compiled.filtered {
            Some(Filtered::Workflow { .. }) => "workflow",
            Some(Filtered::Rules { .. }) => "rules",
            None => "not filtered",
        };
        return same(got.into(), want);
    }
    if let Some(rest) = line.strip_prefix("out ") {
        let (name, reason) = rest.split_once(": ").ok_or("out JOB: REASON")?;
        let left_out = match (&compiled.pipeline, &compiled.filtered) {
            (Some(pipeline), _) => &pipeline.left_out,
            (None, Some(Filtered::Rules { left_out })) => left_out,
            _ => return Err("no pipeline".into()),
        };
        return match left_out.iter().find(|out| out.name == name) {
            Some(out) if out.reason.starts_with(reason) => Ok(()),
            Some(out) => Err(out.reason.clone()),
            None => Err("it is not left out".into()),
        };
    }
    let Some(pipeline) = &compiled.pipeline else {
        return Err(format!("no pipeline; filtered: {:?}", compiled.filtered));
    };
    if let Some(want) = line.strip_prefix("jobs ") {
        let names: Vec<&str> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
        return same(names.join(" | "), want);
    }
    let (name, rest) = line.split_once(" / ").ok_or("no such expectation; see tests/rules.rs")?;
    let (path, want) = rest.split_once(" = ").ok_or("JOB / FIELD = JSON")?;
    let mut value = if name == "pipeline" {
        pipeline_view(pipeline)
    } else {
        let id = pipeline.find(name).ok_or_else(|| {
            format!("no job {name} among {:?}", pipeline.jobs.iter().map(|j| &j.name).collect::<Vec<_>>())
        })?;
        view(pipeline, id)
    };
    for step in path.split('.') {
        value = match value {
            Value::Array(mut list) => {
                let at: usize = step.parse().map_err(|_| format!("{step} of a list"))?;
                if at < list.len() { list.swap_remove(at) } else { Value::Null }
            }
            Value::Object(mut map) => match map.get_mut(step) {
                Some(found) => found.take(),
                None if matches!(path.split('.').next(), Some("variables" | "env")) => Value::Null,
                None => {
                    return Err(format!("no field {step}, but {:?}", map.keys().collect::<Vec<_>>()));
                }
            },
            other => return Err(format!("{step} of {other}")),
        };
    }
    let want: Value = serde_json::from_str(want).map_err(|e| format!("not JSON: {e}"))?;
    // Fields of mappings are compared by the one named; the order of keys does not matter.
    if value == want { Ok(()) } else { Err(value.to_string()) }
}

fn names(pipeline: &Pipeline, ids: impl IntoIterator<Item = JobId>) -> Value {
    ids.into_iter().map(|id| pipeline.job(id).name.clone()).collect()
}

/// A job as the expectations see it: its fields as stored, `variables` and `raw` by name, `needs` as names
/// (`need` in full), `when` and `allow_failure` as written in YAML, durations in seconds, `waits_for` and
/// `artifacts_from` as names.
pub fn view(pipeline: &Pipeline, id: JobId) -> Value {
    let job: &Job = pipeline.job(id);
    let mut value = serde_json::to_value(job).unwrap();
    let map = value.as_object_mut().unwrap();
    map.remove("place");
    map.remove("places");
    map.insert("when".into(), job.when.word().into());
    map.insert("start_in".into(), job.start_in.map(|d| d.as_secs()).into());
    map.insert("timeout".into(), job.timeout.map(|d| d.as_secs()).into());
    let allowed = match &job.allow_failure {
        AllowFailure::No => json!(false),
        AllowFailure::Yes => json!(true),
        AllowFailure::ExitCodes(codes) => json!(codes),
    };
    map.insert("allow_failure".into(), allowed);
    let variables = job.variables.iter().map(|v| (v.key.clone(), Value::from(v.value.clone()))).collect();
    map.insert("variables".into(), Value::Object(variables));
    let raw: Vec<&str> = job.variables.iter().filter(|v| v.raw).map(|v| v.key.as_str()).collect();
    map.insert("raw".into(), json!(raw));
    let full = map.remove("needs").unwrap_or_default();
    let needs: Value = match &job.needs {
        Some(needs) => needs.iter().map(|need| need.name.clone()).collect(),
        None => Value::Null,
    };
    map.insert("needs".into(), needs);
    map.insert("need".into(), full);
    map.insert("waits_for".into(), names(pipeline, pipeline.waits_for(id)));
    map.insert("artifacts_from".into(), names(pipeline, pipeline.artifact_sources(id)));
    map.insert("rule".into(), job.rule.as_ref().map(|rule| rule.number).into());
    value
}

fn pipeline_view(pipeline: &Pipeline) -> Value {
    let variables =
        pipeline.variables.iter().map(|v| (v.key.clone(), Value::from(v.value.clone()))).collect();
    json!({
        "name": pipeline.name,
        "stages": pipeline.stages,
        "variables": Value::Object(variables),
        "auto_cancel": pipeline.auto_cancel,
    })
}
