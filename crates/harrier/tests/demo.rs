//! `make demo`'s story, with containers and without: told to its end, and nothing of it left.

mod rig;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What the demo prints, and that it ends well.
fn told(mut demo: Command) -> String {
    let output = demo.output().expect("the demo starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Directories of demos in the place for temporary files.
fn directories(place: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(place).expect("a directory").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_how_to_with_containers() {
    let place = tempfile::tempdir().expect("a directory");
    let mut demo = Command::new("bash");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/demo");
    demo.arg(script).arg(rig::harrier()).env("TMPDIR", place.path());
    let text = told(demo);
    let mut rest = text.as_str();
    for part in [
        "$ gitlab-runner register --non-interactive",
        "no basic auth credentials",
        "Authenticating with credentials from the variable DOCKER_AUTH_CONFIG",
        "added 2 packages",
        "# pass 2",
        "Storage Driver: ",
        "Successfully tagged image1:latest",
        "Pipeline 1 has passed.",
        "$ docker ps -a",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} comes later in\n{text}"));
        rest = &rest[at..];
    }
    assert!(!rest.contains("harrier-demo"), "{rest}");
    assert_eq!(directories(place.path()), BTreeSet::new());
}

#[test]
fn the_story_in_a_shell() {
    let place = tempfile::tempdir().expect("a directory");
    let mut demo = Command::new(rig::harrier());
    demo.args(["demo", "--shell"]).env("TMPDIR", place.path());
    let text = told(demo);
    assert!(text.contains("Pipeline 1 has passed."), "{text}");
    assert_eq!(directories(place.path()), BTreeSet::new());
}
