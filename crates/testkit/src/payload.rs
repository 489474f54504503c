//! The payload of a job as a recent GitLab sends it (`runner-api.md` §4), with the `null`s that Rails sends and a member
//! that no runner knows.
//!
//! Called by `jobs` at hand-out. It must never change the job.

use crate::jobs::Job;
use crate::server::{Inner, Shared};
use serde_json::{Value, json};
use std::sync::Arc;

/// The reasons of a recent GitLab that a runner may send (§14.1).
pub(crate) const RECENT_REASONS: [&str; 12] = [
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "missing_dependency_failure",
    "runner_unsupported",
    "job_execution_timeout",
    "trace_size_exceeded",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "runner_interrupted",
];

/// The body of the 201 (§4), with the `null`s that Rails sends.
pub(crate) fn payload(shared: &Arc<Shared>, inner: &Inner, id: i64) -> Value {
    let Some(job) = inner.jobs.get(&id) else { return Value::Null };
    let spec = &job.spec;
    let project = spec.project.and_then(|index| inner.projects.get(index));
    let project_path = project.map_or("nobody/nothing", |project| project.path.as_str());
    let project_id = spec.project.map_or(11, |index| 12 + index);
    let pipeline_id = 901 + project_id;
    let git = project.map(|project| project.git_dir.as_path());
    let sha = crate::git_http::pin(git, spec, pipeline_id);
    let step = |name: &str, script: &[String], when: &str, allow: bool| json!({ "name": name, "script": script, "timeout": spec.timeout, "when": when, "allow_failure": allow });
    let mut steps = vec![step("script", &spec.script, "on_success", false)];
    if !spec.after_script.is_empty() {
        steps.push(step("after_script", &spec.after_script, "always", true));
    }
    let mut refspecs = vec![format!("+refs/pipelines/{pipeline_id}:refs/pipelines/{pipeline_id}")];
    if spec.git_depth > 0 {
        refspecs.push(format!("+refs/heads/{0}:refs/remotes/origin/{0}", spec.ref_name));
    } else {
        refspecs.push("+refs/heads/*:refs/remotes/origin/*".into());
        refspecs.push("+refs/tags/*:refs/tags/*".into());
    }
    let repo_url = shared.repo_url(&job.token, project_path);
    let reasons = spec
        .failure_reasons
        .clone()
        .unwrap_or_else(|| RECENT_REASONS.iter().map(|reason| (*reason).to_owned()).collect());
    let mut payload = json!({
        "id": id,
        "token": job.token,
        "allow_git_fetch": spec.allow_git_fetch,
        "job_info": { "id": id, "name": spec.name, "stage": spec.stage, "project_id": project_id,
            "project_name": project_path.rsplit('/').next(), "project_full_path": project_path,
            "namespace_id": 3, "root_namespace_id": 3, "organization_id": 1, "instance_id": "a1",
            "instance_uuid": "a1", "user_id": 5, "scoped_user_id": null, "time_in_queue_seconds": null,
            "project_jobs_running_on_instance_runners_count": "+Inf", "queue_size": 1, "queue_depth": 1 },
        "git_info": { "repo_url": repo_url, "ref": spec.ref_name, "sha": sha,
            "before_sha": "0000000000000000000000000000000000000000", "ref_type": "branch",
            "refspecs": refspecs, "depth": spec.git_depth, "repo_object_format": "sha1", "protected": null },
        "runner_info": { "timeout": spec.timeout, "runner_session_url": null },
        "variables": variables(shared, inner, job, project_path, project_id, pipeline_id, &sha, &repo_url),
        "steps": steps,
        "hooks": [],
        "image": null,
        "services": [],
        "artifacts": if spec.artifacts.is_empty() { Value::Null } else { spec.artifacts.clone().into() },
        "cache": spec.cache,
        "credentials": [],
        "dependencies": dependencies(inner, job),
        "features": { "trace_sections": true, "failure_reasons": reasons },
        "a_member_of_a_later_server": { "to_be": "ignored" },
    });
    if let Some(object) = payload.as_object_mut() {
        object.extend(spec.extra.clone());
    }
    payload
}

fn dependencies(inner: &Inner, job: &Job) -> Vec<Value> {
    let found = job.spec.dependencies.iter().filter_map(|id| inner.jobs.get(id));
    found
        .map(|needed| {
            let mut entry = json!({ "id": needed.id, "token": job.token, "name": needed.spec.name });
            if let Some(archive) = needed.artifacts.iter().find(|have| have.artifact_type == "archive") {
                entry["artifacts_file"] =
                    json!({ "filename": archive.file_name, "size": archive.bytes.len() });
            }
            entry
        })
        .collect()
}

#[expect(clippy::too_many_arguments, reason = "one list of plain facts, made in one place")]
fn variables(
    shared: &Arc<Shared>,
    inner: &Inner,
    job: &Job,
    project_path: &str,
    project_id: usize,
    pipeline_id: usize,
    sha: &str,
    repo_url: &str,
) -> Vec<Value> {
    let spec = &job.spec;
    let public =
        |key: &str, value: &str| json!({ "key": key, "value": value, "public": true, "masked": false });
    let hidden = |key: &str, value: &str, masked: bool| json!({ "key": key, "value": value, "public": false, "masked": masked });
    let mut list = vec![
        public("CI_PIPELINE_ID", &pipeline_id.to_string()),
        public("CI_JOB_ID", &job.id.to_string()),
        hidden("CI_JOB_TOKEN", &job.token, true),
        hidden("CI_REPOSITORY_URL", repo_url, false),
        public("CI", "true"),
        public("GITLAB_CI", "true"),
        public("CI_JOB_NAME", &spec.name),
        public("CI_JOB_STAGE", &spec.stage),
        public("CI_PROJECT_ID", &project_id.to_string()),
        public("CI_PROJECT_PATH", project_path),
        public("CI_COMMIT_SHA", sha),
        public("CI_COMMIT_REF_NAME", &spec.ref_name),
        public("CI_COMMIT_REF_PROTECTED", "true"),
        public("CI_SERVER_URL", &shared.url()),
        public("CI_SERVER_HOST", &shared.host().to_string()),
        public("CI_RUNNER_ID", "3"),
        json!({ "key": "CI_COMMIT_DESCRIPTION", "value": null, "public": true, "masked": false }),
    ];
    if spec.project.is_none() {
        list.push(public("GIT_STRATEGY", "none"));
    }
    if let Some(strategy) = &spec.git_strategy {
        list.push(public("GIT_STRATEGY", strategy));
    }
    for needed in spec.dependencies.iter().filter_map(|id| inner.jobs.get(id)) {
        for (key, value) in crate::artifacts::dotenv(needed) {
            list.push(public(&key, &value));
        }
    }
    for var in &spec.variables {
        let mut entry = json!({ "key": var.key, "value": var.value, "public": !var.masked,
            "masked": var.masked });
        if var.file {
            entry["file"] = true.into();
        }
        if var.raw {
            entry["raw"] = true.into();
        }
        list.push(entry);
    }
    list
}
