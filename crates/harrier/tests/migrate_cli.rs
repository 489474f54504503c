//! `harrier migrate check` on configurations as people have them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

const SHELL: &str = r#"
concurrent = 4
check_interval = 0
shutdown_timeout = 0
listen_address = ":9252"

[session_server]
  listen_address = "[::]:8093"
  advertise_address = "runner.example.com:8093"
  session_timeout = 1800

[[runners]]
  name = "build machine"
  url = "https://gitlab.example.com/"
  id = 7
  token = "glrt-s3cret-token-here"
  token_obtained_at = 2026-01-31T12:00:00Z
  token_expires_at = 0001-01-01T00:00:00Z
  executor = "shell"
  shell = "bash"
  environment = ["A=s3cret", "B=2"]
  pre_build_script = """
set -x
umask 022
"""
  [runners.custom_build_dir]
    enabled = true
  [runners.cache]
    MaxUploadedArchiveSize = 0
    [runners.cache.s3]
      AssumeRoleMaxConcurrency = 0
    [runners.cache.gcs]
    [runners.cache.azure]
  [runners.feature_flags]
    FF_TIMESTAMPS = false
    FF_USE_FASTZIP = true
    FF_USE_LEGACY_BASH_EVAL = true
    FF_OF_MY_OWN = true
"#;

const DOCKER: &str = r#"
concurrent = 10
sentry_dsn = "https://s3cret@sentry.example.com/4"

[[runners]]
  name = "docker"
  url = "https://gitlab.example.com"
  token = "glrt-s3cret"
  executor = "docker"
  request_concurrency = 2
  [runners.cache]
    Type = "s3"
    Shared = true
    [runners.cache.s3]
      ServerAddress = "minio.lan:9000"
      AccessKey = "s3cret"
      SecretKey = "s3cret"
      BucketName = "cache"
  [runners.docker]
    tls_verify = false
    image = "ruby:3.3"
    privileged = true
    pull_policy = ["always", "if-not-present"]
    volumes = ["/cache", "/var/run/docker.sock:/var/run/docker.sock"]
    helper_image_flavor = "ubuntu"
    shm_size = 0
    network_mtu = 0
    image_pull_polcy = "x"
    [[runners.docker.services]]
      name = "docker:dind"
      alias = "docker"
  [runners.machine]
    IdleCount = 3
"#;

const FLEET: &str = r#"
concurrent = 100

[[runners]]
  name = "machines"
  url = "https://gitlab.example.com"
  token = "a"
  executor = "docker+machine"
  [runners.docker]
    image = "alpine"
  [runners.machine]
    IdleCount = 2
    MachineDriver = "amazonec2"
    MachineName = "runner-%s"
    MachineOptions = ["amazonec2-secret-key=s3cret"]
    [[runners.machine.autoscaling]]
      Periods = ["* * 9-17 * * mon-fri *"]
      IdleCount = 10

[[runners]]
  name = "cluster"
  url = "https://gitlab.example.com"
  token = "b"
  executor = "kubernetes"
  [runners.kubernetes]
    namespace = "ci"
    cpu_request = "500m"
    [[runners.kubernetes.volumes.empty_dir]]
      name = "repo"
      mount_path = "/builds"

[[runners]]
  name = "remote"
  url = "https://gitlab.example.com"
  token = "c"
  executor = "ssh"
  [runners.ssh]
    host = "build.example.com"
    user = "ci"
    identity_file = "/home/ci/.ssh/id_ed25519"

[[runners]]
  name = "here"
  url = "https://gitlab.example.com"
  token = "d"
  executor = "shell"
"#;

fn run(text: &str, args: &[&str]) -> (Output, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).expect("a file");
    let output = check(&path, args);
    let said = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let errors = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert!(!said.contains("s3cret") && !errors.contains("s3cret"), "{said}{errors}");
    (output, said)
}

fn check(path: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harrier"));
    command.args(["migrate", "check"]).arg(path).args(args).output().expect("it runs")
}

/// `runner: key` → verdict.
fn verdicts(text: &str) -> (Option<i32>, BTreeMap<String, String>) {
    let (output, said) = run(text, &["--json"]);
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let mut all = BTreeMap::new();
    let mut put = |of: &str, settings: &Value| {
        for setting in settings.as_array().expect("a list") {
            let word = |key: &str| setting[key].as_str().expect("a text").to_owned();
            let line = text
                .lines()
                .nth(setting["line"].as_u64().expect("a line") as usize - 1)
                .expect("it is there");
            let last = word("key").rsplit('.').next().unwrap_or_default().to_owned();
            assert!(line.contains(&last), "{}: {line}", word("key"));
            all.insert(format!("{of}: {}", word("key")), word("verdict"));
        }
    };
    put("all", &report["settings"]);
    for runner in report["runners"].as_array().expect("a list") {
        put(runner["name"].as_str().expect("a name"), &runner["settings"]);
    }
    (output.status.code(), all)
}

fn expect(all: &BTreeMap<String, String>, rows: &[(&str, &str)]) {
    for (key, verdict) in rows {
        assert_eq!(all.get(*key).map(String::as_str), Some(*verdict), "{key} of {all:#?}");
    }
}

#[test]
fn a_shell_runner_with_terminals_and_flags() {
    let (code, all) = verdicts(SHELL);
    assert_eq!(code, Some(1));
    expect(
        &all,
        &[
            ("all: concurrent", "works"),
            ("all: check_interval", "works"),
            ("all: listen_address", "differs"),
            ("all: session_server.advertise_address", "works"),
            ("build machine: token_expires_at", "works"),
            ("build machine: pre_build_script", "works"),
            ("build machine: custom_build_dir.enabled", "works"),
            ("build machine: cache.MaxUploadedArchiveSize", "works"),
            ("build machine: cache.s3.AssumeRoleMaxConcurrency", "works"),
            ("build machine: feature_flags.FF_TIMESTAMPS", "works"),
            ("build machine: feature_flags.FF_USE_FASTZIP", "works"),
            ("build machine: feature_flags.FF_USE_LEGACY_BASH_EVAL", "no_effect"),
            ("build machine: feature_flags.FF_OF_MY_OWN", "unknown"),
        ],
    );
    let (code, _) = verdicts(&SHELL.replace("    FF_USE_LEGACY_BASH_EVAL = true\n", ""));
    assert_eq!(code, Some(0), "what differs and what is unknown loses nothing");
}

#[test]
fn a_docker_runner_with_a_remote_cache() {
    let (code, all) = verdicts(DOCKER);
    assert_eq!(code, Some(1));
    expect(
        &all,
        &[
            ("all: sentry_dsn", "no_effect"),
            ("docker: executor", "works"),
            ("docker: cache.Type", "no_effect"),
            ("docker: cache.Shared", "no_effect"),
            ("docker: cache.s3.SecretKey", "no_effect"),
            ("docker: docker.privileged", "works"),
            ("docker: docker.volumes", "works"),
            ("docker: docker.pull_policy", "differs"),
            ("docker: docker.helper_image_flavor", "no_effect"),
            ("docker: docker.image_pull_polcy", "unknown"),
            ("docker: docker.services.alias", "works"),
            ("docker: machine.IdleCount", "works"),
        ],
    );
    let (_, said) = run(DOCKER, &[]);
    assert!(
        said.contains("this build of Harrier has no s3 cache; caches stay in a local directory"),
        "{said}"
    );
    assert!(said.contains("not looked at with executor \"docker\", as in GitLab Runner"), "{said}");
    assert!(said.contains("1 of 1 runners take jobs."), "{said}");
    let (_, brief) = run(DOCKER, &["--brief"]);
    assert!(!brief.contains("  works") && brief.contains("differs"), "{brief}");
}

#[test]
fn a_fleet_of_which_one_runner_can_be_taken_over() {
    let (code, all) = verdicts(FLEET);
    assert_eq!(code, Some(1));
    expect(
        &all,
        &[
            ("machines: executor", "refused"),
            ("machines: docker.image", "refused"),
            ("machines: machine.autoscaling.Periods", "refused"),
            ("cluster: executor", "refused"),
            ("cluster: kubernetes.volumes.empty_dir.mount_path", "refused"),
            ("remote: ssh.identity_file", "refused"),
            ("remote: url", "works"),
            ("here: executor", "works"),
        ],
    );
    let (_, said) = run(FLEET, &[]);
    assert!(said.contains("machines (line 4, docker+machine): takes no jobs"), "{said}");
    assert!(said.contains("1 of 4 runners take jobs; not: machines, cluster, remote."), "{said}");
}

#[test]
fn what_cannot_be_loaded_is_code_3_and_still_reported() {
    let text = "concurrent = 0\n\n[[runners]]\n  name = \"a\"\n  executor = \"docker\"\n  [runners.docker]\n    \
                image = \"x\"\n    dns = [\"here\"]\n    cpus = \"many\"\n";
    let (code, all) = verdicts(text);
    assert_eq!(code, Some(3));
    expect(
        &all,
        &[
            ("all: concurrent", "refused"),
            ("a: docker.dns", "refused"),
            ("a: docker.cpus", "refused"),
            ("a: docker.image", "works"),
        ],
    );
    let (_, said) = run(text, &[]);
    assert!(said.contains("write it as 1.5 or 3/2"), "{said}");
    assert!(said.contains("The file cannot be loaded as it is"), "{said}");
    let (output, said) = run("[[runners]\nname = 3\n", &[]);
    assert_eq!((output.status.code(), said.as_str()), (Some(3), ""));
    assert!(String::from_utf8_lossy(&output.stderr).contains("config.toml:1:"), "the place");
    let output = check(Path::new("/nowhere/config.toml"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/config.toml does not exist"));
}

#[test]
fn an_entry_without_an_executor_and_a_shell_that_is_not_there() {
    let (code, all) = verdicts(
        "[[runners]]\n  name = \"odd\"\n  url = \"gitlab.example.com\"\n  executor = \"shell\"\n  shell = \"pwsh\"\n",
    );
    assert_eq!(code, Some(1));
    expect(&all, &[("odd: url", "differs"), ("odd: shell", "refused")]);
    let (output, said) = run("[[runners]]\n  name = \"none\"\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("refused       1  [[runners]]") && said.contains("has no executor"), "{said}");
    let (output, said) = run("[[runners]]\n  name = \"typo\"\n  executor = \"dokcer\"\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("unknown executor \"dokcer\"; did you mean \"docker\"?"), "{said}");
    let (output, said) = run("", &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(said.contains("0 settings: none"), "{said}");
}

#[test]
fn everything_that_register_writes_works() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("config.toml");
    std::fs::write(&path, include_str!("../../config/tests/fixtures/docker.toml")).expect("a file");
    let output = check(&path, &["--brief"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
}
