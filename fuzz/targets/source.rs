//! A repository whose every file holds the text of the run itself, so that includes lead somewhere.

use harrier_pipeline::{FetchError, IncludeSource};

pub struct Repository {
    text: String,
    files: Vec<String>,
}

impl Repository {
    pub fn new(text: String) -> Self {
        // What stands behind a line of `=====` is the included file.
        let text = text.split_once("=====\n").map_or(String::new(), |(_, included)| included.to_owned());
        let files = ["a.yml", "ci/b.yml", "docs/a.md"].map(str::to_owned).to_vec();
        Self { text, files }
    }
}

impl IncludeSource for Repository {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        if path.ends_with(".yml") { Ok(self.text.clone()) } else { Err(FetchError::NotFound) }
    }

    fn files(&self) -> &[String] {
        &self.files
    }

    fn changed_since(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(vec!["docs/a.md".into()])
    }
}
