//! Pipelines: listed, shown, started, retried, cancelled, removed; their variables and test reports.

use super::call::{Call, Done, Failure, Reply};
use super::entities;
use super::projects::same_project;
use crate::answer::Refusal;
use crate::start::{StartRequest, start};
use axum::http::StatusCode;
use harrier_database::{
    DatabaseError, Page, PageAt, PipelineFilter, PipelineOrder, PipelineView, TestReport,
};
use harrier_pipeline::Status;
use serde_json::{Value, json};

/// Statuses as GitLab lists them.
const STATUSES: [&str; 13] = [
    "created",
    "waiting_for_resource",
    "preparing",
    "waiting_for_callback",
    "pending",
    "running",
    "success",
    "failed",
    "canceling",
    "canceled",
    "skipped",
    "manual",
    "scheduled",
];

pub(super) async fn list(call: Call) -> Done {
    let project = call.project()?;
    let scope = call.word("scope", &["running", "pending", "finished", "branches", "tags"])?;
    let status = call.word("status", &STATUSES)?;
    let order = call.word("order_by", &["id", "status", "ref", "updated_at", "user_id"])?;
    let user = match call.filled("username") {
        None => None,
        Some(name) => match call.app.store.user_named(&name).await? {
            Some((user, _)) => Some(user.id),
            None => return Ok(Reply::List(Page { entries: Vec::new(), total: 0 })),
        },
    };
    let statuses = match (status, scope) {
        (Some(status), _) => vec![status],
        (None, Some("running")) => vec!["running"],
        (None, Some("pending")) => vec!["pending"],
        (None, Some("finished")) => vec!["success", "failed", "canceled", "skipped"],
        (None, _) => Vec::new(),
    };
    let filter = PipelineFilter {
        git_ref: call.filled("ref"),
        sha: call.filled("sha"),
        source: call.filled("source"),
        statuses: statuses.into_iter().filter_map(Status::from_word).collect(),
        name: call.filled("name"),
        user,
        updated_after: call.time("updated_after")?,
        updated_before: call.time("updated_before")?,
        newest_of_refs: match scope {
            Some("branches") => Some(false),
            Some("tags") => Some(true),
            _ => None,
        },
        created_after: call.time("created_after")?,
        created_before: call.time("created_before")?,
        yaml_errors: call.flag("yaml_errors")?,
        order: match order {
            Some("updated_at") => PipelineOrder::Changed,
            Some("status") => PipelineOrder::Status,
            Some("ref") => PipelineOrder::Ref,
            Some("user_id") => PipelineOrder::User,
            _ => PipelineOrder::Made,
        },
        oldest_first: call.word("sort", &["asc", "desc"])? == Some("asc"),
        ..PipelineFilter::default()
    };
    let found = call.app.store.pipelines(project.id, filter, call.page()?).await?;
    let entries = found.entries.iter().map(|one| entities::pipeline(&call.app, project, one)).collect();
    Ok(Reply::List(Page { entries, total: found.total }))
}

/// The pipeline of a route, if it is of its project.
pub(super) async fn pipeline(call: &Call) -> Result<PipelineView, Failure> {
    let found = call.app.store.pipeline(call.id("pipeline_id")?).await?;
    same_project(call, found.project, "pipeline")?;
    Ok(found)
}

async fn whole(call: &Call, one: &PipelineView) -> Done {
    Ok(Reply::Json(entities::whole_pipeline(&call.app, call.project()?, one).await?))
}

pub(super) async fn one(call: Call) -> Done {
    let found = pipeline(&call).await?;
    whole(&call, &found).await
}

pub(super) async fn latest(call: Call) -> Done {
    let project = call.project()?;
    let git_ref = call.filled("ref").unwrap_or_else(|| project.default_branch.clone());
    let filter = PipelineFilter { git_ref: Some(git_ref), ..PipelineFilter::default() };
    let found = call.app.store.pipelines(project.id, filter, PageAt { number: 1, size: 1 }).await?;
    match found.entries.first() {
        Some(newest) => whole(&call, newest).await,
        None => Err(Failure::not_found("pipeline")),
    }
}

pub(super) async fn create(call: Call) -> Done {
    let request = StartRequest {
        git_ref: call.required("ref")?,
        variables: call.variables("variables")?,
        source: "api",
        user: call.actor().await?,
        level: call.level(),
    };
    let made = start(&call.app, call.project()?, request).await?;
    whole(&call, &made).await
}

/// The pipeline, if the caller may change it.
async fn own(call: &Call) -> Result<PipelineView, Failure> {
    let found = pipeline(call).await?;
    call.need_run_of(&found)?;
    Ok(found)
}

pub(super) async fn retry(call: Call) -> Done {
    let found = own(&call).await?;
    let by = call.actor().await?.id;
    let again = call.app.store.retry_pipeline(found.id, Some(by), call.now).await?;
    whole(&call, &again).await
}

pub(super) async fn cancel(call: Call) -> Done {
    let found = own(&call).await?;
    let canceled = call.app.store.cancel_pipeline(found.id, false, call.now).await?;
    whole(&call, &canceled).await
}

pub(super) async fn rename(call: Call) -> Done {
    let found = own(&call).await?;
    let name = call.required("name")?;
    if name.chars().count() > 255 {
        return Err(Failure::invalid("name", "is too long (maximum is 255 characters)"));
    }
    let renamed = call.app.store.rename_pipeline(found.id, Some(name)).await?;
    whole(&call, &renamed).await
}

pub(super) async fn delete(call: Call) -> Done {
    let found = pipeline(&call).await?;
    if !found.status.is_complete() && found.status != Status::Manual {
        let conflict =
            Refusal::new(StatusCode::CONFLICT, "409 Conflict - cancel the pipeline before it is removed");
        return Err(conflict.into());
    }
    for job in call.app.store.delete_pipeline(found.id).await? {
        call.app.remove_job_files(job);
    }
    let repository = call.app.repository(found.project);
    crate::make_pipeline::waiting(move || repository.drop_for_pipeline(found.id)).await??;
    Ok(Reply::Nothing)
}

pub(super) async fn variables(call: Call) -> Done {
    let found = pipeline(&call).await?;
    let all = call.app.store.pipeline_variables(found.id).await?;
    Ok(Reply::Json(all.iter().map(entities::variable).collect()))
}

struct Counts {
    total: usize,
    failed: usize,
    errors: usize,
    skipped: usize,
    seconds: f64,
}

impl Counts {
    fn of(report: &TestReport) -> Self {
        let errors = report.cases.iter().filter(|case| case.status == "error").count();
        Self {
            total: report.total,
            failed: report.failed.saturating_sub(errors),
            errors,
            skipped: report.skipped,
            seconds: report.millis as f64 / 1000.0,
        }
    }

    fn sum(all: &[(String, i64, TestReport)]) -> Self {
        let none = Self { total: 0, failed: 0, errors: 0, skipped: 0, seconds: 0.0 };
        all.iter().map(|(_, _, report)| Self::of(report)).fold(none, |sum, one| Self {
            total: sum.total + one.total,
            failed: sum.failed + one.failed,
            errors: sum.errors + one.errors,
            skipped: sum.skipped + one.skipped,
            seconds: sum.seconds + one.seconds,
        })
    }

    fn show(&self) -> Value {
        json!({
            "total_time": self.seconds,
            "total_count": self.total,
            "success_count": self.total.saturating_sub(self.failed + self.errors + self.skipped),
            "failed_count": self.failed,
            "skipped_count": self.skipped,
            "error_count": self.errors,
        })
    }
}

/// Job name, job and report of each job that has one.
async fn reports(call: &Call) -> Result<Vec<(String, i64, TestReport)>, Failure> {
    let found = pipeline(call).await?;
    let jobs = call.app.store.jobs(found.id, false).await?;
    let reports = call.app.store.test_reports(found.id).await?;
    let name = |id: i64| jobs.iter().find(|job| job.id == id).map(|job| job.name.clone()).unwrap_or_default();
    Ok(reports.into_iter().map(|(job, report)| (name(job), job, report)).collect())
}

pub(super) async fn test_report(call: Call) -> Done {
    if !call.may_see_jobs() {
        return Err(Failure::forbidden());
    }
    let all = reports(&call).await?;
    let suites: Vec<Value> = all
        .iter()
        .map(|(name, _, report)| {
            let mut suite = Counts::of(report).show();
            suite["name"] = name.clone().into();
            suite["suite_error"] = Value::Null;
            let cases = report.cases.iter().map(|case| {
                json!({
                    "status": case.status,
                    "name": case.name,
                    "classname": case.class,
                    "file": (!case.file.is_empty()).then_some(&case.file),
                    "execution_time": case.millis as f64 / 1000.0,
                    "system_output": (!case.message.is_empty()).then_some(&case.message),
                    "stack_trace": null,
                })
            });
            suite["test_cases"] = cases.collect();
            suite
        })
        .collect();
    let mut value = Counts::sum(&all).show();
    value["test_suites"] = suites.into();
    Ok(Reply::Json(value))
}

pub(super) async fn test_report_summary(call: Call) -> Done {
    let all = reports(&call).await?;
    let suites: Vec<Value> = all
        .iter()
        .map(|(name, job, report)| {
            let mut suite = Counts::of(report).show();
            suite["name"] = name.clone().into();
            suite["build_ids"] = json!([job]);
            suite["suite_error"] = Value::Null;
            suite
        })
        .collect();
    let sum = Counts::sum(&all);
    let shown = sum.show();
    Ok(Reply::Json(json!({
        "total": {
            "time": sum.seconds,
            "count": sum.total,
            "success": shown["success_count"],
            "failed": sum.failed,
            "skipped": sum.skipped,
            "error": sum.errors,
            "suite_error": null,
        },
        "test_suites": suites,
    })))
}

/// The pipeline with an id, as in lists; null where the caller may not see its project or it is gone.
pub(super) async fn linked(call: &Call, id: i64) -> Result<Value, Failure> {
    let found = match call.app.store.pipeline(id).await {
        Ok(found) => found,
        Err(DatabaseError::NotFound(_)) => return Ok(Value::Null),
        Err(error) => return Err(error.into()),
    };
    let project = call.app.store.project(found.project).await?;
    match call.caller.level(&call.app, &project).await? {
        Some(_) => Ok(entities::pipeline(&call.app, &project, &found)),
        None => Ok(Value::Null),
    }
}
