//! The runner's own listener: metrics, jobs at work and the state of the process, read over HTTP while a job runs.

mod rig;

use harrier_testkit::JobState;
use rig::{PATIENCE, Rig, until};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Status, head and body.
fn ask(address: &str, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_seen_while_it_runs_and_counted_afterwards() {
    let rig = Rig::new().await;
    let config = std::fs::read_to_string(rig.home.config()).expect("there");
    rig.home.write_config(&format!("listen_address = '127.0.0.1:0'\n{config}"));
    let runner = rig.start();
    let id =
        rig.server.add_job(rig.job(&["echo started", "until [ -e ../go ]; do sleep 0.05; done", "exit 7"]));
    rig.server.wait_log(id, "started", PATIENCE).await.expect("it runs");
    let log = rig.runner_log();
    let address = log
        .lines()
        .find_map(|line| line.split_once("Metrics server listening")?.1.split_once("address=127.0.0.1:"))
        .map(|(_, port)| format!("127.0.0.1:{}", port.trim()))
        .unwrap_or_else(|| panic!("no address in {log}"));

    let (status, head, jobs) = ask(&address, "GET", "/debug/jobs/list");
    assert_eq!(status, 200);
    assert!(head.contains("x-list-version: 2"), "{head}");
    let url = format!("url={}/birds/kestrel/-/jobs/{id} state=running stage=step_script", rig.server.url());
    assert!(jobs.starts_with(&url), "{jobs}");
    assert_eq!(ask(&address, "GET", "/debug/process/state").2, "running\n");
    assert_eq!(ask(&address, "GET", "/health/ready").2, "ready\n");
    assert_eq!(ask(&address, "POST", "/metrics").0, 405);
    assert_eq!(ask(&address, "HEAD", "/metrics").2, "");
    assert_eq!(ask(&address, "GET", "/secrets").0, 404);

    let gate = std::process::Command::new("find")
        .arg(rig.home.builds())
        .args(["-name", "kestrel", "-execdir", "touch", "go", ";"])
        .status();
    assert!(gate.expect("find").success());
    assert_eq!(rig.end_of(id).await.state, JobState::Failed);
    until("the job is off the list", || ask(&address, "GET", "/debug/jobs/list").2.is_empty()).await;
    let (_, head, text) = ask(&address, "GET", "/metrics");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let value = |start: &str, part: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(start) && line.contains(part));
        let line = line.unwrap_or_else(|| panic!("no {start} with {part} in\n{text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    };
    for (start, part, wanted) in [
        ("gitlab_runner_concurrent ", "", 4.),
        ("gitlab_runner_jobs_total{", "runner_name=\"test\"", 1.),
        ("gitlab_runner_failed_jobs_total{", "failure_reason=\"script_failure\"", 1.),
        ("gitlab_runner_job_duration_seconds_count{", "", 1.),
        ("gitlab_runner_api_request_statuses_total{", "endpoint=\"request_job\",status=\"201\"", 1.),
        ("gitlab_runner_jobs{", "state=\"idle\"", 1.),
        ("gitlab_runner_process_state_info{", "state=\"running\"", 1.),
    ] {
        assert_eq!(value(start, part), wanted, "{start} {part}");
    }
    assert!(
        value("gitlab_runner_api_request_statuses_total{", "endpoint=\"patch_trace\",status=\"202\"") >= 1.
    );
    assert!(value("gitlab_runner_version_info{", "version=\"19.4.0\"") == 1.);
    assert!(value("process_resident_memory_bytes ", "") > 1e6);
    // Each line is a comment or a name, labels and a number.
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        assert!(line.rsplit_once(' ').is_some_and(|(_, number)| number.parse::<f64>().is_ok()), "{line}");
    }
    assert!(!text.contains(rig.server.runner_token()));
    drop(runner);
    rig.server.assert_no_slips();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_fatal_and_one_that_is_none_is_told() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = held.local_addr().expect("an address");
    for (address, words, goes_on) in [
        (taken.to_string(), format!("listen_address in config.toml: nobody can listen at {taken}"), false),
        ("http://localhost".to_owned(), "listen_address is no address".to_owned(), true),
    ] {
        let rig = Rig::new().await;
        let config = std::fs::read_to_string(rig.home.config()).expect("there");
        rig.home.write_config(&format!("listen_address = '{address}'\n{config}"));
        let _runner = rig.start();
        until("it says so", || rig.runner_log().contains(&words)).await;
        if goes_on {
            assert_eq!(rig.run(rig.job(&["true"])).await.state, JobState::Success);
        }
    }
}
