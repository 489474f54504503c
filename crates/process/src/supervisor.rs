//! The supervisor: a small process of one thread that runs one program to its end.
//!
//! Its standard descriptors are what the caller gave it: 0 the orders, 1 the program's standard input (a file), 2 the reading
//! end of the lifeline, a pipe whose other end closes when the caller dies or gives up, or `/dev/null`. (A death signal of the
//! kernel would be tied to the *thread* of the caller that started it, and tokio's threads come and go.)

use crate::claim::{Attempt, Claim, ClaimError, Reserved};
use crate::exit::Exit;
use crate::kernel;
use crate::process_table::{self, ProcessId};
use crate::spec::{MARK_VARIABLE, Orders};
use crate::supervised::{KILL, TERMINATE};
use harrier_base::{Clock, SystemClock};
use harrier_logpipe::{FrameKind, MAX_FRAME};
use harrier_store::{JobDir, RawLog};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{self, Pid};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

/// First argument of the binary when it is to be a supervisor.
pub const SUPERVISE: &str = "__supervise";

/// Bytes of output after which it is looked whether the log is full.
const LOOK_EVERY: u64 = 256 * 1024;

/// Milliseconds between the first two rounds of killing, for processes that were being made during the round before.
const KILL_AGAIN: u16 = 20;

/// The same for later rounds, when something hangs in the kernel.
const KILL_AGAIN_SLOWLY: u16 = 1000;

/// Points of the protocol, for tests that kill the supervisor at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It knows its orders.
    Ordered,
    /// It holds the claim.
    Claimed,
    /// The program runs.
    Started,
    /// The program and its output ended.
    Ended,
    /// The result is there.
    Recorded,
}

/// Why a supervisor ended without taking the claim: its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    Orders = 81,
    ClaimTaken = 82,
    DiskFull = 83,
    Files = 84,
    System = 85,
}

impl Failed {
    pub fn of(code: i32) -> Option<Self> {
        [Self::Orders, Self::ClaimTaken, Self::DiskFull, Self::Files, Self::System]
            .into_iter()
            .find(|failed| *failed as i32 == code)
    }

    pub fn words(self, dir: &Path) -> String {
        let dir = dir.display();
        match self {
            Self::Orders => "its supervisor did not understand the orders; was the binary replaced by one of another version?".into(),
            Self::ClaimTaken => "another process had taken it over".into(),
            Self::DiskFull => format!("the disk is full; free some space for {dir}"),
            Self::Files => format!("its supervisor cannot write to {dir}; look at the rights of the directory"),
            Self::System => "its supervisor was refused a system resource; look at the limits of this user".into(),
        }
    }

    fn from_claim(error: &ClaimError) -> Self {
        if error.is_disk_full() { Self::DiskFull } else { Self::Files }
    }
}

/// What the binary does when its first argument is [`SUPERVISE`]. To be called first thing in `main`, with nothing
/// opened and no thread started.
pub fn supervise_main() -> ExitCode {
    supervise_watched(&mut |_| {})
}

/// As [`supervise_main`], telling `at` each step.
pub fn supervise_watched(at: &mut dyn FnMut(Step)) -> ExitCode {
    match supervise(at) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => ExitCode::from(failed as u8),
    }
}

fn supervise(at: &mut dyn FnMut(Step)) -> Result<(), Failed> {
    // Blocked, not ignored: what is ignored here would be ignored by the program too, what is blocked is unblocked
    // for it.
    let signals = SigSet::from_iter([
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGCHLD,
        // A limit on the size of files: `write` then says so, which is dealt with.
        Signal::SIGXFSZ,
        TERMINATE,
        KILL,
    ]);
    signals.thread_block().map_err(|_| Failed::System)?;
    kernel::close_inherited();
    let given = Given::take().map_err(|_| Failed::System)?;
    let mut json = Vec::new();
    (&given.orders).read_to_end(&mut json).map_err(|_| Failed::Orders)?;
    let orders: Orders = serde_json::from_slice(&json).map_err(|_| Failed::Orders)?;
    // They hold secrets; only what is needed stays.
    drop((json, given.orders));
    // Fails only for the leader of a process group, which is as good.
    let _ = unistd::setsid();
    prctl::set_child_subreaper(true).map_err(|_| Failed::System)?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|_| Failed::System)?;
    let own = ProcessId::own().ok_or(Failed::System)?;
    at(Step::Ordered);

    let attempt = Attempt::new(&orders.dir, &orders.key, orders.attempt);
    if attempt.claim().map_err(|e| Failed::from_claim(&e))?.is_some() {
        // Before the room is touched: it may be another one's.
        return Err(Failed::ClaimTaken);
    }
    let room = attempt.reserve().map_err(|e| Failed::from_claim(&e))?;
    match attempt.take(Claim::Taken(own)) {
        Ok(true) => {}
        Ok(false) => return Err(Failed::ClaimTaken),
        Err(error) => {
            room.drop_room();
            return Err(Failed::from_claim(&error));
        }
    }
    at(Step::Claimed);
    let exit = match begin(&orders, given.stdin) {
        Ok(child) => {
            at(Step::Started);
            // The program has its own working directory; ours would only keep a file system busy.
            let _ = std::env::set_current_dir("/");
            Pump::new(child, &orders, signals, orders.lifeline.then_some(given.lifeline)).run()
        }
        Err(not_started) => Exit { not_started: Some(not_started), ..Exit::default() },
    };
    at(Step::Ended);
    record(room, exit)?;
    at(Step::Recorded);
    Ok(())
}

fn record(room: Reserved, exit: Exit) -> Result<(), Failed> {
    room.record(exit).map_err(|e| Failed::from_claim(&e))
}

/// What the caller put into the standard descriptors.
struct Given {
    orders: File,
    stdin: File,
    lifeline: OwnedFd,
}

impl Given {
    /// Takes them over, and puts `/dev/null` in their places.
    fn take() -> std::io::Result<Self> {
        let given = Self {
            orders: std::io::stdin().as_fd().try_clone_to_owned()?.into(),
            stdin: std::io::stdout().as_fd().try_clone_to_owned()?.into(),
            lifeline: std::io::stderr().as_fd().try_clone_to_owned()?,
        };
        let null = File::options().read(true).write(true).open("/dev/null")?;
        unistd::dup2_stdin(&null)?;
        unistd::dup2_stdout(&null)?;
        unistd::dup2_stderr(&null)?;
        Ok(given)
    }
}

/// Starts the program.
fn begin(orders: &Orders, stdin: File) -> Result<Child, String> {
    let mut command = Command::new(&orders.program);
    command.args(&orders.args).current_dir(&orders.cwd).process_group(0);
    if orders.clear_env {
        command.env_clear();
    }
    command.envs(orders.env.iter().map(|(key, value)| (key, value)));
    if !orders.mark.is_empty() {
        let mut mark = OsString::new();
        if let Some(outer) = std::env::var_os(MARK_VARIABLE).filter(|outer| !outer.is_empty()) {
            mark.push(outer);
            mark.push(",");
        }
        mark.push(&orders.mark);
        command.env(MARK_VARIABLE, mark);
    }
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    kernel::unblock_signals(&mut command);
    command.spawn().map_err(|error| {
        let program = orders.program.display();
        if !orders.cwd.is_dir() {
            return format!("cannot start {program}: its working directory {} is not there", orders.cwd.display());
        }
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("cannot start {program}: no such program; install it or put it into the PATH of this runner")
            }
            _ => format!("cannot start {program}: {error}"),
        }
    })
}

/// Moves output and waits for the end.
struct Pump {
    program: Pid,
    own: i32,
    streams: [Option<(FrameKind, OwnedFd)>; 2],
    signals: SignalFd,
    lifeline: Option<OwnedFd>,
    ended: Option<Exit>,
    terminating: Terminating,
    killing: bool,
    sink: Sink,
    bytes: Vec<u8>,
}

/// Who has been asked to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminating {
    Nobody,
    Group,
    Everybody,
}

impl Pump {
    fn new(mut child: Child, orders: &Orders, signals: SignalFd, lifeline: Option<OwnedFd>) -> Self {
        let streams = [
            child.stdout.take().map(|pipe| (FrameKind::Stdout, pipe.into())),
            child.stderr.take().map(|pipe| (FrameKind::Stderr, pipe.into())),
        ];
        Self {
            // A process id of Linux fits (22 bits at most).
            program: Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)),
            own: i32::try_from(std::process::id()).unwrap_or(0),
            streams,
            signals,
            lifeline,
            ended: None,
            terminating: Terminating::Nobody,
            killing: false,
            sink: Sink::new(orders),
            bytes: vec![0; MAX_FRAME],
        }
    }

    fn run(mut self) -> Exit {
        let mut again = KILL_AGAIN;
        loop {
            self.look_for_the_end();
            if self.killing {
                let left = self.kill_all();
                if self.ended.is_some() && left == 0 {
                    // Nobody of ours can write any more; what is in the pipes is all there is.
                    while self.turn(PollTimeout::ZERO) {}
                    break;
                }
            }
            if self.ended.is_some() && self.streams.iter().all(Option::is_none) {
                break;
            }
            if self.ended.is_some() && self.terminating == Terminating::Group {
                self.terminate_the_rest();
            }
            let timeout = if self.killing { PollTimeout::from(again) } else { PollTimeout::NONE };
            self.turn(timeout);
            if self.killing {
                again = (again * 2).min(KILL_AGAIN_SLOWLY);
            }
        }
        self.finish()
    }

    /// Waits for something and deals with it. Says whether there was output.
    fn turn(&mut self, timeout: PollTimeout) -> bool {
        let borrowed: Vec<_> = self.streams.iter().map(|s| s.as_ref().map(|(_, fd)| fd.as_fd())).collect();
        let lifeline = if self.killing { None } else { self.lifeline.as_ref() };
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(lifeline.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        let first_stream = fds.len();
        let open: Vec<usize> = (0..borrowed.len()).filter(|at| borrowed[*at].is_some()).collect();
        fds.extend(borrowed.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Only for lack of memory or a wrong call. Nothing can be waited for, so the program cannot be kept.
            Err(_) => self.killing = true,
        }
        let any = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let cut_off = lifeline.is_some() && any(&fds[1]);
        let ready: Vec<usize> =
            open.iter().zip(&fds[first_stream..]).filter(|(_, fd)| any(fd)).map(|(at, _)| *at).collect();
        self.killing |= cut_off;
        self.take_signals();
        for at in &ready {
            self.take_output(*at);
        }
        !ready.is_empty()
    }

    fn take_signals(&mut self) {
        // What is not an order has been noticed by being read: hang-ups, the terminal's signals, ends of children.
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok()) {
                Some(TERMINATE) => {
                    // The program is not reaped yet, so the group is its own. An error means nobody is in it.
                    let _ = killpg(self.program, Signal::SIGTERM);
                    self.terminating = Terminating::Group;
                }
                Some(KILL) => self.killing = true,
                _ => {}
            }
        }
    }

    /// Reads once; a pipe that is at its end is closed.
    fn take_output(&mut self, at: usize) {
        let Some((kind, fd)) = &self.streams[at] else { return };
        match unistd::read(fd, &mut self.bytes) {
            Ok(0) => self.streams[at] = None,
            Ok(got) => self.sink.write(*kind, &self.bytes[..got]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.streams[at] = None,
        }
    }

    /// Learns the program's end without reaping it: as long as it is not reaped its id, and that of its group,
    /// is not given to others. Adopted processes are reaped until then; later ones go to the next reaper.
    fn look_for_the_end(&mut self) {
        while self.ended.is_none() {
            let status = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
            let Ok(status) = status else { return };
            match status.pid() {
                Some(pid) if pid == self.program => self.ended = exit_of(status),
                Some(pid) => {
                    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                }
                None => return,
            }
        }
    }

    /// The program has ended as it was asked to, but somebody holds its output open. Whoever left its group has not
    /// heard that it is time.
    fn terminate_the_rest(&mut self) {
        self.terminating = Terminating::Everybody;
        for process in process_table::descendants(&[self.own]) {
            if unistd::getpgid(Some(Pid::from_raw(process.pid))) != Ok(self.program) {
                process.signal(Signal::SIGTERM);
            }
        }
    }

    /// Kills the group and everything that descends from us; says how many still ran.
    fn kill_all(&mut self) -> usize {
        let _ = killpg(self.program, Signal::SIGKILL);
        let running = process_table::descendants(&[self.own]);
        for process in &running {
            process.kill();
        }
        running.len()
    }

    fn finish(mut self) -> Exit {
        let mut exit = self.ended.take().unwrap_or_default();
        // From here on nothing is signalled by number any more.
        let _ = waitpid(self.program, Some(WaitPidFlag::WNOHANG));
        let mut more = true;
        while more {
            more = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {
                    exit.left = process_table::descendants(&[self.own]);
                    exit.leftovers = !exit.left.is_empty();
                    false
                }
                Ok(_) | Err(Errno::EINTR) => true,
                Err(_) => false,
            };
        }
        exit.output_lost = self.sink.lost;
        exit.output_error = self.sink.error;
        exit
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    match status {
        WaitStatus::Exited(_, code) => Some(Exit { code: Some(code), ..Exit::default() }),
        WaitStatus::Signaled(_, signal, core_dumped) => Some(Exit { core_dumped, ..Exit::by_signal(signal) }),
        _ => None,
    }
}

/// Puts output into the raw log, as long as there is room.
struct Sink {
    log: Option<RawLog>,
    full: PathBuf,
    stream: u8,
    until_look: u64,
    dropping: bool,
    lost: u64,
    error: Option<String>,
}

impl Sink {
    fn new(orders: &Orders) -> Self {
        let (log, error) = match RawLog::open(&orders.raw_log) {
            Ok(log) => (Some(log), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let full = JobDir::open(&orders.dir).map(|dir| dir.full_marker()).unwrap_or_default();
        Self { log, full, stream: orders.stream, until_look: 0, dropping: false, lost: 0, error }
    }

    fn write(&mut self, kind: FrameKind, bytes: &[u8]) {
        let time = SystemClock.now();
        let length = bytes.len() as u64;
        if self.until_look < length && !self.dropping {
            self.dropping = self.full.exists();
            self.until_look = LOOK_EVERY;
        }
        self.until_look = self.until_look.saturating_sub(length);
        if self.dropping {
            return;
        }
        let Some(log) = &mut self.log else {
            self.lost += length;
            return;
        };
        if let Err(error) = log.append(kind, self.stream, time, bytes) {
            // For good: a log with holes would be worse than one that stops.
            self.log = None;
            self.lost += length;
            self.error = Some(error.to_string());
        }
    }
}
