//! Fakes that are real, for tests: a GitLab that speaks HTTP and git, throw-away repositories, and the runner
//! as a process of its own.
//!
//! Called by tests and by the bench; never a normal dependency. It uses none of the product's wire types on
//! purpose: what a runner sends is judged by the contract (`runner-api.md`), not by the code that wrote it.

mod artifacts;
mod browser;
mod connection;
mod faults;
mod git_http;
mod jobs;
mod payload;
mod plain_http;
mod register;
mod repo;
mod rules;
mod runner_process;
mod s3;
mod server;
mod throw_away_database;
mod tls;
mod trace;

pub use browser::Browser;
pub use faults::{Fault, FaultPlan, On};
pub use jobs::{ArtifactRecord, JobRecord, JobSpec, JobState, PutRecord, Var};
pub use plain_http::{Message, PlainClient};
pub use repo::{Repo, RepoFile};
pub use runner_process::{RunnerProcess, TempHome, config_toml};
pub use s3::{S3Server, S3Wire, WireFault};
pub use server::{FakeGitLab, Note, Options, TestkitError};
pub use throw_away_database::ThrowAwayDatabase;
pub use tls::{AUTHORITY, Certificate};
