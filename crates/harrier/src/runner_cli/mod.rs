//! `harrier runner <verb>`, and the same verbs at top level when the binary is called `gitlab-runner`
//! (`runner-config.md` §1 and §2).
//!
//! Called by `main`. One file a command; this one parses, starts the log and hands on. Every failure is one log line
//! and exit code 1, as in GitLab Runner.

mod ask;
mod config_file;
mod entry_sections;
mod error;
mod flags;
mod gc;
mod identity;
mod lint;
mod list;
mod register;
mod reset_token;
mod run;
mod run_single;
mod server;
mod service;
mod unit;
mod unregister;
mod verify;

use crate::log_format::{self, Format, LogControl};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
pub use error::CliError;
pub use run::host_options;
use service::Anything;
use std::ffi::OsString;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// A drop-in GitLab Runner
#[derive(Parser)]
#[command(
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    /// Debug messages
    #[arg(long, global = true, env = "RUNNER_DEBUG", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = flags::parse_bool, hide_env_values = true)]
    debug: Option<bool>,
    /// runner, text or json
    #[arg(long, global = true, env = "LOG_FORMAT", hide_env_values = true)]
    log_format: Option<String>,
    /// debug, info, warn, error, fatal or panic
    #[arg(short = 'l', long, global = true, env = "LOG_LEVEL", hide_env_values = true)]
    log_level: Option<String>,
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::SetTrue)]
    version: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    #[command(next_line_help = true)]
    Register(Box<register::Register>),
    Run(run::Run),
    #[command(next_line_help = true)]
    RunSingle(Box<run_single::RunSingle>),
    Verify(verify::Verify),
    List(list::List),
    Unregister(unregister::Unregister),
    Lint(lint::Lint),
    ResetToken(reset_token::ResetToken),
    Gc(gc::Gc),
    Install(service::Install),
    /// Take the service away; the configuration stays
    Uninstall(service::Named),
    /// Start the service
    Start(service::Named),
    /// Stop the service; its jobs go on, and the next start takes them up
    Stop(service::Named),
    /// Stop and start the service; its jobs go on
    Restart(service::Named),
    /// Tell whether the service runs
    Status(service::Named),
    #[command(hide = true)]
    Wrapper(Anything),
    #[command(hide = true)]
    Fleeting(Anything),
    #[command(hide = true)]
    Exec(Anything),
}

/// The whole command line, for completions and man pages.
#[cfg(feature = "cli-files")]
pub fn command() -> clap::Command {
    use clap::CommandFactory as _;
    Cli::command()
}

/// Parses `args` (the first is the program's name) and runs the command.
pub fn main(args: Vec<OsString>) -> ExitCode {
    if matches!(args.get(1).and_then(|arg| arg.to_str()), Some("--version" | "-v")) {
        print!("{}", identity::version_block());
        return ExitCode::SUCCESS;
    }
    let bare = args.iter().any(|arg| arg == "true" || arg == "false");
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // A pipe that was closed is no reason to complain.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    ExitCode::SUCCESS
                }
                _ => ExitCode::FAILURE,
            };
        }
    };
    let log = match start_log(&cli) {
        Ok(log) => log,
        Err(error) => {
            log_format::start(None, None);
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(
        os = std::env::consts::OS,
        arch = identity::architecture(),
        version = identity::GITLAB_RUNNER_VERSION,
        revision = identity::revision(),
        pid = std::process::id(),
        "Runtime platform"
    );
    if bare {
        tracing::warn!("boolean parameters must be passed in the command line with --command=true");
    }
    match dispatch(cli.verb, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb, log: LogControl) -> Result<(), CliError> {
    match verb {
        Verb::Register(args) => block_on(register::run(*args)),
        Verb::Run(args) => run::run(args, log),
        Verb::RunSingle(args) => run_single::run(*args),
        Verb::Verify(args) => block_on(verify::run(args)),
        Verb::List(args) => list::run(&args),
        Verb::Unregister(args) => block_on(unregister::run(args)),
        Verb::Lint(args) => lint::run(&args),
        Verb::ResetToken(args) => block_on(reset_token::run(args)),
        Verb::Gc(args) => block_on(gc::run(args)),
        Verb::Install(args) => service::install(args),
        Verb::Uninstall(args) => service::uninstall(&args),
        Verb::Start(args) => service::start(&args),
        Verb::Stop(args) => service::stop(&args),
        Verb::Restart(args) => service::restart(&args),
        Verb::Status(args) => service::status(&args),
        Verb::Wrapper(args) => Err(service::refuse_other("wrapper", &args)),
        Verb::Fleeting(args) => Err(service::refuse_other("fleeting", &args)),
        Verb::Exec(args) => Err(service::refuse_exec(&args)),
    }
}

/// Runs a command that only waits for one server at a time. The runtime is not waited for: a read of standard
/// input that nobody answers must not keep the process.
fn block_on(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

fn start_log(cli: &Cli) -> Result<LogControl, CliError> {
    let bad = |flag: &str, why: &str| CliError::BadFlag { flag: flag.into(), why: why.into() };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let level = match given(&cli.log_level) {
        _ if cli.debug == Some(true) => Some(LevelFilter::DEBUG),
        Some(name) => Some(
            log_format::level_named(&name)
                .ok_or_else(|| bad("log-level", "use debug, info, warn, error, fatal or panic"))?,
        ),
        None => None,
    };
    let format = match given(&cli.log_format) {
        Some(name) => {
            Some(Format::named(&name).ok_or_else(|| bad("log-format", "use runner, text or json"))?)
        }
        None => None,
    };
    Ok(log_format::start(level, format))
}

/// Root serves the whole machine, others only themselves; the two have different files.
fn warn_about_mode() {
    if config_file::is_root() {
        tracing::info!("Running in system-mode.");
    } else {
        tracing::warn!("Running in user-mode.");
        tracing::warn!("The user-mode requires you to manually start builds processing:");
        tracing::warn!("$ gitlab-runner run");
        tracing::warn!("Use sudo for system-mode:");
        tracing::warn!("$ sudo gitlab-runner...");
    }
}
