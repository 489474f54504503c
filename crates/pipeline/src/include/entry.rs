//! The shapes of an `include` (`ci-yaml.md` §7.1, §7.2): which kind, which keys go with it. Rules, variables and
//! wildcards are the business of `include`.

use crate::check::{Check, Path};
use crate::durations::parse_duration;
use crate::yaml::{NodeId, Value};
use std::time::Duration;

/// One entry as written.
pub(super) struct EntryOf {
    pub kind: Kind,
    /// A mapping of values.
    pub inputs: Option<NodeId>,
    /// A list of rules.
    pub rules: Option<NodeId>,
}

/// What an entry names; texts as written.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A text alone: an address or a local path, which its variables may decide.
    Short(String),
    Local(String),
    Project {
        project: String,
        git_ref: Option<String>,
        files: Vec<String>,
    },
    Remote(RemoteOf),
    Template(String),
    Component(String),
    Artifact {
        job: String,
        path: String,
    },
}

/// `remote` with its keys.
#[derive(Clone, Debug)]
pub(super) struct RemoteOf {
    pub url: String,
    pub integrity: Option<[u8; 32]>,
    pub keep: Option<Duration>,
}

/// How long an answer serves with `cache: true`.
const HOUR: Duration = Duration::from_secs(3600);

/// Where an include stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Configuration,
    /// `spec:include` (§8.1).
    Header,
}

/// The keys that select the kind.
const KINDS: [&str; 6] = ["local", "project", "remote", "template", "artifact", "component"];

/// Reads an entry; what is wrong with it is recorded.
pub(super) fn entry(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, of: Of) -> Option<EntryOf> {
    let tree = c.tree;
    if let Value::Text(text) = tree.value(node) {
        return Some(EntryOf { kind: Kind::Short(text.to_string()), inputs: None, rules: None });
    }
    if tree.map(node).is_none() {
        c.config(path, node, "should be a string or a hash");
        return None;
    }
    let keys: &[&str] = match of {
        Of::Configuration => &[
            "local",
            "file",
            "remote",
            "project",
            "ref",
            "integrity",
            "cache",
            "template",
            "artifact",
            "inputs",
            "job",
            "rules",
            "component",
        ],
        Of::Header => &["local", "file", "remote", "project", "ref", "integrity", "cache"],
    };
    if !c.known_keys(path, node, keys) {
        return None;
    }
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| tree.given(node, kind).is_some()).collect();
    let valid = || {
        let kinds: Vec<String> =
            KINDS.iter().filter(|kind| keys.contains(kind)).map(|kind| format!("`{kind}`")).collect();
        kinds.join(", ")
    };
    let kind = match given[..] {
        [kind] => kind,
        [] => {
            let mut shown = tree.json(node).to_string();
            if let Some((at, _)) = shown.char_indices().nth(200) {
                shown.truncate(at);
                shown.push('…');
            }
            let help = "`file` goes with `project`; a file of this repository is `local`";
            let help = tree.given(node, "file").map(|_| help.to_owned());
            c.plain(
                path,
                node,
                format_args!(
                    "`{shown}` does not have a valid subkey for include. Valid subkeys are: {}",
                    valid()
                ),
            )
            .suggestion = help;
            return None;
        }
        _ => {
            c.plain(path, node, format_args!("Each include must use only one of: {}", valid())).suggestion =
                Some("make a list entry of each".into());
            return None;
        }
    };
    let goes_with: &[&str] = match kind {
        "project" => &["file", "ref"],
        "artifact" => &["job"],
        "remote" => &["integrity", "cache"],
        _ => &[],
    };
    for key in ["file", "ref", "job", "integrity", "cache"] {
        if let Some(entry) = tree.entry(node, key)
            && !goes_with.contains(&key)
        {
            let owner = match key {
                "file" | "ref" => "project",
                "job" => "artifact",
                _ => "remote",
            };
            c.config(path, entry.key, format_args!("contains unknown keys: {key}")).suggestion =
                Some(format!("`{key}` goes with `{owner}`, not with `{kind}`"));
            return None;
        }
    }
    let inputs = tree.given(node, "inputs");
    if let Some(inputs) = inputs
        && tree.map(inputs).is_none()
    {
        c.config(&path.then("inputs"), inputs, "should be a hash");
        return None;
    }
    let value = tree.given(node, kind)?;
    let text = c.text(&path.then(kind), value)?;
    let kind = match kind {
        "local" => Kind::Local(text),
        "template" => Kind::Template(text),
        "component" => Kind::Component(text),
        "project" => {
            let Some(file) = tree.given(node, "file") else {
                c.config(path, node, "must specify the file where to fetch the config from").suggestion =
                    Some("add `file:` with a path or a list of paths of that project".into());
                return None;
            };
            let complaint = "config should be a string or an array of strings";
            let files = c.one_or_more(&path.then("file"), file, complaint)?;
            let git_ref = match tree.given(node, "ref") {
                Some(name) => Some(c.text(&path.then("ref"), name)?),
                None => None,
            };
            Kind::Project { project: text, git_ref, files }
        }
        "artifact" => {
            let Some(job) = tree.given(node, "job") else {
                c.config(path, node, "must specify the job where to fetch the artifact from").suggestion =
                    Some("add `job:` with the name of the job that makes the file".into());
                return None;
            };
            Kind::Artifact { job: c.text(&path.then("job"), job)?, path: text }
        }
        _ => Kind::Remote(remote(c, path, node, text)?),
    };
    Some(EntryOf { kind, inputs, rules: tree.given(node, "rules") })
}

fn remote(c: &mut Check<'_>, path: &Path<'_>, node: NodeId, url: String) -> Option<RemoteOf> {
    use base64::Engine as _;
    let tree = c.tree;
    let mut remote = RemoteOf { url, integrity: None, keep: None };
    if let Some(node) = tree.given(node, "integrity") {
        let path = path.then("integrity");
        let text = c.text(&path, node)?;
        let help = "it is `sha256-` and the base64 of the file's SHA-256: openssl dgst -sha256 -binary FILE | base64";
        let Some(encoded) = text.strip_prefix("sha256-") else {
            c.config(&path, node, "must start with 'sha256-'").suggestion = Some(help.into());
            return None;
        };
        let digest = base64::engine::general_purpose::STANDARD.decode(encoded).ok();
        remote.integrity = digest.and_then(|digest| digest.try_into().ok());
        if remote.integrity.is_none() {
            c.config(&path, node, "is not the base64 of a SHA-256").suggestion = Some(help.into());
            return None;
        }
    }
    if let Some(node) = tree.given(node, "cache") {
        let path = path.then("cache");
        remote.keep = match tree.value(node) {
            Value::Bool(true) => Some(HOUR),
            Value::Bool(false) => None,
            Value::Text(text) => match parse_duration(text) {
                Some(duration) if duration >= Duration::from_secs(60) => Some(duration),
                Some(_) => {
                    c.config(&path, node, "must be at least 1 minute");
                    return None;
                }
                None => {
                    c.config(&path, node, "should be a boolean or a duration").suggestion =
                        Some("for example `cache: 2 hours`".into());
                    return None;
                }
            },
            _ => {
                c.config(&path, node, "should be a boolean or a duration").suggestion =
                    Some("for example `cache: 2 hours`".into());
                return None;
            }
        };
    }
    Some(remote)
}
