//! A job of a pipeline as the payload that GitLab would send (`runner-api.md` §4). Called by the local host and the
//! coordinator once for every attempt. Ids, tokens, git facts and dependencies are given.

use crate::expand::{Scope, Winners, expand_existing, for_runner};
use crate::glob::wildcard_matches;
use crate::pipeline::{CacheKey, Image, Job, Service, YamlVariable};
use crate::predefined::{PipelineFacts, job_variables, pipeline_variables, user_variables};
use crate::secrets::secrets;
use harrier_api::{
    Artifact, Cache, Credentials, Dependency, GitInfo, Hook, JobInfo, JobPayload, JobVariable,
    PayloadFeatures, RunnerInfo, Step,
};
use harrier_base::{Secret, Variable};
use sha1::{Digest, Sha1};

/// What a cache key made from files needs to know of the tree at the pipeline's commit.
pub trait Tree {
    /// Every path, sorted.
    fn files(&self) -> &[String];
    /// Id of a file's content; `None` if there is no such file.
    fn blob_id(&self, path: &str) -> Option<String>;
    /// The last commit that touched a file; `None` if there is no such file.
    fn last_commit(&self, path: &str) -> Option<String>;
}

/// Facts about one attempt of one job.
pub struct JobFacts<'a> {
    /// Job id.
    pub id: i64,
    /// Job token.
    pub token: Secret,
    /// `CI_JOB_URL`
    pub url: String,
    /// `CI_PIPELINE_URL`
    pub pipeline_url: String,
    /// `CI_JOB_STARTED_AT`, ISO 8601.
    pub started_at: String,
    /// A person started it (`CI_JOB_MANUAL`).
    pub played: bool,
    /// Its pipeline.
    pub pipeline: &'a PipelineFacts,
    /// Project numbers and queue facts; name and stage are filled in.
    pub info: JobInfo,
    /// Where its sources come from.
    pub git: GitInfo,
    /// The project uses `fetch` by default.
    pub allow_git_fetch: bool,
    /// Seconds, for a job without `timeout`.
    pub default_timeout: i64,
    /// The job's timeout must not be longer than this; 0 is no limit.
    pub max_timeout: i64,
    /// The runner: `CI_RUNNER_ID`, `CI_RUNNER_DESCRIPTION`, `CI_RUNNER_TAGS`.
    pub runner: Option<RunnerFacts>,
    /// Variables from the dotenv reports of jobs before it, in their order.
    pub dotenv: Vec<Variable>,
    /// Its id tokens, signed: a masked variable for each of [`Job::id_tokens`] that could be made.
    pub id_tokens: &'a [Variable],
    /// Values that a person has given for its inputs.
    pub inputs: &'a [(String, serde_json::Value)],
    /// Instance, group and project variables for its environment and ref, lowest first
    /// ([`crate::project_variables::select`]).
    pub project: &'a [Variable],
    /// Variables of the run.
    pub run: &'a [Variable],
    /// Variables given when the job was played.
    pub manual: &'a [Variable],
    /// Jobs whose artifacts it downloads.
    pub dependencies: Vec<Dependency>,
    /// Registry logins; the one of the server's registry is also `CI_REGISTRY_USER` and `CI_REGISTRY_PASSWORD`.
    pub credentials: Vec<Credentials>,
    /// For `cache:key:files`.
    pub tree: &'a dyn Tree,
    /// The project keeps caches of protected and other refs apart (the default).
    pub separate_caches: bool,
    /// How often the project's caches were cleared.
    pub cache_generation: u64,
    /// `CI_ENVIRONMENT_ID`, where environments are numbered.
    pub environment_id: Option<i64>,
}

/// The runner that takes a job.
#[derive(Clone, Debug, Default)]
pub struct RunnerFacts {
    /// Number.
    pub id: i64,
    /// Description.
    pub description: String,
    /// Tags.
    pub tags: Vec<String>,
    /// What names it in logs beside its number; empty: nothing.
    pub uuid: String,
}

/// Seconds of the `timeout` field of a step that has no timeout of its own.
const HOUR: i64 = 3600;

/// Every reason that current Rails lists (`runner-api.md` §14.1), and the runner's own.
const FAILURE_REASONS: [&str; 54] = [
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "missing_dependency_failure",
    "runner_unsupported",
    "stale_schedule",
    "job_execution_timeout",
    "archived_failure",
    "unmet_prerequisites",
    "scheduler_failure",
    "data_integrity_failure",
    "forward_deployment_failure",
    "user_blocked",
    "project_deleted",
    "ci_quota_exceeded",
    "pipeline_loop_detected",
    "no_matching_runner",
    "trace_size_exceeded",
    "builds_disabled",
    "environment_creation_failure",
    "deployment_rejected",
    "failed_outdated_deployment_job",
    "job_execution_server_timeout",
    "stuck_pending_with_matching_runners",
    "stuck_pending_no_matching_runners",
    "no_updates_running",
    "no_updates_canceling",
    "server_timeout_running",
    "server_timeout_canceling",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "runner_interrupted",
    "protected_environment_failure",
    "insufficient_bridge_permissions",
    "downstream_bridge_project_not_found",
    "invalid_bridge_trigger",
    "upstream_bridge_project_not_found",
    "insufficient_upstream_permissions",
    "bridge_pipeline_is_child_pipeline",
    "downstream_pipeline_creation_failed",
    "secrets_provider_not_found",
    "reached_max_descendant_pipelines_depth",
    "ip_restriction_failure",
    "reached_max_pipeline_hierarchy_size",
    "reached_downstream_pipeline_trigger_rate_limit",
    "duo_workflow_not_allowed",
    "job_router_failure",
    "job_token_expired",
    "id_token_burned_project_path",
    "downstream_project_trigger_resolved_to_empty",
    "image_pull_failure",
    "job_canceled",
];

/// Whether a failure reason is one that servers know.
pub fn is_failure_reason(reason: &str) -> bool {
    FAILURE_REASONS.contains(&reason)
}

/// The payload of a job.
pub fn job_payload(job: &Job, facts: JobFacts<'_>) -> JobPayload {
    let variables = variables(job, &facts);
    let scope = Winners::new(&variables);
    let own = job.timeout.map(|timeout| i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX));
    let mut timeout = own.unwrap_or(if facts.default_timeout > 0 { facts.default_timeout } else { HOUR });
    if facts.max_timeout > 0 {
        timeout = timeout.min(facts.max_timeout);
    }
    let mut info = facts.info.clone();
    info.id = facts.id;
    info.name.clone_from(&job.name);
    info.stage.clone_from(&job.stage);
    let mut git = facts.git.clone();
    if let Some(depth) = scope.look_up("GIT_DEPTH").and_then(|v| v.value.trim().parse().ok()) {
        git.depth = depth;
    }
    let protected = facts.pipeline.commit.protected;
    let cache = job
        .cache
        .iter()
        .enumerate()
        .map(|(index, cache)| self::cache(cache, index, &facts, protected, &scope))
        .collect();
    let mut payload = JobPayload {
        id: facts.id,
        allow_git_fetch: facts.allow_git_fetch,
        job_info: info,
        git_info: git,
        runner_info: RunnerInfo {
            timeout,
            uuid: facts.runner.as_ref().map(|runner| runner.uuid.clone()).unwrap_or_default(),
            runner_session_url: None,
        },
        steps: steps(job, timeout),
        // `script` and `run` exclude each other, on the wire too.
        run: job.run.as_ref().map(serde_json::Value::to_string),
        secrets: secrets(job, &scope),
        image: job.image.as_ref().map(image),
        services: job.services.iter().map(service).collect(),
        artifacts: artifacts(job),
        cache,
        credentials: facts.credentials,
        dependencies: facts.dependencies,
        features: PayloadFeatures {
            trace_sections: true,
            failure_reasons: FAILURE_REASONS.map(str::to_owned).to_vec(),
            token_mask_prefixes: Vec::new(),
        },
        hooks: if job.pre_get_sources.is_empty() {
            Vec::new()
        } else {
            vec![Hook { name: "pre_get_sources_script".into(), script: job.pre_get_sources.clone() }]
        },
        variables: for_runner(&variables)
            .into_iter()
            .map(|v| JobVariable {
                key: v.key,
                value: v.value,
                public: v.public,
                file: v.file,
                masked: v.masked,
                raw: v.raw,
            })
            .collect(),
        token: facts.token,
        ..JobPayload::default()
    };
    crate::job_inputs::put_in(job, facts.inputs, &mut payload);
    payload
}

/// All variables in Rails' order, later ones winning (`runner-api.md` §16.4).
fn variables(job: &Job, facts: &JobFacts<'_>) -> Vec<Variable> {
    let mut out = vec![
        Variable::public("CI_PIPELINE_ID", facts.pipeline.id.to_string()),
        Variable::public("CI_PIPELINE_URL", &facts.pipeline_url),
        Variable::public("CI_JOB_ID", facts.id.to_string()),
        Variable::public("CI_JOB_URL", &facts.url),
        Variable::internal("CI_JOB_TOKEN", facts.token.expose()).masked(),
        Variable::public("CI_JOB_STARTED_AT", &facts.started_at),
    ];
    if let Some(registry) = &facts.pipeline.server.registry
        && let Some(login) = facts.credentials.iter().find(|login| login.url == *registry)
    {
        out.push(Variable::public("CI_REGISTRY_USER", &login.username));
        out.push(Variable::internal("CI_REGISTRY_PASSWORD", login.password.expose()).masked());
    }
    out.push(Variable::internal("CI_REPOSITORY_URL", facts.git.repo_url.expose()));
    out.extend(facts.id_tokens.iter().cloned());
    out.extend(job_variables(job));
    if facts.played {
        out.push(Variable::public("CI_JOB_MANUAL", "true"));
    }
    out.extend(pipeline_variables(facts.pipeline));
    out.push(Variable::public("CI_PIPELINE_CREATED_AT", &facts.pipeline.created_at));
    if let Some(runner) = &facts.runner {
        out.push(Variable::public("CI_RUNNER_ID", runner.id.to_string()));
        out.push(Variable::public("CI_RUNNER_DESCRIPTION", &runner.description));
        out.push(Variable::public("CI_RUNNER_TAGS", format!("{:?}", runner.tags)));
    }
    out.extend(job.variables.iter().map(yaml_variable));
    out.extend(user_variables(&facts.pipeline.user));
    out.extend(facts.dotenv.iter().cloned());
    out.extend(facts.project.iter().cloned());
    out.extend(facts.run.iter().cloned());
    out.extend(facts.manual.iter().cloned());
    if let Some(id) = facts.environment_id {
        out.push(Variable::public("CI_ENVIRONMENT_ID", id.to_string()));
    }
    if let Some(environment) = &job.environment
        && let Some(url) = &environment.url
    {
        let url = expand_existing(&Winners::new(&out), url);
        out.push(Variable::public("CI_ENVIRONMENT_URL", url));
    }
    out
}

pub(crate) fn yaml_variable(variable: &YamlVariable) -> Variable {
    let out = Variable::public(&variable.key, &variable.value);
    if variable.raw { out.raw() } else { out }
}

fn steps(job: &Job, timeout: i64) -> Vec<Step> {
    if job.run.is_some() {
        return Vec::new();
    }
    let script = job.before_script.iter().chain(&job.script).cloned().collect();
    let mut steps = vec![Step {
        name: "script".into(),
        script,
        timeout,
        when: "on_success".into(),
        allow_failure: false,
    }];
    if let Some(release) = &job.release {
        steps.push(Step {
            name: "release".into(),
            script: crate::release_step::script(release),
            timeout,
            when: "on_success".into(),
            allow_failure: false,
        });
    }
    if !job.after_script.is_empty() {
        steps.push(Step {
            name: "after_script".into(),
            script: job.after_script.clone(),
            timeout,
            when: "always".into(),
            allow_failure: true,
        });
    }
    steps
}

fn image(image: &Image) -> harrier_api::Image {
    let mut options = serde_json::Map::new();
    let mut docker = serde_json::Map::new();
    if let Some(platform) = &image.docker_platform {
        docker.insert("platform".into(), platform.clone().into());
    }
    if let Some(user) = &image.docker_user {
        docker.insert("user".into(), user.clone().into());
    }
    if !docker.is_empty() {
        options.insert("docker".into(), docker.into());
    }
    if let Some(user) = &image.kubernetes_user {
        options.insert("kubernetes".into(), serde_json::json!({ "user": user }));
    }
    harrier_api::Image {
        name: image.name.clone(),
        entrypoint: image.entrypoint.clone(),
        pull_policy: image.pull_policy.clone(),
        executor_opts: options,
        ..harrier_api::Image::default()
    }
}

fn service(service: &Service) -> harrier_api::Image {
    let variables = service.variables.iter();
    harrier_api::Image {
        alias: service.alias.clone().unwrap_or_default(),
        command: service.command.clone(),
        variables: variables
            .map(|(key, value)| JobVariable {
                key: key.clone(),
                value: value.clone(),
                ..JobVariable::default()
            })
            .collect(),
        ..image(&service.image)
    }
}

/// The format on the wire and the default file name of a report (`runner-api.md` §4.8).
fn report_format(kind: &str) -> &'static str {
    match kind {
        "junit"
        | "metrics"
        | "metrics_referee"
        | "network_referee"
        | "dotenv"
        | "cobertura"
        | "jacoco"
        | "cluster_applications"
        | "cyclonedx"
        | "annotations"
        | "repository_xray"
        | "sarif" => "gzip",
        "lsif" => "zip",
        _ => "raw",
    }
}

fn report_name(kind: &str) -> String {
    match kind {
        "junit" => "junit.xml".into(),
        "dotenv" => ".env".into(),
        "codequality" => "gl-code-quality-report.json".into(),
        "cobertura" => "cobertura-coverage.xml".into(),
        "jacoco" => "jacoco-coverage.xml".into(),
        "metrics" => "metrics.txt".into(),
        "lsif" => "lsif.json".into(),
        "performance" => "performance.json".into(),
        "browser_performance" => "browser-performance.json".into(),
        "load_performance" => "load-performance.json".into(),
        "terraform" => "tfplan.json".into(),
        "requirements" => "requirements.json".into(),
        "requirements_v2" => "requirements_v2.json".into(),
        "cyclonedx" => "gl-sbom.cdx.json".into(),
        "annotations" => "gl-annotations.json".into(),
        "accessibility" => "gl-accessibility.json".into(),
        "repository_xray" => "gl-repository-xray.json".into(),
        other => format!("gl-{}-report.json", other.replace('_', "-")),
    }
}

fn artifacts(job: &Job) -> Vec<Artifact> {
    let Some(artifacts) = &job.artifacts else { return Vec::new() };
    let mut out = Vec::with_capacity(1 + artifacts.reports.len());
    let expire_in = artifacts.expire_in.clone().unwrap_or_default();
    if !artifacts.paths.is_empty() || artifacts.untracked {
        out.push(Artifact {
            name: artifacts.name.clone().unwrap_or_default(),
            untracked: artifacts.untracked,
            paths: artifacts.paths.clone(),
            exclude: artifacts.exclude.clone(),
            when: artifacts.when.word().into(),
            expire_in: expire_in.clone(),
            artifact_type: "archive".into(),
            artifact_format: "zip".into(),
        });
    }
    for report in &artifacts.reports {
        out.push(Artifact {
            name: report_name(&report.kind),
            paths: report.paths.clone(),
            when: "always".into(),
            expire_in: expire_in.clone(),
            artifact_type: report.kind.clone(),
            artifact_format: report_format(&report.kind).into(),
            ..Artifact::default()
        });
    }
    out
}

fn cache(
    cache: &crate::Cache,
    index: usize,
    facts: &JobFacts<'_>,
    protected: bool,
    scope: &dyn Scope,
) -> Cache {
    let key = match &cache.key {
        CacheKey::Text(text) => text.clone(),
        CacheKey::Files { files, commits, prefix } => {
            let files: Vec<String> = files.iter().map(|file| expand_existing(scope, file)).collect();
            let digest = files_digest(&files, *commits, facts.tree);
            let prefix = match prefix {
                Some(prefix) => prefix.clone(),
                None => {
                    let names: Vec<&str> =
                        files.iter().map(|file| file.split('.').next().unwrap_or_default()).collect();
                    format!("{index}_{}", names.join("_"))
                }
            };
            // A slash would make a directory of the key.
            format!("{}-{digest}", prefix.replace('/', "_"))
        }
    };
    let mut suffix = String::new();
    if facts.cache_generation > 0 {
        suffix.push_str(&format!("-{}", facts.cache_generation));
    }
    if facts.separate_caches {
        suffix.push_str(if protected && !cache.unprotect { "-protected" } else { "-non_protected" });
    }
    Cache {
        key: format!("{key}{suffix}"),
        untracked: cache.untracked,
        policy: cache.policy.clone(),
        paths: cache.paths.clone(),
        when: cache.when.word().into(),
        fallback_keys: cache.fallback_keys.iter().map(|key| format!("{key}{suffix}")).collect(),
    }
}

/// §20: ids of the files, unique and sorted, joined, hashed; `default` if there is none.
fn files_digest(files: &[String], commits: bool, tree: &dyn Tree) -> String {
    let id = |path: &str| if commits { tree.last_commit(path) } else { tree.blob_id(path) };
    let mut ids = Vec::new();
    for file in files {
        if file.contains('*') {
            let matching = tree.files().iter().filter(|path| wildcard_matches(file, path, true));
            ids.extend(matching.filter_map(|path| id(path)));
        } else {
            ids.extend(id(file));
        }
    }
    if ids.is_empty() {
        return "default".to_owned();
    }
    ids.sort();
    ids.dedup();
    Sha1::digest(ids.join("-").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
