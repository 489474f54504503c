//! What is drawn: jobs in columns, left to right, and the needs between them. Every need leads from a column to one further
//! right: a stage has as many columns as its longest chain of needs within the stage.

use harrier_pipeline::{AllowFailure, Bridge, Job, Pipeline, When};
use std::collections::HashSet;

/// A pipeline ready to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Stages that have jobs, with their first column.
    pub stages: Vec<(String, usize)>,
    /// The jobs in file order.
    pub nodes: Vec<Node>,
    /// Needed job and the job that needs it, as indices of `nodes`.
    pub edges: Vec<(usize, usize)>,
    /// Number of columns.
    pub columns: usize,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What is special about it: `manual`, `may fail`, `child pipeline`.
    pub notes: Vec<String>,
    /// Index in [`Graph::stages`].
    pub stage: usize,
    /// Column.
    pub column: usize,
    /// It waits for all jobs of the earlier stages, as it has no `needs`.
    pub waits_for_stages: bool,
    /// A person starts it.
    pub manual: bool,
}

impl Graph {
    /// The graph of a pipeline.
    pub fn of(pipeline: &Pipeline) -> Self {
        let jobs = &pipeline.jobs;
        let mut used: Vec<usize> = jobs.iter().map(|job| job.stage_index).collect();
        used.sort_unstable();
        used.dedup();
        let stage_of = |job: &Job| used.binary_search(&job.stage_index).unwrap_or_default();
        let mut edges = Vec::new();
        let mut known = HashSet::new();
        for (at, job) in jobs.iter().enumerate() {
            for need in job.needs.iter().flatten().filter_map(|need| need.job) {
                if need.0 < jobs.len() && known.insert((need.0, at)) {
                    edges.push((need.0, at));
                }
            }
        }
        let depth = depths(jobs, &edges);
        let mut stages: Vec<(String, usize)> = Vec::new();
        let mut columns = 0;
        for at in 0..used.len() {
            let of_stage = || jobs.iter().zip(&depth).filter(|(job, _)| stage_of(job) == at);
            let name = of_stage().next().map_or(String::new(), |(job, _)| job.stage.clone());
            stages.push((name, columns));
            columns += of_stage().map(|(_, depth)| depth + 1).max().unwrap_or(1);
        }
        let nodes = jobs
            .iter()
            .zip(&depth)
            .map(|(job, depth)| {
                let stage = stage_of(job);
                Node {
                    name: job.name.clone(),
                    notes: notes(job, stage),
                    stage,
                    column: stages[stage].1 + depth,
                    waits_for_stages: job.needs.is_none() && stage > 0,
                    manual: job.when == When::Manual,
                }
            })
            .collect();
        Self { stages, nodes, edges, columns }
    }

    /// Name and notes of a job.
    pub(crate) fn label(&self, node: usize) -> String {
        let node = &self.nodes[node];
        if node.notes.is_empty() {
            node.name.clone()
        } else {
            format!("{} ({})", node.name, node.notes.join(", "))
        }
    }
}

/// How many needs of the same stage stand one behind the other before each job.
fn depths(jobs: &[Job], edges: &[(usize, usize)]) -> Vec<usize> {
    let mut depth = vec![0usize; jobs.len()];
    let inside: Vec<(usize, usize)> =
        edges.iter().copied().filter(|(from, to)| jobs[*from].stage_index == jobs[*to].stage_index).collect();
    // A pipeline has no circles; should one get here, this ends all the same.
    for _ in 0..jobs.len() {
        let mut changed = false;
        for (from, to) in &inside {
            if depth[*to] <= depth[*from] && depth[*from] < jobs.len() {
                depth[*to] = depth[*from] + 1;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    depth
}

fn notes(job: &Job, stage: usize) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    match &job.bridge {
        None => {}
        Some(Bridge::Child { .. }) => notes.push("child pipeline".into()),
        Some(Bridge::Project { project, .. }) => notes.push(format!("pipeline of {project}")),
        Some(Bridge::Mirror { project }) => notes.push(format!("mirrors {project}")),
    }
    match job.when {
        When::OnSuccess => {}
        When::OnFailure => notes.push("on failure".into()),
        When::Always => notes.push("always".into()),
        When::Manual => notes.push("manual".into()),
        When::Delayed => notes.push("delayed".into()),
    }
    if stage > 0 && job.needs.as_ref().is_some_and(Vec::is_empty) {
        notes.push("at once".into());
    }
    match job.allow_failure {
        AllowFailure::No => {}
        AllowFailure::Yes | AllowFailure::ExitCodes(_) => notes.push("may fail".into()),
    }
    notes
}
