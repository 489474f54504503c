//! A bucket of a store that speaks S3: objects put, read, removed, and addresses that others may read one at. Called by the rest of
//! the storage; it knows nothing of jobs. What fails for a moment is tried again a little, what a person has to mend says how.

use super::address::ObjectStorage;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use harrier_base::{Clock, Secret};
use harrier_signature::{EMPTY_PAYLOAD, ObjectAddress, Request, Signer, sha256_hex};
use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::header::{CONTENT_LENGTH, HeaderValue, RANGE};
use reqwest::{Client, Method, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

/// Until a connection is there.
const CONNECT: Duration = Duration::from_secs(5);
/// Until an answer begins, or goes on.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes a second below which an upload is given up.
const SLOW: u64 = 1 << 20;
/// Waits before what failed for a moment is tried again.
const AGAIN: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// Most bytes of an answer that explains an error.
const EXPLANATION: usize = 64 << 10;

/// A bucket cannot do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BucketError {
    /// Nobody answers.
    #[error("it cannot be reached: {why}; is the endpoint right, and does it run?")]
    Unreachable {
        /// The last cause.
        why: String,
    },
    /// It answers that it has trouble.
    #[error("it answered {status} {code}")]
    Troubled {
        /// HTTP status.
        status: u16,
        /// Its own word.
        code: String,
    },
    /// It says no.
    #[error("it answered {status} {code}{}; {}", spaced(.message), advice(.code, *.status))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its own word.
        code: String,
        /// Its own sentence.
        message: String,
    },
    /// There is no such object.
    #[error("the object is not there; was it removed by somebody else, or by a rule of the bucket?")]
    Missing,
    /// A file of this machine.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Of the operating system.
        why: String,
    },
    /// The authorities of its certificate.
    #[error("its certificate cannot be checked: {why}")]
    Authorities {
        /// What is wrong with them.
        why: String,
    },
}

fn spaced(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

/// What a person can do about a refusal.
fn advice(code: &str, status: u16) -> &'static str {
    match code {
        "NoSuchBucket" => "make the bucket, or name another one",
        "InvalidAccessKeyId" => "the access key is not known there: check AWS_ACCESS_KEY_ID",
        "SignatureDoesNotMatch" => "the secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "the temporary credentials have ended: start the server with new ones"
        }
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException" => {
            "the bucket is in another region: give region=… in the address"
        }
        "RequestTimeTooSkewed" => "this machine's clock is wrong: set it",
        "AccessDenied" | "AllAccessDisabled" => "let the key read, write and remove objects of the bucket",
        _ if status == 403 => "let the key read, write and remove objects of the bucket",
        _ => "check the address given with --storage",
    }
}

impl BucketError {
    /// Whether it may be different in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Troubled { .. } => true,
            Self::Refused { .. } | Self::Missing | Self::File { .. } | Self::Authorities { .. } => false,
        }
    }
}

/// A bucket. Clones are the same one.
#[derive(Clone)]
pub struct Bucket(Arc<Inner>);

struct Inner {
    client: Client,
    signer: Signer,
    address: ObjectAddress,
    prefix: String,
    direct_download: bool,
    place: String,
    clock: Arc<dyn Clock>,
}

/// What is sent.
enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    File { path: &'a Path, size: u64, sha256: &'a str },
}

impl Bucket {
    /// The bucket of an address; nothing is sent yet.
    pub fn new(storage: &ObjectStorage, clock: Arc<dyn Clock>) -> Result<Self, BucketError> {
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls(storage.ca.as_deref())?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .user_agent("harrier");
        let host = storage.bucket.host();
        if ["127.", "localhost", "[::1]"].iter().any(|near| host.starts_with(near)) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| BucketError::Unreachable { why: error.to_string() })?;
        Ok(Self(Arc::new(Inner {
            client,
            signer: Signer::s3(storage.credentials.clone(), storage.region.as_str()),
            address: storage.bucket.clone(),
            prefix: storage.prefix.clone(),
            direct_download: storage.direct_download,
            place: storage.place(),
            clock,
        })))
    }

    /// For messages.
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// Whether runners may be sent to it.
    pub fn gives_directly(&self) -> bool {
        self.0.direct_download
    }

    /// Puts a file of this machine there.
    pub async fn put_file(&self, key: &str, path: &Path, size: u64, sha256: &str) -> Result<(), BucketError> {
        let limit = SILENCE + Duration::from_secs(size / SLOW);
        self.send(&Method::PUT, key, None, Payload::File { path, size, sha256 }, limit).await.map(|_| ())
    }

    /// Puts a few bytes there.
    pub async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), BucketError> {
        self.send(&Method::PUT, key, None, Payload::Bytes(bytes), SILENCE).await.map(|_| ())
    }

    /// A whole object, as it comes.
    pub async fn stream(
        &self,
        key: &str,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, BucketError> {
        let response = self.send(&Method::GET, key, None, Payload::Nothing, SILENCE).await?;
        Ok(parts(response))
    }

    /// `long` bytes of an object from `start` on; fewer where it ends.
    pub async fn part(&self, key: &str, start: u64, long: u64) -> Result<Bytes, BucketError> {
        let range = format!("bytes={start}-{}", start + long.max(1) - 1);
        let response = self.send(&Method::GET, key, Some(&range), Payload::Nothing, SILENCE).await?;
        // A store that does not know ranges sends all of it.
        let skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { start };
        let mut out = Vec::new();
        let mut seen = 0_u64;
        let mut parts = std::pin::pin!(parts(response));
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| BucketError::Unreachable { why: error.to_string() })?;
            let from = skip.saturating_sub(seen).min(part.len() as u64);
            seen += part.len() as u64;
            let left = long - out.len() as u64;
            out.extend(
                part.iter()
                    .skip(usize::try_from(from).unwrap_or(usize::MAX))
                    .take(usize::try_from(left).unwrap_or(usize::MAX)),
            );
            if out.len() as u64 == long {
                break;
            }
        }
        Ok(out.into())
    }

    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        match self.send(&Method::DELETE, key, None, Payload::Nothing, SILENCE).await {
            Ok(_) | Err(BucketError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// An address at which an object may be read for a while without credentials.
    pub fn presigned(&self, key: &str, seconds: u32) -> Secret {
        let inner = &*self.0;
        let (key, host) = (format!("{}{key}", inner.prefix), inner.address.host());
        let path = inner.address.path(&key);
        let request = Request { method: "GET", host: &host, path: &path, query: &[], headers: &[] };
        let query = inner.signer.presigned_query(&request, seconds, self.now());
        Secret::new(inner.address.url(&key, query.expose()))
    }

    fn now(&self) -> i64 {
        i64::try_from(self.0.clock.now().0 / 1_000_000).unwrap_or(i64::MAX)
    }

    async fn send(
        &self,
        method: &Method,
        key: &str,
        range: Option<&str>,
        payload: Payload<'_>,
        limit: Duration,
    ) -> Result<Response, BucketError> {
        let mut waits = AGAIN.iter();
        loop {
            let error = match tokio::time::timeout(limit, self.once(method, key, range, &payload)).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => error,
                Err(_) => BucketError::Unreachable { why: format!("no answer within {} s", limit.as_secs()) },
            };
            match waits.next() {
                Some(wait) if error.is_passing() => tokio::time::sleep(*wait).await,
                Some(_) | None => return Err(error),
            }
        }
    }

    async fn once(
        &self,
        method: &Method,
        key: &str,
        range: Option<&str>,
        payload: &Payload<'_>,
    ) -> Result<Response, BucketError> {
        let inner = &*self.0;
        let (key, host) = (format!("{}{key}", inner.prefix), inner.address.host());
        let path = inner.address.path(&key);
        let ranges: Vec<(&str, &str)> = range.map(|range| ("range", range)).into_iter().collect();
        let request =
            Request { method: method.as_str(), host: &host, path: &path, query: &[], headers: &ranges };
        let hash = match payload {
            Payload::Nothing => EMPTY_PAYLOAD.to_owned(),
            Payload::Bytes(bytes) => sha256_hex(bytes),
            Payload::File { sha256, .. } => (*sha256).to_owned(),
        };
        let mut call = inner.client.request(method.clone(), inner.address.url(&key, ""));
        for (name, value) in inner.signer.headers(&request, &hash, self.now()) {
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| BucketError::Unreachable { why: format!("{name} cannot be a header") })?;
            value.set_sensitive(true);
            call = call.header(name, value);
        }
        if let Some(range) = range {
            call = call.header(RANGE, range);
        }
        call = match payload {
            Payload::Nothing => call,
            Payload::Bytes(bytes) => call.body(bytes.to_vec()),
            Payload::File { path, size, .. } => {
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| BucketError::File {
                    path: path.to_path_buf(),
                    why: error.to_string(),
                })?;
                let stream = ReaderStream::with_capacity(file.take(*size), 64 << 10);
                call.header(CONTENT_LENGTH, *size).body(reqwest::Body::wrap_stream(stream))
            }
        };
        let response = call.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(explained(status, method, response).await)
    }
}

/// The last cause, without the address.
fn unreachable(error: reqwest::Error) -> BucketError {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        why = cause.to_string();
        source = cause.source();
    }
    BucketError::Unreachable { why }
}

/// The body of an answer; it may be silent only for so long.
fn parts(response: Response) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    stream::unfold(Some(response), |response| async move {
        let mut response = response?;
        match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(part))) => Some((Ok(part), Some(response))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some((Err(io::Error::other(unreachable(error))), None)),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

async fn explained(status: StatusCode, method: &Method, mut response: Response) -> BucketError {
    let mut body = Vec::new();
    while let Ok(Ok(Some(part))) = tokio::time::timeout(SILENCE, response.chunk()).await {
        body.extend_from_slice(&part);
        if body.len() > EXPLANATION {
            break;
        }
    }
    let (code, message) = explanation(&body);
    let code = if code.is_empty() { status.canonical_reason().unwrap_or_default().to_owned() } else { code };
    let passing =
        status.is_server_error() || matches!(status.as_u16(), 408 | 429) || code == "RequestTimeout";
    if passing {
        return BucketError::Troubled { status: status.as_u16(), code };
    }
    if status == StatusCode::NOT_FOUND && *method != Method::PUT && code != "NoSuchBucket" {
        return BucketError::Missing;
    }
    BucketError::Refused { status: status.as_u16(), code, message }
}

/// `Code` and `Message` of an error in XML; empty where there is none.
fn explanation(body: &[u8]) -> (String, String) {
    let mut reader = Reader::from_reader(body);
    let (mut code, mut message) = (String::new(), String::new());
    let mut inside: Vec<Vec<u8>> = Vec::new();
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(tag) => inside.push(tag.local_name().as_ref().to_vec()),
            Event::End(_) => {
                inside.pop();
            }
            Event::Text(text) => {
                let Ok(text) = text.decode() else { continue };
                match inside.last().map(Vec::as_slice) {
                    Some(b"Code") => code.push_str(text.trim()),
                    Some(b"Message") => message.push_str(text.trim()),
                    Some(_) | None => {}
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let plain = |text: String| text.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
    (plain(code), plain(message))
}

/// The system's authorities, and one's own.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, BucketError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let failed = |why: String| BucketError::Authorities { why: format!("{}: {why}", path.display()) };
        let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| failed(error.to_string()))?;
        if found.is_empty() {
            return Err(failed("no certificate in PEM form is in it".to_owned()));
        }
        for certificate in found {
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| BucketError::Authorities { why: error.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let body = b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message>\
                     <BucketName>ci</BucketName></Error>";
        let (code, message) = explanation(body);
        let error = BucketError::Refused { status: 404, code, message };
        assert_eq!(
            error.to_string(),
            "it answered 404 NoSuchBucket (The specified bucket does not exist); make the bucket, or name another one"
        );
        assert_eq!(explanation(b"<html>\x00"), (String::new(), String::new()));
        assert_eq!(explanation(b"not xml"), (String::new(), String::new()));
    }
}
