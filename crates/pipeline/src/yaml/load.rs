//! One document's text to nodes: events, anchors, merge keys, limits (`ci-yaml.md` §1). Called for each piece of each
//! file. An alias is the index of its node, so a bomb stays small; its written-out size is summed, never built.

use super::merge::merge_into;
use super::node::{Entry, Key, NodeId, Tree, Value};
use super::scalars::{Disallowed, resolve};
use crate::diagnostic::{Diagnostic, Place};
use crate::source::FileId;
use harrier_yaml_events::{ErrorKind, Event, EventData, Mark, Parser, ScalarStyle};
use std::collections::{HashMap, HashSet};

/// Nesting of one file (§31).
const MAX_DEPTH: u32 = 100;
/// Size of one file with its aliases written out (§31); ours is an estimate on the generous side.
const MAX_WEIGHT: u64 = 2 << 20;

/// Entries that merge keys may bring in one file.
const MAX_MERGED: usize = 1 << 20;

/// What a piece of text holds.
pub(crate) enum Loaded {
    /// No document, or only comments.
    Empty,
    /// The first document.
    Document(NodeId),
}

struct Loader<'t> {
    tree: &'t mut Tree,
    file: FileId,
    /// Lines of the file before this piece.
    line: u32,
    stack: Vec<Open>,
    anchors: HashMap<String, Option<NodeId>>,
    warnings: Vec<Diagnostic>,
    /// Entries brought by merge keys so far.
    merged: usize,
}

/// A collection whose end has not come.
struct Open {
    anchor: Option<String>,
    start: Mark,
    items: Items,
}

enum Items {
    Seq { items: Vec<NodeId>, reference: bool },
    Map { map: Mapping, key: Option<NodeId>, reference: bool },
}

/// A mapping under construction: keys differ, the last value of a key counts.
#[derive(Default)]
struct Mapping {
    entries: Vec<Entry>,
    /// Positions by the hash of the key; empty while the mapping is small.
    index: HashMap<u64, Vec<usize>>,
    /// The keys written in this mapping, not merged into it.
    own: HashSet<NodeId>,
}

impl Mapping {
    /// Up to so many keys are compared one by one.
    const SMALL: usize = 16;

    fn find(&self, tree: &Tree, name: NodeId) -> Option<usize> {
        let key = tree.key(name);
        let same = |at: &usize| tree.key(self.entries[*at].key) == key;
        if self.entries.len() <= Self::SMALL {
            return (0..self.entries.len()).find(same);
        }
        self.index.get(&hash(key))?.iter().copied().find(same)
    }

    fn push(&mut self, tree: &Tree, entry: Entry) {
        self.entries.push(entry);
        match self.entries.len() {
            len if len <= Self::SMALL => {}
            len if len == Self::SMALL + 1 => self.reindex(tree),
            len => self.index.entry(hash(tree.key(entry.key))).or_default().push(len - 1),
        }
    }

    fn reindex(&mut self, tree: &Tree) {
        self.index.clear();
        if self.entries.len() > Self::SMALL {
            for (at, entry) in self.entries.iter().enumerate() {
                self.index.entry(hash(tree.key(entry.key))).or_default().push(at);
            }
        }
    }
}

/// Loads the first document of `text`, which begins after `line` lines of `file`. Warnings (duplicate keys) are added
/// to `warnings`.
pub(crate) fn load(
    tree: &mut Tree,
    file: FileId,
    text: &str,
    line: u32,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Loaded, Box<Diagnostic>> {
    let mut loader = Loader {
        tree,
        file,
        line,
        stack: Vec::new(),
        anchors: HashMap::new(),
        warnings: Vec::new(),
        merged: 0,
    };
    let root = loader.run(text)?;
    warnings.append(&mut loader.warnings);
    let Some(root) = root else { return Ok(Loaded::Empty) };
    let node = loader.tree.node(root);
    if node.depth > MAX_DEPTH || node.weight > MAX_WEIGHT {
        return Err(too_big(node.place));
    }
    Ok(Loaded::Document(root))
}

fn too_big(place: Place) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error("The parsed YAML is too big")
            .at(place)
            .suggest("a file may hold 2 MiB with its aliases written out, nested up to 100 levels"),
    )
}

impl Loader<'_> {
    fn place(&self, start: Mark, end: Mark) -> Place {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX - 1);
        Place {
            file: self.file,
            line: self.line + number(start.line) + 1,
            column: number(start.column) + 1,
            end_line: self.line + number(end.line) + 1,
            end_column: number(end.column) + 1,
        }
    }

    fn run(&mut self, text: &str) -> Result<Option<NodeId>, Box<Diagnostic>> {
        let mut parser = Parser::new(text);
        let mut root = None;
        // What Psych would say after reading everything; a syntax error later in the text comes first.
        let mut late: Option<Box<Diagnostic>> = None;
        loop {
            let event = parser.parse().map_err(|error| self.syntax(text, &error))?;
            match event.data {
                // Only the first document is read.
                EventData::StreamEnd | EventData::DocumentEnd { .. } => break,
                _ => {}
            }
            // After the first mistake only the syntax counts.
            if late.is_some() {
                continue;
            }
            match self.event(event) {
                Ok(Some(node)) => root = Some(node),
                Ok(None) => {}
                Err(diagnostic) if diagnostic.message.starts_with("The parsed YAML") => {
                    return Err(diagnostic);
                }
                Err(diagnostic) => late = Some(diagnostic),
            }
        }
        match late {
            Some(diagnostic) => Err(diagnostic),
            None => Ok(root),
        }
    }

    /// Psych's words and place.
    fn syntax(&self, text: &str, error: &harrier_yaml_events::Error) -> Box<Diagnostic> {
        let mark = if !error.context.is_empty() {
            error.context_mark
        } else if error.kind == ErrorKind::Scanner {
            error.problem_mark
        } else {
            Mark::default()
        };
        let context = if error.context.is_empty() { String::new() } else { format!(" {}", error.context) };
        let message = format!(
            "(<unknown>): {}{context} at line {} column {}",
            error.problem,
            self.line as u64 + mark.line + 1,
            mark.column + 1
        );
        let here = if error.kind == ErrorKind::Reader {
            let before = &text.as_bytes()[..error.offset.min(text.len())];
            let line = before.iter().filter(|b| **b == b'\n').count() as u64;
            let column = before.iter().rev().take_while(|b| **b != b'\n').count() as u64;
            Mark { index: error.offset as u64, line, column }
        } else {
            error.problem_mark
        };
        let mut end = here;
        end.column += 1;
        let mut diagnostic = Diagnostic::error(message).at(self.place(here, end));
        let lines = text.split('\n').nth(usize::try_from(here.line).unwrap_or(usize::MAX));
        if lines.is_some_and(|l| l.trim_start_matches(' ').starts_with('\t')) {
            diagnostic = diagnostic.suggest("indent with spaces, YAML does not allow tabs there");
        } else if error.problem.contains("mapping values are not allowed") {
            diagnostic = diagnostic.suggest(
                "a value that holds `: ` must be quoted, and a key must be indented like its neighbours",
            );
        } else if error.problem.contains("did not find expected key") {
            diagnostic = diagnostic.suggest("check the indentation of this line and the one before");
        } else if error.problem.contains("did not find expected '-'") {
            diagnostic = diagnostic.suggest("every item of a list begins with `- ` at the same indentation");
        }
        if !error.context.is_empty() && error.context_mark.line != here.line {
            let mut end = error.context_mark;
            end.column += 1;
            diagnostic = diagnostic.note(error.context, Some(self.place(error.context_mark, end)));
        }
        Box::new(diagnostic)
    }

    /// Takes one event; gives the root when it is complete.
    fn event(&mut self, event: Event) -> Result<Option<NodeId>, Box<Diagnostic>> {
        let (start, end) = (event.start_mark, event.end_mark);
        match event.data {
            EventData::StreamStart
            | EventData::StreamEnd
            | EventData::DocumentStart { .. }
            | EventData::DocumentEnd { .. } => Ok(None),
            EventData::Alias { anchor } => {
                let place = self.place(start, end);
                match self.anchors.get(&anchor) {
                    Some(Some(id)) => {
                        let id = *id;
                        self.put(id, true)
                    }
                    Some(None) => Err(Box::new(
                        Diagnostic::error(format!(
                            "The parsed YAML is too big: alias *{anchor} is inside its own anchor"
                        ))
                        .at(place)
                        .suggest(format!("take the alias out of the value of &{anchor}")),
                    )),
                    None => Err(Box::new(
                        Diagnostic::error(format!("Unknown alias: {anchor}"))
                            .at(place)
                            .suggest("an anchor (`&name`) must stand before its alias, in the same file"),
                    )),
                }
            }
            EventData::Scalar { anchor, tag, value, style, .. } => {
                let place = self.place(start, end);
                let value = scalar(&value, tag.as_deref(), style).map_err(|class| {
                    Box::new(
                        Diagnostic::error(format!("Tried to load unspecified class: {}", class.0))
                            .at(place)
                            .suggest("put the value in quotes to make it a text"),
                    )
                })?;
                let id = self.tree.add(value, place);
                if let Some(anchor) = anchor {
                    self.anchors.insert(anchor, Some(id));
                }
                self.put(id, false)
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                let reference = tag.as_deref() == Some("!reference");
                self.open(anchor, start, Items::Seq { items: Vec::new(), reference }, end)
            }
            EventData::MappingStart { anchor, tag, .. } => {
                let reference = tag.as_deref() == Some("!reference");
                let items = Items::Map { map: Mapping::default(), key: None, reference };
                self.open(anchor, start, items, end)
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                let Some(open) = self.stack.pop() else { return Ok(None) };
                let place = self.place(open.start, end);
                let value = match open.items {
                    Items::Seq { items, reference: false } => Value::Seq(items.into()),
                    Items::Seq { items, reference: true } => {
                        let path: Option<Box<[_]>> = items
                            .iter()
                            .map(|id| match self.tree.value(*id) {
                                Value::Text(text) => Some(text.clone()),
                                _ => None,
                            })
                            .collect();
                        Value::Reference(path.filter(|p| !p.is_empty()))
                    }
                    Items::Map { map, reference: false, .. } => Value::Map(map.entries.into()),
                    Items::Map { reference: true, .. } => Value::Reference(None),
                };
                let id = self.tree.add(value, place);
                if self.tree.node(id).weight > MAX_WEIGHT || self.tree.node(id).depth > MAX_DEPTH {
                    return Err(too_big(place));
                }
                if let Some(anchor) = open.anchor {
                    self.anchors.insert(anchor, Some(id));
                }
                self.put(id, false)
            }
        }
    }

    fn open(
        &mut self,
        anchor: Option<String>,
        start: Mark,
        items: Items,
        end: Mark,
    ) -> Result<Option<NodeId>, Box<Diagnostic>> {
        if self.stack.len() >= MAX_DEPTH as usize {
            return Err(too_big(self.place(start, end)));
        }
        if let Some(anchor) = &anchor {
            self.anchors.insert(anchor.clone(), None);
        }
        self.stack.push(Open { anchor, start, items });
        Ok(None)
    }

    /// A complete node goes where it belongs.
    fn put(&mut self, id: NodeId, alias: bool) -> Result<Option<NodeId>, Box<Diagnostic>> {
        let Some(open) = self.stack.last_mut() else { return Ok(Some(id)) };
        match &mut open.items {
            Items::Seq { items, .. } => items.push(id),
            Items::Map { map, key, .. } => {
                let Some(name) = key.take() else {
                    *key = Some(id);
                    return Ok(None);
                };
                let over = (self.tree.text(name) == Some("<<")).then(|| merge_source(self.tree, id, alias));
                if let Some(Some(over)) = over {
                    self.merged += over.len() + map.entries.len();
                    if self.merged > MAX_MERGED {
                        return Err(too_big(self.tree.place(id)));
                    }
                    merge_into(self.tree, &mut map.entries, &over);
                    for entry in &over {
                        map.own.remove(&entry.key);
                    }
                    map.reindex(self.tree);
                    return Ok(None);
                }
                match map.find(self.tree, name) {
                    Some(at) => {
                        let old = map.entries[at].key;
                        if map.own.contains(&old) {
                            let shown = self.tree.show(name);
                            self.warnings.push(
                                Diagnostic::warning(format!("duplicate key `{shown}`: the last one counts"))
                                    .at(self.tree.place(name))
                                    .note("first given here", Some(self.tree.place(old))),
                            );
                        }
                        map.entries[at] = Entry { key: name, value: id };
                    }
                    None => map.push(self.tree, Entry { key: name, value: id }),
                }
                map.own.insert(name);
            }
        }
        Ok(None)
    }
}

fn hash(key: Key<'_>) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}

/// The entries that `<<: id` brings; `None` if it is an ordinary key.
fn merge_source(tree: &Tree, id: NodeId, alias: bool) -> Option<Vec<Entry>> {
    match tree.value(id) {
        Value::Map(entries) => Some(entries.to_vec()),
        Value::Seq(items) if !alias => {
            let mut all = Vec::new();
            for item in items.iter().rev() {
                merge_into(tree, &mut all, tree.map(*item)?);
            }
            Some(all)
        }
        _ => None,
    }
}

fn scalar(text: &str, tag: Option<&str>, style: ScalarStyle) -> Result<Value, Disallowed> {
    let plain = style == ScalarStyle::Plain;
    match tag {
        None if plain => resolve(text),
        None => Ok(Value::Text(text.into())),
        Some("!binary" | "tag:yaml.org,2002:binary") => Ok(Value::Text(base64(text).into())),
        Some("!reference") => Ok(Value::Reference(None)),
        Some("!float" | "tag:yaml.org,2002:float") => Ok(match resolve(text)? {
            Value::Int(int) => Value::Float(int as f64),
            other => other,
        }),
        Some("!str" | "tag:yaml.org,2002:str") => Ok(Value::Text(text.into())),
        Some(tag) if tag.starts_with("!ruby/") || tag.starts_with("tag:ruby.yaml.org") => {
            Err(Disallowed("Object"))
        }
        // Any other tag is dropped, and quotes with it.
        Some(_) => resolve(text),
    }
}

/// Ruby's `unpack('m')`: decodes what it can, skips the rest.
fn base64(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
