//! The mirror that a project is: its state in the project's page, its settings. Called by `projects.rs` and `settings.rs`. A log-in
//! never comes to a page.

use crate::form;
use crate::frame::Page;
use crate::time::ago;
use maud::{Markup, html};

/// A mirror.
#[derive(Clone, Debug)]
pub struct MirrorRow {
    /// Without a log-in.
    pub url: String,
    /// There is a log-in.
    pub has_login: bool,
    /// It is fetched.
    pub enabled: bool,
    /// It is being fetched.
    pub running: bool,
    /// The last fetch that went well, milliseconds.
    pub fetched: Option<i64>,
    /// The next fetch, milliseconds.
    pub next: Option<i64>,
    /// Why the last fetch failed.
    pub error: Option<String>,
    /// Pull requests are fetched too.
    pub pull_requests: bool,
    /// Seconds between two fetches.
    pub interval: i64,
    /// With whose rights pipelines are made.
    pub user: String,
}

/// One line, for the project's page; the error for who may do something about it.
pub(crate) fn line(page: &Page, mirror: &MirrorRow) -> Markup {
    let t = page.t();
    let may = page.project.as_ref().is_some_and(|project| project.settings);
    html! {
        p.quiet { (t.mirror) ": "
            @if may { (address(&mirror.url)) " · " }
            (state(page, mirror))
        }
        @if let (true, Some(error)) = (may, &mirror.error) { p.flash.bad role="alert" { (t.mirror_failed) ": " (error) } }
    }
}

/// What is an address of the web is a link.
fn address(url: &str) -> Markup {
    html! {
        @if url.starts_with("https://") || url.starts_with("http://") {
            a rel="nofollow noopener noreferrer" href=(url) { (url) }
        } @else { code { (url) } }
    }
}

fn state(page: &Page, mirror: &MirrorRow) -> Markup {
    let t = page.t();
    html! {
        @if mirror.running { (t.mirror_running) } @else if !mirror.enabled { (t.inactive) }
        @else { (t.mirror_fetched) " " (ago(mirror.fetched, page.now, t)) }
    }
}

/// The section of the settings. `at`: address of the settings; `webhook`: where webhooks go.
pub(crate) fn section(page: &Page, at: &str, webhook: &str, mirror: Option<&MirrorRow>) -> Markup {
    let t = page.t();
    let url = mirror.map_or("", |mirror| mirror.url.as_str());
    let interval = mirror.map_or(300, |mirror| mirror.interval).to_string();
    html! {
        @if let Some(mirror) = mirror {
            (line(page, mirror))
            @if mirror.enabled { p.quiet { (t.next_run) ": " (ago(mirror.next, page.now, t)) " · " (t.user) ": " (mirror.user) } }
            p { (t.webhook_address) ": " code { (webhook) } }
            p {
                (form::button(page, &format!("{at}/mirror/sync"), t.mirror_now, ""))
                (form::button(page, &format!("{at}/mirror/secret"), t.new_webhook_secret, ""))
                (form::button(page, &format!("{at}/mirror/delete"), t.end_mirror, "danger"))
            }
        } @else { p.quiet { (t.no_mirror) } }
        (form::more(page, if mirror.is_some() { t.change } else { t.follow_repository }, &format!("{at}/mirror"), &html! {
            (form::field(t.address, "url", "text", url))
            (form::field(t.user_name, "auth_user", "text", ""))
            label { span { (t.mirror_token) } input name="auth_password" type="password" autocomplete="off"
                placeholder=[mirror.filter(|mirror| mirror.has_login).map(|_| t.hidden_value)]; }
            label { span { (t.ssh_key) } textarea name="ssh_private_key" rows="2" spellcheck="false" autocomplete="off" {} }
            (form::field(t.mirror_interval, "interval", "number", &interval))
            (form::tick(t.mirror_pull_requests, "pull_requests", mirror.is_some_and(|mirror| mirror.pull_requests)))
            (form::tick(t.active, "enabled", mirror.is_none_or(|mirror| mirror.enabled)))
            button type="submit" { (t.save) }
        }))
    }
}
