//! Secrets that the server makes for itself once, sealed. Called by the coordinator for the key of its id tokens.

use crate::error::{DatabaseError, Result};
use crate::store::Store;
use crate::tx::{params, scalar};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

impl Store {
    /// A sealed value of the server's own.
    pub async fn sealed_setting(&self, name: &'static str) -> Result<Option<Vec<u8>>> {
        let sealer = self.sealer();
        self.read(move |tx| {
            let kept: Option<String> =
                scalar(tx, "SELECT value FROM settings WHERE name = $1", params![name])?;
            let Some(kept) = kept else { return Ok(None) };
            let sealed = STANDARD.decode(kept).map_err(|_| DatabaseError::Sealed)?;
            sealer.open(&sealed).map(Some)
        })
        .await
    }

    /// Keeps a sealed value, unless there is one; gives what is kept.
    pub async fn seal_setting_once(&self, name: &'static str, value: Vec<u8>) -> Result<Vec<u8>> {
        let sealer = self.sealer();
        let sealed = STANDARD.encode(sealer.seal(&value)?);
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                params![name, sealed],
            )?;
            Ok(())
        })
        .await?;
        self.sealed_setting(name).await?.ok_or(DatabaseError::NotFound("setting"))
    }
}
