//! Deployments: one for each job that deploys to an environment, with the job's status (`ci-yaml.md` §22). Written in the
//! transaction that changes the job, so that none says what its job does not; read by the API and the pages.

use crate::change::Change;
use crate::environments::named;
use crate::error::{DatabaseError, Result};
use crate::pipelines::pipeline;
use crate::store::Store;
use crate::tx::{Param, Row, Tx, one, params, scalar};
use crate::views::{JobView, Page, PageAt, PipelineView, status};
use harrier_base::Variable;
use harrier_pipeline::environment_url::web_address;
use harrier_pipeline::{
    ENVIRONMENT_TIERS, Environment, EnvironmentAction, Job, Pipeline, Status, is_environment_name,
    parse_duration,
};
use std::sync::Arc;

/// A deployment. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentView {
    /// Id.
    pub id: i64,
    /// Number within the project.
    pub iid: i64,
    /// Project.
    pub project: i64,
    /// Environment.
    pub environment: i64,
    /// The job; `None`: it was removed with its pipeline.
    pub job: Option<i64>,
    /// Commit.
    pub sha: String,
    /// Branch or tag.
    pub git_ref: String,
    /// The ref is a tag.
    pub tag: bool,
    /// Who deployed.
    pub user: Option<i64>,
    /// `created`, `running`, `success`, `failed`, `canceled` or `skipped`.
    pub status: Status,
    /// Made.
    pub created_at: i64,
    /// Last change.
    pub updated_at: i64,
    /// Ended.
    pub finished_at: Option<i64>,
}

impl DeploymentView {
    const COLUMNS: &str = "deployments.id, deployments.iid, deployments.project_id, deployments.environment_id, \
        deployments.job_id, deployments.sha, deployments.git_ref, deployments.tag, deployments.user_id, \
        deployments.status, deployments.created_at, deployments.updated_at, deployments.finished_at";

    fn read(row: &mut Row) -> Result<Self> {
        Ok(Self {
            id: row.take()?,
            iid: row.take()?,
            project: row.take()?,
            environment: row.take()?,
            job: row.take()?,
            sha: row.take()?,
            git_ref: row.take()?,
            tag: row.take()?,
            user: row.take()?,
            status: status(&row.take::<String>()?)?,
            created_at: row.take()?,
            updated_at: row.take()?,
            finished_at: row.take()?,
        })
    }
}

/// Which deployments to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentFilter {
    /// To this environment.
    pub environment: Option<i64>,
    /// To the environment of this name.
    pub environment_name: Option<String>,
    /// With this status.
    pub status: Option<Status>,
    /// Changed after that.
    pub updated_after: Option<i64>,
    /// Changed before that.
    pub updated_before: Option<i64>,
    /// Ended after that.
    pub finished_after: Option<i64>,
    /// Ended before that.
    pub finished_before: Option<i64>,
    /// In which order.
    pub order: DeploymentOrder,
    /// The newest, or the greatest, first.
    pub descending: bool,
}

/// In which order deployments are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeploymentOrder {
    /// Of their making.
    #[default]
    Made,
    /// Of their last change.
    Changed,
    /// Of their end.
    Ended,
    /// By ref.
    Ref,
}

impl DeploymentOrder {
    fn column(self) -> &'static str {
        match self {
            Self::Made => "deployments.id",
            Self::Changed => "deployments.updated_at",
            Self::Ended => "deployments.finished_at",
            Self::Ref => "deployments.git_ref",
        }
    }
}

/// A job that deploys, with what the address of its environment is made of.
pub struct DeployingJob {
    /// Its pipeline.
    pub pipeline: PipelineView,
    /// The compiled pipeline; the job is at its position.
    pub config: Arc<Pipeline>,
    /// Variables of the run.
    pub run: Vec<Variable>,
    /// Variables that were given when it was played.
    pub manual: Vec<Variable>,
    /// From dotenv reports of jobs before it, then from its own.
    pub dotenv: Vec<(String, String)>,
}

impl Store {
    /// Deployments of a project.
    pub async fn deployments(
        &self,
        project: i64,
        filter: DeploymentFilter,
        at: PageAt,
    ) -> Result<Page<DeploymentView>> {
        self.read(move |tx| {
            let mut sql = "FROM deployments WHERE deployments.project_id = $1".to_owned();
            let mut given: Vec<Param> = vec![project.into()];
            let conditions: [(&str, Option<Param>); 7] = [
                ("deployments.environment_id =", filter.environment.map(Into::into)),
                (
                    "(SELECT name FROM environments WHERE environments.id = deployments.environment_id) =",
                    filter.environment_name.map(Into::into),
                ),
                ("deployments.status =", filter.status.map(|status| status.word().into())),
                ("deployments.updated_at >", filter.updated_after.map(Into::into)),
                ("deployments.updated_at <", filter.updated_before.map(Into::into)),
                ("deployments.finished_at >", filter.finished_after.map(Into::into)),
                ("deployments.finished_at <", filter.finished_before.map(Into::into)),
            ];
            for (condition, wanted) in conditions {
                if let Some(wanted) = wanted {
                    given.push(wanted);
                    sql.push_str(&format!(" AND {condition} ${}", given.len()));
                }
            }
            let total = scalar(tx, &format!("SELECT COUNT(*) {sql}"), &given)?.unwrap_or(0);
            given.push(at.size.into());
            given.push(at.offset().into());
            let (limit, offset) = (given.len() - 1, given.len());
            let way = if filter.descending { "DESC" } else { "ASC" };
            let rows = tx.query(
                &format!(
                    "SELECT {} {sql} ORDER BY {} {way}, deployments.id {way} LIMIT ${limit} OFFSET ${offset}",
                    DeploymentView::COLUMNS,
                    filter.order.column()
                ),
                &given,
            )?;
            let entries =
                rows.into_iter().map(|mut row| DeploymentView::read(&mut row)).collect::<Result<_>>()?;
            Ok(Page { entries, total })
        })
        .await
    }

    /// One deployment.
    pub async fn deployment(&self, id: i64) -> Result<DeploymentView> {
        self.read(move |tx| {
            let sql = format!("SELECT {} FROM deployments WHERE id = $1", DeploymentView::COLUMNS);
            let mut row = one(tx, &sql, params![id])?.ok_or(DatabaseError::NotFound("deployment"))?;
            DeploymentView::read(&mut row)
        })
        .await
    }

    /// The last deployment to an environment that succeeded: what is there now.
    pub async fn latest_deployment(&self, environment: i64) -> Result<Option<DeploymentView>> {
        self.read(move |tx| {
            let sql = format!(
                "SELECT {} FROM deployments WHERE environment_id = $1 AND status = 'success' ORDER BY id DESC LIMIT 1",
                DeploymentView::COLUMNS
            );
            one(tx, &sql, params![environment])?.map(|mut row| DeploymentView::read(&mut row)).transpose()
        })
        .await
    }

    /// What the address of a job's environment is made of.
    pub async fn deploying_job(&self, job: &JobView) -> Result<DeployingJob> {
        let (sealer, configs, job) = (self.sealer(), self.configs(), job.clone());
        self.read(move |tx| {
            let config = configs.get(tx, job.pipeline)?;
            let mut opened = |sql: &str, id: i64| -> Result<Vec<Variable>> {
                match scalar::<Option<Vec<u8>>>(tx, sql, params![id])?.flatten() {
                    Some(sealed) => sealer.open_json(&sealed),
                    None => Ok(Vec::new()),
                }
            };
            let run = opened("SELECT variables FROM pipelines WHERE id = $1", job.pipeline)?;
            let manual = opened("SELECT variables FROM jobs WHERE id = $1", job.id)?;
            let before = crate::claim::sources(tx, &config, &job)?.unwrap_or_default();
            let mut dotenv = crate::claim::dotenv(tx, &before, &sealer)?;
            dotenv.extend(crate::claim::dotenv_of(tx, job.id, &sealer)?);
            Ok(DeployingJob { pipeline: pipeline(tx, job.pipeline)?, config, run, manual, dotenv })
        })
        .await
    }

    /// Where the environment of a job is to be seen once the job has passed.
    pub async fn set_deployment_url(&self, job: i64, url: String) -> Result<()> {
        self.write(move |tx| {
            tx.execute("UPDATE deployments SET url = $1 WHERE job_id = $2", params![url, job])?;
            Ok(())
        })
        .await
    }
}

/// Whether a job makes a deployment.
pub(crate) fn job_deploys(job: &Job) -> bool {
    job.environment.as_ref().is_some_and(|given| given.action == EnvironmentAction::Start)
}

/// A job that names an environment. `name` is the expanded one.
pub(crate) struct Deploys<'a> {
    pub project: i64,
    pub job: i64,
    pub name: &'a str,
    pub given: &'a Environment,
}

impl Deploys<'_> {
    /// The job is new: its environment is there from now on, and its deployment. A name that no environment can have makes neither;
    /// such a job is not handed out.
    pub fn made(&self, tx: &mut dyn Tx, now: i64) -> Result<()> {
        if !is_environment_name(self.name) {
            return Ok(());
        }
        let stops_at = self.auto_stop(now).flatten();
        let new = tx.execute(
            "INSERT INTO environments (project_id, name, tier, state, auto_stop_at, created_at, updated_at) VALUES ($1, $2, $3, \
             'available', $4, $5, $6) ON CONFLICT (project_id, name) DO NOTHING",
            params![self.project, self.name, self.tier(), stops_at, now, now],
        )?;
        if new > 0 && stops_at.is_some() {
            tx.changed(Change::Due);
        }
        if self.given.action != EnvironmentAction::Start {
            return Ok(());
        }
        let Some(environment) = named(tx, self.project, self.name)? else { return Ok(()) };
        let commit = one(
            tx,
            "SELECT pipelines.sha, pipelines.git_ref, pipelines.tag, COALESCE(jobs.played_by, pipelines.user_id) FROM jobs JOIN \
             pipelines ON pipelines.id = jobs.pipeline_id WHERE jobs.id = $1",
            params![self.job],
        )?;
        let Some(mut commit) = commit else { return Ok(()) };
        let (sha, git_ref, tag): (String, String, bool) = (commit.take()?, commit.take()?, commit.take()?);
        let user: Option<i64> = commit.take()?;
        tx.execute(
            "INSERT INTO deployments (iid, project_id, environment_id, job_id, sha, git_ref, tag, user_id, status, created_at, \
             updated_at) VALUES ((SELECT COALESCE(MAX(iid), 0) + 1 FROM deployments WHERE project_id = $1), $2, $3, $4, $5, $6, \
             $7, $8, 'created', $9, $10)",
            params![self.project, self.project, environment, self.job, sha, git_ref, tag, user, now, now],
        )?;
        Ok(())
    }

    /// The job has a new status.
    pub fn became(&self, tx: &mut dyn Tx, job: Status, now: i64) -> Result<()> {
        let deploys = self.given.action == EnvironmentAction::Start;
        if deploys {
            let (status, finished) = of_job(job);
            tx.execute(
                "UPDATE deployments SET status = $1, updated_at = $2, finished_at = $3, user_id = COALESCE((SELECT played_by \
                 FROM jobs WHERE jobs.id = deployments.job_id), user_id) WHERE job_id = $4 AND status <> $1",
                params![status.word(), now, finished.then_some(now), self.job],
            )?;
        }
        let Some(environment) = named(tx, self.project, self.name)? else { return Ok(()) };
        match (self.given.action, job) {
            (EnvironmentAction::Start, Status::Success) => {
                let left: Option<Option<String>> =
                    scalar(tx, "SELECT url FROM deployments WHERE job_id = $1", params![self.job])?;
                let written = self.given.url.as_deref().filter(|url| !url.contains(['$', '%']));
                let url = left.flatten().or_else(|| web_address(written?));
                tx.execute(
                    "UPDATE environments SET state = 'available', external_url = COALESCE($1, external_url), tier = \
                     COALESCE($2, tier), updated_at = $3 WHERE id = $4",
                    params![url, self.tier(), now, environment],
                )?;
                self.put_off(tx, environment, now)?;
            }
            (EnvironmentAction::Prepare | EnvironmentAction::Access, Status::Success) => {
                self.put_off(tx, environment, now)?;
            }
            (EnvironmentAction::Stop, Status::Success) => {
                tx.execute(
                    "UPDATE environments SET state = 'stopped', auto_stop_at = NULL, updated_at = $1 WHERE id = $2 AND state <> \
                     'stopped'",
                    params![now, environment],
                )?;
            }
            (EnvironmentAction::Stop, Status::Failed | Status::Canceled) => {
                tx.execute(
                    "UPDATE environments SET state = 'available', updated_at = $1 WHERE id = $2 AND state = 'stopping'",
                    params![now, environment],
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The time at which it stops by itself is counted from now.
    fn put_off(&self, tx: &mut dyn Tx, environment: i64, now: i64) -> Result<()> {
        let Some(at) = self.auto_stop(now) else { return Ok(()) };
        tx.execute("UPDATE environments SET auto_stop_at = $1 WHERE id = $2", params![at, environment])?;
        tx.changed(Change::Due);
        Ok(())
    }

    /// `auto_stop_in`: `None` says nothing of it, `Some(None)` never.
    fn auto_stop(&self, now: i64) -> Option<Option<i64>> {
        let written = self.given.auto_stop_in.as_deref()?;
        if written.trim().eq_ignore_ascii_case("never") {
            return Some(None);
        }
        let after = i64::try_from(parse_duration(written)?.as_millis()).unwrap_or(i64::MAX);
        Some(Some(now.saturating_add(after)))
    }

    fn tier(&self) -> Option<&str> {
        self.given.deployment_tier.as_deref().filter(|tier| ENVIRONMENT_TIERS.contains(tier))
    }
}

/// What a deployment is when its job is that, and whether that is an end.
fn of_job(job: Status) -> (Status, bool) {
    match job {
        Status::Running | Status::Canceling => (Status::Running, false),
        Status::Success | Status::Failed | Status::Canceled => (job, true),
        Status::Skipped => (Status::Skipped, false),
        Status::Created
        | Status::Pending
        | Status::Manual
        | Status::WaitingForResource
        | Status::Preparing
        | Status::WaitingForCallback
        | Status::Scheduled => (Status::Created, false),
    }
}
