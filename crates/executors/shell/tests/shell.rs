//! The shell executor with real shells: whole jobs on the engine's road, stages taken over from a process that is gone,
//! stops, and what is left behind.

use harrier_base::{Secret, SystemClock, Variable, Variables};
use harrier_engine::*;
use harrier_logpipe::{FrameKind, FrameReader};
use harrier_plan::*;
use harrier_shell::ShellExecutor;
use harrier_store::{JobDir, Journal};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PROBE: &str = env!("CARGO_BIN_EXE_harrier-shell-probe");
const LONG: Duration = Duration::from_secs(60);

fn stage(name: StageName, target: Target, ops: Vec<Op>) -> StagePlan {
    StagePlan { name, target, ops, attempts: 1, backoff: Backoff::Short }
}

fn script(lines: &[&str]) -> Op {
    Op::Script(Script {
        items: lines.iter().map(|text| ScriptItem { text: (*text).to_owned(), section: None }).collect(),
        check_each: false,
        xtrace: false,
        announce: None,
    })
}

fn plan(place: &Path, lines: &[&str], after: Option<&str>) -> JobPlan {
    let helper = |name, ops| stage(name, Target::Helper, ops);
    let mut variables = Variables::new();
    variables.push(Variable::public("COLOUR", "red and blue"));
    variables.push(Variable { file: true, ..Variable::public("A_FILE", "in a file") });
    JobPlan {
        job: JobIdentity {
            id: 7,
            token: Secret::new("tok"),
            name: "job".into(),
            stage: "test".into(),
            project_id: 1,
            project_path: "g/p".into(),
            pipeline_id: 1,
            correlation_id: String::new(),
        },
        runner: RunnerLabel {
            program: "harrier 0".into(),
            executor: "shell".into(),
            ..RunnerLabel::default()
        },
        server: ServerAccess::default(),
        shell: Shell::Bash,
        dirs: Dirs {
            builds: place.join("builds"),
            project: place.join("builds/g/p"),
            tmp: place.join("builds/g/p.tmp"),
            cache: place.join("cache"),
        },
        variables,
        header: vec![],
        refusal: None,
        prepare: helper(StageName::PrepareScript, vec![Op::Prepare]),
        get_sources: helper(
            StageName::GetSources,
            vec![script(&["mkdir -p \"$PWD\"; echo sources by a helper"])],
        ),
        clear_worktree: helper(StageName::ClearWorktree, vec![]),
        restore_cache: None,
        download_artifacts: None,
        steps: vec![stage(StageName::Step("script".into()), Target::Build, vec![script(lines)])],
        after_script: after.map(|text| stage(StageName::AfterScript, Target::Build, vec![script(&[text])])),
        archive_cache: ByResult::default(),
        upload_artifacts: ByResult::default(),
        cleanup: helper(
            StageName::CleanupFileVariables,
            vec![Op::Cleanup(Cleanup {
                file_variables: vec!["A_FILE".into()],
                project: ProjectCleanup::Keep,
                clean_git_config: false,
            })],
        ),
        limits: Limits {
            job: Duration::from_secs(600),
            script: None,
            after_script: LONG,
            prepare: None,
            get_sources: None,
            graceful_kill: LONG,
            force_kill: LONG,
        },
        after_script_ignore_errors: true,
        debug_trace: false,
        log: LogPlan {
            masks: vec![],
            token_prefixes: vec![],
            timestamps: false,
            limit: 1 << 20,
            sections: false,
        },
        failure_reasons: vec![],
        containers: None,
    }
}

struct Bench {
    state: tempfile::TempDir,
    plan: JobPlan,
    stop: Stop,
}

impl Bench {
    fn new(lines: &[&str], after: Option<&str>) -> Self {
        let state = tempfile::tempdir().expect("temp dir");
        let plan = plan(state.path(), lines, after);
        std::fs::create_dir_all(&plan.dirs.project).expect("project");
        Self { state, plan, stop: Stop::new() }
    }

    fn dir(&self) -> JobDir {
        JobDir::create(self.state.path(), "7-00000000").expect("job directory")
    }

    async fn run(&self) -> (JobOutcome, String) {
        let dir = self.dir();
        let journal = Mutex::new(Journal::open(&dir).expect("journal"));
        let settings = harrier_logpipe::Settings {
            masks: vec![],
            token_prefixes: vec![],
            timestamps: false,
            limit: 1 << 20,
        };
        let log = JobLog::open(&dir, &settings, Arc::new(SystemClock)).await.expect("log");
        let executor = ShellExecutor::new(None);
        let raw = dir.raw_log();
        let run = JobRun {
            plan: &self.plan,
            executor: &executor,
            journal: &journal,
            cx: cx(&dir, &raw),
            log: &log,
            stop: &self.stop,
            clock: &SystemClock,
            desk: None,
            on_stage: None,
        };
        let (outcome, teardown) = run_job(run).await;
        teardown.run().await;
        log.finish().await.expect("finished");
        (outcome, std::fs::read_to_string(dir.trace_log()).expect("log"))
    }
}

fn cx<'a>(dir: &'a JobDir, raw: &'a Path) -> OpenCx<'a> {
    OpenCx { job_dir: dir.path(), raw_log: raw, own_binary: Path::new(PROBE), die_with_parent: false }
}

fn said(dir: &JobDir) -> String {
    let mut reader = FrameReader::default();
    reader.feed(&std::fs::read(dir.raw_log()).expect("raw log"));
    let mut out = Vec::new();
    while let Some(frame) = reader.next_frame().expect("whole") {
        assert_ne!(frame.kind, FrameKind::Boundary);
        out.extend(frame.bytes);
    }
    String::from_utf8(out).expect("text")
}

fn runs(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

/// What stands behind `word` in a line of the log.
fn number(log: &str, word: &str) -> i32 {
    let line = log.lines().find_map(|line| line.strip_prefix(word)).expect("the line");
    line.trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_has_its_shell_its_variables_and_leaves_nothing_running() {
    let bench = Bench::new(
        &[
            "shopt -q login_shell; echo \"$COLOUR, $(cat \"$A_FILE\"), $PWD, $CI_JOB_STATUS, ${PATH:+path}\"",
            "setsid sleep 1000 >/dev/null 2>&1 & echo daemon $! | tee daemon",
        ],
        Some("echo after $CI_JOB_STATUS; kill -0 $(cut -c8- daemon) && echo still there"),
    );
    let (outcome, log) = bench.run().await;
    assert!(outcome.success, "{outcome:?}\n{log}");
    let project = bench.plan.dirs.project.display();
    for text in [
        "Using Shell (bash) executor...",
        "Running on ",
        "sources by a helper",
        &format!("red and blue, in a file, {project}, running, path"),
        "after success",
        "still there",
        "Job succeeded",
    ] {
        assert!(log.contains(text), "{text} is not in\n{log}");
    }
    assert!(!runs(number(&log, "daemon ")));
    assert!(!bench.plan.dirs.tmp.exists(), "file variables are gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_script_has_its_code() {
    let (outcome, log) = Bench::new(&["echo before; exit 42; echo behind"], None).run().await;
    assert_eq!(outcome.exit_code, Some(42));
    assert_eq!(outcome.message, "exit status 42");
    assert!(log.contains("Job failed: exit status 42"), "{log}");
    assert!(!log.contains("behind\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_the_script_and_after_script_runs() {
    let bench = Bench::new(&["touch ready; sleep 1000"], Some("echo after $CI_JOB_STATUS"));
    let (stop, ready) = (bench.stop.clone(), bench.plan.dirs.project.join("ready"));
    let puller = tokio::spawn(async move {
        while !ready.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stop.pull(StopReason::Canceled);
    });
    let (outcome, log) = bench.run().await;
    puller.await.expect("pulled");
    assert_eq!(outcome.reason, Some(harrier_base::FailureReason::JobCanceled));
    assert!(log.contains("after canceled"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harder_stop_does_not_wait_for_the_grace() {
    let bench = Bench::new(&["trap '' TERM; touch ready; while :; do sleep 1000; done"], None);
    let dir = bench.dir();
    let raw = dir.raw_log();
    let executor = ShellExecutor::new(None);
    let mut session = executor.open(&bench.plan, &cx(&dir, &raw)).await.expect("opened");
    let step = &bench.plan.steps[0];
    let start = StageStart { key: "2-step_script", stage: step, job_status: "running" };
    let mut running = session.start(start).await.expect("started");
    while !bench.plan.dirs.project.join("ready").exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let stop = Stop::new();
    stop.pull(StopReason::Canceled);
    let ladder = Ladder { graceful: Duration::from_secs(3600), force: LONG };
    let first = tokio::time::timeout(Duration::from_millis(100), running.wait(&stop, ladder)).await;
    assert!(first.is_err(), "it ignores the polite request");
    let hard = stop.clone();
    tokio::spawn(async move { hard.pull(StopReason::Aborted) });
    let exit =
        tokio::time::timeout(LONG, running.wait(&stop, ladder)).await.expect("in time").expect("ended");
    assert_eq!(exit, Exit { code: -1, text: "signal: killed".into() });
    session.close(LONG).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_told_twice_to_stop_does_not_use_up_its_grace() {
    let mut bench =
        Bench::new(&["trap '' TERM; touch ready; while :; do sleep 1000; done"], Some("echo after"));
    bench.plan.limits.graceful_kill = Duration::from_secs(3600);
    let (stop, project) = (bench.stop.clone(), bench.plan.dirs.project.clone());
    let puller = tokio::spawn(async move {
        while !project.join("ready").exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stop.pull(StopReason::Canceled);
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.pull(StopReason::Interrupted("SIGINT".into()));
    });
    let (outcome, log) = tokio::time::timeout(LONG, bench.run()).await.expect("in time");
    puller.await.expect("pulled");
    assert!(!outcome.success);
    assert!(!log.contains("after\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_process_takes_over() {
    let bench =
        Bench::new(&["echo x >>count; mkfifo f; touch ready; read line <f; echo got $line; exit 9"], None);
    let dir = bench.dir();
    let raw = dir.raw_log();
    let step = &bench.plan.steps[0];
    let start = || StageStart { key: "2-step_script", stage: step, job_status: "running" };
    let prepare =
        || StageStart { key: "0-prepare_script", stage: &bench.plan.prepare, job_status: "running" };
    let ladder = Ladder { graceful: LONG, force: LONG };

    let executor = ShellExecutor::new(None);
    let mut session = executor.open(&bench.plan, &cx(&dir, &raw)).await.expect("opened");
    let ticket = session.ticket();
    assert!(matches!(session.resume(prepare()).await, Ok(Resumed::NeverStarted)));
    let mut running = session.start(prepare()).await.expect("started");
    assert!(running.wait(&Stop::new(), ladder).await.expect("ended").ok());
    let words = std::fs::metadata(&raw).expect("raw log").len();
    assert!(said(&dir).starts_with("Running on "));
    drop(session.start(start()).await.expect("started"));
    drop(session);

    let executor = ShellExecutor::new(None);
    let mut session = executor.reopen(&bench.plan, &ticket, &cx(&dir, &raw)).await.expect("reopened");
    assert_eq!(session.ticket(), ticket);
    assert!(matches!(session.resume(prepare()).await, Ok(Resumed::Ended(exit)) if exit.ok()));
    assert_eq!(std::fs::metadata(&raw).expect("raw log").len(), words, "said once");
    let found = session.resume(start()).await.expect("looked");
    let mut running = match found {
        Resumed::Running(running) => running,
        // The supervisor had not begun when it was looked for.
        Resumed::NeverStarted => session.start(start()).await.expect("started"),
        Resumed::Ended(exit) => panic!("ended: {exit:?}"),
    };
    while !bench.plan.dirs.project.join("ready").exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    std::fs::write(bench.plan.dirs.project.join("f"), "hello\n").expect("released");
    let exit = running.wait(&Stop::new(), ladder).await.expect("ended");
    assert_eq!(exit, Exit { code: 9, text: "exit status 9".into() });
    assert!(said(&dir).ends_with("got hello\n"));
    assert!(matches!(session.resume(start()).await, Ok(Resumed::Ended(again)) if again == exit));
    let count = std::fs::read_to_string(bench.plan.dirs.project.join("count")).expect("count");
    assert_eq!(count, "x\n");
    session.close(LONG).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_of_a_stage_without_a_process_are_written_once_whenever_the_runner_died() {
    let bench = Bench::new(&[], None);
    let dir = bench.dir();
    let raw = dir.raw_log();
    let start = || StageStart { key: "0-prepare_script", stage: &bench.plan.prepare, job_status: "running" };
    let executor = ShellExecutor::new(None);
    let mut session = executor.open(&bench.plan, &cx(&dir, &raw)).await.expect("opened");
    let mut running = session.start(start()).await.expect("started");
    running.wait(&Stop::new(), Ladder { graceful: LONG, force: LONG }).await.expect("ended");
    let words = said(&dir);
    assert!(words.starts_with("Running on "));
    // As if it had died between keeping the result and writing the words.
    std::fs::File::options().write(true).open(&raw).expect("raw log").set_len(0).expect("emptied");
    for _ in 0..3 {
        assert!(matches!(session.resume(start()).await, Ok(Resumed::Ended(exit)) if exit.ok()));
        assert_eq!(said(&dir), words);
    }
}
