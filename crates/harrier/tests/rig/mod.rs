//! A fake GitLab, a home and the real runner between them. Used by the `runner_*` tests.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod docker;
pub mod site;

use harrier_testkit::{FakeGitLab, JobRecord, JobSpec, Options, Repo, RunnerProcess, TempHome, config_toml};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Far more than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The binary under test.
pub fn harrier() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_harrier"))
}

/// Server, home and a project with a small repository.
pub struct Rig {
    pub server: FakeGitLab,
    pub home: TempHome,
    pub project: usize,
    _repo: Repo,
}

impl Rig {
    pub async fn new() -> Rig {
        Rig::with(Options::default(), 4).await
    }

    pub async fn with(options: Options, concurrent: u32) -> Rig {
        let server = FakeGitLab::start_with(options).await.expect("a fake GitLab");
        let repo = Repo::with_files(&[("README.md", "# Kestrel\n"), ("src/main.c", "int main;\n")]);
        let project = server.add_project("birds/kestrel", &repo);
        let home = TempHome::new();
        home.write_config(&config_toml(&server, server.runner_token(), concurrent, &home, ""));
        Rig { server, home, project, _repo: repo }
    }

    pub fn start(&self) -> RunnerProcess {
        RunnerProcess::start(harrier(), &self.home)
    }

    /// A job with sources.
    pub fn job(&self, lines: &[&str]) -> JobSpec {
        JobSpec::in_project(self.project, lines)
    }

    /// Queues a job and waits for its end.
    pub async fn run(&self, spec: JobSpec) -> JobRecord {
        let id = self.server.add_job(spec);
        self.end_of(id).await
    }

    pub async fn end_of(&self, id: i64) -> JobRecord {
        match self.server.wait_final(id, PATIENCE).await {
            Ok(record) => record,
            Err(error) => panic!("{error}\nthe runner's log:\n{}", self.runner_log()),
        }
    }

    pub fn runner_log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("runner.log")).unwrap_or_default()
    }

    /// A file outside the builds directory that scripts leave marks in.
    pub fn marks(&self) -> PathBuf {
        self.home.path().join("marks")
    }

    /// The lines of [`Rig::marks`], sorted.
    pub fn marked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.marks()).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// Waits until `reached` holds; panics with `what` when it never does.
pub async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !reached() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
