//! A project's merge requests, as far as pipelines go: which branch is to come into which, and how its pipelines went. There is no
//! review here.

use crate::form;
use crate::frame::{Page, fact};
use crate::pager::{Beside, pager};
use crate::pipelines::{PipelineRow, pipeline_table, short};
use crate::status::{self, Look};
use crate::time::ago;
use harrier_pipeline::Status;
use maud::{Markup, html};

/// What a merge request is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeRequestLook {
    /// Its branch is to come into the target.
    Opened,
    /// It is given up, or its branch is gone.
    Closed,
    /// Its branch is in the target.
    Merged,
}

/// A merge request.
#[derive(Clone, Debug)]
pub struct MergeRequestRow {
    /// Number within the project.
    pub iid: i64,
    /// Title.
    pub title: String,
    /// What it is in.
    pub state: MergeRequestLook,
    /// The branch that is to come into the other.
    pub source: String,
    /// The other.
    pub target: String,
    /// Labels.
    pub labels: Vec<String>,
    /// Who opened it.
    pub author: Option<String>,
    /// Last change, milliseconds.
    pub updated: i64,
    /// Its newest pipeline and how that went.
    pub pipeline: Option<(i64, Status, bool)>,
}

/// The list of a project.
#[derive(Clone, Debug)]
pub struct MergeRequestsPage {
    /// `group/name`.
    pub project: String,
    /// The newest first.
    pub rows: Vec<MergeRequestRow>,
    /// The filter in force: `opened`, `merged`, `closed`, or nothing for all.
    pub state: String,
    /// The other pages of the list.
    pub beside: Beside,
    /// The viewer may open one: branches to choose from, and the default branch.
    pub opens: Option<(Vec<String>, String)>,
}

/// One merge request.
#[derive(Clone, Debug)]
pub struct MergeRequestPage {
    /// `group/name`.
    pub project: String,
    /// The merge request.
    pub row: MergeRequestRow,
    /// Its description.
    pub description: String,
    /// The commit its branch is at; empty: not known yet.
    pub sha: String,
    /// Its pipelines, the newest first.
    pub pipelines: Vec<PipelineRow>,
    /// The viewer may start its pipeline.
    pub may_run: bool,
    /// The viewer may close it.
    pub may_close: bool,
    /// The viewer may open it again.
    pub may_reopen: bool,
}

/// The list of a project's merge requests.
pub fn merge_requests_page(page: &Page, list: &MergeRequestsPage) -> String {
    let t = page.t();
    let at = format!("/{}/-/merge_requests", list.project);
    let words =
        [("", t.all), ("opened", t.state_opened), ("merged", t.state_merged), ("closed", t.state_closed)];
    page.whole(t.merge_requests, &html! {
        h1 { (t.merge_requests) }
        form.row method="get" action=(at) {
            (form::choice(t.status, "state", words, &list.state))
            button type="submit" { (t.filter) }
        }
        div.scroll #merge-requests data-live {
            @if list.rows.is_empty() { p.empty { (t.no_merge_requests) } } @else { table.list {
                thead { tr { th { (t.status) } th { (t.merge_request) } th { (t.branches) } th { (t.pipeline) } th { (t.author) } th { (t.changed) } } }
                tbody { @for row in &list.rows { tr {
                    td { (state(page, row.state)) }
                    td.wide { a.strong href=(format!("{at}/{}", row.iid)) { "!" (row.iid) } " " span.title { (row.title) } (labels(&row.labels)) }
                    td { (branches(row)) }
                    td { @if let Some((id, status, warning)) = row.pipeline {
                        a href=(format!("/{}/-/pipelines/{id}", list.project)) { (status::badge(Some(status), warning, t)) }
                    } }
                    td { (row.author.as_deref().unwrap_or("–")) }
                    td.quiet { (ago(Some(row.updated), page.now, t)) }
                } } }
            } }
        }
        (pager(page, t.merge_requests, &at, &list.beside))
        @if let Some((names, target)) = &list.opens {
            h2 { (t.open_merge_request) }
            (form::form(page, &at, &html! {
                (form::choice(t.source_branch, "source_branch", names.iter().map(|name| (name.as_str(), name.as_str())), ""))
                (form::choice(t.target_branch, "target_branch", names.iter().map(|name| (name.as_str(), name.as_str())), target))
                (form::field(t.title, "title", "text", ""))
                button type="submit" { (t.add) }
            }))
        }
    })
}

/// One merge request with its pipelines.
pub fn merge_request_page(page: &Page, shown: &MergeRequestPage) -> String {
    let t = page.t();
    let row = &shown.row;
    let at = format!("/{}/-/merge_requests/{}", shown.project, row.iid);
    page.whole(&format!("!{} {}", row.iid, row.title), &html! {
        div #merge-request data-live {
            div.headline {
                h1 { (state(page, row.state)) " !" (row.iid) " " span.title { (row.title) } }
                @if shown.may_run { (form::button(page, &format!("{at}/pipelines"), t.run_pipeline, "")) }
                @if shown.may_close { (form::button(page, &format!("{at}/close"), t.close, "danger")) }
                @if shown.may_reopen { (form::button(page, &format!("{at}/reopen"), t.reopen, "")) }
            }
            dl.facts {
                (fact(t.branches, &branches(row)))
                @if !shown.sha.is_empty() { (fact(t.commit, &html! { code title=(shown.sha) { (short(&shown.sha)) } })) }
                (fact(t.author, &html! { (row.author.as_deref().unwrap_or("–")) }))
                (fact(t.changed, &ago(Some(row.updated), page.now, t)))
                @if !row.labels.is_empty() { (fact(t.labels, &labels(&row.labels))) }
            }
            @if !shown.description.is_empty() { pre { (shown.description) } }
            h2 { (t.pipelines) }
            @if shown.pipelines.is_empty() { p.empty { (t.no_merge_request_pipelines) } } @else {
                (pipeline_table(page, &shown.project, &shown.pipelines, false))
            }
        }
    })
}

fn state(page: &Page, state: MergeRequestLook) -> Markup {
    let t = page.t();
    let (like, word) = match state {
        MergeRequestLook::Opened => (Status::Running, t.state_opened),
        MergeRequestLook::Merged => (Status::Success, t.state_merged),
        MergeRequestLook::Closed => (Status::Canceled, t.state_closed),
    };
    let look = Look { word, ..status::look(Some(like), false, t) };
    html! { span.state.(look.class) { (status::icon(&look)) (look.word) } }
}

fn branches(row: &MergeRequestRow) -> Markup {
    html! { span.ref { (row.source) } " → " span.ref { (row.target) } }
}

fn labels(all: &[String]) -> Markup {
    html! { @for label in all { " " span.ref { (label) } } }
}
