//! `harrier runner run` as a process with real scripts, against a fake GitLab: the jobs' results, `kill -9`, signals,
//! its own log.

use harrier_testkit::{
    FakeGitLab, FaultPlan, JobSpec, JobState, Options, RunnerProcess, TempHome, config_toml,
};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::Duration;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(300);
const BINARY: &str = env!("CARGO_BIN_EXE_harrier");

fn home(server: &FakeGitLab, concurrent: u32, extra: &str) -> TempHome {
    let home = TempHome::new();
    home.write_config(&config_toml(server, server.runner_token(), concurrent, &home, extra));
    home
}

/// Appends a line to a file of the home each time it runs.
fn counted(home: &TempHome, name: &str, more: &str) -> JobSpec {
    let file = home.path().join(name);
    JobSpec::script(&[&format!("echo ran >> {}", file.display()), "echo begins", more, "echo is done"])
}

fn runs(home: &TempHome, name: &str) -> usize {
    std::fs::read_to_string(home.path().join(name)).unwrap_or_default().lines().count()
}

async fn ended(runner: &mut RunnerProcess) -> Option<i32> {
    runner.wait(PATIENCE).await.and_then(|status| status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_run_and_the_log_tells_of_them() {
    let server = FakeGitLab::start().await.expect("a server");
    let home = home(&server, 4, "");
    let mut ids: Vec<i64> =
        (0..12).map(|n| server.add_job(counted(&home, &format!("r{n}"), "true"))).collect();
    ids.push(server.add_job(JobSpec::script(&["exit 3"])));
    let mut runner = RunnerProcess::start(Path::new(BINARY), &home);
    for (n, id) in ids.iter().enumerate() {
        let job = server.wait_final(*id, PATIENCE).await.expect("reported");
        if n == 12 {
            assert_eq!((job.state, job.exit_code), (JobState::Failed, Some(3)), "{}", job.log_text());
        } else {
            assert_eq!(job.state, JobState::Success, "{}", job.log_text());
            assert_eq!((job.job_output().contains("is done"), runs(&home, &format!("r{n}"))), (true, 1));
        }
    }
    runner.signal(Signal::SIGQUIT);
    assert_eq!(ended(&mut runner).await, Some(0), "{}", runner.log());
    let log = runner.log();
    let failed = log.lines().find(|l| l.starts_with("WARNING: Job failed")).expect("it is told");
    for part in [
        "exit_code=3",
        "failure_reason=script_failure",
        "job-status=failed",
        "runner_name=test",
        "error=exit status 3",
    ] {
        assert!(failed.contains(part), "{part} is missing in {failed:?}");
    }
    assert!(log.contains("Checking for jobs... received"), "{log}");
    assert!(!log.contains(server.runner_token()), "the token is in the log");
    assert_eq!(home.processes(), [0; 0]);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_runner_costs_no_job() {
    let options = Options { runner_restarts: true, ..Options::default() };
    let server = FakeGitLab::start_with(options).await.expect("a server");
    let home = home(&server, 4, "");
    let gate = home.path().join("gate");
    let wait = format!("while ! [ -e {} ]; do sleep 0.05; done", gate.display());
    let ids: Vec<i64> = (0..3).map(|n| server.add_job(counted(&home, &format!("r{n}"), &wait))).collect();
    let runner = RunnerProcess::start(Path::new(BINARY), &home);
    for id in &ids {
        server.wait_log(*id, "begins", PATIENCE).await.expect("it runs");
    }
    runner.kill_9();
    std::fs::write(&gate, "").expect("the home is writable");
    let mut runner = RunnerProcess::start(Path::new(BINARY), &home);
    for (n, id) in ids.iter().enumerate() {
        let job = server.wait_final(*id, PATIENCE).await.expect("reported");
        assert_eq!(job.state, JobState::Success, "{}", job.log_text());
        assert_eq!(job.job_output().matches("begins\n").count(), 1, "{}", job.log_text());
        assert!(job.job_output().contains("is done\n"), "{}", job.log_text());
        assert_eq!(runs(&home, &format!("r{n}")), 1, "its script ran once");
        assert_eq!(job.puts.iter().filter(|put| put.state != "running").count(), 1, "reported once");
    }
    runner.signal(Signal::SIGQUIT);
    assert_eq!(ended(&mut runner).await, Some(0), "{}", runner.log());
    assert_eq!(home.processes(), [0; 0]);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_ends_its_jobs() {
    let server = FakeGitLab::start().await.expect("a server");
    let home = home(&server, 2, "");
    let id = server.add_job(JobSpec::script(&["echo begins", "sleep 1000"]));
    let mut runner = RunnerProcess::start(Path::new(BINARY), &home);
    server.wait_log(id, "begins", PATIENCE).await.expect("it runs");
    runner.signal(Signal::SIGTERM);
    assert_eq!(ended(&mut runner).await, Some(0), "{}", runner.log());
    let job = server.job(id).expect("there");
    assert_eq!((job.state, job.failure_reason.as_deref()), (JobState::Failed, Some("runner_interrupted")));
    assert_eq!(home.processes(), [0; 0]);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_of_all_answers_may_fail() {
    let server = FakeGitLab::start().await.expect("a server");
    server.set_faults(FaultPlan::everything(5, 0.3));
    let home = home(&server, 8, "");
    let ids: Vec<i64> = (0..16).map(|n| server.add_job(counted(&home, &format!("r{n}"), "true"))).collect();
    let mut runner = RunnerProcess::start(Path::new(BINARY), &home);
    for (n, id) in ids.iter().enumerate() {
        let job = server.wait_final(*id, PATIENCE).await.expect("reported");
        assert_eq!(job.state, JobState::Success, "{}", job.log_text());
        assert_eq!(runs(&home, &format!("r{n}")), 1, "its script ran once");
    }
    assert!(server.faults_fired().values().sum::<u64>() > 10, "{:?}", server.faults_fired());
    runner.signal(Signal::SIGQUIT);
    assert_eq!(ended(&mut runner).await, Some(0), "{}", runner.log());
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_every_job_ends_right() {
    let options = Options { runner_restarts: true, ..Options::default() };
    let server = FakeGitLab::start_with(options).await.expect("a server");
    let home = home(&server, 4, "");
    let text = "for n in $(seq 30); do echo line $n; sleep 0.01; done";
    let ids: Vec<i64> = (0..12).map(|n| server.add_job(counted(&home, &format!("r{n}"), text))).collect();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..12 {
        let runner = RunnerProcess::start(Path::new(BINARY), &home);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Any moment is as good as any other: nothing depends on what has been reached.
        tokio::time::sleep(Duration::from_millis(20 + (seed >> 33) % 500)).await;
        runner.kill_9();
    }
    let mut runner = RunnerProcess::start(Path::new(BINARY), &home);
    // One more, so that the last runner has surely started when it is told to end.
    let last = server.add_job(JobSpec::script(&["true"]));
    server.wait_final(last, PATIENCE).await.expect("reported");
    let lines: String = (1..=30).map(|n| format!("line {n}\n")).collect();
    for (n, id) in ids.iter().enumerate() {
        let job = server.wait_final(*id, PATIENCE).await.expect("reported");
        assert_eq!(job.state, JobState::Success, "{}\n{}", job.log_text(), runner.log());
        assert_eq!(runs(&home, &format!("r{n}")), 1, "its script ran once");
        assert!(job.job_output().contains(&lines), "{}", job.log_text());
        assert_eq!(job.log_text().matches("Running with").count(), 1, "{}", job.log_text());
    }
    runner.signal(Signal::SIGQUIT);
    assert_eq!(ended(&mut runner).await, Some(0), "{}", runner.log());
    assert_eq!(home.processes(), [0; 0]);
    server.assert_no_slips();
}
