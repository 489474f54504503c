//! A job's log as HTML lines: colours, folding sections, time stamps, carriage returns, links (`runner-api.md` §15).
//! Called by the coordinator for the log page and its updates. The log is somebody else's input: whatever bytes it holds,
//! what comes out is text in `span`s and `a`s of our own.

use crate::colours;
use std::fmt::Write as _;

/// Longest row; a longer line continues in the next.
const LONGEST: usize = 64 << 10;

/// Sections inside each other, at most; more are not folded.
const DEEPEST: usize = 32;

/// One row of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Safe HTML of the text.
    pub html: String,
    /// `HH:MM:SS`, if the log has time stamps.
    pub time: Option<String>,
    /// It came on standard error (known only with time stamps).
    pub error: bool,
    /// The sections it is in, as indexes into [`Scanner::sections`]; a section's header is not in its own.
    pub inside: Vec<usize>,
    /// The section whose header it is.
    pub opens: Option<usize>,
}

/// A part of the log that folds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// As in the log (`step_script`).
    pub name: String,
    /// Folded at first.
    pub collapsed: bool,
    /// Unix seconds.
    pub started: i64,
    /// Unix seconds; `None`: it is open.
    pub ended: Option<i64>,
}

/// Reads a log piece by piece. The same bytes give the same lines however they are cut.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    lines: Vec<Line>,
    sections: Vec<Section>,
    /// Indexes of the open sections, outermost first.
    open: Vec<usize>,
    style: Style,
    /// The line that is not complete.
    held: Vec<u8>,
    /// The last line made no row: it only ended a section.
    rowless: bool,
    /// The last line ended with a carriage return: what continues it replaces it.
    returned: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    text: Option<u8>,
    ground: Option<u8>,
    bold: bool,
    faint: bool,
    italic: bool,
    underline: bool,
    strike: bool,
    inverse: bool,
}

impl Scanner {
    /// The next bytes of the log.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = (&rest[..at], &rest[at + 1..]);
            if self.held.is_empty() {
                self.line(line);
            } else {
                self.hold(line);
                let line = std::mem::take(&mut self.held);
                self.line(&line);
            }
            rest = behind;
        }
        self.hold(rest);
    }

    /// Keeps a part of a line; rows end at [`LONGEST`], whatever the pieces.
    fn hold(&mut self, mut bytes: &[u8]) {
        while self.held.len() + bytes.len() > LONGEST {
            let (now, later) = bytes.split_at(LONGEST - self.held.len());
            self.held.extend_from_slice(now);
            let line = std::mem::take(&mut self.held);
            self.line(&line);
            bytes = later;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The rows from the `first` on (counted from 0), the one that is not complete last.
    pub fn lines(&self, first: usize) -> Vec<Line> {
        if self.held.is_empty() {
            return self.lines.iter().skip(first).cloned().collect();
        }
        let mut whole = Self {
            lines: self.lines.last().cloned().into_iter().collect(),
            sections: self.sections.clone(),
            open: self.open.clone(),
            style: self.style,
            held: Vec::new(),
            rowless: self.rowless,
            returned: self.returned,
        };
        // Only the last row can change: it may be continued.
        let before = self.lines.len().saturating_sub(1);
        whole.line(&self.held);
        let kept = self.lines.iter().take(before).skip(first).cloned();
        let changed = whole.lines.into_iter().skip(first.saturating_sub(before));
        kept.chain(changed).collect()
    }

    /// How many rows can no longer change: all but the last.
    pub fn settled(&self) -> usize {
        self.lines.len().saturating_sub(1)
    }

    /// The sections so far, in the order of their headers.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    fn line(&mut self, mut bytes: &[u8]) {
        let mut line = Line::default();
        let mut continues = false;
        if let Some(stamp) = Stamp::read(bytes) {
            bytes = &bytes[Stamp::LENGTH..];
            line.time = Some(stamp.time);
            line.error = stamp.error;
            continues = stamp.continues;
        }
        // Runners on Windows end lines with both.
        let whole = bytes.len();
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let returned = std::mem::replace(&mut self.returned, bytes.len() < whole);
        let continues = continues && !std::mem::take(&mut self.rowless);
        let mut ends = false;
        let mut pen = Pen::default();
        let mut at = 0;
        while at < bytes.len() {
            if let Some(marker) = Marker::read(&bytes[at..]) {
                at += marker.length;
                pen.wipe();
                if marker.start {
                    line.opens = self.start(marker).or(line.opens);
                } else {
                    ends = true;
                    self.end(&marker, &mut line.opens);
                }
                continue;
            }
            match bytes[at] {
                0x1b => at += self.escape(&bytes[at..], &mut pen),
                b'\r' => {
                    pen.back_to_start();
                    at += 1;
                }
                _ => {
                    let end = bytes[at + 1..]
                        .iter()
                        .position(|byte| matches!(byte, 0x1b | b'\r' | b's'))
                        .map_or(bytes.len(), |found| at + 1 + found);
                    pen.write(&bytes[at..end], self.style);
                    at = end;
                }
            }
        }
        line.html = pen.html();
        line.inside = self.open.iter().copied().filter(|index| Some(*index) != line.opens).collect();
        if line.html.is_empty() && ends && line.opens.is_none() {
            self.rowless = true;
            return;
        }
        match self.lines.last_mut() {
            Some(last) if continues && line.opens.is_none() && last.html.len() < 4 * LONGEST => {
                if returned && !line.html.is_empty() {
                    last.html.clear();
                }
                last.html.push_str(&line.html);
            }
            _ => self.lines.push(line),
        }
    }

    fn start(&mut self, marker: Marker) -> Option<usize> {
        if self.open.len() >= DEEPEST {
            return None;
        }
        let index = self.sections.len();
        self.sections.push(Section {
            name: marker.name,
            collapsed: marker.collapsed,
            started: marker.seconds,
            ended: None,
        });
        self.open.push(index);
        Some(index)
    }

    /// Ends the innermost section of that name and what is open inside it.
    fn end(&mut self, marker: &Marker, opens: &mut Option<usize>) {
        let Some(at) = self.open.iter().rposition(|index| self.sections[*index].name == marker.name) else {
            return;
        };
        for index in self.open.drain(at..) {
            self.sections[index].ended = Some(marker.seconds);
            if *opens == Some(index) {
                *opens = None;
            }
        }
    }

    /// An escape sequence at the beginning of `bytes`; returns its length.
    fn escape(&mut self, bytes: &[u8], pen: &mut Pen) -> usize {
        match bytes.get(1) {
            Some(b'[') => {
                let parameters = bytes[2..].iter().take_while(|byte| (0x30..=0x3f).contains(*byte)).count();
                let between =
                    bytes[2 + parameters..].iter().take_while(|byte| (0x20..=0x2f).contains(*byte)).count();
                let end = 2 + parameters + between;
                match bytes.get(end) {
                    Some(b'm') if between == 0 => self.style.set(&bytes[2..2 + parameters]),
                    Some(b'K') if &bytes[2..2 + parameters] == b"2" => pen.wipe(),
                    _ => {}
                }
                // A sequence that is cut off or broken ends before the byte that breaks it.
                end + usize::from(bytes.get(end).is_some_and(|byte| (0x40..=0x7e).contains(byte)))
            }
            // Titles and links of terminals: nothing of them is shown, the text of a link is.
            Some(b']') => {
                let body = &bytes[2..];
                let end = body.iter().position(|byte| matches!(byte, 0x07 | 0x1b)).unwrap_or(body.len());
                match body.get(end..) {
                    Some([0x07, ..]) => 3 + end,
                    Some([0x1b, b'\\', ..]) => 4 + end,
                    _ => 2 + end,
                }
            }
            Some(0x20..=0x7e) => 2,
            _ => 1,
        }
    }
}

impl Style {
    fn set(&mut self, parameters: &[u8]) {
        let text = std::str::from_utf8(parameters).unwrap_or_default();
        let mut numbers = text.split([';', ':']).map(|part| part.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.faint = true,
                3 => self.italic = true,
                4 => self.underline = true,
                7 => self.inverse = true,
                9 => self.strike = true,
                21 | 22 => (self.bold, self.faint) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.strike = false,
                30..=37 => self.text = Some((number - 30) as u8),
                38 => self.text = extended(&mut numbers).or(self.text),
                39 => self.text = None,
                40..=47 => self.ground = Some((number - 40) as u8),
                48 => self.ground = extended(&mut numbers).or(self.ground),
                49 => self.ground = None,
                90..=97 => self.text = Some((number - 90 + 8) as u8),
                100..=107 => self.ground = Some((number - 100 + 8) as u8),
                _ => {}
            }
        }
    }

    /// Names of classes, with a space before each.
    fn classes(self) -> String {
        let (text, ground) = if self.inverse {
            (Some(self.ground.unwrap_or(16)), Some(self.text.unwrap_or(7)))
        } else {
            (self.text, self.ground)
        };
        let mut out = String::new();
        match (text, ground) {
            (Some(text), None) => {
                let _ = write!(out, " f{text}");
            }
            (text, Some(ground)) => {
                match text.filter(|text| colours::pair_is_readable(*text, ground)) {
                    Some(text) => {
                        let _ = write!(out, " f{text}");
                    }
                    None if colours::wants_black(ground) => out.push_str(" fk"),
                    None => out.push_str(" f15"),
                }
                let _ = write!(out, " b{ground}");
            }
            (None, None) => {}
        }
        let flags = [(self.bold, " sb"), (self.italic, " si"), (self.underline, " su"), (self.strike, " ss")];
        out.extend(flags.iter().filter(|(set, _)| *set).map(|(_, class)| *class));
        out
    }
}

/// The colour behind 38 or 48.
fn extended(numbers: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match numbers.next()? {
        5 => u8::try_from(numbers.next()?).ok(),
        2 => {
            let mut part = || numbers.next().map(|value| u8::try_from(value).unwrap_or(u8::MAX));
            Some(colours::nearest(part()?, part()?, part()?))
        }
        _ => None,
    }
}

/// The text of one row as it is written.
#[derive(Default)]
struct Pen {
    runs: Vec<(Style, Vec<u8>)>,
    /// A carriage return was seen: the next text replaces the row, as progress bars mean it.
    at_start: bool,
}

impl Pen {
    fn wipe(&mut self) {
        self.runs.clear();
        self.at_start = false;
    }

    fn back_to_start(&mut self) {
        self.at_start = !self.runs.is_empty();
    }

    fn write(&mut self, bytes: &[u8], style: Style) {
        if self.at_start {
            self.wipe();
        }
        match self.runs.last_mut() {
            Some((last, text)) if *last == style => text.extend_from_slice(bytes),
            _ => self.runs.push((style, bytes.to_vec())),
        }
    }

    fn html(&self) -> String {
        let mut out = String::new();
        for (style, bytes) in &self.runs {
            let text = String::from_utf8_lossy(bytes);
            let classes = style.classes();
            match classes.strip_prefix(' ') {
                Some(classes) => {
                    let _ = write!(out, "<span class=\"{classes}\">");
                    with_links(&text, &mut out);
                    out.push_str("</span>");
                }
                None => with_links(&text, &mut out),
            }
        }
        out
    }
}

/// Text with its web addresses as links.
fn with_links(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = ["https://", "http://"].iter().filter_map(|scheme| rest.find(scheme)).min() {
        let (before, address) = rest.split_at(at);
        escape(before, out);
        let end = address
            .find(|c: char| {
                c.is_whitespace()
                    || c.is_control()
                    || matches!(c, '<' | '>' | '"' | '\'' | '`' | '\\' | '^' | '{' | '}')
            })
            .unwrap_or(address.len());
        let shown = address[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '*']);
        if shown.ends_with("//") {
            escape(shown, out);
        } else {
            out.push_str("<a rel=\"nofollow noopener noreferrer\" href=\"");
            escape(shown, out);
            out.push_str("\">");
            escape(shown, out);
            out.push_str("</a>");
        }
        rest = &address[shown.len()..];
    }
    escape(rest, out);
}

/// Text that cannot act: markup is escaped, control characters and those that turn the direction of text are shown as one
/// sign (a log must not look other than it is).
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' => out.push('\t'),
            '\u{8}' | '\u{7}' | '\0' => {}
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                out.push('\u{fffd}')
            }
            c => out.push(c),
        }
    }
}

/// The 32 bytes before a line of a log with time stamps (`runner-api.md` §15.3).
struct Stamp {
    time: String,
    error: bool,
    continues: bool,
}

impl Stamp {
    const LENGTH: usize = 32;

    fn read(bytes: &[u8]) -> Option<Self> {
        const SHAPE: &[u8; 32] = b"0000-00-00T00:00:00.000000Z hhs+";
        let head = bytes.get(..Self::LENGTH)?;
        let fits = head.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'h' => byte.is_ascii_hexdigit(),
            b's' => matches!(byte, b'O' | b'E'),
            b'+' => matches!(byte, b' ' | b'+'),
            other => byte == other,
        });
        fits.then(|| Self {
            time: String::from_utf8_lossy(&head[11..19]).into_owned(),
            error: head[30] == b'E',
            continues: head[31] == b'+',
        })
    }
}

/// `section_start:1560896352:name[collapsed=true]\r\e[0K` (`runner-api.md` §15.2).
struct Marker {
    start: bool,
    seconds: i64,
    name: String,
    collapsed: bool,
    length: usize,
}

impl Marker {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (start, body) = match bytes.strip_prefix(b"section_start:") {
            Some(body) => (true, body),
            None => (false, bytes.strip_prefix(b"section_end:")?),
        };
        let digits = body.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let seconds = std::str::from_utf8(&body[..digits]).ok()?.parse().ok()?;
        let body = body[digits..].strip_prefix(b":")?;
        let long =
            body.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')).count();
        let (name, mut body) = body.split_at(long);
        if name.is_empty() {
            return None;
        }
        let mut collapsed = false;
        if let Some(options) = body.strip_prefix(b"[") {
            let end = options.iter().position(|byte| *byte == b']')?;
            let options = std::str::from_utf8(&options[..end]).ok()?;
            collapsed = options.split(',').any(|option| option.trim() == "collapsed=true");
            body = &body[end + 2..];
        }
        let rest = body.strip_prefix(b"\r\x1b[0K")?;
        Some(Self {
            start,
            seconds,
            name: String::from_utf8_lossy(name).into_owned(),
            collapsed,
            length: bytes.len() - rest.len(),
        })
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
