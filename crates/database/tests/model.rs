//! Random events on random pipelines, against the scheduler in memory: after each one the rows say what the machine says, also when
//! the database was closed and opened again in between.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_database::{Ask, Patience, Store, TraceEnd};
use harrier_pipeline::{Action, Event, JobId, Outcome, Pipeline, Scheduler, Status};
use proptest::prelude::*;
use std::collections::VecDeque;
use support::{Home, compiled, pipeline, project, runner, runner_with};

const FILES: [&str; 4] = [
    "stages: [one, two, three]\na: {stage: one, script: x, retry: 2}\nb: {stage: one, script: x, allow_failure: true}\n\
     c: {stage: two, script: x}\nd: {stage: two, script: x, when: manual}\ne: {stage: three, script: x, when: always}\n\
     f: {stage: three, script: x, when: on_failure}\n",
    "a: {script: x}\nb: {script: x, needs: [a], retry: {max: 1, when: [runner_system_failure]}}\n\
     c: {script: x, needs: [b], when: delayed, start_in: 5 seconds}\nd: {script: x, needs: [a]}\n\
     e: {script: x, needs: [c, d]}\n",
    "a: {script: x, parallel: 3, allow_failure: {exit_codes: [7]}}\nm: {stage: deploy, script: x, when: manual, \
     allow_failure: false}\nz: {stage: .post, script: x, when: always}\n",
    "workflow: {auto_cancel: {on_job_failure: all}}\na: {script: x}\nb: {script: x, retry: 1}\nc: {stage: deploy, script: \
     x}\n",
];

#[derive(Clone, Debug)]
enum Step {
    Claim,
    Accept(usize),
    End(usize, u8),
    Play(usize),
    Retry(usize),
    RetryAll,
    CancelJob(usize, bool),
    Cancel(bool),
    Wait(i64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Claim),
        6 => any::<usize>().prop_map(Step::Accept),
        8 => (any::<usize>(), 0_u8..4).prop_map(|(at, how)| Step::End(at, how)),
        2 => any::<usize>().prop_map(Step::Play),
        2 => any::<usize>().prop_map(Step::Retry),
        1 => Just(Step::RetryAll),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(at, force)| Step::CancelJob(at, force)),
        1 => any::<bool>().prop_map(Step::Cancel),
        2 => (0_i64..6000).prop_map(Step::Wait),
        1 => Just(Step::Reopen),
    ]
}

/// The machine and what a host knows besides: who runs, and when delays end.
struct Model {
    scheduler: Scheduler,
    due: Vec<Option<i64>>,
    running: Vec<bool>,
    now: i64,
}

impl Model {
    fn feed(&mut self, events: impl IntoIterator<Item = Event>, force: bool) {
        let mut events: VecDeque<Event> = events.into_iter().collect();
        while let Some(event) = events.pop_front() {
            match &event {
                Event::Started(job) => self.running[job.0] = true,
                Event::Finished(job, _) => self.running[job.0] = false,
                _ => {}
            }
            for action in self.scheduler.on(event) {
                match action {
                    Action::StartLater { job, after } => {
                        self.due[job.0] = Some(self.now + i64::try_from(after.as_millis()).unwrap());
                    }
                    Action::Stop(job) if force || !self.running[job.0] => {
                        events.push_back(Event::Finished(job, Outcome::Canceled));
                    }
                    _ => {}
                }
            }
        }
    }

    fn with(&self, statuses: &[Status]) -> Vec<JobId> {
        let all = (0..self.due.len()).map(JobId);
        all.filter(|id| statuses.contains(&self.scheduler.status(*id))).collect()
    }
}

fn pick(jobs: &[JobId], at: usize) -> Option<JobId> {
    (!jobs.is_empty()).then(|| jobs[at % jobs.len()])
}

async fn id_of(store: &Store, pipeline: i64, position: JobId) -> i64 {
    let jobs = store.jobs(pipeline, false).await.unwrap();
    jobs.iter().find(|job| job.position == position.0).unwrap().id
}

async fn agrees(store: &Store, id: i64, config: &Pipeline, model: &Model, after: &Step) {
    let jobs = store.jobs(id, false).await.unwrap();
    assert_eq!(jobs.len(), config.jobs.len());
    for job in &jobs {
        let kept = model.scheduler.kept(JobId(job.position));
        let ours = (job.status, job.allowed, job.attempt);
        assert_eq!(ours, (kept.status, kept.allowed, kept.attempt), "{} after {after:?}", job.name);
        assert_eq!(job.finished_at.is_some(), job.status.is_complete(), "{} after {after:?}", job.name);
    }
    let pipeline = store.pipeline(id).await.unwrap();
    assert_eq!(pipeline.status, model.scheduler.pipeline_status(), "after {after:?}");
    assert_eq!(pipeline.warnings, model.scheduler.has_warnings(), "after {after:?}");
    for old in store.jobs(id, true).await.unwrap().iter().filter(|job| job.retried) {
        assert!(old.status.is_complete(), "an old row of {} is {:?} after {after:?}", old.name, old.status);
    }
}

async fn play_out(home: Home, text: &str, steps: Vec<Step>) {
    let config = compiled(text);
    let mut store = home.open().await;
    let project = project(&store, "g/p").await;
    let id = pipeline(&store, project.id, text, 1000).await.id;
    let ask = Ask { reserve_until: i64::MAX, ..runner(&store, runner_with(&[])).await };
    let count = config.jobs.len();
    let mut model = Model {
        scheduler: Scheduler::new(&config),
        due: vec![None; count],
        running: vec![false; count],
        now: 1000,
    };
    model.feed([Event::Begin], false);
    let mut reserved: Vec<i64> = Vec::new();
    for step in steps {
        let now = model.now;
        match &step {
            Step::Claim => {
                let claim = store.claim_next(ask.clone(), now).await.unwrap();
                reserved.extend(claim.map(|claim| claim.job.id));
            }
            Step::Accept(at) => {
                if !reserved.is_empty() {
                    let job = reserved.remove(at % reserved.len());
                    let position = JobId(store.job(job).await.unwrap().position);
                    // Cancelled in the meantime: there is nothing to accept.
                    if store.accept(job, now).await.is_ok() {
                        model.feed([Event::Started(position)], false);
                    }
                }
            }
            Step::End(at, how) => {
                if let Some(job) = pick(&model.with(&[Status::Running, Status::Canceling]), *at) {
                    let failed =
                        |reason: &str, code| Outcome::Failed { exit_code: code, reason: reason.into() };
                    let outcome = match how {
                        0 | 1 => Outcome::Success,
                        2 => failed("script_failure", Some(7)),
                        _ => failed("runner_system_failure", None),
                    };
                    let row = id_of(&store, id, job).await;
                    store.finish(row, outcome.clone(), TraceEnd::default(), now).await.unwrap();
                    model.feed([Event::Finished(job, outcome)], false);
                }
            }
            Step::Play(at) => {
                if let Some(job) = pick(&model.with(&[Status::Manual, Status::Scheduled]), *at) {
                    store.play(id_of(&store, id, job).await, None, Vec::new(), now).await.unwrap();
                    model.feed([Event::Play(job)], false);
                }
            }
            Step::Retry(at) => {
                let over = model.with(&[Status::Success, Status::Failed, Status::Canceled]);
                if let Some(job) = pick(&over, *at) {
                    store.retry(id_of(&store, id, job).await, None, now).await.unwrap();
                    model.feed([Event::Retry(job)], false);
                }
            }
            Step::RetryAll => {
                store.retry_pipeline(id, None, now).await.unwrap();
                model.feed([Event::RetryFailed], false);
            }
            Step::CancelJob(at, force) => {
                let open: Vec<JobId> =
                    (0..count).map(JobId).filter(|job| !model.scheduler.status(*job).is_complete()).collect();
                if let Some(job) = pick(&open, *at) {
                    store.cancel_job(id_of(&store, id, job).await, *force, now).await.unwrap();
                    let asked = model.scheduler.status(job) == Status::Canceling;
                    let event = match asked && *force {
                        true => Event::Finished(job, Outcome::Canceled),
                        false => Event::CancelJob(job),
                    };
                    model.feed([event], *force);
                }
            }
            Step::Cancel(force) => {
                store.cancel_pipeline(id, *force, now).await.unwrap();
                let asked = model.with(&[Status::Canceling]);
                model.feed([Event::Cancel], *force);
                if *force {
                    model.feed(asked.into_iter().map(|job| Event::Finished(job, Outcome::Canceled)), true);
                }
            }
            Step::Wait(millis) => {
                model.now += millis;
                let now = model.now;
                store
                    .due(now, Patience { silence: i64::MAX / 2, stuck: i64::MAX / 2, ..Patience::default() })
                    .await
                    .unwrap();
                for job in model.with(&[Status::Scheduled]) {
                    if model.due[job.0].is_some_and(|due| due <= now) {
                        model.feed([Event::DelayOver(job)], false);
                    }
                }
            }
            Step::Reopen => {
                drop(store);
                store = home.open().await;
            }
        }
        agrees(&store, id, &config, &model, &step).await;
    }
}

fn case() -> impl Strategy<Value = (usize, Vec<Step>)> {
    (0..FILES.len(), prop::collection::vec(step(), 1..60))
}

fn run(home: Home, file: usize, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(play_out(home, FILES[file], steps));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sqlite_says_what_the_scheduler_says((file, steps) in case()) {
        run(Home::sqlite(), file, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn postgresql_says_what_the_scheduler_says((file, steps) in case()) {
        run(Home::postgres(), file, steps);
    }
}
