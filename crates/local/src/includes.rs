//! What a person says about inputs and about where included files are, and what is taken without it: other projects
//! from the server of the repository's own remote, copies in the user's cache directory (`ci-yaml.md` §7, §8).

use crate::repository::GitFacts;
use harrier_includes::{AddressPolicy, Base, Settings, Templates};
use harrier_pipeline::GivenInput;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For all files of one configuration. A server gives 30 s; a first clone over a slow line takes longer.
const TIME: Duration = Duration::from_secs(300);

/// Where included files are, as far as it was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncludeOptions {
    base: Option<Base>,
    templates: Option<Templates>,
}

/// Something said about includes or inputs makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum IncludeOptionError {
    /// `--include-base`
    #[error("--include-base: {0}")]
    Base(String),
    /// `--template-dir`
    #[error("--template-dir: {0}")]
    Templates(String),
    /// `--input`
    #[error("--input takes KEY=VALUE; {0:?} has no `=` behind a name")]
    Input(String),
}

impl IncludeOptions {
    /// As given on the command line, relative to `from`.
    pub fn parse(
        base: Option<&str>,
        templates: Option<&str>,
        from: &Path,
    ) -> Result<Self, IncludeOptionError> {
        let base = base.map(|text| Base::parse(text, from)).transpose().map_err(IncludeOptionError::Base)?;
        let templates = templates.map(|text| Templates::parse(text, from)).transpose();
        Ok(Self { base, templates: templates.map_err(IncludeOptionError::Templates)? })
    }

    /// With what the repository and the machine add. Whoever runs this may reach their own machine and network.
    pub(crate) fn settings(&self, facts: &GitFacts) -> Settings {
        let remote = || facts.remote_url.as_deref().and_then(Base::of_remote);
        Settings {
            base: self.base.clone().or_else(remote),
            templates: self.templates.clone(),
            cache: cache_dir(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")),
            policy: AddressPolicy::own_machine(),
            time: TIME,
        }
    }
}

/// The user's cache directory, if there is one.
fn cache_dir(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute(xdg).or_else(|| absolute(home).map(|home| home.join(".cache")))?;
    Some(caches.join("harrier").join("includes"))
}

/// `KEY=VALUE` for an input of the configuration.
pub fn input(text: &str) -> Result<GivenInput, IncludeOptionError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(GivenInput { name: name.to_owned(), value: value.into() })
        }
        _ => Err(IncludeOptionError::Input(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_follows_the_desktop_rules() {
        let dir =
            |xdg: Option<&str>, home: Option<&str>| cache_dir(xdg.map(Into::into), home.map(Into::into));
        assert_eq!(dir(Some("/x"), Some("/h")), Some("/x/harrier/includes".into()));
        assert_eq!(dir(None, Some("/h")), Some("/h/.cache/harrier/includes".into()));
        assert_eq!(dir(Some("relative"), Some("/h")), Some("/h/.cache/harrier/includes".into()));
        assert_eq!(dir(None, None), None);
    }

    #[test]
    fn inputs_on_the_command_line() {
        let given = |text: &str| input(text).map(|given| format!("{} {}", given.name, given.value)).ok();
        assert_eq!(given("a=b=c").as_deref(), Some("a \"b=c\""));
        assert_eq!(given("a=").as_deref(), Some("a \"\""));
        assert_eq!(given("a"), None);
        assert_eq!(given("=a"), None);
    }
}
