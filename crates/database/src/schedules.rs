//! Schedules: pipelines that start by themselves. When they come next is the caller's to say (it reads cron); here it is only
//! kept. Called by people's requests and by the coordinator's clock.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::store::Store;
use crate::tx::{Row, Tx, one, params, scalar};
use harrier_base::Variable;

/// A schedule to be made.
pub struct NewSchedule {
    /// Project.
    pub project: i64,
    /// Whose rights it has.
    pub owner: i64,
    /// In its owner's words.
    pub description: String,
    /// Branch or tag.
    pub git_ref: String,
    /// `0 4 * * *`
    pub cron: String,
    /// `Europe/Berlin`
    pub time_zone: String,
    /// It is on.
    pub active: bool,
    /// When it comes next; `None` if it is off.
    pub next_at: Option<i64>,
    /// Variables of its pipelines.
    pub variables: Vec<Variable>,
}

/// A change of a schedule; what is `None` stays.
#[derive(Default)]
pub struct ScheduleEdit {
    /// Whose rights it has.
    pub owner: Option<i64>,
    /// In its owner's words.
    pub description: Option<String>,
    /// Branch or tag.
    pub git_ref: Option<String>,
    /// Cron and time zone.
    pub time: Option<(String, String)>,
    /// It is on.
    pub active: Option<bool>,
    /// When it comes next; `Some(None)`: never.
    pub next_at: Option<Option<i64>>,
    /// Variables of its pipelines.
    pub variables: Option<Vec<Variable>>,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleView {
    /// Id.
    pub id: i64,
    /// Project.
    pub project: i64,
    /// Whose rights it has.
    pub owner: Option<i64>,
    /// In its owner's words.
    pub description: String,
    /// Branch or tag.
    pub git_ref: String,
    /// `0 4 * * *`
    pub cron: String,
    /// `Europe/Berlin`
    pub time_zone: String,
    /// It is on.
    pub active: bool,
    /// When it comes next.
    pub next_at: Option<i64>,
    /// Its newest pipeline.
    pub last_pipeline: Option<i64>,
    /// Made.
    pub created_at: i64,
    /// Changed.
    pub updated_at: i64,
}

const COLUMNS: &str = "id, project_id, owner_id, description, git_ref, cron, time_zone, active, next_at, last_pipeline_id, \
    created_at, updated_at";

impl Store {
    /// Makes a schedule.
    pub async fn create_schedule(&self, new: NewSchedule, now: i64) -> Result<ScheduleView> {
        let sealer = self.sealer();
        self.write(move |tx| {
            let id: Option<i64> = scalar(
                tx,
                "INSERT INTO schedules (project_id, owner_id, description, git_ref, cron, time_zone, active, variables, \
                 next_at, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
                params![
                    new.project,
                    new.owner,
                    &new.description,
                    &new.git_ref,
                    &new.cron,
                    &new.time_zone,
                    new.active,
                    sealer.seal_json(&new.variables)?,
                    new.next_at,
                    now,
                    now,
                ],
            )?;
            tx.changed(Change::Due);
            schedule(tx, id.ok_or(DatabaseError::NotFound("new schedule"))?)
        })
        .await
    }

    /// One schedule.
    pub async fn schedule(&self, id: i64) -> Result<ScheduleView> {
        self.read(move |tx| schedule(tx, id)).await
    }

    /// Schedules of a project, or all.
    pub async fn schedules(&self, project: Option<i64>) -> Result<Vec<ScheduleView>> {
        self.read(move |tx| {
            let rows = tx.query(
                &format!(
                    "SELECT {COLUMNS} FROM schedules WHERE project_id = COALESCE($1, project_id) ORDER BY id"
                ),
                params![project],
            )?;
            rows.into_iter().map(|mut row| read(&mut row)).collect()
        })
        .await
    }

    /// The variables of its pipelines.
    pub async fn schedule_variables(&self, id: i64) -> Result<Vec<Variable>> {
        let sealer = self.sealer();
        self.read(move |tx| {
            let sealed: Option<Option<Vec<u8>>> =
                scalar(tx, "SELECT variables FROM schedules WHERE id = $1", params![id])?;
            match sealed.ok_or(DatabaseError::NotFound("schedule"))? {
                Some(sealed) => sealer.open_json(&sealed),
                None => Ok(Vec::new()),
            }
        })
        .await
    }

    /// Changes a schedule.
    pub async fn edit_schedule(&self, id: i64, edit: ScheduleEdit, now: i64) -> Result<ScheduleView> {
        let sealer = self.sealer();
        self.write(move |tx| {
            let was = schedule(tx, id)?;
            let (cron, time_zone) = edit.time.unwrap_or((was.cron, was.time_zone));
            tx.execute(
                "UPDATE schedules SET owner_id = $1, description = $2, git_ref = $3, cron = $4, time_zone = $5, active = $6, \
                 next_at = $7, updated_at = $8 WHERE id = $9",
                params![
                    edit.owner.or(was.owner),
                    edit.description.unwrap_or(was.description),
                    edit.git_ref.unwrap_or(was.git_ref),
                    cron,
                    time_zone,
                    edit.active.unwrap_or(was.active),
                    edit.next_at.unwrap_or(was.next_at),
                    now,
                    id,
                ],
            )?;
            if let Some(variables) = edit.variables {
                let sealed = sealer.seal_json(&variables)?;
                tx.execute("UPDATE schedules SET variables = $1 WHERE id = $2", params![sealed, id])?;
            }
            tx.changed(Change::Due);
            schedule(tx, id)
        })
        .await
    }

    /// Removes a schedule; its pipelines stay.
    pub async fn delete_schedule(&self, id: i64) -> Result<()> {
        self.write(move |tx| match tx.execute("DELETE FROM schedules WHERE id = $1", params![id])? {
            0 => Err(DatabaseError::NotFound("schedule")),
            _ => Ok(()),
        })
        .await
    }

    /// The schedules whose time has come, and when the next one comes.
    pub async fn due_schedules(&self, now: i64) -> Result<(Vec<ScheduleView>, Option<i64>)> {
        self.read(move |tx| {
            let rows = tx.query(
                &format!(
                    "SELECT {COLUMNS} FROM schedules WHERE active = 1 AND next_at <= $1 ORDER BY next_at, id"
                ),
                params![now],
            )?;
            let due = rows.into_iter().map(|mut row| read(&mut row)).collect::<Result<_>>()?;
            let next: Option<Option<i64>> = scalar(
                tx,
                "SELECT MIN(next_at) FROM schedules WHERE active = 1 AND next_at > $1",
                params![now],
            )?;
            Ok((due, next.flatten()))
        })
        .await
    }

    /// A schedule's time has come and is over: it comes next at `next_at`. Written before its pipeline is made, so that one
    /// time makes one pipeline at most. False: somebody else was first.
    pub async fn take_schedule(&self, id: i64, was: Option<i64>, next_at: Option<i64>) -> Result<bool> {
        self.write(move |tx| {
            let sql = "UPDATE schedules SET next_at = $1 WHERE id = $2 AND COALESCE(next_at, 0) = $3";
            Ok(tx.execute(sql, params![next_at, id, was.unwrap_or(0)])? > 0)
        })
        .await
    }

    /// The newest pipeline of a schedule.
    pub async fn set_schedule_pipeline(&self, id: i64, pipeline: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute("UPDATE pipelines SET schedule_id = $1 WHERE id = $2", params![id, pipeline])?;
            tx.execute("UPDATE schedules SET last_pipeline_id = $1 WHERE id = $2", params![pipeline, id])
                .map(|_| ())
        })
        .await
    }
}

fn schedule(tx: &mut dyn Tx, id: i64) -> Result<ScheduleView> {
    let mut row = one(tx, &format!("SELECT {COLUMNS} FROM schedules WHERE id = $1"), params![id])?
        .ok_or(DatabaseError::NotFound("schedule"))?;
    read(&mut row)
}

fn read(row: &mut Row) -> Result<ScheduleView> {
    Ok(ScheduleView {
        id: row.take()?,
        project: row.take()?,
        owner: row.take()?,
        description: row.take()?,
        git_ref: row.take()?,
        cron: row.take()?,
        time_zone: row.take()?,
        active: row.take()?,
        next_at: row.take()?,
        last_pipeline: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}
