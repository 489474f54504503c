//! `include`: files fetched, loaded and merged below the one that names them (`ci-yaml.md` §7). This version knows
//! `local`; the other kinds say that they are not supported yet.

use crate::check::{Check, Path, nearest};
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Place};
use crate::expand::{Scope, expand_existing};
use crate::glob::wildcard_matches;
use crate::loader::{Unusable, load_file, whole};
use crate::rules::{self, RuleWhen, RulesOf, Verdict};
use crate::source::{FetchError, FileId, IncludeSource, SourceFile};
use crate::yaml::{Entry, NodeId, Tree, Value, deep_merge};
use std::collections::{HashMap, HashSet};

/// Files of one configuration (§31).
const MAX_FILES: usize = 150;
/// All included text (§31).
const MAX_BYTES: usize = 314_572_800;

/// Fetches and merges.
pub(crate) struct Includer<'a> {
    pub tree: &'a mut Tree,
    pub source: &'a dyn IncludeSource,
    pub cx: &'a Context,
    pub scope: &'a dyn Scope,
    pub found: &'a mut Vec<Diagnostic>,
    pub warnings: &'a mut Vec<Diagnostic>,
    /// Where each file was included.
    pub from: &'a mut HashMap<FileId, Place>,
    /// The content of each file, the root first.
    pub contents: &'a mut Vec<NodeId>,
    /// Files so far, repeats counted.
    pub files: usize,
    pub bytes: usize,
    /// Local paths included so far.
    pub seen: HashSet<String>,
}

/// One file to include.
struct Wanted {
    path: String,
    at: NodeId,
}

/// No more files are taken.
struct Stop;

impl Includer<'_> {
    /// The content of a file with its includes below it and without the `include` key.
    pub fn merged(&mut self, root: NodeId) -> NodeId {
        match self.below(root) {
            Ok(node) => node,
            Err(Stop) => root,
        }
    }

    fn below(&mut self, root: NodeId) -> Result<NodeId, Stop> {
        self.contents.push(root);
        let Some(include) = self.tree.get(root, "include") else { return Ok(root) };
        let mut below: Option<NodeId> = None;
        for wanted in self.wanted(include) {
            let Some(content) = self.fetch(&wanted)? else { continue };
            let content = self.below(content)?;
            below = Some(match below {
                None => content,
                Some(below) => deep_merge(self.tree, below, content),
            });
        }
        let own: Vec<Entry> = self.tree.map(root).unwrap_or_default().to_vec();
        let own = own.into_iter().filter(|entry| self.tree.text(entry.key) != Some("include")).collect();
        let place = self.tree.place(root);
        let own = self.tree.add(Value::Map(own), place);
        Ok(match below {
            None => own,
            Some(below) => deep_merge(self.tree, below, own),
        })
    }

    fn complain(&mut self, at: NodeId, text: impl Into<String>, help: Option<String>) {
        let mut diagnostic = Diagnostic::error(text).at(self.tree.place(at)).keyword("include");
        diagnostic.suggestion = help;
        self.found.push(diagnostic);
    }

    /// The files that an `include` names, in order.
    fn wanted(&mut self, include: NodeId) -> Vec<Wanted> {
        let items = match self.tree.value(include) {
            Value::Null => return Vec::new(),
            Value::Seq(items) => items.to_vec(),
            _ => vec![include],
        };
        let mut wanted = Vec::new();
        for item in items {
            let path = match self.tree.value(item) {
                Value::Null => continue,
                Value::Text(text) => text.to_string(),
                Value::Map(_) => match self.mapping(item) {
                    Some(path) => path,
                    None => continue,
                },
                _ => {
                    self.complain(item, "include config should be a string or a hash", None);
                    continue;
                }
            };
            // Unknown names become empty; nothing else is known that early.
            let path = drop_unknown(&expand_existing(self.scope, &path));
            if path.starts_with("http://") || path.starts_with("https://") {
                self.unsupported(item, "remote");
                continue;
            }
            self.local(item, path.trim_start_matches('/'), &mut wanted);
        }
        wanted
    }

    fn unsupported(&mut self, at: NodeId, kind: &str) {
        self.complain(
            at,
            format!("include:{kind} is not supported yet by this version of Harrier"),
            Some("copy the file into the repository and use `include: local`".into()),
        );
    }

    /// The path of a mapping, if it is a local file and its rules let it in.
    fn mapping(&mut self, item: NodeId) -> Option<String> {
        const KINDS: [&str; 6] = ["local", "project", "remote", "template", "artifact", "component"];
        const KEYS: [&str; 13] = [
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
        ];
        let mut check = Check::new(self.tree);
        let known = check.known_keys(&Path::root("include"), item, &KEYS);
        let found = std::mem::take(&mut check.found);
        self.found.extend(found);
        if !known {
            return None;
        }
        let kinds: Vec<&str> =
            KINDS.into_iter().filter(|kind| self.tree.given(item, kind).is_some()).collect();
        let shown = self.tree.json(item).to_string();
        match kinds[..] {
            ["local"] => {}
            [kind] => {
                self.unsupported(item, kind);
                return None;
            }
            [] => {
                let text = format!(
                    "`{shown}` does not have a valid subkey for include. Valid subkeys are: `{}`",
                    KINDS.join("`, `")
                );
                self.complain(item, text, None);
                return None;
            }
            _ => {
                let text = format!("Each include must use only one of: `{}`", KINDS.join("`, `"));
                self.complain(item, text, Some("make a list entry of each".into()));
                return None;
            }
        }
        for key in ["inputs", "integrity", "cache", "file", "ref", "job"] {
            if let Some(node) = self.tree.given(item, key) {
                if key == "inputs" {
                    self.complain(
                        node,
                        "include:inputs is not supported yet by this version of Harrier",
                        None,
                    );
                } else {
                    self.complain(node, format!("include config contains unknown keys: {key}"), None);
                }
                return None;
            }
        }
        if !self.rules_allow(item) {
            return None;
        }
        let local = self.tree.given(item, "local")?;
        match self.tree.text(local) {
            Some(text) => Some(text.to_owned()),
            None => {
                self.complain(local, "include:local config should be a string", None);
                None
            }
        }
    }

    fn rules_allow(&mut self, item: NodeId) -> bool {
        let Some(node) = self.tree.given(item, "rules") else { return true };
        let mut check = Check::new(self.tree);
        let root = Path::root("include");
        let rules = rules::rules(&mut check, &root.then("rules"), node, RulesOf::Include);
        let found = std::mem::take(&mut check.found);
        self.found.extend(found);
        let Some(rules) = rules else { return false };
        match rules::evaluate(&rules, self.scope, self.cx, self.source) {
            Verdict::Matched(_, rule) => rule.when != Some(RuleWhen::Never),
            Verdict::NoMatch => false,
            Verdict::Unknown(place, why) => {
                let text = format!("Failed to parse rule for include: {why}");
                self.found.push(Diagnostic::error(text).at(place).keyword("include:rules"));
                false
            }
        }
    }

    fn local(&mut self, at: NodeId, path: &str, wanted: &mut Vec<Wanted>) {
        let lower = path.to_lowercase();
        if !lower.ends_with(".yml") && !lower.ends_with(".yaml") {
            let text = format!("Included file `{path}` does not have YAML extension!");
            self.complain(at, text, Some("an included file must end in .yml or .yaml".into()));
            return;
        }
        if !path.contains('*') {
            wanted.push(Wanted { path: path.to_owned(), at });
            return;
        }
        let matching: Vec<String> = self
            .source
            .files()
            .iter()
            .filter(|file| wildcard_matches(path, file, false))
            .filter(|file| !self.seen.contains(file.as_str()) && !wanted.iter().any(|w| w.path == **file))
            .cloned()
            .collect();
        wanted.extend(matching.into_iter().map(|path| Wanted { path, at }));
    }

    fn fetch(&mut self, wanted: &Wanted) -> Result<Option<NodeId>, Stop> {
        let (path, at) = (&wanted.path, wanted.at);
        if self.files >= MAX_FILES {
            self.complain(
                at,
                format!("Maximum of {MAX_FILES} nested includes are allowed!"),
                Some("does a file include itself?".into()),
            );
            return Err(Stop);
        }
        self.files += 1;
        self.seen.insert(path.clone());
        let text = match self.source.local(path) {
            Ok(text) => text,
            Err(FetchError::NotFound) => {
                let near = nearest(path, self.source.files().iter().map(String::as_str));
                let help = near
                    .map(|near| format!("did you mean `{near}`?"))
                    .unwrap_or_else(|| "the path is relative to the root of the repository".to_owned());
                self.complain(at, format!("Local file `{path}` does not exist!"), Some(help));
                return Ok(None);
            }
            Err(FetchError::Unsupported(why) | FetchError::Failed(why)) => {
                self.complain(at, format!("Local file `{path}` could not be read: {why}"), None);
                return Ok(None);
            }
        };
        self.bytes += text.len();
        if self.bytes > MAX_BYTES {
            self.complain(at, "The included files are too big: at most 314572800 bytes together", None);
            return Err(Stop);
        }
        let place = self.tree.place(at);
        let mut warnings = Vec::new();
        let loaded = load_file(self.tree, SourceFile { name: path.clone(), text }, &mut warnings);
        self.warnings.append(&mut warnings);
        match loaded {
            Ok(content) => {
                self.from.insert(self.tree.place(content).file, place);
                if self.tree.map(content).is_some_and(<[_]>::is_empty) {
                    self.complain(at, format!("Included file `{path}` is empty!"), None);
                    return Ok(None);
                }
                Ok(Some(content))
            }
            Err(Unusable::Empty(file)) => {
                self.from.insert(file, place);
                let diagnostic =
                    Diagnostic::error(format!("Included file `{path}` is empty!")).at(whole(file));
                self.found.push(diagnostic.keyword("include"));
                Ok(None)
            }
            Err(Unusable::NotMapping(node)) => {
                self.from.insert(self.tree.place(node).file, place);
                self.complain(node, format!("`{path}`: Invalid configuration format"), None);
                Ok(None)
            }
            Err(Unusable::Broken(diagnostic)) => {
                if let Some(here) = diagnostic.place {
                    self.from.insert(here.file, place);
                }
                let mut diagnostic = *diagnostic;
                diagnostic.message = format!("`{path}`: {}", diagnostic.message);
                self.found.push(diagnostic);
                Ok(None)
            }
        }
    }
}

/// References that nothing answered become empty.
fn drop_unknown(text: &str) -> String {
    struct Nothing;
    impl Scope for Nothing {
        fn look_up(&self, _: &str) -> Option<crate::expand::Definition<'_>> {
            Some(crate::expand::Definition { value: "", raw: true, file: false })
        }
    }
    expand_existing(&Nothing, text)
}
