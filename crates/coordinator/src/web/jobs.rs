//! A job: its page, its log as rows and raw; played, retried, cancelled and erased by a person.

use super::pipelines::why;
use super::visit::{Failure, Shown, Visit, go, html};
use crate::answer::Refusal;
use crate::app::App;
use crate::storage::StorageError;
use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use harrier_database::JobView;
use harrier_pages::{JobPage, JobPermissions, Scanner, job_page, log_lines};
use harrier_pipeline::Status;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// Most bytes of a log that become a page; of a longer one the end is shown, the raw log has all.
const LONGEST: u64 = 16 << 20;

/// What stands in place of a log that cannot be read.
const AWAY: &[u8] =
    b"[the log cannot be read now: where it is kept does not answer; reload the page in a while]\n";

/// The job of a route, if it is of its project.
pub(super) async fn job(visit: &Visit) -> Result<JobView, Failure> {
    let found = visit.app.store.job(visit.id(0)?).await?;
    if found.project == visit.project()?.id { Ok(found) } else { Err(Failure::NotFound) }
}

/// The same, if the caller may see its log and what it left.
pub(super) async fn seen(visit: &Visit) -> Result<JobView, Failure> {
    let found = job(visit).await?;
    let debug = found.debug_trace && !visit.may_develop();
    if visit.may_see_jobs() && !debug { Ok(found) } else { Err(Failure::Forbidden) }
}

/// Reads a log into rows, on a thread that may wait. One that cannot be read at present says so in its first row: the rest of the
/// page is there all the same.
async fn scan(app: &App, job: i64) -> Result<Scanner, Failure> {
    let mut scanner = Scanner::default();
    let held = match app.log(job).await {
        Ok(Some(held)) => held,
        Ok(None) => return Ok(scanner),
        Err(StorageError::Database(error)) => return Err(error.into()),
        Err(error) => {
            tracing::error!(job, error = %error, "a log cannot be read");
            scanner.feed(AWAY);
            return Ok(scanner);
        }
    };
    let read = tokio::task::spawn_blocking(move || -> io::Result<Scanner> {
        let mut scanner = Scanner::default();
        let size = held.size;
        let mut file = held.open()?;
        if size > LONGEST {
            file.seek(SeekFrom::Start(size - LONGEST))?;
            scanner.feed(format!("[{} bytes before this: see the raw log]\n", size - LONGEST).as_bytes());
        }
        let mut piece = vec![0; 256 << 10];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(scanner),
                long => scanner.feed(&piece[..long]),
            }
        }
    });
    match read.await {
        Ok(Ok(scanner)) => Ok(scanner),
        Ok(Err(error)) => {
            tracing::error!(job, error = %error, "a log cannot be read");
            scanner.feed(AWAY);
            Ok(scanner)
        }
        Err(_) => Err(Failure::Failed),
    }
}

pub(super) async fn one(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let found = job(&visit).await?;
    let store = &visit.app.store;
    let pipeline = store.pipeline(found.pipeline).await?;
    let all = store.jobs(found.pipeline, true).await?;
    let config = store.config(found.pipeline).await?;
    let names = visit.names().await?;
    let shows_log = seen(&visit).await.is_ok();
    let log = if shows_log { scan(&visit.app, found.id).await? } else { Scanner::default() };
    let runner = match found.runner {
        Some(id) => store.runner(id).await.ok(),
        None => None,
    };
    let archive = store.artifact(found.id, "archive").await?;
    let needs = config.jobs.get(found.position).and_then(|job| job.needs.as_ref());
    let run = visit.may_run(&pipeline);
    let complete = found.status.is_complete();
    let shown = JobPage {
        id: found.id,
        name: found.name.clone(),
        stage: found.stage.clone(),
        status: found.status,
        allowed: found.allowed,
        why: why(&visit, &found, &all, &config).await?,
        pipeline: pipeline.id,
        git_ref: pipeline.git_ref.clone(),
        sha: pipeline.sha.clone(),
        user: found.played_by.or(pipeline.user).and_then(|user| names.get(&user).cloned()),
        tags: found.tags.clone(),
        runner: runner.map(|runner| format!("#{} ({}) {}", runner.id, runner.hint, runner.description)),
        created: found.created_at,
        started: found.started_at,
        finished: found.finished_at,
        queued: found.queued_at.map(|queued| found.started_at.unwrap_or(visit.now) - queued),
        duration: found.started_at.map(|started| found.finished_at.unwrap_or(visit.now) - started),
        timeout: found.timeout.map(|seconds| seconds * 1000),
        exit_code: found.exit_code,
        coverage: found.coverage.as_deref().and_then(|text| text.parse().ok()),
        environment: found.environment.clone(),
        needs: needs
            .into_iter()
            .flatten()
            .map(|need| {
                let id = all.iter().find(|job| !job.retried && job.name == need.name).map(|job| job.id);
                (need.name.clone(), id)
            })
            .collect(),
        attempts: all
            .iter()
            .rev()
            .filter(|job| job.position == found.position && job.id != found.id)
            .map(|job| (job.id, job.status))
            .collect(),
        artifacts: archive.is_some() && shows_log,
        artifacts_expire: archive.and_then(|archive| archive.expires_at),
        erased: found.erased_at.is_some(),
        may: JobPermissions {
            play: run && matches!(found.status, Status::Manual | Status::Scheduled),
            retry: run
                && !found.retried
                && matches!(found.status, Status::Success | Status::Failed | Status::Canceled),
            cancel: run && !complete && found.status != Status::Canceling,
            force_cancel: run && found.status == Status::Canceling,
            erase: complete
                && found.erased_at.is_none()
                && visit.level() >= Some(harrier_database::AccessLevel::Maintainer),
        },
        log_complete: complete,
        project: project.path,
    };
    let mut page = visit.page();
    page.events = Some(format!("/{}/-/events?job={}&pipeline={}", shown.project, shown.id, shown.pipeline));
    Ok(html(job_page(&page, &shown, &log)))
}

/// The rows from a line on, for the script that follows.
pub(super) async fn log(visit: Visit) -> Shown {
    let found = seen(&visit).await?;
    let first: usize = visit.asked("line").parse().unwrap_or(0);
    let log = scan(&visit.app, found.id).await?;
    let ended = log.sections().iter().enumerate().filter_map(|(index, section)| {
        let millis = (section.ended? - section.started) * 1000;
        Some((index.to_string(), harrier_pages::duration_text(Some(millis)).into()))
    });
    let answer = serde_json::json!({
        "html": log_lines(&log, first),
        "settled": log.settled(),
        "complete": found.status.is_complete(),
        "ended": serde_json::Map::from_iter(ended),
    });
    Ok(Json(answer).into_response())
}

/// The log as it came, as text that no browser takes for anything else.
pub(super) async fn raw(visit: Visit) -> Shown {
    let found = seen(&visit).await?;
    let body = match visit.app.log(found.id).await.map_err(Refusal::from)? {
        Some(log) => log.body().await.map_err(Refusal::from)?,
        None => Body::empty(),
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

async fn change(visit: &Visit) -> Result<JobView, Failure> {
    let found = job(visit).await?;
    let of = visit.app.store.pipeline(found.pipeline).await?;
    if visit.may_run(&of) { Ok(found) } else { Err(Failure::Forbidden) }
}

/// Back to where the button was: a pipeline's page, or the job's.
fn back(visit: &Visit, job: &JobView) -> Shown {
    let project = &visit.project()?.path;
    let referer =
        visit.headers.get(header::REFERER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let pipeline = format!("/{project}/-/pipelines/{}", job.pipeline);
    if referer.contains(&pipeline) {
        Ok(go(&pipeline))
    } else {
        Ok(go(&format!("/{project}/-/jobs/{}", job.id)))
    }
}

pub(super) async fn play(visit: Visit) -> Shown {
    let found = change(&visit).await?;
    let played = visit.app.store.play(found.id, Some(visit.user()?.id), Vec::new(), visit.now).await?;
    back(&visit, &played)
}

pub(super) async fn retry(visit: Visit) -> Shown {
    let found = change(&visit).await?;
    let again = visit.app.store.retry(found.id, Some(visit.user()?.id), visit.now).await?;
    back(&visit, &again)
}

pub(super) async fn cancel(visit: Visit) -> Shown {
    let found = change(&visit).await?;
    let canceled = visit.app.store.cancel_job(found.id, visit.asked("force") == "true", visit.now).await?;
    back(&visit, &canceled)
}

pub(super) async fn erase(visit: Visit) -> Shown {
    let found = change(&visit).await?;
    let erased = visit.app.store.erase(found.id, visit.now).await?;
    visit.app.remove_job_files(erased.id);
    back(&visit, &erased)
}
