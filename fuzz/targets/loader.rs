//! A whole configuration, with its header, the file it includes, its merges, references, rules and scheduler's input:
//! whatever the text, compiling ends with a pipeline or a diagnostic that can be shown.

#![no_main]

mod source;

use harrier_pipeline::{Context, GivenInput, Severity, SourceFile, compile, render, yaml_mapping};
use libfuzzer_sys::fuzz_target;
use source::Repository;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data).into_owned();
    let root = SourceFile { name: ".gitlab-ci.yml".into(), text: text.clone() };
    let cx = Context {
        inputs: vec![GivenInput { name: "n".into(), value: "3".into() }],
        changes: Some(vec!["docs/a.md".into()]),
        ..Context::default()
    };
    let compiled = compile(root.clone(), &Repository::new(text), &cx);
    let errors = compiled.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(errors, compiled.pipeline.is_none() && compiled.filtered.is_none());
    for diagnostic in compiled.diagnostics.iter().take(20) {
        let _ = render(diagnostic, &compiled.sources);
    }
    let _ = compiled.written.merged_yaml();
    if let Some(pipeline) = &compiled.pipeline {
        for id in pipeline.ids().take(50) {
            let _ = pipeline.artifact_sources(id);
            let _ = compiled.written.explain(&pipeline.job(id).name);
        }
    }
    let _ = yaml_mapping(root);
});
