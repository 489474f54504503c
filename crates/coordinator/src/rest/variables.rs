//! CI variables of the instance, of groups and of projects.

use super::call::{Call, Done, Failure, Reply};
use super::entities::ci_variable;
use super::namespaces::group_id;
use crate::answer::Refusal;
use crate::ci_variable::{can_be_masked, is_key};
use axum::http::StatusCode;
use harrier_base::Variable;
use harrier_database::{CiVariable, VariableOwner};

/// Whose variables the route is about.
async fn of(call: &Call) -> Result<VariableOwner, Failure> {
    match (&call.project, call.part("group_id")) {
        (Some((project, _)), _) => Ok(VariableOwner::Project(project.id)),
        (None, "") => Ok(VariableOwner::Instance),
        (None, _) => Ok(VariableOwner::Group(group_id(call).await?)),
    }
}

fn shown(of: VariableOwner, one: &CiVariable) -> Reply {
    Reply::Json(ci_variable(one, of != VariableOwner::Instance))
}

pub(super) async fn list(call: Call) -> Done {
    let of = of(&call).await?;
    let all = call.app.store.variables(of).await?;
    call.list_of(all, |one| ci_variable(&one, of != VariableOwner::Instance))
}

/// The variable of a key, and of a scope where the request says which.
async fn find(call: &Call, of: VariableOwner) -> Result<CiVariable, Failure> {
    let key = call.part("key");
    let scope = call.given.get("filter").and_then(|filter| filter["environment_scope"].as_str());
    let all = call.app.store.variables(of).await?;
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
    let of = of(&call).await?;
    let found = find(&call, of).await?;
    Ok(shown(of, &found))
}

/// What the request says over what was.
fn change(call: &Call, of: VariableOwner, mut one: CiVariable) -> Result<CiVariable, Failure> {
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
    if let Some(scope) = call.filled("environment_scope").filter(|_| of != VariableOwner::Instance) {
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
    let of = of(&call).await?;
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
    let new = change(&call, of, new)?;
    match call.app.store.set_variable(of, new.clone(), false).await {
        Err(harrier_database::DatabaseError::Taken { .. }) => {
            return Err(Failure::invalid("key", &format!("({key}) has already been taken")));
        }
        other => other?,
    }
    Ok(shown(of, &new))
}

pub(super) async fn edit(call: Call) -> Done {
    let of = of(&call).await?;
    let was = find(&call, of).await?;
    let new = change(&call, of, was.clone())?;
    if new.environment_scope == was.environment_scope {
        call.app.store.set_variable(of, new.clone(), true).await?;
    } else {
        // The new one first: killed between, there are two rather than none.
        match call.app.store.set_variable(of, new.clone(), false).await {
            Err(harrier_database::DatabaseError::Taken { .. }) => {
                let why = format!("({}) has already been taken", new.variable.key);
                return Err(Failure::invalid("key", &why));
            }
            other => other?,
        }
        call.app.store.delete_variable(of, &was.variable.key, &was.environment_scope).await?;
    }
    Ok(shown(of, &new))
}

pub(super) async fn delete(call: Call) -> Done {
    let of = of(&call).await?;
    let found = find(&call, of).await?;
    call.app.store.delete_variable(of, &found.variable.key, &found.environment_scope).await?;
    Ok(Reply::Nothing)
}
