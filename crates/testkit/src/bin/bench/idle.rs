//! What Harrier takes while nothing happens: memory of a runner that waits for jobs, and of `harrier up`; and the time from a
//! runner's start to its first request for a job.

use crate::page::Page;
use crate::{Failed, PATIENCE, SLOTS, median, ms};
use harrier_testkit::{FakeGitLab, Options, RunnerProcess, TempHome, config_toml};
use std::path::Path;
use std::time::{Duration, Instant};

const STARTS: usize = 11;
/// Until the work of a start is through.
const SETTLED: Duration = Duration::from_secs(3);
const MIB: f64 = 1024.0;

pub(crate) async fn measure(harrier: &Path, page: &mut Page) -> Result<(), Failed> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(to_first_request(harrier).await?.0);
    }
    let (_, runner, _held) = to_first_request(harrier).await?;
    tokio::time::sleep(SETTLED).await;
    let of_runner = memory(&runner)?;
    drop(runner);
    let home = TempHome::new();
    let arguments = ["up", "--data", "data", "--listen", "127.0.0.1:0"];
    let up = RunnerProcess::start_with(harrier, &home, &arguments, &[]);
    up.wait_log("its runner:", PATIENCE).await;
    tokio::time::sleep(SETTLED).await;
    let of_up = memory(&up)?;
    page.part("idle");
    page.row(
        format!("runner: start to first request, median of {STARTS}"),
        ms(median(&mut starts)),
        "ms",
        "at most 50",
    );
    page.row("runner: memory", of_runner, "MiB", "at most 15");
    page.row("harrier up: memory", of_up, "MiB", "at most 50");
    Ok(())
}

/// A runner's start, to the server's receipt of its first request for a job. The server lives as long as what comes with it.
async fn to_first_request(
    harrier: &Path,
) -> Result<(Duration, RunnerProcess, (FakeGitLab, TempHome)), Failed> {
    let options = Options { long_poll: Some(Duration::from_secs(20)), ..Options::default() };
    let server = FakeGitLab::start_with(options).await?;
    let home = TempHome::new();
    home.write_config(&config_toml(&server, server.runner_token(), SLOTS as u32, &home, ""));
    // The job is there already, so its hand-out is the time of the first request.
    let begun = Instant::now();
    let id = server.add_job(harrier_testkit::JobSpec::script(&["true"]));
    let runner = RunnerProcess::start(harrier, &home);
    let record = server.wait_final(id, PATIENCE).await?;
    let handed_out = record.handed_out_at.ok_or("a job ended that was not handed out")?;
    Ok((handed_out.duration_since(begun), runner, (server, home)))
}

/// Resident memory in MiB.
fn memory(process: &RunnerProcess) -> Result<f64, Failed> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).ok_or("no memory in /proc")?;
    Ok(kib.trim().parse::<f64>()? / MIB)
}
