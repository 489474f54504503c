//! What `harrier explain` says: the origin of every keyword and variable of a job. Pure: text or JSON comes out.

use crate::local_cli::listing::place;
use crate::local_cli::words::{Colour, Paint, cut, pad, width};
use harrier_base::Variable;
use harrier_local::Inspected;
use harrier_pipeline::{Job, LeftOut, Origin, Sources, Way};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Columns that a value takes at most.
const VALUE: usize = 60;

/// What is known of one job.
struct Explained<'i> {
    /// In the file.
    base: String,
    origins: Vec<Origin>,
    /// Its instances in the pipeline.
    jobs: Vec<&'i Job>,
    left_out: Vec<&'i LeftOut>,
}

fn explained<'i>(inspected: &'i Inspected, name: &str) -> Result<Explained<'i>, String> {
    let compiled = &inspected.compiled;
    let pipeline = compiled.pipeline.as_ref();
    let all = pipeline.map(|pipeline| pipeline.jobs.as_slice()).unwrap_or_default();
    let base = |job: &Job| job.instance.as_ref().map_or(job.name.clone(), |instance| instance.base.clone());
    let jobs: Vec<&Job> = all.iter().filter(|job| job.name == name || base(job) == name).collect();
    let in_file = jobs.first().map_or(name.to_owned(), |job| base(job));
    let left = match (&compiled.pipeline, &compiled.filtered) {
        (Some(pipeline), _) => pipeline.left_out.as_slice(),
        (None, Some(harrier_pipeline::Filtered::Rules { left_out })) => left_out.as_slice(),
        (None, _) => &[],
    };
    let of_base = |job: &LeftOut| {
        let rest = job.name.strip_prefix(&in_file);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": [") || rest.starts_with(' '))
    };
    let left_out = left.iter().filter(|job| job.name == name || of_base(job)).collect();
    match compiled.written.explain(&in_file) {
        Some(origins) => Ok(Explained { base: in_file, origins, jobs, left_out }),
        None => {
            let known: Vec<String> = compiled
                .written
                .top_level()
                .into_iter()
                .filter(|entry| !entry.setting)
                .map(|entry| entry.name)
                .collect();
            let near = harrier_pipeline::nearest(name, known.iter().map(String::as_str));
            let help = match near {
                Some(near) => format!("did you mean {near:?}?"),
                None => "`harrier list` shows the jobs".to_owned(),
            };
            Err(format!("there is no job {name:?}; {help}"))
        }
    }
}

/// Where a variable of a job comes from.
struct Source {
    rank: &'static str,
    place: Option<harrier_pipeline::Place>,
    value: String,
}

fn shown(variable: &Variable) -> String {
    if variable.masked { "[MASKED]".to_owned() } else { variable.value.clone() }
}

/// The winning definition of each variable that the job sees, by name; predefined ones only if asked for.
fn variables(inspected: &Inspected, base: &str, job: &Job, predefined: bool) -> Vec<(String, Source)> {
    let written = &inspected.compiled.written;
    let mut all: Vec<(String, Source)> = Vec::new();
    let mut put = |name: &str, source: Source| {
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), source));
    };
    for (rank, list) in inspected.given.iter().filter(|(rank, _)| *rank == "predefined" && predefined) {
        for variable in list {
            put(&variable.key, Source { rank, place: None, value: shown(variable) });
        }
    }
    for variable in &job.variables {
        let name = variable.key.as_str();
        let in_matrix = job.instance.as_ref().is_some_and(|i| i.matrix.iter().any(|(key, _)| key == name));
        let rule = job.rule.as_ref().filter(|rule| rule.variables.iter().any(|set| set == name));
        let of_job = written.origin(&[base, "variables", name]);
        let of_file = written.origin(&["variables", name]);
        let (rank, at) = if let Some(rule) = rule {
            ("rule", Some(rule.place))
        } else if in_matrix {
            ("matrix", written.origin(&[base, "parallel"]).and_then(|origin| origin.place))
        } else if let Some(origin) = of_job {
            ("job", origin.place)
        } else if let Some(origin) = of_file {
            ("top level", origin.place)
        } else {
            ("workflow rule", None)
        };
        put(name, Source { rank, place: at, value: variable.value.clone() });
    }
    for (rank, list) in inspected.given.iter().filter(|(rank, _)| *rank != "predefined") {
        for variable in list {
            put(&variable.key, Source { rank, place: None, value: shown(variable) });
        }
    }
    all
}

/// One way in words.
pub fn way(way: &Way, sources: &Sources) -> String {
    let of = |from: &Option<String>| from.as_ref().map(|from| format!(" of {from}")).unwrap_or_default();
    match way {
        Way::Extends { base, place: at } => format!("extends {base} ({})", place(*at, sources)),
        Way::MergeKey { from } => format!("merge key with an anchor{}", of(from)),
        Way::Alias { from } => format!("alias of an anchor{}", of(from)),
        Way::Reference { path, place: at, target } => {
            let target = target.map(|target| format!(", from {}", place(target, sources)));
            let at = place(*at, sources);
            format!("!reference [{}] ({at}{})", path.join(", "), target.unwrap_or_default())
        }
        Way::Default => "default".to_owned(),
        Way::TopLevel => "keyword at the top level".to_owned(),
        Way::BuiltIn => "the language's default".to_owned(),
    }
}

fn ways(origin: &Origin, inspected: &Inspected) -> Vec<String> {
    let sources = &inspected.compiled.sources;
    let mut ways: Vec<String> = origin.ways.iter().map(|one| way(one, sources)).collect();
    let from = origin.place.map(|at| inspected.compiled.written.included_from(at.file)).unwrap_or_default();
    ways.extend(from.iter().map(|from| format!("included at {}", place(*from, sources))));
    ways
}

/// The value on one line.
fn brief(value: &str) -> String {
    let mut lines = value.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let more = if lines.next().is_some() { " …" } else { "" };
    cut(&format!("{first}{more}"), VALUE)
}

/// For people.
pub fn text(inspected: &Inspected, name: &str, predefined: bool, paint: Paint) -> Result<String, String> {
    let explained = explained(inspected, name)?;
    let sources = &inspected.compiled.sources;
    let mut out = String::new();
    let defined = inspected.compiled.written.top_level().into_iter().filter(|e| e.name == explained.base);
    let defined: Vec<String> = defined.map(|entry| place(entry.place, sources)).collect();
    let head = paint.on(Colour::Bold, &explained.base);
    let _ = writeln!(out, "{head}  {}", defined.join(", "));
    for job in &explained.jobs {
        let rule = match &job.rule {
            Some(rule) => {
                format!("rule {} ({}) at {}", rule.number, rule.text, place(rule.place, sources))
            }
            None => "it has no rules".to_owned(),
        };
        let _ = writeln!(out, "  in the pipeline as {} ({}): {rule}", job.name, job.when.word());
    }
    for left in &explained.left_out {
        let at = left.place.map(|at| format!(" at {}", place(at, sources))).unwrap_or_default();
        let _ = writeln!(out, "  left out, {}: {}{at}", left.name, left.reason);
    }
    let _ = writeln!(out, "{}", paint.on(Colour::Bold, "keywords"));
    let names: Vec<String> = explained.origins.iter().map(|origin| origin.keyword.join(":")).collect();
    let places: Vec<String> = explained
        .origins
        .iter()
        .map(|origin| origin.place.map_or("-".to_owned(), |at| place(at, sources)))
        .collect();
    let name_width = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let place_width = places.iter().map(|at| width(at)).max().unwrap_or(0);
    for ((origin, name), at) in explained.origins.iter().zip(&names).zip(&places) {
        let value = brief(&origin.value);
        let _ = writeln!(out, "  {}  {}  {value}", pad(name, name_width), pad(at, place_width));
        for way in ways(origin, inspected) {
            let _ =
                writeln!(out, "  {}  {}", pad("", name_width), paint.on(Colour::Dim, &format!("← {way}")));
        }
    }
    let instance = explained.jobs.iter().find(|job| job.name == name).or(explained.jobs.first());
    if let Some(job) = instance {
        let all = variables(inspected, &explained.base, job, predefined);
        if !all.is_empty() {
            let title = if job.name == explained.base {
                "variables".to_owned()
            } else {
                format!("variables of {}", job.name)
            };
            let _ = writeln!(out, "{}", paint.on(Colour::Bold, &title));
        }
        let name_width = all.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
        let rank_width = all.iter().map(|(_, source)| width(source.rank)).max().unwrap_or(0);
        for (name, source) in &all {
            let at = source.place.map(|at| format!(" at {}", place(at, sources))).unwrap_or_default();
            let value = brief(&source.value);
            let (name, rank) = (pad(name, name_width), pad(source.rank, rank_width));
            let _ = writeln!(out, "  {name}  {rank}  {value}{at}");
        }
    }
    Ok(out)
}

/// `--json`
pub fn json(inspected: &Inspected, name: &str, predefined: bool) -> Result<String, String> {
    let explained = explained(inspected, name)?;
    let sources = &inspected.compiled.sources;
    let keywords: Vec<Value> = explained
        .origins
        .iter()
        .map(|origin| {
            json!({
                "keyword": origin.keyword.join(":"),
                "value": origin.value,
                "place": origin.place.map(|at| place(at, sources)),
                "by": ways(origin, inspected),
            })
        })
        .collect();
    let jobs: Vec<Value> = explained
        .jobs
        .iter()
        .map(|job| {
            let all =
                variables(inspected, &explained.base, job, predefined).into_iter().map(|(key, source)| {
                    let at = source.place.map(|at| place(at, sources));
                    json!({"key": key, "value": source.value, "rank": source.rank, "place": at})
                });
            let mut value = crate::local_cli::listing::job_json(job, sources);
            value["variables"] = all.collect();
            value
        })
        .collect();
    let left: Vec<Value> = explained
        .left_out
        .iter()
        .map(|left| {
            let at = left.place.map(|at| place(at, sources));
            json!({"name": left.name, "left_out": left.reason, "place": at})
        })
        .collect();
    let value = json!({"job": explained.base, "keywords": keywords, "jobs": jobs, "left_out": left});
    Ok(format!("{value:#}\n"))
}
