//! Environments: listed, made, changed, stopped, removed. What was deployed to them is in `deployments.rs`.

use super::call::{Call, Done, Failure, Reply};
use super::deployments;
use super::entities::{self, time};
use super::projects::same_project;
use crate::answer::Refusal;
use crate::app::App;
use crate::time_text::iso;
use harrier_database::{
    DatabaseError, EnvironmentEdit, EnvironmentFilter, EnvironmentState, EnvironmentView, Page, PageAt,
};
use harrier_pipeline::environment_url::web_address;
use harrier_pipeline::{ENVIRONMENT_TIERS, is_environment_name};
use serde_json::{Value, json};

const DAY: i64 = 24 * 3_600_000;

/// As in what names one.
pub(super) fn short(one: &EnvironmentView) -> Value {
    json!({
        "id": one.id,
        "name": one.name,
        "slug": one.slug(),
        "external_url": one.external_url,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
    })
}

fn show(one: &EnvironmentView) -> Value {
    let mut value = short(one);
    value["description"] = one.description.clone().into();
    value["state"] = one.state.word().into();
    value["tier"] = one.tier.clone().into();
    value["auto_stop_at"] = time(one.auto_stop_at);
    value["auto_stop_setting"] = if one.only_with_action { "with_action" } else { "always" }.into();
    value
}

async fn whole(call: &Call, one: &EnvironmentView) -> Done {
    let app: &App = &call.app;
    let mut value = show(one);
    value["project"] = entities::project(app, call.project()?);
    value["last_deployment"] = match app.store.latest_deployment(one.id).await? {
        Some(latest) => deployments::Deployments::new(app).await?.show(&latest, one).await?,
        None => Value::Null,
    };
    Ok(Reply::Json(value))
}

/// The environment of a route, if it is of its project.
async fn find(call: &Call) -> Result<EnvironmentView, Failure> {
    let found = call.app.store.environment(call.id("environment_id")?).await?;
    same_project(call, found.project, "environment")?;
    Ok(found)
}

pub(super) async fn list(call: Call) -> Done {
    let (name, search) = (call.filled("name"), call.filled("search"));
    if name.is_some() && search.is_some() {
        return Err(Failure::Parameter("name, search are mutually exclusive".to_owned()));
    }
    let states = match call.word("states", &["available", "stopping", "stopped"])? {
        Some("available") => vec![EnvironmentState::Available],
        Some("stopping") => vec![EnvironmentState::Stopping],
        Some(_) => vec![EnvironmentState::Stopped],
        None => Vec::new(),
    };
    let filter = EnvironmentFilter { name, search, states };
    let found = call.app.store.environments(call.project()?.id, filter, call.page()?).await?;
    Ok(Reply::List(Page { entries: found.entries.iter().map(show).collect(), total: found.total }))
}

pub(super) async fn one(call: Call) -> Done {
    let found = find(&call).await?;
    whole(&call, &found).await
}

/// What a request says of an environment besides its name.
fn edit(call: &Call) -> Result<EnvironmentEdit, Failure> {
    let external_url = match call.has("external_url").then(|| call.filled("external_url")) {
        Some(Some(text)) => Some(Some(
            web_address(&text)
                .ok_or_else(|| Failure::invalid("external_url", "is not a URL of http or https"))?,
        )),
        other => other,
    };
    let only_with_action = call.word("auto_stop_setting", &["always", "with_action"])?;
    Ok(EnvironmentEdit {
        description: call.has("description").then(|| call.filled("description")),
        tier: call.word("tier", &ENVIRONMENT_TIERS)?.map(str::to_owned),
        external_url,
        only_with_action: only_with_action.map(|setting| setting == "with_action"),
    })
}

pub(super) async fn create(call: Call) -> Done {
    let name = call.required("name")?;
    if !is_environment_name(&name) {
        let why = "can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces, but it cannot start or end \
                   with '/', and has at most 255 characters";
        return Err(Failure::invalid("name", why));
    }
    let made = call.app.store.create_environment(call.project()?.id, name, edit(&call)?, call.now).await?;
    whole(&call, &made).await
}

pub(super) async fn change(call: Call) -> Done {
    let found = find(&call).await?;
    let changed = call.app.store.edit_environment(found.id, edit(&call)?, call.now).await?;
    whole(&call, &changed).await
}

pub(super) async fn delete(call: Call) -> Done {
    let found = find(&call).await?;
    match call.app.store.delete_environment(found.id).await {
        Ok(()) => Ok(Reply::Nothing),
        Err(DatabaseError::Conflict { .. }) => {
            Err(Refusal::forbidden("the environment is not stopped; stop it before it is removed").into())
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn stop(call: Call) -> Done {
    let found = find(&call).await?;
    let force = call.flag("force")? == Some(true);
    if !force {
        for job in call.app.store.stop_jobs(found.id).await? {
            call.need_run_of(&call.app.store.pipeline(job.pipeline).await?)?;
        }
    }
    let user = call.actor().await?.id;
    let stopped = call.app.store.stop_environment(found.id, Some(user), force, call.now).await?;
    whole(&call, &stopped).await
}

pub(super) async fn stop_stale(call: Call) -> Done {
    call.required("before")?;
    let invalid = || Failure::from(Refusal::bad("Invalid Date"));
    let before = call.time("before")?.ok_or_else(invalid)?;
    if before > call.now - 7 * DAY || before < call.now - 3653 * DAY {
        return Err(invalid());
    }
    let user = call.actor().await?.id;
    call.app.store.stop_stale_environments(call.project()?.id, before, Some(user), call.now).await?;
    Ok(Reply::Json(json!({ "message": "Successfully requested stop for all stale environments" })))
}

/// Removes stopped environments below `review/`; unless told otherwise it only says which.
pub(super) async fn delete_review_apps(call: Call) -> Done {
    let before = call.time("before")?.unwrap_or(call.now - 30 * DAY);
    let limit = usize::try_from(call.number("limit")?.unwrap_or(100)).map_err(|_| Failure::value("limit"))?;
    let only_said = call.flag("dry_run")?.unwrap_or(true);
    let filter = EnvironmentFilter {
        search: Some("review/".to_owned()),
        states: vec![EnvironmentState::Stopped],
        ..EnvironmentFilter::default()
    };
    let all = PageAt { number: 1, size: usize::try_from(i32::MAX).unwrap_or(usize::MAX) };
    let found = call.app.store.environments(call.project()?.id, filter, all).await?;
    let fits = |one: &&EnvironmentView| one.name.starts_with("review/") && one.updated_at < before;
    let mut removed = Vec::new();
    for one in found.entries.iter().filter(fits).take(limit) {
        if !only_said {
            call.app.store.delete_environment(one.id).await?;
        }
        removed.push(short(one));
    }
    Ok(Reply::Json(json!({ "scheduled_entries": removed, "unprocessable_entries": [] })))
}
