//! How a program ended.

use crate::process_table::ProcessId;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a supervised program ended; the content of `K.n.exit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
    /// It left a memory dump.
    pub core_dumped: bool,
    /// It could not be started at all: why. Then there is neither code nor signal.
    pub not_started: Option<String>,
    /// Processes it left behind still run.
    pub leftovers: bool,
    /// Bytes of output that could not be written to the raw log; what did get there is a whole beginning.
    pub output_lost: u64,
    /// Why output was lost, e.g. that the disk is full, with the path.
    pub output_error: Option<String>,
    /// Processes left behind, as far as there was room; for [`crate::sweep`].
    pub(crate) left: Vec<ProcessId>,
}

impl Exit {
    /// A death by `signal`.
    pub(crate) fn by_signal(signal: Signal) -> Self {
        Self { signal: Some(signal as i32), ..Self::default() }
    }

    /// Whether the program ended with 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }
}

/// `exit status 1`, `signal: killed`, as GitLab Runner's logs have it.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.not_started {
            return f.write_str(why);
        }
        if let Some(code) = self.code {
            return write!(f, "exit status {code}");
        }
        let number = self.signal.unwrap_or_default();
        match Signal::try_from(number).ok().and_then(signal_words) {
            Some(words) => write!(f, "signal: {words}")?,
            None => write!(f, "signal: signal {number}")?,
        }
        if self.core_dumped {
            f.write_str(" (core dumped)")?;
        }
        Ok(())
    }
}

fn signal_words(signal: Signal) -> Option<&'static str> {
    Some(match signal {
        Signal::SIGHUP => "hangup",
        Signal::SIGINT => "interrupt",
        Signal::SIGQUIT => "quit",
        Signal::SIGILL => "illegal instruction",
        Signal::SIGTRAP => "trace/breakpoint trap",
        Signal::SIGABRT => "aborted",
        Signal::SIGBUS => "bus error",
        Signal::SIGFPE => "floating point exception",
        Signal::SIGKILL => "killed",
        Signal::SIGUSR1 => "user defined signal 1",
        Signal::SIGSEGV => "segmentation fault",
        Signal::SIGUSR2 => "user defined signal 2",
        Signal::SIGPIPE => "broken pipe",
        Signal::SIGALRM => "alarm clock",
        Signal::SIGTERM => "terminated",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let code = Exit { code: Some(3), ..Exit::default() };
        assert_eq!(code.to_string(), "exit status 3");
        assert_eq!(Exit::by_signal(Signal::SIGKILL).to_string(), "signal: killed");
        let dumped = Exit { core_dumped: true, ..Exit::by_signal(Signal::SIGSEGV) };
        assert_eq!(dumped.to_string(), "signal: segmentation fault (core dumped)");
        assert_eq!(Exit { signal: Some(40), ..Exit::default() }.to_string(), "signal: signal 40");
    }
}
