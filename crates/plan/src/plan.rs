//! [`plan_job`]: payload, runner spec and facts become the whole plan of a job. Called by the hosts, once a job and once
//! more after a restart if they keep no plan on disk.

use crate::artifacts::{downloads, uploads};
use crate::flags::{Flag, Flags};
use crate::scripts::Scripts;
use crate::settings::Settings;
use crate::*;
use harrier_api::{JobPayload, PolicyOptions};
use harrier_base::{FailureReason, Variables, short_token};
use harrier_config::{ExecutorSpec, RunnerSpec};

/// No plan can be made: the runner's own settings are at fault, whatever the job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The executor is not part of this build.
    #[error(
        "this runner has no {name:?} executor: set executor = \"shell\" in its [[runners]] section of config.toml"
    )]
    Executor {
        /// As configured.
        name: String,
    },
    /// The shell is not part of this build.
    #[error("this runner has no {name:?} shell: set shell to \"bash\" or \"sh\" in config.toml")]
    Shell {
        /// As configured.
        name: String,
    },
    /// A directory is not configured.
    #[error(transparent)]
    Dirs(#[from] DirsError),
}

impl PlanError {
    /// What the server is told.
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Executor { .. } | Self::Shell { .. } | Self::Dirs(_) => {
                FailureReason::RunnerConfigurationError
            }
        }
    }
}

/// Decides everything about a job. What is wrong with the job itself is no error: it becomes the plan's
/// [`JobPlan::refusal`], a faulty stage ([`StagePlan::fault`]) or a warning in its header, so that it reaches the log.
pub fn plan_job(payload: &JobPayload, spec: &RunnerSpec, facts: &Facts) -> Result<JobPlan, PlanError> {
    let docker = match &spec.executor {
        ExecutorSpec::Shell => None,
        ExecutorSpec::Docker(docker) => Some(&**docker),
        ExecutorSpec::Unsupported(name) => return Err(PlanError::Executor { name: name.clone() }),
    };
    let shell = match spec.shell.as_deref() {
        None | Some("") => facts.abilities.shell,
        Some("bash") => Shell::Bash,
        Some("sh") => Shell::Sh,
        Some(name) => return Err(PlanError::Shell { name: name.to_owned() }),
    };

    let mut warnings = Vec::new();
    let given = variables::of_payload(payload);
    let flags = Flags::resolve(&spec.feature_flags, &given, &mut warnings);
    let mut refusal = refuse::refusal(payload, &flags);
    let job_seconds = limits::job(payload).as_secs();

    let builds = dirs::builds_dir(spec, facts)?;
    // Builds in a directory of the host are shared by all jobs there (`executors.md` §2.2).
    let on_host;
    let facts = if docker.is_some_and(|docker| containers::binds(&docker.volumes, &builds.to_string_lossy()))
    {
        on_host =
            Facts { abilities: ExecutorTraits { shared: true, ..facts.abilities.clone() }, ..facts.clone() };
        &on_host
    } else {
        facts
    };
    let early =
        variables::all(payload, spec, facts, &flags, &builds, None, job_seconds).expanded(str::to_owned);
    let early = Settings::new(&early);
    let strategy = sources::strategy(payload, &early);
    let dirs = match dirs::dirs(payload, spec, facts, strategy, early.text("GIT_CLONE_PATH")) {
        Ok(dirs) => dirs,
        Err(error @ DirsError::Missing { .. }) => return Err(error.into()),
        Err(error @ (DirsError::CustomNotAllowed | DirsError::CustomOutside { .. })) => {
            refusal.get_or_insert(Refusal {
                message: error.to_string(),
                reason: FailureReason::RunnerConfigurationError,
                exit_code: None,
            });
            dirs::dirs(payload, spec, facts, strategy, None)?
        }
    };

    let all = variables::all(payload, spec, facts, &flags, &builds, Some(&dirs), job_seconds);
    let path_of = |key: &str| variables::path_text(&dirs.file_variable(key));
    let expanded = all.expanded(path_of);
    let masks = masks::masks(payload, &all, &expanded);
    let expand = |text: &str| all.expand_text(text, path_of);
    let (variables, refused_names) = variables::usable(expanded);
    warnings.extend(refused_names.into_iter().map(|name| {
        format!("the variable {name:?} is left out: a shell's variable has letters, digits and _ only, no digit first")
    }));

    let settings = Settings::new(&variables);
    let debug = debug_modes(spec, &settings);
    let scripts = Scripts::new(&flags, debug.trace, payload.features.trace_sections);
    let sources_cx =
        sources::Cx { payload, spec, facts, flags: &flags, settings: &settings, scripts: &scripts, strategy };
    let strategy = sources::strategy(payload, &settings);
    let sources = sources::op(&sources_cx);
    let backoff =
        if flags.on(Flag::UseExponentialBackoffStageRetry) { Backoff::Exponential } else { Backoff::Short };
    let helper = |name: StageName, ops: Vec<Op>, attempts: u32| StagePlan {
        name,
        target: Target::Helper,
        ops,
        attempts,
        backoff,
    };
    let optional =
        |name: StageName, ops: Vec<Op>, attempts: u32| (!ops.is_empty()).then(|| helper(name, ops, attempts));

    let caches = caches::ops(payload, &flags, &settings, expand);
    let (upload_success, upload_failure) = uploads(payload, spec, facts, &settings, &variables);
    let get_sources_attempts = settings.attempts("GET_SOURCES_ATTEMPTS");
    let restore_attempts = settings.attempts("RESTORE_CACHE_ATTEMPTS");
    let download_attempts = settings.attempts("ARTIFACT_DOWNLOAD_ATTEMPTS");
    let section_attempts = settings.attempts("EXECUTOR_JOB_SECTION_ATTEMPTS");
    // Only read for its warning: there is no resolver in this build.
    settings.attempts("SECRETS_RETRIEVAL_ATTEMPTS");
    let cleanup = Cleanup {
        file_variables: variables.iter().filter(|v| v.file).map(|v| v.key.clone()).collect(),
        project: project_cleanup(strategy, &flags, &settings),
        clean_git_config: sources::clean_git_config(spec, facts, strategy),
    };
    let limits = limits::limits(payload, spec, &settings);
    let after_script_ignore_errors = settings.boolean("AFTER_SCRIPT_IGNORE_ERRORS", true);
    let (steps, after_script) = user_stages(payload, spec, &scripts, backoff, expand);

    let cache_root = spec.cache_dir.clone().or_else(|| facts.default_cache_dir.clone()).unwrap_or_default();
    let containers = docker.and_then(|docker| {
        let cx = containers::Cx {
            payload,
            spec,
            docker,
            facts,
            settings: &settings,
            variables: &variables,
            expand: &expand,
            flags: containers::ContainerFlags {
                network_per_build: flags.given(Flag::NetworkPerBuild),
                native_stop: flags.on(Flag::UseNativeContainerStop),
                keep_umask: flags.on(Flag::DisableUmaskForDockerExecutor),
                init: flags.on(Flag::UseInitWithDockerExecutor),
            },
            builds_dir: &dirs.builds.to_string_lossy(),
            cache_dir: &cache_root.to_string_lossy(),
            project_dir: &dirs.project.to_string_lossy(),
            reusable_builds: strategy == GitStrategy::Fetch,
            service_logs: debug.services,
            timeout_seconds: job_seconds,
            section_attempts,
        };
        match containers::containers(&cx) {
            Ok(containers) => Some(containers),
            Err(refused) => {
                refusal.get_or_insert(refused);
                None
            }
        }
    });

    for name in payload.secrets.keys() {
        settings.warn(format!(
            "the secret {name} is not resolved: this runner has no resolver for it; the variable is missing"
        ));
    }
    warnings.extend(settings.into_warnings());
    let uuid = Some(&payload.runner_info.uuid).filter(|uuid| !uuid.is_empty());
    let uuid = uuid.map(|uuid| format!("  UUID: {uuid}"));
    let mut header: Vec<HeaderLine> =
        uuid.into_iter().chain(flags.header_line()).map(HeaderLine::Info).collect();
    header.extend(payload.policy_options.iter().flat_map(policy_lines).map(HeaderLine::Info));
    header.extend(warnings.into_iter().map(HeaderLine::Warning));

    Ok(JobPlan {
        job: identity(payload, facts, &variables),
        runner: RunnerLabel {
            program: format!("{} {} ({})", facts.program, facts.version, facts.revision),
            user_agent: format!("{} {} {}", facts.program, facts.version, facts.os_arch),
            name: spec.name.clone(),
            short_token: short_token(spec.token.expose()).to_owned(),
            system_id: facts.system_id.clone(),
            executor: facts.abilities.name.clone(),
            concurrent_id: facts.concurrent_id,
            concurrent_project_id: facts.concurrent_project_id,
        },
        server: ServerAccess {
            url: spec.url.clone(),
            tls_ca_file: spec.tls_ca_file.clone(),
            tls_cert_file: spec.tls_cert_file.clone(),
            tls_key_file: spec.tls_key_file.clone(),
        },
        shell,
        header,
        refusal,
        prepare: helper(StageName::PrepareScript, vec![Op::Prepare], 1),
        get_sources: helper(StageName::GetSources, vec![sources], get_sources_attempts),
        clear_worktree: helper(StageName::ClearWorktree, vec![Op::ClearWorktree], 1),
        restore_cache: optional(StageName::RestoreCache, caches.restore, restore_attempts),
        download_artifacts: optional(
            StageName::DownloadArtifacts,
            downloads(payload, &flags),
            download_attempts,
        ),
        steps,
        after_script,
        archive_cache: ByResult {
            success: optional(StageName::ArchiveCache, caches.save_on_success, 1),
            failure: optional(StageName::ArchiveCacheOnFailure, caches.save_on_failure, 1),
        },
        upload_artifacts: ByResult {
            success: optional(StageName::UploadArtifactsOnSuccess, upload_success, 1),
            failure: optional(StageName::UploadArtifactsOnFailure, upload_failure, 1),
        },
        cleanup: helper(StageName::CleanupFileVariables, vec![Op::Cleanup(cleanup)], 1),
        limits,
        after_script_ignore_errors,
        debug_trace: debug.trace || debug.services,
        log: LogPlan {
            masks,
            token_prefixes: masks::token_prefixes(payload, &flags),
            timestamps: flags.on(Flag::Timestamps),
            limit: spec.output_limit,
            sections: payload.features.trace_sections,
        },
        failure_reasons: payload.features.failure_reasons.clone(),
        containers,
        dirs,
        variables,
    })
}

fn identity(payload: &JobPayload, facts: &Facts, variables: &Variables) -> JobIdentity {
    let project_path = match payload.job_info.project_full_path.as_str() {
        "" => variables.value("CI_PROJECT_PATH").unwrap_or_default(),
        path => path,
    };
    let pipeline_id = match payload.job_info.pipeline_id {
        0 => variables.value("CI_PIPELINE_ID").and_then(|id| id.parse().ok()).unwrap_or_default(),
        id => id,
    };
    JobIdentity {
        id: payload.id,
        token: payload.token.clone(),
        name: payload.job_info.name.clone(),
        stage: payload.job_info.stage.clone(),
        project_id: payload.job_info.project_id,
        project_path: project_path.to_owned(),
        pipeline_id,
        correlation_id: facts.correlation_id.clone(),
    }
}

struct Debug {
    trace: bool,
    services: bool,
}

/// `CI_DEBUG_TRACE` and `CI_DEBUG_SERVICES`, unless the runner forbids them (`runner-config.md` §5.2).
fn debug_modes(spec: &RunnerSpec, settings: &Settings<'_>) -> Debug {
    let mode = |name: &str| {
        let wanted = settings.boolean(name, false);
        if wanted && spec.debug_trace_disabled {
            settings.warn(format!("{name}: this runner does not allow it (debug_trace_disabled)"));
        }
        wanted && !spec.debug_trace_disabled
    };
    Debug { trace: mode("CI_DEBUG_TRACE"), services: mode("CI_DEBUG_SERVICES") }
}

/// Lines on the policy that made the job (`runner-api.md` §4.17).
fn policy_lines(policy: &PolicyOptions) -> Vec<String> {
    if !policy.execution_policy_job {
        return Vec::new();
    }
    let mut lines = vec![match policy.policy_name.as_str() {
        "" => "Job triggered by a policy.".to_owned(),
        name => format!("Job triggered by policy {name:?}."),
    }];
    if let Some(allowed) = policy.policy_variables_override_allowed {
        let word = if allowed { "allowed" } else { "ignored" };
        let exceptions = match policy.policy_variables_override_exceptions.as_slice() {
            [] => String::new(),
            names => format!(" (except for {})", names.join(", ")),
        };
        lines.push(format!(
            "User-defined CI/CD variables are {word} in this job{exceptions} according to the pipeline execution policy."
        ));
    }
    lines
}

/// `FF_ENABLE_JOB_CLEANUP` (`executors.md` §4.6).
fn project_cleanup(strategy: GitStrategy, flags: &Flags, settings: &Settings<'_>) -> ProjectCleanup {
    if !flags.on(Flag::EnableJobCleanup) {
        return ProjectCleanup::Keep;
    }
    match strategy {
        GitStrategy::Clone | GitStrategy::Empty => ProjectCleanup::Delete,
        GitStrategy::None => ProjectCleanup::Keep,
        GitStrategy::Fetch => ProjectCleanup::Reset {
            clean_flags: sources::clean_flags(settings).unwrap_or_else(|| vec!["-ffdx".to_owned()]),
            submodules: matches!(settings.text("GIT_SUBMODULE_STRATEGY"), Some("normal" | "recursive")),
        },
    }
}

/// The user's own stages (`executors.md` §3.1): each step with the runner's build scripts around it; `after_script`
/// without them.
fn user_stages(
    payload: &JobPayload,
    spec: &RunnerSpec,
    scripts: &Scripts,
    backoff: Backoff,
    expand: impl Fn(&str) -> String,
) -> (Vec<StagePlan>, Option<StagePlan>) {
    let stage = |name: StageName, script: Script| StagePlan {
        name,
        target: Target::Build,
        ops: vec![Op::Script(script)],
        attempts: 1,
        backoff,
    };
    let mut steps = Vec::new();
    let mut after_script = None;
    for step in payload.steps.iter().filter(|step| !step.script.is_empty()) {
        let lines = step.script.iter().map(String::as_str);
        if step.name == "after_script" {
            let script = scripts.script(lines, "after_script_step", Some("Running after script..."));
            after_script.get_or_insert(stage(StageName::AfterScript, script));
            continue;
        }
        let mut items = scripts.items(spec.pre_build_script.as_deref(), "pre_build_script");
        if step.name == "release" {
            let expanded: Vec<String> = lines.map(&expand).collect();
            items.extend(scripts.items(expanded.iter().map(String::as_str), "script_step"));
        } else {
            items.extend(scripts.items(lines, "script_step"));
        }
        items.extend(scripts.items(spec.post_build_script.as_deref(), "post_build_script"));
        steps.push(stage(StageName::Step(step.name.clone()), scripts.of_items(items, None)));
    }
    (steps, after_script)
}
