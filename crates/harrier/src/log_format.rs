//! The runner's own log on standard error: the formats `runner`, `text` and `json` (`runner-config.md` §9.1), level and
//! format changeable while it runs.
//!
//! Called by the runner's command line. Job logs never come here.

use harrier_runner::LogCounts;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The message padded to a column, then sorted fields; coloured on a terminal.
    Runner,
    /// `time="…" level=info msg="…" key=value`
    Text,
    /// One object a line.
    Json,
}

impl Format {
    /// As `--log-format` and `log_format` name it; `None` for another name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "runner" => Some(Self::Runner),
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// The level of that name; `None` for another name.
pub fn level_named(name: &str) -> Option<LevelFilter> {
    match name.to_ascii_lowercase().as_str() {
        "trace" => Some(LevelFilter::TRACE),
        "debug" => Some(LevelFilter::DEBUG),
        "info" => Some(LevelFilter::INFO),
        "warn" | "warning" => Some(LevelFilter::WARN),
        "error" | "fatal" | "panic" => Some(LevelFilter::ERROR),
        _ => None,
    }
}

/// Changes the log while it runs. What the command line has said stays.
#[derive(Clone)]
pub struct LogControl {
    look: Arc<RwLock<Look>>,
    fixed_level: bool,
    fixed_format: bool,
}

#[derive(Clone, Copy)]
struct Look {
    level: LevelFilter,
    format: Format,
}

/// Starts the log. `None` leaves a setting to the configuration, `info` and `runner` until then.
pub fn start(level: Option<LevelFilter>, format: Option<Format>) -> LogControl {
    let look = Look { level: level.unwrap_or(LevelFilter::INFO), format: format.unwrap_or(Format::Runner) };
    let look = Arc::new(RwLock::new(look));
    listen(Arc::clone(&look), false);
    LogControl { look, fixed_level: level.is_some(), fixed_format: format.is_some() }
}

/// Starts the log of a program that itself tells how jobs end: only what is wrong with the program is said.
pub fn start_quiet() {
    listen(Arc::new(RwLock::new(Look { level: LevelFilter::WARN, format: Format::Runner })), true);
}

fn listen(look: Arc<RwLock<Look>>, quiet: bool) {
    let lines = Lines { look, quiet, colour: std::io::stderr().is_terminal() };
    // It fails only if there is a log already, which is then as good.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

impl LogControl {
    /// Takes over `log_level` and `log_format` of a configuration; without them the defaults.
    pub fn configure(&self, level: Option<&str>, format: Option<&str>) {
        let (level, format) = (level.filter(|l| !l.is_empty()), format.filter(|f| !f.is_empty()));
        let named = (level.map(level_named), format.map(Format::named));
        {
            let mut look = self.look.write().unwrap_or_else(PoisonError::into_inner);
            if !self.fixed_level {
                look.level = named.0.flatten().unwrap_or(LevelFilter::INFO);
            }
            if !self.fixed_format {
                look.format = named.1.flatten().unwrap_or(Format::Runner);
            }
        }
        tracing::callsite::rebuild_interest_cache();
        if named.0 == Some(None) {
            tracing::warn!(
                log_level = level,
                "log_level is none of debug, info, warn, error, fatal, panic; info is used"
            );
        }
        if named.1 == Some(None) {
            tracing::warn!(log_format = format, "log_format is none of runner, text, json; runner is used");
        }
    }
}

/// How many lines were written; one log, one count.
pub fn counts() -> Arc<LogCounts> {
    static COUNTS: LazyLock<Arc<LogCounts>> = LazyLock::new(Arc::default);
    Arc::clone(&COUNTS)
}

struct Lines {
    look: Arc<RwLock<Look>>,
    /// How jobs end is told elsewhere.
    quiet: bool,
    colour: bool,
}

/// Where a runner says how a job ended.
const ENDS_OF_JOBS: &str = "harrier_runner::job";

impl Lines {
    fn look(&self) -> Look {
        *self.look.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries speak only when something is wrong.
        let ours = metadata.target().starts_with("harrier") || *metadata.level() <= Level::WARN;
        // Spans carry the fields of a job, whatever the level.
        let told = self.quiet && metadata.target() == ENDS_OF_JOBS && *metadata.level() > Level::ERROR;
        metadata.is_span() || (ours && !told && *metadata.level() <= self.look().level)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        if let Some(span) = cx.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        if let Some(span) = cx.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in cx.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.values.extend(outer.values.clone());
            }
        }
        event.record(&mut fields);
        let level = *event.metadata().level();
        match level {
            Level::ERROR => counts().errors.fetch_add(1, Ordering::Relaxed),
            Level::WARN => counts().warnings.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let line = match self.look().format {
            Format::Runner => runner_line(level, fields, self.colour),
            Format::Text => text_line(level, fields, Timestamp::now()),
            Format::Json => json_line(level, fields, Timestamp::now()),
        };
        // Nobody can be told that standard error is gone.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// The message and the fields of an event or a span.
#[derive(Default)]
struct Fields {
    message: String,
    values: std::collections::BTreeMap<&'static str, Value>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else if !value.is_empty() {
            self.values.insert(field.name(), Value::from(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.values.insert(field.name(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.values.insert(field.name(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.values.insert(field.name(), Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.values.insert(field.name(), Value::from(value));
    }
}

/// Column of the first field.
const COLUMN: usize = 50;

fn runner_line(level: Level, fields: Fields, colour: bool) -> String {
    let (paint, prefix) = match level {
        Level::ERROR => ("\x1b[31;1m", "ERROR: "),
        Level::WARN => ("\x1b[0;33m", "WARNING: "),
        Level::DEBUG | Level::TRACE => ("\x1b[37;1m", ""),
        Level::INFO => ("", ""),
    };
    let (paint, reset) = if colour { (paint, "\x1b[0;m") } else { ("", "") };
    let message = one_line(&fields.message);
    if fields.values.is_empty() {
        return format!("{paint}{prefix}{message}{reset}\n");
    }
    let width = COLUMN - prefix.len();
    let mut line = format!("{paint}{prefix}{message:<width$}{reset} ");
    for (key, value) in &fields.values {
        // Writing to a string cannot fail.
        let _ = write!(line, " {paint}{key}{reset}={}", one_line(&plain(value)));
    }
    line.push('\n');
    line
}

fn text_line(level: Level, fields: Fields, now: Timestamp) -> String {
    let mut line = format!("time=\"{now}\" level={} msg={}", level_name(level), quoted(&fields.message));
    for (key, value) in &fields.values {
        let _ = write!(line, " {key}={}", quoted(&plain(value)));
    }
    line.push('\n');
    line
}

fn json_line(level: Level, fields: Fields, now: Timestamp) -> String {
    let mut object: Map<String, Value> =
        fields.values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    object.insert("level".to_owned(), Value::from(level_name(level)));
    object.insert("msg".to_owned(), Value::from(fields.message));
    object.insert("time".to_owned(), Value::from(now.to_string()));
    format!("{}\n", Value::Object(object))
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A line of the log is one line; a message of several lines is set in below its first.
fn one_line(text: &str) -> String {
    text.replace('\n', "\n    ")
}

/// In quotes unless it is a plain word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let values = [
            ("runner", Value::from("abc")),
            ("job", Value::from(7)),
            ("error", Value::from("it \"broke\"")),
            ("duration_s", Value::from(0.25)),
        ];
        Fields { message: "Job failed".into(), values: values.into() }
    }

    #[test]
    fn lines() {
        let now: Timestamp = "2026-11-24T10:00:00.5Z".parse().expect("a time");
        let padded = format!("{:<50}", "WARNING: Job failed");
        assert_eq!(
            runner_line(Level::WARN, fields(), false),
            format!("{padded}  duration_s=0.25 error=it \"broke\" job=7 runner=abc\n")
        );
        let none = Fields { message: "Ready".into(), ..Fields::default() };
        assert_eq!(runner_line(Level::INFO, none, false), "Ready\n");
        assert!(runner_line(Level::ERROR, fields(), true).starts_with("\x1b[31;1mERROR: Job failed"));
        assert_eq!(
            text_line(Level::INFO, fields(), now),
            "time=\"2026-11-24T10:00:00.5Z\" level=info msg=\"Job failed\" duration_s=0.25 \
             error=\"it \\\"broke\\\"\" job=7 runner=abc\n"
        );
        let json: Value = serde_json::from_str(&json_line(Level::WARN, fields(), now)).expect("json");
        let want = serde_json::json!({
            "duration_s": 0.25, "error": "it \"broke\"", "job": 7, "level": "warning", "msg": "Job failed",
            "runner": "abc", "time": "2026-11-24T10:00:00.5Z"
        });
        assert_eq!(json, want);
    }

    #[test]
    fn names() {
        assert_eq!(level_named("WARNING"), Some(LevelFilter::WARN));
        assert_eq!(level_named("fatal"), Some(LevelFilter::ERROR));
        assert_eq!(level_named("loud"), None);
        assert_eq!((Format::named("json"), Format::named("xml")), (Some(Format::Json), None));
    }

    #[test]
    fn a_control_obeys_the_file_unless_the_command_line_has_spoken() {
        let look = Arc::new(RwLock::new(Look { level: LevelFilter::INFO, format: Format::Text }));
        let control = LogControl { look: Arc::clone(&look), fixed_level: false, fixed_format: true };
        control.configure(Some("debug"), Some("json"));
        let now = *look.read().expect("lock");
        assert_eq!((now.level, now.format), (LevelFilter::DEBUG, Format::Text));
        control.configure(None, None);
        assert_eq!(look.read().expect("lock").level, LevelFilter::INFO);
    }
}
