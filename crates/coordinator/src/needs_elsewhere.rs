//! What a job gets from other pipelines and projects (`ci-yaml.md` §16.1: `needs:pipeline:job`, `needs:project`), with the rights of
//! who started its pipeline. Called when a job is handed out, and when it downloads: a job's token reaches no further than its
//! needs say.

use crate::app::App;
use crate::make_pipeline::MakeError;
use crate::time_text::iso;
use harrier_api::{ArtifactsFile, Dependency};
use harrier_base::{Secret, Variable};
use harrier_database::{AccessLevel, DatabaseError, JobView, ProjectView};
use harrier_pipeline::downstream::{BridgeFacts, needs_elsewhere};
use harrier_pipeline::{Elsewhere, Job, JobId, NeedElsewhere, Pipeline};

/// What comes from elsewhere.
#[derive(Default)]
pub(crate) struct FromElsewhere {
    /// Archives to download.
    pub dependencies: Vec<Dependency>,
    /// Variables of dotenv reports, in order.
    pub dotenv: Vec<(String, String)>,
}

impl App {
    /// What a job needs from elsewhere, found now.
    pub(crate) async fn needed_elsewhere(
        &self,
        job: &JobView,
        config: &Pipeline,
        token: &Secret,
    ) -> Result<FromElsewhere, MakeError> {
        let compiled = config.job(JobId(job.position));
        if compiled.elsewhere.is_empty() {
            return Ok(FromElsewhere::default());
        }
        let pipeline = self.store.pipeline(job.pipeline).await?;
        let mut found = FromElsewhere::default();
        for need in self.expanded_needs(job, compiled).await? {
            let other = match &need.from {
                Elsewhere::Pipeline(number) => self.job_of_pipeline(job, &need.job, number).await?,
                Elsewhere::Project { project, git_ref } => {
                    self.job_of_project(pipeline.user, &need.job, project, git_ref).await?
                }
            };
            let archive = self.store.artifact(other.id, "archive").await?;
            found.dependencies.extend(archive.map(|archive| Dependency {
                id: other.id,
                token: token.clone(),
                name: other.name.clone(),
                artifacts_file: Some(ArtifactsFile { filename: archive.filename, size: archive.size }),
            }));
            found.dotenv.extend(self.store.dotenv(other.id).await?);
        }
        Ok(found)
    }

    /// Whether a job of another project is among the needs of one that runs.
    pub(crate) async fn needs_of_elsewhere(
        &self,
        reader: &JobView,
        wanted: &JobView,
    ) -> Result<bool, MakeError> {
        let config = self.store.config(reader.pipeline).await?;
        let compiled = config.job(JobId(reader.position));
        if compiled.elsewhere.is_empty() {
            return Ok(false);
        }
        let project = self.store.project(wanted.project).await?;
        let there = self.store.pipeline(wanted.pipeline).await?;
        let named = self.expanded_needs(reader, compiled).await?.into_iter().any(|need| match &need.from {
            Elsewhere::Project { project: path, git_ref } => {
                project.path.eq_ignore_ascii_case(path)
                    && there.git_ref == *git_ref
                    && wanted.name == need.job
            }
            Elsewhere::Pipeline(_) => false,
        });
        let user = self.store.pipeline(reader.pipeline).await?.user;
        let public = self.store.artifact(wanted.id, "archive").await?.is_some_and(|archive| archive.public);
        Ok(named && self.reads_artifacts(user, &project, public).await?)
    }

    /// Whether a user may read the pipelines of a project and what jobs left there. `public`: guests may have it.
    pub(crate) async fn reads_artifacts(
        &self,
        user: Option<i64>,
        project: &ProjectView,
        public: bool,
    ) -> Result<bool, DatabaseError> {
        let everyone = public && project.visibility == "public";
        let Some(user) = user else { return Ok(everyone) };
        let user = match self.store.user(user).await {
            Ok(user) => user,
            Err(DatabaseError::NotFound(_)) => return Ok(everyone),
            Err(error) => return Err(error),
        };
        let member = self.store.access(project.id, user.id).await? >= Some(AccessLevel::Reporter);
        let inside = public && project.visibility == "internal";
        Ok(!user.blocked && (user.admin || member || everyone || inside))
    }

    /// The needs of other pipelines and projects whose artifacts are wanted.
    async fn expanded_needs(
        &self,
        job: &JobView,
        compiled: &Job,
    ) -> Result<Vec<NeedElsewhere>, DatabaseError> {
        let given = self.given_facts(job).await?;
        let needs = needs_elsewhere(compiled, &given.facts());
        Ok(needs.into_iter().filter(|need| need.artifacts).collect())
    }

    /// What the texts of a job are expanded with, before it has a payload.
    pub(crate) async fn given_facts(&self, job: &JobView) -> Result<GivenFacts, DatabaseError> {
        let project = self.store.project(job.project).await?;
        let pipeline = self.store.pipeline(job.pipeline).await?;
        let environment = job.environment.as_deref();
        let variables = self.store.variables_for(project.id, job.protected, environment).await?;
        let run = self.store.pipeline_variables(pipeline.id).await?;
        let url = format!("{}/{}/-/pipelines/{}", self.settings.external_url, project.path, pipeline.id);
        let mut facts = pipeline.facts;
        facts.id = pipeline.id;
        facts.created_at = iso(pipeline.created_at);
        Ok(GivenFacts { id: job.id, facts, url, variables, run })
    }

    /// `needs: {pipeline, job}`: a job of a pipeline of the same project.
    async fn job_of_pipeline(&self, job: &JobView, name: &str, number: &str) -> Result<JobView, MakeError> {
        let missing = |why: &str| {
            MakeError::Missing(format!(
                "it needs artifacts of `{name}` of pipeline {number:?}, {why}; the parent's number comes with a variable of \
                 the trigger job: `PARENT_PIPELINE_ID: $CI_PIPELINE_ID`"
            ))
        };
        let id = number.trim().parse::<i64>().map_err(|_| missing("which is no number of a pipeline"))?;
        let found = match self.store.pipeline(id).await {
            Ok(found) if found.project == job.project => self.store.jobs(found.id, false).await?,
            Ok(_) | Err(DatabaseError::NotFound(_)) => {
                return Err(missing("which is no pipeline of this project"));
            }
            Err(error) => return Err(error.into()),
        };
        let found = found.into_iter().find(|other| other.name == name && other.erased_at.is_none());
        found.ok_or_else(|| missing("which has no such job"))
    }

    /// `needs: {project, job, ref}`: the job of the newest successful pipeline of the ref.
    async fn job_of_project(
        &self,
        user: Option<i64>,
        name: &str,
        path: &str,
        git_ref: &str,
    ) -> Result<JobView, MakeError> {
        let missing = |why: &str| {
            MakeError::Missing(format!("it needs artifacts of `{name}` of {path} at {git_ref}, {why}"))
        };
        // Which of "there is none" and "you may not" it is, nobody learns.
        let hidden = || {
            missing(
                "which is no project that the user of the pipeline may read: a Reporter of it can start the pipeline",
            )
        };
        let project = self.store.project_at(path).await?.ok_or_else(hidden)?;
        if !self.reads_artifacts(user, &project, true).await? {
            return Err(hidden());
        }
        let found = self.store.latest_success(project.id, git_ref, name).await?.ok_or_else(|| {
            missing("and no successful pipeline there has such a job with artifacts: run one, or check their expiry")
        })?;
        let public = self.store.artifact(found.id, "archive").await?.is_some_and(|archive| archive.public);
        match self.reads_artifacts(user, &project, public).await? {
            true => Ok(found),
            false => Err(hidden()),
        }
    }
}

/// The owner of what [`BridgeFacts`] borrows.
pub(crate) struct GivenFacts {
    id: i64,
    facts: harrier_pipeline::predefined::PipelineFacts,
    url: String,
    variables: Vec<Variable>,
    run: Vec<Variable>,
}

impl GivenFacts {
    /// Borrowed.
    pub fn facts(&self) -> BridgeFacts<'_> {
        BridgeFacts {
            id: self.id,
            pipeline: &self.facts,
            pipeline_url: &self.url,
            depth: 0,
            hierarchy: 0,
            dotenv: &[],
            project: &self.variables,
            run: &self.run,
        }
    }
}
