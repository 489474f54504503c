//! What the runner itself says in a job's log, with its colours (`runner-api.md` §15.4, §15.6).
//!
//! Called by `run_job`. Pure: text in, text out.

use harrier_plan::{HeaderLine, JobPlan};

const CLEAR: &str = "\x1b[0K";
const RESET: &str = "\x1b[0;m";
const BOLD_RED: &str = "\x1b[31;1m";
const BOLD_GREEN: &str = "\x1b[32;1m";
const BOLD_CYAN: &str = "\x1b[36;1m";
const YELLOW: &str = "\x1b[0;33m";

/// A plain message.
pub(crate) fn info(text: &str) -> String {
    format!("{CLEAR}{text}{RESET}\n")
}

/// A warning.
pub(crate) fn warning(text: &str) -> String {
    format!("{YELLOW}WARNING: {text}{RESET}\n")
}

/// The title of a stage.
pub(crate) fn title(text: &str) -> String {
    format!("{CLEAR}{BOLD_CYAN}{text}{RESET}{RESET}\n")
}

/// The marker that opens a section; no line feed.
pub(crate) fn section_start(seconds: u64, name: &str) -> String {
    format!("section_start:{seconds}:{name}\r{CLEAR}")
}

/// The marker that closes a section; no line feed.
pub(crate) fn section_end(seconds: u64, name: &str) -> String {
    format!("section_end:{seconds}:{name}\r{CLEAR}")
}

/// The last line of a job that went well.
pub(crate) fn succeeded() -> String {
    format!("{BOLD_GREEN}Job succeeded{RESET}\n")
}

/// The last line of a job that went wrong; `system`: not by its own doing.
pub fn failed(message: &str, system: bool) -> String {
    let kind = if system { " (system failure)" } else { "" };
    format!("{BOLD_RED}ERROR: Job failed{kind}: {message}{RESET}\n")
}

/// An error that is not the last line.
pub(crate) fn error(message: &str) -> String {
    format!("{BOLD_RED}ERROR: {message}{RESET}\n")
}

/// The first lines of the log.
pub(crate) fn header(plan: &JobPlan) -> Vec<String> {
    let runner = &plan.runner;
    let mut lines = vec![info(&format!("Running with {}", runner.program))];
    if !runner.name.is_empty() || !runner.short_token.is_empty() {
        lines.push(info(&format!(
            "  on {} {}, system ID: {}",
            runner.name, runner.short_token, runner.system_id
        )));
    }
    lines.extend(plan.header.iter().map(|line| match line {
        HeaderLine::Info(text) => info(text),
        HeaderLine::Warning(text) => warning(text),
    }));
    lines
}
