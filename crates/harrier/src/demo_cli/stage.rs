//! What the demo stands on: a temporary directory, commands that are shown before they run, processes that end with it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// What ends the story before its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or directory of the demo's own.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Of the operating system.
        source: std::io::Error,
    },
    /// A command that is not there or may not be run.
    #[error("`{command}` cannot be started: {source}")]
    Start {
        /// As shown.
        command: String,
        /// Of the operating system.
        source: std::io::Error,
    },
    /// A command that failed.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// As shown.
        command: String,
        /// The end of what it printed.
        said: String,
    },
    /// The coordinator did not do what it was asked to.
    #[error("the coordinator, at {doing}: {said}")]
    Server {
        /// Which request.
        doing: String,
        /// What came of it.
        said: String,
    },
    /// A job ended otherwise than the story has it.
    #[error("the job ended as {ended}, and {expected} was expected; its log is above")]
    Ended {
        /// The status it has.
        ended: String,
        /// The one it should have.
        expected: &'static str,
    },
    /// The demo has not cleaned up.
    #[error("the container {0} was left behind; `docker rm -f {0}` removes it")]
    Left(String),
}

/// The heading of a part of the story.
pub fn title(text: &str) {
    println!("\n== {text}\n");
}

/// A sentence of the story.
pub fn say(text: &str) {
    println!("{text}");
}

/// A directory and the processes that work in it.
pub struct Stage {
    home: PathBuf,
    /// This program, under the name it has in the how-to.
    gitlab_runner: PathBuf,
    harrier: PathBuf,
    running: Vec<(String, Child)>,
    /// Commands that undo what was made outside of the directory, in case the story ends before it does so itself.
    undo: Vec<Vec<String>>,
}

impl Stage {
    /// An empty directory that only its owner sees.
    pub fn new() -> Result<Self, DemoError> {
        let unique = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let home = std::env::temp_dir().join(format!("harrier-demo-{}-{unique}", std::process::id()));
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DemoError::Io { path, source }
        };
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().mode(0o700).create(&home).map_err(io(&home))?;
        let harrier = std::env::current_exe().map_err(io(Path::new("this program")))?;
        let gitlab_runner = home.join("gitlab-runner");
        std::os::unix::fs::symlink(&harrier, &gitlab_runner).map_err(io(&gitlab_runner))?;
        Ok(Self { home, gitlab_runner, harrier, running: Vec::new(), undo: Vec::new() })
    }

    /// Where the demo's files are.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// This program.
    pub fn harrier(&self) -> Command {
        self.command(&self.harrier)
    }

    /// Any program, in the demo's directory, with nothing of the user's configuration of git or of runners.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("CONFIG_FILE")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "Demo")
                .env(format!("GIT_{who}_EMAIL"), "demo@example.invalid");
        }
        command
    }

    /// Shows a command, runs it to its end and returns what it printed on standard output.
    pub async fn show(&self, shown: &str, command: Command) -> Result<String, DemoError> {
        println!("$ {shown}");
        self.quiet(shown, command).await
    }

    /// The same without showing it.
    pub async fn quiet(&self, shown: &str, mut command: Command) -> Result<String, DemoError> {
        let output = command
            .output()
            .await
            .map_err(|source| DemoError::Start { command: shown.to_owned(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(DemoError::Failed {
            command: shown.to_owned(),
            said: last_lines(&String::from_utf8_lossy(&said)),
        })
    }

    /// Starts a process that stays until the demo's end; what it prints goes to NAME.log in the directory.
    pub fn start(&mut self, name: &str, shown: &str, mut command: Command) -> Result<(), DemoError> {
        println!("$ {shown} &");
        let path = self.home.join(format!("{name}.log"));
        let log = std::fs::File::create(&path).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = log.map_err(|source| DemoError::Io { path, source })?;
        let started = command.stdout(out).stderr(err).spawn();
        let child = started.map_err(|source| DemoError::Start { command: shown.to_owned(), source })?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// The end of what a process has printed, if it has ended already.
    pub fn ended_early(&mut self, name: &str) -> Option<String> {
        let (_, child) = self.running.iter_mut().find(|(running, _)| running == name)?;
        child.try_wait().ok().flatten()?;
        let log = std::fs::read_to_string(self.home.join(format!("{name}.log"))).unwrap_or_default();
        Some(last_lines(&log))
    }

    /// Registers a runner with these flags and starts it.
    pub async fn runner(&mut self, flags: &[&str]) -> Result<(), DemoError> {
        let config = self.home.join("config.toml");
        let mut register = self.command(&self.gitlab_runner);
        register.args(["register", "--non-interactive"]).args(flags).env("CONFIG_FILE", &config);
        // One option a line, as one would write it.
        let shown = flags.join(" ").replace(" --", " \\\n      --");
        self.show(&format!("gitlab-runner register --non-interactive \\\n      {shown}"), register).await?;
        let mut run = self.command(&self.gitlab_runner);
        run.args(["run", "--working-directory"]).arg(&self.home).env("CONFIG_FILE", &config);
        self.start("runner", "gitlab-runner run", run)
    }

    /// What the runner labels its containers with.
    pub fn owner(&self) -> Result<String, DemoError> {
        let path = self.home.join(".harrier/owner");
        let text = std::fs::read_to_string(&path).map_err(|source| DemoError::Io { path, source })?;
        Ok(text.trim().to_owned())
    }

    /// Ends the runner, which clears away what its jobs used; with containers, its caches too.
    pub async fn end_runner(&mut self, containers: bool) -> Result<(), DemoError> {
        self.end("runner").await;
        if containers {
            let mut gc = self.command(&self.gitlab_runner);
            gc.args(["gc", "--budget", "0"]).env("CONFIG_FILE", self.home.join("config.toml"));
            self.show("gitlab-runner gc --budget 0", gc).await?;
        }
        Ok(())
    }

    /// Undoes with a command what was made outside of the directory, should the story end early.
    pub fn at_the_end(&mut self, command: &[&str]) {
        self.undo.push(command.iter().map(|word| (*word).to_owned()).collect());
    }

    /// What `at_the_end` was told has been done.
    pub fn undone(&mut self) {
        self.undo.clear();
    }

    async fn end(&mut self, name: &str) {
        let Some(at) = self.running.iter().position(|(running, _)| running == name) else { return };
        let (_, mut child) = self.running.remove(at);
        if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
        }
        if tokio::time::timeout(Duration::from_secs(60), child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    /// Ends every process, undoes the rest and removes the directory.
    pub async fn clear(mut self) -> Result<(), DemoError> {
        while let Some((name, _)) = self.running.last() {
            let name = name.clone();
            self.end(&name).await;
        }
        for words in std::mem::take(&mut self.undo) {
            if let Some((program, args)) = words.split_first() {
                let mut command = self.command(program);
                command.args(args);
                // What is gone already need not go again.
                let _ = self.quiet(&words.join(" "), command).await;
            }
        }
        std::fs::remove_dir_all(&self.home)
            .map_err(|source| DemoError::Io { path: self.home.clone(), source })
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
}
