//! Namespaces and groups: what stands before the last part of projects' paths. Groups have variables, which administrators set,
//! and no members: who sees one is who sees a project in it.

use super::call::{Call, Done, Failure, Reply};
use super::projects;
use crate::project_path::ProjectPath;
use harrier_database::{NamespaceView, PageAt};
use serde_json::{Value, json};

/// Those the caller may see.
async fn seen(call: &Call) -> Result<Vec<NamespaceView>, Failure> {
    let mut all = call.app.store.namespaces().await?;
    if call.caller.is_admin() {
        return Ok(all);
    }
    let user = call.caller.user();
    let at = PageAt { number: 1, size: projects::MOST };
    let found = call.app.store.projects(user.map(|user| user.id), false, "", at).await?;
    all.retain(|space| {
        let below = format!("{}/", space.path);
        user.is_some_and(|user| user.username == space.path)
            || found.entries.iter().any(|project| project.path.starts_with(&below))
    });
    Ok(all)
}

fn parent(all: &[NamespaceView], one: &NamespaceView) -> Option<i64> {
    let (above, _) = one.path.rsplit_once('/')?;
    all.iter().find(|space| space.path == above).map(|space| space.id)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn show(call: &Call, all: &[NamespaceView], one: &NamespaceView) -> Value {
    json!({
        "id": one.id,
        "name": last(&one.path),
        "path": last(&one.path),
        "kind": if one.of_user { "user" } else { "group" },
        "full_path": one.path,
        "parent_id": parent(all, one),
        "avatar_url": null,
        "web_url": format!("{}/{}", call.app.settings.external_url, one.path),
    })
}

fn show_group(call: &Call, all: &[NamespaceView], one: &NamespaceView) -> Value {
    json!({
        "id": one.id,
        "name": last(&one.path),
        "path": last(&one.path),
        "full_name": one.path.replace('/', " / "),
        "full_path": one.path,
        "description": "",
        "visibility": "private",
        "parent_id": parent(all, one),
        "avatar_url": null,
        "web_url": format!("{}/{}", call.app.settings.external_url, one.path),
    })
}

fn fits(call: &Call, one: &NamespaceView) -> bool {
    call.filled("search").is_none_or(|search| one.path.to_lowercase().contains(&search.to_lowercase()))
}

fn find<'a>(
    call: &Call,
    all: &'a [NamespaceView],
    part: &str,
    what: &str,
) -> Result<&'a NamespaceView, Failure> {
    let wanted = call.part(part);
    let is = |one: &&NamespaceView| match wanted.parse::<i64>() {
        Ok(id) => one.id == id,
        Err(_) => one.path == wanted,
    };
    all.iter().find(is).ok_or_else(|| Failure::not_found(what))
}

pub(super) async fn list(call: Call) -> Done {
    let all = seen(&call).await?;
    let fitting: Vec<&NamespaceView> = all.iter().filter(|one| fits(&call, one)).collect();
    call.list_of(fitting, |one| show(&call, &all, one))
}

pub(super) async fn one(call: Call) -> Done {
    let all = seen(&call).await?;
    let found = find(&call, &all, "namespace_id", "namespace")?;
    Ok(Reply::Json(show(&call, &all, found)))
}

pub(super) async fn groups(call: Call) -> Done {
    let all = seen(&call).await?;
    let fitting: Vec<&NamespaceView> = all.iter().filter(|one| !one.of_user && fits(&call, one)).collect();
    call.list_of(fitting, |one| show_group(&call, &all, one))
}

fn one_group<'a>(call: &Call, all: &'a [NamespaceView]) -> Result<&'a NamespaceView, Failure> {
    let found = find(call, all, "group_id", "group")?;
    if found.of_user { Err(Failure::not_found("group")) } else { Ok(found) }
}

/// The number of the group of a route.
pub(super) async fn group_id(call: &Call) -> Result<i64, Failure> {
    let all = seen(call).await?;
    Ok(one_group(call, &all)?.id)
}

pub(super) async fn group(call: Call) -> Done {
    let all = seen(&call).await?;
    let found = one_group(&call, &all)?;
    Ok(Reply::Json(show_group(&call, &all, found)))
}

pub(super) async fn projects(call: Call) -> Done {
    let all = seen(&call).await?;
    let found = one_group(&call, &all)?.path.clone();
    let deep = call.flag("include_subgroups")? == Some(true);
    projects::listed(&call, |one| {
        let rest = one.path.strip_prefix(&found).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| deep || !rest.contains('/'))
    })
    .await
}

pub(super) async fn create(call: Call) -> Done {
    let path = call.filled("path").map_or_else(|| call.required("name"), Ok)?;
    let path = match call.number("parent_id")? {
        Some(id) => {
            let parent = call.app.store.namespace(id).await.map_err(|_| Failure::not_found("group"))?;
            format!("{parent}/{path}")
        }
        None => path,
    };
    // Whatever may stand before a project.
    ProjectPath::parse(&format!("{path}/x")).map_err(|why| Failure::invalid("path", &why))?;
    let taken = call.app.store.namespaces().await?.iter().any(|one| one.path == path);
    if taken || call.app.store.user_named(&path).await?.is_some() {
        return Err(Failure::invalid("path", "has already been taken"));
    }
    let made = call.app.store.ensure_namespace(&path).await?;
    let all = call.app.store.namespaces().await?;
    Ok(Reply::Json(show_group(&call, &all, &made)))
}
