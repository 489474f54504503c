//! CI variables in order, the last of a name winning, and the runner's one-pass expansion
//! (`runner-api.md` §16.3).

use std::collections::HashMap;

/// Mode of the file that holds a file variable: the job's user alone.
pub const FILE_MODE: u32 = 0o600;

/// One CI variable. Its value may be a secret, so it has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Variable {
    /// Name.
    pub key: String,
    /// Value; for a file variable the content of the file.
    pub value: String,
    /// Shown to service containers as well.
    pub public: bool,
    /// The environment holds the path of a file with the value.
    pub file: bool,
    /// Hidden in the log.
    pub masked: bool,
    /// Not expanded.
    pub raw: bool,
}

impl Variable {
    /// A public, plain variable.
    pub fn public(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), public: true, ..Self::default() }
    }

    /// A variable of the runner's own making, not shown to services.
    pub fn internal(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), ..Self::default() }
    }

    /// As this one, hidden in the log.
    pub fn masked(mut self) -> Self {
        self.masked = true;
        self
    }

    /// As this one, not expanded.
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self
    }
}

/// Variables in the order in which they were given. The same key may appear several times; the last one wins.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Variables(Vec<Variable>);

impl Variables {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one; it wins over earlier ones of the same key.
    pub fn push(&mut self, variable: Variable) {
        self.0.push(variable);
    }

    /// Appends all of `other`.
    pub fn extend(&mut self, other: impl IntoIterator<Item = Variable>) {
        self.0.extend(other);
    }

    /// The variable that wins for `key`.
    pub fn get(&self, key: &str) -> Option<&Variable> {
        self.0.iter().rev().find(|v| v.key == key)
    }

    /// The value that wins for `key`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(|v| v.value.as_str())
    }

    /// All entries, overridden ones included, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter()
    }

    /// Each key once, with the variable that wins, in the order of first appearance.
    pub fn winners(&self) -> Vec<&Variable> {
        let mut place: HashMap<&str, usize> = HashMap::with_capacity(self.0.len());
        let mut out: Vec<&Variable> = Vec::with_capacity(self.0.len());
        for variable in &self.0 {
            match place.get(variable.key.as_str()) {
                Some(&at) => out[at] = variable,
                None => {
                    place.insert(&variable.key, out.len());
                    out.push(variable);
                }
            }
        }
        out
    }

    /// Every value that is not raw, expanded once against the unexpanded list; a reference to a file variable
    /// gives `path_of(key)`. Duplicates are dropped.
    pub fn expanded(&self, path_of: impl Fn(&str) -> String) -> Self {
        let winners = self.winners();
        let by_key: HashMap<&str, &Variable> = winners.iter().map(|v| (v.key.as_str(), *v)).collect();
        let look_up =
            |name: &str| by_key.get(name).map(|v| if v.file { path_of(&v.key) } else { v.value.clone() });
        Self(
            winners
                .iter()
                .map(|v| {
                    let mut v = (*v).clone();
                    if !v.raw {
                        v.value = expand(&v.value, look_up);
                    }
                    v
                })
                .collect(),
        )
    }

    /// `text` with this list's values put in; file variables give `path_of(key)`.
    pub fn expand_text(&self, text: &str, path_of: impl Fn(&str) -> String) -> String {
        expand(text, |name| self.get(name).map(|v| if v.file { path_of(&v.key) } else { v.value.clone() }))
    }
}

impl FromIterator<Variable> for Variables {
    fn from_iter<T: IntoIterator<Item = Variable>>(from: T) -> Self {
        Self(from.into_iter().collect())
    }
}

impl IntoIterator for Variables {
    type Item = Variable;
    type IntoIter = std::vec::IntoIter<Variable>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Replaces `$NAME` and `${NAME}` as Go's `os.Expand` does: `$$` gives `$`, the shell's specials (`$*`, `$1`,
/// …) and unknown names give nothing.
pub fn expand(text: &str, look_up: impl Fn(&str) -> Option<String>) -> String {
    let Some(first) = text.find('$') else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(next) = rest.chars().next() else {
            out.push('$');
            return out;
        };
        match next {
            '$' => {
                out.push('$');
                rest = &rest[1..];
            }
            '{' => match rest.find('}') {
                Some(end) => {
                    out.push_str(&look_up(&rest[1..end]).unwrap_or_default());
                    rest = &rest[end + 1..];
                }
                // Go drops the "${" of an unclosed reference and goes on behind it.
                None => rest = &rest[1..],
            },
            '*' | '#' | '@' | '!' | '?' | '-' | '0'..='9' => rest = &rest[1..],
            c if c == '_' || c.is_ascii_alphabetic() => {
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                out.push_str(&look_up(&rest[..end]).unwrap_or_default());
                rest = &rest[end..];
            }
            // A dollar before anything else stays.
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars() -> Variables {
        [
            Variable::public("A", "1"),
            Variable::public("B", "$A-${A}"),
            Variable::public("A", "2"),
            Variable::internal("R", "$A").raw(),
            Variable { key: "F".into(), value: "content".into(), file: true, ..Variable::default() },
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn last_wins_and_expansion_is_one_pass() {
        let all = vars().expanded(|k| format!("/tmp/{k}"));
        assert_eq!(all.value("A"), Some("2"));
        assert_eq!(all.value("B"), Some("2-2"));
        assert_eq!(all.value("R"), Some("$A"));
        assert_eq!(all.value("F"), Some("content"));
        assert_eq!(all.iter().count(), 4);
    }

    #[test]
    fn expands_like_go() {
        let v = vars();
        for (text, want) in [
            ("x$A.y", "x2.y"),
            ("$$A", "$A"),
            ("$1$*$?", ""),
            ("$NONE|${NONE}|", "||"),
            ("$F", "/tmp/F"),
            ("a$", "a$"),
            ("$ b", "$ b"),
            ("${A", "A"),
            ("€$A€", "€2€"),
        ] {
            assert_eq!(v.expand_text(text, |k| format!("/tmp/{k}")), want, "{text}");
        }
    }
}
