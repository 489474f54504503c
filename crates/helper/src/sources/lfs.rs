//! Git LFS (`executors.md` §4.3): pulled after the checkout if it is installed. Without a filter in the repository's attributes
//! there is nothing to pull, and the program, which is slow to start, is left alone.

use super::Place;
use crate::failure::Failure;
use crate::git::find_program;
use crate::log::Log;

/// Pulls the large files of the repository.
pub(super) fn pull(place: &Place<'_>, log: &mut Log<'_>) -> Result<(), Failure> {
    if !installed(place) {
        return Ok(());
    }
    if wanted(place)? {
        place.git.run(log, &["lfs", "pull"])?;
    }
    log.line("");
    Ok(())
}

/// Pulls the large files of all submodules.
pub(super) fn pull_in_submodules(
    place: &Place<'_>,
    recursive: bool,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    if !installed(place) {
        return Ok(());
    }
    let mut args = vec!["submodule", "foreach"];
    args.extend(recursive.then_some("--recursive"));
    args.extend(["git", "lfs", "pull"]);
    place.git.run(log, &args)
}

fn installed(place: &Place<'_>) -> bool {
    find_program(place.env, "git-lfs").is_some()
        || ["/usr/lib/git-core/git-lfs", "/usr/libexec/git-core/git-lfs"]
            .iter()
            .any(|path| std::path::Path::new(path).is_file())
}

/// Whether any attributes file of the checked-out tree names the filter.
fn wanted(place: &Place<'_>) -> Result<bool, Failure> {
    let has_filter = |path: &std::path::Path| {
        std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("filter=lfs"))
    };
    if has_filter(&place.project.join(".git/info/attributes")) {
        return Ok(true);
    }
    // If git cannot list them, let git-lfs look for itself.
    let Some(listed) = place.git.output(&["ls-files", "-z", "--", ":(glob)**/.gitattributes"])? else {
        return Ok(true);
    };
    Ok(listed
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .any(|name| has_filter(&place.project.join(String::from_utf8_lossy(name).as_ref()))))
}
