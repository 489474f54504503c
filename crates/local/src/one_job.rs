//! One job of a local run: the payload goes the road that a server's job goes, its log goes to the view. Called by
//! the host, once for each attempt. It must never do anything to the job that a runner would not do.

use crate::events::Event;
use crate::kept;
use crate::state::{State, StateError};
use crate::ways::Ways;
use harrier_api::JobPayload;
use harrier_base::{FailureReason, SystemClock};
use harrier_engine::{
    JobLog, JobOutcome, JobRun, LogError, LogView, OpenCx, SessionTicket, Stop, Teardown, run_job,
};
use harrier_logpipe::Settings;
use harrier_plan::{Facts, JobPlan, PlanError, plan_job};
use harrier_store::{Entry, JobDir, Journal, Ledger, StoreError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long clearing away after a killed run may take, for each of its jobs.
const CLEAR_BUDGET: Duration = Duration::from_secs(10);

/// The machine did not let a job be carried out; Harrier's own fault or the disk's, never the job's.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Its directory or journal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No plan can be made of it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file below `.harrier/`.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system has no random numbers.
    #[error("cannot get a random number from the system: {0}")]
    Random(std::io::Error),
}

/// What all jobs of a run share.
pub struct Road {
    /// Where jobs run.
    pub ways: Ways,
    /// The binary that is started again as supervisor and helper.
    pub own_binary: PathBuf,
    /// `.harrier/`
    pub state: Arc<State>,
    /// Where the view listens.
    pub events: mpsc::Sender<Event>,
    /// How long the places of failed jobs are kept.
    pub keep: Option<Duration>,
}

/// One attempt.
pub struct Attempt {
    /// Index for the view.
    pub job: usize,
    /// Name of the log, with the bridges above the job.
    pub label: String,
    /// What to do.
    pub payload: JobPayload,
    /// Number of the free place it takes.
    pub slot: u32,
    /// Pulled when it shall end.
    pub stop: Stop,
}

/// How an attempt ended.
pub struct Report {
    /// The engine's word.
    pub outcome: JobOutcome,
    /// Where its log is kept.
    pub log: PathBuf,
    /// Its place is kept, so nobody else may have it.
    pub place_kept: bool,
}

impl Road {
    /// Carries one attempt out; nothing of it runs or lies about afterwards but artifacts, cache and log.
    pub async fn carry_out(&self, attempt: Attempt) -> Result<Report, JobError> {
        let Attempt { job, label, payload, slot, stop } = attempt;
        let way = self.ways.of(&payload).await;
        let facts = Facts { concurrent_id: slot, concurrent_project_id: slot, ..way.facts.clone() };
        let mut plan = plan_job(&payload, &way.spec, &facts)?;
        // A person reads along: time stamps would only be in the way.
        plan.log.timestamps = false;
        let dir = JobDir::create(self.state.jobs(), &format!("{}-local", payload.id))?;
        // For the next run, should this one be killed: it gives the session's place back.
        dir.write_plan(&serde_json::to_vec(&plan).unwrap_or_default())?;
        let journal = Mutex::new(Journal::open(&dir)?);
        let settings = Settings {
            masks: plan.log.masks.clone(),
            token_prefixes: plan.log.token_prefixes.clone(),
            timestamps: plan.log.timestamps,
            limit: plan.log.limit,
        };
        let log = JobLog::open(&dir, &settings, Arc::new(SystemClock)).await?;
        let follower = tokio::spawn(follow(log.view(), job, self.events.clone()));
        let raw_log = dir.raw_log();
        let run = JobRun {
            plan: &plan,
            executor: way.executor.as_ref(),
            journal: &journal,
            cx: OpenCx {
                job_dir: dir.path(),
                raw_log: &raw_log,
                own_binary: &self.own_binary,
                die_with_parent: true,
            },
            log: &log,
            stop: &stop,
            clock: &SystemClock,
            desk: None,
            on_stage: None,
        };
        let (mut outcome, teardown) = run_job(run).await;
        let failed =
            !outcome.success && !outcome.aborted && outcome.reason != Some(FailureReason::JobCanceled);
        let place_kept = match self.keep.filter(|_| failed && teardown.has_place()) {
            Some(time) => self.keep(&dir, &label, slot, teardown, time).await?,
            None => {
                teardown.run().await;
                false
            }
        };
        if let Err(error) = log.finish().await
            && outcome.success
        {
            outcome = JobOutcome::system(error.to_string());
        }
        // The log's end lets the follower end. It fails only when the view is gone.
        let _ = follower.await;
        let kept = self.state.log(&label);
        std::fs::rename(dir.trace_log(), &kept)
            .map_err(|source| StateError::Io { path: kept.clone(), source })?;
        if !place_kept {
            dir.remove()?;
        }
        Ok(Report { outcome, log: kept, place_kept })
    }

    /// Keeps the job's place; the one that was kept of it before goes. `false`: it could not be kept, and is gone.
    async fn keep(
        &self,
        dir: &JobDir,
        job: &str,
        slot: u32,
        teardown: Teardown,
        time: Duration,
    ) -> Result<bool, JobError> {
        for other in self.state.left_jobs()?.into_iter().filter_map(kept::of_dir) {
            if other.job == job {
                give_back(&self.ways, other.dir, &self.own_binary).await?;
            }
        }
        // Before the place is: whoever kills this process now leaves something that has an end.
        kept::note(dir, job, slot, time)?;
        let (kept, text) = match teardown.keep(time).await {
            Ok(()) => {
                let time = harrier_base::format_go_duration(time);
                let text = format!(
                    "{job}: its place is kept for {time}: `harrier shell {}` opens a shell in it, `harrier run --clean` removes it",
                    quoted(job)
                );
                (true, text)
            }
            Err(error) => (false, format!("{job}: its place cannot be kept: {error}")),
        };
        // A view that is gone has its own way of ending the run.
        let _ = self.events.send(Event::Notice(text)).await;
        Ok(kept)
    }
}

/// A job's name as a word of a shell.
fn quoted(job: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
    if job.chars().all(plain) { job.to_owned() } else { format!("'{}'", job.replace('\'', "'\\''")) }
}

impl Report {
    /// The reason on the wire, if it failed.
    pub fn reason(&self) -> &'static str {
        self.outcome.reason.unwrap_or(FailureReason::UnknownFailure).wire()
    }
}

/// Gives back the places of the jobs that a killed run has left. Their processes have ended with it; the executor knows
/// what else there may be.
pub async fn clear_left(ways: &Ways, state: &State, own_binary: &Path) -> Result<(), JobError> {
    for dir in state.left_jobs()? {
        if !kept::of_dir(dir.clone()).is_some_and(|kept| kept.is_current()) {
            give_back(ways, dir, own_binary).await?;
        }
    }
    // What a killed run had begun to make stands in the ledger.
    if !Ledger::open(state.jobs())?.list()?.is_empty() {
        let docker = ways.docker();
        if let Err(error) = docker.executor.sweep(state.jobs(), &docker.spec).await {
            tracing::warn!(%error, "what a killed run has left in the engine cannot be removed");
        }
    }
    Ok(())
}

/// Gives back the place of one job, and forgets the job.
async fn give_back(ways: &Ways, dir: JobDir, own_binary: &Path) -> Result<(), JobError> {
    let raw_log = dir.raw_log();
    let cx = OpenCx { job_dir: dir.path(), raw_log: &raw_log, own_binary, die_with_parent: true };
    let plan = dir.read_plan().ok().flatten().and_then(|b| serde_json::from_slice::<JobPlan>(&b).ok());
    let ticket = Journal::open(&dir).ok().and_then(|journal| {
        journal.entries().iter().rev().find_map(|entry| match entry {
            Entry::Opened { ticket } => Some(SessionTicket(ticket.clone())),
            _ => None,
        })
    });
    // Without a plan or a ticket the session was never opened.
    if let (Some(plan), Some(ticket)) = (plan, ticket)
        && let Ok(session) = ways.of_plan(&plan).executor.reopen(&plan, &ticket, &cx).await
        && let Err(error) = session.close(CLEAR_BUDGET).await
    {
        tracing::warn!(%error, "something of a killed run is still there");
    }
    Ok(dir.remove()?)
}

/// Sends whole lines of a growing log to the view; at its end the rest.
async fn follow(view: LogView, job: usize, events: mpsc::Sender<Event>) {
    let LogView { path, mut committed } = view;
    let Ok(file) = File::open(&path) else { return };
    let mut offset = 0u64;
    let mut held = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let end = *committed.borrow_and_update();
        while offset < end {
            let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(chunk.len());
            let Ok(n @ 1..) = file.read_at(&mut chunk[..want], offset) else { return };
            offset += n as u64;
            held.extend_from_slice(&chunk[..n]);
            let Some(last) = held.iter().rposition(|b| *b == b'\n') else { continue };
            let rest = held.split_off(last + 1);
            let bytes = std::mem::replace(&mut held, rest);
            if events.send(Event::Log { job, bytes }).await.is_err() {
                return;
            }
        }
        if committed.changed().await.is_err() {
            // The writer is gone; a last word may have come between the look and its end.
            if offset == *committed.borrow() {
                break;
            }
        }
    }
    if !held.is_empty() {
        // Nobody listening any more is no fault of the job's.
        let _ = events.send(Event::Log { job, bytes: held }).await;
    }
}
