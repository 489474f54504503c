//! Stands in for the product's binary in the tests of this crate: the helper in its container.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("__helper_serve") => ExitCode::from(u8::try_from(harrier_helper::serve_main()).unwrap_or(1)),
        _ => ExitCode::from(2),
    }
}
