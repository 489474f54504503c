//! The main process of a helper container: it carries out one call after the other until its input ends, so that no stage
//! pays for a process of its own.
//!
//! Called by the `harrier` binary started as `__helper_serve`; the calls come from the docker executor
//! ([`harrier_plan::HelperCall`]). It must never end because one call went wrong.

use crate::failure::Failure;
use crate::log::Log;
use crate::tree;
use harrier_plan::{HelperCall, HelperWork};
use std::fs::Permissions;
use std::io::{BufRead, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Between two tries to reach a service.
const RETRY: Duration = Duration::from_millis(50);
/// Of one try.
const CONNECT: Duration = Duration::from_secs(1);

/// Serves calls until standard input ends. Returns the exit code of the process.
pub fn serve_main() -> i32 {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return 1 };
        match serde_json::from_str::<HelperCall>(&line) {
            Ok(call) => serve(call),
            Err(why) => {
                Log::inherited(&mut std::io::stdout()).error(format_args!(
                    "the helper does not understand a call: {why}. This is a fault of Harrier"
                ));
                return 1;
            }
        }
    }
    0
}

fn serve(call: HelperCall) {
    let HelperCall { mark, work } = call;
    // A panic is one stage's failure; the next stage, which cleans up, must still be carried out.
    let code = std::panic::catch_unwind(move || carry_out(work)).unwrap_or(1);
    // If the reader is gone nobody misses the end.
    let _ = writeln!(std::io::stderr(), "{mark}");
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{mark}:{code}");
    let _ = out.flush();
}

fn carry_out(work: HelperWork) -> i32 {
    let mut out = std::io::stdout();
    match work {
        HelperWork::Stage(request) => {
            if request.open_to_all {
                nix::sys::stat::umask(nix::sys::stat::Mode::empty());
            }
            crate::stage(&request, &mut Log::inherited(&mut out))
        }
        HelperWork::WaitForServices { services, seconds } => {
            let failed = wait_for(&services, Duration::from_secs(seconds));
            for (at, why) in &failed {
                let _ = writeln!(out, "{at} {why}");
            }
            i32::try_from(failed.len()).unwrap_or(i32::MAX)
        }
        HelperWork::OpenUp(paths) => {
            let mut code = 0;
            for path in paths {
                let path = Path::new(&path);
                if let Err(failure) = open_up(path) {
                    if let Some(words) = failure.words() {
                        Log::inherited(&mut out).error(words);
                    }
                    code = 1;
                }
            }
            code
        }
    }
}

/// As the contract's `cache-init` (`executors.md` §10.8).
fn open_up(path: &Path) -> Result<(), Failure> {
    tree::dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(Failure::io("open up", path))
}

/// Waits for all services side by side; tells which did not answer.
fn wait_for(services: &[Vec<String>], limit: Duration) -> Vec<(usize, String)> {
    let end = Instant::now() + limit;
    let (answers, all) = mpsc::channel();
    for (at, addresses) in services.iter().enumerate() {
        let (answers, addresses) = (answers.clone(), addresses.clone());
        std::thread::spawn(move || {
            if let Err(why) = answered(&addresses, end) {
                // The receiver waits for every sender.
                let _ = answers.send((at, why));
            }
        });
    }
    drop(answers);
    let mut failed: Vec<_> = all.iter().collect();
    failed.sort();
    failed
}

fn answered(addresses: &[String], end: Instant) -> Result<(), String> {
    let mut last = "no port to connect to".to_owned();
    // Never sent to: a wait that ends with its time.
    let (_open, pause) = mpsc::channel::<()>();
    loop {
        for address in addresses {
            let connected = address
                .parse::<SocketAddr>()
                .map_err(|why| why.to_string())
                .and_then(|at| TcpStream::connect_timeout(&at, CONNECT).map_err(|why| why.to_string()));
            match connected {
                Ok(_) => return Ok(()),
                Err(why) => last = format!("{address}: {why}"),
            }
        }
        if Instant::now() >= end {
            return Err(last);
        }
        let _ = pause.recv_timeout(RETRY);
    }
}
