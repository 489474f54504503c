//! The `secrets` of a job as a runner gets them (`runner-api.md` §4.13): where each is, and how the runner may ask there.
//! The addresses come from the job's variables. Called by `payload`; no secret is known here.

use crate::expand::{Scope, expand_existing, value_of};
use crate::pipeline::{Job, SecretProvider, SecretSource};
use serde_json::{Map, Value, json};

/// By variable name.
pub(crate) fn secrets(job: &Job, scope: &dyn Scope) -> Map<String, Value> {
    job.secrets.iter().map(|secret| (secret.name.clone(), one(job, secret, scope))).collect()
}

fn one(job: &Job, secret: &SecretSource, scope: &dyn Scope) -> Value {
    let variable = |name: &str| value_of(scope, name).unwrap_or_default();
    let given = |name: &str| value_of(scope, name).filter(|value| !value.is_empty());
    let text = |text: &str| expand_existing(scope, text);
    // The only id token of a job is the one that is meant.
    let jwt = match (&secret.token, job.id_tokens.as_slice()) {
        (Some(token), _) if token.contains('$') => text(token),
        (Some(token), _) => given(token).unwrap_or_else(|| token.clone()),
        (None, [only]) => variable(&only.name),
        (None, _) => String::new(),
    };
    let (kind, mut settings) = match &secret.provider {
        SecretProvider::Vault { engine, engine_path, path, field } => {
            let mut data = Map::new();
            data.insert("jwt".into(), jwt.into());
            if let Some(role) = given("VAULT_AUTH_ROLE") {
                data.insert("role".into(), role.into());
            }
            let server = json!({
                "url": variable("VAULT_SERVER_URL"),
                "namespace": variable("VAULT_NAMESPACE"),
                "auth": {
                    "name": "jwt",
                    "path": given("VAULT_AUTH_PATH").unwrap_or_else(|| "jwt".into()),
                    "data": data,
                },
            });
            let settings = json!({
                "server": server,
                "engine": {"name": engine, "path": text(engine_path)},
                "path": text(path),
                "field": text(field),
            });
            ("vault", settings)
        }
        SecretProvider::Gcp { name, version } => {
            let server = json!({
                "project_number": variable("GCP_PROJECT_NUMBER"),
                "workload_identity_federation_pool_id": variable("GCP_WORKLOAD_IDENTITY_FEDERATION_POOL_ID"),
                "workload_identity_federation_provider_id": variable("GCP_WORKLOAD_IDENTITY_FEDERATION_PROVIDER_ID"),
                "jwt": jwt,
            });
            let version = version.as_deref().unwrap_or("latest");
            ("gcp_secret_manager", json!({"name": text(name), "version": text(version), "server": server}))
        }
        SecretProvider::Azure { name, version } => {
            let server = json!({
                "client_id": variable("AZURE_CLIENT_ID"),
                "tenant_id": variable("AZURE_TENANT_ID"),
                "jwt": jwt,
                "url": variable("AZURE_KEY_VAULT_SERVER_URL"),
            });
            let mut settings = json!({"name": text(name), "server": server});
            if let Some(version) = version {
                settings["version"] = text(version).into();
            }
            ("azure_key_vault", settings)
        }
        SecretProvider::Aws { settings } => {
            let mut server = Map::new();
            server.insert("region".into(), variable("AWS_REGION").into());
            let more = [("role_arn", "AWS_ROLE_ARN"), ("role_session_name", "AWS_ROLE_SESSION_NAME")];
            if !jwt.is_empty() {
                server.insert("jwt".into(), jwt.into());
            }
            for (key, name) in more {
                if let Some(value) = given(name) {
                    server.insert(key.into(), value.into());
                }
            }
            let mut out: Map<String, Value> =
                settings.iter().map(|(key, value)| (key.clone(), text(value).into())).collect();
            out.insert("server".into(), server.into());
            ("aws_secrets_manager", out.into())
        }
        SecretProvider::Akeyless { settings } => {
            let server = json!({
                "access_id": variable("AKEYLESS_ACCESS_ID"),
                "akeyless_api_url": variable("AKEYLESS_API_URL"),
                "jwt": jwt,
            });
            let mut out: Map<String, Value> =
                settings.iter().map(|(key, value)| (key.clone(), text(value).into())).collect();
            out.insert("server".into(), server);
            ("akeyless", out.into())
        }
        SecretProvider::Gitlab { name, source } => (
            "gitlab_secrets_manager",
            json!({"name": name, "source": source.as_deref().unwrap_or("project")}),
        ),
    };
    let mut out = Map::new();
    out.insert(kind.into(), settings.take());
    out.insert("file".into(), secret.file.into());
    out.into()
}
