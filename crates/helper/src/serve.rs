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
/// What a job may leave outside the volumes.
const SCRATCH: [&str; 5] = ["/tmp", "/var/tmp", "/root", "/run", "/dev/shm"];
/// Shared with the build container where that shares the network, so a job can write into them.
const NETWORK_FILES: [&str; 3] = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];

/// Serves calls until standard input ends. Returns the exit code of the process. Input that ends in the middle of a job
/// is the end of the runner, not of the job: the build container may share this container's network, so that stays
/// until somebody ends it.
pub fn serve_main() -> i32 {
    let fresh: Vec<(&str, Vec<u8>)> =
        NETWORK_FILES.into_iter().filter_map(|path| Some((path, std::fs::read(path).ok()?))).collect();
    let mut in_a_job = false;
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return 1 };
        match serde_json::from_str::<HelperCall>(&line) {
            Ok(call) => {
                in_a_job = !matches!(call.work, HelperWork::Rest);
                serve(call, &fresh);
            }
            Err(why) => {
                Log::inherited(&mut std::io::stdout()).error(format_args!(
                    "the helper does not understand a call: {why}. This is a fault of Harrier"
                ));
                return 1;
            }
        }
    }
    while in_a_job && is_first_process() {
        std::thread::park();
    }
    0
}

/// Of a container: only then are all other processes the job's, and is it worth holding on to.
fn is_first_process() -> bool {
    nix::unistd::getpid().as_raw() == 1
}

fn serve(call: HelperCall, fresh: &[(&str, Vec<u8>)]) {
    let HelperCall { mark, work } = call;
    // A panic is one stage's failure; the next stage, which cleans up, must still be carried out.
    let code = std::panic::catch_unwind(move || carry_out(work, fresh)).unwrap_or(1);
    // If the reader is gone nobody misses the end.
    let _ = writeln!(std::io::stderr(), "{mark}");
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{mark}:{code}");
    let _ = out.flush();
}

fn carry_out(work: HelperWork, fresh: &[(&str, Vec<u8>)]) -> i32 {
    let mut out = std::io::stdout();
    let told = |result: Result<(), Failure>| {
        let Err(failure) = result else { return 0 };
        if let Some(words) = failure.words() {
            Log::inherited(&mut std::io::stdout()).error(words);
        }
        1
    };
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
        HelperWork::OpenUp(paths) => paths.iter().fold(0, |code, path| code | told(open_up(Path::new(path)))),
        HelperWork::GiveTo { paths, uid, gid } => {
            paths.iter().fold(0, |code, path| code | told(give_to(Path::new(path), uid, gid)))
        }
        HelperWork::Rest => told(rest(fresh)),
    }
}

/// As the contract's `cache-init` (`executors.md` §10.8).
fn open_up(path: &Path) -> Result<(), Failure> {
    tree::dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(Failure::io("open up", path))
}

/// Links themselves change hands, not what they lead to.
fn give_to(path: &Path, uid: u32, gid: u32) -> Result<(), Failure> {
    for entry in walkdir::WalkDir::new(path) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => match error.io_error().map(std::io::Error::kind) {
                Some(std::io::ErrorKind::NotFound) => continue,
                _ => return Err(Failure::io("give away", path)(error.into())),
            },
        };
        std::os::unix::fs::lchown(entry.path(), Some(uid), Some(gid))
            .map_err(Failure::io("give away", entry.path()))?;
    }
    Ok(())
}

fn rest(fresh: &[(&str, Vec<u8>)]) -> Result<(), Failure> {
    let no_rest =
        |why: &str| Err(Failure::io("rest in", Path::new("/"))(std::io::Error::other(why.to_owned())));
    if !is_first_process() {
        return no_rest("the helper is not the first process of its container");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(Failure::io("read", Path::new("/proc/self/mountinfo")))?;
    if let Some(path) = mounted_in_scratch(&mounts) {
        return no_rest(&format!("something that stays is mounted at {path}"));
    }
    // All but the first process; there may be none.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), nix::sys::signal::Signal::SIGKILL);
    while nix::sys::wait::wait().is_ok() {}
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    for dir in SCRATCH.map(Path::new) {
        if dir.is_dir() {
            tree::empty_dir(dir)?;
        }
    }
    for (path, content) in fresh {
        let path = Path::new(path);
        if std::fs::read(path).map_or(true, |now| now != *content) {
            std::fs::write(path, content).map_err(Failure::io("write", path))?;
        }
    }
    Ok(())
}

/// A mount that must not be emptied with the scratch directories.
fn mounted_in_scratch(mountinfo: &str) -> Option<&str> {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .find(|path| *path != "/dev/shm" && SCRATCH.iter().any(|dir| Path::new(path).starts_with(dir)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_not_emptied() {
        let line = |at: &str| format!("36 35 98:0 /v {at} rw,noatime - ext3 /dev/root rw\n");
        let usual = [line("/"), line("/proc"), line("/dev/shm"), line("/builds"), line("/rooted")].concat();
        assert_eq!(mounted_in_scratch(&usual), None);
        for path in ["/tmp", "/root/.m2", "/dev/shm/x"] {
            assert_eq!(mounted_in_scratch(&(usual.clone() + &line(path))), Some(path));
        }
    }
}
