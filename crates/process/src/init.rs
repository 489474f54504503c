//! The first process of a container: it passes signals on to the program, and takes leave of the dead that nobody waits for.
//!
//! Called by the binary's `main` before anything else. The kernel hands every orphan to process 1, and a signal without a
//! handler does not reach it; a program that only minds its own children would leave zombies, and could not be stopped.

use crate::kernel;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use std::io;

/// Who sent a signal: the kernel, to all of a terminal's foreground at once.
const FROM_KERNEL: i32 = nix::libc::SI_KERNEL;

/// Nothing, unless this is process 1: then the program goes on in a child of this one, and here, when the child has ended, its
/// exit code comes back. Only for a process that has just begun and has one thread.
pub fn stand_in_as_init() -> io::Result<Option<u8>> {
    if std::process::id() != 1 {
        return Ok(None);
    }
    // None is lost between the fork and the first wait: what is blocked waits.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
    match kernel::fork_single()? {
        ForkResult::Child => {
            before.thread_set_mask()?;
            Ok(None)
        }
        ForkResult::Parent { child } => serve(child).map(Some),
    }
}

fn serve(program: Pid) -> io::Result<u8> {
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)?;
    loop {
        match signals.read_signal() {
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGCHLD as u32 => {
                if let Some(code) = reap(program) {
                    return Ok(code);
                }
            }
            Ok(Some(signal)) => pass_on(program, &signal),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Every child that has ended; the exit code when the program is among them.
fn reap(program: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == program => {
                // Exit codes have eight bits.
                code = Some(u8::try_from(status & 0xff).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                code = Some(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}

fn pass_on(program: Pid, signal: &siginfo) {
    // The program is in the terminal's foreground as well: passed on it would have the signal twice, and twice means "at once".
    if signal.ssi_code == FROM_KERNEL {
        return;
    }
    let number = i32::try_from(signal.ssi_signo).ok();
    if let Some(signal) = number.and_then(|number| Signal::try_from(number).ok()) {
        // It may have ended just now.
        let _ = kill(program, signal);
    }
}
