//! `harrier help`: the pages of the book in the terminal, and clap's help of commands, which it leaves as it is.
//!
//! Called by `main`. Pages are part of the binary; nothing is paged, `| less -R` is the reader's.

mod render;

use crate::{Cli, local_cli, runner_cli};
use clap::CommandFactory as _;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// Show the help of a command, or a page of the book
#[derive(clap::Args)]
pub struct HelpArgs {
    /// A command and its subcommands, or a topic; without any, the list of both
    #[arg(value_name = "COMMAND|TOPIC")]
    words: Vec<String>,
}

/// A page under the name it is asked for by.
struct Topic {
    name: &'static str,
    text: &'static str,
}

macro_rules! topics {
    ($($name:literal: $path:literal;)*) => {
        /// In the order of the book; `tests/docs_pages.rs` holds it equal to `docs/SUMMARY.md`.
        const TOPICS: &[Topic] = &[$(Topic { name: $name, text: include_str!(concat!("../../../../", $path)) }),*];
    };
}

topics! {
    "introduction": "docs/introduction.md";
    "getting-started": "docs/getting-started.md";
    "installing": "docs/installing.md";
    "how-to": "docs/how-to.md";
    "how-to.zh-CN": "docs/how-to.zh-CN.md";
    "local": "docs/local.md";
    "looking": "docs/looking.md";
    "language": "docs/language.md";
    "as-a-runner": "docs/as-a-runner.md";
    "migrating": "docs/migrating.md";
    "runner-reference": "docs/runner-reference.md";
    "coordinator": "docs/coordinator.md";
    "security": "docs/security.md";
    "faults": "docs/faults.md";
    "troubleshooting": "docs/troubleshooting.md";
    "differences": "docs/differences.md";
    "architecture": "ARCHITECTURE.md";
}

/// Runs the command. A command's name comes before a topic's.
pub fn main(args: &HelpArgs) -> ExitCode {
    let mut command = Cli::command();
    let [first, rest @ ..] = args.words.as_slice() else {
        let _ = command.print_long_help();
        print(&list());
        return ExitCode::SUCCESS;
    };
    command.build();
    if first == "runner" && !rest.is_empty() {
        let words = ["harrier runner", "help"].into_iter().map(OsString::from);
        return runner_cli::main(words.chain(rest.iter().map(OsString::from)).collect());
    }
    if command.find_subcommand(first).is_some() {
        let mut found = &mut command;
        for word in &args.words {
            if found.find_subcommand(word).is_none() {
                eprintln!(
                    "harrier help: `{}` has no command `{word}`",
                    found.get_bin_name().unwrap_or_default()
                );
                return ExitCode::from(2);
            }
            found = found.find_subcommand_mut(word).expect("it was just found");
        }
        let _ = found.print_long_help();
        return ExitCode::SUCCESS;
    }
    match TOPICS.iter().find(|topic| topic.name.eq_ignore_ascii_case(first)) {
        Some(topic) => {
            let out = std::io::stdout();
            let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
            print(&render::page(topic.text, width.clamp(40, 100), local_cli::paint(&out).0));
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("harrier help: there is no command and no topic `{first}`; `harrier help` lists both");
            ExitCode::from(2)
        }
    }
}

/// The topics with their headings.
fn list() -> String {
    let mut out = "\nTopics of `harrier help TOPIC`:\n".to_owned();
    for topic in TOPICS {
        let heading = topic.text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default();
        out.push_str(&format!("  {:<17} {}\n", topic.name, heading.replace('`', "")));
    }
    out
}

/// A reader that has seen enough closes the pipe, which is no fault.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
