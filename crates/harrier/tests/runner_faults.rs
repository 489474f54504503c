//! What fails around a job, with the real binary: the server's answers, the server, and the runner itself. Jobs end
//! right, logs arrive byte for byte, each script runs once.

mod rig;

use harrier_testkit::{Fault, FaultPlan, JobRecord, JobSpec, JobState, Options};
use rig::Rig;
use std::time::Duration;

/// A script that marks its run and prints known lines, slowly enough to be interrupted when `pause` is set.
fn script(rig: &Rig, pause: &str) -> Vec<String> {
    vec![
        format!("echo \"$CI_JOB_ID\" >> {}", rig.marks().display()),
        format!("for n in $(seq 30); do echo \"line $n of $CI_JOB_ID\"; {pause}; done"),
    ]
}

fn spec(rig: &Rig, pause: &str) -> JobSpec {
    JobSpec { script: script(rig, pause), ..rig.job(&[]) }
}

/// Waits after its third line until its gate is there.
fn gated(rig: &Rig) -> JobSpec {
    let gates = rig.home.path().join("gate");
    spec(rig, &format!("[ $n != 3 ] || until [ -e {}-$CI_JOB_ID ]; do sleep 0.05; done", gates.display()))
}

fn open_gate(rig: &Rig, job: i64) {
    std::fs::write(rig.home.path().join(format!("gate-{job}")), "").expect("written");
}

/// Waits until the script of a job has begun.
async fn begun(rig: &Rig, job: i64) {
    let job = job.to_string();
    rig::until("the script begins", || rig.marked().contains(&job)).await;
}

/// The lines the script printed, all and in order and nothing between them.
fn assert_log_is_whole(job: &JobRecord, context: &str) {
    let wanted: String = (1..=30).map(|n| format!("line {n} of {}\n", job.id)).collect();
    let output = job.job_output();
    let found = output.find(&wanted);
    assert!(found.is_some(), "{context}: job {} has another log:\n{}", job.id, job.log_text());
    assert_eq!(output.matches("line 7 of").count(), 1, "{context}: job {} said it twice", job.id);
    assert!(job.log_text().contains("Job succeeded"), "{context}: {}", job.log_text());
}

#[tokio::test]
async fn with_thirty_percent_of_all_answers_failing_every_job_ends_right() {
    const SEED: u64 = 20_261_124;
    let options = Options { reservation: Duration::from_secs(10), ..Options::default() };
    let rig = Rig::with(options, 12).await;
    let ids: Vec<i64> = (0..100)
        .map(|n| {
            let mut spec = spec(&rig, ":");
            if n % 10 == 0 {
                spec.script.push("echo content > file.txt".into());
                spec.artifacts = vec![JobSpec::archive("some", &["file.txt"], "on_success")];
            }
            rig.server.add_job(spec)
        })
        .collect();
    rig.server.set_faults(FaultPlan::everything(SEED, 0.3));
    let _runner = rig.start();
    for id in &ids {
        let job = rig.end_of(*id).await;
        let context = format!("seed {SEED}");
        assert_eq!(job.state, JobState::Success, "{context}: {}\n{}", job.log_text(), rig.runner_log());
        assert_log_is_whole(&job, &context);
        assert_eq!(job.artifacts.len(), usize::from((id - ids[0]) % 10 == 0), "{context}: job {id}");
    }
    let wanted: Vec<String> = ids.iter().map(i64::to_string).collect();
    assert_eq!(rig.marked(), wanted, "seed {SEED}: each script runs once");
    let fired = rig.server.faults_fired();
    for fault in [
        Fault::ServerError,
        Fault::TooMany,
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::Torn,
        Fault::Slow,
        Fault::RangeLie,
        Fault::Pending,
        Fault::TraceInvalid,
        Fault::Conflict,
    ] {
        assert!(fired.contains_key(&fault), "seed {SEED}: {fault:?} did not fire: {fired:?}");
    }
    rig.server.assert_no_slips();
}

#[tokio::test]
async fn a_server_that_is_away_for_a_while_misses_nothing() {
    let rig = Rig::new().await;
    let _runner = rig.start();
    let ids: Vec<i64> = (0..4).map(|_| rig.server.add_job(gated(&rig))).collect();
    for id in &ids {
        begun(&rig, *id).await;
    }
    rig.server.go_down().await;
    // Two of the scripts end while nobody is there to hear of it.
    for id in &ids[..2] {
        open_gate(&rig, *id);
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    rig.server.come_back().await.expect("the port is still ours");
    for id in &ids[2..] {
        open_gate(&rig, *id);
    }
    for id in &ids {
        let job = rig.end_of(*id).await;
        assert_eq!(job.state, JobState::Success, "{}", job.log_text());
        assert_log_is_whole(&job, "after the server was away");
    }
    assert_eq!(rig.marked().len(), ids.len());
    rig.server.assert_no_slips();
}

/// Rounds of `kill -9`, shared among lanes that run side by side.
const LANES: u64 = 5;
const ROUNDS: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_loses_and_repeats_nothing() {
    let lanes: Vec<_> = (0..LANES).map(|lane| tokio::spawn(kill_rounds(lane))).collect();
    for lane in lanes {
        lane.await.expect("a lane's own panic tells");
    }
}

/// Every second kill meets both scripts in their middle; what the others meet is up to the machine, and any of it must be
/// survived.
async fn kill_rounds(lane: u64) {
    let options =
        Options { runner_restarts: true, reservation: Duration::from_secs(3), ..Options::default() };
    let rig = Rig::with(options, 2).await;
    let mut runner = rig.start();
    for round in 0..ROUNDS {
        let context = format!("lane {lane}, round {round}");
        let moment = Duration::from_millis(number(lane * 1000 + round) % 1200);
        let ids = if round % 2 == 0 {
            let ids = [rig.server.add_job(gated(&rig)), rig.server.add_job(gated(&rig))];
            for id in ids {
                begun(&rig, id).await;
            }
            ids
        } else {
            let ids =
                [rig.server.add_job(spec(&rig, "sleep 0.01")), rig.server.add_job(spec(&rig, "sleep 0.02"))];
            tokio::time::sleep(moment).await;
            ids
        };
        runner.kill_9();
        runner = rig.start();
        for id in ids {
            open_gate(&rig, id);
            let job = rig.end_of(id).await;
            assert_eq!(job.state, JobState::Success, "{context}: {}\n{}", job.log_text(), rig.runner_log());
            assert_log_is_whole(&job, &context);
            let marks = rig.marked().iter().filter(|mark| **mark == id.to_string()).count();
            assert_eq!(marks, 1, "{context}: job {id} ran {marks} times, killed after {moment:?}");
        }
    }
    rig.server.assert_no_slips();
}

/// A well spread number from a seed.
fn number(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
