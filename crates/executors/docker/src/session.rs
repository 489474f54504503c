//! The session of one job: its stages in the helper and in the build container, taking them up after the runner's death,
//! and the end.

use crate::attached::{Attached, JOB_STREAM, Sink, attach_and_start, copy, ended, split};
use crate::error::DockerError;
use crate::mark::MarkFinder;
use crate::open::{Ready, Recipe, Recipes, make_again};
use crate::place::Place;
use crate::pull::is_root;
use crate::relog::{Kept, Skip, kept};
use crate::shell_detect::{FirstWords, all_or_nothing};
use crate::terminal::Entrance;
use crate::warm::{Fit, Warm};
use crate::{services, stop};
use async_trait::async_trait;
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;
use harrier_engine::{
    CloseError, Door, Exit, Ladder, Resumed, Running, Session, SessionTicket, StageStart, StartError, Stop,
    StopReason, WaitError,
};
use harrier_logpipe::FrameKind;
use harrier_plan::{HelperCall, HelperWork, Target};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// The helper container as far as we hold it.
pub(crate) enum HelperHand {
    /// It waits for a call.
    Ready(Attached),
    /// It does not run, or not for us.
    Away,
}

/// What is noted before a script is given to the build container; with it a later process knows where it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Given {
    /// Length of the raw log before the stage's output.
    at: u64,
    /// What the container had said before this stage.
    before_stdout: u64,
    before_stderr: u64,
}

/// The session.
pub(crate) struct DockerSession {
    place: Arc<Place>,
    helper: Arc<Mutex<HelperHand>>,
    /// Starts, or waits for its first script.
    build: Option<JoinHandle<Result<Attached, DockerError>>>,
    /// What the build container has said in all its runs so far.
    said: Arc<Mutex<Kept>>,
    /// `None` after the runner's death.
    recipes: Option<Arc<Recipes>>,
    /// The image's own user is root.
    root: bool,
    /// What the helper can be kept for.
    stay: Option<(Fit, Arc<Warm>)>,
    service_logs: Vec<JoinHandle<()>>,
}

impl DockerSession {
    pub fn opened(place: Arc<Place>, ready: Ready, stay: Option<(Fit, Arc<Warm>)>) -> Self {
        Self {
            place,
            helper: Arc::new(Mutex::new(ready.helper)),
            build: Some(ready.build),
            said: Arc::default(),
            recipes: Some(Arc::new(ready.recipes)),
            root: ready.root,
            stay,
            service_logs: ready.service_logs,
        }
    }

    /// Ends when nothing is being started any more.
    pub async fn started(mut self) {
        if let Some(build) = self.build.take() {
            let _ = build.await;
        }
    }

    pub fn reopened(place: Arc<Place>) -> Self {
        let service_logs = if place.containers.service_logs {
            (0..place.ticket.services.len()).map(|at| services::follow(&place, at, true)).collect()
        } else {
            Vec::new()
        };
        Self {
            place,
            helper: Arc::new(Mutex::new(HelperHand::Away)),
            build: None,
            said: Arc::default(),
            recipes: None,
            // Files have been given away before the script began.
            root: true,
            stay: None,
            service_logs,
        }
    }

    async fn start_helper(&self, start: &StageStart<'_>) -> Result<Box<dyn Running>, StartError> {
        let (place, helper) = (Arc::clone(&self.place), Arc::clone(&self.helper));
        let work = HelperWork::Stage(Box::new(self.place.job.helper_request(start.stage)));
        let (recipes, name) = (self.recipes.clone(), start.stage.name.wire());
        let task = tokio::spawn(async move {
            let mut hand = helper.lock().await;
            let recipe = recipes.as_ref().and_then(|recipes| recipes.helper.as_ref());
            let mut attempt = 1;
            loop {
                let mut sink = Sink::new(&place, JOB_STREAM);
                let done =
                    run_call(&place, &mut hand, work.clone(), |kind, bytes| sink.take(kind, bytes)).await;
                sink.close()?;
                match vanished(&place, Target::Helper, done).await {
                    Err(gone @ DockerError::Gone { .. }) => {
                        once_more(&place, &mut attempt, gone, recipe, &name).await?;
                    }
                    done => return done,
                }
            }
        });
        Ok(Box::new(Stage { place: Arc::clone(&self.place), target: Target::Helper, task, stopping: None }))
    }

    /// The build container, waiting for a script.
    async fn build_hand(&mut self) -> Result<Attached, DockerError> {
        if let Some(starting) = self.build.take() {
            return starting.await.unwrap_or_else(|error| Err(DockerError::Lost(error.to_string())));
        }
        build_again(&self.place, &self.helper).await
    }

    /// The files of the project become the user's, where they are not everybody's (`executors.md` §10.10).
    async fn give_away(&mut self) -> Result<(), DockerError> {
        let place = &self.place;
        let root = match &place.containers.image.user {
            Some(user) => is_root(user),
            None => self.root,
        };
        if root || !place.containers.keep_umask {
            return Ok(());
        }
        self.root = true;
        let mut ids = [0; 2];
        for (id, flag) in ids.iter_mut().zip(["-u", "-g"]) {
            let said = stop::said_by(place, &place.ticket.build, &["id", flag], None).await?;
            *id = said.trim().parse().map_err(|_| {
                DockerError::Lost(format!(
                    "the user of the image is not known: `id {flag}` in it says {said:?}; unset \
                     FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR, or use an image that has `id`"
                ))
            })?;
        }
        let dirs = &place.job.dirs;
        let paths = [&dirs.project, &dirs.tmp].map(|path| path.to_string_lossy().into_owned()).to_vec();
        let mut hand = self.helper.lock().await;
        let (code, said) =
            call(place, &mut hand, HelperWork::GiveTo { paths, uid: ids[0], gid: ids[1] }).await?;
        if code != 0 {
            return Err(DockerError::Lost(format!(
                "the project's files cannot be given to the user of the image: {}",
                said.trim()
            )));
        }
        Ok(())
    }

    async fn start_build(&mut self, start: &StageStart<'_>) -> Result<Box<dyn Running>, DockerError> {
        let mut attempt = 1;
        let wire = start.stage.name.wire();
        let recipes = self.recipes.clone();
        let attached = loop {
            match self.build_hand().await {
                Ok(attached) => break attached,
                Err(gone) => {
                    let gone = is_gone(&self.place, gone).await;
                    let recipe = recipes.as_ref().map(|recipes| &recipes.build);
                    once_more(&self.place, &mut attempt, gone, recipe, &wire).await?;
                    *self.said.lock().await = Kept::default();
                }
            }
        };
        self.give_away().await?;
        let place = &self.place;
        let script = all_or_nothing(&place.any_shell.shell_text(start.stage, start.job_status));
        let given = given(place, &self.said).await?;
        keep(place, &given_name(start.key), &given)?;
        let (task_place, key, said) = (Arc::clone(place), start.key.to_owned(), Arc::clone(&self.said));
        let helper = Arc::clone(&self.helper);
        let task = tokio::spawn(async move {
            let place = task_place;
            let (mut attached, mut at) = (attached, given.at);
            loop {
                let done = give(&place, attached, &script, &key, at, &said).await;
                let gone = match vanished(&place, Target::Build, done).await {
                    Err(gone @ DockerError::Gone { .. }) => gone,
                    done => return done,
                };
                let recipe = recipes.as_ref().map(|recipes| &recipes.build);
                once_more(&place, &mut attempt, gone, recipe, &wire).await?;
                *said.lock().await = Kept::default();
                attached = build_again(&place, &helper).await?;
                let again = self::given(&place, &said).await?;
                at = again.at;
                keep(&place, &given_name(&key), &again)?;
            }
        });
        Ok(Box::new(Stage { place: Arc::clone(place), target: Target::Build, task, stopping: None }))
    }

    async fn resume_build(&mut self, start: &StageStart<'_>) -> Result<Resumed, DockerError> {
        let place = &self.place;
        let name = &place.ticket.build;
        let Some(given) = kept_note::<Given>(place, &given_name(start.key))? else {
            // The note is written before the first byte of the script.
            return Ok(Resumed::NeverStarted);
        };
        let lost = |why: &str| {
            DockerError::Lost(format!(
                "the runner was restarted and {why}; the script of `{}` may have run and is not run again: retry the job",
                start.key
            ))
        };
        let Some(found) = place.state(name).await? else { return Err(lost("the build container is gone")) };
        let status = found.state.and_then(|state| state.status);
        if status == Some(bollard::models::ContainerStateStatusEnum::CREATED) {
            return Ok(Resumed::NeverStarted);
        }
        if kept_note::<()>(place, &delivered_name(start.key))?.is_none() {
            return Err(lost("it is not known whether the script had reached its container"));
        }
        let had = kept(&place.dir.raw_log(), given.at, JOB_STREAM)
            .map_err(|error| DockerError::Lost(format!("the job's log cannot be read: {error}")))?;
        let skip =
            Kept { stdout: given.before_stdout + had.stdout, stderr: given.before_stderr + had.stderr };
        let (task_place, said) = (Arc::clone(place), Arc::clone(&self.said));
        let task = tokio::spawn(async move {
            let place = task_place;
            let mut sink = Sink::new(&place, JOB_STREAM);
            let mut skip = Skip(skip);
            let logs = |follow| {
                let options = LogsOptions {
                    follow,
                    stdout: true,
                    stderr: true,
                    tail: "all".into(),
                    ..LogsOptions::default()
                };
                place.engine.docker.logs(&place.ticket.build, Some(options)).boxed()
            };
            let (engine, ticket) = (place.engine.clone(), place.ticket.clone());
            let mut end =
                tokio::spawn(async move { ended(&engine, &ticket.build, Some(&ticket.helper)).await });
            let mut seen = Kept::default();
            let code = copy(&mut logs(true), &mut end, |kind, bytes| {
                *seen.of(kind) += bytes.len() as u64;
                sink.take(kind, skip.rest(kind, bytes));
            })
            .await;
            // Followed logs may end before a last line without a line feed is in them; read once more they have it.
            let (mut whole, mut read) = (logs(false), Skip(seen));
            while let Some(Ok(part)) = whole.next().await {
                let (kind, bytes) = split(part);
                sink.take(kind, skip.rest(kind, read.rest(kind, &bytes)));
            }
            *said.lock().await = Kept { stdout: given.before_stdout, stderr: given.before_stderr };
            remember(&place, given.at, &said).await?;
            let code = code?;
            sink.close()?;
            Ok(code)
        });
        Ok(Resumed::Running(Box::new(Stage {
            place: Arc::clone(place),
            target: Target::Build,
            task,
            stopping: None,
        })))
    }
}

/// Gives the script to the build container and copies what it says; its exit code.
async fn give(
    place: &Place,
    mut attached: Attached,
    script: &str,
    key: &str,
    at: u64,
    said: &Mutex<Kept>,
) -> Result<i64, DockerError> {
    let mut sink = Sink::new(place, JOB_STREAM);
    // The whole script is in the container's hands, or it runs nothing of it.
    attached.tell(script.as_bytes(), true).await;
    let Attached { mut output, mut input, mut end } = attached;
    keep(place, &delivered_name(key), &())?;
    let mut first = FirstWords::default();
    let code = copy(&mut output, &mut end, |kind, bytes| {
        first.hear(bytes);
        sink.take(kind, bytes);
    })
    .await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut input).await;
    remember(place, at, said).await?;
    let code = code?;
    sink.close()?;
    if first.tell_of_no_shell(code) {
        return Err(DockerError::Settings(format!(
            "the image {} has no `sh` on its PATH, so no script can run in it: take an image with a shell",
            place.containers.image.name
        )));
    }
    Ok(code)
}

async fn given(place: &Place, said: &Mutex<Kept>) -> Result<Given, DockerError> {
    let said = *said.lock().await;
    Ok(Given { at: raw_length(place)?, before_stdout: said.stdout, before_stderr: said.stderr })
}

/// Whether a container that was killed has vanished (`executors.md` §7.2): only a job that may begin a stage again
/// wants to know.
async fn vanished(place: &Place, target: Target, done: Result<i64, DockerError>) -> Result<i64, DockerError> {
    if place.containers.section_attempts < 2 {
        return done;
    }
    let name = match &done {
        Ok(KILLED) if target == Target::Build => place.ticket.build.clone(),
        Err(DockerError::HelperEnded { name, .. }) => name.clone(),
        _ => return done,
    };
    // The engine says that it was killed a moment before it is gone.
    for _ in 0..VANISH_TRIES {
        if place.state(&name).await?.is_none() {
            return Err(DockerError::Gone { name });
        }
        tokio::time::sleep(VANISH_PAUSE).await;
    }
    done
}

/// A container that cannot be started because it is not there.
async fn is_gone(place: &Place, error: DockerError) -> DockerError {
    let name = &place.ticket.build;
    match error {
        DockerError::Engine { status: Some(404), .. } if matches!(place.state(name).await, Ok(None)) => {
            DockerError::Gone { name: name.clone() }
        }
        other => other,
    }
}

/// Makes a container that has vanished once more, if the job may try again.
async fn once_more(
    place: &Place,
    attempt: &mut u32,
    gone: DockerError,
    recipe: Option<&Recipe>,
    stage: &str,
) -> Result<(), DockerError> {
    let (DockerError::Gone { name }, Some(recipe)) = (&gone, recipe) else { return Err(gone) };
    let attempts = place.containers.section_attempts;
    if *attempt >= attempts {
        if attempts > 1 {
            place.words.error("Execution attempts exceeded");
        }
        return Err(gone);
    }
    *attempt += 1;
    place.words.error(&format!("Container {name:?} not found or removed. Will retry..."));
    place.words.info(&format!("Retrying {stage}"));
    make_again(place, name, recipe).await
}

/// Starts the build container once more. The container whose network it joins must run.
pub(crate) async fn build_again(place: &Place, helper: &Mutex<HelperHand>) -> Result<Attached, DockerError> {
    if place.ticket.joined {
        let mut hand = helper.lock().await;
        let runs = match &*hand {
            HelperHand::Ready(attached) => !attached.end.is_finished(),
            HelperHand::Away => place
                .state(&place.ticket.helper)
                .await?
                .and_then(|found| found.state.and_then(|state| state.running))
                .unwrap_or(false),
        };
        if !runs {
            *hand = HelperHand::Ready(again(place, &place.ticket.helper).await?);
        }
    }
    again(place, &place.ticket.build).await
}

/// Adds what the stage has said to what the container had said before.
async fn remember(place: &Place, at: u64, said: &Mutex<Kept>) -> Result<(), DockerError> {
    let more = kept(&place.dir.raw_log(), at, JOB_STREAM)
        .map_err(|error| DockerError::Lost(format!("the job's log cannot be read: {error}")))?;
    let mut said = said.lock().await;
    said.stdout += more.stdout;
    said.stderr += more.stderr;
    Ok(())
}

fn given_name(key: &str) -> String {
    format!("{key}.given")
}

fn delivered_name(key: &str) -> String {
    format!("{key}.delivered")
}

fn keep<T: Serialize>(place: &Place, name: &str, what: &T) -> Result<(), DockerError> {
    let json = serde_json::to_vec(what).map_err(|error| {
        DockerError::Lost(format!("a note on the job cannot be written as JSON: {error}"))
    })?;
    Ok(place.dir.keep(name, &json)?)
}

fn kept_note<T: for<'de> Deserialize<'de>>(place: &Place, name: &str) -> Result<Option<T>, DockerError> {
    let Some(json) = place.dir.kept(name)? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|error| {
        DockerError::Lost(format!("the note {name} in {} is damaged: {error}", place.dir.path().display()))
    })
}

fn raw_length(place: &Place) -> Result<u64, DockerError> {
    let path = place.dir.raw_log();
    std::fs::metadata(&path)
        .map(|found| found.len())
        .map_err(|error| DockerError::Lost(format!("{} cannot be looked at: {error}", path.display())))
}

/// Starts a container of ours once more. If it still runs it is in nobody's hands and ends first.
async fn again(place: &Place, name: &str) -> Result<Attached, DockerError> {
    let found = place.state(name).await?;
    let Some(found) = found else { return Err(DockerError::Gone { name: name.to_owned() }) };
    if found.state.and_then(|state| state.running).unwrap_or(false) {
        place.kill(name).await?;
        ended(&place.engine, name, None).await?;
    }
    attach_and_start(place, name).await
}

/// A call whose output is not the job's.
pub(crate) async fn call(
    place: &Place,
    hand: &mut HelperHand,
    work: HelperWork,
) -> Result<(i64, String), DockerError> {
    let mut said = Vec::new();
    let code = run_call(place, hand, work, |_, bytes| said.extend_from_slice(bytes)).await?;
    Ok((code, String::from_utf8_lossy(&said).into_owned()))
}

/// Has the helper do something; its exit code.
async fn run_call(
    place: &Place,
    hand: &mut HelperHand,
    work: HelperWork,
    take: impl FnMut(FrameKind, &[u8]),
) -> Result<i64, DockerError> {
    let mut attached = match std::mem::replace(hand, HelperHand::Away) {
        HelperHand::Ready(attached) if !attached.end.is_finished() => attached,
        HelperHand::Ready(_) | HelperHand::Away => again(place, &place.ticket.helper).await?,
    };
    match converse(&mut attached, work, take).await? {
        Some(code) => {
            *hand = HelperHand::Ready(attached);
            Ok(code)
        }
        None => {
            let code = (&mut attached.end)
                .await
                .unwrap_or_else(|error| Err(DockerError::Lost(error.to_string())))?;
            Err(DockerError::HelperEnded { name: place.ticket.helper.clone(), code })
        }
    }
}

/// Says one call to a helper and hears its answer: the exit code; `None` if it ended before.
pub(crate) async fn converse(
    attached: &mut Attached,
    work: HelperWork,
    mut take: impl FnMut(FrameKind, &[u8]),
) -> Result<Option<i64>, DockerError> {
    let mark = mark()?;
    let mut line = serde_json::to_vec(&HelperCall { mark: mark.clone(), work }).map_err(|error| {
        DockerError::Lost(format!("a call of the helper cannot be written as JSON: {error}"))
    })?;
    line.push(b'\n');
    attached.tell(&line, false).await;
    let (mut out, mut err) = (MarkFinder::new(&mark), MarkFinder::new(&mark));
    loop {
        if let (Some(tail), Some(_)) = (out.end(), err.end()) {
            let code = std::str::from_utf8(tail).ok().and_then(|text| text.strip_prefix(':')?.parse().ok());
            return code
                .map(Some)
                .ok_or_else(|| DockerError::Lost("the helper's answer makes no sense".to_owned()));
        }
        match attached.output.next().await {
            Some(Ok(part)) => {
                let (kind, bytes) = split(part);
                let finder = if kind == FrameKind::Stderr { &mut err } else { &mut out };
                take(kind, &finder.feed(&bytes));
            }
            Some(Err(_)) | None => {
                take(FrameKind::Stdout, &out.rest());
                take(FrameKind::Stderr, &err.rest());
                return Ok(None);
            }
        }
    }
}

/// Nobody else can know it.
fn mark() -> Result<String, DockerError> {
    let mut mark = String::new();
    for _ in 0..4 {
        mark.push_str(&random_word()?);
    }
    Ok(mark)
}

/// Eight hex digits.
pub(crate) fn random_word() -> Result<String, DockerError> {
    harrier_process::random_word()
        .map_err(|error| DockerError::Lost(format!("cannot get a random number from the system: {error}")))
}

/// A stage that runs in one of the containers.
struct Stage {
    place: Arc<Place>,
    target: Target,
    task: JoinHandle<Result<i64, DockerError>>,
    stopping: Option<JoinHandle<()>>,
}

impl Stage {
    fn end(
        ended: Result<Result<i64, DockerError>, tokio::task::JoinError>,
        asked: bool,
    ) -> Result<Exit, WaitError> {
        let code = match ended.unwrap_or_else(|error| Err(DockerError::Lost(error.to_string()))) {
            // We have killed it ourselves.
            Err(DockerError::HelperEnded { code, .. }) if asked => code,
            other => other?,
        };
        let code = i32::try_from(code).unwrap_or(-1);
        Ok(Exit { code, text: format!("exit code {code}") })
    }

    /// Asks the stage to stop; once.
    fn ask(&mut self, reason: &StopReason, ladder: Ladder) {
        if self.stopping.is_some() {
            return;
        }
        let (place, target) = (Arc::clone(&self.place), self.target);
        let gently = *reason != StopReason::Aborted;
        self.stopping = Some(tokio::spawn(async move {
            match target {
                Target::Build if gently => stop::stop(&place, ladder.graceful).await,
                Target::Build => stop::kill(&place).await,
                // Nothing of the user's is in there; what it left half done, the next stage mends.
                Target::Helper => {
                    if let Err(error) = place.kill(&place.ticket.helper).await {
                        tracing::warn!(%error, "the helper container cannot be killed");
                    }
                }
            }
        }));
    }
}

/// Exit code after SIGKILL.
const KILLED: i64 = 137;
/// How long a container may be killed and not gone yet.
const VANISH_TRIES: u32 = 20;
const VANISH_PAUSE: Duration = Duration::from_millis(50);
/// How long the gentle part of a stop may take at most, whatever the ladder says: its own steps are bounded.
const STOP_LIMIT: Duration = Duration::from_secs(30);

#[async_trait]
impl Running for Stage {
    async fn wait(&mut self, stop: &Stop, ladder: Ladder) -> Result<Exit, WaitError> {
        let reason = tokio::select! {
            biased;
            ended = &mut self.task => return Self::end(ended, self.stopping.is_some()),
            reason = stop.pulled() => reason,
        };
        self.ask(&reason, ladder);
        let harder = stop.pulled_other_than(&[StopReason::Canceled]);
        let gentle = STOP_LIMIT.min(ladder.graceful);
        tokio::select! {
            biased;
            ended = &mut self.task => return Self::end(ended, true),
            _ = harder, if reason == StopReason::Canceled => {}
            () = tokio::time::sleep(gentle) => {}
        }
        let name = match self.target {
            Target::Build => &self.place.ticket.build,
            Target::Helper => &self.place.ticket.helper,
        };
        self.place.kill(name).await?;
        match tokio::time::timeout(ladder.force, &mut self.task).await {
            Ok(ended) => Self::end(ended, true),
            Err(_) => Err(DockerError::Lost(format!(
                "the container {name} does not end though it was killed, likely process is dormant"
            ))
            .into()),
        }
    }
}

#[async_trait]
impl Session for DockerSession {
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn ticket(&self) -> SessionTicket {
        SessionTicket(serde_json::json!(self.place.ticket))
    }

    async fn start(&mut self, start: StageStart<'_>) -> Result<Box<dyn Running>, StartError> {
        match start.stage.target {
            Target::Helper => self.start_helper(&start).await,
            Target::Build => Ok(self.start_build(&start).await?),
        }
    }

    async fn resume(&mut self, start: StageStart<'_>) -> Result<Resumed, StartError> {
        match start.stage.target {
            // It may run again; what is left of its former self is killed before.
            Target::Helper => Ok(Resumed::NeverStarted),
            Target::Build => Ok(self.resume_build(&start).await?),
        }
    }

    fn door(&self) -> Option<Arc<dyn Door>> {
        Some(Arc::new(Entrance { place: Arc::clone(&self.place) }))
    }

    async fn linger(&mut self, time: Duration) -> Result<(), CloseError> {
        // One that was never used is still awake.
        if self.build.is_some() {
            return Ok(());
        }
        let limit = crate::visit::stay_awake(&self.place, &self.helper, time);
        limit.await.map_err(|error| CloseError { message: error.to_string(), left: Vec::new() })
    }

    async fn keep(mut self: Box<Self>, time: Duration, grace: Duration) -> Result<(), CloseError> {
        for task in self.service_logs.drain(..) {
            task.abort();
        }
        if let Some(build) = self.build.take() {
            let _ = build.await;
        }
        match tokio::time::timeout(grace, crate::visit::keep(&self.place, &self.helper, time)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.close(grace).await?;
                Err(CloseError { message: error.to_string(), left: Vec::new() })
            }
            Err(_) => {
                self.close(grace).await?;
                Err(CloseError {
                    message: "the engine takes too long to start the container once more".to_owned(),
                    left: Vec::new(),
                })
            }
        }
    }

    async fn close(mut self: Box<Self>, grace: Duration) -> Result<(), CloseError> {
        for task in self.service_logs.drain(..) {
            task.abort();
        }
        let giving_back = async {
            // What is being started must not be removed at the same time.
            if let Some(build) = self.build.take() {
                let _ = build.await;
            }
            let Some((fit, warm)) = self.stay.take() else { return self.place.clear().await };
            let mut left = self.place.clear_but(Some(&self.place.ticket.helper)).await;
            let hand = std::mem::replace(&mut *self.helper.lock().await, HelperHand::Away);
            if !left.is_empty() || !warm.keep(&self.place, hand, fit).await {
                left.extend(self.place.clear().await);
            }
            left
        };
        match tokio::time::timeout(grace, giving_back).await {
            Ok(left) if left.is_empty() => Ok(()),
            Ok(left) => Err(CloseError {
                message: left.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>().join("; "),
                left: left.into_iter().map(|(name, _)| PathBuf::from(name)).collect(),
            }),
            Err(_) => Err(CloseError {
                message: format!(
                    "the engine at {} takes too long to remove the job's containers; they are removed by the next sweep",
                    self.place.engine.address
                ),
                left: vec![PathBuf::from(&self.place.ticket.build), PathBuf::from(&self.place.ticket.helper)],
            }),
        }
    }
}
