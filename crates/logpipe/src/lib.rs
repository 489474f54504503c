//! The job log: bytes in, bytes out. Frames of raw output become the bytes the server stores.
//!
//! Called by the engine's log task, by the supervisor (frames only) and by benchmarks. It must never know HTTP
//! and never use `tracing`: a job's output is data.

mod frame;
mod limit;
mod masker;
mod patterns;
mod pipe;
mod timestamps;
mod token_prefixes;
mod url_sanitiser;
mod utf8_repair;

pub use frame::{DamagedFrame, Frame, FrameKind, FrameReader, MAX_FRAME, encode, whole_frames};
pub use pipe::{LogPipe, Settings};
