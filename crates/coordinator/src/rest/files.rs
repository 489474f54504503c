//! Files, directories and archives of a project's repository, read. Always downloads: nothing in them may act.

use super::call::{Call, Done, Failure, Reply};
use super::repository::read;
use crate::answer::Refusal;
use crate::browse::{ARCHIVES, FileFacts};
use crate::repository::Commit;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Most bytes of a file that goes into JSON.
const LONGEST: u64 = 32 << 20;

/// The commit that `ref` names, or the default branch's.
async fn commit(call: &Call, name: &str) -> Result<Commit, Failure> {
    let default = &call.project()?.default_branch;
    let name = match call.filled(name) {
        Some(name) if name != "HEAD" => name,
        _ => default.clone(),
    };
    read(call, move |repository| repository.named(&name)).await?.ok_or_else(|| Failure::not_found("commit"))
}

pub(super) async fn tree(call: Call) -> Done {
    let commit = commit(&call, "ref").await?;
    let (path, deep) = (call.text("path").unwrap_or_default(), call.flag("recursive")? == Some(true));
    let found = read(&call, move |repository| repository.list_tree(&commit.sha, &path, deep)).await?;
    let all = found.ok_or_else(|| Failure::not_found("tree"))?;
    call.list_of(all, |one| {
        json!({
            "id": one.id,
            "name": one.path.rsplit('/').next(),
            "type": one.kind,
            "path": one.path,
            "mode": one.mode,
        })
    })
}

async fn find(call: &Call) -> Result<(Commit, FileFacts), Failure> {
    let commit = commit(call, "ref").await?;
    let (sha, path) = (commit.sha.clone(), call.part("file_path").to_owned());
    let found = read(call, move |repository| repository.file(&sha, &path)).await?;
    Ok((commit, found.ok_or_else(|| Failure::not_found("file"))?))
}

fn facts(call: &Call, commit: &Commit, file: &FileFacts) -> Value {
    let path = call.part("file_path");
    json!({
        "file_name": path.rsplit('/').next(),
        "file_path": path,
        "size": file.size,
        "ref": call.filled("ref").unwrap_or_else(|| "HEAD".to_owned()),
        "blob_id": file.blob,
        "commit_id": commit.sha,
        "last_commit_id": file.last_commit,
        "execute_filemode": file.executable,
    })
}

pub(super) async fn one(call: Call) -> Done {
    let (commit, file) = find(&call).await?;
    if file.size > LONGEST {
        let text =
            format!("413 Request Entity Too Large - the file has {} bytes; ask for it with /raw", file.size);
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text).into());
    }
    let mut value = facts(&call, &commit, &file);
    let bytes = read(&call, move |repository| repository.blob(&file.blob)).await?;
    value["encoding"] = "base64".into();
    value["content_sha256"] =
        Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    value["content"] = STANDARD.encode(&bytes).into();
    Ok(Reply::Json(value))
}

/// A body that no browser shows.
fn download(body: Body, name: &str, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{plain}\""));
    headers
        .insert(header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment")));
    response
}

pub(super) async fn raw(call: Call) -> Done {
    let (commit, file) = find(&call).await?;
    let (value, size) = (facts(&call, &commit, &file), file.size);
    let body = read(&call, move |repository| repository.stream_blob(&file.blob)).await?;
    let name = value["file_name"].as_str().unwrap_or_default();
    let mut response = download(body, name, "application/octet-stream");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    for (header, member) in [
        ("x-gitlab-blob-id", "blob_id"),
        ("x-gitlab-commit-id", "commit_id"),
        ("x-gitlab-last-commit-id", "last_commit_id"),
        ("x-gitlab-ref", "ref"),
        ("x-gitlab-file-path", "file_path"),
        ("x-gitlab-size", "size"),
    ] {
        let text = value[member].as_str().map_or_else(|| value[member].to_string(), str::to_owned);
        if let Ok(text) = HeaderValue::from_str(&text) {
            headers.insert(HeaderName::from_static(header), text);
        }
    }
    Ok(Reply::Raw(response))
}

pub(super) async fn blob(call: Call) -> Done {
    let id = call.part("sha").to_owned();
    if !matches!(id.len(), 40 | 64) || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::not_found("blob"));
    }
    let name = id.clone();
    let body =
        read(
            &call,
            move |repository| {
                if repository.is_blob(&id)? { repository.stream_blob(&id).map(Some) } else { Ok(None) }
            },
        );
    let body = body.await?.ok_or_else(|| Failure::not_found("blob"))?;
    Ok(Reply::Raw(download(body, &name, "application/octet-stream")))
}

pub(super) async fn archive(call: Call) -> Done {
    let wanted = call.part("archive");
    let known = ARCHIVES.iter().find(|(name, _, _)| *name == wanted);
    let &(_, format, kind) = known.ok_or_else(|| Failure::not_found(""))?;
    let commit = commit(&call, "sha").await?;
    let name = call.project()?.path.rsplit('/').next().unwrap_or_default().to_owned();
    let stem = match call.filled("sha") {
        Some(sha) => format!("{name}-{}-{}", sha.replace('/', "-"), commit.sha),
        None => format!("{name}-{}-{}", call.project()?.default_branch.replace('/', "-"), commit.sha),
    };
    let path =
        call.filled("path").map(|path| path.trim_matches('/').to_owned()).filter(|path| !path.is_empty());
    let prefix: String = stem.chars().map(|c| if c.is_control() || c == '/' { '-' } else { c }).collect();
    let file = format!("{stem}.{format}");
    let body = read(&call, move |repository| {
        if let Some(path) = &path
            && repository.list_tree(&commit.sha, path, false)?.is_none()
            && repository.file(&commit.sha, path)?.is_none()
        {
            return Ok(None);
        }
        repository.stream_archive(&commit.sha, path.as_deref(), format, &prefix).map(Some)
    });
    let body = body.await?.ok_or_else(|| Failure::not_found("tree"))?;
    Ok(Reply::Raw(download(body, &file, kind)))
}
