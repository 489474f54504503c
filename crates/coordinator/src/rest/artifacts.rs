//! Archives of jobs: whole, one file, by ref and job name; kept and removed. Always downloads: nothing in them may act.

use super::call::{Call, Done, Failure, Reply};
use super::jobs::{job, need_seen};
use crate::archive::file_of_archive;
use crate::runner_api::artifacts::send;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use harrier_database::{AccessLevel, ArtifactView, JobView};
use harrier_pipeline::Status;
use serde_json::{Value, json};

async fn archive(call: &Call, job: &JobView) -> Result<ArtifactView, Failure> {
    need_seen(call, job)?;
    let found = call.app.store.artifact(job.id, "archive").await?;
    let found = found.ok_or_else(|| Failure::not_found(""))?;
    match found.public || call.level() >= Some(AccessLevel::Reporter) {
        true => Ok(found),
        false => Err(Failure::forbidden()),
    }
}

async fn whole(call: &Call, job: &JobView) -> Done {
    let found = archive(call, job).await?;
    Ok(Reply::Raw(send(&call.app, &found).await?))
}

async fn part(call: &Call, job: &JobView) -> Done {
    archive(call, job).await?;
    let bytes = file_of_archive(&call.app, job.id, call.part("artifact_path")).await?;
    let bytes = bytes.ok_or_else(|| Failure::not_found(""))?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(Reply::Raw(response))
}

pub(super) async fn download(call: Call) -> Done {
    let found = job(&call).await?;
    whole(&call, &found).await
}

pub(super) async fn file(call: Call) -> Done {
    let found = job(&call).await?;
    part(&call, &found).await
}

/// The newest successful job of a name, of a successful pipeline of a ref.
async fn of_ref(call: &Call) -> Result<JobView, Failure> {
    let name = call.required("job")?;
    let found = call.app.store.latest_success(call.project()?.id, call.part("ref_name"), &name).await?;
    found.ok_or_else(|| Failure::not_found(""))
}

pub(super) async fn download_of_ref(call: Call) -> Done {
    let found = of_ref(&call).await?;
    whole(&call, &found).await
}

pub(super) async fn file_of_ref(call: Call) -> Done {
    let found = of_ref(&call).await?;
    part(&call, &found).await
}

pub(super) async fn keep(call: Call) -> Done {
    let found = job(&call).await?;
    super::jobs::need_run(&call, &found).await?;
    archive(&call, &found).await?;
    call.app.store.keep_artifacts(found.id).await?;
    Ok(Reply::Json(super::entities::Jobs::new(&call.app).await?.show(&found).await?))
}

pub(super) async fn expire_all(call: Call) -> Done {
    call.app.store.expire_artifacts_of(call.project()?.id, call.now).await?;
    Ok(Reply::Json(json!({ "message": "202 Accepted" })))
}

pub(super) async fn delete(call: Call) -> Done {
    let found = job(&call).await?;
    if matches!(found.status, Status::Running | Status::Canceling) {
        return Err(crate::Refusal {
            status: axum::http::StatusCode::CONFLICT,
            message: Value::from("409 Conflict - the job still runs"),
            headers: Vec::new(),
        }
        .into());
    }
    for file in call.app.store.artifacts(found.id).await? {
        call.app.store.delete_artifact(found.id, &file.kind).await?;
        call.app.remove_artifact_file(found.id, &file.kind).await;
    }
    Ok(Reply::Nothing)
}
