//! What reading gives: pipelines and jobs as they are. Called by every operation that shows or decides.

use crate::error::{DatabaseError, Result};
use crate::matching::Wants;
use crate::tx::Row;
use harrier_pipeline::Status;
use harrier_pipeline::predefined::PipelineFacts;

pub(crate) fn status(word: &str) -> Result<Status> {
    Status::from_word(word)
        .ok_or_else(|| DatabaseError::Damaged { wanted: "a status", found: word.to_owned() })
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(text: &str, wanted: &'static str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| DatabaseError::Damaged { wanted, found: format!("other JSON ({error})") })
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| DatabaseError::Failed { message: format!("a value cannot be written: {error}") })
}

/// A job, one try of it. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Id.
    pub id: i64,
    /// Project.
    pub project: i64,
    /// Pipeline.
    pub pipeline: i64,
    /// Index in the compiled pipeline.
    pub position: usize,
    /// Name.
    pub name: String,
    /// Stage.
    pub stage: String,
    /// Status.
    pub status: Status,
    /// Tries since a person last started it, from 1.
    pub attempt: u32,
    /// A failure does not count.
    pub allowed: bool,
    /// A newer row of this position exists.
    pub retried: bool,
    /// `on_success`, `manual`, …
    pub when: String,
    /// Tags, expanded.
    pub tags: Vec<String>,
    /// Its ref is protected.
    pub protected: bool,
    /// Resource group, expanded.
    pub resource_group: Option<String>,
    /// Environment, expanded.
    pub environment: Option<String>,
    /// Seconds it may run, once it was handed out.
    pub timeout: Option<i64>,
    /// Reason on the wire (`runner-api.md` §14.1).
    pub failure_reason: Option<String>,
    /// Of the script.
    pub exit_code: Option<i64>,
    /// Percent, as found in the log.
    pub coverage: Option<String>,
    /// Who played or retried it.
    pub played_by: Option<i64>,
    /// Who has it.
    pub runner: Option<i64>,
    /// Which machine of the runner.
    pub manager: Option<i64>,
    /// Its runner can stop gracefully.
    pub graceful: bool,
    /// Handed out and not accepted until then.
    pub reserved_until: Option<i64>,
    /// A delayed job starts then.
    pub due_at: Option<i64>,
    /// Last sign of life.
    pub touched_at: Option<i64>,
    /// Bytes of the log, when it is complete.
    pub trace_size: Option<i64>,
    /// The log may show secrets.
    pub debug_trace: bool,
    /// Made.
    pub created_at: i64,
    /// Became pending.
    pub queued_at: Option<i64>,
    /// Began.
    pub started_at: Option<i64>,
    /// Ended.
    pub finished_at: Option<i64>,
    /// Log and artifacts were removed.
    pub erased_at: Option<i64>,
    /// Runners of the instance may take it.
    pub instance_runners: bool,
}

impl JobView {
    pub(crate) const COLUMNS: &str = "jobs.id, jobs.project_id, jobs.pipeline_id, jobs.position, jobs.name, \
        jobs.stage, jobs.status, jobs.attempt, jobs.allowed, jobs.retried, jobs.run_when, jobs.tags, \
        jobs.protected, jobs.resource_group, jobs.environment, jobs.timeout, jobs.failure_reason, jobs.exit_code, \
        jobs.coverage, jobs.played_by, jobs.runner_id, jobs.manager_id, jobs.graceful, jobs.reserved_until, \
        jobs.due_at, jobs.touched_at, jobs.trace_size, jobs.debug_trace, jobs.created_at, jobs.queued_at, \
        jobs.started_at, jobs.finished_at, jobs.erased_at, \
        (SELECT shared_runners FROM projects WHERE projects.id = jobs.project_id)";

    pub(crate) fn read(row: &mut Row) -> Result<Self> {
        Ok(Self {
            id: row.take()?,
            project: row.take()?,
            pipeline: row.take()?,
            position: row.take()?,
            name: row.take()?,
            stage: row.take()?,
            status: status(&row.take::<String>()?)?,
            attempt: row.take()?,
            allowed: row.take()?,
            retried: row.take()?,
            when: row.take()?,
            tags: json(&row.take::<String>()?, "a list of tags")?,
            protected: row.take()?,
            resource_group: row.take()?,
            environment: row.take()?,
            timeout: row.take()?,
            failure_reason: row.take()?,
            exit_code: row.take()?,
            coverage: row.take()?,
            played_by: row.take()?,
            runner: row.take()?,
            manager: row.take()?,
            graceful: row.take()?,
            reserved_until: row.take()?,
            due_at: row.take()?,
            touched_at: row.take()?,
            trace_size: row.take()?,
            debug_trace: row.take()?,
            created_at: row.take()?,
            queued_at: row.take()?,
            started_at: row.take()?,
            finished_at: row.take()?,
            erased_at: row.take()?,
            instance_runners: row.take()?,
        })
    }

    /// What it asks of a runner.
    pub fn wants(&self) -> Wants {
        let (project, tags) = (self.project, self.tags.clone());
        Wants { project, tags, protected: self.protected, instance_runners: self.instance_runners }
    }

    /// Whether its token is good (`runner-api.md` §1.3): it runs, is being cancelled, or waits to be accepted.
    pub fn executes(&self) -> bool {
        match self.status {
            Status::Running | Status::Canceling => true,
            Status::Pending => self.reserved_until.is_some(),
            Status::Created
            | Status::WaitingForResource
            | Status::Preparing
            | Status::WaitingForCallback
            | Status::Scheduled
            | Status::Manual
            | Status::Success
            | Status::Failed
            | Status::Canceled
            | Status::Skipped => false,
        }
    }
}

/// A pipeline.
#[derive(Clone)]
pub struct PipelineView {
    /// Id.
    pub id: i64,
    /// Project.
    pub project: i64,
    /// Number within the project.
    pub iid: i64,
    /// `push`, `web`, `schedule`, …
    pub source: String,
    /// Branch or tag.
    pub git_ref: String,
    /// The ref is a tag.
    pub tag: bool,
    /// Commit.
    pub sha: String,
    /// Commit before the push; empty for none.
    pub before_sha: String,
    /// The ref was protected.
    pub protected: bool,
    /// Status.
    pub status: Status,
    /// Some job failed and was allowed to.
    pub warnings: bool,
    /// `workflow:name`
    pub name: Option<String>,
    /// First line of the commit's message.
    pub title: String,
    /// Who started it.
    pub user: Option<i64>,
    /// Of a child pipeline.
    pub parent: Option<i64>,
    /// Facts that its variables are made of.
    pub facts: PipelineFacts,
    /// What the compiler said.
    pub messages: Vec<Message>,
    /// Jobs of the file that are not in it: name and reason.
    pub left_out: Vec<(String, String)>,
    /// Made.
    pub created_at: i64,
    /// Last change.
    pub updated_at: i64,
    /// First job began.
    pub started_at: Option<i64>,
    /// Complete.
    pub finished_at: Option<i64>,
}

/// One thing the compiler said.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// It is why there are no jobs.
    pub error: bool,
    /// In one line, as GitLab says it.
    pub text: String,
    /// With file, line and the place shown.
    pub shown: String,
}

impl PipelineView {
    pub(crate) const COLUMNS: &str = "pipelines.id, pipelines.project_id, pipelines.iid, pipelines.source, \
        pipelines.git_ref, pipelines.tag, pipelines.sha, pipelines.before_sha, pipelines.protected, \
        pipelines.status, pipelines.warnings, pipelines.name, pipelines.title, pipelines.user_id, \
        pipelines.parent_id, pipelines.facts, pipelines.messages, pipelines.left_out, pipelines.created_at, \
        pipelines.updated_at, pipelines.started_at, pipelines.finished_at";

    pub(crate) fn read(row: &mut Row) -> Result<Self> {
        Ok(Self {
            id: row.take()?,
            project: row.take()?,
            iid: row.take()?,
            source: row.take()?,
            git_ref: row.take()?,
            tag: row.take()?,
            sha: row.take()?,
            before_sha: row.take()?,
            protected: row.take()?,
            status: status(&row.take::<String>()?)?,
            warnings: row.take()?,
            name: row.take()?,
            title: row.take()?,
            user: row.take()?,
            parent: row.take()?,
            facts: json(&row.take::<String>()?, "facts of a pipeline")?,
            messages: json(&row.take::<String>()?, "messages")?,
            left_out: json(&row.take::<String>()?, "jobs left out")?,
            created_at: row.take()?,
            updated_at: row.take()?,
            started_at: row.take()?,
            finished_at: row.take()?,
        })
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Its entries.
    pub entries: Vec<T>,
    /// How many there are on all pages.
    pub total: usize,
}

/// Which page: `number` from 1, `size` entries each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageAt {
    /// From 1.
    pub number: usize,
    /// Entries.
    pub size: usize,
}

impl PageAt {
    pub(crate) fn offset(self) -> usize {
        self.number.saturating_sub(1).saturating_mul(self.size)
    }
}
