//! What a bridge makes (`ci-yaml.md` §23): the configuration, the context and the variables of a child pipeline, or what
//! is asked of another project. Called by the hosts when the scheduler starts a bridge; they compile, keep and run what
//! comes out, and tell the status of it with [`crate::Event::Downstream`]. Beside it what else a job has from outside of its
//! pipeline: needs, id tokens.

use crate::context::{Context, RunKind};
use crate::expand::{Winners, expand_existing, expand_fully, value_of};
use crate::pipeline::{Bridge, Elsewhere, Forward, IdToken, Job, NeedElsewhere};
use crate::predefined::{PipelineFacts, UpstreamFacts, job_variables, pipeline_variables, user_variables};
use crate::source::SourceFile;
use harrier_base::Variable;
use serde_json::Value;

/// Levels of child pipelines below the pipeline that a person or a push began (§31).
pub const MAX_DEPTH: usize = 2;
/// Pipelines of one hierarchy (§31).
pub const MAX_HIERARCHY: usize = 1000;

/// What is known when a bridge starts.
pub struct BridgeFacts<'a> {
    /// Id of the bridge (`CI_JOB_ID`).
    pub id: i64,
    /// Its pipeline.
    pub pipeline: &'a PipelineFacts,
    /// `CI_PIPELINE_URL`
    pub pipeline_url: &'a str,
    /// How many pipelines are above its pipeline.
    pub depth: usize,
    /// How many pipelines belong to the hierarchy so far.
    pub hierarchy: usize,
    /// Variables from the dotenv reports of the jobs before it.
    pub dotenv: &'a [Variable],
    /// Instance, group and project variables, lowest first.
    pub project: &'a [Variable],
    /// Variables of its pipeline.
    pub run: &'a [Variable],
}

/// What a bridge makes.
pub enum Downstream {
    /// A pipeline of the same project and commit.
    Child(Box<ChildPipeline>),
    /// A pipeline of another project.
    Project {
        /// `group/name`
        project: String,
        /// `None` is the default branch.
        branch: Option<String>,
        /// Values for its inputs.
        inputs: Vec<(String, Value)>,
        /// Variables of the pipeline.
        variables: Vec<Variable>,
    },
    /// Nothing: the bridge has the status of the latest pipeline of that project's default branch.
    Mirror {
        /// `group/name`
        project: String,
    },
}

/// A child pipeline to be compiled.
pub struct ChildPipeline {
    /// Its configuration: nothing but the includes of the trigger.
    pub root: SourceFile,
    /// Its variables.
    pub variables: Vec<Variable>,
    /// Its facts; ids, time and name are still its parent's.
    pub facts: PipelineFacts,
}

impl ChildPipeline {
    /// What the compiler is told, made of what it was told for the parent. `facts` are those of [`Self::facts`] with the
    /// child's own ids.
    pub fn context(&self, parent: &Context, facts: &PipelineFacts) -> Context {
        Context {
            run: RunKind { source: facts.source.clone(), ..parent.run.clone() },
            predefined: [pipeline_variables(facts), user_variables(&facts.user)].concat(),
            project: parent.project.clone(),
            pipeline: self.variables.clone(),
            changes: parent.changes.clone(),
            ..Context::default()
        }
    }
}

/// No pipeline is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// A child of a child of a child.
    #[error("child pipelines can be nested {MAX_DEPTH} levels deep, this would be one more")]
    TooDeep,
    /// One more would be too many.
    #[error("a pipeline and all below it can be {MAX_HIERARCHY} pipelines, this would be one more")]
    TooMany,
    /// The job triggers nothing.
    #[error("the job is no trigger job")]
    NoBridge,
}

impl BridgeError {
    /// The failure reason on the wire (`runner-api.md` §14.1).
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooDeep => "reached_max_descendant_pipelines_depth",
            Self::TooMany => "reached_max_pipeline_hierarchy_size",
            Self::NoBridge => "invalid_bridge_trigger",
        }
    }
}

/// The reason of a bridge whose pipeline cannot be made of its configuration.
pub const CREATION_FAILED: &str = "downstream_pipeline_creation_failed";

/// What a bridge makes, its texts expanded.
pub fn downstream(job: &Job, facts: &BridgeFacts<'_>) -> Result<Downstream, BridgeError> {
    let all = variables_of(job, facts);
    let scope = Winners::new(&all);
    match job.bridge.as_ref().ok_or(BridgeError::NoBridge)? {
        Bridge::Mirror { project } => Ok(Downstream::Mirror { project: expand_existing(&scope, project) }),
        Bridge::Project { project, branch, inputs, forward, .. } => {
            if facts.hierarchy >= MAX_HIERARCHY {
                return Err(BridgeError::TooMany);
            }
            let inputs = inputs.iter().map(|(name, value)| (name.clone(), expanded(&scope, value)));
            Ok(Downstream::Project {
                project: expand_existing(&scope, project),
                branch: branch.as_ref().map(|branch| expand_existing(&scope, branch)),
                inputs: inputs.collect(),
                variables: passed_on(job, facts, *forward, &scope),
            })
        }
        Bridge::Child { include, forward, .. } => {
            if facts.depth >= MAX_DEPTH {
                return Err(BridgeError::TooDeep);
            }
            if facts.hierarchy >= MAX_HIERARCHY {
                return Err(BridgeError::TooMany);
            }
            let include = expanded(&scope, include);
            let facts_of_child = PipelineFacts {
                source: "parent_pipeline".into(),
                name: None,
                upstream: Some(UpstreamFacts {
                    pipeline_id: facts.pipeline.id,
                    job_id: facts.id,
                    project_id: facts.pipeline.project.id,
                }),
                ..facts.pipeline.clone()
            };
            Ok(Downstream::Child(Box::new(ChildPipeline {
                // JSON is YAML.
                root: SourceFile {
                    name: format!("trigger:include of {}", job.name),
                    text: serde_json::json!({ "include": include }).to_string(),
                },
                variables: passed_on(job, facts, *forward, &scope),
                facts: facts_of_child,
            })))
        }
    }
}

/// The needs of a job in other pipelines and projects, their texts expanded.
pub fn needs_elsewhere(job: &Job, facts: &BridgeFacts<'_>) -> Vec<NeedElsewhere> {
    if job.elsewhere.is_empty() {
        return Vec::new();
    }
    let all = variables_of(job, facts);
    let scope = Winners::new(&all);
    let expand = |text: &str| expand_existing(&scope, text);
    job.elsewhere
        .iter()
        .map(|need| NeedElsewhere {
            job: expand(&need.job),
            from: match &need.from {
                Elsewhere::Pipeline(id) => Elsewhere::Pipeline(expand(id)),
                Elsewhere::Project { project, git_ref } => {
                    Elsewhere::Project { project: expand(project), git_ref: expand(git_ref) }
                }
            },
            ..need.clone()
        })
        .collect()
}

/// The id tokens of a job, the texts of their audiences expanded.
pub fn id_tokens(job: &Job, facts: &BridgeFacts<'_>) -> Vec<IdToken> {
    if job.id_tokens.is_empty() {
        return Vec::new();
    }
    let all = variables_of(job, facts);
    let scope = Winners::new(&all);
    let expand = |token: &IdToken| IdToken {
        aud: token.aud.iter().map(|aud| expand_existing(&scope, aud)).collect(),
        ..token.clone()
    };
    job.id_tokens.iter().map(expand).collect()
}

/// All variables of a job that nobody runs, lowest first.
fn variables_of(job: &Job, facts: &BridgeFacts<'_>) -> Vec<Variable> {
    let mut all = vec![
        Variable::public("CI_PIPELINE_ID", facts.pipeline.id.to_string()),
        Variable::public("CI_PIPELINE_URL", facts.pipeline_url),
        Variable::public("CI_PIPELINE_CREATED_AT", &facts.pipeline.created_at),
        Variable::public("CI_JOB_ID", facts.id.to_string()),
    ];
    all.extend(job_variables(job));
    all.extend(pipeline_variables(facts.pipeline));
    all.extend(job.variables.iter().map(crate::payload::yaml_variable));
    all.extend(user_variables(&facts.pipeline.user));
    all.extend(facts.dotenv.iter().cloned());
    all.extend(facts.project.iter().cloned());
    all.extend(facts.run.iter().cloned());
    all
}

/// §23.3: what the other pipeline gets, later ones winning.
fn passed_on(job: &Job, facts: &BridgeFacts<'_>, forward: Forward, scope: &Winners<'_>) -> Vec<Variable> {
    let mut out: Vec<Variable> = Vec::new();
    let mut put = |variable: Variable| match out.iter_mut().find(|v| v.key == variable.key) {
        Some(known) => *known = variable,
        None => out.push(variable),
    };
    if forward.yaml_variables {
        for variable in &job.variables {
            let value = if variable.raw {
                variable.value.clone()
            } else {
                expand_fully(scope, &variable.key, &variable.value)
            };
            let passed = Variable::public(&variable.key, value);
            put(if variable.raw { passed.raw() } else { passed });
        }
        facts.dotenv.iter().cloned().for_each(&mut put);
    }
    if forward.pipeline_variables {
        for variable in facts.run {
            let mut passed = variable.clone();
            if !passed.raw {
                passed.value = value_of(scope, &passed.key).unwrap_or_default();
            }
            put(passed);
        }
    }
    out
}

/// A value with every text in it expanded as far as names are known.
fn expanded(scope: &Winners<'_>, value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(expand_existing(scope, text)),
        Value::Array(items) => items.iter().map(|item| expanded(scope, item)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), expanded(scope, value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
