//! What the original panicked on gives libyaml's events and errors.

use harrier_yaml_events::{EventData, Parser};

fn scalars(text: &str) -> Result<Vec<String>, String> {
    let mut parser = Parser::new(text);
    let mut out = Vec::new();
    loop {
        match parser.parse() {
            Ok(event) => match event.data {
                EventData::Scalar { value, tag, .. } => {
                    out.push(format!("{}{value}", tag.map(|t| format!("{t} ")).unwrap_or_default()));
                }
                EventData::StreamEnd => return Ok(out),
                _ => {}
            },
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[test]
fn a_block_scalar_may_end_with_the_text() {
    assert_eq!(scalars("a: |\n  x\n  y"), Ok(vec!["a".into(), "x\ny".into()]));
    assert_eq!(scalars("a: >-\n  x"), Ok(vec!["a".into(), "x".into()]));
    assert_eq!(scalars("a: |"), Ok(vec!["a".into(), String::new()]));
}

#[test]
fn a_tag_may_stand_before_a_comma() {
    assert_eq!(scalars("[!a , b]"), Ok(vec!["!a ".into(), "b".into()]));
    assert_eq!(scalars("[!a, b]"), Ok(vec!["!a ".into(), "b".into()]));
}

#[test]
fn a_backslash_may_end_the_text() {
    assert!(scalars("\"a\\").is_err_and(|error| error.contains("found unknown escape character")));
}

#[test]
fn marks_count_characters() {
    let mut parser = Parser::new("é: ü\nb: x");
    let mut starts = Vec::new();
    while let Ok(event) = parser.parse() {
        match event.data {
            EventData::Scalar { .. } => starts.push((event.start_mark.line, event.start_mark.column)),
            EventData::StreamEnd => break,
            _ => {}
        }
    }
    assert_eq!(starts, [(0, 0), (0, 3), (1, 0), (1, 3)]);
}

#[test]
fn what_yaml_does_not_allow_is_refused() {
    for text in ["a: \u{1}", "\ta: b", "a: b: c", "a: [", "%YAML 9.x\n---\na", "a: 'x", "- a\nb: c"] {
        assert!(scalars(text).is_err(), "{text:?}");
    }
}
