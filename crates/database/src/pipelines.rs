//! Pipelines: made, cancelled, retried, listed. Called by the coordinator after it compiled a commit, and by people's requests.

use crate::bridges::tell_bridge;
use crate::change::Change;
use crate::deployments::Deploys;
use crate::drive::{Drive, Row, insert};
use crate::error::{DatabaseError, Result};
use crate::merge_requests::head_moved;
use crate::objects::unwanted;
use crate::projects::know_ref;
use crate::store::Store;
use crate::tx::{Param, Tx, one, params, scalar};
use crate::views::{JobView, Message, Page, PageAt, PipelineView, to_json};
use harrier_base::Variable;
use harrier_pipeline::predefined::PipelineFacts;
use harrier_pipeline::{AllowFailure, Event, Pipeline, Status};

/// A pipeline to be made.
pub struct NewPipeline {
    /// Project.
    pub project: i64,
    /// From [`Store::next_iid`].
    pub iid: i64,
    /// Who starts it.
    pub user: Option<i64>,
    /// Of a child pipeline.
    pub parent: Option<i64>,
    /// The bridge that makes it; it is told the status, here and from now on.
    pub bridge: Option<i64>,
    /// What its variables are made of; source, ref, commit and protection are taken from here.
    pub facts: PipelineFacts,
    /// First line of the commit's message.
    pub title: String,
    /// Variables of the run.
    pub variables: Vec<Variable>,
    /// What was compiled; `None` when the file has errors, which makes a failed pipeline without jobs.
    pub config: Option<Pipeline>,
    /// What each job of `config` asks for, expanded, in its order.
    pub asks: Vec<Asks>,
    /// What the compiler said.
    pub messages: Vec<Message>,
    /// Pipelines of older commits of the ref are cancelled as `workflow:auto_cancel` says.
    pub cancels_older: bool,
    /// The whole name of the pushed ref and the object it is at now: known from here on, so that a server that dies next makes
    /// no second pipeline of the push.
    pub pushed: Option<(String, String)>,
}

/// What a job asks for once its variables are put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// `tags`
    pub tags: Vec<String>,
    /// `resource_group`
    pub resource_group: Option<String>,
    /// `environment:name`
    pub environment: Option<String>,
}

/// Which pipelines to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineFilter {
    /// Of this ref only.
    pub git_ref: Option<String>,
    /// Of this commit only.
    pub sha: Option<String>,
    /// With this status only.
    pub status: Option<String>,
    /// From this source only.
    pub source: Option<String>,
    /// With one of these statuses only; empty for all.
    pub statuses: Vec<Status>,
    /// Named so by `workflow:name` only.
    pub name: Option<String>,
    /// Started by this user only.
    pub user: Option<i64>,
    /// Changed after that only.
    pub updated_after: Option<i64>,
    /// Changed before that only.
    pub updated_before: Option<i64>,
    /// The newest of each branch (false) or tag (true) only.
    pub newest_of_refs: Option<bool>,
    /// Of this schedule only.
    pub schedule: Option<i64>,
    /// Of this merge request only.
    pub merge_request: Option<i64>,
    /// Made after that only.
    pub created_after: Option<i64>,
    /// Made before that only.
    pub created_before: Option<i64>,
    /// With (true) or without (false) faults in their configuration only.
    pub yaml_errors: Option<bool>,
    /// In which order.
    pub order: PipelineOrder,
    /// The oldest first.
    pub oldest_first: bool,
}

/// In which order pipelines are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PipelineOrder {
    /// Of their making.
    #[default]
    Made,
    /// Of their last change.
    Changed,
    /// By the word of their status.
    Status,
    /// By ref.
    Ref,
    /// By the id of who started them.
    User,
}

impl PipelineOrder {
    fn column(self) -> &'static str {
        match self {
            Self::Made => "id",
            Self::Changed => "updated_at",
            Self::Status => "status",
            Self::Ref => "git_ref",
            Self::User => "user_id",
        }
    }
}

impl Store {
    /// The number of the project's next pipeline (`CI_PIPELINE_IID`), which the compiler must know. Taken for good.
    pub async fn next_iid(&self, project: i64) -> Result<i64> {
        self.write(move |tx| {
            scalar(
                tx,
                "UPDATE projects SET last_iid = last_iid + 1 WHERE id = $1 RETURNING last_iid",
                params![project],
            )?
            .ok_or(DatabaseError::NotFound("project"))
        })
        .await
    }

    /// Makes a pipeline with its jobs and begins it.
    pub async fn create_pipeline(&self, new: NewPipeline, now: i64) -> Result<PipelineView> {
        let (sealer, configs) = (self.sealer(), self.configs());
        self.write(move |tx| {
            let variables = match new.variables.is_empty() {
                true => None,
                false => Some(sealer.seal_json(&new.variables)?),
            };
            let mut config = new.config;
            let left_out: Vec<(String, String)> = config
                .iter()
                .flat_map(|c| &c.left_out)
                .map(|job| (job.name.clone(), job.reason.clone()))
                .collect();
            if let Some(config) = &mut config {
                // They reach over pipelines: the rows have them, the scheduler must not.
                config.jobs.iter_mut().for_each(|job| job.resource_group = None);
            }
            let text = config.as_ref().map(to_json).transpose()?;
            let commit = &new.facts.commit;
            // Children of a merge request's pipeline are not of its list.
            let request = new.facts.merge_request.as_ref().filter(|_| new.parent.is_none()).map(|request| request.id);
            let git_ref = new.facts.pipeline_ref();
            let begins = if config.is_some() { Status::Created } else { Status::Failed };
            let finished = config.is_none().then_some(now);
            let id: i64 = scalar(
                tx,
                "INSERT INTO pipelines (project_id, iid, source, git_ref, tag, sha, before_sha, protected, status, \
                 warnings, name, title, user_id, parent_id, parent_job_id, config, facts, variables, messages, left_out, created_at, \
                 updated_at, finished_at, merge_request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13, $14, \
                 $15, $16, $17, $18, $19, $20, $21, $22, $23) RETURNING id",
                params![
                    new.project,
                    new.iid,
                    &new.facts.source,
                    &git_ref,
                    commit.tag_message.is_some(),
                    &commit.sha,
                    &commit.before_sha,
                    commit.protected,
                    begins.word(),
                    config.as_ref().and_then(|c| c.name.clone()),
                    &new.title,
                    new.user,
                    new.parent,
                    new.bridge,
                    text,
                    to_json(&new.facts)?,
                    variables,
                    to_json(&new.messages)?,
                    to_json(&left_out)?,
                    now,
                    now,
                    finished,
                    request,
                ],
            )?
            .ok_or(DatabaseError::NotFound("new pipeline"))?;
            tx.execute("UPDATE projects SET active_at = $1 WHERE id = $2", params![now, new.project])?;
            tx.changed(Change::Pipeline { project: new.project, pipeline: id, status: begins });
            if let Some(config) = config {
                for (position, job) in config.jobs.iter().enumerate() {
                    let asks = new.asks.get(position).cloned().unwrap_or_default();
                    let row = Row {
                        name: job.name.clone(),
                        stage: job.stage.clone(),
                        run_when: job.when.word().to_owned(),
                        tags: to_json(&asks.tags)?,
                        protected: commit.protected,
                        resource_group: asks.resource_group.filter(|group| !group.is_empty()),
                        environment: asks.environment,
                        bridge: job.bridge.is_some(),
                        variables: None,
                        played_by: None,
                    };
                    let job_id = insert(tx, new.project, id, position, &row, now)?;
                    if let (Some(name), Some(given)) = (&row.environment, &job.environment) {
                        Deploys { project: new.project, job: job_id, name, given }.made(tx, now)?;
                    }
                    tx.execute(
                        "UPDATE jobs SET allowed = $1 WHERE id = $2",
                        params![job.allow_failure == AllowFailure::Yes, job_id],
                    )?;
                }
                configs.put(id, config);
                Drive::load(tx, &configs, id, now)?.feed([Event::Begin])?;
                if new.cancels_older && commit.tag_message.is_none() {
                    let older = redundant(tx, new.project, &git_ref, &commit.sha, id)?;
                    for pipeline in older {
                        Drive::load(tx, &configs, pipeline, now)?.feed([Event::NewCommit])?;
                    }
                }
            }
            if let Some(request) = request {
                head_moved(tx, request, &commit.sha, now)?;
            }
            if let Some((name, object)) = &new.pushed {
                know_ref(tx, new.project, name, Some(object))?;
            }
            if let Some(bridge) = new.bridge {
                let begun = pipeline(tx, id)?.status;
                tell_bridge(tx, &configs, bridge, begun, now)?;
            }
            pipeline(tx, id)
        })
        .await
    }

    /// One pipeline.
    pub async fn pipeline(&self, id: i64) -> Result<PipelineView> {
        self.read(move |tx| pipeline(tx, id)).await
    }

    /// Pipelines of a project, newest first.
    pub async fn pipelines(
        &self,
        project: i64,
        filter: PipelineFilter,
        at: PageAt,
    ) -> Result<Page<PipelineView>> {
        self.read(move |tx| {
            let mut sql = "FROM pipelines WHERE project_id = $1".to_owned();
            let mut given: Vec<Param> = vec![project.into()];
            let conditions = [
                ("git_ref", filter.git_ref),
                ("sha", filter.sha),
                ("status", filter.status),
                ("source", filter.source),
                ("name", filter.name),
            ];
            for (column, wanted) in conditions {
                if let Some(wanted) = wanted {
                    given.push(wanted.into());
                    sql.push_str(&format!(" AND {column} = ${}", given.len()));
                }
            }
            let numbers = [
                ("user_id =", filter.user),
                ("updated_at >", filter.updated_after),
                ("updated_at <", filter.updated_before),
                ("schedule_id =", filter.schedule),
                ("merge_request_id =", filter.merge_request),
                ("created_at >", filter.created_after),
                ("created_at <", filter.created_before),
            ];
            for (condition, wanted) in numbers {
                if let Some(wanted) = wanted {
                    given.push(wanted.into());
                    sql.push_str(&format!(" AND {condition} ${}", given.len()));
                }
            }
            if !filter.statuses.is_empty() {
                let words: Vec<String> = filter.statuses.iter().map(|s| format!("'{}'", s.word())).collect();
                sql.push_str(&format!(" AND status IN ({})", words.join(", ")));
            }
            if let Some(tag) = filter.newest_of_refs {
                given.push(i64::from(tag).into());
                sql.push_str(&format!(
                    " AND id IN (SELECT MAX(id) FROM pipelines WHERE project_id = $1 AND tag = ${} GROUP BY git_ref)",
                    given.len()
                ));
            }
            match filter.yaml_errors {
                Some(true) => sql.push_str(" AND config IS NULL"),
                Some(false) => sql.push_str(" AND config IS NOT NULL"),
                None => {}
            }
            let way = if filter.oldest_first { "ASC" } else { "DESC" };
            let order = match filter.order {
                PipelineOrder::Made => format!("id {way}"),
                other => format!("{} {way}, id {way}", other.column()),
            };
            let total = scalar(tx, &format!("SELECT COUNT(*) {sql}"), &given)?.unwrap_or(0);
            given.push(at.size.into());
            given.push(at.offset().into());
            let (limit, offset) = (given.len() - 1, given.len());
            let rows = tx.query(
                &format!(
                    "SELECT {} {sql} ORDER BY {order} LIMIT ${limit} OFFSET ${offset}",
                    PipelineView::COLUMNS
                ),
                &given,
            )?;
            let entries =
                rows.into_iter().map(|mut row| PipelineView::read(&mut row)).collect::<Result<_>>()?;
            Ok(Page { entries, total })
        })
        .await
    }

    /// The pipelines that a pipeline's bridges made, oldest first.
    pub async fn children(&self, pipeline: i64) -> Result<Vec<i64>> {
        self.read(move |tx| {
            let rows =
                tx.query("SELECT id FROM pipelines WHERE parent_id = $1 ORDER BY id", params![pipeline])?;
            rows.into_iter().map(|mut row| row.take()).collect()
        })
        .await
    }

    /// The compiled form of a pipeline; empty where its file has errors.
    pub async fn config(&self, pipeline: i64) -> Result<std::sync::Arc<Pipeline>> {
        let configs = self.configs();
        self.read(move |tx| configs.get(tx, pipeline)).await
    }

    /// Variables that were given when it was started.
    pub async fn pipeline_variables(&self, id: i64) -> Result<Vec<Variable>> {
        let sealer = self.sealer();
        self.read(move |tx| {
            let sealed: Option<Option<Vec<u8>>> =
                scalar(tx, "SELECT variables FROM pipelines WHERE id = $1", params![id])?;
            match sealed.ok_or(DatabaseError::NotFound("pipeline"))? {
                Some(sealed) => sealer.open_json(&sealed),
                None => Ok(Vec::new()),
            }
        })
        .await
    }

    /// Jobs of a pipeline in its order; those that were run again only when asked for.
    pub async fn jobs(&self, pipeline: i64, with_retried: bool) -> Result<Vec<JobView>> {
        self.read(move |tx| {
            let rows = tx.query(
                &format!(
                    "SELECT {} FROM jobs WHERE pipeline_id = $1 AND retried <= $2 ORDER BY position, id",
                    JobView::COLUMNS
                ),
                params![pipeline, with_retried],
            )?;
            rows.into_iter().map(|mut row| JobView::read(&mut row)).collect()
        })
        .await
    }

    /// Cancels what has not ended. `force` waits for no runner.
    pub async fn cancel_pipeline(&self, id: i64, force: bool, now: i64) -> Result<PipelineView> {
        let configs = self.configs();
        self.write(move |tx| {
            let drive = Drive::load(tx, &configs, id, now)?;
            match force {
                true => drive.cancel_by_force()?,
                false => drive.feed([Event::Cancel])?,
            }
            pipeline(tx, id)
        })
        .await
    }

    /// Runs every job again that failed or was cancelled.
    pub async fn retry_pipeline(&self, id: i64, user: Option<i64>, now: i64) -> Result<PipelineView> {
        let configs = self.configs();
        self.write(move |tx| {
            tx.execute(
                "UPDATE jobs SET played_by = $1 WHERE pipeline_id = $2 AND retried = 0 AND status IN ('failed', \
                 'canceled')",
                params![user, id],
            )?;
            Drive::load(tx, &configs, id, now)?.feed([Event::RetryFailed])?;
            pipeline(tx, id)
        })
        .await
    }

    /// The newest pipeline of a branch that no other pipeline has made.
    pub async fn latest_pipeline(&self, project: i64, branch: &str) -> Result<Option<i64>> {
        let branch = branch.to_owned();
        self.read(move |tx| {
            let newest: Option<Option<i64>> = scalar(
                tx,
                "SELECT MAX(id) FROM pipelines WHERE project_id = $1 AND git_ref = $2 AND tag = 0 AND source <> \
                 'parent_pipeline'",
                params![project, branch],
            )?;
            Ok(newest.flatten())
        })
        .await
    }

    /// Gives a pipeline another name.
    pub async fn rename_pipeline(&self, id: i64, name: Option<String>) -> Result<PipelineView> {
        self.write(move |tx| {
            tx.execute("UPDATE pipelines SET name = $1 WHERE id = $2", params![name, id])?;
            pipeline(tx, id)
        })
        .await
    }

    /// Removes a pipeline with its jobs; gives the ids of the jobs, whose files are to be removed.
    pub async fn delete_pipeline(&self, id: i64) -> Result<Vec<i64>> {
        self.write(move |tx| {
            let jobs = tx.query("SELECT id FROM jobs WHERE pipeline_id = $1", params![id])?;
            let ids = jobs.into_iter().map(|mut row| row.take()).collect::<Result<Vec<i64>>>()?;
            for job in &ids {
                unwanted(tx, *job, None)?;
            }
            match tx.execute("DELETE FROM pipelines WHERE id = $1", params![id])? {
                0 => Err(DatabaseError::NotFound("pipeline")),
                _ => Ok(ids),
            }
        })
        .await
    }
}

pub(crate) fn pipeline(tx: &mut dyn Tx, id: i64) -> Result<PipelineView> {
    let sql = format!("SELECT {} FROM pipelines WHERE id = $1", PipelineView::COLUMNS);
    let mut row = one(tx, &sql, params![id])?.ok_or(DatabaseError::NotFound("pipeline"))?;
    PipelineView::read(&mut row)
}

/// Open pipelines of the ref for other commits, made before `id`.
fn redundant(tx: &mut dyn Tx, project: i64, git_ref: &str, sha: &str, id: i64) -> Result<Vec<i64>> {
    let rows = tx.query(
        "SELECT id FROM pipelines WHERE project_id = $1 AND git_ref = $2 AND sha <> $3 AND id < $4 AND tag = 0 AND \
         parent_id IS NULL AND finished_at IS NULL AND status <> 'manual' ORDER BY id",
        params![project, git_ref, sha, id],
    )?;
    rows.into_iter().map(|mut row| row.take()).collect()
}
