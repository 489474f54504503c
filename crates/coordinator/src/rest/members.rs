//! Members of projects. Nobody gives or takes a role above their own.

use super::call::{Call, Done, Failure, Reply};
use super::entities;
use crate::answer::Refusal;
use axum::http::StatusCode;
use harrier_database::{AccessLevel, UserView};
use serde_json::Value;

fn show(call: &Call, user: &UserView, level: AccessLevel) -> Value {
    let mut value = entities::user(&call.app, user);
    value["access_level"] = level.number().into();
    value["expires_at"] = Value::Null;
    value
}

pub(super) async fn list(call: Call) -> Done {
    let query = call.filled("query").map(|text| text.to_lowercase());
    let users = call.app.store.users().await?;
    let members = call.app.store.members(call.project()?.id).await?;
    let mut all: Vec<(&UserView, AccessLevel)> = members
        .into_iter()
        .filter_map(|(id, level)| Some((users.iter().find(|user| user.id == id)?, level)))
        .collect();
    all.retain(|(user, _)| query.as_ref().is_none_or(|text| user.username.to_lowercase().contains(text)));
    call.list_of(all, |(user, level)| show(&call, user, level))
}

async fn find(call: &Call) -> Result<(UserView, AccessLevel), Failure> {
    let id = call.id("user_id")?;
    let level = call.app.store.access(call.project()?.id, id).await?;
    let level = level.ok_or_else(|| Failure::not_found(""))?;
    Ok((call.app.store.user(id).await?, level))
}

pub(super) async fn one(call: Call) -> Done {
    let (user, level) = find(&call).await?;
    Ok(Reply::Json(show(&call, &user, level)))
}

fn within(call: &Call, level: AccessLevel) -> Result<(), Failure> {
    if call.level() >= Some(level) { Ok(()) } else { Err(Failure::forbidden()) }
}

fn asked(call: &Call) -> Result<AccessLevel, Failure> {
    let number = call.number("access_level")?;
    let number = number.ok_or_else(|| Failure::Parameter("access_level is missing".to_owned()))?;
    AccessLevel::from_number(number).ok_or_else(|| Failure::value("access_level"))
}

pub(super) async fn add(call: Call) -> Done {
    let level = asked(&call)?;
    let user = match (call.number("user_id")?, call.filled("username")) {
        (Some(id), _) => call.app.store.user(id).await?,
        (None, Some(name)) => {
            let found = call.app.store.user_named(&name).await?;
            found.map(|(user, _)| user).ok_or_else(|| Failure::not_found("user"))?
        }
        (None, None) => return Err(Failure::Parameter("user_id is missing".to_owned())),
    };
    within(&call, level)?;
    let project = call.project()?.id;
    if call.app.store.access(project, user.id).await?.is_some() {
        return Err(Refusal::new(StatusCode::CONFLICT, "Member already exists").into());
    }
    call.app.store.set_member(project, user.id, Some(level), call.now).await?;
    Ok(Reply::Json(show(&call, &user, level)))
}

pub(super) async fn edit(call: Call) -> Done {
    let (user, was) = find(&call).await?;
    let level = asked(&call)?;
    within(&call, level.max(was))?;
    call.app.store.set_member(call.project()?.id, user.id, Some(level), call.now).await?;
    Ok(Reply::Json(show(&call, &user, level)))
}

pub(super) async fn remove(call: Call) -> Done {
    let (user, was) = find(&call).await?;
    within(&call, was)?;
    call.app.store.set_member(call.project()?.id, user.id, None, call.now).await?;
    Ok(Reply::Nothing)
}
