//! The job's services (`executors.md` §10.7): start them, find out where they are, wait until they answer, show their logs.
//!
//! Called while a session is opened. A service that does not answer is a warning, never the end of a job.

use crate::attached::{Sink, split};
use crate::connection::words;
use crate::error::DockerError;
use crate::place::Place;
use crate::pull::{Present, Pulls, Wanted};
use crate::settings::{Kind, Particulars, body};
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;
use harrier_plan::{LABEL_PREFIX, Network, Service};
use std::sync::Arc;

/// Most bytes of a service's log in a warning.
const LOG_LIMIT: usize = 64 * 1024;
/// Most ports that are tried.
const PORTS: usize = 20;
/// First stream number of services (`runner-api.md` §15.3).
const FIRST_STREAM: u8 = 15;

/// A service that runs.
pub(crate) struct Started {
    /// Container.
    pub name: String,
    /// Where it may answer, `ip:port`.
    pub answers: Vec<String>,
    /// For the hosts file of the build container.
    pub hosts: Vec<String>,
}

/// Makes and starts one service. One without an alias of its own is not started.
pub(crate) async fn start(
    place: &Place,
    pulls: &Pulls,
    at: usize,
    service: &Service,
) -> Result<Option<Started>, DockerError> {
    let words = &place.words;
    if service.aliases.is_empty() {
        words.warning(&format!(
            "the service {} is not started: all its names are taken by other services; give it an alias",
            service.image.name
        ));
        return Ok(None);
    }
    let name = place.ticket.services[at].clone();
    words.info(&format!("Starting service {} ...", service.image.name));
    let image = pulls
        .obtain(&Wanted {
            engine: &place.engine,
            image: &service.image,
            auth: &place.containers.auth,
            log: words,
        })
        .await?;
    let request = body(
        &place.containers,
        &place.owner,
        Particulars {
            kind: Kind::Service,
            image: image.reference.clone(),
            entrypoint: service.image.entrypoint.clone(),
            command: service.command.clone(),
            user: service.image.user.clone(),
            privileged: service.image.privileged,
            environment: service.variables.iter().map(|(key, value)| format!("{key}={value}")).collect(),
            binds: place.ticket.binds(&place.containers),
            hosts: Vec::new(),
            aliases: service.aliases.clone(),
            init: place.containers.init,
            labels: [
                (format!("{LABEL_PREFIX}service"), service.slug.clone()),
                (format!("{LABEL_PREFIX}service.version"), service.version.clone()),
            ]
            .into(),
            devices: service.devices.clone(),
            joins: None,
        },
    );
    place.create(&name, request, service.image.platform.as_deref()).await?;
    place.start(&name).await?;
    let found = place
        .state(&name)
        .await?
        .ok_or_else(|| DockerError::Lost(format!("the service container {name} is gone")))?;
    let ips = addresses(&found);
    let answers = places(service, &image, &ips);
    let id: String = found.id.unwrap_or_default().chars().take(12).collect();
    let hosts = match place.containers.network {
        Network::DefaultBridge => service
            .aliases
            .iter()
            .chain([&id])
            .flat_map(|alias| ips.iter().map(move |ip| format!("{alias}:{ip}")))
            .collect(),
        Network::Mode(_) | Network::PerJob { .. } => Vec::new(),
    };
    Ok(Some(Started { name, answers, hosts }))
}

fn addresses(found: &bollard::models::ContainerInspectResponse) -> Vec<String> {
    let networks =
        found.network_settings.as_ref().and_then(|settings| settings.networks.clone()).unwrap_or_default();
    let mut ips: Vec<String> = networks
        .values()
        .flat_map(|network| [network.ip_address.clone(), network.global_ipv6_address.clone()])
        .flatten()
        .filter(|ip| !ip.is_empty())
        .collect();
    ips.sort();
    ips
}

/// Where the service may answer: `HEALTHCHECK_TCP_PORT`, else the lowest exposed ports.
fn places(service: &Service, image: &Present, ips: &[String]) -> Vec<String> {
    let named = service
        .variables
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("HEALTHCHECK_TCP_PORT"))
        .and_then(|(_, value)| value.trim().parse::<u16>().ok());
    let ports = named.map_or_else(|| image.ports.iter().copied().take(PORTS).collect(), |port| vec![port]);
    // On the host's network the service is at every address of the host.
    let local = ["127.0.0.1".to_owned()];
    let ips = if ips.is_empty() { &local[..] } else { ips };
    ports
        .iter()
        .flat_map(|port| {
            ips.iter().map(
                move |ip| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") },
            )
        })
        .collect()
}

/// The warning about a service that does not answer.
pub(crate) async fn warn(place: &Place, service: &Started, why: &str) {
    let mut log = String::new();
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        timestamps: true,
        tail: "all".into(),
        ..LogsOptions::default()
    };
    let mut parts = place.engine.docker.logs(&service.name, Some(options));
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => log.push_str(&String::from_utf8_lossy(&split(part).1)),
            Err(error) => {
                log.push_str(&words(&error));
                break;
            }
        }
        if log.len() > LOG_LIMIT {
            let mut end = LOG_LIMIT;
            while !log.is_char_boundary(end) {
                end -= 1;
            }
            log.truncate(end);
            break;
        }
    }
    place.words.block(&format!(
        "\n*** WARNING: Service {} probably didn't start properly.\n\nHealth check error:\n{why}\n\nHealth check container logs:\n\n\nService container logs:\n{}\n\n*********\n",
        service.name,
        log.trim_end(),
    ));
}

/// Mixes a service's log into the job's (`CI_DEBUG_SERVICES`). With `from_now` what it has said so far is left out. The
/// task ends with the container.
pub(crate) fn follow(place: &Arc<Place>, at: usize, from_now: bool) -> tokio::task::JoinHandle<()> {
    let place = Arc::clone(place);
    tokio::spawn(async move {
        let service = &place.containers.services[at];
        let alias = service.aliases.last().cloned().unwrap_or_default();
        let prefix = format!("\x1b[0;m[service:{}-{alias}] ", service.slug);
        let stream = FIRST_STREAM.saturating_add(u8::try_from(at).unwrap_or(u8::MAX));
        let mut sink = Sink::new(&place, stream);
        let options = LogsOptions {
            follow: true,
            stdout: true,
            stderr: true,
            tail: if from_now { "0".into() } else { "all".into() },
            ..LogsOptions::default()
        };
        let mut parts = place.engine.docker.logs(&place.ticket.services[at], Some(options));
        while let Some(Ok(part)) = parts.next().await {
            let (kind, bytes) = split(part);
            let mut line = prefix.clone().into_bytes();
            line.extend_from_slice(&bytes);
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            sink.take(kind, &line);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_plan::ContainerImage;

    #[test]
    fn ports_to_try() {
        let service = |variables: &[(&str, &str)]| Service {
            image: ContainerImage {
                name: "s".into(),
                entrypoint: None,
                user: None,
                platform: None,
                policies: vec![],
                privileged: false,
            },
            aliases: vec!["s".into()],
            slug: "s".into(),
            version: "latest".into(),
            command: None,
            variables: variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            devices: vec![],
        };
        let image =
            Present { reference: "s".into(), has_entrypoint: false, root: true, ports: vec![80, 443] };
        let ips = ["10.0.0.2".to_owned(), "fd00::2".to_owned()];
        assert_eq!(places(&service(&[]), &image, &ips[..1]), ["10.0.0.2:80", "10.0.0.2:443"]);
        assert_eq!(
            places(&service(&[("healthcheck_tcp_port", "5432")]), &image, &ips),
            ["10.0.0.2:5432", "[fd00::2]:5432"]
        );
        assert_eq!(places(&service(&[]), &image, &[]), ["127.0.0.1:80", "127.0.0.1:443"]);
    }
}
