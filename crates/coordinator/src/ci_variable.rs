//! What a CI variable may be called and hold, as GitLab has it. Pure; called by the API, the pages and the forms that take
//! variables.

/// Whether a text can be a key.
pub fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a value can be masked: one line, eight characters or more, no spaces.
pub fn can_be_masked(value: &str) -> bool {
    value.chars().count() >= 8 && !value.contains(char::is_whitespace)
}

/// Lines of `KEY=value`; the line that is none is told.
pub fn key_values(text: &str) -> Result<Vec<(String, String)>, String> {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    lines
        .map(|line| match line.split_once('=') {
            Some((key, value)) if is_key(key.trim()) => Ok((key.trim().to_owned(), value.to_owned())),
            _ => Err(format!("`{line}` is no variable: it needs to be KEY=value")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values() {
        for (key, good) in
            [("A_b1", true), ("", false), ("A-B", false), ("ü", false), (&"x".repeat(256), false)]
        {
            assert_eq!(is_key(key), good, "{key}");
        }
        for (value, good) in
            [("12345678", true), ("1234567", false), ("1234 5678", false), ("12345678\n", false)]
        {
            assert_eq!(can_be_masked(value), good, "{value:?}");
        }
        assert_eq!(
            key_values("A=1\n\n B = x=y \r\n"),
            Ok(vec![("A".into(), "1".into()), ("B".into(), " x=y".into())])
        );
        assert!(key_values("A").expect_err("no value").contains("`A`"));
    }
}
