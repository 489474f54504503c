//! The one road of a job: open a session, run the stages in order, decide the result.
//!
//! Called by the runner host and the local host, which report what comes out. It is straight-line code over a
//! [`JobPlan`]; called again with the journal of a process that died, it walks the same road, takes recorded results
//! as they are, waits for what still runs and says nothing twice. It must never talk to a server.

use crate::progress::{Progress, StageEnd, StageProgress};
use crate::{
    Desk, Executor, Exit, JobLog, Ladder, OpenCx, OpenError, Resumed, Running, Session, SessionTicket,
    StageStart, Stop, StopReason, words,
};
use harrier_base::{Clock, FailureReason};
use harrier_logpipe::FrameKind;
use harrier_plan::{Backoff, JobPlan, StageName, StagePlan};
use harrier_store::{Entry, Journal, RawLog};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Tries to open a session (`executors.md` §1.2).
const OPEN_TRIES: u32 = 3;
const OPEN_WAIT: Duration = Duration::from_secs(3);
/// The budget of cleaning up, on the runner's time.
const CLEANUP_BUDGET: Duration = Duration::from_secs(60);
/// Once the runner itself must stop, a job has no ten minutes left.
const INTERRUPTED_GRACE: Duration = Duration::from_secs(10);

/// What `run_job` works with.
pub struct JobRun<'a> {
    /// What to do.
    pub plan: &'a JobPlan,
    /// Where to do it.
    pub executor: &'a dyn Executor,
    /// What has been done; entries of an earlier process are honoured.
    pub journal: &'a Mutex<Journal>,
    /// The job's directory.
    pub cx: OpenCx<'a>,
    /// The job's log.
    pub log: &'a JobLog,
    /// Pulled from outside.
    pub stop: &'a Stop,
    /// The time of day.
    pub clock: &'a dyn Clock,
    /// Where people come in who want a terminal; `None`: nobody can.
    pub desk: Option<&'a Desk>,
    /// Is told which stage begins.
    pub on_stage: Option<&'a (dyn Fn(&StageName) + Send + Sync)>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOutcome {
    /// It went well.
    pub success: bool,
    /// Why not.
    pub reason: Option<FailureReason>,
    /// Of the script, if that is why.
    pub exit_code: Option<i32>,
    /// For the log.
    pub message: String,
    /// The server has dropped the job: nothing is reported.
    pub aborted: bool,
}

impl JobOutcome {
    fn good() -> Self {
        Self { success: true, reason: None, exit_code: None, message: String::new(), aborted: false }
    }

    /// A failure of the runner or the machine.
    pub fn system(message: impl Into<String>) -> Self {
        Self::bad(FailureReason::RunnerSystemFailure, message)
    }

    fn bad(reason: FailureReason, message: impl Into<String>) -> Self {
        Self {
            success: false,
            reason: Some(reason),
            exit_code: None,
            message: message.into(),
            aborted: false,
        }
    }

    fn script(exit: &Exit) -> Self {
        Self { exit_code: Some(exit.code), ..Self::bad(FailureReason::ScriptFailure, exit.text.clone()) }
    }

    fn stopped(reason: &StopReason, plan: &JobPlan) -> Self {
        match reason {
            StopReason::Canceled => Self::bad(FailureReason::JobCanceled, "canceled"),
            StopReason::Aborted => {
                Self { aborted: true, ..Self::bad(FailureReason::JobCanceled, "aborted by the server") }
            }
            StopReason::TimedOut => Self::bad(FailureReason::JobExecutionTimeout, timed_out(plan.limits.job)),
            StopReason::Interrupted(signal) => {
                Self::bad(FailureReason::RunnerInterrupted, format!("aborted: {signal}"))
            }
        }
    }
}

/// What is left to do after the result is known; the host does it while it reports.
#[must_use]
pub struct Teardown(Option<Box<dyn Session>>);

impl Teardown {
    /// There is a place to give back.
    pub fn has_place(&self) -> bool {
        self.0.is_some()
    }

    /// Leaves the session's place to a person for `time`.
    pub async fn keep(self, time: Duration) -> Result<(), crate::CloseError> {
        match self.0 {
            Some(session) => session.keep(time, CLEANUP_BUDGET).await,
            None => Ok(()),
        }
    }

    /// Gives the session's place back.
    pub async fn run(self) {
        if let Some(session) = self.0
            && let Err(error) = session.close(CLEANUP_BUDGET).await
        {
            tracing::warn!(%error, "something of the job is still there");
        }
    }
}

/// Runs the job and decides its result. Its last words are in the log when this returns; the log is not finished.
pub async fn run_job(run: JobRun<'_>) -> (JobOutcome, Teardown) {
    let progress = Progress::of(lock(run.journal).entries());
    let started = progress.started_at.unwrap_or_else(|| run.clock.now());
    let gone = Duration::from_micros(run.clock.now().0.saturating_sub(started.0));
    let deadline = Instant::now() + run.plan.limits.job.saturating_sub(gone);
    let known = progress.outcome.clone();
    let mut road = Road { run: &run, progress, session: None, place: 0, deadline };
    let outcome = match known {
        // The verdict is in: only the place is left to be given back.
        Some(outcome) => {
            road.reopen_to_close().await;
            outcome
        }
        None => {
            let outcome = road.walk().await;
            road.conclude(outcome)
        }
    };
    if let Some(desk) = run.desk {
        desk.close();
    }
    (outcome, Teardown(road.session))
}

fn lock(journal: &Mutex<Journal>) -> std::sync::MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

fn timed_out(limit: Duration) -> String {
    format!("execution took longer than {} seconds", harrier_base::format_go_duration(limit))
}

struct Road<'a> {
    run: &'a JobRun<'a>,
    progress: Progress,
    session: Option<Box<dyn Session>>,
    /// Number of the next stage: with its name the key in the journal, the same in every life of the job.
    place: u32,
    deadline: Instant,
}

/// Which stops a stage obeys besides its own time limit and the job's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Obey {
    /// All of them.
    All,
    /// A cancel has had its effect already (`runner-api.md` §8.2).
    AllButCancel,
    /// None: cleaning up runs on the runner's time.
    None,
}

impl Road<'_> {
    fn say(&self, text: &str) {
        self.run.log.say(text);
    }

    fn section_start(&self, name: &StageName) {
        if let Some(told) = self.run.on_stage {
            told(name);
        }
        if self.run.plan.log.sections {
            self.say(&words::section_start(self.run.clock.now().seconds(), &name.wire()));
        }
        self.say(&words::title(&name.title(&self.run.plan.runner.executor)));
    }

    fn section_end(&self, name: &StageName) {
        if self.run.plan.log.sections {
            self.say(&words::section_end(self.run.clock.now().seconds(), &name.wire()));
        }
    }

    /// From the header to the last stage. The returned outcome has not been said yet.
    async fn walk(&mut self) -> JobOutcome {
        for line in words::header(self.run.plan) {
            self.say(&line);
        }
        if let Some(refusal) = &self.run.plan.refusal {
            return JobOutcome {
                exit_code: refusal.exit_code,
                ..JobOutcome::bad(refusal.reason, refusal.message.clone())
            };
        }
        let prepare_end = self.run.plan.limits.prepare.map(|limit| (limit, Instant::now() + limit));
        if let Err(outcome) = self.open(prepare_end).await {
            return outcome;
        }
        let plan = self.run.plan;
        let limit = prepare_end.map(|(limit, end)| (limit, end.saturating_duration_since(Instant::now())));
        match self.stage(&plan.prepare, "running", Obey::All, limit).await {
            Ok(StageEnd::Exited(exit)) if exit.ok() => {}
            end => return self.outcome_of(end),
        }
        let outcome = self.middle().await;
        self.cleanup().await;
        self.wait_for_visitor().await;
        outcome
    }

    /// From the sources to the uploads.
    async fn middle(&mut self) -> JobOutcome {
        let plan = self.run.plan;
        let mut outcome = match self.before_scripts().await {
            Ok(()) => self.scripts().await,
            Err(Before::Ends(outcome)) => return outcome,
            Err(Before::Failed(outcome)) => outcome,
        };
        if outcome.aborted || self.hard_stop().is_some() {
            return self.hard_stop().map_or(outcome, |reason| JobOutcome::stopped(&reason, plan));
        }
        let went_well = outcome.success;
        for by_result in [&plan.archive_cache, &plan.upload_artifacts] {
            let stage = if went_well { &by_result.success } else { &by_result.failure };
            let Some(stage) = stage else { continue };
            match self.stage(stage, job_status(&outcome), Obey::AllButCancel, None).await {
                Ok(StageEnd::Exited(exit)) if exit.ok() => {}
                Ok(StageEnd::Stopped(reason)) => return JobOutcome::stopped(&reason, plan),
                // The first failure is the one that is told.
                end if outcome.success => outcome = self.outcome_of(end),
                Ok(StageEnd::Exited(_) | StageEnd::OverTime(_)) | Err(_) => {}
            }
        }
        outcome
    }

    async fn before_scripts(&mut self) -> Result<(), Before> {
        let plan = self.run.plan;
        let sources_limit = plan.limits.get_sources;
        let sources_end = sources_limit.map(|limit| (limit, Instant::now() + limit));
        let stages = [Some(&plan.get_sources), plan.restore_cache.as_ref(), plan.download_artifacts.as_ref()];
        for stage in stages.into_iter().flatten() {
            let is_sources = stage.name == StageName::GetSources;
            let mut tries = 0;
            loop {
                tries += 1;
                let limit = if is_sources {
                    sources_end.map(|(limit, end)| (limit, end.saturating_duration_since(Instant::now())))
                } else {
                    None
                };
                let end = self.stage(stage, "running", Obey::All, limit).await;
                match end {
                    Ok(StageEnd::Exited(exit)) if exit.ok() => break,
                    Ok(StageEnd::Exited(_)) if tries < stage.attempts => {
                        self.wait_for_next_try(stage.backoff, tries).await;
                        if is_sources && tries == 1 {
                            // Its failure shows in the attempt that follows.
                            let _ = self.stage(&plan.clear_worktree, "running", Obey::All, None).await;
                        }
                    }
                    // A cancel or a time-out before the scripts ends the job at once.
                    end @ Ok(StageEnd::Stopped(_) | StageEnd::OverTime(_)) => {
                        return Err(Before::Ends(self.outcome_of(end)));
                    }
                    end @ (Ok(StageEnd::Exited(_)) | Err(_)) => {
                        return Err(Before::Failed(self.outcome_of(end)));
                    }
                }
            }
        }
        Ok(())
    }

    async fn wait_for_next_try(&self, backoff: Backoff, tries: u32) {
        let seconds = match backoff {
            Backoff::Exponential => 5u64.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(300),
            Backoff::Short => u64::from(tries.min(5)),
        };
        // A stop ends the wait; the next attempt then ends at once by itself.
        let _ = timeout(Duration::from_secs(seconds), self.run.stop.pulled()).await;
    }

    /// The user's scripts and `after_script`.
    async fn scripts(&mut self) -> JobOutcome {
        let plan = self.run.plan;
        let mut outcome = JobOutcome::good();
        let script_end = plan.limits.script.map(|limit| (limit, Instant::now() + limit));
        let mut status = "success";
        for step in &plan.steps {
            let limit = script_end.map(|(limit, end)| (limit, end.saturating_duration_since(Instant::now())));
            let end = self.stage(step, "running", Obey::All, limit).await;
            status = match &end {
                Ok(StageEnd::Exited(exit)) if exit.ok() => continue,
                Ok(StageEnd::Stopped(StopReason::Canceled)) => {
                    self.say(&words::warning("script canceled externally (UI, API)"));
                    "canceled"
                }
                Ok(StageEnd::OverTime(_)) => "timedout",
                Ok(StageEnd::Exited(_)) => "failed",
                Ok(StageEnd::Stopped(_)) | Err(_) => return self.outcome_of(end),
            };
            outcome = self.outcome_of(end);
            break;
        }
        let Some(after) = &plan.after_script else { return outcome };
        let limit = plan.limits.after_script;
        match self.stage(after, status, Obey::AllButCancel, Some((limit, limit))).await {
            Ok(StageEnd::Exited(exit)) if exit.ok() => {}
            Ok(StageEnd::Stopped(reason)) => return JobOutcome::stopped(&reason, plan),
            end => {
                let after_outcome = self.outcome_of(end);
                if plan.after_script_ignore_errors || !outcome.success {
                    self.say(&words::warning(&format!(
                        "after_script failed, but job will continue unaffected: {}",
                        after_outcome.message
                    )));
                } else {
                    outcome = after_outcome;
                }
            }
        }
        outcome
    }

    /// Removes what the stages left; its failure is only told. It runs after a time-out as well: files with secrets
    /// must not stay behind.
    async fn cleanup(&mut self) {
        let plan = self.run.plan;
        let limit = Some((CLEANUP_BUDGET, CLEANUP_BUDGET));
        let end = self.stage(&plan.cleanup, "running", Obey::None, limit).await;
        if !matches!(&end, Ok(StageEnd::Exited(exit)) if exit.ok()) {
            let message = self.outcome_of(end).message;
            self.say(&words::warning(&format!("cleaning up after the job failed: {message}")));
        }
    }

    /// An open terminal holds the job, but not beyond the job's own time (`runner-config.md` §10). Whatever stops the
    /// job ends it.
    async fn wait_for_visitor(&mut self) {
        let Some(desk) = self.run.desk.filter(|desk| desk.occupied()) else { return };
        let Some(session) = self.session.as_mut().filter(|_| self.run.stop.reason().is_none()) else {
            return;
        };
        let limit = desk.hold().min(self.deadline.saturating_duration_since(Instant::now()));
        let shown = harrier_base::format_go_duration(Duration::from_secs(limit.as_secs()));
        // Not one of the counted messages: after a restart nobody is there and it is not said again.
        let line = words::info(&format!("A terminal is open: the job waits for its end, {shown} at most."));
        let said = RawLog::open(self.run.cx.raw_log)
            .and_then(|mut raw| raw.append(FrameKind::Stdout, 0, self.run.clock.now(), line.as_bytes()));
        if let Err(error) = said {
            tracing::warn!(%error, "a line of the job's log is lost");
        }
        if let Err(error) = session.linger(limit).await {
            tracing::warn!(%error, "the job's place does not stay for its visitor");
        }
        tokio::select! {
            () = desk.left() => {}
            () = sleep(limit) => tracing::info!("a terminal was open for too long and is closed"),
            _ = self.run.stop.pulled() => {}
        }
        desk.close();
    }

    /// Opens the session, or takes over the one of an earlier process.
    async fn open(&mut self, prepare_end: Option<(Duration, Instant)>) -> Result<(), JobOutcome> {
        let plan = self.run.plan;
        self.section_start(&StageName::PrepareExecutor);
        let mut tries = 0;
        let session = loop {
            tries += 1;
            let opening = self.open_once();
            let error = tokio::select! {
                biased;
                opened = opening => match opened {
                    Ok(session) => break session,
                    Err(error) => error,
                },
                reason = self.run.stop.pulled() => return Err(JobOutcome::stopped(&reason, plan)),
                () = sleep_until(self.deadline) => {
                    return Err(JobOutcome::stopped(&StopReason::TimedOut, plan));
                }
                limit = limit_reached(prepare_end) => {
                    return Err(JobOutcome::bad(FailureReason::JobExecutionTimeout, timed_out(limit)));
                }
            };
            if let Some(reason) = error.reason {
                return Err(JobOutcome::bad(reason, error.message));
            }
            self.say(&words::error(&format!("Preparation failed: {}", error.message)));
            if tries == OPEN_TRIES {
                return Err(JobOutcome::system(error.message));
            }
            self.say(&words::info("Will be retried in 3s ..."));
            sleep(OPEN_WAIT).await;
        };
        for note in session.notes() {
            self.say(&words::info(&note));
        }
        self.section_end(&StageName::PrepareExecutor);
        if let (Some(desk), Some(door)) = (self.run.desk, session.door()) {
            desk.open(door);
        }
        if self.progress.ticket.is_none() {
            let SessionTicket(ticket) = session.ticket();
            self.record(&Entry::Opened { ticket })?;
        }
        self.session = Some(session);
        Ok(())
    }

    async fn open_once(&self) -> Result<Box<dyn Session>, OpenError> {
        match &self.progress.ticket {
            Some(ticket) => self.run.executor.reopen(self.run.plan, ticket, &self.run.cx).await,
            None => self.run.executor.open(self.run.plan, &self.run.cx).await,
        }
    }

    async fn reopen_to_close(&mut self) {
        if self.progress.ticket.is_some() {
            // What can't be reopened has nothing left to close; the sweep looks after the rest.
            self.session = self.open_once().await.ok();
        }
    }

    fn record(&self, entry: &Entry) -> Result<(), JobOutcome> {
        lock(self.run.journal).append(entry).map_err(|error| JobOutcome::system(error.to_string()))
    }

    /// A stop after which nothing more of the job runs.
    fn hard_stop(&self) -> Option<StopReason> {
        if Instant::now() >= self.deadline {
            self.run.stop.pull(StopReason::TimedOut);
        }
        self.run.stop.reason().filter(|reason| *reason != StopReason::Canceled)
    }

    /// Runs one stage to its end, in its section. `limit` is its own limit: the whole, for the message, and what is
    /// left of it.
    async fn stage(
        &mut self,
        stage: &StagePlan,
        job_status: &str,
        obey: Obey,
        limit: Option<(Duration, Duration)>,
    ) -> Result<StageEnd, JobOutcome> {
        self.section_start(&stage.name);
        let end = self.stage_to_end(stage, job_status, obey, limit).await;
        self.run.log.boundary();
        self.section_end(&stage.name);
        match self.run.log.error() {
            // Output was lost: a job whose log is not whole has not gone well.
            Some(message) if obey != Obey::None => Err(JobOutcome::system(message)),
            _ => end,
        }
    }

    async fn stage_to_end(
        &mut self,
        stage: &StagePlan,
        job_status: &str,
        obey: Obey,
        limit: Option<(Duration, Duration)>,
    ) -> Result<StageEnd, JobOutcome> {
        let place = format!("{}-{}", self.place, stage.name.wire().replace(|c: char| !is_plain(c), "_"));
        self.place += 1;
        let known = self.progress.stage(&place);
        if let StageProgress::Ended(end) = known {
            return Ok(end);
        }
        if let Some(fault) = stage.fault() {
            return Err(JobOutcome::system(fault));
        }
        if obey != Obey::None
            && let Some(reason) = self.stop_for(obey)
        {
            return Ok(StageEnd::Stopped(reason));
        }
        let (key, mut running) = match known {
            StageProgress::Started(key) => match self.resume(stage, &key, job_status).await? {
                Resumed::Running(running) => (key, running),
                Resumed::Ended(exit) => return self.ended(&key, StageEnd::Exited(exit)),
                Resumed::NeverStarted => {
                    let key = self.progress.again(&place);
                    let running = self.start(stage, &key, job_status).await?;
                    (key, running)
                }
            },
            StageProgress::New(key) => {
                let running = self.start(stage, &key, job_status).await?;
                (key, running)
            }
            StageProgress::Ended(end) => return Ok(end),
        };
        let (exit, why) = self.wait(running.as_mut(), obey, limit).await?;
        let end = match why {
            // A script that ended well before the stop could reach it has ended well.
            Some(_) if exit.ok() => StageEnd::Exited(exit),
            Some(Why::Stop(reason)) => StageEnd::Stopped(reason),
            Some(Why::Limit(limit)) => StageEnd::OverTime(limit),
            None => StageEnd::Exited(exit),
        };
        self.ended(&key, end)
    }

    fn stop_for(&self, obey: Obey) -> Option<StopReason> {
        let hard = self.hard_stop();
        match obey {
            Obey::All => hard.or_else(|| self.run.stop.reason()),
            Obey::AllButCancel => hard,
            Obey::None => None,
        }
    }

    async fn start(
        &mut self,
        stage: &StagePlan,
        key: &str,
        job_status: &str,
    ) -> Result<Box<dyn Running>, JobOutcome> {
        self.record(&Entry::StageStarting { key: key.to_owned() })?;
        self.session()?
            .start(StageStart { key, stage, job_status })
            .await
            .map_err(|error| JobOutcome::bad(error.reason, error.message))
    }

    async fn resume(
        &mut self,
        stage: &StagePlan,
        key: &str,
        job_status: &str,
    ) -> Result<Resumed, JobOutcome> {
        self.session()?
            .resume(StageStart { key, stage, job_status })
            .await
            .map_err(|error| JobOutcome::bad(error.reason, error.message))
    }

    fn session(&mut self) -> Result<&mut Box<dyn Session>, JobOutcome> {
        self.session.as_mut().ok_or_else(|| JobOutcome::system("the session is not open"))
    }

    fn ended(&self, key: &str, end: StageEnd) -> Result<StageEnd, JobOutcome> {
        self.record(&Entry::StageEnded { key: key.to_owned(), end: serde_json::json!(end) })?;
        Ok(end)
    }

    /// Waits for a stage; a stop or a limit that comes meanwhile ends it, and is told.
    async fn wait(
        &self,
        running: &mut dyn Running,
        obey: Obey,
        limit: Option<(Duration, Duration)>,
    ) -> Result<(Exit, Option<Why>), JobOutcome> {
        let limits = &self.run.plan.limits;
        let own = Stop::new();
        let mut why = None;
        let limit_end = limit.map(|(whole, left)| (whole, Instant::now() + left));
        let watch = async {
            let ignored: &[StopReason] = match obey {
                Obey::All => &[],
                Obey::AllButCancel | Obey::None => &[StopReason::Canceled],
            };
            tokio::select! {
                reason = self.run.stop.pulled_other_than(ignored), if obey != Obey::None => Why::Stop(reason),
                () = sleep_until(self.deadline), if obey != Obey::None => {
                    self.run.stop.pull(StopReason::TimedOut);
                    Why::Stop(self.run.stop.reason().unwrap_or(StopReason::TimedOut))
                }
                limit = limit_reached(limit_end) => Why::Limit(limit),
            }
        };
        tokio::pin!(watch);
        let ladder = Ladder { graceful: limits.graceful_kill, force: limits.force_kill };
        let exit = {
            let waiting = running.wait(&own, ladder);
            tokio::pin!(waiting);
            tokio::select! {
                biased;
                exit = &mut waiting => Some(exit),
                first = &mut watch => {
                    why = Some(first);
                    None
                }
            }
        };
        let exit = match exit {
            Some(exit) => exit,
            None => {
                let reason = match &why {
                    Some(Why::Stop(reason)) => reason.clone(),
                    Some(Why::Limit(_)) | None => StopReason::TimedOut,
                };
                let graceful = match reason {
                    StopReason::Interrupted(_) => limits.graceful_kill.min(INTERRUPTED_GRACE),
                    StopReason::Canceled | StopReason::Aborted | StopReason::TimedOut => limits.graceful_kill,
                };
                own.pull(reason);
                // A harder stop that comes while a cancel takes its time is handed on.
                let harder = self.run.stop.pulled_other_than(&[StopReason::Canceled]);
                let waiting = running.wait(&own, Ladder { graceful, force: limits.force_kill });
                tokio::pin!(waiting);
                tokio::select! {
                    biased;
                    exit = &mut waiting => exit,
                    reason = harder, if obey != Obey::None => {
                        own.pull(reason);
                        waiting.await
                    }
                }
            }
        };
        match exit {
            Ok(exit) => Ok((exit, why)),
            Err(error) => Err(JobOutcome::bad(error.reason, error.message)),
        }
    }

    fn outcome_of(&self, end: Result<StageEnd, JobOutcome>) -> JobOutcome {
        match end {
            Err(outcome) => outcome,
            Ok(StageEnd::Exited(exit)) if exit.ok() => JobOutcome::good(),
            Ok(StageEnd::Exited(exit)) => JobOutcome::script(&exit),
            Ok(StageEnd::Stopped(reason)) => JobOutcome::stopped(&reason, self.run.plan),
            Ok(StageEnd::OverTime(limit)) => {
                JobOutcome::bad(FailureReason::JobExecutionTimeout, timed_out(limit))
            }
        }
    }

    /// Says the last words and writes the verdict down.
    fn conclude(&self, mut outcome: JobOutcome) -> JobOutcome {
        if outcome.success
            && let Some(message) = self.run.log.error()
        {
            outcome = JobOutcome::system(message);
        }
        let system = outcome.reason.is_some_and(FailureReason::is_system);
        if outcome.success {
            self.say(&words::succeeded());
        } else {
            self.say(&words::failed(&outcome.message, system));
        }
        match self.record(&Entry::Verdict { outcome: serde_json::json!(outcome) }) {
            Ok(()) => outcome,
            Err(unwritten) if outcome.success => unwritten,
            Err(_) => outcome,
        }
    }
}

/// Why the scripts are not run.
enum Before {
    /// The job ends here.
    Ends(JobOutcome),
    /// Caches and artifacts for failed jobs are still saved.
    Failed(JobOutcome),
}

enum Why {
    Stop(StopReason),
    Limit(Duration),
}

async fn limit_reached(limit: Option<(Duration, Instant)>) -> Duration {
    match limit {
        Some((whole, end)) => {
            sleep_until(end).await;
            whole
        }
        None => std::future::pending().await,
    }
}

fn job_status(outcome: &JobOutcome) -> &'static str {
    if outcome.success { "success" } else { "failed" }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}
