//! The session: the place of one job, and the start of its stages.

use crate::in_process::{self, JOB_STREAM};
use crate::running::{InProcess, Supervision};
use crate::{Ticket, command};
use async_trait::async_trait;
use harrier_base::FailureReason;
use harrier_engine::{
    CloseError, Door, OpenCx, Resumed, Running, Session, SessionTicket, StageStart, StartError, VisitError,
    Visitor,
};
use harrier_plan::{JobPlan, StagePlan, Target};
use harrier_process::{OnTerminal, Reattach, Spec, Swept, Terminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The paths of a job.
#[derive(Clone)]
pub(crate) struct Place {
    pub job_dir: PathBuf,
    pub raw_log: PathBuf,
    pub own_binary: PathBuf,
    pub cwd: PathBuf,
    pub die_with_parent: bool,
    pub mark: String,
}

impl Place {
    /// Ends what the job left running.
    pub async fn sweep(&self) -> Swept {
        let (dir, mark) = (self.job_dir.clone(), self.mark.clone());
        // A panic in there is a fault of ours; what is left is then found by the next sweep.
        tokio::task::spawn_blocking(move || harrier_process::sweep(&dir, &mark)).await.unwrap_or_default()
    }
}

/// The session of one job.
pub(crate) struct ShellSession {
    job: Arc<JobPlan>,
    place: Place,
    user: Option<String>,
}

impl ShellSession {
    pub fn new(job: &JobPlan, cx: &OpenCx<'_>, cwd: PathBuf, ticket: Ticket) -> std::io::Result<Self> {
        Ok(Self {
            job: Arc::new(job.clone()),
            place: Place {
                job_dir: std::path::absolute(cx.job_dir)?,
                raw_log: std::path::absolute(cx.raw_log)?,
                own_binary: cx.own_binary.to_owned(),
                cwd,
                die_with_parent: cx.die_with_parent,
                mark: ticket.mark,
            },
            user: ticket.user,
        })
    }

    /// Files of the job must be the job's user's, so another user's stages always have a process.
    fn in_process(&self, stage: &StagePlan) -> bool {
        self.user.is_none() && in_process::fits(stage)
    }

    fn spec(&self, start: &StageStart<'_>) -> Result<Spec, StartError> {
        let job = &self.job;
        let user = self.user.as_deref();
        let (line, stdin, env) = match start.stage.target {
            Target::Build => (
                command::login_shell(job.shell, user),
                job.shell_text(start.stage, start.job_status).into_bytes(),
                Vec::new(),
            ),
            Target::Helper => (
                command::helper(&self.place.own_binary, job.shell, user),
                serde_json::to_vec(&job.helper_request(start.stage)).map_err(|error| {
                    failed(format!("cannot write the request of `{}` as JSON: {error}", start.key))
                })?,
                command::job_environment(job),
            ),
        };
        Ok(Spec {
            dir: self.place.job_dir.clone(),
            key: start.key.to_owned(),
            program: line.program,
            args: line.args,
            env,
            unset: command::hidden(),
            clear_env: false,
            mark: self.place.mark.clone(),
            cwd: self.place.cwd.clone(),
            stdin,
            raw_log: self.place.raw_log.clone(),
            stream: JOB_STREAM,
            die_with_parent: self.place.die_with_parent,
            supervisor: self.place.own_binary.clone(),
        })
    }
}

#[async_trait]
impl Session for ShellSession {
    fn notes(&self) -> Vec<String> {
        vec![format!("Using Shell ({}) executor...", self.job.shell.program())]
    }

    fn ticket(&self) -> SessionTicket {
        let ticket = Ticket { mark: self.place.mark.clone(), user: self.user.clone() };
        SessionTicket(serde_json::json!(ticket))
    }

    async fn start(&mut self, start: StageStart<'_>) -> Result<Box<dyn Running>, StartError> {
        if self.in_process(start.stage) {
            let request = self.job.helper_request(start.stage);
            return Ok(Box::new(InProcess::start(&self.place, start.key, request)));
        }
        let program =
            harrier_process::start(self.spec(&start)?).await.map_err(|error| failed(error.to_string()))?;
        Ok(Box::new(Supervision::new(program, self.place.clone())))
    }

    async fn resume(&mut self, start: StageStart<'_>) -> Result<Resumed, StartError> {
        if self.in_process(start.stage) {
            let done = in_process::resume(&self.place, start.key).map_err(|e| failed(e.to_string()))?;
            return Ok(done.map_or(Resumed::NeverStarted, Resumed::Ended));
        }
        let found = harrier_process::reattach(&self.place.job_dir, start.key)
            .map_err(|error| failed(error.to_string()))?;
        match (found, start.stage.target) {
            (Reattach::NeverStarted, _) => Ok(Resumed::NeverStarted),
            (Reattach::Running(program), _) => {
                Ok(Resumed::Running(Box::new(Supervision::new(program, self.place.clone()))))
            }
            (Reattach::Ended(exit), _) => Supervision::exit(exit)
                .map(Resumed::Ended)
                .map_err(|error| StartError { message: error.message, reason: error.reason }),
            (Reattach::Lost, Target::Helper) => {
                // It may be run again, but not beside its former self.
                self.place.sweep().await;
                Ok(Resumed::NeverStarted)
            }
            (Reattach::Lost, Target::Build) => {
                self.place.sweep().await;
                Err(failed(format!(
                    "the supervisor of `{}` is gone and left no result; the script may have run and is not run again",
                    start.key
                )))
            }
        }
    }

    fn door(&self) -> Option<Arc<dyn Door>> {
        Some(Arc::new(Entrance {
            line: command::login_shell(self.job.shell, self.user.as_deref()),
            project: self.job.dirs.project.clone(),
            cwd: self.place.cwd.clone(),
        }))
    }

    /// The files stay by themselves; of the processes nothing is of use.
    async fn keep(self: Box<Self>, _time: Duration, grace: Duration) -> Result<(), CloseError> {
        self.close(grace).await
    }

    async fn close(self: Box<Self>, grace: Duration) -> Result<(), CloseError> {
        let swept = tokio::time::timeout(grace, self.place.sweep()).await;
        match swept {
            Ok(swept) if swept.left.is_empty() => Ok(()),
            Ok(swept) => Err(CloseError {
                message: "processes of the job cannot be killed".into(),
                left: swept.left.iter().map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect(),
            }),
            Err(_) => Err(CloseError {
                message: "looking for processes of the job takes too long".into(),
                left: vec![self.place.job_dir.clone()],
            }),
        }
    }
}

/// A login shell on the machine: in the job's directory, but not of the job and without its variables (`executors.md` §9).
struct Entrance {
    line: command::CommandLine,
    project: PathBuf,
    cwd: PathBuf,
}

#[async_trait]
impl Door for Entrance {
    async fn visit(&self, mut visitor: Visitor) -> Result<(), VisitError> {
        let cwd = if self.project.is_dir() { &self.project } else { &self.cwd };
        let what = OnTerminal {
            program: self.line.program.clone(),
            args: self.line.args.clone(),
            env: vec![("TERM".to_owned(), "xterm-256color".to_owned())],
            unset: command::hidden(),
            cwd: cwd.clone(),
            size: visitor.size,
        };
        let program = what.program.display();
        let mut terminal = Terminal::start(&what).map_err(|error| VisitError {
            message: format!("{program} cannot be started on a terminal: {error}"),
        })?;
        terminal
            .serve(&mut visitor.input, &mut visitor.output)
            .await
            .map_err(|error| VisitError { message: format!("the terminal is lost: {error}") })
    }
}

fn failed(message: String) -> StartError {
    StartError { message, reason: FailureReason::RunnerSystemFailure }
}
