//! The compiled pipeline: everything a scheduler or a payload needs, typed, with the place of each keyword.
//! Made by [`crate::compile`], read by the hosts, the scheduler and the payload.

use crate::diagnostic::{Diagnostic, Place};
use crate::origins::Written;
use crate::source::Sources;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What came out of a compilation.
#[derive(Debug)]
pub struct Compiled {
    /// `None` if there is an error, or if the workflow or the rules leave nothing to run.
    pub pipeline: Option<Pipeline>,
    /// Errors and warnings, in the order found.
    pub diagnostics: Vec<Diagnostic>,
    /// The files read, for [`crate::render`].
    pub sources: Sources,
    /// Why no pipeline exists although the configuration is valid (filtered out by workflow rules or rules).
    pub filtered: Option<Filtered>,
    /// The configuration as written and as merged, for the question where something comes from.
    pub written: Written,
}

impl Compiled {
    /// Whether any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == crate::Severity::Error)
    }
}

/// A valid configuration that makes no pipeline (§2 pass 9, §14, §28.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// No `workflow:rules` matched, or the one that matched says `never`.
    Workflow {
        /// The rule that said `never`.
        place: Option<Place>,
    },
    /// No job is left, or only jobs in `.pre` and `.post`.
    Rules {
        /// Which jobs, and why not.
        left_out: Vec<LeftOut>,
    },
}

/// A pipeline about to run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pipeline {
    /// `workflow:name`, expanded.
    pub name: Option<String>,
    /// All stages in order, `.pre` first and `.post` last, those without jobs included.
    pub stages: Vec<String>,
    /// The jobs of this pipeline, in file order; [`JobId`] is the index.
    pub jobs: Vec<Job>,
    /// The visible jobs that are not part of it.
    pub left_out: Vec<LeftOut>,
    /// Top level variables with those of the matching workflow rule.
    pub variables: Vec<YamlVariable>,
    /// `workflow:auto_cancel`.
    pub auto_cancel: AutoCancel,
}

impl Pipeline {
    /// The job of an id.
    pub fn job(&self, id: JobId) -> &Job {
        &self.jobs[id.0]
    }

    /// All ids in file order.
    pub fn ids(&self) -> impl Iterator<Item = JobId> + use<> {
        (0..self.jobs.len()).map(JobId)
    }

    /// The job of a name.
    pub fn find(&self, name: &str) -> Option<JobId> {
        self.jobs.iter().position(|j| j.name == name).map(JobId)
    }

    /// The jobs a job waits for: its needs, or all jobs of earlier stages.
    pub fn waits_for(&self, id: JobId) -> Vec<JobId> {
        let job = self.job(id);
        match &job.needs {
            Some(needs) => needs.iter().filter_map(|n| n.job).collect(),
            None => self.ids().filter(|i| self.job(*i).stage_index < job.stage_index).collect(),
        }
    }

    /// The jobs whose artifacts (and dotenv variables) a job gets, in pipeline order (§16.3).
    pub fn artifact_sources(&self, id: JobId) -> Vec<JobId> {
        let job = self.job(id);
        let mut ids: Vec<JobId> = match &job.needs {
            Some(needs) => needs.iter().filter(|n| n.artifacts).filter_map(|n| n.job).collect(),
            None => self.waits_for(id),
        };
        if let Some(named) = &job.dependencies {
            ids.retain(|i| named.contains(&self.job(*i).name));
        }
        ids.sort();
        ids.dedup();
        ids
    }
}

/// Index of a job in [`Pipeline::jobs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub usize);

/// A job of the file that the pipeline does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why, for a person: `rule 2 (if: $CI_COMMIT_TAG) says never`, `no rule matched`.
    pub reason: String,
    /// The rule, or the job's `rules`, `only` or `except`.
    pub place: Option<Place>,
}

/// `workflow:auto_cancel` (§14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoCancel {
    /// What a newer commit of the ref does to this pipeline.
    pub on_new_commit: OnNewCommit,
    /// A job that fails and may not fail ends the whole pipeline.
    pub on_job_failure: bool,
}

/// `auto_cancel:on_new_commit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnNewCommit {
    /// Cancel as long as no job with `interruptible: false` has started.
    #[default]
    Conservative,
    /// Cancel only the interruptible jobs.
    Interruptible,
    /// Leave it.
    None,
}

/// A variable written in YAML; never a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct YamlVariable {
    /// Name.
    pub key: String,
    /// Value as text.
    pub value: String,
    /// `expand: false`: the value stays as written.
    pub raw: bool,
}

/// When a job runs (§28.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum When {
    /// When everything before it passed.
    #[default]
    OnSuccess,
    /// When something before it failed.
    OnFailure,
    /// Whatever happened before, but not after a cancellation.
    Always,
    /// When a person starts it.
    Manual,
    /// After [`Job::start_in`].
    Delayed,
}

impl When {
    /// The YAML word.
    pub fn word(self) -> &'static str {
        match self {
            Self::OnSuccess => "on_success",
            Self::OnFailure => "on_failure",
            Self::Always => "always",
            Self::Manual => "manual",
            Self::Delayed => "delayed",
        }
    }
}

/// `allow_failure`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllowFailure {
    /// A failure is a failure.
    #[default]
    No,
    /// Any failure is only a warning.
    Yes,
    /// Failures with these exit codes are only a warning.
    ExitCodes(Vec<i64>),
}

impl AllowFailure {
    /// Whether a failure with this exit code is allowed.
    pub fn allows(&self, exit_code: Option<i64>) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::ExitCodes(codes) => exit_code.is_some_and(|code| codes.contains(&code)),
        }
    }
}

/// One job, after inheritance, rules and `parallel`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Full name, instance suffix included (`rspec 1/3`, `test: [a, b]`).
    pub name: String,
    /// The name without counters and bracket lists (`CI_JOB_GROUP_NAME`).
    pub group: String,
    /// Stage name.
    pub stage: String,
    /// Index of the stage in [`Pipeline::stages`].
    pub stage_index: usize,
    /// When it runs, after rules.
    pub when: When,
    /// Delay of a delayed job.
    pub start_in: Option<Duration>,
    /// Whether it may fail, after rules.
    pub allow_failure: AllowFailure,
    /// Its needs; `None` means it waits for the earlier stages, empty means it starts at once.
    pub needs: Option<Vec<Need>>,
    /// Names of the jobs whose artifacts it wants; `None` means the default of §16.3.
    pub dependencies: Option<Vec<String>>,
    /// `before_script`, flattened.
    pub before_script: Vec<String>,
    /// `script`, flattened.
    pub script: Vec<String>,
    /// `after_script`, flattened.
    pub after_script: Vec<String>,
    /// `hooks:pre_get_sources_script`, flattened.
    pub pre_get_sources: Vec<String>,
    /// YAML variables, each name once: top level, workflow rule, job, rule and matrix, in rising rank (§9.2).
    pub variables: Vec<YamlVariable>,
    /// `image`.
    pub image: Option<Image>,
    /// `services`.
    pub services: Vec<Service>,
    /// `artifacts`.
    pub artifacts: Option<Artifacts>,
    /// `cache`, up to four.
    pub cache: Vec<Cache>,
    /// `retry`.
    pub retry: Retry,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `tags`, not expanded.
    pub tags: Vec<String>,
    /// `interruptible`.
    pub interruptible: bool,
    /// `environment`, not expanded.
    pub environment: Option<Environment>,
    /// `resource_group`, not expanded.
    pub resource_group: Option<String>,
    /// `coverage`: the regular expression without its slashes.
    pub coverage: Option<String>,
    /// `release`, as data.
    pub release: Option<Release>,
    /// `manual_confirmation`.
    pub manual_confirmation: Option<String>,
    /// `trigger`, or the project that it mirrors: such a job has no script and no runner.
    pub bridge: Option<Bridge>,
    /// Jobs of other pipelines and projects whose artifacts it gets; it does not wait for them.
    pub elsewhere: Vec<NeedElsewhere>,
    /// `run`, the list of steps as written. Such a job has no script.
    pub run: Option<serde_json::Value>,
    /// `inputs`.
    pub inputs: Vec<JobInput>,
    /// `id_tokens`.
    pub id_tokens: Vec<IdToken>,
    /// `secrets`.
    pub secrets: Vec<SecretSource>,
    /// `identity`.
    pub identity: Option<String>,
    /// `dast_configuration`.
    pub dast_configuration: Option<DastConfiguration>,
    /// It publishes a site (§24.2).
    pub pages: Option<Pages>,
    /// Which instance of `parallel` it is.
    pub instance: Option<Instance>,
    /// Which rule put it into the pipeline.
    pub rule: Option<MatchedRule>,
    /// Where the job is written.
    pub place: Place,
    /// Where each of its keywords is written, inherited ones included.
    pub places: Vec<(String, Place)>,
}

impl Job {
    /// Where a keyword of the job is written.
    pub fn place_of(&self, keyword: &str) -> Option<Place> {
        self.places.iter().find(|(k, _)| k == keyword).map(|(_, p)| *p)
    }
}

/// The rule that decided about a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedRule {
    /// Counted from 1.
    pub number: usize,
    /// The rule in short, for a person: `if: $CI_COMMIT_BRANCH`.
    pub text: String,
    /// Where it is written.
    pub place: Place,
    /// Names of the variables it sets.
    #[serde(default)]
    pub variables: Vec<String>,
}

/// One instance of a `parallel` job (§17).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Name of the job in the file.
    pub base: String,
    /// `CI_NODE_INDEX`, from 1.
    pub index: usize,
    /// `CI_NODE_TOTAL`.
    pub total: usize,
    /// Matrix values in key order; empty for `parallel: N`.
    pub matrix: Vec<(String, String)>,
}

/// One entry of `needs` in this pipeline (§16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Name of the needed job.
    pub name: String,
    /// Its id; `None` only for an optional need that is not in the pipeline.
    pub job: Option<JobId>,
    /// Its artifacts are downloaded.
    pub artifacts: bool,
    /// It may be missing.
    pub optional: bool,
    /// Where it is written.
    pub place: Place,
}

/// `image` (§21).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Reference, not expanded.
    pub name: String,
    /// `None`: the image's own.
    pub entrypoint: Option<Vec<String>>,
    /// Tried in order.
    pub pull_policy: Vec<String>,
    /// `docker:platform`
    pub docker_platform: Option<String>,
    /// `docker:user`
    pub docker_user: Option<String>,
    /// `kubernetes:user`
    pub kubernetes_user: Option<String>,
}

/// One of `services` (§21).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The image.
    pub image: Image,
    /// Host names, separated by commas or blanks.
    pub alias: Option<String>,
    /// `None`: the image's own.
    pub command: Option<Vec<String>>,
    /// Only for this service.
    pub variables: Vec<(String, String)>,
}

/// When artifacts or a cache are saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaveWhen {
    /// After success.
    #[default]
    OnSuccess,
    /// After a failure.
    OnFailure,
    /// After both.
    Always,
}

impl SaveWhen {
    /// The YAML word.
    pub fn word(self) -> &'static str {
        match self {
            Self::OnSuccess => "on_success",
            Self::OnFailure => "on_failure",
            Self::Always => "always",
        }
    }
}

/// `artifacts` (§19).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Archive name, not expanded.
    pub name: Option<String>,
    /// Globs.
    pub paths: Vec<String>,
    /// Globs.
    pub exclude: Vec<String>,
    /// Untracked files too.
    pub untracked: bool,
    /// When they are kept.
    pub when: SaveWhen,
    /// As written: a duration or `never`.
    pub expire_in: Option<String>,
    /// Shown in the merge request under this name.
    pub expose_as: Option<String>,
    /// `public`
    pub public: Option<bool>,
    /// `access`
    pub access: Option<String>,
    /// Reports in the order written: type on the wire and paths.
    pub reports: Vec<Report>,
}

/// One of `artifacts:reports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Type on the wire: `junit`, `dotenv`, `cobertura`, …
    pub kind: String,
    /// Globs.
    pub paths: Vec<String>,
}

/// One of `cache` (§20).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// The key.
    pub key: CacheKey,
    /// Globs.
    pub paths: Vec<String>,
    /// Untracked files too.
    pub untracked: bool,
    /// Never the protected one.
    pub unprotect: bool,
    /// When it is saved.
    pub when: SaveWhen,
    /// `pull-push`, `pull`, `push` or a text with a variable.
    pub policy: String,
    /// Tried after the key.
    pub fallback_keys: Vec<String>,
}

/// `cache:key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheKey {
    /// A text, not expanded; default `default`.
    Text(String),
    /// A digest of files.
    Files {
        /// One or two paths.
        files: Vec<String>,
        /// `files_commits`: digest of the last commits instead of the contents.
        commits: bool,
        /// In front of the digest.
        prefix: Option<String>,
    },
}

/// `retry` (§18.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// More attempts, 0 to 2.
    pub max: u32,
    /// Failure reasons; empty together with `exit_codes` means all.
    pub when: Vec<String>,
    /// Exit codes.
    pub exit_codes: Vec<i64>,
}

/// `environment` (§22), not expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Name.
    pub name: String,
    /// URL.
    pub url: Option<String>,
    /// `start`, `stop`, `prepare`, `verify`, `access`.
    pub action: EnvironmentAction,
    /// Job that stops it.
    pub on_stop: Option<String>,
    /// Duration text.
    pub auto_stop_in: Option<String>,
    /// Tier.
    pub deployment_tier: Option<String>,
    /// `kubernetes`, as data.
    pub kubernetes: Option<serde_json::Value>,
}

/// `environment:action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvironmentAction {
    /// Makes a deployment.
    #[default]
    Start,
    /// Stops the environment.
    Stop,
    /// Before a deployment.
    Prepare,
    /// After a deployment.
    Verify,
    /// Only looks at it.
    Access,
}

impl EnvironmentAction {
    /// The YAML word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Prepare => "prepare",
            Self::Verify => "verify",
            Self::Access => "access",
        }
    }
}

/// `release` (§24.1), not expanded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// Tag to make.
    pub tag_name: String,
    /// Text or path of a file.
    pub description: String,
    /// Every key as written, for the release step.
    pub all: serde_json::Value,
}

/// What a job without a script does (§23, §16.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bridge {
    /// `trigger:include`: a pipeline of the same project and commit with another configuration.
    Child {
        /// The value of `include`, as written.
        include: serde_json::Value,
        /// Artifacts that hold configuration: the job as named there, and the path.
        artifacts: Vec<(String, String)>,
        /// How the pipeline's end comes back.
        strategy: Strategy,
        /// What is passed on.
        forward: Forward,
    },
    /// `trigger:project`: a pipeline of another project.
    Project {
        /// `group/name`, not expanded.
        project: String,
        /// Not expanded; `None` is the default branch.
        branch: Option<String>,
        /// Values for its inputs, texts not expanded.
        inputs: serde_json::Map<String, serde_json::Value>,
        /// How the pipeline's end comes back.
        strategy: Strategy,
        /// What is passed on.
        forward: Forward,
    },
    /// `needs: {pipeline: group/name}`: it has the status of that project's latest pipeline of the default branch.
    Mirror {
        /// `group/name`, not expanded.
        project: String,
    },
}

impl Bridge {
    /// How the other pipeline's status comes back.
    pub fn strategy(&self) -> Strategy {
        match self {
            Self::Child { strategy, .. } | Self::Project { strategy, .. } => *strategy,
            Self::Mirror { .. } => Strategy::Mirror,
        }
    }
}

/// `trigger:strategy` (§23.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// The bridge has passed as soon as the other pipeline exists.
    #[default]
    Independent,
    /// It passes or fails with the other pipeline.
    Depend,
    /// It has the other pipeline's status, whatever that is.
    Mirror,
}

/// `trigger:forward` (§23.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Variables of the file.
    pub yaml_variables: bool,
    /// Variables of the pipeline itself.
    pub pipeline_variables: bool,
}

impl Default for Forward {
    fn default() -> Self {
        Self { yaml_variables: true, pipeline_variables: false }
    }
}

/// A need of another pipeline or project (§16.1), texts not expanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedElsewhere {
    /// Name of the job there.
    pub job: String,
    /// Its artifacts are downloaded.
    pub artifacts: bool,
    /// Where that job is.
    pub from: Elsewhere,
    /// Where it is written.
    pub place: Place,
}

/// Where a needed job of another pipeline is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Elsewhere {
    /// In the pipeline of this id, usually `$PARENT_PIPELINE_ID`.
    Pipeline(String),
    /// In the latest successful pipeline of a ref of a project.
    Project {
        /// `group/name`
        project: String,
        /// Branch or tag.
        git_ref: String,
    },
}

/// One of a job's `inputs` (§26).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobInput {
    /// Its name, as in `${{ job.inputs.NAME }}`.
    pub name: String,
    /// `string`, `number`, `boolean` or `array`.
    pub kind: String,
    /// Its value, if nobody gives another when the job is started.
    pub default: serde_json::Value,
    /// For the person who starts the job.
    pub description: Option<String>,
    /// Only these values; empty means any.
    pub options: Vec<serde_json::Value>,
    /// What a text must match, without slashes.
    pub regex: Option<String>,
}

/// One of `id_tokens` (§25).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdToken {
    /// Variable that holds it.
    pub name: String,
    /// Whom it is for, not expanded.
    pub aud: Vec<String>,
    /// Whether `aud` is one text: the claim is then a text too.
    pub single: bool,
}

/// One of `secrets` (§25).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretSource {
    /// Variable that holds it.
    pub name: String,
    /// Who has it, and where there.
    pub provider: SecretProvider,
    /// The variable holds the path of a file with it.
    pub file: bool,
    /// Which id token opens the provider, as written (`$TOKEN`).
    pub token: Option<String>,
}

/// Who has a secret. Texts are not expanded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SecretProvider {
    /// HashiCorp Vault.
    Vault {
        /// `kv-v1`, `kv-v2` or `generic`.
        engine: String,
        /// Where the engine is mounted.
        engine_path: String,
        /// Of the secret in the engine.
        path: String,
        /// In the secret.
        field: String,
    },
    /// Google Cloud Secret Manager.
    Gcp {
        /// Name.
        name: String,
        /// `latest` if not given.
        version: Option<String>,
    },
    /// Azure Key Vault.
    Azure {
        /// Name.
        name: String,
        /// The newest if not given.
        version: Option<String>,
    },
    /// AWS Secrets Manager.
    Aws {
        /// `secret_id`, `version_id`, `version_stage`, `region`, `role_arn`, `role_session_name`, `field`: those given.
        settings: std::collections::BTreeMap<String, String>,
    },
    /// Akeyless: the keys as written.
    Akeyless {
        /// `name`, `data_key`, …: those given.
        settings: std::collections::BTreeMap<String, String>,
    },
    /// GitLab's own.
    Gitlab {
        /// Name.
        name: String,
        /// The project's or `group/<path>`.
        source: Option<String>,
    },
}

/// `dast_configuration` (§18).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DastConfiguration {
    /// Name of a site profile.
    pub site_profile: Option<String>,
    /// Name of a scanner profile.
    pub scanner_profile: Option<String>,
}

/// What a pages job publishes (§24.2), not expanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// Directory with the site; it is one of the artifacts' paths.
    pub publish: String,
    /// Below the site's address.
    pub path_prefix: Option<String>,
    /// Duration, `never` or a variable.
    pub expire_in: Option<String>,
}
