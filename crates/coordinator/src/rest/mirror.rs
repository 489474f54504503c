//! The mirror that a project is: shown, set, fetched now, ended; and the address of webhooks, which show the mirror's own secret in
//! place of a token.

use super::call::{Call, Done, Failure, Reply};
use super::entities::time;
use super::table;
use crate::answer::Refusal;
use crate::app::App;
use crate::mirrors::webhook::{self, Event};
use crate::mirrors::{DEFAULT_INTERVAL, MirrorAddress, SHORTEST_INTERVAL};
use axum::http::StatusCode;
use harrier_base::Secret;
use harrier_database::{Login, MirrorEdit, MirrorView, NewMirror, ProjectView};
use serde_json::{Value, json};

fn none() -> Failure {
    Refusal::new(StatusCode::NOT_FOUND, "404 Pull Mirror Not Found").into()
}

/// `update_status`, as GitLab names it.
pub(super) fn status(one: &MirrorView) -> &'static str {
    match one {
        one if one.started_at.is_some() => "started",
        one if !one.enabled => "none",
        one if one.error.is_some() => "failed",
        one if one.fetched_at.is_some() => "finished",
        _ => "scheduled",
    }
}

/// Where webhooks of a project's mirror go.
pub(crate) fn webhook_url(app: &App, project: i64) -> String {
    format!("{}/api/v4/projects/{project}/mirror/pull", app.settings.external_url)
}

fn entity(app: &App, one: &MirrorView) -> Value {
    json!({
        "id": one.project,
        "enabled": one.enabled,
        "url": one.url,
        "update_status": status(one),
        "last_error": one.error,
        "last_update_at": time(one.tried_at),
        "last_update_started_at": time(one.started_at),
        "last_successful_update_at": time(one.fetched_at),
        "next_update_at": time(one.next_at),
        "failures": one.failures,
        "mirror_trigger_builds": one.trigger_builds,
        "mirror_user_id": one.user,
        "only_mirror_protected_branches": false,
        "mirror_overwrites_diverged_branches": true,
        "mirror_branch_regex": null,
        "pull_requests": one.pull_requests,
        "interval": one.interval,
        "has_login": one.has_login,
        "webhook_url": webhook_url(app, one.project),
    })
}

pub(super) async fn show(call: Call) -> Done {
    let found = call.app.store.mirror(call.project()?.id).await?.ok_or_else(none)?;
    Ok(Reply::Json(entity(&call.app, &found)))
}

fn address(call: &Call, name: &str) -> Result<Option<(MirrorAddress, Option<Login>)>, Failure> {
    let url = call.filled(name);
    url.map(|url| MirrorAddress::parse(&url).map_err(|why| Failure::invalid(name, &why))).transpose()
}

/// The log-in that a request gives beside an address; `Some(None)`: none any more.
fn login(call: &Call) -> Option<Option<Login>> {
    if !["auth_user", "auth_password", "ssh_private_key"].iter().any(|name| call.has(name)) {
        return None;
    }
    let secret = |name: &str| call.filled(name).map(Secret::new);
    let login = Login {
        username: call.text("auth_user").unwrap_or_default(),
        password: secret("auth_password"),
        key: secret("ssh_private_key"),
    };
    Some((login.password.is_some() || login.key.is_some()).then_some(login))
}

fn interval(call: &Call) -> Result<Option<i64>, Failure> {
    let seconds = call.number("interval")?;
    if seconds.is_some_and(|seconds| !(SHORTEST_INTERVAL..=31 * 86_400).contains(&seconds)) {
        return Err(Failure::invalid("interval", "needs to be between 30 seconds and 31 days"));
    }
    Ok(seconds)
}

pub(super) async fn put(call: Call) -> Done {
    let (store, project) = (&call.app.store, call.project()?.id);
    let (given, interval) = (address(&call, "url")?, interval(&call)?);
    let (url, in_url) = given.map_or((None, None), |(url, login)| (Some(url), login));
    let login = login(&call).or(in_url.map(Some));
    let user = call.actor().await?.id;
    let (trigger_builds, pull_requests) = (call.flag("mirror_trigger_builds")?, call.flag("pull_requests")?);
    let (view, secret) = match (store.mirror(project).await?, url) {
        (Some(_), url) => {
            let edit = MirrorEdit {
                url: url.map(|url| url.as_str().to_owned()),
                login,
                user: Some(user),
                enabled: call.flag("enabled")?,
                trigger_builds,
                pull_requests,
                interval,
            };
            let view = store.edit_mirror(project, edit, call.now).await?;
            let secret = match call.flag("reset_webhook_secret")? {
                Some(true) => Some(store.reset_webhook_secret(project).await?),
                Some(false) | None => None,
            };
            (view, secret)
        }
        (None, Some(url)) => {
            let new = NewMirror {
                project,
                url: url.as_str().to_owned(),
                login: login.flatten(),
                user,
                trigger_builds: trigger_builds.unwrap_or(true),
                pull_requests: pull_requests.unwrap_or(false),
                interval: interval.unwrap_or(DEFAULT_INTERVAL),
            };
            let (view, secret) = store.set_mirror(new, call.now).await?;
            (view, Some(secret))
        }
        (None, None) => return Err(Failure::Parameter("url is missing".to_owned())),
    };
    let mut shown = entity(&call.app, &view);
    if let Some(secret) = secret {
        shown["webhook_secret"] = secret.expose().into();
    }
    Ok(Reply::Json(shown))
}

/// By a webhook that shows the mirror's secret, or a person.
pub(super) async fn start(call: Call) -> Done {
    let Some(shown) = webhook::shown(&call.headers) else { return now(&call, call.project()?.id).await };
    let project = table::find(&call).await?;
    let secret = match &project {
        Some(project) => call.app.store.webhook_secret(project.id).await?,
        None => None,
    };
    // The same word whatever is wrong: nobody learns which projects there are.
    let good = secret.filter(|secret| webhook::right(&shown, secret, &call.body));
    let (Some(_), Some(project)) = (good, project) else { return Err(Refusal::unauthorized().into()) };
    match webhook::event(&call.headers) {
        Event::Ping => Ok(Reply::Json(json!({ "message": "pong" }))),
        Event::Other => Ok(Reply::Json(json!({ "message": "this event is not looked at" }))),
        Event::Fetch => now(&call, project.id).await,
    }
}

async fn now(call: &Call, project: i64) -> Done {
    if call.app.store.mirror_now(project, call.now).await? {
        return Ok(Reply::Json(json!({ "message": "the mirror is fetched now" })));
    }
    match call.app.store.mirror(project).await? {
        None => Err(none()),
        Some(_) => Err(Refusal::bad("the mirror is off").into()),
    }
}

pub(super) async fn delete(call: Call) -> Done {
    call.app.store.delete_mirror(call.project()?.id).await?;
    Ok(Reply::Nothing)
}

/// What `import_url`, `mirror` and `mirror_trigger_builds` of a project ask for, checked before anything is made.
pub(super) struct OfProject {
    url: Option<(MirrorAddress, Option<Login>)>,
    mirror: Option<bool>,
    trigger_builds: Option<bool>,
}

impl OfProject {
    pub fn of(call: &Call) -> Result<Self, Failure> {
        let this = Self {
            url: address(call, "import_url")?,
            mirror: call.flag("mirror")?,
            trigger_builds: call.flag("mirror_trigger_builds")?,
        };
        if this.url.is_some() && this.mirror == Some(false) {
            return Err(Failure::invalid(
                "import_url",
                "is mirrored here, not imported once: it needs mirror=true",
            ));
        }
        Ok(this)
    }

    /// Carries it out; `None`: nothing was asked.
    pub async fn carry_out(self, call: &Call, project: &ProjectView) -> Result<(), Failure> {
        let (store, project) = (&call.app.store, project.id);
        let there = store.mirror(project).await?.is_some();
        let user = call.actor().await?.id;
        match (there, self.url) {
            (true, url) => {
                if url.is_none() && self.mirror.is_none() && self.trigger_builds.is_none() {
                    return Ok(());
                }
                let (url, login) = url.map_or((None, None), |(url, login)| (Some(url), login));
                let edit = MirrorEdit {
                    url: url.map(|url| url.as_str().to_owned()),
                    login: login.map(Some),
                    user: Some(user),
                    enabled: self.mirror,
                    trigger_builds: self.trigger_builds,
                    ..MirrorEdit::default()
                };
                store.edit_mirror(project, edit, call.now).await?;
            }
            (false, Some((url, login))) => {
                let new = NewMirror {
                    project,
                    url: url.as_str().to_owned(),
                    login,
                    user,
                    trigger_builds: self.trigger_builds.unwrap_or(true),
                    pull_requests: false,
                    interval: DEFAULT_INTERVAL,
                };
                // Its secret is for whoever asks for one: `reset_webhook_secret`.
                store.set_mirror(new, call.now).await?;
            }
            (false, None) if self.mirror == Some(true) => {
                return Err(Failure::invalid("import_url", "is missing: a mirror needs an address"));
            }
            (false, None) => {}
        }
        Ok(())
    }
}
