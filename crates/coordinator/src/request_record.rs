//! One line of the log and one count for each request: method, route, status, time, who, from where, and an id that the answer
//! carries too. Put around every route by [`crate::App::router`].
//!
//! It never writes down an address as it was sent: paths and queries may hold secrets. Routes come from the tables.

use crate::app::App;
use crate::auth::peer;
use crate::metrics::Class;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tracing::Instrument as _;

/// Where the answer has the request's id.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// What the surfaces learn about a request while they answer it.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Facts>>);

#[derive(Default)]
struct Facts {
    class: Option<Class>,
    route: Option<String>,
    who: Option<String>,
}

impl Record {
    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The route of a request is known. `route`: as in its table, never as it was sent.
pub(crate) fn note_route(extensions: &Extensions, class: Class, route: &str) {
    if let Some(record) = extensions.get::<Record>() {
        let mut facts = record.facts();
        facts.class = Some(class);
        facts.route = Some(route.to_owned());
    }
}

/// Who asks is known: a name or a kind of token, never a credential.
pub(crate) fn note_who(extensions: &Extensions, who: &str) {
    if let Some(record) = extensions.get::<Record>() {
        record.facts().who = Some(who.to_owned());
    }
}

/// The class of a route of axum's own table.
fn class_of(path: &str) -> Class {
    match path {
        "/metrics" => Class::Operations,
        path if path.starts_with("/api/v4/") => Class::Runner,
        path if path.starts_with("/-/assets") => Class::Page,
        _ => Class::Operations,
    }
}

/// Ids count up from a number that no other start of a server is likely to have.
fn next_id() -> String {
    static FIRST: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let first = FIRST.get_or_init(|| {
        let mut bytes = [0; 8];
        let random = ring::rand::SystemRandom::new();
        // Without random numbers ids are still apart within this start.
        let _ = ring::rand::SecureRandom::fill(&random, &mut bytes);
        u64::from_le_bytes(bytes)
    });
    format!("{first:016x}{:08x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Methods as labels: a made-up one must not make a new line in the metrics.
fn method_word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The middleware.
pub(crate) async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let record = Record::default();
    if let Some(path) = request.extensions().get::<MatchedPath>() {
        let mut facts = record.facts();
        facts.class = Some(class_of(path.as_str()));
        facts.route = Some(path.as_str().to_owned());
    }
    request.extensions_mut().insert(record.clone());
    let (id, method) = (next_id(), method_word(request.method()));
    let remote = peer(request.extensions()).map(|peer| peer.ip().to_string()).unwrap_or_default();
    let span = tracing::info_span!("request", request_id = id);
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = begun.elapsed();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    let facts = record.facts();
    let (class, status) = (facts.class.unwrap_or(Class::Page), response.status().as_u16());
    app.metrics.answered(class, method, status, took);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds, not counted to the last digit")]
    let duration_ms = took.as_micros() as f64 / 1000.0;
    let (route, user) = (facts.route.as_deref().unwrap_or("none"), facts.who.as_deref().unwrap_or_default());
    let class = class.word();
    let said = span.enter();
    if app.settings.narrate && class != Class::Operations.word() {
        tracing::info!(method, class, route, status, duration_ms, user, remote, "request");
    } else {
        tracing::debug!(method, class, route, status, duration_ms, user, remote, "request");
    }
    drop(said);
    drop(facts);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_apart() {
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| next_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 24));
    }

    #[test]
    fn made_up_methods_are_one() {
        let odd = Method::from_bytes(b"ODD").expect("a method");
        assert_eq!((method_word(&odd), method_word(&Method::PUT)), ("other", "PUT"));
    }
}
