//! Rule expressions (`ci-yaml.md` §11): tokens, a parser with precedence, and the evaluation with GitLab's odd
//! truth of empty texts. Called by rules, `only:variables` and workflow rules.

use crate::re2::Re2;
use std::rc::Rc;

/// The hundredth token is one too many.
const MAX_TOKENS: usize = 99;

#[derive(Clone, Debug)]
enum Token {
    Open,
    Close,
    Operand(Expression),
    Compare(Comparison),
    And,
    Or,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Matches,
    NotMatches,
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Variable(Rc<str>),
    /// `$[[ inputs.NAME ]]`, in the rules of inputs only.
    Input(Rc<str>),
    Text(Rc<str>),
    Pattern {
        source: Rc<str>,
        regex: Rc<Re2>,
    },
    Null,
    Bool(bool),
    Not(Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
}

/// Why a text is no expression, and at which character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub at: usize,
    pub why: String,
}

impl Expression {
    /// Parses the text of an `if`.
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::parse_with(text, Operands::Variables)
    }

    /// Parses the `if` of an input's rule, where the operands are other inputs (§8.2).
    pub(crate) fn parse_for_inputs(text: &str) -> Result<Self, SyntaxError> {
        Self::parse_with(text, Operands::Inputs)
    }

    fn parse_with(text: &str, operands: Operands) -> Result<Self, SyntaxError> {
        let tokens = tokens(text, operands)?;
        let mut parser = Parser { tokens, at: 0, end: text.chars().count() };
        let expression = parser.or()?;
        match parser.tokens.get(parser.at) {
            None => Ok(expression),
            Some((at, Token::Close)) => Err(error(*at, "unexpected `)`")),
            Some((at, _)) => Err(error(*at, "expected an operator")),
        }
    }

    /// The inputs it mentions.
    pub(crate) fn inputs(&self) -> Vec<&str> {
        match self {
            Self::Input(name) => vec![name],
            Self::Not(inner) => inner.inputs(),
            Self::Compare(_, left, right) | Self::And(left, right) | Self::Or(left, right) => {
                [left.inputs(), right.inputs()].concat()
            }
            Self::Variable(_) | Self::Text(_) | Self::Pattern { .. } | Self::Null | Self::Bool(_) => {
                Vec::new()
            }
        }
    }

    /// As this one, with a value in the place of every input.
    pub(crate) fn with_inputs(&self, value: &dyn Fn(&str) -> Self) -> Self {
        let pair = |left: &Self, right: &Self| {
            (Box::new(left.with_inputs(value)), Box::new(right.with_inputs(value)))
        };
        match self {
            Self::Input(name) => value(name),
            Self::Not(inner) => Self::Not(inner.with_inputs(value).into()),
            Self::Compare(comparison, left, right) => {
                let (left, right) = pair(left, right);
                Self::Compare(*comparison, left, right)
            }
            Self::And(left, right) => {
                let (left, right) = pair(left, right);
                Self::And(left, right)
            }
            Self::Or(left, right) => {
                let (left, right) = pair(left, right);
                Self::Or(left, right)
            }
            Self::Variable(_) | Self::Text(_) | Self::Pattern { .. } | Self::Null | Self::Bool(_) => {
                self.clone()
            }
        }
    }

    /// Whether the expression holds, with the expanded value of each variable.
    pub(crate) fn holds(&self, look_up: &dyn Fn(&str) -> Option<String>) -> bool {
        self.evaluate(look_up).is_present()
    }

    fn evaluate(&self, look_up: &dyn Fn(&str) -> Option<String>) -> Value {
        match self {
            Self::Variable(name) => look_up(name).map_or(Value::Null, Value::Text),
            Self::Input(_) => Value::Null,
            Self::Text(text) => Value::Text(text.to_string()),
            Self::Pattern { source, .. } => Value::Text(source.to_string()),
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Not(inner) => Value::Bool(!inner.evaluate(look_up).is_present()),
            Self::And(left, right) => match left.evaluate(look_up) {
                falsy @ (Value::Null | Value::Bool(false)) => falsy,
                _ => right.evaluate(look_up),
            },
            Self::Or(left, right) => match left.evaluate(look_up) {
                Value::Null | Value::Bool(false) => right.evaluate(look_up),
                truthy => truthy,
            },
            Self::Compare(Comparison::Equal, left, right) => {
                Value::Bool(left.evaluate(look_up).equals(&right.evaluate(look_up)))
            }
            Self::Compare(Comparison::NotEqual, left, right) => {
                Value::Bool(!left.evaluate(look_up).equals(&right.evaluate(look_up)))
            }
            Self::Compare(Comparison::Matches, left, right) => Value::Bool(matches(left, right, look_up)),
            Self::Compare(Comparison::NotMatches, left, right) => Value::Bool(!matches(left, right, look_up)),
        }
    }
}

#[derive(Clone, Debug)]
enum Value {
    Null,
    Bool(bool),
    Text(String),
}

impl Value {
    fn is_present(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Text(text) => !text.trim().is_empty(),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Null => None,
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Text(text) => Some(text),
        }
    }

    fn equals(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

fn matches(left: &Expression, right: &Expression, look_up: &dyn Fn(&str) -> Option<String>) -> bool {
    let left = left.evaluate(look_up);
    let left = left.text().unwrap_or_default();
    if let Expression::Pattern { regex, .. } = right {
        return regex.is_match(left);
    }
    let right = right.evaluate(look_up);
    let Some(right) = right.text() else { return false };
    match Re2::literal(right) {
        Some((pattern, flags)) => Re2::new(pattern, flags).is_ok_and(|regex| regex.is_match(left)),
        // Not shaped like a pattern: is the left text within the right one?
        None => right.contains(left),
    }
}

fn error(at: usize, why: impl Into<String>) -> SyntaxError {
    SyntaxError { at, why: why.into() }
}

/// What `$` may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operands {
    Variables,
    Inputs,
}

fn tokens(text: &str, operands: Operands) -> Result<Vec<(usize, Token)>, SyntaxError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        let next = chars.get(at + 1).copied();
        let (token, len) = match (c, next) {
            ('(', _) => (Token::Open, 1),
            (')', _) => (Token::Close, 1),
            ('$', Some('[')) if operands == Operands::Inputs => input(&chars, at)?,
            ('$', _) if operands == Operands::Inputs => {
                return Err(error(at, "only `$[[ inputs.NAME ]]` can be compared here, no variables"));
            }
            ('$', Some('[')) => {
                return Err(error(at, "`$[[ inputs.… ]]` is only for the rules of inputs"));
            }
            ('$', Some(n)) if n.is_ascii_alphanumeric() || n == '_' => {
                let name: String =
                    chars[at + 1..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
                let len = 1 + name.len();
                (Token::Operand(Expression::Variable(name.into())), len)
            }
            ('$', _) => return Err(error(at, "a variable is written `$NAME` here, without braces")),
            ('"' | '\'', _) => {
                let Some(len) = chars[at + 1..].iter().position(|end| *end == c) else {
                    return Err(error(at, format!("no closing {c}")));
                };
                let body: String = chars[at + 1..at + 1 + len].iter().collect();
                (Token::Operand(Expression::Text(body.into())), len + 2)
            }
            ('/', _) => pattern(&chars, at)?,
            ('=', Some('=')) => (Token::Compare(Comparison::Equal), 2),
            ('=', Some('~')) => (Token::Compare(Comparison::Matches), 2),
            ('!', Some('=')) => (Token::Compare(Comparison::NotEqual), 2),
            ('!', Some('~')) => (Token::Compare(Comparison::NotMatches), 2),
            ('&', Some('&')) => (Token::And, 2),
            ('|', Some('|')) => (Token::Or, 2),
            ('!', _) => (Token::Not, 1),
            ('=', _) => return Err(error(at, "comparing is written `==`")),
            ('&', _) => return Err(error(at, "and is written `&&`")),
            ('|', _) => return Err(error(at, "or is written `||`")),
            _ => {
                let word: String =
                    chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                let operand = match word.as_str() {
                    "null" => Expression::Null,
                    "true" => Expression::Bool(true),
                    "false" => Expression::Bool(false),
                    _ if word.is_empty() => return Err(error(at, format!("unexpected `{c}`"))),
                    _ => return Err(error(at, format!("`{word}` must be quoted, or written `${word}`"))),
                };
                (Token::Operand(operand), word.chars().count())
            }
        };
        if tokens.len() == MAX_TOKENS {
            return Err(error(at, "too many tokens, at most 99 are allowed"));
        }
        tokens.push((at, token));
        at += len;
    }
    Ok(tokens)
}

/// `$[[ inputs.NAME ]]` at `at`.
fn input(chars: &[char], at: usize) -> Result<(Token, usize), SyntaxError> {
    let rest: String = chars[at..].iter().collect();
    let name = rest.strip_prefix("$[[").and_then(|rest| rest.split_once("]]")).and_then(|(inside, _)| {
        let name = inside.trim().strip_prefix("inputs.")?;
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        (!name.is_empty() && name.chars().all(plain)).then(|| (name.to_owned(), inside.chars().count()))
    });
    match name {
        Some((name, len)) => Ok((Token::Operand(Expression::Input(name.into())), len + 5)),
        None => Err(error(at, "an input is written `$[[ inputs.NAME ]]`")),
    }
}

/// `/…/flags` at `at`: two characters or more, up to the first slash without a backslash before it.
fn pattern(chars: &[char], at: usize) -> Result<(Token, usize), SyntaxError> {
    let mut end = at + 1;
    loop {
        match chars.get(end) {
            None => return Err(error(at, "no closing / of the regular expression")),
            Some('/') if chars[end - 1] != '\\' => break,
            Some(_) => end += 1,
        }
    }
    let body: String = chars[at + 1..end].iter().collect();
    if end - at - 1 < 2 {
        return Err(error(at, "a regular expression needs two characters at least between its slashes"));
    }
    let flags: String = chars[end + 1..].iter().take_while(|c| matches!(c, 'i' | 's' | 'm' | 'U')).collect();
    let regex = Re2::new(&body, &flags)
        .map_err(|why| error(at, format!("the regular expression is not valid: {why}")))?;
    let len = end + 1 - at + flags.len();
    let source = format!("/{body}/{flags}").into();
    Ok((Token::Operand(Expression::Pattern { source, regex: Rc::new(regex) }), len))
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    end: usize,
}

impl Parser {
    fn or(&mut self) -> Result<Expression, SyntaxError> {
        let mut left = self.and()?;
        while matches!(self.tokens.get(self.at), Some((_, Token::Or))) {
            self.at += 1;
            left = Expression::Or(left.into(), self.and()?.into());
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, SyntaxError> {
        let mut left = self.compare()?;
        while matches!(self.tokens.get(self.at), Some((_, Token::And))) {
            self.at += 1;
            left = Expression::And(left.into(), self.compare()?.into());
        }
        Ok(left)
    }

    fn compare(&mut self) -> Result<Expression, SyntaxError> {
        let mut left = self.unary()?;
        while let Some((_, Token::Compare(comparison))) = self.tokens.get(self.at) {
            let comparison = *comparison;
            self.at += 1;
            left = Expression::Compare(comparison, left.into(), self.unary()?.into());
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, SyntaxError> {
        let Some((at, token)) = self.tokens.get(self.at).cloned() else {
            return Err(error(self.end, "the expression is not complete"));
        };
        self.at += 1;
        match token {
            Token::Not => Ok(Expression::Not(self.unary()?.into())),
            Token::Operand(operand) => Ok(operand),
            Token::Open => {
                let inner = self.or()?;
                match self.tokens.get(self.at) {
                    Some((_, Token::Close)) => {
                        self.at += 1;
                        Ok(inner)
                    }
                    _ => Err(error(at, "no closing `)`")),
                }
            }
            Token::Close => Err(error(at, "unexpected `)`")),
            Token::Compare(_) | Token::And | Token::Or => {
                Err(error(at, "a value is missing before the operator"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(name: &str) -> Option<String> {
        let value = match name {
            "E" => "",
            "X" => "x",
            "T" => "true",
            "R" => "/^fe/",
            "B" => "feature",
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// §A.1
    #[test]
    fn evaluation_table() {
        for (text, want) in [
            ("$X", true),
            ("$E", false),
            ("$U", false),
            ("$U == null", true),
            ("$E == null", false),
            ("$E == \"\"", true),
            ("$U == \"\"", false),
            ("$U != \"a\"", true),
            ("$E || $X", false),
            ("$U || $X", true),
            ("$E && $X", true),
            ("$X && $E", false),
            ("!$E", true),
            ("$T == true", true),
            ("$B =~ /^fea/", true),
            ("$B =~ $R", true),
            ("$B =~ /^FEA/i", true),
            ("$X =~ \"axb\"", true),
            ("$B =~ \"fea\"", false),
            ("$U =~ /^x/", false),
            ("$U =~ \"plain\"", true),
            ("$U !~ /^x/", true),
            ("$B =~ $U", false),
            ("$B !~ $U", true),
            ("$X == \"x\" && $T == \"true\" || $U", true),
            ("($U || $X) && $B", true),
            ("$X == \"y\" || $B == \"feature\" && $E == null", false),
            ("\"x\" == $X", true),
            ("\"x\"", true),
            ("'  '", false),
            ("!($X && $U)", true),
            ("$B =~ /fea\\/x/", false),
        ] {
            let expression = Expression::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(expression.holds(&look_up), want, "{text}");
        }
    }

    /// §A.1, §11.1
    #[test]
    fn invalid_table() {
        for text in [
            "${X} == \"x\"",
            "X == \"x\"",
            "$X = \"x\"",
            "$X == 1",
            "$X ==",
            "(",
            "",
            "  ",
            "()",
            "$X)",
            "$X $B",
            "== $X",
            "/a/",
            "$X =~ /(?=a)b/",
            "$X & $B",
            "%X%",
            "\"open",
            "$X =~ /open",
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        let many = vec!["$X"; 50].join(" || ");
        assert!(Expression::parse(&many).is_ok());
        let more = format!("{many} || $X");
        assert!(Expression::parse(&more).is_err());
        let deep = format!("{}$X{}", "(".repeat(49), ")".repeat(49));
        assert!(Expression::parse(&deep).is_ok());
    }
}
