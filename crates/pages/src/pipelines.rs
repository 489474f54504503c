//! Pipelines: the list, one with its jobs, and the form that runs a new one.

use crate::form;
use crate::frame::{Page, address_part, fact};
use crate::graph::{GraphJob, GraphOrder, graph};
use crate::pager::{Beside, pager};
use crate::status;
use crate::time::{ago, clock};
use harrier_pipeline::Status;
use maud::{Markup, html};

/// One pipeline of a list.
#[derive(Clone, Debug)]
pub struct PipelineRow {
    /// Its id.
    pub id: i64,
    /// Its status.
    pub status: Status,
    /// It passed with warnings.
    pub warning: bool,
    /// `workflow:name`, or the title of the commit.
    pub title: String,
    /// Branch or tag.
    pub git_ref: String,
    /// The whole commit id.
    pub sha: String,
    /// `push`, `schedule`, …
    pub source: String,
    /// Who started it.
    pub user: Option<String>,
    /// Milliseconds.
    pub created: i64,
    /// Milliseconds of work, if it ended or runs.
    pub duration: Option<i64>,
    /// Status of each stage, in order.
    pub stages: Vec<(String, Status, bool)>,
}

/// The list of a project.
#[derive(Clone, Debug)]
pub struct PipelinesPage {
    /// `group/name`.
    pub project: String,
    /// Newest first.
    pub rows: Vec<PipelineRow>,
    /// The filter in force.
    pub git_ref: String,
    /// The filter in force, GitLab's word.
    pub status: String,
    /// The other pages of the list.
    pub beside: Beside,
    /// The viewer may run pipelines.
    pub may_run: bool,
}

/// One job in a stage.
#[derive(Clone, Debug)]
pub struct JobCell {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// A failure that is allowed.
    pub allowed: bool,
    /// Milliseconds of work.
    pub duration: Option<i64>,
    /// Why it waits or was skipped, in the reader's language.
    pub why: Option<String>,
    /// The viewer may start it (a manual or a delayed job).
    pub may_play: bool,
    /// The viewer may run it again.
    pub may_retry: bool,
    /// The viewer may cancel it.
    pub may_cancel: bool,
    /// Names of the jobs it needs.
    pub needs: Vec<String>,
}

/// A stage and its jobs.
#[derive(Clone, Debug)]
pub struct StageColumn {
    /// Its name.
    pub name: String,
    /// Its jobs, in the order of the file.
    pub jobs: Vec<JobCell>,
}

/// A child pipeline, or the parent.
#[derive(Clone, Debug)]
pub struct DownstreamRow {
    /// The trigger job.
    pub bridge: String,
    /// `group/name` of its project.
    pub project: String,
    /// Its id.
    pub id: i64,
    /// Its status.
    pub status: Status,
}

/// One pipeline.
#[derive(Clone, Debug)]
pub struct PipelinePage {
    /// `group/name`.
    pub project: String,
    /// As in the list.
    pub row: PipelineRow,
    /// In order.
    pub stages: Vec<StageColumn>,
    /// Errors of the configuration: then there are no jobs.
    pub errors: Vec<String>,
    /// Warnings of the configuration.
    pub warnings: Vec<String>,
    /// Jobs that are not in it, and why.
    pub left_out: Vec<(String, String)>,
    /// Child pipelines.
    pub downstream: Vec<DownstreamRow>,
    /// The pipeline that started this one.
    pub upstream: Option<DownstreamRow>,
    /// Tests in all, and failed ones, if there are reports.
    pub tests: Option<(u64, u64)>,
    /// Per cent.
    pub coverage: Option<f64>,
    /// The viewer may run failed jobs again.
    pub may_retry: bool,
    /// The viewer may cancel it.
    pub may_cancel: bool,
    /// The viewer may delete it.
    pub may_delete: bool,
    /// How the graph is drawn.
    pub order: GraphOrder,
}

/// The form of a new pipeline.
#[derive(Clone, Debug)]
pub struct NewPipelinePage {
    /// `group/name`.
    pub project: String,
    /// Branches and tags to choose from.
    pub refs: Vec<String>,
    /// The one that is chosen.
    pub git_ref: String,
    /// `KEY=value` lines.
    pub variables: String,
    /// Keys with a description in the file (`variables:KEY:description`), with it and the value proposed.
    pub described: Vec<(String, String, String)>,
}

/// The list of a project's pipelines.
pub fn pipelines_page(page: &Page, list: &PipelinesPage) -> String {
    let t = page.t();
    let at = format!("/{}/-/pipelines", list.project);
    let states = ["running", "pending", "success", "failed", "canceled", "skipped", "manual"];
    let words = [
        t.state_running,
        t.state_pending,
        t.state_success,
        t.state_failed,
        t.state_canceled,
        t.state_skipped,
        t.state_manual,
    ];
    let options = std::iter::once(("", t.all)).chain(states.into_iter().zip(words));
    page.whole(t.pipelines, &html! {
        div.headline {
            h1 { (t.pipelines) }
            @if list.may_run { a.button.primary href=(format!("{at}/new")) { (t.run_pipeline) } }
        }
        form.row method="get" action=(at) {
            (form::field(t.git_ref, "ref", "search", &list.git_ref))
            (form::choice(t.status, "status", options, &list.status))
            button type="submit" { (t.filter) }
        }
        (pipeline_table(page, &list.project, &list.rows, !list.git_ref.is_empty() || !list.status.is_empty()))
        (pager(page, t.pipelines, &at, &list.beside))
    })
}

/// The rows of a list, or what to do when there are none.
pub(crate) fn pipeline_table(page: &Page, project: &str, rows: &[PipelineRow], filtered: bool) -> Markup {
    let t = page.t();
    let none = if filtered { t.no_fitting_pipelines } else { t.no_pipelines };
    html! {
        div.scroll #pipelines data-live {
            @if rows.is_empty() { p.empty { (none) } } @else {
                table.list {
                    thead { tr {
                        th { (t.status) } th { (t.pipeline) } th { (t.git_ref) } th { (t.stage) } th { (t.started_by) }
                        th { (t.created) } th.number { (t.duration) }
                    } }
                    tbody { @for row in rows { tr {
                        @let at = format!("/{project}/-/pipelines/{}", row.id);
                        td { a href=(at) { (status::badge(Some(row.status), row.warning, t)) } }
                        td.wide { a.strong href=(at) { "#" (row.id) } " " span.title { (row.title) } }
                        td { span.ref { (row.git_ref) } " " code { (short(&row.sha)) } }
                        td.signs { @for (name, state, warning) in &row.stages {
                            span title=(name) { (status::sign(Some(*state), *warning, t)) }
                        } }
                        td { (row.user.as_deref().unwrap_or("–")) " " span.quiet { (row.source) } }
                        td.quiet { (ago(Some(row.created), page.now, t)) }
                        td.number { (clock(row.duration, goes_on(row.status), page.now)) }
                    } } }
                }
            }
        }
    }
}

/// Whether its duration still grows.
fn goes_on(status: Status) -> bool {
    matches!(status, Status::Running | Status::Canceling)
}

/// The first eight digits of a commit id.
pub(crate) fn short(sha: &str) -> &str {
    sha.get(..8).unwrap_or(sha)
}

/// One pipeline with its graph, its jobs and what went wrong in its configuration.
pub fn pipeline_page(page: &Page, pipeline: &PipelinePage) -> String {
    let t = page.t();
    let row = &pipeline.row;
    let at = format!("/{}/-/pipelines/{}", pipeline.project, row.id);
    page.whole(&format!("{} #{}", t.pipeline, row.id), &html! {
        div #pipeline data-live {
            div.headline {
                h1 { (status::badge(Some(row.status), row.warning, t)) " #" (row.id) " " span.title { (row.title) } }
                @if pipeline.may_retry { (form::button(page, &format!("{at}/retry"), t.retry, "")) }
                @if pipeline.may_cancel { (form::button(page, &format!("{at}/cancel"), t.cancel, "danger")) }
                @if pipeline.may_delete { (form::button(page, &format!("{at}/delete"), t.delete, "danger")) }
            }
            dl.facts.card {
                (fact(t.git_ref, &html! { span.ref { (row.git_ref) } " " code title=(row.sha) { (short(&row.sha)) } }))
                (fact(t.started_by, &html! { (row.user.as_deref().unwrap_or("–")) " " span.quiet { (row.source) } }))
                (fact(t.created, &ago(Some(row.created), page.now, t)))
                (fact(t.duration, &clock(row.duration, goes_on(row.status), page.now)))
                @if let Some(coverage) = pipeline.coverage { (fact(t.coverage, &html! { (format!("{coverage:.2} %")) })) }
                @if let Some((total, failed)) = pipeline.tests { (fact(t.tests, &html! {
                    a href=(format!("{at}/test_report")) { (total) } @if failed > 0 { " · " span.bad { (failed) " " (t.failed) } }
                })) }
                @if let Some(parent) = &pipeline.upstream { (fact(t.upstream, &downstream(page, parent))) }
            }
            @if !pipeline.errors.is_empty() {
                h2 { (t.errors) }
                @for error in &pipeline.errors { pre.problem { (error) } }
            }
            @if !pipeline.warnings.is_empty() {
                details { summary { (t.warnings) " (" (pipeline.warnings.len()) ")" } @for warning in &pipeline.warnings { pre.problem.mild { (warning) } } }
            }
            @if !pipeline.stages.is_empty() {
                div.headline {
                    h2 { (t.jobs) }
                    div.tabs {
                        (order_link(&at, pipeline.order, GraphOrder::Stages, t.by_stage))
                        (order_link(&at, pipeline.order, GraphOrder::Needs, t.by_needs))
                    }
                }
                @match pipeline.order {
                    GraphOrder::Stages => (columns(page, pipeline)),
                    GraphOrder::Needs => div.scroll.card { (maud::PreEscaped(graph(&graph_jobs(pipeline), GraphOrder::Needs, page.language))) },
                }
            }
            @if !pipeline.downstream.is_empty() {
                h2 { (t.downstream) }
                ul.plain { @for child in &pipeline.downstream { li { (downstream(page, child)) } } }
            }
            @if !pipeline.left_out.is_empty() {
                details { summary { (t.left_out) " (" (pipeline.left_out.len()) ")" }
                    dl.facts.card { @for (job, reason) in &pipeline.left_out { (fact(job, &html! { (reason) })) } }
                }
            }
        }
    })
}

fn order_link(at: &str, now: GraphOrder, order: GraphOrder, text: &str) -> Markup {
    let query = match order {
        GraphOrder::Stages => "stages",
        GraphOrder::Needs => "needs",
    };
    html! { a.tab href=(format!("{at}?graph={query}")) aria-current=[(now == order).then_some("true")] { (text) } }
}

fn downstream(page: &Page, child: &DownstreamRow) -> Markup {
    html! {
        (status::badge(Some(child.status), false, page.t())) " "
        a href=(format!("/{}/-/pipelines/{}", child.project, child.id)) { (child.project) " #" (child.id) }
        " " span.quiet { (child.bridge) }
    }
}

fn graph_jobs(pipeline: &PipelinePage) -> Vec<GraphJob> {
    pipeline
        .stages
        .iter()
        .flat_map(|stage| {
            stage.jobs.iter().map(|job| GraphJob {
                name: job.name.clone(),
                stage: stage.name.clone(),
                status: job.status,
                allowed: job.allowed,
                href: format!("/{}/-/jobs/{}", pipeline.project, job.id),
                needs: job.needs.clone(),
            })
        })
        .collect()
}

fn columns(page: &Page, pipeline: &PipelinePage) -> Markup {
    let t = page.t();
    html! {
        div.columns { @for stage in &pipeline.stages { section.column {
            h3 { (stage.name) " " span.count { (stage.jobs.len()) } }
            ul { @for job in &stage.jobs { li.cell {
                @let at = format!("/{}/-/jobs/{}", pipeline.project, job.id);
                a href=(at) { (status::sign(Some(job.status), job.allowed && job.status == Status::Failed, t)) span { (job.name) } }
                span.number.quiet { @if job.duration.is_some() { (clock(job.duration, job.status == Status::Running, page.now)) } }
                @if job.may_play { (form::sign(page, &format!("{at}/play"), "▶", t.play, &job.name)) }
                @else if job.may_retry { (form::sign(page, &format!("{at}/retry"), "↻", t.retry, &job.name)) }
                @else if job.may_cancel { (form::sign(page, &format!("{at}/cancel"), "✕", t.cancel, &job.name)) }
                @if let Some(why) = &job.why { p.why { (why) } }
            } } }
        } } }
    }
}

/// The form that runs a pipeline by hand.
pub fn new_pipeline_page(page: &Page, new: &NewPipelinePage) -> String {
    let t = page.t();
    let at = format!("/{}/-/pipelines", new.project);
    page.whole(t.run_pipeline, &html! {
        section.narrow.card {
            h1 { (t.run_pipeline) }
            (form::form(page, &at, &html! {
                label { span { (t.branch_or_tag) } input name="ref" list="refs" value=(new.git_ref) required autocomplete="off"; }
                datalist #refs { @for git_ref in &new.refs { option value=(git_ref) {} } }
                @for (key, description, value) in &new.described {
                    label { span { code { (key) } " " (description) } input name=(format!("variable:{key}")) value=(value); }
                }
                label { span { (t.variables) " – " (t.one_variable_a_line) } textarea name="variables" rows="6" spellcheck="false" { (new.variables) } }
                button type="submit" { (t.run) }
            }))
            p { a href=(format!("{at}?ref={}", address_part(&new.git_ref))) { (t.pipelines) } }
        }
    })
}
