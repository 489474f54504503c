//! Which definition of a variable wins while a pipeline is made (`ci-yaml.md` §9.2). Built once for a pipeline, laid
//! out per job; called by includes, rules and the keywords that the server expands.

use crate::context::Context;
use crate::expand::{Definition, Scope, Winners};
use crate::pipeline::YamlVariable;
use crate::project_variables;
use harrier_base::Variable;
use std::collections::HashMap;

/// The variables that are the same for all jobs.
pub(crate) struct Ranks<'a> {
    pipeline: Winners<'a>,
    /// For jobs without an environment.
    project: HashMap<String, Variable>,
    predefined: Winners<'a>,
}

impl<'a> Ranks<'a> {
    pub fn new(cx: &'a Context) -> Self {
        Self {
            pipeline: Winners::new(&cx.pipeline),
            project: project_of(cx, None),
            predefined: Winners::new(&cx.predefined),
        }
    }

    /// What the project's variables are for an environment; `None`: the same as without one.
    pub fn of_environment(cx: &Context, environment: &str) -> Option<HashMap<String, Variable>> {
        cx.project.iter().any(|v| v.scope != "*").then(|| project_of(cx, Some(environment)))
    }

    /// With the YAML variables and the predefined variables of one job, or of the whole pipeline.
    pub fn with<'b>(&'b self, yaml: &'b [YamlVariable], own: &'b [(&'b str, String)]) -> JobScope<'b> {
        JobScope { ranks: self, project: &self.project, yaml, own }
    }
}

fn project_of(cx: &Context, environment: Option<&str>) -> HashMap<String, Variable> {
    let list = project_variables::select(&cx.project, environment, cx.protected_ref);
    list.into_iter().map(|variable| (variable.key.clone(), variable)).collect()
}

/// What one job sees.
pub(crate) struct JobScope<'a> {
    ranks: &'a Ranks<'a>,
    project: &'a HashMap<String, Variable>,
    /// Each name once.
    yaml: &'a [YamlVariable],
    /// The job's predefined variables, `CI_JOB_NAME` and the like.
    own: &'a [(&'a str, String)],
}

impl<'a> JobScope<'a> {
    /// With the project's variables of a job's environment.
    pub fn in_environment(self, project: Option<&'a HashMap<String, Variable>>) -> Self {
        Self { project: project.unwrap_or(self.project), ..self }
    }
}

impl Scope for JobScope<'_> {
    fn look_up(&self, name: &str) -> Option<Definition<'_>> {
        if let Some(found) = self.ranks.pipeline.look_up(name) {
            return Some(found);
        }
        if let Some(found) = self.project.get(name) {
            return Some(Definition { value: &found.value, raw: found.raw, file: found.file });
        }
        if let Some(found) = self.yaml.iter().rev().find(|v| v.key == name) {
            return Some(Definition { value: &found.value, raw: found.raw, file: false });
        }
        if let Some((_, value)) = self.own.iter().find(|(key, _)| *key == name) {
            return Some(Definition { value, raw: true, file: false });
        }
        self.ranks.predefined.look_up(name)
    }
}
