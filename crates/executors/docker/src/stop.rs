//! Stopping the build container (`executors.md` §10.9): its processes are told to end, the youngest first, so that the
//! script can still react; then the engine stops the container.
//!
//! Called by a running stage. It must never reach processes outside the container.

use crate::connection::words;
use crate::place::Place;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::StopContainerOptions;
use futures_util::StreamExt;
use std::time::Duration;

/// Of the whole step.
const TERM_LIMIT: Duration = Duration::from_secs(10);
/// The engine's own grace before SIGKILL.
const ENGINE_GRACE: Duration = Duration::from_secs(10);

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
    let docker = &place.engine.docker;
    let options = CreateExecOptions::<String> {
        cmd: Some(vec!["sh".to_owned(), "-c".to_owned(), TERM_ALL.to_owned()]),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        // The script may run as another user than the image's.
        user: Some("0:0".to_owned()),
        ..CreateExecOptions::default()
    };
    let Ok(made) = docker.create_exec(name, options).await else { return };
    if let Ok(StartExecResults::Attached { mut output, .. }) = docker.start_exec(&made.id, None).await {
        while output.next().await.is_some_and(|part| part.is_ok()) {}
    }
}
