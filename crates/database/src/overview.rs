//! What an operator watches: how much is there and how much waits. Called when metrics are asked for; it reads by indexes only,
//! so that a short interval does not slow the server down.

use crate::error::Result;
use crate::store::Store;
use crate::tx::{params, scalar};
use crate::views::status;
use harrier_base::HistogramView;
use harrier_pipeline::Status;

/// Counts at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Jobs that have not ended, by status.
    pub jobs: Vec<(Status, usize)>,
    /// Jobs that wait for a runner.
    pub queue: usize,
    /// When the one that has waited longest began to, in milliseconds since 1970.
    pub oldest_queued: Option<i64>,
    /// Pipelines that have not ended.
    pub pipelines: usize,
    /// Runners: paused, online, all.
    pub runners: (usize, usize, usize),
    /// Projects.
    pub projects: usize,
    /// Users.
    pub users: usize,
}

/// Where an operation of the tables spends its time.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseTimes {
    /// `read` or `write`.
    pub kind: &'static str,
    /// Until a connection was free.
    pub waited: HistogramView,
    /// From its first statement to its commit.
    pub took: HistogramView,
}

impl Store {
    /// Counts at this moment. A runner is online if it was heard of since `online_since`.
    pub async fn overview(&self, online_since: i64) -> Result<Overview> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT status, COUNT(*) FROM jobs WHERE status IN ('pending', 'running', 'canceling', 'scheduled', \
                 'waiting_for_resource') GROUP BY status",
                &[],
            )?;
            let jobs = rows.into_iter().map(|mut row| Ok((status(&row.take::<String>()?)?, row.take()?)));
            let jobs = jobs.collect::<Result<_>>()?;
            let queued = "FROM jobs WHERE status = 'pending' AND runner_id IS NULL AND bridge = 0";
            let count = |tx: &mut dyn crate::tx::Tx, sql: &str| -> Result<usize> {
                Ok(scalar(tx, &format!("SELECT COUNT(*) {sql}"), &[])?.unwrap_or(0))
            };
            let online: Option<usize> = scalar(
                tx,
                "SELECT COUNT(*) FROM runners WHERE contacted_at >= $1",
                params![online_since],
            )?;
            let oldest: Option<Option<i64>> = scalar(tx, &format!("SELECT MIN(queued_at) {queued}"), &[])?;
            Ok(Overview {
                jobs,
                queue: count(tx, queued)?,
                oldest_queued: oldest.flatten(),
                pipelines: count(tx, "FROM pipelines WHERE finished_at IS NULL")?,
                runners: (
                    count(tx, "FROM runners WHERE paused = 1")?,
                    online.unwrap_or(0),
                    count(tx, "FROM runners")?,
                ),
                projects: count(tx, "FROM projects")?,
                users: count(tx, "FROM users")?,
            })
        })
        .await
    }
}
