//! The `harrier` binary: command line, printer, signals, wiring. It holds no logic.
fn main() {}
