//! The pages. Each page has its own file in this folder; what it shows is made by `harrier-pages` from view models. Called by [`App::router`].

use crate::app::App;
use axum::Router;
use std::sync::Arc;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
