//! Jobs of the docker executor beside `docker run --rm --network host IMAGE true`: alone, and several at a time.
//!
//! The server listens on the engine's bridge, where containers reach it: sources are fetched for real. What a job
//! has left when its result is in goes before anything is measured beside it; at the end only caches are there.

use crate::page::Page;
use crate::{ALONE, Failed, PATIENCE, SLOTS, is_harrier, median, ms, name_of, timed};
use harrier_testkit::{FakeGitLab, JobSpec, JobState, Options, Repo, RunnerProcess, TempHome};
use nix::sys::signal::Signal;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const IMAGE: &str = "harrier-test/busybox";
const MANY: usize = 24;
/// The label of the runner that all its containers bear.
const LABEL: &str = "com.gitlab.gitlab-runner.runner.id";

/// The variable with the other runner's helper image, where its own cannot be pulled.
const HELPER_IMAGE: &str = "HARRIER_BENCH_HELPER_IMAGE";

/// A line of `[runners.docker]`: Harrier brings its helper along.
fn helper_image(binary: &Path) -> String {
    match std::env::var(HELPER_IMAGE) {
        Ok(image) if !is_harrier(binary) => format!("    helper_image = \"{image}\"\n"),
        Ok(_) | Err(_) => String::new(),
    }
}

fn docker(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new("docker").args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The address of this machine on the engine's default bridge; `None` without an engine or without the image.
fn bridge() -> Option<Ipv4Addr> {
    docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]).ok()?;
    let route = docker(&["run", "--rm", IMAGE, "ip", "route", "show", "default"]).ok()?;
    route.split(' ').skip_while(|word| *word != "via").nth(1)?.parse().ok()
}

fn run_by_hand() -> Result<Duration, Failed> {
    timed(Command::new("docker").args(["run", "--rm", "--network", "host", IMAGE, "true"]))
}

/// Containers of the runner that belong to a job.
fn of_jobs(short: &str) -> Result<String, Failed> {
    let (runner, job) = (format!("label={LABEL}={short}"), "label=dev.harrier.job");
    docker(&["ps", "--all", "--quiet", "--filter", &runner, "--filter", job])
}

async fn until_gone(short: &str) -> Result<(), Failed> {
    let end = Instant::now() + PATIENCE;
    while !of_jobs(short)?.is_empty() {
        if Instant::now() > end {
            return Err("a job's containers stay".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

pub(crate) async fn jobs(binary: &Path, page: &mut Page) -> Result<(), Failed> {
    let Some(host) = bridge() else {
        page.part("jobs in containers");
        page.words(&format!("no Docker Engine with {IMAGE} answers; run scripts/test-hosts.sh"));
        return Ok(());
    };
    let options =
        Options { long_poll: Some(Duration::from_secs(20)), host: Some(host), ..Options::default() };
    let server = FakeGitLab::start_with(options).await?;
    let repo = Repo::with_files(&[("README.md", "# Kestrel\n"), ("src/main.txt", "bird\n")]);
    let project = server.add_project("birds/kestrel", &repo);
    let job = || JobSpec::in_project(project, &["true"]);
    let home = TempHome::new();
    let token = server.runner_token();
    home.write_config(&format!(
        "concurrent = {SLOTS}\ncheck_interval = 1\n\n[[runners]]\n  name = \"bench\"\n  url = \"{}\"\n  id = 3\n  \
         token = \"{token}\"\n  executor = \"docker\"\n  request_concurrency = 2\n  [runners.docker]\n    \
         image = \"{IMAGE}\"\n    pull_policy = \"if-not-present\"\n{}",
        server.url(),
        helper_image(binary)
    ));
    let short: String = token.trim_start_matches("glrt-").chars().take(9).collect();
    let mut runner = crate::start(binary, &home);
    let measured = measure(&server, &job, &short).await;
    let ended = end(&mut runner, &short).await;
    let part = format!("jobs in containers, sources over HTTP ({})", name_of(binary));
    let Measured { mut alone, mut by_hand, many, many_by_hand } = match measured {
        Ok(measured) => measured,
        Err(error) if is_harrier(binary) => return Err(format!("{error}\n{}", runner.log()).into()),
        Err(error) => {
            page.part(&part);
            page.words(&format!("not measured (its helper image may be named by {HELPER_IMAGE}): {error}"));
            return Ok(());
        }
    };
    if is_harrier(binary) {
        ended?;
    }
    let (alone, by_hand) = (median(&mut alone), median(&mut by_hand));
    page.part(&part);
    page.row(format!("alone, handed out to final, median of {ALONE}"), ms(alone), "ms", "");
    page.row("docker run --rm --network host", ms(by_hand), "ms", "");
    page.row("ratio", ms(alone) / ms(by_hand), "", "at most 1.8, aim 1.5");
    page.row(format!("{MANY} jobs at concurrent = {SLOTS}"), ms(many), "ms", "");
    page.row(format!("docker run, {SLOTS} at a time"), ms(many_by_hand), "ms", "");
    page.row("ratio", ms(many) / ms(many_by_hand), "", "at most 3, aim 2");
    let slips = server.slips();
    if let Some(first) = slips.first() {
        page.words(&format!("breaches of the protocol: {}, the first: {}", slips.len(), first));
    }
    Ok(())
}

struct Measured {
    alone: Vec<Duration>,
    by_hand: Vec<Duration>,
    many: Duration,
    many_by_hand: Duration,
}

async fn measure(server: &FakeGitLab, job: &impl Fn() -> JobSpec, short: &str) -> Result<Measured, Failed> {
    let run = async || -> Result<Duration, Failed> {
        let record = server.wait_final(server.add_job(job()), PATIENCE).await?;
        if record.state != JobState::Success {
            return Err(format!("a job of the bench failed:\n{}", record.log_text()).into());
        }
        let (Some(from), Some(to)) = (record.handed_out_at, record.finished_at) else {
            return Err("a job ended that was not handed out".into());
        };
        Ok(to.duration_since(from))
    };
    // The first makes the helper image, the caches and the clone that the others fetch into.
    run().await?;
    let (mut alone, mut by_hand) = (Vec::new(), Vec::new());
    for _ in 0..ALONE {
        until_gone(short).await?;
        by_hand.push(run_by_hand()?);
        alone.push(run().await?);
    }
    // One job in each slot, for the same reason.
    many(server, job, SLOTS).await?;
    until_gone(short).await?;
    let first_half = many_by_hand()?;
    let jobs = many(server, job, MANY).await?;
    until_gone(short).await?;
    let second_half = many_by_hand()?;
    Ok(Measured { alone, by_hand, many: jobs, many_by_hand: (first_half + second_half) / 2 })
}

/// From the first handed out to the last final state.
async fn many(server: &FakeGitLab, job: &impl Fn() -> JobSpec, count: usize) -> Result<Duration, Failed> {
    let ids: Vec<i64> = (0..count).map(|_| server.add_job(job())).collect();
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for id in ids {
        let record = server.wait_final(id, PATIENCE).await?;
        from.extend(record.handed_out_at);
        to.extend(record.finished_at);
    }
    match (from.iter().min(), to.iter().max()) {
        (Some(from), Some(to)) => Ok(to.duration_since(*from)),
        _ => Err("no job was handed out".into()),
    }
}

fn many_by_hand() -> Result<Duration, Failed> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), Failed> {
        while next.fetch_add(1, Ordering::Relaxed) < MANY {
            run_by_hand()?;
        }
        Ok(())
    };
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<(), Failed> {
        let workers: Vec<_> = (0..SLOTS).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok(())
    })?;
    Ok(start.elapsed())
}

/// Stops the runner, checks that it has left nothing but caches, and removes those.
async fn end(runner: &mut RunnerProcess, short: &str) -> Result<(), Failed> {
    runner.signal(Signal::SIGQUIT);
    let stopped = runner.wait(PATIENCE).await;
    let label = format!("label={LABEL}={short}");
    let containers = docker(&["ps", "--all", "--quiet", "--filter", &label])?;
    let networks = docker(&["network", "ls", "--quiet", "--filter", &label])?;
    if !containers.is_empty() {
        docker(&[&["rm", "--force", "--volumes"][..], &containers.lines().collect::<Vec<_>>()].concat())?;
    }
    let volumes = docker(&["volume", "ls", "--quiet", "--filter", &label])?;
    if !volumes.is_empty() {
        docker(&[&["volume", "rm"][..], &volumes.lines().collect::<Vec<_>>()].concat())?;
    }
    let more = volumes.lines().filter(|name| !name.contains("-cache-")).count();
    if stopped.is_none() || !containers.is_empty() || !networks.is_empty() || more > 0 {
        return Err(format!(
            "the runner ended: {stopped:?}; it left containers {containers:?}, networks {networks:?} and {more} volumes that \
             are no caches"
        )
        .into());
    }
    Ok(())
}
