//! Commands within sentences and tables: their words are commands that are there, their flags are among those of the command's help.

use crate::page::{pages, root};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// What is shown because it is not there.
const GONE: &[&str] = &["gitlab-runner exec"];

/// `` `harrier …` `` and `` `gitlab-runner …` `` outside of blocks, with the place of each.
fn spans() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(root().join(&page)).expect("a page");
        let mut is_block = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_block = !is_block;
            }
            if is_block {
                continue;
            }
            for span in line.split('`').skip(1).step_by(2) {
                if span.starts_with("harrier ") || span.starts_with("gitlab-runner ") {
                    found.push((format!("{page}:{}", index + 1), span.to_owned()));
                }
            }
        }
    }
    found
}

/// The help of a command, or `None` where there is no such command.
fn help(bin: &Path, command: &[&str], known: &mut BTreeMap<String, Option<String>>) -> Option<String> {
    let key = command.join(" ");
    let ask = || {
        let output =
            Command::new(bin.join(command[0])).args(&command[1..]).arg("--help").output().expect("it runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    known.entry(key).or_insert_with(ask).clone()
}

#[test]
fn commands_in_running_text_are_there_with_their_flags() {
    let bin = tempfile::tempdir().expect("a directory");
    for name in ["harrier", "gitlab-runner"] {
        symlink(env!("CARGO_BIN_EXE_harrier"), bin.path().join(name)).expect("a link");
    }
    let mut known = BTreeMap::new();
    let mut wrong = Vec::new();
    let spans = spans();
    assert!(spans.len() > 60, "{}", spans.len());
    for (place, span) in spans {
        if GONE.contains(&span.as_str()) {
            continue;
        }
        let words: Vec<&str> =
            span.split([' ', '[', ']', '\\', '|']).filter(|word| !word.is_empty()).collect();
        // Commands come first, flags of all of them in between.
        let mut command = vec![words[0]];
        let mut text = help(bin.path(), &command, &mut known).expect("the binary has help");
        for word in &words[1..] {
            if let Some(flag) = word.strip_prefix("--") {
                let flag = flag.split('=').next().unwrap_or_default();
                let is_there = text
                    .split(|c: char| !(c.is_alphanumeric() || c == '-'))
                    .any(|it| it == format!("--{flag}"));
                if !is_there {
                    wrong.push(format!("{place}: `{span}`: `{}` has no --{flag}", command.join(" ")));
                }
                continue;
            }
            let is_listed = text
                .lines()
                .any(|line| line.split_whitespace().next() == Some(word) && line.starts_with("  "));
            if word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && text.contains("Commands:") {
                if is_listed {
                    command.push(word);
                    text = help(bin.path(), &command, &mut known).expect("a command that is listed has help");
                } else {
                    wrong.push(format!("{place}: `{span}`: `{}` has no command {word}", command.join(" ")));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
