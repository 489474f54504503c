//! One request to the API: who asks, of which project, with which parameters; and what is answered. Made by `table.rs`, which has
//! checked role and scope before a handler is reached.

use crate::answer::Refusal;
use crate::app::App;
use crate::auth::Caller;
use crate::make_pipeline::MakeError;
use crate::repository::GitError;
use crate::start::may_run;
use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use harrier_base::{Secret, Variable};
use harrier_database::{AccessLevel, DatabaseError, Page, PageAt, PipelineView, ProjectView, UserView};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Entries of a page, unless asked otherwise, and at most.
const PER_PAGE: (usize, usize) = (20, 100);

/// A request.
pub(super) struct Call {
    pub app: Arc<App>,
    pub caller: Caller,
    /// What stands for the `{…}` of the route.
    pub parts: Vec<(&'static str, String)>,
    /// Query and body.
    pub given: Map<String, Value>,
    /// The body as it came, unless it was a form of several parts.
    pub body: Bytes,
    /// Headers.
    pub headers: HeaderMap,
    /// Where the route is of a project.
    pub project: Option<(ProjectView, AccessLevel)>,
    pub now: i64,
}

/// A part of a list in the order of ids, behind one of them.
#[derive(Clone, Copy)]
pub(super) struct Keyset {
    pub size: usize,
    pub behind: Option<i64>,
    pub ascending: bool,
}

impl Keyset {
    /// The page that holds one entry more than is shown, which tells whether there are more.
    pub fn at(&self) -> PageAt {
        PageAt { number: 1, size: self.size + 1 }
    }

    /// What is shown of entries, and the cursor of what follows.
    pub fn cut<T>(&self, mut entries: Vec<T>, id: impl Fn(&T) -> i64) -> (Vec<T>, Option<i64>) {
        let more = entries.len() > self.size;
        entries.truncate(self.size);
        let next = entries.last().map(id).filter(|_| more);
        (entries, next)
    }
}

/// What a handler answers with the route's own status.
pub(super) enum Reply {
    /// A document.
    Json(Value),
    /// A page of a list.
    List(Page<Value>),
    /// A part of a list that goes on behind an entry, if it does.
    Keyset(Vec<Value>, Option<i64>),
    /// No content.
    Nothing,
    /// Anything else.
    Raw(Response),
}

/// An answer that says no.
#[derive(Debug)]
pub(super) enum Failure {
    /// `{"message": …}`
    Refused(Refusal),
    /// `{"error": …}`: a parameter is wrong.
    Parameter(String),
}

pub(super) type Done = Result<Reply, Failure>;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<MakeError> for Failure {
    fn from(error: MakeError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        Self::Refused(MakeError::from(error).into())
    }
}

impl Failure {
    /// `404 … Not Found`
    pub fn not_found(what: &str) -> Self {
        Refusal::not_found(what).into()
    }

    /// `403 Forbidden`
    pub fn forbidden() -> Self {
        Refusal::forbidden("").into()
    }

    /// `{"message": {"key": ["is invalid"]}}`
    pub fn invalid(field: &str, why: &str) -> Self {
        let message = json!({ field: [why] });
        Refusal { status: StatusCode::BAD_REQUEST, message, headers: Vec::new() }.into()
    }

    /// `{"error": "… does not have a valid value"}`
    pub fn value(name: &str) -> Self {
        Self::Parameter(format!("{name} does not have a valid value"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => refusal.into_response(),
            Self::Parameter(text) => {
                (StatusCode::BAD_REQUEST, Json(json!({ "error": text }))).into_response()
            }
        }
    }
}

impl Call {
    /// The project of a route that is of one.
    pub fn project(&self) -> Result<&ProjectView, Failure> {
        self.project.as_ref().map(|(project, _)| project).ok_or_else(|| Failure::not_found("project"))
    }

    /// What the caller is there.
    pub fn level(&self) -> Option<AccessLevel> {
        self.project.as_ref().map(|(_, level)| *level)
    }

    /// Whether the caller may start, stop and repeat jobs of a ref.
    pub fn need_run(&self, git_ref: &str, tag: bool) -> Result<(), Failure> {
        let may = |(project, level): &(ProjectView, AccessLevel)| project.may_run(git_ref, tag, *level);
        if self.project.as_ref().is_some_and(may) { Ok(()) } else { Err(Failure::forbidden()) }
    }

    /// Whether the caller may stop and repeat a pipeline.
    pub fn need_run_of(&self, of: &PipelineView) -> Result<(), Failure> {
        let may = |(project, level): &(ProjectView, AccessLevel)| may_run(project, of, *level);
        if self.project.as_ref().is_some_and(may) { Ok(()) } else { Err(Failure::forbidden()) }
    }

    /// Whether the caller is at least a developer.
    pub fn may_develop(&self) -> bool {
        self.level() >= Some(AccessLevel::Developer)
    }

    /// What is asked for by `pagination=keyset`; `None`: a page by its number.
    pub fn keyset(&self) -> Result<Option<Keyset>, Failure> {
        if self.text("pagination").as_deref() != Some("keyset") {
            return Ok(None);
        }
        if self.filled("order_by").is_some_and(|order| order != "id") {
            let text = "Keyset pagination is not yet available for this type of request";
            return Err(Failure::Refused(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text)));
        }
        let ascending = self.word("sort", &["asc", "desc"])? == Some("asc");
        Ok(Some(Keyset { size: self.page()?.size, behind: self.number("cursor")?, ascending }))
    }

    /// Whose rights the caller acts with: the person, or who made the project's token.
    pub async fn actor(&self) -> Result<UserView, Failure> {
        let id = match &self.caller {
            Caller::User { user, .. } => return Ok((**user).clone()),
            Caller::Project(token) => token.user,
            Caller::Job(_) | Caller::Nobody => None,
        };
        match id {
            Some(id) => Ok(self.app.store.user(id).await?),
            None => Err(Failure::forbidden()),
        }
    }

    /// The person.
    pub fn user(&self) -> Result<&UserView, Failure> {
        self.caller.user().ok_or_else(|| Refusal::unauthorized().into())
    }

    pub fn part(&self, name: &str) -> &str {
        self.parts.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// A number in the path.
    pub fn id(&self, name: &str) -> Result<i64, Failure> {
        self.part(name).parse().map_err(|_| Failure::Parameter(format!("{name} is invalid")))
    }

    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// A text; numbers and truths are taken as they are written.
    pub fn text(&self, name: &str) -> Option<String> {
        text(self.given.get(name)?)
    }

    /// A text that is not empty.
    pub fn filled(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.trim().is_empty())
    }

    /// A text that must be there.
    pub fn required(&self, name: &str) -> Result<String, Failure> {
        match self.text(name) {
            None => Err(Failure::Parameter(format!("{name} is missing"))),
            Some(text) if text.trim().is_empty() => Err(Failure::Parameter(format!("{name} is empty"))),
            Some(text) => Ok(text),
        }
    }

    pub fn secret(&self, name: &str) -> Secret {
        Secret::new(self.text(name).unwrap_or_default())
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        // As many spellings as GitLab takes: Python's clients send `True`.
        match self.text(name).map(|text| text.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("true" | "t" | "1" | "yes" | "y" | "on") => Ok(Some(true)),
            Some("false" | "f" | "0" | "no" | "n" | "off") => Ok(Some(false)),
            Some(_) => Err(Failure::Parameter(format!("{name} is invalid"))),
        }
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        match self.filled(name) {
            None => Ok(None),
            Some(text) => {
                text.trim().parse().map(Some).map_err(|_| Failure::Parameter(format!("{name} is invalid")))
            }
        }
    }

    /// One of some words.
    pub fn word(&self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, Failure> {
        match self.filled(name) {
            None => Ok(None),
            Some(text) => {
                let found = words.iter().find(|word| **word == text);
                found.copied().map(Some).ok_or_else(|| Failure::value(name))
            }
        }
    }

    /// A list: an array, or a text with commas.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let parts: Vec<String> = match self.given.get(name)? {
            Value::Array(items) => items.iter().filter_map(text).collect(),
            other => text(other)?.split(',').map(str::to_owned).collect(),
        };
        Some(parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
    }

    /// A moment: ISO 8601, or a day.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.filled(name) else { return Ok(None) };
        let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
        let at = text.parse::<jiff::Timestamp>().ok().or_else(|| Some(day()?.timestamp()));
        at.map(|at| Some(at.as_millisecond())).ok_or_else(|| Failure::Parameter(format!("{name} is invalid")))
    }

    /// Variables of a run: a list of `{key, value, variable_type}`, or an object.
    pub fn variables(&self, name: &str) -> Result<Vec<Variable>, Failure> {
        let invalid = || Failure::Parameter(format!("{name} is invalid"));
        let pairs: Vec<(String, String, bool)> = match self.given.get(name) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(members)) => {
                let pairs = members.iter().map(|(key, value)| Some((key.clone(), text(value)?, false)));
                pairs.collect::<Option<_>>().ok_or_else(invalid)?
            }
            Some(Value::Array(items)) => {
                let pairs = items.iter().map(|item| {
                    let value = item.get("value").map_or(Some(String::new()), text)?;
                    Some((text(item.get("key")?)?, value, item["variable_type"] == "file"))
                });
                pairs.collect::<Option<_>>().ok_or_else(invalid)?
            }
            Some(_) => return Err(invalid()),
        };
        if pairs.iter().any(|(key, _, _)| !crate::ci_variable::is_key(key)) {
            return Err(invalid());
        }
        let variable = |(key, value, file)| Variable { key, value, file, ..Variable::default() };
        Ok(pairs.into_iter().map(variable).collect())
    }

    /// The page that is asked for.
    pub fn page(&self) -> Result<PageAt, Failure> {
        let number = self.number("page")?.unwrap_or(1);
        let size = self.number("per_page")?.unwrap_or(PER_PAGE.0 as i64);
        if number < 1 || size < 1 {
            let name = if number < 1 { "page" } else { "per_page" };
            return Err(Failure::value(name));
        }
        let size = usize::try_from(size).unwrap_or(PER_PAGE.1).min(PER_PAGE.1);
        Ok(PageAt { number: usize::try_from(number).unwrap_or(usize::MAX / PER_PAGE.1), size })
    }

    /// A page of a list that is whole.
    pub fn list_of<T>(&self, all: Vec<T>, show: impl FnMut(T) -> Value) -> Done {
        let at = self.page()?;
        let total = all.len();
        let skip = (at.number - 1).saturating_mul(at.size);
        let entries = all.into_iter().skip(skip).take(at.size).map(show).collect();
        Ok(Reply::List(Page { entries, total }))
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The headers of a page (`X-Total`, `Link`, …). `address`: of the list, without a query; `query`: the pairs it came with.
pub(super) fn page_headers(
    at: PageAt,
    total: usize,
    address: &str,
    query: &[(String, String)],
) -> Vec<(HeaderName, HeaderValue)> {
    let pages = total.div_ceil(at.size).max(1);
    let number = |number: usize| if number == 0 { String::new() } else { number.to_string() };
    let next = if at.number < pages { at.number + 1 } else { 0 };
    let previous = at.number - 1;
    let link = |page: usize, rel: &str| {
        let mut text = form_urlencoded::Serializer::new(String::new());
        for (name, value) in
            query.iter().filter(|(name, _)| !matches!(name.as_str(), "page" | "per_page" | "private_token"))
        {
            text.append_pair(name, value);
        }
        text.append_pair("page", &page.to_string()).append_pair("per_page", &at.size.to_string());
        format!("<{address}?{}>; rel=\"{rel}\"", text.finish())
    };
    let links = [(previous, "prev"), (next, "next"), (1, "first"), (pages, "last")];
    let links: Vec<String> =
        links.iter().filter(|(page, _)| *page > 0).map(|(page, rel)| link(*page, rel)).collect();
    let headers = [
        (HeaderName::from_static("x-total"), total.to_string()),
        (HeaderName::from_static("x-total-pages"), pages.to_string()),
        (HeaderName::from_static("x-page"), at.number.to_string()),
        (HeaderName::from_static("x-per-page"), at.size.to_string()),
        (HeaderName::from_static("x-next-page"), number(next)),
        (HeaderName::from_static("x-prev-page"), number(previous)),
        (header::LINK, links.join(", ")),
    ];
    headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)))
        .collect()
}

/// The headers of a part of a list that goes on behind `next`.
pub(super) fn keyset_headers(
    size: usize,
    next: Option<i64>,
    address: &str,
    query: &[(String, String)],
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![(HeaderName::from_static("x-per-page"), size.to_string())];
    if let Some(next) = next {
        let mut text = form_urlencoded::Serializer::new(String::new());
        for (name, value) in
            query.iter().filter(|(name, _)| !matches!(name.as_str(), "cursor" | "private_token"))
        {
            text.append_pair(name, value);
        }
        text.append_pair("cursor", &next.to_string());
        headers.push((header::LINK, format!("<{address}?{}>; rel=\"next\"", text.finish())));
    }
    headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_their_headers() {
        let query = [("scope[]".to_owned(), "running".to_owned()), ("page".to_owned(), "2".to_owned())];
        let at = |number| PageAt { number, size: 10 };
        let get = |at, total, name: &str| {
            let headers = page_headers(at, total, "http://h/api/v4/x", &query);
            headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.to_str().expect("text").to_owned())
        };
        for (number, total, name, wanted) in [
            (1, 0, "x-total-pages", "1"),
            (1, 0, "x-next-page", ""),
            (2, 25, "x-next-page", "3"),
            (2, 25, "x-prev-page", "1"),
            (3, 25, "x-next-page", ""),
            (3, 25, "x-total", "25"),
        ] {
            assert_eq!(get(at(number), total, name).as_deref(), Some(wanted), "{number} {total} {name}");
        }
        let link = get(at(2), 25, "link").expect("a link");
        assert!(
            link.contains("<http://h/api/v4/x?scope%5B%5D=running&page=3&per_page=10>; rel=\"next\""),
            "{link}"
        );
    }
}
