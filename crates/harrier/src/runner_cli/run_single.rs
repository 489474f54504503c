//! `run-single`: one runner, from flags or by its name in the file, one job at a time (`runner-config.md` §2.3).
//!
//! Called by the dispatch.

use super::config_file::ConfigFile;
use super::error::CliError;
use super::flags::EntryFlags;
use super::run::{options, serve};
use harrier_base::short_token;
use harrier_config::{RunnerSpec, check_runner, load_warned};
use harrier_runner::Source;
use std::time::Duration;

/// Run one runner, one job at a time
#[derive(clap::Args)]
pub struct RunSingle {
    #[command(flatten)]
    file: ConfigFile,
    /// Take this runner from the file; the flags below are then not used
    #[arg(short, long, value_name = "NAME")]
    runner: Option<String>,
    /// End after so many jobs; 0 is no limit
    #[arg(long, default_value_t = 0, value_name = "N")]
    max_builds: u32,
    /// End when no job came for so many seconds; 0 is no limit
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait_timeout: u64,
    #[command(flatten)]
    entry: EntryFlags,
}

/// Limit of a forceful shutdown; the flag of it never worked in GitLab Runner.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the command until the runner is done.
pub fn run(args: RunSingle) -> Result<(), CliError> {
    let runner = args.runner()?;
    for (flag, missing) in [
        ("url", runner.url.is_empty()),
        ("token", runner.token.is_empty()),
        ("executor", runner.executor.name().is_empty()),
    ] {
        if missing {
            return Err(CliError::Missing { flag: flag.to_owned() });
        }
    }
    tracing::info!(runner = short_token(runner.token.expose()), "Starting runner for {}...", runner.url);
    let short = short_token(runner.token.expose()).to_owned();
    let source = Source::Single {
        runner: Box::new(runner),
        max_builds: args.max_builds,
        wait_timeout: (args.wait_timeout > 0).then_some(Duration::from_secs(args.wait_timeout)),
        system_id: args.file.system_id(),
        shutdown_timeout: SHUTDOWN_TIMEOUT,
    };
    let mut options = options(source, &args.file.path, None)?;
    // A service on the same file has its own jobs.
    options.state_dir.push(format!("single-{short}"));
    serve(options)
}

impl RunSingle {
    fn runner(&self) -> Result<RunnerSpec, CliError> {
        let (runner, warnings) = match self.runner.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => {
                let (host, warnings) = load_warned(&self.file.path)?;
                let found = host.runners.into_iter().find(|runner| runner.name == name);
                let runner = found.ok_or_else(|| {
                    let path = self.file.path.display();
                    CliError::Refused(format!(
                        "could not find a runner with the name {name:?} in {path}; see `list`"
                    ))
                })?;
                (runner, warnings)
            }
            None => check_runner(&self.entry.runner, "the command line", &|name| std::env::var(name).ok())?,
        };
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(runner)
    }
}
