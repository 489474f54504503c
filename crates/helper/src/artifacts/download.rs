//! `download_artifacts`: one dependency's archive, unpacked over the project directory. Any failure fails the stage.

use super::store::{self, Store};
use crate::archive;
use crate::env::Environment;
use crate::failure::Failure;
use crate::log::Log;
use crate::tree;
use harrier_base::short_token;
use harrier_client::{
    ArtifactDownload as ClientDownload, BlockingClient, DownloadOutcome, next_download_try,
};
use harrier_plan::{ArtifactDownload, HelperRequest};
use std::fs::{File, OpenOptions};
use std::io::Seek;
use std::path::Path;

/// Downloads and unpacks.
pub(crate) fn download(
    artifact: &ArtifactDownload,
    request: &HelperRequest,
    env: &Environment,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    log.notice(format_args!("Downloading artifacts for {} ({})...", artifact.job_name, artifact.job_id));
    let (file, shown) = match Store::of(request, env)? {
        Store::Directory(root) => {
            let found = store::open(&root, artifact.job_id)?;
            done(artifact, request, log);
            found
        }
        Store::Server(client) => {
            (fetch(&client, artifact, request, log)?, Path::new(&artifact.filename).to_owned())
        }
    };
    archive::extract(file, &shown, &request.dirs.project)
}

/// Fetches the archive into a file that is gone when it is closed.
fn fetch(
    client: &BlockingClient,
    artifact: &ArtifactDownload,
    request: &HelperRequest,
    log: &mut Log<'_>,
) -> Result<File, Failure> {
    let mut file = unnamed_file(&request.dirs.tmp)?;
    let mut tried = 0;
    loop {
        let clear = |file: &mut File| file.set_len(0).and_then(|()| file.rewind());
        clear(&mut file).map_err(Failure::io("clear a file in", &request.dirs.tmp))?;
        log.flush();
        let download = ClientDownload {
            job_id: artifact.job_id,
            token: artifact.token.clone(),
            direct: artifact.direct_download && tried == 0,
        };
        let outcome = client.download_artifact(&download, &mut file);
        tried += 1;
        let (words, status, why) = match &outcome {
            DownloadOutcome::Done(_) => {
                done(artifact, request, log);
                file.rewind().map_err(Failure::io("read a file in", &request.dirs.tmp))?;
                return Ok(file);
            }
            DownloadOutcome::Unauthorized(why) => ("unauthorized", "401 Unauthorized", why),
            DownloadOutcome::Forbidden(why) => ("forbidden", "403 Forbidden", why),
            DownloadOutcome::NotFound(why) => ("not found", "404 Not Found", why),
            DownloadOutcome::Failed(why) => ("failed", "none", why),
            DownloadOutcome::Sink(why) => {
                return Err(Failure::Transfer {
                    why: format!(
                        "artifacts of {} ({}) cannot be written below {}: {why}. Is the disk full?",
                        artifact.job_name,
                        artifact.job_id,
                        request.dirs.tmp.display()
                    ),
                });
            }
        };
        log.error_with(
            format_args!("Downloading artifacts from coordinator... {words}"),
            &fields(artifact, request, status),
        );
        let Some(wait) = next_download_try(&outcome, tried) else {
            return Err(Failure::Transfer {
                why: format!(
                    "artifacts of {} ({}) could not be downloaded: {why}. They may have expired or been deleted: \
                     run that job again",
                    artifact.job_name, artifact.job_id
                ),
            });
        };
        log.warning_with("Retrying...", &[("error", why.clone())]);
        client.wait(wait);
    }
}

fn fields(artifact: &ArtifactDownload, request: &HelperRequest, status: &str) -> [(&'static str, String); 4] {
    let host = request.server.url.split("://").nth(1).unwrap_or_default();
    [
        ("host", host.split('/').next().unwrap_or_default().into()),
        ("id", artifact.job_id.to_string()),
        ("responseStatus", status.into()),
        ("token", short_token(artifact.token.expose()).into()),
    ]
}

fn done(artifact: &ArtifactDownload, request: &HelperRequest, log: &mut Log<'_>) {
    log.info_with("Downloading artifacts from coordinator... ok", &fields(artifact, request, "200 OK"));
}

/// A file without a name: whatever happens to this process, nothing is left behind.
fn unnamed_file(dir: &Path) -> Result<File, Failure> {
    tree::private_dir(dir, 0o700)?;
    let path = dir.join(format!(".download.{}", std::process::id()));
    tree::remove_file(&path)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(Failure::io("create the file", &path))?;
    tree::remove_file(&path)?;
    Ok(file)
}
