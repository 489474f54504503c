//! What an operator's Prometheus reads at `/metrics`: counted here while the server works, or read from the tables when it is
//! asked for. Filled by the record of requests, by the hand-out of jobs and by committed changes. Nothing in it names a project,
//! a user or a job.

use crate::app::App;
use harrier_base::{Histogram, HistogramView};
use harrier_database::{Change, DatabaseError};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// In seconds: a page from memory to a long poll.
const REQUEST: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// In seconds: a runner that waits to a queue that nobody empties.
const QUEUE: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0];

/// The part of the server that a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// REST API.
    Api,
    /// Runner API.
    Runner,
    /// git.
    Git,
    /// Pages.
    Page,
    /// Metrics and probes.
    Operations,
}

impl Class {
    /// Its label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Runner => "runner",
            Self::Git => "git",
            Self::Page => "page",
            Self::Operations => "operations",
        }
    }
}

/// What is counted while the server works.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(Class, &'static str, u16), u64>>,
    durations: Mutex<BTreeMap<Class, Histogram>>,
    dispatch: Histogram,
    jobs_ended: Mutex<BTreeMap<&'static str, u64>>,
    pipelines_ended: Mutex<BTreeMap<&'static str, u64>>,
    pushes: AtomicU64,
    log_ins_failed: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            durations: Mutex::default(),
            dispatch: Histogram::new(QUEUE),
            jobs_ended: Mutex::default(),
            pipelines_ended: Mutex::default(),
            pushes: AtomicU64::new(0),
            log_ins_failed: AtomicU64::new(0),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, class: Class, method: &'static str, status: u16, took: Duration) {
        *locked(&self.requests).entry((class, method, status)).or_default() += 1;
        locked(&self.durations).entry(class).or_insert_with(|| Histogram::new(REQUEST)).observe(took);
    }

    /// A job that was queued for so long was handed to a runner.
    pub fn handed_out(&self, waited: Duration) {
        self.dispatch.observe(waited);
    }

    /// Somebody pushed.
    pub fn pushed(&self) {
        self.pushes.fetch_add(1, Ordering::Relaxed);
    }

    /// A password or token was wrong.
    pub fn log_in_failed(&self) {
        self.log_ins_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was committed.
    pub fn changed(&self, change: &Change) {
        let (ended, status) = match change {
            Change::Job { status, .. } => (&self.jobs_ended, status),
            Change::Pipeline { status, .. } => (&self.pipelines_ended, status),
            Change::Queued { .. } | Change::Bridge { .. } | Change::Runner { .. } | Change::Due => return,
        };
        if status.is_complete() {
            *locked(ended).entry(status.word()).or_default() += 1;
        }
    }
}

/// The text form, version 0.0.4.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// `labels`: names and values that need no escape.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], view: &HistogramView) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in &view.below {
            let bound = bound.to_string();
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), count);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), view.count);
        self.sample(&format!("{name}_sum"), labels, view.sum);
        self.sample(&format!("{name}_count"), labels, view.count);
    }
}

/// Everything, in Prometheus' text form.
pub(crate) async fn exposition(app: &App) -> Result<String, DatabaseError> {
    let now = app.now();
    let seen = app.store.overview(now - crate::web::OFFLINE).await?;
    let metrics = &app.metrics;
    let mut text = Text(String::new());

    let facts = app.server_facts();
    text.family("harrier_build_info", "gauge", "Version of the program.");
    let labels = [("version", app.settings.version.as_str()), ("gitlab_version", &facts.version)];
    text.sample("harrier_build_info", &labels, 1);

    text.family("harrier_jobs", "gauge", "Jobs that have not ended, by status.");
    for (status, count) in &seen.jobs {
        text.sample("harrier_jobs", &[("status", status.word())], count);
    }
    text.one("harrier_job_queue_size", "gauge", "Jobs that wait for a runner.", seen.queue);
    let age = seen.oldest_queued.map_or(0, |at| now.saturating_sub(at).max(0));
    #[expect(clippy::cast_precision_loss, reason = "seconds, not counted to the last digit")]
    let age = age as f64 / 1000.0;
    text.one(
        "harrier_job_queue_oldest_seconds",
        "gauge",
        "How long the job has waited that waits longest.",
        age,
    );
    let name = "harrier_job_queue_duration_seconds";
    text.family(name, "histogram", "From a job's being queued to its being handed to a runner.");
    text.histogram(name, &[], &metrics.dispatch.view());
    for (name, what, ended) in [
        ("harrier_jobs_ended_total", "Jobs", &metrics.jobs_ended),
        ("harrier_pipelines_ended_total", "Pipelines", &metrics.pipelines_ended),
    ] {
        text.family(name, "counter", &format!("{what} that ended since the server started, by status."));
        for (status, count) in locked(ended).iter() {
            text.sample(name, &[("status", status)], count);
        }
    }
    text.one("harrier_pipelines_open", "gauge", "Pipelines that have not ended.", seen.pipelines);

    let (paused, online, all) = seen.runners;
    text.family("harrier_runners", "gauge", "Registered runners; a paused one may be online.");
    for (status, count) in [("online", online), ("offline", all - online.min(all)), ("paused", paused)] {
        text.sample("harrier_runners", &[("status", status)], count);
    }
    text.one("harrier_projects", "gauge", "Projects.", seen.projects);
    text.one("harrier_users", "gauge", "Users.", seen.users);
    let pushes = metrics.pushes.load(Ordering::Relaxed);
    text.one("harrier_pushes_total", "counter", "Pushes that changed a ref.", pushes);
    let failed = metrics.log_ins_failed.load(Ordering::Relaxed);
    text.one("harrier_failed_logins_total", "counter", "Wrong passwords and tokens.", failed);

    text.family("http_requests_total", "counter", "Requests that were answered.");
    for ((class, method, status), count) in locked(&metrics.requests).iter() {
        let status = status.to_string();
        let labels = [("class", class.word()), ("method", method), ("status", &status)];
        text.sample("http_requests_total", &labels, count);
    }
    let name = "http_request_duration_seconds";
    text.family(name, "histogram", "Until the head of the answer; long polls of runners wait for a job.");
    for (class, histogram) in locked(&metrics.durations).iter() {
        text.histogram(name, &[("class", class.word())], &histogram.view());
    }

    let times = app.store.times();
    let name = "harrier_database_transaction_duration_seconds";
    text.family(name, "histogram", "From the first statement of a transaction to its commit.");
    for one in &times {
        text.histogram(name, &[("kind", one.kind)], &one.took);
    }
    let name = "harrier_database_wait_duration_seconds";
    text.family(name, "histogram", "Until a connection was free for a transaction.");
    for one in &times {
        text.histogram(name, &[("kind", one.kind)], &one.waited);
    }
    process(&mut text);
    Ok(text.0)
}

/// What the system says of this process, under the names every exporter uses.
fn process(text: &mut Text) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    // The name in brackets may hold anything; numbers follow the last bracket, from the third field on.
    let stat = read("/proc/self/stat");
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let page = sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap_or(4096);
    let tick = sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap_or(100).max(1);
    #[expect(clippy::cast_precision_loss, reason = "seconds, not counted to the last digit")]
    let seconds = |ticks: u64| ticks as f64 / tick as f64;
    let used = seconds(field(14) + field(15));
    text.one("process_cpu_seconds_total", "counter", "Time on processors.", used);
    text.one("process_resident_memory_bytes", "gauge", "Memory in RAM.", field(24) * page);
    text.one("process_virtual_memory_bytes", "gauge", "Address space.", field(23));
    text.one("process_threads", "gauge", "Threads.", field(20));
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    text.one("process_open_fds", "gauge", "Open files.", open);
    let limits = read("/proc/self/limits");
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    if let Some(most) = most.and_then(|most| most.parse::<u64>().ok()) {
        text.one("process_max_fds", "gauge", "Most files that may be open.", most);
    }
    let booted = read("/proc/stat");
    let booted = booted.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    if let Some(booted) = booted {
        let began = booted + seconds(field(22));
        text.one("process_start_time_seconds", "gauge", "When it started, in seconds since 1970.", began);
    }
}

fn sysconf(what: nix::unistd::SysconfVar) -> Option<u64> {
    nix::unistd::sysconf(what).ok().flatten().and_then(|value| u64::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_prometheus() {
        let mut text = Text(String::new());
        let histogram = Histogram::new(&[0.5]);
        histogram.observe(Duration::from_millis(250));
        histogram.observe(Duration::from_secs(2));
        text.family("x", "histogram", "What.");
        text.histogram("x", &[("kind", "read")], &histogram.view());
        text.one("y_total", "counter", "Else.", 3);
        assert_eq!(
            text.0,
            "# HELP x What.\n# TYPE x histogram\nx_bucket{kind=\"read\",le=\"0.5\"} 1\n\
             x_bucket{kind=\"read\",le=\"+Inf\"} 2\nx_sum{kind=\"read\"} 2.25\nx_count{kind=\"read\"} 2\n\
             # HELP y_total Else.\n# TYPE y_total counter\ny_total 3\n"
        );
    }

    #[test]
    fn the_process_is_measured() {
        let mut text = Text(String::new());
        process(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or(-1.0)
        };
        assert!(value("process_resident_memory_bytes") > 1e6, "{}", text.0);
        assert!(value("process_open_fds") > 2.0 && value("process_max_fds") > 2.0, "{}", text.0);
        assert!(value("process_start_time_seconds") > 1.6e9, "{}", text.0);
    }
}
