//! Remote files over HTTP(S): a name is resolved once, its addresses are asked of the policy, and one of those is connected
//! to. The same for every redirect. Sizes and times are limited (`ci-yaml.md` §7.1, §7.2).

use crate::address::AddressPolicy;
use crate::clone::hex;
use crate::waiting::wait;
use crate::{OUT_OF_TIME, left, read_if_younger, write_whole};
use harrier_pipeline::FetchError;
use reqwest::header::LOCATION;
use reqwest::{StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of one answer; a configuration has at most 2 MiB.
const MAX_BYTES: usize = 4 << 20;
/// Redirects followed.
const MAX_REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(10);

/// Why an address gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It is no address of this kind.
    #[error("`{0}` is not an http or https address")]
    NoAddress(String),
    /// The policy forbids it.
    #[error("{host} has the address {address}, which may not be reached from here")]
    Forbidden {
        /// As in the address.
        host: String,
        /// What it resolves to.
        address: IpAddr,
    },
    /// The name is unknown.
    #[error("the name {host} cannot be resolved: {why}")]
    NoSuchHost {
        /// The name.
        host: String,
        /// Why.
        why: String,
    },
    /// An answer that is no file.
    #[error("HTTP code `{0}`")]
    Status(u16),
    /// Too many redirects, or one without an address.
    #[error("{0}")]
    Redirect(&'static str),
    /// The answer is too big.
    #[error("the answer has more than {MAX_BYTES} bytes")]
    TooBig,
    /// Its time was over.
    #[error("{OUT_OF_TIME}")]
    TooLong,
    /// The connection failed.
    #[error("{0}")]
    Connection(String),
    /// This machine is at fault.
    #[error("{0}")]
    Machine(String),
}

impl From<HttpError> for FetchError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Status(404) => Self::NotFound,
            other @ (HttpError::NoAddress(_)
            | HttpError::Forbidden { .. }
            | HttpError::NoSuchHost { .. }
            | HttpError::Status(_)
            | HttpError::Redirect(_)
            | HttpError::TooBig
            | HttpError::TooLong
            | HttpError::Connection(_)
            | HttpError::Machine(_)) => Self::Failed(other.to_string()),
        }
    }
}

/// Gets remote files.
pub struct Remotes {
    policy: AddressPolicy,
    cache: Option<PathBuf>,
    /// One answer an address, for as long as this lives.
    answers: RefCell<HashMap<String, Vec<u8>>>,
    tls: OnceCell<ClientConfig>,
}

impl Remotes {
    /// Answers that may be kept are kept below `cache`.
    pub fn new(policy: AddressPolicy, cache: Option<PathBuf>) -> Self {
        let cache = cache.map(|cache| cache.join("remote"));
        Self { policy, cache, answers: RefCell::default(), tls: OnceCell::new() }
    }

    /// What an address answers. With `keep`, an answer kept by an earlier run may serve for so long.
    pub fn get(&self, url: &str, keep: Option<Duration>, until: Instant) -> Result<Vec<u8>, FetchError> {
        if let Some(bytes) = self.answers.borrow().get(url) {
            return Ok(bytes.clone());
        }
        let file = keep.and(self.cache.as_ref()).map(|cache| cache.join(hex(url.as_bytes())));
        let kept = file.as_ref().and_then(|file| read_if_younger(file, keep.unwrap_or_default()));
        let bytes = match kept {
            Some(bytes) => bytes,
            None => {
                let time = left(until)?;
                let fetched = self.fetch(url, time)?;
                if let (Some(file), Some(cache)) = (&file, &self.cache) {
                    // A copy that cannot be kept is only slower.
                    let _ = write_whole(cache, file, &fetched);
                }
                fetched
            }
        };
        self.answers.borrow_mut().insert(url.to_owned(), bytes.clone());
        Ok(bytes)
    }

    fn fetch(&self, url: &str, time: Duration) -> Result<Vec<u8>, HttpError> {
        let tls = match self.tls.get() {
            Some(tls) => tls.clone(),
            None => {
                let made = tls()?;
                self.tls.get_or_init(|| made).clone()
            }
        };
        let work = follow(url, &self.policy, tls);
        let answer =
            wait(async { tokio::time::timeout(time, work).await.unwrap_or(Err(HttpError::TooLong)) });
        answer.map_err(|why| HttpError::Machine(format!("no task can be started: {why}")))?
    }
}

/// The system's roots, built-in ones where there are none.
fn tls() -> Result<ClientConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|why| HttpError::Machine(why.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The answer behind all redirects.
async fn follow(url: &str, policy: &AddressPolicy, tls: ClientConfig) -> Result<Vec<u8>, HttpError> {
    let mut url = Url::parse(url).map_err(|_| HttpError::NoAddress(url.to_owned()))?;
    for _ in 0..=MAX_REDIRECTS {
        let mut response = connect(&url, policy, tls.clone()).await?;
        let status = response.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.ok_or(HttpError::Redirect("the server redirects to nowhere"))?;
            url = url.join(to).map_err(|_| HttpError::Redirect("the server redirects to no address"))?;
            continue;
        }
        if !status.is_success() {
            return Err(HttpError::Status(status.as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(connection)? {
            if bytes.len() + chunk.len() > MAX_BYTES {
                return Err(HttpError::TooBig);
            }
            bytes.extend_from_slice(&chunk);
        }
        return Ok(bytes);
    }
    Err(HttpError::Redirect("the server redirects too often"))
}

/// The addresses of a host, which is resolved once; all of them may be reached by the policy. Whoever connects does so to one of
/// these. `host` is a name or an address, an IPv6 one with or without brackets.
pub async fn permitted(host: &str, port: u16, policy: &AddressPolicy) -> Result<Vec<SocketAddr>, HttpError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|why| HttpError::NoSuchHost { host: host.to_owned(), why: why.to_string() })?
            .collect(),
    };
    // A name with one forbidden address is not trusted with its others.
    if let Some(forbidden) = addresses.iter().find(|address| !policy.permits(address.ip())) {
        return Err(HttpError::Forbidden { host: host.to_owned(), address: forbidden.ip() });
    }
    if addresses.is_empty() {
        return Err(HttpError::NoSuchHost { host: host.to_owned(), why: "it has no address".into() });
    }
    Ok(addresses)
}

/// Asks one address, without following anything.
async fn connect(
    url: &Url,
    policy: &AddressPolicy,
    tls: ClientConfig,
) -> Result<reqwest::Response, HttpError> {
    let no_address = || HttpError::NoAddress(url.host_str().unwrap_or_default().to_owned());
    if !matches!(url.scheme(), "http" | "https") {
        return Err(no_address());
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(no_address());
    };
    let addresses = permitted(host, port, policy).await?;
    // No proxy: it would resolve the name again, and connect to whatever it likes.
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .resolve_to_addrs(host, &addresses)
        .connect_timeout(CONNECT)
        .user_agent("harrier")
        .use_preconfigured_tls(tls)
        .build()
        .map_err(|why| HttpError::Machine(why.to_string()))?;
    client.get(url.clone()).send().await.map_err(connection)
}

/// What is wrong with a connection, without the address, which may hold a log-in.
fn connection(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    HttpError::Connection(text)
}
