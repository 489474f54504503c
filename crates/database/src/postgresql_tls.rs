//! TLS to a PostgreSQL, by rustls: what an address says of it in libpq's words (`sslmode`, `sslrootcert`), the connection, and what
//! to do when one side wants what the other has not. Called by `postgresql`; it must never check less than the address asks for.

use crate::error::{DatabaseError, Result};
use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `sslmode`, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// Never.
    Disable,
    /// Where the server has it; whoever it is.
    Prefer,
    /// Always; whoever it is.
    Require,
    /// Its certificate is of a known authority.
    VerifyCa,
    /// And of that name.
    VerifyFull,
}

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            // `allow` begins without and tries with; there is no reason to want that.
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    /// What the library knows.
    fn word(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require | Self::VerifyCa | Self::VerifyFull => "require",
        }
    }
}

/// An address taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// For the library, which knows neither the stricter modes nor `sslrootcert`.
    pub plain: String,
    /// How TLS is to be used.
    pub mode: Mode,
    /// Authorities in PEM; `None`: those of the system.
    pub roots: Option<PathBuf>,
}

impl Address {
    /// From `postgres://…?sslmode=…&sslrootcert=…`, or `host=… sslmode=…`; the reason where it cannot be.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut mode = None;
        let mut roots = None;
        let mut keep = |key: &str, value: String| match key {
            "sslmode" => {
                mode = Some(Mode::parse(&value).ok_or_else(|| {
                    format!(
                        "sslmode is {value}; it can be disable, prefer, require, verify-ca or verify-full"
                    )
                })?);
                Ok(false)
            }
            "sslrootcert" => {
                roots = (value != "system").then(|| PathBuf::from(value));
                Ok(false)
            }
            "sslcert" | "sslkey" | "sslpassword" | "sslcrl" => Err(format!(
                "{key} is not supported: log in with a password in the address, over TLS with sslmode=verify-full"
            )),
            _ => Ok(true),
        };
        let url = text.contains("://");
        let (head, rest) = match (url, text.split_once('?')) {
            (true, Some((head, query))) => (head, query),
            (true, None) => (text, ""),
            (false, _) => ("", text),
        };
        let mut kept = Vec::new();
        let between = |c: char| if url { c == '&' } else { c.is_whitespace() };
        for pair in rest.split(between).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = if url { decoded(value) } else { value.trim_matches('\'').to_owned() };
            if keep(key, value)? {
                kept.push(pair.to_owned());
            }
        }
        let mut mode = mode.unwrap_or(Mode::Prefer);
        if roots.is_some() && mode == Mode::Require {
            // As libpq has it: who names authorities wants them asked.
            mode = Mode::VerifyCa;
        }
        kept.push(format!("sslmode={}", mode.word()));
        let plain = if url { format!("{head}?{}", kept.join("&")) } else { kept.join(" ") };
        Ok(Self { plain, mode, roots })
    }

    /// What makes its connections.
    pub fn connector(&self) -> std::result::Result<Connector, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authorities = match self.mode {
            Mode::Disable | Mode::Prefer | Mode::Require => None,
            Mode::VerifyCa | Mode::VerifyFull => {
                let roots = Arc::new(roots(self.roots.as_deref())?);
                let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
                Some(built.map_err(|error| format!("the authorities cannot be used: {error}"))?)
            }
        };
        let check =
            Check { authorities, name: self.mode == Mode::VerifyFull, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(check))
            .with_no_client_auth();
        Ok(Connector { config: Arc::new(config) })
    }
}

/// `%2F` and the like; what is none of them stays.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| byte == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn roots(file: Option<&Path>) -> std::result::Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        return match store.is_empty() {
            true => {
                Err("this machine has no list of authorities; name a file of them with sslrootcert".into())
            }
            false => Ok(store),
        };
    };
    let failed = |why: String| format!("sslrootcert {}: {why}", file.display());
    let all = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
    for certificate in all {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        store.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    match store.is_empty() {
        true => Err(failed("it holds no certificate in PEM".into())),
        false => Ok(store),
    }
}

/// Checks as much as the mode asks for.
#[derive(Debug)]
struct Check {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(certificate, between, name, ocsp, now) {
            // The name is looked at last: the rest was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
}

/// One connection to be made.
pub(crate) struct Connecting {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Encrypted;
    type TlsConnect = Connecting;
    type Error = rustls_pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> std::result::Result<Connecting, Self::Error> {
        Ok(Connecting { config: Arc::clone(&self.config), name: ServerName::try_from(host.to_owned())? })
    }
}

impl TlsConnect<Socket> for Connecting {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let connecting = tokio_rustls::TlsConnector::from(self.config).connect(self.name, socket);
        Box::pin(async move { connecting.await.map(|stream| Encrypted(Box::new(stream))) })
    }
}

/// An encrypted connection.
pub(crate) struct Encrypted(Box<tokio_rustls::client::TlsStream<Socket>>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What to do about a connection that could not be made; empty where TLS is not the reason. `said`: the server's or the library's
/// words.
pub(crate) fn advice(mode: Mode, error: &(dyn std::error::Error + 'static), said: &str) -> String {
    if let Some(error) = of_rustls(error) {
        return match error {
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => "; its certificate is of no authority known here: give the file of its authority with \
                  &sslrootcert=FILE"
                .into(),
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => "; its certificate is for another name: write the host as the certificate has it, or check the \
                  authority alone with sslmode=verify-ca"
                .into(),
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => "; its certificate has expired: renew it on the server".into(),
            _ => "; the certificate that the server shows cannot be used".into(),
        };
    }
    if said.contains("server does not support TLS") {
        return "; the server has no TLS: set `ssl = on` there, or sslmode=disable here if nobody can listen in between"
            .into();
    }
    if said.contains("no encryption") || said.contains("SSL off") {
        return match mode {
            Mode::Disable => "; the server wants TLS: add sslmode=verify-full to the address, and \
                              sslrootcert=FILE where its authority is your own"
                .into(),
            _ => "; the server lets this user in over TLS only, and has none: set `ssl = on` there".into(),
        };
    }
    String::new()
}

/// The fault of TLS among the causes of an error.
fn of_rustls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Reads an address, with the error of the store.
pub(crate) fn parse(text: &str, shown: &str) -> Result<(Address, Connector)> {
    let failed = |message| DatabaseError::Open { place: shown.to_owned(), message };
    let address = Address::parse(text).map_err(failed)?;
    let connector = address.connector().map_err(failed)?;
    Ok((address, connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_how_tls_is_used() {
        for (text, plain, mode, roots) in [
            ("postgres://a:b@c/d", "postgres://a:b@c/d?sslmode=prefer", Mode::Prefer, None),
            (
                "postgres://a@c/d?sslmode=verify-full&application_name=x%26y&sslrootcert=%2Fetc%2Fca.pem",
                "postgres://a@c/d?application_name=x%26y&sslmode=require",
                Mode::VerifyFull,
                Some("/etc/ca.pem"),
            ),
            ("postgres://c?sslmode=disable", "postgres://c?sslmode=disable", Mode::Disable, None),
            (
                "postgres://c?sslmode=require&sslrootcert=r",
                "postgres://c?sslmode=require",
                Mode::VerifyCa,
                Some("r"),
            ),
            (
                "postgres://c?sslmode=verify-ca&sslrootcert=system",
                "postgres://c?sslmode=require",
                Mode::VerifyCa,
                None,
            ),
            ("host=c sslmode=allow user='x'", "host=c user='x' sslmode=prefer", Mode::Prefer, None),
        ] {
            let parsed = Address::parse(text).expect(text);
            let wanted = Address { plain: plain.into(), mode, roots: roots.map(PathBuf::from) };
            assert_eq!(parsed, wanted, "{text}");
        }
        assert!(Address::parse("postgres://c?sslmode=maybe").expect_err("unknown").contains("verify-full"));
        assert!(Address::parse("postgres://c?sslcert=x").expect_err("unsupported").contains("sslcert"));
    }
}
