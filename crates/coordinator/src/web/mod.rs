//! The pages: requests from browsers. What a page shows is made by `harrier-pages` from view models; who may see it is in
//! [`table`]. Called by [`crate::App::router`] for every address that no other surface has.

mod account;
mod admin;
mod artifacts;
mod environments;
mod events;
mod jobs;
mod merge_requests;
mod mirror;
mod pipelines;
mod projects;
mod settings;
pub mod table;
mod visit;

pub(crate) use pipelines::OFFLINE;

use crate::app::App;
use crate::id_tokens;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/-/assets/{name}", get(asset))
        // Asked for by browsers for what is no page, such as a raw log.
        .route("/favicon.ico", get(|| asset(Path("harrier.svg".to_owned()))))
        .route("/.well-known/openid-configuration", get(id_tokens::configuration))
        .route("/oauth/discovery/keys", get(id_tokens::keys))
        .fallback(|State(app): State<Arc<App>>, request: Request| table::serve(app, request))
}

async fn asset(Path(name): Path<String>) -> Response {
    let Some(asset) = harrier_pages::asset(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = asset.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    // Their addresses change with their content.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    visit::guard(headers);
    response
}
