//! What the build knows of itself: version, and the commit when the Makefile told.
//!
//! Called by every command that says who it is.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// Harrier's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

static LINE: LazyLock<String> = LazyLock::new(|| {
    let mut line = VERSION.to_owned();
    if let Some(revision) = revision() {
        let day = commit_date().map_or_else(String::new, |day| format!(" {day}"));
        // Writing to a string cannot fail.
        let _ = write!(line, " ({revision}{day})");
    }
    line
});

/// Eight digits of the commit.
pub fn revision() -> Option<&'static str> {
    option_env!("HARRIER_REVISION").filter(|text| !text.is_empty())
}

/// The commit's day, `2026-11-30`.
pub fn commit_date() -> Option<&'static str> {
    option_env!("HARRIER_COMMIT_DATE").filter(|text| !text.is_empty())
}

/// Version, commit and day in one: `0.1.0 (1a2b3c4d 2026-11-30)`.
pub fn line() -> &'static str {
    &LINE
}
