//! Users.

use super::call::{Call, Done, Failure, Reply};
use super::entities;
use crate::auth::Caller;
use crate::password;
use harrier_database::{NewUser, UserEdit, UserView};
use serde_json::{Value, json};

fn show(call: &Call, one: &UserView) -> Value {
    let own = call.caller.user().is_some_and(|user| user.id == one.id);
    if own || call.caller.is_admin() {
        entities::whole_user(&call.app, one)
    } else {
        entities::user(&call.app, one)
    }
}

pub(super) async fn current(call: Call) -> Done {
    match &call.caller {
        // A token of a project is nobody: it has a name of its own, and no account.
        Caller::Project(token) => Ok(Reply::Json(json!({
            "id": null,
            "username": format!("project_{}_bot_{}", token.project.unwrap_or_default(), token.id),
            "name": token.name,
            "state": "active",
            "locked": false,
            "bot": true,
            "avatar_url": null,
            "web_url": call.app.settings.external_url,
        }))),
        _ => Ok(Reply::Json(show(&call, call.user()?))),
    }
}

pub(super) async fn list(call: Call) -> Done {
    let (name, search) = (call.filled("username"), call.filled("search").map(|text| text.to_lowercase()));
    let mut all = call.app.store.users().await?;
    all.retain(|one| {
        name.as_ref().is_none_or(|name| one.username.eq_ignore_ascii_case(name))
            && search.as_ref().is_none_or(|text| {
                one.username.to_lowercase().contains(text) || one.name.to_lowercase().contains(text)
            })
    });
    for (name, blocked) in [("active", false), ("blocked", true)] {
        if call.flag(name)? == Some(true) {
            all.retain(|one| one.blocked == blocked);
        }
    }
    if call.flag("admins")? == Some(true) {
        all.retain(|one| one.admin);
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.id));
    call.list_of(all, |one| show(&call, &one))
}

async fn find(call: &Call) -> Result<UserView, Failure> {
    Ok(call.app.store.user(call.id("user_id")?).await?)
}

pub(super) async fn one(call: Call) -> Done {
    let found = find(&call).await?;
    Ok(Reply::Json(show(&call, &found)))
}

async fn hash(call: &Call) -> Result<Option<String>, Failure> {
    if call.filled("password").is_none() {
        return Ok(None);
    }
    let hashed = password::hash(call.secret("password")).await;
    hashed.map(Some).map_err(|error| Failure::invalid("password", &error.to_string()))
}

pub(super) async fn create(call: Call) -> Done {
    let username = call.required("username")?;
    // The name is the first part of the user's projects.
    if let Err(why) = crate::project_path::ProjectPath::parse(&format!("{username}/x")) {
        return Err(Failure::invalid("username", &why));
    }
    if username.contains('/') {
        return Err(Failure::invalid("username", "cannot contain a slash"));
    }
    let new = NewUser {
        username,
        name: call.text("name").unwrap_or_default(),
        email: call.text("email").unwrap_or_default(),
        password: hash(&call).await?,
        admin: call.flag("admin")?.unwrap_or(false),
    };
    let made = call.app.store.create_user(new, call.now).await?;
    Ok(Reply::Json(show(&call, &made)))
}

async fn change(call: &Call, edit: UserEdit) -> Result<UserView, Failure> {
    let found = find(call).await?;
    let own = call.user()?.id == found.id;
    if own && (edit.admin == Some(false) || edit.blocked == Some(true)) {
        return Err(crate::Refusal::forbidden("you cannot take your own rights away").into());
    }
    Ok(call.app.store.edit_user(found.id, edit).await?)
}

pub(super) async fn edit(call: Call) -> Done {
    let edit = UserEdit {
        name: call.filled("name"),
        email: call.text("email"),
        password: hash(&call).await?,
        admin: call.flag("admin")?,
        ..UserEdit::default()
    };
    let changed = change(&call, edit).await?;
    Ok(Reply::Json(show(&call, &changed)))
}

pub(super) async fn delete(call: Call) -> Done {
    let found = find(&call).await?;
    if call.user()?.id == found.id {
        return Err(crate::Refusal::forbidden("you cannot remove yourself").into());
    }
    call.app.store.delete_user(found.id).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn block(call: Call) -> Done {
    change(&call, UserEdit { blocked: Some(true), ..UserEdit::default() }).await?;
    Ok(Reply::Json(true.into()))
}

pub(super) async fn unlock(call: Call) -> Done {
    change(&call, UserEdit { unlocked_at: Some(call.now), ..UserEdit::default() }).await?;
    Ok(Reply::Json(true.into()))
}

pub(super) async fn unblock(call: Call) -> Done {
    change(&call, UserEdit { blocked: Some(false), ..UserEdit::default() }).await?;
    Ok(Reply::Json(true.into()))
}
