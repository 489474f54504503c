//! No text panics the compiler, whatever is done to it.

mod support;

use harrier_pipeline::{Severity, render};
use proptest::prelude::*;
use support::{Repository, compiled_with, context};

/// Texts that use everything this version knows.
const SEEDS: [&str; 5] = [
    "stages: [build, test]\ndefault:\n  image: {name: a, entrypoint: ['']}\n  retry: {max: 2, when: [always]}\nvariables:\n  A: $B\n  \
     C: {value: x, expand: false}\nworkflow:\n  name: n $A\n  rules:\n    - if: '$CI_COMMIT_BRANCH =~ /^ma.*/i && ($A || !$B)'\n.base: &b\n  \
     script:\n    - echo \"a\"\n    - |\n      x\n      y\n  cache: {key: {files: [a, b]}, paths: [p]}\nj:\n  <<: *b\n  extends: .base\n  \
     parallel: {matrix: [{P: [a, b], Q: c}]}\n  rules: [{changes: ['{a,b}/**/*']}, {exists: ['*.rs'], when: manual}]\n",
    "include: [{local: 'ci/*.yml', rules: [{if: $X}]}, a.yml]\n.s: {script: [a, [b, !reference [.t, script]]]}\n.t: {script: x}\nk:\n  script: !reference [.s, script]\n  \
     needs: [{job: l, optional: true, artifacts: false}]\n  environment: {name: r/$CI_X, on_stop: m, url: 'http://x'}\n",
    "l: {script: >-\n  a\n\n  b, timeout: 1h 30 minutes, when: delayed, start_in: 5 min, artifacts: {paths: [a], reports: {junit: x}}}\nonly: {script: x, only: [/a+/, main@g/p], except: {variables: [$A == null]}}\n",
    "---\n? a b\n: {script: 'it''s', allow_failure: {exit_codes: [1, 2]}, coverage: '/\\d+/'}\n\"c\\u00e9\": {script: [\"\\t\"], services: [{name: s, alias: t}]}\n",
    "spec:\n  component: [name]\n  include: [a.yml]\n  inputs:\n    a: {default: x, options: [x, y]}\n    b: {type: number, default: 1}\n    \
     c: {type: array, default: [1, {k: v}]}\n    d: {rules: [{if: '$[[ inputs.a ]] == \"x\"', options: [p], default: p}, {default: q}]}\n---\n\"$[[ \
     inputs.a ]]\":\n  script: ['$[[ inputs.c[1].k | expand_vars | truncate(0, 2) ]]', '$[[ inputs.c ]]']\n  parallel: $[[ inputs.b ]]\ninclude: [{local: \
     c.yml, inputs: {a: y}}, {project: g/p, file: [x.yml], ref: v}, {component: h/g/p/c@~latest}, {remote: 'https://x/y.yml', integrity: sha256-AAAA, cache: 1 \
     hour}, {template: T.gitlab-ci.yml}, {artifact: a.yml, job: j}]\n",
];

fn check(text: &str) {
    let repository =
        Repository::new(&[("a.yml", SEEDS[1]), ("ci/b.yml", "x: {script: y}\n"), ("c.yml", text)]);
    let compiled = compiled_with(text, &repository, &context(&[("X", "1")]));
    let errors = compiled.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    assert_eq!(compiled.pipeline.is_some() || compiled.filtered.is_some(), errors == 0, "{text}");
    for diagnostic in &compiled.diagnostics {
        let said = render(diagnostic, &compiled.sources);
        assert!(said.lines().count() < 80);
    }
    if let Some(pipeline) = &compiled.pipeline {
        for id in pipeline.ids() {
            pipeline.artifact_sources(id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_configurations_do_not_panic(
        seed in 0..SEEDS.len(),
        edits in prop::collection::vec((0..4000usize, 0..6usize, 0..9usize, "[\\PC\n\t]{1,3}"), 1..5),
    ) {
        const SPLICES: [&str; 10] = [
            "&a ", "*a", "<<: ", "!reference ", "[", "}", ": ", "\n  - ", "\\", "---\n",
        ];
        let mut text: Vec<char> = SEEDS[seed].chars().collect();
        for (at, kind, splice, random) in edits {
            let at = at % (text.len() + 1);
            match kind {
                0 => text.truncate(at),
                1 => { text.splice(at..(at + splice).min(text.len()), []); }
                2 => { text.splice(at..at, random.chars()); }
                3 | 4 => { text.splice(at..at, SPLICES[splice].chars()); }
                _ => {
                    let piece: Vec<char> = text[at..(at + 40).min(text.len())].to_vec();
                    text.splice(at..at, piece);
                }
            }
        }
        check(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_text_does_not_panic(text in "[\\PC\n\t:\\-\\[\\]{}&*!|>'\"#,?% ]{0,200}") {
        check(&text);
    }

    /// A mapping of known keywords with values of any shape.
    #[test]
    fn any_value_for_any_keyword(
        keys in prop::collection::vec(prop::sample::select(vec![
            "script", "stage", "needs", "rules", "variables", "parallel", "cache", "artifacts", "image", "services",
            "environment", "retry", "timeout", "tags", "when", "allow_failure", "only", "except", "inherit", "extends",
            "dependencies", "hooks", "coverage", "release", "pages", "interruptible", "resource_group", "start_in",
        ]), 1..6),
        values in prop::collection::vec(prop::sample::select(vec![
            "", "x", "1", "-1", "1.5", "true", "[]", "{}", "[x]", "[1]", "[[x]]", "{a: b}", "[{a: b}]", "{job: x}", "[{job: j}]",
            "{matrix: [{A: b}]}", "{name: x}", "/x/", "$X", "[{if: $X}]", "[{when: never}]", "{key: x}", "{paths: [x]}", "{files: [x]}",
            "manual", "delayed", "5 min", "{max: 1}", "{exit_codes: 1}", "{refs: [x]}", "{default: false}", "!reference [j, stage]", "9999999999999999999",
        ]), 6),
    ) {
        let body: Vec<String> = keys.iter().zip(&values).map(|(key, value)| format!("  {key}: {value}\n")).collect();
        check(&format!("j:\n{}k: {{script: x}}\n", body.concat()));
        check(&format!("default:\n{}k: {{script: x}}\n", body.concat()));
        check(&format!("{}j:\n  script: x\n", body.concat().replace("\n  ", "\n").trim_start()));
    }
}
