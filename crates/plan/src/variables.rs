//! The job's environment in its order (`runner-api.md` §16.1): flags, the runner's own, the payload's, the runner's last
//! word. Built in two steps, because `GIT_CLONE_PATH` may name variables and decides on the directories.

use crate::flags::{Flags, is_flag};
use crate::{Dirs, Facts};
use harrier_api::{JobPayload, JobVariable};
use harrier_base::{Variable, Variables, short_token};
use harrier_config::RunnerSpec;
use std::path::Path;

/// The payload's variables as they came, flags included.
pub(crate) fn of_payload(payload: &JobPayload) -> Variables {
    payload.variables.iter().map(from_wire).collect()
}

fn from_wire(wire: &JobVariable) -> Variable {
    Variable {
        key: wire.key.clone(),
        value: wire.value.clone(),
        public: wire.public,
        file: wire.file,
        masked: wire.masked,
        raw: wire.raw,
    }
}

/// All variables, unexpanded, overridden ones included. `dirs` is `None` while the project directory is not decided.
pub(crate) fn all(
    payload: &JobPayload,
    spec: &RunnerSpec,
    facts: &Facts,
    flags: &Flags,
    builds: &Path,
    dirs: Option<&Dirs>,
    job_timeout: u64,
) -> Variables {
    let mut out: Variables = flags.variables().collect();

    if let Some(image) = payload.image.as_ref().filter(|image| !image.name.is_empty()) {
        out.push(Variable::public("CI_JOB_IMAGE", &image.name));
    }
    out.push(Variable::public("CI_RUNNER_SHORT_TOKEN", short_token(spec.token.expose())));
    out.extend(spec.environment.iter().map(|(key, value)| Variable::internal(key, value)));
    out.push(Variable::public("CI_BUILDS_DIR", path_text(builds)).raw());
    if let Some(dirs) = dirs {
        out.push(Variable::public("CI_PROJECT_DIR", path_text(&dirs.project)).raw());
    }
    out.push(Variable::public("CI_CONCURRENT_ID", facts.concurrent_id.to_string()));
    out.push(Variable::public("CI_CONCURRENT_PROJECT_ID", facts.concurrent_project_id.to_string()));
    out.push(Variable::public("CI_SERVER", "yes"));
    out.push(Variable::public("CI_JOB_STATUS", "running"));
    out.push(Variable::public("CI_JOB_TIMEOUT", job_timeout.to_string()));
    let file = |key: &str, value: &str, public: bool| Variable {
        key: key.to_owned(),
        value: value.to_owned(),
        public,
        file: true,
        raw: true,
        ..Variable::default()
    };
    if let Some(pem) = &facts.tls_ca {
        out.push(file("CI_SERVER_TLS_CA_FILE", pem, true));
    }
    if let Some(pem) = &facts.tls_cert {
        out.push(file("CI_SERVER_TLS_CERT_FILE", pem, true));
    }
    if let Some(pem) = &facts.tls_key {
        out.push(file("CI_SERVER_TLS_KEY_FILE", pem.expose(), false).masked());
    }

    out.extend(payload.variables.iter().filter(|wire| !is_flag(&wire.key)).map(from_wire));

    let place = if facts.abilities.shared { "CI_SHARED_ENVIRONMENT" } else { "CI_DISPOSABLE_ENVIRONMENT" };
    out.push(Variable::public(place, "true"));
    out.push(Variable::public("CI_RUNNER_VERSION", &facts.version));
    out.push(Variable::public("CI_RUNNER_REVISION", &facts.revision));
    out.push(Variable::public("CI_RUNNER_EXECUTABLE_ARCH", &facts.os_arch));
    if let Some(dirs) = dirs {
        out.push(Variable::public("RUNNER_TEMP_PROJECT_DIR", path_text(&dirs.tmp)).raw());
    }
    out
}

/// Splits off the variables whose names no shell can hold. They could break the script they are exported in, or, as
/// file variables, lead out of the temporary directory.
pub(crate) fn usable(variables: Variables) -> (Variables, Vec<String>) {
    let mut refused = Vec::new();
    let kept = variables
        .into_iter()
        .filter_map(|mut v| {
            if !is_shell_name(&v.key) {
                refused.push(v.key);
                return None;
            }
            if v.value.contains('\0') {
                v.value = v.value.replace('\0', "");
            }
            Some(v)
        })
        .collect();
    (kept, refused)
}

/// Whether a shell takes `name` as the name of a variable.
pub(crate) fn is_shell_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

/// A path as the value of a variable.
pub(crate) fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_3_2_names_no_shell_can_hold_are_left_out() {
        for (name, ok) in [
            ("A", true),
            ("_a1", true),
            ("1A", false),
            ("A-B", false),
            ("", false),
            ("../x", false),
            ("É", false),
        ] {
            assert_eq!(is_shell_name(name), ok, "{name}");
        }
        let list: Variables =
            [Variable::public("A", "x\0y"), Variable::public("A B", "x")].into_iter().collect();
        let (kept, refused) = usable(list);
        assert_eq!(kept.value("A"), Some("xy"));
        assert_eq!(refused, ["A B"]);
    }
}
