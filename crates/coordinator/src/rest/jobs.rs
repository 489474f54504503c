//! Jobs: listed, shown, their logs; played, retried, cancelled, erased.

use super::call::{Call, Done, Failure, Reply};
use super::entities::Jobs;
use super::pipelines::{linked, pipeline};
use super::projects::same_project;
use crate::answer::Refusal;
use crate::auth::Caller;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use harrier_database::{AccessLevel, DatabaseError, JobFilter, JobView, Page};
use harrier_pipeline::Status;
use serde_json::Value;

impl Call {
    /// Whether the caller may see logs and artifacts.
    pub(super) fn may_see_jobs(&self) -> bool {
        let open = self.project.as_ref().is_some_and(|(project, _)| project.settings.public_jobs);
        self.level().is_some_and(|level| open || level >= AccessLevel::Reporter)
    }
}

/// The statuses that a list is narrowed to.
fn statuses(call: &Call) -> Result<Vec<Status>, Failure> {
    let words = call.list("scope").unwrap_or_default();
    words.iter().map(|word| Status::from_word(word).ok_or_else(|| Failure::value("scope"))).collect()
}

pub(super) async fn list(call: Call) -> Done {
    let filter = JobFilter {
        project: Some(call.project()?.id),
        statuses: statuses(&call)?,
        without_bridges: true,
        ..JobFilter::default()
    };
    if let Some(keyset) = call.keyset()? {
        let filter = JobFilter { behind: keyset.behind, oldest_first: keyset.ascending, ..filter };
        let found = call.app.store.find_jobs(filter, keyset.at()).await?;
        let (entries, next) = keyset.cut(found.entries, |job| job.id);
        return Ok(Reply::Keyset(Jobs::new(&call.app).await?.list(&entries).await?, next));
    }
    let filter = JobFilter { oldest_first: call.word("sort", &["asc", "desc"])? == Some("asc"), ..filter };
    let found = call.app.store.find_jobs(filter, call.page()?).await?;
    let entries = Jobs::new(&call.app).await?.list(&found.entries).await?;
    Ok(Reply::List(Page { entries, total: found.total }))
}

/// Jobs or bridges of a pipeline, the newest first.
async fn of(call: &Call, bridges: bool, with_retried: bool) -> Result<Page<JobView>, Failure> {
    let found = pipeline(call).await?;
    let wanted = statuses(call)?;
    let config = call.app.store.config(found.id).await?;
    let bridge = |job: &JobView| config.jobs.get(job.position).is_some_and(|job| job.bridge.is_some());
    let mut all = call.app.store.jobs(found.id, with_retried).await?;
    all.retain(|job| bridge(job) == bridges && (wanted.is_empty() || wanted.contains(&job.status)));
    all.sort_by_key(|job| std::cmp::Reverse(job.id));
    let at = call.page()?;
    let total = all.len();
    let skip = (at.number - 1).saturating_mul(at.size);
    Ok(Page { entries: all.into_iter().skip(skip).take(at.size).collect(), total })
}

pub(super) async fn of_pipeline(call: Call) -> Done {
    let found = of(&call, false, call.flag("include_retried")? == Some(true)).await?;
    let entries = Jobs::new(&call.app).await?.list(&found.entries).await?;
    Ok(Reply::List(Page { entries, total: found.total }))
}

pub(super) async fn bridges(call: Call) -> Done {
    let found = of(&call, true, false).await?;
    let mut entries = Jobs::new(&call.app).await?.list(&found.entries).await?;
    for (job, entry) in found.entries.iter().zip(&mut entries) {
        entry["downstream_pipeline"] = match call.app.store.downstream(job.id).await? {
            Some(id) => linked(&call, id).await?,
            None => Value::Null,
        };
    }
    Ok(Reply::List(Page { entries, total: found.total }))
}

/// The job of a route, if it is of its project.
pub(super) async fn job(call: &Call) -> Result<JobView, Failure> {
    let found = call.app.store.job(call.id("job_id")?).await?;
    same_project(call, found.project, "job")?;
    Ok(found)
}

/// Whether the caller may see the log of a job and what it left.
pub(super) fn need_seen(call: &Call, job: &JobView) -> Result<(), Failure> {
    let debug = job.debug_trace && !call.may_develop();
    if call.may_see_jobs() && !debug { Ok(()) } else { Err(Failure::forbidden()) }
}

async fn shown(call: &Call, job: &JobView) -> Done {
    Ok(Reply::Json(Jobs::new(&call.app).await?.show(job).await?))
}

pub(super) async fn one(call: Call) -> Done {
    let found = job(&call).await?;
    shown(&call, &found).await
}

pub(super) async fn current(call: Call) -> Done {
    let Caller::Job(job) = &call.caller else { return Err(Refusal::unauthorized().into()) };
    shown(&call, job).await
}

pub(super) async fn trace(call: Call) -> Done {
    let found = job(&call).await?;
    need_seen(&call, &found)?;
    let body = match call.app.log(found.id).await.map_err(Refusal::from)? {
        Some(log) => log.body().await.map_err(Refusal::from)?,
        None => Body::empty(),
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(Reply::Raw(response))
}

/// Whether the caller may start, stop and repeat a job.
pub(super) async fn need_run(call: &Call, job: &JobView) -> Result<(), Failure> {
    call.need_run_of(&call.app.store.pipeline(job.pipeline).await?)
}

async fn own(call: &Call) -> Result<JobView, Failure> {
    let found = job(call).await?;
    need_run(call, &found).await?;
    Ok(found)
}

/// What GitLab says of a job that is not in the state for it.
fn refused(error: DatabaseError, status: StatusCode, text: &str) -> Failure {
    match error {
        DatabaseError::Conflict { .. } => Refusal::new(status, text).into(),
        other => other.into(),
    }
}

pub(super) async fn play(call: Call) -> Done {
    let found = own(&call).await?;
    let (variables, by) = (call.variables("job_variables_attributes")?, call.actor().await?.id);
    let played = call.app.store.play(found.id, Some(by), variables, call.now).await;
    let played = played
        .map_err(|error| refused(error, StatusCode::BAD_REQUEST, "400 Bad request - Unplayable Job"))?;
    shown(&call, &played).await
}

pub(super) async fn retry(call: Call) -> Done {
    let found = own(&call).await?;
    let by = call.actor().await?.id;
    let again = call.app.store.retry(found.id, Some(by), call.now).await;
    let again = again
        .map_err(|error| refused(error, StatusCode::FORBIDDEN, "403 Forbidden - Job is not retryable"))?;
    shown(&call, &again).await
}

pub(super) async fn cancel(call: Call) -> Done {
    let found = own(&call).await?;
    if found.status.is_complete() {
        // To cancel what has ended is no error of the caller's: it may have ended just now.
        return shown(&call, &found).await;
    }
    let force = call.flag("force")? == Some(true);
    let canceled = call.app.store.cancel_job(found.id, force, call.now).await?;
    shown(&call, &canceled).await
}

pub(super) async fn erase(call: Call) -> Done {
    let found = own(&call).await?;
    if found.erased_at.is_some() {
        return Err(Refusal::forbidden("Job is not erasable!").into());
    }
    let erased = call.app.store.erase(found.id, call.now).await;
    let erased = erased
        .map_err(|error| refused(error, StatusCode::FORBIDDEN, "403 Forbidden - Job is not erasable!"))?;
    call.app.remove_job_files(erased.id);
    shown(&call, &erased).await
}
