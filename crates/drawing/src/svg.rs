//! The graph as a picture that stands alone: no script, no font, light and dark. Text is escaped, for names are anybody's.

use crate::graph::Graph;
use crate::terminal::width;
use std::fmt::Write as _;

const ROW: usize = 44;
const BOX: usize = 30;
const GAP: usize = 56;
const MARGIN: usize = 16;
const HEAD: usize = 34;
/// Of a letter, a little more than most are.
const LETTER: usize = 8;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.stage{font-weight:600}.job{fill:#fff;stroke:#8c959f}\
.manual{stroke-dasharray:4 3}.need{fill:none;stroke:#8c959f}.page{fill:#f6f8fa}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.job{fill:#161b22;stroke:#6e7681}.need{stroke:#6e7681}.page{fill:#0d1117}}";

impl Graph {
    /// A picture.
    pub fn svg(&self) -> String {
        let mut widths = vec![6 * LETTER; self.columns];
        let mut rows = vec![0usize; self.columns];
        let mut row_of = Vec::with_capacity(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            let wanted = width(&self.label(at)) * LETTER + 24;
            widths[node.column] = widths[node.column].max(wanted);
            row_of.push(rows[node.column]);
            rows[node.column] += 1;
        }
        for (name, column) in &self.stages {
            widths[*column] = widths[*column].max(width(name) * LETTER + 8);
        }
        let mut left = Vec::with_capacity(self.columns);
        let mut x = MARGIN;
        for width in &widths {
            left.push(x);
            x += width + GAP;
        }
        let whole_width = x.saturating_sub(GAP) + MARGIN;
        let whole_height = HEAD + rows.iter().max().copied().unwrap_or(0) * ROW + MARGIN;
        let mut out = String::new();
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole_width}\" height=\"{whole_height}\" \
             viewBox=\"0 0 {whole_width} {whole_height}\" role=\"img\" aria-label=\"pipeline\">"
        );
        let _ = writeln!(out, "<style>{STYLE}</style>");
        let _ = writeln!(out, "<rect class=\"page\" width=\"100%\" height=\"100%\"/>");
        for (name, column) in &self.stages {
            let (x, y) = (left[*column], MARGIN + 6);
            let _ = writeln!(out, "<text class=\"stage\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(name));
        }
        for (from, to) in &self.edges {
            let (a, b) = (&self.nodes[*from], &self.nodes[*to]);
            let (x1, y1) = (left[a.column] + widths[a.column], HEAD + row_of[*from] * ROW + BOX / 2);
            let (x2, y2) = (left[b.column], HEAD + row_of[*to] * ROW + BOX / 2);
            let bend = GAP / 2;
            let (c1, c2) = (x1 + bend, x2.saturating_sub(bend));
            let _ = writeln!(out, "<path class=\"need\" d=\"M{x1} {y1}C{c1} {y1} {c2} {y2} {x2} {y2}\"/>");
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let (x, y) = (left[node.column], HEAD + row_of[at] * ROW);
            let class = if node.manual { "job manual" } else { "job" };
            let label = escaped(&self.label(at));
            let (text_x, text_y, wide) = (x + 12, y + 20, widths[node.column]);
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{BOX}\" rx=\"6\"/>\
                 <text x=\"{text_x}\" y=\"{text_y}\">{label}</text>"
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
