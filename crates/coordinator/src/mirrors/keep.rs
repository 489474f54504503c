//! Keeps mirrors up to date: fetches what is due, some at a time, and makes pipelines of what moved with the rights of who made the
//! mirror. Runs beside the server as long as it does; called by [`App::background`]. Only one fetch of a project goes on at a time.

use super::address::MirrorAddress;
use super::fetch::Remote;
use crate::app::App;
use crate::git_http::RefChange;
use crate::make_pipeline::{MakeError, waiting};
use crate::push_options::PushOptions;
use crate::pushes::moved;
use harrier_database::{AccessLevel, DatabaseError, Fetched, MirrorView, ProjectEdit, ProjectView, UserView};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Seconds between two fetches, unless somebody chose otherwise, and at least.
pub const DEFAULT_INTERVAL: i64 = 300;
/// The shortest interval, in seconds.
pub const SHORTEST_INTERVAL: i64 = 30;

/// Fetches at a time.
const AT_ONCE: usize = 4;
/// Longest wait after failures, in milliseconds.
const LONGEST_WAIT: i64 = 6 * 3_600_000;
/// What other processes ask for is seen within so many milliseconds.
const LOOK: i64 = 2_000;
/// More branches and tags that moved in one fetch make no pipelines: that is a history, not a change.
const MOST: usize = 20;

impl App {
    /// Keeps all mirrors.
    pub(crate) async fn keep_mirrors(self: &Arc<Self>) {
        let mut changes = self.store.changes();
        let mut running = JoinSet::new();
        loop {
            let now = self.now();
            let free = AT_ONCE.saturating_sub(running.len());
            let next = match self.store.take_mirrors(now, free).await {
                Ok((due, next)) => {
                    for mirror in due {
                        let app = Arc::clone(self);
                        running.spawn(async move { app.keep_mirror(mirror).await });
                    }
                    next.unwrap_or(i64::MAX)
                }
                Err(DatabaseError::Closed) => return,
                Err(error) => {
                    tracing::error!(error = %error, "the mirrors could not be read; it is tried again");
                    now.saturating_add(5_000)
                }
            };
            let full = running.len() >= AT_ONCE;
            let next = if full { i64::MAX } else { next };
            tokio::select! {
                waited = self.until(next.min(now.saturating_add(LOOK)), &mut changes) => if waited.is_break() { return },
                Some(_) = running.join_next(), if !running.is_empty() => {}
            }
        }
    }

    async fn keep_mirror(&self, mirror: MirrorView) {
        let outcome = self.fetch_mirror(&mirror).await;
        let failures = if outcome.is_ok() { 0 } else { mirror.failures + 1 };
        let outcome = match outcome {
            Ok(()) => Fetched::Well,
            Err(why) => {
                tracing::warn!(project = mirror.project, url = mirror.url, why, "a mirror was not fetched");
                Fetched::Failed(why)
            }
        };
        let now = self.now();
        let next = now.saturating_add(wait(mirror.interval, failures, random()));
        if let Err(error) = self.store.mirror_fetched(mirror.project, outcome, next, now).await {
            tracing::error!(project = mirror.project, error = %error, "the end of a mirror's fetch was not written down");
        }
    }

    /// Fetches a mirror and makes its pipelines; says in words why it could not.
    async fn fetch_mirror(&self, mirror: &MirrorView) -> Result<(), String> {
        let text = |error: DatabaseError| error.to_string();
        let mut project = self.store.project(mirror.project).await.map_err(text)?;
        let user = self.mirrors_user(&project, mirror).await?;
        self.ensure_repository(&project).await.map_err(|refusal| refusal.message.to_string())?;
        let (address, _) = MirrorAddress::parse(&mirror.url)?;
        let login = self.store.mirror_login(project.id).await.map_err(text)?;
        let dir = self.data.repository(project.id);
        let (policy, root) = (&self.settings.include_policy, self.data.root());
        let remote = Remote::open(&dir, &address, login.as_ref(), mirror.pull_requests, policy, root).await?;
        let there = remote.list().await?;
        let here = self.mirrored_refs(project.id).await?;
        if there.refs.is_empty() && !here.is_empty() {
            return Err("the remote has no branches any more; nothing was removed here".to_owned());
        }
        if there.refs != here {
            remote.fetch().await?;
        }
        drop(remote);
        let here = self.mirrored_refs(project.id).await?;
        if let Some(head) = there.head {
            let at = |branch: &str| here.contains_key(&format!("refs/heads/{branch}"));
            let first = mirror.fetched_at.is_none() || !at(&project.default_branch);
            if first && project.default_branch != head && at(&head) {
                project = self.follow_head(project, head).await?;
            }
        }
        let known = self.store.known_refs(project.id).await.map_err(text)?;
        let changes = moved(&known, &here.into_iter().collect::<Vec<_>>());
        self.mirrored(&project, mirror, user, changes).await
    }

    /// With whose rights it is fetched.
    async fn mirrors_user(&self, project: &ProjectView, mirror: &MirrorView) -> Result<UserView, String> {
        let take_over = "somebody else has to take the mirror over: save its settings again";
        let Some(id) = mirror.user else { return Err(format!("nobody keeps this mirror; {take_over}")) };
        let user = match self.store.user(id).await {
            Ok(user) => user,
            Err(DatabaseError::NotFound(_)) => return Err(format!("who made it is gone; {take_over}")),
            Err(error) => return Err(error.to_string()),
        };
        let level = match user.admin {
            true => Some(AccessLevel::Owner),
            false => self.store.access(project.id, user.id).await.map_err(|error| error.to_string())?,
        };
        match level >= Some(AccessLevel::Maintainer) && !user.blocked {
            true => Ok(user),
            false => {
                Err(format!("{} may no longer keep mirrors in this project; {take_over}", user.username))
            }
        }
    }

    /// Branches, tags and merge requests of a repository, with the objects they name.
    async fn mirrored_refs(&self, project: i64) -> Result<BTreeMap<String, String>, String> {
        let repository = self.repository(project);
        let all = waiting(move || repository.mirrored_refs()).await.map_err(|error| error.to_string())?;
        Ok(all.map_err(|error| error.to_string())?.into_iter().collect())
    }

    async fn follow_head(&self, project: ProjectView, head: String) -> Result<ProjectView, String> {
        let (repository, branch) = (self.repository(project.id), head.clone());
        let moved: Result<Result<(), _>, MakeError> = waiting(move || repository.set_head(&branch)).await;
        moved.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let edit = ProjectEdit { default_branch: Some(head), ..ProjectEdit::default() };
        self.store.edit_project(project.id, edit).await.map_err(|error| error.to_string())
    }

    /// Pipelines of what moved. The first time everything is new: only the default branch gets one.
    async fn mirrored(
        &self,
        project: &ProjectView,
        mirror: &MirrorView,
        user: UserView,
        changes: Vec<RefChange>,
    ) -> Result<(), String> {
        let first = mirror.fetched_at.is_none();
        let default = format!("refs/heads/{}", project.default_branch);
        let wanted: Vec<&RefChange> = changes
            .iter()
            .filter(|change| mirror.trigger_builds && !change.deletes() && (!first || change.name == default))
            // Pull requests hold anybody's code: they are here to be looked at.
            .filter(|change| !change.name.starts_with("refs/merge-requests/"))
            .collect();
        if wanted.len() > MOST {
            tracing::warn!(
                project = project.path,
                refs = wanted.len(),
                "so many refs at once make no pipelines"
            );
        } else {
            for change in wanted {
                let (Ok(said) | Err(said)) =
                    self.ref_moved(project, Some(user.clone()), change, &PushOptions::default()).await;
                for line in said {
                    tracing::info!(project = project.path, line, "a mirrored ref moved");
                }
            }
        }
        let gone = changes.iter().filter(|change| change.deletes());
        for branch in gone.filter_map(|change| change.name.strip_prefix("refs/heads/")) {
            for line in self.branch_gone(project, Some(&user), branch).await {
                tracing::info!(project = project.path, line, "a mirrored branch is gone");
            }
        }
        // After the pipelines: a server that dies between the two makes them at its next fetch.
        let known = changes
            .into_iter()
            .map(|change| {
                let sha = (!change.deletes()).then_some(change.new);
                (change.name, sha)
            })
            .collect();
        self.store.set_known_refs(project.id, known).await.map_err(|error| error.to_string())
    }
}

/// Milliseconds until the next fetch: twice as long after each failure, and never quite the same for all.
fn wait(interval: i64, failures: i64, random: u16) -> i64 {
    let interval = interval.max(SHORTEST_INTERVAL).saturating_mul(1000);
    let doubled = interval.saturating_mul(1 << failures.clamp(0, 16));
    let wait = doubled.min(LONGEST_WAIT.max(interval));
    wait.saturating_add(wait / 10 * i64::from(random) / i64::from(u16::MAX))
}

fn random() -> u16 {
    let mut bytes = [0_u8; 2];
    // Without randomness mirrors come at the same moment, which is slower and not wrong.
    let _ = SystemRandom::new().fill(&mut bytes);
    u16::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::wait;

    #[test]
    fn the_wait_doubles_and_ends_somewhere() {
        for (interval, failures, random, seconds) in [
            (300, 0, 0, 300),
            (300, 0, u16::MAX, 330),
            (300, 1, 0, 600),
            (300, 3, 0, 2400),
            (300, 50, 0, 21_600),
            (86_400, 5, 0, 86_400),
            (1, 0, 0, 30),
        ] {
            assert_eq!(wait(interval, failures, random), seconds * 1000, "{interval} {failures} {random}");
        }
    }
}
