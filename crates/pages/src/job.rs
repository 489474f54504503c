//! A job: what it is, why it is where it is, and its log.

use crate::form;
use crate::frame::{Page, fact};
use crate::log::{Line, Scanner};
use crate::pipelines::short;
use crate::status;
use crate::texts::Language;
use crate::time::{ago, clock, duration};
use harrier_pipeline::Status;
use maud::{Markup, html};

/// What the viewer may do to a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobPermissions {
    /// Start it: it is manual or delayed.
    pub play: bool,
    /// Run it again.
    pub retry: bool,
    /// Cancel it.
    pub cancel: bool,
    /// Cancel it at once: it is being cancelled.
    pub force_cancel: bool,
    /// Erase its log and artifacts.
    pub erase: bool,
}

/// Why a job waits, was skipped or failed. Said by the evaluator that decided, told here in the reader's language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// No runner that is online may take it; the tags that none of them has.
    NoRunnerHasTags(Vec<String>),
    /// It has no tags and no online runner takes such jobs.
    NoRunnerTakesUntagged,
    /// No runner is online.
    NoRunnerOnline,
    /// The project has no runner and does not want those of the instance.
    NoRunnerOfItsOwn,
    /// Runners that could take it are paused.
    RunnersPaused,
    /// Its ref is not protected, the runners that have its tags only take protected ones.
    OnlyProtectedRefs,
    /// Runners are there and busy.
    RunnersBusy,
    /// Another job holds its resource group.
    ResourceGroup(String),
    /// It waits for these jobs.
    WaitsFor(Vec<String>),
    /// A job before it failed.
    EarlierFailed(Vec<String>),
    /// It starts by itself at this time (milliseconds).
    DelayedUntil(i64),
    /// It waits for a person.
    NeedsAPerson,
    /// The reason, as runners and the server name it (`runner-api.md` §14.1).
    Failed(String),
}

impl Why {
    /// In words.
    pub fn text(&self, language: Language) -> String {
        let list = |names: &[String]| names.join(", ");
        match (language, self) {
            (Language::English, Self::NoRunnerHasTags(tags)) => {
                format!("no online runner has tag {}", quoted(tags))
            }
            (Language::Chinese, Self::NoRunnerHasTags(tags)) => {
                format!("没有在线运行器带有标签 {}", quoted(tags))
            }
            (Language::English, Self::NoRunnerTakesUntagged) => {
                "no online runner takes jobs without tags".into()
            }
            (Language::Chinese, Self::NoRunnerTakesUntagged) => "没有在线运行器接受无标签作业".into(),
            (Language::English, Self::NoRunnerOnline) => "no runner is online".into(),
            (Language::Chinese, Self::NoRunnerOnline) => "没有在线的运行器".into(),
            (Language::English, Self::NoRunnerOfItsOwn) => {
                "the project has no runner of its own, and its settings turn those of the instance off".into()
            }
            (Language::Chinese, Self::NoRunnerOfItsOwn) => {
                "该项目没有自己的运行器，且其设置已停用实例的运行器".into()
            }
            (Language::English, Self::RunnersPaused) => "the runners that could take it are paused".into(),
            (Language::Chinese, Self::RunnersPaused) => "可用的运行器已暂停".into(),
            (Language::English, Self::OnlyProtectedRefs) => {
                "its ref is not protected, and the matching runners take protected refs only".into()
            }
            (Language::Chinese, Self::OnlyProtectedRefs) => {
                "该引用不受保护，而匹配的运行器只接受受保护的引用".into()
            }
            (Language::English, Self::RunnersBusy) => "waits for a free runner".into(),
            (Language::Chinese, Self::RunnersBusy) => "等待空闲的运行器".into(),
            (Language::English, Self::ResourceGroup(group)) => {
                format!("another job uses the resource group {group}")
            }
            (Language::Chinese, Self::ResourceGroup(group)) => format!("资源组 {group} 正被其他作业占用"),
            (Language::English, Self::WaitsFor(jobs)) => format!("waits for {}", list(jobs)),
            (Language::Chinese, Self::WaitsFor(jobs)) => format!("等待 {}", list(jobs)),
            (Language::English, Self::EarlierFailed(jobs)) => {
                format!("skipped, because {} did not pass", list(jobs))
            }
            (Language::Chinese, Self::EarlierFailed(jobs)) => format!("已跳过，因为 {} 未通过", list(jobs)),
            (Language::English, Self::DelayedUntil(at)) => format!("starts at {}", crate::time::iso(*at)),
            (Language::Chinese, Self::DelayedUntil(at)) => format!("将于 {} 开始", crate::time::iso(*at)),
            (Language::English, Self::NeedsAPerson) => "waits until somebody runs it".into(),
            (Language::Chinese, Self::NeedsAPerson) => "等待手动运行".into(),
            (language, Self::Failed(reason)) => failure(language, reason),
        }
    }
}

/// A reason in words; one that has none here is shown as it is named.
fn failure(language: Language, reason: &str) -> String {
    let (english, chinese) = match reason {
        "script_failure" => ("the script failed", "脚本执行失败"),
        "runner_system_failure" => ("the runner had trouble", "运行器系统故障"),
        "runner_unsupported" => ("the runner is too old or cannot do this", "运行器不支持"),
        "job_execution_timeout" => ("it took longer than its time limit", "超过了作业时限"),
        "stuck_or_timeout_failure" => {
            ("no runner took it, or its runner fell silent", "没有运行器接手，或运行器失去响应")
        }
        "missing_dependency_failure" => ("artifacts that it needs are gone", "所需的产物已不存在"),
        "image_pull_failure" => ("its image cannot be pulled", "无法拉取镜像"),
        "runner_configuration_error" => ("the runner's configuration is wrong", "运行器配置错误"),
        "unmet_prerequisites" => ("what it needs is not there", "前置条件未满足"),
        "trace_size_exceeded" => ("its log became too long", "日志过长"),
        "scheduler_failure" => ("the server could not hand it out", "服务器无法分派该作业"),
        "data_integrity_failure" => ("its data is damaged", "数据已损坏"),
        "api_failure" => ("the runner could not reach the server", "运行器无法连接服务器"),
        "downstream_pipeline_creation_failed" => {
            ("the pipeline that it starts could not be made", "无法创建下游流水线")
        }
        "downstream_bridge_project_not_found" => {
            ("the project whose pipeline it starts is not there", "找不到下游项目")
        }
        "insufficient_bridge_permissions" => {
            ("who started it may not start pipelines there", "没有启动下游流水线的权限")
        }
        "job_canceled" => ("it was canceled", "已取消"),
        other => return other.replace('_', " "),
    };
    match language {
        Language::English => english.to_owned(),
        Language::Chinese => chinese.to_owned(),
    }
}

fn quoted(tags: &[String]) -> String {
    tags.iter().map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(", ")
}

/// One job.
#[derive(Clone, Debug)]
pub struct JobPage {
    /// `group/name`.
    pub project: String,
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Its status.
    pub status: Status,
    /// A failure is allowed.
    pub allowed: bool,
    /// Why it waits, was skipped or failed.
    pub why: Option<Why>,
    /// Its pipeline.
    pub pipeline: i64,
    /// Branch or tag.
    pub git_ref: String,
    /// The whole commit id.
    pub sha: String,
    /// Who started it.
    pub user: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// `#3 (abcd1234) description`.
    pub runner: Option<String>,
    /// Milliseconds.
    pub created: i64,
    /// Milliseconds.
    pub started: Option<i64>,
    /// Milliseconds.
    pub finished: Option<i64>,
    /// Milliseconds it waited for a runner.
    pub queued: Option<i64>,
    /// Milliseconds it ran.
    pub duration: Option<i64>,
    /// Milliseconds it may run.
    pub timeout: Option<i64>,
    /// Of the script.
    pub exit_code: Option<i64>,
    /// Per cent.
    pub coverage: Option<f64>,
    /// Its environment.
    pub environment: Option<String>,
    /// Jobs it needs, with their ids where they exist.
    pub needs: Vec<(String, Option<i64>)>,
    /// Other runs of the job with this name in its pipeline, newest first.
    pub attempts: Vec<(i64, Status)>,
    /// Whether there is an archive to browse.
    pub artifacts: bool,
    /// Until when (milliseconds); `None`: for good.
    pub artifacts_expire: Option<i64>,
    /// The log and the artifacts were erased.
    pub erased: bool,
    /// What the viewer may do.
    pub may: JobPermissions,
    /// The log ends here: nothing will be added.
    pub log_complete: bool,
}

/// The page of a job with its log so far.
pub fn job_page(page: &Page, job: &JobPage, log: &Scanner) -> String {
    let t = page.t();
    let at = format!("/{}/-/jobs/{}", job.project, job.id);
    let lines = log.lines(0);
    page.whole(&format!("{} ({})", job.name, job.id), &html! {
        div.job {
        div.head #job data-live {
            div.headline {
                h1 { (status::badge(Some(job.status), job.allowed && job.status == Status::Failed, t)) " " (job.name) }
                @if job.may.play { (form::button(page, &format!("{at}/play"), t.play, "primary")) }
                @if job.may.retry { (form::button(page, &format!("{at}/retry"), t.retry, "")) }
                @if job.may.cancel { (form::button(page, &format!("{at}/cancel"), t.cancel, "danger")) }
                @if job.may.force_cancel { (form::button(page, &format!("{at}/cancel?force=true"), t.force_cancel, "danger")) }
                @if job.may.erase { (form::button(page, &format!("{at}/erase"), t.erase, "danger")) }
            }
            @if let Some(why) = &job.why { p.why.(status::look(Some(job.status), job.allowed, t).class) { (why.text(page.language)) } }
        }
        aside.card #facts data-live aria-label=(t.facts) { (facts(page, job, &at)) }
        section.log aria-label=(t.log) {
            div.bar {
                input type="search" data-log-search placeholder=(t.search_log) aria-label=(t.search_log);
                button type="button" data-log-previous title=(t.previous_match) aria-label=(t.previous_match) { "↑" }
                button type="button" data-log-next title=(t.next_match) aria-label=(t.next_match) { "↓" }
                output data-log-found {}
                span.grow {}
                button type="button" data-log-fold { (t.fold_all) }
                button type="button" data-log-unfold { (t.unfold_all) }
                button type="button" data-log-times aria-pressed="false" { (t.time_stamps) }
                button type="button" data-log-follow aria-pressed=(if job.log_complete { "false" } else { "true" }) { (t.follow) }
                button type="button" data-log-top title=(t.to_top) aria-label=(t.to_top) { "⤒" }
                button type="button" data-log-bottom title=(t.to_bottom) aria-label=(t.to_bottom) { "⤓" }
                a.button href=(format!("{at}/raw")) { (t.raw_log) }
            }
            @if job.erased { p.quiet { (t.log_erased) } }
            @else if lines.is_empty() { p.quiet data-log-empty { (t.no_log_yet) } }
            div.lines #log role="log" tabindex="0" aria-label=(t.log)
                data-log=(format!("{at}/log")) data-lines=(log.settled()) data-complete=(job.log_complete) {
                (rows(&lines, 0, log))
            }
        }
        }
    })
}

fn facts(page: &Page, job: &JobPage, at: &str) -> Markup {
    let t = page.t();
    html! {
        dl.facts {
            (fact(t.pipeline, &html! {
                a href=(format!("/{}/-/pipelines/{}", job.project, job.pipeline)) { "#" (job.pipeline) } " "
                span.ref { (job.git_ref) } " " code title=(job.sha) { (short(&job.sha)) }
            }))
            (fact(t.stage, &html! { (job.stage) }))
            @if let Some(user) = &job.user { (fact(t.started_by, &html! { (user) })) }
            (fact(t.created, &ago(Some(job.created), page.now, t)))
            @if job.started.is_some() { (fact(t.started, &ago(job.started, page.now, t))) }
            @if job.finished.is_some() { (fact(t.finished, &ago(job.finished, page.now, t))) }
            @if job.duration.is_some() { (fact(t.duration, &clock(job.duration, job.finished.is_none(), page.now))) }
            @if job.queued.is_some() { (fact(t.queued, &clock(job.queued, job.started.is_none() && job.finished.is_none(), page.now))) }
            @if job.timeout.is_some() { (fact(t.timeout, &html! { (duration(job.timeout)) })) }
            @if let Some(runner) = &job.runner { (fact(t.runner, &html! { (runner) })) }
            @if !job.tags.is_empty() { (fact(t.tags, &html! { @for tag in &job.tags { span.tag { (tag) } " " } })) }
            @if let Some(code) = job.exit_code { (fact(t.exit_code, &html! { (code) })) }
            @if let Some(coverage) = job.coverage { (fact(t.coverage, &html! { (format!("{coverage:.2} %")) })) }
            @if let Some(environment) = &job.environment { (fact(t.environment, &html! { (environment) })) }
            @if job.allowed { (fact(t.failure, &html! { (t.allowed_to_fail) })) }
            @if !job.needs.is_empty() { (fact(t.needs, &html! { @for (name, id) in &job.needs {
                @match id {
                    Some(id) => a href=(format!("/{}/-/jobs/{id}", job.project)) { (name) },
                    None => span { (name) },
                } " "
            } })) }
            @if !job.attempts.is_empty() { (fact(t.attempt, &html! { @for (id, state) in &job.attempts {
                a.attempt href=(format!("/{}/-/jobs/{id}", job.project)) { (status::sign(Some(*state), false, t)) " #" (id) } " "
            } })) }
            @if job.artifacts { (fact(t.artifacts, &html! {
                a href=(format!("{at}/artifacts/browse")) { (t.browse) } " · "
                a href=(format!("{at}/artifacts/download")) { (t.download) } br;
                span.quiet { (t.expire) " " @match job.artifacts_expire {
                    Some(at) if at <= page.now => (t.expired),
                    Some(_) => (ago(job.artifacts_expire, page.now, t)),
                    None => (t.forever),
                } }
            })) }
        }
    }
}

/// The rows from `first` on, as the script asks for them while the log grows.
pub fn log_lines(log: &Scanner, first: usize) -> String {
    rows(&log.lines(first), first, log).into_string()
}

/// Rows as HTML: `data-in` are the sections a row folds with, `data-section` the one whose header it is.
fn rows(lines: &[Line], first: usize, log: &Scanner) -> Markup {
    html! {
        @for (index, line) in lines.iter().enumerate() {
            @let number = first + index + 1;
            @let inside = line.inside.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            @let section = line.opens.and_then(|index| log.sections().get(index));
            div.l.e[line.error].h[section.is_some()] id=(format!("L{number}"))
                data-in=[(!inside.is_empty()).then_some(inside)]
                data-section=[line.opens] data-collapsed=[section.filter(|s| s.collapsed).map(|_| "1")] {
                a.n href=(format!("#L{number}")) tabindex="-1" { (number) }
                @if let Some(time) = &line.time { span.t { (time) } }
                @if let Some(section) = section {
                    button.fold type="button" aria-expanded="true" aria-label=(section.name) { "▾" }
                }
                span.x { (maud::PreEscaped(&line.html)) }
                @if let Some(section) = section {
                    span.d { @if let Some(ended) = section.ended { (duration(Some((ended - section.started) * 1000))) } }
                }
            }
        }
    }
}
