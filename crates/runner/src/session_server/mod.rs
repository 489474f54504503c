//! The session server (`runner-config.md` §10, `runner-api.md` §17): one TLS listener of the runner where the server that
//! handed out a job reaches a terminal in it. Each job request gets an endpoint and a token of its own; both go with the job.
//!
//! Called by the service. It never knows where a job runs: that is the desk's door.

mod bridge;
mod certificate;
mod websocket;

use crate::http_server::{self, Answer, Asked, Upgraded, text};
use bridge::{Protocol, bridge};
use certificate::OwnCertificate;
use harrier_api::Session;
use harrier_base::Secret;
use harrier_config::SessionServerSpec;
use harrier_engine::{Desk, NotIn};
use hyper::header::{
    AUTHORIZATION, CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use hyper::{Method, Response, StatusCode};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long a visitor waits for the job's place.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server. It ends when it is dropped.
pub(crate) struct SessionServer {
    base: String,
    certificate: String,
    hold: Duration,
    open: Arc<Endpoints>,
    /// The listener's task; dropping the set ends it.
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Endpoints(Mutex<HashMap<String, Endpoint>>);

struct Endpoint {
    /// SHA-256
    token: [u8; 32],
    desk: Desk,
}

/// One job's endpoint; it is gone when this is dropped.
pub(crate) struct OpenSession {
    /// What the server is told.
    pub told: Session,
    /// Where its visitors come in.
    pub desk: Desk,
    name: String,
    open: Arc<Endpoints>,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.desk.close();
        self.open.lock().remove(&self.name);
    }
}

impl Endpoints {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Endpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desk behind a path, and the rest of the path.
    fn find(&self, path: &str, headers: &HeaderMap) -> Result<(Desk, String), StatusCode> {
        let rest = path.strip_prefix("/session/").ok_or(StatusCode::NOT_FOUND)?;
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let open = self.lock();
        // Reporting a job takes a moment longer than the job.
        let endpoint = open.get(name).filter(|one| !one.desk.is_closed()).ok_or(StatusCode::NOT_FOUND)?;
        let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        // Digests are compared, and all of them: the time tells nothing of the token.
        let digest: [u8; 32] = Sha256::digest(given).into();
        let differs = digest.iter().zip(&endpoint.token).fold(0, |sum, (a, b)| sum | (a ^ b));
        if std::hint::black_box(differs) != 0 {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok((endpoint.desk.clone(), rest.to_owned()))
    }
}

impl SessionServer {
    /// Listens. The error says what is wrong.
    pub async fn start(spec: &SessionServerSpec) -> Result<Self, String> {
        let own = host_of(&spec.advertise_address);
        let certificate = OwnCertificate::new(own, jiff::Timestamp::now())?;
        let pem = certificate.pem();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from(certificate.certificate)],
                    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certificate.key)),
                )
                .map_err(|error| format!("its own certificate is refused: {error}"))?;
        let listener = bind(&spec.listen_address).await?;
        let here = listener.local_addr().map_err(|error| error.to_string())?;
        let advertised = advertised(&spec.advertise_address, here);
        let open = Arc::<Endpoints>::default();
        let answering = Arc::clone(&open);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut serving = JoinSet::new();
        serving.spawn(http_server::serve(listener, Some(acceptor), move |asked| {
            answer(Arc::clone(&answering), asked)
        }));
        tracing::info!(address = %here, advertised, "Session server listening");
        Ok(Self {
            base: format!("https://{advertised}/session/"),
            certificate: pem,
            hold: spec.session_timeout,
            open,
            _serving: serving,
        })
    }

    /// An endpoint for one job request; `None`: the system gives no random numbers.
    pub fn open(&self) -> Option<OpenSession> {
        let (name, token) = (random_hex()?, random_hex()?);
        let desk = Desk::new(self.hold);
        let endpoint = Endpoint { token: Sha256::digest(token.as_bytes()).into(), desk: desk.clone() };
        self.open.lock().insert(name.clone(), endpoint);
        let told = Session {
            url: format!("{}{name}", self.base),
            certificate: self.certificate.clone(),
            authorization: Some(Secret::new(token)),
        };
        Some(OpenSession { told, desk, name, open: Arc::clone(&self.open) })
    }
}

/// Go's short form `:8093` is every address.
pub(crate) async fn bind(address: &str) -> Result<TcpListener, String> {
    let whole = if address.starts_with(':') { format!("[::]{address}") } else { address.to_owned() };
    let failed = |error: std::io::Error| format!("nobody can listen at {address}: {error}");
    match TcpListener::bind(&whole).await {
        // A machine without IPv6.
        Err(_) if address.starts_with(':') => {
            TcpListener::bind(format!("0.0.0.0{address}")).await.map_err(failed)
        }
        bound => bound.map_err(failed),
    }
}

fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { "localhost" } else { host }
}

/// What servers are told; a port of 0 was chosen by the system.
fn advertised(address: &str, here: SocketAddr) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let host = if host.is_empty() { "localhost" } else { host };
    let port = if port == "0" { here.port().to_string() } else { port.to_owned() };
    format!("{host}:{port}")
}

/// 64 hex digits.
fn random_hex() -> Option<String> {
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn answer(open: Arc<Endpoints>, asked: Asked) -> Answer {
    let (desk, rest) = match open.find(asked.uri().path(), asked.headers()) {
        Ok(found) => found,
        Err(status) => return text(status),
    };
    if rest != "exec" {
        return text(StatusCode::NOT_FOUND);
    }
    let headers = asked.headers();
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let upgrade = value(UPGRADE).is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    let Some(key) = value(SEC_WEBSOCKET_KEY).filter(|_| upgrade && asked.method() == Method::GET) else {
        return text(StatusCode::METHOD_NOT_ALLOWED);
    };
    let accept = websocket::accept(key);
    let chosen = value(SEC_WEBSOCKET_PROTOCOL).and_then(Protocol::choose);
    let seat = match desk.enter(PATIENCE).await {
        Ok(seat) => seat,
        Err(NotIn::Taken) => return text(StatusCode::LOCKED),
        Err(NotIn::NotReady) => return text(StatusCode::SERVICE_UNAVAILABLE),
        Err(NotIn::Closed) => return text(StatusCode::NOT_FOUND),
    };
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = chosen {
        response = response.header(SEC_WEBSOCKET_PROTOCOL, protocol.name());
    }
    let protocol = chosen.unwrap_or(Protocol::Plain);
    let then: Upgraded = Box::new(move |io| Box::pin(bridge(io, protocol, seat)));
    match response.body(Default::default()) {
        Ok(response) => Answer { response, then: Some((hyper::upgrade::on(asked), then)) },
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
