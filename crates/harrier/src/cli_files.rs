//! `harrier __cli_files DIR`, in builds with the feature `cli-files`: shell completions and man pages, made from the command
//! line itself.
//!
//! Called by `make dist` and `make deb`. No such code is in what is shipped.

use crate::{Cli, runner_cli};
use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub fn main(dir: Option<&OsString>) -> ExitCode {
    let Some(dir) = dir else {
        eprintln!("usage: harrier __cli_files DIR");
        return ExitCode::from(2);
    };
    match write(Path::new(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", Path::new(dir).display());
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &Path) -> io::Result<()> {
    let runner = || runner_cli::command().mut_subcommands(of_root);
    // `runner` takes whatever comes, and parses it itself; here its commands stand below it.
    let harrier = Cli::command().mut_subcommand("runner", |known| {
        let about = known.get_about().cloned().unwrap_or_default();
        runner().name("runner").about(about)
    });
    for (name, command) in [("harrier", harrier), ("gitlab-runner", runner())] {
        let command = command.name(name).bin_name(name);
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let place = dir.join("completions").join(shell.to_string());
            std::fs::create_dir_all(&place)?;
            generate_to(shell, &mut command.clone(), name, place)?;
        }
        pages(command, &dir.join("man"))?;
    }
    Ok(())
}

/// The file of a runner of the machine, whoever made these files.
fn of_root(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_long() {
        Some("config") => arg.default_value("/etc/gitlab-runner/config.toml"),
        _ => arg,
    })
}

/// A man page for the command and each of its subcommands that is shown.
fn pages(command: Command, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command, dir)
}
