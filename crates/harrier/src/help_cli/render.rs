//! A page of Markdown as a terminal shows it: headings bold, paragraphs wrapped, tables as columns where they fit and row by row
//! where they do not.
//!
//! Called by `help`. Pure. It knows the Markdown of our own pages, no more.

use harrier_drawing::{columns, width};

/// The page; `bold`: with escape sequences.
pub fn page(text: &str, width: usize, bold: bool) -> String {
    let mut page = Page { out: String::new(), width, bold };
    let mut lines = text.lines().peekable();
    let mut paragraph: Vec<&str> = Vec::new();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        let ends_paragraph = trimmed.is_empty()
            || is_comment(trimmed)
            || trimmed.starts_with("```")
            || trimmed.starts_with('#')
            || trimmed.starts_with('|')
            || is_item(trimmed);
        if ends_paragraph {
            page.paragraph(&std::mem::take(&mut paragraph));
        }
        if let Some(heading) = heading(trimmed) {
            page.heading(heading);
        } else if trimmed.starts_with("```") {
            for line in lines.by_ref() {
                if line.trim_start().starts_with("```") {
                    break;
                }
                page.line(&format!("    {line}"));
            }
        } else if trimmed.starts_with('|') {
            let mut rows = vec![cells(trimmed)];
            while let Some(line) = lines.next_if(|line| line.trim_start().starts_with('|')) {
                rows.push(cells(line.trim()));
            }
            page.table(&rows);
        } else if trimmed.is_empty() || is_comment(trimmed) || trimmed.starts_with("![") {
            page.gap();
        } else {
            paragraph.push(line);
        }
    }
    page.paragraph(&paragraph);
    let mut out = page.out.trim_matches('\n').to_owned();
    out.push('\n');
    out
}

struct Page {
    out: String,
    width: usize,
    bold: bool,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    /// One empty line, never two.
    fn gap(&mut self) {
        if !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn strong(&self, text: &str) -> String {
        if self.bold { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn heading(&mut self, text: &str) {
        self.gap();
        for line in wrap(&inline(text), 0, 0, self.width) {
            let line = self.strong(&line);
            self.line(&line);
        }
        self.gap();
    }

    fn paragraph(&mut self, lines: &[&str]) {
        let Some(first) = lines.first() else { return };
        let indent = first.len() - first.trim_start().len();
        let hanging = indent + item_mark(first.trim_start());
        let words: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        self.wrapped(&inline(&words.join(" ")), indent, hanging);
    }

    fn wrapped(&mut self, text: &str, indent: usize, hanging: usize) {
        for line in wrap(text, indent, hanging, self.width) {
            self.line(&line);
        }
    }

    /// The second row is the line below the heads.
    fn table(&mut self, rows: &[Vec<String>]) {
        self.gap();
        let (Some(heads), Some(body)) = (rows.first(), rows.get(2..)) else { return };
        let columns = heads.len();
        let widest: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = body.iter().chain([heads]).filter_map(|row| row.get(column));
                cells.map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        if widest.iter().sum::<usize>() + 2 * columns <= self.width {
            let row = |row: &Vec<String>| -> String {
                let cells = row.iter().zip(&widest);
                cells.map(|(cell, wide)| format!("{cell}{}  ", " ".repeat(wide - width(cell)))).collect()
            };
            if heads.iter().any(|head| !head.is_empty()) {
                let line = self.strong(row(heads).trim_end());
                self.line(&line);
            }
            for cells in body {
                self.line(&row(cells));
            }
        } else {
            for cells in body {
                let first = cells.first().map(String::as_str).unwrap_or_default();
                let first = self.strong(first);
                self.line(&first);
                for (head, cell) in heads.iter().zip(cells).skip(1).filter(|(_, cell)| !cell.is_empty()) {
                    let head = if head.is_empty() { String::new() } else { format!("{head}: ") };
                    self.wrapped(&format!("{head}{cell}"), 4, 6);
                }
            }
        }
        self.gap();
    }
}

/// Lines of at most `limit` columns, unless a word is longer.
fn wrap(text: &str, indent: usize, hanging: usize, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = " ".repeat(indent);
    let mut used = indent;
    let mut is_empty = true;
    for word in text.split_whitespace() {
        for (number, piece) in pieces(word).enumerate() {
            let wide = width(piece);
            let space = usize::from(!is_empty && number == 0);
            if !is_empty && used + space + wide > limit {
                lines.push(std::mem::replace(&mut line, " ".repeat(hanging)));
                used = hanging;
            } else if space == 1 {
                line.push(' ');
                used += 1;
            }
            line.push_str(piece);
            used += wide;
            is_empty = false;
        }
    }
    lines.push(line);
    lines
}

/// Parts of a word between which a line may end: only characters of scripts without spaces are parts of their own.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = if is_wide(first) {
            let after = &rest[first.len_utf8()..];
            // What ends a sentence stays with it.
            let mark = after.chars().next().filter(|c| "，。：；、！？）”".contains(*c));
            first.len_utf8() + mark.map_or(0, char::len_utf8)
        } else {
            rest.find(is_wide).unwrap_or(rest.len())
        };
        let (piece, left) = rest.split_at(end);
        rest = left;
        Some(piece)
    })
}

fn is_wide(c: char) -> bool {
    columns(c) == 2
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
}

fn is_comment(line: &str) -> bool {
    line.starts_with("<!--")
}

fn is_item(line: &str) -> bool {
    item_mark(line) > 0
}

/// How long the mark of a list's item is.
fn item_mark(line: &str) -> usize {
    if line.starts_with("- ") {
        return 2;
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 && line[digits..].starts_with(". ") { digits + 2 } else { 0 }
}

/// The cells of a row, as they are shown.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|');
    let line = line.strip_suffix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for c in line.chars() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (false, '|') => cells.push(String::new()),
            (true, c) => {
                if c != '|' {
                    cells.last_mut().expect("there is one").push('\\');
                }
                cells.last_mut().expect("there is one").push(c);
                escaped = false;
            }
            (false, c) => cells.last_mut().expect("there is one").push(c),
        }
    }
    cells.iter().map(|cell| inline(cell.trim())).collect()
}

/// Without the marks of emphasis and links; code keeps its backticks, an address of the web stays behind its text.
fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut in_code = false;
    while let Some(c) = rest.chars().next() {
        if c == '`' {
            in_code = !in_code;
        } else if !in_code && rest.starts_with("**") {
            rest = &rest[2..];
            continue;
        } else if !in_code && let Some((label, target, after)) = link(rest) {
            out.push_str(&inline(label));
            if target.starts_with("http") {
                out.push_str(&format!(" ({target})"));
            }
            rest = after;
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn link(text: &str) -> Option<(&str, &str, &str)> {
    let inner = text.strip_prefix('[')?;
    let (label, after) = inner.split_once("](")?;
    if label.contains('[') {
        return None;
    }
    let (target, after) = after.split_once(')')?;
    Some((label, target, after))
}

#[cfg(test)]
mod tests {
    use super::page;

    const PAGE: &str = "\
# A page

Some **strong** words with a [link](other.md) and
`code ** here`, [out](https://example.com).

<!-- run: somewhere -->
```sh
harrier run
```

- one item that is longer
  than a line
- two

| a | b |
| --- | --- |
| `x \\| y` | small |

| a | b |
| --- | --- |
| `key` | a meaning that is far too long for the columns of this terminal |

一个没有空格的句子也会在行尾折断，因为它太长了。
";

    #[test]
    fn as_a_terminal_shows_it() {
        assert_eq!(
            page(PAGE, 40, false),
            "\
A page

Some strong words with a link and `code
** here`, out (https://example.com).

    harrier run

- one item that is longer than a line
- two

a        b
`x | y`  small

`key`
    b: a meaning that is far too long
      for the columns of this terminal

一个没有空格的句子也会在行尾折断，因为它
太长了。
"
        );
        assert!(page(PAGE, 40, true).starts_with("\x1b[1mA page\x1b[0m\n"));
    }
}
