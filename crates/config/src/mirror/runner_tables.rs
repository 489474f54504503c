//! The small tables below `[[runners]]` (`runner-config.md` §5.3 to §5.7).

use crate::table::table;
use std::time::Duration;

table! {
/// `[runners.experimental]`.
Experimental {
    boot_verify: Option<BootVerify>, "boot_verify", Omit, "", "", "Check job at start";
}
}

table! {
/// `[runners.experimental.boot_verify]` (§5.3).
BootVerify {
    enabled: Option<bool>, "enabled", Omit, "", "", "Run a check job at start";
    timeout: Option<Duration>, "timeout", Omit, "", "", "Limit; default 5m";
    acquire_min_backoff: Option<Duration>, "acquire_min_backoff", Omit, "", "", "Default 1s";
    acquire_max_backoff: Option<Duration>, "acquire_max_backoff", Omit, "", "", "Default 10s";
}
}

table! {
/// `[runners.monitoring]`.
Monitoring {
    job_queuing_durations: Vec<JobQueuingDuration>, "job_queuing_durations", Omit, "", "", "What counts as a long wait";
}
}

table! {
/// `[[runners.monitoring.job_queuing_durations]]` (§5.4).
JobQueuingDuration {
    periods: Vec<String>, "periods", Omit, "", "", "When it holds";
    timezone: Option<String>, "timezone", Omit, "", "", "IANA zone of the periods";
    threshold: Option<Duration>, "threshold", Omit, "", "", "Acceptable wait";
    jobs_running_for_project: Option<String>, "jobs_running_for_project", Omit, "", "", "Expression for the count of running jobs";
}
}

table! {
/// `[runners.artifact]` (§5.5).
Artifact {
    upload_timeout: Option<Duration>, "upload_timeout", Omit, "", "", "Limit of an upload; default 1h";
    response_header_timeout: Option<Duration>, "response_header_timeout", Omit, "", "", "Limit for the answer; default 10m";
}
}

table! {
/// `[runners.custom_build_dir]` (§5.6).
CustomBuildDir {
    enabled: Option<bool>, "enabled", Omit, "enabled", "CUSTOM_BUILD_DIR_ENABLED", "Allow GIT_CLONE_PATH";
}
}

table! {
/// `[runners.referees]`.
Referees {
    metrics: Option<MetricsReferee>, "metrics", Omit, "", "", "Metrics of the job";
}
}

table! {
/// `[runners.referees.metrics]` (§5.7).
MetricsReferee {
    prometheus_address: Option<String>, "prometheus_address", Omit, "", "", "host:port";
    query_interval: Option<i64>, "query_interval", Omit, "", "", "Seconds";
    queries: Vec<String>, "queries", Omit, "", "", "name:promql";
}
}
