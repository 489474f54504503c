//! The checked `[runners.docker]` section (`runner-config.md` §6.1): every setting that the docker executor obeys.
//!
//! Made by the mirror's check; read by the planner. Sizes are bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How the engine is reached and how containers are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DockerSpec {
    /// Where the engine answers.
    pub connection: EngineAddress,
    /// `hostname`
    pub hostname: Option<String>,
    /// Default image, unexpanded.
    pub image: Option<String>,
    /// `runtime`
    pub runtime: Option<String>,
    /// Limits of build and helper containers.
    pub limits: ContainerLimits,
    /// Limits of service containers.
    pub service_limits: ContainerLimits,
    /// `cpuset_mems`
    pub cpuset_mems: Option<String>,
    /// `dns`; each an IP address.
    pub dns: Vec<String>,
    /// `dns_search`
    pub dns_search: Vec<String>,
    /// `privileged`
    pub privileged: bool,
    /// `services_privileged`, with its default filled in.
    pub services_privileged: bool,
    /// `disable_entrypoint_overwrite`
    pub disable_entrypoint_overwrite: bool,
    /// `user`
    pub user: Option<String>,
    /// `allowed_users`
    pub allowed_users: Vec<String>,
    /// `group_add`
    pub group_add: Vec<String>,
    /// `userns_mode`
    pub userns_mode: Option<String>,
    /// `cap_add`
    pub cap_add: Vec<String>,
    /// `cap_drop`
    pub cap_drop: Vec<String>,
    /// `oom_kill_disable`
    pub oom_kill_disable: bool,
    /// `oom_score_adjust`
    pub oom_score_adjust: Option<i64>,
    /// `pids_limit`: most processes and threads of one container; `None`: as many as the engine allows.
    pub pids_limit: Option<i64>,
    /// `security_opt`, seccomp files read.
    pub security_opt: Vec<String>,
    /// `services_security_opt`, seccomp files read.
    pub services_security_opt: Vec<String>,
    /// `devices`
    pub devices: Vec<Device>,
    /// `device_cgroup_rules`
    pub device_cgroup_rules: Vec<String>,
    /// `gpus`
    pub gpus: Option<String>,
    /// `service_gpus`
    pub service_gpus: Option<String>,
    /// `services_devices`: image glob → devices.
    pub services_devices: BTreeMap<String, Vec<Device>>,
    /// `disable_cache`
    pub disable_cache: bool,
    /// `volumes`, unexpanded.
    pub volumes: Vec<String>,
    /// `volume_keep`
    pub volume_keep: bool,
    /// `volume_driver`
    pub volume_driver: Option<String>,
    /// `volume_driver_ops`
    pub volume_driver_ops: BTreeMap<String, String>,
    /// `cache_dir` of the docker section: a host directory for cache volumes.
    pub cache_dir: Option<PathBuf>,
    /// `extra_hosts`
    pub extra_hosts: Vec<String>,
    /// `volumes_from`
    pub volumes_from: Vec<String>,
    /// `network_mode`
    pub network_mode: Option<String>,
    /// `pid_mode`
    pub pid_mode: Option<String>,
    /// `ipcmode`
    pub ipc_mode: Option<String>,
    /// `mac_address`
    pub mac_address: Option<String>,
    /// `links`
    pub links: Vec<String>,
    /// `[[runners.docker.services]]`
    pub services: Vec<ServiceSpec>,
    /// `services_limit`; `None` is no limit.
    pub services_limit: Option<u32>,
    /// `wait_for_services_timeout`; `None`: no health check.
    pub wait_for_services_timeout: Option<Duration>,
    /// `allowed_images`
    pub allowed_images: Vec<String>,
    /// `allowed_privileged_images`
    pub allowed_privileged_images: Vec<String>,
    /// `allowed_privileged_services`
    pub allowed_privileged_services: Vec<String>,
    /// `allowed_services`
    pub allowed_services: Vec<String>,
    /// `pull_policy`, at least one.
    pub pull_policies: Vec<PullPolicy>,
    /// `allowed_pull_policies`; empty: those of `pull_policies`.
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// `isolation`
    pub isolation: Option<String>,
    /// `shm_size`
    pub shm_size: Option<i64>,
    /// `tmpfs`
    pub tmpfs: BTreeMap<String, String>,
    /// `services_tmpfs`
    pub services_tmpfs: BTreeMap<String, String>,
    /// `sysctls`
    pub sysctls: BTreeMap<String, String>,
    /// `helper_image`, unexpanded.
    pub helper_image: Option<String>,
    /// `container_labels`, unexpanded.
    pub container_labels: BTreeMap<String, String>,
    /// `enable_ipv6`
    pub enable_ipv6: bool,
    /// `ulimit`
    pub ulimits: Vec<Ulimit>,
    /// `network_mtu`
    pub network_mtu: Option<u32>,
    /// `log_options`: only `env` and `labels`.
    pub log_options: BTreeMap<String, String>,
    /// Directories of the engine's machine in the containers; no setting of `config.toml`: a local run shows its sources,
    /// artifacts and caches this way.
    pub host_dirs: Vec<HostDir>,
}

/// A directory of the engine's machine that must be there, unlike that of a volume.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostDir {
    /// On the machine.
    pub path: PathBuf,
    /// In the containers.
    pub at: PathBuf,
    /// Containers may write there.
    pub writable: bool,
    /// The user's containers do not see it.
    pub helper_only: bool,
}

/// Where the engine answers; unset parts come from the environment and from Docker's contexts.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EngineAddress {
    /// `host`
    pub host: Option<String>,
    /// `tls_cert_path`
    pub tls_cert_path: Option<PathBuf>,
    /// `tls_verify`
    pub tls_verify: bool,
}

/// Limits that build and service containers have apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContainerLimits {
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Bytes.
    pub memory_reservation: Option<i64>,
    /// Parent of the container's cgroup.
    pub cgroup_parent: Option<String>,
    /// Pinning.
    pub cpuset_cpus: Option<String>,
    /// Billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Relative weight.
    pub cpu_shares: Option<i64>,
}

/// `host[:container[:permissions]]`
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// `rwm`
    pub permissions: String,
}

/// `soft[:hard]` of one limit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ulimit {
    /// Name, e.g. `nofile`.
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// `always`, `if-not-present`, `never`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the contract's")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// The name in `config.toml` and in payloads.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::IfNotPresent => "if-not-present",
            Self::Never => "never",
        }
    }

    /// The policy of this name.
    pub fn from_wire(name: &str) -> Option<Self> {
        [Self::Always, Self::IfNotPresent, Self::Never].into_iter().find(|p| p.wire() == name)
    }
}

/// `[[runners.docker.services]]` (`runner-config.md` §6.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Image, unexpanded.
    pub name: String,
    /// Host names, separated by commas or spaces.
    pub alias: String,
    /// Command override.
    pub command: Option<Vec<String>>,
    /// Entrypoint override.
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=value`, split.
    pub environment: Vec<(String, String)>,
}
