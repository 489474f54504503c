//! Environments: the list, one with its deployments; stopped and removed by a person.

use super::visit::{Failure, Shown, Visit, beside, go, html};
use harrier_database::{
    DatabaseError, DeploymentFilter, DeploymentView, EnvironmentFilter, EnvironmentState, EnvironmentView,
};
use harrier_pages::{
    DeploymentRow, EnvironmentLook, EnvironmentPage, EnvironmentRow, EnvironmentsPage, environment_page,
    environments_page,
};
use std::collections::HashMap;

/// Rows of a page.
const SIZE: usize = 30;

type Names = HashMap<i64, String>;

/// The environment of a route, if it is of its project.
async fn find(visit: &Visit) -> Result<EnvironmentView, Failure> {
    let found = visit.app.store.environment(visit.id(0)?).await?;
    if found.project == visit.project()?.id { Ok(found) } else { Err(Failure::NotFound) }
}

async fn deployment(visit: &Visit, one: &DeploymentView, names: &Names) -> Result<DeploymentRow, Failure> {
    let job = match one.job {
        Some(id) => match visit.app.store.job(id).await {
            Ok(job) => Some((job.id, job.name)),
            Err(DatabaseError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        },
        None => None,
    };
    Ok(DeploymentRow {
        iid: one.iid,
        status: one.status,
        git_ref: one.git_ref.clone(),
        sha: one.sha.clone(),
        job,
        user: one.user.and_then(|user| names.get(&user).cloned()),
        created: one.created_at,
        finished: one.finished_at,
    })
}

async fn row(visit: &Visit, one: &EnvironmentView, names: &Names) -> Result<EnvironmentRow, Failure> {
    let latest = match visit.app.store.latest_deployment(one.id).await? {
        Some(latest) => Some(deployment(visit, &latest, names).await?),
        None => None,
    };
    let available = one.state == EnvironmentState::Available;
    Ok(EnvironmentRow {
        id: one.id,
        name: one.name.clone(),
        url: one.external_url.clone(),
        tier: one.tier.clone(),
        state: match one.state {
            EnvironmentState::Available => EnvironmentLook::Available,
            EnvironmentState::Stopping => EnvironmentLook::Stopping,
            EnvironmentState::Stopped => EnvironmentLook::Stopped,
        },
        auto_stop: one.auto_stop_at.filter(|_| available),
        latest,
        may_stop: available && may_stop(visit, one).await?,
        may_delete: one.state == EnvironmentState::Stopped && visit.may_develop(),
    })
}

/// Whether the caller may run what stops it.
async fn may_stop(visit: &Visit, one: &EnvironmentView) -> Result<bool, Failure> {
    if !visit.may_develop() {
        return Ok(false);
    }
    for job in visit.app.store.stop_jobs(one.id).await? {
        if !visit.may_run(&visit.app.store.pipeline(job.pipeline).await?) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn list(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let (at, names) = (visit.page_at(SIZE), visit.names().await?);
    let found = visit.app.store.environments(project.id, EnvironmentFilter::default(), at).await?;
    let mut rows = Vec::new();
    for one in &found.entries {
        rows.push(row(&visit, one, &names).await?);
    }
    let beside = beside(at, found.total, &[]);
    let shown = EnvironmentsPage { project: project.path.clone(), rows, beside };
    let mut page = visit.page();
    page.events = Some(format!("/{}/-/events", project.path));
    Ok(html(environments_page(&page, &shown)))
}

pub(super) async fn one(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let (at, names, found) = (visit.page_at(SIZE), visit.names().await?, find(&visit).await?);
    let filter =
        DeploymentFilter { environment: Some(found.id), descending: true, ..DeploymentFilter::default() };
    let all = visit.app.store.deployments(project.id, filter, at).await?;
    let mut deployments = Vec::new();
    for one in &all.entries {
        deployments.push(deployment(&visit, one, &names).await?);
    }
    let shown = EnvironmentPage {
        environment: row(&visit, &found, &names).await?,
        description: found.description,
        deployments,
        beside: beside(at, all.total, &[]),
        project: project.path.clone(),
    };
    let mut page = visit.page();
    page.events = Some(format!("/{}/-/events", project.path));
    Ok(html(environment_page(&page, &shown)))
}

pub(super) async fn stop(visit: Visit) -> Shown {
    let found = find(&visit).await?;
    if !may_stop(&visit, &found).await? {
        return Err(Failure::Forbidden);
    }
    let user = visit.user()?.id;
    visit.app.store.stop_environment(found.id, Some(user), false, visit.now).await?;
    Ok(go(&format!("/{}/-/environments/{}", visit.project()?.path, found.id)))
}

pub(super) async fn delete(visit: Visit) -> Shown {
    let found = find(&visit).await?;
    visit.app.store.delete_environment(found.id).await?;
    Ok(go(&format!("/{}/-/environments", visit.project()?.path)))
}
