//! Trigger tokens, and the pipelines they start.

use super::call::{Call, Done, Failure, Reply};
use super::entities::{self, People, time};
use super::table;
use crate::answer::Refusal;
use crate::auth::Caller;
use crate::start::{StartRequest, start};
use crate::time_text::iso;
use harrier_base::Variable;
use harrier_database::{AccessLevel, NewToken, TokenKind, TokenView};
use serde_json::{Value, json};

fn show(one: &TokenView, people: &People) -> Value {
    json!({
        "id": one.id,
        "description": one.name,
        "created_at": iso(one.created_at),
        "last_used": time(one.used_at),
        "token": one.hint,
        "updated_at": iso(one.created_at),
        "expires_at": time(one.expires_at),
        "owner": people.get(one.user),
    })
}

async fn all(call: &Call) -> Result<Vec<TokenView>, Failure> {
    Ok(call.app.store.tokens(TokenKind::Trigger, None, Some(call.project()?.id)).await?)
}

async fn find(call: &Call) -> Result<TokenView, Failure> {
    let id = call.id("trigger_id")?;
    let found = all(call).await?.into_iter().find(|one| one.id == id);
    found.ok_or_else(|| Failure::not_found("trigger"))
}

pub(super) async fn list(call: Call) -> Done {
    let (all, people) = (all(&call).await?, People::read(&call.app).await?);
    call.list_of(all, |one| show(&one, &people))
}

pub(super) async fn one(call: Call) -> Done {
    let found = find(&call).await?;
    Ok(Reply::Json(show(&found, &People::read(&call.app).await?)))
}

pub(super) async fn create(call: Call) -> Done {
    let new = NewToken {
        kind: TokenKind::Trigger,
        user: Some(call.actor().await?.id),
        project: Some(call.project()?.id),
        name: call.required("description")?,
        scopes: Vec::new(),
        access_level: None,
        expires_at: None,
    };
    let (made, secret) = call.app.store.create_token(new, call.now).await?;
    let mut value = show(&made, &People::read(&call.app).await?);
    value["token"] = secret.expose().into();
    Ok(Reply::Json(value))
}

pub(super) async fn edit(call: Call) -> Done {
    let mut found = find(&call).await?;
    if let Some(description) = call.filled("description") {
        found = call.app.store.rename_token(found.id, description).await?;
    }
    Ok(Reply::Json(show(&found, &People::read(&call.app).await?)))
}

pub(super) async fn revoke(call: Call) -> Done {
    let found = find(&call).await?;
    call.app.store.revoke_token(found.id, call.now).await?;
    Ok(Reply::Nothing)
}

/// With a trigger token, or a job's: the rights are its owner's, or those of who started the job.
pub(super) async fn start_pipeline(call: Call) -> Done {
    let missing = || Failure::not_found("");
    let secret = call.required("token")?;
    let project = table::find(&call).await?.ok_or_else(missing)?;
    let secret = harrier_base::Secret::new(secret);
    let user = if secret.expose().starts_with(TokenKind::Job.prefix()) {
        match Caller::of_token(&call.app, &secret).await? {
            Caller::Job(job) if job.project == project.id => {
                let starter = call.app.store.pipeline(job.pipeline).await?.user;
                job.played_by.or(starter).ok_or_else(missing)?
            }
            _ => return Err(missing()),
        }
    } else {
        let token = call.app.store.token(&secret, call.now).await?.ok_or_else(missing)?;
        if token.kind != "trigger" || token.project != Some(project.id) {
            return Err(missing());
        }
        token.user.ok_or_else(missing)?
    };
    let user = call.app.store.user(user).await?;
    if user.blocked {
        return Err(Refusal::forbidden("the owner of the token is blocked").into());
    }
    let level = match user.admin {
        true => Some(AccessLevel::Owner),
        false => call.app.store.access(project.id, user.id).await?,
    };
    let git_ref = match call.part("ref") {
        "" => call.required("ref")?,
        named => named.to_owned(),
    };
    let mut variables = call.variables("variables")?;
    variables.push(payload(&call));
    let request = StartRequest { git_ref, variables, source: "trigger", user, level };
    let made = start(&call.app, &project, request).await?;
    Ok(Reply::Json(entities::whole_pipeline(&call.app, &project, &made).await?))
}

/// `TRIGGER_PAYLOAD`: the file that holds what was sent, without the token.
fn payload(call: &Call) -> Variable {
    let mut sent = call.given.clone();
    sent.remove("token");
    sent.remove("private_token");
    let value = Value::Object(sent).to_string();
    Variable { key: "TRIGGER_PAYLOAD".to_owned(), value, file: true, ..Variable::default() }
}
