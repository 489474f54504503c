//! Merge requests: that a branch is to come into another one, so that its pipelines are compared with that one. They are opened,
//! changed and closed here; that their branch has arrived is found by who sees the target move. Called by pushes, the API and the
//! pages.

use crate::error::{DatabaseError, Result};
use crate::store::Store;
use crate::tx::{Param, Row, Tx, one, params, scalar};
use crate::views::{Page, PageAt, json, to_json};

/// What a merge request is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeRequestState {
    /// Its branch is to come into the target.
    Opened,
    /// It is given up, or its branch is gone.
    Closed,
    /// Its branch is in the target.
    Merged,
}

impl MergeRequestState {
    /// As GitLab says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Merged => "merged",
        }
    }

    /// From the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Opened, Self::Closed, Self::Merged].into_iter().find(|state| state.word() == word)
    }
}

/// A merge request. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequestView {
    /// Id.
    pub id: i64,
    /// Number within the project.
    pub iid: i64,
    /// Project of both branches.
    pub project: i64,
    /// The branch that is to come into the other.
    pub source_branch: String,
    /// The other.
    pub target_branch: String,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Labels.
    pub labels: Vec<String>,
    /// What it is in.
    pub state: MergeRequestState,
    /// Who opened it.
    pub author: Option<i64>,
    /// The commit of the source branch that was dealt with last; empty: none yet.
    pub sha: String,
    /// How often the source branch has moved.
    pub version: i64,
    /// Opened.
    pub created_at: i64,
    /// Last change.
    pub updated_at: i64,
    /// Closed.
    pub closed_at: Option<i64>,
    /// Merged.
    pub merged_at: Option<i64>,
}

impl MergeRequestView {
    const COLUMNS: &str = "id, iid, project_id, source_branch, target_branch, title, description, labels, state, author_id, \
                           sha, version, created_at, updated_at, closed_at, merged_at";

    fn read(row: &mut Row) -> Result<Self> {
        Ok(Self {
            id: row.take()?,
            iid: row.take()?,
            project: row.take()?,
            source_branch: row.take()?,
            target_branch: row.take()?,
            title: row.take()?,
            description: row.take()?,
            labels: json(&row.take::<String>()?, "labels")?,
            state: {
                let word: String = row.take()?;
                MergeRequestState::from_word(&word)
                    .ok_or(DatabaseError::Damaged { wanted: "the state of a merge request", found: word })?
            },
            author: row.take()?,
            sha: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
            closed_at: row.take()?,
            merged_at: row.take()?,
        })
    }

    /// Its title says that it is not ready.
    pub fn draft(&self) -> bool {
        says_draft(&self.title)
    }

    /// `refs/merge-requests/IID/head`.
    pub fn ref_path(&self) -> String {
        format!("refs/merge-requests/{}/head", self.iid)
    }
}

/// A title that says that a merge request is not ready.
pub fn says_draft(title: &str) -> bool {
    let title = title.trim_start().to_lowercase();
    ["draft:", "[draft]", "(draft)"].iter().any(|mark| title.starts_with(mark))
}

/// A merge request to be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMergeRequest {
    /// Project.
    pub project: i64,
    /// The branch that is to come into the other.
    pub source_branch: String,
    /// The other.
    pub target_branch: String,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Labels.
    pub labels: Vec<String>,
    /// Who opens it.
    pub author: Option<i64>,
}

/// What is changed of a merge request: `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeRequestEdit {
    /// Title.
    pub title: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Labels.
    pub labels: Option<Vec<String>>,
    /// Target branch.
    pub target_branch: Option<String>,
    /// What it is in from now on.
    pub state: Option<MergeRequestState>,
}

/// Which merge requests to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeRequestFilter {
    /// In this state.
    pub state: Option<MergeRequestState>,
    /// From this branch.
    pub source_branch: Option<String>,
    /// Into this branch.
    pub target_branch: Option<String>,
    /// With this in title or description, in whatever case.
    pub search: Option<String>,
    /// With one of these numbers; empty for all.
    pub iids: Vec<i64>,
    /// By their last change, not by their opening.
    pub by_change: bool,
    /// The oldest first.
    pub oldest_first: bool,
}

impl Store {
    /// Opens a merge request. `Taken`: there is an open one for these branches.
    pub async fn create_merge_request(&self, new: NewMergeRequest, now: i64) -> Result<MergeRequestView> {
        self.write(move |tx| {
            not_taken(tx, new.project, &new.source_branch, &new.target_branch)?;
            let iid: Option<i64> = scalar(
                tx,
                "UPDATE projects SET last_merge_request = last_merge_request + 1 WHERE id = $1 RETURNING last_merge_request",
                params![new.project],
            )?;
            let iid = iid.ok_or(DatabaseError::NotFound("project"))?;
            let id: Option<i64> = scalar(
                tx,
                "INSERT INTO merge_requests (iid, project_id, source_branch, target_branch, title, description, labels, state, \
                 author_id, sha, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'opened', $8, '', 0, $9, \
                 $10) RETURNING id",
                params![
                    iid,
                    new.project,
                    new.source_branch,
                    new.target_branch,
                    new.title,
                    new.description,
                    to_json(&new.labels)?,
                    new.author,
                    now,
                    now,
                ],
            )?;
            by_id(tx, id.ok_or(DatabaseError::NotFound("merge request"))?)
        })
        .await
    }

    /// A merge request by its number within the project.
    pub async fn merge_request(&self, project: i64, iid: i64) -> Result<MergeRequestView> {
        self.read(move |tx| {
            let columns = MergeRequestView::COLUMNS;
            let sql = format!("SELECT {columns} FROM merge_requests WHERE project_id = $1 AND iid = $2");
            let mut row =
                one(tx, &sql, params![project, iid])?.ok_or(DatabaseError::NotFound("merge request"))?;
            MergeRequestView::read(&mut row)
        })
        .await
    }

    /// Merge requests of a project, the newest first unless asked otherwise.
    pub async fn merge_requests(
        &self,
        project: i64,
        filter: MergeRequestFilter,
        at: PageAt,
    ) -> Result<Page<MergeRequestView>> {
        self.read(move |tx| {
            let mut sql = "FROM merge_requests WHERE project_id = $1".to_owned();
            let mut given: Vec<Param> = vec![project.into()];
            let conditions = [
                ("state", filter.state.map(|state| state.word().to_owned())),
                ("source_branch", filter.source_branch),
                ("target_branch", filter.target_branch),
            ];
            for (column, wanted) in conditions {
                if let Some(wanted) = wanted {
                    given.push(wanted.into());
                    sql.push_str(&format!(" AND {column} = ${}", given.len()));
                }
            }
            if let Some(search) = filter.search {
                let plain = search.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
                for _ in 0..2 {
                    given.push(format!("%{plain}%").into());
                }
                let (one, two) = (given.len() - 1, given.len());
                sql.push_str(&format!(
                    " AND (lower(title) LIKE ${one} ESCAPE '\\' OR lower(description) LIKE ${two} ESCAPE '\\')"
                ));
            }
            if !filter.iids.is_empty() {
                let list: Vec<String> = filter.iids.iter().map(i64::to_string).collect();
                sql.push_str(&format!(" AND iid IN ({})", list.join(", ")));
            }
            let total = scalar(tx, &format!("SELECT COUNT(*) {sql}"), &given)?.unwrap_or(0);
            given.push(at.size.into());
            given.push(at.offset().into());
            let (limit, offset) = (given.len() - 1, given.len());
            let order = if filter.by_change { "updated_at" } else { "id" };
            let way = if filter.oldest_first { "ASC" } else { "DESC" };
            let columns = MergeRequestView::COLUMNS;
            let rows = tx.query(
                &format!("SELECT {columns} {sql} ORDER BY {order} {way}, id {way} LIMIT ${limit} OFFSET ${offset}"),
                &given,
            )?;
            let entries = rows.into_iter().map(|mut row| MergeRequestView::read(&mut row)).collect::<Result<_>>()?;
            Ok(Page { entries, total })
        })
        .await
    }

    /// The open merge requests from a branch, the oldest first.
    pub async fn open_merge_requests_from(
        &self,
        project: i64,
        branch: &str,
    ) -> Result<Vec<MergeRequestView>> {
        self.open_merge_requests("source_branch", project, branch.to_owned()).await
    }

    /// The open merge requests into a branch, the oldest first.
    pub async fn open_merge_requests_into(
        &self,
        project: i64,
        branch: &str,
    ) -> Result<Vec<MergeRequestView>> {
        self.open_merge_requests("target_branch", project, branch.to_owned()).await
    }

    async fn open_merge_requests(
        &self,
        column: &'static str,
        project: i64,
        branch: String,
    ) -> Result<Vec<MergeRequestView>> {
        self.read(move |tx| {
            let columns = MergeRequestView::COLUMNS;
            let sql = format!(
                "SELECT {columns} FROM merge_requests WHERE project_id = $1 AND {column} = $2 AND state = 'opened' ORDER BY id"
            );
            let rows = tx.query(&sql, params![project, branch])?;
            rows.into_iter().map(|mut row| MergeRequestView::read(&mut row)).collect()
        })
        .await
    }

    /// Changes a merge request. One that is merged stays merged.
    pub async fn edit_merge_request(
        &self,
        id: i64,
        edit: MergeRequestEdit,
        now: i64,
    ) -> Result<MergeRequestView> {
        self.write(move |tx| {
            let found = by_id(tx, id)?;
            let mut set = |column: &str, value: Param| {
                let sql = format!("UPDATE merge_requests SET {column} = $1, updated_at = $2 WHERE id = $3");
                tx.execute(&sql, &[value, now.into(), id.into()])
            };
            if let Some(title) = edit.title {
                set("title", title.into())?;
            }
            if let Some(description) = edit.description {
                set("description", description.into())?;
            }
            if let Some(labels) = edit.labels {
                set("labels", to_json(&labels)?.into())?;
            }
            let target = edit.target_branch.unwrap_or_else(|| found.target_branch.clone());
            let state = edit.state.unwrap_or(found.state);
            if found.state == MergeRequestState::Merged && state != found.state {
                return Err(DatabaseError::Conflict {
                    what: format!("merge request !{}", found.iid),
                    is: found.state.word().to_owned(),
                    hint: "open another one",
                });
            }
            let opens = state == MergeRequestState::Opened && found.state != state;
            if opens || state == MergeRequestState::Opened && target != found.target_branch {
                not_taken(tx, found.project, &found.source_branch, &target)?;
            }
            let at = |wanted: MergeRequestState, was: Option<i64>| match state == wanted {
                true => was.or(Some(now)),
                false => None,
            };
            tx.execute(
                "UPDATE merge_requests SET target_branch = $1, state = $2, closed_at = $3, merged_at = $4, updated_at = $5 WHERE \
                 id = $6",
                params![
                    target,
                    state.word(),
                    at(MergeRequestState::Closed, found.closed_at),
                    at(MergeRequestState::Merged, found.merged_at),
                    now,
                    id,
                ],
            )?;
            by_id(tx, id)
        })
        .await
    }

    /// Forgets a merge request; its pipelines stay.
    pub async fn delete_merge_request(&self, id: i64) -> Result<()> {
        self.write(move |tx| match tx.execute("DELETE FROM merge_requests WHERE id = $1", params![id])? {
            0 => Err(DatabaseError::NotFound("merge request")),
            _ => Ok(()),
        })
        .await
    }

    /// The source branch is at this commit and no pipeline is made of that.
    pub async fn set_merge_request_head(&self, id: i64, sha: &str, now: i64) -> Result<()> {
        let sha = sha.to_owned();
        self.write(move |tx| head_moved(tx, id, &sha, now)).await
    }
}

/// The source branch of a merge request is at this commit.
pub(crate) fn head_moved(tx: &mut dyn Tx, id: i64, sha: &str, now: i64) -> Result<()> {
    tx.execute(
        "UPDATE merge_requests SET sha = $1, version = version + 1, updated_at = $2 WHERE id = $3 AND sha <> $1",
        params![sha, now, id],
    )?;
    Ok(())
}

fn by_id(tx: &mut dyn Tx, id: i64) -> Result<MergeRequestView> {
    let sql = format!("SELECT {} FROM merge_requests WHERE id = $1", MergeRequestView::COLUMNS);
    let mut row = one(tx, &sql, params![id])?.ok_or(DatabaseError::NotFound("merge request"))?;
    MergeRequestView::read(&mut row)
}

fn not_taken(tx: &mut dyn Tx, project: i64, source: &str, target: &str) -> Result<()> {
    let other: Option<i64> = scalar(
        tx,
        "SELECT iid FROM merge_requests WHERE project_id = $1 AND source_branch = $2 AND target_branch = $3 AND state = 'opened'",
        params![project, source, target],
    )?;
    match other {
        Some(iid) => Err(DatabaseError::Taken { what: "merge request", name: format!("!{iid}") }),
        None => Ok(()),
    }
}
