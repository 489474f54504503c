//! The first process of a PID namespace: orphans are reaped, signals arrive once, the exit code is the program's.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// The probe as process 1, running `script`.
fn first(script: &str) -> Command {
    let mut command = Command::new("unshare");
    // A user namespace, so that root is not needed; the script sees the processes of its own namespace.
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount", "--mount-proc"]);
    command.args([env!("CARGO_BIN_EXE_harrier-process-probe"), "first", "bash", "-c", script]);
    command
}

fn printed(script: &str) -> (Option<i32>, String) {
    let output = first(script).output().expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &said)
}

#[test]
fn orphans_leave_no_zombies() {
    // Each subshell ends before its child, which is then process 1's.
    let script = "for n in 1 2 3 4 5; do (sleep 0.0$n &); done
        for n in $(seq 500); do grep -qs '(sleep)' /proc/[0-9]*/stat || break; sleep 0.01 & wait; done
        cat /proc/[0-9]*/stat";
    let (code, table) = printed(script);
    assert_eq!(code, Some(0), "{table}");
    // `1 (harrier-process) S 0 …`
    let states: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| Some((line.split(' ').next()?, line.rsplit_once(") ")?.1.split(' ').next()?)))
        .collect();
    assert!(states.iter().any(|(pid, _)| *pid == "1"), "{table}");
    assert!(!states.iter().any(|(_, state)| *state == "Z"), "{table}");
}

#[test]
fn the_exit_code_is_the_programs() {
    assert_eq!(printed("exit 7").0, Some(7));
    assert_eq!(printed("kill -KILL $$").0, Some(128 + 9));
}

#[test]
fn a_signal_arrives_once() {
    let script = "n=0; trap 'n=$((n + 1))' USR1; trap 'echo \"$n\"; exit 3' TERM; echo ready
        while :; do sleep 0.02; done";
    let mut outer = first(script).stdout(Stdio::piped()).spawn().expect("unshare is there");
    let mut lines = BufReader::new(outer.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("ready"));
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.id()));
    let init: i32 = children.expect("unshare waits").trim().parse().expect("one child");
    kill(Pid::from_raw(init), Signal::SIGUSR1).expect("sent");
    kill(Pid::from_raw(init), Signal::SIGTERM).expect("sent");
    assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("1"));
    assert_eq!(outer.wait().expect("ended").code(), Some(3));
}
