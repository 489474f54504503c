//! Ending what a job left behind.

use crate::claim;
use crate::process_table::{self, ProcessId};
use crate::spec::MARK_VARIABLE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rounds of looking and killing; each finds what was being made during the one before.
const ROUNDS: u32 = 50;

/// For how long killed processes are waited for, in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many processes it killed.
    pub killed: usize,
    /// Process ids of those that are there in spite of it: they hang in the kernel, or belong to another user.
    pub left: Vec<i32>,
}

/// Ends everything that programs started in `dir` with `mark` left behind. Looks at all processes only if there is a
/// reason: a program with leftovers, or without a result. Blocks for some milliseconds, or up to 5 s if
/// processes hang.
pub fn sweep(dir: &Path, mark: &str) -> Swept {
    let taken = claim::taken_in(dir).unwrap_or_default();
    let mut known = Vec::new();
    let mut reason = false;
    for (supervisor, exit) in taken {
        match exit {
            Some(exit) => {
                reason |= exit.leftovers;
                known.extend(exit.left);
            }
            None => {
                reason = true;
                known.push(supervisor);
            }
        }
    }
    if reason { end_all(&known, mark) } else { Swept::default() }
}

/// Ends every process that has `mark` in its environment.
pub fn sweep_marked(mark: &str) -> Swept {
    end_all(&[], mark)
}

fn end_all(known: &[ProcessId], mark: &str) -> Swept {
    let mut killed = HashSet::new();
    let mut known: HashSet<ProcessId> = known.iter().copied().collect();
    let end = Instant::now() + PATIENCE;
    let mut left = Vec::new();
    for _ in 0..ROUNDS {
        known.retain(|process| process.open().is_some());
        let roots: Vec<i32> = known.iter().map(|process| process.pid).collect();
        known.extend(process_table::descendants(&roots));
        known.extend(process_table::marked(MARK_VARIABLE, mark));
        left = known.iter().map(|process| process.pid).collect();
        if known.is_empty() {
            break;
        }
        let mut dying = Vec::new();
        for process in &known {
            if let Some(pidfd) = process.kill() {
                killed.insert(*process);
                dying.push(pidfd);
            }
        }
        let Some(rest) = end.checked_duration_since(Instant::now()) else { break };
        wait_for(&dying, rest);
    }
    Swept { killed: killed.len(), left }
}

/// Waits until all have ended, but no longer than `patience`.
fn wait_for(dying: &[OwnedFd], patience: Duration) {
    let end = Instant::now() + patience;
    for pidfd in dying {
        let rest = end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        // Interrupted or not: the next round looks again.
        let _ = poll(&mut fds, PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX));
    }
}
