//! A repository in memory, for the tests of the language.

#![allow(dead_code, clippy::unwrap_used)]

use harrier_base::Variable;
use harrier_pipeline::{
    Compiled, Context, FetchError, IncludeSource, Job, Pipeline, ProjectAt, RunKind, SourceFile, compile,
    render,
};
use std::collections::BTreeMap;

/// Files by path.
#[derive(Default)]
pub struct Repository {
    pub texts: BTreeMap<String, String>,
    pub names: Vec<String>,
    pub since: BTreeMap<String, Vec<String>>,
    /// Files of other projects by `project ref path`; the commit of a ref is `sha-of-REF`, HEAD is `main`.
    pub projects: BTreeMap<(String, String, String), String>,
    /// Answers by address.
    pub remotes: BTreeMap<String, Vec<u8>>,
    pub templates: BTreeMap<String, String>,
    /// Files by `job path`, in a child pipeline.
    pub artifacts: Option<BTreeMap<(String, String), String>>,
}

impl Repository {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<String, String> =
            files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let names = texts.keys().cloned().collect();
        Self { texts, names, ..Self::default() }
    }

    pub fn project(mut self, project: &str, git_ref: &str, files: &[(&str, &str)]) -> Self {
        for (path, text) in files {
            self.projects.insert((project.into(), git_ref.into(), path.to_string()), text.to_string());
        }
        self
    }

    pub fn remote(mut self, url: &str, text: &str) -> Self {
        self.remotes.insert(url.into(), text.into());
        self
    }

    pub fn template(mut self, name: &str, text: &str) -> Self {
        self.templates.insert(name.into(), text.into());
        self
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

    fn commit(&self, project: &str, name: Option<&str>) -> Result<Option<String>, FetchError> {
        let mut known =
            self.projects.keys().filter(|(path, _, _)| path.eq_ignore_ascii_case(project)).peekable();
        known.peek().ok_or(FetchError::NotFound)?;
        let name = name.unwrap_or("main");
        let name = name.strip_prefix("sha-of-").unwrap_or(name);
        Ok(known.any(|(_, git_ref, _)| git_ref == name).then(|| format!("sha-of-{name}")))
    }

    fn tags(&self, project: &str) -> Result<Vec<String>, FetchError> {
        let tags = self.projects.keys().filter(|(path, _, _)| path == project);
        Ok(tags.map(|(_, git_ref, _)| git_ref.clone()).collect())
    }

    fn file_at(&self, at: &ProjectAt, path: &str) -> Result<String, FetchError> {
        let git_ref = at.sha.strip_prefix("sha-of-").unwrap();
        let found = self.projects.iter().find(|((project, known, file), _)| {
            project.eq_ignore_ascii_case(&at.project) && known == git_ref && file == path
        });
        found.map(|(_, text)| text.clone()).ok_or(FetchError::NotFound)
    }

    fn files_at(&self, at: &ProjectAt) -> Result<Vec<String>, FetchError> {
        let git_ref = at.sha.strip_prefix("sha-of-").unwrap();
        let keys =
            self.projects.keys().filter(|(project, known, _)| *project == at.project && known == git_ref);
        Ok(keys.map(|(_, _, file)| file.clone()).collect())
    }

    fn remote(&self, url: &str, keep: Option<std::time::Duration>) -> Result<Vec<u8>, FetchError> {
        // What is kept answers other than what is asked for anew.
        let url = keep.map_or(url.to_owned(), |keep| format!("{url} kept {}", keep.as_secs()));
        self.remotes.get(&url).cloned().ok_or(FetchError::NotFound)
    }

    fn template(&self, name: &str) -> Result<String, FetchError> {
        self.templates.get(name).cloned().ok_or(FetchError::NotFound)
    }

    fn artifact(&self, job: &str, path: &str) -> Result<String, FetchError> {
        let Some(artifacts) = &self.artifacts else {
            return Err(FetchError::Unsupported(
                "Including configs from artifacts is only allowed when triggering child pipelines".into(),
            ));
        };
        artifacts.get(&(job.to_owned(), path.to_owned())).cloned().ok_or(FetchError::NotFound)
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
