//! Files of jobs that are in a store of objects: announced before they are sent, relied on in the same transaction as what they are
//! of, named as unwanted in the same transaction that does without them, forgotten when they are gone. So a kill at any moment
//! leaves no object that nobody knows of, and none that is relied on and not there. Called by the coordinator's storage.

use crate::change::Change;
use crate::error::Result;
use crate::store::Store;
use crate::tx::{Tx, one, params, scalar};

/// The kind that stands for a job's log beside the kinds of artifacts.
pub const LOG: &str = "";

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectView {
    /// Its name in the store.
    pub key: String,
    /// Bytes.
    pub size: i64,
}

impl Store {
    /// An object is going to be sent.
    pub async fn announce_object(&self, key: String, job: i64, kind: String, size: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO objects (object_key, job_id, kind, size, state) VALUES ($1, $2, $3, $4, 'coming')",
                params![key, job, kind, size],
            )?;
            Ok(())
        })
        .await
    }

    /// The log of a job is in the store of objects from now on. `false`: nobody wants it any more.
    pub async fn keep_log_at(&self, job: i64, key: String) -> Result<bool> {
        self.write(move |tx| {
            let known = scalar::<i64>(
                tx,
                "SELECT 1 FROM jobs WHERE id = $1 AND erased_at IS NULL AND NOT EXISTS (SELECT 1 FROM objects WHERE job_id = $1 AND \
                 kind = '' AND state = 'there')",
                params![job],
            )?;
            arrive(tx, &key, known.is_some())
        })
        .await
    }

    /// An artifact that was on this machine is in the store of objects from now on. `false`: nobody wants it any more.
    pub async fn keep_artifact_at(
        &self,
        job: i64,
        kind: String,
        sha256: String,
        key: String,
    ) -> Result<bool> {
        self.write(move |tx| {
            let known = scalar::<i64>(
                tx,
                "SELECT 1 FROM job_artifacts WHERE job_id = $1 AND kind = $2 AND sha256 = $3 AND NOT EXISTS (SELECT 1 FROM objects \
                 WHERE job_id = $1 AND kind = $2 AND state = 'there')",
                params![job, kind, sha256],
            )?;
            arrive(tx, &key, known.is_some())
        })
        .await
    }

    /// Where a file of a job is, if that is the store of objects. The kind of a log is [`LOG`].
    pub async fn object(&self, job: i64, kind: &str) -> Result<Option<ObjectView>> {
        let kind = kind.to_owned();
        self.read(move |tx| {
            let sql =
                "SELECT object_key, size FROM objects WHERE job_id = $1 AND kind = $2 AND state = 'there'";
            one(tx, sql, params![job, kind])?
                .map(|mut row| Ok(ObjectView { key: row.take()?, size: row.take()? }))
                .transpose()
        })
        .await
    }

    /// Whether anything is in the store of objects.
    pub async fn has_objects(&self) -> Result<bool> {
        self.read(|tx| {
            Ok(scalar::<i64>(tx, "SELECT 1 FROM objects WHERE state = 'there' LIMIT 1", &[])?.is_some())
        })
        .await
    }

    /// An object could not be sent whole, or nobody wants it: it is removed after `due_at`, when what is under way has come to its end.
    pub async fn give_up_object(&self, key: String, due_at: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE objects SET state = 'unwanted', due_at = $1 WHERE object_key = $2 AND state = 'coming'",
                params![due_at, key],
            )?;
            tx.changed(Change::Due);
            Ok(())
        })
        .await
    }

    /// A server before this one left these on their way.
    pub async fn give_up_objects(&self, due_at: i64) -> Result<()> {
        self.write(move |tx| {
            let sql = "UPDATE objects SET state = 'unwanted', due_at = $1 WHERE state = 'coming'";
            tx.execute(sql, params![due_at])?;
            Ok(())
        })
        .await
    }

    /// Objects to remove, at most `limit`, and when the next one will be.
    pub async fn unwanted_objects(&self, now: i64, limit: usize) -> Result<(Vec<String>, Option<i64>)> {
        self.read(move |tx| {
            let sql = "SELECT object_key FROM objects WHERE state = 'unwanted' AND due_at <= $1 ORDER BY due_at LIMIT $2";
            let rows = tx.query(sql, params![now, limit])?;
            let due = rows.into_iter().map(|mut row| row.take()).collect::<Result<Vec<String>>>()?;
            let sql = "SELECT MIN(due_at) FROM objects WHERE state = 'unwanted' AND due_at > $1";
            let next: Option<Option<i64>> = scalar(tx, sql, params![now])?;
            Ok((due, next.flatten()))
        })
        .await
    }

    /// An unwanted object is gone.
    pub async fn forget_object(&self, key: String) -> Result<()> {
        self.write(move |tx| {
            tx.execute("DELETE FROM objects WHERE object_key = $1 AND state = 'unwanted'", params![key])?;
            Ok(())
        })
        .await
    }
}

/// An object that was announced is relied on, if it still is `wanted`; else it is removed.
pub(crate) fn arrive(tx: &mut dyn Tx, key: &str, wanted: bool) -> Result<bool> {
    let state = if wanted { "there" } else { "unwanted" };
    let sql = "UPDATE objects SET state = $1 WHERE object_key = $2 AND state = 'coming'";
    let arrived = tx.execute(sql, params![state, key])? > 0 && wanted;
    if !arrived {
        tx.changed(Change::Due);
    }
    Ok(arrived)
}

/// Nobody wants the objects of a job any more; of one kind, or all.
pub(crate) fn unwanted(tx: &mut dyn Tx, job: i64, kind: Option<&str>) -> Result<()> {
    let changed = match kind {
        Some(kind) => tx.execute(
            "UPDATE objects SET state = 'unwanted' WHERE job_id = $1 AND kind = $2 AND state <> 'unwanted'",
            params![job, kind],
        )?,
        None => tx.execute(
            "UPDATE objects SET state = 'unwanted' WHERE job_id = $1 AND state <> 'unwanted'",
            params![job],
        )?,
    };
    if changed > 0 {
        tx.changed(Change::Due);
    }
    Ok(())
}
