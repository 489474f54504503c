//! Variables that a user gives to a run: on the command line, from the environment, in files. It must never put a
//! value into a message.

use harrier_base::Variable;
use harrier_pipeline::dotenv::{self, DotenvError};
use std::path::{Path, PathBuf};

/// A variable cannot be taken; bad usage.
#[derive(Debug, thiserror::Error)]
pub enum VariablesError {
    /// Not `KEY=VALUE`.
    #[error("--variable takes KEY=VALUE with letters, digits and _ in the key; {key:?} is no such key")]
    NoPair {
        /// What stands before the `=`.
        key: String,
    },
    /// Not in the environment.
    #[error("--secret {name}: there is no such variable in the environment, export it first")]
    NoSecret {
        /// The variable.
        name: String,
    },
    /// Not readable.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Of the operating system.
        source: std::io::Error,
    },
    /// A line breaks the form.
    #[error("{}: {source}", path.display())]
    Dotenv {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: DotenvError,
    },
    /// Not YAML, or no mapping; the message names the place.
    #[error("{0}")]
    NotYaml(String),
    /// An entry is no variable.
    #[error("{}: {message}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
}

/// `KEY=VALUE` of the command line.
pub fn variable(text: &str) -> Result<Variable, VariablesError> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let known = text.contains('=') && dotenv::pair(&format!("{key}=")).is_some_and(|(k, _)| k == key);
    if !known {
        return Err(VariablesError::NoPair { key: key.to_owned() });
    }
    Ok(Variable::public(key, value))
}

/// A variable whose value, from the environment, is hidden in logs and never expanded.
pub fn secret(name: &str, value: Option<String>) -> Result<Variable, VariablesError> {
    let value = value.ok_or_else(|| VariablesError::NoSecret { name: name.to_owned() })?;
    Ok(Variable::internal(name, value).masked().raw())
}

/// All variables of a file: YAML if its name says so, else `KEY=VALUE` lines.
pub fn variables_file(path: &Path) -> Result<Vec<Variable>, VariablesError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| VariablesError::Read { path: path.to_owned(), source })?;
    let yaml = path.extension().is_some_and(|e| e == "yml" || e == "yaml");
    if yaml {
        return crate::variables_yaml::parse(path, &text);
    }
    let pairs = dotenv::parse_file(&text)
        .map_err(|source| VariablesError::Dotenv { path: path.to_owned(), source })?;
    Ok(pairs.into_iter().map(|(key, value)| Variable::public(key, value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_the_command_line() {
        let parsed = variable("A=x=y z").expect("fine");
        assert_eq!((parsed.key.as_str(), parsed.value.as_str(), parsed.masked), ("A", "x=y z", false));
        assert_eq!(variable("A=").expect("fine").value, "");
        for bad in ["A", "=x", "A B=x", "A-B=secret"] {
            let error = variable(bad).err().expect("refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn secrets_are_masked() {
        let parsed = secret("TOKEN", Some("s3cret".into())).expect("fine");
        assert!(parsed.masked && parsed.raw);
        assert!(secret("TOKEN", None).is_err());
    }
}
