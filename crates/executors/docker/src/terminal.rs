//! A person at a terminal in the build container while the job runs (`executors.md` §10.12): an exec with a terminal of its own.
//!
//! The container ends with each script and may be started again for the next; the visitor is taken along. What is typed and
//! shown is in no log.

use crate::connection::words;
use crate::error::DockerError;
use crate::place::Place;
use crate::shell_detect::SHELLS;
use async_trait::async_trait;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use harrier_engine::{Door, VisitError, Visitor};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long the container may take to run.
const READY: Duration = Duration::from_secs(15);
/// Between two looks at the container.
const LOOK: Duration = Duration::from_millis(200);
/// How long a container that has ended may seem to run, on a busy engine.
const SETTLED: Duration = Duration::from_secs(30);
/// Exit code of what was killed, as everything in a container is when the container ends.
const KILLED: i64 = 137;

/// The way in.
pub(crate) struct Entrance {
    pub place: Arc<Place>,
}

/// How a shell ended.
enum End {
    /// By itself, or the visitor has left.
    Over,
    /// With its container.
    WithContainer,
}

#[async_trait]
impl Door for Entrance {
    async fn visit(&self, mut visitor: Visitor) -> Result<(), VisitError> {
        let name = &self.place.ticket.build;
        match tokio::time::timeout(READY, self.runs()).await {
            Ok(runs) => runs.map_err(told)?,
            Err(_) => {
                let message = format!(
                    "the container {name} does not run yet: its image may still be pulled; try again"
                );
                return Err(VisitError { message });
            }
        }
        loop {
            match self.shell(&mut visitor).await.map_err(told)? {
                End::Over => return Ok(()),
                End::WithContainer => {}
            }
            let words = "\r\n[the script has ended, and this shell with its container]\r\n";
            if visitor.output.write_all(words.as_bytes()).await.is_err()
                || visitor.output.flush().await.is_err()
            {
                return Ok(());
            }
            tokio::select! {
                // The desk closes when nothing runs there any more.
                runs = self.runs() => runs.map_err(told)?,
                () = left(&mut visitor) => return Ok(()),
            }
        }
    }
}

fn told(error: DockerError) -> VisitError {
    VisitError { message: error.to_string() }
}

/// Waits until the visitor leaves; what is typed to nobody is lost.
async fn left(visitor: &mut Visitor) {
    let mut buffer = [0; 1024];
    while visitor.input.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

impl Entrance {
    /// Waits until the container runs.
    async fn runs(&self) -> Result<(), DockerError> {
        while self.running_since().await?.is_none() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// When the container was started, if it runs: it may be started again at any moment.
    async fn running_since(&self) -> Result<Option<String>, DockerError> {
        let found = self.place.state(&self.place.ticket.build).await?;
        let state = found.and_then(|found| found.state);
        Ok(state
            .filter(|state| state.running == Some(true))
            .map(|state| state.started_at.unwrap_or_default()))
    }

    /// One shell, to its end.
    async fn shell(&self, visitor: &mut Visitor) -> Result<End, DockerError> {
        let (name, docker) = (&self.place.ticket.build, &self.place.engine.docker);
        let failed = |doing: &str| {
            DockerError::engine(&self.place.engine.address, format!("{doing} the container {name}"))
        };
        let options = CreateExecOptions {
            cmd: Some(vec!["sh".to_owned(), "-c".to_owned(), command(&self.place.job.dirs.project)]),
            env: Some(vec!["TERM=xterm-256color".to_owned()]),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(true),
            ..CreateExecOptions::default()
        };
        let since = self.running_since().await?;
        let made = match docker.create_exec(name, options).await.map_err(failed("open a terminal in")) {
            // It has ended in between.
            Err(DockerError::Engine { status: Some(404 | 409), .. }) => return Ok(End::WithContainer),
            made => made?,
        };
        let start = StartExecOptions { detach: false, tty: true, output_capacity: None };
        let started = docker.start_exec(&made.id, Some(start)).await.map_err(failed("open a terminal in"))?;
        let StartExecResults::Attached { output: mut said, input: mut typed } = started else {
            return Err(DockerError::Lost("the engine has started a shell without its terminal".to_owned()));
        };
        let (width, height) = visitor.size;
        // A shell that has just ended has no size.
        let _ = docker.resize_exec(&made.id, ResizeExecOptions { width, height }).await;
        let Visitor { input, output, .. } = visitor;
        let typing = async {
            let mut buffer = [0; 4096];
            loop {
                match input.read(&mut buffer).await {
                    Ok(count @ 1..) if typed.write_all(&buffer[..count]).await.is_ok() => {
                        let _ = typed.flush().await;
                    }
                    // The shell is gone, which the other side sees as well.
                    Ok(1..) => std::future::pending().await,
                    Ok(0) | Err(_) => return,
                }
            }
        };
        let showing = async {
            while let Some(part) = said.next().await {
                let part = part.map_err(|error| {
                    DockerError::Lost(format!("the connection to the terminal has broken: {}", words(&error)))
                })?;
                let (_, bytes) = crate::attached::split(part);
                if output.write_all(&bytes).await.is_err() || output.flush().await.is_err() {
                    break;
                }
            }
            Ok::<_, DockerError>(())
        };
        tokio::select! {
            () = typing => return Ok(End::Over),
            shown = showing => shown?,
        }
        let code = docker.inspect_exec(&made.id).await.ok().and_then(|ended| ended.exit_code);
        if code.is_some_and(|code| code != KILLED) {
            return Ok(End::Over);
        }
        let stopped = async {
            while self.running_since().await? == since {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, DockerError>(())
        };
        match tokio::time::timeout(SETTLED, stopped).await {
            Ok(stopped) => stopped.map(|()| End::WithContainer),
            Err(_) => Ok(End::Over),
        }
    }
}

/// A login shell in the project's directory. The job's variables are in the container's environment.
fn command(project: &std::path::Path) -> String {
    let quoted = project.to_string_lossy().replace('\'', r"'\''");
    let mut text = format!("cd '{quoted}' 2>/dev/null\n");
    for shell in SHELLS {
        text.push_str(&format!("[ -x {shell} ] && exec {shell} -l\n"));
    }
    text.push_str("exec sh -l\n");
    text
}
