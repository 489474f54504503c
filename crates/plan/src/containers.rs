//! What a job needs of a container engine, decided (`executors.md` §10): images with their policies, services, volumes,
//! networks, limits, labels. Called by [`crate::plan_job`] for the docker executor; read by that executor alone.

use crate::docker_globs::matches_any;
use crate::settings::Settings;
use crate::{Facts, Refusal};
use harrier_api::{Image, JobPayload};
use harrier_base::{FailureReason, Secret, Variables, exposed, exposed_opt, short_token};
use harrier_config::{
    ContainerLimits, Device, DockerSpec, EngineAddress, HostDir, PullPolicy, RunnerSpec, ServiceSpec, Ulimit,
};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// The label prefix of everything Harrier makes in an engine.
pub const LABEL_PREFIX: &str = "com.gitlab.gitlab-runner.";

/// All about the job's containers.
#[derive(Clone, Serialize, Deserialize)]
pub struct Containers {
    /// Where the engine answers.
    pub engine: EngineAddress,
    /// `runner-<short>-project-<id>-concurrent-<n>`
    pub base_name: String,
    /// Host name of build and service containers.
    pub hostname: String,
    /// The job's image.
    pub image: ContainerImage,
    /// In place of Harrier's own helper image.
    pub helper_image: Option<String>,
    /// In order of start.
    pub services: Vec<Service>,
    /// How images are paid for.
    pub auth: Auth,
    /// Which network.
    pub network: Network,
    /// What is mounted, in every container.
    pub volumes: Vec<Volume>,
    /// For build and helper containers.
    pub build: HostSettings,
    /// For services.
    pub service: HostSettings,
    /// On every container; `type` is added.
    pub labels: BTreeMap<String, String>,
    /// `container_labels`, expanded; services get them with the prefix too.
    pub extra_labels: BTreeMap<String, String>,
    /// How long services may take to be ready; `None`: nobody waits.
    pub service_wait: Option<Duration>,
    /// `CI_DEBUG_SERVICES`: their logs go into the job's.
    pub service_logs: bool,
    /// `FF_USE_NATIVE_CONTAINER_STOP`
    pub native_stop: bool,
    /// `FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR`
    pub keep_umask: bool,
    /// `volume_keep`
    pub keep_anonymous_volumes: bool,
    /// Directories of the engine's machine.
    #[serde(default)]
    pub host_dirs: Vec<HostDir>,
    /// Bytes of a job's log beyond which nobody reads what a container says.
    #[serde(default)]
    pub output_limit: u64,
    /// `FF_USE_INIT_WITH_DOCKER_EXECUTOR`
    #[serde(default)]
    pub init: bool,
    /// `EXECUTOR_JOB_SECTION_ATTEMPTS`: how often a stage is begun whose container has vanished, 1 to 10.
    #[serde(default = "once")]
    pub section_attempts: u32,
}

fn once() -> u32 {
    1
}

/// An image and how it is got and run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerImage {
    /// Reference, expanded.
    pub name: String,
    /// `None`: the image's own; `[""]`: none.
    pub entrypoint: Option<Vec<String>>,
    /// Name or uid, with `:group` or not.
    pub user: Option<String>,
    /// `os/arch`
    pub platform: Option<String>,
    /// Tried in order.
    pub policies: Vec<PullPolicy>,
    /// The engine's privileged mode.
    pub privileged: bool,
}

/// One service.
#[derive(Clone, Serialize, Deserialize)]
pub struct Service {
    /// Image.
    pub image: ContainerImage,
    /// `postgres`, `library-postgres`, `db`: host names, none twice in a job.
    pub aliases: Vec<String>,
    /// The image's path for names, `/` as `__`.
    pub slug: String,
    /// For the label `service.version`.
    pub version: String,
    /// Command override.
    pub command: Option<Vec<String>>,
    /// Environment, expanded.
    pub variables: Vec<(String, String)>,
    /// From `services_devices`.
    pub devices: Vec<Device>,
}

/// Where credentials for images come from (`executors.md` §10.3).
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Auth {
    /// `DOCKER_AUTH_CONFIG` of the job or the runner's `environment`.
    #[serde(with = "exposed_opt")]
    pub docker_auth_config: Option<Secret>,
    /// Credentials of the payload.
    pub job: Vec<JobLogin>,
}

/// A registry log-in of the payload.
#[derive(Clone, Serialize, Deserialize)]
pub struct JobLogin {
    /// `host[:port]`
    pub registry: String,
    /// User.
    pub username: String,
    /// Password.
    #[serde(with = "exposed")]
    pub password: Secret,
}

/// The network of the job's containers (`executors.md` §10.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// `network_mode`, used as it is.
    Mode(String),
    /// A bridge of the job's own.
    PerJob {
        /// Its name.
        name: String,
        /// `enable_ipv6`
        ipv6: bool,
        /// `network_mtu`; `None`: that of the default bridge.
        mtu: Option<u32>,
        /// Nobody has asked for it: where the engine has no addresses left for one more network, the default bridge
        /// will do.
        #[serde(default)]
        by_default: bool,
    },
    /// The engine's default bridge; service names go into the hosts file.
    DefaultBridge,
}

/// Something mounted (`executors.md` §10.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volume {
    /// As the engine's bind syntax has it: `source:destination[:options]`.
    Bind(String),
    /// A named volume that stays for later jobs.
    Reusable {
        /// Its name.
        name: String,
        /// Where.
        destination: String,
        /// Only for protected refs.
        protected: bool,
        /// Of the mount, between commas.
        #[serde(default)]
        options: String,
    },
    /// A volume that goes with the job.
    Temporary {
        /// Where.
        destination: String,
        /// Of the mount, between commas.
        #[serde(default)]
        options: String,
    },
}

/// What the engine is told about every container of a kind (`executors.md` §10.5).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSettings {
    /// Memory, CPUs.
    pub limits: ContainerLimits,
    /// `cpuset_mems`
    pub cpuset_mems: Option<String>,
    /// `ulimit`
    pub ulimits: Vec<Ulimit>,
    /// `oom_kill_disable`
    pub oom_kill_disable: bool,
    /// `oom_score_adjust`
    pub oom_score_adjust: Option<i64>,
    /// `pids_limit`
    pub pids_limit: Option<i64>,
    /// `device_cgroup_rules`
    pub device_cgroup_rules: Vec<String>,
    /// `group_add`
    pub group_add: Vec<String>,
    /// `cap_add`
    pub cap_add: Vec<String>,
    /// `cap_drop`
    pub cap_drop: Vec<String>,
    /// `sysctls`
    pub sysctls: BTreeMap<String, String>,
    /// `links`
    pub links: Vec<String>,
    /// `ipcmode`
    pub ipc_mode: Option<String>,
    /// `pid_mode`; build container only.
    pub pid_mode: Option<String>,
    /// `volume_driver`
    pub volume_driver: Option<String>,
    /// `volume_driver_ops`
    pub volume_driver_ops: BTreeMap<String, String>,
    /// `volumes_from`
    pub volumes_from: Vec<String>,
    /// Path → mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// `devices`
    pub devices: Vec<Device>,
    /// In the syntax of the engine's command line.
    pub gpus: Option<String>,
    /// Seccomp profiles are named by path.
    pub security_opt: Vec<String>,
    /// `dns`
    pub dns: Vec<String>,
    /// `dns_search`
    pub dns_search: Vec<String>,
    /// `extra_hosts`
    pub extra_hosts: Vec<String>,
    /// `runtime`
    pub runtime: Option<String>,
    /// `userns_mode`
    pub userns_mode: Option<String>,
    /// `isolation`
    pub isolation: Option<String>,
    /// `shm_size`
    pub shm_size: Option<i64>,
    /// `mac_address`
    pub mac_address: Option<String>,
    /// `log_options`
    pub log_options: BTreeMap<String, String>,
}

/// Flags that the containers depend on.
pub(crate) struct ContainerFlags {
    /// `None`: nobody has set it.
    pub(crate) network_per_build: Option<bool>,
    pub(crate) native_stop: bool,
    pub(crate) keep_umask: bool,
    pub(crate) init: bool,
}

/// What planning the containers needs.
pub(crate) struct Cx<'a> {
    pub(crate) payload: &'a JobPayload,
    pub(crate) spec: &'a RunnerSpec,
    pub(crate) docker: &'a DockerSpec,
    pub(crate) facts: &'a Facts,
    pub(crate) settings: &'a Settings<'a>,
    pub(crate) variables: &'a Variables,
    pub(crate) expand: &'a dyn Fn(&str) -> String,
    pub(crate) flags: ContainerFlags,
    pub(crate) builds_dir: &'a str,
    pub(crate) cache_dir: &'a str,
    pub(crate) project_dir: &'a str,
    /// The strategy is `fetch`: the builds stay for the next job.
    pub(crate) reusable_builds: bool,
    pub(crate) service_logs: bool,
    pub(crate) timeout_seconds: u64,
    pub(crate) section_attempts: u32,
}

/// Decides the containers, or why the job cannot run.
pub(crate) fn containers(cx: &Cx<'_>) -> Result<Containers, Refusal> {
    let docker = cx.docker;
    let base_name = base_name(cx);
    let image = build_image(cx)?;
    let services = services(cx)?;
    let network = network(cx, !services.is_empty());
    let protected = cx
        .payload
        .git_info
        .protected
        .unwrap_or_else(|| cx.variables.value("CI_COMMIT_REF_PROTECTED") == Some("true"));
    let shared = HostSettings {
        dns: docker.dns.clone(),
        dns_search: docker.dns_search.clone(),
        extra_hosts: docker.extra_hosts.clone(),
        runtime: docker.runtime.clone(),
        userns_mode: docker.userns_mode.clone(),
        isolation: docker.isolation.clone(),
        shm_size: docker.shm_size,
        mac_address: docker.mac_address.clone(),
        pids_limit: docker.pids_limit,
        log_options: docker.log_options.clone(),
        ..HostSettings::default()
    };
    Ok(Containers {
        engine: docker.connection.clone(),
        hostname: docker.hostname.clone().unwrap_or_else(|| base_name.clone()),
        image,
        helper_image: docker.helper_image.as_ref().map(|name| (cx.expand)(name)),
        services,
        auth: auth(cx),
        network,
        volumes: volumes(cx, protected)?,
        build: HostSettings {
            limits: docker.limits.clone(),
            cpuset_mems: docker.cpuset_mems.clone(),
            ulimits: docker.ulimits.clone(),
            oom_kill_disable: docker.oom_kill_disable,
            oom_score_adjust: docker.oom_score_adjust,
            device_cgroup_rules: docker.device_cgroup_rules.clone(),
            group_add: docker.group_add.clone(),
            cap_add: docker.cap_add.clone(),
            cap_drop: docker.cap_drop.clone(),
            sysctls: docker.sysctls.clone(),
            links: docker.links.clone(),
            ipc_mode: docker.ipc_mode.clone(),
            pid_mode: docker.pid_mode.clone(),
            volume_driver: docker.volume_driver.clone(),
            volume_driver_ops: docker.volume_driver_ops.clone(),
            volumes_from: docker.volumes_from.clone(),
            tmpfs: docker.tmpfs.clone(),
            devices: docker.devices.clone(),
            gpus: docker.gpus.clone(),
            security_opt: docker.security_opt.clone(),
            ..shared.clone()
        },
        service: HostSettings {
            limits: docker.service_limits.clone(),
            tmpfs: docker.services_tmpfs.clone(),
            gpus: docker.service_gpus.clone(),
            security_opt: docker.services_security_opt.clone(),
            volume_driver: docker.volume_driver.clone(),
            volume_driver_ops: docker.volume_driver_ops.clone(),
            ..shared
        },
        labels: labels(cx),
        extra_labels: docker
            .container_labels
            .iter()
            .map(|(key, value)| (key.clone(), (cx.expand)(value)))
            .collect(),
        service_wait: docker.wait_for_services_timeout,
        service_logs: cx.service_logs,
        native_stop: cx.flags.native_stop,
        keep_umask: cx.flags.keep_umask,
        keep_anonymous_volumes: docker.volume_keep,
        host_dirs: docker.host_dirs.clone(),
        output_limit: cx.spec.output_limit,
        init: cx.flags.init,
        section_attempts: cx.section_attempts,
        base_name,
    })
}

fn refuse(message: String) -> Refusal {
    Refusal { message, reason: FailureReason::RunnerConfigurationError, exit_code: None }
}

/// `executors.md` §10.5; RFC 1123 safe by its parts.
fn base_name(cx: &Cx<'_>) -> String {
    let short: String = short_token(cx.spec.token.expose())
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    format!(
        "runner-{}-project-{}-concurrent-{}",
        short.trim_matches('-'),
        cx.payload.job_info.project_id,
        cx.facts.concurrent_id
    )
}

/// `executors.md` §10.1, §10.2
fn build_image(cx: &Cx<'_>) -> Result<ContainerImage, Refusal> {
    let docker = cx.docker;
    let default = docker.image.as_ref().map(|name| (cx.expand)(name)).unwrap_or_default();
    let given = cx.payload.image.as_ref();
    let name = given.map(|image| (cx.expand)(&image.name)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| default.clone());
    if name.is_empty() {
        return Err(refuse(
            "no Docker image specified to run the build in; give the job an image, or set image in [runners.docker] (`harrier run`: --image)"
                .to_owned(),
        ));
    }
    if name != default {
        allowed("image", &name, &docker.allowed_images, cx.expand)?;
    }
    let privileged =
        docker.privileged && matches_or_empty(&docker.allowed_privileged_images, &name, cx.expand);
    let opts = given.map(|image| docker_opts(image, cx.expand)).unwrap_or_default();
    if let Some(user) = &opts.user {
        user_allowed(docker, user)?;
    }
    Ok(ContainerImage {
        entrypoint: entrypoint(cx, given.and_then(|image| image.entrypoint.clone()), &name),
        user: docker.user.clone().or(opts.user),
        platform: opts.platform,
        policies: policies(cx, given.map(|image| &*image.pull_policy).unwrap_or_default(), &name)?,
        privileged,
        name,
    })
}

#[derive(Default)]
struct Opts {
    platform: Option<String>,
    user: Option<String>,
}

/// `image:docker` of the payload (`runner-api.md` §4.6); a user may be a number.
fn docker_opts(image: &Image, expand: &dyn Fn(&str) -> String) -> Opts {
    let docker = image.executor_opts.get("docker");
    let text = |key: &str| {
        let value = docker?.get(key)?;
        let text = match value {
            serde_json::Value::String(text) => expand(text),
            serde_json::Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    };
    Opts { platform: text("platform"), user: text("user") }
}

fn user_allowed(docker: &DockerSpec, user: &str) -> Result<(), Refusal> {
    let listed = match (docker.allowed_users.as_slice(), &docker.user) {
        ([], None) => return Ok(()),
        ([], Some(only)) => vec![only.clone()],
        (list, _) => list.to_vec(),
    };
    if listed.iter().any(|allowed| allowed == user) {
        return Ok(());
    }
    Err(refuse(format!(
        "the user {user:?} of image:docker:user is not allowed on this runner; allowed are: {}",
        listed.join(", ")
    )))
}

fn entrypoint(cx: &Cx<'_>, given: Option<Vec<String>>, image: &str) -> Option<Vec<String>> {
    if cx.docker.disable_entrypoint_overwrite {
        if given.as_ref().is_some_and(|list| !list.is_empty()) {
            cx.settings.warn(format!(
                "the entrypoint override of {image} is ignored: this runner does not allow it (disable_entrypoint_overwrite)"
            ));
        }
        return None;
    }
    // As it is: it may be a shell's text, whose `$@` is no variable of the job.
    given.filter(|list| !list.is_empty())
}

/// `executors.md` §10.2: the job's list, else the configuration's; only allowed ones are kept.
fn policies(cx: &Cx<'_>, given: &[String], image: &str) -> Result<Vec<PullPolicy>, Refusal> {
    let docker = cx.docker;
    let mut wanted = Vec::new();
    for name in given {
        let name = (cx.expand)(name);
        wanted.push(PullPolicy::from_wire(&name).ok_or_else(|| {
            refuse(format!(
                "unsupported pull policy {name:?} for {image}; write always, if-not-present or never"
            ))
        })?);
    }
    if wanted.is_empty() {
        wanted.clone_from(&docker.pull_policies);
    }
    let allowed = if docker.allowed_pull_policies.is_empty() {
        &docker.pull_policies
    } else {
        &docker.allowed_pull_policies
    };
    let kept: Vec<_> = wanted.iter().copied().filter(|policy| allowed.contains(policy)).collect();
    if kept.is_empty() {
        let list = |policies: &[PullPolicy]| {
            policies.iter().map(|policy| policy.wire()).collect::<Vec<_>>().join(" ")
        };
        return Err(refuse(format!(
            "the pull policies [{}] for {image} are not among the allowed_pull_policies [{}] of this runner",
            list(&wanted),
            list(allowed)
        )));
    }
    Ok(kept)
}

fn matches_or_empty(globs: &[String], name: &str, expand: &dyn Fn(&str) -> String) -> bool {
    globs.is_empty() || matches_any(globs, name, expand)
}

fn allowed(what: &str, name: &str, globs: &[String], expand: &dyn Fn(&str) -> String) -> Result<(), Refusal> {
    if matches_or_empty(globs, name, expand) {
        return Ok(());
    }
    let mut message = format!("the {what} {name:?} is not present on list of allowed {what}s:");
    for glob in globs {
        let _ = write!(message, " {glob}");
    }
    Err(Refusal {
        message: format!("{message}; ask whoever runs this runner to add it to allowed_{what}s"),
        // GitLab Runner reports a disallowed image as a system failure (`executors.md` §10.2).
        reason: FailureReason::RunnerSystemFailure,
        exit_code: None,
    })
}

/// `executors.md` §10.7: the configuration's services first.
fn services(cx: &Cx<'_>) -> Result<Vec<Service>, Refusal> {
    let docker = cx.docker;
    let configured: Vec<Image> = docker.services.iter().map(of_config).collect();
    let of_config_names: BTreeSet<String> = configured.iter().map(|image| (cx.expand)(&image.name)).collect();
    if let Some(limit) = docker.services_limit {
        let count = configured.len() + cx.payload.services.len();
        if count > limit as usize {
            return Err(refuse(format!(
                "the job has {count} services, more than the {limit} that this runner allows (services_limit)"
            )));
        }
    }
    let mut taken = BTreeSet::new();
    let mut out = Vec::new();
    for image in configured.iter().chain(&cx.payload.services) {
        let name = (cx.expand)(&image.name);
        if name.is_empty() {
            return Err(refuse("a service has no image name; write services: [name]".to_owned()));
        }
        if !of_config_names.contains(&name) {
            allowed("service", &name, &docker.allowed_services, cx.expand)?;
        }
        let (slug, version) = slug(&name);
        let mut aliases = vec![slug.clone(), slug.replace("__", "-")];
        aliases.extend(
            (cx.expand)(&image.alias).split([' ', ',']).filter(|alias| !alias.is_empty()).map(str::to_owned),
        );
        aliases.dedup();
        aliases.retain(|alias| {
            let free = taken.insert(alias.clone());
            if !free {
                cx.settings
                    .warn(format!("the service alias {alias:?} of {name} is in use already: it is skipped"));
            }
            free
        });
        if aliases.is_empty() {
            continue;
        }
        let opts = docker_opts(image, cx.expand);
        let own: Vec<_> = image.variables.iter().map(|v| (v.key.clone(), (cx.expand)(&v.value))).collect();
        let mut variables: Vec<(String, String)> = cx
            .variables
            .iter()
            .filter(|v| v.public && !v.file)
            .map(|v| (v.key.clone(), v.value.clone()))
            .collect();
        variables.extend(own);
        out.push(Service {
            image: ContainerImage {
                entrypoint: entrypoint(cx, image.entrypoint.clone(), &name),
                user: opts.user,
                platform: opts.platform,
                policies: policies(cx, &image.pull_policy, &name)?,
                privileged: docker.services_privileged
                    && matches_or_empty(&docker.allowed_privileged_services, &name, cx.expand),
                name: name.clone(),
            },
            command: image
                .command
                .as_ref()
                .filter(|words| !words.is_empty())
                .map(|words| words.iter().map(|word| (cx.expand)(word)).collect()),
            devices: docker
                .services_devices
                .iter()
                .filter(|(glob, _)| matches_any(std::slice::from_ref(glob), &name, cx.expand))
                .flat_map(|(_, devices)| devices.clone())
                .collect(),
            aliases,
            slug,
            version,
            variables,
        });
    }
    Ok(out)
}

fn of_config(service: &ServiceSpec) -> Image {
    Image {
        name: service.name.clone(),
        alias: service.alias.clone(),
        command: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        variables: service
            .environment
            .iter()
            .map(|(key, value)| harrier_api::JobVariable {
                key: key.clone(),
                value: value.clone(),
                ..harrier_api::JobVariable::default()
            })
            .collect(),
        ..Image::default()
    }
}

/// The image's path without registry port, tag and digest, `/` as `__`; and its tag.
fn slug(name: &str) -> (String, String) {
    let name = name.split('@').next().unwrap_or(name);
    let last = name.rfind('/').map_or(0, |at| at + 1);
    let (path, version) = match name[last..].find(':') {
        Some(at) => (&name[..last + at], &name[last + at + 1..]),
        None => (name, "latest"),
    };
    let path = match path.split_once('/') {
        Some((registry, rest)) => format!("{}/{rest}", registry.split(':').next().unwrap_or(registry)),
        None => path.to_owned(),
    };
    (path.replace('/', "__"), version.to_owned())
}

fn auth(cx: &Cx<'_>) -> Auth {
    Auth {
        docker_auth_config: cx
            .variables
            .value("DOCKER_AUTH_CONFIG")
            .filter(|text| !text.is_empty())
            .map(Secret::new),
        job: cx
            .payload
            .credentials
            .iter()
            .filter(|entry| entry.kind == "registry")
            .map(|entry| JobLogin {
                registry: entry.url.clone(),
                username: entry.username.clone(),
                password: entry.password.clone(),
            })
            .collect(),
    }
}

/// `executors.md` §10.6; jobs with services have a network of their own by default. `links` and `mac_address` are of the
/// default bridge.
fn network(cx: &Cx<'_>, services: bool) -> Network {
    let docker = cx.docker;
    if let Some(mode) = &docker.network_mode {
        return Network::Mode((cx.expand)(mode));
    }
    let by_default = match cx.flags.network_per_build {
        Some(true) => false,
        None if services && docker.links.is_empty() && docker.mac_address.is_none() => true,
        None | Some(false) => return Network::DefaultBridge,
    };
    Network::PerJob {
        name: format!("{}-{}", base_name(cx), cx.payload.id),
        ipv6: docker.enable_ipv6,
        mtu: docker.network_mtu,
        by_default,
    }
}

/// Whether one of the volumes puts a directory of the host at `builds` or above it.
pub(crate) fn binds(volumes: &[String], builds: &str) -> bool {
    let builds = builds.trim_end_matches('/');
    volumes.iter().any(|spec| {
        let Some((_, rest)) = spec.split_once(':') else { return false };
        let at = rest.split(':').next().unwrap_or_default().trim_end_matches('/');
        builds == at || builds.starts_with(&format!("{at}/"))
    })
}

/// `executors.md` §10.8
fn volumes(cx: &Cx<'_>, protected: bool) -> Result<Vec<Volume>, Refusal> {
    let docker = cx.docker;
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut out = Vec::new();
    let unique = unique_part(cx);
    let suffix = if protected { "-protected" } else { "" };
    let reusable = |destination: &str, options: String| {
        if docker.disable_cache {
            return Volume::Temporary { destination: destination.to_owned(), options };
        }
        let hash = hex(&Md5::digest(destination.as_bytes()));
        match &docker.cache_dir {
            Some(dir) => {
                let source = format!("{}/runner-{unique}/{hash}{suffix}", dir.display());
                Volume::Bind(bind(&source, destination, &options))
            }
            None => Volume::Reusable {
                name: format!("runner-{unique}-cache-{hash}{suffix}"),
                destination: destination.to_owned(),
                protected,
                options,
            },
        }
    };
    let mut covered = |destination: &str| -> Result<(), Refusal> {
        if destination.trim_end_matches('/').is_empty() {
            return Err(refuse("a volume at / is not possible; mount below it".to_owned()));
        }
        if !taken.insert(destination.trim_end_matches('/').to_owned()) {
            return Err(refuse(format!("the volume {destination} is defined twice in [runners.docker]")));
        }
        Ok(())
    };
    let mut binds_builds = false;
    for spec in &docker.volumes {
        let Some(VolumeSpec { source, destination, options }) = volume_spec(spec) else {
            return Err(refuse(format!(
                "{spec:?} in volumes of [runners.docker] is no volume; write /path or source:/path, and behind it :ro, :rw, :O, :z \
                 or one of shared, slave, private, rshared, rslave, rprivate"
            )));
        };
        let destination = absolute(&(cx.expand)(destination), cx.project_dir);
        covered(&destination)?;
        match source {
            None => out.push(reusable(&destination, options)),
            Some(source) => {
                let builds = cx.builds_dir.trim_end_matches('/');
                let at = destination.trim_end_matches('/');
                binds_builds |= builds == at || builds.starts_with(&format!("{at}/"));
                out.push(Volume::Bind(bind(source, &destination, &options)));
            }
        }
    }
    let builds = cx.builds_dir.trim_end_matches('/');
    if !binds_builds && !taken.contains(builds) {
        out.push(if cx.reusable_builds {
            reusable(builds, String::new())
        } else {
            Volume::Temporary { destination: builds.to_owned(), options: String::new() }
        });
    }
    let cache = cx.cache_dir.trim_end_matches('/');
    let on_host = docker.host_dirs.iter().any(|dir| dir.at.as_os_str() == cache);
    if !taken.contains(cache) && cache != builds && !on_host {
        out.push(reusable(cache, String::new()));
    }
    Ok(out)
}

/// In the engine's syntax.
fn bind(source: &str, destination: &str, options: &str) -> String {
    match options {
        "" => format!("{source}:{destination}"),
        options => format!("{source}:{destination}:{options}"),
    }
}

/// An entry of `volumes`, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct VolumeSpec<'a> {
    source: Option<&'a str>,
    destination: &'a str,
    /// Between commas.
    options: String,
}

/// `[source:]destination[:ro|rw|O][:z][:propagation]`, options also between commas.
fn volume_spec(text: &str) -> Option<VolumeSpec<'_>> {
    const OPTIONS: [&str; 10] =
        ["ro", "rw", "o", "z", "shared", "slave", "private", "rshared", "rslave", "rprivate"];
    let mut parts: Vec<&str> = text.split(':').collect();
    let mut options: Vec<&str> = Vec::new();
    while parts.len() > 1 {
        let last: Vec<&str> = parts.last()?.split(',').collect();
        if !last.iter().all(|word| OPTIONS.contains(&word.to_ascii_lowercase().as_str())) {
            break;
        }
        parts.pop();
        options.splice(0..0, last);
    }
    let (source, destination) = match parts.as_slice() {
        [destination] => (None, *destination),
        [source, destination] if !source.is_empty() => (Some(*source), *destination),
        _ => return None,
    };
    (!destination.is_empty()).then(|| VolumeSpec { source, destination, options: options.join(",") })
}

fn absolute(path: &str, project: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", project.trim_end_matches('/')) }
}

/// First 16 bytes of the SHA-256 of token, system id, project and slot.
fn unique_part(cx: &Cx<'_>) -> String {
    let text = format!(
        "{}-{}-{}-{}",
        cx.spec.token.expose(),
        cx.facts.system_id,
        cx.payload.job_info.project_id,
        cx.facts.concurrent_id
    );
    hex(&Sha256::digest(text.as_bytes())[..16])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// `executors.md` §10.5
fn labels(cx: &Cx<'_>) -> BTreeMap<String, String> {
    let payload = cx.payload;
    let runner_id = short_token(cx.spec.token.expose()).to_owned();
    let value = |name: &str| cx.variables.value(name).unwrap_or_default().to_owned();
    [
        ("job.id", payload.id.to_string()),
        ("job.url", value("CI_JOB_URL")),
        ("job.sha", payload.git_info.sha.clone()),
        ("job.before_sha", payload.git_info.before_sha.clone()),
        ("job.ref", payload.git_info.git_ref.clone()),
        ("job.timeout", format!("{}s", cx.timeout_seconds)),
        ("project.id", payload.job_info.project_id.to_string()),
        ("project.runner_id", cx.facts.concurrent_project_id.to_string()),
        ("pipeline.id", value("CI_PIPELINE_ID")),
        ("runner.id", runner_id),
        ("runner.local_id", cx.facts.concurrent_id.to_string()),
        ("runner.system_id", cx.facts.system_id.clone()),
        ("managed", "true".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (format!("{LABEL_PREFIX}{key}"), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_10_8_volumes_and_their_options() {
        for (text, want) in [
            ("/cache", Some((None, "/cache", ""))),
            ("/cache:ro", Some((None, "/cache", "ro"))),
            ("vendor", Some((None, "vendor", ""))),
            ("/host:/here", Some((Some("/host"), "/here", ""))),
            ("name:/here:rw", Some((Some("name"), "/here", "rw"))),
            ("/host:/here:ro:z", Some((Some("/host"), "/here", "ro,z"))),
            ("/host:/here:ro,Z,rshared", Some((Some("/host"), "/here", "ro,Z,rshared"))),
            ("/host:/here:O:z:rslave", Some((Some("/host"), "/here", "O,z,rslave"))),
            ("/host:/here:wo", None),
            (":/here", None),
            ("", None),
            ("a:b:c:d", None),
        ] {
            let want = want.map(|(source, destination, options)| VolumeSpec {
                source,
                destination,
                options: options.to_owned(),
            });
            assert_eq!(volume_spec(text), want, "{text}");
        }
    }
}
