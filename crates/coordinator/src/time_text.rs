//! Times as texts. Called wherever one is sent.

/// Milliseconds since 1970 as `2026-01-31T12:00:00.000Z`.
pub fn iso(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::iso;

    #[test]
    fn millis_are_shown() {
        assert_eq!(iso(1_700_000_000_045), "2023-11-14T22:13:20.045Z");
    }
}
