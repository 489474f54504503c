//! Charts of a project: how long its pipelines took and how many passed, as SVG that needs no script.

use crate::frame::{Page, fact};
use crate::status;
use crate::time::duration;
use harrier_pipeline::Status;
use maud::{Markup, html};

/// One pipeline that ended.
#[derive(Clone, Debug)]
pub struct PipelinePoint {
    /// Its id.
    pub id: i64,
    /// How it ended.
    pub status: Status,
    /// Milliseconds.
    pub duration: i64,
}

/// One day.
#[derive(Clone, Debug)]
pub struct Day {
    /// `2026-11-25`.
    pub date: String,
    /// Pipelines that passed.
    pub passed: u64,
    /// Pipelines that failed.
    pub failed: u64,
    /// All others.
    pub other: u64,
}

/// The charts of a project.
#[derive(Clone, Debug)]
pub struct ChartsPage {
    /// `group/name`.
    pub project: String,
    /// Oldest first.
    pub pipelines: Vec<PipelinePoint>,
    /// Oldest first.
    pub days: Vec<Day>,
}

/// Durations and success over time.
pub fn charts_page(page: &Page, charts: &ChartsPage) -> String {
    let t = page.t();
    let mut times: Vec<i64> = charts.pipelines.iter().map(|p| p.duration).collect();
    times.sort_unstable();
    let passed = charts.pipelines.iter().filter(|p| p.status == Status::Success).count();
    page.whole(
        t.charts,
        &html! {
            h1 { (t.charts) }
            @if charts.pipelines.is_empty() { p.empty { (t.no_ended_pipelines) } } @else {
                dl.facts.figures {
                    (fact(t.total, &html! { (charts.pipelines.len()) }))
                    (fact(t.success_rate, &html! { (passed * 100 / charts.pipelines.len()) " %" }))
                    (fact(t.median, &html! { (duration(times.get(times.len() / 2).copied())) }))
                    (fact(t.slowest, &html! { (duration(times.last().copied())) }))
                }
                h2 { (t.durations_chart) }
                div.scroll.card { (durations(page, charts)) }
                h2 { (t.success_chart) }
                div.scroll.card { (days(page, &charts.days)) }
            }
        },
    )
}

const TALL: f64 = 160.0;
/// Where the drawing begins beside its numbers, and how wide it gets before its bars become narrow.
const LEFT: usize = 60;
const WIDE: usize = 1080;

/// The width of one of so many bars.
fn bar(count: usize, most: usize) -> usize {
    (WIDE / count.max(1)).saturating_sub(3).clamp(8, most)
}

/// Lines at nothing, the half and the whole, with their numbers.
fn scale(width: usize, numbers: [String; 3]) -> Markup {
    html! {
        g.lines { @for at in [0.0, 0.5, 1.0] {
            path d=(format!("M{LEFT} {:.1}H{width}", 20.0 + TALL * at)) {}
        } }
        @for (at, number) in [0.0, 0.5, 1.0].iter().zip(&numbers) {
            text x=(LEFT - 8) y=(format!("{:.1}", 24.0 + TALL * at)) text-anchor="end" { (number) }
        }
    }
}

fn durations(page: &Page, charts: &ChartsPage) -> Markup {
    let t = page.t();
    let most = charts.pipelines.iter().map(|p| p.duration).max().unwrap_or(1).max(1);
    let bar = bar(charts.pipelines.len(), 28);
    let width = (LEFT + charts.pipelines.len() * (bar + 3)).max(LEFT + 300);
    let number = |millis: i64| duration(Some(millis));
    html! {
        svg.chart xmlns="http://www.w3.org/2000/svg" width=(width) height="190" role="img" aria-label=(t.durations_chart) {
            (scale(width, [number(most), number(most / 2), "0".to_owned()]))
            @for (index, pipeline) in charts.pipelines.iter().enumerate() {
                @let look = status::look(Some(pipeline.status), false, t);
                @let tall = (pipeline.duration.max(0) as f64 / most as f64 * TALL).max(2.0);
                a href=(format!("/{}/-/pipelines/{}", charts.project, pipeline.id)) {
                    rect.(look.class) x=(LEFT + 2 + index * (bar + 3)) y=(format!("{:.1}", TALL + 20.0 - tall)) width=(bar) height=(format!("{tall:.1}")) rx="2" {
                        title { "#" (pipeline.id) " " (look.word) " " (duration(Some(pipeline.duration))) }
                    }
                }
            }
        }
    }
}

fn days(page: &Page, days: &[Day]) -> Markup {
    let t = page.t();
    let most = days.iter().map(|d| d.passed + d.failed + d.other).max().unwrap_or(1).max(1);
    let bar = bar(days.len(), 32);
    let width = (LEFT + days.len() * (bar + 4)).max(LEFT + 300);
    let half = if most % 2 == 0 { (most / 2).to_string() } else { format!("{:.1}", most as f64 / 2.0) };
    html! {
        p.quiet.legend {
            span.good { "■ " (t.passed) } " " span.bad { "■ " (t.failed) } " " span.off { "■ " (t.state_canceled) }
        }
        svg.chart xmlns="http://www.w3.org/2000/svg" width=(width) height="200" role="img" aria-label=(t.success_chart) {
            (scale(width, [most.to_string(), half, "0".to_owned()]))
            @for (index, day) in days.iter().enumerate() {
                @let x = LEFT + 2 + index * (bar + 4);
                @let parts = [(day.passed, "good", t.passed), (day.failed, "bad", t.failed), (day.other, "off", t.state_canceled)];
                @let tall = |count: u64| count as f64 / most as f64 * TALL;
                @for (number, (count, class, word)) in parts.iter().enumerate() {
                    @if *count > 0 {
                        @let below: f64 = parts[..number].iter().map(|(count, ..)| tall(*count)).sum();
                        rect.(class) x=(x) y=(format!("{:.1}", TALL + 20.0 - below - tall(*count))) width=(bar) height=(format!("{:.1}", tall(*count))) {
                            title { (day.date) ": " (count) " " (word) }
                        }
                    }
                }
                @if index % 5 == 0 || index + 1 == days.len() {
                    text.small x=(x + bar / 2) y=(TALL + 36.0) text-anchor="middle" { (day.date.get(5..).unwrap_or_default()) }
                }
            }
        }
    }
}
