//! The fake GitLab itself: one address that speaks the runner API (`runner-api.md` §1–§9) and git, with its state
//! in memory, a list of what the runner did wrong, and faults on demand.
//!
//! Called by tests, by the bench and by the `fake-gitlab` program. It must never take on knowledge of how Harrier
//! is built: a runner of any make can be tested against it.

use crate::connection::{Doors, Line};
use crate::faults::{Fault, FaultPlan, Faults, On, mix};
use crate::jobs::{Job, JobRecord, JobSpec, JobState};
use crate::register::RunnerEntry;
use crate::repo::Repo;
use crate::tls::Certificate;
use crate::{artifacts, git_http, jobs, register, rules, trace};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What can go wrong in the fake itself.
#[derive(Debug, thiserror::Error)]
pub enum TestkitError {
    /// The listener cannot be had.
    #[error("the fake GitLab cannot listen on 127.0.0.1 and 127.0.0.2: {0}")]
    Listen(std::io::Error),
    /// A job did not get where the test waits for it.
    #[error("job {job} is {state:?} after {waited:?}; its log so far:\n{log}")]
    TooLate {
        /// Job id.
        job: i64,
        /// Where it is.
        state: JobState,
        /// How long the test waited.
        waited: Duration,
        /// What the server has of its log.
        log: String,
    },
}

/// How the server behaves; the default is a recent GitLab with somebody watching the job page.
#[derive(Clone, Debug)]
pub struct Options {
    /// Jobs wait for the runner's acknowledgement (§3.6).
    pub two_phase: bool,
    /// An unacknowledged job goes back into the queue after this time, with a new token.
    pub reservation: Duration,
    /// The front proxy holds job requests this long (§3.7).
    pub long_poll: Option<Duration>,
    /// Seconds for `X-GitLab-Trace-Update-Interval`.
    pub update_interval: Option<u64>,
    /// Bytes of log after which a job is failed with `trace_size_exceeded`.
    pub trace_limit: u64,
    /// `direct_download=true` is answered by a redirect to storage on another host (§9.3).
    pub direct_download: bool,
    /// Uploads are answered by a 307 to another path first.
    pub redirect_uploads: bool,
    /// The runner process is killed and started again during the test: what a restarted runner cannot know is
    /// no slip.
    pub runner_restarts: bool,
    /// Seconds after which a new runner's token expires.
    pub token_lifetime: Option<u64>,
    /// Speak TLS, showing this.
    pub tls: Option<Certificate>,
    /// Where the server is, besides 127.0.0.1: an address of this machine that containers reach.
    pub host: Option<Ipv4Addr>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            two_phase: true,
            reservation: Duration::from_secs(60),
            long_poll: None,
            update_interval: Some(1),
            trace_limit: 100 << 20,
            direct_download: true,
            redirect_uploads: false,
            runner_restarts: false,
            token_lifetime: None,
            tls: None,
            host: None,
        }
    }
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Note {
    /// When its body was complete.
    pub at: Instant,
    /// What it was.
    pub on: On,
    /// HTTP method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Job of the path, else 0.
    pub job: i64,
    /// Status that was meant to be answered; 0 for none.
    pub status: u16,
    /// The fault it met.
    pub fault: Option<Fault>,
    /// Its body, if that was JSON.
    pub json: Option<serde_json::Value>,
}

pub(crate) struct Project {
    pub(crate) path: String,
    pub(crate) git_dir: PathBuf,
}

/// Everything behind one lock; never held across an await.
pub(crate) struct Inner {
    pub(crate) jobs: BTreeMap<i64, Job>,
    pub(crate) runners: Vec<RunnerEntry>,
    pub(crate) projects: Vec<Project>,
    pub(crate) storage: HashMap<String, Bytes>,
    pub(crate) slips: Vec<String>,
    pub(crate) notes: Vec<Note>,
    pub(crate) request_ids: HashMap<String, String>,
    pub(crate) faults: Faults,
    pub(crate) next_job: i64,
    pub(crate) next_runner: i64,
    pub(crate) counter: u64,
}

impl Inner {
    /// A word of `len` letters and digits that was not given out before.
    pub(crate) fn word(&mut self, len: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        self.counter += 1;
        let mut number = mix(self.counter ^ 0x5eed);
        let mut word = String::with_capacity(len);
        for _ in 0..len {
            number = mix(number);
            word.push(char::from(LETTERS[(number % LETTERS.len() as u64) as usize]));
        }
        word
    }

    pub(crate) fn slip(&mut self, call: &Call, text: impl std::fmt::Display) {
        self.slips.push(format!("{} {}: {text}", call.method, call.uri));
    }
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) port: u16,
    pub(crate) registration_token: String,
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    pub(crate) git_cache: git_http::Cache,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a panic while the state was held has already failed the test")
    }

    /// Tells waiting tests and held job requests to look again.
    pub(crate) fn changed(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn scheme(&self) -> &'static str {
        if self.options.tls.is_some() { "https" } else { "http" }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme(), self.host(), self.port)
    }

    /// Its address.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.options.host.unwrap_or(Ipv4Addr::LOCALHOST)
    }

    /// The same server under another host name.
    pub(crate) fn other_host(&self) -> String {
        format!("{}://127.0.0.2:{}", self.scheme(), self.port)
    }

    /// Where git finds a project, credentials included (§4.3).
    pub(crate) fn repo_url(&self, token: &str, project: &str) -> String {
        let (scheme, host) = (self.scheme(), self.host());
        format!("{scheme}://gitlab-ci-token:{token}@{host}:{}/{project}.git", self.port)
    }
}

/// One request of the API, whole.
pub(crate) struct Call {
    pub(crate) at: Instant,
    pub(crate) on: On,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// Path below `/api/v4`, split at `/`; of other addresses the whole path, so the first piece is empty.
    pub(crate) path: Vec<String>,
    pub(crate) job: i64,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) json: Option<serde_json::Value>,
    /// What happens to this request.
    pub(crate) fault: Option<Fault>,
    /// A number to choose the fault's details by.
    pub(crate) detail: u64,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The body's member as text, "" when there is none.
    pub(crate) fn text(&self, member: &str) -> &str {
        self.json.as_ref().and_then(|json| json.get(member)).and_then(|value| value.as_str()).unwrap_or("")
    }

    /// Decoded query parameters in order.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let pairs = self.uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key), decode(value))
            })
            .collect()
    }

    /// Whether the runner gets to read what is answered now.
    pub(crate) fn answer_arrives(&self) -> bool {
        !self.fault.is_some_and(Fault::loses_answer)
    }
}

/// An answer before it is put on the wire.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The status number as text, as GitLab does for answers without content.
    pub(crate) fn plain(status: u16) -> Answer {
        let body = if status == 204 { String::new() } else { status.to_string() };
        Answer { status, headers: vec![("content-type", "text/plain".into())], body: body.into() }
    }

    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Answer {
        let headers = vec![("content-type", "application/json".into())];
        Answer { status, headers, body: body.to_string().into() }
    }

    /// `{"message": ...}` (§1.5).
    pub(crate) fn message(status: u16, text: &str) -> Answer {
        Answer::json(status, &serde_json::json!({ "message": text }))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Body::from(self.body)).unwrap_or_else(|error| {
            let mut response = Response::new(Body::from(format!("the fake made a bad answer: {error}")));
            *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
            response
        })
    }
}

/// A running fake GitLab; it ends when this is dropped.
pub struct FakeGitLab {
    shared: Arc<Shared>,
    doors: Doors,
    http: JoinHandle<()>,
    runner_token: String,
}

impl FakeGitLab {
    /// Starts one with the default options and one runner already created.
    pub async fn start() -> Result<FakeGitLab, TestkitError> {
        FakeGitLab::start_with(Options::default()).await
    }

    /// Starts one.
    pub async fn start_with(options: Options) -> Result<FakeGitLab, TestkitError> {
        let (doors, porch) =
            Doors::open_new(options.tls, options.host).await.map_err(TestkitError::Listen)?;
        let mut inner = Inner {
            jobs: BTreeMap::new(),
            runners: Vec::new(),
            projects: Vec::new(),
            storage: HashMap::new(),
            slips: Vec::new(),
            notes: Vec::new(),
            request_ids: HashMap::new(),
            faults: Faults::new(),
            next_job: 7001,
            next_runner: 3,
            counter: u64::from(doors.port()),
        };
        let registration_token = format!("GR1348941{}", inner.word(20));
        let runner_token = register::create(&mut inner, true, options.token_lifetime);
        let shared = Arc::new(Shared {
            options,
            port: doors.port(),
            registration_token,
            inner: Mutex::new(inner),
            changed: watch::Sender::new(0),
            git_cache: git_http::Cache::default(),
        });
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Line>();
        let http = tokio::spawn(async move {
            // It serves until the task is aborted.
            let _ = axum::serve(porch, app).await;
        });
        Ok(FakeGitLab { shared, doors, http, runner_token })
    }

    /// `http(s)://<host>:<port>`, the `url` of config.toml.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// The `glrt-` token of the runner that exists from the start.
    pub fn runner_token(&self) -> &str {
        &self.runner_token
    }

    /// The legacy registration token.
    pub fn registration_token(&self) -> &str {
        &self.shared.registration_token
    }

    /// One more runner, as created on the web page; its `glrt-` token.
    pub fn add_runner(&self) -> String {
        register::create(&mut self.shared.lock(), true, self.shared.options.token_lifetime)
    }

    /// The runner is taken away: its token is refused from now on.
    pub fn remove_runner(&self, token: &str) {
        self.shared.lock().runners.retain(|runner| runner.token != token);
    }

    /// Whether a runner with this token exists.
    pub fn has_runner(&self, token: &str) -> bool {
        self.shared.lock().runners.iter().any(|runner| runner.token == token)
    }

    /// The system ids that were seen for a runner.
    pub fn managers(&self, token: &str) -> Vec<String> {
        let inner = self.shared.lock();
        let runner = inner.runners.iter().find(|runner| runner.token == token);
        runner.map(|runner| runner.managers.iter().cloned().collect()).unwrap_or_default()
    }

    /// A project whose repository is fetched over HTTP from this server; its number for [`JobSpec::project`].
    /// The repository must live as long as the server.
    pub fn add_project(&self, path: &str, repo: &Repo) -> usize {
        let mut inner = self.shared.lock();
        inner.projects.push(Project { path: path.to_owned(), git_dir: repo.git_dir().to_owned() });
        inner.projects.len() - 1
    }

    /// Queues a job; its id.
    pub fn add_job(&self, spec: JobSpec) -> i64 {
        let id = jobs::add(&mut self.shared.lock(), spec);
        self.shared.changed();
        id
    }

    /// A job id that waits for ever; a job that depends on it is handed to no runner.
    pub fn never(&self) -> i64 {
        jobs::never(&mut self.shared.lock())
    }

    /// Takes a queued job as a runner would, without a runner: it runs from now on, and its token fetches. The
    /// payload, or `null` when there is no such job in the queue.
    pub fn take_by_hand(&self, id: i64) -> serde_json::Value {
        jobs::take_by_hand(&self.shared, &mut self.shared.lock(), id)
    }

    /// What the server knows about a job.
    pub fn job(&self, id: i64) -> Option<JobRecord> {
        self.shared.lock().jobs.get(&id).map(Job::record)
    }

    /// All jobs in the order of their ids.
    pub fn jobs(&self) -> Vec<JobRecord> {
        self.shared.lock().jobs.values().map(Job::record).collect()
    }

    /// Waits until the job has ended.
    pub async fn wait_final(&self, id: i64, patience: Duration) -> Result<JobRecord, TestkitError> {
        self.wait_until(id, patience, |job| job.state.is_final()).await
    }

    /// Waits until the job is in this state.
    pub async fn wait_state(
        &self,
        id: i64,
        state: JobState,
        patience: Duration,
    ) -> Result<JobRecord, TestkitError> {
        self.wait_until(id, patience, |job| job.state == state).await
    }

    /// Waits until the server's copy of the log contains `text`.
    pub async fn wait_log(&self, id: i64, text: &str, patience: Duration) -> Result<JobRecord, TestkitError> {
        self.wait_until(id, patience, |job| job.log_text().contains(text)).await
    }

    /// Waits until `reached` holds for the job.
    pub async fn wait_until(
        &self,
        id: i64,
        patience: Duration,
        reached: impl Fn(&JobRecord) -> bool,
    ) -> Result<JobRecord, TestkitError> {
        let mut changes = self.shared.watch();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            changes.mark_unchanged();
            let record = self.job(id);
            if let Some(record) = record.as_ref().filter(|record| reached(record)) {
                return Ok(record.clone());
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(TestkitError::TooLate {
                    job: id,
                    state: record.as_ref().map_or(JobState::Pending, |record| record.state),
                    waited: patience,
                    log: record.map(|record| record.log_text()).unwrap_or_default(),
                });
            }
        }
    }

    /// Somebody presses "cancel": `canceling` when the runner declared that it knows it, else `canceled` (§8.1).
    pub fn cancel(&self, id: i64) {
        jobs::cancel(&mut self.shared.lock(), id, false);
        self.shared.changed();
    }

    /// The job is `canceled` at once; the runner's token for it is refused from now on.
    pub fn force_cancel(&self, id: i64) {
        jobs::cancel(&mut self.shared.lock(), id, true);
        self.shared.changed();
    }

    /// What the runner did against the contract so far.
    pub fn slips(&self) -> Vec<String> {
        self.shared.lock().slips.clone()
    }

    /// Panics with the list when there are slips.
    #[track_caller]
    pub fn assert_no_slips(&self) {
        let slips = self.slips();
        assert!(
            slips.is_empty(),
            "the runner broke the contract {} times:\n{}",
            slips.len(),
            slips.join("\n")
        );
    }

    /// The longest time between two contacts about a job while it ran (§7, touch cadence).
    pub fn longest_silence(&self, id: i64) -> Option<Duration> {
        self.shared.lock().jobs.get(&id).map(Job::longest_silence)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Note> {
        self.shared.lock().notes.clone()
    }

    /// From now on answers fail by this plan.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.shared.lock().faults.set_plan(plan);
    }

    /// The next answers on `on` fail in these ways, one each.
    pub fn fail_next(&self, on: On, faults: &[Fault]) {
        self.shared.lock().faults.order(on, faults);
    }

    /// How often each kind of fault fired.
    pub fn faults_fired(&self) -> BTreeMap<Fault, u64> {
        self.shared.lock().faults.fired().clone()
    }

    /// The server goes down: nobody listens, connections end, the state is kept.
    pub async fn go_down(&self) {
        self.doors.shut().await;
    }

    /// The server comes back on the same address.
    pub async fn come_back(&self) -> Result<(), TestkitError> {
        self.doors.open_again().await.map_err(TestkitError::Listen)
    }
}

impl Drop for FakeGitLab {
    fn drop(&mut self) {
        self.http.abort();
    }
}

/// More than any test sends in one request.
const LARGEST_BODY: usize = 1 << 30;

async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        // The sender went away in the middle; nobody reads the answer.
        return Answer::plain(400).into_response();
    };
    let mut call = Call::new(parts.method, parts.uri, parts.headers, body);
    {
        let mut inner = shared.lock();
        let slips = rules::form(&call);
        for slip in slips {
            inner.slip(&call, slip);
        }
        rules::request_id(&mut inner, &call);
        if call.on != On::Git {
            jobs::note_contact(&mut inner, &call);
        }
        let reset_possible = jobs::reset_possible(&inner, call.job);
        if let Some((fault, detail)) = inner.faults.draw(call.on, call.job, reset_possible) {
            call.fault = Some(fault);
            call.detail = detail;
        }
    }
    let answer = match call.fault {
        Some(Fault::DropBefore) => None,
        Some(Fault::ServerError) => {
            let status = [500, 502, 503, 504][(call.detail % 4) as usize];
            Some(Answer::message(status, "injected fault"))
        }
        Some(Fault::Status(status)) => Some(Answer::message(status, "injected fault")),
        Some(Fault::TooMany) => Some(too_many(call.detail)),
        Some(Fault::Conflict) => Some(Answer::message(409, "409 Conflict")),
        Some(
            Fault::DropAfter
            | Fault::Torn
            | Fault::Slow
            | Fault::RangeLie
            | Fault::Pending
            | Fault::TraceInvalid,
        )
        | None => Some(process(&shared, &call).await),
    };
    let status = answer.as_ref().map_or(0, |answer| answer.status);
    shared.lock().notes.push(Note {
        at: call.at,
        on: call.on,
        method: call.method.to_string(),
        path: call.uri.to_string(),
        job: call.job,
        status,
        fault: call.fault,
        json: call.json,
    });
    shared.changed();
    match call.fault {
        Some(Fault::DropBefore | Fault::DropAfter) => line.cut(),
        Some(Fault::Torn) => line.cut_after(9 + (call.detail % 40) as u32),
        Some(Fault::Slow) => tokio::time::sleep(Duration::from_millis(30 + call.detail % 250)).await,
        _ => {}
    }
    answer.unwrap_or_else(|| Answer::plain(500)).into_response()
}

async fn process(shared: &Arc<Shared>, call: &Call) -> Answer {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (call.method.as_str(), path.as_slice()) {
        ("POST", ["runners"]) => register::register(shared, call),
        ("POST", ["runners", "verify"]) => register::verify(shared, call),
        ("DELETE", ["runners"]) => register::unregister(shared, call),
        ("DELETE", ["runners", "managers"]) => register::unregister_manager(shared, call),
        ("POST", ["runners", "reset_authentication_token"]) => register::reset(shared, call),
        ("POST", ["runners", id, "reset_authentication_token"]) => {
            register::reset_by_person(shared, call, id)
        }
        ("GET", ["runners", "router", "discovery"]) => Answer::message(501, "501 Not Implemented"),
        ("POST", ["jobs", "request"]) => jobs::request(shared, call).await,
        ("PUT", ["jobs", _]) => jobs::update(shared, call),
        ("PATCH", ["jobs", _, "trace"]) => trace::append(shared, call),
        ("POST", ["jobs", _, "artifacts"]) => artifacts::upload(shared, call).await,
        ("GET", ["jobs", _, "artifacts"]) => artifacts::download(shared, call),
        ("GET", ["", "storage", key]) => artifacts::storage(shared, call, key),
        _ if call.on == On::Git => git_http::answer(shared, call).await,
        _ => {
            shared.lock().slip(call, "no such endpoint in the contract");
            Answer::message(404, "404 Not Found")
        }
    }
}

fn too_many(detail: u64) -> Answer {
    let answer = Answer::message(429, "This endpoint has been requested too many times. Try again later.");
    if detail.is_multiple_of(2) {
        answer.with("retry-after", "1")
    } else {
        let reset = SystemTime::now() + Duration::from_secs(1);
        answer.with("ratelimit-resettime", httpdate::fmt_http_date(reset))
    }
}

impl Call {
    fn new(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Call {
        let whole = uri.path();
        let below = whole.strip_prefix("/redirected").unwrap_or(whole).strip_prefix("/api/v4/");
        let is_api = below.is_some();
        let path: Vec<String> = below.unwrap_or(whole).split('/').map(str::to_owned).collect();
        let is_json = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/json"));
        let json = if is_json { serde_json::from_slice(&body).ok() } else { None };
        let mut call = Call {
            at: Instant::now(),
            on: On::Other,
            method,
            uri,
            path,
            job: 0,
            headers,
            body,
            json,
            fault: None,
            detail: 0,
        };
        call.classify(is_api);
        call
    }

    #[cfg(test)]
    pub(crate) fn for_test(method: Method, uri: &'static str, headers: HeaderMap, body: Bytes) -> Call {
        Call::new(method, Uri::from_static(uri), headers, body)
    }

    fn classify(&mut self, api: bool) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let on = match (self.method.as_str(), path.as_slice()) {
            (_, ["", "storage", _]) => On::Storage,
            _ if !api && self.uri.path().contains(".git/") => On::Git,
            _ if !api => On::Other,
            ("POST", ["runners"]) => On::Register,
            ("POST", ["runners", "verify"]) => On::Verify,
            ("DELETE", ["runners"] | ["runners", "managers"]) => On::Unregister,
            ("POST", ["runners", .., "reset_authentication_token"]) => On::Reset,
            ("POST", ["jobs", "request"]) => On::Request,
            ("PUT", ["jobs", _]) if matches!(self.text("state"), "success" | "failed") => On::Final,
            ("PUT", ["jobs", _]) => On::Touch,
            ("PATCH", ["jobs", _, "trace"]) => On::Trace,
            ("POST", ["jobs", _, "artifacts"]) => On::Upload,
            ("GET", ["jobs", _, "artifacts"]) => On::Download,
            _ => On::Other,
        };
        if api && path.first() == Some(&"jobs") {
            self.job = path.get(1).and_then(|id| id.parse().ok()).unwrap_or(0);
        }
        self.on = on;
    }
}

/// Percent and plus decoding of one query word.
fn decode(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
