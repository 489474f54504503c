//! The list of projects, and what one project shows first.

use crate::frame::Page;
use crate::mirror::{self, MirrorRow};
use crate::pipelines::{PipelineRow, pipeline_table};
use crate::status;
use crate::time::ago;
use harrier_pipeline::Status;
use maud::html;

/// One project of the list.
#[derive(Clone, Debug)]
pub struct ProjectRow {
    /// `group/name`.
    pub path: String,
    /// Of the newest pipeline of the default branch; `None`: there is none.
    pub status: Option<Status>,
    /// It passed with warnings.
    pub warning: bool,
    /// Its id.
    pub pipeline: Option<i64>,
    /// When something last happened, milliseconds.
    pub active: Option<i64>,
}

/// One project.
#[derive(Clone, Debug)]
pub struct ProjectPage {
    /// `group/name`.
    pub path: String,
    /// Address for `git clone`.
    pub clone_url: String,
    /// The mirror that it is.
    pub mirror: Option<MirrorRow>,
    /// Newest first.
    pub pipelines: Vec<PipelineRow>,
    /// The viewer may run pipelines.
    pub may_run: bool,
}

/// The projects the viewer may see. `push_url`: address to push a new one to.
pub fn projects_page(page: &Page, projects: &[ProjectRow], push_url: &str) -> String {
    let t = page.t();
    page.whole(t.projects, &html! {
        h1 { (t.projects) }
        div.scroll #projects data-live { @if projects.is_empty() {
            div.empty {
                p { (t.no_projects) }
                pre.hint { "git remote add harrier " (push_url) "\ngit push -u harrier HEAD" }
            }
        } @else {
            table.list {
                thead { tr { th { (t.project) } th { (t.last_pipeline) } th { (t.last_activity) } } }
                tbody { @for project in projects { tr {
                    td.wide { a.strong href=(format!("/{}", project.path)) { (project.path) } }
                    td { @match project.pipeline {
                        Some(id) => a href=(format!("/{}/-/pipelines/{id}", project.path)) { (status::badge(project.status, project.warning, t)) " #" (id) },
                        None => (status::badge(None, false, t)),
                    } }
                    td.quiet { (ago(project.active, page.now, t)) }
                } } }
            }
        } }
    })
}

/// A project: where it is, and its newest pipelines.
pub fn project_page(page: &Page, project: &ProjectPage) -> String {
    let t = page.t();
    page.whole(&project.path, &html! {
        div.headline {
            h1 { (project.path) }
            @if project.may_run { a.button.primary href=(format!("/{}/-/pipelines/new", project.path)) { (t.run_pipeline) } }
        }
        p.quiet { (t.clone_address) " " code.token { (project.clone_url) } }
        @if let Some(mirror) = &project.mirror { (mirror::line(page, mirror)) }
        h2 { (t.pipelines) }
        (pipeline_table(page, &project.path, &project.pipelines, false))
    })
}
