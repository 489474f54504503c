//! Includes and inputs with the real binary: other projects, components, templates and a remote file on loopback.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

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

fn commit(dir: &Path) {
    git(dir, &["init", "-q", "-b", "main"]);
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", "first"]);
}

fn harrier(dir: &Path, cache: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harrier"))
        .current_dir(dir)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env("XDG_CACHE_HOME", cache)
        .env_remove("CLICOLOR_FORCE")
        .output()
        .expect("harrier runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Answers every question with one file.
fn file_server(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut question = [0; 4096];
            // Whoever asks and leaves is not our business.
            let _ = stream.read(&mut question);
            let length = text.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
            );
        }
    });
    format!("http://{address}")
}

#[test]
fn every_kind_of_include_in_one_pipeline() {
    let remote = file_server("from-remote:\n  script: [echo remote]\n");
    let place = tempfile::tempdir().expect("a temporary directory");
    let (work, base, templates) = (place.path().join("w"), place.path().join("base"), place.path().join("t"));
    write(
        &base.join("tools/ci"),
        "jobs.yml",
        "spec: {inputs: {word: {options: [hello, bye]}}}\n---\ninclude: {local: /more/*.yml}\n\
         from-project:\n  script: [\"echo $[[ inputs.word | posix_quote ]] $CI_PROJECT_PATH\"]\n",
    );
    write(&base.join("tools/ci"), "more/nested.yml", "nested:\n  script: [echo nested]\n");
    commit(&base.join("tools/ci"));
    write(
        &base.join("tools/scan"),
        "templates/scan.yml",
        "spec:\n  component: [version]\n---\nscan $[[ component.version ]]:\n  script: [echo scan]\n",
    );
    commit(&base.join("tools/scan"));
    for tag in ["1.0.0", "1.4.2", "2.0.0-rc1"] {
        git(&base.join("tools/scan"), &["tag", tag]);
    }
    write(&base.join("tools/plain"), "p.yml", "from-plain:\n  script: [echo plain]\n");
    write(&templates, "Jobs/T.gitlab-ci.yml", "from-template:\n  script: [echo template]\n");
    write(
        &work,
        ".gitlab-ci.yml",
        &format!(
            "spec:\n  inputs:\n    who:\n    count: {{type: number, default: 1}}\n---\ninclude:\n  \
             - project: tools/ci\n    ref: main\n    file: jobs.yml\n    inputs: {{word: hello}}\n  \
             - project: tools/plain\n    file: p.yml\n  - component: $CI_SERVER_FQDN/tools/scan/scan@1\n  \
             - template: Jobs/T.gitlab-ci.yml\n  - remote: {remote}/r.yml\n\
             root:\n  parallel: $[[ inputs.count ]]\n  script: [\"echo for $[[ inputs.who ]]\"]\n"
        ),
    );
    commit(&work);
    let cache = place.path().join("cache");
    let base_arg = base.display().to_string();
    let templates_arg = templates.display().to_string();
    let options = [
        "--include-base",
        &base_arg,
        "--template-dir",
        &templates_arg,
        "--input",
        "who=me",
        "--input",
        "count=2",
    ];

    let listed = harrier(&work, &cache, &[&["list"][..], &options].concat());
    let text = said(&listed);
    assert_eq!(listed.status.code(), Some(0), "{text}");
    for name in [
        "from-project",
        "nested",
        "from-plain",
        "scan 1.4.2",
        "from-template",
        "from-remote",
        "root 1/2",
        "root 2/2",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }

    let ran = harrier(&work, &cache, &[&["run", "--plain", "--executor", "shell"][..], &options].concat());
    let text = said(&ran);
    assert_eq!(ran.status.code(), Some(0), "{text}");
    for line in ["[from-project]  hello local/w", "for me", "nested", "scan"] {
        let squeezed = text.replace("  ", " ");
        assert!(squeezed.contains(&line.replace("  ", " ")) || text.contains(line), "{line}:\n{text}");
    }

    // Over git, as from a server, with copies kept; the address is not the directory.
    let url = format!("file://{}", base.display());
    git(&base.join("tools"), &["clone", "-q", "--bare", "ci", "ci.git"]);
    let only = "include: [{project: tools/ci, file: more/nested.yml}]\n";
    write(&work, ".gitlab-ci.yml", only);
    let listed = harrier(&work, &cache, &["list", "--include-base", &url]);
    assert!(said(&listed).contains("nested"), "{}", said(&listed));
    assert!(cache.join("harrier/includes/git").is_dir(), "copies are kept below the user's cache directory");
}

#[test]
fn what_is_missing_is_told_with_its_place() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let work = place.path();
    let cache = work.join("cache");
    let check = |text: &str, args: &[&str], code: i32, words: &[&str]| {
        write(work, ".gitlab-ci.yml", text);
        let output = harrier(work, &cache, &[&["lint"][..], args].concat());
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        for word in words {
            assert!(text.contains(word), "{word}:\n{text}");
        }
    };
    git(work, &["init", "-q", "-b", "main"]);
    let needs = "spec:\n  inputs:\n    env:\n---\nj: {script: \"echo $[[ inputs.env ]]\"}\n";
    check(needs, &[], 3, &["`env` input: required value has not been provided", ".gitlab-ci.yml:3:5"]);
    check(needs, &["--input", "env=x"], 0, &[]);
    check(
        needs,
        &["--input", "enf=x", "--input", "env=x"],
        3,
        &["unknown input arguments: enf", "did you mean `env`?"],
    );
    check(needs, &["--input", "env"], 2, &["--input takes KEY=VALUE"]);
    check(
        needs,
        &["--include-base", "no/such"],
        2,
        &["--include-base: no/such is no directory and no address"],
    );
    check("include: {project: g/p, file: a.yml}\n", &[], 3, &["--include-base", ".gitlab-ci.yml:1:10"]);
    check("include: {template: T.gitlab-ci.yml}\n", &[], 3, &["--template-dir", ".gitlab-ci.yml:1:10"]);
    check(
        "include: 'http://169.254.169.254/latest/x.yml'\n",
        &[],
        3,
        &["169.254.169.254, which may not be reached from here"],
    );
}
