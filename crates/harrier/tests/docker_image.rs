//! The image, made on the spot, as the how-to uses it: a coordinator and a runner out of it, the runner registered by the
//! how-to's command line, a job through the engine's socket, and a restart of the runner's container while that job runs; then
//! jobs of a private image, whose registry the engine reaches and the runner's container does not.
//!
//! The binary in it is the one under test, stripped; the size of the real image is held by `make image`.

mod rig;

use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const IMAGE: &str = "harrier-test/product";
const CONFIGURATION: &str = "wait:\n  script:\n    - echo begins $((6 * 7))\n    - while ! [ -e /tmp/go ]; do sleep 0.1; done\n    - cat README.md\n    \
                             - echo ends $((6 * 7))\n";

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

fn good(command: &mut Command) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn docker(args: &[&str]) -> String {
    good(Command::new("docker").args(args))
}

/// Asks again and again; panics with `what` when it is never told.
#[expect(clippy::disallowed_methods, reason = "a thread of its own that asks containers, which tell nobody")]
fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + rig::PATIENCE;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "never: {what}: {why}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the test makes in the engine, by names of its own; gone at its end.
struct World {
    name: String,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("image").tempdir().expect("a temporary directory");
        let name = format!("harrier-{}", dir.path().file_name().expect("a name").to_string_lossy());
        Self { name, dir }
    }

    fn container(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    fn logs(&self, what: &str) -> String {
        let output = run(Command::new("docker").args(["logs", &self.container(what)]));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// The name of the runner's state directory in labels.
    fn owner(&self) -> Option<String> {
        let name = std::fs::read_to_string(self.dir.path().join("config/.harrier/owner")).ok()?;
        Some(name.trim().to_owned())
    }

    fn of_runner(&self, list: &[&str], more: &[&str]) -> Vec<String> {
        let Some(owner) = self.owner() else { return Vec::new() };
        let filter = format!("label=dev.harrier.owner={owner}");
        let ids = docker(&[list, &["--quiet", "--filter", &filter], more].concat());
        ids.lines().map(str::to_owned).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever is not there was never made.
        let _ = Command::new("docker")
            .args(["rm", "--force", "--volumes", &self.container("runner"), &self.container("server")])
            .output();
        let left = self.of_runner(&["ps", "--all"], &[]);
        if !left.is_empty() {
            let _ = Command::new("docker").args(["rm", "--force", "--volumes"]).args(left).output();
        }
        let volumes = self.of_runner(&["volume", "ls"], &[]);
        if !volumes.is_empty() {
            let _ = Command::new("docker").args(["volume", "rm", "--force"]).args(volumes).output();
        }
    }
}

/// The coordinator's API, as root.
struct Api {
    url: String,
    token: String,
}

impl Api {
    fn get(&self, path: &str) -> Result<String, String> {
        let url = format!("{}/api/v4/projects/root%2Fbirds/{path}", self.url);
        let header = format!("PRIVATE-TOKEN: {}", self.token);
        let output = run(Command::new("curl").args(["-fsS", "-H", &header, &url]));
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn job(&self, name: &str) -> Result<Value, String> {
        let jobs: Value = serde_json::from_str(&self.get("jobs")?).map_err(|error| error.to_string())?;
        let found = jobs.as_array().into_iter().flatten().find(|job| job["name"] == name);
        found.cloned().ok_or_else(|| format!("no job {name}"))
    }

    fn log(&self, name: &str) -> Result<String, String> {
        let id = self.job(name)?["id"].as_i64().ok_or("a job without an id")?;
        self.get(&format!("jobs/{id}/trace"))
    }

    /// Waits for the end of a job; its log.
    fn ended(&self, name: &str, wanted: &str, world: &World) -> String {
        until(&format!("the job {name} ends"), || {
            let job = self.job(name)?;
            let status = job["status"].as_str().unwrap_or_default();
            let log = self.log(name)?;
            if status == wanted {
                return Ok(log);
            }
            assert!(!["success", "failed"].contains(&status), "{status}: {log}\n{}", world.logs("runner"));
            Err(format!("{status}\n{log}\n{}", world.logs("runner")))
        })
    }
}

/// An image of the test's own in the private registry on loopback, and on the engine by that name until the end.
struct PrivateImage {
    name: String,
    /// `{"auths": …}`
    login: String,
}

impl PrivateImage {
    fn new(world: &World) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/registry.sh");
        good(Command::new(&script).arg("start"));
        let environment = good(Command::new(&script).arg("env"));
        let value = |name: &str| {
            let values = environment.lines().filter_map(|line| line.split_once('='));
            let found = values.into_iter().find(|(found, _)| *found == name);
            found.unwrap_or_else(|| panic!("no {name}: {environment}")).1.replace('\\', "")
        };
        let (registry, login) = (value("HARRIER_REGISTRY"), value("DOCKER_AUTH_CONFIG"));
        let config = world.dir.path().join("docker");
        std::fs::create_dir(&config).expect("made");
        std::fs::write(config.join("config.json"), &login).expect("written");
        // A name in capitals is none.
        let image = Self { name: format!("{registry}/{}", world.name.to_lowercase()), login };
        docker(&["tag", rig::docker::BUSYBOX, &image.name]);
        docker(&["--config", &config.display().to_string(), "push", "--quiet", &image.name]);
        image
    }
}

impl Drop for PrivateImage {
    fn drop(&mut self) {
        // Without it there is nothing to remove.
        let _ = Command::new("docker").args(["rmi", &self.name]).output();
    }
}

fn image(dir: &Path) {
    let binary = dir.join("harrier");
    good(Command::new("strip").arg("-o").arg(&binary).arg(rig::harrier()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/image");
    good(Command::new(script).arg(binary).arg(IMAGE));
}

#[tokio::test]
async fn the_how_to_and_a_restart_in_the_middle_of_a_job() {
    rig::docker::Engine::of_machine(&["busybox"]).await;
    tokio::task::spawn_blocking(story).await.expect("nothing panics");
}

fn story() {
    let world = World::new();
    image(world.dir.path());
    let version = docker(&["run", "--rm", IMAGE, "--version"]);
    assert!(version.starts_with("Version:      "), "{version}");

    // A coordinator that containers reach on the engine's bridge.
    let route = docker(&["run", "--rm", rig::docker::BUSYBOX, "ip", "route", "show", "default"]);
    let bridge = route.split(' ').nth(2).unwrap_or_else(|| panic!("no gateway in {route:?}"));
    let free = TcpListener::bind((bridge, 0)).expect("a port on the engine's bridge");
    let at = free.local_addr().expect("an address").to_string();
    drop(free);
    let (server, runner) = (world.container("server"), world.container("runner"));
    let listen = format!("HARRIER_LISTEN={at}");
    docker(&["run", "-d", "--name", &server, "--network", "host", "--env", &listen, IMAGE, "serve"]);
    let admin = |args: &[&str]| {
        until("the server's own commands", || {
            let output = run(Command::new("docker").args(["exec", &server, "harrier", "admin"]).args(args));
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
            }
            Err(String::from_utf8_lossy(&output.stderr).into_owned() + &world.logs("server"))
        })
    };
    let token = admin(&["token", "--scope", "api,write_repository"]);
    let registration = admin(&["registration-token"]);
    let api = Api { url: format!("http://{at}"), token };

    // The how-to's two commands, but for names and addresses.
    let config = world.dir.path().join("config");
    std::fs::create_dir(&config).expect("made");
    let volume = format!("{}:/etc/gitlab-runner", config.display());
    let socket = "/var/run/docker.sock:/var/run/docker.sock";
    docker(&["run", "-d", "--name", &runner, "--restart", "always", "-v", socket, "-v", &volume, IMAGE]);
    let register = ["exec", &runner, "gitlab-runner", "register", "--non-interactive", "--url", &api.url];
    let flags =
        ["--registration-token", &registration, "--executor", "docker", "--description", "docker-runner"];
    let image = ["--docker-image", rig::docker::BUSYBOX, "--docker-volumes", "/cache"];
    docker(&[&register[..], &flags, &image, &["--docker-pull-policy", "if-not-present"]].concat());

    let repo = world.dir.path().join("repo");
    std::fs::create_dir(&repo).expect("made");
    std::fs::write(repo.join(".gitlab-ci.yml"), CONFIGURATION).expect("written");
    std::fs::write(repo.join("README.md"), "# Birds\n").expect("written");
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Test", "-c", "user.email=test@harrier.invalid"]).current_dir(&repo);
        good(command.args(args));
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "First"]);
    let address = format!("http://root:{}@{at}/root/birds.git", api.token);
    git(&["push", "--quiet", &address, "main"]);

    let logged = |what: &str| match api.log("wait") {
        Ok(log) if log.contains(what) => Ok(()),
        Ok(log) => Err(format!("{log}\n{}", world.logs("runner"))),
        Err(error) => Err(format!("{error}\n{}", world.logs("runner"))),
    };
    until("the job begins", || logged("begins 42"));
    docker(&["restart", &runner]);
    assert!(world.logs("runner").contains("jobs go on without this process"), "{}", world.logs("runner"));
    // It takes the job up, and what the job says from now on arrives.
    until("the runner is back", || {
        let log = world.logs("runner");
        if log.contains("taking up a job") { Ok(()) } else { Err(log) }
    });
    // The place where scripts run is the one with the gate.
    for id in world.of_runner(&["ps"], &["--filter", "label=dev.harrier.job"]) {
        let _ = Command::new("docker").args(["exec", &id, "touch", "/tmp/go"]).output();
    }
    let log = api.ended("wait", "success", &world);
    assert!(log.contains("# Birds\n") && log.contains("ends 42"), "{log}");
    assert_eq!(log.matches("begins 42\n").count(), 1, "the script ran once: {log}");

    // A private image that is on the engine: each job shows that it may use it.
    let private = PrivateImage::new(&world);
    let jobs = format!(
        "knows:\n  image: {0}\n  variables: {{DOCKER_AUTH_CONFIG: '{1}'}}\n  script: [echo it runs]\n\
         knows-not:\n  image: {0}\n  script: [echo it runs]\n",
        private.name, private.login
    );
    std::fs::write(repo.join(".gitlab-ci.yml"), jobs).expect("written");
    git(&["commit", "--quiet", "--all", "-m", "Second"]);
    git(&["push", "--quiet", &address, "main"]);
    let log = api.ended("knows", "success", &world);
    assert!(log.contains("Using locally found image version") && log.contains(" it runs\n"), "{log}");
    let log = api.ended("knows-not", "failed", &world);
    for said in ["has not shown that it may use it", "the engine was told:", "no basic auth credentials"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    drop(private);

    // The first process waits for all that nobody else waits for.
    let states = docker(&["exec", &runner, "ps", "-o", "pid,stat,comm"]);
    assert!(states.lines().skip(1).all(|line| !line.contains(" Z")), "{states}");
    assert!(states.contains("harrier") || states.contains("gitlab-runner"), "{states}");
    until("only caches and a waiting helper are left", || {
        let mut left = world.of_runner(&["ps", "--all"], &[]);
        let warm = world.of_runner(&["ps", "--all"], &["--filter", "label=dev.harrier.warm"]);
        left.retain(|id| !warm.contains(id));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    // `docker stop` is heard at once, by both.
    let begun = Instant::now();
    docker(&["stop", "--time", "60", &runner]);
    docker(&["stop", "--time", "60", &server]);
    assert!(begun.elapsed() < Duration::from_secs(50), "{}", world.logs("server"));
}

/// `packaging/compose.yaml` speaks of variables that the server knows, and of the image that `make image` makes.
#[test]
fn the_compose_file_says_what_the_server_understands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/compose.yaml");
    let text = std::fs::read_to_string(path).expect("it is there");
    let help = good(Command::new(rig::harrier()).args(["serve", "--help"]));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let set: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(name, _)| name.starts_with("HARRIER_"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(set, ["HARRIER_EXTERNAL_URL", "HARRIER_DATABASE"]);
    for name in set {
        assert!(help.contains(&format!("[env: {name}")), "{name}\n{help}");
    }
    assert_eq!(text.matches("image: harrier\n").count(), 2);
}
