//! The job payload: the body of the 201 answer to a job request (`runner-api.md` §4).

use crate::null_default;
use harrier_base::{Secret, exposed};
use serde::{Deserialize, Serialize};

/// One job as a server hands it out (§4.1). The local host and the coordinator make the same value.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobPayload {
    /// Job id.
    #[serde(deserialize_with = "null_default")]
    pub id: i64,
    /// Job token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// The project allows the `fetch` strategy by default.
    #[serde(deserialize_with = "null_default")]
    pub allow_git_fetch: bool,
    /// §4.2
    #[serde(deserialize_with = "null_default")]
    pub job_info: JobInfo,
    /// §4.3
    #[serde(deserialize_with = "null_default")]
    pub git_info: GitInfo,
    /// §4.4
    #[serde(deserialize_with = "null_default")]
    pub runner_info: RunnerInfo,
    /// §4.15; refused unless empty.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<serde_json::Value>,
    /// §4.5
    #[serde(deserialize_with = "null_default")]
    pub variables: Vec<JobVariable>,
    /// §4.7
    #[serde(deserialize_with = "null_default")]
    pub steps: Vec<Step>,
    /// §4.6
    pub image: Option<Image>,
    /// §4.6
    #[serde(deserialize_with = "null_default")]
    pub services: Vec<Image>,
    /// §4.8
    #[serde(deserialize_with = "null_default")]
    pub artifacts: Vec<Artifact>,
    /// §4.9
    #[serde(deserialize_with = "null_default")]
    pub cache: Vec<Cache>,
    /// §4.10
    #[serde(deserialize_with = "null_default")]
    pub credentials: Vec<Credentials>,
    /// §4.11
    #[serde(deserialize_with = "null_default")]
    pub dependencies: Vec<Dependency>,
    /// §4.12
    #[serde(deserialize_with = "null_default")]
    pub features: PayloadFeatures,
    /// §4.13, by variable name.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "serde_json::Map::is_empty")]
    pub secrets: serde_json::Map<String, serde_json::Value>,
    /// §4.16
    #[serde(deserialize_with = "null_default")]
    pub hooks: Vec<Hook>,
    /// §4.14: JSON within a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// §4.17
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_options: Option<PolicyOptions>,
}

/// §4.2
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobInfo {
    /// Job id, as at the top.
    #[serde(deserialize_with = "null_default")]
    pub id: i64,
    /// Job name; part of the default cache key.
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    /// Stage name.
    #[serde(deserialize_with = "null_default")]
    pub stage: String,
    /// Newest servers only.
    #[serde(deserialize_with = "null_default")]
    pub pipeline_id: i64,
    /// Used in cache paths and container names.
    #[serde(deserialize_with = "null_default")]
    pub project_id: i64,
    /// Project name.
    #[serde(deserialize_with = "null_default")]
    pub project_name: String,
    /// `group/project`.
    #[serde(deserialize_with = "null_default")]
    pub project_full_path: String,
    /// For logs.
    #[serde(deserialize_with = "null_default")]
    pub namespace_id: i64,
    /// For logs.
    #[serde(deserialize_with = "null_default")]
    pub root_namespace_id: i64,
    /// For logs.
    #[serde(deserialize_with = "null_default")]
    pub organization_id: i64,
    /// Which server it is.
    #[serde(deserialize_with = "null_default")]
    pub instance_id: String,
    /// The same.
    #[serde(deserialize_with = "null_default")]
    pub instance_uuid: String,
    /// For logs.
    #[serde(deserialize_with = "null_default")]
    pub user_id: i64,
    /// On whose behalf, for composite identities.
    pub scoped_user_id: Option<i64>,
    /// Seconds the job waited.
    #[serde(deserialize_with = "null_default")]
    pub time_in_queue_seconds: f64,
    /// `"+Inf"`, `"<n>"` or `"<max>+"`.
    #[serde(deserialize_with = "null_default")]
    pub project_jobs_running_on_instance_runners_count: String,
    /// For metrics.
    #[serde(deserialize_with = "null_default")]
    pub queue_size: i64,
    /// For metrics.
    #[serde(deserialize_with = "null_default")]
    pub queue_depth: i64,
}

/// §4.3
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GitInfo {
    /// Clone URL with credentials.
    #[serde(with = "exposed")]
    pub repo_url: Secret,
    /// Branch or tag.
    #[serde(rename = "ref", deserialize_with = "null_default")]
    pub git_ref: String,
    /// Commit to check out.
    #[serde(deserialize_with = "null_default")]
    pub sha: String,
    /// Commit before the push.
    #[serde(deserialize_with = "null_default")]
    pub before_sha: String,
    /// `branch` or `tag`.
    #[serde(deserialize_with = "null_default")]
    pub ref_type: String,
    /// What to fetch.
    #[serde(deserialize_with = "null_default")]
    pub refspecs: Vec<String>,
    /// 0 is the whole history.
    #[serde(deserialize_with = "null_default")]
    pub depth: u32,
    /// `sha1` (also when empty) or `sha256`.
    #[serde(deserialize_with = "null_default")]
    pub repo_object_format: String,
    /// Since GitLab 18.3.
    pub protected: Option<bool>,
}

/// §4.4
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunnerInfo {
    /// Job timeout in seconds; 0 or less means 7200.
    #[serde(deserialize_with = "null_default")]
    pub timeout: i64,
    /// Of the runner; for the log only. Empty where the server knows none.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Where the server reaches the job's terminal; runners do not read it.
    pub runner_session_url: Option<String>,
}

/// §4.5
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobVariable {
    /// Name.
    #[serde(deserialize_with = "null_default")]
    pub key: String,
    /// Value.
    #[serde(deserialize_with = "null_default")]
    pub value: String,
    /// Given to services too.
    #[serde(deserialize_with = "null_default")]
    pub public: bool,
    /// Goes into a file.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub file: bool,
    /// Hidden in the log.
    #[serde(deserialize_with = "null_default")]
    pub masked: bool,
    /// Not expanded.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
}

/// §4.6: image of the job or of a service.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Reference.
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    /// Service host aliases, separated by commas or spaces.
    #[serde(deserialize_with = "null_default")]
    pub alias: String,
    /// `null`: the image's own.
    pub command: Option<Vec<String>>,
    /// `null`: the image's own; `[""]`: none.
    pub entrypoint: Option<Vec<String>>,
    /// Ports for the web IDE.
    #[serde(deserialize_with = "null_default")]
    pub ports: Vec<serde_json::Value>,
    /// Only for this service.
    #[serde(deserialize_with = "null_default")]
    pub variables: Vec<JobVariable>,
    /// Tried in order.
    #[serde(deserialize_with = "null_default")]
    pub pull_policy: Vec<String>,
    /// `{"docker": {"platform", "user"}, "kubernetes": {"user"}}`
    #[serde(deserialize_with = "null_default")]
    pub executor_opts: serde_json::Map<String, serde_json::Value>,
}

/// §4.7
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// `script`, `release`, `after_script`.
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    /// One entry a YAML list item.
    #[serde(deserialize_with = "null_default")]
    pub script: Vec<String>,
    /// Not used by runners.
    #[serde(deserialize_with = "null_default")]
    pub timeout: i64,
    /// Not used by runners.
    #[serde(deserialize_with = "null_default")]
    pub when: String,
    /// Not used by runners.
    #[serde(deserialize_with = "null_default")]
    pub allow_failure: bool,
}

/// §4.8
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Artifact {
    /// Base name of the archive.
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    /// Add untracked files.
    #[serde(deserialize_with = "null_default")]
    pub untracked: bool,
    /// Globs.
    #[serde(deserialize_with = "null_default")]
    pub paths: Vec<String>,
    /// Globs.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// `on_success` (also when empty), `on_failure`, `always`.
    #[serde(deserialize_with = "null_default")]
    pub when: String,
    /// Passed on unchanged.
    #[serde(deserialize_with = "null_default")]
    pub expire_in: String,
    /// `archive` or a report type.
    #[serde(deserialize_with = "null_default")]
    pub artifact_type: String,
    /// `zip` (also when empty), `gzip`, `raw`, `zipzstd`, `tarzstd`.
    #[serde(deserialize_with = "null_default")]
    pub artifact_format: String,
}

/// §4.9
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// Key; empty means `<job name>/<ref>`.
    #[serde(deserialize_with = "null_default")]
    pub key: String,
    /// Add untracked files.
    #[serde(deserialize_with = "null_default")]
    pub untracked: bool,
    /// `pull-push` (also when empty), `pull`, `push` or a variable.
    #[serde(deserialize_with = "null_default")]
    pub policy: String,
    /// Globs.
    #[serde(deserialize_with = "null_default")]
    pub paths: Vec<String>,
    /// When to save.
    #[serde(deserialize_with = "null_default")]
    pub when: String,
    /// Tried in order after the key.
    #[serde(deserialize_with = "null_default")]
    pub fallback_keys: Vec<String>,
}

/// §4.10
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// Only `registry` is used.
    #[serde(rename = "type", deserialize_with = "null_default")]
    pub kind: String,
    /// `host[:port]`.
    #[serde(deserialize_with = "null_default")]
    pub url: String,
    /// User.
    #[serde(deserialize_with = "null_default")]
    pub username: String,
    /// Password.
    #[serde(with = "exposed")]
    pub password: Secret,
}

/// §4.11
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// Job id.
    #[serde(deserialize_with = "null_default")]
    pub id: i64,
    /// The token to download with.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// Job name.
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    /// Absent if the job has no archive.
    pub artifacts_file: Option<ArtifactsFile>,
}

/// §4.11
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactsFile {
    /// File name.
    #[serde(deserialize_with = "null_default")]
    pub filename: String,
    /// Bytes.
    #[serde(deserialize_with = "null_default")]
    pub size: i64,
}

/// §4.12
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PayloadFeatures {
    /// Emit section markers.
    #[serde(deserialize_with = "null_default")]
    pub trace_sections: bool,
    /// Reasons the server understands.
    #[serde(deserialize_with = "null_default")]
    pub failure_reasons: Vec<String>,
    /// More token prefixes to mask.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub token_mask_prefixes: Vec<String>,
}

/// §4.16
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// `pre_get_sources_script` or `post_get_sources_script`.
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    /// Lines.
    #[serde(deserialize_with = "null_default")]
    pub script: Vec<String>,
}

/// §4.17
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyOptions {
    /// A policy started the job.
    #[serde(deserialize_with = "null_default")]
    pub execution_policy_job: bool,
    /// Which.
    #[serde(deserialize_with = "null_default")]
    pub policy_name: String,
    /// May users' variables override?
    pub policy_variables_override_allowed: Option<bool>,
    /// Except these.
    #[serde(deserialize_with = "null_default")]
    pub policy_variables_override_exceptions: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_anywhere_leaves_the_default() {
        let text = r#"{"id":1,"token":"t","image":null,"artifacts":null,"cache":null,"job_info":null,
            "git_info":{"ref":null,"sha":"abc","repo_url":"u","refspecs":null,"depth":null,"protected":null},
            "variables":[{"key":"A","value":null,"public":true}],"steps":[{"name":"script","script":["x"],
            "timeout":null,"when":null}],"services":[{"name":"a","alias":null,"command":null,"entrypoint":null,
            "pull_policy":null,"executor_opts":null,"ports":null,"variables":null}],"what_is_this":[1,2],
            "dependencies":[{"id":2,"token":null,"name":null}],"features":null,"secrets":null,"hooks":null,
            "credentials":null,"runner_info":{"timeout":null,"runner_session_url":null}}"#;
        let job: JobPayload = serde_json::from_str(text).expect("nulls are fine");
        assert_eq!(job.id, 1);
        assert_eq!(job.variables[0].value, "");
        assert_eq!(job.services[0].name, "a");
        assert!(job.dependencies[0].artifacts_file.is_none());
    }

    #[test]
    fn a_type_mismatch_is_an_error() {
        assert!(serde_json::from_str::<JobPayload>(r#"{"id":"seven"}"#).is_err());
    }
}
