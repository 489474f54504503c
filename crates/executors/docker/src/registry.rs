//! Asks a registry whether an image is there and a log-in may pull it, over the registry's own API (v2): no engine, no
//! pull, no job.
//!
//! Called by `harrier doctor image`. It sends a password only to the image's registry and to the token server that the
//! registry names, and never shows one.

use crate::auth::Login;
use crate::image_name::ImageName;
use crate::registry_trust;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use std::path::PathBuf;
use std::time::Duration;

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const CONNECT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(30);
/// Of an answer's body; errors and tokens are smaller.
const LARGEST_BODY: usize = 256 << 10;
/// Of a registry's message that is shown, in characters.
const LONGEST_MESSAGE: usize = 300;

/// What this machine's engine configuration says about registries.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// Folder with `<registry>/*.crt` and `<registry>/*.cert` with `*.key`, as the engine reads it.
    pub certificates: PathBuf,
    /// Registries that may be reached without TLS, besides those of this machine.
    pub insecure: Vec<String>,
}

impl RegistrySettings {
    /// Those of the engine of this machine: `/etc/docker/certs.d`, and `insecure-registries` of
    /// `/etc/docker/daemon.json` as far as they are names.
    pub fn of_this_machine() -> Self {
        #[derive(serde::Deserialize, Default)]
        #[serde(rename_all = "kebab-case", default)]
        struct Daemon {
            insecure_registries: Vec<String>,
        }
        let daemon = std::fs::read_to_string("/etc/docker/daemon.json").unwrap_or_default();
        // What the engine itself cannot read is the engine's to complain about.
        let daemon: Daemon = serde_json::from_str(&daemon).unwrap_or_default();
        Self { certificates: PathBuf::from("/etc/docker/certs.d"), insecure: daemon.insecure_registries }
    }
}

/// A registry's answer about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where the manifest was asked for.
    pub url: String,
    /// What came back.
    pub answer: Answer,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The image is there and may be pulled.
    Found {
        /// `sha256:…`, if the registry told.
        digest: Option<String>,
        /// Whether the registry asked who is there.
        asked_for_login: bool,
    },
    /// The log-in, or its absence, does not suffice.
    Refused(Said),
    /// No such repository or tag, or none that this log-in may know of.
    NotFound(Said),
    /// No answer of a registry.
    Unreachable {
        /// Where the connection was to go to.
        at: String,
        /// What went wrong.
        why: String,
        /// Whether the server's certificate was not accepted.
        certificate: bool,
    },
    /// An answer with another status, or one that makes no sense.
    Unexpected(Said),
}

/// An answer in the words of who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Host of the registry or of its token server.
    pub by: String,
    /// HTTP status.
    pub status: u16,
    /// The message in the answer, if any.
    pub message: String,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} answered {}", self.by, self.status)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Asks for the manifest of `image` as a pull would.
///
/// A registry of this machine, or one listed as insecure, is asked over plain HTTP when it speaks no TLS.
pub async fn ask(image: &ImageName, login: Option<&Login>, settings: &RegistrySettings) -> Asked {
    let host = if image.registry == "docker.io" { "registry-1.docker.io" } else { &image.registry };
    let reference = image.digest.as_deref().or(image.tag.as_deref()).unwrap_or("latest");
    let path = format!("/v2/{}/manifests/{reference}", image.path);
    let local = is_of_this_machine(host);
    let secure = format!("https://{host}{path}");
    let builder = Client::builder().connect_timeout(CONNECT).timeout(WHOLE).user_agent("harrier");
    // As the engine: what is on this machine is not behind a proxy.
    let builder = if local { builder.no_proxy() } else { builder };
    let client = registry_trust::config(&settings.certificates.join(&image.registry))
        .and_then(|tls| builder.use_preconfigured_tls(tls).build().map_err(|error| error.to_string()));
    let client = match client {
        Ok(client) => client,
        Err(why) => {
            let answer = Answer::Unreachable { at: host.to_owned(), why, certificate: true };
            return Asked { url: secure, answer };
        }
    };
    let conversation = Conversation { client, image, login };
    let answer = conversation.manifest(&secure).await;
    let may_be_plain = local || settings.insecure.iter().any(|known| known == &image.registry);
    match answer {
        Answer::Unreachable { certificate: false, .. } if may_be_plain => {
            let url = format!("http://{host}{path}");
            let answer = conversation.manifest(&url).await;
            Asked { url, answer }
        }
        answer => Asked { url: secure, answer },
    }
}

/// `localhost` and loopback addresses, which an engine reaches without TLS too.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

struct Conversation<'a> {
    client: Client,
    image: &'a ImageName,
    login: Option<&'a Login>,
}

impl Conversation<'_> {
    async fn manifest(&self, url: &str) -> Answer {
        match self.converse(url).await {
            Ok(answer) | Err(answer) => answer,
        }
    }

    async fn converse(&self, url: &str) -> Result<Answer, Answer> {
        let first = send(self.request(Method::HEAD, url, None)).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return self.judge(first, url, None).await;
        }
        let authorization = match Challenge::of(first.headers()) {
            Some(Challenge::Basic) => match self.login.and_then(basic) {
                Some(value) => value,
                None => return self.judge(first, url, None).await,
            },
            Some(Challenge::Bearer { realm, service, scope }) => {
                self.token(url, &realm, service, scope).await?
            }
            None => {
                let message = "it asks for a log-in of a kind that is neither Basic nor Bearer".to_owned();
                return Err(Answer::Unexpected(Said { by: place(first.url()), status: 401, message }));
            }
        };
        let second = send(self.request(Method::HEAD, url, Some(&authorization))).await?;
        self.judge(second, url, Some(&authorization)).await
    }

    fn request(&self, method: Method, url: &str, authorization: Option<&HeaderValue>) -> RequestBuilder {
        let request = self.client.request(method, url).header(ACCEPT, MANIFESTS);
        match authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// A HEAD has no message: a refusal is asked for again with GET.
    async fn judge(
        &self,
        head: Response,
        url: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Answer> {
        let status = head.status();
        if status.is_success() {
            let text = |name: &str| head.headers().get(name).and_then(|value| value.to_str().ok());
            let digest = text("docker-content-digest").map(printable);
            // A web server has a page for every address.
            if digest.is_none() && !text("content-type").unwrap_or_default().starts_with("application/vnd.") {
                let message = "an answer, but no manifest of an image".to_owned();
                let said = Said { by: place(head.url()), status: status.as_u16(), message };
                return Ok(Answer::Unexpected(said));
            }
            return Ok(Answer::Found { digest, asked_for_login: authorization.is_some() });
        }
        let answer = send(self.request(Method::GET, url, authorization)).await?;
        let by = place(answer.url());
        let message = message(&body(answer).await?);
        Ok(Answer::from_status(status, Said { by, status: status.as_u16(), message }))
    }

    /// A token of the server that the registry named, as the header's value.
    async fn token(
        &self,
        registry: &str,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<HeaderValue, Answer> {
        let odd = |by: String, status: u16, message: &str| {
            Answer::Unexpected(Said { by, status, message: message.to_owned() })
        };
        let Ok(url) = Url::parse(realm) else {
            let message = format!("it names a token server that is no address: {}", printable(realm));
            return Err(odd(self.image.registry.clone(), 401, &message));
        };
        if url.scheme() != "https" && registry.starts_with("https") {
            return Err(odd(place(&url), 401, "this token server has no TLS, so no password is sent there"));
        }
        let mut query = vec![
            ("scope", scope.unwrap_or_else(|| format!("repository:{}:pull", self.image.path))),
            ("service", service.unwrap_or_default()),
        ];
        query.retain(|(_, value)| !value.is_empty());
        let by = place(&url);
        let request = match self.login {
            Some(Login { identity_token: Some(token), .. }) => {
                query.extend([
                    ("grant_type", "refresh_token".to_owned()),
                    ("client_id", "harrier".to_owned()),
                ]);
                query.push(("refresh_token", token.expose().to_owned()));
                let form = form(&query);
                self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
            login => {
                let mut url = url;
                url.query_pairs_mut().extend_pairs(&query);
                let request = self.client.get(url);
                match login.and_then(basic) {
                    Some(value) => request.header(AUTHORIZATION, value),
                    None => request,
                }
            }
        };
        let answer = send(request).await?;
        let status = answer.status();
        let text = body(answer).await?;
        if !status.is_success() {
            let said = Said { by, status: status.as_u16(), message: message(&text) };
            // A token server refuses with 400 or 404 too, but never means the image.
            return Err(match Answer::from_status(status, said) {
                Answer::NotFound(said) => Answer::Unexpected(said),
                answer => answer,
            });
        }
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let token: Option<Token> = serde_json::from_slice(&text).ok();
        let token = token.and_then(|t| t.token.or(t.access_token)).filter(|t| !t.is_empty());
        let header = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header = header.ok_or_else(|| odd(by, status.as_u16(), "it gave no token"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// A form's body: written like a query.
fn form(pairs: &[(&str, String)]) -> String {
    let mut url = Url::parse("http://form/").expect("a constant address");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

impl Answer {
    fn from_status(status: StatusCode, said: Said) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Refused(said),
            StatusCode::NOT_FOUND => Self::NotFound(said),
            _ => Self::Unexpected(said),
        }
    }
}

/// How a registry wants to be told who is there.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Bearer before Basic, as a registry that offers both prefers it.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let mut found: Vec<Self> = all.filter_map(Self::parse).collect();
        let bearer = found.iter().position(|challenge| matches!(challenge, Self::Bearer { .. }));
        if found.is_empty() { None } else { Some(found.swap_remove(bearer.unwrap_or(0))) }
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, parameters) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters_of(parameters);
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        Some(Self::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") })
    }
}

/// `key="value",key=value` of a challenge; quoted values may hold commas.
fn parameters_of(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let (value, rest) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        found.push((key.trim().trim_start_matches([',', ' ']).to_owned(), value.trim().to_owned()));
        text = rest.trim_start().trim_start_matches(',');
    }
    found
}

/// `None` without a password: an identity token alone is no Basic log-in.
fn basic(login: &Login) -> Option<HeaderValue> {
    use base64::Engine as _;
    if login.username.is_empty() {
        return None;
    }
    let pair = format!("{}:{}", login.username, login.password.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

async fn send(request: RequestBuilder) -> Result<Response, Answer> {
    request.send().await.map_err(|error| unreachable_because(&error))
}

async fn body(mut answer: Response) -> Result<Vec<u8>, Answer> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable_because(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_BODY {
            break;
        }
    }
    body.truncate(LARGEST_BODY);
    Ok(body)
}

/// The innermost cause says most.
fn unreachable_because(error: &reqwest::Error) -> Answer {
    let mut why = error.to_string();
    let mut certificate = false;
    let mut next: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(cause) = next {
        why = cause.to_string();
        certificate |= matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)));
        // An io::Error hides what it wraps from `source`.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => cause.source(),
        };
    }
    if error.is_timeout() {
        why = "no answer in time".to_owned();
    }
    Answer::Unreachable { at: error.url().map(place).unwrap_or_default(), why, certificate }
}

/// Host and port; never a query, which may hold a token.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What registries and token servers say went wrong, in their two shapes.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<OneError>,
    }
    #[derive(serde::Deserialize)]
    struct OneError {
        code: Option<String>,
        message: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Other {
        #[serde(alias = "details", alias = "error_description", alias = "error")]
        message: String,
    }
    if let Ok(Errors { errors }) = serde_json::from_slice(body) {
        let words = |error: OneError| {
            [error.code, error.message].into_iter().flatten().collect::<Vec<_>>().join(": ")
        };
        return printable(&errors.into_iter().map(words).collect::<Vec<_>>().join("; "));
    }
    serde_json::from_slice(body).map(|Other { message }| printable(&message)).unwrap_or_default()
}

/// A stranger's text for a terminal: one line, bounded.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
        };
        for (header, want) in [
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://a.io/t",service="r.io",scope="repository:a/b:pull,push""#,
                bearer("https://a.io/t", Some("r.io"), Some("repository:a/b:pull,push")),
            ),
            (r#"bearer Realm=https://a.io/t , Service="s""#, bearer("https://a.io/t", Some("s"), None)),
            (r#"Bearer service="x""#, None),
            (r#"Bearer realm="unclosed"#, bearer("unclosed", None, None)),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), want, "{header}");
        }
    }

    #[test]
    fn bearer_is_preferred() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"a\""));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"b\""));
        assert!(matches!(Challenge::of(&headers), Some(Challenge::Bearer { .. })));
        assert_eq!(Challenge::of(&HeaderMap::new()), None);
    }

    #[test]
    fn this_machine() {
        for (host, is) in [
            ("127.0.0.1:5055", true),
            ("127.8.9.1", true),
            ("localhost:5000", true),
            ("[::1]:5000", true),
            ("10.0.0.1:5000", false),
            ("registry.example", false),
            ("localhost.example:1", false),
        ] {
            assert_eq!(is_of_this_machine(host), is, "{host}");
        }
    }

    #[test]
    fn messages_are_one_bounded_line() {
        for (body, want) in [
            (r#"{"errors":[{"code":"DENIED","message":"no\naccess"},{"code":"X"}]}"#, "DENIED: no access; X"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(message(body.as_bytes()), want, "{body}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "ü".repeat(5000));
        assert_eq!(message(long.as_bytes()).chars().count(), LONGEST_MESSAGE);
    }
}
