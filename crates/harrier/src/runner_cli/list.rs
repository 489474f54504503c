//! `list`: the entries of the file, one log line each (`runner-config.md` §2.6).
//!
//! Called by the dispatch. It shows short tokens only.

use super::config_file::ConfigFile;
use super::error::CliError;
use harrier_base::short_token;
use harrier_config::load;

/// List the configured runners
#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    file: ConfigFile,
}

/// Runs the command; a file that cannot be read is a warning only.
pub fn run(args: &List) -> Result<(), CliError> {
    let host = match load(&args.file.path) {
        Ok(host) => host,
        Err(error) => {
            tracing::warn!("{error}");
            return Ok(());
        }
    };
    tracing::info!(ConfigFile = %args.file.path.display(), "Listing configured runners");
    for runner in &host.runners {
        tracing::info!(
            Executor = runner.executor.name(),
            Token = short_token(runner.token.expose()),
            URL = runner.url,
            "{}",
            runner.name
        );
    }
    Ok(())
}
