//! What every keyword needs to read its node: the path for messages, the usual shapes, unknown keys with a
//! suggestion. All findings are collected (`ci-yaml.md` §2 pass 6, §3.3). Called by `keywords`.

use crate::diagnostic::Diagnostic;
use crate::yaml::{NodeId, Tree, Value};
use std::fmt;

/// Where a keyword stands, as GitLab writes it: `jobs:rspec:retry`.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    key: &'a str,
}

impl<'a> Path<'a> {
    pub fn root(key: &'a str) -> Self {
        Self { parent: None, key }
    }

    pub fn then<'b>(&'b self, key: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), key }
    }

    /// The keys from the outermost on.
    fn keys(&self) -> Vec<&str> {
        let mut keys = self.parent.map_or_else(Vec::new, |parent| parent.keys());
        keys.push(self.key);
        keys
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}:")?;
        }
        f.write_str(self.key)
    }
}

/// Reads nodes and collects what is wrong with them.
pub(crate) struct Check<'t> {
    pub tree: &'t Tree,
    pub found: Vec<Diagnostic>,
}

/// Scripts, rules and stages may be nested so deep (§31).
const MAX_NESTED: usize = 10;
/// Texts that one nested list may come to.
const MAX_FLAT: usize = 100_000;

impl<'t> Check<'t> {
    pub fn new(tree: &'t Tree) -> Self {
        Self { tree, found: Vec::new() }
    }

    /// Records `<path> <text>`.
    pub fn fail(&mut self, path: &Path<'_>, at: NodeId, text: impl fmt::Display) -> &mut Diagnostic {
        let keys = path.keys();
        let (job, keyword) = match keys.as_slice() {
            ["jobs", job, keyword @ ..] => (Some((*job).to_owned()), keyword.join(":")),
            keyword => (None, keyword.join(":")),
        };
        let mut diagnostic = Diagnostic::error(format!("{path} {text}")).at(self.tree.place(at));
        diagnostic.job = job;
        diagnostic.keyword = Some(keyword).filter(|k| !k.is_empty());
        let at = self.found.len();
        self.found.push(diagnostic);
        &mut self.found[at]
    }

    /// Records `<text>` about the keyword at a path, where the reference does not name the path.
    pub fn plain(&mut self, path: &Path<'_>, at: NodeId, text: impl fmt::Display) -> &mut Diagnostic {
        let diagnostic = self.fail(path, at, "");
        diagnostic.message = text.to_string();
        diagnostic
    }

    /// Records `<path> config <text>`.
    pub fn config(&mut self, path: &Path<'_>, at: NodeId, text: impl fmt::Display) -> &mut Diagnostic {
        self.fail(path, at, format_args!("config {text}"))
    }

    /// A mapping with no keys but `allowed`; anything else is recorded.
    pub fn mapping(&mut self, path: &Path<'_>, node: NodeId, allowed: &[&str]) -> bool {
        if self.tree.map(node).is_none() {
            self.config(path, node, "should be a hash");
            return false;
        }
        self.known_keys(path, node, allowed)
    }

    /// Records the keys of a mapping that are not in `allowed`.
    pub fn known_keys(&mut self, path: &Path<'_>, node: NodeId, allowed: &[&str]) -> bool {
        let tree = self.tree;
        let unknown: Vec<NodeId> = tree
            .map(node)
            .unwrap_or_default()
            .iter()
            .map(|entry| entry.key)
            .filter(|key| !tree.text(*key).is_some_and(|k| allowed.contains(&k)))
            .collect();
        let Some(first) = unknown.first() else { return true };
        let names: Vec<String> = unknown.iter().map(|key| tree.show(*key)).collect();
        let suggestion = match nearest(&names[0], allowed.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", allowed.join(", ")),
        };
        self.config(path, *first, format_args!("contains unknown keys: {}", names.join(", "))).suggestion =
            Some(suggestion);
        false
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, path: &Path<'_>, node: NodeId) -> Option<bool> {
        match self.tree.value(node) {
            Value::Bool(value) => Some(*value),
            _ => {
                self.config(path, node, "should be a boolean value");
                None
            }
        }
    }

    /// A text.
    pub fn text(&mut self, path: &Path<'_>, node: NodeId) -> Option<String> {
        match self.tree.text(node) {
            Some(text) => Some(text.to_owned()),
            None => {
                let quoted = self.tree.scalar_text(node);
                let diagnostic = self.config(path, node, "should be a string");
                diagnostic.suggestion = quoted.map(|text| format!("put it in quotes: \"{text}\""));
                None
            }
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, path: &Path<'_>, node: NodeId) -> Option<Vec<String>> {
        self.texts_as(path, node, "config should be an array of strings")
    }

    /// A list of texts with another complaint.
    pub fn texts_as(&mut self, path: &Path<'_>, node: NodeId, complaint: &str) -> Option<Vec<String>> {
        let tree = self.tree;
        let Some(items) = tree.seq(node) else {
            let one = tree.text(node).map(|text| format!("write it as a list: [{text:?}]"));
            self.fail(path, node, complaint).suggestion = one;
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            let Some(text) = tree.text(*item) else {
                let quoted = tree.scalar_text(*item);
                self.fail(path, *item, complaint).suggestion =
                    quoted.map(|text| format!("put it in quotes: \"{text}\""));
                return None;
            };
            texts.push(text.to_owned());
        }
        Some(texts)
    }

    /// A text or a list of texts.
    pub fn one_or_more(&mut self, path: &Path<'_>, node: NodeId, complaint: &str) -> Option<Vec<String>> {
        match self.tree.text(node) {
            Some(text) => Some(vec![text.to_owned()]),
            None => self.texts_as(path, node, complaint),
        }
    }

    /// An integer or a list of integers.
    pub fn integers(&mut self, path: &Path<'_>, node: NodeId, complaint: &str) -> Option<Vec<i64>> {
        let tree = self.tree;
        let one = |id: NodeId| match tree.value(id) {
            Value::Int(int) => Some(*int),
            _ => None,
        };
        let all = match tree.seq(node) {
            Some(items) => items.iter().map(|item| one(*item)).collect(),
            None => one(node).map(|int| vec![int]),
        };
        if all.is_none() {
            self.fail(path, node, complaint);
        }
        all
    }

    /// A text or lists of texts, nested up to ten levels, as one flat list (§6).
    pub fn script(&mut self, path: &Path<'_>, node: NodeId) -> Option<Vec<String>> {
        let mut out = Vec::new();
        if let Some(text) = self.tree.text(node) {
            out.push(text.to_owned());
            return Some(out);
        }
        match self.flatten_texts(node, 0, &mut out) {
            Ok(()) => Some(out),
            Err(bad) => {
                let tree = self.tree;
                let complaint = "should be a string or a nested array of strings up to 10 levels deep";
                let diagnostic = self.config(path, bad, complaint);
                diagnostic.suggestion = if tree.map(bad).is_some() {
                    Some("a command that holds `: ` must be quoted".into())
                } else {
                    tree.scalar_text(bad).map(|text| format!("put it in quotes: \"{text}\""))
                };
                None
            }
        }
    }

    fn flatten_texts(&self, node: NodeId, level: usize, out: &mut Vec<String>) -> Result<(), NodeId> {
        let Some(items) = self.tree.seq(node) else { return Err(node) };
        if level > MAX_NESTED {
            return Err(node);
        }
        for item in items {
            match self.tree.text(*item) {
                Some(text) if out.len() < MAX_FLAT => out.push(text.to_owned()),
                Some(_) => return Err(*item),
                None => self.flatten_texts(*item, level + 1, out)?,
            }
        }
        Ok(())
    }

    /// The items of a list in which lists are nested up to `levels`; the node at fault otherwise.
    pub fn flatten(&self, node: NodeId, levels: usize) -> Result<Vec<NodeId>, NodeId> {
        fn walk(tree: &Tree, node: NodeId, levels: usize, out: &mut Vec<NodeId>) -> Result<(), NodeId> {
            for item in tree.seq(node).unwrap_or_default() {
                if tree.seq(*item).is_some() {
                    if levels == 0 {
                        return Err(*item);
                    }
                    walk(tree, *item, levels - 1, out)?;
                } else if out.len() < MAX_FLAT {
                    out.push(*item);
                } else {
                    return Err(*item);
                }
            }
            Ok(())
        }
        let mut out = Vec::new();
        walk(self.tree, node, levels, &mut out)?;
        Ok(out)
    }

    /// One of `words`.
    pub fn word<'w>(
        &mut self,
        path: &Path<'_>,
        node: NodeId,
        subject: &str,
        words: &[&'w str],
    ) -> Option<&'w str> {
        let found = self.tree.text(node).and_then(|text| words.iter().find(|word| **word == text));
        if found.is_none() {
            let near = self.tree.text(node).and_then(|text| nearest(text, words.iter().copied()));
            let near = near.map(|word| format!("did you mean `{word}`?"));
            self.fail(path, node, format_args!("{subject} should be one of: {}", words.join(", ")))
                .suggestion = near;
        }
        found.copied()
    }
}

/// The candidate that differs from `word` by a slip or two.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = match word.chars().count() {
        0..=2 => return None,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words; a swap of neighbours is one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j - 1] + change).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        (before, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggestions() {
        let known = ["script", "stage", "stages", "before_script", "needs"];
        for (word, want) in [
            ("scirpt", Some("script")),
            ("befor_script", Some("before_script")),
            ("need", Some("needs")),
            ("nothing", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), want, "{word}");
        }
    }
}
