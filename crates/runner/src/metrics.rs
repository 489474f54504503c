//! What the runner tells a monitoring system: the metrics of `runner-config.md` §9.3 in Prometheus' text format, and the list of
//! jobs of §9.2. The service and the jobs count here; [`crate::metrics_server`] shows it.
//!
//! Counting never fails and never waits for a reader.

use crate::options::{LogCounts, Program, architecture, platform};
use harrier_api::JobInfo;
use harrier_client::{Exchange, Observer};
use harrier_plan::StageName;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    /// Upper bounds of its buckets in seconds.
    Histogram(&'static [f64]),
}

use Kind::{Counter, Gauge, Histogram};

const JOB: &[f64] = &[30., 60., 300., 600., 1800., 3600., 7200., 10800., 18000., 36000.];
const QUEUE: &[f64] = &[1., 3., 10., 30., 60., 120., 300., 900., 1800., 3600.];
const REQUEST: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10.];

const JOBS: &str = "gitlab_runner_jobs";
const JOBS_TOTAL: &str = "gitlab_runner_jobs_total";
const JOB_MODE: &str = "gitlab_runner_job_execution_mode_total";
const JOB_DURATION: &str = "gitlab_runner_job_duration_seconds";
const QUEUE_DURATION: &str = "gitlab_runner_job_queue_duration_seconds";
const QUEUE_SIZE: &str = "gitlab_runner_job_queue_size";
const QUEUE_DEPTH: &str = "gitlab_runner_job_queue_depth";
const STAGE_DURATION: &str = "gitlab_runner_job_stage_duration_seconds";
const FAILED_JOBS: &str = "gitlab_runner_failed_jobs_total";
const CONCURRENT: &str = "gitlab_runner_concurrent";
const LIMIT: &str = "gitlab_runner_limit";
const REQUESTS: &str = "gitlab_runner_request_concurrency";
const HARD_LIMIT: &str = "gitlab_runner_request_concurrency_hard_limit";
const ADAPTIVE_LIMIT: &str = "gitlab_runner_request_concurrency_adaptive_limit";
const USED_LIMIT: &str = "gitlab_runner_request_concurrency_used_limit";
const FEEDS: &str = "gitlab_runner_worker_feeds_total";
const SLOTS: &str = "gitlab_runner_worker_slots_number";
const SLOT_OPERATIONS: &str = "gitlab_runner_worker_slot_operations_total";
const PROCESSING_FAILURES: &str = "gitlab_runner_worker_processing_failures_total";
const HEALTH_FAILURES: &str = "gitlab_runner_worker_health_check_failures_total";
const LOADED: &str = "gitlab_runner_configuration_loaded_total";
const LOADING_ERRORS: &str = "gitlab_runner_configuration_loading_error_total";
const SAVED: &str = "gitlab_runner_configuration_saved_total";
const SAVING_ERRORS: &str = "gitlab_runner_configuration_saving_error_total";
const API_STATUSES: &str = "gitlab_runner_api_request_statuses_total";
const API_DURATION: &str = "gitlab_runner_api_request_duration_seconds";
const API_RETRIES: &str = "gitlab_runner_api_request_retries_total";
const ERRORS: &str = "gitlab_runner_errors_total";
const STATE: &str = "gitlab_runner_process_state_info";
const VERSION: &str = "gitlab_runner_version_info";

/// Every family, in the order they are shown.
const FAMILIES: &[(&str, Kind, &str)] = &[
    (VERSION, Gauge, "Always 1; the labels tell the version"),
    (STATE, Gauge, "1 for the state the process is in"),
    (CONCURRENT, Gauge, "Most jobs at a time over all runners"),
    (LIMIT, Gauge, "Most jobs at a time of the runner"),
    (JOBS, Gauge, "Jobs at work"),
    (JOBS_TOTAL, Counter, "Jobs taken"),
    (JOB_MODE, Counter, "Jobs taken by how their scripts are run"),
    (FAILED_JOBS, Counter, "Jobs that failed"),
    (JOB_DURATION, Histogram(JOB), "Time from a job's acceptance to its end"),
    (STAGE_DURATION, Histogram(QUEUE), "Time that a stage took"),
    (QUEUE_DURATION, Histogram(QUEUE), "Time that a job waited on the server"),
    (QUEUE_SIZE, Gauge, "Jobs that waited on the server for the runner"),
    (QUEUE_DEPTH, Gauge, "Place in the server's queue of the job that was handed out"),
    (REQUESTS, Gauge, "Job requests under way"),
    (HARD_LIMIT, Gauge, "Most job requests at a time, as configured"),
    (ADAPTIVE_LIMIT, Gauge, "Most job requests at a time, as the server's answers suggest"),
    (USED_LIMIT, Gauge, "Most job requests at a time, as used"),
    (FEEDS, Counter, "Turns that the runner had to ask for a job"),
    (SLOTS, Gauge, "Slots for jobs"),
    (SLOT_OPERATIONS, Counter, "Slots opened and closed"),
    (PROCESSING_FAILURES, Counter, "Turns that went wrong"),
    (HEALTH_FAILURES, Counter, "Times the runner was put to sleep as unhealthy"),
    (LOADED, Counter, "Configurations that came into force"),
    (LOADING_ERRORS, Counter, "Configurations that could not be used"),
    (SAVED, Counter, "Changes written to the configuration"),
    (SAVING_ERRORS, Counter, "Changes that could not be written"),
    (API_STATUSES, Counter, "Answers of the server by status"),
    (API_DURATION, Histogram(REQUEST), "Time until the server's answer"),
    (API_RETRIES, Counter, "Requests that were sent once more"),
    (ERRORS, Counter, "Lines in the runner's log by level"),
];

/// Of one runner: its short token and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunnerLabels {
    pub short: String,
    pub name: String,
}

/// The state of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Running,
    Graceful,
    Forceful,
}

impl ProcessState {
    const ALL: [Self; 3] = [Self::Running, Self::Graceful, Self::Forceful];

    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Graceful => "graceful-shutdown",
            Self::Forceful => "forceful-shutdown",
        }
    }
}

/// All that is counted.
pub(crate) struct Metrics {
    system_id: String,
    program: Program,
    log: Arc<LogCounts>,
    inner: Mutex<Inner>,
}

struct Inner {
    values: BTreeMap<&'static str, BTreeMap<String, f64>>,
    histograms: BTreeMap<&'static str, BTreeMap<String, Spread>>,
    jobs: BTreeMap<u64, JobLine>,
    next_job: u64,
    runners: Vec<RunnerLabels>,
    state: ProcessState,
}

#[derive(Default)]
struct Spread {
    /// How many in each bucket and those below.
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

struct JobLine {
    runner: RunnerLabels,
    url: String,
    state: &'static str,
    stage: String,
    since: Instant,
    stage_since: Instant,
    with_stages: bool,
}

/// A job that is counted as at work until this is dropped.
pub(crate) struct ShownJob {
    metrics: Arc<Metrics>,
    runner: RunnerLabels,
    id: u64,
}

/// What is known of a job when it is taken.
pub(crate) struct Taken<'a> {
    pub runner: RunnerLabels,
    pub executor: &'a str,
    pub url: String,
    /// `None`: an earlier process had taken it.
    pub info: Option<&'a JobInfo>,
    /// `FF_EXPORT_HIGH_CARDINALITY_METRICS`
    pub with_stages: bool,
}

impl Metrics {
    pub fn new(system_id: String, program: Program, log: Arc<LogCounts>) -> Self {
        let inner = Inner {
            values: BTreeMap::new(),
            histograms: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            runners: Vec::new(),
            state: ProcessState::Running,
        };
        let metrics = Self { system_id, program, log, inner: Mutex::new(inner) };
        for name in [LOADED, LOADING_ERRORS, SAVED, SAVING_ERRORS] {
            metrics.add(name, &[], 0.);
        }
        metrics
    }

    /// The state of each number is whole after every change.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, name: &'static str, labels: &[(&str, &str)], more: f64) {
        *self.lock().values.entry(name).or_default().entry(rendered(labels)).or_default() += more;
    }

    fn set(&self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        self.lock().values.entry(name).or_default().insert(rendered(labels), value);
    }

    fn observe(&self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        let bounds = FAMILIES
            .iter()
            .find_map(|(family, kind, _)| match kind {
                Histogram(bounds) if *family == name => Some(*bounds),
                _ => None,
            })
            .unwrap_or_default();
        let mut inner = self.lock();
        let spread = inner.histograms.entry(name).or_default().entry(rendered(labels)).or_default();
        spread.buckets.resize(bounds.len(), 0);
        for (count, bound) in spread.buckets.iter_mut().zip(bounds) {
            *count += u64::from(value <= *bound);
        }
        spread.count += 1;
        spread.sum += value;
    }

    fn whole<'a>(&'a self, runner: &'a RunnerLabels) -> [(&'a str, &'a str); 3] {
        [("runner", &runner.short), ("runner_name", &runner.name), ("system_id", &self.system_id)]
    }

    fn brief<'a>(&'a self, runner: &'a RunnerLabels) -> [(&'a str, &'a str); 2] {
        [("runner", &runner.short), ("system_id", &self.system_id)]
    }

    /// A configuration came into force.
    pub fn configured(&self, concurrent: u32, runners: Vec<(RunnerLabels, u32)>) {
        let before =
            self.lock().values.get(SLOTS).and_then(|slots| slots.values().next().copied()).unwrap_or(0.);
        let now = f64::from(concurrent);
        {
            let mut inner = self.lock();
            for name in [LIMIT, HARD_LIMIT, ADAPTIVE_LIMIT, USED_LIMIT, REQUESTS] {
                inner.values.remove(name);
            }
            inner.runners = runners.iter().map(|(runner, _)| runner.clone()).collect();
        }
        self.add(LOADED, &[], 1.);
        self.set(CONCURRENT, &[], now);
        self.set(SLOTS, &[], now);
        self.add(SLOT_OPERATIONS, &[("operation", "started")], (now - before).max(0.));
        self.add(SLOT_OPERATIONS, &[("operation", "stopped")], (before - now).max(0.));
        for (runner, limit) in &runners {
            self.set(LIMIT, &self.whole(runner), f64::from(*limit));
            for name in [FEEDS, HEALTH_FAILURES, JOBS_TOTAL] {
                self.add(name, &self.whole(runner), 0.);
            }
        }
    }

    /// A changed configuration cannot be used.
    pub fn configuration_broken(&self) {
        self.add(LOADING_ERRORS, &[], 1.);
    }

    /// The configuration was to be written.
    pub fn configuration_written(&self, well: bool) {
        self.add(if well { SAVED } else { SAVING_ERRORS }, &[], 1.);
    }

    /// It was the runner's turn.
    pub fn turn(&self, runner: &RunnerLabels) {
        self.add(FEEDS, &self.whole(runner), 1.);
    }

    /// Requests under way and how many there may be: as configured, as suggested, as used.
    pub fn requests(&self, runner: &RunnerLabels, now: u32, hard: u32, adaptive: f64, used: u32) {
        let labels = self.brief(runner);
        for (name, value) in [
            (REQUESTS, f64::from(now)),
            (HARD_LIMIT, f64::from(hard)),
            (ADAPTIVE_LIMIT, adaptive),
            (USED_LIMIT, f64::from(used)),
        ] {
            self.set(name, &labels, value);
        }
    }

    /// The runner was put to sleep.
    pub fn unhealthy(&self, runner: &RunnerLabels) {
        self.add(HEALTH_FAILURES, &self.whole(runner), 1.);
    }

    /// A turn went wrong; `kind` is `other` or `job_failure`.
    pub fn turn_failed(&self, runner: &RunnerLabels, kind: &str) {
        let mut labels = vec![("failure_type", kind)];
        labels.extend(self.whole(runner));
        self.add(PROCESSING_FAILURES, &labels, 1.);
    }

    /// The state of the process.
    pub fn state(&self) -> ProcessState {
        self.lock().state
    }

    /// The process is told to stop.
    pub fn enter(&self, state: ProcessState) {
        self.lock().state = state;
    }

    /// Counts what is said to the server for this runner.
    pub fn observer(self: &Arc<Self>, runner: &RunnerLabels) -> Observer {
        let (metrics, runner) = (Arc::clone(self), runner.clone());
        Arc::new(move |exchange| metrics.exchanged(&runner, exchange))
    }

    fn exchanged(&self, runner: &RunnerLabels, exchange: &Exchange<'_>) {
        let endpoint = match (exchange.method, exchange.path) {
            (_, "jobs/request") => "request_job",
            ("PUT", path) if path.starts_with("jobs/") => "update_job",
            ("PATCH", path) if path.ends_with("/trace") => "patch_trace",
            (_, "runners/reset_authentication_token") => "reset_token",
            _ => "other",
        };
        let method = exchange.method.to_ascii_lowercase();
        if exchange.again {
            self.add(API_RETRIES, &[("path", endpoint), ("method", &method)], 1.);
        }
        let (status, class) = match exchange.status {
            Some(status) => (status.to_string(), format!("{}xx", status / 100)),
            None => ("0".to_owned(), "failed".to_owned()),
        };
        let [name, system] = self.brief(runner);
        self.add(
            API_STATUSES,
            &[name, system, ("endpoint", endpoint), ("status", &status), ("method", &method)],
            1.,
        );
        self.observe(
            API_DURATION,
            &[name, system, ("endpoint", endpoint), ("status_class", &class), ("method", &method)],
            exchange.took.as_secs_f64(),
        );
    }

    /// A job was taken.
    pub fn taken(self: &Arc<Self>, job: Taken<'_>) -> ShownJob {
        let runner = job.runner.clone();
        if let Some(info) = job.info {
            self.add(JOBS_TOTAL, &self.whole(&runner), 1.);
            self.add(JOB_MODE, &[("mode", MODE), ("executor", job.executor)], 1.);
            let mut labels = self.whole(&runner).to_vec();
            self.set(QUEUE_SIZE, &labels, info.queue_size as f64);
            self.set(QUEUE_DEPTH, &labels, info.queue_depth as f64);
            labels.push(("project_jobs_running", &info.project_jobs_running_on_instance_runners_count));
            self.observe(QUEUE_DURATION, &labels, info.time_in_queue_seconds);
        }
        let now = Instant::now();
        let mut inner = self.lock();
        let id = inner.next_job;
        inner.next_job += 1;
        let line = JobLine {
            runner: job.runner,
            url: job.url,
            state: "pending",
            stage: String::new(),
            since: now,
            stage_since: now,
            with_stages: job.with_stages,
        };
        inner.jobs.insert(id, line);
        ShownJob { metrics: Arc::clone(self), runner, id }
    }

    /// `/debug/jobs/list`
    pub fn jobs(&self) -> String {
        let mut out = String::new();
        for job in self.lock().jobs.values() {
            // A String takes everything.
            let _ = writeln!(
                out,
                "url={} state={} stage={} executor_stage={} duration={}",
                job.url,
                job.state,
                job.stage,
                executor_stage(job),
                harrier_base::format_go_duration(Duration::from_secs(job.since.elapsed().as_secs()))
            );
        }
        out
    }

    /// `/metrics`
    pub fn text(&self) -> String {
        self.set(VERSION, &self.version_labels(), 1.);
        let state = self.state();
        for one in ProcessState::ALL {
            self.set(STATE, &[("state", one.word())], f64::from(u8::from(one == state)));
        }
        for (level, count) in [("warning", &self.log.warnings), ("error", &self.log.errors)] {
            self.set(ERRORS, &[("level", level)], count.load(Ordering::Relaxed) as f64);
        }
        self.count_jobs();
        let mut out = String::with_capacity(16 * 1024);
        let inner = self.lock();
        for (name, kind, help) in FAMILIES {
            let word = match kind {
                Counter => "counter",
                Gauge => "gauge",
                Histogram(_) => "histogram",
            };
            let head = format!("# HELP {name} {help}\n# TYPE {name} {word}\n");
            match kind {
                Counter | Gauge => {
                    let Some(values) = inner.values.get(name) else { continue };
                    out.push_str(&head);
                    for (labels, value) in values {
                        line(&mut out, name, labels, *value);
                    }
                }
                Histogram(bounds) => {
                    let Some(spreads) = inner.histograms.get(name) else { continue };
                    out.push_str(&head);
                    for (labels, spread) in spreads {
                        let comma = if labels.is_empty() { "" } else { "," };
                        for (bound, count) in bounds.iter().zip(&spread.buckets) {
                            let labels = format!("{labels}{comma}le=\"{bound}\"");
                            line(&mut out, &format!("{name}_bucket"), &labels, *count as f64);
                        }
                        let all = format!("{labels}{comma}le=\"+Inf\"");
                        line(&mut out, &format!("{name}_bucket"), &all, spread.count as f64);
                        line(&mut out, &format!("{name}_sum"), labels, spread.sum);
                        line(&mut out, &format!("{name}_count"), labels, spread.count as f64);
                    }
                }
            }
        }
        drop(inner);
        crate::own_process::metrics(&mut out);
        out
    }

    fn version_labels(&self) -> [(&str, &str); 8] {
        [
            ("name", &self.program.name),
            ("version", &self.program.version),
            ("revision", &self.program.revision),
            ("branch", ""),
            ("go_version", ""),
            ("built_at", ""),
            ("os", platform()),
            ("architecture", architecture()),
        ]
    }

    /// Every runner has a row, also without jobs.
    fn count_jobs(&self) {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        let mut inner = self.lock();
        let row = |runner: &RunnerLabels, state: &str, stage: &str, executor_stage: &str| {
            let mut labels = self.whole(runner).to_vec();
            labels.extend([("state", state), ("stage", stage), ("executor_stage", executor_stage)]);
            rendered(&labels)
        };
        for runner in &inner.runners {
            let works = inner.jobs.values().any(|job| job.runner == *runner);
            counts.insert(row(runner, "idle", "", ""), f64::from(u8::from(!works)));
        }
        for job in inner.jobs.values() {
            *counts.entry(row(&job.runner, job.state, &job.stage, executor_stage(job))).or_default() += 1.;
        }
        inner.values.insert(JOBS, counts);
    }
}

/// How scripts are run.
const MODE: &str = "traditional";

fn executor_stage(job: &JobLine) -> &'static str {
    match job.stage.as_str() {
        "" => "created",
        "prepare_executor" => "prepare",
        _ if job.state == "finished" => "finish",
        _ => "run",
    }
}

impl ShownJob {
    /// A stage begins.
    pub fn stage(&self, stage: &StageName) {
        let now = Instant::now();
        let mut ended = None;
        if let Some(job) = self.metrics.lock().jobs.get_mut(&self.id) {
            job.state = "running";
            let before = std::mem::replace(&mut job.stage, stage.wire());
            let took = now.duration_since(std::mem::replace(&mut job.stage_since, now));
            ended = (job.with_stages && !before.is_empty()).then_some((before, took));
        }
        if let Some((stage, took)) = ended {
            let mut labels = self.metrics.whole(&self.runner).to_vec();
            labels.push(("stage", &stage));
            self.metrics.observe(STAGE_DURATION, &labels, took.as_secs_f64());
        }
    }

    /// The job's result is decided; `failure` is the reason on the wire.
    pub fn ended(&self, took: Duration, failure: Option<&str>) {
        let (metrics, runner) = (&self.metrics, &self.runner);
        if let Some(job) = metrics.lock().jobs.get_mut(&self.id) {
            job.state = "finished";
        }
        let mut labels = metrics.whole(runner).to_vec();
        labels.push(("mode", MODE));
        metrics.observe(JOB_DURATION, &labels, took.as_secs_f64());
        if let Some(reason) = failure {
            let labels = [
                ("runner", runner.short.as_str()),
                ("runner_name", &runner.name),
                ("failure_reason", reason),
                ("mode", MODE),
            ];
            metrics.add(FAILED_JOBS, &labels, 1.);
            metrics.turn_failed(runner, "job_failure");
        }
    }
}

impl Drop for ShownJob {
    fn drop(&mut self) {
        self.metrics.lock().jobs.remove(&self.id);
    }
}

fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    // A String takes everything.
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

/// `a="b",c="d"`, with what the format wants escaped.
fn rendered(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(name: &str) -> RunnerLabels {
        RunnerLabels { short: "abc".into(), name: name.into() }
    }

    #[test]
    fn what_is_counted_is_shown() {
        let program = Program {
            name: "gitlab-runner".into(),
            version: "19.4.0".into(),
            revision: "abc".into(),
            user_agent: String::new(),
        };
        let metrics = Arc::new(Metrics::new("s_1".into(), program, Arc::default()));
        let nest = runner("a \"nest\"\\");
        metrics.configured(3, vec![(nest.clone(), 2)]);
        let who = r#"runner="abc",runner_name="a \"nest\"\\",system_id="s_1""#;
        let has = |line: &str| {
            let text = metrics.text();
            assert!(text.lines().any(|one| one == line), "{line}\nis not in\n{text}");
        };
        has("gitlab_runner_concurrent 3");
        has(&format!("gitlab_runner_limit{{{who}}} 2"));
        has(&format!(r#"gitlab_runner_jobs{{{who},state="idle",stage="",executor_stage=""}} 1"#));
        has("# TYPE gitlab_runner_jobs_total counter");
        let info = JobInfo {
            time_in_queue_seconds: 12.5,
            project_jobs_running_on_instance_runners_count: "+Inf".into(),
            queue_size: 4,
            ..JobInfo::default()
        };
        let job = metrics.taken(Taken {
            runner: nest.clone(),
            executor: "docker",
            url: "https://ci.test/a/b/-/jobs/7".into(),
            info: Some(&info),
            with_stages: true,
        });
        assert_eq!(
            metrics.jobs(),
            "url=https://ci.test/a/b/-/jobs/7 state=pending stage= executor_stage=created duration=0s\n"
        );
        job.stage(&StageName::PrepareExecutor);
        job.stage(&StageName::GetSources);
        has(&format!(
            r#"gitlab_runner_jobs{{{who},state="running",stage="get_sources",executor_stage="run"}} 1"#
        ));
        has(&format!(r#"gitlab_runner_jobs{{{who},state="idle",stage="",executor_stage=""}} 0"#));
        has(&format!("gitlab_runner_jobs_total{{{who}}} 1"));
        has(&format!(
            r#"gitlab_runner_job_queue_duration_seconds_bucket{{{who},project_jobs_running="+Inf",le="10"}} 0"#
        ));
        has(&format!(
            r#"gitlab_runner_job_queue_duration_seconds_bucket{{{who},project_jobs_running="+Inf",le="30"}} 1"#
        ));
        has(&format!(
            r#"gitlab_runner_job_stage_duration_seconds_count{{{who},stage="prepare_executor"}} 1"#
        ));
        job.ended(Duration::from_secs(31), Some("script_failure"));
        has(&format!(r#"gitlab_runner_job_duration_seconds_bucket{{{who},mode="traditional",le="30"}} 0"#));
        has(&format!(r#"gitlab_runner_job_duration_seconds_sum{{{who},mode="traditional"}} 31"#));
        drop(job);
        assert_eq!(metrics.jobs(), "");
        metrics.observer(&nest)(&Exchange {
            method: "PATCH",
            path: "jobs/7/trace",
            status: Some(202),
            took: Duration::from_millis(30),
            again: false,
        });
        let shown = r#"endpoint="patch_trace",status="202",method="patch""#;
        has(&format!(
            r#"gitlab_runner_api_request_statuses_total{{runner="abc",system_id="s_1",{shown}}} 1"#
        ));
        metrics.enter(ProcessState::Graceful);
        has(r#"gitlab_runner_process_state_info{state="running"} 0"#);
        has(r#"gitlab_runner_process_state_info{state="graceful-shutdown"} 1"#);
    }
}
