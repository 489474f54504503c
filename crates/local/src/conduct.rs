//! The loop of a local run: it feeds the scheduler, starts what may start while a slot is free, and tells the view. Called
//! once a run. It must never decide whether a job runs; the scheduler does.

use crate::events::{Ended, Event, Failure, JobState, PipelineStatus};
use crate::one_job::{Attempt, JobError, Report, Road};
use crate::selection::Chosen;
use harrier_api::JobPayload;
use harrier_base::FailureReason;
use harrier_engine::{Stop, StopReason};
use harrier_pipeline::{Action, JobId, Outcome, Scheduler, Status};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How far a person wants to stop the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interrupt {
    /// Not at all.
    #[default]
    No,
    /// Jobs are cancelled; their `after_script` runs.
    Cancel,
    /// Everything is killed.
    Kill,
}

/// What the loop asks when a job starts or ends.
pub trait Payloads: Send + Sync {
    /// The payload of an attempt of a job, by its index in the chosen pipeline.
    fn payload(&self, job: JobId) -> Result<JobPayload, JobError>;

    /// An attempt has ended; what it left is looked at. An error is the job's failure.
    fn ended(&self, job: JobId, id: i64, success: bool) -> Result<(), String>;
}

/// One run.
pub struct Conduct {
    road: Arc<Road>,
    payloads: Arc<dyn Payloads>,
    chosen: Chosen,
    scheduler: Scheduler,
    queue: VecDeque<(JobId, u32)>,
    free: BTreeSet<u32>,
    /// The first place that nobody has had.
    next_place: u32,
    running: HashMap<tokio::task::Id, Running>,
    attempts: JoinSet<Result<Report, JobError>>,
    delays: JoinSet<JobId>,
    states: Vec<JobState>,
    logs: Vec<Option<std::path::PathBuf>>,
    first_fault: Option<JobError>,
}

/// What is known of an attempt that runs.
struct Running {
    job: JobId,
    slot: u32,
    started: Instant,
    id: i64,
    stop: Stop,
}

impl Conduct {
    /// Everything ready, nothing begun. At most `concurrency` jobs run at a time.
    /// Places in `taken` are left alone.
    pub fn new(
        road: Road,
        payloads: Arc<dyn Payloads>,
        chosen: Chosen,
        concurrency: u32,
        taken: &BTreeSet<u32>,
    ) -> Self {
        let free: BTreeSet<u32> =
            (0..).filter(|place| !taken.contains(place)).take(concurrency.max(1) as usize).collect();
        let count = chosen.pipeline.jobs.len();
        Self {
            road: Arc::new(road),
            payloads,
            scheduler: Scheduler::new(&chosen.pipeline),
            chosen,
            queue: VecDeque::new(),
            next_place: free.iter().chain(taken).max().map_or(0, |last| last + 1),
            free,
            running: HashMap::new(),
            attempts: JoinSet::new(),
            delays: JoinSet::new(),
            states: vec![JobState::Created; count],
            logs: vec![None; count],
            first_fault: None,
        }
    }

    /// Runs to the end. The error is a fault of Harrier or the machine; jobs that failed are no error.
    pub async fn run(mut self, mut interrupts: watch::Receiver<Interrupt>) -> Result<Ended, JobError> {
        let began = Instant::now();
        let mut stopped = Interrupt::No;
        self.feed(harrier_pipeline::Event::Begin).await;
        loop {
            self.start_what_may().await;
            if self.running.is_empty() && self.queue.is_empty() && self.delays.is_empty() {
                break;
            }
            tokio::select! {
                Some(finished) = self.attempts.join_next_with_id() => self.finished(finished).await,
                Some(over) = self.delays.join_next() => {
                    // An aborted delay is one whose job was cancelled.
                    if let Ok(job) = over {
                        self.feed(harrier_pipeline::Event::DelayOver(job)).await;
                    }
                }
                Ok(()) = interrupts.changed() => {
                    let wanted = *interrupts.borrow_and_update();
                    if wanted > stopped {
                        stopped = wanted;
                        self.interrupted(wanted).await;
                    }
                }
            }
        }
        let status = self.status(stopped);
        let ended = Ended { status, time: began.elapsed(), jobs: self.states, logs: self.logs };
        match self.first_fault {
            Some(fault) => Err(fault),
            None => Ok(ended),
        }
    }

    async fn interrupted(&mut self, wanted: Interrupt) {
        let text = match wanted {
            Interrupt::No => return,
            Interrupt::Cancel => "Canceling: after_script still runs. Once more kills everything.",
            Interrupt::Kill => "Killing everything.",
        };
        self.tell(Event::Notice(text.into())).await;
        self.delays.abort_all();
        self.feed(harrier_pipeline::Event::Cancel).await;
        if wanted == Interrupt::Kill {
            for running in self.running.values() {
                running.stop.pull(StopReason::Aborted);
            }
        }
    }

    async fn feed(&mut self, event: harrier_pipeline::Event) {
        // What one event leads to may be an event again: a job that waits for a slot is cancelled at once.
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.scheduler.on(event) {
                if let Some(more) = self.act(action).await {
                    events.push_back(more);
                }
            }
        }
    }

    async fn act(&mut self, action: Action) -> Option<harrier_pipeline::Event> {
        match action {
            Action::Start { job, attempt } => {
                self.queue.push_back((job, attempt));
                if attempt == 1 {
                    self.set(job, JobState::Pending).await;
                }
            }
            Action::StartLater { job, after } => {
                self.set(job, JobState::Scheduled(after)).await;
                self.delays.spawn(async move {
                    tokio::time::sleep(after).await;
                    job
                });
            }
            Action::AwaitPlay(job) => self.set(job, JobState::Manual).await,
            Action::AwaitResource(job) => self.set(job, JobState::WaitingForResource).await,
            Action::Skip { job, .. } => self.set(job, JobState::Skipped).await,
            Action::Canceled(job) => self.set(job, JobState::Canceled { time: None }).await,
            Action::Stop(job) => match self.running.values().find(|running| running.job == job) {
                Some(running) => {
                    running.stop.pull(StopReason::Canceled);
                    self.set(job, JobState::Canceling).await;
                }
                None => {
                    self.queue.retain(|(queued, _)| *queued != job);
                    self.set(job, JobState::Canceled { time: None }).await;
                    return Some(harrier_pipeline::Event::Finished(job, Outcome::Canceled));
                }
            },
            // Only for resources that several pipelines share.
            Action::ReleaseResource(_) | Action::Settled(_) => {}
        }
        None
    }

    async fn start_what_may(&mut self) {
        while let (Some(slot), false) = (self.free.first().copied(), self.queue.is_empty()) {
            let Some((job, attempt)) = self.queue.pop_front() else { return };
            self.feed(harrier_pipeline::Event::Started(job)).await;
            self.set(job, JobState::Running { attempt }).await;
            if self.chosen.pipeline.job(job).bridge.is_some() {
                let name = &self.chosen.pipeline.job(job).name;
                self.tell(Event::Notice(format!("{name}: downstream pipelines are not run locally yet")))
                    .await;
                let reason = "downstream_pipeline_creation_failed".to_owned();
                let failure = Failure { reason: reason.clone(), exit_code: None };
                let outcome = Outcome::Failed { exit_code: None, reason };
                let state = JobState::Failed {
                    time: std::time::Duration::ZERO,
                    failure,
                    allowed: self.scheduler.failure_allowed(job),
                };
                self.set(job, state).await;
                self.feed(harrier_pipeline::Event::Finished(job, outcome)).await;
                continue;
            }
            let payload = match self.payloads.payload(job) {
                Ok(payload) => payload,
                Err(fault) => {
                    self.fault(job, fault).await;
                    continue;
                }
            };
            let stop = Stop::new();
            self.free.remove(&slot);
            let road = Arc::clone(&self.road);
            let running = Running { job, slot, started: Instant::now(), id: payload.id, stop: stop.clone() };
            let task = self
                .attempts
                .spawn(async move { road.carry_out(Attempt { job: job.0, payload, slot, stop }).await });
            self.running.insert(task.id(), running);
        }
    }

    async fn finished(&mut self, joined: Joined) {
        let (task, result) = match joined {
            Ok((task, result)) => (task, Some(result)),
            // The attempt panicked: a fault of Harrier's, of this job only.
            Err(error) => (error.id(), None),
        };
        let Some(Running { job, slot, started, id, .. }) = self.running.remove(&task) else { return };
        // A job may run in place of one whose place is kept, but not in it.
        if matches!(&result, Some(Ok(report)) if report.place_kept) {
            self.free.insert(self.next_place);
            self.next_place += 1;
        } else {
            self.free.insert(slot);
        }
        let time = started.elapsed();
        let (mut failure, canceled) = match result {
            Some(Ok(report)) => {
                self.logs[job.0] = Some(report.log.clone());
                let failure = (!report.outcome.success).then(|| Failure {
                    reason: report.reason().to_owned(),
                    exit_code: report.outcome.exit_code,
                });
                let canceled =
                    report.outcome.aborted || report.outcome.reason == Some(FailureReason::JobCanceled);
                (failure, canceled)
            }
            Some(Err(fault)) => return self.fault(job, fault).await,
            None => {
                let name = &self.chosen.pipeline.jobs[job.0].name;
                let text = format!("{name}: Harrier itself failed while it carried this job out");
                self.tell(Event::Notice(text)).await;
                (Some(Failure { reason: system_failure(), exit_code: None }), false)
            }
        };
        if let Err(message) = self.payloads.ended(job, id, failure.is_none()) {
            let name = &self.chosen.pipeline.jobs[job.0].name;
            self.tell(Event::Notice(format!("{name}: {message}"))).await;
            failure.get_or_insert(Failure { reason: "script_failure".into(), exit_code: None });
        }
        let outcome = match &failure {
            None => Outcome::Success,
            Some(_) if canceled => Outcome::Canceled,
            Some(failure) => Outcome::Failed {
                exit_code: failure.exit_code.map(i64::from),
                reason: failure.reason.clone(),
            },
        };
        let actions = self.scheduler.on(harrier_pipeline::Event::Finished(job, outcome));
        let state = match (self.scheduler.status(job), failure) {
            (Status::Success, _) => JobState::Passed { time },
            (Status::Canceled, _) | (_, None) => JobState::Canceled { time: Some(time) },
            (Status::Failed, Some(failure)) => {
                JobState::Failed { time, failure, allowed: self.scheduler.failure_allowed(job) }
            }
            (_, Some(failure)) => JobState::Retrying(failure),
        };
        self.set(job, state).await;
        for action in actions {
            if let Some(event) = self.act(action).await {
                self.feed(event).await;
            }
        }
    }

    /// A job could not be carried out at all: nothing more is started, what runs is cancelled, and the run ends with
    /// the first such fault.
    async fn fault(&mut self, job: JobId, fault: JobError) {
        let failure = Failure { reason: system_failure(), exit_code: None };
        self.set(job, JobState::Failed { time: std::time::Duration::ZERO, failure, allowed: false }).await;
        self.first_fault.get_or_insert(fault);
        let outcome = Outcome::Failed { exit_code: None, reason: system_failure() };
        Box::pin(self.feed(harrier_pipeline::Event::Cancel)).await;
        Box::pin(self.feed(harrier_pipeline::Event::Finished(job, outcome))).await;
    }

    async fn set(&mut self, job: JobId, state: JobState) {
        self.states[job.0] = state.clone();
        self.tell(Event::Job { job: job.0, state }).await;
    }

    async fn tell(&self, event: Event) {
        // A view that is gone has its own way of ending the run.
        let _ = self.road.events.send(event).await;
    }

    fn status(&self, stopped: Interrupt) -> PipelineStatus {
        match self.scheduler.pipeline_status() {
            _ if stopped != Interrupt::No => PipelineStatus::Canceled,
            Status::Success if self.scheduler.has_warnings() => PipelineStatus::PassedWithWarnings,
            Status::Success => PipelineStatus::Passed,
            Status::Failed => PipelineStatus::Failed,
            Status::Canceled | Status::Canceling => PipelineStatus::Canceled,
            Status::Manual => PipelineStatus::Blocked,
            Status::Skipped => PipelineStatus::Skipped,
            Status::Created
            | Status::WaitingForResource
            | Status::Preparing
            | Status::WaitingForCallback
            | Status::Scheduled
            | Status::Pending
            | Status::Running => PipelineStatus::Failed,
        }
    }
}

type Joined = Result<(tokio::task::Id, Result<Report, JobError>), tokio::task::JoinError>;

fn system_failure() -> String {
    FailureReason::RunnerSystemFailure.wire().to_owned()
}
