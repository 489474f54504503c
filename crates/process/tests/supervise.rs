//! The supervisor with real programs, and with everybody killed at bad moments.

use harrier_logpipe::{Frame, FrameKind, FrameReader, MAX_FRAME};
use harrier_process::{
    Exit, Lost, Reattach, Spec, StartError, StopFailed, Supervised, reattach, start, stop_ladder, sweep,
};
use harrier_store::Tail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const PROBE: &str = env!("CARGO_BIN_EXE_harrier-process-probe");
const LONG: Duration = Duration::from_secs(60);
const MARK: &str = "test-mark";

struct Job {
    dir: tempfile::TempDir,
    mark: String,
}

impl Job {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        // Tests run side by side, and a sweep must not reach another's processes.
        let mark = format!("{MARK}-{}", dir.path().file_name().expect("a name").to_string_lossy());
        fs::write(dir.path().join("raw.log"), "").expect("raw log");
        Self { dir, mark }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn spec(&self, key: &str, script: &str) -> Spec {
        Spec {
            dir: self.path().to_owned(),
            key: key.into(),
            program: "bash".into(),
            args: vec![],
            env: vec![],
            unset: vec![],
            clear_env: false,
            mark: self.mark.clone(),
            cwd: self.path().to_owned(),
            stdin: script.into(),
            raw_log: self.path().join("raw.log"),
            stream: 1,
            die_with_parent: false,
            supervisor: PROBE.into(),
        }
    }

    async fn start(&self, key: &str, script: &str) -> Supervised {
        start(self.spec(key, script)).await.expect("started")
    }

    async fn run(&self, key: &str, script: &str) -> Exit {
        self.start(key, script).await.wait().await.expect("ended")
    }

    fn frames(&self) -> Vec<Frame> {
        let mut reader = FrameReader::default();
        reader.feed(&fs::read(self.path().join("raw.log")).expect("raw log"));
        std::iter::from_fn(|| reader.next_frame().expect("whole frames")).collect()
    }

    fn output(&self, kind: FrameKind) -> String {
        let bytes: Vec<u8> =
            self.frames().into_iter().filter(|f| f.kind == kind).flat_map(|f| f.bytes).collect();
        String::from_utf8(bytes).expect("text")
    }

    fn stdout(&self) -> String {
        self.output(FrameKind::Stdout)
    }

    /// Waits until the program has said `word`.
    async fn says(&self, word: &str) {
        let mut tail = Tail::frames(&self.path().join("raw.log")).await.expect("tail");
        let mut bytes = Vec::new();
        while !self.stdout().contains(word) {
            tokio::time::timeout(LONG, tail.more(&mut bytes)).await.expect("in time").expect("more");
        }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    fn left_running(&self) -> usize {
        harrier_process::sweep_marked(&self.mark).killed
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        harrier_process::sweep_marked(&self.mark);
    }
}

fn runs(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

/// Waits until none of the processes whose ids stand in `text` runs.
async fn gone(text: &str) {
    for pid in text.split_whitespace().filter_map(|word| word.parse().ok()) {
        let end = Instant::now() + LONG;
        while runs(pid) {
            assert!(Instant::now() < end, "{pid} still runs");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn output_is_framed_in_order_with_times() {
    let job = Job::new();
    let before = harrier_base::Clock::now(&harrier_base::SystemClock);
    let exit = job.run("1-x", "echo one; echo two; printf three; echo oops >&2").await;
    let after = harrier_base::Clock::now(&harrier_base::SystemClock);
    assert!(exit.ok() && !exit.leftovers && exit.output_lost == 0, "{exit:?}");
    assert_eq!(job.stdout(), "one\ntwo\nthree");
    assert_eq!(job.output(FrameKind::Stderr), "oops\n");
    for frame in job.frames() {
        assert!(before <= frame.time && frame.time <= after);
        assert_eq!(frame.stream, 1);
    }
}

#[tokio::test]
async fn long_output_is_split_and_memory_stays_flat() {
    let job = Job::new();
    let script = "head -c 50000000 /dev/zero | tr '\\0' x; grep VmHWM /proc/$PPID/status >&2";
    assert!(job.run("1-x", script).await.ok());
    let frames = job.frames();
    assert!(frames.iter().all(|f| f.bytes.len() <= MAX_FRAME));
    let out: usize = frames.iter().filter(|f| f.kind == FrameKind::Stdout).map(|f| f.bytes.len()).sum();
    assert_eq!(out, 50_000_000);
    let peak = job.output(FrameKind::Stderr);
    let kib: u64 = peak.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    assert!(kib < 20_000, "the supervisor took {kib} KiB");
}

#[tokio::test]
async fn a_full_log_drops_output_but_not_the_script() {
    let job = Job::new();
    fs::write(job.path().join("full"), "").expect("mark");
    assert!(job.run("1-x", "head -c 5000000 /dev/zero; touch done").await.ok());
    assert_eq!(job.frames(), vec![]);
    assert!(job.path().join("done").exists());
}

#[tokio::test]
async fn a_full_disk_loses_output_but_not_the_script() {
    let job = Job::new();
    let spec = Spec {
        raw_log: "/dev/full".into(),
        ..job.spec("1-x", "head -c 5000000 /dev/zero; touch done; exit 3")
    };
    let exit = start(spec).await.expect("started").wait().await.expect("ended");
    assert_eq!(exit.code, Some(3));
    assert_eq!(exit.output_lost, 5_000_000);
    let why = exit.output_error.expect("a reason");
    assert!(why.contains("disk is full") && why.contains("/dev/full"), "{why}");
    assert!(job.path().join("done").exists());
}

#[tokio::test]
async fn ends_are_told_apart() {
    let job = Job::new();
    for (key, script, words) in [
        ("1-x", "exit 3", "exit status 3"),
        ("2-x", "kill -9 $$", "signal: killed"),
        ("3-x", "kill -TERM $$", "signal: terminated"),
        ("4-x", "exit 0", "exit status 0"),
    ] {
        let exit = job.run(key, script).await;
        assert_eq!(exit.to_string(), words);
        assert!(!exit.leftovers);
    }
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let job = Job::new();
    let spec = Spec { program: "no-such-shell".into(), ..job.spec("1-x", "") };
    let exit = start(spec).await.expect("started").wait().await.expect("ended");
    assert!(exit.to_string().contains("no-such-shell: no such program"), "{exit}");
    assert_eq!((exit.code, exit.signal, exit.ok()), (None, None, false));
    let spec = Spec { cwd: job.path().join("not/here"), ..job.spec("2-x", "") };
    let exit = start(spec).await.expect("started").wait().await.expect("ended");
    assert!(exit.to_string().contains("not/here is not there"), "{exit}");
    let spec = Spec { supervisor: "/no/such/binary".into(), ..job.spec("3-x", "") };
    assert!(matches!(start(spec).await, Err(StartError::System { .. })));
    assert!(matches!(start(job.spec("a/b", "")).await, Err(StartError::BadKey { .. })));
    let spec = Spec { dir: job.path().join("nowhere"), ..job.spec("4-x", "") };
    let lost = start(spec).await.expect("started").wait().await.expect_err("no directory").to_string();
    assert!(lost.contains("not started") && lost.contains("nowhere"), "{lost}");
}

#[tokio::test]
async fn the_environment_is_inherited_without_what_is_unset() {
    let job = Job::new();
    let spec = Spec {
        unset: vec!["HOME".into()],
        env: vec![("A_VARIABLE".into(), "a value".into())],
        ..job.spec("1-x", "echo \"[$HOME][$A_VARIABLE][${PATH:+path}][$HARRIER_JOB_MARK]\"; tr '\\0' '\\n' </proc/$PPID/environ | grep -c ^HOME=")
    };
    start(spec).await.expect("started").wait().await.expect("ended");
    assert_eq!(job.stdout(), format!("[][a value][path][{}]\n0\n", job.mark));
}

#[tokio::test]
async fn the_program_has_a_group_of_its_own_and_default_signals() {
    let job = Job::new();
    job.run("1-x", "echo $$ $(ps -o pgid= -p $$); grep -E '^Sig(Blk|Ign)' /proc/self/status").await;
    let out = job.stdout();
    let mut words = out.split_whitespace();
    assert_eq!(words.next(), words.next());
    // bash itself ignores nothing here; SIGPIPE must be as it was.
    assert!(out.contains("SigBlk:\t0000000000000000"), "{out}");
    let ignored = out.lines().find_map(|l| l.strip_prefix("SigIgn:\t")).expect("a line");
    let ignored = u64::from_str_radix(ignored, 16).expect("hex");
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE] {
        assert_eq!(ignored & (1 << (signal as i32 - 1)), 0, "{signal} is ignored");
    }
}

#[tokio::test]
async fn a_background_process_with_open_output_is_waited_for() {
    let job = Job::new();
    let mut program = job.start("1-x", "mkfifo f; (read x < f; echo late) & echo $! early; exit 4").await;
    job.says("early").await;
    fs::write(job.path().join("f"), "go\n").expect("released");
    let exit = program.wait().await.expect("ended");
    assert_eq!(exit.code, Some(4));
    assert!(job.stdout().ends_with("early\nlate\n"));
}

#[tokio::test]
async fn leftovers_live_on_until_they_are_swept() {
    let job = Job::new();
    let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!
                  env -i setsid sleep 1000 >/dev/null 2>&1 & echo $!";
    let exit = job.run("1-x", script).await;
    assert!(exit.ok() && exit.leftovers);
    let pids: Vec<i32> = job.stdout().lines().map(|l| l.parse().expect("a number")).collect();
    assert_eq!(pids.len(), 2);
    assert!(job.run("2-x", "true").await.ok());
    assert!(pids.iter().all(|pid| runs(*pid)), "a later stage still has them");
    let swept = sweep(job.path(), &job.mark);
    assert_eq!((swept.killed, swept.left), (2, vec![]));
    assert!(pids.iter().all(|pid| !runs(*pid)));
    assert_eq!(sweep(job.path(), &job.mark).killed, 0);
}

#[tokio::test]
async fn marks_of_jobs_within_jobs_add_up() {
    let job = Job::new();
    let supervisor = wrapper(&job, "HARRIER_JOB_MARK=outer");
    let spec = Spec { supervisor, ..job.spec("1-x", "echo $HARRIER_JOB_MARK") };
    start(spec).await.expect("started").wait().await.expect("ended");
    assert_eq!(job.stdout(), format!("outer,{}\n", job.mark));
}

#[tokio::test]
async fn a_trap_may_end_it_in_time() {
    let job = Job::new();
    let mut program = job.start("1-x", "trap 'echo bye; exit 7' TERM; echo ready; sleep 1000 & wait").await;
    job.says("ready").await;
    let exit = stop_ladder(&mut program, LONG, LONG, pending()).await.expect("stopped");
    assert_eq!(exit.code, Some(7));
    assert_eq!(job.stdout(), "ready\nbye\n");
    assert_eq!(job.left_running(), 0);
}

#[tokio::test]
async fn who_left_the_group_with_the_output_open_is_asked_too() {
    let job = Job::new();
    let script = "setsid bash -c 'echo $$; exec sleep 1000' & echo ready; wait";
    let mut program = job.start("1-x", script).await;
    job.says("ready").await;
    let exit =
        stop_ladder(&mut program, LONG, Duration::ZERO, pending()).await.expect("stopped in the grace");
    assert_eq!(exit.to_string(), "signal: terminated");
    gone(&job.stdout()).await;
}

#[tokio::test]
async fn who_ignores_the_request_is_killed_wherever_he_hides() {
    for hurry in [false, true] {
        let job = Job::new();
        let script =
            "trap '' TERM; setsid env -i bash -c 'echo $$; echo hidden; while :; do sleep 1000; done' &
                      while :; do sleep 1000; done & echo ready; wait";
        let mut program = job.start("1-x", script).await;
        job.says("ready").await;
        job.says("hidden").await;
        let graceful = if hurry { LONG } else { Duration::from_millis(30) };
        let stopped = if hurry {
            stop_ladder(&mut program, graceful, LONG, std::future::ready(())).await
        } else {
            stop_ladder(&mut program, graceful, LONG, pending()).await
        };
        let exit = stopped.expect("stopped");
        assert_eq!(exit.to_string(), "signal: killed");
        assert!(!exit.leftovers);
        assert_eq!(job.left_running(), 0);
        for pid in job.stdout().lines().filter_map(|l| l.parse().ok()) {
            assert!(!runs(pid), "{pid} still runs");
        }
    }
}

#[tokio::test]
async fn stopping_at_once_never_hangs() {
    let job = Job::new();
    for round in 0..30 {
        let mut program = job.start(&format!("{round}-x"), "sleep 1000").await;
        tokio::time::sleep(Duration::from_micros(100 * round)).await;
        let exit = stop_ladder(&mut program, LONG, LONG, pending()).await.expect("stopped");
        assert_eq!(exit.to_string(), "signal: terminated");
    }
    assert_eq!(job.left_running(), 0);
}

#[tokio::test]
async fn nothing_is_started_twice() {
    let job = Job::new();
    assert!(job.run("1-x", "echo x >>count").await.ok());
    assert!(matches!(start(job.spec("1-x", "echo x >>count")).await, Err(StartError::AlreadyStarted { .. })));
    // Two starts at once: one supervisor gets the claim.
    let mut one = job.start("2-x", "echo y >>count").await;
    let mut two = start(job.spec("2-x", "echo y >>count")).await;
    let second = match &mut two {
        Ok(two) => two.wait().await.is_ok(),
        Err(_) => false,
    };
    let ends = [one.wait().await.is_ok(), second];
    assert!(ends.contains(&true));
    assert_eq!(job.file("count"), "x\ny\n");
}

#[tokio::test]
async fn a_supervisor_that_comes_too_late_runs_nothing() {
    let job = Job::new();
    let script = "echo x >>count; exit 5";
    Command::new("mkfifo").arg(job.path().join("gate")).status().expect("a fifo");
    let supervisor = wrapper(&job, "read go <gate;");
    let mut late = start(Spec { supervisor, ..job.spec("1-x", script) }).await.expect("started");
    // The next process comes before the first supervisor has its claim.
    assert!(matches!(reattach(job.path(), "1-x"), Ok(Reattach::NeverStarted)));
    let mut again = job.start("1-x", script).await;
    fs::write(job.path().join("gate"), "go\n").expect("released");
    let lost = late.wait().await.expect_err("too late").to_string();
    assert!(lost.contains("taken it over"), "{lost}");
    assert_eq!(again.wait().await.expect("ended").code, Some(5));
    assert_eq!(job.file("count"), "x\n");
    assert!(matches!(reattach(job.path(), "1-x"), Ok(Reattach::Ended(exit)) if exit.code == Some(5)));
}

#[tokio::test]
async fn a_limit_on_file_size_is_like_a_full_disk() {
    let job = Job::new();
    let supervisor = wrapper(&job, "ulimit -f 64;");
    let spec = Spec { supervisor, ..job.spec("1-x", "head -c 5000000 /dev/zero; exit 3") };
    let exit = start(spec).await.expect("started").wait().await.expect("ended");
    assert_eq!(exit.code, Some(3));
    assert!(exit.output_lost > 4_000_000, "{exit:?}");
    job.frames();
}

/// A supervisor that is the probe with something done before, in its working directory, that of the job.
fn wrapper(job: &Job, before: &str) -> PathBuf {
    let path = job.path().join(format!("wrapper-{}", before.replace(|c: char| !c.is_alphanumeric(), "-")));
    let text = format!("#!/bin/sh\ncd '{}'\n{before} exec '{PROBE}' \"$@\"\n", job.path().display());
    // Another process writes it: while this one had it open, a fork of another test's thread would make it busy.
    let write = r#"printf %s "$1" >"$0" && chmod 700 "$0""#;
    let written = std::process::Command::new("sh").args(["-c", write]).arg(&path).arg(text).status();
    assert!(written.expect("sh runs").success());
    path
}

#[tokio::test]
async fn a_supervisor_killed_at_any_step_runs_the_script_at_most_once() {
    // step, runs before the restart, what the next process finds
    for (step, found) in [
        ("Ordered", "never started"),
        ("Claimed", "lost"),
        ("Started", "lost"),
        ("Ended", "lost"),
        ("Recorded", "ended"),
    ] {
        let job = Job::new();
        let script = "echo x >>count; echo hello; exit 5";
        let supervisor = wrapper(&job, &format!("PROBE_KILL_AT={step}"));
        let mut program = start(Spec { supervisor, ..job.spec("1-x", script) }).await.expect("started");
        let ended = program.wait().await;
        let what = match reattach(job.path(), "1-x").expect("looked") {
            Reattach::NeverStarted => {
                assert!(matches!(ended, Err(Lost::NeverBegan { .. })), "{step}");
                assert_eq!(job.file("count"), "");
                assert_eq!(job.run("1-x", script).await.code, Some(5));
                assert_eq!(job.file("count"), "x\n");
                "never started"
            }
            Reattach::Lost => {
                assert!(matches!(ended, Err(Lost::Vanished { .. })), "{step}");
                "lost"
            }
            Reattach::Ended(exit) => {
                assert_eq!(ended.expect("a result"), exit);
                assert_eq!(exit.code, Some(5));
                assert_eq!(job.stdout(), "hello\n");
                assert_eq!(job.file("count"), "x\n");
                "ended"
            }
            Reattach::Running(_) => "running",
        };
        assert_eq!(what, found, "killed at {step}");
        if what == "lost" {
            assert!(matches!(start(job.spec("1-x", script)).await, Err(StartError::AlreadyStarted { .. })));
            sweep(job.path(), &job.mark);
            assert!(job.file("count").len() <= 2);
            assert_eq!(job.left_running(), 0);
        }
    }
}

fn starter(job: &Job, key: &str, script: &str, lifeline: bool) -> Child {
    let file = job.path().join("script");
    fs::write(&file, script).expect("script");
    let mut command = Command::new(PROBE);
    command.arg("start").arg(job.path()).arg(key).arg(file);
    if lifeline {
        command.arg("lifeline");
    }
    command.spawn().expect("starter")
}

#[tokio::test]
async fn a_script_outlives_its_starter_and_is_found_again() {
    let job = Job::new();
    let mut starter =
        starter(&job, "1-x", "echo x >>count; mkfifo f; echo ready; read x <f; echo $x; exit 6", false);
    job.says("ready").await;
    starter.kill().expect("killed");
    starter.wait().expect("reaped");
    let Reattach::Running(mut program) = reattach(job.path(), "1-x").expect("looked") else {
        panic!("not found")
    };
    fs::write(job.path().join("f"), "late\n").expect("released");
    let exit = program.wait().await.expect("ended");
    assert_eq!(exit.code, Some(6));
    assert_eq!(job.stdout(), "ready\nlate\n");
    assert_eq!(job.file("count"), "x\n");
    assert!(matches!(reattach(job.path(), "1-x").expect("looked"), Reattach::Ended(again) if again == exit));
}

#[tokio::test]
async fn a_script_found_again_can_be_stopped() {
    let job = Job::new();
    let mut starter = starter(&job, "1-x", "trap '' TERM; echo ready; sleep 1000", false);
    job.says("ready").await;
    starter.kill().expect("killed");
    starter.wait().expect("reaped");
    let Reattach::Running(mut program) = reattach(job.path(), "1-x").expect("looked") else {
        panic!("not found")
    };
    let exit = stop_ladder(&mut program, Duration::from_millis(20), LONG, pending()).await.expect("stopped");
    assert_eq!(exit.to_string(), "signal: killed");
}

#[tokio::test]
async fn a_local_script_dies_with_its_starter() {
    let job = Job::new();
    let script = "trap '' TERM HUP; setsid sleep 1000 & echo $$ $! ready; while :; do sleep 1000; done";
    let mut starter = starter(&job, "1-x", script, true);
    job.says("ready").await;
    starter.kill().expect("killed");
    starter.wait().expect("reaped");
    let out = job.stdout();
    assert_eq!(out.split_whitespace().count(), 3);
    gone(&out).await;
    // And when the handle is dropped.
    let job = Job::new();
    let program = start(Spec { die_with_parent: true, ..job.spec("1-x", script) }).await.expect("started");
    job.says("ready").await;
    drop(program);
    gone(&job.stdout()).await;
}

#[tokio::test]
async fn stop_of_a_vanished_supervisor_says_so() {
    let job = Job::new();
    let mut program = job.start("1-x", "echo $PPID ready; sleep 1000").await;
    job.says("ready").await;
    let pid: i32 = job.stdout().split(' ').next().expect("a word").parse().expect("a number");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
    match stop_ladder(&mut program, LONG, LONG, pending()).await {
        Err(StopFailed::Lost(Lost::Vanished { key })) => assert_eq!(key, "1-x"),
        other => panic!("{other:?}"),
    }
    assert!(sweep(job.path(), &job.mark).killed >= 1, "the script was left running");
    assert_eq!(job.left_running(), 0);
}

/// The starter, and in every third round the supervisor too, is killed at a random moment; a next process does what
/// the engine does. The seed is in the message of a failure.
#[tokio::test]
async fn killed_at_random_moments_a_script_runs_at_most_once() {
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut fired = 0;
    for round in 0..60 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let job = Job::new();
        let script = "echo x >>count; echo hello; exit 5";
        let mut first = starter(&job, "1-x", script, false);
        let wait = Duration::from_micros(seed % 12_000);
        let begun = Instant::now();
        while begun.elapsed() < wait {
            std::thread::yield_now();
        }
        fired += usize::from(first.try_wait().expect("asked").is_none());
        first.kill().expect("killed");
        first.wait().expect("reaped");
        let too = seed.is_multiple_of(3) && kill_supervisor(&job);
        let what = match reattach(job.path(), "1-x").expect("looked") {
            Reattach::NeverStarted => Some(job.run("1-x", script).await),
            Reattach::Running(mut program) => program.wait().await.ok(),
            Reattach::Ended(exit) => Some(exit),
            Reattach::Lost => None,
        };
        let count = job.file("count");
        match what {
            Some(exit) => {
                assert_eq!(exit.code, Some(5), "round {round}");
                assert_eq!(count, "x\n", "round {round}");
                assert_eq!(job.stdout(), "hello\n", "round {round}");
            }
            None => {
                assert!(too, "round {round}: lost though nobody killed the supervisor");
                sweep(job.path(), &job.mark);
                assert!(count.len() <= 2, "round {round}");
            }
        }
    }
    assert!(fired > 0, "no starter was killed while it ran");
}

/// Kills the supervisor that has the claim, if it still runs.
fn kill_supervisor(job: &Job) -> bool {
    let claim = job.file("1-x.0.claim");
    let pid = claim.split("\"pid\":").nth(1).and_then(|rest| rest.split([',', '}']).next()?.parse().ok());
    pid.is_some_and(|pid| runs(pid) && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
}
