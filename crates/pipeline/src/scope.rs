//! Which definition of a variable wins while a pipeline is made (`ci-yaml.md` §9.2). Built once for a pipeline, laid
//! out per job; called by includes, rules and the keywords that the server expands.

use crate::context::Context;
use crate::expand::{Definition, Scope, Winners};
use crate::pipeline::YamlVariable;

/// The variables that are the same for all jobs.
pub(crate) struct Ranks<'a> {
    pipeline: Winners<'a>,
    project: Winners<'a>,
    predefined: Winners<'a>,
}

impl<'a> Ranks<'a> {
    pub fn new(cx: &'a Context) -> Self {
        Self {
            pipeline: Winners::new(&cx.pipeline),
            project: Winners::new(&cx.project),
            predefined: Winners::new(&cx.predefined),
        }
    }

    /// With the YAML variables and the predefined variables of one job, or of the whole pipeline.
    pub fn with<'b>(&'b self, yaml: &'b [YamlVariable], own: &'b [(&'b str, String)]) -> JobScope<'b> {
        JobScope { ranks: self, yaml, own }
    }
}

/// What one job sees.
pub(crate) struct JobScope<'a> {
    ranks: &'a Ranks<'a>,
    /// Each name once.
    yaml: &'a [YamlVariable],
    /// The job's predefined variables, `CI_JOB_NAME` and the like.
    own: &'a [(&'a str, String)],
}

impl Scope for JobScope<'_> {
    fn look_up(&self, name: &str) -> Option<Definition<'_>> {
        if let Some(found) = self.ranks.pipeline.look_up(name).or_else(|| self.ranks.project.look_up(name)) {
            return Some(found);
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
