//! Starts git in the job's work tree. Called by the sources, by clearing and cleaning, and for untracked files. It must
//! never let git look for a repository above the project directory: that one would be somebody else's.

use crate::env::Environment;
use crate::failure::Failure;
use crate::log::Log;
use nix::poll::{PollFd, PollFlags, poll};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Time for a git that has nothing to fetch, in milliseconds.
const PATIENCE: u16 = 10_000;

/// git in one directory.
pub(crate) struct Git<'a> {
    env: &'a Environment,
    dir: &'a Path,
    ceiling: String,
}

impl<'a> Git<'a> {
    /// git with `dir` as its work tree.
    pub(crate) fn new(env: &'a Environment, dir: &'a Path) -> Self {
        let parent = dir.parent().unwrap_or(dir);
        let real = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
        Self { env, dir, ceiling: format!("{}:{}", parent.display(), real.display()) }
    }

    /// The command; arguments are added by the caller.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.env.command("git");
        command
            .current_dir(self.dir)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GCM_INTERACTIVE", "Never")
            .env("GIT_CEILING_DIRECTORIES", &self.ceiling);
        command
    }

    /// Runs git with its output in the log.
    pub(crate) fn run<S: AsRef<str>>(&self, log: &mut Log<'_>, args: &[S]) -> Result<(), Failure> {
        self.run_command(log, self.command().args(args.iter().map(AsRef::as_ref)))
    }

    /// Runs a command made by [`Self::command`].
    pub(crate) fn run_command(&self, log: &mut Log<'_>, command: &mut Command) -> Result<(), Failure> {
        match log.child(command, None) {
            Ok(0) => Ok(()),
            Ok(code) => Err(Failure::Child { program: "git".into(), code }),
            Err(source) => Err(Failure::Start { program: "git".into(), source }),
        }
    }

    /// Runs git in silence, with `input`; whether it went well. It is given [`PATIENCE`]: a credential helper of
    /// the machine may wait for somebody who is not there.
    pub(crate) fn quietly(&self, args: &[&str], input: &[u8]) -> bool {
        let child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return false };
        if let Some(mut to) = child.stdin.take() {
            let _ = to.write_all(input);
        }
        // What it prints is a line or two, which a pipe holds; the end of it tells that git has ended.
        if let Some(out) = child.stdout.take() {
            let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
            if poll(&mut fds, PATIENCE).is_ok_and(|ready| ready == 0) {
                let _ = child.kill();
            }
        }
        child.wait().is_ok_and(|status| status.success())
    }

    /// What git prints on its standard output; `None` if it fails. Its complaints are not shown.
    pub(crate) fn output(&self, args: &[&str]) -> Result<Option<Vec<u8>>, Failure> {
        let output = self
            .command()
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|source| Failure::Start { program: "git".into(), source })?;
        Ok(output.status.success().then_some(output.stdout))
    }
}

/// A program in the PATH that git's children will have.
pub(crate) fn find_program(env: &Environment, name: &str) -> Option<PathBuf> {
    let path = env.get("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
