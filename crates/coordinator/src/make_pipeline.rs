//! Makes a pipeline of a commit: facts by git, the file compiled by `harrier-pipeline`, the result into the store. Called for pushes,
//! and for what people, scripts, schedules and bridges start.

use crate::app::App;
use crate::include_source::{Elsewhere, ServerIncludes};
use crate::repository::{Commit, CommitTree, GitError, Repository};
use crate::storage::{Held, StorageError};
use harrier_base::Variable;
use harrier_database::{
    Asks, DatabaseError, MergeRequestView, Message, NewPipeline, PipelineView, ProjectView, UserView,
};
use harrier_pipeline::predefined::{
    CommitFacts, MergeRequestFacts, PipelineFacts, ProjectFacts, ServerFacts, UpstreamFacts, UserFacts,
    pipeline_variables, user_variables,
};
use harrier_pipeline::project_variables::ProjectVariable;
use harrier_pipeline::wanted::wanted;
use harrier_pipeline::{
    Compiled, Context, Filtered, GivenInput, RunKind, Severity, SourceFile, compile, render,
};

/// `CI_SERVER_VERSION`: the GitLab whose language this is; scripts compare it.
const SERVER_VERSION: &str = "19.4.0";

/// What starts a pipeline.
#[derive(Clone, Default)]
pub struct Start {
    /// `push`, `web`, `api`, `trigger`, `schedule`, …
    pub source: String,
    /// Branch or tag name.
    pub git_ref: String,
    /// The ref is a tag.
    pub tag: bool,
    /// Commit.
    pub sha: String,
    /// The whole name of the ref that was pushed and the object it is at now, which a tag's commit is not.
    pub pushed: Option<(String, String)>,
    /// Commit before the push; `None` for a new ref, and for what is no push.
    pub before: Option<String>,
    /// Who starts it.
    pub user: Option<UserView>,
    /// Variables of the run.
    pub variables: Vec<Variable>,
    /// Values for the inputs of the configuration.
    pub inputs: Vec<GivenInput>,
    /// The merge request that it is for; `git_ref` is its source branch.
    pub merge_request: Option<Box<MergeRequestView>>,
    /// Of a downstream pipeline: who makes it.
    pub from: Option<MadeBy>,
    /// Of a downstream pipeline: what its variables say of that.
    pub upstream: Option<UpstreamFacts>,
}

/// The bridge that makes a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeBy {
    /// Its pipeline.
    pub pipeline: i64,
    /// The bridge.
    pub bridge: i64,
}

/// A configuration to be compiled, and what becomes of it.
pub(crate) struct ToCompile {
    pub root: SourceFile,
    pub context: Context,
    pub facts: PipelineFacts,
    pub title: String,
    pub variables: Vec<Variable>,
    pub user: Option<i64>,
    pub from: Option<MadeBy>,
    pub cancels_older: bool,
    pub pushed: Option<(String, String)>,
    /// Archives that `include: artifact` may read: job name and file.
    pub artifacts: Vec<(String, Held)>,
}

/// What came of it.
pub enum Made {
    /// A pipeline, with errors of the file when it has no jobs.
    Pipeline(Box<PipelineView>),
    /// None, for this reason.
    None(NoPipeline),
}

/// Why a commit has no pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPipeline {
    /// The commit has no configuration at this path.
    NoFile(String),
    /// Its message says `[skip ci]`.
    Skipped,
    /// `workflow:rules` say so.
    Workflow,
    /// The rules leave no job.
    NoJobs,
}

impl NoPipeline {
    /// As GitLab says it to who asked for the pipeline.
    pub fn message(&self) -> String {
        match self {
            Self::NoFile(_) => "Missing CI config file".to_owned(),
            Self::Skipped => "The commit's message asks for no pipeline ([skip ci])".to_owned(),
            Self::Workflow => "Pipeline filtered out by workflow rules.".to_owned(),
            Self::NoJobs => {
                "Pipeline will not run for the selected trigger. The rules configuration prevented any \
                             jobs from being added to the pipeline."
                    .to_owned()
            }
        }
    }
}

/// No pipeline could be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// There is no such commit.
    #[error("there is no commit {0}")]
    NoCommit(String),
    /// git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The tables.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Files of jobs.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A job needs what is not to be had; the text is for its log.
    #[error("{0}")]
    Missing(String),
    /// The compiler failed on this file; a fault of ours.
    #[error("the configuration could not be compiled; this is a fault of Harrier's, please report the file")]
    Compiler,
}

struct Read {
    commit: Commit,
    tag_message: Option<String>,
    config: Option<String>,
    changes: Option<Vec<String>>,
    /// Of a merge request: the commit at which its branches parted.
    base: Option<String>,
}

impl App {
    /// The repository of a project.
    pub fn repository(&self, project: i64) -> Repository {
        Repository::at(self.data.repository(project))
    }

    /// Makes the pipeline of a commit.
    pub async fn make_pipeline(&self, project: &ProjectView, start: Start) -> Result<Made, MakeError> {
        let repository = self.repository(project.id);
        let path = project.ci_config_path().to_owned();
        let (begun, from) = (start.clone(), repository.clone());
        let file = path.clone();
        let read = waiting(move || read(&from, &begun, &file)).await??;
        let Some(text) = read.config else { return Ok(Made::None(NoPipeline::NoFile(path))) };
        if matches!(start.source.as_str(), "push" | "merge_request_event") && skips(&read.commit.message) {
            return Ok(Made::None(NoPipeline::Skipped));
        }
        // What a merge request's pipeline may see, its target must be fit for as well.
        let request = start.merge_request.as_deref();
        let protected = project.protects(&start.git_ref, start.tag)
            && request.is_none_or(|request| project.protects(&request.target_branch, false));
        let open_merge_requests = match start.tag {
            true => Vec::new(),
            false => self.store.open_merge_requests_from(project.id, &start.git_ref).await?,
        };
        let facts = PipelineFacts {
            server: self.server_facts(),
            project: project_facts(project),
            commit: CommitFacts {
                sha: read.commit.sha.clone(),
                before_sha: start.before.clone().unwrap_or_default(),
                git_ref: start.git_ref.clone(),
                tag_message: read.tag_message,
                protected,
                message: read.commit.message.clone(),
                author: read.commit.author.clone(),
                timestamp: read.commit.timestamp.clone(),
            },
            user: start.user.as_ref().map(user_facts).unwrap_or_default(),
            source: start.source.clone(),
            iid: self.store.next_iid(project.id).await?,
            config_path: path.clone(),
            upstream: start.upstream,
            merge_request: request.map(|request| MergeRequestFacts {
                id: request.id,
                iid: request.iid,
                title: request.title.clone(),
                description: request.description.clone(),
                labels: request.labels.clone(),
                draft: request.draft(),
                source_protected: project.protects(&request.source_branch, false),
                target_branch: request.target_branch.clone(),
                target_protected: project.protects(&request.target_branch, false),
                version: request.version,
                base_sha: read.base.unwrap_or_default(),
            }),
            open_merge_requests: open_merge_requests
                .iter()
                .map(|request| format!("{}!{}", project.path, request.iid))
                .collect(),
            ..PipelineFacts::default()
        };
        let mut predefined = pipeline_variables(&facts);
        predefined.extend(user_variables(&facts.user));
        let context = Context {
            run: RunKind {
                source: start.source.clone(),
                git_ref: start.git_ref.clone(),
                tag: start.tag,
                merge_request: facts.merge_request.is_some(),
                project_path: project.path.clone(),
            },
            predefined,
            project: self.scoped_variables(project.id).await?,
            protected_ref: protected,
            pipeline: start.variables.clone(),
            changes: read.changes,
            inputs: start.inputs,
        };
        let cancels_older =
            project.settings.auto_cancel && matches!(start.source.as_str(), "push" | "merge_request_event");
        self.compile_and_keep(
            project,
            ToCompile {
                root: SourceFile { name: path, text },
                context,
                facts,
                title: read.commit.title().to_owned(),
                variables: start.variables,
                user: start.user.map(|user| user.id),
                from: start.from,
                cancels_older,
                pushed: start.pushed,
                artifacts: Vec::new(),
            },
        )
        .await
    }

    /// Where a configuration's includes are besides its own repository, with the rights of a user.
    pub(crate) fn elsewhere(&self, user: Option<i64>) -> Elsewhere {
        let data = self.data.clone();
        Elsewhere {
            store: self.store.clone(),
            repository: Box::new(move |project| data.repository(project)),
            user,
            policy: self.settings.include_policy.clone(),
            templates: self.settings.templates.clone(),
            cache: self.data.includes(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Compiles a configuration and keeps what comes out.
    pub(crate) async fn compile_and_keep(
        &self,
        project: &ProjectView,
        given: ToCompile,
    ) -> Result<Made, MakeError> {
        let ToCompile { root, context, mut facts, variables, .. } = given;
        let repository = self.repository(project.id);
        let tree = repository.tree(&facts.commit.sha).with_artifacts(given.artifacts);
        let protected = facts.commit.protected;
        let elsewhere = self.elsewhere(given.user);
        let compile = move || {
            let source = ServerIncludes::new(tree, elsewhere);
            Outcome::of(compile(root, &source, &context))
        };
        let compiled = waiting(compile).await?;
        let (config, messages) = match compiled {
            Outcome::Filtered(why) => return Ok(Made::None(why)),
            Outcome::Compiled { config, messages } => (config, messages),
        };
        facts.name = config.as_ref().and_then(|c| c.name.clone());
        let own = self.store.variables_for(project.id, protected, None).await?;
        let asks = config
            .iter()
            .flat_map(|c| &c.jobs)
            .map(|job| {
                let wanted = wanted(job, &facts, &own, &variables);
                Asks {
                    tags: wanted.tags,
                    resource_group: wanted.resource_group,
                    environment: wanted.environment,
                }
            })
            .collect();
        let sha = facts.commit.sha.clone();
        let new = NewPipeline {
            project: project.id,
            iid: facts.iid,
            user: given.user,
            parent: given.from.map(|from| from.pipeline),
            bridge: given.from.map(|from| from.bridge),
            title: given.title,
            facts,
            variables,
            config,
            asks,
            messages,
            cancels_older: given.cancels_older,
            pushed: given.pushed,
        };
        let made = self.store.create_pipeline(new, self.now()).await?;
        repository.keep_for_pipeline(made.id, &sha)?;
        Ok(Made::Pipeline(Box::new(made)))
    }

    /// All variables of the instance, a project and the groups it is in; which of them a job sees, the compiler finds.
    pub(crate) async fn scoped_variables(&self, project: i64) -> Result<Vec<ProjectVariable>, MakeError> {
        let mut all = Vec::new();
        for (level, of) in (0..).zip(self.store.variable_owners(project).await?) {
            all.extend(self.store.variables(of).await?.into_iter().map(|kept| ProjectVariable {
                variable: kept.variable,
                scope: kept.environment_scope,
                protected: kept.protected,
                level,
            }));
        }
        Ok(all)
    }

    /// What variables say of this server.
    pub fn server_facts(&self) -> ServerFacts {
        ServerFacts {
            url: self.settings.external_url.clone(),
            name: "GitLab".into(),
            version: SERVER_VERSION.into(),
            revision: self.settings.revision.clone(),
            registry: self.settings.registry.as_ref().map(|registry| registry.host.clone()),
        }
    }
}

/// What a compilation gives, in what may go to another thread.
enum Outcome {
    Filtered(NoPipeline),
    Compiled { config: Option<harrier_pipeline::Pipeline>, messages: Vec<Message> },
}

impl Outcome {
    fn of(compiled: Compiled) -> Self {
        match compiled.filtered {
            Some(Filtered::Workflow { .. }) => return Self::Filtered(NoPipeline::Workflow),
            Some(Filtered::Rules { .. }) => return Self::Filtered(NoPipeline::NoJobs),
            None => {}
        }
        let messages = compiled.diagnostics.iter().map(|said| Message {
            error: said.severity == Severity::Error,
            text: match &said.job {
                Some(job) if !said.message.contains(job.as_str()) => format!("{job}: {}", said.message),
                _ => said.message.clone(),
            },
            shown: render(said, &compiled.sources),
        });
        Self::Compiled { messages: messages.collect(), config: compiled.pipeline }
    }
}

fn read(repository: &Repository, start: &Start, path: &str) -> Result<Read, MakeError> {
    let found = repository.commit_with_files(&start.sha, &[path])?;
    let (commit, files) = found.ok_or_else(|| MakeError::NoCommit(start.sha.clone()))?;
    let config = files.into_iter().next().flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // A process less where nothing can ask for them.
    let asks = config.as_ref().is_some_and(|text| text.contains("changes") || text.contains("include"));
    let base = match &start.merge_request {
        Some(request) => {
            repository.merge_base(&format!("refs/heads/{}", request.target_branch), &commit.sha)?
        }
        None => None,
    };
    let changes = match base.as_ref().or(start.before.as_ref()) {
        Some(before) if asks => repository.changed(before, &commit.sha).ok(),
        _ => None,
    };
    let tag_message = if start.tag { Some(repository.tag_message(&start.git_ref)?) } else { None };
    Ok(Read { commit, tag_message, config, changes, base })
}

fn skips(message: &str) -> bool {
    let lower = message.to_lowercase();
    ["[skip ci]", "[ci skip]", "[skip-ci]", "[ci-skip]"].iter().any(|mark| lower.contains(mark))
}

pub(crate) fn project_facts(project: &ProjectView) -> ProjectFacts {
    ProjectFacts {
        id: project.id,
        path: project.path.clone(),
        title: project.name.clone(),
        description: project.description.clone(),
        namespace_id: project.namespace,
        visibility: project.visibility.clone(),
        default_branch: project.default_branch.clone(),
        topics: Vec::new(),
    }
}

pub(crate) fn user_facts(user: &UserView) -> UserFacts {
    UserFacts {
        id: user.id,
        login: user.username.clone(),
        name: user.name.clone(),
        email: user.email.clone(),
    }
}

/// Work that waits for processes or computes for long, on a thread made for it.
pub(crate) async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, MakeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| MakeError::Compiler)
}

/// The tree of a pipeline's commit, for cache keys.
pub(crate) fn tree(app: &App, project: i64, sha: &str) -> CommitTree {
    app.repository(project).tree(sha)
}
