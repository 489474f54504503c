//! What `harrier lint` says. Pure: text or JSON comes out.

use crate::local_cli::listing;
use harrier_local::Inspected;
use harrier_pipeline::{Diagnostic, Filtered, Place, Severity, Sources};
use serde_json::{Value, json};

/// Every finding with its source line, then the verdict.
pub fn text(inspected: &Inspected) -> String {
    let compiled = &inspected.compiled;
    let mut out = String::new();
    for diagnostic in &compiled.diagnostics {
        out.push_str(&harrier_pipeline::render(diagnostic, &compiled.sources));
        out.push('\n');
    }
    let count = |severity| compiled.diagnostics.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let name = compiled.sources.names().next().unwrap_or_default();
    let warned = if warnings > 0 { format!(", {}", number(warnings, "warning")) } else { String::new() };
    let subject = &inspected.subject;
    let verdict = match (&compiled.pipeline, &compiled.filtered) {
        _ if errors > 0 => format!("{name} is not valid: {}{warned}", number(errors, "error")),
        (Some(pipeline), _) => {
            let left = match pipeline.left_out.len() {
                0 => String::new(),
                left => format!(" ({left} left out by rules)"),
            };
            let jobs = number(pipeline.jobs.len(), "job");
            format!("{name} is valid: {jobs} for {subject}{left}{warned}")
        }
        (None, Some(Filtered::Workflow { .. })) => {
            format!("{name} is valid, but its workflow makes no pipeline for {subject}{warned}")
        }
        (None, Some(Filtered::Rules { .. }) | None) => {
            format!("{name} is valid, but its rules leave no job for {subject}{warned}")
        }
    };
    out.push_str(&verdict);
    out.push('\n');
    out
}

fn number(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// `--json`
pub fn json(inspected: &Inspected) -> String {
    let compiled = &inspected.compiled;
    let of = |severity| -> Vec<Value> {
        let some = compiled.diagnostics.iter().filter(|d| d.severity == severity);
        some.map(|d| diagnostic(d, &compiled.sources)).collect()
    };
    let jobs: Vec<Value> = match &compiled.pipeline {
        Some(pipeline) => {
            let jobs = listing::in_stage_order(pipeline, pipeline.ids());
            jobs.map(|job| listing::job_json(job, &compiled.sources)).collect()
        }
        None => Vec::new(),
    };
    let valid = !compiled.has_errors();
    let merged = valid.then(|| compiled.written.merged_yaml()).flatten();
    let value = json!({
        "valid": valid,
        "errors": of(Severity::Error),
        "warnings": of(Severity::Warning),
        "merged_yaml": merged,
        "jobs": jobs,
    });
    format!("{value:#}\n")
}

fn diagnostic(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let mut value = json!({"message": diagnostic.message});
    put_place(&mut value, diagnostic.place, sources);
    value["job"] = json!(diagnostic.job);
    value["keyword"] = json!(diagnostic.keyword);
    value["suggestion"] = json!(diagnostic.suggestion);
    let notes = diagnostic.notes.iter().map(|note| {
        let mut value = json!({"message": note.text});
        put_place(&mut value, note.place, sources);
        value
    });
    value["notes"] = notes.collect();
    value
}

fn put_place(value: &mut Value, place: Option<Place>, sources: &Sources) {
    value["file"] = json!(place.map(|place| sources.name(place.file)));
    value["line"] = json!(place.map(|place| place.line));
    value["column"] = json!(place.map(|place| place.column));
    value["end_line"] = json!(place.map(|place| place.end_line));
    value["end_column"] = json!(place.map(|place| place.end_column));
}
