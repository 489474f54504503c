//! Projects: listed, shown, made, changed, removed.

use super::call::{Call, Done, Failure, Reply};
use super::entities;
use super::mirror::{self, OfProject};
use crate::answer::Refusal;
use crate::auth::Caller;
use crate::project_making::may_make;
use crate::project_path::ProjectPath;
use axum::http::StatusCode;
use harrier_database::{
    AccessLevel, DatabaseError, NewProject, PageAt, ProjectEdit, ProjectSettings, ProjectView,
};
use serde_json::{Value, json};

/// Most projects that are looked through when a list is filtered in ways the tables do not know.
pub(super) const MOST: usize = 10_000;

/// Projects that the caller may see and that `keep` keeps, narrowed and ordered as the request says.
pub(super) async fn listed(call: &Call, keep: impl Fn(&ProjectView) -> bool) -> Done {
    const ORDERS: [&str; 8] =
        ["id", "name", "path", "created_at", "updated_at", "last_activity_at", "similarity", "star_count"];
    let user = call.caller.user().map(|user| user.id);
    let visibility = call.word("visibility", &["private", "internal", "public"])?;
    let (above, below) = (call.number("id_after")?, call.number("id_before")?);
    let order = call.word("order_by", &ORDERS)?.unwrap_or("created_at");
    let (keyset, ascending) = (call.keyset()?, call.word("sort", &["asc", "desc"])? == Some("asc"));
    let simple_ones = call.flag("simple")? == Some(true);
    let show = |one: ProjectView| match simple_ones {
        true => simple(call, &one),
        false => entities::project(&call.app, &one),
    };
    let search = call.text("search").unwrap_or_default();
    let at = PageAt { number: 1, size: MOST };
    let mut all = call.app.store.projects(user, call.caller.is_admin(), &search, at).await?.entries;
    if let Caller::Project(token) = &call.caller
        && let Some(id) = token.project
        && !all.iter().any(|one| one.id == id)
    {
        // Its own is not open to all, yet it is the token's.
        all.extend(call.app.store.project(id).await.ok().filter(|one| one.path.contains(&search)));
    }
    all.retain(|one| {
        visibility.is_none_or(|wanted| one.visibility == wanted)
            && above.is_none_or(|above| one.id > above)
            && below.is_none_or(|below| one.id < below)
            && keep(one)
    });
    match order {
        "name" => all.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id))),
        "path" => all.sort_by(|a, b| (&a.path, a.id).cmp(&(&b.path, b.id))),
        "last_activity_at" | "updated_at" => all.sort_by_key(|one| (one.active_at, one.id)),
        _ => all.sort_by_key(|one| one.id),
    }
    if !ascending {
        all.reverse();
    }
    let Some(keyset) = keyset else { return call.list_of(all, show) };
    all.retain(|one| keyset.behind.is_none_or(|id| if keyset.ascending { one.id > id } else { one.id < id }));
    let (shown, next) = keyset.cut(all, |one| one.id);
    Ok(Reply::Keyset(shown.into_iter().map(show).collect(), next))
}

fn simple(call: &Call, one: &ProjectView) -> Value {
    const KEPT: [&str; 14] = [
        "id",
        "description",
        "name",
        "name_with_namespace",
        "path",
        "path_with_namespace",
        "created_at",
        "last_activity_at",
        "default_branch",
        "topics",
        "http_url_to_repo",
        "web_url",
        "visibility",
        "namespace",
    ];
    let mut value = entities::project(&call.app, one);
    if let Value::Object(members) = &mut value {
        members.retain(|name, _| KEPT.contains(&name.as_str()));
    }
    value
}

pub(super) async fn list(call: Call) -> Done {
    let least = match call.number("min_access_level")? {
        Some(number) => {
            Some(AccessLevel::from_number(number).ok_or_else(|| Failure::value("min_access_level"))?)
        }
        None if call.flag("owned")? == Some(true) => Some(AccessLevel::Owner),
        None if call.flag("membership")? == Some(true) => Some(AccessLevel::Guest),
        None => None,
    };
    let Some(least) = least else { return listed(&call, |_| true).await };
    let mut own = Vec::new();
    if let Caller::Project(token) = &call.caller {
        own.extend(token.project);
    } else {
        let user = call.user()?.id;
        let found = call.app.store.projects(Some(user), true, "", PageAt { number: 1, size: MOST }).await?;
        for project in found.entries {
            if call.app.store.access(project.id, user).await? >= Some(least) {
                own.push(project.id);
            }
        }
    }
    listed(&call, |one| own.contains(&one.id)).await
}

pub(super) async fn of_user(call: Call) -> Done {
    let wanted = call.part("user_id");
    let user = match wanted.parse::<i64>() {
        Ok(id) => call.app.store.user(id).await?,
        Err(_) => {
            let found = call.app.store.user_named(wanted).await?;
            found.map(|(user, _)| user).ok_or_else(|| Failure::not_found("user"))?
        }
    };
    let below = format!("{}/", user.username);
    listed(&call, |one| one.path.starts_with(&below)).await
}

async fn whole(call: &Call, one: &ProjectView, level: Option<AccessLevel>) -> Done {
    let mut value = entities::project(&call.app, one);
    let access = level.map(|level| json!({ "access_level": level.number(), "notification_level": 3 }));
    value["permissions"] = json!({ "project_access": access, "group_access": null });
    let repository = call.app.repository(one.id);
    let refs = crate::make_pipeline::waiting(move || repository.refs()).await?;
    let of = call.app.store.mirror(one.id).await?;
    value["mirror"] = of.as_ref().is_some_and(|of| of.enabled).into();
    if let Some(of) = of {
        // Who may not push need not know from where it comes.
        if level >= Some(AccessLevel::Maintainer) {
            value["import_url"] = of.url.clone().into();
        }
        value["import_status"] = mirror::status(&of).into();
        value["mirror_trigger_builds"] = of.trigger_builds.into();
        value["mirror_user_id"] = of.user.into();
    }
    value["empty_repo"] = refs.map_or(true, |refs| refs.is_empty()).into();
    Ok(Reply::Json(value))
}

pub(super) async fn one(call: Call) -> Done {
    whole(&call, call.project()?, call.level()).await
}

/// The settings that a request changes.
fn settings(call: &Call, mut settings: ProjectSettings) -> Result<ProjectSettings, Failure> {
    if let Some(path) = call.text("ci_config_path") {
        settings.ci_config_path = path;
    }
    if let Some(seconds) = call.number("build_timeout")? {
        if !(600..=2_629_746).contains(&seconds) {
            return Err(Failure::invalid("build_timeout", "needs to be between 10 minutes and 1 month"));
        }
        settings.build_timeout = seconds;
    }
    if let Some(depth) = call.number("ci_default_git_depth")? {
        settings.git_depth = u32::try_from(depth)
            .ok()
            .filter(|depth| *depth <= 1000)
            .ok_or_else(|| Failure::invalid("ci_default_git_depth", "must be between 0 and 1000"))?;
    }
    if let Some(word) = call.word("build_git_strategy", &["fetch", "clone"])? {
        settings.git_fetch = word == "fetch";
    }
    if let Some(word) = call.word("auto_cancel_pending_pipelines", &["enabled", "disabled"])? {
        settings.auto_cancel = word == "enabled";
    }
    for (name, place) in [
        ("ci_separated_caches", &mut settings.separate_caches),
        ("shared_runners_enabled", &mut settings.shared_runners),
        ("keep_latest_artifact", &mut settings.keep_latest_artifacts),
        ("public_jobs", &mut settings.public_jobs),
    ] {
        if let Some(yes) = call.flag(name)? {
            *place = yes;
        }
    }
    Ok(settings)
}

pub(super) async fn create(call: Call) -> Done {
    let user = call.user()?.clone();
    let (name, path) = (call.filled("name"), call.filled("path"));
    let last = match (&name, &path) {
        (_, Some(path)) => path.clone(),
        (Some(name), None) => slug(name),
        (None, None) => {
            return Err(Failure::Parameter(
                "name, path are missing, at least one parameter must be provided".to_owned(),
            ));
        }
    };
    let space = match call.number("namespace_id")? {
        Some(id) => {
            call.app.store.namespace(id).await.map_err(|_| Failure::invalid("namespace", "is not valid"))?
        }
        None => user.username.clone(),
    };
    let path =
        ProjectPath::parse(&format!("{space}/{last}")).map_err(|why| Failure::invalid("path", &why))?;
    if !may_make(&user, &path) {
        return Err(Failure::invalid("namespace", "is not valid"));
    }
    let new = NewProject {
        path: path.as_str().to_owned(),
        name: name.unwrap_or_default(),
        description: call.text("description").unwrap_or_default(),
        visibility: call
            .word("visibility", &["private", "internal", "public"])?
            .unwrap_or("private")
            .to_owned(),
        default_branch: call.filled("default_branch").unwrap_or_default(),
        owner: Some(user.id),
        settings: settings(&call, ProjectSettings::default())?,
    };
    let of = OfProject::of(&call)?;
    if call.app.store.project_at(path.as_str()).await?.is_some() {
        let message = json!({ "name": ["has already been taken"], "path": ["has already been taken"] });
        return Err(Refusal { status: StatusCode::BAD_REQUEST, message, headers: Vec::new() }.into());
    }
    let made = call.app.create_project(new).await?;
    of.carry_out(&call, &made).await?;
    whole(&call, &made, Some(AccessLevel::Owner)).await
}

/// A name as a part of a path.
fn slug(name: &str) -> String {
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c.to_ascii_lowercase() } else { '-' }
    };
    let plain: String = name.trim().chars().map(kept).collect();
    plain.trim_matches(['-', '.']).to_owned()
}

pub(super) async fn edit(call: Call) -> Done {
    let project = call.project()?;
    let edit = ProjectEdit {
        name: call.filled("name"),
        description: call.text("description"),
        visibility: call.word("visibility", &["private", "internal", "public"])?.map(str::to_owned),
        default_branch: call.filled("default_branch"),
        settings: Some(settings(&call, project.settings.clone())?),
    };
    let of = OfProject::of(&call)?;
    if edit.visibility.is_some() && call.level() < Some(AccessLevel::Owner) {
        return Err(Failure::forbidden());
    }
    let branch = edit.default_branch.clone();
    if let Some(branch) = branch {
        let repository = call.app.repository(project.id);
        if !repository.has_ref(&format!("refs/heads/{branch}")) {
            return Err(Failure::invalid(
                "base",
                &format!("Could not change HEAD: branch '{branch}' does not exist"),
            ));
        }
        crate::make_pipeline::waiting(move || repository.set_head(&branch)).await??;
    }
    let changed = call.app.store.edit_project(project.id, edit).await?;
    of.carry_out(&call, &changed).await?;
    whole(&call, &changed, call.level()).await
}

pub(super) async fn delete(call: Call) -> Done {
    let project = call.project()?;
    let jobs = call.app.store.delete_project(project.id).await?;
    for job in jobs {
        call.app.remove_job_files(job);
    }
    let repository = call.app.data.repository(project.id);
    match tokio::fs::remove_dir_all(&repository).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(project = project.path, error = %error, "the repository of a removed project stays");
        }
        Ok(()) | Err(_) => {}
    }
    Ok(Reply::Json(json!({ "message": "202 Accepted" })))
}

/// A job or pipeline is of the route's project.
pub(super) fn same_project(call: &Call, project: i64, what: &'static str) -> Result<(), Failure> {
    if call.project()?.id == project { Ok(()) } else { Err(DatabaseError::NotFound(what).into()) }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn names_become_paths() {
        for (name, path) in [("My Project", "my-project"), (" a.b_c ", "a.b_c"), ("-x-", "x")] {
            assert_eq!(slug(name), path);
        }
    }
}
