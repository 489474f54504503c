//! The local host: the pipeline of the repository one stands in.
//!
//! Called by `harrier run`. It finds the repository and what git knows of it, takes a snapshot of the work tree, has the
//! configuration compiled, and drives the scheduler: each job becomes a `JobPayload` and from there takes the same road as
//! a job of a server. It must never do anything to a job after the payload that the runner host does not do, and never name a
//! concrete executor.

mod child;
mod conduct;
mod events;
mod git;
mod handing_out;
mod includes;
mod inspect;
mod kept;
mod local;
mod one_job;
mod origin;
mod predefined;
mod remembered;
mod repository;
mod selection;
mod snapshot;
mod state;
mod variables;
mod variables_yaml;
mod ways;
mod work_tree;

pub use conduct::Interrupt;
pub use events::*;
pub use git::GitError;
pub use harrier_pipeline::dotenv::DotenvError;
pub use includes::{IncludeOptionError, IncludeOptions, input};
pub use inspect::{Inspect, InspectError, Inspected, RootFile, includable, inspect};
pub use kept::{KeptJob, expire_kept, kept_jobs};
pub use local::{CleanError, Local, PrepareError, Ready, Request, RunError, RunWith, clean};
pub use one_job::JobError;
pub use predefined::Program;
pub use remembered::Memory;
pub use repository::{Commit, GitFacts, Head, Person, Repository, RepositoryError};
pub use selection::{Chosen, Selection, SelectionError, choose};
pub use snapshot::{Snapshot, SnapshotError, Staged, stage};
pub use state::{KeptError, State, StateError};
pub use variables::{VariablesError, secret, variable, variables_file};
pub use ways::{Executors, PlaceError, Where};
