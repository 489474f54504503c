//! What a log looks like as rows.

use super::*;
use proptest::prelude::*;

fn scan(text: &str) -> Scanner {
    let mut scanner = Scanner::default();
    scanner.feed(text.as_bytes());
    scanner
}

fn rows(text: &str) -> Vec<String> {
    scan(text).lines(0).into_iter().map(|line| line.html).collect()
}

#[test]
fn colours_become_classes_and_markup_stays_text() {
    for (text, html) in [
        ("plain", "plain"),
        ("\x1b[32;1mok\x1b[0;m done", "<span class=\"f2 sb\">ok</span> done"),
        ("\x1b[0;33m<b>&\"'\x1b[m", "<span class=\"f3\">&lt;b&gt;&amp;&quot;&#39;</span>"),
        ("\x1b[38;5;208mx\x1b[39my", "<span class=\"f208\">x</span>y"),
        ("\x1b[38;2;255;0;0mx", "<span class=\"f196\">x</span>"),
        ("\x1b[91;4;9;3mx\x1b[24;29;23my", "<span class=\"f9 si su ss\">x</span><span class=\"f9\">y</span>"),
        ("\x1b[41mx", "<span class=\"fk b1\">x</span>"),
        ("\x1b[31;41mx", "<span class=\"fk b1\">x</span>"),
        ("\x1b[7mx", "<span class=\"fk b7\">x</span>"),
        ("\x1b]0;title\x07a\x1b]8;;http://h/\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x1b[2Jb\x1b[?25lc\x1bcd", "abcd"),
        ("cut \x1b[3", "cut "),
        ("x\u{202e}y\u{1}z\u{7}", "x\u{fffd}y\u{fffd}z"),
    ] {
        assert_eq!(rows(text).join("|"), html, "{text:?}");
    }
    let mut scanner = Scanner::default();
    scanner.feed(b"a\xffb\0c");
    assert_eq!(scanner.lines(0)[0].html, "a\u{fffd}bc");
}

#[test]
fn web_addresses_are_links_that_cannot_break_out() {
    assert_eq!(
        rows("see https://example.com/a?b=1&c=2. (http://x/)")[0],
        "see <a rel=\"nofollow noopener noreferrer\" href=\"https://example.com/a?b=1&amp;c=2\">https://example.com/a?b=1&amp;c=2</a>. \
         (<a rel=\"nofollow noopener noreferrer\" href=\"http://x/\">http://x/</a>)"
    );
    assert_eq!(rows("https:// http://\"onclick=x javascript:alert(1)").len(), 1);
    assert!(!rows("http://x\"onclick=x")[0].contains("\"onclick"));
}

#[test]
fn a_carriage_return_writes_the_row_anew() {
    assert_eq!(rows("10%\r20%\r30%\n"), ["30%"]);
    assert_eq!(rows("dos\r\nline\r\n"), ["dos", "line"]);
    assert_eq!(rows("done\r"), ["done"]);
}

#[test]
fn sections_fold_and_nest() {
    let scanner = scan(
        "before\nsection_start:10:build[collapsed=true]\r\x1b[0K\x1b[36;1mBuilding\x1b[0;m\none\n\
         section_start:11:inner\r\x1b[0Kinner\ntwo\nsection_end:12:inner\r\x1b[0K\nsection_end:15:build\r\x1b[0Kafter\n",
    );
    let lines = scanner.lines(0);
    let shape: Vec<(&str, Option<usize>, &[usize])> =
        lines.iter().map(|line| (line.html.as_str(), line.opens, line.inside.as_slice())).collect();
    assert_eq!(
        shape,
        [
            ("before", None, &[][..]),
            ("<span class=\"f6 sb\">Building</span>", Some(0), &[]),
            ("one", None, &[0]),
            ("inner", Some(1), &[0]),
            ("two", None, &[0, 1]),
            ("after", None, &[]),
        ]
    );
    let [build, inner] = scanner.sections() else { panic!("two sections") };
    assert_eq!((build.collapsed, build.started, build.ended), (true, 10, Some(15)));
    assert_eq!((inner.collapsed, inner.ended), (false, Some(12)));
}

#[test]
fn a_section_that_ends_and_one_that_starts_share_a_row() {
    let scanner =
        scan("section_start:1:a\r\x1b[0KA\nx\nsection_end:2:a\r\x1b[0Ksection_start:2:b\r\x1b[0KB\ny");
    let lines = scanner.lines(0);
    assert_eq!(lines.iter().map(|line| line.opens).collect::<Vec<_>>(), [Some(0), None, Some(1), None]);
    assert_eq!(lines[3].inside, [1]);
    assert!(scanner.sections()[1].ended.is_none());
}

#[test]
fn what_is_no_marker_is_text() {
    for text in [
        "section_start:x:y\r",
        "section_end:1:\r\x1b[0K",
        "section_start:1:a[collapsed=true",
        "section_start:1:a b\r\x1b[0K",
    ] {
        assert!(scan(text).sections().is_empty(), "{text:?}");
    }
    // The end of a section that is not open, and more sections than anyone nests.
    assert_eq!(rows("section_end:1:a\r\x1b[0Ktext"), ["text"]);
    let deep: String = (0..100).map(|n| format!("section_start:1:s{n}\r\x1b[0Kx\n")).collect();
    assert_eq!(scan(&deep).sections().len(), DEEPEST);
}

#[test]
fn time_stamps_leave_the_text_and_continued_lines_are_joined() {
    let scanner = scan(
        "2026-11-25T01:02:03.000000Z 00O section_start:1:a\r\x1b[0K\n2026-11-25T01:02:03.000001Z 00O+Header\n\
         2026-11-25T01:02:04.000000Z 01E oops\n2026-11-25T01:02:04.000000Z 01O 10%\r\n\
         2026-11-25T01:02:04.000000Z 01O+20%\n2026-11-25T01:02:05.000000Z 00O section_end:2:a\r\x1b[0K\n\
         2026-11-25T01:02:05.000000Z 00O+next\n",
    );
    let lines = scanner.lines(0);
    let shape: Vec<(&str, Option<&str>, bool)> =
        lines.iter().map(|line| (line.html.as_str(), line.time.as_deref(), line.error)).collect();
    assert_eq!(
        shape,
        [
            ("Header", Some("01:02:03"), false),
            ("oops", Some("01:02:04"), true),
            ("20%", Some("01:02:04"), false),
            ("next", Some("01:02:05"), false),
        ]
    );
    assert_eq!(lines[0].opens, Some(0));
}

#[test]
fn rows_are_bounded() {
    let long = "x".repeat(5 * LONGEST + 7);
    let lines = rows(&long);
    assert_eq!(lines.len(), 6);
    assert_eq!(lines.concat(), long);
}

/// Pieces of logs that meet the scanner's corners.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\x1b[31m".to_vec()),
        Just(b"\x1b[0K".to_vec()),
        Just(b"section_start:1:a\r\x1b[0K".to_vec()),
        Just(b"section_end:2:a\r\x1b[0K".to_vec()),
        Just(b"2026-11-25T01:02:03.000000Z 00O+".to_vec()),
        Just(b"<script>alert('x')</script> http://x/\"><i>".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #[test]
    fn the_cuts_do_not_matter_and_nothing_acts(
        pieces in proptest::collection::vec(piece(), 0..40),
        cuts in proptest::collection::vec(1_usize..20, 1..40),
        first in 0_usize..12,
    ) {
        let bytes = pieces.concat();
        let mut whole = Scanner::default();
        whole.feed(&bytes);
        let mut cut = Scanner::default();
        let mut rest = &bytes[..];
        for long in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*long).min(rest.len()));
            cut.feed(now);
            // Looking changes nothing.
            let _ = cut.lines(0);
            rest = later;
        }
        prop_assert_eq!(whole.lines(0), cut.lines(0));
        let all = whole.lines(0);
        prop_assert_eq!(whole.lines(first), all.iter().skip(first).cloned().collect::<Vec<_>>());
        for line in all {
            for tag in line.html.split('<').skip(1) {
                prop_assert!(
                    ["span class=\"", "/span>", "a rel=\"nofollow", "/a>"].iter().any(|known| tag.starts_with(known)),
                    "{}", line.html
                );
            }
        }
    }

    #[test]
    fn rows_that_are_settled_never_change(pieces in proptest::collection::vec(piece(), 0..40)) {
        let mut scanner = Scanner::default();
        let mut before: Vec<Line> = Vec::new();
        for piece in pieces {
            scanner.feed(&piece);
            let now = scanner.lines(0);
            prop_assert!(now.len() >= before.len());
            prop_assert_eq!(&now[..before.len()], &before[..]);
            before = now;
            before.truncate(scanner.settled());
        }
    }
}
