//! The language by the sections of `ci-yaml.md`.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_base::Variable;
use harrier_pipeline::{AllowFailure, CacheKey, Filtered, When, render};
use std::time::Duration;
use support::*;

/// Refused, with the beginning of GitLab's message.
#[test]
fn refused_with_the_right_message() {
    for (section, text, message) in [
        ("1.1", "", "Please provide content of .gitlab-ci.yml"),
        ("1.1", "# only a comment\n", "Please provide content"),
        ("1.1", "- a\n", "Invalid configuration format"),
        ("1.1", "a:\n\tb: 1\n", "(<unknown>): found character that cannot start any token"),
        ("1.1", "a: *x\n", "Unknown alias: x"),
        ("1.1", "a: [1\n", "(<unknown>): did not find expected ',' or ']'"),
        ("1.2", "a:\n  script: x\n  variables: {D: 2024-01-01}\n", "Tried to load unspecified class: Date"),
        ("1.3", "true:\n  script: x\n", "jobs:true job name should be a symbol"),
        ("1.4", "spec:\n  inputs: {}\n---\n", "Please provide content of .gitlab-ci.yml"),
        (
            "3.1",
            "default: {image: a}\nimage: b\na: {script: x}\n",
            "image config is defined in top-level and `default:`",
        ),
        (
            "3.2",
            "a: {stage: test}\n",
            "jobs:a config should implement the script:, run:, or trigger: keyword",
        ),
        ("3.2", ".a: {script: x}\n", "jobs config should contain at least one visible job"),
        ("3.2", "a:\n", "jobs:a config can't be blank"),
        ("3.2", ".h:\na: {script: x}\n", "jobs:.h config can't be blank"),
        ("3.3", "a: {script: x, scirpt: y}\n", "jobs:a config contains unknown keys: scirpt"),
        ("4", "default: {stage: x}\na: {script: x}\n", "default config contains unknown keys: stage"),
        (
            "4",
            "a: {script: x, inherit: {default: [nope]}}\n",
            "jobs:a:inherit:default config contains unknown values",
        ),
        ("5", "a: {extends: .b, script: x}\n", "a: unknown keys in `extends` (.b)"),
        ("5", "a: {extends: b}\nb: {extends: a}\n", "a: circular dependency detected in `extends`"),
        ("5", ".b: [1]\na: {extends: .b, script: x}\n", "a: invalid base hashes in `extends` (.b)"),
        (
            "5",
            "a: {extends: [], script: x}\n",
            "jobs:a:extends config should be a string or an array of strings",
        ),
        (
            "6",
            "a: {script: [!reference [.b, script]]}\n",
            "!reference [\".b\", \"script\"] could not be found",
        ),
        (
            "6",
            ".b: {script: }\na: {script: [!reference [.b, script]]}\n",
            "!reference [\".b\", \"script\"] could not be found",
        ),
        (
            "6",
            "a: {script: !reference [a, script]}\n",
            "!reference [\"a\", \"script\"] is part of a circular chain",
        ),
        ("6", "a: {script: [!reference x]}\n", "!reference is not valid"),
        ("7", "include: a.yml\na: {script: x}\n", "Local file `a.yml` does not exist!"),
        ("7", "include: a.txt\na: {script: x}\n", "Included file `a.txt` does not have YAML extension!"),
        ("7", "include: {template: X}\na: {script: x}\n", "Template file `X` is not a valid location!"),
        ("7", "include: {lokal: X}\na: {script: x}\n", "include config contains unknown keys: lokal"),
        (
            "7",
            "include: {local: a.yml, remote: 'https://x/y.yml'}\na: {script: x}\n",
            "Each include must use only one of",
        ),
        ("9.1", "variables: [a]\na: {script: x}\n", "variables config should be a hash"),
        (
            "9.1",
            "a: {script: x, variables: {A: [1]}}\n",
            "jobs:a:variables:A config must be either a string or a hash",
        ),
        (
            "9.1",
            "a: {script: x, variables: {A: {value: b, description: c}}}\n",
            "jobs:a:variables:A config uses invalid data keys: description",
        ),
        (
            "9.1",
            "variables: {A: {value: b, options: [c]}}\na: {script: x}\n",
            "variables:A config value must be present in options",
        ),
        (
            "10.1",
            "a: {script: x, variables: {A: $B, B: $A}}\n",
            "a: circular variable reference detected: [\"A\", \"B\"]",
        ),
        ("11", "a: {script: x, rules: [{if: '$A ='}]}\n", "jobs:a:rules:rule if invalid expression syntax"),
        ("11", "a: {script: x, rules: [{if: true}]}\n", "jobs:a:rules:rule if should be a string"),
        ("12.1", "a: {script: x, rules: []}\n", "jobs:a:rules config can't be blank"),
        (
            "12.1",
            "a: {script: x, rules: [{iff: x}]}\n",
            "jobs:a:rules:rule config contains unknown keys: iff",
        ),
        ("12.1", "a: {script: x, rules: [{when: sometimes}]}\n", "jobs:a:rules:rule when should be one of"),
        (
            "12.1",
            "a: {script: x, rules: [{when: delayed}]}\n",
            "jobs:a:rules:rule start in should be a duration",
        ),
        (
            "12.1",
            "a: {script: x, rules: [{when: always}], only: [main]}\n",
            "jobs:a config key may not be used with `rules`: only",
        ),
        (
            "12.3",
            "a: {script: x, rules: [{changes: x}]}\n",
            "jobs:a:rules:rule:changes config should be an array or a hash",
        ),
        (
            "13",
            "a: {script: x, only: main}\n",
            "jobs:a:only config has to be either an array of conditions or a hash",
        ),
        ("14", "workflow: {rulez: []}\na: {script: x}\n", "workflow config contains unknown keys: rulez"),
        (
            "15",
            "stages: [build]\na: {script: x}\n",
            "a job: chosen stage test does not exist; available stages are .pre, build, .post",
        ),
        ("15", "stages: build\na: {script: x}\n", "stages config should be an array of strings"),
        ("15", "a: {script: x, stage: 1}\n", "jobs:a:stage config should be a string"),
        ("16", "a: {script: x, needs: [b]}\n", "a job: undefined need: b"),
        ("16", "a: {script: x, needs: x}\n", "jobs:a:needs config can only be a Hash or an Array"),
        ("16", "a: {script: x, needs: [{artifacts: true}]}\n", "jobs:a:needs:need has an unsupported type"),
        ("16", "a: {script: x, needs: [{job: b, parallel: 2}]}\n", "jobs:a:needs:need:parallel cannot use"),
        (
            "16",
            "a: {script: x, needs: [b], stage: build}\nb: {script: x, stage: deploy}\n",
            "a job: need b is not defined in current or prior stages",
        ),
        ("16", "a: {script: x, needs: [b, b]}\nb: {script: x}\n", "a has the following needs duplicated: b."),
        ("16", "a: {script: x, needs: [a]}\n", "The pipeline has circular dependencies: self-dependency: a"),
        (
            "16",
            "a: {script: x, needs: [b]}\nb: {script: x, needs: [a]}\n",
            "The pipeline has circular dependencies: a → b → a",
        ),
        ("16", "a: {script: x, dependencies: [b]}\n", "a job: undefined dependency: b"),
        (
            "16",
            "a: {script: x, needs: [], dependencies: [b]}\nb: {script: x, stage: build}\n",
            "a job: dependency b should be part of needs",
        ),
        (
            "16",
            "a: {script: x, needs: [b]}\nb: {script: x, rules: [{when: never}]}\n",
            "'a' job needs 'b' job, but 'b' does not exist in the pipeline",
        ),
        (
            "16",
            "a: {script: x, needs: [{pipeline: 1}]}\n",
            "jobs:a:needs:need config missing required keys: job",
        ),
        ("17", "a: {script: x, parallel: 0}\n", "jobs:a:parallel config must be greater than or equal to 1"),
        ("17", "a: {script: x, parallel: 201}\n", "jobs:a:parallel config must be less than or equal to 200"),
        ("17", "a: {script: x, parallel: x}\n", "jobs:a:parallel should be an integer or a hash"),
        (
            "17",
            "a: {script: x, parallel: {matrix: [{A: 3.10}]}}\n",
            "jobs:a:parallel:matrix:variables config should be a hash of key value pairs",
        ),
        (
            "17",
            "a: {script: x, parallel: {matrix: [{}]}}\n",
            "jobs:a:parallel:matrix:variables config requires at least 1 items",
        ),
        (
            "17",
            "a: {script: x, parallel: {matrix: [{A: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o], B: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o]}]}}\n",
            "jobs:a:parallel:matrix config generates too many jobs",
        ),
        (
            "17",
            "a: {script: x, parallel: {matrix: [{A: b}]}, needs: [{job: c, parallel: {matrix: [{A: '$[[ matrix.B ]]'}]}}]}\nc: {script: x}\n",
            "a: [b] job: 'B' does not exist in matrix configuration",
        ),
        ("18", "a: {script: []}\n", "jobs:a:script config can't be blank"),
        ("18", "a: {script: [1]}\n", "jobs:a:script config should be a string or a nested array of strings"),
        (
            "18",
            "a: {script: [{echo: x}]}\n",
            "jobs:a:script config should be a string or a nested array of strings",
        ),
        ("18", "a: {script: x, tags: b}\n", "jobs:a:tags config should be an array of strings"),
        ("18", "a: {script: x, when: never}\n", "jobs:a when should be one of"),
        ("18", "a: {script: x, when: delayed}\n", "jobs:a start in should be a duration"),
        ("18", "a: {script: x, start_in: 1 day}\n", "jobs:a start in must be blank"),
        (
            "18",
            "a: {script: x, when: delayed, start_in: 2 weeks}\n",
            "jobs:a start in should not exceed the limit",
        ),
        ("18", "a: {script: x, timeout: 10}\n", "jobs:a:timeout config should be a duration"),
        ("18", "a: {script: x, timeout: 2 months}\n", "jobs:a:timeout config should not exceed the limit"),
        (
            "18",
            "a: {script: x, allow_failure: maybe}\n",
            "jobs:a:allow_failure config should be a hash or a boolean value",
        ),
        (
            "18",
            "a: {script: x, allow_failure: {exit_codes: x}}\n",
            "jobs:a:allow_failure exit codes should be an array of integers",
        ),
        (
            "18",
            "a: {script: x, interruptible: 'yes'}\n",
            "jobs:a:interruptible config should be a boolean value",
        ),
        ("18", "a: {script: x, coverage: abc}\n", "jobs:a:coverage config must be a regular expression"),
        (
            "18",
            "a: {script: x, trigger: g/p}\n",
            "jobs:a config these keys cannot be used together: script, trigger",
        ),
        ("18", "a: {trigger: g/p, tags: [x]}\n", "jobs:a config contains unknown keys: tags"),
        ("26", "a: {run: []}\n", "jobs:a:run config can't be blank"),
        ("18.1", "a: {script: x, retry: 3}\n", "jobs:a:retry config must be less than or equal to 2"),
        ("18.1", "a: {script: x, retry: {max: -1}}\n", "jobs:a:retry max must be greater than or equal to 0"),
        (
            "18.1",
            "a: {script: x, retry: {max: 1, when: scirpt_failure}}\n",
            "jobs:a:retry when contains unknown values: scirpt_failure",
        ),
        ("19", "a: {script: x, artifacts: [b]}\n", "jobs:a:artifacts config should be a hash"),
        (
            "19",
            "a: {script: x, artifacts: {path: [b]}}\n",
            "jobs:a:artifacts config contains unknown keys: path",
        ),
        (
            "19",
            "a: {script: x, artifacts: {paths: b}}\n",
            "jobs:a:artifacts paths should be an array of strings",
        ),
        (
            "19",
            "a: {script: x, artifacts: {paths: [b], expire_in: 5}}\n",
            "jobs:a:artifacts expire in should be a duration",
        ),
        (
            "19",
            "a: {script: x, artifacts: {reports: {junitt: b}}}\n",
            "jobs:a:artifacts:reports config contains unknown keys: junitt",
        ),
        (
            "20",
            "a: {script: x, cache: {key: 1}}\n",
            "jobs:a:cache:key config should be a hash, a string or a symbol",
        ),
        (
            "20",
            "a: {script: x, cache: {key: a/b}}\n",
            "jobs:a:cache:key config cannot contain the \"/\" character",
        ),
        (
            "20",
            "a: {script: x, cache: {key: {files: [a, b, c]}}}\n",
            "jobs:a:cache:key:files config has too many items",
        ),
        ("20", "a: {script: x, cache: [{}, {}, {}, {}, {}]}\n", "jobs:a:cache config is too long"),
        ("21", "a: {script: x, image: {name: }}\n", "jobs:a:image name should be a string"),
        ("21", "a: {script: x, services: postgres}\n", "jobs:a:services config should be a array"),
        ("22", "a: {script: x, environment: {url: b}}\n", "jobs:a:environment name can't be blank"),
        ("22", "a: {script: x, environment: 'a:b'}\n", "jobs:a:environment name can contain only letters"),
        ("22", "a: {script: x, environment: {name: e, on_stop: b}}\n", "a job: on_stop job b is not defined"),
        ("24", "a: {script: x, release: {tag_name: v}}\n", "jobs:a:release description can't be blank"),
    ] {
        let got = first_error(text);
        assert!(got.starts_with(message), "§{section}\n{text}want: {message}\n got: {got}");
    }
}

/// Accepted without an error.
#[test]
fn accepted() {
    for (section, text) in [
        ("1.2", "a: {script: x, variables: {A: yes, B: 017, C: 1:30, D: ~}}\n"),
        ("1.4", "---\na: {script: x}\n"),
        ("1.4", "a: {script: x}\n---\nb: 1\n"),
        ("3.1", "default: {script: x}\n"),
        ("3.2", "\"true\": {script: x}\nä b:/c: {script: x}\n"),
        ("3.3", "a:\n  script: x\n  tags:\n  rules:\n  variables:\n  needs:\n"),
        ("4", "default: {}\na: {script: x}\n"),
        ("9.1", "variables:\na: {script: x, variables: {}}\n"),
        ("10.1", "a: {script: x, variables: {PATH: '$PATH:/x'}}\n"),
        ("12.1", "a: {script: x, rules: [[{if: $A}], {when: always}]}\n"),
        ("13", "a: {script: x, only: [main, tags], except: {variables: [$X]}}\n"),
        ("16", "a: {script: x, needs: []}\nb: {script: x, needs: {job: a}}\n"),
        ("16", "a: {script: x, needs: [{job: gone, optional: true}]}\n"),
        ("17", "a: {script: x, parallel: 1}\nb: {script: x, needs: [a 1/1]}\n"),
        ("18", "a: {script: [x, [y, [z]]], before_script: [], after_script: }\n"),
        (
            "20",
            "a: {script: x, cache: []}\nb: {script: x, cache: {key: $CI_COMMIT_REF_SLUG, paths: [a], policy: $P}}\n",
        ),
        (
            "22",
            "a: {script: x, environment: {name: review/$CI_COMMIT_REF_SLUG, url: 'https://x', on_stop: b}}\nb: {script: x, environment: {name: review/$CI_COMMIT_REF_SLUG, action: stop}}\n",
        ),
        ("24", "pages: {script: x}\na: {script: x, release: {tag_name: v1, description: d}}\n"),
    ] {
        let compiled = compiled(text);
        let said: String = compiled.diagnostics.iter().map(|d| render(d, &compiled.sources)).collect();
        assert!(compiled.pipeline.is_some(), "§{section}\n{text}{said}");
    }
}

fn variables(text: &str, name: &str) -> Vec<(String, String)> {
    let pipeline = pipeline(text);
    job(&pipeline, name).variables.iter().map(|v| (v.key.clone(), v.value.clone())).collect()
}

/// §1.3: what stands before `<<` is overridden by it, what stands behind wins.
#[test]
fn merge_keys_depend_on_their_order() {
    let text = "
.a: &a {A: a, B: a, C: a}
.b: &b {C: b, D: b}
j:
  script: x
  variables:
    A: own
    <<: [*a, *b]
    B: own
";
    let got = variables(text, "j");
    let want = [("A", "a"), ("D", "b"), ("C", "a"), ("B", "own")];
    let mut want: Vec<(String, String)> = want.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let mut got = got;
    got.sort();
    want.sort();
    assert_eq!(got, want);
}

#[test]
fn duplicate_keys_warn_and_the_last_counts() {
    let compiled = compiled("a: {script: x}\nb: {script: y}\na: {script: z}\n");
    assert_eq!(compiled.diagnostics.len(), 1);
    assert!(render(&compiled.diagnostics[0], &compiled.sources).contains("first given here"));
    let pipeline = compiled.pipeline.unwrap();
    assert_eq!(pipeline.jobs.iter().map(|j| j.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(job(&pipeline, "a").script, ["z"]);
}

/// §4
#[test]
fn defaults_replace_never_merge() {
    let p = pipeline(
        "
default: {tags: [a], retry: 1, before_script: [b], image: i}
after_script: [c]
j: {script: x, tags: []}
k: {script: x, inherit: {default: [retry]}}
l: {script: x, inherit: {default: false}}
m: {script: x, before_script: []}
",
    );
    assert_eq!((job(&p, "j").tags.len(), job(&p, "j").retry.max), (0, 1));
    assert_eq!(job(&p, "j").after_script, ["c"]);
    let k = job(&p, "k");
    assert_eq!((k.tags.len(), k.retry.max, k.before_script.len(), k.after_script.len()), (0, 1, 0, 0));
    assert_eq!(job(&p, "l").retry.max, 0);
    assert!(job(&p, "m").before_script.is_empty());
    assert_eq!(job(&p, "m").image.as_ref().unwrap().name, "i");
}

/// §A.2
#[test]
fn extends_merges_mappings_and_replaces_lists() {
    let p = pipeline(
        "
.base:
  script: [a]
  variables: {A: 1, B: 2}
  rules: [{if: $NOPE}]
  cache: {key: k, paths: [p]}
child: {extends: .base, script: [b], variables: {B: 3}, rules: , cache: {key: z}}
none: {extends: .base, rules: , cache: []}
keep: {extends: .base, rules: , variables: {}}
.deep: {extends: .base, rules: , variables: {C: 4}}
two: {extends: [.deep, child], script: [c]}
",
    );
    let child = job(&p, "child");
    assert_eq!(child.script, ["b"]);
    let vars = |name: &str| {
        job(&p, name).variables.iter().map(|v| format!("{}={}", v.key, v.value)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(vars("child"), "A=1 B=3");
    assert_eq!(child.cache[0].key, CacheKey::Text("z".into()));
    assert_eq!(child.cache[0].paths, ["p"]);
    assert!(job(&p, "none").cache.is_empty());
    assert_eq!(vars("keep"), "A=1 B=2");
    assert_eq!(vars("two"), "A=1 B=3 C=4");
}

/// §5: ten levels above are fine, eleven are not.
#[test]
fn extends_depth() {
    let chain = |levels: usize| {
        let mut text = String::from(".l0: {script: x}\n");
        for level in 1..levels {
            text.push_str(&format!(".l{level}: {{extends: .l{}}}\n", level - 1));
        }
        text + &format!("j: {{extends: .l{}}}\n", levels - 1)
    };
    pipeline(&chain(10));
    assert_eq!(first_error(&chain(11)), "j: nesting too deep in `extends`");
    assert_eq!(first_error(&chain(5000)), ".l11: nesting too deep in `extends`");
}

/// §6
#[test]
fn references_see_extends_and_flatten() {
    let p = pipeline(
        "
.setup: {script: [one, two], variables: {V: w}}
.more: {extends: .setup, after_script: !reference [.setup, script]}
j:
  extends: .more
  script:
    - !reference [.setup, script]
    - three
    - [!reference [.more, after_script]]
  variables: {X: !reference [.setup, variables, V]}
",
    );
    let j = job(&p, "j");
    assert_eq!(j.script, ["one", "two", "three", "one", "two"]);
    assert_eq!(j.after_script, ["one", "two"]);
    assert!(j.variables.iter().any(|v| v.key == "X" && v.value == "w"));
}

/// §7
#[test]
fn includes_merge_below_and_chains_are_shown() {
    let repository = Repository::new(&[
        ("a.yml", "include: ci/b.yml\nvariables: {A: a, B: a}\nj: {script: [a], tags: [t]}\n"),
        ("ci/b.yml", "variables: {A: b, B: b, C: b}\nk: {script: b}\n"),
        ("ci/c.yml", "l: {script: c}\n"),
        ("ci/deep/d.yml", "m: {script: d}\n"),
    ]);
    let text = "
include:
  - a.yml
  - local: /ci/*.yml
    rules: [{if: '$CI_COMMIT_BRANCH == \"main\"'}]
  - local: ci/$NOPE/x.yml
    rules: [{if: $NOPE}]
variables: {B: own}
j: {script: [own]}
";
    let p = pipeline_of(compiled_with(text, &repository, &context(&[])));
    let names: Vec<&str> = p.jobs.iter().map(|j| j.name.as_str()).collect();
    assert_eq!(names, ["k", "j", "l"]);
    let j = job(&p, "j");
    assert_eq!((j.script[0].as_str(), j.tags[0].as_str()), ("own", "t"));
    let vars: Vec<String> = p.variables.iter().map(|v| format!("{}={}", v.key, v.value)).collect();
    // The wildcard is written out before the nested include of the same file is known, and comes later.
    assert_eq!(vars.join(" "), "A=b B=own C=b");

    let repository =
        Repository::new(&[("a.yml", "include: b.yml\n"), ("b.yml", "x: {script: y, nope: 1}\n")]);
    let compiled = compiled_with("include: a.yml\n", &repository, &context(&[]));
    let said = render(&compiled.diagnostics[0], &compiled.sources);
    assert!(said.contains("--> b.yml:1:16"), "{said}");
    assert!(said.contains("::: a.yml:1:10") && said.contains("::: .gitlab-ci.yml:1:10"), "{said}");
}

#[test]
fn a_file_that_includes_itself_ends_in_the_limit() {
    let repository = Repository::new(&[("a.yml", "include: a.yml\nj: {script: x}\n")]);
    let compiled = compiled_with("include: a.yml\n", &repository, &context(&[]));
    assert_eq!(errors(&compiled), ["Maximum of 150 nested includes are allowed!"]);
}

/// §9
#[test]
fn variables_by_rank() {
    let p = pipeline(
        "
variables: {G: g, J: g, R: g, M: g, W: {value: $G, expand: false}}
workflow:
  rules: [{when: always, variables: {G: w}}]
j:
  script: x
  variables: {J: j, R: j, M: j}
  parallel: {matrix: [{M: m}]}
  rules: [{when: always, variables: {R: r}}]
k: {script: x, inherit: {variables: [J]}}
l: {script: x, inherit: {variables: false}, variables: {N: }}
",
    );
    let shown = |name: &str| {
        job(&p, name).variables.iter().map(|v| format!("{}={}", v.key, v.value)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown("j: [m]"), "G=w J=j R=r M=m W=$G");
    assert!(job(&p, "j: [m]").variables[4].raw);
    assert_eq!(shown("k"), "J=g");
    assert_eq!(shown("l"), "N=");
}

/// §A.6
#[test]
fn rules_results() {
    for (job_keys, when, allowed) in [
        ("when: manual", When::Manual, AllowFailure::Yes),
        ("rules: [{when: manual}]", When::Manual, AllowFailure::No),
        ("when: manual, rules: [{if: $CI_COMMIT_BRANCH}]", When::Manual, AllowFailure::Yes),
        ("when: manual, rules: [{when: on_success}]", When::OnSuccess, AllowFailure::Yes),
        ("allow_failure: true, rules: [{when: on_failure}]", When::OnFailure, AllowFailure::Yes),
        ("allow_failure: true, rules: [{allow_failure: false}]", When::OnSuccess, AllowFailure::No),
        (
            "allow_failure: {exit_codes: 3}, rules: [{allow_failure: true}]",
            When::OnSuccess,
            AllowFailure::Yes,
        ),
        ("allow_failure: {exit_codes: [3, 4]}", When::OnSuccess, AllowFailure::ExitCodes(vec![3, 4])),
        ("when: manual, allow_failure: false", When::Manual, AllowFailure::No),
        (
            "rules: [{if: $NOPE, when: manual}, {if: '$J == \"v\"', when: always}], variables: {J: v}",
            When::Always,
            AllowFailure::No,
        ),
        (
            "rules: [{if: '$CI_JOB_NAME == \"j\"', when: delayed, start_in: 5 min}]",
            When::Delayed,
            AllowFailure::No,
        ),
    ] {
        let p = pipeline(&format!("j: {{script: x, {job_keys}}}\n"));
        let j = job(&p, "j");
        assert_eq!((j.when, &j.allow_failure), (when, &allowed), "{job_keys}");
        if when == When::Delayed {
            assert_eq!(j.start_in, Some(Duration::from_secs(300)));
        }
    }
}

#[test]
fn a_job_left_out_says_which_rule_did_it() {
    let p = pipeline(
        "
j: {script: x}
k: {script: x, rules: [{if: $NOPE}, {if: $CI_COMMIT_BRANCH, when: never}]}
l: {script: x, rules: [{if: $NOPE}]}
m: {script: x, only: [tags]}
",
    );
    let reasons: Vec<&str> = p.left_out.iter().map(|out| out.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "rule 2 says never (if: $CI_COMMIT_BRANCH)",
            "its only rule does not match",
            "`only` does not let it in"
        ]
    );
    assert!(p.left_out.iter().all(|out| out.place.is_some()));
}

/// §12.3, §12.4
#[test]
fn changes_and_exists() {
    let text = "
j: {script: x, rules: [{changes: ['docs/**/*']}]}
k: {script: x, rules: [{changes: {paths: ['$DIR/*'], compare_to: main}}], variables: {DIR: src}}
l: {script: x, rules: [{exists: [Dockerfile, '**/*.rs']}]}
m: {script: x, rules: [{exists: [src/]}]}
n: {script: x, rules: [{exists: ['*.rs']}]}
o: {script: x}
";
    let mut repository = Repository::new(&[("src/a.rs", ""), ("README.md", "")]);
    repository.since.insert("main".into(), vec!["src/a.rs".into()]);
    let mut cx = context(&[]);
    let names = |cx: &harrier_pipeline::Context| {
        let p = pipeline_of(compiled_with(text, &repository, cx));
        p.jobs.iter().map(|j| j.name.clone()).collect::<Vec<_>>().join("")
    };
    assert_eq!(names(&cx), "jklmo");
    cx.changes = Some(vec!["README.md".into()]);
    assert_eq!(names(&cx), "klmo");
    cx.changes = Some(vec!["docs/a/b.md".into()]);
    assert_eq!(names(&cx), "jklmo");
    let broken = "j: {script: x, rules: [{changes: {paths: [a], compare_to: nope}}]}\n";
    let compiled = compiled_with(broken, &repository, &cx);
    assert_eq!(errors(&compiled), ["Failed to parse rule for j: no ref nope"]);
}

/// §12.5
#[test]
fn needs_of_a_rule_replace_those_of_the_job() {
    let p = pipeline(
        "
a: {script: x}
b: {script: x}
j: {script: x, needs: [a], rules: [{when: always, needs: [b]}]}
k: {script: x, needs: [a], rules: [{when: always, needs: []}]}
",
    );
    let needs = |name: &str| {
        job(&p, name).needs.as_ref().unwrap().iter().map(|n| n.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(needs("j"), ["b"]);
    assert!(needs("k").is_empty());
}

/// §14, §28.5
#[test]
fn workflow_filters() {
    let filtered = |text: &str| compiled(text).filtered;
    let workflow = filtered("workflow: {rules: [{if: $NOPE}]}\na: {script: x}\n");
    assert!(matches!(workflow, Some(Filtered::Workflow { place: Some(_) })));
    let never = filtered("workflow: {rules: [{when: never}]}\na: {script: x}\n");
    assert!(matches!(never, Some(Filtered::Workflow { place: Some(_) })));
    let rules = filtered("a: {script: x, rules: [{when: never}]}\nb: {script: x, stage: .pre}\n");
    assert!(matches!(rules, Some(Filtered::Rules { left_out }) if left_out.len() == 1));
    let p =
        pipeline("variables: {V: v}\nworkflow: {name: ' run $V of $CI_COMMIT_BRANCH '}\na: {script: x}\n");
    assert_eq!(p.name.as_deref(), Some("run v of main"));
}

/// §16, §17, §A.3
#[test]
fn parallel_jobs_and_those_who_need_them() {
    let p = pipeline(
        "
t: {script: x, parallel: {matrix: [{P: [a, b], Q: [1, 2]}, {P: c}]}}
u: {script: x, parallel: 2}
v: {script: x, needs: [t, u 1/2], dependencies: [u 1/2]}
w: {script: x, needs: [{job: t, parallel: {matrix: [{P: a, Q: 1}]}}]}
x: {script: x, parallel: {matrix: [{P: [a, b], Q: '2'}]}, needs: [{job: t, parallel: {matrix: [{P: '$[[ matrix.P ]]', Q: '$[[ matrix.Q ]]'}]}}]}
y: {script: x, stage: deploy, dependencies: [u]}
",
    );
    let names: Vec<&str> = p.jobs.iter().take(7).map(|j| j.name.as_str()).collect();
    assert_eq!(names, ["t: [a, 1]", "t: [a, 2]", "t: [b, 1]", "t: [b, 2]", "t: [c]", "u 1/2", "u 2/2"]);
    let c = job(&p, "t: [c]").instance.as_ref().unwrap();
    assert_eq!((c.index, c.total, c.base.as_str()), (5, 5, "t"));
    assert_eq!(job(&p, "t: [c]").group, "t");
    let v = p.find("v").unwrap();
    assert_eq!(p.waits_for(v).len(), 6);
    let sources: Vec<&str> = p.artifact_sources(v).iter().map(|id| p.job(*id).name.as_str()).collect();
    assert_eq!(sources, ["u 1/2"]);
    assert_eq!(job(&p, "w").needs.as_ref().unwrap()[0].name, "t: [a, 1]");
    assert_eq!(job(&p, "x: [b, 2]").needs.as_ref().unwrap()[0].name, "t: [b, 2]");
    assert_eq!(job(&p, "y").dependencies.as_ref().unwrap().len(), 2);
    let swapped = "t: {script: x, parallel: {matrix: [{P: a, Q: b}]}}\n\
                   w: {script: x, needs: [{job: t, parallel: {matrix: [{Q: b, P: a}]}}]}\n";
    assert_eq!(first_error(swapped), "w job: undefined need: t: [b, a]");
}

#[test]
fn artifacts_come_from_all_earlier_stages_or_from_needs() {
    let p = pipeline(
        "
a: {script: x, stage: build}
b: {script: x, stage: build}
c: {script: x}
d: {script: x, needs: [{job: a, artifacts: false}, b]}
e: {script: x, stage: deploy}
f: {script: x, stage: deploy, dependencies: []}
",
    );
    let from = |name: &str| {
        let ids = p.artifact_sources(p.find(name).unwrap());
        ids.iter().map(|id| p.job(*id).name.as_str()).collect::<String>()
    };
    assert_eq!(
        (from("c"), from("d"), from("e"), from("f")),
        ("ab".into(), "b".into(), "abcd".into(), String::new())
    );
}

/// §10.2
#[test]
fn the_server_expands_tags_environment_and_resource_group() {
    let p = pipeline(
        "
variables: {V: v}
j:
  script: x
  tags: [$V, $NOPE]
  resource_group: g-$V
  environment: review/$CI_COMMIT_BRANCH
",
    );
    let j = job(&p, "j");
    assert_eq!(j.tags, ["v", "$NOPE"]);
    assert_eq!(j.resource_group.as_deref(), Some("g-v"));
    assert_eq!(j.environment.as_ref().unwrap().name, "review/main");
}

/// §9.2: variables of the run win over everything in the rules, too.
#[test]
fn run_variables_win() {
    let mut cx = context(&[]);
    cx.pipeline = vec![Variable::public("V", "run")];
    let text = "variables: {V: yaml}\nj: {script: x, rules: [{if: '$V == \"run\"'}]}\n";
    assert_eq!(pipeline_of(compiled_with(text, &Repository::default(), &cx)).jobs.len(), 1);
}

#[test]
fn diagnostics_carry_places_and_remedies() {
    let compiled = compiled("build:\n  stage: biuld\n  script: make\n");
    assert_eq!(
        render(&compiled.diagnostics[0], &compiled.sources),
        "error: build job: chosen stage biuld does not exist; available stages are .pre, build, test, deploy, .post\n \
         --> .gitlab-ci.yml:2:10\n  \
         |\n\
         2 |   stage: biuld\n  \
         |          ^^^^^\n  \
         = help: did you mean `build`?\n"
    );
}

#[test]
fn broken_yaml_is_shown_where_it_breaks() {
    for (text, shown) in [
        ("a:\n  script: x: y\n", "--> .gitlab-ci.yml:2:12"),
        ("a: 1\n---\nb: [\n", "--> .gitlab-ci.yml:4:1"),
        ("a:\n  script:\n\t- x\n", "--> .gitlab-ci.yml:3:1"),
    ] {
        let compiled = compiled(text);
        let said = render(&compiled.diagnostics[0], &compiled.sources);
        assert!(said.contains(shown), "{said}");
    }
}

#[test]
fn a_mistake_in_a_base_names_the_job_that_takes_it_over() {
    let compiled = compiled(".b:\n  tags: x\nj: {extends: .b, script: y}\n");
    let said = render(&compiled.diagnostics[0], &compiled.sources);
    assert!(said.contains("--> .gitlab-ci.yml:2:9") && said.contains("::: .gitlab-ci.yml:3:1"), "{said}");
    assert!(said.contains("job `j` takes it over"), "{said}");
}

/// Anything hostile ends in a clear error.
#[test]
fn hostile_input() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let deep = format!("a: {}{}\n", "[".repeat(3000), "]".repeat(3000));
    let wide = format!("a: {{script: [{}]}}\n", "x, ".repeat(60_000));
    let mut references = String::from(".r0: {s: [x, x, x, x, x, x, x, x, x, x]}\n");
    for level in 1..9 {
        let list = vec![format!("!reference [.r{}, s]", level - 1); 10].join(", ");
        references.push_str(&format!(".r{level}: {{s: [{list}]}}\n"));
    }
    references.push_str("j: {script: !reference [.r8, s]}\n");
    let merges = format!(
        "a: &a {{{}}}\nb:\n{}",
        (0..2000).map(|n| format!("k{n}: 1, ")).collect::<String>(),
        "  <<: *a\n".repeat(2000)
    );
    let own = "a: &a [*a]\n";
    let long = "x".repeat(400_000);
    let jobs = |body: &str| (0..1000).map(|n| format!("j{n}: {{{body}}}\n")).collect::<String>();
    let shared = format!(".b: {{script: [{long}]}}\n{}", jobs("extends: .b"));
    let inherited = format!("default: {{before_script: [{long}]}}\n{}", jobs("script: x"));
    let instances = "parallel: 200";
    let parallel = format!(
        ".b: {{script: [{long}]}}\na: {{extends: .b, {instances}}}\nb: {{extends: .b, {instances}}}\n\
                            c: {{extends: .b, {instances}}}\nd: {{extends: .b, {instances}}}\n"
    );
    for (text, message) in [
        (bomb.as_str(), "The parsed YAML is too big"),
        (&deep, "The parsed YAML is too big"),
        (own, "The parsed YAML is too big"),
        (&merges, "The parsed YAML is too big"),
        (&references, "The configuration is too big"),
        (&shared, "The configuration is too big"),
        (&inherited, "The configuration is too big"),
        (&parallel, "The configuration is too big"),
    ] {
        let got = first_error(text);
        assert!(got.starts_with(message), "{got}");
    }
    assert_eq!(job(&pipeline(&wide), "a").script.len(), 60_000);
}
