//! Pipelines: lists, one with its jobs, its tests, charts; started, retried, cancelled and deleted by a person.

use super::visit::{Failure, Shown, Visit, beside, go, html};
use crate::ci_variable::{is_key, key_values};
use crate::make_pipeline::waiting;
use crate::start::{StartRequest, start};
use harrier_base::Variable;
use harrier_database::{JobView, PageAt, PipelineFilter, PipelineView, WhyPending};
use harrier_pages::{
    ChartsPage, Day, DownstreamRow, GraphOrder, JobCell, NewPipelinePage, PipelinePage, PipelinePoint,
    PipelineRow, PipelinesPage, StageColumn, TestCase, TestReportPage, TestSuite, TestVerdict, Why,
    charts_page, new_pipeline_page, pipeline_page, pipelines_page, test_report_page,
};
use harrier_pipeline::{JobId, Pipeline, Status, StatusSet};
use std::collections::{BTreeMap, HashMap};

const PER_PAGE: usize = 20;

/// Milliseconds since a machine was heard of, after which it is offline.
pub(crate) const OFFLINE: i64 = 120_000;

/// A pipeline as a row of a list.
pub(super) async fn row(
    visit: &Visit,
    pipeline: PipelineView,
    names: &HashMap<i64, String>,
) -> Result<PipelineRow, Failure> {
    let jobs = visit.app.store.jobs(pipeline.id, false).await?;
    Ok(row_of(visit, &pipeline, &jobs, names))
}

fn row_of(
    visit: &Visit,
    pipeline: &PipelineView,
    jobs: &[JobView],
    names: &HashMap<i64, String>,
) -> PipelineRow {
    let mut stages: Vec<(String, StatusSet)> = Vec::new();
    for job in jobs {
        let at = stages.iter().position(|(name, _)| *name == job.stage).unwrap_or_else(|| {
            stages.push((job.stage.clone(), StatusSet::default()));
            stages.len() - 1
        });
        stages[at].1.add(job.status, job.allowed);
    }
    let end = pipeline.finished_at.unwrap_or(visit.now);
    PipelineRow {
        id: pipeline.id,
        status: pipeline.status,
        warning: pipeline.warnings,
        title: pipeline.name.clone().unwrap_or_else(|| pipeline.title.clone()),
        git_ref: match &pipeline.facts.merge_request {
            Some(request) => format!("!{} {}", request.iid, pipeline.facts.commit.git_ref),
            None => pipeline.git_ref.clone(),
        },
        sha: pipeline.sha.clone(),
        source: pipeline.source.clone(),
        user: pipeline.user.and_then(|user| names.get(&user).cloned()),
        created: pipeline.created_at,
        duration: pipeline.started_at.map(|started| end - started),
        stages: stages
            .into_iter()
            .map(|(name, set)| {
                let status = set.composite(false).unwrap_or(Status::Created);
                (name, status, set.has_warnings())
            })
            .collect(),
    }
}

/// The mean of the jobs' coverage, as GitLab shows it for a pipeline.
pub(super) fn coverage(jobs: &[JobView]) -> Option<f64> {
    let found: Vec<f64> = jobs.iter().filter_map(|job| job.coverage.as_deref()?.parse().ok()).collect();
    if found.is_empty() { None } else { Some(found.iter().sum::<f64>() / found.len() as f64) }
}

/// Why a job is where it is, as the page tells it.
pub(super) async fn why(
    visit: &Visit,
    job: &JobView,
    all: &[JobView],
    config: &Pipeline,
) -> Result<Option<Why>, Failure> {
    // The jobs it waits for, as the scheduler sees them.
    let before = || {
        let positions = config.waits_for(JobId(job.position));
        all.iter().filter(move |other| {
            !other.retried && positions.iter().any(|position| position.0 == other.position)
        })
    };
    let names = |jobs: Vec<&JobView>| jobs.into_iter().map(|job| job.name.clone()).collect::<Vec<String>>();
    let told = |names: Vec<String>, why: fn(Vec<String>) -> Why| (!names.is_empty()).then(|| why(names));
    match job.status {
        Status::Failed => {
            return Ok(job.failure_reason.as_deref().map(|reason| Why::Failed(reason.to_owned())));
        }
        Status::Created => {
            return Ok(told(
                names(before().filter(|job| !job.status.is_complete()).collect()),
                Why::WaitsFor,
            ));
        }
        Status::Skipped => {
            let bad =
                |job: &&JobView| !job.allowed && !matches!(job.status, Status::Success | Status::Manual);
            return Ok(told(names(before().filter(bad).collect()), Why::EarlierFailed));
        }
        _ => {}
    }
    let why = visit.app.store.why_pending(job.id, visit.now - OFFLINE).await?;
    Ok(why.map(|why| match why {
        WhyPending::Turn | WhyPending::Reserved => Why::RunnersBusy,
        WhyPending::NoRunner | WhyPending::Offline => Why::NoRunnerOnline,
        WhyPending::InstanceRunnersOff => Why::NoRunnerOfItsOwn,
        WhyPending::NoTag(tag) => Why::NoRunnerHasTags(vec![tag]),
        WhyPending::NoTagSet(tags) => Why::NoRunnerHasTags(tags),
        WhyPending::Untagged => Why::NoRunnerTakesUntagged,
        WhyPending::NotProtected => Why::OnlyProtectedRefs,
        WhyPending::Paused => Why::RunnersPaused,
        WhyPending::Resource(group) => Why::ResourceGroup(group),
        WhyPending::Manual => Why::NeedsAPerson,
        WhyPending::Delayed(at) => Why::DelayedUntil(at),
    }))
}

pub(super) async fn list(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let asked = |key: &str| Some(visit.asked(key).to_owned()).filter(|text| !text.is_empty());
    let filter =
        PipelineFilter { git_ref: asked("ref"), status: asked("status"), ..PipelineFilter::default() };
    let at = visit.page_at(PER_PAGE);
    let found = visit.app.store.pipelines(project.id, filter.clone(), at).await?;
    let names = visit.names().await?;
    let mut rows = Vec::new();
    for pipeline in found.entries {
        rows.push(row(&visit, pipeline, &names).await?);
    }
    let kept = [("ref", &filter.git_ref), ("status", &filter.status)];
    let kept: Vec<(&str, &str)> =
        kept.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
    let mut page = visit.page();
    page.events = (at.number == 1).then(|| format!("/{}/-/events", project.path));
    let shown = PipelinesPage {
        rows,
        beside: beside(at, found.total, &kept),
        git_ref: filter.git_ref.clone().unwrap_or_default(),
        status: filter.status.clone().unwrap_or_default(),
        may_run: visit.may_develop(),
        project: project.path,
    };
    Ok(html(pipelines_page(&page, &shown)))
}

/// The pipeline of a route, if it is of its project.
pub(super) async fn pipeline(visit: &Visit) -> Result<PipelineView, Failure> {
    let found = visit.app.store.pipeline(visit.id(0)?).await?;
    if found.project == visit.project()?.id { Ok(found) } else { Err(Failure::NotFound) }
}

pub(super) async fn one(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let found = pipeline(&visit).await?;
    let jobs = visit.app.store.jobs(found.id, false).await?;
    let names = visit.names().await?;
    let config = visit.app.store.config(found.id).await?;
    let may_run = visit.may_run(&found);
    let mut stages: Vec<StageColumn> = Vec::new();
    for job in &jobs {
        if stages.last().is_none_or(|stage| stage.name != job.stage)
            && !stages.iter().any(|stage| stage.name == job.stage)
        {
            stages.push(StageColumn { name: job.stage.clone(), jobs: Vec::new() });
        }
        let tells =
            !matches!(job.status, Status::Success | Status::Running | Status::Canceled | Status::Canceling);
        let why = if tells { why(&visit, job, &jobs, &config).await? } else { None };
        let needs = config.jobs.get(job.position).and_then(|job| job.needs.as_ref());
        let cell = JobCell {
            id: job.id,
            name: job.name.clone(),
            status: job.status,
            allowed: job.allowed,
            duration: job.started_at.map(|started| job.finished_at.unwrap_or(visit.now) - started),
            why: why.map(|why| why.text(visit.language())),
            may_play: may_run && matches!(job.status, Status::Manual | Status::Scheduled),
            may_retry: may_run && matches!(job.status, Status::Success | Status::Failed | Status::Canceled),
            may_cancel: may_run && !job.status.is_complete() && job.status != Status::Canceling,
            needs: needs.into_iter().flatten().map(|need| need.name.clone()).collect(),
        };
        if let Some(stage) = stages.iter_mut().find(|stage| stage.name == job.stage) {
            stage.jobs.push(cell);
        }
    }
    let reports = visit.app.store.test_reports(found.id).await?;
    let tests = reports
        .iter()
        .fold((0, 0), |(total, failed), (_, report)| (total + report.total, failed + report.failed));
    let row = row_of(&visit, &found, &jobs, &names);
    let mut page = visit.page();
    page.events = Some(format!("/{}/-/events?pipeline={}", project.path, found.id));
    let message = |error: bool| {
        found
            .messages
            .iter()
            .filter(|message| message.error == error)
            .map(|message| message.shown.clone())
            .collect()
    };
    let shown = PipelinePage {
        project: project.path.clone(),
        stages,
        errors: message(true),
        warnings: message(false),
        left_out: found.left_out.clone(),
        downstream: family(&visit, &project.path, &visit.app.store.children(found.id).await?).await?,
        upstream: match found.parent {
            Some(parent) => family(&visit, &project.path, &[parent]).await?.pop(),
            None => None,
        },
        tests: (!reports.is_empty()).then_some((tests.0 as u64, tests.1 as u64)),
        coverage: coverage(&jobs),
        may_retry: may_run && jobs.iter().any(|job| matches!(job.status, Status::Failed | Status::Canceled)),
        may_cancel: may_run && jobs.iter().any(|job| !job.status.is_complete()),
        may_delete: visit.level() == Some(harrier_database::AccessLevel::Owner),
        order: if visit.asked("graph") == "needs" { GraphOrder::Needs } else { GraphOrder::Stages },
        row,
    };
    Ok(html(pipeline_page(&page, &shown)))
}

/// Parents and children.
async fn family(visit: &Visit, project: &str, found: &[i64]) -> Result<Vec<DownstreamRow>, Failure> {
    let mut rows = Vec::new();
    for id in found {
        let pipeline = visit.app.store.pipeline(*id).await?;
        let of = visit.app.store.project(pipeline.project).await?;
        // What another project does is for those who may see it.
        if of.path != project && visit.caller.level(&visit.app, &of).await?.is_none() {
            continue;
        }
        let name = pipeline.name.unwrap_or(pipeline.title);
        rows.push(DownstreamRow { bridge: name, project: of.path, id: *id, status: pipeline.status });
    }
    Ok(rows)
}

pub(super) async fn tests(visit: Visit) -> Shown {
    let found = pipeline(&visit).await?;
    if !visit.may_see_jobs() {
        return Err(Failure::Forbidden);
    }
    let mut suites = Vec::new();
    for (job, report) in visit.app.store.test_reports(found.id).await? {
        let cases = report.cases.into_iter().map(|case| TestCase {
            class: if case.class.is_empty() { case.suite } else { case.class },
            name: case.name,
            verdict: match case.status.as_str() {
                "failed" => TestVerdict::Failed,
                "error" => TestVerdict::Error,
                "skipped" => TestVerdict::Skipped,
                _ => TestVerdict::Passed,
            },
            seconds: case.millis as f64 / 1000.0,
            output: Some(case.message).filter(|text| !text.is_empty()),
        });
        suites.push(TestSuite {
            job: visit.app.store.job(job).await?.name,
            cases: cases.collect(),
            error: None,
        });
    }
    let shown = TestReportPage { project: visit.project()?.path.clone(), pipeline: found.id, suites };
    Ok(html(test_report_page(&visit.page(), &shown)))
}

pub(super) async fn charts(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let found = visit
        .app
        .store
        .pipelines(project.id, PipelineFilter::default(), PageAt { number: 1, size: 400 })
        .await?;
    let mut days: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    let mut points = Vec::new();
    for pipeline in found.entries.iter().rev().filter(|pipeline| pipeline.status.is_complete()) {
        let at =
            jiff::Timestamp::from_millisecond(pipeline.created_at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let day = days.entry(at.to_string().chars().take(10).collect()).or_default();
        match pipeline.status {
            Status::Success => day.0 += 1,
            Status::Failed => day.1 += 1,
            _ => day.2 += 1,
        }
        if let (Some(started), Some(finished)) = (pipeline.started_at, pipeline.finished_at) {
            points.push(PipelinePoint {
                id: pipeline.id,
                status: pipeline.status,
                duration: finished - started,
            });
        }
    }
    let skip = |all: usize, shown: usize| all.saturating_sub(shown);
    let shown = ChartsPage {
        project: project.path,
        pipelines: points.split_off(skip(points.len(), 100)),
        days: days
            .into_iter()
            .map(|(date, (passed, failed, other))| Day { date, passed, failed, other })
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .take(30)
            .rev()
            .collect(),
    };
    Ok(html(charts_page(&visit.page(), &shown)))
}

pub(super) async fn new(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let git_ref = match visit.asked("ref") {
        "" => project.default_branch.clone(),
        git_ref => git_ref.to_owned(),
    };
    let shown = NewPipelinePage {
        refs: names_of_refs(&visit, project.id).await?,
        project: project.path,
        git_ref,
        variables: String::new(),
        described: Vec::new(),
    };
    Ok(html(new_pipeline_page(&visit.page(), &shown)))
}

/// Branches and tags by their short names.
async fn names_of_refs(visit: &Visit, project: i64) -> Result<Vec<String>, Failure> {
    let repository = visit.app.repository(project);
    let refs = waiting(move || repository.refs()).await.map_err(crate::answer::Refusal::from)?;
    let short = |name: &str| name.splitn(3, '/').nth(2).unwrap_or_default().to_owned();
    Ok(refs.unwrap_or_default().iter().map(|(name, _)| short(name)).collect())
}

pub(super) async fn create(visit: Visit) -> Shown {
    let project = visit.project()?.clone();
    let git_ref = visit.required("ref")?;
    let mut given = key_values(visit.sent("variables")).map_err(Failure::Bad)?;
    let named = visit
        .form
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("variable:")?.to_owned(), value.clone())));
    given.extend(named.filter(|(key, _)| is_key(key)));
    let variables =
        given.into_iter().map(|(key, value)| Variable { key, value, ..Variable::default() }).collect();
    let user = visit.user()?.clone();
    let request = StartRequest { git_ref, variables, source: "web", user, level: visit.level() };
    let made = start(&visit.app, &project, request).await?;
    Ok(go(&format!("/{}/-/pipelines/{}", project.path, made.id)))
}

async fn change(visit: &Visit) -> Result<PipelineView, Failure> {
    let found = pipeline(visit).await?;
    if visit.may_run(&found) { Ok(found) } else { Err(Failure::Forbidden) }
}

fn back(visit: &Visit, pipeline: i64) -> Shown {
    Ok(go(&format!("/{}/-/pipelines/{pipeline}", visit.project()?.path)))
}

pub(super) async fn retry(visit: Visit) -> Shown {
    let found = change(&visit).await?;
    visit.app.store.retry_pipeline(found.id, Some(visit.user()?.id), visit.now).await?;
    back(&visit, found.id)
}

pub(super) async fn cancel(visit: Visit) -> Shown {
    let found = change(&visit).await?;
    visit.app.store.cancel_pipeline(found.id, false, visit.now).await?;
    back(&visit, found.id)
}

pub(super) async fn delete(visit: Visit) -> Shown {
    let found = pipeline(&visit).await?;
    for job in visit.app.store.delete_pipeline(found.id).await? {
        visit.app.remove_job_files(job);
    }
    Ok(go(&format!("/{}/-/pipelines", visit.project()?.path)))
}
