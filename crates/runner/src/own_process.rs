//! The numbers of this process that every monitoring system knows (`process_*`), as the kernel tells them. What it does not
//! tell is left out.

use std::fmt::Write;
use std::fs;

/// Ticks of a second in what the kernel tells programs, the same on every machine.
const TICKS: f64 = 100.;

/// Appends them in Prometheus' text format.
pub(crate) fn metrics(out: &mut String) {
    let numbers = [
        ("process_cpu_seconds_total", "counter", "Time on processors", cpu_seconds()),
        ("process_open_fds", "gauge", "Open file descriptors", open_fds()),
        ("process_max_fds", "gauge", "Most open file descriptors", max_fds()),
        ("process_resident_memory_bytes", "gauge", "Memory in use", status_bytes("VmRSS:")),
        ("process_virtual_memory_bytes", "gauge", "Address space in use", status_bytes("VmSize:")),
        ("process_start_time_seconds", "gauge", "Start, in seconds since 1970", start_seconds()),
    ];
    for (name, kind, help, value) in numbers {
        let Some(value) = value else { continue };
        // A String takes everything.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}

/// The fields behind the name, which may hold blanks; the first is the third of `proc(5)`.
fn stat(field: usize) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(field - 3)?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    Some((stat(14)? + stat(15)?) / TICKS)
}

fn start_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat(22)? / TICKS)
}

fn open_fds() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn max_fds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn status_bytes(key: &str) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_tells_all_of_them() {
        let mut out = String::new();
        super::metrics(&mut out);
        assert_eq!(out.lines().filter(|line| !line.starts_with('#')).count(), 6, "{out}");
        let started = super::start_seconds().expect("known");
        assert!(started > 1.6e9, "{started}");
    }
}
