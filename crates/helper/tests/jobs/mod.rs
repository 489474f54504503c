//! A job's directories and throw-away repositories for the helper's tests.

#![allow(dead_code, reason = "each test binary uses its part")]

use harrier_base::{Secret, Variable, Variables};
use harrier_plan::{Dirs, GitStrategy, HelperRequest, Op, ServerAccess, Shell, Sources, StageName};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One job's place in a temporary directory.
pub struct Job {
    pub place: tempfile::TempDir,
    pub dirs: Dirs,
    pub variables: Variables,
    pub server: String,
    pub id: i64,
    pub token: String,
}

impl Job {
    pub fn new() -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let builds = place.path().join("builds");
        let project = builds.join("group/project");
        let dirs = Dirs {
            tmp: builds.join("group/project.tmp"),
            cache: place.path().join("cache/group/project"),
            builds,
            project,
        };
        let mut variables = Variables::new();
        for (key, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "protocol.file.allow"),
            ("GIT_CONFIG_VALUE_0", "always"),
        ] {
            variables.push(Variable::public(key, value));
        }
        let server = format!("file://{}", place.path().join("artifacts").display());
        Self { place, dirs, variables, server, id: 1, token: "job-token-value".into() }
    }

    pub fn request(&self, ops: Vec<Op>) -> HelperRequest {
        HelperRequest {
            stage: StageName::GetSources,
            ops,
            variables: self.variables.clone(),
            dirs: self.dirs.clone(),
            server: ServerAccess { url: self.server.clone(), ..ServerAccess::default() },
            job_id: self.id,
            job_token: Secret::new(self.token.as_str()),
            shell: Shell::Bash,
            user_agent: "gitlab-runner 19.4.0 linux/amd64".into(),
            open_to_all: false,
        }
    }

    /// Exit code and log.
    pub fn run(&self, ops: Vec<Op>) -> (i32, String) {
        let mut out = Vec::new();
        let code = harrier_helper::run(&self.request(ops), &mut out);
        (code, String::from_utf8_lossy(&out).into_owned())
    }

    /// As [`Self::run`], which must go well.
    pub fn runs(&self, ops: Vec<Op>) -> String {
        let (code, log) = self.run(ops);
        assert_eq!(code, 0, "{log}");
        log
    }

    pub fn project(&self, path: &str) -> PathBuf {
        self.dirs.project.join(path)
    }

    /// Writes a file of the work tree.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.project(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.project(path)).expect("readable")
    }
}

/// Runs git in `dir` and returns what it prints.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .current_dir(dir)
        .envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@example.com"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@example.com"),
        ])
        .output()
        .expect("git starts");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository with three commits on `main`, a tag on the first, and packed objects.
pub fn repository(place: &Path, name: &str) -> PathBuf {
    let dir = place.join(name);
    std::fs::create_dir_all(&dir).expect("made");
    git(&dir, &["init", "-q", "-b", "main"]);
    for n in 1..=3 {
        commit(&dir, "file.txt", &format!("version {n}\n"));
        if n == 1 {
            git(&dir, &["tag", "v1"]);
        }
    }
    git(&dir, &["repack", "-qad"]);
    dir
}

/// Commits one file and returns the commit's id.
pub fn commit(dir: &Path, file: &str, text: &str) -> String {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(path, text).expect("written");
    git(dir, &["add", "."]);
    git(dir, &["commit", "-q", "-m", text.trim()]);
    git(dir, &["rev-parse", "HEAD"])
}

/// The usual sources: `main` at its tip, 20 deep.
pub fn sources(repository: &Path) -> Sources {
    Sources {
        strategy: GitStrategy::Fetch,
        remote_url: format!("file://{}", repository.display()),
        rewrites: BTreeMap::new(),
        sha: git(repository, &["rev-parse", "main"]),
        git_ref: "main".into(),
        refspecs: vec!["+refs/heads/main:refs/remotes/origin/main".into()],
        depth: 20,
        object_format: String::new(),
        checkout: true,
        clean_flags: Some(vec!["-ffdx".into()]),
        fetch_flags: vec!["--prune".into(), "--quiet".into()],
        clone_flags: vec![],
        native_clone: false,
        submodules: None,
        lfs_skip_smudge: false,
        extra_headers: vec![],
        bundle_uris: true,
        proactive_auth: false,
        credential_helper: false,
        safe_directory: false,
        clean_git_config: false,
        pre: vec![],
        post: vec![],
    }
}

/// As an operation.
pub fn get(sources: Sources) -> Vec<Op> {
    vec![Op::Sources(Box::new(sources))]
}
