//! What a local run says of the project, the server and the runner it stands for (`ci-yaml.md` §30,
//! `executors.md` §2). Pure.

use crate::local::Request;
use crate::origin::Origin;
use crate::repository::GitFacts;
use crate::state::State;
use crate::ways;
use harrier_api::JobInfo;
use harrier_base::Secret;
use harrier_config::{ExecutorSpec, RunnerSpec};
use harrier_engine::Abilities;
use harrier_pipeline::predefined::{CommitFacts, PipelineFacts, ProjectFacts, ServerFacts, UserFacts};
use harrier_plan::Facts;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A project's id where there is no server to give one.
const PROJECT_ID: i64 = 1;

/// `CI_SERVER_VERSION`: the GitLab whose language this is; scripts compare it.
const SERVER_VERSION: &str = "19.4.0";

/// From SIGTERM to SIGKILL. A runner's ten minutes are too long for a person at a terminal.
const GRACE: Duration = Duration::from_secs(30);

/// Name and build of the program, for the first line of the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `CI_RUNNER_VERSION`
    pub version: String,
    /// `CI_RUNNER_REVISION`
    pub revision: String,
}

/// What the remote, or the directory, says of the project.
fn origin(root: &Path, facts: &GitFacts) -> Origin {
    facts.remote_url.as_deref().and_then(Origin::parse).unwrap_or_else(|| {
        let name = root.file_name().map(|n| n.to_string_lossy().into_owned());
        let name = name.filter(|n| !n.is_empty()).unwrap_or_else(|| "project".into());
        Origin { host: "localhost".into(), protocol: "http", port: None, path: format!("local/{name}") }
    })
}

/// All that is known before a job exists. `root` is the project's directory; `number` is the pipeline's; `sha` stands for HEAD where there is no commit.
pub fn pipeline_facts(
    root: &Path,
    facts: &GitFacts,
    request: &Request,
    number: i64,
    created_at: String,
    sha: Option<&str>,
) -> PipelineFacts {
    let origin = origin(root, facts);
    let git_ref = facts.head.ref_name().to_owned();
    let commit = facts.commit.as_ref();
    let name = facts.user_name.clone().unwrap_or_else(|| "local".into());
    let email = facts.user_email.clone().unwrap_or_default();
    let login = email.split('@').next().filter(|l| !l.is_empty()).unwrap_or("local").to_owned();
    PipelineFacts {
        server: ServerFacts {
            url: format!("{}://{}", origin.protocol, origin.authority()),
            name: "GitLab".into(),
            version: SERVER_VERSION.into(),
            revision: "local".into(),
            registry: None,
        },
        project: ProjectFacts {
            id: PROJECT_ID,
            title: origin.path.rsplit('/').next().unwrap_or_default().to_owned(),
            path: origin.path,
            description: String::new(),
            namespace_id: PROJECT_ID,
            visibility: "private".into(),
            default_branch: facts.default_branch.clone(),
            topics: Vec::new(),
        },
        commit: CommitFacts {
            sha: commit.map(|c| c.sha.as_str()).or(sha).unwrap_or_default().to_owned(),
            before_sha: commit.and_then(|c| c.parents.first()).cloned().unwrap_or_default(),
            tag_message: facts.head.tag().map(|_| String::new()),
            protected: git_ref == facts.default_branch,
            git_ref,
            message: commit.map(|c| c.message.clone()).unwrap_or_default(),
            author: commit.map(|c| format!("{} <{}>", c.author.name, c.author.email)).unwrap_or_default(),
            timestamp: commit.map(|c| c.timestamp.clone()).unwrap_or_default(),
        },
        user: UserFacts { id: 1, login, name, email },
        source: "push".into(),
        id: number,
        iid: number,
        created_at,
        config_path: request.file.clone(),
        name: None,
        upstream: None,
        merge_request: None,
        open_merge_requests: Vec::new(),
    }
}

/// What the log and the engine's reports say to the project (`runner-api.md` §4.2).
pub fn job_info(facts: &PipelineFacts) -> JobInfo {
    JobInfo {
        pipeline_id: facts.id,
        project_id: facts.project.id,
        project_name: facts.project.title.clone(),
        project_full_path: facts.project.path.clone(),
        namespace_id: facts.project.namespace_id,
        root_namespace_id: facts.project.namespace_id,
        user_id: facts.user.id,
        ..JobInfo::default()
    }
}

/// The entry of `config.toml` that a local run stands for.
pub fn runner(state: &State, executor: ExecutorSpec) -> RunnerSpec {
    // The token names build directories, and what is in an engine; nobody is asked for it. An engine is shared by all
    // repositories of the machine.
    let (token, builds_dir, cache_dir) = match executor {
        ExecutorSpec::Docker(_) => (state.name(), None, Some(ways::caches_in_containers())),
        ExecutorSpec::Shell | ExecutorSpec::Unsupported(_) => {
            ("local".to_owned(), Some(state.builds()), Some(state.caches()))
        }
    };
    RunnerSpec {
        name: "local".into(),
        url: format!("file://{}", state.artifacts().display()),
        id: None,
        token: Secret::new(token),
        token_obtained_at: None,
        token_expires_at: None,
        tls_ca_file: None,
        tls_cert_file: None,
        tls_key_file: None,
        limit: 0,
        output_limit: 4096 * 1024,
        request_concurrency: 1,
        strict_check_interval: false,
        unhealthy_requests_limit: 3,
        unhealthy_interval: Duration::from_secs(3600),
        final_update_retry_limit: 1,
        labels: BTreeMap::new(),
        executor,
        builds_dir,
        cache_dir,
        clone_url: None,
        environment: Vec::new(),
        shell: None,
        pre_get_sources_script: None,
        post_get_sources_script: None,
        pre_build_script: None,
        post_build_script: None,
        prepare_timeout: None,
        get_sources_timeout: None,
        debug_trace_disabled: false,
        safe_directory_checkout: None,
        clean_git_config: None,
        custom_build_dir: None,
        artifact_upload_timeout: Duration::from_secs(3600),
        artifact_response_header_timeout: Duration::from_secs(600),
        feature_flags: BTreeMap::new(),
        graceful_kill_timeout: GRACE,
        force_kill_timeout: Duration::from_secs(10),
    }
}

/// Facts of this host, the same for every job but for its slot.
pub fn host_facts(abilities: &Abilities, program: &Program) -> Facts {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    Facts {
        program: "harrier".into(),
        version: program.version.clone(),
        revision: program.revision.clone(),
        system_id: "local".into(),
        concurrent_id: 0,
        concurrent_project_id: 0,
        default_builds_dir: abilities.own_dirs.map(|(builds, _)| builds.into()),
        default_cache_dir: abilities.own_dirs.map(|(_, cache)| cache.into()),
        os_arch: format!("{}/{arch}", std::env::consts::OS),
        abilities: abilities.traits(),
        correlation_id: String::new(),
        tls_ca: None,
        tls_cert: None,
        tls_key: None,
    }
}
