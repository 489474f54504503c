//! `harrier up`: a coordinator and a runner of this machine in one process, ready to be pushed to.

use super::serving::{Address, Log, ended, print_results};
use super::{Place, ServeError, finish, first_start, runtime};
use crate::{log_format, runner_cli};
use clap::ValueEnum;
use harrier_base::Secret;
use harrier_coordinator::{App, Settings, serve_on};
use harrier_database::{NewRunner, NewToken, TokenKind};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Serve projects and run their jobs on this machine, with nothing to configure
#[derive(clap::Args)]
pub struct UpArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    address: Address,
    #[command(flatten)]
    log: Log,
    /// Where jobs run, when the runner is made: later its file in the data directory says
    #[arg(long, value_enum, default_value = "shell")]
    executor: ExecutorName,
    /// Image of jobs that name none, with --executor docker
    #[arg(long, value_name = "IMAGE", required_if_eq("executor", "docker"))]
    image: Option<String>,
    /// Most jobs at a time, when the runner is made [default: number of cores]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    jobs: Option<u32>,
}

/// The executors a runner of `up` can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExecutorName {
    /// A shell on this machine: for projects whose authors you trust
    Shell,
    /// Containers
    Docker,
}

/// Runs the command.
pub fn up(args: &UpArgs) -> ExitCode {
    // On a terminal the results are enough.
    match args.log.wanted() {
        true => args.log.start(),
        false => log_format::start_quiet(),
    }
    finish(runtime().and_then(|runtime| {
        let outcome = runtime.block_on(run(args));
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        outcome
    }))
}

async fn run(args: &UpArgs) -> Result<(), ServeError> {
    let (listener, at) = args.address.bind().await?;
    let settings = Settings { narrate: args.log.wanted(), ..args.address.settings(at)? };
    let app = args.place.open(settings).await?;
    let link = first_start::administrator(&app).await?;
    let home = app.data.root().join("runner");
    let config = ensure_runner(&app, &home, &format!("http://{at}"), args).await?;
    let token = push_token(&app, &home).await?;
    let url = &app.settings.external_url;
    println!("Harrier {} at {url}", app.settings.version);
    if let Some(link) = link {
        println!("  set the password of root, once: {link}");
    }
    let (scheme, host) = url.split_once("://").unwrap_or(("http", url));
    println!(
        "  push a repository to it:        git push {scheme}://root:{}@{host}/root/NAME.git HEAD",
        token.expose()
    );
    println!("  its runner:                     {}", config.display());

    let _tasks = app.background().await?;
    tokio::spawn(print_results(Arc::clone(&app)));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve_on(Arc::clone(&app), listener, async {
        // The server stays until the runner has told how its jobs ended.
        let _ = stopped.await;
    }));
    let options =
        runner_cli::host_options(&config, &home).map_err(|error| ServeError::Runner(error.to_string()))?;
    let outcome = tokio::select! {
        outcome = harrier_runner::run(options) => outcome.map(|_| ()).map_err(|error| ServeError::Runner(error.to_string())),
        () = async { ended().await; std::future::pending().await } => Ok(()),
    };
    let _ = stop.send(());
    let _ = server.await;
    outcome
}

/// The runner's file, made at the first start with a runner of the instance.
async fn ensure_runner(app: &App, home: &Path, url: &str, args: &UpArgs) -> Result<PathBuf, ServeError> {
    let config = home.join("config.toml");
    if config.is_file() {
        return Ok(config);
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(home);
    made.map_err(|source| ServeError::Io { path: home.to_owned(), source })?;
    let new = NewRunner {
        projects: None,
        description: "this machine".into(),
        maintenance_note: String::new(),
        tags: Vec::new(),
        run_untagged: true,
        locked: false,
        protected_only: false,
        maximum_timeout: None,
        paused: false,
        created_by: None,
        token_expires_at: None,
    };
    let (runner, token) = app.store.create_runner(new, TokenKind::Runner, app.now()).await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.map_or(cores, |jobs| jobs as usize);
    let executor = match args.executor {
        ExecutorName::Shell => "  executor = \"shell\"\n  shell = \"bash\"\n".to_owned(),
        ExecutorName::Docker => {
            let image = args.image.clone().unwrap_or_default();
            format!(
                "  executor = \"docker\"\n  [runners.docker]\n    image = {}\n    network_mode = \"host\"\n",
                toml_text(&image)
            )
        }
    };
    let text = format!(
        "# Made by `harrier up`; yours to change.\nconcurrent = {jobs}\ncheck_interval = 1\n\n[[runners]]\n  name = \"this machine\"\n  \
         url = {}\n  id = {}\n  token = {}\n{executor}",
        toml_text(url),
        runner.id,
        toml_text(token.expose()),
    );
    write_secret(&config, &text)?;
    Ok(config)
}

/// A TOML string of any text.
fn toml_text(text: &str) -> String {
    // JSON's strings are TOML's, but for characters that need no escape in either.
    serde_json::Value::String(text.to_owned()).to_string()
}

/// A token of root's to push with, kept beside the runner's file.
async fn push_token(app: &App, home: &Path) -> Result<Secret, ServeError> {
    let path = home.join("push-token");
    if let Ok(kept) = fs::read_to_string(&path) {
        let kept = Secret::new(kept.trim());
        if app.store.token(&kept, app.now()).await?.is_some() {
            return Ok(kept);
        }
    }
    let Some((root, _)) = app.store.user_named("root").await? else {
        return Err(ServeError::Words(
            "there is no user `root`; `harrier admin user add root --admin` makes one".into(),
        ));
    };
    let new = NewToken {
        kind: TokenKind::Personal,
        user: Some(root.id),
        project: None,
        name: "harrier up".into(),
        scopes: vec!["write_repository".into()],
        access_level: None,
        expires_at: None,
    };
    let (_, token) = app.store.create_token(new, app.now()).await?;
    write_secret(&path, token.expose())?;
    Ok(token)
}

/// A file for its owner alone, whole or not at all.
fn write_secret(path: &Path, text: &str) -> Result<(), ServeError> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file =
            fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|source| ServeError::Io { path: path.to_owned(), source })
}
