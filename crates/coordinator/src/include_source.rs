//! Where a configuration on this server gets its includes from (`ci-yaml.md` §7): the commit's own tree, other projects of this
//! server with the rights of who starts the pipeline, and addresses under the server's policy. Called while a pipeline is compiled,
//! on a thread that may wait.

use crate::repository::{CommitTree, Repository};
use harrier_database::{AccessLevel, ProjectView, Store};
use harrier_includes::{AddressPolicy, Remotes, Templates};
use harrier_pipeline::{FetchError, IncludeSource, ProjectAt};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Time for all that one configuration includes (§31).
const TIME: Duration = Duration::from_secs(30);

/// What is needed to make one.
pub struct Elsewhere {
    /// The tables, for other projects.
    pub store: Store,
    /// Where the repositories are, by project.
    pub repository: Box<dyn Fn(i64) -> PathBuf + Send>,
    /// Who starts the pipeline.
    pub user: Option<i64>,
    /// Which addresses may be reached.
    pub policy: AddressPolicy,
    /// Where templates are.
    pub templates: Option<Templates>,
    /// Where copies of remote files are kept.
    pub cache: PathBuf,
    /// To ask the tables from a thread that waits.
    pub runtime: Handle,
}

/// The source of one compilation.
pub struct ServerIncludes {
    tree: CommitTree,
    elsewhere: Elsewhere,
    remotes: Remotes,
    until: Instant,
}

impl ServerIncludes {
    /// The time begins now.
    pub fn new(tree: CommitTree, elsewhere: Elsewhere) -> Self {
        let remotes = Remotes::new(elsewhere.policy.clone(), Some(elsewhere.cache.clone()));
        Self { tree, elsewhere, remotes, until: Instant::now() + TIME }
    }

    /// A project that may be read. Which of "there is none" and "you may not" it is, nobody learns.
    fn project(&self, path: &str) -> Result<(ProjectView, Repository), FetchError> {
        let store = &self.elsewhere.store;
        let found = self.elsewhere.runtime.block_on(async {
            let Some(project) = store.project_at(path).await? else { return Ok(None) };
            let readable = match (project.visibility.as_str(), self.elsewhere.user) {
                ("public", _) => true,
                (_, None) => false,
                (visibility, Some(user)) => {
                    let user = store.user(user).await?;
                    let member = store.access(project.id, user.id).await? >= Some(AccessLevel::Reporter);
                    !user.blocked && (user.admin || visibility == "internal" || member)
                }
            };
            Ok::<_, harrier_database::DatabaseError>(readable.then_some(project))
        });
        let project = found
            .map_err(|error| FetchError::Failed(format!("the project cannot be read: {error}")))?
            .ok_or(FetchError::NotFound)?;
        let repository = Repository::at((self.elsewhere.repository)(project.id));
        Ok((project, repository))
    }
}

impl IncludeSource for ServerIncludes {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        self.tree.local(path)
    }

    fn files(&self) -> &[String] {
        self.tree.files_of_tree()
    }

    fn changed_since(&self, git_ref: &str) -> Result<Vec<String>, String> {
        self.tree.changed_since(git_ref)
    }

    fn commit(&self, project: &str, name: Option<&str>) -> Result<Option<String>, FetchError> {
        let (project, repository) = self.project(project)?;
        let names = match name {
            Some(name) => vec![name.to_owned(), format!("refs/tags/{name}"), format!("refs/heads/{name}")],
            None => vec![format!("refs/heads/{}", project.default_branch)],
        };
        // A name that is no whole id stands for a tag or a branch only.
        let names = names.into_iter().filter(|name| {
            name.starts_with("refs/") || name.len() >= 40 && name.bytes().all(|b| b.is_ascii_hexdigit())
        });
        let names: Vec<String> = names.collect();
        repository.first_commit(&names).map_err(|error| FetchError::Failed(error.to_string()))
    }

    fn tags(&self, project: &str) -> Result<Vec<String>, FetchError> {
        let (_, repository) = self.project(project)?;
        let refs = repository.refs().map_err(|error| FetchError::Failed(error.to_string()))?;
        Ok(refs
            .into_iter()
            .filter_map(|(name, _)| name.strip_prefix("refs/tags/").map(str::to_owned))
            .collect())
    }

    fn file_at(&self, at: &ProjectAt, path: &str) -> Result<String, FetchError> {
        self.project(&at.project)?.1.tree(&at.sha).local(path)
    }

    fn files_at(&self, at: &ProjectAt) -> Result<Vec<String>, FetchError> {
        Ok(self.project(&at.project)?.1.tree(&at.sha).files_of_tree().to_vec())
    }

    fn remote(&self, url: &str, keep: Option<Duration>) -> Result<Vec<u8>, FetchError> {
        self.remotes.get(url, keep, self.until)
    }

    fn template(&self, name: &str) -> Result<String, FetchError> {
        match &self.elsewhere.templates {
            Some(templates) => templates.read(name, Some(self.elsewhere.cache.clone()), self.until),
            None => Err(FetchError::Unsupported(
                "GitLab's templates are not part of Harrier; the server says where they are with --template-dir DIR or a \
                 git address, for example a clone of gitlab.com/gitlab-org/gitlab"
                    .into(),
            )),
        }
    }

    fn artifact(&self, job: &str, path: &str) -> Result<String, FetchError> {
        self.tree.artifact(job, path)
    }
}
