//! `--list` and `--dry-run`: what a pipeline holds, what would run, and why a job is left out. Pure: text or JSON
//! comes out.

use super::words::{Colour, Paint, pad, width};
use harrier_local::Chosen;
use harrier_pipeline::{AllowFailure, Bridge, Compiled, Job, JobId, LeftOut, Pipeline, Place, Sources, When};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// `file:line`
pub fn place(place: Place, sources: &Sources) -> String {
    format!("{}:{}", sources.name(place.file), place.line)
}

/// One line a job of the pipeline.
pub fn list(pipeline: &Pipeline, paint: Paint) -> String {
    let head = ["job", "stage", "when", "allow failure", "needs"].map(str::to_owned);
    let rows: Vec<[String; 5]> = in_stage_order(pipeline, pipeline.ids())
        .map(|job| [job.name.clone(), job.stage.clone(), when(job), allowed(job).to_owned(), needs(job)])
        .collect();
    let mut widths = head.each_ref().map(|cell| width(cell));
    for row in &rows {
        for (most, cell) in widths.iter_mut().zip(row) {
            *most = (*most).max(width(cell));
        }
    }
    let line = |row: &[String; 5]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, most)| pad(cell, most)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut out = String::new();
    let _ = writeln!(out, "{}", paint.on(Colour::Dim, &line(&head)));
    for row in &rows {
        let _ = writeln!(out, "{}", line(row));
    }
    out
}

/// `--list --json`
pub fn list_json(pipeline: &Pipeline, sources: &Sources) -> String {
    let mut out = String::new();
    for job in in_stage_order(pipeline, pipeline.ids()) {
        let _ = writeln!(out, "{}", job_json(job, sources));
    }
    out
}

/// What would run, stage by stage, then what would not.
pub fn dry_run(compiled: &Compiled, whole: &Pipeline, chosen: &Chosen, paint: Paint) -> String {
    let sources = &compiled.sources;
    let mut out = String::new();
    let most = whole.jobs.iter().map(|j| width(&j.name)).chain(whole.left_out.iter().map(|l| width(&l.name)));
    let name_width = most.max().unwrap_or(0);
    let mut stage = None;
    for job in in_stage_order(&chosen.pipeline, chosen.pipeline.ids()) {
        if stage != Some(job.stage_index) {
            stage = Some(job.stage_index);
            let _ = writeln!(out, "{}", paint.on(Colour::Bold, &format!("stage {}", job.stage)));
        }
        let mut notes = vec![when(job)];
        if job.needs.is_some() {
            notes.push(match needs(job) {
                none if none.is_empty() => "needs nothing".into(),
                some => format!("needs {some}"),
            });
        }
        match allowed(job) {
            "" => {}
            some => notes.push(format!("may fail ({some})")),
        }
        if let Some(rule) = &job.rule {
            let at = place(rule.place, sources);
            notes.push(format!("rule {} ({}) at {at}", rule.number, rule.text));
        }
        let _ = writeln!(out, "  {}  {}", pad(&job.name, name_width), notes.join("; "));
    }
    out.push_str(&left_out_list(&left_out(whole, chosen), sources, name_width, paint));
    out
}

/// The jobs that are not there, each with what leaves it out.
pub fn left_out_list(left: &[LeftOut], sources: &Sources, name_width: usize, paint: Paint) -> String {
    let mut out = String::new();
    if left.is_empty() {
        return out;
    }
    let most = left.iter().map(|job| width(&job.name)).max().unwrap_or(0).max(name_width);
    let _ = writeln!(out, "{}", paint.on(Colour::Bold, "left out"));
    for LeftOut { name, reason, place: at } in left {
        let at = at.map(|at| format!(" at {}", place(at, sources))).unwrap_or_default();
        let line = format!("  {}  {reason}{at}", pad(name, most));
        let _ = writeln!(out, "{}", paint.on(Colour::Dim, &line));
    }
    out
}

/// The jobs that are not there, one JSON object each.
pub fn left_out_json(left: &[LeftOut], sources: &Sources) -> String {
    let mut out = String::new();
    for LeftOut { name, reason, place: at } in left {
        let at = at.map(|at| place(at, sources));
        let _ = writeln!(out, "{}", json!({"name": name, "left_out": reason, "place": at}));
    }
    out
}

/// `--dry-run --json`
pub fn dry_run_json(compiled: &Compiled, whole: &Pipeline, chosen: &Chosen) -> String {
    let sources = &compiled.sources;
    let mut out = String::new();
    for job in in_stage_order(&chosen.pipeline, chosen.pipeline.ids()) {
        let mut value = job_json(job, sources);
        value["runs"] = json!(job.when != When::Manual);
        let _ = writeln!(out, "{value}");
    }
    for LeftOut { name, reason, place: at } in left_out(whole, chosen) {
        let at = at.map(|at| place(at, sources));
        let _ = writeln!(out, "{}", json!({"name": name, "runs": false, "left_out": reason, "place": at}));
    }
    out
}

fn left_out(whole: &Pipeline, chosen: &Chosen) -> Vec<LeftOut> {
    let unselected = whole.ids().filter(|id| !chosen.origin.contains(id)).map(|id| LeftOut {
        name: whole.job(id).name.clone(),
        reason: "it is not selected".into(),
        place: None,
    });
    unselected.chain(whole.left_out.iter().cloned()).collect()
}

/// Jobs stage by stage.
pub fn in_stage_order(pipeline: &Pipeline, ids: impl Iterator<Item = JobId>) -> impl Iterator<Item = &Job> {
    let mut ids: Vec<JobId> = ids.collect();
    ids.sort_by_key(|id| (pipeline.job(*id).stage_index, *id));
    ids.into_iter().map(|id| pipeline.job(id))
}

fn when(job: &Job) -> String {
    match (job.when, job.start_in) {
        (When::Delayed, Some(delay)) => format!("delayed by {}", super::words::time(delay)),
        (when, _) => when.word().to_owned(),
    }
}

fn allowed(job: &Job) -> &'static str {
    match &job.allow_failure {
        AllowFailure::No => "",
        AllowFailure::Yes => "yes",
        AllowFailure::ExitCodes(_) => "some exit codes",
    }
}

fn needs(job: &Job) -> String {
    let names = job.needs.iter().flatten().map(|need| need.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// A job as JSON.
pub fn job_json(job: &Job, sources: &Sources) -> Value {
    let allow_failure = match &job.allow_failure {
        AllowFailure::No => json!(false),
        AllowFailure::Yes => json!(true),
        AllowFailure::ExitCodes(codes) => json!({"exit_codes": codes}),
    };
    let needs = job.needs.as_ref().map(|needs| needs.iter().map(|n| n.name.as_str()).collect::<Vec<_>>());
    let rule = job
        .rule
        .as_ref()
        .map(|rule| json!({"number": rule.number, "text": rule.text, "place": place(rule.place, sources)}));
    let mut value = json!({"name": job.name, "stage": job.stage, "when": job.when.word(), "allow_failure": allow_failure,
        "needs": needs, "rule": rule, "place": place(job.place, sources)});
    match &job.bridge {
        None => {}
        Some(Bridge::Child { include, .. }) => value["trigger"] = json!({ "include": include }),
        Some(Bridge::Project { project, branch, .. }) => {
            value["trigger"] = json!({"project": project, "branch": branch});
        }
        Some(Bridge::Mirror { project }) => value["mirrors"] = json!(project),
    }
    value
}
