//! Time stamps (`runner-api.md` §15.3): each line of a stream with 32 bytes before it. Called by `pipe.rs` alone; it is
//! given valid UTF-8.

use harrier_base::Timestamp;
use memchr::{memchr, memrchr};

/// Longest line without its stamp; the rest goes into lines that continue it.
const LONGEST: usize = 8 * 1024;

/// Bytes before the text.
const HEAD: usize = 32;

/// State of one stream.
pub(crate) struct Stamper {
    /// ` 01O`
    label: [u8; 4],
    /// Text of the line that is not complete.
    line: Vec<u8>,
    /// When its first byte came.
    since: Timestamp,
    /// The next line continues the one before.
    continues: bool,
}

impl Stamper {
    /// For a stream with its number; `error`: the job's standard error.
    pub fn new(stream: u8, error: bool) -> Self {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).map_or(b'0', |c| c as u8);
        let label = [b' ', digit(stream >> 4), digit(stream & 15), if error { b'E' } else { b'O' }];
        Self { label, line: Vec::new(), since: Timestamp(0), continues: false }
    }

    /// Stamps what came with one write; whole lines go to `out`.
    pub fn feed(&mut self, text: &[u8], time: Timestamp, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let mut head = self.head(time);
        let mut rest = text;
        while let Some(at) = memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(at + 1);
            if self.line.is_empty() && line.len() <= LONGEST {
                head[HEAD - 1] = if self.continues { b'+' } else { b' ' };
                out.extend_from_slice(&head);
                out.extend_from_slice(line);
                self.continues = false;
            } else {
                self.keep(&line[..at], time, out);
                self.end_line(out, false);
            }
            rest = behind;
        }
        if !rest.is_empty() {
            self.keep(rest, time, out);
            if memrchr(b'\r', rest).is_some() {
                self.end_line(out, true);
            }
        }
    }

    /// Lets go of the line that is not complete.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.line.is_empty() {
            self.end_line(out, true);
        }
    }

    fn head(&self, time: Timestamp) -> [u8; HEAD] {
        let mut head = [b' '; HEAD];
        head[..27].copy_from_slice(&stamp(time));
        head[27..31].copy_from_slice(&self.label);
        if self.continues {
            head[HEAD - 1] = b'+';
        }
        head
    }

    fn keep(&mut self, mut text: &[u8], time: Timestamp, out: &mut Vec<u8>) {
        loop {
            if self.line.is_empty() {
                self.since = time;
            }
            let room = LONGEST - self.line.len();
            if text.len() <= room {
                self.line.extend_from_slice(text);
                return;
            }
            let mut cut = room;
            // Not within a character. A whole character that finds no room any more waits for the next line.
            while cut > 0 && text[cut] & 0xC0 == 0x80 {
                cut -= 1;
            }
            self.line.extend_from_slice(&text[..cut]);
            text = &text[cut..];
            self.end_line(out, true);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>, continues: bool) {
        out.extend_from_slice(&self.head(self.since));
        out.extend_from_slice(&self.line);
        out.push(b'\n');
        self.line.clear();
        self.continues = continues;
    }
}

/// `2006-01-02T15:04:05.000000Z`
fn stamp(time: Timestamp) -> [u8; 27] {
    let seconds = time.seconds();
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |at: usize, width: usize, mut value: u64| {
        for place in (at..at + width).rev() {
            out[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, second_of_day / 3600);
    put(14, 2, second_of_day / 60 % 60);
    put(17, 2, second_of_day % 60);
    put(20, 6, time.0 % 1_000_000);
    out
}

/// Year, month and day of a day since 1970-01-01. The year is counted from March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_772_356_527_042_318);

    fn lines(writes: &[&str]) -> String {
        let mut stamper = Stamper::new(1, false);
        let mut out = Vec::new();
        for write in writes {
            stamper.feed(write.as_bytes(), T, &mut out);
        }
        stamper.flush(&mut out);
        String::from_utf8(out).expect("text").replace("2026-03-01T09:15:27.042318Z 01O", "@")
    }

    #[test]
    fn runner_api_15_3_stamp() {
        for (micros, text) in [
            (1_772_356_527_042_318, "2026-03-01T09:15:27.042318Z"),
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_825_600_000_001, "2000-02-29T12:00:00.000001Z"),
            (1_709_251_200_000_000, "2024-03-01T00:00:00.000000Z"),
            (4_102_444_800_000_000, "2100-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(stamp(Timestamp(micros)), text.as_bytes());
        }
    }

    #[test]
    fn runner_api_15_3_lines_and_continuations() {
        for (writes, want) in [
            (&["text of the line\n"][..], "@ text of the line\n"),
            (&["a\nb\n"], "@ a\n@ b\n"),
            (&["a", "b\n"], "@ ab\n"),
            (&["a"], "@ a\n"),
            (&["\n\n"], "@ \n@ \n"),
            (&["10%\r", "20%\r", "done\n", "next\n"], "@ 10%\r\n@+20%\r\n@+done\n@ next\n"),
            (
                &["section_start:1:x\r\x1b[0K", "\x1b[36;1mTitle\n"],
                "@ section_start:1:x\r\x1b[0K\n@+\x1b[36;1mTitle\n",
            ),
            (&["a\r\nb\n"], "@ a\r\n@ b\n"),
            (&["a\r", "\nb\n"], "@ a\r\n@+\n@ b\n"),
        ] {
            assert_eq!(lines(writes), want, "{writes:?}");
        }
    }

    #[test]
    fn runner_api_15_3_a_line_of_more_than_8_kib() {
        let long = "x".repeat(LONGEST * 2 + 5);
        let want = format!("@ {0}\n@+{0}\n@+xxxxx\n@ y\n", "x".repeat(LONGEST));
        assert_eq!(lines(&[&format!("{long}\ny\n")]), want);
        assert_eq!(lines(&[&long[..100], &long[100..], "\ny", "\n"]), want);
        assert_eq!(lines(&[&"x".repeat(LONGEST), "\n"]), format!("@ {}\n", "x".repeat(LONGEST)));
        let wide = format!("{}é", "x".repeat(LONGEST - 1));
        assert_eq!(lines(&[&wide]), format!("@ {}\n@+é\n", "x".repeat(LONGEST - 1)));
    }

    #[test]
    fn runner_api_15_3_time_is_that_of_the_first_byte() {
        let mut stamper = Stamper::new(15, true);
        let mut out = Vec::new();
        stamper.feed(b"a", Timestamp(1), &mut out);
        stamper.feed(b"b\nc\n", Timestamp(2), &mut out);
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "1970-01-01T00:00:00.000001Z 0fE ab\n1970-01-01T00:00:00.000002Z 0fE c\n"
        );
    }
}
