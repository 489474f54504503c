//! A project's environments: what is there now, what was deployed before, and the button that stops one.

use crate::form;
use crate::frame::Page;
use crate::pager::{Beside, pager};
use crate::status::{self, Look};
use crate::time::ago;
use harrier_pipeline::Status;
use maud::{Markup, html};

/// What an environment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvironmentLook {
    /// It may be deployed to, or has been.
    Available,
    /// Its stop jobs were started.
    Stopping,
    /// It was stopped.
    Stopped,
}

/// An environment.
#[derive(Clone, Debug)]
pub struct EnvironmentRow {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Where it is to be seen; only `http` and `https` addresses become links.
    pub url: Option<String>,
    /// `production`, `staging`, …
    pub tier: String,
    /// What it is in.
    pub state: EnvironmentLook,
    /// It stops by itself then, milliseconds.
    pub auto_stop: Option<i64>,
    /// What is there now.
    pub latest: Option<DeploymentRow>,
    /// The viewer may stop it.
    pub may_stop: bool,
    /// The viewer may remove it.
    pub may_delete: bool,
}

/// A deployment.
#[derive(Clone, Debug)]
pub struct DeploymentRow {
    /// Number within the project.
    pub iid: i64,
    /// Its status.
    pub status: Status,
    /// Branch or tag.
    pub git_ref: String,
    /// Commit.
    pub sha: String,
    /// The job and its name, unless it was removed.
    pub job: Option<(i64, String)>,
    /// Who deployed.
    pub user: Option<String>,
    /// Milliseconds.
    pub created: i64,
    /// Milliseconds.
    pub finished: Option<i64>,
}

/// All environments of a project.
#[derive(Clone, Debug)]
pub struct EnvironmentsPage {
    /// `group/name`.
    pub project: String,
    /// In order of their names.
    pub rows: Vec<EnvironmentRow>,
    /// The other pages of the list.
    pub beside: Beside,
}

/// One environment.
#[derive(Clone, Debug)]
pub struct EnvironmentPage {
    /// `group/name`.
    pub project: String,
    /// The environment.
    pub environment: EnvironmentRow,
    /// What it is for.
    pub description: Option<String>,
    /// Its deployments, the newest first.
    pub deployments: Vec<DeploymentRow>,
    /// The other pages of the list.
    pub beside: Beside,
}

/// The list of a project's environments.
pub fn environments_page(page: &Page, list: &EnvironmentsPage) -> String {
    let t = page.t();
    let project = &list.project;
    page.whole(t.environments, &html! {
        h1 { (t.environments) }
        div.scroll #environments data-live {
            @if list.rows.is_empty() { p.empty { (t.no_environments) } } @else { table.list {
                thead { tr { th { (t.environment) } th { (t.status) } th { (t.last_deployment) } th { (t.stops_by_itself) } th {} } }
                tbody { @for row in &list.rows { tr {
                    td.wide { a.strong href=(format!("/{project}/-/environments/{}", row.id)) { (row.name) } " "
                        span.quiet { (row.tier) } " " (address(row)) }
                    td { (state(page, row.state)) }
                    td { @if let Some(latest) = &row.latest { (what(project, latest)) " " (ago(latest.finished, page.now, t)) } }
                    td { @if row.auto_stop.is_some() { (ago(row.auto_stop, page.now, t)) } }
                    td.deeds { (buttons(page, project, row)) }
                } } }
            } }
        }
        (pager(page, t.environments, &format!("/{project}/-/environments"), &list.beside))
    })
}

/// One environment with its history.
pub fn environment_page(page: &Page, shown: &EnvironmentPage) -> String {
    let t = page.t();
    let (project, row) = (&shown.project, &shown.environment);
    page.whole(&row.name, &html! {
        div.headline { h1 { (row.name) } (buttons(page, project, row)) }
        @if let Some(description) = &shown.description { p { (description) } }
        div #environment data-live {
            p { (state(page, row.state)) " " span.quiet { (row.tier) } " " (address(row)) }
            @if row.auto_stop.is_some() { p { (t.stops_by_itself) ": " (ago(row.auto_stop, page.now, t)) } }
            h2 { (t.deployments) }
            div.scroll { @if shown.deployments.is_empty() { p.empty { (t.no_deployments) } } @else { table.list {
                thead { tr { th { (t.status) } th { (t.deployment) } th { (t.job) } th { (t.started_by) } th { (t.created) } th { (t.finished) } } }
                tbody { @for one in &shown.deployments { tr {
                    td { (status::badge(Some(one.status), false, t))
                        @if row.latest.as_ref().is_some_and(|latest| latest.iid == one.iid) { " " span.state.good { (t.latest) } } }
                    td { "#" (one.iid) " " (commit(one)) }
                    td { (job(project, one)) }
                    td { (one.user.as_deref().unwrap_or_default()) }
                    td { (ago(Some(one.created), page.now, t)) }
                    td { (ago(one.finished, page.now, t)) }
                } } }
            } } }
        }
        (pager(page, t.environments, &format!("/{project}/-/environments/{}", row.id), &shown.beside))
    })
}

fn state(page: &Page, state: EnvironmentLook) -> Markup {
    let t = page.t();
    let (like, word) = match state {
        EnvironmentLook::Available => (Status::Success, t.state_available),
        EnvironmentLook::Stopping => (Status::Running, t.state_stopping),
        EnvironmentLook::Stopped => (Status::Canceled, t.state_stopped),
    };
    let look = Look { word, ..status::look(Some(like), false, t) };
    html! { span.state.(look.class) { (status::icon(&look)) (look.word) } }
}

/// Where it is to be seen; what is no address of the web is text.
fn address(row: &EnvironmentRow) -> Markup {
    let web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    html! {
        @match row.url.as_deref().filter(web) {
            Some(url) => a rel="nofollow noopener noreferrer" href=(url) { (url) },
            None => span { (row.url.as_deref().unwrap_or_default()) },
        }
    }
}

fn commit(one: &DeploymentRow) -> Markup {
    html! { (one.git_ref) " " code { (one.sha.chars().take(8).collect::<String>()) } }
}

fn job(project: &str, one: &DeploymentRow) -> Markup {
    html! { @if let Some((id, name)) = &one.job { a href=(format!("/{project}/-/jobs/{id}")) { "#" (id) " " (name) } } }
}

fn what(project: &str, one: &DeploymentRow) -> Markup {
    html! { "#" (one.iid) " " (commit(one)) " " (job(project, one)) }
}

fn buttons(page: &Page, project: &str, row: &EnvironmentRow) -> Markup {
    let t = page.t();
    let at = format!("/{project}/-/environments/{}", row.id);
    html! {
        @if row.may_stop { (form::button(page, &format!("{at}/stop"), t.stop, "danger")) }
        @if row.may_delete { (form::button(page, &format!("{at}/delete"), t.delete, "danger")) }
    }
}
