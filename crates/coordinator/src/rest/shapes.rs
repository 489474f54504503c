//! What answers look like, entity by entity, and which route answers with which. The OpenAPI description is made of it; tests hold
//! real answers against it, so that a field that comes or goes is written down here.
//!
//! A field is `name type`: `int`, `number`, `bool`, `text`, `time`, `day`, `any`, or an entity; `?` before a type: or null; `[]` behind it:
//! a list of them; `null`: always null. `?` behind the name: not always there.

use serde_json::{Map, Value, json};

/// Name, the entity whose fields it has too, fields of its own.
const ENTITIES: &[(&str, &str, &str)] = &[
    ("Message", "", "message text"),
    ("Version", "", "version text, revision text"),
    ("Metadata", "Version", "kas any, enterprise bool"),
    ("User", "", "id int, username text, name text, state text, locked bool, avatar_url null, web_url text"),
    (
        "WholeUser",
        "User",
        "email text, is_admin bool, created_at time, can_create_project bool, bot bool, external bool",
    ),
    // What administrators and the user see beside it.
    (
        "ListedUser",
        "User",
        "email? text, is_admin? bool, created_at? time, can_create_project? bool, bot? bool, external? bool",
    ),
    // A project's own token is nobody: it has a name and no account.
    (
        "CurrentUser",
        "",
        "id ?int, username text, name text, state text, locked bool, avatar_url null, web_url text, bot bool, email? text, \
         is_admin? bool, created_at? time, can_create_project? bool, external? bool",
    ),
    ("Member", "User", "access_level int, expires_at null"),
    (
        "Token",
        "",
        "id int, name text, revoked bool, created_at time, description null, scopes text[], user_id ?int, last_used_at ?time, \
         active bool, expires_at ?day, access_level ?int",
    ),
    ("NewToken", "Token", "token text"),
    ("RunnerToken", "", "token text, token_expires_at ?time"),
    ("NewRunner", "RunnerToken", "id int"),
    (
        "Namespace",
        "",
        "id int, name text, path text, kind text, full_path text, parent_id ?int, avatar_url null, web_url text",
    ),
    (
        "Group",
        "",
        "id int, name text, path text, full_name text, full_path text, description text, visibility text, parent_id ?int, \
         avatar_url null, web_url text",
    ),
    (
        "Variable",
        "RunVariable",
        "hidden bool, protected bool, masked bool, description ?text, environment_scope? text",
    ),
    ("RunVariable", "", "key text, variable_type text, value ?text, raw bool"),
    (
        "Runner",
        "",
        "id int, description text, ip_address null, active bool, paused bool, is_shared bool, runner_type text, name null, \
         online bool, status text, created_at time",
    ),
    (
        "WholeRunner",
        "Runner",
        "tag_list text[], run_untagged bool, locked bool, maximum_timeout ?int, access_level text, maintenance_note text, \
         contacted_at ?time, version text, revision text, platform text, architecture text, job_execution_status text, \
         projects ProjectName[], groups any[]",
    ),
    (
        "RunnerManager",
        "",
        "id int, system_id text, version text, revision text, platform text, architecture text, created_at time, \
         contacted_at time, ip_address text, status text",
    ),
    ("ProjectName", "", "id int, name text, name_with_namespace text, path text, path_with_namespace text"),
    (
        "ProjectNamespace",
        "",
        "id int, name text, path text, full_path text, parent_id null, avatar_url null, web_url text",
    ),
    (
        "SimpleProject",
        "ProjectName",
        "description text, created_at time, last_activity_at time, default_branch text, topics any[], http_url_to_repo text, \
         web_url text, visibility text, namespace ProjectNamespace",
    ),
    (
        "Project",
        "SimpleProject",
        "tag_list any[], ssh_url_to_repo null, readme_url null, avatar_url null, forks_count int, star_count int, archived bool, \
         creator_id ?int, jobs_enabled bool, builds_access_level text, shared_runners_enabled bool, public_jobs bool, \
         ci_config_path text, ci_default_git_depth int, ci_separated_caches bool, build_git_strategy text, build_timeout int, \
         auto_cancel_pending_pipelines text, keep_latest_artifact bool",
    ),
    // What `simple=true` leaves out is not always there.
    (
        "ListedProject",
        "SimpleProject",
        "tag_list? any[], ssh_url_to_repo? null, readme_url? null, avatar_url? null, forks_count? int, star_count? int, \
         archived? bool, creator_id? ?int, jobs_enabled? bool, builds_access_level? text, shared_runners_enabled? bool, \
         public_jobs? bool, ci_config_path? text, ci_default_git_depth? int, ci_separated_caches? bool, \
         build_git_strategy? text, build_timeout? int, auto_cancel_pending_pipelines? text, keep_latest_artifact? bool",
    ),
    ("ProjectAccess", "", "access_level int, notification_level int"),
    ("Permissions", "", "project_access ?ProjectAccess, group_access null"),
    (
        "WholeProject",
        "Project",
        "permissions Permissions, mirror bool, empty_repo bool, import_url? text, import_status? text, \
         mirror_trigger_builds? bool, mirror_user_id? ?int",
    ),
    (
        "Mirror",
        "",
        "id int, enabled bool, url text, update_status text, last_error ?text, last_update_at ?time, last_update_started_at ?time, \
         last_successful_update_at ?time, next_update_at ?time, failures int, mirror_trigger_builds bool, mirror_user_id ?int, \
         only_mirror_protected_branches bool, mirror_overwrites_diverged_branches bool, mirror_branch_regex null, \
         pull_requests bool, interval int, has_login bool, webhook_url text, webhook_secret? text",
    ),
    (
        "Pipeline",
        "",
        "id int, iid int, project_id int, sha text, ref text, status text, source text, name ?text, created_at time, \
         updated_at time, web_url text",
    ),
    (
        "DetailedStatus",
        "",
        "icon text, text text, label text, group text, tooltip text, has_details bool, details_path text",
    ),
    (
        "WholePipeline",
        "Pipeline",
        "before_sha text, tag bool, yaml_errors ?text, user ?User, started_at ?time, finished_at ?time, committed_at null, \
         duration ?int, queued_duration ?int, coverage ?text, archived bool, detailed_status DetailedStatus",
    ),
    (
        "Commit",
        "",
        "id text, short_id text, title text, message text, author_name text, author_email text, authored_date text, \
         committer_name text, committer_email text, committed_date text, created_at text, parent_ids text[], web_url? text",
    ),
    ("WholeCommit", "Commit", "project_id int, status ?text, last_pipeline ?Pipeline"),
    ("JobProject", "", "ci_job_token_scope_enabled bool"),
    ("Artifact", "", "file_type text, size int, filename text, file_format ?text"),
    ("ArtifactsFile", "", "filename text, size int"),
    (
        "Job",
        "",
        "id int, status text, stage text, name text, ref text, tag bool, coverage ?number, allow_failure bool, created_at time, \
         started_at ?time, finished_at ?time, erased_at ?time, duration ?number, queued_duration ?number, user ?User, \
         commit Commit, pipeline Pipeline, project JobProject, web_url text, artifacts Artifact[], runner ?Runner, \
         runner_manager null, artifacts_expire_at ?time, archived bool, tag_list text[], artifacts_file? ArtifactsFile, \
         failure_reason? ?text",
    ),
    ("Bridge", "Job", "downstream_pipeline ?Pipeline"),
    (
        "TestCounts",
        "",
        "total_time number, total_count int, success_count int, failed_count int, skipped_count int, error_count int",
    ),
    (
        "TestCase",
        "",
        "status text, name text, classname text, file ?text, execution_time number, system_output ?text, stack_trace null",
    ),
    ("TestSuite", "TestCounts", "name text, suite_error null, test_cases TestCase[]"),
    ("TestReport", "TestCounts", "test_suites TestSuite[]"),
    ("TestSuiteSummary", "TestCounts", "name text, build_ids int[], suite_error null"),
    (
        "TestTotal",
        "",
        "time number, count int, success int, failed int, skipped int, error int, suite_error null",
    ),
    ("TestReportSummary", "", "total TestTotal, test_suites TestSuiteSummary[]"),
    (
        "Schedule",
        "",
        "id int, description text, ref text, cron text, cron_timezone text, next_run_at ?time, active bool, created_at time, \
         updated_at time, owner ?User",
    ),
    ("WholeSchedule", "Schedule", "last_pipeline ?Pipeline, variables RunVariable[]"),
    (
        "Trigger",
        "",
        "id int, description text, created_at time, last_used ?time, token text, updated_at time, expires_at null, owner ?User",
    ),
    ("LintJob", "", "name text, stage text, when text, allow_failure bool"),
    (
        "Lint",
        "",
        "valid bool, errors text[], warnings text[], merged_yaml ?text, includes any[], jobs? LintJob[], status? text",
    ),
    (
        "EnvironmentName",
        "",
        "id int, name text, slug text, external_url ?text, created_at time, updated_at time",
    ),
    (
        "Environment",
        "EnvironmentName",
        "description ?text, state text, tier text, auto_stop_at ?time, auto_stop_setting text",
    ),
    ("WholeEnvironment", "Environment", "project Project, last_deployment ?Deployment"),
    ("RemovedEnvironments", "", "scheduled_entries EnvironmentName[], unprocessable_entries any[]"),
    (
        "Deployment",
        "",
        "id int, iid int, ref text, sha text, status text, created_at time, updated_at time, finished_at ?time, user ?User, \
         environment EnvironmentName, deployable ?Job",
    ),
    ("References", "", "short text, relative text, full text"),
    (
        "MergeRequest",
        "",
        "id int, iid int, project_id int, title text, description text, state text, created_at time, updated_at time, \
         merged_at ?time, closed_at ?time, source_branch text, target_branch text, source_project_id int, \
         target_project_id int, author ?User, assignee null, assignees any[], reviewers any[], labels text[], draft bool, \
         work_in_progress bool, milestone null, merge_when_pipeline_succeeds bool, squash bool, sha ?text, reference text, \
         references References, web_url text",
    ),
    ("WholeMergeRequest", "MergeRequest", "head_pipeline ?WholePipeline, pipeline ?Pipeline"),
    (
        "AccessLevel",
        "",
        "id int, access_level int, access_level_description text, deploy_key_id null, user_id null, group_id null",
    ),
    (
        "ProtectedBranch",
        "",
        "id int, name text, push_access_levels AccessLevel[], merge_access_levels AccessLevel[], unprotect_access_levels any[], \
         allow_force_push bool, code_owner_approval_required bool, inherited bool",
    ),
    ("ProtectedTag", "", "name text, create_access_levels AccessLevel[]"),
    (
        "Branch",
        "",
        "name text, merged bool, protected bool, default bool, developers_can_push bool, developers_can_merge bool, \
         can_push bool, web_url text, commit Commit",
    ),
    ("Tag", "", "name text, target text, protected bool, release null, commit Commit, message ?text"),
    (
        "Diff",
        "",
        "old_path text, new_path text, a_mode text, b_mode text, new_file bool, renamed_file bool, deleted_file bool, \
         generated_file null, collapsed bool, too_large bool, diff text",
    ),
    ("RefName", "", "type text, name text"),
    (
        "CommitStatus",
        "",
        "id int, sha text, ref text, status text, name text, target_url ?text, description ?text, created_at time, \
         started_at ?time, finished_at ?time, allow_failure bool, coverage ?number, pipeline_id ?int, author ?User",
    ),
    (
        "Comparison",
        "",
        "commit ?Commit, commits Commit[], diffs Diff[], compare_timeout bool, compare_same_ref bool, web_url text",
    ),
    ("TreeEntry", "", "id text, name text, type text, path text, mode text"),
    (
        "File",
        "",
        "file_name text, file_path text, size int, ref text, blob_id text, commit_id text, last_commit_id text, \
         execute_filemode bool, encoding text, content_sha256 text, content text",
    ),
];

/// Methods, path and what a route answers with; `raw`: bytes of a file. A route that answers with nothing is not here.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("GET", "version", "Version"),
    ("GET", "metadata", "Metadata"),
    ("GET", "job", "Job"),
    ("GET", "user", "CurrentUser"),
    ("GET", "users", "ListedUser[]"),
    ("POST", "users", "WholeUser"),
    ("GET", "users/{user_id}", "ListedUser"),
    ("PUT", "users/{user_id}", "WholeUser"),
    ("POST", "users/{user_id}/block", "bool"),
    ("POST", "users/{user_id}/unblock", "bool"),
    ("POST", "users/{user_id}/unlock", "bool"),
    ("GET", "users/{user_id}/projects", "ListedProject[]"),
    ("POST", "users/{user_id}/personal_access_tokens", "NewToken"),
    ("POST", "user/runners", "NewRunner"),
    ("GET", "personal_access_tokens", "Token[]"),
    ("GET", "personal_access_tokens/self", "Token"),
    ("POST", "personal_access_tokens/self/rotate", "NewToken"),
    ("GET", "personal_access_tokens/{token_id}", "Token"),
    ("POST", "personal_access_tokens/{token_id}/rotate", "NewToken"),
    ("GET", "namespaces", "Namespace[]"),
    ("GET", "namespaces/{namespace_id}", "Namespace"),
    ("GET", "groups", "Group[]"),
    ("POST", "groups", "Group"),
    ("GET", "groups/{group_id}", "Group"),
    ("GET", "groups/{group_id}/projects", "ListedProject[]"),
    ("GET", "admin/ci/variables", "Variable[]"),
    ("POST", "admin/ci/variables", "Variable"),
    ("GET PUT", "admin/ci/variables/{key}", "Variable"),
    ("GET", "groups/{group_id}/variables", "Variable[]"),
    ("POST", "groups/{group_id}/variables", "Variable"),
    ("GET PUT", "groups/{group_id}/variables/{key}", "Variable"),
    ("GET", "runners", "Runner[]"),
    ("GET", "runners/all", "Runner[]"),
    ("POST", "runners/reset_registration_token", "RunnerToken"),
    ("GET PUT", "runners/{runner_id}", "WholeRunner"),
    ("GET", "runners/{runner_id}/jobs", "Job[]"),
    ("GET", "runners/{runner_id}/managers", "RunnerManager[]"),
    ("POST", "runners/{runner_id}/reset_authentication_token", "RunnerToken"),
    ("GET", "projects", "ListedProject[]"),
    ("POST", "projects", "WholeProject"),
    ("GET PUT", "projects/{id}", "WholeProject"),
    ("DELETE", "projects/{id}", "Message"),
    ("GET PUT", "projects/{id}/mirror/pull", "Mirror"),
    ("POST", "projects/{id}/mirror/pull", "Message"),
    ("GET", "projects/{id}/members", "Member[]"),
    ("GET", "projects/{id}/members/all", "Member[]"),
    ("POST", "projects/{id}/members", "Member"),
    ("GET PUT", "projects/{id}/members/{user_id}", "Member"),
    ("GET", "projects/{id}/members/all/{user_id}", "Member"),
    ("GET", "projects/{id}/variables", "Variable[]"),
    ("POST", "projects/{id}/variables", "Variable"),
    ("GET PUT", "projects/{id}/variables/{key}", "Variable"),
    ("GET", "projects/{id}/pipelines", "Pipeline[]"),
    ("POST", "projects/{id}/pipeline", "WholePipeline"),
    ("GET", "projects/{id}/pipelines/latest", "WholePipeline"),
    ("GET", "projects/{id}/pipelines/{pipeline_id}", "WholePipeline"),
    ("PUT", "projects/{id}/pipelines/{pipeline_id}/metadata", "WholePipeline"),
    ("POST", "projects/{id}/pipelines/{pipeline_id}/retry", "WholePipeline"),
    ("POST", "projects/{id}/pipelines/{pipeline_id}/cancel", "WholePipeline"),
    ("GET", "projects/{id}/pipelines/{pipeline_id}/jobs", "Job[]"),
    ("GET", "projects/{id}/pipelines/{pipeline_id}/bridges", "Bridge[]"),
    ("GET", "projects/{id}/pipelines/{pipeline_id}/variables", "RunVariable[]"),
    ("GET", "projects/{id}/pipelines/{pipeline_id}/test_report", "TestReport"),
    ("GET", "projects/{id}/pipelines/{pipeline_id}/test_report_summary", "TestReportSummary"),
    ("GET", "projects/{id}/jobs", "Job[]"),
    ("GET", "projects/{id}/jobs/{job_id}", "Job"),
    ("GET", "projects/{id}/jobs/{job_id}/trace", "raw"),
    ("POST", "projects/{id}/jobs/{job_id}/play", "Job"),
    ("POST", "projects/{id}/jobs/{job_id}/retry", "Job"),
    ("POST", "projects/{id}/jobs/{job_id}/cancel", "Job"),
    ("POST", "projects/{id}/jobs/{job_id}/erase", "Job"),
    ("GET", "projects/{id}/jobs/{job_id}/artifacts", "raw"),
    ("POST", "projects/{id}/jobs/{job_id}/artifacts/keep", "Job"),
    ("GET", "projects/{id}/jobs/{job_id}/artifacts/{artifact_path*}", "raw"),
    ("GET", "projects/{id}/jobs/artifacts/{ref_name}/download", "raw"),
    ("GET", "projects/{id}/jobs/artifacts/{ref_name}/raw/{artifact_path*}", "raw"),
    ("DELETE", "projects/{id}/artifacts", "Message"),
    ("GET", "projects/{id}/pipeline_schedules", "Schedule[]"),
    ("POST", "projects/{id}/pipeline_schedules", "WholeSchedule"),
    ("GET PUT", "projects/{id}/pipeline_schedules/{schedule_id}", "WholeSchedule"),
    ("POST", "projects/{id}/pipeline_schedules/{schedule_id}/play", "Message"),
    ("POST", "projects/{id}/pipeline_schedules/{schedule_id}/take_ownership", "WholeSchedule"),
    ("POST", "projects/{id}/pipeline_schedules/{schedule_id}/variables", "RunVariable"),
    ("GET PUT DELETE", "projects/{id}/pipeline_schedules/{schedule_id}/variables/{key}", "RunVariable"),
    ("GET", "projects/{id}/pipeline_schedules/{schedule_id}/pipelines", "Pipeline[]"),
    ("GET", "projects/{id}/access_tokens", "Token[]"),
    ("POST", "projects/{id}/access_tokens", "NewToken"),
    ("GET", "projects/{id}/access_tokens/{token_id}", "Token"),
    ("POST", "projects/{id}/access_tokens/{token_id}/rotate", "NewToken"),
    ("GET", "projects/{id}/triggers", "Trigger[]"),
    ("POST", "projects/{id}/triggers", "Trigger"),
    ("GET PUT", "projects/{id}/triggers/{trigger_id}", "Trigger"),
    ("POST", "projects/{id}/trigger/pipeline", "WholePipeline"),
    ("POST", "projects/{id}/ref/{ref}/trigger/pipeline", "WholePipeline"),
    ("GET", "projects/{id}/runners", "Runner[]"),
    ("POST", "projects/{id}/runners", "Runner"),
    ("POST", "projects/{id}/runners/reset_registration_token", "RunnerToken"),
    ("POST", "ci/lint", "Lint"),
    ("GET POST", "projects/{id}/ci/lint", "Lint"),
    ("GET", "projects/{id}/environments", "Environment[]"),
    ("POST", "projects/{id}/environments", "WholeEnvironment"),
    ("POST", "projects/{id}/environments/stop_stale", "Message"),
    ("DELETE", "projects/{id}/environments/review_apps", "RemovedEnvironments"),
    ("GET PUT", "projects/{id}/environments/{environment_id}", "WholeEnvironment"),
    ("POST", "projects/{id}/environments/{environment_id}/stop", "WholeEnvironment"),
    ("GET", "projects/{id}/merge_requests", "MergeRequest[]"),
    ("POST", "projects/{id}/merge_requests", "WholeMergeRequest"),
    ("GET PUT", "projects/{id}/merge_requests/{merge_request_iid}", "WholeMergeRequest"),
    ("GET", "projects/{id}/merge_requests/{merge_request_iid}/pipelines", "Pipeline[]"),
    ("POST", "projects/{id}/merge_requests/{merge_request_iid}/pipelines", "WholePipeline"),
    ("GET", "projects/{id}/deployments", "Deployment[]"),
    ("GET", "projects/{id}/deployments/{deployment_id}", "Deployment"),
    ("GET", "projects/{id}/protected_branches", "ProtectedBranch[]"),
    ("POST", "projects/{id}/protected_branches", "ProtectedBranch"),
    ("GET PATCH", "projects/{id}/protected_branches/{name}", "ProtectedBranch"),
    ("GET", "projects/{id}/protected_tags", "ProtectedTag[]"),
    ("POST", "projects/{id}/protected_tags", "ProtectedTag"),
    ("GET", "projects/{id}/protected_tags/{name}", "ProtectedTag"),
    ("GET", "projects/{id}/repository/branches", "Branch[]"),
    ("POST", "projects/{id}/repository/branches", "Branch"),
    ("GET", "projects/{id}/repository/branches/{branch}", "Branch"),
    ("GET", "projects/{id}/repository/tags", "Tag[]"),
    ("POST", "projects/{id}/repository/tags", "Tag"),
    ("GET", "projects/{id}/repository/tags/{tag_name}", "Tag"),
    ("GET", "projects/{id}/repository/commits", "Commit[]"),
    ("GET", "projects/{id}/repository/commits/{sha}", "WholeCommit"),
    ("GET", "projects/{id}/repository/commits/{sha}/diff", "Diff[]"),
    ("GET", "projects/{id}/repository/commits/{sha}/refs", "RefName[]"),
    ("GET", "projects/{id}/repository/commits/{sha}/statuses", "CommitStatus[]"),
    ("POST", "projects/{id}/statuses/{sha}", "CommitStatus"),
    ("GET", "projects/{id}/repository/compare", "Comparison"),
    ("GET", "projects/{id}/repository/merge_base", "Commit"),
    ("GET", "projects/{id}/repository/tree", "TreeEntry[]"),
    ("GET", "projects/{id}/repository/{archive}", "raw"),
    ("GET", "projects/{id}/repository/files/{file_path}", "File"),
    ("GET", "projects/{id}/repository/files/{file_path}/raw", "raw"),
    ("GET", "projects/{id}/repository/blobs/{sha}/raw", "raw"),
];

/// The content of a route's answer, as OpenAPI has it; `None`: there is nothing in it.
pub(super) fn content(method: &str, path: &str) -> Option<Value> {
    let fits =
        |answer: &&(&str, &str, &str)| answer.1 == path && answer.0.split(' ').any(|one| one == method);
    let (_, _, kind) = ANSWERS.iter().find(fits)?;
    Some(match *kind {
        "raw" => json!({ "application/octet-stream": {}, "text/plain": {} }),
        kind => json!({ "application/json": { "schema": schema(kind) } }),
    })
}

/// All entities by name, as JSON Schema.
pub(super) fn schemas() -> Map<String, Value> {
    let of = |(name, _, _): &(&str, &str, &str)| {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (field, always, kind) in fields(name) {
            properties.insert(field.to_owned(), schema(kind));
            if always {
                required.push(field);
            }
        }
        let whole = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        ((*name).to_owned(), whole)
    };
    ENTITIES.iter().map(of).collect()
}

/// Name, whether it is always there, and type of each field, those of the base first.
fn fields(entity: &str) -> Vec<(&'static str, bool, &'static str)> {
    let Some((_, base, own)) = ENTITIES.iter().find(|(name, _, _)| *name == entity) else {
        return Vec::new();
    };
    let mut out = fields(base);
    for field in own.split(',') {
        let (name, kind) = field.trim().split_once(' ').unwrap_or((field, "any"));
        out.push((name.trim_end_matches('?'), !name.ends_with('?'), kind.trim()));
    }
    out
}

fn schema(kind: &str) -> Value {
    if let Some(one) = kind.strip_suffix("[]") {
        return json!({ "type": "array", "items": schema(one) });
    }
    if let Some(one) = kind.strip_prefix('?') {
        return match schema(one) {
            Value::Object(mut plain) if plain.contains_key("type") => {
                let word = plain.remove("type");
                plain.insert("type".to_owned(), json!([word, "null"]));
                Value::Object(plain)
            }
            reference => json!({ "anyOf": [reference, { "type": "null" }] }),
        };
    }
    match kind {
        "int" => json!({ "type": "integer" }),
        "number" => json!({ "type": "number" }),
        "bool" => json!({ "type": "boolean" }),
        "text" => json!({ "type": "string" }),
        "time" => json!({ "type": "string", "format": "date-time" }),
        "day" => json!({ "type": "string", "format": "date" }),
        "null" => json!({ "type": "null" }),
        "any" => json!({}),
        entity => json!({ "$ref": format!("#/components/schemas/{entity}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::table::routes;

    #[test]
    fn every_route_says_what_it_answers_with() {
        for route in routes() {
            let said = content(route.method.as_str(), route.path).is_some();
            assert_eq!(said, route.status != 204, "{} {}: see ANSWERS", route.method, route.path);
        }
        for (methods, path, _) in ANSWERS {
            for method in methods.split(' ') {
                let known = routes().iter().any(|route| route.path == *path && route.method == method);
                assert!(known, "{method} {path} is no route");
            }
        }
    }

    #[test]
    fn entities_are_made_of_what_there_is() {
        let known = |kind: &str| {
            let plain = kind.trim_start_matches('?').trim_end_matches("[]");
            ["int", "number", "bool", "text", "time", "day", "null", "any", "raw"].contains(&plain)
                || ENTITIES.iter().any(|(name, _, _)| *name == plain)
        };
        for (name, base, _) in ENTITIES {
            assert!(base.is_empty() || known(base), "{name}: {base}");
            for (field, _, kind) in fields(name) {
                assert!(known(kind), "{name}.{field}: {kind}");
            }
        }
        for (methods, path, kind) in ANSWERS {
            assert!(known(kind), "{methods} {path}: {kind}");
        }
    }
}
