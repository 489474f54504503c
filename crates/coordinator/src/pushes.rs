//! What a push leads to: the default branch of a new project, and a pipeline for each branch and tag. Called by git over HTTP
//! before the client is told that all is well, by mirrors, and for refs that moved while no server was there to see it: at the
//! start, and when somebody is about to push, since a git that outlived its server may move a ref after the start.

use crate::app::App;
use crate::git_http::{Push, RefChange};
use crate::make_pipeline::{Made, NoPipeline, Start, waiting};
use crate::push_note::{PushNote, Written};
use crate::push_options::PushOptions;
use harrier_database::{DatabaseError, PageAt, PipelineView, ProjectEdit, ProjectView, UserView};
use harrier_pipeline::Status;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A push of more refs makes no pipelines, as with GitLab: it brings a history, not a change.
const MOST: usize = 4;
/// More than any server has.
const MOST_PROJECTS: usize = 10_000_000;

/// Projects that are pushed to at present.
#[derive(Default)]
pub struct Pushes(Mutex<HashMap<i64, Arc<Pushed>>>);

#[derive(Default)]
struct Pushed {
    /// The refs of each push that git has begun or is about to.
    under_way: Mutex<Vec<Arc<[String]>>>,
    /// Whoever makes pipelines of pushes to this project.
    turn: tokio::sync::Mutex<()>,
}

/// A push that git has begun or is about to. Dropped, it is over.
pub struct UnderWay {
    project: Arc<Pushed>,
    refs: Arc<[String]>,
    note: Option<Written>,
}

impl UnderWay {
    /// The pipelines are made: the next server has nothing to make up for. Not said by a server that ends in between.
    fn done(mut self) {
        if let Some(note) = self.note.take() {
            note.forget();
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.project.under_way().retain(|refs| !Arc::ptr_eq(refs, &self.refs));
    }
}

impl Pushed {
    fn under_way(&self) -> MutexGuard<'_, Vec<Arc<[String]>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pushes {
    fn of(&self, project: i64) -> Arc<Pushed> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, pushed| *id == project || Arc::strong_count(pushed) > 1);
        Arc::clone(all.entry(project).or_default())
    }
}

impl App {
    /// git is about to carry a push out. What a later server must know to make its pipelines is written down.
    pub fn begin_push(&self, project: i64, user: Option<&UserView>, push: &Push) -> UnderWay {
        let pushed = self.pushes.of(project);
        let refs: Arc<[String]> = push.changes.iter().map(|change| change.name.clone()).collect();
        pushed.under_way().push(Arc::clone(&refs));
        let note = PushNote::of(user.map(|user| user.id), push).write(&self.data.push_notes(project));
        let note = note.inspect_err(|error| {
            tracing::warn!(project, error = %error, "a push was not written down; it goes on");
        });
        UnderWay { project: pushed, refs, note: note.ok() }
    }

    /// Refs of a project were changed. Gives what the person who pushed is to read.
    pub async fn pushed(
        &self,
        project: ProjectView,
        user: Option<UserView>,
        push: Push,
        under_way: UnderWay,
    ) -> Vec<String> {
        if push.changes.is_empty() {
            under_way.done();
            return Vec::new();
        }
        self.metrics.pushed();
        let by = user.as_ref().map(|user| user.username.as_str()).unwrap_or_default();
        tracing::info!(project = project.path, user = by, refs = push.changes.len(), "push");
        let turns = self.pushes.of(project.id);
        let _turn = turns.turn.lock().await;
        let said = self.carry_on(project, user, push).await;
        under_way.done();
        said
    }

    async fn carry_on(&self, project: ProjectView, user: Option<UserView>, push: Push) -> Vec<String> {
        let project = self.with_default_branch(project, &push).await;
        let mut options = PushOptions::read(&push.options);
        let skip = options.skip;
        let new = push.changes.iter().filter(|change| !change.deletes()).count();
        let mut said = std::mem::take(&mut options.warnings);
        if new > MOST && !skip {
            said.push(format!(
                "{new} branches and tags at once make no pipelines; start one by hand where it is wanted."
            ));
        }
        let (makes, others): (Vec<&RefChange>, Vec<&RefChange>) =
            push.changes.iter().partition(|change| !skip && new <= MOST && !change.deletes());
        let mut dealt_with: Vec<(String, Option<String>)> = Vec::new();
        // Before the pipelines of branches, which are told of open merge requests; and before the refs are known, so that a
        // server that dies in between makes these too.
        let mut in_requests: Vec<&str> = Vec::new();
        for change in push.changes.iter().filter(|change| new <= MOST && !change.deletes()) {
            let asked = &options.merge_request;
            let (words, any) = self.merge_requests_of_push(&project, user.as_ref(), change, asked).await;
            said.extend(words);
            if any {
                in_requests.push(&change.name);
            }
        }
        for change in makes {
            match self.ref_moved(&project, user.clone(), change, &options).await {
                Ok(words) => said.extend(words),
                Err(words) => {
                    // That the branch has no pipeline is what one wants whose merge request has one.
                    if !in_requests.contains(&change.name.as_str()) {
                        said.extend(words);
                    }
                    dealt_with.push((change.name.clone(), Some(change.new.clone())));
                }
            }
        }
        let gone = push.changes.iter().filter(|change| change.deletes());
        for branch in gone.filter_map(|change| change.name.strip_prefix("refs/heads/")) {
            said.extend(self.branch_gone(&project, user.as_ref(), branch).await);
        }
        dealt_with.extend(others.iter().map(|c| (c.name.clone(), (!c.deletes()).then(|| c.new.clone()))));
        if !dealt_with.is_empty()
            && let Err(error) = self.store.set_known_refs(project.id, dealt_with).await
        {
            tracing::error!(project = project.path, error = %error, "refs were not written down");
        }
        said
    }

    /// A branch was removed: its merge requests are closed, and what was deployed from it is stopped, where a job does that. Gives
    /// what is to be read of it.
    pub(crate) async fn branch_gone(
        &self,
        project: &ProjectView,
        user: Option<&UserView>,
        branch: &str,
    ) -> Vec<String> {
        let mut said = match self.close_merge_requests_of(project, user, branch).await {
            Ok(said) => said,
            Err(error) => {
                tracing::error!(project = project.path, branch, error = %error, "merge requests were not closed");
                Vec::new()
            }
        };
        said.extend(self.stop_environments_of(project, user, branch).await);
        said
    }

    /// Stops what was deployed from a ref that is no more, where a job does that. Gives what is to be read of it.
    pub(crate) async fn stop_environments_of(
        &self,
        project: &ProjectView,
        user: Option<&UserView>,
        git_ref: &str,
    ) -> Vec<String> {
        let by = user.map(|user| user.id);
        match self.store.stop_environments_of(project.id, git_ref, by, self.now()).await {
            Ok(stopped) => {
                stopped.iter().map(|one| format!("The environment {} is being stopped.", one.name)).collect()
            }
            Err(error) => {
                tracing::error!(project = project.path, git_ref, error = %error, "environments were not stopped");
                Vec::new()
            }
        }
    }

    /// The pipeline of a branch or tag that moved, and with it the ref is known; what a person is to read of it. `Err`: there is
    /// none, and the ref is still to be written down.
    pub(crate) async fn ref_moved(
        &self,
        project: &ProjectView,
        user: Option<UserView>,
        change: &RefChange,
        options: &PushOptions,
    ) -> Result<Vec<String>, Vec<String>> {
        let (git_ref, tag) = match change.name.strip_prefix("refs/heads/") {
            Some(branch) => (branch, false),
            None => match change.name.strip_prefix("refs/tags/") {
                Some(tag) => (tag, true),
                None => return Err(Vec::new()),
            },
        };
        match self.store.known_ref(project.id, &change.name).await {
            // Whoever made up for what a server before this one began came first.
            Ok(Some(known)) if known == change.new => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => {
                tracing::error!(project = project.path, error = %error, "a ref could not be looked up")
            }
        }
        let start = Start {
            source: "push".to_owned(),
            git_ref: git_ref.to_owned(),
            tag,
            sha: change.new.clone(),
            before: (!change.creates()).then(|| change.old.clone()),
            pushed: Some((change.name.clone(), change.new.clone())),
            user,
            variables: options.variables.clone(),
            inputs: options.inputs.clone(),
            ..Start::default()
        };
        match self.make_pipeline(project, start).await {
            Ok(Made::Pipeline(made)) => Ok(self.pipeline_words(project, git_ref, &made)),
            Ok(Made::None(NoPipeline::NoFile(_) | NoPipeline::Skipped)) => Err(Vec::new()),
            Ok(Made::None(why)) => Err(vec![format!("{git_ref}: {}", why.message())]),
            Err(error) => {
                tracing::error!(project = project.path, git_ref, error = %error, "a push has no pipeline");
                Err(vec![format!("{git_ref}: no pipeline could be made: {error}")])
            }
        }
    }

    /// What who pushed is to read of the pipeline of a ref or a merge request.
    pub(crate) fn pipeline_words(&self, project: &ProjectView, of: &str, made: &PipelineView) -> Vec<String> {
        let head = match made.status {
            Status::Failed => format!("The configuration for {of} has errors; no job runs:"),
            _ => format!("Pipeline #{} for {of}:", made.id),
        };
        let errors = made.messages.iter().filter(|message| message.error).take(10);
        let errors = errors.map(|message| format!("  {}", message.text));
        let url = format!("  {}/{}/-/pipelines/{}", self.settings.external_url, project.path, made.id);
        std::iter::once(head).chain(errors).chain([url]).collect()
    }

    /// The first branch of an empty project becomes its default branch, `main` or `master` before others.
    async fn with_default_branch(&self, project: ProjectView, push: &Push) -> ProjectView {
        let new: Vec<&str> = push
            .changes
            .iter()
            .filter(|change| !change.deletes())
            .filter_map(|change| change.name.strip_prefix("refs/heads/"))
            .collect();
        let Some(first) =
            ["main", "master"].into_iter().find(|name| new.contains(name)).or(new.first().copied())
        else {
            return project;
        };
        let known = self.store.known_refs(project.id).await.unwrap_or_default();
        if project.default_branch == first || known.iter().any(|(name, _)| name.starts_with("refs/heads/")) {
            return project;
        }
        let edit = ProjectEdit { default_branch: Some(first.to_owned()), ..ProjectEdit::default() };
        let (repository, branch) = (self.repository(project.id), first.to_owned());
        let moved = waiting(move || repository.set_head(&branch)).await;
        if let Ok(Err(error)) = moved {
            tracing::warn!(project = project.path, error = %error, "the default branch of the repository stays");
        }
        self.store.edit_project(project.id, edit).await.unwrap_or(project)
    }

    /// Pipelines of refs of a project that moved while no server was there to make them.
    pub async fn make_up_for_pushes_to(&self, project: ProjectView) -> Result<(), DatabaseError> {
        let turns = self.pushes.of(project.id);
        let _turn = turns.turn.lock().await;
        // What moved in a mirror is found by its next fetch.
        if self.store.mirror(project.id).await?.is_some() {
            return Ok(());
        }
        // Who pushes at present makes the pipelines of it.
        let of_others: HashSet<String> =
            turns.under_way().iter().flat_map(|refs| refs.iter().cloned()).collect();
        let known = self.store.known_refs(project.id).await?;
        let (repository, notes) = (self.repository(project.id), self.data.push_notes(project.id));
        let read = waiting(move || {
            let refs = repository.raw_refs()?;
            Ok::<_, std::io::Error>((refs, PushNote::read_all(&notes)))
        });
        let Ok(Ok((now, notes))) = read.await else { return Ok(()) };
        let mut changes = moved(&known, &now);
        changes.retain(|change| !of_others.contains(&change.name));
        if !changes.is_empty() {
            tracing::info!(project = project.path, refs = changes.len(), "refs moved while no server ran");
        }
        for (note, written) in notes {
            let (of_note, others): (Vec<RefChange>, Vec<RefChange>) =
                changes.into_iter().partition(|change| note.names(change));
            changes = others;
            if of_note.is_empty() {
                // A git that outlived its server may still be at it.
                written.forget_if_old();
                continue;
            }
            let user = match note.user {
                Some(user) => self.store.user(user).await.ok(),
                None => None,
            };
            self.carry_on(project.clone(), user, note.push(of_note)).await;
            written.forget();
        }
        if !changes.is_empty() {
            self.carry_on(project, None, Push { changes, ..Push::default() }).await;
        }
        Ok(())
    }

    /// Pipelines of refs that moved while no server was there to make them.
    pub async fn make_up_for_pushes(&self) -> Result<(), DatabaseError> {
        // At once: pages of a list that people work on pass some of it over.
        let all = self.store.projects(None, true, "", PageAt { number: 1, size: MOST_PROJECTS }).await?;
        for project in all.entries {
            self.make_up_for_pushes_to(project).await?;
        }
        Ok(())
    }
}

/// What is different between refs as they were known and as they are.
pub(crate) fn moved(known: &[(String, String)], now: &[(String, String)]) -> Vec<RefChange> {
    let zeros = |like: &str| "0".repeat(like.len());
    let at = |refs: &[(String, String)], name: &str| {
        refs.iter().find(|(found, _)| found == name).map(|(_, id)| id.clone())
    };
    let mut changes: Vec<RefChange> = now
        .iter()
        .filter_map(|(name, new)| {
            let old = at(known, name);
            (old.as_ref() != Some(new)).then(|| RefChange {
                name: name.clone(),
                old: old.unwrap_or_else(|| zeros(new)),
                new: new.clone(),
            })
        })
        .collect();
    let gone = known.iter().filter(|(name, _)| at(now, name).is_none());
    changes.extend(gone.map(|(name, old)| RefChange {
        name: name.clone(),
        old: old.clone(),
        new: zeros(old),
    }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_that_moved_are_found() {
        let refs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())).collect()
        };
        let found = moved(
            &refs(&[("a", "11"), ("b", "11"), ("c", "11")]),
            &refs(&[("a", "11"), ("b", "22"), ("d", "33")]),
        );
        let shown: Vec<(&str, &str, &str)> = found
            .iter()
            .map(|change| (change.name.as_str(), change.old.as_str(), change.new.as_str()))
            .collect();
        assert_eq!(shown, [("b", "11", "22"), ("d", "00", "33"), ("c", "11", "00")]);
    }
}
