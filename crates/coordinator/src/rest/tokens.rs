//! Personal access tokens, and projects' own tokens.

use super::call::{Call, Done, Failure, Reply};
use super::entities;
use crate::auth::{By, Caller, Scope};
use harrier_base::Secret;
use harrier_database::{AccessLevel, NewToken, TokenKind, TokenView};

/// How long a token lives that takes the place of another, unless the request says: a week, in milliseconds.
const ROTATED: i64 = 7 * 86_400_000;

/// Those the caller may see: their own, or everybody's for administrators.
async fn seen(call: &Call) -> Result<Vec<TokenView>, Failure> {
    let own = (!call.caller.is_admin()).then(|| call.user().map(|user| user.id)).transpose()?;
    Ok(call.app.store.tokens(TokenKind::Personal, own, None).await?)
}

async fn find(call: &Call) -> Result<TokenView, Failure> {
    let id = call.id("token_id")?;
    seen(call).await?.into_iter().find(|one| one.id == id).ok_or_else(|| Failure::not_found(""))
}

/// Narrowed by state; revoked ones are not kept in lists.
fn listed(call: &Call, mut all: Vec<TokenView>) -> Done {
    let active = |one: &TokenView| one.expires_at.is_none_or(|at| at > call.now);
    match call.word("state", &["active", "inactive"])? {
        Some("active") => all.retain(active),
        Some(_) => all.retain(|one| !active(one)),
        None => {}
    }
    if call.flag("revoked")? == Some(true) {
        all.clear();
    }
    if let Some(search) = call.filled("search").map(|text| text.to_lowercase()) {
        all.retain(|one| one.name.to_lowercase().contains(&search));
    }
    call.list_of(all, |one| entities::token(&one, call.now))
}

pub(super) async fn list(call: Call) -> Done {
    let user = call.number("user_id")?;
    let mut all = seen(&call).await?;
    all.retain(|one| user.is_none_or(|user| one.user == Some(user)));
    listed(&call, all)
}

pub(super) async fn one(call: Call) -> Done {
    let found = find(&call).await?;
    Ok(Reply::Json(entities::token(&found, call.now)))
}

/// The scopes that a request asks for.
fn scopes(call: &Call) -> Result<Vec<String>, Failure> {
    let scopes = call.list("scopes").unwrap_or_default();
    let known = |word: &String| Scope::ALL.iter().any(|scope| scope.word() == word);
    if scopes.is_empty() || !scopes.iter().all(known) {
        return Err(Failure::value("scopes"));
    }
    Ok(scopes)
}

/// When a token is to end; a moment that is over is none.
fn end(call: &Call) -> Result<Option<i64>, Failure> {
    match call.time("expires_at")? {
        Some(at) if at <= call.now => Err(Failure::invalid("expires_at", "must be in the future")),
        other => Ok(other),
    }
}

/// A token with what is shown once.
fn shown(call: &Call, made: &(TokenView, Secret)) -> Done {
    let mut value = entities::token(&made.0, call.now);
    value["token"] = made.1.expose().into();
    Ok(Reply::Json(value))
}

pub(super) async fn create(call: Call) -> Done {
    let user = call.app.store.user(call.id("user_id")?).await?;
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(user.id),
        project: None,
        name: call.required("name")?,
        scopes: scopes(&call)?,
        access_level: None,
        expires_at: end(&call)?,
    };
    let made = call.app.store.create_token(new, call.now).await?;
    shown(&call, &made)
}

pub(super) async fn revoke(call: Call) -> Done {
    let found = find(&call).await?;
    call.app.store.revoke_token(found.id, call.now).await?;
    Ok(Reply::Nothing)
}

async fn rotated(call: &Call, id: i64) -> Done {
    let end = end(call)?.unwrap_or(call.now.saturating_add(ROTATED));
    let made = call.app.store.rotate_token(id, Some(end), call.now).await?;
    shown(call, &made)
}

pub(super) async fn rotate(call: Call) -> Done {
    let found = find(&call).await?;
    rotated(&call, found.id).await
}

fn of_request(call: &Call) -> Result<&TokenView, Failure> {
    match &call.caller {
        Caller::User { by: By::Token(token), .. } | Caller::Project(token) => Ok(token),
        _ => Err(Failure::Refused(crate::Refusal::bad("the request has no access token"))),
    }
}

pub(super) async fn own(call: Call) -> Done {
    Ok(Reply::Json(entities::token(of_request(&call)?, call.now)))
}

pub(super) async fn rotate_own(call: Call) -> Done {
    rotated(&call, of_request(&call)?.id).await
}

pub(super) async fn revoke_own(call: Call) -> Done {
    call.app.store.revoke_token(of_request(&call)?.id, call.now).await?;
    Ok(Reply::Nothing)
}

async fn all_of_project(call: &Call) -> Result<Vec<TokenView>, Failure> {
    Ok(call.app.store.tokens(TokenKind::Project, None, Some(call.project()?.id)).await?)
}

async fn find_of_project(call: &Call) -> Result<TokenView, Failure> {
    let id = call.id("token_id")?;
    let found = all_of_project(call).await?.into_iter().find(|one| one.id == id);
    found.ok_or_else(|| Failure::not_found(""))
}

pub(super) async fn of_project(call: Call) -> Done {
    let all = all_of_project(&call).await?;
    listed(&call, all)
}

pub(super) async fn one_of_project(call: Call) -> Done {
    let found = find_of_project(&call).await?;
    Ok(Reply::Json(entities::token(&found, call.now)))
}

/// Nobody gives a token, or takes over one, that may more than they do.
fn within(call: &Call, level: Option<i64>) -> Result<(), Failure> {
    match level.and_then(AccessLevel::from_number) {
        Some(level) if call.level() < Some(level) => Err(Failure::forbidden()),
        _ => Ok(()),
    }
}

pub(super) async fn create_of_project(call: Call) -> Done {
    let level = call.number("access_level")?.unwrap_or(AccessLevel::Maintainer.number());
    if AccessLevel::from_number(level).is_none() {
        return Err(Failure::value("access_level"));
    }
    within(&call, Some(level))?;
    let new = NewToken {
        kind: TokenKind::Project,
        user: Some(call.actor().await?.id),
        project: Some(call.project()?.id),
        name: call.required("name")?,
        scopes: scopes(&call)?,
        access_level: Some(level),
        expires_at: end(&call)?,
    };
    let made = call.app.store.create_token(new, call.now).await?;
    shown(&call, &made)
}

pub(super) async fn revoke_of_project(call: Call) -> Done {
    let found = find_of_project(&call).await?;
    call.app.store.revoke_token(found.id, call.now).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn rotate_of_project(call: Call) -> Done {
    let found = find_of_project(&call).await?;
    within(&call, found.access_level)?;
    rotated(&call, found.id).await
}
