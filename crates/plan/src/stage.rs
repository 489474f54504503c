//! Stages as data. A stage has a name, a place to run and a list of operations; two renderers carry it out: the
//! native helper (`harrier-helper`) and shell text.

use crate::HeaderLine;
use harrier_base::{Secret, exposed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The stages of a job (`runner-api.md` §13).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the contract's")]
pub enum StageName {
    PrepareExecutor,
    PrepareScript,
    GetSources,
    ClearWorktree,
    RestoreCache,
    DownloadArtifacts,
    /// `step_<name>`
    Step(String),
    AfterScript,
    ArchiveCache,
    ArchiveCacheOnFailure,
    UploadArtifactsOnSuccess,
    UploadArtifactsOnFailure,
    CleanupFileVariables,
}

impl StageName {
    /// The name in sections, metrics and to the custom executor.
    pub fn wire(&self) -> String {
        match self {
            Self::PrepareExecutor => "prepare_executor".into(),
            Self::PrepareScript => "prepare_script".into(),
            Self::GetSources => "get_sources".into(),
            Self::ClearWorktree => "clear_worktree".into(),
            Self::RestoreCache => "restore_cache".into(),
            Self::DownloadArtifacts => "download_artifacts".into(),
            Self::Step(name) => format!("step_{}", name.to_lowercase()),
            Self::AfterScript => "after_script".into(),
            Self::ArchiveCache => "archive_cache".into(),
            Self::ArchiveCacheOnFailure => "archive_cache_on_failure".into(),
            Self::UploadArtifactsOnSuccess => "upload_artifacts_on_success".into(),
            Self::UploadArtifactsOnFailure => "upload_artifacts_on_failure".into(),
            Self::CleanupFileVariables => "cleanup_file_variables".into(),
        }
    }

    /// The line that opens the stage in the log (`executors.md` §1.5); `executor` is the executor's name.
    pub fn title(&self, executor: &str) -> String {
        match self {
            Self::PrepareExecutor => format!("Preparing the \"{executor}\" executor"),
            Self::PrepareScript => "Preparing environment".into(),
            Self::GetSources => "Getting source from Git repository".into(),
            Self::ClearWorktree => {
                "Deleting all tracked and untracked files due to source fetch failure".into()
            }
            Self::RestoreCache => "Restoring cache".into(),
            Self::DownloadArtifacts => "Downloading artifacts".into(),
            Self::Step(_) => format!("Executing \"{}\" stage of the job script", self.wire()),
            Self::AfterScript => "Running after_script".into(),
            Self::ArchiveCache => "Saving cache for successful job".into(),
            Self::ArchiveCacheOnFailure => "Saving cache for failed job".into(),
            Self::UploadArtifactsOnSuccess => "Uploading artifacts for successful job".into(),
            Self::UploadArtifactsOnFailure => "Uploading artifacts for failed job".into(),
            Self::CleanupFileVariables => "Cleaning up project directory and file based variables".into(),
        }
    }
}

/// Where a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Harrier's own helper: beside the job for the shell executor, the helper container for docker. Its
    /// operations may be run again after a crash.
    Helper,
    /// The user's environment. Its script runs once, whatever happens to the runner.
    Build,
}

/// One stage.
#[derive(Clone, Serialize, Deserialize)]
pub struct StagePlan {
    /// Which.
    pub name: StageName,
    /// Where.
    pub target: Target,
    /// What, in order.
    pub ops: Vec<Op>,
    /// 1..=10.
    pub attempts: u32,
    /// Waits between attempts.
    pub backoff: Backoff,
}

/// Waits between attempts of a stage (`executors.md` §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// 5 s to 5 min (`FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY`, the default).
    Exponential,
    /// 1 s to 5 s.
    Short,
}

/// One thing to do in a stage. Paths are absolute unless said otherwise.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Print "Running on <host>..." and make the job's directories; forget the env file of an earlier job.
    Prepare,
    /// Get the sources.
    Sources(Box<Sources>),
    /// Remove every tracked and untracked file of the work tree.
    ClearWorktree,
    /// Restore one cache.
    RestoreCache(CacheOp),
    /// Save one cache.
    SaveCache(CacheOp),
    /// Download and unpack the artifacts of one job.
    DownloadArtifacts(ArtifactDownload),
    /// Pack and upload artifacts.
    UploadArtifacts(ArtifactUpload),
    /// Remove file variables, the env file and git's temporary configuration.
    Cleanup(Cleanup),
    /// A user's script, run by the shell.
    Script(Script),
    /// Print a line: something the log must say in this stage, such as a cache key that was cleaned.
    Say(HeaderLine),
    /// The stage cannot be carried out at all: see [`StagePlan::fault`]. Whoever comes to it prints the message as an
    /// error and fails.
    Fail(String),
}

impl StagePlan {
    /// Why the stage must not be started: the job's settings for it make no sense. The job fails with
    /// `runner_system_failure` and this message, as when GitLab Runner cannot make a stage's script (`runner-api.md`
    /// §4.9, §14.2).
    pub fn fault(&self) -> Option<&str> {
        self.ops.iter().find_map(|op| match op {
            Op::Fail(message) => Some(message.as_str()),
            Op::Prepare
            | Op::Sources(_)
            | Op::ClearWorktree
            | Op::RestoreCache(_)
            | Op::SaveCache(_)
            | Op::DownloadArtifacts(_)
            | Op::UploadArtifacts(_)
            | Op::Cleanup(_)
            | Op::Script(_)
            | Op::Say(_) => None,
        })
    }
}

/// A user's script (`executors.md` §3.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// Each item is echoed, then run; an item may hold several lines.
    pub items: Vec<ScriptItem>,
    /// Check the exit code after each item (`FF_ENABLE_BASH_EXIT_CODE_CHECK`).
    pub check_each: bool,
    /// `set -o xtrace` (`CI_DEBUG_TRACE`).
    pub xtrace: bool,
    /// Said before the first item, e.g. "Running after script...".
    pub announce: Option<String>,
}

/// One item of a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScriptItem {
    /// The command or commands.
    pub text: String,
    /// Wrap a multi-line item in this log section (`FF_SCRIPT_SECTIONS`).
    pub section: Option<String>,
}

/// What `get_sources` does (`executors.md` §4).
#[derive(Clone, Serialize, Deserialize)]
pub struct Sources {
    /// How.
    pub strategy: GitStrategy,
    /// URL without credentials, as it goes into `.git/config`.
    pub remote_url: String,
    /// `url.<with>.insteadOf <plain>` rules for the external config: plain → with credentials.
    #[serde(with = "exposed_map")]
    pub rewrites: BTreeMap<String, Secret>,
    /// Commit to check out.
    pub sha: String,
    /// For the log.
    pub git_ref: String,
    /// What to fetch.
    pub refspecs: Vec<String>,
    /// 0 is the whole history.
    pub depth: u32,
    /// `sha256` or empty.
    pub object_format: String,
    /// `GIT_CHECKOUT`.
    pub checkout: bool,
    /// Arguments of `git clean`; `None`: no clean.
    pub clean_flags: Option<Vec<String>>,
    /// `GIT_FETCH_EXTRA_FLAGS`.
    pub fetch_flags: Vec<String>,
    /// `GIT_CLONE_EXTRA_FLAGS`, used with `native_clone`.
    pub clone_flags: Vec<String>,
    /// `FF_USE_GIT_NATIVE_CLONE`.
    pub native_clone: bool,
    /// Submodules, if wanted.
    pub submodules: Option<Submodules>,
    /// `GIT_LFS_SKIP_SMUDGE` of the user.
    pub lfs_skip_smudge: bool,
    /// `http.extraHeader` lines for the external config.
    pub extra_headers: Vec<String>,
    /// `FF_USE_GIT_BUNDLE_URIS`.
    pub bundle_uris: bool,
    /// `FF_USE_GIT_PROACTIVE_AUTH`.
    pub proactive_auth: bool,
    /// `FF_GIT_URLS_WITHOUT_TOKENS`: a credential helper that prints `CI_JOB_TOKEN` in place of the rewrites.
    pub credential_helper: bool,
    /// `safe_directory_checkout`.
    pub safe_directory: bool,
    /// `clean_git_config`.
    pub clean_git_config: bool,
    /// Scripts before git.
    pub pre: Vec<Script>,
    /// Scripts after git.
    pub post: Vec<Script>,
}

/// `GIT_STRATEGY`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the contract's")]
pub enum GitStrategy {
    Clone,
    Fetch,
    None,
    Empty,
}

/// `GIT_SUBMODULE_*`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submodules {
    /// `recursive` rather than `normal`.
    pub recursive: bool,
    /// 0 is the whole history.
    pub depth: u32,
    /// `GIT_SUBMODULE_UPDATE_FLAGS`.
    pub update_flags: Vec<String>,
    /// `GIT_SUBMODULE_PATHS`.
    pub paths: Vec<String>,
}

/// One cache, for restoring or saving (`executors.md` §5).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheOp {
    /// Keys to try in order, already cleaned; saving uses the first.
    pub keys: Vec<String>,
    /// What the log calls the first key.
    pub human_key: String,
    /// Globs relative to the project directory, as the payload has them; the helper expands variables in them.
    pub paths: Vec<String>,
    /// Add untracked files.
    pub untracked: bool,
    /// Format for saving.
    pub format: ArchiveFormat,
    /// Level for saving.
    pub level: CompressionLevel,
    /// Limit of one transfer.
    pub timeout: Duration,
    /// Delete the cache's paths after a failed extract (`FF_CLEAN_UP_FAILED_CACHE_EXTRACT`).
    pub clean_failed_extract: bool,
}

/// One dependency's artifacts (`executors.md` §6.2).
#[derive(Clone, Serialize, Deserialize)]
pub struct ArtifactDownload {
    /// Job id.
    pub job_id: i64,
    /// Job name.
    pub job_name: String,
    /// The entry's own token.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// File name.
    pub filename: String,
    /// `FF_USE_DIRECT_DOWNLOAD`.
    pub direct_download: bool,
}

/// One upload (`executors.md` §6.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArtifactUpload {
    /// Base name as the payload has it; the helper expands it with the job's environment (env file included) and drops
    /// its directory part.
    pub name: String,
    /// Globs relative to the project directory, as the payload has them; the helper expands variables in them.
    pub paths: Vec<String>,
    /// Globs.
    pub exclude: Vec<String>,
    /// Add untracked files.
    pub untracked: bool,
    /// As the server said it.
    pub expire_in: String,
    /// `archive` or a report type.
    pub artifact_type: String,
    /// As the server said it.
    pub artifact_format: ArchiveFormat,
    /// `ARTIFACT_COMPRESSION_LEVEL`.
    pub level: CompressionLevel,
    /// Whole request.
    pub upload_timeout: Duration,
    /// Until the answer's head.
    pub response_header_timeout: Duration,
    /// `RUNNER_GENERATE_ARTIFACTS_METADATA`: add a provenance statement; holds its fixed facts.
    pub provenance: Option<serde_json::Value>,
}

/// Archive formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the contract's")]
pub enum ArchiveFormat {
    #[default]
    Zip,
    Gzip,
    Raw,
    Zipzstd,
    Tarzstd,
}

/// `fastest` … `slowest`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the contract's")]
pub enum CompressionLevel {
    Fastest,
    Fast,
    #[default]
    Default,
    Slow,
    Slowest,
}

/// What `cleanup_file_variables` does (`executors.md` §4.6).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cleanup {
    /// Keys of the file variables.
    pub file_variables: Vec<String>,
    /// `FF_ENABLE_JOB_CLEANUP`: what to do with the project directory.
    pub project: ProjectCleanup,
    /// `clean_git_config`.
    pub clean_git_config: bool,
}

/// What becomes of the project directory at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectCleanup {
    /// It stays.
    Keep,
    /// It goes.
    Delete,
    /// `git clean` with these flags and `git reset --hard`.
    Reset {
        /// Arguments of `git clean`.
        clean_flags: Vec<String>,
        /// In submodules too.
        submodules: bool,
    },
}

mod exposed_map {
    use harrier_base::Secret;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub fn serialize<S: Serializer>(map: &BTreeMap<String, Secret>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(k, v)| (k, v.expose())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Secret>, D::Error> {
        Ok(BTreeMap::<String, String>::deserialize(from)?
            .into_iter()
            .map(|(k, v)| (k, Secret::new(v)))
            .collect())
    }
}
