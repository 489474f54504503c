//! A pattern (first line) on a text (the second): `rules:changes`, `rules:exists`, `include:local` wildcards, and RE2
//! patterns of `=~`, `coverage` and `only`.

#![no_main]

mod source;

use harrier_base::Variable;
use harrier_pipeline::{Context, SourceFile, compile};
use libfuzzer_sys::fuzz_target;
use source::Repository;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (pattern, path) = text.split_once('\n').unwrap_or((&text, "a/b"));
    let glob = serde_json::json!(pattern);
    let regex = serde_json::json!(format!("$X =~ /{pattern}/i || $X =~ $P"));
    let only = serde_json::json!(format!("/{pattern}/"));
    let cx = Context {
        pipeline: vec![Variable::public("X", path), Variable::public("P", format!("/{pattern}/"))],
        changes: Some(vec![path.to_owned(), "docs/a.md".to_owned()]),
        ..Context::default()
    };
    for text in [
        format!("j: {{script: x, rules: [{{changes: [{glob}]}}, {{exists: [{glob}]}}]}}\nk: {{script: x}}\n"),
        format!("include: {glob}\nk: {{script: x}}\n"),
        format!("j: {{script: x, rules: [{{if: {regex}}}]}}\nk: {{script: x}}\n"),
        format!("j: {{script: x, only: [{only}], coverage: {only}}}\nk: {{script: x}}\n"),
    ] {
        let root = SourceFile { name: ".gitlab-ci.yml".into(), text };
        let _ = compile(root, &Repository::new(String::new()), &cx);
    }
});
