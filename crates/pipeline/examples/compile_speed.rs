//! How long a configuration of 1,000 jobs takes to compile; the best of 20 rounds. For `make bench`.

// An example is not the pure crate: it may look at the clock.
#![allow(clippy::disallowed_methods)]

use harrier_base::Variable;
use harrier_pipeline::{Context, FetchError, IncludeSource, SourceFile, compile};
use std::time::{Duration, Instant};

struct Nothing;

impl IncludeSource for Nothing {
    fn local(&self, _: &str) -> Result<String, FetchError> {
        Err(FetchError::NotFound)
    }

    fn files(&self) -> &[String] {
        &[]
    }

    fn changed_since(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn main() {
    let mut text = String::from(
        "stages: [build, test, deploy]\nvariables: {A: a, B: $A, C: $B}\ndefault: {before_script: [setup]}\n.base:\n  image: i\n  \
         script: [make, test]\n  cache: {key: k, paths: [p]}\n  artifacts: {paths: [out], expire_in: 1 week}\n  rules:\n    \
         - if: '$CI_COMMIT_TAG'\n      when: never\n    - if: '$CI_COMMIT_BRANCH =~ /^(main|release)/ && $B == \"a\"'\n",
    );
    for n in 0..1000 {
        let stage = ["build", "test", "deploy"][n % 3];
        let needs = if n >= 3 { format!("  needs: [job-{}]\n", n - n % 3 - 3) } else { String::new() };
        text.push_str(&format!(
            "job-{n}:\n  extends: .base\n  stage: {stage}\n  variables: {{N: '{n}'}}\n{needs}"
        ));
    }
    let cx = Context { predefined: vec![Variable::public("CI_COMMIT_BRANCH", "main")], ..Context::default() };
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let root = SourceFile { name: ".gitlab-ci.yml".into(), text: text.clone() };
        let begun = Instant::now();
        let compiled = compile(root, &Nothing, &cx);
        best = best.min(begun.elapsed());
        let jobs = compiled.pipeline.map_or(0, |pipeline| pipeline.jobs.len());
        if jobs != 1000 {
            eprintln!("compiled {jobs} jobs instead of 1000");
            std::process::exit(1);
        }
    }
    println!("1,000 jobs compiled in {:.1} ms", best.as_secs_f64() * 1000.0);
}
