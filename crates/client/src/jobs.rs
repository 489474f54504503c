//! Jobs: request, state, log (`runner-api.md` §3, §5, §6). The answers are read into what the runner must do.

use crate::ClientError;
use crate::answer::Answer;
use crate::body::Body;
use crate::transport::{Call, Client, JOB_TOKEN, RUNNER_TOKEN};
use bytes::Bytes;
use harrier_api::{JobPayload, JobRequest, JobState, UpdateRequest};
use harrier_base::Secret;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_RANGE};
use std::time::Duration;

/// What a job request came to.
pub struct JobAnswer {
    /// What was handed out.
    pub asked: Asked,
    /// The server pushed back on the way (a retriable status was seen), even if an answer came in the end;
    /// for adaptive concurrency (§12.3).
    pub pushed_back: bool,
    /// The server has just said for the first time what the next request sends as `last_update` (§3.1): that one it may hold, this
    /// one it could not.
    pub can_hold_next: bool,
}

/// See [`JobAnswer`]; the rows of §3.5.
pub enum Asked {
    /// 201
    Job {
        /// The job.
        payload: Box<JobPayload>,
        /// Sent on to git.
        correlation_id: String,
    },
    /// 204
    Nothing,
    /// 403, unhealthy.
    Forbidden(String),
    /// The client could not be built, unhealthy.
    Unusable(String),
    /// Everything else; healthy.
    Failed(String),
}

/// What a state update came to (§5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateAnswer {
    /// What to do.
    pub updated: Updated,
    /// `Job-Status: canceling`
    pub cancel_requested: bool,
    /// New update interval, as sent (not capped).
    pub interval: Option<Duration>,
}

/// See [`UpdateAnswer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    /// 200
    Accepted,
    /// 202: sleep the interval, send the same again.
    Pending,
    /// 412: the server's log is not ours, send it again from byte 0.
    TraceInvalid,
    /// The server has no use for this job any more: kill it, report nothing. The text says why.
    Abort(String),
    /// Anything else. `unreachable` when no answer came at all or the server has trouble (408, 429, 5xx):
    /// asking again later may help; otherwise it refused.
    Failed {
        /// For our log.
        why: String,
        /// See above.
        unreachable: bool,
    },
}

/// What a piece of log came to (§6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchAnswer {
    /// What to do.
    pub patched: Patched,
    /// `Job-Status: canceling`
    pub cancel_requested: bool,
    /// New update interval, as sent (not capped).
    pub interval: Option<Duration>,
}

/// See [`PatchAnswer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// 202
    Appended,
    /// 416: the server has this many bytes.
    Resync(u64),
    /// As [`Updated::Abort`].
    Abort(String),
    /// 404
    NotFound,
    /// As [`Updated::Failed`].
    Failed {
        /// For our log.
        why: String,
        /// See there.
        unreachable: bool,
    },
}

impl Client {
    /// `POST /jobs/request` (§3). `last_update` is filled in from what the server said last. Dropping the
    /// future cancels the request.
    pub async fn request_job(&self, request: &JobRequest) -> JobAnswer {
        let knew = self.last_update(&request.token).is_some();
        let (asked, pushed_back) = match self.ask(request).await {
            Ok(answered) => answered,
            Err(error) if error.is_unusable() => (Asked::Unusable(error.to_string()), false),
            Err(error) => (Asked::Failed(error.to_string()), false),
        };
        let can_hold_next = !knew && self.last_update(&request.token).is_some();
        JobAnswer { asked, pushed_back, can_hold_next }
    }

    async fn ask(&self, request: &JobRequest) -> Result<(Asked, bool), ClientError> {
        let mut request = request.clone();
        if let Some(known) = self.last_update(&request.token) {
            request.last_update = known;
        }
        let call = Call::new(Method::POST, "jobs/request")
            .token(RUNNER_TOKEN, &request.token)
            .header(ACCEPT, "application/json", false)
            .json(&request)?;
        let answer = self.send(call).await?;
        self.remember_last_update(&request.token, &answer);
        let asked = match answer.status.as_u16() {
            201 => match answer.json() {
                Ok(payload) => {
                    Asked::Job { payload: Box::new(payload), correlation_id: answer.correlation_id.clone() }
                }
                Err(error) => Asked::Failed(error.to_string()),
            },
            204 => Asked::Nothing,
            403 => Asked::Forbidden(answer.error().to_string()),
            _ => Asked::Failed(answer.error().to_string()),
        };
        Ok((asked, answer.pushed_back))
    }

    /// `PUT /jobs/:id` (§5).
    pub async fn update_job(&self, id: i64, request: &UpdateRequest) -> UpdateAnswer {
        let call =
            Call::new(Method::PUT, format!("jobs/{id}")).token(JOB_TOKEN, &request.token).json(request);
        let answer = match call {
            Ok(call) => self.send(call).await,
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let unusable = error.is_unusable();
                let why = error.to_string();
                let updated =
                    if unusable { Updated::Abort(why) } else { Updated::Failed { why, unreachable: true } };
                return UpdateAnswer { updated, cancel_requested: false, interval: None };
            }
        };
        // A failure that was sent and taken comes back as the job's state.
        let taken = request.state == JobState::Failed && answer.status.as_u16() == 200;
        let updated = match (gone(&answer).filter(|_| !taken), answer.status.as_u16()) {
            (Some(why), _) => Updated::Abort(why),
            (None, 200) => Updated::Accepted,
            (None, 202) => Updated::Pending,
            (None, 412) => Updated::TraceInvalid,
            (None, 404) => Updated::Abort(answer.error().to_string()),
            (None, status) => {
                Updated::Failed { why: answer.error().to_string(), unreachable: in_trouble(status) }
            }
        };
        UpdateAnswer { updated, cancel_requested: canceling(&answer), interval: answer.interval() }
    }

    /// `PATCH /jobs/:id/trace` (§6). `bytes` is not empty and begins at `start`.
    pub async fn patch_trace(
        &self,
        id: i64,
        token: &Secret,
        start: u64,
        bytes: Bytes,
        debug: bool,
    ) -> PatchAnswer {
        let end = (start + bytes.len() as u64).saturating_sub(1);
        let mut call = Call::new(Method::PATCH, format!("jobs/{id}/trace"))
            .token(JOB_TOKEN, token)
            .header(CONTENT_RANGE, &format!("{start}-{end}"), false)
            .body("text/plain", Body::Bytes(bytes));
        call.query.push(("debug_trace", debug.to_string()));
        let answer = match self.send(call).await {
            Ok(answer) => answer,
            Err(error) => {
                let patched = Patched::Failed { why: error.to_string(), unreachable: !error.is_unusable() };
                return PatchAnswer { patched, cancel_requested: false, interval: None };
            }
        };
        let patched = match (gone(&answer), answer.status.as_u16()) {
            (Some(why), _) => Patched::Abort(why),
            (None, 202) => Patched::Appended,
            (None, 416) => Patched::Resync(answer.stored()),
            (None, 404) => Patched::NotFound,
            (None, status) => {
                Patched::Failed { why: answer.error().to_string(), unreachable: in_trouble(status) }
            }
        };
        PatchAnswer { patched, cancel_requested: canceling(&answer), interval: answer.interval() }
    }
}

/// Why the server has dropped the job, if it has: 403, or a `Job-Status` that is final.
fn gone(answer: &Answer) -> Option<String> {
    if let Some(status @ ("canceled" | "failed")) = answer.job_status() {
        return Some(format!("the server says that the job is {status}"));
    }
    (answer.status.as_u16() == 403).then(|| answer.error().to_string())
}

fn canceling(answer: &Answer) -> bool {
    answer.job_status() == Some("canceling")
}

fn in_trouble(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}
