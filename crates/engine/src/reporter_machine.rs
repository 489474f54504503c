//! The reporter as a pure machine: what to send next and when, given what the log holds and what the server
//! answered (`runner-api.md` §7, §8.2). The shell in `reporter.rs` does what it says. It must never do IO or look at
//! a clock: it is given `now`, the time since any fixed moment.
//!
//! One request is under way at a time: [`ReporterMachine::step`] says what to do; after a `Patch`, `Touch` or
//! `Final` the answer must come in before the next `step`.

use harrier_client::{PatchAnswer, Patched, UpdateAnswer, Updated};
use std::time::Duration;

/// Time since a moment that stays the same for one machine.
pub type Now = Duration;

/// Most bytes in one request.
pub const CHUNK: u64 = 1 << 20;

const FIRST_INTERVAL: Duration = Duration::from_secs(3);
const LONGEST_INTERVAL: Duration = Duration::from_secs(15 * 60);
const TOUCH_AFTER: Duration = Duration::from_secs(30);
/// Back-off between tries of the final phase: 1 s, doubled, up to this. The contract's cap is an hour; a
/// server that comes back after days should not wait that long for its results.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// So many 416 in a row without one accepted byte are a broken server, not two that have lost each other.
const FRUITLESS_RESYNCS: u32 = 10;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes of the log.
    Patch {
        /// First byte.
        start: u64,
        /// How many, 1 to [`CHUNK`].
        len: u64,
    },
    /// Send `state=running`.
    Touch,
    /// Send the final state.
    Final,
    /// Nothing until this time, or until the job has finished.
    Wait(Now),
    /// Nothing any more; [`ReporterMachine::outcome`] says how it ended.
    Done,
}

/// What the server wants of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop the script, run `after_script`, report.
    Cancel,
    /// Kill it; nothing more is reported.
    Abort(String),
}

/// How reporting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The server has acknowledged the final state.
    Acknowledged,
    /// The server wants nothing more of this job.
    Dropped {
        /// What it said.
        why: String,
        /// A final state had been sent before whose answer was lost or made no sense: most likely it got through.
        after_final: bool,
    },
    /// The server answers but does not take the final state; every try was used up.
    GaveUp(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The log ends at `len`.
    Final {
        len: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InFlight {
    Patch { len: u64 },
    Touch,
    Final,
}

/// See the top of the file.
#[derive(Debug)]
pub struct ReporterMachine {
    retry_limit: u32,
    phase: Phase,
    in_flight: Option<InFlight>,
    /// Bytes the log holds.
    length: u64,
    /// Where the next chunk starts.
    sent: u64,
    interval: Duration,
    next: Now,
    last_ok: Option<Now>,
    /// The tick's chunk is done, its touch is to be decided.
    touch_due: bool,
    cancel_told: bool,
    /// Tries of the final phase that ended in an error.
    failures: u32,
    resyncs: u32,
    skip_flush: bool,
    final_sent: bool,
    outcome: Option<Reported>,
}

impl ReporterMachine {
    /// For a log whose first `start` bytes the server has already (0, or what an earlier process of this runner
    /// noted). `retry_limit` is `job_status_final_update_retry_limit`.
    pub fn new(now: Now, start: u64, retry_limit: u32) -> Self {
        Self {
            retry_limit: retry_limit.max(1),
            phase: Phase::Running,
            in_flight: None,
            length: start,
            sent: start,
            interval: FIRST_INTERVAL,
            next: now + FIRST_INTERVAL,
            last_ok: None,
            touch_due: false,
            cancel_told: false,
            failures: 0,
            resyncs: 0,
            skip_flush: false,
            final_sent: false,
            outcome: None,
        }
    }

    /// The log holds `length` bytes now.
    pub fn grown(&mut self, length: u64) {
        self.length = self.length.max(length);
    }

    /// The job has its result and its log ends at `length`: the final phase begins, after the answer to what is
    /// under way.
    pub fn finish(&mut self, now: Now, length: u64) {
        self.length = length;
        self.phase = Phase::Final { len: length };
        self.interval = FIRST_INTERVAL;
        self.next = now;
        self.resyncs = 0;
    }

    /// Bytes the server has taken in an unbroken row, as far as is known.
    pub fn acknowledged(&self) -> u64 {
        self.sent
    }

    /// How it ended, once [`Step::Done`] was given.
    pub fn outcome(&self) -> Option<&Reported> {
        self.outcome.as_ref()
    }

    /// Failed tries of the final phase so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What to do now.
    pub fn step(&mut self, now: Now) -> Step {
        if self.outcome.is_some() {
            return Step::Done;
        }
        if now < self.next {
            return Step::Wait(self.next);
        }
        let pending = self.length.saturating_sub(self.sent).min(CHUNK);
        match self.phase {
            Phase::Running if pending > 0 && !self.touch_due => {
                self.in_flight = Some(InFlight::Patch { len: pending });
                Step::Patch { start: self.sent, len: pending }
            }
            Phase::Running if self.last_ok.is_none_or(|at| now.saturating_sub(at) > TOUCH_AFTER) => {
                self.touch_due = false;
                self.in_flight = Some(InFlight::Touch);
                Step::Touch
            }
            Phase::Running => {
                self.touch_due = false;
                self.next = now + self.interval;
                Step::Wait(self.next)
            }
            Phase::Final { .. } if pending > 0 && !self.skip_flush => {
                self.in_flight = Some(InFlight::Patch { len: pending });
                Step::Patch { start: self.sent, len: pending }
            }
            Phase::Final { .. } => {
                self.in_flight = Some(InFlight::Final);
                Step::Final
            }
        }
    }

    /// The answer to a [`Step::Patch`].
    pub fn patched(&mut self, now: Now, answer: &PatchAnswer) -> Option<Signal> {
        let Some(InFlight::Patch { len }) = self.in_flight.take() else { return None };
        self.obey(answer.interval);
        let running = self.phase == Phase::Running;
        match &answer.patched {
            Patched::Appended => {
                self.sent += len;
                self.last_ok = Some(now);
                self.resyncs = 0;
                if running {
                    self.touch_due = true;
                }
            }
            Patched::Resync(size) => {
                // Going forward means that an answer was lost, not the log: in the final phase nothing is waited for.
                let forward = *size > self.sent && *size <= self.length;
                self.sent = *size;
                self.resyncs += 1;
                if running || !forward {
                    self.next = now + self.interval;
                }
                if !running && self.resyncs >= FRUITLESS_RESYNCS {
                    self.resyncs = 0;
                    let why =
                        format!("the server asked {FRUITLESS_RESYNCS} times for another part of the log");
                    self.failed(now, why, false);
                }
            }
            Patched::NotFound if running => self.next = now + self.interval,
            Patched::NotFound => self.skip_flush = true,
            Patched::Abort(why) => return Some(self.abort(why)),
            Patched::Failed { .. } if running => self.next = now + self.interval,
            Patched::Failed { why, unreachable } => self.failed(now, why.clone(), *unreachable),
        }
        self.cancel(answer.cancel_requested)
    }

    /// The answer to a [`Step::Touch`] or a [`Step::Final`].
    pub fn updated(&mut self, now: Now, answer: &UpdateAnswer) -> Option<Signal> {
        let sent = self.in_flight.take()?;
        self.obey(answer.interval);
        if let Updated::Abort(why) = &answer.updated {
            return Some(self.abort(why));
        }
        match sent {
            InFlight::Patch { .. } => {}
            InFlight::Touch => {
                if answer.updated == Updated::Accepted {
                    self.last_ok = Some(now);
                }
                // A job that has finished meanwhile waits no longer.
                if self.phase == Phase::Running {
                    self.next = now + self.interval;
                }
            }
            InFlight::Final => {
                match &answer.updated {
                    Updated::Accepted => self.outcome = Some(Reported::Acknowledged),
                    Updated::Pending => self.next = now + self.interval,
                    Updated::TraceInvalid => {
                        self.sent = 0;
                        self.skip_flush = false;
                        self.next = now + self.interval;
                    }
                    Updated::Failed { why, unreachable } => self.failed(now, why.clone(), *unreachable),
                    Updated::Abort(_) => {}
                }
                self.final_sent = true;
            }
        }
        self.cancel(answer.cancel_requested)
    }

    fn obey(&mut self, interval: Option<Duration>) {
        if let Some(interval) = interval.filter(|i| !i.is_zero()) {
            self.interval = interval.min(LONGEST_INTERVAL);
        }
    }

    fn cancel(&mut self, requested: bool) -> Option<Signal> {
        if !requested || self.cancel_told || self.phase != Phase::Running {
            return None;
        }
        self.cancel_told = true;
        Some(Signal::Cancel)
    }

    fn abort(&mut self, why: &str) -> Signal {
        self.outcome = Some(Reported::Dropped { why: why.to_owned(), after_final: self.final_sent });
        Signal::Abort(why.to_owned())
    }

    /// A try of the final phase ended in an error: the whole block again, later.
    fn failed(&mut self, now: Now, why: String, unreachable: bool) {
        self.failures += 1;
        self.skip_flush = false;
        if self.failures >= self.retry_limit && !unreachable {
            self.outcome = Some(Reported::GaveUp(why));
            return;
        }
        let doublings = (self.failures - 1).min(20);
        self.next = now + Duration::from_secs(1 << doublings).min(LONGEST_BACKOFF);
    }
}

#[cfg(test)]
#[path = "reporter_machine_tests.rs"]
mod tests;
