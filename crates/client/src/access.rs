//! Where a server is and with which files it is reached; the base address rules of `runner-api.md` §1.1.

use crate::ClientError;
use reqwest::Url;
use std::path::PathBuf;

/// What is needed to reach one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServerAccess {
    /// The configured address, e.g. `https://gitlab.example.com/gitlab`.
    pub url: String,
    /// `tls-ca-file`
    pub tls_ca_file: Option<PathBuf>,
    /// `tls-cert-file`
    pub tls_cert_file: Option<PathBuf>,
    /// `tls-key-file`
    pub tls_key_file: Option<PathBuf>,
    /// Where `<host>.crt`, `<host>.auth.crt` and `<host>.auth.key` are looked for (`<config dir>/certs`).
    pub certs_dir: Option<PathBuf>,
}

/// A checked base address that ends in `/api/v4/`.
#[derive(Clone)]
pub(crate) struct Base(Url);

impl Base {
    /// Trailing `/` off, one legacy `/ci` off, `/api/v4/` on.
    pub(crate) fn parse(configured: &str) -> Result<Self, ClientError> {
        let bad = |why: String| ClientError::BadUrl { url: configured.to_owned(), why };
        let text = configured.trim().trim_end_matches('/');
        let text = text.strip_suffix("/ci").unwrap_or(text).trim_end_matches('/');
        if text.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        let url = Url::parse(text)
            .and_then(|_| Url::parse(&format!("{text}/api/v4/")))
            .map_err(|e| bad(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(format!("only http and https are supported, not {}", url.scheme())));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("it has no host".to_owned()));
        }
        Ok(Self(url))
    }

    /// The address of an endpoint, `path` relative to `/api/v4/`.
    pub(crate) fn join(&self, path: &str) -> Result<Url, ClientError> {
        self.0.join(path).map_err(|e| ClientError::BadUrl { url: self.0.to_string(), why: e.to_string() })
    }

    /// The host's name without its port.
    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether the host is this machine; such a server is never asked through a proxy.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::Base;

    #[test]
    fn base_addresses() {
        for (configured, want) in [
            ("https://gitlab.example.com", "https://gitlab.example.com/api/v4/jobs/1"),
            ("https://gitlab.example.com/", "https://gitlab.example.com/api/v4/jobs/1"),
            ("https://gitlab.example.com/ci", "https://gitlab.example.com/api/v4/jobs/1"),
            ("http://host:8080/gitlab/ci/", "http://host:8080/gitlab/api/v4/jobs/1"),
        ] {
            let base = Base::parse(configured).expect(configured);
            assert_eq!(base.join("jobs/1").expect(configured).as_str(), want);
        }
        for bad in ["", "gitlab.example.com", "ftp://x", "unix:///x", "http://"] {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback() {
        for (url, is) in [("http://127.0.0.1:1", true), ("http://[::1]:1", true), ("http://localhost", true)]
            .into_iter()
            .chain([("http://10.0.0.1", false)])
        {
            assert_eq!(Base::parse(url).expect(url).is_loopback(), is, "{url}");
        }
    }
}
