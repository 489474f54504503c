//! The runner API from the server's side (`runner-api.md`), so that the official runner and Harrier's own register and work. Each
//! file has the handlers of one part. Called by [`App::router`].

pub(crate) mod artifacts;
pub(crate) mod identity;
mod job_token;
mod request;
mod trace;
mod update;

use crate::answer::Refusal;
use crate::app::App;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, patch, post, put};
use std::sync::Arc;

/// Most bytes of a JSON body.
const BODY: usize = 1 << 20;
/// Most bytes of a part of a log; runners send 1 MiB (§6.1).
const TRACE_BODY: usize = 8 << 20;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v4/runners", post(identity::register))
        .route("/api/v4/runners", delete(identity::unregister))
        .route("/api/v4/runners/verify", post(identity::verify))
        .route("/api/v4/runners/managers", delete(identity::unregister_manager))
        .route("/api/v4/runners/reset_authentication_token", post(identity::reset))
        .route("/api/v4/runners/router/discovery", get(identity::discovery))
        .route("/api/v4/jobs/request", post(request::request))
        .route("/api/v4/jobs/{id}", put(update::update))
        .layer(DefaultBodyLimit::max(BODY))
        .route("/api/v4/jobs/{id}/trace", patch(trace::append).layer(DefaultBodyLimit::max(TRACE_BODY)))
        .route(
            "/api/v4/jobs/{id}/artifacts",
            get(artifacts::download).post(artifacts::upload).layer(DefaultBodyLimit::disable()),
        )
}

/// A JSON body, whatever its content type says; runners send `null` where they have nothing (§2.6).
fn parse<T: serde::de::DeserializeOwned + Default>(body: &Bytes) -> Result<T, Refusal> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice::<Option<T>>(body)
        .map(Option::unwrap_or_default)
        .map_err(|error| Refusal::bad(&format!("the body is not the JSON it should be: {error}")))
}
