//! Pushes to `harrier up`, as its user makes them: what git and the terminal print, and that every job starts at once, the first after
//! the start, the hundredth, and those of a burst. A word to a waiting runner that gets lost would cost most of a minute.

#![allow(clippy::unwrap_used)]

mod rig;

use harrier_testkit::PlainClient;
use rig::PATIENCE;
use rig::site::{Site, commit};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Seconds a job may wait for a runner that waits for it, in the middle; one of them may be delayed by other work of the machine.
const SOON: f64 = 2.0;
/// A word that got lost costs what a job request waits at most, 50 s.
const LATE: f64 = 40.0;

const HELLO: &str = "workflow: {auto_cancel: {on_new_commit: none}}\nhello:\n  script: [echo hello]\n";

struct Api {
    client: PlainClient,
    token: String,
}

impl Api {
    fn new(site: &Site) -> Api {
        let at = site.url.strip_prefix("http://").unwrap().parse().unwrap();
        let token = site.admin(&["token", "--user", "root", "--scope", "api"]);
        Api { client: PlainClient::new(at), token }
    }

    async fn get(&mut self, path: &str) -> Value {
        let path = format!("/api/v4/{path}");
        self.client.send("GET", &path, &[("private-token", &self.token)], b"").await.unwrap().json()
    }

    /// Waits until so many jobs of the first project have ended; all of them.
    async fn ended(&mut self, count: usize, site: &Site) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let jobs = self.get("projects/1/jobs?per_page=100").await;
            let jobs = jobs.as_array().cloned().unwrap_or_default();
            if jobs.iter().filter(|job| job["status"] == "success").count() >= count {
                return jobs;
            }
            assert!(Instant::now() < deadline, "{jobs:#?}\n{}", site.process.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Seconds until a runner took a job.
fn waited(job: &Value) -> f64 {
    job["queued_duration"].as_f64().unwrap()
}

#[tokio::test]
async fn a_push_says_where_to_look_and_the_terminal_how_it_ended() {
    let site = Site::up().await;
    let files = [(".gitlab-ci.yml", "hello:\n  script: [echo hello]\n"), ("README.md", "# Hello\n")];
    let work = site.work_tree("hello", &files);
    let begun = Instant::now();
    let said = site.push(&work, "hello");
    let link = format!("{}/root/hello/-/pipelines/1", site.url);
    assert!(said.lines().any(|line| line.starts_with("remote:") && line.contains(&link)), "{said}");
    site.process.wait_log("pipeline #1 success", PATIENCE).await;
    let took = begun.elapsed();
    assert!(took.as_secs_f64() < LATE, "the first job of a new runner took {took:?}");
    let log = site.process.log();
    let line = log.lines().find(|line| line.contains("pipeline #1 success")).unwrap();
    assert!(line.starts_with("root/hello main ") && line.ends_with(&link), "{line}");
    let mut api = Api::new(&site);
    let job = api.get("projects/1/jobs").await[0].clone();
    assert!(waited(&job) < LATE, "the first job of a new runner: {job:#}");

    // What cannot run is said too, on both sides.
    commit(&work, &[(".gitlab-ci.yml", "hello:\n  stage: nowhere\n  script: [echo hello]\n")], "Wrong");
    let said = site.push(&work, "hello");
    assert!(said.contains("nowhere") && said.contains("/pipelines/2"), "{said}");
    site.process.wait_log("pipeline #2 failed", PATIENCE).await;
    site.process.wait_log("\n  hello job: chosen stage nowhere does not exist", PATIENCE).await;

    // A job that fails is named, and the runner's own log does not say it again.
    commit(&work, &[(".gitlab-ci.yml", "hello:\n  script: [exit 3]\n")], "Fails");
    site.push(&work, "hello");
    let link = format!("  hello: script failure, exit code 3  {}/root/hello/-/jobs/2\n", site.url);
    site.process.wait_log(&link, PATIENCE).await;
    let log = site.process.log();
    assert!(!log.contains("Checking for jobs") && !log.contains("Job failed"), "{log}");
}

#[tokio::test]
async fn every_push_of_many_starts_at_once() {
    let site = Site::up().await;
    let work = site.project("hello", &[(".gitlab-ci.yml", HELLO)]);
    let mut api = Api::new(&site);
    api.ended(1, &site).await;

    // One after the other: the runner is waiting each time.
    for number in 2..=26 {
        commit(&work, &[], &format!("Change {number}"));
        site.push(&work, "hello");
        api.ended(number, &site).await;
    }
    let jobs = api.ended(26, &site).await;
    let mut times: Vec<f64> = jobs.iter().map(waited).collect();
    times.sort_by(f64::total_cmp);
    assert!(times[times.len() / 2] < SOON && times[times.len() - 1] < LATE, "{times:?}");

    // All at once: more than the runner takes at a time.
    for number in 27..=51 {
        commit(&work, &[], &format!("Change {number}"));
        site.push(&work, "hello");
    }
    let jobs = api.ended(51, &site).await;
    for job in &jobs {
        assert!(waited(job) < LATE, "{job:#}");
    }
}
