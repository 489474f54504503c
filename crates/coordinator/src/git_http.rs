//! Git's smart HTTP: clone, fetch and push of the projects' bare repositories, through git's own programs. Called by [`App::router`].

use crate::app::App;
use axum::Router;
use std::sync::Arc;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
