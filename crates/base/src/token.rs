//! The short form of a token that may be shown in logs, names and paths (`runner-api.md` §2.8).

/// Strips the known prefixes, then takes the first nine characters.
pub fn short_token(token: &str) -> &str {
    let partition = |rest: &'_ str| -> usize {
        if ["t1_", "t2_", "t3_"].iter().any(|p| rest.starts_with(p)) { 3 } else { 0 }
    };
    let skip = if let Some(rest) = token.strip_prefix("glrt-") {
        5 + partition(rest)
    } else if token.starts_with("glrtr-") || token.starts_with("glcbt-") {
        6
    } else if token.starts_with("GR")
        && token.len() >= 9
        && token.as_bytes()[2..9].iter().all(u8::is_ascii_hexdigit)
    {
        9
    } else {
        partition(token)
    };
    let rest = &token[skip..];
    let end = rest.char_indices().nth(9).map_or(rest.len(), |(at, _)| at);
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::short_token;

    #[test]
    fn strips_prefixes_and_cuts() {
        for (token, short) in [
            ("glrt-t1_aBcDeFgHiJkLmNo", "aBcDeFgHi"),
            ("glrt-abc", "abc"),
            ("t2_Xk3vJ0e8q2mS", "Xk3vJ0e8q"),
            ("GR1348941Zyxwvutsrq", "Zyxwvutsr"),
            ("glcbt-64_q9ZsT3vKx2", "64_q9ZsT3"),
            ("GRzz", "GRzz"),
            ("", ""),
            ("ünïcödé-tøkén", "ünïcödé-t"),
        ] {
            assert_eq!(short_token(token), short, "{token}");
        }
    }
}
