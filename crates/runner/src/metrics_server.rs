//! The server at `listen_address` (`runner-config.md` §9.2): metrics, the list of jobs, the state of the process. Without
//! authentication, as everybody expects it; it changes nothing.

use crate::http_server::{self, Answer, Asked, text};
use crate::metrics::Metrics;
use crate::session_server::bind;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The port when the address names none.
const PORT: &str = "9252";
const LIST_VERSION: HeaderName = HeaderName::from_static("x-list-version");

/// Starts it. An address that is none is told and there is no server; one where nobody can listen is an error.
pub(crate) async fn start(address: &str, metrics: &Arc<Metrics>) -> Result<Option<JoinSet<()>>, String> {
    let Some(address) = whole(address) else {
        tracing::error!(
            address,
            "listen_address is no address, so there is no metrics server; write host:port, e.g. localhost:9252"
        );
        return Ok(None);
    };
    let listener = bind(&address).await?;
    let here = listener.local_addr().map_err(|error| error.to_string())?;
    tracing::info!(address = %here, "Metrics server listening");
    let metrics = Arc::clone(metrics);
    let mut serving = JoinSet::new();
    serving
        .spawn(http_server::serve(listener, None, move |asked| std::future::ready(answer(&metrics, &asked))));
    Ok(Some(serving))
}

/// With its port.
fn whole(address: &str) -> Option<String> {
    let bare_ipv6 = address.ends_with(']');
    match address.rsplit_once(':').filter(|_| !bare_ipv6) {
        Some((_, port)) => port.parse::<u16>().ok().map(|_| address.to_owned()),
        None => {
            let plain = !address.is_empty() && !address.contains(['/', ' ']);
            plain.then(|| format!("{address}:{PORT}"))
        }
    }
}

fn answer(metrics: &Metrics, asked: &Asked) -> Answer {
    if asked.method() != Method::GET && asked.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED);
    }
    match asked.uri().path() {
        "/metrics" => plain("text/plain; version=0.0.4; charset=utf-8", metrics.text()),
        "/debug/jobs/list" => {
            let mut answer = plain("text/plain; charset=utf-8", metrics.jobs());
            answer.response.headers_mut().insert(LIST_VERSION, HeaderValue::from_static("2"));
            answer
        }
        "/debug/process/state" => plain("text/plain; charset=utf-8", format!("{}\n", metrics.state().word())),
        "/health/ready" => plain("text/plain; charset=utf-8", "ready\n".to_owned()),
        _ => text(StatusCode::NOT_FOUND),
    }
}

fn plain(kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Answer { response, then: None }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn runner_config_9_2_addresses() {
        for (address, want) in [
            (":9252", Some(":9252")),
            ("localhost", Some("localhost:9252")),
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("[::1]", Some("[::1]:9252")),
            ("[::1]:80", Some("[::1]:80")),
            ("http://localhost", None),
            ("localhost:http", None),
            ("", None),
        ] {
            assert_eq!(whole(address).as_deref(), want, "{address}");
        }
    }
}
