//! Hands out the jobs of a local run as a server does: ids, payloads, the artifacts and dotenv variables of the jobs before,
//! the child pipelines that bridges make.
//! Called by the conductor at the start and at the end of each attempt.

use crate::child;
use crate::conduct::{HandedOut, Made, NoPayload, NotMade, Payloads};
use crate::git::{Git, split_nul};
use crate::includes::IncludeOptions;
use crate::local::Local;
use crate::one_job::JobError;
use crate::predefined;
use crate::repository::{GitFacts, Repository};
use crate::selection::{Chosen, Selection, choose};
use crate::snapshot::Snapshot;
use crate::state::{Kept, Remembered, RememberedEnvironment, RememberedJob, State, StateError};
use crate::work_tree::WorkTree;
use harrier_api::{ArtifactsFile, Dependency, GitInfo, JobInfo, JobPayload};
use harrier_base::{Clock, Secret, SystemClock, Variable};
use harrier_pipeline::downstream::{
    BridgeFacts, CREATION_FAILED, ChildPipeline, Downstream, downstream, needs_elsewhere,
};
use harrier_pipeline::payload::{JobFacts, RunnerFacts, Tree, job_payload};
use harrier_pipeline::predefined::PipelineFacts;
use harrier_pipeline::project_variables::ProjectVariable;
use harrier_pipeline::{
    Context, Elsewhere, EnvironmentAction, Filtered, Job, JobId, Pipeline, RunKind, Severity, release_step,
    render,
};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Seconds a job without `timeout` has, as in a project of GitLab's.
const DEFAULT_TIMEOUT: i64 = 3600;

/// Hands out the jobs of one pipeline.
pub struct HandingOut {
    all: Arc<Shared>,
    whole: Pipeline,
    origin: Vec<JobId>,
    played: Vec<bool>,
    facts: PipelineFacts,
    info: JobInfo,
    /// Variables of this pipeline.
    run_variables: Vec<Variable>,
    /// What the compiler was told.
    context: Context,
    /// How many pipelines are above it.
    depth: usize,
    /// The bridges above it, in front of a job's name.
    above: String,
    done: Mutex<Done>,
}

/// What the pipeline and its child pipelines have in common.
struct Shared {
    state: Arc<State>,
    repository: Repository,
    git_facts: GitFacts,
    includes: IncludeOptions,
    git: GitInfo,
    tree: SnapshotTree,
    /// The user's secrets stand for variables of the project: child pipelines see them too.
    secrets: Vec<Variable>,
    no_delay: bool,
    latest: Mutex<Remembered>,
    /// Every pipeline of the run, by number.
    pipelines: Mutex<HashMap<i64, Weak<HandingOut>>>,
}

#[derive(Default)]
struct Done {
    /// Of this run, by the id in the whole pipeline.
    now: HashMap<JobId, (i64, Kept)>,
    /// What the latest attempt of a job asks for beyond its artifacts.
    wishes: HashMap<JobId, Wishes>,
}

/// What a job leads to if it passes.
struct Wishes {
    release: Option<serde_json::Value>,
    environment_url: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HandingOut {
    /// For the run of `chosen`.
    pub fn new(
        local: &Local,
        chosen: &Chosen,
        state: Arc<State>,
        snapshot: Snapshot,
        number: i64,
    ) -> Arc<Self> {
        let latest = state.remembered();
        let mut facts = predefined::pipeline_facts(
            &local.repository.root,
            &local.facts,
            &local.request,
            number,
            now_text(),
            Some(&snapshot.sha),
        );
        let whole = local.compiled.pipeline.clone().unwrap_or_default();
        facts.name.clone_from(&whole.name);
        let ref_path = snapshot.ref_path(&local.facts);
        let is_tag = local.facts.head.tag().is_some();
        let target = match ref_path.strip_prefix("refs/heads/") {
            Some(branch) => format!("refs/remotes/origin/{branch}"),
            None => ref_path.clone(),
        };
        let git = GitInfo {
            repo_url: Secret::new(snapshot.repository.display().to_string()),
            git_ref: local.facts.head.ref_name().to_owned(),
            sha: snapshot.sha.clone(),
            before_sha: facts.commit.before_sha.clone(),
            ref_type: if is_tag { "tag" } else { "branch" }.into(),
            refspecs: vec![format!("+{ref_path}:{target}")],
            depth: 0,
            repo_object_format: local.facts.object_format.clone(),
            protected: Some(facts.commit.protected),
        };
        let variables = &local.request.variables;
        let all = Arc::new(Shared {
            state,
            repository: local.repository.clone(),
            git_facts: local.facts.clone(),
            includes: local.request.includes.clone(),
            git,
            tree: SnapshotTree { snapshot, files: OnceLock::new() },
            secrets: variables.iter().filter(|variable| variable.masked).cloned().collect(),
            no_delay: chosen.no_delay,
            latest: Mutex::new(latest),
            pipelines: Mutex::new(HashMap::new()),
        });
        let context = Context {
            run: RunKind {
                source: facts.source.clone(),
                git_ref: facts.commit.git_ref.clone(),
                tag: is_tag,
                merge_request: false,
                project_path: facts.project.path.clone(),
            },
            protected_ref: facts.commit.protected,
            ..Context::default()
        };
        let root = Self {
            info: predefined::job_info(&facts),
            all,
            whole,
            origin: chosen.origin.clone(),
            played: chosen.played.clone(),
            facts,
            run_variables: variables.clone(),
            context,
            depth: 0,
            above: String::new(),
            done: Mutex::new(Done::default()),
        };
        root.enrolled()
    }

    /// Makes it known to the other pipelines of the run.
    fn enrolled(self) -> Arc<Self> {
        let this = Arc::new(self);
        locked(&this.all.pipelines).insert(this.facts.id, Arc::downgrade(&this));
        this
    }

    /// Writes down what later runs may use, and drops what no job's latest run has.
    pub fn remember(&self) -> Result<(), StateError> {
        let latest = locked(&self.all.latest);
        self.all.state.remember(&latest)?;
        self.all.state.drop_old_artifacts(&latest)
    }

    /// The name of a job with the bridges above it.
    fn label(&self, job: &Job) -> String {
        format!("{}{}", self.above, job.name)
    }

    /// What the jobs before `job` have left for it, in pipeline order: those of this run, and for jobs that are
    /// not part of it their latest one.
    fn left_for(&self, job: JobId) -> Vec<(i64, String, Kept)> {
        let (done, latest) = (locked(&self.done), locked(&self.all.latest));
        let mut left = Vec::new();
        for source in self.whole.artifact_sources(job) {
            let name = &self.whole.job(source).name;
            if let Some((id, kept)) = done.now.get(&source) {
                left.push((*id, name.clone(), kept.clone()));
            } else if !self.origin.contains(&source)
                && let Some(remembered) = latest.jobs.get(name)
            {
                // What cannot be used any more counts as not there, as expired artifacts do.
                if let Ok(kept) = self.all.state.kept(remembered.id) {
                    left.push((remembered.id, name.clone(), kept));
                }
            }
        }
        left
    }

    fn pipeline_url(&self) -> String {
        format!("{}/{}/-/pipelines/{}", self.facts.server.url, self.facts.project.path, self.facts.id)
    }

    /// Variables that stand for the project's: a child pipeline has the user's secrets by this way, its own variables come
    /// from the bridge.
    fn project_variables(&self) -> &[Variable] {
        if self.depth == 0 { &[] } else { &self.all.secrets }
    }

    fn bridge_facts<'a>(&'a self, id: i64, url: &'a str, dotenv: &'a [Variable]) -> BridgeFacts<'a> {
        BridgeFacts {
            id,
            pipeline: &self.facts,
            pipeline_url: url,
            depth: self.depth,
            hierarchy: locked(&self.all.pipelines).len(),
            dotenv,
            project: self.project_variables(),
            run: &self.run_variables,
        }
    }

    /// The artifacts of jobs of other pipelines of this run; what is not to be had is said.
    fn left_elsewhere(
        &self,
        job: &Job,
        facts: &BridgeFacts<'_>,
        notices: &mut Vec<String>,
    ) -> Result<Vec<(i64, String, Kept)>, NoPayload> {
        let mut left = Vec::new();
        for need in needs_elsewhere(job, facts).into_iter().filter(|need| need.artifacts) {
            match need.from {
                Elsewhere::Project { project, git_ref } => notices.push(format!(
                    "the artifacts of `{}` of {project} at {git_ref} are not fetched in a local run",
                    need.job
                )),
                Elsewhere::Pipeline(number) => {
                    let found = number.trim().parse::<i64>().ok();
                    let pipelines = found.map(|number| locked(&self.all.pipelines).get(&number).cloned());
                    let other = pipelines.flatten().and_then(|other| other.upgrade());
                    let left_there = other.as_ref().and_then(|other| {
                        let id = other.whole.find(&need.job)?;
                        locked(&other.done).now.get(&id).cloned()
                    });
                    match left_there {
                        Some((id, kept)) => left.push((id, need.job, kept)),
                        None => {
                            let message = match other {
                                None => format!(
                                    "it needs artifacts of `{}` of pipeline {number:?}, which is no pipeline of this run; \
                                     the parent's number comes with a variable of the trigger job: \
                                     `PARENT_PIPELINE_ID: $CI_PIPELINE_ID`",
                                    need.job
                                ),
                                Some(_) => format!(
                                    "it needs artifacts of `{}` of pipeline {number}, which has not run there",
                                    need.job
                                ),
                            };
                            return Err(NoPayload::Refused { reason: "missing_dependency_failure", message });
                        }
                    }
                }
            }
        }
        Ok(left)
    }

    /// What nobody gives to a local run: id tokens and secrets for which the user has none.
    fn without_issuer(&self, job: &Job, payload: &mut JobPayload, notices: &mut Vec<String>) {
        let given = |name: &str| {
            self.run_variables.iter().chain(self.project_variables()).any(|variable| variable.key == name)
        };
        for token in job.id_tokens.iter().filter(|token| !given(&token.name)) {
            notices.push(format!(
                "nobody issues the id token {0} in a local run, the variable is not set; `--secret {0}` takes one from the \
                 environment",
                token.name
            ));
        }
        for secret in &job.secrets {
            if given(&secret.name) {
                payload.secrets.remove(&secret.name);
                for variable in payload.variables.iter_mut().filter(|v| v.key == secret.name) {
                    variable.file = secret.file;
                }
            } else {
                notices.push(format!(
                    "the secret {0} is not fetched in a local run, the variable is not set; `--secret {0}` takes it from \
                     the environment",
                    secret.name
                ));
            }
        }
    }

    /// Compiles the child pipeline that a bridge wants and makes it ready.
    fn child(&self, job: &Job, wanted: ChildPipeline) -> Result<Made, NotMade> {
        let failed = |message: String| NotMade::Failed { reason: CREATION_FAILED, message };
        let fault = |error: StateError| NotMade::Fault(error.into());
        let number = self.all.state.take_numbers(1).map_err(fault)?;
        let mut facts =
            PipelineFacts { id: number, iid: number, created_at: now_text(), ..wanted.facts.clone() };
        let mut context = wanted.context(&self.context, &facts);
        context.project = self.all.secrets.iter().cloned().map(ProjectVariable::from).collect();
        let tree = WorkTree::new(&self.all.repository, &self.all.git_facts);
        let archives = |name: &str| self.archive_of(name);
        let compiled = child::compile(
            wanted.root.clone(),
            &mut context,
            &tree,
            self.all.includes.settings(&self.all.git_facts),
            &self.all.tree,
            &archives,
        )
        .map_err(|error| failed(error.to_string()))?;
        let Some(whole) = compiled.pipeline else {
            let errors = compiled.diagnostics.iter().filter(|d| d.severity == Severity::Error);
            let errors: Vec<String> =
                errors.map(|d| render(d, &compiled.sources).trim_end().to_owned()).collect();
            return Err(failed(match &compiled.filtered {
                _ if !errors.is_empty() => {
                    format!("its child pipeline has a faulty configuration\n{}", errors.join("\n"))
                }
                Some(Filtered::Workflow { .. }) => {
                    "the rules of `workflow` in the child's configuration make no pipeline".to_owned()
                }
                Some(Filtered::Rules { .. }) | None => {
                    "the rules in the child's configuration leave no job in its pipeline".to_owned()
                }
            }));
        };
        facts.name.clone_from(&whole.name);
        let selection = Selection { no_delay: self.all.no_delay, ..Selection::default() };
        let chosen = choose(&whole, &selection).map_err(|error| failed(error.to_string()))?;
        let child = Self {
            all: Arc::clone(&self.all),
            whole,
            origin: chosen.origin,
            played: chosen.played,
            info: predefined::job_info(&facts),
            facts,
            run_variables: wanted.variables,
            context,
            depth: self.depth + 1,
            above: format!("{} › ", self.label(job)),
            done: Mutex::new(Done::default()),
        };
        Ok(Made { number, pipeline: chosen.pipeline, payloads: child.enrolled() })
    }

    /// The archive of artifacts that a job of this pipeline has left in this run.
    fn archive_of(&self, name: &str) -> Option<PathBuf> {
        let job = self.whole.find(name)?;
        let done = locked(&self.done);
        let (id, kept) = done.now.get(&job)?;
        let (file, _) = kept.archive.as_ref()?;
        Some(self.all.state.artifacts().join(id.to_string()).join("archive").join(file))
    }
}

fn dotenv_of(left: &[(i64, String, Kept)]) -> Vec<Variable> {
    let variables = left.iter().flat_map(|(_, _, kept)| &kept.variables);
    variables.map(|(key, value)| Variable::public(key, value).raw()).collect()
}

impl Payloads for HandingOut {
    fn payload(&self, job: JobId) -> Result<HandedOut, NoPayload> {
        let played = self.played.get(job.0).copied().unwrap_or_default();
        let origin = self.origin[job.0];
        let job = self.whole.job(origin);
        if job.run.is_some() {
            return Err(NoPayload::Refused {
                reason: "runner_unsupported",
                message:
                    "jobs with `run` (steps) are not carried out by this version of Harrier; write a `script`"
                        .into(),
            });
        }
        let id = self.all.state.take_numbers(1)?;
        let pipeline_url = self.pipeline_url();
        let mut notices = Vec::new();
        let mut left = self.left_for(origin);
        if !job.elsewhere.is_empty() {
            let before = dotenv_of(&left);
            let facts = self.bridge_facts(id, &pipeline_url, &before);
            left.extend(self.left_elsewhere(job, &facts, &mut notices)?);
        }
        let dotenv = dotenv_of(&left);
        let mut dependencies = Vec::new();
        for (id, name, kept) in left {
            if let Some((filename, size)) = kept.archive {
                let size = i64::try_from(size).unwrap_or(i64::MAX);
                dependencies.push(Dependency {
                    id,
                    token: Secret::default(),
                    name,
                    artifacts_file: Some(ArtifactsFile { filename, size }),
                });
            }
        }
        let mut payload = job_payload(
            job,
            JobFacts {
                id,
                token: job_token()?,
                url: format!("{}/{}/-/jobs/{id}", self.facts.server.url, self.facts.project.path),
                pipeline_url,
                started_at: now_text(),
                played,
                pipeline: &self.facts,
                info: self.info.clone(),
                git: self.all.git.clone(),
                allow_git_fetch: true,
                default_timeout: DEFAULT_TIMEOUT,
                max_timeout: 0,
                runner: Some(RunnerFacts {
                    id: 1,
                    description: "local".into(),
                    tags: job.tags.clone(),
                    ..RunnerFacts::default()
                }),
                dotenv,
                id_tokens: &[],
                inputs: &[],
                project: self.project_variables(),
                run: &self.run_variables,
                manual: &[],
                dependencies,
                credentials: Vec::new(),
                tree: &self.all.tree,
                separate_caches: true,
                cache_generation: 0,
                environment_id: None,
            },
        );
        // A person reads the log, nobody folds it.
        payload.features.trace_sections = false;
        self.without_issuer(job, &mut payload, &mut notices);
        // There is nobody to make a release: what is asked for is kept when the job has passed.
        payload.steps.retain(|step| step.name != "release");
        let variables: Vec<Variable> = payload
            .variables
            .iter()
            .map(|v| {
                let variable = Variable::public(&v.key, &v.value);
                if v.raw { variable.raw() } else { variable }
            })
            .collect();
        let url = variables.iter().rev().find(|v| v.key == "CI_ENVIRONMENT_URL").map(|v| v.value.clone());
        let wishes = Wishes {
            release: job.release.as_ref().map(|release| release_step::request(release, &variables)),
            environment_url: url,
        };
        locked(&self.done).wishes.insert(origin, wishes);
        Ok(HandedOut { payload, notices })
    }

    fn ended(&self, job: JobId, id: i64, success: bool) -> Result<Vec<String>, String> {
        let origin = self.origin[job.0];
        let job = self.whole.job(origin);
        let label = self.label(job);
        let sha = self.facts.commit.sha.clone();
        let kept = self.all.state.kept(id).map_err(|error| error.to_string());
        let wishes = {
            let (mut done, mut latest) = (locked(&self.done), locked(&self.all.latest));
            latest.jobs.insert(label.clone(), RememberedJob { id, sha: sha.clone() });
            done.now.insert(origin, (id, kept.clone().unwrap_or_default()));
            done.wishes.remove(&origin)
        };
        kept?;
        let mut notices = Vec::new();
        let Some(wishes) = wishes.filter(|_| success) else { return Ok(notices) };
        if let Some(release) = &wishes.release {
            let path = self.all.state.keep_release(&label, release).map_err(|error| error.to_string())?;
            let tag = release["tag_name"].as_str().unwrap_or_default();
            notices.push(format!(
                "the release {tag} is not made in a local run; what would be asked for is in {}",
                path.display()
            ));
        }
        if let Some(environment) = &job.environment {
            let mut latest = locked(&self.all.latest);
            match environment.action {
                EnvironmentAction::Start => {
                    let url = wishes.environment_url.unwrap_or_default();
                    let entry = RememberedEnvironment { url, job: label, sha };
                    latest.environments.insert(environment.name.clone(), entry);
                }
                EnvironmentAction::Stop => {
                    latest.environments.remove(&environment.name);
                }
                EnvironmentAction::Prepare | EnvironmentAction::Verify | EnvironmentAction::Access => {}
            }
        }
        Ok(notices)
    }

    fn downstream(&self, job: JobId) -> Result<Made, NotMade> {
        let origin = self.origin[job.0];
        let job = self.whole.job(origin);
        let id = self.all.state.take_numbers(1).map_err(|error| NotMade::Fault(error.into()))?;
        let url = self.pipeline_url();
        let dotenv = dotenv_of(&self.left_for(origin));
        let wanted = downstream(job, &self.bridge_facts(id, &url, &dotenv))
            .map_err(|error| NotMade::Failed { reason: error.reason(), message: error.to_string() })?;
        match wanted {
            Downstream::Child(wanted) => self.child(job, *wanted),
            Downstream::Project { project, branch, .. } => {
                let branch = branch.map(|branch| format!(" at {branch}")).unwrap_or_default();
                Err(NotMade::Elsewhere {
                    message: format!(
                        "a pipeline of {project}{branch} is not triggered in a local run; the job counts as skipped"
                    ),
                })
            }
            Downstream::Mirror { project } => Err(NotMade::Elsewhere {
                message: format!(
                    "the status of the pipeline of {project} is not known in a local run; the job counts as skipped"
                ),
            }),
        }
    }
}

/// Nobody accepts it; it is there because scripts expect one.
fn job_token() -> Result<Secret, JobError> {
    let word = harrier_process::random_word().map_err(JobError::Random)?;
    Ok(Secret::new(format!("local-{word}")))
}

fn now_text() -> String {
    let seconds = i64::try_from(SystemClock.now().seconds()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |now| now.to_string())
}

/// The snapshot, for `cache:key:files` and child pipelines; git is asked when a job wants to know.
pub struct SnapshotTree {
    snapshot: Snapshot,
    files: OnceLock<Vec<String>>,
}

impl SnapshotTree {
    /// The content of a file; `None` if there is no such file.
    pub fn text(&self, path: &str) -> Option<Vec<u8>> {
        self.ask("cat-file", &["blob", &format!("{}:{path}", self.snapshot.sha)])
    }

    /// git's answer on the snapshot; `None` also when it has none, which makes a key for "no such file".
    fn ask(&self, what: &str, args: &[&str]) -> Option<Vec<u8>> {
        let dir = &self.snapshot.repository;
        Git::new(dir, what).env("GIT_DIR", dir).ask(args).ok().flatten()
    }
}

impl Tree for SnapshotTree {
    fn files(&self) -> &[String] {
        self.files.get_or_init(|| {
            let bytes = self.ask("ls-tree", &["-r", "-z", "--name-only", &self.snapshot.sha]);
            let mut files: Vec<String> = split_nul(&bytes.unwrap_or_default()).collect();
            files.sort_unstable();
            files
        })
    }

    fn blob_id(&self, path: &str) -> Option<String> {
        let name = format!("{}:{path}", self.snapshot.sha);
        let bytes = self.ask("rev-parse", &["--verify", "-q", &name])?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    fn last_commit(&self, path: &str) -> Option<String> {
        let bytes = self.ask("log", &["-1", "--format=%H", &self.snapshot.sha, "--", path])?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|id| !id.is_empty())
    }
}
