//! `install`, `uninstall`, `start`, `stop`, `restart`, `status`: the runner as a service of systemd (`runner-config.md` §2.10).
//!
//! Called by the dispatch. What the unit says is in `unit.rs`; this file writes it and asks `systemctl`, found by PATH.

use super::config_file::{self, ConfigFile};
use super::error::CliError;
use super::flags::parse_bool;
use super::unit::{self, Unit};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Which service, as every command has it.
#[derive(clap::Args)]
pub struct Named {
    /// Name of the service
    #[arg(short = 'n', long, default_value = "gitlab-runner")]
    service: String,
    /// A service of this user, not of the machine
    #[arg(long)]
    user_service: bool,
}

/// Have systemd run the runner from now on, and at each start of the machine
#[derive(clap::Args)]
pub struct Install {
    #[command(flatten)]
    named: Named,
    /// Directory to run in; builds and caches of the shell executor are below it [default: the current one]
    #[arg(short = 'd', long, value_name = "DIR")]
    working_directory: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
    /// Log to the system's log; under systemd the journal has it anyway
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    syslog: Option<bool>,
    /// User that job scripts run as (shell executor)
    #[arg(short, long)]
    user: Option<String>,
    /// User that the runner itself runs as; its file is then config.toml in that user's home
    #[arg(short, long)]
    init_user: Option<String>,
}

/// Where a service stands: its unit, and whose systemd has it.
struct Place {
    name: String,
    unit: PathBuf,
    of_user: bool,
}

impl Place {
    fn of(named: &Named) -> Result<Self, CliError> {
        if !unit::is_name(&named.service) {
            let why = "use letters, digits and : _ . - @ only, for it names the unit".to_owned();
            return Err(CliError::BadFlag { flag: "service".into(), why });
        }
        if named.user_service && config_file::is_root() {
            return Err(refused(
                "--user-service is for users; root's service is one of the machine, so leave it away",
            ));
        }
        let dir = if named.user_service { users_units()? } else { machines_units() };
        Ok(Self {
            unit: dir.join(format!("{}.service", named.service)),
            name: named.service.clone(),
            of_user: named.user_service,
        })
    }

    /// Only root changes the machine's services.
    fn may_change(&self, command: &str) -> Result<(), CliError> {
        if self.of_user || config_file::is_root() {
            return Ok(());
        }
        Err(refused(format!(
            "`{command}` of a service of the machine needs root: run it with sudo, or add --user-service for one of your own"
        )))
    }

    fn must_be_installed(&self) -> Result<(), CliError> {
        // A package may have its unit elsewhere; systemd knows.
        if self.unit.is_file() || self.systemctl(&["cat"])?.status.success() {
            return Ok(());
        }
        Err(refused(format!(
            "{}: the service is not installed; `gitlab-runner install` does it{}",
            self.name,
            if self.of_user { " (with --user-service)" } else { "" }
        )))
    }

    /// `systemctl VERB… NAME.service`; its output, whatever it says.
    fn systemctl(&self, verb: &[&str]) -> Result<Output, CliError> {
        self.ask(verb, Some(&format!("{}.service", self.name)))
    }

    fn ask(&self, verb: &[&str], unit: Option<&str>) -> Result<Output, CliError> {
        let mut command = Command::new("systemctl");
        if self.of_user {
            command.arg("--user");
        }
        command.args(verb).args(unit);
        command.output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => refused(format!(
                "systemctl is not on PATH, so this machine is not run by systemd and `{}` cannot do its work; have your own \
                 service manager run `gitlab-runner run` (in a container it is the command already), with SIGUSR1 to stop it \
                 and leave its jobs running, or SIGQUIT to let them end first",
                verb.first().copied().unwrap_or_default()
            )),
            _ => refused(format!("systemctl cannot be started: {error}")),
        })
    }

    /// The same, which must go well.
    fn must(&self, verb: &[&str], with_unit: bool) -> Result<(), CliError> {
        let unit = format!("{}.service", self.name);
        let output = self.ask(verb, with_unit.then_some(unit.as_str()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let asked = verb.join(" ");
        Err(refused(format!(
            "systemctl {asked} {}failed: {}; `systemctl status {}` and `journalctl -u {}` say more",
            if with_unit { format!("{unit} ") } else { String::new() },
            said.trim(),
            self.name,
            self.name
        )))
    }
}

/// `install`: the unit and, where there is none, an empty configuration.
pub fn install(args: Install) -> Result<(), CliError> {
    let place = Place::of(&args.named)?;
    place.may_change("install")?;
    let given = |name: Option<String>| name.filter(|name| !name.is_empty());
    let (user, init_user) = (given(args.user), given(args.init_user));
    if !place.of_user {
        match (&user, &init_user) {
            (None, None) => {
                return Err(refused(
                    "say which user runs job scripts: --user NAME (the runner itself is root's), or --init-user NAME for both",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(refused("--user and --init-user exclude each other: give one of them"));
            }
            _ => {}
        }
    } else if user.is_some() || init_user.is_some() {
        return Err(refused("a service of your own runs as you: leave --user and --init-user away"));
    }
    if place.unit.exists() {
        return Err(refused(format!(
            "{} is there already; `gitlab-runner uninstall --service {}` takes it away first",
            place.unit.display(),
            place.name
        )));
    }
    let owner = init_user.as_deref().map(account).transpose()?;
    let config = match &owner {
        Some(owner) if args.file.is_default() => owner.home.join("config.toml"),
        _ => std::path::absolute(&args.file.path).map_err(CliError::Start)?,
    };
    let directory =
        given_path(args.working_directory).map_or_else(std::env::current_dir, std::path::absolute);
    let unit = Unit {
        program: own_program()?,
        config: config.clone(),
        directory: directory.map_err(CliError::Start)?,
        service: place.name.clone(),
        syslog: args.syslog == Some(true),
        user,
        init_user,
        of_user: place.of_user,
    };
    let text = unit.text().map_err(|why| refused(why.to_string()))?;
    // Before anything is written: without systemd a unit is of no use.
    place.ask(&["--version"], None)?;
    ensure_config(&config, owner.as_ref())?;
    let written = |source| CliError::Unit { path: place.unit.clone(), source };
    if let Some(dir) = place.unit.parent() {
        std::fs::create_dir_all(dir).map_err(written)?;
    }
    std::fs::write(&place.unit, text).map_err(written)?;
    tracing::info!(unit = %place.unit.display(), config = %config.display(), "the service is installed");
    place.must(&["daemon-reload"], false)?;
    place.must(&["enable"], true)
}

/// `uninstall`
pub fn uninstall(named: &Named) -> Result<(), CliError> {
    let place = Place::of(named)?;
    place.may_change("uninstall")?;
    if !place.unit.is_file() {
        place.must_be_installed()?;
        return Err(refused(format!(
            "the unit of {} is not {}, so it is not of `install`; whatever brought it (a package?) takes it away",
            place.name,
            place.unit.display()
        )));
    }
    place.must(&["disable", "--now"], true)?;
    std::fs::remove_file(&place.unit)
        .map_err(|source| CliError::Unit { path: place.unit.clone(), source })?;
    tracing::info!(unit = %place.unit.display(), "the service is taken away");
    place.must(&["daemon-reload"], false)
}

/// `start`
pub fn start(named: &Named) -> Result<(), CliError> {
    tell(named, "start")
}

/// `stop`
pub fn stop(named: &Named) -> Result<(), CliError> {
    tell(named, "stop")
}

/// `restart`
pub fn restart(named: &Named) -> Result<(), CliError> {
    tell(named, "restart")
}

fn tell(named: &Named, verb: &str) -> Result<(), CliError> {
    let place = Place::of(named)?;
    place.may_change(verb)?;
    place.must_be_installed()?;
    place.must(&[verb], true)
}

/// `status`: success exactly when it runs.
pub fn status(named: &Named) -> Result<(), CliError> {
    let place = Place::of(named)?;
    place.must_be_installed()?;
    let answer = place.systemctl(&["is-active"])?;
    let state = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if answer.status.success() {
        println!("{}: Service is running", place.name);
        return Ok(());
    }
    let state =
        if state.is_empty() { String::from_utf8_lossy(&answer.stderr).trim().to_owned() } else { state };
    Err(refused(format!(
        "{}: Service is not running ({state}); `gitlab-runner start` starts it, `journalctl -u {}` tells what it said",
        place.name, place.name
    )))
}

fn refused(text: impl Into<String>) -> CliError {
    CliError::Refused(text.into())
}

fn given_path(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// This binary, as systemd will find it after an upgrade too.
fn own_program() -> Result<PathBuf, CliError> {
    let path = std::env::current_exe().map_err(CliError::Start)?;
    // So the kernel tells of a file that was replaced; the new one has the name.
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// Where root's units are written: as systemd looks for them.
fn machines_units() -> PathBuf {
    let first = std::env::var_os("SYSTEMD_UNIT_PATH")
        .and_then(|path| std::env::split_paths(&path).next())
        .filter(|path| path.is_absolute());
    first.unwrap_or_else(|| "/etc/systemd/system".into())
}

fn users_units() -> Result<PathBuf, CliError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| config_file::home().map(|home| home.join(".config")));
    let config =
        config.ok_or_else(|| refused("HOME is not set, so there is no place for a service of yours"))?;
    Ok(config.join("systemd/user"))
}

/// What the user database says.
struct Account {
    home: PathBuf,
    uid: u32,
    gid: u32,
}

fn account(name: &str) -> Result<Account, CliError> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.into_iter().find(|user| user.first() == Some(&name)).and_then(|user| {
        Some(Account {
            uid: user.get(2)?.parse().ok()?,
            gid: user.get(3)?.parse().ok()?,
            home: PathBuf::from(user.get(5)?),
        })
    });
    found.ok_or_else(|| {
        refused(format!("--init-user {name}: there is no such user in /etc/passwd; `useradd --create-home {name}` makes one"))
    })
}

/// An empty configuration where there is none, for its owner alone.
fn ensure_config(path: &Path, owner: Option<&Account>) -> Result<(), CliError> {
    let failed = |source| CliError::Unit { path: path.to_owned(), source };
    if let Some(dir) = path.parent()
        && !dir.exists()
    {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    match std::fs::File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => owner.map_or(Ok(()), |owner| chown(path, Some(owner.uid), Some(owner.gid))).map_err(failed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Takes whatever is given.
#[derive(clap::Args)]
pub struct Anything {
    /// Flags of the command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    given: Vec<OsString>,
}

/// The answer to a command this build does not have.
pub fn refuse_other(command: &str, _args: &Anything) -> CliError {
    refused(format!("this build of Harrier has no `{command}` command"))
}

/// The answer to the local runs of old.
pub fn refuse_exec(_args: &Anything) -> CliError {
    refused("`exec` is gone from GitLab Runner; `harrier run` runs the pipeline locally")
}
