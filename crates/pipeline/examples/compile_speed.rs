//! How long configurations take to compile, for `make bench`: 1,000 jobs over 150 includes (no configuration may have
//! more) with extends ten deep, rules, needs and matrices; how that grows with the number of jobs; and files made to
//! explode. Times are the mean of several rounds, on one core.

// An example is not the pure crate: it may look at the clock and at its own memory.
#![allow(clippy::disallowed_methods)]

#[path = "../tests/support/hostile.rs"]
mod hostile;

use harrier_base::Variable;
use harrier_pipeline::{Context, FetchError, IncludeSource, SourceFile, compile};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// A configuration by path; the root is `.gitlab-ci.yml`.
struct Files {
    texts: BTreeMap<String, String>,
    names: Vec<String>,
}

impl IncludeSource for Files {
    fn local(&self, path: &str) -> Result<String, FetchError> {
        self.texts.get(path).cloned().ok_or(FetchError::NotFound)
    }

    fn files(&self) -> &[String] {
        &self.names
    }

    fn changed_since(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

impl Files {
    fn new(texts: BTreeMap<String, String>) -> Self {
        let names = texts.keys().cloned().collect();
        Self { texts, names }
    }

    /// `jobs` jobs over as many includes as fit.
    fn generated(jobs: usize) -> Self {
        let includes = (jobs / 5).min(150);
        let mut texts = BTreeMap::new();
        let mut root = String::from(
            "stages: [build, test, deploy]\nvariables: {A: a, B: $A, C: $B}\nworkflow: {rules: [{if: $CI_COMMIT_BRANCH}]}\n\
             default: {before_script: [setup], tags: [linux]}\n.setup: {script: [make setup]}\n\
             .l0:\n  image: {name: i, entrypoint: ['']}\n  script: [!reference [.setup, script], make, make test]\n  \
             cache: {key: k, paths: [p]}\n  artifacts: {paths: [out], expire_in: 1 week, reports: {junit: r.xml}}\n  rules:\n    \
             - if: '$CI_COMMIT_TAG'\n      when: never\n    - changes: ['docs/**/*']\n      when: manual\n    \
             - if: '$CI_COMMIT_BRANCH =~ /^(main|release)/ && $B == \"a\"'\n",
        );
        for level in 1..10 {
            let _ =
                writeln!(root, ".l{level}: {{extends: .l{}, variables: {{L{level}: '{level}'}}}}", level - 1);
        }
        root.push_str("include:\n");
        for file in 0..includes {
            let _ = writeln!(root, "  - local: ci/{file}.yml\n    rules: [{{if: $CI_COMMIT_BRANCH}}]");
            let mut text = String::new();
            for n in (file..jobs).step_by(includes) {
                let stage = ["build", "test", "deploy"][n % 3];
                let _ =
                    writeln!(text, "job-{n}:\n  extends: .l9\n  stage: {stage}\n  variables: {{N: '{n}'}}");
                if n >= 3 {
                    let _ = writeln!(text, "  needs: [job-{}]", n - n % 3 - 3);
                }
                if n % 10 == 5 {
                    text.push_str("  parallel: {matrix: [{OS: [linux, mac], ARCH: [x64, arm]}]}\n");
                }
            }
            texts.insert(format!("ci/{file}.yml"), text);
        }
        texts.insert(".gitlab-ci.yml".to_owned(), root);
        Self::new(texts)
    }

    /// The mean time of some rounds, the number of jobs, the first error.
    fn timed(&self, cx: &Context, rounds: usize) -> (Duration, usize, Option<String>) {
        let mut total = Duration::ZERO;
        let (mut jobs, mut said) = (0, None);
        for _ in 0..rounds {
            let root =
                SourceFile { name: ".gitlab-ci.yml".into(), text: self.texts[".gitlab-ci.yml"].clone() };
            let (begun, ran) = (Instant::now(), time_on_core());
            let compiled = compile(root, self, cx);
            let took = match (ran, time_on_core()) {
                (Some(before), Some(after)) => after.saturating_sub(before),
                _ => begun.elapsed(),
            };
            total += took;
            jobs = compiled.pipeline.as_ref().map_or(0, |pipeline| pipeline.jobs.len());
            said = compiled.diagnostics.first().map(|d| d.message.chars().take(60).collect());
        }
        // The kernel counts in ticks of some milliseconds; the mean of some rounds evens that out.
        (total / u32::try_from(rounds).unwrap_or(1), jobs, said)
    }
}

/// The most memory this process ever had, in MiB; 0 where that cannot be told.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
}

/// How long this process was on a core, so that other programs on the machine do not count; `None` where the kernel does
/// not tell.
fn time_on_core() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn main() {
    let cx = Context {
        predefined: vec![Variable::public("CI_COMMIT_BRANCH", "main")],
        changes: Some(vec!["src/a.rs".into(), "docs.md".into()]),
        ..Context::default()
    };
    let (time, jobs, said) = Files::generated(1000).timed(&cx, 10);
    if jobs < 1000 {
        eprintln!("compiled {jobs} jobs instead of 1000: {said:?}");
        std::process::exit(1);
    }
    println!(
        "1,000 jobs ({jobs} with their matrices) in 150 includes: {:.1} ms, {:.0} MiB at most",
        milliseconds(time),
        peak_mib()
    );
    println!("\n  jobs   instances   ms      µs per job   MiB at most");
    for count in [100, 300, 1000, 3000, 10_000] {
        let (time, jobs, _) = Files::generated(count).timed(&cx, (20_000 / count).clamp(2, 40));
        println!(
            "{count:>6} {jobs:>11} {:>6.1} {:>13.1} {:>13.0}",
            milliseconds(time),
            milliseconds(time) * 1000.0 / count as f64,
            peak_mib()
        );
    }
    println!("\n     ms   made to explode");
    for file in hostile::hostile() {
        let cx = Context { changes: Some(file.changes.clone()), ..cx.clone() };
        let (time, jobs, said) = Files::new(file.files).timed(&cx, 1);
        let said = said.unwrap_or_else(|| format!("{jobs} jobs"));
        println!("{:>7.1}   {}: {said}", milliseconds(time), file.name);
    }
    println!("{:.0} MiB at most", peak_mib());
}
