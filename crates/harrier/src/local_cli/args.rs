//! The command line of `harrier run`. It must never do anything.

use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

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

    #[command(flatten)]
    pub configuration: ConfigurationArgs,

    /// Most jobs at a time [default: number of cores]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub concurrency: Option<u32>,

    /// Where jobs run [default: docker for jobs with an image, if an engine answers; shell for the others]
    #[arg(long, value_enum)]
    pub executor: Option<ExecutorName>,

    #[command(flatten)]
    pub docker: DockerArgs,

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

    /// Keep the places of jobs that fail for `harrier shell`, for so long [1h when no time is given]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1h", value_parser = keep_time)]
    pub keep: Option<Duration>,

    /// Remove all that earlier runs left in .harrier/, and do nothing else
    #[arg(long, conflicts_with_all = ["jobs", "stage"])]
    pub clean: bool,
}

/// Open a shell in the place of a job that failed in a run with --keep, with the job's environment
#[derive(Args, Debug)]
pub struct ShellArgs {
    /// The job; not needed when only one is kept
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
}

fn keep_time(text: &str) -> Result<Duration, String> {
    match harrier_base::parse_go_duration(text) {
        Ok(time) if time < Duration::from_secs(1) => Err("write at least 1s".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// What decides which pipeline a configuration makes; the same for every command that compiles one.
#[derive(Args, Debug, Clone, Default)]
pub struct ConfigurationArgs {
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

    /// A value for an input that the configuration declares (`spec: inputs:`); may be given several times
    #[arg(long = "input", value_name = "KEY=VALUE")]
    pub inputs: Vec<String>,

    /// Where other projects are, for include:project and components: the address of a server, or a directory of projects [default: the server of the repository's remote]
    #[arg(long, value_name = "URL|DIR")]
    pub include_base: Option<String>,

    /// Where templates are, for include:template: a directory, or the address of a git repository
    #[arg(long, value_name = "DIR|URL")]
    pub template_dir: Option<String>,
}

/// The executors a local run can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExecutorName {
    /// A shell on this machine
    Shell,
    /// Containers of a Docker Engine
    Docker,
}

/// How containers are made.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Jobs in containers")]
pub struct DockerArgs {
    /// Image of jobs that name none, with --executor docker
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,

    /// When to pull images that say nothing about it
    #[arg(long, value_enum, value_name = "POLICY", default_value = "if-not-present")]
    pub pull_policy: Pull,

    /// Containers of jobs and services have all rights on this machine, as Docker-in-Docker needs
    #[arg(long)]
    pub privileged: bool,

    /// A volume for every container, as /PATH or SOURCE:/PATH[:OPTIONS]; may be given several times
    #[arg(long, value_name = "VOLUME")]
    pub docker_volumes: Vec<String>,

    /// Network of the containers, e.g. host
    #[arg(long, value_name = "NETWORK")]
    pub docker_network_mode: Option<String>,
}

/// `pull_policy`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// Each time
    Always,
    /// Unless the engine has it
    #[default]
    IfNotPresent,
    /// Not at all
    Never,
}
