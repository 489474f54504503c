//! The graph as text. Jobs stand in columns, two rows apart, and every second column is one row lower: so no line that leaves
//! a job can lie on one that arrives at another. Between two columns each needed job has one vertical track; lines that
//! cross show the vertical one.

use crate::graph::Graph;
use std::collections::{BTreeMap, HashSet};

/// The signs lines are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charset {
    /// By directions: 1 left, 2 right, 4 up, 8 down.
    lines: [char; 16],
    arrow: char,
}

const LEFT: u8 = 1;
const RIGHT: u8 = 2;
const UP: u8 = 4;
const DOWN: u8 = 8;

/// Box drawing, for UTF-8.
pub const BOXES: Charset = Charset {
    lines: [' ', '─', '─', '─', '│', '╯', '╰', '┴', '│', '╮', '╭', '┬', '│', '┤', '├', '┼'],
    arrow: '▶',
};

/// ASCII only.
pub const ASCII: Charset = Charset {
    lines: [' ', '-', '-', '-', '|', '+', '+', '+', '|', '+', '+', '+', '|', '+', '+', '+'],
    arrow: '>',
};

/// Rows with jobs and lines passing by beyond which only the jobs are shown.
const MAX_PLACES: usize = 1_000;
/// Longest name shown whole.
const MAX_NAME: usize = 48;

/// What stands in a row of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    Job(usize),
    /// A line of a job further left passes.
    Passing(usize),
}

impl Graph {
    /// Text of several lines, the last one ended.
    pub fn text(&self, charset: Charset) -> String {
        let mut columns = self.columns_of_jobs();
        let spans = self.edges.iter().map(|(from, to)| self.nodes[*to].column - self.nodes[*from].column);
        let drawn = self.nodes.len() + spans.sum::<usize>() <= MAX_PLACES;
        if drawn {
            self.add_passing(&mut columns);
            self.sort(&mut columns);
        }
        let mut canvas = Canvas::default();
        let labels: Vec<String> = (0..self.nodes.len()).map(|at| cut(&clean(&self.label(at)))).collect();
        let mut x = 0;
        for (column, spots) in columns.iter().enumerate() {
            let stage = self.stages.iter().find(|(_, first)| *first == column);
            let title = stage.map(|(name, _)| cut(&clean(name))).unwrap_or_default();
            let names = spots.iter().filter_map(|spot| match spot {
                Spot::Job(job) => Some(width(&labels[*job])),
                Spot::Passing(_) => None,
            });
            let wide = names.chain([width(&title)]).max().unwrap_or(0);
            canvas.write(x, 0, &title);
            for (at, spot) in spots.iter().enumerate() {
                let y = row(column, at);
                match spot {
                    Spot::Job(job) => canvas.write(x, y, &labels[*job]),
                    Spot::Passing(_) => canvas.line(x, x + wide, y),
                }
            }
            x += wide;
            let Some(next) = columns.get(column + 1) else { break };
            if !drawn {
                x += 3;
                continue;
            }
            x = self.gutter(&mut canvas, x, wide, column, spots, next, &labels);
        }
        let mut out = canvas.text(charset);
        let waiting = self.nodes.iter().any(|node| node.waits_for_stages);
        if !drawn {
            out.push_str("\nThere are too many needs to draw them here; --format svg shows them.\n");
        } else if waiting && !self.edges.is_empty() {
            out.push_str("\nA job without a line to it waits for all jobs of the stages before.\n");
        }
        out
    }

    fn columns_of_jobs(&self) -> Vec<Vec<Spot>> {
        let mut columns: Vec<Vec<Spot>> = vec![Vec::new(); self.columns];
        for (at, node) in self.nodes.iter().enumerate() {
            columns[node.column].push(Spot::Job(at));
        }
        columns
    }

    /// A need over several columns passes those between.
    fn add_passing(&self, columns: &mut [Vec<Spot>]) {
        for (from, to) in &self.edges {
            let (first, last) = (self.nodes[*from].column + 1, self.nodes[*to].column);
            for column in columns.iter_mut().take(last).skip(first) {
                if !column.contains(&Spot::Passing(*from)) {
                    column.push(Spot::Passing(*from));
                }
            }
        }
    }

    /// Puts each column into the order of what it is connected with on its left.
    fn sort(&self, columns: &mut [Vec<Spot>]) {
        for column in 1..columns.len() {
            let (before, rest) = columns.split_at_mut(column);
            let (before, here) = (&before[column - 1], &mut rest[0]);
            let place = |spot: Spot| before.iter().position(|other| *other == spot);
            let mut keyed: Vec<(usize, usize, Spot)> = here
                .iter()
                .enumerate()
                .map(|(at, spot)| {
                    let rows: Vec<usize> = match spot {
                        Spot::Passing(job) => source(*job, &place).into_iter().collect(),
                        Spot::Job(job) => {
                            let needs = self.edges.iter().filter(|(_, to)| to == job);
                            needs.filter_map(|(from, _)| source(*from, &place)).collect()
                        }
                    };
                    let mean = match rows.len() {
                        0 => at * 8,
                        many => rows.iter().sum::<usize>() * 8 / many,
                    };
                    (mean, at, *spot)
                })
                .collect();
            keyed.sort_unstable_by_key(|(mean, at, _)| (*mean, *at));
            *here = keyed.into_iter().map(|(_, _, spot)| spot).collect();
        }
    }

    /// Draws the lines from a column to the next; gives where the next begins.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of a drawing: where it is and what stands on both sides"
    )]
    fn gutter(
        &self,
        canvas: &mut Canvas,
        x: usize,
        wide: usize,
        column: usize,
        here: &[Spot],
        next: &[Spot],
        labels: &[String],
    ) -> usize {
        // Needed job: the row it leaves from and the rows it goes to.
        let edges: HashSet<&(usize, usize)> = self.edges.iter().collect();
        let mut nets: Vec<(usize, usize, Vec<usize>)> = Vec::new();
        for (at, spot) in here.iter().enumerate() {
            let (Spot::Job(job) | Spot::Passing(job)) = *spot;
            let targets: Vec<usize> = next
                .iter()
                .enumerate()
                .filter(|(_, other)| match other {
                    Spot::Passing(passing) => *passing == job,
                    Spot::Job(needing) => edges.contains(&(job, *needing)),
                })
                .map(|(at, _)| row(column + 1, at))
                .collect();
            if !targets.is_empty() {
                let begin = match spot {
                    Spot::Job(job) => x - wide + width(&labels[*job]) + 1,
                    Spot::Passing(_) => x,
                };
                nets.push((begin, row(column, at), targets));
            }
        }
        let mut tracks: Vec<Vec<(usize, usize)>> = Vec::new();
        let mut placed = Vec::new();
        for (begin, from, targets) in nets {
            let top = targets.iter().copied().chain([from]).min().unwrap_or(from);
            let bottom = targets.iter().copied().chain([from]).max().unwrap_or(from);
            let free = |track: &Vec<(usize, usize)>| track.iter().all(|(a, b)| bottom < *a || *b < top);
            let track = tracks.iter().position(free).unwrap_or_else(|| {
                tracks.push(Vec::new());
                tracks.len() - 1
            });
            tracks[track].push((top, bottom));
            placed.push((begin, from, targets, track, top, bottom));
        }
        let first = x + 2;
        let end = first + tracks.len() * 2 + 3;
        for (begin, from, targets, track, top, bottom) in placed {
            let at = first + track * 2;
            canvas.line(begin, at, from);
            canvas.upright(at, top, bottom);
            canvas.join(at, from);
            for y in targets {
                canvas.line_from(at, end, y);
                canvas.join(at, y);
                let spot = next.iter().enumerate().find(|(index, _)| row(column + 1, *index) == y);
                if let Some((_, Spot::Job(_))) = spot {
                    canvas.arrows.insert((end - 2, y));
                    canvas.blank(end - 1, y);
                }
            }
        }
        end
    }
}

fn source(job: usize, place: &impl Fn(Spot) -> Option<usize>) -> Option<usize> {
    place(Spot::Job(job)).or_else(|| place(Spot::Passing(job)))
}

/// The row of the `at`th spot of a column, below the titles.
fn row(column: usize, at: usize) -> usize {
    2 + at * 2 + column % 2
}

/// A sheet of cells, grown as needed.
#[derive(Default)]
struct Canvas {
    /// Texts by row, then column.
    texts: BTreeMap<usize, Vec<(usize, String)>>,
    /// Horizontal and vertical parts, and whether they are joined.
    cells: BTreeMap<(usize, usize), (u8, u8, bool)>,
    arrows: HashSet<(usize, usize)>,
    blanks: HashSet<(usize, usize)>,
}

impl Canvas {
    fn write(&mut self, x: usize, y: usize, text: &str) {
        self.texts.entry(y).or_default().push((x, text.to_owned()));
    }

    /// From the left edge of `from` to the middle of `to`.
    fn line(&mut self, from: usize, to: usize, y: usize) {
        for x in from..to {
            self.cells.entry((y, x)).or_default().0 |= LEFT | RIGHT;
        }
        self.cells.entry((y, to)).or_default().0 |= LEFT;
    }

    /// From the middle of `from` to the left edge of `to`.
    fn line_from(&mut self, from: usize, to: usize, y: usize) {
        self.cells.entry((y, from)).or_default().0 |= RIGHT;
        for x in from + 1..to {
            self.cells.entry((y, x)).or_default().0 |= LEFT | RIGHT;
        }
    }

    fn upright(&mut self, x: usize, top: usize, bottom: usize) {
        for y in top..=bottom {
            let cell = self.cells.entry((y, x)).or_default();
            cell.1 |= if y > top { UP } else { 0 } | if y < bottom { DOWN } else { 0 };
        }
    }

    fn join(&mut self, x: usize, y: usize) {
        self.cells.entry((y, x)).or_default().2 = true;
    }

    fn blank(&mut self, x: usize, y: usize) {
        self.blanks.insert((x, y));
    }

    fn text(&self, charset: Charset) -> String {
        let last = self.texts.keys().chain(self.cells.keys().map(|(y, _)| y)).max().copied().unwrap_or(0);
        let mut out = String::new();
        for y in 0..=last {
            let mut pieces: Vec<(usize, String)> = self.texts.get(&y).cloned().unwrap_or_default();
            for ((_, x), (flat, upright, joined)) in self.cells.range((y, 0)..(y + 1, 0)) {
                if self.blanks.contains(&(*x, y)) {
                    continue;
                }
                let sign = if self.arrows.contains(&(*x, y)) {
                    charset.arrow
                } else if *upright != 0 && *flat != 0 && !joined {
                    charset.lines[usize::from(*upright)]
                } else {
                    charset.lines[usize::from(*flat | *upright)]
                };
                pieces.push((*x, sign.to_string()));
            }
            pieces.sort_by_key(|(x, _)| *x);
            let mut line = String::new();
            let mut used = 0;
            for (x, text) in pieces {
                if x < used {
                    continue;
                }
                line.extend(std::iter::repeat_n(' ', x - used));
                line.push_str(&text);
                used = x + width(&text);
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_NAME {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(MAX_NAME - 2).collect();
    out.push_str("..");
    out
}

/// Columns a text takes on a terminal; escape sequences must not be in it.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Columns a character takes on a terminal: wide letters two, marks on others none.
pub fn columns(c: char) -> usize {
    match c as u32 {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}
