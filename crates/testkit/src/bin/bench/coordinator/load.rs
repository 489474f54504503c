//! A thousand runners that wait for jobs, and two thousand jobs through them: request, accept, log, artifact, end.

use super::{PROJECT, Server, git, quantile, work_tree};
use crate::page::Page;
use crate::{Failed, PATIENCE};
use harrier_testkit::{Message, PlainClient};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

const RUNNERS: usize = 1000;
const PIPELINES: usize = 200;
const JOBS_EACH: usize = 10;
const JOBS: usize = PIPELINES * JOBS_EACH;
/// Who starts pipelines at a time.
const CALLERS: usize = 4;
/// Of a log and of an archive, in bytes.
const LOG: usize = 2000;
const ARCHIVE: usize = 4000;

/// A job that a runner had.
struct Done {
    job: i64,
    /// Milliseconds since 1970 at which it was there.
    got: f64,
}

fn wall() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

pub(super) async fn measure(server: &Server, page: &mut Page) -> Result<(), Failed> {
    page.part(&format!("coordinator on {}: {RUNNERS} runners, {JOBS} jobs", server.database_name()));
    // A server that has just started is not yet at rest.
    tokio::time::sleep(Duration::from_secs(2)).await;
    page.row("memory, idle", server.memory("VmRSS"), "MiB", "below 40");

    let home = server.home.path();
    let work = work_tree(
        home,
        "work",
        &format!("job:\n  parallel: {JOBS_EACH}\n  script: [make]\n  artifacts: {{paths: [out]}}\n"),
    )?;
    let url = format!("http://root:{}@{}/{PROJECT}.git", server.token, server.at);
    git(home, &work, &["push", "--quiet", "-o", "ci.skip", &url, "main"])?;
    let mut root = server.client();
    let project = root.ask("GET", "/api/v4/projects/root%2Fkestrel", None).await?.json()["id"].clone();

    let floor = floor(server.at, 10_000).await?;
    let mut tokens = Vec::new();
    for number in 0..RUNNERS {
        let body = json!({"runner_type": "instance_type", "description": format!("runner {number}"), "run_untagged": true});
        let made = root.ask("POST", "/api/v4/user/runners", Some(&body)).await?.json();
        tokens.push(made["token"].as_str().ok_or("a runner has no token")?.to_owned());
    }
    let (done, mut finished) = mpsc::unbounded_channel::<Result<Done, String>>();
    let runners: Vec<_> = tokens
        .into_iter()
        .enumerate()
        .map(|(number, token)| {
            let done = done.clone();
            let at = server.at;
            tokio::spawn(async move {
                if let Err(error) = runner(at, &token, number, &done).await {
                    let _ = done.send(Err(error.to_string()));
                }
            })
        })
        .collect();
    // Until they wait: each of them has been answered once by then.
    tokio::time::sleep(Duration::from_secs(3)).await;
    page.row(format!("memory, {RUNNERS} runners waiting"), server.memory("VmRSS"), "MiB", "");

    let begun = Instant::now();
    let path = Arc::new(format!("/api/v4/projects/{project}/pipeline"));
    let makers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (mut root, path) = (server.client(), Arc::clone(&path));
            tokio::spawn(async move {
                for _ in 0..PIPELINES / CALLERS {
                    let made = root.ask("POST", &path, Some(&json!({"ref": "main"}))).await;
                    made.map_err(|error| error.to_string())?;
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    let mut got = Vec::new();
    while got.len() < JOBS {
        let next = tokio::time::timeout(PATIENCE, finished.recv()).await;
        let next = next.map_err(|_| format!("only {} of {JOBS} jobs are done", got.len()))?;
        got.push(next.ok_or("the runners are gone")??);
    }
    let took = begun.elapsed().as_secs_f64();
    for maker in makers {
        maker.await??;
    }
    for runner in runners {
        runner.abort();
    }
    let queued = super::seed::queued_at(server)?;
    let mut waits: Vec<f64> =
        got.iter().filter_map(|done| Some((done.got - *queued.get(&done.job)? as f64).max(0.0))).collect();
    if waits.len() != JOBS {
        return Err(format!("{} jobs of {JOBS} were handed out once each", waits.len()).into());
    }
    let rate = JOBS as f64 / took;
    page.row("jobs through request, accept, log, artifact, end", rate, "a second", "");
    page.row("bare requests to /-/health, one after the other on 32 lines", floor, "a second", "");
    page.row("ratio of its five requests a job to those", floor / (rate * 5.0), "", "");
    page.row("dispatch, pending to at the runner, p50", quantile(&mut waits, 0.5), "ms", "");
    page.row("dispatch, p99", quantile(&mut waits, 0.99), "ms", "");
    page.row("memory, peak", server.memory("VmHWM"), "MiB", "");
    Ok(())
}

/// Requests a second that need nothing, on a few connections: what HTTP itself costs here.
async fn floor(at: SocketAddr, count: usize) -> Result<f64, Failed> {
    const LINES: usize = 32;
    let begun = Instant::now();
    let lines: Vec<_> = (0..LINES)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = PlainClient::new(at);
                for _ in 0..count / LINES {
                    client.send("GET", "/-/health", &[], b"").await?;
                }
                Ok::<(), std::io::Error>(())
            })
        })
        .collect();
    for line in lines {
        line.await??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

fn expect(answer: Message, status: u16, what: &str) -> Result<Message, Failed> {
    if answer.status() == status {
        return Ok(answer);
    }
    Err(format!("{what}: {} {}", answer.first, String::from_utf8_lossy(&answer.body)).into())
}

/// Asks for jobs and does them at once, as far as the server can tell.
async fn runner(
    at: SocketAddr,
    token: &str,
    number: usize,
    done: &mpsc::UnboundedSender<Result<Done, String>>,
) -> Result<(), Failed> {
    let mut client = PlainClient::new(at);
    let mut ask = json!({
        "token": token,
        "system_id": format!("s_{number:012x}"),
        "info": {
            "name": "bench", "version": "1", "platform": "linux", "architecture": "amd64", "executor": "shell",
            "features": {
                "two_phase_job_commit": true, "artifacts": true, "upload_multiple_artifacts": true, "refspecs": true,
                "masking": true, "raw_variables": true, "return_exit_code": true, "trace_checksum": true
            }
        }
    });
    loop {
        let answer = client.send_json("POST", "/api/v4/jobs/request", &[], &ask).await?;
        if answer.status() == 204 {
            ask["last_update"] = answer.header("x-gitlab-last-update").unwrap_or_default().into();
            continue;
        }
        let payload = expect(answer, 201, "job request")?.json();
        let got = wall();
        let job = payload["id"].as_i64().ok_or("a job has no id")?;
        let token = payload["token"].as_str().unwrap_or_default();
        work(&mut client, job, token).await?;
        if done.send(Ok(Done { job, got })).is_err() {
            return Ok(());
        }
    }
}

async fn work(client: &mut PlainClient, job: i64, token: &str) -> Result<(), Failed> {
    let path = format!("/api/v4/jobs/{job}");
    let state = |state: &str| -> Value { json!({"token": token, "state": state}) };
    expect(client.send_json("PUT", &path, &[], &state("running")).await?, 200, "accept")?;
    let log = "a line of the log\n".repeat(LOG / 18);
    let range = format!("0-{}", log.len() - 1);
    let headers = [("job-token", token), ("content-range", range.as_str()), ("content-type", "text/plain")];
    let answer = client.send("PATCH", &format!("{path}/trace"), &headers, log.as_bytes()).await?;
    expect(answer, 202, "log")?;
    let boundary = "harrier-bench";
    let mut form = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"artifacts.zip\"\r\n\r\n"
    )
    .into_bytes();
    form.extend(std::iter::repeat_n(b'z', ARCHIVE));
    form.extend(format!("\r\n--{boundary}--\r\n").bytes());
    let kind = format!("multipart/form-data; boundary={boundary}");
    let headers = [("job-token", token), ("content-type", kind.as_str())];
    let answer =
        client.send("POST", &format!("{path}/artifacts?artifact_format=zip"), &headers, &form).await?;
    expect(answer, 201, "artifact")?;
    expect(client.send_json("PUT", &path, &[], &state("success")).await?, 200, "end")?;
    Ok(())
}
