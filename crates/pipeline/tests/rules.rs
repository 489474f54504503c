//! The numbered rules of `ci-yaml.md`, one small case each, read from `tests/rules/*.txt`.
//!
//! A file holds the cases of one section. A case is
//!
//! ```text
//! ## 12.1 an empty list is refused
//! @branch main
//! a: {script: x, rules: []}
//! == ci/other.yml
//! b: {script: y}
//! =>
//! error 1:23 jobs:a:rules config can't be blank
//! ```
//!
//! After the title (section first) come facts about the run, the text of `.gitlab-ci.yml`, other files of the repository
//! (`== path`), and behind `=>` what must come out. Facts: `@branch NAME`, `@tag NAME`, `@source SOURCE`, `@path GROUP/PROJECT`,
//! `@predefined K=V`, `@project K=V`, `@run K=V`, `@changes PATH…` (without it there is no push information),
//! `@since REF PATH…`, `@input NAME=VALUE`. A file `== path` without text exists and is empty; `== project:GROUP/PROJECT@REF:PATH`,
//! `== remote:URL` and `== template:NAME` stand elsewhere.
//!
//! Expectations:
//!
//! - `error [FILE:]LINE:COLUMN MESSAGE` and `warning …`: the message begins so. All errors must be listed, in order; warnings
//!   if one is. Several spaces in a row are one. `error ?` and `error ? MESSAGE` are completed by `UPDATE=1 cargo test -p harrier-pipeline --test rules`.
//! - `help TEXT`: one of the remedies holds this. `no warnings`, `ok`: nothing else to say.
//! - `jobs a | b`: exactly these jobs. `out JOB: REASON`: left out, the reason begins so. `filtered workflow`, `filtered rules`.
//! - `JOB / FIELD.FIELD = JSON`: a field of a job (see [`view`]); `pipeline / FIELD = JSON`.
//! - Without any YAML: `if EXPRESSION = true|false|invalid`, `changes PATTERN ~ PATH` (`!~`), `exists PATTERN ~ PATH…`,
//!   `scalar TEXT = JSON|error`, `duration TEXT = SECONDS|invalid`.
//!
//! `CASE=12.1 cargo test …` runs the cases whose title begins so.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod rules_format;
mod support;

use rules_format::{cases, check, filled};
use std::fmt::Write as _;

#[test]
fn every_rule_of_the_contract() {
    let only = std::env::var("CASE").unwrap_or_default();
    let update = std::env::var_os("UPDATE").is_some();
    let (mut failed, mut number, mut text) = (0, 0, String::new());
    for file in cases() {
        let mut lines = file.lines.clone();
        for case in file.cases.iter().filter(|case| case.title.starts_with(&only)) {
            number += 1;
            if update {
                filled(case, &mut lines);
            }
            let wrong = check(case);
            if !wrong.is_empty() {
                failed += 1;
                let _ = writeln!(text, "\n{}:{}: {}\n{wrong}", file.name, case.line, case.title);
            }
        }
        if lines != file.lines {
            std::fs::write(&file.path, lines.join("\n") + "\n").unwrap();
        }
    }
    assert!(number > 0, "no case begins with {only:?}");
    assert!(failed == 0, "{failed} of {number} cases failed\n{text}");
    println!("{number} cases");
}
