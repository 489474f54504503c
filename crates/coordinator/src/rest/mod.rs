//! REST API v4, the part that scripts use (`GET /api/v4/projects`, …). Each resource has its own file in this folder and its own `routes()`. Called by [`App::router`].

use crate::app::App;
use axum::Router;
use std::sync::Arc;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
