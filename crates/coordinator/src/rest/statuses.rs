//! What is known of a commit: its jobs, and what other systems said (`POST /projects/:id/statuses/:sha`).

use super::call::{Call, Done, Failure, Reply};
use super::entities::{People, time};
use crate::make_pipeline::waiting;
use crate::repository::Commit;
use crate::time_text::iso;
use harrier_database::{CommitStatus, JobFilter, JobView, PageAt, PipelineView};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Most jobs of one commit that are looked through.
const MOST: usize = 10_000;

fn show(one: &CommitStatus, people: &People) -> Value {
    json!({
        "id": one.id,
        "sha": one.sha,
        "ref": one.git_ref,
        "status": one.state,
        "name": one.name,
        "target_url": one.target_url,
        "description": one.description,
        "created_at": iso(one.created_at),
        "started_at": time(one.started_at),
        "finished_at": time(one.finished_at),
        "allow_failure": false,
        "coverage": one.coverage.as_deref().and_then(|text| text.parse::<f64>().ok()),
        "pipeline_id": null,
        "author": people.get(one.user),
    })
}

fn show_job(call: &Call, job: &JobView, of: &PipelineView, people: &People) -> Value {
    let path = call.project.as_ref().map_or("", |(project, _)| &project.path);
    json!({
        "id": job.id,
        "sha": of.sha,
        "ref": of.git_ref,
        "status": job.status.word(),
        "name": job.name,
        "target_url": format!("{}/{path}/-/jobs/{}", call.app.settings.external_url, job.id),
        "description": null,
        "created_at": iso(job.created_at),
        "started_at": time(job.started_at),
        "finished_at": time(job.finished_at),
        "allow_failure": job.allowed,
        "coverage": job.coverage.as_deref().and_then(|text| text.parse::<f64>().ok()),
        "pipeline_id": job.pipeline,
        "author": people.get(job.played_by.or(of.user)),
    })
}

async fn commit(call: &Call) -> Result<Commit, Failure> {
    let (repository, name) = (call.app.repository(call.project()?.id), call.part("sha").to_owned());
    let found = waiting(move || repository.named(&name)).await??;
    found.ok_or_else(|| Failure::not_found("commit"))
}

pub(super) async fn list(call: Call) -> Done {
    let (sha, project) = (commit(&call).await?.sha, call.project()?.id);
    let (git_ref, name, stage) = (call.filled("ref"), call.filled("name"), call.filled("stage"));
    let (wanted, all) = (call.number("pipeline_id")?, call.flag("all")? == Some(true));
    let filter = JobFilter { project: Some(project), sha: Some(sha.clone()), ..JobFilter::default() };
    let found = call.app.store.find_jobs(filter, PageAt { number: 1, size: MOST }).await?;
    let people = People::read(&call.app).await?;
    let mut pipelines: HashMap<i64, PipelineView> = HashMap::new();
    let mut shown = Vec::new();
    for job in found.entries {
        let of = match pipelines.entry(job.pipeline) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(call.app.store.pipeline(job.pipeline).await?),
        };
        let fits = (all || !job.retried)
            && name.as_ref().is_none_or(|name| job.name == *name)
            && stage.as_ref().is_none_or(|stage| job.stage == *stage)
            && git_ref.as_ref().is_none_or(|git_ref| of.git_ref == *git_ref)
            && wanted.is_none_or(|wanted| job.pipeline == wanted);
        if fits {
            shown.push(show_job(&call, &job, of, &people));
        }
    }
    if stage.is_none() && wanted.is_none() {
        let mut said = call.app.store.commit_statuses(project, &sha).await?;
        said.retain(|one| {
            name.as_ref().is_none_or(|name| one.name == *name)
                && git_ref.as_ref().is_none_or(|git_ref| one.git_ref == *git_ref)
        });
        shown.extend(said.iter().map(|one| show(one, &people)));
    }
    call.list_of(shown, |one| one)
}

pub(super) async fn set(call: Call) -> Done {
    const STATES: [&str; 6] = ["pending", "running", "success", "failed", "canceled", "skipped"];
    call.required("state")?;
    let state = call.word("state", &STATES)?.unwrap_or("pending");
    let target_url = call.filled("target_url");
    if target_url
        .as_ref()
        .is_some_and(|url| url.len() > 255 || !url.starts_with("http://") && !url.starts_with("https://"))
    {
        return Err(Failure::invalid("target_url", "is blocked: Only allowed schemes are http, https"));
    }
    let coverage = call.filled("coverage");
    if coverage.as_ref().is_some_and(|text| text.parse::<f64>().is_err()) {
        return Err(Failure::Parameter("coverage is invalid".to_owned()));
    }
    let short = |name: &str| match call.filled(name) {
        Some(text) if text.chars().count() > 255 => {
            Err(Failure::invalid(name, "is too long (maximum is 255 characters)"))
        }
        other => Ok(other),
    };
    let name = short("name")?.or(short("context")?).unwrap_or_else(|| "default".to_owned());
    let ended = matches!(state, "success" | "failed" | "canceled" | "skipped");
    let new = CommitStatus {
        id: 0,
        project: call.project()?.id,
        sha: commit(&call).await?.sha,
        git_ref: short("ref")?.unwrap_or_default(),
        name,
        state: state.to_owned(),
        description: short("description")?,
        target_url,
        coverage,
        user: call.actor().await.ok().map(|user| user.id),
        created_at: call.now,
        started_at: (state != "pending").then_some(call.now),
        finished_at: ended.then_some(call.now),
    };
    let kept = call.app.store.set_commit_status(new).await?;
    Ok(Reply::Json(show(&kept, &People::read(&call.app).await?)))
}
