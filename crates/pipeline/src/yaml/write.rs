//! Nodes back to YAML in block style, so that [`super::load`] gives the same values again. Called for the merged file and
//! for single values. Comments, anchors and the way a text was quoted are not kept.

use super::node::{NodeId, Tree, Value};
use super::scalars::resolve;
use std::fmt::Write as _;

/// Bytes after which nothing more is written; a cut text says so in its last line.
const MAX_BYTES: usize = 64 << 20;

/// A node as YAML, the last line ended.
pub(crate) fn write(tree: &Tree, node: NodeId) -> String {
    let mut writer = Writer { tree, out: String::new() };
    match tree.value(node) {
        Value::Map(entries) if !entries.is_empty() => writer.block(node, 0),
        Value::Seq(items) if !items.is_empty() => writer.block(node, 0),
        _ => {
            writer.inline(node, 0);
            writer.out.push('\n');
        }
    }
    if writer.out.len() >= MAX_BYTES {
        writer.out.push_str("\n# cut here: the file is too long when everything is written out\n");
    }
    writer.out
}

struct Writer<'t> {
    tree: &'t Tree,
    out: String,
}

impl Writer<'_> {
    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// The lines of a mapping or list that is not empty. The first begins where the writer stands, which is at `indent`.
    fn block(&mut self, node: NodeId, indent: usize) {
        let tree = self.tree;
        let mut first = true;
        let mut start = |writer: &mut Self| {
            if !std::mem::take(&mut first) {
                writer.pad(indent);
            }
        };
        match tree.value(node) {
            Value::Map(entries) => {
                for entry in entries {
                    if self.out.len() >= MAX_BYTES {
                        return;
                    }
                    start(self);
                    let key = match tree.value(entry.key) {
                        Value::Text(text) => one_line(text),
                        _ => scalar(tree, entry.key).unwrap_or_else(|| one_line(&tree.show(entry.key))),
                    };
                    let _ = write!(self.out, "{key}:");
                    match tree.value(entry.value) {
                        Value::Map(inner) if !inner.is_empty() => self.below(entry.value, indent + 2),
                        Value::Seq(inner) if !inner.is_empty() => self.below(entry.value, indent + 2),
                        _ => {
                            self.out.push(' ');
                            self.inline(entry.value, indent + 2);
                            self.out.push('\n');
                        }
                    }
                }
            }
            Value::Seq(items) => {
                for item in items {
                    if self.out.len() >= MAX_BYTES {
                        return;
                    }
                    start(self);
                    self.out.push_str("- ");
                    match tree.value(*item) {
                        Value::Map(inner) if !inner.is_empty() => self.block(*item, indent + 2),
                        Value::Seq(inner) if !inner.is_empty() => self.block(*item, indent + 2),
                        _ => {
                            self.inline(*item, indent + 2);
                            self.out.push('\n');
                        }
                    }
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Reference(_) => {}
        }
    }

    fn below(&mut self, node: NodeId, indent: usize) {
        self.out.push('\n');
        self.pad(indent);
        self.block(node, indent);
    }

    /// What fits behind a key or a dash; a text of several lines is indented by `indent`.
    fn inline(&mut self, node: NodeId, indent: usize) {
        match self.tree.value(node) {
            Value::Map(_) => self.out.push_str("{}"),
            Value::Seq(_) => self.out.push_str("[]"),
            Value::Text(text) => match literal(text) {
                Some(mark) => {
                    self.out.push_str(mark);
                    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                        self.out.push('\n');
                        if !line.is_empty() {
                            self.pad(indent);
                            self.out.push_str(line);
                        }
                    }
                }
                None => self.out.push_str(&one_line(text)),
            },
            Value::Reference(Some(path)) => {
                let path: Vec<String> = path.iter().map(|key| double_quoted(key)).collect();
                let _ = write!(self.out, "!reference [{}]", path.join(", "));
            }
            _ => self.out.push_str(&scalar(self.tree, node).unwrap_or_else(|| "null".to_owned())),
        }
    }
}

/// Anything that is neither a text nor holds other nodes.
fn scalar(tree: &Tree, node: NodeId) -> Option<String> {
    Some(match tree.value(node) {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) if f.is_nan() => ".nan".to_owned(),
        Value::Float(f) if f.is_infinite() => if *f > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
        Value::Float(f) => {
            let shown = super::float_text(*f);
            match resolve(&shown) {
                Ok(Value::Float(same)) if same.to_bits() == f.to_bits() => shown,
                _ => format!("{f:.1}"),
            }
        }
        Value::Text(_) | Value::Seq(_) | Value::Map(_) | Value::Reference(_) => return None,
    })
}

/// The header of a block literal, if the text can be one without an indentation indicator.
fn literal(text: &str) -> Option<&'static str> {
    if !text.contains('\n') || !text.chars().all(|c| printable(c) || c == '\n' || c == '\t') {
        return None;
    }
    if text.starts_with([' ', '\t', '\n']) {
        return None;
    }
    let blank = |line: &str| !line.is_empty() && line.chars().all(|c| c == ' ' || c == '\t');
    if text.split('\n').any(blank) {
        return None;
    }
    Some(if text.ends_with("\n\n") {
        "|+"
    } else if text.ends_with('\n') {
        "|"
    } else {
        "|-"
    })
}

/// Characters that YAML and every reader of it leave alone.
fn printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A text on one line: plain where it stays the same text, quoted otherwise.
fn one_line(text: &str) -> String {
    if !text.chars().all(printable) {
        return double_quoted(text);
    }
    if plain(text) {
        return text.to_owned();
    }
    if text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") }
}

fn plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    !first.is_whitespace()
        && !"-?:,[]{}#&*!|>'\"%@`=".contains(first)
        && !text.starts_with("...")
        && text != "<<"
        && !text.ends_with(|c: char| c == ':' || c.is_whitespace())
        && !text.contains(": ")
        && !text.contains(" #")
        && matches!(resolve(text), Ok(Value::Text(same)) if *same == *text)
}

fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if printable(c) => out.push(c),
            c => {
                let _ = match c as u32 {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code @ 0..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;
    use crate::yaml::{Loaded, load};
    use proptest::prelude::*;

    fn parsed(text: &str) -> (Tree, NodeId) {
        let mut tree = Tree::default();
        let file = tree.sources.add(SourceFile::default());
        match load(&mut tree, file, text, 0, &mut Vec::new()) {
            Ok(Loaded::Document(node)) => (tree, node),
            Ok(Loaded::Empty) => panic!("empty: {text:?}"),
            Err(diagnostic) => panic!("{}: {text:?}", diagnostic.message),
        }
    }

    #[test]
    fn table() {
        for (text, want) in [
            (
                "{a: [1, 'x', {b: c, d: [e]}], f: {}, g: []}",
                "a:\n  - 1\n  - x\n  - b: c\n    d:\n      - e\nf: {}\ng: []\n",
            ),
            (
                "[[a, [b]], 'yes', 'no way', '1.0', '017', ~]",
                "- - a\n  - - b\n- \"yes\"\n- no way\n- \"1.0\"\n- \"017\"\n- null\n",
            ),
            ("a: |\n  x\n\n   y\n", "a: |\n  x\n\n   y\n"),
            ("a: |+\n  x\n\n", "a: |+\n  x\n\n"),
            ("a: \"x\\n y\"", "a: |-\n  x\n   y\n"),
            ("a: \" x\\n\"", "a: \" x\\n\"\n"),
            ("'a: b': 'c #d'", "\"a: b\": \"c #d\"\n"),
            ("a: 'say \"x\": y'", "a: 'say \"x\": y'\n"),
            ("a: !reference [x, script]", "a: !reference [\"x\", \"script\"]\n"),
            ("a: 1e3\nb: 1.5e3\nc: 0x1F\nd: -.inf", "a: 1e3\nb: 1500.0\nc: 31\nd: -.inf\n"),
        ] {
            let (tree, node) = parsed(text);
            assert_eq!(write(&tree, node), want, "{text}");
        }
    }

    fn anything() -> impl Strategy<Value = serde_json::Value> {
        let text = prop_oneof![
            "[a-z:#'\"\\\\ \n\t-]{0,12}",
            "[0-9._:+-]{1,8}",
            "\\PC{0,6}",
            any::<String>(),
            Just("yes".to_owned()),
            Just("<<".to_owned()),
        ];
        let leaf = prop_oneof![
            text.clone().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::vec(("[a-z:# \n'-]{1,6}", inner), 0..4)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn node(tree: &mut Tree, value: &serde_json::Value) -> NodeId {
        let place = crate::loader::whole(tree.sources.add(SourceFile::default()));
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(int), _) => Value::Int(int),
                (None, float) => Value::Float(float.unwrap_or_default()),
            },
            serde_json::Value::String(text) => Value::Text(text.as_str().into()),
            serde_json::Value::Array(items) => {
                Value::Seq(items.iter().map(|item| node(tree, item)).collect())
            }
            serde_json::Value::Object(entries) => {
                let mut all = Vec::new();
                for (key, value) in entries {
                    let key = tree.add(Value::Text(key.as_str().into()), place);
                    all.push(crate::yaml::Entry { key, value: node(tree, value) });
                }
                Value::Map(all.into())
            }
        };
        tree.add(value, place)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_loads_as_the_same(value in anything()) {
            let mut tree = Tree::default();
            let root = node(&mut tree, &serde_json::json!({ "root": value }));
            let text = write(&tree, root);
            let (again, node) = parsed(&text);
            prop_assert_eq!(again.json(node), tree.json(root), "{}", text);
        }
    }
}
