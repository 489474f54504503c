//! `register`: a new entry in `config.toml` (`runner-config.md` §2.1).
//!
//! Called by the dispatch. A failure after the server knows the runner takes it off the server again.

use super::ask::Asker;
use super::config_file::ConfigFile;
use super::error::CliError;
use super::flags::{EntryFlags, parse_bool, parse_number, parse_path};
use super::server::{self, Credentials, Verified, is_created};
use super::{entry_sections, identity, warn_about_mode};
use harrier_api::{RegisterRequest, RunnerIdentity};
use harrier_base::{Secret, short_token};
use harrier_config::mirror::{Runner, Stamp};
use harrier_config::{ConfigError, ExecutorSpec, HostSpec, add_runner, file, load, parse_mirror};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Register a new runner
#[derive(clap::Args)]
pub struct Register {
    #[command(flatten)]
    file: ConfigFile,
    /// Template for the entry: a file with exactly one [[runners]]
    #[arg(
        long = "template-config",
        env = "TEMPLATE_CONFIG_FILE", value_parser = parse_path,
        value_name = "FILE",
        hide_env_values = true
    )]
    template: Option<PathBuf>,
    /// Registration token (deprecated); a glrt- token is taken as --token
    #[arg(short = 'r', long, env = "REGISTRATION_TOKEN", hide_env_values = true)]
    registration_token: Option<String>,
    /// Ask nothing; a missing value is an error
    #[arg(short = 'n', long, env = "REGISTER_NON_INTERACTIVE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool, hide_env_values = true)]
    non_interactive: Option<bool>,
    /// Leave the runner on the server when the registration fails
    #[arg(long, env = "REGISTER_LEAVE_RUNNER", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool, hide_env_values = true)]
    leave_runner: Option<bool>,
    #[command(flatten)]
    legacy: Legacy,
    #[command(flatten)]
    entry: EntryFlags,
}

/// What only a registration token can set; a created runner has it on the server.
#[derive(clap::Args)]
struct Legacy {
    /// Tags, comma separated
    #[arg(long, env = "RUNNER_TAG_LIST", hide_env_values = true)]
    tag_list: Option<String>,
    /// Take jobs without tags; true when there are no tags
    #[arg(long, env = "REGISTER_RUN_UNTAGGED", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool, hide_env_values = true)]
    run_untagged: Option<bool>,
    /// Lock the runner to its project; default true
    #[arg(long, env = "REGISTER_LOCKED", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool, hide_env_values = true)]
    locked: Option<bool>,
    /// not_protected or ref_protected
    #[arg(long, env = "REGISTER_ACCESS_LEVEL", hide_env_values = true)]
    access_level: Option<String>,
    /// Most seconds a job may take
    #[arg(long, env = "REGISTER_MAXIMUM_TIMEOUT", value_parser = parse_number, hide_env_values = true)]
    maximum_timeout: Option<i64>,
    /// Start paused
    #[arg(long, env = "REGISTER_PAUSED", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool, hide_env_values = true)]
    paused: Option<bool>,
    /// Note for maintainers
    #[arg(long, env = "REGISTER_MAINTENANCE_NOTE", hide_env_values = true)]
    maintenance_note: Option<String>,
}

impl Legacy {
    /// The flags that are not at their default.
    fn set(&self) -> Vec<&'static str> {
        let text = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        [
            ("--locked", self.locked == Some(false)),
            ("--access-level", text(&self.access_level)),
            ("--run-untagged", self.run_untagged == Some(true)),
            ("--maximum-timeout", self.maximum_timeout.is_some_and(|seconds| seconds != 0)),
            ("--paused", self.paused == Some(true)),
            ("--tag-list", text(&self.tag_list)),
            ("--maintenance-note", text(&self.maintenance_note)),
        ]
        .into_iter()
        .filter_map(|(flag, set)| set.then_some(flag))
        .collect()
    }
}

/// The runner the server knows since this command asked for it.
type Undo = RefCell<Option<Credentials>>;

/// What every step of a registration needs.
struct Registration<'a> {
    file: ConfigFile,
    legacy: Legacy,
    /// The file as it is before.
    host: HostSpec,
    asker: Asker,
    system_id: &'a str,
    undo: &'a Undo,
}

/// Runs the command; Ctrl-C ends it.
pub async fn run(args: Register) -> Result<(), CliError> {
    warn_about_mode();
    let leave = args.leave_runner == Some(true);
    let undo = Undo::default();
    let system = args.file.system_id();
    let result = tokio::select! {
        result = register(args, &system, &undo) => result,
        signal = tokio::signal::ctrl_c() => signal.map_err(CliError::Answer).and(Err(CliError::Interrupted)),
    };
    let registered = undo.take();
    if result.is_err()
        && !leave
        && let Some(credentials) = registered
        && let Err(error) = server::unregister(&credentials, &system).await
    {
        tracing::error!(error = %error, "the runner could not be taken off the server again; remove it there");
    }
    result
}

async fn register(args: Register, system_id: &str, undo: &Undo) -> Result<(), CliError> {
    let Register { file, template, registration_token, non_interactive, legacy, entry, .. } = args;
    let asker = Asker { interactive: non_interactive != Some(true) };
    let mut runner = entry.runner;
    check_access_level(&legacy)?;
    if runner.name.as_ref().is_none_or(|name| name.is_empty()) {
        runner.name = Some(host_name());
    }
    if let Some(template) = template.filter(|path| !path.as_os_str().is_empty()) {
        tracing::info!("Merging configuration from template file {:?}", template.display().to_string());
        runner.fill_from_template(&only_entry_of(&template)?);
    }
    let host = load(&file.path)?;
    let registration = Registration { file, legacy, host, asker, system_id, undo };

    let prompt = "Enter the GitLab instance URL (for example, https://gitlab.com/):";
    runner.url = Some(asker.ask("url", prompt, runner.url.take(), false).await?);
    if let Some(identity) = registration.identify(&mut runner, registration_token).await? {
        runner.id = Some(identity.id);
        runner.token_obtained_at = Some(now());
        runner.token_expires_at = identity.token_expires_at.as_deref().and_then(Stamp::parse);
        if !identity.token.is_empty() {
            runner.token = Some(identity.token);
        }
    }

    runner.executor = Some(ask_executor(&runner, asker).await?);
    entry_sections::keep_only_own(&mut runner);
    entry_sections::ask_for_missing(&mut runner, asker).await?;
    let Registration { file, host, .. } = registration;
    warn_about_limits(&runner, &host);
    file.edit(|text, origin| add_runner(text, origin, &runner))?;
    undo.take();

    tracing::info!(
        "Runner registered successfully. Feel free to start it, but if it's running already the config should be \
         automatically reloaded!"
    );
    tracing::info!(
        "Configuration (with the authentication token) was saved in {:?}",
        file.path.display().to_string()
    );
    warn_if_it_takes_no_jobs(&file.path, &runner);
    Ok(())
}

impl Registration<'_> {
    /// Settles the token with the server; `None`: an existing token was found valid and nothing more is known.
    async fn identify(
        &self,
        runner: &mut Runner,
        registration_token: Option<String>,
    ) -> Result<Option<RunnerIdentity>, CliError> {
        if let Some(token) = runner.token.clone().filter(|token| !token.is_empty()) {
            return if is_created(&token) {
                self.created(runner, false).await.map(Some)
            } else {
                self.existing(runner).await
            };
        }
        let prompt = "Enter the registration token:";
        let by_flag = registration_token.as_ref().is_some_and(|token| !token.is_empty());
        let token = self.asker.ask("registration-token", prompt, registration_token, false).await?;
        let token = Secret::new(token);
        runner.token = Some(token.clone());
        if is_created(&token) {
            self.created(runner, by_flag).await.map(Some)
        } else {
            self.legacy_registration(runner).await.map(Some)
        }
    }

    /// An authentication token of a registration long ago: it is only verified.
    async fn existing(&self, runner: &Runner) -> Result<Option<RunnerIdentity>, CliError> {
        tracing::info!("Token specified trying to verify runner...");
        tracing::warn!("If you want to register use the '-r' instead of '-t'.");
        match server::verify(&self.credentials(runner), self.system_id).await {
            Verified::Alive(identity) if identity.id != 0 => {
                Ok(Some(RunnerIdentity { token: Secret::default(), ..identity }))
            }
            Verified::Alive(_) | Verified::Unknown(_) => Ok(None),
            Verified::Gone => Err(not_verified(None)),
            Verified::Unusable(error) => Err(not_verified(Some(error))),
        }
    }

    /// A runner created in GitLab: its token is verified, its settings stay on the server.
    async fn created(
        &self,
        runner: &mut Runner,
        through_registration_token: bool,
    ) -> Result<RunnerIdentity, CliError> {
        let credentials = self.credentials(runner);
        if self.host.runners.iter().any(|known| known.token == credentials.token) {
            tracing::warn!(
                runner = short_token(credentials.token.expose()),
                "A runner with this system ID and token has already been registered."
            );
        }
        let set = self.legacy.set();
        if !set.is_empty() {
            let what = format!(
                "{} cannot be set with a runner authentication token (glrt-): these settings are kept on the GitLab \
                 server",
                set.join(", ")
            );
            if through_registration_token {
                tracing::warn!("{what}; they are ignored. Give the token as --token and leave them out");
            } else {
                return Err(CliError::Refused(format!("{what}; change them there and leave the flags out")));
            }
        }
        let identity = match server::verify(&credentials, self.system_id).await {
            Verified::Alive(identity) if identity.id != 0 => identity,
            Verified::Alive(_) | Verified::Gone => return Err(not_verified(None)),
            Verified::Unknown(error) | Verified::Unusable(error) => return Err(not_verified(Some(error))),
        };
        self.undo.replace(Some(credentials));
        let prompt = "Enter a name for the runner. This is stored only in the local config.toml file:";
        runner.name = Some(self.asker.ask("name", prompt, runner.name.take(), false).await?);
        Ok(RunnerIdentity { token: Secret::default(), ..identity })
    }

    /// The registration of old: the server makes the runner and its token.
    async fn legacy_registration(&self, runner: &mut Runner) -> Result<RunnerIdentity, CliError> {
        let (asker, legacy) = (self.asker, &self.legacy);
        let prompt = "Enter a description for the runner:";
        runner.name = Some(asker.ask("description", prompt, runner.name.take(), false).await?);
        let prompt = "Enter tags for the runner (comma-separated):";
        let tags = asker.ask("tag-list", prompt, legacy.tag_list.clone(), true).await?;
        let prompt = "Enter optional maintenance note for the runner:";
        let note = asker.ask("maintenance-note", prompt, legacy.maintenance_note.clone(), true).await?;
        tracing::warn!(
            "Support for registration tokens and runner parameters in the 'register' command has been deprecated in \
             GitLab Runner 15.6; create the runner in GitLab and use its glrt- token"
        );
        let credentials = self.credentials(runner);
        let request = RegisterRequest {
            token: credentials.token.clone(),
            description: runner.name.clone().unwrap_or_default(),
            maintenance_note: note,
            run_untagged: tags.is_empty() || legacy.run_untagged == Some(true),
            tag_list: tags,
            locked: legacy.locked.unwrap_or(true),
            access_level: legacy.access_level.clone().unwrap_or_default(),
            maximum_timeout: legacy.maximum_timeout.unwrap_or(0),
            paused: legacy.paused == Some(true),
            info: harrier_runner::runner_info(&identity::program(), None),
        };
        let failed = |source| CliError::Server { doing: "Failed to register the runner", source };
        let short = short_token(credentials.token.expose()).to_owned();
        match credentials.client().map_err(failed)?.register(&request).await {
            Ok(identity) => {
                tracing::info!(runner = short, "Registering runner... succeeded");
                self.undo.replace(Some(Credentials { token: identity.token.clone(), ..credentials }));
                Ok(identity)
            }
            Err(source) => {
                let hint = match source.status() {
                    Some(403) => "forbidden (check registration token)",
                    Some(410) => "gone (the server no longer takes registration tokens, use a glrt- token)",
                    Some(_) | None => "failed",
                };
                tracing::error!(runner = short, "Registering runner... {hint}");
                Err(failed(source))
            }
        }
    }

    fn credentials(&self, runner: &Runner) -> Credentials {
        let path = |value: &Option<String>| value.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from);
        let tls = (path(&runner.tls_ca_file), path(&runner.tls_cert_file), path(&runner.tls_key_file));
        let token = runner.token.clone().unwrap_or_default();
        Credentials::new(runner.url.clone().unwrap_or_default(), tls, token, &self.file)
    }
}

fn not_verified(error: Option<harrier_client::ClientError>) -> CliError {
    let doing = "Failed to verify the runner";
    match error {
        Some(source) => CliError::Server { doing, source },
        None => CliError::Refused(format!(
            "{doing}: the server does not know this token; check --url and --token"
        )),
    }
}

fn check_access_level(legacy: &Legacy) -> Result<(), CliError> {
    match legacy.access_level.as_deref() {
        None | Some("" | "not_protected" | "ref_protected") => Ok(()),
        Some(other) => Err(CliError::BadFlag {
            flag: "access-level".to_owned(),
            why: format!("{other:?} is not known; write not_protected or ref_protected"),
        }),
    }
}

/// The one entry of a template.
fn only_entry_of(path: &Path) -> Result<Runner, CliError> {
    let origin = path.display().to_string();
    let text = file::read(path)?.ok_or_else(|| {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        CliError::Config(ConfigError::Unreadable { path: path.to_owned(), source })
    })?;
    load(path)?;
    let (host, warnings) = parse_mirror(&text, &origin)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let count = host.runners.len();
    match <[Runner; 1]>::try_from(host.runners) {
        Ok([runner]) => Ok(runner),
        Err(_) => Err(CliError::Refused(format!(
            "{origin}: a template must contain exactly one [[runners]] entry, this one has {count}"
        ))),
    }
}

async fn ask_executor(runner: &Runner, asker: Asker) -> Result<String, CliError> {
    let prompt = format!("Enter an executor: {}:", ExecutorSpec::NAMES.join(", "));
    let mut given = runner.executor.clone();
    loop {
        let name = asker.ask("executor", &prompt, given.take(), true).await?;
        if ExecutorSpec::NAMES.contains(&name.as_str()) {
            return Ok(name);
        }
        let message =
            format!("Invalid executor specified: {name:?}; known are {}", ExecutorSpec::NAMES.join(", "));
        if !asker.interactive {
            return Err(CliError::Refused(message));
        }
        tracing::error!("{message}");
    }
}

fn warn_about_limits(runner: &Runner, host: &HostSpec) {
    let concurrent = i64::from(host.concurrent);
    for (key, value) in [("limit", runner.limit), ("request_concurrency", runner.request_concurrency)] {
        if let Some(value) = value
            && value > concurrent
        {
            tracing::warn!(
                "Specified {key} ({value}) larger than current concurrent limit ({concurrent}). Concurrent limit \
                 will not be enlarged."
            );
        }
    }
}

/// The file is what GitLab Runner would write; whether this build can run it is another thing.
fn warn_if_it_takes_no_jobs(path: &Path, runner: &Runner) {
    let executor = runner.executor.as_deref().unwrap_or_default();
    let supported = load(path).is_ok_and(|host| {
        host.runners.last().is_some_and(|entry| !matches!(entry.executor, ExecutorSpec::Unsupported(_)))
    });
    if !supported {
        tracing::warn!(
            "this build of Harrier has no {executor} executor yet: the entry is complete, but takes no jobs here"
        );
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// Now, whole seconds.
pub fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
