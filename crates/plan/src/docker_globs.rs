//! Globs over image names (`allowed_images` and its kin, `runner-config.md` §6.1). Called by the planning of containers.

use crate::globs::Glob;

/// Whether one of the patterns, expanded, matches the name. A pattern that is no glob matches only itself.
pub(crate) fn matches_any(patterns: &[String], name: &str, expand: &dyn Fn(&str) -> String) -> bool {
    patterns.iter().any(|pattern| {
        let pattern = expand(pattern);
        match Glob::parse(&pattern) {
            Ok(glob) => glob.matches(name),
            Err(_) => pattern == name,
        }
    })
}
