//! `POST /jobs/request` (`runner-api.md` §3): a job for the runner, at once or when one comes within the time that a request may be held.
//! A request without `last_update` is answered at once, so that a runner that has just started knows that it is heard.

use super::{identity, parse};
use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::make_pipeline::MakeError;
use crate::notifier::Wait;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use harrier_api::{JobPayload, JobRequest};
use harrier_database::{Ask, DatabaseError};
use harrier_pipeline::Outcome;
use std::sync::Arc;
use std::time::Duration;

/// What runners send back: the queue is looked at every time, so that one value does for all.
const LAST_UPDATE: &str = "harrier";

/// The handler.
pub async fn request(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let asked: JobRequest = parse(&body)?;
    if asked.token.is_empty() {
        return Ok(identity::missing("token"));
    }
    let runner = identity::working_runner(&app, &asked.token).await?;
    let features = asked.info.features;
    let held = !asked.last_update.is_empty();
    let manager =
        app.store.contact(runner.id, asked.system_id, Some(asked.info), String::new(), app.now()).await?;
    let end = tokio::time::Instant::now() + app.settings.long_poll;
    let mut offer = runner.offer;
    // The wait that a word came for, until the queue was looked at.
    let mut before: Option<Wait> = None;
    loop {
        let mut wait = app.notifier.wait(runner.id, offer);
        let reservation = i64::try_from(app.settings.reservation.as_millis()).unwrap_or(i64::MAX);
        let now = app.now();
        let ask =
            Ask { runner: runner.id, manager, features, reserve_until: now.saturating_add(reservation) };
        let claim = match app.store.claim_next(ask, now).await {
            Ok(claim) => claim,
            Err(DatabaseError::NotFound(_)) => return Err(Refusal::forbidden("")),
            Err(error) => return Err(error.into()),
        };
        if let Some(mut before) = before.take() {
            before.used(claim.as_ref().map(|claim| claim.job.wants()).as_ref());
        }
        if let Some(claim) = claim {
            let id = claim.job.id;
            let waited = claim.job.queued_at.map_or(0, |at| now.saturating_sub(at));
            app.metrics.handed_out(Duration::from_millis(u64::try_from(waited).unwrap_or(0)));
            match app.payload(claim).await {
                Ok(payload) => return Ok(job(&payload)),
                Err(error) => {
                    let reason = match &error {
                        MakeError::Missing(why) => {
                            // It has no log yet, and none will come.
                            let said = format!("\x1b[31;1mThe job did not start: {why}\x1b[0m\n");
                            if let Err(error) = app.append_trace(id, 0, said.into()).await {
                                tracing::warn!(job = id, error = %error, "a log cannot be written");
                            }
                            "missing_dependency_failure"
                        }
                        _ => {
                            tracing::error!(job = id, error = %error, "a job cannot be handed out; it fails");
                            "scheduler_failure"
                        }
                    }
                    .to_owned();
                    let outcome = Outcome::Failed { exit_code: None, reason };
                    app.store.finish(id, outcome, Default::default(), app.now()).await?;
                    offer = app.store.runner(runner.id).await?.offer;
                    continue;
                }
            }
        }
        if !held || app.stops() || tokio::time::timeout_at(end, wait.woken()).await.is_err() {
            return Ok(nothing());
        }
        before = Some(wait);
        offer = match app.store.runner(runner.id).await {
            Ok(runner) => runner.offer,
            Err(DatabaseError::NotFound(_)) => return Err(Refusal::forbidden("")),
            Err(error) => return Err(error.into()),
        };
    }
}

fn job(payload: &JobPayload) -> Response {
    (StatusCode::CREATED, [("gitlab-ci-builds-polling", "yes")], Json(payload)).into_response()
}

fn nothing() -> Response {
    let headers = [("x-gitlab-last-update", LAST_UPDATE), ("gitlab-ci-builds-polling", "yes")];
    (StatusCode::NO_CONTENT, headers).into_response()
}
