//! The language server for `.gitlab-ci.yml`, without its input and output.
//!
//! Called by `harrier lsp`, which reads messages from standard input, gives each to [`Server::receive`], calls
//! [`Server::settle`] when no more are waiting, and writes what comes back. The language itself is the compiler's; here is only
//! what an editor asks. It must never read a file: the [`World`] compiles, with the editor's unsaved texts in place of files.

mod complete;
mod cursor;
mod frames;
mod keywords;
mod text;
mod uri;

mod server;

pub use frames::{FrameError, Frames, frame};
pub use server::{Analysis, Server, World};
