//! Reads junit reports (`ci-yaml.md` §19), several documents one after the other as the runner packs them. Pure.

use harrier_database::{TestCase, TestReport};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Most cases that are kept one by one; the counts hold for all.
const CASES: usize = 10_000;
/// Most bytes of what a failure says.
const MESSAGE: usize = 16 << 10;

/// What the reports say together. The error is the parser's.
pub fn parse(bytes: &[u8]) -> Result<TestReport, quick_xml::Error> {
    let mut reader = Reader::from_reader(bytes);
    let settings = reader.config_mut();
    // Several reports follow one another, and tools are careless.
    settings.check_end_names = false;
    settings.allow_unmatched_ends = true;
    let mut report = TestReport::default();
    let mut suites: Vec<String> = Vec::new();
    let mut case: Option<TestCase> = None;
    let mut said = false;
    loop {
        match reader.read_event()? {
            Event::Start(tag) => match tag.local_name().as_ref() {
                b"testsuite" => suites.push(attribute(&tag, "name")),
                b"testcase" => case = Some(begin(&tag, &suites)),
                other => said = mark(&mut case, other, &tag),
            },
            Event::Empty(tag) => match tag.local_name().as_ref() {
                b"testcase" => end(&mut report, Some(begin(&tag, &suites))),
                other => {
                    mark(&mut case, other, &tag);
                }
            },
            Event::Text(text) if said => {
                if let (Some(case), Ok(text)) = (&mut case, text.decode()) {
                    append(&mut case.message, &text);
                }
            }
            Event::CData(text) if said => {
                if let Some(case) = &mut case {
                    append(&mut case.message, &String::from_utf8_lossy(&text));
                }
            }
            Event::GeneralRef(name) if said => {
                let code = name.resolve_char_ref().ok().flatten();
                let text = match (code, &*name) {
                    (Some(code), _) => code,
                    (None, b"lt") => '<',
                    (None, b"gt") => '>',
                    (None, b"amp") => '&',
                    (None, b"quot") => '"',
                    (None, b"apos") => '\'',
                    (None, _) => '\u{fffd}',
                };
                if let Some(case) = &mut case {
                    append(&mut case.message, text.encode_utf8(&mut [0; 4]));
                }
            }
            Event::End(tag) => match tag.local_name().as_ref() {
                b"testsuite" => {
                    suites.pop();
                }
                b"testcase" => end(&mut report, case.take()),
                b"failure" | b"error" | b"skipped" => said = false,
                _ => {}
            },
            Event::Eof => return Ok(report),
            _ => {}
        }
    }
}

fn begin(tag: &BytesStart<'_>, suites: &[String]) -> TestCase {
    let seconds: f64 = attribute(tag, "time").replace(',', "").parse().unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "a clamped number of milliseconds fits")]
    let millis = (seconds.clamp(0.0, 1e9) * 1000.0).round() as i64;
    TestCase {
        suite: suites.last().cloned().unwrap_or_default(),
        class: attribute(tag, "classname"),
        name: attribute(tag, "name"),
        file: attribute(tag, "file"),
        status: "success".to_owned(),
        millis,
        message: String::new(),
    }
}

/// A child of a case; whether what it says is to be kept.
fn mark(case: &mut Option<TestCase>, tag: &[u8], start: &BytesStart<'_>) -> bool {
    let Some(case) = case else { return false };
    let status = match tag {
        b"failure" => "failed",
        b"error" => "error",
        b"skipped" => "skipped",
        _ => return false,
    };
    case.status = status.to_owned();
    let message = attribute(start, "message");
    if !message.is_empty() {
        append(&mut case.message, &message);
        append(&mut case.message, "\n");
    }
    true
}

fn end(report: &mut TestReport, case: Option<TestCase>) {
    let Some(mut case) = case else { return };
    report.total += 1;
    report.millis = report.millis.saturating_add(case.millis);
    match case.status.as_str() {
        "failed" | "error" => report.failed += 1,
        "skipped" => report.skipped += 1,
        _ => {}
    }
    case.message = case.message.trim().to_owned();
    if report.cases.len() < CASES {
        report.cases.push(case);
    }
}

fn append(to: &mut String, text: &str) {
    let room = MESSAGE.saturating_sub(to.len());
    let end = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    to.push_str(&text[..end]);
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> String {
    let found = tag.attributes().flatten().find(|a| a.key.local_name().as_ref() == name.as_bytes());
    found.and_then(|a| a.unescape_value().ok().map(|value| value.into_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reports_are_read_one_after_the_other() {
        let one = r#"<?xml version="1.0"?><testsuites><testsuite name="s"><testcase classname="c" name="a" time="1.5"/>
            <testcase name="b" time="0.25"><failure message="no &lt;">at line 1 &amp; &#50;<![CDATA[ <x>]]></failure></testcase>
            </testsuite></testsuites>"#;
        let two = r#"<testsuite name="t"><testcase name="z"><skipped/></testcase><testcase name="y"><error>boom</error>
            <system-out>much</system-out></testcase></testsuite>"#;
        let report = parse(format!("{one}\n{two}").as_bytes()).expect("they are fine");
        assert_eq!((report.total, report.failed, report.skipped, report.millis), (4, 2, 1, 1750));
        let texts: Vec<_> =
            report.cases.iter().map(|c| (c.suite.as_str(), c.status.as_str(), c.message.as_str())).collect();
        assert_eq!(
            texts,
            [
                ("s", "success", ""),
                ("s", "failed", "no <\nat line 1 & 2 <x>"),
                ("t", "skipped", ""),
                ("t", "error", "boom"),
            ]
        );
    }
}
