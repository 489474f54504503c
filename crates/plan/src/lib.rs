//! A job payload and a runner spec become a [`JobPlan`]: everything decided, nothing looked up later. All CI
//! settings, `GIT_*` variables and feature flags end here; executors and the helper never read them.
//!
//! Called by the runner host and the local host; read by the engine, the executors and the helper.
//! It must never run anything, sleep, or look at the machine.

mod artifacts;
mod caches;
mod containers;
mod dirs;
mod docker_globs;
mod facts;
mod flags;
mod git_url;
pub mod globs;
mod helper_call;
mod job_plan;
mod limits;
mod masks;
mod plan;
#[cfg(test)]
mod plan_tests;
mod refuse;
#[cfg(test)]
mod samples;
mod scripts;
mod settings;
mod shell_text;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a shell's script is tested by the shell itself")]
mod shell_text_tests;
mod sources;
mod stage;
mod variables;

pub use containers::*;
pub use dirs::DirsError;
pub use facts::*;
pub use flags::{FeatureFlag, feature_flags, flag_meaning};
pub use helper_call::*;
pub use job_plan::*;
pub use plan::{PlanError, plan_job};
pub use shell_text::script_text;
pub use stage::*;
