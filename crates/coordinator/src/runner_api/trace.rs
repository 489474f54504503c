//! `PATCH /jobs/:id/trace` (`runner-api.md` §6): a part of a log. Only the start of its range counts; what is stored already is said by
//! 416, so that a part whose answer was lost does no harm.

use super::job_token::{job_for, token};
use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::traces::Appended;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use harrier_database::JobView;
use harrier_pipeline::Outcome;
use serde::Deserialize;
use std::sync::Arc;

/// The query.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    debug_trace: Option<String>,
}

/// The handler.
pub async fn append(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let job = job_for(&app, id, &token(&headers, None)).await?;
    let range = headers.get("content-range").and_then(|v| v.to_str().ok());
    let Some(range) = range else { return Err(Refusal::bad("Missing header Content-Range")) };
    let start = range.split('-').next().and_then(|start| start.trim().parse::<u64>().ok());
    let Some(start) = start else { return Err(Refusal::bad("Content-Range begins with no number")) };
    if parameters.debug_trace.as_deref() == Some("true") && !job.debug_trace {
        app.store.mark_debug_trace(id).await?;
    }
    let now = app.now();
    if start.saturating_add(body.len() as u64) > app.settings.max_trace {
        let outcome = Outcome::Failed { exit_code: None, reason: "trace_size_exceeded".to_owned() };
        let job = app.store.finish(id, outcome, Default::default(), now).await?;
        return Err(Refusal::forbidden("Trace size exceeded").with("job-status", job.status.word()));
    }
    let answer = match app.append_trace(id, start, body).await {
        Ok(Appended::Stored(size)) => (StatusCode::ACCEPTED, size),
        Ok(Appended::OutOfPlace(size)) => (StatusCode::RANGE_NOT_SATISFIABLE, size),
        Ok(Appended::Ended) => {
            let job = app.store.job(id).await?;
            return Err(Refusal::forbidden("Job is not running").with("job-status", job.status.word()));
        }
        Err(error) => {
            tracing::error!(job = id, error = %error, "a log cannot be written");
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "503 Service Unavailable");
            return Err(refusal.with("retry-after", "5"));
        }
    };
    app.touched(&job, now).await?;
    Ok(told(&app, &job, answer))
}

fn told(app: &App, job: &JobView, (status, size): (StatusCode, u64)) -> Response {
    let headers = [
        ("range", format!("0-{size}")),
        ("job-status", job.status.word().to_owned()),
        ("x-gitlab-trace-update-interval", app.trace_interval(job.id).to_string()),
    ];
    (status, headers, status.as_u16().to_string()).into_response()
}
