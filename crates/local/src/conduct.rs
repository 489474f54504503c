//! The loop of a local run: it feeds the schedulers of the pipeline and of the child pipelines below it, starts what may
//! start while a slot is free, and tells the view. Called once a run. It must never decide whether a job runs; the
//! scheduler does.

use crate::events::{Ended, Event, Failure, JobName, JobState, PipelineStatus};
use crate::one_job::{Attempt, JobError, Report, Road};
use crate::selection::Chosen;
use harrier_api::JobPayload;
use harrier_base::FailureReason;
use harrier_engine::{Stop, StopReason};
use harrier_pipeline::resource::{Candidate, ProcessMode, next_in_line};
use harrier_pipeline::{Action, JobId, Outcome, Pipeline, Scheduler, Status};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
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

/// What the loop asks when a job of one pipeline starts or ends.
pub trait Payloads: Send + Sync {
    /// What an attempt of a job gets, by its index in the chosen pipeline.
    fn payload(&self, job: JobId) -> Result<HandedOut, NoPayload>;

    /// An attempt has ended; what it left is looked at. An error is the job's failure. Gives what is worth knowing.
    fn ended(&self, job: JobId, id: i64, success: bool) -> Result<Vec<String>, String>;

    /// Makes what a bridge triggers. May take a while.
    fn downstream(&self, job: JobId) -> Result<Made, NotMade>;
}

/// An attempt of a job.
pub struct HandedOut {
    /// What to do.
    pub payload: JobPayload,
    /// Worth knowing, for people.
    pub notices: Vec<String>,
}

/// There is no payload.
#[derive(Debug)]
pub enum NoPayload {
    /// The machine is at fault.
    Fault(JobError),
    /// The job cannot be carried out.
    Refused {
        /// The reason on the wire.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

impl<E: Into<JobError>> From<E> for NoPayload {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// A child pipeline, made and not begun.
pub struct Made {
    /// Its number.
    pub number: i64,
    /// Its jobs.
    pub pipeline: Pipeline,
    /// Hands them out.
    pub payloads: Arc<dyn Payloads>,
}

/// A bridge makes no pipeline.
pub enum NotMade {
    /// It is about another project, which a local run leaves alone.
    Elsewhere {
        /// For people.
        message: String,
    },
    /// It has failed.
    Failed {
        /// The reason on the wire.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// The machine is at fault.
    Fault(JobError),
}

/// A job of one of the pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct At {
    run: usize,
    job: JobId,
}

/// One pipeline at work.
struct Run {
    pipeline: Pipeline,
    scheduler: Scheduler,
    payloads: Arc<dyn Payloads>,
    /// Row of its first job.
    first: usize,
    /// The bridge that made it.
    bridge: Option<At>,
    /// The status its bridge was told last.
    told: Option<Status>,
}

/// One line of the view.
struct Row {
    state: JobState,
    log: Option<std::path::PathBuf>,
    /// Of a bridge that is at work.
    since: Option<Instant>,
    /// File name of its log.
    label: String,
}

/// One run.
pub struct Conduct {
    road: Arc<Road>,
    /// The pipeline, then the child pipelines as they were made.
    runs: Vec<Run>,
    rows: Vec<Row>,
    queue: VecDeque<(At, u32)>,
    free: BTreeSet<u32>,
    /// The first place that nobody has had.
    next_place: u32,
    running: HashMap<tokio::task::Id, Running>,
    attempts: JoinSet<Result<Report, JobError>>,
    making: JoinSet<(At, Result<Made, NotMade>)>,
    delays: JoinSet<At>,
    /// Who holds a resource group.
    resources: HashMap<String, At>,
    first_fault: Option<JobError>,
}

/// What is known of an attempt that runs.
struct Running {
    at: At,
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
        let mut conduct = Self {
            road: Arc::new(road),
            runs: Vec::new(),
            rows: Vec::new(),
            queue: VecDeque::new(),
            next_place: free.iter().chain(taken).max().map_or(0, |last| last + 1),
            free,
            running: HashMap::new(),
            attempts: JoinSet::new(),
            making: JoinSet::new(),
            delays: JoinSet::new(),
            resources: HashMap::new(),
            first_fault: None,
        };
        conduct.add(chosen.pipeline, payloads, None);
        conduct
    }

    fn add(&mut self, pipeline: Pipeline, payloads: Arc<dyn Payloads>, bridge: Option<At>) {
        let above = bridge.map(|at| format!("{} › ", self.rows[self.row(at)].label)).unwrap_or_default();
        let first = self.rows.len();
        self.rows.extend(pipeline.jobs.iter().map(|job| Row {
            state: JobState::Created,
            log: None,
            since: None,
            label: format!("{above}{}", job.name),
        }));
        let scheduler = Scheduler::new(&pipeline).with_shared_resources();
        self.runs.push(Run { pipeline, scheduler, payloads, first, bridge, told: None });
    }

    fn row(&self, at: At) -> usize {
        self.runs[at.run].first + at.job.0
    }

    fn label(&self, at: At) -> String {
        self.rows[self.row(at)].label.clone()
    }

    /// Runs to the end. The error is a fault of Harrier or the machine; jobs that failed are no error.
    pub async fn run(mut self, mut interrupts: watch::Receiver<Interrupt>) -> Result<Ended, JobError> {
        let began = Instant::now();
        let mut stopped = Interrupt::No;
        self.feed(0, harrier_pipeline::Event::Begin).await;
        loop {
            self.start_what_may().await;
            if self.running.is_empty()
                && self.queue.is_empty()
                && self.delays.is_empty()
                && self.making.is_empty()
            {
                break;
            }
            tokio::select! {
                Some(finished) = self.attempts.join_next_with_id() => self.finished(finished).await,
                Some(made) = self.making.join_next() => match made {
                    Ok((at, made)) => self.made(at, made, stopped).await,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                Some(over) = self.delays.join_next() => {
                    // An aborted delay is one whose job was cancelled.
                    if let Ok(at) = over {
                        self.feed(at.run, harrier_pipeline::Event::DelayOver(at.job)).await;
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
        self.tell_deadlocks().await;
        let status = self.status(stopped);
        let (jobs, logs) = self.rows.into_iter().map(|row| (row.state, row.log)).unzip();
        match self.first_fault {
            Some(fault) => Err(fault),
            None => Ok(Ended { status, time: began.elapsed(), jobs, logs }),
        }
    }

    /// Jobs that wait for a resource when nothing runs any more: who holds it waits for them.
    async fn tell_deadlocks(&self) {
        let waiting = self.rows.iter().filter(|row| row.state == JobState::WaitingForResource);
        let names: Vec<&str> = waiting.map(|row| row.label.as_str()).collect();
        if !names.is_empty() {
            let text = format!(
                "These jobs wait for a resource group that is held by what waits for them, so they never start: {}. A \
                 trigger job with a strategy keeps its resource group until its pipeline has ended.",
                names.join(", ")
            );
            self.tell(Event::Notice(text)).await;
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
        for run in 0..self.runs.len() {
            self.feed(run, harrier_pipeline::Event::Cancel).await;
        }
        if wanted == Interrupt::Kill {
            for running in self.running.values() {
                running.stop.pull(StopReason::Aborted);
            }
        }
    }

    async fn feed(&mut self, run: usize, event: harrier_pipeline::Event) {
        let actions = self.runs[run].scheduler.on(event);
        self.go_on(run, actions).await;
    }

    /// Does what a scheduler said. It may lead to events for the same pipeline or for another: a job that waits for a slot
    /// is cancelled at once, a bridge hears of its pipeline.
    async fn go_on(&mut self, run: usize, actions: Vec<Action>) {
        let mut events = VecDeque::new();
        self.act_all(run, actions, &mut events).await;
        while let Some((run, event)) = events.pop_front() {
            let actions = self.runs[run].scheduler.on(event);
            self.act_all(run, actions, &mut events).await;
        }
    }

    async fn act_all(&mut self, run: usize, actions: Vec<Action>, events: &mut Events) {
        for action in actions {
            self.act(run, action, events).await;
        }
        self.show_bridges(run).await;
        let Run { bridge, scheduler, told, .. } = &mut self.runs[run];
        if let Some(at) = *bridge {
            let status = scheduler.pipeline_status();
            if *told != Some(status) {
                *told = Some(status);
                events.push_back((at.run, harrier_pipeline::Event::Downstream(at.job, status)));
            }
        }
    }

    /// The view of bridges whose pipeline is there: the scheduler knows their status.
    async fn show_bridges(&mut self, run: usize) {
        for child in 0..self.runs.len() {
            let Some(at) = self.runs[child].bridge.filter(|at| at.run == run) else { continue };
            if self.runs.iter().skip(child + 1).any(|later| later.bridge == Some(at)) {
                // Of a bridge that was run again, the last pipeline counts.
                continue;
            }
            let row = self.row(at);
            let time = self.rows[row].since.map(|since| since.elapsed()).unwrap_or_default();
            let scheduler = &self.runs[run].scheduler;
            let blocked = self.runs[child].scheduler.pipeline_status() == Status::Manual;
            let state = match scheduler.status(at.job) {
                Status::Success => JobState::Passed { time },
                Status::Failed => JobState::Failed {
                    time,
                    failure: Failure { reason: "downstream_pipeline_failed".into(), exit_code: None },
                    allowed: scheduler.failure_allowed(at.job),
                },
                Status::Canceled => JobState::Canceled { time: Some(time) },
                Status::Skipped => JobState::Skipped,
                Status::Manual => JobState::Manual,
                Status::Running if blocked => JobState::Manual,
                Status::Canceling => JobState::Canceling,
                Status::WaitingForResource => JobState::WaitingForResource,
                Status::Created
                | Status::Preparing
                | Status::WaitingForCallback
                | Status::Scheduled
                | Status::Pending
                | Status::Running => JobState::Running { attempt: 1 },
            };
            let ended = |state: &JobState| {
                matches!(state, JobState::Passed { .. } | JobState::Failed { .. } | JobState::Canceled { .. })
            };
            let known = &self.rows[row].state;
            let same = std::mem::discriminant(known) == std::mem::discriminant(&state);
            if !same || (!ended(known) && *known != state) {
                self.set(at, state).await;
            }
        }
    }

    async fn act(&mut self, run: usize, action: Action, events: &mut Events) {
        use harrier_pipeline::Event as Told;
        let at = |job: JobId| At { run, job };
        match action {
            Action::Start { job, .. } if self.runs[run].pipeline.job(job).bridge.is_some() => {
                events.push_back((run, Told::Started(job)));
                let row = self.row(at(job));
                self.rows[row].since = Some(Instant::now());
                self.set(at(job), JobState::Running { attempt: 1 }).await;
                let payloads = Arc::clone(&self.runs[run].payloads);
                let at = at(job);
                self.making.spawn_blocking(move || (at, payloads.downstream(job)));
            }
            Action::Start { job, attempt } => {
                self.queue.push_back((at(job), attempt));
                if attempt == 1 {
                    self.set(at(job), JobState::Pending).await;
                }
            }
            Action::StartLater { job, after } => {
                self.set(at(job), JobState::Scheduled(after)).await;
                let at = at(job);
                self.delays.spawn(async move {
                    tokio::time::sleep(after).await;
                    at
                });
            }
            Action::AwaitPlay(job) => self.set(at(job), JobState::Manual).await,
            Action::AwaitResource(job) => {
                let group = self.runs[run].pipeline.job(job).resource_group.clone().unwrap_or_default();
                if !self.resources.contains_key(&group) {
                    self.give(&group, events);
                }
                if self.resources.get(&group) != Some(&at(job)) {
                    self.set(at(job), JobState::WaitingForResource).await;
                }
            }
            Action::ReleaseResource(job) => {
                let group = self.runs[run].pipeline.job(job).resource_group.clone().unwrap_or_default();
                if self.resources.get(&group) == Some(&at(job)) {
                    self.resources.remove(&group);
                    self.give(&group, events);
                }
            }
            Action::Skip { job, .. } => self.set(at(job), JobState::Skipped).await,
            Action::Canceled(job) => self.set(at(job), JobState::Canceled { time: None }).await,
            Action::Stop(job) if self.runs[run].pipeline.job(job).bridge.is_some() => {
                self.set(at(job), JobState::Canceling).await;
                // Without a pipeline it is being made, and ends when it is.
                if let Some(child) = self.runs.iter().rposition(|child| child.bridge == Some(at(job))) {
                    self.runs[child].told = None;
                    events.push_back((child, Told::Cancel));
                }
            }
            Action::Stop(job) => match self.running.values().find(|running| running.at == at(job)) {
                Some(running) => {
                    running.stop.pull(StopReason::Canceled);
                    self.set(at(job), JobState::Canceling).await;
                }
                None => {
                    self.queue.retain(|(queued, _)| *queued != at(job));
                    self.set(at(job), JobState::Canceled { time: None }).await;
                    events.push_back((run, Told::Finished(job, Outcome::Canceled)));
                }
            },
            Action::Settled(_) => {}
        }
    }

    /// Gives a free resource to whose turn it is.
    fn give(&mut self, group: &str, events: &mut Events) {
        let mut line = Vec::new();
        for (run, of) in self.runs.iter().enumerate() {
            let pipeline = i64::try_from(run).unwrap_or(i64::MAX);
            let candidates = of.scheduler.in_line(group).into_iter();
            line.extend(candidates.map(|(job, ready)| Candidate { pipeline, job: job.0, ready }));
        }
        let Some(next) = next_in_line(ProcessMode::Unordered, &line) else { return };
        let next = &line[next];
        let at = At { run: usize::try_from(next.pipeline).unwrap_or_default(), job: JobId(next.job) };
        self.resources.insert(group.to_owned(), at);
        events.push_back((at.run, harrier_pipeline::Event::Resource(at.job)));
    }

    /// A bridge has its pipeline, or has none.
    async fn made(&mut self, at: At, made: Result<Made, NotMade>, stopped: Interrupt) {
        use harrier_pipeline::Event as Told;
        let row = self.row(at);
        let time = self.rows[row].since.map(|since| since.elapsed()).unwrap_or_default();
        if self.runs[at.run].scheduler.status(at.job) == Status::Canceling {
            self.set(at, JobState::Canceled { time: Some(time) }).await;
            return self.feed(at.run, Told::Finished(at.job, Outcome::Canceled)).await;
        }
        let label = self.label(at);
        match made {
            Ok(Made { number, pipeline, payloads }) => {
                let names = pipeline.jobs.iter();
                let jobs = names
                    .map(|job| JobName {
                        name: job.name.clone(),
                        stage: job.stage.clone(),
                        bridge: Some(row),
                    })
                    .collect();
                self.add(pipeline, payloads, Some(at));
                self.tell(Event::Child { bridge: row, pipeline: number, jobs }).await;
                let child = self.runs.len() - 1;
                self.feed(child, Told::Begin).await;
                if stopped != Interrupt::No {
                    self.feed(child, Told::Cancel).await;
                }
            }
            Err(NotMade::Elsewhere { message }) => {
                self.tell(Event::Notice(format!("{label}: {message}"))).await;
                self.set(at, JobState::Skipped).await;
                self.feed(at.run, Told::Omitted(at.job)).await;
            }
            Err(NotMade::Failed { reason, message }) => {
                self.tell(Event::Notice(format!("{label}: {message}"))).await;
                self.failed_at_start(at, reason, time).await;
            }
            Err(NotMade::Fault(fault)) => self.fault(at, fault).await,
        }
    }

    async fn failed_at_start(&mut self, at: At, reason: &str, time: Duration) {
        let failure = Failure { reason: reason.to_owned(), exit_code: None };
        let outcome = Outcome::Failed { exit_code: None, reason: reason.to_owned() };
        let actions = self.runs[at.run].scheduler.on(harrier_pipeline::Event::Finished(at.job, outcome));
        let scheduler = &self.runs[at.run].scheduler;
        let state = match scheduler.status(at.job) {
            Status::Failed => JobState::Failed { time, failure, allowed: scheduler.failure_allowed(at.job) },
            _ => JobState::Retrying(failure),
        };
        self.set(at, state).await;
        self.go_on(at.run, actions).await;
    }

    async fn start_what_may(&mut self) {
        while let (Some(slot), false) = (self.free.first().copied(), self.queue.is_empty()) {
            let Some((at, attempt)) = self.queue.pop_front() else { return };
            self.feed(at.run, harrier_pipeline::Event::Started(at.job)).await;
            self.set(at, JobState::Running { attempt }).await;
            let HandedOut { payload, notices } = match self.runs[at.run].payloads.payload(at.job) {
                Ok(handed_out) => handed_out,
                Err(NoPayload::Fault(fault)) => {
                    self.fault(at, fault).await;
                    continue;
                }
                Err(NoPayload::Refused { reason, message }) => {
                    let label = self.label(at);
                    self.tell(Event::Notice(format!("{label}: {message}"))).await;
                    self.failed_at_start(at, reason, Duration::ZERO).await;
                    continue;
                }
            };
            let label = self.label(at);
            for notice in notices {
                self.tell(Event::Notice(format!("{label}: {notice}"))).await;
            }
            let stop = Stop::new();
            self.free.remove(&slot);
            let road = Arc::clone(&self.road);
            let running = Running { at, slot, started: Instant::now(), id: payload.id, stop: stop.clone() };
            let attempt = Attempt { job: self.row(at), label, payload, slot, stop };
            let task = self.attempts.spawn(async move { road.carry_out(attempt).await });
            self.running.insert(task.id(), running);
        }
    }

    async fn finished(&mut self, joined: Joined) {
        let (task, result) = match joined {
            Ok((task, result)) => (task, Some(result)),
            // The attempt panicked: a fault of Harrier's, of this job only.
            Err(error) => (error.id(), None),
        };
        let Some(Running { at, slot, started, id, .. }) = self.running.remove(&task) else { return };
        // A job may run in place of one whose place is kept, but not in it.
        if matches!(&result, Some(Ok(report)) if report.place_kept) {
            self.free.insert(self.next_place);
            self.next_place += 1;
        } else {
            self.free.insert(slot);
        }
        let time = started.elapsed();
        let label = self.label(at);
        let row = self.row(at);
        let (mut failure, canceled) = match result {
            Some(Ok(report)) => {
                self.rows[row].log = Some(report.log.clone());
                let failure = (!report.outcome.success).then(|| Failure {
                    reason: report.reason().to_owned(),
                    exit_code: report.outcome.exit_code,
                });
                let canceled =
                    report.outcome.aborted || report.outcome.reason == Some(FailureReason::JobCanceled);
                (failure, canceled)
            }
            Some(Err(fault)) => return self.fault(at, fault).await,
            None => {
                let text = format!("{label}: Harrier itself failed while it carried this job out");
                self.tell(Event::Notice(text)).await;
                (Some(Failure { reason: system_failure(), exit_code: None }), false)
            }
        };
        match self.runs[at.run].payloads.ended(at.job, id, failure.is_none()) {
            Ok(notices) => {
                for notice in notices {
                    self.tell(Event::Notice(format!("{label}: {notice}"))).await;
                }
            }
            Err(message) => {
                self.tell(Event::Notice(format!("{label}: {message}"))).await;
                failure.get_or_insert(Failure { reason: "script_failure".into(), exit_code: None });
            }
        }
        let outcome = match &failure {
            None => Outcome::Success,
            Some(_) if canceled => Outcome::Canceled,
            Some(failure) => Outcome::Failed {
                exit_code: failure.exit_code.map(i64::from),
                reason: failure.reason.clone(),
            },
        };
        let scheduler = &mut self.runs[at.run].scheduler;
        let actions = scheduler.on(harrier_pipeline::Event::Finished(at.job, outcome));
        let state = match (scheduler.status(at.job), failure) {
            (Status::Success, _) => JobState::Passed { time },
            (Status::Canceled, _) | (_, None) => JobState::Canceled { time: Some(time) },
            (Status::Failed, Some(failure)) => {
                JobState::Failed { time, failure, allowed: scheduler.failure_allowed(at.job) }
            }
            (_, Some(failure)) => JobState::Retrying(failure),
        };
        self.set(at, state).await;
        self.go_on(at.run, actions).await;
    }

    /// A job could not be carried out at all: nothing more is started, what runs is cancelled, and the run ends with
    /// the first such fault.
    async fn fault(&mut self, at: At, fault: JobError) {
        let failure = Failure { reason: system_failure(), exit_code: None };
        self.set(at, JobState::Failed { time: Duration::ZERO, failure, allowed: false }).await;
        self.first_fault.get_or_insert(fault);
        let outcome = Outcome::Failed { exit_code: None, reason: system_failure() };
        for run in 0..self.runs.len() {
            self.feed(run, harrier_pipeline::Event::Cancel).await;
        }
        self.feed(at.run, harrier_pipeline::Event::Finished(at.job, outcome)).await;
    }

    async fn set(&mut self, at: At, state: JobState) {
        let job = self.row(at);
        self.rows[job].state = state.clone();
        self.tell(Event::Job { job, state }).await;
    }

    async fn tell(&self, event: Event) {
        // A view that is gone has its own way of ending the run.
        let _ = self.road.events.send(event).await;
    }

    fn status(&self, stopped: Interrupt) -> PipelineStatus {
        let root = &self.runs[0];
        let held_up = |status: Status| {
            let mut own = self.rows[..root.pipeline.jobs.len()].iter();
            status == Status::Running && own.any(|row| row.state == JobState::Manual)
        };
        match root.scheduler.pipeline_status() {
            _ if stopped != Interrupt::No => PipelineStatus::Canceled,
            // A bridge waits for a pipeline that waits for a person.
            status if held_up(status) => PipelineStatus::Blocked,
            Status::Success if root.scheduler.has_warnings() => PipelineStatus::PassedWithWarnings,
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

/// Events to come, with their pipeline.
type Events = VecDeque<(usize, harrier_pipeline::Event)>;

type Joined = Result<(tokio::task::Id, Result<Report, JobError>), tokio::task::JoinError>;

fn system_failure() -> String {
    FailureReason::RunnerSystemFailure.wire().to_owned()
}
