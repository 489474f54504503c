//! The runner as a service of systemd: what `install` writes and asks for, and what a stop of that unit does to a job. systemd
//! is asked through `systemctl` on PATH; here that is a script which keeps what it was asked.

mod rig;

use harrier_testkit::{JobState, Options};
use nix::sys::signal::Signal;
use rig::Rig;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A machine with, or without, systemd.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["bin", "units", "home", "work"] {
            std::fs::create_dir(dir.path().join(name)).expect("made");
        }
        Self { dir }
    }

    /// `systemctl` that writes down its arguments; `script` says how it answers.
    fn with_systemd(script: &str) -> Self {
        let machine = Self::new();
        let path = machine.path("bin/systemctl");
        let text = format!("#!/bin/sh\necho \"$*\" >>{}\n{script}\n", machine.path("asked").display());
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(rig::harrier());
        command.env_clear().env("HOME", self.path("home")).env("PATH", self.path("bin"));
        command.env("SYSTEMD_UNIT_PATH", self.path("units")).current_dir(self.path("work"));
        command.arg("runner").args(args).output().expect("the binary starts")
    }

    fn good(&self, args: &[&str]) -> Output {
        let ran = self.run(args);
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        ran
    }

    fn refused(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.status.code(), Some(1), "{args:?}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    }

    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("asked")).unwrap_or_default();
        std::fs::write(self.path("asked"), "").expect("ours");
        text.lines().map(str::to_owned).collect()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

/// The flags that make `install` right for whoever runs this test.
fn of_mine() -> (&'static [&'static str], &'static str, &'static str) {
    if nix::unistd::geteuid().is_root() {
        (&["--user", "builder"], "units", "")
    } else {
        (&["--user-service"], "home/.config/systemd/user", "--user ")
    }
}

#[test]
fn install_start_stop_and_uninstall() {
    let machine = Machine::with_systemd("[ \"$1\" != is-active ] || echo active");
    let (flags, units, user) = of_mine();
    let scope: &[&str] = if user.is_empty() { &[] } else { &["--user-service"] };
    let config = machine.path("etc/config.toml");
    let config = config.to_str().expect("plain");
    machine.good(&[&["install", "--service", "birds", "--config", config][..], flags].concat());
    let unit = std::fs::read_to_string(machine.path(units).join("birds.service")).expect("the unit");
    let work = machine.path("work");
    let runs = format!(
        "ExecStart={} runner run --config {config} --working-directory {} --service birds{}\n",
        rig::harrier().display(),
        work.display(),
        if user.is_empty() { " --user builder" } else { "" }
    );
    for line in [
        &runs,
        "KillMode=process\n",
        "KillSignal=SIGUSR1\n",
        "Restart=on-failure\n",
        "After=network.target\n",
    ] {
        assert!(unit.contains(line), "{line}\n{unit}");
    }
    let asked = |what: &[&str]| what.iter().map(|verb| format!("{user}{verb}")).collect::<Vec<_>>();
    assert_eq!(machine.asked(), asked(&["--version", "daemon-reload", "enable birds.service"]));
    // Nobody else reads tokens.
    assert_eq!((mode(&machine.path("etc")), mode(Path::new(config))), (0o700, 0o600));

    let again =
        machine.refused(&[&["install", "--service", "birds", "--config", config][..], flags].concat());
    assert!(again.contains("is there already") && again.contains("uninstall --service birds"), "{again}");

    let of = |verb| [&[verb, "--service", "birds"][..], scope].concat();
    for verb in ["start", "restart", "stop"] {
        machine.good(&of(verb));
        assert_eq!(machine.asked(), asked(&[&format!("{verb} birds.service")]));
    }
    let told = machine.good(&of("status"));
    assert_eq!(String::from_utf8_lossy(&told.stdout), "birds: Service is running\n");
    machine.asked();
    machine.good(&of("uninstall"));
    assert_eq!(machine.asked(), asked(&["disable --now birds.service", "daemon-reload"]));
    assert!(!machine.path(units).join("birds.service").exists());
    assert!(Path::new(config).exists(), "the configuration stays");
}

#[test]
fn a_service_that_does_not_run_or_is_not_there() {
    let (flags, _, user) = of_mine();
    let scope: &[&str] = if user.is_empty() { &[] } else { &["--user-service"] };
    let machine =
        Machine::with_systemd("case \"$*\" in *is-active*) echo failed; exit 3;; *cat*) exit 1;; esac");
    let status = [&["status"][..], scope].concat();
    let none = machine.refused(&status);
    assert!(none.contains("is not installed") && none.contains("gitlab-runner install"), "{none}");
    let config = machine.path("config.toml");
    machine.good(&[&["install", "--config", config.to_str().expect("plain")][..], flags].concat());
    let told = machine.refused(&status);
    assert!(told.contains("gitlab-runner: Service is not running (failed)"), "{told}");
}

#[test]
fn without_systemd_it_says_what_to_do() {
    let machine = Machine::new();
    let (flags, units, _) = of_mine();
    let said = machine.refused(&[&["install"][..], flags].concat());
    assert!(said.contains("systemctl is not on PATH") && said.contains("gitlab-runner run"), "{said}");
    assert!(!machine.path(units).join("gitlab-runner.service").exists(), "nothing was begun");
}

#[test]
fn what_install_is_not_told_it_asks_for() {
    let machine = Machine::with_systemd("");
    let refusals: &[(&[&str], &str)] = if nix::unistd::geteuid().is_root() {
        &[
            (&["install"], "--user NAME"),
            (&["install", "--user", "a", "--init-user", "b"], "exclude each other"),
            (&["install", "--init-user", "nobody-of-that-name"], "useradd"),
            (&["install", "--user-service"], "--user-service is for users"),
            (&["install", "--user", "a", "--service", "../a"], "letters, digits"),
        ]
    } else {
        &[(&["install"], "sudo"), (&["install", "--user-service", "--user", "a"], "runs as you")]
    };
    for (args, words) in refusals {
        let said = machine.refused(args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    assert_eq!(machine.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_the_unit_leaves_the_job_to_the_next_start() {
    let options = Options { runner_restarts: true, ..Options::default() };
    let rig = Rig::with(options, 2).await;
    let gate = rig.home.path().join("gate");
    let wait = format!("while ! [ -e {} ]; do sleep 0.05; done", gate.display());
    let mark = format!("echo ran >>{}", rig.marks().display());
    let id = rig.server.add_job(rig.job(&[&mark, "echo begins", &wait, "echo is done"]));
    let mut runner = rig.start();
    rig.server.wait_log(id, "begins", rig::PATIENCE).await.expect("it runs");
    // As KillSignal= of the unit says.
    runner.signal(Signal::SIGUSR1);
    let left = runner.wait(rig::PATIENCE).await.and_then(|status| status.code());
    assert_eq!(left, Some(0), "{}", rig.runner_log());
    assert!(rig.runner_log().contains("jobs go on without this process"), "{}", rig.runner_log());
    std::fs::write(&gate, "").expect("ours");
    let mut runner = rig.start();
    let job = rig.end_of(id).await;
    assert_eq!(job.state, JobState::Success, "{}", job.log_text());
    assert!(job.job_output().contains("is done\n"), "{}", job.log_text());
    assert_eq!(rig.marked(), ["ran"], "its script ran once");
    runner.signal(Signal::SIGQUIT);
    runner.wait(rig::PATIENCE).await.expect("it ends");
    rig.server.assert_no_slips();
}
