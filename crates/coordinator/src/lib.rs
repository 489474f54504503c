//! The coordinator: `git push`, and registered runners do the rest. [`App`] holds what every request needs; each surface has its
//! own files and its own `routes()`, put together in [`App::router`].
//!
//! Called by `harrier serve` and `harrier up`. Nothing here decides what runs when (`harrier-pipeline` does) or how rows look
//! (`harrier-database` does), and no job runs in this process.

mod answer;
mod app;
pub mod auth;
pub mod cron;
mod data_dir;
pub mod git_http;
mod notifier;
pub mod password;
pub mod project_path;
pub mod rest;
pub mod runner_api;
mod settings;
pub mod web;

pub use answer::{Answer, Refusal};
pub use app::{App, StartError};
pub use data_dir::DataDir;
pub use notifier::Notifier;
pub use settings::Settings;
