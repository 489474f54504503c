//! What the compiler is told about the pipeline to be made: its source, the variables that exist before any job,
//! and what changed. Filled by the local host or the coordinator.

use crate::project_variables::ProjectVariable;
use harrier_base::Variable;

/// Facts for one compilation. All of it is given; nothing is looked up.
#[derive(Clone, Default)]
pub struct Context {
    /// What the pipeline runs for: branch, tag or merge request, and by which trigger.
    pub run: RunKind,
    /// The predefined variables that exist before any job: [`crate::predefined::pipeline_variables`] and
    /// [`crate::predefined::user_variables`].
    pub predefined: Vec<Variable>,
    /// Instance, group and project variables. Which of them a job sees depends on its environment.
    pub project: Vec<ProjectVariable>,
    /// The ref is protected: protected variables are there.
    pub protected_ref: bool,
    /// Variables of the run itself (trigger, schedule, `--variable`), the highest rank (`ci-yaml.md` §9.2).
    pub pipeline: Vec<Variable>,
    /// The files changed by the push; `None` if there is no push information, which makes every
    /// `rules:changes` true (§12.3).
    pub changes: Option<Vec<String>>,
    /// Values for the inputs that the header of the root file declares (§8.3): of the command line, of a schedule or
    /// the API, or of the bridge that made this pipeline.
    pub inputs: Vec<GivenInput>,
}

/// A value for an input.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenInput {
    /// Name of the input.
    pub name: String,
    /// A text stands for any type: `3`, `true` and `["a"]` are read as the type that the input has.
    pub value: serde_json::Value,
}

/// What starts the pipeline and on which kind of ref (`ci-yaml.md` §13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunKind {
    /// `CI_PIPELINE_SOURCE`: `push`, `web`, `schedule`, `merge_request_event`, …
    pub source: String,
    /// Branch or tag name.
    pub git_ref: String,
    /// The ref is a tag.
    pub tag: bool,
    /// It is a merge request's pipeline, or a child of one.
    pub merge_request: bool,
    /// `group/project`, for `only: refs: [name@group/project]`.
    pub project_path: String,
}

impl Default for RunKind {
    fn default() -> Self {
        Self {
            source: "push".into(),
            git_ref: "main".into(),
            tag: false,
            merge_request: false,
            project_path: String::new(),
        }
    }
}
