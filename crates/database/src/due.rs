//! What time brings: delays end, reservations lapse, silent and overlong jobs are dropped, environments are stopped. Called by the coordinator's clock, at
//! the start and when the next thing is due.

use crate::claim::release;
use crate::drive::Drive;
use crate::environments::stop_overdue;
use crate::error::Result;
use crate::jobs::{drop_job, job};
use crate::matching::{Offer, Wants, WhyPending, why_pending};
use crate::store::Store;
use crate::tx::{Tx, params, scalar};
use crate::views::json;
use harrier_pipeline::{Event, JobId, Status};

/// How long jobs may be silent, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A running job whose runner says nothing.
    pub silence: i64,
    /// Beyond a job's own time-out, which its runner keeps.
    pub overtime: i64,
    /// A pending job that nobody takes.
    pub pending: i64,
    /// A pending job that no runner could take which was heard of in that time.
    pub stuck: i64,
    /// The server has been there since then: what nobody could hear before does not count.
    pub since: i64,
}

impl Default for Patience {
    fn default() -> Self {
        const MINUTE: i64 = 60_000;
        Self {
            silence: 10 * MINUTE,
            overtime: 5 * MINUTE,
            pending: 24 * 60 * MINUTE,
            stuck: 60 * MINUTE,
            since: 0,
        }
    }
}

impl Store {
    /// Does what is due. Gives when to call again at the latest; `None`: when a change says so.
    pub async fn due(&self, now: i64, patience: Patience) -> Result<Option<i64>> {
        let configs = self.configs();
        self.write(move |tx| {
            for id in ids(tx, "status = 'scheduled' AND due_at <= $1", now)? {
                let found = job(tx, id)?;
                let event = Event::DelayOver(JobId(found.position));
                Drive::load(tx, &configs, found.pipeline, now)?.feed([event])?;
            }
            for id in ids(tx, "status = 'pending' AND reserved_until <= $1", now)? {
                let found = job(tx, id)?;
                release(tx, &found)?;
            }
            let silent_since = now.saturating_sub(patience.silence);
            for id in ids(tx, "status IN ('running', 'canceling') AND bridge = 0 AND touched_at <= $1", silent_since)? {
                let found = job(tx, id)?;
                let canceling = found.status == Status::Canceling;
                let reason = if canceling { "no_updates_canceling" } else { "no_updates_running" };
                drop_job(tx, &configs, &found, reason, now)?;
            }
            let late = now.saturating_sub(patience.overtime);
            let overlong = "status IN ('running', 'canceling') AND timeout > 0 AND started_at + timeout * 1000 <= $1";
            for id in ids(tx, overlong, late)? {
                let found = job(tx, id)?;
                let canceling = found.status == Status::Canceling;
                let reason = if canceling { "server_timeout_canceling" } else { "server_timeout_running" };
                drop_job(tx, &configs, &found, reason, now)?;
            }
            let stuck = now.saturating_sub(patience.pending);
            for id in ids(tx, "status = 'pending' AND runner_id IS NULL AND bridge = 0 AND queued_at <= $1", stuck)? {
                let found = job(tx, id)?;
                drop_job(tx, &configs, &found, "stuck_or_timeout_failure", now)?;
            }
            let heard = now.saturating_sub(patience.stuck);
            if patience.since <= heard {
                for id in stuck_jobs(tx, heard)? {
                    let found = job(tx, id)?;
                    drop_job(tx, &configs, &found, "stuck_or_timeout_failure", now)?;
                }
            }
            stop_overdue(tx, &configs, now)?;
            let next: Option<Option<i64>> = scalar(
                tx,
                "SELECT MIN(at) FROM (SELECT due_at AS at FROM jobs WHERE status = 'scheduled' UNION ALL SELECT \
                 reserved_until AS at FROM jobs WHERE status = 'pending' UNION ALL SELECT touched_at + $1 AS at FROM jobs \
                 WHERE status IN ('running', 'canceling') AND bridge = 0 UNION ALL SELECT auto_stop_at AS at FROM environments \
                 WHERE state = 'available' AND auto_stop_at IS NOT NULL) AS times",
                params![patience.silence],
            )?;
            Ok(next.flatten())
        })
        .await
    }

    /// The server begins: whoever had a job gets time to come back before silence counts.
    pub async fn resume(&self, now: i64, reserve_until: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE jobs SET touched_at = $1 WHERE status IN ('running', 'canceling')",
                params![now],
            )?;
            tx.execute(
                "UPDATE jobs SET reserved_until = $1 WHERE status = 'pending' AND reserved_until IS NOT NULL",
                params![reserve_until],
            )?;
            Ok(())
        })
        .await
    }
}

/// Jobs that have been pending since `heard` or longer, and that no runner would take which was heard of since.
fn stuck_jobs(tx: &mut dyn Tx, heard: i64) -> Result<Vec<i64>> {
    const WAITS: &str = "status = 'pending' AND runner_id IS NULL AND bridge = 0 AND queued_at <= $1";
    let classes = tx.query(
        &format!(
            "SELECT project_id, protected, tags, (SELECT shared_runners FROM projects WHERE projects.id = jobs.project_id) FROM \
             jobs WHERE {WAITS} GROUP BY project_id, protected, tags"
        ),
        params![heard],
    )?;
    if classes.is_empty() {
        return Ok(Vec::new());
    }
    let runners: Vec<(Offer, bool)> = crate::runners::all(tx)?
        .into_iter()
        .map(|runner| (runner.offer, runner.contacted_at.is_some_and(|at| at >= heard)))
        .collect();
    let mut stuck = Vec::new();
    for mut row in classes {
        let (project, protected) = (row.take()?, row.take()?);
        let tags: String = row.take()?;
        let wants =
            Wants { project, protected, tags: json(&tags, "a list of tags")?, instance_runners: row.take()? };
        if why_pending(&runners, &wants) == WhyPending::Turn {
            continue;
        }
        let of =
            format!("SELECT id FROM jobs WHERE {WAITS} AND project_id = $2 AND protected = $3 AND tags = $4");
        let rows = tx.query(&of, params![heard, project, protected, tags])?;
        stuck.extend(rows.into_iter().map(|mut row| row.take()).collect::<Result<Vec<i64>>>()?);
    }
    Ok(stuck)
}

fn ids(tx: &mut dyn Tx, condition: &str, at: i64) -> Result<Vec<i64>> {
    let rows = tx.query(&format!("SELECT id FROM jobs WHERE {condition} ORDER BY id"), params![at])?;
    rows.into_iter().map(|mut row| row.take()).collect()
}
