//! A program on a terminal of its own, for a person who comes from elsewhere (`executors.md` §9). It is no stage of a job: it
//! has no supervisor, and it ends with this process's interest in it.
//!
//! Called by the shell executor.

use crate::spec::MARK_VARIABLE;
use crate::{kernel, process_table, sweep};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};

/// A program for a terminal.
pub struct OnTerminal {
    /// The program; without a `/` it is searched for in the `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Put on top of this process's own environment.
    pub env: Vec<(String, String)>,
    /// Taken out of this process's own environment.
    pub unset: Vec<String>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Columns and rows.
    pub size: (u16, u16),
}

/// The program as it runs. When it is dropped, the program and all it has started are killed.
pub struct Terminal {
    controller: AsyncFd<OwnedFd>,
    child: Child,
    group: Option<Pid>,
    mark: String,
}

impl Terminal {
    /// Starts the program as the leader of a session whose terminal is a new one.
    pub fn start(what: &OnTerminal) -> io::Result<Self> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let (ws_col, ws_row) = what.size;
        tcsetwinsize(&controller, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })?;
        let name = ptsname(&controller, Vec::new())?;
        let seat = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(OsStr::from_bytes(name.as_bytes()))?;
        fcntl(&controller, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
        let mark = format!("terminal.{}{}", process_table::random_word()?, process_table::random_word()?);
        let mut command = std::process::Command::new(&what.program);
        command.args(&what.args).current_dir(&what.cwd);
        for name in &what.unset {
            command.env_remove(name);
        }
        command.envs(what.env.iter().map(|(key, value)| (key, value))).env(MARK_VARIABLE, &mark);
        command.stdin(seat.try_clone()?).stdout(seat.try_clone()?).stderr(seat);
        kernel::lead_terminal(&mut command);
        let child = Command::from(command).spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { controller: kernel::watch_both(controller)?, child, group, mark })
    }

    /// Copies what is typed and what is shown until the program has ended or nothing more is typed.
    pub async fn serve(
        &mut self,
        input: &mut (dyn AsyncRead + Send + Unpin),
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> io::Result<()> {
        let controller = &self.controller;
        let typing = async {
            let mut buffer = [0; 4096];
            loop {
                match input.read(&mut buffer).await? {
                    0 => return Ok(()),
                    count => write_all(controller, &buffer[..count]).await?,
                }
            }
        };
        let showing = async {
            let mut buffer = [0; 16 * 1024];
            loop {
                match read(controller, &mut buffer).await {
                    Ok(0) => return Ok(()),
                    Ok(count) => {
                        output.write_all(&buffer[..count]).await?;
                        output.flush().await?;
                    }
                    // Nobody has the terminal open any more.
                    Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        let ended = tokio::select! {
            ended = showing => ended,
            left = typing => return left,
            // A process that it has left behind may keep the terminal open for ever.
            ended = self.child.wait() => ended.map(drop),
        };
        // What it has said last.
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = rustix::io::read(controller.get_ref(), &mut buffer) {
            output.write_all(&buffer[..count]).await?;
        }
        output.flush().await?;
        ended
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Its number is its own as long as it was not waited for.
        if let Some(group) = self.group.filter(|_| matches!(self.child.try_wait(), Ok(None))) {
            // It may end by itself at this moment.
            let _ = killpg(group, Signal::SIGKILL);
        }
        let mark = std::mem::take(&mut self.mark);
        // Those that have left the group; looking through all processes blocks.
        tokio::task::spawn_blocking(move || sweep::sweep_marked(&mark));
    }
}

async fn read(fd: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = fd.readable().await?;
        if let Ok(done) = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *buffer)?)) {
            return done;
        }
    }
}

async fn write_all(fd: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = fd.writable().await?;
        if let Ok(done) = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
            bytes = &bytes[done?..];
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shell(text: &str) -> OnTerminal {
        OnTerminal {
            program: "sh".into(),
            args: vec!["-c".into(), text.into()],
            env: vec![("COLOUR".into(), "red".into())],
            unset: vec!["HOME".into()],
            cwd: "/".into(),
            size: (91, 17),
        }
    }

    #[tokio::test]
    async fn a_terminal_with_its_size_and_its_environment() {
        let text = "stty size; tty | cut -c1-8; echo $COLOUR ${HOME-none}; read word; echo got $word; exit 3";
        let mut terminal = Terminal::start(&shell(text)).expect("started");
        let (mut person, typed) = tokio::io::duplex(1024);
        person.write_all(b"hello\n").await.expect("typed");
        let (mut input, mut output) = (typed, Vec::new());
        terminal.serve(&mut input, &mut output).await.expect("served");
        let seen = String::from_utf8_lossy(&output);
        for words in ["17 91\r\n", "/dev/pts\r\n", "red none\r\n", "got hello\r\n"] {
            assert!(seen.contains(words), "{seen}");
        }
    }

    #[tokio::test]
    async fn all_of_it_ends_with_the_visit() {
        let mark = {
            let mut terminal = Terminal::start(&shell("setsid sleep 1000 & sleep 1000")).expect("started");
            // Nothing is typed: the person has left.
            terminal.serve(&mut tokio::io::empty(), &mut Vec::new()).await.expect("served");
            terminal.mark.clone()
        };
        let gone = async {
            while !process_table::marked(MARK_VARIABLE, &mark).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("all is gone");
    }
}
