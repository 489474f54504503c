//! `harrier project`: mirrors of repositories on other servers, straight on the data directory, whose server may be running and then
//! fetches them. A log-in comes from the environment or a file, never from the command line, which others see.

use super::{Place, ServeError, finish, runtime};
use harrier_base::{Clock as _, Secret, SystemClock};
use harrier_coordinator::mirrors::{DEFAULT_INTERVAL, MirrorAddress, SHORTEST_INTERVAL};
use harrier_coordinator::project_path::ProjectPath;
use harrier_coordinator::time_text::iso;
use harrier_coordinator::{DataDir, Repository};
use harrier_database::{
    Login, MirrorEdit, MirrorView, NewMirror, NewProject, PageAt, Place as At, ProjectView, Sealer, Store,
};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What `project mirror --help` says below the options.
const MIRROR: &str = "\
A token for https is read from HARRIER_MIRROR_TOKEN or from --token-file (`-` is standard input). Branches and tags that move get
pipelines with the rights of --user. Given for a project that is a mirror already, it changes what is given. A webhook of GitHub,
GitLab or Gitea that sends pushes to the printed path, with the printed secret, makes the server look at once.";

/// Mirror repositories of other servers as projects
#[derive(clap::Args)]
pub struct ProjectArgs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    deed: Deed,
}

#[derive(clap::Subcommand)]
enum Deed {
    /// Make a project that follows a repository of another server
    #[command(after_help = MIRROR)]
    Mirror(MirrorArgs),
    /// List projects, and how their mirrors are
    List,
    /// Fetch a mirror now
    Sync {
        /// group/name
        path: String,
    },
    /// Make and print a new secret for the webhook of a mirror; the one before ends
    WebhookSecret {
        /// group/name
        path: String,
    },
    /// End a mirror; the project and what was fetched stay
    Unmirror {
        /// group/name
        path: String,
    },
}

#[derive(clap::Args)]
struct MirrorArgs {
    /// https://…, http://…, ssh://… or git@host:group/name.git
    url: String,
    /// The project, group/name [default: the user and the last part of the address]
    #[arg(long)]
    path: Option<String>,
    /// With whose rights pipelines are made
    #[arg(long, default_value = "root")]
    user: String,
    /// Who may see a new project
    #[arg(long, default_value = "private", value_parser = ["private", "internal", "public"])]
    visibility: String,
    /// User name that goes with the token, where the server wants one
    #[arg(long, default_value = "")]
    username: String,
    /// File that holds the token for https; `-` is standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File that holds the private key for ssh, without a passphrase
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    ssh_key: Option<PathBuf>,
    /// Seconds between two fetches [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(SHORTEST_INTERVAL..))]
    interval: Option<i64>,
    /// Also fetch pull requests, as refs/merge-requests/N/head and without pipelines [default: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pull_requests: Option<bool>,
    /// Do not wait for the first fetch
    #[arg(long)]
    no_wait: bool,
}

/// Runs the command.
pub fn project(args: &ProjectArgs) -> ExitCode {
    finish(runtime().and_then(|runtime| runtime.block_on(run(args))))
}

fn now() -> i64 {
    i64::try_from(SystemClock.now().0 / 1000).unwrap_or(i64::MAX)
}

async fn run(args: &ProjectArgs) -> Result<(), ServeError> {
    let data = args.place.data_dir()?;
    let at = match &args.place.database {
        Some(url) => At::Postgres(Secret::new(url)),
        None => At::Sqlite(data.database()),
    };
    let store = Store::open(at, Sealer::from_file(&data.key())?).await?;
    match &args.deed {
        Deed::Mirror(mirror) => make(&store, &data, mirror).await,
        Deed::List => list(&store).await,
        Deed::Sync { path } => {
            let project = named(&store, path).await?;
            let was = mirrored(&store, &project).await?;
            if !store.mirror_now(project.id, now()).await? {
                return Err(ServeError::Words(format!("the mirror {path} is off")));
            }
            wait(&store, &data, &project, was.tried_at).await
        }
        Deed::WebhookSecret { path } => {
            let project = named(&store, path).await?;
            mirrored(&store, &project).await?;
            println!("{}", store.reset_webhook_secret(project.id).await?.expose());
            Ok(())
        }
        Deed::Unmirror { path } => {
            let project = named(&store, path).await?;
            mirrored(&store, &project).await?;
            Ok(store.delete_mirror(project.id).await?)
        }
    }
}

async fn named(store: &Store, path: &str) -> Result<ProjectView, ServeError> {
    let found = store.project_at(path).await?;
    found.ok_or_else(|| {
        ServeError::Words(format!(
            "there is no project `{path}`; `harrier project list` shows which there are"
        ))
    })
}

async fn mirrored(store: &Store, project: &ProjectView) -> Result<MirrorView, ServeError> {
    let found = store.mirror(project.id).await?;
    found.ok_or_else(|| {
        let path = &project.path;
        ServeError::Words(format!(
            "{path} is no mirror; `harrier project mirror URL --path {path}` makes it one"
        ))
    })
}

async fn make(store: &Store, data: &DataDir, args: &MirrorArgs) -> Result<(), ServeError> {
    let (address, in_address) = MirrorAddress::parse(&args.url).map_err(ServeError::Words)?;
    if in_address.is_some() {
        return Err(ServeError::Words(
            "a log-in in an address is seen by others on this machine: give the address without it, and the token in \
             HARRIER_MIRROR_TOKEN or by --token-file"
                .into(),
        ));
    }
    let login = login(args)?;
    if login.as_ref().is_some_and(|login| login.key.is_some() != address.is_ssh()) {
        let words = "an ssh address takes a key (--ssh-key), an http one a token (--token-file)";
        return Err(ServeError::Words(words.into()));
    }
    let found = store.user_named(&args.user).await?;
    let (user, _) = found.ok_or_else(|| {
        ServeError::Words(format!("there is no user `{}`; `harrier admin user list` shows who is", args.user))
    })?;
    let path = args.path.clone().unwrap_or_else(|| format!("{}/{}", args.user, address.name()));
    ProjectPath::parse(&path).map_err(ServeError::Words)?;
    let project = match store.project_at(&path).await? {
        Some(project) => project,
        None => {
            let new = NewProject {
                path: path.clone(),
                visibility: args.visibility.clone(),
                owner: Some(user.id),
                ..NewProject::default()
            };
            let project = store.create_project(new, now()).await?;
            Repository::create(&data.repository(project.id), &project.default_branch)
                .map_err(|error| ServeError::Words(error.to_string()))?;
            project
        }
    };
    let was = store.mirror(project.id).await?;
    let tried = was.as_ref().and_then(|was| was.tried_at);
    match was {
        Some(_) => {
            let edit = MirrorEdit {
                url: Some(address.as_str().to_owned()),
                login: login.map(Some),
                user: Some(user.id),
                enabled: Some(true),
                trigger_builds: None,
                pull_requests: args.pull_requests,
                interval: args.interval,
            };
            store.edit_mirror(project.id, edit, now()).await?;
            println!("{path}");
        }
        None => {
            let new = NewMirror {
                project: project.id,
                url: address.as_str().to_owned(),
                login,
                user: user.id,
                trigger_builds: true,
                pull_requests: args.pull_requests.unwrap_or(false),
                interval: args.interval.unwrap_or(DEFAULT_INTERVAL),
            };
            let (_, secret) = store.set_mirror(new, now()).await?;
            println!("{path}");
            println!("webhook: /api/v4/projects/{}/mirror/pull", project.id);
            println!("webhook secret, shown this once: {}", secret.expose());
        }
    }
    if args.no_wait {
        return Ok(());
    }
    wait(store, data, &project, tried).await
}

/// The log-in, from where nobody else sees it.
fn login(args: &MirrorArgs) -> Result<Option<Login>, ServeError> {
    let (file, is_key) = match (&args.token_file, &args.ssh_key) {
        (Some(file), _) => (Some(file), false),
        (None, Some(file)) => (Some(file), true),
        (None, None) => (None, false),
    };
    let text = match file {
        Some(file) => Some(read(file)?),
        None => std::env::var("HARRIER_MIRROR_TOKEN").ok().filter(|token| !token.is_empty()).map(Secret::new),
    };
    Ok(text.map(|text| {
        let (password, key) = if is_key { (None, Some(text)) } else { (Some(text), None) };
        Login { username: args.username.clone(), password, key }
    }))
}

fn read(file: &Path) -> Result<Secret, ServeError> {
    /// More is no key and no token.
    const LONGEST: u64 = 64 << 10;
    let mut text = String::new();
    let done = match file.as_os_str() == "-" {
        true => std::io::stdin().take(LONGEST).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|file| file.take(LONGEST).read_to_string(&mut text)),
    };
    done.map_err(|source| ServeError::Io { path: file.to_owned(), source })?;
    match text.trim() {
        "" => Err(ServeError::Words(format!("{}: it is empty", file.display()))),
        secret => Ok(Secret::new(secret)),
    }
}

async fn list(store: &Store) -> Result<(), ServeError> {
    let mirrors = store.mirrors().await?;
    let mut number = 1;
    loop {
        let page = store.projects(None, true, "", PageAt { number, size: 100 }).await?;
        if page.entries.is_empty() {
            return Ok(());
        }
        for project in page.entries {
            let mirror = mirrors.iter().find(|mirror| mirror.project == project.id);
            println!("{}\t{}\t{}", project.id, project.path, mirror.map(state).unwrap_or_default());
        }
        number += 1;
    }
}

/// One line about a mirror.
fn state(mirror: &MirrorView) -> String {
    let state = match mirror {
        mirror if !mirror.enabled => "off".to_owned(),
        mirror if mirror.started_at.is_some() => "is being fetched".to_owned(),
        mirror => match (&mirror.error, mirror.fetched_at) {
            (Some(error), _) => format!("failed: {error}"),
            (None, Some(at)) => format!("fetched {}", iso(at)),
            (None, None) => "not fetched yet".to_owned(),
        },
    };
    format!("{}\t{state}", mirror.url)
}

/// Waits for the fetch that the running server does, and tells how it ended.
async fn wait(
    store: &Store,
    data: &DataDir,
    project: &ProjectView,
    before: Option<i64>,
) -> Result<(), ServeError> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let free = data.lock().map(|lock| lock.is_some());
    if free.map_err(|source| ServeError::Io { path: data.root().to_owned(), source })? {
        eprintln!("No server works in {}; the mirror is fetched when one does.", data.root().display());
        return Ok(());
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let mirror = mirrored(store, project).await?;
        if mirror.started_at.is_none() && mirror.tried_at != before {
            return match mirror.error {
                Some(error) => Err(ServeError::Words(format!("{} was not fetched: {error}", project.path))),
                None => {
                    eprintln!("{} is fetched.", project.path);
                    Ok(())
                }
            };
        }
        if Instant::now() > until {
            eprintln!("The fetch goes on; `harrier project list` tells how it ends.");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
