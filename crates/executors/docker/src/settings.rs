//! What the engine is told about each container: the plan's settings in the engine's words (`executors.md` §10.5).
//!
//! Called by the session. Pure but for seccomp profiles, which are read from files when a session is opened
//! ([`read_profiles`]).

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, EndpointSettings, HostConfig, HostConfigIsolationEnum,
    HostConfigLogConfig, Mount, MountType, NetworkingConfig, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use harrier_plan::{Containers, HostSettings, JobPlan, LABEL_PREFIX, Network};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Which container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sources, caches, artifacts.
    Helper,
    /// The user's scripts.
    Build,
    /// A service.
    Service,
}

impl Kind {
    /// The label `type`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Helper => "predefined",
            Self::Build => "build",
            Self::Service => "service",
        }
    }
}

/// What differs from container to container.
pub(crate) struct Particulars {
    pub kind: Kind,
    /// Reference of the image.
    pub image: String,
    /// `None`: the image's own; `[""]`: none.
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub user: Option<String>,
    pub privileged: bool,
    pub environment: Vec<String>,
    /// `source:destination[:options]`
    pub binds: Vec<String>,
    /// Further lines for the hosts file, `name:ip`.
    pub hosts: Vec<String>,
    /// Names on a network of the job's own.
    pub aliases: Vec<String>,
    /// The engine's init as first process.
    pub init: bool,
    /// Beside the job's labels.
    pub labels: BTreeMap<String, String>,
    /// Devices of a service.
    pub devices: Vec<harrier_config::Device>,
    /// A container whose network it shares; what belongs to a network stands there.
    pub joins: Option<String>,
}

/// The label, ours alone, that names the runner's state directory.
pub(crate) const OWNER_LABEL: &str = "dev.harrier.owner";
/// The label, ours alone, that names the job's directory.
pub(crate) const JOB_LABEL: &str = "dev.harrier.job";

/// The label, ours alone, of a helper container that may serve several jobs.
pub(crate) const WARM_LABEL: &str = "dev.harrier.warm";

/// The labels of whatever belongs to the job; `kind` is the value of `type`.
pub(crate) fn labels(containers: &Containers, owner: &Owner, kind: &str) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> =
        containers.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.insert(format!("{LABEL_PREFIX}type"), kind.to_owned());
    labels.insert(OWNER_LABEL.to_owned(), owner.state.clone());
    labels.insert(JOB_LABEL.to_owned(), owner.job.clone());
    labels
}

/// Whose a thing is.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// Names the runner's state directory.
    pub state: String,
    /// Name of the job's directory.
    pub job: String,
}

/// The whole request to make a container.
pub(crate) fn body(containers: &Containers, owner: &Owner, it: Particulars) -> ContainerCreateBody {
    let settings = match it.kind {
        Kind::Helper | Kind::Build => &containers.build,
        Kind::Service => &containers.service,
    };
    let mut labels = labels(containers, owner, it.kind.label());
    for (key, value) in &containers.extra_labels {
        labels.insert(key.clone(), value.clone());
        if it.kind == Kind::Service {
            labels.insert(format!("{LABEL_PREFIX}{key}"), value.clone());
        }
    }
    labels.extend(it.labels.clone());
    let stdin = it.kind != Kind::Service;
    ContainerCreateBody {
        hostname: match (it.kind, &containers.network) {
            // The host's network and another container's bring their own name.
            (_, Network::Mode(mode)) if mode == "host" || mode.starts_with("container:") => None,
            (Kind::Service, _) => None,
            _ if it.joins.is_some() => None,
            _ => Some(containers.hostname.clone()),
        },
        user: it.user.clone(),
        attach_stdin: Some(stdin),
        attach_stdout: Some(stdin),
        attach_stderr: Some(stdin),
        open_stdin: Some(stdin),
        stdin_once: Some(stdin),
        tty: Some(false),
        env: Some(it.environment.clone()),
        cmd: it.command.clone(),
        entrypoint: it.entrypoint.clone(),
        image: Some(it.image.clone()),
        labels: Some(labels),
        host_config: Some(host_config(containers, settings, &it)),
        networking_config: networking(containers, &it),
        ..ContainerCreateBody::default()
    }
}

fn networking(containers: &Containers, it: &Particulars) -> Option<NetworkingConfig> {
    let aliases = it.aliases.clone();
    let mac_address = containers.build.mac_address.clone();
    let name = match &containers.network {
        Network::PerJob { name, .. } => name.clone(),
        Network::Mode(mode) if is_named(mode) => mode.clone(),
        Network::Mode(_) | Network::DefaultBridge => return None,
    };
    let endpoint = EndpointSettings { aliases: Some(aliases), mac_address, ..EndpointSettings::default() };
    Some(NetworkingConfig { endpoints_config: Some([(name, endpoint)].into()) })
}

/// A network that somebody made, on which containers can have further names.
pub(crate) fn is_named(mode: &str) -> bool {
    !matches!(mode, "host" | "none" | "bridge" | "default") && !mode.starts_with("container:")
}

fn network_mode(network: &Network) -> Option<String> {
    match network {
        Network::Mode(mode) => Some(mode.clone()),
        Network::PerJob { name, .. } => Some(name.clone()),
        Network::DefaultBridge => None,
    }
}

fn host_config(containers: &Containers, settings: &HostSettings, it: &Particulars) -> HostConfig {
    let limits = &settings.limits;
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let table = |map: &BTreeMap<String, String>| {
        (!map.is_empty()).then(|| map.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<HashMap<_, _>>())
    };
    let of_network = |list: &[String]| (!list.is_empty() && it.joins.is_none()).then(|| list.to_vec());
    let mut hosts = settings.extra_hosts.clone();
    hosts.extend(it.hosts.clone());
    let devices: Vec<_> = settings.devices.iter().chain(&it.devices).map(device).collect();
    HostConfig {
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        memory_reservation: limits.memory_reservation,
        cgroup_parent: limits.cgroup_parent.clone(),
        cpuset_cpus: limits.cpuset_cpus.clone(),
        nano_cpus: limits.nano_cpus,
        cpu_shares: limits.cpu_shares,
        cpuset_mems: settings.cpuset_mems.clone(),
        ulimits: (!settings.ulimits.is_empty()).then(|| {
            settings
                .ulimits
                .iter()
                .map(|limit| ResourcesUlimits {
                    name: Some(limit.name.clone()),
                    soft: Some(limit.soft),
                    hard: Some(limit.hard),
                })
                .collect()
        }),
        oom_kill_disable: settings.oom_kill_disable.then_some(true),
        oom_score_adj: settings.oom_score_adjust,
        pids_limit: settings.pids_limit,
        device_cgroup_rules: some(&settings.device_cgroup_rules),
        group_add: some(&settings.group_add),
        cap_add: some(&settings.cap_add),
        cap_drop: some(&settings.cap_drop),
        sysctls: table(&match it.joins {
            None => settings.sysctls.clone(),
            Some(_) => {
                let own = |(key, _): &(&String, &String)| !key.starts_with("net.");
                settings.sysctls.iter().filter(own).map(|(k, v)| (k.clone(), v.clone())).collect()
            }
        }),
        links: some(&settings.links),
        ipc_mode: settings.ipc_mode.clone(),
        pid_mode: settings.pid_mode.clone().filter(|_| it.kind == Kind::Build),
        volume_driver: settings.volume_driver.clone(),
        volumes_from: some(&settings.volumes_from),
        tmpfs: table(&settings.tmpfs),
        devices: (!devices.is_empty()).then_some(devices),
        device_requests: settings.gpus.as_deref().map(|text| vec![gpus(text)]),
        security_opt: some(&settings.security_opt),
        dns: of_network(&settings.dns),
        dns_search: of_network(&settings.dns_search),
        extra_hosts: of_network(&hosts),
        runtime: settings.runtime.clone(),
        userns_mode: settings.userns_mode.clone(),
        isolation: settings.isolation.as_deref().and_then(isolation),
        shm_size: settings.shm_size,
        privileged: it.privileged.then_some(true),
        init: it.init.then_some(true),
        binds: some(&it.binds),
        mounts: Some(mounts(containers, it.kind)),
        network_mode: match &it.joins {
            Some(name) => Some(format!("container:{name}")),
            None => network_mode(&containers.network),
        },
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        // Service logs are read back, and so is a job's output after a crash of the runner.
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(log_options(containers, settings)),
        }),
        ..HostConfig::default()
    }
}

/// As mounts, because a bind would make a directory that is not there.
fn mounts(containers: &Containers, kind: Kind) -> Vec<Mount> {
    let seen = containers.host_dirs.iter().filter(|dir| kind == Kind::Helper || !dir.helper_only);
    seen.map(|dir| Mount {
        typ: Some(MountType::BIND),
        source: Some(dir.path.display().to_string()),
        target: Some(dir.at.display().to_string()),
        read_only: Some(!dir.writable),
        ..Mount::default()
    })
    .collect()
}

/// The engine's copy of a container's output is bounded: what a job says beyond its limit is in no log, and a container that
/// never stops talking must not fill the engine's disk. Up to the limit nothing is lost: two files, each with room for
/// the limit in lines of one byte.
fn log_options(containers: &Containers, settings: &HostSettings) -> HashMap<String, String> {
    const BYTES_PER_LINE: u64 = 80;
    const LEAST: u64 = 16 << 20;
    // A limit that no disk reaches is none.
    const MOST: u64 = 1 << 40;
    let size = containers.output_limit.saturating_mul(BYTES_PER_LINE).max(LEAST);
    let mut options = HashMap::new();
    if size <= MOST {
        options.insert("max-size".to_owned(), size.to_string());
        options.insert("max-file".to_owned(), "2".to_owned());
    }
    options.extend(settings.log_options.iter().map(|(key, value)| (key.clone(), value.clone())));
    options
}

fn isolation(text: &str) -> Option<HostConfigIsolationEnum> {
    match text {
        "default" => Some(HostConfigIsolationEnum::DEFAULT),
        "process" => Some(HostConfigIsolationEnum::PROCESS),
        "hyperv" => Some(HostConfigIsolationEnum::HYPERV),
        _ => None,
    }
}

fn device(device: &harrier_config::Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    }
}

/// The syntax of the command line's `--gpus`: `all`, a number, or `key=value` pairs as CSV.
fn gpus(text: &str) -> DeviceRequest {
    let mut request =
        DeviceRequest { capabilities: Some(vec![vec!["gpu".to_owned()]]), ..DeviceRequest::default() };
    let text = text.trim().trim_matches('\'');
    for field in csv(text) {
        match field.split_once('=') {
            None | Some(("count", _)) => {
                let count = field.rsplit('=').next().unwrap_or_default();
                request.count = Some(if count == "all" { -1 } else { count.parse().unwrap_or(-1) });
            }
            Some(("device", ids)) => {
                request.device_ids = Some(ids.split(',').map(str::to_owned).collect());
            }
            Some(("driver", driver)) => request.driver = Some(driver.to_owned()),
            Some(("capabilities", list)) => {
                let mut all: Vec<String> = list.split(',').map(str::to_owned).collect();
                if !all.iter().any(|one| one == "gpu") {
                    all.insert(0, "gpu".to_owned());
                }
                request.capabilities = Some(vec![all]);
            }
            Some(_) => {}
        }
    }
    if request.count.is_none() && request.device_ids.is_none() {
        request.count = Some(1);
    }
    request
}

/// Fields between commas; quotes keep commas together.
fn csv(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => {
                if let Some(field) = fields.last_mut() {
                    field.push(other);
                }
            }
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

/// Replaces `seccomp=<path>` by the file's content, as the command line does: the engine may be elsewhere.
pub(crate) fn read_profiles(settings: &mut HostSettings) -> Result<(), String> {
    for option in &mut settings.security_opt {
        let Some(("seccomp", value)) = option.split_once(['=', ':']) else {
            continue;
        };
        if value == "unconfined" || value == "builtin" || value.trim_start().starts_with('{') {
            continue;
        }
        let text = std::fs::read_to_string(Path::new(value)).map_err(|error| {
            format!("the seccomp profile {value} of security_opt in [runners.docker] cannot be read: {error}")
        })?;
        *option = format!("seccomp={text}");
    }
    Ok(())
}

/// The job's variables as a container's environment; file variables as paths.
pub(crate) fn environment(job: &JobPlan) -> Vec<String> {
    job.variables
        .winners()
        .into_iter()
        .filter(|v| !v.key.is_empty() && !v.key.contains(['=', '\0']))
        .map(|v| match v.file {
            true => format!("{}={}", v.key, job.dirs.file_variable(&v.key).display()),
            false => format!("{}={}", v.key, v.value),
        })
        .filter(|entry| !entry.contains('\0'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_as_on_the_command_line() {
        for (text, count, ids, capabilities) in [
            ("all", Some(-1), None, "gpu"),
            ("2", Some(2), None, "gpu"),
            ("device=0", None, Some(vec!["0"]), "gpu"),
            ("\"device=0,2\"", None, Some(vec!["0", "2"]), "gpu"),
            ("all,\"capabilities=compute,utility\"", Some(-1), None, "gpu compute utility"),
            ("driver=nvidia", Some(1), None, "gpu"),
        ] {
            let request = gpus(text);
            assert_eq!(request.count, count, "{text}");
            let ids = ids.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(request.device_ids, ids, "{text}");
            assert_eq!(
                request.capabilities.map(|all| all.concat().join(" ")).as_deref(),
                Some(capabilities),
                "{text}"
            );
        }
    }

    #[test]
    fn profiles_are_read_and_words_are_kept() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("p.json");
        std::fs::write(&path, "{}").expect("written");
        let mut settings = HostSettings {
            security_opt: vec![
                format!("seccomp={}", path.display()),
                "seccomp=unconfined".into(),
                "label=disable".into(),
            ],
            ..HostSettings::default()
        };
        read_profiles(&mut settings).expect("read");
        assert_eq!(settings.security_opt, ["seccomp={}", "seccomp=unconfined", "label=disable"]);
        settings.security_opt = vec!["seccomp=/no/such".into()];
        assert!(read_profiles(&mut settings).expect_err("missing").contains("/no/such"));
    }
}
