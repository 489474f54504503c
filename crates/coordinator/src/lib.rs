//! The coordinator: `git push`, and registered runners do the rest. [`App`] holds what every request needs; each surface has its
//! own files and its own `routes()`, put together in [`App::router`].
//!
//! Called by `harrier serve` and `harrier up`. Nothing here decides what runs when (`harrier-pipeline` does) or how rows look
//! (`harrier-database` does), and no job runs in this process.

mod answer;
mod app;
mod archive;
pub mod auth;
pub mod bridges;
mod browse;
mod ci_variable;
mod coverage;
pub mod cron;
mod data_dir;
mod dispatch;
pub mod git_http;
mod id_tokens;
mod include_source;
mod incoming;
mod junit;
mod make_pipeline;
mod merge_requests;
mod metrics;
pub mod mirrors;
mod needs_elsewhere;
mod notifier;
mod operations;
pub mod password;
mod project_making;
pub mod project_path;
mod push_note;
mod push_options;
mod pushes;
mod repository;
mod request_record;
pub mod rest;
pub mod runner_api;
mod serving;
mod settings;
pub mod start;
mod storage;
pub mod time_text;
mod timetable;
mod traces;
mod unpack;
pub mod web;

pub use answer::{Answer, Refusal};
pub use app::{App, StartError};
pub use data_dir::DataDir;
pub use harrier_includes::Network;
pub use harrier_includes::Templates;
pub use harrier_signature::Credentials;
pub use make_pipeline::{Made, MadeBy, MakeError, NoPipeline, Start};
pub use notifier::{News, Notifier, Wait};
pub use project_making::may_make;
pub use repository::{Commit, CommitTree, GitError, Repository};
pub use serving::serve_on;
pub use settings::{Registry, RegistryLogin, Settings};
pub use storage::{BucketError, ObjectStorage, StorageError, credentials_in};

pub use traces::{Appended, Traces};
