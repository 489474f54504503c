//! One job from the server's hand to the acknowledged result: accept, run, report, tidy up. A job that an earlier process
//! has left takes the same way from where it stands.
//!
//! The service starts one task a job. Whatever happens in it, a panic of the job's own task included, ends in a report;
//! only the death of this process leaves the job's directory for the next one.

use crate::HostOptions;
use crate::left_over::Left;
use crate::metrics::{Metrics, ShownJob};
use crate::session_server::OpenSession;
use crate::slots::Seat;
use harrier_api::{Info, JobPayload};
use harrier_base::{Clock, FailureReason};
use harrier_client::{Client, Updated};
use harrier_config::RunnerSpec;
use harrier_engine::{
    Executor, FinalState, FinishedLog, JobLog, JobOutcome, JobRun, LogView, OpenCx, ReportCx, Reported,
    SessionTicket, Stop, Teardown, acceptance, report, run_job,
};
use harrier_plan::{JobPlan, plan_job};
use harrier_store::{Entry, JobDir, Journal, StoreError};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tracing::Instrument;

/// What every job of this host needs.
pub(crate) struct Workshop {
    pub(crate) options: HostOptions,
    pub(crate) system_id: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A job that was just handed out.
pub(crate) struct NewJob {
    /// In the metrics.
    pub(crate) shown: ShownJob,
    pub(crate) spec: Arc<RunnerSpec>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) client: Client,
    pub(crate) info: Info,
    pub(crate) payload: JobPayload,
    pub(crate) correlation_id: String,
    pub(crate) seat: Seat,
    /// The feed's key of the entry.
    pub(crate) key: String,
    /// The way to a terminal in it.
    pub(crate) session: Option<OpenSession>,
}

/// A job that an earlier process has left.
pub(crate) struct LeftJob {
    pub(crate) dir: JobDir,
    pub(crate) journal: Journal,
    pub(crate) plan: JobPlan,
    pub(crate) note: HostNote,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) client: Client,
    pub(crate) left: Left,
}

/// What the host writes into the journal's first entry, to know again after a restart. Holds no secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct HostNote {
    /// The feed's key of the entry.
    pub(crate) key: String,
    pub(crate) retry_limit: u32,
    pub(crate) info: Info,
}

/// How a session that nothing runs in any more may take to be given back.
const CLOSE_BUDGET: Duration = Duration::from_secs(60);
const FIRST_ACCEPT_WAIT: Duration = Duration::from_millis(100);
const LONGEST_ACCEPT_WAIT: Duration = Duration::from_secs(5);

/// Carries out a job that was just handed out.
pub(crate) async fn carry_out(shop: Arc<Workshop>, job: NewJob, stop: Stop) {
    let note = HostNote {
        key: job.key.clone(),
        retry_limit: job.spec.final_update_retry_limit,
        info: job.info.clone(),
    };
    let id = job.payload.id;
    let plan = match plan_job(&job.payload, &job.spec, &facts(&shop, &job)) {
        Ok(plan) => plan,
        Err(error) => {
            let reason = error.reason().for_server(&job.payload.features.failure_reasons);
            return refuse(&shop, &job, reason, &error.to_string(), stop).await;
        }
    };
    let made = make_dir(&shop, &plan).and_then(|dir| {
        let journal = Journal::open(&dir)?;
        Ok((dir, journal))
    });
    match made {
        Ok((dir, journal)) => {
            let work = Work {
                dir,
                journal: Arc::new(Mutex::new(journal)),
                plan: Arc::new(plan),
                note,
                executor: job.executor,
                client: job.client,
                left: Left::Untouched,
                session: job.session,
                shown: Arc::new(job.shown),
            };
            work.through(&shop, stop).await;
        }
        Err(StoreError::Exists { path }) => {
            tracing::warn!(job = id, path = %path.display(), "the server handed out a job that we have already; going on with the one we have");
        }
        Err(error) => {
            tracing::error!(job = id, %error, "the job cannot be kept, so it is not run");
            let reason = FailureReason::RunnerSystemFailure;
            refuse(&shop, &job, reason, &error.to_string(), stop).await;
        }
    }
}

/// Goes on with a job that an earlier process has left.
pub(crate) async fn take_up(shop: Arc<Workshop>, job: LeftJob, shown: ShownJob, stop: Stop) {
    let work = Work {
        dir: job.dir,
        journal: Arc::new(Mutex::new(job.journal)),
        plan: Arc::new(job.plan),
        note: job.note,
        executor: job.executor,
        client: job.client,
        left: job.left,
        // The server was told of one that went with the former process.
        session: None,
        shown: Arc::new(shown),
    };
    work.through(&shop, stop).await;
}

fn make_dir(shop: &Workshop, plan: &JobPlan) -> Result<JobDir, StoreError> {
    let name = format!("{}-{}", plan.job.id, server_mark(&plan.server.url));
    let dir = JobDir::create(&shop.options.state_dir, &name)?;
    let kept = serde_json::to_vec(plan)
        .map_err(|e| StoreError::NotJson { path: dir.path().to_owned(), message: e.to_string() })
        .and_then(|bytes| dir.write_plan(&bytes));
    match kept {
        Ok(()) => Ok(dir),
        Err(error) => {
            // Nothing of the job was begun; a directory that stays would only be looked at again.
            let _ = dir.remove();
            Err(error)
        }
    }
}

/// Eight hex digits that tell servers apart.
fn server_mark(url: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(url.as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect()
}

fn facts(shop: &Workshop, job: &NewJob) -> harrier_plan::Facts {
    let abilities = job.executor.abilities();
    let options = &shop.options;
    let pair = job.client.client_pair_pem();
    let secure = job.spec.url.starts_with("https:");
    harrier_plan::Facts {
        program: options.program.name.clone(),
        version: options.program.version.clone(),
        revision: options.program.revision.clone(),
        system_id: shop.system_id.clone(),
        concurrent_id: job.seat.id,
        concurrent_project_id: job.seat.project_id,
        default_builds_dir: Some(
            abilities.own_dirs.map_or_else(|| options.working_directory.join("builds"), |dirs| dirs.0.into()),
        ),
        default_cache_dir: Some(
            abilities.own_dirs.map_or_else(|| options.working_directory.join("cache"), |dirs| dirs.1.into()),
        ),
        os_arch: format!("{}/{}", crate::options::platform(), crate::options::architecture()),
        abilities: abilities.traits(),
        correlation_id: job.correlation_id.clone(),
        tls_ca: job.client.ca_pem().filter(|_| secure),
        tls_cert: pair.as_ref().map(|(cert, _)| cert.clone()).filter(|_| secure),
        tls_key: pair.map(|(_, key)| key).filter(|_| secure),
    }
}

/// Reports a job that cannot even be planned or kept. Its log is the message, if the disk takes it.
async fn refuse(shop: &Arc<Workshop>, job: &NewJob, reason: FailureReason, message: &str, stop: Stop) {
    let id = job.payload.id;
    let accepted = job.client.update_job(id, &acceptance(&job.info, &job.payload.token)).await;
    if let Updated::Abort(why) = accepted.updated {
        tracing::info!(job = id, why, "the server has dropped the job before it began");
        return;
    }
    let text = harrier_engine::failed_line(message, reason.is_system());
    let scratch = shop.options.state_dir.join(format!("refused-{id}.log"));
    let written = std::fs::write(&scratch, &text).is_ok();
    let log = if written {
        FinishedLog { len: text.len() as u64, crc32: crc32fast::hash(text.as_bytes()) }
    } else {
        FinishedLog { len: 0, crc32: 0 }
    };
    let (finished, finished_rx) = oneshot::channel();
    let cx = ReportCx {
        client: job.client.clone(),
        job_id: id,
        token: job.payload.token.clone(),
        info: job.info.clone(),
        log: LogView { path: scratch.clone(), committed: watch::channel(log.len).1 },
        debug_trace: false,
        start: 0,
        retry_limit: job.spec.final_update_retry_limit,
        stop,
    };
    let state = FinalState { success: false, reason: Some(reason), exit_code: None, log };
    let _ = finished.send(state);
    let reported = report(cx, finished_rx, |_| {}).await;
    // It says nothing that the server does not have by now.
    let _ = std::fs::remove_file(&scratch);
    job.shown.ended(Duration::ZERO, Some(reason.wire()));
    tracing::warn!(
        job = id,
        "job-status" = "failed",
        failure_reason = reason.wire(),
        error = message,
        reported = words_for(reported.as_ref()),
        "Job failed"
    );
}

/// A job with all its pieces.
struct Work {
    dir: JobDir,
    journal: Arc<Mutex<Journal>>,
    plan: Arc<JobPlan>,
    note: HostNote,
    executor: Arc<dyn Executor>,
    client: Client,
    left: Left,
    session: Option<OpenSession>,
    shown: Arc<ShownJob>,
}

/// What the acceptance came to.
enum Accepted {
    Run,
    Drop(String),
    Cancel,
}

impl Work {
    async fn through(self, shop: &Arc<Workshop>, stop: Stop) {
        let id = self.plan.job.id;
        if self.left == Left::Settled {
            return self.tidy();
        }
        let accepted =
            if self.left == Left::Untouched { self.accept(shop, &stop).await } else { Accepted::Run };
        let begun = tokio::time::Instant::now();
        if let Accepted::Drop(why) = accepted {
            tracing::info!(job = id, why, "the server has dropped the job before it began");
            return self.tidy();
        }
        let settings = harrier_logpipe::Settings {
            masks: self.plan.log.masks.clone(),
            token_prefixes: self.plan.log.token_prefixes.clone(),
            timestamps: self.plan.log.timestamps,
            limit: self.plan.log.limit,
        };
        let log = match JobLog::open(&self.dir, &settings, Arc::clone(&shop.clock)).await {
            Ok(log) => Arc::new(log),
            Err(error) => return self.without_log(stop, &error.to_string()).await,
        };
        let (finished, finished_rx) = oneshot::channel();
        let journal = Arc::clone(&self.journal);
        let reporter = tokio::spawn(
            report(self.report_cx(log.view(), stop.clone()), finished_rx, move |offset| {
                note_down(&journal, &Entry::Acked { offset });
            })
            .in_current_span(),
        );
        let (outcome, teardown) = match (&accepted, self.left) {
            (Accepted::Cancel, _) => (None, None),
            (Accepted::Run | Accepted::Drop(_), Left::Lost { .. }) => {
                (Some(self.lost(shop, &log).await), None)
            }
            (Accepted::Run | Accepted::Drop(_), Left::Settled | Left::Untouched | Left::Goes { .. }) => {
                let (outcome, teardown) = self.run(shop, &log, &stop).await;
                (Some(outcome), teardown)
            }
        };
        let (whole, broken) = match log.finish().await {
            Ok(whole) => (whole, false),
            Err(error) => {
                tracing::error!(job = id, %error, "the job's log is not whole; the server gets what there is");
                (as_it_is(&self.dir.trace_log()), true)
            }
        };
        let state = self.final_state(outcome.as_ref(), whole, broken);
        let aborted = outcome.as_ref().is_some_and(|o| o.aborted);
        let reporting = async {
            if aborted {
                // Nothing is reported; the reporter ends by itself, or because nothing comes any more.
                drop(finished);
            } else {
                let _ = finished.send(state.clone());
            }
            reporter.await
        };
        let giving_back = async {
            if let Some(teardown) = teardown {
                teardown.run().await;
            }
        };
        let (reported, ()) = tokio::join!(reporting, giving_back);
        let reported = match reported {
            Ok(reported) => reported,
            Err(error) => {
                tracing::error!(job = id, %error, "the job's reporter has failed; the next start of the runner reports the job");
                return;
            }
        };
        self.say_how_it_went(outcome.as_ref(), &state, reported.as_ref(), begun.elapsed());
        note_down(&self.journal, &Entry::Reported);
        self.tidy();
    }

    /// Tells the server that we have the job, and the journal that it begins. A server that gives no answer is asked
    /// until it does: a job that waits for its acceptance would be handed to somebody else, and run twice.
    async fn accept(&self, shop: &Workshop, stop: &Stop) -> Accepted {
        let job = &self.plan.job;
        let request = acceptance(&self.note.info, &job.token);
        let mut wait = FIRST_ACCEPT_WAIT;
        let mut unanswered = false;
        let answer = loop {
            let answer = self.client.update_job(job.id, &request).await;
            let Updated::Failed { why, unreachable: true } = &answer.updated else { break answer };
            tracing::warn!(error = why, "accepting the job failed; it is tried again");
            unanswered = true;
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_ACCEPT_WAIT),
                _ = stop.pulled() => break answer,
            }
        };
        match &answer.updated {
            Updated::Abort(why) => return Accepted::Drop(why.clone()),
            // It has waited too long for us.
            Updated::Failed { why, unreachable: false } if unanswered => return Accepted::Drop(why.clone()),
            Updated::Failed { why, .. } => {
                tracing::warn!(
                    error = why,
                    "the server does not take the acceptance; the job is run all the same"
                );
            }
            Updated::Accepted | Updated::Pending | Updated::TraceInvalid => {}
        }
        // Only now: a job whose acceptance the server never saw is accepted once more after a restart.
        let entry = Entry::Admitted {
            boot_id: shop.options.boot_id.clone(),
            runner_pid: std::process::id(),
            started_at: shop.clock.now(),
            host: serde_json::to_value(&self.note).unwrap_or_default(),
        };
        note_down(&self.journal, &entry);
        if answer.cancel_requested { Accepted::Cancel } else { Accepted::Run }
    }

    fn report_cx(&self, log: LogView, stop: Stop) -> ReportCx {
        let start = match self.left {
            Left::Goes { sent } | Left::Lost { sent } => sent,
            Left::Settled | Left::Untouched => 0,
        };
        ReportCx {
            client: self.client.clone(),
            job_id: self.plan.job.id,
            token: self.plan.job.token.clone(),
            info: self.note.info.clone(),
            log,
            debug_trace: self.plan.debug_trace,
            start,
            retry_limit: self.note.retry_limit,
            stop,
        }
    }

    /// Runs the job in a task of its own, so that its panic is only its own.
    async fn run(
        &self,
        shop: &Arc<Workshop>,
        log: &Arc<JobLog>,
        stop: &Stop,
    ) -> (JobOutcome, Option<Teardown>) {
        let task = {
            let (plan, executor) = (Arc::clone(&self.plan), Arc::clone(&self.executor));
            let (journal, log, stop) = (Arc::clone(&self.journal), Arc::clone(log), stop.clone());
            let (dir, shop) = (self.dir.clone(), Arc::clone(shop));
            let shown = Arc::clone(&self.shown);
            let desk = self.session.as_ref().map(|session| session.desk.clone());
            tokio::spawn(
                async move {
                    let raw = dir.raw_log();
                    run_job(JobRun {
                        plan: &plan,
                        executor: executor.as_ref(),
                        journal: &journal,
                        cx: OpenCx {
                            job_dir: dir.path(),
                            raw_log: &raw,
                            own_binary: &shop.options.own_binary,
                            die_with_parent: false,
                        },
                        log: &log,
                        stop: &stop,
                        clock: shop.clock.as_ref(),
                        desk: desk.as_ref(),
                        on_stage: Some(&|stage| shown.stage(stage)),
                    })
                    .await
                }
                .in_current_span(),
            )
        };
        match task.await {
            Ok((outcome, teardown)) => (outcome, Some(teardown)),
            Err(error) => {
                let message =
                    "Harrier itself failed while it ran this job; please report it with the runner's log";
                tracing::error!(job = self.plan.job.id, %error, "the task of a job has panicked");
                let outcome = JobOutcome::system(message);
                log.fail(message);
                note_down(&self.journal, &Entry::Verdict { outcome: serde_json::json!(outcome) });
                self.give_back(shop).await;
                (outcome, None)
            }
        }
    }

    /// The machine was started anew while the job ran.
    async fn lost(&self, shop: &Arc<Workshop>, log: &JobLog) -> JobOutcome {
        let message = "the machine was restarted while the job ran; retry the job";
        log.fail(message);
        let outcome = JobOutcome::system(message);
        note_down(&self.journal, &Entry::Verdict { outcome: serde_json::json!(outcome) });
        self.give_back(shop).await;
        outcome
    }

    /// Closes a session in which nothing runs any more.
    async fn give_back(&self, shop: &Workshop) {
        let ticket = lock(&self.journal).entries().iter().rev().find_map(|entry| match entry {
            Entry::Opened { ticket } => Some(SessionTicket(ticket.clone())),
            _ => None,
        });
        let Some(ticket) = ticket else { return };
        let raw = self.dir.raw_log();
        let cx = OpenCx {
            job_dir: self.dir.path(),
            raw_log: &raw,
            own_binary: &shop.options.own_binary,
            die_with_parent: false,
        };
        let closed = match self.executor.reopen(&self.plan, &ticket, &cx).await {
            Ok(session) => session.close(CLOSE_BUDGET).await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = closed {
            tracing::warn!(job = self.plan.job.id, error, "something of the job may still be there");
        }
    }

    /// Reports a job whose log cannot even be opened.
    async fn without_log(self, stop: Stop, message: &str) {
        tracing::error!(
            job = self.plan.job.id,
            error = message,
            "the job cannot have a log, so it is not run"
        );
        let log = FinishedLog { len: 0, crc32: 0 };
        let (finished, finished_rx) = oneshot::channel();
        let view = LogView { path: self.dir.trace_log(), committed: watch::channel(0).1 };
        let outcome = JobOutcome::system(message);
        let state = self.final_state(Some(&outcome), log, true);
        let _ = finished.send(state.clone());
        let reported = report(ReportCx { start: 0, ..self.report_cx(view, stop) }, finished_rx, |_| {}).await;
        self.say_how_it_went(Some(&outcome), &state, reported.as_ref(), Duration::ZERO);
        note_down(&self.journal, &Entry::Reported);
        self.tidy();
    }

    /// `outcome` is `None` for a job that was cancelled before it began: its reason goes out as it is.
    fn final_state(&self, outcome: Option<&JobOutcome>, log: FinishedLog, broken: bool) -> FinalState {
        let Some(outcome) = outcome else {
            let reason = Some(FailureReason::JobCanceled);
            return FinalState { success: false, reason, exit_code: None, log };
        };
        let success = outcome.success && !broken;
        let reason = outcome.reason.or(broken.then_some(FailureReason::RunnerSystemFailure));
        FinalState {
            success,
            reason: reason.map(|reason| reason.for_server(&self.plan.failure_reasons)),
            exit_code: outcome.exit_code.filter(|_| !success),
            log,
        }
    }

    fn say_how_it_went(
        &self,
        outcome: Option<&JobOutcome>,
        state: &FinalState,
        reported: Option<&Reported>,
        took: Duration,
    ) {
        let duration_s = took.as_millis() as f64 / 1000.0;
        let reported = words_for(reported);
        if state.success {
            self.shown.ended(took, None);
            tracing::info!(duration_s, "job-status" = "success", reported, "Job succeeded");
            return;
        }
        let reason = outcome.and_then(|o| o.reason).unwrap_or(FailureReason::JobCanceled);
        let error = outcome.map_or("canceled", |o| o.message.as_str());
        self.shown.ended(took, Some(reason.wire()));
        tracing::warn!(
            duration_s,
            "job-status" = "failed",
            failure_reason = reason.wire(),
            exit_code = state.exit_code,
            error,
            reported,
            "Job failed"
        );
    }

    fn tidy(self) {
        let path = self.dir.path().to_owned();
        if let Err(error) = self.dir.remove() {
            tracing::warn!(path = %path.display(), %error, "the job's directory cannot be removed; it is tried again at the next start");
        }
    }
}

fn words_for(reported: Option<&Reported>) -> &'static str {
    match reported {
        Some(Reported::Acknowledged) => "acknowledged",
        Some(Reported::Dropped { after_final: true, .. }) => "acknowledged before, the answer was lost",
        Some(Reported::Dropped { after_final: false, .. }) | None => "not wanted by the server",
        Some(Reported::GaveUp(_)) => "refused by the server",
    }
}

/// A log whose maker has failed: what stands in the file is what the server gets.
fn as_it_is(path: &Path) -> FinishedLog {
    let bytes = std::fs::read(path).unwrap_or_default();
    FinishedLog { len: bytes.len() as u64, crc32: crc32fast::hash(&bytes) }
}

/// A journal that cannot be written is told; the job goes on, a restart would then know less of it.
fn note_down(journal: &Mutex<Journal>, entry: &Entry) {
    if let Err(error) = lock(journal).append(entry) {
        tracing::error!(%error, "the job's journal cannot be written");
    }
}

fn lock(journal: &Mutex<Journal>) -> std::sync::MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}
