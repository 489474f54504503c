//! Whole plans: what a payload, a spec and facts become, section by section of the contract.

use crate::*;
use crate::{plan_job, samples};
use harrier_api::{Artifact, Cache, Hook, JobPayload, JobVariable, PolicyOptions, Step};
use harrier_base::{FailureReason, Secret};
use harrier_config::RunnerSpec;
use std::time::Duration;

fn variable(key: &str, value: &str) -> JobVariable {
    JobVariable { key: key.into(), value: value.into(), public: true, ..JobVariable::default() }
}

fn plan_with(change: impl FnOnce(&mut JobPayload, &mut RunnerSpec, &mut Facts)) -> JobPlan {
    let (mut payload, mut spec, mut facts) = (samples::payload(), samples::spec(), samples::facts());
    change(&mut payload, &mut spec, &mut facts);
    plan_job(&payload, &spec, &facts).unwrap_or_else(|error| panic!("{error}"))
}

fn with_variables(list: &[(&str, &str)]) -> JobPlan {
    plan_with(|payload, _, _| payload.variables.extend(list.iter().map(|(k, v)| variable(k, v))))
}

fn sources(plan: &JobPlan) -> &Sources {
    match plan.get_sources.ops.as_slice() {
        [Op::Sources(sources)] => sources,
        _ => panic!("one sources operation"),
    }
}

fn warnings(plan: &JobPlan) -> Vec<&str> {
    plan.header
        .iter()
        .filter_map(|line| match line {
            HeaderLine::Warning(text) => Some(text.as_str()),
            HeaderLine::Info(_) => None,
        })
        .collect()
}

fn words(list: &[String]) -> String {
    list.join(" ")
}

#[test]
fn runner_api_4_19_the_example_becomes_a_plan() {
    let plan = plan_with(|_, _, _| ());
    assert_eq!(
        (plan.job.id, plan.job.pipeline_id, plan.job.project_path.as_str()),
        (7001, 901, "birds/kestrel")
    );
    assert_eq!(plan.runner.program, "gitlab-runner 19.4.0 (abc)");
    assert_eq!(plan.runner.user_agent, "gitlab-runner 19.4.0 linux/amd64");
    assert_eq!(plan.runner.short_token, "aBcDeFgHi");
    assert_eq!(plan.header, []);
    assert!(plan.refusal.is_none() && !plan.debug_trace && plan.after_script_ignore_errors);
    assert_eq!(plan.shell, Shell::Bash);
    let stages: Vec<String> = plan
        .steps
        .iter()
        .chain(&plan.restore_cache)
        .chain(&plan.download_artifacts)
        .chain(&plan.after_script)
        .chain(&plan.archive_cache.success)
        .chain(&plan.archive_cache.failure)
        .chain(&plan.upload_artifacts.success)
        .chain(&plan.upload_artifacts.failure)
        .map(|stage| stage.name.wire())
        .collect();
    assert_eq!(
        stages,
        [
            "step_script",
            "restore_cache",
            "download_artifacts",
            "after_script",
            "archive_cache",
            "upload_artifacts_on_success",
            "upload_artifacts_on_failure"
        ]
    );
    assert!(plan.steps.iter().chain(&plan.after_script).all(|stage| stage.target == Target::Build));
    assert_eq!(plan.limits.job, Duration::from_secs(3600));
    assert!(plan.log.timestamps && plan.log.sections);
    assert_eq!(plan.log.limit, 4 << 20);
}

#[test]
fn a_plan_survives_its_json() {
    let plan = plan_with(|_, _, _| ());
    let text = serde_json::to_string(&plan).expect("a plan can be written");
    let again: JobPlan = serde_json::from_str(&text).expect("and read");
    assert_eq!(serde_json::to_string(&again).expect("and written again"), text);
}

#[test]
fn runner_api_16_1_order_of_variables() {
    let plan = plan_with(|payload, spec, facts| {
        spec.environment = vec![
            ("FROM_CONFIG".into(), "config".into()),
            ("OVERRIDDEN".into(), "config".into()),
            ("CI_RUNNER_VERSION".into(), "config".into()),
        ];
        payload.variables.extend([
            variable("OVERRIDDEN", "job"),
            variable("CI_RUNNER_VERSION", "job"),
            variable("CI_SERVER", "job"),
            variable("FF_TIMESTAMPS", "false"),
            variable("FF_OF_MY_OWN", "kept"),
            variable("REF", "$FROM_CONFIG/${PRICE}/$KUBE_CFG/$NONE"),
        ]);
        facts.tls_ca = Some("PEM".into());
        payload.image.as_mut().expect("an image").name = "rust:$FROM_CONFIG".into();
    });
    for (key, value) in [
        ("FROM_CONFIG", "config"),
        ("OVERRIDDEN", "job"),
        ("CI_RUNNER_VERSION", "19.4.0"),
        ("CI_RUNNER_REVISION", "abc"),
        ("CI_RUNNER_EXECUTABLE_ARCH", "linux/amd64"),
        ("CI_RUNNER_SHORT_TOKEN", "aBcDeFgHi"),
        ("CI_SERVER", "job"),
        ("FF_TIMESTAMPS", "false"),
        ("FF_OF_MY_OWN", "kept"),
        ("FF_NETWORK_PER_BUILD", "false"),
        ("REF", "config/$5//b/aBcDeFgHi/3/birds/kestrel.tmp/KUBE_CFG/"),
        ("PRICE", "$5"),
        ("CI_JOB_IMAGE", "rust:config"),
        ("CI_BUILDS_DIR", "/b"),
        ("CI_PROJECT_DIR", "/b/aBcDeFgHi/3/birds/kestrel"),
        ("RUNNER_TEMP_PROJECT_DIR", "/b/aBcDeFgHi/3/birds/kestrel.tmp"),
        ("CI_CONCURRENT_ID", "2"),
        ("CI_CONCURRENT_PROJECT_ID", "3"),
        ("CI_JOB_STATUS", "running"),
        ("CI_JOB_TIMEOUT", "3600"),
        ("CI_SHARED_ENVIRONMENT", "true"),
        ("CI_SERVER_TLS_CA_FILE", "PEM"),
        ("KUBE_CFG", "apiVersion: v1\n"),
    ] {
        assert_eq!(plan.variables.value(key), Some(value), "{key}");
    }
    assert!(plan.variables.value("CI_DISPOSABLE_ENVIRONMENT").is_none());
    assert!(plan.variables.get("CI_SERVER_TLS_CA_FILE").is_some_and(|v| v.file));
    assert!(!plan.log.timestamps);
    assert_eq!(plan.variables.iter().filter(|v| v.key == "OVERRIDDEN").count(), 1, "each key once");
    assert_eq!(plan.header, [HeaderLine::Info("  feature flags: FF_TIMESTAMPS:false".into())]);
}

#[test]
fn executors_3_2_unusable_names_are_left_out_with_a_warning() {
    let plan = plan_with(|payload, _, _| {
        payload.variables.push(JobVariable { file: true, ..variable("../../etc/passwd", "x") });
        payload.variables.push(variable("A-B", "dash"));
        payload.variables.push(variable("USES", "${A-B}"));
    });
    assert!(plan.variables.iter().all(|v| !v.key.contains(['/', '-'])));
    assert_eq!(plan.variables.value("USES"), Some("dash"));
    assert_eq!(warnings(&plan).len(), 2);
}

#[test]
fn executors_4_2_strategy() {
    for (fetch_allowed, value, want, warned) in [
        (true, "", GitStrategy::Fetch, false),
        (false, "", GitStrategy::Clone, false),
        (true, "clone", GitStrategy::Clone, false),
        (true, "none", GitStrategy::None, false),
        (true, "empty", GitStrategy::Empty, false),
        (true, "Fetch", GitStrategy::Fetch, true),
        (false, "bogus", GitStrategy::Clone, true),
    ] {
        let plan = plan_with(|payload, _, _| {
            payload.allow_git_fetch = fetch_allowed;
            payload.variables.push(variable("GIT_STRATEGY", value));
        });
        assert_eq!(sources(&plan).strategy, want, "{value}");
        assert_eq!(warnings(&plan).len(), usize::from(warned), "{value}: said once");
        assert_eq!(plan.dirs.project.ends_with("kestrel-empty"), want == GitStrategy::Empty);
        let with_git = matches!(want, GitStrategy::Clone | GitStrategy::Fetch);
        assert_eq!(sources(&plan).checkout, with_git);
    }
}

#[test]
fn executors_4_5_git_variables() {
    let plain = plan_with(|_, _, _| ());
    let git = sources(&plain);
    assert_eq!(words(git.clean_flags.as_deref().unwrap_or_default()), "-ffdx");
    assert_eq!(words(&git.fetch_flags), "--prune --quiet");
    assert!(git.checkout && git.clone_flags.is_empty() && git.submodules.is_none() && !git.lfs_skip_smudge);
    assert_eq!((git.depth, git.object_format.as_str()), (20, ""));
    assert_eq!(git.extra_headers, ["X-Gitaly-Correlation-ID: 0123456789abcdef"]);
    assert!(git.bundle_uris && !git.proactive_auth && !git.credential_helper && !git.native_clone);
    assert!(!git.safe_directory && !git.clean_git_config);

    let plan = with_variables(&[
        ("GIT_STRATEGY", "clone"),
        ("GIT_CHECKOUT", "false"),
        ("GIT_CLEAN_FLAGS", " -ffd  -e x "),
        ("GIT_FETCH_EXTRA_FLAGS", "none"),
        ("GIT_CLONE_EXTRA_FLAGS", "--filter=blob:none --x"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("GIT_SUBMODULE_STRATEGY", "recursive"),
        ("GIT_SUBMODULE_PATHS", "a :(exclude)b"),
        ("GIT_SUBMODULE_UPDATE_FLAGS", "--jobs 4"),
        ("FF_USE_GIT_NATIVE_CLONE", "true"),
        ("FF_USE_GITALY_CORRELATION_ID", "false"),
    ]);
    let git = sources(&plan);
    assert!(!git.checkout && git.lfs_skip_smudge && git.native_clone);
    assert_eq!(words(git.clean_flags.as_deref().unwrap_or_default()), "-ffd -e x");
    assert_eq!((git.fetch_flags.len(), words(&git.clone_flags).as_str()), (0, "--filter=blob:none --x"));
    assert!(git.extra_headers.is_empty());
    let modules = git.submodules.as_ref().expect("submodules");
    assert!(modules.recursive);
    assert_eq!((modules.depth, words(&modules.paths).as_str()), (20, "a :(exclude)b"));
    assert_eq!(words(&modules.update_flags), "--jobs 4");
    assert_eq!(warnings(&plan), [] as [&str; 0]);

    let none = with_variables(&[("GIT_CLEAN_FLAGS", "none"), ("GIT_SUBMODULE_STRATEGY", "none")]);
    assert!(sources(&none).clean_flags.is_none() && sources(&none).submodules.is_none());
}

#[test]
fn executors_4_4_bad_submodule_settings_fail_the_stage() {
    for list in [
        &[("GIT_SUBMODULE_STRATEGY", "deep")][..],
        &[("GIT_SUBMODULE_STRATEGY", "normal"), ("GIT_SUBMODULE_PATHS", ":(exclude) a")],
    ] {
        let plan = with_variables(list);
        assert!(plan.get_sources.fault().is_some_and(|fault| fault.contains("GIT_SUBMODULE")), "{list:?}");
    }
}

#[test]
fn runner_api_10_remote_and_rewrites() {
    let rules = |plan: &JobPlan| -> Vec<(String, String)> {
        sources(plan).rewrites.iter().map(|(plain, with)| (plain.clone(), with.expose().to_owned())).collect()
    };
    let token = samples::TOKEN;
    let host = format!("https://gitlab-ci-token:{token}@ci.example.test/");

    let plan = plan_with(|_, _, _| ());
    assert_eq!(sources(&plan).remote_url, "https://ci.example.test/birds/kestrel.git");
    assert_eq!(
        rules(&plan),
        [
            ("https://ci.example.test/".to_owned(), host.clone()),
            ("https://ci.example.test/birds/kestrel.git".to_owned(), format!("{host}birds/kestrel.git")),
        ]
    );

    let plan = plan_with(|_, spec, _| spec.clone_url = Some("http://inside.test:8080/sub/".into()));
    assert_eq!(sources(&plan).remote_url, "http://inside.test:8080/sub/birds/kestrel.git");
    let inside = format!("http://gitlab-ci-token:{token}@inside.test:8080/");
    assert_eq!(
        rules(&plan),
        [
            ("http://inside.test:8080/".to_owned(), inside.clone()),
            ("http://inside.test:8080/sub/".to_owned(), format!("{inside}sub/")),
            (
                "http://inside.test:8080/sub/birds/kestrel.git".to_owned(),
                format!("{inside}sub/birds/kestrel.git")
            ),
        ]
    );

    let plan = plan_with(|_, spec, _| spec.clone_url = Some("ssh://inside.test".into()));
    assert_eq!(sources(&plan).remote_url, "ssh://git@inside.test/birds/kestrel.git");
    assert_eq!(rules(&plan), []);

    let plan = with_variables(&[
        ("GIT_SUBMODULE_FORCE_HTTPS", "true"),
        ("CI_SERVER_SHELL_SSH_HOST", "ssh.example.test"),
        ("CI_SERVER_SHELL_SSH_PORT", "2222"),
    ]);
    let forced: Vec<String> = rules(&plan)
        .into_iter()
        .filter(|(plain, with)| plain.contains("git@") && *with == host)
        .map(|(plain, _)| plain)
        .collect();
    assert_eq!(
        forced,
        [
            "git@ci.example.test:",
            "git@ssh.example.test:",
            "ssh://git@ci.example.test/",
            "ssh://git@ci.example.test:2222/",
            "ssh://git@ssh.example.test/",
            "ssh://git@ssh.example.test:2222/",
        ]
    );

    let plan =
        with_variables(&[("FF_GIT_URLS_WITHOUT_TOKENS", "true"), ("GIT_SUBMODULE_FORCE_HTTPS", "true")]);
    assert!(sources(&plan).credential_helper);
    assert_eq!(
        rules(&plan),
        [
            ("git@ci.example.test:".to_owned(), "https://ci.example.test/".to_owned()),
            ("ssh://git@ci.example.test/".to_owned(), "https://ci.example.test/".to_owned()),
        ]
    );
}

#[test]
fn local_runs_have_no_credentials_to_strip() {
    for remote in ["/home/me/snapshot", "file:///home/me/snapshot"] {
        let plan = plan_with(|payload, spec, _| {
            payload.git_info.repo_url = Secret::new(remote);
            spec.url = "file:///home/me/.harrier".into();
        });
        assert_eq!(sources(&plan).remote_url, remote);
        assert!(sources(&plan).rewrites.is_empty());
        assert_eq!(plan.server.url, "file:///home/me/.harrier");
        assert!(plan.dirs.project.ends_with("birds/kestrel"));
    }
}

#[test]
fn executors_4_1_hooks_and_config_scripts_in_order() {
    let plan = |strategy: &'static str| {
        plan_with(move |payload, spec, _| {
            spec.pre_get_sources_script = Some("config pre".into());
            spec.post_get_sources_script = Some("config post".into());
            payload.hooks = vec![
                Hook { name: "post_get_sources_script".into(), script: vec!["hook post".into()] },
                Hook { name: "pre_get_sources_script".into(), script: vec!["hook pre".into(), "two".into()] },
            ];
            payload.variables.push(variable("GIT_STRATEGY", strategy));
        })
    };
    let texts = |scripts: &[Script]| -> Vec<String> {
        scripts.iter().flat_map(|s| s.items.iter().map(|i| i.text.clone())).collect()
    };
    let fetch = plan("fetch");
    assert_eq!(texts(&sources(&fetch).pre), ["config pre", "hook pre", "two"]);
    assert_eq!(texts(&sources(&fetch).post), ["hook post", "config post"]);
    for strategy in ["none", "empty"] {
        let plan = plan(strategy);
        assert!(sources(&plan).pre.is_empty() && sources(&plan).post.is_empty());
    }
}

#[test]
fn executors_2_2_bad_git_clone_path_is_refused_as_a_configuration_error() {
    let plan = with_variables(&[("GIT_CLONE_PATH", "$CI_BUILDS_DIR/x")]);
    let refusal = plan.refusal.expect("not allowed for shell");
    assert_eq!((refusal.reason, refusal.exit_code), (FailureReason::RunnerConfigurationError, None));

    let plan = plan_with(|payload, spec, _| {
        spec.custom_build_dir = Some(true);
        payload.variables.push(variable("GIT_CLONE_PATH", "$CI_BUILDS_DIR/$CI_CONCURRENT_ID/x"));
    });
    assert!(plan.refusal.is_none());
    assert_eq!(plan.variables.value("CI_PROJECT_DIR"), Some("/b/2/x"));
}

#[test]
fn a_runner_without_the_executor_or_shell_makes_no_plan() {
    let mut spec = samples::spec();
    spec.shell = Some("pwsh".into());
    let error = plan_job(&samples::payload(), &spec, &samples::facts()).err();
    assert_eq!(error, Some(PlanError::Shell { name: "pwsh".into() }));
    spec.executor = harrier_config::ExecutorSpec::Unsupported("kubernetes".into());
    let error = plan_job(&samples::payload(), &spec, &samples::facts()).err();
    assert_eq!(error.map(|e| e.reason()), Some(FailureReason::RunnerConfigurationError));
}

fn cache(change: impl FnOnce(&mut Cache)) -> Cache {
    let mut cache = Cache { key: "k".into(), paths: vec!["p".into()], ..Cache::default() };
    change(&mut cache);
    cache
}

fn plan_caches(caches: Vec<Cache>, list: &[(&str, &str)]) -> JobPlan {
    plan_with(|payload, _, _| {
        payload.cache = caches;
        payload.variables.extend(list.iter().map(|(k, v)| variable(k, v)));
    })
}

#[test]
fn runner_api_11_5_policy_and_when() {
    for (policy, when, restore, success, failure) in [
        ("", "", true, true, false),
        ("pull-push", "on_success", true, true, false),
        ("pull", "always", true, false, false),
        ("push", "always", false, true, true),
        ("$P", "on_failure", false, false, true),
    ] {
        let caches = vec![cache(|c| {
            c.policy = policy.into();
            c.when = when.into();
        })];
        let plan = plan_caches(caches, &[("P", "push")]);
        assert_eq!(plan.restore_cache.is_some(), restore, "{policy} {when}");
        assert_eq!(plan.archive_cache.success.is_some(), success, "{policy} {when}");
        assert_eq!(plan.archive_cache.failure.is_some(), failure, "{policy} {when}");
    }
    let nothing = plan_caches(vec![cache(|c| c.paths.clear())], &[]);
    assert!(nothing.restore_cache.is_none() && nothing.archive_cache.success.is_none());
    let untracked = plan_caches(
        vec![cache(|c| {
            c.paths.clear();
            c.untracked = true;
        })],
        &[],
    );
    assert!(untracked.restore_cache.is_some());
}

#[test]
fn runner_api_4_9_unknown_policy_fails_its_stage() {
    let plan = plan_caches(vec![cache(|c| c.policy = "pul".into())], &[]);
    for stage in [&plan.restore_cache, &plan.archive_cache.success, &plan.archive_cache.failure] {
        let fault = stage.as_ref().and_then(StagePlan::fault);
        assert_eq!(fault, Some("unknown cache policy \"pul\": use pull-push, pull or push"));
    }
}

#[test]
fn runner_api_11_1_keys_and_fallbacks() {
    let restore = |caches: Vec<Cache>, list: &[(&str, &str)]| {
        let plan = plan_caches(caches, list);
        let ops = plan.restore_cache.map(|stage| stage.ops).unwrap_or_default();
        let mut said = Vec::new();
        let mut keys = Vec::new();
        for op in ops {
            match op {
                Op::Say(HeaderLine::Warning(text) | HeaderLine::Info(text)) => said.push(text),
                Op::RestoreCache(op) => keys.push((op.human_key.clone(), op.keys)),
                _ => panic!("only lines and caches"),
            }
        }
        (keys, said)
    };
    let one =
        |human: &str, keys: &[&str]| vec![(human.to_owned(), keys.iter().map(|k| (*k).to_owned()).collect())];

    let got = restore(vec![cache(|c| c.key = "$CI_PIPELINE_ID-x".into())], &[]);
    assert_eq!(got, (one("901-x", &["901-x"]), vec![]));
    let got = restore(vec![cache(|c| c.key = String::new())], &[]);
    assert_eq!(got, (one("unit tests/main", &["unit tests/main"]), vec![]));
    let got = restore(vec![cache(|c| c.key = "../a\\b".into())], &[]);
    assert_eq!(got, (one("a/b", &["a/b"]), vec!["cache key \"../a\\\\b\" sanitized to \"a/b\"".to_owned()]));
    let (keys, said) = restore(vec![cache(|c| c.key = "..".into())], &[]);
    assert!(keys.is_empty() && said.len() == 1, "a notice, no cache: {said:?}");
    let caches = || vec![cache(|c| c.fallback_keys = vec!["f1".into(), "k".into(), "$F".into()])];
    let got = restore(caches(), &[("F", "f2"), ("CACHE_FALLBACK_KEY", "last")]);
    assert_eq!(got, (one("k", &["k", "f1", "f2", "last"]), vec![]));
    let (keys, said) = restore(caches(), &[("CACHE_FALLBACK_KEY", "x-protected. .")]);
    assert_eq!(keys[0].1, ["k", "f1"]);
    assert!(said[0].contains("CACHE_FALLBACK_KEY"));
    let (keys, _) = restore(vec![cache(|_| ())], &[("FF_HASH_CACHE_KEYS", "true")]);
    assert_eq!(keys[0].0, "k");
    assert_eq!(keys[0].1, ["8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"]);
}

#[test]
fn executors_5_3_formats_and_tuning() {
    let op = |list: &[(&str, &str)]| {
        let plan = plan_caches(vec![cache(|_| ())], list);
        let warned = warnings(&plan).len();
        match plan.restore_cache.expect("a cache").ops.remove(0) {
            Op::RestoreCache(op) => (op, warned),
            _ => panic!("a cache"),
        }
    };
    let (plain, warned) = op(&[]);
    assert_eq!(
        (plain.format, plain.level, plain.timeout.as_secs(), warned),
        (ArchiveFormat::Zip, CompressionLevel::Default, 600, 0)
    );
    let (tuned, warned) = op(&[
        ("CACHE_COMPRESSION_FORMAT", "tarzstd"),
        ("CACHE_COMPRESSION_LEVEL", "fastest"),
        ("CACHE_REQUEST_TIMEOUT", "3"),
        ("FF_CLEAN_UP_FAILED_CACHE_EXTRACT", "true"),
    ]);
    assert_eq!(
        (tuned.format, tuned.level, tuned.timeout.as_secs(), warned),
        (ArchiveFormat::Tarzstd, CompressionLevel::Fastest, 180, 0)
    );
    assert!(tuned.clean_failed_extract);
    let (bad, warned) = op(&[("CACHE_COMPRESSION_FORMAT", "rar"), ("CACHE_COMPRESSION_LEVEL", "most")]);
    assert_eq!((bad.format, bad.level, warned), (ArchiveFormat::Zip, CompressionLevel::Default, 1));
}

#[test]
fn executors_6_1_uploads() {
    let artifact = |format: &str, when: &str| Artifact {
        name: "n $X".into(),
        paths: vec!["p/$X".into()],
        when: when.into(),
        artifact_format: format.into(),
        artifact_type: "archive".into(),
        ..Artifact::default()
    };
    let plan = plan_with(|payload, _, _| {
        payload.artifacts = vec![
            artifact("", ""),
            artifact("gzip", "always"),
            artifact("raw", "on_failure"),
            Artifact { name: "nothing listed".into(), ..Artifact::default() },
        ];
        payload.variables.push(variable("RUNNER_GENERATE_ARTIFACTS_METADATA", "true"));
    });
    let formats = |stage: &Option<StagePlan>| -> Vec<(ArchiveFormat, bool)> {
        stage
            .iter()
            .flat_map(|stage| &stage.ops)
            .map(|op| match op {
                Op::UploadArtifacts(upload) => {
                    assert_eq!(upload.name, "n $X", "the helper expands it");
                    assert_eq!(upload.upload_timeout.as_secs(), 3600);
                    (upload.artifact_format, upload.provenance.is_some())
                }
                _ => panic!("an upload"),
            })
            .collect()
    };
    assert_eq!(
        formats(&plan.upload_artifacts.success),
        [(ArchiveFormat::Zip, true), (ArchiveFormat::Gzip, false)]
    );
    assert_eq!(
        formats(&plan.upload_artifacts.failure),
        [(ArchiveFormat::Gzip, false), (ArchiveFormat::Raw, false)]
    );
    let plan = plan_with(|payload, _, _| payload.artifacts = vec![artifact("7z", "")]);
    assert!(plan.upload_artifacts.success.expect("a stage").fault().is_some());
}

#[test]
fn runner_api_4_11_dependencies_without_a_file_are_skipped() {
    let plan = plan_with(|payload, _, _| {
        let mut without = payload.dependencies[0].clone();
        without.artifacts_file = None;
        payload.dependencies.push(without);
    });
    let stage = plan.download_artifacts.expect("a stage");
    match stage.ops.as_slice() {
        [Op::DownloadArtifacts(one)] => {
            assert_eq!((one.job_id, one.job_name.as_str(), one.direct_download), (6999, "build", true));
            assert!(one.token.expose() == samples::TOKEN);
        }
        _ => panic!("one download"),
    }
}

#[test]
fn executors_7_2_attempts_and_backoff() {
    let plan = with_variables(&[
        ("GET_SOURCES_ATTEMPTS", "3"),
        ("RESTORE_CACHE_ATTEMPTS", "99"),
        ("ARTIFACT_DOWNLOAD_ATTEMPTS", "two"),
        ("EXECUTOR_JOB_SECTION_ATTEMPTS", "5"),
        ("FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY", "false"),
    ]);
    assert_eq!((plan.get_sources.attempts, plan.get_sources.backoff), (3, Backoff::Short));
    assert_eq!(plan.restore_cache.as_ref().map(|s| s.attempts), Some(10));
    assert_eq!(plan.download_artifacts.as_ref().map(|s| s.attempts), Some(1));
    assert_eq!(plan.steps[0].attempts, 1, "a script runs once");
    assert_eq!(warnings(&plan).len(), 2);
    assert_eq!(plan_with(|_, _, _| ()).get_sources.backoff, Backoff::Exponential);
}

#[test]
fn runner_config_5_2_debug_trace_disabled() {
    for (disabled, trace, services, restricted, xtrace, warned) in [
        (false, "true", "", true, true, 0),
        (false, "", "1", true, false, 0),
        (false, "", "", false, false, 0),
        (true, "true", "true", false, false, 2),
    ] {
        let plan = plan_with(|payload, spec, _| {
            spec.debug_trace_disabled = disabled;
            payload.variables.push(variable("CI_DEBUG_TRACE", trace));
            payload.variables.push(variable("CI_DEBUG_SERVICES", services));
        });
        assert_eq!(plan.debug_trace, restricted);
        assert!(matches!(&plan.steps[0].ops[..], [Op::Script(script)] if script.xtrace == xtrace));
        assert_eq!(warnings(&plan).len(), warned);
    }
}

#[test]
fn runner_api_4_7_steps() {
    let step = |name: &str, script: &[&str]| Step {
        name: name.into(),
        script: script.iter().map(|s| (*s).into()).collect(),
        ..Step::default()
    };
    let plan = plan_with(|payload, _, _| {
        payload.variables.push(variable("TAG", "v1"));
        payload.steps = vec![
            step("script", &["echo $TAG"]),
            step("Release", &["echo $TAG"]),
            step("release", &["release-cli create --tag $TAG --file $KUBE_CFG"]),
            step("nothing", &[]),
            step("after_script", &[]),
        ];
    });
    let texts: Vec<(String, String)> = plan
        .steps
        .iter()
        .map(|stage| match stage.ops.as_slice() {
            [Op::Script(script)] => (stage.name.wire(), script.items[0].text.clone()),
            _ => panic!("one script"),
        })
        .collect();
    assert_eq!(texts[0], ("step_script".into(), "echo $TAG".into()));
    assert_eq!(texts[1].1, "echo $TAG", "only the step of exactly this name is expanded");
    assert_eq!(
        texts[2],
        (
            "step_release".into(),
            "release-cli create --tag v1 --file /b/aBcDeFgHi/3/birds/kestrel.tmp/KUBE_CFG".into()
        )
    );
    assert_eq!(texts.len(), 3);
    assert!(plan.after_script.is_none());
}

#[test]
fn executors_4_6_cleanup() {
    for (flag, strategy, want) in [
        ("false", "clone", ProjectCleanup::Keep),
        ("true", "clone", ProjectCleanup::Delete),
        ("true", "empty", ProjectCleanup::Delete),
        ("true", "none", ProjectCleanup::Keep),
        ("true", "fetch", ProjectCleanup::Reset { clean_flags: vec!["-ffdx".into()], submodules: false }),
    ] {
        let plan = with_variables(&[("FF_ENABLE_JOB_CLEANUP", flag), ("GIT_STRATEGY", strategy)]);
        match plan.cleanup.ops.as_slice() {
            [Op::Cleanup(cleanup)] => {
                assert_eq!(cleanup.project, want, "{flag} {strategy}");
                assert_eq!(cleanup.file_variables, ["KUBE_CFG"]);
            }
            _ => panic!("one cleanup"),
        }
    }
}

#[test]
fn runner_api_4_13_secrets_without_a_resolver_give_a_warning() {
    let plan = plan_with(|payload, _, _| {
        payload.secrets.insert("DB_PASSWORD".into(), serde_json::json!({"vault": {}}));
    });
    assert!(warnings(&plan).iter().any(|line| line.contains("DB_PASSWORD")));
    assert!(plan.refusal.is_none());
}

#[test]
fn runner_api_4_17_policy_lines() {
    let plan = plan_with(|payload, _, _| {
        payload.policy_options = Some(PolicyOptions {
            execution_policy_job: true,
            policy_name: "Scan".into(),
            policy_variables_override_allowed: Some(false),
            policy_variables_override_exceptions: vec!["A".into(), "B".into()],
        });
    });
    assert_eq!(plan.header.len(), 2);
    assert_eq!(plan.header[0], HeaderLine::Info("Job triggered by policy \"Scan\".".into()));
    assert!(
        matches!(&plan.header[1], HeaderLine::Info(line) if line.contains("ignored") && line.contains("A, B"))
    );
}

#[test]
fn runner_api_4_4_the_runner_is_named_by_its_uuid() {
    let uuid = "c4b28d08-86a5-8cf3-a7e4-2c4b8a0d7d11";
    let plan = plan_with(|payload, _, _| payload.runner_info.uuid = uuid.into());
    assert_eq!(plan.header, [HeaderLine::Info(format!("  UUID: {uuid}"))]);
    assert_eq!(plan_with(|_, _, _| ()).header, []);
}

#[test]
fn a_secret_is_in_no_line_of_the_header() {
    let plan = with_variables(&[("GIT_STRATEGY", "x"), ("GIT_CLONE_PATH", "/etc")]);
    for line in &plan.header {
        let (HeaderLine::Info(text) | HeaderLine::Warning(text)) = line;
        assert!(!text.contains(samples::TOKEN));
    }
}

mod whatever_a_server_sends {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    const NAMES: [&str; 24] = [
        "GIT_STRATEGY",
        "GIT_CLONE_PATH",
        "GIT_CLEAN_FLAGS",
        "GIT_SUBMODULE_STRATEGY",
        "GIT_SUBMODULE_PATHS",
        "GIT_SUBMODULE_DEPTH",
        "GIT_SUBMODULE_FORCE_HTTPS",
        "GET_SOURCES_ATTEMPTS",
        "RUNNER_SCRIPT_TIMEOUT",
        "RUNNER_AFTER_SCRIPT_TIMEOUT",
        "CACHE_FALLBACK_KEY",
        "CACHE_REQUEST_TIMEOUT",
        "CACHE_COMPRESSION_LEVEL",
        "ARTIFACT_COMPRESSION_LEVEL",
        "CI_DEBUG_TRACE",
        "CI_PROJECT_PATH",
        "CI_JOB_STATUS",
        "FF_TIMESTAMPS",
        "FF_HASH_CACHE_KEYS",
        "FF_GIT_URLS_WITHOUT_TOKENS",
        "CI_SERVER_SHELL_SSH_PORT",
        "AFTER_SCRIPT_IGNORE_ERRORS",
        "A",
        "../A",
    ];

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,12}",
            Just("true".to_owned()),
            Just("none".to_owned()),
            Just("empty".to_owned()),
            Just("recursive".to_owned()),
            Just("$CI_BUILDS_DIR/x/../y".to_owned()),
            Just("${A}$$$A".to_owned()),
            Just("../../x".to_owned()),
            Just("99999999999999999999h".to_owned()),
            "-?[0-9]{1,12}(s|m|h|)",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn makes_a_sound_plan(
            variables in proptest::collection::vec((0..NAMES.len(), value(), any::<[bool; 3]>()), 0..12),
            keys in proptest::collection::vec("[a-z./\\\\ %2fe$A-]{0,12}", 0..4),
            url in prop_oneof![
                Just(format!("https://gitlab-ci-token:{}@ci.example.test/birds/kestrel.git", samples::TOKEN)),
                Just(format!("https://gitlab-ci-token:{}@other.test:8/../x.git", samples::TOKEN)),
                "\\PC{0,20}",
                "(https|ssh|file)://[a-z@:/.]{0,20}",
            ],
            timeout: i64,
            text in "\\PC{0,30}",
        ) {
            let plan = plan_with(|payload, spec, _| {
                spec.custom_build_dir = Some(true);
                payload.runner_info.timeout = timeout;
                payload.git_info.repo_url = Secret::new(url);
                payload.variables.extend(variables.into_iter().map(|(name, value, [file, masked, raw])| JobVariable {
                    key: NAMES[name].into(), value, file, masked, raw, public: true,
                }));
                payload.cache = keys
                    .iter()
                    .map(|key| cache(|c| { c.key = key.clone(); c.fallback_keys = keys.clone(); }))
                    .collect();
                payload.steps[0].script = vec![text];
            });
            prop_assert!(plan.dirs.project.starts_with("/b") && plan.dirs.tmp.starts_with("/b"));
            for dir in [&plan.dirs.project, &plan.dirs.tmp, &plan.dirs.cache] {
                prop_assert!(!dir.components().any(|part| part == Component::ParentDir), "{}", dir.display());
            }
            for stage in plan.restore_cache.iter().chain(&plan.archive_cache.success) {
                for op in &stage.ops {
                    if let Op::RestoreCache(op) | Op::SaveCache(op) = op {
                        for key in &op.keys {
                            prop_assert!(!key.is_empty());
                            prop_assert!(key.split('/').all(|part| !matches!(part, "" | "." | "..")), "{key:?}");
                        }
                    }
                }
            }
            if plan.get_sources.fault().is_none() {
                let git = sources(&plan);
                prop_assert!(!git.remote_url.contains(samples::TOKEN));
                prop_assert!(git.rewrites.keys().all(|plain| !plain.contains(samples::TOKEN)));
            }
            for line in &plan.header {
                let (HeaderLine::Info(line) | HeaderLine::Warning(line)) = line;
                prop_assert!(!line.contains(samples::TOKEN));
            }
            prop_assert!(plan.limits.after_script <= plan.limits.job);
            prop_assert!(plan.shell_text(&plan.steps[0], "running").ends_with("exit 0\n"));
        }
    }
}
