//! `$[[ … ]]` in the content of a file with a header (`ci-yaml.md` §8.4). It works on the parsed tree: comments stay
//! untouched, and what changes keeps the place at which it is written. Called by includes, once per file; a result is
//! never interpolated again.

use crate::diagnostic::{Diagnostic, Place};
use crate::expand::expand_once;
use crate::inputs::{Values, text_of};
use crate::yaml::{Entry, NodeId, Tree, Value};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

/// Functions of one block.
const MAX_FUNCTIONS: usize = 3;
/// Different blocks of one file.
const MAX_BLOCKS: usize = 10_000;
/// Bytes of one scalar.
const MAX_SCALAR: usize = 1_000_000;
/// Bytes of one expression.
const MAX_EXPRESSION: usize = 1024;
/// Names of an access, and indexes behind one of them.
const MAX_SEGMENTS: usize = 5;
/// Errors of one file that are told.
const MAX_ERRORS: usize = 3;

/// What blocks can refer to.
pub(crate) struct Access<'a> {
    pub inputs: &'a Values,
    /// Fields of the component that the header asked for.
    pub component: &'a HashMap<String, Json>,
    /// The value of a variable known by now, for `expand_vars`.
    pub variable: &'a dyn Fn(&str) -> Option<Known>,
}

/// A variable.
pub(crate) struct Known {
    pub value: String,
    pub masked: bool,
}

/// What all interpolations of one configuration may make together. Each of the limits of §8.4 is for one file; 150
/// files at the limit would fill the memory of any machine.
pub(crate) struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Budget {
    pub fn new() -> Self {
        Self { nodes: 1_000_000, bytes: 64 << 20 }
    }

    fn take(&mut self, nodes: usize, bytes: usize) -> Result<(), String> {
        let (nodes, bytes) = (self.nodes.checked_sub(nodes), self.bytes.checked_sub(bytes));
        match (nodes, bytes) {
            (Some(nodes), Some(bytes)) => {
                (self.nodes, self.bytes) = (nodes, bytes);
                Ok(())
            }
            _ => Err("the interpolated configuration is too big: at most 1000000 values and 64 MiB of text \
                      for all files together"
                .into()),
        }
    }
}

/// The content with every block replaced.
pub(crate) fn interpolate(
    tree: &mut Tree,
    content: NodeId,
    access: &Access<'_>,
    budget: &mut Budget,
) -> Result<NodeId, Vec<Diagnostic>> {
    if !tree.node(content).blocks {
        return Ok(content);
    }
    let mut work = Work {
        tree,
        access,
        budget,
        done: HashMap::new(),
        blocks: HashMap::new(),
        found: Vec::new(),
        stop: false,
    };
    let node = work.node(content);
    if work.found.is_empty() { Ok(node) } else { Err(work.found) }
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Plain(&'t str),
    /// What stands between the brackets.
    Block(&'t str),
}

/// Splits at blocks. A block of the matrix, one with a line break and one that does not end are plain text.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let (mut plain, mut from) = (0, 0);
    while let Some(open) = text[from..].find("$[[").map(|at| from + at) {
        let body = open + 3;
        let Some(mut close) = text[body..].find("]]").map(|at| body + at) else { break };
        // `$[[ inputs.list[0]]]` ends with three brackets, of which the first belongs to the index.
        let unclosed = text[body..close].rfind('[') > text[body..close].rfind(']');
        if unclosed && text[close + 2..].starts_with(']') {
            close += 1;
        }
        let inside = &text[body..close];
        from = close + 2;
        let access = inside.trim();
        if inside.contains('\n') {
            // The block may begin behind the break.
            from = body;
            continue;
        }
        if access.starts_with("matrix.") {
            continue;
        }
        if plain < open {
            out.push(Part::Plain(&text[plain..open]));
        }
        out.push(Part::Block(access));
        plain = from;
    }
    if plain < text.len() || out.is_empty() {
        out.push(Part::Plain(&text[plain..]));
    }
    out
}

struct Work<'w, 'a> {
    tree: &'w mut Tree,
    access: &'w Access<'a>,
    budget: &'w mut Budget,
    /// An alias is one node and stays one.
    done: HashMap<NodeId, NodeId>,
    blocks: HashMap<String, Option<Json>>,
    found: Vec<Diagnostic>,
    stop: bool,
}

impl Work<'_, '_> {
    fn complain(&mut self, place: Place, text: String, help: Option<String>) {
        if self.found.len() < MAX_ERRORS {
            let mut diagnostic = Diagnostic::error(text).at(place);
            diagnostic.suggestion = help;
            self.found.push(diagnostic);
        }
        self.stop |= self.found.len() >= MAX_ERRORS;
    }

    fn take(&mut self, place: Place, nodes: usize, bytes: usize) -> bool {
        match self.budget.take(nodes, bytes) {
            Ok(()) => true,
            Err(why) => {
                self.complain(place, why, None);
                self.stop = true;
                false
            }
        }
    }

    fn node(&mut self, id: NodeId) -> NodeId {
        if self.stop || !self.tree.node(id).blocks {
            return id;
        }
        if let Some(done) = self.done.get(&id) {
            return *done;
        }
        let place = self.tree.place(id);
        let made = match self.tree.value(id).clone() {
            Value::Text(text) => self.text(&text, place).map_or(id, |value| match value {
                Filled::Text(text) => self.tree.add(Value::Text(text), place),
                Filled::Value(value) => {
                    if self.take(place, count(&value), 0) {
                        self.tree.of_json(&value, place)
                    } else {
                        id
                    }
                }
            }),
            Value::Seq(items) => {
                let mut filled = Vec::with_capacity(items.len());
                for item in items {
                    self.item(item, &mut filled);
                }
                if !self.take(place, filled.len(), 0) {
                    return id;
                }
                self.tree.add(Value::Seq(filled.into()), place)
            }
            Value::Map(entries) => {
                let mut filled: Vec<Entry> = Vec::with_capacity(entries.len());
                let mut renamed = false;
                for entry in entries {
                    let key = self.key(entry.key);
                    let value = self.node(entry.value);
                    renamed |= key != entry.key;
                    filled.push(Entry { key, value });
                }
                if renamed {
                    // Keys that have become the same are one: the last one counts.
                    filled = self.distinct(filled);
                }
                if !self.take(place, filled.len(), 0) {
                    return id;
                }
                self.tree.add(Value::Map(filled.into()), place)
            }
            Value::Reference(path) => {
                let path = path.map(|path| {
                    let keys = path.iter().map(|key| match self.text(key, place) {
                        Some(Filled::Text(text)) => text,
                        Some(Filled::Value(value)) => text_of(&value).into(),
                        None => key.clone(),
                    });
                    keys.collect()
                });
                self.tree.add(Value::Reference(path), place)
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => id,
        };
        self.done.insert(id, made);
        made
    }

    /// Entries with each key once, the last value at the place of the first.
    fn distinct(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut index = HashMap::with_capacity(entries.len());
        let mut out: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match index.get(&self.tree.key(entry.key)) {
                Some(at) => out[*at] = entry,
                None => {
                    index.insert(self.tree.key(entry.key), out.len());
                    out.push(entry);
                }
            }
        }
        out
    }

    fn key(&mut self, id: NodeId) -> NodeId {
        let filled = self.node(id);
        match self.tree.value(filled) {
            Value::Text(_) => filled,
            _ if filled == id => id,
            // A job may be named by a number.
            _ => {
                let text = self.tree.scalar_text(filled).unwrap_or_default();
                let place = self.tree.place(id);
                self.tree.add(Value::Text(text.into()), place)
            }
        }
    }

    /// One element of a list; a block that is a list brings all its elements.
    fn item(&mut self, id: NodeId, out: &mut Vec<NodeId>) {
        let place = self.tree.place(id);
        let whole = self.tree.text(id).is_some_and(|text| matches!(parts(text)[..], [Part::Block(_)]));
        let made = self.node(id);
        match self.tree.value(made) {
            Value::Seq(items) if whole => {
                let items = items.clone();
                if self.take(place, items.len(), 0) {
                    out.extend(items);
                }
            }
            _ => out.push(made),
        }
    }

    /// A text with its blocks filled in; `None` after a complaint.
    fn text(&mut self, text: &Arc<str>, place: Place) -> Option<Filled> {
        if text.len() > MAX_SCALAR {
            self.complain(place, "a text with `$[[ … ]]` may have at most 1000000 bytes".into(), None);
            return None;
        }
        let parts = parts(text);
        if let [Part::Block(block)] = parts[..] {
            let value = self.block(block, place)?;
            let bytes = if let Json::String(text) = &value { text.len() } else { 0 };
            return self.take(place, 1, bytes).then_some(match value {
                Json::String(text) => Filled::Text(text.into()),
                other => Filled::Value(other),
            });
        }
        let mut out = String::with_capacity(text.len());
        for part in &parts {
            match part {
                Part::Plain(plain) => out.push_str(plain),
                Part::Block(block) => {
                    let value = text_of(&self.block(block, place)?);
                    if out.len() + value.len() > MAX_SCALAR {
                        let text = "a text is longer than 1000000 bytes after interpolation".to_owned();
                        self.complain(place, text, Some("give shorter inputs, or use a file".into()));
                        return None;
                    }
                    out.push_str(&value);
                }
            }
        }
        self.take(place, 1, out.len()).then(|| Filled::Text(out.into()))
    }

    fn block(&mut self, block: &str, place: Place) -> Option<Json> {
        if let Some(known) = self.blocks.get(block) {
            let bytes = match known {
                Some(Json::String(text)) => text.len(),
                _ => 0,
            };
            let known = known.clone();
            return if self.take(place, 0, bytes) { known } else { None };
        }
        let value = if self.blocks.len() >= MAX_BLOCKS {
            Err((format!("too many interpolation blocks: at most {MAX_BLOCKS} different ones"), None))
        } else {
            self.evaluate(block)
        };
        let value = match value {
            Ok(value) => Some(value),
            Err((text, help)) => {
                self.complain(place, text, help);
                None
            }
        };
        self.blocks.insert(block.to_owned(), value.clone());
        value
    }

    fn evaluate(&mut self, block: &str) -> Result<Json, Refusal> {
        if block.len() > MAX_EXPRESSION {
            return Err((format!("an interpolation block may have at most {MAX_EXPRESSION} bytes"), None));
        }
        let mut pieces = split(block, '|').into_iter();
        let path = pieces.next().unwrap_or_default();
        let mut value = self.look_up(path)?;
        let functions: Vec<&str> = pieces.collect();
        if functions.len() > MAX_FUNCTIONS {
            let help = format!("at most {MAX_FUNCTIONS} functions are allowed in one block");
            return Err((format!("too many functions in interpolation block `{}`", cut(block)), Some(help)));
        }
        for function in functions {
            if let Json::String(text) = &value {
                self.budget.take(0, text.len()).map_err(|why| (why, None))?;
            }
            value = call(function, &value, self.access)?;
            if let Json::String(text) = &value
                && text.len() > MAX_SCALAR
            {
                return Err(("a text is longer than 1000000 bytes after interpolation".into(), None));
            }
        }
        Ok(value)
    }

    /// The value at `inputs.a.b[0]`.
    fn look_up(&self, path: &str) -> Result<Json, Refusal> {
        let bad =
            |help: &str| (format!("invalid interpolation block `{}`", cut(path)), Some(help.to_owned()));
        let mut segments = path.split('.');
        let kind = segments.next().unwrap_or_default();
        let segments: Vec<&str> = segments.collect();
        if segments.is_empty() || segments.len() + 1 > MAX_SEGMENTS {
            return Err(bad("write it as `$[[ inputs.NAME ]]`, with at most five names"));
        }
        let (first, mut indexes) = indexed(segments[0]).ok_or_else(|| bad(NAMES))?;
        let mut value = match kind {
            "inputs" => self.access.inputs.get(first),
            "component" => self.access.component.get(first),
            _ => {
                let help = "a block begins with `inputs.`, `component.` or `matrix.`";
                return Err((format!("unknown interpolation provided: `{}`", cut(path)), Some(help.into())));
            }
        };
        if value.is_none() {
            let known =
                if kind == "inputs" { self.access.inputs.keys() } else { self.access.component.keys() };
            let near = crate::check::nearest(first, known.map(String::as_str));
            let help = match near {
                Some(near) => format!("did you mean `{kind}.{near}`?"),
                None if kind == "inputs" => "declare it below `spec: inputs:` in this file".into(),
                None => "name it in `spec: component: [name, sha, version, reference]` of a component".into(),
            };
            return Err((format!("unknown interpolation key: `{first}`"), Some(help)));
        }
        for (at, segment) in segments.iter().enumerate() {
            if at > 0 {
                let (name, more) = indexed(segment).ok_or_else(|| bad(NAMES))?;
                value = value.and_then(|value| value.get(name));
                indexes = more;
            }
            if indexes.len() > MAX_SEGMENTS {
                return Err(bad("at most five indexes may follow each other"));
            }
            for index in &indexes {
                value = value.and_then(|value| value.get(*index));
            }
            if value.is_none() {
                let help = format!("`{}` has nothing there", cut(path));
                return Err((format!("unknown interpolation key: `{segment}`"), Some(help)));
            }
        }
        Ok(value.cloned().unwrap_or_default())
    }
}

const NAMES: &str = "names hold letters, digits, `_` and `-`, indexes are whole numbers in brackets";

enum Filled {
    Text(Arc<str>),
    Value(Json),
}

type Refusal = (String, Option<String>);

/// `name[0][1]`
fn indexed(segment: &str) -> Option<(&str, Vec<usize>)> {
    let end = segment.find('[').unwrap_or(segment.len());
    let (name, mut rest) = segment.split_at(end);
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(word) {
        return None;
    }
    let mut indexes = Vec::new();
    while !rest.is_empty() {
        let (index, behind) = rest.strip_prefix('[')?.split_once(']')?;
        indexes.push(index.trim().parse().ok()?);
        rest = behind;
    }
    Some((name, indexes))
}

/// Splits outside of quotes and parentheses.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut from, mut quote, mut open) = (0, None, 0usize);
    for (position, c) in text.char_indices() {
        match c {
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => {}
            '"' | '\'' if open > 0 => quote = Some(c),
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ if c == at && open == 0 => {
                out.push(text[from..position].trim());
                from = position + c.len_utf8();
            }
            _ => {}
        }
    }
    out.push(text[from..].trim());
    out
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn count(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Json::Object(entries) => 1 + entries.values().map(|value| 1 + count(value)).sum::<usize>(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => 1,
    }
}

/// Applies one function.
fn call(function: &str, input: &Json, access: &Access<'_>) -> Result<Json, Refusal> {
    const KNOWN: [&str; 5] = ["expand_vars", "truncate", "posix_escape", "posix_quote", "split"];
    let (name, arguments) = match function.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.trim().strip_suffix(')').map(str::trim)),
        None => (function, Some("")),
    };
    let mismatch = || {
        let help = match name {
            "truncate" => "write it as `truncate(OFFSET, LENGTH)`".to_owned(),
            "split" => "write it as `split(\",\")`".to_owned(),
            "expand_vars" | "posix_escape" | "posix_quote" => format!("`{name}` takes no arguments"),
            _ => match crate::check::nearest(name, KNOWN) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", KNOWN.join(", ")),
            },
        };
        let text = format!(
            "no function matching `{}`: check that the function name, arguments, and types are correct",
            cut(function)
        );
        (text, Some(help))
    };
    let arguments = arguments.ok_or_else(mismatch)?;
    if !KNOWN.contains(&name) {
        return Err(mismatch());
    }
    let Json::String(text) = input else {
        let help = "functions take a text; use the input as it is".to_owned();
        return Err((
            format!("error in `{name}` function: invalid input type: expected a string"),
            Some(help),
        ));
    };
    match (name, arguments) {
        ("expand_vars", "") => {
            let look_up = |name: &str| match (access.variable)(name) {
                Some(known) if known.masked => {
                    let text =
                        format!("variable expansion error: masked variables cannot be expanded: {name}");
                    let help = "use the variable in the script, where the log hides it".to_owned();
                    Err((text, Some(help)))
                }
                known => Ok(known.map(|known| known.value)),
            };
            Ok(Json::String(expand_once(text, &look_up)?))
        }
        ("posix_escape", "") => Ok(Json::String(escaped(text))),
        ("posix_quote", "") => Ok(Json::String(format!("'{}'", text.replace('\'', "'\\''")))),
        ("truncate", arguments) => {
            let (offset, length) = arguments.split_once(',').ok_or_else(mismatch)?;
            let number = |text: &str| text.trim().parse::<usize>().map_err(|_| mismatch());
            let (offset, length) = (number(offset)?, number(length)?);
            Ok(Json::String(text.chars().skip(offset).take(length).collect()))
        }
        ("split", arguments) => {
            let quoted = ['"', '\''].iter().find_map(|q| arguments.strip_prefix(*q)?.strip_suffix(*q));
            let separator = quoted.unwrap_or(arguments);
            if separator.is_empty() {
                return Err(mismatch());
            }
            let parts = text.split(separator).filter(|_| !text.is_empty());
            Ok(parts.map(|part| Json::String(part.to_owned())).collect())
        }
        _ => Err(mismatch()),
    }
}

/// As Ruby's Shellwords escapes.
fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "''".into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("'\n'"),
            _ if c.is_ascii_alphanumeric() || "_-.,:+/@".contains(c) => out.push(c),
            _ => {
                out.push('\\');
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let parts = parts(text).into_iter().map(|part| match part {
            Part::Plain(text) => text.to_owned(),
            Part::Block(text) => format!("<{text}>"),
        });
        parts.collect::<Vec<_>>().join("~")
    }

    /// §8.4
    #[test]
    fn blocks_table() {
        for (text, want) in [
            ("a", "a"),
            ("", ""),
            ("$[[ inputs.a ]]", "<inputs.a>"),
            ("x$[[inputs.a]]y", "x~<inputs.a>~y"),
            ("$[[ inputs.a[0]]]", "<inputs.a[0]>"),
            ("$[[ inputs.a[0] ]]]", "<inputs.a[0]>~]"),
            ("$[[ matrix.A ]]", "$[[ matrix.A ]]"),
            ("$[[ matrix.A ]] $[[ inputs.b ]]", "$[[ matrix.A ]] ~<inputs.b>"),
            ("$[[ a\n ]] $[[ inputs.b ]]", "$[[ a\n ]] ~<inputs.b>"),
            ("$[[ open", "$[[ open"),
            ("${[[ a ]]}", "${[[ a ]]}"),
        ] {
            assert_eq!(shown(text), want, "{text:?}");
        }
        assert_eq!(
            split("a | truncate( 0 , 1 )|split(\"|\")", '|'),
            ["a", "truncate( 0 , 1 )", "split(\"|\")"]
        );
    }

    /// §8.4
    #[test]
    fn escaping_table() {
        for (text, want) in [
            ("", "''"),
            ("a b", "a\\ b"),
            ("it's $X", "it\\'s\\ \\$X"),
            ("a\nb", "a'\n'b"),
            ("v1.2-rc/x", "v1.2-rc/x"),
        ] {
            assert_eq!(escaped(text), want);
        }
    }
}
