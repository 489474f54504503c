//! Which certificates a registry is trusted by: the system's, and those that the engine is given for this registry in
//! `certs.d/<registry>`.
//!
//! Called by `registry`.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Reads `*.crt` (authorities) and `*.cert` with its `*.key` (this client) of `folder`, which need not exist.
pub(crate) fn config(folder: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let mut own = None;
    let mut files: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|f| f.path()).collect();
    files.sort();
    for file in files {
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("crt") => {
                for authority in certificates(&file)? {
                    let bad = |error| format!("a certificate in {} cannot be used: {error}", file.display());
                    roots.add(authority).map_err(bad)?;
                }
            }
            Some("cert") => {
                let key = file.with_extension("key");
                let bad = |error| format!("{} goes with {}: {error}", key.display(), file.display());
                own = Some((certificates(&file)?, PrivateKeyDer::from_pem_file(&key).map_err(bad)?));
            }
            _ => {}
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            format!("the client certificate in {} cannot be used: {error}", folder.display())
        }),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bad = |error| format!("{} is no PEM file with certificates: {error}", file.display());
    CertificateDer::pem_file_iter(file).map_err(bad)?.collect::<Result<_, _>>().map_err(bad)
}
