//! RE2's regular expressions on the `regex` crate (`ci-yaml.md` §11.3): the same engine family with another dialect.
//! The pattern is translated; what RE2 refuses is refused. Called by rule expressions and `only`/`except`.

use regex::bytes::{Regex, RegexBuilder};

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Re2(Regex);

impl Re2 {
    /// Compiles a pattern with flags out of `i`, `m`, `s`, `U`. The error is a short reason.
    pub(crate) fn new(pattern: &str, flags: &str) -> Result<Self, String> {
        let mut translated = String::with_capacity(pattern.len() + 8);
        if !flags.is_empty() {
            translated.push_str(&format!("(?{flags})"));
        }
        Translator { chars: pattern.chars().collect(), at: 0, out: &mut translated }.run()?;
        RegexBuilder::new(&translated).size_limit(8 << 20).build().map(Self).map_err(|error| {
            error.to_string().lines().last().unwrap_or("not a regular expression").to_owned()
        })
    }

    /// The text of a whole `/pattern/flags`; `None` if it does not have that form (§11.1).
    pub(crate) fn literal(text: &str) -> Option<(&str, &str)> {
        let body = text.strip_prefix('/')?;
        let end = body.rfind('/')?;
        let (pattern, flags) = (&body[..end], &body[end + 1..]);
        let flags_ok = flags.chars().all(|c| matches!(c, 'i' | 's' | 'm' | 'U'));
        flags_ok.then_some((pattern, flags))
    }

    /// Whether it is found anywhere in the text.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

struct Translator<'o> {
    chars: Vec<char>,
    at: usize,
    out: &'o mut String,
}

const DIGITS: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = "\\t\\n\\x0c\\r ";

impl Translator<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn run(mut self) -> Result<(), String> {
        // Whether the last thing was a repetition: a second one is an error in RE2.
        let mut repeated = false;
        while let Some(c) = self.peek(0) {
            let mut is_repeat = false;
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    self.repeat(&c.to_string(), repeated, 1)?;
                    is_repeat = true;
                }
                '{' => match self.counted() {
                    Some((low, high, len)) => {
                        if low > 1000 || high.flatten().is_some_and(|h| h > 1000 || h < low) {
                            return Err("invalid repetition size".into());
                        }
                        let text = match high {
                            None => format!("{{{low}}}"),
                            Some(None) => format!("{{{low},}}"),
                            Some(Some(high)) => format!("{{{low},{high}}}"),
                        };
                        self.repeat(&text, repeated, len)?;
                        is_repeat = true;
                    }
                    None => {
                        self.out.push_str("\\{");
                        self.at += 1;
                    }
                },
                '^' | '$' | '.' | '|' | ')' => {
                    self.out.push(c);
                    self.at += 1;
                }
                c => {
                    self.literal(c);
                    self.at += 1;
                }
            }
            repeated = is_repeat;
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        let mut buffer = [0; 4];
        self.out.push_str(&regex::escape(c.encode_utf8(&mut buffer)));
    }

    fn repeat(&mut self, text: &str, repeated: bool, len: usize) -> Result<(), String> {
        if repeated {
            return Err("bad repetition operator: two in a row".into());
        }
        self.out.push_str(text);
        self.at += len;
        if self.peek(0) == Some('?') {
            self.out.push('?');
            self.at += 1;
        }
        Ok(())
    }

    /// `{n}`, `{n,}`, `{n,m}` at the cursor: the numbers and the length; anything else is literal.
    fn counted(&self) -> Option<(u32, Option<Option<u32>>, usize)> {
        let rest: String = self.chars[self.at + 1..].iter().take(24).collect();
        let body = rest.split_once('}')?.0;
        let number = |text: &str| -> Option<u32> {
            (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                .then(|| text.parse().unwrap_or(u32::MAX))
        };
        let (low, high) = match body.split_once(',') {
            None => (number(body)?, None),
            Some((low, "")) => (number(low)?, Some(None)),
            Some((low, high)) => (number(low)?, Some(Some(number(high)?))),
        };
        Some((low, high, body.len() + 2))
    }

    fn group(&mut self) -> Result<(), String> {
        self.at += 1;
        self.out.push('(');
        if self.peek(0) != Some('?') {
            return Ok(());
        }
        let rest: String = self.chars[self.at..].iter().take(200).collect();
        let named = rest
            .strip_prefix("?P<")
            .or_else(|| rest.strip_prefix("?<").filter(|r| !r.starts_with(['=', '!'])));
        if let Some(name) = named {
            let name = name.split_once('>').ok_or("missing closing >")?.0;
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err(format!("invalid named capture group: {name}"));
            }
            // The name is of no use here, and the two dialects differ in which are allowed.
            self.at += rest.find('>').map_or(0, |at| rest[..=at].chars().count());
            return Ok(());
        }
        let end = rest.find([':', ')']).ok_or("missing closing )")?;
        let flags = &rest[1..end];
        let (on, off) = flags.split_once('-').unwrap_or((flags, "i"));
        let known = |text: &str| text.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U'));
        if !known(on)
            || !known(off)
            || off.is_empty()
            || (on.is_empty() && flags.is_empty() && rest[end..].starts_with(')'))
        {
            return Err(format!("invalid or unsupported Perl syntax: (?{flags}"));
        }
        self.out.push_str(&rest[..=end]);
        self.at += rest[..=end].chars().count();
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let c = self.peek(1).ok_or("trailing \\")?;
        let simple = match c {
            'd' => format!("[{DIGITS}]"),
            'D' => format!("[^{DIGITS}]"),
            'w' => format!("[{WORD}]"),
            'W' => format!("[^{WORD}]"),
            's' => format!("[{SPACE}]"),
            'S' => format!("[^{SPACE}]"),
            'b' => "(?-u:\\b)".into(),
            'B' => "(?-u:\\B)".into(),
            'A' => "\\A".into(),
            'z' => "\\z".into(),
            'C' => "(?s-u:.)".into(),
            'Q' => {
                self.at += 2;
                while let Some(c) = self.peek(0) {
                    if c == '\\' && self.peek(1) == Some('E') {
                        self.at += 2;
                        break;
                    }
                    self.literal(c);
                    self.at += 1;
                }
                return Ok(());
            }
            'E' => String::new(),
            'p' | 'P' => {
                let property = self.property()?;
                self.out.push_str(&property);
                return Ok(());
            }
            _ => {
                let c = self.character()?;
                self.literal(c);
                return Ok(());
            }
        };
        self.out.push_str(&simple);
        self.at += 2;
        Ok(())
    }

    /// `\pL`, `\p{Greek}`, `\p{^L}` at the cursor.
    fn property(&mut self) -> Result<String, String> {
        let mut negated = self.peek(1) == Some('P');
        self.at += 2;
        let name: String = match self.peek(0) {
            Some('{') => {
                let rest: String = self.chars[self.at + 1..].iter().take(64).collect();
                let name = rest.split_once('}').ok_or("invalid character class range")?.0;
                self.at += name.chars().count() + 2;
                name.to_owned()
            }
            Some(c) => {
                self.at += 1;
                c.to_string()
            }
            None => return Err("invalid character class range".into()),
        };
        let bare = name.strip_prefix('^').unwrap_or(&name);
        negated ^= bare.len() != name.len();
        if !bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("invalid character class range: {name}"));
        }
        Ok(format!("\\{}{{{bare}}}", if negated { 'P' } else { 'p' }))
    }

    /// The single character of an escape at the cursor.
    fn character(&mut self) -> Result<char, String> {
        let c = self.peek(1).ok_or("trailing \\")?;
        let bad = || format!("invalid escape sequence: \\{c}");
        self.at += 2;
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0c',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'v' => '\x0b',
            'x' => {
                let digits: String = if self.peek(0) == Some('{') {
                    let rest: String = self.chars[self.at + 1..].iter().take(12).collect();
                    let digits = rest.split_once('}').ok_or_else(bad)?.0.to_owned();
                    self.at += digits.chars().count() + 2;
                    digits
                } else {
                    let digits = self.chars[self.at..].iter().take(2).collect::<String>();
                    if digits.chars().count() != 2 {
                        return Err(bad());
                    }
                    self.at += 2;
                    digits
                };
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(bad());
                }
                u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).ok_or_else(bad)?
            }
            '0'..='7' => {
                // One digit other than 0 would be a back reference.
                if c != '0' && !self.peek(0).is_some_and(|d| d.is_digit(8)) {
                    return Err(bad());
                }
                let mut value = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek(0).and_then(|d| d.to_digit(8)) else { break };
                    value = value * 8 + digit;
                    self.at += 1;
                }
                char::from_u32(value).ok_or_else(bad)?
            }
            c if c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() => return Err(bad()),
            c => c,
        })
    }

    fn class(&mut self) -> Result<(), String> {
        let missing = || "missing closing ]".to_owned();
        self.at += 1;
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.out.push('^');
            self.at += 1;
        }
        let mut first = true;
        loop {
            let c = self.peek(0).ok_or_else(missing)?;
            if c == ']' && !first {
                self.out.push(']');
                self.at += 1;
                return Ok(());
            }
            first = false;
            if c == '[' && self.peek(1) == Some(':') {
                let rest: String = self.chars[self.at + 2..].iter().take(16).collect();
                if let Some((name, _)) = rest.split_once(":]") {
                    self.at += name.chars().count() + 4;
                    let bare = name.strip_prefix('^').unwrap_or(name);
                    const KNOWN: [&str; 14] = [
                        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
                        "punct", "space", "upper", "word", "xdigit",
                    ];
                    if !KNOWN.contains(&bare) {
                        return Err(format!("invalid character class range: [:{name}:]"));
                    }
                    self.out.push_str(&format!("[:{name}:]"));
                    continue;
                }
            }
            if c == '\\' {
                let set = match self.peek(1) {
                    Some('d') => Some(DIGITS.to_owned()),
                    Some('w') => Some(WORD.to_owned()),
                    Some('s') => Some(SPACE.to_owned()),
                    Some('D') => Some(format!("[^{DIGITS}]")),
                    Some('W') => Some(format!("[^{WORD}]")),
                    Some('S') => Some(format!("[^{SPACE}]")),
                    Some('p' | 'P') => {
                        let property = self.property()?;
                        self.out.push_str(&property);
                        continue;
                    }
                    _ => None,
                };
                if let Some(set) = set {
                    self.out.push_str(&set);
                    self.at += 2;
                    continue;
                }
            }
            let low = self.class_char().ok_or_else(missing)??;
            let ranged = self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']');
            self.class_literal(low);
            if ranged {
                self.at += 1;
                let high = self.class_char().ok_or_else(missing)??;
                if high < low {
                    return Err("invalid character class range".into());
                }
                self.out.push('-');
                self.class_literal(high);
            }
        }
    }

    fn class_char(&mut self) -> Option<Result<char, String>> {
        let c = self.peek(0)?;
        if c == '\\' {
            return Some(self.character());
        }
        self.at += 1;
        Some(Ok(c))
    }

    fn class_literal(&mut self, c: char) {
        if c.is_ascii_punctuation() {
            self.out.push_str(&format!("\\x{:02x}", u32::from(c)));
        } else {
            self.literal(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialect_table() {
        for (pattern, text, found) in [
            ("^fe", "feature", true),
            ("\\d+", "a1", true),
            ("\\d", "٣", false),
            ("^\\w+$", "é", false),
            ("\\s", "\u{a0}", false),
            ("\\bx\\b", "a x b", true),
            ("\\Qa.b\\E", "a.b", true),
            ("\\Qa.b\\E", "axb", false),
            ("\\101", "A", true),
            ("\\x41\\x{42}", "AB", true),
            ("a{,3}", "a{,3}", true),
            ("x{", "x{", true),
            ("[[]", "[", true),
            ("[a&&b]", "&", true),
            ("[+--]", "-", true),
            ("[]a]", "]", true),
            ("[^]a]", "b", true),
            ("[\\w.-]+x", "a.-x", true),
            ("[^\\d]", "1", false),
            ("\\p{^L}", "1", true),
            ("\\p{^L}", "a", false),
            ("(?i)ABC", "abc", true),
            ("(?P<n>a)(?<m>b)(?:c)", "abc", true),
            ("^release\\/v\\d+\\.\\d+$", "release/v1.2", true),
            ("a|", "", true),
            ("\\<", "<", true),
        ] {
            let regex = Re2::new(pattern, "").unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(regex.is_match(text), found, "{pattern} on {text}");
        }
    }

    #[test]
    fn refused_as_re2_refuses() {
        for pattern in [
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "(?<!a)",
            "(?x)a",
            "(?u)a",
            "(?>a)",
            "\\1",
            "(a)\\1",
            "a**",
            "a{1001}",
            "a{2,1}",
            "*a",
            "(a",
            "a)",
            "[a",
            "[[:nope:]]",
            "[z-a]",
            "\\u0041",
            "\\Z",
            "\\G",
            "\\h",
            "a\\",
            "\\8",
        ] {
            assert!(Re2::new(pattern, "").is_err(), "{pattern}");
        }
    }

    #[test]
    fn literals() {
        assert_eq!(Re2::literal("/ab/i"), Some(("ab", "i")));
        assert_eq!(Re2::literal("/"), None);
        assert_eq!(Re2::literal("/ab/x"), None);
        assert_eq!(Re2::literal("ab"), None);
        assert!(Re2::new("FE", "i").is_ok_and(|r| r.is_match("fe")));
    }
}
