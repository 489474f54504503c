//! Token rotation (`runner-api.md` §2.6): when three quarters of a token's life are over it is replaced, on the server and
//! in `config.toml`.
//!
//! Called by the service, one runner at a time. The old token ends at once, so the file is tried before the server is
//! asked.

use harrier_api::RunnerIdentity;
use harrier_client::Client;
use harrier_config::mirror::Stamp;
use harrier_config::{ConfigError, EditError, RunnerSpec, TokenFields, file, set_token};
use std::path::Path;

/// Whether the token of this entry is due at `now`, Unix seconds.
pub(crate) fn is_due(spec: &RunnerSpec, now: i64) -> bool {
    let Some(expires) = spec.token_expires_at else { return false };
    if spec.token.is_empty() {
        return false;
    }
    // Without the start of its life the whole of it counts as over.
    let Some(obtained) = spec.token_obtained_at else { return true };
    let life = i128::from(expires) - i128::from(obtained);
    (i128::from(now) - i128::from(obtained)) * 4 >= life * 3
}

/// Why a token was not replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotationError {
    #[error("the file cannot be written, so the token is not replaced: {0}")]
    File(#[from] ConfigError),
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("the server did not replace the token: {0}")]
    Server(#[from] harrier_client::ClientError),
}

/// A token that was replaced.
pub(crate) struct Rotated {
    pub(crate) identity: RunnerIdentity,
    /// The file does not have it: it holds for this process only.
    pub(crate) unsaved: Option<String>,
}

/// Asks for a new token and puts it into the file.
pub(crate) async fn rotate(
    client: &Client,
    spec: &RunnerSpec,
    config: &Path,
    now: i64,
) -> Result<Rotated, RotationError> {
    let text = file::read(config)?.unwrap_or_default();
    file::save(config, &text)?;
    let identity = client.reset_token(&spec.token).await?;
    let unsaved = save(&identity, spec, config, now).err().map(|error| error.to_string());
    Ok(Rotated { identity, unsaved })
}

fn save(identity: &RunnerIdentity, spec: &RunnerSpec, config: &Path, now: i64) -> Result<(), RotationError> {
    // The file may have changed meanwhile; what counts is the entry that has the old token.
    let text = file::read(config)?.unwrap_or_default();
    let index = position(&text, config, spec)?;
    let fields = TokenFields {
        id: None,
        token: identity.token.clone(),
        obtained_at: Stamp(now),
        expires_at: expiry(identity).map_or(Stamp::NEVER, Stamp),
    };
    file::save(config, &set_token(&text, &config.display().to_string(), index, &fields)?)?;
    Ok(())
}

/// When the token of a server's answer ends, Unix seconds.
pub(crate) fn expiry(identity: &RunnerIdentity) -> Option<i64> {
    identity.token_expires_at.as_deref()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

fn position(text: &str, config: &Path, spec: &RunnerSpec) -> Result<usize, RotationError> {
    let origin = config.display().to_string();
    let (host, _) = harrier_config::parse(text, &origin, &|name| std::env::var(name).ok())?;
    let found = host.runners.iter().position(|r| r.token == spec.token && r.url == spec.url);
    found.ok_or_else(|| EditError::NoEntry { origin, number: 0 }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_quarters_of_a_life() {
        let text = "[[runners]]\nurl = \"http://h\"\ntoken = \"glrt-x\"\nexecutor = \"shell\"\n";
        let (host, _) = harrier_config::parse(text, "config.toml", &|_| None).expect("good");
        let spec = |obtained, expires| RunnerSpec {
            token_obtained_at: obtained,
            token_expires_at: expires,
            ..host.runners[0].clone()
        };
        for (obtained, expires, now, due) in [
            (Some(1000), Some(2000), 1749, false),
            (Some(1000), Some(2000), 1750, true),
            (Some(1000), Some(2000), 9000, true),
            (None, Some(2000), 0, true),
            (Some(1000), None, 9000, false),
        ] {
            assert_eq!(is_due(&spec(obtained, expires), now), due, "{obtained:?} {expires:?} {now}");
        }
    }
}
