//! Which executor carries out a job of a local run: jobs with an `image` go to containers when an engine answers, the
//! others to the shell of this machine. Called when a run begins and for each of its jobs. It must never name a concrete
//! executor.

use crate::predefined::{self, Program};
use crate::repository::Repository;
use crate::state::State;
use harrier_api::JobPayload;
use harrier_config::{DockerSpec, ExecutorSpec, HostDir, RunnerSpec};
use harrier_engine::Executor;
use harrier_pipeline::Pipeline;
use harrier_plan::{Facts, JobPlan};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Where the helper of a container finds the caches of the repository. Not `/cache`, which is the jobs' own.
const CACHES: &str = "/.harrier/cache";
/// More borrowed object directories than this are a circle.
const MOST_ALTERNATES: usize = 20;

/// Where jobs run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Where {
    /// In containers if they have an image and an engine answers, else in the shell.
    #[default]
    ByImage,
    /// In the shell of this machine, all of them.
    Shell,
    /// In containers, all of them.
    Docker,
}

/// The executors of a run.
#[derive(Clone)]
pub struct Executors {
    /// Which of them is taken.
    pub place: Where,
    /// For the shell of this machine.
    pub shell: Arc<dyn Executor>,
    /// For containers.
    pub docker: Arc<dyn Executor>,
    /// Settings of containers; what belongs to the repository is added here.
    pub settings: DockerSpec,
}

/// The jobs cannot run where they shall.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Bad usage.
    #[error(
        "no image for {}: --executor docker runs every job in a container; give an image for them with --image, an `image` \
         in the configuration, or leave --executor out: they then run in the shell of this machine",
        jobs.join(", ")
    )]
    NoImage {
        /// Those without one.
        jobs: Vec<String>,
    },
    /// The engine.
    #[error("{0}")]
    NoEngine(String),
}

/// One executor with what a job's plan needs of it.
pub struct Way {
    /// Carries jobs out.
    pub executor: Arc<dyn Executor>,
    /// The entry of `config.toml` it stands for.
    pub spec: RunnerSpec,
    /// Facts of this host; the slot is put in for each job.
    pub facts: Facts,
}

/// All ways of a run.
pub struct Ways {
    place: Where,
    shell: Way,
    docker: Way,
    /// Why no engine answers; asked once.
    silent: OnceCell<Option<String>>,
}

impl Ways {
    /// For the repository's state.
    pub fn new(repository: &Repository, state: &State, executors: Executors, program: &Program) -> Self {
        let Executors { place, shell, docker, mut settings } = executors;
        settings.host_dirs = host_dirs(repository, state);
        let way = |executor: Arc<dyn Executor>, kind: ExecutorSpec| Way {
            facts: predefined::host_facts(executor.abilities(), program),
            spec: predefined::runner(state, kind),
            executor,
        };
        Self {
            place,
            shell: way(shell, ExecutorSpec::Shell),
            docker: way(docker, ExecutorSpec::Docker(Box::new(settings))),
            silent: OnceCell::new(),
        }
    }

    /// Looks before anything runs. The text is for people: jobs with images will run in the shell.
    pub async fn look(&self, pipeline: &Pipeline) -> Result<Option<String>, PlaceError> {
        // Bridges run nowhere.
        let jobs = pipeline.jobs.iter().filter(|job| job.bridge.is_none());
        let (with, without): (Vec<_>, Vec<_>) = jobs.partition(|job| job.image.is_some());
        let names = |jobs: &[&harrier_pipeline::Job]| jobs.iter().map(|job| job.name.clone()).collect();
        match self.place {
            Where::Shell => Ok(None),
            Where::Docker => {
                if !without.is_empty() && self.default_image().is_none() {
                    return Err(PlaceError::NoImage { jobs: names(&without) });
                }
                self.silence().await.map_or(Ok(None), |why| Err(PlaceError::NoEngine(why.to_owned())))
            }
            Where::ByImage if with.is_empty() => Ok(None),
            Where::ByImage => Ok(self.silence().await.map(|why| {
                let names: Vec<String> = names(&with);
                format!(
                    "These jobs have an image, but run in the shell of this machine: {}. {why}. With an engine they run in \
                     their image; --executor docker insists on that, --executor shell says that the shell is meant.",
                    names.join(", ")
                )
            })),
        }
    }

    /// The way of one job.
    pub async fn of(&self, payload: &JobPayload) -> &Way {
        match self.place {
            Where::Shell => &self.shell,
            Where::Docker => &self.docker,
            Where::ByImage if payload.image.is_none() => &self.shell,
            Where::ByImage if self.silence().await.is_some() => &self.shell,
            Where::ByImage => &self.docker,
        }
    }

    /// The way that a job had whose plan is this.
    pub fn of_plan(&self, plan: &JobPlan) -> &Way {
        if plan.containers.is_some() { &self.docker } else { &self.shell }
    }

    /// The way to containers.
    pub fn docker(&self) -> &Way {
        &self.docker
    }

    fn default_image(&self) -> Option<&str> {
        match &self.docker.spec.executor {
            ExecutorSpec::Docker(settings) => settings.image.as_deref(),
            ExecutorSpec::Shell | ExecutorSpec::Unsupported(_) => None,
        }
    }

    async fn silence(&self) -> Option<&str> {
        let ask = || async {
            self.docker.executor.answers(&self.docker.spec).await.err().map(|error| error.message)
        };
        self.silent.get_or_init(ask).await.as_deref()
    }
}

/// What containers see of the repository, at the paths it has here: the snapshot with the objects it borrows; the helper
/// alone also where artifacts and caches are kept.
fn host_dirs(repository: &Repository, state: &State) -> Vec<HostDir> {
    let read = |path: PathBuf| HostDir { at: path.clone(), path, writable: false, helper_only: false };
    let kept = |path: PathBuf, at: PathBuf| HostDir { path, at, writable: true, helper_only: true };
    let mut dirs = vec![
        kept(state.artifacts(), state.artifacts()),
        kept(state.caches(), PathBuf::from(CACHES)),
        read(state.snapshot()),
    ];
    dirs.extend(object_dirs(&repository.common_dir.join("objects")).into_iter().map(read));
    dirs
}

/// A directory of objects and all that it borrows from.
fn object_dirs(first: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut pending = vec![first.to_owned()];
    while let Some(dir) = pending.pop() {
        let Ok(dir) = dir.canonicalize() else { continue };
        if found.contains(&dir) || found.len() > MOST_ALTERNATES {
            continue;
        }
        let borrowed = std::fs::read_to_string(dir.join("info/alternates")).unwrap_or_default();
        pending.extend(borrowed.lines().filter(|line| !line.is_empty()).map(|line| dir.join(line)));
        found.push(dir);
    }
    found
}

/// `cache_dir` of the jobs in containers.
pub(crate) fn caches_in_containers() -> PathBuf {
    PathBuf::from(CACHES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_objects_are_found_and_circles_end() {
        let dir = tempfile::tempdir().expect("temp dir");
        let at = |name: &str| dir.path().canonicalize().expect("there").join(name);
        for name in ["a/info", "b/info", "c"] {
            std::fs::create_dir_all(at(name)).expect("made");
        }
        std::fs::write(at("a/info/alternates"), format!("{}\n../c\n\n", at("b").display())).expect("written");
        std::fs::write(at("b/info/alternates"), format!("{}\n/no/such\n", at("a").display()))
            .expect("written");
        let mut found = object_dirs(&at("a"));
        found.sort();
        assert_eq!(found, [at("a"), at("b"), at("c")]);
    }
}
