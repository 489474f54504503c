//! CI variables of the instance and of projects, sealed (`ci-yaml.md` §9.2). Called by the compiler's host, the dispatch and
//! people's requests.

use crate::error::{DatabaseError, Result};
use crate::projects::wildcard;
use crate::seal::Sealer;
use crate::store::Store;
use crate::tx::{Row, params};
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

const COLUMNS: &str = "key, value, file, masked, raw, protected, hidden, environment_scope, description";

impl Store {
    /// The variables of a project, or of the instance.
    pub async fn variables(&self, project: Option<i64>) -> Result<Vec<CiVariable>> {
        let sealer = self.sealer();
        self.read(move |tx| {
            let rows = tx.query(
                &format!(
                    "SELECT {COLUMNS} FROM variables WHERE COALESCE(project_id, 0) = $1 ORDER BY key, environment_scope"
                ),
                params![project.unwrap_or(0)],
            )?;
            rows.into_iter().map(|mut row| read(&mut row, &sealer)).collect()
        })
        .await
    }

    /// Sets a variable: made when it is new for its key and scope and `replace` is false, changed when it is there and true.
    pub async fn set_variable(
        &self,
        project: Option<i64>,
        variable: CiVariable,
        replace: bool,
    ) -> Result<()> {
        let sealer = self.sealer();
        self.write(move |tx| {
            let sealed = sealer.seal(variable.variable.value.as_bytes())?;
            let key = variable.variable.key.clone();
            let old = tx.execute(
                "DELETE FROM variables WHERE COALESCE(project_id, 0) = $1 AND key = $2 AND environment_scope = $3",
                params![project.unwrap_or(0), &key, &variable.environment_scope],
            )?;
            match (old, replace) {
                (0, true) => return Err(DatabaseError::NotFound("variable")),
                (0, false) | (_, true) => {}
                (_, false) => return Err(DatabaseError::Taken { what: "variable", name: key }),
            }
            tx.execute(
                "INSERT INTO variables (project_id, key, value, file, masked, raw, protected, hidden, environment_scope, \
                 description) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                params![
                    project,
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
    pub async fn delete_variable(&self, project: Option<i64>, key: &str, scope: &str) -> Result<()> {
        let (key, scope) = (key.to_owned(), scope.to_owned());
        self.write(move |tx| {
            let gone = tx.execute(
                "DELETE FROM variables WHERE COALESCE(project_id, 0) = $1 AND key = $2 AND environment_scope = $3",
                params![project.unwrap_or(0), key, scope],
            )?;
            match gone {
                0 => Err(DatabaseError::NotFound("variable")),
                _ => Ok(()),
            }
        })
        .await
    }

    /// What a job gets of them, lowest rank first: instance, then project; those with the wider scope before those with the
    /// narrower. `environment` is `None` for a job without one, and for the compiler.
    pub async fn variables_for(
        &self,
        project: i64,
        protected: bool,
        environment: Option<&str>,
    ) -> Result<Vec<Variable>> {
        let mut out = Vec::new();
        for of in [None, Some(project)] {
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
