//! Where `config.toml` is (`runner-config.md` §2.0), and its edits as one step.
//!
//! Called by every command.

use super::error::CliError;
use harrier_config::{
    ConfigError, EditError, HostSpec, RunnerSpec, TokenFields, file, remove_runners, set_token,
};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

/// `--config`, as every command has it.
#[derive(clap::Args)]
pub struct ConfigFile {
    /// The configuration file
    #[arg(short = 'c', long = "config", env = "CONFIG_FILE", value_name = "FILE", value_parser = path_or_default, default_value_os_t = default_path(), hide_env_values = true)]
    pub path: PathBuf,
}

/// An empty path is none.
fn path_or_default(text: &str) -> Result<PathBuf, Infallible> {
    Ok(if text.is_empty() { default_path() } else { PathBuf::from(text) })
}

/// `/etc/gitlab-runner/config.toml` for root, `~/.gitlab-runner/config.toml` for others.
fn default_path() -> PathBuf {
    if is_root() {
        return PathBuf::from("/etc/gitlab-runner/config.toml");
    }
    match home() {
        Some(home) => home.join(".gitlab-runner/config.toml"),
        None => PathBuf::from("config.toml"),
    }
}

/// Whether this process may do anything.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// `HOME`, or what the user database says.
pub fn home() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        return Some(PathBuf::from(home));
    }
    let uid = nix::unistd::getuid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find(|user| user.get(2) == Some(&uid.as_str()))?.get(5).map(PathBuf::from)
}

impl ConfigFile {
    /// Whether it is where it is when nobody says.
    pub fn is_default(&self) -> bool {
        self.path == default_path()
    }

    /// The directory where certificates of servers lie.
    pub fn certs(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join("certs")
    }

    /// This machine's name towards servers, kept beside the file.
    pub fn system_id(&self) -> String {
        let system = harrier_config::system_id(&self.path);
        if let Some(not_kept) = system.not_kept {
            tracing::warn!("{not_kept}");
        }
        system.id
    }

    /// Takes entries out of the file. They are found anew by what they are: the file may have changed since they were
    /// read.
    pub fn remove(&self, entries: &[&RunnerSpec]) -> Result<(), CliError> {
        self.edit(|text, origin| {
            let host = parse(text, origin)?;
            let is_one = |runner: &RunnerSpec| entries.iter().any(|entry| is_same(runner, entry));
            let numbered = host.runners.iter().enumerate();
            let found: Vec<usize> =
                numbered.filter(|(_, runner)| is_one(runner)).map(|(index, _)| index).collect();
            remove_runners(text, origin, &found)
        })?;
        tracing::info!("Updated {}", self.path.display());
        Ok(())
    }

    /// Sets the token fields of an entry, found anew as in [`Self::remove`].
    pub fn set_token(&self, entry: &RunnerSpec, fields: &TokenFields) -> Result<(), CliError> {
        self.edit(|text, origin| {
            let found = parse(text, origin)?.runners.iter().position(|runner| is_same(runner, entry));
            let index = found.ok_or_else(|| EditError::NoEntry { origin: origin.to_owned(), number: 0 })?;
            set_token(text, origin, index, fields)
        })
    }

    /// Reads, edits and saves the file; the text is read anew so that a change made meanwhile is kept.
    pub fn edit(&self, change: impl FnOnce(&str, &str) -> Result<String, EditError>) -> Result<(), CliError> {
        let before = file::read(&self.path)?.unwrap_or_default();
        let after = change(&before, &self.path.display().to_string())?;
        if after != before {
            file::save(&self.path, &after)?;
        }
        Ok(())
    }
}

fn parse(text: &str, origin: &str) -> Result<HostSpec, ConfigError> {
    harrier_config::parse(text, origin, &|name| std::env::var(name).ok()).map(|(host, _)| host)
}

/// The same entry for the server; two that are the same twice are one.
fn is_same(one: &RunnerSpec, other: &RunnerSpec) -> bool {
    one.token == other.token && one.url == other.url && one.name == other.name
}
