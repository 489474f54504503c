//! `config.toml`: a faithful mirror of the file, turned once into checked specs; edits in place that keep comments.
//!
//! Called by the runner host (load, reload), by `register` and its kin (edits) and by the local host (a spec made
//! by hand). It must never start anything. Only [`file`] and [`system_id`] touch the disk; the rest is pure.

mod cell;
mod check;
mod check_docker;
mod docker;
mod edit;
mod error;
pub mod file;
mod leaves;
pub mod migrate;
pub mod mirror;
mod reader;
mod sheet;
mod source;
mod spec;
mod support;
mod system_id;
mod table;

pub use check::{check_runner, parse, parse_mirror};
pub use docker::{
    ContainerLimits, Device, DockerSpec, EngineAddress, HostDir, PullPolicy, ServiceSpec, Ulimit,
};
pub use edit::{EditError, TokenFields, add_runner, remove_runners, set_token};
pub use error::{ConfigError, Warning};
pub use file::{load, load_warned};
pub use source::Problem;
pub use spec::*;
pub use support::{Verdict, exceptions, executors_of, has_executor};
pub use system_id::{SystemId, system_id};
pub use table::{Flag, Setting, Takes};
