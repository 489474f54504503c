//! What the inputs of a file come to: values given, defaults, and whether they are allowed (`ci-yaml.md` §8.2, §8.3).
//! Called by includes after `header`. Texts stand for any type, so that a command line or a form can give them.

use crate::diagnostic::{Diagnostic, Place};
use crate::expression::Expression;
use crate::header::{InputKind, InputRule, InputSpec};
use crate::yaml::float_text;
use serde_json::Value as Json;
use std::collections::HashMap;

/// Values by name.
pub(crate) type Values = HashMap<String, Json>;

/// A value that was given.
pub(crate) struct Given {
    pub name: String,
    pub value: Json,
    /// Where it stands, if it stands in a file.
    pub place: Option<Place>,
}

/// Errors of one header that are told (§8.3).
const MAX_ERRORS: usize = 3;

/// The text form of a value as Ruby's `to_s` gives it; lists and mappings as JSON.
pub(crate) fn text_of(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float_text(float),
            _ => number.to_string(),
        },
        Json::String(text) => text.clone(),
        Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}

/// The value of every input, or what is wrong. `whole` is where the values are asked for, for complaints about
/// values that stand nowhere.
pub(crate) fn resolve(
    specs: &[InputSpec],
    given: &[Given],
    whole: Option<Place>,
) -> Result<Values, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let known: HashMap<&str, &InputSpec> = specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let by_name: HashMap<&str, &Given> = given.iter().map(|given| (given.name.as_str(), given)).collect();
    let unknown: Vec<&Given> =
        given.iter().filter(|given| !known.contains_key(given.name.as_str())).collect();
    if let Some(first) = unknown.first() {
        let names: Vec<&str> = unknown.iter().take(10).map(|given| given.name.as_str()).collect();
        let mut diagnostic = Diagnostic::error(format!("unknown input arguments: {}", names.join(", ")));
        diagnostic.place = first.place.or(whole);
        let near = crate::check::nearest(&first.name, known.keys().copied());
        diagnostic.suggestion = match near {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if specs.is_empty() => Some("the header declares no inputs".into()),
            None => {
                let names: Vec<&str> = specs.iter().take(10).map(|spec| spec.name.as_str()).collect();
                Some(format!("declared are: {}", names.join(", ")))
            }
        };
        found.push(diagnostic.keyword("inputs"));
    }
    let mut values: Values = HashMap::with_capacity(specs.len());
    for spec in specs {
        let given = by_name.get(spec.name.as_str()).filter(|given| !given.value.is_null());
        match value(spec, given.map(|given| &given.value), &values, &by_name) {
            Ok(value) => {
                values.insert(spec.name.clone(), value);
            }
            Err((why, help)) => {
                let mut diagnostic = Diagnostic::error(format!("`{}` input: {why}", spec.name));
                diagnostic.suggestion = help;
                diagnostic.place = Some(spec.place);
                if let Some(place) = given.and_then(|given| given.place) {
                    diagnostic = diagnostic.at(place).note("the input is declared here", Some(spec.place));
                }
                found.push(diagnostic.keyword(format!("inputs:{}", spec.name)));
            }
        }
    }
    found.truncate(MAX_ERRORS);
    if found.is_empty() { Ok(values) } else { Err(found) }
}

type Refusal = (String, Option<String>);

fn value(
    spec: &InputSpec,
    given: Option<&Json>,
    resolved: &Values,
    by_name: &HashMap<&str, &Given>,
) -> Result<Json, Refusal> {
    let missing = || {
        let help = Some(format!("give it a value, or give `{}` a default", spec.name));
        ("required value has not been provided".to_owned(), help)
    };
    let (default, options) = match &spec.rules {
        None => (spec.default.as_ref(), spec.options.as_deref()),
        Some(rules) => match deciding(rules, resolved, by_name) {
            Some(rule) => (rule.default.as_ref(), rule.options.as_deref()),
            None if given.is_some() => {
                let help = Some("none of its rules holds for the other inputs".into());
                return Err((format!("`{}` is not allowed", shown(given)), help));
            }
            None => return Err(missing()),
        },
    };
    let (value, is_default) = match (given, default) {
        (Some(given), _) => (coerce(spec.kind, given), false),
        (None, Some(default)) => (default.clone(), true),
        (None, None) => return Err(missing()),
    };
    if is_default && value.is_null() {
        return Ok(if spec.kind == InputKind::String { Json::String(String::new()) } else { Json::Null });
    }
    let which = if is_default { "default value" } else { "provided value" };
    let value = match spec.kind {
        InputKind::String => Json::String(text_of(&value)),
        InputKind::Number if value.is_number() => value,
        InputKind::Boolean if value.is_boolean() => value,
        InputKind::Array if value.is_array() => value,
        kind @ (InputKind::Number | InputKind::Boolean | InputKind::Array) => {
            let article = if kind == InputKind::Array { "an" } else { "a" };
            let help = format!("it is `{}`", shown(Some(&value)));
            return Err((format!("{which} is not {article} {}", kind.word()), Some(help)));
        }
    };
    if let Some(options) = options
        && !options.iter().any(|option| same(spec.kind, option, &value))
    {
        let allowed: Vec<String> = options.iter().map(text_of).collect();
        let near = crate::check::nearest(&text_of(&value), allowed.iter().map(String::as_str));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("allowed are: {}", allowed.join(", ")),
        };
        let why = format!(
            "`{}` cannot be used because it is not in the list of allowed options",
            shown(Some(&value))
        );
        return Err((why, Some(help)));
    }
    if let Some(regex) = &spec.regex
        && !regex.is_match(&text_of(&value))
    {
        let help = format!("it is `{}`", shown(Some(&value)));
        return Err((format!("{which} does not match required RegEx pattern"), Some(help)));
    }
    Ok(value)
}

/// The beginning of a value.
fn shown(value: Option<&Json>) -> String {
    let text = value.map(text_of).unwrap_or_default();
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A text to the type that is wanted, where it can be read so.
fn coerce(kind: InputKind, value: &Json) -> Json {
    let Json::String(text) = value else { return value.clone() };
    match kind {
        InputKind::String => value.clone(),
        InputKind::Boolean | InputKind::Number | InputKind::Array => {
            serde_json::from_str(text).unwrap_or_else(|_| value.clone())
        }
    }
}

fn same(kind: InputKind, option: &Json, value: &Json) -> bool {
    match kind {
        InputKind::Number => {
            option == value || option.as_f64().is_some_and(|number| Some(number) == value.as_f64())
        }
        InputKind::String | InputKind::Boolean | InputKind::Array => text_of(option) == text_of(value),
    }
}

/// The first rule that holds, with the inputs resolved so far and the given values of later ones.
fn deciding<'r>(
    rules: &'r [InputRule],
    resolved: &Values,
    by_name: &HashMap<&str, &Given>,
) -> Option<&'r InputRule> {
    let operand = |name: &str| {
        let value = resolved.get(name).or_else(|| by_name.get(name).map(|given| &given.value));
        match value {
            None | Some(Json::Null) => Expression::Null,
            Some(Json::Bool(flag)) => Expression::Bool(*flag),
            Some(other) => Expression::Text(text_of(other).into()),
        }
    };
    rules.iter().find(|rule| {
        rule.condition.as_ref().is_none_or(|condition| condition.with_inputs(&operand).holds(&|_| None))
    })
}
