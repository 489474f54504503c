//! `config.toml`: a faithful mirror of the file, turned once into checked specs; edits in place that keep comments.
//!
//! Called by the runner host (load, reload), by `register` and its kin (edits) and by the local host (a spec made
//! by hand). It must never start anything.

mod spec;

pub use spec::*;
