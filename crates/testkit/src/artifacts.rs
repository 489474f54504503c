//! Artifacts up and down (`runner-api.md` §9).
//!
//! Called by `server`. It must never judge what a job may depend on; the job table did.

use crate::jobs::{ArtifactRecord, Job, late, refuse};
use crate::server::{Answer, Call, Shared};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use std::io::Read;
use std::sync::Arc;

struct Part {
    name: String,
    file_name: String,
    content_type: String,
    bytes: Bytes,
}

/// `POST /jobs/:id/artifacts`
pub(crate) async fn upload(shared: &Arc<Shared>, call: &Call) -> Answer {
    if shared.options.redirect_uploads && !call.uri.path().starts_with("/redirected/") {
        return Answer::plain(307).with("location", format!("{}/redirected{}", shared.url(), call.uri));
    }
    let parts = parts(call).await;
    let mut inner = shared.lock();
    let mut slips = Vec::new();
    let answer = match inner.jobs.get_mut(&call.job) {
        Some(job) => store(job, call, parts, &mut slips),
        None => Answer::message(403, "403 Forbidden"),
    };
    for slip in slips {
        inner.slip(call, slip);
    }
    answer
}

async fn parts(call: &Call) -> Result<Vec<Part>, String> {
    let mut request = Request::new(Body::from(call.body.clone()));
    *request.headers_mut() = call.headers.clone();
    let mut multipart = Multipart::from_request(request, &()).await.map_err(|error| error.body_text())?;
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(|error| error.body_text())? {
        let name = field.name().unwrap_or("").to_owned();
        let file_name = field.file_name().unwrap_or("").to_owned();
        let content_type = field.content_type().unwrap_or("").to_owned();
        let bytes = field.bytes().await.map_err(|error| error.body_text())?;
        parts.push(Part { name, file_name, content_type, bytes });
    }
    Ok(parts)
}

fn store(job: &mut Job, call: &Call, parts: Result<Vec<Part>, String>, slips: &mut Vec<String>) -> Answer {
    late(job, call, slips);
    if let Some(refusal) = refuse(job, call) {
        return refusal;
    }
    let parts = match parts {
        Ok(parts) => parts,
        Err(error) => {
            slips.push(format!("the body is no multipart form: {error} (§9.1)"));
            return Answer::message(400, "400 Bad request");
        }
    };
    let [part] = parts.as_slice() else {
        slips.push(format!("{} parts instead of one (§9.1)", parts.len()));
        return Answer::message(400, "400 Bad request");
    };
    let value = |name: &str| call.query().into_iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let artifact = ArtifactRecord {
        artifact_type: value("artifact_type").unwrap_or_else(|| "archive".into()),
        artifact_format: value("artifact_format").unwrap_or_default(),
        file_name: part.file_name.clone(),
        expire_in: value("expire_in"),
        bytes: part.bytes.clone(),
    };
    check(job, part, &artifact, slips);
    match job.artifacts.iter().find(|have| have.artifact_type == artifact.artifact_type) {
        Some(have) if have.bytes == artifact.bytes => Answer::plain(201),
        Some(_) => Answer::message(400, "400 Bad request - another artifact of the same type already exists"),
        None => {
            job.artifacts.push(artifact);
            Answer::plain(201)
        }
    }
}

fn check(job: &Job, part: &Part, artifact: &ArtifactRecord, slips: &mut Vec<String>) {
    if part.name != "file" || part.content_type != "application/octet-stream" {
        slips.push(format!("the part is {:?} of type {:?} (§9.1)", part.name, part.content_type));
    }
    let format = artifact.artifact_format.as_str();
    let ending = match format {
        "zip" | "zipzstd" => ".zip",
        "gzip" => ".gz",
        "tarzstd" => ".tar.zst",
        _ => "",
    };
    if part.file_name.is_empty() || !part.file_name.ends_with(ending) || part.file_name.contains('/') {
        slips.push(format!("file name {:?} for format {format:?} (§9.1)", part.file_name));
    }
    let asked = job.spec.artifacts.iter().any(|wanted| {
        wanted["artifact_type"] == artifact.artifact_type
            && wanted["artifact_format"].as_str().unwrap_or("") == format
            && wanted["expire_in"].as_str() == artifact.expire_in.as_deref()
    });
    if !asked {
        slips.push(format!(
            "nobody asked for {} as {format:?} expiring in {:?} (§9.1)",
            artifact.artifact_type, artifact.expire_in
        ));
    }
    let sound = match format {
        "zip" => zip::ZipArchive::new(std::io::Cursor::new(&part.bytes)).is_ok(),
        "gzip" => gunzip(&part.bytes).is_some(),
        _ => true,
    };
    if !sound {
        slips.push(format!("the uploaded file is no {format} (§9.2)"));
    }
}

/// All gzip members one after another.
fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The variables of a job's dotenv report.
pub(crate) fn dotenv(job: &Job) -> Vec<(String, String)> {
    let report = job.artifacts.iter().find(|artifact| artifact.artifact_type == "dotenv");
    let Some(text) = report.and_then(|report| gunzip(&report.bytes)) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// `GET /jobs/:id/artifacts`
pub(crate) fn download(shared: &Arc<Shared>, call: &Call) -> Answer {
    let mut inner = shared.lock();
    let token = call.header("job-token");
    let asking = inner.jobs.values().find(|job| !job.token.is_empty() && job.token == token);
    let Some(asking) = asking.filter(|job| job.is_executing()) else {
        return Answer::message(401, "401 Unauthorized");
    };
    if !asking.spec.dependencies.contains(&call.job) {
        inner.slip(call, "downloads what is no dependency (§4.11)");
        return Answer::message(403, "403 Forbidden");
    }
    let archive = inner.jobs.get(&call.job).and_then(|job| {
        job.artifacts
            .iter()
            .find(|artifact| artifact.artifact_type == "archive")
            .map(|found| found.bytes.clone())
    });
    let Some(bytes) = archive else {
        inner.slip(call, "downloads from a job without artifacts_file (§4.11)");
        return Answer::message(404, "404 Not Found");
    };
    let direct = call.query().iter().any(|(key, value)| key == "direct_download" && value == "true");
    if direct && shared.options.direct_download {
        let key = inner.word(30);
        inner.storage.insert(key.clone(), bytes);
        return Answer::plain(302).with("location", format!("{}/storage/{key}", shared.other_host()));
    }
    file(bytes)
}

/// The object behind a redirect, on another host that must not see the job's token.
pub(crate) fn storage(shared: &Arc<Shared>, call: &Call, key: &str) -> Answer {
    let mut inner = shared.lock();
    if !call.header("job-token").is_empty() {
        inner.slip(call, "the JOB-TOKEN went to another host (§1.8)");
    }
    match inner.storage.get(key) {
        Some(bytes) => file(bytes.clone()),
        None => Answer::plain(404),
    }
}

fn file(bytes: Bytes) -> Answer {
    let headers = vec![("content-type", "application/octet-stream".into())];
    Answer { status: 200, headers, body: bytes }
}
