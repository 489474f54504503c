//! Where artifacts are kept: a server, or, for local runs, a directory given as a `file://` URL. In the directory an artifact is
//! `<job id>/<type>/<file name>` with a `meta.json` beside it, and is put there whole.

use crate::cache::put_in_place;
use crate::env::Environment;
use crate::failure::Failure;
use crate::tree;
use harrier_client::{BlockingClient, ClientOptions, ServerAccess};
use harrier_plan::HelperRequest;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A place for artifacts.
pub(super) enum Store {
    /// A server that speaks the runner API.
    Server(Box<BlockingClient>),
    /// A directory on this machine.
    Directory(PathBuf),
}

/// What `meta.json` holds.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Meta {
    pub(super) format: String,
    pub(super) expire_in: String,
    pub(super) name: String,
}

impl Store {
    pub(super) fn of(request: &HelperRequest, env: &Environment) -> Result<Self, Failure> {
        let server = &request.server;
        if let Some(dir) = server.url.strip_prefix("file://") {
            return Ok(Self::Directory(dir.into()));
        }
        // What the runner itself found for the server (a file named after the host) comes as file variables.
        env.write_file_variables()?;
        let file = |configured: &Option<PathBuf>, variable: &str| {
            configured
                .clone()
                .or_else(|| env.get(variable).filter(|path| !path.is_empty()).map(PathBuf::from))
        };
        let access = ServerAccess {
            url: server.url.clone(),
            tls_ca_file: file(&server.tls_ca_file, "CI_SERVER_TLS_CA_FILE"),
            tls_cert_file: file(&server.tls_cert_file, "CI_SERVER_TLS_CERT_FILE"),
            tls_key_file: file(&server.tls_key_file, "CI_SERVER_TLS_KEY_FILE"),
            certs_dir: None,
        };
        let options = ClientOptions { user_agent: http_agent(&request.user_agent), connection_max_age: None };
        BlockingClient::new(access, options)
            .map(|client| Self::Server(Box::new(client)))
            .map_err(|why| Failure::Transfer { why: why.to_string() })
    }
}

/// The runner's `User-Agent` on the API (`runner-api.md` §1.2), made from the one that git sends:
/// `<name> <version> <os>/<arch>`.
fn http_agent(gits: &str) -> String {
    match gits.rsplit_once(' ') {
        Some((program, platform)) => {
            format!("{program} (harrier; {}; {platform})", env!("CARGO_PKG_VERSION"))
        }
        None => gits.to_owned(),
    }
}

/// Keeps an artifact in the directory `root`; one of the same job and type is replaced.
pub(super) fn keep(
    root: &Path,
    job: i64,
    kind: &str,
    meta: &Meta,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let dir = place(root, job, kind)?;
    // Made beside the directory, so that it never holds anything but the artifact and its description.
    let staging = root.join(job.to_string()).join(format!(".{kind}.new"));
    tree::remove(&staging)?;
    put_in_place(&staging.join(&meta.name), write)?;
    let text = serde_json::json!(meta).to_string();
    put_in_place(&staging.join("meta.json"), |out| out.write_all(text.as_bytes()))?;
    tree::remove(&dir)?;
    tree::hand_over(root, &staging)?;
    std::fs::rename(&staging, &dir).map_err(Failure::io("put the artifact into", &dir))
}

/// Opens the archive that a job has left in the directory `root`.
pub(super) fn open(root: &Path, job: i64) -> Result<(File, PathBuf), Failure> {
    let dir = place(root, job, "archive")?;
    let description = dir.join("meta.json");
    let text = std::fs::read(&description).map_err(Failure::io("find the artifacts", &description))?;
    let meta: Meta = serde_json::from_slice(&text)
        .map_err(|why| Failure::Archive { path: description.clone(), why: why.to_string() })?;
    let path = dir.join(Path::new(&meta.name).file_name().unwrap_or_default());
    let file = File::open(&path).map_err(Failure::io("open the artifacts", &path))?;
    Ok((file, path))
}

fn place(root: &Path, job: i64, kind: &str) -> Result<PathBuf, Failure> {
    if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(Failure::Refused {
            what: "not a type of artifact",
            value: kind.to_owned(),
            remedy: "Use one of the report types of GitLab",
        });
    }
    Ok(root.join(job.to_string()).join(kind))
}
