//! Certificates for the fake server, made for tests and worth nothing; the authority's key was thrown away.
//!
//! Called by `connection` and by tests that hand the authority to a client.

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What the server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// For `localhost`, 127.0.0.1 and 127.0.0.2, signed by [`AUTHORITY`].
    Ours,
    /// For another host, signed by [`AUTHORITY`].
    OtherName,
}

/// The authority's certificate as PEM, for `tls-ca-file`.
pub const AUTHORITY: &str = include_str!("../certificates/ca.crt");

impl Certificate {
    pub(crate) fn acceptor(self) -> TlsAcceptor {
        let (certificate, key) = match self {
            Certificate::Ours => (
                include_bytes!("../certificates/ours.crt").as_slice(),
                include_bytes!("../certificates/ours.key").as_slice(),
            ),
            Certificate::OtherName => (
                include_bytes!("../certificates/other.crt").as_slice(),
                include_bytes!("../certificates/other.key").as_slice(),
            ),
        };
        let certificate = CertificateDer::from_pem_slice(certificate).expect("the file was made by openssl");
        let key = PrivateKeyDer::from_pem_slice(key).expect("the file was made by openssl");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("the key belongs to the certificate");
        TlsAcceptor::from(Arc::new(config))
    }
}
