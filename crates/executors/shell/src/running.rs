//! Stages that run: waiting for them and stopping them.

use crate::in_process;
use crate::session::Place;
use async_trait::async_trait;
use harrier_base::FailureReason;
use harrier_engine::{Exit, Ladder, Running, Stop, StopReason, WaitError};
use harrier_plan::HelperRequest;
use harrier_process::{Lost, StopFailed, Supervised, stop_ladder};
use harrier_store::StoreError;
use std::future::pending;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A stage under a supervisor.
pub(crate) struct Supervision {
    program: Supervised,
    place: Place,
    /// When it was first asked to stop, and why: `wait` may be called again.
    asked: Option<(Instant, StopReason)>,
}

impl Supervision {
    pub fn new(program: Supervised, place: Place) -> Self {
        Self { program, place, asked: None }
    }

    /// The end of a program in the engine's words.
    pub fn exit(exit: harrier_process::Exit) -> Result<Exit, WaitError> {
        if let Some(why) = exit.not_started {
            return Err(failed(why));
        }
        if exit.output_lost > 0 {
            let why = exit.output_error.unwrap_or_else(|| "the log could not be written".into());
            return Err(failed(format!("{} bytes of the job's output were lost: {why}", exit.output_lost)));
        }
        Ok(Exit { code: exit.code.unwrap_or(-1), text: exit.to_string() })
    }

    async fn lost(&self, lost: Lost) -> WaitError {
        // Nobody looks after the program any more.
        self.place.sweep().await;
        failed(lost.to_string())
    }
}

#[async_trait]
impl Running for Supervision {
    /// A cancel that is followed by a harder stop (the server has dropped the job, the second Ctrl-C) does not wait for the
    /// rest of the grace.
    async fn wait(&mut self, stop: &Stop, ladder: Ladder) -> Result<Exit, WaitError> {
        let reason = tokio::select! {
            biased;
            ended = self.program.wait() => return match ended {
                Ok(exit) => Self::exit(exit),
                Err(lost) => Err(self.lost(lost).await),
            },
            reason = stop.pulled() => reason,
        };
        let (since, first) = self.asked.get_or_insert_with(|| (Instant::now(), reason)).clone();
        let harder = async {
            match first {
                StopReason::Canceled => {
                    stop.pulled_other_than(&[StopReason::Canceled]).await;
                }
                StopReason::Aborted | StopReason::TimedOut | StopReason::Interrupted(_) => pending().await,
            }
        };
        let graceful = ladder.graceful.saturating_sub(since.elapsed());
        match stop_ladder(&mut self.program, graceful, ladder.force, harder).await {
            Ok(exit) => Self::exit(exit),
            Err(StopFailed::Lost(lost)) => Err(self.lost(lost).await),
            Err(dormant @ StopFailed::Dormant { .. }) => Err(failed(dormant.to_string())),
        }
    }
}

/// A stage on a thread of this process.
pub(crate) struct InProcess {
    key: String,
    work: JoinHandle<Result<Exit, StoreError>>,
    ended: Option<Result<Exit, String>>,
}

impl InProcess {
    pub fn start(place: &Place, key: &str, request: HelperRequest) -> Self {
        let (place, name) = (place.clone(), key.to_owned());
        let work = tokio::task::spawn_blocking(move || in_process::run(&place, &name, &request));
        Self { key: key.to_owned(), work, ended: None }
    }

    async fn end(&mut self) -> Result<Exit, WaitError> {
        if self.ended.is_none() {
            let ended = match (&mut self.work).await {
                Ok(done) => done.map_err(|error| error.to_string()),
                Err(error) => Err(format!("`{}` failed inside Harrier: {error}", self.key)),
            };
            self.ended = Some(ended);
        }
        match &self.ended {
            Some(Ok(exit)) => Ok(exit.clone()),
            Some(Err(message)) => Err(failed(message.clone())),
            None => Err(failed(format!("`{}` has no end", self.key))),
        }
    }
}

#[async_trait]
impl Running for InProcess {
    /// It takes milliseconds, so it is not stopped but waited for; if its file system hangs it is given up.
    async fn wait(&mut self, stop: &Stop, ladder: Ladder) -> Result<Exit, WaitError> {
        tokio::select! {
            biased;
            ended = self.end() => return ended,
            _ = stop.pulled() => {}
        }
        let hangs = format!("`{}` hangs in the file system, likely process is dormant", self.key);
        tokio::time::timeout(ladder.force, self.end()).await.unwrap_or_else(|_| Err(failed(hangs)))
    }
}

fn failed(message: String) -> WaitError {
    WaitError { message, reason: FailureReason::RunnerSystemFailure }
}
