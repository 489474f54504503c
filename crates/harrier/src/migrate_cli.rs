//! `harrier migrate check FILE`: what becomes of an existing configuration of GitLab Runner, setting by setting.
//!
//! Called by `main`. It reads one file and changes nothing; it prints keys, and values only where they are the point,
//! never a secret's.

use harrier_config::migrate::{Entry, Finding, Report, migrate};
use harrier_config::{ConfigError, Verdict, file};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The command and its subjects.
#[derive(clap::Args)]
pub struct Migrate {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(clap::Subcommand)]
enum Subject {
    /// Report what will work, differ or be refused of a gitlab-runner configuration
    ///
    /// Each setting is one of: works (as in GitLab Runner), differs (works, with the difference told), no effect
    /// (read, and nothing comes of it), refused (what depends on it does not run), unknown (no version has such a
    /// setting; ignored, as GitLab Runner does). Nothing is changed, nobody is asked.
    ///
    /// Exit codes: 0 nothing is lost (works, differs, unknown); 1 at least one setting is refused or without effect;
    /// 2 there is no such file; 3 the file cannot be loaded as it is.
    Check {
        /// The configuration
        #[arg(default_value = "/etc/gitlab-runner/config.toml")]
        file: PathBuf,
        /// One JSON object instead of words
        #[arg(long)]
        json: bool,
        /// Leave out the settings that simply work
        #[arg(long, conflicts_with = "json")]
        brief: bool,
    },
}

/// Runs the command.
pub fn main(migrate: &Migrate) -> ExitCode {
    let Subject::Check { file, json, brief } = &migrate.subject;
    match check(file) {
        Ok(report) => {
            print!("{}", if *json { as_json(&report, file) } else { as_text(&report, file, *brief) });
            exit_code(&report)
        }
        Err(error) => {
            eprintln!("harrier migrate check: {error}");
            match error {
                MigrateError::Missing(_) => ExitCode::from(2),
                MigrateError::Config(ConfigError::Unreadable { .. }) => ExitCode::from(2),
                MigrateError::Config(_) => ExitCode::from(3),
            }
        }
    }
}

/// What stops the command itself.
#[derive(Debug, thiserror::Error)]
enum MigrateError {
    #[error("{0} does not exist; name the configuration of your runner: harrier migrate check FILE")]
    Missing(PathBuf),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn check(path: &Path) -> Result<Report, MigrateError> {
    let text = file::read(path)?.ok_or_else(|| MigrateError::Missing(path.to_owned()))?;
    let env = |name: &str| std::env::var(name).ok();
    Ok(migrate(&text, &path.display().to_string(), &env, &harrier_plan::flag_meaning)?)
}

fn exit_code(report: &Report) -> ExitCode {
    if !report.problems.is_empty() {
        ExitCode::from(3)
    } else if report.findings().any(|finding| finding.verdict >= Verdict::NoEffect) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

fn as_text(report: &Report, path: &Path, brief: bool) -> String {
    let mut out = String::new();
    put_part(&mut out, &format!("{}, for all runners", path.display()), &report.host, brief);
    for entry in &report.runners {
        put_part(&mut out, &heading(entry), &entry.findings, brief);
    }
    let total = report.findings().count();
    let counts: Vec<String> =
        [Verdict::Works, Verdict::Differs, Verdict::NoEffect, Verdict::Refused, Verdict::Unknown]
            .into_iter()
            .filter_map(|verdict| match report.count(verdict) {
                0 => None,
                count => Some(format!("{count} {}", verdict.name())),
            })
            .collect();
    let _ = writeln!(
        out,
        "{total} settings: {}",
        if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
    );
    let idle: Vec<String> =
        report.runners.iter().filter(|entry| !entry.takes_jobs).map(|entry| name(entry).to_owned()).collect();
    let runners = report.runners.len();
    if !report.problems.is_empty() {
        let _ = writeln!(out, "The file cannot be loaded as it is: mend what is refused above.");
    } else if idle.is_empty() {
        let _ = writeln!(out, "{runners} of {runners} runners take jobs.");
    } else {
        let taking = runners - idle.len();
        let _ = writeln!(out, "{taking} of {runners} runners take jobs; not: {}.", idle.join(", "));
    }
    out
}

fn name(entry: &Entry) -> &str {
    if entry.name.is_empty() { "(no name)" } else { &entry.name }
}

fn heading(entry: &Entry) -> String {
    let executor = if entry.executor.is_empty() { "no executor" } else { &entry.executor };
    let jobs = if entry.takes_jobs { "" } else { ": takes no jobs" };
    format!("{} (line {}, {executor}){jobs}", name(entry), entry.line)
}

fn put_part(out: &mut String, heading: &str, findings: &[Finding], brief: bool) {
    let shown: Vec<&Finding> =
        findings.iter().filter(|finding| !brief || finding.verdict != Verdict::Works).collect();
    if shown.is_empty() {
        return;
    }
    let _ = writeln!(out, "{heading}");
    let width = shown.iter().map(|finding| key(finding).len()).max().unwrap_or(0).min(40);
    for finding in shown {
        let line = format!(
            "  {:<9}  {:>4}  {:<width$}  {}",
            finding.verdict.name(),
            finding.line,
            key(finding),
            finding.text,
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

fn key(finding: &Finding) -> &str {
    if finding.key.is_empty() { "[[runners]]" } else { &finding.key }
}

fn as_json(report: &Report, path: &Path) -> String {
    let runners: Vec<Value> = report
        .runners
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "executor": entry.executor,
                "line": entry.line,
                "takes_jobs": entry.takes_jobs,
                "settings": settings(&entry.findings),
            })
        })
        .collect();
    let value = json!({
        "file": path.display().to_string(),
        "loads": report.problems.is_empty(),
        "settings": settings(&report.host),
        "runners": runners,
        "summary": {
            "works": report.count(Verdict::Works),
            "differs": report.count(Verdict::Differs),
            "no_effect": report.count(Verdict::NoEffect),
            "refused": report.count(Verdict::Refused),
            "unknown": report.count(Verdict::Unknown),
        },
    });
    format!("{value:#}\n")
}

fn settings(findings: &[Finding]) -> Vec<Value> {
    findings
        .iter()
        .map(|finding| {
            json!({
                "key": finding.key,
                "line": finding.line,
                "verdict": finding.verdict.name().replace(' ', "_"),
                "text": finding.text,
            })
        })
        .collect()
}
