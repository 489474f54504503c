//! Hands out the jobs of a local run as a server does: ids, payloads, the artifacts and dotenv variables of the jobs before.
//! Called by the conductor at the start and at the end of each attempt.

use crate::conduct::Payloads;
use crate::git::{Git, split_nul};
use crate::local::Local;
use crate::one_job::JobError;
use crate::predefined;
use crate::selection::Chosen;
use crate::snapshot::Snapshot;
use crate::state::{Kept, Remembered, RememberedJob, State, StateError};
use harrier_api::{ArtifactsFile, Dependency, GitInfo, JobInfo, JobPayload};
use harrier_base::{Clock, Secret, SystemClock, Variable};
use harrier_pipeline::payload::{JobFacts, RunnerFacts, Tree, job_payload};
use harrier_pipeline::predefined::PipelineFacts;
use harrier_pipeline::{JobId, Pipeline};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Seconds a job without `timeout` has, as in a project of GitLab's.
const DEFAULT_TIMEOUT: i64 = 3600;

/// Hands out jobs.
pub struct HandingOut {
    state: Arc<State>,
    whole: Pipeline,
    origin: Vec<JobId>,
    played: Vec<bool>,
    facts: PipelineFacts,
    info: JobInfo,
    git: GitInfo,
    run_variables: Vec<Variable>,
    tree: SnapshotTree,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    /// Of this run, by the id in the whole pipeline.
    now: HashMap<JobId, (i64, Kept)>,
    latest: Remembered,
}

impl HandingOut {
    /// For the run of `chosen`.
    pub fn new(local: &Local, chosen: &Chosen, state: Arc<State>, snapshot: Snapshot, number: i64) -> Self {
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
        Self {
            info: predefined::job_info(&facts),
            state,
            whole,
            origin: chosen.origin.clone(),
            played: chosen.played.clone(),
            facts,
            git,
            run_variables: local.request.variables.clone(),
            tree: SnapshotTree { snapshot, files: OnceLock::new() },
            done: Mutex::new(Done { now: HashMap::new(), latest }),
        }
    }

    /// Writes down what later runs may use, and drops what no job's latest run has.
    pub fn remember(&self) -> Result<(), StateError> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.remember(&done.latest)?;
        self.state.drop_old_artifacts(&done.latest)
    }

    /// What the jobs before `job` have left for it, in pipeline order: those of this run, and for jobs that are
    /// not part of it their latest one.
    fn left_for(&self, job: JobId) -> Result<Vec<(i64, String, Kept)>, StateError> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = Vec::new();
        for source in self.whole.artifact_sources(job) {
            let name = &self.whole.job(source).name;
            if let Some((id, kept)) = done.now.get(&source) {
                left.push((*id, name.clone(), kept.clone()));
            } else if !self.origin.contains(&source)
                && let Some(remembered) = done.latest.jobs.get(name)
            {
                // What cannot be used any more counts as not there, as expired artifacts do.
                if let Ok(kept) = self.state.kept(remembered.id) {
                    left.push((remembered.id, name.clone(), kept));
                }
            }
        }
        Ok(left)
    }
}

impl Payloads for HandingOut {
    fn payload(&self, job: JobId) -> Result<JobPayload, JobError> {
        let played = self.played.get(job.0).copied().unwrap_or_default();
        let origin = self.origin[job.0];
        let job = self.whole.job(origin);
        let id = self.state.take_numbers(1)?;
        let mut dotenv = Vec::new();
        let mut dependencies = Vec::new();
        for (id, name, kept) in self.left_for(origin)? {
            dotenv.extend(kept.variables.into_iter().map(|(key, value)| Variable::public(key, value).raw()));
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
                pipeline_url: format!(
                    "{}/{}/-/pipelines/{}",
                    self.facts.server.url, self.facts.project.path, self.facts.id
                ),
                started_at: now_text(),
                played,
                pipeline: &self.facts,
                info: self.info.clone(),
                git: self.git.clone(),
                allow_git_fetch: true,
                default_timeout: DEFAULT_TIMEOUT,
                max_timeout: 0,
                runner: Some(RunnerFacts { id: 1, description: "local".into(), tags: job.tags.clone() }),
                dotenv,
                project: &[],
                run: &self.run_variables,
                manual: &[],
                dependencies,
                credentials: Vec::new(),
                tree: &self.tree,
                separate_caches: true,
                cache_generation: 0,
            },
        );
        // A person reads the log, nobody folds it.
        payload.features.trace_sections = false;
        Ok(payload)
    }

    fn ended(&self, job: JobId, id: i64, _success: bool) -> Result<(), String> {
        let origin = self.origin[job.0];
        let name = &self.whole.job(origin).name;
        let kept = self.state.kept(id).map_err(|error| error.to_string());
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.latest.jobs.insert(name.clone(), RememberedJob { id, sha: self.facts.commit.sha.clone() });
        done.now.insert(origin, (id, kept.clone().unwrap_or_default()));
        kept.map(|_| ())
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

/// The snapshot, for `cache:key:files`; git is asked when a job wants to know.
struct SnapshotTree {
    snapshot: Snapshot,
    files: OnceLock<Vec<String>>,
}

impl SnapshotTree {
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
