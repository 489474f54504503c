//! How a job runs: `when`, `start_in`, `allow_failure`, `retry`, `timeout`, `tags`, `coverage`, scripts and hooks
//! (`ci-yaml.md` §18).

use crate::check::{Check, Path};
use crate::durations::parse_duration;
use crate::pipeline::{AllowFailure, DastConfiguration, Retry};
use crate::re2::Re2;
use crate::yaml::{NodeId, Value};
use std::time::Duration;

/// Failure reasons that `retry:when` knows (§18.1).
const REASONS: [&str; 54] = [
    "always",
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "missing_dependency_failure",
    "runner_unsupported",
    "stale_schedule",
    "job_execution_timeout",
    "archived_failure",
    "unmet_prerequisites",
    "scheduler_failure",
    "data_integrity_failure",
    "forward_deployment_failure",
    "user_blocked",
    "project_deleted",
    "ci_quota_exceeded",
    "pipeline_loop_detected",
    "no_matching_runner",
    "trace_size_exceeded",
    "builds_disabled",
    "environment_creation_failure",
    "deployment_rejected",
    "failed_outdated_deployment_job",
    "job_execution_server_timeout",
    "protected_environment_failure",
    "insufficient_bridge_permissions",
    "downstream_bridge_project_not_found",
    "invalid_bridge_trigger",
    "upstream_bridge_project_not_found",
    "insufficient_upstream_permissions",
    "bridge_pipeline_is_child_pipeline",
    "downstream_pipeline_creation_failed",
    "secrets_provider_not_found",
    "reached_max_descendant_pipelines_depth",
    "ip_restriction_failure",
    "reached_max_pipeline_hierarchy_size",
    "reached_downstream_pipeline_trigger_rate_limit",
    "duo_workflow_not_allowed",
    "job_router_failure",
    "job_token_expired",
    "stuck_pending_with_matching_runners",
    "stuck_pending_no_matching_runners",
    "no_updates_running",
    "no_updates_canceling",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "runner_interrupted",
    "server_timeout_running",
    "server_timeout_canceling",
    "id_token_burned_project_path",
    "downstream_project_trigger_resolved_to_empty",
    // What our own runner reports (`runner-api.md` §14.1).
    "image_pull_failure",
];

const WEEK: Duration = Duration::from_secs(604_800);
const MONTH: Duration = Duration::from_secs(2_592_000);

/// A duration up to a limit; `subject` is what the message speaks of.
pub(crate) fn duration(
    c: &mut Check<'_>,
    path: &Path<'_>,
    node: NodeId,
    subject: &str,
    limit: Duration,
) -> Option<Duration> {
    let tree = c.tree;
    match tree.text(node).map(parse_duration) {
        Some(Some(duration)) if duration <= limit => Some(duration),
        Some(Some(_)) => {
            let most = if limit == WEEK { "1 week" } else { "1 month" };
            c.fail(path, node, format_args!("{subject} should not exceed the limit")).suggestion =
                Some(format!("at most {most}"));
            None
        }
        Some(None) => {
            c.fail(path, node, format_args!("{subject} should be a duration")).suggestion =
                Some("write it like `1h 30m` or `90 minutes`".into());
            None
        }
        None => {
            let quoted = tree.scalar_text(node);
            c.fail(path, node, format_args!("{subject} should be a duration")).suggestion =
                quoted.map(|text| format!("it must be a text: \"{text} minutes\""));
            None
        }
    }
}

/// `timeout`
pub(crate) fn timeout(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Duration> {
    duration(c, path, node, "config", MONTH)
}

/// `start_in` of a job.
pub(crate) fn start_in(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Duration> {
    duration(c, path, node, "start in", WEEK)
}

/// `tags`
pub(crate) fn tags(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<String>> {
    let tags = c.texts(path, node)?;
    if tags.len() >= 50 {
        c.config(path, node, "must be less than the limit of 50 tags");
        return None;
    }
    Some(tags)
}

/// `allow_failure`
pub(crate) fn allow_failure(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<AllowFailure> {
    match c.tree.value(node) {
        Value::Bool(true) => Some(AllowFailure::Yes),
        Value::Bool(false) => Some(AllowFailure::No),
        Value::Map(_) => {
            if !c.known_keys(path, node, &["exit_codes"]) {
                return None;
            }
            let complaint = "exit codes should be an array of integers or an integer";
            match c.tree.given(node, "exit_codes") {
                Some(codes) => c.integers(path, codes, complaint).map(AllowFailure::ExitCodes),
                None => {
                    c.fail(path, node, complaint);
                    None
                }
            }
        }
        _ => {
            c.config(path, node, "should be a hash or a boolean value");
            None
        }
    }
}

/// `retry`
pub(crate) fn retry(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Retry> {
    let tree = c.tree;
    let number = |c: &mut Check<'_>, node: NodeId, subject: &str| match tree.value(node) {
        Value::Int(max @ 0..=2) => u32::try_from(*max).ok(),
        Value::Int(max) => {
            let bound = if *max > 2 { "less than or equal to 2" } else { "greater than or equal to 0" };
            c.fail(path, node, format_args!("{subject} must be {bound}"));
            None
        }
        _ => {
            c.fail(path, node, format_args!("{subject} is not an integer"));
            None
        }
    };
    match tree.value(node) {
        Value::Int(_) => Some(Retry { max: number(c, node, "config")?, ..Retry::default() }),
        Value::Map(_) => {
            if !c.known_keys(path, node, &["max", "when", "exit_codes"]) {
                return None;
            }
            let mut retry = Retry::default();
            if let Some(max) = tree.given(node, "max") {
                retry.max = number(c, max, "max")?;
            }
            if let Some(when) = tree.given(node, "when") {
                retry.when = c.one_or_more(path, when, "when should be an array of strings or a string")?;
                let unknown: Vec<&str> =
                    retry.when.iter().map(String::as_str).filter(|w| !REASONS.contains(w)).collect();
                if !unknown.is_empty() {
                    let near = crate::check::nearest(unknown[0], REASONS);
                    c.fail(
                        path,
                        when,
                        format_args!("when contains unknown values: {}", unknown.join(", ")),
                    )
                    .suggestion = near.map(|near| format!("did you mean `{near}`?"));
                    return None;
                }
            }
            if let Some(codes) = tree.given(node, "exit_codes") {
                let complaint = "exit codes should be an array of integers or an integer";
                retry.exit_codes = c.integers(path, codes, complaint)?;
            }
            Some(retry)
        }
        _ => {
            c.config(path, node, "has to be either an integer or a hash");
            None
        }
    }
}

/// `coverage`: the expression without its slashes.
pub(crate) fn coverage(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<String> {
    let literal = c.tree.text(node).and_then(Re2::literal);
    match literal {
        Some((pattern, _)) => match Re2::new(pattern, "") {
            Ok(_) => Some(pattern.to_owned()),
            Err(why) => {
                c.config(path, node, "must be a regular expression").suggestion = Some(why);
                None
            }
        },
        None => {
            c.config(path, node, "must be a regular expression").suggestion =
                Some("write it between slashes: '/Coverage: (\\d+)/'".into());
            None
        }
    }
}

/// `hooks`: the lines of `pre_get_sources_script`.
pub(crate) fn hooks(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<String>> {
    if !c.mapping(path, node, &["pre_get_sources_script"]) {
        return None;
    }
    match c.tree.given(node, "pre_get_sources_script") {
        Some(script) => c.script(&path.then("pre_get_sources_script"), script),
        None => Some(Vec::new()),
    }
}

/// `dast_configuration`: names of profiles.
pub(crate) fn dast_configuration(
    c: &mut Check<'_>,
    path: &Path<'_>,
    node: NodeId,
) -> Option<DastConfiguration> {
    if !c.mapping(path, node, &["site_profile", "scanner_profile"]) {
        return None;
    }
    let mut text = |key: &str| match c.tree.given(node, key) {
        Some(value) => c.text(&path.then(key), value),
        None => None,
    };
    Some(DastConfiguration { site_profile: text("site_profile"), scanner_profile: text("scanner_profile") })
}

/// `script`, which must not be blank.
pub(crate) fn script(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<String>> {
    let blank = match c.tree.value(node) {
        Value::Text(text) => text.trim().is_empty(),
        Value::Seq(items) => items.is_empty(),
        _ => false,
    };
    if blank {
        c.config(path, node, "can't be blank");
        return None;
    }
    c.script(path, node)
}
