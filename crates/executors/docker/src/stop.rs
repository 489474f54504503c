//! Stopping the build container (`executors.md` §10.9): its processes are told to end, the youngest first, so that the
//! script can still react; then the engine stops the container.
//!
//! Called by a running stage. It must never reach processes outside the container.

use crate::attached::split;
use crate::connection::words;
use crate::error::DockerError;
use crate::place::Place;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::StopContainerOptions;
use futures_util::StreamExt;
use std::time::Duration;

/// Of the whole step.
const TERM_LIMIT: Duration = Duration::from_secs(10);
/// The engine's own grace before SIGKILL.
const ENGINE_GRACE: Duration = Duration::from_secs(10);

/// Most bytes that are kept of what a program says.
const SAID_LIMIT: usize = 64 * 1024;

/// Sends TERM to all processes but 1 and itself, highest number first, and waits up to five seconds for each.
const TERM_ALL: &str = r#"
self=$$
list=
for dir in /proc/[0-9]*; do
  pid=${dir#/proc/}
  [ "$pid" = 1 ] || [ "$pid" = "$self" ] || list="$list $pid"
done
while [ -n "$list" ]; do
  last=0
  for pid in $list; do [ "$pid" -gt "$last" ] && last=$pid; done
  rest=
  for pid in $list; do [ "$pid" = "$last" ] || rest="$rest $pid"; done
  list=$rest
  kill -TERM "$last" 2>/dev/null || continue
  tries=0
  while [ "$tries" -lt 50 ] && kill -0 "$last" 2>/dev/null; do
    tries=$((tries + 1))
    sleep 0.1 2>/dev/null || sleep 1 2>/dev/null || break
  done
done
"#;

/// Stops the build container within `grace`; at the end it is killed. Errors are told to the runner's own log only:
/// whoever waits for the container sees whether it ended.
pub(crate) async fn stop(place: &Place, grace: Duration) {
    let name = &place.ticket.build;
    let own_processes = place.containers.build.pid_mode.is_none();
    if !place.containers.native_stop && own_processes {
        let _ = tokio::time::timeout(TERM_LIMIT.min(grace), term_all(place, name)).await;
    }
    let seconds = i32::try_from(ENGINE_GRACE.min(grace).as_secs()).unwrap_or(10);
    let options = StopContainerOptions { signal: None, t: Some(seconds) };
    if let Err(error) = place.engine.docker.stop_container(name, Some(options)).await {
        tracing::warn!(
            container = name.as_str(),
            error = words(&error),
            "the engine cannot stop the container"
        );
        kill(place).await;
    }
}

/// At once.
pub(crate) async fn kill(place: &Place) {
    if let Err(error) = place.kill(&place.ticket.build).await {
        tracing::warn!(%error, "the build container cannot be killed");
    }
}

async fn term_all(place: &Place, name: &str) {
    // As root: the script may run as another user than the image's.
    if let Err(error) = said_by(place, name, &["sh", "-c", TERM_ALL], Some("0:0")).await {
        tracing::debug!(%error, "the processes of a container cannot be told to end");
    }
}

/// Runs a program in a container that runs; what it says, its errors as well. `None` is the container's own user.
pub(crate) async fn said_by(
    place: &Place,
    name: &str,
    command: &[&str],
    user: Option<&str>,
) -> Result<String, DockerError> {
    let docker = &place.engine.docker;
    let failed = || DockerError::engine(&place.engine.address, format!("run a program in {name}"));
    let options = CreateExecOptions::<String> {
        cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        user: user.map(str::to_owned),
        ..CreateExecOptions::default()
    };
    let made = docker.create_exec(name, options).await.map_err(failed())?;
    let mut said = Vec::new();
    if let StartExecResults::Attached { mut output, .. } =
        docker.start_exec(&made.id, None).await.map_err(failed())?
    {
        while let Some(Ok(part)) = output.next().await {
            if said.len() < SAID_LIMIT {
                said.extend_from_slice(&split(part).1);
            }
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
