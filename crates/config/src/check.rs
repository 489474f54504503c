//! Turns the mirror into the checked specs: defaults filled in, values judged, environment variables put in
//! (`runner-config.md` §3 and §4).
//!
//! Called by `load` and by the tests. Pure: the environment comes as a function.

use crate::check_docker;
use crate::error::{ConfigError, Warning};
use crate::leaves::leaves;
use crate::mirror::{Host, Runner};
use crate::reader::{Reader, key_span};
use crate::sheet::Sheet;
use crate::source::{Source, alike};
use crate::spec::{ExecutorSpec, HostSpec, RunnerSpec, SessionServerSpec};
use crate::table::Table as _;
use harrier_base::{Secret, expand};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml_edit::{Document, Item, TableLike};

const LOG_LEVELS: [&str; 8] = ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"];
const LOG_FORMATS: [&str; 3] = ["runner", "text", "json"];
const SHELLS: [&str; 5] = ["bash", "sh", "pwsh", "powershell", "cmd"];

/// Most labels of a runner after the global ones are merged in.
const MAX_LABELS: usize = 32;

/// Reads `text` into the mirror; `origin` names it in messages.
///
/// # Errors
/// [`ConfigError::Invalid`] when it is not TOML or a value has the wrong type.
pub fn parse_mirror(text: &str, origin: &str) -> Result<(Host, Vec<Warning>), ConfigError> {
    let source = Source { origin, text };
    let document = document(source)?;
    let mut reader = Reader::new(source);
    let host = reader.table::<Host>(document.as_table());
    if reader.problems.is_empty() {
        Ok((host, reader.warnings))
    } else {
        Err(ConfigError::Invalid(reader.problems))
    }
}

/// Reads and checks `text`; `env` looks up an environment variable for `url` and `token`.
///
/// # Errors
/// [`ConfigError::Invalid`] with everything that is wrong.
pub fn parse(
    text: &str,
    origin: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(HostSpec, Vec<Warning>), ConfigError> {
    let source = Source { origin, text };
    let document = document(source)?;
    let mut reader = Reader::new(source);
    let mirror = reader.table::<Host>(document.as_table());
    let mut check = Check { reader, root: document.as_table(), env };
    let spec = check.host(&mirror);
    let Reader { problems, warnings, .. } = check.reader;
    if problems.is_empty() { Ok((spec, warnings)) } else { Err(ConfigError::Invalid(problems)) }
}

/// Checks one entry that was made by hand, as `run-single` makes it from flags; `origin` names it in messages.
///
/// # Errors
/// As [`parse`].
pub fn check_runner(
    runner: &Runner,
    origin: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(RunnerSpec, Vec<Warning>), ConfigError> {
    let mut sheet = Sheet::new();
    sheet.element("runners", |sheet| runner.write(sheet));
    let text = sheet.finish();
    let (mut host, warnings) = parse(&text, origin, env)?;
    let spec = host.runners.pop().expect("the one element written is read again");
    Ok((spec, warnings))
}

/// Parses TOML.
pub(crate) fn document(source: Source<'_>) -> Result<Document<&str>, ConfigError> {
    Document::parse(source.text).map_err(|error| {
        let at = error.span().unwrap_or(source.text.len()..source.text.len());
        let message = format!("not valid TOML: {}", error.message().replace('\n', ", "));
        let remedy = "mend this line; strings need quotes, tables stand in brackets".to_owned();
        ConfigError::Invalid(vec![source.problem(at, message, remedy)])
    })
}

/// One step down the document.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

struct Check<'a> {
    reader: Reader<'a>,
    root: &'a dyn TableLike,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl Check<'_> {
    fn host(&mut self, mirror: &Host) -> HostSpec {
        use Step::Key;
        let concurrent = mirror.concurrent.unwrap_or(1);
        if concurrent < 1 {
            let message = format!("concurrent is {concurrent}, so no job could ever run");
            self.bad(&[Key("concurrent")], message, "write at least concurrent = 1");
        }
        self.one_of(mirror.log_level.as_deref(), &[Key("log_level")], &LOG_LEVELS);
        self.one_of(mirror.log_format.as_deref(), &[Key("log_format")], &LOG_FORMATS);
        self.labels(&mirror.labels, &[Key("labels")]);
        let session_server = self.session_server(mirror);
        let runners = mirror
            .runners
            .iter()
            .enumerate()
            .map(|(index, runner)| self.runner(index, runner, mirror))
            .collect();
        self.without_effect();
        HostSpec {
            concurrent: small(concurrent).max(1),
            check_interval: Duration::from_secs(positive(mirror.check_interval).unwrap_or(3)),
            log_level: mirror.log_level.clone().filter(|level| !level.is_empty()),
            log_format: mirror.log_format.clone().filter(|format| !format.is_empty()),
            connection_max_age: match mirror.connection_max_age {
                None => Some(Duration::from_secs(15 * 60)),
                Some(age) if age.is_zero() => None,
                Some(age) => Some(age),
            },
            shutdown_timeout: Duration::from_secs(positive(mirror.shutdown_timeout).unwrap_or(30)),
            listen_address: mirror.listen_address.clone().filter(|address| !address.is_empty()),
            session_server,
            runners,
        }
    }

    fn runner(&mut self, index: usize, mirror: &Runner, host: &Host) -> RunnerSpec {
        let path = [Step::Key("runners"), Step::Index(index)];
        let at = |key: &'static str| [path[0], path[1], Step::Key(key)];
        let env = self.env;
        let url = self.url(expand(&text(&mirror.url), env), &at("url"));
        let token = expand(mirror.token.as_ref().map_or("", Secret::expose), env);
        let token = if token.trim().is_empty() { String::new() } else { token };
        let executor = self.executor(mirror, index, &at("executor"));
        self.one_of(mirror.shell.as_deref(), &at("shell"), &SHELLS);
        self.labels(&mirror.labels, &at("labels"));
        let mut labels = host.labels.clone();
        labels.extend(mirror.labels.clone());
        if labels.len() > MAX_LABELS {
            let message =
                format!("{} labels after the global ones are merged in, at most {MAX_LABELS}", labels.len());
            self.bad(&at("labels"), message, "remove some");
        }
        self.machine_options(mirror, index);
        let custom = mirror.custom.as_ref().filter(|_| executor.name() == "custom");
        let artifact = mirror.artifact.clone().unwrap_or_default();
        RunnerSpec {
            name: text(&mirror.name),
            url,
            id: mirror.id.filter(|id| *id != 0),
            token: Secret::new(token),
            token_obtained_at: mirror.token_obtained_at.and_then(crate::mirror::Stamp::seconds),
            token_expires_at: mirror.token_expires_at.and_then(crate::mirror::Stamp::seconds),
            tls_ca_file: path_of(&mirror.tls_ca_file),
            tls_cert_file: path_of(&mirror.tls_cert_file),
            tls_key_file: path_of(&mirror.tls_key_file),
            limit: small(mirror.limit.unwrap_or(0)),
            output_limit: positive(mirror.output_limit).unwrap_or(4096).saturating_mul(1024),
            request_concurrency: small(mirror.request_concurrency.unwrap_or(1)).max(1),
            strict_check_interval: mirror.strict_check_interval.unwrap_or(false),
            unhealthy_requests_limit: count(mirror.unhealthy_requests_limit, 3),
            unhealthy_interval: limit(mirror.unhealthy_interval).unwrap_or(Duration::from_secs(3600)),
            final_update_retry_limit: count(mirror.job_status_final_update_retry_limit, 10),
            labels,
            executor,
            builds_dir: path_of(&mirror.builds_dir),
            cache_dir: path_of(&mirror.cache_dir),
            clone_url: mirror.clone_url.clone().filter(|url| !url.is_empty()),
            environment: mirror
                .environment
                .iter()
                .filter_map(|entry| entry.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            shell: mirror.shell.clone().filter(|shell| !shell.is_empty()),
            pre_get_sources_script: script(&mirror.pre_get_sources_script),
            post_get_sources_script: script(&mirror.post_get_sources_script),
            pre_build_script: script(&mirror.pre_build_script),
            post_build_script: script(&mirror.post_build_script),
            prepare_timeout: limit(mirror.prepare_timeout),
            get_sources_timeout: limit(mirror.get_sources_timeout),
            debug_trace_disabled: mirror.debug_trace_disabled.unwrap_or(false),
            safe_directory_checkout: mirror.safe_directory_checkout,
            clean_git_config: mirror.clean_git_config,
            custom_build_dir: mirror.custom_build_dir.as_ref().and_then(|dir| dir.enabled),
            artifact_upload_timeout: limit(artifact.upload_timeout).unwrap_or(Duration::from_secs(3600)),
            artifact_response_header_timeout: limit(artifact.response_header_timeout)
                .unwrap_or(Duration::from_secs(600)),
            feature_flags: mirror.feature_flags.clone(),
            graceful_kill_timeout: Duration::from_secs(
                positive(custom.and_then(|custom| custom.graceful_kill_timeout)).unwrap_or(600),
            ),
            force_kill_timeout: Duration::from_secs(
                positive(custom.and_then(|custom| custom.force_kill_timeout)).unwrap_or(10),
            ),
        }
    }

    /// Without the trailing `/`, and without the `/ci` of old.
    fn url(&mut self, url: String, at: &[Step<'_>]) -> String {
        let trimmed = url.trim().trim_end_matches('/');
        let base = trimmed.strip_suffix("/ci").map(|base| base.trim_end_matches('/'));
        if base.is_some() {
            self.odd(at, "the url ends in /ci, which is left out".to_owned(), "remove the /ci");
        }
        let base = base.unwrap_or(trimmed);
        if !base.is_empty() && !base.starts_with("http://") && !base.starts_with("https://") {
            let message = "the url has no scheme".to_owned();
            self.odd(at, message, "write it as https://gitlab.example.com");
        }
        base.to_owned()
    }

    fn executor(&mut self, mirror: &Runner, index: usize, at: &[Step<'_>]) -> ExecutorSpec {
        let name = text(&mirror.executor);
        if name == "shell" {
            return ExecutorSpec::Shell;
        }
        if name == "docker" {
            return self.docker(mirror, index, at);
        }
        if name.is_empty() {
            let at = [Step::Key("runners"), Step::Index(index)];
            let message = format!("runner {:?} has no executor", text(&mirror.name));
            self.odd(&at, message, "add a line such as executor = \"shell\"");
        } else if !ExecutorSpec::NAMES.contains(&name.as_str()) {
            let remedy = match alike(&name, ExecutorSpec::NAMES.into_iter()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("known are {}", ExecutorSpec::NAMES.join(", ")),
            };
            self.odd(at, format!("unknown executor {name:?}"), &remedy);
        } else {
            let message =
                format!("this build of Harrier has no {name} executor yet; the runner takes no jobs");
            self.no_effect(at, message);
        }
        ExecutorSpec::Unsupported(name)
    }

    fn docker(&mut self, mirror: &Runner, index: usize, at: &[Step<'_>]) -> ExecutorSpec {
        let Some(section) = &mirror.docker else {
            let message = "executor is \"docker\", but there is no [runners.docker] section".to_owned();
            self.bad(at, message, "add [runners.docker] with image = \"…\" below this runner");
            return ExecutorSpec::Unsupported("docker".to_owned());
        };
        let (spec, problems) = check_docker::docker(section);
        for problem in problems {
            let at = [Step::Key("runners"), Step::Index(index), Step::Key("docker"), Step::Key(problem.key)];
            self.bad(&at, format!("{}: {}", problem.key, problem.message), problem.remedy);
        }
        ExecutorSpec::Docker(Box::new(spec))
    }

    fn labels(&mut self, labels: &BTreeMap<String, String>, at: &[Step<'_>]) {
        for (key, value) in labels {
            let at: Vec<Step<'_>> = at.iter().copied().chain([Step::Key(key)]).collect();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            let first = key.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
            if !first || !(3..=65).contains(&key.len()) || !key.chars().all(plain) {
                self.bad(
                    &at,
                    format!("label key {key:?} is not allowed"),
                    "3 to 65 letters, digits, _, . and -, the first a letter, a digit or _",
                );
            }
            if !(1..=256).contains(&value.len()) || !value.chars().all(plain) {
                self.bad(
                    &at,
                    format!("value {value:?} of label {key} is not allowed"),
                    "1 to 256 letters, digits, _, . and -",
                );
            }
        }
    }

    fn machine_options(&mut self, mirror: &Runner, index: usize) {
        let Some(machine) = &mirror.machine else { return };
        if machine.machine_options_with_name.iter().any(|option| !option.contains("%s")) {
            let at = [
                Step::Key("runners"),
                Step::Index(index),
                Step::Key("machine"),
                Step::Key("MachineOptionsWithName"),
            ];
            let message =
                "every entry of MachineOptionsWithName must hold %s, the place of the machine's name";
            self.bad(&at, message.to_owned(), "put %s into every entry, or move it to MachineOptions");
        }
    }

    fn one_of(&mut self, value: Option<&str>, at: &[Step<'_>], known: &[&str]) {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        if !known.contains(&value) {
            self.odd(at, format!("unknown value {value:?}"), &format!("known are {}", known.join(", ")));
        }
    }

    fn session_server(&mut self, mirror: &Host) -> Option<SessionServerSpec> {
        let server = mirror.session_server.as_ref()?;
        let given = |address: &Option<String>| address.clone().filter(|address| !address.trim().is_empty());
        let listen_address = given(&server.listen_address)?;
        let advertise_address = given(&server.advertise_address).unwrap_or_else(|| listen_address.clone());
        for (key, address) in [("listen_address", &listen_address), ("advertise_address", &advertise_address)]
        {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if address.contains("://") || port.is_none() {
                self.bad(
                    &[Step::Key("session_server"), Step::Key(key)],
                    format!("{address:?} is not host:port"),
                    "write a name or an address and a port, without a scheme, e.g. runner.example.com:8093",
                );
            }
        }
        Some(SessionServerSpec {
            listen_address,
            advertise_address,
            session_timeout: Duration::from_secs(positive(server.session_timeout).unwrap_or(1800)),
        })
    }

    /// Warns once an entry about each kind of setting that nothing comes of.
    fn without_effect(&mut self) {
        let mut told = Vec::new();
        for leaf in leaves(self.root) {
            if !leaf.is_looked_at() {
                continue;
            }
            let Some(row) = leaf.exception().filter(|row| row.warned) else { continue };
            let kind = (leaf.runner, row.text);
            if !told.contains(&kind) {
                told.push(kind);
                let problem =
                    self.reader.source.problem(leaf.value_at(), row.words(leaf.given()), String::new());
                self.reader.warnings.push(Warning::NoEffect(problem));
            }
        }
    }

    fn bad(&mut self, at: &[Step<'_>], message: String, remedy: &str) {
        let problem = self.reader.source.problem(self.span(at), message, remedy.to_owned());
        self.reader.problems.push(problem);
    }

    fn odd(&mut self, at: &[Step<'_>], message: String, remedy: &str) {
        let problem = self.reader.source.problem(self.span(at), message, remedy.to_owned());
        self.reader.warnings.push(Warning::OddValue(problem));
    }

    fn no_effect(&mut self, at: &[Step<'_>], message: String) {
        let problem = self.reader.source.problem(self.span(at), message, String::new());
        self.reader.warnings.push(Warning::NoEffect(problem));
    }

    fn span(&self, at: &[Step<'_>]) -> Range<usize> {
        locate(self.root, at).unwrap_or(0..0)
    }
}

/// The place of a value, or of the nearest thing around it that has one.
fn locate(root: &dyn TableLike, path: &[Step<'_>]) -> Option<Range<usize>> {
    let mut table = root;
    let mut best = None;
    let mut steps = path.iter().peekable();
    while let Some(step) = steps.next() {
        let Step::Key(name) = step else { return best };
        let Some((key, item)) = find(table, name) else { return best };
        best = key_span(table, key).or(best);
        let index = match steps.peek() {
            Some(Step::Index(index)) => {
                let index = *index;
                steps.next();
                Some(index)
            }
            Some(Step::Key(_)) | None => None,
        };
        match (item, index) {
            (Item::ArrayOfTables(tables), Some(index)) => {
                let element = tables.get(index)?;
                best = element.span().or(best);
                table = element;
            }
            (Item::Value(value), Some(index)) => {
                let element = value.as_array()?.get(index)?;
                best = element.span().or(best);
                table = element.as_inline_table()?;
            }
            (item, _) => {
                if let Some(inner) = item.as_table_like() {
                    table = inner;
                } else {
                    return item.as_value().and_then(toml_edit::Value::span).or(best);
                }
            }
        }
    }
    best
}

/// A key without regard to case, the exact one first.
pub(crate) fn find<'t>(table: &'t dyn TableLike, name: &str) -> Option<(&'t str, &'t Item)> {
    let mut alike = None;
    for (key, item) in table.iter() {
        if key == name {
            return Some((key, item));
        }
        if key.eq_ignore_ascii_case(name) {
            alike = Some((key, item));
        }
    }
    alike
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn script(value: &Option<String>) -> Option<String> {
    value.clone().filter(|script| !script.is_empty())
}

fn path_of(value: &Option<String>) -> Option<PathBuf> {
    value.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn limit(value: Option<Duration>) -> Option<Duration> {
    value.filter(|duration| !duration.is_zero())
}

fn positive(value: Option<i64>) -> Option<u64> {
    value.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

fn small(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

fn count(value: Option<i64>, default: u32) -> u32 {
    value.filter(|number| *number > 0).map_or(default, small)
}
