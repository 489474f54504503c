//! What a runner gets: `runner-api.md` §4, with `ci-yaml.md` §10, §19 and §20.

#![allow(clippy::unwrap_used)]

mod support;

use harrier_api::{GitInfo, JobInfo, JobPayload};
use harrier_base::{Secret, Variable};
use harrier_pipeline::environment_url::{PassedJob, environment_url};
use harrier_pipeline::payload::{JobFacts, Tree, job_payload};
use harrier_pipeline::predefined::PipelineFacts;
use support::{job, pipeline};

struct Files(Vec<String>);

impl Tree for Files {
    fn files(&self) -> &[String] {
        &self.0
    }
    fn blob_id(&self, path: &str) -> Option<String> {
        self.0.iter().any(|p| p == path).then(|| format!("blob-{path}"))
    }
    fn last_commit(&self, path: &str) -> Option<String> {
        self.0.iter().any(|p| p == path).then(|| format!("commit-{path}"))
    }
}

fn payload_with(
    text: &str,
    name: &str,
    change: impl FnOnce(&mut JobFacts<'_>, &mut PipelineFacts),
) -> JobPayload {
    let p = pipeline(text);
    let files = Files(vec!["Gemfile.lock".into(), "a/x.lock".into(), "b.lock".into()]);
    let mut pipeline_facts = PipelineFacts { id: 5, source: "push".into(), ..PipelineFacts::default() };
    let shared = PipelineFacts::default();
    let mut facts = JobFacts {
        id: 7,
        token: Secret::new("tok"),
        url: "http://x/-/jobs/7".into(),
        pipeline_url: "http://x/-/pipelines/5".into(),
        started_at: "2026-01-01T00:00:00Z".into(),
        played: false,
        pipeline: &shared,
        info: JobInfo::default(),
        git: GitInfo::default(),
        allow_git_fetch: true,
        default_timeout: 0,
        max_timeout: 0,
        runner: None,
        dotenv: Vec::new(),
        id_tokens: &[],
        inputs: &[],
        project: &[],
        run: &[],
        manual: &[],
        dependencies: Vec::new(),
        credentials: Vec::new(),
        tree: &files,
        separate_caches: true,
        cache_generation: 0,
        environment_id: None,
    };
    change(&mut facts, &mut pipeline_facts);
    facts.pipeline = &pipeline_facts;
    job_payload(job(&p, name), facts)
}

fn payload(text: &str, name: &str) -> JobPayload {
    payload_with(text, name, |_, _| {})
}

fn value(payload: &JobPayload, key: &str) -> String {
    payload.variables.iter().rev().find(|v| v.key == key).unwrap_or_else(|| panic!("no {key}")).value.clone()
}

#[test]
fn steps_join_before_script_and_script() {
    let p =
        payload("j: {before_script: [a], script: [b, c], after_script: [d], timeout: 2h, tags: [x]}\n", "j");
    let steps: Vec<_> =
        p.steps.iter().map(|s| (s.name.as_str(), s.script.join(" "), s.when.as_str(), s.timeout)).collect();
    assert_eq!(
        steps,
        [("script", "a b c".into(), "on_success", 7200), ("after_script", "d".into(), "always", 7200)]
    );
    assert_eq!((p.job_info.name.as_str(), p.job_info.stage.as_str()), ("j", "test"));
    assert_eq!(p.runner_info.timeout, 7200);
    assert!(
        p.features.trace_sections && p.features.failure_reasons.iter().any(|r| r == "runner_interrupted")
    );
    let limited = payload_with("j: {script: x, timeout: 2h}\n", "j", |f, _| f.max_timeout = 60);
    assert_eq!(limited.runner_info.timeout, 60);
}

/// §9.2 and §16.4: later ones win.
#[test]
fn variables_in_rails_order() {
    let text = "variables: {V: top, G: $V-$NOPE, D: 'a$$b'}\nj: {script: x, variables: {W: job}}\n";
    let run = [Variable::public("V", "run")];
    let project = [Variable::public("V", "project"), Variable::public("P", "p").masked()];
    let p = payload_with(text, "j", |f, _| {
        f.dotenv = vec![Variable::public("W", "dotenv"), Variable::public("P", "dotenv")];
        f.project = Box::leak(Box::new(project));
        f.run = Box::leak(Box::new(run));
    });
    assert_eq!(value(&p, "V"), "run");
    assert_eq!(value(&p, "W"), "dotenv");
    assert_eq!(value(&p, "P"), "p");
    assert_eq!(value(&p, "G"), "run-$NOPE");
    assert_eq!(value(&p, "D"), "a$$b");
    assert_eq!(value(&p, "CI_JOB_ID"), "7");
    assert_eq!(value(&p, "CI_PIPELINE_ID"), "5");
    assert_eq!(value(&p, "CI_NODE_TOTAL"), "1");
    let token = p.variables.iter().find(|v| v.key == "CI_JOB_TOKEN").unwrap();
    assert!(token.masked && !token.public);
    assert!(p.variables.iter().find(|v| v.key == "P").unwrap().value == "dotenv");
}

#[test]
fn depth_follows_git_depth() {
    assert_eq!(payload("j: {script: x, variables: {GIT_DEPTH: 3}}\n", "j").git_info.depth, 3);
}

/// §19, runner-api §4.8
#[test]
fn artifacts_and_reports() {
    let text = "
j:
  script: x
  artifacts:
    name: n
    paths: [a, b/]
    exclude: [c]
    when: on_failure
    expire_in: 1 week
    reports:
      junit: r.xml
      dotenv: [v.env]
      coverage_report: {coverage_format: cobertura, path: c.xml}
      sast: s.json
k: {script: x, artifacts: {reports: {junit: r.xml}}}
";
    let p = payload(text, "j");
    let list: Vec<String> = p
        .artifacts
        .iter()
        .map(|a| {
            format!("{} {} {} {} {}", a.name, a.artifact_type, a.artifact_format, a.when, a.paths.join(","))
        })
        .collect();
    assert_eq!(
        list,
        [
            "n archive zip on_failure a,b/",
            "junit.xml junit gzip always r.xml",
            ".env dotenv gzip always v.env",
            "cobertura-coverage.xml cobertura gzip always c.xml",
            "gl-sast-report.json sast raw always s.json",
        ]
    );
    assert_eq!(p.artifacts[0].exclude, ["c"]);
    assert!(p.artifacts.iter().all(|a| a.expire_in == "1 week"));
    assert_eq!(payload(text, "k").artifacts.len(), 1);
}

/// §20
#[test]
fn cache_keys() {
    // SHA-1 of "blob-Gemfile.lock" and of "blob-a/x.lock-blob-b.lock".
    let one = "j: {script: x, cache: {key: {files: [Gemfile.lock]}, paths: [p]}}\n";
    let key = |text: &str, change: fn(&mut JobFacts<'_>, &mut PipelineFacts)| {
        payload_with(text, "j", change).cache[0].key.clone()
    };
    let digest = key(one, |_, _| {});
    assert!(digest.starts_with("0_Gemfile-") && digest.ends_with("-non_protected"), "{digest}");
    assert_eq!(digest.len(), "0_Gemfile-".len() + 40 + "-non_protected".len());
    for (text, want) in [
        ("j: {script: x, cache: {paths: [p]}}\n", "default-non_protected"),
        (
            "j: {script: x, cache: {key: $CI_COMMIT_REF_SLUG, paths: [p]}}\n",
            "$CI_COMMIT_REF_SLUG-non_protected",
        ),
        (
            "j: {script: x, cache: {key: {files: [none], prefix: pre}, paths: [p]}}\n",
            "pre-default-non_protected",
        ),
        (
            "j: {script: x, cache: {key: {files: [none.x, y]}, paths: [p]}}\n",
            "0_none_y-default-non_protected",
        ),
    ] {
        assert_eq!(key(text, |_, _| {}), want);
    }
    let text = "j: {script: x, cache: {key: k, fallback_keys: [f]}}\n";
    let p = payload_with(text, "j", |f, pipeline| {
        f.cache_generation = 2;
        pipeline.commit.protected = true;
    });
    assert_eq!(
        (p.cache[0].key.as_str(), p.cache[0].fallback_keys[0].as_str()),
        ("k-2-protected", "f-2-protected")
    );
    assert_eq!(key(text, |f, _| f.separate_caches = false), "k");
    let unprotected = "j: {script: x, cache: {key: k, unprotect: true}}\n";
    assert_eq!(key(unprotected, |_, p| p.commit.protected = true), "k-non_protected");
    let wild = "j: {script: x, cache: {key: {files: ['**/*.lock'], prefix: w}}}\n";
    let listed = "j: {script: x, cache: {key: {files: [a/x.lock, b.lock], prefix: w}}}\n";
    assert_ne!(key(wild, |_, _| {}), key(listed, |_, _| {}), "the wildcard also finds Gemfile.lock");
}

#[test]
fn images_services_and_environment() {
    let text = "
j:
  script: x
  image: {name: i, entrypoint: [''], pull_policy: always, docker: {user: u}}
  services: [s, {name: t, alias: 'a b', command: [c, [d]], variables: {V: 1}}]
  environment: {name: prod/x, url: 'https://$CI_JOB_ID.example'}
  hooks: {pre_get_sources_script: [h]}
";
    let p = payload(text, "j");
    let image = p.image.as_ref().unwrap();
    assert_eq!((image.name.as_str(), &image.pull_policy), ("i", &vec!["always".to_owned()]));
    assert_eq!(image.executor_opts["docker"]["user"], "u");
    assert_eq!(p.services[1].command, Some(vec!["c".into(), "d".into()]));
    assert_eq!((p.services[1].alias.as_str(), p.services[1].variables[0].value.as_str()), ("a b", "1"));
    assert_eq!(value(&p, "CI_ENVIRONMENT_NAME"), "prod/x");
    assert_eq!(value(&p, "CI_ENVIRONMENT_TIER"), "production");
    assert_eq!(value(&p, "CI_ENVIRONMENT_URL"), "https://7.example");
    assert_eq!(p.hooks[0].name, "pre_get_sources_script");
}

/// §26: values are put in for the runner.
#[test]
fn inputs_of_a_job() {
    let text = "a:\n  inputs: {n: {default: 3, type: number}, w: {default: world, options: [world, you]}}\n  image: i:${{ \
                job.inputs.n }}\n  script: 'echo ${{ job.inputs.w }} ${{ job.inputs.x }} ${N}'\n  artifacts: {paths: \
                ['${{job.inputs.w}}/']}\n";
    let given = [("w".to_owned(), serde_json::json!("you"))];
    let payload = payload_with(text, "a", |facts, _| facts.inputs = Box::leak(Box::new(given)));
    assert_eq!(payload.steps[0].script, ["echo you ${{ job.inputs.x }} ${N}"]);
    assert_eq!(payload.image.unwrap().name, "i:3");
    assert_eq!(payload.artifacts[0].paths, ["you/"]);
    assert!(payload.inputs.is_empty());
}

/// `runner-api.md` §4.7, §4.13, §4.14
#[test]
fn release_secrets_and_steps() {
    let text = "a:\n  id_tokens: {T: {aud: x}}\n  secrets: {V: {vault: a/b@kv, file: false}, Z: {azure_key_vault: {name: \
                $N}, token: $T}}\n  variables: {VAULT_SERVER_URL: https://v, N: n}\n  script: x\n  after_script: [y]\n  \
                release: {tag_name: v$N, description: d, milestones: [m], assets: {links: [{name: l, url: u}]}}\n\
                b: {run: [{name: s, script: echo}]}\n";
    let tokens = [Variable::internal("T", "jwt").masked()];
    let payload = payload_with(text, "a", |facts, _| facts.id_tokens = Box::leak(Box::new(tokens)));
    let names: Vec<&str> = payload.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["script", "release", "after_script"]);
    let script = &payload.steps[1].script[0];
    for part in [
        "glab -R",
        "create \"v$N\" --notes \"d\"",
        "--milestone \"m\"",
        "release-cli create --tag-name \"v$N\"",
    ] {
        assert!(script.contains(part), "{part}: {script}");
    }
    assert_eq!(payload.secrets["V"]["vault"]["server"]["url"], "https://v");
    assert_eq!(payload.secrets["V"]["vault"]["server"]["auth"]["data"]["jwt"], "jwt");
    assert_eq!(payload.secrets["V"]["file"], false);
    assert_eq!(payload.secrets["Z"]["azure_key_vault"]["name"], "n");
    assert!(payload.variables.iter().any(|v| v.key == "T" && v.masked && v.value == "jwt"));
    let payload = payload_with(text, "b", |_, _| {});
    assert!(payload.steps.is_empty());
    let run: serde_json::Value = serde_json::from_str(&payload.run.unwrap()).unwrap();
    assert_eq!(run[0]["script"], "echo");
}

#[test]
fn the_address_of_an_environment_has_what_the_script_has_left() {
    let mut facts = PipelineFacts { id: 5, ..PipelineFacts::default() };
    facts.commit.git_ref = "Feature/1".into();
    let left =
        [Variable::public("HOST", "left.example").raw(), Variable::public("BAD", "javascript:x").raw()];
    let found = |url: &str| {
        let text = format!(
            "a: {{script: x, variables: {{HOST: yaml.example}}, environment: {{name: live, url: '{url}'}}}}"
        );
        let pipeline = pipeline(&text);
        let passed = PassedJob {
            id: 7,
            url: "http://x/-/jobs/7",
            pipeline: &facts,
            pipeline_url: "http://x/-/pipelines/5",
            dotenv: &left,
            project: &[],
            run: &[],
            manual: &[],
        };
        environment_url(job(&pipeline, "a"), &passed)
    };
    for (written, wanted) in [
        ("https://$HOST/$CI_COMMIT_REF_SLUG", Some("https://left.example/feature-1")),
        ("http://$CI_ENVIRONMENT_SLUG.example/${CI_JOB_ID}", Some("http://live.example/7")),
        ("$BAD", None),
        ("$UNKNOWN", None),
        ("https://", None),
        ("https://a b", None),
    ] {
        assert_eq!(found(written).as_deref(), wanted, "{written}");
    }
}
