//! A fake GitLab, a home and the real runner before a real engine: the machine's own, or one apart that a test may restart,
//! fill and kill. Used by the tests of containers. The engine is asked by its own command line.

use super::{PATIENCE, harrier};
use harrier_testkit::{FakeGitLab, JobRecord, JobSpec, JobState, Options, Repo, RunnerProcess, TempHome};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// The image of jobs that need no other.
pub const BUSYBOX: &str = "harrier-test/busybox";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name)
}

/// Runs a command to its end beside the server.
pub async fn output_of(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || {
        command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
    })
    .await
    .expect("nothing panics")
}

/// The same, which must go well; what it printed.
async fn good(command: Command) -> String {
    let what = format!("{command:?}");
    let output = output_of(command).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A Docker Engine.
#[derive(Clone, Debug)]
pub struct Engine {
    socket: PathBuf,
    /// Of one apart.
    alone: Option<Arc<Alone>>,
}

/// The folder of an engine apart. The engine ends with the last that holds this.
#[derive(Debug)]
struct Alone {
    dir: tempfile::TempDir,
}

impl Alone {
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(script("engine.sh"));
        command
            .arg(what)
            .env("DOCKER_SOCKET", self.dir.path().join("docker.sock"))
            .env("HARRIER_ENGINE_STATE", self.state())
            .env("HARRIER_ENGINE_ALONE", self.data())
            // A pull that fails is not tried again by the engine itself, with its long pauses.
            .env("HARRIER_ENGINE_FLAGS", "--max-download-attempts=1");
        command
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        match self.command("stop").output() {
            Ok(output) if output.status.success() => {}
            other => eprintln!("the engine in {} was not stopped: {other:?}", self.dir.path().display()),
        }
    }
}

impl Engine {
    /// The machine's own, with these images (`scripts/test-images.sh`). Others use it: no test may restart or fill it.
    pub async fn of_machine(images: &[&str]) -> Self {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        assert!(
            is_root,
            "engine and images are made as root: run scripts/test-hosts.sh and this test as root"
        );
        let mut command = Command::new(script("test-images.sh"));
        command.args(images);
        good(command).await;
        let socket = std::env::var_os("DOCKER_SOCKET").unwrap_or_else(|| "/var/run/docker.sock".into());
        Self { socket: socket.into(), alone: None }
    }

    /// One apart with the image of jobs, which a test may stop, kill and fill. With a size its disk is that small.
    pub async fn apart(size: Option<&str>) -> Self {
        let machine = Self::of_machine(&["busybox"]).await;
        let alone = Alone { dir: tempfile::Builder::new().prefix("engine").tempdir().expect("temp dir") };
        std::fs::create_dir(alone.data()).expect("made");
        if let Some(size) = size {
            let mut command = Command::new("mount");
            command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(alone.data());
            good(command).await;
        }
        let engine = Self { socket: alone.dir.path().join("docker.sock"), alone: Some(Arc::new(alone)) };
        engine.switch("start").await;
        let mut command = Command::new("sh");
        command.args(["-ec", "docker -H \"$1\" save \"$3\" | docker -H \"$2\" load", "copy"]);
        command.args([&machine.host(), &engine.host(), BUSYBOX]);
        good(command).await;
        engine
    }

    /// The same engine behind a socket that stays open while it is away, as systemd's `docker.socket` does: who comes then
    /// has to wait.
    pub fn behind_an_open_socket(&self) -> Self {
        let (engine, socket) = (self.socket.clone(), self.alone().dir.path().join("open.sock"));
        let door = UnixListener::bind(&socket).expect("a new name");
        tokio::spawn(async move {
            while let Ok((mut guest, _)) = door.accept().await {
                let engine = engine.clone();
                tokio::spawn(async move {
                    let mut server = loop {
                        match UnixStream::connect(&engine).await {
                            Ok(server) => break server,
                            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                        }
                    };
                    // An end of either side is the end.
                    let _ = tokio::io::copy_bidirectional(&mut guest, &mut server).await;
                });
            }
        });
        Self { socket, alone: self.alone.clone() }
    }

    pub fn is_of_machine(&self) -> bool {
        self.alone.is_none()
    }

    fn alone(&self) -> &Alone {
        self.alone.as_deref().expect("the machine's engine is not ours to stop or fill")
    }

    /// `start`, `stop` or `restart`.
    pub async fn switch(&self, what: &str) {
        good(self.alone().command(what)).await;
    }

    /// As if it had run out of memory; it is started again.
    pub async fn kill_9(&self) {
        let text = std::fs::read_to_string(self.alone().state().join("pid")).expect("it was started");
        let id: i32 = text.trim().parse().expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGKILL)
            .expect("it lives");
        super::until("the engine ends", || {
            std::fs::read_to_string(format!("/proc/{id}/status"))
                .map_or(true, |status| status.contains("State:\tZ"))
        })
        .await;
        self.switch("start").await;
    }

    /// Fills its disk to the last byte; [`Engine::empty`] takes it back.
    pub fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.alone().data().join("filler")).expect("made");
        let mut size = 1 << 20;
        while size > 0 {
            let chunk = vec![1; size];
            while file.write_all(&chunk).is_ok() {}
            size /= 16;
        }
    }

    pub fn empty(&self) {
        std::fs::remove_file(self.alone().data().join("filler")).expect("it was filled");
    }

    /// `host` of the configuration.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The command line.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host()).args(arguments);
        command
    }

    /// Asks the engine something that it must be able to answer.
    pub async fn docker(&self, arguments: &[&str]) -> String {
        good(self.command(arguments)).await
    }

    /// Makes an image of what a shell script puts into the folder `$1`.
    pub async fn make_image(&self, name: &str, fill: &str, changes: &[&str]) {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut command = Command::new("sh");
        command.args(["-ec", fill, "fill"]).arg(dir.path());
        good(command).await;
        let mut command = Command::new("sh");
        command.env("DOCKER_HOST", self.host());
        command.args([
            "-ec",
            "dir=$1; name=$2; shift 2; tar -C \"$dir\" -c . | docker import \"$@\" - \"$name\"",
        ]);
        command.arg("import").arg(dir.path()).arg(name);
        command.args(changes.iter().flat_map(|change| ["--change", change]));
        good(command).await;
    }
}

/// Server, home, project and engine.
pub struct DockerRig {
    pub server: FakeGitLab,
    pub home: TempHome,
    pub project: usize,
    pub engine: Engine,
    repo: Repo,
}

impl DockerRig {
    /// `section` is added to `[runners.docker]`.
    pub async fn new(engine: Engine, options: Options, concurrent: u32, section: &str) -> Self {
        let server = FakeGitLab::start_with(options).await.expect("a fake GitLab");
        let repo = Repo::with_files(&[("README.md", "# Kestrel\n"), ("src/main.c", "int main;\n")]);
        let project = server.add_project("birds/kestrel", &repo);
        let home = TempHome::new();
        home.write_config(&format!(
            "concurrent = {concurrent}\ncheck_interval = 1\nshutdown_timeout = 60\n\n[[runners]]\nname = 'test'\n\
             url = '{}'\nid = 3\ntoken = '{}'\nexecutor = 'docker'\n[runners.docker]\nhost = '{}'\nimage = \
             '{BUSYBOX}'\npull_policy = 'if-not-present'\n{section}\n",
            server.url(),
            server.runner_token(),
            engine.host()
        ));
        Self { server, home, project, engine, repo }
    }

    pub fn start(&self) -> RunnerProcess {
        RunnerProcess::start(harrier(), &self.home)
    }

    /// A further project with the same files.
    pub fn add_project(&self, path: &str) -> usize {
        self.server.add_project(path, &self.repo)
    }

    /// A job with sources.
    pub fn job(&self, lines: &[&str]) -> JobSpec {
        JobSpec::in_project(self.project, lines)
    }

    /// The same in an image of its own.
    pub fn job_in(&self, image: &str, entrypoint: Option<&[&str]>, lines: &[&str]) -> JobSpec {
        let mut spec = self.job(lines);
        spec.extra.insert("image".into(), json!({ "name": image, "entrypoint": entrypoint }));
        spec
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

    /// The name of the runner's state directory in labels.
    pub fn owner(&self) -> String {
        let path = self.home.path().join(".harrier/owner");
        std::fs::read_to_string(path).map_or_else(|_| "nobody".to_owned(), |name| name.trim().to_owned())
    }

    /// What `docker LIST…` finds of ours.
    async fn owned(&self, list: &[&str]) -> Vec<String> {
        let filter = format!("label=dev.harrier.owner={}", self.owner());
        let printed = self.engine.docker(&[list, &["--quiet", "--filter", &filter]].concat()).await;
        printed.lines().map(str::to_owned).collect()
    }

    /// Containers, networks, and volumes that are no caches; without helpers that wait for a next job.
    pub async fn left(&self) -> Vec<String> {
        let mut left = self.owned(&["ps", "--all"]).await;
        let waiting = self.helpers().await;
        left.retain(|id| !waiting.contains(id));
        left.extend(self.owned(&["network", "ls"]).await);
        left.extend(self.owned(&["volume", "ls", "--filter", "label=dev.harrier.job"]).await);
        left
    }

    /// Helpers that may serve several jobs.
    pub async fn helpers(&self) -> Vec<String> {
        self.owned(&["ps", "--all", "--filter", "label=dev.harrier.warm"]).await
    }

    /// Waits until all is cleared away: a job is reported before.
    pub async fn nothing_is_left(&self, context: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let left = self.left().await;
            if left.is_empty() {
                break;
            }
            let late = tokio::time::Instant::now() >= deadline;
            assert!(!late, "{context}: {left:?} are left\nthe runner's log:\n{}", self.runner_log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// When helpers have waited long enough they go too; then this removes the caches, for nobody else does.
    pub async fn remove_caches(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.helpers().await.is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "helpers wait for ever: {}", self.runner_log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for cache in self.owned(&["volume", "ls"]).await {
            // The engine lists a container no more before it lets its volumes go.
            loop {
                let removed = output_of(self.engine.command(&["volume", "rm", "--force", &cache])).await;
                if removed.status.success() {
                    break;
                }
                let said = String::from_utf8_lossy(&removed.stderr);
                assert!(tokio::time::Instant::now() < deadline, "{cache}: {said}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// State, reason and exit code of a job, for one comparison.
pub fn verdict(job: &JobRecord) -> (JobState, Option<&str>, Option<i64>) {
    (job.state, job.failure_reason.as_deref(), job.exit_code)
}
