//! The `harrier` binary: command line, printer, signals, wiring. It holds no logic.

#[cfg(feature = "cli-files")]
mod cli_files;
mod demo_cli;
mod doctor_cli;
mod help_cli;
mod inspect_cli;
mod local_cli;
mod log_format;
mod lsp_cli;
mod migrate_cli;
mod runner_cli;
mod serve_cli;
mod version;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// GitLab CI anywhere: run pipelines locally, or serve a GitLab as its runner
#[derive(Parser)]
#[command(
    name = "harrier",
    version = version::line(),
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the pipeline of the repository you stand in
    Run(local_cli::RunArgs),
    /// Open a shell in the place of a job that failed in a run with --keep
    Shell(local_cli::ShellArgs),
    /// Register and run as a drop-in GitLab Runner
    #[command(disable_help_flag = true)]
    Runner {
        /// Command of GitLab Runner and its flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check a configuration
    Lint(inspect_cli::LintArgs),
    /// Print the merged configuration
    Expand(inspect_cli::ExpandArgs),
    /// List the jobs of this pipeline and what leaves others out
    List(inspect_cli::ListArgs),
    /// Draw the stages and needs of this pipeline
    Graph(inspect_cli::GraphArgs),
    /// Tell where each keyword and variable of a job comes from
    Explain(inspect_cli::ExplainArgs),
    /// Help an editor with .gitlab-ci.yml, over standard input and output
    Lsp(lsp_cli::LspArgs),
    /// Serve projects: git push, pipelines for registered runners, pages
    Serve(serve_cli::ServeArgs),
    /// Serve projects and run their jobs on this machine, with nothing to configure
    Up(serve_cli::UpArgs),
    /// Set up a server from scripts: users, tokens, projects, runners
    Admin(serve_cli::AdminArgs),
    /// Mirror repositories of other servers as projects
    Project(serve_cli::ProjectArgs),
    /// Copy a server's data directory while it runs
    Backup(serve_cli::BackupArgs),
    /// Tell the how-to's story on this machine with real parts, then clean up
    Demo(demo_cli::DemoArgs),
    /// Find out why something does not work, without a job
    Doctor(doctor_cli::Doctor),
    /// See what becomes of an existing configuration of GitLab Runner
    Migrate(migrate_cli::Migrate),
    /// Show the help of a command, or a page of the book; `harrier help` lists the topics
    Help(help_cli::HelpArgs),
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // The hidden commands come before clap, so that they start at once.
    match args.get(1).and_then(|arg| arg.to_str()) {
        Some(harrier_process::SUPERVISE) => return harrier_process::supervise_main(),
        Some("__helper") => return exit_code(harrier_helper::helper_main()),
        Some(local_cli::EXPIRE) => return local_cli::expire(args.get(2)),
        Some("__helper_serve") => return exit_code(harrier_helper::serve_main()),
        #[cfg(feature = "cli-files")]
        Some("__cli_files") => return cli_files::main(args.get(2)),
        Some(_) | None => {}
    }
    match harrier_process::stand_in_as_init() {
        Ok(None) => {}
        Ok(Some(code)) => return ExitCode::from(code),
        Err(error) => {
            eprintln!(
                "error: cannot be the first process of this container: {error}; start it with an init (docker run --init)"
            );
            return ExitCode::FAILURE;
        }
    }
    if called_as_gitlab_runner(&args) {
        return runner_cli::main(args);
    }
    match Cli::parse_from(args).command {
        Command::Run(run) => local_cli::run(&run),
        Command::Shell(shell) => local_cli::shell(&shell),
        Command::Runner { mut arguments } => {
            arguments.insert(0, "harrier runner".into());
            runner_cli::main(arguments)
        }
        Command::Lint(lint) => inspect_cli::lint(&lint),
        Command::Expand(expand) => inspect_cli::expand(&expand),
        Command::List(list) => inspect_cli::list(&list),
        Command::Graph(graph) => inspect_cli::graph(&graph),
        Command::Explain(explain) => inspect_cli::explain(&explain),
        Command::Lsp(lsp) => lsp_cli::main(&lsp),
        Command::Serve(serve) => serve_cli::serve(&serve),
        Command::Up(up) => serve_cli::up(&up),
        Command::Admin(admin) => serve_cli::admin(&admin),
        Command::Project(project) => serve_cli::project(&project),
        Command::Backup(backup) => serve_cli::backup(&backup),
        Command::Demo(demo) => demo_cli::main(&demo),
        Command::Doctor(doctor) => doctor_cli::main(doctor),
        Command::Migrate(migrate) => migrate_cli::main(&migrate),
        Command::Help(help) => help_cli::main(&help),
    }
}

/// Bytes that caches in engines may take: `HARRIER_DOCKER_CACHE_BUDGET`, else the default.
fn cache_budget() -> Option<u64> {
    let default = Some(harrier_docker::CACHE_BUDGET);
    let Ok(text) = std::env::var("HARRIER_DOCKER_CACHE_BUDGET") else { return default };
    harrier_docker::parse_budget(&text).unwrap_or_else(|why| {
        eprintln!("warning: HARRIER_DOCKER_CACHE_BUDGET: {why}; the default of 20g is used");
        default
    })
}

/// A link of that name makes the binary a drop-in.
fn called_as_gitlab_runner(args: &[OsString]) -> bool {
    let name = args.first().and_then(|program| Path::new(program).file_stem());
    name.is_some_and(|name| name == "gitlab-runner")
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
