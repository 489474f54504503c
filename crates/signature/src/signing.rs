//! The signature itself. Called by [`Signer`]'s users with a whole request; what is signed is what they must send.

use crate::encoding::{encode, hex, query};
use harrier_base::Secret;
use jiff::Timestamp;
use ring::{digest, hmac};

/// The hash of a request without a body.
pub const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// In place of a hash: the body is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who asks.
#[derive(Clone)]
pub struct Credentials {
    /// The access key, which is no secret.
    pub access_key: String,
    /// The secret key.
    pub secret_key: Secret,
    /// Beside temporary credentials.
    pub session_token: Option<Secret>,
}

/// A request before it is signed.
pub struct Request<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// What `Host` will say.
    pub host: &'a str,
    /// Not encoded.
    pub path: &'a str,
    /// Names and values, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Further headers that the signature holds to, names in small letters.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Signs for one store.
#[derive(Clone)]
pub struct Signer {
    credentials: Credentials,
    region: String,
    service: &'static str,
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

impl Signer {
    /// For S3 in a region.
    pub fn s3(credentials: Credentials, region: impl Into<String>) -> Self {
        Self { credentials, region: region.into(), service: "s3" }
    }

    /// The headers that are sent besides the request's own. `payload`: the hash of the body, or [`UNSIGNED_PAYLOAD`]; `at`: seconds
    /// since 1970 UTC.
    pub fn headers(&self, request: &Request<'_>, payload: &str, at: i64) -> Vec<(&'static str, Secret)> {
        let (date, scope) = self.scope(at);
        let token = self.credentials.session_token.as_ref().map(Secret::expose);
        let mut signed: Vec<(&str, &str)> = request.headers.to_vec();
        signed.extend([
            ("host", request.host),
            ("x-amz-content-sha256", payload),
            ("x-amz-date", date.as_str()),
        ]);
        signed.extend(token.map(|token| ("x-amz-security-token", token)));
        let queried = query(request.query.iter().copied());
        let (names, signature) = self.sign(request, &queried, signed, payload, &date, &scope);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.credentials.access_key
        );
        let mut out = vec![
            ("x-amz-date", Secret::new(date.as_str())),
            ("x-amz-content-sha256", Secret::new(payload)),
            ("authorization", Secret::new(authorization)),
        ];
        out.extend(token.map(|token| ("x-amz-security-token", Secret::new(token))));
        out
    }

    /// The query of an address that may be used for `seconds` (at most a week) from `at` on; the request's own query is in it. Whoever
    /// has it has what it allows: it is a secret.
    pub fn presigned_query(&self, request: &Request<'_>, seconds: u32, at: i64) -> Secret {
        let (date, scope) = self.scope(at);
        let credential = format!("{}/{scope}", self.credentials.access_key);
        let seconds = seconds.clamp(1, 7 * 24 * 3600).to_string();
        let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
        headers.push(("host", request.host));
        headers.sort_unstable();
        let names = joined_names(&headers);
        let mut pairs = request.query.to_vec();
        pairs.extend([
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", credential.as_str()),
            ("X-Amz-Date", date.as_str()),
            ("X-Amz-Expires", seconds.as_str()),
            ("X-Amz-SignedHeaders", names.as_str()),
        ]);
        let token = self.credentials.session_token.as_ref().map(Secret::expose);
        pairs.extend(token.map(|token| ("X-Amz-Security-Token", token)));
        let queried = query(pairs.into_iter());
        let (_, signature) = self.sign(request, &queried, headers, UNSIGNED_PAYLOAD, &date, &scope);
        Secret::new(format!("{queried}&X-Amz-Signature={signature}"))
    }

    /// The date as headers have it, and what the signature is good for.
    fn scope(&self, at: i64) -> (String, String) {
        let time = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
        let scope = format!("{}/{}/{}/aws4_request", time.strftime("%Y%m%d"), self.region, self.service);
        (time.strftime("%Y%m%dT%H%M%SZ").to_string(), scope)
    }

    /// The names of the signed headers, and the signature.
    fn sign(
        &self,
        request: &Request<'_>,
        queried: &str,
        mut headers: Vec<(&str, &str)>,
        payload: &str,
        date: &str,
        scope: &str,
    ) -> (String, String) {
        headers.sort_unstable();
        let names = joined_names(&headers);
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let path = encode(request.path, true);
        let canonical = format!("{}\n{path}\n{queried}\n{lines}\n{names}\n{payload}", request.method);
        let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        let begin = Secret::new(format!("AWS4{}", self.credentials.secret_key.expose()));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, begin.expose().as_bytes());
        for part in scope.split('/') {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        (names, hex(hmac::sign(&key, text.as_bytes()).as_ref()))
    }
}

/// The names, in order, as the signature has them.
fn joined_names(sorted: &[(&str, &str)]) -> String {
    sorted.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
}
