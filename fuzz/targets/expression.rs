//! An expression of `rules:if` (first line) with the value of a variable (the rest), and the same text as a block of
//! `$[[ ]]`, a duration and the condition of an input's rule.

#![no_main]

mod source;

use harrier_base::Variable;
use harrier_pipeline::{Context, SourceFile, compile, parse_duration};
use libfuzzer_sys::fuzz_target;
use source::Repository;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (line, value) = text.split_once('\n').unwrap_or((&text, "x"));
    let _ = parse_duration(line);
    let quoted = serde_json::json!(line);
    let block = serde_json::json!(format!("a $[[ {line} ]] b"));
    let cx = Context { pipeline: vec![Variable::public("X", value)], ..Context::default() };
    for text in [
        format!("variables: {{E: ''}}\nj: {{script: x, rules: [{{if: {quoted}}}]}}\nk: {{script: x}}\n"),
        format!("spec:\n  inputs: {{n: {{default: {quoted}}}, l: {{type: array, default: [a, {{k: v}}]}}}}\n---\nj: {{script: {block}}}\n"),
        format!("spec:\n  inputs: {{n: {{default: a}}, m: {{rules: [{{if: {quoted}, default: b}}, {{default: c}}]}}}}\n---\nj: {{script: x}}\n"),
    ] {
        let root = SourceFile { name: ".gitlab-ci.yml".into(), text };
        let compiled = compile(root, &Repository::new(String::new()), &cx);
        assert_eq!(compiled.has_errors(), compiled.pipeline.is_none() && compiled.filtered.is_none());
    }
});
