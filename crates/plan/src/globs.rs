//! Path patterns of caches and artifacts (`executors.md` §5.3): `**` any number of directories, `*` and `?` within one name,
//! `[a-z]`, `[^a]`, `[!a]`, `{a,b}` with anything inside, `\` before a literal character. A `**` that ends a pattern
//! matches the directory itself too. Pure: it never looks at the file system.

/// Most patterns that one with braces may stand for.
const MOST_ALTERNATIVES: usize = 4096;

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    alternatives: Vec<Vec<Part>>,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern: {why}")]
pub struct GlobError {
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    AnyDepth,
    Name(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyOne,
    AnyMany,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Parses a relative pattern with `/` between names.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        let chars: Vec<char> = pattern.chars().collect();
        let mut plain = Vec::new();
        unbrace(&chars, &mut plain)?;
        let alternatives = plain.iter().map(|one| parts(one)).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<Vec<char>> = names(path);
        self.alternatives.iter().any(|parts| {
            let places = walk(parts, &names);
            places[parts.len()]
        })
    }

    /// Whether something below the directory `path` may match; `path` is empty for the root.
    pub fn may_match_below(&self, path: &str) -> bool {
        let names = names(path);
        self.alternatives.iter().any(|parts| walk(parts, &names)[..parts.len()].contains(&true))
    }

    /// The directory that every match lies in or is, as far as the pattern names it literally; the second value tells
    /// whether the pattern is nothing but that path.
    pub fn base(&self) -> (String, bool) {
        let [parts] = self.alternatives.as_slice() else { return (String::new(), false) };
        let mut base: Vec<String> = Vec::new();
        for part in parts {
            match literal(part) {
                Some(name) => base.push(name),
                None => return (base.join("/"), false),
            }
        }
        (base.join("/"), true)
    }
}

fn names(path: &str) -> Vec<Vec<char>> {
    path.split('/').filter(|name| !name.is_empty()).map(|name| name.chars().collect()).collect()
}

fn literal(part: &Part) -> Option<String> {
    match part {
        Part::AnyDepth => None,
        Part::Name(tokens) => tokens
            .iter()
            .map(|token| match token {
                Token::Literal(c) => Some(*c),
                Token::AnyOne | Token::AnyMany | Token::Class { .. } => None,
            })
            .collect(),
    }
}

/// Which places of the pattern can be reached by reading all names; place n is before part n.
fn walk(parts: &[Part], names: &[Vec<char>]) -> Vec<bool> {
    let mut now = vec![false; parts.len() + 1];
    now[0] = true;
    skip_any_depth(parts, &mut now);
    for name in names {
        let mut next = vec![false; parts.len() + 1];
        for (at, part) in parts.iter().enumerate().filter(|(at, _)| now[*at]) {
            match part {
                Part::AnyDepth => next[at] = true,
                Part::Name(tokens) => next[at + 1] |= name_matches(tokens, name),
            }
        }
        skip_any_depth(parts, &mut next);
        now = next;
    }
    now
}

fn skip_any_depth(parts: &[Part], places: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        if places[at] && *part == Part::AnyDepth {
            places[at + 1] = true;
        }
    }
}

/// With one point of return for the last `*`: linear in practice, quadratic at worst.
fn name_matches(tokens: &[Token], name: &[char]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match tokens.get(t) {
            Some(Token::AnyMany) => {
                star = Some((t, n));
                t += 1;
                continue;
            }
            Some(token) if n < name.len() && fits(token, name[n]) => {
                t += 1;
                n += 1;
                continue;
            }
            None if n == name.len() => return true,
            _ => {}
        }
        match star {
            Some((at, from)) if from < name.len() => {
                star = Some((at, from + 1));
                t = at + 1;
                n = from + 1;
            }
            _ => return false,
        }
    }
}

fn fits(token: &Token, c: char) -> bool {
    match token {
        Token::Literal(wanted) => *wanted == c,
        Token::AnyOne | Token::AnyMany => true,
        Token::Class { negated, ranges } => {
            ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
        }
    }
}

/// Appends the patterns without braces that `pattern` stands for.
fn unbrace(pattern: &[char], out: &mut Vec<Vec<char>>) -> Result<(), GlobError> {
    let Some(open) = find(pattern, 0, |c| c == '{')? else {
        if find(pattern, 0, |c| c == '}')?.is_some() {
            return Err(GlobError { why: "a } without its {" });
        }
        if out.len() >= MOST_ALTERNATIVES {
            return Err(GlobError { why: "too many alternatives in braces" });
        }
        out.push(pattern.to_vec());
        return Ok(());
    };
    let mut depth = 0usize;
    let mut cuts = vec![open];
    let mut at = open;
    loop {
        at = find(pattern, at, |c| matches!(c, '{' | '}' | ','))?
            .ok_or(GlobError { why: "a { without its }" })?;
        match pattern[at] {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            cuts.push(at);
            break;
        }
        if depth == 1 && pattern[at] == ',' {
            cuts.push(at);
        }
        at += 1;
    }
    for ends in cuts.windows(2) {
        let mut one = pattern[..open].to_vec();
        one.extend_from_slice(&pattern[ends[0] + 1..ends[1]]);
        one.extend_from_slice(&pattern[at + 1..]);
        unbrace(&one, out)?;
    }
    Ok(())
}

/// The first character from `from` on that is `wanted`, outside of escapes and classes.
fn find(pattern: &[char], from: usize, wanted: impl Fn(char) -> bool) -> Result<Option<usize>, GlobError> {
    let mut at = from;
    while at < pattern.len() {
        match pattern[at] {
            '\\' => at += 2,
            '[' => at = class_end(pattern, at)? + 1,
            c if wanted(c) => return Ok(Some(at)),
            _ => at += 1,
        }
    }
    Ok(None)
}

/// Place of the `]` of the class that opens at `open`.
fn class_end(pattern: &[char], open: usize) -> Result<usize, GlobError> {
    let mut at = open + 1;
    if matches!(pattern.get(at), Some('^' | '!')) {
        at += 1;
    }
    let first = at;
    while let Some(c) = pattern.get(at) {
        match c {
            ']' if at > first => return Ok(at),
            ']' => break,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    Err(GlobError { why: "a [ without its ], or nothing between them" })
}

fn parts(pattern: &[char]) -> Result<Vec<Part>, GlobError> {
    let mut parts = Vec::new();
    let mut tokens = Vec::new();
    let mut stars_only = true;
    let mut at = 0;
    while at <= pattern.len() {
        let c = pattern.get(at).copied();
        at += 1;
        match c {
            None | Some('/') => {
                let double = stars_only && tokens.len() >= 2;
                match std::mem::take(&mut tokens) {
                    empty if empty.is_empty() => {}
                    _ if double && parts.last() == Some(&Part::AnyDepth) => {}
                    _ if double => parts.push(Part::AnyDepth),
                    name => parts.push(Part::Name(name)),
                }
                stars_only = true;
            }
            Some('*') => tokens.push(Token::AnyMany),
            Some(other) => {
                stars_only = false;
                tokens.push(match other {
                    '?' => Token::AnyOne,
                    '[' => {
                        let end = class_end(pattern, at - 1)?;
                        let class = class(&pattern[at..end])?;
                        at = end + 1;
                        class
                    }
                    '\\' => {
                        let literal = *pattern.get(at).ok_or(GlobError { why: "a \\ at the end" })?;
                        at += 1;
                        Token::Literal(literal)
                    }
                    c => Token::Literal(c),
                });
            }
        }
    }
    Ok(parts)
}

/// What is between `[` and `]`.
fn class(inner: &[char]) -> Result<Token, GlobError> {
    let (negated, mut rest) = match inner {
        ['^' | '!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let bad = GlobError { why: "a range in [] is not complete" };
    let take = |rest: &mut &[char]| match **rest {
        ['\\', c, ref more @ ..] => {
            *rest = more;
            Ok(c)
        }
        ['\\' | '-', ..] | [] => Err(bad.clone()),
        [c, ref more @ ..] => {
            *rest = more;
            Ok(c)
        }
    };
    let mut ranges = Vec::new();
    while !rest.is_empty() {
        let from = take(&mut rest)?;
        let to = match rest {
            ['-', more @ ..] => {
                rest = more;
                take(&mut rest)?
            }
            _ => from,
        };
        ranges.push((from, to));
    }
    Ok(Token::Class { negated, ranges })
}

/// Normalises a path or pattern by its text alone: no empty names, no `.`, and `..` takes the name before it.
pub fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if absolute => {}
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    if absolute { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_what_the_contract_says() {
        for (pattern, path, want) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", ".hidden", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[!e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("a?b", "a/b", false),
            ("a[!x]b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[x\\-]", "-", true),
            ("*x", "xxx", true),
            ("a/**", "a", true),
            ("a/**", "a/b", true),
            ("a/**", "a/b/c", true),
            ("a/**/*", "a", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("**/c", "a/abc", false),
            ("a/**/b", "a/b", true),
            ("a/**/d", "a/b/c/d", true),
            ("**", "a/b", true),
            ("**/**/x", "x", true),
            ("a/\\**", "a/b/c", false),
            ("abc**", "abcd", true),
            ("abc**", "abc/d", false),
            ("**abc", "xabc", true),
            ("ab{c,d}", "abd", true),
            ("ab{c,d,*}", "abcde", true),
            ("{a/b,c}/d", "a/b/d", true),
            ("{a/b,c}/d", "c/d", true),
            ("x{,.bak}", "x", true),
            ("{a,{b,c}d}", "cd", true),
            ("{**/,}x", "p/q/x", true),
            ("[{]a,b}", "x", false),
            ("\\{a,b\\}", "{a,b}", true),
            ("dir/", "dir", true),
        ] {
            match Glob::parse(pattern) {
                Ok(glob) => assert_eq!(glob.matches(path), want, "{pattern} {path}"),
                Err(_) => assert!(!want, "{pattern}"),
            }
        }
    }

    #[test]
    fn refuses_broken_patterns() {
        for bad in ["[", "[]a]", "a[", "[^", "[-x]", "[x-]", "[a-b-c]", "\\", "{a", "a}", "{a,[}"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
        assert!(Glob::parse(&"{a,b}".repeat(20)).is_err(), "2^20 alternatives");
    }

    #[test]
    fn bases_are_the_literal_part() {
        for (pattern, base, whole) in [
            ("a/b/c", "a/b/c", true),
            ("a/b/*.txt", "a/b", false),
            ("**/x", "", false),
            ("a\\*/b", "a*/b", true),
            ("a/{b,c}", "", false),
            ("", "", true),
        ] {
            let glob = Glob::parse(pattern).expect(pattern);
            assert_eq!(glob.base(), (base.to_owned(), whole), "{pattern}");
        }
    }

    #[test]
    fn cleans_like_a_file_system() {
        for (path, want) in [
            ("./a//b/", "a/b"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("/a/./../../b", "/b"),
            (".", ""),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
    }

    /// As slow and plain as can be: what the matcher must agree with.
    fn plainly(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                plainly(rest, text) || text.first().is_some_and(|c| *c != '/') && plainly(pattern, &text[1..])
            }
            (['?', rest @ ..], [c, more @ ..]) => *c != '/' && plainly(rest, more),
            ([p, rest @ ..], [c, more @ ..]) => p == c && plainly(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_matcher(
            pattern in "(\\*|[ab?]){1,2}[ab?]?(/[ab?]\\*?[ab?]?){0,3}",
            path in "[ab]{1,3}(/[ab]{1,3}){0,3}",
        ) {
            // Two stars alone mean another thing.
            let pattern = pattern.replace("**", "*");
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let glob = Glob::parse(&pattern).expect("nothing in it can be wrong");
            prop_assert_eq!(glob.matches(&path), plainly(&chars(&pattern), &chars(&path)));
        }

        #[test]
        fn never_prunes_a_match(pattern in "[ab*?/{},\\[\\]]{0,12}", path in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
            let Ok(glob) = Glob::parse(&pattern) else { return Ok(()) };
            if glob.matches(&path) {
                let mut dir = path.as_str();
                while let Some((above, _)) = dir.rsplit_once('/') {
                    prop_assert!(glob.may_match_below(above), "{} {}", pattern, above);
                    dir = above;
                }
                prop_assert!(glob.may_match_below(""));
                let (base, _) = glob.base();
                let below = path.strip_prefix(&base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                prop_assert!(base.is_empty() || below);
            }
        }

        #[test]
        fn anything_can_be_given(pattern in "\\PC{0,40}", path in "\\PC{0,40}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                glob.matches(&path);
                glob.may_match_below(&path);
            }
            clean(&pattern);
        }
    }
}
