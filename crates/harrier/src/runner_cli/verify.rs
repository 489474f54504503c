//! `verify`: which entries does the server still know (`runner-config.md` §2.4).
//!
//! Called by the dispatch.

use super::config_file::ConfigFile;
use super::error::CliError;
use super::server::{self, Credentials, Verified};
use super::warn_about_mode;
use harrier_config::{RunnerSpec, load};

/// Check the tokens of the configured runners with the server
#[derive(clap::Args)]
pub struct Verify {
    #[command(flatten)]
    file: ConfigFile,
    /// Only the runner with this name
    #[arg(short, long)]
    name: Option<String>,
    /// Only runners of this server (with --token)
    #[arg(short, long)]
    url: Option<String>,
    /// Only the runner with this token
    #[arg(short, long)]
    token: Option<String>,
    /// Remove from the file the runners the server does not know
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = super::flags::parse_bool)]
    delete: Option<bool>,
}

impl Verify {
    /// Whether any selector was given.
    fn selects(&self) -> bool {
        [&self.name, &self.url, &self.token]
            .iter()
            .any(|given| given.as_ref().is_some_and(|text| !text.is_empty()))
    }

    fn matches(&self, runner: &RunnerSpec) -> bool {
        let same_url = |url: &str| matches!(url, "" | "*") || url.trim_end_matches('/') == runner.url;
        let named = self.name.as_ref().is_some_and(|name| *name == runner.name);
        let token = self.token.as_deref().filter(|token| !token.is_empty());
        named
            || token.is_some_and(|token| token == runner.token.expose())
                && same_url(self.url.as_deref().unwrap_or_default())
    }
}

/// Runs the command.
pub async fn run(args: Verify) -> Result<(), CliError> {
    warn_about_mode();
    let host = load(&args.file.path)?;
    let system = args.file.system_id();
    let chosen = host.runners.iter().filter(|runner| !args.selects() || args.matches(runner));
    let chosen: Vec<&RunnerSpec> = chosen.collect();
    if args.selects() && chosen.is_empty() {
        return Err(CliError::Refused(format!(
            "no runner in {} matches the filtering parameters",
            args.file.path.display()
        )));
    }
    let (mut gone, mut not_asked) = (Vec::new(), 0);
    for runner in chosen {
        match server::verify(&Credentials::of(runner, &args.file), &system).await {
            Verified::Alive(_) | Verified::Unknown(_) => {}
            Verified::Gone => gone.push(runner),
            Verified::Unusable(_) => not_asked += 1,
        }
    }
    if !gone.is_empty() && args.delete == Some(true) {
        args.file.remove(&gone)?;
        gone.clear();
    }
    if gone.is_empty() && not_asked == 0 {
        Ok(())
    } else {
        Err(CliError::Refused("Failed to verify runners".to_owned()))
    }
}
