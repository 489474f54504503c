//! Wire types of the runner API (`runner-api.md`). Anything may be `null` or absent and unknown fields are
//! ignored, as Go's decoder does (§1.4). It parses and prints; it does not behave.
//!
//! Called by the client, the planner, the local host and the coordinator.

mod payload;
mod runner;
mod update;

pub use payload::*;
pub use runner::*;
pub use update::*;

/// For `#[serde(deserialize_with = "null_default")]`: `null` leaves the default.
fn null_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    use serde::Deserialize;
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}
