//! The arena that holds every node of every file. A pass makes new nodes for what it changes and shares the rest by
//! index, so nothing is copied twice and each node keeps the place it was written at.

use crate::diagnostic::Place;
use crate::source::Sources;
use std::sync::Arc;

/// Index of a node in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    pub place: Place,
    /// Size with aliases written out, an estimate in bytes.
    pub weight: u64,
    /// Levels below, itself included.
    pub depth: u32,
    /// A `!reference` is somewhere in it.
    pub unresolved: bool,
    /// A text with `$[[` is somewhere in it.
    pub blocks: bool,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Seq(Box<[NodeId]>),
    Map(Box<[Entry]>),
    /// `!reference [a, b]`; `None` if it is not a list of texts.
    Reference(Option<Box<[Arc<str>]>>),
}

/// One entry of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub key: NodeId,
    pub value: NodeId,
}

/// A key in comparable form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(u64),
    Text(&'a str),
    /// A mapping or sequence as key: only the same node is the same key.
    Node(NodeId),
}

/// All nodes, and the texts they came from.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    pub sources: Sources,
}

impl Tree {
    /// Adds a node; its parts must be in the tree.
    pub fn add(&mut self, value: Value, place: Place) -> NodeId {
        let (mut weight, mut depth, mut unresolved, mut blocks) = (8u64, 0u32, false, false);
        let mut part = |id: NodeId| {
            let node = &self.nodes[id.0 as usize];
            weight = weight.saturating_add(node.weight);
            depth = depth.max(node.depth);
            unresolved |= node.unresolved;
            blocks |= node.blocks;
        };
        match &value {
            Value::Seq(items) => items.iter().for_each(|id| part(*id)),
            Value::Map(entries) => entries.iter().for_each(|entry| {
                part(entry.key);
                part(entry.value);
            }),
            Value::Text(text) => {
                weight += text.len() as u64;
                blocks = text.contains("$[[");
            }
            Value::Reference(path) => {
                unresolved = true;
                blocks = path.iter().flatten().any(|text| text.contains("$[["));
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
        }
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { value, place, weight, depth: depth.saturating_add(1), unresolved, blocks });
        id
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub fn value(&self, id: NodeId) -> &Value {
        &self.node(id).value
    }

    pub fn place(&self, id: NodeId) -> Place {
        self.node(id).place
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The text of a text node.
    pub fn text(&self, id: NodeId) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a mapping.
    pub fn map(&self, id: NodeId) -> Option<&[Entry]> {
        match self.value(id) {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a sequence.
    pub fn seq(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.value(id) {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    pub fn is_null(&self, id: NodeId) -> bool {
        matches!(self.value(id), Value::Null)
    }

    /// The entry of a mapping under a text key.
    pub fn entry(&self, map: NodeId, key: &str) -> Option<Entry> {
        self.map(map)?.iter().find(|entry| self.text(entry.key) == Some(key)).copied()
    }

    /// The value of a mapping under a text key, `null` included.
    pub fn get(&self, map: NodeId, key: &str) -> Option<NodeId> {
        self.entry(map, key).map(|entry| entry.value)
    }

    /// As [`Self::get`], a `null` counts as not given (`ci-yaml.md` §3.3).
    pub fn given(&self, map: NodeId, key: &str) -> Option<NodeId> {
        self.get(map, key).filter(|id| !self.is_null(*id))
    }

    pub fn key(&self, id: NodeId) -> Key<'_> {
        match self.value(id) {
            Value::Null => Key::Null,
            Value::Bool(b) => Key::Bool(*b),
            Value::Int(i) => Key::Int(*i),
            Value::Float(f) => Key::Float(f.to_bits()),
            Value::Text(text) => Key::Text(text),
            Value::Seq(_) | Value::Map(_) | Value::Reference(_) => Key::Node(id),
        }
    }

    /// A node in a few words, for messages and for names made from scalars.
    pub fn show(&self, id: NodeId) -> String {
        match self.value(id) {
            Value::Null => String::new(),
            Value::Bool(b) => b.to_string(),
            Value::Int(i) => i.to_string(),
            Value::Float(f) => super::float_text(*f),
            Value::Text(text) => text.to_string(),
            Value::Seq(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Reference(_) => "a !reference".to_owned(),
        }
    }

    /// The text form of a scalar as Ruby's `to_s` gives it (`ci-yaml.md` §1.2); `None` for anything else and for
    /// `null`.
    pub fn scalar_text(&self, id: NodeId) -> Option<String> {
        match self.value(id) {
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => Some(self.show(id)),
            Value::Null | Value::Seq(_) | Value::Map(_) | Value::Reference(_) => None,
        }
    }

    /// A node for each part of a JSON value, all at one place.
    pub fn of_json(&mut self, value: &serde_json::Value, place: Place) -> NodeId {
        use serde_json::Value as Json;
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Value::Int(int),
                (None, Some(float)) if number.is_f64() => Value::Float(float),
                (None, _) => Value::Text(number.to_string().into()),
            },
            Json::String(text) => Value::Text(text.as_str().into()),
            Json::Array(items) => Value::Seq(items.iter().map(|item| self.of_json(item, place)).collect()),
            Json::Object(entries) => {
                let entry = |(key, value): (&String, &Json)| Entry {
                    key: self.add(Value::Text(key.as_str().into()), place),
                    value: self.of_json(value, place),
                };
                Value::Map(entries.iter().map(entry).collect())
            }
        };
        self.add(value, place)
    }

    /// A node as JSON, for keywords that are kept as data. A `!reference` gives null.
    pub fn json(&self, id: NodeId) -> serde_json::Value {
        match self.value(id) {
            Value::Null | Value::Reference(_) => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(i) => (*i).into(),
            Value::Float(f) => (*f).into(),
            Value::Text(text) => text.as_ref().into(),
            Value::Seq(items) => items.iter().map(|item| self.json(*item)).collect(),
            Value::Map(entries) => {
                let pairs = entries.iter().map(|entry| (self.show(entry.key), self.json(entry.value)));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }
}
