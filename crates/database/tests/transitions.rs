//! What each transition does, the same on SQLite and PostgreSQL.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_base::{Secret, Variable};
use harrier_database::{
    ArtifactView, Ask, Change, CiVariable, DatabaseError, DeploymentFilter, EnvironmentFilter,
    EnvironmentState, EnvironmentView, Fetched, JobFilter, LOG, Login, MergeRequestEdit, MergeRequestFilter,
    MergeRequestState, MirrorEdit, NewMergeRequest, NewMirror, NewProject, NewRunner, NewSchedule, NewToken,
    NewUser, PageAt, Patience, PipelineFilter, PipelineOrder, ProjectEdit, ProjectSettings, Put, Registers,
    RunnerEdit, ScheduleEdit, Store, TokenKind, TraceEnd, VariableOwner, WhyPending,
};
use harrier_pipeline::{Outcome, Status};
use support::{Home, features, pipeline, pipeline_of, project, runner, runner_with, states};

/// Each scenario on both.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let home = super::Home::sqlite();
                super::$name(home.open().await).await;
            })*
        }
        mod postgresql {
            $(#[tokio::test]
            async fn $name() {
                let home = super::Home::postgres();
                super::$name(home.open().await).await;
            })*
        }
    };
}

on_both! {
    stages_follow_one_another,
    retries_are_new_rows,
    cancelling_waits_only_for_who_can_be_asked,
    manual_and_delayed_jobs,
    resources_reach_over_pipelines,
    newer_commits_cancel_older_pipelines,
    claims_are_fair_and_fit,
    a_reservation_that_lapses_goes_back,
    silent_jobs_are_dropped,
    old_runners_start_at_once,
    artifacts_and_dotenv_reach_later_jobs,
    objects_are_neither_lost_nor_left,
    runners_and_their_tokens,
    users_and_tokens,
    variables_by_rank,
    why_pending,
    changes_are_told_after_the_commit,
    merge_requests_are_open_once,
    bridges_follow_what_they_made,
    schedules_come_once,
    environments_follow_their_jobs,
    time_and_lost_branches_stop_environments,
    lists_are_narrowed,
    jobs_that_nobody_could_take_are_dropped,
    a_project_may_do_without_instance_runners,
    mirrors_come_one_at_a_time,
}

fn failed(reason: &str, code: i64) -> Outcome {
    Outcome::Failed { exit_code: Some(code), reason: reason.into() }
}

/// Claims and accepts; gives the job's id.
async fn start(store: &Store, ask: &Ask, now: i64) -> i64 {
    let claim = store.claim_next(ask.clone(), now).await.unwrap().expect("a job");
    store.accept(claim.job.id, now).await.unwrap();
    claim.job.id
}

async fn end(store: &Store, job: i64, outcome: Outcome, now: i64) {
    store.finish(job, outcome, TraceEnd::default(), now).await.unwrap();
}

const STAGES: &str = "stages: [one, two]\na: {stage: one, script: x}\nb: {stage: one, script: x, allow_failure: true}\n\
                      c: {stage: two, script: x}\nd: {stage: two, script: x, needs: [a]}\n";

async fn stages_follow_one_another(store: Store) {
    let project = project(&store, "g/p").await;
    let made = pipeline(&store, project.id, STAGES, 2000).await;
    assert_eq!((made.iid, made.status), (1, Status::Pending));
    let ask = runner(&store, runner_with(&[])).await;
    let a = start(&store, &ask, 3000).await;
    let b = start(&store, &ask, 3000).await;
    assert!(store.claim_next(ask.clone(), 3000).await.unwrap().is_none());
    assert_eq!(states(&store, made.id).await, "a=running b=running c=created d=created");
    end(&store, a, Outcome::Success, 4000).await;
    assert_eq!(states(&store, made.id).await, "a=success b=running c=created d=pending");
    end(&store, b, failed("script_failure", 3), 5000).await;
    assert_eq!(states(&store, made.id).await, "a=success b=failed c=pending d=pending");
    for _ in 0..2 {
        let job = start(&store, &ask, 6000).await;
        end(&store, job, Outcome::Success, 7000).await;
    }
    let done = store.pipeline(made.id).await.unwrap();
    assert_eq!((done.status, done.warnings, done.finished_at), (Status::Success, true, Some(7000)));
    assert_eq!(done.started_at, Some(3000));
    let b = store.job(b).await.unwrap();
    assert_eq!((b.exit_code, b.failure_reason.as_deref()), (Some(3), Some("script_failure")));
    // The same words once more change nothing.
    end(&store, a, failed("script_failure", 1), 8000).await;
    assert_eq!(store.job(a).await.unwrap().status, Status::Success);
    assert_eq!(pipeline(&store, project.id, STAGES, 9000).await.iid, 2);
}

async fn retries_are_new_rows(store: Store) {
    let project = project(&store, "g/p").await;
    let text = "stages: [one, two]\na: {stage: one, script: x, retry: 1}\nb: {stage: two, script: x}\n";
    let made = pipeline(&store, project.id, text, 2000).await;
    let ask = runner(&store, runner_with(&[])).await;
    let first = start(&store, &ask, 3000).await;
    end(&store, first, failed("script_failure", 1), 4000).await;
    assert_eq!(states(&store, made.id).await, "a=pending b=created");
    let old = store.job(first).await.unwrap();
    assert_eq!((old.status, old.retried, old.attempt), (Status::Failed, true, 1));
    let second = start(&store, &ask, 5000).await;
    assert_ne!(first, second);
    assert_eq!(store.job(second).await.unwrap().attempt, 2);
    end(&store, second, failed("script_failure", 1), 6000).await;
    assert_eq!(states(&store, made.id).await, "a=failed b=skipped");
    assert_eq!(store.pipeline(made.id).await.unwrap().status, Status::Failed);
    assert!(matches!(store.retry(first, None, 7000).await, Err(DatabaseError::Conflict { .. })));
    let third = store.retry(second, None, 7000).await.unwrap();
    assert_eq!((third.status, third.attempt), (Status::Pending, 1));
    assert_eq!(states(&store, made.id).await, "a=pending b=created");
    assert_eq!(start(&store, &ask, 8000).await, third.id);
    end(&store, third.id, Outcome::Success, 9000).await;
    assert_eq!(states(&store, made.id).await, "a=success b=pending");
    assert_eq!(store.jobs(made.id, true).await.unwrap().len(), 4);
    let job = start(&store, &ask, 9000).await;
    end(&store, job, failed("script_failure", 1), 9500).await;
    store.retry_pipeline(made.id, None, 9600).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=success b=pending");
}

async fn cancelling_waits_only_for_who_can_be_asked(store: Store) {
    let project = project(&store, "g/p").await;
    let text = "a: {script: x}\nb: {script: x}\nc: {script: x}\nd: {stage: deploy, script: x}\n";
    let made = pipeline(&store, project.id, text, 2000).await;
    let ask = runner(&store, runner_with(&[])).await;
    let a = start(&store, &ask, 3000).await;
    let reserved = store.claim_next(ask.clone(), 3000).await.unwrap().unwrap();
    let old =
        Ask { features: harrier_api::Features { cancel_gracefully: false, ..features() }, ..ask.clone() };
    let c = start(&store, &old, 3000).await;
    store.cancel_pipeline(made.id, false, 4000).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=canceling b=canceled c=canceled d=canceled");
    assert_eq!(store.pipeline(made.id).await.unwrap().status, Status::Canceling);
    assert!(!store.job(c).await.unwrap().executes());
    assert!(matches!(store.accept(reserved.job.id, 4000).await, Err(DatabaseError::Conflict { .. })));
    let known = store.job_of_token(&reserved.token).await.unwrap().unwrap();
    assert_eq!((known.status, known.executes()), (Status::Canceled, false));
    end(&store, a, Outcome::Success, 5000).await;
    assert_eq!(store.pipeline(made.id).await.unwrap().status, Status::Canceled);
    // By force nobody is waited for.
    let made = pipeline(&store, project.id, "a: {script: x}\n", 6000).await;
    let a = start(&store, &ask, 6000).await;
    assert_eq!(store.cancel_job(a, false, 6500).await.unwrap().status, Status::Canceling);
    assert_eq!(store.cancel_job(a, true, 7000).await.unwrap().status, Status::Canceled);
    assert!(matches!(store.cancel_job(a, true, 7000).await, Err(DatabaseError::Conflict { .. })));
    assert_eq!(store.pipeline(made.id).await.unwrap().status, Status::Canceled);
}

async fn manual_and_delayed_jobs(store: Store) {
    let project = project(&store, "g/p").await;
    let text = "m: {script: x, when: manual}\nd: {script: x, when: delayed, start_in: 10 seconds}\n";
    let made = pipeline(&store, project.id, text, 2000).await;
    assert_eq!(states(&store, made.id).await, "m=manual d=scheduled");
    let jobs = store.jobs(made.id, false).await.unwrap();
    assert_eq!(jobs[1].due_at, Some(12_000));
    assert_eq!(store.due(11_999, Patience::default()).await.unwrap(), Some(12_000));
    assert_eq!(states(&store, made.id).await, "m=manual d=scheduled");
    store.due(12_000, Patience::default()).await.unwrap();
    assert_eq!(states(&store, made.id).await, "m=manual d=pending");
    let given = vec![Variable::public("WHO", "me")];
    store.play(jobs[0].id, Some(5), given.clone(), 13_000).await.unwrap();
    assert_eq!(states(&store, made.id).await, "m=pending d=pending");
    assert!(matches!(store.play(jobs[0].id, None, given, 13_000).await, Err(DatabaseError::Conflict { .. })));
    let ask = runner(&store, runner_with(&[])).await;
    let claim = store.claim_next(ask, 14_000).await.unwrap().unwrap();
    assert_eq!((claim.job.name.as_str(), claim.job.played_by), ("m", Some(5)));
    assert_eq!(claim.manual[0].value, "me");
    assert_eq!(claim.queue, 2);
}

async fn resources_reach_over_pipelines(store: Store) {
    let project = project(&store, "g/p").await;
    let text = "a: {script: x, resource_group: prod}\n";
    let mut made = Vec::new();
    for branch in ["one", "two", "three"] {
        made.push(pipeline_of(&store, project.id, text, branch, "22", 2000).await.id);
    }
    assert_eq!(states(&store, made[0]).await, "a=pending");
    assert_eq!(states(&store, made[1]).await, "a=waiting_for_resource");
    let ask = runner(&store, runner_with(&[])).await;
    let first = start(&store, &ask, 3000).await;
    assert!(store.claim_next(ask.clone(), 3000).await.unwrap().is_none());
    end(&store, first, Outcome::Success, 4000).await;
    assert_eq!(states(&store, made[1]).await, "a=pending");
    assert_eq!(states(&store, made[2]).await, "a=waiting_for_resource");
    assert_eq!(store.pipeline(made[1]).await.unwrap().status, Status::Pending);
    store.cancel_pipeline(made[1], false, 5000).await.unwrap();
    assert_eq!(states(&store, made[2]).await, "a=pending");
}

async fn newer_commits_cancel_older_pipelines(store: Store) {
    let project = project(&store, "g/p").await;
    let text = "a: {script: x, interruptible: true}\nb: {script: x}\n";
    let ask = runner(&store, runner_with(&[])).await;
    let old = pipeline_of(&store, project.id, text, "main", "01", 2000).await;
    let other = pipeline_of(&store, project.id, text, "other", "02", 2000).await;
    let newer = pipeline_of(&store, project.id, text, "main", "03", 3000).await;
    assert_eq!(store.pipeline(old.id).await.unwrap().status, Status::Canceled);
    assert_eq!(store.pipeline(other.id).await.unwrap().status, Status::Pending);
    store.cancel_pipeline(other.id, false, 3500).await.unwrap();
    // What must not be interrupted has begun: it stays.
    start(&store, &ask, 4000).await;
    start(&store, &ask, 4000).await;
    pipeline_of(&store, project.id, text, "main", "04", 5000).await;
    assert_eq!(store.pipeline(newer.id).await.unwrap().status, Status::Running);
}

async fn claims_are_fair_and_fit(store: Store) {
    let (one, two) = (project(&store, "g/one").await, project(&store, "g/two").await);
    let text = "a: {script: x}\nb: {script: x}\nc: {script: x}\n";
    pipeline(&store, one.id, text, 2000).await;
    pipeline(&store, two.id, text, 2000).await;
    pipeline(&store, two.id, "t: {script: x, tags: [gpu]}\n", 2000).await;
    let ask = runner(&store, runner_with(&[])).await;
    let mut order = Vec::new();
    while let Some(claim) = store.claim_next(ask.clone(), 3000).await.unwrap() {
        order.push(claim.job.project);
    }
    assert_eq!(order, [one.id, two.id, one.id, two.id, one.id, two.id]);
    let mut tagged = runner_with(&["gpu", "big"]);
    tagged.run_untagged = false;
    let gpu = runner(&store, tagged).await;
    assert_eq!(store.claim_next(gpu.clone(), 3000).await.unwrap().unwrap().job.name, "t");
    // A runner of a project takes only its jobs; a paused one none.
    let mine = NewRunner { projects: Some(vec![two.id]), ..runner_with(&[]) };
    let mine = runner(&store, mine).await;
    pipeline(&store, one.id, "a: {script: x}\n", 4000).await;
    assert!(store.claim_next(mine.clone(), 4000).await.unwrap().is_none());
    pipeline(&store, two.id, "a: {script: x}\n", 4000).await;
    let edit = RunnerEdit { paused: Some(true), ..RunnerEdit::default() };
    store.edit_runner(mine.runner, edit).await.unwrap();
    assert!(store.claim_next(mine.clone(), 4000).await.unwrap().is_none());
    let edit = RunnerEdit { paused: Some(false), ..RunnerEdit::default() };
    store.edit_runner(mine.runner, edit).await.unwrap();
    assert_eq!(store.claim_next(mine, 4000).await.unwrap().unwrap().job.project, two.id);
    // Who cannot carry a job out makes it fail.
    let made =
        pipeline(&store, two.id, "z: {script: x, artifacts: {reports: {junit: a}}, tags: [big]}\n", 5000)
            .await;
    let weak = Ask { features: harrier_api::Features::default(), ..gpu };
    assert!(store.claim_next(weak, 5000).await.unwrap().is_none());
    let jobs = store.jobs(made.id, false).await.unwrap();
    assert_eq!(jobs[0].failure_reason.as_deref(), Some("runner_unsupported"));
}

async fn a_reservation_that_lapses_goes_back(store: Store) {
    let project = project(&store, "g/p").await;
    pipeline(&store, project.id, "a: {script: x}\n", 2000).await;
    let ask = Ask { reserve_until: 10_000, ..runner(&store, runner_with(&[])).await };
    let first = store.claim_next(ask.clone(), 3000).await.unwrap().unwrap();
    store.keep_reserved(first.job.id, 12_000).await.unwrap();
    assert_eq!(store.due(11_000, Patience::default()).await.unwrap(), Some(12_000));
    assert!(store.claim_next(ask.clone(), 11_000).await.unwrap().is_none());
    store.due(12_000, Patience::default()).await.unwrap();
    let second = store.claim_next(ask, 12_000).await.unwrap().unwrap();
    assert_eq!(first.job.id, second.job.id);
    assert!(store.job_of_token(&first.token).await.unwrap().is_none());
    assert!(store.job_of_token(&second.token).await.unwrap().unwrap().executes());
}

async fn silent_jobs_are_dropped(store: Store) {
    let project = project(&store, "g/p").await;
    let made = pipeline(&store, project.id, "a: {script: x}\nb: {script: x}\n", 2000).await;
    let ask = runner(&store, runner_with(&[])).await;
    let (a, b) = (start(&store, &ask, 3000).await, start(&store, &ask, 3000).await);
    let patience = Patience { silence: 1000, overtime: 500, pending: 100_000, ..Patience::default() };
    store.touch(b, 3800).await.unwrap();
    store.due(4000, patience).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=failed b=running");
    assert_eq!(store.job(a).await.unwrap().failure_reason.as_deref(), Some("no_updates_running"));
    store.cancel_job(b, false, 4100).await.unwrap();
    store.due(4800, patience).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=failed b=canceled");
    // After a start of the server everybody has time to come back.
    pipeline(&store, project.id, "c: {script: x}\n", 5000).await;
    let c = start(&store, &ask, 5000).await;
    store.resume(9000, 10_000).await.unwrap();
    store.due(9500, patience).await.unwrap();
    assert_eq!(store.job(c).await.unwrap().status, Status::Running);
    store.set_timeout(c, 1).await.unwrap();
    store.due(9600, Patience { silence: 100_000, ..patience }).await.unwrap();
    assert_eq!(store.job(c).await.unwrap().failure_reason.as_deref(), Some("server_timeout_running"));
}

async fn jobs_that_nobody_could_take_are_dropped(store: Store) {
    const HOUR: i64 = 3_600_000;
    let project = project(&store, "g/p").await;
    let ask = runner(&store, runner_with(&["a"])).await;
    let text = "a: {script: x, tags: [a]}\nb: {script: x, tags: [b]}\n";
    let made = pipeline(&store, project.id, text, HOUR).await;
    let contact = |at| store.contact(ask.runner, "s_1".into(), None, "127.0.0.1".into(), at);
    contact(2 * HOUR).await.unwrap();
    let patience = Patience::default();
    store.due(2 * HOUR - 1, patience).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=pending b=pending");
    // A server that has only just begun has heard of nobody yet.
    store.due(2 * HOUR, Patience { since: HOUR + 1, ..patience }).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=pending b=pending");
    store.due(2 * HOUR, patience).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=pending b=failed");
    let jobs = store.jobs(made.id, false).await.unwrap();
    assert_eq!(jobs[1].failure_reason.as_deref(), Some("stuck_or_timeout_failure"));
    // Its runner is there and busy: a day.
    for hour in 3..25 {
        contact(hour * HOUR).await.unwrap();
        store.due(hour * HOUR, patience).await.unwrap();
        assert_eq!(states(&store, made.id).await, "a=pending b=failed", "{hour}");
    }
    store.due(25 * HOUR, patience).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=failed b=failed");
    // Its runner is silent: an hour.
    let made = pipeline(&store, project.id, "a: {script: x, tags: [a]}\n", 26 * HOUR).await;
    store.due(27 * HOUR, patience).await.unwrap();
    assert_eq!(states(&store, made.id).await, "a=failed");
}

async fn a_project_may_do_without_instance_runners(store: Store) {
    let alone = ProjectSettings { shared_runners: false, ..ProjectSettings::default() };
    let new = NewProject { path: "g/p".into(), settings: alone.clone(), ..NewProject::default() };
    let project = store.create_project(new, 1000).await.unwrap();
    let made = pipeline(&store, project.id, "a: {script: x}\n", 2000).await;
    let of_all = runner(&store, runner_with(&[])).await;
    assert!(store.claim_next(of_all.clone(), 3000).await.unwrap().is_none());
    let job = store.jobs(made.id, false).await.unwrap()[0].id;
    assert_eq!(store.why_pending(job, 0).await.unwrap(), Some(WhyPending::InstanceRunnersOff));
    let own = runner(&store, NewRunner { projects: Some(vec![project.id]), ..runner_with(&[]) }).await;
    assert_eq!(store.why_pending(job, 0).await.unwrap(), Some(WhyPending::Turn));
    assert_eq!(store.claim_next(own, 4000).await.unwrap().map(|claim| claim.job.id), Some(job));
    // Turned on again: who waits hears of it.
    pipeline(&store, project.id, "b: {script: x}\n", 5000).await;
    let mut changes = store.changes();
    let edit = |settings| ProjectEdit { settings: Some(settings), ..ProjectEdit::default() };
    store.edit_project(project.id, edit(alone.clone())).await.unwrap();
    assert!(changes.try_recv().is_err());
    store.edit_project(project.id, edit(ProjectSettings { shared_runners: true, ..alone })).await.unwrap();
    assert!(matches!(changes.recv().await, Ok(Change::Queued { wants }) if wants.instance_runners));
    assert!(store.claim_next(of_all, 6000).await.unwrap().is_some());
}

async fn mirrors_come_one_at_a_time(store: Store) {
    let (one, two) = (project(&store, "g/one").await.id, project(&store, "g/two").await.id);
    let new = |project| NewMirror {
        project,
        url: "https://git.example/x.git".into(),
        login: Some(Login { username: "me".into(), password: Some(Secret::new("word")), key: None }),
        user: 1,
        trigger_builds: true,
        pull_requests: false,
        interval: 300,
    };
    let (_, secret) = store.set_mirror(new(one), 1000).await.unwrap();
    store.set_mirror(new(two), 2000).await.unwrap();
    assert_eq!(store.webhook_secret(one).await.unwrap().unwrap().expose(), secret.expose());
    assert_eq!(store.mirror_login(one).await.unwrap().unwrap().password.unwrap().expose(), "word");
    assert_eq!(store.take_mirrors(999, 4).await.unwrap(), (vec![], Some(1000)));
    let (due, next) = store.take_mirrors(1500, 4).await.unwrap();
    assert_eq!((due.len(), due[0].project, next), (1, one, Some(2000)));
    // Asked for while it is being fetched: once more, after that.
    assert!(store.mirror_now(one, 1600).await.unwrap());
    assert_eq!(store.take_mirrors(1700, 4).await.unwrap().0, vec![]);
    store.mirror_fetched(one, Fetched::Well, 9000, 1800).await.unwrap();
    let (due, _) = store.take_mirrors(1900, 4).await.unwrap();
    assert_eq!((due.len(), due[0].fetched_at), (1, Some(1800)));
    store.mirror_fetched(one, Fetched::Failed("no".into()), 9000, 2000).await.unwrap();
    let failed = store.mirror(one).await.unwrap().unwrap();
    assert_eq!((failed.failures, failed.error.as_deref(), failed.next_at), (1, Some("no"), Some(9000)));
    assert_eq!((failed.fetched_at, failed.tried_at, failed.started_at), (Some(1800), Some(2000), None));
    // A server that was killed while it fetched does so again.
    assert_eq!(store.take_mirrors(2500, 4).await.unwrap().0.len(), 1);
    store.resume_mirrors(3000).await.unwrap();
    let (due, _) = store.take_mirrors(3000, 4).await.unwrap();
    assert_eq!(due.iter().map(|mirror| mirror.project).collect::<Vec<_>>(), [two]);
    // Another address loses the log-in; what is off does not come.
    let edit = MirrorEdit { url: Some("https://other.example/x".into()), ..MirrorEdit::default() };
    assert!(!store.edit_mirror(one, edit, 4000).await.unwrap().has_login);
    let edit = MirrorEdit { enabled: Some(false), ..MirrorEdit::default() };
    assert_eq!(store.edit_mirror(one, edit, 4000).await.unwrap().next_at, None);
    assert!(!store.mirror_now(one, 5000).await.unwrap());
    let secret = store.reset_webhook_secret(one).await.unwrap();
    assert_eq!(store.webhook_secret(one).await.unwrap().unwrap().expose(), secret.expose());
    store.delete_mirror(one).await.unwrap();
    assert!(store.mirror(one).await.unwrap().is_none() && store.delete_mirror(one).await.is_err());
    store.delete_project(two).await.unwrap();
    assert_eq!(store.mirrors().await.unwrap(), vec![]);
}

async fn old_runners_start_at_once(store: Store) {
    let project = project(&store, "g/p").await;
    pipeline(&store, project.id, "a: {script: x}\n", 2000).await;
    let ask = runner(&store, runner_with(&[])).await;
    let features = harrier_api::Features { two_phase_job_commit: false, ..features() };
    let claim = store.claim_next(Ask { features, ..ask }, 3000).await.unwrap().unwrap();
    assert_eq!((claim.job.status, claim.job.started_at), (Status::Running, Some(3000)));
}

fn archive(job: i64, sha: &str) -> ArtifactView {
    ArtifactView {
        job,
        kind: "archive".into(),
        format: "zip".into(),
        filename: "artifacts.zip".into(),
        size: 7,
        sha256: sha.into(),
        public: true,
        created_at: 3500,
        expires_at: Some(9000),
    }
}

async fn artifacts_and_dotenv_reach_later_jobs(store: Store) {
    let project = project(&store, "g/p").await;
    let text = "stages: [one, two]\na: {stage: one, script: x}\nb: {stage: one, script: x}\nc: {stage: two, script: x}\n";
    pipeline(&store, project.id, text, 2000).await;
    let ask = runner(&store, runner_with(&[])).await;
    let (a, b) = (start(&store, &ask, 3000).await, start(&store, &ask, 3000).await);
    assert_eq!(store.put_artifact(archive(a, "aa")).await.unwrap(), Put::Stored);
    assert_eq!(store.put_artifact(archive(a, "aa")).await.unwrap(), Put::Same);
    assert_eq!(store.put_artifact(archive(a, "bb")).await.unwrap(), Put::Other);
    store.set_dotenv(b, vec![("URL".into(), "http://x".into())]).await.unwrap();
    end(&store, a, Outcome::Success, 4000).await;
    end(&store, b, Outcome::Success, 4000).await;
    let claim = store.claim_next(ask.clone(), 5000).await.unwrap().unwrap();
    assert_eq!(claim.dotenv, [("URL".to_owned(), "http://x".to_owned())]);
    assert_eq!(claim.sources.len(), 1);
    assert_eq!(claim.sources[0].archive, Some(("artifacts.zip".to_owned(), 7)));
    assert_eq!(store.expired_artifacts(8999, 10).await.unwrap().len(), 0);
    assert_eq!(store.expired_artifacts(9000, 10).await.unwrap().len(), 1);
    store.keep_artifacts(a).await.unwrap();
    assert_eq!(store.expired_artifacts(9000, 10).await.unwrap().len(), 0);
    store.erase(a, 9500).await.unwrap();
    assert!(store.artifacts(a).await.unwrap().is_empty());
    store.release(claim.job.id).await.unwrap();
    assert!(store.claim_next(ask, 9600).await.unwrap().is_none());
    assert_eq!(
        store.job(claim.job.id).await.unwrap().failure_reason.as_deref(),
        Some("missing_dependency_failure")
    );
}

async fn objects_are_neither_lost_nor_left(store: Store) {
    let project = project(&store, "g/p").await;
    let text = "a: {script: x}\nb: {script: x}\nc: {script: x}\n";
    let made = pipeline(&store, project.id, text, 2000).await;
    let ask = runner(&store, runner_with(&[])).await;
    let (a, b) = (start(&store, &ask, 3000).await, start(&store, &ask, 3000).await);
    let announce =
        |key: &str, job, kind: &str| store.announce_object(key.to_owned(), job, kind.to_owned(), 7);
    let left = async || store.unwanted_objects(9999, 10).await.unwrap().0;
    // Two attempts at one upload: the second one's object goes, the first one's stays.
    announce("a1", a, "archive").await.unwrap();
    announce("a2", a, "archive").await.unwrap();
    assert_eq!(store.object(a, "archive").await.unwrap(), None);
    assert!(!store.has_objects().await.unwrap());
    assert_eq!(store.put_artifact_at(archive(a, "aa"), "a1".into()).await.unwrap(), Put::Stored);
    assert_eq!(store.put_artifact_at(archive(a, "aa"), "a2".into()).await.unwrap(), Put::Same);
    assert_eq!(store.object(a, "archive").await.unwrap().unwrap().key, "a1");
    assert!(store.has_objects().await.unwrap());
    assert_eq!(left().await, ["a2"]);
    store.forget_object("a1".into()).await.unwrap();
    store.forget_object("a2".into()).await.unwrap();
    assert_eq!(left().await, [] as [&str; 0]);
    assert!(store.object(a, "archive").await.unwrap().is_some(), "what is relied on cannot be forgotten");
    // A log is there once; what a server that died left goes, after a while.
    announce("l1", a, LOG).await.unwrap();
    announce("l2", a, LOG).await.unwrap();
    assert!(store.keep_log_at(a, "l1".into()).await.unwrap());
    store.give_up_objects(12_000).await.unwrap();
    assert_eq!(store.unwanted_objects(9999, 10).await.unwrap(), (vec![], Some(12_000)));
    assert_eq!(store.unwanted_objects(12_000, 10).await.unwrap(), (vec!["l2".to_owned()], None));
    assert!(!store.keep_log_at(a, "l2".into()).await.unwrap(), "what was given up does not come back");
    store.forget_object("l2".into()).await.unwrap();
    // Erased while an object comes: it does not arrive any more.
    end(&store, a, Outcome::Success, 4000).await;
    announce("l3", a, LOG).await.unwrap();
    store.erase(a, 5000).await.unwrap();
    assert!(!store.keep_log_at(a, "l3".into()).await.unwrap());
    let mut gone = left().await;
    gone.sort();
    assert_eq!(gone, ["a1", "l1", "l3"]);
    // An artifact of this machine moves; removed, its object is unwanted.
    store.put_artifact(archive(b, "bb")).await.unwrap();
    announce("b1", b, "archive").await.unwrap();
    assert!(store.keep_artifact_at(b, "archive".into(), "bb".into(), "b1".into()).await.unwrap());
    store.delete_artifact(b, "archive").await.unwrap();
    assert!(left().await.contains(&"b1".to_owned()));
    // The jobs of a pipeline that is deleted are known no more, their objects are.
    announce("b2", b, LOG).await.unwrap();
    assert!(store.keep_log_at(b, "b2".into()).await.unwrap());
    let gone = store.delete_pipeline(made.id).await.unwrap();
    assert_eq!(gone.len(), 3);
    assert!(left().await.contains(&"b2".to_owned()));
    announce("b3", b, LOG).await.unwrap();
    assert!(!store.keep_log_at(b, "b3".into()).await.unwrap(), "the job is gone");
}

async fn runners_and_their_tokens(store: Store) {
    let (view, token) = store.create_runner(runner_with(&[]), TokenKind::Runner, 1000).await.unwrap();
    assert!(token.expose().starts_with("glrt-"));
    assert_eq!(store.runner_of_token(&token, 1000).await.unwrap().unwrap().id, view.id);
    let (again, new) = store.reset_runner_token(view.id, Some(5000)).await.unwrap();
    assert_eq!(again.id, view.id);
    assert!(store.runner_of_token(&token, 1000).await.unwrap().is_none());
    assert!(store.runner_of_token(&new, 4999).await.unwrap().is_some());
    assert!(store.runner_of_token(&new, 5000).await.unwrap().is_none());
    let info = harrier_api::Info { version: "1.2".into(), ..harrier_api::Info::default() };
    let one =
        store.contact(view.id, "s_a".into(), Some(info.clone()), "10.0.0.1".into(), 2000).await.unwrap();
    assert_eq!(store.contact(view.id, "s_a".into(), None, "10.0.0.1".into(), 3000).await.unwrap(), one);
    let other = store.contact(view.id, String::new(), None, String::new(), 50_000).await.unwrap();
    assert_ne!(one, other);
    let managers = store.managers(Some(view.id)).await.unwrap();
    assert_eq!(managers.len(), 2);
    assert_eq!((managers[0].info.version.as_str(), managers[0].contacted_at), ("1.2", 2000));
    assert_eq!(store.runner(view.id).await.unwrap().contacted_at, Some(50_000));
    store.delete_manager(view.id, "s_a".into()).await.unwrap();
    assert!(matches!(
        store.delete_manager(view.id, "s_a".into()).await,
        Err(DatabaseError::NotFound("manager"))
    ));
    let project = project(&store, "g/p").await;
    let instance = store.reset_registration_token(Registers::Instance, 1000).await.unwrap();
    let own = store.reset_registration_token(Registers::Project(project.id), 1000).await.unwrap();
    assert!(own.expose().starts_with("GR1348941"));
    assert_eq!(store.registers(&instance).await.unwrap(), Some(Registers::Instance));
    assert_eq!(store.registers(&own).await.unwrap(), Some(Registers::Project(project.id)));
    store.reset_registration_token(Registers::Instance, 2000).await.unwrap();
    assert_eq!(store.registers(&instance).await.unwrap(), None);
    store.delete_runner(view.id).await.unwrap();
    assert!(matches!(store.runner(view.id).await, Err(DatabaseError::NotFound("runner"))));
}

async fn users_and_tokens(store: Store) {
    let new = NewUser { username: "root".into(), admin: true, ..NewUser::default() };
    let root = store.create_user(new.clone(), 1000).await.unwrap();
    assert!(matches!(store.create_user(new, 1000).await, Err(DatabaseError::Taken { .. })));
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(root.id),
        project: None,
        name: "script".into(),
        scopes: vec!["api".into()],
        access_level: None,
        expires_at: Some(9000),
    };
    let (view, token) = store.create_token(new, 1000).await.unwrap();
    assert!(token.expose().starts_with("glpat-") && token.expose().starts_with(&view.hint));
    assert_eq!(store.token(&token, 2000).await.unwrap().unwrap().user, Some(root.id));
    assert!(store.token(&token, 9000).await.unwrap().is_none());
    assert_eq!(store.tokens(TokenKind::Personal, Some(root.id), None).await.unwrap()[0].used_at, Some(2000));
    store.revoke_token(view.id, 3000).await.unwrap();
    assert!(store.token(&token, 3000).await.unwrap().is_none());
    let (session, secret) = store.create_session(root.id, 5000, 1000).await.unwrap();
    assert_eq!(store.session(&secret, 2000).await.unwrap().unwrap().id, session.id);
    assert!(store.session(&secret, 5000).await.unwrap().is_none());
    store
        .edit_user(
            root.id,
            harrier_database::UserEdit { password: Some("hash".into()), ..Default::default() },
        )
        .await
        .unwrap();
    assert!(store.session(&secret, 2000).await.unwrap().is_none());
    assert_eq!(store.user_named("root").await.unwrap().unwrap().1.as_deref(), Some("hash"));
    let page = PageAt { number: 1, size: 10 };
    let mine = project(&store, "root/p").await;
    assert_eq!(store.projects(None, false, "", page).await.unwrap().total, 0);
    assert_eq!(store.projects(Some(root.id), false, "", page).await.unwrap().total, 0);
    store.set_member(mine.id, root.id, harrier_database::AccessLevel::from_number(30), 1000).await.unwrap();
    assert_eq!(store.projects(Some(root.id), false, "ROOT/", page).await.unwrap().total, 1);
    assert_eq!(store.projects(None, true, "nothing", page).await.unwrap().total, 0);
}

async fn variables_by_rank(store: Store) {
    let project = project(&store, "g/p").await;
    let one = |value: &str, scope: &str, protected: bool| CiVariable {
        variable: Variable::internal("KEY", value).masked(),
        protected,
        hidden: false,
        environment_scope: scope.into(),
        description: String::new(),
    };
    store.set_variable(None, one("instance", "*", false), false).await.unwrap();
    store.set_variable(Some(project.id), one("all", "*", false), false).await.unwrap();
    store.set_variable(Some(project.id), one("prod", "prod*", true), false).await.unwrap();
    let again = store.set_variable(Some(project.id), one("all", "*", false), false).await;
    assert!(matches!(again, Err(DatabaseError::Taken { .. })));
    let values = |list: Vec<Variable>| list.into_iter().map(|v| v.value).collect::<Vec<_>>();
    let got = store.variables_for(project.id, true, Some("production")).await.unwrap();
    assert!(got[0].masked);
    assert_eq!(values(got), ["instance", "all", "prod"]);
    assert_eq!(
        values(store.variables_for(project.id, false, Some("prod")).await.unwrap()),
        ["instance", "all"]
    );
    assert_eq!(values(store.variables_for(project.id, true, None).await.unwrap()), ["instance", "all"]);
    store.set_variable(Some(project.id), one("new", "*", false), true).await.unwrap();
    store.delete_variable(None, "KEY", "*").await.unwrap();
    assert_eq!(values(store.variables_for(project.id, false, None).await.unwrap()), ["new"]);

    // Groups: the nearer wins; nobody else's, and none of users.
    let deep = self::project(&store, "g/sub/q").await;
    let (outer, inner) =
        (store.ensure_namespace("g").await.unwrap().id, store.ensure_namespace("g/sub").await.unwrap().id);
    let other = store.ensure_namespace("g2").await.unwrap().id;
    for (group, value) in [(outer, "outer"), (inner, "inner"), (other, "other")] {
        store.set_variable(VariableOwner::Group(group), one(value, "*", false), false).await.unwrap();
    }
    store.set_variable(VariableOwner::Group(outer), one("review", "review/*", false), false).await.unwrap();
    let again = store.set_variable(VariableOwner::Group(outer), one("outer", "*", false), false).await;
    assert!(matches!(again, Err(DatabaseError::Taken { .. })));
    store.set_variable(Some(deep.id), one("own", "*", false), false).await.unwrap();
    let got = async |id| values(store.variables_for(id, false, Some("review/x")).await.unwrap());
    assert_eq!(got(deep.id).await, ["outer", "review", "inner", "own"]);
    assert_eq!(got(project.id).await, ["outer", "review", "new"]);
    store.delete_variable(VariableOwner::Group(outer), "KEY", "*").await.unwrap();
    assert_eq!(got(project.id).await, ["review", "new"]);
    assert_eq!(store.variables(VariableOwner::Group(inner)).await.unwrap().len(), 1);
}

async fn why_pending(store: Store) {
    let project = project(&store, "g/p").await;
    let made = pipeline(&store, project.id, "a: {script: x, tags: [gpu]}\n", 2000).await;
    let job = store.jobs(made.id, false).await.unwrap()[0].id;
    assert_eq!(store.why_pending(job, 0).await.unwrap(), Some(WhyPending::NoRunner));
    runner(&store, runner_with(&["cpu"])).await;
    assert_eq!(store.why_pending(job, 0).await.unwrap(), Some(WhyPending::NoTag("gpu".into())));
    let gpu = runner(&store, runner_with(&["gpu"])).await;
    assert_eq!(store.why_pending(job, 5000).await.unwrap(), Some(WhyPending::Offline));
    assert_eq!(store.why_pending(job, 500).await.unwrap(), Some(WhyPending::Turn));
    store.claim_next(gpu, 3000).await.unwrap().unwrap();
    assert_eq!(store.why_pending(job, 500).await.unwrap(), Some(WhyPending::Reserved));
}

async fn changes_are_told_after_the_commit(store: Store) {
    let project = project(&store, "g/p").await;
    let mut changes = store.changes();
    let made = pipeline(&store, project.id, "a: {script: x}\n", 2000).await;
    let mut seen = Vec::new();
    while let Ok(change) = changes.try_recv() {
        seen.push(change);
    }
    assert!(seen.iter().any(|c| matches!(c, Change::Queued { wants } if wants.project == project.id)));
    assert!(seen.iter().any(
        |c| matches!(c, Change::Pipeline { pipeline, status: Status::Pending, .. } if *pipeline == made.id)
    ));
    // What did not happen is not told.
    assert!(store.accept(made.id + 100, 3000).await.is_err());
    assert!(changes.try_recv().is_err());
}

async fn schedules_come_once(store: Store) {
    let project = project(&store, "a/b").await.id;
    let user =
        store.create_user(NewUser { username: "planner".into(), ..NewUser::default() }, 1).await.unwrap();
    let secret = Variable { key: "K".into(), value: "v".into(), ..Variable::default() };
    let new = |next_at| NewSchedule {
        project,
        owner: user.id,
        description: "nightly".into(),
        git_ref: "main".into(),
        cron: "0 4 * * *".into(),
        time_zone: "UTC".into(),
        active: true,
        next_at,
        variables: vec![secret.clone()],
    };
    let first = store.create_schedule(new(Some(100)), 1).await.unwrap();
    let later = store.create_schedule(new(Some(500)), 1).await.unwrap();
    assert!(store.schedule_variables(first.id).await.unwrap() == [secret.clone()]);
    assert_eq!(store.due_schedules(99).await.unwrap(), (vec![], Some(100)));
    assert_eq!(store.due_schedules(100).await.unwrap(), (vec![first.clone()], Some(500)));
    // Two that see it at the same time: one of them has it.
    assert!(store.take_schedule(first.id, Some(100), Some(900)).await.unwrap());
    assert!(!store.take_schedule(first.id, Some(100), Some(900)).await.unwrap());
    let edit = ScheduleEdit { active: Some(false), next_at: Some(None), ..ScheduleEdit::default() };
    assert!(!store.edit_schedule(later.id, edit, 2).await.unwrap().active);
    assert_eq!(store.due_schedules(1000).await.unwrap().0.len(), 1);
    store.delete_schedule(first.id).await.unwrap();
    assert!(matches!(store.schedule(first.id).await, Err(DatabaseError::NotFound(_))));
    assert_eq!(store.schedules(Some(project)).await.unwrap().len(), 1);
}

const REVIEW: &str = "up:\n  script: x\n  environment: { name: review/x, url: 'https://x.example', on_stop: down, auto_stop_in: 1 \
    hour }\ndown:\n  script: x\n  environment: { name: review/x, action: stop }\n  when: manual\n";

/// The only environment of a project.
async fn only_environment(store: &Store, project: i64) -> EnvironmentView {
    let at = PageAt { number: 1, size: 10 };
    let found = store.environments(project, EnvironmentFilter::default(), at).await.unwrap();
    let [one] = &found.entries[..] else { panic!("one environment: {found:?}") };
    one.clone()
}

/// Status of each deployment of a project, the oldest first.
async fn deployments(store: &Store, project: i64) -> String {
    let at = PageAt { number: 1, size: 10 };
    let found = store.deployments(project, DeploymentFilter::default(), at).await.unwrap();
    found.entries.iter().map(|one| format!("{}={}", one.iid, one.status.word())).collect::<Vec<_>>().join(" ")
}

async fn environments_follow_their_jobs(store: Store) {
    let project = project(&store, "a/b").await.id;
    let ask = runner(&store, runner_with(&[])).await;
    let made = pipeline_of(&store, project, REVIEW, "main", "a1", 2000).await;
    let begun = only_environment(&store, project).await;
    assert_eq!((begun.slug().as_str(), begun.tier.as_str()), ("review-x-n5c54v", "development"));
    assert_eq!((begun.state, begun.external_url.clone()), (EnvironmentState::Available, None));
    assert_eq!(deployments(&store, project).await, "1=created");
    assert_eq!(store.environment_named(project, "review/x").await.unwrap(), Some(begun.id));
    let up = start(&store, &ask, 2001).await;
    assert_eq!(deployments(&store, project).await, "1=running");
    assert!(store.stop_jobs(begun.id).await.unwrap().is_empty(), "nothing was deployed yet");
    end(&store, up, Outcome::Success, 2002).await;
    let shown = only_environment(&store, project).await;
    assert_eq!(shown.external_url.as_deref(), Some("https://x.example"));
    assert_eq!(shown.auto_stop_at, Some(2002 + 3_600_000), "counted from the deployment");
    let latest = store.latest_deployment(shown.id).await.unwrap().unwrap();
    assert_eq!((latest.job, latest.sha.as_str(), latest.finished_at), (Some(up), "a1", Some(2002)));

    // A retry is a deployment of its own; one that fails leaves the latest as it is.
    let again = store.retry(up, None, 2003).await.unwrap();
    let up = start(&store, &ask, 2004).await;
    assert_eq!(up, again.id);
    store.set_deployment_url(up, "https://other.example".into()).await.unwrap();
    end(&store, up, failed("script_failure", 1), 2005).await;
    assert_eq!(deployments(&store, project).await, "1=success 2=failed");
    assert_eq!(store.latest_deployment(shown.id).await.unwrap().unwrap().id, latest.id);
    assert_eq!(only_environment(&store, project).await.external_url, shown.external_url);
    assert!(matches!(store.delete_environment(shown.id).await, Err(DatabaseError::Conflict { .. })));

    // Stopped by its job; one that fails leaves it available, one that passes stops it.
    let down = store.stop_jobs(shown.id).await.unwrap();
    assert_eq!(down.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), ["down"]);
    let stopping = store.stop_environment(shown.id, None, false, 2006).await.unwrap();
    assert_eq!(stopping.state, EnvironmentState::Stopping);
    let stop = start(&store, &ask, 2007).await;
    assert_eq!(stop, down[0].id);
    end(&store, stop, failed("script_failure", 1), 2008).await;
    assert_eq!(only_environment(&store, project).await.state, EnvironmentState::Available);
    store.stop_environment(shown.id, None, false, 2009).await.unwrap();
    let stop = start(&store, &ask, 2010).await;
    assert_ne!(stop, down[0].id, "it is run again");
    end(&store, stop, Outcome::Success, 2011).await;
    let stopped = only_environment(&store, project).await;
    assert_eq!((stopped.state, stopped.auto_stop_at), (EnvironmentState::Stopped, None));
    assert_eq!(deployments(&store, project).await, "1=success 2=failed", "stopping is no deployment");

    // What is known of deployments outlives the pipeline, and goes with the environment.
    store.delete_pipeline(made.id).await.unwrap();
    assert_eq!(store.deployment(latest.id).await.unwrap().job, None);
    store.delete_environment(shown.id).await.unwrap();
    assert!(matches!(store.deployment(latest.id).await, Err(DatabaseError::NotFound(_))));
}

async fn time_and_lost_branches_stop_environments(store: Store) {
    let project = project(&store, "a/b").await.id;
    let ask = runner(&store, runner_with(&[])).await;
    let made = pipeline_of(&store, project, REVIEW, "topic", "a1", 2000).await;
    let up = start(&store, &ask, 2001).await;
    end(&store, up, Outcome::Success, 2002).await;
    let next = store.due(2003, Patience::default()).await.unwrap();
    assert_eq!(next, Some(2002 + 3_600_000));
    store.due(2002 + 3_600_000, Patience::default()).await.unwrap();
    assert_eq!(only_environment(&store, project).await.state, EnvironmentState::Stopping);
    assert_eq!(states(&store, made.id).await, "up=success down=pending");
    let stop = start(&store, &ask, 4_000_000).await;
    end(&store, stop, failed("script_failure", 1), 4_000_001).await;
    // Its time was over once: it is not stopped again and again.
    store.due(9_000_000, Patience::default()).await.unwrap();
    assert_eq!(states(&store, made.id).await, "up=success down=failed");

    let of = |branch: &'static str| store.stop_environments_of(project, branch, Some(3), 9_000_001);
    assert!(of("main").await.unwrap().is_empty());
    let stopped = of("topic").await.unwrap();
    assert_eq!(stopped.len(), 1);
    assert_eq!(states(&store, made.id).await, "up=success down=pending");
    let again = start(&store, &ask, 9_000_002).await;
    assert_eq!(store.job(again).await.unwrap().played_by, Some(3));
    end(&store, again, Outcome::Success, 9_000_003).await;
    assert_eq!(only_environment(&store, project).await.state, EnvironmentState::Stopped);

    // Without a stop job the branch takes nothing along, and a person stops it at once.
    let plain = "up: { script: x, environment: { name: live, deployment_tier: staging } }\n";
    pipeline_of(&store, project, plain, "other", "b1", 9_000_004).await;
    let up = start(&store, &ask, 9_000_005).await;
    end(&store, up, Outcome::Success, 9_000_006).await;
    assert!(of("other").await.unwrap().is_empty());
    let filter = EnvironmentFilter { search: Some("LIV".into()), ..EnvironmentFilter::default() };
    let at = PageAt { number: 1, size: 10 };
    let [live] = &store.environments(project, filter, at).await.unwrap().entries[..] else { panic!("one") };
    assert_eq!(live.tier, "staging");
    assert_eq!(store.stop_stale_environments(project, 9_000_006, None, 9_000_007).await.unwrap(), 0);
    assert_eq!(store.stop_stale_environments(project, 9_000_007, None, 9_000_007).await.unwrap(), 1);
    assert_eq!(store.environment(live.id).await.unwrap().state, EnvironmentState::Stopped);
}

async fn merge_requests_are_open_once(store: Store) {
    let project = project(&store, "a/b").await.id;
    let new = |source: &str| NewMergeRequest {
        project,
        source_branch: source.into(),
        target_branch: "main".into(),
        title: format!("Draft: 100% {source}"),
        labels: vec!["x".into()],
        ..NewMergeRequest::default()
    };
    let one = store.create_merge_request(new("topic"), 2000).await.unwrap();
    assert_eq!((one.iid, one.state, one.draft()), (1, MergeRequestState::Opened, true));
    let twice = store.create_merge_request(new("topic"), 2001).await;
    assert!(matches!(twice, Err(DatabaseError::Taken { ref name, .. }) if name == "!1"), "{twice:?}");
    let two = store.create_merge_request(new("other"), 2002).await.unwrap();
    let to = |state| MergeRequestEdit { state: Some(state), ..MergeRequestEdit::default() };
    let closed = store.edit_merge_request(one.id, to(MergeRequestState::Closed), 2003).await.unwrap();
    assert_eq!((closed.closed_at, closed.merged_at), (Some(2003), None));
    // Its place is free, and taken by another one.
    let three = store.create_merge_request(new("topic"), 2004).await.unwrap();
    assert_eq!(three.iid, 3);
    assert!(store.edit_merge_request(one.id, to(MergeRequestState::Opened), 2005).await.is_err());
    let merged = store.edit_merge_request(two.id, to(MergeRequestState::Merged), 2006).await.unwrap();
    assert_eq!(merged.merged_at, Some(2006));
    assert!(store.edit_merge_request(two.id, to(MergeRequestState::Opened), 2007).await.is_err());
    assert_eq!(store.open_merge_requests_from(project, "topic").await.unwrap(), std::slice::from_ref(&three));
    assert_eq!(store.open_merge_requests_into(project, "main").await.unwrap(), std::slice::from_ref(&three));
    let at = PageAt { number: 1, size: 10 };
    for (filter, wanted) in [
        (MergeRequestFilter::default(), vec![3, 2, 1]),
        (MergeRequestFilter { oldest_first: true, ..Default::default() }, vec![1, 2, 3]),
        (MergeRequestFilter { by_change: true, ..Default::default() }, vec![2, 3, 1]),
        (MergeRequestFilter { state: Some(MergeRequestState::Closed), ..Default::default() }, vec![1]),
        (MergeRequestFilter { search: Some("100% OTH".into()), ..Default::default() }, vec![2]),
        (MergeRequestFilter { search: Some("1_0".into()), ..Default::default() }, vec![]),
        (
            MergeRequestFilter {
                iids: vec![1, 3],
                source_branch: Some("topic".into()),
                ..Default::default()
            },
            vec![3, 1],
        ),
    ] {
        let found = store.merge_requests(project, filter.clone(), at).await.unwrap();
        let iids: Vec<i64> = found.entries.iter().map(|one| one.iid).collect();
        assert_eq!((&iids, found.total), (&wanted, wanted.len()), "{filter:?}");
    }
    // Its head is where it was dealt with last.
    for (sha, version) in [("a1", 1), ("a1", 1), ("b2", 2)] {
        store.set_merge_request_head(three.id, sha, 3000).await.unwrap();
        let now = store.merge_request(project, 3).await.unwrap();
        assert_eq!((now.sha.as_str(), now.version), (sha, version));
    }
    store.delete_merge_request(three.id).await.unwrap();
    assert!(matches!(store.merge_request(project, 3).await, Err(DatabaseError::NotFound(_))));
    assert_eq!(
        store.create_merge_request(new("topic"), 4000).await.unwrap().iid,
        4,
        "a number is given once"
    );
}

async fn bridges_follow_what_they_made(store: Store) {
    let project = project(&store, "g/p").await;
    let text = "stages: [one, two]\nb: {stage: one, trigger: {include: child.yml, strategy: depend}}\nc: {stage: two, script: \
                x}\n";
    let made = pipeline(&store, project.id, text, 2000).await;
    let ask = runner(&store, runner_with(&[])).await;
    assert!(store.claim_next(ask.clone(), 2500).await.unwrap().is_none(), "no runner runs a bridge");
    let bridges = store.bridges().await.unwrap();
    assert_eq!(bridges.len(), 1);
    let bridge = store.bridge(bridges[0]).await.unwrap();
    assert_eq!((bridge.job.name.as_str(), bridge.depth, bridge.hierarchy), ("b", 0, 1));
    let child = support::child_of(&store, &bridge, "x: {script: x}\n", 3000).await;
    assert!(store.bridges().await.unwrap().is_empty());
    assert_eq!(states(&store, made.id).await, "b=running c=created");
    let x = start(&store, &ask, 4000).await;
    end(&store, x, failed("script_failure", 1), 5000).await;
    assert_eq!(store.pipeline(child).await.unwrap().status, Status::Failed);
    assert_eq!(states(&store, made.id).await, "b=failed c=skipped");
    assert_eq!(store.pipeline(made.id).await.unwrap().status, Status::Failed);
    // What runs again in the child opens the bridge again, in its own row.
    store.retry(x, None, 6000).await.unwrap();
    assert_eq!(states(&store, made.id).await, "b=running c=created");
    let x = start(&store, &ask, 7000).await;
    end(&store, x, Outcome::Success, 8000).await;
    assert_eq!(states(&store, made.id).await, "b=success c=pending");
    assert_eq!(store.jobs(made.id, true).await.unwrap().len(), 2);
    // A cancelled parent cancels its child, and ends when the child has.
    let made = pipeline(&store, project.id, text, 9000).await;
    let bridge = store.bridge(store.bridges().await.unwrap()[0]).await.unwrap();
    let child = support::child_of(&store, &bridge, "x: {script: x}\n", 9100).await;
    let mut taken = start(&store, &ask, 9200).await;
    if store.job(taken).await.unwrap().pipeline != child {
        taken = start(&store, &ask, 9200).await;
    }
    store.cancel_pipeline(made.id, false, 9300).await.unwrap();
    assert_eq!(states(&store, made.id).await, "b=canceling c=canceled");
    assert_eq!(states(&store, child).await, "x=canceling");
    end(&store, taken, Outcome::Success, 9400).await;
    assert_eq!(states(&store, made.id).await, "b=canceled c=canceled");
    assert_eq!(store.pipeline(made.id).await.unwrap().status, Status::Canceled);
}

async fn lists_are_narrowed(store: Store) {
    let project = project(&store, "g/p").await;
    assert_eq!(store.namespace(project.namespace).await.unwrap(), "g");
    assert!(matches!(store.namespace(999).await, Err(DatabaseError::NotFound(_))));
    let text = "a: {script: x}\nb: {trigger: {include: child.yml}}\n";
    let one = pipeline_of(&store, project.id, text, "main", "a1", 2000).await.id;
    let two = pipeline_of(&store, project.id, "a: {script: x}\n", "other", "b2", 3000).await.id;
    let three = pipeline_of(&store, project.id, "a: {script: x}\n", "other", "b2", 4000).await.id;
    let at = PageAt { number: 1, size: 10 };
    let none = PipelineFilter::default;
    for (filter, wanted) in [
        (none(), vec![three, two, one]),
        (PipelineFilter { oldest_first: true, ..none() }, vec![one, two, three]),
        (PipelineFilter { order: PipelineOrder::Changed, ..none() }, vec![three, two, one]),
        (PipelineFilter { newest_of_refs: Some(false), ..none() }, vec![three, one]),
        (PipelineFilter { newest_of_refs: Some(true), ..none() }, vec![]),
        (PipelineFilter { statuses: vec![Status::Success, Status::Failed], ..none() }, vec![]),
        (PipelineFilter { user: Some(7), ..none() }, vec![]),
        (PipelineFilter { name: Some("n".into()), ..none() }, vec![]),
        (PipelineFilter { updated_after: Some(3500), ..none() }, vec![three]),
        (PipelineFilter { updated_before: Some(3500), git_ref: Some("other".into()), ..none() }, vec![two]),
    ] {
        let found = store.pipelines(project.id, filter.clone(), at).await.unwrap();
        let ids: Vec<i64> = found.entries.iter().map(|pipeline| pipeline.id).collect();
        assert_eq!((&ids, found.total), (&wanted, wanted.len()), "{filter:?}");
    }
    let filter = JobFilter { project: Some(project.id), without_bridges: true, ..JobFilter::default() };
    let found = store.find_jobs(filter, at).await.unwrap();
    assert!(found.total == 3 && found.entries.iter().all(|job| job.name == "a"));

    // The newest that passed in a pipeline that passed and left an archive.
    let ask = runner(&store, runner_with(&[])).await;
    for pipeline in [two, three] {
        let job = store.jobs(pipeline, false).await.unwrap()[0].id;
        assert!(
            store.latest_success(project.id, "other", "a").await.unwrap().is_none_or(|found| found.id != job)
        );
        let taken = loop {
            let taken = start(&store, &ask, 5000).await;
            if taken == job {
                break taken;
            }
        };
        store.put_artifact(archive(taken, "aa")).await.unwrap();
        end(&store, taken, Outcome::Success, 6000).await;
        assert_eq!(
            store.latest_success(project.id, "other", "a").await.unwrap().map(|found| found.id),
            Some(job)
        );
    }
    assert!(store.latest_success(project.id, "other", "b").await.unwrap().is_none());
    assert!(store.latest_success(project.id, "main", "a").await.unwrap().is_none());
    assert_eq!(store.downstream(store.bridges().await.unwrap()[0]).await.unwrap(), None);
}
