//! The shell executor (`executors.md` §9): jobs run as children of the runner's machine, in the runner's own environment.
//!
//! Called by the binary's wiring, which gives it to a host as an `Executor`. It must never read CI variables or feature flags: the
//! plan has decided. Every child is started by `harrier-process`, so it runs once and outlives the runner.
//!
//! What a job sees of the runner's environment: everything but the runner's credentials and Harrier's own settings
//! ([`harrier_base::is_runner_only`]), which GitLab Runner hands on. `HARRIER_JOB_MARK` is added to it; what still carries it
//! when the session closes is killed.

mod command;
mod in_process;
mod running;
mod session;

use async_trait::async_trait;
use harrier_api::Features;
use harrier_engine::{Abilities, Executor, OpenCx, OpenError, Session, SessionTicket};
use harrier_plan::{JobPlan, Shell};
use serde::{Deserialize, Serialize};
use session::ShellSession;
use std::path::PathBuf;

/// The shell executor.
pub struct ShellExecutor {
    abilities: Abilities,
    user: Option<String>,
    cwd: PathBuf,
}

impl ShellExecutor {
    /// An executor whose shells begin in the present working directory, as `user` (by `su`, so this process must be
    /// root's) or as the user of this process.
    pub fn new(user: Option<String>) -> Self {
        Self {
            abilities: Abilities {
                name: "shell",
                shell: Shell::Bash,
                features: Features {
                    shared: true,
                    session: true,
                    terminal: true,
                    ..Abilities::shell_features()
                },
                shared: true,
                own_dirs: None,
                isolated: false,
            },
            user: user.filter(|user| !user.is_empty()),
            cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        }
    }

    fn session(&self, job: &JobPlan, cx: &OpenCx<'_>, ticket: Ticket) -> Result<Box<dyn Session>, OpenError> {
        ShellSession::new(job, cx, self.cwd.clone(), ticket)
            .map(|session| Box::new(session) as Box<dyn Session>)
            .map_err(|error| OpenError { message: error.to_string(), reason: None })
    }
}

/// What a later process must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// In the environment of every process of the job.
    pub mark: String,
    /// Whose processes they are.
    pub user: Option<String>,
}

#[async_trait]
impl Executor for ShellExecutor {
    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    async fn open(&self, job: &JobPlan, cx: &OpenCx<'_>) -> Result<Box<dyn Session>, OpenError> {
        // Job ids come again, on other servers and in other local runs; the rest does not.
        let name = cx.job_dir.file_name().unwrap_or_default().to_string_lossy();
        let random = harrier_process::random_word().map_err(|error| OpenError {
            message: format!("cannot get a random number from the system: {error}"),
            reason: None,
        })?;
        let mark = format!("{}.{random}", name.replace(',', "_"));
        self.session(job, cx, Ticket { mark, user: self.user.clone() })
    }

    async fn reopen(
        &self,
        job: &JobPlan,
        ticket: &SessionTicket,
        cx: &OpenCx<'_>,
    ) -> Result<Box<dyn Session>, OpenError> {
        let ticket = serde_json::from_value(ticket.0.clone()).map_err(|error| OpenError {
            message: format!(
                "the journal in {} holds a session this version does not understand: {error}",
                cx.job_dir.display()
            ),
            reason: Some(harrier_base::FailureReason::RunnerSystemFailure),
        })?;
        self.session(job, cx, ticket)
    }
}
