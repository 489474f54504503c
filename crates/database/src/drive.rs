//! Drives one pipeline by one event: loads its jobs, asks the scheduler (`harrier-pipeline`), writes every state that results, in
//! one transaction. Called by all operations that change a job. It decides nothing that the scheduler decides; what it adds is
//! what reaches over pipelines: resource groups, and that a job nobody has can be cancelled at once.

use crate::bridges::{downstream_of, mirrors_of, tell_bridge};
use crate::change::Change;
use crate::deployments::Deploys;
use crate::error::{DatabaseError, Result};
use crate::matching::Wants;
use crate::store::Configs;
use crate::tx::{Tx, one, params};
use crate::views::{json, status};
use harrier_pipeline::{Action, Event, JobId, Kept, Outcome, Pipeline, Scheduler, Status};
use std::collections::VecDeque;
use std::sync::Arc;

/// Statuses that hold a resource group.
const HOLDS: &str = "('pending', 'running', 'canceling')";

/// The latest row of one position.
struct Live {
    id: i64,
    kept: Kept,
    name: String,
    stage: String,
    run_when: String,
    tags: String,
    protected: bool,
    resource_group: Option<String>,
    environment: Option<String>,
    bridge: bool,
    graceful: bool,
    started: bool,
    variables: Option<Vec<u8>>,
    played_by: Option<i64>,
}

/// A pipeline in the middle of a transaction.
pub(crate) struct Drive<'a> {
    tx: &'a mut dyn Tx,
    configs: Configs,
    now: i64,
    project: i64,
    instance_runners: bool,
    pipeline: i64,
    before: Status,
    /// The bridge in another pipeline that made this one.
    bridge: Option<i64>,
    config: Arc<Pipeline>,
    jobs: Vec<Live>,
    scheduler: Scheduler,
    freed: Vec<String>,
    forced: bool,
}

impl<'a> Drive<'a> {
    /// Loads it.
    pub fn load(tx: &'a mut dyn Tx, configs: &Configs, pipeline: i64, now: i64) -> Result<Self> {
        let mut row = one(
            tx,
            "SELECT project_id, status, parent_job_id, (SELECT shared_runners FROM projects WHERE projects.id = \
             pipelines.project_id) FROM pipelines WHERE id = $1",
            params![pipeline],
        )?
        .ok_or(DatabaseError::NotFound("pipeline"))?;
        let (project, before) = (row.take()?, status(&row.take::<String>()?)?);
        let bridge = row.take()?;
        let instance_runners = row.take()?;
        let config = configs.get(tx, pipeline)?;
        let jobs = live(tx, pipeline)?;
        if jobs.len() != config.jobs.len() {
            let found = format!("{} jobs for the {} of pipeline {pipeline}", jobs.len(), config.jobs.len());
            return Err(DatabaseError::Damaged { wanted: "every job of a pipeline", found });
        }
        let kept: Vec<Kept> = jobs.iter().map(|job| job.kept).collect();
        let scheduler = Scheduler::restore(&config, &kept);
        Ok(Self {
            tx,
            configs: configs.clone(),
            now,
            project,
            instance_runners,
            pipeline,
            before,
            bridge,
            config,
            jobs,
            scheduler,
            freed: Vec::new(),
            forced: false,
        })
    }

    /// Cancels everything; whoever is told to stop counts as stopped, without waiting for the runner.
    pub fn cancel_by_force(mut self) -> Result<()> {
        self.forced = true;
        let asked = |job: &Live| job.kept.status == Status::Canceling;
        let over = self.jobs.iter().enumerate().filter(|(_, job)| asked(job)).map(|(at, _)| at);
        let mut events = vec![Event::Cancel];
        events.extend(over.map(|at| Event::Finished(JobId(at), Outcome::Canceled)));
        self.feed(events)
    }

    /// Cancels one job; by force without waiting for its runner.
    pub fn cancel_job(mut self, position: usize, force: bool) -> Result<()> {
        self.forced = force;
        let asked = self.jobs.get(position).is_some_and(|job| job.kept.status == Status::Canceling);
        match asked && force {
            true => self.feed([Event::Finished(JobId(position), Outcome::Canceled)]),
            false => self.feed([Event::CancelJob(JobId(position))]),
        }
    }

    /// Takes events, writes what results.
    pub fn feed(mut self, events: impl IntoIterator<Item = Event>) -> Result<()> {
        let mut queue: VecDeque<Event> = events.into_iter().collect();
        let mut stopped = Vec::new();
        while let Some(event) = queue.pop_front() {
            let actions = self.scheduler.on(event.clone());
            self.write(&event, &actions)?;
            for action in actions {
                let Action::Stop(job) = action else { continue };
                let live = &self.jobs[job.0];
                if live.bridge {
                    match downstream_of(self.tx, live.id)? {
                        Some(below) => stopped.push(below),
                        None => queue.push_back(Event::Finished(job, Outcome::Canceled)),
                    }
                    continue;
                }
                // Only a job that a runner has accepted, and that can be asked, is waited for.
                if self.forced || !live.started || !live.graceful {
                    queue.push_back(Event::Finished(job, Outcome::Canceled));
                }
            }
        }
        self.settle()?;
        // From here on other pipelines are written, which may come back to this one: nothing of it is used any more.
        let freed = std::mem::take(&mut self.freed);
        let (project, now, forced) = (self.project, self.now, self.forced);
        for below in stopped {
            let drive = Drive::load(self.tx, &self.configs, below, now)?;
            match forced {
                true => drive.cancel_by_force()?,
                false => drive.feed([Event::Cancel])?,
            }
        }
        for group in freed {
            pass_on(self.tx, &self.configs, project, &group, now)?;
        }
        Ok(())
    }

    fn write(&mut self, event: &Event, actions: &[Action]) -> Result<()> {
        for position in 0..self.jobs.len() {
            let wanted = self.scheduler.kept(JobId(position));
            let live = &self.jobs[position];
            let ended = match event {
                Event::Finished(JobId(at), outcome) if *at == position => Some(outcome),
                _ => None,
            };
            let starts = actions.iter().any(|a| matches!(a, Action::Start { job, .. } if job.0 == position));
            if wanted == live.kept && !(starts && ended.is_some()) {
                continue;
            }
            let over = matches!(live.kept.status, Status::Success | Status::Failed | Status::Canceled);
            if starts && ended.is_some() {
                // Started again by `retry`: this row ends as what it was.
                self.end(position, Status::Failed, live_allowed(live, &wanted), ended)?;
                self.renew(position)?;
            } else if over && !wanted.status.is_complete() && (starts || live.started && !live.bridge) {
                self.renew(position)?;
            }
            match wanted.status {
                Status::Pending => self.enqueue(position, wanted)?,
                Status::Running => {
                    let id = self.jobs[position].id;
                    self.tx.execute(
                        "UPDATE jobs SET status = 'running', started_at = COALESCE(started_at, $1), touched_at = $1, \
                         reserved_until = NULL, finished_at = NULL WHERE id = $2",
                        params![self.now, id],
                    )?;
                    self.jobs[position].started = true;
                    self.became(position, wanted)?;
                }
                Status::Success | Status::Failed | Status::Canceled | Status::Skipped => {
                    self.end(position, wanted.status, wanted.allowed, ended)?;
                    self.jobs[position].kept = wanted;
                }
                Status::Scheduled => {
                    let after = actions.iter().find_map(|a| match a {
                        Action::StartLater { job, after } if job.0 == position => Some(*after),
                        _ => None,
                    });
                    // A bridge shows its pipeline's status; no time of its own comes.
                    let due = after.map(|after| {
                        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
                        self.now.saturating_add(after)
                    });
                    self.set(position, wanted, due)?;
                    self.tx.changed(Change::Due);
                }
                Status::Created
                | Status::Manual
                | Status::WaitingForResource
                | Status::Preparing
                | Status::WaitingForCallback
                | Status::Canceling => self.set(position, wanted, None)?,
            }
        }
        Ok(())
    }

    /// A status that needs nothing but itself.
    fn set(&mut self, position: usize, wanted: Kept, due_at: Option<i64>) -> Result<()> {
        let id = self.jobs[position].id;
        // None of these is an end: what a job had of one goes when it is started over.
        self.tx.execute(
            "UPDATE jobs SET status = $1, attempt = $2, allowed = $3, due_at = $4, finished_at = NULL, failure_reason = NULL \
             WHERE id = $5",
            params![wanted.status.word(), wanted.attempt, wanted.allowed, due_at, id],
        )?;
        self.became(position, wanted)
    }

    fn became(&mut self, position: usize, kept: Kept) -> Result<()> {
        self.jobs[position].kept = kept;
        self.tell(position, kept.status)
    }

    /// A job's row has a new status: its deployment follows, and whoever listens.
    fn tell(&mut self, position: usize, status: Status) -> Result<()> {
        let (project, pipeline, now) = (self.project, self.pipeline, self.now);
        let live = &self.jobs[position];
        let job = live.id;
        if let Some(deploys) = deploys(project, live, &self.config, position) {
            deploys.became(self.tx, status, now)?;
        }
        self.tx.changed(Change::Job { project, pipeline, job, status });
        Ok(())
    }

    /// It may be taken, unless its resource is held: the scheduler knows of no resources, they reach over pipelines.
    fn enqueue(&mut self, position: usize, wanted: Kept) -> Result<()> {
        let id = self.jobs[position].id;
        let held = match &self.jobs[position].resource_group {
            Some(group) => holder(self.tx, self.project, group, Some(id))?.is_some(),
            None => false,
        };
        if held {
            let kept = Kept { status: Status::WaitingForResource, ..wanted };
            return self.set(position, kept, None);
        }
        queue(self.tx, id, &wanted, self.now)?;
        self.became(position, wanted)?;
        let live = &self.jobs[position];
        if live.bridge {
            self.tx.changed(Change::Bridge { job: id });
            return Ok(());
        }
        let wants = Wants {
            project: self.project,
            tags: json(&live.tags, "a list of tags")?,
            protected: live.protected,
            instance_runners: self.instance_runners,
        };
        self.tx.changed(Change::Queued { wants });
        Ok(())
    }

    fn end(&mut self, position: usize, word: Status, allowed: bool, outcome: Option<&Outcome>) -> Result<()> {
        let live = &self.jobs[position];
        let (reason, code) = match outcome {
            Some(Outcome::Failed { exit_code, reason }) => (Some(reason.clone()), *exit_code),
            Some(Outcome::Success | Outcome::Canceled) | None => (None, None),
        };
        self.tx.execute(
            "UPDATE jobs SET status = $1, allowed = $2, finished_at = $3, failure_reason = $4, exit_code = $5, \
             reserved_until = NULL, due_at = NULL WHERE id = $6",
            params![word.word(), allowed, self.now, reason, code, live.id],
        )?;
        if let Some(group) = &live.resource_group {
            self.freed.push(group.clone());
        }
        self.tell(position, word)
    }

    /// A new row for a position whose old one is over.
    fn renew(&mut self, position: usize) -> Result<()> {
        let live = &self.jobs[position];
        let old = live.id;
        self.tx.execute("UPDATE jobs SET retried = 1 WHERE id = $1", params![old])?;
        let new = Row {
            name: live.name.clone(),
            stage: live.stage.clone(),
            run_when: live.run_when.clone(),
            tags: live.tags.clone(),
            protected: live.protected,
            resource_group: live.resource_group.clone(),
            environment: live.environment.clone(),
            bridge: live.bridge,
            variables: live.variables.clone(),
            played_by: live.played_by,
        };
        let id = insert(self.tx, self.project, self.pipeline, position, &new, self.now)?;
        let live = &mut self.jobs[position];
        live.id = id;
        live.started = false;
        live.graceful = false;
        if let Some(deploys) = deploys(self.project, &self.jobs[position], &self.config, position) {
            deploys.made(self.tx, self.now)?;
        }
        Ok(())
    }

    /// The pipeline's own status.
    fn settle(&mut self) -> Result<()> {
        let kept: Vec<Kept> = self.jobs.iter().map(|job| job.kept).collect();
        let scheduler = Scheduler::restore(&self.config, &kept);
        write_status(self.tx, self.project, self.pipeline, self.before, &scheduler, self.now)?;
        let status = scheduler.pipeline_status();
        if self.before == status {
            return Ok(());
        }
        let mut follow = mirrors_of(self.tx, self.pipeline)?;
        follow.extend(self.bridge);
        for bridge in follow {
            tell_bridge(self.tx, &self.configs, bridge, status, self.now)?;
        }
        Ok(())
    }
}

/// What a job does to its environment, if it has one.
fn deploys<'a>(project: i64, live: &'a Live, config: &'a Pipeline, position: usize) -> Option<Deploys<'a>> {
    let name = live.environment.as_deref()?;
    let given = config.jobs.get(position)?.environment.as_ref()?;
    Some(Deploys { project, job: live.id, name, given })
}

/// What a failed try that goes on says of itself: the new one decides about the pipeline.
fn live_allowed(live: &Live, wanted: &Kept) -> bool {
    live.kept.allowed || wanted.allowed
}

/// The columns that a new row takes from what it is made of.
pub(crate) struct Row {
    pub name: String,
    pub stage: String,
    pub run_when: String,
    /// JSON
    pub tags: String,
    pub protected: bool,
    pub resource_group: Option<String>,
    pub environment: Option<String>,
    pub bridge: bool,
    pub variables: Option<Vec<u8>>,
    pub played_by: Option<i64>,
}

/// A new job, created.
pub(crate) fn insert(
    tx: &mut dyn Tx,
    project: i64,
    pipeline: i64,
    position: usize,
    row: &Row,
    now: i64,
) -> Result<i64> {
    let id: Option<i64> = crate::tx::scalar(
        tx,
        "INSERT INTO jobs (project_id, pipeline_id, position, name, stage, status, attempt, allowed, retried, \
         run_when, tags, protected, resource_group, environment, bridge, variables, played_by, created_at) VALUES ($1, \
         $2, $3, $4, $5, 'created', 0, 0, 0, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id",
        params![
            project,
            pipeline,
            position,
            &row.name,
            &row.stage,
            &row.run_when,
            &row.tags,
            row.protected,
            row.resource_group.clone(),
            row.environment.clone(),
            row.bridge,
            row.variables.clone(),
            row.played_by,
            now,
        ],
    )?;
    id.ok_or(DatabaseError::NotFound("new job"))
}

fn live(tx: &mut dyn Tx, pipeline: i64) -> Result<Vec<Live>> {
    let rows = tx.query(
        "SELECT id, status, allowed, attempt, name, stage, run_when, tags, protected, resource_group, environment, \
         bridge, graceful, started_at, variables, played_by FROM jobs WHERE pipeline_id = $1 AND retried = 0 \
         ORDER BY position",
        params![pipeline],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(Live {
                id: row.take()?,
                kept: Kept {
                    status: status(&row.take::<String>()?)?,
                    allowed: row.take()?,
                    attempt: row.take()?,
                },
                name: row.take()?,
                stage: row.take()?,
                run_when: row.take()?,
                tags: row.take()?,
                protected: row.take()?,
                resource_group: row.take()?,
                environment: row.take()?,
                bridge: row.take()?,
                graceful: row.take()?,
                started: row.take::<Option<i64>>()?.is_some(),
                variables: row.take()?,
                played_by: row.take()?,
            })
        })
        .collect()
}

/// Puts a job into the queue as nobody's.
fn queue(tx: &mut dyn Tx, id: i64, kept: &Kept, now: i64) -> Result<()> {
    tx.execute(
        "UPDATE jobs SET status = 'pending', attempt = $1, allowed = $2, queued_at = $3, due_at = NULL, \
         finished_at = NULL, failure_reason = NULL, exit_code = NULL, runner_id = NULL, manager_id = NULL, \
         token_hash = NULL, reserved_until = NULL, touched_at = NULL WHERE id = $4",
        params![kept.attempt, kept.allowed, now, id],
    )?;
    Ok(())
}

/// Who holds a resource group, besides one.
fn holder(tx: &mut dyn Tx, project: i64, group: &str, besides: Option<i64>) -> Result<Option<i64>> {
    crate::tx::scalar(
        tx,
        &format!(
            "SELECT id FROM jobs WHERE project_id = $1 AND resource_group = $2 AND status IN {HOLDS} AND id <> $3 \
             LIMIT 1"
        ),
        params![project, group, besides.unwrap_or(0)],
    )
}

/// Gives a resource that nobody holds any more to the oldest job that waits for it.
fn pass_on(tx: &mut dyn Tx, configs: &Configs, project: i64, group: &str, now: i64) -> Result<()> {
    if holder(tx, project, group, None)?.is_some() {
        return Ok(());
    }
    let next = one(
        tx,
        "SELECT id, pipeline_id, tags, protected, attempt, allowed, (SELECT shared_runners FROM projects WHERE projects.id = \
         jobs.project_id) FROM jobs WHERE project_id = $1 AND \
         resource_group = $2 AND status = 'waiting_for_resource' ORDER BY id LIMIT 1",
        params![project, group],
    )?;
    let Some(mut next) = next else { return Ok(()) };
    let (id, pipeline): (i64, i64) = (next.take()?, next.take()?);
    let tags: String = next.take()?;
    let protected = next.take()?;
    let kept = Kept { status: Status::Pending, attempt: next.take()?, allowed: next.take()? };
    queue(tx, id, &kept, now)?;
    tx.changed(Change::Job { project, pipeline, job: id, status: Status::Pending });
    let tags = json(&tags, "a list of tags")?;
    let wants = Wants { project, tags, protected, instance_runners: next.take()? };
    tx.changed(Change::Queued { wants });
    refresh(tx, configs, pipeline, now)
}

fn write_status(
    tx: &mut dyn Tx,
    project: i64,
    pipeline: i64,
    before: Status,
    scheduler: &Scheduler,
    now: i64,
) -> Result<()> {
    let status = scheduler.pipeline_status();
    let finished = status.is_complete().then_some(now);
    tx.execute(
        "UPDATE pipelines SET status = $1, warnings = $2, updated_at = $3, started_at = COALESCE(started_at, \
         (SELECT MIN(started_at) FROM jobs WHERE pipeline_id = $4)), finished_at = $5 WHERE id = $6",
        params![status.word(), scheduler.has_warnings(), now, pipeline, finished, pipeline],
    )?;
    if before != status {
        tx.changed(Change::Pipeline { project, pipeline, status });
    }
    Ok(())
}

/// Writes the status of a pipeline, of which a job was changed from outside.
fn refresh(tx: &mut dyn Tx, configs: &Configs, pipeline: i64, now: i64) -> Result<()> {
    Drive::load(tx, configs, pipeline, now)?.settle()
}
