//! Statuses that other systems give commits (`POST /projects/:id/statuses/:sha`). Called by the API; they are kept and shown, and decide
//! nothing about pipelines.

use crate::error::{DatabaseError, Result};
use crate::store::Store;
use crate::tx::{Row, params};

/// What another system says of a commit. There is one for each commit, ref and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitStatus {
    /// Id; 0 before it is kept.
    pub id: i64,
    /// Project.
    pub project: i64,
    /// Commit.
    pub sha: String,
    /// Branch or tag; may be empty.
    pub git_ref: String,
    /// What it is about.
    pub name: String,
    /// `pending`, `running`, `success`, `failed`, `canceled`, `skipped`.
    pub state: String,
    /// For people.
    pub description: Option<String>,
    /// Where more is to be seen.
    pub target_url: Option<String>,
    /// Percent.
    pub coverage: Option<String>,
    /// Who said so.
    pub user: Option<i64>,
    /// First said.
    pub created_at: i64,
    /// Said to run.
    pub started_at: Option<i64>,
    /// Said to have ended.
    pub finished_at: Option<i64>,
}

const COLUMNS: &str = "id, project_id, sha, git_ref, name, state, description, target_url, coverage, user_id, created_at, \
    started_at, finished_at";

impl Store {
    /// Keeps a status over the one of the same commit, ref and name; `created_at` stays as it was.
    pub async fn set_commit_status(&self, new: CommitStatus) -> Result<CommitStatus> {
        self.write(move |tx| {
            let rows = tx.query(
                &format!(
                    "INSERT INTO commit_statuses (project_id, sha, git_ref, name, state, description, target_url, coverage, \
                     user_id, created_at, started_at, finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                     ON CONFLICT (project_id, sha, git_ref, name) DO UPDATE SET state = excluded.state, description = \
                     COALESCE(excluded.description, commit_statuses.description), target_url = \
                     COALESCE(excluded.target_url, commit_statuses.target_url), coverage = COALESCE(excluded.coverage, \
                     commit_statuses.coverage), user_id = excluded.user_id, started_at = \
                     COALESCE(commit_statuses.started_at, excluded.started_at), finished_at = excluded.finished_at \
                     RETURNING {COLUMNS}"
                ),
                params![
                    new.project,
                    &new.sha,
                    &new.git_ref,
                    &new.name,
                    &new.state,
                    new.description.clone(),
                    new.target_url.clone(),
                    new.coverage.clone(),
                    new.user,
                    new.created_at,
                    new.started_at,
                    new.finished_at,
                ],
            )?;
            rows.into_iter().next().map(|mut row| read(&mut row)).unwrap_or(Err(DatabaseError::NotFound("status")))
        })
        .await
    }

    /// The statuses of a commit, oldest first.
    pub async fn commit_statuses(&self, project: i64, sha: &str) -> Result<Vec<CommitStatus>> {
        let sha = sha.to_owned();
        self.read(move |tx| {
            let sql = format!(
                "SELECT {COLUMNS} FROM commit_statuses WHERE project_id = $1 AND sha = $2 ORDER BY id"
            );
            tx.query(&sql, params![project, sha])?.into_iter().map(|mut row| read(&mut row)).collect()
        })
        .await
    }
}

fn read(row: &mut Row) -> Result<CommitStatus> {
    Ok(CommitStatus {
        id: row.take()?,
        project: row.take()?,
        sha: row.take()?,
        git_ref: row.take()?,
        name: row.take()?,
        state: row.take()?,
        description: row.take()?,
        target_url: row.take()?,
        coverage: row.take()?,
        user: row.take()?,
        created_at: row.take()?,
        started_at: row.take()?,
        finished_at: row.take()?,
    })
}
