//! The binary the tests of this crate start: supervisor and helper.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(harrier_process::SUPERVISE) => harrier_process::supervise_main(),
        Some("__helper") => ExitCode::from(u8::try_from(harrier_helper::helper_main()).unwrap_or(1)),
        _ => ExitCode::from(2),
    }
}
