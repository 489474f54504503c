//! What administrators see: all runners and all users.

use super::pipelines::OFFLINE;
use super::visit::{Failure, Shown, Visit, go, html};
use crate::password;
use harrier_database::{
    JobFilter, NewRunner, NewUser, PageAt, Reach, RunnerEdit, RunnerView, TokenKind, UserEdit,
};
use harrier_pages::{Flash, RunnerJob, RunnerRow, RunnersPage, UserRow, runners_page, users_page};
use harrier_pipeline::Status;

/// Rows of runners, with what they do now.
pub(super) async fn rows(visit: &Visit, runners: Vec<RunnerView>) -> Result<Vec<RunnerRow>, Failure> {
    let store = &visit.app.store;
    let managers = store.managers(None).await?;
    let mut rows = Vec::new();
    for runner in runners {
        let filter = JobFilter {
            runner: Some(runner.id),
            statuses: vec![Status::Running, Status::Canceling],
            ..JobFilter::default()
        };
        let mut jobs = Vec::new();
        for job in store.find_jobs(filter, PageAt { number: 1, size: 50 }).await?.entries {
            // On a project's page only its own jobs are named.
            if visit.project.as_ref().is_none_or(|(project, _)| project.id == job.project) {
                let project = store.project(job.project).await?.path;
                jobs.push(RunnerJob { project, id: job.id, name: job.name });
            }
        }
        let own = managers.iter().filter(|manager| manager.runner == runner.id);
        rows.push(RunnerRow {
            id: runner.id,
            short_token: runner.hint,
            description: runner.description,
            tags: runner.offer.tags,
            run_untagged: runner.offer.run_untagged,
            protected_only: runner.offer.protected_only,
            paused: runner.offer.paused,
            online: runner.contacted_at.is_some_and(|at| at >= visit.now - OFFLINE),
            contacted: runner.contacted_at,
            managers: own
                .map(|manager| {
                    let info = &manager.info;
                    format!(
                        "{} {} {}/{} {}",
                        info.name, info.version, info.platform, info.architecture, info.executor
                    )
                })
                .collect(),
            jobs,
            instance: matches!(runner.offer.reach, Reach::Instance),
        });
    }
    Ok(rows)
}

/// A runner as the form describes it.
pub(super) fn from_form(visit: &Visit, projects: Option<Vec<i64>>) -> Result<NewRunner, Failure> {
    let tags: Vec<String> = visit
        .sent("tags")
        .split(',')
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect();
    let run_untagged = visit.ticked("run_untagged");
    if tags.is_empty() && !run_untagged {
        return Err(Failure::Bad("a runner needs tags, or must take jobs without tags".to_owned()));
    }
    Ok(NewRunner {
        projects,
        description: visit.sent("description").trim().to_owned(),
        maintenance_note: String::new(),
        tags,
        run_untagged,
        locked: false,
        protected_only: visit.ticked("protected_only"),
        maximum_timeout: None,
        paused: false,
        created_by: visit.caller.user().map(|user| user.id),
        token_expires_at: None,
    })
}

/// Pauses, resumes or removes a runner.
pub(super) async fn change(visit: &Visit, id: i64, deed: &str) -> Result<(), Failure> {
    let pause = |paused| RunnerEdit { paused: Some(paused), ..RunnerEdit::default() };
    match deed {
        "pause" => visit.app.store.edit_runner(id, pause(true)).await.map(|_| ())?,
        "resume" => visit.app.store.edit_runner(id, pause(false)).await.map(|_| ())?,
        "delete" => visit.app.store.delete_runner(id).await?,
        _ => return Err(Failure::NotFound),
    }
    Ok(())
}

async fn shown(visit: &Visit, flash: Option<Flash>) -> Shown {
    let all = visit.app.store.runners(None).await?;
    let mut page = visit.page();
    page.flash = flash.or(page.flash);
    page.events = Some("/-/events".to_owned());
    let shown =
        RunnersPage { at: "/-/admin/runners".to_owned(), rows: rows(visit, all).await?, may_manage: true };
    Ok(html(runners_page(&page, &shown)))
}

pub(super) async fn runners(visit: Visit) -> Shown {
    shown(&visit, None).await
}

pub(super) async fn add_runner(visit: Visit) -> Shown {
    let (_, token) =
        visit.app.store.create_runner(from_form(&visit, None)?, TokenKind::Runner, visit.now).await?;
    shown(&visit, Some(Flash::Token(token.expose().to_owned()))).await
}

pub(super) async fn change_runner(visit: Visit) -> Shown {
    change(&visit, visit.id(0)?, visit.part(1)).await?;
    Ok(go("/-/admin/runners"))
}

pub(super) async fn users(visit: Visit) -> Shown {
    let all = visit.app.store.users().await?;
    let rows: Vec<UserRow> = all
        .into_iter()
        .map(|user| UserRow {
            id: user.id,
            username: user.username,
            name: user.name,
            admin: user.admin,
            blocked: user.blocked,
        })
        .collect();
    Ok(html(users_page(&visit.page(), &rows)))
}

pub(super) async fn add_user(visit: Visit) -> Shown {
    let username = visit.required("username")?;
    crate::project_path::ProjectPath::parse(&format!("{username}/x")).map_err(Failure::Bad)?;
    let hash =
        password::hash(visit.secret("password")).await.map_err(|error| Failure::Bad(error.to_string()))?;
    let name = Some(visit.sent("name").trim().to_owned()).filter(|name| !name.is_empty());
    let new = NewUser {
        name: name.unwrap_or_else(|| username.clone()),
        username,
        email: String::new(),
        password: Some(hash),
        admin: visit.ticked("admin"),
    };
    visit.app.store.create_user(new, visit.now).await?;
    Ok(go("/-/admin/users"))
}

pub(super) async fn change_user(visit: Visit) -> Shown {
    let id = visit.id(0)?;
    let blocked = match visit.part(1) {
        "block" => true,
        "unblock" => false,
        _ => return Err(Failure::NotFound),
    };
    if blocked && visit.user()?.id == id {
        return Err(Failure::Bad("you cannot block yourself".to_owned()));
    }
    visit.app.store.edit_user(id, UserEdit { blocked: Some(blocked), ..UserEdit::default() }).await?;
    Ok(go("/-/admin/users"))
}
