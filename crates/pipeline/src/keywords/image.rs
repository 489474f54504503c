//! `image` and `services` (`ci-yaml.md` §21).

use super::variables;
use crate::check::{Check, Path};
use crate::pipeline::{Image, Service};
use crate::yaml::{NodeId, Value};

const KEYS: [&str; 5] = ["name", "entrypoint", "docker", "kubernetes", "pull_policy"];
const POLICIES: [&str; 3] = ["always", "if-not-present", "never"];

/// Reads `image`.
pub(crate) fn image(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Image> {
    read(c, path, node, &[])
}

/// Reads `services`.
pub(crate) fn services(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<Service>> {
    if c.tree.seq(node).is_none() {
        c.config(path, node, "should be a array").suggestion =
            Some("write each service as a list item".into());
        return None;
    }
    let items = match c.flatten(node, usize::MAX) {
        Ok(items) => items,
        Err(bad) => {
            c.config(path, bad, "is too long");
            return None;
        }
    };
    let path = path.then("service");
    items.into_iter().map(|item| service(c, &path, item)).collect()
}

fn service(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Service> {
    let tree = c.tree;
    let image = read(c, path, node, &["command", "alias", "variables"])?;
    let mut service = Service { image, ..Service::default() };
    if tree.map(node).is_none() {
        return Some(service);
    }
    if let Some(command) = tree.given(node, "command") {
        service.command = Some(c.script(&path.then("command"), command)?);
    }
    if let Some(alias) = tree.given(node, "alias") {
        service.alias = Some(c.text(&path.then("alias"), alias)?);
    }
    if let Some(given) = tree.given(node, "variables") {
        let list = variables::scalars_only(c, &path.then("variables"), given)?;
        service.variables = list.into_iter().map(|v| (v.key, v.value)).collect();
    }
    Some(service)
}

fn read(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, more: &[&str]) -> Option<Image> {
    let tree = c.tree;
    match tree.value(node) {
        Value::Text(text) if !text.trim().is_empty() => {
            return Some(Image { name: text.to_string(), ..Image::default() });
        }
        Value::Text(_) => {
            c.config(path, node, "name can't be blank");
            return None;
        }
        Value::Map(_) => {}
        _ => {
            c.config(path, node, "should be a hash or a string");
            return None;
        }
    }
    let keys: Vec<&str> = KEYS.iter().chain(more).copied().collect();
    if !c.known_keys(path, node, &keys) {
        return None;
    }
    let name = match tree.given(node, "name").map(|name| (name, tree.text(name))) {
        Some((_, Some(text))) if !text.trim().is_empty() => text.to_owned(),
        found => {
            c.fail(path, found.map_or(node, |(name, _)| name), "name should be a string");
            return None;
        }
    };
    let mut image = Image { name, ..Image::default() };
    if let Some(entrypoint) = tree.given(node, "entrypoint") {
        image.entrypoint = Some(c.texts_as(path, entrypoint, "entrypoint should be an array of strings")?);
    }
    if let Some(policy) = tree.given(node, "pull_policy") {
        let path = path.then("pull_policy");
        let policies = c.one_or_more(&path, policy, "config should be a string or an array of strings")?;
        if policies.is_empty() || policies.iter().any(|p| !POLICIES.contains(&p.as_str())) {
            c.config(&path, policy, format_args!("should be one of: {}", POLICIES.join(", ")));
            return None;
        }
        image.pull_policy = policies;
    }
    if let Some(docker) = tree.given(node, "docker") {
        let path = path.then("docker");
        if !c.mapping(&path, docker, &["platform", "user"]) {
            return None;
        }
        image.docker_platform = sized(c, &path, docker, "platform", 64)?;
        image.docker_user = sized(c, &path, docker, "user", 255)?;
    }
    if let Some(kubernetes) = tree.given(node, "kubernetes") {
        let path = path.then("kubernetes");
        if !c.mapping(&path, kubernetes, &["user"]) {
            return None;
        }
        image.kubernetes_user = match tree.given(kubernetes, "user").map(|user| tree.value(user)) {
            Some(Value::Int(user)) => Some(user.to_string()),
            _ => sized(c, &path, kubernetes, "user", 255)?,
        };
    }
    Some(image)
}

/// An optional text of 1 to `most` characters.
fn sized(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, key: &str, most: usize) -> Option<Option<String>> {
    let Some(value) = c.tree.given(node, key) else { return Some(None) };
    let path = path.then(key);
    let text = c.text(&path, value)?;
    if text.is_empty() || text.chars().count() > most {
        c.config(&path, value, format_args!("must have 1 to {most} characters"));
        return None;
    }
    Some(Some(text))
}
