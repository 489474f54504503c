//! The runner API from the server's side (`runner-api.md`), so that the official runner and Harrier's own register and work. Each
//! file has the handlers of one part. Called by [`App::router`].

use crate::app::App;
use axum::Router;
use std::sync::Arc;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
