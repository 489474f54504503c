//! Reads the places where registry log-ins are kept (`executors.md` §10.3): `DOCKER_AUTH_CONFIG`, the files of the runner's
//! user, credential stores and helpers, the job's own credentials.
//!
//! Called by pulls. A helper program is started here and nowhere else in this crate; its answer is never shown.

use crate::auth::{AuthError, AuthSource, DockerConfig, Login, parse_docker_config, registry_key};
use harrier_base::Secret;
use harrier_plan::Auth;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// A helper that takes longer hangs: it may wait for a key press.
const HELPER_LIMIT: Duration = Duration::from_secs(20);

/// All sources in order. An error fails the job: somebody tries to make the runner start a program of their own.
pub(crate) async fn gather(auth: &Auth, home: Option<&Path>) -> Result<Vec<AuthSource>, AuthError> {
    let mut sources = Vec::new();
    if let Some(text) = &auth.docker_auth_config {
        let origin = "the variable DOCKER_AUTH_CONFIG";
        sources.push(of_text(text.expose(), origin).await?);
    }
    if let Some((path, text)) = user_file(home) {
        let origin = path.display().to_string();
        sources.push(match text {
            Ok(text) => of_text(&text, &origin).await?,
            Err(error) => AuthSource {
                problems: vec![format!("{origin} cannot be read: {error}")],
                origin,
                logins: BTreeMap::new(),
            },
        });
    }
    if !auth.job.is_empty() {
        sources.push(AuthSource {
            origin: "the job's own credentials (CI_REGISTRY_USER)".to_owned(),
            logins: auth
                .job
                .iter()
                .map(|entry| {
                    let login = Login {
                        username: entry.username.clone(),
                        password: entry.password.clone(),
                        identity_token: None,
                    };
                    (registry_key(&entry.registry), login)
                })
                .collect(),
            problems: Vec::new(),
        });
    }
    Ok(sources)
}

/// `~/.docker/config.json`, else `~/.dockercfg`.
fn user_file(home: Option<&Path>) -> Option<(PathBuf, std::io::Result<String>)> {
    let configured = std::env::var_os("DOCKER_CONFIG").map(|dir| PathBuf::from(dir).join("config.json"));
    let home = home.map(|home| [home.join(".docker/config.json"), home.join(".dockercfg")]);
    configured.into_iter().chain(home.into_iter().flatten()).find(|path| path.exists()).map(|path| {
        let text = std::fs::read_to_string(&path);
        (path, text)
    })
}

async fn of_text(text: &str, origin: &str) -> Result<AuthSource, AuthError> {
    let mut source = AuthSource { origin: origin.to_owned(), logins: BTreeMap::new(), problems: Vec::new() };
    let config = match parse_docker_config(&old_form(text), origin) {
        Ok(config) => config,
        Err(error @ AuthError::NotDockerConfig { .. }) => {
            source.problems.push(error.to_string());
            return Ok(source);
        }
        Err(error @ AuthError::HelperWithPath { .. }) => return Err(error),
    };
    let DockerConfig { logins, store, helpers, problems } = config;
    source.logins = logins;
    source.problems = problems;
    if let Some(store) = store {
        match run_helper(&store, "list", "").await.and_then(|bytes| {
            serde_json::from_slice::<BTreeMap<String, String>>(&bytes).map_err(|error| error.to_string())
        }) {
            Ok(listed) => {
                for registry in listed.keys() {
                    ask(&store, registry, &mut source).await;
                }
            }
            Err(why) => source.problems.push(format!(
                "{origin}: the credential store docker-credential-{store} does not work: {why}"
            )),
        }
    }
    for (registry, helper) in helpers {
        ask(&helper, &registry, &mut source).await;
    }
    Ok(source)
}

/// `.dockercfg` is the table of registries itself.
fn old_form(text: &str) -> String {
    let keys = ["auths", "credsStore", "credHelpers", "HttpHeaders", "currentContext"];
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        Ok(map)
            if !map.is_empty()
                && !keys.iter().any(|key| map.contains_key(*key))
                && map.values().all(|value| value.get("auth").is_some()) =>
        {
            serde_json::json!({ "auths": map }).to_string()
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}

async fn ask(helper: &str, registry: &str, source: &mut AuthSource) {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let answer = run_helper(helper, "get", registry).await.and_then(|bytes| {
        serde_json::from_slice::<Answer>(&bytes)
            .map_err(|_| "its answer is no JSON with Username and Secret".to_owned())
    });
    match answer {
        Ok(Answer { username, secret }) => {
            let secret = Secret::new(secret);
            let login = if username == "<token>" {
                Login { username, password: Secret::default(), identity_token: Some(secret) }
            } else {
                Login { username, password: secret, identity_token: None }
            };
            source.logins.insert(registry_key(registry), login);
        }
        Err(why) => source.problems.push(format!(
            "{}: docker-credential-{helper} gives nothing for {registry}: {why}",
            source.origin
        )),
    }
}

/// Runs `docker-credential-<name> <verb>`; the name has no path in it.
async fn run_helper(name: &str, verb: &str, input: &str) -> Result<Vec<u8>, String> {
    let mut child = tokio::process::Command::new(format!("docker-credential-{name}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}; install it on PATH of the runner"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input will answer, or fail, by itself.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = tokio::time::timeout(HELPER_LIMIT, child.wait_with_output())
        .await
        .map_err(|_| format!("it has not answered for {} seconds", HELPER_LIMIT.as_secs()))?
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("it ended with {}", output.status)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_plan::JobLogin;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn all_sources_in_order() {
        let home = tempfile::tempdir().expect("temp dir");
        std::fs::write(home.path().join(".dockercfg"), r#"{"https://reg.io/v1/": {"auth": "YTpi"}}"#)
            .expect("written");
        let auth = Auth {
            docker_auth_config: Some(Secret::new(r#"{"auths": {"reg.io": {"auth": "eDp5"}}}"#)),
            job: vec![JobLogin {
                registry: "gitlab.io:5050".into(),
                username: "token".into(),
                password: Secret::new("p"),
            }],
        };
        let sources = gather(&auth, Some(home.path())).await.expect("gathered");
        let seen: Vec<_> = sources
            .iter()
            .map(|s| s.logins.iter().map(|(k, l)| (k.as_str(), l.username.as_str())).next())
            .collect();
        assert_eq!(seen, [Some(("reg.io", "x")), Some(("reg.io", "a")), Some(("gitlab.io:5050", "token"))]);
    }

    #[tokio::test]
    async fn a_broken_source_is_a_problem_and_a_path_an_error() {
        let auth = |text: &str| Auth { docker_auth_config: Some(Secret::new(text)), job: vec![] };
        let sources = gather(&auth("not json s3cret"), None).await.expect("gathered");
        assert!(sources[0].problems[0].contains("DOCKER_AUTH_CONFIG"));
        assert!(!sources[0].problems[0].contains("s3cret"));
        assert!(gather(&auth(r#"{"credHelpers": {"a.io": "../../tmp/evil"}}"#), None).await.is_err());
        let missing =
            gather(&auth(r#"{"credsStore": "harrier-no-such-store"}"#), None).await.expect("gathered");
        assert!(missing[0].problems[0].contains("docker-credential-harrier-no-such-store"));
    }

    #[tokio::test]
    async fn a_helper_is_asked() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("docker-credential-x");
        std::fs::write(
            &path,
            "#!/bin/sh\nread r; echo \"{\\\"Username\\\": \\\"u-$r\\\", \\\"Secret\\\": \\\"s\\\"}\"\n",
        )
        .expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
        let mut source = AuthSource { origin: "o".into(), logins: BTreeMap::new(), problems: vec![] };
        // A name with a path is refused where configurations are read; here it finds the test's own helper.
        ask(&format!("../{}", path.display()), "reg.io", &mut source).await;
        assert!(source.logins.is_empty() && source.problems.len() == 1);
    }
}
