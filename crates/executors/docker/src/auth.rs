//! Which credentials an image is pulled with (`executors.md` §10.3): what the sources hold, and the choice.
//!
//! Called by pulls and by `harrier doctor image`. The choice is pure; reading files and asking credential helpers
//! is `auth_sources.rs`. It must never show a password.

use crate::image_name::{ImageName, normal_registry};
use base64::Engine as _;
use harrier_base::Secret;
use std::collections::BTreeMap;

/// A log-in at a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// User; `<token>` with an identity token.
    pub username: String,
    /// Password.
    pub password: Secret,
    /// In place of a password.
    pub identity_token: Option<Secret>,
}

/// A place where log-ins were looked for.
#[derive(Clone)]
pub struct AuthSource {
    /// For people, e.g. `the job variable DOCKER_AUTH_CONFIG` or `/root/.docker/config.json`.
    pub origin: String,
    /// By registry or registry path, normalised.
    pub logins: BTreeMap<String, Login>,
    /// Why it could not be read, or parts of it.
    pub problems: Vec<String>,
}

/// The choice for one image.
#[derive(Clone)]
pub struct Choice {
    /// What to log in with, and where it comes from.
    pub login: Option<(Login, String)>,
    /// Every source that was looked at, in order, with the registries it knows.
    pub looked_at: Vec<(String, Vec<String>)>,
    /// What was wrong with sources.
    pub problems: Vec<String>,
}

/// The first source with an entry for the image, the longest path first within all sources.
///
/// The first entry per registry path wins, so a later source adds paths and never overrides.
pub fn choose(sources: &[AuthSource], image: &ImageName) -> Choice {
    let mut merged: BTreeMap<&str, (&Login, &str)> = BTreeMap::new();
    for source in sources {
        for (key, login) in &source.logins {
            merged.entry(key).or_insert((login, &source.origin));
        }
    }
    let login = image
        .credential_keys()
        .iter()
        .find_map(|key| merged.get(key.as_str()))
        .map(|(login, origin)| ((*login).clone(), (*origin).to_owned()));
    Choice {
        login,
        looked_at: sources.iter().map(|s| (s.origin.clone(), s.logins.keys().cloned().collect())).collect(),
        problems: sources.iter().flat_map(|s| s.problems.iter().cloned()).collect(),
    }
}

/// Docker's configuration file, as far as credentials go.
#[derive(Default)]
pub struct DockerConfig {
    /// `auths`, decoded.
    pub logins: BTreeMap<String, Login>,
    /// `credsStore`
    pub store: Option<String>,
    /// `credHelpers`: registry → helper.
    pub helpers: BTreeMap<String, String>,
    /// Entries that make no sense.
    pub problems: Vec<String>,
}

/// Why a configuration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Not JSON, or not of Docker's shape. The text is not repeated: it holds secrets.
    #[error(
        "{origin} is not Docker's config JSON (line {line}, column {column}); expected {{\"auths\": {{\"registry\": {{\"auth\": \"…\"}}}}}}"
    )]
    NotDockerConfig {
        /// Which.
        origin: String,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// A helper's name holds a path.
    #[error(
        "{origin} names the credential helper {helper:?}: a helper is a bare name, looked up on PATH as docker-credential-<name>"
    )]
    HelperWithPath {
        /// Which.
        origin: String,
        /// The name.
        helper: String,
    },
}

/// Reads Docker's configuration JSON.
pub fn parse_docker_config(text: &str, origin: &str) -> Result<DockerConfig, AuthError> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct File {
        auths: BTreeMap<String, Option<Entry>>,
        #[serde(rename = "credsStore")]
        store: Option<String>,
        #[serde(rename = "credHelpers")]
        helpers: Option<BTreeMap<String, String>>,
    }
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Entry {
        auth: Option<String>,
        username: Option<String>,
        password: Option<String>,
        identitytoken: Option<String>,
    }
    let file: File = serde_json::from_str(text).map_err(|error| AuthError::NotDockerConfig {
        origin: origin.to_owned(),
        line: error.line(),
        column: error.column(),
    })?;
    let mut config = DockerConfig { store: file.store.filter(|s| !s.is_empty()), ..DockerConfig::default() };
    config.helpers = file.helpers.unwrap_or_default();
    for helper in config.store.iter().chain(config.helpers.values()) {
        if helper.contains(['/', '\\']) {
            return Err(AuthError::HelperWithPath { origin: origin.to_owned(), helper: helper.clone() });
        }
    }
    for (registry, entry) in file.auths {
        let entry = entry.unwrap_or_default();
        let mut login = Login {
            username: entry.username.unwrap_or_default(),
            password: Secret::new(entry.password.unwrap_or_default()),
            identity_token: entry.identitytoken.filter(|t| !t.is_empty()).map(Secret::new),
        };
        if let Some(auth) = entry.auth.filter(|a| !a.is_empty()) {
            match decode_auth(&auth) {
                Some((username, password)) => {
                    login.username = username;
                    login.password = password;
                }
                None => {
                    config.problems.push(format!(
                        "{origin}: the auth of {registry} is not base64 of user:password; make it with: printf '%s' 'user:password' | base64"
                    ));
                    continue;
                }
            }
        }
        if login.username.is_empty() && login.identity_token.is_none() {
            continue;
        }
        config.logins.insert(registry_key(&registry), login);
    }
    Ok(config)
}

fn decode_auth(auth: &str) -> Option<(String, Secret)> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), Secret::new(password.trim_end_matches('\0'))))
}

/// The key of a registry as config files write it: old forms with a scheme reduce to the host.
pub fn registry_key(written: &str) -> String {
    let (had_scheme, rest) = match written.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, written),
    };
    let rest = rest.trim_end_matches('/');
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = normal_registry(host);
    let old_form = had_scheme || matches!(path, "v1" | "v2");
    if path.is_empty() || old_form { host } else { format!("{host}/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(origin: &str, keys: &[(&str, &str)]) -> AuthSource {
        AuthSource {
            origin: origin.into(),
            logins: keys
                .iter()
                .map(|(key, user)| {
                    ((*key).to_owned(), Login { username: (*user).into(), ..Login::default() })
                })
                .collect(),
            problems: vec![],
        }
    }

    #[test]
    fn longest_path_first_then_first_source() {
        let sources = [
            source("variable", &[("reg.io", "a")]),
            source("file", &[("reg.io", "b"), ("reg.io/g", "c"), ("docker.io", "hub")]),
        ];
        for (image, user, origin) in [
            ("reg.io/x/y", Some("a"), "variable"),
            ("reg.io/g/y:1", Some("c"), "file"),
            ("alpine", Some("hub"), "file"),
            ("other.io/a", None, ""),
        ] {
            let choice = choose(&sources, &ImageName::parse(image).expect(image));
            let found = choice.login.map(|(login, origin)| (login.username, origin));
            assert_eq!(found, user.map(|u| (u.to_owned(), origin.to_owned())), "{image}");
            assert_eq!(choice.looked_at.len(), 2);
        }
    }

    #[test]
    fn reads_all_forms_of_the_file() {
        let text = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
            "REG.io:5000/group": {"username": "u", "password": "p"}, "bad.io": {"auth": "%%"},
            "empty.io": {}, "tok.io": {"identitytoken": "t"}},
            "credsStore": "desktop", "credHelpers": {"a.io": "ecr-login"}, "HttpHeaders": {}}"#;
        let config = parse_docker_config(text, "here").expect("valid");
        assert_eq!(config.logins.keys().collect::<Vec<_>>(), ["docker.io", "reg.io:5000/group", "tok.io"]);
        assert_eq!(config.logins["docker.io"].password.expose(), "pa:ss");
        assert_eq!(config.store.as_deref(), Some("desktop"));
        assert_eq!(config.problems.len(), 1);
        assert!(config.problems[0].contains("bad.io"));
    }

    #[test]
    fn refuses_what_is_not_a_config_without_showing_it() {
        let error =
            parse_docker_config("{\"auths\": \"s3cret\"}", "DOCKER_AUTH_CONFIG").err().expect("refused");
        assert!(error.to_string().contains("DOCKER_AUTH_CONFIG is not Docker's config JSON (line 1"));
        assert!(!error.to_string().contains("s3cret"));
        assert!(matches!(
            parse_docker_config(r#"{"credsStore": "../evil"}"#, "x"),
            Err(AuthError::HelperWithPath { .. })
        ));
    }
}
