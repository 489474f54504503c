//! `include` by the rules of `ci-yaml.md` §7, against sources in memory.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_base::Variable;
use harrier_pipeline::{Context, Severity, render};
use support::*;

const JOB: &str = "j: {script: x}\n";

/// Every kind of source, for the tables.
fn everything() -> Repository {
    let mut repository = Repository::new(&[
        ("a.yml", "a: {script: x}\n"),
        ("A.YAML", "upper: {script: x}\n"),
        ("ci/b.yml", "b: {script: x}\n"),
        ("ci/c.yml", "c: {script: x}\n"),
        ("ci/sub/d.yml", "d: {script: x}\n"),
        ("ci/.hidden.yml", "dot: {script: x}\n"),
        ("list.yml", "- a\n"),
        ("blank.yml", "# nothing\n"),
        ("braces.yml", "{}\n"),
        ("needs-input.yml", "spec: {inputs: {env: }}\n---\n'$[[ inputs.env ]]': {script: x}\n"),
        ("nested-remote.yml", "include: 'https://x.example/r.yml'\n"),
        ("templates/own.yml", "spec: {component: [name, version]}\n---\n'own-$[[ component.name ]]': {script: x}\n"),
    ])
    .project(
        "g/p",
        "main",
        &[
            ("x.yml", "x: {script: x}\n"),
            ("y.yml", "y: {script: x}\n"),
            ("local.yml", "include: [{local: /in/z.yml}, {local: 'in/*.yml'}]\n"),
            ("in/z.yml", "z: {script: x}\n"),
            ("in/w.yml", "w: {script: x}\n"),
            ("if-exists.yml", "include: [{local: x.yml, rules: [{exists: [in/z.yml]}]}, {local: y.yml, rules: [{exists: [a.yml]}]}]\n"),
        ],
    )
    .project("g/p", "v1", &[("x.yml", "x-of-v1: {script: x}\n")])
    .project("g/c", "1.0.0", &[("templates/scan.yml", "spec: {component: [name, sha, version, reference], inputs: {s: {default: q}}}\n---\n'$[[ component.name ]] $[[ component.version ]] $[[ component.reference ]] $[[ component.sha ]] $[[ inputs.s ]]': {script: x}\n")])
    .project("g/c", "1.1.0", &[("templates/scan.yml", "scan-1-1: {script: x}\n"), ("templates/dir/template.yml", "dir: {script: x}\n")])
    .project("g/c", "2.0.0-rc1", &[("templates/scan.yml", "scan-2: {script: x}\n")])
    .project("g/c", "main", &[("templates/scan.yml", "spec: {component: [version]}\n---\n'main <$[[ component.version ]]>': {script: x}\n"), ("templates/bad.yml", "spec: {include: [x.yml]}\n---\nbad: {script: x}\n")])
    .remote("https://x.example/r.yml", "r: {script: x}\n")
    .remote("https://x.example/kept.yml kept 3600", "kept: {script: x}\n")
    .remote("https://x.example/kept.yml kept 120", "kept2: {script: x}\n")
    .remote("https://x.example/kept.yml", "fresh: {script: x}\n")
    .remote("https://x.example/local.yml", "include: {local: a.yml}\n")
    .remote("https://x.example/project.yml", "include: {project: g/p, file: '$FILE', rules: [{if: '$FILE == null'}]}\n")
    .remote("https://x.example/more.yml", "include: [{project: g/p, file: x.yml}, {template: T.gitlab-ci.yml}, 'https://x.example/r.yml']\n")
    .template("T.gitlab-ci.yml", "t: {script: x}\n")
    .template("Jobs/U.gitlab-ci.yml", "include: {local: a.yml}\n");
    repository.since.insert("main".into(), vec!["docs/a.md".into()]);
    repository
}

fn cx() -> Context {
    let mut cx = context(&[
        ("CI_SERVER_HOST", "git.example"),
        ("CI_SERVER_FQDN", "git.example:8443"),
        ("CI_PROJECT_PATH", "me/mine"),
        ("CI_COMMIT_SHA", "feed"),
    ]);
    cx.project = vec![
        Variable::public("FILE", "x.yml").into(),
        Variable::public("DIR", "ci").into(),
        Variable::public("WORD", "pass").into(),
        Variable::public("TOKEN", "s3cr3t-token").masked().into(),
    ];
    cx.changes = Some(vec!["src/a.rs".into()]);
    cx
}

/// What an include brings: the names of the jobs, in order.
#[test]
fn brings() {
    for (rule, include, jobs) in [
        ("7.1 a text is local", "a.yml", "a"),
        ("7.1 a leading slash is removed", "/a.yml", "a"),
        ("7.1 an address is remote", "'https://x.example/r.yml'", "r"),
        ("7.1 a list of texts and mappings", "[a.yml, {local: ci/b.yml}]", "a b"),
        ("7.1 an empty list includes nothing", "[]", ""),
        ("7.1 null includes nothing", "", ""),
        ("7.1 the extension in any case", "A.YAML", "upper"),
        ("7.1 one star stays in its directory, dot files too", "ci/*.yml", "dot b c"),
        ("7.1 two stars match this level and below", "ci/**.yml", "dot b c d"),
        ("7.1 two stars and a slash match below only", "ci/**/*.yml", "d"),
        ("7.1 a wildcard may match nothing", "none/*.yml", ""),
        ("7.1 a wildcard skips what is in already", "[ci/b.yml, 'ci/*.yml']", "b dot c"),
        ("7.1 project with HEAD", "{project: g/p, file: x.yml}", "x"),
        ("7.1 project, a leading slash", "{project: g/p, file: /x.yml}", "x"),
        ("7.1 project with a list of files", "{project: g/p, file: [y.yml, x.yml]}", "y x"),
        ("7.1 project with a ref", "{project: g/p, file: x.yml, ref: v1}", "x-of-v1"),
        ("7.1 the path of a project in any case", "{project: G/P, file: x.yml}", "x"),
        ("7.1 remote", "{remote: 'https://x.example/r.yml'}", "r"),
        ("7.1 template", "{template: T.gitlab-ci.yml}", "t"),
        ("7.2 cache for an hour", "{remote: 'https://x.example/kept.yml', cache: true}", "kept"),
        ("7.2 cache for a time", "{remote: 'https://x.example/kept.yml', cache: 2 minutes}", "kept2"),
        ("7.2 no cache", "{remote: 'https://x.example/kept.yml', cache: false}", "fresh"),
        (
            "7.2 integrity of the bytes",
            "{remote: 'https://x.example/r.yml', integrity: 'sha256-xewiNUloTTwOyQZtoKMfl8YUpcBy78NC+uDM9C7DffY='}",
            "r",
        ),
        (
            "7.2 rules: the first match decides",
            "{local: a.yml, rules: [{if: '$CI_COMMIT_BRANCH == \"main\"'}]}",
            "a",
        ),
        ("7.2 rules: never", "{local: a.yml, rules: [{if: '$CI_COMMIT_BRANCH', when: never}]}", ""),
        ("7.2 rules: always", "{local: a.yml, rules: [{if: '$CI_COMMIT_BRANCH', when: always}]}", "a"),
        ("7.2 rules: no match", "{local: a.yml, rules: [{if: $NOPE}]}", ""),
        ("7.2 rules: yaml variables are not seen", "{local: a.yml, rules: [{if: $YAML}]}", ""),
        ("7.2 rules: project variables are seen", "{local: a.yml, rules: [{if: $FILE}]}", "a"),
        ("7.2 rules: exists", "{local: a.yml, rules: [{exists: [ci/b.yml]}]}", "a"),
        ("7.2 rules: exists not", "{local: a.yml, rules: [{exists: [nope.yml]}]}", ""),
        (
            "7.2 rules: exists in another project",
            "{local: a.yml, rules: [{exists: {paths: [in/z.yml], project: g/p}}]}",
            "a",
        ),
        (
            "7.2 rules: exists at a ref of another project",
            "{local: a.yml, rules: [{exists: {paths: [in/z.yml], project: g/p, ref: v1}}]}",
            "",
        ),
        ("7.2 rules: exists looks where the file is", "{project: g/p, file: if-exists.yml}", "x"),
        ("7.2 rules: changes", "{local: a.yml, rules: [{changes: ['src/*']}]}", "a"),
        ("7.2 rules: changes not", "{local: a.yml, rules: [{changes: ['docs/*']}]}", ""),
        (
            "7.2 rules: changes compared",
            "{local: a.yml, rules: [{changes: {paths: ['docs/*'], compare_to: main}}]}",
            "a",
        ),
        ("7.2 variables in local", "$DIR/b.yml", "b"),
        ("7.2 variables in braces", "'${DIR}/c.yml'", "c"),
        ("7.2 undefined names are empty", "$NOPE/a.yml", "a"),
        ("7.2 variables in project and file", "{project: 'g/p$NOPE', file: $FILE}", "x"),
        ("7.2 variables decide whether it is an address", "'https://x.example/${NOPE}r.yml'", "r"),
        ("7.2 inputs are not expanded", "{local: needs-input.yml, inputs: {env: $FILE}}", "$FILE"),
        ("7.3 a local file of another project, nested", "{project: g/p, file: local.yml}", "z w"),
        (
            "7.3 nested in a remote file: project, template, remote",
            "{remote: 'https://x.example/more.yml'}",
            "x t r",
        ),
        ("7.3 nested in a local file: remote", "nested-remote.yml", "r"),
        ("7.3 the same file twice", "[a.yml, a.yml]", "a"),
        (
            "7.3 the same file with other inputs",
            "[{local: needs-input.yml, inputs: {env: q}}, {local: needs-input.yml, inputs: {env: p}}]",
            "q p",
        ),
        (
            "7.4 a tag; the fields asked for",
            "{component: 'git.example/g/c/scan@1.0.0'}",
            "scan 1.0.0 1.0.0 sha-of-1.0.0 q",
        ),
        (
            "7.4 a commit",
            "{component: 'git.example/g/c/scan@sha-of-1.0.0', inputs: {s: given}}",
            "scan  sha-of-1.0.0 sha-of-1.0.0 given",
        ),
        ("7.4 a branch has no version", "{component: 'git.example/g/c/scan@main'}", "main <>"),
        ("7.4 the host with its port", "{component: '$CI_SERVER_FQDN/g/c/scan@main'}", "main <>"),
        ("7.4 latest, without prereleases", "{component: 'git.example/g/c/scan@~latest'}", "scan-1-1"),
        ("7.4 a partial version", "{component: 'git.example/g/c/scan@1'}", "scan-1-1"),
        (
            "7.4 a more exact partial version",
            "{component: 'git.example/g/c/scan@1.0'}",
            "scan 1.0.0 1.0 sha-of-1.0.0 q",
        ),
        ("7.4 a prerelease named fully", "{component: 'git.example/g/c/scan@2.0.0-rc1'}", "scan-2"),
        ("7.4 in a directory", "{component: 'git.example/g/c/dir@1.1.0'}", "dir"),
        (
            "7.4 of this project at this commit",
            "{component: '$CI_SERVER_FQDN/$CI_PROJECT_PATH/own@$CI_COMMIT_SHA'}",
            "own-own",
        ),
    ] {
        let text = format!("include: {include}\nvariables: {{YAML: y}}\n{JOB}");
        let compiled = compiled_with(&text, &everything(), &cx());
        let said: String = compiled.diagnostics.iter().map(|d| render(d, &compiled.sources)).collect();
        let pipeline = compiled.pipeline.unwrap_or_else(|| panic!("§{rule}\n{said}"));
        let names: Vec<&str> =
            pipeline.jobs.iter().map(|job| job.name.as_str()).filter(|n| *n != "j").collect();
        assert_eq!(names.join(" "), jobs, "§{rule}");
    }
}

/// What is refused, with the beginning of the message.
#[test]
fn refused() {
    for (rule, include, message) in [
        ("7.1 unknown key", "{lokal: a.yml}", "include config contains unknown keys: lokal"),
        ("7.1 a number", "1", "include config should be a string or a hash"),
        ("7.1 no kind", "{rules: []}", "`{\"rules\":[]}` does not have a valid subkey for include."),
        ("7.1 file without project", "{file: a.yml}", "`{\"file\":\"a.yml\"}` does not have a valid subkey"),
        (
            "7.1 two kinds",
            "{local: a.yml, template: T.gitlab-ci.yml}",
            "Each include must use only one of: `local`",
        ),
        ("7.1 ref with local", "{local: a.yml, ref: main}", "include config contains unknown keys: ref"),
        ("7.1 job with local", "{local: a.yml, job: j}", "include config contains unknown keys: job"),
        (
            "7.1 integrity with local",
            "{local: a.yml, integrity: x}",
            "include config contains unknown keys: integrity",
        ),
        (
            "7.1 cache with project",
            "{project: g/p, file: x.yml, cache: true}",
            "include config contains unknown keys: cache",
        ),
        ("7.1 local, missing", "b.yml", "Local file `b.yml` does not exist!"),
        ("7.1 local, no text", "{local: [a.yml]}", "include:local config should be a string"),
        ("7.1 local, extension", "a.txt", "Included file `a.txt` does not have YAML extension!"),
        ("7.1 empty file", "blank.yml", "Included file `blank.yml` is empty!"),
        ("7.1 no keys", "braces.yml", "Included file `braces.yml` is empty!"),
        ("7.1 no mapping", "list.yml", "`list.yml`: Invalid configuration format"),
        ("7.1 project without file", "{project: g/p}", "include config must specify the file where to fetch"),
        (
            "7.1 project, missing",
            "{project: g/none, file: x.yml}",
            "Project `g/none` not found or access denied!",
        ),
        (
            "7.1 project, no path",
            "{project: '../x', file: x.yml}",
            "Project `../x` is not the path of a project",
        ),
        (
            "7.1 project, unknown ref",
            "{project: g/p, file: x.yml, ref: v9}",
            "Project `g/p` reference `v9` does not exist!",
        ),
        (
            "7.1 project, missing file",
            "{project: g/p, file: no.yml}",
            "Project `g/p` file `no.yml` does not exist!",
        ),
        (
            "7.1 project, no wildcards",
            "{project: g/p, file: '*.yml'}",
            "Project `g/p` file `*.yml` does not exist!",
        ),
        (
            "7.1 project, extension",
            "{project: g/p, file: x}",
            "Included file `x` does not have YAML extension!",
        ),
        (
            "7.1 remote, missing",
            "'https://x.example/no.yml'",
            "Remote file `https://x.example/no.yml` could not be fetched because of HTTP code `404` error!",
        ),
        ("7.1 remote, no address", "{remote: a.yml}", "Remote file `a.yml` does not have a valid address!"),
        (
            "7.1 remote, scheme",
            "{remote: 'ftp://x/a.yml'}",
            "Remote file `ftp://x/a.yml` does not have a valid address!",
        ),
        (
            "7.1 remote, extension",
            "'https://x.example/r'",
            "Included file `https://x.example/r` does not have YAML extension!",
        ),
        (
            "7.1 template, missing",
            "{template: N.gitlab-ci.yml}",
            "Template file `N.gitlab-ci.yml` does not exist!",
        ),
        ("7.1 template, name", "{template: T.yml}", "Template file `T.yml` is not a valid location!"),
        (
            "7.1 template, out of its directory",
            "{template: ../T.gitlab-ci.yml}",
            "Template file `../T.gitlab-ci.yml` is not a valid location!",
        ),
        (
            "7.1 artifact, not in a child pipeline",
            "{artifact: a.yml, job: j}",
            "Including configs from artifacts is only allowed",
        ),
        (
            "7.1 artifact without job",
            "{artifact: a.yml}",
            "include config must specify the job where to fetch",
        ),
        (
            "7.2 integrity, prefix",
            "{remote: 'https://x.example/r.yml', integrity: md5-x}",
            "include:integrity config must start with 'sha256-'",
        ),
        (
            "7.2 integrity, base64",
            "{remote: 'https://x.example/r.yml', integrity: sha256-x}",
            "include:integrity config is not the base64",
        ),
        (
            "7.2 integrity, mismatch",
            "{remote: 'https://x.example/r.yml', integrity: 'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='}",
            "Content of remote file `https://x.example/r.yml` does not match its `integrity`",
        ),
        (
            "7.2 cache, too short",
            "{remote: 'https://x.example/r.yml', cache: 59 s}",
            "include:cache config must be at least 1 minute",
        ),
        (
            "7.2 cache, no duration",
            "{remote: 'https://x.example/r.yml', cache: soon}",
            "include:cache config should be a boolean or a duration",
        ),
        (
            "7.2 cache, a number",
            "{remote: 'https://x.example/r.yml', cache: 60}",
            "include:cache config should be a boolean or a duration",
        ),
        ("7.2 inputs, no mapping", "{local: a.yml, inputs: [x]}", "include:inputs config should be a hash"),
        (
            "7.2 inputs without a header",
            "{local: a.yml, inputs: {x: y}}",
            "`a.yml`: Given inputs not defined in the `spec` section",
        ),
        (
            "7.2 inputs, unknown",
            "{local: needs-input.yml, inputs: {env: a, enf: b}}",
            "`needs-input.yml`: unknown input arguments: enf",
        ),
        (
            "7.2 inputs, missing",
            "needs-input.yml",
            "`needs-input.yml`: `env` input: required value has not been provided",
        ),
        (
            "7.2 rules, no list",
            "{local: a.yml, rules: x}",
            "include:rules config should be an array of hashes",
        ),
        (
            "7.2 rules, key",
            "{local: a.yml, rules: [{needs: []}]}",
            "include:rules:rule config contains unknown keys: needs",
        ),
        (
            "7.2 rules, when",
            "{local: a.yml, rules: [{when: manual}]}",
            "include:rules:rule when should be one of: always, never",
        ),
        (
            "7.2 rules, expression",
            "{local: a.yml, rules: [{if: 'x ='}]}",
            "include:rules:rule if invalid expression syntax",
        ),
        (
            "7.2 rules, an unknown ref to compare with",
            "{local: a.yml, rules: [{changes: {paths: [x], compare_to: nope}}]}",
            "Failed to parse rule for include: no ref nope",
        ),
        (
            "7.3 local in a remote file",
            "'https://x.example/local.yml'",
            "Local file `a.yml` does not have project!",
        ),
        (
            "7.3 local in a template",
            "{template: Jobs/U.gitlab-ci.yml}",
            "Local file `a.yml` does not have project!",
        ),
        (
            "7.3 no variables in a remote file",
            "'https://x.example/project.yml'",
            "Included file `` does not have YAML extension!",
        ),
        (
            "7.4 no version",
            "{component: git.example/g/c/scan}",
            "Component `git.example/g/c/scan`: the address is not complete",
        ),
        (
            "7.4 another host",
            "{component: other.example/g/c/scan@1}",
            "Component `other.example/g/c/scan@1`: it is on another server",
        ),
        (
            "7.4 no such version",
            "{component: git.example/g/c/scan@3}",
            "Component `git.example/g/c/scan@3`: there is no version `3`",
        ),
        (
            "7.4 no such component",
            "{component: git.example/g/c/none@1.0.0}",
            "Component `git.example/g/c/none@1.0.0`: content not found",
        ),
        (
            "7.4 no such project",
            "{component: git.example/g/n/none@1.0.0}",
            "Component `git.example/g/n/none@1.0.0`: Project `g/n` not found",
        ),
        (
            "7.4 spec:include",
            "{component: git.example/g/c/bad@main}",
            "`spec:include` is not permitted in a component",
        ),
    ] {
        let text = format!("include: {include}\n{JOB}");
        let compiled = compiled_with(&text, &everything(), &cx());
        let errors = errors(&compiled);
        assert!(compiled.pipeline.is_none(), "§{rule}: should be refused");
        let first = errors.first().map(String::as_str).unwrap_or_default();
        assert!(first.starts_with(message), "§{rule}: {first}");
        assert!(compiled.diagnostics[0].place.is_some(), "§{rule}: no place");
    }
}

/// §7.1: the source of a child pipeline has artifacts.
#[test]
fn artifacts_in_a_child_pipeline() {
    let mut repository = everything();
    let file = ("gen".to_owned(), "out/child.yml".to_owned());
    let text = "include: a.yml\nchild: {script: x}\n".to_owned();
    repository.artifacts = Some([(file, text)].into_iter().collect());
    let p = pipeline_of(compiled_with("include: {artifact: out/child.yml, job: gen}\n", &repository, &cx()));
    assert_eq!(p.jobs.iter().map(|j| j.name.as_str()).collect::<Vec<_>>(), ["a", "child"]);
    let compiled = compiled_with("include: {artifact: out/no.yml, job: gen}\n", &repository, &cx());
    assert_eq!(errors(&compiled), ["File `out/no.yml` is missing in the artifacts of job `gen`"]);
}

/// §7.3: first include, second include, own content; mappings merge, lists are replaced.
#[test]
fn order_and_merge() {
    let repository = Repository::new(&[
        ("one.yml", "j: {script: [one], tags: [one], variables: {A: one, B: one, C: one}}\n"),
        ("two.yml", "include: three.yml\nj: {script: [two], variables: {B: two}}\n"),
        ("three.yml", "j: {script: [three], variables: {B: three, D: three}}\n"),
    ]);
    let p = pipeline_of(compiled_with(
        "include: [one.yml, two.yml]\nj: {variables: {C: own}}\n",
        &repository,
        &context(&[]),
    ));
    let j = job(&p, "j");
    assert_eq!((j.script.join(" "), j.tags.join(" ")), ("two".into(), "one".into()));
    let variables: Vec<String> = j.variables.iter().map(|v| format!("{}={}", v.key, v.value)).collect();
    assert_eq!(variables.join(" "), "A=one B=two C=own D=three");
}

/// §7.3: 150 files are allowed, repeats counted.
#[test]
fn the_limit_of_files() {
    let repository = Repository::new(&[("a.yml", "a: {script: x}\n")]);
    let includes = |count: usize| format!("include: [{}]\n", vec!["a.yml"; count].join(", "));
    assert!(compiled_with(&includes(150), &repository, &context(&[])).pipeline.is_some());
    let compiled = compiled_with(&includes(151), &repository, &context(&[]));
    assert_eq!(errors(&compiled), ["Maximum of 150 nested includes are allowed!"]);
}

/// Places lead through files of other projects.
#[test]
fn faults_in_other_projects_have_places() {
    let repository = everything().project(
        "g/q",
        "main",
        &[("q.yml", "include: r/r.yml\n"), ("r/r.yml", "r: {scirpt: x}\n")],
    );
    let text = format!("include: {{project: g/q, file: q.yml}}\n{JOB}");
    let compiled = compiled_with(&text, &repository, &cx());
    let said = render(&compiled.diagnostics[0], &compiled.sources);
    assert!(said.contains("--> g/q@HEAD:r/r.yml:1:5"), "{said}");
    assert!(said.contains("::: g/q@HEAD:q.yml:1:10") && said.contains("::: .gitlab-ci.yml:1:10"), "{said}");
}

/// A masked variable and a log-in in an address are not shown.
#[test]
fn secrets_in_addresses_are_hidden() {
    let mut repository =
        everything().remote("https://me:pass@x.example/bad.yml?t=s3cr3t-token&f=.yml", "a: [\n");
    let include = "include: {remote: 'https://me:$WORD@x.example/bad.yml?t=$TOKEN&f=.yml'}\n";
    let compiled = compiled_with(include, &repository, &cx());
    let said: String = compiled.diagnostics.iter().map(|d| render(d, &compiled.sources)).collect();
    assert!(said.contains("--> https://x.example/bad.yml?t=[MASKED]&f=.yml"), "{said}");
    assert!(!said.contains("s3cr3t") && !said.contains("pass"), "{said}");
    repository.remotes.clear();
    let compiled = compiled_with(include, &repository, &cx());
    let said: String = compiled.diagnostics.iter().map(|d| render(d, &compiled.sources)).collect();
    assert!(said.contains("[MASKED]") && !said.contains("s3cr3t") && !said.contains("pass"), "{said}");
}

/// Files made to explode end soon, with an error that has a place. The counts are what matters; the clock is not asked.
#[test]
fn explosions() {
    let mut files: Vec<(String, String)> =
        (0..400).map(|n| (format!("deep{n}.yml"), format!("include: deep{}.yml\n", n + 1))).collect();
    files.push(("twice.yml".into(), "include: [twice.yml, twice.yml]\na: {script: x}\n".into()));
    files.push((
        "wide.yml".into(),
        format!(
            "spec: {{inputs: {{x: }}}}\n---\na:\n  script:\n{}",
            "    - $[[ inputs.x ]]\n".repeat(40_000)
        ),
    ));
    files.push((
        "long.yml".into(),
        format!(
            "spec: {{inputs: {{x: }}}}\n---\na:\n  script:\n{}",
            "    - a $[[ inputs.x ]]\n".repeat(1000)
        ),
    ));
    let mut functions = String::from("spec: {inputs: {x: }}\n---\na:\n  script:\n");
    for n in 0..9_000 {
        functions.push_str(&format!("    - $[[ inputs.x | truncate(0, {n}) ]]\n"));
    }
    files.push(("functions.yml".into(), functions));
    let mut blocks = String::from("spec: {inputs: {x: {type: array, default: [1]}}}\n---\na:\n  script:\n");
    for n in 0..10_001 {
        blocks.push_str(&format!("    - $[[ inputs.x[{n}] ]]\n"));
    }
    files.push(("blocks.yml".into(), blocks));
    let big = "b".repeat(900_000);
    let pairs: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut repository = Repository::new(&pairs);
    repository.names.extend((0..100_000).map(|n| format!("x/{n}.yml")));
    repository.names.sort();
    let many = |entry: &str| format!("include:\n{}", format!("  - {entry}\n").repeat(50_000));
    let wide = format!("include:\n{}{JOB}", "  - {local: wide.yml, inputs: {x: y}}\n".repeat(100));
    for (name, text, message) in [
        ("deep", "include: deep0.yml\n".to_owned(), "Maximum of 150 nested includes"),
        ("twice", "include: twice.yml\n".to_owned(), "Maximum of 150 nested includes"),
        ("many", many("deep400.yml"), "Local file `deep400.yml` does not exist!"),
        ("many wrong", many("{lokal: x}"), "include config contains unknown keys"),
        (
            "many wildcards",
            many("'x/**/**/**/*.yml'"),
            "The wildcards of all includes match against too many files",
        ),
        (
            "many files",
            format!("include: {{project: g/p, file: [{}]}}\n", "a.yml, ".repeat(90_000)),
            "Project `g/p` not found",
        ),
        ("wide", wide, "`wide.yml`: the interpolated configuration is too big"),
        (
            "long",
            format!("include: {{local: long.yml, inputs: {{x: {big}}}}}\n"),
            "`long.yml`: the interpolated",
        ),
        (
            "functions",
            format!("include: {{local: functions.yml, inputs: {{x: {big}}}}}\n"),
            "`functions.yml`: the interpolated",
        ),
        ("blocks", "include: blocks.yml\n".to_owned(), "`blocks.yml`: unknown interpolation key"),
    ] {
        let compiled = compiled_with(&text, &repository, &cx());
        let errors = errors(&compiled);
        assert!(errors.len() <= 25, "{name}: {} errors", errors.len());
        assert!(errors[0].starts_with(message), "{name}: {}", errors[0]);
        let first = compiled.diagnostics.iter().find(|d| d.severity == Severity::Error).unwrap();
        assert!(first.place.is_some(), "{name}");
    }
}
