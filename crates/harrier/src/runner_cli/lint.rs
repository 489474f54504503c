//! `lint`: everything that is wrong or odd about the file, as an exit code (`runner-config.md` §2.7).
//!
//! Called by the dispatch. It changes nothing on the disk.

use super::config_file::ConfigFile;
use super::error::CliError;
use harrier_config::{Warning, file, parse};

/// Check config.toml
#[derive(clap::Args)]
pub struct Lint {
    #[command(flatten)]
    file: ConfigFile,
}

/// Runs the command.
pub fn run(args: &Lint) -> Result<(), CliError> {
    let path = &args.file.path;
    let text = file::read(path)?
        .ok_or_else(|| CliError::Refused(format!("{} does not exist; check --config", path.display())))?;
    let (host, warnings) = parse(&text, &path.display().to_string(), &|name| std::env::var(name).ok())?;
    let mut faults = Vec::new();
    for warning in &warnings {
        match warning {
            Warning::UnknownKey(problem) | Warning::OddValue(problem) => faults.push(problem.to_string()),
            Warning::NoEffect(problem) => tracing::warn!("{problem}"),
        }
    }
    if !faults.is_empty() {
        return Err(CliError::Refused(faults.join("\n")));
    }
    println!("{}: valid, {} runner(s)", path.display(), host.runners.len());
    Ok(())
}
