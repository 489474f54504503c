//! The runner as a user has it: its own process with its own home, started, signalled, killed and started again.
//!
//! Called by end-to-end tests and the bench. It must never leave a process behind, not even one that left its
//! parent.

use crate::server::FakeGitLab;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A home directory for one runner: configuration, builds, cache, state. Whatever still runs with this home in its
/// environment or as its working directory is killed when it is dropped.
#[derive(Debug)]
pub struct TempHome {
    dir: TempDir,
}

impl TempHome {
    /// A new empty home.
    ///
    /// # Panics
    /// When no temporary directory can be made.
    #[track_caller]
    pub fn new() -> TempHome {
        TempHome { dir: TempDir::with_prefix("home").expect("a temporary directory can be made") }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `<home>/config.toml`
    pub fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    /// `<home>/builds`
    pub fn builds(&self) -> PathBuf {
        self.path().join("builds")
    }

    /// Writes the configuration.
    #[track_caller]
    pub fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).expect("the home is writable");
    }

    /// Ids of the processes that belong to this home.
    pub fn processes(&self) -> Vec<i32> {
        let mark = self.path().as_os_str().as_encoded_bytes();
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        ids.filter(|id| {
            let proc = PathBuf::from(format!("/proc/{id}"));
            let holds = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
            let in_environment = std::fs::read(proc.join("environ")).is_ok_and(|bytes| holds(&bytes));
            let here = std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.path()));
            *id != std::process::id().cast_signed() && (in_environment || here)
        })
        .collect()
    }
}

impl Default for TempHome {
    #[track_caller]
    fn default() -> TempHome {
        TempHome::new()
    }
}

impl Drop for TempHome {
    #[expect(
        clippy::disallowed_methods,
        reason = "the end of a process that is no child of ours makes no event"
    )]
    fn drop(&mut self) {
        // A killed parent may have started one more child just before; a few rounds find it.
        for _ in 0..10 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for id in left {
                // Gone in the meantime is what is wanted.
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A config.toml for the shell executor of `home`; `extra` lines go into the `[[runners]]` table.
pub fn config_toml(
    server: &FakeGitLab,
    token: &str,
    concurrent: u32,
    home: &TempHome,
    extra: &str,
) -> String {
    format!(
        "concurrent = {concurrent}\ncheck_interval = 1\nshutdown_timeout = 60\n\n[[runners]]\n  name = \"test\"\n  \
         url = \"{}\"\n  id = 3\n  token = \"{token}\"\n  executor = \"shell\"\n  shell = \"bash\"\n  \
         builds_dir = \"{}\"\n  cache_dir = \"{}\"\n{extra}\n",
        server.url(),
        home.builds().display(),
        home.path().join("cache").display(),
    )
}

/// A running `harrier runner run`.
#[derive(Debug)]
pub struct RunnerProcess {
    child: Child,
    log: PathBuf,
}

impl RunnerProcess {
    /// Starts `<binary> runner run --config <home>/config.toml`. Its stderr and stdout go to `<home>/runner.log`.
    ///
    /// # Panics
    /// When the binary cannot be started.
    #[track_caller]
    pub fn start(binary: &Path, home: &TempHome) -> RunnerProcess {
        let config = home.config();
        let arguments =
            ["runner", "run", "--config", config.to_str().expect("a temporary path is plain text")];
        RunnerProcess::start_with(binary, home, &arguments, &[])
    }

    /// Starts the binary with these arguments and additional environment, in an otherwise bare environment.
    ///
    /// # Panics
    /// When the binary cannot be started.
    #[track_caller]
    pub fn start_with(
        binary: &Path,
        home: &TempHome,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> RunnerProcess {
        let log = home.path().join("runner.log");
        let out = File::options().create(true).append(true).open(&log).expect("the home is writable");
        let err = out.try_clone().expect("a file handle can be doubled");
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let child = Command::new(binary)
            .args(arguments)
            .current_dir(home.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", home.path())
            .env("LANG", "C.UTF-8")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", binary.display()));
        RunnerProcess { child, log }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far, by all processes of this home.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal to this one process.
    pub fn signal(&self, signal: Signal) {
        // One that has ended already needs no signal; `wait` tells.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// SIGKILL to this one process, as a power cut for it alone; its jobs go on.
    pub fn kill_9(mut self) {
        self.signal(Signal::SIGKILL);
        // Reaped, so that its id is not mistaken for a living one.
        let _ = self.child.wait();
    }

    /// Waits for its end; `None` when it still runs after `patience`.
    pub async fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Waits until its log contains `text`.
    ///
    /// # Panics
    /// When it does not in time, with the log.
    #[track_caller]
    pub fn wait_log(&self, text: &str, patience: Duration) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + patience;
            while !self.log().contains(text) {
                assert!(
                    Instant::now() < deadline,
                    "{caller}: no {text:?} in the runner's log:\n{}",
                    self.log()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

impl Drop for RunnerProcess {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        // Already reaped is just as well.
        let _ = self.child.wait();
    }
}
