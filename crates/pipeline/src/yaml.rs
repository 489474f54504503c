//! YAML as GitLab reads it: libyaml's syntax, Psych's values, and nodes that remember where they came from.
//! Called by the compiler. It knows nothing of jobs.

mod load;
mod merge;
mod node;
mod scalars;
mod write;

pub(crate) use load::{Loaded, load};
pub(crate) use merge::deep_merge;
pub(crate) use node::{Entry, NodeId, Tree, Value};
pub(crate) use scalars::float_text;
pub(crate) use write::write;
