//! Looks into the archives that jobs left: one file of it, or its list. Called by the API and the pages; the archive may be on this
//! machine or elsewhere, nothing of it is unpacked but what is asked for.

use crate::answer::Refusal;
use crate::app::App;
use crate::storage::{BucketError, ReadSeek};
use axum::http::StatusCode;
use std::io::{self, Read as _};
use zip::ZipArchive;
use zip::result::ZipError;

/// Most bytes of one file that are unpacked.
const LONGEST: u64 = 256 << 20;

/// An archive that is looked into.
pub(crate) type Archive = ZipArchive<Box<dyn ReadSeek>>;

/// Looks into the archive of a job on a thread that may wait. `None`: there is none, or it is damaged.
pub(crate) async fn look_into<T: Send + 'static>(
    app: &App,
    job: i64,
    look: impl FnOnce(&mut Archive) -> Result<Option<T>, ZipError> + Send + 'static,
) -> Result<Option<T>, Refusal> {
    let Some(held) = app.artifact_file(job, "archive").await? else { return Ok(None) };
    let looked = tokio::task::spawn_blocking(move || look(&mut ZipArchive::new(held.open()?)?));
    match looked.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(ZipError::Io(error))) if away(&error) => {
            tracing::error!(job, error = %error, "an archive cannot be read");
            let text =
                "503 Service Unavailable - where the archive is kept does not answer; try again in a while";
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
        }
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

/// The store of objects does not answer; else the archive itself is at fault.
fn away(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<BucketError>());
    cause.is_some_and(|cause| !matches!(cause, BucketError::Missing))
}

/// The bytes of a file of a job's archive. `None`: there is no such file, or it is too long.
pub(crate) async fn file_of_archive(app: &App, job: i64, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let wanted = name.to_owned();
    look_into(app, job, move |zip| {
        let entry = match zip.by_name(&wanted) {
            Ok(entry) if entry.is_file() => entry,
            Ok(_) | Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        let read = entry.take(LONGEST + 1).read_to_end(&mut bytes)?;
        Ok((read as u64 <= LONGEST).then_some(bytes))
    })
    .await
}
