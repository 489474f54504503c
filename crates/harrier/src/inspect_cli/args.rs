//! The command lines of the commands that look at a configuration. It must never do anything.

use crate::local_cli::ConfigurationArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const EXITS: &str = "\
Exit codes:
  0  the configuration is valid
  2  the command line does not make sense, or there is no such file or ref
  3  the configuration is faulty (for list and graph also: its rules make no pipeline)
  4  Harrier or the machine is at fault

docs/looking.md has more.";

/// What all of them take.
#[derive(Args, Debug, Clone, Default)]
pub struct LookArgs {
    /// As if this branch, tag or commit were checked out: its files and its configuration, not those of the work tree
    #[arg(long = "ref", value_name = "REF")]
    pub git_ref: Option<String>,

    #[command(flatten)]
    pub configuration: ConfigurationArgs,
}

/// Check a configuration: everything that is wrong, with file, line and remedy
#[derive(Args, Debug)]
#[command(after_help = EXITS)]
pub struct LintArgs {
    /// The file, from here; `-` is standard input. Without it the configuration of the repository
    #[arg(value_name = "FILE")]
    pub path: Option<PathBuf>,

    /// One JSON object: valid, errors, warnings, merged_yaml, jobs
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub look: LookArgs,
}

/// Print the merged configuration: include, extends and !reference carried out
#[derive(Args, Debug)]
#[command(after_help = EXITS)]
pub struct ExpandArgs {
    /// Write to this file
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub look: LookArgs,
}

/// List the jobs of this pipeline, and for each job left out the rule that left it out
#[derive(Args, Debug)]
#[command(after_help = EXITS)]
pub struct ListArgs {
    /// One JSON object a line; docs/local.md describes them
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub look: LookArgs,
}

/// Draw the stages and needs of this pipeline
#[derive(Args, Debug)]
#[command(after_help = EXITS)]
pub struct GraphArgs {
    /// How
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,

    /// Plain ASCII even on a terminal that knows more
    #[arg(long)]
    pub ascii: bool,

    /// Write to this file
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub look: LookArgs,
}

/// What a graph is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Boxes for a terminal
    Text,
    /// A picture
    Svg,
    /// For Markdown that knows Mermaid
    Mermaid,
    /// For Graphviz
    Dot,
}

/// Tell where each keyword and variable of a job comes from, and which rule decided about it
#[derive(Args, Debug)]
#[command(after_help = EXITS)]
pub struct ExplainArgs {
    /// A job, hidden or not; of a parallel job the whole or one instance
    #[arg(value_name = "JOB")]
    pub job: String,

    /// Also the predefined variables
    #[arg(long)]
    pub predefined: bool,

    /// One JSON object
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub look: LookArgs,
}
