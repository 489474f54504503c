//! Mirrors: projects whose branches and tags are fetched from another server, and get pipelines as if they had been pushed. What an
//! address may be is in `address.rs`, git in `fetch.rs`, when and with whose rights in `keep.rs`, who may ask for a fetch from
//! outside in `webhook.rs`. What a webhook brings is only heard as "look now"; nothing is taken from it.

mod address;
mod fetch;
mod keep;
pub(crate) mod webhook;

pub use address::MirrorAddress;
pub use keep::{DEFAULT_INTERVAL, SHORTEST_INTERVAL};
