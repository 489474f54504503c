//! `default`, its older spelling at the top level, and `inherit` (`ci-yaml.md` §3.1, §4): the keywords that a job takes
//! over when it does not have them.

use super::{artifacts, cache, credentials, image, running};
use crate::check::{Check, Path};
use crate::diagnostic::Place;
use crate::pipeline::{Artifacts, Cache, IdToken, Image, Retry, Service};
use crate::yaml::{NodeId, Value};
use std::time::Duration;

/// Keywords of `default`.
pub(crate) const INHERITED: [&str; 13] = [
    "before_script",
    "after_script",
    "hooks",
    "cache",
    "image",
    "services",
    "interruptible",
    "timeout",
    "retry",
    "tags",
    "artifacts",
    "id_tokens",
    "identity",
];

/// Keywords that may also stand at the top level.
pub(crate) const AT_ROOT: [&str; 5] = ["image", "services", "before_script", "after_script", "cache"];

/// The inherited keywords of a job or of `default`; `None` means not given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    pub before_script: Option<Vec<String>>,
    pub after_script: Option<Vec<String>>,
    pub hooks: Option<Vec<String>>,
    pub cache: Option<Vec<Cache>>,
    pub image: Option<Image>,
    pub services: Option<Vec<Service>>,
    pub interruptible: Option<bool>,
    pub timeout: Option<Duration>,
    pub retry: Option<Retry>,
    pub tags: Option<Vec<String>>,
    pub artifacts: Option<Artifacts>,
    pub id_tokens: Option<Vec<IdToken>>,
    pub identity: Option<String>,
    /// Where each is written.
    pub places: Vec<(&'static str, Place)>,
}

impl Inherited {
    /// Reads one keyword, whose own path is given.
    fn read(&mut self, c: &mut Check<'_>, path: &Path<'_>, key: &'static str, place: Place, node: NodeId) {
        self.places.push((key, place));
        match key {
            "before_script" => self.before_script = c.script(path, node),
            "after_script" => self.after_script = c.script(path, node),
            "hooks" => self.hooks = running::hooks(c, path, node),
            "cache" => self.cache = cache::caches(c, path, node),
            "image" => self.image = image::image(c, path, node),
            "services" => self.services = image::services(c, path, node),
            "interruptible" => self.interruptible = c.boolean(path, node),
            "timeout" => self.timeout = running::timeout(c, path, node),
            "retry" => self.retry = running::retry(c, path, node),
            "tags" => self.tags = running::tags(c, path, node),
            "artifacts" => self.artifacts = artifacts::artifacts(c, path, node),
            "id_tokens" => self.id_tokens = credentials::id_tokens(c, path, node),
            // Only names out of INHERITED come here.
            _ => self.identity = credentials::identity(c, path, node),
        }
    }

    /// Reads those that a mapping holds.
    pub fn of(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Self {
        let mut out = Self::default();
        let tree = c.tree;
        for entry in tree.map(node).unwrap_or_default() {
            let key = tree.text(entry.key).and_then(|key| INHERITED.into_iter().find(|known| *known == key));
            if let Some(key) = key
                && !tree.is_null(entry.value)
            {
                out.read(c, &path.then(key), key, tree.place(entry.key), entry.value);
            }
        }
        out
    }

    /// As [`Self::fill`] for a bridge, which takes over nothing else.
    pub fn fill_bridge(&mut self, default: &Self, inherit: &Inherit) {
        let only = Self {
            interruptible: default.interruptible,
            places: default.places.iter().filter(|(key, _)| *key == "interruptible").copied().collect(),
            ..Self::default()
        };
        self.fill(&only, inherit);
    }

    /// Fills what is not given from `default`, as far as `inherit` lets it.
    pub fn fill(&mut self, default: &Self, inherit: &Inherit) {
        macro_rules! take {
            ($($field:ident),*) => {$(
                if self.$field.is_none() && default.$field.is_some() && inherit.takes(stringify!($field)) {
                    self.$field.clone_from(&default.$field);
                    let found = default.places.iter().find(|(key, _)| *key == stringify!($field));
                    self.places.extend(found);
                }
            )*};
        }
        take!(
            before_script,
            after_script,
            hooks,
            cache,
            image,
            services,
            interruptible,
            timeout,
            retry,
            tags,
            artifacts,
            id_tokens,
            identity
        );
    }
}

/// `default` and the keywords at the top level.
pub(crate) fn defaults(c: &mut Check<'_>, root: NodeId, default: Option<NodeId>) -> Inherited {
    let tree = c.tree;
    let mut out = Inherited::default();
    if let Some(node) = default {
        let path = Path::root("default");
        if c.mapping(&path, node, &INHERITED) {
            out = Inherited::of(c, &path, node);
        }
    }
    for key in AT_ROOT {
        let Some(entry) = tree.entry(root, key).filter(|entry| !tree.is_null(entry.value)) else { continue };
        if default.is_some_and(|node| tree.given(node, key).is_some()) {
            c.fail(&Path::root(key), entry.key, "config is defined in top-level and `default:` entry")
                .suggestion = Some(format!("keep `default:{key}`"));
            continue;
        }
        out.read(c, &Path::root(key), key, tree.place(entry.key), entry.value);
    }
    out
}

/// `inherit` of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherit {
    pub default: Choice,
    pub variables: Choice,
}

/// All, none or some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    #[default]
    All,
    None,
    Some(Vec<String>),
}

impl Choice {
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some(names) => names.iter().any(|n| n == name),
        }
    }
}

impl Inherit {
    fn takes(&self, key: &str) -> bool {
        self.default.holds(key)
    }
}

/// Reads `inherit`.
pub(crate) fn inherit(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Inherit {
    let mut out = Inherit::default();
    if !c.mapping(path, node, &["default", "variables"]) {
        return out;
    }
    let choice = |c: &mut Check<'_>, key: &str| {
        let Some(given) = c.tree.given(node, key) else { return Choice::All };
        match c.tree.value(given) {
            Value::Bool(true) => Choice::All,
            Value::Bool(false) => Choice::None,
            _ => {
                let names = c.texts_as(&path.then(key), given, "config should be a bool or array of strings");
                let unknown = names
                    .iter()
                    .flatten()
                    .find(|name| key == "default" && !INHERITED.contains(&name.as_str()));
                if let Some(unknown) = unknown {
                    c.config(&path.then(key), given, format_args!("contains unknown values: {unknown}"))
                        .suggestion = Some(format!("known here: {}", INHERITED.join(", ")));
                }
                Choice::Some(names.unwrap_or_default())
            }
        }
    };
    out.default = choice(c, "default");
    out.variables = choice(c, "variables");
    out
}
