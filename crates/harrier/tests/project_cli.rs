//! `harrier project`, as an operator uses it beside a running server: a project of the same server is the remote. What it prints, what
//! it refuses and with which words, and that a log-in is seen nowhere.

#![allow(clippy::unwrap_used)]

use harrier_testkit::{RunnerProcess, TempHome};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// A token that is good for nothing, and must never be seen.
const CANARY: &str = "glpat-canary-4711-do-not-tell";
const CONFIG: &str = "build:\n  script: make\n";

struct Server {
    process: RunnerProcess,
    home: TempHome,
    url: String,
    token: String,
}

impl Server {
    async fn start() -> Self {
        let home = TempHome::new();
        let data = home.path().join("data");
        let arguments = [
            "serve",
            "--data",
            data.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--allow-network",
            "127.0.0.0/8",
        ];
        let arguments = [&arguments[..], &["--log-format", "json"]].concat();
        let harrier = Path::new(env!("CARGO_BIN_EXE_harrier"));
        let process = RunnerProcess::start_with(harrier, &home, &arguments, &[]);
        process.wait_log("\"listening\"", PATIENCE).await;
        let log = process.log();
        let line = log.lines().find(|line| line.contains("\"listening\"")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let url = format!("http://{}", line["address"].as_str().unwrap());
        let mut server = Self { process, home, url, token: String::new() };
        let scopes = ["--scope", "api", "--scope", "write_repository", "--scope", "read_repository"];
        let made = server.harrier("admin", &[&["token", "--user", "root"][..], &scopes].concat(), &[]);
        server.token = said(&made).0;
        server
    }

    fn harrier(&self, group: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harrier"));
        command.args([group, "--data"]).arg(self.home.path().join("data")).args(arguments);
        command.env_remove("HARRIER_MIRROR_TOKEN").envs(environment.iter().copied()).output().unwrap()
    }

    /// What a command prints on both streams; it must end well.
    fn project(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (String, String) {
        let done = self.harrier("project", arguments, environment);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        said(&done)
    }

    /// What a command says that must fail.
    fn refused(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let done = self.harrier("project", arguments, environment);
        let (out, err) = said(&done);
        assert!(!done.status.success(), "{arguments:?}: {out}{err}");
        assert_eq!(out, "", "{arguments:?}");
        err
    }

    /// Commits a file and pushes it to the project that is the remote.
    fn push(&self, file: &str) {
        let work = self.home.path().join("work");
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command
                .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
                .args(arguments)
                .current_dir(&work);
            command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
            let done = command.output().expect("git is installed");
            assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        if !work.exists() {
            std::fs::create_dir(&work).unwrap();
            git(&["init", "-q", "-b", "main"]);
            std::fs::write(work.join(".gitlab-ci.yml"), CONFIG).unwrap();
        }
        std::fs::write(work.join(file), file).unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", &format!("Adds {file}")]);
        let remote =
            self.url.replace("http://", &format!("http://root:{}@", self.token)) + "/root/source.git";
        git(&["push", "-q", &remote, "main"]);
    }

    /// How many pipelines a project has, by the server's own list.
    async fn pipelines(&self, project: &str) -> usize {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/api/v4/projects/{}/pipelines", self.url, project.replace('/', "%2F"));
        let answer = client.get(url).header("PRIVATE-TOKEN", &self.token).send().await.unwrap();
        let list: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        list.as_array().unwrap().len()
    }
}

fn said(done: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (text(&done.stdout), text(&done.stderr))
}

#[tokio::test]
async fn a_mirror_is_made_followed_and_ended() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut server = Server::start().await;
    server.push("one");
    let remote = format!("{}/root/source.git", server.url);
    let token = [("HARRIER_MIRROR_TOKEN", server.token.as_str())];

    // What cannot be, in words that say what to do.
    let with_login = remote.replace("http://", &format!("http://root:{CANARY}@"));
    for (arguments, words) in [
        (
            vec!["mirror", with_login.as_str()],
            "give the address without it, and the token in HARRIER_MIRROR_TOKEN",
        ),
        (vec!["mirror", "ftp://example.com/x.git"], "ftp"),
        (vec!["mirror", "git@example.com:g/p.git"], "an ssh address takes a key (--ssh-key)"),
        (vec!["mirror", &remote, "--user", "nobody"], "there is no user `nobody`; `harrier admin user list`"),
        (vec!["mirror", &remote, "--path", "no!/path"], "`no!` cannot be a part of a project's path"),
        (vec!["mirror", &remote, "--interval", "1"], "--interval"),
        (vec!["mirror", &remote, "--token-file", "/nowhere/token"], "/nowhere/token"),
        (vec!["sync", "root/none"], "there is no project `root/none`; `harrier project list`"),
        (
            vec!["sync", "root/source"],
            "root/source is no mirror; `harrier project mirror URL --path root/source`",
        ),
        (vec!["unmirror", "root/source"], "root/source is no mirror"),
        (vec!["webhook-secret", "root/source"], "root/source is no mirror"),
    ] {
        let err = server.refused(&arguments, &token);
        assert!(err.contains(words), "{arguments:?}: {err}");
        assert!(!err.contains(CANARY) && !err.contains(&server.token), "{arguments:?}: {err}");
    }
    let (listed, _) = server.project(&["list"], &[]);
    assert_eq!(listed.lines().count(), 1, "nothing was made by what was refused: {listed}");

    // Made, and fetched by the running server.
    let mirror = ["mirror", remote.as_str(), "--path", "root/copy", "--username", "root"];
    let (out, err) = server.project(&mirror, &token);
    let lines: Vec<&str> = out.lines().collect();
    let [path, webhook, secret] = &lines[..] else { panic!("{out}") };
    assert_eq!(*path, "root/copy");
    assert!(
        webhook.starts_with("webhook: /api/v4/projects/") && webhook.ends_with("/mirror/pull"),
        "{webhook}"
    );
    let first = secret.strip_prefix("webhook secret, shown this once: ").unwrap();
    assert_eq!(err, "root/copy is fetched.");
    assert_eq!(server.pipelines("root/copy").await, 1);
    let (listed, _) = server.project(&["list"], &[]);
    let line = listed.lines().find(|line| line.contains("\troot/copy\t")).unwrap();
    assert!(line.contains(&format!("\t{remote}\tfetched ")), "{line}");

    // Synchronised, told anew, and its secret changed.
    server.push("two");
    assert_eq!(server.project(&["sync", "root/copy"], &[]), (String::new(), "root/copy is fetched.".into()));
    assert_eq!(server.pipelines("root/copy").await, 2);
    let (out, _) = server.project(&[&mirror[..], &["--interval", "600"]].concat(), &token);
    assert_eq!(out, "root/copy", "a secret is shown once");
    let (second, _) = server.project(&["webhook-secret", "root/copy"], &[]);
    assert!(!second.is_empty() && second != first);

    // A token that is not good: said, and not shown.
    let err = server.harrier("project", &mirror, &[("HARRIER_MIRROR_TOKEN", CANARY)]);
    let (out, err) = (err.status.success(), said(&err).1);
    assert!(!out && err.contains("root/copy was not fetched: "), "{err}");
    let (listed, _) = server.project(&["list"], &[]);
    assert!(listed.contains("failed: "), "{listed}");
    for text in [&err, &listed, &server.process.log()] {
        assert!(!text.contains(CANARY) && !text.contains(&server.token), "{text}");
    }

    // Ended: the project stays.
    server.project(&["unmirror", "root/copy"], &[]);
    assert!(server.refused(&["sync", "root/copy"], &[]).contains("root/copy is no mirror"));
    assert_eq!(server.pipelines("root/copy").await, 2);

    // Without a server it is written down for the next one.
    server.process.signal(Signal::SIGTERM);
    assert!(server.process.wait(PATIENCE).await.is_some(), "it ends");
    let (out, err) = server.project(&["mirror", &remote, "--path", "root/later"], &token);
    assert!(out.starts_with("root/later\n"), "{out}");
    assert!(
        err.contains("No server works in ") && err.contains("the mirror is fetched when one does"),
        "{err}"
    );
    let (listed, _) = server.project(&["list"], &[]);
    assert!(listed.contains("root/later") && listed.contains("not fetched yet"), "{listed}");
}
