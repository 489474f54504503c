//! Which jobs of a pipeline a local run carries out. Pure: takes the compiled pipeline and what the user asked for,
//! gives the pipeline that is scheduled. It must never decide anything about rules; that is done.

use harrier_pipeline::{Job, JobId, LeftOut, Pipeline, When};
use std::collections::BTreeSet;
use std::time::Duration;

/// What the user asked for. Nothing named is the whole pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names of jobs; the name before the counter or the bracket list means all instances.
    pub jobs: Vec<String>,
    /// All jobs of these stages but manual ones.
    pub stages: Vec<String>,
    /// Also what the selected jobs wait for.
    pub needs: bool,
    /// Delayed jobs start at once.
    pub no_delay: bool,
}

/// The selection does not fit the pipeline; bad usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No such job.
    #[error("there is no job {name:?}{}; `harrier run --list` shows all", did_you_mean(near.as_deref()))]
    NoJob {
        /// As asked for.
        name: String,
        /// A name that is close.
        near: Option<String>,
    },
    /// The job is in the file and not in this pipeline.
    #[error("job {name:?} is not part of this pipeline: {reason}")]
    LeftOut {
        /// As asked for.
        name: String,
        /// Why.
        reason: String,
        /// The rule.
        place: Option<harrier_pipeline::Place>,
    },
    /// No such stage.
    #[error("there is no stage {name:?}; the stages are {}", stages.join(", "))]
    NoStage {
        /// As asked for.
        name: String,
        /// Those there are.
        stages: Vec<String>,
    },
    /// `--needs` says what to do with selected jobs.
    #[error("--needs is for selected jobs: name a job or a stage")]
    NeedsOfNothing,
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|name| format!(", did you mean {name:?}?")).unwrap_or_default()
}

/// The part of a pipeline that is carried out.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// For the scheduler: only the chosen jobs, manual ones that were named started, delays as asked for.
    pub pipeline: Pipeline,
    /// For each of its jobs the id in the whole pipeline.
    pub origin: Vec<JobId>,
    /// For each of its jobs whether it is manual and was named.
    pub played: Vec<bool>,
    /// Delayed jobs start at once, those of child pipelines too.
    pub no_delay: bool,
}

/// Applies `selection` to `pipeline`.
pub fn choose(pipeline: &Pipeline, selection: &Selection) -> Result<Chosen, SelectionError> {
    let everything = selection.jobs.is_empty() && selection.stages.is_empty();
    if everything && selection.needs {
        return Err(SelectionError::NeedsOfNothing);
    }
    let mut named = BTreeSet::new();
    for name in &selection.jobs {
        let before = named.len();
        named.extend(pipeline.ids().filter(|id| is_called(pipeline.job(*id), name)));
        let repeated = pipeline.ids().any(|id| is_called(pipeline.job(id), name));
        if named.len() == before && !repeated {
            return Err(no_job(pipeline, name));
        }
    }
    let mut chosen = named.clone();
    for name in &selection.stages {
        let Some(stage) = pipeline.stages.iter().position(|s| s == name) else {
            return Err(SelectionError::NoStage { name: name.clone(), stages: pipeline.stages.clone() });
        };
        let of_stage = pipeline.ids().filter(|id| pipeline.job(*id).stage_index == stage);
        chosen.extend(of_stage.filter(|id| pipeline.job(*id).when != When::Manual));
    }
    if everything {
        chosen.extend(pipeline.ids());
    }
    if selection.needs {
        let mut open: Vec<JobId> = chosen.iter().copied().collect();
        while let Some(id) = open.pop() {
            let explicit = pipeline.job(id).needs.is_some();
            for other in pipeline.waits_for(id) {
                // A manual job of an earlier stage holds nobody up who asked for what comes after it; one that is
                // needed by name must run.
                let wanted = explicit || pipeline.job(other).when != When::Manual;
                if wanted && chosen.insert(other) {
                    named.insert(other);
                    open.push(other);
                }
            }
        }
    }
    Ok(build(pipeline, selection, &chosen, &named, everything))
}

fn build(
    pipeline: &Pipeline,
    selection: &Selection,
    chosen: &BTreeSet<JobId>,
    named: &BTreeSet<JobId>,
    everything: bool,
) -> Chosen {
    let origin: Vec<JobId> = chosen.iter().copied().collect();
    let place_of = |id: JobId| origin.iter().position(|o| *o == id).map(JobId);
    let mut played = Vec::with_capacity(origin.len());
    let mut jobs = Vec::with_capacity(origin.len());
    for id in &origin {
        let mut job = pipeline.job(*id).clone();
        if let Some(needs) = &mut job.needs {
            needs.retain(|need| need.job.is_some_and(|id| chosen.contains(&id)));
            for need in needs {
                need.job = need.job.and_then(place_of);
            }
        }
        let is_named = named.contains(id);
        played.push(is_named && job.when == When::Manual);
        match job.when {
            When::Manual if is_named => {
                job.when = When::OnSuccess;
                // As on a server: a manual job that was played and failed is a failure like any other, unless it
                // may fail.
            }
            // Who names a job that is for failures wants to see it run.
            When::OnFailure if is_named && !everything => job.when = When::Always,
            When::Delayed if selection.no_delay => job.start_in = Some(Duration::ZERO),
            _ => {}
        }
        jobs.push(job);
    }
    Chosen { pipeline: Pipeline { jobs, ..pipeline.clone() }, origin, played, no_delay: selection.no_delay }
}

fn is_called(job: &Job, name: &str) -> bool {
    job.name == name || job.group == name || job.instance.as_ref().is_some_and(|i| i.base == name)
}

fn no_job(pipeline: &Pipeline, name: &str) -> SelectionError {
    if let Some(LeftOut { reason, place, .. }) = pipeline.left_out.iter().find(|l| l.name == name) {
        return SelectionError::LeftOut { name: name.into(), reason: reason.clone(), place: *place };
    }
    let known = pipeline.jobs.iter().map(|j| &j.name).chain(pipeline.left_out.iter().map(|l| &l.name));
    let near = known
        .map(|known| (distance(known, name), known))
        .filter(|(far, _)| *far <= 1 + name.chars().count() / 4)
        .min()
        .map(|(_, known)| known.clone());
    SelectionError::NoJob { name: name.into(), near }
}

/// Letters to change, add or drop.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let best = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    row[b.len()]
}
