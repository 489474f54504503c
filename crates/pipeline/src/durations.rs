//! Durations in words (`ci-yaml.md` §27): `timeout`, `start_in`, `expire_in` and the like. Called by the keywords and
//! by whoever has to know when an artifact expires.

use std::time::Duration;

/// Seconds of a unit word.
fn unit(word: &str) -> Option<f64> {
    Some(match word {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "dy" | "day" | "days" => 86_400.0,
        "w" | "wk" | "wks" | "week" | "weeks" => 604_800.0,
        "mo" | "mos" | "month" | "months" => 2_592_000.0,
        "y" | "yr" | "yrs" | "year" | "years" => 31_557_600.0,
        _ => return None,
    })
}

/// A number word.
fn number_word(word: &str) -> Option<f64> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    if let Some(at) = SMALL.iter().position(|w| *w == word) {
        return Some(at as f64);
    }
    TENS.iter().position(|w| *w == word).map(|at| (at as f64 + 2.0) * 10.0)
}

/// Parses a duration; `None` if it is no duration or not more than nothing.
///
/// ```
/// use harrier_pipeline::parse_duration;
/// use std::time::Duration;
/// assert_eq!(parse_duration("1h 30m"), Some(Duration::from_secs(5400)));
/// assert_eq!(parse_duration("half an hour"), None);
/// ```
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim().to_lowercase();
    let seconds = match clock(&text) {
        Some(seconds) => seconds,
        None => words(&text)?,
    };
    // Whole seconds, as the original counts.
    let seconds = seconds.round();
    if !(1.0..1e12).contains(&seconds) {
        return None;
    }
    Some(Duration::from_secs(seconds as u64))
}

/// `1:20:30`, from the right: seconds, minutes, hours, days.
fn clock(text: &str) -> Option<f64> {
    if !text.contains(':') {
        return None;
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 4 || parts.iter().any(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let scales = [1.0, 60.0, 3600.0, 86_400.0];
    parts.iter().rev().zip(scales).map(|(part, scale)| part.parse::<f64>().ok().map(|n| n * scale)).sum()
}

fn words(text: &str) -> Option<f64> {
    let mut sum = 0.0;
    let mut number: Option<f64> = None;
    let mut seen = false;
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if first.is_ascii_digit() || first == '.' {
            rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len())
        } else if first.is_alphabetic() {
            rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())
        } else if first == ',' || first.is_whitespace() || (first == '-' && number.is_some()) {
            rest = &rest[first.len_utf8()..];
            continue;
        } else {
            return None;
        };
        let word = &rest[..end];
        rest = &rest[end..];
        if first.is_ascii_digit() || first == '.' {
            if number.is_some() {
                return None;
            }
            number = Some(word.parse().ok()?);
        } else if let Some(value) = number_word(word) {
            number = Some(number.unwrap_or(0.0) + value);
        } else if let Some(scale) = unit(word) {
            sum += number.take().unwrap_or(1.0) * scale;
            seen = true;
        } else if !matches!(word, "and" | "with" | "plus") {
            return None;
        }
    }
    match number {
        // A bare number is seconds; behind a unit it means nothing.
        Some(number) if !seen => Some(number),
        Some(_) => None,
        None => seen.then_some(sum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §27
    #[test]
    fn table() {
        for (text, want) in [
            ("42", Some(42)),
            ("1m 3s", Some(63)),
            ("1 min 3 sec", Some(63)),
            ("1 minute and 3 seconds", Some(63)),
            ("2h20min", Some(8400)),
            ("2 hrs 20 min", Some(8400)),
            ("1:20:30", Some(4830)),
            ("1.5 hours", Some(5400)),
            ("one hour", Some(3600)),
            ("twenty five minutes", Some(1500)),
            ("day", Some(86_400)),
            ("3 weeks and 2 days", Some(1_987_200)),
            ("1 mo", Some(2_592_000)),
            ("1 Month", Some(2_592_000)),
            ("1 yr", Some(31_557_600)),
            ("6 mos 1 day", Some(15_638_400)),
            ("1h, 2m", Some(3720)),
            ("a day", None),
            ("half hour", None),
            ("-1 hour", None),
            ("0", None),
            ("0 days", None),
            ("", None),
            ("10 bananas", None),
            ("1:2:3:4:5", None),
            ("1 2", None),
        ] {
            assert_eq!(parse_duration(text), want.map(Duration::from_secs), "{text}");
        }
    }
}
