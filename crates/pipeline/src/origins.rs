//! Where everything comes from: the configuration as written, as merged by `include`, after `extends` and after
//! `!reference`, kept after the compilation. It answers which file and line a keyword of a job comes from and which
//! way it took. Called by the compiler for the chains of diagnostics, by hosts for `explain`, `expand` and the language
//! server. It must never change what was compiled.

use crate::diagnostic::{Note, Place};
use crate::keywords::defaults::{AT_ROOT, INHERITED};
use crate::keywords::job::SETTINGS;
use crate::source::FileId;
use crate::yaml::{Entry, NodeId, Tree, Value, write};
use std::collections::{HashMap, HashSet};

/// The configuration in the stages it went through. Nothing is copied: the stages share their nodes.
#[derive(Debug, Default)]
pub struct Written {
    pub(crate) tree: Tree,
    /// The content of each file, the root first.
    pub(crate) files: Vec<NodeId>,
    /// Where each included file is included.
    pub(crate) from: HashMap<FileId, Place>,
    /// After `include`.
    pub(crate) merged: Option<NodeId>,
    /// After `extends` and `!reference`.
    pub(crate) resolved: Option<NodeId>,
}

/// By which way a keyword came into a job. A keyword may have taken several, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// `extends: BASE`; the place is that of the base's name.
    Extends {
        /// The base.
        base: String,
        /// Where it is named.
        place: Place,
    },
    /// A merge key, `<<: *anchor`.
    MergeKey {
        /// The top level entry that holds the anchor.
        from: Option<String>,
    },
    /// An alias, `*anchor`.
    Alias {
        /// The top level entry that holds the anchor.
        from: Option<String>,
    },
    /// `!reference [a, b]`, for the whole value or for a part of it.
    Reference {
        /// The path in it.
        path: Vec<String>,
        /// Where it is written.
        place: Place,
        /// What it leads to.
        target: Option<Place>,
    },
    /// The `default` section.
    Default,
    /// A keyword at the top level of the file, the older spelling of `default`.
    TopLevel,
    /// Nobody wrote it: the language says so.
    BuiltIn,
}

/// One keyword of a job, or one entry of a keyword that is a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `["script"]`, `["variables", "A"]`.
    pub keyword: Vec<String>,
    /// The value in force, as YAML.
    pub value: String,
    /// Where its key is written; `None` if nobody wrote it.
    pub place: Option<Place>,
    /// The way from the job to there; empty if it is written in the job itself.
    pub ways: Vec<Way>,
}

/// An entry of the top level of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopLevel {
    /// Its key.
    pub name: String,
    /// Where the key is written.
    pub place: Place,
    /// To the end of its value.
    pub whole: Place,
    /// A keyword of the language, not a job.
    pub setting: bool,
}

impl Written {
    /// The merged file: includes, `extends` and `!reference` carried out. Compiled again it gives the same pipeline. `None` if the
    /// configuration is too broken for that.
    pub fn merged_yaml(&self) -> Option<String> {
        Some(write(&self.tree, self.resolved?))
    }

    /// The places of the `include` entries that led to a file, the innermost first; empty for the root file.
    pub fn included_from(&self, file: FileId) -> Vec<Place> {
        let mut places = Vec::new();
        let mut at = file;
        while let Some(place) = self.from.get(&at) {
            if places.len() > 200 {
                break;
            }
            places.push(*place);
            at = place.file;
        }
        places
    }

    /// The top level entries of every file, file by file in the order read.
    pub fn top_level(&self) -> Vec<TopLevel> {
        let mut all = Vec::new();
        for content in &self.files {
            for entry in self.tree.map(*content).unwrap_or_default() {
                let Some(name) = self.tree.text(entry.key) else { continue };
                let place = self.tree.place(entry.key);
                let value = self.tree.place(entry.value);
                let end = if starts_before(place, value) { value } else { place };
                let whole = Place { end_line: end.end_line, end_column: end.end_column, ..place };
                let setting = SETTINGS.contains(&name) || name == "workflow";
                all.push(TopLevel { name: name.to_owned(), place, whole, setting });
            }
        }
        all
    }

    /// The stages in the order of the merged file, without `.pre` and `.post` unless they are written; the default ones if
    /// there are none.
    pub fn stages(&self) -> Vec<(String, Option<Place>)> {
        let written = self.merged.and_then(|root| self.tree.given(root, "stages"));
        match written {
            Some(list) => {
                let mut all = Vec::new();
                self.texts(list, 0, &mut all);
                all
            }
            None => ["build", "test", "deploy"].map(|name| (name.to_owned(), None)).to_vec(),
        }
    }

    fn texts(&self, node: NodeId, level: usize, all: &mut Vec<(String, Option<Place>)>) {
        if let Some(text) = self.tree.text(node) {
            all.push((text.to_owned(), Some(self.tree.place(node))));
        } else if level < 12 {
            for item in self.tree.seq(node).unwrap_or_default() {
                self.texts(*item, level + 1, all);
            }
        }
    }

    /// Whether all files could be read and merged. What was wrong afterwards does not matter here.
    pub fn is_whole(&self) -> bool {
        self.merged.is_some()
    }

    /// The keys of the mapping at a path from the top level; none if there is no mapping.
    pub fn keys(&self, path: &[&str]) -> Vec<String> {
        let Some(mut at) = self.resolved.or(self.merged) else { return Vec::new() };
        for key in path {
            match self.tree.get(at, key) {
                Some(next) => at = next,
                None => return Vec::new(),
            }
        }
        let keys = self.tree.map(at).unwrap_or_default().iter();
        keys.filter_map(|entry| self.tree.text(entry.key)).map(str::to_owned).collect()
    }

    /// Every keyword of a top level entry with its origin, inherited ones included. `None` if there is no such entry, or
    /// no mapping there.
    pub fn explain(&self, name: &str) -> Option<Vec<Origin>> {
        Origins::new(self)?.explain(name)
    }

    /// The origin of what stands at a path below a top level entry, e.g. `["test", "variables", "A"]`.
    pub fn origin(&self, path: &[&str]) -> Option<Origin> {
        let (name, keyword) = path.split_first()?;
        Origins::new(self)?.origin(name, keyword)
    }
}

fn starts_before(a: Place, b: Place) -> bool {
    (a.line, a.column) < (b.line, b.column)
}

fn contains(outer: Place, inner: Place) -> bool {
    outer.file == inner.file
        && (outer.line, outer.column) <= (inner.line, inner.column)
        && (inner.line, inner.column) <= (outer.end_line, outer.end_column)
}

/// [`Written`] with its top level entries at hand.
pub(crate) struct Origins<'w> {
    written: &'w Written,
    /// Entries after `include`.
    top: HashMap<&'w str, Entry>,
    contents: HashMap<FileId, NodeId>,
    root: NodeId,
}

impl<'w> Origins<'w> {
    pub fn new(written: &'w Written) -> Option<Self> {
        let tree = &written.tree;
        let root = written.merged?;
        let entries = tree.map(root).unwrap_or_default();
        let top = entries.iter().filter_map(|entry| Some((tree.text(entry.key)?, *entry))).collect();
        let contents = written.files.iter().map(|node| (tree.place(*node).file, *node)).collect();
        Some(Self { written, top, contents, root })
    }

    fn tree(&self) -> &'w Tree {
        &self.written.tree
    }

    /// The steps from a job to where its diagnostic stands, for messages. `keyword` is a path with `:`.
    pub fn chain(&self, job: &str, keyword: Option<&str>, at: Place) -> Vec<Note> {
        let keys: Vec<&str> = keyword.map(|keyword| keyword.split(':').collect()).unwrap_or_default();
        let found = (1..=keys.len()).rev().find_map(|len| self.look_up(job, &keys[..len]));
        let Some((entry, ways)) = found else { return Vec::new() };
        // A complaint about the job as a whole is not about what the keyword's way was.
        let here = contains(self.tree().place(entry.value), at) || contains(self.tree().place(entry.key), at);
        let mut notes = Vec::new();
        for way in ways.iter().rev().filter(|_| here) {
            match way {
                Way::Extends { base, place } => {
                    notes.push(Note { text: format!("`{base}` is extended here"), place: Some(*place) });
                }
                Way::MergeKey { .. }
                | Way::Alias { .. }
                | Way::Reference { .. }
                | Way::Default
                | Way::TopLevel
                | Way::BuiltIn => {}
            }
        }
        notes
    }

    fn descend(&self, entry: Entry, path: &[&str]) -> Option<Entry> {
        path.iter().try_fold(entry, |at, key| self.tree().entry(at.value, key))
    }

    /// What is written at a path in an entry itself, all its files together.
    fn own(&self, name: &str, path: &[&str]) -> Option<(Entry, Vec<Way>)> {
        let tree = self.tree();
        let entry = self.descend(*self.top.get(name)?, path)?;
        let mut ways = Vec::new();
        let mut at = self.contents.get(&tree.place(entry.key).file).copied();
        for key in std::iter::once(&name).chain(path) {
            let Some(outer) = at else { break };
            let Some(step) = tree.entry(outer, key) else { break };
            let (key, value) = (tree.place(step.key), tree.place(step.value));
            if !contains(tree.place(outer), key) {
                ways.push(Way::MergeKey { from: self.holder(key) });
            }
            if key.file == value.file && starts_before(value, key) {
                ways.push(Way::Alias { from: self.holder(value) });
            }
            at = Some(step.value);
        }
        Some((entry, ways))
    }

    /// The top level entry of a file that holds a place.
    fn holder(&self, place: Place) -> Option<String> {
        let tree = self.tree();
        let entries = tree.map(*self.contents.get(&place.file)?).unwrap_or_default();
        let found = entries.iter().find(|entry| {
            let (key, value) = (tree.place(entry.key), tree.place(entry.value));
            starts_before(key, value) && contains(value, place)
        });
        found.and_then(|entry| tree.text(entry.key)).map(str::to_owned)
    }

    /// What stands at a path of an entry: its own, or that of the last base that has it.
    fn look_up(&self, name: &str, path: &[&str]) -> Option<(Entry, Vec<Way>)> {
        self.look_below(name, path, &mut HashSet::new(), 0)
    }

    fn look_below(
        &self,
        name: &str,
        path: &[&str],
        seen: &mut HashSet<String>,
        level: usize,
    ) -> Option<(Entry, Vec<Way>)> {
        // A base that had no answer has none the second time.
        if level > 16 || !seen.insert(name.to_owned()) {
            return None;
        }
        if let Some(own) = self.own(name, path) {
            return Some(own);
        }
        let tree = self.tree();
        let extends = tree.given(self.top.get(name)?.value, "extends")?;
        let bases = match tree.seq(extends) {
            Some(items) => items.to_vec(),
            None => vec![extends],
        };
        bases.iter().rev().find_map(|node| {
            let base = tree.text(*node)?;
            let (entry, mut ways) = self.look_below(base, path, seen, level + 1)?;
            ways.insert(0, Way::Extends { base: base.to_owned(), place: tree.place(*node) });
            Some((entry, ways))
        })
    }

    /// The references in a value, as ways.
    fn references(&self, node: NodeId, level: usize, ways: &mut Vec<Way>) {
        let tree = self.tree();
        if !tree.node(node).unresolved || level > 20 || ways.len() > 20 {
            return;
        }
        match tree.value(node) {
            Value::Reference(Some(path)) => {
                let path: Vec<String> = path.iter().map(|key| key.to_string()).collect();
                let keys: Vec<&str> = path.iter().map(String::as_str).collect();
                let target = keys.split_first().and_then(|(name, rest)| self.look_up(name, rest));
                let target = target.map(|(entry, _)| tree.place(entry.key));
                ways.push(Way::Reference { path, place: tree.place(node), target });
            }
            Value::Seq(items) => items.iter().for_each(|item| self.references(*item, level + 1, ways)),
            Value::Map(entries) => {
                entries.iter().for_each(|entry| self.references(entry.value, level + 1, ways));
            }
            Value::Reference(None)
            | Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_) => {}
        }
    }

    fn explain(&self, name: &str) -> Option<Vec<Origin>> {
        let tree = self.tree();
        let stage = self.written.resolved.unwrap_or(self.root);
        let job = tree.get(stage, name)?;
        let entries = tree.map(job)?;
        let mut all = Vec::new();
        for entry in entries {
            let Some(key) = tree.text(entry.key).filter(|_| !tree.is_null(entry.value)) else { continue };
            let inner = tree.map(entry.value).unwrap_or_default();
            let mut parts: Vec<Origin> = Vec::new();
            for part in inner {
                let Some(sub) = tree.text(part.key) else { continue };
                parts.extend(self.found(name, &[key, sub], part.value));
            }
            let whole = self.found(name, &[key], entry.value);
            let same = |part: &Origin| {
                whole.as_ref().is_some_and(|whole| {
                    whole.ways == part.ways
                        && whole.place.map(|place| place.file) == part.place.map(|place| place.file)
                })
            };
            if parts.is_empty() || parts.iter().all(same) {
                all.extend(whole);
            } else {
                all.extend(parts);
            }
        }
        let is_job = !SETTINGS.contains(&name) && !name.starts_with('.') && name != "workflow";
        if is_job {
            for key in INHERITED {
                all.extend(self.inherited(job, key));
            }
            if tree.given(job, "stage").is_none() {
                let value = "test\n".to_owned();
                let ways = vec![Way::BuiltIn];
                all.push(Origin { keyword: vec!["stage".to_owned()], value, place: None, ways });
            }
        }
        Some(all)
    }

    fn found(&self, name: &str, path: &[&str], value: NodeId) -> Option<Origin> {
        let (entry, mut ways) = self.look_up(name, path)?;
        self.references(entry.value, 0, &mut ways);
        Some(Origin {
            keyword: path.iter().map(|key| (*key).to_owned()).collect(),
            value: write(self.tree(), value),
            place: Some(self.tree().place(entry.key)),
            ways,
        })
    }

    /// A keyword that the job does not have and takes from `default` or from the top level (§4).
    fn inherited(&self, job: NodeId, key: &str) -> Option<Origin> {
        let tree = self.tree();
        if tree.given(job, key).is_some() || (tree.given(job, "trigger").is_some() && key != "interruptible")
        {
            return None;
        }
        let choice = tree.given(job, "inherit").and_then(|inherit| tree.given(inherit, "default"));
        let takes = choice.is_none_or(|choice| match tree.value(choice) {
            Value::Bool(takes) => *takes,
            Value::Seq(items) => items.iter().any(|item| tree.text(*item) == Some(key)),
            _ => true,
        });
        if !takes {
            return None;
        }
        let stage = self.written.resolved.unwrap_or(self.root);
        let (mut origin, way) = match tree.given(stage, "default").and_then(|node| tree.given(node, key)) {
            Some(value) => (self.found("default", &[key], value)?, Way::Default),
            None if AT_ROOT.contains(&key) => (self.found(key, &[], tree.given(stage, key)?)?, Way::TopLevel),
            None => return None,
        };
        origin.keyword = vec![key.to_owned()];
        origin.ways.insert(0, way);
        Some(origin)
    }

    fn origin(&self, name: &str, path: &[&str]) -> Option<Origin> {
        let tree = self.tree();
        let stage = self.written.resolved.unwrap_or(self.root);
        let top = tree.entry(stage, name)?;
        match self.descend(top, path).filter(|entry| !tree.is_null(entry.value)) {
            Some(entry) => self.found(name, path, entry.value),
            None => match path {
                [key] => self.inherited(top.value, INHERITED.into_iter().find(|known| known == key)?),
                _ => None,
            },
        }
    }
}
