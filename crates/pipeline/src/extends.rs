//! `extends`: bases laid under the jobs that name them (`ci-yaml.md` §5). Runs after includes, before `!reference`.

use crate::check::nearest;
use crate::diagnostic::Diagnostic;
use crate::yaml::{Entry, NodeId, Tree, Value, deep_merge};
use std::collections::HashMap;

/// An entry may have so many levels above it.
const MAX_LEVELS: usize = 10;
/// Nodes that merging may come to; far beyond any honest configuration.
const MAX_NODES: usize = 4_000_000;

/// Complaints after which no more are looked for.
pub(crate) const MAX_FOUND: usize = 10;

struct Extender<'t> {
    tree: &'t mut Tree,
    /// Top level keys.
    entries: HashMap<String, Entry>,
    /// Result and levels above.
    done: HashMap<String, (NodeId, usize)>,
    stack: Vec<String>,
    found: &'t mut Vec<Diagnostic>,
}

/// Resolves every `extends` of a root mapping. Complaints are added to `found`.
pub(crate) fn resolve(tree: &mut Tree, root: NodeId, found: &mut Vec<Diagnostic>) -> NodeId {
    let entries: Vec<Entry> = tree.map(root).unwrap_or_default().to_vec();
    let extending = |tree: &Tree, entry: &Entry| tree.given(entry.value, "extends").is_some();
    if !entries.iter().any(|entry| extending(tree, entry)) {
        return root;
    }
    let named = entries.iter().filter_map(|entry| Some((tree.text(entry.key)?.to_owned(), *entry))).collect();
    let mut extender = Extender { tree, entries: named, done: HashMap::new(), stack: Vec::new(), found };
    let mut merged = Vec::with_capacity(entries.len());
    for entry in &entries {
        // One mistake in a base shows in every job that uses it.
        if extender.found.len() >= MAX_FOUND {
            break;
        }
        let name = extender.tree.text(entry.key).map(str::to_owned);
        let value = match name {
            Some(name) if extending(extender.tree, entry) => {
                extender.entry(&name, *entry).map_or(entry.value, |(value, _)| value)
            }
            _ => entry.value,
        };
        merged.push(Entry { key: entry.key, value });
    }
    let place = tree.place(root);
    tree.add(Value::Map(merged.into()), place)
}

impl Extender<'_> {
    fn complain(&mut self, job: &str, at: NodeId, text: String) -> &mut Diagnostic {
        let place = self.tree.place(at);
        self.found.push(Diagnostic::error(text).at(place).job(job).keyword("extends"));
        let at = self.found.len() - 1;
        &mut self.found[at]
    }

    /// The names in `extends`, with their nodes.
    fn bases(&mut self, name: &str, extends: NodeId) -> Option<Vec<(String, NodeId)>> {
        let nodes = match self.tree.seq(extends) {
            Some(items) => items.to_vec(),
            None => vec![extends],
        };
        let texts: Option<Vec<_>> =
            nodes.iter().map(|node| Some((self.tree.text(*node)?.to_owned(), *node))).collect();
        match texts {
            Some(texts) if !texts.is_empty() => Some(texts),
            _ => {
                let text = format!("jobs:{name}:extends config should be a string or an array of strings");
                self.complain(name, extends, text);
                None
            }
        }
    }

    /// The merged value of an entry and how many levels are above it; `None` if something was wrong.
    fn entry(&mut self, name: &str, entry: Entry) -> Option<(NodeId, usize)> {
        if let Some(done) = self.done.get(name) {
            return Some(*done);
        }
        let Some(extends) = self.tree.given(entry.value, "extends") else {
            return Some((entry.value, 0));
        };
        if self.stack.iter().any(|n| n == name) {
            let chain = format!("{} → {name}", self.stack.join(" → "));
            let text = format!("{name}: circular dependency detected in `extends`");
            let place = Some(self.tree.place(extends));
            // Every job that leads into the circle meets it again.
            if !self.found.iter().any(|d| d.message == text && d.place == place) {
                self.complain(name, extends, text).suggestion = Some(format!("break the chain {chain}"));
            }
            return None;
        }
        if self.stack.len() > MAX_LEVELS {
            self.too_deep(extends);
            return None;
        }
        let bases = self.bases(name, extends)?;
        self.stack.push(name.to_owned());
        let merged = self.merged(name, entry, &bases);
        self.stack.pop();
        let (value, levels) = merged?;
        if levels > MAX_LEVELS {
            self.stack.push(name.to_owned());
            self.too_deep(extends);
            self.stack.pop();
            return None;
        }
        self.done.insert(name.to_owned(), (value, levels));
        Some((value, levels))
    }

    fn too_deep(&mut self, extends: NodeId) {
        let top = self.stack.first().cloned().unwrap_or_default();
        self.complain(&top, extends, format!("{top}: nesting too deep in `extends`")).suggestion =
            Some("at most 10 levels may be above a job".into());
    }

    fn merged(&mut self, name: &str, entry: Entry, bases: &[(String, NodeId)]) -> Option<(NodeId, usize)> {
        let mut below: Option<NodeId> = None;
        let mut levels = 0;
        for (base, node) in bases {
            let Some(found) = self.entries.get(base).copied() else {
                let near = nearest(base, self.entries.keys().map(String::as_str)).map(str::to_owned);
                self.complain(name, *node, format!("{name}: unknown keys in `extends` ({base})"))
                    .suggestion = Some(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "define it at the top level of this file or of an included one".to_owned(),
                });
                return None;
            };
            if self.tree.map(found.value).is_none() {
                let at = found.value;
                let text = format!("{name}: invalid base hashes in `extends` ({base})");
                let place = self.tree.place(at);
                self.complain(name, *node, text)
                    .notes
                    .push(crate::Note { text: "this is not a mapping".into(), place: Some(place) });
                return None;
            }
            let (value, above) = self.entry(base, found)?;
            levels = levels.max(above + 1);
            below = Some(match below {
                None => value,
                Some(below) => deep_merge(self.tree, below, value),
            });
        }
        let value = match below {
            None => entry.value,
            Some(below) => deep_merge(self.tree, below, entry.value),
        };
        if self.tree.len() > MAX_NODES {
            self.complain(name, entry.value, format!("{name}: the configuration is too big after `extends`"));
            return None;
        }
        Some((value, levels))
    }
}
