//! REST API v4, the part that scripts use (`GET /api/v4/projects`, …), with GitLab's paths, fields, pagination headers and errors. Each
//! resource has its own file of handlers; [`table`] says which address is whose, who may, and with which scope of a token. Called
//! by [`App::router`].

mod about;
mod artifacts;
mod call;
mod deployments;
mod entities;
mod environments;
mod files;
mod jobs;
mod lint;
mod members;
mod merge_requests;
mod mirror;
mod namespaces;
pub mod openapi;
mod parameters;
mod pipelines;
mod projects;
mod protected_refs;
mod repository;
mod runners;
mod schedules;
mod shapes;
mod statuses;
pub mod table;
mod tokens;
mod triggers;
mod users;
mod variables;

pub(crate) use mirror::webhook_url;

use crate::app::App;
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{any, get};
use std::sync::Arc;

/// The routes: everything below `/api/v4/` that runners do not ask for.
pub fn routes() -> Router<Arc<App>> {
    let answer = |State(app): State<Arc<App>>, request: Request| table::serve(app, request);
    // Runners register at the same address.
    Router::new().route("/api/v4/runners", get(answer)).route("/api/v4/{*rest}", any(answer))
}
