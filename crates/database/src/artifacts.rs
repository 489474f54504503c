//! What jobs left: archives and reports by kind, variables of dotenv reports, counts of tests. The bytes are files of the
//! coordinator's. Called by the runner API after a file is in its place.

use crate::change::Change;
use crate::error::{DatabaseError, Result};
use crate::jobs::{conflict, job};
use crate::objects::{arrive, unwanted};
use crate::store::Store;
use crate::tx::{Row, one, params};
use crate::views::{json, to_json};

/// One file of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactView {
    /// Job.
    pub job: i64,
    /// `archive`, `junit`, …
    pub kind: String,
    /// `zip`, `gzip`, `raw`.
    pub format: String,
    /// Name as uploaded.
    pub filename: String,
    /// Bytes.
    pub size: i64,
    /// Of its bytes, in hex.
    pub sha256: String,
    /// Guests of a public project may have it.
    pub public: bool,
    /// Uploaded.
    pub created_at: i64,
    /// Removed after that.
    pub expires_at: Option<i64>,
}

/// How putting an artifact went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    Stored,
    /// The same bytes were there already (`runner-api.md` §9.1).
    Same,
    /// Other bytes of this kind are there.
    Other,
}

/// What a junit report says.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TestReport {
    /// All cases.
    pub total: usize,
    /// Failures and errors.
    pub failed: usize,
    /// Not run.
    pub skipped: usize,
    /// Milliseconds.
    pub millis: i64,
    /// The cases.
    pub cases: Vec<TestCase>,
}

/// One test.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TestCase {
    /// Suite it is of.
    pub suite: String,
    /// Class.
    pub class: String,
    /// Name.
    pub name: String,
    /// File it is in.
    pub file: String,
    /// `success`, `failed`, `error` or `skipped`.
    pub status: String,
    /// Milliseconds.
    pub millis: i64,
    /// What a failure said.
    pub message: String,
}

const COLUMNS: &str = "job_id, kind, format, filename, size, sha256, public, created_at, expires_at";

impl Store {
    /// Writes an artifact down, once for each kind of a job.
    pub async fn put_artifact(&self, new: ArtifactView) -> Result<Put> {
        self.put(new, None).await
    }

    /// The same for one whose bytes have arrived as an object that was announced; if the row is not written, it is removed.
    pub async fn put_artifact_at(&self, new: ArtifactView, object: String) -> Result<Put> {
        self.put(new, Some(object)).await
    }

    async fn put(&self, new: ArtifactView, object: Option<String>) -> Result<Put> {
        self.write(move |tx| {
            let found = job(tx, new.job)?;
            let old: Option<String> = crate::tx::scalar(
                tx,
                "SELECT sha256 FROM job_artifacts WHERE job_id = $1 AND kind = $2",
                params![found.id, &new.kind],
            )?;
            if let Some(object) = &object
                && !arrive(tx, object, old.is_none())?
                && old.is_none()
            {
                return conflict(&found, "its artifacts were removed while this one came");
            }
            match old {
                Some(old) if old == new.sha256 => return Ok(Put::Same),
                Some(_) => return Ok(Put::Other),
                None => {}
            }
            tx.execute(
                &format!("INSERT INTO job_artifacts ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"),
                params![
                    new.job,
                    &new.kind,
                    &new.format,
                    &new.filename,
                    new.size,
                    &new.sha256,
                    new.public,
                    new.created_at,
                    new.expires_at,
                ],
            )?;
            Ok(Put::Stored)
        })
        .await
    }

    /// The files of a job.
    pub async fn artifacts(&self, job: i64) -> Result<Vec<ArtifactView>> {
        self.read(move |tx| {
            let sql = format!("SELECT {COLUMNS} FROM job_artifacts WHERE job_id = $1 ORDER BY id");
            tx.query(&sql, params![job])?.into_iter().map(|mut row| read(&mut row)).collect()
        })
        .await
    }

    /// One file of a job.
    pub async fn artifact(&self, job: i64, kind: &str) -> Result<Option<ArtifactView>> {
        let kind = kind.to_owned();
        self.read(move |tx| {
            let sql = format!("SELECT {COLUMNS} FROM job_artifacts WHERE job_id = $1 AND kind = $2");
            one(tx, &sql, params![job, kind])?.map(|mut row| read(&mut row)).transpose()
        })
        .await
    }

    /// Files whose time is over, at most `limit`. Those of the latest pipeline of a ref that passed stay, as on GitLab.
    pub async fn expired_artifacts(&self, now: i64, limit: usize) -> Result<Vec<ArtifactView>> {
        self.read(move |tx| {
            let columns: Vec<String> = COLUMNS.split(", ").map(|c| format!("job_artifacts.{c}")).collect();
            let sql = format!(
                "SELECT {} FROM job_artifacts JOIN jobs ON jobs.id = job_artifacts.job_id JOIN pipelines ON pipelines.id = \
                 jobs.pipeline_id WHERE job_artifacts.expires_at IS NOT NULL AND job_artifacts.expires_at <= $1 AND \
                 pipelines.id <> COALESCE((SELECT MAX(latest.id) FROM pipelines latest WHERE latest.project_id = \
                 pipelines.project_id AND latest.git_ref = pipelines.git_ref AND latest.status = 'success'), 0) ORDER BY \
                 job_artifacts.expires_at LIMIT $2",
                columns.join(", ")
            );
            tx.query(&sql, params![now, limit])?.into_iter().map(|mut row| read(&mut row)).collect()
        })
        .await
    }

    /// A file's row goes; the caller removes the file afterwards, objects are unwanted from now on.
    pub async fn delete_artifact(&self, job: i64, kind: &str) -> Result<()> {
        let kind = kind.to_owned();
        self.write(move |tx| {
            tx.execute("DELETE FROM job_artifacts WHERE job_id = $1 AND kind = $2", params![job, &kind])?;
            unwanted(tx, job, Some(&kind))
        })
        .await
    }

    /// The time of all artifacts of a project is over, also of those that were to be kept.
    pub async fn expire_artifacts_of(&self, project: i64, now: i64) -> Result<()> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE job_artifacts SET expires_at = $1 WHERE (expires_at IS NULL OR expires_at > $1) AND job_id IN (SELECT id FROM \
                 jobs WHERE project_id = $2)",
                params![now, project],
            )?;
            tx.changed(Change::Due);
            Ok(())
        })
        .await
    }

    /// Keeps the artifacts of a job for good.
    pub async fn keep_artifacts(&self, job: i64) -> Result<()> {
        self.write(move |tx| {
            match tx.execute("UPDATE job_artifacts SET expires_at = NULL WHERE job_id = $1", params![job])? {
                0 => Err(DatabaseError::NotFound("artifact")),
                _ => Ok(()),
            }
        })
        .await
    }

    /// The variables of a job's dotenv report, in its order.
    pub async fn set_dotenv(&self, job: i64, variables: Vec<(String, String)>) -> Result<()> {
        let sealer = self.sealer();
        self.write(move |tx| {
            tx.execute("DELETE FROM job_variables WHERE job_id = $1", params![job])?;
            for (position, (key, value)) in variables.iter().enumerate() {
                let sealed = sealer.seal(value.as_bytes())?;
                tx.execute(
                    "INSERT INTO job_variables (job_id, position, key, value) VALUES ($1, $2, $3, $4)",
                    params![job, position, key, sealed],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// The variables of a job's dotenv report, for a job of another pipeline.
    pub async fn dotenv(&self, job: i64) -> Result<Vec<(String, String)>> {
        let sealer = self.sealer();
        self.read(move |tx| crate::claim::dotenv_of(tx, job, &sealer)).await
    }

    /// What a job's junit report says.
    pub async fn set_test_report(&self, job: i64, report: TestReport) -> Result<()> {
        self.write(move |tx| {
            tx.execute("DELETE FROM job_tests WHERE job_id = $1", params![job])?;
            tx.execute(
                "INSERT INTO job_tests (job_id, total, failed, skipped, seconds_ms, report) VALUES ($1, $2, $3, $4, $5, \
                 $6)",
                params![job, report.total, report.failed, report.skipped, report.millis, to_json(&report)?],
            )?;
            Ok(())
        })
        .await
    }

    /// The test reports of a pipeline's latest jobs, by job.
    pub async fn test_reports(&self, pipeline: i64) -> Result<Vec<(i64, TestReport)>> {
        self.read(move |tx| {
            let rows = tx.query(
                "SELECT job_tests.job_id, job_tests.report FROM job_tests JOIN jobs ON jobs.id = job_tests.job_id WHERE \
                 jobs.pipeline_id = $1 AND jobs.retried = 0 ORDER BY jobs.position",
                params![pipeline],
            )?;
            rows.into_iter()
                .map(|mut row| Ok((row.take()?, json(&row.take::<String>()?, "a test report")?)))
                .collect()
        })
        .await
    }
}

fn read(row: &mut Row) -> Result<ArtifactView> {
    Ok(ArtifactView {
        job: row.take()?,
        kind: row.take()?,
        format: row.take()?,
        filename: row.take()?,
        size: row.take()?,
        sha256: row.take()?,
        public: row.take()?,
        created_at: row.take()?,
        expires_at: row.take()?,
    })
}
