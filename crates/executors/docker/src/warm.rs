//! Helper containers that stay for a while: the next job of the same project and slot finds one that runs, with its
//! volumes mounted and its network up (`ARCHITECTURE.md`).
//!
//! Called by the executor and by sessions at their end. A helper fits a job only if the request it was made by would be
//! the same, and it has ended and forgotten all of the job before ([`HelperWork::Rest`]). Jobs whose helper could run
//! code of theirs with rights that reach beyond their own volumes get one for themselves alone.

use crate::attached::Attached;
use crate::connection::Engine;
use crate::error::DockerError;
use crate::place::{CONTAINER, Place, remove_container};
use crate::session::{HelperHand, converse};
use crate::settings::{JOB_LABEL, WARM_LABEL};
use bollard::models::ContainerCreateBody;
use harrier_plan::{Containers, HelperWork, JobPlan, LABEL_PREFIX, Op, Volume};
use harrier_store::Ledger;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a helper waits for its next job.
const STAY: Duration = Duration::from_secs(20);
/// How many wait; the one that has waited longest goes.
const MOST: usize = 16;
/// A helper that does not answer within this time does not wait.
const ANSWER: Duration = Duration::from_secs(5);
/// In the ledger, in place of a job.
const NOBODY: &str = "a-helper-that-waits";

/// All that wait.
#[derive(Default)]
pub(crate) struct Warm {
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    fit: Fit,
    name: String,
    attached: Attached,
    engine: Engine,
    ledger: Ledger,
    end: JoinHandle<()>,
}

/// What a helper was made for; equal ones can stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fit(String);

impl Fit {
    /// Of a request to make a helper.
    pub fn of(engine: &Engine, request: &ContainerCreateBody) -> Self {
        let mut value = serde_json::to_value(request).unwrap_or_default();
        // Tables have no order of their own.
        value.sort_all_objects();
        let digest = Sha256::digest(format!("{} {value}", engine.address));
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Whether the job's helper may have served others before, and may serve others after.
pub(crate) fn may_share(job: &JobPlan, containers: &Containers) -> bool {
    let settings = &containers.build;
    let own_code = [&job.prepare, &job.get_sources, &job.cleanup]
        .into_iter()
        .chain(&job.restore_cache)
        .chain(&job.download_artifacts)
        .flat_map(|stage| &stage.ops)
        .any(|op| match op {
            Op::Script(_) => true,
            Op::Sources(sources) => !sources.pre.is_empty() || !sources.post.is_empty(),
            Op::Prepare
            | Op::ClearWorktree
            | Op::RestoreCache(_)
            | Op::SaveCache(_)
            | Op::DownloadArtifacts(_)
            | Op::UploadArtifacts(_)
            | Op::Cleanup(_)
            | Op::Say(_)
            | Op::Fail(_) => false,
        });
    let more_rights = containers.image.privileged
        || !settings.cap_add.is_empty()
        || !settings.security_opt.is_empty()
        || !settings.sysctls.is_empty()
        || !settings.devices.is_empty()
        || !settings.device_cgroup_rules.is_empty()
        || settings.gpus.is_some()
        || settings.ipc_mode.is_some()
        || !settings.volumes_from.is_empty();
    // Volumes that go with the job would keep the helper from staying; those that stay are as far as a job reaches.
    let own_volumes = containers.volumes.iter().any(|volume| matches!(volume, Volume::Temporary { .. }));
    !own_code
        && !more_rights
        && !own_volumes
        && containers.host_dirs.is_empty()
        && containers.helper_image.is_none()
}

/// Takes what only this job has out of a request for a helper that may stay.
pub(crate) fn for_any_job(request: &mut ContainerCreateBody) {
    request.env = Some(Vec::new());
    if let Some(labels) = &mut request.labels {
        let of_the_job =
            ["job.", "pipeline.", "project.runner_id"].map(|part| format!("{LABEL_PREFIX}{part}"));
        labels.retain(|key, _| {
            key != JOB_LABEL && !of_the_job.iter().any(|part| key.starts_with(part.as_str()))
        });
        labels.insert(WARM_LABEL.to_owned(), "true".to_owned());
    }
}

impl Warm {
    /// A helper that fits; it belongs to the job from now on.
    pub async fn take(&self, fit: &Fit, job: &str) -> Result<Option<(String, Attached)>, DockerError> {
        loop {
            let Some(found) = self.pick(fit, job)? else { return Ok(None) };
            found.end.abort();
            let mut attached = found.attached;
            // The engine may have been restarted since, or somebody has stopped the container.
            let asked = converse(&mut attached, HelperWork::OpenUp(Vec::new()), |_, _| ());
            if matches!(tokio::time::timeout(ANSWER, asked).await, Ok(Ok(Some(0)))) {
                return Ok(Some((found.name, attached)));
            }
            remove(&found.engine, &found.ledger, &found.name).await;
        }
    }

    /// It is the job's in the ledger before it is no longer one that waits: a sweep sees it as one or the other.
    fn pick(&self, fit: &Fit, job: &str) -> Result<Option<Waiting>, DockerError> {
        let mut waiting = self.lock();
        let Some(at) = waiting.iter().position(|one| one.fit == *fit) else { return Ok(None) };
        waiting[at].ledger.add(CONTAINER, &waiting[at].name, job)?;
        Ok(Some(waiting.remove(at)))
    }

    /// The job is over; its helper waits for the next one. `false`: it cannot, and is to be removed.
    pub async fn keep(self: &Arc<Self>, place: &Place, hand: HelperHand, fit: Fit) -> bool {
        let HelperHand::Ready(mut attached) = hand else { return false };
        if attached.end.is_finished() {
            return false;
        }
        let name = place.ticket.helper.clone();
        let rested = converse(&mut attached, HelperWork::Rest, |_, _| ());
        match tokio::time::timeout(ANSWER, rested).await {
            Ok(Ok(Some(0))) => {}
            Ok(Ok(_)) | Err(_) => return false,
            Ok(Err(error)) => {
                tracing::debug!(name, %error, "a helper container does not stay for the next job");
                return false;
            }
        }
        let (warm, gone) = (Arc::clone(self), name.clone());
        let end = tokio::spawn(async move {
            tokio::time::sleep(STAY).await;
            warm.let_go(|one| one.name == gone).await;
        });
        let (engine, ledger) = (place.engine.clone(), place.ledger.clone());
        self.lock().push(Waiting { fit, name: name.clone(), attached, engine, ledger, end });
        if let Err(error) = place.ledger.add(CONTAINER, &name, NOBODY) {
            tracing::warn!(name, %error, "a helper container is still the job's in the ledger");
        }
        let oldest = {
            let waiting = self.lock();
            (waiting.len() > MOST).then(|| waiting[0].name.clone())
        };
        if let Some(oldest) = oldest {
            self.let_go(|one| one.name == oldest).await;
        }
        true
    }

    /// The containers that wait for a job.
    pub fn names(&self) -> BTreeSet<String> {
        self.lock().iter().map(|one| one.name.clone()).collect()
    }

    /// Removes all that wait.
    pub async fn empty(&self) {
        self.let_go(|_| true).await;
    }

    async fn let_go(&self, which: impl Fn(&Waiting) -> bool) {
        let gone: Vec<Waiting> = {
            let mut waiting = self.lock();
            let (gone, stay) = waiting.drain(..).partition(|one| which(one));
            *waiting = stay;
            gone
        };
        for one in gone {
            remove(&one.engine, &one.ledger, &one.name).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn remove(engine: &Engine, ledger: &Ledger, name: &str) {
    let removed = match remove_container(engine, name, true).await {
        Ok(()) => ledger.remove(CONTAINER, name).map_err(DockerError::from),
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        tracing::warn!(name, %error, "a helper container is still there; the next sweep tries again");
    }
}
