//! Merge requests: the list, one with its pipelines; opened, closed, run by a person.

use super::pipelines;
use super::visit::{Failure, Shown, Visit, beside, go, html};
use crate::make_pipeline::{Made, MakeError, waiting};
use crate::merge_requests::MergeRequestError;
use harrier_database::{
    MergeRequestEdit, MergeRequestFilter, MergeRequestState, MergeRequestView, NewMergeRequest, PageAt,
    PipelineFilter, PipelineView,
};
use harrier_pages::{
    MergeRequestLook, MergeRequestPage, MergeRequestRow, MergeRequestsPage, merge_request_page,
    merge_requests_page,
};
use std::collections::HashMap;

/// Rows of a page.
const SIZE: usize = 30;
/// Branches in the form; who has more uses a push option.
const MOST_BRANCHES: usize = 1000;

impl From<MergeRequestError> for Failure {
    fn from(error: MergeRequestError) -> Self {
        match error {
            MergeRequestError::Failed(MakeError::Database(error)) => error.into(),
            MergeRequestError::Failed(error) => crate::answer::Refusal::from(error).into(),
            other @ (MergeRequestError::NoBranch(_)
            | MergeRequestError::SameBranch(_)
            | MergeRequestError::Title
            | MergeRequestError::Mirror) => Self::Bad(other.to_string()),
        }
    }
}

/// The merge request of a route.
async fn find(visit: &Visit) -> Result<MergeRequestView, Failure> {
    Ok(visit.app.store.merge_request(visit.project()?.id, visit.id(0)?).await?)
}

async fn its_pipelines(
    visit: &Visit,
    one: &MergeRequestView,
    size: usize,
) -> Result<Vec<PipelineView>, Failure> {
    let filter = PipelineFilter { merge_request: Some(one.id), ..PipelineFilter::default() };
    Ok(visit.app.store.pipelines(one.project, filter, PageAt { number: 1, size }).await?.entries)
}

fn row(
    one: &MergeRequestView,
    newest: Option<&PipelineView>,
    names: &HashMap<i64, String>,
) -> MergeRequestRow {
    MergeRequestRow {
        iid: one.iid,
        title: one.title.clone(),
        state: match one.state {
            MergeRequestState::Opened => MergeRequestLook::Opened,
            MergeRequestState::Closed => MergeRequestLook::Closed,
            MergeRequestState::Merged => MergeRequestLook::Merged,
        },
        source: one.source_branch.clone(),
        target: one.target_branch.clone(),
        labels: one.labels.clone(),
        author: one.author.and_then(|author| names.get(&author).cloned()),
        updated: one.updated_at,
        pipeline: newest.map(|newest| (newest.id, newest.status, newest.warnings)),
    }
}

async fn branches(visit: &Visit) -> Result<Vec<String>, Failure> {
    let repository = visit.app.repository(visit.project()?.id);
    let refs = waiting(move || repository.refs()).await.map_err(crate::answer::Refusal::from)?;
    let names = refs.unwrap_or_default().into_iter();
    let names = names.filter_map(|(name, _)| name.strip_prefix("refs/heads/").map(str::to_owned));
    Ok(names.take(MOST_BRANCHES).collect())
}

pub(super) async fn list(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let state = match visit.asked("state") {
        // What is open is what one comes for; an empty choice is all of them.
        "" if !visit.query.iter().any(|(key, _)| key == "state") => "opened",
        state => state,
    };
    let filter =
        MergeRequestFilter { state: MergeRequestState::from_word(state), ..MergeRequestFilter::default() };
    let at = visit.page_at(SIZE);
    let found = visit.app.store.merge_requests(project.id, filter, at).await?;
    let names = visit.names().await?;
    let mut rows = Vec::new();
    for one in &found.entries {
        let newest = its_pipelines(&visit, one, 1).await?;
        rows.push(row(one, newest.first(), &names));
    }
    let opens = match visit.may_develop() && visit.app.store.mirror(project.id).await?.is_none() {
        true => Some((branches(&visit).await?, project.default_branch.clone())),
        false => None,
    };
    let shown = MergeRequestsPage {
        rows,
        state: state.to_owned(),
        beside: beside(at, found.total, &[("state", state)]),
        opens,
        project: project.path.clone(),
    };
    let mut page = visit.page();
    page.events = Some(format!("/{}/-/events", project.path));
    Ok(html(merge_requests_page(&page, &shown)))
}

pub(super) async fn one(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let (found, names) = (find(&visit).await?, visit.names().await?);
    let all = its_pipelines(&visit, &found, SIZE).await?;
    let row = row(&found, all.first(), &names);
    let mut rows = Vec::new();
    for pipeline in all {
        rows.push(pipelines::row(&visit, pipeline, &names).await?);
    }
    let open = found.state == MergeRequestState::Opened;
    let shown = MergeRequestPage {
        row,
        description: found.description.clone(),
        sha: found.sha.clone(),
        pipelines: rows,
        may_run: open && may_run(&visit, &found),
        may_close: open && visit.may_develop(),
        may_reopen: found.state == MergeRequestState::Closed && visit.may_develop(),
        project: project.path.clone(),
    };
    let mut page = visit.page();
    page.events = Some(format!("/{}/-/events", project.path));
    Ok(html(merge_request_page(&page, &shown)))
}

/// Whether the caller may start jobs of its source branch.
fn may_run(visit: &Visit, one: &MergeRequestView) -> bool {
    let may = |(project, level): &(harrier_database::ProjectView, harrier_database::AccessLevel)| {
        project.may_run(&one.source_branch, false, *level)
    };
    visit.project.as_ref().is_some_and(may)
}

fn back(visit: &Visit, one: &MergeRequestView) -> Shown {
    Ok(go(&format!("/{}/-/merge_requests/{}", visit.project()?.path, one.iid)))
}

async fn make(visit: &Visit, one: &MergeRequestView) -> Result<Made, Failure> {
    let project = visit.project()?.clone();
    let sha = visit.app.branch_head(&project, &one.source_branch).await?;
    let user = visit.user()?.clone();
    let made = visit.app.run_merge_request(&project, one, &sha, Some(user)).await;
    made.map_err(|error| crate::answer::Refusal::from(error).into())
}

pub(super) async fn create(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let new = NewMergeRequest {
        source_branch: visit.required("source_branch")?,
        target_branch: visit.required("target_branch")?,
        title: visit.sent("title").trim().to_owned(),
        author: Some(visit.user()?.id),
        ..NewMergeRequest::default()
    };
    let opened = visit.app.open_merge_request(&project, new).await?;
    if may_run(&visit, &opened) {
        make(&visit, &opened).await?;
    }
    back(&visit, &opened)
}

pub(super) async fn run(visit: Visit) -> Shown {
    let found = find(&visit).await?;
    if !may_run(&visit, &found) {
        return Err(Failure::Forbidden);
    }
    match make(&visit, &found).await? {
        Made::Pipeline(_) => back(&visit, &found),
        Made::None(why) => Err(Failure::Bad(why.message())),
    }
}

async fn set(visit: &Visit, state: MergeRequestState) -> Shown {
    let project = visit.project()?.clone();
    let found = find(visit).await?;
    let edit = MergeRequestEdit { state: Some(state), ..MergeRequestEdit::default() };
    let changed = visit.app.change_merge_request(&project, &found, edit).await?;
    back(visit, &changed)
}

pub(super) async fn close(visit: Visit) -> Shown {
    set(&visit, MergeRequestState::Closed).await
}

pub(super) async fn reopen(visit: Visit) -> Shown {
    set(&visit, MergeRequestState::Opened).await
}
