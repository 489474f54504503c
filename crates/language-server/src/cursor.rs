//! What stands under the cursor, by indentation alone: while someone types the text is rarely YAML. Pure text in, path of
//! keys and word out.

/// Lines above the cursor that are looked at.
const MAX_LINES: usize = 20_000;

/// Where in its line the cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// On a key, or where one could be.
    Key,
    /// In the value of the last key of the path.
    Value,
    /// On a list's item that has no key, or not yet.
    Item,
}

/// The cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Keys around it, the outermost first; with the own key when it is on a value.
    pub path: Vec<String>,
    pub spot: Spot,
    /// The word under it, unquoted.
    pub word: String,
    /// Its characters in the line.
    pub start: usize,
    pub end: usize,
    /// In a `!reference [...]`: its elements, and which one the cursor is in.
    pub reference: Option<(Vec<String>, usize)>,
    /// Other keys of the same mapping.
    pub siblings: Vec<String>,
}

/// A line as far as indentation tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shape {
    dashes: Vec<usize>,
    /// Where the content begins.
    column: usize,
    /// Key, the column behind it, the column where its value begins.
    key: Option<(String, usize, usize)>,
    blank: bool,
}

fn shape(line: &[char]) -> Shape {
    let mut shape = Shape::default();
    let mut at = 0;
    loop {
        while line.get(at) == Some(&' ') {
            at += 1;
        }
        let dash = line.get(at) == Some(&'-') && line.get(at + 1).is_none_or(|c| *c == ' ');
        if !dash {
            break;
        }
        shape.dashes.push(at);
        at += 1;
    }
    shape.column = at;
    shape.blank = shape.dashes.is_empty() && matches!(line.get(at), None | Some('#'));
    if let Some((key, end)) = key_at(line, at, &[]) {
        let mut value = end + 1;
        while line.get(value) == Some(&' ') {
            value += 1;
        }
        shape.key = Some((key, end, value));
    }
    shape
}

/// A key that begins at `at` and ends before a colon; `stops` end it before.
fn key_at(line: &[char], at: usize, stops: &[char]) -> Option<(String, usize)> {
    let first = *line.get(at)?;
    if first == '"' || first == '\'' {
        let close = (at + 1..line.len()).find(|i| line[*i] == first)?;
        let colon = close + 1;
        return (line.get(colon) == Some(&':') && line.get(colon + 1).is_none_or(|c| *c == ' '))
            .then(|| (line[at + 1..close].iter().collect(), colon));
    }
    if "[]{},#&*!|>%@`".contains(first) {
        return None;
    }
    let mut i = at;
    while let Some(c) = line.get(i) {
        if *c == ':' && line.get(i + 1).is_none_or(|c| *c == ' ' || *c == '\t') {
            let key: String = line[at..i].iter().collect();
            return Some((key.trim_end().to_owned(), i));
        }
        if stops.contains(c) || (*c == '#' && i > at && line[i - 1] == ' ') {
            return None;
        }
        i += 1;
    }
    None
}

/// The cursor at a line and character, both from 0.
pub(crate) fn cursor(lines: &[&str], line: usize, column: usize) -> Cursor {
    let here: Vec<char> = lines.get(line).map(|text| text.chars().collect()).unwrap_or_default();
    let column = column.min(here.len());
    let shape_here = shape(&here);
    let empty = here[shape_here.column.min(here.len())..].is_empty();
    let content = if empty && shape_here.dashes.is_empty() { column } else { shape_here.column };
    let mut path = above(lines, line, content, &shape_here);
    let siblings = siblings(lines, line, content);
    match &shape_here.key {
        Some((key, end, value)) if column > *end => {
            path.push(key.clone());
            in_value(&here, *value, column, path, siblings)
        }
        Some((key, end, _)) => Cursor {
            path,
            spot: Spot::Key,
            word: key.clone(),
            start: shape_here.column,
            end: *end,
            reference: None,
            siblings,
        },
        None => {
            let mut cursor = in_value(&here, shape_here.column, column, path, Vec::new());
            if cursor.spot == Spot::Value && cursor.reference.is_none() {
                cursor.spot = if shape_here.dashes.is_empty() { Spot::Key } else { Spot::Item };
                cursor.siblings = siblings;
            }
            cursor
        }
    }
}

/// The keys around what begins at `column` of a line.
fn above(lines: &[&str], line: usize, column: usize, own: &Shape) -> Vec<String> {
    let mut path = Vec::new();
    let (mut limit, mut dash) = match own.dashes.first() {
        Some(first) => (*first, true),
        None => (column, false),
    };
    for text in lines[..line.min(lines.len())].iter().rev().take(MAX_LINES) {
        if limit == 0 && !dash {
            break;
        }
        let chars: Vec<char> = text.chars().take(limit + 512).collect();
        let shape = shape(&chars);
        if shape.blank {
            continue;
        }
        let first = shape.dashes.first().copied();
        let owner = shape.column < limit || (dash && shape.column == limit && first.is_none());
        match (&shape.key, first) {
            (Some((key, _, _)), _) if owner => {
                path.push(key.clone());
                (limit, dash) = match first {
                    Some(first) => (first, true),
                    None => (shape.column, false),
                };
            }
            // The item of a list that holds the line.
            (_, Some(first)) if first < limit => (limit, dash) = (first, true),
            (None, None) if shape.column == 0 => break,
            _ => {}
        }
    }
    path.reverse();
    path
}

/// The other keys of the mapping whose keys begin at `column`.
fn siblings(lines: &[&str], line: usize, column: usize) -> Vec<String> {
    let mut found = Vec::new();
    // True goes on, false is the end.
    let mut look = |text: &str, up: bool| -> bool {
        let chars: Vec<char> = text.chars().take(column + 512).collect();
        let shape = shape(&chars);
        if shape.blank || shape.column > column {
            return true;
        }
        if shape.column < column {
            return false;
        }
        if !up && !shape.dashes.is_empty() {
            return false;
        }
        if let Some((key, _, _)) = shape.key {
            found.push(key);
        }
        shape.dashes.is_empty()
    };
    let own_dash = lines.get(line).is_some_and(|text| {
        let chars: Vec<char> = text.chars().collect();
        !shape(&chars).dashes.is_empty()
    });
    if !own_dash {
        for text in lines[..line.min(lines.len())].iter().rev().take(MAX_LINES) {
            if !look(text, true) {
                break;
            }
        }
    }
    for text in lines.iter().skip(line + 1).take(MAX_LINES) {
        if !look(text, false) {
            break;
        }
    }
    found
}

/// The cursor in a value that may be in flow style.
fn in_value(
    line: &[char],
    value: usize,
    column: usize,
    mut path: Vec<String>,
    siblings: Vec<String>,
) -> Cursor {
    enum Open {
        Seq,
        Map { keys: Vec<String>, current: bool },
    }
    let value = value.min(line.len());
    let flow = matches!(line.get(value), Some('[' | '{'))
        || line[value..].starts_with(&['!', 'r', 'e', 'f', 'e', 'r', 'e', 'n', 'c', 'e']);
    if !flow {
        let (start, end) = trimmed(line, value, comment(line, value));
        let (word, start, end) = unquoted(line, start, end);
        // Before the value begins there is nothing yet.
        let (word, start, end) =
            if column < start { (String::new(), column, column) } else { (word, start, end) };
        return Cursor { path, spot: Spot::Value, word, start, end, reference: None, siblings };
    }
    let mut open: Vec<Open> = Vec::new();
    let mut at = value;
    let mut begin = value;
    let mut quote = None;
    while at < column {
        let c = line[at];
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => {
                open.push(Open::Seq);
                begin = at + 1;
            }
            (None, '{') => {
                open.push(Open::Map { keys: Vec::new(), current: false });
                begin = at + 1;
            }
            (None, ']' | '}') => {
                open.pop();
                begin = at + 1;
            }
            (None, ',') => {
                if let Some(Open::Map { current, .. }) = open.last_mut() {
                    *current = false;
                }
                begin = at + 1;
            }
            (None, ':') if line.get(at + 1).is_none_or(|c| *c == ' ') => {
                if let Some(Open::Map { keys, current }) = open.last_mut() {
                    let (start, end) = trimmed(line, begin, at);
                    keys.push(unquoted(line, start, end).0);
                    *current = true;
                }
                begin = at + 1;
            }
            (None, _) => {}
        }
        at += 1;
    }
    let mut end = column;
    while end < line.len() && !matches!(line[end], ',' | ']' | '}' | '[' | '{') {
        if line[end] == ':' && line.get(end + 1).is_none_or(|c| *c == ' ') {
            break;
        }
        end += 1;
    }
    let (start, end) = trimmed(line, begin.min(column), end);
    let (word, start, end) = unquoted(line, start.min(line.len()), end);
    let mut siblings = siblings;
    let mut spot = Spot::Value;
    for (level, part) in open.iter().enumerate() {
        if let Open::Map { keys, current } = part {
            let last = level + 1 == open.len();
            if *current {
                path.extend(keys.last().cloned());
            } else if last {
                spot = Spot::Key;
                siblings.clone_from(keys);
            }
        }
    }
    let reference = reference_at(line, column);
    Cursor { path, spot, word, start, end, reference, siblings }
}

/// The elements of the `!reference [...]` around a column.
fn reference_at(line: &[char], column: usize) -> Option<(Vec<String>, usize)> {
    let text: String = line.iter().collect();
    let before: String = line[..column].iter().collect();
    let tag = before.rfind("!reference")?;
    let open = text[tag..].find('[')? + tag + 1;
    if before.len() < open || before[open..].contains(']') {
        return None;
    }
    let close = text[open..].find(']').map_or(text.len(), |at| at + open);
    let clean = |part: &str| part.trim().trim_matches(['"', '\'']).to_owned();
    let elements = text[open..close].split(',').map(clean).collect();
    Some((elements, before[open..].matches(',').count()))
}

/// Where a comment begins, or the end.
fn comment(line: &[char], from: usize) -> usize {
    if matches!(line.get(from), Some('"' | '\'')) {
        return line.len();
    }
    (from..line.len()).find(|i| line[*i] == '#' && (*i == 0 || line[i - 1] == ' ')).unwrap_or(line.len())
}

fn trimmed(line: &[char], mut start: usize, mut end: usize) -> (usize, usize) {
    end = end.min(line.len());
    start = start.min(end);
    while start < end && line[start].is_whitespace() {
        start += 1;
    }
    while end > start && line[end - 1].is_whitespace() {
        end -= 1;
    }
    (start, end)
}

fn unquoted(line: &[char], start: usize, end: usize) -> (String, usize, usize) {
    let quoted = end > start + 1 && matches!(line[start], '"' | '\'') && line[end - 1] == line[start];
    let (start, end) = if quoted { (start + 1, end - 1) } else { (start, end) };
    (line[start..end].iter().collect(), start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cursor stands where `|` is.
    fn at(marked: &str) -> Cursor {
        let before = &marked[..marked.find('|').expect("a mark")];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let text = marked.replacen('|', "", 1);
        let lines: Vec<&str> = text.split('\n').collect();
        cursor(&lines, line, column)
    }

    #[test]
    fn table() {
        for (marked, path, spot, word) in [
            ("sta|ges: [a]", "", Spot::Key, "stages"),
            ("stages: [a, b|]", "stages", Spot::Value, "b"),
            ("j:\n  sta|", "j", Spot::Key, "sta"),
            ("j:\n  |", "j", Spot::Key, ""),
            ("j:\n  script: x\n\n  |\n  needs: []", "j", Spot::Key, ""),
            ("|", "", Spot::Key, ""),
            ("j:\n  stage: te|st # x", "j/stage", Spot::Value, "test"),
            ("j:\n  stage: |", "j/stage", Spot::Value, ""),
            ("j:\n  stage:|", "j/stage", Spot::Value, ""),
            ("j:\n  needs:\n    - bu|ild", "j/needs", Spot::Item, "build"),
            ("j:\n  needs:\n  - bu|ild", "j/needs", Spot::Item, "build"),
            ("j:\n  needs:\n    - job: bu|ild", "j/needs/job", Spot::Value, "build"),
            ("j:\n  needs:\n    - job: build\n      art|ifacts: true", "j/needs", Spot::Key, "artifacts"),
            ("j:\n  needs: [a, 'b c|']", "j/needs", Spot::Value, "b c"),
            ("j:\n  needs: [{job: a|, artifacts: true}]", "j/needs/job", Spot::Value, "a"),
            ("j:\n  needs: [{job: a, art|}]", "j/needs", Spot::Key, "art"),
            ("j: {stage: te|st}", "j/stage", Spot::Value, "test"),
            ("j: {st|age: test}", "j", Spot::Key, "stage"),
            ("j:\n  rules:\n    - if: $A\n      when: man|", "j/rules/when", Spot::Value, "man"),
            ("j:\n  rules:\n  - if: $A\n    |", "j/rules", Spot::Key, ""),
            ("\"a: b\":\n  ext|ends: x", "a: b", Spot::Key, "extends"),
            ("a:\n  b: 1\nc:\n  d:\n    e|: 2", "c/d", Spot::Key, "e"),
            ("a:\n  script:\n    - make x|", "a/script", Spot::Item, "make x"),
            ("include:\n  - local: /ci/a|.yml", "include/local", Spot::Value, "/ci/a.yml"),
            ("include: ci/a|.yml", "include", Spot::Value, "ci/a.yml"),
        ] {
            let cursor = at(marked);
            assert_eq!(
                (cursor.path.join("/").as_str(), cursor.spot, cursor.word.as_str()),
                (path, spot, word),
                "{marked}"
            );
        }
    }

    #[test]
    fn references_and_siblings() {
        let cursor = at("j:\n  script:\n    - !reference [.a, scr|ipt]");
        assert_eq!(cursor.reference, Some((vec![".a".into(), "script".into()], 1)));
        assert_eq!(cursor.word, "script");
        assert_eq!(at("j:\n  script: !reference [|").reference, Some((vec![String::new()], 0)));
        assert_eq!(at("j:\n  script: !reference [.a, b] |").reference, None);
        let cursor = at("i:\n  x: 1\nj:\n  a: 1\n  b:\n    z: 1\n  |\n  c: 2\nk:\n  d: 1");
        assert_eq!(cursor.siblings, ["b", "a", "c"]);
        assert_eq!(at("j:\n  - a: 1\n    b: 2\n    |\n  - c: 1").siblings, ["b", "a"]);
        assert_eq!(at("j: {a: 1, |}").siblings, ["a"]);
    }
}
