//! Registration, verification, reset and removal of runners (`runner-api.md` §2).

use super::parse;
use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::time_text::iso;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use harrier_api::{DeleteRequest, RunnerIdentity, VerifyRequest};
use harrier_base::Secret;
use harrier_database::{NewRunner, Reach, Registers, RunnerView, TokenKind};
use serde::Deserialize;
use std::sync::Arc;

/// The body of a registration: as runners send it, and as Rails takes it besides (§2.1).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Registration {
    #[serde(with = "harrier_base::exposed")]
    token: Secret,
    description: Option<String>,
    maintenance_note: Option<String>,
    maintainer_note: Option<String>,
    tag_list: Tags,
    run_untagged: Option<bool>,
    locked: Option<bool>,
    access_level: Option<String>,
    maximum_timeout: Option<i64>,
    paused: Option<bool>,
    active: Option<bool>,
}

/// Most characters of a note (§2.1).
const NOTE: usize = 1024;

/// A list, or a text with commas.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Tags {
    /// `["a", "b"]`
    List(Vec<String>),
    /// `a, b`
    Text(String),
    /// `null`
    None(()),
}

impl Default for Tags {
    fn default() -> Self {
        Self::None(())
    }
}

impl Tags {
    /// Each once, trimmed.
    pub fn list(self) -> Vec<String> {
        let parts = match self {
            Self::List(list) => list,
            Self::Text(text) => text.split(',').map(str::to_owned).collect(),
            Self::None(()) => Vec::new(),
        };
        let mut out: Vec<String> = Vec::new();
        for part in parts {
            let part = part.trim();
            if !part.is_empty() && !out.iter().any(|known| known == part) {
                out.push(part.to_owned());
            }
        }
        out
    }
}

/// What a runner is told of itself.
fn identity(runner: &RunnerView, token: Secret) -> RunnerIdentity {
    RunnerIdentity { id: runner.id, token, token_expires_at: runner.token_expires_at.map(iso) }
}

/// `POST /runners` (§2.1).
pub async fn register(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let asked: Registration = parse(&body)?;
    if asked.token.is_empty() {
        return Ok(missing("token"));
    }
    if !app.settings.registration_tokens {
        return Err(Refusal::new(
            StatusCode::GONE,
            "410 Gone - registration tokens are disabled on this server",
        ));
    }
    if asked.maintenance_note.is_some() && asked.maintainer_note.is_some() {
        return Ok(wrong("maintainer_note, maintenance_note are mutually exclusive"));
    }
    if asked.paused.is_some() && asked.active.is_some() {
        return Ok(wrong("active, paused are mutually exclusive"));
    }
    let protected_only = match asked.access_level.as_deref() {
        None | Some("" | "not_protected") => false,
        Some("ref_protected") => true,
        Some(_) => return Ok(wrong("access_level does not have a valid value")),
    };
    let maintenance_note = asked.maintenance_note.or(asked.maintainer_note).unwrap_or_default();
    if maintenance_note.chars().count() > NOTE {
        return Err(Refusal {
            message: serde_json::json!({ "maintenance_note": [format!("is too long (maximum is {NOTE} characters)")] }),
            ..Refusal::new(StatusCode::BAD_REQUEST, "")
        });
    }
    let whom = app.store.registers(&asked.token).await?.ok_or_else(|| Refusal::forbidden(""))?;
    let tags = asked.tag_list.list();
    let run_untagged = asked.run_untagged.unwrap_or(true);
    if tags.is_empty() && !run_untagged {
        return Err(Refusal {
            message: serde_json::json!({
                "tags_list": ["can not be empty when runner is not allowed to pick untagged jobs"]
            }),
            ..Refusal::new(StatusCode::BAD_REQUEST, "")
        });
    }
    let new = NewRunner {
        projects: match whom {
            Registers::Instance => None,
            Registers::Project(project) => Some(vec![project]),
        },
        description: asked.description.unwrap_or_default(),
        maintenance_note,
        tags,
        run_untagged,
        locked: asked.locked.unwrap_or(false),
        protected_only,
        maximum_timeout: asked.maximum_timeout,
        paused: asked.paused.unwrap_or_else(|| asked.active == Some(false)),
        created_by: None,
        token_expires_at: None,
    };
    let (runner, token) = app.store.create_runner(new, TokenKind::LegacyRunner, app.now()).await?;
    Ok((StatusCode::CREATED, Json(identity(&runner, token))).into_response())
}

/// The runner of a token for which there may be jobs: 422 for one of projects that are all gone.
pub(super) async fn working_runner(app: &App, token: &Secret) -> Answer<RunnerView> {
    let runner = runner_of(app, token).await?;
    match &runner.offer.reach {
        Reach::Projects(projects) if projects.is_empty() => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "422 Unprocessable Entity - the projects of this runner are gone; register it anew",
        )),
        Reach::Projects(_) | Reach::Instance => Ok(runner),
    }
}

/// The runner of a token, or 403 (§1.3).
pub(super) async fn runner_of(app: &App, token: &Secret) -> Answer<RunnerView> {
    match app.store.runner_of_token(token, app.now()).await? {
        Some(runner) => Ok(runner),
        None => Err(Refusal::forbidden("")),
    }
}

/// `POST /runners/verify` (§2.3).
pub async fn verify(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let asked: VerifyRequest = parse(&body)?;
    if asked.token.is_empty() {
        return Ok(missing("token"));
    }
    let runner = working_runner(&app, &asked.token).await?;
    let info = said(&body).then_some(asked.info);
    app.store.contact(runner.id, asked.system_id, info, String::new(), app.now()).await?;
    Ok(Json(identity(&runner, asked.token)).into_response())
}

/// Whether a body has `info`: older runners leave it out, which says nothing of what they can do.
fn said(body: &Bytes) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body["info"].is_object())
}

/// `DELETE /runners` (§2.4).
pub async fn unregister(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let asked: DeleteRequest = parse(&body)?;
    if asked.token.is_empty() {
        return Ok(missing("token"));
    }
    let runner = runner_of(&app, &asked.token).await?;
    app.store.delete_runner(runner.id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /runners/managers` (§2.5).
pub async fn unregister_manager(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let asked: DeleteRequest = parse(&body)?;
    if asked.token.is_empty() {
        return Ok(missing("token"));
    }
    if asked.system_id.is_empty() {
        return Ok(missing("system_id"));
    }
    let runner = runner_of(&app, &asked.token).await?;
    app.store.delete_manager(runner.id, asked.system_id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /runners/reset_authentication_token` (§2.6).
pub async fn reset(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let asked: DeleteRequest = parse(&body)?;
    if asked.token.is_empty() {
        return Ok(missing("token"));
    }
    let runner = working_runner(&app, &asked.token).await?;
    // A token that ends is followed by one that lasts as long.
    let expires = runner.token_expires_at.map(|end| {
        let now = app.now();
        now.saturating_add(end.saturating_sub(runner.created_at).max(0))
    });
    let (runner, token) = app.store.reset_runner_token(runner.id, expires).await?;
    let body = serde_json::json!({
        "token": token.expose(),
        "token_expires_at": runner.token_expires_at.map(iso),
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /runners/router/discovery` (§2.7): there is no job router here.
pub async fn discovery() -> Response {
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "501 Not Implemented").into_response()
}

/// A parameter that must be there.
pub(super) fn missing(name: &str) -> Response {
    wrong(&format!("{name} is missing"))
}

/// A parameter that makes no sense.
pub(super) fn wrong(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": why }))).into_response()
}
