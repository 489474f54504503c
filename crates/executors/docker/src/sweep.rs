//! Removing what jobs have left that are gone (`executors.md` §10.9): found by the labels in the engine and by the ledger of
//! the state directory.
//!
//! Called at the start of a runner and every few minutes. A job is alive while its directory is there. Caches stay.

use crate::connection::Engine;
use crate::error::DockerError;
use crate::place::{CONTAINER, NETWORK, VOLUME, remove_container, remove_network, remove_volume};
use crate::settings::{JOB_LABEL, OWNER_LABEL, WARM_LABEL};
use crate::warm::Warm;
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions, ListVolumesOptions};
use harrier_store::Ledger;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// What was found and could not be removed.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Things removed.
    pub removed: usize,
    /// What failed.
    pub failed: Vec<String>,
}

/// What a sweep does not touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The things of jobs that are alive, and caches.
    LiveJobsAndCaches,
    /// Nothing of this state directory is left.
    Nothing,
}

/// Sweeps one engine for the jobs of the state directory at `state`, whose name in labels is `owner`. What waits in
/// `warm` stays.
pub(crate) async fn sweep(
    engine: &Engine,
    state: &Path,
    owner: &str,
    leave: Leave,
    warm: &Warm,
) -> Result<Swept, DockerError> {
    let ledger = Ledger::open(state)?;
    // Before the ledger: a helper that waits is somebody's in the ledger before it waits no more.
    let waited = warm.names();
    let waits = |name: &str| {
        leave == Leave::LiveJobsAndCaches && (waited.contains(name) || warm.names().contains(name))
    };
    let alive = |job: &str| leave == Leave::LiveJobsAndCaches && state.join("jobs").join(job).is_dir();
    let filters: HashMap<String, Vec<String>> =
        [("label".to_owned(), vec![format!("{OWNER_LABEL}={owner}")])].into();
    let failed = |doing: &'static str| DockerError::engine(&engine.address, doing);
    let orphan = |labels: Option<HashMap<String, String>>| {
        match labels.and_then(|labels| labels.get(JOB_LABEL).cloned()) {
            Some(job) => !alive(&job),
            // A cache.
            None => leave == Leave::Nothing,
        }
    };

    let mut things: BTreeSet<(&'static str, String)> = BTreeSet::new();
    // The ledger first: what is made after it was read belongs to a job that is alive.
    for owned in ledger.list()? {
        let kind = [CONTAINER, VOLUME, NETWORK].into_iter().find(|kind| *kind == owned.kind);
        if let Some(kind) = kind.filter(|_| !alive(&owned.job) && !waits(&owned.id)) {
            things.insert((kind, owned.id));
        }
    }
    let options = ListContainersOptions { all: true, filters: Some(filters.clone()), ..Default::default() };
    let containers = engine.docker.list_containers(Some(options)).await.map_err(failed("list containers"))?;
    // Who has a helper that may serve several jobs stands in the ledger only.
    let in_use: BTreeSet<String> = ledger
        .list()?
        .into_iter()
        .filter(|owned| owned.kind == CONTAINER && alive(&owned.job))
        .map(|owned| owned.id)
        .collect();
    for found in containers {
        let labels = found.labels.clone();
        let may_stay = labels.as_ref().is_some_and(|labels| labels.contains_key(WARM_LABEL));
        let name =
            found.names.and_then(|names| names.first().map(|name| name.trim_start_matches('/').to_owned()));
        let Some(name) = name.or(found.id) else { continue };
        if orphan(labels) || (may_stay && !in_use.contains(&name) && !waits(&name)) {
            things.insert((CONTAINER, name));
        }
    }
    let options = ListVolumesOptions { filters: Some(filters.clone()) };
    let volumes = engine.docker.list_volumes(Some(options)).await.map_err(failed("list volumes"))?;
    for found in volumes.volumes.unwrap_or_default() {
        if orphan(Some(found.labels)) {
            things.insert((VOLUME, found.name));
        }
    }
    let options = ListNetworksOptions { filters: Some(filters) };
    let networks = engine.docker.list_networks(Some(options)).await.map_err(failed("list networks"))?;
    for found in networks.into_iter().filter(|found| orphan(found.labels.clone())) {
        things.extend(found.name.map(|name| (NETWORK, name)));
    }

    let mut swept = Swept::default();
    // Containers hold volumes and networks.
    for kind in [CONTAINER, VOLUME, NETWORK] {
        for (_, name) in things.iter().filter(|(of, _)| *of == kind) {
            let removed = match kind {
                CONTAINER => remove_container(engine, name, true).await,
                VOLUME => remove_volume(engine, name).await,
                _ => remove_network(engine, name).await,
            };
            match removed.and_then(|()| Ok(ledger.remove(kind, name)?)) {
                Ok(()) => swept.removed += 1,
                Err(error) => swept.failed.push(error.to_string()),
            }
        }
    }
    Ok(swept)
}
