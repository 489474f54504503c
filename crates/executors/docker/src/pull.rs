//! Making images present (`executors.md` §10.2): policies, log-ins, retries, and one pull of an image at a time for
//! all jobs that wait for it.
//!
//! Called when a session is opened. What failed is told with all that is needed to mend it; a password never.

use crate::auth::{AuthSource, Choice, Login, choose};
use crate::auth_sources::gather;
use crate::connection::{Engine, status, words};
use crate::image_name::ImageName;
use crate::present_check::{Proofs, Provenance, provenance};
use crate::registry::{Answer, RegistrySettings, ask};
use crate::words::Words;
use bollard::auth::DockerCredentials;
use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use harrier_base::FailureReason;
use harrier_config::PullPolicy;
use harrier_plan::{Auth, ContainerImage};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Tries of one pull, network errors only.
const TRIES: u32 = 3;
/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(3);

/// An image that is there.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    /// What containers are made from.
    pub reference: String,
    /// It has an entrypoint of its own.
    pub has_entrypoint: bool,
    /// Its user is root.
    pub root: bool,
    /// TCP ports it exposes.
    pub ports: Vec<u16>,
}

/// Why an image cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ImageError {
    /// Everything.
    pub message: String,
    /// For the server.
    pub reason: FailureReason,
}

/// All pulls of this process.
#[derive(Default)]
pub(crate) struct Pulls {
    /// Present images are used without asking their registry.
    trust_present: bool,
    proofs: Proofs,
    running: Mutex<HashMap<String, watch::Receiver<PullState>>>,
}

#[derive(Clone, Default)]
struct PullState {
    progress: String,
    /// The registry's answer, or nothing if it is here.
    end: Option<Result<(), String>>,
}

/// What is asked for, and by whom.
pub(crate) struct Wanted<'a> {
    pub engine: &'a Engine,
    pub image: &'a ContainerImage,
    pub auth: &'a Auth,
    pub log: &'a Words,
}

impl Pulls {
    /// Ones that use present images without asking.
    pub fn trusting() -> Self {
        Self { trust_present: true, ..Self::default() }
    }

    /// Makes the image present by the first policy that can.
    pub async fn obtain(&self, wanted: &Wanted<'_>) -> Result<Present, ImageError> {
        let (image, log) = (wanted.image, wanted.log);
        let list: Vec<&str> = image.policies.iter().map(|policy| policy.wire()).collect();
        log.info(&format!(
            "Using effective pull policy of [{}] for container {}",
            list.join(" "),
            image.name
        ));
        let mut failed = None;
        for (at, policy) in image.policies.iter().enumerate() {
            if at > 0 {
                log.info(&format!("Attempt #{}: Trying \"{}\" pull policy", at + 1, policy.wire()));
            }
            match self.by_policy(wanted, *policy).await {
                Ok(present) => return Ok(present),
                Err(error) => {
                    if at + 1 < image.policies.len() {
                        log.warning(&format!(
                            "Failed to pull image with policy \"{}\": {}",
                            policy.wire(),
                            error.message
                        ));
                        if image.policies[at + 1..].iter().any(|next| *next != PullPolicy::Always) {
                            log.warning(&format!(
                                "the local image of {} is used if there is one",
                                image.name
                            ));
                        }
                    }
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| ImageError {
            message: format!("no pull policy is set for the image {:?}", image.name),
            reason: FailureReason::RunnerConfigurationError,
        }))
    }

    async fn by_policy(&self, wanted: &Wanted<'_>, policy: PullPolicy) -> Result<Present, ImageError> {
        let (engine, image, log) = (wanted.engine, wanted.image, wanted.log);
        let name = ImageName::parse(&image.name);
        let local = match (policy, &name) {
            // Images given by their id are never pulled.
            (_, None) | (PullPolicy::IfNotPresent | PullPolicy::Never, _) => {
                inspect(engine, &image.name).await?
            }
            (PullPolicy::Always, Some(_)) => None,
        };
        match (local, &name, policy) {
            (Some(found), _, PullPolicy::IfNotPresent) => {
                self.may_use(wanted, name.as_ref(), &found).await?;
                log.info("Using locally found image version due to \"if-not-present\" pull policy");
                Ok(present(wanted, &found))
            }
            (Some(found), _, PullPolicy::Always) => {
                self.may_use(wanted, name.as_ref(), &found).await?;
                Ok(present(wanted, &found))
            }
            // Whoever runs the runner has said that what is here is for all.
            (Some(found), _, PullPolicy::Never) => Ok(present(wanted, &found)),
            (None, Some(name), PullPolicy::Always | PullPolicy::IfNotPresent) => {
                self.pull(wanted, name).await?;
                match inspect(engine, &name.pull_reference()).await? {
                    Some(found) => Ok(present(wanted, &found)),
                    None => Err(ImageError {
                        message: format!(
                            "the image {:?} was pulled but the engine at {} does not have it; something removed it at the same time",
                            image.name, engine.address
                        ),
                        reason: FailureReason::RunnerSystemFailure,
                    }),
                }
            }
            (None, _, _) => Err(ImageError {
                message: format!(
                    "the image {:?} is not present on the engine at {} and is not pulled (pull policy {}); pull it there, or allow another pull_policy",
                    image.name,
                    engine.address,
                    policy.wire()
                ),
                reason: FailureReason::RunnerConfigurationError,
            }),
        }
    }

    /// An error unless the job's own log-in, or nobody's, may read the present image at the registry it came from.
    async fn may_use(
        &self,
        wanted: &Wanted<'_>,
        asked_for: Option<&ImageName>,
        found: &ImageInspect,
    ) -> Result<(), ImageError> {
        let list = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
        let names = match provenance(
            &wanted.image.name,
            &list(&found.repo_tags),
            &list(&found.repo_digests),
            found.identity.as_ref(),
        ) {
            Provenance::Registry(names) if !self.trust_present => names,
            Provenance::Registry(_) | Provenance::Local => return Ok(()),
        };
        let configuration =
            |message: String| ImageError { message, reason: FailureReason::RunnerConfigurationError };
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let sources =
            gather(wanted.auth, home.as_deref()).await.map_err(|error| configuration(error.to_string()))?;
        let settings = RegistrySettings::of_this_machine();
        let mut problems = Vec::new();
        for name in &names {
            let choice = choose(&sources, name);
            let login = choice.login.as_ref().map(|(login, _)| login);
            if self.proofs.is_fresh(name, login) {
                return Ok(());
            }
            let mut answer = ask(name, login, &settings).await.answer;
            // A registry may have dropped this very image since; its name there is another word for the repository.
            if let (Answer::NotFound(_), Some(tagged)) =
                (&answer, asked_for.filter(|asked| asked.path == name.path))
            {
                answer = ask(tagged, login, &settings).await.answer;
            }
            let problem = match answer {
                Answer::Found { .. } => {
                    self.proofs.note(name, login);
                    return Ok(());
                }
                // The engine may be in another network, and knows mirrors and certificates of its own.
                Answer::Unreachable { at, why, .. } => match ask_engine(wanted.engine, name, login).await {
                    Ok(()) => {
                        self.proofs.note(name, login);
                        return Ok(());
                    }
                    Err(said) if refused(&said) => {
                        self.proofs.forget(name, login);
                        format!("{at} does not answer the runner ({why}); the engine was told: {said}")
                    }
                    Err(_) if self.proofs.is_of_use(name, login) => {
                        wanted.log.warning(&format!(
                            "{at} does not answer ({why}); the local image of {} is used, because these credentials could \
                             read it within the last day",
                            wanted.image.name
                        ));
                        return Ok(());
                    }
                    Err(said) => format!("{at} does not answer: {why}; nor does the engine reach it: {said}"),
                },
                Answer::Refused(said) | Answer::NotFound(said) => {
                    self.proofs.forget(name, login);
                    said.to_string()
                }
                Answer::Unexpected(said) => said.to_string(),
            };
            let with = match &choice.login {
                Some((login, origin)) => format!("with the user {:?} from {origin}", login.username),
                None => "without credentials".to_owned(),
            };
            problems.push(format!("{}/{} {with}: {problem}", name.registry, name.path));
        }
        Err(configuration(format!(
            "the image {:?} is present on the engine at {}, but this job has not shown that it may use it:\n  {}\n  what to \
             do: give the job credentials that may pull it (DOCKER_AUTH_CONFIG, or docker login as the runner's user); \
             where every job may use every present image, start the runner with HARRIER_TRUST_PRESENT_IMAGES=true",
            wanted.image.name,
            wanted.engine.address,
            problems.join("\n  ")
        )))
    }

    async fn pull(&self, wanted: &Wanted<'_>, name: &ImageName) -> Result<(), ImageError> {
        let log = wanted.log;
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let sources: Vec<AuthSource> = gather(wanted.auth, home.as_deref()).await.map_err(|error| {
            ImageError { message: error.to_string(), reason: FailureReason::RunnerConfigurationError }
        })?;
        let choice = choose(&sources, name);
        for problem in &choice.problems {
            log.warning(problem);
        }
        if let Some((_, origin)) = &choice.login {
            log.info(&format!("Authenticating with credentials from {origin}"));
        }
        log.info(&format!("Pulling docker image {} ...", wanted.image.name));
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(answer) = self.shared(wanted, name, choice.login.as_ref().map(|(login, _)| login)).await
            else {
                self.proofs.note(name, choice.login.as_ref().map(|(login, _)| login));
                return Ok(());
            };
            let class = classify(&answer);
            if class != FailureReason::RunnerExternalDependencyFailure || tries == TRIES {
                return Err(ImageError { message: explain(name, &choice, &answer, class), reason: class });
            }
            let pause = jittered(tries);
            log.warning(&format!(
                "pulling {} failed: {answer}; trying again in {} s",
                wanted.image.name,
                pause.as_secs()
            ));
            tokio::time::sleep(pause).await;
        }
    }

    /// Joins the pull that is going on, or starts it.
    async fn shared(
        &self,
        wanted: &Wanted<'_>,
        name: &ImageName,
        login: Option<&Login>,
    ) -> Result<(), String> {
        let engine = wanted.engine;
        let platform = wanted.image.platform.clone().map(|text| full_platform(&text)).unwrap_or_default();
        let reference = name.pull_reference();
        let credentials = login.map(|login| credentials(login, &name.registry));
        let key = key(&engine.address, &reference, &platform, credentials.as_ref());
        let mut state = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            // One that has ended answers for the past only.
            running.retain(|_, state| state.borrow().end.is_none() && state.has_changed().is_ok());
            match running.get(&key) {
                Some(state) => state.clone(),
                None => {
                    let (tx, rx) = watch::channel(PullState::default());
                    running.insert(key, rx.clone());
                    tokio::spawn(carry_out(engine.clone(), reference, platform, credentials, Arc::new(tx)));
                    rx
                }
            }
        };
        let mut shown = String::new();
        loop {
            let PullState { progress, end } = state.borrow_and_update().clone();
            if let Some(end) = end {
                return end;
            }
            if progress != shown {
                wanted.log.info(&format!("{}: {progress}", wanted.image.name));
                shown = progress;
            }
            if state.changed().await.is_err() {
                return match state.borrow().end.clone() {
                    Some(end) => end,
                    None => Err("the pull was given up".to_owned()),
                };
            }
        }
    }
}

/// The pull itself. It ends early when nobody waits for it any more.
async fn carry_out(
    engine: Engine,
    reference: String,
    platform: String,
    credentials: Option<DockerCredentials>,
    tx: Arc<watch::Sender<PullState>>,
) {
    let (image, tag) = split_tag(&reference);
    let options =
        CreateImageOptions { from_image: Some(image), tag, platform, ..CreateImageOptions::default() };
    let pulling = async {
        let mut answers = engine.docker.create_image(Some(options), None, credentials);
        let mut layers: HashMap<String, (i64, i64)> = HashMap::new();
        let mut told = Instant::now();
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(|error| words(&error))?;
            if let (Some(id), Some(detail)) = (answer.id, answer.progress_detail)
                && answer.status.as_deref() == Some("Downloading")
                && let (Some(now), Some(all)) = (detail.current, detail.total)
            {
                layers.insert(id, (now, all));
            }
            if told.elapsed() >= PROGRESS_EVERY && !layers.is_empty() {
                told = Instant::now();
                let (now, all) =
                    layers.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
                let text =
                    format!("{} of {} MB in {} layers", now / 1_000_000, all / 1_000_000, layers.len());
                tx.send_modify(|state| state.progress = text);
            }
        }
        Ok(())
    };
    let end = tokio::select! {
        end = pulling => end,
        () = abandoned(&tx) => Err("nobody waited for the pull any more".to_owned()),
    };
    tx.send_modify(|state| state.end = Some(end));
}

/// Ends when only the registry of running pulls still listens.
async fn abandoned(tx: &watch::Sender<PullState>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if tx.receiver_count() <= 1 {
            return;
        }
    }
}

/// The engine wants the tag apart from the name; a digest stays with it.
fn split_tag(reference: &str) -> (String, Option<String>) {
    let last = reference.rfind('/').map_or(0, |at| at + 1);
    if reference.contains('@') {
        return (reference.to_owned(), None);
    }
    match reference[last..].rfind(':') {
        Some(at) => (reference[..last + at].to_owned(), Some(reference[last + at + 1..].to_owned())),
        None => (reference.to_owned(), None),
    }
}

/// A bare architecture means linux.
pub(crate) fn full_platform(text: &str) -> String {
    if text.contains('/') { text.to_owned() } else { format!("linux/{text}") }
}

fn credentials(login: &Login, registry: &str) -> DockerCredentials {
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    let mut out =
        DockerCredentials { serveraddress: Some(server.to_owned()), ..DockerCredentials::default() };
    match &login.identity_token {
        Some(token) => out.identitytoken = Some(token.expose().to_owned()),
        None => {
            out.username = Some(login.username.clone());
            out.password = Some(login.password.expose().to_owned());
        }
    }
    out
}

/// Who may share a pull: only who would log in alike.
fn key(engine: &str, reference: &str, platform: &str, credentials: Option<&DockerCredentials>) -> String {
    let mut digest = Sha256::new();
    if let Some(c) = credentials {
        for part in [&c.username, &c.password, &c.identitytoken] {
            digest.update(part.as_deref().unwrap_or_default().as_bytes());
            digest.update([0]);
        }
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{engine} {reference} {platform} {digest}")
}

/// Whether this log-in, or nobody's, was not let in.
fn refused(answer: &str) -> bool {
    const REFUSALS: [&str; 6] = [
        "pull access denied",
        "access to the resource is denied",
        "no basic auth credentials",
        "repository does not exist or may require",
        "unauthorized",
        "authentication required",
    ];
    let answer = answer.to_ascii_lowercase();
    REFUSALS.iter().any(|part| answer.contains(part))
}

/// Whether the engine may read a manifest with this log-in, of the tag or the digest that it has; else its words.
async fn ask_engine(engine: &Engine, name: &ImageName, login: Option<&Login>) -> Result<(), String> {
    let credentials = login.map(|login| credentials(login, &name.registry));
    let answer = engine.docker.inspect_registry_image(&name.pull_reference(), credentials).await;
    answer.map(|_| ()).map_err(|error| words(&error))
}

/// `executors.md` §1.3
fn classify(answer: &str) -> FailureReason {
    const NETWORK: [&str; 8] = [
        "dial tcp",
        "connection refused",
        "no such host",
        "i/o timeout",
        "tls handshake",
        "client.timeout exceeded",
        "request canceled",
        "connection reset",
    ];
    let lower = answer.to_ascii_lowercase();
    let says = |list: &[&str]| list.iter().any(|part| lower.contains(part));
    if says(&NETWORK) {
        FailureReason::RunnerExternalDependencyFailure
    } else if refused(answer) || says(&["not found", "manifest unknown"]) {
        FailureReason::RunnerConfigurationError
    } else {
        FailureReason::ImagePullFailure
    }
}

/// Image, registry, sources, answer, fix.
fn explain(name: &ImageName, choice: &Choice, answer: &str, class: FailureReason) -> String {
    let mut text =
        format!("failed to pull image {:?} from the registry {}: {answer}", name.given, name.registry);
    let looked: Vec<String> = choice
        .looked_at
        .iter()
        .map(|(origin, registries)| match registries.as_slice() {
            [] => format!("{origin} (empty)"),
            some => format!("{origin} (has {})", some.join(", ")),
        })
        .collect();
    let looked = if looked.is_empty() {
        "no DOCKER_AUTH_CONFIG, no Docker configuration of the runner's user, no credentials of the job"
            .to_owned()
    } else {
        looked.join("; ")
    };
    let lower = answer.to_ascii_lowercase();
    let denied = ["denied", "unauthorized", "authentication", "credentials", "may require"]
        .iter()
        .any(|word| lower.contains(word));
    let fix = match (&choice.login, class) {
        (_, FailureReason::RunnerExternalDependencyFailure) => format!(
            "the registry cannot be reached from the engine: check its address, the network and the engine's proxy; add if-not-present to pull_policy to use a local image of {} meanwhile",
            name.path
        ),
        (None, _) if denied => format!(
            "no credentials were used; add an entry for {:?} to the variable DOCKER_AUTH_CONFIG, or log in as the runner's user (docker login {})",
            name.registry, name.registry
        ),
        (Some((login, origin)), _) if denied => format!(
            "the credentials of the user {:?} from {origin} were refused, or may not read this image: renew them there",
            login.username
        ),
        (_, FailureReason::RunnerConfigurationError) => "check the image's name and tag".to_owned(),
        _ => "see the engine's log".to_owned(),
    };
    text.push_str(&format!("\n  credentials looked at: {looked}\n  what to do: {fix}"));
    text
}

fn jittered(tries: u32) -> Duration {
    let random = harrier_process::random_word().unwrap_or_default();
    let spread =
        random.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))) % 1000;
    let base = 2000 * u64::from(tries);
    Duration::from_millis((base + spread * 2).min(10_000))
}

/// The image as the engine has it, if it does.
pub(crate) async fn inspect(engine: &Engine, name: &str) -> Result<Option<ImageInspect>, ImageError> {
    match engine.docker.inspect_image(name).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(ImageError {
            message: format!(
                "the engine at {} cannot look up the image {name:?}: {}",
                engine.address,
                words(&error)
            ),
            reason: FailureReason::RunnerSystemFailure,
        }),
    }
}

/// Whether a container's user, as images and requests have it, is root.
pub(crate) fn is_root(user: &str) -> bool {
    matches!(user.split(':').next().unwrap_or_default(), "" | "0" | "root")
}

/// The digest of the repository that was asked for. One of another name may be untagged by whoever it belongs to.
fn own_digest(asked: &str, found: &ImageInspect) -> Option<String> {
    let asked = ImageName::parse(asked)?;
    let digests = found.repo_digests.iter().flatten();
    let mut own = digests.filter(|text| {
        ImageName::parse(text)
            .is_some_and(|digest| digest.registry == asked.registry && digest.path == asked.path)
    });
    own.next().cloned()
}

fn present(wanted: &Wanted<'_>, found: &ImageInspect) -> Present {
    let id = found.id.clone().unwrap_or_default();
    let digest = found.repo_digests.as_ref().and_then(|list| list.first()).cloned();
    wanted.log.info(&match &digest {
        Some(digest) => format!("Using docker image {id} for {} with digest {digest} ...", wanted.image.name),
        None => format!("Using docker image {id} for {} ...", wanted.image.name),
    });
    let config = found.config.clone().unwrap_or_default();
    let mut ports: Vec<u16> = config
        .exposed_ports
        .unwrap_or_default()
        .iter()
        .filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok())
        .collect();
    ports.sort_unstable();
    Present {
        reference: own_digest(&wanted.image.name, found).unwrap_or(id),
        root: is_root(config.user.as_deref().unwrap_or_default()),
        has_entrypoint: config.entrypoint.is_some_and(|words| !words.is_empty()),
        ports,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_base::Secret;

    #[test]
    fn containers_are_made_by_the_name_that_was_asked_for() {
        let digests = ["reg.io/g/app@sha256:0a", "busybox@sha256:0b", "reg.io/g/app@sha256:0c"];
        let found = ImageInspect {
            repo_digests: Some(digests.map(str::to_owned).to_vec()),
            ..ImageInspect::default()
        };
        for (asked, want) in [
            ("reg.io/g/app:1", Some("reg.io/g/app@sha256:0a")),
            ("docker.io/library/busybox", Some("busybox@sha256:0b")),
            ("mine", None),
            ("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", None),
        ] {
            assert_eq!(own_digest(asked, &found).as_deref(), want, "{asked}");
        }
    }

    #[test]
    fn answers_of_registries_have_their_class() {
        for (answer, class) in [
            (
                "Get https://r/v2/: dial tcp 10.0.0.1:443: connect: connection refused",
                FailureReason::RunnerExternalDependencyFailure,
            ),
            ("manifest for a:b not found: manifest unknown", FailureReason::RunnerConfigurationError),
            ("Head https://r/v2/x: no basic auth credentials", FailureReason::RunnerConfigurationError),
            ("unauthorized: authentication required", FailureReason::RunnerConfigurationError),
            ("toomanyrequests: slow down", FailureReason::ImagePullFailure),
        ] {
            assert_eq!(classify(answer), class, "{answer}");
        }
    }

    #[test]
    fn a_failure_names_everything_but_the_password() {
        let name = ImageName::parse("reg.io:5000/g/app:1").expect("a name");
        let choice = Choice {
            login: Some((
                Login { username: "bob".into(), password: Secret::new("s3cret"), identity_token: None },
                "the variable DOCKER_AUTH_CONFIG".into(),
            )),
            looked_at: vec![("the variable DOCKER_AUTH_CONFIG".into(), vec!["reg.io:5000".into()])],
            problems: vec![],
        };
        let text = explain(&name, &choice, "unauthorized", FailureReason::RunnerConfigurationError);
        for part in [
            "\"reg.io:5000/g/app:1\"",
            "registry reg.io:5000",
            "unauthorized",
            "DOCKER_AUTH_CONFIG",
            "\"bob\"",
            "renew",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("s3cret"));
        let none = Choice { login: None, looked_at: vec![], problems: vec![] };
        let text =
            explain(&name, &none, "no basic auth credentials", FailureReason::RunnerConfigurationError);
        assert!(text.contains("docker login reg.io:5000"), "{text}");
    }

    #[test]
    fn tags_are_told_apart() {
        for (reference, image, tag) in [
            ("a:b", "a", Some("b")),
            ("r:5000/a:latest", "r:5000/a", Some("latest")),
            ("r:5000/a@sha256:00", "r:5000/a@sha256:00", None),
        ] {
            assert_eq!(split_tag(reference), (image.to_owned(), tag.map(str::to_owned)));
        }
    }
}
