//! Where keywords come from, and the merged file.

#![allow(clippy::unwrap_used)]

mod rules_format;
mod support;

use harrier_pipeline::{Compiled, Origin, Way};
use serde_json::{Value, json};
use support::{Repository, compiled, compiled_with, context};

const ROOT: &str = "\
include: [ci/base.yml]
default:
  image: alpine
  retry: 1
cache: {paths: [c]}
.local: &local
  tags: [fast]
  variables: {A: root, B: root}
test:
  extends: [.base, .local]
  stage: test
  script:
    - !reference [.snippets, setup]
    - make
  variables:
    C: own
merged:
  <<: *local
  script: &lines [a]
alias: *local
other:
  script: *lines
  inherit: {default: [retry]}
.snippets:
  setup: [x, y]
";

const BASE: &str = "\
.deep:
  retry: 2
  before_script: [b]
.base:
  extends: .deep
  variables: {A: base, D: base}
  timeout: 1 h
";

fn both() -> Compiled {
    let repository = Repository::new(&[("ci/base.yml", BASE)]);
    let root = ROOT.replace("alias: *local\n", "");
    compiled_with(&root, &repository, &context(&[]))
}

fn ways(origin: &Origin) -> String {
    let ways: Vec<String> = origin
        .ways
        .iter()
        .map(|way| match way {
            Way::Extends { base, place } => format!("extends {base}@{}", place.line),
            Way::MergeKey { from } => format!("<< {}", from.as_deref().unwrap_or("?")),
            Way::Alias { from } => format!("* {}", from.as_deref().unwrap_or("?")),
            Way::Reference { path, place, target } => {
                format!("ref {}@{}->{}", path.join("."), place.line, target.map_or(0, |t| t.line))
            }
            Way::Default => "default".to_owned(),
            Way::TopLevel => "top level".to_owned(),
            Way::BuiltIn => "built in".to_owned(),
        })
        .collect();
    ways.join(", ")
}

fn shown(compiled: &Compiled, job: &str) -> Vec<String> {
    let origins = compiled.written.explain(job).unwrap();
    origins
        .iter()
        .map(|origin| {
            let at = origin.place.map_or("-".to_owned(), |place| {
                format!("{}:{}", compiled.sources.name(place.file), place.line)
            });
            format!("{} {at} [{}]", origin.keyword.join(":"), ways(origin))
        })
        .collect()
}

#[test]
fn every_way_is_told() {
    let compiled = both();
    assert!(compiled.pipeline.is_some(), "{:?}", compiled.diagnostics);
    assert_eq!(
        shown(&compiled, "test"),
        [
            "retry ci/base.yml:2 [extends .base@10, extends .deep@5]",
            "before_script ci/base.yml:3 [extends .base@10, extends .deep@5]",
            "extends .gitlab-ci.yml:10 []",
            "variables:A .gitlab-ci.yml:8 [extends .local@10]",
            "variables:D ci/base.yml:6 [extends .base@10]",
            "variables:B .gitlab-ci.yml:8 [extends .local@10]",
            "variables:C .gitlab-ci.yml:16 []",
            "timeout ci/base.yml:7 [extends .base@10]",
            "tags .gitlab-ci.yml:7 [extends .local@10]",
            "stage .gitlab-ci.yml:11 []",
            "script .gitlab-ci.yml:12 [ref .snippets.setup@13->24]",
            "cache .gitlab-ci.yml:5 [top level]",
            "image .gitlab-ci.yml:3 [default]",
        ]
    );
    assert_eq!(
        shown(&compiled, "merged"),
        [
            "tags .gitlab-ci.yml:7 [<< .local]",
            "variables .gitlab-ci.yml:8 [<< .local]",
            "script .gitlab-ci.yml:19 []",
            "cache .gitlab-ci.yml:5 [top level]",
            "image .gitlab-ci.yml:3 [default]",
            "retry .gitlab-ci.yml:4 [default]",
            "stage - [built in]",
        ]
    );
    assert_eq!(
        shown(&compiled, "other"),
        [
            "script .gitlab-ci.yml:21 [* merged]",
            "inherit .gitlab-ci.yml:22 []",
            "retry .gitlab-ci.yml:4 [default]",
            "stage - [built in]",
        ]
    );
    let script = compiled.written.origin(&["test", "script"]).unwrap();
    assert_eq!(script.value, "- - x\n  - y\n- make\n");
    assert_eq!(compiled.written.origin(&["merged", "image"]).unwrap().value, "alpine\n");
    let from = compiled.written.included_from(script.place.unwrap().file);
    assert!(from.is_empty());
}

/// What a pipeline is, without places.
fn essence(compiled: &Compiled) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| key != "place" && key != "places");
                map.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = json!([compiled.pipeline]);
    strip(&mut value);
    value
}

/// Whether the merged file was compiled again; it must come to the same.
fn goes_round(before: &Compiled, again: impl Fn(&str) -> Compiled) -> bool {
    let Some(merged) = before.written.merged_yaml().filter(|_| !before.has_errors()) else { return false };
    let after = again(&merged);
    assert_eq!(essence(&after), essence(before), "{merged}");
    let kind = |compiled: &Compiled| compiled.filtered.as_ref().map(std::mem::discriminant);
    assert_eq!(kind(&after), kind(before), "{merged}");
    assert_eq!(after.written.merged_yaml().as_deref(), Some(merged.as_str()));
    true
}

/// Every case of the language's table, and every example.
#[test]
fn the_merged_file_gives_the_same_pipeline() {
    assert!(goes_round(&both(), compiled));
    let mut round = 0;
    for file in rules_format::cases() {
        for case in &file.cases {
            let (repository, mut cx) = rules_format::surroundings(case);
            let before = compiled_with(case.root(), &repository, &cx);
            // The merged file has no header that could take them.
            cx.inputs.clear();
            round += usize::from(goes_round(&before, |merged| compiled_with(merged, &repository, &cx)));
        }
    }
    assert!(round > 200, "{round}");
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    #[expect(clippy::disallowed_methods, reason = "a test reads the examples")]
    for entry in std::fs::read_dir(examples).unwrap().flatten() {
        let file = entry.path().join(".gitlab-ci.yml");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        goes_round(&compiled(&text), compiled);
    }
}

#[test]
fn a_diagnostic_carries_its_chain() {
    let repository =
        Repository::new(&[("a.yml", "include: b.yml\n"), ("b.yml", ".x:\n  retry: 7\n.y: {extends: .x}\n")]);
    let compiled = compiled_with(
        "include: a.yml\nj:\n  extends: .y\n  script: a\nk: {extends: .nope, script: a}\nl: {script: a, tags: b}\n",
        &repository,
        &context(&[]),
    );
    let said: Vec<String> =
        compiled.diagnostics.iter().map(|d| harrier_pipeline::render(d, &compiled.sources)).collect();
    assert_eq!(said.len(), 3, "{}", said.join("\n"));
    assert!(said[0].contains("k: unknown keys in `extends` (.nope)"), "{}", said[0]);
    assert!(said[2].contains("jobs:l:tags"), "{}", said[2]);
    let places: Vec<&str> = said[1].lines().filter(|l| l.contains("-->") || l.contains(":::")).collect();
    assert_eq!(
        places,
        [
            " --> b.yml:2:10",
            " ::: b.yml:3:15",
            " ::: .gitlab-ci.yml:3:12",
            " ::: .gitlab-ci.yml:2:1",
            " ::: a.yml:1:10",
            " ::: .gitlab-ci.yml:1:10"
        ],
        "{}",
        said[1]
    );
}
