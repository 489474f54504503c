//! The scheduler: tables by `ci-yaml.md` §28 and §A.4, and properties over random pipelines and random hosts.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_pipeline::{
    Action, AllowFailure, Event, JobId, Kept, Outcome, Pipeline, Scheduler, Status, When,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use support::{job, pipeline};

fn failed(exit_code: i64) -> Outcome {
    Outcome::Failed { exit_code: Some(exit_code), reason: "script_failure".into() }
}

/// Runs jobs as they are started; `fails` fail with exit code 1, `stops` are cancelled, others pass. Stops when
/// nothing more happens.
struct Host<'p> {
    pipeline: &'p Pipeline,
    scheduler: Scheduler,
    started: Vec<String>,
    settled: Option<Status>,
}

impl<'p> Host<'p> {
    fn new(pipeline: &'p Pipeline) -> Self {
        Self { pipeline, scheduler: Scheduler::new(pipeline), started: Vec::new(), settled: None }
    }

    fn run(&mut self, first: Event, fails: &[&str], stops: &[&str]) {
        let mut events = vec![first];
        while !events.is_empty() {
            for action in self.scheduler.on(events.remove(0)) {
                match action {
                    Action::Start { job, .. } => {
                        let name = self.pipeline.job(job).name.clone();
                        self.started.push(name.clone());
                        let outcome = if fails.contains(&name.as_str()) {
                            failed(1)
                        } else if stops.contains(&name.as_str()) {
                            Outcome::Canceled
                        } else {
                            Outcome::Success
                        };
                        events.push(Event::Started(job));
                        events.push(Event::Finished(job, outcome));
                    }
                    Action::StartLater { job, .. } => events.push(Event::DelayOver(job)),
                    Action::Settled(status) => self.settled = Some(status),
                    _ => {}
                }
            }
        }
    }

    fn states(&self) -> String {
        let of = |id: JobId| format!("{}={}", self.pipeline.job(id).name, self.scheduler.status(id).word());
        self.pipeline.ids().map(of).collect::<Vec<_>>().join(" ")
    }
}

/// §A.4
#[test]
fn table() {
    let stages = "stages: [one, two, three]\n";
    for (jobs, fails, stops, want, pipeline_status) in [
        (
            "a: {stage: one, script: x}\nb: {stage: one, script: x, allow_failure: true}\nc: {stage: two, script: x}\n",
            &["b"][..],
            &[][..],
            "a=success b=failed c=success",
            Status::Success,
        ),
        (
            "a: {stage: one, script: x}\nc: {stage: two, script: x}\nd: {stage: two, script: x, when: on_failure}\n\
             e: {stage: two, script: x, when: always}\nf: {stage: three, script: x}\n",
            &["a"],
            &[],
            "a=failed c=skipped d=success e=success f=skipped",
            Status::Failed,
        ),
        (
            "m: {stage: one, script: x, when: manual}\nc: {stage: two, script: x}\n",
            &[],
            &[],
            "m=manual c=success",
            Status::Success,
        ),
        (
            "m: {stage: one, script: x, rules: [{when: manual}]}\nc: {stage: two, script: x}\n",
            &[],
            &[],
            "m=manual c=created",
            Status::Manual,
        ),
        (
            "m: {stage: one, script: x, when: manual}\nn: {stage: two, script: x, needs: [m]}\n",
            &[],
            &[],
            "m=manual n=skipped",
            Status::Skipped,
        ),
        (
            "w: {stage: one, script: x}\nx: {stage: one, script: x}\ny: {stage: two, script: x, needs: [w]}\n\
             z: {stage: three, script: x, needs: [x, y], when: on_failure}\n\
             v: {stage: three, script: x, needs: [x, y], when: always}\n",
            &["w", "x"],
            &[],
            "w=failed x=failed y=skipped z=skipped v=success",
            Status::Failed,
        ),
        (
            "a: {stage: one, script: x}\nz: {stage: two, script: x, needs: [a], when: on_failure}\n",
            &["a"],
            &[],
            "a=failed z=success",
            Status::Failed,
        ),
        (
            "a: {stage: one, script: x}\nc: {stage: two, script: x}\nd: {stage: two, script: x, when: on_failure}\n\
             e: {stage: two, script: x, when: always}\n",
            &[],
            &["a"],
            "a=canceled c=skipped d=skipped e=skipped",
            Status::Canceled,
        ),
        (
            "a: {stage: one, script: x, allow_failure: {exit_codes: 1}}\nc: {stage: two, script: x}\n",
            &["a"],
            &[],
            "a=failed c=success",
            Status::Success,
        ),
        (
            "a: {stage: one, script: x, allow_failure: {exit_codes: 2}}\nc: {stage: two, script: x}\n",
            &["a"],
            &[],
            "a=failed c=skipped",
            Status::Failed,
        ),
        (
            "a: {stage: one, script: x, when: on_failure}\nb: {stage: one, script: x, needs: [], when: on_failure}\n\
             c: {stage: two, script: x}\n",
            &[],
            &[],
            "a=skipped b=skipped c=success",
            Status::Success,
        ),
        (
            "a: {stage: one, script: x}\nd: {stage: two, script: x, when: delayed, start_in: 1 min}\n",
            &[],
            &[],
            "a=success d=success",
            Status::Success,
        ),
        (
            "a: {stage: one, script: x}\nb: {stage: three, script: x, needs: [{job: gone, optional: true}]}\n",
            &["a"],
            &[],
            "a=failed b=success",
            Status::Failed,
        ),
    ] {
        let pipeline = pipeline(&format!("{stages}{jobs}"));
        let mut host = Host::new(&pipeline);
        host.run(Event::Begin, fails, stops);
        assert_eq!(host.states(), want, "{jobs}");
        assert_eq!(host.settled, Some(pipeline_status), "{jobs}");
        assert_eq!(host.scheduler.pipeline_status(), pipeline_status, "{jobs}");
    }
}

/// §28.3: playing a manual job brings back what was skipped because of it.
#[test]
fn playing_resets_the_skipped() {
    let p = pipeline(
        "m: {script: x, when: manual}\nn: {script: x, needs: [m]}\no: {script: x, needs: [n]}\n\
         p: {stage: deploy, script: x, needs: [o], when: on_failure}\n",
    );
    let mut host = Host::new(&p);
    host.run(Event::Begin, &[], &[]);
    assert_eq!(host.states(), "m=manual n=skipped o=skipped p=skipped");
    host.run(Event::Play(JobId(0)), &[], &[]);
    assert_eq!(host.states(), "m=success n=success o=success p=skipped");
    host.run(Event::Retry(JobId(0)), &["m"], &[]);
    assert_eq!(host.states(), "m=failed n=success o=success p=skipped");
}

#[test]
fn a_blocking_manual_job_lets_later_stages_wait() {
    let p = pipeline("m: {script: x, when: manual, allow_failure: false}\nc: {stage: deploy, script: x}\n");
    let mut host = Host::new(&p);
    host.run(Event::Begin, &[], &[]);
    assert_eq!((host.states().as_str(), host.settled), ("m=manual c=created", Some(Status::Manual)));
    host.run(Event::Play(JobId(0)), &[], &[]);
    assert_eq!((host.states().as_str(), host.settled), ("m=success c=success", Some(Status::Success)));
}

/// §18.1
#[test]
fn retries() {
    let reason = |reason: &str| Outcome::Failed { exit_code: None, reason: reason.into() };
    for (retry, outcome, attempts) in [
        ("0", failed(1), 1),
        ("2", failed(1), 3),
        ("{max: 1, when: script_failure}", failed(1), 2),
        ("{max: 2, when: runner_system_failure}", failed(1), 1),
        ("{max: 2, when: [runner_system_failure, always]}", failed(1), 3),
        ("{max: 2, exit_codes: 1}", failed(1), 3),
        ("{max: 2, exit_codes: [2, 3]}", failed(1), 1),
        ("{max: 2, when: api_failure, exit_codes: 1}", failed(1), 3),
        ("{max: 2, when: api_failure, exit_codes: 2}", failed(1), 1),
        ("2", reason("missing_dependency_failure"), 1),
        ("0", reason("scheduler_failure"), 3),
    ] {
        let p = pipeline(&format!("a: {{script: x, retry: {retry}}}\nb: {{stage: deploy, script: x}}\n"));
        let mut scheduler = Scheduler::new(&p);
        let mut actions = scheduler.on(Event::Begin);
        let mut seen = 0;
        while let Some(Action::Start { job: JobId(0), attempt }) = actions.first() {
            seen += 1;
            assert_eq!(*attempt, seen);
            actions = scheduler.on(Event::Finished(JobId(0), outcome.clone()));
        }
        assert_eq!(seen, attempts, "{retry} {outcome:?}");
        assert_eq!(scheduler.status(JobId(1)), Status::Skipped);
    }
}

/// §28.4
#[test]
fn a_resource_is_held_by_one() {
    let p =
        pipeline("a: {script: x, resource_group: g}\nb: {script: x, resource_group: g}\nc: {script: x}\n");
    let mut scheduler = Scheduler::new(&p);
    let started = |actions: &[Action]| {
        actions
            .iter()
            .filter_map(|a| if let Action::Start { job, .. } = a { Some(job.0) } else { None })
            .collect::<Vec<_>>()
    };
    let actions = scheduler.on(Event::Begin);
    assert_eq!(started(&actions), [0, 2]);
    assert!(actions.contains(&Action::AwaitResource(JobId(1))));
    assert_eq!(started(&scheduler.on(Event::Finished(JobId(0), Outcome::Success))), [1]);
}

#[test]
fn cancelling_stops_what_runs_and_drops_what_waits() {
    let p = pipeline(
        "a: {script: x}\nb: {script: x, resource_group: g}\nc: {script: x, resource_group: g}\n\
         d: {stage: deploy, script: x, when: always}\nm: {script: x, when: manual}\n",
    );
    let mut scheduler = Scheduler::new(&p);
    scheduler.on(Event::Begin);
    let actions = scheduler.on(Event::Cancel);
    assert!(!actions.iter().any(|a| matches!(a, Action::Start { .. })));
    assert_eq!(actions.iter().filter(|a| matches!(a, Action::Stop(_))).count(), 2);
    scheduler.on(Event::Finished(JobId(0), Outcome::Success));
    let last = scheduler.on(Event::Finished(JobId(1), failed(1)));
    assert_eq!(last, [Action::Settled(Status::Canceled)]);
    assert_eq!(scheduler.status(JobId(4)), Status::Manual);
}

/// §14
#[test]
fn auto_cancel_on_job_failure() {
    let p = pipeline("workflow: {auto_cancel: {on_job_failure: all}}\na: {script: x}\nb: {script: x}\n");
    let mut scheduler = Scheduler::new(&p);
    scheduler.on(Event::Begin);
    let actions = scheduler.on(Event::Finished(JobId(0), failed(1)));
    assert_eq!(actions, [Action::Stop(JobId(1))]);
}

#[test]
fn events_out_of_place_are_ignored() {
    let p = pipeline("a: {script: x}\n");
    let mut scheduler = Scheduler::new(&p);
    for id in [JobId(0), JobId(7)] {
        for event in [
            Event::Finished(id, Outcome::Success),
            Event::Started(id),
            Event::Play(id),
            Event::DelayOver(id),
            Event::Retry(id),
        ] {
            let mut copy = scheduler.clone();
            copy.on(event);
            assert_eq!(copy.status(JobId(7)), Status::Skipped);
        }
    }
    scheduler.on(Event::Begin);
    assert_eq!(scheduler.status(JobId(0)), Status::Pending);
}

fn bridge_in(status_of: &str) -> Pipeline {
    let strategy = if status_of.is_empty() { String::new() } else { format!(", strategy: {status_of}") };
    pipeline(&format!(
        "stages: [one, two]\nb: {{stage: one, trigger: {{include: c.yml{strategy}}}}}\nn: {{stage: two, script: x}}\n"
    ))
}

/// §23.2: how the status of a downstream pipeline comes back to its bridge, and what follows then.
#[test]
fn a_bridge_follows_its_pipeline() {
    use Status::*;
    for (strategy, told, bridge, next) in [
        ("", &[Pending][..], Success, Pending),
        ("", &[Running, Failed], Success, Pending),
        ("depend", &[Pending, Running], Running, Created),
        ("depend", &[Running, Manual], Running, Created),
        ("depend", &[Running, Success], Success, Pending),
        ("depend", &[Running, Failed], Failed, Skipped),
        ("depend", &[Skipped], Failed, Skipped),
        ("depend", &[Canceled], Canceled, Skipped),
        ("mirror", &[Created], Pending, Created),
        ("mirror", &[Running, Manual], Manual, Created),
        ("mirror", &[Running, Manual, Running, Success], Success, Pending),
        ("mirror", &[Skipped], Skipped, Pending),
        ("mirror", &[Failed], Failed, Skipped),
        ("mirror", &[Failed, Running], Running, Created),
        ("depend", &[Failed, Running, Success], Success, Pending),
        ("mirror", &[WaitingForResource], WaitingForResource, Created),
    ] {
        let p = bridge_in(strategy);
        let mut scheduler = Scheduler::new(&p);
        assert_eq!(scheduler.on(Event::Begin), [Action::Start { job: JobId(0), attempt: 1 }]);
        for status in told {
            scheduler.on(Event::Downstream(JobId(0), *status));
            // A mirrored status is the other pipeline's: nobody plays it here.
            assert_eq!(scheduler.clone().on(Event::Play(JobId(0))).len(), 0);
        }
        let got = (scheduler.status(JobId(0)), scheduler.status(JobId(1)));
        assert_eq!(got, (bridge, next), "{strategy:?} {told:?}");
    }
}

/// §23.2: a bridge that is cancelled ends when its pipeline has, and one whose pipeline could not be made has failed.
#[test]
fn a_bridge_is_stopped_with_its_pipeline() {
    for (strategy, last) in
        [("depend", Status::Canceled), ("mirror", Status::Manual), ("mirror", Status::Success)]
    {
        let p = bridge_in(strategy);
        let mut scheduler = Scheduler::new(&p);
        scheduler.on(Event::Begin);
        scheduler.on(Event::Downstream(JobId(0), Status::Manual));
        let actions = scheduler.on(Event::Cancel);
        assert!(actions.contains(&Action::Stop(JobId(0))), "{actions:?}");
        scheduler.on(Event::Downstream(JobId(0), last));
        assert_eq!(scheduler.status(JobId(0)), Status::Canceled, "{strategy} {last:?}");
        assert_eq!(scheduler.pipeline_status(), Status::Canceled);
    }
    let p = bridge_in("depend");
    let mut scheduler = Scheduler::new(&p);
    scheduler.on(Event::Begin);
    let reason = "downstream_pipeline_creation_failed".to_owned();
    scheduler.on(Event::Finished(JobId(0), Outcome::Failed { exit_code: None, reason }));
    assert_eq!(scheduler.status(JobId(0)), Status::Failed);
}

/// §14
#[test]
fn a_newer_commit_cancels_what_may_be_interrupted() {
    let jobs = "a: {script: x, interruptible: true}\nb: {stage: deploy, script: x}\nc: {stage: deploy, script: x, \
                interruptible: true}\n";
    for (mode, begin_second_stage, want) in [
        ("conservative", false, "a=canceling b=canceled c=canceled"),
        ("conservative", true, "a=success b=running c=running"),
        ("interruptible", false, "a=canceling b=created c=canceled"),
        ("interruptible", true, "a=success b=running c=canceling"),
        ("none", false, "a=running b=created c=created"),
    ] {
        let p = pipeline(&format!("workflow: {{auto_cancel: {{on_new_commit: {mode}}}}}\n{jobs}"));
        let mut host = Host::new(&p);
        host.scheduler.on(Event::Begin);
        host.scheduler.on(Event::Started(JobId(0)));
        if begin_second_stage {
            host.scheduler.on(Event::Finished(JobId(0), Outcome::Success));
            host.scheduler.on(Event::Started(JobId(1)));
            host.scheduler.on(Event::Started(JobId(2)));
        }
        host.scheduler.on(Event::NewCommit);
        assert_eq!(host.states(), want, "{mode} {begin_second_stage}");
    }
}

#[test]
fn everything_that_failed_runs_once_more() {
    let p = pipeline(
        "stages: [one, two]\na: {stage: one, script: x}\nb: {stage: one, script: x}\nc: {stage: two, script: x}\n\
         m: {stage: two, script: x, when: manual}\n",
    );
    let mut host = Host::new(&p);
    host.run(Event::Begin, &["b"], &[]);
    assert_eq!(host.states(), "a=success b=failed c=skipped m=skipped");
    host.started.clear();
    host.run(Event::RetryFailed, &[], &[]);
    assert_eq!(host.states(), "a=success b=success c=success m=manual");
    assert_eq!(host.started, ["b", "c"]);
}

/// §18.3
#[test]
fn a_delay_can_be_taken_off() {
    let p = pipeline("a: {script: x, when: delayed, start_in: 1 day}\n");
    let mut scheduler = Scheduler::new(&p);
    scheduler.on(Event::Begin);
    assert!(scheduler.on(Event::Unschedule(JobId(0))).contains(&Action::AwaitPlay(JobId(0))));
    scheduler.on(Event::DelayOver(JobId(0)));
    assert_eq!(scheduler.status(JobId(0)), Status::Manual);
    assert!(scheduler.on(Event::Play(JobId(0))).contains(&Action::Start { job: JobId(0), attempt: 1 }));
}

/// §28.4: one resource for several pipelines, handed out by the host.
#[test]
fn a_resource_is_shared_by_pipelines() {
    use harrier_pipeline::resource::{Candidate, ProcessMode, next_in_line};
    let p = pipeline("a: {script: x}\nd: {stage: deploy, script: x, resource_group: prod}\n");
    let run = |mode: ProcessMode| {
        let mut all: Vec<Scheduler> = (0..3).map(|_| Scheduler::new(&p).with_shared_resources()).collect();
        for scheduler in &mut all {
            scheduler.on(Event::Begin);
        }
        let mut order = Vec::new();
        // The second pipeline is ready first, then the third, then the first.
        for at in [1, 2, 0] {
            let actions = all[at].on(Event::Finished(JobId(0), Outcome::Success));
            assert!(actions.contains(&Action::AwaitResource(JobId(1))), "{actions:?}");
            while !all.iter().any(|s| s.holds_resource(JobId(1))) {
                let line: Vec<Candidate> = all
                    .iter()
                    .enumerate()
                    .flat_map(|(n, s)| s.in_line("prod").into_iter().map(move |(job, ready)| (n, job, ready)))
                    .map(|(n, job, ready)| Candidate { pipeline: n as i64, job: job.0, ready })
                    .collect();
                let Some(next) = next_in_line(mode, &line) else { break };
                let pipeline = usize::try_from(line[next].pipeline).unwrap();
                let job = JobId(line[next].job);
                let actions = all[pipeline].on(Event::Resource(job));
                assert!(actions.contains(&Action::Start { job, attempt: 1 }));
                order.push(pipeline);
                let actions = all[pipeline].on(Event::Finished(job, Outcome::Success));
                assert!(actions.contains(&Action::ReleaseResource(job)));
            }
        }
        order
    };
    assert_eq!(run(ProcessMode::Unordered), [1, 2, 0]);
    assert_eq!(run(ProcessMode::OldestFirst), [0, 1, 2]);
    assert_eq!(run(ProcessMode::NewestFirst), [2, 1, 0]);
    assert_eq!(run(ProcessMode::NewestReadyFirst), [1, 2, 0]);
    let mut scheduler = Scheduler::new(&p).with_shared_resources();
    scheduler.on(Event::Begin);
    assert!(scheduler.on(Event::Resource(JobId(1))).contains(&Action::ReleaseResource(JobId(1))), "not lost");
}

/// A random pipeline, made through the language.
#[derive(Clone, Debug)]
struct Plan {
    jobs: Vec<PlannedJob>,
}

#[derive(Clone, Debug)]
struct PlannedJob {
    stage: usize,
    when: &'static str,
    allow_failure: &'static str,
    needs: Option<Vec<usize>>,
    retry: u32,
    group: bool,
    /// 0: a job; 1, 2, 3: a bridge with its strategy.
    bridge: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let planned = (
        0..4usize,
        prop::sample::select(vec!["on_success", "on_success", "on_failure", "always", "manual", "delayed"]),
        prop::sample::select(vec!["true", "false", "{exit_codes: 1}", ""]),
        prop::option::weighted(0.5, prop::collection::vec(0..20usize, 0..3)),
        0..3u32,
        prop::bool::weighted(0.2),
        prop::sample::select(vec![0usize, 0, 0, 0, 0, 1, 2, 3]),
    );
    prop::collection::vec(planned, 1..14).prop_map(|list| Plan {
        jobs: list
            .into_iter()
            .map(|(stage, when, allow_failure, needs, retry, group, bridge)| PlannedJob {
                stage,
                when,
                allow_failure,
                needs,
                retry,
                group,
                bridge,
            })
            .collect(),
    })
}

impl Plan {
    fn yaml(&self) -> String {
        let mut text = String::from("stages: [s0, s1, s2, s3]\n");
        let mut sorted = self.jobs.clone();
        sorted.sort_by_key(|j| j.stage);
        for (at, job) in sorted.iter().enumerate() {
            let (bridge, when) = (job.bridge > 0, job.when);
            let work = match job.bridge {
                0 => format!("script: x, when: {when}, retry: {}", job.retry),
                _ if when == "delayed" => "trigger: {include: c.yml}".to_owned(),
                1 => format!("when: {when}, trigger: {{include: c.yml}}"),
                2 => format!("when: {when}, trigger: {{include: c.yml, strategy: depend}}"),
                _ => format!("when: {when}, trigger: {{include: c.yml, strategy: mirror}}"),
            };
            text.push_str(&format!("j{at}: {{{work}, stage: s{}", job.stage));
            if job.when == "delayed" && !bridge {
                text.push_str(", start_in: 1 min");
            }
            let codes = job.allow_failure.starts_with('{');
            if !(job.allow_failure.is_empty() || bridge && codes) {
                text.push_str(&format!(", allow_failure: {}", job.allow_failure));
            }
            // Whether a bridge that was open again holds its resource is not kept.
            if job.group && !bridge {
                text.push_str(", resource_group: g");
            }
            if let Some(needs) = &job.needs {
                // Needs point backwards in this order, so there is no cycle and no later stage.
                let names: HashSet<usize> = needs.iter().filter(|_| at > 0).map(|n| n % at.max(1)).collect();
                let names: Vec<String> = names.iter().map(|n| format!("j{n}")).collect();
                text.push_str(&format!(", needs: [{}]", names.join(", ")));
            }
            text.push_str("}\n");
        }
        text
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// A machine that is restored from what was kept, at any moment, does what one does that was never interrupted.
    #[test]
    fn a_restored_machine_goes_on_the_same(
        plan in plan(),
        events in prop::collection::vec((0..14u8, 0..16usize, 0..13usize, prop::bool::weighted(0.3)), 1..200),
        shared in any::<bool>(),
    ) {
        let p = pipeline(&format!("workflow: {{auto_cancel: {{on_job_failure: {}}}}}\n{}", if shared { "all" } else { "none" }, plan.yaml()));
        let fresh = || if shared { Scheduler::new(&p).with_shared_resources() } else { Scheduler::new(&p) };
        let mut whole = fresh();
        let mut broken = fresh();
        prop_assert_eq!(whole.on(Event::Begin), broken.on(Event::Begin));
        for (kind, pick, status, restart) in events {
            if restart {
                let kept: Vec<Kept> = p.ids().map(|id| broken.kept(id)).collect();
                let stored: Pipeline = serde_json::from_str(&serde_json::to_string(&p).unwrap()).unwrap();
                broken = Scheduler::restore(&stored, &kept);
                if shared {
                    broken = broken.with_shared_resources();
                }
            }
            let job = JobId(pick % p.jobs.len());
            let event = match kind {
                0 => Event::Play(job),
                1 => Event::DelayOver(job),
                2 => Event::Retry(job),
                3 if pick == 0 => Event::Cancel,
                3 => Event::CancelJob(job),
                4 => Event::Started(job),
                5 => Event::Finished(job, failed(1)),
                6 => Event::Finished(job, failed(2)),
                7 => Event::Downstream(job, Status::ALL[status]),
                8 => Event::Resource(job),
                9 => Event::Unschedule(job),
                10 if pick == 0 => Event::NewCommit,
                10 => Event::RetryFailed,
                11 => Event::Finished(job, Outcome::Canceled),
                _ => Event::Finished(job, Outcome::Success),
            };
            prop_assert_eq!(whole.on(event.clone()), broken.on(event));
            for id in p.ids() {
                prop_assert_eq!(whole.kept(id), broken.kept(id));
                prop_assert_eq!(whole.holds_resource(id), broken.holds_resource(id));
            }
            prop_assert_eq!(whole.pipeline_status(), broken.pipeline_status());
            prop_assert_eq!(whole.has_warnings(), broken.has_warnings());
        }
    }

    /// Whatever the host does and in whichever order jobs end: no job starts before what it waits for is complete, no
    /// resource is held twice, nothing runs twice at once, and at the end everything is settled.
    #[test]
    fn any_pipeline_settles(plan in plan(), choices in prop::collection::vec((0..64usize, 0..16u8), 400)) {
        let p = pipeline(&plan.yaml());
        let mut scheduler = Scheduler::new(&p);
        let mut running: BTreeMap<usize, bool> = BTreeMap::new();
        let mut due: Vec<usize> = Vec::new();
        let mut ever_played = false;
        let mut actions = scheduler.on(Event::Begin);
        let mut settled = None;
        let mut steps = choices.into_iter();
        loop {
            for action in actions.drain(..) {
                match action {
                    Action::Start { job, attempt } => {
                        prop_assert!(!running.contains_key(&job.0), "started twice");
                        prop_assert!(attempt <= 1 + p.job(job).retry.max);
                        let group = p.job(job).resource_group.as_ref();
                        if group.is_some() {
                            prop_assert!(!running.keys().any(|other| p.jobs[*other].resource_group.as_ref() == group));
                        }
                        if !ever_played {
                            for before in p.waits_for(job) {
                                let status = scheduler.status(before);
                                let fine = status.is_complete()
                                    || status == Status::Manual && scheduler.failure_allowed(before);
                                prop_assert!(fine, "{} began before {}", p.job(job).name, p.job(before).name);
                            }
                        }
                        running.insert(job.0, false);
                        settled = None;
                    }
                    Action::StartLater { job, .. } => due.push(job.0),
                    Action::Stop(job) => { running.insert(job.0, true); }
                    Action::Settled(status) => settled = Some(status),
                    Action::Skip { .. } | Action::AwaitPlay(_) | Action::AwaitResource(_) | Action::Canceled(_)
                    | Action::ReleaseResource(_) => {}
                }
            }
            due.retain(|job| scheduler.status(JobId(*job)) == Status::Scheduled);
            let Some((pick, kind)) = steps.next() else {
                // Out of choices: everything ends well.
                let event = match running.keys().next().copied() {
                    Some(job) => {
                        running.remove(&job);
                        Event::Finished(JobId(job), Outcome::Success)
                    }
                    None => match due.pop() {
                        Some(job) => Event::DelayOver(JobId(job)),
                        None => break,
                    },
                };
                actions = scheduler.on(event);
                continue;
            };
            let event = match kind {
                0 => { ever_played = true; Event::Play(JobId(pick % p.jobs.len())) }
                1 if pick == 0 => { Event::Cancel }
                2 if pick < 8 => { ever_played = true; Event::Retry(JobId(pick % p.jobs.len())) }
                3 if pick < 8 => Event::CancelJob(JobId(pick % p.jobs.len())),
                4 if !due.is_empty() => { let job = due.remove(pick % due.len()); Event::DelayOver(JobId(job)) }
                _ if !running.is_empty() => {
                    let job = *running.keys().nth(pick % running.len()).unwrap();
                    running.remove(&job);
                    let outcome = match kind % 4 {
                        0 => failed(1),
                        1 => failed(2),
                        2 if pick < 4 => Outcome::Canceled,
                        _ => Outcome::Success,
                    };
                    Event::Finished(JobId(job), outcome)
                }
                _ => continue,
            };
            actions = scheduler.on(event);
        }
        prop_assert_eq!(settled, Some(scheduler.pipeline_status()));
        for id in p.ids() {
            let status = scheduler.status(id);
            let at_rest = status.is_complete() || matches!(status, Status::Manual | Status::Created);
            prop_assert!(at_rest, "{} is {}", p.job(id).name, status.word());
            // What still waits is behind a manual job that blocks, directly or not.
            if status == Status::Created {
                let waits_on_manual = p.ids().any(|other| scheduler.status(other) == Status::Manual && !scheduler.failure_allowed(other));
                prop_assert!(waits_on_manual, "{} waits for nothing", p.job(id).name);
            }
        }
    }
}

#[test]
fn the_language_gives_the_scheduler_what_it_says() {
    let p = pipeline("a: {script: x, when: delayed, start_in: 90 s, allow_failure: true}\n");
    let a = job(&p, "a");
    assert_eq!((a.when, &a.allow_failure), (When::Delayed, &AllowFailure::Yes));
    let mut scheduler = Scheduler::new(&p);
    let actions = scheduler.on(Event::Begin);
    assert_eq!(actions, [Action::StartLater { job: JobId(0), after: std::time::Duration::from_secs(90) }]);
}
