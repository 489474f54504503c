//! Environments, as jobs have deployed to them.

use super::call::{Call, Done, Failure, Reply};
use super::entities::{Jobs, time};
use crate::time_text::iso;
use harrier_database::EnvironmentView;
use serde_json::{Value, json};

fn show(one: &EnvironmentView) -> Value {
    json!({
        "id": one.id,
        "name": one.name,
        "slug": one.slug,
        "external_url": one.external_url,
        "state": if one.stopped { "stopped" } else { "available" },
        "tier": one.tier,
        "created_at": iso(one.created_at),
        "updated_at": time(one.last_deployed_at.or(Some(one.created_at))),
    })
}

pub(super) async fn list(call: Call) -> Done {
    let (name, search) = (call.filled("name"), call.filled("search").map(|text| text.to_lowercase()));
    let state = call.word("states", &["available", "stopped", "stopping"])?;
    let mut all = call.app.store.environments(call.project()?.id).await?;
    all.retain(|one| {
        name.as_ref().is_none_or(|name| one.name == *name)
            && search.as_ref().is_none_or(|search| one.name.to_lowercase().contains(search))
            && state.is_none_or(|state| (state == "stopped") == one.stopped)
    });
    call.list_of(all, |one| show(&one))
}

pub(super) async fn one(call: Call) -> Done {
    let id = call.id("environment_id")?;
    let all = call.app.store.environments(call.project()?.id).await?;
    let found = all.iter().find(|one| one.id == id).ok_or_else(|| Failure::not_found("environment"))?;
    let job = call.app.store.job(found.last_job).await?;
    let mut value = show(found);
    let deployable = Jobs::new(&call.app).await?.show(&job).await?;
    value["last_deployment"] = json!({
        "id": job.id,
        "ref": deployable["ref"],
        "sha": deployable["pipeline"]["sha"],
        "status": "success",
        "created_at": deployable["created_at"],
        "updated_at": deployable["finished_at"],
        "user": deployable["user"],
        "deployable": deployable,
    });
    Ok(Reply::Json(value))
}
