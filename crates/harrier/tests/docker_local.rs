//! `harrier run` with jobs in containers: the real binary, a real engine and a private registry, those of
//! `scripts/test-images.sh`.

use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Makes the images.
fn images(names: &[&str]) {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    assert!(
        is_root,
        "engine, registry and images are made as root; run scripts/test-hosts.sh and this test as root"
    );
    command(&root().join("scripts/test-images.sh"), names);
}

/// Runs a command to its end; what it printed.
fn command(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("it can be started");
    assert!(
        output.status.success(),
        "{} {args:?}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn docker(args: &[&str]) -> String {
    command(Path::new("docker"), args)
}

/// A throw-away repository, and a home without anything of this machine's user.
struct Tree {
    dir: tempfile::TempDir,
    home: tempfile::TempDir,
}

impl Tree {
    fn new(configuration: &str) -> Self {
        let new = || tempfile::tempdir().expect("a temporary directory");
        let tree = Self { dir: new(), home: new() };
        tree.git(&["init", "-q", "-b", "main"]);
        tree.write(".gitlab-ci.yml", configuration);
        tree.commit();
        tree
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("a file");
    }

    fn git(&self, args: &[&str]) {
        let dir = self.dir.path().display().to_string();
        let mut all = vec!["-C", dir.as_str(), "-c", "user.name=Ann", "-c", "user.email=ann@example.com"];
        all.extend(args);
        command(Path::new("git"), &all);
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "files"]);
    }

    fn harrier(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harrier"));
        command.current_dir(self.dir.path()).args(args).stdin(Stdio::null());
        command.env("HOME", self.home.path());
        for name in ["DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "DOCKER_HOST", "DOCKER_CONTEXT"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        let mut all = vec!["run", "--json"];
        all.extend(args);
        Run::of(self.harrier(&all).output().expect("harrier runs"))
    }

    /// Starts a run, gives it once a line of a log contains `text`.
    fn start(&self, args: &[&str], text: &str) -> (Child, BufReader<ChildStdout>) {
        let mut all = vec!["run", "--json"];
        all.extend(args);
        let mut child = self.harrier(&all).stdout(Stdio::piped()).spawn().expect("harrier runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        wait_for(&mut out, text);
        (child, out)
    }

    fn owner(&self) -> String {
        std::fs::read_to_string(self.dir.path().join(".harrier/state/owner"))
            .expect("a job was in a container")
    }

    /// What is in the engine with the name of this repository's state, caches apart.
    fn left(&self) -> String {
        let owner = format!("label=dev.harrier.owner={}", self.owner());
        let cache = "label=com.gitlab.gitlab-runner.reusable=true";
        let all = docker(&["volume", "ls", "-q", "--filter", &owner]);
        let caches = docker(&["volume", "ls", "-q", "--filter", &owner, "--filter", cache]);
        docker(&["ps", "-aq", "--filter", &owner])
            + &docker(&["network", "ls", "-q", "--filter", &owner])
            + &all.lines().filter(|name| !caches.lines().any(|cache| cache == *name)).collect::<String>()
    }

    /// Removes all that is left, which must work whatever the jobs did.
    fn clean(&self) {
        let owner = format!("label=dev.harrier.owner={}", self.owner());
        let output = self.harrier(&["run", "--clean"]).output().expect("harrier runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(docker(&["volume", "ls", "-q", "--filter", &owner]), "");
        assert_eq!(docker(&["ps", "-aq", "--filter", &owner]), "");
        assert!(!self.dir.path().join(".harrier").exists());
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test has failed already; its caches must not stay.
            let _ = self.harrier(&["run", "--clean"]).output();
        }
    }
}

fn wait_for(out: &mut impl BufRead, text: &str) {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).expect("readable") > 0, "{text:?} never came: {seen}");
        let event: Value = serde_json::from_str(&line).expect("a JSON line");
        if event["text"].as_str().is_some_and(|said| said.contains(text) && !said.starts_with('$')) {
            return;
        }
        seen.push_str(&line);
    }
}

struct Run {
    code: Option<i32>,
    events: Vec<Value>,
    errors: String,
}

impl Run {
    fn of(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Self {
            code: output.status.code(),
            events: text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// All that was said, the jobs' logs in one.
    fn text(&self) -> String {
        let said = self.events.iter().filter_map(|event| event["text"].as_str());
        format!("{}\n{}", said.collect::<Vec<_>>().join("\n"), self.errors)
    }

    /// Whether a line is this and nothing more.
    fn says(&self, line: &str) -> bool {
        self.events.iter().any(|event| event["text"] == line)
    }

    fn assert_has(&self, parts: &[&str]) {
        let text = self.text();
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}

#[test]
fn containers_and_shells_in_one_pipeline() {
    images(&["busybox", "debian-git"]);
    let tree = Tree::new(
        "stages: [make, look, end]\n\
         make:\n  stage: make\n  image: harrier-test/debian-git\n  variables: {SAYS: {value: 'in a file'}}\n\
         \x20 services: [{name: harrier-test/busybox, alias: web, variables: {HEALTHCHECK_TCP_PORT: '80'}, command: [sh, -c, 'mkdir /w; echo served >/w/x; httpd -f -h /w']}]\n\
         \x20 cache: {key: k, paths: [deps/]}\n\
         \x20 script: ['git log --oneline -1', '(exec 3<>/dev/tcp/web/80; printf \"GET /x HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3)',\n\
         \x20   '[ ! -e deps/one ] || echo it was cached', 'mkdir -p deps out', 'echo d >deps/one', 'echo art >out/a; chmod 0700 out', 'echo WORD=told >d.env']\n\
         \x20 artifacts: {paths: [out/], reports: {dotenv: d.env}}\n\
         look:\n  stage: look\n  cache: {key: k, paths: [deps/], policy: pull}\n\
         \x20 script: ['cat out/a deps/one', 'echo $WORD to a shell', 'echo more >out/b']\n  artifacts: {paths: [out/]}\n\
         end:\n  stage: end\n  image: harrier-test/busybox\n  needs: [make, look]\n  script: ['cat out/a out/b', 'echo $WORD to a container', 'cat new.txt']\n",
    );
    tree.write("new.txt", "not in a commit\n");
    let first = tree.run(&[]);
    assert_eq!(first.code, Some(0), "{}", first.text());
    first.assert_has(&[
        "served",
        "files",
        "told to a shell",
        "told to a container",
        "not in a commit",
        "more",
    ]);
    assert!(!first.says("it was cached"), "{}", first.text());
    assert_eq!(tree.left(), "");
    let second = tree.run(&[]);
    assert_eq!(second.code, Some(0), "{}", second.text());
    assert!(second.says("it was cached"), "{}", second.text());
    assert_eq!(tree.left(), "");
    // One job alone takes its artifacts from the latest run.
    let alone = tree.run(&["end"]);
    assert_eq!(alone.code, Some(0), "{}", alone.text());
    let shell = tree.run(&["--executor", "shell", "end"]);
    shell.assert_has(&["Using Shell"]);
    tree.clean();
}

#[test]
fn without_an_engine() {
    let tree =
        Tree::new("a:\n  image: no.such/image\n  script: ['echo still here']\nb: {script: ['true']}\n");
    let silent = |args: &[&str]| {
        let mut all = vec!["run", "--json"];
        all.extend(args);
        let mut command = tree.harrier(&all);
        Run::of(command.env("DOCKER_HOST", "unix:///no/such.sock").output().expect("harrier runs"))
    };
    let warned = silent(&[]);
    assert_eq!(warned.code, Some(0), "{}", warned.text());
    warned.assert_has(&[
        "run in the shell of this machine: a.",
        "/no/such.sock",
        "--executor docker",
        "still here",
    ]);
    let meant = silent(&["--executor", "shell"]);
    assert!(!meant.text().contains("no/such.sock"), "{}", meant.text());
    let refused = silent(&["--executor", "docker"]);
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    refused.assert_has(&["no image for b", "--image"]);
    let refused = silent(&["--executor", "docker", "--image", "busybox"]);
    assert_eq!(refused.code, Some(4), "{}", refused.text());
    refused.assert_has(&["no Docker Engine answers at unix:///no/such.sock", "DOCKER_HOST"]);
}

#[test]
fn a_default_image_for_all() {
    images(&["busybox"]);
    let tree = Tree::new("a: {script: ['cat /proc/1/comm; busybox | grep BusyBox']}\n");
    let run = tree.run(&["--executor", "docker", "--image", "harrier-test/busybox"]);
    assert_eq!(run.code, Some(0), "{}", run.text());
    run.assert_has(&["Using Docker executor", "BusyBox v"]);
    tree.clean();
}

#[test]
fn gc_tells_what_would_go() {
    images(&["busybox"]);
    let tree = Tree::new("a:\n  image: harrier-test/busybox\n  script: ['echo some bytes >made']\n");
    assert_eq!(tree.run(&[]).code, Some(0));
    tree.write("config.toml", "[[runners]]\nname = 'r'\nurl = 'https://ci.test'\ntoken = 't'\nexecutor = 'docker'\n[runners.docker]\nimage = 'x'\n");
    let gc = |more: &[&str]| {
        let mut command = tree.harrier(&["runner", "gc", "--config", "config.toml", "--dry-run"]);
        let output = command
            .args(more)
            .env("HARRIER_STATE_DIR", tree.dir.path().join(".harrier/state"))
            .output()
            .expect("harrier runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, out, err) = gc(&["--budget", "0"]);
    assert_eq!(code, Some(0), "{err}");
    let volume =
        docker(&["volume", "ls", "-q", "--filter", &format!("label=dev.harrier.owner={}", tree.owner())]);
    assert!(out.contains(&format!("would remove volume {}", volume.trim())), "{out}{err}");
    assert!(out.contains("would remove helper image sha256:") && out.contains(" after that"), "{out}");
    let (code, out, err) = gc(&["--budget", "500g"]);
    assert!(code == Some(0) && !out.contains("would remove"), "{out}{err}");
    let (code, _, err) = gc(&["--budget", "much"]);
    assert!(code == Some(1) && err.contains("is no size"), "{err}");
    tree.clean();
}

#[test]
fn interrupts() {
    images(&["busybox"]);
    let tree = Tree::new(
        "a:\n  image: harrier-test/busybox\n  script: ['echo begun', 'sleep 600']\n  after_script: ['echo after it']\n",
    );
    let interrupt = |child: &Child| command(Path::new("kill"), &["-INT", &child.id().to_string()]);
    let (mut child, mut out) = tree.start(&[], "begun");
    interrupt(&child);
    wait_for(&mut out, "after it");
    std::io::copy(&mut out, &mut std::io::sink()).expect("read to the end");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert_eq!(tree.left(), "");
    let (mut child, mut out) = tree.start(&[], "begun");
    interrupt(&child);
    interrupt(&child);
    std::io::copy(&mut out, &mut std::io::sink()).expect("read to the end");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert_eq!(tree.left(), "");
    // What a killed run leaves, the next one removes.
    let (mut child, _out) = tree.start(&[], "begun");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_ne!(tree.left(), "");
    tree.write(".gitlab-ci.yml", "a: {script: ['true']}\n");
    assert_eq!(tree.run(&[]).code, Some(0));
    assert_eq!(tree.left(), "");
    tree.clean();
}

#[test]
fn the_how_tos_first_job_with_a_private_image() {
    images(&["node"]);
    let environment = command(&root().join("scripts/registry.sh"), &["env"]);
    let values: HashMap<&str, &str> = environment.lines().filter_map(|line| line.split_once('=')).collect();
    let registry = values["HARRIER_REGISTRY"];
    let login = values["DOCKER_AUTH_CONFIG"].replace('\\', "");
    let password = values["HARRIER_REGISTRY_PASSWORD"];
    let image = format!("NODE_IMAGE={registry}/harrier-test/node");
    let tree = Tree::new("install:\n  image: $NODE_IMAGE\n  script: [pwd, npm install, npm test]\n");
    let example = root().join("examples/node-app/.");
    command(Path::new("cp"), &["-R", &example.display().to_string(), &tree.dir.path().display().to_string()]);
    tree.write(".gitignore", "node_modules\n");
    tree.commit();
    // A present image would do without a log-in: it is the user's own engine.
    let args = ["--variable", &image, "--pull-policy", "always"];

    let refused = tree.run(&args);
    assert_eq!(refused.code, Some(1), "{}", refused.text());
    let name = format!("{registry}/harrier-test/node");
    let parts = [
        name.as_str(),
        "from the registry",
        "credentials looked at:",
        "no basic auth credentials",
        "what to do:",
        "docker login",
        "DOCKER_AUTH_CONFIG",
    ];
    refused.assert_has(&parts);
    assert_eq!(tree.left(), "");

    // The user has logged in.
    let config = tree.home.path().join(".docker");
    std::fs::create_dir_all(&config).expect("made");
    std::fs::write(config.join("config.json"), &login).expect("written");
    let passed = tree.run(&args);
    assert_eq!(passed.code, Some(0), "{}", passed.text());
    passed.assert_has(&["/builds/", "added 2 packages", "# pass 2", "config.json"]);
    assert!(!passed.text().contains(password));

    // Or the variable has it.
    std::fs::remove_dir_all(&config).expect("removed");
    let mut all = vec!["run", "--json", "--secret", "DOCKER_AUTH_CONFIG"];
    all.extend(args);
    let passed =
        Run::of(tree.harrier(&all).env("DOCKER_AUTH_CONFIG", &login).output().expect("harrier runs"));
    assert_eq!(passed.code, Some(0), "{}", passed.text());
    passed.assert_has(&["credentials from the variable DOCKER_AUTH_CONFIG"]);
    assert!(!passed.text().contains(password));
    assert_eq!(tree.left(), "");
    tree.clean();
}

#[test]
fn a_kept_job_can_be_visited_and_goes_in_time() {
    images(&["busybox"]);
    let tree = Tree::new(
        "boxed:\n  image: harrier-test/busybox\n  variables: {COLOUR: 'red and blue'}\n\
         \x20 services: [{name: harrier-test/busybox, alias: web, variables: {HEALTHCHECK_TCP_PORT: '80'}, command: [sh, -c, 'mkdir /w; echo served >/w/x; httpd -f -h /w']}]\n\
         \x20 script: ['echo traces >made; echo deep >/in-the-container; exit 3']\n\
         plain:\n  script: ['echo more traces >made; exit 4']\n\
         good:\n  needs: []\n  script: ['true']\n",
    );
    std::fs::write(tree.home.path().join("v.yml"), "SEEN_IN_A_FILE: {value: 'filed', file: true}\n")
        .expect("written");
    let file = tree.home.path().join("v.yml").display().to_string();
    let run = tree.run(&["--keep", "--variables-file", &file]);
    assert_eq!(run.code, Some(1), "{}", run.text());
    run.assert_has(&[
        "boxed: its place is kept for 1h0m0s: `harrier shell boxed`",
        "plain: its place is kept",
    ]);
    assert!(!run.text().contains("good: its place"));

    let visit = |job: &str, typed: &str| {
        let input = tree.home.path().join("typed");
        std::fs::write(&input, typed).expect("written");
        let mut command = tree.harrier(&["shell", job]);
        let output =
            command.stdin(std::fs::File::open(&input).expect("there")).output().expect("harrier runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let typed = "pwd; cat made /in-the-container; echo \"$CI_JOB_NAME, $COLOUR, $(cat $SEEN_IN_A_FILE)\"; wget -qO- http://web/x; \
                 echo aside >&2; exit 7\n";
    let (code, out, err) = visit("boxed", typed);
    assert_eq!(code, Some(7), "{out}{err}");
    assert!(out.starts_with("/builds/local/"), "{out}");
    assert!(out.ends_with("traces\ndeep\nboxed, red and blue, filed\nserved\n"), "{out}");
    assert_eq!(err, "aside\n");
    let (code, out, err) = visit("plain", "cat made; echo \"$CI_JOB_NAME $(cat $SEEN_IN_A_FILE)\"; exit 8\n");
    assert_eq!((code, out.as_str()), (Some(8), "more traces\nplain filed\n"), "{err}");
    let (code, _, err) = visit("good", "");
    assert_eq!(code, Some(2));
    assert!(err.contains("not kept; kept are: boxed, plain"), "{err}");

    // On a terminal, which `script` makes.
    let mut on_terminal = Command::new("script");
    let line = format!("{} shell boxed", env!("CARGO_BIN_EXE_harrier"));
    std::fs::write(tree.home.path().join("typed"), "tty; exit 9\r").expect("written");
    let input = std::fs::File::open(tree.home.path().join("typed")).expect("there");
    on_terminal.args(["-qec", &line, "/dev/null"]).current_dir(tree.dir.path()).stdin(input);
    let output = on_terminal.output().expect("script runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(9), "{text}");
    assert!(text.contains("/dev/pts/"), "{text}");

    // Other runs leave it alone and do not work in its directories.
    let other = tree.run(&["plain", "good", "-j", "1"]);
    assert_eq!(other.code, Some(1), "{}", other.text());
    let (code, out, err) = visit("plain", "cat made\n");
    assert_eq!((code, out.as_str()), (Some(0), "more traces\n"), "{err}");
    let (code, ..) = visit("boxed", "exit 6\n");
    assert_eq!(code, Some(6));

    // Kept once more it takes the place of the first; then its time is over, and nobody runs anything.
    let owner = tree.owner();
    let again = tree.run(&["boxed", "--keep=1s"]);
    assert_eq!(again.code, Some(1), "{}", again.text());
    let label = format!("label=dev.harrier.owner={owner}");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !docker(&["ps", "-aq", "--filter", &label]).is_empty() {
        assert!(std::time::Instant::now() < end, "what was kept is still there");
        let _ = Command::new("sleep").arg("0.2").status();
    }
    tree.clean();
}

/// What root makes in a container must not be in the user's way.
#[test]
fn a_user_who_is_not_root() {
    images(&["debian-git"]);
    let tree = Tree::new(
        "make:\n  image: harrier-test/debian-git\n  cache: {key: k, paths: [deps/]}\n\
         \x20 script: ['git log --oneline -1; id -u', 'mkdir -p out deps', 'echo d >deps/d; echo a >out/a; chmod 0700 out deps']\n\
         \x20 artifacts: {paths: [out/]}\n\
         use:\n  needs: [make]\n  cache: {key: k, paths: [deps/]}\n  script: ['cat out/a deps/d; echo I am $(id -u)']\n",
    );
    const NOBODY: &str = "65534";
    let home = tree.home.path().display().to_string();
    let own = tree.home.path().join("harrier");
    std::fs::copy(env!("CARGO_BIN_EXE_harrier"), &own).expect("copied");
    let dir = tree.dir.path().display().to_string();
    command(Path::new("chown"), &["-R", &format!("{NOBODY}:{NOBODY}"), &home, &dir]);
    let group = std::fs::metadata("/var/run/docker.sock").expect("an engine's socket").gid().to_string();
    let run = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--groups", &group])
            .arg(&own)
            .arg("run")
            .args(args);
        command
            .current_dir(tree.dir.path())
            .env("HOME", &home)
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
        Run::of(command.output().expect("setpriv runs"))
    };
    for _ in 0..2 {
        let ran = run(&["--json"]);
        assert_eq!(ran.code, Some(0), "{}", ran.text());
        assert!(ran.says("0") && ran.says(&format!("I am {NOBODY}")), "{}", ran.text());
    }
    let strangers = command(Path::new("find"), &[&dir, "!", "-uid", NOBODY]);
    assert_eq!(strangers, "");
    let owner = format!("label=dev.harrier.owner={}", tree.owner());
    let output = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--groups", &group])
        .arg(&own)
        .args(["run", "--clean"])
        .current_dir(tree.dir.path())
        .env("HOME", &home)
        .output()
        .expect("setpriv runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!tree.dir.path().join(".harrier").exists());
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &owner]), "");
}
