//! For the helper, which is a small process without tasks: the artifact calls on a thread that may wait.

use crate::{
    ArtifactDownload, ArtifactUpload, BodySource, Client, ClientError, ClientOptions, DownloadOutcome,
    ServerAccess, UploadOutcome,
};
use std::io::Write;
use std::time::Duration;

/// A [`Client`] with a runtime of its own. Must not be used from within a runtime.
pub struct BlockingClient {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl BlockingClient {
    /// Makes it; nothing is connected yet.
    pub fn new(access: ServerAccess, options: ClientOptions) -> Result<Self, ClientError> {
        let client = Client::new(access, options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
            ClientError::Setup { host: client.access().url.clone(), why: format!("no runtime: {e}") }
        })?;
        Ok(Self { client, runtime })
    }

    /// As [`Client::upload_artifact`].
    pub fn upload_artifact(&self, upload: &ArtifactUpload, archive: BodySource) -> UploadOutcome {
        self.runtime.block_on(self.client.upload_artifact(upload, archive))
    }

    /// As [`Client::download_artifact`].
    pub fn download_artifact(
        &self,
        download: &ArtifactDownload,
        sink: &mut (dyn Write + Send),
    ) -> DownloadOutcome {
        self.runtime.block_on(self.client.download_artifact(download, sink))
    }

    /// Waits between tries.
    #[expect(clippy::disallowed_methods, reason = "the helper is one thread that has nothing else to do")]
    pub fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
