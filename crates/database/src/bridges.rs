//! Bridges: jobs that make a pipeline instead of running (`ci-yaml.md` §23). The coordinator makes it; its status goes back to the
//! bridge in the transaction that changed it, so that a kill leaves none without the other.

use crate::drive::Drive;
use crate::error::{DatabaseError, Result};
use crate::jobs::job;
use crate::pipelines::pipeline;
use crate::store::{Configs, Store};
use crate::tx::{Tx, params, scalar};
use crate::views::{JobView, PipelineView};
use harrier_base::Variable;
use harrier_pipeline::{Event, JobId, Pipeline, Status};
use std::collections::HashSet;
use std::sync::Arc;

/// A bridge that is to make its pipeline.
pub struct BridgeView {
    /// The job.
    pub job: JobView,
    /// Its pipeline.
    pub pipeline: PipelineView,
    /// The compiled pipeline; the bridge is at `job.position`.
    pub config: Arc<Pipeline>,
    /// Variables of the run.
    pub run: Vec<Variable>,
    /// From dotenv reports of jobs before it, in order.
    pub dotenv: Vec<(String, String)>,
    /// How many pipelines are above its own.
    pub depth: usize,
    /// How many pipelines the hierarchy has.
    pub hierarchy: usize,
}

impl Store {
    /// Bridges whose turn it is and that have made no pipeline yet, and those whose mirrored pipeline was removed.
    pub async fn bridges(&self) -> Result<Vec<i64>> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT id FROM jobs WHERE bridge = 1 AND retried = 0 AND ((mirrors IS NULL AND status = 'pending' AND \
                 NOT EXISTS (SELECT 1 FROM pipelines WHERE pipelines.parent_job_id = jobs.id)) OR (mirrors IS NOT NULL AND \
                 finished_at IS NULL AND NOT EXISTS (SELECT 1 FROM pipelines WHERE pipelines.id = jobs.mirrors))) ORDER BY \
                 id",
                &[],
            )?;
            rows.into_iter().map(|mut row| row.take()).collect()
        })
        .await
    }

    /// The pipeline that a bridge has made; `None`: it has made none.
    pub async fn downstream(&self, bridge: i64) -> Result<Option<i64>> {
        self.read(move |tx| downstream_of(tx, bridge)).await
    }

    /// A bridge has the status of another project's pipeline from now on. `false`: that one has the status of the bridge's,
    /// directly or by others.
    pub async fn follow_pipeline(&self, bridge: i64, pipeline: i64, now: i64) -> Result<bool> {
        let configs = self.configs();
        self.write(move |tx| {
            let found = job(tx, bridge)?;
            let (mut seen, mut next) = (HashSet::new(), vec![pipeline]);
            while let Some(at) = next.pop() {
                if at == found.pipeline {
                    return Ok(false);
                }
                if seen.insert(at) {
                    let rows = tx.query(
                        "SELECT mirrors FROM jobs WHERE pipeline_id = $1 AND mirrors IS NOT NULL AND retried = 0",
                        params![at],
                    )?;
                    for mut row in rows {
                        next.push(row.take()?);
                    }
                }
            }
            let status = self::pipeline(tx, pipeline)?.status;
            tx.execute("UPDATE jobs SET mirrors = $1 WHERE id = $2", params![pipeline, bridge])?;
            tell_bridge(tx, &configs, bridge, status, now)?;
            Ok(true)
        })
        .await
    }

    /// What a bridge makes its pipeline of.
    pub async fn bridge(&self, id: i64) -> Result<BridgeView> {
        let (sealer, configs) = (self.sealer(), self.configs());
        self.read(move |tx| {
            let found = job(tx, id)?;
            let config = configs.get(tx, found.pipeline)?;
            let run: Option<Option<Vec<u8>>> =
                scalar(tx, "SELECT variables FROM pipelines WHERE id = $1", params![found.pipeline])?;
            let run = match run.flatten() {
                Some(sealed) => sealer.open_json(&sealed)?,
                None => Vec::new(),
            };
            let before = crate::claim::sources(tx, &config, &found)?.unwrap_or_default();
            let dotenv = crate::claim::dotenv(tx, &before, &sealer)?;
            let (mut top, mut depth) = (found.pipeline, 0);
            while let Some(parent) = parent(tx, top)? {
                top = parent;
                depth += 1;
            }
            let hierarchy = below(tx, top, 0)?;
            Ok(BridgeView {
                pipeline: pipeline(tx, found.pipeline)?,
                job: found,
                config,
                run,
                dotenv,
                depth,
                hierarchy,
            })
        })
        .await
    }
}

fn parent(tx: &mut dyn Tx, pipeline: i64) -> Result<Option<i64>> {
    let found: Option<Option<i64>> =
        scalar(tx, "SELECT parent_id FROM pipelines WHERE id = $1", params![pipeline])?;
    Ok(found.flatten())
}

/// A pipeline and all below it.
fn below(tx: &mut dyn Tx, pipeline: i64, depth: usize) -> Result<usize> {
    let rows = tx.query("SELECT id FROM pipelines WHERE parent_id = $1", params![pipeline])?;
    let mut count = 1;
    for mut row in rows {
        let child = row.take()?;
        // Deeper than any can be made: the rows were changed by hand.
        count += if depth < 16 { below(tx, child, depth + 1)? } else { 1 };
    }
    Ok(count)
}

/// The pipeline that a bridge has made.
pub(crate) fn downstream_of(tx: &mut dyn Tx, bridge: i64) -> Result<Option<i64>> {
    scalar(tx, "SELECT id FROM pipelines WHERE parent_job_id = $1 ORDER BY id DESC LIMIT 1", params![bridge])
}

/// Bridges of other pipelines that have the status of this one.
pub(crate) fn mirrors_of(tx: &mut dyn Tx, pipeline: i64) -> Result<Vec<i64>> {
    let rows =
        tx.query("SELECT id FROM jobs WHERE mirrors = $1 AND retried = 0 ORDER BY id", params![pipeline])?;
    rows.into_iter().map(|mut row| row.take()).collect()
}

/// The pipeline of a bridge has a status. One that has been run again has another pipeline now.
pub(crate) fn tell_bridge(
    tx: &mut dyn Tx,
    configs: &Configs,
    bridge: i64,
    status: Status,
    now: i64,
) -> Result<()> {
    let found = match job(tx, bridge) {
        Ok(found) if !found.retried => found,
        Ok(_) | Err(DatabaseError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let event = Event::Downstream(JobId(found.position), status);
    Drive::load(tx, configs, found.pipeline, now)?.feed([event])
}
