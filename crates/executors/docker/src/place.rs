//! The place of one job in an engine: what its containers, volumes and networks are called, making them and
//! removing them. Each has its ledger entry before it is made; the entry goes when the thing is gone.
//!
//! Called by the session. Names are chosen before anything is made and stand in the ticket.

use crate::connection::{Engine, status};
use crate::error::DockerError;
use crate::settings::{JOB_LABEL, Owner, labels};
use crate::uses::Uses;
use crate::words::Words;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, NetworkCreateRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, RemoveContainerOptions,
    RemoveVolumeOptions,
};
use futures_util::future::join_all;
use harrier_base::Variable;
use harrier_plan::{Containers, JobPlan, LABEL_PREFIX, Network, Shell, Volume};
use harrier_store::{JobDir, Ledger};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Kinds in the ledger.
pub(crate) const CONTAINER: &str = "docker-container";
/// A volume that goes with its job.
pub(crate) const VOLUME: &str = "docker-volume";
/// A network of a job.
pub(crate) const NETWORK: &str = "docker-network";

/// Option of a bridge.
const MTU_OPTION: &str = "com.docker.network.driver.mtu";

/// How long the engine may take to finish a removal that is under way.
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);
const REMOVAL_TRIES: u32 = 100;

/// What a later process must know. Names only: they exist or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// The helper container.
    pub helper: String,
    /// The build container.
    pub build: String,
    /// The service containers.
    pub services: Vec<String>,
    /// Volumes that go with the job: name and destination.
    pub volumes: Vec<(String, String)>,
    /// The network of the job's own.
    pub network: Option<String>,
    /// The build container is in the helper's network: starting one costs a third of giving it a place on a bridge.
    #[serde(default)]
    pub joined: bool,
}

impl Ticket {
    /// Chooses the names (`executors.md` §10.5); `random` is 16 hex digits.
    pub fn new(containers: &Containers, random: &str) -> Self {
        let base = format!("{}-{random}", containers.base_name);
        Self {
            helper: format!("{base}-predefined"),
            build: format!("{base}-build"),
            services: containers
                .services
                .iter()
                .enumerate()
                .map(|(at, service)| format!("{base}-{}-{at}", safe(&service.slug)))
                .collect(),
            volumes: containers
                .volumes
                .iter()
                .enumerate()
                .filter_map(|(at, volume)| match volume {
                    Volume::Temporary { destination, .. } => {
                        Some((format!("{base}-temporary-{at}"), destination.clone()))
                    }
                    Volume::Bind(_) | Volume::Reusable { .. } => None,
                })
                .collect(),
            network: match &containers.network {
                Network::PerJob { name, .. } => Some(name.clone()),
                Network::Mode(_) | Network::DefaultBridge => None,
            },
            joined: containers.network == Network::DefaultBridge
                && containers.services.is_empty()
                && containers.build.links.is_empty()
                && containers.build.mac_address.is_none(),
        }
    }

    /// Mounts of every container of the job.
    pub fn binds(&self, containers: &Containers) -> Vec<String> {
        let mut temporary = self.volumes.iter();
        containers
            .volumes
            .iter()
            .filter_map(|volume| match volume {
                Volume::Bind(bind) => Some(bind.clone()),
                Volume::Reusable { name, destination, options, .. } => {
                    Some(with_options(name, destination, options))
                }
                Volume::Temporary { options, .. } => {
                    temporary.next().map(|(name, destination)| with_options(name, destination, options))
                }
            })
            .collect()
    }
}

fn with_options(name: &str, destination: &str, options: &str) -> String {
    match options {
        "" => format!("{name}:{destination}"),
        options => format!("{name}:{destination}:{options}"),
    }
}

/// A container's name takes letters, digits, `_`, `.` and `-`.
fn safe(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' })
        .collect()
}

/// What is common to all that is done for a job.
pub(crate) struct Place {
    pub engine: Engine,
    pub job: Arc<JobPlan>,
    /// The job with the script flavour that every shell understands: which one the image has is seen in it only.
    pub any_shell: Arc<JobPlan>,
    pub containers: Arc<Containers>,
    pub ticket: Ticket,
    pub owner: Owner,
    pub dir: JobDir,
    pub words: Words,
    pub ledger: Ledger,
    pub uses: Uses,
    pub own_binary: PathBuf,
    /// The helper is one that may serve other jobs as well.
    pub shares_helper: bool,
}

impl Place {
    /// The job for build scripts.
    pub fn any_shell(job: &JobPlan) -> JobPlan {
        JobPlan { shell: Shell::Sh, ..job.clone() }
    }

    fn failed(&self, doing: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> DockerError {
        DockerError::engine(&self.engine.address, doing)
    }

    /// Makes a container. One of the same name, left by a former life of the job, is removed first.
    pub async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
        platform: Option<&str>,
    ) -> Result<(), DockerError> {
        self.ledger.add(CONTAINER, name, &self.owner.job)?;
        let options = || CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: platform.map(str::to_owned).unwrap_or_default(),
        };
        let doing = || format!("create the container {name}");
        match self.engine.docker.create_container(Some(options()), body.clone()).await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(409) => {
                self.remove_container(name, true).await?;
                self.ledger.add(CONTAINER, name, &self.owner.job)?;
                self.engine
                    .docker
                    .create_container(Some(options()), body)
                    .await
                    .map(|_| ())
                    .map_err(self.failed(doing()))
            }
            Err(error) => Err(self.failed(doing())(error)),
        }
    }

    /// Starts a container.
    pub async fn start(&self, name: &str) -> Result<(), DockerError> {
        self.engine
            .docker
            .start_container(name, None)
            .await
            .map_err(self.failed(format!("start the container {name}")))
    }

    /// The container's state, `None` if it is gone.
    pub async fn state(&self, name: &str) -> Result<Option<ContainerInspectResponse>, DockerError> {
        state(&self.engine, name).await
    }

    /// SIGKILL to everything in it; one that does not run is fine.
    pub async fn kill(&self, name: &str) -> Result<(), DockerError> {
        let options = KillContainerOptions { signal: "KILL".to_owned() };
        match self.engine.docker.kill_container(name, Some(options)).await {
            Err(error) if !matches!(status(&error), Some(404 | 409)) => {
                Err(self.failed(format!("kill the container {name}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a container whatever it does, and forgets it.
    pub async fn remove_container(&self, name: &str, with_volumes: bool) -> Result<(), DockerError> {
        remove_container(&self.engine, name, with_volumes).await?;
        Ok(self.ledger.remove(CONTAINER, name)?)
    }

    /// Makes the job's volumes.
    pub async fn make_volumes(&self) -> Result<(), DockerError> {
        let temporary =
            self.ticket.volumes.iter().map(|(name, destination)| self.volume(name, destination, None));
        let reusable = self.containers.volumes.iter().filter_map(|volume| match volume {
            Volume::Reusable { name, destination, protected, .. } => {
                Some(self.volume(name, destination, Some(*protected)))
            }
            Volume::Bind(_) | Volume::Temporary { .. } => None,
        });
        let (temporary, reusable) = tokio::join!(join_all(temporary), join_all(reusable));
        temporary.into_iter().chain(reusable).collect()
    }

    /// One that is there already stays as it is.
    async fn volume(&self, name: &str, destination: &str, reusable: Option<bool>) -> Result<(), DockerError> {
        let mut labels = labels(&self.containers, &self.owner, "cache");
        labels.insert(format!("{LABEL_PREFIX}destination"), destination.to_owned());
        match reusable {
            Some(protected) => {
                labels.insert(format!("{LABEL_PREFIX}protected"), protected.to_string());
                labels.insert(format!("{LABEL_PREFIX}reusable"), "true".to_owned());
                // It outlives the job: no sweep must take it for a leftover.
                labels.remove(JOB_LABEL);
            }
            None => self.ledger.add(VOLUME, name, &self.owner.job)?,
        }
        let settings = &self.containers.build;
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: settings.volume_driver.clone(),
            driver_opts: (!settings.volume_driver_ops.is_empty()).then(|| {
                settings
                    .volume_driver_ops
                    .iter()
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect::<HashMap<_, _>>()
            }),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        };
        let creation = self.engine.docker.create_volume(request);
        let created = match reusable {
            Some(_) => self.uses.note(name, &self.owner.job, creation).await?,
            None => creation.await,
        };
        created.map(drop).map_err(self.failed(format!("create the volume {name}")))
    }

    /// Makes the network of the job's own, if it is to have one. Where nobody has asked for it and the engine has no addresses
    /// left, the job is on the default bridge from now on.
    pub async fn make_network(&mut self) -> Result<(), DockerError> {
        let Network::PerJob { name, by_default, .. } = &self.containers.network else { return Ok(()) };
        let (name, by_default) = (name.clone(), *by_default);
        // One that a former life of the job has left may be half made.
        remove_network(&self.engine, &name).await?;
        self.ledger.add(NETWORK, &name, &self.owner.job)?;
        match self.create_network(&name).await {
            Err(DockerError::Engine { cause, .. }) if by_default && no_addresses_left(&cause) => {
                self.words.warning(&format!(
                    "the engine has no addresses left for a network of the job's own ({cause}); the job is on the default bridge, \
                     where other jobs can reach it: remove networks that nobody uses, or give the engine more default-address-pools"
                ));
                self.ledger.remove(NETWORK, &name)?;
                self.ticket.network = None;
            }
            made => made?,
        }
        self.settle_network();
        Ok(())
    }

    /// Brings the plan in line with the network that is there, as the ticket has it (`executors.md` §10.6).
    pub fn settle_network(&mut self) {
        if !matches!(self.containers.network, Network::PerJob { .. }) {
            return;
        }
        match &self.ticket.network {
            Some(name) => {
                let variable = Variable::public("CI_BUILD_NETWORK_NAME", name.clone());
                for job in [&mut self.job, &mut self.any_shell] {
                    Arc::make_mut(job).variables.push(variable.clone());
                }
            }
            None => Arc::make_mut(&mut self.containers).network = Network::DefaultBridge,
        }
    }

    async fn create_network(&self, name: &str) -> Result<(), DockerError> {
        let Network::PerJob { ipv6, mtu, .. } = &self.containers.network else { return Ok(()) };
        let mtu = match mtu {
            Some(mtu) => Some(mtu.to_string()),
            None => self.mtu_of_the_default_bridge().await,
        };
        let options = mtu.map(|mtu| [(MTU_OPTION.to_owned(), mtu)].into());
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            enable_ipv6: ipv6.then_some(true),
            options,
            labels: Some(labels(&self.containers, &self.owner, "network")),
            ..NetworkCreateRequest::default()
        };
        self.engine
            .docker
            .create_network(request)
            .await
            .map(|_| ())
            .map_err(self.failed(format!("create the network {name}")))
    }

    /// What it was made smaller for holds for other bridges as well. `None`: the engine has no such bridge, or it says nothing.
    async fn mtu_of_the_default_bridge(&self) -> Option<String> {
        let found = self.engine.docker.inspect_network("bridge", None).await.ok()?;
        found.options?.remove(MTU_OPTION)
    }

    /// Removes all that belongs to the job. Goes on after a failure; returns what is still there.
    pub async fn clear(&self) -> Vec<(String, DockerError)> {
        self.clear_but(None).await
    }

    /// As [`Place::clear`], but one container stays.
    pub async fn clear_but(&self, stays: Option<&String>) -> Vec<(String, DockerError)> {
        let ticket = &self.ticket;
        let with_volumes = !self.containers.keep_anonymous_volumes;
        let names = ticket.services.iter().chain([&ticket.helper, &ticket.build]);
        let names = names.filter(|name| Some(*name) != stays);
        let removals =
            names.map(|name| (name, async move { (name, self.remove_container(name, with_volumes).await) }));
        // A container whose network another has joined goes after that one: Podman insists.
        let (first, later): (Vec<_>, Vec<_>) =
            removals.partition(|(name, _)| !ticket.joined || *name == &ticket.build);
        let mut removed = join_all(first.into_iter().map(|(_, removal)| removal)).await;
        removed.extend(join_all(later.into_iter().map(|(_, removal)| removal)).await);
        let mut left: Vec<(String, DockerError)> = removed
            .into_iter()
            .filter_map(|(name, removed)| removed.err().map(|error| (name.clone(), error)))
            .collect();
        let volumes = ticket.volumes.iter().map(|(name, _)| async move {
            let removed = match remove_volume(&self.engine, name).await {
                Ok(()) => self.ledger.remove(VOLUME, name).map_err(DockerError::from),
                Err(error) => Err(error),
            };
            (name, removed)
        });
        for (name, removed) in join_all(volumes).await {
            left.extend(removed.err().map(|error| (name.clone(), error)));
        }
        if let Some(name) = &ticket.network {
            let removed = match remove_network(&self.engine, name).await {
                Ok(()) => self.ledger.remove(NETWORK, name).map_err(DockerError::from),
                Err(error) => Err(error),
            };
            left.extend(removed.err().map(|error| (name.clone(), error)));
        }
        left
    }
}

/// The words of engines, of several versions and kinds.
fn no_addresses_left(cause: &str) -> bool {
    [
        "non-overlapping IPv4 address pool",
        "predefined address pools have been fully subnetted",
        "could not find free subnet",
    ]
    .iter()
    .any(|words| cause.contains(words))
}

/// The container's state, `None` if it is gone.
pub(crate) async fn state(
    engine: &Engine,
    name: &str,
) -> Result<Option<ContainerInspectResponse>, DockerError> {
    match engine.docker.inspect_container(name, None::<InspectContainerOptions>).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => {
            Err(DockerError::engine(&engine.address, format!("look at the container {name}"))(error))
        }
    }
}

/// Removes a container whatever it does; nothing there is fine.
pub(crate) async fn remove_container(
    engine: &Engine,
    name: &str,
    with_volumes: bool,
) -> Result<(), DockerError> {
    let options = RemoveContainerOptions { v: with_volumes, force: true, link: false };
    let mut tries = 0;
    loop {
        tries += 1;
        match engine.docker.remove_container(name, Some(options.clone())).await {
            Ok(()) => return Ok(()),
            Err(error) if status(&error) == Some(404) => return Ok(()),
            // Somebody else removes it at this moment.
            Err(error) if status(&error) == Some(409) && tries < REMOVAL_TRIES => {
                tokio::time::sleep(REMOVAL_PAUSE).await;
            }
            Err(error) => {
                return Err(DockerError::engine(&engine.address, format!("remove the container {name}"))(
                    error,
                ));
            }
        }
    }
}

/// Removes a volume; nothing there is fine.
pub(crate) async fn remove_volume(engine: &Engine, name: &str) -> Result<(), DockerError> {
    match engine.docker.remove_volume(name, Some(RemoveVolumeOptions { force: true })).await {
        Err(error) if status(&error) != Some(404) => {
            Err(DockerError::engine(&engine.address, format!("remove the volume {name}"))(error))
        }
        _ => Ok(()),
    }
}

/// Removes a network and disconnects whatever is still on it; nothing there is fine.
pub(crate) async fn remove_network(engine: &Engine, name: &str) -> Result<(), DockerError> {
    let failed = |error| DockerError::engine(&engine.address, format!("remove the network {name}"))(error);
    match engine.docker.remove_network(name).await {
        Ok(()) => return Ok(()),
        Err(error) if status(&error) == Some(404) => return Ok(()),
        Err(error) if status(&error) != Some(403) && status(&error) != Some(409) => {
            return Err(failed(error));
        }
        Err(_) => {}
    }
    let found = engine.docker.inspect_network(name, None).await.map_err(failed)?;
    for container in found.containers.unwrap_or_default().into_keys() {
        let request = bollard::models::NetworkDisconnectRequest { container, force: Some(true) };
        // If it does not help, the removal fails and is told.
        let _ = engine.docker.disconnect_network(name, request).await;
    }
    match engine.docker.remove_network(name).await {
        Err(error) if status(&error) != Some(404) => Err(failed(error)),
        _ => Ok(()),
    }
}
