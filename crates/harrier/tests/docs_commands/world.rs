//! The places in which the documents' commands are run. Each has a directory, the binary on PATH as `harrier` and
//! `gitlab-runner`, and what its commands speak of: names in the documents stand for real things here.

use crate::page::{Block, How, Treatment, root};
use harrier_testkit::{FakeGitLab, Repo, S3Server};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// The pipeline of `your-repository`.
const PIPELINE: &str = "\
stages: [build, test, deploy]
build:
  stage: build
  script: [mkdir -p out, 'echo made > out/app']
  artifacts: {paths: [out]}
test:
  stage: test
  needs: [build]
  script: ['test -f out/app', 'echo \"${GREETING:-no greeting}\"']
release:
  stage: deploy
  script: echo released
  rules: [{if: $CI_COMMIT_TAG}]
ship:
  stage: deploy
  when: manual
  script: echo shipped
";

/// A configuration that simply works, and one of which most is refused.
const SHELL_RUNNER: &str = "\
concurrent = 2

[[runners]]
  name = \"build machine\"
  url = \"https://gitlab.example.com\"
  token = \"glrt-TOKEN\"
  executor = \"shell\"
";
const FLEET: &str = "\
concurrent = 20

[[runners]]
  name = \"docker\"
  url = \"https://gitlab.example.com\"
  token = \"a\"
  executor = \"docker\"
  [runners.cache]
    Type = \"s3\"
  [runners.docker]
    image = \"ruby:3.3\"

[[runners]]
  name = \"cluster\"
  url = \"https://gitlab.example.com\"
  token = \"b\"
  executor = \"kubernetes\"
  [runners.kubernetes]
    namespace = \"ci\"
";

/// A world while its blocks run.
pub struct World {
    dir: TempDir,
    /// What stands in the documents, and what is meant here; longer ones first.
    names: Vec<(String, String)>,
    _gitlab: Option<(FakeGitLab, Repo)>,
    _bucket: Option<S3Server>,
}

impl World {
    /// The world of this name.
    pub fn new(name: &str, runtime: &tokio::runtime::Runtime) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |path: &str| dir.path().join(path);
        for made in ["bin", "home", "work"] {
            std::fs::create_dir(at(made)).expect("a directory");
        }
        for name in ["harrier", "gitlab-runner"] {
            symlink(env!("CARGO_BIN_EXE_harrier"), at("bin").join(name)).expect("a link");
        }
        let mut names = vec![("8929".to_owned(), free_port().to_string())];
        let mut gitlab = None;
        let mut bucket = None;
        match name {
            "repository" => repository(&at("work/your-repository")),
            "gitlab" | "moving" | "up" => {
                let server = runtime.block_on(FakeGitLab::start()).expect("a fake GitLab");
                let repo = Repo::with_files(&[("README.md", "# Kestrel\n"), (".gitlab-ci.yml", PIPELINE)]);
                server.add_project("group/app", &repo);
                names.push(("https://gitlab.example.com".to_owned(), server.url()));
                // The repository that a page mirrors is the one it has pushed before.
                let pushed = format!("http://127.0.0.1:{}/root/app.git", names[0].1);
                names.push(("https://github.com/group/app.git".to_owned(), pushed));
                names.push(("glrt-TOKEN".to_owned(), server.runner_token().to_owned()));
                if name == "moving" {
                    let config = at("work/config.toml");
                    names.push(("/etc/gitlab-runner/config.toml".to_owned(), config.display().to_string()));
                    std::fs::write(config, replaced(SHELL_RUNNER, &names)).expect("a file");
                    std::fs::write(at("work/fleet.toml"), FLEET).expect("a file");
                }
                repository(&at("work/your-repository"));
                gitlab = Some((server, repo));
            }
            "engine" | "how-to" => {
                let registry = images();
                names.push((
                    "registry.example.com/node".to_owned(),
                    format!("{}/harrier-test/node", registry.address),
                ));
                names.push(("registry.example.com".to_owned(), registry.address));
                names.push(("docker:dind".to_owned(), "harrier-test/dind".to_owned()));
                names.push(("USER:PASSWORD".to_owned(), format!("{}:{}", registry.user, registry.password)));
            }
            "bucket" => {
                let server = S3Server::start(true);
                names.push(("https://s3.example.com:9000".to_owned(), server.url.clone()));
                names.push(("my-bucket".to_owned(), S3Server::BUCKET.to_owned()));
                names.push(("ACCESS-KEY".to_owned(), server.key.clone()));
                names.push(("SECRET-KEY".to_owned(), server.secret.clone()));
                names.push(("/srv/harrier".to_owned(), at("work/data").display().to_string()));
                bucket = Some(server);
            }
            other => panic!("there is no world `{other}`; they are listed in docs_commands/world.rs"),
        }
        names.sort_by_key(|(shown, _)| std::cmp::Reverse(shown.len()));
        Self { dir, names, _gitlab: gitlab, _bucket: bucket }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes the files of the page, runs the blocks, and ends whatever they have started.
    pub fn run(&self, runtime: &tokio::runtime::Runtime, files: &[&Block], blocks: &[&Block]) {
        for file in files {
            let Treatment::File { path } = &file.treatment else { continue };
            let path = self.at("work").join(path);
            std::fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
            std::fs::write(&path, replaced(&file.text, &self.names)).expect("a file");
        }
        let said = self.at("said");
        let output = std::fs::File::create(&said).expect("a file");
        let mut bash = Command::new("bash");
        bash.arg("-c").arg(self.script(blocks)).current_dir(self.at("work")).process_group(0).env_clear();
        let path = std::env::var("PATH").unwrap_or_default();
        bash.env("PATH", format!("{}:{path}", self.at("bin").display())).env("HOME", self.at("home"));
        bash.env("CONFIG_FILE", self.at("work/config.toml"))
            .env("LANG", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        bash.env("HARRIER_LISTEN", format!("127.0.0.1:{}", replaced("8929", &self.names)));
        bash.env("HARRIER_ALLOW_NETWORK", "127.0.0.1").env("GIT_TERMINAL_PROMPT", "0");
        for who in ["AUTHOR", "COMMITTER"] {
            bash.env(format!("GIT_{who}_NAME"), "Reader")
                .env(format!("GIT_{who}_EMAIL"), "reader@example.invalid");
        }
        bash.stdin(Stdio::null()).stdout(output.try_clone().expect("a file")).stderr(output);
        let status = runtime.block_on(async {
            let mut child = tokio::process::Command::from(bash).spawn().expect("bash starts");
            let group = child.id().expect("nobody has waited for it");
            let status = tokio::time::timeout(PATIENCE, child.wait()).await;
            end(group).await;
            status.ok().map(|status| status.expect("it can be waited for"))
        });
        let said = String::from_utf8_lossy(&std::fs::read(&said).unwrap_or_default()).into_owned();
        assert!(
            status.is_some_and(|status| status.success()),
            "a block of {} did not do what its page says ({status:?}):\n{said}",
            blocks.first().map_or("", |block| &block.page)
        );
    }

    /// One script for all blocks: variables last from one to the next.
    fn script(&self, blocks: &[&Block]) -> String {
        let mut out = "set -e\n".to_owned();
        for (number, block) in blocks.iter().enumerate() {
            let Treatment::Run { how, .. } = &block.treatment else { continue };
            let text = replaced(&block.text, &self.names);
            let said = self.at(&format!("said.{number}"));
            let said = said.display();
            let _ = writeln!(out, "echo '### {}'", block.place());
            let _ = match how {
                How::Plain => writeln!(out, "{text}"),
                How::Code(code) => writeln!(
                    out,
                    "set +e; (\n{text}); code=$?; set -e\n[ $code = {code} ] || {{ echo \"the code is $code\"; exit 1; }}"
                ),
                How::Until(words) => writeln!(
                    out,
                    "(\n{text}) > {said} 2>&1 &\nfor try in $(seq 1200); do grep -qF -- {words} {said} && break; sleep 0.1; \
                     done\ncat {said}; grep -qF -- {words} {said}",
                    words = quoted(words),
                ),
                How::UntilOutput(words) => writeln!(
                    out,
                    "for try in $(seq 600); do {{\n{text}}} > {said} 2>&1; grep -qF -- {words} {said} && break; sleep 0.5; \
                     done\ncat {said}; grep -qF -- {words} {said}",
                    words = quoted(words),
                ),
            };
        }
        out
    }
}

/// For bash.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn replaced(text: &str, names: &[(String, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (shown, meant)| text.replace(shown, meant))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn repository(path: &Path) {
    std::fs::create_dir(path).expect("a directory");
    std::fs::write(path.join(".gitlab-ci.yml"), PIPELINE).expect("a file");
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=Reader", "-c", "user.email=reader@example.invalid"])
            .args(args)
            .current_dir(path)
            .output()
            .expect("git starts");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "--quiet", "--initial-branch", "main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "First"]);
}

struct Registry {
    address: String,
    user: String,
    password: String,
}

/// The private registry with its images, and the engine.
fn images() -> Registry {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    assert!(
        is_root,
        "engine, registry and images are made as root; run scripts/test-hosts.sh and this test as root"
    );
    let script = |name: &str, args: &[&str]| {
        let output =
            Command::new(root().join("scripts").join(name)).args(args).output().expect("the script starts");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    script("test-images.sh", &["node", "dind"]);
    let environment = script("registry.sh", &["env"]);
    let value = |name: &str| {
        let line = environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name} in {environment}")).to_owned()
    };
    Registry {
        address: value("HARRIER_REGISTRY"),
        user: value("HARRIER_REGISTRY_USER"),
        password: value("HARRIER_REGISTRY_PASSWORD"),
    }
}

/// Ends all processes of a group: as a person at the terminal would, then for good.
async fn end(group: u32) {
    let group = Pid::from_raw(group.try_into().expect("a process id"));
    let signal = |signal: Option<Signal>| killpg(group, signal).is_ok();
    signal(Some(Signal::SIGTERM));
    let began = Instant::now();
    while signal(None) {
        let waited = began.elapsed();
        if waited > Duration::from_secs(60) {
            signal(Some(Signal::SIGKILL));
        }
        assert!(waited < Duration::from_secs(90), "what a page has started does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
