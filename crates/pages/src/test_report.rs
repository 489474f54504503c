//! The test report of a pipeline, from its jobs' junit files.

use crate::frame::{Page, fact};
use crate::time::duration;
use maud::{Markup, html};

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestVerdict {
    /// It passed.
    Passed,
    /// It found a fault.
    Failed,
    /// It could not be carried out.
    Error,
    /// It was left out.
    Skipped,
}

/// One test.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// Its class or file.
    pub class: String,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub verdict: TestVerdict,
    /// Seconds.
    pub seconds: f64,
    /// What it printed, or why it failed.
    pub output: Option<String>,
}

/// The tests of one job.
#[derive(Clone, Debug)]
pub struct TestSuite {
    /// The job's name.
    pub job: String,
    /// Its tests.
    pub cases: Vec<TestCase>,
    /// The report could not be read: why.
    pub error: Option<String>,
}

/// The report of a pipeline.
#[derive(Clone, Debug)]
pub struct TestReportPage {
    /// `group/name`.
    pub project: String,
    /// The pipeline.
    pub pipeline: i64,
    /// One for each job with a report.
    pub suites: Vec<TestSuite>,
}

/// The report: failed tests first and open, the rest folded.
pub fn test_report_page(page: &Page, report: &TestReportPage) -> String {
    let t = page.t();
    let cases = || report.suites.iter().flat_map(|suite| &suite.cases);
    let count = |verdict: TestVerdict| cases().filter(|case| case.verdict == verdict).count();
    page.whole(t.tests, &html! {
        h1 { (t.tests) " " a href=(format!("/{}/-/pipelines/{}", report.project, report.pipeline)) { "#" (report.pipeline) } }
        @if report.suites.is_empty() { p.empty { (t.no_tests) } } @else {
            dl.facts.figures {
                (fact(t.total, &html! { (cases().count()) }))
                (fact(t.failed, &html! { span.bad[count(TestVerdict::Failed) > 0] { (count(TestVerdict::Failed)) } }))
                (fact(t.errors_count, &html! { span.bad[count(TestVerdict::Error) > 0] { (count(TestVerdict::Error)) } }))
                (fact(t.skipped, &html! { (count(TestVerdict::Skipped)) }))
                (fact(t.time, &html! { (time(cases().map(|case| case.seconds).sum())) }))
            }
            @for suite in &report.suites { (one_suite(page, suite)) }
        }
    })
}

fn one_suite(page: &Page, suite: &TestSuite) -> Markup {
    let t = page.t();
    let bad = |case: &&TestCase| matches!(case.verdict, TestVerdict::Failed | TestVerdict::Error);
    let failed: Vec<&TestCase> = suite.cases.iter().filter(bad).collect();
    html! {
        h2 { (suite.job) " " span.quiet { (suite.cases.len()) } }
        @if let Some(error) = &suite.error { pre.problem { (error) } }
        @for case in &failed { details.test open {
            summary { span.state.bad { (t.failed) } " " (case.class) " " strong { (case.name) } " " span.quiet { (time(case.seconds)) } }
            @if let Some(output) = &case.output { pre { (output) } }
        } }
        @if failed.len() < suite.cases.len() { details.test {
            summary { (t.passed) ", " (t.skipped) " (" (suite.cases.len() - failed.len()) ")" }
            div.scroll { table.list {
                thead { tr { th { (t.status) } th { (t.suite) } th { (t.test_case) } th.number { (t.time) } } }
                tbody { @for case in suite.cases.iter().filter(|case| !bad(case)) { tr {
                    td { @if case.verdict == TestVerdict::Skipped { (t.skipped) } @else { (t.passed) } }
                    td { (case.class) } td.strong { (case.name) } td.number { (time(case.seconds)) }
                } } }
            } }
        } }
    }
}

/// The seconds of a report are somebody's text: they may be anything a float can be.
fn time(seconds: f64) -> String {
    if seconds.is_finite() {
        duration(Some((seconds.clamp(0.0, 1e9) * 1000.0) as i64))
    } else {
        duration(None)
    }
}
