//! A person in a job's build container after the job (`--keep`, `harrier shell`; `executors.md` §10.12): the container is kept
//! awake for a while, and a shell with the job's environment is opened in it.
//!
//! Called by the session's end and by the rim. It must never show the job's variables on a command line.

use crate::connection::{Engine, words};
use crate::error::DockerError;
use crate::place::{Place, Ticket};
use crate::session::{HelperHand, build_again};
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use harrier_plan::JobPlan;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, watch};

/// An image without `sleep` shows it within this time.
const AWAKE: Duration = Duration::from_millis(700);
/// The variable that carries the text of the visit.
const TEXT: &str = "HARRIER_VISIT";
/// No length limits of command lines, and nothing that a list of processes shows.
const COMMAND: &str =
    "_harrier_text=$HARRIER_VISIT; unset HARRIER_VISIT; eval \"unset _harrier_text; $_harrier_text\"";

/// Who comes.
pub struct Visitor {
    /// Columns and rows of a terminal, as they change; `None`: no terminal.
    pub terminal: Option<watch::Receiver<(u16, u16)>>,
    /// `TERM`
    pub kind: Option<String>,
    /// What the person types.
    pub input: Box<dyn AsyncRead + Send + Unpin>,
    /// What the person sees.
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
    /// The same of standard error; of a terminal all is in `output`.
    pub errors: Box<dyn AsyncWrite + Send + Unpin>,
}

/// Keeps the build container awake for `time`: then it ends by itself, whoever is still there. The helper has nothing more
/// to do, but its network may be the build container's; services go on.
pub(crate) async fn keep(
    place: &Place,
    helper: &Mutex<HelperHand>,
    time: Duration,
) -> Result<(), DockerError> {
    if !place.ticket.joined {
        place.remove_container(&place.ticket.helper, true).await?;
    }
    stay_awake(place, helper, time).await
}

/// Starts the build container once more, to do nothing for `time`.
pub(crate) async fn stay_awake(
    place: &Place,
    helper: &Mutex<HelperHand>,
    time: Duration,
) -> Result<(), DockerError> {
    let mut attached = build_again(place, helper).await?;
    let script = format!("exec sleep {}\n", time.as_secs().max(1));
    attached.tell(script.as_bytes(), true).await;
    let ended = tokio::time::timeout(AWAKE, &mut attached.end).await;
    attached.end.abort();
    match ended {
        Err(_) => Ok(()),
        Ok(_) => Err(DockerError::Lost(format!(
            "the image {} has no shell with `sleep`, which keeps a container awake; use an image that has one",
            place.containers.image.name
        ))),
    }
}

/// Opens a shell and stays until it ends; its exit code.
pub(crate) async fn visit(
    engine: &Engine,
    job: &JobPlan,
    ticket: &Ticket,
    visitor: Visitor,
) -> Result<i32, DockerError> {
    let name = &ticket.build;
    let docker = &engine.docker;
    let failed = |doing: &str| DockerError::engine(&engine.address, format!("{doing} the container {name}"));
    let Visitor { terminal, kind, mut input, mut output, mut errors } = visitor;
    let mut environment = vec![format!("{TEXT}={}", job.visit_text())];
    environment.extend(kind.filter(|_| terminal.is_some()).map(|kind| format!("TERM={kind}")));
    let options = CreateExecOptions {
        cmd: Some(vec!["sh".to_owned(), "-c".to_owned(), COMMAND.to_owned()]),
        env: Some(environment),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal.is_some()),
        ..CreateExecOptions::default()
    };
    let made = docker.create_exec(name, options).await.map_err(failed("open a shell in"))?;
    let start = StartExecOptions { detach: false, tty: terminal.is_some(), output_capacity: None };
    let started = docker.start_exec(&made.id, Some(start)).await.map_err(failed("open a shell in"))?;
    let StartExecResults::Attached { output: mut said, input: mut typed } = started else {
        return Err(DockerError::Lost(
            "the engine has started the shell without its input and output".to_owned(),
        ));
    };
    let typing = tokio::spawn(async move {
        // The end of one is the end of the other; errors are those of a side that is gone.
        let _ = tokio::io::copy(&mut input, &mut typed).await;
        let _ = typed.shutdown().await;
        // What is dropped closes the whole connection in some engines.
        std::future::pending::<()>().await;
    });
    let resizing = {
        let (docker, id) = (docker.clone(), made.id.clone());
        tokio::spawn(async move {
            let Some(mut size) = terminal else { return };
            loop {
                let (width, height) = *size.borrow_and_update();
                // A shell that has just ended has no size.
                let _ = docker.resize_exec(&id, ResizeExecOptions { width, height }).await;
                if size.changed().await.is_err() {
                    return;
                }
            }
        })
    };
    while let Some(part) = said.next().await {
        let part = part.map_err(|error| {
            DockerError::Lost(format!("the connection to the shell has broken: {}", words(&error)))
        })?;
        let (kind, bytes) = crate::attached::split(part);
        let to = if kind == harrier_logpipe::FrameKind::Stderr { &mut errors } else { &mut output };
        // A reader that is gone ends the visit.
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    typing.abort();
    resizing.abort();
    let ended = docker.inspect_exec(&made.id).await.map_err(failed("look at the shell in"))?;
    Ok(ended.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(1))
}
