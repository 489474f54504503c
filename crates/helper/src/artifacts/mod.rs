//! Artifacts (`executors.md` §6, `runner-api.md` §9): from the project directory to where the server keeps them, and back.

mod download;
mod store;
mod upload;

pub(crate) use download::download;
pub(crate) use upload::upload;
