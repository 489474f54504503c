//! The global section and its tables (`runner-config.md` §4).

use crate::cell::FreeTable;
use crate::mirror::Runner;
use crate::table::table;
use harrier_base::Secret;
use std::collections::BTreeMap;
use std::time::Duration;

table! {
/// The whole file.
Host {
    concurrent: Option<i64>, "concurrent", Always, "", "", "Most jobs at a time over all runners";
    check_interval: Option<i64>, "check_interval", Always, "", "", "Seconds between polls";
    log_level: Option<String>, "log_level", Omit, "", "", "debug, info, warn, error, fatal or panic";
    log_format: Option<String>, "log_format", Omit, "", "", "runner, text or json";
    user: Option<String>, "user", Omit, "", "", "Overwritten by --user";
    sentry_dsn: Option<Secret>, "sentry_dsn", Omit, "", "", "Where errors are sent";
    connection_max_age: Option<Duration>, "connection_max_age", Omit, "", "", "Most age of a kept connection; 0 = no limit";
    listen_address: Option<String>, "listen_address", Omit, "", "", "Metrics and debug server";
    shutdown_timeout: Option<i64>, "shutdown_timeout", Always, "", "", "Seconds a forceful shutdown may take";
    labels: BTreeMap<String, String>, "labels", Omit, "", "", "Labels of all runners";
    session_server: Option<SessionServer>, "session_server", Omit, "", "", "Web terminals";
    machine: Option<MachineHost>, "machine", Omit, "", "", "docker-machine";
    experimental: Option<ExperimentalHost>, "experimental", Omit, "", "", "Unstable options";
    runners: Vec<Runner>, "runners", Omit, "", "", "The runners";
}
}

table! {
/// `[session_server]`.
SessionServer {
    listen_address: Option<String>, "listen_address", Omit, "", "", "host:port; unset = off";
    advertise_address: Option<String>, "advertise_address", Omit, "", "", "host:port told to GitLab";
    session_timeout: Option<i64>, "session_timeout", Always, "", "", "Seconds an open terminal may hold a finished job";
}
}

table! {
/// `[machine]`.
MachineHost {
    shutdown_drain: Option<ShutdownDrain>, "shutdown_drain", Omit, "", "", "Remove idle machines at exit";
}
}

table! {
/// `[machine.shutdown_drain]`.
ShutdownDrain {
    enabled: Option<bool>, "enabled", Omit, "", "", "On or off";
    concurrency: Option<i64>, "concurrency", Omit, "", "", "Removals at a time";
    max_retries: Option<i64>, "max_retries", Omit, "", "", "Tries per machine";
    retry_backoff: Option<Duration>, "retry_backoff", Omit, "", "", "Wait, times the try";
}
}

table! {
/// `[experimental]`.
ExperimentalHost {
    usage_logger: Option<UsageLogger>, "usage_logger", Omit, "", "", "Usage records";
}
}

table! {
/// `[experimental.usage_logger]`.
UsageLogger {
    enabled: Option<bool>, "enabled", Omit, "", "", "On or off";
    writers: Vec<String>, "writers", Omit, "", "", "logrotate, snowplow_billing";
    log_dir: Option<String>, "log_dir", Omit, "", "", "Old place";
    max_backup_files: Option<i64>, "max_backup_files", Omit, "", "", "Old place";
    max_rotation_age: Option<Duration>, "max_rotation_age", Omit, "", "", "Old place";
    labels: BTreeMap<String, String>, "labels", Omit, "", "", "Old place";
    logrotate: Option<UsageLogRotate>, "logrotate", Omit, "", "", "Files";
    snowplow_billing: Option<FreeTable>, "snowplow_billing", Omit, "", "", "Billing records";
}
}

table! {
/// `[experimental.usage_logger.logrotate]`.
UsageLogRotate {
    log_dir: Option<String>, "log_dir", Omit, "", "", "Where";
    max_backup_files: Option<i64>, "max_backup_files", Omit, "", "", "How many are kept";
    max_rotation_age: Option<Duration>, "max_rotation_age", Omit, "", "", "How long one is written";
    labels: BTreeMap<String, String>, "labels", Omit, "", "", "Labels of every record";
}
}
