//! `[runners.autoscaler]` (`runner-config.md` §6.10).

use crate::cell::FreeTable;
use crate::table::table;
use harrier_base::Secret;
use std::time::Duration;

table! {
/// `[runners.autoscaler]`.
Autoscaler {
    capacity_per_instance: Option<i64>, "capacity_per_instance", Omit, "", "", "Jobs at once per instance";
    max_use_count: Option<i64>, "max_use_count", Omit, "", "", "Jobs per instance before removal; 0 = no limit";
    max_instances: Option<i64>, "max_instances", Omit, "", "", "Max instances in any state; 0 = no limit";
    plugin: Option<String>, "plugin", Omit, "", "", "Fleeting plugin: binary name or OCI reference";
    plugin_config: Option<FreeTable>, "plugin_config", Omit, "", "", "Free table, sent to the plugin as JSON";
    connector_config: Option<ConnectorConfig>, "connector_config", Omit, "", "", "See `runner-config.md` §6.10.1";
    policy: Vec<Policy>, "policy", Omit, "", "", "`[[...policy]]`, 6.10.2";
    instance_ready_command: Option<String>, "instance_ready_command", Omit, "", "", "Command that must succeed on a new instance";
    instance_acquire_timeout: Option<Duration>, "instance_acquire_timeout", Omit, "", "", "Max wait for an instance in prepare; default 15m";
    update_interval: Option<Duration>, "update_interval", Omit, "", "", "Poll of the plugin; default 1m";
    update_interval_when_expecting: Option<Duration>, "update_interval_when_expecting", Omit, "", "", "Poll while a change is expected; default 2s";
    deletion_retry_interval: Option<Duration>, "deletion_retry_interval", Omit, "", "", "Wait before a deletion is tried again; default 1m";
    shutdown_deletion_interval: Option<Duration>, "shutdown_deletion_interval", Omit, "", "", "Poll at shutdown; default 10s";
    shutdown_deletion_retries: Option<i64>, "shutdown_deletion_retries", Omit, "", "", "Tries at shutdown; default 3";
    failure_threshold: Option<i64>, "failure_threshold", Omit, "", "", "Failed heartbeats before replacing; default 3";
    scale_throttle: Option<ScaleThrottle>, "scale_throttle", Omit, "", "", "Table limit/burst: new instances per second. limit 0 = 100, -1 = no limit; burst default = max_instances or limit";
    reservation_throttling: Option<bool>, "reservation_throttling", Omit, "", "", "Reserve capacity before a job request; default true";
    log_internal_ip: Option<bool>, "log_internal_ip", Omit, "", "", "Print the internal address in the job log";
    log_external_ip: Option<bool>, "log_external_ip", Omit, "", "", "Print the external address";
    delete_instances_on_shutdown: Option<bool>, "delete_instances_on_shutdown", Omit, "", "", "Remove all instances on exit";
    vm_isolation: Option<VmIsolation>, "vm_isolation", Omit, "", "", "See `runner-config.md` §6.10.4";
    state_storage: Option<StateStorage>, "state_storage", Omit, "", "", "See `runner-config.md` §6.10.3";
    instance_operation_time_buckets: Vec<f64>, "instance_operation_time_buckets", Omit, "", "", "Default histogram buckets for the four below";
    instance_creation_time_buckets: Vec<f64>, "instance_creation_time_buckets", Omit, "", "", "Buckets";
    instance_is_running_time_buckets: Vec<f64>, "instance_is_running_time_buckets", Omit, "", "", "Buckets";
    instance_deletion_time_buckets: Vec<f64>, "instance_deletion_time_buckets", Omit, "", "", "Buckets";
    instance_readiness_time_buckets: Vec<f64>, "instance_readiness_time_buckets", Omit, "", "", "Buckets";
    instance_life_duration_buckets: Vec<f64>, "instance_life_duration_buckets", Omit, "", "", "Buckets";
}
}

table! {
/// `[runners.autoscaler.connector_config]`, also below `vm_isolation` (§6.10.1).
ConnectorConfig {
    os: Option<String>, "os", Omit, "", "", "Instance OS";
    arch: Option<String>, "arch", Omit, "", "", "Instance arch";
    protocol: Option<String>, "protocol", Omit, "", "", "ssh, winrm, winrm+https (winrm for Windows by default)";
    protocol_port: Option<i64>, "protocol_port", Omit, "", "", "Port; 22 / 5985 / 5986 by protocol";
    username: Option<String>, "username", Always, "", "", "Login";
    password: Option<Secret>, "password", Always, "", "", "Password";
    key_path: Option<String>, "key_path", Always, "", "", "Key file; read at start";
    use_static_credentials: Option<bool>, "use_static_credentials", Always, "", "", "Do not let the plugin make credentials";
    keepalive: Option<Duration>, "keepalive", Always, "", "", "Keepalive period";
    timeout: Option<Duration>, "timeout", Always, "", "", "Connect timeout";
    use_external_addr: Option<bool>, "use_external_addr", Always, "", "", "Use the external address when there is one";
}
}

table! {
/// `[[runners.autoscaler.policy]]` (§6.10.2).
Policy {
    periods: Vec<String>, "periods", Omit, "", "", "5-field cron ranges; default ('* * * * *')";
    timezone: Option<String>, "timezone", Omit, "", "", "IANA zone; empty = local";
    idle_count: Option<i64>, "idle_count", Omit, "", "", "Idle capacity counted in jobs";
    idle_time: Option<Duration>, "idle_time", Omit, "", "", "Idle life of an instance (schema minimum 1 s)";
    scale_factor: Option<f64>, "scale_factor", Omit, "", "", "Extra idle capacity as factor of capacity in use; default 0.0";
    scale_factor_limit: Option<i64>, "scale_factor_limit", Omit, "", "", "Cap of the factor result";
    preemptive_mode: Option<bool>, "preemptive_mode", Omit, "", "", "true = ask for a job only when an instance is ready; unset = true when idle_count > 0";
}
}

table! {
/// `[runners.autoscaler.scale_throttle]`.
ScaleThrottle {
    limit: Option<i64>, "limit", Omit, "", "", "New instances per second; 0 = 100, -1 = no limit";
    burst: Option<i64>, "burst", Omit, "", "", "How many at once";
}
}

table! {
/// `[runners.autoscaler.state_storage]` (§6.10.3).
StateStorage {
    enabled: Option<bool>, "enabled", Omit, "", "", "Keep the state over a restart";
    dir: Option<String>, "dir", Omit, "", "", "Where; default .taskscaler beside the file";
    keep_instance_with_acquisitions: Option<bool>, "keep_instance_with_acquisitions", Omit, "", "", "Keep instances that had jobs";
}
}

table! {
/// `[runners.autoscaler.vm_isolation]` (§6.10.4).
VmIsolation {
    enabled: Option<bool>, "enabled", Omit, "", "", "One virtual machine per job";
    nesting_host: Option<String>, "nesting_host", Omit, "", "", "Address of the nesting daemon";
    nesting_config: Option<FreeTable>, "nesting_config", Omit, "", "", "Passed to it";
    image: Option<String>, "image", Omit, "", "", "Default image";
    connector_config: Option<ConnectorConfig>, "connector_config", Omit, "", "", "As above";
}
}
