//! `harrier serve`: the coordinator until a signal ends it.

use super::{Place, ServeError, finish, first_start, runtime};
use crate::{log_format, version};
use harrier_base::Secret;
use harrier_coordinator::{
    App, Credentials, Network, ObjectStorage, Registry, RegistryLogin, Settings, Templates, credentials_in,
    serve_on,
};
use harrier_database::{Change, DatabaseError};
use harrier_pipeline::Status;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What `serve --help` says below the options.
const AFTER: &str = "\
The first start prints a link that sets the password of `root`, once.
TERM and INT end the server: requests that are under way are answered first. Jobs go on at their runners.";

/// Serve projects: git push, pipelines for registered runners, pages
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct ServeArgs {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub address: Address,
    #[command(flatten)]
    pub log: Log,
}

/// What a server says on standard error.
#[derive(clap::Args, Clone)]
pub struct Log {
    /// Form of the log [default: runner]
    #[arg(long, env = "HARRIER_LOG_FORMAT", value_name = "FORMAT", value_parser = ["json", "text", "runner"])]
    pub log_format: Option<String>,
    /// Least level of its lines [default: info]
    #[arg(long, env = "HARRIER_LOG_LEVEL", value_name = "LEVEL", value_parser = ["debug", "info", "warn", "error"])]
    pub log_level: Option<String>,
}

impl Log {
    /// Starts it.
    pub fn start(&self) {
        let level = self.log_level.as_deref().and_then(log_format::level_named);
        let format = self.log_format.as_deref().and_then(log_format::Format::named);
        log_format::start(level, format);
    }

    /// Somebody has said how they want it.
    pub fn wanted(&self) -> bool {
        self.log_format.is_some() || self.log_level.is_some()
    }
}

/// Where a server is to be found.
#[derive(clap::Args, Clone)]
pub struct Address {
    /// Address to listen on
    #[arg(long, env = "HARRIER_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8929")]
    pub listen: SocketAddr,
    /// How others reach it, when that is not the address itself (behind a proxy: https://ci.example.com)
    #[arg(long, env = "HARRIER_EXTERNAL_URL", value_name = "URL")]
    pub external_url: Option<String>,
    /// Let includes and mirrors reach these addresses of the server's own network too (10.1.0.0/16, ::1)
    #[arg(long, env = "HARRIER_ALLOW_NETWORK", value_name = "NETWORK", value_delimiter = ',')]
    pub allow_network: Vec<Network>,
    /// Where `include: template` finds its files: a directory, or a git address such as GitLab's own repository
    #[arg(long, env = "HARRIER_TEMPLATE_DIR", value_name = "DIR|URL")]
    pub template_dir: Option<String>,
    /// Keep logs and artifacts in a bucket instead of the data directory: s3://BUCKET/PREFIX?endpoint=https://host:port&region=…
    #[arg(long, env = "HARRIER_STORAGE", value_name = "URL")]
    pub storage: Option<String>,
    /// File with the bucket's keys, in the form of AWS's tools (AWS_PROFILE chooses among several) [default: AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment]
    #[arg(long, env = "HARRIER_STORAGE_CREDENTIALS", value_name = "FILE", requires = "storage")]
    pub storage_credentials: Option<PathBuf>,
    /// Container registry that jobs are told of (CI_REGISTRY): host[:port]
    #[arg(long, env = "HARRIER_REGISTRY", value_name = "HOST")]
    pub registry: Option<String>,
    /// File with user:password, the registry log-in that every job of every project gets (CI_REGISTRY_USER, CI_REGISTRY_PASSWORD)
    #[arg(long, env = "HARRIER_REGISTRY_LOGIN", value_name = "FILE", requires = "registry")]
    pub registry_login: Option<PathBuf>,
}

impl Address {
    /// The settings of a server at this address. `at`: where it really listens.
    pub fn settings(&self, at: SocketAddr) -> Result<Settings, ServeError> {
        let url = self.external_url.clone().unwrap_or_else(|| format!("http://{at}"));
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ServeError::Words(format!(
                "--external-url {url}: it needs to begin with http:// or https://"
            )));
        }
        let revision = version::revision().unwrap_or("unknown").to_owned();
        let behind_proxy = self.external_url.is_some();
        let mut settings = Settings {
            revision,
            behind_proxy,
            templates: self.templates()?,
            storage: self.storage()?,
            registry: self.registry()?,
            ..Settings::new(url)
        };
        for network in &self.allow_network {
            settings.include_policy = settings.include_policy.allowing(*network);
        }
        Ok(settings)
    }

    fn templates(&self) -> Result<Option<Templates>, ServeError> {
        let Some(given) = &self.template_dir else { return Ok(None) };
        let from =
            std::env::current_dir().map_err(|source| ServeError::Io { path: PathBuf::from("."), source })?;
        let parsed = Templates::parse(given, &from);
        parsed.map(Some).map_err(|why| ServeError::Words(format!("--template-dir: {why}")))
    }

    fn storage(&self) -> Result<Option<ObjectStorage>, ServeError> {
        let Some(address) = &self.storage else { return Ok(None) };
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let credentials = match &self.storage_credentials {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ServeError::Io { path: path.clone(), source })?;
                let profile = given("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
                credentials_in(&text, &profile)
                    .map_err(|why| ServeError::Words(format!("{}: {why}", path.display())))?
            }
            None => match (given("AWS_ACCESS_KEY_ID"), given("AWS_SECRET_ACCESS_KEY")) {
                (Some(access_key), Some(secret_key)) => Credentials {
                    access_key,
                    secret_key: Secret::new(secret_key),
                    session_token: given("AWS_SESSION_TOKEN").map(Secret::new),
                },
                _ => {
                    return Err(ServeError::Words(
                        "--storage: its keys are missing; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give \
                         --storage-credentials FILE"
                            .into(),
                    ));
                }
            },
        };
        let region = given("AWS_REGION").or_else(|| given("AWS_DEFAULT_REGION"));
        let parsed = ObjectStorage::parse(address, region.as_deref(), credentials);
        parsed.map(Some).map_err(|why| ServeError::Words(format!("--storage: {why}")))
    }

    fn registry(&self) -> Result<Option<Registry>, ServeError> {
        let Some(host) = &self.registry else { return Ok(None) };
        if host.contains("://") || host.contains('/') || host.is_empty() {
            return Err(ServeError::Words(format!(
                "--registry {host}: it needs to be a host, or host:port, as in the names of images"
            )));
        }
        let login = match &self.registry_login {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ServeError::Io { path: path.clone(), source })?;
                let (user, password) =
                    text.trim_end_matches(['\r', '\n']).split_once(':').ok_or_else(|| {
                        ServeError::Words(format!("{}: it needs to hold user:password", path.display()))
                    })?;
                Some(RegistryLogin { user: user.to_owned(), password: Secret::new(password) })
            }
        };
        Ok(Some(Registry { host: host.clone(), login }))
    }

    /// The socket, before anything else is made.
    pub async fn bind(&self) -> Result<(TcpListener, SocketAddr), ServeError> {
        let failed = |source| ServeError::Listen { address: self.listen, source };
        let listener = TcpListener::bind(self.listen).await.map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        Ok((listener, at))
    }
}

/// Runs the command.
pub fn serve(args: &ServeArgs) -> ExitCode {
    args.log.start();
    finish(runtime().and_then(|runtime| {
        let outcome = runtime.block_on(run(args));
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        outcome
    }))
}

async fn run(args: &ServeArgs) -> Result<(), ServeError> {
    let (listener, at) = args.address.bind().await?;
    let app = args.place.open(Settings { narrate: true, ..args.address.settings(at)? }).await?;
    println!("Harrier {} at {}", app.settings.version, app.settings.external_url);
    if let Some(link) = first_start::administrator(&app).await? {
        println!("  set the password of root, once: {link}");
    }
    let _tasks = app.background().await?;
    tracing::info!(address = %at, url = app.settings.external_url, "listening");
    serve_on(Arc::clone(&app), listener, ended()).await;
    tracing::info!("the server has ended");
    Ok(())
}

/// Until somebody asks the process to end.
pub(super) async fn ended() {
    // What tells a runner to leave ends a server too: an image has one signal for both.
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::user_defined1()];
    let [Ok(mut term), Ok(mut int), Ok(mut leave)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = leave.recv() => {}
    }
}

/// Prints how pipelines end, until the server does.
pub(super) fn print_results(app: Arc<App>) -> impl Future<Output = ()> + Send {
    // From now on, not from when the task first runs.
    let mut news = app.notifier.follow();
    let colour = std::io::stdout().is_terminal();
    async move {
        loop {
            let change = match news.recv().await {
                Ok(harrier_coordinator::News::Change(change)) => change,
                Ok(harrier_coordinator::News::Trace { .. }) => continue,
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            };
            let Change::Pipeline { pipeline, status, .. } = change else { continue };
            if !status.is_complete() {
                continue;
            }
            // One that is gone has no result.
            if let Ok(text) = result(&app, pipeline, colour).await {
                print!("{text}");
            }
        }
    }
}

/// How a pipeline ended, with a line for each error of its configuration and each job that failed it.
async fn result(app: &App, pipeline: i64, colour: bool) -> Result<String, DatabaseError> {
    let found = app.store.pipeline(pipeline).await?;
    let project = app.store.project(found.project).await?.path;
    let at = format!("{}/{project}/-", app.settings.external_url);
    let took = found.finished_at.unwrap_or(found.created_at) - found.created_at;
    let (word, code) = (found.status.word(), colour_of(found.status, found.warnings));
    let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
    let of = match &found.facts.merge_request {
        Some(request) => format!("{} (!{})", found.facts.commit.git_ref, request.iid),
        None => found.git_ref.clone(),
    };
    let mut text = format!(
        "{project} {of} {}: pipeline #{} {word}{} in {:.2} s  {at}/pipelines/{}\n",
        found.sha.get(..8).unwrap_or(&found.sha),
        found.id,
        if found.warnings { " with warnings" } else { "" },
        took as f64 / 1000.0,
        found.id,
    );
    for error in found.messages.iter().filter(|message| message.error) {
        let _ = writeln!(text, "  {}", error.text);
    }
    if found.status != Status::Failed {
        return Ok(text);
    }
    let jobs = app.store.jobs(pipeline, false).await?;
    for job in jobs.iter().filter(|job| job.status == Status::Failed && !job.allowed) {
        let why = job.failure_reason.as_deref().unwrap_or("failed").replace('_', " ");
        let code = job.exit_code.map_or_else(String::new, |code| format!(", exit code {code}"));
        let _ = writeln!(text, "  {}: {why}{code}  {at}/jobs/{}", job.name, job.id);
    }
    Ok(text)
}

/// Of a word in a terminal.
fn colour_of(status: Status, warnings: bool) -> u8 {
    match status {
        Status::Success if warnings => 33,
        Status::Success => 32,
        Status::Failed => 31,
        _ => 90,
    }
}
