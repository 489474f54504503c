//! A job's archive: its folders, its files, the whole. Everything in it is somebody else's: names are shown only where they
//! stay below the archive, contents never act.

use super::jobs::seen;
use super::visit::{Failure, Shown, Visit, html};
use crate::answer::Refusal;
use crate::archive::{file_of_archive, look_into};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use harrier_database::{ArtifactView, JobView};
use harrier_pages::{ArtifactEntry, ArtifactsPage, artifacts_page};
use std::collections::BTreeMap;

async fn archive(visit: &Visit) -> Result<(JobView, ArtifactView), Failure> {
    let job = seen(visit).await?;
    let found = visit.app.store.artifact(job.id, "archive").await?.ok_or(Failure::NotFound)?;
    Ok((job, found))
}

pub(super) async fn download(visit: Visit) -> Shown {
    let (job, found) = archive(&visit).await?;
    let file = visit.app.artifact_file(job.id, "archive").await.map_err(Refusal::from)?;
    let file = file.ok_or(Failure::NotFound)?;
    let mut response = Response::new(file.body().await.map_err(Refusal::from)?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(found.size.max(0)));
    attach(headers, &found.filename);
    Ok(response)
}

fn attach(headers: &mut HeaderMap, name: &str) {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let last = name.rsplit('/').next().unwrap_or_default();
    let plain: String = last.chars().map(plain).collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
}

/// Whether a name stays below its archive.
fn stays(name: &str) -> bool {
    !name.starts_with('/')
        && !name.contains(['\\', '\0'])
        && name.split('/').all(|part| !matches!(part, ".." | "."))
}

pub(super) async fn browse(visit: Visit) -> Shown {
    let (job, _) = archive(&visit).await?;
    let folder = visit.part(1).trim_matches('/').to_owned();
    let inside = folder.clone();
    let entries = look_into(&visit.app, job.id, move |zip| {
        let prefix = if inside.is_empty() { String::new() } else { format!("{inside}/") };
        // A folder sorts before a file, then by name.
        let mut found: BTreeMap<(bool, String), Option<u64>> = BTreeMap::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index)?;
            let Ok(name) = entry.name() else { continue };
            let name = name.trim_end_matches('/');
            let Some(rest) = name.strip_prefix(&prefix).filter(|rest| !rest.is_empty() && stays(name)) else {
                continue;
            };
            match rest.split_once('/') {
                Some((below, _)) => found.insert((false, below.to_owned()), None),
                None if entry.is_dir() => found.insert((false, rest.to_owned()), None),
                None => found.insert((true, rest.to_owned()), Some(entry.size())),
            };
        }
        let entry = |((_, name), size)| ArtifactEntry { name, size };
        Ok(Some(found.into_iter().map(entry).collect::<Vec<_>>()))
    });
    let entries = entries.await?.ok_or(Failure::NotFound)?;
    if entries.is_empty() && !folder.is_empty() {
        return Err(Failure::NotFound);
    }
    let project = visit.project()?.path.clone();
    let shown = ArtifactsPage { project, job: job.id, job_name: job.name, folder, entries };
    Ok(html(artifacts_page(&visit.page(), &shown)))
}

pub(super) async fn file(visit: Visit) -> Shown {
    let (job, _) = archive(&visit).await?;
    let name = visit.part(1).to_owned();
    let bytes = file_of_archive(&visit.app, job.id, &name).await?.ok_or(Failure::NotFound)?;
    let kind = shown_as(&name, &bytes);
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    // Even what is shown gets no origin, no scripts and nothing of ours.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'"),
    );
    match kind {
        Some(kind) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        None => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            attach(headers, &name);
        }
    }
    Ok(response)
}

/// The content type under which a file may be shown: pictures that cannot act, and text; `None`: it is only downloaded.
/// HTML and SVG are shown as their source.
fn shown_as(name: &str, bytes: &[u8]) -> Option<&'static str> {
    let end = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match end.as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "gif" => Some("image/gif"),
        "webp" => Some("image/webp"),
        _ if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')) => {
            Some("text/plain; charset=utf-8")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_is_shown_as_what_it_is() {
        for (name, bytes, kind) in [
            ("a/index.html", &b"<script>alert(1)</script>"[..], Some("text/plain; charset=utf-8")),
            ("x.svg", b"<svg onload=alert(1)>", Some("text/plain; charset=utf-8")),
            ("x.png", b"\x89PNG", Some("image/png")),
            ("x.pdf", b"%PDF\xff", None),
            ("x.bin", b"a\0b", None),
        ] {
            assert_eq!(shown_as(name, bytes), kind, "{name}");
        }
    }

    #[test]
    fn names_stay_below_their_archive() {
        for (name, kept) in [
            ("a/b", true),
            ("..", false),
            ("a/../b", false),
            ("/a", false),
            ("a\\b", false),
            ("a/./b", false),
            ("..a", true),
        ] {
            assert_eq!(stays(name), kept, "{name}");
        }
    }

    #[test]
    fn file_names_cannot_break_their_header() {
        let mut headers = HeaderMap::new();
        attach(&mut headers, "x/\"; filename=evil.exe\r\n.zip");
        assert_eq!(
            headers[header::CONTENT_DISPOSITION],
            "attachment; filename=\"___filename_evil.exe__.zip\""
        );
    }
}
