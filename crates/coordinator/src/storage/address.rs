//! `--storage s3://BUCKET/PREFIX?…`: which bucket, where, with whose keys. Called by the command line, which reads files and the
//! environment; keys never stand in the address.

use harrier_base::Secret;
use harrier_signature::{Addressing, Credentials, ObjectAddress};
use std::path::PathBuf;

/// Where the region is when nobody says.
const REGION: &str = "us-east-1";

/// A store of objects that a server keeps logs and artifacts in.
#[derive(Clone)]
pub struct ObjectStorage {
    pub(super) bucket: ObjectAddress,
    pub(super) region: String,
    /// In front of every key; empty, or with a slash at its end.
    pub(super) prefix: String,
    pub(super) ca: Option<PathBuf>,
    pub(super) direct_download: bool,
    pub(super) credentials: Credentials,
}

impl std::fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStorage").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl ObjectStorage {
    /// Reads an address. `region`: where the address names none. The error is for a person.
    pub fn parse(address: &str, region: Option<&str>, credentials: Credentials) -> Result<Self, String> {
        let rest = address.strip_prefix("s3://").ok_or("it needs to begin with s3://")?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(
                "keys do not belong into it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give \
                        --storage-credentials FILE"
                    .into(),
            );
        }
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bucket.is_empty() || !bucket.chars().all(named) {
            return Err(format!("`{bucket}` is no name of a bucket; write s3://BUCKET/PREFIX"));
        }
        let prefix = prefix.trim_matches('/');
        if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains(char::is_control) {
            return Err(format!("`{prefix}` is no prefix of keys"));
        }
        let mut region = region.map(str::to_owned);
        let (mut endpoint, mut ca, mut addressing, mut direct_download) = (None, None, None, true);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let truth = || match &*value {
                "true" => Ok(true),
                "false" => Ok(false),
                other => Err(format!("{name}={other}: write {name}=true or {name}=false")),
            };
            match &*name {
                "endpoint" => endpoint = Some(value.into_owned()),
                "region" => region = Some(value.into_owned()),
                "ca" => ca = Some(PathBuf::from(&*value)),
                "path_style" => {
                    addressing = Some(if truth()? { Addressing::Path } else { Addressing::VirtualHost });
                }
                "direct_download" => direct_download = truth()?,
                other => {
                    return Err(format!(
                        "`{other}` is not known; there are endpoint, region, ca, path_style and direct_download"
                    ));
                }
            }
        }
        let region = region.filter(|region| !region.is_empty()).unwrap_or_else(|| REGION.to_owned());
        // Amazon's certificates do not fit names of buckets with dots.
        let own = match (&endpoint, bucket.contains('.')) {
            (None, false) => Addressing::VirtualHost,
            (Some(_), _) | (None, true) => Addressing::Path,
        };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let address = ObjectAddress::new(&endpoint, bucket, addressing.unwrap_or(own)).ok_or_else(|| {
            format!("endpoint={endpoint}: it needs to be https://host or https://host:port, without a path")
        })?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket: address, region, prefix, ca, direct_download, credentials })
    }

    /// For messages.
    pub(crate) fn place(&self) -> String {
        let host = self.bucket.host();
        format!(
            "bucket {} at {}://{host} (region {})",
            self.bucket.bucket(),
            self.bucket.scheme(),
            self.region
        )
    }
}

/// The keys in a file of the form that AWS's tools share: of the profile, or where there are no profiles of the whole file. The
/// error is for a person.
pub fn credentials_in(text: &str, profile: &str) -> Result<Credentials, String> {
    let (mut inside, mut profiles) = (true, false);
    let (mut access, mut secret, mut session) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            profiles = true;
            inside = name.trim() == profile;
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        if !inside || value.is_empty() {
            continue;
        }
        match name.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => access = Some(value.to_owned()),
            "aws_secret_access_key" => secret = Some(Secret::new(value)),
            "aws_session_token" => session = Some(Secret::new(value)),
            _ => {}
        }
    }
    match (access, secret) {
        (Some(access_key), Some(secret_key)) => {
            Ok(Credentials { access_key, secret_key, session_token: session })
        }
        _ if profiles => Err(format!(
            "the profile [{profile}] needs the lines aws_access_key_id = … and aws_secret_access_key = …"
        )),
        _ => Err("it needs the lines aws_access_key_id = … and aws_secret_access_key = …".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Credentials {
        Credentials { access_key: "k".into(), secret_key: Secret::new("s"), session_token: None }
    }

    fn url(address: &str) -> String {
        let storage =
            ObjectStorage::parse(address, None, keys()).unwrap_or_else(|why| panic!("{address}: {why}"));
        storage.bucket.url(&format!("{}x", storage.prefix), "")
    }

    #[test]
    fn addresses_say_where_objects_are() {
        for (address, object) in [
            ("s3://ci", "https://ci.s3.us-east-1.amazonaws.com/x"),
            ("s3://ci/a/b/?region=eu-west-1", "https://ci.s3.eu-west-1.amazonaws.com/a/b/x"),
            ("s3://my.ci", "https://s3.us-east-1.amazonaws.com/my.ci/x"),
            ("s3://ci/p?endpoint=http://127.0.0.1:9000", "http://127.0.0.1:9000/ci/p/x"),
            ("s3://ci?endpoint=https%3A%2F%2Fs3.example.com&path_style=false", "https://ci.s3.example.com/x"),
        ] {
            assert_eq!(url(address), object);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (address, word) in [
            ("http://x", "s3://"),
            ("s3://", "bucket"),
            ("s3://key:secret@ci", "AWS_ACCESS_KEY_ID"),
            ("s3://ci/../x", "prefix"),
            ("s3://ci?endpoint=host", "https://host"),
            ("s3://ci?path_style=yes", "path_style=true"),
            ("s3://ci?secret=1", "`secret` is not known"),
        ] {
            let why = ObjectStorage::parse(address, None, keys()).err().unwrap_or_default();
            assert!(why.contains(word), "{address}: {why}");
            assert!(!why.contains("key:secret"), "{why}");
        }
    }

    #[test]
    fn keys_are_read_from_the_file_that_other_tools_share() {
        let text = "# mine\n[other]\naws_access_key_id = o\naws_secret_access_key=p\n[default]\naws_access_key_id=a\n\
                    aws_secret_access_key = b=c\nregion = x\naws_session_token = t\n";
        let found = credentials_in(text, "default").expect("keys");
        assert_eq!((found.access_key.as_str(), found.secret_key.expose()), ("a", "b=c"));
        assert_eq!(found.session_token.as_ref().map(Secret::expose), Some("t"));
        assert_eq!(credentials_in(text, "other").expect("keys").access_key, "o");
        assert!(credentials_in(text, "third").err().is_some_and(|why| why.contains("[third]")));
        let plain = "aws_access_key_id = a\naws_secret_access_key = b\n";
        assert_eq!(credentials_in(plain, "default").expect("keys").access_key, "a");
    }
}
