//! The client itself: sends calls, follows redirects with the body sent again, asks again where
//! `runner-api.md` §1.7 says so, renews its connections (§1.8).

use crate::access::Base;
use crate::answer::Answer;
use crate::body::{self, Body};
use crate::tls::{self, TlsFiles};
use crate::{ClientError, ServerAccess, retry};
use harrier_base::Secret;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How a client behaves towards every server.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `<name> <version> (<branch>; <toolchain>; <os>/<arch>)`, §1.2.
    pub user_agent: String,
    /// Connections older than this are not used again; `None` is no limit.
    pub connection_max_age: Option<Duration>,
}

/// One server, for any number of runners and jobs. Cheap to clone; clones share connections and the queue
/// version (`last_update`) of each runner token.
#[derive(Clone)]
pub struct Client(Arc<Inner>, Option<Observer>);

/// Is told of each attempt of each call. It must not take long.
pub type Observer = Arc<dyn Fn(&Exchange<'_>) + Send + Sync>;

/// One attempt of a call.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Below `/api/v4`, without its query.
    pub path: &'a str,
    /// `None`: no answer.
    pub status: Option<u16>,
    /// Until the head of the answer.
    pub took: Duration,
    /// The server had asked to come back.
    pub again: bool,
}

struct Inner {
    base: Base,
    access: ServerAccess,
    options: ClientOptions,
    plain: Mutex<Option<Built>>,
    secure: Mutex<Option<Built>>,
    last_updates: Mutex<HashMap<Secret, String>>,
}

/// A library client and what it was made from.
struct Built {
    client: reqwest::Client,
    at: Instant,
    files: TlsFiles,
    stamps: Vec<Option<SystemTime>>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
const HEADER_TIMEOUT: Duration = Duration::from_secs(600);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3600);
const MOST_REDIRECTS: usize = 10;
/// More than any honest answer that is read into memory; a download is streamed instead.
const LARGEST_BODY: usize = 64 << 20;

pub(crate) const JOB_TOKEN: HeaderName = HeaderName::from_static("job-token");
pub(crate) const RUNNER_TOKEN: HeaderName = HeaderName::from_static("runner-token");
pub(crate) const PRIVATE_TOKEN: HeaderName = HeaderName::from_static("private-token");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long an attempt may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) total: Duration,
    /// From the end of the request's body to the answer's headers.
    pub(crate) headers: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: TOTAL_TIMEOUT, headers: HEADER_TIMEOUT }
    }
}

/// One call of the API.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Below `/api/v4/`, without the query.
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) limits: Limits,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Body::None,
            limits: Limits::default(),
        }
    }

    /// A header; one that cannot be written (a line feed in a token) is left out, and the server refuses.
    pub(crate) fn header(mut self, name: HeaderName, value: &str, secret: bool) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(secret);
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn token(self, name: HeaderName, token: &Secret) -> Self {
        self.header(name, token.expose(), true)
    }

    pub(crate) fn body(mut self, content_type: &str, body: Body) -> Self {
        self.body = body;
        self.header(CONTENT_TYPE, content_type, false)
    }

    pub(crate) fn json<T: serde::Serialize>(self, value: &T) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(value).map_err(|e| ClientError::Source(e.to_string()))?;
        Ok(self.body("application/json", Body::Bytes(bytes.into())))
    }

    /// For messages; the query may hold nothing secret but is not needed either.
    fn title(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// An answer whose body was not read yet.
pub(crate) struct Opened {
    pub(crate) response: Response,
    correlation_id: String,
    pushed_back: bool,
    title: String,
    place: String,
}

impl Client {
    /// Makes the client; nothing is read or connected before the first call.
    pub fn new(access: ServerAccess, options: ClientOptions) -> Result<Self, ClientError> {
        let base = Base::parse(&access.url)?;
        Ok(Self(
            Arc::new(Inner {
                base,
                access,
                options,
                plain: Mutex::new(None),
                secure: Mutex::new(None),
                last_updates: Mutex::new(HashMap::new()),
            }),
            None,
        ))
    }

    /// The same client, whose calls are told to `observer`.
    pub fn observed(&self, observer: Observer) -> Self {
        Self(Arc::clone(&self.0), Some(observer))
    }

    /// The server this client was made for.
    pub fn access(&self) -> &ServerAccess {
        &self.0.access
    }

    /// The content of the CA file the server is verified with, for `CI_SERVER_TLS_CA_FILE`. `None` when the
    /// system's roots alone are used, or the file cannot be read.
    pub fn ca_pem(&self) -> Option<String> {
        let (_, path) = TlsFiles::find(&self.0.access, self.0.base.host()).ca?;
        std::fs::read_to_string(path).ok()
    }

    /// The content of the client certificate's and key's files, for `CI_SERVER_TLS_CERT_FILE` and
    /// `CI_SERVER_TLS_KEY_FILE`. `None` when there are none, or they cannot be read.
    pub fn client_pair_pem(&self) -> Option<(String, Secret)> {
        let files = TlsFiles::find(&self.0.access, self.0.base.host());
        let cert = std::fs::read_to_string(files.cert?.1).ok()?;
        let key = std::fs::read_to_string(files.key?.1).ok()?;
        Some((cert, Secret::new(key)))
    }

    pub(crate) fn last_update(&self, token: &Secret) -> Option<String> {
        lock(&self.0.last_updates).get(token).cloned()
    }

    pub(crate) fn remember_last_update(&self, token: &Secret, answer: &Answer) {
        if let Some(value) = answer.header("X-GitLab-Last-Update") {
            lock(&self.0.last_updates).insert(token.clone(), value.to_owned());
        }
    }

    /// Sends `call` and reads the whole answer.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, ClientError> {
        let opened = self.open(call).await?;
        opened.read().await
    }

    /// Sends `call`, again where the contract says so, and returns the last answer with its body still to come.
    pub(crate) async fn open(&self, mut call: Call) -> Result<Opened, ClientError> {
        let own_id = uuid::Uuid::new_v4().simple().to_string();
        call = call.header(REQUEST_ID, &own_id, false);
        let title = call.title();
        let mut pushed_back = false;
        let mut tried = 1;
        loop {
            let begun = Instant::now();
            let followed = self.follow(&call, &title).await;
            if let Some(told) = &self.1 {
                told(&Exchange {
                    method: call.method.as_str(),
                    path: &call.path,
                    status: followed.as_ref().ok().map(|response| response.status().as_u16()),
                    took: begun.elapsed(),
                    again: tried > 1,
                });
            }
            let mut response = followed?;
            let status = response.status();
            if !retry::retriable(status.as_u16()) || tried == retry::ATTEMPTS {
                pushed_back |= retry::retriable(status.as_u16());
                let correlation_id = response
                    .headers()
                    .get(REQUEST_ID)
                    .and_then(|v| v.to_str().ok())
                    .filter(|v| !v.is_empty())
                    .map_or(own_id, str::to_owned);
                let place = place_of(response.url());
                return Ok(Opened { response, correlation_id, pushed_back, title, place });
            }
            pushed_back = true;
            let wait = retry::wait(response.headers(), tried, SystemTime::now(), retry::chance());
            tracing::debug!(call = %title, status = status.as_u16(), ?wait, tried, "the server asks us to come back");
            // Read to the end, so that the connection can be used again; but not a long body.
            let mut left = 64 * 1024_usize;
            while let Ok(Some(chunk)) = response.chunk().await {
                let Some(rest) = left.checked_sub(chunk.len()) else { break };
                left = rest;
            }
            drop(response);
            tokio::time::sleep(wait).await;
            tried += 1;
        }
    }

    /// One attempt, redirects included.
    async fn follow(&self, call: &Call, title: &str) -> Result<Response, ClientError> {
        let mut url = self.0.base.join(&call.path)?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut headers = call.headers.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.hop(call, title, url.clone(), headers.clone()).await?;
            let follow = match response.status() {
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
                StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
                    call.method == Method::GET
                }
                _ => false,
            };
            let target = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            let (true, Some(target)) = (follow, target) else { return Ok(response) };
            let next = url.join(target).map_err(|e| {
                ClientError::Transport(format!("{title}: redirected to {target:?}, which is no address: {e}"))
            })?;
            if !may_keep_tokens(&url, &next) {
                for private in [JOB_TOKEN, RUNNER_TOKEN, PRIVATE_TOKEN] {
                    headers.remove(private);
                }
            }
            url = next;
        }
        let place = place_of(&url);
        Err(ClientError::Transport(format!("{title}: stopped after {MOST_REDIRECTS} redirects, at {place}")))
    }

    /// One request, one answer.
    async fn hop(
        &self,
        call: &Call,
        title: &str,
        url: Url,
        headers: HeaderMap,
    ) -> Result<Response, ClientError> {
        let place = place_of(&url);
        let (client, files) = self.http(&url)?;
        let mut request =
            client.request(call.method.clone(), url).headers(headers).timeout(call.limits.total);
        let mut making = None;
        match &call.body {
            Body::None => {}
            Body::Bytes(bytes) => request = request.body(bytes.clone()),
            Body::Stream(source) => {
                let flight = body::fly(Arc::clone(source));
                request = request.body(reqwest::Body::wrap_stream(flight.stream));
                making = Some(flight.done);
            }
        }
        let mut broken = None;
        let too_late = async {
            if let Some(done) = making.as_mut() {
                match done.await {
                    Ok(Ok(())) => {}
                    // The request fails by itself now; keep the reason.
                    Ok(Err(error)) => {
                        broken = Some(error);
                        std::future::pending::<()>().await;
                    }
                    // The library dropped the body: the answer is there or the connection broke.
                    Err(_) => {}
                }
            }
            tokio::time::sleep(call.limits.headers).await;
        };
        let sent = tokio::select! {
            biased;
            sent = request.send() => Some(sent),
            () = too_late => None,
        };
        match sent {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => {
                let unread = making.and_then(|mut done| done.try_recv().ok()).and_then(Result::err);
                Err(match broken.or(unread) {
                    Some(why) => ClientError::Source(why.to_string()),
                    None => tls::explain(&error, title, &place, &files),
                })
            }
            None => Err(ClientError::Transport(format!(
                "{title}: {place} took the request but sent no answer within {:?}",
                call.limits.headers
            ))),
        }
    }

    /// The library client for `url`, made anew when it is too old or one of its files has changed.
    fn http(&self, url: &Url) -> Result<(reqwest::Client, TlsFiles), ClientError> {
        let inner = &*self.0;
        let secure = url.scheme() == "https";
        let host = inner.base.host();
        let files = if secure { TlsFiles::find(&inner.access, host) } else { TlsFiles::default() };
        let stamps = files.stamps();
        let mut slot = lock(if secure { &inner.secure } else { &inner.plain });
        let fresh = slot.as_ref().is_some_and(|built| {
            built.files == files
                && built.stamps == stamps
                && inner.options.connection_max_age.is_none_or(|age| built.at.elapsed() < age)
        });
        if !fresh {
            let setup = |why: String| ClientError::Setup { host: host.to_owned(), why };
            let config = if secure {
                tls::config(&files, host)?
            } else {
                tls::without_roots().map_err(|e| setup(e.to_string()))?
            };
            let mut builder = reqwest::Client::builder()
                .tls_backend_preconfigured(config)
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .default_headers(
                    HeaderValue::from_str(&inner.options.user_agent)
                        .map(|value| HeaderMap::from_iter([(USER_AGENT, value)]))
                        .map_err(|e| setup(e.to_string()))?,
                );
            if inner.base.is_loopback() {
                builder = builder.no_proxy();
            }
            let client = builder.build().map_err(|e| setup(e.to_string()))?;
            *slot = Some(Built { client, at: Instant::now(), files: files.clone(), stamps });
        }
        let client = slot.as_ref().map(|built| built.client.clone());
        client
            .map(|client| (client, files))
            .ok_or_else(|| ClientError::Setup { host: host.to_owned(), why: "no client was made".to_owned() })
    }
}

impl Opened {
    /// The title and place for messages about this answer.
    pub(crate) fn broken(&self, error: &reqwest::Error) -> ClientError {
        tls::explain(error, &self.title, &self.place, &TlsFiles::default())
    }

    /// Reads the body, up to a limit no honest answer reaches.
    pub(crate) async fn read(mut self) -> Result<Answer, ClientError> {
        let mut body = Vec::new();
        loop {
            let chunk = match self.response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Err(self.broken(&error)),
            };
            if body.len() + chunk.len() > LARGEST_BODY {
                return Err(ClientError::Answer {
                    call: self.title,
                    host: self.place,
                    why: format!("it is longer than {} MiB", LARGEST_BODY >> 20),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            call: self.title,
            host: self.place,
            status: self.response.status(),
            headers: self.response.headers().clone(),
            body: body.into(),
            correlation_id: self.correlation_id,
            pushed_back: self.pushed_back,
        })
    }
}

/// Tokens stay with the same server, also when it moves us from http to https; never the other way.
fn may_keep_tokens(from: &Url, to: &Url) -> bool {
    let upgrade = from.scheme() == "http" && to.scheme() == "https";
    from.host_str() == to.host_str()
        && (upgrade
            || (from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default()))
}

fn place_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// No code panics while holding these locks; if it did, the values would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_at_home() {
        for (from, to, keep) in [
            ("https://a/x", "https://a/y", true),
            ("http://a/x", "https://a/y", true),
            ("https://a/x", "http://a/y", false),
            ("https://a/x", "https://a:9000/y", false),
            ("https://a/x", "https://b/y", false),
            ("https://a/x", "https://sub.a/y", false),
        ] {
            let parse = |text: &str| Url::parse(text).expect("a url");
            assert_eq!(may_keep_tokens(&parse(from), &parse(to)), keep, "{from} {to}");
        }
    }
}
