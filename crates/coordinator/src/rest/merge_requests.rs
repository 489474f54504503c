//! Merge requests: opened, changed, closed, listed; their pipelines. They are merged by a push to their target branch.

use super::call::{Call, Done, Failure, Reply};
use super::entities::{self, People, time};
use crate::answer::Refusal;
use crate::app::App;
use crate::make_pipeline::Made;
use crate::merge_requests::MergeRequestError;
use crate::time_text::iso;
use axum::http::StatusCode;
use harrier_database::{
    DatabaseError, MergeRequestEdit, MergeRequestFilter, MergeRequestState, MergeRequestView,
    NewMergeRequest, Page, PageAt, PipelineFilter, ProjectView,
};
use serde_json::{Value, json};

impl From<MergeRequestError> for Failure {
    fn from(error: MergeRequestError) -> Self {
        let taken = |name: &str| {
            let text = format!("Another open merge request already exists for this source branch: {name}");
            Refusal { status: StatusCode::CONFLICT, message: json!([text]), headers: Vec::new() }
        };
        match error {
            MergeRequestError::Failed(crate::make_pipeline::MakeError::Database(DatabaseError::Taken {
                name,
                ..
            })) => taken(&name).into(),
            MergeRequestError::Failed(error) => error.into(),
            MergeRequestError::Title => Self::invalid("title", "must have 1 to 255 characters"),
            other @ (MergeRequestError::NoBranch(_)
            | MergeRequestError::SameBranch(_)
            | MergeRequestError::Mirror) => Refusal::bad(&other.to_string()).into(),
        }
    }
}

fn show(app: &App, project: &ProjectView, one: &MergeRequestView, people: &People) -> Value {
    json!({
        "id": one.id,
        "iid": one.iid,
        "project_id": one.project,
        "title": one.title,
        "description": one.description,
        "state": one.state.word(),
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
        "merged_at": time(one.merged_at),
        "closed_at": time(one.closed_at),
        "source_branch": one.source_branch,
        "target_branch": one.target_branch,
        "source_project_id": one.project,
        "target_project_id": one.project,
        "author": people.get(one.author),
        "assignee": null,
        "assignees": [],
        "reviewers": [],
        "labels": one.labels,
        "draft": one.draft(),
        "work_in_progress": one.draft(),
        "milestone": null,
        "merge_when_pipeline_succeeds": false,
        "squash": false,
        "sha": Some(&one.sha).filter(|sha| !sha.is_empty()),
        "reference": format!("!{}", one.iid),
        "references": {
            "short": format!("!{}", one.iid),
            "relative": format!("!{}", one.iid),
            "full": format!("{}!{}", project.path, one.iid),
        },
        "web_url": app.merge_request_url(project, one),
    })
}

async fn whole(call: &Call, one: &MergeRequestView) -> Done {
    let project = call.project()?;
    let mut value = show(&call.app, project, one, &People::read(&call.app).await?);
    let filter = PipelineFilter { merge_request: Some(one.id), ..PipelineFilter::default() };
    let newest = call.app.store.pipelines(project.id, filter, PageAt { number: 1, size: 1 }).await?;
    value["head_pipeline"] = match newest.entries.first() {
        Some(pipeline) => entities::whole_pipeline(&call.app, project, pipeline).await?,
        None => Value::Null,
    };
    value["pipeline"] =
        newest.entries.first().map_or(Value::Null, |found| entities::pipeline(&call.app, project, found));
    Ok(Reply::Json(value))
}

/// The merge request of a route.
async fn find(call: &Call) -> Result<MergeRequestView, Failure> {
    Ok(call.app.store.merge_request(call.project()?.id, call.id("merge_request_iid")?).await?)
}

pub(super) async fn list(call: Call) -> Done {
    let project = call.project()?;
    let state = call.word("state", &["opened", "closed", "merged", "locked", "all"])?;
    let iids = call.list("iids").unwrap_or_default();
    let iids =
        iids.iter().map(|text| text.parse().map_err(|_| Failure::value("iids"))).collect::<Result<_, _>>()?;
    let filter = MergeRequestFilter {
        state: state.and_then(MergeRequestState::from_word),
        source_branch: call.filled("source_branch"),
        target_branch: call.filled("target_branch"),
        search: call.filled("search"),
        iids,
        by_change: call.word("order_by", &["created_at", "updated_at"])? == Some("updated_at"),
        oldest_first: call.word("sort", &["asc", "desc"])? == Some("asc"),
    };
    // Nothing is ever locked here.
    let found = match state {
        Some("locked") => Page { entries: Vec::new(), total: 0 },
        _ => call.app.store.merge_requests(project.id, filter, call.page()?).await?,
    };
    let people = People::read(&call.app).await?;
    let entries = found.entries.iter().map(|one| show(&call.app, project, one, &people)).collect();
    Ok(Reply::List(Page { entries, total: found.total }))
}

pub(super) async fn one(call: Call) -> Done {
    let found = find(&call).await?;
    whole(&call, &found).await
}

pub(super) async fn create(call: Call) -> Done {
    let project = call.project()?.clone();
    if call.number("target_project_id")?.is_some_and(|id| id != project.id) {
        return Err(Refusal::bad("both branches of a merge request are of one project here").into());
    }
    let user = call.actor().await?;
    let new = NewMergeRequest {
        source_branch: call.required("source_branch")?,
        target_branch: call.required("target_branch")?,
        title: call.required("title")?,
        description: call.text("description").unwrap_or_default(),
        labels: call.list("labels").unwrap_or_default(),
        author: Some(user.id),
        ..NewMergeRequest::default()
    };
    let opened = call.app.open_merge_request(&project, new).await?;
    let sha = call.app.branch_head(&project, &opened.source_branch).await?;
    // Whoever may push the branch has done so already: without that right the branch's own pipelines are all there is.
    if call.need_run(&opened.source_branch, false).is_ok() {
        call.app.run_merge_request(&project, &opened, &sha, Some(user)).await?;
    }
    let opened = call.app.store.merge_request(project.id, opened.iid).await?;
    whole(&call, &opened).await
}

pub(super) async fn change(call: Call) -> Done {
    let project = call.project()?.clone();
    let found = find(&call).await?;
    let mut labels = call.list("labels");
    for name in ["add_labels", "remove_labels"] {
        if let Some(given) = call.list(name) {
            let now = labels.get_or_insert_with(|| found.labels.clone());
            now.retain(|label| !given.contains(label));
            if name == "add_labels" {
                now.extend(given);
            }
        }
    }
    let state = match call.word("state_event", &["close", "reopen"])? {
        Some("close") => Some(MergeRequestState::Closed),
        Some(_) => Some(MergeRequestState::Opened),
        None => None,
    };
    let edit = MergeRequestEdit {
        title: call.text("title"),
        description: call.text("description"),
        labels,
        target_branch: call.filled("target_branch"),
        state,
    };
    let changed = call.app.change_merge_request(&project, &found, edit).await?;
    whole(&call, &changed).await
}

pub(super) async fn delete(call: Call) -> Done {
    let found = find(&call).await?;
    call.app.store.delete_merge_request(found.id).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn pipelines(call: Call) -> Done {
    let project = call.project()?;
    let filter = PipelineFilter { merge_request: Some(find(&call).await?.id), ..PipelineFilter::default() };
    let found = call.app.store.pipelines(project.id, filter, call.page()?).await?;
    let entries = found.entries.iter().map(|one| entities::pipeline(&call.app, project, one)).collect();
    Ok(Reply::List(Page { entries, total: found.total }))
}

pub(super) async fn run(call: Call) -> Done {
    let project = call.project()?.clone();
    let found = find(&call).await?;
    call.need_run(&found.source_branch, false)?;
    let sha = call.app.branch_head(&project, &found.source_branch).await?;
    let user = call.actor().await?;
    match call.app.run_merge_request(&project, &found, &sha, Some(user)).await? {
        Made::Pipeline(made) => Ok(Reply::Json(entities::whole_pipeline(&call.app, &project, &made).await?)),
        Made::None(why) => {
            let message = json!({ "base": [why.message()] });
            Err(Refusal { status: StatusCode::BAD_REQUEST, message, headers: Vec::new() }.into())
        }
    }
}
