//! The how-to's two jobs, with the files of `examples/`: in an image from a private registry, and building an image with
//! Docker-in-Docker, each through a runner registered by one command line. The engine, the registry and the images are
//! those of `scripts/test-images.sh`.

mod rig;

use harrier_testkit::{
    FakeGitLab, JobRecord, JobSpec, JobState, Repo, RepoFile, RunnerProcess, TempHome, Var,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::net::{TcpListener, TcpStream};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Makes the images.
async fn images(names: &[&str]) {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    assert!(
        is_root,
        "engine, registry and images are made as root; run scripts/test-hosts.sh and this test as root"
    );
    run(root().join("scripts/test-images.sh"), names).await;
}

/// Runs a command to its end beside the server; what it printed.
async fn run(program: impl Into<PathBuf>, args: &[&str]) -> String {
    let mut command = Command::new(program.into());
    command.args(args);
    output(command).await
}

async fn output(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || {
        let output =
            command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    output.await.expect("nothing panics")
}

/// A server with an example as its project, and a runner for it that `register` has written.
struct Stage {
    server: FakeGitLab,
    home: TempHome,
    project: usize,
    _repo: Repo,
}

impl Stage {
    /// `flags` are those of `register`, besides the ones that any docker runner has.
    async fn new(example: &str, flags: impl FnOnce(&FakeGitLab) -> Vec<String>) -> Self {
        let server = FakeGitLab::start().await.expect("a fake GitLab");
        let repo = Repo::new();
        repo.commit("main", &files_of(&root().join("examples").join(example), ""), "the example");
        let project = server.add_project(&format!("birds/{example}"), &repo);
        let home = TempHome::new();
        let mut register = Command::new(rig::harrier());
        register.env_clear().env("HOME", home.path()).args(["runner", "register", "--non-interactive"]);
        register.arg("--config").arg(home.config());
        register.args(["--url", &server.url(), "--token", server.runner_token(), "--executor", "docker"]);
        register.args(flags(&server));
        output(register).await;
        Self { server, home, project, _repo: repo }
    }

    fn job(&self, image: &str, lines: &[&str]) -> JobSpec {
        let mut spec = JobSpec::in_project(self.project, lines);
        spec.extra.insert("image".into(), json!({ "name": image }));
        spec
    }

    async fn run(&self, spec: JobSpec) -> JobRecord {
        let id = self.server.add_job(spec);
        let ended = self.server.wait_final(id, rig::PATIENCE).await;
        let log = std::fs::read_to_string(self.home.path().join("runner.log")).unwrap_or_default();
        ended.unwrap_or_else(|error| panic!("{error}\nthe runner's log:\n{log}"))
    }

    /// Containers, networks and volumes that carry the name of the runner's state directory.
    async fn owned(&self, list: &[&str]) -> Vec<String> {
        let owner = std::fs::read_to_string(self.home.path().join(".harrier/owner")).expect("a job has run");
        let filter = format!("label=dev.harrier.owner={}", owner.trim());
        let printed = run("docker", &[list, &["--quiet", "--filter", &filter]].concat()).await;
        printed.lines().map(str::to_owned).collect()
    }

    /// Nothing but caches, which this removes. A job is reported before its containers are cleared away.
    async fn nothing_is_left(&self) {
        let deadline = tokio::time::Instant::now() + rig::PATIENCE;
        for list in [["ps", "--all"], ["network", "ls"]] {
            loop {
                let left = self.owned(&list).await;
                if left.is_empty() {
                    break;
                }
                assert!(tokio::time::Instant::now() < deadline, "{list:?} still has {left:?}");
            }
        }
        let caches = self.owned(&["volume", "ls"]).await;
        assert!(!caches.is_empty(), "the checkout is kept for the next job");
        for cache in caches {
            assert!(cache.contains("-cache-"), "{cache}");
            run("docker", &["volume", "rm", &cache]).await;
        }
    }
}

/// What is below `folder`, as files of a repository below `prefix`.
fn files_of(folder: &Path, prefix: &str) -> Vec<RepoFile> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("an example").flatten() {
        let path = format!("{prefix}{}", entry.file_name().to_str().expect("plain names"));
        let kind = entry.metadata().expect("it was just seen");
        if kind.is_dir() && !path.ends_with("node_modules") {
            found.extend(files_of(&entry.path(), &format!("{path}/")));
        } else if kind.is_file()
            && let Ok(text) = std::fs::read_to_string(entry.path())
        {
            let make = if kind.mode() & 0o100 == 0 { RepoFile::new } else { RepoFile::executable };
            found.push(make(&path, &text));
        }
    }
    found
}

#[tokio::test]
async fn a_node_image_of_a_private_registry() {
    images(&["node"]).await;
    let environment = run(root().join("scripts/registry.sh"), &["env"]).await;
    let values: HashMap<&str, &str> = environment.lines().filter_map(|line| line.split_once('=')).collect();
    let registry = values["HARRIER_REGISTRY"];
    let login = values["DOCKER_AUTH_CONFIG"].replace('\\', "");
    let stage = Stage::new("node-app", |_| {
        // Sources come from a loopback address.
        ["--docker-image", "harrier-test/busybox", "--docker-network-mode", "host"].map(str::to_owned).into()
    })
    .await;
    let _runner = RunnerProcess::start(rig::harrier(), &stage.home);
    let job = |variables: Vec<Var>| JobSpec {
        variables: [vec![Var::new("NODE_IMAGE", &format!("{registry}/harrier-test/node"))], variables]
            .concat(),
        ..stage.job("$NODE_IMAGE", &["pwd", "npm install", "npm test"])
    };

    let refused = stage.run(job(Vec::new())).await;
    let log = refused.log_text();
    assert_eq!(
        (refused.state, refused.failure_reason.as_deref()),
        (JobState::Failed, Some("runner_configuration_error")),
        "{log}"
    );
    for part in [
        &format!("{registry}/harrier-test/node"),
        "no basic auth credentials",
        "DOCKER_AUTH_CONFIG",
        "docker login",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }

    let passed = stage.run(job(vec![Var::new("DOCKER_AUTH_CONFIG", &login)])).await;
    let log = passed.log_text();
    assert_eq!(passed.state, JobState::Success, "{log}");
    for part in [
        "/builds/birds/node-app\n",
        "added 2 packages",
        "# pass 2",
        "credentials from the variable DOCKER_AUTH_CONFIG",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
    let password = values["HARRIER_REGISTRY_PASSWORD"];
    assert!(!log.contains(password) && !log.contains(&login));
    stage.nothing_is_left().await;
    stage.server.assert_no_slips();
}

#[tokio::test]
async fn an_image_is_built_with_docker_in_docker() {
    images(&["busybox", "dind"]).await;
    let door = TcpListener::bind((bridge().await.as_str(), 0)).await.expect("a port on the engine's bridge");
    let address = door.local_addr().expect("an address");
    let stage = Stage::new("docker-build", |server| {
        let port = server.url().rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
        tokio::spawn(let_in(door, port));
        [
            "--description",
            "builds images",
            "--docker-image",
            "harrier-test/dind",
            "--docker-privileged",
            "--docker-volumes",
            "/certs/client",
            "--docker-volumes",
            "/cache",
            "--docker-pull-policy",
            "if-not-present",
            "--clone-url",
            &format!("http://{address}"),
        ]
        .map(str::to_owned)
        .into()
    })
    .await;
    let _runner = RunnerProcess::start(rig::harrier(), &stage.home);
    for (name, host, more) in [
        ("build", "tcp://docker:2375", vec![("DOCKER_TLS_CERTDIR", "")]),
        (
            "build-tls",
            "tcp://docker:2376",
            vec![
                ("DOCKER_TLS_CERTDIR", "/certs"),
                ("DOCKER_TLS_VERIFY", "1"),
                ("DOCKER_CERT_PATH", "/certs/client"),
            ],
        ),
    ] {
        let mut spec = stage.job(
            "harrier-test/dind",
            &[
                "cp /bin/busybox .",
                "for second in $(seq 60); do docker version > /dev/null 2>&1 && break; sleep 1; done",
                "docker info",
                "docker build -t image1 .",
                "docker images",
                "docker run --rm image1",
            ],
        );
        spec.name = name.into();
        spec.variables.push(Var::new("DOCKER_HOST", host));
        spec.variables.extend(more.into_iter().map(|(key, value)| Var::new(key, value)));
        let service: Value = json!([{ "name": "harrier-test/dind", "alias": "docker" }]);
        spec.extra.insert("services".into(), service);
        let job = stage.run(spec).await;
        let log = job.log_text();
        assert_eq!(job.state, JobState::Success, "{name}\n{log}");
        for part in [
            "Storage Driver: overlay2",
            "Successfully tagged image1:latest",
            "image1 ",
            "built by a job, of ",
        ] {
            assert!(log.contains(part), "{name}: {part}\n{log}");
        }
        // The job's engine was its own.
        assert_eq!(run("docker", &["images", "--quiet", "image1"]).await, "", "{name}");
        stage.nothing_is_left().await;
    }
    stage.server.assert_no_slips();
}

/// An address of this machine that containers reach.
async fn bridge() -> String {
    let args = ["run", "--rm", "harrier-test/busybox", "ip", "route", "show", "default"];
    let route = run("docker", &args).await;
    let mut words = route.split(' ').skip_while(|word| *word != "via").skip(1);
    words.next().unwrap_or_else(|| panic!("no gateway in {route:?}")).to_owned()
}

/// Passes connections on to a port that listens on loopback only.
async fn let_in(door: TcpListener, port: u16) {
    while let Ok((mut guest, _)) = door.accept().await {
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                // Whoever hangs up first ends it.
                let _ = tokio::io::copy_bidirectional(&mut guest, &mut server).await;
            }
        });
    }
}
