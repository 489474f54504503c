//! Tells the server what a job does while it does it, and how it ended: the shell around
//! [`ReporterMachine`](crate::ReporterMachine), with the log file, the clock and the client.
//!
//! The runner host starts one [`report`] a job, beside `run_job`. It must never change the log, and it stops a job only
//! when the server says so.

use crate::reporter_machine::{Now, Reported, ReporterMachine, Signal, Step};
use crate::{FinishedLog, LogView, Stop, StopReason};
use bytes::Bytes;
use harrier_api::{Info, JobState, Output, UpdateRequest};
use harrier_base::{FailureReason, Secret};
use harrier_client::{Client, PatchAnswer, Patched, UpdateAnswer};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The job's result as the server is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalState {
    /// Passed or not.
    pub success: bool,
    /// Only of a failed job; already what this server understands ([`FailureReason::for_server`]).
    pub reason: Option<FailureReason>,
    /// Of the script; 0 is not sent.
    pub exit_code: Option<i32>,
    /// The whole log.
    pub log: FinishedLog,
}

/// One job to report.
pub struct ReportCx {
    /// Its server.
    pub client: Client,
    /// Its id.
    pub job_id: i64,
    /// Its token.
    pub token: Secret,
    /// Sent with every state.
    pub info: Info,
    /// Its log.
    pub log: LogView,
    /// `CI_DEBUG_TRACE` or `CI_DEBUG_SERVICES` is on: the server restricts who may read the log.
    pub debug_trace: bool,
    /// Bytes of the log that an earlier process of this runner had sent.
    pub start: u64,
    /// `job_status_final_update_retry_limit`
    pub retry_limit: u32,
    /// Pulled when the server cancels or drops the job.
    pub stop: Stop,
}

/// Reports until the server has acknowledged the final state that comes through `finished`, or wants nothing more.
/// `acknowledged` is told how many bytes of the log the server has, each time it has taken some. `None`: the
/// sender of `finished` was dropped, nothing final was reported and a later process may do it.
pub async fn report(
    cx: ReportCx,
    mut finished: oneshot::Receiver<FinalState>,
    mut acknowledged: impl FnMut(u64) + Send,
) -> Option<Reported> {
    let begin = Instant::now();
    let now = || -> Now { begin.elapsed() };
    let mut machine = ReporterMachine::new(now(), cx.start, cx.retry_limit);
    let mut known = Known::new(cx.start);
    let mut last: Option<FinalState> = None;
    loop {
        if last.is_none() {
            match finished.try_recv() {
                Ok(state) => {
                    machine.finish(now(), state.log.len);
                    last = Some(state);
                }
                Err(oneshot::error::TryRecvError::Empty) => machine.grown(*cx.log.committed.borrow()),
                Err(oneshot::error::TryRecvError::Closed) => return None,
            }
        }
        let signal = match machine.step(now()) {
            Step::Done => return machine.outcome().cloned(),
            Step::Wait(until) => {
                let sleep = tokio::time::sleep_until(begin + until);
                if last.is_some() {
                    sleep.await;
                } else {
                    tokio::select! {
                        () = sleep => {}
                        state = &mut finished => match state {
                            Ok(state) => {
                                machine.finish(now(), state.log.len);
                                last = Some(state);
                            }
                            Err(_) => return None,
                        },
                    }
                }
                continue;
            }
            Step::Patch { start, len } => {
                let answer = match known.read(&cx.log.path, start, len).await {
                    Ok(bytes) => {
                        cx.client.patch_trace(cx.job_id, &cx.token, start, bytes, cx.debug_trace).await
                    }
                    Err(error) => unreadable(&cx, &error),
                };
                let appended = answer.patched == Patched::Appended;
                told(&cx, "log", &answer.patched);
                let signal = machine.patched(now(), &answer);
                if appended {
                    acknowledged(machine.acknowledged());
                }
                signal
            }
            Step::Touch => {
                let answer = cx.client.update_job(cx.job_id, &known.touch(&cx)).await;
                machine.updated(now(), &answer)
            }
            Step::Final => {
                let Some(state) = &last else { return None };
                let answer = cx.client.update_job(cx.job_id, &final_update(&cx, state)).await;
                told_final(&cx, &machine, &answer);
                machine.updated(now(), &answer)
            }
        };
        match signal {
            None => {}
            Some(Signal::Cancel) => {
                tracing::info!(job = cx.job_id, "the server has cancelled the job");
                cx.stop.pull(StopReason::Canceled);
            }
            Some(Signal::Abort(why)) => {
                if last.is_none() {
                    tracing::warn!(job = cx.job_id, why, "the server has dropped the job; it is stopped");
                }
                cx.stop.pull(StopReason::Aborted);
            }
        }
    }
}

/// The first state of a job: accepted (§3.6). Its `output` is empty.
pub fn acceptance(info: &Info, token: &Secret) -> UpdateRequest {
    UpdateRequest {
        info: info.clone(),
        token: token.clone(),
        state: JobState::Running,
        ..UpdateRequest::default()
    }
}

fn final_update(cx: &ReportCx, state: &FinalState) -> UpdateRequest {
    let checksum = format!("crc32:{:08x}", state.log.crc32);
    UpdateRequest {
        info: cx.info.clone(),
        token: cx.token.clone(),
        state: if state.success { JobState::Success } else { JobState::Failed },
        failure_reason: state.reason.filter(|_| !state.success).map_or("", FailureReason::wire).to_owned(),
        checksum: checksum.clone(),
        output: Output { checksum, bytesize: state.log.len },
        exit_code: state.exit_code.filter(|code| *code != 0),
    }
}

/// What was read of the log so far, for the checksum of a touch.
struct Known {
    file: Option<Arc<File>>,
    crc: crc32fast::Hasher,
    upto: u64,
}

impl Known {
    /// Reading began at `start`; a touch before that is repeated says nothing of the log.
    fn new(start: u64) -> Self {
        Self { file: None, crc: crc32fast::Hasher::new(), upto: if start == 0 { 0 } else { u64::MAX } }
    }

    async fn read(&mut self, path: &Path, start: u64, len: u64) -> io::Result<Bytes> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = Arc::new(File::open(path)?);
                self.file = Some(Arc::clone(&file));
                file
            }
        };
        let bytes = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, start)?;
            Ok::<_, io::Error>(bytes)
        })
        .await
        .map_err(io::Error::other)??;
        if start <= self.upto && start + len > self.upto {
            let fresh = usize::try_from(self.upto - start).map_err(io::Error::other)?;
            self.crc.update(&bytes[fresh..]);
            self.upto = start + len;
        }
        Ok(bytes.into())
    }

    fn touch(&self, cx: &ReportCx) -> UpdateRequest {
        let mut request = acceptance(&cx.info, &cx.token);
        if self.upto != u64::MAX {
            let checksum = format!("crc32:{:08x}", self.crc.clone().finalize());
            request.checksum = checksum.clone();
            request.output = Output { checksum, bytesize: self.upto };
        }
        request
    }
}

fn unreadable(cx: &ReportCx, error: &io::Error) -> PatchAnswer {
    let why = format!("cannot read the job's log {}: {error}", cx.log.path.display());
    tracing::error!(job = cx.job_id, "{why}");
    // Not the server's fault, but the limit of tries must not grow without end.
    PatchAnswer {
        patched: Patched::Failed { why, unreachable: false },
        cancel_requested: false,
        interval: None,
    }
}

fn told(cx: &ReportCx, what: &str, patched: &Patched) {
    match patched {
        Patched::Appended => {}
        Patched::Resync(size) => {
            tracing::info!(
                job = cx.job_id,
                size,
                "the server has another length of the {what}; going on from there"
            );
        }
        Patched::NotFound => tracing::warn!(job = cx.job_id, "the server does not find the job's {what}"),
        Patched::Failed { why, .. } => {
            tracing::warn!(job = cx.job_id, error = why, "sending the {what} failed; it is sent again later");
        }
        Patched::Abort(_) => {}
    }
}

fn told_final(cx: &ReportCx, machine: &ReporterMachine, answer: &UpdateAnswer) {
    use harrier_client::Updated;
    match &answer.updated {
        Updated::Accepted | Updated::Abort(_) => {}
        Updated::Pending => tracing::debug!(job = cx.job_id, "the server still stores the log"),
        Updated::TraceInvalid => {
            tracing::warn!(job = cx.job_id, "the server's log is damaged; all of it is sent again");
        }
        Updated::Failed { why, .. } => tracing::warn!(
            job = cx.job_id,
            error = why,
            failures = machine.failures() + 1,
            "reporting the job's result failed"
        ),
    }
}
