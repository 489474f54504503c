//! What stands before the last part of projects' paths: users and groups. Groups have variables and no members of their own.
//! Called by the API.

use crate::error::Result;
use crate::projects::namespace;
use crate::store::Store;
use crate::tx::params;

/// A user or group as a place of projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceView {
    /// Id.
    pub id: i64,
    /// `group/subgroup`
    pub path: String,
    /// It is a user's own.
    pub of_user: bool,
}

impl Store {
    /// All of them by path; those of users who have no project yet are not among them.
    pub async fn namespaces(&self) -> Result<Vec<NamespaceView>> {
        self.read(|tx| {
            let rows = tx.query("SELECT id, path, kind FROM namespaces ORDER BY path", &[])?;
            let view = |mut row: crate::tx::Row| {
                Ok(NamespaceView {
                    id: row.take()?,
                    path: row.take()?,
                    of_user: row.take::<String>()? == "user",
                })
            };
            rows.into_iter().map(view).collect()
        })
        .await
    }

    /// The namespace of a path, made if it is not there.
    pub async fn ensure_namespace(&self, path: &str) -> Result<NamespaceView> {
        let path = path.to_owned();
        self.write(move |tx| {
            let id = namespace(tx, &path)?;
            let kind: Option<String> =
                crate::tx::scalar(tx, "SELECT kind FROM namespaces WHERE id = $1", params![id])?;
            Ok(NamespaceView { id, path, of_user: kind.as_deref() == Some("user") })
        })
        .await
    }
}
