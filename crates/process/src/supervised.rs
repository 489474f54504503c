//! The caller's side: start a supervisor, find it again, wait for it, stop it.

use crate::claim::{Attempt, Claim, ClaimError};
use crate::exit::Exit;
use crate::kernel;
use crate::spec::{Orders, Spec};
use crate::supervisor::{Failed, SUPERVISE};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs::File;
use std::future::Future;
use std::io::{self, PipeWriter, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Asks the supervisor to send SIGTERM to the program's process group.
pub(crate) const TERMINATE: Signal = Signal::SIGUSR1;
/// Asks the supervisor to kill the program and everything that descends from it.
pub(crate) const KILL: Signal = Signal::SIGUSR2;

/// A file's name has 255 bytes; the rest is for what comes behind the key.
const LONGEST_KEY: usize = 200;

/// A program that runs, or is about to, under a supervisor.
pub struct Supervised {
    attempt: Attempt,
    supervisor: Supervisor,
    told_to_stop: bool,
    /// Its end is the supervisor's order to kill everything.
    _lifeline: Option<PipeWriter>,
}

enum Supervisor {
    /// Our child.
    Child(tokio::process::Child),
    /// The child of an earlier process.
    Found(AsyncFd<OwnedFd>),
}

/// What became of a program an earlier process had started.
pub enum Reattach {
    /// It never began and now never will; it may be started again.
    NeverStarted,
    /// It runs.
    Running(Supervised),
    /// It ended.
    Ended(Exit),
    /// Its supervisor is gone and left no result. It may have run; it must not be started again.
    Lost,
}

/// A program could not be started; it did not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key with characters a file name must not have, or too many.
    #[error(
        "`{key}` cannot name a supervised program: it may have {LONGEST_KEY} letters, digits, `.`, `_`, `-`, `~`"
    )]
    BadKey {
        /// The key.
        key: String,
    },
    /// It was started before.
    #[error("`{key}` in {} was started before and is not started a second time", dir.display())]
    AlreadyStarted {
        /// The job's directory.
        dir: PathBuf,
        /// The key.
        key: String,
    },
    /// Files of the protocol.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The supervisor could not be made.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// Why not.
        source: io::Error,
    },
}

/// It cannot be found out what became of a program.
#[derive(Debug, thiserror::Error)]
pub enum ReattachError {
    /// Files of the protocol.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The supervisor is there but cannot be watched.
    #[error("cannot watch process {pid}, the supervisor of `{key}`: {source}")]
    Watch {
        /// Process id.
        pid: i32,
        /// The key.
        key: String,
        /// Why not.
        source: io::Error,
    },
}

/// A program has no result.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It was never begun.
    #[error("the program was not started: {why}")]
    NeverBegan {
        /// Why.
        why: String,
    },
    /// Its supervisor ended without a word.
    #[error(
        "the supervisor of `{key}` ended without leaving a result (killed, or out of memory?); whether the script ended well is not known, and it is not run again"
    )]
    Vanished {
        /// The key.
        key: String,
    },
    /// Its supervisor cannot be asked.
    #[error("cannot learn how `{key}` ended: {source}")]
    Unknown {
        /// The key.
        key: String,
        /// Why not.
        source: io::Error,
    },
    /// Files of the protocol.
    #[error(transparent)]
    Claim(#[from] ClaimError),
}

/// A program could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopFailed {
    /// Not even SIGKILL ended it: it hangs in the kernel.
    #[error("failed to kill process of `{key}` (supervisor {supervisor}), likely process is dormant")]
    Dormant {
        /// The key.
        key: String,
        /// Process id of the supervisor.
        supervisor: i32,
    },
    /// It ended, but nobody knows how.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Starts a program under a supervisor of its own. Returns as soon as the supervisor exists, in about a
/// millisecond; that the program could not be started is learnt from [`Supervised::wait`]. Must be called in a tokio
/// runtime.
pub async fn start(spec: Spec) -> Result<Supervised, StartError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '~');
    if spec.key.is_empty() || spec.key.len() > LONGEST_KEY || !spec.key.chars().all(fine) {
        return Err(StartError::BadKey { key: spec.key });
    }
    let system = |doing: &str| {
        let doing = doing.to_owned();
        move |source| StartError::System { doing, source }
    };
    // The supervisor changes its working directory.
    let absolute = |path: &Path| std::path::absolute(path).map_err(system("find the working directory"));
    let dir = absolute(&spec.dir)?;
    let mut attempt = Attempt::new(&dir, &spec.key, 0);
    loop {
        match attempt.claim()? {
            None => break,
            Some(Claim::Void) => attempt = attempt.next(),
            Some(Claim::Taken(_)) => return Err(StartError::AlreadyStarted { dir, key: spec.key }),
        }
    }
    let orders = Orders {
        raw_log: absolute(&spec.raw_log)?,
        cwd: absolute(&spec.cwd)?,
        dir,
        key: spec.key,
        attempt: attempt.number(),
        program: spec.program,
        args: spec.args,
        env: spec.env,
        clear_env: spec.clear_env,
        mark: spec.mark,
        stream: spec.stream,
        lifeline: spec.die_with_parent,
    };
    let json =
        serde_json::to_vec(&orders).map_err(|e| system("pass on a path that is not UTF-8")(e.into()))?;
    let (lifeline, stderr) = if spec.die_with_parent {
        let (reader, writer) = io::pipe().map_err(system("make a pipe"))?;
        (Some(writer), Stdio::from(reader))
    } else {
        (None, Stdio::null())
    };
    let mut command = std::process::Command::new(&spec.supervisor);
    // Only for people who look at the list of processes.
    let job = orders.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.arg(SUPERVISE).arg(format!("{job}/{}", orders.key));
    if spec.clear_env {
        command.env_clear();
    }
    for name in &spec.unset {
        command.env_remove(name);
    }
    // The three standard descriptors are the only ones a child gets; see the supervisor for what they are.
    command
        .stdin(memory_file("orders", &json).map_err(system("keep the orders of the supervisor"))?)
        .stdout(memory_file("stdin", &spec.stdin).map_err(system("keep the script"))?)
        .stderr(stderr);
    let child = tokio::process::Command::from(command)
        .spawn()
        .map_err(system(&format!("start the supervisor {}", spec.supervisor.display())))?;
    Ok(Supervised { attempt, supervisor: Supervisor::Child(child), told_to_stop: false, _lifeline: lifeline })
}

/// Finds out what became of the program `key` that an earlier process had started, or had been about to. Must be called
/// in a tokio runtime.
pub fn reattach(dir: &Path, key: &str) -> Result<Reattach, ReattachError> {
    let mut attempt = Attempt::new(dir, key, 0);
    loop {
        let who = match attempt.claim()? {
            None if attempt.take(Claim::Void)? => return Ok(Reattach::NeverStarted),
            // Somebody was faster: look again.
            None => continue,
            Some(Claim::Void) => {
                attempt = attempt.next();
                continue;
            }
            Some(Claim::Taken(who)) => who,
        };
        if let Some(exit) = attempt.exit()? {
            return Ok(Reattach::Ended(exit));
        }
        let Some(pidfd) = who.open() else {
            // It may have ended well between the two looks.
            return Ok(attempt.exit()?.map_or(Reattach::Lost, Reattach::Ended));
        };
        let found = kernel::watch(pidfd).map_err(|source| ReattachError::Watch {
            pid: who.pid,
            key: key.to_owned(),
            source,
        })?;
        return Ok(Reattach::Running(Supervised {
            attempt,
            supervisor: Supervisor::Found(found),
            told_to_stop: false,
            _lifeline: None,
        }));
    }
}

impl Supervised {
    /// Waits for the end of the program *and* of its output: what it left in the background with its output open is
    /// waited for (`executors.md` §9). May be dropped and called again.
    pub async fn wait(&mut self) -> Result<Exit, Lost> {
        let unknown = |source| Lost::Unknown { key: self.attempt.key().to_owned(), source };
        let ended = match &mut self.supervisor {
            Supervisor::Child(child) => Some(child.wait().await.map_err(unknown)?),
            Supervisor::Found(pidfd) => {
                // Dropping the guard leaves it readable: a process ends only once.
                let _ = pidfd.readable().await.map_err(unknown)?;
                None
            }
        };
        if let Some(exit) = self.attempt.exit()? {
            return Ok(exit);
        }
        // The supervisor is gone, so the claim is taken or never will be by it.
        match self.attempt.claim()? {
            Some(Claim::Taken(_)) => Err(Lost::Vanished { key: self.attempt.key().to_owned() }),
            Some(Claim::Void) | None if self.told_to_stop => Ok(Exit::by_signal(Signal::SIGTERM)),
            Some(Claim::Void) | None => {
                let why = match ended.and_then(|status| Failed::of(status.code()?)) {
                    Some(failed) => failed.words(self.attempt.dir()),
                    None => "its supervisor was killed before it could".to_owned(),
                };
                Err(Lost::NeverBegan { why })
            }
        }
    }

    /// Sends SIGTERM to the program's process group. Does nothing if it has ended.
    pub fn terminate(&mut self) {
        self.signal(TERMINATE);
    }

    /// Sends SIGKILL to the program's process group and to all that descends from it, until nothing is left, and ends the
    /// wait for its output.
    pub fn kill(&mut self) {
        self.signal(KILL);
    }

    fn signal(&mut self, signal: Signal) {
        self.told_to_stop = true;
        // An error means that it is no more, which `wait` tells.
        match &self.supervisor {
            Supervisor::Child(child) => {
                // `id` is there as long as the child has not been reaped, so it is nobody else's.
                if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
                    let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
                }
            }
            Supervisor::Found(pidfd) => {
                let _ = kernel::pidfd_send(pidfd.get_ref(), signal);
            }
        }
    }

    fn supervisor_id(&self) -> i32 {
        match &self.supervisor {
            Supervisor::Child(child) => child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0),
            Supervisor::Found(_) => match self.attempt.claim() {
                Ok(Some(Claim::Taken(who))) => who.pid,
                Ok(Some(Claim::Void) | None) | Err(_) => 0,
            },
        }
    }
}

/// Stops a program (`runner-api.md` §8.2): SIGTERM; after `graceful`, or as soon as `hurry` is ready, SIGKILL; after
/// `force` more it gives up.
pub async fn stop_ladder(
    program: &mut Supervised,
    graceful: Duration,
    force: Duration,
    hurry: impl Future<Output = ()>,
) -> Result<Exit, StopFailed> {
    program.terminate();
    tokio::select! {
        ended = program.wait() => return Ok(ended?),
        () = tokio::time::sleep(graceful) => {}
        () = hurry => {}
    }
    program.kill();
    match tokio::time::timeout(force, program.wait()).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(StopFailed::Dormant {
            key: program.attempt.key().to_owned(),
            supervisor: program.supervisor_id(),
        }),
    }
}

/// A file without a name that holds `bytes`, at its beginning.
fn memory_file(name: &str, bytes: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(Stdio::from(file))
}
