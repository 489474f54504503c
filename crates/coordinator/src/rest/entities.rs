//! How things look in answers: GitLab's entities as JSON. Called by every handler; it reads what an entity needs besides, once for a
//! list.

use super::call::{Call, Failure};
use crate::app::App;
use crate::time_text::iso;
use crate::web::OFFLINE;
use harrier_base::Variable;
use harrier_database::{
    CiVariable, JobFilter, JobView, PageAt, PipelineView, ProjectView, Reach, RunnerView, TokenView, UserView,
};
use harrier_pipeline::Status;
use harrier_pipeline::predefined::CommitFacts;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A time, or null.
pub(super) fn time(millis: Option<i64>) -> Value {
    millis.map_or(Value::Null, |millis| Value::String(iso(millis)))
}

/// A day, or null.
fn day(millis: Option<i64>) -> Value {
    millis.map_or(Value::Null, |millis| iso(millis).chars().take(10).collect::<String>().into())
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// A user, as everyone sees one.
pub(super) fn user(app: &App, user: &UserView) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "name": user.name,
        "state": if user.blocked { "blocked" } else { "active" },
        "locked": false,
        "avatar_url": null,
        "web_url": format!("{}/{}", app.settings.external_url, user.username),
    })
}

/// A user, as administrators and the user see one.
pub(super) fn whole_user(app: &App, one: &UserView) -> Value {
    let mut value = user(app, one);
    value["email"] = one.email.clone().into();
    value["is_admin"] = one.admin.into();
    value["created_at"] = iso(one.created_at).into();
    value["can_create_project"] = true.into();
    value["bot"] = false.into();
    value["external"] = false.into();
    value
}

/// The users that a list names.
pub(super) struct People(HashMap<i64, Value>);

impl People {
    pub async fn read(app: &App) -> Result<Self, Failure> {
        let all = app.store.users().await?;
        Ok(Self(all.iter().map(|one| (one.id, user(app, one))).collect()))
    }

    pub fn get(&self, id: Option<i64>) -> Value {
        id.and_then(|id| self.0.get(&id).cloned()).unwrap_or_default()
    }
}

/// A project.
pub(super) fn project(app: &App, one: &ProjectView) -> Value {
    let (space, last) = one.path.rsplit_once('/').unwrap_or(("", &one.path));
    let url = format!("{}/{}", app.settings.external_url, one.path);
    let settings = &one.settings;
    let on = |yes: bool| if yes { "enabled" } else { "disabled" };
    json!({
        "id": one.id,
        "description": one.description,
        "name": one.name,
        "name_with_namespace": format!("{} / {}", space.replace('/', " / "), one.name),
        "path": last,
        "path_with_namespace": one.path,
        "created_at": iso(one.created_at),
        "last_activity_at": iso(one.active_at),
        "default_branch": one.default_branch,
        "tag_list": [],
        "topics": [],
        "ssh_url_to_repo": null,
        "http_url_to_repo": format!("{url}.git"),
        "web_url": url,
        "readme_url": null,
        "avatar_url": null,
        "forks_count": 0,
        "star_count": 0,
        "visibility": one.visibility,
        "archived": false,
        "creator_id": one.created_by,
        "namespace": {
            "id": one.namespace,
            "name": space.rsplit('/').next(),
            "path": space.rsplit('/').next(),
            "full_path": space,
            "parent_id": null,
            "avatar_url": null,
            "web_url": format!("{}/{space}", app.settings.external_url),
        },
        "jobs_enabled": true,
        "builds_access_level": "enabled",
        "shared_runners_enabled": settings.shared_runners,
        "public_jobs": settings.public_jobs,
        "ci_config_path": settings.ci_config_path,
        "ci_default_git_depth": settings.git_depth,
        "ci_separated_caches": settings.separate_caches,
        "build_git_strategy": if settings.git_fetch { "fetch" } else { "clone" },
        "build_timeout": settings.build_timeout,
        "auto_cancel_pending_pipelines": on(settings.auto_cancel),
        "keep_latest_artifact": settings.keep_latest_artifacts,
    })
}

/// A variable of the instance or a project.
pub(super) fn ci_variable(one: &CiVariable, of_project: bool) -> Value {
    let mut value = variable(&one.variable);
    value["value"] = if one.hidden { Value::Null } else { one.variable.value.clone().into() };
    value["hidden"] = one.hidden.into();
    value["protected"] = one.protected.into();
    value["masked"] = one.variable.masked.into();
    value["description"] = Some(one.description.clone()).filter(|text| !text.is_empty()).into();
    if of_project {
        value["environment_scope"] = one.environment_scope.clone().into();
    }
    value
}

/// A variable of a run or a schedule.
pub(super) fn variable(one: &Variable) -> Value {
    json!({
        "key": one.key,
        "variable_type": if one.file { "file" } else { "env_var" },
        "value": one.value,
        "raw": one.raw,
    })
}

fn pipeline_url(app: &App, project: &ProjectView, id: i64) -> String {
    format!("{}/{}/-/pipelines/{id}", app.settings.external_url, project.path)
}

/// A pipeline, as in lists.
pub(super) fn pipeline(app: &App, project: &ProjectView, one: &PipelineView) -> Value {
    json!({
        "id": one.id,
        "iid": one.iid,
        "project_id": one.project,
        "sha": one.sha,
        "ref": one.git_ref,
        "status": one.status.word(),
        "source": one.source,
        "name": one.name,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
        "web_url": pipeline_url(app, project, one.id),
    })
}

/// A pipeline by itself.
pub(super) async fn whole_pipeline(
    app: &App,
    project: &ProjectView,
    one: &PipelineView,
) -> Result<Value, Failure> {
    let by = match one.user {
        Some(id) => app.store.user(id).await.map(|found| user(app, &found)).unwrap_or_default(),
        None => Value::Null,
    };
    let jobs = app.store.jobs(one.id, false).await?;
    let found: Vec<f64> = jobs.iter().filter_map(|job| job.coverage.as_deref()?.parse().ok()).collect();
    let coverage =
        (!found.is_empty()).then(|| format!("{:.2}", found.iter().sum::<f64>() / found.len() as f64));
    let errors: Vec<&str> =
        one.messages.iter().filter(|said| said.error).map(|said| said.text.as_str()).collect();
    let word = one.status.word();
    let label = if one.warnings && one.status == Status::Success { "passed with warnings" } else { word };
    let more = json!({
        "before_sha": if one.before_sha.is_empty() { "0".repeat(40) } else { one.before_sha.clone() },
        "tag": one.tag,
        "yaml_errors": (!errors.is_empty()).then(|| errors.join("\n")),
        "user": by,
        "started_at": time(one.started_at),
        "finished_at": time(one.finished_at),
        "committed_at": null,
        "duration": one.started_at.zip(one.finished_at).map(|(from, to)| (to - from) / 1000),
        "queued_duration": one.started_at.map(|at| (at - one.created_at) / 1000),
        "coverage": coverage,
        "archived": false,
        "detailed_status": {
            "icon": format!("status_{word}"),
            "text": label,
            "label": label,
            "group": word,
            "tooltip": label,
            "has_details": true,
            "details_path": format!("/{}/-/pipelines/{}", project.path, one.id),
        },
    });
    let mut value = pipeline(app, project, one);
    add(&mut value, more);
    Ok(value)
}

fn add(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

/// A commit of a pipeline.
fn commit_of(facts: &CommitFacts) -> Value {
    commit(&facts.sha, &facts.message, &facts.author, &facts.timestamp, &[])
}

/// A commit. `author`: `Name <email>`.
pub(super) fn commit(sha: &str, message: &str, author: &str, at: &str, parents: &[String]) -> Value {
    let (name, email) = author.rsplit_once('<').unwrap_or((author, ""));
    let (name, email) = (name.trim(), email.trim_end_matches('>'));
    json!({
        "id": sha,
        "short_id": sha.get(..8).unwrap_or(sha),
        "title": message.lines().next().unwrap_or_default(),
        "message": message,
        "author_name": name,
        "author_email": email,
        "authored_date": at,
        "committer_name": name,
        "committer_email": email,
        "committed_date": at,
        "created_at": at,
        "parent_ids": parents,
    })
}

/// What jobs of one answer have in common.
pub(super) struct Jobs<'a> {
    app: &'a App,
    projects: HashMap<i64, ProjectView>,
    pipelines: HashMap<i64, PipelineView>,
    runners: HashMap<i64, RunnerView>,
    people: People,
}

impl<'a> Jobs<'a> {
    pub async fn new(app: &'a App) -> Result<Self, Failure> {
        let (projects, pipelines) = (HashMap::new(), HashMap::new());
        let runners = app.store.runners(None).await?.into_iter().map(|one| (one.id, one)).collect();
        Ok(Self { app, projects, pipelines, runners, people: People::read(app).await? })
    }

    pub async fn show(&mut self, job: &JobView) -> Result<Value, Failure> {
        let app = self.app;
        if let Entry::Vacant(place) = self.projects.entry(job.project) {
            place.insert(app.store.project(job.project).await?);
        }
        if let Entry::Vacant(place) = self.pipelines.entry(job.pipeline) {
            place.insert(app.store.pipeline(job.pipeline).await?);
        }
        let lost = || Failure::not_found("job");
        let project = self.projects.get(&job.project).ok_or_else(lost)?;
        let of = self.pipelines.get(&job.pipeline).ok_or_else(lost)?;
        let files = app.store.artifacts(job.id).await?;
        let archive = files.iter().find(|file| file.kind == "archive");
        let mut artifacts: Vec<Value> = files
            .iter()
            .map(|file| {
                json!({
                    "file_type": file.kind,
                    "size": file.size,
                    "filename": file.filename,
                    "file_format": file.format,
                })
            })
            .collect();
        if let Some(size) = job.trace_size.filter(|size| *size > 0) {
            artifacts.push(
                json!({"file_type": "trace", "size": size, "filename": "job.log", "file_format": null}),
            );
        }
        let mut value = json!({
            "id": job.id,
            "status": job.status.word(),
            "stage": job.stage,
            "name": job.name,
            "ref": of.git_ref,
            "tag": of.tag,
            "coverage": job.coverage.as_deref().and_then(|text| text.parse::<f64>().ok()),
            "allow_failure": job.allowed,
            "created_at": iso(job.created_at),
            "started_at": time(job.started_at),
            "finished_at": time(job.finished_at),
            "erased_at": time(job.erased_at),
            "duration": job.started_at.map(|from| seconds(job.finished_at.unwrap_or(app.now()) - from)),
            "queued_duration": job.queued_at.map(|from| seconds(job.started_at.unwrap_or(app.now()) - from)),
            "user": self.people.get(job.played_by.or(of.user)),
            "commit": commit_of(&of.facts.commit),
            "pipeline": pipeline(app, project, of),
            "project": { "ci_job_token_scope_enabled": true },
            "web_url": format!("{}/{}/-/jobs/{}", app.settings.external_url, project.path, job.id),
            "artifacts": artifacts,
            "runner": job.runner.and_then(|id| self.runners.get(&id)).map(|one| runner(app, one)),
            "runner_manager": null,
            "artifacts_expire_at": time(archive.and_then(|file| file.expires_at)),
            "archived": false,
            "tag_list": job.tags,
        });
        if let Some(file) = archive {
            value["artifacts_file"] = json!({ "filename": file.filename, "size": file.size });
        }
        if job.status == Status::Failed {
            value["failure_reason"] = job.failure_reason.clone().into();
        }
        Ok(value)
    }

    /// A whole list of them.
    pub async fn list(&mut self, jobs: &[JobView]) -> Result<Vec<Value>, Failure> {
        let mut out = Vec::with_capacity(jobs.len());
        for job in jobs {
            out.push(self.show(job).await?);
        }
        Ok(out)
    }
}

/// `online`, `offline` or `never_contacted`.
pub(super) fn runner_status(app: &App, one: &RunnerView) -> &'static str {
    match one.contacted_at {
        None => "never_contacted",
        Some(at) if at >= app.now() - OFFLINE => "online",
        Some(_) => "offline",
    }
}

/// A runner, as in lists.
pub(super) fn runner(app: &App, one: &RunnerView) -> Value {
    let status = runner_status(app, one);
    json!({
        "id": one.id,
        "description": one.description,
        "ip_address": null,
        "active": !one.offer.paused,
        "paused": one.offer.paused,
        "is_shared": one.offer.reach == Reach::Instance,
        "runner_type": one.kind(),
        "name": null,
        "online": status == "online",
        "status": status,
        "created_at": iso(one.created_at),
    })
}

/// A runner by itself.
pub(super) async fn whole_runner(call: &Call, one: &RunnerView) -> Result<Value, Failure> {
    let store = &call.app.store;
    let machine = store.managers(Some(one.id)).await?.into_iter().max_by_key(|machine| machine.contacted_at);
    let info = machine.as_ref().map(|machine| machine.info.clone()).unwrap_or_default();
    let mut projects = Vec::new();
    if let Reach::Projects(ids) = &one.offer.reach {
        for id in ids {
            let found = store.project(*id).await?;
            if call.caller.level(&call.app, &found).await?.is_some() {
                let shown = project(&call.app, &found);
                projects.push(json!({
                    "id": shown["id"],
                    "name": shown["name"],
                    "name_with_namespace": shown["name_with_namespace"],
                    "path": shown["path"],
                    "path_with_namespace": shown["path_with_namespace"],
                }));
            }
        }
    }
    let at_work = JobFilter {
        runner: Some(one.id),
        statuses: vec![Status::Running, Status::Canceling],
        ..JobFilter::default()
    };
    let busy = store.find_jobs(at_work, PageAt { number: 1, size: 1 }).await?.total > 0;
    let mut value = runner(&call.app, one);
    let more = json!({
        "tag_list": one.offer.tags,
        "run_untagged": one.offer.run_untagged,
        "locked": one.locked,
        "maximum_timeout": one.maximum_timeout,
        "access_level": if one.offer.protected_only { "ref_protected" } else { "not_protected" },
        "maintenance_note": one.maintenance_note,
        "contacted_at": time(one.contacted_at),
        "version": info.version,
        "revision": info.revision,
        "platform": info.platform,
        "architecture": info.architecture,
        "job_execution_status": if busy { "active" } else { "idle" },
        "projects": projects,
        "groups": [],
    });
    add(&mut value, more);
    Ok(value)
}

/// A personal access token, without the token.
pub(super) fn token(one: &TokenView, now: i64) -> Value {
    let ended = one.expires_at.is_some_and(|at| at <= now);
    json!({
        "id": one.id,
        "name": one.name,
        "revoked": one.revoked_at.is_some(),
        "created_at": iso(one.created_at),
        "description": null,
        "scopes": one.scopes,
        "user_id": one.user,
        "last_used_at": time(one.used_at),
        "active": one.revoked_at.is_none() && !ended,
        "expires_at": day(one.expires_at),
        "access_level": one.access_level,
    })
}
