//! `gc`: makes room among the caches that the jobs of this file's runners have in their engines. Not a command of GitLab
//! Runner's; it works beside a runner that runs.
//!
//! Called by the dispatch.

use super::config_file::ConfigFile;
use super::error::CliError;
use harrier_config::{ExecutorSpec, load};
use harrier_docker::{Cache, CacheKind, DockerExecutor, MakeRoom, parse_budget};
use harrier_runner::state_dir;
use std::path::PathBuf;
use std::time::SystemTime;

/// Remove the cache volumes and helper images that were used longest ago, until the rest fits
#[derive(clap::Args)]
pub struct Gc {
    #[command(flatten)]
    file: ConfigFile,
    /// What may stay in each engine, as 20g, 512m or 0 [default: HARRIER_DOCKER_CACHE_BUDGET, else 20g]
    #[arg(long, value_name = "SIZE")]
    budget: Option<String>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command: one line for each thing that goes, one for the whole of each engine.
pub async fn run(args: Gc) -> Result<(), CliError> {
    let config = std::path::absolute(&args.file.path).map_err(CliError::Start)?;
    let host = load(&config)?;
    let bad = |why| CliError::BadFlag { flag: "budget".to_owned(), why };
    let budget = match &args.budget {
        Some(text) => parse_budget(text).map_err(bad)?,
        None => crate::cache_budget(),
    };
    let state = state_dir(&config, std::env::var_os("HARRIER_STATE_DIR").map(PathBuf::from));
    let wanted = MakeRoom { budget: budget.unwrap_or(u64::MAX), dry_run: args.dry_run, others_images: true };
    let mut engines = Vec::new();
    for runner in &host.runners {
        if let ExecutorSpec::Docker(docker) = &runner.executor
            && !engines.contains(&docker.connection)
        {
            engines.push(docker.connection.clone());
        }
    }
    if engines.is_empty() {
        return Err(CliError::Refused(format!(
            "{} has no entry with the docker executor, so there are no caches in an engine",
            config.display()
        )));
    }
    let docker = DockerExecutor::new();
    let mut failed = Vec::new();
    for engine in engines {
        let room = docker
            .make_room(&state, &engine, wanted)
            .await
            .map_err(|error| CliError::Refused(error.message))?;
        for cache in &room.removed {
            println!("{} {}", if args.dry_run { "would remove" } else { "removed" }, line(cache));
        }
        println!("{} of caches, {} after that", megabytes(room.before), megabytes(room.after()));
        failed.extend(room.failed);
    }
    if failed.is_empty() { Ok(()) } else { Err(CliError::Refused(failed.join("; "))) }
}

fn line(cache: &Cache) -> String {
    let kind = match cache.kind {
        CacheKind::Volume => "volume",
        CacheKind::HelperImage => "helper image",
    };
    let used = match SystemTime::now().duration_since(cache.used) {
        _ if cache.used == SystemTime::UNIX_EPOCH => "no use known".to_owned(),
        Ok(gone) if gone.as_secs() < 7200 => format!("used {} min ago", gone.as_secs() / 60),
        Ok(gone) => format!("used {} h ago", gone.as_secs() / 3600),
        Err(_) => "used just now".to_owned(),
    };
    format!("{kind} {} ({}, {used})", cache.name, megabytes(cache.size))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
