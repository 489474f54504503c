//! The server's expansion of variables (`ci-yaml.md` §10.1): references to known names are replaced, whatever the
//! order of definition. Used by rules, by keywords that the server expands and by the payload.

use harrier_base::Variable;
use std::collections::{HashMap, HashSet};

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// Taken as it is, `$$` and `%%` included.
    Plain(&'a str),
    /// A reference, with the name and as written.
    Name(&'a str, &'a str),
}

/// Splits at `$NAME`, `${NAME}` and `%NAME%`.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let (mut at, mut plain) = (0, 0);
    let name_end = |from: usize| {
        let head = bytes.get(from).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
        let len =
            bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_');
        head.then(|| from + len.count())
    };
    while at < bytes.len() {
        let (start, end, next) = match bytes[at] {
            mark @ (b'$' | b'%') if bytes.get(at + 1) == Some(&mark) => {
                at += 2;
                continue;
            }
            b'$' if bytes.get(at + 1) == Some(&b'{') => match name_end(at + 2) {
                Some(end) if bytes.get(end) == Some(&b'}') => (at + 2, end, end + 1),
                _ => {
                    at += 1;
                    continue;
                }
            },
            b'$' => match name_end(at + 1) {
                Some(end) => (at + 1, end, end),
                None => {
                    at += 1;
                    continue;
                }
            },
            b'%' => match name_end(at + 1) {
                Some(end) if bytes.get(end) == Some(&b'%') => (at + 1, end, end + 1),
                _ => {
                    at += 1;
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        if plain < at {
            out.push(Piece::Plain(&text[plain..at]));
        }
        out.push(Piece::Name(&text[start..end], &text[at..next]));
        (at, plain) = (next, next);
    }
    if plain < text.len() {
        out.push(Piece::Plain(&text[plain..]));
    }
    out
}

/// Whether a text may hold a reference at all.
fn plain(text: &str) -> bool {
    !text.contains(['$', '%'])
}

/// A variable as the expansion sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition<'a> {
    /// Its value as written.
    pub value: &'a str,
    /// Neither expanded itself.
    pub raw: bool,
    /// A file variable: its value is inserted by the server, its path by the runner.
    pub file: bool,
}

/// Where definitions come from; the highest rank answers.
pub(crate) trait Scope {
    /// The winning definition of a name.
    fn look_up(&self, name: &str) -> Option<Definition<'_>>;
}

/// `text` with every known name replaced by its expanded value; unknown names stay as written.
pub(crate) fn expand_existing(scope: &dyn Scope, text: &str) -> String {
    Expansion::new(scope).run(text)
}

/// `text` with every reference replaced by what `look_up` gives, once; where it gives nothing the reference stays.
pub(crate) fn expand_once<E>(
    text: &str,
    look_up: &dyn Fn(&str) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(text) => out.push_str(text),
            Piece::Name(name, written) => match look_up(name)? {
                Some(value) => out.push_str(&value),
                None => out.push_str(written),
            },
        }
    }
    Ok(out)
}

/// The expanded value of a variable, `None` if it is not defined.
pub(crate) fn value_of(scope: &dyn Scope, name: &str) -> Option<String> {
    let found = scope.look_up(name)?;
    if found.raw {
        return Some(found.value.to_owned());
    }
    Some(Expansion::of(scope, name).run(found.value))
}

/// The value of variable `name` with nothing left to expand: unknown names, a mention of itself and `$$` are gone, as in
/// what is passed on to another pipeline (§23.3).
pub(crate) fn expand_fully(scope: &dyn Scope, name: &str, value: &str) -> String {
    let known = Expansion::of(scope, name).run(value);
    let mut out = String::with_capacity(known.len());
    for piece in pieces(&known) {
        if let Piece::Plain(text) = piece {
            out.push_str(&text.replace("$$", "").replace("%%", ""));
        }
    }
    out
}

/// Values can double at every level; a text longer than this stays as written.
const MAX_TEXT: usize = 1 << 20;
/// References followed for one text.
const MAX_STEPS: usize = 100_000;

/// One expansion on its way.
struct Expansion<'a> {
    scope: &'a dyn Scope,
    /// The names within whose values we are.
    open: Vec<String>,
    steps: usize,
}

impl<'a> Expansion<'a> {
    fn new(scope: &'a dyn Scope) -> Self {
        Self { scope, open: Vec::new(), steps: 0 }
    }

    /// Within the value of `name`.
    fn of(scope: &'a dyn Scope, name: &str) -> Self {
        Self { open: vec![name.to_owned()], ..Self::new(scope) }
    }

    fn run(&mut self, text: &str) -> String {
        if plain(text) {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        for piece in pieces(text) {
            self.steps += 1;
            match piece {
                Piece::Plain(text) => out.push_str(text),
                // A name within itself, directly or around a cycle, stays for the runner.
                Piece::Name(name, written)
                    if self.steps > MAX_STEPS
                        || self.open.len() > 50
                        || self.open.iter().any(|n| n == name) =>
                {
                    out.push_str(written);
                }
                Piece::Name(name, written) => match self.scope.look_up(name) {
                    Some(found) if found.raw || plain(found.value) => out.push_str(found.value),
                    Some(found) => {
                        self.open.push(name.to_owned());
                        let value = self.run(found.value);
                        self.open.pop();
                        out.push_str(&value);
                    }
                    None => out.push_str(written),
                },
            }
            if out.len() > MAX_TEXT {
                return text.to_owned();
            }
        }
        out
    }
}

/// The names of a cycle of two or more variables that `name` leads into (§10.1), in order.
pub(crate) fn cycle(scope: &dyn Scope, name: &str, done: &mut HashSet<String>) -> Option<Vec<String>> {
    fn walk(
        scope: &dyn Scope,
        name: &str,
        path: &mut Vec<String>,
        open: &mut HashSet<String>,
        done: &mut HashSet<String>,
    ) -> Option<Vec<String>> {
        if open.contains(name) {
            let at = path.iter().position(|n| n == name)?;
            return (at + 1 < path.len()).then(|| path[at..].to_vec());
        }
        if done.contains(name) || path.len() > 1000 {
            return None;
        }
        let found = scope.look_up(name)?;
        if !found.raw && !plain(found.value) {
            path.push(name.to_owned());
            open.insert(name.to_owned());
            for piece in pieces(found.value) {
                if let Piece::Name(next, _) = piece
                    && let Some(cycle) = walk(scope, next, path, open, done)
                {
                    return Some(cycle);
                }
            }
            path.pop();
            open.remove(name);
        }
        done.insert(name.to_owned());
        None
    }
    walk(scope, name, &mut Vec::new(), &mut HashSet::new(), done)
}

/// Definitions by name, of a list in which the last of a name wins.
pub(crate) struct Winners<'a>(HashMap<&'a str, &'a Variable>);

impl<'a> Winners<'a> {
    pub(crate) fn new(variables: impl IntoIterator<Item = &'a Variable>) -> Self {
        Self(variables.into_iter().map(|v| (v.key.as_str(), v)).collect())
    }
}

impl Scope for Winners<'_> {
    fn look_up(&self, name: &str) -> Option<Definition<'_>> {
        self.0.get(name).map(|v| Definition { value: &v.value, raw: v.raw, file: v.file })
    }
}

/// What the runner gets: every value expanded as far as the server knows. Unknown names, and references to raw and
/// file variables, stay as written for the runner (`runner-api.md` §4.5).
pub(crate) fn for_runner(variables: &[Variable]) -> Vec<Variable> {
    struct NotInlined<'a>(Winners<'a>);
    impl Scope for NotInlined<'_> {
        fn look_up(&self, name: &str) -> Option<Definition<'_>> {
            self.0.look_up(name).filter(|found| !found.raw && !found.file)
        }
    }
    let scope = NotInlined(Winners::new(variables));
    variables
        .iter()
        .map(|variable| {
            let mut variable = variable.clone();
            if !variable.raw && !plain(&variable.value) {
                variable.value = Expansion::of(&scope, &variable.key).run(&variable.value);
            }
            variable
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(list: &[(&str, &str)]) -> HashMap<String, String> {
        let list: Vec<Variable> = list.iter().map(|(k, v)| Variable::public(*k, *v)).collect();
        for_runner(&list).into_iter().map(|v| (v.key, v.value)).collect()
    }

    /// §A.5
    #[test]
    fn order_of_definition_does_not_matter() {
        let got = expanded(&[("A", "1"), ("B", "$A-$C"), ("C", "${D}"), ("D", "d$$x"), ("P", "$P:/opt %A%")]);
        assert_eq!(got["B"], "1-d$$x");
        assert_eq!(got["C"], "d$$x");
        assert_eq!(got["P"], "$P:/opt 1");
        assert_eq!(
            expanded(&[("X", "$NOPE ${NOPE} ${A:-b} $1 % %% 100%")])["X"],
            "$NOPE ${NOPE} ${A:-b} $1 % %% 100%"
        );
    }

    #[test]
    fn raw_text_is_inserted_and_not_expanded_again() {
        let list =
            [Variable::public("A", "1"), Variable::public("W", "$A").raw(), Variable::public("Z", "<$W>")];
        let scope = Winners::new(&list);
        assert_eq!(value_of(&scope, "Z").as_deref(), Some("<$A>"));
        assert_eq!(for_runner(&list)[2].value, "<$W>");
    }

    #[test]
    fn cycles_are_found_and_self_mention_is_none() {
        let list = [
            Variable::public("A", "$B"),
            Variable::public("B", "x$A"),
            Variable::public("S", "$S:/x"),
            Variable::public("T", "$S"),
        ];
        let scope = Winners::new(&list);
        assert_eq!(cycle(&scope, "A", &mut HashSet::new()), Some(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(cycle(&scope, "S", &mut HashSet::new()), None);
        assert_eq!(cycle(&scope, "T", &mut HashSet::new()), None);
    }

    #[test]
    fn doubling_ends() {
        let mut list = vec![Variable::public("V0", "xxxxxxxxxxxxxxxx")];
        for n in 1..40 {
            list.push(Variable::public(format!("V{n}"), format!("$V{}$V{}", n - 1, n - 1)));
        }
        let scope = Winners::new(&list);
        assert!(value_of(&scope, "V12").is_some_and(|v| v.len() == 16 << 12));
        assert!(value_of(&scope, "V39").is_some_and(|v| v.len() <= 4 * MAX_TEXT));
    }
}
