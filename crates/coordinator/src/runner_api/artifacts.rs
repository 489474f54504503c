//! `POST` and `GET /jobs/:id/artifacts` (`runner-api.md` §9): a file of a job comes in by one multipart part, and goes out to jobs that
//! depend on it. Reports are read on the way in: dotenv and junit.

use super::job_token::{job_for, token};
use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::incoming::{Incoming, IncomingError, Stored};
use crate::{junit, unpack};
use axum::extract::{Multipart, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use harrier_base::Secret;
use harrier_database::{ArtifactView, JobView, Put};
use harrier_pipeline::{dotenv, parse_duration};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// How long artifacts are kept for which nothing is said, in milliseconds: 30 days, as on GitLab.
const KEPT: i64 = 30 * 24 * 3600 * 1000;
/// Most bytes of a report, unpacked.
const REPORT: u64 = 64 << 20;

/// What comes beside the file: in the query, or as fields of the form before the file.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    expire_in: Option<String>,
    artifact_type: Option<String>,
    artifact_format: Option<String>,
    accessibility: Option<String>,
    token: Option<String>,
    direct_download: Option<String>,
}

/// The upload.
pub async fn upload(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
    Query(mut parameters): Query<Parameters>,
    headers: HeaderMap,
    mut form: Multipart,
) -> Answer {
    let given = parameters.token.take().map(Secret::new);
    let job = job_for(&app, id, &token(&headers, given.as_ref())).await?;
    let broken = |_| Refusal::bad("the form cannot be read to its end");
    let mut stored = None;
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        match field.name().unwrap_or_default() {
            "file" => {
                let filename = field.file_name().unwrap_or("artifacts").to_owned();
                let mut incoming = Incoming::begin(&app.upload_dir(id), app.settings.max_artifact).await;
                while let Some(chunk) = field.chunk().await.map_err(broken)? {
                    if let Ok(incoming) = &mut incoming
                        && let Err(error) = incoming.write(&chunk).await
                    {
                        return Err(refused(id, error));
                    }
                }
                let file = match incoming {
                    Ok(incoming) => incoming.end().await,
                    Err(error) => Err(error),
                };
                stored = Some((filename, file.map_err(|error| refused(id, error))?));
            }
            "expire_in" => parameters.expire_in = Some(field.text().await.map_err(broken)?),
            "artifact_type" => parameters.artifact_type = Some(field.text().await.map_err(broken)?),
            "artifact_format" => parameters.artifact_format = Some(field.text().await.map_err(broken)?),
            "accessibility" => parameters.accessibility = Some(field.text().await.map_err(broken)?),
            _ => {}
        }
    }
    let Some((filename, file)) = stored else { return Err(Refusal::bad("the form has no part `file`")) };
    put(&app, &job, parameters, filename, file).await
}

fn refused(job: i64, error: IncomingError) -> Refusal {
    match error {
        IncomingError::TooLarge { limit } => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("413 Request Entity Too Large - at most {limit} bytes"),
        ),
        IncomingError::Io(error) => {
            tracing::error!(job, error = %error, "an artifact cannot be written");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "503 Service Unavailable").with("retry-after", "5")
        }
    }
}

async fn put(app: &Arc<App>, job: &JobView, said: Parameters, filename: String, file: Stored) -> Answer {
    let kind = said.artifact_type.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "archive".to_owned());
    let known = kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && kind.len() <= 64;
    if !known {
        return Err(Refusal::bad("artifact_type is no type of artifact"));
    }
    if let Some(old) = app.store.artifact(job.id, &kind).await? {
        return match old.sha256 == file.sha256 {
            true => Ok(created()),
            false => Err(Refusal::bad("another artifact of the same type already exists")),
        };
    }
    let now = app.now();
    let expires_at = match said.expire_in.as_deref().map(str::trim) {
        None | Some("") => Some(now.saturating_add(KEPT)),
        Some("never") => None,
        Some(text) => {
            let after = parse_duration(text)
                .ok_or_else(|| Refusal::bad("expire_in is no duration; write `1 week` or `never`"))?;
            Some(now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)))
        }
    };
    read_report(app, job, &kind, &file).await?;
    let config = app.store.config(job.pipeline).await?;
    let artifacts = config.jobs.get(job.position).and_then(|job| job.artifacts.as_ref());
    let public = match said.accessibility.as_deref() {
        None | Some("") => artifacts.is_none_or(|a| {
            a.public != Some(false) && a.access.as_deref().is_none_or(|access| access == "all")
        }),
        Some(said) => said == "public",
    };
    let view = ArtifactView {
        job: job.id,
        kind: kind.clone(),
        format: said.artifact_format.filter(|f| !f.is_empty()).unwrap_or_else(|| "zip".to_owned()),
        filename: plain_name(&filename),
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        sha256: file.sha256.clone(),
        public,
        created_at: now,
        expires_at,
    };
    match app.keep_artifact(file, view).await? {
        Put::Stored | Put::Same => Ok(created()),
        Put::Other => Err(Refusal::bad("another artifact of the same type already exists")),
    }
}

fn created() -> Response {
    (StatusCode::CREATED, "201").into_response()
}

/// The last part of what a client calls its file, without what would act in a header or on a page.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control() && *c != '"').take(255).collect();
    if plain.is_empty() { "artifacts".to_owned() } else { plain }
}

async fn read_report(app: &App, job: &JobView, kind: &str, file: &Stored) -> Answer<()> {
    if !matches!(kind, "dotenv" | "junit") {
        return Ok(());
    }
    let path: PathBuf = file.path().to_owned();
    let report = kind.to_owned();
    let limit = if kind == "dotenv" { dotenv::REPORT_BYTES as u64 + 1 } else { REPORT };
    let plain = tokio::task::spawn_blocking(move || unpack::report(&path, limit)).await;
    let plain = plain
        .map_err(std::io::Error::other)
        .and_then(|read| read)
        .map_err(|error| Refusal::bad(&format!("the {report} report cannot be unpacked: {error}")))?;
    if kind == "dotenv" {
        let variables = dotenv::parse_report(&plain).map_err(|error| Refusal::bad(&error.to_string()))?;
        app.store.set_dotenv(job.id, variables).await?;
    } else {
        match junit::parse(&plain) {
            Ok(report) => app.store.set_test_report(job.id, report).await?,
            // A report that nobody can read spoils the page of tests, not the job.
            Err(error) => tracing::info!(job = job.id, error = %error, "a junit report cannot be read"),
        }
    }
    Ok(())
}

/// The download, by a job that runs in the same project, or that needs that job by `needs:project`.
pub async fn download(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Answer {
    let given = parameters.token.map(Secret::new);
    let direct = parameters.direct_download.as_deref() == Some("true");
    let token = token(&headers, given.as_ref());
    if token.is_empty() {
        return Err(Refusal::unauthorized());
    }
    let reader = match app.store.job_of_token(&token).await? {
        Some(reader) if reader.executes() => reader,
        Some(_) | None => return Err(Refusal::unauthorized()),
    };
    let wanted = app.store.job(id).await?;
    if wanted.project != reader.project && !app.needs_of_elsewhere(&reader, &wanted).await? {
        return Err(Refusal::not_found("job"));
    }
    let found = app.store.artifact(id, "archive").await?.ok_or_else(|| Refusal::not_found("artifacts"))?;
    let file = app.artifact_file(id, "archive").await?.ok_or_else(|| Refusal::not_found("artifacts"))?;
    match file.direct_address().filter(|_| direct) {
        Some(address) => {
            let to = HeaderValue::from_str(address.expose()).map_err(|_| Refusal::not_found("artifacts"))?;
            Ok((StatusCode::FOUND, [(header::LOCATION, to)]).into_response())
        }
        None => send(&app, &found).await,
    }
}

/// A file of a job as an answer. Its content must not act on a page: it is always a download.
pub(crate) async fn send(app: &App, found: &ArtifactView) -> Answer {
    let file = app.artifact_file(found.job, &found.kind).await?;
    let file = file.ok_or_else(|| Refusal::not_found("artifacts"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, file.size.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", ascii(&found.filename))),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, file.body().await?).into_response())
}

fn ascii(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '_' }).collect()
}
