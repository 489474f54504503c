//! The flags that set a key of a `[[runners]]` entry, for `register` and `run-single`: made from the rows of
//! `harrier_config::mirror`, some 350 of them.
//!
//! Called by clap.

use clap::builder::ArgAction;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use harrier_config::mirror::{Runner, runner_flags};
use harrier_config::{Flag, Takes};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::OnceLock;

/// What the flags (and their environment variables) say of the entry.
pub struct EntryFlags {
    /// The keys they set; nothing else is set.
    pub runner: Runner,
}

/// clap keeps references to names, so the flags live as long as the process.
fn flags() -> &'static [Flag] {
    static FLAGS: OnceLock<Vec<Flag>> = OnceLock::new();
    FLAGS.get_or_init(runner_flags)
}

impl Args for EntryFlags {
    fn augment_args(command: Command) -> Command {
        flags().iter().fold(command, |command, flag| command.arg(arg(flag)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(flag: &'static Flag) -> Arg {
    let mut arg = Arg::new(flag.name.as_str()).long(flag.name.as_str()).help(flag.help).hide_env_values(true);
    if !flag.env.is_empty() {
        arg = arg.env(flag.env.as_str());
    }
    match flag.name.as_str() {
        "url" => arg = arg.short('u'),
        "token" => arg = arg.short('t'),
        "description" => arg = arg.visible_alias("name"),
        _ => {}
    }
    match flag.takes {
        Takes::One => arg.action(ArgAction::Set).value_name("VALUE"),
        Takes::Switch => switch(arg).value_name("BOOL"),
        Takes::Many => arg.action(ArgAction::Append).value_name("VALUE, repeated"),
        Takes::CommaList => arg.action(ArgAction::Append).value_name("VALUE,..."),
        Takes::Map => arg.action(ArgAction::Append).value_name("KEY:VALUE, repeated"),
    }
    .allow_hyphen_values(flag.takes != Takes::Switch)
    .help_heading(heading(flag))
}

/// The section of the file a flag writes to.
fn heading(flag: &Flag) -> &'static str {
    match (flag.path.len(), flag.path.first()) {
        (2.., Some(section)) => section,
        _ => "Entry",
    }
}

/// `--flag`, `--flag=true`, `--flag=false`.
fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
}

impl FromArgMatches for EntryFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut runner = Runner::default();
        for flag in flags() {
            let id = flag.name.as_str();
            let source = matches.value_source(id);
            let Some(values) = matches.get_many::<String>(id) else { continue };
            let values: Vec<String> = values.cloned().collect();
            let from_env = source == Some(ValueSource::EnvVariable);
            if from_env && values.iter().all(|value| value.trim().is_empty()) {
                continue;
            }
            runner.put_flag(flag, &values).map_err(|why| {
                let place = if from_env { format!("${}", flag.env) } else { format!("--{id}") };
                clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{place}: {why}\n"))
            })?;
        }
        Ok(Self { runner })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A path; an empty one (a variable that is set to nothing) is for the command to judge.
pub fn parse_path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(PathBuf::from(text))
}

/// A whole number; nothing is 0, as in a variable that is set to nothing.
pub fn parse_number(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| format!("{text:?} is not a whole number"))
}

/// Go's words for a boolean.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("{other:?} is not true or false")),
    }
}
