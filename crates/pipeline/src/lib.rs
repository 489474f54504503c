//! The `.gitlab-ci.yml` language (`ci-yaml.md`) and the scheduler of its pipelines.
//!
//! [`compile`] turns texts into a [`Pipeline`] and diagnostics; [`Scheduler`] says what to run when;
//! [`payload::job_payload`] makes what a runner gets. Called by the local host and the coordinator. Everything here
//! is pure: included files, facts and variables are given, and there is no clock, no environment and no file access.

mod check;
mod compile;
mod component;
mod context;
mod diagnostic;
pub mod dotenv;
pub mod downstream;
mod durations;
pub mod environment_url;
mod expand;
mod expression;
mod extends;
mod glob;
mod graph;
mod header;
mod include;
mod inputs;
mod interpolation;
mod job_inputs;
mod keywords;
mod loader;
mod origins;
pub mod payload;
mod pipeline;
pub mod predefined;
pub mod project_variables;
mod re2;
mod reference;
pub mod release_step;
pub mod resource;
mod rules;
pub mod schedule;
mod scope;
mod secrets;
mod source;
mod status;
pub mod wanted;
mod yaml;

pub use check::nearest;
pub use compile::compile;
pub use context::{Context, GivenInput, RunKind};
pub use diagnostic::{Diagnostic, Note, Place, Severity, render};
pub use durations::parse_duration;
pub use keywords::environment::{ENVIRONMENT_TIERS, environment_slug, environment_tier, is_environment_name};
pub use keywords::job::KEYS as JOB_KEYWORDS;
pub use loader::yaml_mapping;
pub use origins::{Origin, TopLevel, Way, Written};
pub use pipeline::*;
pub use schedule::{Action, Event, Kept, Outcome, Scheduler};
pub use source::{FetchError, FileId, IncludeSource, ProjectAt, SourceFile, Sources};
pub use status::{Status, StatusSet};
