//! A job payload and a runner spec become a [`JobPlan`]: everything decided, nothing looked up later. All CI
//! settings, `GIT_*` variables and feature flags end here; executors and the helper never read them.
//!
//! Called by the runner host and the local host; read by the engine, the executors and the helper.
//! It must never run anything, sleep, or look at the machine.

mod facts;
mod job_plan;
mod stage;

pub use facts::*;
pub use job_plan::*;
pub use stage::*;
