//! Runners and what they do now.

use crate::form;
use crate::frame::Page;
use crate::time::ago;
use maud::{Markup, html};

/// A job a runner works on.
#[derive(Clone, Debug)]
pub struct RunnerJob {
    /// `group/name`.
    pub project: String,
    /// The job.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// One runner.
#[derive(Clone, Debug)]
pub struct RunnerRow {
    /// Its id.
    pub id: i64,
    /// The beginning of its token.
    pub short_token: String,
    /// As its owner described it.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Takes jobs without tags.
    pub run_untagged: bool,
    /// For protected refs only.
    pub protected_only: bool,
    /// Does not get jobs.
    pub paused: bool,
    /// Asked for a job lately.
    pub online: bool,
    /// Milliseconds.
    pub contacted: Option<i64>,
    /// Version, platform and executor of its managers.
    pub managers: Vec<String>,
    /// What it does now.
    pub jobs: Vec<RunnerJob>,
    /// For all projects.
    pub instance: bool,
}

/// The runners of the instance or of a project.
#[derive(Clone, Debug)]
pub struct RunnersPage {
    /// Where its forms go: `/-/admin/runners` or `/group/name/-/runners`.
    pub at: String,
    /// The runners.
    pub rows: Vec<RunnerRow>,
    /// The viewer may make, pause and delete them.
    pub may_manage: bool,
}

/// All runners.
pub fn runners_page(page: &Page, runners: &RunnersPage) -> String {
    let t = page.t();
    page.whole(
        t.runners,
        &html! {
            h1 { (t.runners) }
            (runner_table(page, runners))
        },
    )
}

pub(crate) fn runner_table(page: &Page, runners: &RunnersPage) -> Markup {
    let t = page.t();
    html! {
        div.scroll #runners data-live {
            @if runners.rows.is_empty() { p.empty { (t.no_runners) } } @else { table.list {
                thead { tr { th { (t.status) } th { (t.runner) } th { (t.tags) } th { (t.works_on) } th { (t.version) } th { (t.last_contact) } th {} } }
                tbody { @for row in &runners.rows { tr {
                    td { (state(page, row)) }
                    td.wide { strong { (row.description) } " " span.quiet { "#" (row.id) } " " code { (row.short_token) }
                        @if row.instance { " " span.quiet { (t.instance) } }
                        @if row.protected_only { " " span.tag { (t.protected_only) } } }
                    td { @for tag in &row.tags { span.tag { (tag) } " " } @if row.run_untagged { span.quiet { (t.run_untagged) } } }
                    td { @if row.jobs.is_empty() { span.quiet { (t.idle) } }
                        @for job in &row.jobs { a href=(format!("/{}/-/jobs/{}", job.project, job.id)) { (job.name) " #" (job.id) } " " } }
                    td { @for manager in &row.managers { div { (manager) } } }
                    td.quiet { (ago(row.contacted, page.now, t)) }
                    td.deeds { @if runners.may_manage {
                        @let at = format!("{}/{}", runners.at, row.id);
                        @if row.paused { (form::button(page, &format!("{at}/resume"), t.resume, "")) }
                        @else { (form::button(page, &format!("{at}/pause"), t.pause, "")) }
                        (form::button(page, &format!("{at}/delete"), t.delete, "danger"))
                    } }
                } } }
            } }
        }
        @if runners.may_manage { (form::more(page, t.new_runner, &runners.at, &html! {
            (form::field(t.description, "description", "text", ""))
            (form::field(t.tags, "tags", "text", ""))
            (form::tick(t.run_untagged, "run_untagged", true))
            (form::tick(t.protected_only, "protected_only", false))
            button type="submit" { (t.add) }
        })) }
    }
}

fn state(page: &Page, row: &RunnerRow) -> Markup {
    let t = page.t();
    let (class, word) = match (row.paused, row.online, row.contacted) {
        (true, ..) => ("off", t.paused),
        (_, true, _) => ("good", t.online),
        (_, _, None) => ("wait", t.never_contacted),
        _ => ("bad", t.offline),
    };
    html! { span.state.(class) { (word) } }
}
