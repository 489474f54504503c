//! The service: one loop that asks, starts jobs, reloads, rotates tokens and stops. It owns every task it starts.

use crate::error::{Ended, HostError};
use crate::feed::{Came, Feed, Rules, Turn};
use crate::job::{HostNote, LeftJob, NewJob, Workshop, carry_out, take_up};
use crate::left_over::Left;
use crate::metrics::{Metrics, ProcessState, RunnerLabels, Taken};
use crate::metrics_server;
use crate::options::{HostOptions, Source, executor_info, runner_info};
use crate::reload::ConfigFile;
use crate::rotation::{self, Rotated, RotationError};
use crate::session_server::{OpenSession, SessionServer};
use crate::slots::{Seat, Seats};
use harrier_api::JobRequest;
use harrier_base::{Secret, SystemClock, short_token};
use harrier_client::{Asked, Client, ClientError, ClientOptions, JobAnswer, ServerAccess};
use harrier_config::{HostSpec, RunnerSpec};
use harrier_engine::{Executor, Stop, StopReason};
use harrier_plan::JobPlan;
use harrier_store::{Entry, JobDir, Journal, StateDir};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::Instrument;

/// What the service is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSignal {
    /// SIGHUP
    Reload,
    /// SIGQUIT
    Drain,
    /// SIGUSR1
    HandOver,
    /// SIGTERM (`terminated`) or SIGINT (`interrupt`).
    Stop(&'static str),
}

const RELOAD_EVERY: Duration = Duration::from_secs(3);
/// Default of `job_status_final_update_retry_limit`.
const FINAL_TRIES: u32 = 10;
/// Between two looks for what jobs that are gone have left.
const SWEEP_EVERY: Duration = Duration::from_secs(300);
/// Between two looks at the size of caches, which cost the engine some work.
const TIDY_EVERY: Duration = Duration::from_secs(1800);
/// After a token could not be replaced.
const ROTATE_AGAIN: Duration = Duration::from_secs(60);

/// Serves until told to stop. Signals of the process are listened to.
pub async fn run(options: HostOptions) -> Result<Ended, HostError> {
    let signals = crate::signals::listen().map_err(HostError::Signals)?;
    serve(options, signals).await
}

/// As [`run`], told by `signals`.
pub async fn serve(options: HostOptions, signals: mpsc::Receiver<HostSignal>) -> Result<Ended, HostError> {
    let state = StateDir::open(&options.state_dir)?;
    let (file, spec, system_id) = match &options.source {
        Source::File(path) => {
            let mut file = ConfigFile::new(path.clone());
            let (spec, warnings) = file.load()?;
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            let id = harrier_config::system_id(path);
            if let Some(why) = id.not_kept {
                tracing::warn!("{why}");
            }
            (Some(file), spec, id.id)
        }
        Source::Single { runner, system_id, shutdown_timeout, .. } => {
            (None, alone(runner, *shutdown_timeout), system_id.clone())
        }
    };
    let metrics =
        Arc::new(Metrics::new(system_id.clone(), options.program.clone(), Arc::clone(&options.log_counts)));
    let metrics_server = match options.listen_address.as_ref().or(spec.listen_address.as_ref()) {
        Some(address) => metrics_server::start(address, &metrics)
            .await
            .map_err(|why| HostError::Listen { setting: "listen_address", why })?,
        None => None,
    };
    let session_server = match &spec.session_server {
        Some(wanted) => Some(
            SessionServer::start(wanted)
                .await
                .map_err(|why| HostError::Listen { setting: "listen_address of [session_server]", why })?,
        ),
        None => None,
    };
    let shop = Workshop { options, system_id, clock: Arc::new(SystemClock), metrics };
    let mut service = Service {
        shop: Arc::new(shop),
        state,
        file,
        spec,
        entries: HashMap::new(),
        clients: HashMap::new(),
        feed: Feed::new(),
        seats: Seats::default(),
        asks: JoinSet::new(),
        asking: HashMap::new(),
        jobs: JoinSet::new(),
        working: HashMap::new(),
        rotation: JoinSet::new(),
        rotate_from: HashMap::new(),
        sweeping: JoinSet::new(),
        session_server,
        _metrics_server: metrics_server,
        begin: Instant::now(),
        draining: false,
        stop: None,
        taken: 0,
        last_job: Instant::now(),
    };
    service.configure();
    service.take_up_left_jobs()?;
    let ended = service.serve(signals).await;
    for executor in &service.shop.options.executors {
        executor.retire().await;
    }
    Ok(ended)
}

/// One runner, one job at a time; `run-single`'s own intervals (`runner-config.md` §2.3).
fn alone(runner: &RunnerSpec, shutdown_timeout: Duration) -> HostSpec {
    let runner = RunnerSpec { unhealthy_interval: Duration::from_secs(300), ..runner.clone() };
    HostSpec {
        concurrent: 1,
        check_interval: Duration::from_secs(3),
        log_level: None,
        log_format: None,
        connection_max_age: Some(Duration::from_secs(900)),
        shutdown_timeout,
        listen_address: None,
        session_server: None,
        runners: vec![runner],
    }
}

/// An entry that can be asked for.
struct Listed {
    spec: Arc<RunnerSpec>,
    executor: Arc<dyn Executor>,
    client: Client,
    request: JobRequest,
    labels: RunnerLabels,
}

/// A job task, by its id.
struct Working {
    key: String,
    seat: Seat,
    stop: Stop,
}

struct Service {
    shop: Arc<Workshop>,
    state: StateDir,
    file: Option<ConfigFile>,
    spec: HostSpec,
    entries: HashMap<String, Listed>,
    clients: HashMap<(ServerAccess, Option<Duration>), Client>,
    feed: Feed,
    seats: Seats,
    asks: JoinSet<JobAnswer>,
    /// Which entry asks, and the way to a terminal in the job that may come.
    asking: HashMap<Id, (String, Option<OpenSession>)>,
    jobs: JoinSet<()>,
    working: HashMap<Id, Working>,
    rotation: JoinSet<(Arc<RunnerSpec>, Result<Rotated, RotationError>)>,
    rotate_from: HashMap<String, Instant>,
    sweeping: JoinSet<()>,
    session_server: Option<SessionServer>,
    /// Its task; dropping the set ends it.
    _metrics_server: Option<JoinSet<()>>,
    begin: Instant,
    draining: bool,
    /// Told to stop: until when, and by which signal.
    stop: Option<(Instant, &'static str)>,
    /// Jobs taken, and when the last one ended, for `run-single`.
    taken: u32,
    last_job: Instant,
}

impl Service {
    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    async fn serve(&mut self, mut signals: mpsc::Receiver<HostSignal>) -> Ended {
        let mut reload = interval(RELOAD_EVERY);
        reload.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reload.reset();
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deaf = false;
        loop {
            self.end_of_single();
            let next = self.ask_all_due();
            if self.draining && self.asks.is_empty() && self.jobs.is_empty() {
                return if self.stop.is_some() { Ended::Stopped } else { Ended::Gracefully };
            }
            let next_turn = next.map(|at| self.begin + at);
            let (stop_at, single_ends) = (self.stop.map(|(at, _)| at), self.single_ends());
            tokio::select! {
                biased;
                signal = signals.recv(), if !deaf => match signal {
                    Some(signal) => if let Some(ended) = self.signalled(signal) { return ended },
                    // Nobody can tell us anything any more.
                    None => {
                        deaf = true;
                        self.drain();
                    }
                },
                Some(ended) = self.jobs.join_next_with_id() => self.job_ended(ended),
                Some(answer) = self.asks.join_next_with_id() => self.answered(answer),
                Some(rotated) = self.rotation.join_next() => self.rotated(rotated),
                _ = reload.tick() => {
                    self.reload(false);
                    self.rotate_due();
                }
                _ = sweep.tick(), if self.sweeping.is_empty() => self.sweep(),
                Some(_) = self.sweeping.join_next() => {}
                () = at(stop_at) => {
                    let left = self.jobs.len();
                    tracing::error!(left, "jobs did not end within shutdown_timeout; the next start takes them up");
                    self.jobs.detach_all();
                    return Ended::Left(left);
                }
                () = at(next_turn) => {}
                () = at(single_ends) => {}
            }
        }
    }

    /// Looks for leftovers, beside all other work.
    fn sweep(&mut self) {
        for listed in self.entries.values() {
            let (executor, spec) = (Arc::clone(&listed.executor), Arc::clone(&listed.spec));
            let state = self.state.path().to_owned();
            self.sweeping.spawn(async move {
                match executor.sweep(&state, &spec).await {
                    Ok(0) => {}
                    Ok(removed) => tracing::info!(runner_name = spec.name, removed, "removed what jobs that are gone had left"),
                    Err(error) => tracing::warn!(runner_name = spec.name, %error, "what jobs that are gone have left cannot be removed"),
                }
                match executor.tidy(&state, &spec, TIDY_EVERY).await {
                    Ok(0) => {}
                    Ok(removed) => tracing::info!(runner_name = spec.name, removed, "removed caches that were used longest ago"),
                    Err(error) => tracing::warn!(runner_name = spec.name, %error, "no room can be made among the caches"),
                }
            });
        }
    }

    /// Puts the configuration in force.
    fn configure(&mut self) {
        let mut rules = Vec::new();
        let mut entries = HashMap::new();
        let mut same: HashMap<(String, String), u32> = HashMap::new();
        let mut clients = HashMap::new();
        for spec in &self.spec.runners {
            let short = short_token(spec.token.expose()).to_owned();
            if spec.token.expose().trim().is_empty() {
                tracing::warn!(
                    runner_name = spec.name,
                    "this runner has no token and is skipped; set token in its [[runners]] section"
                );
                continue;
            }
            let name = spec.executor.name();
            let executor = self.shop.options.executors.iter().find(|e| e.abilities().name == name);
            let Some(executor) = executor else {
                tracing::error!(
                    runner = short,
                    runner_name = spec.name,
                    executor = name,
                    "this version of Harrier does not have the executor; the runner gets no jobs"
                );
                continue;
            };
            let age = self.spec.connection_max_age;
            let access = access_of(spec);
            let client = match self.clients.get(&(access.clone(), age)) {
                Some(client) => Ok(client.clone()),
                None => self.client(access.clone()),
            };
            let client = match client {
                Ok(client) => client,
                Err(error) => {
                    tracing::error!(runner = short, runner_name = spec.name, %error, "the runner gets no jobs");
                    continue;
                }
            };
            clients.insert((access, age), client.clone());
            let labels = RunnerLabels { short: short.clone(), name: spec.name.clone() };
            let client = client.observed(self.shop.metrics.observer(&labels));
            let nth = same.entry((spec.url.clone(), short.clone())).or_insert(0);
            let key = format!("{} {short} {nth}", spec.url);
            *nth += 1;
            rules.push(Rules {
                key: key.clone(),
                limit: spec.limit,
                request_concurrency: spec.request_concurrency,
                adaptive: flag(spec, "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY", true),
                strict: spec.strict_check_interval,
                unhealthy_limit: spec.unhealthy_requests_limit,
                unhealthy_interval: spec.unhealthy_interval,
            });
            let mut info = runner_info(&self.shop.options.program, Some((spec, executor.abilities())));
            if self.session_server.is_none() {
                info.features.session = false;
                info.features.terminal = false;
            }
            let request = JobRequest {
                info,
                token: spec.token.clone(),
                system_id: self.shop.system_id.clone(),
                last_update: String::new(),
                session: None,
            };
            let listed = Listed {
                spec: Arc::new(spec.clone()),
                executor: Arc::clone(executor),
                client,
                request,
                labels,
            };
            entries.insert(key, listed);
        }
        if (self.spec.concurrent as usize) < rules.len() {
            tracing::warn!(
                concurrent = self.spec.concurrent,
                runners = rules.len(),
                "concurrent is less than the number of runners: on a server that holds requests, runners wait for one another; \
                 set concurrent to at least the number of runners"
            );
        }
        self.clients = clients;
        self.entries = entries;
        let shown = self.entries.values().map(|listed| (listed.labels.clone(), listed.spec.limit)).collect();
        self.shop.metrics.configured(self.spec.concurrent, shown);
        let now = self.now();
        self.feed.configure(now, self.spec.concurrent, self.spec.check_interval, rules);
        if let Some(told) = &self.shop.options.on_config {
            told(&self.spec);
        }
        tracing::info!(
            concurrent = self.spec.concurrent,
            runners = self.entries.len(),
            "Configuration loaded"
        );
    }

    fn client(&self, access: ServerAccess) -> Result<Client, ClientError> {
        let options = ClientOptions {
            user_agent: self.shop.options.program.user_agent.clone(),
            connection_max_age: self.spec.connection_max_age,
        };
        Client::new(access, options)
    }

    /// Jobs that an earlier process has left go on.
    fn take_up_left_jobs(&mut self) -> Result<(), HostError> {
        for dir in self.state.jobs()? {
            let name = dir.name();
            let mended = self.left_job(dir.clone());
            match mended {
                Ok(Some(job)) => {
                    tracing::info!(job = job.plan.job.id, left = ?job.left, "taking up a job that an earlier process has left");
                    let seat = Seat {
                        runner: runner_of(&job.plan.server.url, &job.plan.runner.short_token),
                        project: job.plan.job.project_id,
                        id: job.plan.runner.concurrent_id,
                        project_id: job.plan.runner.concurrent_project_id,
                    };
                    let key = job.note.key.clone();
                    self.seats.keep(&seat);
                    let now = self.now();
                    self.feed.adopt(now, &key);
                    let stop = Stop::new();
                    let span = span_of_plan(&job.plan);
                    let plan = &job.plan;
                    let shown = self.shop.metrics.taken(Taken {
                        runner: RunnerLabels {
                            short: plan.runner.short_token.clone(),
                            name: plan.runner.name.clone(),
                        },
                        executor: &plan.runner.executor,
                        url: job_url(&plan.server.url, &plan.job.project_path, plan.job.id),
                        info: None,
                        with_stages: false,
                    });
                    let task = take_up(Arc::clone(&self.shop), job, shown, stop.clone()).instrument(span);
                    let id = self.jobs.spawn(task).id();
                    self.working.insert(id, Working { key, seat, stop });
                }
                // The process died before it had kept the job, so nothing of it was begun.
                Ok(None) => {
                    tracing::warn!(
                        directory = name,
                        "a job was not kept before an earlier process ended; the server will time it out"
                    );
                    if let Err(error) = dir.remove() {
                        tracing::warn!(directory = name, %error, "it cannot be removed");
                    }
                }
                Err(why) => tracing::error!(
                    directory = %dir.path().display(),
                    why,
                    "a job that an earlier process has left cannot be taken up; remove the directory if it is of no use"
                ),
            }
        }
        Ok(())
    }

    fn left_job(&self, dir: JobDir) -> Result<Option<LeftJob>, String> {
        let Some(bytes) = dir.read_plan().map_err(|e| e.to_string())? else { return Ok(None) };
        let plan: JobPlan =
            serde_json::from_slice(&bytes).map_err(|e| format!("its plan is damaged: {e}"))?;
        let journal = Journal::open(&dir).map_err(|e| e.to_string())?;
        let left = Left::of(journal.entries(), &self.shop.options.boot_id);
        let executor = self
            .shop
            .options
            .executors
            .iter()
            .find(|e| e.abilities().name == plan.runner.executor)
            .ok_or_else(|| format!("this version of Harrier has no {:?} executor", plan.runner.executor))?;
        let access = ServerAccess {
            url: plan.server.url.clone(),
            tls_ca_file: plan.server.tls_ca_file.clone(),
            tls_cert_file: plan.server.tls_cert_file.clone(),
            tls_key_file: plan.server.tls_key_file.clone(),
            certs_dir: None,
        };
        let known = self.clients.get(&(access.clone(), self.spec.connection_max_age)).cloned();
        let client = known.map_or_else(|| self.client(access), Ok).map_err(|e| e.to_string())?;
        let noted = journal.entries().iter().find_map(|entry| match entry {
            Entry::Admitted { host, .. } => serde_json::from_value::<HostNote>(host.clone()).ok(),
            _ => None,
        });
        let note = noted.unwrap_or_else(|| {
            // The process died before the job was accepted: what the entry says now is as good.
            let key = format!("{} 0", runner_of(&plan.server.url, &plan.runner.short_token));
            let listed = self.entries.get(&key);
            HostNote {
                retry_limit: listed.map_or(FINAL_TRIES, |listed| listed.spec.final_update_retry_limit),
                info: listed.map_or_else(
                    || executor_info(&self.shop.options.program, executor.abilities(), plan.shell.program()),
                    |listed| listed.request.info.clone(),
                ),
                key,
            }
        });
        Ok(Some(LeftJob { dir, journal, plan, note, executor: Arc::clone(executor), client, left }))
    }

    /// Asks for every entry whose turn it is; returns when the next turn is.
    fn ask_all_due(&mut self) -> Option<Duration> {
        loop {
            let now = self.now();
            match self.feed.next(now) {
                Turn::Wait(until) => return until,
                Turn::Ask(key) => {
                    let Some(listed) = self.entries.get(&key) else {
                        self.feed.answered(now, &key, Came::Nothing, false);
                        continue;
                    };
                    let (client, mut request) = (listed.client.clone(), listed.request.clone());
                    let session = self.session_server.as_ref().filter(|_| request.info.features.session);
                    let session = session.and_then(SessionServer::open);
                    request.session = session.as_ref().map(|session| session.told.clone());
                    let id = self.asks.spawn(async move { client.request_job(&request).await }).id();
                    self.shop.metrics.turn(&listed.labels);
                    self.show_requests(&key);
                    self.asking.insert(id, (key, session));
                }
            }
        }
    }

    fn answered(&mut self, answer: Result<(Id, JobAnswer), JoinError>) {
        let (id, answer) = match answer {
            Ok((id, answer)) => (id, Some(answer)),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a job request has panicked");
                }
                (error.id(), None)
            }
        };
        let Some((key, session)) = self.asking.remove(&id) else { return };
        let now = self.now();
        let Some(JobAnswer { asked, pushed_back, can_hold_next }) = answer else {
            return self.feed.answered(now, &key, Came::Nothing, false);
        };
        if let (Asked::Failed(_) | Asked::Forbidden(_) | Asked::Unusable(_), Some(listed)) =
            (&asked, self.entries.get(&key))
        {
            self.shop.metrics.turn_failed(&listed.labels, "other");
        }
        let (runner, runner_name) = self.entries.get(&key).map_or_else(Default::default, |listed| {
            (short_token(listed.spec.token.expose()).to_owned(), listed.spec.name.clone())
        });
        let came = match asked {
            Asked::Job { payload, correlation_id } => {
                self.feed.answered(now, &key, Came::Job, pushed_back);
                self.show_requests(&key);
                if !self.start(&key, *payload, correlation_id, session) {
                    self.feed.job_ended(now, &key);
                }
                return;
            }
            Asked::Nothing => {
                tracing::debug!(runner, runner_name, "Checking for jobs... nothing");
                if can_hold_next { Came::Greeting } else { Came::Nothing }
            }
            Asked::Failed(error) => {
                tracing::warn!(runner, runner_name, error, "Checking for jobs... failed");
                Came::Nothing
            }
            Asked::Forbidden(error) => {
                tracing::error!(runner, runner_name, error, "Checking for jobs... forbidden");
                Came::Unhealthy
            }
            Asked::Unusable(error) => {
                tracing::error!(runner, runner_name, error, "Checking for jobs... error");
                Came::Unhealthy
            }
        };
        self.feed.answered(now, &key, came, pushed_back);
        self.show_requests(&key);
        if came == Came::Unhealthy && self.feed.is_asleep(&key) {
            if let Some(listed) = self.entries.get(&key) {
                self.shop.metrics.unhealthy(&listed.labels);
            }
            let sleep = self.entries.get(&key).map(|listed| listed.spec.unhealthy_interval);
            tracing::error!(
                runner,
                runner_name,
                "the runner is unhealthy and is not asked for jobs for {}; a reload of the configuration wakes it",
                sleep.map(harrier_base::format_go_duration).unwrap_or_default()
            );
        }
    }

    fn show_requests(&self, key: &str) {
        if let (Some(listed), Some((now, hard, adaptive, used))) =
            (self.entries.get(key), self.feed.requests(key))
        {
            self.shop.metrics.requests(&listed.labels, now, hard, adaptive, used);
        }
    }

    /// Starts the job; false if its entry is gone.
    fn start(
        &mut self,
        key: &str,
        payload: harrier_api::JobPayload,
        correlation_id: String,
        session: Option<OpenSession>,
    ) -> bool {
        let Some(listed) = self.entries.get(key) else {
            tracing::error!(
                job = payload.id,
                "a job came for a runner that is not configured any more; the server will time it out"
            );
            return false;
        };
        let short = short_token(listed.spec.token.expose()).to_owned();
        let seat = self.seats.take(&runner_of(&listed.spec.url, &short), payload.job_info.project_id);
        let info = &payload.job_info;
        let span = tracing::info_span!(
            "job",
            job = payload.id,
            project = info.project_id,
            runner = short,
            runner_name = listed.spec.name,
            pipeline_id = known(info.pipeline_id),
            project_full_path = info.project_full_path,
            namespace_id = known(info.namespace_id),
            root_namespace_id = known(info.root_namespace_id),
            organization_id = known(info.organization_id),
            gitlab_user_id = known(info.user_id),
        );
        span.in_scope(|| {
            tracing::info!(
                correlation_id,
                repo_url = without_user(payload.git_info.repo_url.expose()),
                time_in_queue_seconds = info.time_in_queue_seconds,
                queue_size = info.queue_size,
                queue_depth = info.queue_depth,
                "Checking for jobs... received"
            );
        });
        let shown = self.shop.metrics.taken(Taken {
            runner: listed.labels.clone(),
            executor: listed.spec.executor.name(),
            url: job_url(&listed.spec.url, &info.project_full_path, payload.id),
            info: Some(info),
            with_stages: flag(&listed.spec, "FF_EXPORT_HIGH_CARDINALITY_METRICS", false),
        });
        let job = NewJob {
            shown,
            spec: Arc::clone(&listed.spec),
            executor: Arc::clone(&listed.executor),
            client: listed.client.clone(),
            info: listed.request.info.clone(),
            payload,
            correlation_id,
            seat: seat.clone(),
            key: key.to_owned(),
            session,
        };
        let stop = Stop::new();
        if let Some((_, signal)) = self.stop {
            stop.pull(StopReason::Interrupted(signal.to_owned()));
        }
        let task = carry_out(Arc::clone(&self.shop), job, stop.clone()).instrument(span);
        let id = self.jobs.spawn(task).id();
        self.working.insert(id, Working { key: key.to_owned(), seat, stop });
        self.taken += 1;
        true
    }

    fn job_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "the task of a job has failed; the next start of the runner takes the job up");
                error.id()
            }
        };
        let Some(working) = self.working.remove(&id) else { return };
        self.seats.free(&working.seat);
        let now = self.now();
        self.feed.job_ended(now, &working.key);
        self.last_job = Instant::now();
    }

    fn signalled(&mut self, signal: HostSignal) -> Option<Ended> {
        match signal {
            HostSignal::Reload => self.reload(true),
            HostSignal::Drain => {
                tracing::info!(
                    jobs = self.jobs.len(),
                    "asked to stop: no new jobs, the running ones go on to their end"
                );
                self.shop.metrics.enter(ProcessState::Graceful);
                self.drain();
            }
            HostSignal::HandOver => {
                let jobs = self.jobs.len();
                tracing::info!(
                    jobs,
                    "told to leave: jobs go on without this process, the next start takes them up"
                );
                self.drain();
                self.jobs.detach_all();
                return Some(Ended::HandedOver(jobs));
            }
            HostSignal::Stop(name) if self.stop.is_none() => {
                let timeout = self.spec.shutdown_timeout;
                tracing::warn!(
                    signal = name,
                    jobs = self.jobs.len(),
                    ?timeout,
                    "told to stop: running jobs are ended"
                );
                self.drain();
                self.shop.metrics.enter(ProcessState::Forceful);
                self.stop = Some((Instant::now() + timeout, name));
                for working in self.working.values() {
                    working.stop.pull(StopReason::Interrupted(name.to_owned()));
                }
            }
            HostSignal::Stop(name) => {
                let left = self.jobs.len();
                tracing::error!(
                    signal = name,
                    left,
                    "told to stop once more: ending now; the next start takes up what is left"
                );
                self.jobs.detach_all();
                return Some(Ended::Left(left));
            }
        }
        None
    }

    /// No new jobs; the requests under way are cancelled (`runner-api.md` §3.7).
    fn drain(&mut self) {
        self.draining = true;
        self.feed.drain();
        self.asks.abort_all();
    }

    fn reload(&mut self, forced: bool) {
        let Some(file) = &mut self.file else { return };
        if self.draining {
            return;
        }
        let loaded = if forced { Some(file.load()) } else { file.check() };
        match loaded {
            None => {}
            Some(Ok((spec, warnings))) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.spec = spec;
                self.configure();
            }
            Some(Err(error)) => {
                self.shop.metrics.configuration_broken();
                tracing::error!(
                    %error,
                    "the changed configuration is not used, the one in force stays; mend the file, it is read again when it changes"
                )
            }
        }
    }

    /// Replaces the token of one entry that is due for it.
    fn rotate_due(&mut self) {
        let Some(file) = &self.file else { return };
        if !self.rotation.is_empty() || self.draining {
            return;
        }
        let now = unix_now();
        for (key, listed) in &self.entries {
            let wait = self.rotate_from.get(key).is_some_and(|from| *from > Instant::now());
            if wait || !rotation::is_due(&listed.spec, now) {
                continue;
            }
            self.rotate_from.insert(key.clone(), Instant::now() + ROTATE_AGAIN);
            let (client, spec) = (listed.client.clone(), Arc::clone(&listed.spec));
            if flag(&spec, "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION", false) {
                self.rotate_from.insert(key.clone(), Instant::now() + ROTATE_AGAIN * 60);
                tracing::warn!(
                    runner = short_token(spec.token.expose()),
                    runner_name = spec.name,
                    "the runner's token ends soon and automatic rotation is off; replace it with reset-token"
                );
                continue;
            }
            let path = file.path().to_owned();
            self.rotation.spawn(async move {
                let rotated = rotation::rotate(&client, &spec, &path, now).await;
                (spec, rotated)
            });
            return;
        }
    }

    fn rotated(&mut self, rotated: Result<(Arc<RunnerSpec>, Result<Rotated, RotationError>), JoinError>) {
        match rotated {
            Ok((spec, Ok(Rotated { unsaved: None, .. }))) => {
                tracing::info!(runner_name = spec.name, "the runner's token was replaced");
                self.shop.metrics.configuration_written(true);
                self.reload(true);
            }
            Ok((spec, Ok(Rotated { identity, unsaved: Some(error) }))) => {
                self.shop.metrics.configuration_written(false);
                tracing::error!(
                    runner_name = spec.name,
                    error,
                    "the runner's token was replaced but cannot be saved: it holds until this process ends; then run reset-token"
                );
                for runner in
                    self.spec.runners.iter_mut().filter(|r| r.token == spec.token && r.url == spec.url)
                {
                    runner.token = Secret::new(identity.token.expose());
                    runner.token_obtained_at = Some(unix_now());
                    runner.token_expires_at = rotation::expiry(&identity);
                }
                self.configure();
            }
            Ok((spec, Err(error))) => {
                tracing::error!(runner_name = spec.name, %error, "replacing the runner's token failed; it is tried again in a minute");
            }
            Err(error) => tracing::error!(%error, "replacing a runner's token failed"),
        }
    }

    /// When a `run-single` ends for want of jobs.
    fn single_ends(&self) -> Option<Instant> {
        match &self.shop.options.source {
            Source::Single { wait_timeout: Some(timeout), .. } if self.jobs.is_empty() && !self.draining => {
                Some(self.last_job + *timeout)
            }
            Source::Single { .. } | Source::File(_) => None,
        }
    }

    fn end_of_single(&mut self) {
        let Source::Single { max_builds, .. } = &self.shop.options.source else { return };
        let enough = *max_builds > 0 && self.taken >= *max_builds;
        let waited = self.single_ends().is_some_and(|end| end <= Instant::now());
        if (enough || waited) && !self.draining {
            self.drain();
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn access_of(spec: &RunnerSpec) -> ServerAccess {
    ServerAccess {
        url: spec.url.clone(),
        tls_ca_file: spec.tls_ca_file.clone(),
        tls_cert_file: spec.tls_cert_file.clone(),
        tls_key_file: spec.tls_key_file.clone(),
        certs_dir: None,
    }
}

/// Who numbers its jobs: all entries with one token.
fn runner_of(url: &str, short: &str) -> String {
    format!("{url} {short}")
}

fn flag(spec: &RunnerSpec, name: &str, default: bool) -> bool {
    spec.feature_flags.get(name).copied().unwrap_or(default)
}

/// The job's page.
fn job_url(server: &str, project: &str, id: i64) -> String {
    format!("{server}/{project}/-/jobs/{id}")
}

/// A number that older servers do not send is left out of the log.
fn known(number: i64) -> Option<i64> {
    (number != 0).then_some(number)
}

fn unix_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn span_of_plan(plan: &JobPlan) -> tracing::Span {
    tracing::info_span!(
        "job",
        job = plan.job.id,
        project = plan.job.project_id,
        runner = plan.runner.short_token,
        runner_name = plan.runner.name,
        pipeline_id = known(plan.job.pipeline_id),
        project_full_path = plan.job.project_path,
    )
}

/// An address without user and password.
fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..end].rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", &rest[end..])
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_user;

    #[test]
    fn addresses_are_shown_without_credentials() {
        for (url, shown) in [
            ("https://gitlab-ci-token:s3cret@h:1/a/b.git", "https://h:1/a/b.git"),
            ("https://u:p@ss@h/a@b.git", "https://h/a@b.git"),
            ("http://h", "http://h"),
            ("rubbish:s3cret", ""),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }
}
