//! The graph of a pipeline as SVG: jobs in columns, by stage or by what they need, with the needs as lines.
//! Called by the pipeline page. Its texts are escaped; its colours come from the style sheet by class.

use crate::status;
use crate::texts::Language;
use harrier_pipeline::Status;
use maud::html;
use std::collections::HashMap;

const WIDTH: usize = 190;
const HEIGHT: usize = 34;
const ACROSS: usize = 60;
const DOWN: usize = 12;
const EDGE: usize = 8;

/// How jobs are put into columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GraphOrder {
    /// A column is a stage.
    #[default]
    Stages,
    /// A column is as far right as what its jobs need.
    Needs,
}

/// One job of the graph.
#[derive(Clone, Debug)]
pub struct GraphJob {
    /// Its name, which `needs` of others name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Its status.
    pub status: Status,
    /// A failure is allowed.
    pub allowed: bool,
    /// Where its box leads.
    pub href: String,
    /// Names; those that are not in the graph are left out.
    pub needs: Vec<String>,
}

/// The drawing. Jobs that need each other in a circle, which no pipeline has, are drawn in the first column.
pub fn graph(jobs: &[GraphJob], order: GraphOrder, language: Language) -> String {
    let t = language.texts();
    let columns = columns(jobs, order);
    let mut fill: Vec<usize> = Vec::new();
    let mut at: Vec<(usize, usize)> = Vec::with_capacity(jobs.len());
    for column in &columns {
        if fill.len() <= *column {
            fill.resize(column + 1, 0);
        }
        let row = fill[*column];
        fill[*column] += 1;
        at.push((EDGE + column * (WIDTH + ACROSS), EDGE + row * (HEIGHT + DOWN)));
    }
    let names: HashMap<&str, usize> =
        jobs.iter().enumerate().map(|(index, job)| (job.name.as_str(), index)).collect();
    let width = 2 * EDGE + fill.len() * (WIDTH + ACROSS) - if fill.is_empty() { 0 } else { ACROSS };
    let height = 2 * EDGE + fill.iter().max().copied().unwrap_or(0) * (HEIGHT + DOWN);
    html! {
        svg.graph xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) role="group" {
            g.edges {
                @for (index, job) in jobs.iter().enumerate() {
                    @for from in job.needs.iter().filter_map(|need| names.get(need.as_str())) {
                        path d=(line(at[*from], at[index])) {}
                    }
                }
            }
            @for (index, job) in jobs.iter().enumerate() {
                @let (x, y) = at[index];
                @let look = status::look(Some(job.status), job.allowed && job.status == Status::Failed, t);
                a href=(job.href) aria-label=(format!("{}: {}", job.name, look.word)) {
                    g.node.(look.class) {
                        title { (job.name) " – " (job.stage) " – " (look.word) }
                        rect x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="17" {}
                        g.icon transform=(format!("translate({} {})", x + 10, y + 9)) {
                            circle cx="8" cy="8" r="7" {}
                            path d=(look.shape) {}
                        }
                        text x=(x + 34) y=(y + 22) { (fitting(&job.name)) }
                    }
                }
            }
        }
    }
    .into_string()
}

fn columns(jobs: &[GraphJob], order: GraphOrder) -> Vec<usize> {
    match order {
        GraphOrder::Stages => {
            let mut stages: Vec<&str> = Vec::new();
            jobs.iter()
                .map(|job| {
                    stages.iter().position(|stage| *stage == job.stage).unwrap_or_else(|| {
                        stages.push(&job.stage);
                        stages.len() - 1
                    })
                })
                .collect()
        }
        GraphOrder::Needs => {
            let names: HashMap<&str, usize> =
                jobs.iter().enumerate().map(|(index, job)| (job.name.as_str(), index)).collect();
            let mut depth = vec![0; jobs.len()];
            // Each round settles at least one more column; more rounds than jobs would be a circle.
            for _ in 0..jobs.len() {
                let mut changed = false;
                for (index, job) in jobs.iter().enumerate() {
                    let wanted = job
                        .needs
                        .iter()
                        .filter_map(|need| names.get(need.as_str()))
                        .map(|need| depth[*need] + 1)
                        .max();
                    let wanted = wanted.unwrap_or(0);
                    if wanted != depth[index] {
                        depth[index] = wanted;
                        changed = true;
                    }
                }
                if !changed {
                    return depth;
                }
            }
            vec![0; jobs.len()]
        }
    }
}

fn line((x1, y1): (usize, usize), (x2, y2): (usize, usize)) -> String {
    let (x1, y1, y2) = (x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2);
    let bend = ACROSS / 2;
    format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2.saturating_sub(bend))
}

/// As much of a name as the box holds; wide characters count twice.
fn fitting(name: &str) -> String {
    let mut room: usize = 21;
    let mut out = String::new();
    for c in name.chars() {
        let width = if c as u32 >= 0x1100 { 2 } else { 1 };
        if width > room {
            out.pop();
            out.push('…');
            return out;
        }
        room -= width;
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, stage: &str, needs: &[&str]) -> GraphJob {
        GraphJob {
            name: name.into(),
            stage: stage.into(),
            status: Status::Success,
            allowed: false,
            href: format!("/p/-/jobs/{name}"),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        }
    }

    #[test]
    fn columns_follow_stages_or_needs() {
        let jobs =
            [job("a", "x", &[]), job("b", "y", &["a"]), job("c", "y", &[]), job("d", "z", &["b", "gone"])];
        assert_eq!(columns(&jobs, GraphOrder::Stages), [0, 1, 1, 2]);
        assert_eq!(columns(&jobs, GraphOrder::Needs), [0, 1, 0, 2]);
        let circle = [job("a", "x", &["b"]), job("b", "x", &["a"])];
        assert_eq!(columns(&circle, GraphOrder::Needs), [0, 0]);
        let drawn = graph(&jobs, GraphOrder::Needs, Language::English);
        let lines = drawn.split_once("<g class=\"edges\">").and_then(|(_, rest)| rest.split_once("</g>"));
        assert_eq!(lines.map(|(lines, _)| lines.matches("<path").count()), Some(2));
        assert!(graph(&[], GraphOrder::Needs, Language::English).starts_with("<svg"));
    }

    #[test]
    fn names_cannot_act_and_fit() {
        let drawn = graph(&[job("<script>\"&", "x", &[])], GraphOrder::Stages, Language::Chinese);
        assert!(drawn.contains("&lt;script&gt;&quot;&amp;") && !drawn.contains("<script"));
        assert_eq!(fitting(&"x".repeat(30)), format!("{}…", "x".repeat(20)));
        assert_eq!(fitting("构建"), "构建");
    }
}
