//! `reset-token`: a new authentication token for entries of the file (`runner-config.md` §2.8).
//!
//! Called by the dispatch. The old token ends at once, so the new one is saved before anything else happens.

use super::config_file::ConfigFile;
use super::error::CliError;
use super::flags::parse_bool;
use super::register::now;
use super::server::Credentials;
use super::warn_about_mode;
use harrier_api::RunnerIdentity;
use harrier_base::Secret;
use harrier_config::mirror::Stamp;
use harrier_config::{HostSpec, RunnerSpec, TokenFields, load};

/// Get a new authentication token for a runner
#[derive(clap::Args)]
pub struct ResetToken {
    #[command(flatten)]
    file: ConfigFile,
    /// The runner with this name
    #[arg(short, long)]
    name: Option<String>,
    /// Server of the runner (with --id)
    #[arg(short, long)]
    url: Option<String>,
    /// The runner with this id (with --url)
    #[arg(short, long)]
    id: Option<i64>,
    /// All runners of the file
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    all_runners: Option<bool>,
    /// Personal access token, used in place of the runner's own
    #[arg(long)]
    pat: Option<String>,
}

/// Runs the command.
pub async fn run(args: ResetToken) -> Result<(), CliError> {
    warn_about_mode();
    let host = load(&args.file.path)?;
    if args.all_runners == Some(true) {
        for runner in &host.runners {
            if let Err(error) = args.reset(runner).await {
                tracing::error!("Failed to reset token of runner {}: {error}", runner.name);
            }
        }
        return Ok(());
    }
    args.reset(args.choose(&host)?).await
}

impl ResetToken {
    fn choose<'h>(&self, host: &'h HostSpec) -> Result<&'h RunnerSpec, CliError> {
        let found = match (self.name.as_deref(), self.url.as_deref(), self.id) {
            (Some(name), _, _) => host.runners.iter().find(|runner| runner.name == name),
            (None, Some(url), Some(id)) => host
                .runners
                .iter()
                .find(|runner| runner.url == url.trim_end_matches('/') && runner.id == Some(id)),
            (None, _, _) => {
                return Err(CliError::Refused(
                    "which runner? Give --name NAME, --url URL with --id ID, or --all-runners".to_owned(),
                ));
            }
        };
        found.ok_or_else(|| {
            CliError::Refused(format!("no such runner in {}; see `list`", self.file.path.display()))
        })
    }

    async fn reset(&self, runner: &RunnerSpec) -> Result<(), CliError> {
        let doing = "Resetting the runner's authentication token";
        let failed = |source| CliError::Server { doing, source };
        let client = Credentials::of(runner, &self.file).client().map_err(failed)?;
        let identity: RunnerIdentity = match (&self.pat, runner.id) {
            (Some(pat), Some(id)) => client.reset_token_by_id(id, &Secret::new(pat.clone())).await,
            (Some(_), None) => {
                return Err(CliError::Refused(format!(
                    "runner {:?} has no id in the file, so --pat cannot be used; reset it in GitLab and register anew",
                    runner.name
                )));
            }
            (None, _) => client.reset_token(&runner.token).await,
        }
        .map_err(failed)?;
        let fields = TokenFields {
            id: None,
            token: identity.token,
            obtained_at: now(),
            expires_at: identity.token_expires_at.as_deref().and_then(Stamp::parse).unwrap_or(Stamp::NEVER),
        };
        self.file.set_token(runner, &fields)?;
        tracing::info!("{doing}... succeeded; updated {}", self.file.path.display());
        Ok(())
    }
}
