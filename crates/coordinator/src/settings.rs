//! What the person who starts the server chose. Filled by the command line, read everywhere; it never changes while the server
//! runs.

use crate::storage::ObjectStorage;
use harrier_base::Secret;
use harrier_database::Patience;
use harrier_includes::{AddressPolicy, Templates};
use std::time::Duration;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How others reach it: `https://host:port/path`, without a slash at the end.
    pub external_url: String,
    /// Version of the program.
    pub version: String,
    /// Commit of the program.
    pub revision: String,
    /// Longest time that a job request is held (`runner-api.md` §3.7).
    pub long_poll: Duration,
    /// How long a job waits to be accepted (§3.6).
    pub reservation: Duration,
    /// How long jobs may be silent.
    pub patience: Patience,
    /// Seconds between the parts of a log: the most while nobody looks at it, and while somebody does (§6.2).
    pub trace_interval: (u64, u64),
    /// Most bytes of a log.
    pub max_trace: u64,
    /// Most bytes of an artifact.
    pub max_artifact: u64,
    /// Which addresses `include: remote` and mirrors may reach.
    pub include_policy: AddressPolicy,
    /// Others reach it through something else than its own socket: nobody is near just because their address is.
    pub behind_proxy: bool,
    /// Requests, and changes of jobs and pipelines, are lines of the log.
    pub narrate: bool,
    /// Registration tokens work (§2.1).
    pub registration_tokens: bool,
    /// Where `include: template` finds its files.
    pub templates: Option<Templates>,
    /// Where logs and artifacts are kept, if not on this machine.
    pub storage: Option<ObjectStorage>,
    /// The container registry that jobs are told of (§4.10).
    pub registry: Option<Registry>,
}

/// A container registry that works apart from this server.
#[derive(Clone, Debug)]
pub struct Registry {
    /// `host[:port]`: `CI_REGISTRY`.
    pub host: String,
    /// With which every job logs in; without it jobs log in by themselves, or nobody needs to.
    pub login: Option<RegistryLogin>,
}

/// A log-in that every job gets.
#[derive(Clone)]
pub struct RegistryLogin {
    /// `CI_REGISTRY_USER`
    pub user: String,
    /// `CI_REGISTRY_PASSWORD`
    pub password: Secret,
}

impl std::fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Settings {
    /// The defaults, for a server at this address.
    pub fn new(external_url: impl Into<String>) -> Self {
        Self {
            external_url: external_url.into().trim_end_matches('/').to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: "unknown".to_owned(),
            long_poll: Duration::from_secs(50),
            reservation: Duration::from_secs(60),
            patience: Patience::default(),
            trace_interval: (30, 1),
            max_trace: 100 << 20,
            max_artifact: 1 << 30,
            include_policy: AddressPolicy::strict(),
            behind_proxy: false,
            narrate: false,
            registration_tokens: true,
            templates: None,
            storage: None,
            registry: None,
        }
    }
}
