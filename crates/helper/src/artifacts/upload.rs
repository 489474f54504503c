//! `upload_artifacts_on_*`: chooses the files, makes the archive while it is sent, tries again as the contract says.

use super::store::{self, Meta, Store};
use crate::archive::Contents;
use crate::calendar::rfc3339;
use crate::env::Environment;
use crate::failure::Failure;
use crate::log::Log;
use crate::select::{self, Wanted};
use harrier_base::{Clock, SystemClock, short_token};
use harrier_client::{ArtifactUpload as ClientUpload, BodySource, UploadOutcome, next_upload_try};
use harrier_plan::{ArchiveFormat, ArtifactUpload, HelperRequest};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Uploads one artifact. That no file matches is said, and is no failure.
pub(crate) fn upload(
    artifact: &ArtifactUpload,
    request: &HelperRequest,
    env: &Environment,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    log.notice("Uploading artifacts...");
    let wanted = Wanted { paths: &artifact.paths, exclude: &artifact.exclude, untracked: artifact.untracked };
    let selection = select::select(&wanted, &request.dirs.project, env, log)?;
    let mut contents = Contents::of(selection);
    if contents.is_empty() {
        log.error("No files to upload");
        return Ok(());
    }
    let base = base_name(&artifact.name, env, log);
    if let Some(facts) = &artifact.provenance {
        log.info("Generating artifacts statement");
        let statement = statement(facts, &contents, env)?;
        contents = contents.with_statement(format!("{base}-metadata.json"), statement);
    }
    let meta = Meta {
        format: format_name(artifact.artifact_format).into(),
        expire_in: artifact.expire_in.clone(),
        name: file_name(&base, artifact.artifact_format),
    };
    let kind = if artifact.artifact_type.is_empty() { "archive" } else { &artifact.artifact_type };
    let doing = format!("Uploading artifacts as {kind:?} to coordinator...");
    match Store::of(request, env)? {
        Store::Directory(root) => {
            store::keep(&root, request.job_id, kind, &meta, |out| {
                contents.write(artifact.artifact_format, artifact.level, out)
            })?;
            log.info_with(format_args!("{doing} 201 Created"), &fields(request, "201 Created"));
            Ok(())
        }
        Store::Server(client) => {
            let upload = ClientUpload {
                job_id: request.job_id,
                token: request.job_token.clone(),
                filename: meta.name,
                expire_in: meta.expire_in,
                format: meta.format,
                kind: artifact.artifact_type.clone(),
                timeout: artifact.upload_timeout,
                header_timeout: artifact.response_header_timeout,
            };
            let (format, level) = (artifact.artifact_format, artifact.level);
            let contents = Arc::new(contents);
            let archive: BodySource = Arc::new(move |out| contents.write(format, level, out));
            let mut tried = 0;
            loop {
                log.flush();
                let outcome = client.upload_artifact(&upload, archive.clone());
                tried += 1;
                let failure = match report(&outcome, &doing, request, log) {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                };
                let Some(wait) = next_upload_try(&outcome, tried) else { return Err(failure) };
                log.warning_with(
                    "Retrying...",
                    &[("context", "artifacts-uploader".into()), ("error", failure.to_string())],
                );
                client.wait(wait);
            }
        }
    }
}

fn fields(request: &HelperRequest, status: &str) -> [(&'static str, String); 3] {
    [
        ("id", request.job_id.to_string()),
        ("responseStatus", status.into()),
        ("token", short_token(request.job_token.expose()).into()),
    ]
}

/// Says what became of a try.
fn report(
    outcome: &UploadOutcome,
    doing: &str,
    request: &HelperRequest,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    let (status, words, why) = match outcome {
        UploadOutcome::Stored => {
            log.info_with(format_args!("{doing} 201 Created"), &fields(request, "201 Created"));
            return Ok(());
        }
        UploadOutcome::Forbidden(why) => ("403 Forbidden".to_owned(), "forbidden", why),
        UploadOutcome::TooLarge(why) => ("413 Request Entity Too Large".into(), "too large archive", why),
        UploadOutcome::Unavailable(why) => ("503 Service Unavailable".into(), "service unavailable", why),
        UploadOutcome::Failed { status: Some(status), why } => (status.to_string(), "failed", why),
        UploadOutcome::Failed { status: None, why } => ("none".into(), "error", why),
        UploadOutcome::Source(why) => {
            return Err(Failure::Transfer { why: format!("the archive cannot be made: {why}") });
        }
    };
    log.error_with(format_args!("{doing} {words}"), &fields(request, &status));
    let remedy = match outcome {
        UploadOutcome::Forbidden(_) => {
            ". The job is not running any more on the server, or its token has expired"
        }
        UploadOutcome::TooLarge(_) => {
            ". Upload less (narrower paths, exclude), or raise the limit of the project, group or instance"
        }
        UploadOutcome::Unavailable(_) | UploadOutcome::Failed { .. } => {
            ". If it goes on, look at the server's log and its object storage"
        }
        UploadOutcome::Stored | UploadOutcome::Source(_) => "",
    };
    Err(Failure::Transfer { why: format!("artifacts could not be uploaded: {why}{remedy}") })
}

/// The archive's name without its ending: expanded, and without directories.
fn base_name(name: &str, env: &Environment, log: &mut Log<'_>) -> String {
    let name = if name.is_empty() { "artifacts" } else { name };
    let name = env.expand(name).unwrap_or_else(|why| {
        log.warning(format_args!("invalid artifact name: {why}"));
        name.to_owned()
    });
    let base = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match base {
        "" | "." | ".." => "default".into(),
        base => base.replace(['\0', '\n', '\r'], ""),
    }
}

fn file_name(base: &str, format: ArchiveFormat) -> String {
    match format {
        ArchiveFormat::Zip | ArchiveFormat::Zipzstd => format!("{base}.zip"),
        ArchiveFormat::Gzip => format!("{base}.gz"),
        ArchiveFormat::Tarzstd => format!("{base}.tar.zst"),
        ArchiveFormat::Raw => base.to_owned(),
    }
}

fn format_name(format: ArchiveFormat) -> &'static str {
    match format {
        ArchiveFormat::Zip => "zip",
        ArchiveFormat::Gzip => "gzip",
        ArchiveFormat::Raw => "raw",
        ArchiveFormat::Zipzstd => "zipzstd",
        ArchiveFormat::Tarzstd => "tarzstd",
    }
}

/// The in-toto statement about the files (`executors.md` §6.1): the plan's facts, a digest of each file, the times.
fn statement(facts: &serde_json::Value, contents: &Contents, env: &Environment) -> Result<Vec<u8>, Failure> {
    let mut subjects = Vec::new();
    for (path, whole) in contents.regular_files() {
        let digest = digest(&whole)?;
        subjects.push(serde_json::json!({ "name": path.to_string_lossy(), "digest": { "sha256": digest } }));
    }
    let mut statement = facts.clone();
    if let Some(object) = statement.as_object_mut() {
        object.insert("subject".into(), subjects.into());
    }
    let metadata = statement.pointer_mut("/predicate/runDetails/metadata").and_then(|v| v.as_object_mut());
    if let Some(metadata) = metadata {
        if let Some(started) = env.get("CI_JOB_STARTED_AT") {
            metadata.insert("startedOn".into(), started.into());
        }
        let now = i64::try_from(SystemClock.now().seconds()).unwrap_or(i64::MAX);
        metadata.insert("finishedOn".into(), rfc3339(now).into());
    }
    Ok(serde_json::to_vec_pretty(&statement).unwrap_or_default())
}

fn digest(path: &Path) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hash))
        .map_err(Failure::io("read", path))?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_endings() {
        for (format, name) in [
            (ArchiveFormat::Zip, "a.zip"),
            (ArchiveFormat::Zipzstd, "a.zip"),
            (ArchiveFormat::Tarzstd, "a.tar.zst"),
            (ArchiveFormat::Gzip, "a.gz"),
            (ArchiveFormat::Raw, "a"),
        ] {
            assert_eq!(file_name("a", format), name);
        }
    }
}
