//! A repository in memory, for the tests of the language.

#![allow(dead_code, clippy::unwrap_used)]

use harrier_base::Variable;
use harrier_pipeline::{
    Compiled, Context, FetchError, IncludeSource, Job, Pipeline, RunKind, SourceFile, compile, render,
};
use std::collections::BTreeMap;

/// Files by path.
#[derive(Default)]
pub struct Repository {
    pub texts: BTreeMap<String, String>,
    pub names: Vec<String>,
    pub since: BTreeMap<String, Vec<String>>,
}

impl Repository {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<String, String> =
            files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let names = texts.keys().cloned().collect();
        Self { texts, names, since: BTreeMap::new() }
    }
}

impl IncludeSource for Repository {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        self.texts.get(path).cloned().ok_or(FetchError::NotFound)
    }

    fn files(&self) -> &[String] {
        &self.names
    }

    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String> {
        self.since.get(git_ref).cloned().ok_or_else(|| format!("no ref {git_ref}"))
    }
}

pub fn context(predefined: &[(&str, &str)]) -> Context {
    let mut list =
        vec![Variable::public("CI_COMMIT_BRANCH", "main"), Variable::public("CI_PIPELINE_SOURCE", "push")];
    list.extend(predefined.iter().map(|(key, value)| Variable::public(*key, *value)));
    Context { run: RunKind::default(), predefined: list, ..Context::default() }
}

pub fn root(text: &str) -> SourceFile {
    SourceFile { name: ".gitlab-ci.yml".into(), text: text.into() }
}

pub fn compiled(text: &str) -> Compiled {
    compile(root(text), &Repository::default(), &context(&[]))
}

pub fn compiled_with(text: &str, repository: &Repository, cx: &Context) -> Compiled {
    compile(root(text), repository, cx)
}

/// The pipeline, or everything that was said about it.
pub fn pipeline_of(compiled: Compiled) -> Pipeline {
    let said: String = compiled.diagnostics.iter().map(|d| render(d, &compiled.sources)).collect();
    compiled.pipeline.unwrap_or_else(|| panic!("no pipeline: {:?}\n{said}", compiled.filtered))
}

pub fn pipeline(text: &str) -> Pipeline {
    pipeline_of(compiled(text))
}

pub fn job<'p>(pipeline: &'p Pipeline, name: &str) -> &'p Job {
    pipeline.job(pipeline.find(name).unwrap_or_else(|| panic!("no job {name}")))
}

/// Messages of the errors.
pub fn errors(compiled: &Compiled) -> Vec<String> {
    let errors = compiled.diagnostics.iter().filter(|d| d.severity == harrier_pipeline::Severity::Error);
    errors.map(|d| d.message.clone()).collect()
}

pub fn first_error(text: &str) -> String {
    let compiled = compiled(text);
    assert!(compiled.pipeline.is_none(), "should be refused:\n{text}");
    errors(&compiled).first().cloned().unwrap_or_else(|| panic!("no error for:\n{text}"))
}
