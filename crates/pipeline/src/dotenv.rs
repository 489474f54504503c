//! Texts of `KEY=VALUE` lines: the dotenv report of a job (`ci-yaml.md` §19) and the user's variables files. Pure. Called by the hosts, which
//! unpack reports first.

/// Most bytes of a report.
pub const REPORT_BYTES: usize = 5 * 1024;

/// Most variables of a report.
pub const REPORT_VARIABLES: usize = 20;

/// Why such a text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DotenvError {
    /// Too long.
    #[error("the dotenv report has more than {REPORT_BYTES} bytes; put large values into an artifact")]
    TooLong,
    /// Too many.
    #[error("the dotenv report has {0} variables, {REPORT_VARIABLES} are allowed")]
    TooMany(usize),
    /// Other bytes than text.
    #[error("the dotenv report is not UTF-8")]
    NotText,
    /// A line breaks the form.
    #[error("line {line} is not KEY=VALUE with letters, digits and _ in the key: {text:?}")]
    Line {
        /// From 1.
        line: usize,
        /// As written.
        text: String,
    },
}

/// A report, unpacked.
pub fn parse_report(plain: &[u8]) -> Result<Vec<(String, String)>, DotenvError> {
    if plain.len() > REPORT_BYTES {
        return Err(DotenvError::TooLong);
    }
    let text = std::str::from_utf8(plain).map_err(|_| DotenvError::NotText)?;
    let mut out: Vec<(String, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (key, value) = pair(line).ok_or_else(|| DotenvError::Line { line: at + 1, text: line.into() })?;
        out.retain(|(k, _)| *k != key);
        out.push((key, value));
    }
    if out.len() > REPORT_VARIABLES {
        return Err(DotenvError::TooMany(out.len()));
    }
    Ok(out)
}

/// A user's file: empty lines and lines that begin with `#` are passed over, one pair of quotes around a value goes.
pub fn parse_file(text: &str) -> Result<Vec<(String, String)>, DotenvError> {
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let trimmed = trimmed.strip_prefix("export ").unwrap_or(trimmed);
        let (key, value) =
            pair(trimmed).ok_or_else(|| DotenvError::Line { line: at + 1, text: line.into() })?;
        let bare = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote).and_then(|v| v.strip_suffix(*quote)))
            .map(str::to_owned);
        out.push((key, bare.unwrap_or(value)));
    }
    Ok(out)
}

/// `KEY=VALUE`, trimmed.
pub fn pair(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let fits = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    fits.then(|| (key.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_follow_the_rules() {
        let parsed = parse_report(b"A=1\n B = x=y \nA=\"2\"\n").expect("fine");
        assert_eq!(parsed, [("B".into(), "x=y".into()), ("A".into(), "\"2\"".into())]);
        assert_eq!(parse_report(b""), Ok(vec![]));
        for (bytes, why) in [
            (&b"A=1\n\nB=2"[..], DotenvError::Line { line: 2, text: "".into() }),
            (b"# no", DotenvError::Line { line: 1, text: "# no".into() }),
            (b"A-B=1", DotenvError::Line { line: 1, text: "A-B=1".into() }),
            (b"A=\xff", DotenvError::NotText),
        ] {
            assert_eq!(parse_report(bytes), Err(why));
        }
        assert_eq!(parse_report(format!("A={}", "x".repeat(6000)).as_bytes()), Err(DotenvError::TooLong));
        let many: String = (0..21).map(|n| format!("V{n}=1\n")).collect();
        assert_eq!(parse_report(many.as_bytes()), Err(DotenvError::TooMany(21)));
    }

    #[test]
    fn files_are_more_lenient() {
        let text = "# note\n\nA=1\nexport B=\"two words\"\nC='x'\n";
        let want = [("A", "1"), ("B", "two words"), ("C", "x")];
        let parsed = parse_file(text).expect("fine");
        assert!(parsed.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(want));
        assert!(parse_file("what\n").is_err());
    }
}
