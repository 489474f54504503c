//! Finds the coverage in a log by the job's `coverage` expression (`ci-yaml.md` §18): the last match counts. Pure.

use regex::bytes::RegexBuilder;

/// The number found, as GitLab keeps it; `None` for no match and for an expression that is none.
pub fn find(pattern: &str, log: &[u8]) -> Option<String> {
    let expression = RegexBuilder::new(pattern).unicode(false).multi_line(true).size_limit(1 << 20).build();
    let expression =
        expression.or_else(|_| RegexBuilder::new(pattern).multi_line(true).size_limit(1 << 20).build());
    let expression = expression.ok()?;
    let plain = without_colours(log);
    let mut found = None;
    for line in plain.split(|b| *b == b'\n') {
        if let Some(captures) = expression.captures_iter(line).last() {
            let text = (1..captures.len()).rev().find_map(|at| captures.get(at)).or_else(|| captures.get(0));
            let number = text.and_then(|text| number(text.as_bytes()));
            found = number.or(found);
        }
    }
    found
}

/// The first number in a text.
fn number(text: &[u8]) -> Option<String> {
    let start = text.iter().position(u8::is_ascii_digit)?;
    let digits: Vec<u8> =
        text[start..].iter().copied().take_while(|b| b.is_ascii_digit() || *b == b'.').collect();
    let value: f64 = String::from_utf8(digits).ok()?.trim_end_matches('.').parse().ok()?;
    Some(format!("{value:.2}"))
}

/// Escape sequences would stand between the words.
fn without_colours(log: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(log.len());
    let mut at = 0;
    while at < log.len() {
        if log[at] == 0x1b && log.get(at + 1) == Some(&b'[') {
            at += 2;
            while at < log.len() && !(0x40..=0x7e).contains(&log[at]) {
                at += 1;
            }
            at += 1;
            continue;
        }
        out.push(log[at]);
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_last_match_counts() {
        for (pattern, log, want) in [
            (r"Coverage: \d+\.\d+%", "Coverage: 10.0%\nmore\nCoverage: 98.256%\n", Some("98.26")),
            (r"TOTAL.*\s(\d+)%", "TOTAL 1 2 87%\n", Some("87.00")),
            (r"total: \d+", "\u{1b}[32mtotal:\u{1b}[0m 5\n", Some("5.00")),
            (r"nothing (\d+)", "something 5\n", None),
            (r"(", "(", None),
        ] {
            assert_eq!(find(pattern, log.as_bytes()).as_deref(), want, "{pattern}");
        }
    }
}
