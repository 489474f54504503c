//! Jobs after they were queued: accepted, touched, ended, played, retried, cancelled, erased. Called by the runner API and by
//! people's requests. Each transition says from which state it starts and answers `Conflict` otherwise.

use crate::change::Change;
use crate::deployments::Deploys;
use crate::drive::Drive;
use crate::error::{DatabaseError, Result};
use crate::objects::unwanted;
use crate::store::{Configs, Store};
use crate::token::token_hash;
use crate::tx::{Param, Tx, one, params, scalar};
use crate::views::{JobView, Page, PageAt};
use harrier_base::{Secret, Variable};
use harrier_pipeline::{Event, JobId, Outcome, Status};

/// What a runner says at the end (`runner-api.md` §5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceEnd {
    /// Bytes that are stored.
    pub size: Option<i64>,
    /// As sent: `crc32:…`
    pub checksum: Option<String>,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this project.
    pub project: Option<i64>,
    /// Taken by this runner.
    pub runner: Option<i64>,
    /// With one of these statuses; empty for all.
    pub statuses: Vec<Status>,
    /// Without those that only start other pipelines.
    pub without_bridges: bool,
    /// Of these commits' pipelines only.
    pub sha: Option<String>,
    /// Behind this one, in the order of the list.
    pub behind: Option<i64>,
    /// The oldest first.
    pub oldest_first: bool,
}

impl Store {
    /// One job.
    pub async fn job(&self, id: i64) -> Result<JobView> {
        self.read(move |tx| job(tx, id)).await
    }

    /// Jobs, newest first.
    pub async fn find_jobs(&self, filter: JobFilter, at: PageAt) -> Result<Page<JobView>> {
        self.read(move |tx| {
            let mut sql = "FROM jobs WHERE 1 = 1".to_owned();
            let mut given: Vec<Param> = Vec::new();
            for (column, wanted) in [("project_id", filter.project), ("runner_id", filter.runner)] {
                if let Some(wanted) = wanted {
                    given.push(wanted.into());
                    sql.push_str(&format!(" AND {column} = ${}", given.len()));
                }
            }
            if !filter.statuses.is_empty() {
                let words: Vec<String> = filter.statuses.iter().map(|s| format!("'{}'", s.word())).collect();
                sql.push_str(&format!(" AND status IN ({})", words.join(", ")));
            }
            if filter.without_bridges {
                sql.push_str(" AND bridge = 0");
            }
            if let Some(sha) = filter.sha {
                given.push(sha.into());
                sql.push_str(&format!(
                    " AND pipeline_id IN (SELECT id FROM pipelines WHERE sha = ${})",
                    given.len()
                ));
            }
            let (way, beyond) = if filter.oldest_first { ("ASC", '>') } else { ("DESC", '<') };
            if let Some(behind) = filter.behind {
                given.push(behind.into());
                sql.push_str(&format!(" AND id {beyond} ${}", given.len()));
            }
            let total = scalar(tx, &format!("SELECT COUNT(*) {sql}"), &given)?.unwrap_or(0);
            given.push(at.size.into());
            given.push(at.offset().into());
            let (limit, offset) = (given.len() - 1, given.len());
            let rows = tx.query(
                &format!(
                    "SELECT {} {sql} ORDER BY id {way} LIMIT ${limit} OFFSET ${offset}",
                    JobView::COLUMNS
                ),
                &given,
            )?;
            let entries = rows.into_iter().map(|mut row| JobView::read(&mut row)).collect::<Result<_>>()?;
            Ok(Page { entries, total })
        })
        .await
    }

    /// The newest successful job of a name in a successful pipeline of a ref that has an archive.
    pub async fn latest_success(&self, project: i64, git_ref: &str, name: &str) -> Result<Option<JobView>> {
        let (git_ref, name) = (git_ref.to_owned(), name.to_owned());
        self.read(move |tx| {
            let sql = format!(
                "SELECT {} FROM jobs JOIN pipelines ON pipelines.id = jobs.pipeline_id WHERE jobs.project_id = $1 AND \
                 pipelines.git_ref = $2 AND pipelines.status = 'success' AND jobs.name = $3 AND jobs.status = 'success' AND \
                 jobs.retried = 0 AND EXISTS (SELECT 1 FROM job_artifacts WHERE job_artifacts.job_id = jobs.id AND \
                 job_artifacts.kind = 'archive') ORDER BY jobs.id DESC LIMIT 1",
                JobView::COLUMNS
            );
            one(tx, &sql, params![project, git_ref, name])?.map(|mut row| JobView::read(&mut row)).transpose()
        })
        .await
    }

    /// The job that a token was made for. `None`: nobody knows it. Whether it is good is [`JobView::executes`].
    pub async fn job_of_token(&self, token: &Secret) -> Result<Option<JobView>> {
        let hash = token_hash(token.expose());
        self.read(move |tx| {
            let sql = format!("SELECT {} FROM jobs WHERE token_hash = $1", JobView::COLUMNS);
            one(tx, &sql, params![hash])?.map(|mut row| JobView::read(&mut row)).transpose()
        })
        .await
    }

    /// A runner begins a job that was handed to it (`runner-api.md` §3.6).
    pub async fn accept(&self, id: i64, now: i64) -> Result<JobView> {
        let configs = self.configs();
        self.write(move |tx| {
            let found = job(tx, id)?;
            if found.status != Status::Pending || found.reserved_until.is_none() {
                return conflict(
                    &found,
                    "only a job that was handed out and not accepted yet can be accepted",
                );
            }
            begin(tx, &configs, &found, now)?;
            job(tx, id)
        })
        .await
    }

    /// A runner still waits to begin: its reservation is longer.
    pub async fn keep_reserved(&self, id: i64, until: i64) -> Result<()> {
        self.write(move |tx| {
            let kept = tx.execute(
                "UPDATE jobs SET reserved_until = $1 WHERE id = $2 AND status = 'pending' AND reserved_until IS NOT NULL",
                params![until, id],
            )?;
            match kept {
                0 => conflict(&job(tx, id)?, "only a job that waits to be accepted can be kept"),
                _ => Ok(()),
            }
        })
        .await
    }

    /// A sign of life of a job that executes.
    pub async fn touch(&self, id: i64, now: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE jobs SET touched_at = $1 WHERE id = $2 AND status IN ('running', 'canceling')",
                params![now, id],
            )?;
            Ok(())
        })
        .await
    }

    /// The log may show secrets from now on.
    pub async fn mark_debug_trace(&self, id: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute("UPDATE jobs SET debug_trace = 1 WHERE id = $1", params![id])?;
            Ok(())
        })
        .await
    }

    /// A job ends. One that is being cancelled ends as cancelled, whatever is said. Ended once, it stays as it ended, and saying
    /// it again is no error: the first answer may have been lost.
    pub async fn finish(&self, id: i64, outcome: Outcome, trace: TraceEnd, now: i64) -> Result<JobView> {
        let configs = self.configs();
        self.write(move |tx| {
            let found = job(tx, id)?;
            match found.status {
                Status::Running | Status::Canceling => {}
                Status::Pending if matches!(outcome, Outcome::Failed { .. }) => {}
                Status::Success | Status::Failed | Status::Canceled => return Ok(found),
                Status::Pending
                | Status::Created
                | Status::WaitingForResource
                | Status::Preparing
                | Status::WaitingForCallback
                | Status::Scheduled
                | Status::Manual
                | Status::Skipped => return conflict(&found, "only a job that runs can end"),
            }
            tx.execute(
                "UPDATE jobs SET trace_size = COALESCE($1, trace_size), trace_checksum = COALESCE($2, trace_checksum) \
                 WHERE id = $3",
                params![trace.size, trace.checksum, id],
            )?;
            let event = Event::Finished(JobId(found.position), outcome);
            Drive::load(tx, &configs, found.pipeline, now)?.feed([event])?;
            job(tx, id)
        })
        .await
    }

    /// The coverage found in a log.
    pub async fn set_coverage(&self, id: i64, coverage: String) -> Result<()> {
        self.write(move |tx| {
            tx.execute("UPDATE jobs SET coverage = $1 WHERE id = $2", params![coverage, id])?;
            Ok(())
        })
        .await
    }

    /// A person starts a manual job, or a delayed one before its time.
    pub async fn play(
        &self,
        id: i64,
        user: Option<i64>,
        variables: Vec<Variable>,
        now: i64,
    ) -> Result<JobView> {
        let (sealer, configs) = (self.sealer(), self.configs());
        self.write(move |tx| {
            let found = latest(tx, id)?;
            if !matches!(found.status, Status::Manual | Status::Scheduled) {
                return conflict(
                    &found,
                    "only a manual or a delayed job can be played; retry one that has ended",
                );
            }
            let sealed = match variables.is_empty() {
                true => None,
                false => Some(sealer.seal_json(&variables)?),
            };
            tx.execute(
                "UPDATE jobs SET played_by = $1, variables = $2 WHERE id = $3",
                params![user, sealed, id],
            )?;
            Drive::load(tx, &configs, found.pipeline, now)?.feed([Event::Play(JobId(found.position))])?;
            job(tx, id)
        })
        .await
    }

    /// A person runs an ended job once more; gives the new job.
    pub async fn retry(&self, id: i64, user: Option<i64>, now: i64) -> Result<JobView> {
        let configs = self.configs();
        self.write(move |tx| {
            let found = latest(tx, id)?;
            if !matches!(found.status, Status::Success | Status::Failed | Status::Canceled) {
                return conflict(&found, "only a job that has ended can be run again");
            }
            tx.execute("UPDATE jobs SET played_by = $1 WHERE id = $2", params![user, id])?;
            Drive::load(tx, &configs, found.pipeline, now)?.feed([Event::Retry(JobId(found.position))])?;
            let new: Option<i64> = scalar(
                tx,
                "SELECT id FROM jobs WHERE pipeline_id = $1 AND position = $2 AND retried = 0",
                params![found.pipeline, found.position],
            )?;
            job(tx, new.unwrap_or(id))
        })
        .await
    }

    /// Cancels one job; by force without waiting for its runner.
    pub async fn cancel_job(&self, id: i64, force: bool, now: i64) -> Result<JobView> {
        let configs = self.configs();
        self.write(move |tx| {
            let found = job(tx, id)?;
            if found.status.is_complete() || found.retried {
                return conflict(&found, "only a job that has not ended can be cancelled");
            }
            Drive::load(tx, &configs, found.pipeline, now)?.cancel_job(found.position, force)?;
            job(tx, id)
        })
        .await
    }

    /// The log and the artifacts of an ended job are gone; the caller removes the files afterwards.
    pub async fn erase(&self, id: i64, now: i64) -> Result<JobView> {
        self.write(move |tx| {
            let found = job(tx, id)?;
            if !found.status.is_complete() {
                return conflict(&found, "only a job that has ended can be erased");
            }
            tx.execute("DELETE FROM job_artifacts WHERE job_id = $1", params![id])?;
            tx.execute("DELETE FROM job_variables WHERE job_id = $1", params![id])?;
            tx.execute("DELETE FROM job_tests WHERE job_id = $1", params![id])?;
            unwanted(tx, id, None)?;
            tx.execute("UPDATE jobs SET erased_at = $1, trace_size = 0 WHERE id = $2", params![now, id])?;
            job(tx, id)
        })
        .await
    }
}

/// A job runs. In a pipeline that runs already nothing else follows from that, however many jobs it has.
pub(crate) fn begin(tx: &mut dyn Tx, configs: &Configs, found: &JobView, now: i64) -> Result<()> {
    let running = tx.execute(
        "UPDATE jobs SET status = 'running', started_at = $1, touched_at = $1, reserved_until = NULL WHERE id = $2 AND \
         status = 'pending' AND EXISTS (SELECT 1 FROM pipelines WHERE pipelines.id = jobs.pipeline_id AND \
         pipelines.status = 'running' AND pipelines.started_at IS NOT NULL)",
        params![now, found.id],
    )?;
    if running == 0 {
        return Drive::load(tx, configs, found.pipeline, now)?.feed([Event::Started(JobId(found.position))]);
    }
    if let Some(name) = &found.environment {
        let config = configs.get(tx, found.pipeline)?;
        if let Some(given) = config.jobs.get(found.position).and_then(|job| job.environment.as_ref()) {
            let deploys = Deploys { project: found.project, job: found.id, name, given };
            deploys.became(tx, Status::Running, now)?;
        }
    }
    tx.changed(Change::Job {
        project: found.project,
        pipeline: found.pipeline,
        job: found.id,
        status: Status::Running,
    });
    Ok(())
}

pub(crate) fn conflict<T>(job: &JobView, hint: &'static str) -> Result<T> {
    Err(DatabaseError::Conflict {
        what: format!("job {} ({})", job.id, job.name),
        is: job.status.word().to_owned(),
        hint,
    })
}

pub(crate) fn job(tx: &mut dyn Tx, id: i64) -> Result<JobView> {
    let sql = format!("SELECT {} FROM jobs WHERE id = $1", JobView::COLUMNS);
    let mut row = one(tx, &sql, params![id])?.ok_or(DatabaseError::NotFound("job"))?;
    JobView::read(&mut row)
}

/// A job that no newer one has taken the place of.
fn latest(tx: &mut dyn Tx, id: i64) -> Result<JobView> {
    let found = job(tx, id)?;
    match found.retried {
        true => conflict(&found, "a newer job has taken its place; use that one"),
        false => Ok(found),
    }
}

/// A job fails by the server's own doing.
pub(crate) fn drop_job(
    tx: &mut dyn Tx,
    configs: &Configs,
    found: &JobView,
    reason: &str,
    now: i64,
) -> Result<()> {
    let outcome = Outcome::Failed { exit_code: None, reason: reason.to_owned() };
    Drive::load(tx, configs, found.pipeline, now)?.feed([Event::Finished(JobId(found.position), outcome)])
}
