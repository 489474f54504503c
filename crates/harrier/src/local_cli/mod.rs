//! `harrier run`: arguments, signals, view and exit code around the local host. It must never decide anything about a
//! pipeline or a job.

mod args;
mod executors;
pub mod listing;
mod shell;
mod view;
pub mod words;

pub use args::{ConfigurationArgs, RunArgs, ShellArgs};
pub use shell::EXPIRE;

use crate::version;
use harrier_local::{
    Ended, Event, IncludeOptionError, IncludeOptions, Interrupt, Local, PipelineStatus, PlaceError,
    PrepareError, Program, Request, RunError, RunWith, Selection, SelectionError, State, VariablesError,
};
use harrier_pipeline::Compiled;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use view::{Json, Live, Plain, View};
use words::Paint;

/// How `harrier run` can end without having run anything; each kind has its exit code.
pub enum Failed {
    /// Bad usage.
    Usage(String),
    /// Bad configuration; the text is whole diagnostics.
    Configuration(String),
    /// Harrier's own fault, or the machine's.
    Internal(String),
}

impl Failed {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Configuration(_) => 3,
            Self::Internal(_) => 4,
        }
    }
}

/// Runs the command.
pub fn run(args: &RunArgs) -> ExitCode {
    let result = if args.clean {
        clean(args)
    } else if args.list || args.dry_run {
        show(args)
    } else {
        carry_out(args)
    };
    exit(result)
}

/// Opens a shell in a kept job's place.
pub fn shell(args: &ShellArgs) -> ExitCode {
    exit(shell::shell(args))
}

/// Waits for the end of what is kept in the repository `root`.
pub fn expire(root: Option<&OsString>) -> ExitCode {
    exit(shell::expire(root))
}

/// The exit code; a failure is told on standard error.
pub fn exit(result: Result<u8, Failed>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failed) => {
            let (Failed::Usage(text) | Failed::Configuration(text) | Failed::Internal(text)) = &failed;
            let text = if text.starts_with("error:") || text.starts_with("warning:") {
                text.clone()
            } else {
                format!("error: {text}")
            };
            eprintln!("{}", text.trim_end());
            ExitCode::from(failed.code())
        }
    }
}

fn clean(args: &RunArgs) -> Result<u8, Failed> {
    let here = here()?;
    let repository = harrier_local::Repository::discover(&here).map_err(|e| Failed::Usage(e.to_string()))?;
    if !repository.root.join(".harrier").exists() {
        println!("There is nothing to remove.");
        return Ok(0);
    }
    let state = State::open(&repository.root).map_err(|e| Failed::Internal(e.to_string()))?;
    let executors = executors::of(args)?;
    let removed = runtime()?
        .block_on(harrier_local::clean(&repository, state, executors, &program()))
        .map_err(|e| Failed::Internal(e.to_string()))?;
    println!("Removed {}", removed.display());
    Ok(0)
}

fn show(args: &RunArgs) -> Result<u8, Failed> {
    let local = Local::prepare(&request(&args.configuration)?).map_err(of_prepare)?;
    warn(&local.compiled);
    let paint = paint(&io::stdout());
    let pipeline = pipeline(&local.compiled)?;
    let text = if args.list && args.json {
        listing::list_json(pipeline, &local.compiled.sources)
    } else if args.list {
        listing::list(pipeline, paint)
    } else {
        let chosen =
            harrier_local::choose(pipeline, &selection(args)).map_err(|e| of_selection(e, &local))?;
        if args.json {
            listing::dry_run_json(&local.compiled, pipeline, &chosen)
        } else {
            listing::dry_run(&local.compiled, pipeline, &chosen, paint)
        }
    };
    // Who reads only the beginning has all they want.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(0)
}

fn carry_out(args: &RunArgs) -> Result<u8, Failed> {
    let executors = executors::of(args)?;
    let request = request(&args.configuration)?;
    let own_binary = std::env::current_exe()
        .map_err(|why| Failed::Internal(format!("the path of this program cannot be found: {why}")))?;
    let ready = Local::prepare_to_run(&request).map_err(of_prepare)?;
    warn(&ready.local.compiled);
    let pipeline = pipeline(&ready.local.compiled)?;
    let chosen =
        harrier_local::choose(pipeline, &selection(args)).map_err(|e| of_selection(e, &ready.local))?;
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let concurrency = args.concurrency.unwrap_or(cores);
    let root = ready.local.repository.root.clone();
    let runtime = runtime()?;
    let (events, received) = mpsc::channel(256);
    let (pull, interrupts) = watch::channel(Interrupt::No);
    let pull = Arc::new(pull);
    let ended: Result<Ended, RunError> = runtime.block_on(async {
        let signals = tokio::spawn(listen_for_signals(Arc::clone(&pull)));
        let mut view = make_view(args);
        let showing = std::thread::spawn({
            let handle = tokio::runtime::Handle::current();
            let pull = Arc::clone(&pull);
            move || {
                let shown = handle.block_on(show_events(view.as_mut(), received));
                if shown.is_err() {
                    // Nobody reads any more, as after `| head`: there is no reason to go on.
                    raise(&pull);
                }
            }
        });
        let with =
            RunWith { executors, own_binary, program: program(), concurrency, events, keep: args.keep };
        let ended = ready.run(chosen, with, interrupts).await;
        signals.abort();
        // The thread ends with the last event; a panic in it has been printed.
        let _ = showing.join();
        ended
    });
    if args.keep.is_some() {
        shell::start_expiry(&root);
    }
    match ended {
        Ok(ended) => Ok(match ended.status {
            PipelineStatus::Passed
            | PipelineStatus::PassedWithWarnings
            | PipelineStatus::Blocked
            | PipelineStatus::Skipped => 0,
            PipelineStatus::Failed | PipelineStatus::Canceled => 1,
        }),
        Err(error @ RunError::Place(PlaceError::NoImage { .. })) => Err(Failed::Usage(error.to_string())),
        Err(error @ (RunError::Place(PlaceError::NoEngine(_)) | RunError::State(_) | RunError::Job(_))) => {
            Err(Failed::Internal(error.to_string()))
        }
    }
}

fn program() -> Program {
    Program {
        version: version::VERSION.to_owned(),
        revision: version::revision().unwrap_or("harrier").to_owned(),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|why| Failed::Internal(format!("the tasks of this run cannot be started: {why}")))
}

/// The current directory.
pub fn here() -> Result<std::path::PathBuf, Failed> {
    std::env::current_dir().map_err(|why| Failed::Usage(format!("the current directory is gone: {why}")))
}

/// What the arguments ask for, from the current directory.
pub fn request(args: &ConfigurationArgs) -> Result<Request, Failed> {
    let of_variables = |error: VariablesError| Failed::Usage(error.to_string());
    let mut variables = Vec::new();
    for file in &args.variables_file {
        variables.extend(harrier_local::variables_file(file).map_err(of_variables)?);
    }
    for text in &args.variables {
        variables.push(harrier_local::variable(text).map_err(of_variables)?);
    }
    for name in &args.secrets {
        variables.push(harrier_local::secret(name, std::env::var(name).ok()).map_err(of_variables)?);
    }
    let from = here()?;
    let of_includes = |error: IncludeOptionError| Failed::Usage(error.to_string());
    let inputs = args.inputs.iter().map(|text| harrier_local::input(text)).collect::<Result<_, _>>();
    let includes = IncludeOptions::parse(args.include_base.as_deref(), args.template_dir.as_deref(), &from);
    Ok(Request {
        from,
        file: args.file.clone(),
        variables,
        inputs: inputs.map_err(of_includes)?,
        includes: includes.map_err(of_includes)?,
    })
}

fn selection(args: &RunArgs) -> Selection {
    Selection {
        jobs: args.jobs.clone(),
        stages: args.stage.clone(),
        needs: args.needs,
        no_delay: args.no_delay,
    }
}

/// The pipeline, or why there is none.
pub fn pipeline(compiled: &Compiled) -> Result<&harrier_pipeline::Pipeline, Failed> {
    if let Some(pipeline) = &compiled.pipeline {
        return Ok(pipeline);
    }
    let errors: Vec<String> = compiled
        .diagnostics
        .iter()
        .filter(|d| d.severity == harrier_pipeline::Severity::Error)
        .map(|d| harrier_pipeline::render(d, &compiled.sources))
        .collect();
    if !errors.is_empty() {
        return Err(Failed::Configuration(errors.join("\n")));
    }
    let at = |place: &Option<harrier_pipeline::Place>| {
        place.map(|p| format!(" at {}", listing::place(p, &compiled.sources))).unwrap_or_default()
    };
    Err(Failed::Configuration(match &compiled.filtered {
        Some(harrier_pipeline::Filtered::Workflow { place }) => {
            format!("the rules of `workflow` make no pipeline for this commit{}", at(place))
        }
        Some(harrier_pipeline::Filtered::Rules { left_out }) => {
            let mut text = "the rules leave no job in this pipeline".to_owned();
            for job in left_out {
                text.push_str(&format!("\n  {}: {}{}", job.name, job.reason, at(&job.place)));
            }
            text
        }
        None => "the configuration makes no pipeline".to_owned(),
    }))
}

/// Prints the warnings.
pub fn warn(compiled: &Compiled) {
    let warnings = compiled.diagnostics.iter();
    for warning in warnings.filter(|d| d.severity == harrier_pipeline::Severity::Warning) {
        eprintln!("{}", harrier_pipeline::render(warning, &compiled.sources).trim_end());
    }
}

pub fn of_prepare(error: PrepareError) -> Failed {
    let text = error.to_string();
    match error {
        PrepareError::Repository(_) | PrepareError::Taken(_) => Failed::Usage(text),
        PrepareError::NoConfiguration { .. } | PrepareError::Configuration { .. } => {
            Failed::Configuration(text)
        }
        PrepareError::Snapshot(_) | PrepareError::State(_) | PrepareError::Git(_) => Failed::Internal(text),
    }
}

fn of_selection(error: SelectionError, local: &Local) -> Failed {
    let mut text = error.to_string();
    if let SelectionError::LeftOut { place: Some(place), .. } = &error {
        text.push_str(&format!(" at {}", listing::place(*place, &local.compiled.sources)));
    }
    Failed::Usage(text)
}

/// Whether colours are written to `out`.
pub fn paint(out: &impl IsTerminal) -> Paint {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| v != "0");
    let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    Paint(!refused && (forced || (out.is_terminal() && !dumb)))
}

fn make_view(args: &RunArgs) -> Box<dyn View + Send> {
    let out = io::stdout();
    let paint = paint(&out);
    let terminal = out.is_terminal() && std::env::var_os("TERM").is_none_or(|v| v != "dumb");
    let out = io::BufWriter::new(out);
    if args.json {
        Box::new(Json::new(out))
    } else if terminal && !args.plain {
        Box::new(Live::new(out, paint, terminal_size))
    } else {
        Box::new(Plain::new(out, paint))
    }
}

fn terminal_size() -> (usize, usize) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()))
}

async fn show_events(view: &mut (dyn View + Send), mut events: mpsc::Receiver<Event>) -> io::Result<()> {
    let mut ticks = tokio::time::interval(view::TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => view.event(&event)?,
                None => return Ok(()),
            },
            _ = ticks.tick(), if view.ticks() => view.tick()?,
        }
    }
}

/// Each signal that asks for an end goes one step further.
async fn listen_for_signals(pull: Arc<watch::Sender<Interrupt>>) {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else { return };
    loop {
        tokio::select! {
            Some(()) = interrupt.recv() => {}
            Some(()) = terminate.recv() => {}
            Some(()) = hangup.recv() => {}
            else => return,
        }
        raise(&pull);
    }
}

fn raise(pull: &watch::Sender<Interrupt>) {
    pull.send_modify(|now| {
        *now = match now {
            Interrupt::No => Interrupt::Cancel,
            Interrupt::Cancel | Interrupt::Kill => Interrupt::Kill,
        };
    });
}
