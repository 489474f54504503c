//! Hands a pending job to a runner, and takes it back when the runner does not begin (`runner-api.md` §3.4, §3.6). Called by the
//! job request. Projects with fewer jobs at work come first, then older jobs.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::jobs::{begin, drop_job, job};
use crate::matching::{Offer, Wants, WhyPending, missing_feature, refusal, why_pending};
use crate::pipelines::pipeline;
use crate::runners::{RunnerView, runner};
use crate::store::Store;
use crate::token::{TokenKind, token_hash};
use crate::tx::{Tx, params, scalar};
use crate::views::{JobView, PipelineView, json};
use harrier_api::Features;
use harrier_base::{Secret, Variable};
use harrier_pipeline::{JobId, Pipeline, Status, is_environment_name};
use std::collections::HashMap;
use std::sync::Arc;

/// Who asks for a job.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Runner.
    pub runner: i64,
    /// Its manager, which is the machine.
    pub manager: i64,
    /// What it can do.
    pub features: Features,
    /// Until when the job is kept for it before it accepts.
    pub reserve_until: i64,
}

/// A job for a runner, with what its payload is made of.
pub struct Claim {
    /// The job.
    pub job: JobView,
    /// Its token, shown this once.
    pub token: Secret,
    /// Its pipeline.
    pub pipeline: PipelineView,
    /// The compiled pipeline; the job is at `job.position`.
    pub config: Arc<Pipeline>,
    /// Variables of the run.
    pub run: Vec<Variable>,
    /// Variables that were given when it was played.
    pub manual: Vec<Variable>,
    /// From dotenv reports of jobs before it, in order.
    pub dotenv: Vec<(String, String)>,
    /// Jobs whose archives it downloads.
    pub sources: Vec<Source>,
    /// The runner.
    pub runner: RunnerView,
    /// Pending jobs that the runner may take, this one included.
    pub queue: usize,
    /// Other jobs of the project that run on runners of the instance.
    pub on_instance_runners: usize,
}

/// A job whose archive another one downloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Job id.
    pub job: i64,
    /// Job name.
    pub name: String,
    /// Name and bytes of the archive; `None` if there is none.
    pub archive: Option<(String, i64)>,
}

/// Jobs that ask for the same, and how many wait.
struct Class {
    wants: Wants,
    oldest: i64,
    count: usize,
}

impl Store {
    /// The next job for a runner, kept for it; `None` if nothing fits. Jobs that the runner cannot carry out, and those whose
    /// dependencies are gone, or whose environment cannot have its name, fail on the way, as on GitLab.
    pub async fn claim_next(&self, ask: Ask, now: i64) -> Result<Option<Claim>> {
        let (sealer, configs) = (self.sealer(), self.configs());
        self.write(move |tx| {
            let taker = runner(tx, ask.runner)?;
            loop {
                let Some((id, queue)) = choose(tx, &taker.offer)? else { return Ok(None) };
                let found = job(tx, id)?;
                let config = configs.get(tx, found.pipeline)?;
                let compiled = config.jobs.get(found.position).ok_or(DatabaseError::NotFound("job of the file"))?;
                if missing_feature(compiled, &ask.features).is_some() {
                    drop_job(tx, &configs, &found, "runner_unsupported", now)?;
                    continue;
                }
                if found.environment.as_deref().is_some_and(|name| !is_environment_name(name)) {
                    drop_job(tx, &configs, &found, "environment_creation_failure", now)?;
                    continue;
                }
                let Some(sources) = sources(tx, &config, &found)? else {
                    drop_job(tx, &configs, &found, "missing_dependency_failure", now)?;
                    continue;
                };
                let token = TokenKind::Job.make()?;
                let timeout = compiled.timeout.map(|t| i64::try_from(t.as_secs()).unwrap_or(i64::MAX));
                tx.execute(
                    "UPDATE jobs SET runner_id = $1, manager_id = $2, token_hash = $3, reserved_until = $4, graceful = $5, \
                     timeout = $6 WHERE id = $7",
                    params![
                        ask.runner,
                        ask.manager,
                        token_hash(token.expose()),
                        ask.reserve_until,
                        ask.features.cancel_gracefully,
                        timeout,
                        id
                    ],
                )?;
                if !ask.features.two_phase_job_commit {
                    // An older runner runs what it is given; there is no second word (§3.6).
                    begin(tx, &configs, &found, now)?;
                }
                let dotenv = dotenv(tx, &sources, &sealer)?;
                let run: Option<Option<Vec<u8>>> =
                    scalar(tx, "SELECT variables FROM pipelines WHERE id = $1", params![found.pipeline])?;
                let manual: Option<Option<Vec<u8>>> =
                    scalar(tx, "SELECT variables FROM jobs WHERE id = $1", params![id])?;
                let opened = |sealed: Option<Option<Vec<u8>>>| match sealed.flatten() {
                    Some(sealed) => sealer.open_json::<Vec<Variable>>(&sealed),
                    None => Ok(Vec::new()),
                };
                let claim = Claim {
                    job: job(tx, id)?,
                    token,
                    pipeline: pipeline(tx, found.pipeline)?,
                    config: Arc::clone(&config),
                    run: opened(run)?,
                    manual: opened(manual)?,
                    dotenv,
                    sources: sources.into_iter().filter(|s| s.downloads).map(|s| s.source).collect(),
                    runner: taker,
                    queue,
                    on_instance_runners: on_instance_runners(tx, &found)?,
                };
                tx.changed(Change::Runner { runner: ask.runner, offer: false });
                return Ok(Some(claim));
            }
        })
        .await
    }

    /// Seconds the job may run, once the coordinator knows them.
    pub async fn set_timeout(&self, id: i64, seconds: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute("UPDATE jobs SET timeout = $1 WHERE id = $2", params![seconds, id])?;
            Ok(())
        })
        .await
    }

    /// A handed-out job that its runner never got goes back into the queue.
    pub async fn release(&self, id: i64) -> Result<()> {
        self.write(move |tx| {
            let found = job(tx, id)?;
            release(tx, &found)
        })
        .await
    }

    /// Why a job has not begun; `None` if it has. A runner is online if it was heard of since `online_since`.
    pub async fn why_pending(&self, id: i64, online_since: i64) -> Result<Option<WhyPending>> {
        self.read(move |tx| {
            let found = job(tx, id)?;
            Ok(match found.status {
                Status::Pending if found.reserved_until.is_some() => Some(WhyPending::Reserved),
                Status::Pending => {
                    let runners = crate::runners::all(tx)?;
                    let offers: Vec<(Offer, bool)> = runners
                        .into_iter()
                        .map(|r| (r.offer, r.contacted_at.is_some_and(|at| at >= online_since)))
                        .collect();
                    Some(why_pending(&offers, &found.wants()))
                }
                Status::WaitingForResource => found.resource_group.map(WhyPending::Resource),
                Status::Manual => Some(WhyPending::Manual),
                Status::Scheduled => found.due_at.map(WhyPending::Delayed),
                Status::Created
                | Status::Preparing
                | Status::WaitingForCallback
                | Status::Running
                | Status::Success
                | Status::Failed
                | Status::Canceling
                | Status::Canceled
                | Status::Skipped => None,
            })
        })
        .await
    }
}

pub(crate) fn release(tx: &mut dyn Tx, found: &JobView) -> Result<()> {
    let back = tx.execute(
        "UPDATE jobs SET runner_id = NULL, manager_id = NULL, token_hash = NULL, reserved_until = NULL WHERE id = $1 AND \
         status = 'pending' AND reserved_until IS NOT NULL",
        params![found.id],
    )?;
    if back > 0 {
        tx.changed(Change::Queued { wants: found.wants() });
    }
    Ok(())
}

/// The job whose turn it is, and how many the runner may take.
fn choose(tx: &mut dyn Tx, offer: &Offer) -> Result<Option<(i64, usize)>> {
    if offer.paused {
        return Ok(None);
    }
    let rows = tx.query(
        "SELECT project_id, protected, tags, (SELECT shared_runners FROM projects WHERE projects.id = jobs.project_id), \
         MIN(id), COUNT(*) FROM jobs WHERE status = 'pending' AND runner_id IS NULL AND bridge = 0 \
         GROUP BY project_id, protected, tags",
        &[],
    )?;
    let mut fitting: Vec<Class> = Vec::new();
    for mut row in rows {
        let project = row.take()?;
        let protected = row.take()?;
        let tags: String = row.take()?;
        let (tags, instance_runners) = (json(&tags, "a list of tags")?, row.take()?);
        let wants = Wants { project, protected, tags, instance_runners };
        if refusal(offer, &wants).is_none() {
            fitting.push(Class { wants, oldest: row.take()?, count: row.take()? });
        }
    }
    let queue = fitting.iter().map(|class| class.count).sum();
    if fitting.len() > 1 {
        let busy = at_work(tx)?;
        fitting.sort_by_key(|class| (busy.get(&class.wants.project).copied().unwrap_or(0), class.oldest));
    }
    Ok(fitting.first().map(|class| (class.oldest, queue)))
}

/// Other jobs of a job's project that run on runners of the instance.
fn on_instance_runners(tx: &mut dyn Tx, found: &JobView) -> Result<usize> {
    let count: Option<usize> = scalar(
        tx,
        "SELECT COUNT(*) FROM jobs JOIN runners ON runners.id = jobs.runner_id WHERE jobs.project_id = $1 AND jobs.id <> $2 AND \
         jobs.status IN ('running', 'canceling') AND runners.kind = 'instance_type'",
        params![found.project, found.id],
    )?;
    Ok(count.unwrap_or(0))
}

/// Jobs at work by project.
fn at_work(tx: &mut dyn Tx) -> Result<HashMap<i64, usize>> {
    let rows = tx.query(
        "SELECT project_id, COUNT(*) FROM jobs WHERE status IN ('pending', 'running', 'canceling') AND runner_id IS NOT \
         NULL GROUP BY project_id",
        &[],
    )?;
    rows.into_iter().map(|mut row| Ok((row.take()?, row.take()?))).collect()
}

pub(crate) struct Before {
    source: Source,
    downloads: bool,
}

/// The latest jobs whose artifacts and variables a job gets; `None` if one of them was removed before its use.
pub(crate) fn sources(tx: &mut dyn Tx, config: &Pipeline, found: &JobView) -> Result<Option<Vec<Before>>> {
    let mut out = Vec::new();
    for position in config.artifact_sources(JobId(found.position)) {
        let rows = tx.query(
            "SELECT jobs.id, jobs.name, jobs.erased_at, job_artifacts.filename, job_artifacts.size FROM jobs LEFT JOIN \
             job_artifacts ON job_artifacts.job_id = jobs.id AND job_artifacts.kind = 'archive' WHERE jobs.pipeline_id = \
             $1 AND jobs.position = $2 AND jobs.retried = 0",
            params![found.pipeline, position.0],
        )?;
        for mut row in rows {
            let (id, name): (i64, String) = (row.take()?, row.take()?);
            let erased = row.take::<Option<i64>>()?.is_some();
            let (file, size): (Option<String>, Option<i64>) = (row.take()?, row.take()?);
            let archive = file.zip(size);
            if erased {
                return Ok(None);
            }
            let downloads = archive.is_some();
            out.push(Before { source: Source { job: id, name, archive }, downloads });
        }
    }
    Ok(Some(out))
}

pub(crate) fn dotenv(
    tx: &mut dyn Tx,
    sources: &[Before],
    sealer: &crate::seal::Sealer,
) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    for source in sources {
        out.extend(dotenv_of(tx, source.source.job, sealer)?);
    }
    Ok(out)
}

/// The variables of one job's dotenv report, in order.
pub(crate) fn dotenv_of(
    tx: &mut dyn Tx,
    job: i64,
    sealer: &crate::seal::Sealer,
) -> Result<Vec<(String, String)>> {
    let rows =
        tx.query("SELECT key, value FROM job_variables WHERE job_id = $1 ORDER BY position", params![job])?;
    rows.into_iter()
        .map(|mut row| {
            let key = row.take()?;
            Ok((key, sealer.open_text(&row.take::<Vec<u8>>()?)?))
        })
        .collect()
}
