//! The text of a systemd unit that runs the runner (`runner-config.md` §2.10, §12).
//!
//! Called by `install`, pure. Stopping the service tells the runner to leave (SIGUSR1) and lets every other process of it
//! be: jobs go on, and the next start takes them up.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What the unit is to do.
pub struct Unit {
    /// Harrier's binary.
    pub program: PathBuf,
    /// `--config`
    pub config: PathBuf,
    /// `--working-directory`
    pub directory: PathBuf,
    /// `--service`
    pub service: String,
    /// `--syslog`
    pub syslog: bool,
    /// `--user`: who runs scripts.
    pub user: Option<String>,
    /// Who runs the runner.
    pub init_user: Option<String>,
    /// For a user's own systemd.
    pub of_user: bool,
}

/// A value that no line of a unit can hold.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} has a line break or is no UTF-8, which a unit of systemd cannot hold; choose another name")]
pub struct NotALine(String);

/// Whether a unit can be called that.
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":_.-@".contains(c);
    !text.is_empty() && text.len() < 200 && !text.starts_with(['.', '-']) && text.chars().all(allowed)
}

impl Unit {
    /// The unit file.
    pub fn text(&self) -> Result<String, NotALine> {
        let mut start = format!("{} runner run", quoted_path(&self.program)?);
        let mut add = |flag: &str, value: &str| -> Result<(), NotALine> {
            let _ = write!(start, " --{flag} {}", quoted(value)?);
            Ok(())
        };
        add("config", &text(&self.config)?)?;
        add("working-directory", &text(&self.directory)?)?;
        add("service", &self.service)?;
        if let Some(user) = &self.user {
            add("user", user)?;
        }
        if self.syslog {
            start.push_str(" --syslog");
        }
        let runs_as = match &self.init_user {
            Some(user) => format!("User={}\n", line(user)?.replace('%', "%%")),
            None => String::new(),
        };
        let name = &self.service;
        let target = if self.of_user { "default.target" } else { "multi-user.target" };
        Ok(format!(
            "[Unit]\n\
             Description=GitLab Runner (Harrier)\n\
             After=network.target\n\
             \n\
             [Service]\n\
             ExecStart={start}\n\
             {runs_as}\
             ExecReload=kill -HUP $MAINPID\n\
             Restart=on-failure\n\
             RestartSec=5\n\
             EnvironmentFile=-/etc/default/{name}\n\
             # Jobs go on while the service is stopped or upgraded; the next start takes them up.\n\
             KillSignal=SIGUSR1\n\
             KillMode=process\n\
             TimeoutStopSec=30\n\
             # A job that takes too much memory is no reason to stop the others.\n\
             OOMPolicy=continue\n\
             \n\
             [Install]\n\
             WantedBy={target}\n"
        ))
    }
}

fn text(path: &Path) -> Result<String, NotALine> {
    path.to_str().map(str::to_owned).ok_or_else(|| NotALine(path.to_string_lossy().into_owned()))
}

fn line(value: &str) -> Result<&str, NotALine> {
    if value.contains(|c: char| c.is_control()) { Err(NotALine(value.to_owned())) } else { Ok(value) }
}

/// One word of a command line, as systemd reads it: `%` and `$` would mean something.
fn quoted(value: &str) -> Result<String, NotALine> {
    let value = line(value)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@:+=,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return Ok(value.to_owned());
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' | '$' => out.extend([c, c]),
            _ => out.push(c),
        }
    }
    out.push('"');
    Ok(out)
}

/// The program's own path, in which `$` means nothing.
fn quoted_path(path: &Path) -> Result<String, NotALine> {
    Ok(quoted(&text(path)?)?.replace("$$", "$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> Unit {
        Unit {
            program: "/usr/bin/harrier".into(),
            config: "/etc/gitlab-runner/config.toml".into(),
            directory: "/srv/100% \"new\" $HOME".into(),
            service: "gitlab-runner".into(),
            syslog: true,
            user: Some("builder".into()),
            init_user: None,
            of_user: false,
        }
    }

    #[test]
    fn words_that_systemd_would_change_are_quoted() {
        let text = unit().text().expect("one line each");
        let start = "ExecStart=/usr/bin/harrier runner run --config /etc/gitlab-runner/config.toml --working-directory \
                     \"/srv/100%% \\\"new\\\" $$HOME\" --service gitlab-runner --user builder --syslog\n";
        assert!(text.contains(start), "{text}");
        assert!(!text.contains("\nUser="), "{text}");
    }

    /// What the Debian package brings is what `install` writes there, but for a pointer to the manual.
    #[test]
    fn the_package_has_the_same_unit() {
        let unit = Unit {
            directory: "/home/gitlab-runner".into(),
            syslog: false,
            user: Some("gitlab-runner".into()),
            ..unit()
        };
        let lines = |text: &str| -> Vec<String> {
            let kept =
                text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("Documentation="));
            kept.map(str::to_owned).collect()
        };
        let packaged = include_str!("../../../../packaging/gitlab-runner.service");
        assert_eq!(lines(packaged), lines(&unit.text().expect("one line each")));
    }

    #[test]
    fn a_line_break_is_refused() {
        let bad = Unit { directory: "/srv/a\nExecStartPre=x".into(), ..unit() };
        assert!(bad.text().is_err());
        assert!(Unit { init_user: Some("a\nb".into()), ..unit() }.text().is_err());
    }

    #[test]
    fn names_of_units() {
        assert!(is_name("gitlab-runner@2") && !is_name("../x") && !is_name("") && !is_name("a b"));
    }
}
