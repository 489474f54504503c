//! `[[runners]]` (`runner-config.md` §5).

use crate::cell::Stamp;
use crate::mirror::{
    Artifact, Autoscaler, Cache, Custom, CustomBuildDir, Docker, Experimental, Instance, Kubernetes, Machine,
    Monitoring, Parallels, Referees, Ssh, VirtualBox,
};
use crate::table::table;
use harrier_base::Secret;
use std::collections::BTreeMap;
use std::time::Duration;

table! {
/// `[[runners]]`.
Runner {
    name: Option<String>, "name", Always, "description", "RUNNER_NAME", "Free text label of the runner, shown in logs and metrics; default host name (register)";
    limit: Option<i64>, "limit", Omit, "limit", "RUNNER_LIMIT", "Max jobs in parallel for this entry; 0 = no own limit (global `concurrent` still applies)";
    output_limit: Option<i64>, "output_limit", Omit, "output-limit", "RUNNER_OUTPUT_LIMIT", "Max job log size in KiB; above it the log is cut with a notice while the job goes on; default 4096";
    request_concurrency: Option<i64>, "request_concurrency", Omit, "request-concurrency", "RUNNER_REQUEST_CONCURRENCY", "Max parallel job requests to GitLab for this entry. Values below 1 act as 1. With FF_USE_ADAPTIVE_REQUEST_CONCURRENCY (default on) it is the ceiling of an AIMD limit (`runner-config.md` §8.3)";
    strict_check_interval: Option<bool>, "strict_check_interval", Omit, "strict-check-interval", "RUNNER_STRICT_CHECK_INTERVAL", "true = never re-poll at once after getting a job; wait a full check_interval";
    unhealthy_requests_limit: Option<i64>, "unhealthy_requests_limit", Omit, "unhealthy-requests-limit", "RUNNER_UNHEALTHY_REQUESTS_LIMIT", "Count of failed job requests in a row after which the worker is put to sleep; default 3";
    unhealthy_interval: Option<Duration>, "unhealthy_interval", Omit, "unhealthy-interval", "", "How long the worker sleeps after that; then one probe request is forced; default 1h";
    job_status_final_update_retry_limit: Option<i64>, "job_status_final_update_retry_limit", Omit, "job-status-final-update-retry-limit", "RUNNER_job_status_final_update_retry_limit", "Max tries to push the final job state; default 10";
    experimental: Option<Experimental>, "experimental", Omit, "", "", "Sub-table for unstable options; only `boot_verify` today (`runner-config.md` §5.3)";
    url: Option<String>, "url", Always, "url", "CI_SERVER_URL", "Base address of the GitLab server. `$VAR`/`${VAR}` are expanded from the process environment on load. A trailing `/ci` is legacy: warned about and stripped";
    id: Option<i64>, "id", Always, "", "", "Numeric runner id returned by register/verify. Needed by reset-token by id and by suspend/resume";
    token: Option<Secret>, "token", Always, "token", "CI_SERVER_TOKEN", "Runner authentication token (glrt- = created in the UI/API, others = legacy). Environment-expanded on load. Blank or whitespace token: that runner is skipped while polling, with a warning";
    token_obtained_at: Option<Stamp>, "token_obtained_at", Always, "", "", "UTC time, second precision, when the token was stored";
    token_expires_at: Option<Stamp>, "token_expires_at", Always, "", "", "Expiry reported by the server; zero time means never";
    tls_ca_file: Option<String>, "tls-ca-file", Omit, "tls-ca-file", "CI_SERVER_TLS_CA_FILE", "PEM bundle used to verify the GitLab server; re-read on each connection set-up";
    tls_cert_file: Option<String>, "tls-cert-file", Omit, "tls-cert-file", "CI_SERVER_TLS_CERT_FILE", "Client certificate for mutual TLS";
    tls_key_file: Option<String>, "tls-key-file", Omit, "tls-key-file", "CI_SERVER_TLS_KEY_FILE", "Client private key for mutual TLS";
    labels: BTreeMap<String, String>, "labels", Omit, "", "", "Key/value labels sent to GitLab with this runner; override the global ones";
    executor: Option<String>, "executor", Always, "executor", "RUNNER_EXECUTOR", "Executor name: shell, docker, docker-windows, docker+machine, docker-autoscaler, instance, kubernetes, ssh, custom, parallels, virtualbox";
    builds_dir: Option<String>, "builds_dir", Omit, "builds-dir", "RUNNER_BUILDS_DIR", "Root for job working copies, in the file system of the executor; default per executor";
    cache_dir: Option<String>, "cache_dir", Omit, "cache-dir", "RUNNER_CACHE_DIR", "Root for local cache archives, in the file system of the executor; default per executor";
    clone_url: Option<String>, "clone_url", Omit, "clone-url", "CLONE_URL", "Scheme+host (and optional path) used instead of the API repo URL for clone/fetch. LFS, artifacts and caches are not changed";
    environment: Vec<String>, "environment", Omit, "env", "RUNNER_ENV", "`KEY=value` strings added to every job (internal, lower priority than job variables). Entries without `=` are dropped silently";
    proxy_exec: Option<bool>, "proxy_exec", Omit, "proxy-exec", "RUNNER_PROXY_EXEC", "Run job processes through the helper binary (`proxy-exec`) so that masks added at run time work. Experimental";
    pre_get_sources_script: Option<String>, "pre_get_sources_script", Omit, "pre-get-sources-script", "RUNNER_PRE_GET_SOURCES_SCRIPT", "Script run before git work (not for GIT_STRATEGY none/empty)";
    post_get_sources_script: Option<String>, "post_get_sources_script", Omit, "post-get-sources-script", "RUNNER_POST_GET_SOURCES_SCRIPT", "Script run after git work (not for GIT_STRATEGY none/empty)";
    pre_build_script: Option<String>, "pre_build_script", Omit, "pre-build-script", "RUNNER_PRE_BUILD_SCRIPT", "Script put before before_script/script in the same shell";
    post_build_script: Option<String>, "post_build_script", Omit, "post-build-script", "RUNNER_POST_BUILD_SCRIPT", "Script put after script in the same shell; skipped when script fails; not applied to after_script";
    prepare_timeout: Option<Duration>, "prepare_timeout", Omit, "prepare-timeout", "RUNNER_PREPARE_TIMEOUT", "Limit for executor prepare + prepare_script. Zero, negative or above job timeout = job timeout (with a warning). Failure reason job_execution_timeout";
    get_sources_timeout: Option<Duration>, "get_sources_timeout", Omit, "get-sources-timeout", "RUNNER_GET_SOURCES_TIMEOUT", "Same rules, for the get_sources stage including its retries; default job timeout";
    debug_trace_disabled: Option<bool>, "debug_trace_disabled", Omit, "debug-trace-disabled", "RUNNER_DEBUG_TRACE_DISABLED", "Forces CI_DEBUG_TRACE and CI_DEBUG_SERVICES to off";
    safe_directory_checkout: Option<bool>, "safe_directory_checkout", Omit, "safe-directory-checkout", "RUNNER_SAFE_DIRECTORY_CHECKOUT", "Adds the project dir to global git `safe.directory` in get_sources; default true docker*/kubernetes, else false";
    clean_git_config: Option<bool>, "clean_git_config", Omit, "clean-git-config", "RUNNER_CLEAN_GIT_CONFIG", "Delete .git/config and .git/hooks (plus template dir and submodules) before fetch and at cleanup; default true, but false for shell or GIT_STRATEGY none";
    shell: Option<String>, "shell", Omit, "shell", "RUNNER_SHELL", "Script flavour: bash, sh, pwsh, powershell (cmd is still accepted by the schema but no cmd shell is registered); default per platform/executor";
    custom_build_dir: Option<CustomBuildDir>, "custom_build_dir", Omit, "custom_build_dir", "", "Sub-table (`runner-config.md` §5.6)";
    referees: Option<Referees>, "referees", Omit, "", "", "Sub-table (`runner-config.md` §5.7)";
    cache: Option<Cache>, "cache", Omit, "cache", "", "Sub-table (`runner-config.md` §7)";
    artifact: Option<Artifact>, "artifact", Omit, "", "", "Sub-table (`runner-config.md` §5.5)";
    feature_flags: BTreeMap<String, bool>, "feature_flags", Omit, "feature-flags", "FEATURE_FLAGS", "Table of FF_NAME = bool. Wins over job variables of the same name (8 in executors.md)";
    monitoring: Option<Monitoring>, "monitoring", Omit, "", "", "Sub-table (`runner-config.md` §5.4)";
    use_slot_cgroups: Option<bool>, "use_slot_cgroups", Omit, "use-slot-cgroups", "RUNNER_USE_SLOT_CGROUPS", "Place jobs in a cgroup named from the autoscaler slot number (docker-autoscaler, instance)";
    slot_cgroup_template: Option<String>, "slot_cgroup_template", Omit, "slot-cgroup-template", "RUNNER_SLOT_CGROUP_TEMPLATE", "cgroup path template; `${slot}` is replaced. Missing placeholder = warning only; default gitlab-runner/slot-${slot}";
    instance: Option<Instance>, "instance", Omit, "", "", "Sub-table (`runner-config.md` §6.8)";
    ssh: Option<Ssh>, "ssh", Omit, "ssh", "", "Sub-table (`runner-config.md` §6.5)";
    docker: Option<Docker>, "docker", Omit, "docker", "", "Sub-table (`runner-config.md` §6.1)";
    parallels: Option<Parallels>, "parallels", Omit, "parallels", "", "Sub-table (`runner-config.md` §6.6)";
    virtualbox: Option<VirtualBox>, "virtualbox", Omit, "virtualbox", "", "Sub-table (`runner-config.md` §6.7)";
    machine: Option<Machine>, "machine", Omit, "machine", "", "Sub-table (`runner-config.md` §6.9)";
    kubernetes: Option<Kubernetes>, "kubernetes", Omit, "kubernetes", "", "Sub-table (`runner-config.md` §6.3)";
    custom: Option<Custom>, "custom", Omit, "custom", "", "Sub-table (`runner-config.md` §6.4)";
    autoscaler: Option<Autoscaler>, "autoscaler", Omit, "", "", "Sub-table (`runner-config.md` §6.10)";
    step_runner_image: Option<String>, "step_runner_image", Omit, "step-runner-image", "STEP_RUNNER_IMAGE", "Image holding the step-runner binary that is copied into the build container. Advanced";
}
}
