//! What monitoring asks for: `/metrics`, and probes of health. Called by [`crate::App::router`]; who may read the metrics is decided
//! here.

use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::auth::{Caller, Scope, peer};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

/// Below that many free bytes a server takes no more work well: logs and artifacts go onto the disk.
const LITTLE_SPACE: u64 = 64 << 20;

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/-/health", get(alive))
        .route("/-/liveness", get(liveness))
        .route("/-/readiness", get(readiness))
}

async fn alive() -> &'static str {
    "Harrier OK\n"
}

async fn liveness() -> Response {
    axum::Json(json!({ "status": "ok" })).into_response()
}

/// Ready when tables, disk, git and the store of objects, if there is one, answer. Reasons are for the log: everyone may ask this.
async fn readiness(State(app): State<Arc<App>>) -> Response {
    let tables = match app.store.users().await {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(error = %error, "not ready: the tables do not answer");
            false
        }
    };
    let root = app.data.root().to_owned();
    let checks = tokio::task::spawn_blocking(move || {
        let space = nix::sys::statvfs::statvfs(&root);
        let free = space.as_ref().map(|space| {
            #[allow(clippy::useless_conversion, reason = "its width is the platform's")]
            u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size()))
        });
        let disk = match &free {
            Ok(free) if *free >= LITTLE_SPACE => true,
            Ok(free) => {
                tracing::error!(free, data = %root.display(), "not ready: the disk is nearly full");
                false
            }
            Err(error) => {
                tracing::error!(error = %error, data = %root.display(), "not ready: the disk does not answer");
                false
            }
        };
        (disk, crate::repository::git_version().is_some())
    });
    let (disk, git) = checks.await.unwrap_or((false, false));
    if !git {
        tracing::error!("not ready: git cannot be started");
    }
    let storage = app.storage_answers().await;
    let stopping = *app.stopping.borrow();
    let ready = tables && disk && git && storage && !stopping;
    let word = |good: bool| json!([{ "status": if good { "ok" } else { "failed" } }]);
    let value = json!({
        "status": if ready { "ok" } else { "failed" },
        "db_check": word(tables),
        "disk_check": word(disk),
        "git_check": word(git),
        "storage_check": word(storage),
        "stopping": stopping,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(value)).into_response()
}

async fn metrics(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match may_read(&app, &parts).await {
        Ok(()) => {}
        Err(refusal) => return refusal.into_response(),
    }
    match crate::metrics::exposition(&app).await {
        Ok(text) => {
            let headers = [
                (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, text).into_response()
        }
        Err(error) => Refusal::from(error).into_response(),
    }
}

/// Administrators, with a token that reads the API; this machine, where no proxy stands between.
async fn may_read(app: &App, request: &Parts) -> Answer<()> {
    let near = peer(&request.extensions).is_some_and(|peer| peer.ip().is_loopback());
    if near && !app.settings.behind_proxy && direct(&request.headers) {
        return Ok(());
    }
    let caller = Caller::of(app, &request.headers, &request.extensions).await?;
    match caller {
        Caller::Nobody => Err(Refusal::unauthorized()),
        caller if caller.is_admin() => caller.need_scope(Scope::ReadApi),
        _ => Err(Refusal::forbidden("metrics are for administrators")),
    }
}

/// Whether a request was sent to this machine by this machine: no proxy has passed it on, and no page of another name in a
/// browser here has sent it.
fn direct(headers: &HeaderMap) -> bool {
    const PASSED_ON: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
    if PASSED_ON.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_told_from_proxies_and_pages() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (header::HeaderName::from_static(name), header::HeaderValue::from_static(value))
            };
            pairs.iter().map(pair).collect()
        };
        for (given, is) in [
            (&[("host", "127.0.0.1:8929")][..], true),
            (&[("host", "localhost")], true),
            (&[("host", "[::1]:8929")], true),
            (&[("host", "evil.example:8929")], false),
            (&[("host", "127.0.0.1.evil.example")], false),
            (&[("host", "127.0.0.1"), ("x-forwarded-for", "10.0.0.1")], false),
            (&[("host", "127.0.0.1"), ("via", "1.1 proxy")], false),
            (&[], false),
        ] {
            assert_eq!(direct(&headers(given)), is, "{given:?}");
        }
    }
}
