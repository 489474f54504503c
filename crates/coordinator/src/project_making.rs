//! Makes projects: the row and the bare repository. Called by pushes to a path that does not exist, by the API and by
//! `harrier admin`.

use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::make_pipeline::{MakeError, waiting};
use crate::project_path::ProjectPath;
use crate::repository::Repository;
use harrier_database::{NewProject, ProjectView, UserView};

/// Whether somebody may make projects there: everyone below their own name, administrators everywhere.
pub fn may_make(user: &UserView, path: &ProjectPath) -> bool {
    user.admin || path.namespace() == user.username
}

impl App {
    /// Makes a project with an empty repository.
    pub async fn create_project(&self, new: NewProject) -> Answer<ProjectView> {
        ProjectPath::parse(&new.path).map_err(|why| Refusal::bad(&why))?;
        let project = self.store.create_project(new, self.now()).await?;
        self.ensure_repository(&project).await?;
        tracing::info!(project = project.path, "a project was made");
        Ok(project)
    }

    /// The repository of a project is there; a server that was killed between the row and the directory makes it later.
    pub async fn ensure_repository(&self, project: &ProjectView) -> Answer<Repository> {
        let dir = self.data.repository(project.id);
        if dir.join("HEAD").is_file() {
            return Ok(Repository::at(dir));
        }
        let branch = project.default_branch.clone();
        Ok(waiting(move || Repository::create(&dir, &branch)).await?.map_err(MakeError::from)?)
    }
}
