//! Environments, read from the jobs that deployed to them (`ci-yaml.md` §22): nothing is kept twice. Called by the API and the
//! pages.

use crate::error::Result;
use crate::store::Store;
use crate::tx::{one, params};
use harrier_pipeline::{EnvironmentAction, environment_slug, environment_tier};

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentView {
    /// Id of the first job that had it, which never changes.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its name as a part of an address.
    pub slug: String,
    /// `production`, `staging`, …
    pub tier: String,
    /// Where it is to be seen, if the file gives an address without variables.
    pub external_url: Option<String>,
    /// The job that acted last stopped it.
    pub stopped: bool,
    /// Name of the job that stops it.
    pub on_stop: Option<String>,
    /// The job that deployed last.
    pub last_job: i64,
    /// Pipeline of that job.
    pub last_pipeline: i64,
    /// When it ended.
    pub last_deployed_at: Option<i64>,
    /// When the first job had it.
    pub created_at: i64,
}

impl Store {
    /// The environments of a project that jobs have deployed to, by name.
    pub async fn environments(&self, project: i64) -> Result<Vec<EnvironmentView>> {
        let configs = self.configs();
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT environment, MIN(id), MIN(created_at), MAX(CASE WHEN status = 'success' THEN id END) FROM jobs WHERE \
                 project_id = $1 AND environment IS NOT NULL AND environment <> '' GROUP BY environment ORDER BY environment",
                params![project],
            )?;
            let mut out = Vec::new();
            for mut row in rows {
                let (name, id, created_at): (String, i64, i64) = (row.take()?, row.take()?, row.take()?);
                let Some(last_job) = row.take::<Option<i64>>()? else { continue };
                let sql = "SELECT pipeline_id, position, finished_at FROM jobs WHERE id = $1";
                let Some(mut last) = one(tx, sql, params![last_job])? else { continue };
                let (pipeline, position, ended): (i64, usize, Option<i64>) = (last.take()?, last.take()?, last.take()?);
                let config = configs.get(tx, pipeline)?;
                let given = config.jobs.get(position).and_then(|job| job.environment.as_ref());
                out.push(EnvironmentView {
                    id,
                    slug: environment_slug(&name),
                    tier: given
                        .and_then(|given| given.deployment_tier.clone())
                        .unwrap_or_else(|| environment_tier(&name).to_owned()),
                    external_url: given.and_then(|given| given.url.clone()).filter(|url| !url.contains('$')),
                    stopped: given.is_some_and(|given| given.action == EnvironmentAction::Stop),
                    on_stop: given.and_then(|given| given.on_stop.clone()),
                    last_job,
                    last_pipeline: pipeline,
                    last_deployed_at: ended,
                    created_at,
                    name,
                });
            }
            Ok(out)
        })
        .await
    }
}
