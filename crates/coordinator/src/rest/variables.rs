//! CI variables of the instance and of projects.

use super::call::{Call, Done, Failure, Reply};
use super::entities::ci_variable;
use crate::answer::Refusal;
use crate::ci_variable::{can_be_masked, is_key};
use axum::http::StatusCode;
use harrier_base::Variable;
use harrier_database::CiVariable;

fn of(call: &Call) -> Option<i64> {
    call.project.as_ref().map(|(project, _)| project.id)
}

fn shown(call: &Call, one: &CiVariable) -> Reply {
    Reply::Json(ci_variable(one, of(call).is_some()))
}

pub(super) async fn list(call: Call) -> Done {
    let all = call.app.store.variables(of(&call)).await?;
    let of_project = of(&call).is_some();
    call.list_of(all, |one| ci_variable(&one, of_project))
}

/// The variable of a key, and of a scope where the request says which.
async fn find(call: &Call) -> Result<CiVariable, Failure> {
    let key = call.part("key");
    let scope = call.given.get("filter").and_then(|filter| filter["environment_scope"].as_str());
    let all = call.app.store.variables(of(call)).await?;
    let mut fitting = all
        .into_iter()
        .filter(|one| one.variable.key == key && scope.is_none_or(|scope| one.environment_scope == scope));
    let found = fitting.next().ok_or_else(|| Failure::not_found("variable"))?;
    if fitting.next().is_some() {
        let text =
            "There are multiple variables with provided parameters. Please use 'filter[environment_scope]'";
        return Err(Refusal::new(StatusCode::CONFLICT, text).into());
    }
    Ok(found)
}

pub(super) async fn one(call: Call) -> Done {
    let found = find(&call).await?;
    Ok(shown(&call, &found))
}

/// What the request says over what was.
fn change(call: &Call, mut one: CiVariable) -> Result<CiVariable, Failure> {
    if let Some(value) = call.text("value") {
        one.variable.value = value;
    }
    if let Some(word) = call.word("variable_type", &["env_var", "file"])? {
        one.variable.file = word == "file";
    }
    one.protected = call.flag("protected")?.unwrap_or(one.protected);
    one.variable.masked = call.flag("masked")?.unwrap_or(one.variable.masked);
    one.variable.raw = call.flag("raw")?.unwrap_or(one.variable.raw);
    if call.has("description") {
        one.description = call.text("description").unwrap_or_default();
    }
    if let Some(scope) = call.filled("environment_scope").filter(|_| of(call).is_some()) {
        one.environment_scope = scope;
    }
    if one.hidden && !one.variable.masked {
        return Err(Failure::invalid("masked", "must stay on for a hidden variable"));
    }
    if one.variable.masked && !can_be_masked(&one.variable.value) {
        return Err(Failure::invalid("value", "is invalid"));
    }
    Ok(one)
}

pub(super) async fn create(call: Call) -> Done {
    let key = call.required("key")?;
    if !is_key(&key) {
        return Err(Failure::invalid("key", "can contain only letters, digits and '_'."));
    }
    if call.text("value").is_none() {
        return Err(Failure::Parameter("value is missing".to_owned()));
    }
    let hidden = call.flag("masked_and_hidden")? == Some(true);
    let new = CiVariable {
        variable: Variable { key: key.clone(), masked: hidden, ..Variable::default() },
        protected: false,
        hidden,
        environment_scope: "*".to_owned(),
        description: String::new(),
    };
    let new = change(&call, new)?;
    match call.app.store.set_variable(of(&call), new.clone(), false).await {
        Err(harrier_database::DatabaseError::Taken { .. }) => {
            return Err(Failure::invalid("key", &format!("({key}) has already been taken")));
        }
        other => other?,
    }
    Ok(shown(&call, &new))
}

pub(super) async fn edit(call: Call) -> Done {
    let was = find(&call).await?;
    let new = change(&call, was.clone())?;
    if new.environment_scope == was.environment_scope {
        call.app.store.set_variable(of(&call), new.clone(), true).await?;
    } else {
        // The new one first: killed between, there are two rather than none.
        match call.app.store.set_variable(of(&call), new.clone(), false).await {
            Err(harrier_database::DatabaseError::Taken { .. }) => {
                let why = format!("({}) has already been taken", new.variable.key);
                return Err(Failure::invalid("key", &why));
            }
            other => other?,
        }
        call.app.store.delete_variable(of(&call), &was.variable.key, &was.environment_scope).await?;
    }
    Ok(shown(&call, &new))
}

pub(super) async fn delete(call: Call) -> Done {
    let found = find(&call).await?;
    call.app.store.delete_variable(of(&call), &found.variable.key, &found.environment_scope).await?;
    Ok(Reply::Nothing)
}
