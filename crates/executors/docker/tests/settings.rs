//! Every setting of `[runners.docker]` (`runner-config.md` §6.1) against a real engine: what the engine says of the
//! containers while the script runs, or the words a job is refused with. A key that is in no row fails.

mod bench;

use bench::*;
use harrier_config::mirror::docker_keys;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Whose answer is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Build,
    Helper,
    Service,
    /// The network of the job's own.
    Network,
    /// A volume of the job.
    Volume,
}
use Of::{Build, Helper, Network, Service, Volume};

/// `key`, whose answer, where in it, and what stands there. A text is part of the answer as JSON; other values are it.
type Row = (&'static str, Of, &'static str, Value);

/// One job that shows several settings.
struct Shown {
    section: &'static str,
    prepare: fn(Bench) -> Bench,
    rows: Vec<Row>,
}

const SERVICE: &str = "[[runners.docker.services]]\nname = 'harrier-test/busybox'\nalias = 'peer'\ncommand = ['sleep', '1000']\n\
                       environment = ['OWN=1']\n";

fn shown() -> Vec<Shown> {
    vec![
        Shown {
            section: "hostname = 'cell'\nmemory = '256m'\nmemory_swap = '512m'\nmemory_reservation = '64m'\ncpus = '1.5'\n\
                cpu_shares = 512\ncpuset_cpus = '0'\ncpuset_mems = '0'\ncgroup_parent = '/harrier-settings'\n\
                dns = ['10.9.8.7']\ndns_search = ['birds.example']\nextra_hosts = ['far:10.1.2.3']\ngroup_add = ['1234']\n\
                cap_add = ['NET_ADMIN']\ncap_drop = ['NET_RAW']\noom_kill_disable = true\noom_score_adjust = 100\n\
                security_opt = ['no-new-privileges']\nservices_security_opt = ['seccomp=unconfined']\n\
                devices = ['/dev/null:/dev/void:r']\ndevice_cgroup_rules = ['c 1:5 r']\nvolumes = ['/scratch', '/tmp:/from-host:ro']\n\
                shm_size = 1048576\nipcmode = 'shareable'\npid_mode = 'host'\nuserns_mode = 'host'\nruntime = 'runc'\n\
                isolation = 'default'\nvolume_driver = 'local'\nwait_for_services_timeout = -1\nservices_limit = 1\n\
                service_memory = '128m'\nservice_memory_swap = '192m'\nservice_memory_reservation = '32m'\n\
                service_cgroup_parent = '/harrier-settings'\nservice_cpuset_cpus = '0'\nservice_cpus = '0.5'\n\
                service_cpu_shares = 256\npids_limit = 999\nallowed_users = ['1234']\n\
                allowed_images = ['harrier-test/*']\nallowed_services = ['harrier-test/*']\n\
                [runners.docker.services_devices]\n'harrier-test/*' = ['/dev/zero:/dev/nought:rw']\n\
                [runners.docker.tmpfs]\n'/small' = 'size=64k'\n[runners.docker.services_tmpfs]\n'/tiny' = 'size=32k'\n\
                [runners.docker.sysctls]\n'net.ipv4.ip_unprivileged_port_start' = '80'\n\
                [runners.docker.container_labels]\nteam = 'birds in $COLOUR'\n[runners.docker.ulimit]\nnofile = '100:200'\n\
                [runners.docker.log_options]\nenv = 'COLOUR'\nlabels = 'team'\n",
            prepare: |bench| {
                bench
                    .section(SERVICE)
                    .with("image", json!({"name": IMAGE, "executor_opts": {"docker": {"user": "1234"}}}))
            },
            rows: vec![
                ("hostname", Build, "/Config/Hostname", json!("cell")),
                ("memory", Build, "/HostConfig/Memory", json!(256 << 20)),
                ("memory", Helper, "/HostConfig/Memory", json!(256 << 20)),
                ("memory_swap", Build, "/HostConfig/MemorySwap", json!(512 << 20)),
                ("memory_reservation", Build, "/HostConfig/MemoryReservation", json!(64 << 20)),
                ("cpus", Build, "/HostConfig/NanoCpus", json!(1_500_000_000)),
                ("cpu_shares", Build, "/HostConfig/CpuShares", json!(512)),
                ("cpuset_cpus", Build, "/HostConfig/CpusetCpus", json!("0")),
                ("cpuset_mems", Build, "/HostConfig/CpusetMems", json!("0")),
                ("cgroup_parent", Build, "/HostConfig/CgroupParent", json!("/harrier-settings")),
                ("dns", Build, "/HostConfig/Dns", json!(["10.9.8.7"])),
                ("dns", Service, "/HostConfig/Dns", json!(["10.9.8.7"])),
                ("dns_search", Build, "/HostConfig/DnsSearch", json!(["birds.example"])),
                ("extra_hosts", Build, "/HostConfig/ExtraHosts", json!("far:10.1.2.3")),
                ("group_add", Build, "/HostConfig/GroupAdd", json!(["1234"])),
                ("cap_add", Build, "/HostConfig/CapAdd", json!("NET_ADMIN")),
                ("cap_drop", Build, "/HostConfig/CapDrop", json!("NET_RAW")),
                ("oom_kill_disable", Build, "/HostConfig/OomKillDisable", json!(true)),
                ("oom_score_adjust", Build, "/HostConfig/OomScoreAdj", json!(100)),
                ("security_opt", Build, "/HostConfig/SecurityOpt", json!("no-new-privileges")),
                ("services_security_opt", Service, "/HostConfig/SecurityOpt", json!(["seccomp=unconfined"])),
                ("devices", Build, "/HostConfig/Devices/0/PathInContainer", json!("/dev/void")),
                ("device_cgroup_rules", Build, "/HostConfig/DeviceCgroupRules", json!(["c 1:5 r"])),
                ("services_devices", Service, "/HostConfig/Devices/0/PathInContainer", json!("/dev/nought")),
                ("volumes", Build, "/HostConfig/Binds", json!("/tmp:/from-host:ro")),
                ("volumes", Build, "/HostConfig/Binds", json!(":/scratch")),
                ("shm_size", Build, "/HostConfig/ShmSize", json!(1_048_576)),
                ("ipcmode", Build, "/HostConfig/IpcMode", json!("shareable")),
                ("pid_mode", Build, "/HostConfig/PidMode", json!("host")),
                ("pid_mode", Helper, "/HostConfig/PidMode", json!("")),
                ("userns_mode", Build, "/HostConfig/UsernsMode", json!("host")),
                ("runtime", Build, "/HostConfig/Runtime", json!("runc")),
                ("isolation", Build, "/HostConfig/Isolation", json!("default")),
                ("volume_driver", Build, "/HostConfig/VolumeDriver", json!("local")),
                ("services", Service, "/Config/Env", json!("OWN=1")),
                ("services_limit", Service, "/State/Running", json!(true)),
                ("wait_for_services_timeout", Service, "/State/Running", json!(true)),
                ("service_memory", Service, "/HostConfig/Memory", json!(128 << 20)),
                ("service_memory_swap", Service, "/HostConfig/MemorySwap", json!(192 << 20)),
                ("service_memory_reservation", Service, "/HostConfig/MemoryReservation", json!(32 << 20)),
                ("service_cgroup_parent", Service, "/HostConfig/CgroupParent", json!("/harrier-settings")),
                ("service_cpuset_cpus", Service, "/HostConfig/CpusetCpus", json!("0")),
                ("service_cpus", Service, "/HostConfig/NanoCpus", json!(500_000_000)),
                ("service_cpu_shares", Service, "/HostConfig/CpuShares", json!(256)),
                ("pids_limit", Build, "/HostConfig/PidsLimit", json!(999)),
                ("allowed_users", Build, "/Config/User", json!("1234")),
                ("allowed_images", Build, "/State/Running", json!(true)),
                ("allowed_services", Service, "/State/Running", json!(true)),
                ("tmpfs", Build, "/HostConfig/Tmpfs", json!({"/small": "size=64k"})),
                ("services_tmpfs", Service, "/HostConfig/Tmpfs", json!({"/tiny": "size=32k"})),
                (
                    "sysctls",
                    Build,
                    "/HostConfig/Sysctls",
                    json!({"net.ipv4.ip_unprivileged_port_start": "80"}),
                ),
                ("container_labels", Build, "/Config/Labels/team", json!("birds in red and blue")),
                (
                    "container_labels",
                    Service,
                    "/Config/Labels/com.gitlab.gitlab-runner.team",
                    json!("birds in red and blue"),
                ),
                (
                    "ulimit",
                    Build,
                    "/HostConfig/Ulimits",
                    json!([{"Name": "nofile", "Soft": 100, "Hard": 200}]),
                ),
                ("log_options", Build, "/HostConfig/LogConfig/Config/labels", json!("team")),
            ],
        },
        Shown {
            // On the default bridge without services: what belongs to the network stands at the helper.
            section: "hostname = 'cell'\ndns = ['10.9.8.7']\nextra_hosts = ['far:10.1.2.3']\nuser = '4321'\n\
                cache_dir = '/tmp/harrier-settings-caches'\nvolume_keep = true\nallowed_pull_policies = ['if-not-present']\n\
                helper_image = 'harrier-test/debian-git'\n\
                [runners.docker.sysctls]\n'net.ipv4.ip_unprivileged_port_start' = '80'\n",
            prepare: |bench| bench,
            rows: vec![
                ("network_mode", Build, "/HostConfig/NetworkMode", json!("container:")),
                ("hostname", Build, "/Config/Hostname", json!("cell")),
                ("dns", Helper, "/HostConfig/Dns", json!(["10.9.8.7"])),
                ("extra_hosts", Helper, "/HostConfig/ExtraHosts", json!("far:10.1.2.3")),
                (
                    "sysctls",
                    Helper,
                    "/HostConfig/Sysctls",
                    json!({"net.ipv4.ip_unprivileged_port_start": "80"}),
                ),
                ("user", Build, "/Config/User", json!("4321")),
                ("cache_dir", Build, "/HostConfig/Binds", json!("/tmp/harrier-settings-caches/runner-")),
                ("helper_image", Helper, "/Config/Image", json!("sha256:")),
                ("allowed_pull_policies", Build, "/State/Running", json!(true)),
                ("volume_keep", Build, "/State/Running", json!(true)),
            ],
        },
        Shown {
            section: "network_mode = 'none'\nprivileged = true\nservices_privileged = false\ndisable_cache = true\n\
                disable_entrypoint_overwrite = true\nimage = 'harrier-test/busybox'\n\
                [runners.docker.volume_driver_ops]\ntype = 'tmpfs'\ndevice = 'tmpfs'\no = 'size=10m'\n",
            prepare: |bench| {
                bench.section(SERVICE).with("image", json!({"name": "", "entrypoint": ["/no/such"]}))
            },
            rows: vec![
                ("network_mode", Build, "/HostConfig/NetworkMode", json!("none")),
                ("privileged", Build, "/HostConfig/Privileged", json!(true)),
                ("privileged", Helper, "/HostConfig/Privileged", json!(true)),
                ("services_privileged", Service, "/HostConfig/Privileged", json!(false)),
                ("disable_cache", Build, "/HostConfig/Binds", json!("-temporary-")),
                ("disable_entrypoint_overwrite", Build, "/Config/Entrypoint", Value::Null),
                ("image", Build, "/Config/Labels/com.gitlab.gitlab-runner.type", json!("build")),
                ("volume_driver_ops", Volume, "/Options/o", json!("size=10m")),
            ],
        },
        Shown {
            section: "privileged = true\nallowed_privileged_images = ['other/*']\nallowed_privileged_services = ['other/*']\n\
                network_mtu = 1400\nvolumes_from = ['HELD']\n",
            prepare: |bench| bench.section(SERVICE).variable("FF_NETWORK_PER_BUILD", "true"),
            rows: vec![
                ("allowed_privileged_images", Build, "/HostConfig/Privileged", json!(false)),
                ("allowed_privileged_services", Service, "/HostConfig/Privileged", json!(false)),
                ("network_mtu", Network, "/Options/com.docker.network.driver.mtu", json!("1400")),
                ("volumes_from", Build, "/HostConfig/VolumesFrom", json!("held-")),
            ],
        },
        Shown {
            section: "links = ['HELD:peer']\n",
            prepare: |bench| bench,
            rows: vec![("links", Build, "/HostConfig/Links", json!("held-"))],
        },
    ]
}

/// `key`, the section, what else the job has, and words of its log.
type Refused = (&'static str, &'static str, fn(Bench) -> Bench, &'static str);

const REFUSED: &[Refused] = &[
    ("gpus", "gpus = 'all'\n", |b| b, "could not select device driver"),
    ("service_gpus", "service_gpus = '1'\n", |b| b.section(SERVICE), "could not select device driver"),
    (
        "mac_address",
        "mac_address = '02:42:00:00:00:07'\n",
        |b| b,
        "mac_address in [runners.docker] needs an engine with API 1.44",
    ),
    (
        "services_limit",
        "services_limit = 0\n",
        |b| b.section(SERVICE),
        "more than the 0 that this runner allows",
    ),
    (
        "allowed_images",
        "allowed_images = ['other/*']\n",
        |b| b,
        "is not present on list of allowed images: other/*",
    ),
    (
        "allowed_services",
        "allowed_services = ['other/*']\n",
        |b| b.with("services", json!([{"name": IMAGE}])),
        "is not present on list of allowed services: other/*",
    ),
    (
        "allowed_users",
        "allowed_users = ['1']\n",
        |b| b.with("image", json!({"name": IMAGE, "executor_opts": {"docker": {"user": "2"}}})),
        "the user \"2\" of image:docker:user is not allowed on this runner",
    ),
    (
        "allowed_pull_policies",
        "allowed_pull_policies = ['never']\n",
        |b| b,
        "are not among the allowed_pull_policies [never]",
    ),
    ("runtime", "runtime = 'no-such'\n", |b| b, "no-such"),
    ("isolation", "isolation = 'hyperv'\n", |b| b, "solation"),
    ("volumes", "volumes = ['/a:/b:sometimes']\n", |b| b, "in volumes of [runners.docker] is no volume"),
    ("volumes", "volumes = ['/']\n", |b| b, "a volume at / is not possible"),
    (
        "security_opt",
        "security_opt = ['seccomp=/no/such']\n",
        |b| b,
        "the seccomp profile /no/such of security_opt",
    ),
];

/// What does not even load, and what loads with a warning.
const TOLD: &[(&str, &str, &str)] = &[
    ("isolation", "isolation = 'jail'", "write default, process or hyperv"),
    ("dns", "dns = ['here']", "write each server as an IP address"),
    ("memory", "memory = 'lots'", "write it as 512m or 2g"),
    ("pull_policy", "pull_policy = 'sometimes'", "write always, if-not-present or never"),
    ("helper_image_flavor", "helper_image_flavor = 'ubuntu'", "the setting has no effect"),
    ("service_slot_cgroup_template", "service_slot_cgroup_template = 'x'", "the setting has no effect"),
];

/// Shown by tests of their own.
const ELSEWHERE: &[&str] = &[
    // `tests/engines.rs`
    "host",
    "tls_cert_path",
    "tls_verify",
    // Below: an engine has IPv6 networks or says that it has none.
    "enable_ipv6",
];

#[test]
fn every_key_is_in_a_row() {
    let mut rows: BTreeSet<&str> = shown().iter().flat_map(|one| &one.rows).map(|row| row.0).collect();
    rows.extend(REFUSED.iter().map(|row| row.0));
    rows.extend(TOLD.iter().map(|row| row.0));
    rows.extend(ELSEWHERE);
    let keys: BTreeSet<&str> = docker_keys().iter().copied().collect();
    assert_eq!(keys.difference(&rows).collect::<Vec<_>>(), Vec::<&&str>::new(), "keys that no row shows");
    assert_eq!(rows.difference(&keys).collect::<Vec<_>>(), Vec::<&&str>::new(), "rows without a key");
}

#[test]
fn what_cannot_be_is_told_when_the_file_is_read() {
    for (key, line, words) in TOLD {
        let toml = format!(
            "[[runners]]\nname = 'r'\nurl = 'https://ci.test'\ntoken = 'glrt-x'\nexecutor = 'docker'\n[runners.docker]\n{line}\n"
        );
        let said = match harrier_config::parse(&toml, "config.toml", &|_| None) {
            Err(error) => error.to_string(),
            Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        assert!(said.contains(words) && said.contains(key), "{key}: {said}");
    }
}

/// A container of somebody else's that settings name.
struct Held(String);

impl Held {
    fn new() -> Self {
        let name = format!("held-{}", std::process::id());
        docker(&["run", "--detach", "--name", &name, "--volume", "/of-the-other", IMAGE, "sleep", "1000"]);
        Self(name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.0]);
    }
}

fn inspect(bench: &Bench, of: Of) -> Value {
    let label = bench.label();
    let kind = |kind: &str| format!("label=com.gitlab.gitlab-runner.type={kind}");
    let containers = |name: &str| docker(&["ps", "--quiet", "--filter", &label, "--filter", &kind(name)]);
    let (command, name) = match of {
        Build => ("container", containers("build")),
        Helper => ("container", containers("predefined")),
        Service => ("container", containers("service")),
        Network => ("network", docker(&["network", "ls", "--quiet", "--filter", &label])),
        Volume => ("volume", docker(&["volume", "ls", "--quiet", "--filter", &label])),
    };
    let name = name.lines().next().unwrap_or_else(|| panic!("there is no {of:?}")).to_owned();
    serde_json::from_str(&docker(&[command, "inspect", "--format", "{{json .}}", &name])).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_what_the_engine_says_of_the_containers() {
    let held = Held::new();
    let mut wrong = Vec::new();
    for one in shown() {
        let script = ["echo running; while [ ! -e /builds/go ]; do sleep 0.1; done"];
        let section = one.section.replace("HELD", &held.0);
        // Tables at the end of the section: what else belongs into the section itself stands before.
        let bench = (one.prepare)(Bench::new(&script).section(&section));
        let dir = bench.dir();
        let raw = dir.raw_log();
        let looking = async {
            said(&raw, "running\n").await;
            for (key, of, pointer, want) in &one.rows {
                let found = inspect(&bench, *of).pointer(pointer).cloned().unwrap_or(Value::Null);
                let as_wanted = match want {
                    Value::String(part) if !part.is_empty() => found.to_string().contains(part.as_str()),
                    want => found == *want,
                };
                if !as_wanted {
                    wrong.push(format!("{key}: {of:?} has {found} at {pointer}, not {want}"));
                }
            }
            let of_build = "label=com.gitlab.gitlab-runner.type=build";
            let build = docker(&["ps", "--quiet", "--filter", &bench.label(), "--filter", of_build]);
            // Not waited for: the container ends by it, and the engine may then never tell that it has ended.
            docker(&["exec", "--detach", "--user", "0", &build, "touch", "/builds/go"]);
        };
        let (outcome, log) = {
            let (mut running, mut looking) = (Box::pin(bench.run_in(&dir)), Box::pin(looking));
            tokio::select! {
                ended = &mut running => ended,
                () = &mut looking => running.await,
            }
        };
        dir.remove().expect("removed");
        if !outcome.success {
            wrong.push(format!("{}{outcome:?}\n{log}", one.section));
        }
        contains(&log, &["Using effective pull policy of [if-not-present]"]);
        // Nobody waits for services with -1.
        assert!(
            one.section.contains("services_timeout = -1") != log.contains("Waiting for services")
                || !one.section.contains("services_timeout"),
            "{log}"
        );
        bench.assert_clean();
    }
    let _ = std::fs::remove_dir_all("/tmp/harrier-settings-caches");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_what_is_wrong() {
    let mut wrong = Vec::new();
    for (key, section, prepare, words) in REFUSED {
        let bench = prepare(Bench::new(&["echo it runs all the same"]).section(section));
        let (outcome, log) = bench.run().await;
        if outcome.success || !log.contains(words) || log.contains("all the same\n") {
            wrong.push(format!("{key}: {outcome:?}\n{log}"));
        }
        bench.assert_clean();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An engine that has no addresses for it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_networks_or_the_engines_word() {
    let bench = Bench::new(&["echo running"])
        .section("enable_ipv6 = true\n")
        .variable("FF_NETWORK_PER_BUILD", "true");
    let (outcome, log) = bench.run().await;
    assert!(outcome.success || log.contains("cannot create the network") && log.contains("IPv6"), "{log}");
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volume_keep_leaves_what_an_image_brings() {
    let name = format!("harrier-test/with-volume:{}", std::process::id());
    let made = docker(&["create", IMAGE]);
    docker(&["commit", "--change", "VOLUME /anonymous", &made, &name]);
    docker(&["rm", &made]);
    for keep in [true, false] {
        let bench = Bench::new(&["grep -o '[0-9a-f]*/_data /anonymous' /proc/self/mountinfo"])
            .section(&format!("volume_keep = {keep}\n"))
            .with("image", json!({"name": name}));
        let (outcome, log) = bench.run().await;
        assert!(outcome.success, "{outcome:?}\n{log}");
        let volume = log
            .lines()
            .filter(|line| !line.contains("grep"))
            .find_map(|line| line.split_once("/_data /anonymous"))
            .map(|(id, _)| id.to_owned());
        let volume = volume.unwrap_or_else(|| panic!("{log}"));
        let found = docker(&["volume", "ls", "--quiet", "--filter", &format!("name={volume}")]);
        assert_eq!(!found.is_empty(), keep, "{volume}");
        if keep {
            docker(&["volume", "rm", &volume]);
        }
    }
    docker(&["image", "rm", &name]);
}
