//! Turns the mirror of `[runners.docker]` into a [`DockerSpec`] (`runner-config.md` §6.1): sizes, numbers and lists parsed
//! once. What cannot be parsed is told with the key it stands under.
//!
//! Called by the check of a runner whose executor is docker. Pure: files that settings name (seccomp profiles) are
//! read by the executor.

use crate::docker::{ContainerLimits, Device, DockerSpec, EngineAddress, PullPolicy, ServiceSpec, Ulimit};
use crate::mirror::{Docker, Service};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Most processes and threads of one container, if the configuration is silent: half of what a machine has by default.
const PIDS_LIMIT: i64 = 16 * 1024;

/// A setting that cannot be used: its key, what is wrong, what to write.
pub(crate) struct DockerProblem {
    pub(crate) key: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

/// The checked section and everything that is wrong with it.
pub(crate) fn docker(mirror: &Docker) -> (DockerSpec, Vec<DockerProblem>) {
    let mut check = Check { problems: Vec::new() };
    let spec = check.spec(mirror);
    (spec, check.problems)
}

struct Check {
    problems: Vec<DockerProblem>,
}

impl Check {
    fn spec(&mut self, m: &Docker) -> DockerSpec {
        let pull_policies = self.policies("pull_policy", &m.pull_policy.0);
        for address in &m.dns {
            if address.parse::<std::net::IpAddr>().is_err() {
                self.bad(
                    "dns",
                    format!("{address:?} is no IP address"),
                    "write each server as an IP address",
                );
            }
        }
        for key in m.log_options.keys().filter(|key| !matches!(key.as_str(), "env" | "labels")) {
            self.bad("log_options", format!("{key:?} is not allowed"), "only env and labels are allowed");
        }
        let isolation = some(&m.isolation);
        if isolation.as_ref().is_some_and(|i| !matches!(i.as_str(), "default" | "process" | "hyperv")) {
            self.bad(
                "isolation",
                format!("{:?} is not known", isolation.as_deref().unwrap_or_default()),
                "write default, process or hyperv",
            );
        }
        let privileged = m.privileged.unwrap_or(false);
        DockerSpec {
            connection: EngineAddress {
                host: some(&m.host),
                tls_cert_path: some(&m.tls_cert_path).map(PathBuf::from),
                tls_verify: m.tls_verify.unwrap_or(false),
            },
            hostname: some(&m.hostname),
            image: some(&m.image),
            runtime: some(&m.runtime),
            limits: ContainerLimits {
                memory: self.size("memory", &m.memory),
                memory_swap: self.size("memory_swap", &m.memory_swap),
                memory_reservation: self.size("memory_reservation", &m.memory_reservation),
                cgroup_parent: some(&m.cgroup_parent),
                cpuset_cpus: some(&m.cpuset_cpus),
                nano_cpus: self.cpus("cpus", &m.cpus),
                cpu_shares: m.cpu_shares.filter(|n| *n != 0),
            },
            service_limits: ContainerLimits {
                memory: self.size("service_memory", &m.service_memory),
                memory_swap: self.size("service_memory_swap", &m.service_memory_swap),
                memory_reservation: self.size("service_memory_reservation", &m.service_memory_reservation),
                cgroup_parent: some(&m.service_cgroup_parent),
                cpuset_cpus: some(&m.service_cpuset_cpus),
                nano_cpus: self.cpus("service_cpus", &m.service_cpus),
                cpu_shares: m.service_cpu_shares.filter(|n| *n != 0),
            },
            cpuset_mems: some(&m.cpuset_mems),
            dns: m.dns.clone(),
            dns_search: m.dns_search.clone(),
            privileged,
            services_privileged: m.services_privileged.unwrap_or(privileged),
            disable_entrypoint_overwrite: m.disable_entrypoint_overwrite.unwrap_or(false),
            user: some(&m.user),
            allowed_users: m.allowed_users.clone(),
            group_add: m.group_add.clone(),
            userns_mode: some(&m.userns_mode),
            cap_add: m.cap_add.clone(),
            cap_drop: m.cap_drop.clone(),
            oom_kill_disable: m.oom_kill_disable.unwrap_or(false),
            oom_score_adjust: m.oom_score_adjust.filter(|n| *n != 0),
            pids_limit: match m.pids_limit {
                None => Some(PIDS_LIMIT),
                Some(limit) => (limit > 0).then_some(limit),
            },
            security_opt: m.security_opt.clone(),
            services_security_opt: m.services_security_opt.clone(),
            devices: self.devices("devices", &m.devices),
            device_cgroup_rules: m.device_cgroup_rules.clone(),
            gpus: some(&m.gpus),
            service_gpus: some(&m.service_gpus),
            services_devices: m
                .services_devices
                .iter()
                .map(|(image, devices)| (image.clone(), self.devices("services_devices", devices)))
                .collect(),
            disable_cache: m.disable_cache.unwrap_or(false),
            volumes: m.volumes.clone(),
            volume_keep: m.volume_keep.unwrap_or(false),
            volume_driver: some(&m.volume_driver),
            volume_driver_ops: m.volume_driver_ops.clone(),
            cache_dir: some(&m.cache_dir).map(PathBuf::from),
            extra_hosts: m.extra_hosts.clone(),
            volumes_from: m.volumes_from.clone(),
            network_mode: some(&m.network_mode),
            pid_mode: some(&m.pid_mode),
            ipc_mode: some(&m.ipcmode),
            mac_address: some(&m.mac_address),
            links: m.links.clone(),
            services: m.services.iter().map(service).collect(),
            services_limit: m.services_limit.and_then(|n| u32::try_from(n).ok()),
            wait_for_services_timeout: match m.wait_for_services_timeout.unwrap_or(0) {
                0 => Some(Duration::from_secs(30)),
                n => u64::try_from(n).ok().map(Duration::from_secs),
            },
            allowed_images: m.allowed_images.clone(),
            allowed_privileged_images: m.allowed_privileged_images.clone(),
            allowed_privileged_services: m.allowed_privileged_services.clone(),
            allowed_services: m.allowed_services.clone(),
            pull_policies: if pull_policies.is_empty() { vec![PullPolicy::Always] } else { pull_policies },
            allowed_pull_policies: self.policies("allowed_pull_policies", &m.allowed_pull_policies),
            isolation,
            shm_size: m.shm_size.filter(|n| *n != 0),
            tmpfs: m.tmpfs.clone(),
            services_tmpfs: m.services_tmpfs.clone(),
            sysctls: m.sysctls.clone(),
            helper_image: some(&m.helper_image),
            container_labels: m.container_labels.clone(),
            enable_ipv6: m.enable_ipv6.unwrap_or(false),
            ulimits: self.ulimits(&m.ulimit),
            network_mtu: m.network_mtu.filter(|n| *n != 0).and_then(|n| u32::try_from(n).ok()),
            log_options: m.log_options.clone(),
            host_dirs: Vec::new(),
        }
    }

    fn bad(&mut self, key: &'static str, message: String, remedy: &'static str) {
        self.problems.push(DockerProblem { key, message, remedy });
    }

    fn size(&mut self, key: &'static str, value: &Option<String>) -> Option<i64> {
        let text = some(value)?;
        let parsed = parse_size(&text);
        if parsed.is_none() {
            self.bad(key, format!("{text:?} is no size"), "write it as 512m or 2g (b, k, m, g, t)");
        }
        parsed
    }

    /// A decimal (`1.5`) or a fraction (`3/2`) of CPUs.
    fn cpus(&mut self, key: &'static str, value: &Option<String>) -> Option<i64> {
        let text = some(value)?;
        let number = match text.split_once('/') {
            Some((over, under)) => match (over.trim().parse::<f64>(), under.trim().parse::<f64>()) {
                (Ok(over), Ok(under)) if under != 0.0 => Some(over / under),
                _ => None,
            },
            None => text.trim().parse::<f64>().ok(),
        };
        match number.filter(|n| n.is_finite() && *n >= 0.0) {
            Some(n) => Some((n * 1e9).round() as i64),
            None => {
                self.bad(key, format!("{text:?} is no number of CPUs"), "write it as 1.5 or 3/2");
                None
            }
        }
    }

    fn policies(&mut self, key: &'static str, names: &[String]) -> Vec<PullPolicy> {
        let mut policies = Vec::new();
        for name in names {
            match PullPolicy::from_wire(name) {
                Some(policy) => policies.push(policy),
                None => self.bad(
                    key,
                    format!("unsupported pull policy {name:?}"),
                    "write always, if-not-present or never",
                ),
            }
        }
        policies
    }

    fn devices(&mut self, key: &'static str, list: &[String]) -> Vec<Device> {
        let mut devices = Vec::new();
        for text in list {
            let mut parts = text.split(':');
            let host = parts.next().unwrap_or_default().to_owned();
            let container = parts.next().unwrap_or(&host).to_owned();
            let permissions = parts.next().unwrap_or("rwm").to_owned();
            if host.is_empty() || parts.next().is_some() {
                self.bad(
                    key,
                    format!("{text:?} is no device"),
                    "write it as /dev/host or /dev/host:/dev/container:rwm",
                );
            } else {
                devices.push(Device { host, container, permissions });
            }
        }
        devices
    }

    fn ulimits(&mut self, table: &BTreeMap<String, String>) -> Vec<Ulimit> {
        let mut ulimits = Vec::new();
        for (name, text) in table {
            let (soft, hard) = text.split_once(':').unwrap_or((text, text));
            match (soft.trim().parse(), hard.trim().parse()) {
                (Ok(soft), Ok(hard)) => ulimits.push(Ulimit { name: name.clone(), soft, hard }),
                _ => self.bad(
                    "ulimit",
                    format!("{name} = {text:?} is no limit"),
                    "write it as \"1024\" or \"1024:4096\"",
                ),
            }
        }
        ulimits
    }
}

fn service(m: &Service) -> ServiceSpec {
    let list = |l: &[String]| (!l.is_empty()).then(|| l.to_vec());
    ServiceSpec {
        name: m.name.clone().unwrap_or_default(),
        alias: m.alias.clone().unwrap_or_default(),
        command: list(&m.command),
        entrypoint: list(&m.entrypoint),
        environment: m
            .environment
            .iter()
            .filter_map(|entry| entry.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    }
}

fn some(value: &Option<String>) -> Option<String> {
    value.clone().filter(|text| !text.is_empty())
}

/// Docker's size syntax: a number, an optional unit of powers of 1024, an optional `b`. -1 is "no limit".
fn parse_size(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    if text == "-1" {
        return Some(-1);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let power = match text[digits..].trim().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some((number * 1024f64.powi(power)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (text, bytes) in [
            ("512", Some(512)),
            ("1k", Some(1024)),
            ("128m", Some(128 << 20)),
            ("1.5g", Some(3 << 29)),
            ("2GiB", Some(2 << 30)),
            ("1GB", Some(1 << 30)),
            ("-1", Some(-1)),
            ("many", None),
            ("1x", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_section_with_nothing_in_it_has_the_defaults() {
        let (spec, problems) = docker(&Docker::default());
        assert!(problems.is_empty());
        assert_eq!(spec.pull_policies, [PullPolicy::Always]);
        assert_eq!(spec.wait_for_services_timeout, Some(Duration::from_secs(30)));
        assert_eq!(spec.services_limit, None);
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let mirror = Docker {
            memory: Some("lots".into()),
            cpus: Some("1/0".into()),
            dns: vec!["here".into()],
            devices: vec!["a:b:c:d".into()],
            ulimit: [("nofile".to_owned(), "x".to_owned())].into(),
            isolation: Some("jail".into()),
            allowed_pull_policies: vec!["sometimes".into()],
            log_options: [("max-size".to_owned(), "1m".to_owned())].into(),
            ..Docker::default()
        };
        let (_, problems) = docker(&mirror);
        let keys: Vec<_> = problems.iter().map(|p| p.key).collect();
        for key in [
            "memory",
            "cpus",
            "dns",
            "devices",
            "ulimit",
            "isolation",
            "allowed_pull_policies",
            "log_options",
        ] {
            assert!(keys.contains(&key), "{key} in {keys:?}");
        }
    }

    #[test]
    fn devices_and_fractions() {
        let mirror = Docker {
            cpus: Some("3/2".into()),
            devices: vec!["/dev/a".into(), "/dev/b:/dev/c:r".into()],
            ..Docker::default()
        };
        let (spec, _) = docker(&mirror);
        assert_eq!(spec.limits.nano_cpus, Some(1_500_000_000));
        assert_eq!(spec.devices[0].container, "/dev/a");
        assert_eq!(spec.devices[1].permissions, "r");
    }
}
