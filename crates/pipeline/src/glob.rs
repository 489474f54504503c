//! Path patterns as Ruby's `File.fnmatch` reads them with PATHNAME, DOTMATCH and EXTGLOB (`ci-yaml.md` §12.3), and the
//! wildcards of `include:local` (§7.1). Pure; called by rules, include and the payload.

/// A compiled `rules:changes` or `rules:exists` pattern.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    /// One for each way through the braces.
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug)]
struct Alternative {
    segments: Vec<Segment>,
    /// Every path that matches begins and ends so; most paths are turned away by this.
    head: String,
    tail: String,
}

impl Alternative {
    fn new(pattern: &str) -> Self {
        let segments = segments(pattern);
        let literal = |item: &Item| match item {
            Item::Char(c) => Some(*c),
            _ => None,
        };
        let mut head = String::new();
        for (at, segment) in segments.iter().enumerate() {
            let Segment::Part(items) = segment else { break };
            head.extend(items.iter().map_while(literal));
            if at + 1 == segments.len() || !items.iter().all(|item| literal(item).is_some()) {
                break;
            }
            head.push('/');
        }
        let tail = match segments.last() {
            Some(Segment::Part(items)) => {
                let mut tail: Vec<char> = items.iter().rev().map_while(literal).collect();
                tail.reverse();
                tail.into_iter().collect()
            }
            _ => String::new(),
        };
        Self { segments, head, tail }
    }

    fn matches(&self, path: &str) -> bool {
        if !path.starts_with(&self.head) || !path.ends_with(&self.tail) {
            return false;
        }
        let parts: Vec<&str> = path.split('/').collect();
        path_matches(&self.segments, &parts)
    }
}

#[derive(Clone, Debug)]
enum Segment {
    /// `**/`: zero or more directories.
    AnyDirectories,
    /// One part of a path.
    Part(Vec<Item>),
}

#[derive(Clone, Debug)]
enum Item {
    Char(char),
    /// `?`
    Any,
    /// `*`
    Many,
    /// `[a-z]`, `[!a]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Something that matches nothing, such as an unclosed `[`.
    Never,
}

/// Ways through the braces beyond which a pattern is taken literally.
const MAX_ALTERNATIVES: usize = 1000;

/// Brace groups of one pattern beyond which it is taken literally.
const MAX_BRACES: usize = 100;

impl Glob {
    /// Compiles a pattern; there are no invalid ones.
    pub(crate) fn new(pattern: &str) -> Self {
        let mut texts = Vec::new();
        if !braces(pattern, 0, &mut texts) {
            texts = vec![pattern.to_owned()];
        }
        Self { alternatives: texts.iter().map(|text| Alternative::new(text)).collect() }
    }

    /// Whether the whole path matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(path))
    }
}

/// Writes out `{a,b}`; false if that gives too many.
fn braces(pattern: &str, level: usize, out: &mut Vec<String>) -> bool {
    if level > MAX_BRACES {
        return false;
    }
    let bytes = pattern.as_bytes();
    let (mut open, mut depth, mut at) = (None, 0usize, 0);
    let mut commas = Vec::new();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'{' => {
                if depth == 0 {
                    open = Some(at);
                    commas.clear();
                }
                depth += 1;
            }
            b',' if depth == 1 => commas.push(at),
            b'}' if depth > 0 => {
                depth -= 1;
                if depth == 0
                    && let Some(start) = open
                {
                    let mut from = start + 1;
                    for end in commas.iter().copied().chain([at]) {
                        let text =
                            format!("{}{}{}", &pattern[..start], &pattern[from..end], &pattern[at + 1..]);
                        if !braces(&text, level + 1, out) {
                            return false;
                        }
                        from = end + 1;
                    }
                    return true;
                }
            }
            _ => {}
        }
        at += 1;
    }
    // Ruby tries nothing at all for a brace that is not closed.
    if depth == 0 {
        out.push(pattern.to_owned());
    }
    out.len() <= MAX_ALTERNATIVES
}

fn segments(pattern: &str) -> Vec<Segment> {
    let parts: Vec<&str> = pattern.split('/').collect();
    let last = parts.len() - 1;
    let mut out: Vec<Segment> = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        if *part == "**" && at < last {
            // Several in a row are as good as one.
            if !matches!(out.last(), Some(Segment::AnyDirectories)) {
                out.push(Segment::AnyDirectories);
            }
        } else {
            out.push(Segment::Part(items(part)));
        }
    }
    out
}

fn items(part: &str) -> Vec<Item> {
    let chars: Vec<char> = part.chars().collect();
    let mut out: Vec<Item> = Vec::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' => {
                if !matches!(out.last(), Some(Item::Many)) {
                    out.push(Item::Many);
                }
            }
            '?' => out.push(Item::Any),
            '\\' if at + 1 < chars.len() => {
                at += 1;
                out.push(Item::Char(chars[at]));
            }
            '[' => match class(&chars, at + 1) {
                Some((item, next)) => {
                    out.push(item);
                    at = next;
                    continue;
                }
                None => {
                    out.push(Item::Never);
                    return out;
                }
            },
            c => out.push(Item::Char(c)),
        }
        at += 1;
    }
    out
}

/// A bracket class that begins behind its `[`.
fn class(chars: &[char], mut at: usize) -> Option<(Item, usize)> {
    let negated = matches!(chars.get(at), Some('!' | '^'));
    at += usize::from(negated);
    let mut ranges = Vec::new();
    let take = |at: &mut usize| -> Option<char> {
        if chars.get(*at) == Some(&'\\') {
            *at += 1;
        }
        let c = *chars.get(*at)?;
        *at += 1;
        Some(c)
    };
    while *chars.get(at)? != ']' {
        let low = take(&mut at)?;
        let high = if chars.get(at) == Some(&'-') && chars.get(at + 1).is_some_and(|c| *c != ']') {
            at += 1;
            take(&mut at)?
        } else {
            low
        };
        ranges.push((low, high));
    }
    Some((Item::Class { negated, ranges }, at + 1))
}

/// Segments against parts, with the places where `**/` may give back.
fn path_matches(segments: &[Segment], parts: &[&str]) -> bool {
    let (mut s, mut p) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match segments.get(s) {
            None if p == parts.len() => return true,
            Some(Segment::AnyDirectories) => {
                back = Some((s + 1, p));
                s += 1;
                continue;
            }
            Some(Segment::Part(items)) if p < parts.len() && part_matches(items, parts[p]) => {
                s += 1;
                p += 1;
                continue;
            }
            _ => {}
        }
        match back {
            Some((segment, part)) if part < parts.len() => {
                back = Some((segment, part + 1));
                (s, p) = (segment, part + 1);
            }
            _ => return false,
        }
    }
}

fn part_matches(items: &[Item], part: &str) -> bool {
    let mut rest = part.chars();
    let mut at = 0;
    let mut back: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        match items.get(at) {
            Some(Item::Many) => {
                back = Some((at + 1, rest.clone()));
                at += 1;
                continue;
            }
            Some(item) => {
                let mut ahead = rest.clone();
                if let Some(c) = ahead.next()
                    && item_matches(item, c)
                {
                    rest = ahead;
                    at += 1;
                    continue;
                }
            }
            None if rest.as_str().is_empty() => return true,
            None => {}
        }
        match &mut back {
            Some((item, from)) => {
                if from.next().is_none() {
                    return false;
                }
                at = *item;
                rest = from.clone();
            }
            None => return false,
        }
    }
}

fn item_matches(item: &Item, c: char) -> bool {
    match item {
        Item::Char(want) => *want == c,
        Item::Any => true,
        Item::Class { negated, ranges } => {
            // The ends of a range belong to it even when they are the wrong way round.
            let within = |(low, high): &(char, char)| (*low..=*high).contains(&c) || c == *low || c == *high;
            ranges.iter().any(within) != *negated
        }
        Item::Many | Item::Never => false,
    }
}

/// Whether `path` matches a wildcard of `include:local`: `**` is anything, `*` is anything but `/`, the rest literal.
/// `zero_or_more`: `**/` also matches no directory at all (`cache:key:files`); otherwise the documented behaviour of
/// includes, at least one.
pub(crate) fn wildcard_matches(pattern: &str, path: &str, zero_or_more: bool) -> bool {
    #[derive(Clone, Copy)]
    enum Token {
        Char(u8),
        /// `*`
        Part,
        /// `**`
        Any,
        /// `**/` that may be nothing
        Directories,
    }
    let bytes = pattern.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"**/") && zero_or_more {
            tokens.push(Token::Directories);
            at += 3;
        } else if bytes[at..].starts_with(b"**") {
            tokens.push(Token::Any);
            at += 2;
        } else {
            tokens.push(if bytes[at] == b'*' { Token::Part } else { Token::Char(bytes[at]) });
            at += 1;
        }
    }
    // Which positions of the pattern can be reached after each byte of the path.
    let mut reached = vec![false; tokens.len() + 1];
    let close = |reached: &mut Vec<bool>| {
        for at in 0..tokens.len() {
            if reached[at] && matches!(tokens[at], Token::Part | Token::Any | Token::Directories) {
                reached[at + 1] = true;
            }
        }
    };
    reached[0] = true;
    close(&mut reached);
    // Inside a `**/` that has begun a directory and not met its slash.
    let mut inside = vec![false; tokens.len()];
    for byte in path.bytes() {
        let mut next = vec![false; tokens.len() + 1];
        let mut next_inside = vec![false; tokens.len()];
        for at in 0..tokens.len() {
            match tokens[at] {
                Token::Char(want) if reached[at] && want == byte => next[at + 1] = true,
                Token::Part if reached[at] && byte != b'/' => next[at] = true,
                Token::Any if reached[at] => next[at] = true,
                Token::Directories if reached[at] || inside[at] => {
                    if byte == b'/' {
                        next[at] = true;
                    } else {
                        next_inside[at] = true;
                    }
                }
                _ => {}
            }
        }
        close(&mut next);
        (reached, inside) = (next, next_inside);
    }
    reached[tokens.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §12.3
    #[test]
    fn fnmatch_table() {
        for (pattern, yes, no) in [
            ("README.md", &["README.md"][..], &["docs/README.md"][..]),
            ("*.md", &["README.md", ".x.md"], &["docs/a.md"]),
            ("docs/*", &["docs/a", "docs/.b"], &["docs/a/b"]),
            ("docs/**", &["docs/a"], &["docs/a/b"]),
            ("docs/**/*", &["docs/a", "docs/a/b/c", "docs/.x/y"], &["docs"]),
            ("**/*", &["a", "a/b", ".x/y", ".z"], &[]),
            ("**", &["a"], &["a/b"]),
            ("**/*.rb", &["a.rb", "x/y/a.rb"], &["a.rbx"]),
            ("a/**/b", &["a/b", "a/x/y/b"], &["a/xb"]),
            ("docs", &["docs"], &["docs/a"]),
            ("docs/", &[], &["docs/a", "docs"]),
            ("{a,{b,c}}.txt", &["a.txt", "b.txt", "c.txt"], &["d.txt", "{a.txt"]),
            ("{a,b/**/*}", &["a", "b/x/y"], &["b"]),
            ("[!a]x", &["bx"], &["ax"]),
            ("[^a]x", &["bx"], &["ax"]),
            ("[a-c]x", &["bx"], &["dx"]),
            ("[a", &[], &["[a", "a"]),
            ("a?c", &["abc", "aéc"], &["ac", "a/c"]),
            ("\\*", &["*"], &["a"]),
            ("./a", &[], &["a"]),
            ("/a", &[], &["a"]),
            ("a*b*c", &["abc", "axxbyyc", "abbc"], &["abx"]),
            ("a/**/b/**/c", &["a/b/c", "a/x/b/y/z/c", "a/b/b/c"], &["a/c"]),
        ] {
            let glob = Glob::new(pattern);
            for path in yes {
                assert!(glob.matches(path), "{pattern} should match {path}");
            }
            for path in no {
                assert!(!glob.matches(path), "{pattern} should not match {path}");
            }
        }
    }

    #[test]
    fn a_bomb_of_braces_ends() {
        let pattern = "{a,b}".repeat(40);
        assert!(!Glob::new(&pattern).matches("a"));
        let nested = format!("{}a{}", "{".repeat(100_000), "}".repeat(100_000));
        assert!(!Glob::new(&nested).matches("a"));
        let stars = "a*".repeat(200);
        assert!(!Glob::new(&stars).matches(&"a".repeat(150)));
    }

    /// §7.1
    #[test]
    fn include_wildcards() {
        for (pattern, path, documented, newest) in [
            ("ci/*.yml", "ci/a.yml", true, true),
            ("ci/*.yml", "ci/x/a.yml", false, false),
            ("ci/**.yml", "ci/a.yml", true, true),
            ("ci/**.yml", "ci/x/y/a.yml", true, true),
            ("ci/**/*.yml", "ci/x/a.yml", true, true),
            ("ci/**/*.yml", "ci/a.yml", false, true),
            ("ci/**/*.yml", "cix/a.yml", false, false),
            ("ci/a.yml", "ci/axyml", false, false),
            ("*.yml", ".a.yml", true, true),
        ] {
            assert_eq!(wildcard_matches(pattern, path, false), documented, "{pattern} {path}");
            assert_eq!(wildcard_matches(pattern, path, true), newest, "{pattern} {path}");
        }
    }
}
