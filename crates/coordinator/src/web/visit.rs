//! One request to the pages: who comes, what they may see, what they sent; and the answers, with the headers that keep
//! content from acting. Called by the table of routes in `table.rs`, which checks roles and forged requests before a handler
//! is reached.

use crate::answer::Refusal;
use crate::app::App;
use crate::auth::Caller;
use crate::start::may_run;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use harrier_base::Secret;
use harrier_database::{
    AccessLevel, DatabaseError, PageAt, PipelineView, ProjectView, SessionView, UserView,
};
use harrier_pages::{Beside, Flash, Language, Page, ProjectPlace, Viewer};
use std::collections::HashMap;
use std::sync::Arc;

/// Cookie of the language that was chosen without an account.
const LANGUAGE: &str = "harrier_language";
/// A number that can be multiplied by the size of a page.
const MOST_PAGES: usize = 1_000_000;
/// Cookie of a message for the next page.
const FLASH: &str = "harrier_flash";

/// What no page loads or runs: anything that is not ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A request.
pub(crate) struct Visit {
    pub app: Arc<App>,
    pub caller: Caller,
    pub headers: HeaderMap,
    /// Path and query.
    pub here: String,
    /// What stands for the `{…}` of the route, in order.
    pub parts: Vec<String>,
    pub query: Vec<(String, String)>,
    /// Of a `POST`.
    pub form: Vec<(String, String)>,
    /// Where the route is of a project.
    pub project: Option<(ProjectView, AccessLevel)>,
    /// Where it comes from.
    pub peer: Option<std::net::SocketAddr>,
    pub now: i64,
    /// What had happened when the request came, as the notifier counts.
    pub seen: u64,
}

/// Why a page cannot be shown.
pub(crate) enum Failure {
    /// Not there, or not for the caller.
    NotFound,
    /// Log in first.
    LogIn,
    /// The role does not allow it.
    Forbidden,
    /// What was sent makes no sense: in words for the person.
    Bad(String),
    /// Too many tries: in words.
    TooMany(String),
    /// Of something that the server needs and that does not answer at present: in words.
    Away(String),
    /// Of the server.
    Failed,
}

pub(crate) type Shown = Result<Response, Failure>;

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::NotFound(_) => Self::NotFound,
            DatabaseError::Conflict { .. } | DatabaseError::Taken { .. } => Self::Bad(error.to_string()),
            error => {
                tracing::error!(error = %error, "a page failed");
                Self::Failed
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let text = || refusal.message.as_str().map_or_else(|| refusal.message.to_string(), str::to_owned);
        match refusal.status {
            StatusCode::UNAUTHORIZED => Self::LogIn,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::TOO_MANY_REQUESTS => Self::TooMany(text()),
            StatusCode::SERVICE_UNAVAILABLE => Self::Away(text()),
            status if status.is_client_error() => Self::Bad(text()),
            _ => Self::Failed,
        }
    }
}

impl Visit {
    /// What every page of this visit is told.
    pub fn page(&self) -> Page {
        Page {
            language: self.language(),
            viewer: self.caller.session().zip(self.caller.user()).map(|(session, user)| Viewer {
                username: user.username.clone(),
                admin: user.admin,
                csrf: session.csrf.expose().to_owned(),
            }),
            now: self.now,
            here: self.here.clone(),
            project: self.project.as_ref().map(|(project, level)| ProjectPlace {
                path: project.path.clone(),
                settings: *level >= AccessLevel::Maintainer,
                code: project.visibility != "private" || *level >= AccessLevel::Reporter,
            }),
            flash: cookie(&self.headers, FLASH).map(|text| match decode(&text).split_once(' ') {
                Some(("done", text)) => Flash::Done(text.to_owned()),
                Some((_, text)) => Flash::Failed(text.to_owned()),
                None => Flash::Failed(String::new()),
            }),
            events: None,
            seen: self.seen,
        }
    }

    pub fn language(&self) -> Language {
        let chosen = self.caller.user().and_then(|user| Language::from_code(&user.locale));
        chosen
            .or_else(|| cookie(&self.headers, LANGUAGE).and_then(|code| Language::from_code(&code)))
            .unwrap_or_else(|| {
                let header = self.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
                Language::from_header(header.unwrap_or_default())
            })
    }

    /// The project of a route that is of one.
    pub fn project(&self) -> Result<&ProjectView, Failure> {
        self.project.as_ref().map(|(project, _)| project).ok_or(Failure::NotFound)
    }

    pub fn level(&self) -> Option<AccessLevel> {
        self.project.as_ref().map(|(_, level)| *level)
    }

    /// Whether the caller may start, stop and repeat jobs of a ref.
    pub fn may_run(&self, of: &PipelineView) -> bool {
        self.project.as_ref().is_some_and(|(project, level)| may_run(project, of, *level))
    }

    /// Whether the caller may start pipelines at all, of what is not protected.
    pub fn may_develop(&self) -> bool {
        self.level() >= Some(AccessLevel::Developer)
    }

    /// Whether the caller may see logs and artifacts.
    pub fn may_see_jobs(&self) -> bool {
        let open = self.project.as_ref().is_some_and(|(project, _)| project.settings.public_jobs);
        self.level().is_some_and(|level| open || level >= AccessLevel::Reporter)
    }

    /// The person; routes without a role may be visited by nobody.
    pub fn user(&self) -> Result<&UserView, Failure> {
        self.caller.user().ok_or(Failure::LogIn)
    }

    pub fn session(&self) -> Option<&SessionView> {
        self.caller.session()
    }

    /// A number in the path.
    pub fn id(&self, at: usize) -> Result<i64, Failure> {
        self.parts.get(at).and_then(|part| part.parse().ok()).ok_or(Failure::NotFound)
    }

    pub fn part(&self, at: usize) -> &str {
        self.parts.get(at).map_or("", String::as_str)
    }

    pub fn asked(&self, key: &str) -> &str {
        value(&self.query, key)
    }

    pub fn sent(&self, key: &str) -> &str {
        value(&self.form, key)
    }

    /// A box that was ticked.
    pub fn ticked(&self, key: &str) -> bool {
        !self.sent(key).is_empty()
    }

    /// A text that must be there.
    pub fn required(&self, key: &str) -> Result<String, Failure> {
        match self.sent(key).trim() {
            "" => Err(Failure::Bad(format!("`{key}` must not be empty"))),
            text => Ok(text.to_owned()),
        }
    }

    pub fn secret(&self, key: &str) -> Secret {
        Secret::new(self.sent(key))
    }

    /// The page of a list that is asked for.
    pub fn page_at(&self, size: usize) -> PageAt {
        PageAt { number: self.asked("page").parse().unwrap_or(1).clamp(1, MOST_PAGES), size }
    }

    /// Names of users by id, for those who are shown.
    pub async fn names(&self) -> Result<HashMap<i64, String>, Failure> {
        Ok(self.app.store.users().await?.into_iter().map(|user| (user.id, user.username)).collect())
    }
}

/// The pages beside one of a list of so many, under the same filter.
pub(crate) fn beside(at: PageAt, total: usize, filter: &[(&str, &str)]) -> Beside {
    let query = |number: usize| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("page", &number.to_string()).extend_pairs(filter).finish()
    };
    Beside {
        newer: (at.number > 1).then(|| query(at.number - 1)),
        older: (at.number * at.size < total).then(|| query(at.number + 1)),
    }
}

fn value<'a>(pairs: &'a [(String, String)], key: &str) -> &'a str {
    pairs.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
}

/// A page.
pub(crate) fn html(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    guard(headers);
    // The message was shown: it goes.
    headers.append(
        header::SET_COOKIE,
        HeaderValue::from_static("harrier_flash=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"),
    );
    response
}

/// The headers of everything that is ours.
pub(crate) fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "private, no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Off to another page, after a form.
pub(crate) fn go(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, to);
    guard(response.headers_mut());
    response
}

/// Off to another page, where a message waits.
pub(crate) fn go_with(to: &str, flash: &Flash) -> Response {
    let text = match flash {
        Flash::Done(text) => format!("done {text}"),
        Flash::Failed(text) | Flash::Token(text) => format!("failed {text}"),
    };
    let mut response = go(to);
    set_cookie(&mut response, FLASH, &encode(&text), "; Max-Age=60", false);
    response
}

/// Sets a cookie that scripts cannot read.
pub(crate) fn set_cookie(response: &mut Response, name: &str, value: &str, more: &str, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{more}{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

pub(crate) fn set_language(response: &mut Response, language: Language) {
    set_cookie(response, LANGUAGE, language.code(), "; Max-Age=31536000", false);
}

pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, value)| *found == name && !value.is_empty()).map(|(_, value)| value.to_owned())
}

fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn decode(text: &str) -> String {
    form_urlencoded::parse(text.as_bytes()).next().map_or_else(String::new, |(key, _)| key.into_owned())
}

/// A place on this server to come back to: never another one's.
pub(crate) fn local(place: &str) -> &str {
    let own = place.starts_with('/') && !place.starts_with("//") && !place.contains(['\\', '\r', '\n']);
    if own { place } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for (place, kept) in [
            ("/a/b?c=d", "/a/b?c=d"),
            ("//evil", "/"),
            ("https://evil", "/"),
            ("/\\evil", "/"),
            ("", "/"),
            ("/a\r\nX: y", "/"),
        ] {
            assert_eq!(local(place), kept);
        }
    }

    #[test]
    fn the_pages_beside_keep_the_filter() {
        let at = |number| PageAt { number, size: 20 };
        let found = beside(at(2), 41, &[]);
        assert_eq!((found.newer.as_deref(), found.older.as_deref()), (Some("page=1"), Some("page=3")));
        let found = beside(at(1), 20, &[("ref", "a")]);
        assert_eq!((found.newer, found.older), (None, None));
        assert_eq!(beside(at(1), 21, &[("ref", "a&b")]).older.as_deref(), Some("page=2&ref=a%26b"));
        assert_eq!(beside(at(MOST_PAGES), 21, &[]).older, None);
    }

    #[test]
    fn messages_survive_their_cookie() {
        for text in ["done saved", "failed no: \"x\"; y=1&z ü 保存"] {
            assert_eq!(decode(&encode(text)), text);
        }
    }
}
