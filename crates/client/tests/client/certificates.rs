//! The client over real TLS: whom it trusts, and what it says when it does not.

use harrier_api::JobRequest;
use harrier_client::{Asked, ClientError, ServerAccess};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/client/certs").join(name)
}

/// Answers every request with 204; returns its port.
async fn serve(name: &str, clients: bool) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = if clients {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("ca.crt")).expect("a certificate")).expect("a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier");
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let config = builder
        .with_single_cert(
            vec![CertificateDer::from_pem_file(file(&format!("{name}.crt"))).expect("a certificate")],
            PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).expect("a key"),
        )
        .expect("a pair");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            let _ = socket.shutdown().await;
        }
    });
    port
}

async fn ask(access: ServerAccess) -> Result<(), String> {
    let client = crate::scripted::client(access);
    match client.request_job(&JobRequest::default()).await.asked {
        Asked::Nothing => Ok(()),
        Asked::Failed(why) | Asked::Unusable(why) | Asked::Forbidden(why) => Err(why),
        Asked::Job { .. } => Err("a job".into()),
    }
}

fn at(port: u16) -> ServerAccess {
    ServerAccess { url: format!("https://localhost:{port}"), ..ServerAccess::default() }
}

#[tokio::test]
async fn an_unknown_authority_is_refused_with_the_remedy() {
    let port = serve("local", false).await;
    let why = ask(at(port)).await.expect_err("not trusted");
    for part in [
        format!("localhost:{port}"),
        "signed by an authority that is not trusted here".into(),
        "set tls-ca-file in config.toml".into(),
    ] {
        assert!(why.contains(&part), "{part:?} is missing in {why:?}");
    }
    ask(ServerAccess { tls_ca_file: Some(file("ca.crt")), ..at(port) }).await.expect("trusted");
    let wrong = ServerAccess { tls_ca_file: Some(file("self.crt")), ..at(port) };
    let why = ask(wrong).await.expect_err("another authority");
    assert!(why.contains("self.crt (tls-ca-file)"), "{why}");
}

#[tokio::test]
async fn a_self_signed_server_is_trusted_once_its_certificate_is_the_ca_file() {
    let port = serve("self", false).await;
    let why = ask(at(port)).await.expect_err("not trusted");
    assert!(why.contains("tls-ca-file"), "{why}");
    ask(ServerAccess { tls_ca_file: Some(file("self.crt")), ..at(port) }).await.expect("trusted");
}

#[tokio::test]
async fn another_name_is_refused_even_with_the_right_authority() {
    let port = serve("other", false).await;
    let why =
        ask(ServerAccess { tls_ca_file: Some(file("ca.crt")), ..at(port) }).await.expect_err("other name");
    assert!(why.contains("not made for that name") && why.contains("other.example.com"), "{why}");
}

#[tokio::test]
async fn the_certificates_directory_is_looked_into_and_looked_into_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = serve("local", false).await;
    let access = ServerAccess { certs_dir: Some(dir.path().to_owned()), ..at(port) };
    let client = crate::scripted::client(access);
    let request = JobRequest::default();
    assert!(matches!(client.request_job(&request).await.asked, Asked::Failed(_)));
    std::fs::copy(file("ca.crt"), dir.path().join("localhost.crt")).expect("a copy");
    assert!(matches!(client.request_job(&request).await.asked, Asked::Nothing));
    assert!(client.ca_pem().is_some_and(|pem| pem.contains("BEGIN CERTIFICATE")));
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let port = serve("local", true).await;
    let ca = ServerAccess { tls_ca_file: Some(file("ca.crt")), ..at(port) };
    assert!(ask(ca.clone()).await.is_err());
    let both = ServerAccess {
        tls_cert_file: Some(file("other.crt")),
        tls_key_file: Some(file("other.key")),
        ..ca.clone()
    };
    ask(both).await.expect("known");
    let why = ask(ServerAccess { tls_cert_file: Some(file("other.crt")), ..ca }).await.expect_err("no key");
    assert!(why.contains("set tls-key-file"), "{why}");
}

#[tokio::test]
async fn a_bad_file_is_named() {
    for (path, words) in [("none.crt", "cannot read it"), ("self.key", "no certificate in PEM form")] {
        let access = ServerAccess { tls_ca_file: Some(file(path)), ..at(1) };
        let client = crate::scripted::client(access);
        let Asked::Unusable(why) = client.request_job(&JobRequest::default()).await.asked else {
            panic!("{path}")
        };
        assert!(why.starts_with("tls-ca-file ") && why.contains(path) && why.contains(words), "{why}");
    }
    let bad = harrier_client::Client::new(ServerAccess::default(), crate::scripted::options()).map(|_| ());
    assert!(matches!(bad, Err(ClientError::BadUrl { .. })));
}
