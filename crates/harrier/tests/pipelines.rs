//! `harrier run`, `list` and `graph` on the pipelines of `examples/pipelines/`, each as a repository of its own, and
//! `harrier lint` on every bad file of the language's tests.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn git(dir: &Path, args: &[&str]) {
    let out = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
        .args(args)
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn repository(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&project("examples/pipelines").join(name), dir.path());
    git(dir.path(), &["init", "-q", "-b", "main"]);
    git(dir.path(), &["add", "-A"]);
    git(dir.path(), &["commit", "-q", "-m", "first"]);
    dir
}

fn harrier(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harrier"))
        .current_dir(dir)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap()
}

/// Standard output of a command that succeeds.
fn text(dir: &Path, args: &[&str]) -> String {
    let out = harrier(dir, args);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{args:?}\n{text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

/// Names of the jobs that `harrier list` shows.
fn jobs(dir: &Path) -> Vec<String> {
    jobs_with(dir, &[])
}

fn jobs_with(dir: &Path, args: &[&str]) -> Vec<String> {
    let lines = text(dir, &[&["list", "--json"], args].concat());
    let jobs = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let jobs = jobs.filter(|job| job["left_out"].is_null());
    jobs.map(|job| job["name"].as_str().unwrap().to_owned()).collect()
}

/// Each text stands in what the run prints, and in the graph each job.
fn run(dir: &Path, args: &[&str], says: &[&str]) {
    let jobs = jobs_with(dir, args);
    let graph = text(dir, &[&["graph", "--format", "mermaid"], args].concat());
    for job in &jobs {
        assert!(graph.contains(job.split(['[', '"']).next().unwrap_or(job).trim()), "{job}:\n{graph}");
    }
    assert!(!text(dir, &[&["graph"], args].concat()).is_empty());
    let said = text(dir, &[&["run"], args].concat());
    for line in says {
        assert!(said.contains(line), "{line:?} is missing in\n{said}");
    }
}

#[test]
fn a_rust_workspace() {
    let dir = repository("rust-workspace");
    let all = [
        "format",
        "lint",
        "build: [core]",
        "build: [cli]",
        "build: [server]",
        "unit 1/2",
        "unit 2/2",
        "integration",
        "flaky",
        "package",
        "announce",
    ];
    assert_eq!(jobs(dir.path()), all);
    run(
        dir.path(),
        &[],
        &[
            "built target/debug/cli",
            "ok target/debug/core",
            "a bundle of 12 lines",
            "workspace on main (debug)",
            "covered: 87%",
        ],
    );
}

#[test]
fn a_monorepo() {
    let dir = repository("node-monorepo");
    run(dir.path(), &[], &["bundled api", "tests of web in firefox"]);
    fs::write(dir.path().join("packages/api/more.js"), "1;\n").unwrap();
    git(dir.path(), &["checkout", "-q", "-b", "feature"]);
    git(dir.path(), &["add", "-A"]);
    git(dir.path(), &["commit", "-q", "-m", "api"]);
    let out = text(dir.path(), &["list"]);
    assert!(out.contains("build api") && out.contains("test api"), "{out}");
}

#[test]
fn a_matrix_with_children() {
    let dir = repository("matrix-children");
    run(
        dir.path(),
        &[],
        &[
            "linux on arm: hello",
            "Manual, chapter 2",
            "painting red",
            "painting green",
            "five builds, two children",
        ],
    );
}

#[test]
fn a_deployment_with_gates() {
    let dir = repository("deploy");
    assert_eq!(jobs(dir.path()), ["build", "staging", "smoke", "production", "roll back"]);
    let graph = text(dir.path(), &["graph"]);
    assert!(graph.contains("production (manual)") && graph.contains("roll back (on failure)"), "{graph}");
    let said = String::from_utf8_lossy(&harrier(dir.path(), &["run"]).stdout).into_owned();
    assert!(said.contains("to staging") && said.contains("the site answers"), "{said}");
    assert!(!said.contains("to production") && !said.contains("rolling back"), "{said}");
    git(dir.path(), &["checkout", "-q", "-b", "feature/a"]);
    assert_eq!(jobs(dir.path()), ["build", "review", "stop review"]);
}

#[test]
fn components_with_inputs() {
    let dir = repository("components");
    let base = project("examples/pipelines/components-base").canonicalize().unwrap();
    let args = ["--include-base", base.to_str().unwrap()];
    assert_eq!(
        jobs_with(dir.path(), &args),
        ["check data", "package data 1/2", "package data 2/2", "package docs 1/1", "publish to stag"]
    );
    run(dir.path(), &args, &["data/table.csv is fine", "to staging", "data-2.json"]);
    let production = [&args[..], &["--input", "environment=production"]].concat();
    assert!(jobs_with(dir.path(), &production).contains(&"publish to prod".to_owned()));
}

#[test]
fn lint_shows_the_place_in_every_bad_file() {
    let folder = project("crates/pipeline/tests/bad");
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(dir.path().join(&name), &text).unwrap();
        let (place, message) = text.lines().next().unwrap()[2..].split_once(' ').unwrap();
        let out = harrier(dir.path(), &["lint", &name, "--json"]);
        let shown: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{name}: {out:?}"));
        let first = &shown["errors"][0];
        assert_eq!(out.status.code(), Some(3), "{name}");
        assert_eq!(shown["valid"], false, "{name}");
        assert_eq!(format!("{}:{}", first["line"], first["column"]), place, "{name}: {first}");
        assert_eq!(first["message"], message, "{name}");
    }
}
