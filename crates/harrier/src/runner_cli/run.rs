//! `run`: the service (`runner-config.md` §2.2), and what it shares with `run-single`: the executors of this build and
//! how the host's end becomes an exit code.
//!
//! Called by the dispatch.

use super::config_file::ConfigFile;
use super::error::CliError;
use super::flags::parse_bool;
use super::identity;
use crate::log_format::LogControl;
use harrier_docker::DockerExecutor;
use harrier_engine::Executor;
use harrier_runner::{Ended, HostOptions, Source, state_dir};
use harrier_shell::ShellExecutor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What `run --help` says below the options.
const AFTER: &str = "\
Jobs are kept in .harrier beside the file (HARRIER_STATE_DIR: elsewhere), so that a start after a crash takes them up.

Signals: HUP reads the file again, QUIT takes no new job and ends with the last one, USR1 ends at once while the jobs go on for
the next start, TERM or INT ends the jobs.";

/// Take jobs from the servers of the file and run them
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Address of the metrics server
    #[arg(long, env = "LISTEN_ADDRESS", hide_env_values = true)]
    listen_address: Option<String>,
    /// Name of the service, for logs
    #[arg(short = 'n', long, default_value = "gitlab-runner")]
    service: String,
    /// Directory to run in; builds and caches of the shell executor are below it
    #[arg(short = 'd', long, value_name = "DIR")]
    working_directory: Option<PathBuf>,
    /// User that job scripts run as (shell executor)
    #[arg(short, long)]
    user: Option<String>,
    /// Log to the system's log
    #[arg(long, env = "LOG_SYSLOG", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool, hide_env_values = true)]
    syslog: Option<bool>,
}

/// Runs the command until a signal ends it.
pub fn run(args: Run, log: LogControl) -> Result<(), CliError> {
    let config = std::path::absolute(&args.file.path).map_err(CliError::Start)?;
    if let Some(dir) = given(args.working_directory) {
        let failed = |source| CliError::Directory { dir: dir.display().to_string(), source };
        std::env::set_current_dir(&dir).map_err(failed)?;
    }
    if args.syslog == Some(true) {
        tracing::warn!(
            "this build of Harrier does not write to the system's log; the log stays on standard error"
        );
    }
    tracing::info!(service = args.service, "Starting multi-runner from {}...", config.display());
    let mut options = options(Source::File(config.clone()), &config, args.user)?;
    options.listen_address = args.listen_address.filter(|address| !address.is_empty());
    options.on_config = Some(Arc::new(move |host| {
        log.configure(host.log_level.as_deref(), host.log_format.as_deref());
    }));
    serve(options)
}

fn given(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// What every host of this binary has.
pub fn options(source: Source, config: &Path, user: Option<String>) -> Result<HostOptions, CliError> {
    let user = user.filter(|user| !user.is_empty());
    Ok(HostOptions {
        source,
        program: identity::program(),
        executors: vec![Arc::new(ShellExecutor::new(user)) as Arc<dyn Executor>, Arc::new(docker())],
        own_binary: std::env::current_exe().map_err(CliError::Start)?,
        boot_id: harrier_process::boot_id(),
        state_dir: state_dir(config, given(std::env::var_os("HARRIER_STATE_DIR").map(PathBuf::from))),
        working_directory: std::env::current_dir().map_err(CliError::Start)?,
        listen_address: None,
        on_config: None,
        log_counts: crate::log_format::counts(),
    })
}

/// The host of a file whose jobs are kept below `home`, for a runner that is part of `harrier up`.
pub fn host_options(config: &Path, home: &Path) -> Result<HostOptions, CliError> {
    let options = options(Source::File(config.to_owned()), config, None)?;
    Ok(HostOptions { working_directory: home.to_owned(), ..options })
}

/// `HARRIER_TRUST_PRESENT_IMAGES` is for machines where every job may use every image that is there,
/// `HARRIER_KEEP_HELPERS=false` for those where no container may outlive its job.
fn docker() -> DockerExecutor {
    let says = |name: &str, what: bool| std::env::var(name).is_ok_and(|text| parse_bool(&text) == Ok(what));
    let mut docker = DockerExecutor::new().with_cache_budget(crate::cache_budget());
    if says("HARRIER_TRUST_PRESENT_IMAGES", true) {
        docker = docker.trusting_present_images();
    }
    if !says("HARRIER_KEEP_HELPERS", false) {
        docker = docker.keeping_helpers();
    }
    docker
}

/// Runs the host to its end. Jobs left behind are an error, so that a service manager sees it.
pub fn serve(options: HostOptions) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Start)?;
    let ended = runtime.block_on(harrier_runner::run(options));
    runtime.shutdown_background();
    match ended? {
        Ended::Gracefully | Ended::Stopped | Ended::HandedOver(_) => Ok(()),
        Ended::Left(jobs) => Err(CliError::Left(jobs)),
    }
}
