//! Every route of the pages in one table: method, path, who may, handler. Roles and forged requests are checked here, once,
//! before a handler is reached; the tests walk the same table with every role.

use super::visit::{Failure, Shown, Visit, go, guard, html};
use super::{
    account, admin, artifacts, environments, events, jobs, merge_requests, mirror, pipelines, projects,
    settings,
};
use crate::app::App;
use crate::auth::{Caller, peer};
use crate::git_http;
use crate::metrics::Class;
use crate::request_record::note_route;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use harrier_database::AccessLevel;
use harrier_pages::error_page;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Everyone.
    Anyone,
    /// Whoever is logged in.
    User,
    /// Administrators.
    Admin,
    /// Who is at least that in the project. A public project makes everyone a guest.
    Level(AccessLevel),
    /// Who may fetch the project's repository: a guest, or a reporter where the project is private.
    Code,
}

type Handler = fn(Visit) -> Pin<Box<dyn Future<Output = Shown> + Send>>;

/// One route.
pub struct Route {
    /// `GET` or `POST`.
    pub method: Method,
    /// Parts between slashes; `{}` is any part, `{*}` the whole rest. Behind `:/` it is below a project and `/-/`.
    pub path: &'static str,
    /// Who may.
    pub need: Need,
    handler: Handler,
}

macro_rules! routes {
    ($($method:ident $path:literal $need:expr => $handler:path;)*) => {
        /// All of them.
        pub fn routes() -> Vec<Route> {
            vec![$(Route { method: Method::$method, path: $path, need: $need, handler: |visit| Box::pin($handler(visit)) },)*]
        }
    };
}

const GUEST: Need = Need::Level(AccessLevel::Guest);
const DEVELOPER: Need = Need::Level(AccessLevel::Developer);
const MAINTAINER: Need = Need::Level(AccessLevel::Maintainer);
const OWNER: Need = Need::Level(AccessLevel::Owner);

routes! {
    GET "" Need::Anyone => projects::list;
    GET "-/events" Need::User => events::everything;
    GET "-/login" Need::Anyone => account::login;
    POST "-/login" Need::Anyone => account::log_in;
    POST "-/logout" Need::User => account::log_out;
    GET "-/setup/{}" Need::Anyone => account::setup;
    POST "-/setup" Need::Anyone => account::set_up;
    GET "-/language/{}" Need::Anyone => account::language;
    GET "-/profile" Need::User => account::profile;
    POST "-/profile/language" Need::User => account::set_language;
    POST "-/profile/password" Need::User => account::set_password;
    POST "-/profile/tokens" Need::User => account::add_token;
    POST "-/profile/tokens/{}/delete" Need::User => account::delete_token;
    GET "-/admin/runners" Need::Admin => admin::runners;
    POST "-/admin/runners" Need::Admin => admin::add_runner;
    POST "-/admin/runners/{}/{}" Need::Admin => admin::change_runner;
    GET "-/admin/users" Need::Admin => admin::users;
    POST "-/admin/users" Need::Admin => admin::add_user;
    POST "-/admin/users/{}/{}" Need::Admin => admin::change_user;
    GET ":" GUEST => projects::one;
    GET ":/badges/{*}" GUEST => projects::badge;
    GET ":/events" GUEST => events::project;
    GET ":/environments" GUEST => environments::list;
    GET ":/environments/{}" GUEST => environments::one;
    POST ":/environments/{}/stop" DEVELOPER => environments::stop;
    POST ":/environments/{}/delete" DEVELOPER => environments::delete;
    GET ":/merge_requests" Need::Code => merge_requests::list;
    POST ":/merge_requests" DEVELOPER => merge_requests::create;
    GET ":/merge_requests/{}" Need::Code => merge_requests::one;
    POST ":/merge_requests/{}/pipelines" DEVELOPER => merge_requests::run;
    POST ":/merge_requests/{}/close" DEVELOPER => merge_requests::close;
    POST ":/merge_requests/{}/reopen" DEVELOPER => merge_requests::reopen;
    GET ":/pipelines" GUEST => pipelines::list;
    POST ":/pipelines" DEVELOPER => pipelines::create;
    GET ":/pipelines/new" DEVELOPER => pipelines::new;
    GET ":/pipelines/charts" GUEST => pipelines::charts;
    GET ":/pipelines/{}" GUEST => pipelines::one;
    GET ":/pipelines/{}/test_report" GUEST => pipelines::tests;
    POST ":/pipelines/{}/retry" DEVELOPER => pipelines::retry;
    POST ":/pipelines/{}/cancel" DEVELOPER => pipelines::cancel;
    POST ":/pipelines/{}/delete" OWNER => pipelines::delete;
    GET ":/jobs/{}" GUEST => jobs::one;
    GET ":/jobs/{}/log" GUEST => jobs::log;
    GET ":/jobs/{}/raw" GUEST => jobs::raw;
    POST ":/jobs/{}/play" DEVELOPER => jobs::play;
    POST ":/jobs/{}/retry" DEVELOPER => jobs::retry;
    POST ":/jobs/{}/cancel" DEVELOPER => jobs::cancel;
    POST ":/jobs/{}/erase" MAINTAINER => jobs::erase;
    GET ":/jobs/{}/artifacts/download" GUEST => artifacts::download;
    GET ":/jobs/{}/artifacts/browse" GUEST => artifacts::browse;
    GET ":/jobs/{}/artifacts/browse/{*}" GUEST => artifacts::browse;
    GET ":/jobs/{}/artifacts/file/{*}" GUEST => artifacts::file;
    GET ":/settings/ci_cd" MAINTAINER => settings::show;
    POST ":/settings/ci_cd/general" MAINTAINER => settings::general;
    POST ":/settings/ci_cd/variables" MAINTAINER => settings::add_variable;
    POST ":/settings/ci_cd/variables/{}/delete" MAINTAINER => settings::delete_variable;
    POST ":/settings/ci_cd/schedules" MAINTAINER => settings::add_schedule;
    POST ":/settings/ci_cd/schedules/{}/delete" MAINTAINER => settings::delete_schedule;
    POST ":/settings/ci_cd/schedules/{}/play" MAINTAINER => settings::play_schedule;
    POST ":/settings/ci_cd/triggers" MAINTAINER => settings::add_trigger;
    POST ":/settings/ci_cd/triggers/{}/delete" MAINTAINER => settings::delete_trigger;
    POST ":/settings/ci_cd/mirror" MAINTAINER => mirror::save;
    POST ":/settings/ci_cd/mirror/sync" MAINTAINER => mirror::sync;
    POST ":/settings/ci_cd/mirror/secret" MAINTAINER => mirror::new_secret;
    POST ":/settings/ci_cd/mirror/delete" MAINTAINER => mirror::delete;
    POST ":/settings/ci_cd/members" MAINTAINER => settings::add_member;
    POST ":/settings/ci_cd/members/{}/delete" MAINTAINER => settings::delete_member;
    POST ":/runners" MAINTAINER => settings::add_runner;
    POST ":/runners/{}/{}" MAINTAINER => settings::change_runner;
}

/// Most bytes of a form.
const LONGEST_FORM: usize = 1 << 20;

/// Any request that no other surface took: git, or a page.
pub(crate) async fn serve(app: Arc<App>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    if let Some((project, rest)) = git_http::split(&path) {
        let (project, rest) = (project.to_owned(), rest.to_owned());
        return git_http::serve(app, &project, &rest, request).await;
    }
    let (parts, body) = request.into_parts();
    let (now, seen) = (app.now(), app.notifier.count());
    let decoded = decode(&path);
    let caller = match Caller::of(&app, &parts.headers, &parts.extensions).await {
        Ok(caller) => caller,
        Err(_) => Caller::Nobody,
    };
    let peer = peer(&parts.extensions);
    let mut visit = Visit {
        here: parts.uri.path_and_query().map_or_else(|| path.clone(), |text| text.as_str().to_owned()),
        app: Arc::clone(&app),
        caller,
        headers: parts.headers,
        parts: Vec::new(),
        query: pairs(parts.uri.query().unwrap_or_default().as_bytes()),
        form: Vec::new(),
        project: None,
        peer,
        now,
        seen,
    };
    let page_for_failure = visit.page();
    let back = visit.here.clone();
    let outcome = async {
        let method = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
        let (below, tail) = place(&decoded);
        let table = routes();
        let fitting: Vec<&Route> = table
            .iter()
            .filter(|route| below.is_some() == route.path.starts_with(':') && matches(route, tail).is_some())
            .collect();
        // No name has a zero byte, and PostgreSQL takes none.
        let Some(first) = fitting.first().filter(|_| !decoded.contains('\0')) else {
            return Err(Failure::NotFound);
        };
        let route = fitting.iter().find(|route| route.method == method).unwrap_or(first);
        note_route(&parts.extensions, Class::Page, &shown_path(route));
        visit.parts = matches(route, tail).unwrap_or_default();
        allowed(&mut visit, route, below).await?;
        if route.method != method {
            return Err(Failure::Bad(format!("{method} is not for this address")));
        }
        if method == Method::POST {
            let bytes = axum::body::to_bytes(body, LONGEST_FORM).await;
            let bytes = bytes.map_err(|_| Failure::Bad("the form is too long".to_owned()))?;
            visit.form = pairs(&bytes);
            not_forged(&visit)?;
        }
        (route.handler)(visit).await
    };
    let mut response = match outcome.await {
        Ok(response) => response,
        Err(failure) => failed(failure, &page_for_failure, &back),
    };
    guard(response.headers_mut());
    response
}

/// A route for the log.
fn shown_path(route: &Route) -> String {
    match route.path.strip_prefix(':') {
        Some(rest) => format!("/{{project}}/-{rest}"),
        None => format!("/{}", route.path),
    }
}

/// The project of a path, if it is below one, and the rest.
fn place(path: &str) -> (Option<&str>, &str) {
    let path = path.trim_matches('/');
    if path.is_empty() || path == "-" || path.starts_with("-/") {
        return (None, path);
    }
    if let Some((project, tail)) = path.split_once("/-/") {
        return (Some(project), tail);
    }
    match path.split_once("/badges/") {
        Some((project, _)) => (Some(project), &path[project.len() + 1..]),
        None => (Some(path), ""),
    }
}

/// What stands for the parts of a route's path; `None`: it is another route.
fn matches(route: &Route, tail: &str) -> Option<Vec<String>> {
    let pattern = route.path.trim_start_matches(':').trim_start_matches('/');
    let mut wanted = pattern.split('/').filter(|part| !part.is_empty());
    let mut rest = tail;
    let mut parts = Vec::new();
    loop {
        let Some(part) = wanted.next() else { return rest.is_empty().then_some(parts) };
        if part == "{*}" {
            parts.push(rest.to_owned());
            return Some(parts);
        }
        let (given, behind) = rest.split_once('/').unwrap_or((rest, ""));
        match part {
            "{}" if !given.is_empty() => parts.push(given.to_owned()),
            part if part == given => {}
            _ => return None,
        }
        rest = behind;
    }
}

async fn allowed(visit: &mut Visit, route: &Route, below: Option<&str>) -> Result<(), Failure> {
    // The pages are for people: what a token may is the API's business.
    let person = visit.caller.session().is_some();
    match route.need {
        Need::Anyone => Ok(()),
        Need::User if person => Ok(()),
        Need::Admin if person && visit.caller.is_admin() => Ok(()),
        Need::Admin if person => Err(Failure::Forbidden),
        Need::User | Need::Admin => Err(Failure::LogIn),
        Need::Level(_) | Need::Code => {
            let unseen = if person { Failure::NotFound } else { Failure::LogIn };
            let project = match below {
                Some(path) => visit.app.store.project_at(path).await?,
                None => None,
            };
            let Some(project) = project else { return Err(unseen) };
            let least = match route.need {
                Need::Level(least) => least,
                _ if project.visibility == "private" => AccessLevel::Reporter,
                _ => AccessLevel::Guest,
            };
            let caller = if person { visit.caller.clone() } else { Caller::Nobody };
            match caller.level(&visit.app, &project).await? {
                None => Err(unseen),
                Some(level) if level >= least => {
                    visit.project = Some((project, level));
                    Ok(())
                }
                Some(_) if person => Err(Failure::Forbidden),
                Some(_) => Err(Failure::LogIn),
            }
        }
    }
}

/// A form must carry the session's token; without a session the browser must say that it comes from here.
fn not_forged(visit: &Visit) -> Result<(), Failure> {
    let text = |name: &str| visit.headers.get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(Failure::Forbidden);
    }
    match visit.session() {
        Some(session) if same(session.csrf.expose(), visit.sent("csrf")) => Ok(()),
        Some(_) => {
            Err(Failure::Bad("the form is out of date; go back, load the page again and repeat".to_owned()))
        }
        None => Ok(()),
    }
}

/// Compared without telling by time how much is right.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}

fn failed(failure: Failure, page: &harrier_pages::Page, back: &str) -> Response {
    let (code, detail) = match failure {
        Failure::LogIn => {
            let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
            return go(&format!("/-/login?back={back}"));
        }
        Failure::NotFound => (404, None),
        Failure::Forbidden => (403, None),
        Failure::Bad(text) => (422, Some(text)),
        Failure::TooMany(text) => (429, Some(text)),
        Failure::Away(text) => (503, Some(text)),
        Failure::Failed => (500, None),
    };
    let mut response = html(error_page(page, code, detail.as_deref()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(bytes).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

/// A path with its `%xx` as bytes; what is no UTF-8 becomes the sign for that.
fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_project() {
        for (path, project, tail) in [
            ("/", None, ""),
            ("/-/login", None, "-/login"),
            ("/a/b", Some("a/b"), ""),
            ("/a/b/c/-/jobs/7/artifacts/file/x/-/y", Some("a/b/c"), "jobs/7/artifacts/file/x/-/y"),
            ("/a/b/badges/feature/x/pipeline.svg", Some("a/b"), "badges/feature/x/pipeline.svg"),
        ] {
            assert_eq!(place(path), (project, tail), "{path}");
        }
    }

    #[test]
    fn every_route_is_found_by_its_own_path() {
        let table = routes();
        for (index, route) in table.iter().enumerate() {
            let tail = route
                .path
                .trim_start_matches(':')
                .trim_start_matches('/')
                .replace("{*}", "x/y")
                .replace("{}", "7");
            let found = table.iter().position(|other| {
                other.method == route.method
                    && other.path.starts_with(':') == route.path.starts_with(':')
                    && matches(other, &tail).is_some()
            });
            assert_eq!(found, Some(index), "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn texts_are_compared_whole() {
        assert_eq!(decode("/a%20b/%C3%BC+%/x=1&y%zz%2"), "/a b/ü+%/x=1&y%zz%2");
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab") && !same("", "x"));
    }
}
