//! `docs/runner-reference.md` is made of the mirror of `config.toml`, the list of what this build does otherwise, and the
//! table of feature flags. `UPDATE=1 cargo test -p harrier --test runner_reference` writes it.

use harrier_config::mirror::settings;
use harrier_config::{ExecutorSpec, Setting, Verdict, exceptions, executors_of, has_executor};
use harrier_plan::feature_flags;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const INTRODUCTION: &str = "\
# `config.toml`, setting by setting

Every key of GitLab Runner's configuration and what this build of Harrier does with it. This page is made of the table that the
parser uses, and a test holds it equal to it (`UPDATE=1 cargo test -p harrier --test runner_reference`).

Keys are the same whatever their case. A flag is one of `register` and `run-single`; the environment variable beside it sets the
same. In the last column, nothing means: as in GitLab Runner. `harrier migrate check FILE` says the same about your own file.

";

/// A page's cell.
fn cell(text: &str) -> String {
    let mut out = text.replace('|', "\\|");
    // Where a meaning points to the contract that it was written from, the reader has this page instead.
    const CONTRACT: &str = "`runner-config.md` §";
    while let Some(at) = out.find(CONTRACT) {
        let section = at + CONTRACT.len();
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let end = out[section..].find(|c| !is_number(c)).map_or(out.len(), |end| section + end);
        let in_brackets = out[..at].ends_with(" (") && out[end..].starts_with(')');
        let (from, end) = if in_brackets { (at - 2, end + 1) } else { (at, end) };
        out.replace_range(from..end, "");
    }
    out.replace("Sub-table", "A table below").replace(" , ", ", ").trim_end_matches("See ").trim().to_owned()
}

fn title(table: &Setting) -> String {
    let key = table.key();
    if table.holds == "an array of tables" { format!("[[{key}]]") } else { format!("[{key}]") }
}

fn verdicts(key: &str) -> String {
    let all: Vec<String> = exceptions(key)
        .map(|(verdict, text)| format!("{}: {}", verdict.name(), text.replace("{value}", "such")))
        .collect();
    cell(&all.join(". "))
}

fn put_rows(out: &mut String, rows: &[&Setting]) {
    out.push_str("| key | holds | flag, variable | meaning | here |\n| --- | --- | --- | --- | --- |\n");
    for row in rows {
        let mut set_by = String::new();
        if !row.flag.is_empty() {
            let _ = write!(set_by, "`--{}`", row.flag);
        }
        if !row.env.is_empty() {
            let _ = write!(set_by, " `{}`", row.env);
        }
        let key = row.path.last().copied().unwrap_or_default();
        let holds = row.holds.trim_start_matches("an ").trim_start_matches("a ");
        let _ = writeln!(
            out,
            "| `{key}` | {holds} | {} | {} | {} |",
            set_by.trim(),
            cell(row.help),
            verdicts(&row.key()),
        );
    }
    out.push('\n');
}

fn page() -> String {
    let all = settings();
    let mut out = INTRODUCTION.to_owned();
    out.push_str("## Executors\n\n| `executor` | here |\n| --- | --- |\n");
    for name in ExecutorSpec::NAMES {
        let here = if has_executor(name) { "works" } else { "refused: a runner with it takes no jobs" };
        let _ = writeln!(out, "| `{name}` | {here} |");
    }
    let top: Vec<&Setting> =
        all.iter().filter(|setting| setting.path.len() == 1 && !setting.is_table).collect();
    out.push_str("\n## At the top of the file\n\n");
    put_rows(&mut out, &top);
    for table in all.iter().filter(|setting| setting.is_table) {
        let rows: Vec<&Setting> = all
            .iter()
            .filter(|row| {
                !row.is_table && row.path.len() == table.path.len() + 1 && row.path.starts_with(&table.path)
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "## `{}`\n", title(table));
        let section = table.path.get(1).copied().unwrap_or_default();
        match executors_of(section).filter(|_| table.path[0] == "runners") {
            Some(executors) if executors.iter().any(|name| has_executor(name)) => {
                let here: Vec<&str> = executors.iter().copied().filter(|name| has_executor(name)).collect();
                let _ = writeln!(out, "With `executor = \"{}\"`.\n", here.join("\" or \""));
            }
            Some(executors) => {
                let _ = writeln!(
                    out,
                    "Of the {} {}, which this build does not have: read and kept, and nothing comes of it.\n",
                    if executors.len() == 1 { "executor" } else { "executors" },
                    executors.join(", "),
                );
            }
            None => {}
        }
        put_rows(&mut out, &rows);
    }
    out.push_str("## Feature flags\n\nIn `[runners.feature_flags]`, or as variables of a job where the third column does not say otherwise.\n\n");
    out.push_str("| flag | default | variables of jobs | another value than the default |\n| --- | --- | --- | --- |\n");
    for flag in feature_flags() {
        let jobs = if flag.config_only { "count for nothing" } else { "" };
        let text = match (flag.verdict, flag.text) {
            (verdict, "") => verdict.name().to_owned(),
            (Verdict::Works, text) => format!("{text}, which this build does not have"),
            (verdict, text) => format!("{}: {text}", verdict.name()),
        };
        let _ = writeln!(out, "| `{}` | {} | {jobs} | {} |", flag.name, flag.default, cell(&text));
    }
    out
}

#[test]
fn the_page_is_what_the_parser_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runner-reference.md");
    let made = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).expect("the page can be written");
        return;
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let line = page.lines().zip(made.lines()).find(|(is, should)| is != should);
    assert!(
        page == made,
        "docs/runner-reference.md is not what the mirror says (line {line:?}); run UPDATE=1 cargo test -p harrier --test \
         runner_reference",
    );
}

/// No setting is told twice, and none is without its meaning.
#[test]
fn every_setting_has_a_meaning_of_its_own() {
    let mut seen = BTreeMap::new();
    for setting in settings() {
        assert!(!setting.help.is_empty(), "{}", setting.key());
        assert!(seen.insert(setting.key(), ()).is_none(), "{} is there twice", setting.key());
        assert!(!cell(setting.help).contains("runner-config.md"), "{}", setting.help);
    }
    assert!(seen.len() > 400, "{}", seen.len());
}
