//! The table of jobs: queue, hand-out, state updates, cancellation (`runner-api.md` §3.4–§3.7, §4, §5, §8).
//!
//! Called by `server`. It must never append to a log by itself; that is `trace`'s.

use crate::faults::{Fault, On};
use crate::payload::{RECENT_REASONS, payload};
use crate::register;
use crate::rules::LARGEST_JOB_REQUEST;
use crate::server::{Answer, Call, Inner, Shared};
use axum::body::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A CI variable of a job (§4.5).
#[derive(Clone, Debug, Default)]
pub struct Var {
    /// Name.
    pub key: String,
    /// Value.
    pub value: String,
    /// Hidden in the log.
    pub masked: bool,
    /// The value goes into a file, the variable holds its path.
    pub file: bool,
    /// Not expanded.
    pub raw: bool,
}

impl Var {
    /// A plain variable.
    pub fn new(key: &str, value: &str) -> Var {
        Var { key: key.into(), value: value.into(), ..Var::default() }
    }

    /// A masked one.
    pub fn masked(key: &str, value: &str) -> Var {
        Var { masked: true, ..Var::new(key, value) }
    }

    /// A file variable.
    pub fn file(key: &str, value: &str) -> Var {
        Var { file: true, ..Var::new(key, value) }
    }
}

/// A job as a test writes it; everything has a plain default.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// From [`crate::FakeGitLab::add_project`]; `None` has no repository and `GIT_STRATEGY=none`.
    pub project: Option<usize>,
    /// Job name.
    pub name: String,
    /// Stage name.
    pub stage: String,
    /// Lines of the step `script`.
    pub script: Vec<String>,
    /// Lines of `after_script`.
    pub after_script: Vec<String>,
    /// After the predefined ones; the last of a name wins.
    pub variables: Vec<Var>,
    /// Entries of §4.8; see [`JobSpec::archive`] and [`JobSpec::report`].
    pub artifacts: Vec<Value>,
    /// Entries of §4.9; see [`JobSpec::cached`].
    pub cache: Vec<Value>,
    /// Jobs that must have ended before this one is handed out and whose archives it gets.
    pub dependencies: Vec<i64>,
    /// Seconds.
    pub timeout: u64,
    /// `GIT_STRATEGY`.
    pub git_strategy: Option<String>,
    /// 0 is the whole history.
    pub git_depth: u64,
    /// Branch.
    pub ref_name: String,
    /// Commit; `None` is the tip of the branch.
    pub sha: Option<String>,
    /// The project allows `fetch` by default.
    pub allow_git_fetch: bool,
    /// What the server understands (§14.1); `None` is the list of a recent GitLab.
    pub failure_reasons: Option<Vec<String>>,
    /// Members laid over the payload at last.
    pub extra: Map<String, Value>,
}

impl Default for JobSpec {
    fn default() -> JobSpec {
        JobSpec {
            project: None,
            name: "job".into(),
            stage: "test".into(),
            script: Vec::new(),
            after_script: Vec::new(),
            variables: Vec::new(),
            artifacts: Vec::new(),
            cache: Vec::new(),
            dependencies: Vec::new(),
            timeout: 3600,
            git_strategy: None,
            git_depth: 20,
            ref_name: "main".into(),
            sha: None,
            allow_git_fetch: true,
            failure_reasons: None,
            extra: Map::new(),
        }
    }
}

impl JobSpec {
    /// A job without sources.
    pub fn script(lines: &[&str]) -> JobSpec {
        JobSpec { script: lines.iter().map(|line| (*line).to_owned()).collect(), ..JobSpec::default() }
    }

    /// A job in a project.
    pub fn in_project(project: usize, lines: &[&str]) -> JobSpec {
        JobSpec { project: Some(project), ..JobSpec::script(lines) }
    }

    /// An archive of `paths`, uploaded on `when`.
    pub fn archive(name: &str, paths: &[&str], when: &str) -> Value {
        json!({ "name": name, "untracked": null, "paths": paths, "when": when, "expire_in": "1 week",
            "artifact_type": "archive", "artifact_format": "zip" })
    }

    /// A report of one type in its format (§4.8).
    pub fn report(artifact_type: &str, format: &str, path: &str) -> Value {
        json!({ "name": null, "paths": [path], "when": "always", "expire_in": null,
            "artifact_type": artifact_type, "artifact_format": format })
    }

    /// A cache with key and paths.
    pub fn cached(key: &str, paths: &[&str], policy: &str) -> Value {
        json!({ "key": key, "untracked": false, "paths": paths, "policy": policy, "when": "on_success",
            "fallback_keys": [] })
    }
}

/// Where a job is (§8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Queued, or handed out and not acknowledged.
    Pending,
    /// At a runner.
    Running,
    /// Cancelled, the runner still cleans up.
    Canceling,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
    /// Ended by cancellation.
    Canceled,
}

impl JobState {
    /// Nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Success | JobState::Failed | JobState::Canceled)
    }

    /// As `Job-Status` says it.
    pub fn wire(self) -> &'static str {
        match self {
            JobState::Pending => "pending",
            JobState::Running => "running",
            JobState::Canceling => "canceling",
            JobState::Success => "success",
            JobState::Failed => "failed",
            JobState::Canceled => "canceled",
        }
    }
}

/// One accepted `PUT /jobs/:id`.
#[derive(Clone, Debug)]
pub struct PutRecord {
    /// When.
    pub at: Instant,
    /// `state` as sent.
    pub state: String,
    /// `failure_reason` as sent.
    pub failure_reason: Option<String>,
    /// `exit_code` as sent.
    pub exit_code: Option<i64>,
    /// `output.bytesize` as sent.
    pub bytesize: Option<u64>,
}

/// One stored artifact.
#[derive(Clone, Debug)]
pub struct ArtifactRecord {
    /// `artifact_type`.
    pub artifact_type: String,
    /// `artifact_format`.
    pub artifact_format: String,
    /// File name of the multipart part.
    pub file_name: String,
    /// `expire_in` as sent.
    pub expire_in: Option<String>,
    /// The file.
    pub bytes: Bytes,
}

/// What the server knows about a job.
#[derive(Clone, Debug)]
pub struct JobRecord {
    /// Job id.
    pub id: i64,
    /// Where it is.
    pub state: JobState,
    /// As reported and understood.
    pub failure_reason: Option<String>,
    /// As reported.
    pub exit_code: Option<i64>,
    /// The log as stored.
    pub log: Vec<u8>,
    /// Uploads in their order.
    pub artifacts: Vec<ArtifactRecord>,
    /// Last time it was handed to a runner.
    pub handed_out_at: Option<Instant>,
    /// How often it was handed out.
    pub times_handed_out: usize,
    /// Acknowledged by the runner.
    pub accepted_at: Option<Instant>,
    /// Came to its end.
    pub finished_at: Option<Instant>,
    /// Accepted updates.
    pub puts: Vec<PutRecord>,
    /// Accepted chunks.
    pub chunks: usize,
    /// The job token of the last hand-out.
    pub token: String,
}

impl JobRecord {
    /// The log as text, time stamps and all.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&self.log).into_owned()
    }

    /// The lines that stream `01` carried (§15.3), stamps removed, continued lines joined: what the job itself
    /// printed.
    pub fn job_output(&self) -> String {
        let mut output = String::new();
        for line in self.log_text().split_inclusive('\n') {
            let Some((head, text)) = line.split_at_checked(32) else { continue };
            if !matches!(head.get(27..31), Some(" 01O" | " 01E")) {
                continue;
            }
            if head.ends_with('+') && output.ends_with('\n') {
                output.pop();
            }
            output.push_str(text);
        }
        output
    }

    /// The artifact of this type.
    pub fn artifact(&self, artifact_type: &str) -> Option<&ArtifactRecord> {
        self.artifacts.iter().find(|artifact| artifact.artifact_type == artifact_type)
    }
}

pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) spec: JobSpec,
    pub(crate) state: JobState,
    pub(crate) token: String,
    pub(crate) correlation_id: String,
    /// Handed out, not acknowledged, until then.
    pub(crate) reserved_until: Option<Instant>,
    /// The runner declared `cancel_gracefully`.
    graceful: bool,
    pub(crate) failure_reason: Option<String>,
    exit_code: Option<i64>,
    pub(crate) log: Vec<u8>,
    pub(crate) artifacts: Vec<ArtifactRecord>,
    handed_out: Vec<Instant>,
    accepted_at: Option<Instant>,
    finished_at: Option<Instant>,
    puts: Vec<PutRecord>,
    pub(crate) chunks: usize,
    /// An update arrived, even one that met a fault.
    pub(crate) update_seen: bool,
    /// Log bytes the runner was told are stored.
    pub(crate) acknowledged: u64,
    /// The runner may send from an earlier offset, for it was told to.
    pub(crate) resync: bool,
    reset_done: bool,
    final_answer_read: bool,
    abort_read: Option<Instant>,
    /// Sizes and checksums of touches whose bytes are not all here yet.
    claims: Vec<(u64, u32)>,
    last_contact: Option<Instant>,
    longest_silence: Duration,
}

impl Job {
    pub(crate) fn record(&self) -> JobRecord {
        JobRecord {
            id: self.id,
            state: self.state,
            failure_reason: self.failure_reason.clone(),
            exit_code: self.exit_code,
            log: self.log.clone(),
            artifacts: self.artifacts.clone(),
            handed_out_at: self.handed_out.last().copied(),
            times_handed_out: self.handed_out.len(),
            accepted_at: self.accepted_at,
            finished_at: self.finished_at,
            puts: self.puts.clone(),
            chunks: self.chunks,
            token: self.token.clone(),
        }
    }

    pub(crate) fn longest_silence(&self) -> Duration {
        self.longest_silence
    }

    /// Whether the job's token may be used (§1.3).
    pub(crate) fn is_executing(&self) -> bool {
        match self.state {
            JobState::Running | JobState::Canceling => true,
            JobState::Pending => self.reserved_until.is_some(),
            JobState::Success | JobState::Failed | JobState::Canceled => false,
        }
    }

    pub(crate) fn finish(&mut self, state: JobState) {
        self.state = state;
        self.finished_at = Some(Instant::now());
        self.reserved_until = None;
    }

    /// The runner has read that the job is over for it.
    pub(crate) fn told_to_abort(&mut self, call: &Call) {
        if call.answer_arrives() && self.abort_read.is_none() {
            self.abort_read = Some(Instant::now());
        }
    }
}

pub(crate) fn add(inner: &mut Inner, spec: JobSpec) -> i64 {
    let id = inner.next_job;
    inner.next_job += 1;
    let job = Job {
        id,
        spec,
        state: JobState::Pending,
        token: String::new(),
        correlation_id: String::new(),
        reserved_until: None,
        graceful: false,
        failure_reason: None,
        exit_code: None,
        log: Vec::new(),
        artifacts: Vec::new(),
        handed_out: Vec::new(),
        accepted_at: None,
        finished_at: None,
        puts: Vec::new(),
        chunks: 0,
        update_seen: false,
        acknowledged: 0,
        resync: false,
        reset_done: false,
        final_answer_read: false,
        abort_read: None,
        claims: Vec::new(),
        last_contact: None,
        longest_silence: Duration::ZERO,
    };
    inner.jobs.insert(id, job);
    register::tick(inner);
    id
}

/// One job that runs for ever at nobody's.
pub(crate) fn never(inner: &mut Inner) -> i64 {
    let known = inner.jobs.values().find(|job| job.spec.name == NEVER).map(|job| job.id);
    known.unwrap_or_else(|| {
        let id = add(inner, JobSpec { name: NEVER.into(), ..JobSpec::default() });
        if let Some(job) = inner.jobs.get_mut(&id) {
            job.state = JobState::Running;
        }
        id
    })
}

const NEVER: &str = "never ends";

pub(crate) fn take_by_hand(shared: &Arc<Shared>, inner: &mut Inner, id: i64) -> Value {
    let token = format!("glcbt-64_{}", inner.word(20));
    let Some(job) = inner.jobs.get_mut(&id).filter(|job| job.state == JobState::Pending) else {
        return Value::Null;
    };
    job.token = token;
    job.state = JobState::Running;
    payload(shared, inner, id)
}

pub(crate) fn cancel(inner: &mut Inner, id: i64, at_once: bool) {
    if let Some(job) = inner.jobs.get_mut(&id) {
        match job.state {
            JobState::Running if job.graceful && !at_once => job.state = JobState::Canceling,
            state if state.is_final() => {}
            _ => job.finish(JobState::Canceled),
        }
    }
    register::tick(inner);
}

/// A contact about a job, whatever becomes of the request.
pub(crate) fn note_contact(inner: &mut Inner, call: &Call) {
    let Some(job) = inner.jobs.get_mut(&call.job) else { return };
    if call.on == On::Touch || call.on == On::Final {
        job.update_seen = true;
    }
    if job.accepted_at.is_some() && !job.state.is_final() {
        if let Some(last) = job.last_contact {
            job.longest_silence = job.longest_silence.max(call.at.duration_since(last));
        }
        job.last_contact = Some(call.at);
    }
}

/// Whether a 412 can still be tried on this job.
pub(crate) fn reset_possible(inner: &Inner, id: i64) -> bool {
    inner.jobs.get(&id).is_some_and(|job| !job.reset_done && !job.log.is_empty())
}

/// `POST /jobs/request`
pub(crate) async fn request(shared: &Arc<Shared>, call: &Call) -> Answer {
    if call.body.len() > LARGEST_JOB_REQUEST {
        return Answer::plain(413);
    }
    let mut changes = shared.watch();
    if let Some(hold) = shared.options.long_poll {
        let deadline = tokio::time::Instant::now() + hold;
        while nothing_new(shared, call) {
            // A reservation that runs out changes the queue without anybody saying so.
            let wake = deadline.min(tokio::time::Instant::now() + Duration::from_millis(100));
            let _ = tokio::time::timeout_at(wake, changes.changed()).await;
            if tokio::time::Instant::now() >= deadline {
                return Answer::plain(204).with("gitlab-ci-builds-polling", "yes");
            }
        }
    }
    hand_out(shared, call)
}

/// The runner has the current queue value already.
fn nothing_new(shared: &Arc<Shared>, call: &Call) -> bool {
    let mut inner = shared.lock();
    requeue_lost(&mut inner);
    let runner = inner.runners.iter().find(|runner| runner.token == call.text("token"));
    let sent = call.text("last_update");
    !sent.is_empty()
        && runner.and_then(|runner| runner.queue_values.last()).is_some_and(|value| value == sent)
}

/// Jobs whose acknowledgement did not come go back into the queue (§3.6).
fn requeue_lost(inner: &mut Inner) {
    let now = Instant::now();
    let mut any = false;
    for job in inner.jobs.values_mut() {
        if job.reserved_until.is_some_and(|until| until <= now) {
            job.reserved_until = None;
            job.token.clear();
            job.log.clear();
            job.acknowledged = 0;
            job.update_seen = false;
            any = true;
        }
    }
    if any {
        register::tick(inner);
    }
}

fn hand_out(shared: &Arc<Shared>, call: &Call) -> Answer {
    let mut guard = shared.lock();
    let inner = &mut *guard;
    requeue_lost(inner);
    let token = call.text("token").to_owned();
    let Some(index) = inner.runners.iter().position(|runner| runner.token == token) else {
        return Answer::message(403, "403 Forbidden");
    };
    check_last_update(shared, inner, call, index);
    let features = call.json.as_ref().map(|json| json["info"]["features"].clone()).unwrap_or_default();
    let runner = &mut inner.runners[index];
    runner.managers.insert(call.text("system_id").to_owned());
    runner.features = features.clone();
    let current = runner.queue_values.last().cloned().unwrap_or_default();
    if call.text("last_update") != current {
        while let Some(id) = next_fitting(inner) {
            if let Some(job) = inner.jobs.get_mut(&id).filter(|job| !supports(&features, &job.spec)) {
                job.failure_reason = Some("runner_unsupported".into());
                job.finish(JobState::Failed);
                continue;
            }
            return assign(shared, inner, id, &features);
        }
    }
    if call.answer_arrives() {
        inner.runners[index].has_queue_value = true;
    }
    let answer = Answer::plain(204).with("x-gitlab-last-update", current);
    match shared.options.long_poll {
        Some(_) => answer.with("gitlab-ci-builds-polling", "yes"),
        None => answer,
    }
}

fn check_last_update(shared: &Arc<Shared>, inner: &mut Inner, call: &Call, index: usize) {
    let sent = call.text("last_update");
    let runner = &inner.runners[index];
    if !sent.is_empty() && !runner.queue_values.iter().any(|value| value == sent) {
        inner.slip(call, format_args!("last_update {sent:?} was never given out (§3.1)"));
    } else if sent.is_empty() && runner.has_queue_value && !shared.options.runner_restarts {
        inner.slip(call, "last_update is missing although a value was given (§3.1)");
    }
}

fn next_fitting(inner: &Inner) -> Option<i64> {
    let ended = |id: &i64| inner.jobs.get(id).is_none_or(|job| job.state.is_final());
    inner
        .jobs
        .values()
        .find(|job| {
            job.state == JobState::Pending
                && job.reserved_until.is_none()
                && job.spec.dependencies.iter().all(ended)
        })
        .map(|job| job.id)
}

/// Whether the runner declares what the job needs (§3.2).
fn supports(features: &Value, spec: &JobSpec) -> bool {
    let mut needed = Vec::new();
    for artifact in &spec.artifacts {
        if artifact["artifact_type"] != "archive" {
            needed.push("upload_multiple_artifacts");
        }
        if artifact["exclude"].as_array().is_some_and(|list| !list.is_empty()) {
            needed.push("artifacts_exclude");
        }
    }
    if spec.cache.iter().any(|cache| cache["fallback_keys"].as_array().is_some_and(|keys| !keys.is_empty())) {
        needed.push("fallback_cache_keys");
    }
    needed.iter().all(|feature| features[feature] == true)
}

fn assign(shared: &Arc<Shared>, inner: &mut Inner, id: i64, features: &Value) -> Answer {
    let token = format!("glcbt-64_{}", inner.word(20));
    let correlation_id = format!("01H{}", inner.word(23).to_uppercase());
    let two_phase = shared.options.two_phase && features["two_phase_job_commit"] == true;
    let now = Instant::now();
    if let Some(job) = inner.jobs.get_mut(&id) {
        job.token = token;
        job.correlation_id.clone_from(&correlation_id);
        job.graceful = features["cancel_gracefully"] == true;
        job.handed_out.push(now);
        if two_phase {
            job.reserved_until = Some(now + shared.options.reservation);
        } else {
            job.state = JobState::Running;
        }
    }
    let payload = payload(shared, inner, id);
    Answer::json(201, &payload).with("x-request-id", correlation_id)
}

/// `PUT /jobs/:id`
pub(crate) fn update(shared: &Arc<Shared>, call: &Call) -> Answer {
    let mut guard = shared.lock();
    let inner = &mut *guard;
    let ended = |inner: &Inner| inner.jobs.get(&call.job).is_some_and(|job| job.state.is_final());
    let before = ended(inner);
    let (answer, slips) = update_job(shared, inner, call);
    if ended(inner) && !before {
        // A job that waited for this one may be next.
        register::tick(inner);
    }
    for slip in slips {
        inner.slip(call, slip);
    }
    answer
}

fn update_job(shared: &Arc<Shared>, inner: &mut Inner, call: &Call) -> (Answer, Vec<String>) {
    let mut slips = Vec::new();
    let Some(job) = inner.jobs.get_mut(&call.job) else {
        return (Answer::message(403, "403 Forbidden"), slips);
    };
    order_of_updates(job, call, shared.options.runner_restarts, &mut slips);
    if let Some(refusal) = refuse(job, call) {
        return (refusal, slips);
    }
    let state = call.text("state");
    let output = call.json.as_ref().map(|json| json["output"].clone()).unwrap_or_default();
    if job.state == JobState::Pending {
        return (acknowledge(job, call, state), slips);
    }
    let answer = match state {
        "running" => {
            check_touch(job, &output, &mut slips);
            job.accepted_at.get_or_insert(call.at);
            job.last_contact.get_or_insert(call.at);
            Answer::plain(200)
        }
        "success" | "failed" => match call.fault {
            Some(Fault::Pending) => Answer::plain(202).with("x-gitlab-trace-update-interval", "1"),
            Some(Fault::TraceInvalid) => {
                job.reset_done = true;
                job.log.clear();
                job.acknowledged = 0;
                job.resync = true;
                Answer::plain(412).with("x-gitlab-trace-update-interval", "1")
            }
            _ => {
                check_final(job, call, &output, &mut slips);
                let wanted = if state == "success" { JobState::Success } else { JobState::Failed };
                let ended = if job.state == JobState::Canceling { JobState::Canceled } else { wanted };
                let reason = call.text("failure_reason");
                job.failure_reason = (state == "failed").then(|| known_reason(job, reason));
                job.exit_code = call.json.as_ref().and_then(|json| json["exit_code"].as_i64());
                job.finish(ended);
                job.final_answer_read = call.answer_arrives();
                Answer::plain(200)
            }
        },
        _ => Answer::message(400, "400 Bad request"),
    };
    let text = |member: &str| Some(call.text(member)).filter(|text| !text.is_empty()).map(str::to_owned);
    job.puts.push(PutRecord {
        at: call.at,
        state: state.to_owned(),
        failure_reason: text("failure_reason"),
        exit_code: call.json.as_ref().and_then(|json| json["exit_code"].as_i64()),
        bytesize: output["bytesize"].as_u64(),
    });
    let status = job.state.wire();
    let answer = answer.with("job-status", status);
    // The interval is only a useful number where the runner has to come again.
    match (state, shared.options.update_interval) {
        ("running", Some(seconds)) => {
            (answer.with("x-gitlab-trace-update-interval", seconds.to_string()), slips)
        }
        _ => (answer, slips),
    }
}

fn acknowledge(job: &mut Job, call: &Call, state: &str) -> Answer {
    let answer = match state {
        "pending" => Answer::plain(200),
        "running" => {
            job.state = JobState::Running;
            job.reserved_until = None;
            job.accepted_at = Some(call.at);
            job.last_contact = Some(call.at);
            Answer::plain(200)
        }
        _ => Answer::message(400, "400 Bad request - Job is waiting for the runner's acknowledgement"),
    };
    answer.with("job-status", job.state.wire())
}

/// What every endpoint with a job token answers first (§1.3).
pub(crate) fn refuse(job: &mut Job, call: &Call) -> Option<Answer> {
    let token = Some(call.text("token")).filter(|token| !token.is_empty());
    if job.token.is_empty() || token.unwrap_or(call.header("job-token")) != job.token {
        return Some(Answer::message(403, "403 Forbidden"));
    }
    if job.is_executing() {
        return None;
    }
    let status = job.state.wire();
    job.told_to_abort(call);
    Some(Answer::message(403, "403 Forbidden - Job is not processing on runner").with("job-status", status))
}

/// Time for requests that were on their way when the runner read that the job is over.
const ON_THE_WAY: Duration = Duration::from_secs(2);

/// §3.6, §8.2: first the acceptance, nothing after an abort, one final state.
fn order_of_updates(job: &Job, call: &Call, restarts: bool, slips: &mut Vec<String>) {
    let first = job.puts.is_empty() && job.accepted_at.is_none();
    let output_empty =
        call.json.as_ref().is_some_and(|json| json["output"].as_object().is_some_and(Map::is_empty));
    if first && call.on == On::Final {
        slips.push("a final state before state=running was accepted (§3.6)".into());
    }
    if first && call.on == On::Touch && !output_empty && job.chunks == 0 && job.state == JobState::Pending {
        slips.push("the acceptance carries an output that is not {} (§5.1)".into());
    }
    late(job, call, slips);
    if job.final_answer_read && !restarts {
        slips.push("an update after the final one was acknowledged (§5.2)".into());
    }
}

/// A request after the runner has read that the job is over (§8.2).
pub(crate) fn late(job: &Job, call: &Call, slips: &mut Vec<String>) {
    if job.abort_read.is_some_and(|read| call.at.duration_since(read) > ON_THE_WAY) {
        slips.push("a request after the job was aborted (§8.2)".into());
    }
}

fn check_touch(job: &mut Job, output: &Value, slips: &mut Vec<String>) {
    let Some((size, crc)) = claim(output) else { return };
    job.claims.push((size, crc));
    check_claims(job, slips);
}

/// Compares what touches claimed with the bytes as they arrive.
pub(crate) fn check_claims(job: &mut Job, slips: &mut Vec<String>) {
    let have = job.log.len() as u64;
    let log = &job.log;
    job.claims.retain(|(size, crc)| {
        if *size > have {
            return true;
        }
        if crc32fast::hash(&log[..*size as usize]) != *crc {
            slips.push(format!("a touch claimed another checksum for the first {size} bytes (§5.1)"));
        }
        false
    });
}

fn claim(output: &Value) -> Option<(u64, u32)> {
    let size = output["bytesize"].as_u64()?;
    let hex = output["checksum"].as_str()?.strip_prefix("crc32:")?;
    Some((size, u32::from_str_radix(hex, 16).ok()?))
}

/// A final update is judged by what is stored (§5.1, §7, §9.1, §14.1).
fn check_final(job: &Job, call: &Call, output: &Value, slips: &mut Vec<String>) {
    let (size, crc) = claim(output).unwrap_or((0, 0));
    let have = job.log.len() as u64;
    if size != have {
        slips.push(format!("the final bytesize is {size}, stored are {have} bytes (§7)"));
    } else if size > 0 && crc != crc32fast::hash(&job.log) {
        slips.push("the final checksum is not that of the stored log (§5.1)".into());
    }
    let failed = call.text("state") == "failed";
    let reason = call.text("failure_reason");
    if failed && known_reason(job, reason) != reason && reason != "job_canceled" {
        slips.push(format!("failure_reason {reason:?} is none that the server listed (§14.1)"));
    }
    let has_code = call.json.as_ref().is_some_and(|json| json.get("exit_code").is_some());
    if failed && reason == "script_failure" && !has_code && job.spec.failure_reasons.is_none() {
        slips.push("script_failure without an exit_code (§14.2)".into());
    }
    for wanted in &job.spec.artifacts {
        let when = wanted["when"].as_str().unwrap_or("on_success");
        let uploaded = job.artifacts.iter().any(|have| wanted["artifact_type"] == have.artifact_type);
        let twin =
            job.spec.artifacts.iter().filter(|other| other["artifact_type"] == wanted["artifact_type"]);
        let wrong = (failed && when == "on_success") || (!failed && when == "on_failure");
        if uploaded && wrong && twin.count() == 1 {
            slips.push(format!("an artifact with when: {when} came with a {} job (§13)", call.text("state")));
        }
    }
}

fn known_reason(job: &Job, reason: &str) -> String {
    let always = ["script_failure", "runner_system_failure", "job_execution_timeout", "unknown_failure"];
    let listed = match &job.spec.failure_reasons {
        Some(list) => list.iter().any(|known| known == reason),
        None => RECENT_REASONS.contains(&reason),
    };
    if listed || always.contains(&reason) { reason.to_owned() } else { "unknown_failure".into() }
}
