//! The command line of `harrier run`. It must never do anything.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What `harrier run --help` says below the options.
const AFTER: &str = "\
Jobs run on a snapshot of the work tree (tracked files and untracked ones that are not ignored), never in it.
Sources, artifacts, caches and logs are kept in .harrier/ at the root of the repository, which ignores itself.

Exit codes:
  0  all jobs passed, but for those that may fail; manual jobs that nobody started do not count
  1  a job failed, or the run was canceled
  2  the command line does not make sense
  3  the configuration is faulty, or makes no pipeline
  4  Harrier or the machine is at fault

Ctrl-C once cancels the jobs, after_script still runs; twice kills everything.";

/// Run the pipeline of the repository you stand in
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub struct RunArgs {
    /// Jobs to run; without any, the whole pipeline. The name before a counter or bracket list means all instances, a manual job that is named is started
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,

    /// Run the jobs of a stage (manual ones excepted); may be given several times
    #[arg(long, value_name = "STAGE")]
    pub stage: Vec<String>,

    /// Run also what the selected jobs wait for
    #[arg(long)]
    pub needs: bool,

    /// Start delayed jobs at once
    #[arg(long)]
    pub no_delay: bool,

    /// A variable for the pipeline, above those of the configuration; may be given several times
    #[arg(long = "variable", short = 'v', value_name = "KEY=VALUE")]
    pub variables: Vec<String>,

    /// A variable taken from the environment and hidden in the logs; may be given several times
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,

    /// A file of variables: KEY=VALUE lines, or YAML when it ends in .yml or .yaml (values, or {value, masked, file})
    #[arg(long, value_name = "FILE")]
    pub variables_file: Vec<PathBuf>,

    /// The configuration, relative to the root of the repository
    #[arg(long, short = 'f', value_name = "FILE", default_value = ".gitlab-ci.yml")]
    pub file: String,

    /// Most jobs at a time [default: number of cores]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub concurrency: Option<u32>,

    /// Where jobs run
    #[arg(long, value_enum, default_value = "shell")]
    pub executor: ExecutorName,

    /// Only list the jobs of the pipeline
    #[arg(long, conflicts_with_all = ["dry_run", "clean"])]
    pub list: bool,

    /// Only say what would run, and why a job is left out
    #[arg(long, conflicts_with = "clean")]
    pub dry_run: bool,

    /// One JSON object a line instead of words; docs/local.md describes them
    #[arg(long)]
    pub json: bool,

    /// Plain lines even on a terminal
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,

    /// Remove all that earlier runs left in .harrier/, and do nothing else
    #[arg(long, conflicts_with_all = ["jobs", "stage"])]
    pub clean: bool,
}

/// The executors a local run can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExecutorName {
    /// A shell on this machine
    Shell,
}
