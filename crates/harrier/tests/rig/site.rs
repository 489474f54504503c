//! `harrier up` on an empty directory, as a newcomer has it: the link for the first password, the address to push to. Used by the
//! tests of pages and pushes.

#![allow(clippy::unwrap_used)]

use super::{PATIENCE, harrier};
use harrier_testkit::{RunnerProcess, TempHome};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A whole CI system.
pub struct Site {
    pub process: RunnerProcess,
    pub home: TempHome,
    /// `http://127.0.0.1:1234`
    pub url: String,
    /// Sets the password of root, once.
    pub link: String,
    /// `http://root:TOKEN@127.0.0.1:1234`
    push_to: String,
}

impl Site {
    pub async fn up() -> Site {
        let home = TempHome::new();
        let data = home.path().join("data");
        let place = data.to_str().unwrap();
        let arguments = ["up", "--data", place, "--listen", "127.0.0.1:0", "--jobs", "4"];
        let process = RunnerProcess::start_with(harrier(), &home, &arguments, &[]);
        process.wait_log("its runner:", PATIENCE).await;
        let log = process.log();
        let said = |mark: &str| {
            let line =
                log.lines().find(|line| line.contains(mark)).unwrap_or_else(|| panic!("no {mark}:\n{log}"));
            line.split(' ').find(|word| word.starts_with("http://")).unwrap().to_owned()
        };
        let link = said("set the password");
        let push_to = said("git push").split("/root/").next().unwrap().to_owned();
        Site { url: said(" at http"), process, home, link, push_to }
    }

    /// A work tree for a project with these files, committed.
    pub fn work_tree(&self, project: &str, files: &[(&str, &str)]) -> PathBuf {
        let work = self.home.path().join("work").join(project);
        std::fs::create_dir_all(&work).unwrap();
        git(&work, &["init", "-q", "-b", "main"]);
        commit(&work, files, "First");
        work
    }

    /// Pushes what is checked out; what git printed.
    pub fn push(&self, work: &Path, project: &str) -> String {
        git(work, &["push", &format!("{}/root/{project}.git", self.push_to), "HEAD"])
    }

    /// Makes a project of these files by a push.
    pub fn project(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let work = self.work_tree(name, files);
        self.push(&work, name);
        work
    }

    /// What a command of the administrator prints.
    pub fn admin(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(harrier());
        command.args(["admin", "--data"]).arg(self.home.path().join("data")).args(arguments);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

/// Writes files and commits all there is.
pub fn commit(work: &Path, files: &[(&str, &str)], message: &str) {
    for (name, text) in files {
        let path = work.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    git(work, &["add", "."]);
    git(
        work,
        &[
            "-c",
            "user.name=Ann",
            "-c",
            "user.email=ann@example.com",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            message,
        ],
    );
}

/// What git printed on standard error, which is where a server's words come.
pub fn git(work: &Path, arguments: &[&str]) -> String {
    let done = Command::new("git")
        .current_dir(work)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
    said
}
