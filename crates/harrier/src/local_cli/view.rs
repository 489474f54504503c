//! The three views of a local run: live on a terminal, plain lines for pipes, JSON for tools. Each takes the
//! host's events in order and writes to standard output.

use super::words::{self, Colour, Paint};
use harrier_local::{Ended, Event, JobName, JobState, Started};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Time between two pictures of the spinner.
pub const TICK: Duration = Duration::from_millis(100);

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Shows a run.
pub trait View {
    /// Something happened.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Time went by; only the live view cares.
    fn tick(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether [`View::tick`] is wanted.
    fn ticks(&self) -> bool {
        false
    }
}

/// `[job] line`
pub struct Plain<W> {
    out: W,
    paint: Paint,
    jobs: Vec<JobName>,
    width: usize,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`.
    pub fn new(out: W, paint: Paint) -> Self {
        Self { out, paint, jobs: Vec::new(), width: 0 }
    }

    fn prefix(&self, job: usize) -> String {
        let name = format!("[{}]", words::label(&self.jobs, job));
        self.paint.on(Colour::Blue, &words::pad(&name, self.width + 2))
    }
}

impl<W: Write> View for Plain<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Started(started) => {
                self.jobs.clone_from(&started.jobs);
                self.width = words::widest(&self.jobs);
                writeln!(self.out, "{}", headline(started, self.paint))?;
            }
            Event::Child { bridge, pipeline, jobs } => {
                self.jobs.extend(jobs.iter().cloned());
                self.width = words::widest(&self.jobs);
                let line = child_line(&self.jobs, *bridge, *pipeline, jobs.len());
                writeln!(self.out, "{}", self.paint.on(Colour::Bold, &line))?;
            }
            Event::Job { job, state } => {
                let said = match state {
                    JobState::Created | JobState::Pending | JobState::Running { attempt: 1 } => return Ok(()),
                    other => words::state(other),
                };
                let (sign, colour, text, took) = said;
                let took = took.map(|t| format!(" in {}", words::time(t))).unwrap_or_default();
                writeln!(
                    self.out,
                    "{} {}",
                    self.prefix(*job),
                    self.paint.on(colour, &format!("{sign} {text}{took}"))
                )?;
            }
            Event::Log { job, bytes } => {
                let prefix = self.prefix(*job);
                for line in bytes.split_inclusive(|b| *b == b'\n') {
                    writeln!(self.out, "{prefix} {}", words::log_line(line, self.paint))?;
                }
            }
            Event::Notice(text) => writeln!(self.out, "{}", self.paint.on(Colour::Yellow, text))?,
            Event::Ended(ended) => {
                writeln!(self.out)?;
                write!(self.out, "{}", words::table(&self.jobs, ended, self.paint))?;
            }
        }
        self.out.flush()
    }
}

/// One line a job: those that ended stay above, those that run are drawn anew below.
pub struct Live<W> {
    out: W,
    paint: Paint,
    jobs: Vec<JobName>,
    width: usize,
    running: BTreeMap<usize, RunningJob>,
    done: usize,
    drawn: usize,
    step: usize,
    size: fn() -> (usize, usize),
}

struct RunningJob {
    since: Instant,
    canceling: bool,
    last: String,
}

impl<W: Write> Live<W> {
    /// Draws on `out`, a terminal; `size` tells its columns and rows.
    pub fn new(out: W, paint: Paint, size: fn() -> (usize, usize)) -> Self {
        Self {
            out,
            paint,
            jobs: Vec::new(),
            width: 0,
            running: BTreeMap::new(),
            done: 0,
            drawn: 0,
            step: 0,
            size,
        }
    }

    fn above(&mut self, line: &str) -> io::Result<()> {
        self.wipe()?;
        writeln!(self.out, "{line}")
    }

    fn wipe(&mut self) -> io::Result<()> {
        if self.drawn > 0 {
            write!(self.out, "\x1b[{}A\x1b[J", self.drawn)?;
            self.drawn = 0;
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        self.wipe()?;
        let (columns, rows) = (self.size)();
        let room = rows.saturating_sub(2).max(1);
        let mut lines = Vec::new();
        for (job, running) in &self.running {
            let name = words::label(&self.jobs, *job);
            let took = words::time(running.since.elapsed());
            let sign = if running.canceling { "⊘" } else { SPINNER[self.step % SPINNER.len()] };
            let head = format!("{sign} {}  {took:>10}  ", words::pad(&name, self.width));
            let rest = columns.saturating_sub(words::width(&head) + 1);
            lines.push(if words::width(&head) > columns {
                words::cut(&head, columns)
            } else {
                format!("{head}{}", self.paint.on(Colour::Dim, &words::cut(&running.last, rest)))
            });
        }
        if lines.len() > room {
            let more = lines.len() - (room - 1);
            lines.truncate(room - 1);
            lines.push(format!("  and {more} more"));
        }
        if !self.running.is_empty() {
            let status =
                format!("  {} of {} done, {} running", self.done, self.jobs.len(), self.running.len());
            lines.push(self.paint.on(Colour::Dim, &words::cut(&status, columns)));
        }
        for line in &lines {
            writeln!(self.out, "{line}")?;
        }
        self.drawn = lines.len();
        self.out.flush()
    }

    fn finished(&mut self, job: usize, state: &JobState) -> io::Result<()> {
        self.running.remove(&job);
        self.done += 1;
        let (sign, colour, text, took) = words::state(state);
        let name = words::label(&self.jobs, job);
        let line = format!(
            "{} {}  {:>10}  {}",
            self.paint.on(colour, sign),
            words::pad(&name, self.width),
            took.map(words::time).unwrap_or_default(),
            self.paint.on(colour, &text)
        );
        self.above(&line)
    }

    fn failing_logs(&mut self, ended: &Ended) -> io::Result<()> {
        for (job, state) in ended.jobs.iter().enumerate() {
            if !matches!(state, JobState::Failed { allowed: false, .. }) {
                continue;
            }
            let name = words::label(&self.jobs, job);
            writeln!(self.out, "\n{}", self.paint.on(Colour::Bold, &format!("Log of {name}")))?;
            match ended.logs.get(job).and_then(Option::as_ref).map(std::fs::read) {
                Some(Ok(bytes)) => {
                    for line in bytes.split_inclusive(|b| *b == b'\n') {
                        writeln!(self.out, "{}", words::log_line(line, self.paint))?;
                    }
                }
                Some(Err(why)) => writeln!(self.out, "it could not be read: {why}")?,
                None => writeln!(self.out, "there is none: the job was not started")?,
            }
        }
        Ok(())
    }
}

impl<W: Write> View for Live<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Started(started) => {
                self.jobs.clone_from(&started.jobs);
                self.width = words::widest(&self.jobs);
                let line = headline(started, self.paint);
                self.above(&line)?;
            }
            Event::Child { bridge, pipeline, jobs } => {
                self.jobs.extend(jobs.iter().cloned());
                self.width = words::widest(&self.jobs);
                let line = child_line(&self.jobs, *bridge, *pipeline, jobs.len());
                let line = self.paint.on(Colour::Bold, &line);
                self.above(&line)?;
            }
            Event::Job { job, state } => match state {
                JobState::Running { .. } => {
                    let fresh = RunningJob { since: Instant::now(), canceling: false, last: String::new() };
                    self.running.insert(*job, fresh);
                }
                JobState::Canceling => {
                    if let Some(running) = self.running.get_mut(job) {
                        running.canceling = true;
                    }
                }
                JobState::Retrying(why) => {
                    self.running.remove(job);
                    let name = words::label(&self.jobs, *job);
                    let line = format!("↻ {name}: {}, trying again", words::failure(why));
                    let line = self.paint.on(Colour::Yellow, &line);
                    self.above(&line)?;
                }
                JobState::Scheduled(delay) => {
                    let name = words::label(&self.jobs, *job);
                    let line = format!("· {name} starts in {}", words::time(*delay));
                    let line = self.paint.on(Colour::Dim, &line);
                    self.above(&line)?;
                }
                JobState::Created | JobState::Pending | JobState::WaitingForResource => {}
                JobState::Passed { .. }
                | JobState::Failed { .. }
                | JobState::Canceled { .. }
                | JobState::Manual
                | JobState::Skipped => self.finished(*job, state)?,
            },
            Event::Log { job, bytes } => {
                let last = bytes.split(|b| *b == b'\n').rfind(|line| !line.is_empty());
                if let (Some(running), Some(line)) = (self.running.get_mut(job), last) {
                    running.last = words::log_line(line, Paint(false));
                }
                // The next tick shows it: a chatty job must not redraw for every line.
                return Ok(());
            }
            Event::Notice(text) => {
                let line = self.paint.on(Colour::Yellow, text);
                self.above(&line)?;
            }
            Event::Ended(ended) => {
                self.wipe()?;
                self.failing_logs(ended)?;
                writeln!(self.out)?;
                write!(self.out, "{}", words::table(&self.jobs, ended, self.paint))?;
                return self.out.flush();
            }
        }
        self.draw()
    }

    fn tick(&mut self) -> io::Result<()> {
        if self.running.is_empty() {
            return Ok(());
        }
        self.step += 1;
        self.draw()
    }

    fn ticks(&self) -> bool {
        true
    }
}

/// One JSON object a line, as `docs/local.md` describes them.
pub struct Json<W> {
    out: W,
    jobs: Vec<JobName>,
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, jobs: Vec::new() }
    }

    /// Name of a job, and of the bridges above it, as fields.
    fn who(&self, job: usize) -> Value {
        let mut fields = json!({"job": self.jobs.get(job).map_or("?", |j| j.name.as_str())});
        merge(&mut fields, parents(&self.jobs, job));
        fields
    }
}

impl<W: Write> View for Json<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Started(started) => {
                self.jobs.clone_from(&started.jobs);
                let jobs: Vec<Value> =
                    started.jobs.iter().map(|j| json!({"name": j.name, "stage": j.stage})).collect();
                let line = json!({"event": "started", "pipeline": started.pipeline, "ref": started.git_ref,
                    "sha": started.sha, "dirty": started.dirty, "jobs": jobs});
                writeln!(self.out, "{line}")?;
            }
            Event::Child { bridge, pipeline, jobs } => {
                self.jobs.extend(jobs.iter().cloned());
                let jobs: Vec<Value> =
                    jobs.iter().map(|j| json!({"name": j.name, "stage": j.stage})).collect();
                let mut line = json!({"event": "child"});
                merge(&mut line, self.who(*bridge));
                merge(&mut line, json!({"pipeline": pipeline, "jobs": jobs}));
                writeln!(self.out, "{line}")?;
            }
            Event::Job { job, state } => {
                let mut line = json!({"event": "job"});
                merge(&mut line, self.who(*job));
                merge(&mut line, state_json(state));
                writeln!(self.out, "{line}")?;
            }
            Event::Log { job, bytes } => {
                for text in bytes.split_inclusive(|b| *b == b'\n') {
                    let text = words::log_line(text, Paint(false));
                    let mut line = json!({"event": "log"});
                    merge(&mut line, self.who(*job));
                    merge(&mut line, json!({"text": text}));
                    writeln!(self.out, "{line}")?;
                }
            }
            Event::Notice(text) => writeln!(self.out, "{}", json!({"event": "notice", "text": text}))?,
            Event::Ended(ended) => {
                let jobs: Vec<Value> = self
                    .jobs
                    .iter()
                    .zip(&ended.jobs)
                    .zip(&ended.logs)
                    .enumerate()
                    .map(|(at, ((job, state), log))| {
                        let mut line = json!({"name": job.name, "stage": job.stage});
                        merge(&mut line, parents(&self.jobs, at));
                        merge(&mut line, state_json(state));
                        if let (Some(log), Some(map)) = (log, line.as_object_mut()) {
                            map.insert("log".into(), json!(log));
                        }
                        line
                    })
                    .collect();
                let status = match ended.status {
                    harrier_local::PipelineStatus::Passed => "success",
                    harrier_local::PipelineStatus::PassedWithWarnings => "success_with_warnings",
                    harrier_local::PipelineStatus::Failed => "failed",
                    harrier_local::PipelineStatus::Canceled => "canceled",
                    harrier_local::PipelineStatus::Blocked => "manual",
                    harrier_local::PipelineStatus::Skipped => "skipped",
                };
                let line = json!({"event": "ended", "status": status,
                    "seconds": ended.time.as_secs_f64(), "jobs": jobs});
                writeln!(self.out, "{line}")?;
            }
        }
        self.out.flush()
    }
}

fn state_json(state: &JobState) -> Value {
    match state {
        JobState::Created => json!({"status": "created"}),
        JobState::WaitingForResource => json!({"status": "waiting_for_resource"}),
        JobState::Scheduled(delay) => json!({"status": "scheduled", "delay_seconds": delay.as_secs_f64()}),
        JobState::Manual => json!({"status": "manual"}),
        JobState::Pending => json!({"status": "pending"}),
        JobState::Running { attempt } => json!({"status": "running", "attempt": attempt}),
        JobState::Retrying(why) => {
            json!({"status": "retrying", "failure_reason": why.reason, "exit_code": why.exit_code})
        }
        JobState::Canceling => json!({"status": "canceling"}),
        JobState::Passed { time } => json!({"status": "success", "seconds": time.as_secs_f64()}),
        JobState::Failed { time, failure, allowed } => json!({"status": "failed", "allowed": allowed,
            "failure_reason": failure.reason, "exit_code": failure.exit_code, "seconds": time.as_secs_f64()}),
        JobState::Canceled { time } => {
            json!({"status": "canceled", "seconds": time.map(|t| t.as_secs_f64())})
        }
        JobState::Skipped => json!({"status": "skipped"}),
    }
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

/// The bridges above a job of a child pipeline, the outermost first; nothing for other jobs.
fn parents(jobs: &[JobName], job: usize) -> Value {
    match words::bridges(jobs, job) {
        none if none.is_empty() => json!({}),
        some => json!({ "parents": some.iter().map(|j| j.name.as_str()).collect::<Vec<_>>() }),
    }
}

fn child_line(jobs: &[JobName], bridge: usize, pipeline: i64, count: usize) -> String {
    let count = if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") };
    format!("Child pipeline {pipeline} of {}: {count}", words::label(jobs, bridge))
}

fn headline(started: &Started, paint: Paint) -> String {
    let short: String = started.sha.chars().take(8).collect();
    let tree = if started.dirty { ", with the changes of the work tree" } else { "" };
    let count = match started.jobs.len() {
        1 => "1 job".to_owned(),
        n => format!("{n} jobs"),
    };
    let line = format!("Pipeline {} of {} at {short}{tree}: {count}", started.pipeline, started.git_ref);
    paint.on(Colour::Bold, &line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_local::{Failure, PipelineStatus};

    /// What a terminal would show: knows line feeds, going up, and wiping below.
    fn screen(bytes: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = vec![String::new()];
        let mut row = 0;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\n' => {
                    row += 1;
                    if row == lines.len() {
                        lines.push(String::new());
                    }
                }
                '\x1b' => {
                    let sequence: String =
                        chars.by_ref().skip(1).take_while(|c| c.is_ascii_digit()).collect();
                    match sequence.parse::<usize>() {
                        // `[nA`; the letter is taken with the digits.
                        Ok(up) => row = row.checked_sub(up).expect("never above the first line"),
                        // `[J`
                        Err(_) => {
                            lines.truncate(row);
                            lines.push(String::new());
                        }
                    }
                }
                c => lines[row].push(c),
            }
        }
        lines
    }

    fn started(names: &[&str]) -> Event {
        let jobs =
            names.iter().map(|n| JobName { name: (*n).into(), stage: "test".into(), bridge: None }).collect();
        let (git_ref, sha) = ("main".into(), "0123456789".into());
        Event::Started(Started { pipeline: 7, git_ref, sha, dirty: true, jobs })
    }

    #[test]
    fn the_live_view_keeps_what_ended_and_draws_what_runs() {
        let mut view = Live::new(Vec::new(), Paint(false), || (60, 10));
        let mut tell = |event: Event| view.event(&event).expect("memory");
        tell(started(&["one", "two", "three"]));
        tell(Event::Job { job: 0, state: JobState::Running { attempt: 1 } });
        tell(Event::Job { job: 1, state: JobState::Running { attempt: 1 } });
        tell(Event::Log { job: 1, bytes: "first\nsecond\n".into() });
        tell(Event::Job { job: 0, state: JobState::Passed { time: Duration::from_secs(1) } });
        let shown = screen(&view.out);
        assert_eq!(shown[0], "Pipeline 7 of main at 01234567, with the changes of the work tree: 3 jobs");
        assert!(shown[1].starts_with("✓ one") && shown[1].ends_with("passed"), "{shown:?}");
        assert!(shown[2].starts_with("⠋ two") && shown[2].ends_with("second"), "{shown:?}");
        assert_eq!(&shown[3..], ["  1 of 3 done, 1 running", ""]);

        let why = Failure { reason: "script_failure".into(), exit_code: Some(2) };
        let failed = JobState::Failed { time: Duration::from_secs(2), failure: why, allowed: false };
        let log = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(log.path(), "all of\nthe log\n").expect("a file");
        let mut tell = |event: Event| view.event(&event).expect("memory");
        tell(Event::Job { job: 1, state: failed.clone() });
        tell(Event::Job { job: 2, state: JobState::Skipped });
        tell(Event::Ended(Ended {
            status: PipelineStatus::Failed,
            time: Duration::from_secs(3),
            jobs: vec![JobState::Passed { time: Duration::from_secs(1) }, failed, JobState::Skipped],
            logs: vec![None, Some(log.path().to_owned()), None],
        }));
        let shown = screen(&view.out);
        let from = shown.iter().position(|l| l == "Log of two").expect("the failing job's log");
        assert_eq!(&shown[from + 1..from + 4], ["all of", "the log", ""]);
        assert_eq!(shown[shown.len() - 2], "Pipeline failed in 3.00 s");
    }

    #[test]
    fn the_live_view_stays_within_a_small_terminal() {
        let mut view = Live::new(Vec::new(), Paint(false), || (20, 6));
        let names: Vec<String> = (0..30).map(|n| format!("a-job-with-a-long-name-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        view.event(&started(&names)).expect("memory");
        for job in 0..30 {
            view.event(&Event::Job { job, state: JobState::Running { attempt: 1 } }).expect("memory");
        }
        view.tick().expect("memory");
        assert!(view.drawn < 6, "{} lines", view.drawn);
        let shown = screen(&view.out);
        assert!(shown[1..].iter().all(|line| words::width(line) <= 20), "{shown:?}");
    }

    #[test]
    fn plain_lines_name_their_job() {
        let mut view = Plain::new(Vec::new(), Paint(false));
        for event in [
            started(&["a", "long"]),
            Event::Job { job: 0, state: JobState::Running { attempt: 1 } },
            Event::Log { job: 0, bytes: b"\x1b[32;1m$ make\x1b[0;m\nno end".to_vec() },
            Event::Job { job: 1, state: JobState::Manual },
        ] {
            view.event(&event).expect("memory");
        }
        let said = String::from_utf8_lossy(&view.out);
        let said: Vec<&str> = said.lines().skip(1).collect();
        assert_eq!(said, ["[a]    $ make", "[a]    no end", "[long] ▸ manual"]);
    }

    #[test]
    fn json_lines_are_what_the_document_says() {
        let mut view = Json::new(Vec::new());
        let why = Failure { reason: "job_execution_timeout".into(), exit_code: None };
        for event in [
            started(&["a"]),
            Event::Job { job: 0, state: JobState::Scheduled(Duration::from_secs(90)) },
            Event::Job { job: 0, state: JobState::Retrying(why) },
            Event::Log { job: 0, bytes: b"x\n".to_vec() },
        ] {
            view.event(&event).expect("memory");
        }
        assert_eq!(
            String::from_utf8_lossy(&view.out),
            concat!(
                r#"{"event":"started","pipeline":7,"ref":"main","sha":"0123456789","dirty":true,"#,
                r#""jobs":[{"name":"a","stage":"test"}]}"#,
                "\n",
                r#"{"event":"job","job":"a","status":"scheduled","delay_seconds":90.0}"#,
                "\n",
                r#"{"event":"job","job":"a","status":"retrying","failure_reason":"job_execution_timeout","#,
                r#""exit_code":null}"#,
                "\n",
                r#"{"event":"log","job":"a","text":"x"}"#,
                "\n",
            )
        );
    }
}
