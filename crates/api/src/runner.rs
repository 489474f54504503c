//! Registration, verification and the job request (`runner-api.md` §2 and §3).

use crate::null_default;
use harrier_base::{Secret, exposed, exposed_opt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /runners` (§2.1).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisterRequest {
    /// Registration token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub maintenance_note: String,
    /// Comma separated.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag_list: String,
    /// Takes jobs without tags.
    pub run_untagged: bool,
    /// Bound to its project.
    pub locked: bool,
    /// `not_protected` or `ref_protected`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub access_level: String,
    /// Seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub maximum_timeout: i64,
    /// Starts paused.
    pub paused: bool,
    /// §3.2
    pub info: Info,
}

/// Body of register, verify and reset answers.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunnerIdentity {
    /// Runner id.
    #[serde(deserialize_with = "null_default")]
    pub id: i64,
    /// Authentication token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// RFC 3339; `None` is never.
    pub token_expires_at: Option<String>,
}

/// `POST /runners/verify` (§2.3).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyRequest {
    /// Authentication token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// §2.8
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_id: String,
    /// §3.2
    pub info: Info,
}

/// `DELETE /runners` and `DELETE /runners/managers` (§2.4, §2.5).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteRequest {
    /// Authentication token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// Only for managers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_id: String,
}

/// `POST /jobs/request` (§3.1).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRequest {
    /// §3.2
    pub info: Info,
    /// Authentication token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// §2.8
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_id: String,
    /// Echo of `X-GitLab-Last-Update`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_update: String,
    /// §17; never set while there is no session server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

/// §17
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Where the terminal is reached.
    pub url: String,
    /// PEM.
    pub certificate: String,
    /// Secret for the `Authorization` header.
    #[serde(with = "exposed_opt")]
    pub authorization: Option<Secret>,
}

/// §3.2
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Program.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Commit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Go's GOOS.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// Go's GOARCH.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// Executor name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub executor: String,
    /// `bash`, `sh`, `pwsh`, `powershell`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub shell: String,
    /// Every flag, always.
    pub features: Features,
    /// Always.
    pub config: InfoConfig,
    /// At most 32.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// §3.2
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InfoConfig {
    /// Docker's GPUs.
    pub gpus: String,
}

macro_rules! features {
    ($($name:ident),* $(,)?) => {
        /// What a runner can do (§3.2); every flag is always sent.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[expect(missing_docs, reason = "the names are the wire's; the table of §3.2 describes them")]
        pub struct Features { $(pub $name: bool),* }

        impl Features {
            /// Each flag with its wire name.
            pub fn list(&self) -> Vec<(&'static str, bool)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

features! {
    variables, image, services, artifacts, cache, fallback_cache_keys, shared, upload_multiple_artifacts,
    upload_raw_artifacts, session, terminal, refspecs, masking, proxy, raw_variables, artifacts_exclude,
    multi_build_steps, trace_reset, trace_checksum, trace_size, vault_secrets, cancelable, return_exit_code,
    service_variables, service_multiple_aliases, image_executor_opts, service_executor_opts, cancel_gracefully,
    native_steps_integration, two_phase_job_commit, job_inputs,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}
