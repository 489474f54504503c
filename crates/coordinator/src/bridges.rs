//! Makes the pipelines of bridges (`ci-yaml.md` §23): child pipelines of the same commit, and pipelines of other projects with the
//! rights of who started the parent; or the link to another project's pipeline whose status one has. Runs beside the server as long as it does; called by [`App::background`]. The status goes
//! back to the bridge in the store.

use crate::app::App;
use crate::make_pipeline::{Made, MadeBy, MakeError, Start, ToCompile, waiting};
use crate::time_text::iso;
use harrier_base::Variable;
use harrier_database::{AccessLevel, BridgeView, Change, DatabaseError};
use harrier_pipeline::downstream::{BridgeFacts, CREATION_FAILED, ChildPipeline, Downstream, downstream};
use harrier_pipeline::predefined::{PipelineFacts, UpstreamFacts, pipeline_variables, user_variables};
use harrier_pipeline::{Context, GivenInput, JobId, Outcome, RunKind};
use tokio::sync::broadcast::error::RecvError;

/// Why a bridge makes nothing.
enum Failed {
    /// A reason on the wire.
    Reason(&'static str),
    /// What went wrong here.
    Make(MakeError),
}

impl<T: Into<MakeError>> From<T> for Failed {
    fn from(error: T) -> Self {
        Self::Make(error.into())
    }
}

impl App {
    /// Makes what bridges ask for, those first that a server before this one left.
    pub(crate) async fn make_downstream(&self) {
        let mut changes = self.store.changes();
        loop {
            match self.store.bridges().await {
                Ok(bridges) => {
                    for bridge in bridges {
                        self.make_for(bridge).await;
                    }
                }
                Err(DatabaseError::Closed) => return,
                Err(error) => tracing::error!(error = %error, "the bridges cannot be read"),
            }
            loop {
                match changes.recv().await {
                    Ok(Change::Bridge { .. }) | Err(RecvError::Lagged(_)) => break,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }

    async fn make_for(&self, bridge: i64) {
        let reason = match self.downstream_of(bridge).await {
            Ok(()) => return,
            Err(Failed::Reason(reason)) => reason,
            Err(Failed::Make(MakeError::Database(DatabaseError::Closed))) => return,
            Err(Failed::Make(error)) => {
                tracing::error!(job = bridge, error = %error, "a bridge cannot make its pipeline; it fails");
                CREATION_FAILED
            }
        };
        let outcome = Outcome::Failed { exit_code: None, reason: reason.to_owned() };
        if let Err(error) = self.store.finish(bridge, outcome, Default::default(), self.now()).await {
            tracing::error!(job = bridge, error = %error, "a bridge that fails cannot be ended");
        }
    }

    async fn downstream_of(&self, id: i64) -> Result<(), Failed> {
        let bridge = self.store.bridge(id).await?;
        let project = self.store.project(bridge.job.project).await?;
        let environment = bridge.job.environment.as_deref();
        let variables = self.store.variables_for(project.id, bridge.job.protected, environment).await?;
        let mut facts = bridge.pipeline.facts.clone();
        facts.id = bridge.pipeline.id;
        facts.created_at = iso(bridge.pipeline.created_at);
        let url = format!("{}/{}/-/pipelines/{}", self.settings.external_url, project.path, facts.id);
        let dotenv: Vec<Variable> =
            bridge.dotenv.iter().map(|(key, value)| Variable::public(key, value).raw()).collect();
        let asked = BridgeFacts {
            id,
            pipeline: &facts,
            pipeline_url: &url,
            depth: bridge.depth,
            hierarchy: bridge.hierarchy,
            dotenv: &dotenv,
            project: &variables,
            run: &bridge.run,
        };
        let job = bridge.config.job(JobId(bridge.job.position));
        match downstream(job, &asked).map_err(|error| Failed::Reason(error.reason()))? {
            Downstream::Child(child) => self.make_child(&bridge, *child).await,
            Downstream::Project { project, branch, inputs, variables } => {
                let inputs = inputs.into_iter().map(|(name, value)| GivenInput { name, value }).collect();
                let asked = Start { inputs, variables, ..Start::default() };
                self.make_elsewhere(&bridge, &project, branch, asked).await
            }
            Downstream::Mirror { project } => self.follow(&bridge, &project).await,
        }
    }

    async fn make_child(&self, bridge: &BridgeView, child: ChildPipeline) -> Result<(), Failed> {
        let project = self.store.project(bridge.job.project).await?;
        let facts = PipelineFacts { iid: self.store.next_iid(project.id).await?, ..child.facts.clone() };
        let commit = &facts.commit;
        let before = facts.merge_request.as_ref().map_or(&commit.before_sha, |request| &request.base_sha);
        let (before, sha) = (before.clone(), commit.sha.clone());
        let repository = self.repository(project.id);
        let changes = match before.is_empty() {
            true => None,
            false => waiting(move || repository.changed(&before, &sha)).await?.ok(),
        };
        let parent = Context {
            run: RunKind {
                source: bridge.pipeline.source.clone(),
                git_ref: commit.git_ref.clone(),
                tag: commit.tag_message.is_some(),
                merge_request: facts.merge_request.is_some(),
                project_path: project.path.clone(),
            },
            predefined: [pipeline_variables(&facts), user_variables(&facts.user)].concat(),
            project: self.scoped_variables(project.id).await?,
            protected_ref: commit.protected,
            changes,
            ..Context::default()
        };
        let context = Context { protected_ref: commit.protected, ..child.context(&parent, &facts) };
        let mut artifacts = Vec::new();
        for before in self.store.jobs(bridge.pipeline.id, false).await? {
            let archive = self.artifact_file(before.id, "archive").await.map_err(MakeError::from)?;
            artifacts.extend(archive.map(|archive| (before.name, archive)));
        }
        let given = ToCompile {
            root: child.root,
            context,
            facts,
            title: bridge.pipeline.title.clone(),
            variables: child.variables,
            user: bridge.pipeline.user,
            from: Some(MadeBy { pipeline: bridge.pipeline.id, bridge: bridge.job.id }),
            cancels_older: false,
            pushed: None,
            artifacts,
        };
        made(self.compile_and_keep(&project, given).await?)
    }

    /// The bridge has the status of the newest pipeline of another project's default branch from now on.
    async fn follow(&self, bridge: &BridgeView, path: &str) -> Result<(), Failed> {
        let missing = || Failed::Reason("upstream_bridge_project_not_found");
        let project = self.store.project_at(path).await?.ok_or_else(missing)?;
        if !self.reads_artifacts(bridge.pipeline.user, &project, true).await? {
            return Err(Failed::Reason("insufficient_upstream_permissions"));
        }
        let newest = self.store.latest_pipeline(project.id, &project.default_branch).await?;
        match self.store.follow_pipeline(bridge.job.id, newest.ok_or_else(missing)?, self.now()).await? {
            true => Ok(()),
            false => Err(Failed::Reason("pipeline_loop_detected")),
        }
    }

    async fn make_elsewhere(
        &self,
        bridge: &BridgeView,
        path: &str,
        branch: Option<String>,
        asked: Start,
    ) -> Result<(), Failed> {
        let missing = Failed::Reason("downstream_bridge_project_not_found");
        let project = self.store.project_at(path).await?.ok_or(missing)?;
        let no_rights = || Failed::Reason("insufficient_bridge_permissions");
        let user = self.store.user(bridge.pipeline.user.ok_or_else(no_rights)?).await?;
        let branch = branch.unwrap_or_else(|| project.default_branch.clone());
        let protected = project.protects(&branch, false);
        let least = if protected { AccessLevel::Maintainer } else { AccessLevel::Developer };
        let level = self.store.access(project.id, user.id).await?;
        if user.blocked || !user.admin && level < Some(least) {
            return Err(no_rights());
        }
        let repository = self.repository(project.id);
        let refs = waiting(move || repository.refs()).await?.map_err(MakeError::from)?;
        let name = format!("refs/heads/{branch}");
        let sha = refs.into_iter().find(|(found, _)| *found == name).map(|(_, sha)| sha);
        let start = Start {
            source: "pipeline".into(),
            git_ref: branch,
            sha: sha.ok_or(Failed::Reason(CREATION_FAILED))?,
            user: Some(user),
            from: Some(MadeBy { pipeline: bridge.pipeline.id, bridge: bridge.job.id }),
            upstream: Some(UpstreamFacts {
                pipeline_id: bridge.pipeline.id,
                job_id: bridge.job.id,
                project_id: bridge.job.project,
            }),
            ..asked
        };
        made(self.make_pipeline(&project, start).await?)
    }
}

fn made(made: Made) -> Result<(), Failed> {
    match made {
        Made::Pipeline(_) => Ok(()),
        Made::None(_) => Err(Failed::Reason(CREATION_FAILED)),
    }
}
