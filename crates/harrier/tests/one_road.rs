//! One job both ways: run locally, and handed out by a server. Log, environment, artifacts and exit code must be the
//! same, but for what names the server, the job's number and its place on the disk.

mod rig;

use harrier_testkit::{JobSpec, Var};
use rig::{Rig, harrier};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// The job. Every kind of line the two logs could differ in: single, multi-line, standard error, a masked value, no
/// final line feed, a failing command in the middle.
const SCRIPT: [&str; 7] = [
    "echo \"to $TARGET, $(cat README.md)\"",
    "echo first && \\\n  echo second",
    "echo \"the token is $TOKEN\" >&2",
    "env | sort > env.txt",
    "mkdir -p out/deep && printf data > out/deep/file.txt && ln -s deep/file.txt out/link",
    "printf 'no line feed'",
    "exit 42",
];
/// How its one line on standard error begins in the log.
const ERR: &str = "the token is";
const AFTER: &str = "echo \"after a job that $CI_JOB_STATUS\"";

/// What a server says of itself, of the project and of the pipeline; a local run says it of the repository.
const SAID_BY_SERVERS: [&str; 13] = [
    "CI_API_",
    "CI_COMMIT_",
    "CI_CONFIG_",
    "CI_DEFAULT_",
    "CI_JOB_",
    "CI_NODE_",
    "CI_PIPELINE_",
    "CI_PROJECT_",
    "CI_REPOSITORY_",
    "CI_RUNNER_",
    "CI_SERVER_",
    "CI_TEMPLATE_",
    "GITLAB_",
];

struct Way {
    /// From the script's section on, normalised.
    log: Vec<String>,
    env: BTreeMap<String, String>,
    /// Name → content, mode or link target.
    files: BTreeMap<String, String>,
    exit_code: Option<i64>,
}

#[tokio::test]
async fn a_job_is_the_same_locally_and_from_a_server() {
    let local = locally();
    let served = from_a_server().await;
    assert_eq!(local.exit_code, Some(42));
    assert_eq!(local.exit_code, served.exit_code);
    // Standard error comes through a pipe of its own: its line is there both ways, its place among the others is not
    // promised.
    let order =
        |log: &[String]| -> Vec<String> { log.iter().filter(|l| !l.starts_with(ERR)).cloned().collect() };
    assert_eq!(order(&local.log), order(&served.log));
    for line in ["first", "second", "the token is [MASKED]", "no line feed", "after a job that failed"] {
        for log in [&local.log, &served.log] {
            assert!(log.iter().any(|l| l.contains(line)), "{line} is not in {log:#?}");
        }
    }
    assert_eq!(local.files, served.files);
    assert_eq!(local.files["out/deep/file.txt"], "data");
    same_environment(&local.env, &served.env);
}

fn same_environment(local: &BTreeMap<String, String>, served: &BTreeMap<String, String>) {
    let of_servers = |key: &str| SAID_BY_SERVERS.iter().any(|prefix| key.starts_with(prefix));
    let keys = |env: &BTreeMap<String, String>| -> BTreeSet<String> {
        env.keys().filter(|key| !of_servers(key)).cloned().collect()
    };
    assert_eq!(keys(local), keys(served));
    // What the runner itself adds, whoever asked.
    for key in [
        "CI_JOB_STATUS",
        "CI_JOB_TIMEOUT",
        "CI_JOB_NAME",
        "CI_JOB_STAGE",
        "CI_COMMIT_REF_NAME",
        "CI_PROJECT_DIR",
        "CI_SHARED_ENVIRONMENT",
        "CI_RUNNER_EXECUTABLE_ARCH",
        "GITLAB_ENV",
        "GITLAB_CI",
        "RUNNER_TEMP_PROJECT_DIR",
        "TARGET",
        "FF_USE_FASTZIP",
    ] {
        let (here, there) = (local.get(key), served.get(key));
        assert!(here.is_some(), "{key} is missing locally");
        assert_eq!(here, there, "{key}");
    }
    for key in keys(local) {
        // `_` is the shell's own; where each way's home is, is the test's.
        let own = ["_", "HOME", "OLDPWD", "HARRIER_JOB_MARK", "FF_TIMESTAMPS", "CI_CONCURRENT_ID"];
        if !own.contains(&key.as_str()) {
            assert_eq!(local[&key], served[&key], "{key}");
        }
    }
}

fn locally() -> Way {
    let home = tempfile::tempdir().expect("a temporary directory");
    let repo = home.path().join("kestrel");
    std::fs::create_dir(&repo).expect("a directory");
    let yaml_script: String =
        SCRIPT.iter().map(|item| format!("    - {}\n", serde_json::json!(item))).collect();
    let configuration = format!(
        "road:\n  stage: test\n  timeout: 1 hour\n  variables:\n    TARGET: moon\n  script:\n{yaml_script}  \
         after_script:\n    - {}\n  artifacts:\n    name: all\n    when: always\n    paths: [out/, env.txt]\n",
        serde_json::json!(AFTER)
    );
    std::fs::write(repo.join(".gitlab-ci.yml"), configuration).expect("a file");
    std::fs::write(repo.join("README.md"), "# Kestrel\n").expect("a file");
    let git = |args: &[&str]| {
        let out = Command::new("git")
            .current_dir(&repo)
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(args)
            .output()
            .expect("git runs");
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "first"]);
    let out = Command::new(harrier())
        .current_dir(&repo)
        .args(["run", "--json", "--secret", "TOKEN"])
        // As the runner process of the other way.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("HOME", home.path())
        .env("TOKEN", "sesame-street-7")
        .stdin(Stdio::null())
        .output()
        .expect("harrier runs");
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
    let events: Vec<serde_json::Value> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    let lines = events.iter().filter(|e| e["event"] == "log").filter_map(|e| e["text"].as_str());
    let log = normal(&lines.collect::<Vec<_>>().join("\n"), &repo.to_string_lossy());
    let ended = events.iter().find(|e| e["event"] == "ended").expect("an end");
    let archive = find(&repo.join(".harrier/artifacts"), "all.zip").expect("the archive");
    let bytes = std::fs::read(archive).expect("the archive");
    let (files, env) = contents(&bytes);
    Way { log, env, files, exit_code: ended["jobs"][0]["exit_code"].as_i64() }
}

async fn from_a_server() -> Way {
    let rig = Rig::new().await;
    let runner = rig.start();
    let spec = JobSpec {
        name: "road".into(),
        stage: "test".into(),
        timeout: 3600,
        after_script: vec![AFTER.into()],
        variables: vec![Var::new("TARGET", "moon"), Var::masked("TOKEN", "sesame-street-7")],
        artifacts: vec![JobSpec::archive("all", &["out/", "env.txt"], "always")],
        ..rig.job(&SCRIPT)
    };
    let record = rig.run(spec).await;
    drop(runner);
    rig.server.assert_no_slips();
    let log = normal(&unstamped(&record.log_text()), &rig.home.path().to_string_lossy());
    let (files, env) = contents(&record.artifact("archive").expect("the archive").bytes);
    Way { log, env, files, exit_code: record.exit_code }
}

/// Removes time stamps and joins continued lines (`runner-api.md` §15.3).
fn unstamped(log: &str) -> String {
    let mut text = String::new();
    for line in log.split_inclusive('\n') {
        let Some((head, rest)) = line.split_at_checked(32) else { continue };
        if head.ends_with('+') && text.ends_with('\n') {
            text.pop();
        }
        text.push_str(rest);
    }
    text
}

/// The lines from the script on, without escape sequences, section markers and what names the job or the machine's
/// directories.
fn normal(log: &str, home: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = log;
    while let Some(at) = rest.find('\x1b') {
        plain.push_str(&rest[..at]);
        let end = rest[at..].find(|c: char| c.is_ascii_alphabetic()).map_or(rest.len(), |e| at + e + 1);
        rest = &rest[end..];
    }
    plain.push_str(rest);
    plain
        .replace(home, "HOME")
        .lines()
        .map(|line| line.rsplit('\r').next().unwrap_or(line).trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .skip_while(|line| !line.starts_with("Executing \"step_script\""))
        .map(|line| match line.split_once(" id=") {
            Some((before, _)) => before.trim_end().to_owned(),
            None => line,
        })
        .collect()
}

/// What is in the archive, and the environment that the job wrote into it.
fn contents(bytes: &[u8]) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a zip");
    let mut files = BTreeMap::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).expect("an entry");
        let name = entry.name().expect("a name").into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        files.insert(name, text);
    }
    let written = files.remove("env.txt").expect("the environment");
    let project = value(&written, "CI_PROJECT_DIR").expect("a project directory");
    let tmp = value(&written, "RUNNER_TEMP_PROJECT_DIR").expect("a temporary directory");
    let builds = value(&written, "CI_BUILDS_DIR").expect("a builds directory");
    let env = written
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| {
            let value = value.replace(&tmp, "TMP").replace(&project, "PROJECT").replace(&builds, "BUILDS");
            (key.to_owned(), value)
        })
        .collect();
    (files, env)
}

fn value(env: &str, key: &str) -> Option<String> {
    env.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
}

fn find(dir: &Path, name: &str) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|file| file == name) {
            return Some(path);
        }
    }
    None
}
