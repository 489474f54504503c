//! `harrier admin`: users, tokens, projects and runners without a page, straight on the data directory, whose server may be
//! running. What is secret is printed alone on standard output, for scripts.

use super::admin_lists::{What, listing};
use super::{Place, ServeError, finish, first_start, runtime};
use harrier_base::{Clock as _, Secret, SystemClock};
use harrier_coordinator::project_path::ProjectPath;
use harrier_coordinator::{Repository, auth, password};
use harrier_database::{
    AccessLevel, NewProject, NewRunner, NewToken, NewUser, Place as At, Registers, RunnerEdit, Sealer, Store,
    TokenKind, UserEdit, UserView,
};
use std::io::Read as _;
use std::process::ExitCode;

/// Set up a server from scripts: users, tokens, projects, runners
#[derive(clap::Args)]
pub struct AdminArgs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    deed: Deed,
}

#[derive(clap::Subcommand)]
enum Deed {
    /// Make, list, change, block, remove users
    #[command(subcommand)]
    User(UserDeed),
    /// List users, tokens, runners or projects
    List {
        /// What
        #[arg(value_enum)]
        what: What,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Set a user's password: read from standard input, or by a link that is good once
    Password {
        /// Whose
        #[arg(long, default_value = "root")]
        user: String,
        /// Read it from standard input
        #[arg(long)]
        stdin: bool,
    },
    /// Make a personal access token and print it
    Token {
        /// Whose
        #[arg(long, default_value = "root")]
        user: String,
        /// What it may do; may be given several times
        #[arg(long, required = true, value_delimiter = ',')]
        scope: Vec<String>,
        /// What it is called
        #[arg(long, default_value = "made by harrier admin")]
        name: String,
        /// Days until it ends; never if not given
        #[arg(long)]
        days: Option<u32>,
    },
    /// Make a project with an empty repository
    Project {
        /// group/name
        path: String,
        /// Whose it is
        #[arg(long, default_value = "root")]
        owner: String,
        /// Who may see it
        #[arg(long, default_value = "private", value_parser = ["private", "internal", "public"])]
        visibility: String,
    },
    /// Give somebody a role in a project
    Member {
        /// group/name
        project: String,
        /// Who
        #[arg(long)]
        user: String,
        /// Which role
        #[arg(long, value_parser = ["guest", "reporter", "developer", "maintainer", "owner"])]
        role: String,
    },
    /// Make a runner and print its authentication token, which `gitlab-runner register --token` takes
    Runner {
        /// Free text
        #[arg(long, default_value = "")]
        description: String,
        /// Tags, with commas
        #[arg(long, value_delimiter = ',')]
        tag: Vec<String>,
        /// Also take jobs without tags [default when there are no tags]
        #[arg(long)]
        run_untagged: bool,
        /// Take jobs of protected refs only
        #[arg(long)]
        protected_only: bool,
        /// For this project alone (group/name); without it for all
        #[arg(long)]
        project: Option<String>,
    },
    /// End a token; `harrier admin list tokens` shows the numbers
    RevokeToken {
        /// Its number
        id: i64,
    },
    /// Change a runner; `harrier admin list runners` shows the numbers
    EditRunner {
        /// Its number
        id: i64,
        /// Free text
        #[arg(long)]
        description: Option<String>,
        /// Tags, with commas; they take the place of those it has
        #[arg(long, value_delimiter = ',')]
        tag: Option<Vec<String>>,
        /// Also take jobs without tags
        #[arg(long, value_name = "true|false")]
        run_untagged: Option<bool>,
        /// Take jobs of protected refs only
        #[arg(long, value_name = "true|false")]
        protected_only: Option<bool>,
        /// Take nothing until this is taken back
        #[arg(long, value_name = "true|false")]
        paused: Option<bool>,
    },
    /// Make and print a new authentication token of a runner; the one before ends
    ResetRunnerToken {
        /// Its number
        id: i64,
    },
    /// Remove a runner
    RemoveRunner {
        /// Its number
        id: i64,
    },
    /// Make and print a registration token, which `gitlab-runner register --registration-token` takes; the one before ends
    RegistrationToken {
        /// Of a project's runners (group/name); without it of the instance's
        #[arg(long)]
        project: Option<String>,
    },
}

#[derive(clap::Subcommand)]
enum UserDeed {
    /// Make a user without a password; `harrier admin password` sets it
    Add {
        /// Log-in name
        name: String,
        /// Mail address
        #[arg(long, default_value = "")]
        email: String,
        /// May do everything
        #[arg(long)]
        admin: bool,
    },
    /// List them; `harrier admin list users --json` for scripts
    List,
    /// Change one
    Edit {
        /// Log-in name
        name: String,
        /// Display name
        #[arg(long)]
        display_name: Option<String>,
        /// Mail address
        #[arg(long)]
        email: Option<String>,
        /// May do everything
        #[arg(long, value_name = "true|false")]
        admin: Option<bool>,
    },
    /// Let somebody do nothing any more; sessions end, tokens do not work
    Block {
        /// Log-in name
        name: String,
    },
    /// Let somebody in again
    Unblock {
        /// Log-in name
        name: String,
    },
    /// Forgive somebody wrong passwords, after which they would have to wait
    Unlock {
        /// Log-in name
        name: String,
    },
    /// Remove a user, with sessions, tokens and memberships; projects stay
    Remove {
        /// Log-in name
        name: String,
    },
}

/// Runs the command.
pub fn admin(args: &AdminArgs) -> ExitCode {
    finish(runtime().and_then(|runtime| runtime.block_on(run(args))))
}

async fn run(args: &AdminArgs) -> Result<(), ServeError> {
    let data = args.place.data_dir()?;
    let at = match &args.place.database {
        Some(url) => At::Postgres(Secret::new(url)),
        None => At::Sqlite(data.database()),
    };
    let store = Store::open(at, Sealer::from_file(&data.key())?).await?;
    let now = i64::try_from(SystemClock.now().0 / 1000).unwrap_or(i64::MAX);
    match &args.deed {
        Deed::User(UserDeed::Add { name, email, admin }) => {
            ProjectPath::parse(&format!("{name}/x")).map_err(ServeError::Words)?;
            let new = NewUser {
                username: name.clone(),
                name: name.clone(),
                email: email.clone(),
                password: None,
                admin: *admin,
            };
            println!("{}", store.create_user(new, now).await?.id);
        }
        Deed::User(UserDeed::List) => {
            for user in store.users().await? {
                let marks = [(user.admin, " admin"), (user.blocked, " blocked")];
                let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
                println!("{}\t{}{marks}", user.id, user.username);
            }
        }
        Deed::User(UserDeed::Edit { name, display_name, email, admin }) => {
            let user = named(&store, name).await?;
            if *admin == Some(false) {
                not_the_last(&store, &user).await?;
            }
            let edit = UserEdit {
                name: display_name.clone(),
                email: email.clone(),
                admin: *admin,
                ..UserEdit::default()
            };
            store.edit_user(user.id, edit).await?;
        }
        Deed::User(UserDeed::Block { name }) => {
            let user = named(&store, name).await?;
            not_the_last(&store, &user).await?;
            store.edit_user(user.id, UserEdit { blocked: Some(true), ..UserEdit::default() }).await?;
        }
        Deed::User(UserDeed::Unblock { name }) => {
            let user = named(&store, name).await?;
            store.edit_user(user.id, UserEdit { blocked: Some(false), ..UserEdit::default() }).await?;
        }
        Deed::User(UserDeed::Unlock { name }) => {
            let user = named(&store, name).await?;
            store.edit_user(user.id, UserEdit { unlocked_at: Some(now), ..UserEdit::default() }).await?;
        }
        Deed::User(UserDeed::Remove { name }) => {
            let user = named(&store, name).await?;
            not_the_last(&store, &user).await?;
            store.delete_user(user.id).await?;
        }
        Deed::List { what, json } => print!("{}", listing(&store, *what, *json).await?),
        Deed::RevokeToken { id } => store.revoke_token(*id, now).await?,
        Deed::EditRunner { id, description, tag, run_untagged, protected_only, paused } => {
            let was = store.runner(*id).await?;
            let tags = tag.clone().map(|tags| tags.into_iter().filter(|tag| !tag.is_empty()).collect());
            let left: &Vec<String> = tags.as_ref().unwrap_or(&was.offer.tags);
            if left.is_empty() && !run_untagged.unwrap_or(was.offer.run_untagged) {
                return Err(ServeError::Words(
                    "a runner without tags that takes no untagged jobs would take nothing; give --tag, or --run-untagged true"
                        .into(),
                ));
            }
            let edit = RunnerEdit {
                description: description.clone(),
                tags,
                run_untagged: *run_untagged,
                protected_only: *protected_only,
                paused: *paused,
                ..RunnerEdit::default()
            };
            store.edit_runner(*id, edit).await?;
        }
        Deed::ResetRunnerToken { id } => {
            println!("{}", store.reset_runner_token(*id, None).await?.1.expose());
        }
        Deed::RemoveRunner { id } => store.delete_runner(*id).await?,
        Deed::Password { user, stdin } => {
            let user = named(&store, user).await?;
            if *stdin {
                let mut text = String::new();
                let read = std::io::stdin().take(4096).read_to_string(&mut text);
                read.map_err(|error| ServeError::Words(format!("standard input: {error}")))?;
                let hash = password::hash(Secret::new(text.trim_end_matches(['\r', '\n']))).await;
                let hash = hash.map_err(|error| ServeError::Words(error.to_string()))?;
                store
                    .edit_user(
                        user.id,
                        UserEdit { password: Some(hash), unlocked_at: Some(now), ..UserEdit::default() },
                    )
                    .await?;
            } else {
                let token = first_start::link_token(&store, &user, now).await?;
                println!("/-/setup/{}", token.expose());
                eprintln!("Open this path on the server within a day; it works once.");
            }
        }
        Deed::Token { user, scope, name, days } => {
            let known = auth::Scope::ALL.map(auth::Scope::word);
            if let Some(unknown) = scope.iter().find(|word| !known.contains(&word.as_str())) {
                return Err(ServeError::Words(format!(
                    "there is no scope `{unknown}`; there are {}",
                    known.join(", ")
                )));
            }
            let new = NewToken {
                kind: TokenKind::Personal,
                user: Some(named(&store, user).await?.id),
                project: None,
                name: name.clone(),
                scopes: scope.clone(),
                access_level: None,
                expires_at: days.map(|days| now + i64::from(days) * 86_400_000),
            };
            println!("{}", store.create_token(new, now).await?.1.expose());
        }
        Deed::Project { path, owner, visibility } => {
            ProjectPath::parse(path).map_err(ServeError::Words)?;
            let new = NewProject {
                path: path.clone(),
                visibility: visibility.clone(),
                owner: Some(named(&store, owner).await?.id),
                ..NewProject::default()
            };
            let project = store.create_project(new, now).await?;
            Repository::create(&data.repository(project.id), &project.default_branch)
                .map_err(|error| ServeError::Words(error.to_string()))?;
            println!("{}", project.id);
        }
        Deed::Member { project, user, role } => {
            let level = match role.as_str() {
                "guest" => AccessLevel::Guest,
                "reporter" => AccessLevel::Reporter,
                "developer" => AccessLevel::Developer,
                "maintainer" => AccessLevel::Maintainer,
                _ => AccessLevel::Owner,
            };
            let user = named(&store, user).await?;
            store.set_member(project_at(&store, project).await?, user.id, Some(level), now).await?;
        }
        Deed::Runner { description, tag, run_untagged, protected_only, project } => {
            let projects = match project {
                Some(path) => Some(vec![project_at(&store, path).await?]),
                None => None,
            };
            let new = NewRunner {
                projects,
                description: description.clone(),
                maintenance_note: String::new(),
                tags: tag.clone(),
                run_untagged: *run_untagged || tag.is_empty(),
                locked: false,
                protected_only: *protected_only,
                maximum_timeout: None,
                paused: false,
                created_by: None,
                token_expires_at: None,
            };
            println!("{}", store.create_runner(new, TokenKind::Runner, now).await?.1.expose());
        }
        Deed::RegistrationToken { project } => {
            let whom = match project {
                Some(path) => Registers::Project(project_at(&store, path).await?),
                None => Registers::Instance,
            };
            println!("{}", store.reset_registration_token(whom, now).await?.expose());
        }
    }
    Ok(())
}

/// A server without an administrator could not be helped from its page any more.
async fn not_the_last(store: &Store, user: &UserView) -> Result<(), ServeError> {
    let others = store.users().await?.into_iter().any(|one| one.admin && !one.blocked && one.id != user.id);
    if !user.admin || others {
        return Ok(());
    }
    Err(ServeError::Words(format!(
        "{} is the only administrator; make another first: harrier admin user edit NAME --admin true",
        user.username
    )))
}

async fn named(store: &Store, name: &str) -> Result<UserView, ServeError> {
    match store.user_named(name).await? {
        Some((user, _)) => Ok(user),
        None => Err(ServeError::Words(format!(
            "there is no user `{name}`; `harrier admin user list` shows who is"
        ))),
    }
}

async fn project_at(store: &Store, path: &str) -> Result<i64, ServeError> {
    match store.project_at(path).await? {
        Some(project) => Ok(project.id),
        None => Err(ServeError::Words(format!(
            "there is no project `{path}`; `harrier admin project {path}` makes it"
        ))),
    }
}
