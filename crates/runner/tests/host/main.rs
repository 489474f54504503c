//! The host against a real HTTP server that checks the contract, with an executor that starts no processes.

mod fake;

use fake::{Fake, World};
use harrier_runner::*;
use harrier_testkit::{
    FakeGitLab, Fault, FaultPlan, JobSpec, JobState, On, Options, TempHome, Var, config_toml,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// One life of a runner, in a runtime of its own so that it can die as a process does.
struct Life {
    runtime: Option<Runtime>,
    signals: mpsc::Sender<HostSignal>,
    service: JoinHandle<Result<Ended, HostError>>,
}

impl Life {
    fn begin(home: &TempHome, world: &Arc<World>, boot_id: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (signals, listen) = mpsc::channel(4);
        let options = HostOptions {
            source: Source::File(home.config()),
            program: Program {
                name: "gitlab-runner".into(),
                version: "19.4.0".into(),
                revision: "test".into(),
                user_agent: "gitlab-runner 19.4.0 (main; go1.25.1; linux/amd64)".into(),
            },
            executors: vec![Fake::executor(world)],
            own_binary: "/proc/self/exe".into(),
            boot_id: boot_id.into(),
            state_dir: state_dir(&home.config(), None),
            working_directory: home.path().to_owned(),
            listen_address: None,
            on_config: None,
            log_counts: Arc::default(),
        };
        let service = runtime.spawn(serve(options, listen));
        Self { runtime: Some(runtime), signals, service }
    }

    async fn tell(&self, signal: HostSignal) {
        self.signals.send(signal).await.expect("the service listens");
    }

    async fn end(self) -> Ended {
        self.end_with(HostSignal::Drain).await
    }

    async fn end_with(mut self, signal: HostSignal) -> Ended {
        self.tell(signal).await;
        let ended = (&mut self.service).await.expect("no panic").expect("it had started");
        self.die();
        ended
    }

    /// As `kill -9`: every task is gone.
    fn die(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits until the tasks are dropped, which frees the lock on the state.
            std::thread::scope(|s| s.spawn(|| runtime.shutdown_timeout(PATIENCE)).join()).expect("no panic");
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn act(what: &str) -> JobSpec {
    JobSpec { variables: vec![Var::new("ACT", what)], ..JobSpec::script(&["true"]) }
}

fn home(server: &FakeGitLab, concurrent: u32, extra: &str) -> TempHome {
    let home = TempHome::new();
    home.write_config(&config_toml(server, server.runner_token(), concurrent, &home, extra));
    home
}

fn left_jobs(home: &TempHome) -> Vec<String> {
    let jobs = state_dir(&home.config(), None).join("jobs");
    let Ok(entries) = std::fs::read_dir(jobs) else { return Vec::new() };
    entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_drained_without_waiting_for_the_check_interval() {
    let server = FakeGitLab::start().await.expect("a server");
    let home = TempHome::new();
    let slow = config_toml(&server, server.runner_token(), 4, &home, "")
        .replace("check_interval = 1", "check_interval = 100000");
    home.write_config(&slow);
    let ids: Vec<i64> = (0..40).map(|_| server.add_job(act("ok"))).collect();
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    for id in ids {
        let job = server.wait_final(id, PATIENCE).await.expect("reported");
        assert_eq!(job.state, JobState::Success);
        assert!(job.job_output().contains(&format!("line 2 of job {id}")), "{}", job.log_text());
        assert!(job.log_text().ends_with("Job succeeded\u{1b}[0;m\n"), "{}", job.log_text());
        assert_eq!((job.times_handed_out, world.ran(id)), (1, 1));
    }
    assert!(world.at_once.lock().expect("lock").1 <= 4);
    assert_eq!(life.end().await, Ended::Gracefully);
    assert_eq!(left_jobs(&home), [""; 0]);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_panics_are_each_jobs_own() {
    let server = FakeGitLab::start().await.expect("a server");
    let home = home(&server, 3, "");
    let panics = server.add_job(act("panic"));
    let fails = server.add_job(act("fail"));
    let big = server.add_job(act("big"));
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    let job = server.wait_final(fails, PATIENCE).await.expect("reported");
    assert_eq!(
        (job.state, job.failure_reason.as_deref(), job.exit_code),
        (JobState::Failed, Some("script_failure"), Some(7))
    );
    let job = server.wait_final(panics, PATIENCE).await.expect("reported");
    assert_eq!((job.state, job.failure_reason.as_deref()), (JobState::Failed, Some("runner_system_failure")));
    assert!(
        job.log_text().contains("Job failed (system failure): Harrier itself failed"),
        "{}",
        job.log_text()
    );
    let job = server.wait_final(big, PATIENCE).await.expect("reported");
    assert_eq!(job.job_output().lines().count(), 40_000);
    assert_eq!(life.end().await, Ended::Gracefully);
    assert_eq!(left_jobs(&home), [""; 0]);
    assert!(
        world.closed.lock().expect("lock").contains(&panics),
        "the session of the panicked job was closed"
    );
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_are_obeyed() {
    let server = FakeGitLab::start().await.expect("a server");
    let home = home(&server, 2, "");
    // Silent jobs would notice only with their touch, after 30 s.
    let (soft, hard) = (server.add_job(act("talk")), server.add_job(act("talk")));
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    for id in [soft, hard] {
        server.wait_log(id, "line 2", PATIENCE).await.expect("it runs");
    }
    server.cancel(soft);
    server.force_cancel(hard);
    let job = server.wait_final(soft, PATIENCE).await.expect("reported");
    assert_eq!(job.state, JobState::Canceled);
    assert!(job.log_text().contains("script canceled externally (UI, API)"), "{}", job.log_text());
    assert_eq!(server.job(hard).expect("there").state, JobState::Canceled);
    // The killed job's slot is free again.
    let next = [server.add_job(act("ok")), server.add_job(act("ok"))];
    for id in next {
        server.wait_final(id, PATIENCE).await.expect("reported");
    }
    assert_eq!(life.end().await, Ended::Gracefully);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_survive_the_runner() {
    let options = Options { runner_restarts: true, ..Options::default() };
    let server = FakeGitLab::start_with(options).await.expect("a server");
    let home = home(&server, 2, "");
    let ids = [server.add_job(act("wait")), server.add_job(act("wait"))];
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    for id in ids {
        server.wait_log(id, "line 2", PATIENCE).await.expect("it runs");
    }
    life.die();
    assert_eq!(left_jobs(&home).len(), 2);
    let second = Life::begin(&home, &world, "boot");
    world.release();
    for id in ids {
        let job = server.wait_final(id, PATIENCE).await.expect("reported");
        assert_eq!((job.state, world.ran(id)), (JobState::Success, 1));
        let finals = job.puts.iter().filter(|put| put.state != "running").count();
        assert_eq!(finals, 1, "reported once");
        assert_eq!(job.log_text().matches("line 1 of job").count(), 1, "{}", job.log_text());
        assert_eq!(job.log_text().matches("Running with").count(), 1, "{}", job.log_text());
    }
    assert_eq!(second.end().await, Ended::Gracefully);
    assert_eq!(left_jobs(&home), [""; 0]);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_machine_is_reported_at_once() {
    let options = Options { runner_restarts: true, ..Options::default() };
    let server = FakeGitLab::start_with(options).await.expect("a server");
    let home = home(&server, 2, "");
    let id = server.add_job(act("wait"));
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    server.wait_log(id, "line 2", PATIENCE).await.expect("it runs");
    life.die();
    let second = Life::begin(&home, &world, "another boot");
    let job = server.wait_final(id, PATIENCE).await.expect("reported");
    assert_eq!((job.state, job.failure_reason.as_deref()), (JobState::Failed, Some("runner_system_failure")));
    assert!(job.log_text().contains("line 2 of job") && job.log_text().contains("the machine was restarted"));
    assert_eq!(second.end().await, Ended::Gracefully);
    assert_eq!((left_jobs(&home).len(), world.ran(id)), (0, 1));
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_the_jobs_end_as_interrupted() {
    let server = FakeGitLab::start().await.expect("a server");
    let home = home(&server, 2, "");
    let id = server.add_job(act("wait"));
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    server.wait_state(id, JobState::Running, PATIENCE).await.expect("it runs");
    assert_eq!(life.end_with(HostSignal::Stop("terminated")).await, Ended::Stopped);
    let job = server.job(id).expect("there");
    assert_eq!((job.state, job.failure_reason.as_deref()), (JobState::Failed, Some("runner_interrupted")));
    assert!(job.log_text().contains("aborted: terminated"), "{}", job.log_text());
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_and_the_next_start_goes_on() {
    let options = Options { runner_restarts: true, ..Options::default() };
    let server = FakeGitLab::start_with(options).await.expect("a server");
    let home = home(&server, 2, "");
    let id = server.add_job(act("ok"));
    let world = World::new();
    // The result cannot be reported.
    server.set_faults(FaultPlan {
        seed: 1,
        rate: 1.0,
        ways: vec![(Fault::DropBefore, 1)],
        on: vec![On::Final],
    });
    let life = Life::begin(&home, &world, "boot");
    server.wait_log(id, "Job succeeded", PATIENCE).await.expect("it is through");
    life.tell(HostSignal::Stop("interrupt")).await;
    assert_eq!(life.end_with(HostSignal::Stop("interrupt")).await, Ended::Left(1));
    assert_eq!(server.job(id).expect("there").state, JobState::Running);
    server.set_faults(FaultPlan::none());
    let second = Life::begin(&home, &world, "another boot");
    let job = server.wait_final(id, PATIENCE).await.expect("reported");
    assert_eq!(
        (job.state, world.ran(id)),
        (JobState::Success, 1),
        "the verdict stands, whatever the machine did"
    );
    assert_eq!(second.end().await, Ended::Gracefully);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_of_all_answers_may_fail() {
    let server = FakeGitLab::start().await.expect("a server");
    server.set_faults(FaultPlan::everything(11, 0.3));
    let home = home(&server, 8, "");
    let ids: Vec<i64> = (0..24).map(|_| server.add_job(act("ok"))).collect();
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    for id in ids {
        let job = server.wait_final(id, PATIENCE).await.expect("reported");
        assert_eq!(job.state, JobState::Success, "{}", job.log_text());
        assert_eq!(world.ran(id), 1);
        assert_eq!(
            job.job_output(),
            (0..3).map(|n| format!("line {n} of job {id} and more of it\n")).collect::<String>()
        );
    }
    assert!(server.faults_fired().values().sum::<u64>() > 10, "{:?}", server.faults_fired());
    assert_eq!(life.end().await, Ended::Gracefully);
    assert_eq!(left_jobs(&home), [""; 0]);
    server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_read_again_and_a_broken_one_is_not_used() {
    let server = FakeGitLab::start().await.expect("a server");
    let other = server.add_runner();
    let home = home(&server, 2, "");
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    let id = server.add_job(act("ok"));
    server.wait_final(id, PATIENCE).await.expect("it has started");
    home.write_config("concurrent = \n");
    life.tell(HostSignal::Reload).await;
    let id = server.add_job(act("ok"));
    server.wait_final(id, PATIENCE).await.expect("the old configuration stays");
    server.remove_runner(server.runner_token());
    home.write_config(&config_toml(&server, &other, 2, &home, ""));
    let id = server.add_job(act("ok"));
    // Noticed without a signal.
    server.wait_final(id, PATIENCE).await.expect("the new runner is asked");
    assert_eq!(life.end().await, Ended::Gracefully);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_replaced_when_three_quarters_of_its_life_are_over() {
    let options = Options { token_lifetime: Some(1_000_000), ..Options::default() };
    let server = FakeGitLab::start_with(options).await.expect("a server");
    let old = server.runner_token().to_owned();
    let home = home(
        &server,
        1,
        "  token_obtained_at = 2020-01-01T00:00:00Z\n  token_expires_at = 2020-02-01T00:00:00Z\n  # a comment\n",
    );
    let world = World::new();
    let life = Life::begin(&home, &world, "boot");
    let text = loop {
        let text = std::fs::read_to_string(home.config()).expect("there");
        if !text.contains(&old) {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(text.contains("# a comment") && !text.contains("2020-02-01"), "{text}");
    assert!(!server.has_runner(&old));
    let id = server.add_job(act("ok"));
    server.wait_final(id, PATIENCE).await.expect("the new token is used");
    assert_eq!(life.end().await, Ended::Gracefully);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runners_never_share_a_state() {
    let server = FakeGitLab::start().await.expect("a server");
    let home = home(&server, 1, "");
    let world = World::new();
    let first = Life::begin(&home, &world, "boot");
    let id = server.add_job(act("ok"));
    server.wait_final(id, PATIENCE).await.expect("the first one works");
    let mut second = Life::begin(&home, &world, "boot");
    let error = (&mut second.service).await.expect("no panic").expect_err("in use");
    assert!(matches!(error, HostError::State(_)), "{error}");
    second.die();
    first.end().await;
}
