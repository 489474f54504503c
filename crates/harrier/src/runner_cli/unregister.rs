//! `unregister`: entries off the server and out of the file (`runner-config.md` §2.5).
//!
//! Called by the dispatch.

use super::config_file::ConfigFile;
use super::error::CliError;
use super::flags::{parse_bool, parse_path};
use super::server::{self, Credentials};
use super::warn_about_mode;
use harrier_config::{HostSpec, RunnerSpec, load};
use std::path::PathBuf;

/// Take runners off the server and out of the file
#[derive(clap::Args)]
pub struct Unregister {
    #[command(flatten)]
    file: ConfigFile,
    /// The runner with this name
    #[arg(short, long)]
    name: Option<String>,
    /// All runners of the file
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    all_runners: Option<bool>,
    /// Server of the runner (with --token)
    #[arg(short, long, env = "CI_SERVER_URL", hide_env_values = true)]
    url: Option<String>,
    /// The runner with this token
    #[arg(short, long, env = "CI_SERVER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Taken for compatibility; the entry's own files are used
    #[arg(long, env = "CI_SERVER_TLS_CA_FILE", value_parser = parse_path, hide_env_values = true)]
    tls_ca_file: Option<PathBuf>,
    /// Taken for compatibility; the entry's own files are used
    #[arg(long, env = "CI_SERVER_TLS_CERT_FILE", value_parser = parse_path, hide_env_values = true)]
    tls_cert_file: Option<PathBuf>,
    /// Taken for compatibility; the entry's own files are used
    #[arg(long, env = "CI_SERVER_TLS_KEY_FILE", value_parser = parse_path, hide_env_values = true)]
    tls_key_file: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(args: Unregister) -> Result<(), CliError> {
    warn_about_mode();
    let host = load(&args.file.path)?;
    let system = args.file.system_id();
    let mut gone = Vec::new();
    if args.all_runners == Some(true) {
        tracing::warn!("Unregistering all runners");
        for runner in &host.runners {
            match server::unregister(&Credentials::of(runner, &args.file), &system).await {
                Ok(()) => gone.push(runner),
                Err(error) => tracing::error!("Failed to unregister runner {}: {error}", runner.name),
            }
        }
    } else {
        let runner = args.choose(&host)?;
        server::unregister(&Credentials::of(runner, &args.file), &system).await?;
        gone.push(runner);
    }
    if !gone.is_empty() {
        args.file.remove(&gone)?;
    }
    Ok(())
}

impl Unregister {
    /// The one entry that is meant.
    fn choose<'h>(&self, host: &'h HostSpec) -> Result<&'h RunnerSpec, CliError> {
        let name = self.name.as_deref().filter(|name| !name.is_empty());
        let token = self.token.as_deref().filter(|token| !token.is_empty());
        let url = self.url.as_deref().filter(|url| !url.is_empty()).map(|url| url.trim_end_matches('/'));
        if name.is_none() && token.is_none() {
            return Err(CliError::Refused(
                "which runner? Give --name NAME, --token TOKEN (with --url URL) or --all-runners".to_owned(),
            ));
        }
        let found = host.runners.iter().find(|runner| {
            name.is_none_or(|name| runner.name == name)
                && token.is_none_or(|token| runner.token.expose() == token)
                && (token.is_none() || url.is_none_or(|url| url == "*" || runner.url == url))
        });
        found.ok_or_else(|| {
            let what = match (name, token) {
                (Some(name), None) => format!("the name {name:?}"),
                (Some(name), Some(_)) => format!("the name {name:?} and this token"),
                (None, _) => "this token and url".to_owned(),
            };
            CliError::Refused(format!(
                "could not find a runner with {what} in {}; see `list`",
                self.file.path.display()
            ))
        })
    }
}
