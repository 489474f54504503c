//! What becomes of an existing `config.toml` under this build: setting by setting, entry by entry.
//!
//! Called by `harrier migrate check`. Pure; it looks at the same mirror, checks and exceptions as loading does.

use crate::check::{document, parse};
use crate::error::{ConfigError, Warning};
use crate::leaves::{Leaf, leaves};
use crate::source::{Problem, Source};
use crate::support::{Verdict, has_executor};
use toml_edit::{Item, TableLike};

/// What becomes of a whole file.
pub struct Report {
    /// Settings for all runners.
    pub host: Vec<Finding>,
    /// One for each `[[runners]]`.
    pub runners: Vec<Entry>,
    /// What keeps the file from being loaded at all, each also among the findings where it is about one setting.
    pub problems: Vec<Problem>,
}

/// What becomes of one `[[runners]]`.
pub struct Entry {
    /// As the file names it.
    pub name: String,
    /// As the file names it.
    pub executor: String,
    /// Where it begins, counted from 1.
    pub line: usize,
    /// Whether this build has the executor.
    pub takes_jobs: bool,
    /// Its settings.
    pub findings: Vec<Finding>,
}

/// What becomes of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Keys with dots, those of the entry without `runners.`; empty: about the entry itself.
    pub key: String,
    /// Counted from 1.
    pub line: usize,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, or what is different; may be empty.
    pub text: String,
}

/// What a feature flag means to the code that reads it; `None`: no such flag.
pub type FlagMeaning<'a> = &'a dyn Fn(&str, bool) -> Option<(Verdict, String)>;

impl Report {
    /// Everything that was found.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.host.iter().chain(self.runners.iter().flat_map(|runner| &runner.findings))
    }

    fn part(&mut self, runner: Option<usize>) -> &mut Vec<Finding> {
        match runner.and_then(|runner| self.runners.get_mut(runner)) {
            Some(entry) => &mut entry.findings,
            None => &mut self.host,
        }
    }

    /// How many have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings().filter(|finding| finding.verdict == verdict).count()
    }
}

/// Looks at `text`; `origin` names it in messages, `env` looks up an environment variable for `url` and `token`.
///
/// # Errors
/// [`ConfigError::Invalid`] when it is not TOML.
pub fn migrate(
    text: &str,
    origin: &str,
    env: &dyn Fn(&str) -> Option<String>,
    flag: FlagMeaning<'_>,
) -> Result<Report, ConfigError> {
    let source = Source { origin, text };
    let document = document(source)?;
    let (warnings, problems) = match parse(text, origin, env) {
        Ok((_, warnings)) => (warnings, Vec::new()),
        Err(ConfigError::Invalid(problems)) => (Vec::new(), problems),
        Err(other) => return Err(other),
    };
    let root: &dyn TableLike = document.as_table();
    let mut report = Report { host: Vec::new(), runners: entries(root, text), problems };
    let odd = warnings.iter().filter_map(|warning| match warning {
        Warning::OddValue(problem) => Some((problem, Verdict::Differs)),
        Warning::UnknownKey(_) | Warning::NoEffect(_) => None,
    });
    let said: Vec<(Problem, Verdict)> = report
        .problems
        .iter()
        .map(|problem| (problem, Verdict::Refused))
        .chain(odd)
        .map(|(problem, verdict)| (problem.clone(), verdict))
        .collect();
    let mut heard = vec![false; said.len()];
    for leaf in leaves(root) {
        for mut finding in judge(&leaf, text, flag) {
            for ((problem, verdict), heard) in said.iter().zip(&mut heard) {
                let at = place_of(text, problem);
                if leaf.at.start <= at && at < leaf.value_at().end.max(leaf.at.end) {
                    *heard = true;
                    // A name that no version has is told by what it may have meant.
                    if *verdict > finding.verdict || leaf.key == "runners.executor" {
                        finding.verdict = finding.verdict.max(*verdict);
                        finding.text = with_remedy(problem);
                    }
                }
            }
            report.part(leaf.runner).push(finding);
        }
    }
    // What is about no setting but about what is not there.
    for ((problem, verdict), heard) in said.iter().zip(heard) {
        if !heard {
            let runner = report.runners.iter().rposition(|entry| entry.line <= problem.line);
            let takes_jobs = runner.is_none_or(|runner| report.runners[runner].takes_jobs);
            report.part(runner).push(Finding {
                key: String::new(),
                line: problem.line,
                verdict: if takes_jobs { *verdict } else { Verdict::Refused },
                text: with_remedy(problem),
            });
        }
    }
    Ok(report)
}

fn with_remedy(problem: &Problem) -> String {
    if problem.remedy.is_empty() {
        problem.message.clone()
    } else {
        format!("{}; {}", problem.message, problem.remedy)
    }
}

fn judge(leaf: &Leaf<'_>, text: &str, flag: FlagMeaning<'_>) -> Vec<Finding> {
    let key = leaf.key.strip_prefix("runners.").unwrap_or(&leaf.key).to_owned();
    let line = line_of(text, leaf.at.start);
    let one = |verdict, text: String| vec![Finding { key: key.clone(), line, verdict, text }];
    if !leaf.is_known {
        return one(
            Verdict::Unknown,
            "no such setting in this place; it is ignored, as GitLab Runner does".to_owned(),
        );
    }
    let executor = leaf.executor();
    if leaf.key == "runners.executor" && !has_executor(executor) {
        let text = format!(
            "this build of Harrier has no {executor} executor; this runner takes no jobs, others are not touched"
        );
        return one(Verdict::Refused, text);
    }
    if !leaf.is_looked_at() {
        return one(Verdict::Works, format!("not looked at with executor {executor:?}, as in GitLab Runner"));
    }
    if leaf.executors().is_some() && !has_executor(executor) {
        return one(Verdict::Refused, format!("there is no {executor} executor"));
    }
    if leaf.key == "runners.feature_flags"
        && let Some(flags) = leaf.item.as_table_like()
    {
        return flags.iter().map(|(name, item)| feature_flag(flags, name, item, text, flag)).collect();
    }
    match leaf.exception() {
        Some(row) => one(row.verdict, row.words(leaf.given())),
        None => one(Verdict::Works, String::new()),
    }
}

fn feature_flag(
    table: &dyn TableLike,
    name: &str,
    item: &Item,
    text: &str,
    meaning: FlagMeaning<'_>,
) -> Finding {
    let at = crate::reader::key_span(table, name).unwrap_or(0..0);
    let (verdict, words) = meaning(name, item.as_bool().unwrap_or(false)).unwrap_or((
        Verdict::Unknown,
        "no such feature flag; it is ignored, as GitLab Runner does".to_owned(),
    ));
    Finding { key: format!("feature_flags.{name}"), line: line_of(text, at.start), verdict, text: words }
}

fn entries(root: &dyn TableLike, text: &str) -> Vec<Entry> {
    let Some((_, item)) = crate::check::find(root, "runners") else { return Vec::new() };
    let of = |table: &dyn TableLike, line: usize| {
        let word = |key| {
            let item = crate::check::find(table, key).map(|(_, item)| item);
            item.and_then(Item::as_str).unwrap_or_default().to_owned()
        };
        let executor = word("executor");
        Entry {
            name: word("name"),
            takes_jobs: has_executor(&executor),
            executor,
            line,
            findings: Vec::new(),
        }
    };
    match item {
        Item::ArrayOfTables(tables) => tables
            .iter()
            .map(|table| of(table, line_of(text, table.span().map_or(0, |at| at.start))))
            .collect(),
        Item::Value(toml_edit::Value::Array(array)) => array
            .iter()
            .filter_map(|value| value.as_inline_table())
            .map(|table| of(table, line_of(text, table.span().map_or(0, |at| at.start))))
            .collect(),
        Item::Value(_) | Item::Table(_) | Item::None => Vec::new(),
    }
}

/// The byte at which a problem begins.
fn place_of(text: &str, problem: &Problem) -> usize {
    let line = text.split_inclusive('\n').take(problem.line - 1).map(str::len).sum::<usize>();
    line + text[line..].chars().take(problem.column - 1).map(char::len_utf8).sum::<usize>()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}
