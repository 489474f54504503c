//! Calls to a server as the commands need them, with the words GitLab Runner has for their outcome.
//!
//! Called by register, verify, unregister and reset-token. It decides nothing about the file.

use super::config_file::ConfigFile;
use super::error::CliError;
use super::identity;
use harrier_api::{RunnerIdentity, VerifyRequest};
use harrier_base::{Secret, short_token};
use harrier_client::{Client, ClientError, ClientOptions, ServerAccess};
use harrier_config::RunnerSpec;
use std::path::PathBuf;

/// A token and the server it is for.
#[derive(Clone)]
pub struct Credentials {
    pub access: ServerAccess,
    pub token: Secret,
}

impl Credentials {
    /// Those of an entry.
    pub fn of(runner: &RunnerSpec, file: &ConfigFile) -> Self {
        let tls = (runner.tls_ca_file.clone(), runner.tls_cert_file.clone(), runner.tls_key_file.clone());
        Self::new(runner.url.clone(), tls, runner.token.clone(), file)
    }

    /// From the parts.
    pub fn new(
        url: String,
        (tls_ca_file, tls_cert_file, tls_key_file): (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>),
        token: Secret,
        file: &ConfigFile,
    ) -> Self {
        let certs_dir = Some(file.certs());
        Self { access: ServerAccess { url, tls_ca_file, tls_cert_file, tls_key_file, certs_dir }, token }
    }

    /// A client for the server.
    pub fn client(&self) -> Result<Client, ClientError> {
        let options = ClientOptions { user_agent: identity::user_agent(), connection_max_age: None };
        Client::new(self.access.clone(), options)
    }

    /// Created in GitLab (`glrt-`), as opposed to got by a registration.
    pub fn is_created(&self) -> bool {
        is_created(&self.token)
    }

    fn short(&self) -> &str {
        short_token(self.token.expose())
    }
}

/// Whether the token is of a runner created in GitLab (`runner-api.md` §1.3).
pub fn is_created(token: &Secret) -> bool {
    token.expose().starts_with("glrt-")
}

/// What a server knows about a token (`runner-api.md` §2.3).
pub enum Verified {
    /// It is valid.
    Alive(RunnerIdentity),
    /// The server does not know it.
    Gone,
    /// Nobody knows; the runner counts as there.
    Unknown(ClientError),
    /// The server cannot even be asked.
    Unusable(ClientError),
}

/// Asks the server about a token and says in the log what came of it.
pub async fn verify(credentials: &Credentials, system_id: &str) -> Verified {
    let runner = credentials.short();
    let client = match credentials.client() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(runner, error = %error, "Verifying runner... client error");
            return Verified::Unusable(error);
        }
    };
    let request = VerifyRequest {
        token: credentials.token.clone(),
        system_id: system_id.to_owned(),
        info: harrier_runner::runner_info(&identity::program(), None),
    };
    match client.verify(&request).await {
        Ok(identity) => {
            tracing::info!(runner, "Verifying runner... is valid");
            Verified::Alive(identity)
        }
        Err(error) if error.status() == Some(403) => {
            tracing::error!(runner, "Verifying runner... is removed");
            Verified::Gone
        }
        Err(error) if error.is_unusable() => {
            tracing::error!(runner, error = %error, "Verifying runner... client error");
            Verified::Unusable(error)
        }
        Err(error) => {
            tracing::warn!(runner, error = %error, "Verifying runner... failed");
            Verified::Unknown(error)
        }
    }
}

/// Takes the runner off the server: for a created runner only this machine's manager, else the runner itself.
pub async fn unregister(credentials: &Credentials, system_id: &str) -> Result<(), CliError> {
    let runner = credentials.short();
    let (what, doing) = if credentials.is_created() {
        ("runner manager", "Unregistering runner manager from GitLab")
    } else {
        ("runner", "Unregistering runner from GitLab")
    };
    let done = match credentials.client() {
        Ok(client) if credentials.is_created() => {
            client.unregister_manager(&credentials.token, system_id).await
        }
        Ok(client) => client.unregister(&credentials.token).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => {
            tracing::info!(runner, "Unregistering {what} from GitLab succeeded");
            Ok(())
        }
        Err(source) => Err(CliError::Server { doing, source }),
    }
}
