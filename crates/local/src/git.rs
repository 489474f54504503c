//! Questions to git. Called by the repository and snapshot files; each call is one short process, so callers ask as few
//! as they can and side by side. It must never change the user's index, work tree, objects or refs: whoever writes
//! names another index and object directory in the environment.

use harrier_base::GIT_REPOSITORY_VARIABLES;
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What git was asked could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is not there or could not be started.
    #[error("git could not be started: {source}; install git and have it in PATH")]
    Start {
        /// Of the operating system.
        source: std::io::Error,
    },
    /// It ended with a failure.
    #[error("git {what} failed: {message}")]
    Failed {
        /// Subcommand.
        what: String,
        /// What git said.
        message: String,
    },
}

/// One call of git in `dir`. git finds the repository by itself from there, so its checks of the
/// directory's owner stay in force.
pub struct Git<'a> {
    command: Command,
    what: &'a str,
    input: &'a [u8],
}

impl<'a> Git<'a> {
    /// `git <what>`.
    pub fn new(dir: &Path, what: &'a str) -> Self {
        let mut command = Command::new("git");
        command.current_dir(dir);
        for name in GIT_REPOSITORY_VARIABLES {
            command.env_remove(name);
        }
        command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        for setting in ["log.showSignature=false", "i18n.logOutputEncoding=UTF-8", "core.quotePath=false"] {
            command.args(["-c", setting]);
        }
        Self { command, what, input: b"" }
    }

    /// One configuration setting for this call.
    pub fn set(mut self, setting: &str) -> Self {
        self.command.args(["-c", setting]);
        self
    }

    /// One variable for this call.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Its standard input.
    pub fn input(mut self, input: &'a [u8]) -> Self {
        self.input = input;
        self
    }

    /// Runs it; its standard output, or `None` when it ends with 1, which git uses for "no".
    pub fn ask<S: AsRef<OsStr>>(
        mut self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Option<Vec<u8>>, GitError> {
        self.command.arg(self.what).args(args);
        self.command.stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().map_err(|source| GitError::Start { source })?;
        if let Some(mut stdin) = child.stdin.take() {
            // A git that ends early has said why on its standard error.
            let _ = stdin.write_all(self.input);
        }
        let output = child.wait_with_output().map_err(|source| GitError::Start { source })?;
        match output.status.code() {
            Some(0) => Ok(Some(output.stdout)),
            Some(1) if output.stderr.is_empty() => Ok(None),
            _ => Err(GitError::Failed {
                what: self.what.to_owned(),
                message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
        }
    }

    /// Runs it; its standard output as text without the last line feed.
    pub fn text<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Result<String, GitError> {
        let what = self.what.to_owned();
        let bytes = self.ask(args)?.ok_or(GitError::Failed { what, message: "no answer".into() })?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }
}

/// The parts of a NUL-separated list.
pub fn split_nul(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    bytes
        .split(|b| *b == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
}
