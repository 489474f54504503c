//! Runners, their registration and their machines (`runner-api.md` §2). Called by the runner API and by people's requests.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::matching::{Offer, Reach};
use crate::store::Store;
use crate::token::{TokenKind, token_hash};
use crate::tx::{Row, Tx, one, params, scalar};
use crate::views::{json, to_json};
use harrier_api::Info;
use harrier_base::{Secret, short_token};

/// What a runner is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRunner {
    /// Of these projects only; `None`: of the instance.
    pub projects: Option<Vec<i64>>,
    /// Free text.
    pub description: String,
    /// Free text.
    pub maintenance_note: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Takes jobs without tags.
    pub run_untagged: bool,
    /// Cannot be given to more projects.
    pub locked: bool,
    /// Takes jobs of protected refs only.
    pub protected_only: bool,
    /// Seconds, for every job.
    pub maximum_timeout: Option<i64>,
    /// Takes nothing at present.
    pub paused: bool,
    /// Who made it.
    pub created_by: Option<i64>,
    /// When its token ends.
    pub token_expires_at: Option<i64>,
}

/// A change of a runner; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunnerEdit {
    /// Free text.
    pub description: Option<String>,
    /// Free text.
    pub maintenance_note: Option<String>,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Takes jobs without tags.
    pub run_untagged: Option<bool>,
    /// Cannot be given to more projects.
    pub locked: Option<bool>,
    /// Takes jobs of protected refs only.
    pub protected_only: Option<bool>,
    /// Seconds; 0 is no limit.
    pub maximum_timeout: Option<i64>,
    /// Takes nothing at present.
    pub paused: Option<bool>,
}

/// A runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerView {
    /// Id.
    pub id: i64,
    /// What it offers.
    pub offer: Offer,
    /// First characters of its token.
    pub hint: String,
    /// It registered itself with a registration token.
    pub legacy: bool,
    /// Free text.
    pub description: String,
    /// Free text.
    pub maintenance_note: String,
    /// Cannot be given to more projects.
    pub locked: bool,
    /// Seconds, for every job.
    pub maximum_timeout: Option<i64>,
    /// When its token ends.
    pub token_expires_at: Option<i64>,
    /// Who made it.
    pub created_by: Option<i64>,
    /// Made.
    pub created_at: i64,
    /// Heard of last.
    pub contacted_at: Option<i64>,
}

impl RunnerView {
    /// `instance_type` or `project_type`.
    pub fn kind(&self) -> &'static str {
        match self.offer.reach {
            Reach::Instance => "instance_type",
            Reach::Projects(_) => "project_type",
        }
    }
}

/// One machine of a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerView {
    /// Id.
    pub id: i64,
    /// Runner.
    pub runner: i64,
    /// `s_…`, `r_…`, or `<legacy>`.
    pub system_id: String,
    /// What it said of itself.
    pub info: Info,
    /// Where it called from.
    pub address: String,
    /// First seen.
    pub created_at: i64,
    /// Heard of last.
    pub contacted_at: i64,
}

/// Whom a registration token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registers {
    /// Runners of the instance.
    Instance,
    /// Runners of a project.
    Project(i64),
}

const COLUMNS: &str = "id, kind, tags, run_untagged, protected_only, paused, hint, legacy, description, \
    maintenance_note, locked, maximum_timeout, token_expires_at, created_by, created_at, contacted_at";

/// A machine's sign of life is written down this often, in milliseconds; more would write at every poll.
const CONTACT: i64 = 30_000;

impl Store {
    /// Makes a runner. Its token is shown this once.
    pub async fn create_runner(
        &self,
        new: NewRunner,
        kind: TokenKind,
        now: i64,
    ) -> Result<(RunnerView, Secret)> {
        self.write(move |tx| {
            let token = kind.make()?;
            let id: i64 = scalar(
                tx,
                "INSERT INTO runners (kind, hash, hint, legacy, description, maintenance_note, tags, run_untagged, locked, \
                 protected_only, maximum_timeout, paused, token_expires_at, created_by, created_at) VALUES ($1, $2, $3, \
                 $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id",
                params![
                    if new.projects.is_some() { "project_type" } else { "instance_type" },
                    token_hash(token.expose()),
                    short_token(token.expose()),
                    kind == TokenKind::LegacyRunner,
                    &new.description,
                    &new.maintenance_note,
                    to_json(&new.tags)?,
                    // A runner that takes nothing at all is a mistake nobody would see (§2.1).
                    new.run_untagged || new.tags.is_empty(),
                    new.locked,
                    new.protected_only,
                    new.maximum_timeout.filter(|seconds| *seconds > 0),
                    new.paused,
                    new.token_expires_at,
                    new.created_by,
                    now,
                ],
            )?
            .ok_or(DatabaseError::NotFound("new runner"))?;
            for project in new.projects.iter().flatten() {
                tx.execute(
                    "INSERT INTO runner_projects (runner_id, project_id) VALUES ($1, $2)",
                    params![id, *project],
                )?;
            }
            tx.changed(Change::Runner { runner: id, offer: true });
            Ok((runner(tx, id)?, token))
        })
        .await
    }

    /// The runner of an authentication token that has not ended.
    pub async fn runner_of_token(&self, token: &Secret, now: i64) -> Result<Option<RunnerView>> {
        let hash = token_hash(token.expose());
        self.read(move |tx| {
            let id: Option<i64> = scalar(
                tx,
                "SELECT id FROM runners WHERE hash = $1 AND (token_expires_at IS NULL OR token_expires_at > $2)",
                params![hash, now],
            )?;
            id.map(|id| runner(tx, id)).transpose()
        })
        .await
    }

    /// One runner.
    pub async fn runner(&self, id: i64) -> Result<RunnerView> {
        self.read(move |tx| runner(tx, id)).await
    }

    /// All runners, or those that serve a project.
    pub async fn runners(&self, project: Option<i64>) -> Result<Vec<RunnerView>> {
        self.read(move |tx| {
            let mut all = all(tx)?;
            if let Some(project) = project {
                all.retain(|runner| match &runner.offer.reach {
                    Reach::Instance => true,
                    Reach::Projects(projects) => projects.contains(&project),
                });
            }
            Ok(all)
        })
        .await
    }

    /// Changes a runner.
    pub async fn edit_runner(&self, id: i64, edit: RunnerEdit) -> Result<RunnerView> {
        self.write(move |tx| {
            let was = runner(tx, id)?;
            let tags = edit.tags.unwrap_or(was.offer.tags);
            let untagged = edit.run_untagged.unwrap_or(was.offer.run_untagged) || tags.is_empty();
            tx.execute(
                "UPDATE runners SET description = $1, maintenance_note = $2, tags = $3, run_untagged = $4, locked = $5, \
                 protected_only = $6, maximum_timeout = $7, paused = $8 WHERE id = $9",
                params![
                    edit.description.unwrap_or(was.description),
                    edit.maintenance_note.unwrap_or(was.maintenance_note),
                    to_json(&tags)?,
                    untagged,
                    edit.locked.unwrap_or(was.locked),
                    edit.protected_only.unwrap_or(was.offer.protected_only),
                    edit.maximum_timeout.or(was.maximum_timeout).filter(|seconds| *seconds > 0),
                    edit.paused.unwrap_or(was.offer.paused),
                    id,
                ],
            )?;
            tx.changed(Change::Runner { runner: id, offer: true });
            runner(tx, id)
        })
        .await
    }

    /// Gives a runner of projects to one more, or takes it away.
    pub async fn set_runner_project(&self, id: i64, project: i64, serves: bool) -> Result<RunnerView> {
        self.write(move |tx| {
            let sql = match serves {
                true => {
                    "INSERT INTO runner_projects (runner_id, project_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
                }
                false => "DELETE FROM runner_projects WHERE runner_id = $1 AND project_id = $2",
            };
            tx.execute(sql, params![id, project])?;
            tx.changed(Change::Runner { runner: id, offer: true });
            runner(tx, id)
        })
        .await
    }

    /// Removes a runner. What it has at work is dropped later for silence.
    pub async fn delete_runner(&self, id: i64) -> Result<()> {
        self.write(move |tx| {
            tx.changed(Change::Runner { runner: id, offer: true });
            match tx.execute("DELETE FROM runners WHERE id = $1", params![id])? {
                0 => Err(DatabaseError::NotFound("runner")),
                _ => Ok(()),
            }
        })
        .await
    }

    /// A new token; the old one ends now. The kind stays (§2.6).
    pub async fn reset_runner_token(&self, id: i64, expires_at: Option<i64>) -> Result<(RunnerView, Secret)> {
        self.write(move |tx| {
            let legacy = runner(tx, id)?.legacy;
            let token = if legacy { TokenKind::LegacyRunner } else { TokenKind::Runner }.make()?;
            tx.execute(
                "UPDATE runners SET hash = $1, hint = $2, token_expires_at = $3 WHERE id = $4",
                params![token_hash(token.expose()), short_token(token.expose()), expires_at, id],
            )?;
            Ok((runner(tx, id)?, token))
        })
        .await
    }

    /// A machine of a runner calls: it is known from now on, and this was its last sign of life.
    pub async fn contact(
        &self,
        runner: i64,
        system_id: String,
        info: Option<Info>,
        address: String,
        now: i64,
    ) -> Result<i64> {
        let system_id = if system_id.is_empty() { "<legacy>".to_owned() } else { system_id };
        let text = info.as_ref().map(to_json).transpose()?;
        let (id, same) = (system_id.clone(), text.clone());
        let known = self
            .read(move |tx| {
                let row = one(
                    tx,
                    "SELECT id, contacted_at, info FROM managers WHERE runner_id = $1 AND system_id = $2",
                    params![runner, id],
                )?;
                let Some(mut row) = row else { return Ok(None) };
                let (id, contacted): (i64, i64) = (row.take()?, row.take()?);
                let info: String = row.take()?;
                let fresh = now.saturating_sub(contacted) < CONTACT && same.is_none_or(|same| same == info);
                Ok(fresh.then_some(id))
            })
            .await?;
        if let Some(known) = known {
            return Ok(known);
        }
        self.write(move |tx| {
            let id: Option<i64> = scalar(
                tx,
                "INSERT INTO managers (runner_id, system_id, info, address, created_at, contacted_at) VALUES ($1, $2, \
                 COALESCE($3, '{}'), $4, $5, $6) ON CONFLICT (runner_id, system_id) DO UPDATE SET info = COALESCE($7, \
                 managers.info), address = excluded.address, contacted_at = excluded.contacted_at RETURNING id",
                params![runner, system_id, text.clone(), address, now, now, text],
            )?;
            tx.execute("UPDATE runners SET contacted_at = $1 WHERE id = $2", params![now, runner])?;
            tx.changed(Change::Runner { runner, offer: false });
            id.ok_or(DatabaseError::NotFound("manager"))
        })
        .await
    }

    /// The machines of a runner, or all.
    pub async fn managers(&self, runner: Option<i64>) -> Result<Vec<ManagerView>> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT id, runner_id, system_id, info, address, created_at, contacted_at FROM managers WHERE runner_id = \
                 COALESCE($1, runner_id) ORDER BY id",
                params![runner],
            )?;
            rows.into_iter()
                .map(|mut row| {
                    Ok(ManagerView {
                        id: row.take()?,
                        runner: row.take()?,
                        system_id: row.take()?,
                        info: json(&row.take::<String>()?, "what a runner said of itself")?,
                        address: row.take()?,
                        created_at: row.take()?,
                        contacted_at: row.take()?,
                    })
                })
                .collect()
        })
        .await
    }

    /// Forgets one machine of a runner (§2.5).
    pub async fn delete_manager(&self, runner: i64, system_id: String) -> Result<()> {
        self.write(move |tx| {
            let gone = tx.execute(
                "DELETE FROM managers WHERE runner_id = $1 AND system_id = $2",
                params![runner, system_id],
            )?;
            match gone {
                0 => Err(DatabaseError::NotFound("manager")),
                _ => Ok(()),
            }
        })
        .await
    }

    /// A new registration token of the instance or a project; the old one ends now.
    pub async fn reset_registration_token(&self, whom: Registers, now: i64) -> Result<Secret> {
        self.write(move |tx| {
            let token = TokenKind::Registration.make()?;
            let project = match whom {
                Registers::Instance => None,
                Registers::Project(project) => Some(project),
            };
            tx.execute(
                "DELETE FROM registration_tokens WHERE COALESCE(project_id, 0) = $1",
                params![project.unwrap_or(0)],
            )?;
            tx.execute(
                "INSERT INTO registration_tokens (project_id, hash, created_at) VALUES ($1, $2, $3)",
                params![project, token_hash(token.expose()), now],
            )?;
            Ok(token)
        })
        .await
    }

    /// Whom a registration token is for; `None` if it is not one.
    pub async fn registers(&self, token: &Secret) -> Result<Option<Registers>> {
        let hash = token_hash(token.expose());
        self.read(move |tx| {
            let found: Option<Option<i64>> =
                scalar(tx, "SELECT project_id FROM registration_tokens WHERE hash = $1", params![hash])?;
            Ok(found.map(|project| project.map_or(Registers::Instance, Registers::Project)))
        })
        .await
    }
}

pub(crate) fn runner(tx: &mut dyn Tx, id: i64) -> Result<RunnerView> {
    let sql = format!("SELECT {COLUMNS} FROM runners WHERE id = $1");
    let mut row = one(tx, &sql, params![id])?.ok_or(DatabaseError::NotFound("runner"))?;
    read(tx, &mut row)
}

pub(crate) fn all(tx: &mut dyn Tx) -> Result<Vec<RunnerView>> {
    let rows = tx.query(&format!("SELECT {COLUMNS} FROM runners ORDER BY id"), &[])?;
    rows.into_iter().map(|mut row| read(tx, &mut row)).collect()
}

fn read(tx: &mut dyn Tx, row: &mut Row) -> Result<RunnerView> {
    let id = row.take()?;
    let kind: String = row.take()?;
    let reach = match kind.as_str() {
        "project_type" => {
            let rows = tx.query(
                "SELECT project_id FROM runner_projects WHERE runner_id = $1 ORDER BY project_id",
                params![id],
            )?;
            Reach::Projects(rows.into_iter().map(|mut row| row.take()).collect::<Result<_>>()?)
        }
        _ => Reach::Instance,
    };
    Ok(RunnerView {
        id,
        offer: Offer {
            reach,
            tags: json(&row.take::<String>()?, "a list of tags")?,
            run_untagged: row.take()?,
            protected_only: row.take()?,
            paused: row.take()?,
        },
        hint: row.take()?,
        legacy: row.take()?,
        description: row.take()?,
        maintenance_note: row.take()?,
        locked: row.take()?,
        maximum_timeout: row.take()?,
        token_expires_at: row.take()?,
        created_by: row.take()?,
        created_at: row.take()?,
        contacted_at: row.take()?,
    })
}
