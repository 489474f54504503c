//! Environments (`ci-yaml.md` §22): made by the jobs that name them or by hand, stopped by a job, a person, time or the end of a
//! branch. Called by the API, the pages and the clock; what jobs do to them is in `deployments.rs`.

use crate::deployments::job_deploys;
use crate::drive::Drive;
use crate::error::{DatabaseError, Result};
use crate::jobs::job;
use crate::store::{Configs, Store};
use crate::tx::{Param, Row, Tx, one, params, scalar};
use crate::views::{JobView, Page, PageAt};
use harrier_pipeline::{Event, JobId, Status, environment_slug, environment_tier};
use std::collections::BTreeSet;

/// What an environment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvironmentState {
    /// It may be deployed to, or has been.
    Available,
    /// Its stop jobs were started.
    Stopping,
    /// It was stopped.
    Stopped,
}

impl EnvironmentState {
    /// As GitLab says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    fn read(word: &str) -> Result<Self> {
        let all = [Self::Available, Self::Stopping, Self::Stopped];
        all.into_iter().find(|state| state.word() == word).ok_or_else(|| DatabaseError::Damaged {
            wanted: "the state of an environment",
            found: word.to_owned(),
        })
    }
}

/// An environment. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentView {
    /// Id.
    pub id: i64,
    /// Project.
    pub project: i64,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// `production`, `staging`, …
    pub tier: String,
    /// Where it is to be seen.
    pub external_url: Option<String>,
    /// What it is in.
    pub state: EnvironmentState,
    /// Time stops it then.
    pub auto_stop_at: Option<i64>,
    /// Time stops it only if a job does the stopping.
    pub only_with_action: bool,
    /// Made.
    pub created_at: i64,
    /// Last change.
    pub updated_at: i64,
}

impl EnvironmentView {
    const COLUMNS: &str = "id, project_id, name, description, tier, external_url, state, auto_stop_at, only_with_action, \
                           created_at, updated_at";

    fn read(row: &mut Row) -> Result<Self> {
        let (id, project, name): (i64, i64, String) = (row.take()?, row.take()?, row.take()?);
        let description = row.take()?;
        let tier: Option<String> = row.take()?;
        Ok(Self {
            id,
            project,
            description,
            tier: tier.unwrap_or_else(|| environment_tier(&name).to_owned()),
            name,
            external_url: row.take()?,
            state: EnvironmentState::read(&row.take::<String>()?)?,
            auto_stop_at: row.take()?,
            only_with_action: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }

    /// Its name as a part of an address (`CI_ENVIRONMENT_SLUG`).
    pub fn slug(&self) -> String {
        environment_slug(&self.name)
    }
}

/// Which environments to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentFilter {
    /// Named so.
    pub name: Option<String>,
    /// With this in their name, in whatever case.
    pub search: Option<String>,
    /// In one of these; empty for all.
    pub states: Vec<EnvironmentState>,
}

/// An environment made by hand, or what is changed of one: `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentEdit {
    /// What it is for; `Some(None)`: nothing is said of it any more.
    pub description: Option<Option<String>>,
    /// `production`, `staging`, …
    pub tier: Option<String>,
    /// Where it is to be seen.
    pub external_url: Option<Option<String>>,
    /// Time stops it only if a job does the stopping.
    pub only_with_action: Option<bool>,
}

impl Store {
    /// Environments of a project, by name.
    pub async fn environments(
        &self,
        project: i64,
        filter: EnvironmentFilter,
        at: PageAt,
    ) -> Result<Page<EnvironmentView>> {
        self.read(move |tx| {
            let mut sql = "FROM environments WHERE project_id = $1".to_owned();
            let mut given: Vec<Param> = vec![project.into()];
            if let Some(name) = filter.name {
                given.push(name.into());
                sql.push_str(&format!(" AND name = ${}", given.len()));
            }
            if let Some(search) = filter.search {
                let plain =
                    search.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
                given.push(format!("%{plain}%").into());
                sql.push_str(&format!(" AND lower(name) LIKE ${} ESCAPE '\\'", given.len()));
            }
            if !filter.states.is_empty() {
                let words: Vec<String> = filter.states.iter().map(|s| format!("'{}'", s.word())).collect();
                sql.push_str(&format!(" AND state IN ({})", words.join(", ")));
            }
            let total = scalar(tx, &format!("SELECT COUNT(*) {sql}"), &given)?.unwrap_or(0);
            given.push(at.size.into());
            given.push(at.offset().into());
            let (limit, offset) = (given.len() - 1, given.len());
            let columns = EnvironmentView::COLUMNS;
            let rows = tx.query(
                &format!("SELECT {columns} {sql} ORDER BY name LIMIT ${limit} OFFSET ${offset}"),
                &given,
            )?;
            let entries =
                rows.into_iter().map(|mut row| EnvironmentView::read(&mut row)).collect::<Result<_>>()?;
            Ok(Page { entries, total })
        })
        .await
    }

    /// One environment.
    pub async fn environment(&self, id: i64) -> Result<EnvironmentView> {
        self.read(move |tx| environment(tx, id)).await
    }

    /// The number of a project's environment of this name.
    pub async fn environment_named(&self, project: i64, name: &str) -> Result<Option<i64>> {
        let name = name.to_owned();
        self.read(move |tx| named(tx, project, &name)).await
    }

    /// Makes an environment by hand.
    pub async fn create_environment(
        &self,
        project: i64,
        name: String,
        new: EnvironmentEdit,
        now: i64,
    ) -> Result<EnvironmentView> {
        self.write(move |tx| {
            let id: Option<i64> = scalar(
                tx,
                "INSERT INTO environments (project_id, name, description, tier, external_url, state, only_with_action, \
                 created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'available', $6, $7, $8) ON CONFLICT (project_id, name) \
                 DO NOTHING RETURNING id",
                params![
                    project,
                    &name,
                    new.description.flatten(),
                    new.tier,
                    new.external_url.flatten(),
                    new.only_with_action.unwrap_or(false),
                    now,
                    now,
                ],
            )?;
            environment(tx, id.ok_or(DatabaseError::Taken { what: "name", name })?)
        })
        .await
    }

    /// Changes an environment.
    pub async fn edit_environment(
        &self,
        id: i64,
        edit: EnvironmentEdit,
        now: i64,
    ) -> Result<EnvironmentView> {
        self.write(move |tx| {
            let mut set = |column: &str, value: Param| {
                let sql = format!("UPDATE environments SET {column} = $1, updated_at = $2 WHERE id = $3");
                tx.execute(&sql, &[value, now.into(), id.into()])
            };
            if let Some(description) = edit.description {
                set("description", description.into())?;
            }
            if let Some(tier) = edit.tier {
                set("tier", tier.into())?;
            }
            if let Some(url) = edit.external_url {
                set("external_url", url.into())?;
            }
            if let Some(only) = edit.only_with_action {
                set("only_with_action", only.into())?;
            }
            environment(tx, id)
        })
        .await
    }

    /// Removes an environment that is stopped, with what is known of its deployments.
    pub async fn delete_environment(&self, id: i64) -> Result<()> {
        self.write(move |tx| {
            let found = environment(tx, id)?;
            if found.state != EnvironmentState::Stopped {
                return Err(DatabaseError::Conflict {
                    what: format!("environment {}", found.name),
                    is: found.state.word().to_owned(),
                    hint: "stop it before it is removed",
                });
            }
            tx.execute("DELETE FROM environments WHERE id = $1", params![id])?;
            Ok(())
        })
        .await
    }

    /// The jobs that would stop an environment.
    pub async fn stop_jobs(&self, id: i64) -> Result<Vec<JobView>> {
        let configs = self.configs();
        self.read(move |tx| stop_jobs(tx, &configs, id)).await
    }

    /// Stops an environment by its stop jobs, or at once where there are none or with `force`. One that is not available stays as
    /// it is.
    pub async fn stop_environment(
        &self,
        id: i64,
        user: Option<i64>,
        force: bool,
        now: i64,
    ) -> Result<EnvironmentView> {
        let configs = self.configs();
        self.write(move |tx| {
            let found = environment(tx, id)?;
            match force {
                true => stopped(tx, id, now)?,
                false => stop(tx, &configs, &found, user, now)?,
            }
            environment(tx, id)
        })
        .await
    }

    /// A branch is gone: what was deployed from it last, and has a stop job, is stopped.
    pub async fn stop_environments_of(
        &self,
        project: i64,
        branch: &str,
        user: Option<i64>,
        now: i64,
    ) -> Result<Vec<EnvironmentView>> {
        let (configs, branch) = (self.configs(), branch.to_owned());
        self.write(move |tx| {
            let rows = tx.query(
                "SELECT environments.id FROM environments JOIN deployments ON deployments.id = (SELECT MAX(latest.id) FROM \
                 deployments latest WHERE latest.environment_id = environments.id AND latest.status = 'success') WHERE \
                 environments.project_id = $1 AND environments.state = 'available' AND deployments.git_ref = $2 AND \
                 deployments.tag = 0 ORDER BY environments.id",
                params![project, &branch],
            )?;
            let mut out = Vec::new();
            for mut row in rows {
                let found = environment(tx, row.take()?)?;
                if !stop_jobs(tx, &configs, found.id)?.is_empty() {
                    stop(tx, &configs, &found, user, now)?;
                    out.push(environment(tx, found.id)?);
                }
            }
            Ok(out)
        })
        .await
    }

    /// Stops what nobody has deployed to or changed since `before`. Gives how many.
    pub async fn stop_stale_environments(
        &self,
        project: i64,
        before: i64,
        user: Option<i64>,
        now: i64,
    ) -> Result<usize> {
        let configs = self.configs();
        self.write(move |tx| {
            let rows = tx.query(
                "SELECT id FROM environments WHERE project_id = $1 AND state = 'available' AND updated_at < $2 AND NOT EXISTS \
                 (SELECT 1 FROM deployments WHERE deployments.environment_id = environments.id AND deployments.updated_at >= $2) \
                 ORDER BY id",
                params![project, before],
            )?;
            let count = rows.len();
            for mut row in rows {
                let found = environment(tx, row.take()?)?;
                stop(tx, &configs, &found, user, now)?;
            }
            Ok(count)
        })
        .await
    }
}

pub(crate) fn environment(tx: &mut dyn Tx, id: i64) -> Result<EnvironmentView> {
    let sql = format!("SELECT {} FROM environments WHERE id = $1", EnvironmentView::COLUMNS);
    let mut row = one(tx, &sql, params![id])?.ok_or(DatabaseError::NotFound("environment"))?;
    EnvironmentView::read(&mut row)
}

pub(crate) fn named(tx: &mut dyn Tx, project: i64, name: &str) -> Result<Option<i64>> {
    scalar(tx, "SELECT id FROM environments WHERE project_id = $1 AND name = $2", params![project, name])
}

/// Stops those whose time is over.
pub(crate) fn stop_overdue(tx: &mut dyn Tx, configs: &Configs, now: i64) -> Result<()> {
    let rows = tx.query(
        "SELECT id FROM environments WHERE state = 'available' AND auto_stop_at <= $1 ORDER BY id",
        params![now],
    )?;
    for mut row in rows {
        let found = environment(tx, row.take()?)?;
        // It is over once: a stop job that fails is not started again and again.
        tx.execute("UPDATE environments SET auto_stop_at = NULL WHERE id = $1", params![found.id])?;
        if !found.only_with_action || !stop_jobs(tx, configs, found.id)?.is_empty() {
            stop(tx, configs, &found, None, now)?;
        }
    }
    Ok(())
}

fn stop(
    tx: &mut dyn Tx,
    configs: &Configs,
    found: &EnvironmentView,
    user: Option<i64>,
    now: i64,
) -> Result<()> {
    if found.state != EnvironmentState::Available {
        return Ok(());
    }
    let jobs = stop_jobs(tx, configs, found.id)?;
    if jobs.is_empty() {
        return stopped(tx, found.id, now);
    }
    tx.execute(
        "UPDATE environments SET state = 'stopping', updated_at = $1 WHERE id = $2",
        params![now, found.id],
    )?;
    for one in jobs {
        let position = JobId(one.position);
        let event = match one.status {
            Status::Manual | Status::Scheduled => Event::Play(position),
            Status::Success | Status::Failed | Status::Canceled => Event::Retry(position),
            // It is on its way.
            Status::Pending
            | Status::Running
            | Status::Created
            | Status::WaitingForResource
            | Status::Preparing
            | Status::WaitingForCallback
            | Status::Canceling
            | Status::Skipped => continue,
        };
        tx.execute("UPDATE jobs SET played_by = $1 WHERE id = $2", params![user, one.id])?;
        Drive::load(tx, configs, one.pipeline, now)?.feed([event])?;
    }
    Ok(())
}

fn stopped(tx: &mut dyn Tx, id: i64, now: i64) -> Result<()> {
    tx.execute(
        "UPDATE environments SET state = 'stopped', auto_stop_at = NULL, updated_at = $1 WHERE id = $2 AND state <> 'stopped'",
        params![now, id],
    )?;
    Ok(())
}

/// The jobs that the last pipeline which has deployed here names with `on_stop`: those that can be started, or are at it.
fn stop_jobs(tx: &mut dyn Tx, configs: &Configs, id: i64) -> Result<Vec<JobView>> {
    const ENDED: &str =
        "deployments.environment_id = $1 AND deployments.status IN ('success', 'failed', 'canceled')";
    let pipeline: Option<i64> = scalar(
        tx,
        &format!(
            "SELECT jobs.pipeline_id FROM deployments JOIN jobs ON jobs.id = deployments.job_id WHERE {ENDED} ORDER BY \
             deployments.id DESC LIMIT 1"
        ),
        params![id],
    )?;
    let Some(pipeline) = pipeline else { return Ok(Vec::new()) };
    let rows = tx.query(
        &format!(
            "SELECT jobs.position, jobs.environment FROM deployments JOIN jobs ON jobs.id = deployments.job_id WHERE {ENDED} \
             AND jobs.pipeline_id = $2"
        ),
        params![id, pipeline],
    )?;
    let config = configs.get(tx, pipeline)?;
    let mut names: BTreeSet<(&str, String)> = BTreeSet::new();
    for mut row in rows {
        let (position, environment): (usize, Option<String>) = (row.take()?, row.take()?);
        let given = config.jobs.get(position).and_then(|job| job.environment.as_ref());
        let on_stop = given.and_then(|given| given.on_stop.as_deref());
        names.extend(on_stop.zip(environment));
    }
    let mut out = Vec::new();
    for (name, environment) in names {
        let found: Option<i64> = scalar(
            tx,
            "SELECT id FROM jobs WHERE pipeline_id = $1 AND name = $2 AND environment = $3 AND retried = 0",
            params![pipeline, name, environment],
        )?;
        let Some(found) = found else { continue };
        let found = job(tx, found)?;
        let by_hand = matches!(found.when.as_str(), "manual" | "delayed");
        let stops = config.jobs.get(found.position).is_some_and(|job| !job_deploys(job));
        let takes = match found.status {
            Status::Manual | Status::Scheduled => true,
            Status::Success | Status::Failed | Status::Canceled => by_hand,
            Status::Pending
            | Status::Running
            | Status::WaitingForResource
            | Status::Preparing
            | Status::WaitingForCallback
            | Status::Canceling => true,
            Status::Created | Status::Skipped => false,
        };
        if stops && takes {
            out.push(found);
        }
    }
    Ok(out)
}
