//! `harrier lint`, `expand`, `list`, `graph` and `explain` with the real binary.

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const FILE: &str = "\
include: ci/base.yml
stages: [build, test]
compile:
  stage: build
  script: [make]
unit:
  extends: .base
  script: [make test]
  needs: [compile]
tagged:
  extends: .base
  script: [x]
  rules:
    - if: $CI_COMMIT_TAG
";

const BASE: &str = ".base:\n  retry: 1\n  stage: test\n";

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, text).expect("a file");
}

fn git(dir: &Path, args: &[&str]) {
    let out = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
        .args(args)
        .output()
        .expect("git runs");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A repository with one commit.
fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path(), ".gitlab-ci.yml", FILE);
    write(dir.path(), "ci/base.yml", BASE);
    git(dir.path(), &["init", "-q", "-b", "main"]);
    git(dir.path(), &["add", "-A"]);
    git(dir.path(), &["commit", "-q", "-m", "first"]);
    dir
}

fn run_with(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_harrier"))
        .current_dir(dir)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("harrier runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Exit code and standard output.
fn run(dir: &Path, args: &[&str]) -> (i32, String) {
    let out = run_with(dir, args, "");
    (out.status.code().expect("a code"), String::from_utf8(out.stdout).expect("text"))
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&run(dir, args).1).expect("JSON")
}

#[test]
fn a_valid_configuration() {
    let dir = repository();
    let (code, text) = run(dir.path(), &["lint"]);
    assert_eq!(
        (code, text.as_str()),
        (0, ".gitlab-ci.yml is valid: 2 jobs for branch main (1 left out by rules)\n")
    );
    let value = json(dir.path(), &["lint", "--json"]);
    assert_eq!(value["valid"], true);
    assert_eq!(value["errors"], Value::Array(Vec::new()));
    assert_eq!(value["jobs"][1]["name"], "unit");
    assert!(value["merged_yaml"].as_str().expect("a text").contains("unit:\n  retry: 1\n  stage: test\n"));
}

#[test]
fn every_fault_is_told_at_once_with_its_place_and_chain() {
    let dir = repository();
    write(dir.path(), "ci/base.yml", ".base:\n  retry: 7\n  stage: test\n");
    write(dir.path(), ".gitlab-ci.yml", &FILE.replace("script: [make]\n", "script: [make]\n  tagz: [a]\n"));
    let (code, text) = run(dir.path(), &["lint"]);
    assert_eq!(code, 3);
    assert!(
        text.starts_with(
            "error: jobs:compile config contains unknown keys: tagz
 --> .gitlab-ci.yml:6:3
  |
6 |   tagz: [a]
  |   ^^^^
  = help: did you mean `tags`?

"
        ),
        "{text}"
    );
    assert!(text.contains("--> ci/base.yml:2:10") && text.contains("`.base` is extended here"), "{text}");
    assert!(
        text.contains("included here") && text.ends_with(".gitlab-ci.yml is not valid: 3 errors\n"),
        "{text}"
    );
    let value = json(dir.path(), &["lint", "--json"]);
    let first = &value["errors"][0];
    assert_eq!(value["valid"], false);
    assert_eq!(
        [&first["file"], &first["line"], &first["column"], &first["job"], &first["suggestion"]],
        [".gitlab-ci.yml", "6", "3", "compile", "did you mean `tags`?"]
            .map(|text| { text.parse::<u32>().map_or(Value::from(text), Value::from) })
            .each_ref()
    );
    assert_eq!(value["errors"][1]["keyword"], "retry");
    for command in ["expand", "list", "graph"] {
        assert_eq!(run(dir.path(), &[command]).0, 3, "{command}");
    }
}

#[test]
fn outside_of_a_repository_and_from_standard_input() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path(), "pipeline.yml", FILE);
    write(dir.path(), "ci/base.yml", BASE);
    let (code, text) = run(dir.path(), &["lint", "pipeline.yml"]);
    assert_eq!((code, text.starts_with("pipeline.yml is valid: 2 jobs")), (0, true), "{text}");
    let out = run_with(dir.path(), &["lint", "-"], "a: {script: 1}\n");
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&out.stdout).contains(" --> -:1:13"), "{out:?}");
    assert_eq!(run(dir.path(), &["lint", "nothing.yml"]).0, 2);
    assert_eq!(run(dir.path(), &["lint"]).0, 2);
    assert_eq!(run(dir.path(), &["lint", "pipeline.yml", "--ref", "main"]).0, 2);
}

#[test]
fn another_ref_has_its_own_files_and_rules() {
    let dir = repository();
    git(dir.path(), &["tag", "v1"]);
    // The work tree is broken meanwhile.
    write(dir.path(), "ci/base.yml", "nothing");
    assert_eq!(run(dir.path(), &["lint"]).0, 3);
    let (code, text) = run(dir.path(), &["lint", "--ref", "v1"]);
    assert_eq!((code, text.as_str()), (0, ".gitlab-ci.yml is valid: 3 jobs for tag v1\n"));
    let (_, text) = run(dir.path(), &["lint", "--ref", "main"]);
    assert_eq!(text, ".gitlab-ci.yml is valid: 2 jobs for branch main (1 left out by rules)\n");
    let (_, text) = run(dir.path(), &["lint", "--ref", "main", "--variable", "CI_COMMIT_TAG=v2"]);
    assert!(text.contains("3 jobs"), "{text}");
    assert_eq!(run(dir.path(), &["lint", "--ref", "nothing"]).0, 2);
}

#[test]
fn changes_of_another_ref_are_those_of_its_commits() {
    let dir = repository();
    let root = dir.path();
    write(
        root,
        ".gitlab-ci.yml",
        "always: {script: x}\ndocs:\n  script: x\n  rules: [{changes: [docs/*]}]\ncode:\n  script: x\n  rules: [{changes: [src/*]}]\n",
    );
    git(root, &["commit", "-q", "-a", "-m", "rules"]);
    git(root, &["checkout", "-q", "-b", "topic"]);
    write(root, "docs/a.md", "a");
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "-m", "docs"]);
    git(root, &["checkout", "-q", "main"]);
    write(root, "src/b.rs", "b");
    let names = |args: &[&str]| -> Vec<String> {
        let text = run(root, args).1;
        let values = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        values
            .filter(|v| v["left_out"].is_null())
            .map(|v| v["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(&["list", "--json", "--ref", "topic"]), ["always", "docs"]);
    assert_eq!(names(&["list", "--json"]), ["always", "code"]);
}

#[test]
fn the_expanded_file_makes_the_same_pipeline() {
    let dir = repository();
    let (code, merged) = run(dir.path(), &["expand"]);
    assert_eq!(code, 0);
    assert!(!merged.contains("include"), "{merged}");
    let before = json(dir.path(), &["lint", "--json"]);
    write(dir.path(), "ci/base.yml", "# nothing here\n");
    write(dir.path(), ".gitlab-ci.yml", &merged);
    let after = json(dir.path(), &["lint", "--json"]);
    let names = |value: &Value| -> Vec<Value> {
        let jobs = value["jobs"].as_array().expect("a list");
        jobs.iter().map(|job| Value::from(vec![job["name"].clone(), job["needs"].clone()])).collect()
    };
    assert_eq!(names(&after), names(&before));
    assert_eq!(after["merged_yaml"], before["merged_yaml"]);
}

#[test]
fn lists_and_graphs() {
    let dir = repository();
    let (_, text) = run(dir.path(), &["list"]);
    assert_eq!(
        text,
        "\
job      stage  when        allow failure  needs
compile  build  on_success
unit     test   on_success                 compile
left out
  tagged  its only rule does not match at .gitlab-ci.yml:13
"
    );
    let (_, text) = run(dir.path(), &["graph"]);
    assert_eq!(text, "build         test\n\ncompile ─╮\n         ╰──▶ unit\n");
    let (_, text) = run(dir.path(), &["graph", "--ascii"]);
    assert_eq!(text, "build         test\n\ncompile -+\n         +--> unit\n");
    let (_, text) = run(dir.path(), &["graph", "--format", "mermaid"]);
    assert!(text.starts_with("flowchart LR\n") && text.contains("  j0 --> j1\n"), "{text}");
    let (code, text) = run(dir.path(), &["graph", "--format", "svg", "-o", "graph.svg"]);
    assert_eq!((code, text.as_str()), (0, ""));
    let svg = fs::read_to_string(dir.path().join("graph.svg")).expect("the picture");
    assert!(svg.starts_with("<svg ") && svg.contains(">compile</text>"), "{svg}");
}

#[test]
fn explain_tells_where_things_come_from() {
    let dir = repository();
    let (code, text) = run(dir.path(), &["explain", "unit"]);
    assert_eq!(code, 0);
    assert_eq!(
        text,
        "\
unit  .gitlab-ci.yml:6
  in the pipeline as unit (on_success): it has no rules
keywords
  retry    ci/base.yml:2     1
           ← extends .base (.gitlab-ci.yml:7)
           ← included at .gitlab-ci.yml:1
  stage    ci/base.yml:3     test
           ← extends .base (.gitlab-ci.yml:7)
           ← included at .gitlab-ci.yml:1
  extends  .gitlab-ci.yml:7  .base
  script   .gitlab-ci.yml:8  - make test
  needs    .gitlab-ci.yml:9  - compile
"
    );
    let value = json(dir.path(), &["explain", "tagged", "--json"]);
    assert_eq!(value["left_out"][0]["place"], ".gitlab-ci.yml:13");
    let out = run_with(dir.path(), &["explain", "unti"], "");
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("did you mean \"unit\"?"), "{out:?}");
}

#[test]
fn a_secret_is_not_shown() {
    let dir = repository();
    let out = Command::new(env!("CARGO_BIN_EXE_harrier"))
        .current_dir(dir.path())
        .args(["explain", "unit", "--secret", "TOKEN", "--predefined"])
        .env("TOKEN", "hunter2hunter2")
        .output()
        .expect("harrier runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("TOKEN") && text.contains("[MASKED]") && !text.contains("hunter2"), "{text}");
}

#[test]
fn gitlab_runners_verbs_stay_its_own() {
    let dir = repository();
    let link = dir.path().join("gitlab-runner");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_harrier"), &link).expect("a link");
    let out = Command::new(&link).current_dir(dir.path()).arg("lint").output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(!said.contains("is valid"), "{said}");
}
