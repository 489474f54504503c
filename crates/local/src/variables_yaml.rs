//! A YAML file of variables: `KEY: value`, or `KEY: {value, masked, file, raw}`. Called by `variables.rs`. It must never
//! put a value into a message.

use crate::variables::VariablesError;
use harrier_base::Variable;
use harrier_pipeline::SourceFile;
use serde_json::Value;
use std::path::Path;

/// All variables of a text.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Variable>, VariablesError> {
    let refuse = |message: String| VariablesError::Yaml { path: path.to_owned(), message };
    let file = SourceFile { name: path.display().to_string(), text: text.to_owned() };
    let map = harrier_pipeline::yaml_mapping(file).map_err(VariablesError::NotYaml)?;
    map.into_iter().map(|(key, value)| entry(key, value).map_err(refuse)).collect()
}

fn entry(key: String, value: Value) -> Result<Variable, String> {
    let Value::Object(mut map) = value else {
        let text = scalar(&value)
            .ok_or_else(|| format!("{key}: a value must be a text, a number or a truth value"))?;
        return Ok(Variable::public(key, text));
    };
    let mut flag = |name: &str| match map.remove(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(format!("{key}: {name} must be true or false")),
    };
    let (masked, file, raw) = (flag("masked")?, flag("file")?, flag("raw")?);
    let value = map.remove("value").as_ref().and_then(scalar);
    let value =
        value.ok_or_else(|| format!("{key}: value is missing, or is no text, number or truth value"))?;
    if let Some(unknown) = map.keys().next() {
        return Err(format!("{key}: unknown key {unknown:?}; there are value, masked, file and raw"));
    }
    Ok(Variable { key, value, public: !masked, file, masked, raw })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Variable>, String> {
        parse(Path::new("v.yml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn plain_and_full_entries() {
        let all = parsed("A: x\nB: 3\nC: {value: s3cret, masked: true}\nD: {value: text, file: true}\n")
            .expect("fine");
        let short: Vec<_> =
            all.iter().map(|v| (v.key.as_str(), v.value.as_str(), v.masked, v.file)).collect();
        assert_eq!(
            short,
            [
                ("A", "x", false, false),
                ("B", "3", false, false),
                ("C", "s3cret", true, false),
                ("D", "text", false, true),
            ]
        );
    }

    #[test]
    fn mistakes_are_named_without_values() {
        for (text, part) in [
            ("- a", "mapping"),
            ("A: [s3cret]", "A: a value must be"),
            ("A: {value: s3cret, mask: true}", "unknown key \"mask\""),
            ("A: {masked: yes please}", "masked must be"),
            ("A: {masked: true}", "value is missing"),
        ] {
            let error = parsed(text).err().expect("refused");
            assert!(error.contains(part) && !error.contains("s3cret"), "{error}");
        }
    }
}
