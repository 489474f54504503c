//! When a schedule runs next: five fields of cron in a time zone, as GitLab's users write them (`0 4 * * 1-5`, `@daily`,
//! `*/15 * * * * Europe/Berlin`, `0 9 L * *`, `0 9 * * MON#1`). Called for the schedules alone. Pure: the present is given.

use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// Days looked ahead: a 29th of February that is a certain weekday comes every 28 years, or every 40 over 2100.
const DAYS_AHEAD: u32 = 41 * 366;

/// What is wrong with a schedule's time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error(
        "`{0}` is no cron expression: five fields are needed (minute, hour, day of the month, month, day of the week), like `0 4 * * 1-5`"
    )]
    Fields(String),
    /// A part of a field.
    #[error(
        "`{part}` in the field for the {field} is not understood: it takes {range}, lists `a,b`, ranges `a-b` and steps `*/n`"
    )]
    Part {
        /// Which field.
        field: &'static str,
        /// What is in it.
        part: String,
        /// What it takes.
        range: &'static str,
    },
    /// The zone.
    #[error("the time zone `{0}` is not known: it needs a name like `Europe/Berlin` or `UTC`")]
    Zone(String),
    /// `0 0 31 2 *`.
    #[error("`{0}` never comes")]
    Never(String),
}

/// A cron expression in its time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    weekdays: Weekdays,
    zone: TimeZone,
}

#[derive(Clone, Debug, Default)]
struct Days {
    any: bool,
    set: u64,
    /// Counted from the end: bit 1 is the last day.
    from_end: u64,
}

#[derive(Clone, Debug, Default)]
struct Weekdays {
    any: bool,
    /// Sunday is 0.
    set: u64,
    /// Weekday and which of the month: 1 to 5, or -1 to -5 from the end.
    nth: Vec<(u8, i8)>,
}

impl Cron {
    /// Reads an expression; a zone at its end goes before `zone`. Rails' names of zones (`Berlin`) are understood where they
    /// are the last part of a zone's own name.
    pub fn parse(text: &str, zone: &str) -> Result<Self, CronError> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let mut zone_name = zone.trim();
        if words.len() == 6 || (words.len() == 2 && words[0].starts_with('@')) {
            zone_name = words.pop().unwrap_or(zone_name);
        }
        let fields: Vec<&str> = match words.as_slice() {
            ["@yearly" | "@annually"] => vec!["0", "0", "1", "1", "*"],
            ["@monthly"] => vec!["0", "0", "1", "*", "*"],
            ["@weekly"] => vec!["0", "0", "*", "*", "0"],
            ["@daily" | "@midnight"] => vec!["0", "0", "*", "*", "*"],
            ["@noon"] => vec!["0", "12", "*", "*", "*"],
            ["@hourly"] => vec!["0", "*", "*", "*", "*"],
            _ => words,
        };
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(CronError::Fields(text.to_owned()));
        };
        let cron = Self {
            minutes: MINUTE.set(minute)?,
            hours: HOUR.set(hour)?,
            months: MONTH.set(month)?,
            days: Days::parse(day)?,
            weekdays: Weekdays::parse(weekday)?,
            zone: find_zone(zone_name)?,
        };
        match cron.after(0) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never(text.to_owned())),
        }
    }

    /// The first time after `now`, both in milliseconds since 1970. A local time that a clock change leaves out is left
    /// out, one that comes twice counts once. `None`: it never comes, or the calendar ends.
    pub fn after(&self, now: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(now).ok()?;
        let mut date = self.zone.to_datetime(now).date();
        for _ in 0..DAYS_AHEAD {
            if self.on(date) {
                for hour in (0..24).filter(|hour| self.hours & 1 << hour != 0) {
                    for minute in (0..60).filter(|minute| self.minutes & 1 << minute != 0) {
                        let local = date.at(hour, minute, 0, 0);
                        let offset = match self.zone.to_ambiguous_timestamp(local).offset() {
                            AmbiguousOffset::Unambiguous { offset } => offset,
                            AmbiguousOffset::Fold { before, .. } => before,
                            AmbiguousOffset::Gap { .. } => continue,
                        };
                        let at = offset.to_timestamp(local).ok()?;
                        if at > now {
                            return Some(at.as_millisecond());
                        }
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    /// Whether it runs on a day. As in every cron: when both kinds of day are restricted, one is enough.
    fn on(&self, date: Date) -> bool {
        if self.months & 1 << date.month() == 0 {
            return false;
        }
        match (self.days.any, self.weekdays.any) {
            (true, true) => true,
            (true, false) => self.weekdays.has(date),
            (false, true) => self.days.has(date),
            (false, false) => self.days.has(date) || self.weekdays.has(date),
        }
    }
}

fn find_zone(name: &str) -> Result<TimeZone, CronError> {
    if name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    if let Ok(zone) = TimeZone::get(name) {
        return Ok(zone);
    }
    let wanted = name.replace(' ', "_");
    let database = jiff::tz::db();
    let full = database.available().find(|full| full.as_str().rsplit('/').next() == Some(wanted.as_str()));
    full.and_then(|full| TimeZone::get(full.as_str()).ok()).ok_or_else(|| CronError::Zone(name.to_owned()))
}

/// A field of numbers.
struct Field {
    name: &'static str,
    range: &'static str,
    low: u8,
    high: u8,
    words: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", range: "0 to 59", low: 0, high: 59, words: &[] };
const HOUR: Field = Field { name: "hour", range: "0 to 24", low: 0, high: 24, words: &[] };
const DAY: Field =
    Field { name: "day of the month", range: "1 to 31, -1 to -31 or L", low: 1, high: 31, words: &[] };
const MONTH: Field = Field {
    name: "month",
    range: "1 to 12 or JAN to DEC",
    low: 1,
    high: 12,
    words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Field = Field {
    name: "day of the week",
    range: "0 to 7, SUN to SAT, MON#1 or MON#L",
    low: 0,
    high: 7,
    words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Field {
    fn bad(&self, part: &str) -> CronError {
        CronError::Part { field: self.name, part: part.to_owned(), range: self.range }
    }

    fn number(&self, text: &str, whole: &str) -> Result<u8, CronError> {
        if let Some(at) =
            self.words.iter().position(|word| text.get(..3).is_some_and(|t| t.eq_ignore_ascii_case(word)))
        {
            // Long names are fine too: `Monday`, `january`.
            if text.chars().all(|c| c.is_ascii_alphabetic()) {
                return Ok(u8::try_from(at).unwrap_or(0) + self.low.min(1));
            }
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = if digits { text.parse().ok() } else { None };
        value.filter(|value| (self.low..=self.high).contains(value)).ok_or_else(|| self.bad(whole))
    }

    /// One part: `*`, `5`, `1-5`, `22-2`, `*/15`, `10-40/5`, `5/10`.
    fn part(&self, part: &str) -> Result<u64, CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step: u8 = step.parse().ok().filter(|step| *step > 0).ok_or_else(|| self.bad(part))?;
                (range, step)
            }
            None => (part, 1),
        };
        // The values that count: 24 is 0, and so is a Sunday that is called 7.
        let top = self.high.min(match self.high {
            24 => 23,
            7 => 6,
            high => high,
        });
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (self.low, top),
            Some((first, last)) => (self.number(first, part)?, self.number(last, part)?),
            None => {
                let first = self.number(range, part)?;
                (first, if part.contains('/') { top.max(first) } else { first })
            }
        };
        // Over the end and on from the beginning: `FRI-MON`, `22-2`.
        let long = u16::from(top - self.low) + 1;
        let wraps = first > last;
        let end = u16::from(last) + if wraps { long } else { 0 };
        let mut set = 0;
        for value in (u16::from(first)..=end).step_by(usize::from(step)) {
            set |= 1 << (u16::from(self.low) + (value - u16::from(self.low)) % long);
        }
        Ok(set)
    }

    fn set(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }
}

impl Days {
    fn parse(text: &str) -> Result<Self, CronError> {
        let mut days = Self { any: text == "*" || text == "?", ..Self::default() };
        for part in text.split(',') {
            let from_end = match part {
                "L" | "l" | "last" => Some(1),
                part => match part.strip_prefix('-') {
                    Some(count) => Some(DAY.number(count, part)?),
                    None => None,
                },
            };
            match from_end {
                Some(count) => days.from_end |= 1 << count,
                None => days.set |= DAY.part(part)?,
            }
        }
        Ok(days)
    }

    fn has(&self, date: Date) -> bool {
        let to_end = date.days_in_month() - date.day() + 1;
        self.set & 1 << date.day() != 0 || self.from_end & 1 << to_end != 0
    }
}

impl Weekdays {
    fn parse(text: &str) -> Result<Self, CronError> {
        let mut days = Self { any: text == "*" || text == "?", ..Self::default() };
        for part in text.split(',') {
            match part.split_once('#') {
                Some((day, which)) => {
                    let which = match which {
                        "L" | "l" | "last" => Some(-1),
                        which => which.parse().ok(),
                    };
                    let which: i8 =
                        which.filter(|n| (1..=5).contains(&i8::abs(*n))).ok_or_else(|| WEEKDAY.bad(part))?;
                    days.nth.push((WEEKDAY.number(day, part)? % 7, which));
                }
                None => days.set |= WEEKDAY.part(part)?,
            }
        }
        Ok(days)
    }

    fn has(&self, date: Date) -> bool {
        let weekday = Weekday::to_sunday_zero_offset(date.weekday());
        let from_begin = (date.day() - 1) / 7 + 1;
        let from_end = (date.days_in_month() - date.day()) / 7 + 1;
        let nth = |(day, which): &(u8, i8)| {
            i8::try_from(*day) == Ok(weekday) && (*which == from_begin || *which == -from_end)
        };
        self.set & 1 << weekday != 0 || self.nth.iter().any(nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_millisecond()
    }

    fn next(cron: &str, zone: &str, after: &str) -> String {
        let cron = Cron::parse(cron, zone).unwrap_or_else(|error| panic!("{error}"));
        let at = cron.after(millis(after)).expect("it comes");
        Timestamp::from_millisecond(at).expect("it is a time").to_string()
    }

    #[test]
    fn the_next_time() {
        for (cron, zone, after, expected) in [
            ("0 4 * * *", "UTC", "2026-11-25T03:59:59Z", "2026-11-25T04:00:00Z"),
            ("0 4 * * *", "UTC", "2026-11-25T04:00:00Z", "2026-11-26T04:00:00Z"),
            ("0 4 * * *", "", "2026-11-25T04:00:00Z", "2026-11-26T04:00:00Z"),
            ("*/15 * * * *", "UTC", "2026-11-25T03:16:00Z", "2026-11-25T03:30:00Z"),
            ("5/20 * * * *", "UTC", "2026-11-25T03:26:00Z", "2026-11-25T03:45:00Z"),
            ("0 0 1 1 *", "UTC", "2026-11-25T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("@daily", "Asia/Shanghai", "2026-11-25T00:00:00Z", "2026-11-25T16:00:00Z"),
            ("@daily Asia/Shanghai", "UTC", "2026-11-25T00:00:00Z", "2026-11-25T16:00:00Z"),
            ("0 9 * * 1-5", "UTC", "2026-11-27T10:00:00Z", "2026-11-30T09:00:00Z"),
            ("0 9 * * MON,wed", "UTC", "2026-11-25T10:00:00Z", "2026-11-30T09:00:00Z"),
            ("0 9 * * 7", "UTC", "2026-11-25T10:00:00Z", "2026-11-29T09:00:00Z"),
            ("0 9 * * FRI-MON", "UTC", "2026-11-29T10:00:00Z", "2026-11-30T09:00:00Z"),
            ("0 22-2 * * *", "UTC", "2026-11-25T23:30:00Z", "2026-11-26T00:00:00Z"),
            ("0 9 L * *", "UTC", "2026-02-01T00:00:00Z", "2026-02-28T09:00:00Z"),
            ("0 9 -2 * *", "UTC", "2026-02-01T00:00:00Z", "2026-02-27T09:00:00Z"),
            ("0 9 * * MON#1", "UTC", "2026-11-25T00:00:00Z", "2026-12-07T09:00:00Z"),
            ("0 9 * * FRI#L", "UTC", "2026-11-01T00:00:00Z", "2026-11-27T09:00:00Z"),
            // Both kinds of day: one is enough.
            ("0 0 13 * FRI", "UTC", "2026-11-25T00:00:00Z", "2026-11-27T00:00:00Z"),
            ("0 0 29 2 *", "UTC", "2026-11-25T00:00:00Z", "2028-02-29T00:00:00Z"),
            // The clock skips from 2:00 to 3:00: that day is left out.
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
            // And goes back from 3:00 to 2:00: 2:30 comes once.
            ("30 2 * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            ("0 4 * * *", "Berlin", "2026-07-01T00:00:00Z", "2026-07-01T02:00:00Z"),
            ("0 24 * * *", "UTC", "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z"),
        ] {
            assert_eq!(next(cron, zone, after), expected, "{cron} {zone} after {after}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (cron, zone, says) in [
            ("", "UTC", "five fields"),
            ("* * * *", "UTC", "five fields"),
            ("60 * * * *", "UTC", "`60` in the field for the minute"),
            ("*/0 * * * *", "UTC", "`*/0`"),
            ("* 25 * * *", "UTC", "hour"),
            ("* * 0 * *", "UTC", "day of the month"),
            ("* * * 13 *", "UTC", "JAN to DEC"),
            ("* * * * MON#6", "UTC", "MON#6"),
            ("* * * * x", "UTC", "day of the week"),
            ("1-2-3 * * * *", "UTC", "1-2-3"),
            ("0 4 * * *", "Atlantis", "Atlantis"),
            ("0 0 31 2 *", "UTC", "never comes"),
            ("é * * * *", "UTC", "minute"),
        ] {
            let error = Cron::parse(cron, zone).expect_err(cron).to_string();
            assert!(error.contains(says), "{cron}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[0-9*,/#L a-z@?-]{0,20}", zone in "[A-Za-z/]{0,6}") {
            if let Ok(cron) = Cron::parse(&text, &zone) {
                let first = cron.after(1_795_000_000_000).expect("it comes");
                prop_assert!(first > 1_795_000_000_000);
                prop_assert!(cron.after(first).is_none_or(|second| second > first));
            }
        }
    }
}
