//! The mirror that a project is, in its settings and on its page.

use super::settings::{back, shown};
use super::visit::{Failure, Shown, Visit};
use crate::mirrors::{MirrorAddress, SHORTEST_INTERVAL};
use harrier_base::Secret;
use harrier_database::{Login, MirrorEdit, NewMirror};
use harrier_pages::{Flash, MirrorRow};
use std::collections::HashMap;

/// What the pages show of it; `None`: the project is none.
pub(super) async fn row(
    visit: &Visit,
    project: i64,
    names: &HashMap<i64, String>,
) -> Result<Option<MirrorRow>, Failure> {
    let found = visit.app.store.mirror(project).await?;
    Ok(found.map(|one| MirrorRow {
        url: one.url,
        has_login: one.has_login,
        enabled: one.enabled,
        running: one.started_at.is_some(),
        fetched: one.fetched_at,
        next: one.next_at,
        error: one.error,
        pull_requests: one.pull_requests,
        interval: one.interval,
        user: one.user.and_then(|user| names.get(&user).cloned()).unwrap_or_default(),
    }))
}

pub(super) async fn save(visit: Visit) -> Shown {
    let (address, in_address) = MirrorAddress::parse(&visit.required("url")?).map_err(Failure::Bad)?;
    let sent = |name: &str| Some(visit.sent(name).trim()).filter(|text| !text.is_empty());
    let (password, key) = (sent("auth_password").map(Secret::new), sent("ssh_private_key").map(Secret::new));
    let login = match password.is_some() || key.is_some() {
        true => Some(Login { username: visit.sent("auth_user").trim().to_owned(), password, key }),
        false => in_address,
    };
    let interval: i64 = visit
        .sent("interval")
        .trim()
        .parse()
        .ok()
        .filter(|seconds| (SHORTEST_INTERVAL..=31 * 86_400).contains(seconds))
        .ok_or_else(|| Failure::Bad("the interval needs to be between 30 seconds and 31 days".to_owned()))?;
    let (project, user) = (visit.project()?.id, visit.user()?.id);
    let (store, pull_requests) = (&visit.app.store, visit.ticked("pull_requests"));
    if store.mirror(project).await?.is_some() {
        let edit = MirrorEdit {
            url: Some(address.as_str().to_owned()),
            // An empty field leaves the log-in as it is.
            login: login.map(Some),
            user: Some(user),
            enabled: Some(visit.ticked("enabled")),
            trigger_builds: None,
            pull_requests: Some(pull_requests),
            interval: Some(interval),
        };
        store.edit_mirror(project, edit, visit.now).await?;
        return back(&visit, "mirror");
    }
    let new = NewMirror {
        project,
        url: address.as_str().to_owned(),
        login,
        user,
        trigger_builds: true,
        pull_requests,
        interval,
    };
    let (_, secret) = store.set_mirror(new, visit.now).await?;
    shown(&visit, Some(Flash::Token(secret.expose().to_owned()))).await
}

pub(super) async fn sync(visit: Visit) -> Shown {
    if !visit.app.store.mirror_now(visit.project()?.id, visit.now).await? {
        return Err(Failure::Bad("the mirror is off".to_owned()));
    }
    back(&visit, "mirror")
}

pub(super) async fn new_secret(visit: Visit) -> Shown {
    let secret = visit.app.store.reset_webhook_secret(visit.project()?.id).await?;
    shown(&visit, Some(Flash::Token(secret.expose().to_owned()))).await
}

pub(super) async fn delete(visit: Visit) -> Shown {
    visit.app.store.delete_mirror(visit.project()?.id).await?;
    back(&visit, "mirror")
}
