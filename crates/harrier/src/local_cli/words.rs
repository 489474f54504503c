//! Words, colours and times of a local run for people: used by every view. It must never write anything.

use harrier_drawing::columns;
pub use harrier_drawing::width;
use harrier_local::{Ended, Failure, JobName, JobState, PipelineStatus};
use std::fmt::Write as _;
use std::time::Duration;

/// Whether escape sequences for colours are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

/// The colours used.
#[derive(Clone, Copy, Debug)]
pub enum Colour {
    Green,
    Red,
    Yellow,
    Blue,
    Dim,
    Bold,
}

impl Paint {
    /// `text` in a colour.
    pub fn on(self, colour: Colour, text: &str) -> String {
        if !self.0 || text.is_empty() {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Green => "32",
            Colour::Red => "31",
            Colour::Yellow => "33",
            Colour::Blue => "34",
            Colour::Dim => "2",
            Colour::Bold => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// `0.31 s`, `12.5 s`, `3 min 04 s`, `1 h 02 min`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A failure in a few words: `exit code 3`, or the reason when it was not the script.
pub fn failure(failure: &Failure) -> String {
    match failure.exit_code {
        Some(code) if failure.reason == "script_failure" => format!("exit code {code}"),
        Some(code) => format!("{}, exit code {code}", failure.reason.replace('_', " ")),
        None => failure.reason.replace('_', " "),
    }
}

/// Sign, colour, words and time of a state.
pub fn state(state: &JobState) -> (&'static str, Colour, String, Option<Duration>) {
    match state {
        JobState::Created => ("·", Colour::Dim, "not started".into(), None),
        JobState::WaitingForResource => ("·", Colour::Dim, "waiting for its resource group".into(), None),
        JobState::Scheduled(delay) => ("·", Colour::Dim, format!("starts in {}", time(*delay)), None),
        JobState::Manual => ("▸", Colour::Blue, "manual".into(), None),
        JobState::Pending => ("·", Colour::Dim, "pending".into(), None),
        JobState::Running { attempt: 1 } => ("▶", Colour::Blue, "running".into(), None),
        JobState::Running { attempt } => ("▶", Colour::Blue, format!("running, attempt {attempt}"), None),
        JobState::Retrying(why) => ("↻", Colour::Yellow, format!("failed ({}), again", failure(why)), None),
        JobState::Canceling => ("⊘", Colour::Yellow, "being canceled".into(), None),
        JobState::Passed { time } => ("✓", Colour::Green, "passed".into(), Some(*time)),
        JobState::Failed { time, failure: why, allowed: true } => {
            ("!", Colour::Yellow, format!("failed, allowed ({})", failure(why)), Some(*time))
        }
        JobState::Failed { time, failure: why, allowed: false } => {
            ("✗", Colour::Red, format!("failed ({})", failure(why)), Some(*time))
        }
        JobState::Canceled { time } => ("⊘", Colour::Yellow, "canceled".into(), *time),
        JobState::Skipped => ("»", Colour::Dim, "skipped".into(), None),
    }
}

/// The bridges above a job of a child pipeline, the outermost first.
pub fn bridges(jobs: &[JobName], job: usize) -> Vec<&JobName> {
    let mut above = Vec::new();
    let mut at = jobs.get(job).and_then(|j| j.bridge);
    // A bridge comes before the jobs of its pipeline, so this ends.
    while let Some(bridge) = at.and_then(|at| jobs.get(at)) {
        above.insert(0, bridge);
        at = bridge.bridge;
    }
    above
}

/// `job`, or `bridge › job` for a job of a child pipeline.
pub fn label(jobs: &[JobName], job: usize) -> String {
    let above = bridges(jobs, job);
    let own = jobs.get(job).map_or("?", |j| j.name.as_str());
    above.iter().map(|j| j.name.as_str()).chain([own]).collect::<Vec<_>>().join(" › ")
}

/// Columns of the longest label.
pub fn widest(jobs: &[JobName]) -> usize {
    (0..jobs.len()).map(|job| width(&label(jobs, job))).max().unwrap_or(0)
}

/// The jobs in the order of the table: those of a child pipeline below their bridge.
fn order(jobs: &[JobName]) -> Vec<usize> {
    let mut out = Vec::with_capacity(jobs.len());
    let below = |bridge: Option<usize>| (0..jobs.len()).rev().filter(move |at| jobs[*at].bridge == bridge);
    let mut open: Vec<usize> = below(None).collect();
    while let Some(at) = open.pop() {
        out.push(at);
        open.extend(below(Some(at)));
    }
    out
}

/// The table at the end, and the result below it.
pub fn table(jobs: &[JobName], ended: &Ended, paint: Paint) -> String {
    let order = order(jobs);
    let names: Vec<String> = (0..jobs.len())
        .map(|at| format!("{}{}", "  ".repeat(bridges(jobs, at).len()), jobs[at].name))
        .collect();
    let name_width = names.iter().map(|name| width(name)).max().unwrap_or(0).max(3);
    let stage_width = jobs.iter().map(|j| width(&j.stage)).max().unwrap_or(0).max(5);
    let rows: Vec<_> = ended.jobs.iter().map(state).collect();
    let words_width = rows.iter().map(|(_, _, words, _)| width(words)).max().unwrap_or(0).max(6);
    let mut out = String::new();
    if !jobs.is_empty() {
        let head = format!(
            "  {}  {}  {}  {:>10}",
            pad("job", name_width),
            pad("stage", stage_width),
            pad("status", words_width),
            "time"
        );
        let _ = writeln!(out, "{}", paint.on(Colour::Dim, &head));
    }
    for at in order {
        let (job, Some((sign, colour, words, took))) = (&jobs[at], rows.get(at)) else { continue };
        let _ = writeln!(
            out,
            "{} {}  {}  {}  {:>10}",
            paint.on(*colour, sign),
            pad(&names[at], name_width),
            pad(&job.stage, stage_width),
            paint.on(*colour, &pad(words, words_width)),
            took.map_or_else(|| "-".to_owned(), time),
        );
    }
    let colour = match ended.status {
        PipelineStatus::Passed => Colour::Green,
        PipelineStatus::PassedWithWarnings | PipelineStatus::Canceled => Colour::Yellow,
        PipelineStatus::Failed => Colour::Red,
        PipelineStatus::Blocked | PipelineStatus::Skipped => Colour::Blue,
    };
    let _ = writeln!(
        out,
        "Pipeline {} in {}",
        paint.on(colour, &paint.on(Colour::Bold, ended.status.words())),
        time(ended.time)
    );
    out
}

/// One line of a job's log for a terminal or a pipe: what a carriage return had overwritten is gone (section markers and
/// progress bars), so are escape sequences other than colours, and colours too if none are wanted.
pub fn log_line(line: &[u8], paint: Paint) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n']);
    let text = text.rsplit('\r').next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut coloured = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => match chars.next() {
                Some('[') => {
                    let mut sequence = String::new();
                    for c in chars.by_ref() {
                        sequence.push(c);
                        if ('\x40'..='\x7e').contains(&c) {
                            break;
                        }
                    }
                    if paint.0 && sequence.ends_with('m') {
                        coloured = !matches!(sequence.as_str(), "m" | "0m" | "0;m");
                        out.push_str("\x1b[");
                        out.push_str(&sequence);
                    }
                }
                // An operating system command, e.g. a window title, ends with BEL or ESC \.
                Some(']') => {
                    let mut escaped = false;
                    for c in chars.by_ref() {
                        if c == '\x07' || (escaped && c == '\\') {
                            break;
                        }
                        escaped = c == '\x1b';
                    }
                }
                _ => {}
            },
            '\t' => out.push('\t'),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    if coloured {
        out.push_str("\x1b[0m");
    }
    out
}

/// `text` with blanks behind it up to `wanted` columns.
pub fn pad(text: &str, wanted: usize) -> String {
    format!("{text}{}", " ".repeat(wanted.saturating_sub(width(text))))
}

/// The beginning of a text that fits into `most` columns, with `…` when something is cut.
pub fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += columns(c);
        if used + 1 > most {
            break;
        }
        out.push(c);
    }
    if most > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_cleaned() {
        for (line, plain, coloured) in [
            (&b"\x1b[32;1m$ echo hi\x1b[0;m\n"[..], "$ echo hi", "\x1b[32;1m$ echo hi\x1b[0;m"),
            (
                b"section_start:1:get_sources\r\x1b[0K\x1b[0K\x1b[36;1mGetting\x1b[0;m",
                "Getting",
                "\x1b[36;1mGetting\x1b[0;m",
            ),
            (b"10%\r50%\r100%\r\n", "100%", "100%"),
            (b"\x1b[31mopen", "open", "\x1b[31mopen\x1b[0m"),
            (b"\x1b]0;title\x07a\x1b]8;;x\x1b\\b\x08\tc", "ab\tc", "ab\tc"),
            (b"\xff\x1b", "\u{fffd}", "\u{fffd}"),
        ] {
            assert_eq!(log_line(line, Paint(false)), plain);
            assert_eq!(log_line(line, Paint(true)), coloured);
        }
    }

    #[test]
    fn times_are_short() {
        for (ms, text) in [
            (0, "0.00 s"),
            (9_994, "9.99 s"),
            (12_340, "12.3 s"),
            (184_000, "3 min 04 s"),
            (3_725_000, "1 h 02 min"),
        ] {
            assert_eq!(time(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn cutting_counts_columns() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("x", 0), "");
    }

    #[test]
    fn the_table_marks_allowed_failures_and_manual_jobs() {
        let names = |n: &str, s: &str| JobName { name: n.into(), stage: s.into(), bridge: None };
        let second = Duration::from_secs(1);
        let why = Failure { reason: "script_failure".into(), exit_code: Some(7) };
        let ended = Ended {
            status: PipelineStatus::PassedWithWarnings,
            time: second * 2,
            jobs: vec![
                JobState::Passed { time: second },
                JobState::Failed { time: second, failure: why, allowed: true },
                JobState::Manual,
            ],
            logs: vec![None, None, None],
        };
        let jobs = [names("build", "build"), names("lint: [a]", "test"), names("ship", "deploy")];
        assert_eq!(
            table(&jobs, &ended, Paint(false)),
            "  job        stage   status                               time\n\
             ✓ build      build   passed                             1.00 s\n\
             ! lint: [a]  test    failed, allowed (exit code 7)      1.00 s\n\
             ▸ ship       deploy  manual                                  -\n\
             Pipeline passed with warnings in 2.00 s\n"
        );
    }

    #[test]
    fn the_jobs_of_a_child_pipeline_stand_below_their_bridge() {
        let name = |n: &str, bridge: Option<usize>| JobName { name: n.into(), stage: "s".into(), bridge };
        let jobs =
            [name("a", None), name("b", None), name("c", Some(0)), name("d", Some(2)), name("e", Some(0))];
        assert_eq!(order(&jobs), [0, 2, 3, 4, 1]);
        assert_eq!(label(&jobs, 3), "a › c › d");
        assert_eq!(widest(&jobs), 9);
    }
}
