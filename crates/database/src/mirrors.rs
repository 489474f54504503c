//! Mirrors: projects whose branches and tags are fetched from elsewhere. When the next fetch is due is the caller's to say; here it
//! is only kept. Called by the API, the pages, `harrier project` and the coordinator's fetches. An address is kept without its
//! log-in; that is sealed.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::seal::Sealer;
use crate::store::Store;
use crate::token::TokenKind;
use crate::tx::{Row, Tx, one, params, scalar};
use harrier_base::Secret;

/// Far away: a fetch is under way, or the mirror is off.
const NEVER: i64 = i64::MAX / 4;

/// With what a remote lets us in.
#[derive(Clone, Default)]
pub struct Login {
    /// For HTTP.
    pub username: String,
    /// For HTTP: password or token.
    pub password: Option<Secret>,
    /// For ssh: a private key, as its file holds it.
    pub key: Option<Secret>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Sealed {
    username: String,
    password: Option<String>,
    key: Option<String>,
}

/// A mirror to be made, or to take the place of one.
pub struct NewMirror {
    /// Project.
    pub project: i64,
    /// Without a log-in.
    pub url: String,
    /// Log-in.
    pub login: Option<Login>,
    /// With whose rights pipelines are made.
    pub user: i64,
    /// Branches and tags that moved get pipelines.
    pub trigger_builds: bool,
    /// Pull requests are fetched too.
    pub pull_requests: bool,
    /// Seconds between two fetches.
    pub interval: i64,
}

/// A change of a mirror; what is `None` stays.
#[derive(Default)]
pub struct MirrorEdit {
    /// Without a log-in. Another address loses the log-in, which was for the one before.
    pub url: Option<String>,
    /// Log-in; `Some(None)` removes it.
    pub login: Option<Option<Login>>,
    /// With whose rights pipelines are made.
    pub user: Option<i64>,
    /// It is fetched.
    pub enabled: Option<bool>,
    /// Branches and tags that moved get pipelines.
    pub trigger_builds: Option<bool>,
    /// Pull requests are fetched too.
    pub pull_requests: Option<bool>,
    /// Seconds between two fetches.
    pub interval: Option<i64>,
}

/// A mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorView {
    /// Project.
    pub project: i64,
    /// Without a log-in.
    pub url: String,
    /// There is a log-in.
    pub has_login: bool,
    /// There is a secret for webhooks.
    pub has_webhook_secret: bool,
    /// With whose rights pipelines are made.
    pub user: Option<i64>,
    /// It is fetched.
    pub enabled: bool,
    /// Branches and tags that moved get pipelines.
    pub trigger_builds: bool,
    /// Pull requests are fetched too.
    pub pull_requests: bool,
    /// Seconds between two fetches.
    pub interval: i64,
    /// When it is fetched next; `None` while it is being fetched or off.
    pub next_at: Option<i64>,
    /// A fetch is under way since then.
    pub started_at: Option<i64>,
    /// The last fetch ended then.
    pub tried_at: Option<i64>,
    /// The last fetch that went well ended then.
    pub fetched_at: Option<i64>,
    /// Fetches that failed since then.
    pub failures: i64,
    /// Why the last one failed.
    pub error: Option<String>,
}

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// All is here.
    Well,
    /// In words for a person.
    Failed(String),
}

const COLUMNS: &str = "project_id, url, login IS NOT NULL, webhook_secret IS NOT NULL, user_id, enabled, trigger_builds, \
    pull_requests, interval_seconds, next_at, started_at, tried_at, fetched_at, failures, error";

impl Store {
    /// Makes a project a mirror; what is known of one it was before is forgotten. It is due at once. Gives the secret for
    /// webhooks, this once.
    pub async fn set_mirror(&self, new: NewMirror, now: i64) -> Result<(MirrorView, Secret)> {
        let sealer = self.sealer();
        let secret = webhook_secret()?;
        let sealed = sealer.seal(secret.expose().as_bytes())?;
        self.write(move |tx| {
            tx.execute("DELETE FROM mirrors WHERE project_id = $1", params![new.project])?;
            tx.execute(
                "INSERT INTO mirrors (project_id, url, login, webhook_secret, user_id, enabled, trigger_builds, pull_requests, \
                 interval_seconds, next_at) VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9)",
                params![
                    new.project,
                    &new.url,
                    new.login.as_ref().map(|login| seal(&sealer, login)).transpose()?,
                    sealed,
                    new.user,
                    new.trigger_builds,
                    new.pull_requests,
                    new.interval,
                    now,
                ],
            )?;
            tx.changed(Change::Due);
            mirror(tx, new.project)?.ok_or(DatabaseError::NotFound("new mirror"))
        })
        .await
        .map(|view| (view, secret))
    }

    /// The mirror that a project is; `None`: it is none.
    pub async fn mirror(&self, project: i64) -> Result<Option<MirrorView>> {
        self.read(move |tx| mirror(tx, project)).await
    }

    /// All mirrors, by project.
    pub async fn mirrors(&self) -> Result<Vec<MirrorView>> {
        self.read(move |tx| {
            let rows = tx.query(&format!("SELECT {COLUMNS} FROM mirrors ORDER BY project_id"), &[])?;
            rows.into_iter().map(|mut row| read(&mut row)).collect()
        })
        .await
    }

    /// Changes a mirror; it is due at once.
    pub async fn edit_mirror(&self, project: i64, edit: MirrorEdit, now: i64) -> Result<MirrorView> {
        let sealer = self.sealer();
        self.write(move |tx| {
            let was = mirror(tx, project)?.ok_or(DatabaseError::NotFound("mirror"))?;
            let moved = edit.url.as_ref().is_some_and(|url| *url != was.url);
            let login = match edit.login {
                Some(login) => Some(login),
                None if moved => Some(None),
                None => None,
            };
            if let Some(login) = login {
                let sealed = login.as_ref().map(|login| seal(&sealer, login)).transpose()?;
                tx.execute(
                    "UPDATE mirrors SET login = $1 WHERE project_id = $2",
                    params![sealed, project],
                )?;
            }
            let enabled = edit.enabled.unwrap_or(was.enabled);
            tx.execute(
                "UPDATE mirrors SET url = $1, user_id = $2, enabled = $3, trigger_builds = $4, pull_requests = $5, \
                 interval_seconds = $6, next_at = $7, failures = 0, error = NULL WHERE project_id = $8",
                params![
                    edit.url.unwrap_or(was.url),
                    edit.user.or(was.user),
                    enabled,
                    edit.trigger_builds.unwrap_or(was.trigger_builds),
                    edit.pull_requests.unwrap_or(was.pull_requests),
                    edit.interval.unwrap_or(was.interval),
                    if enabled { now } else { NEVER },
                    project,
                ],
            )?;
            tx.changed(Change::Due);
            mirror(tx, project)?.ok_or(DatabaseError::NotFound("mirror"))
        })
        .await
    }

    /// The project is a mirror no more; what was fetched stays.
    pub async fn delete_mirror(&self, project: i64) -> Result<()> {
        self.write(move |tx| {
            match tx.execute("DELETE FROM mirrors WHERE project_id = $1", params![project])? {
                0 => Err(DatabaseError::NotFound("mirror")),
                _ => Ok(()),
            }
        })
        .await
    }

    /// The log-in of a mirror.
    pub async fn mirror_login(&self, project: i64) -> Result<Option<Login>> {
        let sealer = self.sealer();
        self.read(move |tx| {
            let sql = "SELECT login FROM mirrors WHERE project_id = $1";
            let sealed: Option<Option<Vec<u8>>> = scalar(tx, sql, params![project])?;
            let sealed: Option<Sealed> =
                sealed.flatten().map(|sealed| sealer.open_json(&sealed)).transpose()?;
            Ok(sealed.map(|sealed| Login {
                username: sealed.username,
                password: sealed.password.map(Secret::new),
                key: sealed.key.map(Secret::new),
            }))
        })
        .await
    }

    /// The secret that webhooks of a mirror show.
    pub async fn webhook_secret(&self, project: i64) -> Result<Option<Secret>> {
        let sealer = self.sealer();
        self.read(move |tx| {
            let sql = "SELECT webhook_secret FROM mirrors WHERE project_id = $1";
            let sealed: Option<Option<Vec<u8>>> = scalar(tx, sql, params![project])?;
            sealed.flatten().map(|sealed| sealer.open_text(&sealed).map(Secret::new)).transpose()
        })
        .await
    }

    /// A new secret for webhooks, this once; the one before is worth nothing from now on.
    pub async fn reset_webhook_secret(&self, project: i64) -> Result<Secret> {
        let secret = webhook_secret()?;
        let sealed = self.sealer().seal(secret.expose().as_bytes())?;
        self.write(move |tx| {
            let sql = "UPDATE mirrors SET webhook_secret = $1 WHERE project_id = $2";
            match tx.execute(sql, params![sealed, project])? {
                0 => Err(DatabaseError::NotFound("mirror")),
                _ => Ok(()),
            }
        })
        .await?;
        Ok(secret)
    }

    /// The mirror is due now; one that is being fetched, once more after that. False: it is off.
    pub async fn mirror_now(&self, project: i64, now: i64) -> Result<bool> {
        self.write(move |tx| {
            let sql = "UPDATE mirrors SET next_at = $1 WHERE project_id = $2 AND enabled = 1";
            let asked = tx.execute(sql, params![now, project])? > 0;
            if asked {
                tx.changed(Change::Due);
            }
            Ok(asked)
        })
        .await
    }

    /// A server begins: fetches that were under way begin anew.
    pub async fn resume_mirrors(&self, now: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE mirrors SET started_at = NULL, next_at = $1 WHERE started_at IS NOT NULL AND enabled = 1",
                params![now],
            )?;
            tx.execute("UPDATE mirrors SET started_at = NULL WHERE started_at IS NOT NULL", &[]).map(|_| ())
        })
        .await
    }

    /// Takes the mirrors that are due, whose fetch begins; and tells when the next one is.
    pub async fn take_mirrors(&self, now: i64, most: usize) -> Result<(Vec<MirrorView>, Option<i64>)> {
        // Nearly always there is nothing to write.
        let next =
            "SELECT MIN(next_at) FROM mirrors WHERE enabled = 1 AND started_at IS NULL AND next_at < $1";
        let first: Option<i64> =
            self.read(move |tx| Ok(scalar::<Option<i64>>(tx, next, params![NEVER])?.flatten())).await?;
        if most == 0 || first.is_none_or(|first| first > now) {
            return Ok((Vec::new(), first));
        }
        self.write(move |tx| {
            let due = format!(
                "SELECT {COLUMNS} FROM mirrors WHERE enabled = 1 AND started_at IS NULL AND next_at <= $1 ORDER BY next_at, \
                 project_id LIMIT $2"
            );
            let rows = tx.query(&due, params![now, most])?;
            let due: Vec<MirrorView> = rows.into_iter().map(|mut row| read(&mut row)).collect::<Result<_>>()?;
            for one in &due {
                tx.execute(
                    "UPDATE mirrors SET started_at = $1, next_at = $2 WHERE project_id = $3",
                    params![now, NEVER, one.project],
                )?;
            }
            let first: Option<i64> = scalar::<Option<i64>>(tx, next, params![NEVER])?.flatten();
            Ok((due, first))
        })
        .await
    }

    /// A fetch has ended; the next one is due at `next_at`, or earlier if somebody asked meanwhile.
    pub async fn mirror_fetched(&self, project: i64, outcome: Fetched, next_at: i64, now: i64) -> Result<()> {
        self.write(move |tx| {
            let changed = match outcome {
                Fetched::Well => tx.execute(
                    "UPDATE mirrors SET started_at = NULL, tried_at = $1, fetched_at = $2, failures = 0, error = NULL WHERE \
                     project_id = $3",
                    params![now, now, project],
                )?,
                Fetched::Failed(why) => tx.execute(
                    "UPDATE mirrors SET started_at = NULL, tried_at = $1, failures = failures + 1, error = $2 WHERE \
                     project_id = $3",
                    params![now, why, project],
                )?,
            };
            if changed > 0 {
                let nearer = "UPDATE mirrors SET next_at = $1 WHERE project_id = $2 AND next_at > $3 AND enabled = 1";
                tx.execute(nearer, params![next_at, project, next_at])?;
                tx.changed(Change::Due);
            }
            Ok(())
        })
        .await
    }
}

fn webhook_secret() -> Result<Secret> {
    TokenKind::Session.make()
}

fn seal(sealer: &Sealer, login: &Login) -> Result<Vec<u8>> {
    sealer.seal_json(&Sealed {
        username: login.username.clone(),
        password: login.password.as_ref().map(|secret| secret.expose().to_owned()),
        key: login.key.as_ref().map(|secret| secret.expose().to_owned()),
    })
}

fn mirror(tx: &mut dyn Tx, project: i64) -> Result<Option<MirrorView>> {
    let sql = format!("SELECT {COLUMNS} FROM mirrors WHERE project_id = $1");
    one(tx, &sql, params![project])?.map(|mut row| read(&mut row)).transpose()
}

fn read(row: &mut Row) -> Result<MirrorView> {
    Ok(MirrorView {
        project: row.take()?,
        url: row.take()?,
        has_login: row.take()?,
        has_webhook_secret: row.take()?,
        user: row.take()?,
        enabled: row.take()?,
        trigger_builds: row.take()?,
        pull_requests: row.take()?,
        interval: row.take()?,
        next_at: Some(row.take()?).filter(|at| *at < NEVER),
        started_at: row.take()?,
        tried_at: row.take()?,
        fetched_at: row.take()?,
        failures: row.take()?,
        error: row.take()?,
    })
}
