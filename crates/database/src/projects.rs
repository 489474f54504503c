//! Projects, their members, and the refs as they were when pipelines were last made of them. Called by git, the API and pages.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::objects::unwanted;
use crate::protection::Protection;
use crate::store::Store;
use crate::tx::{Param, Row, Tx, one, params, scalar};
use crate::views::{JobView, Page, PageAt, json, to_json};

/// What may be set for a project; stored as JSON, so that what is added later has its default.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ProjectSettings {
    /// Path of the configuration; empty: `.gitlab-ci.yml`.
    pub ci_config_path: String,
    /// Seconds a job without `timeout` may run.
    pub build_timeout: i64,
    /// Commits fetched; 0 is all.
    pub git_depth: u32,
    /// `fetch` rather than `clone`.
    pub git_fetch: bool,
    /// Newer pipelines of a ref cancel older ones.
    pub auto_cancel: bool,
    /// Caches of protected refs are apart.
    pub separate_caches: bool,
    /// Rules for branches; the default branch has one without being named.
    pub protected_branches: Vec<Protection>,
    /// The default branch has no rule but those that fit it by name.
    pub default_branch_open: bool,
    /// Rules for tags.
    pub protected_tags: Vec<Protection>,
    /// Instance runners take its jobs.
    pub shared_runners: bool,
    /// The latest archives of a ref do not expire.
    pub keep_latest_artifacts: bool,
    /// Guests see logs and artifacts.
    pub public_jobs: bool,
}

impl Default for ProjectSettings {
    fn default() -> Self {
        Self {
            ci_config_path: String::new(),
            build_timeout: 3600,
            git_depth: 20,
            git_fetch: true,
            auto_cancel: true,
            separate_caches: true,
            protected_branches: Vec::new(),
            default_branch_open: false,
            protected_tags: Vec::new(),
            shared_runners: true,
            keep_latest_artifacts: true,
            public_jobs: true,
        }
    }
}

/// A project to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewProject {
    /// `group/name`, at least two parts.
    pub path: String,
    /// Display name; empty: the last part of the path.
    pub name: String,
    /// Description.
    pub description: String,
    /// `private`, `internal` or `public`.
    pub visibility: String,
    /// Default branch.
    pub default_branch: String,
    /// Becomes its owner.
    pub owner: Option<i64>,
    /// Settings.
    pub settings: ProjectSettings,
}

/// A change of a project; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectEdit {
    /// Display name.
    pub name: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// `private`, `internal` or `public`.
    pub visibility: Option<String>,
    /// Default branch.
    pub default_branch: Option<String>,
    /// Settings.
    pub settings: Option<ProjectSettings>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectView {
    /// Id.
    pub id: i64,
    /// Id of what is before the last slash.
    pub namespace: i64,
    /// `group/name`
    pub path: String,
    /// Display name.
    pub name: String,
    /// Description.
    pub description: String,
    /// `private`, `internal` or `public`.
    pub visibility: String,
    /// Default branch.
    pub default_branch: String,
    /// Settings.
    pub settings: ProjectSettings,
    /// How often its caches were cleared.
    pub cache_generation: i64,
    /// Who made it.
    pub created_by: Option<i64>,
    /// Made.
    pub created_at: i64,
    /// Last pipeline.
    pub active_at: i64,
}

impl ProjectView {
    /// The path of its configuration.
    pub fn ci_config_path(&self) -> &str {
        match self.settings.ci_config_path.as_str() {
            "" => ".gitlab-ci.yml",
            path => path,
        }
    }
}

/// Whether `text` matches a pattern in which `*` stands for anything; used for protected refs and environment scopes.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// What a member may do, as GitLab counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub enum AccessLevel {
    /// 10
    Guest,
    /// 20
    Reporter,
    /// 30
    Developer,
    /// 40
    Maintainer,
    /// 50
    Owner,
}

impl From<AccessLevel> for i64 {
    fn from(level: AccessLevel) -> Self {
        level.number()
    }
}

impl TryFrom<i64> for AccessLevel {
    type Error = String;

    fn try_from(number: i64) -> std::result::Result<Self, String> {
        Self::from_number(number).ok_or_else(|| format!("{number} is no access level"))
    }
}

impl AccessLevel {
    /// GitLab's number.
    pub fn number(self) -> i64 {
        match self {
            Self::Guest => 10,
            Self::Reporter => 20,
            Self::Developer => 30,
            Self::Maintainer => 40,
            Self::Owner => 50,
        }
    }

    /// The level of a number; `None` for one that GitLab does not have.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Guest, Self::Reporter, Self::Developer, Self::Maintainer, Self::Owner]
            .into_iter()
            .find(|level| level.number() == number)
    }
}

const COLUMNS: &str = "projects.id, projects.namespace_id, projects.path, projects.name, projects.description, \
    projects.visibility, projects.default_branch, projects.settings, projects.cache_generation, projects.created_by, \
    projects.created_at, projects.active_at";

impl Store {
    /// Makes a project; its owner becomes a member.
    pub async fn create_project(&self, new: NewProject, now: i64) -> Result<ProjectView> {
        self.write(move |tx| {
            let taken: Option<i64> =
                scalar(tx, "SELECT id FROM projects WHERE path = $1", params![&new.path])?;
            if taken.is_some() {
                return Err(DatabaseError::Taken { what: "project", name: new.path });
            }
            let (space, last) = new.path.rsplit_once('/').unwrap_or(("", &new.path));
            let namespace = namespace(tx, space)?;
            let name = if new.name.is_empty() { last } else { &new.name };
            let id: i64 = scalar(
                tx,
                "INSERT INTO projects (namespace_id, path, name, description, visibility, default_branch, settings, \
                 created_by, created_at, active_at, shared_runners) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                 RETURNING id",
                params![
                    namespace,
                    &new.path,
                    name,
                    &new.description,
                    if new.visibility.is_empty() { "private" } else { &new.visibility },
                    if new.default_branch.is_empty() { "main" } else { &new.default_branch },
                    to_json(&new.settings)?,
                    new.owner,
                    now,
                    now,
                    new.settings.shared_runners,
                ],
            )?
            .ok_or(DatabaseError::NotFound("new project"))?;
            if let Some(owner) = new.owner {
                set_member(tx, id, owner, AccessLevel::Owner, now)?;
            }
            project(tx, id)
        })
        .await
    }

    /// One project.
    pub async fn project(&self, id: i64) -> Result<ProjectView> {
        self.read(move |tx| project(tx, id)).await
    }

    /// The project of a path; `None` if there is none.
    pub async fn project_at(&self, path: &str) -> Result<Option<ProjectView>> {
        let path = path.to_owned();
        self.read(move |tx| {
            let id: Option<i64> = scalar(tx, "SELECT id FROM projects WHERE path = $1", params![path])?;
            id.map(|id| project(tx, id)).transpose()
        })
        .await
    }

    /// The path of a namespace.
    pub async fn namespace(&self, id: i64) -> Result<String> {
        self.read(move |tx| {
            scalar(tx, "SELECT path FROM namespaces WHERE id = $1", params![id])?
                .ok_or(DatabaseError::NotFound("namespace"))
        })
        .await
    }

    /// Projects that a user may see (`None`: nobody is logged in), the most active first. `all` is for administrators.
    pub async fn projects(
        &self,
        user: Option<i64>,
        all: bool,
        search: &str,
        at: PageAt,
    ) -> Result<Page<ProjectView>> {
        let search = format!("%{}%", search.to_lowercase());
        self.read(move |tx| {
            let mut given: Vec<Param> = vec![search.into()];
            let mut sql = "FROM projects WHERE lower(path) LIKE $1".to_owned();
            if !all {
                match user {
                    Some(user) => {
                        sql.push_str(
                            " AND (visibility <> 'private' OR id IN (SELECT project_id FROM members WHERE user_id = $2))",
                        );
                        given.push(user.into());
                    }
                    None => sql.push_str(" AND visibility = 'public'"),
                }
            }
            let total = scalar(tx, &format!("SELECT COUNT(*) {sql}"), &given)?.unwrap_or(0);
            given.push(at.size.into());
            given.push(at.offset().into());
            let (limit, offset) = (given.len() - 1, given.len());
            let rows = tx.query(
                &format!("SELECT {COLUMNS} {sql} ORDER BY active_at DESC, id DESC LIMIT ${limit} OFFSET ${offset}"),
                &given,
            )?;
            let entries = rows.into_iter().map(|mut row| read(&mut row)).collect::<Result<_>>()?;
            Ok(Page { entries, total })
        })
        .await
    }

    /// Changes a project.
    pub async fn edit_project(&self, id: i64, edit: ProjectEdit) -> Result<ProjectView> {
        self.write(move |tx| {
            let was = project(tx, id)?;
            let shared = was.settings.shared_runners;
            let settings = edit.settings.unwrap_or(was.settings);
            tx.execute(
                "UPDATE projects SET name = $1, description = $2, visibility = $3, default_branch = $4, settings = $5, \
                 shared_runners = $6 WHERE id = $7",
                params![
                    edit.name.unwrap_or(was.name),
                    edit.description.unwrap_or(was.description),
                    edit.visibility.unwrap_or(was.visibility),
                    edit.default_branch.unwrap_or(was.default_branch),
                    to_json(&settings)?,
                    settings.shared_runners,
                    id,
                ],
            )?;
            if settings.shared_runners && !shared {
                offer_again(tx, id)?;
            }
            project(tx, id)
        })
        .await
    }

    /// Removes a project and all that belongs to it; gives the ids of its jobs, whose files are to be removed.
    pub async fn delete_project(&self, id: i64) -> Result<Vec<i64>> {
        self.write(move |tx| {
            let jobs = tx.query("SELECT id FROM jobs WHERE project_id = $1", params![id])?;
            let ids = jobs.into_iter().map(|mut row| row.take()).collect::<Result<Vec<i64>>>()?;
            for job in &ids {
                unwanted(tx, *job, None)?;
            }
            match tx.execute("DELETE FROM projects WHERE id = $1", params![id])? {
                0 => Err(DatabaseError::NotFound("project")),
                _ => Ok(ids),
            }
        })
        .await
    }

    /// Caches that exist are used no more.
    pub async fn clear_caches(&self, id: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE projects SET cache_generation = cache_generation + 1 WHERE id = $1",
                params![id],
            )?;
            Ok(())
        })
        .await
    }

    /// The members of a project: user and level.
    pub async fn members(&self, project: i64) -> Result<Vec<(i64, AccessLevel)>> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT user_id, access_level FROM members WHERE project_id = $1 ORDER BY user_id",
                params![project],
            )?;
            rows.into_iter().map(|mut row| Ok((row.take()?, level(row.take()?)?))).collect()
        })
        .await
    }

    /// What a user may do in a project; `None` for who is no member.
    pub async fn access(&self, project: i64, user: i64) -> Result<Option<AccessLevel>> {
        self.read(move |tx| {
            let number: Option<i64> = scalar(
                tx,
                "SELECT access_level FROM members WHERE project_id = $1 AND user_id = $2",
                params![project, user],
            )?;
            number.map(level).transpose()
        })
        .await
    }

    /// Makes a user a member, or changes the level; `None` removes.
    pub async fn set_member(
        &self,
        project: i64,
        user: i64,
        level: Option<AccessLevel>,
        now: i64,
    ) -> Result<()> {
        self.write(move |tx| match level {
            Some(level) => set_member(tx, project, user, level, now),
            None => {
                let sql = "DELETE FROM members WHERE project_id = $1 AND user_id = $2";
                tx.execute(sql, params![project, user]).map(|_| ())
            }
        })
        .await
    }

    /// The refs as they were when pipelines were last made of them: full name and commit.
    pub async fn known_refs(&self, project: i64) -> Result<Vec<(String, String)>> {
        self.read(move |tx| {
            let rows =
                tx.query("SELECT name, sha FROM refs WHERE project_id = $1 ORDER BY name", params![project])?;
            rows.into_iter().map(|mut row| Ok((row.take()?, row.take()?))).collect()
        })
        .await
    }

    /// Refs are at objects that are dealt with, or are gone (`None`): all of them from here on, or none.
    pub async fn set_known_refs(&self, project: i64, refs: Vec<(String, Option<String>)>) -> Result<()> {
        self.write(move |tx| {
            refs.iter().try_for_each(|(name, object)| know_ref(tx, project, name, object.as_deref()))
        })
        .await
    }

    /// The object that a ref was at when its pipeline was made.
    pub async fn known_ref(&self, project: i64, name: &str) -> Result<Option<String>> {
        let name = name.to_owned();
        self.read(move |tx| {
            scalar(tx, "SELECT sha FROM refs WHERE project_id = $1 AND name = $2", params![project, name])
        })
        .await
    }
}

pub(crate) fn know_ref(tx: &mut dyn Tx, project: i64, name: &str, sha: Option<&str>) -> Result<()> {
    match sha {
        Some(sha) => tx.execute(
            "INSERT INTO refs (project_id, name, sha) VALUES ($1, $2, $3) ON CONFLICT (project_id, name) DO UPDATE SET \
             sha = excluded.sha",
            params![project, name, sha],
        )?,
        None => {
            tx.execute("DELETE FROM refs WHERE project_id = $1 AND name = $2", params![project, name])?
        }
    };
    Ok(())
}

/// Runners that wait hear of a project's pending jobs, which more of them may take now.
fn offer_again(tx: &mut dyn Tx, project: i64) -> Result<()> {
    let sql = format!(
        "SELECT {} FROM jobs WHERE project_id = $1 AND status = 'pending' AND runner_id IS NULL AND bridge = 0 ORDER BY id \
         LIMIT 1000",
        JobView::COLUMNS
    );
    for mut row in tx.query(&sql, params![project])? {
        tx.changed(Change::Queued { wants: JobView::read(&mut row)?.wants() });
    }
    Ok(())
}

fn level(number: i64) -> Result<AccessLevel> {
    AccessLevel::from_number(number)
        .ok_or_else(|| DatabaseError::Damaged { wanted: "an access level", found: number.to_string() })
}

fn set_member(tx: &mut dyn Tx, project: i64, user: i64, level: AccessLevel, now: i64) -> Result<()> {
    tx.execute(
        "INSERT INTO members (project_id, user_id, access_level, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT \
         (project_id, user_id) DO UPDATE SET access_level = excluded.access_level",
        params![project, user, level.number(), now],
    )?;
    Ok(())
}

pub(crate) fn namespace(tx: &mut dyn Tx, path: &str) -> Result<i64> {
    if let Some(id) = scalar(tx, "SELECT id FROM namespaces WHERE path = $1", params![path])? {
        return Ok(id);
    }
    let user: Option<i64> = scalar(tx, "SELECT id FROM users WHERE username = $1", params![path])?;
    let kind = if user.is_some() { "user" } else { "group" };
    let made: Option<i64> =
        scalar(tx, "INSERT INTO namespaces (path, kind) VALUES ($1, $2) RETURNING id", params![path, kind])?;
    made.ok_or(DatabaseError::NotFound("new namespace"))
}

pub(crate) fn project(tx: &mut dyn Tx, id: i64) -> Result<ProjectView> {
    let sql = format!("SELECT {COLUMNS} FROM projects WHERE id = $1");
    let mut row = one(tx, &sql, params![id])?.ok_or(DatabaseError::NotFound("project"))?;
    read(&mut row)
}

fn read(row: &mut Row) -> Result<ProjectView> {
    Ok(ProjectView {
        id: row.take()?,
        namespace: row.take()?,
        path: row.take()?,
        name: row.take()?,
        description: row.take()?,
        visibility: row.take()?,
        default_branch: row.take()?,
        settings: json(&row.take::<String>()?, "settings of a project")?,
        cache_generation: row.take()?,
        created_by: row.take()?,
        created_at: row.take()?,
        active_at: row.take()?,
    })
}

#[cfg(test)]
mod tests {
    use super::wildcard;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, want) in [
            ("main", "main", true),
            ("main", "mainly", false),
            ("*", "", true),
            ("release/*", "release/1", true),
            ("release/*", "release", false),
            ("*-stable", "1-stable", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("v*", "v1*", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(wildcard(pattern, text), want, "{pattern} {text}");
        }
    }
}
