//! Merge requests: opened by pushes, the API and the pages; each has pipelines of its own, compared with the branch it is to come
//! into (`ci-yaml.md` §30.5). They are merged by whoever pushes the branch into its target, which is found here. There is no review.

use crate::app::App;
use crate::git_http::RefChange;
use crate::make_pipeline::{Made, MakeError, Start, waiting};
use crate::push_options::MergeRequestOptions;
use crate::repository::Repository;
use harrier_database::{
    DatabaseError, MergeRequestEdit, MergeRequestState, MergeRequestView, NewMergeRequest, ProjectView,
    UserView, says_draft,
};

/// Longest title, in characters.
const LONGEST_TITLE: usize = 255;

/// Why no merge request was opened or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeRequestError {
    /// A branch that is not there.
    #[error("there is no branch {0}")]
    NoBranch(String),
    /// From a branch into itself.
    #[error("source and target are the same branch, {0}")]
    SameBranch(String),
    /// The title is empty or too long.
    #[error("the title must have 1 to 255 characters")]
    Title,
    /// The project follows another server's repository.
    #[error("the project is a mirror: its merge requests are where it is fetched from")]
    Mirror,
    /// Git, or the tables.
    #[error(transparent)]
    Failed(#[from] MakeError),
}

impl From<DatabaseError> for MergeRequestError {
    fn from(error: DatabaseError) -> Self {
        Self::Failed(error.into())
    }
}

/// A title that says whether it is ready.
fn with_draft(title: &str, draft: bool) -> String {
    if draft && !says_draft(title) { format!("Draft: {title}") } else { title.to_owned() }
}

impl App {
    /// Opens a merge request; without a title it gets that of its newest commit. Its pipeline is made by
    /// [`App::run_merge_request`].
    pub(crate) async fn open_merge_request(
        &self,
        project: &ProjectView,
        mut new: NewMergeRequest,
    ) -> Result<MergeRequestView, MergeRequestError> {
        if self.store.mirror(project.id).await?.is_some() {
            return Err(MergeRequestError::Mirror);
        }
        if new.source_branch == new.target_branch {
            return Err(MergeRequestError::SameBranch(new.source_branch));
        }
        self.branch_head(project, &new.target_branch).await?;
        let sha = self.branch_head(project, &new.source_branch).await?;
        if new.title.trim().is_empty() {
            let repository = self.repository(project.id);
            let commits = waiting(move || repository.commits(&[sha])).await?.map_err(MakeError::from)?;
            let title = commits.first().map(|commit| commit.title().to_owned()).unwrap_or_default();
            let title = if title.trim().is_empty() { new.source_branch.clone() } else { title };
            new.title = title.chars().take(LONGEST_TITLE).collect();
        }
        fits(&new.title)?;
        new.project = project.id;
        Ok(self.store.create_merge_request(new, self.now()).await?)
    }

    /// Changes a merge request.
    pub(crate) async fn change_merge_request(
        &self,
        project: &ProjectView,
        request: &MergeRequestView,
        edit: MergeRequestEdit,
    ) -> Result<MergeRequestView, MergeRequestError> {
        if let Some(title) = &edit.title {
            fits(title)?;
        }
        if let Some(target) = &edit.target_branch {
            if *target == request.source_branch {
                return Err(MergeRequestError::SameBranch(target.clone()));
            }
            self.branch_head(project, target).await?;
        }
        if edit.state == Some(MergeRequestState::Opened) && request.state != MergeRequestState::Opened {
            self.branch_head(project, &request.source_branch).await?;
        }
        let changed = self.store.edit_merge_request(request.id, edit, self.now()).await?;
        if changed.state == MergeRequestState::Closed && request.state != MergeRequestState::Closed {
            self.stop_what_it_deployed(project, &changed, None).await;
        }
        Ok(changed)
    }

    /// The commit a branch is at.
    pub(crate) async fn branch_head(
        &self,
        project: &ProjectView,
        branch: &str,
    ) -> Result<String, MergeRequestError> {
        let (repository, name) = (self.repository(project.id), format!("refs/heads/{branch}"));
        let found = waiting(move || repository.raw_ref(&name)).await?;
        found.ok().flatten().ok_or_else(|| MergeRequestError::NoBranch(branch.to_owned()))
    }

    /// Makes the pipeline of a merge request at a commit of its source branch, if the configuration asks for one.
    pub(crate) async fn run_merge_request(
        &self,
        project: &ProjectView,
        request: &MergeRequestView,
        sha: &str,
        user: Option<UserView>,
    ) -> Result<Made, MakeError> {
        let (repository, name, at) = (self.repository(project.id), request.ref_path(), sha.to_owned());
        waiting(move || repository.put_ref(&name, &at)).await??;
        let mut request = request.clone();
        if request.sha != sha {
            request.version += 1;
        }
        let id = request.id;
        let start = Start {
            source: "merge_request_event".to_owned(),
            git_ref: request.source_branch.clone(),
            sha: sha.to_owned(),
            user,
            merge_request: Some(Box::new(request)),
            ..Start::default()
        };
        let made = self.make_pipeline(project, start).await?;
        if matches!(made, Made::None(_)) {
            self.store.set_merge_request_head(id, sha, self.now()).await?;
        }
        Ok(made)
    }

    /// A branch has moved: what is asked for its merge request is done, its open merge requests get their pipelines, and those
    /// that it takes in are merged. Gives what who pushed is to read, and whether a pipeline was made.
    pub(crate) async fn merge_requests_of_push(
        &self,
        project: &ProjectView,
        user: Option<&UserView>,
        change: &RefChange,
        options: &MergeRequestOptions,
    ) -> (Vec<String>, bool) {
        let Some(branch) = change.name.strip_prefix("refs/heads/") else { return (Vec::new(), false) };
        let mut said = Vec::new();
        if options.any()
            && let Err(error) = self.obey(project, user, branch, options, &mut said).await
        {
            said.push(format!("No merge request for {branch}: {error}."));
        }
        let mut any = false;
        match self.store.open_merge_requests_from(project.id, branch).await {
            Ok(requests) => {
                for request in requests.iter().filter(|request| request.sha != change.new) {
                    match self.run_merge_request(project, request, &change.new, user.cloned()).await {
                        Ok(Made::Pipeline(made)) => {
                            any = true;
                            said.extend(self.pipeline_words(
                                project,
                                &format!("merge request !{}", request.iid),
                                &made,
                            ));
                        }
                        Ok(Made::None(_)) => {}
                        Err(error) => {
                            tracing::error!(project = project.path, error = %error, "a merge request has no pipeline");
                            said.push(format!(
                                "Merge request !{}: no pipeline could be made: {error}",
                                request.iid
                            ));
                        }
                    }
                }
            }
            Err(error) => {
                tracing::error!(project = project.path, error = %error, "merge requests cannot be read")
            }
        }
        match self.take_in(project, user, branch, change).await {
            Ok(merged) => said.extend(merged),
            Err(error) => {
                tracing::error!(project = project.path, error = %error, "what was merged is not known")
            }
        }
        (said, any)
    }

    /// Opens or changes the merge request of a branch as push options say.
    async fn obey(
        &self,
        project: &ProjectView,
        user: Option<&UserView>,
        branch: &str,
        options: &MergeRequestOptions,
        said: &mut Vec<String>,
    ) -> Result<(), MergeRequestError> {
        let there = self.store.open_merge_requests_from(project.id, branch).await?;
        if there.is_empty() {
            if !options.create {
                said.push(format!(
                    "{branch} has no open merge request; open one with `git push -o merge_request.create`."
                ));
                return Ok(());
            }
            let new = NewMergeRequest {
                source_branch: branch.to_owned(),
                target_branch: options.target.clone().unwrap_or_else(|| project.default_branch.clone()),
                title: options.title.clone().unwrap_or_default(),
                description: options.description.clone().unwrap_or_default(),
                labels: options.labels.clone(),
                author: user.map(|user| user.id),
                ..NewMergeRequest::default()
            };
            let mut opened = self.open_merge_request(project, new).await?;
            if options.draft {
                let title = Some(with_draft(&opened.title, true));
                let edit = MergeRequestEdit { title, ..MergeRequestEdit::default() };
                opened = self.store.edit_merge_request(opened.id, edit, self.now()).await?;
            }
            said.push(format!("Merge request !{} into {}:", opened.iid, opened.target_branch));
            said.push(format!("  {}", self.merge_request_url(project, &opened)));
            return Ok(());
        }
        for request in there {
            let mut labels = request.labels.clone();
            labels.retain(|label| !options.unlabels.contains(label));
            labels.extend(options.labels.iter().filter(|label| !request.labels.contains(label)).cloned());
            let title = options.title.clone().unwrap_or_else(|| request.title.clone());
            let edit = MergeRequestEdit {
                title: Some(with_draft(&title, options.draft)),
                description: options.description.clone(),
                labels: Some(labels),
                target_branch: options.target.clone(),
                state: None,
            };
            self.change_merge_request(project, &request, edit).await?;
        }
        Ok(())
    }

    /// The page of a merge request.
    pub(crate) fn merge_request_url(&self, project: &ProjectView, request: &MergeRequestView) -> String {
        format!("{}/{}/-/merge_requests/{}", self.settings.external_url, project.path, request.iid)
    }

    /// Merge requests whose commits have come into their target.
    async fn take_in(
        &self,
        project: &ProjectView,
        user: Option<&UserView>,
        branch: &str,
        change: &RefChange,
    ) -> Result<Vec<String>, MakeError> {
        let mut said = Vec::new();
        for request in self.store.open_merge_requests_into(project.id, branch).await? {
            let (repository, name) =
                (self.repository(project.id), format!("refs/heads/{}", request.source_branch));
            let before = (!change.creates()).then(|| change.old.clone());
            let (new, known) = (change.new.clone(), request.sha.clone());
            let merged = waiting(move || -> Result<bool, MakeError> {
                // The branch as it is; one that went with the same push is as it was.
                let head = repository.raw_ref(&name).ok().flatten().unwrap_or(known);
                if head.is_empty() || before.is_some_and(|before| contains(&repository, &before, &head)) {
                    return Ok(false);
                }
                Ok(contains(&repository, &new, &head))
            });
            if !merged.await?? {
                continue;
            }
            let edit =
                MergeRequestEdit { state: Some(MergeRequestState::Merged), ..MergeRequestEdit::default() };
            let merged = self.store.edit_merge_request(request.id, edit, self.now()).await?;
            said.push(format!("Merge request !{} is merged into {branch}.", merged.iid));
            said.extend(self.stop_what_it_deployed(project, &merged, user).await);
        }
        Ok(said)
    }

    /// A branch was removed: its merge requests are closed.
    pub(crate) async fn close_merge_requests_of(
        &self,
        project: &ProjectView,
        user: Option<&UserView>,
        branch: &str,
    ) -> Result<Vec<String>, DatabaseError> {
        let mut said = Vec::new();
        for request in self.store.open_merge_requests_from(project.id, branch).await? {
            let edit =
                MergeRequestEdit { state: Some(MergeRequestState::Closed), ..MergeRequestEdit::default() };
            let closed = self.store.edit_merge_request(request.id, edit, self.now()).await?;
            said.push(format!("Merge request !{} is closed: its branch {branch} is gone.", closed.iid));
            said.extend(self.stop_what_it_deployed(project, &closed, user).await);
        }
        Ok(said)
    }

    /// Review apps of a merge request that is over.
    async fn stop_what_it_deployed(
        &self,
        project: &ProjectView,
        request: &MergeRequestView,
        user: Option<&UserView>,
    ) -> Vec<String> {
        self.stop_environments_of(project, user, &request.ref_path()).await
    }
}

fn fits(title: &str) -> Result<(), MergeRequestError> {
    let long = title.trim().chars().count();
    if (1..=LONGEST_TITLE).contains(&long) { Ok(()) } else { Err(MergeRequestError::Title) }
}

/// Whether a commit is in the history of another.
fn contains(repository: &Repository, whole: &str, sha: &str) -> bool {
    repository.merge_base(whole, sha).is_ok_and(|base| base.as_deref() == Some(sha))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_are_marked_once() {
        for (title, draft, wanted) in [
            ("One", false, "One"),
            ("One", true, "Draft: One"),
            ("draft: One", true, "draft: One"),
            ("[Draft] One", true, "[Draft] One"),
        ] {
            assert_eq!(with_draft(title, draft), wanted);
        }
    }
}
