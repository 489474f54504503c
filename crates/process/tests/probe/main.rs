//! The binary the tests of this crate start: as supervisor, or as a starter that is killed at bad moments.
//!
//! `probe __supervise …`: a supervisor; `PROBE_KILL_AT=<step>` kills it there.
//! `probe first <program> <arguments>…`: runs the program as `main` of the product would in a container of its own.
//! `probe start <dir> <key> <script file> [lifeline]`: starts the script under a supervisor and waits for its end.

use harrier_process::{SUPERVISE, Spec, Step, start, supervise_watched};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(SUPERVISE) => {
            let kill_at = std::env::var("PROBE_KILL_AT").ok();
            supervise_watched(&mut |step: Step| {
                if kill_at.as_deref() == Some(format!("{step:?}").as_str()) {
                    // It never returns.
                    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
                }
            })
        }
        Some("first") => first(&args[1..]),
        Some("start") => starter(&args[1..]),
        _ => ExitCode::from(2),
    }
}

fn first(args: &[String]) -> ExitCode {
    match harrier_process::stand_in_as_init().expect("init") {
        Some(code) => ExitCode::from(code),
        None => {
            let [program, rest @ ..] = args else { return ExitCode::from(2) };
            panic!("{}", std::process::Command::new(program).args(rest).exec());
        }
    }
}

fn starter(args: &[String]) -> ExitCode {
    let [dir, key, script, rest @ ..] = args else { return ExitCode::from(2) };
    let dir = PathBuf::from(dir);
    let spec = Spec {
        key: key.clone(),
        program: "bash".into(),
        args: vec![],
        env: vec![],
        unset: vec![],
        clear_env: false,
        mark: format!("test-mark-{}", dir.file_name().unwrap_or_default().to_string_lossy()),
        cwd: dir.clone(),
        stdin: std::fs::read(script).expect("a script"),
        raw_log: dir.join("raw.log"),
        stream: 1,
        die_with_parent: !rest.is_empty(),
        supervisor: std::env::current_exe().expect("own path"),
        dir,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut program = start(spec).await.expect("started");
        let exit = program.wait().await.expect("ended");
        ExitCode::from(u8::try_from(exit.code.unwrap_or(255)).unwrap_or(255))
    })
}
