//! Where an object is: its bucket in the path or in the name of the host. Called by whoever signs requests for objects.

use crate::encoding;

/// Where the name of a bucket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// `https://host/bucket/key`: what stores other than Amazon's always understand.
    Path,
    /// `https://bucket.host/key`: what Amazon's wants for new buckets.
    VirtualHost,
}

/// A bucket at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectAddress {
    scheme: String,
    authority: String,
    bucket: String,
    addressing: Addressing,
}

impl ObjectAddress {
    /// At `https://host[:port]`; `None`: no such address, or it has a path of its own.
    pub fn new(endpoint: &str, bucket: &str, addressing: Addressing) -> Option<Self> {
        let (scheme, rest) = endpoint.split_once("://")?;
        let authority = rest.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        let known = matches!(scheme, "http" | "https");
        if !known || authority.is_empty() || !authority.chars().all(plain) {
            return None;
        }
        // A port that is the scheme's own is left out by HTTP clients; the signature is made over what they send.
        let own = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own).unwrap_or(authority).to_ascii_lowercase();
        Some(Self { scheme: scheme.to_owned(), authority, bucket: bucket.to_owned(), addressing })
    }

    /// What the header `Host` says.
    pub fn host(&self) -> String {
        match self.addressing {
            Addressing::Path => self.authority.clone(),
            Addressing::VirtualHost => format!("{}.{}", self.bucket, self.authority),
        }
    }

    /// The path of an object, or of the bucket for an empty key; not encoded.
    pub fn path(&self, key: &str) -> String {
        match self.addressing {
            Addressing::Path => format!("/{}/{key}", self.bucket),
            Addressing::VirtualHost => format!("/{key}"),
        }
    }

    /// The address for a client, with an encoded query if there is one.
    pub fn url(&self, key: &str, query: &str) -> String {
        let path = encoding::encode(&self.path(key), true);
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}://{}{path}{mark}{query}", self.scheme, self.host())
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_in_the_path_or_in_the_host() {
        let path = ObjectAddress::new("http://127.0.0.1:9000/", "ci", Addressing::Path).expect("an address");
        assert_eq!(path.url("a b/c", ""), "http://127.0.0.1:9000/ci/a%20b/c");
        assert_eq!(path.url("", "list-type=2"), "http://127.0.0.1:9000/ci/?list-type=2");
        let host = "https://s3.eu-west-1.amazonaws.com:443";
        let host = ObjectAddress::new(host, "ci", Addressing::VirtualHost).expect("an address");
        assert_eq!(host.url("k", ""), "https://ci.s3.eu-west-1.amazonaws.com/k");
    }

    #[test]
    fn what_is_no_endpoint_is_none() {
        for endpoint in
            ["", "host", "ftp://host", "https://", "https://user:password@host", "https://host/path"]
        {
            assert_eq!(ObjectAddress::new(endpoint, "b", Addressing::Path), None, "{endpoint}");
        }
    }
}
