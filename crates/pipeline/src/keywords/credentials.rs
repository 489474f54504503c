//! `id_tokens`, `secrets` and `identity` (`ci-yaml.md` §25): what a job wants to have in its variables from somewhere
//! else. Only names and places are here, never a value.

use crate::check::{Check, Path};
use crate::pipeline::{IdToken, SecretProvider, SecretSource};
use crate::yaml::{NodeId, Value};
use std::collections::BTreeMap;

/// Reads `id_tokens`.
pub(crate) fn id_tokens(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<IdToken>> {
    let tree = c.tree;
    let Some(entries) = tree.map(node) else {
        c.config(path, node, "should be a hash");
        return None;
    };
    let before = c.found.len();
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = tree.show(entry.key);
        let path = path.then(&name);
        if !c.mapping(&path, entry.value, &["aud"]) {
            continue;
        }
        let Some(aud) = tree.given(entry.value, "aud") else {
            c.config(&path, entry.key, "missing required keys: aud").suggestion =
                Some("`aud` names who the token is for, for example `aud: https://vault.example.com`".into());
            continue;
        };
        let single = tree.text(aud).is_some();
        let list = c.one_or_more(&path, aud, "aud should be an array of strings or a string");
        match list {
            Some(list) if list.iter().all(|text| !text.trim().is_empty()) && !list.is_empty() => {
                out.push(IdToken { name, aud: list, single });
            }
            Some(_) => {
                c.fail(&path, aud, "aud can't be blank");
            }
            None => {}
        }
    }
    (c.found.len() == before).then_some(out)
}

/// Reads `identity`.
pub(crate) fn identity(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<String> {
    c.word(path, node, "config", &["google_cloud"]).map(str::to_owned)
}

const PROVIDERS: [&str; 6] = [
    "vault",
    "gcp_secret_manager",
    "azure_key_vault",
    "aws_secrets_manager",
    "akeyless",
    "gitlab_secrets_manager",
];

/// Reads `secrets`.
pub(crate) fn secrets(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<SecretSource>> {
    let tree = c.tree;
    let Some(entries) = tree.map(node) else {
        c.config(path, node, "should be a hash");
        return None;
    };
    let before = c.found.len();
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = tree.show(entry.key);
        out.extend(secret(c, &path.then(&name), &name, entry.value));
    }
    (c.found.len() == before).then_some(out)
}

fn secret(c: &mut Check<'_>, path: &Path<'_>, name: &str, node: NodeId) -> Option<SecretSource> {
    let tree = c.tree;
    let mut keys = PROVIDERS.to_vec();
    keys.extend(["file", "token"]);
    if !c.mapping(path, node, &keys) {
        return None;
    }
    let given: Vec<&str> = PROVIDERS.into_iter().filter(|kind| tree.given(node, kind).is_some()).collect();
    let [kind] = given.as_slice() else {
        let diagnostic = if given.is_empty() {
            c.config(path, node, format_args!("must have one of these keys: {}", PROVIDERS.join(", ")))
        } else {
            c.config(path, node, format_args!("these keys cannot be used together: {}", given.join(", ")))
        };
        diagnostic.suggestion = Some("a secret comes from exactly one provider".into());
        return None;
    };
    let file = match tree.given(node, "file") {
        Some(file) => c.boolean(&path.then("file"), file)?,
        None => true,
    };
    let token = match tree.given(node, "token") {
        Some(token) => Some(c.text(&path.then("token"), token)?),
        None => None,
    };
    let provider = tree.given(node, kind)?;
    let path = &path.then(kind);
    let provider = match *kind {
        "vault" => vault(c, path, provider)?,
        "gcp_secret_manager" => {
            let mut texts = settings(c, path, provider, &["name", "version"], &["name"])?;
            if token.is_none() {
                c.config(path, provider, "missing required keys: token").suggestion =
                    Some("add `token: $NAME` with one of the job's `id_tokens`".into());
                return None;
            }
            SecretProvider::Gcp { name: texts.remove("name")?, version: texts.remove("version") }
        }
        "azure_key_vault" => {
            let mut texts = settings(c, path, provider, &["name", "version"], &["name"])?;
            SecretProvider::Azure { name: texts.remove("name")?, version: texts.remove("version") }
        }
        "aws_secrets_manager" => match tree.text(provider) {
            // `id` or `id#field`
            Some(text) if !text.is_empty() => {
                let (id, field) = text.split_once('#').map_or((text, None), |(id, field)| (id, Some(field)));
                let field = field.map(|field| ("field".to_owned(), field.to_owned()));
                let id = ("secret_id".to_owned(), id.to_owned());
                SecretProvider::Aws { settings: std::iter::once(id).chain(field).collect() }
            }
            _ => {
                let keys = [
                    "secret_id",
                    "version_id",
                    "version_stage",
                    "region",
                    "role_arn",
                    "role_session_name",
                    "field",
                ];
                SecretProvider::Aws { settings: settings(c, path, provider, &keys, &["secret_id"])? }
            }
        },
        "akeyless" => {
            let keys = ["name", "data_key", "cert_user_name", "public_key_data", "csr_data"];
            SecretProvider::Akeyless { settings: settings(c, path, provider, &keys, &[])? }
        }
        _ => {
            let mut texts = settings(c, path, provider, &["name", "source"], &["name"])?;
            let name = texts.remove("name")?;
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                c.config(path, provider, "name can contain only letters, digits and '_'");
                return None;
            }
            SecretProvider::Gitlab { name, source: texts.remove("source") }
        }
    };
    Some(SecretSource { name: name.to_owned(), provider, file, token })
}

/// A mapping of texts with known keys, some of them required.
fn settings(
    c: &mut Check<'_>,
    path: &Path<'_>,
    node: NodeId,
    keys: &[&str],
    required: &[&str],
) -> Option<BTreeMap<String, String>> {
    if !c.mapping(path, node, keys) {
        return None;
    }
    let tree = c.tree;
    let mut out = BTreeMap::new();
    for key in keys {
        let Some(value) = tree.given(node, key) else { continue };
        // A version may well be written as a number.
        let text = match tree.value(value) {
            Value::Int(number) => Some(number.to_string()),
            _ => c.text(&path.then(key), value),
        };
        out.insert((*key).to_owned(), text?);
    }
    let missing: Vec<&str> = required
        .iter()
        .copied()
        .filter(|key| out.get(*key).is_none_or(|text| text.trim().is_empty()))
        .collect();
    if !missing.is_empty() {
        c.config(path, node, format_args!("missing required keys: {}", missing.join(", ")));
        return None;
    }
    Some(out)
}

/// `path/to/secret/field@engine`, or the same as a mapping.
fn vault(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<SecretProvider> {
    let tree = c.tree;
    if let Some(text) = tree.text(node) {
        let (secret, engine) = text.split_once('@').unwrap_or((text, "kv-v2"));
        return match secret.rsplit_once('/') {
            Some((before, field)) if !before.is_empty() && !field.is_empty() && !engine.is_empty() => {
                Some(SecretProvider::Vault {
                    engine: "kv-v2".into(),
                    engine_path: engine.into(),
                    path: before.into(),
                    field: field.into(),
                })
            }
            _ => {
                c.config(path, node, "should be a hash or a string like path/to/secret/field@engine");
                None
            }
        };
    }
    if !c.mapping(path, node, &["engine", "path", "field"]) {
        return None;
    }
    let Some(engine) = tree.given(node, "engine") else {
        c.config(path, node, "missing required keys: engine");
        return None;
    };
    let mut engine = settings(c, &path.then("engine"), engine, &["name", "path"], &["name", "path"])?;
    let kind = engine.remove("name")?;
    let kinds = ["kv-v1", "kv-v2", "generic"];
    if !kinds.contains(&kind.as_str()) {
        let at = tree.given(node, "engine")?;
        c.config(&path.then("engine"), at, format_args!("name should be one of: {}", kinds.join(", ")));
        return None;
    }
    let text = |c: &mut Check<'_>, key: &str| match tree.given(node, key) {
        Some(value) => c.text(&path.then(key), value),
        None => {
            c.config(path, node, format_args!("missing required keys: {key}"));
            None
        }
    };
    let (secret, field) = (text(c, "path")?, text(c, "field")?);
    Some(SecretProvider::Vault { engine: kind, engine_path: engine.remove("path")?, path: secret, field })
}
