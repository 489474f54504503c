//! Git's smart HTTP: clone, fetch and push of the projects' bare repositories, through git's own programs. The routes are in
//! `routes.rs`, git itself in `exchange.rs`.

mod exchange;
mod pkt_line;
mod push;

pub use exchange::{ExchangeError, Service, advertise, receive_pack, upload_pack};
pub use push::{Push, PushError, RefChange};

use crate::app::App;
use axum::Router;
use std::sync::Arc;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
