//! The commands that look at a configuration and run nothing: `lint`, `expand`, `list`, `graph`, `explain`. Arguments and
//! output; what is said comes from the compiler, the listing and the drawing. They must never decide anything.

mod args;
mod explain;
mod lint;

pub use args::{ExpandArgs, ExplainArgs, GraphArgs, LintArgs, ListArgs};

use crate::local_cli::{self, Failed, listing};
use args::{Format, LookArgs};
use harrier_local::{Inspect, InspectError, Inspected, PrepareError, RootFile};
use harrier_pipeline::{Severity, SourceFile};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// `harrier lint`
pub fn lint(args: &LintArgs) -> ExitCode {
    local_cli::exit(inspected(&args.look, args.path.as_deref()).map(|inspected| {
        let text = if args.json { lint::json(&inspected) } else { lint::text(&inspected) };
        print(&text);
        if inspected.compiled.has_errors() { 3 } else { 0 }
    }))
}

/// `harrier expand`
pub fn expand(args: &ExpandArgs) -> ExitCode {
    local_cli::exit(inspected(&args.look, None).and_then(|inspected| {
        sound(&inspected)?;
        let merged = inspected.compiled.written.merged_yaml();
        write_out(args.output.as_deref(), &merged.unwrap_or_default())
    }))
}

/// `harrier list`
pub fn list(args: &ListArgs) -> ExitCode {
    local_cli::exit(inspected(&args.look, None).and_then(|inspected| {
        let compiled = &inspected.compiled;
        local_cli::warn(compiled);
        let pipeline = local_cli::pipeline(compiled)?;
        let (left, sources) = (&pipeline.left_out, &compiled.sources);
        if args.json {
            print(&(listing::list_json(pipeline, sources) + &listing::left_out_json(left, sources)));
        } else {
            let paint = local_cli::paint(&io::stdout());
            print(&(listing::list(pipeline, paint) + &listing::left_out_list(left, sources, 0, paint)));
        }
        Ok(0)
    }))
}

/// `harrier graph`
pub fn graph(args: &GraphArgs) -> ExitCode {
    local_cli::exit(inspected(&args.look, None).and_then(|inspected| {
        local_cli::warn(&inspected.compiled);
        let pipeline = local_cli::pipeline(&inspected.compiled)?;
        let graph = harrier_drawing::Graph::of(pipeline);
        let text = match args.format {
            Format::Text if args.ascii || !speaks_utf8() => graph.text(harrier_drawing::ASCII),
            Format::Text => graph.text(harrier_drawing::BOXES),
            Format::Svg => graph.svg(),
            Format::Mermaid => graph.mermaid(),
            Format::Dot => graph.dot(),
        };
        write_out(args.output.as_deref(), &text)
    }))
}

/// `harrier explain`
pub fn explain(args: &ExplainArgs) -> ExitCode {
    local_cli::exit(inspected(&args.look, None).and_then(|inspected| {
        let paint = local_cli::paint(&io::stdout());
        let text = if args.json {
            explain::json(&inspected, &args.job, args.predefined)
        } else {
            explain::text(&inspected, &args.job, args.predefined, paint)
        };
        // What is wrong with the configuration does not keep anyone from asking where its parts come from.
        let errors = inspected.compiled.has_errors();
        match text {
            Ok(text) => {
                if errors {
                    eprintln!("The configuration has errors, `harrier lint` shows them; this is what can be said anyway.");
                }
                print(&text);
                Ok(if errors { 3 } else { 0 })
            }
            Err(why) => {
                sound(&inspected)?;
                Err(Failed::Usage(why))
            }
        }
    }))
}

/// Compiles what the arguments name.
fn inspected(look: &LookArgs, file: Option<&Path>) -> Result<Inspected, Failed> {
    let root_file = match file {
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|why| Failed::Usage(format!("standard input cannot be read: {why}")))?;
            Some(RootFile::Text(SourceFile { name: "-".into(), text }))
        }
        Some(path) => Some(RootFile::Path(path.to_owned())),
        None => None,
    };
    let request = local_cli::request(&look.configuration)?;
    let asked = Inspect { request, root_file, git_ref: look.git_ref.clone(), ..Inspect::default() };
    harrier_local::inspect(&asked).map_err(of_inspect)
}

fn of_inspect(error: InspectError) -> Failed {
    match error {
        InspectError::Prepare(error @ PrepareError::NoConfiguration { .. }) => {
            Failed::Usage(error.to_string())
        }
        InspectError::Prepare(error) => local_cli::of_prepare(error),
        other @ (InspectError::Read { .. }
        | InspectError::NoRef { .. }
        | InspectError::NoRepository { .. }) => Failed::Usage(other.to_string()),
    }
}

/// Refuses a configuration with errors.
fn sound(inspected: &Inspected) -> Result<(), Failed> {
    let compiled = &inspected.compiled;
    local_cli::warn(compiled);
    let errors: Vec<String> = compiled
        .diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(|d| harrier_pipeline::render(d, &compiled.sources))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Failed::Configuration(errors.join("\n"))) }
}

fn print(text: &str) {
    // Who reads only the beginning has all they want.
    let _ = io::stdout().write_all(text.as_bytes());
}

fn write_out(to: Option<&Path>, text: &str) -> Result<u8, Failed> {
    let Some(path) = to else {
        print(text);
        return Ok(0);
    };
    std::fs::write(path, text)
        .map_err(|why| Failed::Usage(format!("{} cannot be written: {why}", path.display())))?;
    Ok(0)
}

/// Whether the terminal's character set is UTF-8, as the locale says.
fn speaks_utf8() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
