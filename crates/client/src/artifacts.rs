//! Artifacts up and down (`runner-api.md` §9). One call is one try; the caller prints what happened and asks
//! [`next_upload_try`] or [`next_download_try`] whether and when to try again.

use crate::ClientError;
use crate::body::{Body, BodySource};
use crate::transport::{Call, Client, JOB_TOKEN, Limits};
use harrier_base::Secret;
use reqwest::Method;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// An archive to send (§9.1).
#[derive(Clone)]
pub struct ArtifactUpload {
    /// The job it belongs to.
    pub job_id: i64,
    /// That job's token.
    pub token: Secret,
    /// File name with its ending.
    pub filename: String,
    /// `expire_in`, passed on unless empty.
    pub expire_in: String,
    /// `artifact_format`, passed on unless empty.
    pub format: String,
    /// `artifact_type`, passed on unless empty.
    pub kind: String,
    /// Limit of one attempt; `[runners.artifact] upload_timeout`.
    pub timeout: Duration,
    /// From the end of the archive to the answer; `[runners.artifact] response_header_timeout`.
    pub header_timeout: Duration,
}

/// What one try to upload came to. The texts are for the job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    /// 201
    Stored,
    /// 403; final.
    Forbidden(String),
    /// 413; final.
    TooLarge(String),
    /// 503 after the transport's own retries; tried more often.
    Unavailable(String),
    /// Any other status, or no answer.
    Failed {
        /// The status, if there was one.
        status: Option<u16>,
        /// What happened.
        why: String,
    },
    /// The archive itself could not be made; final.
    Source(String),
}

/// An archive to fetch (§9.3).
#[derive(Clone)]
pub struct ArtifactDownload {
    /// The job that made it.
    pub job_id: i64,
    /// The dependency's own token.
    pub token: Secret,
    /// Ask for the storage's own address (first try, `FF_USE_DIRECT_DOWNLOAD`).
    pub direct: bool,
}

/// What one try to download came to. The texts are for the job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadOutcome {
    /// 200, this many bytes were written.
    Done(u64),
    /// 401; final.
    Unauthorized(String),
    /// 403; final.
    Forbidden(String),
    /// 404; final.
    NotFound(String),
    /// Anything else; whatever was written so far must be thrown away.
    Failed(String),
    /// The bytes could not be written; final.
    Sink(String),
}

/// How long to wait before the next try after `tried` tries; `None`: no more. Three tries, six while the server
/// is unavailable; 1 s, then up to 5 s.
pub fn next_upload_try(outcome: &UploadOutcome, tried: u32) -> Option<Duration> {
    let most = match outcome {
        UploadOutcome::Unavailable(_) => 6,
        UploadOutcome::Failed { .. } => 3,
        UploadOutcome::Stored
        | UploadOutcome::Forbidden(_)
        | UploadOutcome::TooLarge(_)
        | UploadOutcome::Source(_) => return None,
    };
    (tried < most)
        .then(|| Duration::from_secs(1 << tried.saturating_sub(1).min(3)).min(Duration::from_secs(5)))
}

/// As [`next_upload_try`]: two more tries after a failure, 1 s apart.
pub fn next_download_try(outcome: &DownloadOutcome, tried: u32) -> Option<Duration> {
    match outcome {
        DownloadOutcome::Failed(_) => (tried < 3).then_some(Duration::from_secs(1)),
        DownloadOutcome::Done(_)
        | DownloadOutcome::Unauthorized(_)
        | DownloadOutcome::Forbidden(_)
        | DownloadOutcome::NotFound(_)
        | DownloadOutcome::Sink(_) => None,
    }
}

impl Client {
    /// `POST /jobs/:id/artifacts`. `archive` is called anew for every attempt and every redirect.
    pub async fn upload_artifact(&self, upload: &ArtifactUpload, archive: BodySource) -> UploadOutcome {
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            quoted(&upload.filename)
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let source: BodySource = Arc::new(move |out: &mut dyn Write| {
            out.write_all(head.as_bytes())?;
            archive(out)?;
            out.write_all(tail.as_bytes())
        });
        let mut call = Call::new(Method::POST, format!("jobs/{}/artifacts", upload.job_id))
            .token(JOB_TOKEN, &upload.token)
            .body(&format!("multipart/form-data; boundary={boundary}"), Body::Stream(source));
        call.limits = Limits { total: upload.timeout, headers: upload.header_timeout };
        for (name, value) in [
            ("expire_in", &upload.expire_in),
            ("artifact_format", &upload.format),
            ("artifact_type", &upload.kind),
        ] {
            if !value.is_empty() {
                call.query.push((name, value.clone()));
            }
        }
        let answer = match self.send(call).await {
            Ok(answer) => answer,
            Err(ClientError::Source(why)) => return UploadOutcome::Source(why),
            Err(error) => return UploadOutcome::Failed { status: None, why: error.to_string() },
        };
        let why = answer.error().to_string();
        match answer.status.as_u16() {
            201 => UploadOutcome::Stored,
            403 => UploadOutcome::Forbidden(why),
            413 => UploadOutcome::TooLarge(why),
            503 => UploadOutcome::Unavailable(why),
            status => UploadOutcome::Failed { status: Some(status), why },
        }
    }

    /// `GET /jobs/:id/artifacts` into `sink`. A redirect to the storage is followed at once, without the token.
    pub async fn download_artifact(
        &self,
        download: &ArtifactDownload,
        sink: &mut (dyn Write + Send),
    ) -> DownloadOutcome {
        let mut call = Call::new(Method::GET, format!("jobs/{}/artifacts", download.job_id))
            .token(JOB_TOKEN, &download.token);
        if download.direct {
            call.query.push(("direct_download", "true".to_owned()));
        }
        let mut opened = match self.open(call).await {
            Ok(opened) => opened,
            Err(error) => return DownloadOutcome::Failed(error.to_string()),
        };
        if opened.response.status().as_u16() != 200 {
            let answer = match opened.read().await {
                Ok(answer) => answer,
                Err(error) => return DownloadOutcome::Failed(error.to_string()),
            };
            let why = answer.error().to_string();
            return match answer.status.as_u16() {
                401 => DownloadOutcome::Unauthorized(why),
                403 => DownloadOutcome::Forbidden(why),
                404 => DownloadOutcome::NotFound(why),
                _ => DownloadOutcome::Failed(why),
            };
        }
        let mut written = 0_u64;
        loop {
            match opened.response.chunk().await {
                Ok(Some(chunk)) => {
                    if let Err(error) = sink.write_all(&chunk) {
                        return DownloadOutcome::Sink(error.to_string());
                    }
                    written += chunk.len() as u64;
                }
                Ok(None) => break,
                Err(error) => return DownloadOutcome::Failed(opened.broken(&error).to_string()),
            }
        }
        match sink.flush() {
            Ok(()) => DownloadOutcome::Done(written),
            Err(error) => DownloadOutcome::Sink(error.to_string()),
        }
    }
}

/// As a quoted string of a header, so that no file name can end it.
fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries() {
        let failed = UploadOutcome::Failed { status: Some(500), why: String::new() };
        let busy = UploadOutcome::Unavailable(String::new());
        let secs = |o: &UploadOutcome| -> Vec<Option<u64>> {
            (1..=6).map(|t| next_upload_try(o, t).map(|d| d.as_secs())).collect()
        };
        assert_eq!(secs(&failed), [Some(1), Some(2), None, None, None, None]);
        assert_eq!(secs(&busy), [Some(1), Some(2), Some(4), Some(5), Some(5), None]);
        assert_eq!(next_upload_try(&UploadOutcome::TooLarge(String::new()), 1), None);
        let failed = DownloadOutcome::Failed(String::new());
        assert!(next_download_try(&failed, 2).is_some() && next_download_try(&failed, 3).is_none());
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"b\\c\r\nd.zip"), "a\\\"b\\\\c%0D%0Ad.zip");
    }
}
