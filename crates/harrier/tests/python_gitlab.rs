//! python-gitlab, as scripts use it, against `harrier up`: a project made, variables, a push, pipelines made, waited for, read,
//! retried and cancelled. It lies where `scripts/python-gitlab.sh` puts it.

#![allow(clippy::unwrap_used)]

use harrier_testkit::{RunnerProcess, TempHome};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn python() -> PathBuf {
    let place = std::env::var_os("HARRIER_TEST_PYTHON_GITLAB")
        .map_or_else(|| "/var/lib/harrier-test/python-gitlab/bin/python".into(), PathBuf::from);
    assert!(place.is_file(), "no python-gitlab at {}; run scripts/python-gitlab.sh", place.display());
    place
}

#[tokio::test]
async fn a_script_with_python_gitlab_works() {
    let python = python();
    let harrier = Path::new(env!("CARGO_BIN_EXE_harrier"));
    let home = TempHome::new();
    let data = home.path().join("data");
    let place = data.to_str().unwrap();
    let arguments = ["up", "--data", place, "--listen", "127.0.0.1:0", "--jobs", "4"];
    let server = RunnerProcess::start_with(harrier, &home, &arguments, &[]);
    server.wait_log("push a repository", PATIENCE).await;
    let log = server.log();
    let said = log.lines().find(|line| line.starts_with("Harrier ") && line.contains(" at http")).unwrap();
    let url = said.rsplit(' ').next().unwrap().to_owned();

    let made = Command::new(harrier)
        .args(["admin", "--data", place, "token", "--user", "root", "--scope", "api"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();

    let work = home.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_gitlab/script.py");
    let mut command = Command::new(python);
    command.arg("-B").arg(script).env("URL", &url).env("TOKEN", &token).env("WORK", &work);
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}\nthe server's log:\n{}", server.log());
    assert!(out.contains("all of it works"), "{out}\n{err}");
}
