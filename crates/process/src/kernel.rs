//! System calls that neither the standard library nor `nix` offer in a safe form. The only `unsafe` of Harrier.
#![allow(unsafe_code)]

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::unistd::ForkResult;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor for a process, by which it can be waited for and signalled without mistaking another of the same id
/// for it. Close on exec.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers, touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0 as libc::c_long) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process of a pidfd.
pub(crate) fn pidfd_send(pidfd: &OwnedFd, signal: Signal) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as the borrow lives; a null `siginfo_t` is allowed and means the
    // same as `kill`.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            libc::c_long::from(pidfd.as_raw_fd()),
            libc::c_long::from(signal as i32),
            std::ptr::null::<libc::siginfo_t>(),
            0 as libc::c_long,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets a task wait for a pidfd to become readable, which it is when its process has ended.
pub(crate) fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and is the same descriptor, until the `AsyncFd` that owns it drops it.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Lets a task wait for a terminal to have something to read and room to write.
pub(crate) fn watch_both(terminal: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as in `watch`.
    unsafe { AsyncFd::register(terminal) }.map_err(io::Error::from)
}

/// A copy of this process. Only for one that has a single thread.
pub(crate) fn fork_single() -> nix::Result<ForkResult> {
    // SAFETY: without other threads no lock can be held by one that the copy does not have, so the copy may do anything.
    unsafe { nix::unistd::fork() }
}

/// Closes every descriptor from 3 up. Only for a process that has just begun and has opened nothing itself.
pub(crate) fn close_inherited() {
    // SAFETY: the supervisor calls this before it opens or wraps any descriptor above 2, so no owner in this
    // process loses its descriptor. Without the system call (before Linux 5.9) nothing happens, which only
    // matters for descriptors that somebody forgot to mark close on exec.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_long,
            libc::c_long::from(u32::MAX),
            0 as libc::c_long,
        )
    };
}

/// Makes the program of `command` start with no signal blocked or ignored, whatever this process does.
pub(crate) fn unblock_signals(command: &mut Command) {
    // SAFETY: between `fork` and `exec` only `pthread_sigmask` and `sigaction` are called, which are
    // async-signal-safe; the function allocates nothing and captures nothing.
    unsafe { command.pre_exec(default_signals) };
}

/// Makes the program of `command` lead a session of its own whose terminal is its standard input.
pub(crate) fn lead_terminal(command: &mut Command) {
    // SAFETY: between `fork` and `exec` only system calls are made that are async-signal-safe; the function allocates
    // nothing and captures nothing.
    unsafe { command.pre_exec(take_terminal) };
}

fn take_terminal() -> std::io::Result<()> {
    default_signals()?;
    rustix::process::setsid()?;
    // Standard input is the terminal by now: the standard library puts the streams in place before it calls us.
    rustix::process::ioctl_tiocsctty(std::io::stdin())?;
    Ok(())
}

/// No signal blocked, and those that end programs doing so: whoever started the runner (`nohup`, a service manager) may have
/// had them ignored, and what is ignored is inherited.
fn default_signals() -> std::io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGPIPE] {
        // SAFETY: the default handler is no code of ours; `sigaction` may be called between fork and exec.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl)? };
    }
    Ok(())
}
