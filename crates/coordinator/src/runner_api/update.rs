//! `PUT /jobs/:id` (`runner-api.md` §5): a job is accepted, is still at work, or has ended. Coverage is read from the whole log here.

use super::identity::missing;
use super::job_token::{job_for, token};
use super::parse;
use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::coverage;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use harrier_api::{JobState, UpdateRequest};
use harrier_database::{JobView, TraceEnd};
use harrier_pipeline::{Outcome, Status};
use serde_json::Value;
use std::sync::Arc;

/// The handler.
pub async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let said: UpdateRequest = match parse::<Value>(&body)? {
        body if body["state"].is_string() => serde_json::from_value(body)
            .map_err(|error| Refusal::bad(&format!("the body is not the JSON it should be: {error}")))?,
        _ => return Ok(missing("state")),
    };
    let token = token(&headers, Some(&said.token));
    let job = job_for(&app, id, &token).await?;
    let now = app.now();
    if job.status == Status::Pending {
        // Handed out, not accepted yet (§3.6).
        return match said.state {
            JobState::Running => {
                let job = app.store.accept(id, now).await?;
                Ok(ok(job.status))
            }
            JobState::Pending => {
                let reservation = i64::try_from(app.settings.reservation.as_millis()).unwrap_or(i64::MAX);
                app.store.keep_reserved(id, now.saturating_add(reservation)).await?;
                Ok(ok(job.status))
            }
            JobState::Success | JobState::Failed => Err(Refusal::bad("the job was not accepted yet")),
        };
    }
    match said.state {
        JobState::Pending => Err(Refusal::bad("the job runs already")),
        JobState::Running => {
            app.touched(&job, now).await?;
            Ok(ok(job.status))
        }
        JobState::Success | JobState::Failed => {
            let job = end(&app, &job, &said, now).await?;
            Ok(ok(job.status))
        }
    }
}

async fn end(app: &App, job: &JobView, said: &UpdateRequest, now: i64) -> Answer<JobView> {
    let size = app.trace_size(job.id).await;
    let checksum = match said.output.checksum.as_str() {
        "" => said.checksum.clone(),
        checksum => checksum.to_owned(),
    };
    if said.output.bytesize != 0 && said.output.bytesize != size {
        tracing::warn!(
            job = job.id,
            stored = size,
            said = said.output.bytesize,
            "the log is not what the runner has"
        );
    }
    let outcome = match said.state {
        JobState::Success => Outcome::Success,
        JobState::Failed | JobState::Running | JobState::Pending => Outcome::Failed {
            exit_code: said.exit_code.map(|code| i64::from(code).clamp(0, 32_767)),
            reason: match said.failure_reason.as_str() {
                "" => "unknown_failure".to_owned(),
                reason if harrier_pipeline::payload::is_failure_reason(reason) => reason.to_owned(),
                _ => "unknown_failure".to_owned(),
            },
        },
    };
    let config = app.store.config(job.pipeline).await?;
    if let Some(pattern) = config.jobs.get(job.position).and_then(|job| job.coverage.clone()) {
        let log = tokio::fs::read(app.data.trace(job.id)).await.unwrap_or_default();
        if let Some(found) = coverage::find(&pattern, &log) {
            app.store.set_coverage(job.id, found).await?;
        }
    }
    if outcome == Outcome::Success {
        app.keep_environment_url(job).await?;
    }
    let trace = TraceEnd {
        size: Some(i64::try_from(size).unwrap_or(i64::MAX)),
        checksum: Some(checksum).filter(|text| !text.is_empty()),
    };
    Ok(app.store.finish(job.id, outcome, trace, now).await?)
}

fn ok(status: Status) -> Response {
    (StatusCode::OK, [("job-status", status.word())], "200").into_response()
}
