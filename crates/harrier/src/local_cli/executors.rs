//! The executors of a local run, from its command line. It must never start anything.

use super::Failed;
use super::args::{DockerArgs, ExecutorName, Pull, RunArgs};
use harrier_config::{DockerSpec, PullPolicy};
use harrier_docker::DockerExecutor;
use harrier_local::{Executors, Where};
use harrier_shell::ShellExecutor;
use std::sync::Arc;
use std::time::Duration;

/// How long services may take to be ready, as a runner's default.
const SERVICES: Duration = Duration::from_secs(30);

/// What the arguments ask for.
pub fn of(args: &RunArgs) -> Result<Executors, Failed> {
    let place = match args.executor {
        None => Where::ByImage,
        Some(ExecutorName::Shell) => Where::Shell,
        Some(ExecutorName::Docker) => Where::Docker,
    };
    Ok(Executors { place, settings: settings(&args.docker)?, ..plain() })
}

/// Those of a command line that says nothing.
pub fn plain() -> Executors {
    Executors {
        place: Where::ByImage,
        shell: Arc::new(ShellExecutor::new(None)),
        docker: Arc::new(docker().with_cache_budget(crate::cache_budget())),
        settings: DockerSpec::default(),
    }
}

/// Containers of the user's own engine.
pub fn docker() -> DockerExecutor {
    DockerExecutor::new().trusting_present_images()
}

fn settings(args: &DockerArgs) -> Result<DockerSpec, Failed> {
    let policy = match args.pull_policy {
        Pull::Always => PullPolicy::Always,
        Pull::IfNotPresent => PullPolicy::IfNotPresent,
        Pull::Never => PullPolicy::Never,
    };
    Ok(DockerSpec {
        image: args.image.clone(),
        privileged: args.privileged,
        services_privileged: args.privileged,
        volumes: args.docker_volumes.iter().map(|text| volume(text)).collect::<Result<_, _>>()?,
        network_mode: args.docker_network_mode.clone(),
        wait_for_services_timeout: Some(SERVICES),
        pull_policies: vec![policy],
        // It is the user's own engine.
        allowed_pull_policies: vec![PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never],
        ..DockerSpec::default()
    })
}

/// A source relative to where one stands becomes absolute, as on Docker's command line.
fn volume(text: &str) -> Result<String, Failed> {
    if !matches!(text.as_bytes(), [b'.', b':' | b'/', ..] | [b'.', b'.', b':' | b'/', ..]) {
        return Ok(text.to_owned());
    }
    let Some((source, rest)) = text.split_once(':') else { return Ok(text.to_owned()) };
    let source = super::here()?.join(source);
    Ok(format!("{}:{rest}", source.canonicalize().unwrap_or(source).display()))
}
