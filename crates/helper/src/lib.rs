//! The native renderer of helper stages: sources by git, archives, artifacts, caches, cleaning. It carries out a
//! [`HelperRequest`] in the place where the job lives.
//!
//! Called by the `harrier` binary started again as `__helper` (the request on standard input, the job log on
//! standard output) and by tests. It must never read CI settings or feature flags: the plan has decided
//! everything. It must never put a secret on a command line, into `.git/config` or into the log.

mod archive;
mod artifacts;
mod cache;
mod calendar;
mod cleanup;
mod env;
mod failure;
mod git;
mod hook;
mod log;
mod prepare;
mod select;
mod serve;
mod sources;
mod tree;

use crate::env::Environment;
use crate::failure::Failure;
use crate::log::Log;
pub use crate::serve::serve_main;
use harrier_plan::{HeaderLine, HelperRequest, Op};
use std::io::{Read, Write};

/// Carries out the operations of one stage in order and returns the stage's exit code: 0, the code of the git
/// or script that failed, or 1. What users must know has been written to `out`.
pub fn run(request: &HelperRequest, out: &mut (dyn Write + Send)) -> i32 {
    stage(request, &mut Log::copied(out))
}

/// The process behind `harrier __helper`: reads the request as JSON from standard input and writes the job log to
/// standard output, which git and scripts inherit. Returns the exit code of the process.
pub fn helper_main() -> i32 {
    let mut out = std::io::stdout();
    let mut text = Vec::new();
    let request = std::io::stdin()
        .lock()
        .read_to_end(&mut text)
        .map_err(|why| why.to_string())
        .and_then(|_| serde_json::from_slice::<HelperRequest>(&text).map_err(|why| why.to_string()));
    match request {
        Ok(request) => stage(&request, &mut Log::inherited(&mut out)),
        Err(why) => {
            Log::inherited(&mut out).error(format_args!(
                "the helper cannot read its request: {why}. This is a fault of Harrier; `__helper` is started by \
                 Harrier itself, not by hand"
            ));
            1
        }
    }
}

fn stage(request: &HelperRequest, log: &mut Log<'_>) -> i32 {
    let env = Environment::of(request);
    for op in &request.ops {
        if let Err(failure) = carry_out(op, request, &env, log) {
            if let Some(words) = failure.words() {
                log.error(words);
            }
            log.flush();
            return failure.exit_code();
        }
    }
    log.flush();
    0
}

fn carry_out(op: &Op, request: &HelperRequest, env: &Environment, log: &mut Log<'_>) -> Result<(), Failure> {
    match op {
        Op::Prepare => prepare::prepare(request, log),
        Op::Sources(sources) => sources::get(sources, request, env, log),
        Op::ClearWorktree => sources::clear_worktree(request, env, log),
        Op::RestoreCache(cache) => cache::restore(cache, request, env, log),
        Op::SaveCache(cache) => {
            prepare::project_is_in_place(request)?;
            cache::save(cache, request, env, log)
        }
        Op::DownloadArtifacts(download) => artifacts::download(download, request, env, log),
        Op::UploadArtifacts(upload) => {
            prepare::project_is_in_place(request)?;
            artifacts::upload(upload, request, env, log)
        }
        Op::Cleanup(cleanup) => cleanup::cleanup(cleanup, request, env, log),
        Op::Say(HeaderLine::Info(text)) => {
            log.line(text);
            Ok(())
        }
        Op::Say(HeaderLine::Warning(text)) => {
            log.caution(format_args!("WARNING: {text}"));
            Ok(())
        }
        Op::Fail(message) => Err(Failure::Planned { message: message.clone() }),
        Op::Script(script) => hook::run(script, request, env, &request.dirs.project, log),
    }
}
