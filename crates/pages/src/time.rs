//! Times and durations for people. Called by the views; the present time is given.

use crate::texts::Texts;
use maud::{Markup, html};

/// Milliseconds since 1970, UTC.
pub(crate) type Millis = i64;

/// Year, month, day, hour, minute, second (UTC; civil-from-days of the proleptic Gregorian calendar).
fn civil(at: Millis) -> (i64, i64, i64, i64, i64, i64) {
    let seconds = at.div_euclid(1000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
}

/// `2026-11-25T01:02:03Z`.
pub(crate) fn iso(at: Millis) -> String {
    let (year, month, day, hour, minute, second) = civil(at);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `5 min ago`, with the whole time on hover; the script shows it in the reader's time zone.
pub(crate) fn ago(at: Option<Millis>, now: Millis, t: &Texts) -> Markup {
    let Some(at) = at else { return html! { span.quiet { "–" } } };
    let seconds = (now - at) / 1000;
    let text = match seconds.abs() {
        0..=4 => t.just_now.to_owned(),
        5..=59 => format!("{seconds} {}", t.seconds_ago),
        60..=3599 => format!("{} {}", seconds / 60, t.minutes_ago),
        3600..=86_399 => format!("{} {}", seconds / 3600, t.hours_ago),
        _ => format!("{} {}", seconds / 86_400, t.days_ago),
    };
    // A time to come is shown whole.
    let text =
        if seconds < -4 { iso(at).replace('T', " ").trim_end_matches('Z').to_owned() + " UTC" } else { text };
    html! { time datetime=(iso(at)) title=(iso(at)) { (text) } }
}

/// A duration; one that goes on is counted further by the script.
pub(crate) fn clock(millis: Option<i64>, goes_on: bool, now: Millis) -> Markup {
    let since = millis.filter(|_| goes_on).map(|millis| now - millis);
    html! { span.clock data-since=[since] { (duration(millis)) } }
}

/// A duration given in milliseconds: `1:02:03`, `02:03`, as a clock shows it; below ten seconds `0.4 s`.
pub fn duration(millis: Option<i64>) -> String {
    match millis {
        None => "–".to_owned(),
        Some(millis) if millis < 0 => "–".to_owned(),
        Some(millis) if millis < 10_000 => format!("{:.1} s", millis as f64 / 1000.0),
        Some(millis) => {
            let seconds = millis / 1000;
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            if hours > 0 {
                format!("{hours}:{minutes:02}:{seconds:02}")
            } else {
                format!("{minutes:02}:{seconds:02}")
            }
        }
    }
}

/// `1.4 MiB`.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{size} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_795_568_523_000, "2026-11-25T01:02:03Z"),
            (-1000, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso(at), text);
        }
        for (millis, text) in [
            (None, "–"),
            (Some(-1), "–"),
            (Some(440), "0.4 s"),
            (Some(61_000), "01:01"),
            (Some(3_723_000), "1:02:03"),
        ] {
            assert_eq!(duration(millis), text);
        }
        assert_eq!(
            (bytes(12), bytes(1536), bytes(u64::MAX)),
            ("12 B".into(), "1.5 KiB".into(), "16777216.0 TiB".into())
        );
    }

    #[test]
    fn past_and_future() {
        let t = crate::Language::English.texts();
        for (at, text) in
            [(1_000_000, "just now"), (940_000, "1 min ago"), (1_600_000, "1970-01-01 00:26:40 UTC")]
        {
            assert!(ago(Some(at), 1_000_000, t).into_string().contains(text), "{text}");
        }
    }
}
