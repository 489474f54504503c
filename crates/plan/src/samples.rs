//! A payload, a spec and facts for the tests of this crate, as in the example of `runner-api.md` §4.19.

use crate::{ExecutorTraits, Facts};
use harrier_api::JobPayload;
use harrier_base::Secret;
use harrier_config::{ExecutorSpec, RunnerSpec};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const TOKEN: &str = "glcbt-64_q9ZsT3vKx2mLw8Rb";

pub(crate) fn payload() -> JobPayload {
    serde_json::from_str(include_str!("../tests/payload.json")).expect("the example payload parses")
}

pub(crate) fn spec() -> RunnerSpec {
    RunnerSpec {
        name: "nest".into(),
        url: "https://ci.example.test".into(),
        id: Some(1),
        token: Secret::new("glrt-t1_aBcDeFgHiJkLmNo"),
        token_obtained_at: None,
        token_expires_at: None,
        tls_ca_file: None,
        tls_cert_file: None,
        tls_key_file: None,
        limit: 0,
        output_limit: 4 << 20,
        request_concurrency: 1,
        strict_check_interval: false,
        unhealthy_requests_limit: 3,
        unhealthy_interval: Duration::from_secs(3600),
        final_update_retry_limit: 10,
        labels: BTreeMap::new(),
        executor: ExecutorSpec::Shell,
        builds_dir: Some("/b".into()),
        cache_dir: Some("/c".into()),
        clone_url: None,
        environment: Vec::new(),
        shell: None,
        pre_get_sources_script: None,
        post_get_sources_script: None,
        pre_build_script: None,
        post_build_script: None,
        prepare_timeout: None,
        get_sources_timeout: None,
        debug_trace_disabled: false,
        safe_directory_checkout: None,
        clean_git_config: None,
        custom_build_dir: None,
        artifact_upload_timeout: Duration::from_secs(3600),
        artifact_response_header_timeout: Duration::from_secs(600),
        feature_flags: BTreeMap::new(),
        graceful_kill_timeout: Duration::from_secs(600),
        force_kill_timeout: Duration::from_secs(10),
    }
}

pub(crate) fn facts() -> Facts {
    Facts {
        program: "gitlab-runner".into(),
        version: "19.4.0".into(),
        revision: "abc".into(),
        system_id: "s_0123456789ab".into(),
        concurrent_id: 2,
        concurrent_project_id: 3,
        default_builds_dir: Some("/w/builds".into()),
        default_cache_dir: Some("/w/cache".into()),
        os_arch: "linux/amd64".into(),
        abilities: ExecutorTraits::shell_executor(),
        correlation_id: "0123456789abcdef".into(),
        tls_ca: None,
        tls_cert: None,
        tls_key: None,
    }
}
