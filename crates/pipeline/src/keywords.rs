//! The keywords, one family a file: nodes in, checked values out (`ci-yaml.md` §18 and the sections it names). Called
//! by the compiler; no keyword looks at another job.

pub(crate) mod artifacts;
pub(crate) mod cache;
pub(crate) mod credentials;
pub(crate) mod defaults;
pub(crate) mod environment;
pub(crate) mod image;
pub(crate) mod job;
pub(crate) mod job_inputs;
pub(crate) mod needs;
pub(crate) mod parallel;
pub(crate) mod refs;
pub(crate) mod release;
pub(crate) mod running;
pub(crate) mod steps;
pub(crate) mod trigger;
pub(crate) mod variables;
pub(crate) mod workflow;
