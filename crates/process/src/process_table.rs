//! What `/proc` says of processes.

use crate::kernel;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

/// A process that cannot be mistaken for a later one of the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub pid: i32,
    /// Start, in clock ticks since the machine's start.
    pub start: u64,
}

struct Stat {
    parent: i32,
    zombie: bool,
    start: u64,
}

impl ProcessId {
    /// This process.
    pub fn own() -> Option<Self> {
        let pid = i32::try_from(std::process::id()).ok()?;
        Some(Self { pid, start: stat(pid)?.start })
    }

    /// A descriptor for it; `None` if it is no more.
    pub fn open(self) -> Option<OwnedFd> {
        // First the descriptor, then the look: whatever the look sees is what the descriptor means.
        let pidfd = kernel::pidfd_open(self.pid).ok()?;
        let stat = stat(self.pid)?;
        (stat.start == self.start && !stat.zombie).then_some(pidfd)
    }

    /// Kills it, and nothing else.
    pub fn kill(self) -> Option<OwnedFd> {
        self.signal(Signal::SIGKILL)
    }

    /// Signals it, and nothing else.
    pub fn signal(self, signal: Signal) -> Option<OwnedFd> {
        let pidfd = self.open()?;
        kernel::pidfd_send(&pidfd, signal).ok()?;
        Some(pidfd)
    }
}

/// An id that changes with every start of the machine; empty if the system does not tell.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Eight hexadecimal digits that nobody can foretell; for names that must not come twice.
pub fn random_word() -> io::Result<String> {
    // Any user can read it anywhere; a text of this form: 9e107d9d-372b-4b68-…
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(uuid.split('-').next().unwrap_or_default().to_owned())
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses; it may hold anything, parentheses too.
    let end = text.iter().rposition(|b| *b == b')')?;
    let text = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let mut fields = text.split(' ');
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let start = fields.nth(17)?.parse().ok()?;
    Some(Stat { parent, zombie, start })
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
}

/// Everything that descends from `roots` and still runs, without the roots.
pub(crate) fn descendants(roots: &[i32]) -> Vec<ProcessId> {
    let mut children: HashMap<i32, Vec<ProcessId>> = HashMap::new();
    for pid in pids() {
        if let Some(stat) = stat(pid)
            && !stat.zombie
        {
            children.entry(stat.parent).or_default().push(ProcessId { pid, start: stat.start });
        }
    }
    let mut found = Vec::new();
    let mut todo = roots.to_vec();
    while let Some(parent) = todo.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            todo.push(child.pid);
            found.push(child);
        }
    }
    found
}

/// Every process other than this one that has `value` among the comma-separated values of the environment
/// variable `name`.
pub(crate) fn marked(name: &str, value: &str) -> Vec<ProcessId> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let prefix = format!("{name}=");
    let has = |pid: i32| {
        // Empty for zombies and for kernel threads, unreadable for processes of others.
        let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        environ
            .split(|b| *b == 0)
            .filter_map(|entry| entry.strip_prefix(prefix.as_bytes()))
            .any(|values| values.split(|b| *b == b',').any(|one| one == value.as_bytes()))
    };
    pids()
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            // The start is read before the environment: if the id changes hands in between, `kill` notices.
            let start = stat(pid)?.start;
            has(pid).then_some(ProcessId { pid, start })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself() {
        let own = ProcessId::own().expect("own entry");
        assert!(own.open().is_some());
        assert!(
            ProcessId { start: own.start + 1, ..own }.open().is_none(),
            "another start is another process"
        );
        assert!(!boot_id().is_empty());
    }
}
