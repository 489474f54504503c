//! What Ruby's YAML library and `File.fnmatch` say, kept in `tests/oracle/*.txt` with the program that asked them
//! (`generate.rb`). Ours must agree (`ci-yaml.md` §1.2, §1.3, §12.3).

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use harrier_pipeline::{Context, compile, yaml_mapping};
use serde_json::{Value, json};
use std::collections::HashSet;
use support::{Repository, root};

fn lines(name: &str) -> Vec<(String, String)> {
    let path = format!("{}/tests/oracle/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| line.split_once('\t').unwrap_or((line, "")));
    lines.map(|(given, answer)| (serde_json::from_str(given).unwrap(), answer.to_owned())).collect()
}

fn loaded(text: &str) -> Option<Value> {
    yaml_mapping(root(text)).ok().map(Value::Object)
}

/// Numbers by value: how a float is written does not matter here.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// The questions on which we differ, each with its reason.
const SCALARS_APART: [&str; 21] = [
    // JSON, through which they are compared, has no such numbers.
    ".inf",
    ".Inf",
    ".INF",
    "-.inf",
    "+.inf",
    ".nan",
    ".NaN",
    ".NAN",
    // The Psych of GitLab's Ruby is newer than the one asked: an exponent needs no sign (§1.2).
    "1.e3",
    "1.0e3",
    "1.5E3",
    ".5e1",
    "1.5e3",
    "+1.5e3",
    "-1.5e3",
    "1.0e400",
    // Integers end at 64 bits; longer ones stay as written.
    "123456789012345678901234567890",
    "9223372036854775808",
    "0777777777777777777777777",
    // Collections that no configuration uses.
    "!!set {a}",
    "!!omap [a: 1]",
];
const DOCUMENTS_APART: [&str; 2] = [
    // GitLab cuts the text at `---` before Psych sees it.
    "%YAML 1.1\n---\na: b\n",
    // A key that is a list is only shown in messages.
    "? [a]\n: b\n",
];

fn compare(name: &str, text_of: impl Fn(&str) -> String, apart: &[&str]) {
    let mut wrong = Vec::new();
    let all = lines(name);
    for (given, answer) in &all {
        let got = loaded(&text_of(given));
        let agree = match (&got, answer.as_str()) {
            (None, "error") => true,
            (Some(got), answer) if answer != "error" => {
                // Psych may give what is no mapping; then there is nothing to compare.
                serde_json::from_str::<Value>(answer).is_ok_and(|want| !want.is_object() || same(got, &want))
            }
            (None, answer) => serde_json::from_str::<Value>(answer).is_ok_and(|want| !want.is_object()),
            _ => false,
        };
        if agree == apart.contains(&given.as_str()) {
            wrong.push(format!(
                "{given:?}: Ruby {answer}, we {}",
                got.map_or("error".into(), |v| v.to_string())
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn scalars() {
    compare("scalars.txt", |scalar| format!("v: {scalar}\n"), &SCALARS_APART);
}

#[test]
fn merge_keys_and_documents() {
    compare("documents.txt", str::to_owned, &DOCUMENTS_APART);
}

/// Every pattern on every path, through `rules:changes`.
#[test]
fn patterns() {
    let paths: Vec<String> = lines("paths.txt").into_iter().map(|(path, _)| path).collect();
    let patterns = lines("fnmatch.txt");
    let mut wrong = Vec::new();
    for (pattern, answer) in &patterns {
        let want: HashSet<String> = serde_json::from_str(answer).unwrap();
        let text =
            format!("j: {{script: x, rules: [{{changes: [{}]}}]}}\nk: {{script: x}}\n", json!(pattern));
        for path in &paths {
            let cx = Context { changes: Some(vec![path.clone()]), ..Context::default() };
            let got = compile(root(&text), &Repository::default(), &cx).pipeline.unwrap().find("j").is_some();
            if got != want.contains(path) {
                wrong.push(format!("{pattern:?} on {path:?}: we say {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), patterns.len() * paths.len(), wrong.join("\n"));
}
