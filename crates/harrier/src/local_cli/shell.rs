//! `harrier shell JOB`: a person in the place of a job that was kept, and the process that sees to its end. It must never
//! change the terminal without giving it back.

use super::args::ShellArgs;
use super::{Failed, executors, here, program, runtime};
use harrier_docker::Visitor;
use harrier_local::{KeptJob, Repository, kept_jobs};
use harrier_plan::JobPlan;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::sync::watch;

/// First argument of the process that waits for the end of what is kept; the second is the repository.
pub const EXPIRE: &str = "__expire";

/// Opens the shell; its exit code.
pub fn shell(args: &ShellArgs) -> Result<u8, Failed> {
    let repository = Repository::discover(&here()?).map_err(|error| Failed::Usage(error.to_string()))?;
    let job = choose(kept_jobs(&repository.root), args.job.as_deref())?;
    let Some((plan, ticket)) = job.place() else {
        return Err(Failed::Internal(format!(
            "the files of the kept job {} are damaged; `harrier run --clean` removes it",
            job.job
        )));
    };
    let code = match &plan.containers {
        None => beside(&plan)?,
        Some(_) => {
            let runtime = runtime()?;
            let code = runtime.block_on(async {
                let [input, output, errors] = own_streams()?;
                let (terminal, raw) = terminal();
                let visitor = Visitor {
                    terminal,
                    kind: std::env::var("TERM").ok(),
                    input: Box::new(input),
                    output: Box::new(output),
                    errors: Box::new(errors),
                };
                let code = executors::docker().visit(&plan, &ticket, visitor).await;
                drop(raw);
                code.map_err(|error| {
                    Failed::Internal(format!(
                        "{}; if its time is over, run the job with --keep once more",
                        error.message
                    ))
                })
            });
            // A read of standard input that nobody answers must not keep the process.
            runtime.shutdown_background();
            code?
        }
    };
    Ok(u8::try_from(code).unwrap_or(1))
}

fn choose(kept: Vec<KeptJob>, name: Option<&str>) -> Result<KeptJob, Failed> {
    let mut current: Vec<KeptJob> = kept.into_iter().filter(KeptJob::is_current).collect();
    let names = current.iter().map(|kept| kept.job.clone()).collect::<Vec<_>>().join(", ");
    if current.is_empty() {
        return Err(Failed::Usage(
            "no job is kept: run one with `harrier run JOB --keep`; when it fails its place is kept"
                .to_owned(),
        ));
    }
    match name {
        None if current.len() == 1 => Ok(current.remove(0)),
        None => Err(Failed::Usage(format!("several jobs are kept, name one of them: {names}"))),
        Some(name) => match current.iter().position(|kept| kept.job == name) {
            Some(at) => Ok(current.swap_remove(at)),
            None => Err(Failed::Usage(format!("the job {name:?} is not kept; kept are: {names}"))),
        },
    }
}

/// In the shell of this machine, on this very terminal.
fn beside(plan: &JobPlan) -> Result<i32, Failed> {
    let status = Command::new(plan.shell.program())
        .args([
            "-c",
            "_harrier_text=$HARRIER_VISIT; unset HARRIER_VISIT; eval \"unset _harrier_text; $_harrier_text\"",
        ])
        .env("HARRIER_VISIT", plan.visit_text())
        .status()
        .map_err(|error| Failed::Internal(format!("{} cannot be started: {error}", plan.shell.program())))?;
    Ok(status.code().unwrap_or(1))
}

/// Standard input, output and error of this process.
fn own_streams() -> Result<[tokio::fs::File; 3], Failed> {
    let failed = |error| Failed::Internal(format!("the terminal cannot be used: {error}"));
    let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
    let file = |stream: BorrowedFd<'_>| {
        let owned = stream.try_clone_to_owned().map_err(failed)?;
        Ok(tokio::fs::File::from_std(std::fs::File::from(owned)))
    };
    Ok([file(input.as_fd())?, file(output.as_fd())?, file(errors.as_fd())?])
}

/// The terminal, if standard input is one, with every key passed on until the second value is dropped.
fn terminal() -> (Option<watch::Receiver<(u16, u16)>>, Option<Raw>) {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return (None, None);
    }
    let size = || terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0, height.0));
    let (sizes, seen) = watch::channel(size());
    if let Ok(mut changed) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change()) {
        tokio::spawn(async move { while changed.recv().await.is_some() && sizes.send(size()).is_ok() {} });
    }
    (Some(seen), Raw::enter())
}

/// Keys go through as they are; what was before comes back at the end.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Starts the process that gives kept places back when their time is over; it ends when nothing is kept.
pub fn start_expiry(root: &Path) {
    if kept_jobs(root).is_empty() {
        return;
    }
    let Ok(own) = std::env::current_exe() else { return };
    let started = Command::new(own)
        .arg(EXPIRE)
        .arg(root)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // It outlives the terminal.
        .process_group(0)
        .spawn();
    if let Err(error) = started {
        eprintln!("warning: what is kept will only be removed by a later `harrier run`: {error}");
    }
}

/// The process that [`start_expiry`] starts.
pub fn expire(root: Option<&OsString>) -> Result<u8, Failed> {
    let root = root.map(PathBuf::from).ok_or_else(|| Failed::Usage("no repository is named".to_owned()))?;
    let own = std::env::current_exe().map_err(|error| Failed::Internal(error.to_string()))?;
    runtime()?
        .block_on(harrier_local::expire_kept(root, executors::plain(), program(), own))
        .map(|()| 0)
        .map_err(|error| Failed::Internal(error.to_string()))
}
