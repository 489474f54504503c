//! Users, their sessions and tokens. Called by log-in, by every request that brings a token, and by `harrier admin`.
//! Passwords come here hashed already.

use crate::error::{DatabaseError, Result};
use crate::store::Store;
use crate::token::{TokenKind, token_hash};
use crate::tx::{Row, Tx, one, params, scalar};
use crate::views::{json, to_json};
use harrier_base::Secret;

/// A user to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewUser {
    /// Log-in name.
    pub username: String,
    /// Display name.
    pub name: String,
    /// Mail address.
    pub email: String,
    /// Hash of the password; `None`: cannot log in yet.
    pub password: Option<String>,
    /// May do everything.
    pub admin: bool,
}

/// A change of a user; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserEdit {
    /// Display name.
    pub name: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Hash of the password.
    pub password: Option<String>,
    /// May do everything.
    pub admin: Option<bool>,
    /// May not do anything.
    pub blocked: Option<bool>,
    /// Wrong passwords before that are forgiven.
    pub unlocked_at: Option<i64>,
    /// Language of the pages; empty: as the browser says.
    pub locale: Option<String>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    /// Id.
    pub id: i64,
    /// Log-in name.
    pub username: String,
    /// Display name.
    pub name: String,
    /// Mail address.
    pub email: String,
    /// May do everything.
    pub admin: bool,
    /// May not do anything.
    pub blocked: bool,
    /// Language of the pages; empty: as the browser says.
    pub locale: String,
    /// Made.
    pub created_at: i64,
    /// Wrong passwords before that are forgiven.
    pub unlocked_at: Option<i64>,
}

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Personal, project or trigger token, or a link that is good once.
    pub kind: TokenKind,
    /// Whose.
    pub user: Option<i64>,
    /// For which project.
    pub project: Option<i64>,
    /// What its owner calls it.
    pub name: String,
    /// `api`, `read_api`, …
    pub scopes: Vec<String>,
    /// Of a project token.
    pub access_level: Option<i64>,
    /// When it ends.
    pub expires_at: Option<i64>,
}

/// A token; the token itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// Id.
    pub id: i64,
    /// `personal`, `project`, `trigger` or `session`.
    pub kind: String,
    /// Whose.
    pub user: Option<i64>,
    /// For which project.
    pub project: Option<i64>,
    /// What its owner calls it.
    pub name: String,
    /// First characters, so that its owner knows it again.
    pub hint: String,
    /// `api`, `read_api`, …
    pub scopes: Vec<String>,
    /// Of a project token.
    pub access_level: Option<i64>,
    /// Made.
    pub created_at: i64,
    /// When it ends.
    pub expires_at: Option<i64>,
    /// Taken back.
    pub revoked_at: Option<i64>,
    /// Last used.
    pub used_at: Option<i64>,
}

/// A log-in session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Id.
    pub id: i64,
    /// Whose.
    pub user: i64,
    /// What forms must send back.
    pub csrf: Secret,
    /// When it ends.
    pub expires_at: i64,
}

const USER: &str = "id, username, name, email, admin, state, locale, created_at, unlocked_at";
const TOKEN: &str = "id, kind, user_id, project_id, name, hint, scopes, access_level, created_at, expires_at, revoked_at, used_at";

fn kind_word(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Personal => "personal",
        TokenKind::Project => "project",
        TokenKind::Trigger => "trigger",
        TokenKind::Runner | TokenKind::LegacyRunner => "runner",
        TokenKind::Registration => "registration",
        TokenKind::Job => "job",
        TokenKind::Session => "session",
    }
}

impl Store {
    /// Makes a user.
    pub async fn create_user(&self, new: NewUser, now: i64) -> Result<UserView> {
        self.write(move |tx| {
            let taken: Option<i64> =
                scalar(tx, "SELECT id FROM users WHERE username = $1", params![&new.username])?;
            if taken.is_some() {
                return Err(DatabaseError::Taken { what: "user", name: new.username });
            }
            let name = if new.name.is_empty() { &new.username } else { &new.name };
            let id: Option<i64> = scalar(
                tx,
                "INSERT INTO users (username, name, email, password, admin, state, created_at) VALUES ($1, $2, $3, $4, $5, \
                 'active', $6) RETURNING id",
                params![&new.username, name, &new.email, new.password.clone(), new.admin, now],
            )?;
            user(tx, id.ok_or(DatabaseError::NotFound("new user"))?)
        })
        .await
    }

    /// One user.
    pub async fn user(&self, id: i64) -> Result<UserView> {
        self.read(move |tx| user(tx, id)).await
    }

    /// The user of a log-in name, with the hash of the password.
    pub async fn user_named(&self, username: &str) -> Result<Option<(UserView, Option<String>)>> {
        let username = username.to_owned();
        self.read(move |tx| {
            let row = one(
                tx,
                &format!("SELECT {USER}, password FROM users WHERE username = $1"),
                params![username],
            )?;
            row.map(|mut row| Ok((read_user(&mut row)?, row.take()?))).transpose()
        })
        .await
    }

    /// All users by name.
    pub async fn users(&self) -> Result<Vec<UserView>> {
        self.read(|tx| {
            let rows = tx.query(&format!("SELECT {USER} FROM users ORDER BY username"), &[])?;
            rows.into_iter().map(|mut row| read_user(&mut row)).collect()
        })
        .await
    }

    /// Changes a user. A new password, and a block, end all sessions.
    pub async fn edit_user(&self, id: i64, edit: UserEdit) -> Result<UserView> {
        self.write(move |tx| {
            let was = user(tx, id)?;
            let blocked = edit.blocked.unwrap_or(was.blocked);
            tx.execute(
                "UPDATE users SET name = $1, email = $2, password = COALESCE($3, password), admin = $4, state = $5, locale = \
                 $6, unlocked_at = COALESCE($7, unlocked_at) WHERE id = $8",
                params![
                    edit.name.unwrap_or(was.name),
                    edit.email.unwrap_or(was.email),
                    edit.password.clone(),
                    edit.admin.unwrap_or(was.admin),
                    if blocked { "blocked" } else { "active" },
                    edit.locale.unwrap_or(was.locale),
                    edit.unlocked_at,
                    id,
                ],
            )?;
            if edit.password.is_some() || blocked {
                tx.execute("DELETE FROM sessions WHERE user_id = $1", params![id])?;
            }
            user(tx, id)
        })
        .await
    }

    /// Removes a user with sessions, tokens and memberships.
    pub async fn delete_user(&self, id: i64) -> Result<()> {
        self.write(move |tx| match tx.execute("DELETE FROM users WHERE id = $1", params![id])? {
            0 => Err(DatabaseError::NotFound("user")),
            _ => Ok(()),
        })
        .await
    }

    /// Makes a token, which is shown this once.
    pub async fn create_token(&self, new: NewToken, now: i64) -> Result<(TokenView, Secret)> {
        self.write(move |tx| insert_token(tx, &new, now)).await
    }

    /// A token that is good now; its use is written down once a minute.
    pub async fn token(&self, token: &Secret, now: i64) -> Result<Option<TokenView>> {
        let hash = token_hash(token.expose());
        let found = self
            .read(move |tx| {
                let sql = format!(
                    "SELECT {TOKEN} FROM tokens WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR \
                     expires_at > $2)"
                );
                one(tx, &sql, params![hash, now])?.map(|mut row| read_token(&mut row)).transpose()
            })
            .await?;
        if let Some(token) = &found
            && token.used_at.is_none_or(|at| now.saturating_sub(at) > 60_000)
        {
            let id = token.id;
            self.write(move |tx| {
                tx.execute("UPDATE tokens SET used_at = $1 WHERE id = $2", params![now, id])
            })
            .await?;
        }
        Ok(found)
    }

    /// Tokens of a user or a project that were not taken back.
    pub async fn tokens(
        &self,
        kind: TokenKind,
        user: Option<i64>,
        project: Option<i64>,
    ) -> Result<Vec<TokenView>> {
        self.read(move |tx| {
            let rows = tx.query(
                &format!(
                    "SELECT {TOKEN} FROM tokens WHERE kind = $1 AND COALESCE(user_id, 0) = COALESCE($2, user_id, 0) AND \
                     COALESCE(project_id, 0) = COALESCE($3, project_id, 0) AND revoked_at IS NULL ORDER BY id"
                ),
                params![kind_word(kind), user, project],
            )?;
            rows.into_iter().map(|mut row| read_token(&mut row)).collect()
        })
        .await
    }

    /// Gives a token another name.
    pub async fn rename_token(&self, id: i64, name: String) -> Result<TokenView> {
        self.write(move |tx| {
            tx.execute("UPDATE tokens SET name = $1 WHERE id = $2", params![name, id])?;
            token(tx, id)
        })
        .await
    }

    /// A new token in the place of one, with its name, scopes and reach; the old one ends now.
    pub async fn rotate_token(
        &self,
        id: i64,
        expires_at: Option<i64>,
        now: i64,
    ) -> Result<(TokenView, Secret)> {
        self.write(move |tx| {
            let was = token(tx, id)?;
            let kind = match was.kind.as_str() {
                "personal" => TokenKind::Personal,
                "project" => TokenKind::Project,
                _ => return Err(DatabaseError::NotFound("token")),
            };
            let sql = "UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR \
                       expires_at > $3)";
            if tx.execute(sql, params![now, id, now])? == 0 {
                return Err(DatabaseError::NotFound("token"));
            }
            let new = NewToken {
                kind,
                user: was.user,
                project: was.project,
                name: was.name,
                scopes: was.scopes,
                access_level: was.access_level,
                expires_at,
            };
            insert_token(tx, &new, now)
        })
        .await
    }

    /// Takes a token back.
    pub async fn revoke_token(&self, id: i64, now: i64) -> Result<()> {
        self.write(move |tx| {
            let sql = "UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
            match tx.execute(sql, params![now, id])? {
                0 => Err(DatabaseError::NotFound("token")),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Uses a link that is good once.
    pub async fn use_once(&self, token: &Secret, now: i64) -> Result<Option<TokenView>> {
        let hash = token_hash(token.expose());
        self.write(move |tx| {
            let sql = format!(
                "SELECT {TOKEN} FROM tokens WHERE hash = $1 AND kind = 'session' AND revoked_at IS NULL AND (expires_at IS \
                 NULL OR expires_at > $2)"
            );
            let Some(mut row) = one(tx, &sql, params![hash, now])? else { return Ok(None) };
            let found = read_token(&mut row)?;
            tx.execute("UPDATE tokens SET revoked_at = $1 WHERE id = $2", params![now, found.id])?;
            Ok(Some(found))
        })
        .await
    }

    /// Begins a session; what the browser keeps is shown this once.
    pub async fn create_session(
        &self,
        user: i64,
        expires_at: i64,
        now: i64,
    ) -> Result<(SessionView, Secret)> {
        self.write(move |tx| {
            tx.execute("DELETE FROM sessions WHERE expires_at < $1", params![now])?;
            let (secret, csrf) = (TokenKind::Session.make()?, TokenKind::Session.make()?);
            let id: Option<i64> = scalar(
                tx,
                "INSERT INTO sessions (user_id, hash, csrf, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, \
                 $6) RETURNING id",
                params![user, token_hash(secret.expose()), csrf.expose(), now, now, expires_at],
            )?;
            let id = id.ok_or(DatabaseError::NotFound("new session"))?;
            Ok((SessionView { id, user, csrf, expires_at }, secret))
        })
        .await
    }

    /// The session of what a browser sent.
    pub async fn session(&self, secret: &Secret, now: i64) -> Result<Option<SessionView>> {
        let hash = token_hash(secret.expose());
        self.read(move |tx| {
            let row = one(
                tx,
                "SELECT id, user_id, csrf, expires_at FROM sessions WHERE hash = $1 AND expires_at > $2",
                params![hash, now],
            )?;
            row.map(|mut row| {
                Ok(SessionView {
                    id: row.take()?,
                    user: row.take()?,
                    csrf: Secret::new(row.take::<String>()?),
                    expires_at: row.take()?,
                })
            })
            .transpose()
        })
        .await
    }

    /// Ends a session.
    pub async fn delete_session(&self, id: i64) -> Result<()> {
        self.write(move |tx| tx.execute("DELETE FROM sessions WHERE id = $1", params![id]).map(|_| ())).await
    }
}

fn insert_token(tx: &mut dyn Tx, new: &NewToken, now: i64) -> Result<(TokenView, Secret)> {
    let secret = new.kind.make()?;
    let hint: String = secret.expose().chars().take(new.kind.prefix().len() + 4).collect();
    let id: Option<i64> = scalar(
        tx,
        "INSERT INTO tokens (kind, user_id, project_id, name, hash, hint, scopes, access_level, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id",
        params![
            kind_word(new.kind),
            new.user,
            new.project,
            &new.name,
            token_hash(secret.expose()),
            hint,
            to_json(&new.scopes)?,
            new.access_level,
            now,
            new.expires_at,
        ],
    )?;
    Ok((token(tx, id.ok_or(DatabaseError::NotFound("new token"))?)?, secret))
}

fn token(tx: &mut dyn Tx, id: i64) -> Result<TokenView> {
    let mut row = one(tx, &format!("SELECT {TOKEN} FROM tokens WHERE id = $1"), params![id])?
        .ok_or(DatabaseError::NotFound("token"))?;
    read_token(&mut row)
}

fn user(tx: &mut dyn Tx, id: i64) -> Result<UserView> {
    let mut row = one(tx, &format!("SELECT {USER} FROM users WHERE id = $1"), params![id])?
        .ok_or(DatabaseError::NotFound("user"))?;
    read_user(&mut row)
}

fn read_user(row: &mut Row) -> Result<UserView> {
    Ok(UserView {
        id: row.take()?,
        username: row.take()?,
        name: row.take()?,
        email: row.take()?,
        admin: row.take()?,
        blocked: row.take::<String>()? != "active",
        locale: row.take()?,
        created_at: row.take()?,
        unlocked_at: row.take()?,
    })
}

fn read_token(row: &mut Row) -> Result<TokenView> {
    Ok(TokenView {
        id: row.take()?,
        kind: row.take()?,
        user: row.take()?,
        project: row.take()?,
        name: row.take()?,
        hint: row.take()?,
        scopes: json(&row.take::<String>()?, "a list of scopes")?,
        access_level: row.take()?,
        created_at: row.take()?,
        expires_at: row.take()?,
        revoked_at: row.take()?,
        used_at: row.take()?,
    })
}
