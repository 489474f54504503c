//! The local host: a pipeline of the repository one stands in
