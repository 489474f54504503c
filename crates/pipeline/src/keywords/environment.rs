//! `environment` (`ci-yaml.md` §22): the shape, and the slug and tier that follow from a name.

use crate::check::{Check, Path};
use crate::pipeline::{Environment, EnvironmentAction};
use crate::yaml::NodeId;
use sha2::{Digest, Sha256};

const KEYS: [&str; 7] = ["name", "url", "action", "on_stop", "auto_stop_in", "kubernetes", "deployment_tier"];
/// Every `environment:deployment_tier`.
pub const ENVIRONMENT_TIERS: [&str; 5] = ["production", "staging", "testing", "development", "other"];

/// Reads `environment`.
pub(crate) fn environment(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Environment> {
    let tree = c.tree;
    if let Some(name) = tree.text(node) {
        return Some(Environment { name: checked_name(c, path, node, name)?, ..Environment::default() });
    }
    if tree.map(node).is_none() {
        c.config(path, node, "should be a hash or a string");
        return None;
    }
    if !c.known_keys(path, node, &KEYS) {
        return None;
    }
    let before = c.found.len();
    let Some(name) = tree.given(node, "name") else {
        c.fail(path, node, "name can't be blank");
        return None;
    };
    let Some(text) = tree.text(name) else {
        c.fail(path, name, "name should be a string");
        return None;
    };
    let mut out = Environment { name: checked_name(c, path, name, text)?, ..Environment::default() };
    let text = |c: &mut Check<'_>, key: &str| {
        let value = tree.given(node, key)?;
        let text = tree.text(value).map(str::to_owned);
        if text.is_none() {
            c.fail(path, value, format_args!("{} should be a string", key.replace('_', " ")));
        }
        text
    };
    out.url = text(c, "url");
    if let (Some(url), Some(value)) = (&out.url, tree.given(node, "url"))
        && url.chars().count() > 255
    {
        c.fail(path, value, "url is too long (maximum is 255 characters)");
    }
    out.on_stop = text(c, "on_stop");
    out.auto_stop_in = text(c, "auto_stop_in");
    out.deployment_tier = text(c, "deployment_tier");
    if let (Some(tier), Some(value)) = (&out.deployment_tier, tree.given(node, "deployment_tier"))
        && !ENVIRONMENT_TIERS.contains(&tier.as_str())
        && !tier.contains('$')
    {
        c.fail(path, value, format_args!("deployment tier must be one of {}", ENVIRONMENT_TIERS.join(", ")));
    }
    if let Some(action) = tree.given(node, "action") {
        out.action = match tree.text(action) {
            Some("start") => EnvironmentAction::Start,
            Some("stop") => EnvironmentAction::Stop,
            Some("prepare") => EnvironmentAction::Prepare,
            Some("verify") => EnvironmentAction::Verify,
            Some("access") => EnvironmentAction::Access,
            _ => {
                c.fail(path, action, "action should be start, stop, prepare, verify, or access");
                EnvironmentAction::Start
            }
        };
    }
    if let Some(kubernetes) = tree.given(node, "kubernetes") {
        check_kubernetes(c, &path.then("kubernetes"), kubernetes);
        out.kubernetes = Some(tree.json(kubernetes));
    }
    (c.found.len() == before).then_some(out)
}

fn well_formed(name: &str) -> bool {
    let allowed = |ch: char| ch.is_ascii_alphanumeric() || " -_/${}.".contains(ch);
    name.chars().all(allowed) && !name.starts_with('/') && !name.ends_with('/')
}

/// Whether an environment can have this name (§22).
pub fn is_environment_name(name: &str) -> bool {
    !name.trim().is_empty() && well_formed(name) && name.chars().count() <= 255
}

fn checked_name(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, name: &str) -> Option<String> {
    if name.trim().is_empty() {
        c.fail(path, node, "name can't be blank");
        return None;
    }
    if !well_formed(name) {
        c.fail(
            path,
            node,
            "name can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces, but it cannot start \
             or end with '/'",
        );
        return None;
    }
    if name.chars().count() > 255 {
        c.fail(path, node, "name is too long (maximum is 255 characters)");
        return None;
    }
    Some(name.to_owned())
}

fn check_kubernetes(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) {
    let keys = ["agent", "namespace", "flux_resource_path", "managed_resources", "dashboard"];
    if !c.mapping(path, node, &keys) {
        return;
    }
    let tree = c.tree;
    if tree.map(node).is_some_and(<[_]>::is_empty) {
        c.config(path, node, "can't be blank");
        return;
    }
    for key in ["agent", "namespace", "flux_resource_path"] {
        if let Some(value) = tree.given(node, key) {
            c.text(&path.then(key), value);
        }
    }
    let managed = tree.given(node, "managed_resources").and_then(|managed| {
        c.mapping(&path.then("managed_resources"), managed, &["enabled"]).then_some(())?;
        let enabled = tree.given(managed, "enabled")?;
        c.boolean(&path.then("managed_resources").then("enabled"), enabled)
    });
    let dashboard = tree.given(node, "dashboard");
    if let Some(dashboard) = dashboard {
        let path = path.then("dashboard");
        if c.mapping(&path, dashboard, &["namespace", "flux_resource_path"])
            && tree.given(dashboard, "namespace").is_none()
        {
            c.config(&path, dashboard, "missing required keys: namespace");
        }
        for key in ["namespace", "flux_resource_path"] {
            if tree.given(node, key).is_some() && tree.given(dashboard, key).is_some() {
                c.config(
                    &path,
                    dashboard,
                    format_args!("{key} is given twice, here and directly in kubernetes"),
                );
            }
        }
    }
    let flux = tree.given(node, "flux_resource_path");
    if flux.is_some() && tree.given(node, "namespace").is_none() {
        c.config(path, node, "missing required keys: namespace");
    }
    if tree.given(node, "agent").is_none() && (flux.is_some() || dashboard.is_some() || managed == Some(true))
    {
        c.config(path, node, "missing required keys: agent");
    }
}

/// `CI_ENVIRONMENT_SLUG` of a name (§22).
pub fn environment_slug(name: &str) -> String {
    let mut slug: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    if !slug.starts_with(|c: char| c.is_ascii_lowercase()) {
        slug.insert_str(0, "env-");
    }
    let mut squeezed = String::with_capacity(slug.len());
    for c in slug.chars() {
        if c != '-' || !squeezed.ends_with('-') {
            squeezed.push(c);
        }
    }
    let mut slug = squeezed;
    if slug.len() > 24 || slug != name {
        slug.truncate(17);
        if !slug.ends_with('-') {
            slug.push('-');
        }
        slug.push_str(&last_base_36(&Sha256::digest(name.as_bytes())));
    }
    if slug.ends_with('-') {
        slug.pop();
    }
    slug
}

/// The last six digits of a big-endian number written in base 36.
fn last_base_36(bytes: &[u8]) -> String {
    let modulus = 36u64.pow(6);
    let mut rest = bytes.iter().fold(0u64, |sum, byte| (sum * 256 + u64::from(*byte)) % modulus);
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        let value = (rest % 36) as u8;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        rest /= 36;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// The tier that a name suggests (§22).
pub fn environment_tier(name: &str) -> &'static str {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["dev", "review", "trunk"]) {
        "development"
    } else if has(&["test", "tst", "int", "acpt", "accept", "qa", "qc", "control", "quality", "uat"]) {
        "testing"
    } else if has(&["stg", "stag", "modl", "model", "pre", "demo", "non"]) {
        "staging"
    } else if has(&["prd", "prod", "live"]) {
        "production"
    } else {
        "other"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_short_and_stable() {
        assert_eq!(environment_slug("production"), "production");
        for name in [
            "review/feature-1",
            "1-env",
            "a--b",
            "Ünicode",
            "a-name-that-is-longer-than-24-characters",
            "-",
            "é-",
        ] {
            let slug = environment_slug(name);
            assert!(slug.len() <= 24 && slug.starts_with(|c: char| c.is_ascii_lowercase()), "{name}: {slug}");
            assert!(!slug.ends_with('-') && !slug.contains("--"), "{name}: {slug}");
            assert_eq!(slug, environment_slug(name));
        }
        assert!(environment_slug("review/feature-1").starts_with("review-feature-1-"));
        assert!(
            environment_slug("a-name-that-is-longer-than-24-characters").starts_with("a-name-that-is-lo-")
        );
    }

    /// §22
    #[test]
    fn tiers() {
        for (name, tier) in [
            ("production", "production"),
            ("live/eu", "production"),
            ("staging", "staging"),
            ("demo", "staging"),
            ("test-1", "testing"),
            ("uat", "testing"),
            ("int", "testing"),
            ("review/x", "development"),
            ("dev", "development"),
            ("elsewhere", "other"),
        ] {
            assert_eq!(environment_tier(name), tier, "{name}");
        }
    }
}
