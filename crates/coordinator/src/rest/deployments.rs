//! Deployments: what jobs have brought to environments.

use super::call::{Call, Done, Failure, Reply};
use super::entities::{Jobs, People, time};
use super::environments::short;
use super::projects::same_project;
use crate::app::App;
use crate::time_text::iso;
use harrier_database::{
    DatabaseError, DeploymentFilter, DeploymentOrder, DeploymentView, EnvironmentView, Page,
};
use harrier_pipeline::Status;
use serde_json::{Value, json};

/// What deployments of one answer have in common.
pub(super) struct Deployments<'a> {
    app: &'a App,
    jobs: Jobs<'a>,
    people: People,
}

impl<'a> Deployments<'a> {
    pub async fn new(app: &'a App) -> Result<Self, Failure> {
        Ok(Self { app, jobs: Jobs::new(app).await?, people: People::read(app).await? })
    }

    pub async fn show(&mut self, one: &DeploymentView, to: &EnvironmentView) -> Result<Value, Failure> {
        let job = match one.job {
            Some(id) => match self.app.store.job(id).await {
                Ok(job) => self.jobs.show(&job).await?,
                Err(DatabaseError::NotFound(_)) => Value::Null,
                Err(error) => return Err(error.into()),
            },
            None => Value::Null,
        };
        Ok(json!({
            "id": one.id,
            "iid": one.iid,
            "ref": one.git_ref,
            "sha": one.sha,
            "status": one.status.word(),
            "created_at": iso(one.created_at),
            "updated_at": iso(one.updated_at),
            "finished_at": time(one.finished_at),
            "user": self.people.get(one.user),
            "environment": short(to),
            "deployable": job,
        }))
    }
}

pub(super) async fn list(call: Call) -> Done {
    const STATUSES: [&str; 6] = ["created", "running", "success", "failed", "canceled", "skipped"];
    let order =
        match call.word("order_by", &["id", "iid", "created_at", "updated_at", "finished_at", "ref"])? {
            Some("updated_at") => DeploymentOrder::Changed,
            Some("finished_at") => DeploymentOrder::Ended,
            Some("ref") => DeploymentOrder::Ref,
            // Ids, numbers and times of making go the same way.
            _ => DeploymentOrder::Made,
        };
    let filter = DeploymentFilter {
        environment: None,
        environment_name: call.filled("environment"),
        status: call.word("status", &STATUSES)?.and_then(Status::from_word),
        updated_after: call.time("updated_after")?,
        updated_before: call.time("updated_before")?,
        finished_after: call.time("finished_after")?,
        finished_before: call.time("finished_before")?,
        order,
        descending: call.word("sort", &["asc", "desc"])? == Some("desc"),
    };
    let found = call.app.store.deployments(call.project()?.id, filter, call.page()?).await?;
    let mut all = Deployments::new(&call.app).await?;
    let mut entries = Vec::new();
    for one in &found.entries {
        let to = call.app.store.environment(one.environment).await?;
        entries.push(all.show(one, &to).await?);
    }
    Ok(Reply::List(Page { entries, total: found.total }))
}

pub(super) async fn one(call: Call) -> Done {
    let found = call.app.store.deployment(call.id("deployment_id")?).await?;
    same_project(&call, found.project, "deployment")?;
    let to = call.app.store.environment(found.environment).await?;
    Ok(Reply::Json(Deployments::new(&call.app).await?.show(&found, &to).await?))
}
