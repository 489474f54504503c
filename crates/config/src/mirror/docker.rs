//! `[runners.docker]` (`runner-config.md` §6.1).

use crate::cell::StringOrList;
use crate::mirror::Service;
use crate::table::table;
use std::collections::BTreeMap;

table! {
/// `[runners.docker]`.
Docker {
    host: Option<String>, "host", Omit, "host", "DOCKER_HOST", "Daemon address; unset = DOCKER_HOST, then the platform default socket";
    tls_cert_path: Option<String>, "tls_cert_path", Omit, "cert-path", "DOCKER_CERT_PATH", "Dir with ca.pem, cert.pem, key.pem";
    tls_verify: Option<bool>, "tls_verify", Always, "tlsverify", "DOCKER_TLS_VERIFY", "Use and verify TLS";
    hostname: Option<String>, "hostname", Omit, "hostname", "DOCKER_HOSTNAME", "Container hostname; unset = unique project name (runner-...-concurrent-N)";
    image: Option<String>, "image", Always, "image", "DOCKER_IMAGE", "Default image when the job names none; variables expanded";
    runtime: Option<String>, "runtime", Omit, "runtime", "DOCKER_RUNTIME", "OCI runtime name passed to the daemon";
    memory: Option<String>, "memory", Omit, "memory", "DOCKER_MEMORY", "RAM limit, Docker size syntax";
    memory_swap: Option<String>, "memory_swap", Omit, "memory-swap", "DOCKER_MEMORY_SWAP", "RAM+swap limit";
    memory_reservation: Option<String>, "memory_reservation", Omit, "memory-reservation", "DOCKER_MEMORY_RESERVATION", "Soft RAM limit";
    cgroup_parent: Option<String>, "cgroup_parent", Omit, "cgroup-parent", "DOCKER_CGROUP_PARENT", "cgroup parent of build/helper containers; replaced by the slot cgroup when use_slot_cgroups gives one";
    cpuset_cpus: Option<String>, "cpuset_cpus", Omit, "cpuset-cpus", "DOCKER_CPUSET_CPUS", "CPU pinning";
    cpuset_mems: Option<String>, "cpuset_mems", Omit, "cpuset-mems", "DOCKER_CPUSET_MEMS", "NUMA node pinning";
    cpus: Option<String>, "cpus", Omit, "cpus", "DOCKER_CPUS", "CPU quota as a decimal/rational string (converted to nano CPUs)";
    cpu_shares: Option<i64>, "cpu_shares", Omit, "cpu-shares", "DOCKER_CPU_SHARES", "Relative CPU weight";
    dns: Vec<String>, "dns", Omit, "dns", "DOCKER_DNS", "DNS servers; each must parse as an IP or the job fails in prepare (since 19.2)";
    dns_search: Vec<String>, "dns_search", Omit, "dns-search", "DOCKER_DNS_SEARCH", "DNS search domains";
    privileged: Option<bool>, "privileged", Always, "privileged", "DOCKER_PRIVILEGED", "Privileged build/helper containers, only if the image also matches allowed_privileged_images";
    services_privileged: Option<bool>, "services_privileged", Omit, "services_privileged", "DOCKER_SERVICES_PRIVILEGED", "Overrides `privileged` for services; unset = same as privileged. Also gated by allowed_privileged_services";
    disable_entrypoint_overwrite: Option<bool>, "disable_entrypoint_overwrite", Always, "disable-entrypoint-overwrite", "DOCKER_DISABLE_ENTRYPOINT_OVERWRITE", "Ignore job/service entrypoint overrides (warns)";
    user: Option<String>, "user", Omit, "user", "DOCKER_USER", "User (name/uid(:gid)) of the build container; beats image:docker:user from the job";
    allowed_users: Vec<String>, "allowed_users", Omit, "allowed_users", "DOCKER_ALLOWED_USERS", "Users a job may pick. Empty + `user` set = only that user; both empty = any. Empty user in the job is always fine";
    group_add: Vec<String>, "group_add", Omit, "group-add", "DOCKER_GROUP_ADD", "Extra supplementary groups";
    userns_mode: Option<String>, "userns_mode", Omit, "userns", "DOCKER_USERNS_MODE", "User namespace mode, build and services";
    cap_add: Vec<String>, "cap_add", Omit, "cap-add", "DOCKER_CAP_ADD", "Capabilities added";
    cap_drop: Vec<String>, "cap_drop", Omit, "cap-drop", "DOCKER_CAP_DROP", "Capabilities dropped";
    oom_kill_disable: Option<bool>, "oom_kill_disable", Always, "oom-kill-disable", "DOCKER_OOM_KILL_DISABLE", "Disable OOM killer for the container";
    oom_score_adjust: Option<i64>, "oom_score_adjust", Omit, "oom-score-adjust", "DOCKER_OOM_SCORE_ADJUST", "OOM score change";
    pids_limit: Option<i64>, "pids_limit", Omit, "pids-limit", "DOCKER_PIDS_LIMIT", "Harrier only: most processes and threads of one container; unset = 16384, -1 = no limit";
    security_opt: Vec<String>, "security_opt", Omit, "security-opt", "DOCKER_SECURITY_OPT", "Security options. `seccomp=PATH` is read on the runner host, must be valid JSON and is sent inline; `unconfined`, `builtin` and inline JSON pass as they are";
    services_security_opt: Vec<String>, "services_security_opt", Omit, "services-security-opt", "DOCKER_SERVICES_SECURITY_OPT", "Same, for services";
    devices: Vec<String>, "devices", Omit, "devices", "DOCKER_DEVICES", "`host[:container[:perms]]`, perms default rwm";
    device_cgroup_rules: Vec<String>, "device_cgroup_rules", Omit, "device-cgroup-rules", "DOCKER_DEVICE_CGROUP_RULES", "cgroup device rules";
    gpus: Option<String>, "gpus", Omit, "gpus", "DOCKER_GPUS", "GPU request in docker CLI syntax; also reported to GitLab as runner config info";
    services_devices: BTreeMap<String, Vec<String>>, "services_devices", Omit, "services_devices", "DOCKER_SERVICES_DEVICES", "Map of image glob -> device list for matching services";
    disable_cache: Option<bool>, "disable_cache", Always, "disable-cache", "DOCKER_DISABLE_CACHE", "Auto-created cache volumes become one-job volumes, removed at the end";
    volumes: Vec<String>, "volumes", Omit, "volumes", "DOCKER_VOLUMES", "Extra mounts: `/path` = reusable cache volume, `src:/path[:opts]` = bind/named volume. Variables are expanded in the destination only";
    volume_keep: Option<bool>, "volume_keep", Always, "volume-keep", "DOCKER_VOLUME_KEEP", "Do not delete anonymous volumes with the containers";
    volume_driver: Option<String>, "volume_driver", Omit, "volume-driver", "DOCKER_VOLUME_DRIVER", "Volume driver";
    volume_driver_ops: BTreeMap<String, String>, "volume_driver_ops", Omit, "volume-driver-ops", "DOCKER_VOLUME_DRIVER_OPS", "Driver options for created volumes";
    cache_dir: Option<String>, "cache_dir", Omit, "cache-dir", "DOCKER_CACHE_DIR", "Host dir used for auto cache volumes instead of docker volumes";
    extra_hosts: Vec<String>, "extra_hosts", Omit, "extra-hosts", "DOCKER_EXTRA_HOSTS", "`host:ip` entries";
    volumes_from: Vec<String>, "volumes_from", Omit, "volumes-from", "DOCKER_VOLUMES_FROM", "Mount volumes of another container";
    network_mode: Option<String>, "network_mode", Omit, "network-mode", "DOCKER_NETWORK_MODE", "Network for all job containers; a set value disables per-build networks";
    pid_mode: Option<String>, "pid_mode", Omit, "pid-mode", "DOCKER_PID_MODE", "PID namespace mode, build container only";
    ipcmode: Option<String>, "ipcmode", Omit, "ipcmode", "DOCKER_IPC_MODE", "IPC mode (note the key has no underscore)";
    mac_address: Option<String>, "mac_address", Omit, "mac-address", "DOCKER_MAC_ADDRESS", "MAC for the containers; must parse; needs daemon API 1.44+, otherwise warned and ignored";
    links: Vec<String>, "links", Omit, "links", "DOCKER_LINKS", "Legacy container links";
    services: Vec<Service>, "services", Omit, "", "", "`[[runners.docker.services]]` tables (`runner-config.md` §6.2)";
    services_limit: Option<i64>, "services_limit", Omit, "services-limit", "DOCKER_SERVICES_LIMIT", "Max number of services per job; -1 = no limit. Too many = job error";
    service_memory: Option<String>, "service_memory", Omit, "service-memory", "DOCKER_SERVICE_MEMORY", "RAM limit per service";
    service_memory_swap: Option<String>, "service_memory_swap", Omit, "service-memory-swap", "DOCKER_SERVICE_MEMORY_SWAP", "RAM+swap per service";
    service_memory_reservation: Option<String>, "service_memory_reservation", Omit, "service-memory-reservation", "DOCKER_SERVICE_MEMORY_RESERVATION", "Soft RAM per service";
    service_cgroup_parent: Option<String>, "service_cgroup_parent", Omit, "service-cgroup-parent", "DOCKER_SERVICE_CGROUP_PARENT", "cgroup parent per service";
    service_slot_cgroup_template: Option<String>, "service_slot_cgroup_template", Omit, "service-slot-cgroup-template", "DOCKER_SERVICE_SLOT_CGROUP_TEMPLATE", "Slot template for services; falls back to slot_cgroup_template";
    service_cpuset_cpus: Option<String>, "service_cpuset_cpus", Omit, "service-cpuset-cpus", "DOCKER_SERVICE_CPUSET_CPUS", "CPU pinning per service";
    service_cpus: Option<String>, "service_cpus", Omit, "service-cpus", "DOCKER_SERVICE_CPUS", "CPU quota per service";
    service_cpu_shares: Option<i64>, "service_cpu_shares", Omit, "service-cpu-shares", "DOCKER_SERVICE_CPU_SHARES", "CPU weight per service";
    service_gpus: Option<String>, "service_gpus", Omit, "service_gpus", "DOCKER_SERVICE_GPUS", "GPU request per service";
    wait_for_services_timeout: Option<i64>, "wait_for_services_timeout", Omit, "wait-for-services-timeout", "DOCKER_WAIT_FOR_SERVICES_TIMEOUT", "Seconds to wait for services; 0 = 30; -1 = skip the health check";
    allowed_images: Vec<String>, "allowed_images", Omit, "allowed-images", "DOCKER_ALLOWED_IMAGES", "Glob list (doublestar) of images a job may use; empty = any. The configured default image is always allowed";
    allowed_privileged_images: Vec<String>, "allowed_privileged_images", Omit, "allowed-privileged-images", "DOCKER_ALLOWED_PRIVILEGED_IMAGES", "Globs of images that get privileged mode when enabled; empty = all";
    allowed_privileged_services: Vec<String>, "allowed_privileged_services", Omit, "allowed-privileged-services", "DOCKER_ALLOWED_PRIVILEGED_SERVICES", "Same, for services";
    allowed_pull_policies: Vec<String>, "allowed_pull_policies", Omit, "allowed-pull-policies", "DOCKER_ALLOWED_PULL_POLICIES", "Policies a job may choose; empty = same as pull_policy";
    allowed_services: Vec<String>, "allowed_services", Omit, "allowed-services", "DOCKER_ALLOWED_SERVICES", "Glob list for job services; config services are always allowed";
    pull_policy: StringOrList, "pull_policy", Omit, "pull-policy", "DOCKER_PULL_POLICY", "always, if-not-present, never, or a list tried in order";
    isolation: Option<String>, "isolation", Omit, "isolation", "DOCKER_ISOLATION", "Windows: default, process, hyperv; other values fail";
    shm_size: Option<i64>, "shm_size", Always, "shm-size", "DOCKER_SHM_SIZE", "/dev/shm size in bytes, build and services";
    tmpfs: BTreeMap<String, String>, "tmpfs", Omit, "tmpfs", "DOCKER_TMPFS", "path -> mount options, build/helper";
    services_tmpfs: BTreeMap<String, String>, "services_tmpfs", Omit, "services-tmpfs", "DOCKER_SERVICES_TMPFS", "path -> mount options, services";
    sysctls: BTreeMap<String, String>, "sysctls", Omit, "sysctls", "DOCKER_SYSCTLS", "Kernel settings, build/helper only";
    helper_image: Option<String>, "helper_image", Omit, "helper-image", "DOCKER_HELPER_IMAGE", "Own helper image; variables expanded";
    helper_image_flavor: Option<String>, "helper_image_flavor", Omit, "helper-image-flavor", "DOCKER_HELPER_IMAGE_FLAVOR", "alpine (default), alpine-latest, alpine3.21, ubuntu, ubi-fips, concrete (auto with FF_CONCRETE)";
    container_labels: BTreeMap<String, String>, "container_labels", Omit, "container-labels", "", "Extra labels; values expanded with job variables";
    enable_ipv6: Option<bool>, "enable_ipv6", Omit, "enable-ipv6", "", "IPv6 on per-build networks";
    ulimit: BTreeMap<String, String>, "ulimit", Omit, "ulimit", "DOCKER_ULIMIT", "name -> `soft[:hard]`";
    network_mtu: Option<i64>, "network_mtu", Always, "network-mtu", "", "MTU of per-build networks";
    log_options: BTreeMap<String, String>, "log_options", Omit, "log-options", "DOCKER_LOG_OPTIONS", "json-file driver options; only `env` and `labels` keys allowed, others fail the job in prepare";
}
}
