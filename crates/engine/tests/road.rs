//! The road of a job with a fake session and paused time: order of stages, stops, limits, attempts, and going on
//! after a crash.

use async_trait::async_trait;
use harrier_base::{Clock, FailureReason, Secret, SystemClock, Variables};
use harrier_engine::*;
use harrier_plan::*;
use harrier_store::{Entry, JobDir, Journal};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a stage of the fake does.
#[derive(Clone, Copy)]
enum Act {
    /// Takes this long, then exits so.
    Exit(u64, i32),
    /// Runs until it is stopped, then dies of the signal.
    Hang,
    /// Is lost with its machine.
    Lost,
    /// The runner dies while it runs: `wait` never returns.
    RunnerDies,
}

#[derive(Default)]
struct World {
    calls: Mutex<Vec<String>>,
    acts: Mutex<HashMap<String, Vec<Act>>>,
    /// What `resume` answers for a stage: true is "still runs".
    resumes: Mutex<HashMap<String, bool>>,
    open_failures: Mutex<Vec<OpenError>>,
}

impl World {
    fn act(self: &Arc<Self>, stage: &str, acts: &[Act]) -> Arc<Self> {
        self.acts.lock().expect("test").insert(stage.into(), acts.to_vec());
        self.clone()
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().expect("test").push(call.into());
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("test").clone()
    }
}

struct Fake {
    world: Arc<World>,
    abilities: Abilities,
}

impl Fake {
    fn new(world: &Arc<World>) -> Self {
        Self {
            world: world.clone(),
            abilities: Abilities {
                name: "fake",
                shell: Shell::Bash,
                features: harrier_api::Features::default(),
                shared: true,
                own_dirs: None,
                isolated: false,
            },
        }
    }
}

#[async_trait]
impl Executor for Fake {
    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    async fn open(&self, _: &JobPlan, _: &OpenCx<'_>) -> Result<Box<dyn Session>, OpenError> {
        self.world.note("open");
        match self.world.open_failures.lock().expect("test").pop() {
            Some(error) => Err(error),
            None => Ok(Box::new(FakeSession { world: self.world.clone() })),
        }
    }

    async fn reopen(
        &self,
        _: &JobPlan,
        ticket: &SessionTicket,
        _: &OpenCx<'_>,
    ) -> Result<Box<dyn Session>, OpenError> {
        assert_eq!(ticket.0, serde_json::json!("ticket"));
        self.world.note("reopen");
        Ok(Box::new(FakeSession { world: self.world.clone() }))
    }
}

struct FakeSession {
    world: Arc<World>,
}

#[async_trait]
impl Session for FakeSession {
    fn notes(&self) -> Vec<String> {
        vec!["Using a fake...".into()]
    }

    fn ticket(&self) -> SessionTicket {
        SessionTicket(serde_json::json!("ticket"))
    }

    async fn start(&mut self, start: StageStart<'_>) -> Result<Box<dyn Running>, StartError> {
        let name = start.stage.name.wire();
        let act = {
            let mut acts = self.world.acts.lock().expect("test");
            let list = acts.entry(name.clone()).or_default();
            if list.len() > 1 { list.remove(0) } else { list.first().copied().unwrap_or(Act::Exit(0, 0)) }
        };
        self.world.note(if name == "after_script" { format!("{name}:{}", start.job_status) } else { name });
        Ok(Box::new(FakeRunning { act, done: None }))
    }

    async fn resume(&mut self, start: StageStart<'_>) -> Result<Resumed, StartError> {
        let name = start.stage.name.wire();
        self.world.note(format!("resume {}", start.key));
        Ok(match self.world.resumes.lock().expect("test").get(&name) {
            None => Resumed::NeverStarted,
            Some(true) => Resumed::Running(Box::new(FakeRunning { act: Act::Exit(1, 0), done: None })),
            Some(false) => Resumed::Ended(Exit { code: 3, text: "exit status 3".into() }),
        })
    }

    async fn keep(self: Box<Self>, _time: Duration, grace: Duration) -> Result<(), CloseError> {
        self.close(grace).await
    }

    async fn close(self: Box<Self>, _: Duration) -> Result<(), CloseError> {
        self.world.note("close");
        Ok(())
    }
}

struct FakeRunning {
    act: Act,
    done: Option<tokio::time::Instant>,
}

#[async_trait]
impl Running for FakeRunning {
    async fn wait(&mut self, stop: &Stop, _: Ladder) -> Result<Exit, WaitError> {
        let killed = || Exit { code: -1, text: "signal: terminated".into() };
        match self.act {
            Act::Exit(seconds, code) => {
                let end = *self
                    .done
                    .get_or_insert_with(|| tokio::time::Instant::now() + Duration::from_secs(seconds));
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(end) => {}
                    _ = stop.pulled() => return Ok(killed()),
                }
                Ok(Exit { code, text: format!("exit status {code}") })
            }
            Act::Hang => {
                stop.pulled().await;
                Ok(killed())
            }
            Act::Lost => Err(WaitError {
                message: "the machine is gone".into(),
                reason: FailureReason::RunnerSystemFailure,
            }),
            Act::RunnerDies => std::future::pending().await,
        }
    }
}

fn stage(name: StageName, target: Target) -> StagePlan {
    StagePlan { name, target, ops: vec![], attempts: 1, backoff: Backoff::Exponential }
}

fn plan() -> JobPlan {
    let helper = |name| stage(name, Target::Helper);
    JobPlan {
        job: JobIdentity {
            id: 7,
            token: Secret::new("tok"),
            name: "job".into(),
            stage: "test".into(),
            project_id: 1,
            project_path: "g/p".into(),
            pipeline_id: 1,
            correlation_id: "c".into(),
        },
        runner: RunnerLabel {
            program: "harrier 0".into(),
            executor: "fake".into(),
            ..RunnerLabel::default()
        },
        server: ServerAccess::default(),
        shell: Shell::Bash,
        dirs: Dirs::default(),
        variables: Variables::new(),
        header: vec![],
        refusal: None,
        prepare: helper(StageName::PrepareScript),
        get_sources: helper(StageName::GetSources),
        clear_worktree: helper(StageName::ClearWorktree),
        restore_cache: None,
        download_artifacts: None,
        steps: vec![stage(StageName::Step("script".into()), Target::Build)],
        after_script: Some(stage(StageName::AfterScript, Target::Build)),
        archive_cache: ByResult {
            success: Some(helper(StageName::ArchiveCache)),
            failure: Some(helper(StageName::ArchiveCacheOnFailure)),
        },
        upload_artifacts: ByResult {
            success: Some(helper(StageName::UploadArtifactsOnSuccess)),
            failure: Some(helper(StageName::UploadArtifactsOnFailure)),
        },
        cleanup: helper(StageName::CleanupFileVariables),
        limits: Limits {
            job: Duration::from_secs(3600),
            script: None,
            after_script: Duration::from_secs(300),
            prepare: None,
            get_sources: None,
            graceful_kill: Duration::from_secs(600),
            force_kill: Duration::from_secs(10),
        },
        after_script_ignore_errors: true,
        debug_trace: false,
        log: LogPlan {
            masks: vec![],
            token_prefixes: vec![],
            timestamps: false,
            limit: 1 << 20,
            sections: true,
        },
        failure_reasons: vec![],
        containers: None,
    }
}

struct Bench {
    state: tempfile::TempDir,
    world: Arc<World>,
    plan: JobPlan,
    stop: Stop,
}

impl Bench {
    fn new() -> Self {
        Self {
            state: tempfile::tempdir().expect("temp"),
            world: Arc::new(World::default()),
            plan: plan(),
            stop: Stop::new(),
        }
    }

    fn dir(&self) -> JobDir {
        let path = self.state.path().join("jobs/7");
        if path.exists() {
            JobDir::open(&path).expect("open")
        } else {
            JobDir::create(self.state.path(), "7").expect("create")
        }
    }

    /// One life of the runner; `None` if it died in it.
    async fn live(&self) -> (Option<JobOutcome>, String) {
        let dir = self.dir();
        let mut journal = Journal::open(&dir).expect("journal");
        if journal.entries().is_empty() {
            let admitted = Entry::Admitted {
                boot_id: "b".into(),
                runner_pid: 1,
                started_at: SystemClock.now(),
                host: serde_json::Value::Null,
            };
            journal.append(&admitted).expect("append");
        }
        let journal = Mutex::new(journal);
        let settings = harrier_logpipe::Settings {
            masks: vec![],
            token_prefixes: vec![],
            timestamps: self.plan.log.timestamps,
            limit: self.plan.log.limit,
        };
        let log = JobLog::open(&dir, &settings, Arc::new(SystemClock)).await.expect("log");
        let executor = Fake::new(&self.world);
        let raw = dir.raw_log();
        let run = JobRun {
            plan: &self.plan,
            executor: &executor,
            journal: &journal,
            cx: OpenCx {
                job_dir: dir.path(),
                raw_log: &raw,
                own_binary: Path::new("/proc/self/exe"),
                die_with_parent: false,
            },
            log: &log,
            stop: &self.stop,
            clock: &SystemClock,
            desk: None,
            on_stage: None,
        };
        let outcome = match tokio::time::timeout(Duration::from_secs(1_000_000), run_job(run)).await {
            Ok((outcome, teardown)) => {
                teardown.run().await;
                Some(outcome)
            }
            Err(_) => None,
        };
        let done = log.finish().await.expect("finish");
        let text = std::fs::read_to_string(dir.trace_log()).expect("log");
        assert_eq!(done.len, text.len() as u64);
        (outcome, text)
    }
}

const GOOD: [&str; 7] = [
    "prepare_script",
    "get_sources",
    "step_script",
    "after_script:success",
    "archive_cache",
    "upload_artifacts_on_success",
    "cleanup_file_variables",
];

fn opened(stages: &[&str]) -> Vec<String> {
    [&["open"], stages, &["close"]].concat().iter().map(|s| (*s).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_good_job_walks_all_stages() {
    let bench = Bench::new();
    let (outcome, log) = bench.live().await;
    assert!(outcome.expect("lives").success);
    assert_eq!(bench.world.calls(), opened(&GOOD));
    for line in [
        "Running with harrier 0",
        "Preparing the \"fake\" executor",
        "Using a fake...",
        "section_start:",
        "Executing \"step_script\" stage of the job script",
        "Job succeeded",
    ] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_script_keeps_its_code_and_the_failure_stages_run() {
    let bench = Bench::new();
    bench.world.act("step_script", &[Act::Exit(1, 42)]);
    let (outcome, log) = bench.live().await;
    let outcome = outcome.expect("lives");
    assert_eq!(outcome.reason, Some(FailureReason::ScriptFailure));
    assert_eq!(outcome.exit_code, Some(42));
    assert_eq!(
        bench.world.calls(),
        opened(&[
            "prepare_script",
            "get_sources",
            "step_script",
            "after_script:failed",
            "archive_cache_on_failure",
            "upload_artifacts_on_failure",
            "cleanup_file_variables",
        ])
    );
    assert!(log.contains("ERROR: Job failed: exit status 42"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_prepare_script_ends_the_job_at_once() {
    let bench = Bench::new();
    bench.world.act("prepare_script", &[Act::Exit(0, 1)]);
    bench.live().await;
    assert_eq!(bench.world.calls(), opened(&["prepare_script"]));
}

#[tokio::test(start_paused = true)]
async fn sources_are_tried_again_with_one_clearing() {
    let mut bench = Bench::new();
    bench.plan.get_sources.attempts = 3;
    bench.world.act("get_sources", &[Act::Exit(0, 1), Act::Exit(0, 1), Act::Exit(0, 0)]);
    let (outcome, _) = bench.live().await;
    assert!(outcome.expect("lives").success);
    let mut want = opened(&GOOD);
    want.splice(2..3, ["get_sources", "clear_worktree", "get_sources", "get_sources"].map(str::to_owned));
    assert_eq!(bench.world.calls(), want);
}

#[tokio::test(start_paused = true)]
async fn failed_sources_skip_the_scripts() {
    let bench = Bench::new();
    bench.world.act("get_sources", &[Act::Exit(0, 128)]);
    let (outcome, _) = bench.live().await;
    assert_eq!(outcome.expect("lives").exit_code, Some(128));
    assert_eq!(
        bench.world.calls(),
        opened(&[
            "prepare_script",
            "get_sources",
            "archive_cache_on_failure",
            "upload_artifacts_on_failure",
            "cleanup_file_variables",
        ])
    );
}

async fn stopped_at(bench: &Bench, seconds: u64, reason: StopReason) -> (JobOutcome, String) {
    let stop = bench.stop.clone();
    let puller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.pull(reason);
    });
    let (outcome, log) = bench.live().await;
    puller.await.expect("puller");
    (outcome.expect("lives"), log)
}

#[tokio::test(start_paused = true)]
async fn a_cancel_in_the_script_runs_after_script_and_uploads() {
    let bench = Bench::new();
    bench.world.act("step_script", &[Act::Hang]);
    let (outcome, log) = stopped_at(&bench, 5, StopReason::Canceled).await;
    assert_eq!(outcome.reason, Some(FailureReason::JobCanceled));
    assert!(!outcome.aborted);
    assert_eq!(bench.world.calls()[4], "after_script:canceled");
    assert!(bench.world.calls().contains(&"upload_artifacts_on_failure".to_owned()));
    assert!(log.contains("WARNING: script canceled externally (UI, API)"));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_before_the_script_ends_the_job() {
    let bench = Bench::new();
    bench.world.act("get_sources", &[Act::Hang]);
    let (outcome, _) = stopped_at(&bench, 5, StopReason::Canceled).await;
    assert_eq!(outcome.reason, Some(FailureReason::JobCanceled));
    assert_eq!(bench.world.calls(), opened(&["prepare_script", "get_sources", "cleanup_file_variables"]));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_in_after_script_changes_nothing() {
    let bench = Bench::new();
    bench.world.act("after_script", &[Act::Exit(20, 0)]);
    let (outcome, _) = stopped_at(&bench, 5, StopReason::Canceled).await;
    assert!(outcome.success);
    assert_eq!(bench.world.calls(), opened(&GOOD));
}

#[tokio::test(start_paused = true)]
async fn an_abort_kills_and_only_cleans_up() {
    let bench = Bench::new();
    bench.world.act("step_script", &[Act::Hang]);
    let (outcome, _) = stopped_at(&bench, 5, StopReason::Aborted).await;
    assert!(outcome.aborted);
    assert_eq!(
        bench.world.calls(),
        opened(&["prepare_script", "get_sources", "step_script", "cleanup_file_variables"])
    );
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_runner_says_so() {
    let bench = Bench::new();
    bench.world.act("step_script", &[Act::Hang]);
    let (outcome, log) = stopped_at(&bench, 5, StopReason::Interrupted("terminated".into())).await;
    assert_eq!(outcome.reason, Some(FailureReason::RunnerInterrupted));
    assert!(log.contains("ERROR: Job failed (system failure): aborted: terminated"));
}

#[tokio::test(start_paused = true)]
async fn the_job_timeout_skips_everything_but_cleaning_up() {
    let mut bench = Bench::new();
    bench.plan.limits.job = Duration::from_secs(60);
    bench.world.act("step_script", &[Act::Hang]);
    let (outcome, log) = bench.live().await;
    assert_eq!(outcome.expect("lives").reason, Some(FailureReason::JobExecutionTimeout));
    assert_eq!(
        bench.world.calls(),
        opened(&["prepare_script", "get_sources", "step_script", "cleanup_file_variables"])
    );
    assert!(log.contains("execution took longer than 1m0s seconds"));
}

#[tokio::test(start_paused = true)]
async fn the_script_timeout_lets_after_script_see_it() {
    let mut bench = Bench::new();
    bench.plan.limits.script = Some(Duration::from_secs(30));
    bench.world.act("step_script", &[Act::Hang]);
    let (outcome, _) = bench.live().await;
    assert_eq!(outcome.expect("lives").reason, Some(FailureReason::JobExecutionTimeout));
    assert!(bench.world.calls().contains(&"after_script:timedout".to_owned()));
    assert!(bench.world.calls().contains(&"upload_artifacts_on_failure".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn after_script_errors_count_only_when_asked_to() {
    for (ignore, success) in [(true, true), (false, false)] {
        let mut bench = Bench::new();
        bench.plan.after_script_ignore_errors = ignore;
        bench.world.act("after_script", &[Act::Exit(0, 2)]);
        let (outcome, _) = bench.live().await;
        assert_eq!(outcome.expect("lives").success, success);
    }
}

#[tokio::test(start_paused = true)]
async fn opening_is_tried_three_times_unless_the_reason_is_known() {
    let fail = |reason| OpenError { message: "no".into(), reason };
    for (failures, opens, success) in [
        (vec![fail(None), fail(None)], 3, true),
        (vec![fail(None), fail(None), fail(None)], 3, false),
        (vec![fail(Some(FailureReason::RunnerConfigurationError))], 1, false),
    ] {
        let bench = Bench::new();
        *bench.world.open_failures.lock().expect("test") = failures;
        let (outcome, _) = bench.live().await;
        assert_eq!(outcome.expect("lives").success, success);
        assert_eq!(bench.world.calls().iter().filter(|c| *c == "open").count(), opens);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_stage_is_a_system_failure() {
    let bench = Bench::new();
    bench.world.act("step_script", &[Act::Lost]);
    let (outcome, _) = bench.live().await;
    assert_eq!(outcome.expect("lives").reason, Some(FailureReason::RunnerSystemFailure));
}

/// `runner-api.md` §4.9: what cannot be carried out is not started; the rest of the road is that of any failure.
#[tokio::test(start_paused = true)]
async fn a_faulty_stage_is_never_started() {
    let mut bench = Bench::new();
    bench.plan.get_sources.attempts = 3;
    bench.plan.get_sources.ops = vec![Op::Fail("unknown cache policy".into())];
    let (outcome, log) = bench.live().await;
    let outcome = outcome.expect("lives");
    assert_eq!((outcome.reason, outcome.exit_code), (Some(FailureReason::RunnerSystemFailure), None));
    assert_eq!(
        bench.world.calls(),
        opened(&[
            "prepare_script",
            "archive_cache_on_failure",
            "upload_artifacts_on_failure",
            "cleanup_file_variables",
        ])
    );
    assert!(log.contains("ERROR: Job failed (system failure): unknown cache policy"));
}

/// A runner that dies in any stage is followed by one that walks on: nothing recorded is done again, nothing is said
/// twice.
#[tokio::test(start_paused = true)]
async fn a_killed_runner_is_followed_by_one_that_goes_on() {
    for (at, name) in GOOD.iter().enumerate() {
        let name = name.split(':').next().expect("name");
        for still_runs in [Some(true), Some(false), None] {
            let mut bench = Bench::new();
            bench.plan.limits.job = Duration::from_secs(100_000_000);
            bench.plan.limits.after_script = Duration::from_secs(100_000_000);
            bench.world.act(name, &[Act::RunnerDies, Act::Exit(0, 0)]);
            if name == "cleanup_file_variables" {
                continue;
            }
            let (outcome, first_log) = bench.live().await;
            assert!(outcome.is_none(), "the runner had to die in {name}");
            if let Some(runs) = still_runs {
                bench.world.resumes.lock().expect("test").insert(name.into(), runs);
            }
            let before = bench.world.calls().len();
            let (outcome, log) = bench.live().await;
            let outcome = outcome.expect("the second life ends");
            let calls = bench.world.calls()[before..].to_vec();
            assert_eq!(calls[..2], ["reopen".to_owned(), format!("resume {at}-{name}")], "{name}");
            assert_eq!(outcome.success, still_runs != Some(false) || name == "after_script", "{name}");
            assert!(log.starts_with(&first_log), "{name}: the log goes on where it was");
            assert_eq!(log.matches("Running with").count(), 1);
            let started = bench.world.calls().iter().filter(|c| c.split(':').next() == Some(name)).count();
            assert_eq!(started, if still_runs.is_some() { 1 } else { 2 }, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_decided_job_is_not_run_again() {
    let bench = Bench::new();
    let (first, log) = bench.live().await;
    let before = bench.world.calls().len();
    let (second, log_again) = bench.live().await;
    assert_eq!(first, second);
    assert_eq!(log, log_again);
    assert_eq!(bench.world.calls()[before..], ["reopen".to_owned(), "close".to_owned()]);
}
