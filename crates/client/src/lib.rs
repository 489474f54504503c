//! HTTP of the runner API: one call a method, typed answers, the transport rules of `runner-api.md` §1.
//!
//! Called by the runner host, the reporter, `register` and its kin, and the helper (artifacts). It retries only
//! what the contract says the transport retries; it never decides about a job. Dropping a call's future
//! cancels the call, waits between attempts included.

mod access;
mod answer;
mod artifacts;
mod blocking;
mod body;
mod error;
mod jobs;
mod retry;
mod runners;
mod tls;
mod transport;

pub use access::ServerAccess;
pub use artifacts::{
    ArtifactDownload, ArtifactUpload, DownloadOutcome, UploadOutcome, next_download_try, next_upload_try,
};
pub use blocking::BlockingClient;
pub use body::BodySource;
pub use error::ClientError;
pub use jobs::{Asked, JobAnswer, PatchAnswer, Patched, UpdateAnswer, Updated};
pub use transport::{Client, ClientOptions, Exchange, Observer};
