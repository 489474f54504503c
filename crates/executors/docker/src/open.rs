//! Making the place of a job: ground first (network, volumes), then side by side the services, the helper and the image of
//! the build; last the build container, which needs to know the services (`executors.md` §10.1).
//!
//! Called by the executor. A stop in the middle takes effect between two requests to the engine: a request that is
//! under way may have made something.

use crate::attached::{Attached, attach_and_start};
use crate::error::DockerError;
use crate::helper_image::{HelperImages, PROGRAM};
use crate::place::{CONTAINER, Place};
use crate::pull::{Present, Pulls, Wanted};
use crate::services::{self, Started};
use crate::session::{HelperHand, call};
use crate::settings::{Kind, Particulars, body, environment};
use crate::shell_detect;
use crate::warm::{Fit, Warm, for_any_job, may_share};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::UploadToContainerOptions;
use futures_util::future::try_join_all;
use harrier_plan::{ContainerImage, HelperWork, Network, Volume};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where this program stands in a helper image of the user's.
const GUEST_PROGRAM: &str = "/.harrier-helper";

/// What is shared by all jobs of this process.
#[derive(Default)]
pub(crate) struct Shared {
    pub pulls: Pulls,
    pub helper_images: HelperImages,
    /// `None`: every job has a helper of its own.
    pub warm: Option<Arc<Warm>>,
}

/// How to make a container of the job once more.
pub(crate) struct Recipe {
    pub request: ContainerCreateBody,
    pub platform: Option<String>,
    /// This program is put into it.
    pub guest: bool,
}

/// Both.
pub(crate) struct Recipes {
    /// `None`: the helper has served others before.
    pub helper: Option<Recipe>,
    pub build: Recipe,
}

/// A place that is ready: the helper waits for its work; the build container will soon.
pub(crate) struct Ready {
    pub helper: HelperHand,
    pub build: JoinHandle<Result<Attached, DockerError>>,
    pub recipes: Recipes,
    pub service_logs: Vec<JoinHandle<()>>,
    /// The image's own user is root.
    pub root: bool,
}

/// A helper for the job before anything is made.
pub(crate) enum Helped {
    /// One that waited; it has its volumes already.
    Warm(Attached),
    /// It is to be made.
    Fresh,
}

/// What everything else stands on: the network.
pub(crate) async fn make_ground(place: &mut Place) -> Result<(), DockerError> {
    place.words.info(&format!("Using Docker executor with image {} ...", place.containers.image.name));
    clear_former_life(place).await?;
    place.make_network().await
}

/// Makes the rest. After an error, and when `given_up` turns true, the caller clears the place.
pub(crate) async fn make(
    place: &Arc<Place>,
    shared: &Shared,
    helped: Helped,
    given_up: &mut watch::Receiver<bool>,
) -> Result<Ready, DockerError> {
    let containers = &place.containers;
    let long = async {
        let attached = match helped {
            Helped::Warm(attached) => Some(attached),
            Helped::Fresh => {
                place.make_volumes().await?;
                None
            }
        };
        if place.ticket.joined {
            return joined(place, shared, attached).await;
        }
        let services = try_join_all(
            containers
                .services
                .iter()
                .enumerate()
                .map(|(at, one)| services::start(place, &shared.pulls, at, one)),
        );
        let ((hand, helper), services, (build, root, recipe)) = match containers.network {
            // The build container's hosts file names the services.
            Network::DefaultBridge if !containers.services.is_empty() => {
                let (helper, services, image) =
                    tokio::try_join!(helper(place, shared), services, build_image(place, shared))?;
                let hosts = services.iter().flatten().flat_map(|one| one.hosts.clone()).collect();
                let recipe = build_container(place, &image, hosts).await?;
                let build = attach_and_start(place, &place.ticket.build).await?;
                (helper, services, (build, image.root, recipe))
            }
            _ => tokio::try_join!(helper(place, shared), services, build(place, shared))?,
        };
        let recipes = Recipes { helper: Some(helper), build: recipe };
        let build = tokio::spawn(std::future::ready(Ok(build)));
        let ready = Ready { helper: hand, build, recipes, service_logs: Vec::new(), root };
        Ok::<_, DockerError>((ready, services, true))
    };
    let (mut ready, services, fresh) = tokio::select! {
        biased;
        () = gave_up(given_up.clone()) => return Err(DockerError::Lost("the job was stopped".to_owned())),
        made = long => made?,
    };
    if containers.service_logs {
        ready.service_logs = (0..services.len())
            .filter(|at| services[*at].is_some())
            .map(|at| services::follow(place, at, false))
            .collect();
    }
    let rest = async {
        if fresh {
            open_up(place, &mut ready.helper).await?;
        }
        let started: Vec<&Started> = services.iter().flatten().collect();
        tokio::select! {
            biased;
            () = gave_up(given_up.clone()) => Err(DockerError::Lost("the job was stopped".to_owned())),
            waited = wait_for_services(place, &mut ready.helper, &started) => waited,
        }
    };
    if let Err(error) = rest.await {
        // It must not start a container that is removed at the same time.
        let _ = ready.build.await;
        return Err(error);
    }
    Ok(ready)
}

/// The build container joins the network of the helper. It is started behind our back, while the helper fetches
/// the sources; whoever has a script for it waits for it.
async fn joined(
    place: &Arc<Place>,
    shared: &Shared,
    warm: Option<Attached>,
) -> Result<(Ready, Vec<Option<Started>>, bool), DockerError> {
    let fresh = warm.is_none();
    let (hand, helper, image, build) = match warm {
        Some(attached) => {
            let (image, ()) = tokio::try_join!(build_image(place, shared), note_uses(place, shared))?;
            let build = build_container(place, &image, Vec::new()).await?;
            (attached, None, image, build)
        }
        None => {
            // An engine may want to see the container that is joined before it makes the one that joins.
            let (helper, image) = tokio::try_join!(make_helper(place, shared), build_image(place, shared))?;
            let (hand, build) = tokio::try_join!(
                attach_and_start(place, &place.ticket.helper),
                build_container(place, &image, Vec::new())
            )?;
            (hand, Some(helper), image, build)
        }
    };
    let starting = Arc::clone(place);
    let ready = Ready {
        helper: HelperHand::Ready(hand),
        build: tokio::spawn(async move { attach_and_start(&starting, &starting.ticket.build).await }),
        recipes: Recipes { helper, build },
        service_logs: Vec::new(),
        root: image.root,
    };
    Ok((ready, Vec::new(), fresh))
}

/// The caches of a helper that waited are in use again.
async fn note_uses(place: &Place, shared: &Shared) -> Result<(), DockerError> {
    let image = shared.helper_images.obtain(&place.engine, &place.own_binary).await?;
    let volumes = place.containers.volumes.iter().filter_map(|volume| match volume {
        Volume::Reusable { name, .. } => Some(name),
        Volume::Bind(_) | Volume::Temporary { .. } => None,
    });
    for name in volumes.chain([&image]) {
        place.uses.note(name, &place.owner.job, std::future::ready(())).await?;
    }
    Ok(())
}

/// A helper for the job: one that waits, if the job may share. The ticket then has its name. Returns what the job's helper
/// can be kept for, too.
pub(crate) async fn find_helper(
    place: &mut Place,
    shared: &Shared,
) -> Result<(Helped, Option<Fit>), DockerError> {
    let Some(warm) = &shared.warm else { return Ok((Helped::Fresh, None)) };
    if !place.ticket.joined || !may_share(&place.job, &place.containers) {
        return Ok((Helped::Fresh, None));
    }
    let image = shared.helper_images.name(&place.own_binary).await?;
    place.shares_helper = true;
    let fit = Fit::of(&place.engine, &helper_request(place, image, PROGRAM));
    match warm.take(&fit, &place.owner.job).await? {
        Some((name, attached)) => {
            place.ticket.helper = name;
            Ok((Helped::Warm(attached), Some(fit)))
        }
        None => Ok((Helped::Fresh, Some(fit))),
    }
}

async fn gave_up(mut given_up: watch::Receiver<bool>) {
    if given_up.wait_for(|gone| *gone).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A runner that died while it opened this job's session has left things under other names.
async fn clear_former_life(place: &Place) -> Result<(), DockerError> {
    let former = |owned: &harrier_store::Owned| {
        // A helper that waited is ours by now.
        owned.job == place.owner.job && owned.id != place.ticket.helper
    };
    for owned in place.ledger.list()?.into_iter().filter(former) {
        match owned.kind.as_str() {
            CONTAINER => place.remove_container(&owned.id, true).await?,
            crate::place::VOLUME => {
                crate::place::remove_volume(&place.engine, &owned.id).await?;
                place.ledger.remove(&owned.kind, &owned.id)?;
            }
            crate::place::NETWORK => {
                crate::place::remove_network(&place.engine, &owned.id).await?;
                place.ledger.remove(&owned.kind, &owned.id)?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn helper(place: &Arc<Place>, shared: &Shared) -> Result<(HelperHand, Recipe), DockerError> {
    let recipe = make_helper(place, shared).await?;
    Ok((HelperHand::Ready(attach_and_start(place, &place.ticket.helper).await?), recipe))
}

/// Makes the helper container.
async fn make_helper(place: &Arc<Place>, shared: &Shared) -> Result<Recipe, DockerError> {
    let containers = &place.containers;
    let (image, program, guest) = match &containers.helper_image {
        None => {
            let image = shared.helper_images.obtain(&place.engine, &place.own_binary).await?;
            place.uses.note(&image, &place.owner.job, std::future::ready(())).await?;
            (image, PROGRAM, false)
        }
        Some(image) => {
            let wanted = ContainerImage {
                name: image.clone(),
                entrypoint: None,
                user: None,
                platform: None,
                policies: containers.image.policies.clone(),
                privileged: false,
            };
            let present = shared
                .pulls
                .obtain(&Wanted {
                    engine: &place.engine,
                    image: &wanted,
                    auth: &containers.auth,
                    log: &place.words,
                })
                .await?;
            (present.reference, GUEST_PROGRAM, true)
        }
    };
    let recipe = Recipe { request: helper_request(place, image, program), platform: None, guest };
    make_again(place, &place.ticket.helper, &recipe).await?;
    Ok(recipe)
}

/// Makes a container of the job, in place of one of its name.
pub(crate) async fn make_again(place: &Place, name: &str, recipe: &Recipe) -> Result<(), DockerError> {
    place.create(name, recipe.request.clone(), recipe.platform.as_deref()).await?;
    if recipe.guest {
        upload_program(place, name).await?;
    }
    Ok(())
}

fn helper_request(place: &Place, image: String, program: &str) -> ContainerCreateBody {
    let containers = &place.containers;
    let mut request = body(
        containers,
        &place.owner,
        Particulars {
            kind: Kind::Helper,
            image,
            entrypoint: Some(vec![program.to_owned(), "__helper_serve".to_owned()]),
            command: Some(Vec::new()),
            user: Some("0:0".to_owned()),
            privileged: containers.image.privileged,
            environment: environment(&place.job),
            binds: place.ticket.binds(containers),
            hosts: Vec::new(),
            aliases: Vec::new(),
            init: false,
            labels: BTreeMap::new(),
            devices: Vec::new(),
            joins: None,
        },
    );
    if place.shares_helper {
        for_any_job(&mut request);
    }
    request
}

/// Puts this program into a helper image that is not Harrier's.
async fn upload_program(place: &Place, name: &str) -> Result<(), DockerError> {
    let own = place.own_binary.clone();
    let packed = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(own)?;
        let mut tar = tar::Builder::new(Vec::with_capacity(bytes.len() + 2048));
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, GUEST_PROGRAM.trim_start_matches('/'), bytes.as_slice())?;
        tar.into_inner()
    })
    .await
    .unwrap_or_else(|error| Err(std::io::Error::other(error)))
    .map_err(|error| DockerError::Lost(format!("{} cannot be read: {error}", place.own_binary.display())))?;
    let options = UploadToContainerOptions { path: "/".to_owned(), ..UploadToContainerOptions::default() };
    place
        .engine
        .docker
        .upload_to_container(name, Some(options), bollard::body_full(packed.into()))
        .await
        .map_err(DockerError::engine(&place.engine.address, format!("copy the helper into {name}")))
}

async fn build_image(place: &Place, shared: &Shared) -> Result<Present, DockerError> {
    let containers = &place.containers;
    let wanted =
        Wanted { engine: &place.engine, image: &containers.image, auth: &containers.auth, log: &place.words };
    Ok(shared.pulls.obtain(&wanted).await?)
}

async fn build(place: &Arc<Place>, shared: &Shared) -> Result<(Attached, bool, Recipe), DockerError> {
    let image = build_image(place, shared).await?;
    let recipe = build_container(place, &image, Vec::new()).await?;
    Ok((attach_and_start(place, &place.ticket.build).await?, image.root, recipe))
}

/// Makes the build container.
async fn build_container(
    place: &Arc<Place>,
    image: &Present,
    hosts: Vec<String>,
) -> Result<Recipe, DockerError> {
    let containers = &place.containers;
    let name = &place.ticket.build;
    let own_entrypoint = match &containers.image.entrypoint {
        Some(words) => words.iter().any(|word| !word.is_empty()),
        None => image.has_entrypoint,
    };
    let request = body(
        containers,
        &place.owner,
        Particulars {
            kind: Kind::Build,
            image: image.reference.clone(),
            entrypoint: containers.image.entrypoint.clone(),
            command: Some(shell_detect::command()),
            user: containers.image.user.clone(),
            privileged: containers.image.privileged,
            environment: environment(&place.job),
            binds: place.ticket.binds(containers),
            hosts,
            aliases: vec!["build".to_owned(), name.clone()],
            // An entrypoint may be an init itself, which must be the first process.
            init: containers.init
                || (place.engine.has_init && !own_entrypoint && containers.build.pid_mode.is_none()),
            labels: BTreeMap::new(),
            devices: Vec::new(),
            joins: place.ticket.joined.then(|| place.ticket.helper.clone()),
        },
    );
    let recipe = Recipe { request, platform: containers.image.platform.clone(), guest: false };
    make_again(place, name, &recipe).await?;
    Ok(recipe)
}

/// The roots of volumes are writable for every user (`executors.md` §10.8).
async fn open_up(place: &Arc<Place>, helper: &mut HelperHand) -> Result<(), DockerError> {
    let containers = &place.containers;
    if containers.keep_umask {
        return Ok(());
    }
    let paths: Vec<String> = containers
        .volumes
        .iter()
        .filter_map(|volume| match volume {
            Volume::Reusable { destination, options, .. } | Volume::Temporary { destination, options } => {
                let read_only = options.split(',').any(|option| option.eq_ignore_ascii_case("ro"));
                (!read_only).then(|| destination.clone())
            }
            Volume::Bind(_) => None,
        })
        .collect();
    if paths.is_empty() {
        return Ok(());
    }
    let (code, said) = call(place, helper, HelperWork::OpenUp(paths)).await?;
    if code != 0 {
        return Err(DockerError::Lost(format!(
            "the job's volumes cannot be opened to all users: {}",
            said.trim()
        )));
    }
    Ok(())
}

async fn wait_for_services(
    place: &Arc<Place>,
    helper: &mut HelperHand,
    started: &[&Started],
) -> Result<(), DockerError> {
    let Some(limit) = place.containers.service_wait.filter(|_| !started.is_empty()) else { return Ok(()) };
    place.words.info("Waiting for services to be up and running...");
    let (probed, silent): (Vec<&Started>, Vec<&Started>) =
        started.iter().copied().partition(|service| !service.answers.is_empty());
    if !probed.is_empty() {
        let work = HelperWork::WaitForServices {
            services: probed.iter().map(|service| service.answers.clone()).collect(),
            seconds: limit.as_secs().max(1),
        };
        let (_, said) = call(place, helper, work).await?;
        for line in said.lines() {
            let (at, why) = line.split_once(' ').unwrap_or((line, ""));
            if let Some(service) = at.parse::<usize>().ok().and_then(|at| probed.get(at)) {
                services::warn(place, service, &format!("service {:?} timeout: {why}", service.name)).await;
            }
        }
    }
    for service in silent {
        services::warn(place, service, &format!("service {:?} has no exposed ports", service.name)).await;
    }
    Ok(())
}
