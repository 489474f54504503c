//! Jobs whose place was kept after a failure, for a person who wants to look (`--keep`): the job's directory stays, with a note
//! on how long. Called when a run begins and ends, and by `harrier shell`, which needs no lock. It must never touch what
//! is not kept.

use crate::one_job::{self, JobError};
use crate::predefined::Program;
use crate::repository::Repository;
use crate::state::{State, StateError};
use crate::ways::{Executors, Ways};
use harrier_base::{Clock, SystemClock};
use harrier_engine::SessionTicket;
use harrier_plan::JobPlan;
use harrier_store::{Entry, JobDir, Journal};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the note in the job's directory.
const NOTE: &str = "keep";
/// Between two looks whether what is kept is still there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Note {
    job: String,
    /// Unix seconds.
    until: u64,
    slot: u32,
}

/// One kept job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptJob {
    /// Its name.
    pub job: String,
    /// When it goes, in Unix seconds.
    pub until: u64,
    /// The place it takes: no other job may have its build directory.
    pub slot: u32,
    pub(crate) dir: JobDir,
}

impl KeptJob {
    /// What the job was to do, and how the executor finds its place; `None` if its files are damaged.
    pub fn place(&self) -> Option<(JobPlan, SessionTicket)> {
        let plan = serde_json::from_slice(&self.dir.read_plan().ok()??).ok()?;
        let journal = Journal::open(&self.dir).ok()?;
        let ticket = journal.entries().iter().rev().find_map(|entry| match entry {
            Entry::Opened { ticket } => Some(SessionTicket(ticket.clone())),
            _ => None,
        })?;
        Some((plan, ticket))
    }

    /// Its time is not over.
    pub fn is_current(&self) -> bool {
        self.until > SystemClock.now().seconds()
    }
}

/// All kept jobs of the repository at `root`, those of which the time is over too.
pub fn kept_jobs(root: &Path) -> Vec<KeptJob> {
    let entries = std::fs::read_dir(root.join(".harrier/state/jobs"));
    let dirs = entries.into_iter().flatten().flatten().filter_map(|entry| JobDir::open(entry.path()).ok());
    let mut found: Vec<KeptJob> = dirs.filter_map(of_dir).collect();
    found.sort_by_key(|kept| kept.dir.name());
    found
}

pub(crate) fn of_dir(dir: JobDir) -> Option<KeptJob> {
    let note: Note = serde_json::from_slice(&dir.kept(NOTE).ok()??).ok()?;
    Some(KeptJob { job: note.job, until: note.until, slot: note.slot, dir })
}

/// Says that the job's place stays for `time`.
pub(crate) fn note(dir: &JobDir, job: &str, slot: u32, time: Duration) -> Result<(), JobError> {
    let until = SystemClock.now().seconds().saturating_add(time.as_secs());
    let note = Note { job: job.to_owned(), until, slot };
    Ok(dir.keep(NOTE, &serde_json::to_vec(&note).unwrap_or_default())?)
}

/// Waits until nothing is kept any more, and gives back each place when its time is over. For a process that runs beside
/// all others: nobody may call Harrier again.
pub async fn expire_kept(
    root: PathBuf,
    executors: Executors,
    program: Program,
    own_binary: PathBuf,
) -> Result<(), JobError> {
    loop {
        let kept = kept_jobs(&root);
        if kept.is_empty() {
            return Ok(());
        }
        if !kept.iter().all(KeptJob::is_current) {
            match (State::open_to_give_back(&root), Repository::discover(&root)) {
                (Ok(state), Ok(repository)) => {
                    let ways = Ways::new(&repository, &state, executors.clone(), &program);
                    one_job::clear_left(&ways, &state, &own_binary).await?;
                    continue;
                }
                // A run is at work: it has given back what is over, or its end will be awaited.
                (Err(StateError::Taken { .. }), _) => {}
                (Err(StateError::Removed { .. }), _) | (Ok(_), Err(_)) => return Ok(()),
                (Err(error), _) => return Err(error.into()),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
