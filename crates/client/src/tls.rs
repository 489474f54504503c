//! One rustls configuration a server: system roots (built-in ones where there are none), the configured CA
//! file, the client's certificate; and words for what goes wrong (`runner-api.md` §1.8, `runner-config.md` §11).

use crate::{ClientError, ServerAccess};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files a server is reached with, after looking into the certificates directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<(&'static str, PathBuf)>,
    pub(crate) cert: Option<(&'static str, PathBuf)>,
    pub(crate) key: Option<(&'static str, PathBuf)>,
}

impl TlsFiles {
    /// A configured file always counts; one in the directory counts if it is there.
    pub(crate) fn find(access: &ServerAccess, host: &str) -> Self {
        let pick = |setting: &'static str, configured: &Option<PathBuf>, ending: &str| match configured {
            Some(path) => Some((setting, path.clone())),
            None => access
                .certs_dir
                .as_ref()
                .map(|dir| dir.join(format!("{host}{ending}")))
                .filter(|path| path.exists())
                .map(|path| ("certificate file", path)),
        };
        Self {
            ca: pick("tls-ca-file", &access.tls_ca_file, ".crt"),
            cert: pick("tls-cert-file", &access.tls_cert_file, ".auth.crt"),
            key: pick("tls-key-file", &access.tls_key_file, ".auth.key"),
        }
    }

    /// What changes when one of the files changes.
    pub(crate) fn stamps(&self) -> Vec<Option<std::time::SystemTime>> {
        [&self.ca, &self.cert, &self.key]
            .into_iter()
            .flatten()
            .map(|(_, path)| std::fs::metadata(path).and_then(|m| m.modified()).ok())
            .collect()
    }
}

/// For a client that is only ever given plain http addresses: no roots are loaded.
pub(crate) fn without_roots() -> Result<ClientConfig, TlsError> {
    Ok(builder(provider())?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The real one. Reads the files and the system's roots.
pub(crate) fn config(files: &TlsFiles, host: &str) -> Result<ClientConfig, ClientError> {
    let setup = |e: TlsError| ClientError::Setup { host: host.to_owned(), why: e.to_string() };
    let provider = provider();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let mut pinned = Vec::new();
    if let Some((setting, path)) = &files.ca {
        let certificates = certificates(setting, path)?;
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|e| ClientError::BadTlsFile {
                setting,
                path: path.clone(),
                why: format!("a certificate in it cannot be used: {e}"),
            })?;
        }
        pinned = certificates;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|e| ClientError::Setup { host: host.to_owned(), why: e.to_string() })?;
    let config = builder(provider)
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { inner: verifier, pinned }));
    match (&files.cert, &files.key) {
        (Some((cert_setting, cert)), Some((key_setting, key))) => {
            let chain = certificates(cert_setting, cert)?;
            let bad = |why: String| ClientError::BadTlsFile { setting: key_setting, path: key.clone(), why };
            let pem = std::fs::read(key).map_err(|e| bad(format!("cannot read it: {e}")))?;
            let key = PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|e| bad(format!("no private key in PEM form in it: {e}")))?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|e| bad(format!("it does not go with {}: {e}", cert.display())))
        }
        (Some((setting, path)), None) => Err(ClientError::BadTlsFile {
            setting,
            path: path.clone(),
            why: "a client certificate needs its key: set tls-key-file".to_owned(),
        }),
        (None, Some((setting, path))) => Err(ClientError::BadTlsFile {
            setting,
            path: path.clone(),
            why: "a client key needs its certificate: set tls-cert-file".to_owned(),
        }),
        (None, None) => Ok(config.with_no_client_auth()),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let bad = |why: String| ClientError::BadTlsFile { setting, path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(|e| bad(format!("cannot read it: {e}")))?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(format!("not a PEM file: {e}")))?;
    if found.is_empty() {
        return Err(bad("no certificate in PEM form in it".to_owned()));
    }
    Ok(found)
}

/// The usual verifier, but a server whose own self-signed certificate is the configured CA file is accepted, as
/// Go accepts it.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verdict =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // Dates are checked before this complaint, the name after it.
            Err(TlsError::InvalidCertificate(CertificateError::Other(why)))
                if format!("{why:?}").contains("CaUsedAsEndEntity")
                    && self.pinned.iter().any(|known| known == end_entity) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What happened on the way to `place`, with the remedy where there is one.
pub(crate) fn explain(error: &reqwest::Error, call: &str, place: &str, files: &TlsFiles) -> ClientError {
    let mut last: String = error.to_string();
    let mut found: Option<TlsError> = None;
    let mut next: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(cause) = next {
        last = cause.to_string();
        if let Some(tls) = cause.downcast_ref::<TlsError>() {
            found = Some(tls.clone());
        }
        // An io::Error hides what it wraps from `source`.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => cause.source(),
        };
    }
    if let Some(TlsError::InvalidCertificate(problem)) = &found {
        return ClientError::Transport(format!("{call}: {}", certificate_words(problem, place, files)));
    }
    if error.is_timeout() {
        return ClientError::Transport(format!("{call}: no answer from {place} in time ({last})"));
    }
    let verb = if error.is_connect() { "cannot connect to" } else { "lost the connection to" };
    ClientError::Transport(format!("{call}: {verb} {place}: {last}"))
}

fn certificate_words(problem: &CertificateError, place: &str, files: &TlsFiles) -> String {
    let (what, remedy) = match problem {
        CertificateError::UnknownIssuer => (
            "it is signed by an authority that is not trusted here".to_owned(),
            match &files.ca {
                Some((_, path)) => format!(
                    "put the certificate of the authority that signed it into {} (tls-ca-file)",
                    path.display()
                ),
                None => "set tls-ca-file in config.toml to a PEM file with the certificate of the authority that \
                         signed it"
                    .to_owned(),
            },
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("it is not made for that name ({problem})"),
            "use a name that is in the certificate as url in config.toml, or have the server's certificate reissued; \
             tls-ca-file does not help here"
                .to_owned(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            format!("it has expired ({problem})"),
            "have the server's certificate renewed, or set this machine's clock right".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!("it is not valid yet ({problem})"),
            "set this machine's clock right".to_owned(),
        ),
        CertificateError::Other(why) if format!("{why:?}").contains("CaUsedAsEndEntity") => (
            "it is a self-signed certificate that is not trusted here".to_owned(),
            "set tls-ca-file in config.toml to a PEM file with that very certificate".to_owned(),
        ),
        other => (
            other.to_string(),
            "check the server's certificate; tls-ca-file in config.toml names the authorities to trust".to_owned(),
        ),
    };
    format!("the TLS certificate of {place} is refused: {what}; {remedy}")
}
