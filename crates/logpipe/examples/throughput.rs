//! How fast the log is made: megabytes a second of clean job output through the whole pipe, with 5, 60 and 200 secrets,
//! beside plain copying of the same frames. Run with `cargo run --release -p harrier-logpipe --example throughput`.

#![expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]

use harrier_base::{Secret, Timestamp};
use harrier_logpipe::{Frame, FrameKind, LogPipe, Settings};
use std::hint::black_box;
use std::time::Instant;

/// Bytes of one frame, as the supervisor writes them when a job prints a lot.
const FRAME: usize = 64 * 1024;
/// Bytes of one round.
const TOTAL: usize = 128 << 20;
/// Rounds; the best one counts.
const ROUNDS: usize = 5;

/// The prefixes a job has by default (`runner-api.md` §15.5).
const PREFIXES: [&str; 14] = [
    "glpat-",
    "gloas-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glrtr-",
    "glptt-",
    "glft-",
    "glimt-",
    "glagent-",
    "glsoat-",
    "glffct-",
    "_gitlab_session=",
    "gltok-",
];

/// A small generator, so that every run sees the same bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn secret(random: &mut Random) -> Secret {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    let length = 8 + random.below(40);
    Secret::new((0..length).map(|_| char::from(LETTERS[random.below(LETTERS.len())])).collect::<String>())
}

/// Lines as compilers, test runners and package managers print them.
fn job_output(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME);
    while out.len() < FRAME {
        let n = random.below(100_000);
        let line = match random.below(6) {
            0 => format!("   Compiling library-{} v0.{}.{} (/builds/group/project)\n", n, n % 90, n % 7),
            1 => format!("test module::case_{n}::gives_the_right_answer ... ok\n"),
            2 => format!("GET https://registry.example.test/packages/{n}?page={} 200 OK {n} ms\n", n % 50),
            3 => format!(
                "\x1b[32m[{n}]\x1b[0m INFO worker-{} request finished digest=sha256:{:064x}\n",
                n % 9,
                n * n
            ),
            4 => format!("npm warn deprecated package@{n}: no longer supported, please use another\n"),
            _ => format!(
                "src/file_{n}.rs:{}:{}: note: value moved here, in previous iteration\n",
                n % 900,
                n % 80
            ),
        };
        out.extend_from_slice(line.as_bytes());
    }
    out.truncate(FRAME);
    out
}

/// Seconds this process has been on a processor, so that other work on the machine does not count; wall-clock time
/// since `start` where the system does not tell.
fn seconds(start: Instant) -> f64 {
    std::fs::read_to_string("/proc/self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .map_or_else(|| start.elapsed().as_secs_f64(), |nanos| nanos as f64 / 1e9)
}

/// Megabytes a second of the best round of so many bytes.
fn best(bytes: usize, mut round: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..ROUNDS)
        .map(|_| {
            let before = seconds(start);
            round();
            bytes as f64 / 1e6 / (seconds(start) - before)
        })
        .fold(0.0, f64::max)
}

fn main() {
    let mut random = Random(7);
    let frames: Vec<Frame> = (0..64)
        .map(|n| Frame {
            kind: FrameKind::Stdout,
            stream: 1,
            time: Timestamp(1_772_356_527_042_318 + n),
            bytes: job_output(&mut random),
        })
        .collect();
    let mut out = Vec::with_capacity(2 * FRAME);

    // So fast that one round's bytes would be too few to time.
    let copied = 32 * TOTAL;
    let copy = best(copied, || {
        for frame in frames.iter().cycle().take(copied / FRAME) {
            out.clear();
            out.extend_from_slice(&frame.bytes);
            black_box(&out);
        }
    });
    println!("{:<44}{copy:>8.0} MB/s", "plain copying");

    for timestamps in [false, true] {
        for count in [5, 60, 200] {
            let settings = Settings {
                masks: (0..count).map(|_| secret(&mut random)).collect(),
                token_prefixes: PREFIXES.map(str::to_owned).to_vec(),
                timestamps,
                limit: u64::MAX,
            };
            let speed = best(TOTAL, || {
                let mut pipe = LogPipe::new(&settings);
                for frame in frames.iter().cycle().take(TOTAL / FRAME) {
                    out.clear();
                    pipe.frame(frame, &mut out);
                    black_box(&out);
                }
            });
            let with = if timestamps { ", time stamps" } else { "" };
            println!("{:<44}{speed:>8.0} MB/s", format!("log pipe, {count} secrets{with}"));
        }
    }
}
