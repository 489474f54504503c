//! Which sections an entry of each executor has, and what `register` asks for them (`runner-config.md` §2.1.1,
//! steps 7 and 8).
//!
//! Called by `register`.

use super::ask::Asker;
use super::error::CliError;
use harrier_config::executors_of;
use harrier_config::mirror::{
    Azure, Cache, Capabilities, ContainerSecurityContext, DnsConfig, Docker, Gcs, Kubernetes, Runner, S3,
    Volumes,
};

/// Drops the sections of other executors and makes those of its own, with the empty tables GitLab Runner writes.
pub fn keep_only_own(runner: &mut Runner) {
    let executor = runner.executor.clone().unwrap_or_default();
    let has = |section| executors_of(section).is_some_and(|executors| executors.contains(&executor.as_str()));
    let cache = runner.cache.get_or_insert_with(Cache::default);
    cache.s3.get_or_insert_with(S3::default);
    cache.gcs.get_or_insert_with(Gcs::default);
    cache.azure.get_or_insert_with(Azure::default);
    runner.referees = None;
    own(&mut runner.docker, has("docker"));
    own(&mut runner.machine, has("machine"));
    own(&mut runner.ssh, has("ssh"));
    own(&mut runner.parallels, has("parallels"));
    own(&mut runner.virtualbox, has("virtualbox"));
    own(&mut runner.custom, has("custom"));
    own(&mut runner.kubernetes, has("kubernetes"));
    if let Some(kubernetes) = &mut runner.kubernetes {
        empty_tables(kubernetes);
    }
    if !has("autoscaler") {
        runner.autoscaler = None;
        runner.instance = None;
    }
}

fn own<T: Default>(section: &mut Option<T>, is_own: bool) {
    if is_own {
        section.get_or_insert_with(T::default);
    } else {
        *section = None;
    }
}

fn empty_tables(kubernetes: &mut Kubernetes) {
    for context in [
        &mut kubernetes.init_permissions_container_security_context,
        &mut kubernetes.build_container_security_context,
        &mut kubernetes.helper_container_security_context,
        &mut kubernetes.service_container_security_context,
    ] {
        let context = context.get_or_insert_with(ContainerSecurityContext::default);
        context.capabilities.get_or_insert_with(Capabilities::default);
    }
    kubernetes.volumes.get_or_insert_with(Volumes::default);
    kubernetes.dns_config.get_or_insert_with(DnsConfig::default);
}

/// Asks what the executor needs.
pub async fn ask_for_missing(runner: &mut Runner, asker: Asker) -> Result<(), CliError> {
    match runner.executor.as_deref().unwrap_or_default() {
        "docker" | "docker+machine" | "docker-autoscaler" => {
            let docker = runner.docker.get_or_insert_with(Docker::default);
            ask_image(docker, "ruby:3.3", asker).await?;
            let has_cache = docker.volumes.iter().any(|volume| volume.rsplit(':').next() == Some("/cache"));
            if !has_cache && docker.disable_cache != Some(true) {
                docker.volumes.push("/cache".to_owned());
            }
        }
        "docker-windows" => {
            runner.shell.get_or_insert_with(|| "pwsh".to_owned());
            let docker = runner.docker.get_or_insert_with(Docker::default);
            ask_image(docker, "mcr.microsoft.com/windows/servercore:ltsc2022", asker).await?;
            if !docker.volumes.iter().any(|volume| volume.contains("c:\\cache")) {
                docker.volumes.push("c:\\cache".to_owned());
            }
        }
        "ssh" => {
            ask_address(runner, asker).await?;
            ask_login(runner, asker).await?;
        }
        "parallels" => {
            let machine = runner.parallels.get_or_insert_with(Default::default);
            let prompt = "Enter the Parallels VM (for example, my-vm):";
            let name = asker.ask("parallels-base-name", prompt, machine.base_name.take(), false).await?;
            machine.base_name = Some(name);
            ask_address(runner, asker).await?;
        }
        "virtualbox" => {
            let machine = runner.virtualbox.get_or_insert_with(Default::default);
            let prompt = "Enter the VirtualBox VM (for example, my-vm):";
            let name = asker.ask("virtualbox-base-name", prompt, machine.base_name.take(), false).await?;
            machine.base_name = Some(name);
            ask_login(runner, asker).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn ask_image(docker: &mut Docker, example: &str, asker: Asker) -> Result<(), CliError> {
    let prompt = format!("Enter the default Docker image (for example, {example}):");
    docker.image = Some(asker.ask("docker-image", &prompt, docker.image.take(), false).await?);
    Ok(())
}

async fn ask_address(runner: &mut Runner, asker: Asker) -> Result<(), CliError> {
    let ssh = runner.ssh.get_or_insert_with(Default::default);
    let prompt = "Enter the SSH server address (for example, my.server.com):";
    ssh.host = Some(asker.ask("ssh-host", prompt, ssh.host.take(), false).await?);
    let prompt = "Enter the SSH server port (for example, 22):";
    ssh.port = Some(asker.ask("ssh-port", prompt, ssh.port.take(), true).await?);
    Ok(())
}

async fn ask_login(runner: &mut Runner, asker: Asker) -> Result<(), CliError> {
    let ssh = runner.ssh.get_or_insert_with(Default::default);
    let prompt = "Enter the SSH user (for example, root):";
    ssh.user = Some(asker.ask("ssh-user", prompt, ssh.user.take(), false).await?);
    let prompt = "Enter the SSH password (for example, docker.io):";
    if ssh.password.as_ref().is_none_or(harrier_base::Secret::is_empty) {
        // A password that is there already is not shown as a suggestion.
        ssh.password = Some(harrier_base::Secret::new(asker.ask("ssh-password", prompt, None, true).await?));
    }
    let prompt = "Enter the path to the SSH identity file (for example, /home/user/.ssh/id_rsa):";
    ssh.identity_file = Some(asker.ask("ssh-identity-file", prompt, ssh.identity_file.take(), true).await?);
    Ok(())
}
