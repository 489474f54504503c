//! The docker executor (`executors.md` §10): every job in containers of its image, reached through the engine's API.
//!
//! Called by the hosts through `harrier_engine::Executor`. It must never call the docker command line, and never leave
//! anything behind but caches.

mod attached;
mod auth;
mod auth_sources;
mod connection;
mod error;
mod helper_image;
mod image_check;
mod image_name;
mod mark;
mod open;
mod place;
mod present_check;
mod pull;
mod registry;
mod registry_trust;
mod relog;
mod room;
mod services;
mod session;
mod settings;
mod shell_detect;
mod stop;
mod sweep;
mod terminal;
mod uses;
mod visit;
mod warm;
mod words;

pub use auth::{AuthError, Choice, Login};
pub use image_check::{ImageCheck, check_image};
pub use image_name::ImageName;
pub use registry::{Answer, Asked, RegistrySettings, Said};
pub use room::{Cache, CacheKind, MakeRoom, Room, parse_budget};
pub use visit::Visitor;

use crate::connection::{Engine, connect};
use crate::error::DockerError;
use crate::open::Shared;
use crate::place::{Place, Ticket};
use crate::pull::Pulls;
use crate::session::{DockerSession, random_word};
use crate::settings::{Owner, read_profiles};
use crate::sweep::Leave;
use crate::uses::Uses;
use crate::warm::Warm;
use crate::words::Words;
use async_trait::async_trait;
use harrier_base::FailureReason;
use harrier_config::{EngineAddress, ExecutorSpec, RunnerSpec};
use harrier_engine::{Abilities, Executor, OpenCx, OpenError, Session, SessionTicket, SweepError};
use harrier_plan::{JobPlan, Shell};
use harrier_store::{JobDir, Ledger};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, oneshot, watch};

/// Name of the file with the random name of a state directory.
const OWNER_FILE: &str = "owner";
/// First API that takes a MAC address for each network.
const MAC_ADDRESS_API: (usize, usize) = (1, 44);

/// Runs jobs in containers. Cheap to share; knows the engines it has talked to.
pub struct DockerExecutor {
    abilities: Abilities,
    shared: Arc<Shared>,
    engines: Mutex<Vec<(EngineAddress, Engine)>>,
    budget: Option<u64>,
    tidying: Mutex<()>,
}

/// Bytes of caches and helper images that may stay, unless told otherwise: 20 GiB.
pub const CACHE_BUDGET: u64 = 20 << 30;

impl Default for DockerExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl DockerExecutor {
    /// An executor that has connected to nothing yet.
    pub fn new() -> Self {
        let features = harrier_api::Features {
            image: true,
            services: true,
            session: true,
            terminal: true,
            ..Abilities::shell_features()
        };
        Self {
            abilities: Abilities {
                name: "docker",
                shell: Shell::Bash,
                features,
                shared: false,
                own_dirs: Some(("/builds", "/cache")),
                isolated: true,
            },
            shared: Arc::default(),
            engines: Mutex::default(),
            budget: Some(CACHE_BUDGET),
            tidying: Mutex::default(),
        }
    }

    /// Any job may use any image that the engine has, without a word of the registry it came from.
    pub fn trusting_present_images(self) -> Self {
        self.sharing(|shared| shared.pulls = Pulls::trusting())
    }

    /// Helper containers stay for a few seconds: the next job of the same project and slot finds one that runs. For hosts
    /// that live on, and that call [`Executor::retire`] at their end.
    pub fn keeping_helpers(self) -> Self {
        self.sharing(|shared| shared.warm = Some(Arc::default()))
    }

    /// Before the first job.
    fn sharing(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Arc::into_inner(self.shared).unwrap_or_default();
        change(&mut shared);
        self.shared = Arc::new(shared);
        self
    }

    /// Keeps caches and helper images within `budget` bytes; `None`: they may grow.
    pub fn with_cache_budget(mut self, budget: Option<u64>) -> Self {
        self.budget = budget;
        self
    }

    /// Removes what was used longest ago of the caches of the state directory `state`, until the rest is within the budget.
    pub async fn make_room(
        &self,
        state: &Path,
        address: &EngineAddress,
        wanted: MakeRoom,
    ) -> Result<Room, SweepError> {
        let failed = |error: DockerError| SweepError { message: error.to_string() };
        let engine = self.engine(address).await.map_err(failed)?;
        if !state.join(OWNER_FILE).exists() {
            return Ok(Room::default());
        }
        let owner = owner_of(state).map_err(failed)?;
        room::make_room(&engine, state, &owner, wanted).await.map_err(failed)
    }

    /// Opens a shell for a person in the place of a job that was kept ([`Session::keep`]); its exit code.
    pub async fn visit(
        &self,
        job: &JobPlan,
        ticket: &SessionTicket,
        visitor: Visitor,
    ) -> Result<i32, OpenError> {
        let containers = job.containers.as_ref().ok_or_else(|| {
            DockerError::Settings(
                "this job did not run in containers, so no shell can be opened there".to_owned(),
            )
        })?;
        let ticket: Ticket = serde_json::from_value(ticket.0.clone())
            .map_err(|error| DockerError::Lost(format!("the job's session cannot be understood: {error}")))?;
        let engine = self.engine(&containers.engine).await?;
        Ok(visit::visit(&engine, job, &ticket, visitor).await?)
    }

    /// Returns how many things were removed; what could not be removed is an error that says why.
    async fn clear_engine(
        &self,
        state: &Path,
        address: &EngineAddress,
        leave: Leave,
    ) -> Result<usize, SweepError> {
        let failed = |error: DockerError| SweepError { message: error.to_string() };
        let engine = self.engine(address).await.map_err(failed)?;
        let owner = owner_of(state).map_err(failed)?;
        let none = Warm::default();
        let warm = self.shared.warm.as_deref().unwrap_or(&none);
        let swept = sweep::sweep(&engine, state, &owner, leave, warm).await.map_err(failed)?;
        if swept.failed.is_empty() {
            Ok(swept.removed)
        } else {
            Err(SweepError { message: swept.failed.join("; ") })
        }
    }

    /// The engine, greeted once; each request has a connection of its own, so a restart of the engine changes nothing.
    async fn engine(&self, address: &EngineAddress) -> Result<Engine, DockerError> {
        let mut engines = self.engines.lock().await;
        if let Some((_, engine)) = engines.iter().find(|(known, _)| known == address) {
            return Ok(engine.clone());
        }
        let engine = connect(address).await?;
        engines.push((address.clone(), engine.clone()));
        Ok(engine)
    }

    async fn place(
        &self,
        job: &JobPlan,
        cx: &OpenCx<'_>,
        ticket: Option<Ticket>,
    ) -> Result<Place, DockerError> {
        let mut containers = job.containers.clone().ok_or_else(|| {
            DockerError::Settings("the job was planned for another executor than docker; retry it".to_owned())
        })?;
        read_profiles(&mut containers.build).map_err(DockerError::Settings)?;
        read_profiles(&mut containers.service).map_err(DockerError::Settings)?;
        let engine = self.engine(&containers.engine).await?;
        if containers.build.mac_address.is_some() && engine.api < MAC_ADDRESS_API {
            return Err(DockerError::Settings(format!(
                "mac_address in [runners.docker] needs an engine with API {}.{} or later, the one at {} has {}.{}",
                MAC_ADDRESS_API.0, MAC_ADDRESS_API.1, engine.address, engine.api.0, engine.api.1
            )));
        }
        let job_dir = std::path::absolute(cx.job_dir).unwrap_or_else(|_| cx.job_dir.to_owned());
        let state = state_of(&job_dir);
        let dir = JobDir::open(&job_dir)?;
        let ticket = match ticket {
            Some(ticket) => ticket,
            None => Ticket::new(&containers, &format!("{}{}", random_word()?, random_word()?)),
        };
        Ok(Place {
            engine,
            any_shell: Arc::new(Place::any_shell(job)),
            job: Arc::new(job.clone()),
            containers: Arc::new(containers),
            ticket,
            owner: Owner { state: owner_of(&state)?, job: dir.name() },
            words: Words::open(cx.raw_log)?,
            ledger: Ledger::open(&state)?,
            uses: Uses::of(&state),
            own_binary: cx.own_binary.to_owned(),
            dir,
            shares_helper: false,
        })
    }
}

/// `<state>/jobs/<job>` → `<state>`
fn state_of(job_dir: &Path) -> PathBuf {
    job_dir.parent().and_then(Path::parent).unwrap_or(job_dir).to_owned()
}

/// The random name of a state directory in labels: two runners may share an engine, even with equal paths.
fn owner_of(state: &Path) -> Result<String, DockerError> {
    let path = state.join(OWNER_FILE);
    let failed = |error: std::io::Error| {
        DockerError::Lost(format!("{} cannot be used: {error}; check the state directory", path.display()))
    };
    loop {
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            Ok(_) => std::fs::remove_file(&path).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let name = format!("{}{}", random_word()?, random_word()?);
        let draft = state.join(format!("{OWNER_FILE}.{name}"));
        let mut file = std::fs::File::create(&draft).map_err(failed)?;
        file.write_all(name.as_bytes()).map_err(failed)?;
        // Whoever is first has named it.
        let linked = std::fs::hard_link(&draft, &path);
        std::fs::remove_file(&draft).map_err(failed)?;
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
    }
}

#[async_trait]
impl Executor for DockerExecutor {
    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// The work is done by a task of its own: the caller may give up at any moment, a request to the engine may not.
    async fn open(&self, job: &JobPlan, cx: &OpenCx<'_>) -> Result<Box<dyn Session>, OpenError> {
        let mut place = self.place(job, cx, None).await?;
        let (helped, fit) = open::find_helper(&mut place, &self.shared).await?;
        let shared = Arc::clone(&self.shared);
        let (gone_tx, mut gone) = watch::channel(false);
        let (tx, rx) = oneshot::channel::<Result<DockerSession, DockerError>>();
        // Tells the task that nobody waits any more.
        let guard = GivenUp(gone_tx);
        tokio::spawn(async move {
            let ground = open::make_ground(&mut place).await;
            let place = Arc::new(place);
            let made = match ground {
                Ok(()) => open::make(&place, &shared, helped, &mut gone).await,
                Err(error) => Err(error),
            };
            let answer = match made {
                Ok(ready) => {
                    let stay = fit.zip(shared.warm.clone());
                    Ok(DockerSession::opened(Arc::clone(&place), ready, stay))
                }
                Err(error) => {
                    tell_left(place.clear().await);
                    Err(error)
                }
            };
            if let Err(Ok(unwanted)) = tx.send(answer) {
                unwanted.started().await;
                tell_left(place.clear().await);
            }
        });
        let answer = rx.await;
        drop(guard);
        match answer {
            Ok(Ok(session)) => Ok(Box::new(session)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(OpenError {
                message: "opening the job's place has failed inside Harrier; see the runner's log".to_owned(),
                reason: Some(FailureReason::RunnerSystemFailure),
            }),
        }
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
            reason: Some(FailureReason::RunnerSystemFailure),
        })?;
        let mut place = self.place(job, cx, Some(ticket)).await?;
        place.settle_network();
        Ok(Box::new(DockerSession::reopened(Arc::new(place))))
    }

    async fn answers(&self, entry: &RunnerSpec) -> Result<(), OpenError> {
        match &entry.executor {
            ExecutorSpec::Docker(docker) => Ok(self.engine(&docker.connection).await.map(drop)?),
            ExecutorSpec::Shell | ExecutorSpec::Unsupported(_) => Ok(()),
        }
    }

    async fn wipe(&self, state: &Path, entry: &RunnerSpec) -> Result<usize, SweepError> {
        match &entry.executor {
            // Whoever has never had a job there has no name in the engine.
            ExecutorSpec::Docker(docker) if state.join(OWNER_FILE).exists() => {
                self.clear_engine(state, &docker.connection, Leave::Nothing).await
            }
            ExecutorSpec::Docker(_) | ExecutorSpec::Shell | ExecutorSpec::Unsupported(_) => Ok(0),
        }
    }

    async fn tidy(&self, state: &Path, entry: &RunnerSpec, every: Duration) -> Result<usize, SweepError> {
        let (ExecutorSpec::Docker(docker), Some(budget)) = (&entry.executor, self.budget) else {
            return Ok(0);
        };
        if !state.join(OWNER_FILE).exists() {
            return Ok(0);
        }
        let failed = |error: DockerError| SweepError { message: error.to_string() };
        let engine = self.engine(&docker.connection).await.map_err(failed)?;
        // Entries that share an engine come at the same time; the first one makes room for all.
        let _alone = self.tidying.lock().await;
        let uses = Uses::of(state);
        if uses.collected(&engine.address).is_some_and(|at| at.elapsed().is_ok_and(|gone| gone < every)) {
            return Ok(0);
        }
        let wanted = MakeRoom { budget, dry_run: false, others_images: false };
        let room = self.make_room(state, &docker.connection, wanted).await?;
        uses.note_collected(&engine.address);
        if room.failed.is_empty() {
            Ok(room.removed.len())
        } else {
            Err(SweepError { message: room.failed.join("; ") })
        }
    }

    async fn sweep(&self, state: &Path, entry: &RunnerSpec) -> Result<usize, SweepError> {
        match &entry.executor {
            ExecutorSpec::Docker(docker) => {
                self.clear_engine(state, &docker.connection, Leave::LiveJobsAndCaches).await
            }
            ExecutorSpec::Shell | ExecutorSpec::Unsupported(_) => Ok(0),
        }
    }

    async fn retire(&self) {
        if let Some(warm) = &self.shared.warm {
            warm.empty().await;
        }
    }
}

fn tell_left(left: Vec<(String, DockerError)>) {
    for (name, error) in left {
        tracing::warn!(name, %error, "something of the job is still in the engine; the next sweep tries again");
    }
}

/// Says so when it is dropped.
struct GivenUp(watch::Sender<bool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
