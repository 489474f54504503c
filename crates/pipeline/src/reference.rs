//! `!reference [a, b]`: replaced by what stands there (`ci-yaml.md` §6). Runs over the merged tree after `extends`.

use crate::check::nearest;
use crate::diagnostic::Diagnostic;
use crate::yaml::{Entry, NodeId, Tree, Value};
use std::collections::{HashMap, HashSet};

/// References within references, and levels of values.
const MAX_LEVELS: usize = 400;

struct Resolver<'t> {
    tree: &'t mut Tree,
    root: NodeId,
    /// Top level keys.
    top: HashMap<String, NodeId>,
    done: HashMap<NodeId, NodeId>,
    open: HashSet<NodeId>,
    /// Top level key we are in.
    within: String,
    found: &'t mut Vec<Diagnostic>,
}

/// Resolves every reference below a root mapping. Complaints are added to `found`; what could not be resolved becomes
/// null.
pub(crate) fn resolve(tree: &mut Tree, root: NodeId, found: &mut Vec<Diagnostic>) -> NodeId {
    if !tree.node(root).unresolved {
        return root;
    }
    let entries = tree.map(root).unwrap_or_default().to_vec();
    let top =
        entries.iter().filter_map(|entry| Some((tree.text(entry.key)?.to_owned(), entry.value))).collect();
    let mut resolver = Resolver {
        tree,
        root,
        top,
        done: HashMap::new(),
        open: HashSet::new(),
        within: String::new(),
        found,
    };
    let mut merged = Vec::with_capacity(entries.len());
    for entry in entries {
        resolver.within = resolver.tree.show(entry.key);
        merged.push(Entry { key: entry.key, value: resolver.node(entry.value, 0) });
    }
    let place = tree.place(root);
    tree.add(Value::Map(merged.into()), place)
}

impl Resolver<'_> {
    fn complain(&mut self, at: NodeId, text: String, help: Option<String>) -> NodeId {
        let place = self.tree.place(at);
        let mut diagnostic = Diagnostic::error(text).at(place).job(self.within.clone()).keyword("!reference");
        diagnostic.suggestion = help;
        self.found.push(diagnostic);
        self.tree.add(Value::Null, place)
    }

    fn node(&mut self, id: NodeId, level: usize) -> NodeId {
        if !self.tree.node(id).unresolved {
            return id;
        }
        if let Some(done) = self.done.get(&id) {
            return *done;
        }
        self.open.insert(id);
        let resolved = if level > MAX_LEVELS {
            self.complain(id, format!("{} is nested too deep", self.shown(id)), None)
        } else {
            match self.tree.value(id).clone() {
                Value::Seq(items) => {
                    let items: Vec<NodeId> = items.iter().map(|item| self.node(*item, level + 1)).collect();
                    let place = self.tree.place(id);
                    self.tree.add(Value::Seq(items.into()), place)
                }
                Value::Map(entries) => {
                    let mut resolved = Vec::with_capacity(entries.len());
                    for entry in entries {
                        resolved.push(Entry { key: entry.key, value: self.node(entry.value, level + 1) });
                    }
                    let place = self.tree.place(id);
                    self.tree.add(Value::Map(resolved.into()), place)
                }
                Value::Reference(None) => self.complain(
                    id,
                    "!reference is not valid".into(),
                    Some("write it as a list of keys: !reference [job, script]".into()),
                ),
                Value::Reference(Some(path)) => match self.find(&path) {
                    Ok(target) if self.open.contains(&target) => {
                        let shown = self.shown(id);
                        let help = Some("a reference must not lead back to itself".to_owned());
                        self.complain(id, format!("{shown} is part of a circular chain"), help)
                    }
                    Ok(target) => self.node(target, level + 1),
                    Err(near) => {
                        let shown = self.shown(id);
                        let help = near.map(|near| format!("did you mean `{near}`?"));
                        self.complain(id, format!("{shown} could not be found"), help)
                    }
                },
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => id,
            }
        };
        self.open.remove(&id);
        self.done.insert(id, resolved);
        resolved
    }

    fn shown(&self, id: NodeId) -> String {
        match self.tree.value(id) {
            Value::Reference(Some(path)) => {
                let path: Vec<String> = path.iter().map(|key| format!("{key:?}")).collect();
                format!("!reference [{}]", path.join(", "))
            }
            _ => "!reference".to_owned(),
        }
    }

    /// What stands at a path; the error may hold a key that was perhaps meant.
    fn find(&self, path: &[std::sync::Arc<str>]) -> Result<NodeId, Option<String>> {
        let mut at = self.root;
        for (level, key) in path.iter().enumerate() {
            let next = match level {
                0 => self.top.get(key.as_ref()).copied(),
                _ => self.tree.get(at, key),
            };
            at = match next {
                Some(next) => next,
                None => {
                    let keys = self.tree.map(at).unwrap_or_default();
                    let keys = keys.iter().filter_map(|entry| self.tree.text(entry.key));
                    return Err(nearest(key, keys).map(str::to_owned));
                }
            };
        }
        match self.tree.value(at) {
            Value::Null | Value::Bool(false) => Err(None),
            _ => Ok(at),
        }
    }
}
