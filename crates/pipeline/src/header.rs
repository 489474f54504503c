//! The `spec:` header of a file: which inputs it takes and which facts of its component it wants (`ci-yaml.md` §8.1,
//! §8.2). Called by includes for every file that has a header. What the inputs come to is in `inputs`.

use crate::check::{Check, Path};
use crate::diagnostic::Place;
use crate::expression::Expression;
use crate::re2::Re2;
use crate::yaml::NodeId;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};

/// Characters of a header's description (§31).
const MAX_DESCRIPTION: usize = 256;
/// Options of an input (§31).
const MAX_OPTIONS: usize = 50;

/// A header.
pub(crate) struct Header {
    pub inputs: Vec<InputSpec>,
    /// The fields of `$[[ component.… ]]` that the file asked for.
    pub component: Vec<String>,
    /// `spec:include`, not read yet.
    pub include: Option<NodeId>,
}

/// An input as declared.
pub(crate) struct InputSpec {
    pub name: String,
    /// Of its name.
    pub place: Place,
    pub kind: InputKind,
    /// `None`: a value must be given.
    pub default: Option<Json>,
    pub options: Option<Vec<Json>>,
    pub regex: Option<Re2>,
    pub rules: Option<Vec<InputRule>>,
}

/// The type of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputKind {
    String,
    Number,
    Boolean,
    Array,
}

impl InputKind {
    const ALL: [(&str, Self); 4] = [
        ("array", Self::Array),
        ("boolean", Self::Boolean),
        ("number", Self::Number),
        ("string", Self::String),
    ];

    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
        }
    }
}

/// One of the `rules` of an input.
pub(crate) struct InputRule {
    pub condition: Option<Expression>,
    pub options: Option<Vec<Json>>,
    pub default: Option<Json>,
}

/// Reads a header document.
pub(crate) fn header(c: &mut Check<'_>, document: NodeId) -> Option<Header> {
    let before = c.found.len();
    let root = Path::root("header");
    c.mapping(&root, document, &["spec"]);
    let path = root.then("spec");
    let mut header = Header { inputs: Vec::new(), component: Vec::new(), include: None };
    let tree = c.tree;
    if let Some(spec) = tree.given(document, "spec")
        && c.mapping(&path, spec, &["inputs", "include", "component", "description"])
    {
        if let Some(description) = tree.given(spec, "description")
            && let Some(text) = c.text(&path.then("description"), description)
            && text.chars().count() > MAX_DESCRIPTION
        {
            c.config(&path.then("description"), description, "is too long (maximum is 256 characters)");
        }
        if let Some(component) = tree.given(spec, "component") {
            header.component = fields(c, &path.then("component"), component);
        }
        header.include = tree.given(spec, "include");
        if let Some(list) = tree.given(spec, "inputs") {
            header.inputs = inputs(c, &path.then("inputs"), list);
        }
    }
    (c.found.len() == before).then_some(header)
}

fn fields(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Vec<String> {
    const FIELDS: [&str; 4] = ["name", "sha", "version", "reference"];
    let Some(list) = c.texts(path, node) else { return Vec::new() };
    if let Some(unknown) = list.iter().find(|field| !FIELDS.contains(&field.as_str())) {
        let near = crate::check::nearest(unknown, FIELDS).map(|near| format!("did you mean `{near}`?"));
        c.config(path, node, format_args!("contains unknown values: {unknown}")).suggestion =
            near.or_else(|| Some(format!("known here: {}", FIELDS.join(", "))));
    }
    list
}

/// Reads `inputs`: of a header, or of a file that `spec:include` names.
pub(crate) fn inputs(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Vec<InputSpec> {
    let tree = c.tree;
    let Some(entries) = tree.map(node) else {
        c.config(path, node, "should be a hash").suggestion =
            Some("write each input as `name:` with its type and default below it".into());
        return Vec::new();
    };
    let mut specs = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = tree.show(entry.key);
        if let Some(spec) = input(c, &path.then(&name), &name, entry.key, entry.value) {
            specs.push(spec);
        }
    }
    let names: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    for spec in &specs {
        for rule in spec.rules.iter().flatten() {
            let Some(condition) = &rule.condition else { continue };
            let unknown = condition.inputs().into_iter().find(|name| !names.contains(name));
            if let Some(unknown) = unknown {
                let near = crate::check::nearest(unknown, names.iter().copied());
                let suggestion = near.map(|near| format!("did you mean `{near}`?"));
                let entry = entries.iter().find(|entry| tree.show(entry.key) == spec.name);
                let at = entry.map_or(node, |entry| entry.key);
                let path = path.then(&spec.name);
                c.fail(&path.then("rules"), at, format_args!("if refers to the unknown input `{unknown}`"))
                    .suggestion = suggestion;
            }
        }
    }
    if let Some(circle) = circle(&specs) {
        let entry = entries.iter().find(|entry| tree.show(entry.key) == specs[circle[0]].name);
        let at = entry.map_or(node, |entry| entry.key);
        let names: Vec<&str> = circle.iter().map(|at| specs[*at].name.as_str()).collect();
        c.config(path, at, format_args!("has a circular reference between inputs: {}", names.join(" → ")));
    }
    specs
}

/// Inputs whose rules lead around in a circle.
fn circle(specs: &[InputSpec]) -> Option<Vec<usize>> {
    let index: HashMap<&str, usize> =
        specs.iter().enumerate().map(|(at, spec)| (spec.name.as_str(), at)).collect();
    let edges: Vec<Vec<usize>> = specs
        .iter()
        .map(|spec| {
            let conditions = spec.rules.iter().flatten().filter_map(|rule| rule.condition.as_ref());
            conditions.flat_map(Expression::inputs).filter_map(|name| index.get(name).copied()).collect()
        })
        .collect();
    crate::graph::cycle(&edges)
}

fn input(c: &mut Check<'_>, path: &Path<'_>, name: &str, key: NodeId, node: NodeId) -> Option<InputSpec> {
    let tree = c.tree;
    let mut spec = InputSpec {
        name: name.to_owned(),
        place: tree.place(key),
        kind: InputKind::String,
        default: None,
        options: None,
        regex: None,
        rules: None,
    };
    if tree.is_null(node) {
        return Some(spec);
    }
    let before = c.found.len();
    if !c.mapping(path, node, &["default", "description", "options", "regex", "type", "rules"]) {
        return None;
    }
    if let Some(kind) = tree.given(node, "type") {
        let found = tree.text(kind).and_then(|text| InputKind::ALL.iter().find(|(word, _)| *word == text));
        match found {
            Some((_, kind)) => spec.kind = *kind,
            None => {
                let words = InputKind::ALL.map(|(word, _)| word);
                let near = tree.text(kind).and_then(|text| crate::check::nearest(text, words));
                let near = near.map(|near| format!("did you mean `{near}`?"));
                let text =
                    format!("unknown input specification for `{name}` (valid types: {})", words.join(", "));
                c.fail(path, kind, text).suggestion = near;
            }
        }
    }
    if let Some(description) = tree.given(node, "description") {
        c.text(&path.then("description"), description);
    }
    spec.default = tree.get(node, "default").map(|default| tree.json(default));
    if let Some(options) = tree.given(node, "options") {
        spec.options = read_options(c, &path.then("options"), options);
        if matches!(spec.kind, InputKind::Boolean | InputKind::Array) {
            c.fail(path, options, "options can only be used with string and number inputs").suggestion =
                Some(format!("this input is of type {}", spec.kind.word()));
        }
    }
    if let Some(regex) = tree.given(node, "regex") {
        if spec.kind != InputKind::String {
            c.fail(path, regex, "regex can only be used with string inputs").suggestion =
                Some(format!("this input is of type {}", spec.kind.word()));
        } else if let Some(text) = c.text(&path.then("regex"), regex) {
            match Re2::new(&text, "") {
                Ok(compiled) => spec.regex = Some(compiled),
                Err(why) => {
                    c.config(&path.then("regex"), regex, "is not a valid regular expression").suggestion =
                        Some(why);
                }
            }
        }
    }
    if let Some(rules) = tree.given(node, "rules") {
        for key in ["options", "default"] {
            if let Some(entry) = tree.entry(node, key) {
                c.config(path, entry.key, format_args!("cannot use `{key}` together with `rules`"))
                    .suggestion = Some(format!("give `{key}` in each rule"));
            }
        }
        spec.rules = read_rules(c, &path.then("rules"), rules);
    }
    (c.found.len() == before).then_some(spec)
}

fn read_options(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<Json>> {
    let tree = c.tree;
    let Some(items) = tree.seq(node) else {
        c.config(path, node, "should be an array");
        return None;
    };
    if items.len() > MAX_OPTIONS {
        c.config(path, node, format_args!("cannot define more than {MAX_OPTIONS} options"));
        return None;
    }
    if let Some(null) = items.iter().find(|item| tree.scalar_text(**item).is_none()) {
        c.config(path, *null, "should be an array of texts or numbers");
        return None;
    }
    Some(items.iter().map(|item| tree.json(*item)).collect())
}

fn read_rules(c: &mut Check<'_>, path: &Path<'_>, node: NodeId) -> Option<Vec<InputRule>> {
    let tree = c.tree;
    let Some(items) = tree.seq(node) else {
        c.config(path, node, "should be an array of hashes");
        return None;
    };
    let path = path.then("rule");
    let mut rules = Vec::with_capacity(items.len());
    for item in items {
        if !c.mapping(&path, *item, &["if", "options", "default"]) {
            continue;
        }
        let condition = tree.given(*item, "if").and_then(|node| {
            let Some(text) = tree.text(node) else {
                c.fail(&path, node, "if should be a string");
                return None;
            };
            Expression::parse_for_inputs(text)
                .map_err(|error| {
                    let why = format!("character {}: {}", error.at + 1, error.why);
                    c.fail(&path, node, "if invalid expression syntax").suggestion = Some(why);
                })
                .ok()
        });
        let options =
            tree.given(*item, "options").and_then(|node| read_options(c, &path.then("options"), node));
        let default = tree.get(*item, "default").map(|default| tree.json(default));
        match (&options, &default) {
            (None, None) if tree.given(*item, "options").is_none() => {
                c.config(&path, *item, "must give `options` or `default`");
            }
            (Some(options), Some(default)) if !default.is_null() && !options.contains(default) => {
                c.config(&path, *item, "default must be one of its options");
            }
            _ => {}
        }
        rules.push(InputRule { condition, options, default });
    }
    if items.is_empty() {
        c.config(&path, node, "can't be blank");
    }
    Some(rules)
}
