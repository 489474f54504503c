//! Reading the job variables that steer the runner (`runner-api.md` §16.2): each value is parsed once; one that makes
//! no sense gives a warning and the default, never an error. Used by the other files of planning.

use crate::flags::parse_bool;
use harrier_base::{Variables, parse_go_duration};
use std::cell::RefCell;
use std::time::Duration;

/// The job's variables, expanded, with the warnings that reading them has given so far.
pub(crate) struct Settings<'a> {
    variables: &'a Variables,
    warnings: RefCell<Vec<String>>,
}

impl<'a> Settings<'a> {
    /// Reads from `variables`.
    pub fn new(variables: &'a Variables) -> Self {
        Self { variables, warnings: RefCell::default() }
    }

    /// All warnings, in the order in which they came up.
    pub fn into_warnings(self) -> Vec<String> {
        self.warnings.into_inner()
    }

    /// Adds a warning.
    pub fn warn(&self, line: String) {
        self.warnings.borrow_mut().push(line);
    }

    /// The value of `name`; an empty one counts as unset.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.variables.value(name).filter(|value| !value.is_empty())
    }

    /// A boolean.
    pub fn boolean(&self, name: &str, default: bool) -> bool {
        let Some(text) = self.text(name) else { return default };
        parse_bool(text).unwrap_or_else(|| {
            self.warn(format!("{name}: expected a boolean, got {text:?}, using the default value {default}"));
            default
        })
    }

    /// A whole number from 0 up.
    pub fn number(&self, name: &str, default: u32) -> u32 {
        let Some(text) = self.text(name) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.warn(format!(
                "{name}: expected a whole number, got {text:?}, using the default value {default}"
            ));
            default
        })
    }

    /// Attempts of a stage: 1 to 10 (`executors.md` §7.2).
    pub fn attempts(&self, name: &str) -> u32 {
        let Some(text) = self.text(name) else { return 1 };
        let Ok(number) = text.parse::<i64>() else {
            self.warn(format!("{name}: expected a whole number, got {text:?}, using the default value 1"));
            return 1;
        };
        let clamped = number.clamp(1, 10);
        if clamped != number {
            self.warn(format!("{name}: {number} is out of the range 1 to 10, using {clamped}"));
        }
        u32::try_from(clamped).unwrap_or(1)
    }

    /// A Go duration above zero; `None`: unset or senseless, the latter with a warning.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        let text = self.text(name)?;
        match parse_go_duration(text) {
            Ok(value) if value > Duration::ZERO => Some(value),
            Ok(_) => {
                self.warn(format!("{name}: must be above zero, got {text:?}, ignored"));
                None
            }
            Err(error) => {
                self.warn(format!("{name}: {error}, ignored"));
                None
            }
        }
    }

    /// Words split on white space, without quoting (`executors.md` §4.5).
    pub fn words(&self, name: &str) -> Option<Vec<String>> {
        self.text(name).map(split_words)
    }

    /// One of `choices` by its name; another value gives a warning and the default.
    pub fn choice<T: Copy>(&self, name: &str, what: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(name) else { return default };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => *value,
            None => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                self.warn(format!(
                    "{name}: expected {what} ({}), got {text:?}, using the default",
                    words.join(", ")
                ));
                default
            }
        }
    }
}

/// Words split on white space.
pub(crate) fn split_words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_base::Variable;

    fn with<T>(value: &str, read: impl Fn(&Settings<'_>) -> T) -> (T, usize) {
        let variables: Variables = [Variable::public("X", value)].into_iter().collect();
        let settings = Settings::new(&variables);
        let got = read(&settings);
        (got, settings.into_warnings().len())
    }

    #[test]
    fn executors_7_2_attempts_are_clamped_with_a_warning() {
        for (value, want, warnings) in
            [("", 1, 0), ("1", 1, 0), ("10", 10, 0), ("0", 1, 1), ("11", 10, 1), ("-3", 1, 1), ("x", 1, 1)]
        {
            assert_eq!(with(value, |s| s.attempts("X")), (want, warnings), "{value}");
        }
    }

    #[test]
    fn runner_api_16_2_an_invalid_value_gives_a_warning_and_the_default() {
        assert_eq!(with("maybe", |s| s.boolean("X", true)), (true, 1));
        assert_eq!(with("F", |s| s.boolean("X", true)), (false, 0));
        assert_eq!(with("-1", |s| s.number("X", 20)), (20, 1));
        assert_eq!(with("7", |s| s.number("X", 20)), (7, 0));
        assert_eq!(with("15m", |s| s.duration("X")), (Some(Duration::from_secs(900)), 0));
        assert_eq!(with("15", |s| s.duration("X")), (None, 1));
        assert_eq!(with("-1s", |s| s.duration("X")), (None, 1));
        assert_eq!(with("0", |s| s.duration("X")), (None, 1));
        assert_eq!(with("b", |s| s.choice("X", "a letter", &[("a", 1), ("b", 2)], 9)), (2, 0));
        assert_eq!(with("c", |s| s.choice("X", "a letter", &[("a", 1), ("b", 2)], 9)), (9, 1));
    }
}
