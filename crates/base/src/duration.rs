//! Go's duration strings (`1h15m`, `300ms`), as `config.toml` and `RUNNER_SCRIPT_TIMEOUT` write them.

use std::time::Duration;

/// Why a text is not a Go duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing there, or no digits where digits must be.
    #[error("invalid duration {text:?}: expected a number with a unit, such as 30s, 15m or 1h30m")]
    Invalid {
        /// The text as given.
        text: String,
    },
    /// A number without a unit.
    #[error("invalid duration {text:?}: missing unit, write {text}s for seconds")]
    MissingUnit {
        /// The text as given.
        text: String,
    },
    /// A unit Go does not know.
    #[error("invalid duration {text:?}: unknown unit {unit:?}, use ns, us, ms, s, m or h")]
    UnknownUnit {
        /// The text as given.
        text: String,
        /// The unit found.
        unit: String,
    },
    /// Below zero; no setting of ours means anything with it.
    #[error("invalid duration {text:?}: it is negative")]
    Negative {
        /// The text as given.
        text: String,
    },
}

/// Parses what Go's `time.ParseDuration` parses, negative values excepted.
pub fn parse_go_duration(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid { text: text.to_owned() };
    let mut rest = text.trim();
    let negative = rest.starts_with('-');
    rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..unit_end];
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "" => return Err(DurationError::MissingUnit { text: text.to_owned() }),
            _ => return Err(DurationError::UnknownUnit { text: text.to_owned(), unit: unit.to_owned() }),
        };
        nanos += number * scale;
        rest = &rest[unit_end..];
    }
    if negative && nanos > 0.0 {
        return Err(DurationError::Negative { text: text.to_owned() });
    }
    if nanos > 9.2e18 {
        return Err(invalid());
    }
    Ok(Duration::from_nanos(nanos as u64))
}

/// Writes a duration as Go prints it, whole seconds where possible (`1h0m0s`, `90ms`).
pub fn format_go_duration(value: Duration) -> String {
    let secs = value.as_secs();
    let sub = value.subsec_nanos();
    if secs == 0 {
        return match sub {
            0 => "0s".to_owned(),
            n if n % 1_000_000 == 0 => format!("{}ms", n / 1_000_000),
            n if n % 1_000 == 0 => format!("{}µs", n / 1_000),
            n => format!("{n}ns"),
        };
    }
    let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
    let seconds = if sub == 0 {
        format!("{s}s")
    } else {
        format!("{s}.{}s", format!("{sub:09}").trim_end_matches('0'))
    };
    match (h, m) {
        (0, 0) => seconds,
        (0, m) => format!("{m}m{seconds}"),
        (h, m) => format!("{h}h{m}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_go_parses() {
        for (text, millis) in [
            ("0", 0),
            ("5s", 5_000),
            ("1h15m", 4_500_000),
            ("1.5h", 5_400_000),
            ("300ms", 300),
            ("+2m", 120_000),
            ("1h0m0.5s", 3_600_500),
        ] {
            assert_eq!(parse_go_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_with_the_fix() {
        assert_eq!(parse_go_duration("15"), Err(DurationError::MissingUnit { text: "15".into() }));
        assert!(matches!(parse_go_duration("3d"), Err(DurationError::UnknownUnit { .. })));
        assert!(matches!(parse_go_duration("-3s"), Err(DurationError::Negative { .. })));
        for bad in ["", "s", "-", "1..5s"] {
            assert!(matches!(parse_go_duration(bad), Err(DurationError::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn prints_like_go() {
        for (millis, text) in
            [(0, "0s"), (90, "90ms"), (1_500, "1.5s"), (60_000, "1m0s"), (7_200_000, "2h0m0s")]
        {
            assert_eq!(format_go_duration(Duration::from_millis(millis)), text);
        }
    }
}
