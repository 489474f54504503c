//! Finding the engine and talking to it (`executors.md` §10.1): `host` of the configuration, else `DOCKER_HOST`, else
//! Docker's current context, else the usual socket.
//!
//! Called by the executor when it opens, reopens or sweeps. The decision is pure; reading the environment and Docker's
//! files happens in [`Surroundings::of_process`] alone.

use bollard::Docker;
use harrier_config::EngineAddress;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Oldest API that has everything we ask for (Docker 20.10).
const OLDEST_API: (usize, usize) = (1, 41);
/// Of one request's answer, in seconds; streams may last longer.
const TIMEOUT: u64 = 120;
const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";

/// A connected engine.
#[derive(Clone)]
pub(crate) struct Engine {
    /// The client; cheap to clone.
    pub docker: Docker,
    /// Where it answers, for people.
    pub address: String,
    /// It can give a container an init as its first process.
    pub has_init: bool,
    /// Negotiated.
    pub api: (usize, usize),
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nothing answers.
    #[error(
        "no Docker Engine answers at {address} ({origin}): {cause}; start the engine there, or set host in [runners.docker] of config.toml, or DOCKER_HOST"
    )]
    Silent {
        /// Where.
        address: String,
        /// Who said so.
        origin: &'static str,
        /// What happened.
        cause: String,
    },
    /// The address is of a kind we cannot use.
    #[error(
        "the engine's address {address:?} ({origin}) cannot be used: write it as unix:///path, tcp://host:port or http://host:port"
    )]
    Scheme {
        /// As written.
        address: String,
        /// Who said so.
        origin: &'static str,
    },
    /// The engine is too old.
    #[error(
        "the Docker Engine at {address} speaks API {major}.{minor}; Harrier needs 1.41 (Docker 20.10, Podman 4) or later: update the engine"
    )]
    TooOld {
        /// Where.
        address: String,
        /// Its API.
        major: usize,
        /// Its API.
        minor: usize,
    },
}

/// What the decision looks at.
#[derive(Default)]
pub(crate) struct Surroundings {
    docker_host: Option<String>,
    cert_path: Option<PathBuf>,
    tls_verify: bool,
    /// Host and certificates of Docker's current context.
    context: Option<(String, Option<PathBuf>)>,
    home: Option<PathBuf>,
}

/// Where an engine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    address: String,
    certificates: Option<PathBuf>,
    origin: &'static str,
}

impl Surroundings {
    /// Of this process and its user.
    pub fn of_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = text("HOME").map(PathBuf::from);
        let dir = text("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".docker")));
        Self {
            docker_host: text("DOCKER_HOST"),
            cert_path: text("DOCKER_CERT_PATH").map(PathBuf::from),
            tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            context: dir.and_then(|dir| context(&dir, text("DOCKER_CONTEXT"))),
            home,
        }
    }
}

/// The context in force, unless it is the default one. A context that cannot be read is none: the default socket is tried.
fn context(dir: &Path, chosen: Option<String>) -> Option<(String, Option<PathBuf>)> {
    let name = chosen.or_else(|| {
        let text = std::fs::read_to_string(dir.join("config.json")).ok()?;
        let config: serde_json::Value = serde_json::from_str(&text).ok()?;
        config.get("currentContext")?.as_str().map(str::to_owned)
    })?;
    if name == "default" {
        return None;
    }
    let digest: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = std::fs::read_to_string(dir.join("contexts/meta").join(&digest).join("meta.json")).ok()?;
    let meta: serde_json::Value = serde_json::from_str(&text).ok()?;
    let host = meta.pointer("/Endpoints/docker/Host")?.as_str()?.to_owned();
    let tls = dir.join("contexts/tls").join(&digest).join("docker");
    Some((host, tls.is_dir().then_some(tls)))
}

/// Decides where the engine is.
pub(crate) fn endpoint(spec: &EngineAddress, around: &Surroundings) -> Endpoint {
    let (address, origin, context_certificates) = match (&spec.host, &around.docker_host, &around.context) {
        (Some(host), _, _) => (host.clone(), "host in [runners.docker]", None),
        (None, Some(host), _) => (host.clone(), "DOCKER_HOST", None),
        (None, None, Some((host, tls))) => (host.clone(), "Docker's current context", tls.clone()),
        (None, None, None) => (DEFAULT_SOCKET.to_owned(), "the default socket", None),
    };
    let wants_tls = spec.tls_verify || spec.tls_cert_path.is_some() || around.tls_verify;
    let certificates = context_certificates.or_else(|| {
        let default = || around.home.as_ref().map(|home| home.join(".docker"));
        if !wants_tls {
            return None;
        }
        spec.tls_cert_path.clone().or_else(|| around.cert_path.clone()).or_else(default)
    });
    Endpoint { address, certificates, origin }
}

/// Connects and agrees on an API version.
pub(crate) async fn connect(spec: &EngineAddress) -> Result<Engine, ConnectError> {
    let place = endpoint(spec, &Surroundings::of_process());
    let silent = |error: bollard::errors::Error| ConnectError::Silent {
        address: place.address.clone(),
        origin: place.origin,
        cause: words(&error),
    };
    let version = bollard::API_DEFAULT_VERSION;
    let address = place.address.as_str();
    let client = if address.starts_with("unix://") || address.starts_with('/') {
        Docker::connect_with_unix(address, TIMEOUT, version)
    } else if ["tcp://", "http://", "https://"].iter().any(|scheme| address.starts_with(scheme)) {
        match &place.certificates {
            Some(dir) => Docker::connect_with_ssl(
                address,
                &dir.join("key.pem"),
                &dir.join("cert.pem"),
                &dir.join("ca.pem"),
                TIMEOUT,
                version,
            ),
            None => Docker::connect_with_http(address, TIMEOUT, version),
        }
    } else {
        return Err(ConnectError::Scheme { address: place.address.clone(), origin: place.origin });
    };
    let client = client.map_err(silent)?.with_request_modifier(url_safe_credentials);
    let docker = client.negotiate_version().await.map_err(silent)?;
    let agreed = docker.client_version();
    let api = (agreed.major_version, agreed.minor_version);
    if api < OLDEST_API {
        return Err(ConnectError::TooOld { address: place.address.clone(), major: api.0, minor: api.1 });
    }
    let info = docker.info().await.map_err(silent)?;
    let has_init = info.init_binary.is_some_and(|name| !name.is_empty());
    Ok(Engine { docker, address: place.address, has_init, api })
}

/// The engine wants URL-safe base64 in this header; in the other kind it takes credentials for none.
fn url_safe_credentials(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        if let Some(value) = request.headers_mut().get_mut(name) {
            let text: Vec<u8> = value
                .as_bytes()
                .iter()
                .map(|byte| match byte {
                    b'+' => b'-',
                    b'/' => b'_',
                    other => *other,
                })
                .collect();
            if let Ok(mended) = text.try_into() {
                *value = mended;
            }
        }
    }
    request
}

/// What went wrong, with its causes, in one line.
pub(crate) fn words(error: &bollard::errors::Error) -> String {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    text = format!("{text}: {inner_text}");
                }
                cause = inner.source();
            }
            text
        }
    }
}

/// The HTTP status the engine answered with.
pub(crate) fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_then_environment_then_context() {
        let around = Surroundings {
            docker_host: Some("tcp://env:2375".into()),
            context: Some(("unix:///ctx".into(), None)),
            home: Some("/home/u".into()),
            ..Surroundings::default()
        };
        let spec = |host: Option<&str>, verify| EngineAddress {
            host: host.map(str::to_owned),
            tls_verify: verify,
            ..EngineAddress::default()
        };
        assert_eq!(endpoint(&spec(Some("unix:///conf"), false), &around).address, "unix:///conf");
        assert_eq!(endpoint(&spec(None, false), &around).address, "tcp://env:2375");
        let tls = endpoint(&spec(Some("tcp://h:2376"), true), &around);
        assert_eq!(tls.certificates.as_deref(), Some(Path::new("/home/u/.docker")));
        let context_only = Surroundings { docker_host: None, ..around };
        assert_eq!(endpoint(&spec(None, false), &context_only).address, "unix:///ctx");
        assert_eq!(endpoint(&spec(None, false), &Surroundings::default()).address, DEFAULT_SOCKET);
    }

    #[test]
    fn reads_dockers_contexts() {
        let dir = tempfile::tempdir().expect("temp dir");
        let at = |path: &str| dir.path().join(path);
        std::fs::write(at("config.json"), r#"{"currentContext": "far"}"#).expect("written");
        let digest: String = Sha256::digest(b"far").iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = at("contexts/meta").join(&digest);
        std::fs::create_dir_all(&meta).expect("made");
        std::fs::write(meta.join("meta.json"), r#"{"Endpoints": {"docker": {"Host": "tcp://far:2376"}}}"#)
            .expect("written");
        assert_eq!(context(dir.path(), None), Some(("tcp://far:2376".into(), None)));
        assert_eq!(context(dir.path(), Some("default".into())), None);
        assert_eq!(context(dir.path(), Some("gone".into())), None);
    }
}
