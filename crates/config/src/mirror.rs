//! `config.toml` as it is written: one file per TOML table, every key of GitLab Runner with its type, its place in a
//! written file, its `register` flag and its environment variable (`runner-config.md` §4 to §7).
//!
//! Called by `parse` (reading), `edit` (writing) and `register` (flags). It must never resolve or judge a value;
//! that is `check`'s work.

mod autoscaler;
mod cache;
mod custom;
mod docker;
mod host;
mod instance;
mod kubernetes;
mod kubernetes_affinity;
mod kubernetes_pod;
mod kubernetes_security;
mod kubernetes_volumes;
mod machine;
mod parallels;
mod runner;
mod runner_tables;
mod service;
mod ssh;
mod virtualbox;

pub use crate::cell::{FreeTable, Stamp, StringOrList};
pub use autoscaler::*;
pub use cache::*;
pub use custom::*;
pub use docker::*;
pub use host::*;
pub use instance::*;
pub use kubernetes::*;
pub use kubernetes_affinity::*;
pub use kubernetes_pod::*;
pub use kubernetes_security::*;
pub use kubernetes_volumes::*;
pub use machine::*;
pub use parallels::*;
pub use runner::*;
pub use runner_tables::*;
pub use service::*;
pub use ssh::*;
pub use virtualbox::*;

use crate::table::{Chain, Flag, Setting, Table, Walk};

/// The flags of `register` and `run-single` that set a key of a `[[runners]]` entry.
pub fn runner_flags() -> Vec<Flag> {
    let mut out = Vec::new();
    Runner::flags(&Chain::default(), &mut out);
    out
}

/// Every setting of the file, those of a table after the table's own.
pub fn settings() -> Vec<Setting> {
    let mut out = Vec::new();
    Host::settings(&Walk::default(), &mut out);
    out.retain(|setting| setting.path.first() != Some(&"runners") || setting.path.len() == 1);
    Runner::settings(&Walk { path: vec!["runners"], chain: Some(Chain::default()) }, &mut out);
    out
}

impl Runner {
    /// Sets the key a [`Flag`] is for.
    ///
    /// # Errors
    /// The reason why a value does not fit.
    pub fn put_flag(&mut self, flag: &Flag, values: &[String]) -> Result<(), String> {
        self.put(&flag.path, values)
    }

    /// Takes from a template what is unset or zero here (`runner-config.md` §2.1.2).
    pub fn fill_from_template(&mut self, template: &Self) {
        let token = self.token.clone();
        self.fill_from(template);
        self.token = token;
    }
}

/// The keys of `[runners.docker]`, those of its tables not included; for tests that must not forget one.
pub fn docker_keys() -> &'static [&'static str] {
    <Docker as crate::table::Table>::KEYS
}
