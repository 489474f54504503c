//! Who may fetch and push, and what happens around it. Called for every address that looks like git's (`web/table.rs`).

use super::exchange::{Allowed, ExchangeError, Service, advertise, receive_pack, upload_pack};
use super::push::Push;
use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::auth::{By, Caller, Scope};
use crate::metrics::Class;
use crate::project_making::may_make;
use crate::project_path::ProjectPath;
use crate::request_record::note_route;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use harrier_database::{AccessLevel, NewProject, ProjectView};
use std::sync::Arc;

/// The project and git's part of a path, if it is one of git's.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    for rest in ["info/refs", "git-upload-pack", "git-receive-pack"] {
        if let Some(project) = path.strip_suffix(rest).and_then(|project| project.strip_suffix('/')) {
            return Some((project.strip_suffix(".git").unwrap_or(project), rest));
        }
    }
    None
}

pub(crate) async fn serve(app: Arc<App>, project: &str, rest: &str, request: Request<Body>) -> Response {
    let asked_by_git = answer(app, project, rest, request).await;
    asked_by_git.unwrap_or_else(|refusal| {
        // git shows the body of an answer as text.
        let text = refusal.message.as_str().map_or_else(|| refusal.message.to_string(), str::to_owned);
        let mut response = (refusal.status, format!("{text}\n")).into_response();
        if refusal.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Harrier\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    })
}

async fn answer(app: Arc<App>, path: &str, rest: &str, request: Request<Body>) -> Answer {
    let (parts, body) = request.into_parts();
    note_route(&parts.extensions, Class::Git, rest);
    let caller = match Caller::of(&app, &parts.headers, &parts.extensions).await? {
        // A cookie comes by itself: git brings what it was given for this.
        Caller::User { by: By::Session(_), .. } => Caller::Nobody,
        caller => caller,
    };
    let service = match rest {
        "git-upload-pack" => Service::UploadPack,
        "git-receive-pack" => Service::ReceivePack,
        _ => {
            let query = parts.uri.query().unwrap_or_default();
            let name = form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == "service")
                .map(|(_, name)| name);
            name.and_then(|name| Service::from_name(&name))
                .ok_or_else(|| Refusal::forbidden("git's old protocol without a service is not served"))?
        }
    };
    let wanted = if rest == "info/refs" { Method::GET } else { Method::POST };
    if parts.method != wanted {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "405 Method Not Allowed"));
    }
    let (project, level) = allowed(&app, &caller, path, service).await?;
    app.ensure_repository(&project).await?;
    let repository = app.data.repository(project.id);
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let protocol = text("git-protocol");
    let gzip = text("content-encoding").is_some_and(|value| matches!(value, "gzip" | "x-gzip"));
    if rest == "info/refs" {
        let lines = advertise(&repository, service, protocol).await.map_err(failed)?;
        if service == Service::ReceivePack {
            // Who pushes again what a server was killed over is told that all is there: then it must be. After the refs were
            // read: a git that outlived its server may move one at any moment.
            app.make_up_for_pushes_to(project.clone()).await?;
        }
        return Ok((no_cache(service.advertisement_type()), lines).into_response());
    }
    let body = match service {
        Service::UploadPack => upload_pack(&repository, protocol, body, gzip).await,
        Service::ReceivePack if gzip => Err(ExchangeError::Request("a push is not packed twice".to_owned())),
        Service::ReceivePack => {
            let rules = project.clone();
            let user = caller.user().cloned();
            let (begins, by) = (Arc::clone(&app), user.clone());
            let allow = move |push: &Push| {
                let allowed = may_push(&rules, level, push)?;
                Ok((allowed, begins.begin_push(rules.id, by.as_ref(), push)))
            };
            let after = move |push: Push, begun| async move { app.pushed(project, user, push, begun).await };
            receive_pack(repository, body, allow, after).await
        }
    };
    Ok((no_cache(service.result_type()), body.map_err(failed)?).into_response())
}

fn no_cache(kind: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers
}

fn failed(error: ExchangeError) -> Refusal {
    match error {
        ExchangeError::Git { .. } => {
            tracing::error!(error = %error, "git failed");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error")
        }
        ExchangeError::Request(_) | ExchangeError::Push(_) => Refusal::bad(&error.to_string()),
    }
}

/// The project, if the caller may; a push by somebody who may makes it.
async fn allowed(
    app: &App,
    caller: &Caller,
    path: &str,
    service: Service,
) -> Answer<(ProjectView, AccessLevel)> {
    let scope = match service {
        Service::UploadPack => Scope::ReadRepository,
        Service::ReceivePack => Scope::WriteRepository,
    };
    caller.need_scope(scope)?;
    let hidden = || match caller {
        Caller::Nobody => Refusal::unauthorized(),
        _ => Refusal::not_found("project"),
    };
    if let Some(project) = app.store.project_at(path).await? {
        let least = match service {
            Service::ReceivePack => AccessLevel::Developer,
            Service::UploadPack if project.visibility == "private" => AccessLevel::Reporter,
            Service::UploadPack => AccessLevel::Guest,
        };
        let level = caller.need_level(app, &project, least).await?;
        if let (Service::ReceivePack, Some(mirror)) = (service, app.store.mirror(project.id).await?) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!("{path} is a mirror of {}: push there, it is fetched from there", mirror.url),
            ));
        }
        return Ok((project, level));
    }
    let (Service::ReceivePack, Some(user)) = (service, caller.user()) else { return Err(hidden()) };
    let wanted = ProjectPath::parse(path).map_err(|why| Refusal::new(StatusCode::NOT_FOUND, why))?;
    if !may_make(user, &wanted) {
        return Err(hidden());
    }
    let new = NewProject { path: path.to_owned(), owner: Some(user.id), ..NewProject::default() };
    Ok((app.create_project(new).await?, AccessLevel::Owner))
}

/// Branches and tags only; protected ones as their rules say, which nobody deletes by a push.
fn may_push(project: &ProjectView, level: AccessLevel, push: &Push) -> Result<Allowed, String> {
    let mut allowed = Allowed::Anything;
    for change in &push.changes {
        let branch = change.name.strip_prefix("refs/heads/");
        let tag = change.name.strip_prefix("refs/tags/");
        let (name, is_tag) = match (branch, tag) {
            (Some(name), _) => (name, false),
            (None, Some(name)) => (name, true),
            (None, None) => return Err(format!("{} is neither a branch nor a tag", change.name)),
        };
        let what = if is_tag { "tag" } else { "branch" };
        if !project.may_push(name, is_tag, level) {
            return Err(format!(
                "You are not allowed to push to the protected {what} {name} of this project."
            ));
        }
        if is_tag {
            continue;
        }
        if change.deletes() && project.protects(name, false) {
            return Err(format!("The protected branch {name} cannot be deleted by a push."));
        }
        if project.only_forward(name) {
            allowed = Allowed::OnlyForward;
        }
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_git() {
        for (path, found) in [
            ("/a/b.git/info/refs", Some(("a/b", "info/refs"))),
            ("/a/b/info/refs", Some(("a/b", "info/refs"))),
            ("/a/b/c.git/git-upload-pack", Some(("a/b/c", "git-upload-pack"))),
            ("/a/b.git/git-receive-pack", Some(("a/b", "git-receive-pack"))),
            ("/a/b/-/jobs/1", None),
            ("/info/refs", None),
        ] {
            assert_eq!(split(path), found, "{path}");
        }
    }
}
