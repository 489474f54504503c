//! The list of projects, one project, and badges.

use super::pipelines::row;
use super::visit::{Failure, Shown, Visit, html};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use harrier_database::{PageAt, PipelineFilter, ProjectView};
use harrier_pages::{ProjectPage, ProjectRow, coverage_badge, pipeline_badge, project_page, projects_page};

/// Most projects on the page; the search of the API finds the others.
const MOST: usize = 100;

async fn newest(
    visit: &Visit,
    project: &ProjectView,
    git_ref: &str,
) -> Result<Option<harrier_database::PipelineView>, Failure> {
    let filter = PipelineFilter { git_ref: Some(git_ref.to_owned()), ..PipelineFilter::default() };
    let found = visit.app.store.pipelines(project.id, filter, PageAt { number: 1, size: 1 }).await?;
    Ok(found.entries.into_iter().next())
}

pub(super) async fn list(visit: Visit) -> Shown {
    let user = visit.caller.user().map(|user| user.id);
    let at = PageAt { number: 1, size: MOST };
    let found = visit.app.store.projects(user, visit.caller.is_admin(), "", at).await?;
    let mut rows = Vec::new();
    for project in found.entries {
        let last = newest(&visit, &project, &project.default_branch).await?;
        rows.push(ProjectRow {
            status: last.as_ref().map(|pipeline| pipeline.status),
            warning: last.as_ref().is_some_and(|pipeline| pipeline.warnings),
            pipeline: last.as_ref().map(|pipeline| pipeline.id),
            active: Some(project.active_at),
            path: project.path,
        });
    }
    let mut page = visit.page();
    page.events = visit.session().map(|_| "/-/events".to_owned());
    let name = visit.caller.user().map_or("root", |user| user.username.as_str());
    let push_url = format!("{}/{name}/my-project.git", visit.app.settings.external_url);
    Ok(html(projects_page(&page, &rows, &push_url)))
}

pub(super) async fn one(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let found = visit
        .app
        .store
        .pipelines(project.id, PipelineFilter::default(), PageAt { number: 1, size: 20 })
        .await?;
    let names = visit.names().await?;
    let mut pipelines = Vec::new();
    for pipeline in found.entries {
        pipelines.push(row(&visit, pipeline, &names).await?);
    }
    let mut page = visit.page();
    page.events = Some(format!("/{}/-/events", project.path));
    let shown = ProjectPage {
        clone_url: format!("{}/{}.git", visit.app.settings.external_url, project.path),
        mirror: super::mirror::row(&visit, project.id, &names).await?,
        path: project.path,
        pipelines,
        may_run: visit.may_develop(),
    };
    Ok(html(project_page(&page, &shown)))
}

/// `badges/<ref>/pipeline.svg`, `badges/<ref>/coverage.svg`.
pub(super) async fn badge(visit: Visit) -> Shown {
    let (git_ref, name) = visit.part(0).rsplit_once('/').ok_or(Failure::NotFound)?;
    let last = newest(&visit, visit.project()?, git_ref).await?;
    let svg = match name {
        "pipeline.svg" => {
            pipeline_badge(last.as_ref().map(|p| p.status), last.as_ref().is_some_and(|p| p.warnings))
        }
        "coverage.svg" => {
            let coverage = match &last {
                Some(pipeline) => {
                    super::pipelines::coverage(&visit.app.store.jobs(pipeline.id, false).await?)
                }
                None => None,
            };
            coverage_badge(coverage)
        }
        _ => return Err(Failure::NotFound),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, svg).into_response())
}
