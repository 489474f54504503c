//! Runners as people see them: made, changed, given to projects, removed. What runners themselves ask is in `runner_api`.

use super::call::{Call, Done, Failure, Reply};
use super::entities::{self, Jobs, time};
use crate::answer::Refusal;
use crate::time_text::iso;
use harrier_database::{
    AccessLevel, JobFilter, NewRunner, Page, Reach, Registers, RunnerEdit, RunnerView, TokenKind,
};
use harrier_pipeline::Status;
use serde_json::json;

/// The list, narrowed as the request says.
fn listed(call: &Call, mut all: Vec<RunnerView>) -> Done {
    let kind = call.word("type", &["instance_type", "group_type", "project_type"])?;
    let status =
        call.word("status", &["online", "offline", "stale", "never_contacted", "active", "paused"])?;
    let paused = call.flag("paused")?;
    let tags = call.list("tag_list").unwrap_or_default();
    all.retain(|one| {
        kind.is_none_or(|kind| one.kind() == kind)
            && paused.is_none_or(|paused| one.offer.paused == paused)
            && tags.iter().all(|tag| one.offer.tags.contains(tag))
            && match status {
                None => true,
                Some("active") => !one.offer.paused,
                Some("paused") => one.offer.paused,
                Some(status) => entities::runner_status(&call.app, one) == status,
            }
    });
    call.list_of(all, |one| entities::runner(&call.app, &one))
}

/// What the caller is to a runner: administrators own all, others what their projects give them.
async fn level(call: &Call, runner: &RunnerView) -> Result<Option<AccessLevel>, Failure> {
    if call.caller.is_admin() {
        return Ok(Some(AccessLevel::Owner));
    }
    let user = call.user()?.id;
    let mut least = None;
    let mut most = None;
    if let Reach::Projects(projects) = &runner.offer.reach {
        for (at, project) in projects.iter().enumerate() {
            let level = call.app.store.access(*project, user).await?;
            most = most.max(level);
            least = if at == 0 { level } else { least.min(level) };
        }
    }
    // To change it one needs the right in all of its projects, to see it in one.
    let change = least.filter(|level| *level >= AccessLevel::Maintainer);
    Ok(change.or(most.filter(|level| *level >= AccessLevel::Maintainer).map(|_| AccessLevel::Reporter)))
}

async fn seen(call: &Call) -> Result<RunnerView, Failure> {
    let found = call.app.store.runner(call.id("runner_id")?).await?;
    match level(call, &found).await? {
        Some(_) => Ok(found),
        None => Err(Failure::forbidden()),
    }
}

async fn own(call: &Call) -> Result<RunnerView, Failure> {
    let found = call.app.store.runner(call.id("runner_id")?).await?;
    match level(call, &found).await? {
        Some(level) if level >= AccessLevel::Maintainer => Ok(found),
        Some(_) | None => Err(Failure::forbidden()),
    }
}

async fn own_list(call: &Call) -> Result<Vec<RunnerView>, Failure> {
    let mut out = Vec::new();
    for runner in call.app.store.runners(None).await? {
        if level(call, &runner).await?.is_some() {
            out.push(runner);
        }
    }
    Ok(out)
}

pub(super) async fn own_page(call: Call) -> Done {
    let found = own_list(&call).await?;
    listed(&call, found)
}

pub(super) async fn all(call: Call) -> Done {
    let found = call.app.store.runners(None).await?;
    listed(&call, found)
}

pub(super) async fn of_project(call: Call) -> Done {
    let found = call.app.store.runners(Some(call.project()?.id)).await?;
    listed(&call, found)
}

pub(super) async fn one(call: Call) -> Done {
    let found = seen(&call).await?;
    Ok(Reply::Json(entities::whole_runner(&call, &found).await?))
}

fn protected_only(call: &Call) -> Result<Option<bool>, Failure> {
    let word = call.word("access_level", &["not_protected", "ref_protected"])?;
    Ok(word.map(|word| word == "ref_protected"))
}

pub(super) async fn create(call: Call) -> Done {
    call.required("runner_type")?;
    let kind = call.word("runner_type", &["instance_type", "project_type"])?;
    let projects = if kind == Some("instance_type") {
        if !call.caller.is_admin() {
            return Err(Failure::forbidden());
        }
        None
    } else {
        let id = call
            .number("project_id")?
            .ok_or_else(|| Failure::Parameter("project_id is missing".to_owned()))?;
        let project = call.app.store.project(id).await?;
        call.caller.need_level(&call.app, &project, AccessLevel::Maintainer).await?;
        Some(vec![id])
    };
    let (tags, run_untagged) =
        (call.list("tag_list").unwrap_or_default(), call.flag("run_untagged")?.unwrap_or(true));
    if tags.is_empty() && !run_untagged {
        return Err(Failure::invalid(
            "tags_list",
            "can not be empty when runner is not allowed to pick untagged jobs",
        ));
    }
    let new = NewRunner {
        projects,
        description: call.text("description").unwrap_or_default(),
        maintenance_note: call.text("maintenance_note").unwrap_or_default(),
        tags,
        run_untagged,
        locked: call.flag("locked")?.unwrap_or(false),
        protected_only: protected_only(&call)?.unwrap_or(false),
        maximum_timeout: timeout(&call)?,
        paused: call.flag("paused")?.unwrap_or(false),
        created_by: Some(call.user()?.id),
        token_expires_at: None,
    };
    let (made, token) = call.app.store.create_runner(new, TokenKind::Runner, call.now).await?;
    Ok(Reply::Json(
        json!({ "id": made.id, "token": token.expose(), "token_expires_at": time(made.token_expires_at) }),
    ))
}

fn timeout(call: &Call) -> Result<Option<i64>, Failure> {
    match call.number("maximum_timeout")? {
        Some(seconds) if seconds != 0 && seconds < 600 => {
            Err(Failure::invalid("maximum_timeout", "needs to be at least 10 minutes"))
        }
        other => Ok(other),
    }
}

pub(super) async fn edit(call: Call) -> Done {
    let was = own(&call).await?;
    let active = call.flag("active")?;
    let edit = RunnerEdit {
        description: call.text("description"),
        maintenance_note: call.text("maintenance_note"),
        tags: call.list("tag_list"),
        run_untagged: call.flag("run_untagged")?,
        locked: call.flag("locked")?,
        protected_only: protected_only(&call)?,
        maximum_timeout: timeout(&call)?,
        paused: call.flag("paused")?.or(active.map(|active| !active)),
    };
    let tags = edit.tags.as_ref().unwrap_or(&was.offer.tags);
    if tags.is_empty() && !edit.run_untagged.unwrap_or(was.offer.run_untagged) {
        return Err(Failure::invalid(
            "tags_list",
            "can not be empty when runner is not allowed to pick untagged jobs",
        ));
    }
    let changed = call.app.store.edit_runner(was.id, edit).await?;
    Ok(Reply::Json(entities::whole_runner(&call, &changed).await?))
}

pub(super) async fn delete(call: Call) -> Done {
    let found = own(&call).await?;
    call.app.store.delete_runner(found.id).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn jobs(call: Call) -> Done {
    let found = seen(&call).await?;
    let status =
        call.filled("status").map(|word| Status::from_word(&word).ok_or_else(|| Failure::value("status")));
    let filter = JobFilter {
        runner: Some(found.id),
        statuses: status.transpose()?.into_iter().collect(),
        ..JobFilter::default()
    };
    if !call.caller.is_admin() {
        // An administrator sees all; others what their projects had of it.
        let at = harrier_database::PageAt { number: 1, size: 10_000 };
        let user = call.user()?.id;
        let mut kept = Vec::new();
        for job in call.app.store.find_jobs(filter, at).await?.entries {
            if call.app.store.access(job.project, user).await?.is_some() {
                kept.push(job);
            }
        }
        let shown = Jobs::new(&call.app).await?.list(&kept).await?;
        return call.list_of(shown, |one| one);
    }
    let page = call.app.store.find_jobs(filter, call.page()?).await?;
    let entries = Jobs::new(&call.app).await?.list(&page.entries).await?;
    Ok(Reply::List(Page { entries, total: page.total }))
}

pub(super) async fn managers(call: Call) -> Done {
    let found = seen(&call).await?;
    let all = call.app.store.managers(Some(found.id)).await?;
    let shown = all.into_iter().map(|one| {
        json!({
            "id": one.id,
            "system_id": one.system_id,
            "version": one.info.version,
            "revision": one.info.revision,
            "platform": one.info.platform,
            "architecture": one.info.architecture,
            "created_at": iso(one.created_at),
            "contacted_at": iso(one.contacted_at),
            "ip_address": one.address,
            "status": if one.contacted_at >= call.now - crate::web::OFFLINE { "online" } else { "offline" },
        })
    });
    Ok(Reply::Json(shown.collect()))
}

pub(super) async fn reset_token(call: Call) -> Done {
    let found = own(&call).await?;
    let (changed, token) = call.app.store.reset_runner_token(found.id, None).await?;
    Ok(Reply::Json(json!({ "token": token.expose(), "token_expires_at": time(changed.token_expires_at) })))
}

pub(super) async fn reset_registration(call: Call) -> Done {
    let whom = match &call.project {
        Some((project, _)) => Registers::Project(project.id),
        None => Registers::Instance,
    };
    let token = call.app.store.reset_registration_token(whom, call.now).await?;
    Ok(Reply::Json(json!({ "token": token.expose(), "token_expires_at": null })))
}

pub(super) async fn enable(call: Call) -> Done {
    let id =
        call.number("runner_id")?.ok_or_else(|| Failure::Parameter("runner_id is missing".to_owned()))?;
    let found = call.app.store.runner(id).await?;
    let projects = match (&found.offer.reach, level(&call, &found).await?) {
        (Reach::Projects(projects), Some(_)) => projects,
        (Reach::Instance, _) | (_, None) => return Err(Failure::forbidden()),
    };
    let project = call.project()?.id;
    if found.locked {
        return Err(Refusal::forbidden("Runner is locked").into());
    }
    if projects.contains(&project) {
        return Err(Failure::invalid("runner_id", "has already been taken"));
    }
    let given = call.app.store.set_runner_project(found.id, project, true).await?;
    Ok(Reply::Json(entities::runner(&call.app, &given)))
}

pub(super) async fn disable(call: Call) -> Done {
    let found = call.app.store.runner(call.id("runner_id")?).await?;
    let project = call.project()?.id;
    match &found.offer.reach {
        Reach::Projects(projects) if projects.contains(&project) => {
            if projects.len() == 1 {
                let why = "Only one project associated with the runner. Please remove the runner instead";
                return Err(Refusal::forbidden(why).into());
            }
        }
        Reach::Projects(_) | Reach::Instance => return Err(Failure::not_found("runner")),
    }
    call.app.store.set_runner_project(found.id, project, false).await?;
    Ok(Reply::Nothing)
}
