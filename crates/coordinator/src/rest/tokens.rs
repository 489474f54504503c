//! Personal access tokens.

use super::call::{Call, Done, Failure, Reply};
use super::entities;
use crate::auth::{By, Caller, Scope};
use harrier_database::{NewToken, TokenKind, TokenView};

/// Those the caller may see: their own, or everybody's for administrators.
async fn seen(call: &Call) -> Result<Vec<TokenView>, Failure> {
    let own = (!call.caller.is_admin()).then(|| call.user().map(|user| user.id)).transpose()?;
    Ok(call.app.store.tokens(TokenKind::Personal, own, None).await?)
}

async fn find(call: &Call) -> Result<TokenView, Failure> {
    let id = call.id("token_id")?;
    seen(call).await?.into_iter().find(|one| one.id == id).ok_or_else(|| Failure::not_found(""))
}

pub(super) async fn list(call: Call) -> Done {
    let user = call.number("user_id")?;
    let mut all = seen(&call).await?;
    all.retain(|one| user.is_none_or(|user| one.user == Some(user)));
    call.list_of(all, |one| entities::token(&one, call.now))
}

pub(super) async fn one(call: Call) -> Done {
    let found = find(&call).await?;
    Ok(Reply::Json(entities::token(&found, call.now)))
}

pub(super) async fn create(call: Call) -> Done {
    let user = call.app.store.user(call.id("user_id")?).await?;
    let name = call.required("name")?;
    let scopes = call.list("scopes").unwrap_or_default();
    let known = |word: &String| Scope::ALL.iter().any(|scope| scope.word() == word);
    if scopes.is_empty() || !scopes.iter().all(known) {
        return Err(Failure::value("scopes"));
    }
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(user.id),
        project: None,
        name,
        scopes,
        access_level: None,
        expires_at: call.time("expires_at")?,
    };
    let (made, secret) = call.app.store.create_token(new, call.now).await?;
    let mut value = entities::token(&made, call.now);
    value["token"] = secret.expose().into();
    Ok(Reply::Json(value))
}

pub(super) async fn revoke(call: Call) -> Done {
    let found = find(&call).await?;
    call.app.store.revoke_token(found.id, call.now).await?;
    Ok(Reply::Nothing)
}

fn of_request(call: &Call) -> Result<&TokenView, Failure> {
    match &call.caller {
        Caller::User { by: By::Token(token), .. } => Ok(token),
        _ => Err(Failure::Refused(crate::Refusal::bad("the request has no personal access token"))),
    }
}

pub(super) async fn own(call: Call) -> Done {
    Ok(Reply::Json(entities::token(of_request(&call)?, call.now)))
}

pub(super) async fn revoke_own(call: Call) -> Done {
    call.app.store.revoke_token(of_request(&call)?.id, call.now).await?;
    Ok(Reply::Nothing)
}
