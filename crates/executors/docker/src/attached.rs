//! A container that runs with its streams in our hands: its main process gets its work on standard input; what it says
//! goes to the job's raw log.
//!
//! Called by the session. Output is copied as it comes and never held.

use crate::connection::{Engine, status};
use crate::error::DockerError;
use crate::place::{Place, state};
use crate::words::Words;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerState};
use bollard::query_parameters::{AttachContainerOptions, WaitContainerOptions};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use harrier_logpipe::FrameKind;
use harrier_store::StoreError;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;

/// The stream number of what a job says.
pub(crate) const JOB_STREAM: u8 = 1;
/// How long output may be silent after the end of its container before it counts as whole.
const DRAIN: Duration = Duration::from_secs(2);
/// How long an engine that does not answer may take to come back.
const ENGINE_TRIES: u32 = 60;
const ENGINE_PAUSE: Duration = Duration::from_secs(1);
/// How long an engine may take to say that it is there: it may be busy, or be restarted behind a socket that stays open.
const PING: Duration = Duration::from_secs(60);
/// Exit codes above this one are of signals.
const LAST_CODE: i64 = 128;
/// How much earlier than another a container may have ended that was killed at the same time.
const SAME_TIME: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);
/// How often the mark of a full log is looked for.
const LOOK_EVERY: u64 = 256 * 1024;

/// What a container says.
pub(crate) type Output = BoxStream<'static, Result<LogOutput, Error>>;

/// A started container.
pub(crate) struct Attached {
    pub output: Output,
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    pub end: JoinHandle<Result<i64, DockerError>>,
}

/// Attaches to a container that does not run, and starts it.
pub(crate) async fn attach_and_start(place: &Place, name: &str) -> Result<Attached, DockerError> {
    let options = AttachContainerOptions {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        logs: false,
        detach_keys: None,
    };
    let AttachContainerResults { output, input } = place
        .engine
        .docker
        .attach_container(name, Some(options))
        .await
        .map_err(DockerError::engine(&place.engine.address, format!("attach to the container {name}")))?;
    place.start(name).await?;
    // The build container does not run as long as the helper does.
    let beside = (*name == place.ticket.build).then(|| place.ticket.helper.clone());
    let (engine, name) = (place.engine.clone(), name.to_owned());
    let end = tokio::spawn(async move { ended(&engine, &name, beside.as_deref()).await });
    Ok(Attached { output, input, end })
}

/// Waits until the container does not run; its exit code. `beside`: a container of the job that has to outlive it.
pub(crate) async fn ended(engine: &Engine, name: &str, beside: Option<&str>) -> Result<i64, DockerError> {
    let mut tries = 0;
    let mut broken = false;
    loop {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let answer = engine.docker.wait_container(name, Some(options)).next().await;
        let error = match answer {
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) if broken => {
                return Err(DockerError::Lost(format!(
                    "the engine at {} was restarted while the container {name} ran; retry the job",
                    engine.address
                )));
            }
            Some(Ok(answer)) => return truly(engine, name, beside, answer.status_code).await,
            Some(Err(Error::DockerContainerWaitError { code, .. })) => {
                return truly(engine, name, beside, code).await;
            }
            Some(Err(error)) if status(&error) == Some(404) => {
                return Err(DockerError::Gone { name: name.to_owned() });
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        broken = true;
        tries += 1;
        if tries == ENGINE_TRIES {
            let cause =
                error.as_ref().map_or_else(|| "it ended its answer".to_owned(), crate::connection::words);
            return Err(DockerError::Lost(format!(
                "the engine at {} does not answer any more while the container {name} runs: {cause}",
                engine.address
            )));
        }
        tokio::time::sleep(ENGINE_PAUSE).await;
    }
}

/// An engine that shuts down ends its containers and still tells of it, but lets nobody in any more: such an end is not the
/// container's own. Behind a socket that stays open the next engine answers instead; then the container beside tells.
async fn truly(engine: &Engine, name: &str, beside: Option<&str>, code: i64) -> Result<i64, DockerError> {
    if code == 0 {
        return Ok(code);
    }
    let what = match tokio::time::timeout(PING, engine.docker.ping()).await {
        Err(_) => "does not answer any more; it was stopped",
        Ok(Err(_)) => "was stopped",
        Ok(Ok(_)) => match beside {
            Some(beside) if killed_together(engine, name, beside).await? => {
                "was restarted, or somebody killed the helper container as well,"
            }
            Some(_) | None => return Ok(code),
        },
    };
    Err(DockerError::Lost(format!(
        "the engine at {} {what} while the container {name} ran; retry the job",
        engine.address
    )))
}

/// Whether the container beside was killed at the end of this one. One that was killed before has nothing to do with it.
async fn killed_together(engine: &Engine, name: &str, beside: &str) -> Result<bool, DockerError> {
    let (this, other) = tokio::try_join!(state(engine, name), state(engine, beside))?;
    let state = |found: Option<ContainerInspectResponse>| found.and_then(|found| found.state);
    let (Some(this), Some(other)) = (state(this), state(other)) else { return Ok(false) };
    let end = |state: &ContainerState| state.finished_at.as_ref()?.parse::<jiff::Timestamp>().ok();
    let (Some(this_end), Some(other_end)) = (end(&this), end(&other)) else { return Ok(false) };
    Ok(other.running == Some(false)
        && other.exit_code.is_some_and(|code| code > LAST_CODE)
        && this_end.duration_since(other_end) <= SAME_TIME)
}

impl Attached {
    /// Gives the work to the main process. With `last` its input ends. A process that does not want it is no
    /// error here: its end tells more.
    pub async fn tell(&mut self, work: &[u8], last: bool) {
        let _ = self.input.write_all(work).await;
        let _ = self.input.flush().await;
        if last {
            let _ = self.input.shutdown().await;
        }
    }
}

/// Where a stage's output goes.
pub(crate) struct Sink {
    words: Words,
    full_marker: PathBuf,
    stream: u8,
    full: bool,
    since_look: u64,
    lost: Option<StoreError>,
}

impl Sink {
    pub fn new(place: &Place, stream: u8) -> Self {
        Self {
            words: place.words.clone(),
            full_marker: place.dir.full_marker(),
            stream,
            full: false,
            since_look: LOOK_EVERY,
            lost: None,
        }
    }

    /// Keeps output, unless nobody will see it.
    pub fn take(&mut self, kind: FrameKind, bytes: &[u8]) {
        self.since_look += bytes.len() as u64;
        if self.since_look >= LOOK_EVERY {
            self.since_look = 0;
            self.full = self.full || self.full_marker.exists();
        }
        if self.full || self.lost.is_some() || bytes.is_empty() {
            return;
        }
        self.lost = self.words.frame(kind, self.stream, bytes).err();
    }

    /// An error if output was lost.
    pub fn close(self) -> Result<(), DockerError> {
        self.lost
            .map_or(Ok(()), |error| Err(DockerError::Lost(format!("output of the job was lost: {error}"))))
    }
}

/// Which of the two streams, and what.
pub(crate) fn split(output: LogOutput) -> (FrameKind, bytes::Bytes) {
    match output {
        LogOutput::StdErr { message } => (FrameKind::Stderr, message),
        LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            (FrameKind::Stdout, message)
        }
    }
}

/// Copies output until it ends and the container has ended; the container's exit code. The streams of some engines do
/// not end with the container, so after its end only what is on its way is waited for.
pub(crate) async fn copy<S>(
    output: &mut S,
    end: &mut JoinHandle<Result<i64, DockerError>>,
    mut take: impl FnMut(FrameKind, &[u8]),
) -> Result<i64, DockerError>
where
    S: Stream<Item = Result<LogOutput, Error>> + Unpin,
{
    let mut code = None;
    let mut open = true;
    loop {
        if !open && let Some(code) = code.take() {
            return code;
        }
        tokio::select! {
            biased;
            next = output.next(), if open => match next {
                Some(Ok(part)) => {
                    let (kind, bytes) = split(part);
                    take(kind, &bytes);
                }
                // A broken stream: the container's end says why.
                Some(Err(_)) | None => open = false,
            },
            ended = &mut *end, if code.is_none() => {
                code = Some(ended.unwrap_or_else(|error| Err(DockerError::Lost(error.to_string()))));
            }
            () = tokio::time::sleep(DRAIN), if code.is_some() => open = false,
        }
    }
}
