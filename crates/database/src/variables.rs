//! CI variables of the instance, of groups and of projects, sealed (`ci-yaml.md` §9.2). Called by the compiler's host, the dispatch and
//! people's requests.

use crate::error::{DatabaseError, Result};
use crate::projects::wildcard;
use crate::seal::Sealer;
use crate::store::Store;
use crate::tx::{Row, params, scalar};
use harrier_base::Variable;

/// A variable with where it applies.
#[derive(Clone, PartialEq, Eq)]
pub struct CiVariable {
    /// Key, value, file, masked, raw.
    pub variable: Variable,
    /// Only for protected refs.
    pub protected: bool,
    /// Its value is never shown again.
    pub hidden: bool,
    /// Environments, with `*`.
    pub environment_scope: String,
    /// Free text.
    pub description: String,
}

/// Whose variables they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableOwner {
    /// Every project's.
    Instance,
    /// Of the projects in a group and below it.
    Group(i64),
    /// One project's.
    Project(i64),
}

impl From<Option<i64>> for VariableOwner {
    fn from(project: Option<i64>) -> Self {
        project.map_or(Self::Instance, Self::Project)
    }
}

impl VariableOwner {
    /// Project and group.
    fn ids(self) -> (Option<i64>, Option<i64>) {
        match self {
            Self::Instance => (None, None),
            Self::Group(group) => (None, Some(group)),
            Self::Project(project) => (Some(project), None),
        }
    }
}

const COLUMNS: &str = "key, value, file, masked, raw, protected, hidden, environment_scope, description";

impl Store {
    /// The variables of the instance, a group or a project.
    pub async fn variables(&self, of: impl Into<VariableOwner>) -> Result<Vec<CiVariable>> {
        let sealer = self.sealer();
        let (project, group) = of.into().ids();
        self.read(move |tx| {
            let rows = tx.query(
                &format!(
                    "SELECT {COLUMNS} FROM variables WHERE COALESCE(project_id, 0) = $1 AND COALESCE(namespace_id, 0) = $2 ORDER BY \
                     key, environment_scope"
                ),
                params![project.unwrap_or(0), group.unwrap_or(0)],
            )?;
            rows.into_iter().map(|mut row| read(&mut row, &sealer)).collect()
        })
        .await
    }

    /// Sets a variable: made when it is new for its key and scope and `replace` is false, changed when it is there and true.
    pub async fn set_variable(
        &self,
        of: impl Into<VariableOwner>,
        variable: CiVariable,
        replace: bool,
    ) -> Result<()> {
        let sealer = self.sealer();
        let (project, group) = of.into().ids();
        self.write(move |tx| {
            let sealed = sealer.seal(variable.variable.value.as_bytes())?;
            let key = variable.variable.key.clone();
            let old = tx.execute(
                "DELETE FROM variables WHERE COALESCE(project_id, 0) = $1 AND COALESCE(namespace_id, 0) = $2 AND \
                 key = $3 AND environment_scope = $4",
                params![project.unwrap_or(0), group.unwrap_or(0), &key, &variable.environment_scope],
            )?;
            match (old, replace) {
                (0, true) => return Err(DatabaseError::NotFound("variable")),
                (0, false) | (_, true) => {}
                (_, false) => return Err(DatabaseError::Taken { what: "variable", name: key }),
            }
            tx.execute(
                "INSERT INTO variables (project_id, namespace_id, key, value, file, masked, raw, protected, hidden, environment_scope, \
                 description) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                params![
                    project,
                    group,
                    key,
                    sealed,
                    variable.variable.file,
                    variable.variable.masked,
                    variable.variable.raw,
                    variable.protected,
                    variable.hidden,
                    &variable.environment_scope,
                    &variable.description,
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Removes a variable.
    pub async fn delete_variable(&self, of: impl Into<VariableOwner>, key: &str, scope: &str) -> Result<()> {
        let (project, group) = of.into().ids();
        let (key, scope) = (key.to_owned(), scope.to_owned());
        self.write(move |tx| {
            let gone = tx.execute(
                "DELETE FROM variables WHERE COALESCE(project_id, 0) = $1 AND COALESCE(namespace_id, 0) = $2 AND \
                 key = $3 AND environment_scope = $4",
                params![project.unwrap_or(0), group.unwrap_or(0), key, scope],
            )?;
            match gone {
                0 => Err(DatabaseError::NotFound("variable")),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Whose variables a project gets, lowest rank first: the instance's, those of the groups it is in, the outermost first, its own.
    pub async fn variable_owners(&self, project: i64) -> Result<Vec<VariableOwner>> {
        self.read(move |tx| {
            let path: Option<String> =
                scalar(tx, "SELECT path FROM projects WHERE id = $1", params![project])?;
            let path = path.unwrap_or_default();
            let mut owners = vec![VariableOwner::Instance];
            for (end, _) in path.match_indices('/') {
                let group = &path[..end];
                let sql = "SELECT id FROM namespaces WHERE path = $1 AND kind = 'group'";
                owners.extend(scalar(tx, sql, params![group])?.map(VariableOwner::Group));
            }
            owners.push(VariableOwner::Project(project));
            Ok(owners)
        })
        .await
    }

    /// What a job gets of them, lowest rank first: instance, groups, then project; those with the wider scope before those with the
    /// narrower. `environment` is `None` for a job without one, and for the compiler.
    pub async fn variables_for(
        &self,
        project: i64,
        protected: bool,
        environment: Option<&str>,
    ) -> Result<Vec<Variable>> {
        let mut out = Vec::new();
        for of in self.variable_owners(project).await? {
            let mut fitting: Vec<CiVariable> = self
                .variables(of)
                .await?
                .into_iter()
                .filter(|v| (protected || !v.protected) && in_scope(&v.environment_scope, environment))
                .collect();
            fitting.sort_by_key(|v| v.environment_scope.replace('*', "").len());
            out.extend(fitting.into_iter().map(|v| v.variable));
        }
        Ok(out)
    }
}

fn in_scope(scope: &str, environment: Option<&str>) -> bool {
    scope == "*" || environment.is_some_and(|name| wildcard(scope, name))
}

fn read(row: &mut Row, sealer: &Sealer) -> Result<CiVariable> {
    Ok(CiVariable {
        variable: Variable {
            key: row.take()?,
            value: sealer.open_text(&row.take::<Vec<u8>>()?)?,
            public: false,
            file: row.take()?,
            masked: row.take()?,
            raw: row.take()?,
        },
        protected: row.take()?,
        hidden: row.take()?,
        environment_scope: row.take()?,
        description: row.take()?,
    })
}
