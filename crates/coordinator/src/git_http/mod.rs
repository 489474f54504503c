//! Git's smart HTTP: clone, fetch and push of the projects' bare repositories, through git's own programs. Who may is in `routes.rs`, git itself in
//! `exchange.rs`.

mod exchange;
mod pkt_line;
mod push;
mod routes;

pub use exchange::{Allowed, ExchangeError, Service, advertise, receive_pack, upload_pack};
pub use push::{Push, PushError, RefChange};

pub(crate) use exchange::{git, git_with};
pub(crate) use routes::{serve, split};
