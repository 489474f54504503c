//! One job on the engine's road with a real engine, as a runner runs it, for the tests beside this folder.

#![allow(dead_code, reason = "each test program uses a part of it")]

use harrier_api::JobPayload;
use harrier_base::SystemClock;
use harrier_docker::DockerExecutor;
use harrier_engine::*;
use harrier_logpipe::{FrameKind, FrameReader};
use harrier_plan::{ExecutorTraits, Facts, JobPlan, plan_job};
use harrier_store::{JobDir, Journal};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const IMAGE: &str = "harrier-test/busybox";

/// The example that stands in for the product's binary; Cargo builds it beside the tests.
pub fn probe() -> PathBuf {
    let mut path = std::env::current_exe().expect("this test");
    path.pop();
    path.pop();
    path.join("examples/harrier-docker-probe")
}

/// A question to the engine, answered by its own command line: the tests don't trust the code under test.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap_or_else(|error| {
        panic!("docker cannot be started ({error}); run scripts/engine.sh and scripts/test-images.sh busybox")
    });
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}; run scripts/engine.sh and scripts/test-images.sh busybox",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Each test has a project of its own, so that its volumes are its own.
static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Bench {
    pub state: tempfile::TempDir,
    pub project: u32,
    /// `[runners.docker]`
    pub section: String,
    pub payload: Value,
    pub stop: Stop,
    pub executor: DockerExecutor,
    repo: Option<tempfile::TempDir>,
}

impl Bench {
    pub fn new(script: &[&str]) -> Self {
        docker(&["image", "inspect", IMAGE, "--format", "{{.Id}}"]);
        let project = std::process::id() % 100_000 * 100 + NEXT.fetch_add(1, Ordering::Relaxed);
        let payload = json!({
            "id": 7, "token": "job-token",
            "allow_git_fetch": true,
            "job_info": {"id": 7, "name": "job", "stage": "test", "project_id": project, "project_full_path": "g/p"},
            "git_info": {"repo_url": "https://ci.test/g/p.git", "ref": "main", "sha": "00", "before_sha": "00",
                "ref_type": "branch", "refspecs": [], "depth": 0},
            "runner_info": {"timeout": 600},
            "variables": [
                {"key": "GIT_STRATEGY", "value": "none", "public": true},
                {"key": "COLOUR", "value": "red and blue", "public": true},
                {"key": "A_FILE", "value": "in a file", "public": true, "file": true},
            ],
            "steps": [{"name": "script", "script": script, "timeout": 600, "when": "on_success"}],
            "image": {"name": IMAGE},
            "features": {"failure_reasons": ["runner_configuration_error", "runner_external_dependency_failure", "image_pull_failure"]},
        });
        Self {
            state: tempfile::tempdir().expect("temp dir"),
            project,
            section: "pull_policy = 'if-not-present'\n".into(),
            payload,
            stop: Stop::new(),
            executor: DockerExecutor::new(),
            repo: None,
        }
    }

    pub fn section(mut self, lines: &str) -> Self {
        self.section.push_str(lines);
        self
    }

    pub fn variable(mut self, key: &str, value: &str) -> Self {
        let variables = self.payload["variables"].as_array_mut().expect("a list");
        variables.push(json!({"key": key, "value": value, "public": true}));
        self
    }

    pub fn after(mut self, script: &str) -> Self {
        let steps = self.payload["steps"].as_array_mut().expect("a list");
        steps.push(json!({"name": "after_script", "script": [script], "timeout": 600, "when": "always"}));
        self
    }

    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.payload[key] = value;
        self
    }

    /// A repository with the file `hello`, fetched by the helper.
    pub fn with_sources(mut self) -> Self {
        let repo = tempfile::tempdir().expect("temp dir");
        let git = |arguments: &[&str]| {
            let output =
                Command::new("git").arg("-C").arg(repo.path()).args(arguments).output().expect("git");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        git(&["init", "-q", "-b", "main"]);
        std::fs::write(repo.path().join("hello"), "from the repository\n").expect("written");
        git(&["add", "."]);
        git(&["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "one"]);
        let sha = git(&["rev-parse", "HEAD"]);
        let volumes =
            format!("volumes = ['{}:/repo.git:ro', '/cache']\n", repo.path().join(".git").display());
        self.payload["git_info"]["repo_url"] = json!("file:///repo.git");
        self.payload["git_info"]["sha"] = json!(sha);
        self.payload["git_info"]["refspecs"] = json!(["+refs/heads/main:refs/remotes/origin/main"]);
        self.payload["variables"][0] = json!({"key": "GIT_STRATEGY", "value": "fetch", "public": true});
        self.repo = Some(repo);
        self.section(&volumes)
    }

    pub fn entry(&self) -> harrier_config::RunnerSpec {
        let toml = format!(
            "[[runners]]\nname = 'r'\nurl = 'https://ci.test'\ntoken = 'glrt-t{:08}'\nexecutor = 'docker'\n[runners.docker]\n{}",
            self.project, self.section
        );
        let (host, _) = harrier_config::parse(&toml, "config.toml", &|_| None).expect("a configuration");
        host.runners.into_iter().next().expect("an entry")
    }

    pub fn plan(&self) -> JobPlan {
        let payload: JobPayload = serde_json::from_value(self.payload.clone()).expect("a payload");
        let facts = Facts {
            program: "gitlab-runner".into(),
            version: "19.4.0".into(),
            revision: "abc".into(),
            system_id: "s_0123456789ab".into(),
            concurrent_id: 0,
            concurrent_project_id: 0,
            default_builds_dir: Some("/builds".into()),
            default_cache_dir: Some("/cache".into()),
            os_arch: "linux/amd64".into(),
            abilities: ExecutorTraits::docker_executor(),
            correlation_id: String::new(),
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
        };
        plan_job(&payload, &self.entry(), &facts).expect("a plan")
    }

    pub fn dir(&self) -> JobDir {
        JobDir::create(self.state.path(), "7-00000000").expect("job directory")
    }

    pub async fn run(&self) -> (JobOutcome, String) {
        let dir = self.dir();
        let ran = self.run_in(&dir).await;
        dir.remove().expect("removed");
        ran
    }

    /// As [`Bench::run`], by an executor that lives on.
    pub async fn run_by(&self, executor: &DockerExecutor) -> (JobOutcome, String) {
        let dir = self.dir();
        let ran = self.run_in_by(&dir, executor).await;
        dir.remove().expect("removed");
        ran
    }

    /// As a runner does it; the directory stays.
    pub async fn run_in(&self, dir: &JobDir) -> (JobOutcome, String) {
        self.run_in_by(dir, &self.executor).await
    }

    /// The same.
    pub async fn run_in_by(&self, dir: &JobDir, executor: &DockerExecutor) -> (JobOutcome, String) {
        let plan = self.plan();
        let journal = Mutex::new(Journal::open(dir).expect("journal"));
        let settings = harrier_logpipe::Settings {
            masks: vec![],
            token_prefixes: vec![],
            timestamps: false,
            limit: plan.log.limit,
        };
        let log = JobLog::open(dir, &settings, Arc::new(SystemClock)).await.expect("log");
        let (raw, probe) = (dir.raw_log(), probe());
        let run = JobRun {
            plan: &plan,
            executor,
            journal: &journal,
            cx: OpenCx { job_dir: dir.path(), raw_log: &raw, own_binary: &probe, die_with_parent: false },
            log: &log,
            stop: &self.stop,
            clock: &SystemClock,
            desk: None,
            on_stage: None,
        };
        let (outcome, teardown) = run_job(run).await;
        teardown.run().await;
        log.finish().await.expect("finished");
        let text = String::from_utf8_lossy(&std::fs::read(dir.trace_log()).expect("log")).into_owned();
        (outcome, text)
    }

    pub fn label(&self) -> String {
        format!("label=com.gitlab.gitlab-runner.project.id={}", self.project)
    }

    /// Containers and networks of the project, and volumes that no later job would use.
    pub fn left(&self) -> Vec<String> {
        let label = self.label();
        let mut left = docker(&["ps", "-a", "--filter", &label, "--format", "container {{.Names}}"]);
        left.push('\n');
        left.push_str(&docker(&["network", "ls", "--filter", &label, "--format", "network {{.Name}}"]));
        left.push('\n');
        left.push_str(&docker(&[
            "volume",
            "ls",
            "--filter",
            &label,
            "--filter",
            "label=dev.harrier.job",
            "--format",
            "volume {{.Name}}",
        ]));
        left.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// After a stop while the session is opened, clearing goes on by itself.
    pub async fn clean_soon(&self) {
        let gone = async {
            while !self.left().is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("all is removed");
    }

    pub fn assert_clean(&self) {
        assert_eq!(self.left(), Vec::<String>::new());
        let ledger = harrier_store::Ledger::open(self.state.path()).expect("ledger").list().expect("listed");
        assert!(ledger.is_empty(), "{ledger:?}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let label = self.label();
        for (list, remove) in [
            (vec!["ps", "-aq", "--filter", &label], vec!["rm", "-f", "-v"]),
            (vec!["volume", "ls", "-q", "--filter", &label], vec!["volume", "rm", "-f"]),
            (vec!["network", "ls", "-q", "--filter", &label], vec!["network", "rm"]),
        ] {
            let Ok(output) = Command::new("docker").args(list).output() else { continue };
            let ids = String::from_utf8_lossy(&output.stdout).into_owned();
            if ids.trim().is_empty() {
                continue;
            }
            let _ = Command::new("docker").args(remove).args(ids.split_whitespace()).output();
        }
    }
}

pub fn contains(log: &str, texts: &[&str]) {
    for text in texts {
        assert!(log.contains(text), "{text:?} is not in\n{log}");
    }
}

/// Waits until the job has said it.
pub async fn said(raw: &Path, text: &str) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let bytes = std::fs::read(raw).unwrap_or_default();
        let mut reader = FrameReader::default();
        reader.feed(&bytes);
        let mut out = Vec::new();
        while let Ok(Some(frame)) = reader.next_frame() {
            if frame.kind == FrameKind::Stdout {
                out.extend(frame.bytes);
            }
        }
        if String::from_utf8_lossy(&out).contains(text) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{text:?} is not in {}", String::from_utf8_lossy(&out));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
