//! Ratios, side by side in one run: a local pipeline beside `bash -c` of its script, jobs from a server beside the
//! same git commands and `bash --login -c` run by hand, and jobs in containers beside `docker run`. Called by `make bench`
//! as `bench HARRIER [OTHER-RUNNER]`; the other runner is any binary with GitLab Runner's command line, and the
//! `gitlab-runner` on `PATH` if none is named. A `gitlab-ci-local` on `PATH` runs the local pipeline too.
//!
//! Both sides of a ratio alternate, so that what else the machine does meets both.

mod coordinator;
mod docker;
mod idle;
mod page;

use crate::page::Page;
use harrier_testkit::{FakeGitLab, JobSpec, Options, Repo, RunnerProcess, TempHome, config_toml};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const SCRIPT: [&str; 2] = ["echo \"hello from $CI_JOB_ID\"", "cat README.md"];
const ROUNDS: usize = 15;
const ALONE: usize = 20;
const MANY: usize = 120;
const SLOTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> ExitCode {
    let named = std::env::args_os().skip(1).map(PathBuf::from);
    // They are started in other directories.
    let mut binaries: Vec<PathBuf> = named.map(|path| path.canonicalize().unwrap_or(path)).collect();
    let Some(harrier) = binaries.first().cloned() else {
        eprintln!("bench: say which binary: bench HARRIER [OTHER-RUNNER]");
        return ExitCode::from(2);
    };
    let harrier = harrier.as_path();
    // Harrier itself may be installed by that name.
    binaries.extend(on_path("gitlab-runner").filter(|_| binaries.len() == 1).filter(|path| path != harrier));
    let mut page = Page::default();
    let all = async {
        let page = &mut page;
        if wanted("idle") {
            idle::measure(harrier, page).await?;
        }
        if wanted("local") {
            local(harrier, page)?;
        }
        let mut measured = Vec::new();
        for binary in &binaries {
            if wanted("shell") {
                measured.push(jobs(binary, page).await?);
            }
            if wanted("docker") {
                docker::jobs(binary, page).await?;
            }
        }
        beside(&measured, page);
        if wanted("coordinator") {
            coordinator::measure(harrier, page).await?;
        }
        Ok::<(), Failed>(())
    };
    let outcome = all.await;
    let json =
        std::env::var_os("HARRIER_BENCH_JSON").map_or_else(|| "target/bench.json".into(), PathBuf::from);
    if let Err(error) = page.write(&json) {
        eprintln!("bench: {}: {error}", json.display());
        return ExitCode::FAILURE;
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `HARRIER_BENCH` may name one part: `idle`, `local`, `shell`, `docker` or `coordinator`.
fn wanted(part: &str) -> bool {
    std::env::var("HARRIER_BENCH").map_or(true, |only| only.is_empty() || only == part)
}

/// A program on `PATH`.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())?;
    found.canonicalize().ok()
}

fn name_of(binary: &Path) -> String {
    binary.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_harrier(binary: &Path) -> bool {
    binary.file_stem().is_some_and(|name| name == "harrier")
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Runs a command to its end, quietly; its time.
fn timed(command: &mut Command) -> Result<Duration, Failed> {
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let time = start.elapsed();
    if output.status.success() {
        return Ok(time);
    }
    let words = [output.stdout, output.stderr].concat();
    Err(format!("{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&words)).into())
}

/// A repository with a pipeline of one job.
fn small_repository(place: &Path) -> Result<(), Failed> {
    std::fs::create_dir(place)?;
    std::fs::write(place.join(".gitlab-ci.yml"), "hello:\n  script:\n    - echo hello\n")?;
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Bench", "-c", "user.email=bench@harrier.invalid"]);
        timed(command.args(arguments).current_dir(place))
    };
    git(&["init", "--quiet", "--initial-branch=main"])?;
    git(&["remote", "add", "origin", "https://gitlab.example/birds/kestrel.git"])?;
    git(&["add", "-A"])?;
    git(&["commit", "--quiet", "-m", "First"])?;
    Ok(())
}

/// A one-job pipeline on this machine.
fn local(harrier: &Path, page: &mut Page) -> Result<(), Failed> {
    let home = TempHome::new();
    // Each in a place of its own: what one leaves there is no work for the other.
    let (repo, other_repo) = (home.path().join("repo"), home.path().join("other"));
    small_repository(&repo)?;
    small_repository(&other_repo)?;
    let other = on_path("gitlab-ci-local");
    let (mut pipeline, mut bash, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let run =
            |command: &mut Command, repo: &Path| timed(command.current_dir(repo).env("HOME", home.path()));
        pipeline.push(run(Command::new(harrier).arg("run"), &repo)?);
        bash.push(run(Command::new("bash").args(["-c", "echo hello"]), &repo)?);
        if let Some(other) = &other {
            theirs.push(run(&mut Command::new(other), &other_repo)?);
        }
    }
    let (pipeline, bash) = (median(&mut pipeline), median(&mut bash));
    page.part(&format!("a pipeline of one job, median of {ROUNDS}"));
    page.row("harrier run", ms(pipeline), "ms", "");
    if other.is_some() {
        page.row("gitlab-ci-local", ms(median(&mut theirs)), "ms", "");
    }
    page.row("bash -c of the same script", ms(bash), "ms", "");
    page.row("beyond the script", ms(pipeline) - ms(bash), "ms", "aim: below 50");
    Ok(())
}

/// What jobs from a server took.
struct Taken {
    name: String,
    alone: Duration,
    rate: f64,
    memory: f64,
}

/// What both runners took, one beside the other.
fn beside(measured: &[Taken], page: &mut Page) {
    let [own, other] = measured else { return };
    let (ours, theirs) = (&own.name, &other.name);
    page.part(&format!("{ours} beside {theirs}"));
    page.row(format!("a job alone, {theirs} / {ours}"), ms(other.alone) / ms(own.alone), "", "");
    page.row(format!("jobs a second, {ours} / {theirs}"), own.rate / other.rate, "", "");
    page.row(format!("most memory, {theirs} / {ours}"), other.memory / own.memory, "", "");
}

/// Jobs from a server.
async fn jobs(binary: &Path, page: &mut Page) -> Result<Taken, Failed> {
    let options = Options { long_poll: Some(Duration::from_secs(20)), ..Options::default() };
    let server = FakeGitLab::start_with(options).await?;
    let files: Vec<(String, String)> =
        (0..40).map(|n| (format!("src/part{n}.txt"), format!("part {n}\n").repeat(50))).collect();
    let mut listed: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    listed.push(("README.md", "# Kestrel\n"));
    let repo = Repo::with_files(&listed);
    let project = server.add_project("birds/kestrel", &repo);
    let job = || JobSpec::in_project(project, &SCRIPT);

    let home = TempHome::new();
    home.write_config(&config_toml(
        &server,
        server.runner_token(),
        SLOTS as u32,
        &home,
        "  limit = 0\n  request_concurrency = 2\n",
    ));
    let runner = start(binary, &home);
    let floor_home = TempHome::new();

    // The first of each makes the clone that the others fetch into.
    server.wait_final(server.add_job(job()), PATIENCE).await?;
    by_hand(&server.take_by_hand(add_for_hand(&server, &job)), floor_home.path())?;
    let (mut alone, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..ALONE {
        let record = server.wait_final(server.add_job(job()), PATIENCE).await?;
        let (Some(from), Some(to)) = (record.handed_out_at, record.finished_at) else {
            return Err("a job ended that was not handed out".into());
        };
        alone.push(to.duration_since(from));
        // The runner would take this one too, were it in the queue for a moment longer.
        let payload = server.take_by_hand(add_for_hand(&server, &job));
        let home = floor_home.path().to_owned();
        floor.push(tokio::task::spawn_blocking(move || by_hand(&payload, &home)).await??);
    }
    let (alone, floor) = (median(&mut alone), median(&mut floor));

    let ids: Vec<i64> = (0..MANY).map(|_| server.add_job(job())).collect();
    let (mut first, mut last) = (None::<Instant>, None::<Instant>);
    for id in ids {
        let record = server.wait_final(id, PATIENCE).await?;
        let earlier = |a: Option<Instant>, b| a.map_or(b, |a| a.min(b));
        first = record.handed_out_at.map(|at| earlier(first, at)).or(first);
        last = last.max(record.finished_at);
    }
    let rate = per_second(first, last);
    let memory = resident(runner.id());
    drop(runner);

    let payloads: Vec<Value> = (0..MANY).map(|_| server.take_by_hand(add_for_hand(&server, &job))).collect();
    let floor_rate =
        tokio::task::spawn_blocking(move || many_by_hand(&payloads, floor_home.path())).await??;

    let name = name_of(binary);
    page.part(&format!("jobs from a server, sources over HTTP ({name})"));
    page.row(format!("alone, handed out to final, median of {ALONE}"), ms(alone), "ms", "");
    page.row("git and bash --login -c by hand", ms(floor), "ms", "");
    page.row("ratio", ms(alone) / ms(floor), "", "aim: at most 1.3");
    page.row(format!("{MANY} jobs at concurrent = {SLOTS}"), rate, "a second", "");
    page.row(format!("by hand, {SLOTS} at a time"), floor_rate, "a second", "");
    page.row("ratio", floor_rate / rate, "", "aim: at most 1.3");
    page.row("most memory the runner had resident", memory, "MB", "");
    page.row("binary", std::fs::metadata(binary)?.len() as f64 / 1e6, "MB", "");
    let slips = server.slips();
    // What is done by hand bears no correlation id.
    let slips: Vec<&String> = slips.iter().filter(|slip| !slip.contains(".git/")).collect();
    if !slips.is_empty() {
        page.words(&format!("breaches of the protocol: {}, the first: {}", slips.len(), slips[0]));
    }
    Ok(Taken { name, alone, rate, memory })
}

/// A job for [`FakeGitLab::take_by_hand`]: one that no runner is handed.
fn add_for_hand(server: &FakeGitLab, job: &impl Fn() -> JobSpec) -> i64 {
    // It waits for a job that never ends, so the queue passes it over.
    let mut spec = job();
    spec.dependencies = vec![server.never()];
    server.add_job(spec)
}

fn start(binary: &Path, home: &TempHome) -> RunnerProcess {
    if is_harrier(binary) {
        return RunnerProcess::start(binary, home);
    }
    let config = home.config().to_string_lossy().into_owned();
    RunnerProcess::start_with(binary, home, &["run", "--config", &config], &[])
}

fn per_second(first: Option<Instant>, last: Option<Instant>) -> f64 {
    match (first, last) {
        (Some(first), Some(last)) => MANY as f64 / last.duration_since(first).as_secs_f64(),
        _ => 0.0,
    }
}

/// Peak resident memory of a process in MB.
fn resident(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1e3
}

/// What a job of the shell executor comes down to: the sources by git as GitLab Runner gets them, then the script.
fn by_hand(payload: &Value, home: &Path) -> Result<Duration, Failed> {
    let start = Instant::now();
    let repo = home.join("repo");
    let info = &payload["git_info"];
    let text = |member: &str| info[member].as_str().unwrap_or_default();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).env("HOME", home).env("GIT_TERMINAL_PROMPT", "0");
        if arguments.first() != Some(&"init") {
            command.current_dir(&repo);
        }
        timed(&mut command)
    };
    let fresh = !repo.exists();
    git(&["init", "--quiet", &repo.to_string_lossy()])?;
    git(&["remote", if fresh { "add" } else { "set-url" }, "origin", text("repo_url")])?;
    let depth = info["depth"].to_string();
    let refspecs = info["refspecs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let agent = "http.userAgent=bench 1 linux/amd64";
    let mut fetch = vec!["-c", agent, "fetch", "origin", "--no-recurse-submodules"];
    fetch.extend(refspecs);
    fetch.extend(["--depth", &depth, "--prune", "--quiet"]);
    git(&fetch)?;
    git(&["checkout", "-f", "-q", text("sha")])?;
    git(&["clean", "-ffdx"])?;
    let mut bash = Command::new("bash");
    bash.args(["--login", "-c", &SCRIPT.join("\n")]).current_dir(&repo);
    timed(bash.env("HOME", home).env("CI_JOB_ID", payload["id"].to_string()))?;
    Ok(start.elapsed())
}

/// The same in as many places at a time as the runner has slots; jobs a second.
fn many_by_hand(payloads: &[Value], home: &Path) -> Result<f64, Failed> {
    let next = AtomicUsize::new(0);
    let work = |slot: usize| -> Result<(), Failed> {
        let place = home.join(slot.to_string());
        std::fs::create_dir_all(&place)?;
        while let Some(payload) = payloads.get(next.fetch_add(1, Ordering::Relaxed)) {
            by_hand(payload, &place)?;
        }
        Ok(())
    };
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<(), Failed> {
        let workers: Vec<_> = (0..SLOTS).map(|slot| scope.spawn(move || work(slot))).collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok(())
    })?;
    Ok(payloads.len() as f64 / start.elapsed().as_secs_f64())
}
