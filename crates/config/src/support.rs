//! What this build does with each setting of the mirror: the one list behind the warnings at load, the report of
//! `harrier migrate check` and the reference.
//!
//! Called by `check`, `migrate` and the page that is made of the mirror. A setting that is not in the list does what
//! it does in GitLab Runner. A difference that stands here stands in `docs/differences.md` too.

use crate::check::find;
use toml_edit::{Item, TableLike, Value};

/// What becomes of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Does what it does in GitLab Runner.
    Works,
    /// No version that this build knows has such a key; GitLab Runner ignores it too.
    Unknown,
    /// Works, and something about it is different.
    Differs,
    /// Read, and nothing comes of it.
    NoEffect,
    /// What depends on it does not run.
    Refused,
}

impl Verdict {
    /// As reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Unknown => "unknown",
            Self::Differs => "differs",
            Self::NoEffect => "no effect",
            Self::Refused => "refused",
        }
    }
}

/// A value with what stands around it.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub item: &'a Item,
    /// Its `[[runners]]` entry, or the whole file.
    pub entry: &'a dyn TableLike,
}

/// A setting that is not as in GitLab Runner.
pub(crate) struct Exception {
    /// Keys with dots; a table stands for all that is below.
    path: &'static str,
    /// For which values it holds.
    holds: fn(Given<'_>) -> bool,
    pub verdict: Verdict,
    /// Why, for people; `{value}` stands for the value.
    pub text: &'static str,
    /// Whether loading the file warns about it.
    pub warned: bool,
}

const fn quiet(
    path: &'static str,
    verdict: Verdict,
    holds: fn(Given<'_>) -> bool,
    text: &'static str,
) -> Exception {
    Exception { path, holds, verdict, text, warned: false }
}

const fn warned(path: &'static str, holds: fn(Given<'_>) -> bool, text: &'static str) -> Exception {
    Exception { path, holds, verdict: Verdict::NoEffect, text, warned: true }
}

const EXCEPTIONS: &[Exception] = &[
    warned("sentry_dsn", is_set, "this build of Harrier has no Sentry hook; the setting has no effect"),
    quiet(
        "listen_address",
        Verdict::Differs,
        is_set,
        "metrics and health are there; /debug/pprof and the metrics go_* are not",
    ),
    quiet(
        "check_interval",
        Verdict::Differs,
        is_set,
        "the interval is for an empty queue: a slot that becomes free asks for its next job at once, unless \
         strict_check_interval is on",
    ),
    quiet(
        "shutdown_timeout",
        Verdict::Differs,
        is_set,
        "each job's stage gets at most 10 s between SIGTERM and SIGKILL when the runner is told to leave",
    ),
    warned(
        "experimental.usage_logger.enabled",
        is_set,
        "this build of Harrier has no usage log; the setting has no effect",
    ),
    quiet("machine", Verdict::NoEffect, is_set, "there is no docker-machine here"),
    quiet(
        "runners.job_status_final_update_retry_limit",
        Verdict::Differs,
        is_set,
        "after those tries a result is sent on and on, at most 5 minutes apart, as long as the server is down",
    ),
    quiet(
        "runners.shell",
        Verdict::Refused,
        |given| !matches!(text_of(given.item), Some("" | "bash" | "sh")),
        "this build of Harrier has no {value} shell, so every job of this runner fails; write bash or sh, or leave the \
         line out",
    ),
    warned(
        "runners.proxy_exec",
        is_set,
        "this build of Harrier has no proxy-exec; the setting has no effect",
    ),
    warned(
        "runners.use_slot_cgroups",
        is_set,
        "this build of Harrier has no slot cgroups; the setting has no effect",
    ),
    quiet(
        "runners.slot_cgroup_template",
        Verdict::NoEffect,
        is_set,
        "this build of Harrier has no slot cgroups",
    ),
    warned("runners.referees", is_set, "this build of Harrier has no referees; the setting has no effect"),
    warned(
        "runners.monitoring",
        is_set,
        "this build of Harrier has no queue monitoring; the setting has no effect",
    ),
    warned(
        "runners.experimental.boot_verify.enabled",
        is_set,
        "this build of Harrier has no boot verification; the setting has no effect",
    ),
    quiet("runners.step_runner_image", Verdict::NoEffect, is_set, "this build of Harrier has no step runner"),
    warned(
        "runners.cache.Type",
        is_set,
        "this build of Harrier has no {value} cache; caches stay in a local directory",
    ),
    quiet("runners.cache", Verdict::NoEffect, |given| is_set(given) && has_remote_cache(given), REMOTE_CACHE),
    quiet(
        "runners.docker.tls_cert_path",
        Verdict::Differs,
        |given| is_set(given) && !beside(given, "docker", "tls_verify").is_some_and(is_on),
        "the engine's certificate is checked even without tls_verify",
    ),
    quiet(
        "runners.docker.pull_policy",
        Verdict::Differs,
        names_if_not_present,
        "an image that is there already is used only by jobs whose credentials may read it at its registry",
    ),
    quiet(
        "runners.docker.allowed_pull_policies",
        Verdict::Differs,
        names_if_not_present,
        "an image that is there already is used only by jobs whose credentials may read it at its registry",
    ),
    quiet(
        "runners.docker.mac_address",
        Verdict::Differs,
        is_set,
        "refused by an engine below API 1.44, where GitLab Runner leaves it out with a warning",
    ),
    quiet(
        "runners.docker.host",
        Verdict::Refused,
        |given| {
            text_of(given.item).is_some_and(|text| text.starts_with("ssh://") || text.starts_with("npipe:"))
        },
        "an engine is reached at unix:///path, tcp://host:port or http://host:port; forward the socket over ssh \
         (ssh -L) and write its path",
    ),
    warned(
        "runners.docker.helper_image_flavor",
        is_set,
        "this build of Harrier has no helper images in flavours; the setting has no effect",
    ),
    warned(
        "runners.docker.service_slot_cgroup_template",
        is_set,
        "this build of Harrier has no slot cgroups; the setting has no effect",
    ),
    quiet(
        "runners.docker.pids_limit",
        Verdict::Differs,
        is_set,
        "of Harrier only; GitLab Runner warns about nothing and ignores it",
    ),
];

const REMOTE_CACHE: &str = "this build of Harrier has no remote caches";

/// Which executors look at a section of an entry; `None`: all do.
pub fn executors_of(section: &str) -> Option<&'static [&'static str]> {
    Some(match section {
        "docker" => &["docker", "docker-windows", "docker+machine", "docker-autoscaler"],
        "machine" => &["docker+machine"],
        "ssh" => &["ssh", "parallels", "virtualbox"],
        "parallels" => &["parallels"],
        "virtualbox" => &["virtualbox"],
        "custom" => &["custom"],
        "kubernetes" => &["kubernetes"],
        "instance" | "autoscaler" => &["instance", "docker-autoscaler"],
        _ => return None,
    })
}

/// Whether this build has the executor.
pub fn has_executor(name: &str) -> bool {
    matches!(name, "shell" | "docker")
}

/// The exceptions a setting may fall under, for the reference.
pub fn exceptions(key: &str) -> impl Iterator<Item = (Verdict, &'static str)> {
    EXCEPTIONS.iter().filter(move |row| row.is_about(key)).map(|row| (row.verdict, row.text))
}

/// The exception that a value falls under.
pub(crate) fn exception(key: &str, given: Given<'_>) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|row| row.is_about(key) && (row.holds)(given))
}

impl Exception {
    fn is_about(&self, key: &str) -> bool {
        key.strip_prefix(self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The text with the value in it.
    pub(crate) fn words(&self, given: Given<'_>) -> String {
        self.text.replace("{value}", text_of(given.item).unwrap_or_default())
    }
}

/// Set to something: not empty, not zero, not false.
fn is_set(given: Given<'_>) -> bool {
    is_on(given.item)
}

fn is_on(item: &Item) -> bool {
    match item {
        Item::None => false,
        Item::Table(table) => !table.is_empty(),
        Item::ArrayOfTables(tables) => !tables.is_empty(),
        Item::Value(value) => match value {
            Value::String(text) => !text.value().is_empty(),
            Value::Integer(number) => *number.value() != 0,
            Value::Float(number) => *number.value() != 0.0,
            Value::Boolean(flag) => *flag.value(),
            Value::Datetime(_) => true,
            Value::Array(array) => !array.is_empty(),
            Value::InlineTable(table) => !table.is_empty(),
        },
    }
}

fn text_of(item: &Item) -> Option<&str> {
    item.as_value().and_then(Value::as_str)
}

fn beside<'a>(given: Given<'a>, table: &str, key: &str) -> Option<&'a Item> {
    let (_, table) = find(given.entry, table)?;
    find(table.as_table_like()?, key).map(|(_, item)| item)
}

fn has_remote_cache(given: Given<'_>) -> bool {
    beside(given, "cache", "Type").is_some_and(is_on)
}

fn names_if_not_present(given: Given<'_>) -> bool {
    let is_it = |text: Option<&str>| text == Some("if-not-present");
    match given.item.as_value() {
        Some(Value::Array(array)) => array.iter().any(|value| is_it(value.as_str())),
        value => is_it(value.and_then(Value::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::settings;
    use crate::parse;
    use crate::spec::ExecutorSpec;

    #[test]
    fn the_executors_that_are_there_are_those_that_the_check_makes() {
        for name in ExecutorSpec::NAMES {
            let text = format!("[[runners]]\nexecutor = \"{name}\"\n[runners.docker]\nimage = \"i\"\n");
            let (host, _) = parse(&text, "config.toml", &|_| None).unwrap_or_else(|error| panic!("{error}"));
            let is_there = !matches!(host.runners[0].executor, ExecutorSpec::Unsupported(_));
            assert_eq!(is_there, has_executor(name), "{name}");
        }
    }

    #[test]
    fn every_exception_is_about_a_setting_of_the_mirror() {
        let known = settings();
        for row in EXCEPTIONS {
            assert!(known.iter().any(|setting| row.is_about(&setting.key())), "{}", row.path);
        }
    }

    #[test]
    fn the_sections_of_executors_are_tables_of_an_entry() {
        let known = settings();
        let sections: Vec<_> = known.iter().filter(|s| s.path.len() == 2 && s.is_table).collect();
        let of_executors = sections
            .iter()
            .filter(|s| executors_of(s.path[1]).is_some())
            .map(|s| s.path[1])
            .collect::<Vec<_>>();
        assert_eq!(of_executors.len(), 9, "{of_executors:?}");
        for section in of_executors {
            for name in executors_of(section).unwrap_or_default() {
                assert!(ExecutorSpec::NAMES.contains(name), "{name}");
            }
        }
    }
}
