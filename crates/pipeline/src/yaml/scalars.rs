//! Plain scalars to values as Ruby's Psych resolves them in safe mode (`ci-yaml.md` §1.2): YAML 1.1 with Psych's own
//! turns. Pure tables; called by the loader.

use super::node::Value;

/// Why a scalar makes the whole load fail: it would become an object of this Ruby class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disallowed(pub &'static str);

/// The value of a plain scalar without a tag.
pub(super) fn resolve(text: &str) -> Result<Value, Disallowed> {
    let string = || Ok(Value::Text(text.into()));
    if text.is_empty() {
        return Ok(Value::Null);
    }
    if looks_like_words(text) {
        if text.chars().count() > 5 {
            return string();
        }
        return match text.to_ascii_lowercase().as_str() {
            "~" | "null" => Ok(Value::Null),
            "yes" | "true" | "on" => Ok(Value::Bool(true)),
            "no" | "false" | "off" => Ok(Value::Bool(false)),
            _ => string(),
        };
    }
    if is_time(text) {
        return Err(Disallowed("Time"));
    }
    if is_date(text) {
        return Err(Disallowed("Date"));
    }
    match text.to_ascii_lowercase().as_str() {
        ".inf" | "+.inf" => return Ok(Value::Float(f64::INFINITY)),
        "-.inf" => return Ok(Value::Float(f64::NEG_INFINITY)),
        ".nan" => return Ok(Value::Float(f64::NAN)),
        _ => {}
    }
    if let Some(symbol) = text.strip_prefix(':')
        && !symbol.is_empty()
    {
        let quoted = ['"', '\''].iter().find_map(|q| symbol.strip_prefix(*q)?.strip_suffix(*q));
        return Ok(Value::Text(quoted.filter(|s| !s.is_empty()).unwrap_or(symbol).into()));
    }
    if let Some(value) = base_60(text) {
        return Ok(value);
    }
    if let Some(float) = float(text) {
        return Ok(Value::Float(float));
    }
    match integer(text) {
        Some(Ok(int)) => Ok(Value::Int(int)),
        Some(Err(digits)) => Ok(Value::Text(digits.into())),
        None => string(),
    }
}

/// Psych's quick test: `^[^\d.:-]?[[:alpha:]_\s!@#$%\^&*(){}<>|/\\~;=]+` or more than one line.
fn looks_like_words(text: &str) -> bool {
    let word = |c: char| {
        c.is_alphabetic() || c.is_ascii_whitespace() || "_!@#$%^&*(){}<>|/\\~;=".contains(c) || c == '\u{b}'
    };
    if text.contains('\n') {
        return true;
    }
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    if word(first) {
        return true;
    }
    !(first.is_ascii_digit() || matches!(first, '.' | ':' | '-')) && chars.next().is_some_and(word)
}

/// Takes between `min` and `max` digits.
fn digits<'a>(rest: &mut &'a str, min: usize, max: usize) -> Option<&'a str> {
    let len = rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if len < min {
        return None;
    }
    let (taken, left) = rest.split_at(len);
    *rest = left;
    Some(taken)
}

fn eat(rest: &mut &str, any: &[char]) -> Option<()> {
    *rest = rest.strip_prefix(any)?;
    Some(())
}

fn is_date(text: &str) -> bool {
    fn check(mut rest: &str) -> Option<bool> {
        digits(&mut rest, 4, 4)?;
        eat(&mut rest, &['-'])?;
        let month = digits(&mut rest, 1, 2)?;
        eat(&mut rest, &['-'])?;
        let day = digits(&mut rest, 1, 2)?;
        let month: u8 = month.parse().ok()?;
        let day: u8 = day.parse().ok()?;
        Some(rest.is_empty() && month <= 12 && day <= 31)
    }
    check(text).unwrap_or(false)
}

fn is_time(text: &str) -> bool {
    fn check(text: &str) -> Option<bool> {
        let mut rest = text.strip_prefix('-').unwrap_or(text);
        digits(&mut rest, 4, 4)?;
        eat(&mut rest, &['-'])?;
        digits(&mut rest, 1, 2)?;
        eat(&mut rest, &['-'])?;
        digits(&mut rest, 1, 2)?;
        if eat(&mut rest, &['T', 't']).is_none() {
            let trimmed = rest.trim_start();
            if trimmed.len() == rest.len() {
                return None;
            }
            rest = trimmed;
        }
        digits(&mut rest, 1, 2)?;
        eat(&mut rest, &[':'])?;
        digits(&mut rest, 2, 2)?;
        eat(&mut rest, &[':'])?;
        digits(&mut rest, 2, 2)?;
        if eat(&mut rest, &['.']).is_some() {
            digits(&mut rest, 0, usize::MAX)?;
        }
        rest = rest.trim_start();
        if rest.is_empty() || rest == "Z" {
            return Some(true);
        }
        eat(&mut rest, &['+', '-'])?;
        digits(&mut rest, 1, 2)?;
        let _ = eat(&mut rest, &[':']);
        Some(rest.is_empty() || digits(&mut rest, 2, 2).is_some() && rest.is_empty())
    }
    check(text).unwrap_or(false)
}

/// `1:30` and `1:30:15`, with or without a fraction; Psych counts from hours even when there are two parts.
fn base_60(text: &str) -> Option<Value> {
    let (body, fraction) = match text.split_once('.') {
        Some((body, fraction)) => (body, Some(fraction)),
        None => (text, None),
    };
    if fraction.is_some_and(|f| !f.bytes().all(|b| b.is_ascii_digit() || b == b'_')) {
        return None;
    }
    let negative = body.starts_with('-');
    let unsigned = body.strip_prefix(['-', '+']).unwrap_or(body);
    let parts: Vec<&str> = unsigned.split(':').collect();
    let head = parts[0];
    if !(2..=3).contains(&parts.len())
        || !head.starts_with(|c: char| c.is_ascii_digit())
        || !head.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return None;
    }
    for part in &parts[1..] {
        let ok = match part.as_bytes() {
            [b'0'..=b'9'] => true,
            [tens, ones] => (b'0'..=b'5').contains(tens) && ones.is_ascii_digit(),
            _ => false,
        };
        if !ok {
            return None;
        }
    }
    let number = |part: &str| part.replace('_', "").parse::<i64>().unwrap_or(i64::MAX);
    let mut sum = 0i64;
    for (at, part) in parts.iter().enumerate() {
        let scale = 60i64.pow(2u32.saturating_sub(u32::try_from(at).unwrap_or(2)));
        let value = number(part).saturating_mul(scale);
        // Only the first part carries the sign.
        sum = sum.saturating_add(if negative && at == 0 { -value } else { value });
    }
    let Some(fraction) = fraction else { return Some(Value::Int(sum)) };
    let scale = 60f64.powi(3 - i32::try_from(parts.len()).unwrap_or(3));
    let part = format!("0.{}0", fraction.replace('_', "")).parse::<f64>().unwrap_or(0.0) * scale;
    Some(Value::Float(sum as f64 + part))
}

/// `[-+]?([0-9][0-9_,]*)?\.[0-9]*([eE][+-]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, rest) = unsigned.split_once('.')?;
    if !whole.is_empty() && !whole.starts_with(|c: char| c.is_ascii_digit())
        || !whole.bytes().all(|b| b.is_ascii_digit() || b == b'_' || b == b',')
    {
        return None;
    }
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = whole.replace(['_', ','], "");
    let sign = if text.starts_with('-') { "-" } else { "" };
    let exponent = exponent.map(|e| format!("e{e}")).unwrap_or_default();
    format!("{sign}{}.{}{exponent}", if whole.is_empty() { "0" } else { &whole }, format_args!("{fraction}0"))
        .parse()
        .ok()
}

/// Psych's integers: binary, octal, decimal, hexadecimal with `_` and `,`. `Err` holds the digits of one that does
/// not fit.
fn integer(text: &str) -> Option<Result<i64, String>> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let of = |digits: &str, radix: u32, allowed: &dyn Fn(u8) -> bool| {
        if digits.is_empty() || !digits.bytes().all(|b| allowed(b) || b == b'_' || b == b',') {
            return None;
        }
        let clean = digits.replace(['_', ','], "");
        if clean.is_empty() {
            return None;
        }
        let signed = if negative { format!("-{clean}") } else { clean };
        Some(i64::from_str_radix(&signed, radix).map_err(|_| signed))
    };
    if let Some(digits) = unsigned.strip_prefix("0b") {
        return of(digits, 2, &|b| matches!(b, b'0' | b'1'));
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return of(digits, 16, &|b| b.is_ascii_hexdigit());
    }
    if unsigned == "0" {
        return Some(Ok(0));
    }
    if let Some(digits) = unsigned.strip_prefix('0') {
        return match of(digits, 8, &|b| (b'0'..=b'7').contains(&b)) {
            None if !digits.is_empty() && digits.bytes().all(|b| b == b'_' || b == b',') => Some(Ok(0)),
            other => other,
        };
    }
    let bytes = unsigned.as_bytes();
    if !bytes.first().is_some_and(|b| (b'1'..=b'9').contains(b)) {
        return None;
    }
    // A separator stands between digits.
    let separated = bytes.windows(2).all(|w| w[0].is_ascii_digit() || w[1].is_ascii_digit())
        && bytes.last().is_some_and(u8::is_ascii_digit);
    if !separated {
        return None;
    }
    of(unsigned, 10, &|b| b.is_ascii_digit())
}

/// A float as Ruby's `to_s` writes it.
pub(crate) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = if mantissa.contains('.') { mantissa.to_owned() } else { format!("{mantissa}.0") };
    match exponent.strip_prefix('-') {
        Some(digits) => format!("{mantissa}e-{digits:0>2}"),
        None => format!("{mantissa}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match resolve(text) {
            Ok(Value::Null) => "null".into(),
            Ok(Value::Bool(b)) => format!("bool {b}"),
            Ok(Value::Int(i)) => format!("int {i}"),
            Ok(Value::Float(f)) => format!("float {}", float_text(f)),
            Ok(Value::Text(t)) => format!("text {t}"),
            Ok(other) => format!("{other:?}"),
            Err(Disallowed(class)) => format!("class {class}"),
        }
    }

    /// §1.2
    #[test]
    fn psych_table() {
        for (text, want) in [
            ("yes", "bool true"),
            ("No", "bool false"),
            ("ON", "bool true"),
            ("off", "bool false"),
            ("True", "bool true"),
            ("FALSE", "bool false"),
            ("y", "text y"),
            ("N", "text N"),
            ("~", "null"),
            ("Null", "null"),
            ("", "null"),
            ("017", "int 15"),
            ("012345", "int 5349"),
            ("0x1F", "int 31"),
            ("0b11", "int 3"),
            ("0o17", "text 0o17"),
            ("08", "text 08"),
            ("1_000", "int 1000"),
            ("1,000", "int 1000"),
            ("1__0", "text 1__0"),
            ("1_", "text 1_"),
            ("+1", "int 1"),
            ("-1", "int -1"),
            ("-", "text -"),
            ("1.0", "float 1.0"),
            (".5", "float 0.5"),
            ("5.", "float 5.0"),
            (".", "text ."),
            ("1.5e3", "float 1500.0"),
            ("1.5e+3", "float 1500.0"),
            ("1e3", "text 1e3"),
            ("1.2.3", "text 1.2.3"),
            (".inf", "float Infinity"),
            ("-.inf", "float -Infinity"),
            (".nan", "float NaN"),
            ("1:30", "int 5400"),
            ("22:22", "int 80520"),
            ("1:30:15", "int 5415"),
            ("12:34:56", "int 45296"),
            ("1:60", "text 1:60"),
            ("2024-01-01", "class Date"),
            ("2024-01-01 10:00:00", "class Time"),
            ("2024-01-01T10:00:00Z", "class Time"),
            ("2024-13-01", "text 2024-13-01"),
            (":name", "text name"),
            (":\"a b\"", "text a b"),
            (":", "text :"),
            ("=", "text ="),
            ("$VAR", "text $VAR"),
            ("99999999999999999999", "text 99999999999999999999"),
            ("3.10", "float 3.1"),
            ("100000000000000000.0", "float 1.0e+17"),
            ("0.00001", "float 1.0e-05"),
            ("é", "text é"),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
    }
}
