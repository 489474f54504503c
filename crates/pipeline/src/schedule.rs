//! The scheduler: a pure machine that is told what happened and says what to do (`ci-yaml.md` §28).
//! The local host and the coordinator drive it; it has no clock, starts nothing and never waits.

use crate::pipeline::{Bridge, JobId, OnNewCommit, Pipeline, Strategy, When};
use crate::status::{Status, StatusSet};
use std::collections::HashMap;
use std::time::Duration;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The pipeline begins. Once, first.
    Begin,
    /// A job that got [`Action::Start`] really runs.
    Started(JobId),
    /// A job that got [`Action::Start`] ended.
    Finished(JobId, Outcome),
    /// A person starts a manual job, or a delayed one before its time.
    Play(JobId),
    /// The delay of [`Action::StartLater`] is over.
    DelayOver(JobId),
    /// A person runs a complete job once more.
    Retry(JobId),
    /// A person cancels one job.
    CancelJob(JobId),
    /// The whole pipeline is cancelled.
    Cancel,
    /// The pipeline that a bridge has made has this status now. The first one tells that it exists. A bridge that
    /// could not make one ends with [`Event::Finished`].
    Downstream(JobId, Status),
    /// The host does not carry out a job that got [`Action::Start`]: it counts as skipped.
    Omitted(JobId),
    /// With [`Scheduler::with_shared_resources`]: the resource that the job waits for is its own now.
    Resource(JobId),
    /// A person takes the timer off a delayed job, which then waits to be played.
    Unschedule(JobId),
    /// A person runs everything once more that failed or was cancelled.
    RetryFailed,
    /// There is a newer commit of this pipeline's ref (`workflow:auto_cancel:on_new_commit`, §14).
    NewCommit,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Success,
    /// It failed.
    Failed {
        /// Of the script, if it was the script.
        exit_code: Option<i64>,
        /// The reason on the wire (`runner-api.md` §14.1): `script_failure`, …
        reason: String,
    },
    /// It was cancelled.
    Canceled,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the job; a bridge ([`crate::Job::bridge`]) makes its pipeline.
    Start {
        /// Which.
        job: JobId,
        /// 1 for the first time, 2 for the first automatic retry, …
        attempt: u32,
    },
    /// Send [`Event::DelayOver`] after this time.
    StartLater {
        /// Which.
        job: JobId,
        /// From now.
        after: Duration,
    },
    /// The job waits for a person.
    AwaitPlay(JobId),
    /// The job waits until another of its resource group ends; with shared resources, for [`Event::Resource`].
    AwaitResource(JobId),
    /// With shared resources: the job no longer holds the resource that it was given.
    ReleaseResource(JobId),
    /// The job will not run.
    Skip {
        /// Which.
        job: JobId,
        /// The status of what comes before it.
        previous: Status,
    },
    /// Stop the running job; its end is still to be reported by [`Event::Finished`]. For a bridge: cancel its
    /// pipeline, whose end is reported by [`Event::Downstream`].
    Stop(JobId),
    /// The job was cancelled before it ran.
    Canceled(JobId),
    /// Nothing runs, waits or is due: without a person's doing nothing more will happen.
    Settled(Status),
}

/// The machine. Events out of place are ignored.
#[derive(Clone, Debug)]
pub struct Scheduler {
    jobs: Vec<JobState>,
    /// Job indexes by stage, then file order.
    order: Vec<usize>,
    stages: usize,
    cancel_on_failure: bool,
    on_new_commit: OnNewCommit,
    /// Who holds a resource group.
    holders: HashMap<String, usize>,
    /// The host hands out resources, across pipelines.
    shared: bool,
    settled: bool,
}

#[derive(Clone, Debug)]
struct JobState {
    status: Status,
    /// A failure (or an unplayed manual job) does not count.
    allowed: bool,
    attempt: u32,
    stage: usize,
    needs: Option<Vec<usize>>,
    when: When,
    start_in: Duration,
    allow_failure: crate::AllowFailure,
    retry: crate::Retry,
    resource_group: Option<String>,
    interruptible: bool,
    /// Of a bridge.
    strategy: Option<Strategy>,
}

impl JobState {
    /// Its status is that of the pipeline it made.
    fn mirrors(&self) -> bool {
        self.strategy == Some(Strategy::Mirror) && self.attempt > 0
    }
}

impl Scheduler {
    /// All jobs created, nothing begun.
    pub fn new(pipeline: &Pipeline) -> Self {
        let jobs: Vec<JobState> = pipeline
            .jobs
            .iter()
            .map(|job| JobState {
                status: Status::Created,
                allowed: job.allow_failure == crate::AllowFailure::Yes,
                attempt: 0,
                stage: job.stage_index,
                needs: job.needs.as_ref().map(|needs| {
                    needs
                        .iter()
                        .filter_map(|n| n.job.map(|id| id.0))
                        .filter(|i| *i < pipeline.jobs.len())
                        .collect()
                }),
                when: job.when,
                start_in: job.start_in.unwrap_or_default(),
                allow_failure: job.allow_failure.clone(),
                retry: job.retry.clone(),
                resource_group: job.resource_group.clone().filter(|g| !g.is_empty()),
                interruptible: job.interruptible,
                strategy: job.bridge.as_ref().map(Bridge::strategy),
            })
            .collect();
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        order.sort_by_key(|i| jobs[*i].stage);
        let stages = jobs.iter().map(|j| j.stage + 1).max().unwrap_or(0);
        Self {
            jobs,
            order,
            stages,
            cancel_on_failure: pipeline.auto_cancel.on_job_failure,
            on_new_commit: pipeline.auto_cancel.on_new_commit,
            holders: HashMap::new(),
            shared: false,
            settled: false,
        }
    }

    /// As this one, with resource groups that reach across pipelines: every job of one waits for [`Event::Resource`].
    /// Whose turn it is, [`crate::resource::next_in_line`] says.
    pub fn with_shared_resources(mut self) -> Self {
        self.shared = true;
        self
    }

    /// Takes one event, gives what is to be done, in order.
    pub fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Begin => {}
            Event::Started(id) => {
                if let Some(job) = self.jobs.get_mut(id.0)
                    && job.status == Status::Pending
                {
                    job.status = Status::Running;
                }
                return actions;
            }
            Event::Finished(id, outcome) => self.finish(id.0, &outcome, &mut actions),
            Event::Play(id) => {
                if self.is(id, &[Status::Manual, Status::Scheduled]) && !self.jobs[id.0].mirrors() {
                    self.reset_after(id.0, &[Status::Skipped]);
                    self.enqueue(id.0, &mut actions);
                }
            }
            Event::DelayOver(id) => {
                if self.is(id, &[Status::Scheduled]) && !self.jobs[id.0].mirrors() {
                    self.enqueue(id.0, &mut actions);
                }
            }
            Event::Unschedule(id) => {
                if self.is(id, &[Status::Scheduled]) && !self.jobs[id.0].mirrors() {
                    self.jobs[id.0].status = Status::Manual;
                    actions.push(Action::AwaitPlay(id));
                }
            }
            Event::Omitted(id) => {
                if self.is(id, &[Status::Pending, Status::Running]) {
                    self.jobs[id.0].status = Status::Skipped;
                    self.release(id.0, &mut actions);
                }
            }
            Event::Resource(id) => self.granted(id.0, &mut actions),
            Event::Downstream(id, status) => self.downstream(id.0, status, &mut actions),
            Event::NewCommit => self.superseded(&mut actions),
            Event::RetryFailed => {
                for index in 0..self.jobs.len() {
                    if self.is(JobId(index), &[Status::Failed, Status::Canceled]) {
                        self.reset_after(index, &[Status::Skipped, Status::Canceled]);
                        self.reset(index);
                    }
                }
            }
            Event::Retry(id) => {
                if self.is(id, &[Status::Success, Status::Failed, Status::Canceled]) {
                    self.reset_after(id.0, &[Status::Skipped, Status::Canceled]);
                    self.reset(id.0);
                    self.enqueue(id.0, &mut actions);
                }
            }
            Event::CancelJob(id) => {
                if id.0 < self.jobs.len() {
                    self.cancel(id.0, &mut actions);
                }
            }
            Event::Cancel => self.cancel_all(&mut actions),
        }
        self.process(&mut actions);
        let settled = self.at_rest();
        if settled && (!self.settled || !actions.is_empty()) {
            actions.push(Action::Settled(self.pipeline_status()));
        }
        self.settled = settled;
        actions
    }

    /// Nothing runs, waits or is due.
    fn at_rest(&self) -> bool {
        !self.jobs.iter().any(|j| {
            matches!(
                j.status,
                Status::Pending
                    | Status::Running
                    | Status::Canceling
                    | Status::Scheduled
                    | Status::Preparing
                    | Status::WaitingForCallback
                    | Status::WaitingForResource
            )
        })
    }

    /// The status of a job.
    pub fn status(&self, id: JobId) -> Status {
        self.jobs.get(id.0).map_or(Status::Skipped, |j| j.status)
    }

    /// Whether a failure of the job does not count; known for sure when it has ended.
    pub fn failure_allowed(&self, id: JobId) -> bool {
        self.jobs.get(id.0).is_some_and(|j| j.allowed)
    }

    /// How often the job was started, since the last [`Event::Retry`].
    pub fn attempts(&self, id: JobId) -> u32 {
        self.jobs.get(id.0).map_or(0, |j| j.attempt)
    }

    /// The status of the pipeline (§28.2).
    pub fn pipeline_status(&self) -> Status {
        self.all().composite(false).unwrap_or(Status::Success)
    }

    /// Whether some job failed and was allowed to.
    pub fn has_warnings(&self) -> bool {
        self.all().has_warnings()
    }

    /// The jobs that keep a created job from being looked at: what comes before it and is not complete.
    pub fn waits_on(&self, id: JobId) -> Vec<JobId> {
        let Some(job) = self.jobs.get(id.0).filter(|j| j.status == Status::Created) else {
            return Vec::new();
        };
        let open = |at: &usize| {
            let other = &self.jobs[*at];
            !(other.status.is_complete() || other.status == Status::Manual && other.allowed)
        };
        let before: Vec<usize> = match &job.needs {
            Some(needs) => needs.clone(),
            None => self.order.iter().copied().filter(|at| self.jobs[*at].stage < job.stage).collect(),
        };
        before.into_iter().filter(open).map(JobId).collect()
    }

    /// The jobs that have a resource group still before them, and whether each waits for it already
    /// ([`crate::resource::next_in_line`]).
    pub fn in_line(&self, group: &str) -> Vec<(JobId, bool)> {
        let of_group = |at: &usize| self.jobs[*at].resource_group.as_deref() == Some(group);
        let upcoming = |at: usize| {
            let job = &self.jobs[at];
            let ready = job.status == Status::WaitingForResource;
            let coming = ready || matches!(job.status, Status::Created | Status::Scheduled);
            (coming && !job.mirrors()).then_some((JobId(at), ready))
        };
        self.order.iter().copied().filter(|at| of_group(at)).filter_map(upcoming).collect()
    }

    /// Whether a job holds its resource group.
    pub fn holds_resource(&self, id: JobId) -> bool {
        self.holds(id.0)
    }

    fn holds(&self, index: usize) -> bool {
        let group = self.jobs.get(index).and_then(|j| j.resource_group.as_ref());
        group.is_some_and(|group| self.holders.get(group) == Some(&index))
    }

    /// The status of a stage; `None` if it has no jobs.
    pub fn stage_status(&self, stage: usize) -> Option<Status> {
        let mut set = StatusSet::default();
        for job in self.jobs.iter().filter(|j| j.stage == stage) {
            set.add(job.status, job.allowed);
        }
        set.composite(false)
    }

    fn all(&self) -> StatusSet {
        let mut set = StatusSet::default();
        for job in &self.jobs {
            set.add(job.status, job.allowed);
        }
        set
    }

    fn is(&self, id: JobId, statuses: &[Status]) -> bool {
        self.jobs.get(id.0).is_some_and(|j| statuses.contains(&j.status))
    }

    /// Looks at the created jobs until nothing changes (§28.3).
    fn process(&mut self, actions: &mut Vec<Action>) {
        loop {
            let mut changed = false;
            // What comes before each stage, as it is now; a job that changes is seen in the next round.
            let mut own = vec![StatusSet::default(); self.stages];
            for job in &self.jobs {
                own[job.stage].add(job.status, job.allowed);
            }
            let mut before = vec![StatusSet::default(); self.stages];
            for stage in 1..self.stages {
                before[stage] = before[stage - 1].union(own[stage - 1]);
            }
            for at in 0..self.order.len() {
                let index = self.order[at];
                let job = &self.jobs[index];
                if job.status != Status::Created {
                    continue;
                }
                let (set, dag) = match &job.needs {
                    None => (before[job.stage], false),
                    Some(needs) => {
                        let mut set = StatusSet::default();
                        for need in needs {
                            set.add(self.jobs[*need].status, self.jobs[*need].allowed);
                        }
                        (set, true)
                    }
                };
                let previous = set.composite(dag).unwrap_or(Status::Success);
                if !previous.is_complete() {
                    continue;
                }
                // One skipped need makes the whole set skipped while others still run. Who has to wait for them all
                // the same is a job that runs always: GitLab would start it too early (docs/differences.md).
                if dag && job.when == When::Always && !self.needs_at_rest(index) {
                    continue;
                }
                let (when, after) = (job.when, job.start_in);
                changed = true;
                let good = previous == Status::Success || (!dag && previous == Status::Skipped);
                let goes = match when {
                    When::OnSuccess | When::Manual | When::Delayed => good,
                    When::OnFailure => previous == Status::Failed,
                    When::Always => previous != Status::Canceled,
                };
                if !goes {
                    self.jobs[index].status = Status::Skipped;
                    actions.push(Action::Skip { job: JobId(index), previous });
                    continue;
                }
                match when {
                    When::Manual => {
                        self.jobs[index].status = Status::Manual;
                        actions.push(Action::AwaitPlay(JobId(index)));
                    }
                    When::Delayed => {
                        self.jobs[index].status = Status::Scheduled;
                        actions.push(Action::StartLater { job: JobId(index), after });
                    }
                    When::OnSuccess | When::OnFailure | When::Always => self.enqueue(index, actions),
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Whether no need of a job will move by itself.
    fn needs_at_rest(&self, index: usize) -> bool {
        self.jobs[index].needs.iter().flatten().all(|need| {
            let need = &self.jobs[*need];
            need.status.is_complete() || need.status == Status::Manual && need.allowed
        })
    }

    /// The job may run: at once, or when its resource group is free.
    fn enqueue(&mut self, index: usize, actions: &mut Vec<Action>) {
        if let Some(group) = self.jobs[index].resource_group.clone() {
            let taken = match self.holders.get(&group) {
                Some(holder) => *holder != index,
                None => self.shared,
            };
            if taken {
                self.jobs[index].status = Status::WaitingForResource;
                actions.push(Action::AwaitResource(JobId(index)));
                return;
            }
            self.holders.insert(group, index);
        }
        self.start(index, actions);
    }

    /// The host gives the job its resource.
    fn granted(&mut self, index: usize, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(index) else { return };
        let Some(group) = job.resource_group.clone() else { return };
        if job.status != Status::WaitingForResource || job.mirrors() || self.holders.contains_key(&group) {
            // Nobody uses it here, so that it is not lost.
            actions.push(Action::ReleaseResource(JobId(index)));
            return;
        }
        self.holders.insert(group, index);
        self.start(index, actions);
    }

    fn start(&mut self, index: usize, actions: &mut Vec<Action>) {
        let job = &mut self.jobs[index];
        job.status = Status::Pending;
        job.attempt += 1;
        actions.push(Action::Start { job: JobId(index), attempt: job.attempt });
    }

    fn release(&mut self, index: usize, actions: &mut Vec<Action>) {
        let Some(group) = self.jobs[index].resource_group.clone() else { return };
        if self.holders.get(&group) != Some(&index) {
            return;
        }
        self.holders.remove(&group);
        if self.shared {
            actions.push(Action::ReleaseResource(JobId(index)));
            return;
        }
        let next = self.order.iter().copied().find(|i| {
            self.jobs[*i].status == Status::WaitingForResource
                && !self.jobs[*i].mirrors()
                && self.jobs[*i].resource_group.as_deref() == Some(group.as_str())
        });
        if let Some(next) = next {
            self.enqueue(next, actions);
        }
    }

    /// The pipeline of a bridge has a status (§23.2).
    fn downstream(&mut self, index: usize, status: Status, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(index).filter(|j| j.attempt > 0) else { return };
        let Some(strategy) = job.strategy else { return };
        let at_work = !job.status.is_complete();
        let word = |reason: &str| Outcome::Failed { exit_code: None, reason: reason.to_owned() };
        let outcome = match (strategy, status) {
            (Strategy::Independent, _) if at_work => Some(Outcome::Success),
            (Strategy::Independent, _) => return,
            (_, Status::Success) => Some(Outcome::Success),
            (_, Status::Canceled) => Some(Outcome::Canceled),
            (_, Status::Failed) | (Strategy::Depend, Status::Skipped) => Some(word("unknown_failure")),
            (Strategy::Mirror, Status::Skipped) => None,
            // It was told to stop; what is left there waits for a person.
            (_, Status::Manual) if job.status == Status::Canceling => Some(Outcome::Canceled),
            (Strategy::Depend | Strategy::Mirror, _) => {
                let shown = match (strategy, status) {
                    (Strategy::Mirror, Status::Created) => Status::Pending,
                    (Strategy::Mirror, other) => other,
                    _ => Status::Running,
                };
                if !at_work {
                    // Something in it runs once more, so what follows is open again.
                    self.reset_after(index, &[Status::Skipped]);
                }
                if self.jobs[index].status != Status::Canceling {
                    self.jobs[index].status = shown;
                }
                return;
            }
        };
        if !at_work {
            if outcome_status(outcome.as_ref()) == job.status {
                return;
            }
            self.reset_after(index, &[Status::Skipped]);
        }
        if self.jobs[index].status != Status::Canceling {
            self.jobs[index].status = Status::Running;
        }
        match outcome {
            Some(outcome) => self.finish(index, &outcome, actions),
            None => {
                self.jobs[index].status = Status::Skipped;
                self.release(index, actions);
            }
        }
    }

    /// A newer commit makes this pipeline superfluous (§14).
    fn superseded(&mut self, actions: &mut Vec<Action>) {
        match self.on_new_commit {
            OnNewCommit::None => {}
            OnNewCommit::Conservative => {
                let begun = |j: &JobState| {
                    matches!(j.status, Status::Running | Status::Canceling | Status::Success | Status::Failed)
                };
                if !self.jobs.iter().any(|j| !j.interruptible && begun(j)) {
                    self.cancel_all(actions);
                }
            }
            OnNewCommit::Interruptible => {
                let (run, wait): (Vec<usize>, Vec<usize>) = self
                    .order
                    .iter()
                    .copied()
                    .filter(|i| self.jobs[*i].interruptible)
                    .partition(|i| matches!(self.jobs[*i].status, Status::Pending | Status::Running));
                for index in wait.into_iter().chain(run) {
                    self.cancel(index, actions);
                }
            }
        }
    }

    /// As it was before the job had ever been started.
    fn reset(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        job.status = Status::Created;
        job.attempt = 0;
        job.allowed = job.allow_failure == crate::AllowFailure::Yes;
    }

    fn finish(&mut self, index: usize, outcome: &Outcome, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        let canceling = match job.status {
            Status::Pending | Status::Running => false,
            Status::Canceling => true,
            _ if job.mirrors() && !job.status.is_complete() => false,
            _ => return,
        };
        match outcome {
            _ if canceling => job.status = Status::Canceled,
            Outcome::Success => job.status = Status::Success,
            Outcome::Canceled => job.status = Status::Canceled,
            Outcome::Failed { exit_code, reason } => {
                if may_retry(&job.retry, job.attempt, *exit_code, reason) {
                    // It keeps its resource: nobody else gets between two attempts.
                    self.enqueue(index, actions);
                    return;
                }
                job.status = Status::Failed;
                job.allowed = job.allow_failure.allows(*exit_code);
                if !job.allowed && self.cancel_on_failure {
                    self.release(index, actions);
                    self.cancel_all(actions);
                    return;
                }
            }
        }
        self.release(index, actions);
    }

    fn cancel(&mut self, index: usize, actions: &mut Vec<Action>) {
        let job = &mut self.jobs[index];
        if job.mirrors() && !job.status.is_complete() && job.status != Status::Canceling {
            job.status = Status::Canceling;
            actions.push(Action::Stop(JobId(index)));
            return;
        }
        match job.status {
            // A started job is the host's until it says that it ended, even if it has not begun to run.
            Status::Pending | Status::Running => {
                job.status = Status::Canceling;
                actions.push(Action::Stop(JobId(index)));
            }
            Status::Created
            | Status::Scheduled
            | Status::WaitingForResource
            | Status::Preparing
            | Status::WaitingForCallback => {
                job.status = Status::Canceled;
                actions.push(Action::Canceled(JobId(index)));
            }
            // Manual jobs stay playable.
            Status::Manual
            | Status::Canceling
            | Status::Success
            | Status::Failed
            | Status::Canceled
            | Status::Skipped => {}
        }
    }

    fn cancel_all(&mut self, actions: &mut Vec<Action>) {
        // Those who wait first, so that nobody inherits a resource from one who is stopped.
        for index in self.order.clone() {
            if !matches!(self.jobs[index].status, Status::Pending | Status::Running) {
                self.cancel(index, actions);
            }
        }
        for index in self.order.clone() {
            self.cancel(index, actions);
        }
    }

    /// Sets the jobs that depend on `index` back to created, if they have one of `from`: those of later stages and
    /// those that need it, and so on.
    fn reset_after(&mut self, index: usize, from: &[Status]) {
        let mut reached = vec![false; self.jobs.len()];
        reached[index] = true;
        let stage = self.jobs[index].stage;
        loop {
            let mut changed = false;
            for at in 0..self.order.len() {
                let other = self.order[at];
                if reached[other] {
                    continue;
                }
                let depends = match &self.jobs[other].needs {
                    Some(needs) => needs.iter().any(|n| reached[*n]),
                    None => self.jobs[other].stage > stage,
                };
                if depends && from.contains(&self.jobs[other].status) {
                    reached[other] = true;
                    self.reset(other);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }
}

/// What a host has kept of one job, to go on later from where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// [`Scheduler::status`]
    pub status: Status,
    /// [`Scheduler::failure_allowed`]
    pub allowed: bool,
    /// [`Scheduler::attempts`]
    pub attempt: u32,
}

impl Scheduler {
    /// What is to be kept of a job.
    pub fn kept(&self, id: JobId) -> Kept {
        Kept { status: self.status(id), allowed: self.failure_allowed(id), attempt: self.attempts(id) }
    }

    /// The machine as it was, from what was kept of each job in the pipeline's order. Jobs without an entry are as new.
    /// What a machine that was never interrupted does next, this one does. For shared resources call
    /// [`Self::with_shared_resources`] afterwards, as after [`Self::new`].
    pub fn restore(pipeline: &Pipeline, jobs: &[Kept]) -> Self {
        let mut this = Self::new(pipeline);
        let mut begun = false;
        for (index, (job, kept)) in this.jobs.iter_mut().zip(jobs).enumerate() {
            job.status = kept.status;
            job.allowed = kept.allowed;
            job.attempt = kept.attempt;
            begun |= kept.status != Status::Created || kept.attempt > 0;
            let holds = match kept.status {
                Status::Pending | Status::Running | Status::Canceling => true,
                other => job.mirrors() && !other.is_complete(),
            };
            if let (true, Some(group)) = (holds, &job.resource_group) {
                this.holders.insert(group.clone(), index);
            }
        }
        this.settled = begun && this.at_rest();
        this
    }
}

fn outcome_status(outcome: Option<&Outcome>) -> Status {
    match outcome {
        Some(Outcome::Success) => Status::Success,
        Some(Outcome::Failed { .. }) => Status::Failed,
        Some(Outcome::Canceled) => Status::Canceled,
        None => Status::Skipped,
    }
}

/// Reasons that no `retry` repeats (§18.1).
const NEVER_RETRIED: [&str; 5] = [
    "ci_quota_exceeded",
    "no_matching_runner",
    "missing_dependency_failure",
    "forward_deployment_failure",
    "environment_creation_failure",
];

/// Whether a job that failed for the `attempt`-th time is started again (§18.1).
fn may_retry(retry: &crate::Retry, attempt: u32, exit_code: Option<i64>, reason: &str) -> bool {
    if NEVER_RETRIED.contains(&reason) {
        return false;
    }
    let again = attempt.saturating_sub(1);
    if reason == "scheduler_failure" && retry.max == 0 {
        return again < 2;
    }
    if again >= retry.max {
        return false;
    }
    let by_code = exit_code.is_some_and(|code| retry.exit_codes.contains(&code));
    let by_reason = if retry.when.is_empty() {
        retry.exit_codes.is_empty()
    } else {
        retry.when.iter().any(|w| w == "always" || w == reason)
    };
    by_code || by_reason
}
