//! The client against real sockets.

mod certificates;
mod http;
mod scripted;
