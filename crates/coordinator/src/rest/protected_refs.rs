//! Rules that protect branches and tags. They are settings of the project; what they mean is in `harrier_database::Protection`.

use super::call::{Call, Done, Failure, Reply};
use crate::answer::Refusal;
use axum::http::StatusCode;
use harrier_database::{AccessLevel, ProjectEdit, ProjectSettings, Protection};
use serde_json::{Value, json};

fn level_json(id: usize, level: Option<AccessLevel>) -> Value {
    let words = match level {
        None => "No one",
        Some(AccessLevel::Maintainer | AccessLevel::Owner) => "Maintainers",
        Some(_) => "Developers + Maintainers",
    };
    json!({
        "id": id,
        "access_level": level.map_or(0, AccessLevel::number),
        "access_level_description": words,
        "deploy_key_id": null,
        "user_id": null,
        "group_id": null,
    })
}

/// `number`: its place, which is its id as long as no other goes.
fn show_branch(number: usize, rule: &Protection) -> Value {
    json!({
        "id": number,
        "name": rule.name,
        "push_access_levels": [level_json(2 * number, rule.push)],
        "merge_access_levels": [level_json(2 * number + 1, rule.merge)],
        "unprotect_access_levels": [],
        "allow_force_push": rule.force,
        "code_owner_approval_required": false,
        "inherited": false,
    })
}

fn show_tag(number: usize, rule: &Protection) -> Value {
    json!({ "name": rule.name, "create_access_levels": [level_json(number, rule.push)] })
}

/// A level that a rule can have; 0 is nobody.
fn level(number: i64, name: &str) -> Result<Option<AccessLevel>, Failure> {
    match number {
        0 => Ok(None),
        30 => Ok(Some(AccessLevel::Developer)),
        40 => Ok(Some(AccessLevel::Maintainer)),
        _ => Err(Failure::value(name)),
    }
}

/// `push_access_level=40`, or `allowed_to_push=[{"access_level": 40}]`, of which the most generous counts.
fn asked(call: &Call, single: &str, list: &str) -> Result<Option<Option<AccessLevel>>, Failure> {
    let mut found = None;
    if let Some(number) = call.number(single)? {
        found = Some(level(number, single)?);
    }
    match call.given.get(list) {
        None | Some(Value::Null) => {}
        Some(Value::Array(all)) => {
            for one in all.iter().filter(|one| one["_destroy"] != true) {
                let number = match &one["access_level"] {
                    Value::Number(number) => number.as_i64(),
                    Value::String(text) => text.parse().ok(),
                    _ => None,
                };
                // Rules for single users, groups and keys are not there.
                let number = number.ok_or_else(|| Failure::value(list))?;
                let wanted = level(number, list)?;
                found = Some(found.map_or(wanted, |known: Option<AccessLevel>| match (known, wanted) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                }));
            }
        }
        Some(_) => return Err(Failure::value(list)),
    }
    Ok(found)
}

/// The place and the rule that a route names.
fn find(call: &Call, tags: bool) -> Result<(usize, Protection), Failure> {
    let all = call.project()?.protections(tags);
    let found = all.into_iter().enumerate().find(|(_, rule)| rule.name == call.part("name"));
    found.map(|(at, rule)| (at + 1, rule)).ok_or_else(|| Failure::not_found(""))
}

/// Writes the rules, with the default branch's own where it has one.
async fn keep(call: &Call, tags: bool, rules: Vec<Protection>) -> Result<(), Failure> {
    let project = call.project()?;
    let mut settings: ProjectSettings = project.settings.clone();
    if tags {
        settings.protected_tags = rules;
    } else {
        // From now on there is what the list says, the default branch's rule too.
        settings.default_branch_open = true;
        settings.protected_branches = rules;
    }
    let edit = ProjectEdit { settings: Some(settings), ..ProjectEdit::default() };
    call.app.store.edit_project(project.id, edit).await?;
    Ok(())
}

fn name(call: &Call) -> Result<String, Failure> {
    let name = call.required("name")?;
    let good = name.len() <= 255 && !name.chars().any(|c| c.is_control() || c == ' ');
    if good { Ok(name) } else { Err(Failure::invalid("name", "is invalid")) }
}

pub(super) async fn branches(call: Call) -> Done {
    let search = call.filled("search").map(|text| text.to_lowercase());
    let all: Vec<(usize, Protection)> = call.project()?.protections(false).into_iter().enumerate().collect();
    let fits = |name: &str| search.as_ref().is_none_or(|search| name.to_lowercase().contains(search));
    let all = all.into_iter().filter(|(_, rule)| fits(&rule.name)).collect();
    call.list_of(all, |(at, rule)| show_branch(at + 1, &rule))
}

pub(super) async fn branch(call: Call) -> Done {
    let (at, rule) = find(&call, false)?;
    Ok(Reply::Json(show_branch(at, &rule)))
}

pub(super) async fn protect_branch(call: Call) -> Done {
    let name = name(&call)?;
    let mut all = call.project()?.protections(false);
    if all.iter().any(|rule| rule.name == name) {
        let text = format!("Protected branch '{name}' already exists");
        return Err(Refusal::new(StatusCode::CONFLICT, text).into());
    }
    let plain = Protection::new(name);
    let rule = Protection {
        push: asked(&call, "push_access_level", "allowed_to_push")?.unwrap_or(plain.push),
        merge: asked(&call, "merge_access_level", "allowed_to_merge")?.unwrap_or(plain.merge),
        force: call.flag("allow_force_push")?.unwrap_or(false),
        ..plain
    };
    let shown = show_branch(all.len() + 1, &rule);
    all.push(rule);
    keep(&call, false, all).await?;
    Ok(Reply::Json(shown))
}

pub(super) async fn edit_branch(call: Call) -> Done {
    let (at, was) = find(&call, false)?;
    let rule = Protection {
        push: asked(&call, "push_access_level", "allowed_to_push")?.unwrap_or(was.push),
        merge: asked(&call, "merge_access_level", "allowed_to_merge")?.unwrap_or(was.merge),
        force: call.flag("allow_force_push")?.unwrap_or(was.force),
        ..was
    };
    let shown = show_branch(at, &rule);
    let mut all = call.project()?.protections(false);
    all[at - 1] = rule;
    keep(&call, false, all).await?;
    Ok(Reply::Json(shown))
}

async fn open(call: &Call, tags: bool) -> Done {
    let (at, _) = find(call, tags)?;
    let mut all = call.project()?.protections(tags);
    all.remove(at - 1);
    keep(call, tags, all).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn open_branch(call: Call) -> Done {
    open(&call, false).await
}

pub(super) async fn tags(call: Call) -> Done {
    let all: Vec<(usize, Protection)> = call.project()?.protections(true).into_iter().enumerate().collect();
    call.list_of(all, |(at, rule)| show_tag(at + 1, &rule))
}

pub(super) async fn tag(call: Call) -> Done {
    let (at, rule) = find(&call, true)?;
    Ok(Reply::Json(show_tag(at, &rule)))
}

pub(super) async fn protect_tag(call: Call) -> Done {
    let name = name(&call)?;
    let mut all = call.project()?.protections(true);
    if all.iter().any(|rule| rule.name == name) {
        let message = json!({ "name": ["has already been taken"] });
        return Err(Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, message, headers: Vec::new() }.into());
    }
    let plain = Protection::new(name);
    let push = asked(&call, "create_access_level", "allowed_to_create")?.unwrap_or(plain.push);
    let rule = Protection { push, merge: push, ..plain };
    let shown = show_tag(all.len() + 1, &rule);
    all.push(rule);
    keep(&call, true, all).await?;
    Ok(Reply::Json(shown))
}

pub(super) async fn open_tag(call: Call) -> Done {
    open(&call, true).await
}
